//! `health_check` and `outliers` of an upstream.

use std::ops::RangeInclusive;

use regex::bytes::RegexBuilder;

use super::pattern::bad_regex;
use super::{Complaint, headers, noted};
use crate::config::declared::{HEALTH_CHECK, OUTLIERS};
use crate::config::model::{
    Address, BodyPattern, CheckMethod, CheckQuestion, HealthCheck, HttpCheck, Outliers,
    ServerLocation, UpstreamConfig,
};
use crate::config::problem::Problem;
use crate::config::section::Section;
use crate::config::tree::Value;

/// What a pattern may take when it is compiled: as much as those of routes.
const PATTERN_SIZE: usize = 1 << 20;

/// How the servers of an upstream are checked, if they are.
pub(super) fn health_check(upstream: &Section<'_>) -> Option<HealthCheck> {
    let section = upstream.switch_or_table("health_check", &HEALTH_CHECK)?;
    let host = section.text_given("host");
    let host = host.and_then(|(host, node)| noted(self::host(host), node, section.problems));
    let protocol = section.word("protocol");
    let question = match protocol {
        "grpc" => CheckQuestion::Grpc {
            service: section.text("service").to_owned(),
            host,
        },
        "tcp" => CheckQuestion::Tcp,
        _ => CheckQuestion::Http(http(&section, host)),
    };
    let of_http = ["method", "path", "headers", "expect_status", "expect_body"];
    let foreign: Vec<&str> = match protocol {
        "grpc" => of_http.to_vec(),
        "tcp" => [&of_http[..], &["host", "service"]].concat(),
        _ => vec!["service"],
    };
    for key in foreign {
        if let Some(node) = section.get(key) {
            let complaint = Complaint::new(format!(
                "`{key}` does not go with `protocol = \"{protocol}\"`"
            ));
            let hint = match key {
                "service" => "it is what a call of gRPC asks about: leave it out",
                _ => "it is of a request of HTTP: leave it out",
            };
            section.problems.add(complaint.hint(hint).at(&node.place));
        }
    }
    Some(HealthCheck {
        question,
        interval: section.duration("interval"),
        jitter: section.duration("jitter"),
        timeout: section.duration("timeout"),
        rise: section.integer("rise"),
        fall: section.integer("fall"),
        port: section.get("port").map(|_| section.integer("port")),
        begins_up: section.word("initial") == "up",
    })
}

fn http(section: &Section<'_>, host: Option<String>) -> HttpCheck {
    let method = match section.word("method") {
        "HEAD" => CheckMethod::Head,
        _ => CheckMethod::Get,
    };
    let path = section.text_given("path");
    let path = path.and_then(|(path, node)| noted(self::path(path), node, section.problems));
    let codes = match section.get("expect_status") {
        Some(_) => section
            .texts("expect_status")
            .into_iter()
            .filter_map(|(text, node)| noted(status(text), node, section.problems))
            .collect(),
        None => vec![200..=399],
    };
    if let Some(node) = section.get("expect_status")
        && matches!(&node.value, Value::Array(items) if items.is_empty())
    {
        let problem = Problem::new(
            &node.place,
            "`expect_status` is empty: no server would be well",
        );
        section
            .problems
            .add(problem.hint("leave it out for 200 to 399"));
    }
    let pattern = section.text_given("expect_body");
    if let Some((_, node)) = pattern
        && method == CheckMethod::Head
    {
        let complaint = Complaint::new("`expect_body` does not go with `method = \"HEAD\"`");
        let hint = "an answer to HEAD has no body (RFC 9110 section 9.3.2)";
        section.problems.add(complaint.hint(hint).at(&node.place));
    }
    HttpCheck {
        method,
        path: path.unwrap_or_else(|| section.text_by_default("path").to_owned()),
        host,
        headers: fields(section),
        expect_status: codes,
        expect_body: pattern
            .and_then(|(text, node)| noted(body_pattern(text), node, section.problems)),
    }
}

/// Fields of the request, beside those that every probe has.
fn fields(section: &Section<'_>) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    for entry in section.named("headers") {
        if let Err(complaint) = headers::name_in_probe(&entry.key) {
            section.problems.add(complaint.at(&entry.key_place));
        }
        let Some(text) = entry.node.as_text() else {
            headers::not_a_value(section, &entry.node, &entry.key, "a string");
            continue;
        };
        if noted(headers::plain_value(text), &entry.node, section.problems).is_some() {
            fields.push((entry.key.clone(), text.to_owned()));
        }
    }
    fields
}

fn host(text: &str) -> Result<String, Complaint> {
    let authority = text.parse::<http::uri::Authority>();
    if authority.is_ok_and(|authority| !authority.as_str().contains('@')) {
        return Ok(text.to_owned());
    }
    let complaint = Complaint::new(format!("`{text}` cannot be a `Host`"));
    Err(complaint.hint("write a name or an address, perhaps with a port: `app.example:8080`"))
}

fn path(text: &str) -> Result<String, Complaint> {
    let complaint = || Complaint::new(format!("`{text}` cannot be a `path`"));
    if !text.starts_with('/') {
        return Err(complaint().hint("it begins with `/`"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('#') {
        return Err(complaint().hint("write it as it is to be sent, escaped: `/a%20b?full=1`"));
    }
    Ok(text.to_owned())
}

/// `204`, `200-299` or `2xx`.
fn status(text: &str) -> Result<RangeInclusive<u16>, Complaint> {
    let code = |text: &str| {
        let code = text.parse().ok();
        code.filter(|code| text.len() == 3 && (100..=599).contains(code))
    };
    let range = match (text.strip_suffix("xx"), text.split_once('-')) {
        (Some(class), _) => {
            let first = code(&format!("{class}00"));
            first.map(|first| first..=first + 99)
        }
        (None, Some((first, last))) => code(first)
            .zip(code(last))
            .map(|(first, last)| first..=last),
        (None, None) => code(text).map(|code| code..=code),
    };
    range.filter(|range| !range.is_empty()).ok_or_else(|| {
        let complaint = Complaint::new(format!("`{text}` is no status code, and no range of them"));
        complaint.hint("write `\"204\"`, `\"200-299\"` or `\"2xx\"`")
    })
}

fn body_pattern(text: &str) -> Result<BodyPattern, Complaint> {
    let pattern = RegexBuilder::new(text).size_limit(PATTERN_SIZE).build();
    pattern.map(BodyPattern).map_err(|error| bad_regex(&error))
}

/// Which servers are ejected, if any are.
pub(super) fn outliers(upstream: &Section<'_>) -> Option<Outliers> {
    let section = upstream.switch_or_table("outliers", &OUTLIERS)?;
    let outliers = Outliers {
        interval: section.duration("interval"),
        error_rate: section.integer("error_rate"),
        latency: section.integer("latency"),
        min_attempts: section.integer("min_attempts"),
        ejection_time: section.duration("ejection_time"),
        max_ejection_time: section.duration("max_ejection_time"),
        max_ejected: section.integer("max_ejected"),
    };
    if outliers.latency == 1
        && let Some(node) = section.get("latency")
    {
        let complaint = Complaint::new("`latency` must be 0, or 2 and more");
        let hint = "half of the servers are slower than the median at any time";
        section.problems.add(complaint.hint(hint).at(&node.place));
    }
    if outliers.ejection_time > outliers.max_ejection_time
        && let Some(node) = section
            .get("ejection_time")
            .or_else(|| section.get("max_ejection_time"))
    {
        let problem = Problem::new(
            &node.place,
            "`ejection_time` is more than `max_ejection_time`",
        );
        section
            .problems
            .add(problem.hint("an ejection cannot take longer than it may take at most"));
    }
    Some(outliers)
}

/// Notes what of a check does not go with the rest of its upstream.
pub(super) fn check_upstream(upstream: &UpstreamConfig, section: &Section<'_>) {
    let Some(check) = &upstream.health_check else {
        return;
    };
    let Some(node) = section.get("health_check") else {
        return;
    };
    if matches!(check.question, CheckQuestion::Grpc { .. }) && upstream.http2.is_none() {
        let complaint = Complaint::new("`protocol = \"grpc\"` in an upstream without `http2`");
        let hint = "gRPC is spoken over HTTP/2: say `http2 = true`";
        section.problems.add(complaint.hint(hint).at(&node.place));
    }
    let unix = upstream
        .servers
        .iter()
        .find(|server| matches!(server.location, ServerLocation::Address(Address::Unix(_))));
    if let Some(unix) = unix
        && check.port.is_some()
    {
        let complaint = Complaint::new(format!(
            "a `port` to check, and `{}`, which has none",
            unix.spelling
        ));
        let hint = "leave `port` out, or put servers on unix sockets into an upstream of their own";
        section.problems.add(complaint.hint(hint).at(&node.place));
    }
}
