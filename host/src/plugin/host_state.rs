//! What the host keeps for one instance, whatever its world.

use std::sync::Arc;
use std::time::Instant;

use tracing::Level;

use super::clock::Stopwatch;
use super::guest_log::{GuestLog, LineBuffer};
use super::limits::InstanceLimits;
use super::world::World;

/// The data of an instance's store.
pub(super) struct HostState<W: World> {
    pub(super) limits: InstanceLimits,
    pub(super) watch: Stopwatch,
    pub(super) log: GuestLog,
    pub(super) stdout: LineBuffer,
    pub(super) stderr: LineBuffer,
    /// Where this instance's monotonic clock stands at 0.
    pub(super) epoch: Instant,
    /// What belongs to its world.
    pub(super) world: W::State,
}

impl<W: World> HostState<W> {
    pub(super) fn new(plugin: &Arc<str>, limits: InstanceLimits, world: W::State) -> Self {
        HostState {
            limits,
            watch: Stopwatch::default(),
            log: GuestLog::new(plugin.clone()),
            stdout: LineBuffer::default(),
            stderr: LineBuffer::default(),
            epoch: Instant::now(),
            world,
        }
    }

    /// Logs what the plugin left unfinished on its standard output.
    pub(super) fn flush(&mut self) {
        self.stdout.flush(&mut self.log, Level::INFO);
        self.stderr.flush(&mut self.log, Level::WARN);
    }
}
