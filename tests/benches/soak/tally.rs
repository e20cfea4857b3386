//! What clients met: how long answers took, and what was no answer.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// Powers of 2^(1/8) from a microsecond on: each is within 9 % of what it counts.
const STEPS: usize = 256;
/// Texts of errors that are told apart for each kind of client; all others are one.
const TEXTS: usize = 20;

/// Counts by what was asked.
#[derive(Default)]
pub(crate) struct Tally(Mutex<BTreeMap<&'static str, Met>>);

/// What one kind of client met.
#[derive(Clone)]
pub(crate) struct Met {
    pub(crate) answered: u64,
    /// By their text.
    pub(crate) errors: BTreeMap<String, u64>,
    latencies: [u64; STEPS],
    pub(crate) longest: Duration,
}

impl Default for Met {
    fn default() -> Met {
        Met {
            answered: 0,
            errors: BTreeMap::new(),
            latencies: [0; STEPS],
            longest: Duration::ZERO,
        }
    }
}

impl Tally {
    fn with(&self, kind: &'static str, count: impl FnOnce(&mut Met)) {
        let mut met = self.0.lock().expect("nobody panics while counting");
        count(met.entry(kind).or_default());
    }

    /// One that was answered as it should be.
    pub(crate) fn answered(&self, kind: &'static str, took: Duration) {
        self.with(kind, |met| {
            met.answered += 1;
            met.longest = met.longest.max(took);
            #[allow(clippy::cast_precision_loss, reason = "its logarithm counts")]
            let steps = (took.as_micros().max(1) as f64).log2() * 8.0;
            met.latencies[(steps as usize).min(STEPS - 1)] += 1;
        });
    }

    /// One that was not.
    pub(crate) fn failed(&self, kind: &'static str, text: &str) {
        self.with(kind, |met| {
            let text: String = text.chars().take(160).collect();
            let text = match met.errors.len() < TEXTS || met.errors.contains_key(&text) {
                true => text,
                false => "others".to_owned(),
            };
            *met.errors.entry(text).or_default() += 1;
        });
    }

    /// All so far.
    pub(crate) fn all(&self) -> BTreeMap<&'static str, Met> {
        self.0.lock().expect("nobody panics while counting").clone()
    }
}

impl Met {
    /// The latency that so many of a thousand did not exceed.
    pub(crate) fn permille(&self, permille: u64) -> Duration {
        let wanted = self.answered * permille / 1000;
        let mut seen = 0;
        for (step, count) in self.latencies.iter().enumerate() {
            seen += count;
            if seen > wanted {
                #[allow(clippy::cast_precision_loss, reason = "there are few steps")]
                let micros = ((step + 1) as f64 / 8.0).exp2();
                return Duration::from_micros(micros as u64).min(self.longest);
            }
        }
        self.longest
    }

    pub(crate) fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}
