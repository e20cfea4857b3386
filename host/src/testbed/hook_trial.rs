//! A hook at work: it is asked about requests, responses and the bodies of both that it wants to see,
//! and told how exchanges ended.

use std::rc::Rc;
use std::sync::Arc;

use super::battery::BATTERY;
use super::request::MadeUp;
use super::subject::Subject;
use crate::plugin::{
    BodyCall, BodySide, BodyWish, ConfigureError, ExchangeAtHand, ExchangeSummary, HookCall,
    Manner, Ran, Verdict, WorkerHook,
};

/// One worker that asks.
pub(super) struct HookTrial {
    worker: Rc<WorkerHook>,
    now_us: u64,
    exchange: u64,
}

/// An exchange under way.
pub(super) struct UnderWay {
    exchange: ExchangeAtHand,
    call: HookCall,
    ran: Ran,
    pub(super) verdict: Verdict,
    /// Milliseconds.
    delay: u128,
    of_request: Option<BodyWish>,
    of_response: Option<BodyWish>,
    /// Of a body: bytes that the hook was given, and has given.
    given: [usize; 2],
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

    /// Whether it may want to see bodies.
    pub(super) fn may_want_bodies(&self) -> bool {
        self.worker.may_want_bodies()
    }

    /// An exchange from its beginning to its end: the verdict, and how many milliseconds it is to be
    /// delayed; none where it did not answer.
    pub(super) fn exchange(&mut self, request: &Rc<MadeUp>) -> Option<(Verdict, u128)> {
        let mut under_way = self.begin(request)?;
        let answer = (under_way.verdict, under_way.delay);
        let mut seen = self.body(&mut under_way, BodySide::Request, request.body());
        if self.respond(&mut under_way).is_none() {
            seen = None;
        }
        seen = seen.and(self.body(&mut under_way, BodySide::Response, request.body()));
        self.end(under_way);
        seen.map(|_| answer)
    }

    /// Begins an exchange: asks about its request.
    pub(super) fn begin(&mut self, request: &Rc<MadeUp>) -> Option<UnderWay> {
        self.now_us += BATTERY.interval_us;
        self.exchange += 1;
        let call = HookCall {
            exchange: self.exchange,
            place: 0,
            now_us: self.now_us,
        };
        self.worker.tick(self.now_us);
        let exchange: ExchangeAtHand = request.clone();
        let asked = self.worker.on_request(&exchange, &call)?;
        let changes = asked.changes.as_ref();
        let goes_on = asked.verdict == Verdict::Proceed;
        Some(UnderWay {
            exchange,
            call,
            ran: asked.ran.clone(),
            verdict: asked.verdict,
            delay: changes.map_or(0, |changes| changes.delay.as_millis()),
            of_request: changes.and_then(|changes| changes.wish).filter(|_| goes_on),
            of_response: None,
            given: [0; 2],
        })
    }

    /// Asks about the response, if the hook wants to be.
    pub(super) fn respond(&mut self, under_way: &mut UnderWay) -> Option<()> {
        under_way.given = [0; 2];
        if !self.worker.sees_responses() {
            return Some(());
        }
        let UnderWay {
            exchange,
            call,
            ran,
            ..
        } = under_way;
        let (changes, responder) = self.worker.on_response(exchange, call, ran)?;
        under_way.of_response = changes.and_then(|changes| changes.wish);
        under_way.ran = under_way.ran.clone().of_response(responder);
        Some(())
    }

    /// Shows the hook a body as it wants it: what goes on; none where it did not answer.
    fn body(&mut self, under_way: &mut UnderWay, side: BodySide, body: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for number in 0..BATTERY.hook.pieces {
            out.extend(self.piece(under_way, side, body, number)?);
        }
        Some(out)
    }

    /// Shows the hook a piece of a body, of so many: what goes on of it. All of it comes with the
    /// last one where the hook wants that.
    pub(super) fn piece(
        &mut self,
        under_way: &mut UnderWay,
        side: BodySide,
        body: &[u8],
        number: usize,
    ) -> Option<Vec<u8>> {
        let wish = match side {
            BodySide::Request => under_way.of_request,
            BodySide::Response => under_way.of_response,
        };
        let last = number + 1 == BATTERY.hook.pieces;
        let length = body.len().div_ceil(BATTERY.hook.pieces).max(1);
        let piece = body.chunks(length).nth(number).unwrap_or_default();
        let whole = matches!(wish, Some(wish) if matches!(wish.manner, Manner::Whole(_)));
        let piece = match (wish, whole, last) {
            (None, ..) => return Some(piece.to_vec()),
            (Some(_), true, false) => return Some(Vec::new()),
            (Some(_), true, true) => body,
            (Some(_), false, _) => piece,
        };
        let [received, given] = &mut under_way.given;
        *received += piece.len();
        let data = Arc::new(piece.to_vec());
        let may_change = wish.is_some_and(|wish| wish.manner != Manner::Watch);
        let asked = BodyCall {
            side,
            data: &data,
            last,
            whole,
            may_give: may_change.then(|| (64 << 10) + 32 * *received - *given),
            trailers: b"",
        };
        let UnderWay {
            exchange,
            call,
            ran,
            ..
        } = &*under_way;
        let asked = self.worker.on_body(exchange, call, ran, &asked)?;
        if asked.verdict != Verdict::Proceed {
            // Nothing of the message goes any further.
            (under_way.of_request, under_way.of_response) = (None, None);
        }
        let instead = asked.changes.and_then(|mut changes| changes.body.take());
        let goes_on = instead.unwrap_or_else(|| data.to_vec());
        under_way.given[1] += goes_on.len();
        Some(goes_on)
    }

    /// Tells how an exchange ended.
    pub(super) fn end(&mut self, under_way: UnderWay) {
        let UnderWay {
            exchange,
            call,
            ran,
            ..
        } = under_way;
        self.worker.on_end(&exchange, &call, ran, &ENDED);
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
