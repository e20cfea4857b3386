//! The endpoints that one policy instance balances: an upstream's primaries, or its backups.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use super::endpoint::{AfterFailure, Endpoint, Seconds};
use crate::plugin;

/// Endpoints in configuration order, and which of them need a second look before they are picked.
#[derive(Debug)]
pub(crate) struct EndpointSet {
    endpoints: Vec<Endpoint>,
    /// A bit for each endpoint that is not `down`.
    members: Vec<u64>,
    /// A bit for each endpoint that may be out of rotation: it failed out, or has `max_conns`. All
    /// others are candidates without a look at their figures, which is what keeps a pick cheap
    /// among a thousand.
    suspects: Vec<AtomicU64>,
    disabled_epoch: DisabledEpoch,
    /// How many of them the suspects account for.
    seen: AtomicU64,
    /// The only endpoint of its upstream: nothing is ever held against it.
    alone: bool,
}

/// Counts the failures that disabled an endpoint of an upstream, whichever configuration the
/// attempt belonged to: how the fleet in force learns of failures in those before it.
pub(crate) type DisabledEpoch = Arc<AtomicU64>;

/// A set of endpoint indexes.
#[derive(Debug, Default, Clone)]
pub(crate) struct IndexSet(smallvec::SmallVec<[u64; 2]>);

impl IndexSet {
    pub(crate) fn insert(&mut self, index: u32) {
        let word = index as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (index % 64);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    fn word(&self, word: usize) -> u64 {
        self.0.get(word).copied().unwrap_or(0)
    }
}

impl EndpointSet {
    pub(crate) fn new(
        endpoints: Vec<Endpoint>,
        alone: bool,
        disabled_epoch: DisabledEpoch,
    ) -> EndpointSet {
        let words = endpoints.len().div_ceil(64);
        let (mut members, mut suspects) = (vec![0; words], vec![0; words]);
        for (index, endpoint) in endpoints.iter().enumerate() {
            members[index / 64] |= u64::from(!endpoint.down) << (index % 64);
            suspects[index / 64] |= u64::from(endpoint.max_conns > 0) << (index % 64);
        }
        EndpointSet {
            endpoints,
            members,
            suspects: suspects.into_iter().map(AtomicU64::new).collect(),
            disabled_epoch,
            seen: AtomicU64::new(u64::MAX), // looks at once: the figures may be older than the fleet
            alone,
        }
    }

    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    pub(crate) fn endpoint(&self, index: u32) -> &Endpoint {
        &self.endpoints[index as usize]
    }

    /// Endpoints that the configuration has not taken out.
    pub(crate) fn members(&self) -> u32 {
        self.members.iter().map(|word| word.count_ones()).sum()
    }

    /// The bits of `word` for endpoints that may be picked now: members in rotation that are not in
    /// `tried`.
    pub(crate) fn candidates(&self, word: u32, tried: &IndexSet, now: Seconds) -> u64 {
        let word = word as usize;
        let Some(&members) = self.members.get(word) else {
            return 0;
        };
        let disabled_epoch = self.disabled_epoch.load(Acquire);
        if disabled_epoch != self.seen.load(Relaxed) {
            self.look_for_suspects(disabled_epoch);
        }
        // The only endpoint may be asked again, where a failure gave the try back.
        let tried = if self.alone { 0 } else { tried.word(word) };
        let mut candidates = members & !tried;
        let mut suspects = candidates & self.suspects[word].load(Relaxed);
        while suspects != 0 {
            let bit = suspects.trailing_zeros();
            suspects &= suspects - 1;
            if !self.endpoints[word * 64 + bit as usize].in_rotation(now) {
                candidates &= !(1 << bit);
            }
        }
        candidates
    }

    #[cold]
    fn look_for_suspects(&self, disabled_epoch: u64) {
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            if endpoint.has_failed_out() {
                self.suspects[index / 64].fetch_or(1 << (index % 64), Relaxed);
            }
        }
        self.seen.store(disabled_epoch, Relaxed);
    }

    pub(crate) fn has_candidate(&self, tried: &IndexSet, now: Seconds) -> bool {
        (0..self.members.len() as u32).any(|word| self.candidates(word, tried, now) != 0)
    }

    /// See [`Endpoint::failed`].
    pub(crate) fn failed(&self, index: u32, now: Seconds) -> AfterFailure {
        let after = self.endpoint(index).failed(now, self.alone);
        if after == AfterFailure::Disabled {
            self.suspects[index as usize / 64].fetch_or(1 << (index % 64), Relaxed);
            self.disabled_epoch.fetch_add(1, Release);
        }
        after
    }

    /// See [`Endpoint::released`].
    pub(crate) fn released(&self, index: u32) {
        self.endpoint(index).released();
    }

    /// See [`Endpoint::forgive`].
    pub(crate) fn forgive(&self, index: u32) {
        let endpoint = self.endpoint(index);
        if endpoint.forgive() && endpoint.max_conns == 0 {
            self.suspects[index as usize / 64].fetch_and(!(1 << (index % 64)), Relaxed);
            // Another worker may have seen it fail out in between: suspicion costs little, a missed
            // one much.
            if endpoint.has_failed_out() {
                self.suspects[index as usize / 64].fetch_or(1 << (index % 64), Relaxed);
            }
        }
    }
}

impl plugin::FleetView for EndpointSet {
    fn endpoints(&self) -> Vec<plugin::EndpointView> {
        let view = |endpoint: &Endpoint| plugin::EndpointView {
            server: endpoint.server.to_string(),
            address: endpoint.name.to_string(),
            weight: endpoint.weight,
            max_fails: endpoint.max_fails,
            down: endpoint.down,
            route: endpoint.route.to_string(),
        };
        self.endpoints.iter().map(view).collect()
    }

    fn in_flight(&self, index: u32) -> u32 {
        self.endpoints
            .get(index as usize)
            .map_or(0, Endpoint::in_flight)
    }

    fn latency_us(&self, index: u32) -> u32 {
        self.endpoints
            .get(index as usize)
            .map_or(0, Endpoint::latency_us)
    }

    fn len(&self) -> u32 {
        self.endpoints.len() as u32
    }
}
