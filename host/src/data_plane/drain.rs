//! Tells connections which configuration to serve next, and when to close: all of them when the
//! worker drains, those of a listener that a new configuration drops, the longest idle ones when
//! others need room.
//!
//! Each connection and each accepting task owns a slot with its waker. Checking for shutdown is
//! then one comparison per poll.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::process::Process;
use super::slots::{Activity, Slots};
use super::standing::Standing;
use super::worker_config::{ListenerId, WorkerConfig};

/// Grace period for an idle connection that is to be closed: a request that is already on the wire
/// is answered rather than reset, and a connection that was busy a moment ago is likely to bring
/// one.
pub(crate) const PARTING: Duration = Duration::from_secs(1);

/// How long a worker that drains waits for a client to send a whole request, its handshake and its
/// PROXY header included.
const OPENING_TIME: Duration = Duration::from_secs(3);

/// A connection among those of its worker.
pub(crate) struct ConnectionGuard {
    slot: ShutdownSlot,
    /// It is counted as one without a request.
    is_waiting: Cell<bool>,
}

impl ConnectionGuard {
    /// Counts a connection of the acceptor's listener while it lives. It is to say a whole request
    /// before it is of more use than another one.
    pub(crate) fn new(acceptor: &ShutdownSlot) -> ConnectionGuard {
        acceptor.drain.process.client_came();
        acceptor.drain.publish_idle();
        let activity = Activity::Opening(Instant::now());
        let slot = ShutdownSlot::new(acceptor.drain.clone(), acceptor.listener.clone(), activity);
        ConnectionGuard {
            slot,
            is_waiting: Cell::new(false),
        }
    }

    pub(crate) fn slot(&self) -> &ShutdownSlot {
        &self.slot
    }

    /// A whole request is there, or a session: it is not asked to make room until it is idle.
    pub(crate) fn is_busy(&self) {
        self.slot.set(Activity::Busy);
    }

    /// Its answer is still to leave: as [`is_busy`](Self::is_busy), but if it was told to make room, it
    /// does so then.
    pub(crate) fn is_sending(&self) {
        if self.slot.activity() != Activity::Leaving {
            self.slot.set(Activity::Busy);
        }
    }

    /// All that was asked is answered.
    pub(crate) fn is_idle(&self) {
        self.slot.set(Activity::Idle);
    }

    /// Whether the connection is counted as one without a request.
    pub(crate) fn set_waiting(&self, is_waiting: bool) {
        if self.is_waiting.replace(is_waiting) != is_waiting {
            let standing = self.slot.drain.standing();
            match is_waiting {
                true => standing.begins_to_wait(),
                false => standing.waits_no_longer(),
            }
        }
    }

    /// A request began then, and is not there as a whole: it is no longer idle. If it was told to
    /// make room, it still is.
    pub(crate) fn is_opening(&self, since: Instant) {
        // Busy: with the request before, which came together with the beginning of this one.
        if matches!(self.slot.activity(), Activity::Idle | Activity::Busy) {
            self.slot.set(Activity::Opening(since));
        }
    }

    /// Works on what comes before the connection's requests; none if it has to make room first.
    pub(crate) async fn unless_evicted<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        #[allow(clippy::disallowed_methods, reason = "the work bounds its waits")]
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => self.slot.poll_evicted(cx).map(|()| None),
        })
        .await
    }

    /// The state of the listener that the connection came in on.
    pub(crate) fn listener(&self) -> &Rc<ListenerState> {
        &self.slot.listener
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.set_waiting(false);
        self.slot.set(Activity::Busy);
        self.slot.drain.process.client_left();
        self.slot.drain.publish_idle();
    }
}

/// The slot of a connection, or of a task that accepts them, among those of its worker.
pub(crate) struct ShutdownSlot {
    drain: Rc<Drain>,
    index: usize,
    listener: Rc<ListenerState>,
}

/// What the connections of one listener, or stream, serve next, and whether they are to end.
pub(crate) struct ListenerState {
    /// The worker drains, or the configuration in force does not have the listener.
    closing: Cell<bool>,
    /// The configuration in force; of one that is closing, the last one that had it.
    worker_config: RefCell<Rc<WorkerConfig>>,
    /// See [`Snapshot::position`](super::worker_config::Snapshot::position).
    position: Cell<usize>,
}

impl ListenerState {
    /// Whether no further request is wanted.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// What the next request is served with.
    pub(crate) fn worker_config(&self) -> Rc<WorkerConfig> {
        self.worker_config.borrow().clone()
    }

    /// The position of the listener in [`worker_config`](Self::worker_config): the index of a
    /// listener, or with the number of listeners added that of a stream.
    pub(crate) fn position(&self) -> usize {
        self.position.get()
    }
}

impl ShutdownSlot {
    fn new(drain: Rc<Drain>, listener: Rc<ListenerState>, activity: Activity) -> ShutdownSlot {
        let index = drain.slots.borrow_mut().insert(activity);
        ShutdownSlot {
            drain,
            index,
            listener,
        }
    }

    pub(crate) fn listener(&self) -> &Rc<ListenerState> {
        &self.listener
    }

    /// Ready once no further request is wanted; else wakes the task when it comes to that.
    pub(crate) fn poll_closing(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.listener.is_closing() {
            return Poll::Ready(());
        }
        self.drain.slots.borrow_mut().watch(self.index, cx.waker());
        Poll::Pending
    }

    /// Ready once the connection is to make room for another one; else wakes the task when it comes
    /// to that.
    pub(crate) fn poll_evicted(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut slots = self.drain.slots.borrow_mut();
        if slots.activity(self.index) == Activity::Leaving {
            return Poll::Ready(());
        }
        slots.watch(self.index, cx.waker());
        Poll::Pending
    }

    fn activity(&self) -> Activity {
        self.drain.slots.borrow().activity(self.index)
    }

    fn set(&self, activity: Activity) {
        self.drain.slots.borrow_mut().set(self.index, activity);
    }
}

impl Drop for ShutdownSlot {
    fn drop(&mut self) {
        self.drain.leave(self.index);
    }
}

/// Tells idle connections that they are to end, and knows when the last one has gone.
pub(crate) struct Drain {
    process: Arc<Process>,
    /// Which of the process's workers it is of.
    worker: usize,
    draining: Cell<bool>,
    /// Those that are not closing.
    listeners: RefCell<HashMap<ListenerId, Rc<ListenerState>>>,
    slots: RefCell<Slots>,
    last: RefCell<Option<Waker>>,
}

impl Drain {
    pub(crate) fn new(process: Arc<Process>, worker: usize) -> Drain {
        Drain {
            process,
            worker,
            draining: Cell::new(false),
            listeners: RefCell::default(),
            slots: RefCell::default(),
            last: RefCell::default(),
        }
    }

    /// A slot for a task that accepts connections on a listener; none where the configuration does
    /// not have it.
    pub(crate) fn open(
        self: &Rc<Self>,
        listener: ListenerId,
        worker_config: &Rc<WorkerConfig>,
    ) -> Option<ShutdownSlot> {
        let position = worker_config.snapshot.position(listener)?;
        let mut listeners = self.listeners.borrow_mut();
        let state = listeners.entry(listener).or_insert_with(|| {
            Rc::new(ListenerState {
                closing: Cell::new(false),
                worker_config: RefCell::new(worker_config.clone()),
                position: Cell::new(position),
            })
        });
        Some(ShutdownSlot::new(
            self.clone(),
            state.clone(),
            Activity::Busy,
        ))
    }

    /// Has the next requests served with a configuration. The connections of listeners that it does
    /// not have are to end, with the configuration before.
    pub(crate) fn serve(&self, worker_config: &Rc<WorkerConfig>) {
        self.close_unless(|listener, state| {
            let Some(position) = worker_config.snapshot.position(*listener) else {
                return false;
            };
            state.worker_config.replace(worker_config.clone());
            state.position.set(position);
            true
        });
    }

    /// Every connection is to end.
    pub(crate) fn begin(&self) {
        self.draining.set(true);
        self.close_unless(|_, _| false);
    }

    fn close_unless(&self, stays: impl Fn(&ListenerId, &ListenerState) -> bool) {
        let mut closed = false;
        self.listeners.borrow_mut().retain(|listener, state| {
            let stays = stays(listener, state);
            if !stays {
                state.closing.set(true);
                closed = true;
            }
            stays
        });
        if closed {
            self.slots.borrow_mut().wake_all();
        }
    }

    /// Tells the connection that has been idle for longest to make room; false where none is idle.
    pub(crate) fn evict_idle(&self) -> bool {
        self.slots.borrow_mut().evict_idle()
    }

    /// Tells the connection that has kept others waiting for longest with less than a request to
    /// make room, if it has since `before`; false where there is none.
    pub(crate) fn evict_opening(&self, before: Instant) -> bool {
        self.slots.borrow_mut().evict_opening(before)
    }

    /// Has clients leave that would hold up the end of a worker that drains: those that have had
    /// all their answers for [`PARTING`], although they still send, and those that have not sent
    /// a whole request within [`OPENING_TIME`]. Goes on until it is dropped.
    pub(crate) async fn evict_slow(&self) {
        let began = Instant::now();
        loop {
            let mark = self.slots.borrow().mark();
            tokio::time::sleep(PARTING).await;
            self.slots.borrow_mut().evict_idle_since(mark);
            let before = Instant::now().checked_sub(OPENING_TIME);
            if let Some(before) = before.filter(|before| *before >= began) {
                while self.evict_opening(before) {}
            }
        }
    }

    /// Where the worker counts what its connections are doing.
    fn standing(&self) -> &Standing {
        &self.process.standing[self.worker]
    }

    /// Tells the other workers how many connections are idle.
    pub(crate) fn publish_idle(&self) {
        let idle = self.slots.borrow().idle();
        self.process.workers[self.worker].idle.store(idle, Relaxed);
    }

    fn leave(&self, slot: usize) {
        let mut slots = self.slots.borrow_mut();
        slots.remove(slot);
        if slots.is_empty()
            && self.draining.get()
            && let Some(last) = self.last.take()
        {
            last.wake();
        }
    }

    /// Returns once the last one has gone, of a worker that drains.
    pub(crate) async fn done(&self) {
        #[allow(
            clippy::disallowed_methods,
            reason = "by `shutdown_timeout`, which the control plane looks after"
        )]
        poll_fn(|cx| {
            if self.slots.borrow().is_empty() {
                return Poll::Ready(());
            }
            *self.last.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
