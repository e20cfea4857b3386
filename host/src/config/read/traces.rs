//! `[traces]`, and `traces` of listeners and routes: which requests are traced, and where spans go.

use std::sync::Arc;

use super::resolver::Resolvers;
use super::{Complaint, noted, part, source, template};
use crate::config::declared::{STREAM_TRACE_RULE, TRACE_RULE, TRACES};
use crate::config::key::Table;
use crate::config::model::{
    SourceUrl, TraceContext, TraceExport, TraceProtocol, TraceRule, TraceSample, TracesConfig,
};
use crate::config::problem::Problem;
use crate::config::section::Section;
use crate::http::definition::Shares;
use crate::http::head::FieldName;
use crate::http::headers::{is_token, is_value};
use crate::http::variable::{Names, Phase};

/// Where spans over HTTP go that no path is given for.
const PATH: &str = "/v1/traces";
/// By which gRPC calls the same.
const CALL: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What the file says of traces as a whole.
pub(super) struct Traces<'a> {
    section: Option<Section<'a>>,
    config: Option<TracesConfig>,
    names: Names<'a>,
}

impl<'a> Traces<'a> {
    pub(super) fn of(root: &Section<'a>, server: &Section<'_>, names: Names<'a>) -> Traces<'a> {
        let section = root.table("traces", &TRACES);
        let config = section.as_ref().and_then(|section| {
            let (rule, export) = (rule(section, names), export(section, server));
            Some(TracesConfig {
                export: Arc::new(export?),
                rule: Arc::new(rule),
            })
        });
        Traces {
            section,
            config,
            names,
        }
    }

    /// `None` where nothing is traced.
    pub(super) fn into_config(self) -> Option<TracesConfig> {
        self.config
    }

    /// What a listener has: its own, or that of the whole file.
    pub(super) fn of_listener(&self, listener: &Section<'_>) -> Option<Arc<TraceRule>> {
        self.own(listener).unwrap_or_else(|| self.of_file())
    }

    /// What a stream has, whose sessions have neither context nor attributes of requests.
    pub(super) fn of_stream(&self, stream: &Section<'_>) -> Option<Arc<TraceRule>> {
        let rule = |own: &Section<'_>| TraceRule {
            sample: sample(own),
            context: TraceContext::Ignore,
            attributes: Vec::new(),
        };
        self.own_by(stream, &STREAM_TRACE_RULE, rule)
            .unwrap_or_else(|| self.of_file())
    }

    fn of_file(&self) -> Option<Arc<TraceRule>> {
        Some(self.config.as_ref()?.rule.clone())
    }

    /// What a listener or a route says: `None` where it does not, `Some(None)` where it turns it off.
    pub(super) fn own(&self, there: &Section<'_>) -> Option<Option<Arc<TraceRule>>> {
        self.own_by(there, &TRACE_RULE, |own| rule(own, self.names))
    }

    fn own_by(
        &self,
        there: &Section<'_>,
        table: &'static Table,
        rule: impl FnOnce(&Section<'_>) -> TraceRule,
    ) -> Option<Option<Arc<TraceRule>>> {
        let node = there.get("traces")?;
        let Some(own) = there.switch_or_table("traces", table) else {
            return Some(None);
        };
        let Some(section) = &self.section else {
            let problem = Problem::new(&node.place, "`traces` without a `[traces]`");
            let hint = "say where spans go: `[traces]` and `endpoint = \"http://127.0.0.1:4318\"`";
            there.problems.add(problem.hint(hint));
            return Some(None);
        };
        Some(Some(Arc::new(rule(&own.with_parent(section)))))
    }
}

fn rule(section: &Section<'_>, names: Names<'_>) -> TraceRule {
    let attributes = texts(section, "attributes").into_iter();
    let attributes = attributes.filter_map(|(name, text, place)| {
        let template = template(&text, Phase::Log, names).map_err(|wrong| wrong.at(place));
        match template {
            Ok(template) => Some((name.into(), template)),
            Err(problem) => {
                section.problems.add(problem);
                None
            }
        }
    });
    TraceRule {
        sample: sample(section),
        context: match section.word("context") {
            "extract" => TraceContext::Extract,
            "propagate" => TraceContext::Propagate,
            "ignore" => TraceContext::Ignore,
            _ => TraceContext::Inject,
        },
        attributes: attributes.collect(),
    }
}

fn sample(section: &Section<'_>) -> TraceSample {
    let Some((text, node)) = part(section, "sample", "1%") else {
        return TraceSample::All;
    };
    if text == "0%" {
        return TraceSample::None;
    }
    let share = Shares::default().next(text).map_err(|_| {
        Complaint::new(format!("`{text}` is not a share"))
            .hint("write it as `sample = \"1%\"`, up to 100%, with two decimals at most")
    });
    match noted(share, node, section.problems) {
        Some(share) if !share.is_whole() => TraceSample::Share(share),
        _ => TraceSample::All,
    }
}

fn export(section: &Section<'_>, server: &Section<'_>) -> Option<TraceExport> {
    let protocol = match section.word("protocol") {
        "grpc" => TraceProtocol::Grpc,
        _ => TraceProtocol::Http,
    };
    section.required("endpoint");
    let url = endpoint(section, protocol);
    let ca = source::file(section, "ca");
    if let (Some(_), Some(false), Some(node)) =
        (&ca, url.as_ref().map(|url| url.tls), section.get("ca"))
    {
        let problem = Problem::new(&node.place, "`ca` with an `endpoint` without TLS");
        let hint = "write `https://`, or leave it out";
        section.problems.add(problem.hint(hint));
    }
    let name = section.text("service_name");
    if name.is_empty()
        && let Some(node) = section.get("service_name")
    {
        let problem = Problem::new(&node.place, "`service_name` is empty");
        section.problems.add(problem.hint("leave it out"));
    }
    let pairs = |name| {
        let texts = texts(section, name).into_iter();
        texts.map(|(name, value, _)| (name, value)).collect()
    };
    Some(TraceExport {
        url: url?,
        protocol,
        service_name: name.to_owned(),
        resource: pairs("resource"),
        headers: headers(section),
        ca,
        timeout: section.duration("timeout"),
        queue: section.integer("queue"),
        resolver: Resolvers::of(server).of_server(),
    })
}

fn endpoint(section: &Section<'_>, protocol: TraceProtocol) -> Option<SourceUrl> {
    let (text, node) = section.text_given("endpoint")?;
    let parsed = source::endpoint(text, protocol.port()).map_err(|complaint| {
        let hint = "write it as `http://127.0.0.1:4318` or `https://collector.example`";
        complaint.hint(hint)
    });
    let mut url = noted(parsed, node, section.problems)?;
    match (protocol, &*url.path) {
        (TraceProtocol::Http, "/") => url.path = PATH.to_owned(),
        (TraceProtocol::Http, _) => {}
        (TraceProtocol::Grpc, "/") => url.path = CALL.to_owned(),
        (TraceProtocol::Grpc, _) => {
            let complaint = Complaint::new("an `endpoint` of gRPC with a path");
            let hint = "leave the path out: gRPC has its own, or write `protocol = \"http\"`";
            section.problems.add(complaint.hint(hint).at(&node.place));
        }
    }
    Some(url)
}

fn headers(section: &Section<'_>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, value, place) in texts(section, "headers") {
        let known = FieldName::of(name.as_bytes());
        let ours = [
            "content-type",
            "content-encoding",
            "user-agent",
            "grpc-timeout",
        ];
        let is_ours = ours.iter().any(|own| name.eq_ignore_ascii_case(own));
        let complaint = if !is_token(name.as_bytes()) {
            Some(format!("`{name}` cannot be the name of a header"))
        } else if is_ours || known.frames_or_routes() || known.is_of_connection() {
            Some(format!("`{name}` is not for a configuration to say"))
        } else if !is_value(value.as_bytes()) {
            Some(format!("what `{name}` has is not a value of a header"))
        } else {
            None
        };
        match complaint {
            Some(complaint) => section.problems.add(Complaint::new(complaint).at(place)),
            None => headers.push((name.to_ascii_lowercase(), value)),
        }
    }
    headers
}

/// The names and texts of a table, each with its place.
fn texts<'a>(
    section: &Section<'a>,
    key: &str,
) -> Vec<(String, String, &'a crate::config::problem::Place)> {
    let mut texts = Vec::new();
    for entry in section.named(key) {
        match entry.node.as_text() {
            Some(text) => texts.push((entry.key.clone(), text.to_owned(), &entry.node.place)),
            None => {
                let kind = entry.node.type_name();
                let message = format!("`{}` must be a string, not {kind}", entry.key);
                section
                    .problems
                    .add(Problem::new(&entry.node.place, message));
            }
        }
    }
    texts
}
