//! Versions of plugins on trial under a configuration: another version of a policy in an upstream, of
//! a hook beside that.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::data_plane::unwinding::contained;
use crate::data_plane::upstream::UpstreamTrial;
use crate::plugin::{
    Asked, Beside, Changes, ExchangeAtHand, ExchangeSummary, HookCall, PluginFiles, Ran,
    SharedHook, Trial, Version, WorkerHook,
};

/// What is on trial, as all workers share it.
#[derive(Default)]
pub(crate) struct Trials {
    /// By index into the upstreams.
    pub(crate) upstreams: HashMap<usize, Arc<UpstreamTrial>>,
    /// By index into the hooks.
    pub(crate) hooks: HashMap<usize, Arc<HookTrial>>,
}

/// Another version of a hook.
pub(crate) struct HookTrial {
    pub(crate) trial: Arc<Trial>,
    pub(crate) candidate: Arc<SharedHook>,
}

impl Trials {
    /// Whether a plugin wants to be called from time to time.
    pub(super) fn ticks(&self) -> bool {
        let of_hook =
            |hook: &Arc<HookTrial>| hook.candidate.plugin().ticks() || hook.candidate.waits();
        self.upstreams.values().any(|upstream| upstream.ticks()) || self.hooks.values().any(of_hook)
    }

    /// The files that settings name, as the other versions read them.
    pub(super) fn files(&self) -> impl Iterator<Item = &Arc<PluginFiles>> {
        let of_hooks = self.hooks.values().map(|hook| hook.candidate.files());
        let of_upstreams = self
            .upstreams
            .values()
            .flat_map(|upstream| upstream.files());
        of_hooks.chain(of_upstreams)
    }
}

/// Another version of a hook, as one worker asks it.
pub(crate) struct WorkerHookTrial {
    shared: Arc<HookTrial>,
    candidate: Rc<WorkerHook>,
}

impl WorkerHookTrial {
    /// Begins with what `previous` knows, the same trial under the configuration before, or else with
    /// a copy of what the version that serves knows.
    pub(super) fn attach(
        shared: &Arc<HookTrial>,
        serving: &WorkerHook,
        previous: Option<&Rc<WorkerHookTrial>>,
    ) -> Rc<WorkerHookTrial> {
        let previous =
            previous.filter(|previous| Arc::ptr_eq(&previous.shared.trial, &shared.trial));
        let candidate = match previous {
            Some(same) if Arc::ptr_eq(&same.shared, shared) => return same.clone(),
            Some(previous) => WorkerHook::attach(&shared.candidate, Some(&previous.candidate)),
            None => {
                let candidate = WorkerHook::attach(&shared.candidate, None);
                candidate.copy(serving);
                candidate
            }
        };
        Rc::new(WorkerHookTrial {
            shared: shared.clone(),
            candidate,
        })
    }

    pub(super) fn candidate(&self) -> &Rc<WorkerHook> {
        &self.candidate
    }

    /// The version that is asked about an exchange with this lot.
    pub(super) fn choose<'a>(
        &'a self,
        serving: &'a Rc<WorkerHook>,
        lot: u32,
    ) -> (&'a Rc<WorkerHook>, Rc<RunInTrial>) {
        let trial = &self.shared.trial;
        let version = trial.version_for(lot);
        let hook = match version {
            Version::Serving => serving,
            Version::Candidate => &self.candidate,
        };
        let shadow = trial.is_shadow().then(|| self.candidate.clone());
        let in_trial = RunInTrial {
            trial: trial.clone(),
            version,
            shadow,
            asked_beside: RefCell::default(),
            has_failed: Cell::new(false),
        };
        (hook, Rc::new(in_trial))
    }
}

/// What is owed to the versions of a hook on trial that was asked about an exchange.
pub(crate) struct RunInTrial {
    trial: Arc<Trial>,
    version: Version,
    /// The version that is asked as well.
    shadow: Option<Rc<WorkerHook>>,
    asked_beside: RefCell<Option<Ran>>,
    /// The hook gave no answer after its first one.
    has_failed: Cell<bool>,
}

impl RunInTrial {
    /// Asks a shadow what the version that serves was asked, whose answer this is: before anything is
    /// done about that.
    pub(crate) fn ask_beside(
        &self,
        exchange: &ExchangeAtHand,
        call: &HookCall,
        asked: Option<&Asked>,
    ) {
        let Some(shadow) = &self.shadow else { return };
        let beside = Beside::new(exchange, 0) as ExchangeAtHand;
        let other = shadow.on_request(&beside, call);
        let agrees = match (asked, &other) {
            (Some(asked), Some(other)) => {
                asked.verdict == other.verdict
                    && changes(asked.changes.as_deref()) == changes(other.changes.as_deref())
            }
            (None, None) => true,
            _ => false,
        };
        self.trial.note_compared(agrees);
        self.asked_beside.replace(other.map(|other| other.ran));
    }

    /// Asks a shadow about a response, as [`ask_beside`](RunInTrial::ask_beside).
    pub(crate) fn ask_beside_of_response(
        &self,
        exchange: &ExchangeAtHand,
        call: &HookCall,
        asked: Option<&Changes>,
    ) {
        let (Some(shadow), Some(ran)) = (&self.shadow, &*self.asked_beside.borrow()) else {
            return;
        };
        if shadow.sees_responses() {
            let beside = Beside::new(exchange, 0) as ExchangeAtHand;
            let other = shadow.on_response(&beside, call, ran);
            let other = other.and_then(|(changes, _)| changes);
            let agrees = changes(asked) == changes(other.as_deref());
            self.trial.note_compared(agrees);
        }
    }

    /// The hook gave no answer.
    pub(crate) fn note_failed(&self) {
        self.trial.note_end(self.version, true, None);
    }

    /// The hook gave an answer, and no further one: counted once the exchange ends.
    pub(crate) fn note_failed_later(&self) {
        self.has_failed.set(true);
    }

    /// The exchange has ended: counts that, and tells a shadow.
    pub(crate) fn end(
        &self,
        exchange: &ExchangeAtHand,
        call: &HookCall,
        summary: &ExchangeSummary,
    ) {
        let took = summary
            .complete
            .then(|| Duration::from_micros(summary.duration_us));
        let has_failed = self.has_failed.get() || summary.status >= 500;
        self.trial.note_end(self.version, has_failed, took);
        if let (Some(shadow), Some(ran)) = (&self.shadow, self.asked_beside.take()) {
            let beside = Beside::new(exchange, 0) as ExchangeAtHand;
            contained(|| shadow.on_end(&beside, call, ran, summary));
        }
    }
}

/// Changes to compare; none are as good as no changes. Wishes for bodies are none that a client sees.
fn changes(changes: Option<&Changes>) -> Option<&Changes> {
    changes.filter(|changes| !changes.are_none())
}
