//! Exchanges on a connection of which a test holds the other end.

#![allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]

mod request_changes; // what hooks change of a request
mod responses; // ... and of a response
mod waits; // for something else than a server

use std::path::Path;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::admit::Admitted;
use super::*;
use crate::access_log::AccessLogs;
use crate::config::model::Action;
use crate::config::model::Route;
use crate::data_plane::downstream::{Client, ClientConnection, LocalEnd};
use crate::data_plane::drain::ShutdownSlot;
use crate::data_plane::process::{ConnectionBounds, Process};
use crate::data_plane::scrapes::Scrapes;
use crate::data_plane::stream::Stream;
use crate::data_plane::wanted::tests_wanted;
use crate::data_plane::worker::Worker;
use crate::data_plane::worker_config::{ListenerId, Router, Snapshot, SnapshotMetrics};
use crate::metrics::Registry;

const CONFIG: &str = r#"
[server]
trusted_proxies = ["10.0.0.0/8"]
[[listen]]
address = "127.0.0.1:0"
[upstream.u]
servers = ["127.0.0.1:1"]
[[route]]
path = "/api/"
proxy = "http://u/v1/"
[[route]]
path = "/plain/"
proxy = "u"
request_headers = { set = { X-Route = "$uri" } }
response_headers = { set = { X-Route = "r" }, remove = ["X-Gone"], add = { X-Both = "r" } }
[[route]]
host = "b.example"
return = { status = 204 }
"#;
const API: usize = 0;
const PLAIN: usize = 1;
const B_EXAMPLE: usize = 2;

/// A connection, and the client's end of it. Its upstreams cannot be sent to.
struct Rig {
    worker_config: Rc<WorkerConfig>,
    connection: ClientConnection,
    client: UnixStream,
    _slot: ShutdownSlot,
}

impl Rig {
    /// A connection from this address.
    async fn new(peer: &str) -> Rig {
        let config = crate::config::parse(CONFIG, Path::new("test.toml")).unwrap();
        let listener = ListenerId(1);
        let snapshot = Arc::new(Snapshot {
            generation: 1,
            listeners: vec![listener],
            admin_tls: None,
            tls: vec![None],
            routers: Router::of_listeners(&config.routes, 1).into(),
            upstreams: Vec::new(),
            by_name: Default::default(),
            listener_logs: vec![Vec::new()],
            route_logs: config.routes.iter().map(|_| None).collect(),
            stream_logs: Vec::new(),
            hooks: Vec::new(),
            components: Vec::new(),
            trials: Default::default(),
            page_files: Arc::default(),
            shows_notes: false,
            traces: None,
            metrics: SnapshotMetrics::new(&config, &Registry::uncounted().into(), None),
            logs_sent_header: true,
            config,
        });
        let bounds = ConnectionBounds {
            clients: 1,
            descriptors: 1,
        };
        let process = Arc::new(Process::new(
            bounds,
            1,
            "host".into(),
            (tests_wanted(), Scrapes::new().0),
        ));
        let logs = AccessLogs::start().unwrap();
        let worker = Rc::new(Worker::new(0, snapshot, process, logs.buffers()).await);
        let worker_config = worker.worker_config();
        let slot = worker.drain.open(listener, &worker_config).unwrap();
        let peer = format!("{peer}:1234").parse().unwrap();
        let client = Rc::new(Client::tcp(
            peer,
            LocalEnd::new("192.0.2.1:80".parse().unwrap()),
            1,
        ));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let halves = Stream::unix(ours).split();
        let connection = ClientConnection::new(worker, slot.listener().clone(), client, halves);
        Rig {
            worker_config,
            connection,
            client: theirs,
            _slot: slot,
        }
    }

    fn session(&mut self) -> Session<'_> {
        self.connection.next_request(Instant::now())
    }

    fn route(&self, index: usize) -> &Route {
        &self.worker_config.snapshot.config.routes[index]
    }

    /// An exchange of which all is decided before a route is chosen.
    fn examined(&mut self, head: &str) -> Exchange {
        let session = self.session();
        let mut request = RequestHead::default();
        request.parse(head.as_bytes(), 100).unwrap();
        let mut exchange = Exchange::new(&session, request, Instant::now());
        let examined = admit::examine(&mut exchange, &session);
        assert!(matches!(examined, Ok(Admission::Route(_))));
        exchange
    }

    fn found(&mut self, exchange: &Exchange) -> Result<Admitted, Fault> {
        let worker_config = self.worker_config.clone();
        let framing = exchange.framing.unwrap();
        admit::find_route(exchange, &self.session(), &worker_config, framing)
    }

    fn taken(&mut self, exchange: &Exchange, route: usize) -> Result<Admitted, Fault> {
        let worker_config = self.worker_config.clone();
        let framing = exchange.framing.unwrap();
        admit::find_anew(
            exchange,
            &self.session(),
            &worker_config,
            framing,
            Some(route),
        )
    }

    /// An exchange on its way, with its route and the body that its head announces.
    fn begun(&mut self, head: &str) -> (Rc<Exchange>, BodyPipe) {
        let exchange = self.examined(head);
        self.found(&exchange).unwrap();
        let body = BodyPipe::of_request(exchange.framing.unwrap());
        (Rc::new(exchange), body)
    }

    /// All that the client gets.
    async fn received(mut self) -> String {
        self.connection.outgoing.end().await.unwrap();
        let mut text = String::new();
        self.client.read_to_string(&mut text).await.unwrap();
        text
    }

    /// The request as a server gets it, by the route that was chosen.
    fn sent(&self, exchange: &Exchange, admitted: &Admitted) -> String {
        let route = self.route(admitted.route);
        let Action::Proxy(proxy) = &route.action else {
            panic!("no server gets it")
        };
        let mut target = Vec::new();
        let plan = request::RequestPlan {
            method: exchange.request.method(),
            target: proxy::outgoing_target(exchange, proxy, admitted, &mut target).unwrap(),
            body: request::BodyPlan::None,
            upgrade: false,
            http2: false,
            websocket_key: None,
            keep_alive: true,
            trusted: exchange.peer_trusted,
            changes: request::ConfiguredChanges::of(exchange, route),
        };
        let mut out = Vec::new();
        request::write_request(exchange, &plan, &mut out);
        String::from_utf8(out).unwrap()
    }
}

/// Runs a test as a worker runs its tasks.
fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(test);
}

fn rendered(exchange: &Exchange, template: &str) -> String {
    let template = crate::http::template::Template::parse(template).unwrap();
    String::from_utf8(template.rendered(exchange)).unwrap()
}
