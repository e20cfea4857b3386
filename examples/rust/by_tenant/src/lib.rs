//! By the hash of a header, else the least loaded server: a tenant stays where it is.

use waypost_sdk::{
    About, Describe, Endpoint, Part, Pick, Policy, Schema, Settings, SettingsError, Sharing,
};

struct ByTenant {
    header: String,
}

impl Policy for ByTenant {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let header = settings.text("header")?;
        if header.as_deref() == Some("") {
            return Err(settings.error("header", "`header` must not be empty"));
        }
        settings.finish()?;
        Ok(ByTenant {
            header: header.unwrap_or_else(|| "x-tenant".to_owned()),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, _endpoints: Vec<Endpoint>) {}

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        let candidates = pick.candidates();
        let tenant = pick.request().header(&self.header).unwrap_or_default();
        if tenant.is_empty() {
            // Of all servers at once: a call to the host costs something.
            let loads = pick.fleet().all_in_flight();
            return candidates.iter().min_by_key(|&index| loads[index]);
        }
        let hash = pick.request().hash(&Part::Header(self.header.clone()), 0);
        let nth = hash % candidates.count() as u64;
        candidates.iter().nth(nth as usize)
    }
}

impl Describe for ByTenant {
    fn describe() -> About {
        let header = "the header that names the tenant; `x-tenant` where it is not said";
        About::new("by the hash of a header, else the least loaded server")
            .settings(Schema::new().text("header", header))
    }
}

waypost_sdk::export!(ByTenant, describe);

#[cfg(test)]
mod tests {
    use super::ByTenant;
    use waypost_sdk::testing::{Request, Upstream};

    #[test]
    fn a_tenant_stays_on_its_server_whatever_its_load() {
        let mut upstream = Upstream::<ByTenant>::of("{}", 3);
        let acme = || Request::get("/").header("X-Tenant", "acme");
        let first = upstream.exchange(acme()).pick();
        upstream.in_flight(first.expect("there are servers"), 100);
        assert_eq!(upstream.exchange(acme()).pick(), first);
    }

    #[test]
    fn everybody_else_gets_the_least_loaded_server_that_is_up() {
        let mut upstream = Upstream::<ByTenant>::of("{}", 3);
        upstream.in_flight(0, 2);
        upstream.in_flight(1, 1);
        upstream.rotate_out(2);
        assert_eq!(upstream.pick(), Some(1));
    }

    #[test]
    fn a_setting_that_is_none_is_refused_by_its_key() {
        for (settings, key) in [
            (r#"{"haeder": "a"}"#, "haeder"),
            (r#"{"header": ""}"#, "header"),
        ] {
            let error = Upstream::<ByTenant>::new(settings, []).err();
            assert_eq!(error.map(|error| error.key).as_deref(), Some(key));
        }
    }
}
