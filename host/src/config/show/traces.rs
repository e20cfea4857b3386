//! `[traces]`, and `traces` of listeners, routes and streams, as the file writes them.

use super::{TomlWriter, inline_table, text};
use crate::config::model::{TraceRule, TraceSample, TracesConfig};
use crate::config::tree::key_text;
use crate::config::units::duration_text;

pub(super) fn traces(out: &mut TomlWriter, traces: &TracesConfig) {
    let export = &*traces.export;
    out.header("[traces]");
    // The path of gRPC is its own.
    let url = match export.protocol.word() {
        "grpc" => {
            let scheme = if export.url.tls { "https" } else { "http" };
            format!("{scheme}://{}", export.url.authority())
        }
        _ => export.url.to_string(),
    };
    out.key("endpoint", text(&url));
    out.key("protocol", text(export.protocol.word()));
    out.key("service_name", text(&export.service_name));
    for (key, pairs) in [("resource", &export.resource), ("headers", &export.headers)] {
        if !pairs.is_empty() {
            let pairs = pairs.iter();
            let pairs = pairs.map(|(name, value)| format!("{} = {}", key_text(name), text(value)));
            out.key(key, inline_table(pairs));
        }
    }
    if let Some(ca) = &export.ca {
        out.key("ca", text(&ca.path.display().to_string()));
    }
    out.key("timeout", text(&duration_text(export.timeout)));
    out.key("queue", export.queue);
    for (key, value) in parts(&traces.rule) {
        out.key(key, value);
    }
}

/// As a listener or a route has it; `None` is off.
pub(super) fn rule(rule: Option<&TraceRule>) -> String {
    of_parts(rule, |_| true)
}

/// As a stream has it, of which no more than `sample` is said.
pub(super) fn rule_of_stream(rule: Option<&TraceRule>) -> String {
    of_parts(rule, |key| key == "sample")
}

fn of_parts(rule: Option<&TraceRule>, is_said: impl Fn(&str) -> bool) -> String {
    rule.map_or_else(
        || "false".to_owned(),
        |rule| {
            let parts = parts(rule).into_iter().filter(|(key, _)| is_said(key));
            inline_table(parts.map(|(key, value)| format!("{key} = {value}")))
        },
    )
}

fn parts(rule: &TraceRule) -> [(&'static str, String); 3] {
    let sample = match &rule.sample {
        TraceSample::All => "100%".to_owned(),
        TraceSample::Share(share) => share.to_string(),
        TraceSample::None => "0%".to_owned(),
    };
    let attributes = rule.attributes.iter();
    let attributes = attributes
        .map(|(name, value)| format!("{} = {}", key_text(name), text(&value.to_string())));
    // Also where there are none: a route may have none of those that the file has.
    [
        ("sample", text(&sample)),
        ("context", text(rule.context.word())),
        ("attributes", inline_table(attributes)),
    ]
}
