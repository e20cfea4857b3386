//! What `$request_id` is made of: 128 bits that tell a request from all others. They are in answers
//! and logs, and some use them as nonces: whoever knows some of them must not know the next.

use std::hash::{BuildHasher, RandomState};

/// Of one worker: SipHash of the numbers of connection and request, under a key of its own that the
/// system's random numbers have made.
pub(crate) struct RequestIds(RandomState);

impl RequestIds {
    pub(crate) fn new() -> RequestIds {
        RequestIds(RandomState::new())
    }

    /// The same each time for one request.
    pub(crate) fn id(&self, connection: u64, request: u64) -> [u64; 2] {
        [0_u8, 1].map(|half| self.0.hash_one((half, connection, request)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_does_not_tell_the_next_one() {
        let (ids, others) = (RequestIds::new(), RequestIds::new());
        let mut differences = HashSet::new();
        for request in 1..1000 {
            let (this, next) = (ids.id(7, request), ids.id(7, request + 1));
            assert_eq!(this, ids.id(7, request));
            assert_ne!(this, ids.id(8, request));
            assert_ne!(this, others.id(7, request));
            for half in [0, 1] {
                differences.insert(next[half].wrapping_sub(this[half]));
                differences.insert(next[half] ^ this[half]);
            }
        }
        assert_eq!(differences.len(), 4 * 999);
    }
}
