//! What a hook asks of upstreams while it waits.
//!
//! Requests go to whoever made the call, by a channel: the engine wants what it awaits to be `Send`,
//! and the connections of a worker are not. The authority of a request is an upstream's name. A hook
//! may ask those that its settings name, as it may read the files that they name, and no others.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Uri;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, Scheme};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use serde_json::Value;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tracing::Level;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, WasiBody,
    WasiHttpHooks,
};

use super::super::guest_log::GuestLog;
use super::super::settings_texts::each_text;
use super::super::untrusted::Untrusted;
use super::fields::FieldLines;
use crate::http::head::ResponseHead;

/// Requests of one call.
const MOST: usize = 64;
/// Bytes that a guest hands over at a time of a request's body.
const PIECE: usize = 64 << 10;
/// Pieces of a response's body that wait for the guest.
const PIECES: usize = 2;

/// The upstreams that a hook may ask: texts of its settings.
#[derive(Clone, Default)]
pub(in crate::plugin) struct Reachable(Arc<BTreeSet<String>>);

impl Reachable {
    /// Those that these settings name: as a text, or as the authority of a URL that is one.
    pub(in crate::plugin) fn named_in<'a>(settings: impl Iterator<Item = &'a Value>) -> Reachable {
        let mut named = BTreeSet::new();
        let mut name = |text: &str| {
            let url = text.contains("://").then(|| text.parse::<Uri>().ok());
            if let Some(authority) = url.flatten().as_ref().and_then(Uri::authority) {
                named.insert(authority.as_str().to_owned());
            }
            named.insert(text.to_owned());
        };
        for settings in settings {
            each_text(settings, &mut name);
        }
        Reachable(Arc::new(named))
    }

    /// These.
    pub(in crate::plugin) fn of(upstreams: &[String]) -> Reachable {
        Reachable(Arc::new(upstreams.iter().cloned().collect()))
    }

    /// The upstream that a name or an authority stands for; none where it may not be asked. A port
    /// says nothing, and browsers' URLs have hosts in lower case.
    fn upstream(&self, asked: &str) -> Option<&str> {
        let is = |name: &str| self.0.get(name).map(String::as_str);
        if let Some(name) = is(asked) {
            return Some(name);
        }
        let authority: Authority = asked.parse().ok()?;
        is(authority.host()).or_else(|| {
            let alike = |name: &&String| name.eq_ignore_ascii_case(authority.host());
            self.0.iter().find(alike).map(String::as_str)
        })
    }
}

/// A request that a hook has made.
pub struct HookRequest {
    /// The upstream's name.
    pub upstream: String,
    /// Whatever the hook has said, as its target.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// With a `Host`.
    pub fields: FieldLines,
    pub body: RequestBody,
    pub timeouts: Timeouts,
    pub answer: RequestAnswer,
    pub patience: Patience,
}

/// Whether the hook still waits for a request's answer; one that it leaves goes on by itself.
#[derive(Default)]
pub struct Patience(Option<oneshot::Receiver<()>>);

/// Held by who waits for an answer: dropped before [`end`](Waits::end), it gives the request
/// up.
pub(in crate::plugin) struct Waits(oneshot::Sender<()>);

impl Patience {
    /// Nobody waits for the answer.
    pub(in crate::plugin) fn of_nobody() -> Patience {
        Patience(None)
    }

    pub(in crate::plugin) fn of_one_that_waits() -> (Waits, Patience) {
        let (waits, patience) = oneshot::channel();
        (Waits(waits), Patience(Some(patience)))
    }

    /// Whether nobody waits for the answer, and nobody did.
    pub fn is_of_nobody(&self) -> bool {
        self.0.is_none()
    }

    /// Ready when the hook that waited has given the request up.
    pub async fn ends(self) {
        let is_given_up = match self.0 {
            Some(waits) => waits.await.is_err(),
            None => false,
        };
        if !is_given_up {
            std::future::pending().await
        }
    }
}

impl Waits {
    /// It has what it wants of the answer. What is left of that is dealt with without it.
    pub(in crate::plugin) fn end(self) {
        let _ = self.0.send(());
    }
}

/// Those that a hook has said; none are those of the upstream's configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timeouts {
    pub connect: Option<Duration>,
    pub first_byte: Option<Duration>,
    pub between_bytes: Option<Duration>,
}

/// What a hook asks an upstream for.
pub(in crate::plugin) struct Outgoing {
    pub(in crate::plugin) method: String,
    pub(in crate::plugin) target: String,
    pub(in crate::plugin) fields: FieldLines,
    pub(in crate::plugin) body: RequestBody,
    pub(in crate::plugin) timeouts: Timeouts,
    pub(in crate::plugin) patience: Patience,
}

/// Where the answer to a request comes from.
pub(in crate::plugin) type Answered = oneshot::Receiver<Result<HookResponse, RefusedRequest>>;

/// Where the answer to a request goes.
pub struct RequestAnswer(oneshot::Sender<Result<HookResponse, RefusedRequest>>);

impl RequestAnswer {
    /// Answers. A guest that has dropped its request gets nothing.
    pub fn give(self, answer: Result<HookResponse, RefusedRequest>) {
        let _ = self.0.send(answer);
    }
}

/// The body of a request.
pub enum RequestBody {
    Whole(Bytes),
    /// The guest may still be writing it.
    Begun(WasiBody),
}

impl RequestBody {
    /// Reads all of it, `most` bytes. `hold` is told of bytes that are there from now on, and may
    /// refuse them.
    ///
    /// # Errors
    /// There are more, or the guest has given it up.
    pub async fn read(
        self,
        most: usize,
        mut hold: impl FnMut(usize) -> Result<(), RefusedRequest>,
    ) -> Result<Bytes, RefusedRequest> {
        let mut body = match self {
            RequestBody::Whole(body) if body.len() > most => {
                return Err(RefusedRequest::BodyTooLarge(most));
            }
            RequestBody::Whole(body) => return hold(body.len()).map(|()| body),
            RequestBody::Begun(body) => body,
        };
        let mut read = BytesMut::new();
        #[allow(clippy::disallowed_methods, reason = "who sends the request bounds it")]
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| RefusedRequest::BodyGivenUp)?;
            // Trailers are not sent.
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            if read.len() + piece.len() > most {
                return Err(RefusedRequest::BodyTooLarge(most));
            }
            hold(piece.len())?;
            read.extend_from_slice(&piece);
        }
        Ok(read.freeze())
    }
}

/// What was answered.
pub struct HookResponse {
    pub head: ResponseHead,
    body: mpsc::Receiver<Result<Bytes, BodyBroken>>,
}

impl HookResponse {
    /// With a body whose pieces are sent as they come; sending waits for the guest. The receiver goes
    /// when the guest wants no more.
    pub fn new(head: ResponseHead) -> (HookResponse, mpsc::Sender<Result<Bytes, BodyBroken>>) {
        let (pieces, body) = mpsc::channel(PIECES);
        (HookResponse { head, body }, pieces)
    }

    /// Up to `most` bytes of the body, and whether that is all of it. Without a wish for any, nothing
    /// is waited for.
    ///
    /// # Errors
    /// It broke off.
    pub(in crate::plugin) async fn read(
        &mut self,
        most: usize,
    ) -> Result<(Vec<u8>, bool), BodyBroken> {
        let mut read = Vec::new();
        if most == 0 {
            let is_over = self.body.try_recv() == Err(TryRecvError::Disconnected);
            return Ok((read, is_over));
        }
        while let Some(piece) = self.body.recv().await {
            let piece = piece?;
            let room = most - read.len();
            read.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.len() > room {
                return Ok((read, false));
            }
        }
        Ok((read, true))
    }
}

/// A body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyBroken;

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusedRequest {
    #[error("there is no upstream `{0}`")]
    NoUpstream(String),
    #[error("no live upstreams")]
    NoEndpoint,
    #[error("too many requests at once")]
    TooMany,
    #[error("its body has more than {0} bytes")]
    BodyTooLarge(usize),
    #[error("its body was given up")]
    BodyGivenUp,
    #[error("it cannot be expressed in HTTP")]
    Inexpressible,
    #[error("connection refused")]
    Connect,
    #[error("connecting timed out")]
    ConnectTimeout,
    #[error("the upstream timed out")]
    Timeout,
    #[error("TLS failed")]
    Tls,
    #[error("the connection broke off")]
    Broken,
    #[error("the answer is no valid HTTP")]
    Invalid,
}

/// Why a request was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plugin) enum NotSent {
    /// The call at hand may ask nothing.
    NotHere,
    /// The settings do not name its upstream.
    Denied,
    Refused(RefusedRequest),
}

impl From<RefusedRequest> for NotSent {
    fn from(refused: RefusedRequest) -> NotSent {
        NotSent::Refused(refused)
    }
}

impl From<NotSent> for Error {
    fn from(not_sent: NotSent) -> Error {
        match not_sent {
            NotSent::NotHere | NotSent::Denied => Error::HttpRequestDenied,
            NotSent::Refused(refused) => refused.into(),
        }
    }
}

impl From<RefusedRequest> for Error {
    fn from(refused: RefusedRequest) -> Error {
        match refused {
            RefusedRequest::NoUpstream(_) => Error::DestinationNotFound,
            RefusedRequest::NoEndpoint => Error::DestinationUnavailable,
            RefusedRequest::TooMany => Error::ConnectionLimitReached,
            RefusedRequest::BodyTooLarge(most) => Error::HttpRequestBodySize(Some(most as u64)),
            RefusedRequest::BodyGivenUp | RefusedRequest::Inexpressible => {
                Error::HttpRequestUriInvalid
            }
            RefusedRequest::Connect => Error::ConnectionRefused,
            RefusedRequest::ConnectTimeout => Error::ConnectionTimeout,
            RefusedRequest::Timeout => Error::HttpResponseTimeout,
            RefusedRequest::Tls => Error::TlsProtocolError,
            RefusedRequest::Broken => Error::ConnectionTerminated,
            RefusedRequest::Invalid => Error::HttpProtocolError,
        }
    }
}

/// Where the requests of one call arrive.
pub struct HookRequests(mpsc::UnboundedReceiver<HookRequest>);

/// Where they are sent.
pub struct HookRequestSender(mpsc::UnboundedSender<HookRequest>);

/// For one call. A call makes [`MOST`] requests.
pub fn hook_requests() -> (HookRequestSender, HookRequests) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (HookRequestSender(sender), HookRequests(receiver))
}

impl HookRequests {
    /// The next one; none once the call is over.
    pub async fn next(&mut self) -> Option<HookRequest> {
        self.0.recv().await
    }

    /// One that is there now.
    pub fn left(&mut self) -> Option<HookRequest> {
        self.0.try_recv().ok()
    }
}

/// An instance's way to upstreams.
pub(in crate::plugin) struct RequestPort {
    reachable: Reachable,
    /// Where they go; none outside of calls that may wait.
    sender: Option<HookRequestSender>,
    /// By the call at hand.
    sent: usize,
    log: GuestLog,
}

impl RequestPort {
    pub(super) fn new(plugin: &Arc<str>, reachable: Reachable) -> RequestPort {
        RequestPort {
            reachable,
            sender: None,
            sent: 0,
            log: GuestLog::new(plugin.clone()),
        }
    }

    /// A call begins, whose requests go there.
    pub(in crate::plugin) fn open(&mut self, sender: HookRequestSender) {
        self.sender = Some(sender);
        self.sent = 0;
    }

    /// It is over.
    pub(in crate::plugin) fn close(&mut self) {
        self.sender = None;
    }

    /// Sends a request to an upstream. Its answer comes by what is returned.
    ///
    /// # Errors
    /// Why it is not sent.
    pub(in crate::plugin) fn send(
        &mut self,
        asked: &str,
        request: Outgoing,
    ) -> Result<Answered, NotSent> {
        let Some(upstream) = self.reachable.upstream(asked) else {
            let asked = Untrusted::name(asked);
            let why = format_args!("asked upstream `{asked}`, which its settings do not name");
            self.log.write(Level::WARN, why, "");
            return Err(NotSent::Denied);
        };
        let HookRequestSender(sender) = self.sender.as_ref().ok_or(NotSent::NotHere)?;
        self.sent += 1;
        if self.sent > MOST {
            return Err(RefusedRequest::TooMany.into());
        }
        let Outgoing {
            method,
            target,
            mut fields,
            body,
            timeouts,
            patience,
        } = request;
        fields.default_host(upstream)?;
        let (answer, answered) = oneshot::channel();
        let request = HookRequest {
            upstream: upstream.to_owned(),
            method,
            target,
            fields,
            body,
            timeouts,
            answer: RequestAnswer(answer),
            patience,
        };
        let sent = sender.send(request);
        sent.map_err(|_| RefusedRequest::Broken)?;
        Ok(answered)
    }

    /// As [`send`](RequestPort::send), as WASI has requests.
    fn send_message(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Answered, NotSent> {
        let (parts, body) = request.into_parts();
        let authority = parts.uri.authority().map_or("", Authority::as_str);
        let options = options.unwrap_or_default();
        let mut fields = FieldLines::default();
        for (name, value) in &parts.headers {
            fields.push(name.as_str().as_bytes(), value.as_bytes())?;
        }
        let target = parts.uri.path_and_query();
        let outgoing = Outgoing {
            method: parts.method.as_str().to_owned(),
            target: target.map_or("/", |target| target.as_str()).to_owned(),
            fields,
            body: RequestBody::Begun(body),
            timeouts: Timeouts {
                connect: options.connect_timeout,
                first_byte: options.first_byte_timeout,
                between_bytes: options.between_bytes_timeout,
            },
            patience: Patience::of_nobody(), // a guest that drops what it waits for leaves it
        };
        self.send(authority, outgoing)
    }
}

/// What frames a message or belongs to its connection; a `Host` may be chosen.
fn is_forbidden(name: &HeaderName) -> bool {
    *name != HOST && DEFAULT_FORBIDDEN_HEADERS.contains(name)
}

type Sending = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Answering =
    Box<dyn Future<Output = Result<(http::Response<WasiBody>, Sending), Error>> + Send>;

impl WasiHttpHooks for RequestPort {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        is_forbidden(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(is_forbidden)
    }

    /// How an upstream is spoken with is its configuration's. Outside of calls that may wait, nothing
    /// is asked.
    fn is_supported_scheme(&mut self, scheme: &Scheme) -> bool {
        self.sender.is_some() && (*scheme == Scheme::HTTP || *scheme == Scheme::HTTPS)
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    fn default_scheme(&mut self) -> Option<Scheme> {
        Some(Scheme::HTTP)
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Sending,
    ) -> Answering {
        let sent = self.send_message(request, options);
        Box::new(async move {
            let answered = sent?.await.map_err(|_| Error::ConnectionTerminated)?;
            let HookResponse { head, body } = answered.map_err(Error::from)?;
            let mut message = http::Response::new(ResponseBody(body).boxed_unsync());
            *message.status_mut() =
                http::StatusCode::from_u16(head.status()).map_err(|_| Error::HttpProtocolError)?;
            *message.headers_mut() = header_map(&head);
            let nothing: Sending = Box::new(std::future::ready(Ok(())));
            Ok((message, nothing))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        PIECE
    }
}

/// The fields of an answer.
fn header_map(head: &ResponseHead) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for field in head.fields().iter() {
        let name = HeaderName::from_bytes(field.name);
        let value = HeaderValue::from_bytes(field.value);
        if let (Ok(name), Ok(value)) = (name, value) {
            // As many as there may be in a response are fewer than a map can have.
            let _ = headers.try_append(name, value);
        }
    }
    headers
}

/// A response's body as the guest reads it.
struct ResponseBody(mpsc::Receiver<Result<Bytes, BodyBroken>>);

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.0.poll_recv(cx).map(|piece| {
            piece.map(|piece| match piece {
                Ok(piece) => Ok(Frame::data(piece)),
                Err(BodyBroken) => Err(Error::HttpResponseIncomplete),
            })
        })
    }
}

impl fmt::Debug for HookRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} of {}", self.method, self.target, self.upstream)
    }
}
