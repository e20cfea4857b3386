//! The calls of a hook: see `hooks` in the WIT.

use std::time::Duration;

use super::super::context::ExchangeAtHand;
use super::super::error::{ConfigureError, PluginFault};
use super::super::imports::{AT_HAND, Phase};
use super::super::instance::Instance;
use super::super::waiting::HookRequestSender;
use super::world::Hook;
use super::{
    BodyCall, BodySide, Changes, Check, Checked, ExchangeSummary, HookCall, PooledChanges,
    Question, Verdict,
};

/// Processor time that a call about a body has besides, for each KiB of it: 20 ms for a MiB.
const BODY_TIME: Duration = Duration::from_micros(20);

const NO_ON_CHECK: &str = "answered `wait` without an `on-check`";
const NO_BODY_PHASE: &str = "wanted a body that it has no phase for";

/// Processor time that a call about so much of a body has besides.
fn body_time(body: &BodyCall<'_>) -> Duration {
    BODY_TIME.saturating_mul(u32::try_from(body.data.len() >> 10).unwrap_or(0))
}

/// What a call of a hook answered, and what it wants changed.
pub(super) struct Decision {
    pub(super) verdict: Verdict,
    pub(super) changes: Option<PooledChanges>,
    pub(super) check: Option<Box<Check>>,
}

impl Decision {
    /// With a delay that ends when the plugin has it end. It counts from the time that the plugin was
    /// told, which is ahead of the worker's where another worker's later request had its turn first.
    fn delayed_from(mut self, told_us: u64, worker_us: u64) -> Decision {
        if let Some(changes) = &mut self.changes
            && !changes.delay.is_zero()
        {
            changes.delay += Duration::from_micros(told_us.saturating_sub(worker_us));
        }
        self
    }

    /// As it may be behind a call about a body.
    ///
    /// # Errors
    /// It gives too much, or its verdict means nothing there.
    fn of_body(self, body: &BodyCall<'_>, phase: Phase) -> Result<Decision, PluginFault> {
        let given = self.changes.as_deref();
        let given = given.and_then(|changes| changes.body.as_ref());
        if given.map(Vec::len) > body.may_give {
            return Err(PluginFault::nonsense(
                "gave more of a body than 64 KiB and 32 times what it was given",
            ));
        }
        match (self.verdict, phase) {
            (Verdict::Proceed | Verdict::Answer, _) | (_, Phase::RequestBody) => Ok(self),
            _ => Err(PluginFault::nonsense(
                "answered a piece of a body, or an answer's, with neither `proceed` nor `answer`",
            )),
        }
    }
}

impl Instance<Hook> {
    /// `hook.attach`.
    ///
    /// # Errors
    /// [`ConfigureError::RefusedPlace`], or that the plugin failed.
    pub(super) fn attach(&mut self, place: u32, settings: &str) -> Result<(), ConfigureError> {
        let function = self.functions.attach;
        match self.set_up(function, (place, settings.into())) {
            Ok((Ok(()),)) => Ok(()),
            Ok((Err(error),)) => Err(self.refused(error).at_place(place)),
            Err(fault) => Err(self.plugin.faulted(fault)),
        }
    }

    /// `on-request`, if the plugin exports it; else it goes on.
    #[inline]
    pub(super) fn on_request(
        &mut self,
        exchange: &ExchangeAtHand,
        call: &HookCall,
        key: &[u8],
    ) -> Result<Decision, PluginFault> {
        let Some(function) = self.functions.on_request else {
            return Ok(Decision {
                verdict: Verdict::Proceed,
                changes: None,
                check: None,
            });
        };
        let now_us = self.state().now_us(call.now_us);
        let params = (call.exchange, call.place, now_us, fastrand::u64(..));
        let about = (Phase::Request, key);
        let decision = self.decide(exchange, about, |instance, deadline| {
            instance.call(deadline, function, params)
        })?;
        Ok(decision.delayed_from(now_us, call.now_us))
    }

    /// `on-check`, behind `on-request` or a call about the body of the request.
    pub(super) fn on_check(
        &mut self,
        exchange: &ExchangeAtHand,
        call: &HookCall,
        key: &[u8],
        Checked {
            passed,
            behind_body,
        }: Checked,
    ) -> Result<Decision, PluginFault> {
        let Some(function) = self.functions.on_check else {
            return Err(PluginFault::nonsense(NO_ON_CHECK));
        };
        let now_us = self.state().now_us(call.now_us);
        let params = (call.exchange, call.place, now_us, passed);
        let phase = match behind_body {
            true => Phase::RequestBody,
            false => Phase::Request,
        };
        let decision = self.decide(exchange, (phase, key), |instance, deadline| {
            instance.state().call.may_set_body = behind_body;
            instance.call(deadline, function, params)
        })?;
        Ok(decision.delayed_from(now_us, call.now_us))
    }

    /// `on-request-body` or `on-response-body`.
    pub(super) fn on_body(
        &mut self,
        exchange: &ExchangeAtHand,
        call: &HookCall,
        key: &[u8],
        body: &BodyCall<'_>,
    ) -> Result<Decision, PluginFault> {
        let (function, phase) = match (body.side, body.whole) {
            (BodySide::Request, true) => (self.functions.on_request_body, Phase::RequestBody),
            (BodySide::Request, false) => (self.functions.on_request_body, Phase::RequestPiece),
            (BodySide::Response, _) => (self.functions.on_response_body, Phase::ResponseBody),
        };
        let Some(function) = function else {
            return Err(PluginFault::nonsense(NO_BODY_PHASE));
        };
        let now_us = self.state().now_us(call.now_us);
        let (data, last) = (body.data.clone(), body.last);
        let params = (call.exchange, call.place, now_us, data, last);
        let decision = self.decide(exchange, (phase, key), |instance, deadline| {
            let call = &mut instance.state().call;
            call.may_set_body = body.may_give.is_some();
            call.trailers.extend_from_slice(body.trailers);
            instance.call(deadline.saturating_add(body_time(body)), function, params)
        })?;
        Ok(decision
            .of_body(body, phase)?
            .delayed_from(now_us, call.now_us))
    }

    /// What a hook that waits is asked.
    pub(super) async fn decide_waiting(
        &mut self,
        exchange: &ExchangeAtHand,
        call: &HookCall,
        question: Question<'_>,
        requests: HookRequestSender,
    ) -> Result<Decision, PluginFault> {
        let (exchange_number, place) = (call.exchange, call.place);
        let now_us = self.state().now_us(call.now_us);
        let phase = match question {
            Question::Body(_) => Phase::RequestBody,
            Question::Check(checked) if checked.behind_body => Phase::RequestBody,
            Question::Request | Question::Check(_) => Phase::Request,
        };
        let at_hand = &mut self.state().call;
        at_hand.begin_about(phase, &[]);
        at_hand.may_set_body = phase == Phase::RequestBody;
        if let Question::Body(body) = question {
            at_hand.trailers.extend_from_slice(body.trailers);
        }
        self.count();
        let deadline = self.plugin.inner().call_deadline;
        let answer = match question {
            Question::Request => match self.functions.on_request {
                Some(function) => {
                    let params = (exchange_number, place, now_us, fastrand::u64(..));
                    self.call_waiting(Some(exchange), deadline, requests, function, params)
                        .await
                }
                None => Ok((Verdict::Proceed,)),
            },
            Question::Check(Checked { passed, .. }) => {
                let Some(function) = self.functions.on_check else {
                    return Err(PluginFault::nonsense(NO_ON_CHECK));
                };
                let params = (exchange_number, place, now_us, passed);
                self.call_waiting(Some(exchange), deadline, requests, function, params)
                    .await
            }
            Question::Body(body) => {
                let Some(function) = self.functions.on_request_body else {
                    return Err(PluginFault::nonsense(NO_BODY_PHASE));
                };
                let deadline = deadline.saturating_add(body_time(body));
                let params = (exchange_number, place, now_us, body.data.clone(), body.last);
                self.call_waiting(Some(exchange), deadline, requests, function, params)
                    .await
            }
        };
        self.note_memory();
        let (verdict,) = answer?;
        let mut decision = self.decided(verdict)?;
        if let Question::Body(body) = question {
            decision = decision.of_body(body, phase)?;
        }
        Ok(decision.delayed_from(now_us, call.now_us))
    }

    /// A call that answers a verdict.
    #[inline]
    fn decide(
        &mut self,
        exchange: &ExchangeAtHand,
        (phase, key): (Phase, &[u8]),
        call: impl FnOnce(&mut Self, Duration) -> Result<(Verdict,), PluginFault>,
    ) -> Result<Decision, PluginFault> {
        let deadline = self.plugin.inner().call_deadline;
        self.state().call.begin_about(phase, key);
        let timed = self.begin();
        let answer = AT_HAND.set(exchange, || call(self, deadline));
        self.end(timed);
        let (verdict,) = answer?;
        self.decided(verdict)
    }

    /// The decision that a verdict and the calls before it make.
    ///
    /// # Errors
    /// It makes no sense.
    #[inline]
    fn decided(&mut self, verdict: Verdict) -> Result<Decision, PluginFault> {
        let decision = Decision {
            verdict,
            changes: self.take_changes(),
            check: self.state().call.check.take().map(Box::new),
        };
        let is_answer = |changes: &Changes| changes.answer.is_some();
        match verdict {
            Verdict::Answer if !decision.changes.as_deref().is_some_and(is_answer) => Err(
                PluginFault::nonsense("answered `answer` without `changes.answer`"),
            ),
            Verdict::Wait if self.functions.on_check.is_none() => {
                Err(PluginFault::nonsense(NO_ON_CHECK))
            }
            Verdict::Wait if decision.check.is_none() => {
                Err(PluginFault::nonsense("answered `wait` without a check"))
            }
            _ => Ok(decision),
        }
    }

    /// `on-response`, if the plugin exports it: what it wants changed.
    pub(super) fn on_response(
        &mut self,
        exchange: &ExchangeAtHand,
        call: &HookCall,
        key: &[u8],
    ) -> Result<Option<PooledChanges>, PluginFault> {
        let Some(function) = self.functions.on_response else {
            return Ok(None);
        };
        let deadline = self.plugin.inner().call_deadline;
        let now_us = self.state().now_us(call.now_us);
        self.state().call.begin_about(Phase::Response, key);
        let timed = self.begin();
        let params = (call.exchange, call.place, now_us);
        let told = AT_HAND.set(exchange, || self.call(deadline, function, params));
        self.end(timed);
        told.map(|()| self.take_changes())
    }

    /// `on-end`, if the plugin exports it.
    pub(super) fn on_end(
        &mut self,
        exchange: &ExchangeAtHand,
        call: &HookCall,
        key: &[u8],
        summary: &ExchangeSummary,
    ) -> Result<(), PluginFault> {
        let Some(function) = self.functions.on_end else {
            return Ok(());
        };
        let deadline = self.plugin.inner().call_deadline;
        let now_us = self.state().now_us(call.now_us);
        self.state().call.begin_about(Phase::End, key);
        let timed = self.begin();
        let params = (call.exchange, call.place, now_us, *summary);
        let told = AT_HAND.set(exchange, || self.call(deadline, function, params));
        self.state().call.begin(Phase::Other);
        self.end(timed);
        told
    }

    /// What the call that has returned wants changed.
    #[inline]
    fn take_changes(&mut self) -> Option<PooledChanges> {
        self.state().call.changes.take()
    }
}
