//! Fills servers in order: a server gets requests until it is `busy`, then the next one does.

use waypost_sdk::{Endpoint, Pick, Policy, Settings, SettingsError, Sharing};

struct Spill {
    /// Requests in progress from which on a server is left alone.
    busy: u64,
}

impl Policy for Spill {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let busy = settings.number("busy")?.unwrap_or(10);
        if busy == 0 {
            return Err(settings.error("busy", "`busy` must be 1 or more"));
        }
        settings.finish()?;
        Ok(Spill { busy })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, _endpoints: Vec<Endpoint>) {}

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        let in_flight = |&index: &usize| u64::from(pick.fleet().in_flight(index));
        pick.candidates()
            .iter()
            .find(|index| in_flight(index) < self.busy)
    }
}

waypost_sdk::export!(Spill);

#[cfg(test)]
mod tests {
    use super::Spill;
    use waypost_sdk::testing::Upstream;

    #[test]
    fn a_busy_server_spills_over_to_the_next() {
        let mut upstream = Upstream::<Spill>::of(r#"{"busy": 2}"#, 3);
        assert_eq!(upstream.pick(), Some(0));
        upstream.in_flight(0, 2);
        assert_eq!(upstream.pick(), Some(1));
        upstream.rotate_out(1);
        assert_eq!(upstream.pick(), Some(2));
    }

    #[test]
    fn when_all_are_busy_the_fallback_decides() {
        let mut upstream = Upstream::<Spill>::of(r#"{"busy": 1}"#, 2);
        upstream.in_flight(0, 1);
        upstream.in_flight(1, 1);
        assert_eq!(upstream.pick(), None);
    }

    #[test]
    fn a_misspelled_setting_is_refused() {
        let error = Upstream::<Spill>::new(r#"{"bussy": 2}"#, [])
            .err()
            .map(|error| error.message);
        assert_eq!(
            error.as_deref(),
            Some("unknown key `bussy`; did you mean `busy`?")
        );
    }
}
