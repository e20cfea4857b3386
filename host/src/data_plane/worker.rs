//! A worker: one thread, its event loop, and everything that its connections share without locks.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use super::accept::{self, Socket};
use super::buffers::Buffers;
use super::exchange::router::Router;
use super::upstream::{Upstream, WorkerUpstream};
use crate::access_log::{Log, LogBuffers};
use crate::config::model::{Config, HostPattern, LogFormat};
use crate::http::head::RequestHead;

/// All that the data path needs of one configuration; immutable, shared by the workers.
pub(crate) struct Snapshot {
    pub(crate) config: Config,
    /// As in the configuration.
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    /// By listener; none where it is off.
    pub(crate) listener_logs: Vec<Option<OpenLog>>,
    /// By route: `Some(None)` is off, `None` leaves it to the listener.
    pub(crate) route_logs: Vec<Option<Option<OpenLog>>>,
    /// Some log line has a variable `$sent_http_*`.
    pub(crate) logs_sent_header: bool,
}

/// An access log, open, and the format of its lines.
#[derive(Clone)]
pub(crate) struct OpenLog {
    pub(crate) log: Arc<Log>,
    pub(crate) format: LogFormat,
}

/// Figures and bounds that all workers share.
#[derive(Debug)]
pub(crate) struct Process {
    /// Downstream connections at most.
    pub(crate) max_connections: usize,
    pub(crate) connections: AtomicUsize,
    /// Connections accepted so far.
    pub(crate) accepted: AtomicU64,
    pub(crate) hostname: Box<str>,
}

impl Process {
    pub(crate) fn new(max_connections: usize, hostname: Box<str>) -> Process {
        Process {
            max_connections,
            connections: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            hostname,
        }
    }
}

/// A snapshot as one worker uses it.
pub(crate) struct Site {
    pub(crate) snapshot: Arc<Snapshot>,
    /// By listener.
    pub(crate) routers: Vec<Router>,
    pub(crate) upstreams: Vec<Rc<WorkerUpstream>>,
    pub(crate) upstream_names: Vec<Rc<str>>,
    /// The host of each route, as the file has it.
    pub(crate) route_names: Vec<Rc<str>>,
}

impl Site {
    fn new(snapshot: Arc<Snapshot>) -> Site {
        let config = &snapshot.config;
        Site {
            routers: (0..config.listeners.len())
                .map(|listener| Router::new(&config.routes, listener))
                .collect(),
            upstreams: snapshot
                .upstreams
                .iter()
                .map(|shared| Rc::new(WorkerUpstream::attach(shared.clone())))
                .collect(),
            upstream_names: config
                .upstreams
                .iter()
                .map(|upstream| upstream.name.as_str().into())
                .collect(),
            route_names: config
                .routes
                .iter()
                .map(|route| route_name(&route.host).into())
                .collect(),
            snapshot,
        }
    }

    /// Whether a peer may say whom it speaks for.
    pub(crate) fn trusts(&self, peer: Option<IpAddr>) -> bool {
        let trusted = &self.snapshot.config.server.trusted_proxies;
        peer.is_some_and(|peer| trusted.iter().any(|network| network.contains(&peer)))
    }

    /// The log of an exchange on a listener that took a route, if it got that far.
    pub(crate) fn log(&self, listener: usize, route: Option<usize>) -> Option<&OpenLog> {
        match route.and_then(|route| self.snapshot.route_logs[route].as_ref()) {
            Some(log) => log.as_ref(),
            None => self.snapshot.listener_logs[listener].as_ref(),
        }
    }
}

fn route_name(host: &HostPattern) -> String {
    host.spelling()
}

/// What the connections of one thread share.
pub(crate) struct Worker {
    site: RefCell<Rc<Site>>,
    pub(crate) process: Arc<Process>,
    pub(crate) buffers: Rc<Buffers>,
    pub(crate) clock: Rc<Clock>,
    pub(crate) logs: RefCell<LogBuffers>,
    heads: RefCell<Vec<RequestHead>>,
    drain: Drain,
    /// Random, so that what is derived from it (`$request_id`) differs from other workers'.
    pub(crate) identity: [u64; 2],
}

/// Spare request heads that are kept.
const HEADS_KEPT: usize = 64;
/// How often idle connections are looked at, and log lines handed over.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// Orders to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Accept no more, finish what is under way, end.
    Drain,
    /// End.
    Stop,
}

/// Serves on `sockets` until it is told to stop, or has drained. Called on the worker's own thread.
///
/// # Errors
/// Where the event loop cannot be set up.
pub(crate) fn run(
    snapshot: Arc<Snapshot>,
    process: Arc<Process>,
    logs: LogBuffers,
    sockets: Vec<Socket>,
    mut orders: tokio::sync::mpsc::UnboundedReceiver<Order>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(Default::default())?;
    runtime.block_on(async move {
        let worker = Rc::new(Worker::new(snapshot, process, logs));
        let mut acceptors = Vec::new();
        for (listener, socket) in sockets.into_iter().enumerate() {
            acceptors.push(tokio::task::spawn_local(accept::run(
                worker.clone(),
                listener,
                socket.into_tokio()?,
            )));
        }
        let housekeeping = tokio::task::spawn_local(housekeeping(worker.clone()));
        let mut order = orders.recv().await.unwrap_or(Order::Stop);
        if order == Order::Drain {
            acceptors.iter().for_each(tokio::task::JoinHandle::abort);
            worker.drain.begin();
            order = tokio::select! {
                () = worker.drain.done() => Order::Stop,
                order = orders.recv() => order.unwrap_or(Order::Stop),
            };
        }
        tracing::debug!("worker ends: {order:?}");
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
        for upstream in &worker.site().upstreams {
            upstream.pool.borrow_mut().sweep();
        }
    }
}

impl Worker {
    fn new(snapshot: Arc<Snapshot>, process: Arc<Process>, logs: LogBuffers) -> Worker {
        Worker {
            site: RefCell::new(Rc::new(Site::new(snapshot))),
            process,
            buffers: Rc::default(),
            clock: Rc::new(Clock::new()),
            logs: RefCell::new(logs),
            heads: RefCell::default(),
            drain: Drain::default(),
            identity: [fastrand::u64(..), fastrand::u64(..)],
        }
    }

    pub(crate) fn site(&self) -> Rc<Site> {
        self.site.borrow().clone()
    }

    pub(crate) fn take_request_head(&self) -> RequestHead {
        self.heads.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn give_request_head(&self, head: RequestHead) {
        let mut heads = self.heads.borrow_mut();
        if heads.len() < HEADS_KEPT {
            heads.push(head);
        }
    }

    /// Counts a connection while it lives; its place in the drain.
    pub(crate) fn connection(self: &Rc<Self>) -> ConnectionGuard {
        self.process.connections.fetch_add(1, Relaxed);
        ConnectionGuard {
            place: self.drain.enter(),
            worker: self.clone(),
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.drain.draining.get()
    }
}

/// A connection's place among those of its worker.
pub(crate) struct ConnectionGuard {
    worker: Rc<Worker>,
    place: usize,
}

impl ConnectionGuard {
    /// Ready once the worker drains; else wakes the task when it begins to.
    pub(crate) fn poll_draining(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.worker.drain.poll(self.place, cx)
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.worker.process.connections.fetch_sub(1, Relaxed);
        self.worker.drain.leave(self.place);
    }
}

/// The end of a worker: tells idle connections, and knows when the last one has gone.
///
/// Each connection has a place with its waker, so that waiting for a request costs a comparison and no registration.
#[derive(Default)]
struct Drain {
    draining: Cell<bool>,
    places: RefCell<slab::Slab<Option<Waker>>>,
    last: RefCell<Option<Waker>>,
}

impl Drain {
    fn enter(&self) -> usize {
        self.places.borrow_mut().insert(None)
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

    fn poll(&self, place: usize, cx: &mut Context<'_>) -> Poll<()> {
        if self.draining.get() {
            return Poll::Ready(());
        }
        match &mut self.places.borrow_mut()[place] {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn begin(&self) {
        self.draining.set(true);
        for (_, waker) in self.places.borrow_mut().iter_mut() {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        }
    }

    async fn done(&self) {
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

/// The worker's clock for health accounting and policies: monotonic, its seconds those of the wall clock when it started.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    at_start: Duration,
}

impl Clock {
    fn new() -> Clock {
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
        self.since_1970(moment).as_micros() as u64
    }
}
