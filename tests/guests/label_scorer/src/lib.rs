//! A scorer whose scores stand in a label of the servers.

use waypost_sdk::{Choice, Endpoint, Scorer, Settings, SettingsError, Sharing};

struct LabelScorer {
    label: String,
    scores: Vec<u16>,
}

impl Scorer for LabelScorer {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let label = settings.text("label")?;
        let scorer = LabelScorer {
            label: label.ok_or_else(|| settings.missing("label"))?,
            scores: Vec::new(),
        };
        settings.finish()?;
        Ok(scorer)
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        let score = |endpoint: &Endpoint| endpoint.label(&self.label)?.parse().ok();
        self.scores = endpoints
            .iter()
            .map(|endpoint| score(endpoint).unwrap_or_default())
            .collect();
    }

    fn score(&mut self, choice: &Choice) -> Vec<u16> {
        assert!(
            choice.request().header("x-score").is_none(),
            "as the request says"
        );
        self.scores.clone()
    }
}

waypost_sdk::export_scorer!(LabelScorer);
