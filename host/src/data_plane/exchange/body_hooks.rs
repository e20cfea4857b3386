//! Hooks that a body goes through: piece by piece on its way, or as a whole where the host gathers it
//! for one of them.
//!
//! A hook that fails is passed over, if its place says so, as long as it has changed nothing: what it
//! has seen is there then as it was. Otherwise the body goes no further.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::state::Exchange;
use super::traced::Measured;
use crate::config::model::OnError;
use crate::data_plane::body::{Stage, Stopped};
use crate::data_plane::hooked::HookRun;
use crate::data_plane::unwinding::contained;
use crate::http::head::FieldChanges;
use crate::plugin::{
    Asked, Beyond, BodyCall, BodySide, Bound, Changes, ExchangeAtHand, Form, Manner, Untrusted,
    Verdict,
};
use crate::traces::Value;

/// What a hook may give for one body: so much, and so many times what it was given.
const FREE: usize = 64 << 10;
const TIMES: usize = 32;

/// Bytes that a hook may give for so many.
pub(super) fn may_give(received: usize) -> usize {
    FREE.saturating_add(received.saturating_mul(TIMES))
}

/// The hooks of one body.
pub(super) struct BodyHooks {
    side: BodySide,
    exchange: Rc<Exchange>,
    turns: SmallVec<[Turn; 2]>,
    /// What a piece is handed over in.
    piece: Arc<Vec<u8>>,
    /// What they change of the answer's head.
    pub(super) fields: FieldChanges,
}

/// A hook in its turn.
struct Turn {
    run: HookRun,
    manner: Manner,
    form: Form,
    /// What is gathered for it.
    gathered: Vec<u8>,
    received: usize,
    given: usize,
    changed: bool,
    /// It is not asked any more.
    passes: bool,
    traced: Option<TracedTurn>,
}

/// What is recorded of a hook that is asked about a body: one span for all of its calls.
struct TracedTurn {
    step: Measured,
    calls: u32,
    busy: Duration,
    /// What it has said in them.
    note: String,
}

impl BodyHooks {
    /// Those of a body of this side; none where no hook wants it. Few exchanges have any: the others
    /// need not carry the room for them.
    pub(super) fn of(exchange: &Rc<Exchange>, side: BodySide) -> Option<Box<BodyHooks>> {
        if !exchange.hooked.wants_body(side) {
            return None;
        }
        let runs = exchange.hooked.body_runs(side).into_iter();
        let turns = runs.map(|(run, wish)| Turn {
            run,
            manner: wish.manner,
            form: wish.form,
            gathered: Vec::new(),
            received: 0,
            given: 0,
            changed: false,
            passes: false,
            traced: exchange.begin_calls().map(|step| TracedTurn {
                step,
                calls: 0,
                busy: Duration::ZERO,
                note: String::new(),
            }),
        });
        Some(Box::new(BodyHooks {
            side,
            exchange: exchange.clone(),
            turns: turns.collect(),
            piece: Arc::default(),
            fields: FieldChanges::default(),
        }))
    }

    /// Whether a hook wants text rather than what stands for it.
    pub(super) fn want_decoded(&self) -> bool {
        self.turns.iter().any(|turn| turn.form == Form::Decoded)
    }

    /// Leaves out the hooks that want text: there is none.
    pub(super) fn leave_out_decoded(&mut self) {
        self.turns.retain(|turn| turn.form != Form::Decoded);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Whether the body has to be there as a whole before anything of it goes on.
    pub(super) fn gather(&self) -> bool {
        let gathers = |turn: &Turn| !turn.passes && matches!(turn.manner, Manner::Whole(_));
        self.turns.iter().any(gathers)
    }

    /// Whether none of them has changed anything.
    pub(super) fn left_as_it_was(&self) -> bool {
        self.turns.iter().all(|turn| !turn.changed)
    }
}

impl Drop for BodyHooks {
    /// Those that were asked, and never about the end: the client has left, the server has broken
    /// off, or the body was stopped by another hook or a bound.
    fn drop(&mut self) {
        for turn in &mut self.turns {
            if turn.traced.as_ref().is_some_and(|traced| traced.calls > 0) {
                contained(|| turn.end_trace(&self.exchange, self.side, ("cut", None)));
            }
        }
    }
}

impl Stage for BodyHooks {
    fn pass(&mut self, piece: &[u8], end: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Stopped> {
        let mut at_hand = AtHand {
            side: self.side,
            exchange: &self.exchange,
            piece: &mut self.piece,
            fields: &mut self.fields,
            end,
        };
        let mut data = Cow::Borrowed(piece);
        for turn in &mut self.turns {
            data = turn.take(data, &mut at_hand)?;
            if data.is_empty() && end.is_none() {
                return Ok(());
            }
        }
        match data {
            Cow::Owned(data) if out.is_empty() && out.capacity() < data.len() => *out = data,
            data => out.extend_from_slice(&data),
        }
        Ok(())
    }

    fn changes(&self) -> bool {
        let may_change = |turn: &Turn| !turn.passes && turn.manner != Manner::Watch;
        (self.turns.iter()).any(|turn| turn.changed || may_change(turn))
    }
}

/// What a call is about.
struct AtHand<'a> {
    side: BodySide,
    exchange: &'a Rc<Exchange>,
    piece: &'a mut Arc<Vec<u8>>,
    fields: &'a mut FieldChanges,
    end: Option<&'a [u8]>,
}

impl Turn {
    /// Takes a piece: what goes on in its place.
    fn take<'a>(
        &mut self,
        data: Cow<'a, [u8]>,
        at_hand: &mut AtHand<'_>,
    ) -> Result<Cow<'a, [u8]>, Stopped> {
        if self.passes {
            return Ok(data);
        }
        let Manner::Whole(bound) = self.manner else {
            return match data.is_empty() && at_hand.end.is_none() {
                true => Ok(data),
                false => self.ask(data, at_hand),
            };
        };
        if self.gathered.len() + data.len() > bound.bytes() {
            return self.exceed(data, bound);
        }
        match at_hand.end {
            Some(_) if self.gathered.is_empty() => self.ask(data, at_hand),
            Some(_) => {
                let mut all = std::mem::take(&mut self.gathered);
                all.extend_from_slice(&data);
                self.ask(Cow::Owned(all), at_hand)
            }
            None => {
                self.gathered.extend_from_slice(&data);
                Ok(Cow::Borrowed(&[]))
            }
        }
    }

    /// The body is larger than the hook wants it.
    fn exceed<'a>(&mut self, data: Cow<'a, [u8]>, bound: Bound) -> Result<Cow<'a, [u8]>, Stopped> {
        match bound.beyond {
            Beyond::Refuse => Err(Stopped::TooLarge(bound.bytes())),
            Beyond::Pass => {
                self.passes = true;
                let mut all = std::mem::take(&mut self.gathered);
                if all.is_empty() {
                    return Ok(data);
                }
                all.extend_from_slice(&data);
                Ok(Cow::Owned(all))
            }
        }
    }

    /// Asks the hook about a piece, or about all of the body.
    fn ask<'a>(
        &mut self,
        data: Cow<'a, [u8]>,
        at_hand: &mut AtHand<'_>,
    ) -> Result<Cow<'a, [u8]>, Stopped> {
        let exchange = at_hand.exchange;
        let call = (self.run).call(exchange.worker.clock.micros(Instant::now()));
        self.received += data.len();
        let handed: Arc<Vec<u8>> = match &data {
            Cow::Borrowed(data) => {
                let piece = Arc::make_mut(at_hand.piece);
                piece.clear();
                piece.extend_from_slice(data);
                at_hand.piece.clone()
            }
            Cow::Owned(data) => Arc::new(data.clone()),
        };
        let body = BodyCall {
            side: at_hand.side,
            data: &handed,
            last: at_hand.end.is_some(),
            whole: matches!(self.manner, Manner::Whole(_)),
            may_give: (self.manner != Manner::Watch)
                .then(|| may_give(self.received).saturating_sub(self.given)),
            trailers: at_hand.end.unwrap_or_default(),
        };
        let context: ExchangeAtHand = exchange.clone();
        let began =
            (self.traced.is_some()).then(|| (Instant::now(), exchange.hooked.bytes_of_notes()));
        let asked = self.run.hook.on_body(&context, &call, &self.run.ran, &body);
        if let (Some(traced), Some((began, notes))) = (&mut self.traced, began) {
            traced.calls += 1;
            traced.busy += began.elapsed();
            // Between its calls others speak.
            let said = exchange.note_since(notes);
            if !said.is_empty() && !traced.note.is_empty() {
                traced.note.push_str("; ");
            }
            traced.note.push_str(&said);
        }
        let unasked = "the instance that was asked about the exchange failed, or is busy";
        let asked = asked.ok_or_else(|| unasked.to_owned());
        let carried = asked.and_then(|asked| carry_out(asked, at_hand));
        let goes_on = matches!(carried, Ok(Carried::GoesOn(_)));
        if !goes_on || at_hand.end.is_some() {
            let verdict = match &carried {
                Ok(Carried::GoesOn(_)) => ("proceed", None),
                Ok(Carried::Stopped(_)) => ("answer", None),
                Err(why) => ("failed", Some(why.as_str())),
            };
            self.end_trace(exchange, at_hand.side, verdict);
        }
        match carried {
            Ok(Carried::GoesOn(None)) => {
                self.given += data.len();
                Ok(data)
            }
            Ok(Carried::GoesOn(Some(instead))) => {
                self.given += instead.len();
                self.changed = true;
                Ok(Cow::Owned(instead))
            }
            Ok(Carried::Stopped(stopped)) => Err(stopped),
            Err(why) => {
                let hook = &self.run.hook;
                let message = Untrusted::message(format_args!("{hook} failed: {why}"));
                if self.changed || self.run.on_error == OnError::Fail {
                    return Err(Stopped::Hook(message));
                }
                exchange.info(&format_args!("{message}; the body goes on without it"));
                self.passes = true;
                Ok(data)
            }
        }
    }
}

impl Turn {
    /// It is not asked about this body again.
    fn end_trace(
        &mut self,
        exchange: &Exchange,
        side: BodySide,
        verdict: (&'static str, Option<&str>),
    ) {
        let Some(traced) = self.traced.take() else {
            return;
        };
        let TracedTurn {
            step,
            calls,
            busy,
            note,
        } = traced;
        let phase = match side {
            BodySide::Request => "request_body",
            BodySide::Response => "response_body",
        };
        let hook = self.run.hook.shared();
        let mut span = exchange.hook_span(&step, hook, phase, verdict, &note);
        if let Some(span) = &mut span {
            let busy = i64::try_from(busy.as_nanos()).unwrap_or(i64::MAX);
            span.set("waypost.calls", Value::number(calls));
            span.set("waypost.busy_ns", Value::Number(busy));
        }
        exchange.add_hook_span(span, Instant::now());
    }
}

/// What a hook's answer comes to.
enum Carried {
    /// This, or what it was asked about.
    GoesOn(Option<Vec<u8>>),
    Stopped(Stopped),
}

/// Makes the changes that a hook has asked for in a call about a piece or an answer.
fn carry_out(asked: Asked, at_hand: &mut AtHand<'_>) -> Result<Carried, String> {
    let (exchange, mut instead, mut answer) = (at_hand.exchange, None, None);
    if let Some(mut changes) = asked.changes {
        let Changes {
            response,
            attributes,
            ..
        } = &*changes;
        (exchange.have_room_for(response)).map_err(|error| error.to_string())?;
        (exchange.hooked.set_attributes(attributes)).map_err(|error| error.to_string())?;
        (exchange.change_response(response)).map_err(|error| error.to_string())?;
        (at_hand.fields.append(response)).map_err(|error| error.to_string())?;
        (instead, answer) = (changes.body.take(), changes.answer.take());
    }
    match (asked.verdict, answer) {
        (Verdict::Answer, Some(_)) if exchange.stats.head_sent.get() => {
            Err("it answers, and the client has an answer already".to_owned())
        }
        (Verdict::Answer, Some(answer)) => Ok(Carried::Stopped(Stopped::Answer(answer))),
        _ => Ok(Carried::GoesOn(instead)),
    }
}
