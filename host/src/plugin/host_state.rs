//! What the host keeps for one instance.

use std::sync::Arc;
use std::time::Instant;

use tracing::Level;

use super::clock::Stopwatch;
use super::guest_log::{GuestLog, LineBuffer};
use super::imports::{Answers, CallState, Surroundings};
use super::limits::InstanceLimits;
use super::stats::Figures;
use super::waiting::{CallWatch, Waiting};
use crate::store::PluginStore;

/// The data of an instance's store.
pub(super) struct HostState {
    plugin: Arc<str>,
    pub(super) limits: InstanceLimits,
    pub(super) watch: Stopwatch,
    pub(super) log: GuestLog,
    pub(super) stdout: LineBuffer,
    pub(super) stderr: LineBuffer,
    /// Where this instance's monotonic clock stands at 0.
    pub(super) epoch: Instant,
    /// What it is there for.
    pub(super) surroundings: Surroundings,
    /// The call under way.
    pub(super) call: CallState,
    /// What it counts itself; none before it is instantiated.
    pub(super) figures: Option<Figures>,
    /// What it shares with all others of its plugin; none before it is instantiated.
    pub(super) store: Option<PluginStore>,
    /// Buffers for what it asks.
    pub(super) answers: Answers,
    /// Measures calls that wait.
    pub(super) call_watch: CallWatch,
    /// What it waits with; made when it is first asked for, and never for plugins that do not wait.
    waiting: Option<Box<Waiting>>,
    /// The time of its last call, in microseconds.
    latest_us: u64,
}

impl HostState {
    pub(super) fn new(
        plugin: &Arc<str>,
        limits: InstanceLimits,
        surroundings: Surroundings,
    ) -> HostState {
        HostState {
            plugin: plugin.clone(),
            limits,
            watch: Stopwatch::default(),
            log: GuestLog::new(plugin.clone()),
            stdout: LineBuffer::default(),
            stderr: LineBuffer::default(),
            epoch: Instant::now(),
            surroundings,
            call: CallState::default(),
            figures: None,
            store: None,
            answers: Answers::default(),
            call_watch: CallWatch::default(),
            waiting: None,
            latest_us: 0,
        }
    }

    /// The time that a call is told. A worker looks at the clock before it has its turn with an
    /// instance that all workers share, and time must not go back.
    #[inline]
    pub(super) fn now_us(&mut self, now_us: u64) -> u64 {
        self.latest_us = self.latest_us.max(now_us);
        self.latest_us
    }

    /// What it waits with.
    pub(super) fn waiting(&mut self) -> &mut Waiting {
        let HostState {
            waiting,
            plugin,
            surroundings,
            ..
        } = self;
        waiting
            .get_or_insert_with(|| Box::new(Waiting::new(plugin, surroundings.reachable.clone())))
    }

    /// Logs what the plugin left unfinished on its standard output.
    pub(super) fn flush(&mut self) {
        self.stdout.flush(&mut self.log, Level::INFO);
        self.stderr.flush(&mut self.log, Level::WARN);
    }
}
