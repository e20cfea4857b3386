//! A hook at work: it is asked about requests and responses, and told how exchanges ended.

use std::rc::Rc;

use super::request::MadeUp;
use super::subject::Subject;
use crate::plugin::{
    ConfigureError, ExchangeAtHand, ExchangeSummary, HookCall, Verdict, WorkerHook,
};

/// Between two requests, in microseconds.
const INTERVAL: u64 = 500;

/// One worker that asks.
pub(super) struct HookTrial {
    worker: Rc<WorkerHook>,
    now_us: u64,
    exchange: u64,
}

impl HookTrial {
    /// # Errors
    /// It refuses its settings, or fails.
    pub(super) fn new(subject: &Subject) -> Result<HookTrial, ConfigureError> {
        let hook = subject.as_hook(&subject.settings)?;
        Ok(HookTrial {
            worker: WorkerHook::attach(&hook, None),
            now_us: 1_000_000,
            exchange: 0,
        })
    }

    /// An exchange from its beginning to its end: the verdict, and how many milliseconds it is to be
    /// delayed; none where it did not answer.
    pub(super) fn exchange(&mut self, request: &Rc<MadeUp>) -> Option<(Verdict, u128)> {
        self.now_us += INTERVAL;
        self.exchange += 1;
        let call = HookCall {
            exchange: self.exchange,
            place: 0,
            now_us: self.now_us,
        };
        self.worker.tick(self.now_us);
        let exchange: ExchangeAtHand = request.clone();
        let asked = self.worker.on_request(&exchange, &call)?;
        let delay = asked
            .changes
            .as_ref()
            .map_or(0, |changes| changes.delay.as_millis());
        let responded = match self.worker.sees_responses() {
            true => self
                .worker
                .on_response(&exchange, &call, &asked.ran)
                .is_some(),
            false => true,
        };
        self.worker.on_end(&exchange, &call, asked.ran, &ENDED);
        responded.then_some((asked.verdict, delay))
    }
}

/// An exchange that was answered as it should be.
const ENDED: ExchangeSummary = ExchangeSummary {
    status: 200,
    complete: true,
    duration_us: 1200,
    bytes_sent: 1000,
    bytes_received: 0,
};
