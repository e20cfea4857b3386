//! A hook as one worker asks it.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use smallvec::SmallVec;
use twox_hash::XxHash64;

use super::super::context::ExchangeAtHand;
use super::super::instance::Instance;
use super::super::worker_role::WorkerRole;
use super::instance::Decision;
use super::shared::SharedHook;
use super::slot::{HookReport, HookSlot, HookSpec, LONGEST_WAIT};
use super::{Check, ExchangeSummary, Hook, HookCall, PooledChanges, Verdict};

/// One worker's way to a [`SharedHook`]. Stays on its thread.
pub struct WorkerHook {
    pub(super) hook: Arc<SharedHook>,
    role: RefCell<WorkerRole<HookSpec>>,
    /// What keys are rendered into. Kept so that no request allocates.
    rendered: RefCell<Vec<u8>>,
    /// The same hook under the configuration behind, which has taken over what this one knew.
    successor: RefCell<Weak<WorkerHook>>,
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
    /// As it was then: what the variables in it say may change until the exchange ends.
    key: Key,
}

/// The value by which instances are told apart; empty where they are not. As long as an address in
/// binary or a user's name mostly are, it takes no allocation.
type Key = SmallVec<[u8; 24]>;

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
        if let Some(slot) = role.own() {
            slot.make();
        }
        let follows = |previous: &&WorkerHook| hook.role.follows(&previous.hook.role);
        let previous = previous.filter(follows);
        if let Some(previous) = previous
            && let (Some(own), Some(theirs)) = (role.own(), previous.role.borrow_mut().own())
            && let Some(state) = theirs.export_state()
        {
            // A fault is counted and logged.
            let _ = own.import_state(state);
        }
        let attached = Rc::new(WorkerHook {
            hook: hook.clone(),
            role: RefCell::new(role),
            rendered: RefCell::default(),
            successor: RefCell::default(),
        });
        if let Some(previous) = previous {
            *previous.successor.borrow_mut() = Rc::downgrade(&attached);
        }
        attached
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

    /// Asks about a request. `None`: there is no instance at the moment, it faulted, its budget is
    /// used up, or it is busy for too long.
    #[inline]
    pub fn on_request(&self, exchange: &ExchangeAtHand, call: &HookCall) -> Option<Asked> {
        if !self.hook.phases.request {
            return Some(Asked {
                verdict: Verdict::Proceed,
                changes: None,
                check: None,
                ran: Ran {
                    generation: None,
                    shard: 0,
                    key: Key::new(),
                },
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
        let mut role = self.role.borrow_mut();
        let asked = role.ask(&self.hook.role, shard, |slot: &mut HookSlot| {
            slot.call("on-request", |instance| {
                instance.on_request(exchange, call, &key)
            })
        });
        let (decision, generation) = asked?;
        let ran = Ran {
            generation: Some(generation),
            shard,
            key,
        };
        Some(Asked::of(decision, ran))
    }

    /// Tells what came of a check, and asks what now. `None` as for
    /// [`on_request`](WorkerHook::on_request), or the instance that waited is gone.
    pub fn on_check(
        &self,
        exchange: &ExchangeAtHand,
        call: &HookCall,
        ran: &Ran,
        passed: bool,
    ) -> Option<Asked> {
        let mut role = self.role.borrow_mut();
        let asked = role.ask(&self.hook.role, ran.shard, |slot: &mut HookSlot| {
            slot.call_same(ran.generation?, "on-check", |instance| {
                instance.on_check(exchange, call, &ran.key, passed)
            })
        });
        let (decision, _) = asked?;
        Some(Asked::of(decision, ran.clone()))
    }

    /// Asks what is to be changed of a response's head. `None` as for
    /// [`on_request`](WorkerHook::on_request).
    pub fn on_response(
        &self,
        exchange: &ExchangeAtHand,
        call: &HookCall,
        ran: &Ran,
    ) -> Option<Option<PooledChanges>> {
        let mut role = self.role.borrow_mut();
        let answer = role.ask(&self.hook.role, ran.shard, |slot| {
            let ask =
                |instance: &mut Instance<Hook>| instance.on_response(exchange, call, &ran.key);
            match ran.generation {
                None => slot.call("on-response", ask),
                Some(asked) if asked == slot.generation() => {
                    slot.call_same(asked, "on-response", ask)
                }
                Some(_) => Some(None), // another instance knows nothing of this exchange
            }
        });
        answer.map(|(changes, _)| changes)
    }

    /// Tells that an exchange has ended: the instance that was asked, or the one that has taken
    /// over what it knew.
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
        if let Some(successor) = self.successor.borrow().upgrade() {
            let ran = Ran {
                generation: None,
                ..ran
            };
            return successor.on_end(exchange, call, ran, summary);
        }
        let report = HookReport {
            generation: ran.generation,
            exchange: exchange.clone(),
            call: *call,
            key: ran.key,
            summary: *summary,
        };
        let mut role = self.role.borrow_mut();
        role.tell(&self.hook.role, ran.shard, report);
    }

    /// Calls the plugin if its time has come (`ticker` in the WIT).
    pub fn tick(&self, now_us: u64) {
        self.role.borrow_mut().tick(&self.hook.role, now_us);
    }
}

impl Drop for WorkerHook {
    fn drop(&mut self) {
        self.role.get_mut().finish(&self.hook.role);
    }
}
