//! nginx's smooth weighted round robin (`ngx_http_upstream_get_peer`), whole and in parts.
//!
//! In every round each endpoint that takes part gains its effective weight; the richest is chosen
//! and pays what all gained. Weights 5, 1, 1 give `a a b a c a a`, never five in a row. An endpoint
//! whose attempts fail loses effective weight and wins it back by one per round
//! (`ngx_http_upstream_free_round_robin_peer`).

use crate::{Candidates, Endpoint, StateEntries, StateReader, StateWriter};

/// The state's format: for each endpoint its address, weight, current and effective weight.
const FORMAT: u8 = 1;

/// Bytes of state after which no further endpoint is added: more than 10,000 of them. The others
/// begin anew.
const MOST_STATE: usize = 400 << 10;

/// Above every balance that can come about: 65,536 endpoints of the greatest weight. Sums of them
/// are far from overflowing.
const MOST_BALANCE: u64 = 1 << 48;

/// Endpoints that take turns by weight.
#[derive(Debug, Default)]
pub struct SmoothWeighted {
    // One list for each figure, not a list of records: whole blocks are added up and compared at
    // once.
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
    /// Takes the endpoints, all at the beginning of the rotation. For those that stay see
    /// [`import_state`](Self::import_state).
    pub fn update(&mut self, endpoints: &[Endpoint]) {
        self.addresses = endpoints.iter().map(|e| e.address.clone()).collect();
        self.weights = endpoints.iter().map(|e| e.weight).collect();
        self.penalties = endpoints
            .iter()
            .map(|e| e.weight.checked_div(e.max_fails()).unwrap_or(0))
            .collect();
        self.total_weight = endpoints.iter().map(|e| u64::from(e.weight)).sum();
        self.current = vec![0; endpoints.len()];
        self.effective.clone_from(&self.weights);
    }

    /// Where the rotation stands: see [`Keeper`](crate::Keeper). At most 400 KiB, which is more
    /// than 10,000 endpoints.
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

    /// Goes on where another instance stood. Endpoints that were there, by address and weight, keep
    /// their place in the rotation; with another weight, the old balance was counted in another
    /// coin. Among the same endpoints as before, the choices are those that the other instance
    /// would have made.
    ///
    /// # Errors
    /// A state of another format, or none at all; the rotation is then as it was.
    pub fn import_state(&mut self, state: &[u8]) -> Result<(), String> {
        let mut read = StateReader::new(state);
        read.format(&[FORMAT])?;
        let mut before = StateEntries::default();
        let mut accounts = 0;
        while !read.is_empty() {
            let (address, weight) = (read.text()?, read.number()?);
            let (current, effective) = (read.signed()?, read.number()?);
            if current.unsigned_abs() > MOST_BALANCE || effective > weight {
                return Err(format!("the state's account of `{address}` cannot be"));
            }
            let account = (current, effective as u32);
            before.add((address, weight), account);
            accounts += 1;
        }
        let mut kept = 0;
        for (index, address) in self.addresses.iter().enumerate() {
            let same = (address.as_str(), u64::from(self.weights[index]));
            if let Some(account) = before.take(&same) {
                (self.current[index], self.effective[index]) = account;
                kept += 1;
            }
        }
        if kept != accounts || kept != self.len() {
            // What an endpoint owed to one that is gone, which may have had a thousand times its
            // weight, must not keep it out of the rotation for a thousand rounds.
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

    /// Chooses among endpoints of your own choice, given 64 at a time: bit `i` of word `w` stands
    /// for endpoint `64 * w + i`.
    #[inline]
    pub fn pick_among(&mut self, words: impl Fn(usize) -> u64) -> Option<usize> {
        if self.len() == 1 {
            return (words(0) & 1 == 1).then_some(0);
        }
        let (best, total) = self.gain(words);
        *self.current.get_mut(best)? -= total;
        Some(best)
    }

    /// Chooses one endpoint out of turn, where it is a candidate, and charges it as if it had won;
    /// otherwise as [`pick`](Self::pick).
    ///
    /// The debt is bounded: an endpoint that owes a round of all others is chosen without moving
    /// any account (nginx's `low_limit`), so that a crowd of bound clients does not keep it out of
    /// the rotation for long afterwards.
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

    /// Lowers the effective weight of an endpoint whose attempt failed, by its weight over
    /// `max_fails`.
    pub fn failed(&mut self, index: usize) {
        if let (Some(effective), Some(penalty)) =
            (self.effective.get_mut(index), self.penalties.get(index))
        {
            *effective = effective.saturating_sub(*penalty);
        }
    }

    /// All of these gain; returns the richest (past the end where there is none) and what they
    /// gained in all.
    #[inline]
    fn gain(&mut self, words: impl Fn(usize) -> u64) -> (usize, i64) {
        let (mut best, mut highest, mut total) = (usize::MAX, i64::MIN, 0);
        // `best` is a block, in which the first with the highest balance is to be found.
        let mut is_block = false;
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
                    (best, highest, is_block) = (64 * word, richest, true);
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
                    (best, highest, is_block) = (64 * word + bit, current[bit], false);
                }
            }
        }
        if is_block {
            let block = self.current[best..].iter();
            best += { block }
                .position(|&current| current == highest)
                .unwrap_or(0);
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

/// A round that only some endpoints take part in. The order in which they join decides ties: the
/// first wins.
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

    /// The endpoint that would be picked if the round ended now; `None` where none has taken part.
    pub fn leader(&self) -> Option<usize> {
        self.best
    }

    /// Ends the round: the endpoint with the highest current weight is picked, and the total of the
    /// weights is subtracted from it. `None` where no endpoint took part.
    pub fn finish(self) -> Option<usize> {
        let best = self.best?;
        self.smooth.current[best] -= self.total;
        Some(best)
    }
}

#[cfg(test)]
mod tests;
