//! Which endpoint is asked: the policy's choice among the candidates, leased for an attempt.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::balance_state::BalanceState;
use super::balanceable::Balanceable;
use super::connection_limit::{Bound, ConnectionLimit, IdleConnections};
use super::descriptor::Room;
use super::dial::Dialed;
use super::endpoint::{EndpointId, Seconds};
use super::failure::{Failure, reason};
use super::group::WorkerGroup;
use super::http2::Http2Connections;
use super::lease::Lease;
use super::load::Admitted;
use super::on_trial::UpstreamTrial;
use super::overload::Overload;
use super::pool::{Connection, Pool};
use super::queue::WorkerQueue;
use super::retry::Spending;
use super::retry_budget::RetryBudget;
use super::shared::Upstream;
use super::target::Target;
use crate::data_plane::process::Clock;
use crate::data_plane::turn;
use crate::metrics::PoolMetrics;
use crate::plugin::{ExchangeAtHand, Pick};

/// An upstream as one worker uses it.
pub(crate) struct WorkerUpstream {
    pub(crate) shared: Arc<Upstream>,
    name: Rc<str>,
    primary: Rc<WorkerGroup>,
    backup: Option<Rc<WorkerGroup>>,
    /// Names the last lease. The count goes on through changes of the configuration, also that of
    /// exchanges that began before them: the instance that hears of the ends may be the same.
    leases: Rc<Cell<u64>>,
    /// The same upstream under the configuration before, until [`WorkerUpstream::take_over`].
    previous: RefCell<Option<Rc<WorkerUpstream>>>,
    pool: Rc<RefCell<Pool>>,
    pub(super) http2: Rc<RefCell<Http2Connections>>,
    /// Where its requests wait; none where the configuration has no queue.
    pub(super) queue: Option<Rc<WorkerQueue>>,
    /// Where they wait for a connection; none where those are not limited.
    connecting: Option<Rc<WorkerQueue>>,
    pub(super) retry_budget: Rc<RetryBudget>,
    /// The same upstream under the newest configuration; all of them share the cell.
    newest: Rc<RefCell<Weak<WorkerUpstream>>>,
}

impl WorkerUpstream {
    /// That of the worker of this index. Goes on where `previous` is, the same upstream under the
    /// configuration before: with its idle connections, and with what its policies know once it has [taken
    /// over](WorkerUpstream::take_over).
    pub(crate) fn attach(
        worker: usize,
        shared: Arc<Upstream>,
        previous: Option<Rc<WorkerUpstream>>,
    ) -> Rc<WorkerUpstream> {
        let before = |backup| previous.as_deref()?.group(backup).map(|group| &**group);
        let primary = Rc::new(shared.primary.attach(before(false)));
        let backup = shared.backup.as_ref();
        let backup = backup.map(|group| Rc::new(group.attach(before(true))));
        let ids = shared.endpoints().map(|(endpoint, _)| endpoint.stats.id);
        let ids: Vec<EndpointId> = ids.collect();
        let (pool, http2) = match &previous {
            Some(previous) => {
                let (pool, http2) = (previous.pool.clone(), previous.http2.clone());
                http2.borrow_mut().reconfigure(&shared.config, &ids);
                pool.borrow_mut().reconfigure(&shared.config, ids);
                (pool, http2)
            }
            None => {
                let metrics = PoolMetrics::new(shared.metrics().clone(), worker);
                (
                    Rc::new(RefCell::new(Pool::new(
                        &shared.config,
                        ids.clone(),
                        metrics,
                    ))),
                    Rc::new(RefCell::new(Http2Connections::new(&shared.config, &ids))),
                )
            }
        };
        let alike = previous.as_deref();
        let alike = alike.filter(|previous| Arc::ptr_eq(&previous.shared.load, &shared.load));
        let overload = &shared.config.overload;
        let queue = overload.queue.and_then(|_| {
            let before = alike.and_then(|previous| previous.queue.clone());
            before.or_else(|| WorkerQueue::of(shared.load.queue.clone()))
        });
        let is_limited = overload.limits.connections > 0;
        let connecting = is_limited.then(|| {
            let before = alike.and_then(|previous| previous.connecting.clone());
            before.or_else(|| WorkerQueue::of(shared.load.connecting.clone()))
        });
        let retry_budget = previous.as_deref();
        let retry_budget = retry_budget.map(|previous| previous.retry_budget.clone());
        let newest = alike.map_or_else(Rc::default, |previous| previous.newest.clone());
        let attached = Rc::new(WorkerUpstream {
            queue,
            connecting: connecting.flatten(),
            retry_budget: retry_budget.unwrap_or_default(),
            newest,
            name: match &shared.config.dynamic {
                Some(name) => name.proxy_host(shared.tls.is_some()).into(),
                None => shared.config.name.as_str().into(),
            },
            primary,
            backup,
            pool,
            http2,
            leases: match &previous {
                Some(previous) => previous.leases.clone(),
                None => Rc::new(Cell::new(shared.lease_numbers())),
            },
            previous: RefCell::new(previous),
            shared,
        });
        *attached.newest.borrow_mut() = Rc::downgrade(&attached);
        // There may be endpoints now that have room, or none any more.
        attached.shared.load.room();
        attached
    }

    /// The same upstream under the newest configuration that this worker has got, if requests are
    /// sent to it in the same way.
    pub(super) fn newest(self: &Rc<Self>) -> Rc<WorkerUpstream> {
        let newest = self.newest.borrow().upgrade();
        newest.unwrap_or_else(|| self.clone())
    }

    /// Has the policies take over what those of the configuration before know, unless they have:
    /// false where there was nothing to do. Before the first pick at the latest, so that what is
    /// learned in between is not lost; a worker does so upstream by upstream, since each may take
    /// as long as two calls into a component.
    pub(crate) fn take_over(&self) -> bool {
        if self.previous.borrow().is_none() {
            return false;
        }
        let Some(previous) = self.previous.take() else {
            return false;
        };
        // It may not have come to it itself.
        previous.take_over();
        for backup in [false, true] {
            if let (Some(now), Some(before)) = (self.group(backup), previous.group(backup)) {
                let mut before = before.balancer.borrow_mut();
                now.balancer.borrow_mut().take_over(&mut before);
            }
        }
        true
    }

    /// From here on this is on trial, or nothing is. `previous`: the upstream under the configuration
    /// before.
    pub(crate) fn put_on_trial(
        &self,
        trial: Option<&UpstreamTrial>,
        previous: Option<&WorkerUpstream>,
    ) {
        if trial.is_some() {
            // What it is to begin with may be known to the one before alone.
            self.take_over();
        }
        for backup in [false, true] {
            if let Some(group) = self.group(backup) {
                let before = previous.and_then(|previous| previous.group(backup));
                let before = before.map(|before| &**before);
                group.put_on_trial(trial.map(|trial| (trial, backup)), before);
            }
        }
    }

    /// As `proxy` has it. Exchanges keep it, by a count of this worker's own.
    pub(crate) fn name(&self) -> &Rc<str> {
        &self.name
    }

    /// An idle connection to an endpoint, if there is one that the next exchange may use.
    pub(super) fn take_idle(&self, endpoint: EndpointId, now: Instant) -> Option<Box<Connection>> {
        self.shares_connections()
            .then(|| self.pool.borrow_mut().take(endpoint, now))
            .flatten()
    }

    /// Keeps a connection for another exchange, if it may have one.
    pub(crate) fn keep_idle(
        &self,
        endpoint: EndpointId,
        connection: Box<Connection>,
        now: Instant,
    ) {
        // Somebody who waits for a connection may want one to another endpoint.
        let is_wanted = self.connecting.is_some() && self.shared.load.connecting.waiting() > 0;
        if self.shares_connections() && !is_wanted {
            self.pool.borrow_mut().put(endpoint, connection, now);
        }
    }

    /// Whether a request may ask its endpoint to keep the connection.
    pub(crate) fn keeps_connections(&self) -> bool {
        self.shares_connections() && self.pool.borrow().keeps_connections()
    }

    /// A connection that began with a PROXY header belongs to one client and is never reused. The
    /// pool cannot tell: it outlives changes of the configuration, and this upstream may have had
    /// no `proxy_protocol` before.
    fn shares_connections(&self) -> bool {
        self.shared.config.proxy_protocol.is_none()
    }

    /// Calls its plugins whose time has come.
    pub(crate) fn tick(&self, now_us: u64) {
        for group in std::iter::once(&self.primary).chain(&self.backup) {
            group.tick(now_us);
        }
    }

    /// Closes idle connections whose time has come; false where there are none to look at.
    pub(crate) fn sweep(&self) -> bool {
        let (pool, http2) = (&mut *self.pool.borrow_mut(), &mut *self.http2.borrow_mut());
        if pool.is_empty() && http2.is_empty() {
            return false;
        }
        pool.sweep();
        http2.sweep();
        true
    }

    /// Closes an idle connection of HTTP/1, whose descriptor is given back at once; false where
    /// there is none.
    pub(crate) fn close_idle(&self) -> bool {
        self.pool.borrow_mut().close_idle()
    }

    /// Closes an idle connection of HTTP/2, which sends GOAWAY first.
    pub(crate) fn close_idle_http2(&self) -> Room {
        self.http2.borrow_mut().close_idle()
    }

    /// What it takes to dial a lease's endpoint.
    ///
    /// # Errors
    /// See [`Target::new`].
    pub(crate) fn target(&self, lease: &Lease) -> Result<Target, Failure> {
        let exchange = lease.exchange();
        let (ends, alpn) = (exchange.ends(), exchange.speaks_http());
        let target = Target::new(&self.shared, lease.endpoint(), ends, alpn)?;
        Ok(match self.shared.config.overload.limits.connections {
            0 => target,
            most => {
                let (pool, http2) = (self.pool.clone(), self.http2.clone());
                let idle = Rc::new(Idle { pool, http2 });
                let Some(queue) = self.connecting.clone() else {
                    return Ok(target);
                };
                let bound = Bound { most, idle, queue };
                target.limited(ConnectionLimit::of(self.shared.load.clone(), bound))
            }
        })
    }

    /// Lets a dial go on whose client has left, if another client may use the connection. Otherwise
    /// clients with a timeout shorter than the handshake would never get a connection.
    pub(super) fn adopt(
        self: &Rc<Self>,
        endpoint: EndpointId,
        dialing: Pin<Box<dyn Future<Output = Result<Dialed, Failure>>>>,
    ) {
        if !self.shares_connections() || !self.pool.borrow_mut().begin_dial(endpoint) {
            return;
        }
        let pool = self.pool.clone();
        tokio::task::spawn_local(async move {
            let dialed = dialing.await;
            let mut pool = pool.borrow_mut();
            pool.end_dial(endpoint);
            if let Ok(dialed) = dialed {
                pool.put(endpoint, Connection::new(dialed), Instant::now());
            }
        });
    }

    fn group(&self, backup: bool) -> Option<&Rc<WorkerGroup>> {
        match backup {
            false => Some(&self.primary),
            true => self.backup.as_ref(),
        }
    }

    /// Counts a request, and answers with what its retries are taken from, where they are counted.
    pub(crate) fn spending(&self, clock: &Clock) -> Option<Spending<'_>> {
        let config = self.shared.config.overload.retry_budget?;
        self.retry_budget.request(clock.seconds());
        Some(Spending {
            budget: &self.retry_budget,
            config,
            load: &self.shared.load,
            clock: *clock,
        })
    }

    /// Picks an endpoint for the next attempt of an exchange and takes a lease on it, unless others
    /// wait for one.
    ///
    /// # Errors
    /// [`NoEndpoint`]
    pub(crate) fn lease(
        &self,
        exchange: Rc<dyn Balanceable>,
        clock: &Clock,
        attempt: u32,
    ) -> Result<Lease, NoEndpoint> {
        match &self.queue {
            Some(_) if self.shared.load.waiting() > 0 => Err(NoEndpoint::Full),
            _ => self.lease_in_turn(exchange, clock, attempt),
        }
    }

    /// As [`WorkerUpstream::lease`], for an exchange whose turn it is.
    ///
    /// # Errors
    /// [`NoEndpoint`]
    pub(super) fn lease_in_turn(
        &self,
        exchange: Rc<dyn Balanceable>,
        clock: &Clock,
        attempt: u32,
    ) -> Result<Lease, NoEndpoint> {
        self.take_over();
        let (load, bounds) = (&self.shared.load, &self.shared.bounds);
        let admitted = load.admit(bounds, || exchange.client_address());
        let admitted = admitted.map_err(NoEndpoint::Overload)?;
        let leased = self.lease_admitted(exchange, clock, attempt, admitted);
        if leased.is_err() {
            load.release(admitted);
        }
        leased
    }

    fn lease_admitted(
        &self,
        exchange: Rc<dyn Balanceable>,
        clock: &Clock,
        attempt: u32,
        admitted: Admitted,
    ) -> Result<Lease, NoEndpoint> {
        let balance = exchange.balance();
        // Those that another worker was first to take. They are tried again by one that waits.
        let mut missed = SmallVec::<[(Rc<WorkerGroup>, u32); 2]>::new();
        let at_hand = exchange.clone() as ExchangeAtHand;
        loop {
            let picked_at = turn::now();
            let (now, now_us) = clock.seconds_and_micros(picked_at);
            let (group, last_resort) = match self.next_group(balance, now) {
                Some(group) => (group, false),
                None => {
                    let group = self.last_resort(balance);
                    let group = group.ok_or_else(|| self.why_none(balance, now, &missed));
                    (group?, true)
                }
            };
            let lease = self.leases.get().wrapping_add(1);
            self.leases.set(lease);
            let pick = Pick {
                lease,
                attempt,
                now_us,
                random: fastrand::u64(..),
            };
            balance.forget_response_headers();
            let taking_part = match last_resort {
                true => None,
                false => {
                    let (tried, random) = (balance.tried(), || fastrand::u64(..));
                    group.endpoints.without_starting(&tried, now, random)
                }
            };
            let narrow = || balance.narrow(taking_part.as_deref());
            narrow();
            let chosen = group.pick(&exchange, &at_hand, &pick, &narrow);
            balance.resort_to(None);
            let chosen = match chosen {
                Ok(Some(chosen)) => chosen,
                Ok(None) => continue,
                Err(status) => {
                    balance.forget_response_headers();
                    return Err(NoEndpoint::Refused(status));
                }
            };
            let index = chosen.picked.index;
            balance.mark_tried(index);
            let endpoint = group.endpoints.endpoint(index);
            let acquired = match last_resort {
                true => endpoint.acquire_as_last_resort(),
                false => endpoint.acquire(now),
            };
            match acquired {
                Ok(()) => {
                    if attempt > 0 {
                        let why = reason(exchange.balance().failure());
                        let worker = exchange.worker();
                        self.shared.metrics().retried(worker, why);
                        if let Some(left) = exchange.balance().take_left() {
                            left.retried(worker, why);
                        }
                    }
                    let lease = Lease::new(group, exchange, chosen, picked_at, admitted);
                    return Ok(lease.with_last_resort(last_resort));
                }
                // It stays marked as tried: the policy is asked again, without it.
                Err(_) => {
                    group.unused(&exchange, chosen);
                    if self.queue.is_some() {
                        // For a moment, it seemed to have less room than it has.
                        self.shared.load.room();
                        missed.push((group, index));
                    }
                }
            }
        }
    }

    /// The group that has a candidate for an exchange: the primaries, and then the backups.
    fn next_group(&self, balance: &BalanceState, now: Seconds) -> Option<Rc<WorkerGroup>> {
        balance.at(now);
        let group = balance.group().unwrap_or_else(|| {
            balance.begin(self.primary.clone());
            self.primary.clone()
        });
        if group.endpoints.has_candidate(&balance.tried(), now) {
            return Some(group);
        }
        let backup = self.backup.as_ref()?;
        if Rc::ptr_eq(&group, backup) {
            return None;
        }
        balance.begin(backup.clone());
        let found = backup.endpoints.has_candidate(&balance.tried(), now);
        found.then(|| backup.clone())
    }

    fn why_none(
        &self,
        balance: &BalanceState,
        now: Seconds,
        missed: &[(Rc<WorkerGroup>, u32)],
    ) -> NoEndpoint {
        if self.queue.is_some() {
            for (group, index) in missed {
                balance.unmark_tried(group, *index);
            }
            if !missed.is_empty() || self.is_worth_waiting_for(&balance.tried_ids(), now) {
                return NoEndpoint::Full;
            }
        }
        match self.shared.endpoints().next() {
            Some(_) => NoEndpoint::None,
            None => NoEndpoint::Unresolved,
        }
    }

    /// Whether endpoints besides these are full, or were a moment ago: room is made, and the health
    /// of endpoints changes, while one is looked for.
    fn is_worth_waiting_for(&self, tried: &[EndpointId], now: Seconds) -> bool {
        let last_resort = self.shared.config.last_resort;
        self.groups().any(|group| {
            let endpoints = &group.endpoints;
            endpoints.is_worth_waiting_for(&endpoints.indexes_of(tried), now, last_resort)
        })
    }

    /// Whether endpoints besides these would be asked, but have no room.
    fn is_merely_full(&self, tried: &[EndpointId], now: Seconds) -> bool {
        let last_resort = self.shared.config.last_resort;
        self.groups().any(|group| {
            let endpoints = &group.endpoints;
            endpoints.is_merely_full(&endpoints.indexes_of(tried), now, last_resort)
        })
    }

    /// Whether an exchange that has tried these endpoints learns something by trying again: there is
    /// one with room, or none to wait for.
    pub(super) fn is_worth_a_try(&self, tried: &[EndpointId], now: Seconds) -> bool {
        let last_resort = self.shared.config.last_resort;
        let has_room = self.groups().any(|group| {
            let (endpoints, tried) = (&group.endpoints, group.endpoints.indexes_of(tried));
            let as_last_resort = || last_resort && endpoints.last_resort(&tried).is_some();
            endpoints.has_candidate(&tried, now) || as_last_resort()
        });
        has_room || !self.is_merely_full(tried, now)
    }

    /// The primaries, and then the backups.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Rc<WorkerGroup>> {
        std::iter::once(&self.primary).chain(&self.backup)
    }

    /// Where no endpoint is in rotation, and the configuration wants one to be asked nevertheless:
    /// makes the one that failed least recently the only candidate, a primary if there is one.
    fn last_resort(&self, balance: &BalanceState) -> Option<Rc<WorkerGroup>> {
        if !self.shared.config.last_resort {
            return None;
        }
        for group in std::iter::once(&self.primary).chain(&self.backup) {
            if !balance.group().is_some_and(|at| Rc::ptr_eq(&at, group)) {
                balance.begin(group.clone());
            }
            let index = group.endpoints.last_resort(&balance.tried());
            if index.is_some() {
                balance.resort_to(index);
                return Some(group.clone());
            }
        }
        None
    }
}

/// A worker's idle connections to an upstream.
struct Idle {
    pool: Rc<RefCell<Pool>>,
    http2: Rc<RefCell<Http2Connections>>,
}

impl IdleConnections for Idle {
    fn close_idle(&self) -> Room {
        match self.pool.borrow_mut().close_idle() {
            true => Room::Made,
            false => self.http2.borrow_mut().close_idle(),
        }
    }
}

/// No endpoint may be asked that was not tried yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoEndpoint {
    /// Those that could be asked are full, or others wait for them: see
    /// [`wait_for_endpoint`](super::wait_for_endpoint).
    Full,
    /// There is too much to do.
    Overload(Overload),
    /// All are out of rotation: "no live upstreams".
    None,
    /// There are none: no name is known.
    Unresolved,
    /// The policy or a filter refuses, and the exchange ends with this status.
    Refused(u16),
}
