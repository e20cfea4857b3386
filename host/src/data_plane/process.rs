//! What all workers of the process share besides the configuration: bounds, counters, the clock.
//!
//! Descriptors are the scarce thing: each client has one, each connection to an upstream another.
//! Which side has how many follows need. A client that is busy counts twice, since it may want a
//! connection to an upstream; an idle one counts once, and makes room when a descriptor is wanted.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use super::scrapes::Scrapes;
use super::standing::{Standing, Standings};
use super::wanted::WantedUpstreams;
use crate::metrics::WorkerCells;

/// Bounds and counters that all workers share.
#[derive(Debug)]
pub(crate) struct Process {
    max_connections: AtomicUsize,
    connections: AtomicUsize,
    descriptors: AtomicUsize,
    upstream_connections: AtomicUsize,
    files: AtomicUsize,
    accepted: AtomicU64,
    leaving: AtomicBool,
    pub(crate) workers: Box<[WorkerShare]>,
    /// By worker, likewise.
    pub(crate) standing: Box<[Standing]>,
    pub(crate) counted: Box<[WorkerCells]>,
    pub(crate) hostname: Box<str>,
    pub(crate) clock: Clock,
    pub(crate) wanted: WantedUpstreams,
    pub(crate) scrapes: Scrapes,
}

/// A descriptor of a file, until it is dropped.
#[derive(Debug)]
pub(crate) struct FileDescriptor(Arc<Process>);

impl Drop for FileDescriptor {
    fn drop(&mut self) {
        self.0.files.fetch_sub(1, AcqRel);
    }
}

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionBounds {
    /// From clients, at most.
    pub(crate) clients: usize,
    /// Descriptors for connections of both sides together.
    pub(crate) descriptors: usize,
}

/// What one worker lets the others know and ask. Nothing here is written for a request.
#[derive(Debug, Default)]
#[repr(align(128))] // a cache line of its own, and the one that is fetched along with it
pub(crate) struct WorkerShare {
    /// How many of its clients were idle when it last said so: as it took a connection or lost one,
    /// and once a second.
    pub(crate) idle: AtomicUsize,
    /// Of how many it is asked to make room, for idle clients and for those that keep others
    /// waiting with half a request.
    pub(crate) asked_of_idle: AtomicUsize,
    pub(crate) asked_of_opening: AtomicUsize,
    /// Wakes the task that does so.
    pub(crate) asked: Notify,
}

/// The part of all descriptors that is left to clients, whatever streams of HTTP/2 want.
const CLIENTS_SHARE: usize = 8;
/// The part of all descriptors that pipes may have.
const PIPES_SHARE: usize = 16;

impl Process {
    pub(crate) fn new(
        bounds: ConnectionBounds,
        workers: usize,
        hostname: Box<str>,
        (wanted, scrapes): (WantedUpstreams, Scrapes),
    ) -> Process {
        Process {
            max_connections: AtomicUsize::new(bounds.clients),
            connections: AtomicUsize::new(0),
            descriptors: AtomicUsize::new(bounds.descriptors),
            upstream_connections: AtomicUsize::new(0),
            files: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
            workers: (0..workers).map(|_| WorkerShare::default()).collect(),
            standing: (0..workers).map(|_| Standing::default()).collect(),
            counted: (0..workers).map(|_| WorkerCells::default()).collect(),
            hostname,
            clock: Clock::new(),
            wanted,
            scrapes,
        }
    }

    /// Replaces the bounds; what is open stays open.
    pub(crate) fn bound(&self, bounds: ConnectionBounds) {
        self.max_connections.store(bounds.clients, Relaxed);
        self.descriptors.store(bounds.descriptors, Relaxed);
    }

    /// From now on load balancers are told to send requests elsewhere.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Relaxed);
    }

    /// Whether it was told to end, and nobody takes its place.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Relaxed)
    }

    /// Connections from clients.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// What requests and clients are doing.
    pub(crate) fn standings(&self) -> Standings {
        Standings::of(&self.standing)
    }

    /// Connections accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Counts a connection that was accepted; its number, from 1.
    pub(crate) fn accept(&self) -> u64 {
        self.accepted.fetch_add(1, Relaxed) + 1
    }

    /// Counts a connection from a client, until [`Process::client_left`].
    pub(crate) fn client_came(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn client_left(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// Whether another client can be served: it can have a descriptor, and so can its request.
    pub(crate) fn has_room(&self) -> bool {
        let connections = self.connections();
        if connections >= self.max_connections.load(Relaxed) {
            return false;
        }
        let descriptors = self.descriptors.load(Relaxed);
        let upstream = self.upstream_connections.load(Relaxed) + self.files.load(Relaxed);
        let (clients, busy) = (connections + 1, connections + 1);
        if clients + busy.max(upstream + 1) <= descriptors {
            return true;
        }
        let busy = busy.saturating_sub(self.idle_clients());
        clients + busy.max(upstream + 1) <= descriptors
    }

    /// Whether it is descriptors that are too few for another client, and not the configuration
    /// that wants no more.
    pub(crate) fn is_short_of_descriptors(&self) -> bool {
        !self.has_room() && self.connections() < self.max_connections.load(Relaxed)
    }

    /// Asks the worker that said to have most idle clients, of all but `asker`, to have one make
    /// room; false where none said so.
    pub(crate) fn ask_for_room(&self, asker: usize) -> bool {
        let others = self.workers.iter().enumerate();
        let others = others.filter(|(index, _)| *index != asker);
        let idle = |worker: &WorkerShare| worker.idle.load(Relaxed);
        let most = others.max_by_key(|(_, worker)| idle(worker));
        let Some((_, most)) = most.filter(|(_, most)| idle(most) > 0) else {
            return false;
        };
        // Counted down at once, so that the next caller may ask another worker; that worker soon
        // publishes its own count.
        let one_less = |idle: usize| Some(idle.saturating_sub(1));
        let _ = most.idle.fetch_update(Relaxed, Relaxed, one_less);
        most.asked_of_idle.fetch_add(1, Relaxed);
        most.asked.notify_one();
        true
    }

    fn idle_clients(&self) -> usize {
        let idle = self.workers.iter().map(|worker| worker.idle.load(Relaxed));
        idle.sum()
    }

    /// Takes a descriptor for a connection to an upstream; false where none is left. Beyond one for
    /// each client, a part is left to clients that are still to come.
    pub(crate) fn take_upstream_connection(&self) -> bool {
        let bound = self.upstream_bound();
        self.upstream_connections
            .fetch_update(AcqRel, Relaxed, |open| (open < bound).then_some(open + 1))
            .is_ok()
    }

    /// Whether [`Process::take_upstream_connection`] would take one.
    pub(crate) fn has_upstream_connection_left(&self) -> bool {
        self.upstream_connections() < self.upstream_bound()
    }

    fn upstream_bound(&self) -> usize {
        let bound = self.beside_clients();
        bound.saturating_sub(self.files.load(Relaxed))
    }

    /// Descriptors that there are now for connections to upstreams and for files.
    fn beside_clients(&self) -> usize {
        let descriptors = self.descriptors.load(Relaxed);
        let connections = self.connections();
        let bound = descriptors.saturating_sub(connections);
        let for_streams = bound.saturating_sub(descriptors / CLIENTS_SHARE);
        bound.min(connections.max(for_streams))
    }

    /// Takes a descriptor for a file that a client gets, in place of one for a connection to an
    /// upstream; none where none is left.
    pub(crate) fn take_file(self: &Arc<Process>) -> Option<FileDescriptor> {
        let bound = self.beside_clients();
        let bound = bound.saturating_sub(self.upstream_connections());
        self.files
            .fetch_update(AcqRel, Relaxed, |open| (open < bound).then_some(open + 1))
            .ok()?;
        Some(FileDescriptor(self.clone()))
    }

    /// Gives back what [`Process::take_upstream_connection`] took.
    pub(crate) fn give_upstream_connection(&self) {
        self.upstream_connections.fetch_sub(1, AcqRel);
    }

    /// Connections to upstreams, idle ones included.
    pub(crate) fn upstream_connections(&self) -> usize {
        self.upstream_connections.load(Relaxed)
    }

    /// How many of them one client may keep busy in one worker where they are scarce: half of those
    /// that there may be, divided among the workers.
    pub(crate) fn client_share(&self) -> usize {
        let descriptors = self.descriptors.load(Relaxed);
        let left = descriptors.saturating_sub(self.connections());
        (left / 2 / self.workers.len().max(1)).max(1)
    }

    /// Pipes that a worker may have, of two descriptors each: of a sixteenth of what there are, its
    /// share, and none where connections are short of them.
    pub(crate) fn pipes_of_worker(&self) -> usize {
        let pipes = self.descriptors.load(Relaxed) / PIPES_SHARE / 2;
        match self.upstream_connections_are_scarce() {
            true => 0,
            false => pipes / self.workers.len().max(1),
        }
    }

    /// Whether connections to upstreams have half of what there is for them, so that an idle one
    /// should rather be closed: only its own worker could, for another one.
    pub(crate) fn upstream_connections_are_scarce(&self) -> bool {
        let left = self
            .descriptors
            .load(Relaxed)
            .saturating_sub(self.connections());
        self.upstream_connections() + self.files.load(Relaxed) > left / 2
    }
}

/// The clock of health accounting and of policies: monotonic, its seconds those of the wall clock
/// when the process started.
///
/// There is one for the process, which workers copy: moments that one worker notes in an
/// endpoint's accounting are compared by others, and a policy with `scope = process` is told the
/// time by all of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    at_start: Duration,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        let at_start = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Clock {
            started: Instant::now(),
            at_start,
        }
    }

    /// Whole seconds, as nginx counts failures.
    pub(crate) fn seconds(&self) -> u64 {
        self.seconds_at(Instant::now())
    }

    pub(crate) fn seconds_at(&self, moment: Instant) -> u64 {
        self.since_1970(moment).as_secs()
    }

    fn since_1970(&self, moment: Instant) -> Duration {
        self.at_start + moment.saturating_duration_since(self.started)
    }

    pub(crate) fn micros(&self, moment: Instant) -> u64 {
        self.seconds_and_micros(moment).1
    }

    /// The same moment in whole seconds and in microseconds, both since 1970.
    pub(crate) fn seconds_and_micros(&self, moment: Instant) -> (u64, u64) {
        let since = self.since_1970(moment);
        (since.as_secs(), since.as_micros() as u64)
    }
}
