//! How much each client has of something, for all workers and without a lock: a table of fixed size
//! that is written only where a configuration wants a client's share bounded.
//!
//! A client is counted in two places, each chosen by a hash of its own, and has the lower of the two
//! figures (a count-min sketch: Cormode and Muthukrishnan, 2005). So a client is never taken to have
//! less than it has, and more only where it meets busy ones in both places: among a thousand busy
//! clients, that is about one of twenty. Nobody can bring that about: the hashes are random.

use std::net::IpAddr;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

/// Places of each hash.
const PLACES: usize = 4096;

/// Counts by client.
pub(super) struct ClientCounts {
    counts: Box<[AtomicU32]>,
    seed: u64,
}

/// Where a client is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClientKey([u32; 2]);

impl ClientCounts {
    pub(super) fn new() -> ClientCounts {
        ClientCounts {
            counts: (0..2 * PLACES).map(|_| AtomicU32::new(0)).collect(),
            seed: fastrand::u64(..),
        }
    }

    /// Of a client's address. One of IPv6 stands for all of its network of 64 bits, which a client
    /// has to itself (RFC 6177); clients of unix sockets are one client.
    pub(super) fn key(&self, address: Option<IpAddr>) -> ClientKey {
        let address = match address {
            Some(IpAddr::V4(address)) => u64::from(address.to_bits()),
            Some(IpAddr::V6(address)) => (address.to_bits() >> 64) as u64 | 1 << 63,
            None => u64::MAX,
        };
        let hash = twox_hash::XxHash64::oneshot(self.seed, &address.to_ne_bytes());
        let place = |hash: u64| (hash % PLACES as u64) as u32;
        ClientKey([place(hash), PLACES as u32 + place(hash >> 32)])
    }

    /// Counts one more of a client, unless it has `most` of them.
    pub(super) fn add(&self, key: ClientKey, most: u32) -> bool {
        // Counts first and looks afterwards, so that two workers cannot both have the last one.
        let before = self.places(key).map(|place| place.fetch_add(1, Relaxed));
        let fits = before[0].min(before[1]) < most;
        if !fits {
            self.remove(key);
        }
        fits
    }

    /// Ends what [`ClientCounts::add`] has counted.
    pub(super) fn remove(&self, key: ClientKey) {
        for place in self.places(key) {
            place.fetch_sub(1, Relaxed);
        }
    }

    fn places(&self, ClientKey(places): ClientKey) -> [&AtomicU32; 2] {
        places.map(|place| &self.counts[place as usize])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn address(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4(number.into()))
    }

    #[test]
    fn a_client_has_no_more_than_its_share_and_others_have_theirs() {
        let counts = ClientCounts::new();
        let (one, other) = (counts.key(address(1)), counts.key(address(2)));
        for _ in 0..3 {
            assert!(counts.add(one, 3));
        }
        assert!(!counts.add(one, 3));
        assert!(counts.add(other, 3));
        counts.remove(one);
        assert!(counts.add(one, 3));
        assert!(!counts.add(one, 3), "what was refused is not counted");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let counts = ClientCounts::new();
        let key = |text: &str| counts.key(Some(text.parse().unwrap()));
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_ne!(key("::1"), key("0.0.0.0"));
    }

    #[test]
    fn busy_clients_leave_nearly_all_others_alone() {
        let counts = ClientCounts::new();
        for busy in 0..100 {
            for _ in 0..50 {
                counts.add(counts.key(address(busy)), u32::MAX);
            }
        }
        let met = (1000..11_000).filter(|number| !counts.add(counts.key(address(*number)), 50));
        assert!(met.count() < 100, "of ten thousand");
    }

    #[test]
    fn all_workers_count_together() {
        let counts = ClientCounts::new();
        let key = counts.key(address(7));
        let held = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if counts.add(key, 2) {
                            assert!(held.fetch_add(1, Relaxed) < 2);
                            held.fetch_sub(1, Relaxed);
                            counts.remove(key);
                        }
                    }
                });
            }
        });
        assert!(counts.add(key, 1), "all were taken back");
    }
}
