//! Asks one endpoint again and again whether it is well, and tells its upstream when that changes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::streak::{Streak, Turn};
use super::thread::Tools;
use crate::data_plane::upstream::{
    Endpoint, EndpointStats, KeptConnection, Probe, ProbeFailure, ProbeReport, Unfit, Upstream,
};
use crate::fault_injection;
use crate::metrics::EndpointMetrics;

/// The longest reason that is kept and logged: it may have an error of a library in it.
const LONGEST_REASON: usize = 200;

/// An endpoint that is probed.
pub(super) struct Probed {
    pub(super) stats: Arc<EndpointStats>,
    /// As the configuration has it at the moment.
    asked: RefCell<Rc<Asked>>,
    changed: Notify,
}

/// What the configuration says of it.
pub(super) struct Asked {
    pub(super) probe: Probe,
    name: Box<str>,
    slow_start: u64,
    metrics: Arc<EndpointMetrics>,
}

impl Asked {
    pub(super) fn of(endpoint: &Endpoint, probe: Probe) -> Asked {
        Asked {
            probe,
            name: endpoint.name.clone(),
            slow_start: endpoint.slow_start,
            metrics: endpoint.metrics().clone(),
        }
    }
}

impl Probed {
    pub(super) fn new(stats: Arc<EndpointStats>, asked: Asked) -> Rc<Probed> {
        Rc::new(Probed {
            stats,
            asked: RefCell::new(Rc::new(asked)),
            changed: Notify::new(),
        })
    }

    /// Goes on with what another configuration says.
    pub(super) fn ask(&self, asked: Asked) {
        let before = self.asked.replace(Rc::new(asked));
        if !Arc::ptr_eq(&before.probe.check, &self.asked.borrow().probe.check) {
            self.changed.notify_one();
        }
    }

    /// Probes it until nobody wants that any more: then the task is dropped, and with it the probe
    /// under way and its connection.
    pub(super) async fn run(
        self: Rc<Self>,
        tools: Rc<Tools>,
        current: Rc<RefCell<Arc<Upstream>>>,
        first: Duration,
    ) {
        let health = &self.stats.health;
        let mut streak = Streak::beginning(!health.is_unfit_for(Unfit::Check));
        let (mut kept, mut before) = (KeptConnection::default(), self.asked.borrow().clone());
        health.set_next(Unfit::Check, tools.micros(Instant::now() + first));
        sleep(first).await;
        loop {
            let asked = self.asked.borrow().clone();
            if !asked.probe.reaches_as(&before.probe) {
                kept.close();
            }
            before = asked.clone();
            let began = Instant::now();
            fault_injection::panics("probe");
            let outcome = asked.probe.run(&mut kept, &tools.probes).await;
            self.note(&asked, &outcome, began, &tools);
            let tells = outcome
                .as_ref()
                .err()
                .is_none_or(ProbeFailure::is_of_endpoint);
            let check = &asked.probe.check;
            let turn = match tells {
                true => streak.note(outcome.is_ok(), check.rise, check.fall),
                false => None,
            };
            match turn {
                Some(turn) => self.turn(turn, &asked, &outcome, &current.borrow(), &tools),
                None if tells && outcome.is_err() && health.is_unfit_for(Unfit::Check) => {
                    health.stays_out(Unfit::Check, in_words(&outcome));
                }
                None => {}
            }
            self.pause(began, &tools).await;
        }
    }

    /// Waits for the next probe; for how long may change meanwhile.
    async fn pause(&self, began: Instant, tools: &Tools) {
        loop {
            let check = self.asked.borrow().probe.check.clone();
            let due = began + check.interval + check.jitter.mul_f64(fastrand::f64());
            let due = tools.together(due, check.interval);
            self.stats.health.set_next(Unfit::Check, tools.micros(due));
            tokio::select! {
                () = sleep_until(due) => return,
                () = self.changed.notified() => {}
            }
        }
    }

    fn note(
        &self,
        asked: &Asked,
        outcome: &Result<String, ProbeFailure>,
        began: Instant,
        tools: &Tools,
    ) {
        let ended = Instant::now();
        let tells = outcome
            .as_ref()
            .err()
            .is_none_or(ProbeFailure::is_of_endpoint);
        let report = ProbeReport {
            at: tools.micros(ended),
            took_us: (ended - began).as_micros() as u64,
            passed: outcome.is_ok(),
            outcome: in_words(outcome),
        };
        if !tells && tools.may_tell(ended) {
            let name = &asked.name;
            tracing::warn!(
                "health checks are left out: {}, server: \"{name}\"",
                report.outcome
            );
        }
        if tells {
            asked.metrics.probed(report.passed);
        }
        self.stats.health.note_probe(report, tells);
    }

    fn turn(
        &self,
        turn: Turn,
        asked: &Asked,
        outcome: &Result<String, ProbeFailure>,
        upstream: &Upstream,
        tools: &Tools,
    ) {
        let (health, now) = (&self.stats.health, tools.micros(Instant::now()));
        let (of, name, why) = (&upstream.config.name, &asked.name, in_words(outcome));
        match turn {
            Turn::Up => {
                self.stats.start_slowly(asked.slow_start);
                health.is_back(Unfit::Check, now);
                tracing::info!(
                    "upstream server is healthy: {why}, upstream: \"{of}\", server: \"{name}\""
                );
            }
            Turn::Down => {
                health.is_out(Unfit::Check, now, why.clone());
                tracing::warn!(
                    "upstream server is unhealthy: {why}, upstream: \"{of}\", server: \"{name}\""
                );
            }
        }
        upstream.health_changed();
    }
}

fn in_words(outcome: &Result<String, ProbeFailure>) -> String {
    let text = match outcome {
        Ok(answer) => answer.clone(),
        Err(failure) => failure.to_string(),
    };
    // A line of the log is one, whatever a library says.
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(printable).take(LONGEST_REASON).collect()
}
