//! A filter: a request that names a zone in a header goes to servers of that zone, which is a label
//! of theirs. Where none of them can be asked, to any.

use waypost_sdk::{
    About, Choice, Describe, Endpoint, Filter, Schema, Settings, SettingsError, Sharing,
};

struct ByZone {
    header: String,
    /// The label of each server, by index.
    zones: Vec<String>,
}

impl Filter for ByZone {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let header = settings.text("header")?;
        settings.finish()?;
        Ok(ByZone {
            header: header.unwrap_or_else(|| "x-zone".to_owned()),
            zones: Vec::new(),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        let zones = endpoints.iter().map(|endpoint| endpoint.label("zone"));
        self.zones = zones.map(Option::unwrap_or_default).collect();
    }

    fn narrow(&mut self, word: usize, candidates: u64, choice: &Choice) -> u64 {
        let Some(zone) = choice.request().header(&self.header) else {
            return candidates;
        };
        let zones = self.zones.iter().skip(64 * word).take(64).enumerate();
        let own = zones.filter(|(_, own)| own.as_bytes() == zone);
        candidates & own.fold(0, |bits, (bit, _)| bits | 1 << bit)
    }

    fn may_be_ignored(&self) -> bool {
        true
    }
}

impl Describe for ByZone {
    fn describe() -> About {
        About::new("the servers of the zone that a request names").settings(Schema::new().text(
            "header",
            "the header that names the zone; `x-zone` where it is not said",
        ))
    }
}

waypost_sdk::export_filter!(ByZone, describe);

#[cfg(test)]
mod tests {
    use super::ByZone;
    use waypost_sdk::testing::{First, Request, Upstream, endpoint};

    /// Servers in the zones `a`, `b`, `a`, and a policy that picks the first that is left.
    fn upstream() -> Upstream<First> {
        let zones = [("s0:80", "a"), ("s1:80", "b"), ("s2:80", "a")];
        let servers = zones.map(|(server, zone)| endpoint(server).label("zone", zone));
        let upstream = Upstream::<First>::new("{}", servers);
        let upstream = upstream.unwrap_or_else(|error| panic!("{}", error.message));
        upstream.filter::<ByZone>("{}")
    }

    fn picked(upstream: &mut Upstream<First>, zone: &str) -> Option<usize> {
        let request = Request::get("/").header("X-Zone", zone);
        upstream.exchange(request).pick()
    }

    #[test]
    fn a_request_goes_to_the_zone_that_it_names() {
        let mut upstream = upstream();
        assert_eq!(picked(&mut upstream, "b"), Some(1));
        upstream.rotate_out(0);
        assert_eq!(picked(&mut upstream, "a"), Some(2));
    }

    #[test]
    fn where_a_zone_has_no_server_left_any_will_do() {
        let mut upstream = upstream();
        upstream.rotate_out(1);
        assert_eq!(picked(&mut upstream, "b"), Some(0));
        assert_eq!(upstream.pick(), Some(0), "no zone is named");
    }
}
