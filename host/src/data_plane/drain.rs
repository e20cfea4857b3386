//! The end of connections: of all when the worker drains, of a listener's when the configuration
//! has it no more.
//!
//! Whoever accepts or serves connections has a place here, with its waker, so that waiting for a
//! request costs a comparison and no registration.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::worker::{ListenerId, Worker, WorkerConfig};

/// How long an idle connection may still bring a request when it is to be closed: closing it under
/// a client's request would be an error to the client, and one that was busy a moment ago is likely
/// to bring one.
pub(crate) const PARTING: Duration = Duration::from_secs(1);

/// A connection among those of its worker.
pub(crate) struct ConnectionGuard(ShutdownSlot);

impl ConnectionGuard {
    /// Counts a connection while it lives.
    pub(crate) fn new(acceptor: &ShutdownSlot) -> ConnectionGuard {
        let ShutdownSlot { worker, gate, .. } = acceptor;
        worker.process.connections.fetch_add(1, Relaxed);
        ConnectionGuard(ShutdownSlot::new(worker.clone(), gate.clone()))
    }

    pub(crate) fn place(&self) -> &ShutdownSlot {
        &self.0
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.worker.process.connections.fetch_sub(1, Relaxed);
    }
}

/// The place of a connection, or of who accepts them, in its worker's drain.
pub(crate) struct ShutdownSlot {
    worker: Rc<Worker>,
    index: usize,
    gate: Rc<ListenerState>,
}

/// Whether the connections of a listener are to end: because the worker drains, or because the
/// listener is no more.
#[derive(Default)]
pub(crate) struct ListenerState {
    closing: Cell<bool>,
    /// The configuration that these connections end with.
    last: RefCell<Option<Rc<WorkerConfig>>>,
}

impl ListenerState {
    /// Whether no further request is wanted.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    fn close(&self, last: &Rc<WorkerConfig>) {
        self.closing.set(true);
        self.last.replace(Some(last.clone()));
    }
}

impl ShutdownSlot {
    /// A place among the connections of a listener.
    pub(crate) fn of_listener(worker: &Rc<Worker>, listener: ListenerId) -> ShutdownSlot {
        ShutdownSlot::new(worker.clone(), worker.drain.gate(listener))
    }

    fn new(worker: Rc<Worker>, gate: Rc<ListenerState>) -> ShutdownSlot {
        let index = worker.drain.places.borrow_mut().insert(None);
        ShutdownSlot {
            worker,
            index,
            gate,
        }
    }

    /// Whether no further request is wanted.
    pub(crate) fn is_closing(&self) -> bool {
        self.gate.is_closing()
    }

    pub(crate) fn gate(&self) -> &Rc<ListenerState> {
        &self.gate
    }

    /// The configuration in force; for a listener that it does not have, the last one that had it.
    pub(crate) fn worker_config(&self) -> Rc<WorkerConfig> {
        let last = self.gate.last.borrow();
        last.as_ref()
            .map_or_else(|| self.worker.worker_config(), Rc::clone)
    }

    /// Ready once no further request is wanted; else wakes the task when it comes to that.
    pub(crate) fn poll_closing(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_closing() {
            return Poll::Ready(());
        }
        match &mut self.worker.drain.places.borrow_mut()[self.index] {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

impl Drop for ShutdownSlot {
    fn drop(&mut self) {
        self.worker.drain.leave(self.index);
    }
}

/// Tells idle connections that they are to end, and knows when the last one has gone.
#[derive(Default)]
pub(crate) struct Drain {
    draining: Cell<bool>,
    gates: RefCell<HashMap<ListenerId, Rc<ListenerState>>>,
    places: RefCell<slab::Slab<Option<Waker>>>,
    last: RefCell<Option<Waker>>,
}

impl Drain {
    fn gate(&self, listener: ListenerId) -> Rc<ListenerState> {
        self.gates.borrow_mut().entry(listener).or_default().clone()
    }

    fn leave(&self, place: usize) {
        let mut places = self.places.borrow_mut();
        places.remove(place);
        if places.is_empty()
            && self.draining.get()
            && let Some(last) = self.last.take()
        {
            last.wake();
        }
    }

    /// Every connection is to end.
    pub(crate) fn begin(&self, last: &Rc<WorkerConfig>) {
        self.draining.set(true);
        self.close_others(&[], last);
    }

    /// The connections of all other listeners than these are to end, with the configuration `last`.
    pub(crate) fn close_others(&self, staying: &[ListenerId], last: &Rc<WorkerConfig>) {
        let mut closed = false;
        self.gates.borrow_mut().retain(|listener, gate| {
            let stays = staying.contains(listener);
            if !stays {
                gate.close(last);
                closed = true;
            }
            stays
        });
        if closed {
            for (_, waker) in self.places.borrow_mut().iter_mut() {
                if let Some(waker) = waker.take() {
                    waker.wake();
                }
            }
        }
    }

    /// Returns once the last one has gone, of a worker that drains.
    pub(crate) async fn done(&self) {
        poll_fn(|cx| {
            if self.places.borrow().is_empty() {
                return Poll::Ready(());
            }
            *self.last.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
