//! Whether endpoints are well: checks of their health, and the ejection of outliers.

use std::ops::RangeInclusive;
use std::time::Duration;

use regex::bytes::Regex;

/// `health_check`: what an endpoint is asked to find out whether it is well, and how often.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    pub question: CheckQuestion,
    /// From the beginning of one probe to that of the next, default 5 s.
    pub interval: Duration,
    /// A pause is longer by a part of this, drawn anew each time; default zero.
    pub jitter: Duration,
    /// For a probe as a whole, the connection included; default 2 s.
    pub timeout: Duration,
    /// Probes in a row that bring an endpoint back, default 2.
    pub rise: u32,
    /// Probes in a row that take it out, default 3.
    pub fall: u32,
    /// Where probes go to, if not to the endpoint's own port.
    pub port: Option<u16>,
    /// Whether an endpoint is in rotation before its first probe; default yes.
    pub begins_up: bool,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq)]
pub enum CheckQuestion {
    /// A request, in the version of HTTP that the upstream speaks.
    Http(HttpCheck),
    /// `grpc.health.v1.Health/Check` for this service; empty: for the server as a whole.
    Grpc {
        service: String,
        host: Option<String>,
    },
    /// A connection, and a handshake where the upstream speaks TLS.
    Tcp,
}

/// A request, and what has to be answered.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpCheck {
    pub method: CheckMethod,
    /// With its query.
    pub path: String,
    /// None: the server as the configuration spells it.
    pub host: Option<String>,
    /// Further fields of the request.
    pub headers: Vec<(String, String)>,
    pub expect_status: Vec<RangeInclusive<u16>>,
    pub expect_body: Option<BodyPattern>,
}

/// A method without a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckMethod {
    Get,
    Head,
}

/// What the beginning of a body has to have in it.
#[derive(Debug, Clone)]
pub struct BodyPattern(pub Regex);

impl PartialEq for BodyPattern {
    fn eq(&self, other: &BodyPattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// `outliers`: which endpoints are ejected for answering worse than their peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outliers {
    /// In which attempts are counted, default 10 s.
    pub interval: Duration,
    /// Percent of the attempts of an interval that fail or are answered with 5xx, from which on an
    /// endpoint is ejected; default 50, 0 for never.
    pub error_rate: u32,
    /// Times the median latency of its peers, from which on it is ejected; 0 (default) for never.
    pub latency: u32,
    /// Attempts in an interval without which an endpoint is not judged, default 20.
    pub min_attempts: u32,
    /// For the first ejection, default 30 s; for those behind it in a row so many times that.
    pub ejection_time: Duration,
    /// For each ejection at most, default 5 min.
    pub max_ejection_time: Duration,
    /// Percent of the endpoints that may be ejected at a time, default 10.
    pub max_ejected: u32,
}
