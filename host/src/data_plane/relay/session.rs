//! A session of a stream: what is known of it while it is under way, as logs and policies ask for
//! it.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::data_plane::downstream::Client;
use crate::data_plane::hooked::Hooked;
use crate::data_plane::proxy_protocol::AddressPair;
use crate::data_plane::upstream::{BalanceState, Balanceable, DescriptorSource, HeldByClient};
use crate::data_plane::worker::Worker;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::clock;
use crate::http::definition::KeptValues;
use crate::http::variable::{Defined, Variable, VariableSource};
use crate::plugin::{self, AttemptFacts, ExchangeSummary, HttpVersion};

/// A client's connection on its way to an endpoint.
pub(super) struct TcpSession {
    pub(super) client: Client,
    /// The server name in its ClientHello; none where the ClientHello was not looked at, or names
    /// none.
    pub(super) server_name: Option<Box<str>>,
    /// Index into the configuration's, once that is known.
    pub(super) upstream: Cell<Option<usize>>,
    pub(super) status: Cell<SessionStatus>,
    pub(super) worker: Rc<Worker>,
    /// The one that it began with.
    worker_config: Rc<WorkerConfig>,
    /// Values of variables that the configuration declares.
    kept: KeptValues,
    /// What hooks have to do with it.
    pub(super) hooked: Hooked,
    balance: BalanceState,
    bytes_received: Cell<u64>,
    bytes_sent: Cell<u64>,
    attempts: RefCell<SmallVec<[SessionAttempt; 1]>>,
}

/// How a session ended, in nginx's words for it (`ngx_stream.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionStatus {
    /// 200
    Carried,
    /// 400: what the client sent could not be understood.
    Refused,
    /// 403: a hook has turned the client away.
    TurnedAway,
    /// 499: the client left while we were connecting (nginx has no such status for streams, and the
    /// same one for requests).
    Left,
    /// 500: something is short on our side.
    Ours,
    /// 502: no endpoint could be reached.
    NoEndpoint,
    /// 503: a bound on the load of the upstream is reached.
    Overloaded,
}

/// What the access log tells of one attempt at one endpoint.
pub(super) struct SessionAttempt {
    /// The endpoint, or the upstream where none could be chosen.
    address: Box<str>,
    /// How long connecting took.
    pub(super) connect: Option<Duration>,
    bytes_sent: u64,
    bytes_received: u64,
}

impl TcpSession {
    pub(super) fn new(
        worker: Rc<Worker>,
        worker_config: Rc<WorkerConfig>,
        client: Client,
    ) -> TcpSession {
        TcpSession {
            worker_config,
            kept: KeptValues::default(),
            client,
            server_name: None,
            upstream: Cell::new(None),
            status: Cell::new(SessionStatus::Carried),
            worker,
            hooked: Hooked::default(),
            balance: BalanceState::default(),
            bytes_received: Cell::new(0),
            bytes_sent: Cell::new(0),
            attempts: RefCell::default(),
        }
    }

    pub(super) fn begin_attempt(&self, address: &str) {
        self.attempts.borrow_mut().push(SessionAttempt {
            address: address.into(),
            connect: None,
            bytes_sent: 0,
            bytes_received: 0,
        });
    }

    /// Notes something about the current attempt.
    pub(super) fn attempt(&self, note: impl FnOnce(&mut SessionAttempt)) {
        if let Some(attempt) = self.attempts.borrow_mut().last_mut() {
            note(attempt);
        }
    }

    /// Notes how many bytes went up, to the endpoint, and down, to the client.
    pub(super) fn ended_with(&self, up: u64, down: u64) {
        self.bytes_received.set(up);
        self.bytes_sent.set(down);
        self.attempt(|attempt| (attempt.bytes_sent, attempt.bytes_received) = (up, down));
    }

    /// What became of it, for the hooks that were asked.
    pub(super) fn summary(&self) -> ExchangeSummary {
        let age = self.client.accepted.elapsed();
        ExchangeSummary {
            status: 0,
            complete: self.status.get() == SessionStatus::Carried,
            duration_us: u64::try_from(age.as_micros()).unwrap_or(u64::MAX),
            bytes_sent: self.bytes_sent.get(),
            bytes_received: self.bytes_received.get(),
        }
    }

    pub(super) fn error(&self, message: &dyn std::fmt::Display, upstream: &str) {
        tracing::error!("{message}{}", self.context(Some(upstream)));
    }

    pub(super) fn info(&self, message: &dyn std::fmt::Display) {
        tracing::info!("{message}{}", self.context(None));
    }

    /// `, client: 192.0.2.7, server: 127.0.0.1:5432, upstream: "10.0.0.1:5432"`
    fn context(&self, upstream: Option<&str>) -> String {
        let mut line = self.client.context();
        if let Some(upstream) = upstream {
            line.push_str(", upstream: \"");
            line.push_str(upstream);
            line.push('"');
        }
        line
    }

    fn append_defined(&self, variable: Defined, out: &mut Vec<u8>) -> bool {
        let definitions = &self.worker_config.snapshot.config.variables;
        definitions.append(variable, self, &self.kept, out)
    }

    /// How many servers were tried, and the address of the last one.
    pub(super) fn tried(&self) -> (usize, Option<Box<str>>) {
        let attempts = self.attempts.borrow();
        (
            attempts.len(),
            attempts.last().map(|attempt| attempt.address.clone()),
        )
    }

    /// What each attempt has to say, joined as nginx does; false before the first.
    fn each_attempt(
        &self,
        out: &mut Vec<u8>,
        write: impl Fn(&SessionAttempt, &mut Vec<u8>),
    ) -> bool {
        let attempts = self.attempts.borrow();
        for (index, attempt) in attempts.iter().enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            write(attempt, out);
        }
        !attempts.is_empty()
    }
}

impl SessionStatus {
    pub(super) fn code(self) -> u16 {
        match self {
            SessionStatus::Carried => 200,
            SessionStatus::Refused => 400,
            SessionStatus::TurnedAway => 403,
            SessionStatus::Left => 499,
            SessionStatus::Ours => 500,
            SessionStatus::NoEndpoint => 502,
            SessionStatus::Overloaded => 503,
        }
    }
}

/// The variables that [`Variable::has_value_in`] says are a session's.
impl VariableSource for TcpSession {
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        match variable {
            Variable::Protocol => out.extend_from_slice(b"TCP"),
            Variable::Status => number(self.status.get().code(), out),
            Variable::BytesReceived => number(self.bytes_received.get(), out),
            Variable::BytesSent => number(self.bytes_sent.get(), out),
            Variable::SessionTime => clock::append_seconds(self.client.accepted.elapsed(), out),
            Variable::SslPrereadServerName => match &self.server_name {
                Some(name) => out.extend_from_slice(name.as_bytes()),
                None => return false,
            },
            Variable::UpstreamAddr => {
                return self.each_attempt(out, |attempt, out| {
                    out.extend_from_slice(attempt.address.as_bytes());
                });
            }
            Variable::UpstreamConnectTime => {
                return self.each_attempt(out, |attempt, out| match attempt.connect {
                    Some(time) => clock::append_seconds(time, out),
                    None => out.push(b'-'),
                });
            }
            Variable::UpstreamBytesSent => {
                return self.each_attempt(out, |attempt, out| number(attempt.bytes_sent, out));
            }
            Variable::UpstreamBytesReceived => {
                return self.each_attempt(out, |attempt, out| number(attempt.bytes_received, out));
            }
            Variable::Hostname => out.extend_from_slice(self.worker.process.hostname.as_bytes()),
            Variable::Pid => number(std::process::id(), out),
            Variable::Msec => clock::append_msec(out),
            Variable::TimeIso8601 => clock::append_time_iso8601(out),
            Variable::TimeLocal => clock::append_time_local(out),
            Variable::HookAttribute(name) => {
                return self.hooked.append_attribute(name.as_str(), out);
            }
            Variable::PluginNote => return self.hooked.append_notes(out),
            Variable::Defined(defined) => return self.append_defined(*defined, out),
            Variable::Named(name) => {
                let definitions = &self.worker_config.snapshot.config.variables;
                let defined = definitions.declared(name.as_str());
                return defined.is_some_and(|defined| self.append_defined(defined, out));
            }
            variable => return self.client.append(variable, out),
        }
        true
    }
}

fn number(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

impl Balanceable for TcpSession {
    fn balance(&self) -> &BalanceState {
        &self.balance
    }

    fn descriptors(&self) -> Rc<dyn DescriptorSource> {
        self.worker.clone()
    }

    fn ends(&self) -> Option<AddressPair> {
        self.client.ends(self.client.ip)
    }

    fn hold(&self) -> Option<HeldByClient> {
        None
    }

    fn worker(&self) -> usize {
        self.worker.index
    }

    fn speaks_http(&self) -> bool {
        false
    }

    fn warn(&self, message: &str, upstream: &str) {
        tracing::warn!("{message}{}", self.context(Some(upstream)));
    }
}

/// There is no request and no response here: a plugin gets empty values, and headers that it adds
/// are dropped.
impl plugin::ExchangeContext for TcpSession {
    fn candidates(&self, word: u32) -> u64 {
        self.balance.candidates(word)
    }

    fn narrow(&self, words: Option<&[u64]>) {
        self.balance.narrow(words);
    }

    fn method(&self) -> &str {
        ""
    }

    fn authority(&self) -> &[u8] {
        b""
    }

    fn path(&self) -> &str {
        ""
    }

    fn query(&self) -> &str {
        ""
    }

    fn scheme(&self) -> &str {
        ""
    }

    fn version(&self) -> HttpVersion {
        HttpVersion::Http11
    }

    fn request_header(&self, _: &str, _: &mut dyn FnMut(&[u8])) {}

    fn request_headers(&self, _: &mut dyn FnMut(&[u8], &[u8])) {}

    fn cookie(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn client_address(&self) -> Option<IpAddr> {
        self.client.ip
    }

    fn certificate_fingerprint(&self) -> Option<[u8; 32]> {
        self.client.certificate_fingerprint()
    }

    fn memo(&self) -> u64 {
        self.balance.memo.get()
    }

    fn set_memo(&self, value: u64) {
        self.balance.memo.set(value);
    }

    fn add_response_header(&self, _: &str, _: &[u8]) -> bool {
        true
    }

    fn forget_response_headers(&self) {}

    fn attempt_facts(&self) -> AttemptFacts {
        let attempts = self.attempts.borrow();
        let bytes = attempts
            .last()
            .map(|attempt| (attempt.bytes_sent, attempt.bytes_received));
        self.balance.attempt_facts(bytes)
    }

    fn response_status(&self) -> u16 {
        0
    }

    fn response_header(&self, _: &str, _: &mut dyn FnMut(&[u8])) {}

    fn is_response_local(&self) -> bool {
        false
    }

    fn route_named(&self, _: &str) -> Option<usize> {
        None
    }

    fn upstream_named(&self, _: &str) -> Option<usize> {
        None
    }

    fn attribute(&self, name: &str, out: &mut Vec<u8>) -> bool {
        self.hooked.append_attribute(name, out)
    }

    fn note(&self, text: &str) {
        self.hooked.note(text);
    }

    fn is_note_wanted(&self) -> bool {
        self.worker.worker_config().snapshot.shows_notes
    }

    fn log_context(&self) -> String {
        self.context(None)
    }
}
