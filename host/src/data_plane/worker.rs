//! A worker: one thread, its event loop, and everything that its connections share without locks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::{Duration, Instant, SystemTime};

use super::accept::{self, Socket};
use super::buffers::Buffers;
use super::drain::{Drain, ShutdownSlot};
use super::exchange::router::Router;
use super::upstream::{Upstream, WorkerUpstream};
use crate::access_log::{Log, LogBuffers};
use crate::config::model::{Config, HostPattern, LogFormat};
use crate::http::head::RequestHead;
use crate::tls::ServerTls;

/// Names a listener or a stream through all configurations that have it. Its place in a
/// configuration may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ListenerId(pub(crate) u64);

/// All that the data path needs of one configuration; immutable, shared by the workers.
pub(crate) struct Snapshot {
    /// Counts configurations, from 1.
    pub(crate) generation: u64,
    pub(crate) config: Config,
    /// Those of the configuration's listeners, then those of its streams.
    pub(crate) listeners: Vec<ListenerId>,
    /// In the order of `listeners`; none where clients speak without.
    pub(crate) tls: Vec<Option<Arc<ServerTls>>>,
    /// As in the configuration.
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    /// By listener; none where it is off.
    pub(crate) listener_logs: Vec<Option<OpenLog>>,
    /// By route: `Some(None)` is off, `None` leaves it to the listener.
    pub(crate) route_logs: Vec<Option<Option<OpenLog>>>,
    /// By stream; none where it is off.
    pub(crate) stream_logs: Vec<Option<OpenLog>>,
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
    /// Connections to upstreams at most, idle ones included.
    pub(crate) max_upstream_connections: AtomicUsize,
    pub(crate) upstream_connections: AtomicUsize,
    /// Connections accepted so far.
    pub(crate) accepted: AtomicU64,
    pub(crate) hostname: Box<str>,
}

/// Connections at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionBounds {
    pub(crate) downstream: usize,
    pub(crate) upstream: usize,
}

impl Process {
    pub(crate) fn new(bounds: ConnectionBounds, hostname: Box<str>) -> Process {
        Process {
            max_connections: AtomicUsize::new(bounds.downstream),
            connections: AtomicUsize::new(0),
            max_upstream_connections: AtomicUsize::new(bounds.upstream),
            upstream_connections: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            hostname,
        }
    }
}

/// A snapshot as one worker uses it.
pub(crate) struct WorkerConfig {
    pub(crate) snapshot: Arc<Snapshot>,
    /// By listener.
    pub(crate) routers: Vec<Router>,
    pub(crate) upstreams: Vec<Rc<WorkerUpstream>>,
    pub(crate) upstream_names: Vec<Rc<str>>,
    /// The host of each route, as the file has it.
    pub(crate) route_names: Vec<Rc<str>>,
}

impl WorkerConfig {
    /// Goes on where `previous` is: upstreams that stay as they are keep everything, those that
    /// change what they can.
    fn new(snapshot: Arc<Snapshot>, previous: Option<&WorkerConfig>) -> WorkerConfig {
        let config = &snapshot.config;
        let known = previous
            .map_or(&[][..], |worker_config| &worker_config.upstreams)
            .iter();
        let known: HashMap<&str, _> = known.map(|upstream| (upstream.name(), upstream)).collect();
        let attach = |shared: &Arc<Upstream>| match known.get(&*shared.config.name) {
            Some(&same) if Arc::ptr_eq(&same.shared, shared) => same.clone(),
            changed => Rc::new(WorkerUpstream::attach(
                shared.clone(),
                changed.map(|upstream| &***upstream),
            )),
        };
        WorkerConfig {
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

    /// A configuration of nothing: what a connection holds on to while no request is under way,
    /// lest idle connections keep configurations, and the plugin instances of their upstreams, that
    /// nobody else needs.
    fn nowhere(snapshot: &Snapshot) -> WorkerConfig {
        let config = Config {
            server: snapshot.config.server.clone(),
            listeners: Vec::new(),
            upstreams: Vec::new(),
            routes: Vec::new(),
            streams: Vec::new(),
            plugins: Vec::new(),
            admin: None,
        };
        let snapshot = Snapshot {
            generation: 0,
            config,
            listeners: Vec::new(),
            tls: Vec::new(),
            upstreams: Vec::new(),
            listener_logs: Vec::new(),
            route_logs: Vec::new(),
            stream_logs: Vec::new(),
            logs_sent_header: false,
        };
        WorkerConfig::new(Arc::new(snapshot), None)
    }

    /// The place of a listener in this configuration, if it has it.
    pub(crate) fn place_of(&self, listener: ListenerId) -> Option<usize> {
        self.position(listener)
            .filter(|place| *place < self.snapshot.config.listeners.len())
    }

    /// The place of a stream in this configuration, if it has it.
    pub(crate) fn stream_of(&self, listener: ListenerId) -> Option<usize> {
        self.position(listener)?
            .checked_sub(self.snapshot.config.listeners.len())
    }

    /// The TLS of a listener or a stream.
    pub(crate) fn tls_of(&self, listener: ListenerId) -> Option<&Arc<ServerTls>> {
        self.snapshot.tls[self.position(listener)?].as_ref()
    }

    fn position(&self, listener: ListenerId) -> Option<usize> {
        let mut listeners = self.snapshot.listeners.iter();
        listeners.position(|known| *known == listener)
    }

    /// Whether a peer may say whom it speaks for.
    pub(crate) fn trusts(&self, peer: Option<IpAddr>) -> bool {
        self.snapshot.config.server.trusted_proxies.trust(peer)
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
    worker_config: RefCell<Rc<WorkerConfig>>,
    /// What an idle connection has for a site.
    pub(crate) nowhere: Rc<WorkerConfig>,
    pub(crate) process: Arc<Process>,
    pub(crate) buffers: Rc<Buffers>,
    pub(crate) clock: Rc<Clock>,
    pub(crate) logs: RefCell<LogBuffers>,
    heads: RefCell<Vec<RequestHead>>,
    pub(super) drain: Drain,
    /// Random, so that what is derived from it (`$request_id`) differs from other workers'.
    pub(crate) identity: [u64; 2],
}

/// Spare request heads that are kept.
const HEADS_KEPT: usize = 64;
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
                Order::Serve(ServeOrder {
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
        for upstream in &worker.worker_config().upstreams {
            upstream.sweep();
        }
    }
}

impl Worker {
    fn new(snapshot: Arc<Snapshot>, process: Arc<Process>, logs: LogBuffers) -> Worker {
        Worker {
            nowhere: Rc::new(WorkerConfig::nowhere(&snapshot)),
            worker_config: RefCell::new(Rc::new(WorkerConfig::new(snapshot, None))),
            process,
            buffers: Rc::default(),
            clock: Rc::new(Clock::new()),
            logs: RefCell::new(logs),
            heads: RefCell::default(),
            drain: Drain::default(),
            identity: [fastrand::u64(..), fastrand::u64(..)],
        }
    }

    /// Serves another configuration from now on. What is under way stays with the one that it began
    /// with.
    fn serve(&self, snapshot: Arc<Snapshot>) {
        let previous = self.worker_config();
        let worker_config = Rc::new(WorkerConfig::new(snapshot, Some(&previous)));
        self.drain
            .close_others(&worker_config.snapshot.listeners, &previous);
        self.worker_config.replace(worker_config);
    }

    /// Accepts from these listeners.
    fn open(self: &Rc<Self>, sockets: Vec<(ListenerId, Socket)>) -> std::io::Result<()> {
        for (listener, socket) in sockets {
            let socket = socket.into_tokio()?;
            let place = ShutdownSlot::of_listener(self, listener);
            tokio::task::spawn_local(accept::run(self.clone(), listener, socket, place));
        }
        Ok(())
    }

    /// Ends every connection in its time, and returns once the last one has gone, or there is no
    /// time left. No other configuration is served any more.
    async fn drain_until_done(&self, orders: &mut tokio::sync::mpsc::UnboundedReceiver<Order>) {
        self.drain.begin(&self.worker_config());
        let stopped = async { while !matches!(orders.recv().await, None | Some(Order::Stop)) {} };
        tokio::select! {
            () = self.drain.done() => {}
            () = stopped => {}
        }
    }

    pub(crate) fn worker_config(&self) -> Rc<WorkerConfig> {
        self.worker_config.borrow().clone()
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

/// The worker's clock for health accounting and policies: monotonic, its seconds those of the wall
/// clock when it started.
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
