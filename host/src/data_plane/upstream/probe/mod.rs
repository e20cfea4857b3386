//! Asks an endpoint whether it is well: over the same connections, as far as TLS, HTTP/2 and the
//! PROXY header are concerned, that requests have, but for ones of its own.
//!
//! A connection of HTTP is kept for the next probe where descriptors are not scarce, without a
//! buffer meanwhile. When an endpoint is asked, and what an answer changes, is for
//! [`health`](crate::health) to say.

mod answer; // what is answered
mod grpc; // the messages of gRPC's health service

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::answer::Answer;
use super::attempt::{RequestStart, open_stream};
use super::descriptor::{DescriptorSource, Room};
use super::dial::dial_until;
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::http2::{Http2Connection, StreamSlot};
use super::pool::Connection;
use super::shared::Upstream;
use super::target::Target;
use crate::config::model::{Address, CheckMethod, CheckQuestion, HealthCheck, HttpCheck};
use crate::data_plane::buffers::Buffers;
use crate::data_plane::process::Process;
use crate::plugin::FailureKind;

/// What all probes of a thread use.
pub(crate) struct ProbeTools {
    buffers: Buffers,
    descriptors: ProbeDescriptors,
}

/// What is asked of one endpoint.
pub(crate) struct Probe {
    pub(crate) check: Arc<HealthCheck>,
    /// In words where it cannot be dialed.
    target: Result<Target, String>,
    /// The head of the request, as text; empty for a connection alone.
    head: Vec<u8>,
    body: Vec<u8>,
    /// Bytes of a response header.
    header_size: usize,
    speaks_http2: bool,
    keeps_connection: bool,
}

/// The connection that a probe of an endpoint has left for the next one.
#[derive(Default)]
pub(crate) enum KeptConnection {
    #[default]
    None,
    Http1(Box<Connection>),
    Http2(Rc<Http2Connection>),
}

/// Why a probe did not go well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeFailure {
    #[error("{0}")]
    Attempt(Failure),
    #[error("{0}")]
    NoTarget(String),
    #[error("no complete answer within {0:?}")]
    TimedOut(Duration),
    #[error("unexpected status {0}")]
    Status(u16),
    #[error("the body does not match `expect_body`")]
    Body,
    #[error("invalid message of gRPC")]
    Message,
    #[error("no grpc-status")]
    NoGrpcStatus,
    #[error("grpc-status {0}{name}", name = grpc::status_name(*.0))]
    GrpcStatus(u32),
    #[error("{}", grpc::serving_status(*.0))]
    NotServing(u64),
    #[error(
        "no connection to spare: upstreams have as many as the limit on open files leaves room for (`ulimit -n`)"
    )]
    NoDescriptor,
}

impl ProbeFailure {
    /// Whether it tells of the endpoint, and not of us.
    pub(crate) fn is_of_endpoint(&self) -> bool {
        match self {
            ProbeFailure::Attempt(failure) => failure.kind() != FailureKind::Other,
            ProbeFailure::NoDescriptor => false,
            _ => true,
        }
    }
}

impl From<Failure> for ProbeFailure {
    fn from(failure: Failure) -> ProbeFailure {
        ProbeFailure::Attempt(failure)
    }
}

/// Descriptors for probes: they make nobody close a connection.
struct ProbeDescriptors(Arc<Process>);

impl DescriptorSource for ProbeDescriptors {
    fn process(&self) -> &Arc<Process> {
        &self.0
    }

    fn make_room(&self) -> Room {
        Room::Missing
    }

    fn evict_idle_client(&self) {}
}

impl ProbeTools {
    pub(crate) fn new(process: Arc<Process>) -> ProbeTools {
        ProbeTools {
            buffers: Buffers::default(),
            descriptors: ProbeDescriptors(process),
        }
    }
}

impl Probe {
    /// A probe of an endpoint by the check of its upstream.
    pub(crate) fn new(upstream: &Upstream, endpoint: &Endpoint, check: &Arc<HealthCheck>) -> Probe {
        let config = &upstream.config;
        let is_tcp = matches!(check.question, CheckQuestion::Tcp);
        let alpn = !is_tcp || config.http2.is_some();
        let target = Target::new(upstream, endpoint, None, alpn).map(|mut target| {
            if let (Address::Tcp(address), Some(port)) = (&mut target.address, check.port) {
                address.set_port(port);
            }
            target
        });
        let (head, body) = match &check.question {
            CheckQuestion::Tcp => (Vec::new(), Vec::new()),
            CheckQuestion::Http(question) => (request(question, endpoint), Vec::new()),
            CheckQuestion::Grpc { service, host } => {
                let head = format!(
                    "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: {}\r\nUser-Agent: {AGENT}\r\n\
                     Content-Type: application/grpc\r\nTE: trailers\r\n\r\n",
                    host_of(host.as_deref(), endpoint)
                );
                (head.into_bytes(), grpc::request(service))
            }
        };
        Probe {
            check: check.clone(),
            target: target.map_err(|failure| failure.to_string()),
            head,
            body,
            header_size: config.response_header_size,
            speaks_http2: config.http2.is_some(),
            // A PROXY header speaks for one connection, of one client.
            keeps_connection: config.proxy_protocol.is_none(),
        }
    }

    /// Asks, within the check's `timeout`. What was answered, in words; the connection stays in
    /// `kept` where another probe can use it.
    ///
    /// # Errors
    /// [`ProbeFailure`]
    pub(crate) async fn run(
        &self,
        kept: &mut KeptConnection,
        tools: &ProbeTools,
    ) -> Result<String, ProbeFailure> {
        let due = Instant::now() + self.check.timeout;
        let known = self.target.as_ref();
        let target = known.map_err(|why| ProbeFailure::NoTarget(why.clone()))?;
        if self.head.is_empty() {
            self.dial(target, tools, due).await?;
            return Ok("connected".to_owned());
        }
        let (connection, is_new) = match kept.take() {
            Some(connection) => (connection, false),
            None => (self.open(target, tools, due).await?, true),
        };
        let (mut answer, mut connection) = self.ask(connection, is_new, tools, due).await;
        if !is_new && answer.was_cut() {
            // The endpoint has closed it meanwhile, as it may.
            let new = self.open(target, tools, due).await?;
            (answer, connection) = self.ask(new, true, tools, due).await;
        }
        if answer.may_reuse && self.keeps_connection {
            *kept = connection;
        }
        answer.outcome
    }

    /// Whether a connection of the other one is as good as one of its own. TLS is the same for as
    /// long as an endpoint is.
    pub(crate) fn reaches_as(&self, other: &Probe) -> bool {
        let address = |probe: &Probe| {
            probe
                .target
                .as_ref()
                .ok()
                .map(|target| target.address.clone())
        };
        let way = |probe: &Probe| (probe.speaks_http2, probe.keeps_connection);
        address(self) == address(other) && way(self) == way(other)
    }

    /// A new connection.
    async fn open(
        &self,
        target: &Target,
        tools: &ProbeTools,
        due: Instant,
    ) -> Result<KeptConnection, ProbeFailure> {
        let dialed = self.dial(target, tools, due).await?;
        if !self.speaks_http2 {
            return Ok(KeptConnection::Http1(Connection::new(dialed)));
        }
        let begun = Http2Connection::begin(dialed, target, self.keeps_connection).await?;
        Ok(KeptConnection::Http2(begun.0))
    }

    async fn dial(
        &self,
        target: &Target,
        tools: &ProbeTools,
        due: Instant,
    ) -> Result<super::dial::Dialed, ProbeFailure> {
        // Thousands of probes must not wait for what requests need.
        if !tools.descriptors.0.has_upstream_connection_left() {
            return Err(ProbeFailure::NoDescriptor);
        }
        Ok(dial_until(target, &tools.descriptors, due).await?)
    }

    /// Sends the request and reads its answer.
    async fn ask(
        &self,
        connection: KeptConnection,
        is_new: bool,
        tools: &ProbeTools,
        due: Instant,
    ) -> (Answer, KeptConnection) {
        match connection {
            KeptConnection::None => (Answer::failed(Failure::Closed), connection),
            KeptConnection::Http1(mut connection) => {
                let answer = Answer::read(self, &mut connection, &self.head, &tools.buffers, due);
                let mut answer = answer.await;
                answer.may_reuse &= !connection.is_scarce();
                (answer, KeptConnection::Http1(connection))
            }
            KeptConnection::Http2(shared) => {
                let start = RequestStart {
                    head: &self.head,
                    ends: self.body.is_empty(),
                    protocol: None,
                };
                let slot = StreamSlot::on(&shared, !is_new).ok_or(Failure::Closed);
                let opened = slot.and_then(|slot| open_stream(slot, &start));
                let answer = match opened {
                    Ok(mut stream) => {
                        let buffers = &tools.buffers;
                        Answer::read(self, &mut stream, &self.body, buffers, due).await
                    }
                    Err(failure) => Answer::failed(failure),
                };
                (answer, KeptConnection::Http2(shared))
            }
        }
    }
}

impl KeptConnection {
    /// Takes it, if it still is of use.
    fn take(&mut self) -> Option<KeptConnection> {
        let taken = std::mem::take(self);
        let is_usable = match &taken {
            KeptConnection::None => false,
            KeptConnection::Http1(connection) => connection.reader.is_silent(),
            KeptConnection::Http2(connection) => !connection.is_retired(),
        };
        is_usable.then_some(taken)
    }

    /// Closes it.
    pub(crate) fn close(&mut self) {
        *self = KeptConnection::None;
    }
}

/// What probes call themselves, unless `headers` says otherwise.
const AGENT: &str = "waypost (health check)";

fn request(check: &HttpCheck, endpoint: &Endpoint) -> Vec<u8> {
    let method = match check.method {
        CheckMethod::Get => "GET",
        CheckMethod::Head => "HEAD",
    };
    let host = host_of(check.host.as_deref(), endpoint);
    let mut head = format!("{method} {} HTTP/1.1\r\nHost: {host}\r\n", check.path);
    let is_agent = |(name, _): &(String, String)| name.eq_ignore_ascii_case("user-agent");
    if !check.headers.iter().any(is_agent) {
        head += &format!("User-Agent: {AGENT}\r\n");
    }
    for (name, value) in &check.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    head.into_bytes()
}

/// The `Host` of a probe. A unix socket has no name.
fn host_of<'a>(given: Option<&'a str>, endpoint: &'a Endpoint) -> &'a str {
    match (given, &endpoint.address) {
        (Some(host), _) => host,
        (None, Address::Tcp(_)) => &endpoint.server,
        (None, Address::Unix(_)) => "localhost",
    }
}
