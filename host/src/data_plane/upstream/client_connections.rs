//! How many connections to upstreams each client keeps busy, in one worker: one client of HTTP/2
//! could otherwise have all that there are descriptors for.
//!
//! Clients of HTTP/1 have one for each connection of their own, and are not counted. Nor are those
//! that a trusted proxy speaks for without naming them: they are many.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;

/// Clients are counted by a hash of their addresses: each of so many places may be that of several.
const PLACES: usize = 4096;

/// What the clients of one worker have.
pub(crate) struct ClientConnections {
    counts: Box<[Cell<u32>]>,
    seed: u64,
}

/// A connection that a client is about to keep busy, and does so from [`HeldByClient::begins`] until
/// this is dropped.
pub(crate) struct HeldByClient {
    of: Rc<ClientConnections>,
    place: usize,
    counts: Cell<bool>,
}

impl ClientConnections {
    pub(crate) fn new() -> Rc<ClientConnections> {
        Rc::new(ClientConnections {
            counts: (0..PLACES).map(|_| Cell::new(0)).collect(),
            seed: fastrand::u64(..),
        })
    }

    /// One more for a client, not counted yet. An address of IPv6 stands for its network of 64 bits.
    pub(crate) fn hold(self: &Rc<Self>, client: IpAddr) -> HeldByClient {
        let bytes = match client {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        let hash = twox_hash::XxHash64::oneshot(self.seed, &bytes.to_ne_bytes());
        let place = (hash % PLACES as u64) as usize;
        HeldByClient {
            of: self.clone(),
            place,
            counts: Cell::new(false),
        }
    }
}

impl HeldByClient {
    /// There is a connection for it: requests that wait for one are no reason to refuse them one.
    pub(super) fn begins(&self) {
        if !self.counts.replace(true) {
            let count = &self.of.counts[self.place];
            count.set(count.get() + 1);
        }
    }

    /// How many its client has.
    pub(super) fn count(&self) -> u32 {
        self.of.counts[self.place].get()
    }
}

impl Drop for HeldByClient {
    fn drop(&mut self) {
        if self.counts.get() {
            let count = &self.of.counts[self.place];
            count.set(count.get().saturating_sub(1));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_what_has_begun_and_has_not_ended() {
        let connections = ClientConnections::new();
        let client: IpAddr = "192.0.2.7".parse().unwrap();
        let waits = connections.hold(client);
        let held = connections.hold(client);
        assert_eq!(waits.count(), 0);
        held.begins();
        held.begins();
        assert_eq!(waits.count(), 1);
        drop(held);
        assert_eq!(waits.count(), 0);
        drop(waits);
        assert_eq!(connections.hold(client).count(), 0);
    }
}
