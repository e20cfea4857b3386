//! What `waypost explain` asks, and what it is told. `docs/explain.md` documents each field.

use serde::{Deserialize, Serialize};

use super::ServerStatus;
pub(crate) use crate::data_plane::exchange::explained::{
    Choice, Fact, HookStep, Outcome, RouteStep, RouteTold, Step,
};

/// `POST /explain`: the request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainRequest {
    pub(crate) url: String,
    #[serde(default = "get")]
    pub(crate) method: String,
    /// Names and values, in their order.
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    /// The address of the client's connection, with or without a port. Default `127.0.0.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    /// The listener, where the URL's port does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) listener: Option<String>,
}

impl ExplainRequest {
    /// A `GET` of a URL.
    pub(crate) fn of(url: &str) -> ExplainRequest {
        ExplainRequest {
            url: url.to_owned(),
            method: get(),
            headers: Vec::new(),
            from: None,
            listener: None,
        }
    }
}

fn get() -> String {
    "GET".to_owned()
}

/// What would become of a request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Explanation {
    /// `running` where a process was asked; `fresh`: as if it had just started with this file.
    pub(crate) state: String,
    /// Of the configuration that the process serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<u64>,
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) listener: ListenerTold,
    pub(crate) client: ClientTold,
    /// As routes see it: in lower case, without a port.
    pub(crate) host: String,
    /// Routes that were looked for, and hooks that had their turn, in order.
    pub(crate) steps: Vec<Step>,
    pub(crate) outcome: Outcome,
    /// Where it goes to an upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proxy: Option<ProxyTold>,
    /// What else is to be known, such as what could not be looked at.
    pub(crate) notes: Vec<String>,
}

/// The listener that takes the connection.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ListenerTold {
    pub(crate) address: String,
    pub(crate) tls: bool,
    /// The name that the client asks for in its handshake.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server_name: Option<String>,
    /// The files of the certificates that it may be shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) certificates: Vec<String>,
}

/// Who asks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ClientTold {
    /// `$remote_addr`
    pub(crate) address: String,
    /// Of the connection, where trusted proxies report another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
}

/// How an upstream is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProxyTold {
    pub(crate) upstream: String,
    pub(crate) policy: String,
    /// The head that a server gets, line by line.
    pub(crate) request: Vec<String>,
    pub(crate) servers: Vec<Candidate>,
    /// None where the policy was not asked: a note says why.
    pub(crate) choice: Option<Choice>,
    /// The servers that it chose when it was asked again with other random numbers, if it was not
    /// always the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) by_chance: Vec<String>,
    /// Why the choice of the next real request may be another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) approximate: Option<String>,
}

/// `POST /upstreams/NAME/explain`: what is asked about the traffic of an upstream.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpreadRequest {
    /// Counts for so long; 0: what was counted since the process started.
    #[serde(default)]
    pub(crate) seconds: u64,
}

/// Where the traffic of an upstream has gone, and why.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) name: String,
    pub(crate) policy: String,
    /// For how long it was counted; none since the process started.
    pub(crate) seconds: Option<u64>,
    pub(crate) requests: u64,
    pub(crate) servers: Vec<SpreadServer>,
    /// Whether each server has about the share that its weight stands for.
    pub(crate) even: bool,
    /// Why it may be as it is: what is known to apply, the likeliest first.
    pub(crate) reasons: Vec<SpreadReason>,
}

/// A server, and what it had of the traffic.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpreadServer {
    #[serde(flatten)]
    pub(crate) server: ServerStatus,
    /// Attempts that have ended, and those of them that failed.
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    /// Percent of all requests of the upstream.
    pub(crate) share: u64,
    /// Percent that its weight stands for, of the servers in rotation.
    pub(crate) fair: u64,
}

/// Why traffic is not even, and what to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SpreadReason {
    /// `few`, `out`, `weights`, `backup`, `starting`, `full`, `one_address`, `constant_key`, `key`,
    /// `sticky`, `latency`, `workers`, `sessions`, `trial`.
    pub(crate) reason: String,
    pub(crate) detail: String,
    /// What to do about it.
    pub(crate) action: String,
}

/// A server of the upstream, and whether the policy may choose it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Candidate {
    #[serde(flatten)]
    pub(crate) server: ServerStatus,
    pub(crate) candidate: bool,
    /// Why not, where its standing does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why_not: Option<String>,
}
