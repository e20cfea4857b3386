//! Which endpoint is asked: the policy's choice, held as a lease until the attempt has ended.
//!
//! An upstream's backups are a fleet of their own with a policy instance of their own, balanced once no primary can be had
//! (nginx: `ngx_http_upstream_get_round_robin_peer` on `peers->next`).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::endpoint::{AfterFailure, Endpoint};
use super::fleet::Fleet;
use super::pool::Pool;
use crate::config::model;
use crate::data_plane::exchange::Exchange;
use crate::data_plane::worker::Clock;
use crate::plugin::{Balancer, Ending, ExchangeAtHand, Outcome, Pick, WorkerBalancer};

/// An upstream as all workers share it.
pub(crate) struct Upstream {
    pub(crate) config: model::Upstream,
    primary: Group<Arc<Balancer>>,
    backup: Option<Group<Arc<Balancer>>>,
    leases: AtomicU64,
}

/// A fleet with the policy that balances it.
struct Group<B> {
    fleet: Arc<Fleet>,
    balancer: B,
}

impl Upstream {
    /// Lays out the fleets; `balance` configures the policy for each.
    ///
    /// # Errors
    /// Whatever `balance` answers.
    pub(crate) fn new<E>(
        config: model::Upstream,
        mut balance: impl FnMut(Arc<Fleet>) -> Result<Balancer, E>,
    ) -> Result<Upstream, E> {
        let fleet = |backup: bool| -> Vec<Endpoint> {
            let servers = config
                .servers
                .iter()
                .filter(|server| server.backup == backup);
            servers
                .flat_map(|server| {
                    server
                        .addresses
                        .iter()
                        .map(|address| Endpoint::new(server, address.clone()))
                })
                .collect()
        };
        let (primary, backup) = (fleet(false), fleet(true));
        let alone = primary.len() == 1 && backup.is_empty();
        let mut group = |endpoints, alone| {
            let fleet = Arc::new(Fleet::new(endpoints, alone));
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
            primary,
            backup,
            leases: AtomicU64::new(0),
        })
    }

    /// How many attempts an exchange has: one for each endpoint that is not `down`, unless there is but one endpoint, or
    /// the configuration says less.
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
    pub(crate) pool: RefCell<Pool>,
}

impl WorkerUpstream {
    pub(crate) fn attach(shared: Arc<Upstream>) -> WorkerUpstream {
        let attach = |group: &Group<Arc<Balancer>>| Group {
            fleet: group.fleet.clone(),
            balancer: RefCell::new(group.balancer.attach()),
        };
        let pool = RefCell::new(Pool::new(&shared.config));
        WorkerUpstream {
            primary: attach(&shared.primary),
            backup: shared.backup.as_ref().map(attach),
            pool,
            shared,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.shared.config.name
    }

    fn group(&self, backup: bool) -> &Group<RefCell<WorkerBalancer>> {
        match &self.backup {
            Some(group) if backup => group,
            _ => &self.primary,
        }
    }

    /// Picks an endpoint for the next attempt of an exchange and takes a lease on it.
    ///
    /// # Errors
    /// [`NoEndpoint`]: "no live upstreams".
    pub(crate) fn lease(
        self: &Rc<Self>,
        exchange: &Rc<Exchange>,
        clock: &Clock,
        attempt: u32,
    ) -> Result<Lease, NoEndpoint> {
        let turn = &exchange.turn;
        loop {
            let picked_at = Instant::now();
            let now = clock.seconds_at(picked_at);
            if !self
                .group(turn.in_backup())
                .fleet
                .has_candidate(&turn.tried(), now)
            {
                if turn.in_backup() || self.backup.is_none() {
                    return Err(NoEndpoint);
                }
                turn.begin(self.group(true).fleet.clone(), true);
                continue;
            }
            let group = self.group(turn.in_backup());
            if attempt == 0 && !turn.has_begun() {
                turn.begin(group.fleet.clone(), false);
            }
            turn.at(now);
            let id = self.shared.leases.fetch_add(1, Relaxed) + 1;
            let pick = Pick {
                lease: id,
                attempt,
                now_us: clock.micros(picked_at),
                random: fastrand::u64(..),
            };
            turn.forget_response_headers();
            let at_hand = exchange.clone() as ExchangeAtHand;
            let Some(index) = group.balancer.borrow_mut().pick(&at_hand, &pick) else {
                continue;
            };
            turn.mark_tried(index);
            if group.fleet.endpoint(index).acquire(now).is_err() {
                // It stays marked as tried: the policy is asked again, without it.
                continue;
            }
            let (upstream, backup) = (self.clone(), turn.in_backup());
            return Ok(Lease {
                upstream,
                exchange: exchange.clone(),
                backup,
                index,
                id,
                picked_at,
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

/// One attempt at one endpoint. Ends exactly once: by the first [`Lease::end`], or as abandoned when it is dropped.
pub(crate) struct Lease {
    upstream: Rc<WorkerUpstream>,
    exchange: Rc<Exchange>,
    backup: bool,
    pub(crate) index: u32,
    id: u64,
    pub(crate) picked_at: Instant,
    ended: Cell<bool>,
}

impl Lease {
    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.upstream.group(self.backup).fleet.endpoint(self.index)
    }

    /// Tells the pool which fleet's endpoint this is.
    pub(crate) fn slot(&self) -> (bool, u32) {
        (self.backup, self.index)
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
        let group = self.upstream.group(self.backup);
        let mut after = AfterFailure::StaysInRotation;
        match (ending, clock) {
            (Ending::Failed, Some(clock)) => {
                after = group.fleet.failed(self.index, clock.seconds());
                group.balancer.borrow_mut().failed(self.index);
            }
            _ => {
                group.fleet.served(self.index);
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
