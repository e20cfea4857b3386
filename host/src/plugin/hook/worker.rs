//! A hook as one worker asks it.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use twox_hash::XxHash64;

use super::super::context::ExchangeAtHand;
use super::super::error::PluginFault;
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
    /// The key of the request that is asked about. Kept so that no request allocates.
    key: RefCell<Arc<Vec<u8>>>,
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
#[derive(Debug, Clone, Copy)]
pub struct Ran {
    /// The instance; none where the hook exports no `on-request`.
    generation: Option<u64>,
    shard: usize,
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
            key: RefCell::default(),
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
                },
            });
        }
        let Some(template) = &self.hook.key else {
            return self.decided(0, "on-request", |instance| {
                instance.on_request(exchange, call)
            });
        };
        let mut key = self.key.borrow_mut();
        {
            let key = Arc::make_mut(&mut key);
            key.clear();
            template.render(&**exchange, key);
        }
        let shard = self.hook.role.shard(XxHash64::oneshot(0, &key));
        // The buffer changes hands for the call, and is not copied.
        self.decided(shard, "on-request", |instance| {
            std::mem::swap(&mut instance.state().call.key, &mut *key);
            let decision = instance.on_request(exchange, call);
            std::mem::swap(&mut instance.state().call.key, &mut *key);
            decision
        })
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
        let asked = self.decided(ran.shard, "on-check", |instance| {
            instance.on_check(exchange, call, passed)
        })?;
        (asked.ran.generation == ran.generation).then_some(asked)
    }

    fn decided(
        &self,
        shard: usize,
        name: &str,
        ask: impl FnOnce(&mut Instance<Hook>) -> Result<Decision, PluginFault>,
    ) -> Option<Asked> {
        let mut role = self.role.borrow_mut();
        let asked = role.ask(&self.hook.role, shard, |slot: &mut HookSlot| {
            slot.call(name, ask)
        });
        let (decision, generation) = asked?;
        Some(Asked {
            verdict: decision.verdict,
            changes: decision.changes,
            check: decision.check,
            ran: Ran {
                generation: Some(generation),
                shard,
            },
        })
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
            // Another instance knows nothing of this exchange.
            match ran
                .generation
                .is_none_or(|asked| asked == slot.generation())
            {
                true => slot.call("on-response", |instance| {
                    instance.on_response(exchange, call)
                }),
                false => Some(None),
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
