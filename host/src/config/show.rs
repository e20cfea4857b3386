//! The configuration as TOML with everything said: `waypost show`. Read again, it means the same.

mod compression;
mod condition;
mod environment;
mod error_page;
mod files;
mod health;
mod headers;
mod log;
mod overload;
mod plugins;
mod proxied;
mod source;
mod tls;
mod traces;
mod variable;

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::model::{
    Action, AdminConfig, Config, ListenerConfig, LogPath, Lookup, MetricsConfig, NextConditions,
    PluginCache, Proxy, ProxyUpstream, ProxyUri, ProxyVersion, RealIp, RealIpHeader, Resolve,
    Resolver, Return, Route, RouteLimits, ServerConfig, ServerLocation, ServerName, StoreConfig,
    StreamConfig, TrustedProxies, UpstreamConfig, UpstreamServer,
};
use super::tree::{Entry, key_text};
use super::units::{duration_text, size_text};

/// The whole configuration. Upstreams that a route named by address appear under that address.
pub fn show(config: &Config) -> String {
    show_some(config, |_| true)
}

/// As [`show`], with what came from the environment as it stands in the file: `root` is what the
/// configuration was read from.
pub(super) fn as_written(config: &Config, root: &[Entry]) -> String {
    let shown = show_some(config, |upstream| !environment::names(upstream, root));
    environment::as_written(&shown, root)
}

fn show_some(config: &Config, wanted: impl Fn(&UpstreamConfig) -> bool) -> String {
    let mut out = TomlWriter(String::new());
    server(&mut out, &config.server, config);
    for listener in &config.listeners {
        self::listener(&mut out, listener, config);
    }
    for definition in config.variables.list() {
        variable::variable(&mut out, definition);
    }
    for upstream in config.upstreams.iter().filter(|upstream| wanted(upstream)) {
        self::upstream(&mut out, upstream);
    }
    for routes in config.routes.chunk_by(|one, next| one.place == next.place) {
        self::route(&mut out, routes, config);
    }
    for stream in &config.streams {
        self::stream(&mut out, stream, config);
    }
    for hook in config.hooks.iter().filter(|hook| hook.is_named()) {
        plugins::hook(&mut out, hook);
    }
    for plugin in &config.plugins {
        plugins::plugin(&mut out, plugin);
    }
    store(&mut out, &config.store);
    metrics(&mut out, &config.metrics);
    if let Some(traces) = &config.traces {
        self::traces::traces(&mut out, traces);
    }
    if let Some(admin) = &config.admin {
        self::admin(&mut out, admin);
    }
    out.0
}

/// TOML under construction. Values are passed as TOML.
struct TomlWriter(String);

impl TomlWriter {
    fn header(&mut self, header: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.0, "{gap}{header}");
    }

    fn key(&mut self, key: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{key} = {value}");
    }
}

fn server(out: &mut TomlWriter, server: &ServerConfig, config: &Config) {
    out.header("[server]");
    out.key("workers", server.workers);
    match server.max_connections {
        Some(count) => out.key("max_connections", count),
        None => out.key("max_connections", text("auto")),
    }
    out.key("trusted_proxies", trusted_proxies(&server.trusted_proxies));
    out.key("access_log", log::access_logs(&server.access_logs));
    let path = text(&log_path(&server.error_log.path));
    let level = text(&server.error_log.level.as_str().to_ascii_lowercase());
    out.key(
        "error_log",
        format_args!("{{ path = {path}, level = {level} }}"),
    );
    out.key(
        "shutdown_timeout",
        text(&duration_text(server.shutdown_timeout.unwrap_or_default())),
    );
    let delay = text(&duration_text(server.shutdown_delay));
    out.key("shutdown_delay", delay);
    match &server.plugin_cache {
        PluginCache::Default => out.key("plugin_cache", text("auto")),
        PluginCache::Directory(path) => {
            out.key("plugin_cache", text(&path.display().to_string()));
        }
        PluginCache::Off => out.key("plugin_cache", false),
    }
    out.key("io_uring", server.io_uring);
    out.key("max_dynamic_upstreams", server.max_dynamic_upstreams);
    out.key(
        "dynamic_idle_timeout",
        text(&duration_text(server.dynamic_idle_timeout)),
    );
    if let Some(dynamic) = config.dynamic_proxies().next() {
        resolver(out, &dynamic.model.resolver);
    }
    plugins::hooks(out, &server.hooks, config);
}

fn trusted_proxies(trusted: &TrustedProxies) -> String {
    let networks = trusted.networks.iter().map(|network| network.to_string());
    let unix = trusted.unix.then(|| "unix:".to_owned());
    texts(networks.chain(unix))
}

fn listener(out: &mut TomlWriter, listener: &ListenerConfig, config: &Config) {
    out.header("[[listen]]");
    out.key("address", text(&listener.address.to_string()));
    if let Some(tls) = &listener.tls {
        out.key("tls", self::tls::listener(tls));
    }
    if let Some(hsts) = &listener.hsts {
        out.key("hsts", text(hsts));
    }
    match listener.redirect_to_https {
        Some(port) => out.key("redirect_to_https", port),
        None => out.key("redirect_to_https", false),
    }
    out.key("proxy_protocol", listener.proxy_protocol);
    let RealIp {
        trusted,
        header,
        recursive,
    } = &listener.real_ip;
    out.key("trusted_proxies", trusted_proxies(trusted));
    match header {
        RealIpHeader::Usual => {}
        RealIpHeader::Named(name) => out.key("real_ip_header", text(name)),
        RealIpHeader::ProxyProtocol => out.key("real_ip_header", text("proxy_protocol")),
    }
    out.key("real_ip_recursive", *recursive);
    if !listener.error_pages.is_empty() {
        out.key("error_pages", error_page::pages(&listener.error_pages));
    }
    out.key("intercept_errors", listener.intercept_errors);
    out.key("access_log", log::access_logs(&listener.access_logs));
    if config.traces.is_some() {
        out.key("traces", self::traces::rule(listener.traces.as_deref()));
    }
    out.key("backlog", listener.backlog);
    out.key(
        "keepalive_timeout",
        text(&duration_text(listener.keepalive_timeout)),
    );
    out.key("keepalive_requests", listener.keepalive_requests);
    out.key(
        "keepalive_time",
        text(&duration_text(listener.keepalive_time)),
    );
    out.key(
        "client_header_timeout",
        text(&duration_text(listener.client_header_timeout)),
    );
    out.key(
        "client_body_timeout",
        text(&duration_text(listener.client_body_timeout)),
    );
    out.key("send_timeout", text(&duration_text(listener.send_timeout)));
    out.key(
        "client_max_body_size",
        text(&size_text(listener.client_max_body_size.unwrap_or(0))),
    );
    out.key(
        "client_header_size",
        text(&size_text(listener.client_header_size as u64)),
    );
    out.key("max_headers", listener.max_headers);
    out.key("underscores_in_headers", listener.underscores_in_headers);
    let compression = listener.compression.as_ref();
    out.key("compression", self::compression::compression(compression));
    out.key("gunzip", listener.gunzip);
    out.key("expires", headers::expires(listener.expires));
    if !listener.request_headers.is_empty() {
        out.key(
            "request_headers",
            headers::headers(&listener.request_headers),
        );
    }
    if !listener.response_headers.is_empty() {
        out.key(
            "response_headers",
            headers::headers(&listener.response_headers),
        );
    }
    match &listener.http2 {
        None => out.key("http2", false),
        Some(http2) => {
            let bounds = [
                ("max_concurrent_streams", http2.max_concurrent_streams),
                ("max_resets", http2.max_resets),
                ("max_control_frames", http2.max_control_frames),
            ];
            let bounds = bounds.map(|(key, value)| format!("{key} = {value}"));
            out.key("http2", inline_table(bounds));
        }
    }
    let own = listener.hooks.get(config.server.hooks.len()..);
    plugins::hooks(out, own.unwrap_or_default(), config);
}

fn upstream(out: &mut TomlWriter, upstream: &UpstreamConfig) {
    out.header(&format!("[upstream.{}]", key_text(&upstream.name)));
    out.key("policy", plugins::policy(&upstream.policy));
    let servers: String = upstream
        .servers
        .iter()
        .map(|server| format!("  {},\n", self::server_of(server)))
        .collect();
    out.key("servers", format_args!("[\n{servers}]"));
    if let Some(source) = &upstream.source {
        out.key("servers_from", self::source::source(source));
    }
    if let Some(state) = &upstream.state {
        out.key("state", text(&state.path.display().to_string()));
    }
    resolver(out, &upstream.resolver);
    match &upstream.tls {
        Some(tls) => out.key("tls", self::tls::upstream(tls)),
        None => out.key("tls", false),
    }
    out.key("keepalive", upstream.keepalive);
    out.key("keepalive_requests", upstream.keepalive_requests);
    out.key(
        "keepalive_time",
        text(&duration_text(upstream.keepalive_time)),
    );
    out.key(
        "keepalive_timeout",
        text(&duration_text(upstream.keepalive_timeout)),
    );
    out.key(
        "connect_timeout",
        text(&duration_text(upstream.connect_timeout)),
    );
    out.key("send_timeout", text(&duration_text(upstream.send_timeout)));
    out.key("read_timeout", text(&duration_text(upstream.read_timeout)));
    out.key(
        "half_close_timeout",
        text(&duration_text(upstream.half_close_timeout)),
    );
    out.key(
        "next_upstream",
        conditions(&upstream.next_upstream.conditions),
    );
    out.key("next_upstream_tries", upstream.next_upstream.tries);
    out.key(
        "next_upstream_timeout",
        text(&duration_text(upstream.next_upstream.timeout)),
    );
    out.key("last_resort", upstream.last_resort);
    match &upstream.health_check {
        None => out.key("health_check", false),
        Some(check) => out.key("health_check", health::health_check(check)),
    }
    match &upstream.outliers {
        None => out.key("outliers", false),
        Some(outliers) => out.key("outliers", health::outliers(outliers)),
    }
    out.key("panic_threshold", upstream.panic_threshold);
    overload::overload(out, &upstream.overload);
    out.key(
        "body_buffer_size",
        text(&size_text(upstream.body_buffer_size as u64)),
    );
    out.key(
        "response_header_size",
        text(&size_text(upstream.response_header_size as u64)),
    );
    let proxy_protocol = match upstream.proxy_protocol {
        None => "off",
        Some(ProxyVersion::V1) => "v1",
        Some(ProxyVersion::V2) => "v2",
    };
    out.key("proxy_protocol", text(proxy_protocol));
    match &upstream.http2 {
        None => out.key("http2", false),
        Some(http2) => {
            let streams = http2.max_concurrent_streams;
            out.key(
                "http2",
                inline_table([format!("max_concurrent_streams = {streams}")]),
            );
        }
    }
}

fn conditions(conditions: &NextConditions) -> String {
    let names = conditions.names();
    match names.is_empty() {
        true => text("off"),
        false => texts(names),
    }
}

/// What a route says of its upstream and its listener.
fn limits(out: &mut TomlWriter, limits: &RouteLimits) {
    let times = [
        ("connect_timeout", limits.connect_timeout),
        ("send_timeout", limits.send_timeout),
        ("read_timeout", limits.read_timeout),
        ("half_close_timeout", limits.half_close_timeout),
        ("next_upstream_timeout", limits.next_timeout),
        ("client_body_timeout", limits.client_body_timeout),
        ("client_send_timeout", limits.client_send_timeout),
    ];
    for (key, time) in times {
        if let Some(time) = time {
            out.key(key, text(&duration_text(time)));
        }
    }
    if let Some(size) = limits.body_buffer_size {
        out.key("body_buffer_size", text(&size_text(size as u64)));
    }
    if let Some(next) = &limits.next_conditions {
        out.key("next_upstream", conditions(next));
    }
    if let Some(tries) = limits.next_tries {
        out.key("next_upstream_tries", tries);
    }
}

/// What an upstream says of names. `[server]` has no say in what is shown, but for names that requests
/// make: nothing else is left to it.
fn resolver(out: &mut TomlWriter, resolver: &Resolver) {
    let resolve = match resolver.resolve {
        Resolve::Again => "again",
        Resolve::Once => "once",
    };
    out.key("resolve", text(resolve));
    let addresses = texts(resolver.addresses.iter().map(SocketAddr::to_string));
    let valid = resolver.valid.map(|valid| ("valid", valid));
    let times = [
        ("min_ttl", resolver.min_ttl),
        ("max_ttl", resolver.max_ttl),
        ("timeout", resolver.timeout),
    ];
    let times = valid.into_iter().chain(times);
    let times = times.map(|(key, time)| format!("{key} = {}", text(&duration_text(time))));
    let first = std::iter::once(format!("addresses = {addresses}"));
    let last = std::iter::once(format!("ipv6 = {}", resolver.ipv6));
    out.key("resolver", inline_table(first.chain(times).chain(last)));
}

fn server_of(server: &UpstreamServer) -> String {
    let UpstreamServer {
        spelling,
        location,
        weight,
        max_fails,
        fail_timeout,
        slow_start,
        max_conns,
        backup,
        down,
        route,
        labels,
        ..
    } = server;
    let (address, route) = (text(spelling), text(route));
    let service = match location {
        ServerLocation::Name(ServerName {
            lookup: Lookup::Service(service),
            ..
        }) => format!(", service = {}", text(service)),
        _ => String::new(),
    };
    let fail_timeout = text(&duration_text(*fail_timeout));
    let slow_start = text(&duration_text(*slow_start));
    let labels = match labels.is_empty() {
        true => String::new(),
        false => {
            let labels = labels
                .iter()
                .map(|(name, value)| format!("{} = {}", key_text(name), text(value)));
            format!(", labels = {}", inline_table(labels))
        }
    };
    format!(
        "{{ address = {address}{service}, weight = {weight}, max_fails = {max_fails}, fail_timeout = {fail_timeout}, \
         slow_start = {slow_start}, max_conns = {max_conns}, backup = {backup}, down = {down}, route = {route}{labels} }}"
    )
}

/// A `[[route]]` with its hosts, each of which is a route of its own.
fn route(out: &mut TomlWriter, routes: &[Route], config: &Config) {
    let Some(route) = routes.first() else { return };
    out.header("[[route]]");
    if route.listeners.len() < config.listeners.len() {
        let listeners = route
            .listeners
            .iter()
            .filter_map(|index| config.listeners.get(*index));
        out.key(
            "listen",
            texts(listeners.map(|listener| listener.address.to_string())),
        );
    }
    if let Some(name) = &route.name {
        out.key("name", text(name));
    }
    out.key("internal", route.internal);
    let hosts: Vec<String> = routes.iter().map(|route| route.host.spelling()).collect();
    match hosts.as_slice() {
        [host] if host.is_empty() => {}
        [host] => out.key("host", text(host)),
        hosts => out.key("host", texts(hosts)),
    }
    out.key("path", text(&route.path.spelling()));
    if !route.when.is_empty() {
        out.key("when", condition::when(&route.when));
    }
    match &route.action {
        Action::Proxy(proxy) => {
            out.key("proxy", text(&target(proxy, config)));
            if let ProxyUpstream::Dynamic(dynamic) = &proxy.upstream {
                let entries = dynamic.allow.iter();
                // One text may stand for two entries.
                let mut allowed: Vec<_> = entries.map(|entry| entry.spelling.clone()).collect();
                allowed.dedup();
                out.key("proxy_allow", texts(allowed));
            }
            self::proxied::proxied(out, proxy);
        }
        Action::Return(answer) => out.key("return", self::answer(answer)),
        Action::StubStatus => out.key("stub_status", true),
        Action::Metrics => out.key("metrics", true),
        Action::Probe(probe) => out.key("probe", text(probe.name())),
        Action::Files(files) => out.key("files", self::files::files(files)),
        Action::Component(index) => {
            if let Some(component) = config.components.get(*index) {
                out.key("component", plugins::component(component));
            }
        }
    }
    if !route.request_headers.is_empty() {
        out.key("request_headers", headers::headers(&route.request_headers));
    }
    if !route.response_headers.is_empty() {
        out.key(
            "response_headers",
            headers::headers(&route.response_headers),
        );
    }
    plugins::hooks(out, &route.hooks, config);
    out.key("inherit_hooks", route.inherits_hooks);
    if let Some(logs) = &route.access_logs {
        out.key("access_log", log::access_logs(logs));
    }
    if let Some(rule) = &route.traces {
        out.key("traces", self::traces::rule(rule.as_deref()));
    }
    if let Some(size) = route.client_max_body_size {
        out.key("client_max_body_size", text(&size_text(size.unwrap_or(0))));
    }
    if let Some(compression) = &route.compression {
        out.key(
            "compression",
            compression::compression(compression.as_ref()),
        );
    }
    if let Some(gunzip) = route.gunzip {
        out.key("gunzip", gunzip);
    }
    if let Some(expires) = route.expires {
        out.key("expires", headers::expires(expires));
    }
    limits(out, &route.limits);
    if !route.error_pages.is_empty() {
        out.key("error_pages", error_page::pages(&route.error_pages));
    }
    if let Some(intercepts) = route.intercept_errors {
        out.key("intercept_errors", intercepts);
    }
    if route.accel_redirect {
        out.key("accel_redirect", true);
    }
}

fn stream(out: &mut TomlWriter, stream: &StreamConfig, config: &Config) {
    out.header("[[stream]]");
    out.key("address", text(&stream.address.to_string()));
    if let Some(tls) = &stream.tls {
        out.key("tls", self::tls::listener(tls));
    }
    out.key("proxy", text(upstream_name(stream.upstream, config)));
    if !stream.sni.is_empty() {
        let routes = stream.sni.iter().map(|route| {
            let (host, name) = (route.host.spelling(), upstream_name(route.upstream, config));
            format!("  {{ host = {}, proxy = {} }},\n", text(&host), text(name))
        });
        out.key("sni", format_args!("[\n{}]", routes.collect::<String>()));
    }
    out.key("idle_timeout", text(&duration_text(stream.idle_timeout)));
    out.key(
        "preread_timeout",
        text(&duration_text(stream.preread_timeout)),
    );
    out.key("proxy_protocol", stream.proxy_protocol);
    out.key("backlog", stream.backlog);
    out.key("access_log", log::access_logs(&stream.access_logs));
    plugins::hooks(out, &stream.hooks, config);
    if config.traces.is_some() {
        out.key(
            "traces",
            self::traces::rule_of_stream(stream.traces.as_deref()),
        );
    }
}

fn upstream_name(index: usize, config: &Config) -> &str {
    config
        .upstreams
        .get(index)
        .map_or("", |upstream| upstream.name.as_str())
}

fn target(proxy: &Proxy, config: &Config) -> String {
    let uri = match &proxy.uri {
        None | Some(ProxyUri::Prefix { .. }) => None,
        Some(ProxyUri::Part(part)) => Some(part.clone()),
        Some(ProxyUri::Whole(template)) => Some(template.to_string()),
    };
    let scheme = |https| if https { "https" } else { "http" };
    let index = match &proxy.upstream {
        ProxyUpstream::Fixed(index) => *index,
        ProxyUpstream::Dynamic(dynamic) => {
            let (scheme, authority) = (scheme(dynamic.https), &dynamic.authority);
            return format!("{scheme}://{authority}{}", uri.unwrap_or_default());
        }
    };
    let name = upstream_name(index, config);
    let upstream = config.upstreams.get(index);
    let scheme = scheme(upstream.is_some_and(|upstream| upstream.tls.is_some()));
    match uri {
        None => name.to_owned(),
        Some(uri) if name.starts_with("unix:") => format!("{scheme}://{name}:{uri}"),
        Some(uri) => format!("{scheme}://{name}{uri}"),
    }
}

fn answer(answer: &Return) -> String {
    let mut parts = vec![format!("status = {}", answer.status)];
    if let Some(location) = &answer.location {
        parts.push(format!("location = {}", text(&location.to_string())));
    }
    if let Some(body) = &answer.body {
        parts.push(format!("body = {}", text(&body.to_string())));
    }
    parts.push(format!("content_type = {}", text(&answer.content_type)));
    inline_table(parts)
}

fn store(out: &mut TomlWriter, store: &StoreConfig) {
    out.header("[store]");
    let Some(remote) = &store.remote else {
        out.key("size", text(&size_text(store.size)));
        return;
    };
    out.key("url", text(&remote.url));
    out.key("prefix", text(&remote.prefix));
    if let Some(ca) = &remote.ca {
        out.key("ca", text(&ca.path.display().to_string()));
    }
    out.key("timeout", text(&duration_text(remote.timeout)));
    let connect_timeout = duration_text(remote.connect_timeout);
    out.key("connect_timeout", text(&connect_timeout));
}

fn metrics(out: &mut TomlWriter, metrics: &MetricsConfig) {
    out.header("[metrics]");
    let buckets = metrics.buckets.iter();
    out.key("buckets", texts(buckets.map(|bound| duration_text(*bound))));
    out.key("endpoints", metrics.endpoints);
    out.key("named_upstreams", metrics.named_upstreams);
}

fn admin(out: &mut TomlWriter, admin: &AdminConfig) {
    out.header("[admin]");
    out.key("address", text(&admin.address.to_string()));
    if let Some(tls) = &admin.tls {
        out.key("tls", self::tls::listener(tls));
    }
    if let Some(audit) = &admin.audit {
        out.key("audit", text(&audit.path.display().to_string()));
    }
    let tokens = admin.tokens.iter().map(|token| {
        inline_table([
            format!("name = {}", text(&token.name)),
            format!("role = {}", text(token.role.word())),
            format!("sha256 = {}", text(&token.sha256)),
        ])
    });
    let tokens: Vec<String> = tokens.collect();
    if !tokens.is_empty() {
        out.key("tokens", format!("[{}]", tokens.join(", ")));
    }
}

fn log_path(path: &LogPath) -> String {
    match path {
        LogPath::Stdout => "stdout".to_owned(),
        LogPath::Stderr => "stderr".to_owned(),
        LogPath::File(path) => path.display().to_string(),
    }
}

fn inline_table(parts: impl IntoIterator<Item = String>) -> String {
    let parts: Vec<String> = parts.into_iter().collect();
    if parts.is_empty() {
        "{}".to_owned()
    } else {
        format!("{{ {} }}", parts.join(", "))
    }
}

/// A string as TOML writes it.
pub(crate) fn text(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

fn texts(values: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let values: Vec<String> = values
        .into_iter()
        .map(|value| text(value.as_ref()))
        .collect();
    format!("[{}]", values.join(", "))
}
