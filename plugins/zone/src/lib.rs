//! `zone`: a filter that leaves the endpoints of the own zone, as long as enough of them are there.
//!
//! Traffic that stays in its zone is quicker, and costs nothing where providers charge for what
//! leaves one. But when few of a zone's endpoints are left, they would have to do the work of all:
//! below a threshold the filter steps aside, and every zone's endpoints share it.
//!
//! The decision needs the whole fleet, and is made with its first word. An endpoint that was tried
//! already is no candidate, so that retries leave the zone sooner than first attempts.

use waypost_sdk::{
    About, Choice, Describe, Endpoint, Filter, Schema, Settings, SettingsError, Sharing, log,
};

/// The label that names an endpoint's zone.
const LABEL: &str = "zone";
/// Percent of the zone's endpoints that must be candidates. Half of them can carry the load of all
/// where zones have the reserve that is planned for the loss of one; Envoy's panic threshold is the
/// same.
const THRESHOLD: u64 = 50;

/// The own zone first.
pub struct Zone {
    zone: String,
    label: String,
    threshold: u64,
    /// The endpoints of the own zone, 64 in a word.
    own: Vec<u64>,
    /// How many these are.
    count: u64,
    /// Whether the attempt at hand stays in the zone.
    stays: bool,
}

impl Filter for Zone {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let zone = settings
            .text("zone")?
            .ok_or_else(|| settings.missing("zone"))?;
        let label = settings.text("label")?;
        let threshold = settings.number_within("threshold", 1..=100)?;
        settings.finish()?;
        Ok(Zone {
            zone,
            label: label.unwrap_or_else(|| LABEL.to_owned()),
            threshold: threshold.unwrap_or(THRESHOLD),
            own: Vec::new(),
            count: 0,
            stays: false,
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        self.own = vec![0; endpoints.len().div_ceil(64)];
        for (index, endpoint) in endpoints.iter().enumerate() {
            let is_own = endpoint.label(&self.label).as_deref() == Some(&self.zone);
            self.own[index / 64] |= u64::from(is_own) << (index % 64);
        }
        self.count = self
            .own
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum();
        if self.count == 0 {
            log::warn(&format!(
                "zone: no server has the label `{}` with the value `{}`: all of them are used alike",
                self.label, self.zone
            ));
        }
    }

    fn narrow(&mut self, word: usize, candidates: u64, choice: &Choice) -> u64 {
        if word == 0 {
            self.stays = self.has_enough(candidates, choice);
        }
        match (self.stays, self.own.get(word)) {
            (true, Some(own)) => candidates & own,
            _ => candidates,
        }
    }

    fn may_be_ignored(&self) -> bool {
        true
    }
}

impl Zone {
    /// Whether enough of the zone's endpoints are candidates. `first` are those of the first word.
    fn has_enough(&self, first: u64, choice: &Choice) -> bool {
        let further = (1..self.own.len()).map(|word| choice.fleet().candidates(word));
        let words = std::iter::once(first).chain(further);
        let left = words
            .zip(&self.own)
            .map(|(word, own)| u64::from((word & own).count_ones()));
        let left: u64 = left.sum();
        left > 0 && left * 100 >= self.count * self.threshold
    }
}

impl Describe for Zone {
    fn describe() -> About {
        About::new("the servers of the own zone, as long as enough of them are there").settings(
            Schema::new()
                .text("zone", "the own zone: the value that the label has there")
                .required()
                .text(
                    "label",
                    "the label that names a server's zone; `zone` where it is not said",
                )
                .number(
                    "threshold",
                    "percent of the zone's servers below which all zones are used; 50",
                    1..=100,
                ),
        )
    }
}

waypost_sdk::export_filter!(Zone, describe);

#[cfg(test)]
mod tests;
