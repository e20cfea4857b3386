//! The endpoints that one policy instance balances: an upstream's primaries, or its backups.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use smallvec::SmallVec;

use super::endpoint::{AfterFailure, Endpoint, Seconds};
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
    /// How many of them the suspects account for.
    seen: AtomicU64,
    /// The only endpoint of its upstream: its failures never count.
    alone: bool,
    panic: Panic,
}

/// When there are so few healthy endpoints that their health is ignored (Envoy's panic threshold).
#[derive(Debug, Clone, Default)]
pub(crate) struct Panic {
    /// Percent of the members; 0 for never.
    pub(super) threshold: u32,
    /// Whether it is so. Shared with the sets of the same endpoints before and behind.
    pub(super) is_on: Arc<AtomicBool>,
    /// As logs name the set.
    pub(super) upstream: Arc<str>,
}

/// Counts the changes that put an endpoint of an upstream out of rotation, or back by its health,
/// whichever configuration they belong to: a set that reads another value than before learns of
/// what happened under other configurations, and on other threads.
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
            // No epoch yet: the first pick looks at all endpoints, whose failures may be older than
            // this set.
            seen: AtomicU64::new(u64::MAX),
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
        self.seen.store(disabled_epoch, Relaxed);
    }

    /// Learns now of what has changed, and not only with the next pick.
    pub(super) fn look(&self) {
        self.look_for_suspects(self.disabled_epoch.load(Acquire));
    }

    pub(crate) fn has_candidate(&self, tried: &IndexSet, now: Seconds) -> bool {
        (0..self.members.len() as u32).any(|word| self.candidates(word, tried, now) != 0)
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
    /// `well`: so many of the members are.
    fn judge(&self, well: u32, members: u32) {
        let (percent, threshold) = (u64::from(well) * 100, u64::from(self.threshold));
        let is_on = percent < threshold * u64::from(members);
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

/// Interleavings of two workers, found by trying: each round begins at the same moment in both.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicU32;

    use super::super::endpoint::tests_endpoint as endpoint;
    use super::super::health::Unfit;
    use super::*;

    const ROUNDS: usize = 2000;

    fn serve(set: &EndpointSet, index: u32) {
        set.released(index);
        set.forgive(index);
    }

    fn set(endpoints: Vec<Endpoint>) -> EndpointSet {
        EndpointSet::new(endpoints, false, DisabledEpoch::default())
    }

    /// Does both at once, on two threads, and answers with what they did.
    fn at_once<A: Send, B: Send>(
        one: impl FnOnce() -> A + Send,
        other: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            let one = scope.spawn(|| {
                barrier.wait();
                one()
            });
            barrier.wait();
            let other = other();
            (one.join().unwrap(), other)
        })
    }

    /// How many of so many choices an endpoint takes part in.
    fn share(set: &EndpointSet, index: u32, now: Seconds) -> usize {
        let none = IndexSet::default();
        let mut random = fastrand::Rng::with_seed(7);
        let choices = (0..1000).filter(|_| {
            let words = set.without_starting(&none, now, || random.u64(..));
            let candidates = words.map_or_else(|| set.candidates(0, &none, now), |words| words[0]);
            candidates & 1 << index != 0
        });
        choices.count()
    }

    #[test]
    fn a_share_grows_from_nothing_once_an_endpoint_is_back() {
        let slow = || Endpoint {
            slow_start: 10,
            ..endpoint(1, 10, 0)
        };
        let set = set(vec![slow(), slow(), slow()]);
        let none = IndexSet::default();
        assert_eq!(share(&set, 1, 99), 1000, "nothing has begun");
        assert_eq!(set.without_starting(&none, 99, || 0), None);
        set.endpoint(1).acquire(100).unwrap();
        set.failed(1, 100);
        set.endpoint(1).acquire(111).unwrap();
        serve(&set, 1);
        assert_eq!(share(&set, 1, 111), 0);
        for (now, about) in [(113, 200), (116, 500), (119, 800)] {
            let share = share(&set, 1, now);
            assert!(share.abs_diff(about) < 60, "{share} at {now}");
            assert_eq!(super::tests::share(&set, 0, now), 1000);
        }
        assert_eq!(share(&set, 1, 121), 1000);
        assert_eq!(set.starting[0].load(Relaxed), 0, "nothing is looked at");
    }

    #[test]
    fn where_all_are_starting_all_take_part() {
        let slow = Endpoint {
            slow_start: 10,
            ..endpoint(1, 10, 0)
        };
        slow.start_slowly();
        let set = set(vec![slow, endpoint(1, 10, 0)]);
        let mut tried = IndexSet::default();
        tried.insert(1);
        assert_eq!(set.without_starting(&tried, 100, || 7), None);
        assert_eq!(set.candidates(0, &tried, 100), 0b01);
    }

    #[test]
    fn a_last_resort_is_the_member_that_failed_least_recently() {
        let mut down = endpoint(1, 10, 0);
        down.down = true;
        let full = endpoint(1, 10, 1);
        full.acquire(0).unwrap();
        let set = set(vec![
            endpoint(1, 10, 0),
            endpoint(1, 10, 0),
            endpoint(1, 10, 0),
            down,
            full,
        ]);
        for (index, second) in [(0, 103), (1, 101), (2, 102)] {
            set.endpoint(index).acquire(100).unwrap();
            assert_eq!(set.failed(index, second), AfterFailure::Disabled);
        }
        let mut tried = IndexSet::default();
        assert!(!set.has_candidate(&tried, 104));
        for expected in [1, 2, 0] {
            assert_eq!(set.last_resort(&tried), Some(expected));
            tried.insert(expected);
        }
        assert_eq!(set.last_resort(&tried), None);
    }

    #[test]
    fn one_that_answered_as_a_last_resort_is_a_candidate_again() {
        let set = set(vec![endpoint(1, 10, 0), endpoint(1, 10, 0)]);
        for index in [0, 1] {
            set.endpoint(index).acquire(100).unwrap();
            set.failed(index, 100);
        }
        assert!(set.endpoint(1).acquire(101).is_err());
        set.endpoint(1).acquire_as_last_resort().unwrap();
        serve(&set, 1);
        let none = IndexSet::default();
        assert_eq!(set.candidates(0, &none, 101), 0, "a success alone does not");
        set.recovered(1);
        assert_eq!(set.candidates(0, &none, 101), 0b10);
    }

    #[test]
    fn two_workers_have_no_more_than_max_conns_between_them() {
        let set = set(vec![endpoint(1, 10, 1)]);
        let held = AtomicU32::new(0);
        let work = || {
            for _ in 0..ROUNDS * 10 {
                if set.endpoint(0).acquire(1).is_ok() {
                    assert_eq!(held.fetch_add(1, Relaxed), 0, "two at once");
                    held.fetch_sub(1, Relaxed);
                    serve(&set, 0);
                }
            }
        };
        at_once(work, work);
        assert_eq!(set.endpoint(0).in_flight(), 0);
        assert_eq!(set.candidates(0, &IndexSet::default(), 1), 1);
    }

    #[test]
    fn one_of_two_workers_has_the_probe() {
        for _ in 0..ROUNDS {
            let set = set(vec![endpoint(1, 10, 0)]);
            set.endpoint(0).acquire(100).unwrap();
            set.failed(0, 100);
            let probe = || set.endpoint(0).acquire(111).is_ok();
            let (one, other) = at_once(probe, probe);
            assert!(one != other, "exactly one");
            assert_eq!(set.endpoint(0).in_flight(), 1);
            assert_eq!(set.candidates(0, &IndexSet::default(), 111), 0);
        }
    }

    /// A success that forgives and a failure that disables may meet; whichever comes last, the set
    /// must not offer an endpoint that has failed out.
    #[test]
    fn an_endpoint_that_fails_out_while_it_is_forgiven_is_looked_at() {
        let none = IndexSet::default();
        for _ in 0..ROUNDS {
            let set = set(vec![endpoint(1, 10, 0), endpoint(1, 10, 0)]);
            // An attempt from before the failure, and the probe.
            set.endpoint(0).acquire(100).unwrap();
            set.endpoint(0).acquire(100).unwrap();
            set.failed(0, 100);
            assert_eq!(set.candidates(0, &none, 100), 0b10);
            set.endpoint(0).acquire(111).unwrap();
            let ((), _) = at_once(|| serve(&set, 0), || set.failed(0, 112));
            let out = set.endpoint(0).has_failed_out();
            let expected = if out { 0b10 } else { 0b11 };
            assert_eq!(set.candidates(0, &none, 112), expected, "failed out: {out}");
            assert_eq!(set.endpoint(0).in_flight(), 0);
        }
    }

    /// As [`Upstream::health_changed`](super::super::Upstream::health_changed) does.
    fn health_changed(set: &EndpointSet) {
        set.disabled_epoch.fetch_add(1, Release);
    }

    fn is_out(set: &EndpointSet, index: u32) {
        let health = &set.endpoint(index).stats.health;
        health.is_out(Unfit::Check, 1, "ill".to_owned());
        health_changed(set);
    }

    fn is_back(set: &EndpointSet, index: u32) {
        set.endpoint(index).stats.health.is_back(Unfit::Check, 1);
        health_changed(set);
    }

    #[test]
    fn one_that_is_unfit_is_no_candidate_and_one_that_is_back_needs_no_look() {
        let none = IndexSet::default();
        let set = set(vec![endpoint(1, 10, 0), endpoint(1, 10, 0)]);
        assert_eq!(set.candidates(0, &none, 100), 0b11);
        is_out(&set, 0);
        assert_eq!(set.candidates(0, &none, 100), 0b10);
        // What a request does changes nothing about it.
        set.endpoint(0).acquire(100).unwrap();
        serve(&set, 0);
        set.recovered(0);
        assert_eq!(set.candidates(0, &none, 100), 0b10);
        is_back(&set, 0);
        assert_eq!(set.candidates(0, &none, 100), 0b11);
        assert_eq!(set.suspects[0].load(Relaxed), 0);
    }

    #[test]
    fn health_is_ignored_while_fewer_are_well_than_the_threshold() {
        let none = IndexSet::default();
        let mut down = endpoint(1, 10, 0);
        down.down = true;
        let set = set(vec![
            endpoint(1, 10, 0),
            endpoint(1, 10, 0),
            endpoint(1, 10, 0),
            down,
        ]);
        let set = set.with_panic(Panic {
            threshold: 50,
            ..Panic::default()
        });
        is_out(&set, 0);
        assert_eq!(
            set.candidates(0, &none, 100),
            0b110,
            "two of three are well"
        );
        set.endpoint(1).acquire(100).unwrap();
        set.failed(1, 100);
        assert_eq!(
            set.candidates(0, &none, 100),
            0b100,
            "failures of requests do not count"
        );
        is_out(&set, 2);
        assert_eq!(
            set.candidates(0, &none, 100),
            0b101,
            "but for what has failed out"
        );
        assert!(set.health_of(set.endpoint(0)) > 0);
        is_back(&set, 2);
        assert_eq!(set.candidates(0, &none, 100), 0b100);
    }

    #[test]
    fn health_is_0_out_of_rotation_and_else_what_went_well() {
        let mut down = endpoint(1, 10, 0);
        down.down = true;
        let full = endpoint(1, 10, 1);
        let set = set(vec![endpoint(1, 10, 0), endpoint(1, 10, 0), down, full]);
        let health = |index| set.health_of(set.endpoint(index));
        assert_eq!([0, 1, 2, 3].map(health), [100, 100, 0, 100]);
        set.endpoint(3).acquire(100).unwrap();
        assert_eq!(health(3), 100, "one that is full is well");
        set.endpoint(0).note_end(true);
        assert_eq!(health(0), 95);
        for _ in 0..1000 {
            set.endpoint(0).note_end(true);
        }
        assert_eq!(health(0), 1, "it is in rotation");
        is_out(&set, 0);
        assert_eq!(health(0), 0);
        set.endpoint(1).acquire(100).unwrap();
        set.failed(1, 100);
        assert_eq!(health(1), 0);
    }

    #[test]
    fn a_last_resort_is_fit_if_there_is_one() {
        let set = set(vec![endpoint(1, 10, 0), endpoint(1, 10, 0)]);
        is_out(&set, 0);
        set.endpoint(1).acquire(100).unwrap();
        set.failed(1, 100);
        let mut tried = IndexSet::default();
        assert_eq!(set.last_resort(&tried), Some(1), "although it has failed");
        tried.insert(1);
        assert_eq!(set.last_resort(&tried), Some(0));
    }

    /// Failures are learnt of through the epoch that the sets of all configurations share.
    #[test]
    fn a_set_learns_of_failures_under_another_configuration() {
        let none = IndexSet::default();
        for _ in 0..ROUNDS {
            let epoch = DisabledEpoch::default();
            let (old, new) = (endpoint(1, 10, 0), endpoint(1, 10, 0));
            let new = Endpoint {
                stats: old.stats.clone(),
                ..new
            };
            let old = EndpointSet::new(vec![old, endpoint(1, 10, 0)], false, epoch.clone());
            let new = EndpointSet::new(vec![new, endpoint(1, 10, 0)], false, epoch);
            old.endpoint(0).acquire(100).unwrap();
            let (seen, _) = at_once(|| new.candidates(0, &none, 100), || old.failed(0, 100));
            assert!([0b11, 0b10].contains(&seen));
            assert_eq!(new.candidates(0, &none, 100), 0b10);
        }
    }
}
