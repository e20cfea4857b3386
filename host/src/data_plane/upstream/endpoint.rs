//! One address that requests may be sent to, with what all workers know of it: load, failures,
//! latency.
//!
//! What the configuration says of an endpoint is fixed; its [`EndpointStats`] outlive that
//! configuration, and are shared by all workers and configurations that have the address in one
//! upstream: attempts that began under an older configuration still count.
//!
//! The accounting is nginx's (`ngx_http_upstream_free_round_robin_peer_locked`), whole seconds and
//! all: failures add up as long as they lie no further apart than `fail_timeout`, a disabled
//! endpoint is probed by one request once that time has passed, and a success forgives only if the
//! endpoint was picked for such a probe. Plain atomics: a moment's disagreement between workers
//! costs at most one request more or less to a failing endpoint.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::health::Health;
use super::last_error::LastError;
use crate::config::model::Address;
use crate::metrics::EndpointMetrics;
use crate::names::{Doubt, Located};
use crate::plugin::EndpointView;

/// Whole seconds of a clock that never goes back, as nginx counts failures.
pub(crate) type Seconds = u64;

/// An endpoint: what the configuration says of it, and its live figures.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    /// As logs and policies show it: `192.0.2.1:80`, `unix:/run/app.sock`.
    pub(crate) name: Box<str>,
    /// The server as the configuration spells it.
    pub(crate) server: Box<str>,
    /// What hash rings are made of: that, or the host that a service names.
    pub(crate) ring_name: Box<str>,
    pub(crate) route: Box<str>,
    pub(crate) labels: Box<[(String, String)]>,
    pub(crate) weight: u32,
    pub(crate) max_fails: u32,
    pub(crate) fail_timeout: Seconds,
    /// In which its share grows to its weight; 0: at once.
    pub(crate) slow_start: Seconds,
    /// 0 is unlimited.
    pub(crate) max_conns: u32,
    pub(crate) down: bool,
    /// See [`UpstreamServer::down_by_command`].
    pub(crate) down_by_command: bool,
    /// Where it is `down`: when a configuration first had it so.
    pub(crate) down_since: Option<Instant>,
    /// Its attempts are counted, as outliers are looked for.
    pub(super) counted: bool,
    /// About the name that it has its address by, if it may get another one.
    pub(super) doubt: Option<Arc<Doubt>>,
    pub(crate) stats: Arc<EndpointStats>,
    /// Where its attempts are counted.
    pub(super) metrics: Arc<EndpointMetrics>,
}

/// What all workers know of an endpoint at this moment.
#[derive(Debug)]
// On cache lines of its own: workers update the figures of different endpoints at the same time.
#[repr(align(64))]
pub(crate) struct EndpointStats {
    /// Names the endpoint in the process, through all configurations.
    pub(crate) id: EndpointId,
    in_flight: AtomicU32,
    fails: AtomicU32,
    /// When it last failed.
    accessed: AtomicU64,
    /// When it last failed or was last picked for a probe.
    checked: AtomicU64,
    latency_us: AtomicU32,
    /// The second from which on its share grows; 0: it has all of it.
    starting: AtomicU64,
    pub(crate) health: Health,
    pub(crate) last_error: LastError,
}

/// Of [`EndpointStats`]: its share begins to grow when it is looked at next.
const ABOUT_TO_START: Seconds = Seconds::MAX;

/// An endpoint of an upstream, whatever its place in the configuration.
#[derive(Hash, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EndpointId(u64);

impl EndpointStats {
    pub(crate) fn new() -> Arc<EndpointStats> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Arc::new(EndpointStats {
            id: EndpointId(LAST.fetch_add(1, Relaxed)),
            in_flight: AtomicU32::new(0),
            fails: AtomicU32::new(0),
            accessed: AtomicU64::new(0),
            checked: AtomicU64::new(0),
            latency_us: AtomicU32::new(0),
            starting: AtomicU64::new(0),
            health: Health::default(),
            last_error: LastError::default(),
        })
    }

    /// Takes the figures of another endpoint for its own.
    pub(super) fn begin_like(&self, other: &EndpointStats) {
        let EndpointStats {
            id: _,
            in_flight,
            fails,
            accessed,
            checked,
            latency_us,
            starting,
            health,
            last_error: _,
        } = other;
        let alike = |own: &AtomicU32, other: &AtomicU32| own.store(other.load(Relaxed), Relaxed);
        alike(&self.in_flight, in_flight);
        alike(&self.fails, fails);
        alike(&self.latency_us, latency_us);
        let alike = |own: &AtomicU64, other: &AtomicU64| own.store(other.load(Relaxed), Relaxed);
        alike(&self.accessed, accessed);
        alike(&self.checked, checked);
        alike(&self.starting, starting);
        self.health.begin_like(health);
    }

    /// The share of an endpoint with this `slow_start` grows from nothing, from the next look at it
    /// on; without one, it has all of it.
    pub(crate) fn start_slowly(&self, slow_start: Seconds) {
        if slow_start > 0 {
            self.starting.store(ABOUT_TO_START, Relaxed);
        }
    }

    /// Has the mean of its latencies begin anew: what it was like before an ejection would have it
    /// ejected again.
    pub(crate) fn forget_latency(&self) {
        self.latency_us.store(0, Relaxed);
    }

    pub(crate) fn latency_us(&self) -> u32 {
        self.latency_us.load(Relaxed)
    }
}

/// An endpoint that was a candidate a moment ago is not available any more: another worker was
/// first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unavailable;

/// What a failure did to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterFailure {
    StaysInRotation,
    /// "upstream server temporarily disabled".
    Disabled,
}

impl Endpoint {
    pub(crate) fn new(
        server: &crate::config::model::UpstreamServer,
        located: &Located,
        doubt: Option<Arc<Doubt>>,
        stats: Arc<EndpointStats>,
    ) -> Endpoint {
        let address = located.address.clone();
        let name = match &address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => format!("unix:{}", path.display()),
        };
        Endpoint {
            address,
            name: name.into(),
            server: server.spelling.as_str().into(),
            ring_name: match &located.service {
                Some(service) => service.target.clone(),
                None => server.spelling.as_str().into(),
            },
            route: server.route.as_str().into(),
            labels: server.labels.clone().into(),
            // The operator's word counts before that of DNS, unless it is the default (nginx:
            // `ngx_http_upstream_zone_resolve_handler`).
            weight: match (&located.service, server.weight) {
                (Some(service), 1) => u32::from(service.weight),
                (_, weight) => weight,
            },
            max_fails: server.max_fails,
            fail_timeout: server.fail_timeout.as_secs(),
            slow_start: server.slow_start.as_secs(),
            max_conns: server.max_conns,
            down: server.down,
            down_by_command: server.down_by_command,
            down_since: None,
            counted: false,
            doubt,
            stats,
            metrics: Arc::default(),
        }
    }

    /// What is left of it in its place once the configuration does not have it any more: the
    /// attempts that are still in progress.
    pub(super) fn gone(&self) -> Endpoint {
        Endpoint {
            address: self.address.clone(),
            stats: self.stats.clone(),
            metrics: self.metrics.clone(),
            ..Endpoint::vacant()
        }
    }

    /// The place of an endpoint that is not there.
    pub(super) fn vacant() -> Endpoint {
        Endpoint {
            address: Address::Tcp((Ipv4Addr::UNSPECIFIED, 0).into()),
            name: Box::default(),
            server: Box::default(),
            ring_name: Box::default(),
            route: Box::default(),
            labels: Box::default(),
            weight: 1,
            max_fails: 0,
            fail_timeout: 0,
            slow_start: 0,
            max_conns: 0,
            down: true,
            down_by_command: false,
            down_since: None,
            counted: false,
            doubt: None,
            stats: EndpointStats::new(),
            metrics: Arc::default(),
        }
    }

    /// Names the endpoint through reloads and restarts: see `fleet.endpoint` in the WIT.
    pub(crate) fn stable_id(&self) -> u64 {
        let of_server = twox_hash::XxHash64::oneshot(0, self.server.as_bytes());
        twox_hash::XxHash64::oneshot(of_server, self.name.as_bytes())
    }

    /// As plugins get it.
    pub(super) fn view(&self) -> EndpointView {
        EndpointView {
            id: self.stable_id(),
            address: self.name.to_string(),
            weight: self.weight,
        }
    }

    /// Where its attempts are counted.
    pub(crate) fn metrics(&self) -> &Arc<EndpointMetrics> {
        &self.metrics
    }

    /// Attempts in progress, in all workers.
    pub(crate) fn in_flight(&self) -> u32 {
        self.stats.in_flight.load(Relaxed)
    }

    /// Its failures that count now.
    pub(crate) fn fails(&self) -> u32 {
        self.stats.fails.load(Relaxed)
    }

    /// Mean time to the response header of successful attempts, in microseconds; 0 until there was
    /// one.
    pub(crate) fn latency_us(&self) -> u32 {
        self.stats.latency_us()
    }

    /// Whether an attempt may start now, `down` and its [`Health`] aside.
    pub(crate) fn in_rotation(&self, now: Seconds) -> bool {
        self.has_room() && !self.is_disabled(now)
    }

    /// Has its share grow from nothing, from the next look at it on, if it has a `slow_start`.
    pub(super) fn start_slowly(&self) {
        self.stats.start_slowly(self.slow_start);
    }

    /// Its share is growing, or is about to.
    pub(super) fn is_starting(&self) -> bool {
        self.slow_start > 0 && self.stats.starting.load(Relaxed) != 0
    }

    /// The second from which on its share grows; none once it has all of it.
    pub(crate) fn starting(&self, now: Seconds) -> Option<Seconds> {
        let since = match self.stats.starting.load(Relaxed) {
            0 => return None,
            ABOUT_TO_START => now,
            since => since,
        };
        (now.saturating_sub(since) < self.slow_start).then_some(since)
    }

    /// Whether it takes part in a choice, while its share grows. `random`: of the choice, and the
    /// same for all looks at it.
    pub(super) fn takes_part(&self, now: Seconds, random: u64) -> bool {
        let stats = &self.stats.starting;
        // Of several workers that look at it first, all begin in the same second or the next.
        if stats.load(Relaxed) == ABOUT_TO_START {
            stats.store(now.max(1), Relaxed);
        }
        match self.starting(now) {
            Some(since) => random % self.slow_start < now.saturating_sub(since),
            None => true,
        }
    }

    /// True while its failures keep it out, until `fail_timeout` has passed.
    fn is_disabled(&self, now: Seconds) -> bool {
        self.has_failed_out()
            && now.saturating_sub(self.stats.checked.load(Relaxed)) <= self.fail_timeout
    }

    /// True from the failure that disables it until a probe succeeds.
    pub(crate) fn has_failed_out(&self) -> bool {
        self.max_fails > 0 && self.stats.fails.load(Relaxed) >= self.max_fails
    }

    /// Whether an attempt may start although the endpoint is out of rotation: `max_conns` still
    /// applies.
    pub(crate) fn has_room(&self) -> bool {
        self.max_conns == 0 || self.in_flight() < self.max_conns
    }

    /// An attempt has ended: what becomes of its figures, apart from nginx's failures.
    pub(super) fn note_end(&self, failed: bool) {
        self.stats.health.note_end(!failed);
        if self.counted {
            self.stats.health.count_attempt(failed);
        }
    }

    /// The first second in which an attempt may start again, of one that has failed out.
    pub(crate) fn tried_again(&self) -> Seconds {
        let checked = self.stats.checked.load(Relaxed);
        checked.saturating_add(self.fail_timeout).saturating_add(1)
    }

    /// Whether an attempt may start if there is room; `as_last_resort`: whatever its failures.
    pub(super) fn serves(&self, now: Seconds, as_last_resort: bool) -> bool {
        as_last_resort || !self.is_disabled(now)
    }

    /// The second of its last failure; 0 for none.
    pub(crate) fn last_failure(&self) -> Seconds {
        self.stats.accessed.load(Relaxed)
    }

    /// Begins an attempt. The caller ends it with exactly one of [`Endpoint::failed`] and
    /// [`Endpoint::released`].
    ///
    /// # Errors
    /// [`Unavailable`] where the last free connection, or the one probe, went to another worker, or
    /// the endpoint has failed out since it was chosen.
    pub(crate) fn acquire(&self, now: Seconds) -> Result<(), Unavailable> {
        self.acquire_as_last_resort()?;
        // A probe is due once `fail_timeout` has passed since the last failure and the last probe.
        let checked = self.stats.checked.load(Relaxed);
        let due = now.saturating_sub(checked) > self.fail_timeout;
        // Of workers that get here at the same time, the one whose exchange succeeds has the probe.
        let first = due
            && self
                .stats
                .checked
                .compare_exchange(checked, now, Relaxed, Relaxed)
                .is_ok();
        // Out of rotation, and the probe is not for this worker: takes the count of the attempt
        // back.
        if !first && self.has_failed_out() {
            self.stats.in_flight.fetch_sub(1, Relaxed);
            return Err(Unavailable);
        }
        Ok(())
    }

    /// As [`Endpoint::acquire`], whatever its failures.
    ///
    /// # Errors
    /// [`Unavailable`] where the last free connection went to another worker.
    pub(crate) fn acquire_as_last_resort(&self) -> Result<(), Unavailable> {
        // Counts first and looks afterwards, so that two workers cannot both have the last free
        // connection.
        let before = self.stats.in_flight.fetch_add(1, Relaxed);
        if self.max_conns > 0 && before >= self.max_conns {
            self.stats.in_flight.fetch_sub(1, Relaxed);
            return Err(Unavailable);
        }
        Ok(())
    }

    /// Ends an attempt that counts against it. `alone`: there is no other endpoint, and the
    /// failures of this one never count.
    pub(crate) fn failed(&self, now: Seconds, alone: bool) -> AfterFailure {
        self.stats.in_flight.fetch_sub(1, Relaxed);
        if alone {
            self.stats.fails.store(0, Relaxed);
            return AfterFailure::StaysInRotation;
        }
        let fails = self.stats.fails.fetch_add(1, Relaxed) + 1;
        self.stats.accessed.store(now, Relaxed);
        self.stats.checked.store(now, Relaxed);
        if self.max_fails > 0 && fails >= self.max_fails {
            AfterFailure::Disabled
        } else {
            AfterFailure::StaysInRotation
        }
    }

    /// Ends an attempt that does not count against it.
    pub(crate) fn released(&self) {
        self.stats.in_flight.fetch_sub(1, Relaxed);
    }

    /// An attempt went well: its failures are forgiven if that attempt was a probe. True if that
    /// put it back into rotation.
    pub(crate) fn forgive(&self) -> bool {
        // `checked` is later than the last failure only where `acquire` has set it since, after
        // `fail_timeout`.
        if self.stats.accessed.load(Relaxed) < self.stats.checked.load(Relaxed)
            && self.stats.fails.load(Relaxed) > 0
        {
            // Of several attempts that succeed at once, only one sees the old count.
            return self.stats.fails.swap(0, Relaxed) >= self.max_fails;
        }
        false
    }

    /// Forgets its failures: it has answered as a last resort, which is as good as a probe. True if
    /// that put it back into rotation.
    pub(crate) fn recovered(&self) -> bool {
        self.max_fails > 0 && self.stats.fails.swap(0, Relaxed) >= self.max_fails
    }

    /// Takes the time to a response header into the mean, with 5 % weight (as nginx's `least_time`
    /// does).
    pub(crate) fn note_latency(&self, latency: Duration) {
        let latency = u32::try_from(latency.as_micros())
            .unwrap_or(u32::MAX)
            .max(1);
        // Loaded and stored apart: where two workers meet here, one sample is lost, which the mean
        // can bear. 0 stands for no sample, so a mean is 1 at least.
        let mean = self.stats.latency_us.load(Relaxed);
        let mean = if mean == 0 {
            latency
        } else {
            ((u64::from(mean) * 19 + u64::from(latency)) / 20) as u32
        };
        self.stats.latency_us.store(mean.max(1), Relaxed);
    }
}

/// An endpoint for tests.
#[cfg(test)]
pub(super) fn tests_endpoint(max_fails: u32, fail_timeout: u64, max_conns: u32) -> Endpoint {
    let server = crate::config::model::UpstreamServer {
        spelling: "192.0.2.1:80".into(),
        location: crate::config::model::ServerLocation::Address(Address::Tcp(
            ([192, 0, 2, 1], 80).into(),
        )),
        weight: 1,
        max_fails,
        fail_timeout: Duration::from_secs(fail_timeout),
        slow_start: Duration::ZERO,
        max_conns,
        backup: false,
        down: false,
        down_by_command: false,
        route: String::new(),
        labels: Vec::new(),
        listed: false,
        rule: None,
        place: Default::default(),
    };
    let address = Address::Tcp(([192, 0, 2, 1], 80).into());
    Endpoint::new(&server, &Located::at(address), None, EndpointStats::new())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::tests_endpoint as endpoint;
    use super::*;

    fn fail(endpoint: &Endpoint, now: Seconds) -> AfterFailure {
        endpoint.acquire(now).unwrap();
        endpoint.failed(now, false)
    }

    fn serve(endpoint: &Endpoint, now: Seconds) -> bool {
        endpoint.acquire(now).unwrap();
        endpoint.released();
        endpoint.forgive()
    }

    #[test]
    fn a_disabled_endpoint_is_probed_by_one_attempt_after_fail_timeout() {
        let endpoint = endpoint(1, 10, 0);
        assert_eq!(fail(&endpoint, 100), AfterFailure::Disabled);
        assert!(
            !endpoint.in_rotation(110),
            "second 10 is still within the timeout"
        );
        assert!(endpoint.in_rotation(111));
        endpoint.acquire(111).unwrap();
        assert!(!endpoint.in_rotation(111), "the probe is under way");
        assert!(endpoint.forgive(), "the probe succeeded");
        assert!(endpoint.in_rotation(111), "before the probe has ended");
        endpoint.released();
        assert!(endpoint.in_rotation(111));
    }

    #[test]
    fn a_failed_probe_disables_it_again() {
        let endpoint = endpoint(1, 10, 0);
        fail(&endpoint, 100);
        assert_eq!(fail(&endpoint, 111), AfterFailure::Disabled);
        assert!(!endpoint.in_rotation(121));
        assert!(endpoint.in_rotation(122));
    }

    #[test]
    fn failures_add_up_across_successes_that_come_soon() {
        let endpoint = endpoint(2, 10, 0);
        fail(&endpoint, 100);
        serve(&endpoint, 105);
        assert_eq!(fail(&endpoint, 109), AfterFailure::Disabled);
    }

    #[test]
    fn a_success_forgives_once_fail_timeout_has_passed() {
        let endpoint = endpoint(2, 10, 0);
        fail(&endpoint, 100);
        serve(&endpoint, 111);
        assert_eq!(fail(&endpoint, 112), AfterFailure::StaysInRotation);
    }

    #[test]
    fn max_fails_0_never_disables() {
        let endpoint = endpoint(0, 10, 0);
        for now in 0..100 {
            assert_eq!(fail(&endpoint, now), AfterFailure::StaysInRotation);
        }
        assert!(endpoint.in_rotation(100));
    }

    #[test]
    fn an_endpoint_that_is_alone_is_never_blamed() {
        let endpoint = endpoint(1, 10, 0);
        endpoint.acquire(100).unwrap();
        assert_eq!(endpoint.failed(100, true), AfterFailure::StaysInRotation);
        assert!(endpoint.in_rotation(100));
    }

    #[test]
    fn max_conns_bounds_attempts_in_progress() {
        let endpoint = endpoint(1, 10, 2);
        endpoint.acquire(1).unwrap();
        endpoint.acquire(1).unwrap();
        assert!(!endpoint.in_rotation(1));
        assert_eq!(endpoint.acquire(1), Err(Unavailable));
        endpoint.released();
        assert!(endpoint.in_rotation(1));
        assert_eq!(endpoint.in_flight(), 1);
    }
}
