//! `[upstream.NAME]`, and the upstreams that a route's `proxy` brings about by naming an address.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::overload::overload;
use super::plugin_names::PluginNames;
use super::policy::policy;
use super::resolver::{self, Resolvers};
use super::{Complaint, ConfigReader, address, check_name, health, noted, source, tls};
use crate::config::declared::{NEXT_CONDITIONS, UPSTREAM, UPSTREAM_HTTP2, UPSTREAM_SERVER};
use crate::config::key::ValueKind;
use crate::config::model::{
    Address, NextConditions, NextUpstream, ProxyVersion, Resolve, Resolver, ServerLocation,
    UpstreamConfig, UpstreamHttp2, UpstreamServer, UpstreamTls,
};
use crate::config::problem::Problem;
use crate::config::scalar::wrong_type;
use crate::config::section::Section;
use crate::config::tree::{Entry, Node, Value};

pub(super) struct Upstreams<'a> {
    pub(super) list: Vec<UpstreamConfig>,
    /// How many of them are of `[upstream.NAME]`.
    declared: usize,
    names: &'a PluginNames<'a>,
    resolvers: Resolvers<'a>,
    reader: ConfigReader<'a>,
}

impl<'a> Upstreams<'a> {
    /// Those of `[upstream.NAME]`, in file order, whatever problems they have: routes may name
    /// them.
    pub(super) fn named(
        root: &Section<'a>,
        server: &'a Section<'a>,
        names: &'a PluginNames<'a>,
        reader: ConfigReader<'a>,
    ) -> Self {
        let mut upstreams = Upstreams {
            list: Vec::new(),
            declared: 0,
            names,
            resolvers: Resolvers::of(server),
            reader,
        };
        for entry in root.named("upstream") {
            if !is_name(&entry.key) {
                let complaint =
                    Complaint::new(format!("`{}` cannot be an upstream's name", entry.key));
                let hint = "a name has no spaces, no `$` and no `/`";
                reader
                    .problems
                    .add(complaint.hint(hint).at(&entry.key_place));
            }
            let section = Section::open(&entry.node, &UPSTREAM, reader.problems);
            let none = || Section::of(&[], &entry.node.place, &UPSTREAM, reader.problems);
            let (section, is_table) = (section.unwrap_or_else(none), section.is_some());
            let resolver = upstreams.resolvers.of_upstream(&section);
            let tls = speaks_tls(&section).then(|| tls::upstream(&section));
            let servers = match is_table {
                true => servers(&section, tls.as_ref(), &resolver, reader),
                false => Vec::new(),
            };
            let upstream = upstream(&entry.key, &section, tls, servers, resolver, names, reader);
            check_backups(&upstream, section.get("servers"), reader);
            check_proxy_protocol(&upstream, &section);
            health::check_upstream(&upstream, &section);
            upstreams.list.push(upstream);
        }
        source::check_files(&upstreams.list, reader.problems);
        upstreams.declared = upstreams.list.len();
        upstreams
    }

    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.list.iter().position(|upstream| upstream.name == name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|upstream| upstream.name.as_str())
    }

    /// An upstream as the URL that `proxy` may name it by, without a path.
    pub(super) fn url(&self, index: usize) -> String {
        let upstream = &self.list[index];
        let scheme = match upstream.tls {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}", upstream.name)
    }

    /// The named group, or the group of one server, that `http://ADDRESS` or `https://ADDRESS`
    /// stands for; the latter is made when it is first met.
    pub(super) fn of_address(
        &mut self,
        authority: &str,
        https: bool,
        node: &Node,
    ) -> Result<usize, Complaint> {
        let place = &node.place;
        // Without its port it would be the name of what is spoken to without TLS.
        let with_port = format!("{authority}:{}", address::DEFAULT_TLS_PORT);
        let spelling = match https && tls::has_no_port(authority) {
            true if self.index(authority).is_none() => &with_port,
            _ => authority,
        };
        if let Some(index) = self.index(spelling) {
            return match (https, &self.list[index].tls) {
                (true, Some(_)) | (false, None) => Ok(index),
                (true, None) => Err(Complaint::new(format!(
                    "`https://` to upstream `{spelling}`, which does not speak TLS"
                ))
                .hint(format!(
                    "write `http://{authority}`, or say `tls = true` in `[upstream.{spelling}]`"
                ))),
                (false, Some(_)) => Err(Complaint::new(format!(
                    "`http://` to upstream `{spelling}`, which speaks TLS"
                ))
                .hint(format!("write `https://{authority}`"))),
            };
        }
        let destination = address::to_connect_to(spelling, address::DEFAULT_PORT)?;
        let problems = self.reader.problems;
        let section = Section::of(&[], place, &UPSTREAM, problems);
        let resolver = self.resolvers.of_upstream(&section);
        let options = Section::of(&[], place, &UPSTREAM_SERVER, problems);
        let location = resolver::location(&options, spelling, destination, &resolver)?;
        let server = upstream_server(&options, spelling, location);
        let tls = https.then(|| tls::upstream(&section));
        if let Some(tls) = &tls {
            tls::check_name(tls, spelling, node, self.reader);
        }
        self.list.push(upstream(
            spelling,
            &section,
            tls,
            vec![server],
            resolver,
            self.names,
            self.reader,
        ));
        Ok(self.list.len() - 1)
    }

    /// What upstreams have in common that requests name. Their names are always resolved again: none
    /// is known when the configuration is read.
    pub(super) fn model(&self, https: bool, node: &Node) -> UpstreamConfig {
        let problems = self.reader.problems;
        let section = Section::of(&[], &node.place, &UPSTREAM, problems);
        let options = Section::of(&[], &node.place, &UPSTREAM_SERVER, problems);
        let resolver = Resolver {
            resolve: Resolve::Again,
            ..Resolver::clone(&self.resolvers.of_upstream(&section))
        };
        let nowhere = ServerLocation::Address(Address::Unix(PathBuf::new()));
        let servers = vec![upstream_server(&options, "", nowhere)];
        let (resolver, tls) = (Arc::new(resolver), https.then(|| tls::upstream(&section)));
        let (names, reader) = (self.names, self.reader);
        upstream("", &section, tls, servers, resolver, names, reader)
    }

    /// The upstream of `[upstream.NAME]`, and whether it speaks TLS.
    pub(super) fn declared(&self, name: &str) -> Option<(usize, bool)> {
        let index = self.index(name).filter(|index| *index < self.declared)?;
        Some((index, self.list[index].tls.is_some()))
    }
}

/// Names stand in `proxy` and in logs. An address with a port, or a socket, is possible:
/// `waypost show` writes groups of one server so.
fn is_name(name: &str) -> bool {
    let path_allowed = name.starts_with("unix:/");
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_graphic() && c != '$' && (c != '/' || path_allowed))
}

fn upstream(
    name: &str,
    section: &Section<'_>,
    tls: Option<UpstreamTls>,
    servers: Vec<UpstreamServer>,
    resolver: Arc<Resolver>,
    names: &PluginNames<'_>,
    reader: ConfigReader<'_>,
) -> UpstreamConfig {
    UpstreamConfig {
        name: name.to_owned(),
        policy: policy(section, names, reader),
        overload: overload(section, &servers),
        servers,
        source: source::source(section),
        state: source::state(section),
        overlays: Vec::new(),
        resolver,
        tls,
        keepalive: section.integer("keepalive"),
        keepalive_requests: section.integer("keepalive_requests"),
        keepalive_time: section.duration("keepalive_time"),
        keepalive_timeout: section.duration("keepalive_timeout"),
        connect_timeout: section.duration("connect_timeout"),
        send_timeout: section.duration("send_timeout"),
        read_timeout: section.duration("read_timeout"),
        half_close_timeout: section.duration("half_close_timeout"),
        next_upstream: NextUpstream {
            conditions: next_conditions(section),
            tries: section.integer("next_upstream_tries"),
            timeout: section.duration("next_upstream_timeout"),
        },
        last_resort: section.boolean("last_resort"),
        health_check: health::health_check(section),
        outliers: health::outliers(section),
        panic_threshold: section.integer("panic_threshold"),
        body_buffer_size: section.buffer_size("body_buffer_size"),
        response_header_size: section.buffer_size("response_header_size"),
        proxy_protocol: match section.word("proxy_protocol") {
            "v1" => Some(ProxyVersion::V1),
            "v2" => Some(ProxyVersion::V2),
            _ => None,
        },
        http2: section
            .switch_or_table("http2", &UPSTREAM_HTTP2)
            .map(|http2| UpstreamHttp2 {
                max_concurrent_streams: http2.integer("max_concurrent_streams"),
            }),
        dynamic: None,
        is_listed: false,
    }
}

/// Whether the servers are spoken to with TLS: as `tls` says, else as the first of their addresses
/// that is a URL does.
fn speaks_tls(section: &Section<'_>) -> bool {
    match section.get("tls") {
        Some(node) if matches!(node.value, Value::Table(_)) => true,
        Some(_) => section.boolean("tls"),
        None => {
            let Some(Node {
                value: Value::Array(items),
                ..
            }) = section.get("servers")
            else {
                return false;
            };
            let https = |text: Option<&str>| text.is_some_and(|text| text.starts_with("https://"));
            items.iter().any(|item| match &item.value {
                Value::Table(entries) => entries
                    .iter()
                    .any(|entry| entry.key == "address" && https(entry.node.as_text())),
                _ => https(item.as_text()),
            })
        }
    }
}

fn servers(
    section: &Section<'_>,
    tls: Option<&UpstreamTls>,
    resolver: &Arc<Resolver>,
    reader: ConfigReader<'_>,
) -> Vec<UpstreamServer> {
    let elsewhere = ["servers_from", "state"];
    if !elsewhere.iter().any(|key| section.get(key).is_some()) {
        section.required("servers");
    }
    let tls = ServersTls {
        settings: tls,
        given: section.get("tls").is_some(),
    };
    section
        .list("servers")
        .iter()
        .filter_map(|node| server(node, section, tls, resolver, reader))
        .collect()
}

/// One more of an upstream's servers, with its policy and its TLS.
pub(super) fn further_server(
    node: &Node,
    upstream: &UpstreamConfig,
    reader: ConfigReader<'_>,
) -> Option<UpstreamServer> {
    let section = Section::of(&[], &node.place, &UPSTREAM, reader.problems);
    // It is spoken to as the others are, whether or not its address says `https://`.
    let tls = ServersTls {
        settings: upstream.tls.as_ref(),
        given: true,
    };
    server(node, &section, tls, &upstream.resolver, reader)
}

/// How an upstream's servers are spoken to, as one of them is read.
#[derive(Clone, Copy)]
struct ServersTls<'a> {
    settings: Option<&'a UpstreamTls>,
    /// The upstream says so itself. Otherwise its servers do, each by `https://`.
    given: bool,
}

fn server(
    node: &Node,
    upstream: &Section<'_>,
    tls: ServersTls<'_>,
    resolver: &Arc<Resolver>,
    reader: ConfigReader<'_>,
) -> Option<UpstreamServer> {
    let problems = reader.problems;
    let (section, address) = match &node.value {
        Value::Text(text) | Value::Environment(text) => (
            Section::of(&[], &node.place, &UPSTREAM_SERVER, problems),
            Some((text.as_str(), node)),
        ),
        Value::Table(_) => {
            let section = Section::open(node, &UPSTREAM_SERVER, problems)?;
            section.required("address");
            (section, section.text_given("address"))
        }
        Value::Unusable => return None,
        _ => {
            upstream.wrong_item(node, "servers");
            return None;
        }
    };
    // Also where there is no address: what is wrong with the rest is said as well.
    let of_options = |spelling: &str, location| upstream_server(&section, spelling, location);
    let Some((spelling, location, address)) = address.and_then(|(text, node)| {
        let (https, spelling) = noted(address::scheme(text), node, problems)?;
        let default_port = match tls.settings {
            Some(_) => address::DEFAULT_TLS_PORT,
            None => address::DEFAULT_PORT,
        };
        let destination = address::to_connect_to(spelling, default_port);
        let location = destination
            .and_then(|destination| resolver::location(&section, spelling, destination, resolver));
        let location = noted(location, node, problems)?;
        if let Some(message) = mixture(https, tls, spelling) {
            let hint =
                "the servers of one upstream speak TLS, or none does: make two upstreams of it";
            problems.add(Problem::new(&node.place, message).hint(hint));
        }
        Some((spelling, location, node))
    }) else {
        of_options("", ServerLocation::Address(Address::Unix(PathBuf::new())));
        return None;
    };
    if let Some(tls) = tls.settings {
        tls::check_name(tls, spelling, address, reader);
    }
    Some(of_options(spelling, location))
}

/// What is wrong with a server that is not spoken to as the others are.
fn mixture(https: bool, tls: ServersTls<'_>, server: &str) -> Option<String> {
    match (https, tls.settings.is_some()) {
        (true, false) => Some(format!(
            "`https://{server}` in an upstream with `tls = false`"
        )),
        (false, true) if !tls.given => Some(format!("`{server}` beside servers with `https://`")),
        _ => None,
    }
}

/// A server with its options, which the section has.
fn upstream_server(
    section: &Section<'_>,
    spelling: &str,
    location: ServerLocation,
) -> UpstreamServer {
    let fail_timeout = whole_seconds(
        section,
        "fail_timeout",
        "failures are counted by the second",
    );
    let slow_start = whole_seconds(section, "slow_start", "a share grows by the second");
    UpstreamServer {
        spelling: spelling.to_owned(),
        location,
        weight: section.integer("weight"),
        max_fails: section.integer("max_fails"),
        fail_timeout,
        slow_start,
        max_conns: section.integer("max_conns"),
        backup: section.boolean("backup"),
        down: section.boolean("down"),
        route: section.text("route").to_owned(),
        labels: labels(section),
        down_by_command: false,
        listed: false,
        rule: None,
        place: section.place.clone(),
    }
}

/// A duration that is counted in seconds, as nginx counts it. `why`: in a few words.
fn whole_seconds(section: &Section<'_>, name: &str, why: &str) -> Duration {
    let given = section.duration(name);
    if given.subsec_nanos() > 0
        && let Some(node) = section.get(name)
    {
        let complaint = Complaint::new(format!("`{name}` must be whole seconds"));
        let hint = format!("{why}, as in nginx");
        section.problems.add(complaint.hint(hint).at(&node.place));
    }
    Duration::from_secs(given.as_secs())
}

/// What the operator calls a server, by name.
fn labels(section: &Section<'_>) -> Vec<(String, String)> {
    const MOST: usize = 16;
    const LONGEST: usize = 256;
    let problems = section.problems;
    let entries = section.named("labels");
    if entries.len() > MOST
        && let Some(node) = section.get("labels")
    {
        let message = format!(
            "a server has {MOST} `labels` at most, not {}",
            entries.len()
        );
        problems.add(Problem::new(&node.place, message));
    }
    let mut labels = Vec::new();
    for Entry {
        key,
        key_place,
        node,
    } in entries
    {
        if let Err(complaint) = check_name(key, "a label's name") {
            problems.add(complaint.at(key_place));
        }
        match node.as_text() {
            Some(text) if text.len() > LONGEST => {
                let message = format!(
                    "the value of label `{key}` has {} bytes, more than {LONGEST}",
                    text.len()
                );
                problems.add(Problem::new(&node.place, message));
            }
            Some(text) => labels.push((key.clone(), text.to_owned())),
            None => wrong_type(node, key, &ValueKind::Text, problems),
        }
    }
    labels.sort();
    labels
}

/// Notes what nginx refuses about the servers as a whole.
fn check_backups(upstream: &UpstreamConfig, servers: Option<&Node>, reader: ConfigReader<'_>) {
    let UpstreamConfig {
        name,
        servers: list,
        source,
        state,
        ..
    } = upstream;
    let Some(node) = servers.filter(|_| source.is_none() && state.is_none()) else {
        return;
    };
    if let Value::Array(items) = &node.value
        && items.is_empty()
    {
        reader.missing(Problem::new(
            &node.place,
            format!("no servers in upstream `{name}`"),
        ));
    }
    if !list.is_empty() && list.iter().all(|server| server.backup) {
        let message = format!("all servers in upstream `{name}` are `backup`");
        reader.missing(Problem::new(&node.place, message).hint("at least one must be asked first"));
    }
}

/// A PROXY header speaks for one client, a connection of HTTP/2 for many.
fn check_proxy_protocol(upstream: &UpstreamConfig, section: &Section<'_>) {
    if let Some(node) = section.get("proxy_protocol")
        && upstream.proxy_protocol.is_some()
        && upstream.http2.is_some()
    {
        let complaint = Complaint::new("`proxy_protocol` does not go with `http2`");
        let hint = "a connection of HTTP/2 carries requests of many clients, and its PROXY header names one";
        section.problems.add(complaint.hint(hint).at(&node.place));
    }
}

pub(super) fn next_conditions(section: &Section<'_>) -> NextConditions {
    let words = match section.get("next_upstream") {
        Some(node) if node.as_text() == Some("off") => Vec::new(),
        None
        | Some(Node {
            value: Value::Array(_),
            ..
        }) => section.words("next_upstream", &NEXT_CONDITIONS),
        Some(node) => {
            let complaint = Complaint::new("`next_upstream` must be `\"off\"` or a list");
            let hint = r#"write it as `["error", "timeout", "http_503"]`"#;
            section.problems.add(complaint.hint(hint).at(&node.place));
            Vec::new()
        }
    };
    let mut conditions = NextConditions::default();
    for word in words {
        if let Some(condition) = conditions.by_name(word) {
            *condition = true;
        }
    }
    conditions
}

impl NextConditions {
    fn by_name(&mut self, name: &str) -> Option<&mut bool> {
        Some(match name {
            "error" => &mut self.error,
            "timeout" => &mut self.timeout,
            "invalid_header" => &mut self.invalid_header,
            "http_500" => &mut self.http_500,
            "http_502" => &mut self.http_502,
            "http_503" => &mut self.http_503,
            "http_504" => &mut self.http_504,
            "http_403" => &mut self.http_403,
            "http_404" => &mut self.http_404,
            "http_429" => &mut self.http_429,
            "non_idempotent" => &mut self.non_idempotent,
            _ => return None,
        })
    }

    /// The conditions as the file names them.
    pub fn names(mut self) -> Vec<&'static str> {
        NEXT_CONDITIONS
            .into_iter()
            .filter(|name| self.by_name(name).is_some_and(|condition| *condition))
            .collect()
    }
}
