//! A hook as one worker asks it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use twox_hash::XxHash64;

use super::super::context::ExchangeAtHand;
use super::super::instance::Instance;
use super::super::pool::InstancePool;
use super::super::slot::HandedOver;
use super::super::waiting::{HookRequestSender, RequestsUnderWay};
use super::super::worker_role::{CALL_FAILED, FAILED, UNHEARD, WorkerRole};
use super::instance::Decision;
use super::shared::SharedHook;
use super::slot::{HookReport, HookSlot, HookSpec, LONGEST_WAIT};
use super::{
    BodyCall, BodySide, Check, Checked, ExchangeSummary, Hook, HookCall, PooledChanges, Question,
    Verdict,
};

/// One worker's way to a [`SharedHook`]. Stays on its thread.
pub struct WorkerHook {
    pub(super) hook: Arc<SharedHook>,
    role: RefCell<WorkerRole<HookSpec>>,
    /// What keys are rendered into. Kept so that no request allocates.
    rendered: RefCell<Vec<u8>>,
    lineage: Rc<RefCell<Lineage>>,
    /// Which one of its lineage it is, from 0.
    number: u32,
    /// Ends that were told here after the state had been handed over, and are still to be told
    /// there.
    late: RefCell<LateEnds>,
    /// The shard that was asked last.
    shard: Cell<usize>,
    /// Instances for calls that may wait. Of other calls, the worker's own instance hears.
    pool: Option<Rc<InstancePool<HookSpec>>>,
    requests_under_way: Rc<RequestsUnderWay>,
}

/// Those that took over from each other: the same hook under one configuration after the other.
#[derive(Default)]
struct Lineage {
    newest: Weak<WorkerHook>,
    /// For each shard: what was known before the one of this number is lost, as an instance failed
    /// that knew it.
    lost_before: Vec<u32>,
}

/// Ends of exchanges that a successor knows of, and which came before the worker knew of it: see
/// [`WorkerHook::on_end`].
#[derive(Default)]
struct LateEnds {
    /// Each with its shard, and how many states the shard had handed over when it was told.
    ends: Vec<(usize, u64, HookReport)>,
    /// There were more than can be kept.
    overflowed: bool,
}

/// What a hook decided about a request.
pub struct Asked {
    pub verdict: Verdict,
    /// None where it changes nothing.
    pub changes: Option<PooledChanges>,
    /// What it waits for.
    pub check: Option<Box<Check>>,
    pub ran: Ran,
}

/// An instance was asked about an exchange: it is owed one call of [`WorkerHook::on_end`].
#[must_use = "a hook that was asked is told how the exchange ended"]
#[derive(Debug, Clone)]
pub struct Ran {
    /// The instance; none where the hook exports no `on-request`.
    generation: Option<u64>,
    shard: usize,
    /// How many states its slot had handed to a successor before.
    handed_over: u64,
    /// As it was then: what the variables in it say may change until the exchange ends.
    key: Key,
}

/// Which instance was asked about a response: see [`Ran`].
#[derive(Debug, Clone, Copy)]
pub struct Responder {
    generation: u64,
    handed_over: u64,
}

impl Ran {
    /// Whichever instance there is may hear the end.
    fn of_any() -> Ran {
        Ran {
            generation: None,
            shard: 0,
            handed_over: 0,
            key: Key::new(),
        }
    }
}

/// Why a hook that waits gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unasked {
    #[error("{0}")]
    Failed(&'static str),
    #[error("it waited for longer than its `limits.wait` ({0:?})")]
    TimedOut(Duration),
}

/// The value by which instances are told apart; empty where they are not. As long as an address in
/// binary or a user's name mostly are, it takes no allocation.
type Key = SmallVec<[u8; 24]>;

impl Ran {
    /// The same, of the instance that was asked about the response: one that was not asked about the
    /// request has to be known from there on.
    pub fn of_response(mut self, responder: Responder) -> Ran {
        if self.generation.is_none() {
            self.generation = Some(responder.generation);
            self.handed_over = responder.handed_over;
        }
        self
    }
}

impl Asked {
    fn of(decision: Decision, ran: Ran) -> Asked {
        Asked {
            verdict: decision.verdict,
            changes: decision.changes,
            check: decision.check,
            ran,
        }
    }
}

impl WorkerHook {
    /// On the worker's thread. Takes over what the worker's own instance of `previous` knows, the
    /// same hook under the configuration before.
    pub fn attach(hook: &Arc<SharedHook>, previous: Option<&WorkerHook>) -> Rc<WorkerHook> {
        wasmtime::Engine::tls_eager_initialize();
        let mut role = WorkerRole::new(&hook.role, LONGEST_WAIT);
        if let Some(mut slot) = role.own() {
            slot.make();
        }
        let previous = previous.filter(|previous| hook.role.follows(&previous.hook.role));
        if let Some(previous) = previous {
            let theirs = &mut previous.role.borrow_mut();
            role.take_over(&hook.role, theirs, &previous.hook.role);
        }
        let attached = Rc::new(WorkerHook {
            hook: hook.clone(),
            role: RefCell::new(role),
            rendered: RefCell::default(),
            lineage: previous
                .map(|previous| previous.lineage.clone())
                .unwrap_or_default(),
            number: previous.map_or(0, |previous| previous.number + 1),
            late: RefCell::default(),
            shard: Cell::default(),
            pool: hook.waits().then(|| {
                let spec = &hook.role.spec;
                let before = previous.and_then(|previous| previous.pool.clone());
                let same = before.filter(|pool| pool.is_for(spec));
                same.unwrap_or_else(|| InstancePool::new(spec))
            }),
            requests_under_way: previous
                .map(|previous| previous.requests_under_way.clone())
                .unwrap_or_default(),
        });
        attached.lineage.borrow_mut().newest = Rc::downgrade(&attached);
        if let Some(previous) = previous {
            previous.note_losses();
            attached.hear_late_ends(previous);
        }
        attached
    }

    /// Begins with a copy of what the worker's own instance of `serving` knows, which goes on.
    pub fn copy(&self, serving: &WorkerHook) {
        let theirs = &mut serving.role.borrow_mut();
        let mut own = self.role.borrow_mut();
        own.copy(&self.hook.role, theirs, &serving.hook.role);
    }

    /// Hears of what ended since the state of `previous` was taken over.
    fn hear_late_ends(&self, previous: &WorkerHook) {
        let LateEnds { ends, overflowed } = previous.late.take();
        let mut role = self.role.borrow_mut();
        for (shard, times, report) in ends {
            let handed_over = previous.handed_over(shard);
            // It was told before a later state was handed over, which has it.
            if handed_over.is_some_and(|handed_over| handed_over.times > times) {
                continue;
            }
            if overflowed {
                role.note_missed(&self.hook.role, shard);
            } else {
                role.tell(&self.hook.role, shard, report.into_successor());
            }
        }
    }

    fn handed_over(&self, shard: usize) -> Option<HandedOver> {
        self.role.borrow().handed_over(&self.hook.role, shard)
    }

    /// Notes what those before knew and this one could not hand over.
    fn note_losses(&self) {
        let mut lineage = self.lineage.borrow_mut();
        let shards = self.hook.role.shared().len().max(1);
        lineage.lost_before.resize(shards, 0);
        for (shard, lost_before) in lineage.lost_before.iter_mut().enumerate() {
            let handed_over = self.handed_over(shard);
            if !handed_over.is_some_and(|handed_over| handed_over.has_all()) {
                *lost_before = self.number;
            }
        }
    }

    /// The hook that serves now, if it knows what this one knew of a shard.
    fn successor(&self, shard: usize) -> Option<Rc<WorkerHook>> {
        let lineage = self.lineage.borrow();
        let is_this = std::ptr::eq(lineage.newest.as_ptr(), self);
        let lost_before = lineage.lost_before.get(shard).copied().unwrap_or(0);
        if is_this || self.number < lost_before {
            return None;
        }
        lineage.newest.upgrade()
    }

    /// What all workers share of it.
    pub fn shared(&self) -> &Arc<SharedHook> {
        &self.hook
    }

    /// Whether it wants to be asked when a response's head is there.
    pub fn sees_responses(&self) -> bool {
        self.hook.phases.response
    }

    /// Whether it wants to hear how exchanges end that it was asked about.
    pub fn hears_ends(&self) -> bool {
        self.hook.phases.end
    }

    /// Whether it may want to be asked about bodies.
    pub fn may_want_bodies(&self) -> bool {
        self.hook.phases.bodies
    }

    /// Asks about a request. `None`: there is no instance at the moment, it faulted, its budget is
    /// used up, or it is busy for too long.
    #[inline]
    pub fn on_request(&self, exchange: &ExchangeAtHand, call: &HookCall) -> Option<Asked> {
        if !self.hook.phases.request {
            return Some(Asked {
                verdict: Verdict::Proceed,
                changes: None,
                check: None,
                ran: Ran::of_any(),
            });
        }
        let (key, shard) = match &self.hook.key {
            None => (Key::new(), 0),
            Some(template) => {
                let mut key = self.rendered.borrow_mut();
                key.clear();
                template.render(&**exchange, &mut key);
                let shard = self.hook.role.shard(XxHash64::oneshot(0, &key));
                (Key::from_slice(&key), shard)
            }
        };
        self.shard.set(shard);
        let mut role = self.role.borrow_mut();
        let asked = role.ask(&self.hook.role, shard, |slot: &mut HookSlot| {
            let decision = slot.call("on-request", |instance| {
                instance.on_request(exchange, call, &key)
            });
            Some((decision?, slot.handed_over().times))
        });
        let ((decision, handed_over), generation) = asked?;
        let ran = Ran {
            generation: Some(generation),
            shard,
            handed_over,
            key,
        };
        Some(Asked::of(decision, ran))
    }

    /// Whether calls about requests may wait: [`ask_waiting`](WorkerHook::ask_waiting) makes them.
    #[inline]
    pub fn waits(&self) -> bool {
        self.pool.is_some()
    }

    /// How long a call that may wait takes at the most.
    pub fn longest_wait(&self) -> Duration {
        self.hook.plugin().inner().longest_wait
    }

    /// A count of the requests that it has made of upstreams and that are not over: of this worker,
    /// through all configurations. Kept by whoever carries them.
    pub fn requests_under_way(&self) -> &Rc<RequestsUnderWay> {
        &self.requests_under_way
    }

    /// Asks a hook that waits. Requests that it makes arrive by `requests`. To be dropped where nobody
    /// wants the answer any more.
    ///
    /// # Errors
    /// Why there is no answer, for the log.
    pub async fn ask_waiting(
        &self,
        exchange: &ExchangeAtHand,
        call: &HookCall,
        question: Question<'_>,
        requests: HookRequestSender,
    ) -> Result<Asked, Unasked> {
        let failed = |why| {
            let not_called = self.role.borrow().why_not_called(&self.hook.role);
            Unasked::Failed(not_called.unwrap_or(why))
        };
        let pool = self.pool.as_ref().ok_or_else(|| failed(FAILED))?;
        if self.role.borrow().is_in_debt() {
            return Err(failed(FAILED));
        }
        let longest = self.longest_wait();
        let name = match question {
            Question::Request => "on-request",
            Question::Check(_) => "on-check",
            Question::Body(_) => "on-request-body",
        };
        let asking = async {
            let mut taken = pool.take().await.ok_or(FAILED)?;
            let slot = taken.slot().ok_or(FAILED)?;
            let decision = slot.call_waiting(name, async |instance: &mut Instance<Hook>| {
                instance
                    .decide_waiting(exchange, call, question, requests)
                    .await
            });
            let decision = decision.await;
            self.role.borrow().pay(slot.take_charge());
            decision.ok_or(CALL_FAILED)
        };
        match tokio::time::timeout(longest, asking).await {
            Ok(Ok(decision)) => Ok(Asked::of(decision, Ran::of_any())),
            Ok(Err(why)) => Err(failed(why)),
            Err(_) => Err(Unasked::TimedOut(longest)),
        }
    }

    /// Tells what came of a check, and asks what now. `None` as for
    /// [`on_request`](WorkerHook::on_request), or the instance that waited is gone.
    pub fn on_check(
        &self,
        exchange: &ExchangeAtHand,
        call: &HookCall,
        ran: &Ran,
        checked: Checked,
    ) -> Option<Asked> {
        let mut role = self.role.borrow_mut();
        let asked = role.ask(&self.hook.role, ran.shard, |slot: &mut HookSlot| {
            slot.call_same(ran.generation?, "on-check", |instance| {
                instance.on_check(exchange, call, &ran.key, checked)
            })
        });
        let (decision, _) = asked?;
        Some(Asked::of(decision, ran.clone()))
    }

    /// Why the last call about a request had no answer, for the log.
    #[cold]
    pub fn why_unasked(&self) -> &'static str {
        let role = self.role.borrow();
        role.why_unasked(&self.hook.role, self.shard.get())
    }

    /// Asks what is to be changed of a response's head: that, and which instance it was that was
    /// asked. `None` as for [`on_request`](WorkerHook::on_request).
    pub fn on_response(
        &self,
        exchange: &ExchangeAtHand,
        call: &HookCall,
        ran: &Ran,
    ) -> Option<(Option<PooledChanges>, Responder)> {
        let mut role = self.role.borrow_mut();
        let asked = role.ask(&self.hook.role, ran.shard, |slot| {
            let ask =
                |instance: &mut Instance<Hook>| instance.on_response(exchange, call, &ran.key);
            let changes = match ran.generation {
                None => slot.call("on-response", ask),
                Some(asked) if asked == slot.generation() => {
                    slot.call_same(asked, "on-response", ask)
                }
                Some(_) => Some(None), // another instance knows nothing of this exchange
            };
            Some((changes?, slot.handed_over().times))
        });
        let ((changes, handed_over), generation) = asked?;
        let responder = Responder {
            generation,
            handed_over,
        };
        Some((changes, responder))
    }

    /// Asks about a body, or a piece of one, the instance that was asked about the exchange before.
    /// `None` as for [`on_request`](WorkerHook::on_request), or that instance is gone.
    pub fn on_body(
        &self,
        exchange: &ExchangeAtHand,
        call: &HookCall,
        ran: &Ran,
        body: &BodyCall<'_>,
    ) -> Option<Asked> {
        let name = match body.side {
            BodySide::Request => "on-request-body",
            BodySide::Response => "on-response-body",
        };
        self.shard.set(ran.shard);
        let mut role = self.role.borrow_mut();
        let asked = role.ask(&self.hook.role, ran.shard, |slot: &mut HookSlot| {
            let ask =
                |instance: &mut Instance<Hook>| instance.on_body(exchange, call, &ran.key, body);
            match ran.generation {
                // Of a hook that waits, whose instances share nothing.
                None => slot.call(name, ask),
                Some(asked) => slot.call_same(asked, name, ask),
            }
        });
        let (decision, _) = asked?;
        Some(Asked::of(decision, ran.clone()))
    }

    /// Tells that an exchange has ended: the instance that was asked, or the one that has taken
    /// over what it knew of the exchange.
    ///
    /// A successor knows of what was asked before the state was handed to it. The worker attaches
    /// it a moment later: what ends in between is told to both.
    pub fn on_end(
        &self,
        exchange: &ExchangeAtHand,
        call: &HookCall,
        ran: Ran,
        summary: &ExchangeSummary,
    ) {
        if !self.hook.phases.end {
            return;
        }
        let report = HookReport {
            generation: ran.generation,
            exchange: exchange.clone(),
            call: *call,
            key: ran.key,
            summary: *summary,
        };
        let known_to = self.successor(ran.shard).filter(|_| {
            let handed_over = self.handed_over(ran.shard);
            handed_over.is_none_or(|so_far| so_far.covers(ran.generation, ran.handed_over))
        });
        match known_to {
            Some(successor) => successor.tell(ran.shard, 0, report.into_successor()),
            None => self.tell(ran.shard, ran.handed_over, report),
        }
    }

    /// Tells of the end of what was asked when so many states had been handed over.
    fn tell(&self, shard: usize, asked: u64, report: HookReport) {
        let told = self.role.borrow_mut().tell(&self.hook.role, shard, report);
        if let Some((report, so_far)) = told
            && so_far.covers(report.generation, asked)
        {
            self.late.borrow_mut().note(shard, so_far.times, report);
        }
    }

    /// Calls the plugin if its time has come (`ticker` in the WIT).
    pub fn tick(&self, now_us: u64) {
        self.role.borrow_mut().tick(&self.hook.role, now_us);
        if let Some(pool) = &self.pool {
            pool.trim();
        }
    }
}

/// As log lines name it.
impl fmt::Display for WorkerHook {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, plugin) = (self.hook.name(), self.hook.plugin().name());
        write!(out, "hook `{name}` of plugin `{plugin}`")
    }
}

impl LateEnds {
    fn note(&mut self, shard: usize, times: u64, report: HookReport) {
        // Those of a state before are in the one that was handed over now.
        self.ends
            .retain(|(of, before, _)| *of != shard || *before == times);
        match self.ends.len() < UNHEARD {
            true => self.ends.push((shard, times, report)),
            false => self.overflowed = true,
        }
    }
}

impl Drop for WorkerHook {
    fn drop(&mut self) {
        self.role.get_mut().finish();
    }
}
