//! A policy's choice, held for one attempt.

use std::cell::{Cell, OnceCell};
use std::fmt::Display;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::balanceable::Balanceable;
use super::client_connections::HeldByClient;
use super::endpoint::{AfterFailure, Endpoint};
use super::failure::reason;
use super::group::WorkerGroup;
use super::load::Admitted;
use super::trial::Chosen;
use crate::data_plane::process::Clock;
use crate::data_plane::turn;
use crate::data_plane::unwinding::contained;
use crate::fault_injection;
use crate::metrics::UpstreamMetrics;
use crate::plugin::{Balancer, ChosenBy, Ending, FailureKind, Outcome, Plugin};

/// How far an attempt came, as time since its pick; zero for what it did not reach.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timings {
    pub(crate) connect: Duration,
    pub(crate) header: Duration,
}

/// One attempt at one endpoint. Ends exactly once: by the first [`Lease::end`], or as abandoned
/// when it is dropped.
pub(crate) struct Lease {
    group: Rc<WorkerGroup>,
    exchange: Rc<dyn Balanceable>,
    index: u32,
    /// Taken when the attempt ends.
    chosen: Cell<Option<Chosen>>,
    /// What its request is counted as.
    admitted: Admitted,
    /// The endpoint was out of rotation, and is back in it if it answers.
    last_resort: bool,
    established: Cell<bool>,
    /// Its client has a connection for itself.
    held: OnceCell<Option<Rc<HeldByClient>>>,
    pub(crate) picked_at: Instant,
    by: ChosenBy,
    /// The version of the policy that is tried has chosen it.
    is_candidates: bool,
}

/// Who has chosen an endpoint.
pub(crate) struct Choice {
    balancer: Arc<Balancer>,
    by: ChosenBy,
    last_resort: bool,
}

impl Choice {
    /// The policy, or its fallback where that has chosen.
    pub(crate) fn policy(&self) -> &Plugin {
        let fallback = self.balancer.fallback();
        let fallback = fallback.filter(|_| self.by == ChosenBy::Fallback);
        fallback.unwrap_or(self.balancer.policy())
    }

    /// In one word, how it came about.
    pub(crate) fn word(&self) -> &'static str {
        match self.by {
            _ if self.last_resort => "last_resort",
            ChosenBy::Policy => "policy",
            ChosenBy::Fallback => "fallback",
            ChosenBy::Nobody => "first",
        }
    }
}

impl Lease {
    /// How long ago its endpoint was chosen, by the [time of the turn](turn::now).
    pub(crate) fn since_pick(&self) -> Duration {
        turn::now().saturating_duration_since(self.picked_at)
    }

    /// Of an endpoint that was acquired for it.
    pub(super) fn new(
        group: Rc<WorkerGroup>,
        exchange: Rc<dyn Balanceable>,
        chosen: Chosen,
        picked_at: Instant,
        admitted: Admitted,
    ) -> Lease {
        Lease {
            group,
            exchange,
            index: chosen.picked.index,
            by: chosen.picked.by,
            is_candidates: chosen.is_candidates(),
            chosen: Cell::new(Some(chosen)),
            admitted,
            last_resort: false,
            established: Cell::new(false),
            held: OnceCell::new(),
            picked_at,
        }
    }

    /// Whether the endpoint was out of rotation.
    pub(super) fn with_last_resort(mut self, last_resort: bool) -> Lease {
        self.last_resort = last_resort;
        self
    }

    /// What its client is to have of the connections that no other one can use meanwhile; none where
    /// that is not counted.
    pub(super) fn hold(&self) -> Option<Rc<HeldByClient>> {
        let hold = || self.exchange.hold().map(Rc::new);
        self.held.get_or_init(hold).clone()
    }

    /// What it is for.
    pub(super) fn exchange(&self) -> &dyn Balanceable {
        &*self.exchange
    }

    /// Who has chosen the endpoint.
    pub(crate) fn choice(&self) -> Choice {
        let trial = self.group.trial.borrow();
        let balancer = match &*trial {
            Some(trial) if self.is_candidates => trial.candidate.borrow().balancer().clone(),
            _ => self.group.balancer.borrow().balancer().clone(),
        };
        Choice {
            balancer,
            by: self.by,
            last_resort: self.last_resort,
        }
    }

    /// How many endpoints there were to choose from, this one included.
    pub(crate) fn candidates(&self) -> u32 {
        let left = |word| {
            let is_own = u64::from(self.index / 64 == word);
            let own = is_own << (self.index % 64);
            (self.exchange.balance().candidates(word) | own).count_ones()
        };
        (0..self.group.endpoints.words()).map(left).sum()
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        self.group.endpoints.endpoint(self.index)
    }

    /// The endpoint has taken a session or a tunnel, which may last for hours: it is back in
    /// rotation if it was out of order, and the end of the lease says nothing more about that
    /// (nginx: `ngx_stream_upstream_notify_round_robin_peer`).
    pub(crate) fn established(&self) {
        if !self.established.replace(true) {
            self.forgive(true);
            self.group.load.room();
        }
    }

    /// The attempt went well, or broke off for no fault of the endpoint's; `answered`: it has done
    /// what it was asked for.
    fn forgive(&self, answered: bool) {
        self.group.endpoints.forgive(self.index);
        if self.last_resort && answered {
            self.group.endpoints.recovered(self.index);
        }
    }

    /// Ends the attempt, unless it has ended.
    pub(crate) fn end(&self, ending: Ending, status: u16, timings: Timings, clock: &Clock) {
        let Some(chosen) = self.chosen.take() else {
            return;
        };
        chosen.note_end(ending, status, timings.header);
        if matches!(ending, Ending::Failed | Ending::PassedOver) {
            let metrics = self.endpoint().metrics.clone();
            self.exchange.balance().note_left(metrics);
        }
        self.count(ending, status, timings.header);
        match ending {
            Ending::Failed => self.endpoint().note_end(true),
            Ending::Completed | Ending::PassedOver => self.endpoint().note_end(status >= 500),
            // They tell of the client, or of us.
            Ending::Abandoned | Ending::Unused => {}
        }
        if ending == Ending::Failed {
            let after = self.group.endpoints.failed(self.index, clock.seconds());
            self.group.failed(self.index);
            if after == AfterFailure::Disabled {
                let message = match self.established.get() {
                    true => "upstream server temporarily disabled",
                    false => "upstream server temporarily disabled while connecting to upstream",
                };
                self.exchange.warn(message, &self.endpoint().name);
            }
        } else {
            self.group.endpoints.released(self.index);
            if !self.established.get() {
                self.forgive(ending == Ending::Completed);
            }
            if ending == Ending::Completed && !timings.header.is_zero() {
                self.endpoint().note_latency(timings.header);
            }
        }
        self.make_room();
        self.tell(chosen, ending, status, timings);
    }

    /// Something went wrong at its endpoint. As the error log has it.
    pub(crate) fn note_error(&self, error: &dyn Display, clock: &Clock) {
        let now = clock.micros(Instant::now());
        self.endpoint().stats.last_error.note(now, error);
    }

    /// Counts what came of it, in cells of the worker.
    fn count(&self, ending: Ending, status: u16, header: Duration) {
        let (worker, exchange) = (self.exchange.worker(), &self.exchange);
        let failed = ending == Ending::Failed;
        let why = failed.then(|| reason(exchange.balance().failure()));
        self.endpoint().metrics.ended(worker, status, why);
        if !header.is_zero() {
            self.metrics().answered(worker, header);
        }
    }

    /// It has a connection: one that was idle, or a new one.
    pub(crate) fn connected(&self, reused: bool) {
        self.metrics().connected(self.exchange.worker(), reused);
    }

    /// Bytes that went to the endpoint, and those that came back.
    pub(crate) fn carried(&self, sent: u64, received: u64) {
        let worker = self.exchange.worker();
        self.metrics().carried(worker, sent, received);
    }

    fn metrics(&self) -> &UpstreamMetrics {
        &self.group.load.metrics
    }

    /// Its endpoint is rid of it: whoever waits for that has its turn.
    fn make_room(&self) {
        self.group.load.release(self.admitted);
        self.group.load.room();
    }

    /// Tells the policy that picked how the attempt ended, if it observes.
    fn tell(&self, chosen: Chosen, ending: Ending, status: u16, timings: Timings) {
        if !chosen.is_observed() {
            return;
        }
        let micros = |duration: Duration| u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        let outcome = Outcome {
            ending,
            status,
            connect_us: micros(timings.connect),
            header_us: micros(timings.header),
            total_us: micros(self.picked_at.elapsed()),
        };
        if ending != Ending::Failed {
            self.exchange.balance().note_failure(FailureKind::None);
        }
        self.group.done(&self.exchange, chosen, &outcome);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(chosen) = self.chosen.take() {
            self.group.endpoints.released(self.index);
            if !self.established.get() {
                self.forgive(false);
            }
            self.make_room();
            self.count(Ending::Abandoned, 0, Duration::ZERO);
            contained(|| {
                fault_injection::panics("lease");
                self.tell(chosen, Ending::Abandoned, 0, Timings::default());
            });
        }
    }
}
