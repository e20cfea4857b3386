//! nginx's smooth weighted round robin (`ngx_http_upstream_get_peer`), whole and in parts.
//!
//! In every round each endpoint that takes part gains its effective weight; the richest is chosen and pays what all gained.
//! Weights 5, 1, 1 give `a a b a c a a`, never five in a row. An endpoint whose attempts fail loses effective weight and wins
//! it back by one per round (`ngx_http_upstream_free_round_robin_peer`).

use std::collections::{BTreeMap, VecDeque};

use crate::{Candidates, Endpoint, StateReader, StateWriter};

/// The state's format: for each endpoint its address, weight, current and effective weight.
const FORMAT: u8 = 1;

/// Bytes of state after which no further endpoint is added: more than 10,000 of them. The others begin anew.
const MOST_STATE: usize = 400 << 10;

/// Above every balance that can come about: 65,536 endpoints of the greatest weight. Sums of them are far from overflowing.
const MOST_BALANCE: u64 = 1 << 48;

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
    /// The address of each, to recognise it in a state.
    addresses: Vec<String>,
}

impl SmoothWeighted {
    /// Takes the endpoints, all at the beginning of the rotation. For those that stay see [`import_state`](Self::import_state).
    pub fn update(&mut self, endpoints: &[Endpoint]) {
        self.addresses = endpoints.iter().map(|e| e.address.clone()).collect();
        self.weights = endpoints.iter().map(|e| e.weight).collect();
        self.penalties = endpoints
            .iter()
            .map(|e| e.weight.checked_div(e.max_fails).unwrap_or(0))
            .collect();
        self.total_weight = endpoints.iter().map(|e| u64::from(e.weight)).sum();
        self.current = vec![0; endpoints.len()];
        self.effective.clone_from(&self.weights);
    }

    /// Where the rotation stands: see [`Keeper`](crate::Keeper). At most 400 KiB, which is more than 10,000 endpoints.
    pub fn export_state(&self) -> Vec<u8> {
        let mut state = StateWriter::new(FORMAT);
        for (index, address) in self.addresses.iter().enumerate() {
            if state.len() + address.len() > MOST_STATE {
                break;
            }
            state.text(address);
            state.number(self.weights[index].into());
            state.signed(self.current[index]);
            state.number(self.effective[index].into());
        }
        state.finish()
    }

    /// Goes on where another instance stood. Endpoints that were there, by address and weight, keep their place in the
    /// rotation; with another weight, the old balance was counted in another coin. Among the same endpoints as before, the
    /// choices are those that the other instance would have made.
    ///
    /// # Errors
    /// A state of another format, or none at all; the rotation is then as it was.
    pub fn import_state(&mut self, state: &[u8]) -> Result<(), String> {
        let mut read = StateReader::new(state);
        read.format(&[FORMAT])?;
        // Several endpoints may have the same address: they are taken in order.
        let mut before: BTreeMap<_, VecDeque<_>> = BTreeMap::new();
        let mut accounts = 0;
        while !read.is_empty() {
            let (address, weight) = (read.text()?, read.number()?);
            let (current, effective) = (read.signed()?, read.number()?);
            if current.unsigned_abs() > MOST_BALANCE || effective > weight {
                return Err(format!("the state's account of `{address}` cannot be"));
            }
            let account = (current, effective as u32);
            before
                .entry((address, weight))
                .or_default()
                .push_back(account);
            accounts += 1;
        }
        let mut kept = 0;
        for (index, address) in self.addresses.iter().enumerate() {
            let same = (address.as_str(), u64::from(self.weights[index]));
            if let Some(account) = before.get_mut(&same).and_then(VecDeque::pop_front) {
                (self.current[index], self.effective[index]) = account;
                kept += 1;
            }
        }
        if kept != accounts || kept != self.len() {
            // What an endpoint owed to one that is gone, which may have had a thousand times its weight, must not keep it out
            // of the rotation for a thousand rounds.
            let most = self.total_weight as i64;
            for current in &mut self.current {
                *current = (*current).clamp(-most, most);
            }
        }
        Ok(())
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
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{SmoothWeighted, StateWriter};
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

    /// The next instance, over endpoints of these names and weights.
    fn handed_over(smooth: &SmoothWeighted, endpoints: &[(&str, u32)]) -> SmoothWeighted {
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|&(server, weight)| endpoint(server).weight(weight).build())
            .collect();
        let mut next = SmoothWeighted::default();
        next.update(&endpoints);
        next.import_state(&smooth.export_state()).unwrap();
        next
    }

    #[test]
    fn the_rotation_goes_on_where_it_stood_whatever_the_order() {
        let mut smooth = of(&[5, 1, 1]);
        assert_eq!([pick(&mut smooth), pick(&mut smooth)], [0, 0]);
        let mut next = handed_over(&smooth, &[("a0:80", 5), ("a1:80", 1), ("a2:80", 1)]);
        assert_eq!([(); 5].map(|()| pick(&mut next)), [1, 0, 2, 0, 0]);
        let mut turned = handed_over(&smooth, &[("a2:80", 1), ("a1:80", 1), ("a0:80", 5)]);
        assert_eq!([(); 5].map(|()| pick(&mut turned)), [0, 2, 1, 2, 2]);
    }

    #[test]
    fn endpoints_that_stay_keep_their_place_and_new_ones_begin_at_the_middle() {
        let mut smooth = of(&[2, 2, 2]);
        smooth.failed(1);
        assert_eq!(pick(&mut smooth), 0);
        let next = handed_over(&smooth, &[("new:80", 2), ("a1:80", 2), ("a0:80", 3)]);
        assert_eq!(next.current, [0, 0, 0]); // a0 has another weight
        assert_eq!(next.effective, [2, 1, 3]);
        let next = handed_over(&smooth, &[("a0:80", 2), ("new:80", 2)]);
        assert_eq!((next.current, next.effective), (vec![-2, 0], vec![2, 2]));
    }

    #[test]
    fn endpoints_of_one_address_are_told_apart_by_their_order() {
        let twice = [("a:80", 1), ("a:80", 1), ("b:80", 1)];
        let mut smooth = handed_over(&SmoothWeighted::default(), &twice);
        assert_eq!(pick(&mut smooth), 0);
        assert_eq!(handed_over(&smooth, &twice).current, [-2, 1, 1]);
    }

    #[test]
    fn a_debt_to_an_endpoint_that_is_gone_is_cut_to_a_round_of_those_left() {
        let mut smooth = of(&[1000, 1, 1]);
        (0..502).for_each(|_| _ = pick(&mut smooth));
        assert!(smooth.current.iter().any(|&current| current < -400));
        let mut next = handed_over(&smooth, &[("a1:80", 1), ("a2:80", 1)]);
        assert!((0..4).any(|_| pick(&mut next) == 0) && (0..4).any(|_| pick(&mut next) == 1));
    }

    #[test]
    fn a_large_fleet_stays_below_its_bound() {
        let smooth = of(&[u32::MAX; 50_000]);
        let state = smooth.export_state();
        assert!(
            (300 << 10..=401 << 10).contains(&state.len()),
            "{}",
            state.len()
        );
        assert_eq!(of(&[u32::MAX; 50_000]).import_state(&state), Ok(()));
    }

    #[test]
    fn a_refused_state_changes_nothing() {
        let mut smooth = of(&[1, 1]);
        pick(&mut smooth);
        let (current, good) = (smooth.current.clone(), smooth.export_state());
        let mut too_rich = StateWriter::new(1);
        too_rich.text("a0:80");
        too_rich.number(1);
        too_rich.signed(i64::MAX);
        too_rich.number(1);
        for (state, reason) in [
            (vec![], "the state ends early"),
            (
                vec![9, 1],
                "the state has format `9`, this version reads `1`",
            ),
            (good[..good.len() - 1].to_vec(), "the state ends early"),
            (
                too_rich.finish(),
                "the state's account of `a0:80` cannot be",
            ),
        ] {
            assert_eq!(smooth.import_state(&state).unwrap_err(), reason);
            assert_eq!(smooth.current, current);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_state_makes_it_panic_or_choose_what_does_not_exist(
            state in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            at in 0_usize..200,
            byte in proptest::num::u8::ANY,
        ) {
            let mut smooth = of(&[3, 1, 2]);
            (0..4).for_each(|_| _ = pick(&mut smooth));
            let mut bent = smooth.export_state();
            let at = at % bent.len();
            bent[at] = byte;
            let any = [&[1], &*state].concat();
            for state in [state, any, bent] {
                _ = smooth.import_state(&state);
                (0..10).for_each(|_| assert!(pick(&mut smooth) < 3));
            }
        }
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
