//! Tokens that were verified, until they expire: a signature costs far more than all else.
//!
//! A token is found by a hash with a secret seed, and then compared whole: nothing but the same
//! bytes is taken for it.

use std::collections::{HashMap, VecDeque};

use waypost_sdk::hash64;

/// Tokens that are kept, and their bytes together.
const MOST: usize = 4096;
const MOST_BYTES: usize = 2 << 20;

/// What a verified token brings.
pub(crate) struct Verified {
    token: Box<[u8]>,
    until_ms: f64,
    /// For the headers and the attributes, in their order.
    pub(crate) values: Vec<Option<String>>,
}

/// The tokens of an instance.
#[derive(Default)]
pub(crate) struct VerifiedTokens {
    seed: u64,
    tokens: HashMap<u64, Verified>,
    order: VecDeque<u64>,
    bytes: usize,
}

impl VerifiedTokens {
    /// Takes a seed that clients do not know, unless there is one.
    pub(crate) fn seed(&mut self, random: u64) {
        if self.seed == 0 {
            self.seed = random;
        }
    }

    /// A token that was verified and has not expired.
    pub(crate) fn find(&self, token: &[u8], now_ms: u64) -> Option<&Verified> {
        let known = self.tokens.get(&hash64(token, self.seed))?;
        (*known.token == *token && (now_ms as f64) < known.until_ms).then_some(known)
    }

    /// Keeps a token; the oldest make room for it.
    pub(crate) fn add(&mut self, token: &[u8], until_ms: f64, values: Vec<Option<String>>) {
        let hash = hash64(token, self.seed);
        let verified = Verified {
            token: token.into(),
            until_ms,
            values,
        };
        self.bytes += verified.size();
        match self.tokens.insert(hash, verified) {
            Some(replaced) => self.bytes -= replaced.size(),
            None => self.order.push_back(hash),
        }
        while self.tokens.len() > MOST || self.bytes > MOST_BYTES {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            if let Some(removed) = self.tokens.remove(&oldest) {
                self.bytes -= removed.size();
            }
        }
    }

    /// Forgets all of them: other keys count now.
    pub(crate) fn clear(&mut self) {
        *self = VerifiedTokens {
            seed: self.seed,
            ..VerifiedTokens::default()
        };
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }
}

impl Verified {
    fn size(&self) -> usize {
        let values = self.values.iter().flatten();
        self.token.len() + values.map(String::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_with_the_hash_of_another_is_not_taken_for_it() {
        let mut verified = VerifiedTokens::default();
        verified.add(b"good", 2.0, Vec::new());
        assert!(verified.find(b"good", 1).is_some());
        let good = verified.tokens.drain().next();
        let same_hash = hash64(b"made up", verified.seed);
        verified
            .tokens
            .extend(good.map(|(_, token)| (same_hash, token)));
        assert!(verified.find(b"made up", 1).is_none());
    }
}
