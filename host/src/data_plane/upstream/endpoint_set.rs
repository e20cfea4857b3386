//! The endpoints that one policy instance balances: an upstream's primaries, or its backups.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use smallvec::SmallVec;

use super::endpoint::{AfterFailure, Endpoint, EndpointId, Seconds};
use super::layout::Layout;
use crate::plugin;

/// Endpoints by index, and which of them need a second look before they are picked.
#[derive(Debug)]
pub(crate) struct EndpointSet {
    layout: Layout,
    /// A bit for each endpoint that is not `down`.
    members: Vec<u64>,
    /// A bit for each endpoint that may be out of rotation: it failed out, is unfit, or has
    /// `max_conns`. All others are candidates without a look at their figures, which is what keeps a
    /// pick cheap among a thousand.
    suspects: Vec<AtomicU64>,
    /// A bit for each endpoint whose share may still be growing (`slow_start`).
    starting: Vec<AtomicU64>,
    disabled_epoch: DisabledEpoch,
    /// How many of them the suspects account for, or [`NOT_SEEN`].
    seen: AtomicU64,
    /// The only endpoint of its upstream: its failures never count.
    alone: bool,
    panic: Panic,
}

/// When there are so few healthy endpoints that their health is ignored (Envoy's panic threshold).
#[derive(Debug, Default)]
pub(crate) struct Panic {
    /// Percent of the members; 0 for never.
    pub(super) threshold: u32,
    /// Whether it is so. Each set judges by its own members: that before may be in use for a while.
    pub(super) is_on: AtomicBool,
    /// As logs name the set.
    pub(super) upstream: Arc<str>,
}

/// Counts the changes that put an endpoint of an upstream out of rotation, or back by its health,
/// whichever configuration they belong to: a set that reads another value than before learns of
/// what happened under other configurations, and on other threads.
pub(crate) type DisabledEpoch = Arc<AtomicU64>;

/// No epoch: it is looked again.
const NOT_SEEN: u64 = u64::MAX;

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

    pub(super) fn remove(&mut self, index: u32) {
        if let Some(word) = self.0.get_mut(index as usize / 64) {
            *word &= !(1 << (index % 64));
        }
    }

    fn contains(&self, index: u32) -> bool {
        self.word(index as usize / 64) & 1 << (index % 64) != 0
    }

    fn word(&self, word: usize) -> u64 {
        self.0.get(word).copied().unwrap_or(0)
    }
}

impl EndpointSet {
    /// With a compact layout of endpoints in configuration order.
    pub(crate) fn new(
        endpoints: Vec<Endpoint>,
        alone: bool,
        disabled_epoch: DisabledEpoch,
    ) -> EndpointSet {
        EndpointSet::with(Layout::compact(endpoints), alone, disabled_epoch)
    }

    /// With the layout that goes on from that of this set. Gives the endpoints back where only a
    /// compact one will do.
    pub(crate) fn changed(
        &self,
        endpoints: Vec<Endpoint>,
        alone: bool,
        disabled_epoch: DisabledEpoch,
    ) -> Result<EndpointSet, Vec<Endpoint>> {
        let layout = Layout::after(&self.layout, endpoints)?;
        Ok(EndpointSet::with(layout, alone, disabled_epoch))
    }

    fn with(layout: Layout, alone: bool, disabled_epoch: DisabledEpoch) -> EndpointSet {
        let endpoints = &layout.endpoints;
        let words = endpoints.len().div_ceil(64);
        let (mut members, mut suspects) = (vec![0; words], vec![0; words]);
        let mut starting = vec![0; words];
        for (index, endpoint) in endpoints.iter().enumerate() {
            members[index / 64] |= u64::from(!endpoint.down) << (index % 64);
            suspects[index / 64] |= u64::from(endpoint.max_conns > 0) << (index % 64);
            // Whether it has begun is seen at the first look.
            starting[index / 64] |= u64::from(endpoint.slow_start > 0) << (index % 64);
        }
        EndpointSet {
            layout,
            members,
            suspects: suspects.into_iter().map(AtomicU64::new).collect(),
            starting: starting.into_iter().map(AtomicU64::new).collect(),
            disabled_epoch,
            // The first pick looks at all endpoints, whose failures may be older than this set.
            seen: AtomicU64::new(NOT_SEEN),
            alone,
            panic: Panic::default(),
        }
    }

    /// The same set, in which the health of endpoints is ignored where too few are well.
    pub(super) fn with_panic(self, panic: Panic) -> EndpointSet {
        EndpointSet { panic, ..self }
    }

    /// In configuration order.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &Endpoint> {
        self.layout.order.iter().map(|index| self.endpoint(*index))
    }

    pub(crate) fn endpoint(&self, index: u32) -> &Endpoint {
        &self.layout.endpoints[index as usize]
    }

    /// Words of bits that there are, see [`candidates`](EndpointSet::candidates).
    pub(super) fn words(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
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
        // Another epoch than at the last look: an endpoint was disabled, perhaps by an attempt
        // under another configuration, which cannot mark it as a suspect here. `Acquire` goes with
        // `Release` in `failed`.
        let disabled_epoch = self.disabled_epoch.load(Acquire);
        if disabled_epoch != self.seen.load(Relaxed) {
            self.look_for_suspects(disabled_epoch);
        }
        // The only endpoint may be asked again, where a failure gave the try back.
        let tried = if self.alone { 0 } else { tried.word(word) };
        let mut candidates = members & !tried;
        let mut suspects = candidates & self.suspects[word].load(Relaxed);
        // Takes those out of the candidates that are out of rotation now, bit by bit from the
        // lowest.
        while suspects != 0 {
            let bit = suspects.trailing_zeros();
            suspects &= suspects - 1;
            let endpoint = &self.layout.endpoints[word * 64 + bit as usize];
            if !self.is_in_rotation(endpoint, now) {
                candidates &= !(1 << bit);
            }
        }
        candidates
    }

    /// The candidates of a choice, word by word, without those that do not take part in it as their
    /// share is still growing; none where all of them do, or none does. `random`: drawn if need be.
    pub(crate) fn without_starting(
        &self,
        tried: &IndexSet,
        now: Seconds,
        random: impl FnOnce() -> u64,
    ) -> Option<SmallVec<[u64; 2]>> {
        if self.starting.iter().all(|word| word.load(Relaxed) == 0) {
            return None;
        }
        let random = random();
        let (mut words, mut left_out) = (SmallVec::new(), false);
        for (word, starting) in self.starting.iter().enumerate() {
            let mut candidates = self.candidates(word as u32, tried, now);
            let mut looked_at = starting.load(Relaxed);
            while looked_at != 0 {
                let bit = looked_at.trailing_zeros();
                looked_at &= looked_at - 1;
                let endpoint = &self.layout.endpoints[word * 64 + bit as usize];
                if !endpoint.takes_part(now, random.rotate_left(bit) ^ word as u64) {
                    left_out |= candidates & 1 << bit != 0;
                    candidates &= !(1 << bit);
                } else if endpoint.starting(now).is_none() {
                    starting.fetch_and(!(1 << bit), Relaxed);
                }
            }
            words.push(candidates);
        }
        (left_out && words.iter().any(|word| *word != 0)).then_some(words)
    }

    /// It is back in rotation: its share grows from nothing, if it has a `slow_start`.
    fn start_slowly(&self, index: u32) {
        let endpoint = self.endpoint(index);
        if endpoint.slow_start > 0 {
            endpoint.start_slowly();
            self.starting[index as usize / 64].fetch_or(1 << (index % 64), Relaxed);
        }
    }

    /// Whether an attempt may start at an endpoint now, `down` aside.
    pub(crate) fn is_in_rotation(&self, endpoint: &Endpoint, now: Seconds) -> bool {
        endpoint.in_rotation(now) && (!endpoint.stats.health.is_unfit() || self.panics())
    }

    /// How well an endpoint is, in percent: 0 out of rotation (`max_conns` aside), else the share of
    /// attempts and probes of late that went well, 1 at least.
    pub(crate) fn health_of(&self, endpoint: &Endpoint) -> u32 {
        let health = &endpoint.stats.health;
        let is_out = health.is_unfit() && !self.panics();
        match endpoint.down || endpoint.has_failed_out() || is_out {
            true => 0,
            false => health.percent_well().max(1),
        }
    }

    /// Whether the health of endpoints is ignored, as too few are well.
    pub(crate) fn panics(&self) -> bool {
        self.panic.is_on.load(Relaxed)
    }

    #[cold]
    fn look_for_suspects(&self, disabled_epoch: u64) {
        let before = self.seen.load(Acquire);
        let mut well = 0;
        for (index, endpoint) in self.layout.endpoints.iter().enumerate() {
            let (word, bit) = (index / 64, 1 << (index % 64));
            let is_unfit = endpoint.stats.health.is_unfit();
            if endpoint.has_failed_out() || is_unfit {
                self.suspects[word].fetch_or(bit, Relaxed);
            } else if endpoint.max_conns == 0 {
                // One that fails out at this moment counts another epoch afterwards.
                self.suspects[word].fetch_and(!bit, Relaxed);
            }
            if endpoint.is_starting() {
                self.starting[word].fetch_or(bit, Relaxed);
            }
            well += u32::from(!is_unfit && !endpoint.down);
        }
        self.panic.judge(well, self.members());
        // Another worker that has looked meanwhile may have seen less, and undone what this one did.
        let seen = self
            .seen
            .compare_exchange(before, disabled_epoch, Release, Relaxed);
        if seen.is_err() {
            self.seen.store(NOT_SEEN, Release);
        }
    }

    /// Learns now of what has changed, and not only with the next pick.
    pub(super) fn look(&self) {
        self.look_for_suspects(self.disabled_epoch.load(Acquire));
    }

    pub(crate) fn has_candidate(&self, tried: &IndexSet, now: Seconds) -> bool {
        (0..self.members.len() as u32).any(|word| self.candidates(word, tried, now) != 0)
    }

    /// Whether a member that was not tried would be asked if it had room, of those that `wanted` is
    /// true of; `as_last_resort`: whatever its failures. What is known may be older than the health
    /// of endpoints, which changes without requests: so whether it is ignored is judged by one look
    /// at each of them.
    fn would_ask(
        &self,
        tried: &IndexSet,
        now: Seconds,
        as_last_resort: bool,
        wanted: impl Fn(&Endpoint) -> bool,
    ) -> bool {
        if self.panic.threshold > 0 {
            // So that a pick that comes next sees what this does.
            self.look();
        }
        let (mut well, mut fit, mut any) = (0, false, false);
        for index in self.layout.order.iter().copied() {
            let is_member = self.members[index as usize / 64] & 1 << (index % 64) != 0;
            let endpoint = self.endpoint(index);
            let is_fit = !endpoint.stats.health.is_unfit();
            well += u32::from(is_member && is_fit);
            let may_be_asked = is_member && (self.alone || !tried.contains(index));
            if may_be_asked && endpoint.serves(now, as_last_resort) && wanted(endpoint) {
                any = true;
                fit |= is_fit;
            }
        }
        fit || any && (as_last_resort || self.panic.is_due(well, self.members()))
    }

    /// Whether a member that was not tried would be asked, but has no room.
    pub(super) fn is_merely_full(
        &self,
        tried: &IndexSet,
        now: Seconds,
        as_last_resort: bool,
    ) -> bool {
        let is_full = |endpoint: &Endpoint| !endpoint.has_room();
        self.would_ask(tried, now, as_last_resort, is_full)
    }

    /// Whether there is a member to wait for that was not tried: it is full, or was a moment ago.
    pub(super) fn is_worth_waiting_for(
        &self,
        tried: &IndexSet,
        now: Seconds,
        as_last_resort: bool,
    ) -> bool {
        self.would_ask(tried, now, as_last_resort, |_| true)
    }

    /// The places of these endpoints.
    pub(super) fn indexes_of(&self, ids: &[EndpointId]) -> IndexSet {
        let mut indexes = IndexSet::default();
        for index in self.layout.order.iter().copied() {
            if ids.contains(&self.endpoint(index).stats.id) {
                indexes.insert(index);
            }
        }
        indexes
    }

    /// The endpoints at these places.
    pub(super) fn ids_at<'a>(
        &'a self,
        indexes: &'a IndexSet,
    ) -> impl Iterator<Item = EndpointId> + 'a {
        let order = self.layout.order.iter().copied();
        let named = order.filter(|index| indexes.contains(*index));
        named.map(|index| self.endpoint(index).stats.id)
    }

    /// See [`Endpoint::failed`].
    pub(crate) fn failed(&self, index: u32, now: Seconds) -> AfterFailure {
        let after = self.endpoint(index).failed(now, self.alone);
        if after == AfterFailure::Disabled {
            self.suspects[index as usize / 64].fetch_or(1 << (index % 64), Relaxed);
            // Counted behind the failure, with `Release`: a set that reads the new epoch reads the
            // failure as well.
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
        if self.endpoint(index).forgive() {
            self.start_slowly(index);
            self.trust(index);
        }
    }

    /// See [`Endpoint::recovered`].
    pub(crate) fn recovered(&self, index: u32) {
        if self.endpoint(index).recovered() {
            self.start_slowly(index);
            self.trust(index);
        }
    }

    /// The endpoint is back in rotation: it need not be looked at before it is picked.
    fn trust(&self, index: u32) {
        let endpoint = self.endpoint(index);
        let (word, bit) = (&self.suspects[index as usize / 64], 1 << (index % 64));
        // With `max_conns` it stays a suspect: its load is looked at before each pick.
        if endpoint.max_conns == 0 {
            word.fetch_and(!bit, Relaxed);
            // Another worker may have seen it fail out in between: a needless suspect costs one
            // look, a missing one costs requests.
            if endpoint.has_failed_out() || endpoint.stats.health.is_unfit() {
                word.fetch_or(bit, Relaxed);
            }
        }
    }

    /// The member that failed least recently, of those that are not in `tried` and have room, in
    /// rotation or not; the first one of several. Those that are unfit come behind all others.
    pub(crate) fn last_resort(&self, tried: &IndexSet) -> Option<u32> {
        let indexes = self.layout.order.iter().copied();
        let possible = indexes.filter(|index| {
            let (word, bit) = (*index as usize / 64, 1 << (index % 64));
            self.members[word] & !tried.word(word) & bit != 0 && self.endpoint(*index).has_room()
        });
        possible.min_by_key(|index| {
            let endpoint = self.endpoint(*index);
            (endpoint.stats.health.is_unfit(), endpoint.last_failure())
        })
    }
}

impl Panic {
    /// Whether health is to be ignored where so many of the members are well.
    fn is_due(&self, well: u32, members: u32) -> bool {
        let (percent, threshold) = (u64::from(well) * 100, u64::from(self.threshold));
        percent < threshold * u64::from(members)
    }

    /// `well`: so many of the members are.
    fn judge(&self, well: u32, members: u32) {
        let is_on = self.is_due(well, members);
        if self.is_on.swap(is_on, Relaxed) == is_on {
            return;
        }
        let upstream = &self.upstream;
        match is_on {
            true => tracing::warn!(
                "{well} of {members} servers are healthy, fewer than panic_threshold: health checks and ejections are \
                 ignored, upstream: \"{upstream}\""
            ),
            false => tracing::warn!(
                "{well} of {members} servers are healthy: health checks and ejections count again, upstream: \
                 \"{upstream}\""
            ),
        }
    }
}

impl plugin::FleetView for EndpointSet {
    fn endpoints(&self) -> Vec<plugin::EndpointView> {
        self.layout.endpoints.iter().map(Endpoint::view).collect()
    }

    fn members(&self) -> Vec<(u32, plugin::EndpointView)> {
        let indexes = self.layout.order.iter().copied();
        indexes.zip(self.in_order().map(Endpoint::view)).collect()
    }

    fn server(&self, index: u32) -> Option<plugin::ServerView<'_>> {
        let endpoint = self.layout.endpoints.get(index as usize)?;
        Some(plugin::ServerView {
            name: &endpoint.ring_name,
            down: endpoint.down,
            labels: &endpoint.labels,
            max_fails: endpoint.max_fails,
            fail_timeout: endpoint.fail_timeout,
            route: &endpoint.route,
        })
    }

    fn in_flight(&self, index: u32) -> u32 {
        self.layout
            .endpoints
            .get(index as usize)
            .map_or(0, Endpoint::in_flight)
    }

    fn latency_us(&self, index: u32) -> u32 {
        self.layout
            .endpoints
            .get(index as usize)
            .map_or(0, Endpoint::latency_us)
    }

    fn health(&self, index: u32) -> u32 {
        let endpoint = self.layout.endpoints.get(index as usize);
        endpoint.map_or(0, |endpoint| self.health_of(endpoint))
    }

    fn len(&self) -> u32 {
        self.layout.endpoints.len() as u32
    }
}

#[cfg(test)]
mod tests;
