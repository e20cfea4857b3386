//! One look beside the one before, as it is shown: rates instead of counters, and every text from
//! outside made harmless. With `--json` it is printed as it is here.

use std::collections::HashMap;

use serde::Serialize;

use super::super::table::{seconds, span};
use super::super::{printable, servers};
use super::figures::{Buckets, OfUpstream};
use super::look::Look;
use crate::admin_api::{
    EventStatus, PluginStatus, ProcessStatus, ServerCounts, ServerStatus, TrialStatus,
    UpstreamStatus,
};

/// For each second; none before there are two looks, or where it is not counted.
pub(super) type Rate = Option<f64>;

#[derive(Debug, Default, Serialize)]
pub(super) struct Shown {
    pub(super) process: Process,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) plugins: Vec<Plugin>,
    pub(super) hooks: Vec<Hook>,
    pub(super) events: Vec<Event>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Process {
    pub(super) version: String,
    pub(super) pid: u32,
    pub(super) state: String,
    pub(super) uptime_s: u64,
    pub(super) generation: u64,
    pub(super) workers: usize,
    pub(super) connections: usize,
    pub(super) in_flight: u64,
    /// What the rates are of.
    pub(super) seconds: Option<f64>,
    pub(super) requests_per_s: Rate,
    /// Answers with a status of 5xx.
    pub(super) errors_per_s: Rate,
    pub(super) p50_us: Option<u64>,
    pub(super) p99_us: Option<u64>,
    pub(super) servers: usize,
    pub(super) servers_in_rotation: usize,
    /// What somebody should look at.
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) policy: String,
    pub(super) in_rotation: usize,
    pub(super) requests_per_s: Rate,
    pub(super) errors_per_s: Rate,
    pub(super) retries_per_s: Rate,
    pub(super) in_flight: u32,
    pub(super) waiting: usize,
    /// Of the time to the header of a response.
    pub(super) p50_us: Option<u64>,
    pub(super) p99_us: Option<u64>,
    pub(super) servers: Vec<Server>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Server {
    pub(super) address: Option<String>,
    pub(super) server: String,
    pub(super) state: String,
    pub(super) in_rotation: bool,
    pub(super) down: bool,
    /// Why it is out, or gets less than its share.
    pub(super) why: Option<String>,
    pub(super) requests_per_s: Rate,
    /// Attempts that count against it.
    pub(super) failures_per_s: Rate,
    pub(super) retries_per_s: Rate,
    pub(super) in_flight: u32,
    /// A moving mean.
    pub(super) latency_us: u32,
    pub(super) weight: u32,
    pub(super) backup: bool,
    pub(super) last_error: Option<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Plugin {
    pub(super) name: String,
    pub(super) version: u64,
    pub(super) state: String,
    pub(super) used_by: Vec<String>,
    pub(super) calls_per_s: Rate,
    pub(super) mean_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) faults: u64,
    pub(super) worker_percent: u64,
    pub(super) memory_bytes: u64,
    pub(super) trial: Option<String>,
    pub(super) last_error: Option<String>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Hook {
    pub(super) name: String,
    pub(super) plugin: String,
    pub(super) proceed_per_s: Rate,
    pub(super) answer_per_s: Rate,
    pub(super) reroute_per_s: Rate,
    pub(super) failed_per_s: Rate,
    pub(super) mean_ns: u64,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Event {
    pub(super) level: String,
    pub(super) text: String,
    pub(super) count: u64,
    pub(super) last: String,
}

/// In one line, and [`printable`].
pub(super) fn harmless(text: &str) -> String {
    printable(&text.replace(['\n', '\t'], " "))
}

/// The look before, if it was at the same process.
struct Before<'a> {
    look: &'a Look,
    seconds: f64,
    servers: HashMap<ServerKey<'a>, &'a ServerCounts>,
    plugins: HashMap<(&'a str, u64), u64>,
}

type ServerKey<'a> = (&'a str, Option<&'a str>, &'a str, bool);

fn key<'a>(upstream: &'a UpstreamStatus, server: &'a ServerStatus) -> ServerKey<'a> {
    let (address, spelled) = (server.address.as_deref(), &*server.server);
    (&upstream.name, address, spelled, server.backup)
}

impl<'a> Before<'a> {
    fn of(now: &Look, earlier: &'a Look) -> Option<Before<'a>> {
        let seconds = now.at.saturating_duration_since(earlier.at).as_secs_f64();
        // In a container it is process 1, before a restart and after it.
        let is_same =
            earlier.status.pid == now.status.pid && earlier.status.uptime_s <= now.status.uptime_s;
        if !is_same || seconds <= 0.0 {
            return None;
        }
        let servers = earlier.upstreams.iter().flat_map(|upstream| {
            let counted =
                |server: &'a ServerStatus| Some((key(upstream, server), server.counts.as_ref()?));
            upstream.servers.iter().filter_map(counted)
        });
        let plugins = earlier.plugins.iter();
        Some(Before {
            look: earlier,
            seconds,
            servers: servers.collect(),
            plugins: plugins
                .map(|plugin| ((&*plugin.name, plugin.version), plugin.calls))
                .collect(),
        })
    }

    /// A sum goes back where one of its series is gone, as that of a server that was removed: how
    /// much came meanwhile is not known then.
    fn rate(&self, now: f64, earlier: f64) -> f64 {
        ((now - earlier).max(0.0) / self.seconds * 1e3).round() / 1e3
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a rate is shown with three digits"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time that was measured is neither negative nor of centuries"
)]
fn whole(value: f64) -> u64 {
    value.max(0.0).round() as u64
}

fn percentiles(now: &Buckets, earlier: Option<&Buckets>) -> (Option<u64>, Option<u64>) {
    let more = now.since(earlier);
    let of = |share| Some(whole(more.quantile(share)? * 1e6));
    (of(0.5), of(0.99))
}

impl Shown {
    pub(super) fn of(now: &Look, earlier: Option<&Look>) -> Shown {
        let before = earlier.and_then(|earlier| Before::of(now, earlier));
        let before = before.as_ref();
        Shown {
            process: process(now, before),
            upstreams: now
                .upstreams
                .iter()
                .map(|of| upstream(now, of, before))
                .collect(),
            plugins: now.plugins.iter().map(|of| plugin(of, before)).collect(),
            hooks: hooks(now, before),
            events: now.events.iter().map(event).collect(),
        }
    }
}

fn process(now: &Look, before: Option<&Before<'_>>) -> Process {
    let counters = &now.counters;
    let rate =
        |count: f64, of: fn(&Look) -> f64| before.map(|before| before.rate(count, of(before.look)));
    let (p50_us, p99_us) = match before {
        Some(before) => percentiles(&counters.times, Some(&before.look.counters.times)),
        None => (None, None),
    };
    let servers = || now.upstreams.iter().flat_map(|upstream| &upstream.servers);
    let status = &now.status;
    Process {
        version: harmless(&status.version),
        pid: status.pid,
        state: harmless(&status.state),
        uptime_s: status.uptime_s,
        generation: status.generation,
        workers: status.workers,
        connections: status.connections,
        in_flight: whole(counters.in_flight),
        seconds: before.map(|before| (before.seconds * 1e3).round() / 1e3),
        requests_per_s: rate(counters.requests, |look| look.counters.requests),
        errors_per_s: rate(counters.errors, |look| look.counters.errors),
        p50_us,
        p99_us,
        servers: servers().count(),
        servers_in_rotation: servers().filter(|server| server.in_rotation).count(),
        warnings: warnings(status, &now.upstreams, &now.plugins),
    }
}

/// The gravest first: there may be room for one.
fn warnings(
    status: &ProcessStatus,
    upstreams: &[UpstreamStatus],
    plugins: &[PluginStatus],
) -> Vec<String> {
    let mut warnings = Vec::new();
    for upstream in upstreams {
        let (name, all) = (harmless(&upstream.name), upstream.servers.len());
        let out = upstream.servers.iter().filter(|server| !server.in_rotation);
        match out.count() {
            0 => {}
            out if out == all => warnings.push(format!("no server of {name} is in rotation")),
            out => warnings.push(format!("{out} of {all} servers of {name} are out")),
        }
        if let Some(error) = upstream.source.as_ref().and_then(|of| of.error.as_ref()) {
            let error = harmless(error);
            warnings.push(format!("the list of {name} cannot be had: {error}"));
        }
    }
    for plugin in plugins.iter().filter(|plugin| is_bad(&plugin.state)) {
        let (name, state) = (harmless(&plugin.name), harmless(&plugin.state));
        warnings.push(format!("plugin {name} is {state}"));
    }
    if status.reloads.last_failed {
        let why = status.reloads.last_error.as_deref().unwrap_or_default();
        warnings.push(format!("the last reload was refused: {}", harmless(why)));
    }
    if let Some(store) = status.store.as_ref().filter(|store| !store.connected) {
        warnings.push(format!("the store {} is not reached", harmless(&store.url)));
    }
    for (count, what) in [
        (status.panics, "errors in the program itself"),
        (status.worker_restarts, "workers had to be replaced"),
    ] {
        if count > 0 {
            warnings.push(format!("{count} {what}"));
        }
    }
    warnings
}

/// Whether a plugin in this state does not do what it is there for.
pub(super) fn is_bad(state: &str) -> bool {
    ["quarantined", "refused", "over budget", "rolled back"].contains(&state)
}

fn upstream(now: &Look, of: &UpstreamStatus, before: Option<&Before<'_>>) -> Upstream {
    let none = OfUpstream::default();
    let counted = now.counters.upstreams.get(&of.name).unwrap_or(&none);
    let earlier = before.map(|before| {
        let earlier = before.look.counters.upstreams.get(&of.name);
        (before, earlier.unwrap_or(&none))
    });
    let rate = |count: fn(&OfUpstream) -> f64| {
        earlier.map(|(before, earlier)| before.rate(count(counted), count(earlier)))
    };
    let (p50_us, p99_us) = match earlier {
        Some((_, earlier)) => percentiles(&counted.times, Some(&earlier.times)),
        None => (None, None),
    };
    let servers = of.servers.iter();
    Upstream {
        name: harmless(&of.name),
        policy: harmless(&of.policy),
        in_rotation: servers.clone().filter(|server| server.in_rotation).count(),
        requests_per_s: rate(|of| of.requests),
        errors_per_s: rate(|of| of.errors),
        retries_per_s: rate(|of| of.retries),
        in_flight: servers.clone().map(|server| server.in_flight).sum(),
        waiting: of.load.waiting,
        p50_us,
        p99_us,
        servers: servers
            .map(|server| {
                let earlier = before
                    .and_then(|before| Some((before, *before.servers.get(&key(of, server))?)));
                self::server(server, earlier)
            })
            .collect(),
    }
}

fn server(of: &ServerStatus, earlier: Option<(&Before<'_>, &ServerCounts)>) -> Server {
    let rate = |count: fn(&ServerCounts) -> u64| {
        let (before, earlier) = earlier?;
        let now = of.counts.as_ref()?;
        Some(before.rate(float(count(now)), float(count(earlier))))
    };
    let why = Some(servers::why_in_words(of)).filter(|why| !why.is_empty());
    let probe = of.check.as_ref().filter(|check| !check.passed);
    let last_error = match (probe, &of.last_error) {
        (Some(probe), _) => {
            let ago = seconds(probe.ago_ms);
            Some(format!("probe {ago} ago: {}", probe.outcome))
        }
        (None, Some(error)) => {
            let ago = span(error.ago_ms / 1000);
            Some(format!("last error {ago} ago: {}", error.message))
        }
        (None, None) => None,
    };
    Server {
        address: of.address.as_deref().map(harmless),
        server: harmless(&of.server),
        state: harmless(&servers::state(of)),
        in_rotation: of.in_rotation,
        down: of.down,
        why: why.as_deref().map(harmless),
        requests_per_s: rate(|counts| counts.requests),
        failures_per_s: rate(|counts| counts.failed),
        retries_per_s: rate(|counts| counts.retried),
        in_flight: of.in_flight,
        latency_us: of.latency_us,
        weight: of.weight,
        backup: of.backup,
        last_error: last_error.as_deref().map(harmless),
    }
}

fn plugin(of: &PluginStatus, before: Option<&Before<'_>>) -> Plugin {
    let calls_per_s = before.and_then(|before| {
        let earlier = before.plugins.get(&(&*of.name, of.version))?;
        Some(before.rate(float(of.calls), float(*earlier)))
    });
    let used = |what: &str, names: &[String]| -> Vec<String> {
        let named = names
            .iter()
            .map(|name| format!("{what} {}", harmless(name)));
        named.collect()
    };
    Plugin {
        name: harmless(&of.name),
        version: of.version,
        state: harmless(&of.state),
        used_by: [
            used("upstream", &of.upstreams),
            used("hook", &of.hooks),
            used("route", &of.routes),
        ]
        .concat(),
        calls_per_s,
        mean_ns: of.mean_ns,
        p99_ns: of.p99_ns,
        faults: of.traps + of.deadlines + of.memory_faults + of.answers,
        worker_percent: of.worker_percent,
        memory_bytes: of.memory_bytes,
        trial: of.trial.as_ref().map(trial),
        last_error: of.last_error.as_deref().map(harmless),
    }
}

/// `canary of 5%, version 3: 120 exchanges, 0 errors, 0 faults`
fn trial(of: &TrialStatus) -> String {
    let share = of.share.as_ref().map(|share| format!(" of {share}"));
    let compared = match &*of.manner {
        "shadow" => format!("agreed {}, differed {}", of.agreed, of.differed),
        _ => {
            let (exchanges, errors) = (of.candidate.exchanges, of.candidate.errors);
            format!("{exchanges} exchanges, {errors} errors")
        }
    };
    harmless(&format!(
        "{}{}, version {}: {compared}, {} faults",
        of.manner,
        share.unwrap_or_default(),
        of.version,
        of.faults
    ))
}

fn hooks(now: &Look, before: Option<&Before<'_>>) -> Vec<Hook> {
    let of_plugins = now.plugins.iter();
    let named = of_plugins.flat_map(|plugin| plugin.hooks.iter().map(move |hook| (hook, plugin)));
    let told = named.map(|(hook, plugin)| {
        let count = |look: &Look, verdict: &str| {
            let verdicts = look.counters.verdicts.get(hook);
            verdicts
                .and_then(|of| of.get(verdict))
                .copied()
                .unwrap_or_default()
        };
        let rate = |verdict| {
            before.map(|before| before.rate(count(now, verdict), count(before.look, verdict)))
        };
        Hook {
            name: harmless(hook),
            plugin: harmless(&plugin.name),
            proceed_per_s: rate("proceed"),
            answer_per_s: rate("answer"),
            reroute_per_s: rate("reroute"),
            failed_per_s: rate("failed"),
            mean_ns: plugin.mean_ns,
        }
    });
    told.collect()
}

fn event(of: &EventStatus) -> Event {
    Event {
        level: harmless(&of.level),
        text: harmless(&of.text),
        count: of.count,
        last: harmless(&of.last),
    }
}
