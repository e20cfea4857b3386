//! What the admin API says in JSON: the process writes these types, the commands read them.
//!
//! `docs/admin.md` documents each field. A command may ask a process of the version before, so a
//! field that is new has a default.

mod explain; // of requests

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use self::explain::{
    Candidate, Choice, ClientTold, ExplainRequest, Explanation, Fact, HookStep, ListenerTold,
    Outcome, ProxyTold, RouteStep, RouteTold, Spread, SpreadReason, SpreadRequest, SpreadServer,
    Step,
};

/// The header with the signature of a component that is sent: the text of its `.minisig`, in base64.
pub(crate) const SIGNATURE: &str = "waypost-signature";

/// `GET /status`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ProcessStatus {
    pub(crate) version: String,
    pub(crate) pid: u32,
    /// `serving` or `draining`.
    pub(crate) state: String,
    pub(crate) uptime_s: u64,
    pub(crate) generation: u64,
    pub(crate) config: String,
    pub(crate) workers: usize,
    pub(crate) worker_restarts: u64,
    /// Errors of the program itself; each is a line in the error log.
    #[serde(default)]
    pub(crate) panics: u64,
    pub(crate) connections: usize,
    pub(crate) accepted: u64,
    pub(crate) listeners: Vec<String>,
    #[serde(default)]
    pub(crate) streams: Vec<String>,
    pub(crate) reloads: ReloadCounts,
    /// Where what plugins share is kept, if not in the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<RemoteStoreStatus>,
}

/// How a store that is elsewhere does.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemoteStoreStatus {
    /// Without its password.
    pub(crate) url: String,
    pub(crate) connected: bool,
    pub(crate) asked: u64,
    /// What was not answered, or not in time.
    pub(crate) failed: u64,
    /// The last one.
    pub(crate) error: Option<String>,
}

/// `GET /certificates`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CertificateList {
    pub(crate) certificates: Vec<CertificateStatus>,
}

/// A certificate that clients are shown, or are to be shown.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct CertificateStatus {
    /// Its domain if it is ordered, or else the first name that it is made out for.
    pub(crate) name: String,
    pub(crate) names: Vec<String>,
    /// `valid`, `expired`, `not yet valid`; of one that is ordered also `waiting`, `ordering`,
    /// `failing`.
    pub(crate) state: String,
    /// As `CN=R11,O=Let's Encrypt,C=US`.
    pub(crate) issuer: Option<String>,
    /// RFC 3339, in UTC.
    pub(crate) not_before: Option<String>,
    pub(crate) not_after: Option<String>,
    pub(crate) days_left: Option<i64>,
    pub(crate) file: String,
    pub(crate) listeners: Vec<String>,
    /// None where whoever wrote the file renews it.
    pub(crate) ordered: Option<OrderedStatus>,
}

/// How a certificate does that is ordered.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OrderedStatus {
    /// The URL of the authority's directory.
    pub(crate) directory: String,
    /// When it is ordered next: RFC 3339, in UTC.
    pub(crate) next: String,
    pub(crate) last_error: Option<String>,
}

/// How reloads went so far.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct ReloadCounts {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) last_error: Option<String>,
    /// The last of them is that which failed.
    #[serde(default)]
    pub(crate) last_failed: bool,
}

/// `GET /events`: what the error log has said of late, the newest first.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EventList {
    pub(crate) events: Vec<EventStatus>,
}

/// Lines that differ in nothing but numbers. Times are RFC 3339, in UTC.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EventStatus {
    /// `error`, `warn` or `info`.
    pub(crate) level: String,
    /// The last of them.
    pub(crate) text: String,
    pub(crate) count: u64,
    pub(crate) first: String,
    pub(crate) last: String,
}

/// `GET /plugins`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PluginList {
    pub(crate) plugins: Vec<PluginStatus>,
}

/// `GET /plugins/NAME`: the counters are those of the version in force.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct PluginStatus {
    pub(crate) name: String,
    pub(crate) stock: bool,
    pub(crate) version: u64,
    /// SHA-256 of the file, in hex.
    pub(crate) hash: String,
    /// The key of `signed_by` that has signed it; none where nobody has to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signed_by: Option<String>,
    /// `live`, `quarantined`, `over budget` or `rolled back`; `compiling` or `refused` for one that
    /// never served, while its fallback does.
    pub(crate) state: String,
    pub(crate) world: String,
    pub(crate) imports: Vec<String>,
    pub(crate) calls: u64,
    pub(crate) mean_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) traps: u64,
    pub(crate) deadlines: u64,
    pub(crate) memory_faults: u64,
    pub(crate) answers: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) instances: u64,
    pub(crate) upstreams: Vec<String>,
    /// `policy`, `filter`, `scorer`, `hook`, `component`: what it can be used as.
    #[serde(default)]
    pub(crate) kinds: Vec<String>,
    /// The hooks that it is, by name.
    #[serde(default)]
    pub(crate) hooks: Vec<String>,
    /// The routes that it answers as their `component`: names, or hosts and paths.
    #[serde(default)]
    pub(crate) routes: Vec<String>,
    /// The upstreams that routes let it ask, as their `component`.
    #[serde(default)]
    pub(crate) may_ask: Vec<String>,
    /// What it counts itself.
    #[serde(default)]
    pub(crate) counters: BTreeMap<String, u64>,
    /// What it keeps in the store; none where it does not ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<StoreStatus>,
    /// When the present version was put in force last: RFC 3339, in UTC.
    #[serde(default)]
    pub(crate) since: Option<String>,
    /// The trial that it was promoted from: `shadow`, `canary of 5%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) promoted_from: Option<String>,
    pub(crate) previous: Option<PluginVersion>,
    /// Another version that is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trial: Option<TrialStatus>,
    pub(crate) last_error: Option<String>,
    /// Percent of each worker's time that its calls may take.
    #[serde(default)]
    pub(crate) budget: u32,
    /// Percent of its time that the busiest worker spent on it of late.
    #[serde(default)]
    pub(crate) worker_percent: u64,
    /// Picks that were left to the fallback because a budget was used up.
    #[serde(default)]
    pub(crate) over_budget: u64,
    /// What happened to it, through all versions; the newest last.
    #[serde(default)]
    pub(crate) history: Vec<PluginIncident>,
}

/// A version that is tried beside the one that serves.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TrialStatus {
    /// `canary` or `shadow`.
    pub(crate) manner: String,
    pub(crate) version: u64,
    pub(crate) hash: String,
    /// RFC 3339, in UTC.
    pub(crate) since: String,
    /// Of a canary: of clients, as `5%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) share: Option<String>,
    /// Of a canary: what ends it by itself, and the exchanges before (`after`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) rails: BTreeMap<String, String>,
    pub(crate) calls: u64,
    pub(crate) mean_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) faults: u64,
    /// Of a shadow: decisions that were as those of the version that serves, and others.
    pub(crate) agreed: u64,
    pub(crate) differed: u64,
    /// Since the trial has begun.
    pub(crate) serving: TrialSide,
    pub(crate) candidate: TrialSide,
}

/// What came of the exchanges of one version; of a policy, of its attempts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TrialSide {
    pub(crate) exchanges: u64,
    pub(crate) errors: u64,
    pub(crate) mean_us: u64,
    /// Of a policy: the busiest server's share of the picks over its fair share.
    pub(crate) imbalance: Option<f64>,
}

/// One kind of thing that happened to one version of a plugin. Times are RFC 3339, in UTC.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PluginIncident {
    pub(crate) version: u64,
    /// `serves`, `promoted`, `refused`, `trap`, `deadline`, `memory`, `answer`, `over budget`, `quarantined` or
    /// `rolled back`.
    pub(crate) event: String,
    /// The last time that it happened.
    pub(crate) detail: String,
    pub(crate) count: u64,
    pub(crate) first: String,
    pub(crate) last: String,
}

/// What a plugin keeps in the store, in all of its versions and uses.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoreStatus {
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    /// What had no room.
    pub(crate) refused: u64,
}

/// A version that a rollback would return to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PluginVersion {
    pub(crate) version: u64,
    pub(crate) hash: String,
}

/// `GET /upstreams`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UpstreamList {
    pub(crate) upstreams: Vec<UpstreamStatus>,
}

/// `GET /upstreams/NAME`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct UpstreamStatus {
    pub(crate) name: String,
    pub(crate) policy: String,
    /// After a change: what it has led to and is hardly meant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    pub(crate) servers: Vec<ServerStatus>,
    /// Of its servers, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) names: Vec<NameStatus>,
    /// Who else lists servers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<SourceStatus>,
    #[serde(default)]
    pub(crate) load: LoadStatus,
}

/// Where servers of an upstream are listed, beside the configuration.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SourceStatus {
    /// `file`, `http`, `etcd`, `consul` or `kubernetes`.
    pub(crate) kind: String,
    pub(crate) name: String,
    /// How many of the upstream's servers are from there.
    pub(crate) servers: usize,
    /// They are those that were kept on the disk: there was no answer yet.
    pub(crate) kept: bool,
    /// Since the last answer that could be used; none before the first.
    pub(crate) answered_ms: Option<u64>,
    /// Until it is asked again; none while it is asked, or watched.
    pub(crate) next_ms: Option<u64>,
    /// Why the last answer could not be had, or not be used.
    pub(crate) error: Option<String>,
}

/// What an upstream has to do, in all workers, and what bounds it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct LoadStatus {
    /// Requests in its `queue`.
    pub(crate) waiting: usize,
    /// The `size` of its queue; 0 without one.
    pub(crate) queue_size: u32,
    /// Requests at its servers.
    pub(crate) requests: u32,
    /// `requests` of its `limits`; 0 is unlimited.
    pub(crate) max_requests: u32,
    /// Open connections, idle ones included.
    pub(crate) connections: usize,
    /// `connections` of its `limits`; 0 is unlimited.
    pub(crate) max_connections: u32,
    /// How many requests each bound has refused, by its name.
    pub(crate) refused: BTreeMap<String, u64>,
}

/// A name that is resolved again and again.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NameStatus {
    /// What name servers are asked about.
    pub(crate) name: String,
    /// How many addresses it has.
    pub(crate) addresses: usize,
    /// Since it was asked about.
    pub(crate) asked_ms: u64,
    /// Until it is asked about again.
    pub(crate) next_ms: u64,
    /// Why there was no answer, or only half of one; the addresses are those known before then.
    pub(crate) error: Option<String>,
}

/// One address of one of an upstream's servers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServerStatus {
    /// None while its name has none.
    pub(crate) address: Option<String>,
    /// As the configuration spells it.
    pub(crate) server: String,
    pub(crate) weight: u32,
    pub(crate) backup: bool,
    pub(crate) down: bool,
    pub(crate) max_conns: u32,
    pub(crate) in_flight: u32,
    pub(crate) fails: u32,
    /// Of the response header, a moving mean; 0 before the first.
    pub(crate) latency_us: u32,
    pub(crate) in_rotation: bool,
    /// Seconds until its share has grown to its weight (`slow_start`).
    #[serde(default)]
    pub(crate) slow_start_s: u64,
    /// The share of attempts and probes of late that went well, in percent; 0 out of rotation.
    #[serde(default)]
    pub(crate) health: Option<u32>,
    /// Each reason why it is out of rotation or gets less than its share, in words.
    #[serde(default)]
    pub(crate) why: Vec<StandingReason>,
    /// The last probe of its `health_check`, if there is one.
    #[serde(default)]
    pub(crate) check: Option<CheckStatus>,
    /// What it was asked since the process began; none where it is not counted by itself.
    #[serde(default)]
    pub(crate) counts: Option<ServerCounts>,
    /// What went wrong with a request last.
    #[serde(default)]
    pub(crate) last_error: Option<ServerError>,
}

/// What was counted of a server, as `/metrics` has it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ServerCounts {
    /// Attempts, whatever came of them.
    pub(crate) requests: u64,
    /// By the class of the answer's status, `none` without one.
    pub(crate) answers: BTreeMap<String, u64>,
    /// Those that count against it, and how many for each reason.
    pub(crate) failed: u64,
    pub(crate) failures: BTreeMap<String, u64>,
    /// Those in whose place another server was asked.
    pub(crate) retried: u64,
}

/// What went wrong with a request to a server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServerError {
    /// As in the error log.
    pub(crate) message: String,
    /// RFC 3339, in UTC.
    pub(crate) at: String,
    pub(crate) ago_ms: u64,
}

/// Why a server is out of rotation, or gets less than its share.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StandingReason {
    /// `unresolved`, `down`, `failed`, `unhealthy`, `ejected`, `full`, `starting`.
    pub(crate) reason: String,
    /// What has led to it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    /// Since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since_ms: Option<u64>,
    /// Until it is looked at again: the next probe, the next attempt, the end of an ejection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_ms: Option<u64>,
    /// It takes part all the same, as too few servers are healthy (`panic_threshold`).
    #[serde(default)]
    pub(crate) ignored: bool,
}

/// What a probe came to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CheckStatus {
    pub(crate) passed: bool,
    /// In words.
    pub(crate) outcome: String,
    /// Since it ended.
    pub(crate) ago_ms: u64,
    pub(crate) took_us: u64,
    /// Until the next one begins.
    pub(crate) next_ms: u64,
}

/// `POST /reload`: the new configuration serves.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    pub(crate) generation: u64,
    /// What the configuration says and only a new process can do.
    pub(crate) warnings: Vec<String>,
}

/// `POST /upgrade`: another process serves.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Upgraded {
    pub(crate) pid: u32,
}

/// `PATCH /upstreams/NAME/servers/SERVER`: what is not named stays.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServerPatch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) weight: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) down: Option<bool>,
}

/// The body of every answer with a status of 400 or more.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RequestRefused {
    /// One line.
    pub(crate) error: String,
    /// Of a configuration, each as `waypost check` prints it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) problems: Vec<String>,
}
