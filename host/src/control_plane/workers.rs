//! The workers: started, told what to do, and started again should one die.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::sync::{oneshot, watch};

use super::sockets::Sockets;
use crate::access_log::AccessLogs;
use crate::data_plane::process::{Clock, ConnectionBounds, Process};
use crate::data_plane::serve::{self, Order, ServeOrder};
use crate::data_plane::stream::Socket;
use crate::data_plane::upstream::PolicyStates;
use crate::data_plane::worker_config::{ListenerId, Snapshot};
use crate::fault_injection;

/// Before a worker that cannot be replaced, for want of memory or descriptors, is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// The worker threads of the process.
pub(super) struct Workers {
    workers: RefCell<Vec<WorkerHandle>>,
    logs: Arc<AccessLogs>,
    ended: UnboundedSender<WorkerEnd>,
    stats: WorkerCounts,
}

/// What is known of the workers, readable from any thread.
#[derive(Clone)]
pub(super) struct WorkerCounts {
    pub(super) workers: usize,
    process: Arc<Process>,
    restarts: Arc<AtomicU64>,
    ending: watch::Sender<bool>,
    /// Another process starts, to take over.
    upgrading: Arc<AtomicBool>,
}

impl WorkerCounts {
    /// Downstream connections.
    pub(super) fn connections(&self) -> usize {
        self.process.connections()
    }

    /// Downstream connections since the start.
    pub(super) fn accepted(&self) -> u64 {
        self.process.accepted()
    }

    /// What all workers share, with what each of them counts.
    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    /// The clock that endpoints are judged by.
    pub(super) fn clock(&self) -> Clock {
        self.process.clock
    }

    /// How many workers have died and were replaced.
    pub(super) fn restarts(&self) -> u64 {
        self.restarts.load(Relaxed)
    }

    /// Whether the workers were told to drain or to stop.
    pub(super) fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    /// Whether the process drains, or is about to.
    pub(super) fn is_draining(&self) -> bool {
        self.is_ending() || self.process.is_leaving()
    }

    pub(super) fn note_upgrading(&self, upgrading: bool) {
        self.upgrading.store(upgrading, Relaxed);
    }

    /// Whether another process starts, which has read by now what it will serve.
    pub(super) fn is_upgrading(&self) -> bool {
        self.upgrading.load(Relaxed)
    }

    /// Waits until they were.
    pub(super) async fn ending(&self) {
        // The sender is our own.
        let _ = self.ending.subscribe().wait_for(|is| *is).await;
    }
}

/// What one worker is to accept on.
pub(super) type WorkerSockets = Vec<(ListenerId, Socket)>;

/// One of them.
struct WorkerHandle {
    orders: UnboundedSender<Order>,
    thread: JoinHandle<()>,
}

/// A worker has ended: which one, and whether it was meant to.
pub(super) struct WorkerEnd {
    worker: usize,
    pub(super) unasked: bool,
}

impl Workers {
    /// Starts the workers; what comes back tells of those that ended.
    ///
    /// # Errors
    /// Where threads or descriptors have run out.
    pub(super) fn start(
        snapshot: &Arc<Snapshot>,
        sockets: &Sockets,
        process: Arc<Process>,
        logs: Arc<AccessLogs>,
    ) -> anyhow::Result<(Rc<Workers>, UnboundedReceiver<WorkerEnd>)> {
        let (ended, ends) = unbounded_channel();
        let workers = Workers {
            workers: RefCell::default(),
            logs,
            ended,
            stats: WorkerCounts {
                workers: snapshot.config.server.workers,
                process,
                restarts: Arc::default(),
                ending: watch::Sender::new(false),
                upgrading: Arc::default(),
            },
        };
        for index in 0..workers.stats.workers {
            let hand = workers.spawn(index, snapshot, sockets)?;
            workers.workers.borrow_mut().push(hand);
        }
        Ok((Rc::new(workers), ends))
    }

    fn spawn(
        &self,
        index: usize,
        snapshot: &Arc<Snapshot>,
        sockets: &Sockets,
    ) -> anyhow::Result<WorkerHandle> {
        let (orders, received) = unbounded_channel();
        let (snapshot, process) = (snapshot.clone(), self.stats.process.clone());
        let (logs, sockets) = (
            self.logs.buffers(),
            sockets.of_worker(index, self.stats.workers)?,
        );
        let ended = self.ended.clone();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                // Says so however the thread ends, by a panic too.
                let mut end = ExitGuard {
                    index,
                    ended,
                    unasked: true,
                };
                match serve::run(index, snapshot, process, logs, sockets, received) {
                    Ok(()) => end.unasked = false,
                    Err(error) => tracing::error!("a worker cannot run: {error}"),
                }
            })?;
        Ok(WorkerHandle { orders, thread })
    }

    pub(super) fn stats(&self) -> &WorkerCounts {
        &self.stats
    }

    /// The bounds on connections, of all workers together.
    pub(super) fn bound_connections(&self, bounds: ConnectionBounds) {
        self.stats.process.bound(bounds);
    }

    /// The sockets of listeners for each worker.
    ///
    /// # Errors
    /// Where descriptors have run out.
    pub(super) fn share_out(&self, opened: &Sockets) -> io::Result<Vec<WorkerSockets>> {
        let workers = self.stats.workers;
        let shares = (0..workers).map(|index| opened.of_worker(index, workers));
        shares.collect()
    }

    /// Has every worker serve a snapshot, and waits until all do. `opened`: for each worker, the
    /// sockets of listeners that are new in it.
    pub(super) async fn serve(&self, snapshot: &Arc<Snapshot>, opened: Vec<WorkerSockets>) {
        let (done, mut all_done) = channel(1);
        for (hand, opened) in self.workers.borrow().iter().zip(opened) {
            // A worker that has died is replaced by one that serves the new snapshot anyway.
            let _ = hand.orders.send(Order::Serve(ServeOrder {
                snapshot: snapshot.clone(),
                opened,
                done: done.clone(),
            }));
        }
        drop(done);
        // Nothing is ever sent: it ends when the last worker has dropped its sender.
        let _: Option<()> = all_done.recv().await;
    }

    /// Waits until every worker has taken an order, which one does not that hangs.
    pub(super) async fn respond(&self) {
        let (responded, mut all_responded) = channel(1);
        self.tell(|| Order::Respond(responded.clone()));
        drop(responded);
        let _: Option<()> = all_responded.recv().await;
    }

    /// Has the first worker tell what the policies of an upstream know.
    pub(super) fn ask_states(&self, upstream: String, answer: oneshot::Sender<PolicyStates>) {
        if let Some(first) = self.workers.borrow().first() {
            // One that has ended knows nothing.
            let _ = first.orders.send(Order::TellStates(upstream, answer));
        }
    }

    pub(super) fn drain(&self) {
        self.stats.ending.send_replace(true);
        self.tell(|| Order::Drain);
    }

    pub(super) fn stop(&self) {
        self.stats.ending.send_replace(true);
        self.tell(|| Order::Stop);
    }

    fn tell(&self, order: impl Fn() -> Order) {
        for hand in &*self.workers.borrow() {
            // A worker that has ended needs no order.
            let _ = hand.orders.send(order());
        }
    }

    /// Handles the end of a worker: replaces it if it was not meant to end. True once no worker is
    /// left.
    pub(super) fn ended(
        &self,
        end: &WorkerEnd,
        snapshot: &Arc<Snapshot>,
        sockets: &Sockets,
    ) -> bool {
        if end.unasked && !self.stats.is_ending() {
            let replaced = match fault_injection::fails("respawn") {
                true => Err(anyhow::anyhow!("a fault was asked for")),
                false => self.spawn(end.worker, snapshot, sockets),
            };
            match replaced {
                Ok(hand) => {
                    self.stats.restarts.fetch_add(1, Relaxed);
                    tracing::error!("worker {} has died and is replaced", end.worker);
                    let old = std::mem::replace(&mut self.workers.borrow_mut()[end.worker], hand);
                    // It has reported its end and is about to return; its panic, if any, is in the
                    // log.
                    let _ = old.thread.join();
                }
                Err(error) => {
                    tracing::error!(
                        "worker {} has died and cannot be replaced, which is tried again: {error:#}",
                        end.worker
                    );
                    self.try_again(end.worker);
                }
            }
            return false;
        }
        self.workers
            .borrow()
            .iter()
            .all(|hand| hand.orders.is_closed())
    }

    /// Has the end of a worker looked at once more in a while: until it is replaced, its clients
    /// wait in the backlog of its sockets, which the process keeps.
    fn try_again(&self, worker: usize) {
        let ended = self.ended.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(TRY_AGAIN).await;
            // The receiver is there as long as the process is.
            let _ = ended.send(WorkerEnd {
                worker,
                unasked: true,
            });
        });
    }

    /// Waits for the threads to end. True if all of them ended well.
    pub(super) fn join(&self) -> bool {
        let mut well = true;
        for hand in self.workers.take() {
            well &= hand.thread.join().is_ok();
        }
        well
    }
}

struct ExitGuard {
    index: usize,
    ended: UnboundedSender<WorkerEnd>,
    unasked: bool,
}

impl Drop for ExitGuard {
    fn drop(&mut self) {
        // The receiver is there as long as the process is.
        let _ = self.ended.send(WorkerEnd {
            worker: self.index,
            unasked: self.unasked,
        });
    }
}
