//! Random numbers derived from one: small, fast, replayable. Not for secrets.

/// A sequence of random numbers that its seed determines (SplitMix64).
#[derive(Debug, Clone)]
pub struct Draws {
    state: u64,
}

impl Draws {
    /// The sequence of this seed.
    pub fn from_seed(seed: u64) -> Self {
        Draws { state: seed }
    }

    /// The next number, uniform over all 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// The next number below `bound`; 0 where the bound is 0. The bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::Draws;

    #[test]
    fn the_sequence_is_splitmix64() {
        // First outputs for seed 1234567, as published with the reference implementation
        // (prng.di.unimi.it/splitmix64.c).
        let mut draws = Draws::from_seed(1_234_567);
        assert_eq!(draws.draw(), 6_457_827_717_110_365_317);
        assert_eq!(draws.draw(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn numbers_below_a_bound_cover_all_of_it_evenly() {
        let mut draws = Draws::from_seed(7);
        let mut seen = [0_u32; 5];
        for _ in 0..5000 {
            seen[draws.below(5) as usize] += 1;
        }
        assert!(
            seen.iter().all(|&times| (900..1100).contains(&times)),
            "{seen:?}"
        );
        assert_eq!(draws.below(0), 0);
    }
}
