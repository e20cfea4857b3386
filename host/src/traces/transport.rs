//! One batch to one collector: on the connection that is there, or on a new one.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout_at;
use tokio_rustls::client::TlsStream;

use super::grpc;
use super::otlp::ExportTraceServiceResponse;
use crate::config::model::{TraceExport, TraceProtocol, UpstreamTls};
use crate::config::reason;
use crate::names::Names;
use crate::outgoing;
use crate::tls::ClientTls;

/// Bytes of an answer that are read. What is behind them is not waited for.
pub(super) const ANSWER: usize = 64 << 10;
/// What is behind the status of an answer is waited for no longer.
const REST: Duration = Duration::from_secs(1);
/// What a collector may ask for between two tries at most: no batch is kept for longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Bytes of what a collector says that the log shows.
const SHOWN: usize = 200;
pub(super) const USER_AGENT: &str = concat!("waypost/", env!("CARGO_PKG_VERSION"));

/// What came of a batch.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// Some of the spans may have been rejected all the same, and `message` says why.
    Taken { rejected: u64, message: String },
    /// It may be sent again, if the collector says so after this time.
    Again {
        why: String,
        after: Option<Duration>,
    },
    /// It is never taken.
    Refused(String),
}

impl Outcome {
    pub(super) fn again(why: impl Into<String>) -> Outcome {
        Outcome::Again {
            why: why.into(),
            after: None,
        }
    }

    /// As an answer says; one that cannot be read says nothing.
    pub(super) fn taken(answer: &[u8]) -> Outcome {
        let answer = ExportTraceServiceResponse::decode(answer);
        let partial = answer.ok().and_then(|answer| answer.partial_success);
        let partial = partial.unwrap_or_default();
        Outcome::Taken {
            rejected: partial.rejected_spans.max(0) as u64,
            message: shown(&partial.error_message),
        }
    }
}

/// Bytes in both directions.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

pub(super) struct Transport {
    settings: Arc<TraceExport>,
    /// None where nothing is to be resolved.
    names: Option<Names>,
    kept: Option<Kept>,
}

/// A connection, which ends when this is dropped.
struct Kept {
    sender: Sender,
    running: AbortHandle,
}

enum Sender {
    Http(http1::SendRequest<Full<Bytes>>),
    Grpc(h2::client::SendRequest<Bytes>),
}

/// What a collector has said.
enum Answered {
    /// Whose body is still to come.
    Http(Response<Incoming>),
    /// The status of gRPC comes last.
    Grpc(Outcome),
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Transport {
    pub(super) fn new(settings: Arc<TraceExport>, names: Option<Names>) -> Transport {
        Transport {
            settings,
            names,
            kept: None,
        }
    }

    pub(super) fn settings(&self) -> &TraceExport {
        &self.settings
    }

    /// Sends a batch, within the collector's `timeout`, and until then.
    pub(super) async fn send(&mut self, request: &Bytes, until: Instant) -> Outcome {
        let began = Instant::now();
        let until = until.min(began + self.settings.timeout);
        let kept = self.kept.take();
        let answered = timeout_at(until.into(), async {
            // A collector may have closed a connection that was idle.
            if let Some(kept) = kept
                && let Ok(answered) = self.exchange(kept, request).await
            {
                return Ok(answered);
            }
            self.exchange(self.connected(until).await?, request).await
        });
        let (on, answered) = match answered.await {
            Ok(Ok(answered)) => answered,
            Ok(Err(why)) => return self.unanswered(&why),
            Err(_) => {
                let limit = until.saturating_duration_since(began).as_secs_f64();
                return self.unanswered(&format!("no answer within {limit:.1} s"));
            }
        };
        let (outcome, is_usable) = match answered {
            Answered::Http(answer) => rest(answer, until).await,
            Answered::Grpc(outcome) => (outcome, true),
        };
        self.kept = is_usable.then_some(on);
        outcome
    }

    /// With a word about the port, which may be why.
    fn unanswered(&self, why: &str) -> Outcome {
        match self.settings.doubt_about_port() {
            Some(doubt) => Outcome::again(format!("{why} ({doubt})")),
            None => Outcome::again(why),
        }
    }

    /// # Errors
    /// Why there is no answer, in one line.
    async fn exchange(&self, mut on: Kept, request: &Bytes) -> Result<(Kept, Answered), String> {
        let settings = &*self.settings;
        let answered = match &mut on.sender {
            Sender::Http(sender) => Answered::Http(over_http(sender, settings, request).await?),
            Sender::Grpc(sender) => Answered::Grpc(grpc::call(sender, settings, request).await?),
        };
        Ok((on, answered))
    }

    async fn connected(&self, until: Instant) -> Result<Kept, String> {
        let url = &self.settings.url;
        let stream = self.connect(until).await?;
        stream.set_nodelay(true).map_err(|error| reason(&error))?;
        let stream: Box<dyn Io> = match url.tls {
            true => Box::new(self.secured(stream).await?),
            false => Box::new(stream),
        };
        match self.settings.protocol {
            TraceProtocol::Http => {
                let handshake = http1::handshake(TokioIo::new(stream)).await;
                let (sender, connection) = handshake.map_err(broken)?;
                // What goes wrong with it is told by the request.
                let running = tokio::spawn(async move { drop(connection.await) });
                Ok(Kept {
                    sender: Sender::Http(sender),
                    running: running.abort_handle(),
                })
            }
            TraceProtocol::Grpc => {
                let (sender, connection) = grpc::handshake(stream).await?;
                let running = tokio::spawn(async move { drop(connection.await) });
                Ok(Kept {
                    sender: Sender::Grpc(sender),
                    running: running.abort_handle(),
                })
            }
        }
    }

    async fn connect(&self, until: Instant) -> Result<TcpStream, String> {
        let url = &self.settings.url;
        let (names, resolver) = (self.names.as_ref(), &self.settings.resolver);
        let addresses = outgoing::addresses(names, resolver, &url.host, url.port).await?;
        let connected = outgoing::connect(&url.host, &addresses, until, |_| {}).await;
        connected.map(|(stream, _)| stream)
    }

    /// Its files are read each time, as they may have changed: this is a thread that may wait.
    async fn secured(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let settings = UpstreamTls::verified_by(self.settings.ca.clone());
        let http2 = self.settings.protocol == TraceProtocol::Grpc;
        let tls = ClientTls::of_own(&settings, http2)?;
        outgoing::secured(&tls, &self.settings.url.authority(), stream).await
    }
}

async fn over_http(
    sender: &mut http1::SendRequest<Full<Bytes>>,
    settings: &TraceExport,
    request: &Bytes,
) -> Result<Response<Incoming>, String> {
    sender.ready().await.map_err(broken)?;
    let mut asked = Request::post(&settings.url.path)
        .header(header::HOST, settings.url.authority())
        .header(header::CONTENT_TYPE, "application/x-protobuf")
        .header(header::USER_AGENT, USER_AGENT);
    for (name, value) in &settings.headers {
        asked = asked.header(name, value);
    }
    let asked = asked
        .body(Full::new(request.clone()))
        .map_err(|error| format!("it cannot be asked: {error}"))?;
    sender.send_request(asked).await.map_err(broken)
}

/// What came of a batch, and whether the connection can be used again: the status says the one, and
/// what is behind it, as far as it comes, the other.
async fn rest(answer: Response<Incoming>, until: Instant) -> (Outcome, bool) {
    let (head, body) = answer.into_parts();
    let until = until.min(Instant::now() + REST);
    let read = timeout_at(until.into(), read(body)).await;
    let (answer, is_whole) = read.unwrap_or_default();
    (outcome(&Response::from_parts(head, ()), &answer), is_whole)
}

/// As OTLP has it: what is worth another try, and what is not.
fn outcome(head: &Response<()>, answer: &[u8]) -> Outcome {
    let status = head.status();
    let why = format!("it answers {}", status.as_u16());
    match status {
        status if status.is_success() => Outcome::taken(answer),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Outcome::Again {
            why,
            after: retry_after(head.headers()),
        },
        _ => Outcome::Refused(why),
    }
}

/// As much of a body as is of interest, and whether that is all.
async fn read(body: Incoming) -> (Vec<u8>, bool) {
    let mut body = Limited::new(body, ANSWER);
    let mut answer = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => answer.extend_from_slice(&data),
            Ok(Err(_)) => {}
            Err(_) => return (Vec::new(), false),
        }
    }
    (answer, true)
}

/// What `Retry-After` says (RFC 9110 section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let after = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            date.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(bounded_pause(after))
}

pub(super) fn bounded_pause(pause: Duration) -> Duration {
    pause.min(LONGEST_PAUSE)
}

/// What a collector says, which may be anything.
pub(super) fn shown(text: &str) -> String {
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(SHOWN).collect()
}

fn broken(error: hyper::Error) -> String {
    format!("the connection broke: {error}")
}
