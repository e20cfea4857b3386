//! `labels`: a filter that leaves the endpoints whose labels have the values that a request asks
//! for: canaries, blue and green, servers of a tenant's own.
//!
//! Each label is compared with a text that is made of the request. Where no candidate has all of
//! the values, `otherwise` decides: by default the attempt is refused, so that a request never
//! reaches a server that is not meant for it because the right ones are out.

use std::collections::BTreeMap;

use waypost_sdk::{
    About, Choice, Describe, Endpoint, Filter, Schema, Settings, SettingsError, Sharing, Template,
    log,
};

/// Endpoints, 64 in a word.
type Bits = Vec<u64>;

/// Endpoints by labels.
pub struct Labels {
    wanted: Vec<Wanted>,
    otherwise: Otherwise,
    /// Those without any of the labels.
    unlabelled: Bits,
    /// Those that the attempt at hand is left with.
    left: Bits,
}

/// A label, and the value that it has to have.
struct Wanted {
    label: String,
    value: Template,
    /// The endpoints by the label's value.
    endpoints: BTreeMap<Vec<u8>, Bits>,
}

/// What becomes of an attempt where no candidate has the values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Otherwise {
    Refuse,
    Any,
    Unlabelled,
}

impl Filter for Labels {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let wanted = settings.templates_by_name("match")?;
        if wanted.is_empty() {
            return Err(settings.missing("match"));
        }
        let otherwise = settings.choice(
            "otherwise",
            &[
                ("refuse", Otherwise::Refuse),
                ("any", Otherwise::Any),
                ("unlabelled", Otherwise::Unlabelled),
            ],
        )?;
        settings.finish()?;
        let wanted = wanted.into_iter().map(|(label, value)| Wanted {
            label,
            value,
            endpoints: BTreeMap::new(),
        });
        Ok(Labels {
            wanted: wanted.collect(),
            otherwise: otherwise.unwrap_or(Otherwise::Refuse),
            unlabelled: Bits::new(),
            left: Bits::new(),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        let words = endpoints.len().div_ceil(64);
        self.left = vec![0; words];
        self.unlabelled = vec![0; words];
        for (index, _) in endpoints.iter().enumerate() {
            set(&mut self.unlabelled, index);
        }
        for wanted in &mut self.wanted {
            wanted.endpoints.clear();
            for (index, endpoint) in endpoints.iter().enumerate() {
                if let Some(value) = endpoint.label(&wanted.label) {
                    let bits = wanted.endpoints.entry(value.into_bytes());
                    set(bits.or_insert_with(|| vec![0; words]), index);
                    self.unlabelled[index / 64] &= !(1 << (index % 64));
                }
            }
            if wanted.endpoints.is_empty() {
                log::warn(&format!(
                    "labels: no server has the label `{}`",
                    wanted.label
                ));
            }
        }
    }

    fn narrow(&mut self, word: usize, candidates: u64, choice: &Choice) -> u64 {
        if word == 0 {
            self.find(candidates, choice);
        }
        candidates & self.left.get(word).copied().unwrap_or(0)
    }

    fn may_be_ignored(&self) -> bool {
        self.otherwise == Otherwise::Any
    }
}

impl Labels {
    /// Finds the endpoints for the attempt at hand. `first` are the candidates of the first word.
    fn find(&mut self, first: u64, choice: &Choice) {
        self.left.fill(u64::MAX);
        for wanted in &self.wanted {
            let value = wanted.value.render(choice.request());
            match wanted.endpoints.get(&value) {
                Some(bits) => {
                    let words = self.left.iter_mut().zip(bits);
                    words.for_each(|(left, bits)| *left &= bits);
                }
                None => self.left.fill(0),
            }
        }
        if self.otherwise == Otherwise::Unlabelled && !self.has_candidate(first, choice) {
            self.left.clone_from(&self.unlabelled);
        }
    }

    fn has_candidate(&self, first: u64, choice: &Choice) -> bool {
        let mut words = self.left.iter().enumerate();
        words.any(|(word, left)| {
            let candidates = match word {
                0 => first,
                word => choice.fleet().candidates(word),
            };
            left & candidates != 0
        })
    }
}

fn set(bits: &mut Bits, index: usize) {
    bits[index / 64] |= 1 << (index % 64);
}

impl Describe for Labels {
    fn describe() -> About {
        About::new("the servers whose labels fit the request").settings(
            Schema::new()
                .texts_by_name(
                    "match",
                    "labels, and the value of each: text with variables",
                )
                .required()
                .choice(
                    "otherwise",
                    "what becomes of a request that no candidate has the values for; `refuse`",
                    &["refuse", "any", "unlabelled"],
                ),
        )
    }
}

waypost_sdk::export_filter!(Labels, describe);

#[cfg(test)]
mod tests;
