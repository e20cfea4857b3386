//! A configuration as one worker uses it: the snapshot that all share, and what the worker has of
//! its own for each upstream.

pub(crate) mod router; // host and path -> route
mod page_files; // what error pages show
mod snapshot_metrics; // where it is counted what routes do
mod snapshot; // the immutable part
mod pace; // how much is done at a time
mod trials; // other versions of plugins
mod retired; // what is left of configurations before

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use self::trials::WorkerHookTrial;
use super::process::Clock;
use super::upstream::WorkerUpstream;
use crate::access_log::UsedLog;
use crate::config::model::{HookConfig, TraceRule};
use crate::plugin::{SharedHook, WorkerHandler, WorkerHook};

pub(crate) use pace::Pace;
pub(crate) use page_files::PageFiles;
pub(crate) use retired::RetiredUpstreams;
pub(crate) use router::Router;
pub(crate) use snapshot::{ListenerId, Snapshot, index_by_name};
pub(crate) use snapshot_metrics::SnapshotMetrics;
pub(crate) use trials::{HookTrial, RunInTrial, Trials};

/// A snapshot as one worker uses it.
pub(crate) struct WorkerConfig {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) upstreams: Vec<Rc<WorkerUpstream>>,
    /// As in the configuration.
    hooks: Vec<Rc<WorkerHook>>,
    /// As in the configuration.
    pub(crate) components: Vec<Rc<WorkerHandler>>,
    /// By index into the hooks.
    hook_trials: HashMap<usize, Rc<WorkerHookTrial>>,
    /// A plugin wants to be called from time to time.
    ticks: bool,
    /// See [`route_name`](Self::route_name).
    route_names: Rc<[OnceCell<Rc<str>>]>,
    /// Where its upstreams go when it ends.
    retired: Rc<RetiredUpstreams>,
}

impl WorkerConfig {
    /// That of the worker of this index. Goes on where `previous` is: upstreams that stay as they are keep everything, those that
    /// change what they can. What it leaves goes to `retired`.
    ///
    /// Yields to the event loop after each upstream that is new or has changed, and after some that
    /// stay: there may be thousands, and requests are served meanwhile.
    pub(crate) async fn new(
        worker: usize,
        snapshot: Arc<Snapshot>,
        previous: Option<&WorkerConfig>,
        retired: Rc<RetiredUpstreams>,
    ) -> WorkerConfig {
        let mut pace = Pace::default();
        let mut upstreams = Vec::with_capacity(snapshot.upstreams.len());
        let trials = &snapshot.trials;
        let trial = |index: usize| trials.upstreams.get(&index).map(|trial| &**trial);
        for (index, shared) in snapshot.upstreams.iter().enumerate() {
            // Most are where they were, and no name is looked up.
            let known = previous.and_then(|previous| {
                let there = previous.upstreams.get(index);
                there
                    .filter(|there| Arc::ptr_eq(&there.shared, shared))
                    .or_else(|| previous.upstream(&shared.config.name))
            });
            match known {
                Some(same) if Arc::ptr_eq(&same.shared, shared) => {
                    same.put_on_trial(trial(index), None);
                    upstreams.push(same.clone());
                    pace.small_step().await;
                }
                changed => {
                    let attached = WorkerUpstream::attach(worker, shared.clone(), changed.cloned());
                    attached.put_on_trial(trial(index), changed.map(|changed| &**changed));
                    upstreams.push(attached);
                    pace.large_step().await;
                }
            }
        }
        let mut hooks: Vec<Rc<WorkerHook>> = Vec::with_capacity(snapshot.hooks.len());
        let mut hook_trials = HashMap::new();
        for (shared, config) in snapshot.hooks.iter().zip(&snapshot.config.hooks) {
            let before = previous.and_then(|previous| previous.hook_before(shared, config));
            match before {
                Some(same) if Arc::ptr_eq(same.shared(), shared) => hooks.push(same.clone()),
                before => {
                    hooks.push(WorkerHook::attach(shared, before.map(|before| &**before)));
                    pace.large_step().await;
                }
            }
            let index = hooks.len() - 1;
            if let Some(trial) = trials.hooks.get(&index) {
                let before =
                    previous.and_then(|previous| previous.hook_trial_of(&hooks[index], config));
                let attached = WorkerHookTrial::attach(trial, &hooks[index], before);
                hook_trials.insert(index, attached);
                pace.large_step().await;
            }
        }
        let mut components = Vec::with_capacity(snapshot.components.len());
        for shared in &snapshot.components {
            let mut before = previous
                .into_iter()
                .flat_map(|previous| &previous.components);
            match before.find(|before| Arc::ptr_eq(before.shared(), shared)) {
                Some(same) => components.push(same.clone()),
                None => {
                    components.push(WorkerHandler::attach(shared));
                    pace.large_step().await;
                }
            }
        }
        let of_hooks = snapshot
            .hooks
            .iter()
            .any(|hook| hook.plugin().ticks() || hook.waits());
        let routes = &snapshot.config.routes;
        let alike =
            previous.filter(|previous| Arc::ptr_eq(&previous.snapshot.config.routes, routes));
        let route_names = match alike {
            Some(previous) => previous.route_names.clone(),
            None => vec![OnceCell::new(); routes.len()].into(),
        };
        let of_plugins = of_hooks || !components.is_empty() || trials.ticks();
        let ticks = of_plugins || snapshot.upstreams.iter().any(|upstream| upstream.ticks());
        WorkerConfig {
            upstreams,
            hooks,
            components,
            hook_trials,
            ticks,
            route_names,
            snapshot,
            retired,
        }
    }

    pub(crate) fn upstream(&self, name: &str) -> Option<&Rc<WorkerUpstream>> {
        let index = self.snapshot.upstream_index(name)?;
        self.upstreams.get(index)
    }

    /// The same hook as `shared`, or what this configuration has in its place.
    fn hook_before(
        &self,
        shared: &Arc<SharedHook>,
        config: &HookConfig,
    ) -> Option<&Rc<WorkerHook>> {
        let same = |hook: &&Rc<WorkerHook>| Arc::ptr_eq(hook.shared(), shared);
        if let Some(same) = self.hooks.iter().find(same) {
            return Some(same);
        }
        let predecessor = self.snapshot.predecessor(config)?;
        let is_it = |hook: &&Rc<WorkerHook>| Arc::ptr_eq(hook.shared(), predecessor);
        self.hooks.iter().find(is_it)
    }

    /// What is on trial beside the same hook, or beside what this configuration has in its place.
    fn hook_trial_of(
        &self,
        hook: &Rc<WorkerHook>,
        config: &HookConfig,
    ) -> Option<&Rc<WorkerHookTrial>> {
        let before = self.hook_before(hook.shared(), config)?;
        let index = self
            .hooks
            .iter()
            .position(|known| Rc::ptr_eq(known, before))?;
        self.hook_trials.get(&index)
    }

    /// The hook that is asked about an exchange; where it is on trial, the version whose turn it is,
    /// by the exchange's `lot`, and what it takes part in.
    #[inline]
    pub(crate) fn hook(
        &self,
        index: usize,
        lot: impl FnOnce() -> u32,
    ) -> (&Rc<WorkerHook>, Option<Rc<RunInTrial>>) {
        let serving = &self.hooks[index];
        match self.hook_trials.get(&index) {
            None => (serving, None),
            Some(trial) => {
                let (hook, in_trial) = trial.choose(serving, lot());
                (hook, Some(in_trial))
            }
        }
    }

    /// The index of a hook that serves; none of one that is on trial beside it.
    pub(crate) fn hook_index(&self, hook: &Rc<WorkerHook>) -> Option<usize> {
        self.hooks.iter().position(|known| Rc::ptr_eq(known, hook))
    }

    /// Calls the plugins whose time has come, and has those come back that have failed; false where
    /// none wants to be called.
    pub(crate) async fn tick(&self, clock: &Clock) -> bool {
        let mut pace = Pace::default();
        let on_trial = self.hook_trials.values().map(|trial| trial.candidate());
        for hook in self.hooks.iter().chain(on_trial) {
            hook.tick(clock.micros(Instant::now()));
            pace.small_step().await;
        }
        for component in &self.components {
            component.trim();
            pace.small_step().await;
        }
        for upstream in &self.upstreams {
            upstream.tick(clock.micros(Instant::now()));
            pace.small_step().await;
        }
        self.ticks
    }

    /// The host of a route, as the file has it. Made when it is first asked for: a configuration
    /// may have thousands, and takes effect in no time.
    pub(crate) fn route_name(&self, route: usize) -> Rc<str> {
        let spelled = || self.snapshot.config.routes[route].host.spelling().into();
        self.route_names[route].get_or_init(spelled).clone()
    }

    /// The index among the configuration's streams of what is at a
    /// [position](Snapshot::position), if it is a stream.
    pub(crate) fn stream_at(&self, position: usize) -> Option<usize> {
        position.checked_sub(self.snapshot.config.listeners.len())
    }

    /// The logs of an exchange on a listener that took a route, if it got that far.
    pub(crate) fn logs(&self, listener: usize, route: Option<usize>) -> &[UsedLog] {
        match route.and_then(|route| self.snapshot.route_logs[route].as_ref()) {
            Some(logs) => logs,
            None => &self.snapshot.listener_logs[listener],
        }
    }

    /// How an exchange on a listener is traced that took a route, if it got that far; none where it
    /// is not.
    pub(crate) fn trace_rule(
        &self,
        listener: usize,
        route: Option<usize>,
    ) -> Option<&Arc<TraceRule>> {
        let config = &self.snapshot.config;
        let of_route = route.and_then(|route| config.routes[route].traces.as_ref());
        of_route
            .unwrap_or(&config.listeners[listener].traces)
            .as_ref()
    }
}

impl Drop for WorkerConfig {
    fn drop(&mut self) {
        self.retired.add(std::mem::take(&mut self.upstreams));
    }
}
