//! What plugins are told about: endpoints, exchanges, sessions. The data plane has them; plugins
//! see them through these traits alone.

use std::net::IpAddr;
use std::rc::Rc;

use wasmtime::component::{ComponentType, Lower};

use crate::http::variable::VariableSource;

/// What the host knows of the endpoints of one group. Live figures, shared by all workers.
#[allow(
    clippy::len_without_is_empty,
    reason = "nobody asks whether a fleet is empty"
)]
pub trait FleetView: Send + Sync {
    /// The endpoints as `members.update` passes them: by index, with an empty address where one is
    /// gone.
    fn endpoints(&self) -> Vec<EndpointView>;
    /// Those that are there, in configuration order, each with its index: what
    /// `member-changes.change` passes.
    fn members(&self) -> Vec<(u32, EndpointView)> {
        (0..).zip(self.endpoints()).collect()
    }
    /// What the configuration says of an endpoint; none for an index that does not exist.
    fn server(&self, index: u32) -> Option<ServerView<'_>>;
    /// Attempts in progress; 0 for an index that does not exist.
    fn in_flight(&self, index: u32) -> u32;
    /// Mean time to the response header in microseconds, 0 if unknown.
    fn latency_us(&self, index: u32) -> u32;
    /// How well it is, in percent: see `fleet.health` in the WIT. 0 for an index that does not exist.
    fn health(&self, index: u32) -> u32;
    /// How many indexes there are.
    fn len(&self) -> u32;

    // Of every endpoint, in order, added to a list. Here and not where they are asked for: in an
    // implementation's own code, no endpoint takes a call.

    /// [`in_flight`](FleetView::in_flight) of each.
    fn add_in_flight(&self, all: &mut Vec<u32>) {
        all.extend((0..self.len()).map(|index| self.in_flight(index)));
    }
    /// [`latency_us`](FleetView::latency_us) of each.
    fn add_latency_us(&self, all: &mut Vec<u32>) {
        all.extend((0..self.len()).map(|index| self.latency_us(index)));
    }
    /// [`health`](FleetView::health) of each.
    fn add_health(&self, all: &mut Vec<u32>) {
        all.extend((0..self.len()).map(|index| self.health(index)));
    }
}

/// One endpoint as plugins get it: see `fleet.endpoint` in the WIT.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower)]
#[component(record)]
pub struct EndpointView {
    pub id: u64,
    pub address: String,
    pub weight: u32,
}

/// What the configuration says of an endpoint.
#[derive(Debug, Clone, Copy)]
pub struct ServerView<'a> {
    /// As the configuration spells it.
    pub name: &'a str,
    pub down: bool,
    pub labels: &'a [(String, String)],
    pub max_fails: u32,
    /// In whole seconds.
    pub fail_timeout: u64,
    pub route: &'a str,
}

/// What the settings of an upstream's plugins have to fit: see `upstream` in the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamTraits {
    pub has_backups: bool,
    pub carries_requests: bool,
    pub carries_streams: bool,
}

impl Default for UpstreamTraits {
    /// Requests only, and no backups.
    fn default() -> UpstreamTraits {
        UpstreamTraits {
            has_backups: false,
            carries_requests: true,
            carries_streams: false,
        }
    }
}

/// Why an attempt failed: see `attempt.failure` in the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum FailureKind {
    #[default]
    #[component(name = "none")]
    None,
    #[component(name = "connect")]
    Connect,
    #[component(name = "tls")]
    Tls,
    #[component(name = "connect-timeout")]
    ConnectTimeout,
    #[component(name = "timeout")]
    Timeout,
    #[component(name = "reset")]
    Reset,
    #[component(name = "protocol")]
    Protocol,
    #[component(name = "status")]
    Status,
    #[component(name = "other")]
    Other,
}

/// What is known of an attempt that has ended, beside its outcome.
#[derive(Debug, Clone, Copy, Default)]
pub struct AttemptFacts {
    pub failure: FailureKind,
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

/// A version of HTTP: see `request.http-version` in the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
#[allow(dead_code, reason = "the contract has versions that this host has not")]
pub enum HttpVersion {
    #[component(name = "http10")]
    Http10,
    #[component(name = "http11")]
    Http11,
    #[component(name = "http2")]
    Http2,
    #[component(name = "http3")]
    Http3,
}

/// The exchange at hand, or the session of a stream, as plugins see it. [`VariableSource`] answers
/// for variables, and for what they have names for.
pub trait ExchangeContext: VariableSource {
    /// See `fleet.candidates` in the WIT. Of the group being balanced at this moment.
    fn candidates(&self, word: u32) -> u64;
    /// From here on, of each word only these bits count as candidates; none: all do.
    fn narrow(&self, words: Option<&[u64]>);
    fn method(&self) -> &str;
    /// `http` or `https`, as the client has it; empty for sessions of streams.
    fn scheme(&self) -> &str;
    /// Host and port as the request spells them; empty where it names none.
    fn authority(&self) -> &[u8];
    fn path(&self) -> &str;
    fn query(&self) -> &str;
    fn version(&self) -> HttpVersion;
    /// Calls `each` with every value of a request header; the name in any case.
    fn request_header(&self, name: &str, each: &mut dyn FnMut(&[u8]));
    /// Calls `each` with the name and value of every request header.
    fn request_headers(&self, each: &mut dyn FnMut(&[u8], &[u8]));
    fn cookie(&self, name: &str) -> Option<&[u8]>;
    fn client_address(&self) -> Option<IpAddr>;
    /// The SHA-256 of the client's certificate, if it has shown a valid one.
    fn certificate_fingerprint(&self) -> Option<[u8; 32]>;
    fn memo(&self) -> u64;
    fn set_memo(&self, value: u64);
    /// False where HTTP does not allow the name or value.
    fn add_response_header(&self, name: &str, value: &[u8]) -> bool;
    /// Drops the headers that were added for the current attempt.
    fn forget_response_headers(&self);
    /// Of the attempt that has ended last.
    fn attempt_facts(&self) -> AttemptFacts;
    /// 0 where there is no response yet.
    fn response_status(&self) -> u16;
    fn response_header(&self, name: &str, each: &mut dyn FnMut(&[u8]));
    /// The answer is the host's or a hook's own.
    fn is_response_local(&self) -> bool;
    /// The route of that name that a hook may send it to: an index.
    fn route_named(&self, name: &str) -> Option<usize>;
    /// The upstream of that name: an index.
    fn upstream_named(&self, name: &str) -> Option<usize>;
    /// Appends what a hook has set under this name; false where none has.
    fn attribute(&self, name: &str, out: &mut Vec<u8>) -> bool;
    /// Adds to what plugins say of their decisions.
    fn note(&self, text: &str);
    /// A log will show what they say.
    fn is_note_wanted(&self) -> bool;
    /// What a line of the error log tells of it: `, client: 192.0.2.7, ...`.
    fn log_context(&self) -> String;
}

/// The exchange at hand is shared between its task and the plugin call.
pub type ExchangeAtHand = Rc<dyn ExchangeContext>;
