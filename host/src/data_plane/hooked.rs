//! What hooks have to do with one exchange, or one session of a stream: which were asked about it,
//! and what they have set for it.
//!
//! Each hook that was asked is owed the end: [`Hooked::end`] pays all of them, however the exchange
//! ends.

use std::cell::RefCell;
use std::rc::Rc;

use smallvec::SmallVec;

use super::turn;
use super::unwinding::contained;
use super::worker_config::RunInTrial;
use crate::config::model::OnError;
use crate::plugin::{
    Attributes, BadAttribute, BodySide, BodyWish, ExchangeAtHand, ExchangeSummary, HookCall,
    Manner, PooledChanges, Ran, WorkerHook,
};

/// Bytes of notes of one exchange.
const NOTES: usize = 1024;

/// Nothing is allocated before a hook has something to do with an exchange.
#[derive(Default)]
pub(crate) struct Hooked(RefCell<Option<Box<HookedState>>>);

#[derive(Default)]
struct HookedState {
    /// In the order in which they were asked.
    runs: SmallVec<[HookRun; 4]>,
    attributes: Attributes,
    notes: String,
    /// Index into the upstreams: where the route's `proxy` leads instead.
    upstream: Option<usize>,
    /// An answer in place of one whose body hooks have failed: they are not asked about that.
    spares_answer: bool,
}

/// States that are kept for the next exchange, of each worker.
const SPARE: usize = 64;

thread_local! {
    #[allow(clippy::vec_box, reason = "a box changes hands, and is not copied")]
    static SPARE_STATES: RefCell<Vec<Box<HookedState>>> = const { RefCell::new(Vec::new()) };
}

impl Drop for Hooked {
    fn drop(&mut self) {
        if let Some(mut state) = self.0.get_mut().take() {
            state.runs.clear();
            state.attributes.clear();
            state.notes.clear();
            state.upstream = None;
            state.spares_answer = false;
            // On a thread that ends there is no next one.
            let _ = SPARE_STATES.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < SPARE {
                    spare.push(state);
                }
            });
        }
    }
}

/// A hook that was asked.
#[derive(Clone)]
pub(crate) struct HookRun {
    pub(crate) hook: Rc<WorkerHook>,
    exchange: u64,
    place: u32,
    pub(crate) ran: Ran,
    /// What its place says of failures.
    pub(crate) on_error: OnError,
    /// Where its plugin is on trial.
    in_trial: Option<Rc<RunInTrial>>,
    /// The bodies that it wants to be asked about.
    of_request: Option<BodyWish>,
    of_response: Option<BodyWish>,
}

impl HookRun {
    /// It gave no answer about a body.
    pub(crate) fn note_failed(&self) {
        if let Some(in_trial) = &self.in_trial {
            in_trial.note_failed_later();
        }
    }

    /// A further call about the same exchange at the same place.
    pub(crate) fn call(&self, now_us: u64) -> HookCall {
        turn::passed();
        HookCall {
            exchange: self.exchange,
            place: self.place,
            now_us,
        }
    }
}

fn is_whole(wish: BodyWish) -> bool {
    matches!(wish.manner, Manner::Whole(_))
}

impl Hooked {
    fn change<T>(&self, change: impl FnOnce(&mut HookedState) -> T) -> T {
        let spare = || SPARE_STATES.with_borrow_mut(Vec::pop).unwrap_or_default();
        change(self.0.borrow_mut().get_or_insert_with(spare))
    }

    fn read<T: Default>(&self, read: impl FnOnce(&HookedState) -> T) -> T {
        self.0.borrow().as_deref().map(read).unwrap_or_default()
    }

    /// Notes that a hook was asked, if it wants to hear more of the exchange.
    pub(crate) fn note_run(
        &self,
        hook: &Rc<WorkerHook>,
        call: &HookCall,
        ran: Ran,
        on_error: OnError,
        in_trial: Option<Rc<RunInTrial>>,
    ) {
        if in_trial.is_some()
            || hook.sees_responses()
            || hook.hears_ends()
            || hook.may_want_bodies()
        {
            self.change(|state| {
                state.runs.push(HookRun {
                    hook: hook.clone(),
                    exchange: call.exchange,
                    place: call.place,
                    ran,
                    on_error,
                    in_trial,
                    of_request: None,
                    of_response: None,
                });
            });
        }
    }

    /// Notes that a hook, which was asked last at this place, wants the body of the request.
    pub(crate) fn want_request_body(&self, call: &HookCall, hook: &WorkerHook, wish: BodyWish) {
        self.change(|state| {
            let is_it =
                |run: &&mut HookRun| run.place == call.place && std::ptr::eq(&*run.hook, hook);
            if let Some(run) = state.runs.iter_mut().rev().find(is_it) {
                run.of_request = Some(wish);
            }
        });
    }

    /// Whether this hook waits for the whole body of the request.
    pub(crate) fn wants_whole_request_of(&self, call: &HookCall, hook: &WorkerHook) -> bool {
        let is_it = |run: &&HookRun| run.place == call.place && std::ptr::eq(&*run.hook, hook);
        let is_whole = |run: &HookRun| matches!(run.of_request, Some(wish) if is_whole(wish));
        self.read(|state| state.runs.iter().rev().find(is_it).is_some_and(is_whole))
    }

    /// Whether a hook waits for the whole body of the request.
    #[inline]
    pub(crate) fn wants_whole_request(&self) -> bool {
        let is_whole = |run: &HookRun| matches!(run.of_request, Some(wish) if is_whole(wish));
        self.read(|state| state.runs.iter().any(is_whole))
    }

    /// The hooks that wait for the whole body of the request, which they are about to have.
    pub(crate) fn take_whole_requests(&self) -> SmallVec<[(HookRun, BodyWish); 2]> {
        self.change(|state| {
            let waiting = state.runs.iter_mut().filter_map(|run| {
                let wish = run.of_request.take_if(|wish| is_whole(*wish))?;
                Some((run.clone(), wish))
            });
            waiting.collect()
        })
    }

    /// The hooks that a body goes through piece by piece, in the order of their turns.
    pub(crate) fn body_runs(&self, side: BodySide) -> SmallVec<[(HookRun, BodyWish); 2]> {
        self.read(|state| {
            let runs = state.runs.iter();
            match side {
                BodySide::Request => runs
                    .filter_map(|run| Some((run.clone(), run.of_request?)))
                    .collect(),
                BodySide::Response => runs
                    .rev()
                    .filter_map(|run| Some((run.clone(), run.of_response?)))
                    .collect(),
            }
        })
    }

    /// Whether a hook wants a body piece by piece, or that of the answer in whatever way.
    #[inline]
    pub(crate) fn wants_body(&self, side: BodySide) -> bool {
        self.read(|state| {
            state.runs.iter().any(|run| match side {
                BodySide::Request => run.of_request.is_some(),
                BodySide::Response => run.of_response.is_some() && !state.spares_answer,
            })
        })
    }

    /// What answers from here on answers in place of a body that failed: no hook is asked about it.
    pub(crate) fn spare_answer(&self) {
        self.change(|state| state.spares_answer = true);
    }

    /// Asks the hooks what is to be changed of a response, the last one first, and hands each
    /// answer over before the next one is asked. `end` hears whether there is one.
    pub(crate) fn on_response<Step>(
        &self,
        exchange: &ExchangeAtHand,
        now_us: u64,
        (begin, end): (impl Fn() -> Step, impl Fn(Step, &WorkerHook, bool)),
        mut change: impl FnMut(&WorkerHook, PooledChanges),
    ) {
        let Some(mut at) = self.0.borrow().as_deref().map(|state| state.runs.len()) else {
            return;
        };
        while at > 0 {
            at -= 1;
            // Hooks may set attributes meanwhile.
            let (hook, asked) = {
                let state = self.0.borrow();
                let Some(run) = state.as_deref().and_then(|state| state.runs.get(at)) else {
                    return;
                };
                let in_trial = run.in_trial.clone();
                let sees_it = run.hook.sees_responses();
                if !sees_it && in_trial.is_none() {
                    continue;
                }
                let call = run.call(now_us);
                let (hook, ran) = (run.hook.clone(), run.ran.clone());
                drop(state);
                let asked = sees_it.then(|| {
                    let step = begin();
                    let asked = hook.on_response(exchange, &call, &ran);
                    end(step, &hook, asked.is_some());
                    asked
                });
                let asked = asked.flatten();
                if let Some(in_trial) = in_trial {
                    let changes = asked.as_ref().and_then(|(changes, _)| changes.as_deref());
                    in_trial.ask_beside_of_response(exchange, &call, changes);
                }
                (hook, asked)
            };
            let (changes, instance) = asked.unzip();
            let changes = changes.flatten();
            self.change(|state| {
                if let Some(run) = state.runs.get_mut(at) {
                    // What it wanted of another answer, which never left, is no matter any more.
                    run.of_response = changes.as_ref().and_then(|changes| changes.wish);
                    if let (Some(_), Some(instance)) = (run.of_response, instance) {
                        run.ran = run.ran.clone().of_response(instance);
                    }
                }
            });
            if let Some(changes) = changes {
                change(&hook, changes);
            }
        }
    }

    /// Whether a hook is to be told when the exchange ends.
    #[inline]
    pub(crate) fn is_owed_an_end(&self) -> bool {
        self.read(|state| !state.runs.is_empty())
    }

    /// Whether a hook wants to see the response.
    #[inline]
    pub(crate) fn sees_response(&self) -> bool {
        let sees_it = |run: &HookRun| run.hook.sees_responses() || run.in_trial.is_some();
        self.read(|state| state.runs.iter().any(sees_it))
    }

    /// The exchange has ended: tells every hook that was asked, the last one first.
    pub(crate) fn end(&self, exchange: &ExchangeAtHand, now_us: u64, summary: &ExchangeSummary) {
        let runs = match self.0.borrow_mut().as_deref_mut() {
            Some(state) => std::mem::take(&mut state.runs),
            None => return,
        };
        for run in runs.into_iter().rev() {
            let call = run.call(now_us);
            if let Some(in_trial) = &run.in_trial {
                in_trial.end(exchange, &call, summary);
            }
            contained(|| run.hook.on_end(exchange, &call, run.ran, summary));
        }
    }

    /// Sets named values: all of them, or none.
    ///
    /// # Errors
    /// There is no room for them.
    pub(crate) fn set_attributes(&self, set: &Attributes) -> Result<(), BadAttribute> {
        if set.is_empty() {
            return Ok(());
        }
        self.change(|state| state.attributes.append(set))
    }

    /// Whether there is room for named values.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn have_room_for(&self, set: &Attributes) -> Result<(), BadAttribute> {
        match self.0.borrow().as_deref() {
            Some(state) => state.attributes.have_room_for(set),
            None => Ok(()),
        }
    }

    /// Appends a named value; false where there is none.
    pub(crate) fn append_attribute(&self, name: &str, out: &mut Vec<u8>) -> bool {
        self.read(|state| {
            let value = state.attributes.get(name.as_bytes());
            value
                .inspect(|value| out.extend_from_slice(value))
                .is_some()
        })
    }

    /// Adds to what plugins say of their decisions, as far as there is room.
    pub(crate) fn note(&self, text: &str) {
        self.change(|state| {
            let notes = &mut state.notes;
            let between = if notes.is_empty() { "" } else { "; " };
            let room = NOTES.saturating_sub(notes.len() + between.len());
            if room > 0 {
                notes.push_str(between);
                notes.push_str(&text[..text.floor_char_boundary(room)]);
            }
        });
    }

    /// The notes from this byte on.
    pub(crate) fn notes_from(&self, start: usize) -> String {
        self.read(|state| state.notes.get(start..).unwrap_or_default().to_owned())
    }

    /// Bytes of notes so far.
    pub(crate) fn bytes_of_notes(&self) -> usize {
        self.read(|state| state.notes.len())
    }

    /// Appends the notes; false where there are none.
    pub(crate) fn append_notes(&self, out: &mut Vec<u8>) -> bool {
        self.read(|state| {
            out.extend_from_slice(state.notes.as_bytes());
            !state.notes.is_empty()
        })
    }

    pub(crate) fn take_upstream(&self, upstream: usize) {
        self.change(|state| state.upstream = Some(upstream));
    }

    /// Where the route's `proxy` leads, if a hook has said so.
    pub(crate) fn upstream(&self) -> Option<usize> {
        self.read(|state| state.upstream)
    }
}
