//! `[[stream]]`.

use std::collections::{BTreeSet, HashSet};

use super::hook::Hooks;
use super::server::{TakenAddresses, listen_address};
use super::traces::Traces;
use super::upstream::Upstreams;
use super::{Complaint, ConfigReader, access_log, address, noted, pattern, tls};
use crate::config::declared::{SNI, STREAM};
use crate::config::model::{
    HostPattern, Lookup, ServerLocation, SniRoute, StreamConfig, UpstreamConfig, UpstreamServer,
};
use crate::config::problem::{Problem, suggestion};
use crate::config::section::Section;
use crate::http::variable::Names;

pub(super) fn streams<'a>(
    root: &Section<'a>,
    taken: &mut TakenAddresses,
    upstreams: &mut Upstreams<'_>,
    hooks: &mut Hooks<'a>,
    (names, traces): (Names<'_>, &Traces<'_>),
    reader: ConfigReader<'a>,
) -> Vec<StreamConfig> {
    let mut streams = Vec::new();
    for node in root.list("stream") {
        let Some(section) = Section::open(node, &STREAM, reader.problems) else {
            continue;
        };
        section.required("address");
        let (address, place) = listen_address(&section, taken);
        let upstream = proxy(&section, upstreams, reader);
        let sni = sni(&section, upstreams, reader);
        let (idle_timeout, preread_timeout) = (
            section.duration("idle_timeout"),
            section.duration("preread_timeout"),
        );
        let (proxy_protocol, backlog) = (
            section.boolean("proxy_protocol"),
            section.integer("backlog"),
        );
        let tls = tls::listener(&section);
        let access_logs = access_log::stream_logs(&section, names);
        let hooks = hooks.of(&section);
        let traces = traces.of_stream(&section);
        // Without an upstream a problem is noted, and the configuration never used.
        streams.extend(upstream.map(|upstream| StreamConfig {
            address,
            place,
            tls,
            upstream,
            sni,
            idle_timeout,
            preread_timeout,
            proxy_protocol,
            backlog,
            access_logs,
            hooks,
            traces,
        }));
    }
    let of_sni = streams.iter().flat_map(|stream| &stream.sni);
    let of_streams = streams.iter().map(|stream| stream.upstream);
    let used: BTreeSet<usize> = of_sni
        .map(|route| route.upstream)
        .chain(of_streams)
        .collect();
    for index in used {
        check(&upstreams.list[index], reader);
    }
    streams
}

fn sni(
    section: &Section<'_>,
    upstreams: &mut Upstreams<'_>,
    reader: ConfigReader<'_>,
) -> Vec<SniRoute> {
    let mut known = HashSet::new();
    let mut routes = Vec::new();
    for node in section.list("sni") {
        let Some(section) = Section::open(node, &SNI, reader.problems) else {
            continue;
        };
        section.required("host");
        let host = section
            .text_given("host")
            .and_then(|(text, node)| Some((noted(host(text), node, reader.problems)?, node)));
        let upstream = proxy(&section, upstreams, reader);
        let Some((host, node)) = host else { continue };
        if !known.insert(host.spelling()) {
            let message = format!("duplicate `sni` host `{}`", host.spelling());
            reader.problems.add(Problem::new(&node.place, message));
        }
        routes.extend(upstream.map(|upstream| SniRoute { host, upstream }));
    }
    routes
}

/// A name that a ClientHello may have, or all below one.
fn host(text: &str) -> Result<HostPattern, Complaint> {
    let mut patterns = pattern::hosts(text)?.into_iter();
    match (patterns.next(), patterns.next()) {
        (Some(host @ (HostPattern::Exact(_) | HostPattern::Suffix(_))), None) => Ok(host),
        _ => Err(
            Complaint::new(format!("`{text}` cannot be a host of `sni`"))
                .hint("write a name, `a.example`, or `*.example.com` for all names below it"),
        ),
    }
}

/// The upstream that `proxy` names; `None` where it cannot be told, and the problem is noted.
fn proxy(
    section: &Section<'_>,
    upstreams: &mut Upstreams<'_>,
    reader: ConfigReader<'_>,
) -> Option<usize> {
    section.required("proxy");
    let (text, node) = section.text_given("proxy")?;
    if text.contains('$') {
        let complaint = Complaint::new("a stream's `proxy` has no variables");
        let hint = "`sni` leads TLS connections to upstreams by the name that they ask for";
        reader.problems.add(complaint.hint(hint).at(&node.place));
        return None;
    }
    let index = match upstreams.index(text) {
        Some(index) => index,
        None if text.contains(':') => {
            noted(with_port(text), node, reader.problems)?;
            noted(
                upstreams.of_address(text, false, node),
                node,
                reader.problems,
            )?
        }
        None => {
            let complaint = Complaint::new(format!("unknown upstream `{text}`"));
            let hint = match text.contains('.') {
                true => format!("an address has a port: `{text}:5432`"),
                false => suggestion(text, upstreams.names(), "upstreams"),
            };
            reader.missing(complaint.hint(hint).at(&node.place));
            return None;
        }
    };
    Some(index)
}

/// HTTP has a default port, a stream has none.
fn with_port(address: &str) -> Result<(), Complaint> {
    match address::has_port(address) {
        true => Ok(()),
        false => Err(
            Complaint::new(format!("no port in `{address}`")).hint(format!(
                "a stream has no default port: write it as `{address}:5432`"
            )),
        ),
    }
}

/// Notes what an upstream says that only requests have a use for.
fn check(upstream: &UpstreamConfig, reader: ConfigReader<'_>) {
    // A service brings the ports of its servers.
    let of_service = |server: &&UpstreamServer| {
        matches!(&server.location, ServerLocation::Name(name)
            if matches!(name.lookup, Lookup::Service(_)))
    };
    for server in upstream.servers.iter().filter(|server| !of_service(server)) {
        if let Err(complaint) = with_port(&server.spelling) {
            reader.problems.add(complaint.at(&server.place));
        }
    }
}
