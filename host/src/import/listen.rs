//! `listen`: addresses, and which `server` is an address's first.

use super::hosts::{Address, Server};
use super::report::Accounts;
use super::scope::Scope;
use super::tree::Directive;

/// An address that a `server` listens on.
#[derive(Debug, Clone)]
pub(super) struct Listen {
    /// As Waypost writes it.
    pub(super) address: String,
    pub(super) tls: bool,
    pub(super) default_server: bool,
    pub(super) proxy_protocol: bool,
    pub(super) backlog: Option<u32>,
}

/// The addresses of a `server`; port 80 where it says none. `what`: the table of the file.
pub(super) fn listens(scope: &Scope<'_>, what: &'static str, accounts: &Accounts) -> Vec<Listen> {
    let mut listens = Vec::new();
    let all_tls = scope.own("ssl").iter().any(|ssl| ssl.argument(0) == "on");
    for directive in scope.own("listen") {
        listens.extend(listen(directive, all_tls, what, accounts));
    }
    if scope.own("listen").is_empty() && what == "[[listen]]" {
        listens.push(Listen {
            address: "80".to_owned(),
            tls: all_tls,
            default_server: false,
            proxy_protocol: false,
            backlog: None,
        });
    }
    for ssl in scope.own("ssl") {
        match all_tls {
            true => accounts.translated(ssl, "`tls` in `[[listen]]`"),
            false => accounts.harmless(ssl, "off, as without it"),
        }
    }
    listens
}

fn listen(
    directive: &Directive,
    all_tls: bool,
    what: &'static str,
    accounts: &Accounts,
) -> Vec<Listen> {
    let Some(address) = address(directive.argument(0)) else {
        accounts.lost(directive, "a listener has an IP address, not a name");
        return Vec::new();
    };
    let mut listen = Listen {
        address,
        tls: all_tls,
        default_server: false,
        proxy_protocol: false,
        backlog: None,
    };
    let mut both = false;
    let mut note = None;
    for argument in directive.arguments.iter().skip(1) {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        match name {
            "ssl" => listen.tls = true,
            "default_server" | "default" => listen.default_server = true,
            "proxy_protocol" => listen.proxy_protocol = true,
            "backlog" => listen.backlog = value.parse().ok().filter(|number| *number > 0),
            "ipv6only" => both = value == "off" && listen.address.starts_with("[::]"),
            "http2" | "spdy" | "reuseport" | "deferred" | "fastopen" | "rcvbuf" | "sndbuf"
            | "bind" | "so_keepalive" | "setfib" | "accept_filter" | "multipath" => {}
            "quic" => {
                accounts.lost(directive, "HTTP/3 is not spoken yet: clients use HTTP/2");
                return Vec::new();
            }
            "udp" => {
                accounts.lost(directive, "streams are TCP; UDP is not carried yet");
                return Vec::new();
            }
            _ => note = Some(format!("`{argument}` is not known here")),
        }
    }
    match note {
        Some(note) => accounts.lost(directive, note),
        None => accounts.translated(
            directive,
            format!("`{what}` with `address = \"{}\"`", listen.address),
        ),
    }
    let mut listens = vec![listen.clone()];
    if both {
        let port = listen.address.rsplit(':').next().unwrap_or("80");
        listens.push(Listen {
            address: port.to_owned(),
            ..listen
        });
    }
    listens
}

/// Notes addresses that another one of the same port includes: nginx listens on the wider one alone
/// and asks each connection where it arrived (`ngx_http_add_addrs`), and two listeners cannot have
/// both.
pub(super) fn check_overlaps(servers: &[Server<'_>], addresses: &[Address], accounts: &Accounts) {
    let has = |name: &str| addresses.iter().any(|address| address.name == name);
    for directive in servers.iter().flat_map(|server| server.scope.own("listen")) {
        let Some(own) = address(directive.argument(0)) else {
            continue;
        };
        let Some((host, port)) = own.rsplit_once(':').filter(|(host, _)| *host != "[::]") else {
            continue;
        };
        let wider = match host.starts_with('[') {
            true => format!("[::]:{port}"),
            false => port.to_owned(),
        };
        if host != "unix" && has(&wider) {
            accounts.lost(
                directive,
                format!(
                    "`{wider}` has this address as well, and two listeners cannot share it: name \
                     each address, or give one of them another port"
                ),
            );
        }
    }
}

/// An address as Waypost writes it: all of IPv4 are a port alone.
pub(super) fn address(text: &str) -> Option<String> {
    if text.starts_with("unix:") {
        return Some(text.to_owned());
    }
    if text.parse::<u16>().is_ok() {
        return Some(text.to_owned());
    }
    let (host, port) = match super::upstream::has_port(text) {
        true => text.rsplit_once(':')?,
        false => (text, "80"),
    };
    port.parse::<u16>().ok()?;
    let bare = host.trim_matches(['[', ']']);
    match host {
        "*" | "0.0.0.0" => Some(port.to_owned()),
        "localhost" => Some(format!("127.0.0.1:{port}")),
        _ if bare.parse::<std::net::IpAddr>().is_ok() => Some(format!("{host}:{port}")),
        _ => None,
    }
}
