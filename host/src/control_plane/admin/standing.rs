//! A server as the API shows it: its figures, and why it is in rotation or not.

use std::time::{Duration, Instant, SystemTime};

use super::view::{milliseconds, time};
use crate::admin_api::{CheckStatus, ServerCounts, ServerError, ServerStatus, StandingReason};
use crate::config::model::UpstreamServer;
use crate::control_plane::resolve;
use crate::data_plane::process::Clock;
use crate::data_plane::upstream::{Endpoint, EndpointSet, Unfit, Upstream};
use crate::names::{NameState, Names};

pub(in crate::control_plane) fn server(
    set: &EndpointSet,
    endpoint: &Endpoint,
    backup: bool,
    clock: Clock,
) -> ServerStatus {
    let (now, now_us) = (clock.seconds(), clock.micros(Instant::now()));
    let slow_start_s = endpoint.starting(now).map_or(0, |since| {
        let grown = now.saturating_sub(since);
        endpoint.slow_start.saturating_sub(grown)
    });
    ServerStatus {
        address: Some(endpoint.name.to_string()),
        server: endpoint.server.to_string(),
        weight: endpoint.weight,
        backup,
        down: endpoint.down,
        max_conns: endpoint.max_conns,
        in_flight: endpoint.in_flight(),
        fails: endpoint.fails(),
        latency_us: endpoint.latency_us(),
        in_rotation: !endpoint.down && set.is_in_rotation(endpoint, now),
        slow_start_s,
        health: Some(set.health_of(endpoint)),
        why: reasons(set, endpoint, slow_start_s, now_us),
        check: check(endpoint, now_us),
        counts: None,
        last_error: last_error(endpoint, now_us),
    }
}

/// The servers of an upstream whose names have no address.
pub(in crate::control_plane) fn unresolved(
    upstream: &Upstream,
    names: &Names,
) -> impl Iterator<Item = ServerStatus> {
    let named = upstream.config.servers.iter().zip(&upstream.addresses);
    named.filter_map(|(server, addresses)| {
        let name = resolve::name(server).filter(|_| addresses.located.is_empty())?;
        Some(without_address(server, names.state(name)))
    })
}

/// One whose name has no address, or none that may be dialed. `state`: what is known of the name.
fn without_address(server: &UpstreamServer, state: Option<NameState>) -> ServerStatus {
    let (now, mut why) = (Instant::now(), reason("unresolved"));
    let down = server.down.then(|| down(server.down_by_command, None));
    if let Some(state) = state {
        let since = state.without_address;
        why.since_ms = since.map(|since| milliseconds(now.saturating_duration_since(since)));
        why.next_ms = Some(milliseconds(state.next.saturating_duration_since(now)));
        why.detail = state.why;
    }
    ServerStatus {
        address: None,
        server: server.spelling.clone(),
        weight: server.weight,
        backup: server.backup,
        down: server.down,
        max_conns: server.max_conns,
        in_flight: 0,
        fails: 0,
        latency_us: 0,
        in_rotation: false,
        slow_start_s: 0,
        health: Some(0),
        why: down.into_iter().chain([why]).collect(),
        check: None,
        counts: None,
        last_error: None,
    }
}

/// The gravest first.
fn reasons(
    set: &EndpointSet,
    endpoint: &Endpoint,
    slow_start_s: u64,
    now_us: u64,
) -> Vec<StandingReason> {
    let mut reasons = Vec::new();
    if endpoint.down {
        let since = endpoint.down_since;
        reasons.push(down(endpoint.down_by_command, since));
    }
    for (unfit, name) in [(Unfit::Check, "unhealthy"), (Unfit::Outlier, "ejected")] {
        let health = &endpoint.stats.health;
        if health.is_unfit_for(unfit) {
            let why = health.why(unfit);
            reasons.push(StandingReason {
                detail: why.map(|why| why.to_string()),
                since_ms: passed(health.since(unfit), now_us),
                next_ms: left(health.next(unfit), now_us),
                ignored: set.panics(),
                ..reason(name)
            });
        }
    }
    if endpoint.has_failed_out() {
        let micros = |seconds: u64| seconds.saturating_mul(1_000_000);
        let tried_again = micros(endpoint.tried_again());
        let is_due = tried_again <= now_us;
        let fails = endpoint.fails();
        let failures = if fails == 1 { "failure" } else { "failures" };
        let due = if is_due {
            ", the next request tries it"
        } else {
            ""
        };
        reasons.push(StandingReason {
            detail: Some(format!("{fails} {failures}{due}")),
            since_ms: passed(micros(endpoint.last_failure()), now_us),
            next_ms: left(tried_again, now_us).filter(|_| !is_due),
            ..reason("failed")
        });
    }
    if !endpoint.has_room() {
        let detail = format!("{} of `max_conns`", endpoint.in_flight());
        reasons.push(StandingReason {
            detail: Some(detail),
            ..reason("full")
        });
    }
    if slow_start_s > 0 && !endpoint.down {
        reasons.push(StandingReason {
            next_ms: Some(slow_start_s.saturating_mul(1000)),
            ..reason("starting")
        });
    }
    reasons
}

fn down(by_command: bool, since: Option<Instant>) -> StandingReason {
    let detail = match by_command {
        true => "by a command, until `resume`",
        false => "`down = true`",
    };
    StandingReason {
        detail: Some(detail.to_owned()),
        since_ms: since.map(|since| milliseconds(since.elapsed())),
        ..reason("down")
    }
}

fn reason(name: &str) -> StandingReason {
    StandingReason {
        reason: name.to_owned(),
        detail: None,
        since_ms: None,
        next_ms: None,
        ignored: false,
    }
}

fn check(endpoint: &Endpoint, now_us: u64) -> Option<CheckStatus> {
    let health = &endpoint.stats.health;
    let probe = health.last_probe()?;
    Some(CheckStatus {
        passed: probe.passed,
        outcome: probe.outcome.clone(),
        ago_ms: passed(probe.at, now_us).unwrap_or_default(),
        took_us: probe.took_us,
        next_ms: left(health.next(Unfit::Check), now_us).unwrap_or_default(),
    })
}

/// What was counted of it; none where it is counted together with others.
pub(super) fn counts(upstream: &Upstream, endpoint: &Endpoint) -> Option<ServerCounts> {
    let metrics = endpoint.metrics();
    if !upstream.metrics().tells_apart(metrics) {
        return None;
    }
    let sums = metrics.sums();
    let named = |(name, count): (&str, u64)| (name.to_owned(), count);
    Some(ServerCounts {
        requests: sums.attempts().map(|(_, count)| count).sum(),
        answers: sums.attempts().map(named).collect(),
        failed: sums.failures().map(|(_, count)| count).sum(),
        failures: sums.failures().map(named).collect(),
        retried: sums.retries().map(|(_, count)| count).sum(),
    })
}

fn last_error(endpoint: &Endpoint, now_us: u64) -> Option<ServerError> {
    let error = endpoint.stats.last_error.get()?;
    Some(ServerError {
        message: error.message.clone(),
        at: time(SystemTime::UNIX_EPOCH + Duration::from_micros(error.at)),
        ago_ms: passed(error.at, now_us).unwrap_or_default(),
    })
}

/// Milliseconds since a moment; none where there was none.
fn passed(moment: u64, now_us: u64) -> Option<u64> {
    (moment > 0).then(|| now_us.saturating_sub(moment) / 1000)
}

/// Milliseconds until a moment; none where there is none.
fn left(moment: u64, now_us: u64) -> Option<u64> {
    (moment > 0).then(|| moment.saturating_sub(now_us) / 1000)
}
