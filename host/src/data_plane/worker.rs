//! What the connections of one worker share without locks. Its thread, and the orders that it
//! heeds, are in [`serve`](super::serve).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::buffers::Buffers;
use super::content_coding::Spare;
use super::drain::Drain;
use super::host_names::HostNames;
use super::open_files::OpenFiles;
use super::process::{Clock, Process};
use super::request_ids::RequestIds;
use super::standing::Standing;
use super::upstream::{ClientConnections, DescriptorSource, Room};
use super::worker_config::{Pace, RetiredUpstreams, Snapshot, WorkerConfig};
use crate::access_log::LogBuffers;
use crate::http::head::{RequestHead, ResponseHead};
use crate::metrics::WorkerCells;

#[cfg(test)]
pub(super) mod tests;

/// Spare heads that are kept, of requests and of responses.
const HEADS_KEPT: usize = 64;

/// What the connections of one thread share.
pub(crate) struct Worker {
    worker_config: RefCell<Rc<WorkerConfig>>,
    /// What configurations before have left.
    pub(crate) retired: Rc<RetiredUpstreams>,
    pub(crate) process: Arc<Process>,
    /// Which of the process's workers it is.
    pub(crate) index: usize,
    pub(crate) buffers: Rc<Buffers>,
    pub(crate) open_files: OpenFiles,
    /// Of what recodes bodies.
    pub(crate) encoders: Rc<Spare>,
    /// A copy of the process's.
    pub(crate) clock: Clock,
    pub(crate) logs: RefCell<LogBuffers>,
    heads: RefCell<Vec<RequestHead>>,
    response_heads: RefCell<Vec<ResponseHead>>,
    pub(crate) drain: Rc<Drain>,
    pub(crate) request_ids: RequestIds,
    pub(crate) host_names: HostNames,
    pub(crate) client_connections: Rc<ClientConnections>,
    /// Exchanges and sessions that were numbered so far.
    numbered: Cell<u64>,
}

impl Worker {
    pub(crate) async fn new(
        index: usize,
        snapshot: Arc<Snapshot>,
        process: Arc<Process>,
        logs: LogBuffers,
    ) -> Worker {
        let retired = Rc::<RetiredUpstreams>::default();
        let worker_config = WorkerConfig::new(index, snapshot, None, retired.clone()).await;
        Worker {
            worker_config: RefCell::new(Rc::new(worker_config)),
            retired,
            clock: process.clock,
            drain: Rc::new(Drain::new(process.clone(), index)),
            buffers: Rc::new(Buffers::of(&process)),
            process,
            index,
            open_files: OpenFiles::default(),
            encoders: Rc::default(),
            logs: RefCell::new(logs),
            heads: RefCell::default(),
            response_heads: RefCell::default(),
            request_ids: RequestIds::new(),
            host_names: HostNames::default(),
            client_connections: ClientConnections::new(),
            numbered: Cell::new(0),
        }
    }

    /// Where it counts what its requests and clients are doing.
    pub(crate) fn standing(&self) -> &Standing {
        &self.process.standing[self.index]
    }

    /// Where it counts what belongs to no route and no upstream.
    pub(crate) fn counted(&self) -> &WorkerCells {
        &self.process.counted[self.index]
    }

    /// A number for an exchange or a session that no other one has, of this worker or another.
    pub(crate) fn next_number(&self) -> u64 {
        let number = self.numbered.get() + 1;
        self.numbered.set(number);
        (self.index as u64) << 48 | number
    }

    /// Serves another configuration as soon as it is attached, in one assignment between two
    /// requests. What is under way stays with the one that it began with. Returns once all
    /// upstreams have taken over from those before; requests are served all the time.
    pub(crate) async fn serve(&self, snapshot: Arc<Snapshot>) {
        let previous = self.worker_config();
        let retired = self.retired.clone();
        let next = WorkerConfig::new(self.index, snapshot, Some(&previous), retired).await;
        let next = Rc::new(next);
        self.drain.serve(&next);
        self.worker_config.replace(next.clone());
        drop(previous);
        let mut pace = Pace::default();
        for upstream in &next.upstreams {
            match upstream.take_over() {
                true => pace.large_step().await,
                false => pace.small_step().await,
            }
        }
    }

    /// The configuration in force.
    pub(crate) fn worker_config(&self) -> Rc<WorkerConfig> {
        self.worker_config.borrow().clone()
    }

    /// Has an idle client make room: the one that has been idle for longest of this worker's, else
    /// of those of the worker that said to have most. False where none is known to be idle.
    pub(crate) fn evict_idle_client(&self) -> bool {
        self.drain.evict_idle() || self.process.ask_for_room(self.index)
    }

    pub(crate) fn take_request_head(&self) -> RequestHead {
        self.heads.borrow_mut().pop().unwrap_or_default()
    }

    /// The next one may be read after a failure: it must find nothing of this client's.
    pub(crate) fn give_request_head(&self, mut head: RequestHead) {
        head.clear();
        keep(&self.heads, head);
    }

    pub(crate) fn take_response_head(&self) -> ResponseHead {
        self.response_heads.borrow_mut().pop().unwrap_or_default()
    }

    /// As [`give_request_head`](Worker::give_request_head).
    pub(crate) fn give_response_head(&self, mut head: ResponseHead) {
        head.clear();
        keep(&self.response_heads, head);
    }
}

fn keep<T>(heads: &RefCell<Vec<T>>, head: T) {
    let mut heads = heads.borrow_mut();
    if heads.len() < HEADS_KEPT {
        heads.push(head);
    }
}

impl DescriptorSource for Worker {
    fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Closes the files that are kept open, else an idle connection of HTTP/1 if there is one, which
    /// takes no time.
    fn make_room(&self) -> Room {
        if self.open_files.clear() {
            return Room::Made;
        }
        let worker_config = self.worker_config.borrow();
        let upstreams = &worker_config.upstreams;
        if upstreams.iter().any(|upstream| upstream.close_idle()) {
            return Room::Made;
        }
        let rooms = upstreams.iter().map(|upstream| upstream.close_idle_http2());
        let mut found = rooms.filter(|room| !matches!(room, Room::Missing));
        found.next().unwrap_or(Room::Missing)
    }

    fn evict_idle_client(&self) {
        Worker::evict_idle_client(self);
    }
}
