//! `[server]` and `[[listen]]`.

use super::hook::Hooks;
use super::traces::Traces;
use super::{
    Complaint, access_log, address, compression, error_page, headers, log, noted, real_ip, tls,
};
use crate::config::declared::{HTTP2, LISTEN};
use crate::config::model::{
    Address, CacheTime, Http2Config, ListenerConfig, PluginCache, ServerConfig,
};
use crate::config::problem::{Place, Problem};
use crate::config::section::Section;
use crate::config::tree::Value;
use crate::http::variable::{Names, Phase};

pub(super) fn server<'a>(
    section: &Section<'a>,
    hooks: &mut Hooks<'a>,
    names: Names<'_>,
) -> ServerConfig {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    ServerConfig {
        workers: count(section, "workers").unwrap_or(cores),
        trusted_proxies: real_ip::trusted_proxies(section),
        access_logs: access_log::access_logs(section, names)
            .unwrap_or_else(|| vec![access_log::default_access_log(section)]),
        error_log: log::error_log(section),
        max_connections: count(section, "max_connections"),
        shutdown_timeout: Some(section.duration("shutdown_timeout"))
            .filter(|timeout| !timeout.is_zero()),
        shutdown_delay: section.duration("shutdown_delay"),
        plugin_cache: plugin_cache(section),
        io_uring: section.boolean("io_uring"),
        max_dynamic_upstreams: section.integer("max_dynamic_upstreams"),
        dynamic_idle_timeout: section.duration("dynamic_idle_timeout"),
        hooks: hooks.of(section),
    }
}

/// `"auto"` (and no value at all) is `None`.
fn count(section: &Section<'_>, name: &str) -> Option<usize> {
    let node = section.get(name)?;
    if node.as_text() == Some("auto") {
        return None;
    }
    section
        .integer_of(node, name)
        .and_then(|count| usize::try_from(count).ok())
}

fn plugin_cache(section: &Section<'_>) -> PluginCache {
    let Some(node) = section.get("plugin_cache") else {
        return PluginCache::Default;
    };
    match (&node.value, node.as_text()) {
        (Value::Boolean(false), _) => PluginCache::Off,
        (Value::Environment(text), _) if text == "false" => PluginCache::Off,
        (_, Some("auto")) => PluginCache::Default,
        (_, Some(text @ ("off" | "false" | "none"))) => {
            let complaint = Complaint::new(format!("`{text}` is not the path of a directory"));
            let hint = "to keep nothing write `plugin_cache = false`";
            section.problems.add(complaint.hint(hint).at(&node.place));
            PluginCache::Default
        }
        (_, Some("")) => {
            let complaint = Complaint::new("the path of the plugin cache is empty");
            let hint = "name a directory, or write `false` to keep nothing";
            section.problems.add(complaint.hint(hint).at(&node.place));
            PluginCache::Default
        }
        (_, Some(path)) => PluginCache::Directory(node.place.beside(path)),
        (_, None) => {
            section.wrong_type(node, "plugin_cache");
            PluginCache::Default
        }
    }
}

pub(super) fn listeners<'a>(
    root: &Section<'a>,
    (server, of_server, traces): (&Section<'a>, &ServerConfig, &Traces<'_>),
    taken: &mut TakenAddresses,
    hooks: &mut Hooks<'a>,
    names: Names<'_>,
) -> Vec<ListenerConfig> {
    // Read here too, so that what is wrong in `[server]` is noted even if every listener has its
    // own value.
    let nowhere = Address::Tcp(([0, 0, 0, 0], 0).into());
    listener(server, nowhere, Place::default(), names);
    let of_server_pages = error_page::pages(server, names);
    let changes = |section: &Section<'_>| {
        [Phase::Request, Phase::Response].map(|phase| headers::changes(section, phase, names))
    };
    let [to_servers, to_clients] = changes(server);

    let mut listeners: Vec<ListenerConfig> = Vec::new();
    for node in root.list("listen") {
        let Some(section) = Section::open(node, &LISTEN, root.problems) else {
            continue;
        };
        // They are added to those of `[server]`, not put in their place.
        let own_hooks = hooks.of(&section);
        let own_pages = error_page::pages(&section, names);
        let [own_to_servers, own_to_clients] = changes(&section);
        let own_traces = traces.of_listener(&section);
        let section = section.with_parent(server);
        section.required("address");
        let (address, place) = listen_address(&section, taken);
        listeners.push(ListenerConfig {
            tls: tls::listener(&section),
            hsts: tls::hsts(&section),
            redirect_to_https: tls::redirect_to_https(&section),
            proxy_protocol: section.boolean("proxy_protocol"),
            http2: http2(&section),
            traces: own_traces,
            hooks: [of_server.hooks.as_slice(), &own_hooks].concat(),
            error_pages: error_page::inherited(own_pages, &of_server_pages),
            request_headers: headers::united(&to_servers, own_to_servers),
            response_headers: headers::united(&to_clients, own_to_clients),
            ..listener(&section, address, place, names)
        });
    }
    listeners
}

/// Addresses that were given to a listener or a stream, and where.
pub(super) type TakenAddresses = Vec<(Address, Place)>;

/// The address of a listener or a stream, which no other may have, and where it stands.
pub(super) fn listen_address(
    section: &Section<'_>,
    taken: &mut TakenAddresses,
) -> (Address, Place) {
    let given = section.text_given("address").and_then(|(text, node)| {
        Some((
            noted(address::to_listen_on(text), node, section.problems)?,
            node,
        ))
    });
    let (address, place) = match given {
        Some((address, node)) => (address, &node.place),
        // Goes on with no address, for the other keys' sake.
        None => (Address::Tcp(([0, 0, 0, 0], 0).into()), section.place),
    };
    let chosen_by_the_kernel = matches!(&address, Address::Tcp(socket) if socket.port() == 0);
    match taken
        .iter()
        .find(|(known, _)| *known == address && !chosen_by_the_kernel)
    {
        Some((_, first)) => {
            let problem = Problem::new(place, format!("duplicate listen address `{address}`"));
            let hint = format!("the first is at {}:{}", first.file, first.line);
            section.problems.add(problem.hint(hint));
        }
        None => taken.push((address.clone(), place.clone())),
    }
    (address, place.clone())
}

/// The keys that `[[listen]]` shares with `[server]`.
fn listener(
    section: &Section<'_>,
    address: Address,
    place: Place,
    names: Names<'_>,
) -> ListenerConfig {
    let body_size = section.size("client_max_body_size");
    ListenerConfig {
        address,
        place,
        tls: None,
        hsts: None,
        redirect_to_https: None,
        proxy_protocol: false,
        real_ip: real_ip::real_ip(section),
        access_logs: access_log::access_logs(section, names)
            .unwrap_or_else(|| vec![access_log::default_access_log(section)]),
        traces: None,
        backlog: section.integer("backlog"),
        keepalive_timeout: section.duration("keepalive_timeout"),
        keepalive_requests: section.integer("keepalive_requests"),
        keepalive_time: section.duration("keepalive_time"),
        client_header_timeout: section.duration("client_header_timeout"),
        client_body_timeout: section.duration("client_body_timeout"),
        send_timeout: section.duration("send_timeout"),
        client_max_body_size: Some(body_size).filter(|size| *size > 0),
        client_header_size: section.buffer_size("client_header_size"),
        max_headers: section.integer("max_headers"),
        underscores_in_headers: section.boolean("underscores_in_headers"),
        compression: compression::compression(section).flatten(),
        gunzip: section.boolean("gunzip"),
        request_headers: Vec::new(),
        response_headers: Vec::new(),
        expires: headers::expires(section).unwrap_or(CacheTime::Unchanged),
        http2: None,
        hooks: Vec::new(),
        error_pages: Vec::new(),
        intercept_errors: section.boolean("intercept_errors"),
    }
}

fn http2(section: &Section<'_>) -> Option<Http2Config> {
    let bounds = section.switch_or_table("http2", &HTTP2)?;
    Some(Http2Config {
        max_concurrent_streams: bounds.integer("max_concurrent_streams"),
        max_resets: bounds.integer("max_resets"),
        max_control_frames: bounds.integer("max_control_frames"),
    })
}
