//! The end of an exchange, however it comes: the hooks that were asked hear of it, and its log line
//! is written.

use std::rc::Rc;
use std::time::Instant;

use super::state::Exchange;
use crate::data_plane::downstream::Session;
use crate::data_plane::stream::send_deferred;
use crate::data_plane::turn;
use crate::data_plane::unwinding::contained;
use crate::data_plane::worker_config::WorkerConfig;
use crate::fault_injection;
use crate::metrics::EndedRequest;
use crate::plugin::ExchangeAtHand;

/// Bytes of a body that may take a while to send within one turn.
const MUCH: u64 = 64 << 10;

/// Ends an exchange when it is dropped: once the client has its answer, or wherever the exchange is
/// cut, be it by a stop or by a panic.
pub(super) struct Finish {
    exchange: Rc<Exchange>,
    worker_config: Rc<WorkerConfig>,
    listener: usize,
}

impl Finish {
    pub(super) fn new(session: &Session<'_>, exchange: Rc<Exchange>) -> Finish {
        session.worker.standing().answers();
        Finish {
            exchange,
            worker_config: session.worker_config.clone(),
            listener: session.listener,
        }
    }

    pub(super) fn exchange(&self) -> &Rc<Exchange> {
        &self.exchange
    }

    /// The exchange, while nothing else holds it: it can be changed until it is carried on.
    pub(super) fn exchange_mut(&mut self) -> Option<&mut Exchange> {
        Rc::get_mut(&mut self.exchange)
    }

    /// The time of this turn; the clock's where the exchange has begun in it or has sent much in it, and
    /// where it has spans, whose ends the clock tells.
    fn now(&self) -> Instant {
        let (exchange, now) = (&self.exchange, turn::now());
        let is_near = now == exchange.began || exchange.stats.body_sent.get() > MUCH;
        match is_near || self.worker_config.snapshot.traces.is_some() {
            true => Instant::now(),
            false => now,
        }
    }

    /// Tells the hooks that were asked.
    fn tell_hooks(&self) {
        // The client need not wait for them.
        send_deferred();
        let exchange = &self.exchange;
        let at_hand: ExchangeAtHand = exchange.clone();
        let now_us = exchange.worker.clock.micros(Instant::now());
        exchange.hooked.end(&at_hand, now_us, &exchange.summary());
    }

    /// Counts it where its route is counted.
    fn count(&self, now: Instant) {
        let (exchange, metrics) = (&*self.exchange, &self.worker_config.snapshot.metrics);
        let stats = &exchange.stats;
        let request = EndedRequest {
            method: exchange.request.received_method(),
            status: stats.status.get(),
            took: now.saturating_duration_since(exchange.began),
            received: stats.body_received.get(),
            sent: stats.header_sent.get() + stats.body_sent.get(),
        };
        let route = metrics.route(stats.route.get());
        route.ended(exchange.worker.index, &request);
    }

    /// Hands its spans over, where there are any.
    fn trace(&self, now: Instant) {
        if self.worker_config.snapshot.traces.is_some() {
            contained(|| {
                self.exchange.begin_trace();
                self.exchange.finish_trace(now);
            });
        }
    }

    fn log(&self, now: Instant) {
        fault_injection::panics("line");
        let (config, exchange) = (&self.worker_config, &*self.exchange);
        let logs = config.logs(self.listener, exchange.stats.route.get());
        if !logs.is_empty() {
            let mut buffers = exchange.worker.logs.borrow_mut();
            buffers.write(logs, exchange, now);
        }
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        let status = &self.exchange.stats.status;
        if status.get() == 0 {
            // nginx: 499 as well for a client whose connection a stop closes.
            status.set(if std::thread::panicking() { 500 } else { 499 });
        }
        if self.exchange.hooked.is_owed_an_end() {
            contained(|| self.tell_hooks());
        }
        let now = self.now();
        self.count(now);
        self.trace(now);
        contained(|| self.log(now));
        self.exchange.worker.standing().has_answered();
    }
}
