//! Hooks of a session: asked in their order whether the client is let in, and told when it has
//! left. There is no HTTP: what they may change is their attributes.

use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use super::dial::ClientWatch;
use super::session::{SessionStatus, TcpSession};
use crate::config::model::{HookUse, OnError};
use crate::data_plane::unwinding::contained;
use crate::data_plane::upstream::Balanceable as _;
use crate::data_plane::worker_config::WorkerConfig;
use crate::metrics::HookVerdict;
use crate::plugin::{ExchangeAtHand, HookCall, Untrusted, Verdict};

/// Tells the hooks that were asked about a session when it ends, however it does.
pub(super) struct SessionEnd(Rc<TcpSession>);

impl SessionEnd {
    pub(super) fn of(session: &Rc<TcpSession>) -> SessionEnd {
        SessionEnd(session.clone())
    }
}

impl Drop for SessionEnd {
    fn drop(&mut self) {
        contained(|| {
            let session = &self.0;
            let at_hand: ExchangeAtHand = session.clone();
            let now_us = session.worker.clock.micros(Instant::now());
            session.hooked.end(&at_hand, now_us, &session.summary());
        });
    }
}

/// Asks the hooks of a stream about a session. A client that leaves while it is delayed ends it.
///
/// # Errors
/// How the session ends instead of being carried.
pub(super) async fn ask(
    session: &Rc<TcpSession>,
    worker_config: &WorkerConfig,
    uses: &[HookUse],
    watch: &mut ClientWatch<'_>,
) -> Result<(), SessionStatus> {
    if uses.is_empty() {
        return Ok(());
    }
    let (began, exchange) = (Instant::now(), session.worker.next_number());
    let at_hand: ExchangeAtHand = session.clone();
    let mut delay = Duration::ZERO;
    for place in uses {
        let (hook, in_trial) = worker_config.hook(place.hook, || session.lot());
        let call = HookCall {
            exchange,
            place: place.place_number,
            now_us: session.worker.clock.micros(began),
        };
        let asked = hook.on_request(&at_hand, &call);
        if let Some(in_trial) = &in_trial {
            in_trial.ask_beside(&at_hand, &call, asked.as_ref());
            if asked.is_none() {
                in_trial.note_failed();
            }
        }
        if let Some(asked) = &asked {
            let hooked = &session.hooked;
            hooked.note_run(hook, &call, asked.ran.clone(), place.on_error, in_trial);
        }
        let verdict = match &asked {
            Some(asked) if asked.verdict == Verdict::Answer => HookVerdict::Answer,
            Some(asked) if asked.verdict != Verdict::Wait => HookVerdict::Proceed,
            _ => HookVerdict::Failed,
        };
        let metrics = &worker_config.snapshot.metrics.hooks[place.hook];
        metrics.decided(session.worker.index, verdict);
        let answered = match asked {
            None => Err(hook.why_unasked()),
            Some(asked) if asked.verdict == Verdict::Wait => {
                Err("it waits for a check, and a session has no password")
            }
            Some(asked) => Ok(asked),
        };
        let asked =
            answered.map_err(|why| Untrusted::message(format_args!("{hook} failed: {why}")));
        let asked = match (asked, place.on_error) {
            (Ok(asked), _) => asked,
            (Err(message), OnError::Skip) => {
                session.info(&format_args!("{message}; the session goes on without it"));
                continue;
            }
            (Err(message), OnError::Fail) => {
                session.error(&message, "");
                return Err(SessionStatus::Ours);
            }
        };
        if let Some(changes) = asked.changes {
            delay = delay.max(changes.delay);
            if let Err(bad) = session.hooked.set_attributes(&changes.attributes) {
                session.info(&format_args!("attribute of a hook dropped: {bad}"));
            }
        }
        if asked.verdict == Verdict::Answer {
            return Err(SessionStatus::TurnedAway);
        }
    }
    if !delay.is_zero() {
        let delayed = sleep_until((began + delay).into());
        let waited = watch.while_there(delayed).await;
        return waited.ok_or(SessionStatus::Left);
    }
    Ok(())
}
