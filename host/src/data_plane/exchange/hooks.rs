//! Hooks of an exchange: asked in their order, and what they decide carried out.
//!
//! Until the action of its route begins, nothing but [`Finish`] holds the exchange: what a hook
//! changes is made when its call has returned, all of it or nothing.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::ahead;
use super::body_hooks::may_give;
use super::fault::Fault;
use super::finish::Finish;
use super::state::Exchange;
use super::traced::Measured;
use super::wait;
use super::watch::Watch;
use crate::config::model::{HookUse, OnError};
use crate::data_plane::body::BodyPipe;
use crate::data_plane::downstream::Session;
use crate::data_plane::hook_requests::{Origin, carry_until};
use crate::data_plane::turn;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::head::BadChange;
use crate::metrics::HookVerdict;
use crate::plugin::{
    Asked, BadAttribute, Beyond, BodyCall, BodySide, Bound, Changes, Check, Checked,
    ExchangeAtHand, HookAnswer, HookCall, Manner, Question, Ran, Untrusted, Verdict, WorkerHook,
    checks, hook_requests,
};

/// What the hooks of a phase have decided.
pub(super) enum Decided {
    Proceed,
    Answer(HookAnswer),
    /// The route is to be found anew: that of this index, or the one that host and path lead to.
    Reroute(Option<usize>),
}

/// What a change of route means for the hooks behind the one that wants it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum OnReroute {
    /// They are asked all the same: those of a listener are for all of its routes, and one that
    /// protects them must not be left out because another one chooses the route.
    AskOthers,
    /// They are not asked: they are of a route that is left.
    Leave,
    /// Nor are they where the route answers in place of an error, and there is no third one. Hooks that
    /// have let the request pass already are not asked again: they would count it twice.
    Stay,
}

/// Asks hooks in their order, until one answers or leaves the route. Delays run side by side, and
/// are waited for behind the last one, but not before an answer. A route that was named counts, also
/// where another hook has it found by host and path. `body`: the request's, which hooks may want to
/// see before they let it pass.
///
/// # Errors
/// A [`Fault`]: a hook failed, or the client left.
pub(super) async fn ask(
    session: &mut Session<'_>,
    worker_config: &WorkerConfig,
    finish: &mut Finish,
    uses: &[HookUse],
    on_reroute: OnReroute,
    body: &mut BodyPipe,
    watch: &impl Watch,
) -> Result<Decided, Fault> {
    let mut delay = Delay::from(Instant::now());
    let mut rerouted: Option<Option<usize>> = None;
    let mut behind_body: SmallVec<[usize; 2]> = SmallVec::new();
    for place in uses {
        if on_reroute == OnReroute::Stay && finish.exchange().passed_hooks.has(place.hook) {
            continue;
        }
        let Some((hook, in_trial)) = watch.hook(worker_config, place, finish.exchange()) else {
            continue;
        };
        turn::passed();
        let call = HookCall {
            exchange: finish.exchange().number(),
            place: place.place_number,
            now_us: session.worker.clock.micros(delay.now),
        };
        let step = finish.exchange().begin_step();
        let mut asked = match hook.waits() {
            false => (hook.on_request(&watch.at_hand(finish.exchange()), &call))
                .ok_or_else(|| Failed::hook(hook.why_unasked())),
            // Few hooks wait: exchanges need not carry the room for it.
            true => Box::pin(ask_waiting(session, finish, hook, &call, Question::Request)).await,
        };
        if let Some(in_trial) = &in_trial {
            in_trial.ask_beside(&at_hand(finish), &call, asked.as_ref().ok());
            if asked.is_err() {
                in_trial.note_failed();
            }
        }
        if let Ok(asked) = &mut asked {
            watch.answered(hook, asked);
            // It is owed the end from here on, whatever comes between.
            let hooked = &finish.exchange().hooked;
            hooked.note_run(hook, &call, asked.ran.clone(), place.on_error, in_trial);
        }
        let mut at = At {
            hook,
            call,
            delay: &mut delay,
            body: None,
        };
        let asked = match asked.and_then(|asked| decide(finish, asked, &mut at)) {
            Ok(Step::Decided(decided)) => Ok(decided),
            Ok(Step::Wait(check)) => wait_for(session, finish, &mut at, check).await,
            Err(failed) => Err(failed),
        };
        count(finish.exchange(), Some(place.hook), &asked);
        watch.decided(asked.as_ref().map_err(Failed::why));
        record(finish.exchange(), step, (hook, "request"), &asked);
        match asked {
            Ok(Decided::Proceed) => {
                // One that is to see the body has not let the request pass yet.
                let hooked = &finish.exchange().hooked;
                match hooked.wants_whole_request_of(&at.call, hook) {
                    true => behind_body.push(place.hook),
                    false => finish.exchange().passed_hooks.note(place.hook),
                }
            }
            Ok(answer @ Decided::Answer(_)) => return Ok(answer),
            Ok(Decided::Reroute(route)) => {
                rerouted = Some(route.or(rerouted.flatten()));
                if on_reroute != OnReroute::AskOthers {
                    break;
                }
            }
            Err(Failed::Fault(fault)) => return Err(fault),
            Err(Failed::Hook { why, fault }) => {
                pass_over(finish.exchange(), place.on_error, hook, &why, fault)?;
            }
        }
    }
    if finish.exchange().hooked.wants_whole_request() && watch.has_body() {
        // Few exchanges get here: the others need not carry the room for it.
        let asked = Box::pin(ask_about_body(session, finish, body, &mut delay));
        match asked.await? {
            Decided::Proceed => {
                let passed = &finish.exchange().passed_hooks;
                behind_body.iter().for_each(|hook| passed.note(*hook));
            }
            answer @ Decided::Answer(_) => return Ok(answer),
            Decided::Reroute(route) => rerouted = Some(route.or(rerouted.flatten())),
        }
    }
    if let Some(until) = delay.until
        && watch.holds_back(until.saturating_duration_since(Instant::now()))
    {
        wait::pause(session, until.into()).await?;
    }
    Ok(rerouted.map_or(Decided::Proceed, Decided::Reroute))
}

/// Counts what a hook has decided. `hook`: its index in the configuration.
fn count(exchange: &Exchange, hook: Option<usize>, decided: &Result<Decided, Failed>) {
    let verdict = match decided {
        Ok(Decided::Proceed) => HookVerdict::Proceed,
        Ok(Decided::Answer(_)) => HookVerdict::Answer,
        Ok(Decided::Reroute(_)) => HookVerdict::Reroute,
        Err(Failed::Hook { .. }) => HookVerdict::Failed,
        // The client has left while it was waited for: the hook has decided nothing.
        Err(Failed::Fault(_)) => return,
    };
    let metrics = &exchange.worker_config.snapshot.metrics.hooks;
    if let Some(metrics) = hook.and_then(|hook| metrics.get(hook)) {
        metrics.decided(exchange.worker.index, verdict);
    }
}

/// Records that a hook was asked, where that is recorded.
fn record(
    exchange: &Exchange,
    step: Option<Measured>,
    (hook, phase): (&WorkerHook, &'static str),
    decided: &Result<Decided, Failed>,
) {
    let verdict = match decided {
        Ok(Decided::Proceed) => ("proceed", None),
        Ok(Decided::Answer(_)) => ("answer", None),
        Ok(Decided::Reroute(_)) => ("reroute", None),
        Err(Failed::Hook { why, .. }) => ("failed", Some(why.as_str())),
        Err(Failed::Fault(_)) => ("none", None),
    };
    exchange.end_hook(step, hook.shared(), phase, verdict);
}

/// How long a request is delayed.
struct Delay {
    /// When the hook at hand was asked.
    now: Instant,
    /// The latest time that a hook wants; none where none wants any.
    until: Option<Instant>,
}

impl Delay {
    fn from(now: Instant) -> Delay {
        Delay { now, until: None }
    }

    fn add(&mut self, delay: Duration) {
        if !delay.is_zero() {
            self.until = self.until.max(Some(self.now + delay));
        }
    }
}

/// What follows a hook's answer.
enum Step {
    Decided(Decided),
    Wait(Pending),
}

/// Why a hook's answer cannot be had.
enum Failed {
    /// The hook's: its place says what becomes of that. `fault`: what it is to the client, if it is
    /// not passed over.
    Hook {
        why: String,
        fault: fn(Untrusted) -> Fault,
    },
    Fault(Fault),
}

impl Failed {
    fn why(&self) -> &str {
        match self {
            Failed::Hook { why, .. } => why,
            Failed::Fault(_) => "the client has left",
        }
    }

    fn hook(why: impl ToString) -> Failed {
        Failed::Hook {
            why: why.to_string(),
            fault: Fault::Hook,
        }
    }
}

/// A check that a hook waits for.
struct Pending {
    check: Box<Check>,
    ran: Ran,
}

fn at_hand(finish: &Finish) -> ExchangeAtHand {
    finish.exchange().clone()
}

/// A hook that is asked.
struct At<'a> {
    hook: &'a Rc<WorkerHook>,
    call: HookCall,
    delay: &'a mut Delay,
    /// It was asked about the body of the request: what that becomes, if it is another one.
    body: Option<Option<Vec<u8>>>,
}

/// Makes the changes that a hook has asked for, and reads its verdict.
fn decide(finish: &mut Finish, asked: Asked, at: &mut At<'_>) -> Result<Step, Failed> {
    let Asked {
        verdict,
        changes,
        check,
        ran,
    } = asked;
    let (mut answer, mut route) = (None, None);
    if let Some(mut changes) = changes {
        (answer, route) = (changes.answer.take(), changes.route);
        make(finish, &changes).map_err(Failed::hook)?;
        at.delay.add(changes.delay);
        if let (Some(body), instead @ Some(_)) = (&mut at.body, changes.body.take()) {
            *body = instead;
        }
        if let (None, Some(wish)) = (&at.body, changes.wish) {
            let hooked = &finish.exchange().hooked;
            hooked.want_request_body(&at.call, at.hook, wish);
        }
    }
    Ok(match (verdict, answer, check) {
        (Verdict::Answer, Some(answer), _) => Step::Decided(Decided::Answer(answer)),
        (Verdict::Reroute, ..) => Step::Decided(Decided::Reroute(route)),
        (Verdict::Wait, _, Some(check)) => Step::Wait(Pending { check, ran }),
        (Verdict::Proceed | Verdict::Answer | Verdict::Wait, ..) => Step::Decided(Decided::Proceed),
    })
}

/// Why changes cannot be made.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Bad(#[from] BadChange),
    #[error("{0}")]
    Attribute(#[from] BadAttribute),
    /// A hook that was asked before must not see a request change.
    #[error("the request is in use")]
    Held,
}

/// Makes the changes of one call to the exchange: all of them, or none.
fn make(finish: &mut Finish, changes: &Changes) -> Result<(), Refused> {
    let exchange = finish.exchange();
    exchange.have_room_for(&changes.response)?;
    exchange.hooked.have_room_for(&changes.attributes)?;
    if !changes.request.is_empty() {
        let exchange = finish.exchange_mut().ok_or(Refused::Held)?;
        exchange.apply(&changes.request)?;
    }
    let exchange = finish.exchange();
    exchange.change_response(&changes.response)?;
    exchange.hooked.set_attributes(&changes.attributes)?;
    if let Some(upstream) = changes.upstream {
        exchange.hooked.take_upstream(upstream);
    }
    Ok(())
}

/// Checks that a hook may begin for one request.
const MAX_CHECKS: usize = 10;

/// Waits for a check, and asks the hook what now; again, if it begins another one.
async fn wait_for(
    session: &mut Session<'_>,
    finish: &mut Finish,
    at: &mut At<'_>,
    mut pending: Pending,
) -> Result<Decided, Failed> {
    for _ in 0..MAX_CHECKS {
        let Pending { check, ran } = pending;
        let done = wait::watched(session, checks::begin(&check.hash, check.password)).await;
        let passed = match done {
            Ok(Ok(passed)) => passed,
            Ok(Err(why)) if why.is_overload() => {
                return Err(Failed::Hook {
                    why: why.to_string(),
                    fault: Fault::HookOverloaded,
                });
            }
            Ok(Err(why)) => return Err(Failed::hook(why)),
            Err(fault) => return Err(Failed::Fault(fault)),
        };
        at.delay.now = Instant::now();
        at.call.now_us = session.worker.clock.micros(at.delay.now);
        let checked = Checked {
            passed,
            behind_body: at.body.is_some(),
        };
        let asked = match at.hook.waits() {
            false => (at.hook.on_check(&at_hand(finish), &at.call, &ran, checked))
                .ok_or_else(|| Failed::hook("the instance that began the check failed meanwhile")),
            true => {
                let (hook, call) = (at.hook.clone(), at.call);
                let question = Question::Check(checked);
                Box::pin(ask_waiting(session, finish, &hook, &call, question)).await
            }
        };
        match decide(finish, asked?, at)? {
            Step::Decided(decided) => return Ok(decided),
            Step::Wait(next) => pending = next,
        }
    }
    Err(Failed::hook(format!(
        "it began more than {MAX_CHECKS} checks"
    )))
}

/// Asks hooks about the whole body of a request, all of those that wait for it: whatever route another
/// one wants, a hook that let the request pass for the sake of its body is to see it.
async fn ask_about_body(
    session: &mut Session<'_>,
    finish: &mut Finish,
    progress: &mut BodyPipe,
    delay: &mut Delay,
) -> Result<Decided, Fault> {
    let waiting = finish.exchange().hooked.take_whole_requests();
    let bounds = waiting.iter().filter_map(|(_, wish)| match wish.manner {
        Manner::Whole(bound) => Some(bound),
        Manner::Chunks | Manner::Watch => None,
    });
    let bounds: SmallVec<[Bound; 2]> = bounds.collect();
    let is_gone = finish.exchange().handed_on.borrow().is_some();
    let mut body = if is_gone {
        // Another server had it: what is left of it is nobody's, and there is none to be asked about.
        let timeout = session.limits().client_body_timeout;
        let dropped = ahead::drop_body(session, progress, timeout).await;
        dropped.map_err(Fault::Body)?;
        Vec::new()
    } else {
        ahead::read_whole(session, finish.exchange(), progress, &bounds).await?
    };
    // Of HTTP/2 the rest is not read even so.
    let is_whole = is_gone || progress.is_done();
    let mut rerouted = None;
    for ((run, _), bound) in waiting.iter().zip(bounds) {
        if !is_whole || body.len() > bound.bytes() {
            // Also where hooks before have made it larger than it came.
            match bound.beyond {
                Beyond::Refuse => return Err(Fault::BodyTooLarge(body.len() as u64)),
                Beyond::Pass => continue,
            }
        }
        delay.now = Instant::now();
        let call = run.call(session.worker.clock.micros(delay.now));
        let data = Arc::new(body);
        let asked = BodyCall {
            side: BodySide::Request,
            data: &data,
            last: true,
            whole: true,
            may_give: Some(may_give(data.len())),
            trailers: progress.trailers(),
        };
        let step = finish.exchange().begin_step();
        let asked = match run.hook.waits() {
            false => (run.hook.on_body(&at_hand(finish), &call, &run.ran, &asked))
                .ok_or_else(|| Failed::hook(run.hook.why_unasked())),
            true => ask_waiting(session, finish, &run.hook, &call, Question::Body(&asked)).await,
        };
        let mut at = At {
            hook: &run.hook,
            call,
            delay: &mut *delay,
            body: Some(None),
        };
        let asked = match asked.and_then(|asked| decide(finish, asked, &mut at)) {
            Ok(Step::Decided(decided)) => Ok(decided),
            Ok(Step::Wait(check)) => wait_for(session, finish, &mut at, check).await,
            Err(failed) => Err(failed),
        };
        let index = finish.exchange().worker_config.hook_index(&run.hook);
        count(finish.exchange(), index, &asked);
        record(finish.exchange(), step, (&run.hook, "request_body"), &asked);
        let instead = at.body.flatten().filter(|_| asked.is_ok());
        body = Arc::try_unwrap(data).unwrap_or_else(|data| data.to_vec());
        if let Some(instead) = instead {
            body = instead;
            finish.exchange().body_replaced.set(true);
        }
        match asked {
            Ok(Decided::Proceed) => {}
            Ok(answer @ Decided::Answer(_)) => return Ok(answer),
            Ok(Decided::Reroute(route)) => rerouted = Some(route.or(rerouted.flatten())),
            Err(Failed::Fault(fault)) => return Err(fault),
            Err(Failed::Hook { why, fault }) => {
                run.note_failed();
                pass_over(finish.exchange(), run.on_error, &run.hook, &why, fault)?;
            }
        }
    }
    finish.exchange().body_ahead.replace(body);
    Ok(rerouted.map_or(Decided::Proceed, Decided::Reroute))
}

/// Asks a hook that waits; carries what it asks of upstreams meanwhile.
async fn ask_waiting(
    session: &mut Session<'_>,
    finish: &Finish,
    hook: &WorkerHook,
    call: &HookCall,
    question: Question<'_>,
) -> Result<Asked, Failed> {
    let exchange = finish.exchange();
    let origin = Origin {
        worker: exchange.worker.clone(),
        worker_config: exchange.worker_config.clone(),
        client: exchange.client.clone(),
        address: exchange.remote_ip(),
        under_way: hook.requests_under_way().clone(),
        longest: hook.longest_wait(),
        trace: exchange.call_trace(),
    };
    let at_hand = at_hand(finish);
    let (sender, requests) = hook_requests();
    let asking = hook.ask_waiting(&at_hand, call, question, sender);
    let carrying = carry_until(&origin, requests, asking);
    match wait::watched(session, carrying).await {
        Ok(asked) => asked.map_err(Failed::hook),
        Err(gone) => Err(Failed::Fault(gone)),
    }
}

/// Goes on without a hook that failed, if its place says so.
fn pass_over(
    exchange: &Exchange,
    on_error: OnError,
    hook: &WorkerHook,
    why: &str,
    fault: fn(Untrusted) -> Fault,
) -> Result<(), Fault> {
    let message = Untrusted::message(format_args!("{hook} failed: {why}"));
    match on_error {
        OnError::Fail => Err(fault(message)),
        OnError::Skip => {
            exchange.info(&format_args!("{message}; the request goes on without it"));
            Ok(())
        }
    }
}

/// Has the hooks that were asked change the response whose head is about to be written.
pub(super) fn on_response(exchange: &Rc<Exchange>) {
    if !exchange.hooked.sees_response() {
        return;
    }
    let now_us = exchange.worker.clock.micros(Instant::now());
    let at_hand: ExchangeAtHand = exchange.clone();
    let begin = || exchange.begin_step();
    let end = |step, hook: &WorkerHook, has_answered| {
        let verdict = match has_answered {
            true => ("proceed", None),
            false => ("failed", Some("it gave no answer, or is busy")),
        };
        exchange.end_hook(step, hook.shared(), "response", verdict);
    };
    exchange
        .hooked
        .on_response(&at_hand, now_us, (begin, end), |hook, changes| {
            let made = exchange.change_response(&changes.response);
            let dropped = exchange.hooked.set_attributes(&changes.attributes);
            if made.is_err() || dropped.is_err() {
                let name = hook.shared().name();
                exchange.warn_of(&format_args!(
                    "changes of hook `{name}` to the response dropped: there are too many"
                ));
            }
        });
}
