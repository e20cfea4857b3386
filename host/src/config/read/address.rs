//! Addresses as nginx writes them: to listen on, and to connect to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::{Complaint, ConfigReader};
use crate::config::files::reason;
use crate::config::model::Address;

pub(super) const DEFAULT_PORT: u16 = 80;
/// Of servers that speak TLS.
pub(super) const DEFAULT_TLS_PORT: u16 = 443;

/// Bytes of a socket's path that fit into `sockaddr_un`, its closing zero left aside.
const SOCKET_PATH_MAX: usize = 107;

/// `127.0.0.1:8080`, `[::1]:8080`, `127.0.0.1`, `*:8080`, `8080` or `unix:/path`. Port 0 lets the
/// kernel choose.
pub(super) fn to_listen_on(text: &str) -> Result<Address, Complaint> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix(path);
    }
    if text.starts_with("udp:") || text.ends_with(" udp") {
        let complaint = Complaint::new(format!("`{text}`: UDP is not available in this version"));
        return Err(complaint.hint("write it without `udp`, for TCP"));
    }
    if let Ok(port) = text.parse::<u16>() {
        return Ok(Address::Tcp((Ipv4Addr::UNSPECIFIED, port).into()));
    }
    let (host, port) = host_and_port(text)?;
    let ip = match host {
        "*" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        host => ip(host).ok_or_else(|| {
            Complaint::new(format!("`{text}` is not an address to listen on")).hint(
                "write an IP address and a port, `127.0.0.1:8080`, or `*:8080` for all IPv4 addresses",
            )
        })?,
    };
    Ok(Address::Tcp((ip, port.unwrap_or(DEFAULT_PORT)).into()))
}

/// As [`to_listen_on`], for the admin interface: a loopback address with its port, or a unix
/// socket. Whoever can connect to it may do everything, so nobody from another machine can.
pub(super) fn to_administer_at(text: &str) -> Result<Address, Complaint> {
    let address = to_listen_on(text)?;
    match &address {
        Address::Tcp(socket) if !socket.ip().is_loopback() => {
            let message = format!(
                "the admin address must be a loopback address or a unix socket, not `{text}`"
            );
            Err(Complaint::new(message)
                .hint("use `127.0.0.1:9180`, and from elsewhere an ssh tunnel to it"))
        }
        Address::Tcp(_) if host_and_port(text)?.1.is_none() => {
            Err(Complaint::new(format!("`{text}` has no port"))
                .hint(format!("write it as `{text}:9180`")))
        }
        _ => Ok(address),
    }
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

/// All addresses of a server: `10.0.0.1:3000`, `[::1]:3000`, `app.example`, `unix:/path`. Asks the
/// resolver for a name.
pub(super) fn to_connect_to(
    text: &str,
    default_port: u16,
    reader: ConfigReader<'_>,
) -> Result<Vec<Address>, Complaint> {
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(vec![unix(path)?]);
    }
    let (host, port) = host_and_port(text)?;
    let port = port.unwrap_or(default_port);
    if port == 0 {
        return Err(Complaint::new(format!(
            "`{text}` has port 0, to which nobody can connect"
        )));
    }
    if let Some(ip) = ip(host) {
        return Ok(vec![Address::Tcp(SocketAddr::new(ip, port))]);
    }
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !host.chars().all(letters) {
        return Err(not_an_address(text));
    }
    let not_found = || Complaint::new(format!("host not found in upstream `{text}`"));
    let found = match reader.system.resolve(host, port) {
        Ok(found) => found,
        Err(error) => return Err(not_found().hint(reason(&error))),
    };
    let mut addresses = Vec::with_capacity(found.len());
    for address in found.into_iter().map(Address::Tcp) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        Err(not_found())
    } else {
        Ok(addresses)
    }
}

/// Whether it says all of where to connect to, a socket's path or a port, as far as it is an
/// address at all.
pub(super) fn has_port(text: &str) -> bool {
    text.starts_with("unix:") || !matches!(host_and_port(text), Ok((_, None)))
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

fn host_and_port(text: &str) -> Result<(&str, Option<u16>), Complaint> {
    if let Some((scheme, _)) = text.split_once("://") {
        let complaint = Complaint::new(format!("`{text}` is a URL, not an address"));
        return Err(complaint.hint(format!("leave out `{scheme}://` and what follows the port")));
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        let complaint = Complaint::new(format!("`{text}` needs brackets"));
        return Err(complaint.hint(format!("write it as `[{text}]:{DEFAULT_PORT}`")));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if host.is_empty() || (host.contains(':') && !host.starts_with('[')) {
        return Err(not_an_address(text));
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

fn not_an_address(text: &str) -> Complaint {
    Complaint::new(format!("`{text}` is not an address")).hint(
        "write it as `10.0.0.1:3000`, `[::1]:3000`, `app.example:3000` or `unix:/run/app.sock`",
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::io;

    use super::*;
    use crate::config::problem::Problems;
    use crate::config::system::System;

    struct Names;

    impl System for Names {
        fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            match host {
                "two.example" => {
                    let last = [9, 1, 9];
                    Ok(last
                        .map(|last| SocketAddr::from(([10, 0, 0, last], port)))
                        .to_vec())
                }
                "none.example" => Ok(Vec::new()),
                _ => Err(io::Error::other("name or service not known")),
            }
        }
    }

    fn connect_to(text: &str) -> Result<Vec<String>, String> {
        let problems = Problems::default();
        let reader = ConfigReader {
            system: &Names,
            problems: &problems,
            complete: true,
        };
        to_connect_to(text, DEFAULT_PORT, reader)
            .map(|addresses| addresses.iter().map(Address::to_string).collect())
            .map_err(|complaint| complaint.message)
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
            ":80",
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
    fn the_admin_address_is_loopback_with_a_port_or_a_unix_socket() {
        for text in ["127.0.0.1:9180", "127.0.0.2:1", "[::1]:9180", "unix:/a"] {
            let address = to_administer_at(text).map(|address| address.to_string());
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
            assert!(to_administer_at(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_default_port_of_a_server_is_80() {
        assert_eq!(connect_to("10.0.0.1").unwrap(), ["10.0.0.1:80"]);
        assert_eq!(connect_to("[::1]").unwrap(), ["[::1]:80"]);
    }

    #[test]
    fn a_name_gives_all_its_addresses_once_in_the_resolvers_order() {
        assert_eq!(
            connect_to("two.example:81").unwrap(),
            ["10.0.0.9:81", "10.0.0.1:81"]
        );
    }

    #[test]
    fn an_unknown_name_is_reported_with_nginxs_words() {
        for name in ["gone.example:3000", "none.example:3000"] {
            assert_eq!(
                connect_to(name).unwrap_err(),
                format!("host not found in upstream `{name}`")
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_asking_the_resolver() {
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
            ("a b", "`a b` is not an address"),
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
