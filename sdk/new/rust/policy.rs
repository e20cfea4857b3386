//! A policy: one server for each tenant, by a hash of the header that names it; the least busy one
//! for everybody else.

use waypost_sdk::{
    About, Describe, Endpoint, Part, Pick, Policy, Schema, Settings, SettingsError, Sharing,
};

struct ByTenant {
    header: String,
}

impl Policy for ByTenant {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let header = settings.text("header")?;
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
        let candidates: Vec<usize> = pick.candidates().iter().collect();
        let tenant = pick.request().header(&self.header).unwrap_or_default();
        if tenant.is_empty() {
            pick.exchange().note(|| "no tenant".to_owned());
            let loads = pick.fleet().all_in_flight();
            return candidates.into_iter().min_by_key(|&index| loads[index]);
        }
        let part = Part::Header(self.header.clone());
        let hash = pick.request().hash(&part, 0) as usize;
        let note = || format!("tenant {}", String::from_utf8_lossy(&tenant));
        pick.exchange().note(note);
        Some(candidates[hash % candidates.len()])
    }
}

impl Describe for ByTenant {
    fn describe() -> About {
        About::new("one server for each tenant, else the least busy one").settings(
            Schema::new().text(
                "header",
                "the header that names the tenant; `x-tenant` where it is not said",
            ),
        )
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
    fn everybody_else_gets_the_least_busy_server_that_is_up() {
        let mut upstream = Upstream::<ByTenant>::of("{}", 3);
        upstream.in_flight(0, 2);
        upstream.in_flight(1, 1);
        upstream.rotate_out(2);
        assert_eq!(upstream.pick(), Some(1));
    }

    #[test]
    fn a_misspelled_setting_is_refused() {
        let error = Upstream::<ByTenant>::new(r#"{"haeder": "x-tenant"}"#, []).err();
        assert_eq!(
            error.map(|error| error.message).as_deref(),
            Some("unknown key `haeder`; did you mean `header`?")
        );
    }
}
