//! The table of `waypost upstream list`: what each address was asked and how that went, why it is
//! in rotation or not, and what went wrong with it last.

use std::time::Duration;

use anstyle::Style;

use super::table::{
    BAD, DOUBTFUL, GOOD, HEAD, aligned, brief, columns, count, header, painted, seconds, wrapped,
};
use crate::admin_api::{CheckStatus, ServerCounts, ServerStatus, StandingReason, UpstreamStatus};

const HEADER: [&str; 7] = [
    "  SERVER",
    "STATE",
    "REQUESTS",
    "FAILED",
    "RETRIED",
    "IN_FLIGHT",
    "LATENCY",
];

/// A line for each upstream, one for each of its servers with the figures, and below it what else
/// there is to say: so that the columns fit 80 columns. What is longer than the terminal is wide goes
/// on in the next line.
pub(super) fn in_words(upstreams: &[UpstreamStatus]) -> String {
    within(upstreams, columns())
}

fn within(upstreams: &[UpstreamStatus], columns: usize) -> String {
    const INDENT: usize = 4;
    let mut rows = vec![header(HEADER)];
    for upstream in upstreams {
        rows.extend(upstream.servers.iter().map(row));
    }
    let warnings = upstreams.iter().flat_map(|upstream| &upstream.warnings);
    let mut text: String = warnings
        .map(|warning| format!("warning: {warning}\n"))
        .collect();
    let table = aligned(&rows);
    let mut lines = table.lines();
    let mut add = |line: Option<&str>| {
        text += line.unwrap_or_default();
        text.push('\n');
    };
    add(lines.next());
    for upstream in upstreams {
        let (name, policy) = (painted(HEAD, &upstream.name), &upstream.policy);
        add(Some(&format!("{name} ({policy})")));
        for server in &upstream.servers {
            add(lines.next());
            for note in notes(server) {
                for line in wrapped(&note, columns.saturating_sub(INDENT)) {
                    add(Some(&format!("{:INDENT$}{line}", "")));
                }
            }
        }
    }
    text
}

fn row(server: &ServerStatus) -> [String; 7] {
    let counted = |count: fn(&ServerCounts) -> u64| match &server.counts {
        Some(counts) => self::count(count(counts)),
        None => "-".to_owned(),
    };
    let failed = counted(|counts| counts.failed);
    let is_failing = server
        .counts
        .as_ref()
        .is_some_and(|counts| counts.failed > 0);
    [
        format!("  {}", server.address.as_ref().unwrap_or(&server.server)),
        painted(shade(server), state(server)),
        counted(|counts| counts.requests),
        if is_failing {
            painted(BAD, failed)
        } else {
            failed
        },
        counted(|counts| counts.retried),
        server.in_flight.to_string(),
        brief(Duration::from_micros(server.latency_us.into())),
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
        (false, true) if server.slow_start_s > 0 => format!("starting {}s", server.slow_start_s),
        (false, true) => "up".to_owned(),
    }
}

/// The colour of its state. That a command has taken it out is no fault.
fn shade(server: &ServerStatus) -> Style {
    match (server.down, server.in_rotation) {
        (true, _) => DOUBTFUL,
        (false, false) => BAD,
        (false, true) if !server.why.is_empty() => DOUBTFUL,
        (false, true) => GOOD,
    }
}

/// What there is to say of it beside its figures, a line each.
fn notes(server: &ServerStatus) -> Vec<String> {
    let mut lines = Vec::new();
    let about = about(server);
    if !about.is_empty() {
        lines.push(about.join(", "));
    }
    lines.extend(why(server));
    if let Some(check) = &server.check {
        lines.push(self::check(check));
    }
    if let Some(error) = &server.last_error {
        let ago = seconds(error.ago_ms);
        lines.push(format!("last error {ago} ago: {}", error.message));
    }
    lines
}

/// What is not as it is with most servers.
fn about(server: &ServerStatus) -> Vec<String> {
    let mut about = Vec::new();
    if server
        .address
        .as_ref()
        .is_some_and(|address| *address != server.server)
    {
        about.push(server.server.clone());
    }
    if server.address.is_none() {
        about.push("no address".to_owned());
    }
    if server.weight != 1 {
        about.push(format!("weight {}", server.weight));
    }
    if server.backup {
        about.push("backup".to_owned());
    }
    if server.max_conns > 0 {
        about.push(format!("max_conns {}", server.max_conns));
    }
    let is_told = server.why.iter().any(|reason| reason.reason == "failed");
    if server.fails > 0 && !is_told {
        about.push(format!("fails {}", server.fails));
    }
    if let Some(health) = server.health.filter(|health| *health < 100) {
        about.push(format!("health {health}%"));
    }
    let answers = server
        .counts
        .as_ref()
        .and_then(|counts| counts.answers.get("5xx"));
    if let Some(count) = answers {
        about.push(format!("5xx answers {}", self::count(*count)));
    }
    about
}

fn check(check: &CheckStatus) -> String {
    let outcome = match check.passed {
        true => "passed".to_owned(),
        false => format!("failed ({})", check.outcome),
    };
    let (ago, next) = (seconds(check.ago_ms), seconds(check.next_ms));
    format!("check {outcome} {ago} ago, again in {next}")
}

/// The reasons in words, but for those that the state tells in full.
fn why(server: &ServerStatus) -> impl Iterator<Item = String> {
    let told = |reason: &&StandingReason| reason.reason != "starting";
    server.why.iter().filter(told).map(in_full)
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
    use anstream::adapter::strip_str;

    use super::*;

    fn upstream(servers: &str) -> UpstreamStatus {
        let text =
            format!(r#"{{"name": "backend", "policy": "least_conn", "servers": {servers}}}"#);
        serde_json::from_str(&text).unwrap()
    }

    fn server(address: &str, rest: &str) -> String {
        format!(
            r#"{{"address": "{address}", "server": "{address}", "weight": 1, "backup": false, "down": false,
                "max_conns": 0, "in_flight": 0, "fails": 0, "latency_us": 0, {rest}}}"#
        )
    }

    /// The state, and the lines below.
    fn shown(server: &str) -> (String, Vec<String>) {
        let upstream = upstream(&format!("[{server}]"));
        let server = &upstream.servers[0];
        (state(server), notes(server))
    }

    #[test]
    fn each_line_tells_why_since_when_and_when_it_is_looked_at_again() {
        let of = |rest: &str| shown(&server("a", rest));
        let (state, notes) = of(r#""in_rotation": false, "health": 0,
            "why": [{"reason": "unhealthy", "detail": "unexpected status 503", "since_ms": 12000, "next_ms": 3100},
                    {"reason": "failed", "detail": "1 failures", "since_ms": 500, "next_ms": 9000}],
            "check": {"passed": false, "outcome": "unexpected status 503", "ago_ms": 1900, "took_us": 80, "next_ms": 3100}"#);
        assert_eq!(state, "unhealthy");
        assert_eq!(
            notes,
            [
                "health 0%",
                "unhealthy for 12.0s: unexpected status 503, again in 3.1s",
                "failed for 0.5s: 1 failures, again in 9.0s",
                "check failed (unexpected status 503) 1.9s ago, again in 3.1s",
            ]
        );
        let (state, notes) = of(
            r#""in_rotation": true, "why": [{"reason": "ejected", "detail": "9 of 9 attempts failed",
            "since_ms": 1000, "next_ms": 29000, "ignored": true}]"#,
        );
        assert_eq!(state, "up");
        assert_eq!(
            notes,
            [
                "ejected for 1.0s: 9 of 9 attempts failed, again in 29.0s (ignored: too few servers are healthy)"
            ]
        );
        let unresolved = server(
            "a",
            r#""in_rotation": false, "why": [{"reason": "unresolved",
            "detail": "3: Host not found", "since_ms": 31000, "next_ms": 600}]"#,
        );
        let unresolved = unresolved.replace(r#""address": "a""#, r#""address": null"#);
        let (state, notes) = shown(&unresolved);
        assert_eq!(state, "unresolved");
        assert_eq!(
            notes,
            [
                "no address",
                "unresolved for 31.0s: 3: Host not found, again in 0.6s"
            ]
        );
        let down = server(
            "a",
            r#""in_rotation": false,
            "why": [{"reason": "down", "detail": "by a command, until `resume`", "since_ms": 2000}]"#,
        );
        let (state, notes) = shown(&down.replace(r#""down": false"#, r#""down": true"#));
        assert_eq!(state, "down");
        assert_eq!(notes, ["down for 2.0s: by a command, until `resume`"]);
        let (state, notes) = of(
            r#""in_rotation": true, "slow_start_s": 4, "why": [{"reason": "starting", "next_ms": 4000}],
            "check": {"passed": false, "outcome": "no complete answer within 2s", "ago_ms": 0, "took_us": 1, "next_ms": 5000}"#,
        );
        assert_eq!(state, "starting 4s");
        assert_eq!(
            notes,
            ["check failed (no complete answer within 2s) 0.0s ago, again in 5.0s"]
        );
    }

    #[test]
    fn figures_stand_in_80_columns_and_what_went_wrong_last_below_them() {
        let servers = [
            server(
                "10.20.30.101:3000",
                r#""in_rotation": true, "health": 97, "counts": {"requests": 9999999, "answers": {"5xx": 34},
                "failed": 123456, "failures": {"connect": 123456}, "retried": 123451}, "last_error":
                {"message": "connect() failed (111: Connection refused) while connecting to upstream",
                 "at": "2026-09-01T12:00:00.000Z", "ago_ms": 12040}"#,
            ),
            server(
                "10.20.30.102:3000",
                r#""in_rotation": false, "health": 0, "counts": {"requests": 0, "answers": {}, "failed": 0,
                "failures": {}, "retried": 0}, "why": [{"reason": "unhealthy", "since_ms": 1000}]"#,
            )
            .replace(r#""in_flight": 0"#, r#""in_flight": 12345"#)
            .replace(r#""server": "10.20.30.102:3000""#, r#""server": "b.example:3000""#),
            server("10.20.30.103:3000", r#""in_rotation": true, "slow_start_s": 30"#),
        ];
        let upstreams = [upstream(&format!("[{}]", servers.join(",")))];
        let text = within(&upstreams, 80);
        assert!(text.contains("\u{1b}[31munhealthy\u{1b}[0m"), "{text:?}");
        assert_eq!(
            strip_str(&text).to_string(),
            "  SERVER             STATE         REQUESTS  FAILED  RETRIED  IN_FLIGHT  LATENCY\n\
             backend (least_conn)\n  \
             10.20.30.101:3000  up            9999999   123456  123451   0          -\n    \
             health 97%, 5xx answers 34\n    \
             last error 12.0s ago: connect() failed (111: Connection refused) while\n      \
             connecting to upstream\n  \
             10.20.30.102:3000  unhealthy     0         0       0        12345      -\n    \
             b.example:3000, health 0%\n    \
             unhealthy for 1.0s\n  \
             10.20.30.103:3000  starting 30s  -         -       -        0          -\n"
        );
        let shown = strip_str(&text).to_string();
        assert!(shown.lines().all(|line| line.len() <= 80));
        let wide = within(&upstreams, 200);
        assert!(wide.contains("refused) while connecting to upstream\n"));
    }
}
