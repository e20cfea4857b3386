//! The table of `waypost upstream list`: a line for each address, and why it is in rotation or not.

use std::time::Duration;

use super::table::{aligned, brief, seconds};
use crate::admin_api::{CheckStatus, ServerStatus, StandingReason, UpstreamStatus};

const HEADER: [&str; 14] = [
    "NAME",
    "POLICY",
    "SERVER",
    "ADDRESS",
    "WEIGHT",
    "STATE",
    "BACKUP",
    "IN_FLIGHT",
    "MAX_CONNS",
    "FAILS",
    "LATENCY",
    "HEALTH",
    "CHECK",
    "WHY",
];

pub(super) fn in_words(upstreams: &[UpstreamStatus]) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    for upstream in upstreams {
        rows.extend(upstream.servers.iter().map(|server| row(upstream, server)));
    }
    let warnings = upstreams.iter().flat_map(|upstream| &upstream.warnings);
    let warnings: String = warnings
        .map(|warning| format!("warning: {warning}\n"))
        .collect();
    warnings + &aligned(&rows)
}

fn row(upstream: &UpstreamStatus, server: &ServerStatus) -> [String; 14] {
    let max_conns = match server.max_conns {
        0 => "-".to_owned(),
        count => count.to_string(),
    };
    let health = server.health.map(|health| format!("{health}%"));
    [
        upstream.name.clone(),
        upstream.policy.clone(),
        server.server.clone(),
        server.address.clone().unwrap_or_else(|| "-".to_owned()),
        server.weight.to_string(),
        state(server),
        if server.backup { "yes" } else { "-" }.to_owned(),
        server.in_flight.to_string(),
        max_conns,
        server.fails.to_string(),
        brief(Duration::from_micros(server.latency_us.into())),
        health.unwrap_or_else(|| "-".to_owned()),
        server.check.as_ref().map_or_else(|| "-".to_owned(), check),
        why(server),
    ]
}

/// `up`, `starting`, or the first reason why it is out of rotation.
pub(super) fn state(server: &ServerStatus) -> String {
    match (server.down, server.in_rotation) {
        (true, _) => "down".to_owned(),
        (false, false) => match server.why.first() {
            Some(first) => first.reason.clone(),
            None => "out".to_owned(),
        },
        (false, true) if server.slow_start_s > 0 => format!("starting ({}s)", server.slow_start_s),
        (false, true) => "up".to_owned(),
    }
}

fn check(check: &CheckStatus) -> String {
    let outcome = match check.passed {
        true => "passed",
        false => "failed",
    };
    let (ago, next) = (seconds(check.ago_ms), seconds(check.next_ms));
    format!("{outcome} {ago} ago, again in {next}")
}

/// The reasons in words, but for those that the state tells in full.
fn why(server: &ServerStatus) -> String {
    let told = |reason: &&StandingReason| reason.reason != "starting";
    let mut parts: Vec<String> = server.why.iter().filter(told).map(in_full).collect();
    let is_unhealthy = server.why.iter().any(|reason| reason.reason == "unhealthy");
    if let Some(check) = &server.check
        && !check.passed
        && !is_unhealthy
    {
        parts.push(format!("last check: {}", check.outcome));
    }
    match parts.is_empty() {
        true => "-".to_owned(),
        false => parts.join("; "),
    }
}

/// Every reason why a server is out of rotation, or gets less than its share.
pub(super) fn why_in_words(server: &ServerStatus) -> String {
    let parts: Vec<String> = server.why.iter().map(in_full).collect();
    parts.join("; ")
}

/// `unhealthy for 12.0s: unexpected status 503, again in 3.1s`.
fn in_full(reason: &StandingReason) -> String {
    let mut text = reason.reason.clone();
    if let Some(since) = reason.since_ms {
        text += &format!(" for {}", seconds(since));
    }
    if let Some(detail) = &reason.detail {
        text += &format!(": {detail}");
    }
    if let Some(next) = reason.next_ms {
        text += &format!(", again in {}", seconds(next));
    }
    if reason.ignored {
        text += " (ignored: too few servers are healthy)";
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    /// The last two columns of each line.
    fn shown(servers: &str) -> Vec<(String, String)> {
        let text = format!(r#"{{"name": "b", "policy": "p", "servers": {servers}}}"#);
        let upstream: UpstreamStatus = serde_json::from_str(&text).unwrap();
        let rows = upstream.servers.iter().map(|server| row(&upstream, server));
        rows.map(|row| (row[5].clone(), row[12..].join(" | ")))
            .collect()
    }

    #[test]
    fn each_line_tells_why_since_when_and_when_it_is_looked_at_again() {
        let server = |rest: &str| {
            format!(
                r#"{{"address": "a", "server": "a", "weight": 1, "backup": false, "down": false, "max_conns": 0,
                    "in_flight": 0, "fails": 0, "latency_us": 0, {rest}}}"#
            )
        };
        let of = |rest: &str| shown(&format!("[{}]", server(rest))).remove(0);
        let (state, rest) = of(r#""in_rotation": false, "health": 0,
            "why": [{"reason": "unhealthy", "detail": "unexpected status 503", "since_ms": 12000, "next_ms": 3100},
                    {"reason": "failed", "detail": "1 failures", "since_ms": 500, "next_ms": 9000}],
            "check": {"passed": false, "outcome": "unexpected status 503", "ago_ms": 1900, "took_us": 80, "next_ms": 3100}"#);
        assert_eq!(state, "unhealthy");
        assert_eq!(
            rest,
            "failed 1.9s ago, again in 3.1s | unhealthy for 12.0s: unexpected status 503, again in 3.1s; \
             failed for 0.5s: 1 failures, again in 9.0s"
        );
        let (state, rest) = of(
            r#""in_rotation": true, "why": [{"reason": "ejected", "detail": "9 of 9 attempts failed",
            "since_ms": 1000, "next_ms": 29000, "ignored": true}]"#,
        );
        assert_eq!(state, "up");
        assert_eq!(
            rest,
            "- | ejected for 1.0s: 9 of 9 attempts failed, again in 29.0s (ignored: too few servers are healthy)"
        );
        let (state, rest) = of(r#""in_rotation": false, "why": [{"reason": "unresolved",
            "detail": "3: Host not found", "since_ms": 31000, "next_ms": 600}]"#);
        assert_eq!(state, "unresolved");
        assert_eq!(
            rest,
            "- | unresolved for 31.0s: 3: Host not found, again in 0.6s"
        );
        let down = server(
            r#""in_rotation": false,
            "why": [{"reason": "down", "detail": "by a command, until `resume`", "since_ms": 2000}]"#,
        );
        let down = down.replace(r#""down": false"#, r#""down": true"#);
        let (state, rest) = shown(&format!("[{down}]")).remove(0);
        assert_eq!(state, "down");
        assert_eq!(rest, "- | down for 2.0s: by a command, until `resume`");
        let (state, rest) = of(
            r#""in_rotation": true, "slow_start_s": 4, "why": [{"reason": "starting", "next_ms": 4000}],
            "check": {"passed": false, "outcome": "no complete answer within 2s", "ago_ms": 0, "took_us": 1, "next_ms": 5000}"#,
        );
        assert_eq!(state, "starting (4s)");
        assert_eq!(
            rest,
            "failed 0.0s ago, again in 5.0s | last check: no complete answer within 2s"
        );
    }
}
