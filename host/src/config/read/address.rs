//! Addresses as nginx writes them: to listen on, and to connect to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::Complaint;
use crate::config::model::Address;

pub(super) const DEFAULT_PORT: u16 = 80;
/// Of servers that speak TLS.
pub(super) const DEFAULT_TLS_PORT: u16 = 443;

const LISTENER_FORMS: &str = "write an IP address and a port, `127.0.0.1:8080`, or `*:8080` for all IPv4 addresses, \
                              `[::]:8080` for all of IPv6";
const SERVER_FORMS: &str =
    "write it as `10.0.0.1:3000`, `[::1]:3000`, `app.example:3000` or `unix:/run/app.sock`";

const NAME_SERVER_FORMS: &str = "write it as `10.0.0.53`, `10.0.0.53:5353` or `[::1]:53`";
const NAME_SERVER_PORT: u16 = 53;

/// Bytes of a socket's path that fit into `sockaddr_un`, its closing zero left aside.
const SOCKET_PATH_MAX: usize = 107;

/// `127.0.0.1:8080`, `[::1]:8080`, `127.0.0.1`, `*:8080`, `:8080`, `8080` or `unix:/path`. Port 0
/// lets the kernel choose.
pub(super) fn to_listen_on(text: &str) -> Result<Address, Complaint> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path);
    }
    if text.starts_with("udp:") || text.ends_with(" udp") {
        let complaint = Complaint::new(format!("`{text}`: UDP is not available in this version"));
        return Err(complaint.hint("write it without `udp`, for TCP"));
    }
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return Ok(Address::Tcp((Ipv4Addr::UNSPECIFIED, port).into()));
    }
    if let Some((address, parameters)) = text.trim().split_once(' ') {
        let complaint = Complaint::new(format!("`{text}` is more than an address"));
        let keys = parameters.trim_end_matches(';').split_whitespace();
        let keys: Vec<&str> = keys.map(key_of_parameter).collect();
        let keys = keys.join("; ");
        return Err(complaint.hint(format!("write `address = \"{address}\"`, and {keys}")));
    }
    let (host, port) = host_and_port(text, LISTENER_FORMS)?;
    let ip = match host {
        "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        host => ip(host).ok_or_else(|| {
            Complaint::new(format!("`{text}` is not an address to listen on")).hint(LISTENER_FORMS)
        })?,
    };
    Ok(Address::Tcp((ip, port.unwrap_or(DEFAULT_PORT)).into()))
}

/// What a parameter of nginx's `listen` is here.
fn key_of_parameter(parameter: &str) -> &'static str {
    match parameter.split('=').next().unwrap_or_default() {
        "ssl" => "for `ssl` a `tls = { certificate = \"a.pem\", key = \"a.key\" }` beside it",
        "http2" => "nothing for `http2`, which is on",
        "default_server" | "default" => "for `default_server` a `[[route]]` without `host`",
        "proxy_protocol" => "for `proxy_protocol` a `proxy_protocol = true` beside it",
        "backlog" => "for `backlog` a `backlog = 511` beside it",
        "reuseport" | "deferred" | "so_keepalive" | "bind" | "ipv6only" => {
            "nothing for how the socket is made"
        }
        "quic" | "udp" => "nothing for UDP, which is not there yet",
        _ => "each parameter as a key of its own beside it",
    }
}

/// As [`to_listen_on`], for the admin interface: an address with its port, or a unix socket. Whether
/// clients of other machines may come is for the reader to say.
pub(super) fn to_administer_at(text: &str) -> Result<Address, Complaint> {
    let address = to_listen_on(text)?;
    match &address {
        Address::Tcp(_) if host_and_port(text, LISTENER_FORMS)?.1.is_none() => {
            Err(Complaint::new(format!("`{text}` has no port"))
                .hint(format!("write it as `{text}:9180`")))
        }
        _ => Ok(address),
    }
}

/// Such an address of this machine alone.
pub(super) fn to_administer_here(text: &str) -> Result<Address, Complaint> {
    let address = to_administer_at(text)?;
    if is_elsewhere(&address) {
        let message =
            format!("the admin address must be a loopback address or a unix socket, not `{text}`");
        return Err(
            Complaint::new(message).hint("another machine is asked over TLS: `https://NAME:9180`")
        );
    }
    Ok(address)
}

/// Whether clients of other machines reach it.
pub(super) fn is_elsewhere(address: &Address) -> bool {
    matches!(address, Address::Tcp(socket) if !socket.ip().is_loopback())
}

/// Splits `https://app.example:8443` into whether it begins so, and the address.
///
/// # Errors
/// Where more follows than an address.
pub(super) fn scheme(text: &str) -> Result<(bool, &str), Complaint> {
    let Some(address) = text.strip_prefix("https://") else {
        return Ok((false, text));
    };
    match address.split_once('/') {
        Some((address, path)) if !address.starts_with("unix:") => {
            let complaint =
                Complaint::new(format!("`{text}` has a path, which a server cannot have"));
            Err(complaint.hint(format!(
                "leave out `/{path}`: a route's `proxy` says what is asked for"
            )))
        }
        _ => Ok((true, address)),
    }
}

/// Where something is: at an address, or wherever a name leads.
pub(super) enum Destination {
    Address(Address),
    Name { host: String, port: u16 },
}

/// Where a server is: `10.0.0.1:3000`, `[::1]:3000`, `app.example`, `unix:/path`.
pub(super) fn to_connect_to(text: &str, default_port: u16) -> Result<Destination, Complaint> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(Destination::Address(unix(path)?));
    }
    if let Some((address, parameters)) = text.trim().split_once(' ') {
        let complaint = Complaint::new(format!("`{text}` is more than an address"));
        // Something else than nginx's parameters.
        if parameters.contains(':') {
            return Err(complaint.hint(SERVER_FORMS));
        }
        let form = as_table(address, parameters);
        return Err(complaint.hint(format!("write it as `{form}`")));
    }
    let (host, port) = host_and_port(text, SERVER_FORMS)?;
    let port = port.unwrap_or(default_port);
    if port == 0 {
        return Err(Complaint::new(format!(
            "`{text}` has port 0, to which nobody can connect"
        )));
    }
    if let Some(ip) = ip(host) {
        return Ok(Destination::Address(Address::Tcp((ip, port).into())));
    }
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !host.chars().all(letters) {
        return Err(not_an_address(text, SERVER_FORMS));
    }
    if let Some(why) = no_name(host) {
        return Err(Complaint::new(format!("`{host}` cannot be a name: {why}")).hint(SERVER_FORMS));
    }
    let host = host.to_owned();
    Ok(Destination::Name { host, port })
}

/// Why no name server could know a name (RFC 1035, 2.3.4; RFC 1123, 2.1).
pub(super) fn no_name(host: &str) -> Option<&'static str> {
    let name = host.strip_suffix('.').unwrap_or(host);
    let mut labels = name.split('.');
    let last = labels.clone().next_back().unwrap_or_default();
    if name.len() > 253 {
        Some("it has more than 253 bytes")
    } else if labels.clone().any(str::is_empty) {
        Some("it has an empty part")
    } else if labels.clone().any(|label| label.len() > 63) {
        Some("a part has more than 63 bytes")
    } else if labels.any(|label| label.starts_with('-') || label.ends_with('-')) {
        Some("a part begins or ends with a hyphen")
    } else if last.bytes().all(|byte| byte.is_ascii_digit()) {
        Some("its last part is a number, as if it were an address")
    } else {
        None
    }
}

/// A name server: `10.0.0.53`, `10.0.0.53:5353`, `[::1]:5353`.
pub(super) fn to_ask(text: &str) -> Result<SocketAddr, Complaint> {
    let (host, port) = host_and_port(text, NAME_SERVER_FORMS)?;
    match ip(host) {
        Some(_) if port == Some(0) => Err(Complaint::new(format!(
            "`{text}` has port 0, to which nobody can connect"
        ))),
        Some(ip) => Ok((ip, port.unwrap_or(NAME_SERVER_PORT)).into()),
        None => Err(not_an_address(text, NAME_SERVER_FORMS)),
    }
}

/// nginx's `10.0.0.1:3000 weight=3 backup` as a table of `servers`.
fn as_table(address: &str, parameters: &str) -> String {
    let mut table = format!("{{ address = \"{address}\"");
    for parameter in parameters.trim_end_matches(';').split_whitespace() {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, "true"));
        let is_plain = value == "true" || value.bytes().all(|byte| byte.is_ascii_digit());
        // nginx's `fail_timeout=10` is seconds.
        table += &match (name, is_plain) {
            ("fail_timeout", true) => format!(", {name} = \"{value}s\""),
            (_, true) => format!(", {name} = {value}"),
            (_, false) => format!(", {name} = \"{value}\""),
        };
    }
    table + " }"
}

/// Whether it says all of where to connect to, a socket's path or a port, as far as it is an
/// address at all.
pub(super) fn has_port(text: &str) -> bool {
    text.starts_with("unix:") || !matches!(host_and_port(text, SERVER_FORMS), Ok((_, None)))
}

fn unix(path: &str) -> Result<Address, Complaint> {
    if !path.starts_with('/') || path.contains('\0') {
        let message = format!("`unix:{path}` needs the absolute path of a socket");
        return Err(Complaint::new(message).hint("write it as `unix:/run/app.sock`"));
    }
    if path.len() > SOCKET_PATH_MAX {
        let length = path.len();
        let message =
            format!("the socket's path has {length} bytes, at most {SOCKET_PATH_MAX} are possible");
        return Err(Complaint::new(message));
    }
    Ok(Address::Unix(PathBuf::from(path)))
}

fn ip(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(host) => host
            .strip_suffix(']')?
            .parse::<Ipv6Addr>()
            .ok()
            .map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// `forms`: the hint, where it is no address at all.
fn host_and_port<'a>(
    text: &'a str,
    forms: &'static str,
) -> Result<(&'a str, Option<u16>), Complaint> {
    if let Some((scheme, _)) = text.split_once("://") {
        let complaint = Complaint::new(format!("`{text}` is a URL, not an address"));
        return Err(complaint.hint(format!("leave out `{scheme}://` and what follows the port")));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        let complaint = Complaint::new(format!("`{text}` needs brackets"));
        let whole = format!("`[{text}]:{DEFAULT_PORT}`");
        // `::1:80` is an address too, and most often one with its port is meant.
        let hint = match text.rsplit_once(':') {
            Some((ip, port)) if ip.parse::<Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok() => {
                format!("write it as `[{ip}]:{port}`, or {whole} if all of it is the address")
            }
            _ => format!("write it as {whole}"),
        };
        return Err(complaint.hint(hint));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if host.is_empty() || (host.contains(':') && !host.starts_with('[')) {
        return Err(not_an_address(text, forms));
    }
    let digits = |port: &str| port.chars().all(|c| c.is_ascii_digit());
    let port = match port {
        None => None,
        Some(port) if digits(port) && port.parse::<u16>().is_ok() => port.parse().ok(),
        Some(port) => {
            return Err(
                Complaint::new(format!("`{port}` in `{text}` is not a port"))
                    .hint("a port is a number up to 65535"),
            );
        }
    };
    Ok((host, port))
}

fn not_an_address(text: &str, forms: &'static str) -> Complaint {
    Complaint::new(format!("`{text}` is not an address")).hint(forms)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    fn connect_to(text: &str) -> Result<String, String> {
        let location = to_connect_to(text, DEFAULT_PORT);
        location
            .map(|location| match location {
                Destination::Address(address) => address.to_string(),
                Destination::Name { host, port } => format!("{host} {port}"),
            })
            .map_err(|complaint| complaint.message)
    }

    fn hint_of<T>(result: Result<T, Complaint>) -> String {
        result.err().unwrap().hint.unwrap()
    }

    #[test]
    fn what_nginx_writes_in_one_line_is_told_in_keys() {
        for (text, part) in [
            (
                "127.0.0.1:8080 ssl",
                "`address = \"127.0.0.1:8080\"`, and for `ssl` a `tls = {",
            ),
            ("443 ssl http2;", "`address = \"443\"`, and for `ssl`"),
            ("80 default_server", "a `[[route]]` without `host`"),
            ("::1:80", "`[::1]:80`"),
            ("localhost:80", "`127.0.0.1:8080`"),
            ("a b c", "beside it"),
        ] {
            let hint = hint_of(to_listen_on(text));
            assert!(hint.contains(part), "{text}: {hint}");
        }
        for (text, hint) in [
            (
                "10.0.0.1:3000 weight=3 max_fails=2 fail_timeout=30s backup",
                "write it as `{ address = \"10.0.0.1:3000\", weight = 3, max_fails = 2, \
                 fail_timeout = \"30s\", backup = true }`",
            ),
            (
                "app.example fail_timeout=5 down;",
                "write it as `{ address = \"app.example\", fail_timeout = \"5s\", down = true }`",
            ),
            (
                "::1:80",
                "write it as `[::1]:80`, or `[::1:80]:80` if all of it is the address",
            ),
            ("fe80::1", "write it as `[fe80::1]:80`"),
        ] {
            assert_eq!(hint_of(to_connect_to(text, DEFAULT_PORT)), hint, "{text}");
        }
    }

    fn listen_on(text: &str) -> Result<String, String> {
        to_listen_on(text)
            .map(|address| address.to_string())
            .map_err(|complaint| complaint.message)
    }

    #[test]
    fn listen_addresses_are_written_as_in_nginx() {
        let cases = [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("127.0.0.1", "127.0.0.1:80"),
            ("8080", "0.0.0.0:8080"),
            ("*:8080", "0.0.0.0:8080"),
            (":8080", "0.0.0.0:8080"),
            ("[::1]:8080", "[::1]:8080"),
            ("[::]", "[::]:80"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
        ];
        for (text, address) in cases {
            assert_eq!(listen_on(text).unwrap(), address, "{text}");
        }
        for text in [
            "localhost:80",
            "",
            "1.2.3.4:99999",
            "1.2.3.4:+1",
            "::1",
            "unix:x",
            "[::1",
        ] {
            assert!(listen_on(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_admin_address_of_this_machine_is_loopback_with_a_port_or_a_unix_socket() {
        for text in ["127.0.0.1:9180", "127.0.0.2:1", "[::1]:9180", "unix:/a"] {
            let address = to_administer_here(text).map(|address| address.to_string());
            assert_eq!(address.unwrap(), text);
        }
        for text in [
            "0.0.0.0:9180",
            "9180",
            "*:9180",
            "[::]:9180",
            "10.0.0.1:9180",
            "[::ffff:127.0.0.1]:9180",
            "127.0.0.1",
            "[::1]",
            "localhost:9180",
            "unix:a",
        ] {
            assert!(to_administer_here(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_default_port_of_a_server_is_80() {
        assert_eq!(connect_to("10.0.0.1").unwrap(), "10.0.0.1:80");
        assert_eq!(connect_to("[::1]").unwrap(), "[::1]:80");
        assert_eq!(connect_to("app.example").unwrap(), "app.example 80");
        assert_eq!(connect_to("app_1:3000").unwrap(), "app_1 3000");
    }

    #[test]
    fn a_name_server_is_an_address_with_port_53_unless_it_says_another() {
        let ask = |text| to_ask(text).map(|address| address.to_string());
        assert_eq!(ask("10.0.0.53").unwrap(), "10.0.0.53:53");
        assert_eq!(ask("10.0.0.53:5353").unwrap(), "10.0.0.53:5353");
        assert_eq!(ask("[::1]").unwrap(), "[::1]:53");
        for text in [
            "dns.example",
            "",
            "unix:/a",
            "10.0.0.53:0",
            "::1",
            "udp://10.0.0.53",
        ] {
            assert!(ask(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_can_be_no_name_is_refused() {
        let long = "a".repeat(64);
        let longer = "a.".repeat(127) + "aa";
        for host in [
            "a..test",
            ".test",
            "-a.test",
            "a-.test",
            "300.1.1.1",
            "127.0.0.01",
            &long,
            &longer,
        ] {
            let error = connect_to(host).unwrap_err();
            assert!(error.contains("cannot be a name"), "{error}");
        }
        for host in ["a_b.test", "x.", "1.test", "xn--a", "3com"] {
            assert!(connect_to(host).is_ok(), "{host}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let cases = [
            (
                "http://10.0.0.1",
                "`http://10.0.0.1` is a URL, not an address",
            ),
            ("::1", "`::1` needs brackets"),
            ("10.0.0.1:port", "`port` in `10.0.0.1:port` is not a port"),
            (
                "10.0.0.1:0",
                "`10.0.0.1:0` has port 0, to which nobody can connect",
            ),
            ("two.example/x", "`two.example/x` is not an address"),
            ("a b", "`a b` is more than an address"),
            (
                "unix:run/x",
                "`unix:run/x` needs the absolute path of a socket",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(connect_to(text).unwrap_err(), message);
        }
        let long = format!("unix:/{}", "x".repeat(107));
        let message = "the socket's path has 108 bytes, at most 107 are possible";
        assert_eq!(connect_to(&long).unwrap_err(), message);
    }
}
