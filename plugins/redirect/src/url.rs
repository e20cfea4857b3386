//! The parts of a URL, and what becomes of them.

use std::borrow::Cow;
use std::net::Ipv4Addr;

/// A scheme to redirect to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// Whether hosts begin with `www.`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Www {
    Add,
    Remove,
}

/// Whether paths end with `/`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slash {
    Add,
    Remove,
}

impl Scheme {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

impl Www {
    /// Addresses and names of one label have no `www.`.
    pub(crate) fn applied_to(self, host: &str) -> String {
        let bare = host
            .split_at_checked(4)
            .filter(|(www, _)| www.eq_ignore_ascii_case("www."))
            .map(|(_, bare)| bare);
        match (self, bare) {
            (Www::Add, None) if is_domain(host) => format!("www.{host}"),
            (Www::Remove, Some(bare)) if is_domain(bare) => bare.to_owned(),
            _ => host.to_owned(),
        }
    }
}

/// A name with a dot in it, and no address.
fn is_domain(host: &str) -> bool {
    let is_dotted = host.trim_matches('.').contains('.');
    is_dotted && !host.contains(':') && host.parse::<Ipv4Addr>().is_err()
}

impl Slash {
    /// `None` where the path stays the same. A last segment with a dot is the name of a file, which
    /// gets no slash.
    pub(crate) fn applied_to(self, path: &str) -> Option<String> {
        match self {
            Slash::Add => {
                let last = path.rsplit('/').next().unwrap_or_default();
                let is_open = path.starts_with('/') && !last.is_empty() && !last.contains('.');
                is_open.then(|| format!("{path}/"))
            }
            Slash::Remove => {
                let bare = path.trim_end_matches('/');
                let is_same = bare == path || path == "/";
                let bare = if bare.is_empty() { "/" } else { bare };
                (!is_same).then(|| bare.to_owned())
            }
        }
    }
}

/// Host and port. The colons within the brackets of an IPv6 address are its own.
pub(crate) fn split_authority(authority: &str) -> (&str, Option<u16>) {
    match port_of(authority) {
        Some(port) => (
            authority
                .rsplit_once(':')
                .map_or(authority, |(host, _)| host),
            Some(port),
        ),
        None => (authority.strip_suffix(':').unwrap_or(authority), None),
    }
}

pub(crate) fn port_of(authority: &str) -> Option<u16> {
    let (_, digits) = authority.rsplit_once(':')?;
    digits.parse().ok()
}

pub(crate) fn default_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

/// Whether both mean the same place under this scheme: clients leave its own port out.
pub(crate) fn is_same_authority(one: &str, other: &str, scheme: &str) -> bool {
    let ((one, its_port), (other, other_port)) = (split_authority(one), split_authority(other));
    let default = default_port(scheme);
    one.eq_ignore_ascii_case(other) && its_port.unwrap_or(default) == other_port.unwrap_or(default)
}

/// A host, perhaps with a port.
pub(crate) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_host = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        }
    };
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// RFC 3986, section 3.3, from the first slash on; not a second one, which would begin a host.
pub(crate) fn is_path(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_escape = |at: usize| {
        let digits = bytes.get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let is_allowed = |(at, &byte): (usize, &u8)| match byte {
        b'%' => is_escape(at),
        _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte),
    };
    text.starts_with('/') && bytes.iter().enumerate().all(is_allowed)
}

/// Without bytes that a header cannot have, or that end a URL where people copy it: clients send
/// some of them as they are.
pub(crate) fn escaped(url: &str) -> Cow<'_, str> {
    let is_kept = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    if url.bytes().all(is_kept) {
        return Cow::Borrowed(url);
    }
    let mut escaped = String::with_capacity(url.len() + 16);
    for byte in url.bytes() {
        match is_kept(byte) {
            true => escaped.push(char::from(byte)),
            false => escaped += &format!("%{byte:02X}"),
        }
    }
    Cow::Owned(escaped)
}
