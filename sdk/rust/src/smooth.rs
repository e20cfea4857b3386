//! nginx's smooth weighted round robin (`ngx_http_upstream_get_peer`), whole and in parts.
//!
//! In every round each endpoint that takes part gains its effective weight; the richest is chosen and pays what all gained.
//! Weights 5, 1, 1 give `a a b a c a a`, never five in a row. An endpoint whose attempts fail loses effective weight and wins
//! it back by one per round (`ngx_http_upstream_free_round_robin_peer`).

use std::collections::BTreeMap;

use crate::{Candidates, Endpoint};

/// Endpoints that take turns by weight.
#[derive(Debug, Default)]
pub struct SmoothWeighted {
    // One list for each figure, not a list of records: whole blocks are added up and compared at once.
    current: Vec<i64>,
    effective: Vec<u32>,
    weights: Vec<u32>,
    /// What a failure takes from the effective weight; 0 where `max_fails` is.
    penalties: Vec<u32>,
    total_weight: u64,
    /// Server and address of each, to recognise them in the next update.
    names: Vec<(String, String)>,
}

impl SmoothWeighted {
    /// Takes the endpoints. Those that were there before, by server, address and weight, keep their place in the rotation.
    pub fn update(&mut self, endpoints: &[Endpoint]) {
        // By weight too: with another one, the old balance was counted in another coin.
        let name = |(server, address): &(String, String), weight: u32| {
            (server.clone(), address.clone(), weight)
        };
        let mut before: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (index, names) in self.names.iter().enumerate().rev() {
            let account = (self.current[index], self.effective[index]);
            before
                .entry(name(names, self.weights[index]))
                .or_default()
                .push(account);
        }
        self.names = endpoints
            .iter()
            .map(|e| (e.server.clone(), e.address.clone()))
            .collect();
        self.weights = endpoints.iter().map(|e| e.weight).collect();
        self.penalties = endpoints
            .iter()
            .map(|e| e.weight.checked_div(e.max_fails).unwrap_or(0))
            .collect();
        self.total_weight = endpoints.iter().map(|e| u64::from(e.weight)).sum();
        let accounts = self
            .names
            .iter()
            .zip(&self.weights)
            .map(|(names, &weight)| {
                before
                    .get_mut(&name(names, weight))
                    .and_then(Vec::pop)
                    .unwrap_or((0, weight))
            });
        (self.current, self.effective) = accounts.unzip();
    }

    /// How many endpoints there are.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// The weights of all endpoints, in order.
    pub fn weights(&self) -> &[u32] {
        &self.weights
    }

    /// Chooses among the candidates: a whole round. `None` where there is no candidate.
    #[inline]
    pub fn pick(&mut self, candidates: &Candidates) -> Option<usize> {
        self.pick_among(|word| candidates.word(word))
    }

    /// Chooses among endpoints of your own choice, given 64 at a time: bit `i` of word `w` stands for endpoint `64 * w + i`.
    #[inline]
    pub fn pick_among(&mut self, words: impl Fn(usize) -> u64) -> Option<usize> {
        if self.len() == 1 {
            return (words(0) & 1 == 1).then_some(0);
        }
        let (best, total) = self.gain(words);
        *self.current.get_mut(best)? -= total;
        Some(best)
    }

    /// Chooses one endpoint out of turn, where it is a candidate, and charges it as if it had won; otherwise as [`pick`](Self::pick).
    ///
    /// The debt is bounded: an endpoint that owes a round of all others is chosen without moving any account (nginx's `low_limit`),
    /// so that a crowd of bound clients does not keep it out of the rotation for long afterwards.
    pub fn pick_hinted(&mut self, candidates: &Candidates, hint: Option<usize>) -> Option<usize> {
        let Some(hint) = hint.filter(|&index| index < self.len() && candidates.contains(index))
        else {
            return self.pick(candidates);
        };
        let limit = -(self.total_weight as i64 - i64::from(self.weights[hint]));
        if self.current[hint] > limit {
            let (_, total) = self.gain(|word| candidates.word(word));
            self.current[hint] -= total;
        }
        Some(hint)
    }

    /// A round of a few endpoints, named one by one: see [`Round`].
    pub fn round(&mut self) -> Round<'_> {
        Round {
            smooth: self,
            best: None,
            total: 0,
        }
    }

    /// Lowers the effective weight of an endpoint whose attempt failed, by its weight over `max_fails`.
    pub fn failed(&mut self, index: usize) {
        if let (Some(effective), Some(penalty)) =
            (self.effective.get_mut(index), self.penalties.get(index))
        {
            *effective = effective.saturating_sub(*penalty);
        }
    }

    /// All of these gain; returns the richest (past the end where there is none) and what they gained in all.
    #[inline]
    fn gain(&mut self, words: impl Fn(usize) -> u64) -> (usize, i64) {
        let (mut best, mut highest, mut total) = (usize::MAX, i64::MIN, 0);
        let effective = self.effective.chunks_mut(64);
        let blocks = self
            .current
            .chunks_mut(64)
            .zip(effective)
            .zip(self.weights.chunks(64))
            .enumerate();
        for (word, ((current, effective), weights)) in blocks {
            let bits = words(word);
            if bits == u64::MAX >> (64 - weights.len()) {
                let (richest, gained) = gain_together(current, effective, weights);
                total += gained;
                if richest > highest {
                    highest = richest;
                    best = 64 * word
                        + current
                            .iter()
                            .position(|&current| current == richest)
                            .unwrap_or(0);
                }
                continue;
            }
            let mut left = bits;
            while left != 0 {
                let bit = left.trailing_zeros() as usize;
                left &= left - 1;
                if bit >= weights.len() {
                    break;
                }
                total += gain_one(&mut current[bit], &mut effective[bit], weights[bit]);
                if current[bit] > highest {
                    (best, highest) = (64 * word + bit, current[bit]);
                }
            }
        }
        (best, total)
    }
}

/// An endpoint takes part in a round; returns what it gained.
#[inline(always)]
fn gain_one(current: &mut i64, effective: &mut u32, weight: u32) -> i64 {
    let gained = i64::from(*effective);
    *current += gained;
    *effective += u32::from(*effective < weight);
    gained
}

/// A whole block takes part; returns the highest balance and what all gained.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn gain_together(current: &mut [i64], effective: &mut [u32], weights: &[u32]) -> (i64, i64) {
    let (mut highest, mut total) = (i64::MIN, 0);
    for ((current, effective), &weight) in current.iter_mut().zip(effective).zip(weights) {
        total += gain_one(current, effective, weight);
        highest = highest.max(*current);
    }
    (highest, total)
}

/// A round that only some endpoints take part in. The order in which they join decides ties: the first wins.
#[derive(Debug)]
pub struct Round<'a> {
    smooth: &'a mut SmoothWeighted,
    best: Option<usize>,
    total: i64,
}

impl Round<'_> {
    /// Lets an endpoint take part.
    pub fn join(&mut self, index: usize) {
        let SmoothWeighted {
            current,
            effective,
            weights,
            ..
        } = &mut *self.smooth;
        let Some(&weight) = weights.get(index) else {
            return;
        };
        self.total += gain_one(&mut current[index], &mut effective[index], weight);
        if self.best.is_none_or(|best| current[index] > current[best]) {
            self.best = Some(index);
        }
    }

    /// Ends the round: the leader pays what all gained, and is the choice. `None` where nobody took part.
    pub fn finish(self) -> Option<usize> {
        let best = self.best?;
        self.smooth.current[best] -= self.total;
        Some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::SmoothWeighted;
    use crate::testing::endpoint;

    fn of(weights: &[u32]) -> SmoothWeighted {
        let mut smooth = SmoothWeighted::default();
        let endpoints: Vec<_> = weights
            .iter()
            .enumerate()
            .map(|(i, &weight)| endpoint(&format!("a{i}:80")).weight(weight).build())
            .collect();
        smooth.update(&endpoints);
        smooth
    }

    fn pick(smooth: &mut SmoothWeighted) -> usize {
        let all = 0..smooth.len();
        let mut round = smooth.round();
        for index in all {
            round.join(index);
        }
        round.finish().unwrap_or(usize::MAX)
    }

    #[test]
    fn an_endpoint_that_stays_keeps_its_place_in_the_rotation() {
        let mut smooth = of(&[5, 1, 1]);
        assert_eq!([pick(&mut smooth), pick(&mut smooth)], [0, 0]);
        let grown: Vec<_> = [("a0:80", 5), ("a1:80", 1), ("a2:80", 1)]
            .map(|(server, weight)| endpoint(server).weight(weight).build())
            .to_vec();
        smooth.update(&grown);
        assert_eq!([(); 5].map(|()| pick(&mut smooth)), [1, 0, 2, 0, 0]);
    }

    #[test]
    fn a_failure_takes_weight_over_max_fails_and_each_round_returns_one() {
        let mut smooth = SmoothWeighted::default();
        smooth.update(&[
            endpoint("a:80").weight(6).max_fails(3).build(),
            endpoint("b:80").weight(6).max_fails(0).build(),
        ]);
        smooth.failed(0);
        smooth.failed(1);
        assert_eq!(smooth.effective, [4, 6]);
        pick(&mut smooth);
        assert_eq!(smooth.effective[0], 5);
        (0..9).for_each(|_| smooth.failed(0));
        assert_eq!(smooth.effective[0], 0);
    }
}
