//! Counts the requests of tenants, and masks a word in bodies.

use std::collections::HashMap;

use waypost_sdk::metrics::Counter;
use waypost_sdk::{
    About, Beyond, Body, Bound, Call, Describe, Form, Hook, Manner, OnRequest, OnRequestBody,
    OnResponse, OnResponseBody, Schema, Settings, SettingsError, Sharing, Verdict,
};

/// A body of more bytes passes unseen.
const WHOLE: Manner = Manner::Whole(Bound {
    at_most: 65_536,
    beyond: Beyond::Pass,
});

struct CountTenants {
    header: String,
    /// What no body may tell, either way.
    mask: Vec<u8>,
    /// By tenant, `other` among them.
    counts: HashMap<String, (Counter, u64)>,
}

impl Hook for CountTenants {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let header = settings.text("header")?;
        let mask = settings.text("mask")?;
        let tenants = settings.texts("tenants")?;
        if tenants.is_empty() {
            return Err(settings.missing("tenants"));
        }
        let mut counts = HashMap::new();
        for name in tenants.into_iter().chain(["other".to_owned()]) {
            let is_name = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
            if name.is_empty() || !name.bytes().all(is_name) {
                let message = format!("`{name}` is no name of a counter");
                return Err(settings.error("tenants", &message));
            }
            let counter = Counter::named(&format!("requests_{name}"));
            counts.insert(name, (counter, 0));
        }
        settings.finish()?;
        Ok(CountTenants {
            header: header.unwrap_or_else(|| "x-tenant".to_owned()),
            mask: mask.unwrap_or_default().into_bytes(),
            counts,
        })
    }

    /// One instance, so that the numbers are those of all workers.
    fn sharing(&self) -> Sharing {
        Sharing::PerProcess
    }
}

impl OnRequest for CountTenants {
    fn on_request(&mut self, call: &Call) -> Verdict {
        let tenant = call.request().header(&self.header).unwrap_or_default();
        let tenant = String::from_utf8_lossy(&tenant);
        let name = match self.counts.contains_key(&*tenant) {
            true => &tenant,
            false => "other",
        };
        let changes = call.changes();
        changes.set_request_header("x-counted-as", name);
        if let Some((counter, count)) = self.counts.get_mut(name) {
            counter.add(1);
            *count += 1;
            changes.set_response_header("x-counted", count.to_string());
        }
        // Whoever does not ask for a body pays nothing for it.
        if !self.mask.is_empty() {
            call.bodies().want_request(WHOLE);
        }
        Verdict::Proceed
    }
}

impl OnResponse for CountTenants {
    fn on_response(&mut self, call: &Call) {
        if !self.mask.is_empty() {
            call.bodies().want_response(WHOLE, Form::Decoded);
        }
    }
}

impl OnRequestBody for CountTenants {
    fn on_request_body(&mut self, call: &Call, body: Body) -> Verdict {
        if let Some(masked) = masked(&body.bytes, &self.mask) {
            call.bodies().set(masked);
        }
        Verdict::Proceed
    }
}

impl OnResponseBody for CountTenants {
    fn on_response_body(&mut self, call: &Call, body: Body) -> Verdict {
        self.on_request_body(call, body)
    }
}

/// The bytes with `***` wherever the word stands; none where it does not. The word is not empty.
fn masked(bytes: &[u8], word: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut rest, mut found) = (Vec::with_capacity(bytes.len()), bytes, false);
    while let Some(&first) = rest.first() {
        if let Some(behind) = rest.strip_prefix(word) {
            out.extend_from_slice(b"***");
            (rest, found) = (behind, true);
        } else {
            out.push(first);
            rest = &rest[1..];
        }
    }
    found.then_some(out)
}

impl Describe for CountTenants {
    fn describe() -> About {
        let schema = Schema::new()
            .text(
                "header",
                "the header that names the tenant; `x-tenant` where it is not said",
            )
            .text("mask", "what no body may tell, either way")
            .texts("tenants", "those that are counted; all others are `other`")
            .required();
        About::new("counts requests by tenant").settings(schema)
    }
}

waypost_sdk::export_hook!(
    CountTenants,
    on_request,
    on_response,
    on_request_body,
    on_response_body,
    describe
);

#[cfg(test)]
mod tests {
    use super::CountTenants;
    use waypost_sdk::Verdict;
    use waypost_sdk::testing::{Hooked, Request};

    #[test]
    fn each_tenant_has_a_count_and_all_others_one_together() {
        let mut hooked = Hooked::<CountTenants>::of(r#"{"tenants": ["acme"]}"#);
        for (tenant, name, count) in [
            ("acme", "acme", "1"),
            ("initech", "other", "1"),
            ("acme", "acme", "2"),
        ] {
            let request = Request::get("/").header("X-Tenant", tenant);
            let mut exchange = hooked.exchange(request);
            assert_eq!(hooked.on_request(&mut exchange), Verdict::Proceed);
            assert_eq!(exchange.request_header("x-counted-as"), [name]);
            assert_eq!(exchange.response_header("x-counted"), [count]);
        }
        assert_eq!(hooked.counter("requests_acme"), 2);
        assert_eq!(hooked.counter("requests_other"), 1);
    }

    #[test]
    fn a_word_is_masked_in_a_body() {
        let masked = |text: &str| super::masked(text.as_bytes(), b"4111");
        assert_eq!(
            masked("card 4111 of 4111").as_deref(),
            Some(&b"card *** of ***"[..])
        );
        assert_eq!(masked("card 411"), None);
    }

    #[test]
    fn no_tenants_and_no_names_are_refused() {
        for settings in ["{}", r#"{"tenants": ["Acme!"]}"#] {
            let error = Hooked::<CountTenants>::new(settings, &["{}"]).err();
            assert_eq!(error.map(|error| error.key).as_deref(), Some("tenants"));
        }
    }
}
