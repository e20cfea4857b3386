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
    /// What makes loads of different weights comparable as whole numbers: for each endpoint, how often
    /// its weight goes into a multiple that all weights have in common.
    factors: Vec<u32>,
    /// The greatest load that each of them can be multiplied by within 32 bits; 0 where the weights
    /// have no such multiple.
    greatest: u32,
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
            factors: Vec::new(),
            greatest: 0,
            blocks: Vec::new(),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerProcess
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        self.turns.update(&endpoints);
        (self.factors, self.greatest) = factors(self.turns.weights());
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
        // No load is greater than all bits of all loads together.
        let ties = if loads.iter().fold(0, |all, load| all | load) <= self.greatest {
            let times = |load: u32, factor: u32| load.wrapping_mul(factor);
            find_least(&mut self.blocks, candidates, loads, &self.factors, times)
        } else {
            let weights = self.turns.weights();
            find_least(&mut self.blocks, candidates, loads, weights, per_weight)
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
}

/// For each of these weights its factor, and the greatest load that may be multiplied by them: see
/// [`LeastConn::factors`].
fn factors(weights: &[u32]) -> (Vec<u32>, u32) {
    let in_common = weights.iter().try_fold(1_u32, |multiple, &weight| {
        (multiple / greatest_divisor(multiple, weight)).checked_mul(weight)
    });
    match in_common {
        Some(multiple) => {
            let factors: Vec<u32> = weights.iter().map(|weight| multiple / weight).collect();
            let greatest = factors
                .iter()
                .max()
                .map_or(0, |greatest| u32::MAX / greatest);
            (factors, greatest)
        }
        // Loads of 0 alone compare without.
        None => (vec![1; weights.len()], 0),
    }
}

/// The greatest number that divides both, by Euclid.
fn greatest_divisor(mut one: u32, mut other: u32) -> u32 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

/// A fraction as an integer of the same order: the bits of a float that is not negative. Both parts
/// are far below 2^26, so that different fractions stay different, and equal ones equal.
#[inline(always)]
fn per_weight(load: u32, weight: u32) -> u64 {
    (f64::from(load) / f64::from(weight)).to_bits()
}

/// Finds the candidates with the least burden, which is made of the load and of `others`: leaves
/// them in `blocks`, and returns how many they are.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn find_least<B>(
    blocks: &mut [Block],
    candidates: &Candidates,
    loads: &[u32],
    others: &[u32],
    burden: impl Fn(u32, u32) -> B + Copy,
) -> u32
where
    B: Copy + Ord + Into<u64>,
{
    let each = || loads.chunks(64).zip(others.chunks(64)).enumerate();
    let mut least = None;
    for (word, (loads, others)) in each() {
        let (bits, all) = (candidates.word(word), u64::MAX >> (64 - loads.len()));
        let of_block = if bits == all {
            let burdens = loads
                .iter()
                .zip(others)
                .map(|(&load, &other)| burden(load, other));
            burdens.min()
        } else {
            ones(bits & all)
                .map(|bit| burden(loads[bit], others[bit]))
                .min()
        };
        blocks[word] = Block {
            least: of_block.map_or(u64::MAX, Into::into),
            ties: 0,
        };
        least = least.into_iter().chain(of_block).min();
    }
    let Some(least) = least else {
        return 0;
    };
    let mut count = 0;
    for (word, (loads, others)) in each() {
        let block = &mut blocks[word];
        if block.least == least.into() {
            block.ties = candidates.word(word) & equal(loads, others, burden, least);
            count += block.ties.count_ones();
        }
    }
    count
}

/// Which endpoints of a block have this burden, as bits.
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn equal<B: Copy + Ord>(
    loads: &[u32],
    others: &[u32],
    burden: impl Fn(u32, u32) -> B,
    least: B,
) -> u64 {
    // A byte for each at first: bits of one word cannot be found several at once.
    let mut equal = [0_u8; 64];
    for ((equal, &load), &other) in equal.iter_mut().zip(loads).zip(others) {
        *equal = u8::from(burden(load, other) == least);
    }
    let (eights, _) = equal.as_chunks::<8>();
    let eights = eights.iter().enumerate();
    eights.fold(0, |bits, (place, eight)| {
        // Byte `i` is 0 or 1. Of the sums, the one in the highest byte has it as bit `i`, and nothing
        // carries.
        let gathered = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        bits | gathered << (8 * place)
    })
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
