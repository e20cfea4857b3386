//! A worker's thread: its event loop, the orders that it carries out, and what it does once a
//! second.

#![allow(
    clippy::disallowed_methods,
    reason = "a worker waits for its orders for as long as it takes"
)]

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{Sender, UnboundedReceiver};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::{accept, room};
use crate::access_log::LogBuffers;
use crate::allocator;
use crate::data_plane::process::Process;
use crate::data_plane::stream::{Deferring, Socket, trim_deferred};
use crate::data_plane::upstream::PolicyStates;
use crate::data_plane::worker::Worker;
use crate::data_plane::worker_config::{ListenerId, Pace, Snapshot};
use crate::fault_injection;
use crate::plugin::deliver_late_reports;

/// How often idle connections are looked at, log lines handed over, and plugins told what they were
/// too busy to hear.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// How often plugins are called that want to be called from time to time, at the most.
const TICK: Duration = Duration::from_millis(100);
/// How often buffers that were of no use go back to the allocator.
const TRIMMING: Duration = Duration::from_secs(60);
/// Before a listener that could not be accepted on is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Orders to a worker.
pub(crate) enum Order {
    /// Serve another configuration from the next request on.
    Serve(ServeOrder),
    /// Accept no more, finish what is under way, end.
    Drain,
    /// End.
    Stop,
    /// Say that the event loop turns, by dropping this.
    Respond(Sender<()>),
    /// Tell what the policies of the upstream of this name know.
    TellStates(String, oneshot::Sender<PolicyStates>),
}

/// Another configuration.
pub(crate) struct ServeOrder {
    pub(crate) snapshot: Arc<Snapshot>,
    /// Sockets of listeners that the configuration before does not have.
    pub(crate) opened: Vec<(ListenerId, Socket)>,
    /// Dropped once the worker serves it.
    pub(crate) done: Sender<()>,
}

/// Serves on `sockets` until it is told to stop, or has drained. Called on the worker's own thread;
/// `index` tells which of the process's workers it is.
///
/// # Errors
/// Where the event loop cannot be set up, or a task has panicked without which the worker is of no
/// use. Its connections are gone then.
pub(crate) fn run(
    index: usize,
    snapshot: Arc<Snapshot>,
    process: Arc<Process>,
    logs: LogBuffers,
    sockets: Vec<(ListenerId, Socket)>,
    mut orders: UnboundedReceiver<Order>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(Default::default())?;
    runtime.block_on(async move {
        let worker = Rc::new(Worker::new(index, snapshot, process, logs).await);
        let mut tasks = JoinSet::new();
        tasks.spawn_local(housekeeping(worker.clone()));
        tasks.spawn_local(ticking(worker.clone()));
        tasks.spawn_local(room::for_others(worker.clone()));
        let deferring = Deferring::begin(&mut tasks);
        deferring.use_io_uring(worker.worker_config().snapshot.config.server.io_uring);
        let retired = worker.retired.clone();
        tasks.spawn_local(async move { retired.free().await });
        // Those that could not be accepted on yet.
        let mut waiting = open(&worker, &mut tasks, sockets);
        loop {
            let order = tokio::select! {
                // Without a sender there is nothing to wait for: the process is about to end.
                order = orders.recv() => order.unwrap_or(Order::Stop),
                Some(ended) = tasks.join_next() => match ended {
                    Ok(()) => continue,
                    // A task has panicked: without it, the worker would no longer accept, or never
                    // free what is idle.
                    Err(error) => return Err(io::Error::other(error)),
                },
                () = tokio::time::sleep(TRY_AGAIN), if !waiting.is_empty() => {
                    waiting = open(&worker, &mut tasks, waiting);
                    continue;
                }
            };
            match order {
                Order::Serve(ServeOrder {
                    snapshot,
                    opened,
                    done,
                }) => {
                    deferring.use_io_uring(snapshot.config.server.io_uring);
                    worker.serve(snapshot).await;
                    waiting.extend(open(&worker, &mut tasks, opened));
                    drop(done);
                }
                Order::Drain => {
                    drain_until_done(&worker, &mut orders).await;
                    break;
                }
                Order::Stop => break,
                Order::Respond(responded) => drop(responded),
                Order::TellStates(upstream, answer) => {
                    if let Some(upstream) = worker.worker_config().upstream(&upstream) {
                        // Whoever has asked may have left.
                        let _ = answer.send(upstream.copy_states());
                    }
                }
            }
        }
        tracing::debug!("worker ends");
        deliver_late_reports();
        worker.logs.borrow_mut().flush();
        Ok(())
    })
}

/// Calls plugins that want to be called from time to time.
async fn ticking(worker: Rc<Worker>) {
    loop {
        let has_ticked = worker.worker_config().tick(&worker.clock).await;
        let pause = if has_ticked { TICK } else { HOUSEKEEPING };
        tokio::time::sleep(pause).await;
    }
}

async fn housekeeping(worker: Rc<Worker>) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    let mut trimmed = Instant::now();
    loop {
        ticks.tick().await;
        fault_injection::panics("housekeeping");
        worker.logs.borrow_mut().flush_if_due(Instant::now());
        worker.drain.publish_idle();
        worker.open_files.sweep(Instant::now());
        deliver_late_reports();
        allocator::give_back();
        if trimmed.elapsed() >= TRIMMING {
            worker.buffers.trim();
            trim_deferred();
            trimmed = Instant::now();
        }
        let (worker_config, mut pace) = (worker.worker_config(), Pace::default());
        for upstream in &worker_config.upstreams {
            match upstream.sweep() {
                true => pace.large_step().await,
                false => pace.small_step().await,
            }
        }
    }
}

/// Accepts from these listeners, as far as the configuration in force has them; those for which
/// memory or descriptors are lacking, to try them again.
fn open(
    worker: &Rc<Worker>,
    tasks: &mut JoinSet<()>,
    sockets: Vec<(ListenerId, Socket)>,
) -> Vec<(ListenerId, Socket)> {
    let worker_config = worker.worker_config();
    let mut waiting = Vec::new();
    for (listener, socket) in sockets {
        let acceptor = match fault_injection::fails("open") {
            true => Err(io::Error::other("a fault was asked for")),
            // The event loop keeps a socket that it cannot have: it gets a duplicate.
            false => socket.try_clone().and_then(Socket::into_tokio),
        };
        let acceptor = match acceptor {
            Ok(acceptor) => acceptor,
            Err(error) => {
                tracing::error!(
                    "a worker cannot accept on a listener, which is tried again: {error}"
                );
                waiting.push((listener, socket));
                continue;
            }
        };
        if let Some(slot) = worker.drain.open(listener, &worker_config) {
            tasks.spawn_local(accept::run(worker.clone(), acceptor, slot));
        }
    }
    waiting
}

/// Ends every connection in its time, and returns once the last one has gone, or there is no time
/// left. No other configuration is served any more.
async fn drain_until_done(worker: &Worker, orders: &mut UnboundedReceiver<Order>) {
    worker.drain.begin();
    let stopped = async { while !matches!(orders.recv().await, None | Some(Order::Stop)) {} };
    tokio::select! {
        () = worker.drain.done() => {}
        () = worker.drain.evict_slow() => {}
        () = stopped => {}
    }
}
