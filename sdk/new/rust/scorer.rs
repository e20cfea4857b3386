//! A scorer: the fewer requests a server has in progress, the better; one with `most` of them or
//! more is as bad as any.

use waypost_sdk::{
    About, Choice, Describe, Endpoint, Schema, Scorer, Settings, SettingsError, Sharing,
};

struct ByLoad {
    most: u64,
}

impl Scorer for ByLoad {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let most = settings.number_within("most", 1..=1000)?;
        settings.finish()?;
        Ok(ByLoad {
            most: most.unwrap_or(10),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, _endpoints: Vec<Endpoint>) {}

    fn score(&mut self, choice: &Choice) -> Vec<u16> {
        let best = u64::from(u16::MAX);
        let score = |in_flight: u32| {
            let left = self.most.saturating_sub(in_flight.into());
            (best * left / self.most) as u16
        };
        let loads = choice.fleet().all_in_flight();
        loads.into_iter().map(score).collect()
    }
}

impl Describe for ByLoad {
    fn describe() -> About {
        About::new("the servers with the fewest requests in progress").settings(
            Schema::new().number(
                "most",
                "requests from which on a server has no points; 10",
                1..=1000,
            ),
        )
    }
}

waypost_sdk::export_scorer!(ByLoad, describe);

#[cfg(test)]
mod tests {
    use super::ByLoad;
    use waypost_sdk::testing::{First, Upstream};

    /// A policy that picks the first of those with the best score, over three servers.
    fn upstream(loads: [u32; 3]) -> Upstream<First> {
        let upstream = Upstream::<First>::of("{}", 3);
        let mut upstream = upstream.scorer::<ByLoad>(r#"{"most": 4}"#, 1);
        for (index, load) in loads.into_iter().enumerate() {
            upstream.in_flight(index, load);
        }
        upstream
    }

    #[test]
    fn the_least_busy_server_is_the_best() {
        assert_eq!(upstream([2, 1, 3]).pick(), Some(1));
    }

    #[test]
    fn from_the_most_on_all_are_alike() {
        assert_eq!(upstream([5, 4, 9]).pick(), Some(0));
    }
}
