//! A worker: one thread, its event loop, and everything that its connections share without locks.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
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

/// Names a listener through all configurations that have it. Its place in a configuration may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ListenerId(pub(crate) u64);

/// All that the data path needs of one configuration; immutable, shared by the workers.
pub(crate) struct Snapshot {
    /// Counts configurations, from 1.
    pub(crate) generation: u64,
    pub(crate) config: Config,
    /// As in the configuration.
    pub(crate) listeners: Vec<ListenerId>,
    /// As in the configuration.
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    /// By listener; none where it is off.
    pub(crate) listener_logs: Vec<Option<OpenLog>>,
    /// By route: `Some(None)` is off, `None` leaves it to the listener.
    pub(crate) route_logs: Vec<Option<Option<OpenLog>>>,
    /// Some log line has a variable `$sent_http_*`.
    pub(crate) logs_sent_header: bool,
}

impl Snapshot {
    pub(crate) fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstreams
            .iter()
            .find(|upstream| upstream.config.name == name)
    }
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
    pub(crate) max_connections: AtomicUsize,
    pub(crate) connections: AtomicUsize,
    /// Connections accepted so far.
    pub(crate) accepted: AtomicU64,
    pub(crate) hostname: Box<str>,
}

impl Process {
    pub(crate) fn new(max_connections: usize, hostname: Box<str>) -> Process {
        Process {
            max_connections: AtomicUsize::new(max_connections),
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
    /// Goes on where `previous` is: upstreams that stay as they are keep everything, those that change what they can.
    fn new(snapshot: Arc<Snapshot>, previous: Option<&Site>) -> Site {
        let config = &snapshot.config;
        let known = previous.map_or(&[][..], |site| &site.upstreams).iter();
        let known: HashMap<&str, _> = known.map(|upstream| (upstream.name(), upstream)).collect();
        let attach = |shared: &Arc<Upstream>| match known.get(&*shared.config.name) {
            Some(&same) if Arc::ptr_eq(&same.shared, shared) => same.clone(),
            changed => Rc::new(WorkerUpstream::attach(
                shared.clone(),
                changed.map(|upstream| &***upstream),
            )),
        };
        Site {
            routers: (0..config.listeners.len())
                .map(|listener| Router::new(&config.routes, listener))
                .collect(),
            upstreams: snapshot.upstreams.iter().map(attach).collect(),
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

    /// The place of a listener in this configuration, if it has it.
    pub(crate) fn place_of(&self, listener: ListenerId) -> Option<usize> {
        self.snapshot
            .listeners
            .iter()
            .position(|known| *known == listener)
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

/// How long an idle connection may still bring a request when it is to be closed: closing it under a client's request
/// would be an error to the client, and one that was busy a moment ago is likely to bring one.
pub(crate) const PARTING: Duration = Duration::from_secs(1);

/// Orders to a worker.
pub(crate) enum Order {
    /// Serve another configuration from the next request on.
    Serve(Change),
    /// Accept no more, finish what is under way, end.
    Drain,
    /// End.
    Stop,
}

/// Another configuration.
pub(crate) struct Change {
    pub(crate) snapshot: Arc<Snapshot>,
    /// Sockets of listeners that the configuration before does not have.
    pub(crate) opened: Vec<(ListenerId, Socket)>,
    /// Dropped once the worker serves it.
    pub(crate) done: tokio::sync::mpsc::Sender<()>,
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
    mut orders: tokio::sync::mpsc::UnboundedReceiver<Order>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(Default::default())?;
    runtime.block_on(async move {
        let worker = Rc::new(Worker::new(snapshot, process, logs));
        worker.open(sockets)?;
        let housekeeping = tokio::task::spawn_local(housekeeping(worker.clone()));
        loop {
            // Nobody who could give orders: the process is about to end.
            match orders.recv().await.unwrap_or(Order::Stop) {
                Order::Serve(Change {
                    snapshot,
                    opened,
                    done,
                }) => {
                    worker.serve(snapshot);
                    if let Err(error) = worker.open(opened) {
                        tracing::error!("a worker cannot accept on a new listener: {error}");
                    }
                    drop(done);
                }
                Order::Drain => {
                    worker.drain_until_done(&mut orders).await;
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
        for upstream in &worker.site().upstreams {
            upstream.pool.borrow_mut().sweep();
        }
    }
}

impl Worker {
    fn new(snapshot: Arc<Snapshot>, process: Arc<Process>, logs: LogBuffers) -> Worker {
        Worker {
            site: RefCell::new(Rc::new(Site::new(snapshot, None))),
            process,
            buffers: Rc::default(),
            clock: Rc::new(Clock::new()),
            logs: RefCell::new(logs),
            heads: RefCell::default(),
            drain: Drain::default(),
            identity: [fastrand::u64(..), fastrand::u64(..)],
        }
    }

    /// Serves another configuration from now on. What is under way stays with the one that it began with.
    fn serve(&self, snapshot: Arc<Snapshot>) {
        let previous = self.site();
        let site = Rc::new(Site::new(snapshot, Some(&previous)));
        self.drain.close_others(&site.snapshot.listeners, &previous);
        self.site.replace(site);
    }

    /// Accepts from these listeners.
    fn open(self: &Rc<Self>, sockets: Vec<(ListenerId, Socket)>) -> std::io::Result<()> {
        for (listener, socket) in sockets {
            let socket = socket.into_tokio()?;
            let place = Place::new(self.clone(), self.drain.gate(listener));
            tokio::task::spawn_local(accept::run(self.clone(), listener, socket, place));
        }
        Ok(())
    }

    /// Ends every connection in its time, and returns once the last one has gone, or there is no time left. No other
    /// configuration is served any more.
    async fn drain_until_done(&self, orders: &mut tokio::sync::mpsc::UnboundedReceiver<Order>) {
        self.drain.begin(&self.site());
        let stopped = async { while !matches!(orders.recv().await, None | Some(Order::Stop)) {} };
        tokio::select! {
            () = self.drain.done() => {}
            () = stopped => {}
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
}

/// A connection among those of its worker.
pub(crate) struct ConnectionGuard(Place);

impl ConnectionGuard {
    /// Counts a connection while it lives.
    pub(crate) fn new(acceptor: &Place) -> ConnectionGuard {
        let Place { worker, gate, .. } = acceptor;
        worker.process.connections.fetch_add(1, Relaxed);
        ConnectionGuard(Place::new(worker.clone(), gate.clone()))
    }

    pub(crate) fn place(&self) -> &Place {
        &self.0
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.worker.process.connections.fetch_sub(1, Relaxed);
    }
}

/// The place of a connection, or of who accepts them, in its worker's drain.
pub(crate) struct Place {
    worker: Rc<Worker>,
    index: usize,
    gate: Rc<Gate>,
}

/// Whether the connections of a listener are to end: because the worker drains, or because the listener is no more.
#[derive(Default)]
pub(crate) struct Gate {
    closing: Cell<bool>,
    /// The configuration that these connections end with.
    last: RefCell<Option<Rc<Site>>>,
}

impl Gate {
    /// Whether no further request is wanted.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    fn close(&self, last: &Rc<Site>) {
        self.closing.set(true);
        self.last.replace(Some(last.clone()));
    }
}

impl Place {
    fn new(worker: Rc<Worker>, gate: Rc<Gate>) -> Place {
        let index = worker.drain.places.borrow_mut().insert(None);
        Place {
            worker,
            index,
            gate,
        }
    }

    /// Whether no further request is wanted.
    pub(crate) fn is_closing(&self) -> bool {
        self.gate.is_closing()
    }

    pub(crate) fn gate(&self) -> &Rc<Gate> {
        &self.gate
    }

    /// The configuration in force; for a listener that it does not have, the last one that had it.
    pub(crate) fn site(&self) -> Rc<Site> {
        let last = self.gate.last.borrow();
        last.as_ref().map_or_else(|| self.worker.site(), Rc::clone)
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

impl Drop for Place {
    fn drop(&mut self) {
        self.worker.drain.leave(self.index);
    }
}

/// The end of a worker, or of a listener: tells idle connections, and knows when the last one has gone.
///
/// Each connection has a place with its waker, so that waiting for a request costs a comparison and no registration.
#[derive(Default)]
struct Drain {
    draining: Cell<bool>,
    gates: RefCell<HashMap<ListenerId, Rc<Gate>>>,
    places: RefCell<slab::Slab<Option<Waker>>>,
    last: RefCell<Option<Waker>>,
}

impl Drain {
    fn gate(&self, listener: ListenerId) -> Rc<Gate> {
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
    fn begin(&self, last: &Rc<Site>) {
        self.draining.set(true);
        self.close_others(&[], last);
    }

    /// The connections of all other listeners than these are to end, with the configuration `last`.
    fn close_others(&self, staying: &[ListenerId], last: &Rc<Site>) {
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
        self.since_1970(moment).as_micros() as u64
    }
}
