//! What narrows an upstream's candidates before the policy under test picks: filters, then scorers.

use super::Upstream;
use super::host::{Host, enter};
use crate::{Choice, Endpoint, Filter, Policy, Scorer, Settings};

/// Filters in their order, and scorers with their weights.
#[derive(Default)]
pub(super) struct Preparation {
    filters: Vec<Box<dyn Narrow>>,
    scorers: Vec<(u64, Box<dyn Rank>)>,
}

/// A filter of any type.
trait Narrow {
    fn update(&mut self, endpoints: Vec<Endpoint>);
    fn narrow(&mut self, word: usize, candidates: u64, choice: &Choice) -> u64;
    fn may_be_ignored(&self) -> bool;
}

impl<F: Filter> Narrow for F {
    fn update(&mut self, endpoints: Vec<Endpoint>) {
        Filter::update(self, endpoints);
    }
    fn narrow(&mut self, word: usize, candidates: u64, choice: &Choice) -> u64 {
        Filter::narrow(self, word, candidates, choice)
    }
    fn may_be_ignored(&self) -> bool {
        Filter::may_be_ignored(self)
    }
}

/// A scorer of any type.
trait Rank {
    fn update(&mut self, endpoints: Vec<Endpoint>);
    fn score(&mut self, choice: &Choice) -> Vec<u16>;
}

impl<S: Scorer> Rank for S {
    fn update(&mut self, endpoints: Vec<Endpoint>) {
        Scorer::update(self, endpoints);
    }
    fn score(&mut self, choice: &Choice) -> Vec<u16> {
        Scorer::score(self, choice)
    }
}

impl<P: Policy> Upstream<P> {
    /// Has a filter narrow the candidates before the policy picks, behind those that do already.
    ///
    /// # Panics
    /// If it refuses the settings.
    pub fn filter<F: Filter + 'static>(mut self, settings: &str) -> Self {
        let entered = enter(&self.host);
        let filter = Settings::parse(settings).and_then(F::configure);
        let mut filter = filter.unwrap_or_else(|error| panic!("{}", error.message));
        filter.update(self.endpoints.clone());
        drop(entered);
        self.preparation.add_filter(filter);
        self
    }

    /// Has a scorer rank the candidates before the policy picks, with this weight.
    ///
    /// # Panics
    /// If it refuses the settings.
    pub fn scorer<S: Scorer + 'static>(mut self, settings: &str, weight: u64) -> Self {
        let entered = enter(&self.host);
        let scorer = Settings::parse(settings).and_then(S::configure);
        let mut scorer = scorer.unwrap_or_else(|error| panic!("{}", error.message));
        scorer.update(self.endpoints.clone());
        drop(entered);
        self.preparation.add_scorer(scorer, weight);
        self
    }
}

impl Preparation {
    pub(super) fn add_filter(&mut self, filter: impl Filter + 'static) {
        self.filters.push(Box::new(filter));
    }

    pub(super) fn add_scorer(&mut self, scorer: impl Scorer + 'static, weight: u64) {
        self.scorers.push((weight, Box::new(scorer)));
    }

    pub(super) fn update(&mut self, endpoints: &[Endpoint]) {
        for filter in &mut self.filters {
            filter.update(endpoints.to_vec());
        }
        for (_, scorer) in &mut self.scorers {
            scorer.update(endpoints.to_vec());
        }
    }

    /// Leaves of the host's candidates those that the policy may choose from. False where a filter
    /// has left none, and does not want to be ignored.
    pub(super) fn prepare(&mut self, host: &Host, choice: &Choice) -> bool {
        for filter in &mut self.filters {
            let free = host.fleet.borrow().free.clone();
            let words = free.len().div_ceil(64);
            let narrowed = (0..words).map(|word| {
                let candidates = host.fleet.borrow().word(word);
                candidates & filter.narrow(word, candidates, choice)
            });
            let narrowed: Vec<u64> = narrowed.collect();
            if narrowed.iter().all(|&word| word == 0) {
                if filter.may_be_ignored() {
                    continue;
                }
                return false;
            }
            let is_left = |index: usize| narrowed[index / 64] >> (index % 64) & 1 == 1;
            host.fleet.borrow_mut().free = (0..free.len()).map(is_left).collect();
        }
        self.rank(host, choice);
        true
    }

    /// Leaves those whose scores are highest together.
    fn rank(&mut self, host: &Host, choice: &Choice) {
        if self.scorers.is_empty() {
            return;
        }
        let mut sums = vec![0; host.fleet.borrow().free.len()];
        for (weight, scorer) in &mut self.scorers {
            for (sum, score) in sums.iter_mut().zip(scorer.score(choice)) {
                *sum += *weight * u64::from(score);
            }
        }
        let free = &mut host.fleet.borrow_mut().free;
        let candidates = free.iter().zip(&sums).filter(|(free, _)| **free);
        let best = candidates.map(|(_, sum)| *sum).max();
        for (free, sum) in free.iter_mut().zip(&sums) {
            *free &= Some(*sum) == best;
        }
    }
}
