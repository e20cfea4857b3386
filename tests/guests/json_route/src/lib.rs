//! A hook that tells of the `tenant` in the JSON of requests, as `$hook_tenant`: as `docs/write-a-hook.md`
//! shows it, and to measure what that costs.

use waypost_sdk::{
    Beyond, Body, Bound, Call, Hook, Manner, OnRequest, OnRequestBody, Settings, SettingsError,
    Sharing, Verdict,
};

/// What counts of a body: the rest is passed over, and not kept.
#[derive(serde::Deserialize)]
struct Asked<'a> {
    tenant: &'a str,
}

pub struct ByTenant;

impl Hook for ByTenant {
    fn configure(settings: Settings) -> Result<Self, SettingsError> {
        settings.finish()?;
        Ok(ByTenant)
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }
}

impl OnRequest for ByTenant {
    fn on_request(&mut self, call: &Call) -> Verdict {
        let bound = Bound {
            at_most: 64 << 10,
            beyond: Beyond::Refuse,
        };
        call.bodies().want_request(Manner::Whole(bound));
        Verdict::Proceed
    }
}

impl OnRequestBody for ByTenant {
    fn on_request_body(&mut self, call: &Call, body: Body) -> Verdict {
        if let Ok(Asked { tenant }) = serde_json::from_slice(&body.bytes) {
            call.changes().set_attribute("tenant", tenant);
        }
        Verdict::Proceed
    }
}

waypost_sdk::export_hook!(ByTenant, on_request, on_request_body);
