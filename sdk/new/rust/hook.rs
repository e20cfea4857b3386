//! A hook: a request has to name its tenant in a header, or is answered with a 401. The server, the
//! log and other hooks learn the tenant.

use waypost_sdk::{
    About, Call, Describe, Hook, OnRequest, Schema, Settings, SettingsError, Sharing, Verdict,
};

struct NeedsTenant {
    header: String,
}

impl Hook for NeedsTenant {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let header = settings.text("header")?;
        settings.finish()?;
        Ok(NeedsTenant {
            header: header.unwrap_or_else(|| "x-tenant".to_owned()),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }
}

impl OnRequest for NeedsTenant {
    fn on_request(&mut self, call: &Call) -> Verdict {
        let changes = call.changes();
        let Some(tenant) = call.request().header(&self.header) else {
            call.exchange().note(|| "no tenant".to_owned());
            changes.answer(401, format!("say who you are: {}\n", self.header));
            return Verdict::Answer;
        };
        let note = || format!("tenant {}", String::from_utf8_lossy(&tenant));
        call.exchange().note(note);
        changes.set_request_header("x-authenticated-tenant", &tenant);
        changes.set_attribute("tenant", &tenant);
        Verdict::Proceed
    }
}

impl Describe for NeedsTenant {
    fn describe() -> About {
        About::new("refuses requests that name no tenant").settings(Schema::new().text(
            "header",
            "the header that names the tenant; `x-tenant` where it is not said",
        ))
    }
}

waypost_sdk::export_hook!(NeedsTenant, on_request, describe);

#[cfg(test)]
mod tests {
    use super::NeedsTenant;
    use waypost_sdk::Verdict;
    use waypost_sdk::testing::{Hooked, Request};

    #[test]
    fn the_server_learns_the_tenant() {
        let mut hooked = Hooked::<NeedsTenant>::of("{}");
        let request = Request::get("/").header("X-Tenant", "acme");
        let mut exchange = hooked.exchange(request);
        assert_eq!(hooked.on_request(&mut exchange), Verdict::Proceed);
        assert_eq!(exchange.request_header("x-authenticated-tenant"), ["acme"]);
    }

    #[test]
    fn a_request_without_a_tenant_is_a_401() {
        let mut hooked = Hooked::<NeedsTenant>::of("{}");
        let mut exchange = hooked.exchange(Request::get("/"));
        assert_eq!(hooked.on_request(&mut exchange), Verdict::Answer);
        let answer = exchange.answer();
        assert_eq!(answer, Some((401, "say who you are: x-tenant\n")));
    }

    #[test]
    fn a_misspelled_setting_is_refused() {
        let error = Hooked::<NeedsTenant>::new(r#"{"haeder": "x-tenant"}"#, &["{}"]).err();
        assert_eq!(
            error.map(|error| error.message).as_deref(),
            Some("unknown key `haeder`; did you mean `header`?")
        );
    }
}
