//! Upstreams that requests name, by variables in `proxy`: what a request may name, and the upstream
//! that it gets.
//!
//! A route with such a `proxy` has a list of what may be named, or the proxy would be an open one.
//! Whatever is to be dialed passes two checks: [`DynamicProxy::find`] before a name is asked about,
//! and [`AddressRule::permits`] for each address that a name turns out to have.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use ipnet::IpNet;

use super::{Address, Lookup, ServerLocation, ServerName, UpstreamConfig};
use crate::http::template::Template;

/// Bytes of a name without a final dot, and of each of its parts (RFC 1035, 2.3.4).
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// A `proxy` with variables in its authority.
#[derive(Debug, Clone)]
pub struct DynamicProxy {
    pub https: bool,
    /// What stands between the scheme and the URI.
    pub authority: Template,
    /// What the authority may come to.
    pub allow: Vec<AllowEntry>,
    pub rule: Arc<AddressRule>,
    /// Its upstreams, but for name and server.
    pub model: UpstreamConfig,
}

/// An item of `proxy_allow`.
#[derive(Debug, Clone)]
pub struct AllowEntry {
    pub spelling: String,
    pub allowed: Allowed,
}

#[derive(Debug, Clone)]
pub enum Allowed {
    /// Index into [`Config::upstreams`](super::Config::upstreams): the upstream of the entry's
    /// spelling.
    Upstream(usize),
    /// Lower case, without a final dot.
    Name(String, AllowedPort),
    /// All names that end so, with the dot that it begins with.
    Below(String, AllowedPort),
    /// Addresses that a request names itself.
    Network(IpNet, AllowedPort),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowedPort {
    Any,
    Only(u16),
}

impl AllowedPort {
    fn takes(self, port: u16) -> bool {
        match self {
            AllowedPort::Any => true,
            AllowedPort::Only(only) => only == port,
        }
    }
}

/// What a request has named, and may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Index into [`Config::upstreams`](super::Config::upstreams).
    Upstream(usize),
    Dynamic {
        name: DynamicName,
        /// The entry that allows it allows no other one.
        is_listed: bool,
    },
}

/// A host and a port that were named.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DynamicName {
    pub host: DynamicHost,
    pub port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DynamicHost {
    /// Never an IPv4 address in the form of IPv6.
    Ip(IpAddr),
    /// Lower case. A final dot is kept: it says that search domains do not count.
    Name(String),
}

/// Why what a request has named is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    #[error("is neither an address nor a name")]
    Malformed,
    #[error("is not in `proxy_allow`")]
    NotListed,
}

impl DynamicProxy {
    /// What an authority, rendered for a request, leads to.
    ///
    /// # Errors
    /// It leads nowhere that is allowed.
    pub fn find(&self, authority: &[u8]) -> Result<Found, NotAllowed> {
        let mut entries = self.allow.iter();
        let upstream = entries.find_map(|entry| match entry.allowed {
            Allowed::Upstream(index) if entry.spelling.as_bytes() == authority => Some(index),
            _ => None,
        });
        if let Some(index) = upstream {
            return Ok(Found::Upstream(index));
        }
        let name = parse(authority, self.default_port()).ok_or(NotAllowed::Malformed)?;
        let is_listed = self.allows(&name).ok_or(NotAllowed::NotListed)?;
        Ok(Found::Dynamic { name, is_listed })
    }

    /// Whether a name is allowed: none if not, else whether by an entry that allows no other one,
    /// with one port.
    pub fn allows(&self, name: &DynamicName) -> Option<bool> {
        let port = name.port;
        let takes = |entry: &AllowEntry| match (&entry.allowed, &name.host) {
            (Allowed::Name(allowed, ports), DynamicHost::Name(host)) => {
                let is_listed = matches!(ports, AllowedPort::Only(_));
                (ports.takes(port) && undotted(host) == allowed).then_some(is_listed)
            }
            (Allowed::Below(suffix, ports), DynamicHost::Name(host)) => {
                let host = undotted(host);
                let below = host.len() > suffix.len() && host.ends_with(suffix.as_str());
                (ports.takes(port) && below).then_some(false)
            }
            (Allowed::Network(network, ports), DynamicHost::Ip(ip)) => {
                (ports.takes(port) && network.contains(ip) && self.rule.permits(*ip, port))
                    .then_some(false)
            }
            _ => None,
        };
        self.allow.iter().filter_map(takes).max()
    }

    pub fn default_port(&self) -> u16 {
        match self.https {
            true => 443,
            false => 80,
        }
    }

    /// The name of the upstream that is made for a name. Whatever else the upstreams of two routes
    /// may differ in is part of it.
    pub fn upstream_name(&self, name: &DynamicName) -> String {
        let scheme = match self.https {
            true => "https",
            false => "http",
        };
        // A final dot may lead elsewhere.
        let dot = match &name.host {
            DynamicHost::Name(host) if host.ends_with('.') => ".",
            _ => "",
        };
        let host = name.host.to_string();
        let mut upstream = format!("{scheme}://{host}{dot}:{}", name.port);
        if !self.rule.exceptions.is_empty() {
            upstream += &format!(" ({})", self.rule);
        }
        upstream
    }

    /// The upstream that is made for a name.
    pub fn upstream(&self, name: &DynamicName) -> UpstreamConfig {
        let mut upstream = self.model.clone();
        upstream.name = self.upstream_name(name);
        for server in &mut upstream.servers {
            server.spelling = name.to_string();
            server.location = match &name.host {
                DynamicHost::Ip(ip) => {
                    ServerLocation::Address(Address::Tcp((*ip, name.port).into()))
                }
                DynamicHost::Name(host) => ServerLocation::Name(ServerName {
                    host: host.clone(),
                    lookup: Lookup::Addresses(name.port),
                    resolver: upstream.resolver.clone(),
                }),
            };
            server.rule = Some(self.rule.clone());
        }
        upstream.dynamic = Some(name.clone());
        upstream.is_listed = self.allows(name) == Some(true);
        upstream
    }
}

/// `app.example:8080`, without a final dot.
impl fmt::Display for DynamicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// As an authority has it, without a final dot.
impl fmt::Display for DynamicHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DynamicHost::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            DynamicHost::Ip(ip) => ip.fmt(f),
            DynamicHost::Name(host) => f.write_str(undotted(host)),
        }
    }
}

impl DynamicName {
    /// nginx's `$proxy_host`: without the port where that is the scheme's own
    /// (`ngx_http_proxy_set_vars`).
    pub fn proxy_host(&self, https: bool) -> String {
        match (self.port, https) {
            (80, false) | (443, true) => self.host.to_string(),
            _ => self.to_string(),
        }
    }
}

fn undotted(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// Reads an authority. Stricter than what a `Host` may be: nothing that some resolver could take for
/// something else is ever asked about, such as `127.1` or `0x7f.1`.
fn parse(authority: &[u8], default_port: u16) -> Option<DynamicName> {
    let text = std::str::from_utf8(authority).ok()?;
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, port) = rest.split_once(']')?;
            let ip: Ipv6Addr = ip.parse().ok()?;
            let port = match port {
                "" => None,
                port => Some(port.strip_prefix(':')?),
            };
            (DynamicHost::Ip(IpAddr::V6(ip).to_canonical()), port)
        }
        None => {
            let (host, port) = match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            };
            let host = match host.parse::<Ipv4Addr>() {
                Ok(ip) => DynamicHost::Ip(ip.into()),
                Err(_) => DynamicHost::Name(name(host)?),
            };
            (host, port)
        }
    };
    let port = match port {
        None => default_port,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().ok().filter(|port| *port > 0)?
        }
        Some(_) => return None,
    };
    Some(DynamicName { host, port })
}

/// A name in lower case, if it can be one that name servers know, and is no number in disguise.
fn name(host: &str) -> Option<String> {
    let plain = undotted(host);
    if plain.len() > LONGEST_NAME {
        return None;
    }
    let is_label = |label: &str| {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty()
            && label.len() <= LONGEST_LABEL
            && label.bytes().all(letter)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = plain.rsplit('.').next().unwrap_or_default();
    let is_number = last.starts_with(|first: char| first.is_ascii_digit())
        && (last.bytes().all(|byte| byte.is_ascii_digit())
            || last.starts_with("0x")
            || last.starts_with("0X"));
    (plain.split('.').all(is_label) && !is_number).then(|| host.to_ascii_lowercase())
}

/// Which addresses may be dialed for a request: all but those that are this machine's own business
/// (loopback, link-local, the metadata services of clouds, none at all), and of those the ones that
/// a network in `proxy_allow` names in particular.
#[derive(Debug, PartialEq)]
pub struct AddressRule {
    pub exceptions: Vec<(IpNet, AllowedPort)>,
}

/// Networks whose addresses mean something on this machine or its link alone, and addresses of
/// metadata services outside of them: AWS (fd00:ec2::/32), Azure, Alibaba, Oracle, Google.
/// Registries of RFC 6890.
const SPECIAL: [&str; 16] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",
    "100.100.100.200/32",
    "192.0.0.0/24",
    "::/96",
    "::ffff:0:0:0/96",
    "64:ff9b:1::/48",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "fd00:ec2::/32",
    "fd20:ce::254/128",
];

static SPECIAL_NETWORKS: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    SPECIAL
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect()
});

impl AddressRule {
    /// Of the networks in `proxy_allow`, those that are within a special one.
    pub fn new(entries: &[AllowEntry]) -> AddressRule {
        let exceptions = entries.iter().filter_map(|entry| match entry.allowed {
            Allowed::Network(network, ports) => {
                let mut special = SPECIAL_NETWORKS.iter();
                let is_within = special.any(|special| special.contains(&network));
                is_within.then_some((network, ports))
            }
            _ => None,
        });
        AddressRule {
            exceptions: exceptions.collect(),
        }
    }

    /// Whether an address may be dialed, as far as it is not the request that names it.
    pub fn permits(&self, ip: IpAddr, port: u16) -> bool {
        let ip = ip.to_canonical();
        let embedded = embedded(ip).map(IpAddr::V4);
        std::iter::once(ip).chain(embedded).all(|ip| {
            let is_special = SPECIAL_NETWORKS.iter().any(|network| network.contains(&ip));
            let mut exceptions = self.exceptions.iter();
            !is_special
                || exceptions.any(|(network, ports)| network.contains(&ip) && ports.takes(port))
        })
    }
}

/// The IPv4 address that one of IPv6 leads to by way of a translator (RFC 6052, RFC 3056).
fn embedded(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else { return None };
    let parts = ip.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match parts {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// The networks that it excepts.
impl fmt::Display for AddressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (network, ports)) in self.exceptions.iter().enumerate() {
            let between = if number > 0 { ", " } else { "" };
            write!(f, "{between}{network}")?;
            match ports {
                AllowedPort::Any => f.write_str(":*")?,
                AllowedPort::Only(port) => write!(f, ":{port}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
