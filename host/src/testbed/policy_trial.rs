//! A policy at work, or a filter or scorer before one: it is asked, and told how it ended.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::battery::BATTERY;
use super::request::MadeUp;
use super::servers::Servers;
use super::subject::Subject;
use crate::plugin::{
    ConfigureError, Ending, ExchangeAtHand, Outcome, Pick, Picked, WorkerBalancer,
};

/// Attempts that are under way at a time.
const UNDER_WAY: usize = 8;

/// One worker that asks.
pub(super) struct PolicyTrial {
    worker: WorkerBalancer,
    servers: Arc<Servers>,
    random: fastrand::Rng,
    now_us: u64,
    lease: u64,
    under_way: VecDeque<(ExchangeAtHand, Picked)>,
}

impl PolicyTrial {
    /// # Errors
    /// It refuses its settings, or fails.
    pub(super) fn new(
        subject: &Subject,
        servers: Servers,
        seed: u64,
    ) -> Result<PolicyTrial, ConfigureError> {
        let servers = Arc::new(servers);
        let balancer = subject.over(&servers, &subject.settings)?;
        Ok(PolicyTrial {
            worker: balancer.attach(None),
            servers,
            random: fastrand::Rng::with_seed(seed),
            now_us: 1_000_000,
            lease: 0,
            under_way: VecDeque::new(),
        })
    }

    /// Another instance takes over, as after a load of another version.
    ///
    /// # Errors
    /// It refuses its settings, or fails.
    pub(super) fn swap(&mut self, subject: &Subject) -> Result<(), ConfigureError> {
        let balancer = subject.over(&self.servers, &subject.settings)?;
        let previous = self.worker.balancer().clone();
        balancer.inherit(&previous)?;
        let mut worker = balancer.attach(None);
        worker.take_over(&mut self.worker);
        self.worker = worker;
        Ok(())
    }

    /// All servers, as bits.
    pub(super) fn all(&self) -> Vec<u64> {
        self.servers.all()
    }

    /// What it picks for a request. The oldest attempt of those under way ends where there are many.
    pub(super) fn pick(&mut self, request: &Rc<MadeUp>) -> Option<u32> {
        self.attempt(request, 0)
    }

    /// What it picks in an attempt of a request: 0 for the first.
    pub(super) fn attempt(&mut self, request: &Rc<MadeUp>, attempt: u32) -> Option<u32> {
        self.now_us += BATTERY.interval_us;
        self.lease += 1;
        let pick = Pick {
            lease: self.lease,
            attempt,
            now_us: self.now_us,
            random: self.random.u64(..),
        };
        self.worker.tick(self.now_us);
        let exchange: ExchangeAtHand = request.clone();
        let picked = self.worker.pick(&exchange, &pick)?;
        let index = picked.index;
        self.servers.begin(index);
        self.under_way.push_back((exchange, picked));
        if self.under_way.len() > UNDER_WAY {
            self.end_oldest(&COMPLETED);
        }
        Some(index)
    }

    /// The oldest attempt under way ends like this.
    pub(super) fn end_oldest(&mut self, outcome: &Outcome) {
        if let Some((exchange, picked)) = self.under_way.pop_front() {
            self.servers.end(picked.index);
            if outcome.ending == Ending::Failed {
                self.worker.failed(picked.index);
            }
            self.worker.done(&exchange, picked, outcome);
        }
    }

    /// So that a choice may be made by chance that is the same for the same seed.
    pub(super) fn random(&mut self) -> &mut fastrand::Rng {
        &mut self.random
    }
}

/// An answer that was as it should be.
pub(super) const COMPLETED: Outcome = Outcome {
    ending: Ending::Completed,
    status: 200,
    connect_us: 100,
    header_us: 1000,
    total_us: 1200,
};
