//! A hook for measurements: it does nothing, or turns away requests whose `header` has the value
//! `refuse`.

use waypost_sdk::{Call, Hook, OnRequest, Settings, SettingsError, Sharing, Verdict};

struct BenchHook {
    header: Option<(String, String)>,
}

impl Hook for BenchHook {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let (header, refuse) = (settings.text("header")?, settings.text("refuse")?);
        settings.finish()?;
        Ok(BenchHook {
            header: header.zip(refuse),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }
}

impl OnRequest for BenchHook {
    fn on_request(&mut self, call: &Call) -> Verdict {
        let Some((header, refuse)) = &self.header else {
            return Verdict::Proceed;
        };
        match call.request().header(header) {
            Some(value) if value == refuse.as_bytes() => {
                call.changes().answer(403, b"");
                Verdict::Answer
            }
            _ => Verdict::Proceed,
        }
    }
}

waypost_sdk::export_hook!(BenchHook, on_request);
