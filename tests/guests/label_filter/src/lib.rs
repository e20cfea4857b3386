//! A filter that leaves the servers whose label is what the request asks for: of `X-Label`, `trap`
//! makes it trap, and nothing leaves all of them.

use waypost_sdk::{Choice, Endpoint, Filter, Settings, SettingsError, Sharing};

struct LabelFilter {
    label: String,
    may_be_ignored: bool,
    labels: Vec<String>,
}

impl Filter for LabelFilter {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let label = settings.text("label")?;
        let filter = LabelFilter {
            label: label.ok_or_else(|| settings.missing("label"))?,
            may_be_ignored: settings.flag("may_be_ignored")?,
            labels: Vec::new(),
        };
        settings.finish()?;
        Ok(filter)
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        let labels = endpoints.iter().map(|endpoint| endpoint.label(&self.label));
        self.labels = labels.map(Option::unwrap_or_default).collect();
    }

    fn narrow(&mut self, word: usize, candidates: u64, choice: &Choice) -> u64 {
        let Some(wanted) = choice.request().header("x-label") else {
            return candidates;
        };
        assert!(wanted != b"trap", "as the request says");
        let labels = self.labels.iter().enumerate().skip(64 * word).take(64);
        labels
            .filter(|(_, label)| label.as_bytes() == wanted)
            .fold(0, |bits, (index, _)| bits | 1 << (index % 64))
    }

    fn may_be_ignored(&self) -> bool {
        self.may_be_ignored
    }
}

waypost_sdk::export_filter!(LabelFilter);
