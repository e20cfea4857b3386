//! A worker's thread: its event loop, the orders that it heeds, and what it does once a second.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{Sender, UnboundedReceiver};

use super::accept;
use crate::access_log::LogBuffers;
use crate::data_plane::process::Process;
use crate::data_plane::stream::Socket;
use crate::data_plane::worker::Worker;
use crate::data_plane::worker_config::{ListenerId, Snapshot};

/// How often idle connections are looked at, and log lines handed over.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// Orders to a worker.
pub(crate) enum Order {
    /// Serve another configuration from the next request on.
    Serve(ServeOrder),
    /// Accept no more, finish what is under way, end.
    Drain,
    /// End.
    Stop,
}

/// Another configuration.
pub(crate) struct ServeOrder {
    pub(crate) snapshot: Arc<Snapshot>,
    /// Sockets of listeners that the configuration before does not have.
    pub(crate) opened: Vec<(ListenerId, Socket)>,
    /// Dropped once the worker serves it.
    pub(crate) done: Sender<()>,
}

/// Serves on `sockets` until it is told to stop, or has drained. Called on the worker's own thread.
///
/// # Errors
/// Where the event loop cannot be set up.
pub(crate) fn run(
    snapshot: Arc<Snapshot>,
    process: Arc<Process>,
    logs: LogBuffers,
    sockets: Vec<(ListenerId, Socket)>,
    mut orders: UnboundedReceiver<Order>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(Default::default())?;
    runtime.block_on(async move {
        let worker = Rc::new(Worker::new(snapshot, process, logs));
        open(&worker, sockets)?;
        let housekeeping = tokio::task::spawn_local(housekeeping(worker.clone()));
        loop {
            // Without a sender there is nothing to wait for: the process is about to end.
            match orders.recv().await.unwrap_or(Order::Stop) {
                Order::Serve(ServeOrder {
                    snapshot,
                    opened,
                    done,
                }) => {
                    worker.serve(snapshot);
                    if let Err(error) = open(&worker, opened) {
                        tracing::error!("a worker cannot accept on a new listener: {error}");
                    }
                    drop(done);
                }
                Order::Drain => {
                    drain_until_done(&worker, &mut orders).await;
                    break;
                }
                Order::Stop => break,
            }
        }
        tracing::debug!("worker ends");
        housekeeping.abort();
        worker.logs.borrow_mut().flush();
        Ok(())
    })
}

async fn housekeeping(worker: Rc<Worker>) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    loop {
        ticks.tick().await;
        worker.logs.borrow_mut().flush_if_due(Instant::now());
        for upstream in &worker.worker_config().upstreams {
            upstream.sweep();
        }
    }
}

/// Accepts from these listeners, which the configuration in force has.
fn open(worker: &Rc<Worker>, sockets: Vec<(ListenerId, Socket)>) -> std::io::Result<()> {
    let worker_config = worker.worker_config();
    for (listener, socket) in sockets {
        let socket = socket.into_tokio()?;
        if let Some(slot) = worker.drain.open(listener, &worker_config) {
            tokio::task::spawn_local(accept::run(worker.clone(), socket, slot));
        }
    }
    Ok(())
}

/// Ends every connection in its time, and returns once the last one has gone, or there is no time
/// left. No other configuration is served any more.
async fn drain_until_done(worker: &Worker, orders: &mut UnboundedReceiver<Order>) {
    worker.drain.begin();
    let stopped = async { while !matches!(orders.recv().await, None | Some(Order::Stop)) {} };
    tokio::select! {
        () = worker.drain.done() => {}
        () = stopped => {}
    }
}
