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
    turns: Vec<Turn>,
    total_weight: u64,
    /// Server and address of each, to recognise them in the next update.
    names: Vec<(String, String)>,
}

/// One endpoint's account.
#[derive(Debug, Clone, Copy)]
struct Turn {
    current: i64,
    effective: u32,
    weight: u32,
    /// What a failure takes from `effective`; 0 where `max_fails` is.
    penalty: u32,
}

impl Turn {
    fn new(endpoint: &Endpoint) -> Self {
        let weight = endpoint.weight;
        Turn {
            current: 0,
            effective: weight,
            weight,
            penalty: weight.checked_div(endpoint.max_fails).unwrap_or(0),
        }
    }

    /// Takes part in a round; returns what it gained.
    #[inline(always)]
    fn gain(&mut self) -> i64 {
        let gain = i64::from(self.effective);
        self.current += gain;
        self.effective += u32::from(self.effective < self.weight);
        gain
    }
}

impl SmoothWeighted {
    /// Takes the endpoints. Those that were there before, by server and address, keep their place in the rotation.
    pub fn update(&mut self, endpoints: &[Endpoint]) {
        let mut before: BTreeMap<(String, String), Vec<Turn>> = BTreeMap::new();
        for (name, turn) in std::mem::take(&mut self.names)
            .into_iter()
            .zip(&self.turns)
            .rev()
        {
            before.entry(name).or_default().push(*turn);
        }
        self.names = endpoints
            .iter()
            .map(|e| (e.server.clone(), e.address.clone()))
            .collect();
        self.total_weight = endpoints.iter().map(|e| u64::from(e.weight)).sum();
        let kept = |(endpoint, name): (&Endpoint, &(String, String))| {
            let fresh = Turn::new(endpoint);
            match before.get_mut(name).and_then(Vec::pop) {
                // A changed weight is a new beginning: the old balance was counted in another coin.
                Some(old) if old.weight == fresh.weight => Turn {
                    penalty: fresh.penalty,
                    ..old
                },
                _ => fresh,
            }
        };
        self.turns = endpoints.iter().zip(&self.names).map(kept).collect();
    }

    /// How many endpoints there are.
    pub fn len(&self) -> usize {
        self.turns.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// The weights of all endpoints together, `down` ones included.
    pub fn total_weight(&self) -> u64 {
        self.total_weight
    }

    /// Chooses among the candidates: a whole round. `None` where there is no candidate.
    #[inline]
    pub fn pick(&mut self, candidates: &Candidates) -> Option<usize> {
        if self.turns.len() == 1 {
            return candidates.contains(0).then_some(0);
        }
        let (best, total) = self.gain_all(candidates);
        self.turns.get_mut(best)?.current -= total;
        Some(best)
    }

    /// Chooses one endpoint out of turn, where it is a candidate, and charges it as if it had won; otherwise as [`pick`](Self::pick).
    ///
    /// The debt is bounded: an endpoint that owes a round of all others is chosen without moving any account (nginx's `low_limit`),
    /// so that a crowd of bound clients does not keep it out of the rotation for long afterwards.
    pub fn pick_hinted(&mut self, candidates: &Candidates, hint: Option<usize>) -> Option<usize> {
        let Some(hint) =
            hint.filter(|&index| index < self.turns.len() && candidates.contains(index))
        else {
            return self.pick(candidates);
        };
        let Turn {
            current, weight, ..
        } = self.turns[hint];
        if current > -(self.total_weight as i64 - i64::from(weight)) {
            let (_, total) = self.gain_all(candidates);
            self.turns[hint].current -= total;
        }
        Some(hint)
    }

    /// A round among endpoints of your own choice: see [`Round`].
    pub fn round(&mut self) -> Round<'_> {
        Round {
            turns: &mut self.turns,
            best: None,
            total: 0,
        }
    }

    /// A round in which `best` leads from the start, before it has gained anything, until another has more.
    pub fn round_led_by(&mut self, best: usize) -> Round<'_> {
        Round {
            turns: &mut self.turns,
            best: Some(best),
            total: 0,
        }
    }

    /// Lowers the effective weight of an endpoint whose attempt failed, by its weight over `max_fails`.
    pub fn failed(&mut self, index: usize) {
        if let Some(turn) = self.turns.get_mut(index) {
            turn.effective = turn.effective.saturating_sub(turn.penalty);
        }
    }

    /// All candidates gain; returns the richest (past the end where there is no candidate) and what they gained in all.
    #[inline]
    fn gain_all(&mut self, candidates: &Candidates) -> (usize, i64) {
        let (mut best, mut highest, mut total) = (usize::MAX, i64::MIN, 0);
        for (word, turns) in self.turns.chunks_mut(64).enumerate() {
            let bits = candidates.word(word);
            for (bit, turn) in turns.iter_mut().enumerate() {
                if bits >> bit & 1 == 0 {
                    continue;
                }
                total += turn.gain();
                if turn.current > highest {
                    (best, highest) = (64 * word + bit, turn.current);
                }
            }
        }
        (best, total)
    }
}

/// A round that only some endpoints take part in. The order in which they join decides ties: the first wins.
#[derive(Debug)]
pub struct Round<'a> {
    turns: &'a mut [Turn],
    best: Option<usize>,
    total: i64,
}

impl Round<'_> {
    /// Lets an endpoint take part. Returns whether it leads now.
    #[inline]
    pub fn join(&mut self, index: usize) -> bool {
        let Some(turn) = self.turns.get_mut(index) else {
            return false;
        };
        self.total += turn.gain();
        let current = turn.current;
        let leads = self
            .best
            .is_none_or(|best| current > self.turns[best].current);
        if leads {
            self.best = Some(index);
        }
        leads
    }

    /// Ends the round: the leader pays what all gained, and is the choice. `None` where nobody took part.
    pub fn finish(self) -> Option<usize> {
        let best = self.best?;
        self.turns[best].current -= self.total;
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
        assert_eq!(
            (smooth.turns[0].effective, smooth.turns[1].effective),
            (4, 6)
        );
        pick(&mut smooth);
        assert_eq!(smooth.turns[0].effective, 5);
        (0..9).for_each(|_| smooth.failed(0));
        assert_eq!(smooth.turns[0].effective, 0);
    }
}
