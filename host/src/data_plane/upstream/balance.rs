//! Which endpoint is asked: the policy's choice, held as a lease until the attempt has ended.
//!
//! An upstream's backups are a fleet of their own with a policy instance of their own, balanced
//! once no primary can be had (nginx: `ngx_http_upstream_get_round_robin_peer` on `peers->next`).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::balanceable::Balanceable;
use super::endpoint::{AfterFailure, Endpoint, EndpointId, EndpointStats};
use super::endpoint_set::{DisabledEpoch, EndpointSet};
use super::http2::Http2Connections;
use super::pool::{Connection, Pool};
use crate::config::model::{self, Address};
use crate::data_plane::process::Clock;
use crate::plugin::{
    Balancer, ConfigureError, Ending, ExchangeAtHand, Outcome, Pick, Plugin, WorkerBalancer,
};
use crate::tls::ClientTls;

/// An upstream as all workers share it.
pub(crate) struct Upstream {
    pub(crate) config: model::UpstreamConfig,
    /// Those of each of its servers, in the order of the configuration.
    pub(crate) addresses: Vec<Vec<Address>>,
    /// None where its endpoints speak without.
    pub(crate) tls: Option<Arc<ClientTls>>,
    primary: Group<Arc<Balancer>>,
    backup: Option<Group<Arc<Balancer>>>,
    leases: AtomicU64,
    disabled_epoch: DisabledEpoch,
}

/// A fleet with the policy that balances it.
struct Group<B> {
    fleet: Arc<EndpointSet>,
    balancer: B,
}

impl Upstream {
    /// Lays out the fleets; `balance` configures the policy for each. Endpoints whose address
    /// `previous` has too, the same upstream under the configuration before, keep their figures;
    /// with another `tls` they are other endpoints, to which no connection from before may lead.
    ///
    /// # Errors
    /// Whatever `balance` answers.
    pub(crate) fn new<E>(
        config: model::UpstreamConfig,
        addresses: Vec<Vec<Address>>,
        tls: Option<Arc<ClientTls>>,
        previous: Option<&Upstream>,
        mut balance: impl FnMut(Arc<EndpointSet>) -> Result<Balancer, E>,
    ) -> Result<Upstream, E> {
        let alike = previous.filter(|previous| previous.speaks(tls.as_ref()));
        let mut known = alike.map(Upstream::stats).unwrap_or_default();
        let mut fleet = |backup: bool| -> Vec<Endpoint> {
            let servers = config.servers.iter().zip(&addresses);
            let servers = servers.filter(|(server, _)| server.backup == backup);
            let of_servers = servers.flat_map(|(server, addresses)| {
                addresses.iter().map(move |address| (server, address))
            });
            of_servers
                .map(|(server, address)| {
                    let stats = known.get_mut(address).and_then(Vec::pop);
                    let stats = stats.unwrap_or_else(EndpointStats::new);
                    Endpoint::new(server, address.clone(), stats)
                })
                .collect()
        };
        let (primary, backup) = (fleet(false), fleet(true));
        let alone = primary.len() == 1 && backup.is_empty();
        let disabled_epoch = previous.map_or_else(DisabledEpoch::default, |previous| {
            previous.disabled_epoch.clone()
        });
        let mut group = |endpoints, alone| {
            let fleet = Arc::new(EndpointSet::new(endpoints, alone, disabled_epoch.clone()));
            let balancer = Arc::new(balance(fleet.clone())?);
            Ok(Group { fleet, balancer })
        };
        let primary = group(primary, alone)?;
        let backup = if backup.is_empty() {
            None
        } else {
            Some(group(backup, false)?)
        };
        Ok(Upstream {
            config,
            addresses,
            tls,
            primary,
            backup,
            leases: AtomicU64::new(0),
            disabled_epoch,
        })
    }

    /// Whether its endpoints are spoken to by this very TLS.
    pub(crate) fn speaks(&self, tls: Option<&Arc<ClientTls>>) -> bool {
        match (&self.tls, tls) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            _ => false,
        }
    }

    /// By address; several where an address is listed several times, the last one first.
    fn stats(&self) -> HashMap<Address, Vec<Arc<EndpointStats>>> {
        let mut stats = HashMap::<_, Vec<_>>::new();
        for (endpoint, _) in self.endpoints() {
            let of_address = stats.entry(endpoint.address.clone()).or_default();
            of_address.insert(0, endpoint.stats.clone());
        }
        stats
    }

    /// All endpoints, and whether each is a backup.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (&Endpoint, bool)> {
        let primary = self.primary.fleet.endpoints().iter();
        let backup = self.backup.iter().flat_map(|group| group.fleet.endpoints());
        primary
            .map(|endpoint| (endpoint, false))
            .chain(backup.map(|endpoint| (endpoint, true)))
    }

    /// The policy of the primaries, and that of the backups if there are any.
    pub(crate) fn balancers(&self) -> impl Iterator<Item = &Arc<Balancer>> {
        let backup = self.backup.iter().map(|group| &group.balancer);
        std::iter::once(&self.primary.balancer).chain(backup)
    }

    pub(crate) fn policy(&self) -> &Plugin {
        self.primary.balancer.policy()
    }

    /// Has the policies take over what those of the upstream before know, where all workers share
    /// them.
    ///
    /// # Errors
    /// See [`Balancer::inherit`].
    pub(crate) fn inherit(&self, previous: &Upstream) -> Result<(), ConfigureError> {
        let mut pairs = self.balancers().zip(previous.balancers());
        pairs.try_for_each(|(now, before)| now.inherit(before))
    }

    /// How many attempts an exchange has: one for each endpoint that is not `down`, unless there is
    /// but one endpoint, or the configuration says less.
    pub(crate) fn tries(&self) -> u32 {
        let members = self.primary.fleet.members()
            + self
                .backup
                .as_ref()
                .map_or(0, |backup| backup.fleet.members());
        match self.config.next_upstream.tries {
            0 => members,
            tries => members.min(tries),
        }
    }
}

/// An upstream as one worker uses it.
pub(crate) struct WorkerUpstream {
    pub(crate) shared: Arc<Upstream>,
    primary: Group<RefCell<WorkerBalancer>>,
    backup: Option<Group<RefCell<WorkerBalancer>>>,
    pool: Rc<RefCell<Pool>>,
    pub(super) http2: Rc<RefCell<Http2Connections>>,
    /// The same upstream under the configuration before, until [`WorkerUpstream::take_over`].
    previous: RefCell<Option<Rc<WorkerUpstream>>>,
}

impl WorkerUpstream {
    /// Goes on where `previous` is, the same upstream under the configuration before: with its idle
    /// connections, and with what its policies know once it has [taken
    /// over](WorkerUpstream::take_over).
    pub(crate) fn attach(
        shared: Arc<Upstream>,
        previous: Option<Rc<WorkerUpstream>>,
    ) -> WorkerUpstream {
        let attach = |group: &Group<Arc<Balancer>>| Group {
            fleet: group.fleet.clone(),
            balancer: RefCell::new(group.balancer.attach(None)),
        };
        let primary = attach(&shared.primary);
        let backup = shared.backup.as_ref().map(attach);
        let ids = shared.endpoints().map(|(endpoint, _)| endpoint.stats.id);
        let ids: Vec<EndpointId> = ids.collect();
        let (pool, http2) = match &previous {
            Some(previous) => {
                let (pool, http2) = (previous.pool.clone(), previous.http2.clone());
                http2.borrow_mut().reconfigure(&shared.config, &ids);
                pool.borrow_mut().reconfigure(&shared.config, ids);
                (pool, http2)
            }
            None => (
                Rc::new(RefCell::new(Pool::new(&shared.config, ids.clone()))),
                Rc::new(RefCell::new(Http2Connections::new(&shared.config, &ids))),
            ),
        };
        WorkerUpstream {
            primary,
            backup,
            pool,
            http2,
            shared,
            previous: RefCell::new(previous),
        }
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

    pub(crate) fn name(&self) -> &str {
        &self.shared.config.name
    }

    /// An idle connection to an endpoint, if there is one that the next exchange may use.
    pub(super) fn take_idle(&self, endpoint: EndpointId, now: Instant) -> Option<Connection> {
        self.shares_connections()
            .then(|| self.pool.borrow_mut().take(endpoint, now))
            .flatten()
    }

    /// Keeps a connection for another exchange, if it may have one.
    pub(crate) fn keep_idle(&self, endpoint: EndpointId, connection: Connection, now: Instant) {
        if self.shares_connections() {
            self.pool.borrow_mut().put(endpoint, connection, now);
        }
    }

    /// Whether a request may ask its endpoint to keep the connection.
    pub(crate) fn keeps_connections(&self) -> bool {
        self.shares_connections() && self.pool.borrow().keeps_connections()
    }

    /// A connection that says whom it speaks for is of no use to anybody else. The pool does not
    /// know: it stays when the configuration changes, and this upstream may have begun under the
    /// one before.
    fn shares_connections(&self) -> bool {
        self.shared.config.proxy_protocol.is_none()
    }

    /// Closes idle connections whose time has come.
    pub(crate) fn sweep(&self) {
        self.pool.borrow_mut().sweep();
        self.http2.borrow_mut().sweep();
    }

    /// Closes an idle connection, which makes room for another one; false where there is none. One
    /// of HTTP/2 takes its time to say goodbye.
    pub(crate) fn close_idle(&self) -> bool {
        self.pool.borrow_mut().close_idle() || self.http2.borrow_mut().close_idle()
    }

    fn group(&self, backup: bool) -> Option<&Group<RefCell<WorkerBalancer>>> {
        match backup {
            false => Some(&self.primary),
            true => self.backup.as_ref(),
        }
    }

    /// The group in which a turn or a lease is: it is there.
    fn group_of(&self, backup: bool) -> &Group<RefCell<WorkerBalancer>> {
        self.group(backup).unwrap_or(&self.primary)
    }

    /// Picks an endpoint for the next attempt of an exchange and takes a lease on it.
    ///
    /// # Errors
    /// [`NoEndpoint`]: "no live upstreams".
    pub(crate) fn lease(
        self: &Rc<Self>,
        exchange: Rc<dyn Balanceable>,
        clock: &Clock,
        attempt: u32,
    ) -> Result<Lease, NoEndpoint> {
        self.take_over();
        let balance = exchange.balance();
        loop {
            let picked_at = Instant::now();
            let now = clock.seconds_at(picked_at);
            if !self
                .group_of(balance.in_backup())
                .fleet
                .has_candidate(&balance.tried(), now)
            {
                if balance.in_backup() || self.backup.is_none() {
                    return Err(NoEndpoint);
                }
                balance.begin(self.group_of(true).fleet.clone(), true);
                continue;
            }
            let group = self.group_of(balance.in_backup());
            if attempt == 0 && !balance.has_begun() {
                balance.begin(group.fleet.clone(), false);
            }
            balance.at(now);
            let id = self.shared.leases.fetch_add(1, Relaxed) + 1;
            let pick = Pick {
                lease: id,
                attempt,
                now_us: clock.micros(picked_at),
                random: fastrand::u64(..),
            };
            balance.forget_response_headers();
            let at_hand = exchange.clone() as ExchangeAtHand;
            let Some(index) = group.balancer.borrow_mut().pick(&at_hand, &pick) else {
                continue;
            };
            balance.mark_tried(index);
            if group.fleet.endpoint(index).acquire(now).is_err() {
                // It stays marked as tried: the policy is asked again, without it.
                continue;
            }
            let (upstream, backup) = (self.clone(), balance.in_backup());
            return Ok(Lease {
                upstream,
                exchange: exchange.clone(),
                backup,
                index,
                id,
                picked_at,
                stands: Cell::new(false),
                ended: Cell::new(false),
            });
        }
    }
}

/// No endpoint is in rotation that was not tried yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoEndpoint;

/// How far an attempt came, as time since its pick; zero for what it did not reach.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timings {
    pub(crate) connect: Duration,
    pub(crate) header: Duration,
}

/// One attempt at one endpoint. Ends exactly once: by the first [`Lease::end`], or as abandoned
/// when it is dropped.
pub(crate) struct Lease {
    upstream: Rc<WorkerUpstream>,
    exchange: Rc<dyn Balanceable>,
    backup: bool,
    pub(crate) index: u32,
    id: u64,
    pub(crate) picked_at: Instant,
    stands: Cell<bool>,
    ended: Cell<bool>,
}

impl Lease {
    /// The upstream of its endpoint.
    pub(super) fn upstream(&self) -> &Upstream {
        &self.upstream.shared
    }

    /// Whom it is for.
    pub(super) fn exchange(&self) -> &dyn Balanceable {
        &*self.exchange
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.upstream
            .group_of(self.backup)
            .fleet
            .endpoint(self.index)
    }

    /// The endpoint has taken a session or a tunnel, which may last for hours: it is back in
    /// rotation if it was out of order, and the end of the lease says nothing more about that
    /// (nginx: `ngx_stream_upstream_notify_round_robin_peer`).
    pub(crate) fn stands(&self) {
        if !self.stands.replace(true) {
            let group = self.upstream.group_of(self.backup);
            group.fleet.forgive(self.index);
        }
    }

    /// Ends the attempt, unless it has ended.
    pub(crate) fn end(&self, ending: Ending, status: u16, timings: Timings, clock: &Clock) {
        if self.ended.replace(true) {
            return;
        }
        let after = self.finish(ending, status, timings, Some(clock));
        if after == AfterFailure::Disabled {
            self.exchange.warn(
                "upstream server temporarily disabled",
                &self.endpoint().name,
            );
        }
    }

    fn finish(
        &self,
        ending: Ending,
        status: u16,
        timings: Timings,
        clock: Option<&Clock>,
    ) -> AfterFailure {
        let group = self.upstream.group_of(self.backup);
        let mut after = AfterFailure::StaysInRotation;
        match (ending, clock) {
            (Ending::Failed, Some(clock)) => {
                after = group.fleet.failed(self.index, clock.seconds());
                group.balancer.borrow_mut().failed(self.index);
            }
            _ => {
                group.fleet.released(self.index);
                if !self.stands.get() {
                    group.fleet.forgive(self.index);
                }
                if ending == Ending::Completed && !timings.header.is_zero() {
                    group
                        .fleet
                        .endpoint(self.index)
                        .note_latency(timings.header);
                }
            }
        }
        let mut balancer = group.balancer.borrow_mut();
        if balancer.hears_endings() {
            let micros =
                |duration: Duration| u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
            let outcome = Outcome {
                ending,
                status,
                connect_us: micros(timings.connect),
                header_us: micros(timings.header),
                total_us: micros(self.picked_at.elapsed()),
            };
            let at_hand = self.exchange.clone() as ExchangeAtHand;
            balancer.done(&at_hand, self.id, self.index, &outcome);
        }
        after
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.ended.get() {
            self.finish(Ending::Abandoned, 0, Timings::default(), None);
        }
    }
}
