//! Where the traffic of an upstream goes, by what is counted, and why it may be uneven: each reason
//! only where it applies by settings and figures.

use std::time::Duration;

use crate::admin_api::{Spread, SpreadReason, SpreadRequest, SpreadServer};
use crate::config::model::Config;
use crate::control_plane::admin::{Admin, standing};
use crate::data_plane::upstream::Upstream;
use crate::http::template::Template;
use crate::http::variable::Variable;

/// For how long it is counted at the most.
const LONGEST: u64 = 30;
/// Fewer requests than this for each server tell nothing.
const ENOUGH: u64 = 20;
/// Percent by which a share may differ from the fair one.
const MAY_DIFFER: u64 = 10;

/// Where the traffic of an upstream goes; none where there is no upstream of this name.
pub(in crate::control_plane) async fn spread(
    admin: &Admin,
    name: &str,
    request: &SpreadRequest,
) -> Option<Spread> {
    let seconds = request.seconds.min(LONGEST);
    let before = match seconds {
        0 => Vec::new(),
        _ => {
            let before = counted(admin.published.load().snapshot.upstream(name)?);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            before
        }
    };
    let published = admin.published.load_full();
    let snapshot = &published.snapshot;
    let upstream = snapshot.upstream(name)?;
    let mut servers = servers(upstream, admin);
    for (address, requests, failures) in before {
        let same = |one: &&mut SpreadServer| one.server.address.as_deref() == Some(&address);
        if let Some(server) = servers.iter_mut().find(same) {
            server.requests = server.requests.saturating_sub(requests);
            server.failures = server.failures.saturating_sub(failures);
        }
    }
    let requests = share(&mut servers);
    let differs = |one: &SpreadServer| one.share.abs_diff(one.fair) > MAY_DIFFER;
    let even = !servers.iter().any(differs);
    let facts = Facts {
        even,
        upstream,
        config: &snapshot.config,
        servers: &servers,
        requests,
        on_trial: published.registry.entries().any(|(name, entry)| {
            entry.on_trial.is_some() && *name == *upstream.config.policy.plugin
        }),
    };
    Some(Spread {
        name: name.to_owned(),
        policy: upstream.config.policy.plugin.clone(),
        seconds: (seconds > 0).then_some(seconds),
        requests,
        even,
        reasons: facts.reasons(),
        servers,
    })
}

/// Each address, its requests and those of them that failed.
fn counted(upstream: &Upstream) -> Vec<(String, u64, u64)> {
    let endpoints = upstream.endpoints().map(|(endpoint, _)| {
        let sums = endpoint.metrics().sums();
        let requests = sums.attempts().map(|(_, count)| count).sum();
        let failures = sums.failures().map(|(_, count)| count).sum();
        (endpoint.name.to_string(), requests, failures)
    });
    endpoints.collect()
}

fn servers(upstream: &Upstream, admin: &Admin) -> Vec<SpreadServer> {
    let sets = upstream.sets().zip([false, true]);
    let endpoints = sets.flat_map(|(set, backup)| {
        let endpoints = set.in_order();
        endpoints
            .map(move |endpoint| standing::server(set, endpoint, backup, admin.workers.clock()))
    });
    let servers = endpoints.zip(counted(upstream));
    let servers = servers.map(|(server, (_, requests, failures))| SpreadServer {
        server,
        requests,
        failures,
        share: 0,
        fair: 0,
    });
    let unresolved = standing::unresolved(upstream, &admin.names);
    let unresolved = unresolved.map(|server| SpreadServer {
        server,
        requests: 0,
        failures: 0,
        share: 0,
        fair: 0,
    });
    servers.chain(unresolved).collect()
}

/// Fills in the shares; all requests.
fn share(servers: &mut [SpreadServer]) -> u64 {
    let requests: u64 = servers.iter().map(|one| one.requests).sum();
    let has_primary = servers
        .iter()
        .any(|one| one.server.in_rotation && !one.server.backup);
    let takes_part =
        |one: &SpreadServer| one.server.in_rotation && one.server.backup != has_primary;
    let weights = servers.iter().filter(|one| takes_part(one));
    let weights: u64 = weights.map(|one| u64::from(one.server.weight)).sum();
    for one in servers {
        one.share = percent(one.requests, requests);
        if takes_part(one) {
            one.fair = percent(one.server.weight.into(), weights);
        }
    }
    requests
}

/// Rounded; 0 of nothing.
fn percent(part: u64, whole: u64) -> u64 {
    (part.saturating_mul(100) + whole / 2)
        .checked_div(whole)
        .unwrap_or(0)
}

/// What is known of an upstream and its traffic.
struct Facts<'a> {
    upstream: &'a Upstream,
    config: &'a Config,
    servers: &'a [SpreadServer],
    requests: u64,
    even: bool,
    on_trial: bool,
}

impl Facts<'_> {
    fn reasons(&self) -> Vec<SpreadReason> {
        let mut reasons = Vec::new();
        let mut because = |reason: &str, detail: String, action: &str| {
            reasons.push(SpreadReason {
                reason: reason.to_owned(),
                detail,
                action: action.to_owned(),
            });
        };
        let name = &self.upstream.config.name;
        let in_rotation = || self.servers.iter().filter(|one| one.server.in_rotation);
        let primaries = || in_rotation().filter(|one| !one.server.backup);
        if in_rotation().next().is_none() {
            because(
                "out",
                "no server is in rotation: clients get a 502".to_owned(),
                "`waypost upstream list` has why, and docs/runbook.md what to do",
            );
        }
        if self.requests > 0 && self.requests < ENOUGH * self.servers.len() as u64 {
            because(
                "few",
                format!(
                    "{} requests in all: by so few nothing can be told",
                    self.requests
                ),
                "ask again later, or for a while of traffic: `--for 10s`",
            );
        }
        for one in self.servers.iter().filter(|one| !one.server.in_rotation) {
            let why = one.server.why.first();
            let reason = why.map_or("out", |why| &why.reason);
            let is_full = reason == "full";
            let address = one.server.address.as_deref().unwrap_or(&one.server.server);
            because(
                if is_full { "full" } else { "out" },
                format!("{address} is out of rotation: {reason}"),
                match reason {
                    "down" => "`waypost upstream resume` brings back what a command took out",
                    "full" => "raise its `max_conns`, or add servers",
                    "unresolved" => {
                        "its name stands for no address: `waypost upstream list` has what was answered"
                    }
                    "failed" => "the error log has its failures; it is tried again by itself",
                    _ => "`waypost upstream list` has what its check or its errors say",
                },
            );
        }
        for one in primaries().filter(|one| one.server.slow_start_s > 0) {
            let (server, left) = (&one.server, one.server.slow_start_s);
            because(
                "starting",
                format!(
                    "{} takes its share little by little, for {left} s more",
                    server.server
                ),
                "wait, or shorten its `slow_start`",
            );
        }
        if self.servers.iter().any(|one| one.server.backup) {
            let used = match primaries().next() {
                Some(_) => "backups get nothing while another server is in rotation",
                None => "no server but backups is left, and they have all of it",
            };
            because(
                "backup",
                used.to_owned(),
                "drop `backup` where it is to have a share",
            );
        }
        let mut weights = primaries().map(|one| one.server.weight);
        let first = weights.next();
        if first.is_some_and(|first| weights.any(|weight| weight != first)) {
            because(
                "weights",
                "the weights differ: FAIR has the share that each stands for".to_owned(),
                "`waypost upstream weight` changes them while traffic flows",
            );
        }
        let spreads = self.requests > 0 && in_rotation().next().is_some();
        if !self.even && spreads {
            self.because_of_policy(&mut because);
        }
        let workers = self.config.server.workers;
        // What goes by a key is no matter of turns.
        let by_key = self.upstream.config.policy.settings.get("key").is_some()
            || matches!(&*self.upstream.config.policy.plugin, "ip_hash" | "sticky");
        if self.upstream.is_per_worker()
            && spreads
            && !by_key
            && workers > 1
            && self.requests < ENOUGH * workers as u64
        {
            because(
                "workers",
                format!("each of the {workers} workers has its own turn, and had few requests"),
                "nothing: it evens out with more requests",
            );
        }
        let leads_here = |index: usize| {
            let upstream = self.config.upstreams.get(index);
            upstream.is_some_and(|upstream| upstream.name == *name)
        };
        let mut streams = self.config.streams.iter();
        if streams.any(|stream| leads_here(stream.upstream)) {
            because(
                "sessions",
                "a session of a `[[stream]]` is balanced once: few long ones do not spread"
                    .to_owned(),
                "`least_conn` counts sessions under way",
            );
        }
        if self.on_trial {
            because(
                "trial",
                "another version of the policy is on trial for a share of the clients".to_owned(),
                "`waypost plugin list` has both versions",
            );
        }
        reasons
    }

    /// What comes of how its policy chooses.
    fn because_of_policy(&self, because: &mut impl FnMut(&str, String, &str)) {
        let policy = &self.upstream.config.policy;
        let key = policy.settings.get("key").and_then(|key| key.as_str());
        let template = key.and_then(|key| Template::parse_named(key).ok());
        let is_address = |variable: &Variable| {
            matches!(variable, Variable::RemoteAddr | Variable::BinaryRemoteAddr)
        };
        let by_address = policy.plugin == "ip_hash"
            || template
                .as_ref()
                .is_some_and(|key| key.variables().all(is_address));
        match (&template, key) {
            (Some(template), Some(key)) if template.as_literal().is_some() => because(
                "constant_key",
                format!("the key `{key}` is the same for all requests: they go to one server"),
                "name a variable in it, such as `$request_uri`",
            ),
            _ if by_address => {
                let listeners = self.config.listeners.iter();
                let trusts = listeners
                    .map(|listener| &listener.real_ip.trusted)
                    .any(|trusted| !trusted.networks.is_empty() || trusted.unix);
                let network = match policy.plugin.as_str() {
                    "ip_hash" => ", and one of IPv4 counts by its first three bytes",
                    _ => "",
                };
                because(
                    "one_address",
                    format!(
                        "the server is chosen by the client's address{network}: clients of one network, or behind one proxy, go to one server"
                    ),
                    match trusts {
                        true => "log `$remote_addr`; another key spreads them, such as a cookie's",
                        false => {
                            "no `trusted_proxies` is set: behind a proxy or a CDN, set it, and the clients' own addresses count"
                        }
                    },
                );
            }
            (Some(_), Some(key)) => because(
                "key",
                format!("requests with the same `{key}` go to one server"),
                "log the key, to see whether it is one for most requests",
            ),
            _ => {}
        }
        if policy.plugin == "sticky" {
            because(
                "sticky",
                "clients stay where they are: who is new is balanced alone".to_owned(),
                "let cookies expire, or `waypost upstream drain` the server for a moment",
            );
        }
        let latencies = self.servers.iter().filter(|one| one.server.in_rotation);
        let latencies: Vec<u32> = latencies.map(|one| one.server.latency_us).collect();
        let (least, most) = (latencies.iter().min(), latencies.iter().max());
        let by_latency = ["least_time", "ewma", "least_conn", "random"];
        if let (Some(least), Some(most)) = (least, most)
            && by_latency.contains(&&*policy.plugin)
            && *most > least.saturating_mul(2)
        {
            because(
                "latency",
                format!(
                    "`{}` gives less to servers that answer slowly, and some do",
                    policy.plugin
                ),
                "nothing, if they are to have less; else `round_robin`",
            );
        }
    }
}
