//! What is known of one exchange while it is under way: the request, its client, where balancing
//! stands, figures for the log.
//!
//! Shared by the task that carries the exchange, the lease on its endpoint and the plugin call at
//! hand, all on one thread.

use std::cell::{Cell, OnceCell, Ref, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::captures::RouteCaptures;
use super::kept::Kept;
use super::traced::ExchangeTrace;
use crate::config::model::Route;
use crate::data_plane::downstream::{Client, Outgoing, Session};
use crate::data_plane::drain::ListenerState;
use crate::data_plane::hooked::Hooked;
use crate::data_plane::upstream::{BalanceState, Lease};
use crate::data_plane::worker::Worker;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::definition::KeptValues;
use crate::http::framing::Framing;
use crate::http::grpc;
use crate::http::head::{FieldChanges, FieldName, RequestHead, ResponseHead, Version};
use crate::plugin::ExchangeSummary;

/// Bytes of a request line in a line of the error log (nginx: 2048 for all of it).
const MAX_LINE_SHOWN: usize = 1024;

/// An exchange under way.
pub(crate) struct Exchange {
    pub(crate) request: RequestHead,
    /// Lower case, without port; empty where the request named none.
    pub(crate) host: Rc<str>,
    /// The path, decoded and normalised; none where that is what was received.
    pub(crate) normalised: Option<Box<[u8]>>,
    pub(crate) uri: Uri,
    /// How its body is framed; none before that is known to be valid.
    pub(super) framing: Option<Framing>,
    pub(crate) client: Rc<Client>,
    /// The connection's peer is believed in what it says of the client.
    pub(super) peer_trusted: bool,
    /// The address that a trusted proxy reported.
    pub(crate) real_client: Option<(IpAddr, Box<str>)>,
    /// Which request of its connection this is, from 1.
    pub(crate) serial: u64,
    pub(crate) began: Instant,
    pub(crate) balance: BalanceState,
    pub(crate) stats: ExchangeStats,
    /// The last attempt's response header; without meaning while `stats.answered` is false.
    pub(crate) response: RefCell<ResponseHead>,
    /// What hooks have to do with it.
    pub(super) hooked: Hooked,
    /// Values of variables that the configuration declares.
    pub(super) kept: KeptValues,
    /// What the regexes of its route have matched.
    pub(super) captures: RouteCaptures,
    number: OnceCell<u64>,
    /// What hooks change of the response, whichever it will be.
    pub(super) response_changes: RefCell<FieldChanges>,
    /// How many of them there were before the head of a response was to be written.
    pub(super) changed_before_head: Cell<Option<usize>>,
    /// Lines of the head of an answer of our own, where hooks see it.
    pub(super) own_head: RefCell<Vec<u8>>,
    /// The header that was sent to the client, for `$sent_http_*`.
    pub(crate) sent_header: RefCell<Vec<u8>>,
    /// The spelling of the route's host, and of its proxy target.
    pub(super) server_name: RefCell<Option<Rc<str>>>,
    pub(crate) proxy_host: RefCell<Option<Rc<str>>>,
    /// The upstream it goes to speaks TLS.
    pub(crate) to_tls: Cell<bool>,
    /// The status of the answer, whatever its source says: that of an error page.
    pub(super) status_instead: Cell<Option<u16>>,
    /// Hooks that have let it pass.
    pub(super) passed_hooks: PassedHooks,
    /// Its route has none of the listener's hooks, which nobody has asked.
    pub(super) is_past_listener: Cell<bool>,
    /// Its route answers in place of an error: what the request wants to be told of a file, such as
    /// a part of it, is not of this one.
    pub(super) in_place_of_error: Cell<bool>,
    /// What stays of the answer of a server that has handed it on.
    pub(super) handed_on: RefCell<Option<Kept>>,
    /// What was read of its body for hooks, before its route's action begins.
    pub(super) body_ahead: RefCell<Vec<u8>>,
    /// Its server gets another body than the client has sent, or may.
    pub(super) body_replaced: Cell<bool>,
    pub(crate) worker: Rc<Worker>,
    /// The one that it began with.
    pub(super) worker_config: Rc<WorkerConfig>,
    /// Index of the listener.
    pub(super) listener: usize,
    /// Of the client's connection.
    pub(super) listener_state: Rc<ListenerState>,
    /// A log of its configuration may ask for `sent_header`.
    logs_sent_header: bool,
    /// Empty before it has begun; none where it is not traced.
    pub(super) trace: OnceCell<Option<Box<ExchangeTrace>>>,
}

/// Path and query of a request.
#[derive(Default)]
pub(crate) struct Uri {
    /// Only where the target as received has none that could be borrowed, as in
    /// `http://host?query`.
    pub(crate) owned: Option<Box<str>>,
    /// Bytes of the target before the path, as in absolute-form.
    pub(crate) start: usize,
    /// What it was changed to.
    pub(super) changed: Option<Box<[u8]>>,
    /// Length of the path, as changed.
    pub(crate) path: usize,
    /// The path was changed behind the choice of a route: the route's pattern is no part of it.
    pub(super) left_route: Cell<bool>,
    /// What a server is asked for, where that is another one.
    pub(super) sent: RefCell<Vec<u8>>,
}

/// A bit for each hook of a worker's configuration, by index. Those behind the last bit have not let
/// anything pass: they are asked again.
#[derive(Default)]
pub(super) struct PassedHooks(Cell<u64>);

impl PassedHooks {
    pub(super) fn note(&self, hook: usize) {
        self.0.set(self.0.get() | bit(hook));
    }

    pub(super) fn has(&self, hook: usize) -> bool {
        self.0.get() & bit(hook) != 0
    }
}

fn bit(hook: usize) -> u64 {
    u32::try_from(hook)
        .ok()
        .and_then(|hook| 1_u64.checked_shl(hook))
        .unwrap_or_default()
}

/// What the access log tells of an exchange.
#[derive(Default)]
pub(crate) struct ExchangeStats {
    /// Index of the route that the request took.
    pub(crate) route: Cell<Option<usize>>,
    /// As answered to the client; 499 for a client that left before it was.
    pub(crate) status: Cell<u16>,
    pub(crate) header_sent: Cell<u64>,
    pub(crate) body_sent: Cell<u64>,
    pub(crate) body_received: Cell<u64>,
    pub(crate) complete: Cell<bool>,
    /// The head of the final response has left.
    pub(super) head_sent: Cell<bool>,
    /// The client was invited to send its body (100).
    pub(super) invited: Cell<bool>,
    /// `response` holds a response header of the current attempt.
    pub(crate) answered: Cell<bool>,
    pub(crate) attempts: RefCell<SmallVec<[AttemptStats; 1]>>,
}

/// Counts what of a response has left for the client.
pub(super) struct SentBytes {
    /// Of headers, before what is counted here.
    header_before: u64,
    /// The head's part of what is written.
    head: u64,
    written_before: u64,
}

impl SentBytes {
    /// Begins with a response of which `sent` bytes of its head have left, and `head` bytes are
    /// what is written first.
    pub(super) fn begin(
        exchange: &Exchange,
        outgoing: &Outgoing,
        sent: usize,
        head: usize,
    ) -> SentBytes {
        let stats = &exchange.stats;
        stats.head_sent.set(true);
        let sent = SentBytes {
            header_before: stats.header_sent.get() + sent as u64,
            head: head as u64,
            written_before: outgoing.written,
        };
        stats.header_sent.set(sent.header_before);
        sent
    }

    /// Notes what was written since then.
    pub(super) fn count(&self, exchange: &Exchange, outgoing: &Outgoing) {
        let written = outgoing.written - self.written_before;
        let of_head = written.min(self.head);
        let stats = &exchange.stats;
        stats.header_sent.set(self.header_before + of_head);
        stats.body_sent.set(written - of_head);
    }
}

/// What the access log tells of one attempt.
pub(crate) struct AttemptStats {
    /// The endpoint, or the upstream where none could be chosen.
    pub(crate) address: Box<str>,
    /// Of the response, or that which the failure stands for.
    pub(crate) status: u16,
    pub(crate) connect: Option<Duration>,
    pub(crate) header: Option<Duration>,
    pub(crate) response: Duration,
    pub(crate) response_length: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
}

impl Exchange {
    /// [`new`](Self::new), where it stays: it is large, and would be copied twice to get there.
    #[allow(
        unsafe_code,
        reason = "there is no safe way to fill what is counted in its place"
    )]
    pub(super) fn begin(
        session: &Session<'_>,
        request: RequestHead,
        began: Instant,
    ) -> Rc<Exchange> {
        let mut place = Rc::<Exchange>::new_uninit();
        let Some(vacant) = Rc::get_mut(&mut place) else {
            return Rc::new(Exchange::new(session, request, began)); // it has no other owner
        };
        vacant.write(Exchange::new(session, request, began));
        // SAFETY: it was written a moment ago.
        unsafe { place.assume_init() }
    }

    /// An exchange of which nothing is known but its client.
    #[inline(always)]
    pub(crate) fn new(session: &Session<'_>, request: RequestHead, began: Instant) -> Exchange {
        Exchange {
            request,
            host: session.worker.host_names.none(),
            normalised: None,
            uri: Uri::default(),
            framing: None,
            client: session.client.clone(),
            peer_trusted: false,
            real_client: None,
            serial: session.requests,
            began,
            balance: BalanceState::default(),
            stats: ExchangeStats::default(),
            response: RefCell::new(session.worker.take_response_head()),
            hooked: Hooked::default(),
            kept: KeptValues::default(),
            captures: RouteCaptures::default(),
            number: OnceCell::new(),
            response_changes: RefCell::default(),
            changed_before_head: Cell::default(),
            own_head: RefCell::default(),
            sent_header: RefCell::default(),
            server_name: RefCell::default(),
            proxy_host: RefCell::default(),
            to_tls: Cell::new(false),
            status_instead: Cell::new(None),
            passed_hooks: PassedHooks::default(),
            is_past_listener: Cell::new(false),
            in_place_of_error: Cell::new(false),
            handed_on: RefCell::default(),
            body_ahead: RefCell::default(),
            body_replaced: Cell::default(),
            worker: session.worker.clone(),
            worker_config: session.worker_config.clone(),
            listener: session.listener,
            listener_state: session.listener_state().clone(),
            logs_sent_header: session.worker_config.snapshot.logs_sent_header,
            trace: OnceCell::new(),
        }
    }

    /// It has come to nothing, and another route answers, with this status if there is one.
    pub(super) fn go_on_elsewhere(&self, status: Option<u16>) {
        self.balance.begin_anew();
        self.stats.answered.set(false);
        self.status_instead.set(status);
        self.in_place_of_error.set(true);
    }

    /// The route that it has taken.
    pub(super) fn taken_route(&self) -> Option<&Route> {
        let routes = &self.worker_config.snapshot.config.routes;
        routes.get(self.stats.route.get()?)
    }

    /// A number that no other exchange has; given when it is first asked for.
    pub(super) fn number(&self) -> u64 {
        *self.number.get_or_init(|| self.worker.next_number())
    }

    /// What became of it, for the hooks that were asked.
    pub(super) fn summary(&self) -> ExchangeSummary {
        let duration = self.began.elapsed();
        ExchangeSummary {
            status: self.stats.status.get(),
            complete: self.stats.complete.get(),
            duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
            bytes_sent: self.stats.body_sent.get(),
            bytes_received: self.stats.body_received.get(),
        }
    }

    /// `http` or `https`, as the connection has it.
    pub(crate) fn scheme(&self) -> &'static str {
        scheme(self.client.tls.is_some())
    }

    /// `http` or `https`, as the client has it: a trusted proxy in front says so in
    /// `X-Forwarded-Proto`.
    pub(super) fn client_scheme(&self) -> &'static str {
        let fields = self.request.fields();
        let mut reported = fields.believed(FieldName::XForwardedProto, self.peer_trusted);
        match reported.next() {
            Some(b"http") => "http",
            Some(b"https") => "https",
            _ => self.scheme(),
        }
    }

    /// The host of the route, as the file has it; empty before a route was found.
    pub(crate) fn server_name(&self) -> Ref<'_, str> {
        Ref::map(self.server_name.borrow(), |name| {
            name.as_deref().unwrap_or_default()
        })
    }

    /// Path and query, percent-encoded.
    pub(crate) fn uri(&self) -> &[u8] {
        match &self.uri.changed {
            Some(uri) => uri,
            None => self.received_uri(),
        }
    }

    /// Path and query as received.
    pub(crate) fn received_uri(&self) -> &[u8] {
        match &self.uri.owned {
            Some(uri) => uri.as_bytes(),
            None => self
                .request
                .target()
                .get(self.uri.start..)
                .unwrap_or_default(),
        }
    }

    /// What the client is told of `Strict-Transport-Security`.
    pub(super) fn hsts(&self) -> Option<&str> {
        let listeners = &self.worker_config.snapshot.config.listeners;
        self.client.tls.as_ref()?;
        listeners.get(self.listener)?.hsts.as_deref()
    }

    /// Keeps the header that goes to the client, if a log may ask for it.
    pub(crate) fn keep_sent_header(&self, header: &[u8]) {
        if self.logs_sent_header {
            self.sent_header.borrow_mut().extend_from_slice(header);
        }
    }

    /// The path, percent-encoded, without the query.
    pub(crate) fn path(&self) -> &[u8] {
        self.uri().get(..self.uri.path).unwrap_or_default()
    }

    /// The path, decoded and normalised.
    pub(crate) fn normalised(&self) -> &[u8] {
        self.normalised.as_deref().unwrap_or_else(|| self.path())
    }

    /// What follows the `?`; none where there is none.
    pub(crate) fn query(&self) -> Option<&[u8]> {
        self.uri().get(self.uri.path + 1..)
    }

    /// The host that the server gets, port included; empty where the request names none.
    pub(crate) fn authority(&self) -> &[u8] {
        let mut hosts = self.request.fields().known(FieldName::Host);
        hosts.next().unwrap_or_default()
    }

    /// The host as the client spells it, port included; empty where it names none.
    pub(crate) fn received_authority(&self) -> &[u8] {
        self.request.received_host().unwrap_or_default()
    }

    /// The client's address in text: as a trusted proxy reported it, else the connection's.
    pub(crate) fn remote_address(&self) -> &str {
        self.real_client
            .as_ref()
            .map_or(&self.client.address_text, |(_, text)| text)
    }

    pub(crate) fn remote_ip(&self) -> Option<IpAddr> {
        self.real_client
            .as_ref()
            .map(|(ip, _)| *ip)
            .or(self.client.ip)
    }

    /// Whether it is a call of gRPC, whose answer is told by trailers.
    pub(crate) fn is_grpc(&self) -> bool {
        let mut types = self.request.fields().named(b"content-type");
        self.request.version() == Version::Http2 && types.next().is_some_and(grpc::is_content_type)
    }

    /// The response header of the current attempt, if there is one.
    pub(crate) fn response(&self) -> Option<Ref<'_, ResponseHead>> {
        self.stats.answered.get().then(|| self.response.borrow())
    }

    /// Writes a line to the error log, with what nginx says of a request.
    pub(crate) fn warn(&self, message: &str, upstream: &str) {
        tracing::warn!("{message}{}", self.context(Some(upstream)));
    }

    /// As [`warn`](Exchange::warn), about no upstream.
    pub(crate) fn warn_of(&self, message: &dyn std::fmt::Display) {
        tracing::warn!("{message}{}", self.context(None));
    }

    pub(crate) fn error(&self, message: &dyn std::fmt::Display, upstream: Option<&str>) {
        tracing::error!("{message}{}", self.context(upstream));
    }

    pub(crate) fn info(&self, message: &dyn std::fmt::Display) {
        tracing::info!("{message}{}", self.context(None));
    }

    pub(crate) fn debug(&self, message: &dyn std::fmt::Display) {
        if tracing::enabled!(tracing::Level::DEBUG) {
            tracing::debug!("{message}{}", self.context(None));
        }
    }

    /// `, client: 192.0.2.7, server: a.example, request: "GET / HTTP/1.1", upstream: "...", host:
    /// "a.example"`
    pub(super) fn context(&self, upstream: Option<&str>) -> String {
        use std::fmt::Write;
        let mut line = String::with_capacity(160);
        // Writing to a string cannot fail.
        let _ = write!(
            line,
            ", client: {}, server: {}",
            self.remote_address(),
            self.server_name()
        );
        let request = self.request.line();
        let shown = &request[..request.len().min(MAX_LINE_SHOWN)];
        let more = if shown.len() < request.len() {
            "..."
        } else {
            ""
        };
        let _ = write!(line, ", request: \"{}{more}\"", shown.escape_ascii());
        if let Some(upstream) = upstream {
            let sent = self.uri.sent.borrow();
            let uri = if sent.is_empty() { self.uri() } else { &sent };
            let _ = write!(
                line,
                ", upstream: \"{}://{upstream}{}\"",
                scheme(self.to_tls.get()),
                uri.escape_ascii()
            );
        }
        if !self.host.is_empty() {
            let _ = write!(line, ", host: \"{}\"", self.host);
        }
        line
    }
}

fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

impl ExchangeStats {
    /// The endpoint of the current attempt.
    pub(crate) fn last_address(&self) -> Option<Box<str>> {
        self.attempts
            .borrow()
            .last()
            .map(|attempt| attempt.address.clone())
    }

    pub(crate) fn begin_attempt(&self, lease: &Lease) {
        self.push(&lease.endpoint().name, 0);
    }

    /// No endpoint could be chosen: the upstream stands for it, as in nginx.
    pub(crate) fn no_attempt(&self, upstream: &str, status: u16) {
        self.push(upstream, status);
    }

    fn push(&self, address: &str, status: u16) {
        self.attempts.borrow_mut().push(AttemptStats {
            address: address.into(),
            status,
            connect: None,
            header: None,
            response: Duration::ZERO,
            response_length: 0,
            bytes_received: 0,
            bytes_sent: 0,
        });
    }

    /// Notes something about the current attempt.
    pub(crate) fn attempt(&self, note: impl FnOnce(&mut AttemptStats)) {
        if let Some(attempt) = self.attempts.borrow_mut().last_mut() {
            note(attempt);
        }
    }
}
