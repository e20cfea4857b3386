//! Filters and scorers before a policy: what is left of the candidates when it is asked.
//!
//! Filters come first, each with what those before it have left; then the scores of all scorers are
//! added up, and the candidates whose sum is the highest stay. A filter that fails refuses the
//! exchange, for it may keep tenants apart; a scorer that fails ranks nothing.

use std::sync::Arc;

use serde_json::Value;

use super::super::component::Plugin;
use super::super::context::{ExchangeAtHand, FleetView};
use super::super::error::ConfigureError;
use super::super::files::PluginFiles;
use super::super::role::Role;
use super::super::worker_role::WorkerRole;
use super::slot::{EndpointSpec, FilterSpec, ScorerSpec};
use super::{Pick, PolicyContext};

/// A scorer with its settings, and how much its scores count.
pub struct ScorerPart {
    pub plugin: Plugin,
    pub settings: Value,
    pub weight: u32,
}

/// The filters and scorers of one policy. Shared by all workers.
pub(super) struct Narrowing {
    filters: Vec<Role<FilterSpec>>,
    scorers: Vec<(Role<ScorerSpec>, u32)>,
}

/// One worker's way to them.
pub(super) struct WorkerNarrowing {
    filters: Vec<WorkerRole<FilterSpec>>,
    scorers: Vec<WorkerRole<ScorerSpec>>,
    /// What is left of the candidates, and the sums of scores. Kept so that no pick allocates.
    words: Vec<u64>,
    sums: Vec<u64>,
}

/// What filters say of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Narrowed {
    /// The policy may choose of what is left.
    Some,
    /// No endpoint may be asked.
    Refused,
}

impl Narrowing {
    pub(super) fn new(
        filters: &[(Plugin, Value)],
        scorers: &[ScorerPart],
        fleet: &Arc<dyn FleetView>,
        context: &PolicyContext,
    ) -> Result<Narrowing, ConfigureError> {
        let spec =
            |plugin: &Plugin, settings| EndpointSpec::new(plugin.clone(), settings, fleet, context);
        let filters = filters.iter().map(|(plugin, settings)| {
            Role::new(FilterSpec(spec(plugin, settings)), context.workers)
        });
        let scorers = scorers.iter().map(|scorer| {
            let spec = ScorerSpec(spec(&scorer.plugin, &scorer.settings));
            Ok((Role::new(spec, context.workers)?, scorer.weight))
        });
        Ok(Narrowing {
            filters: filters.collect::<Result<_, _>>()?,
            scorers: scorers.collect::<Result<_, ConfigureError>>()?,
        })
    }

    /// The plugins, filters first.
    pub(super) fn plugins(&self) -> impl Iterator<Item = &Plugin> {
        let filters = self.filters.iter().map(Role::plugin);
        filters.chain(self.scorers.iter().map(|(scorer, _)| scorer.plugin()))
    }

    /// The files that settings name.
    pub(super) fn files(&self) -> impl Iterator<Item = &Arc<PluginFiles>> {
        let filters = self.filters.iter().map(|role| &role.spec.0.files);
        filters.chain(self.scorers.iter().map(|(role, _)| &role.spec.0.files))
    }

    /// Takes over what the shared instances before know.
    pub(super) fn inherit(&self, previous: &Narrowing) -> Result<(), ConfigureError> {
        let mut result = Ok(());
        for (now, before) in self.filters.iter().zip(&previous.filters) {
            result = now.inherit(before).and(result);
        }
        for ((now, _), (before, _)) in self.scorers.iter().zip(&previous.scorers) {
            result = now.inherit(before).and(result);
        }
        result
    }

    pub(super) fn attach(&self) -> Option<Box<WorkerNarrowing>> {
        if self.filters.is_empty() && self.scorers.is_empty() {
            return None;
        }
        Some(Box::new(WorkerNarrowing {
            filters: self
                .filters
                .iter()
                .map(|role| WorkerRole::new(role, role.spec.0.wait()))
                .collect(),
            scorers: self
                .scorers
                .iter()
                .map(|(role, _)| WorkerRole::new(role, role.spec.0.wait()))
                .collect(),
            words: Vec::new(),
            sums: Vec::new(),
        }))
    }
}

impl WorkerNarrowing {
    /// Narrows the candidates of an exchange, of which there is one, for one pick.
    pub(super) fn narrow(
        &mut self,
        narrowing: &Narrowing,
        exchange: &ExchangeAtHand,
        pick: &Pick,
        endpoints: u32,
    ) -> Narrowed {
        let words = endpoints.div_ceil(64);
        for (place, role) in narrowing.filters.iter().enumerate() {
            if self.filter(place, role, exchange, pick, words) == Narrowed::Refused {
                return Narrowed::Refused;
            }
        }
        if !narrowing.scorers.is_empty() {
            self.keep_best(narrowing, exchange, pick, words);
        }
        Narrowed::Some
    }

    /// Has one filter narrow what those before it have left.
    fn filter(
        &mut self,
        place: usize,
        role: &Role<FilterSpec>,
        exchange: &ExchangeAtHand,
        pick: &Pick,
        count: u32,
    ) -> Narrowed {
        let WorkerNarrowing { filters, words, .. } = self;
        words.clear();
        let narrowed = filters[place].ask(role, 0, |slot| {
            for word in 0..count {
                let candidates = exchange.candidates(word);
                words.push(slot.call("narrow", |filter| {
                    filter.narrow(exchange, word, candidates, pick)
                })?);
            }
            if words.iter().any(|word| *word != 0) {
                return Some(Narrowed::Some);
            }
            words.clear();
            let ignored = slot.call("may-be-ignored", |filter| filter.may_be_ignored(exchange))?;
            Some(match ignored {
                true => Narrowed::Some,
                false => Narrowed::Refused,
            })
        });
        let narrowed = narrowed.map_or(Narrowed::Refused, |(narrowed, _)| narrowed);
        if !words.is_empty() && narrowed == Narrowed::Some {
            exchange.narrow(Some(words));
        }
        narrowed
    }

    /// Leaves the candidates whose sum of scores is the highest.
    fn keep_best(
        &mut self,
        narrowing: &Narrowing,
        exchange: &ExchangeAtHand,
        pick: &Pick,
        count: u32,
    ) {
        let WorkerNarrowing {
            scorers,
            words,
            sums,
            ..
        } = self;
        sums.clear();
        sums.resize(count as usize * 64, 0);
        for ((role, weight), scorer) in narrowing.scorers.iter().zip(scorers) {
            let scores = scorer.ask(role, 0, |slot| {
                slot.call("score", |scorer| scorer.score(exchange, pick))
            });
            for (sum, score) in sums.iter_mut().zip(scores.into_iter().flat_map(|(s, _)| s)) {
                *sum += u64::from(score) * u64::from(*weight);
            }
        }
        words.clear();
        words.extend((0..count).map(|word| exchange.candidates(word)));
        let is_candidate = |index: usize| words[index / 64] >> (index % 64) & 1 == 1;
        let candidates = (0..sums.len()).filter(|index| is_candidate(*index));
        let Some(best) = candidates.map(|index| sums[index]).max() else {
            return;
        };
        for (index, sum) in sums.iter().enumerate() {
            if *sum < best {
                words[index / 64] &= !(1 << (index % 64));
            }
        }
        exchange.narrow(Some(words));
    }

    /// Takes over what the worker's own instances of `theirs`, of `before`, know.
    pub(super) fn take_over(
        &mut self,
        narrowing: &Narrowing,
        theirs: &mut WorkerNarrowing,
        before: &Narrowing,
    ) {
        let filters = self.filters.iter_mut().zip(&narrowing.filters);
        let previous = theirs.filters.iter_mut().zip(&before.filters);
        for ((own, role), (theirs, before)) in filters.zip(previous) {
            own.take_over(role, theirs, before);
        }
        let scorers = self.scorers.iter_mut().zip(&narrowing.scorers);
        let previous = theirs.scorers.iter_mut().zip(&before.scorers);
        for ((own, (role, _)), (theirs, (before, _))) in scorers.zip(previous) {
            own.take_over(role, theirs, before);
        }
    }

    pub(super) fn tick(&mut self, narrowing: &Narrowing, now_us: u64) {
        for (role, filter) in narrowing.filters.iter().zip(&mut self.filters) {
            filter.tick(role, now_us);
        }
        for ((role, _), scorer) in narrowing.scorers.iter().zip(&mut self.scorers) {
            scorer.tick(role, now_us);
        }
    }
}
