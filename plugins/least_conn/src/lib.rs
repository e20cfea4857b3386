//! `least_conn`: the endpoint with the fewest attempts in progress for its weight
//! (`ngx_http_upstream_least_conn_module.c`).
//!
//! Two passes. The first finds the least loaded; if several share that place, the second lets them,
//! from the first of them on, take turns by weight. One instance for the whole process, because of
//! the turns: the loads are the host's and count all workers either way.

use waypost_sdk::{
    About, Candidates, Describe, Endpoint, Failures, Keeper, Pick, Policy, Settings, SettingsError,
    Sharing, SmoothWeighted,
};

/// Up to so many endpoints are asked for one by one: a list costs an allocation.
const FEW: usize = 4;

/// The least loaded, by turns among equals.
pub struct LeastConn {
    turns: SmoothWeighted,
    /// Whether load alone decides, as all weights are equal.
    equal_weights: bool,
    /// The endpoints in blocks of 64, filled anew by each pick. Kept so that none allocates.
    blocks: Vec<Block>,
}

#[derive(Clone, Copy, Default)]
struct Block {
    /// The least burden of a candidate in this block.
    least: u64,
    /// The candidates that have the least burden of all.
    ties: u64,
}

impl Policy for LeastConn {
    fn configure(settings: Settings) -> Result<Self, SettingsError> {
        settings.finish()?;
        Ok(LeastConn {
            turns: SmoothWeighted::default(),
            equal_weights: true,
            blocks: Vec::new(),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerProcess
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        self.turns.update(&endpoints);
        self.equal_weights = endpoints
            .windows(2)
            .all(|pair| pair[0].weight == pair[1].weight);
        self.blocks = vec![Block::default(); endpoints.len().div_ceil(64)];
    }

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        let (fleet, count) = (pick.fleet(), self.turns.len());
        if count <= 1 {
            return self.turns.pick(pick.candidates());
        }
        if count <= FEW {
            let mut loads = [0; FEW];
            for (index, load) in loads.iter_mut().enumerate().take(count) {
                *load = fleet.in_flight(index);
            }
            return self.choose(pick.candidates(), &loads[..count]);
        }
        self.choose(pick.candidates(), &fleet.all_in_flight())
    }
}

impl LeastConn {
    fn choose(&mut self, candidates: &Candidates, loads: &[u32]) -> Option<usize> {
        let ties = if self.equal_weights {
            self.find_least(candidates, loads, |load, _| load)
        } else {
            self.find_least(candidates, loads, per_weight)
        };
        if ties == 1 {
            // nginx moves no account where there is no tie.
            let (word, block) = self
                .blocks
                .iter()
                .enumerate()
                .find(|(_, block)| block.ties != 0)?;
            return Some(64 * word + block.ties.trailing_zeros() as usize);
        }
        self.turns.pick_among(|word| self.blocks[word].ties)
    }

    /// Finds the candidates with the least burden: leaves them in `blocks`, and returns how many
    /// they are.
    #[inline(always)]
    fn find_least<B>(
        &mut self,
        candidates: &Candidates,
        loads: &[u32],
        burden: impl Fn(u32, u32) -> B + Copy,
    ) -> u32
    where
        B: Copy + Ord + Into<u64>,
    {
        let weights = self.turns.weights();
        let each = || loads.chunks(64).zip(weights.chunks(64)).enumerate();
        let mut least = u64::MAX;
        for (word, (loads, weights)) in each() {
            let (bits, all) = (candidates.word(word), u64::MAX >> (64 - loads.len()));
            let burden_at = |bit: usize| burden(loads[bit], weights[bit]).into();
            self.blocks[word] = if bits == all {
                let (least, greatest) = extremes(loads, weights, burden);
                Block {
                    least: least.into(),
                    ties: if least == greatest { bits } else { 0 },
                }
            } else {
                Block {
                    least: ones(bits & all).map(burden_at).min().unwrap_or(u64::MAX),
                    ties: 0,
                }
            };
            least = least.min(self.blocks[word].least);
        }
        let mut count = 0;
        for (word, (loads, weights)) in each() {
            let block = &mut self.blocks[word];
            if block.least != least {
                block.ties = 0;
            } else if block.ties == 0 {
                let equal = |bit: &usize| burden(loads[*bit], weights[*bit]).into() == least;
                block.ties = ones(candidates.word(word))
                    .filter(equal)
                    .fold(0, |ties, bit| ties | 1 << bit);
            }
            count += block.ties.count_ones();
        }
        count
    }
}

/// A fraction as an integer of the same order: the bits of a float that is not negative. Both parts
/// are far below 2^26, so that different fractions stay different, and equal ones equal.
#[inline(always)]
fn per_weight(load: u32, weight: u32) -> u64 {
    (f64::from(load) / f64::from(weight)).to_bits()
}

/// The least and the greatest burden of a block, which is not empty.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn extremes<B: Copy + Ord>(
    loads: &[u32],
    weights: &[u32],
    burden: impl Fn(u32, u32) -> B,
) -> (B, B) {
    let first = burden(loads[0], weights[0]);
    let (mut least, mut greatest) = (first, first);
    for (&load, &weight) in loads.iter().zip(weights) {
        let burden = burden(load, weight);
        least = least.min(burden);
        greatest = greatest.max(burden);
    }
    (least, greatest)
}

/// The places of a word's ones.
fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(bit)
    })
}

impl Failures for LeastConn {
    fn failed(&mut self, index: usize) {
        self.turns.failed(index);
    }
}

/// The loads are the host's: only the turns are its own.
impl Keeper for LeastConn {
    fn export_state(&self) -> Vec<u8> {
        self.turns.export_state()
    }

    fn import_state(&mut self, state: &[u8]) -> Result<(), String> {
        self.turns.import_state(state)
    }
}

impl Describe for LeastConn {
    fn describe() -> About {
        About::new("the server with the fewest requests in progress for its weight")
    }
}

waypost_sdk::export!(LeastConn, failures, keeper, describe);

#[cfg(test)]
mod tests;
