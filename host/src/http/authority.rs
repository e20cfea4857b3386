//! `host:port`, as the `Host` header and request targets carry it.
//!
//! Stricter than nginx (`ngx_http_validate_host`), which lets through what no host can be: what
//! routing and upstreams see must be one and the same host.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::byte_set;

/// RFC 3986, 3.2.2: `reg-name` without `%`, whose digits are checked apart.
const HOST: [bool; 256] =
    byte_set(b"-._~!$&'()*+,;=0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

/// A host and perhaps a port, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority<'a> {
    /// Lower case, without a final dot; an IPv6 address keeps its brackets. Borrowed if it was
    /// received so.
    pub host: Cow<'a, str>,
    pub port: Option<u16>,
}

/// Why a host is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAuthority {
    #[error("the host is empty")]
    Empty,
    #[error("the host contains byte {0:#04x}, or has it in a place where it cannot be")]
    Byte(u8),
    #[error("the host has an empty label")]
    EmptyLabel,
    #[error("the host is no valid IPv6 address")]
    Ipv6,
    #[error("the port is no number up to 65535")]
    Port,
}

impl<'a> Authority<'a> {
    /// Parses a `Host` header's value or a target's authority (RFC 9110, 7.2; RFC 3986, 3.2). User
    /// names are refused, as RFC 9110, 4.2.4 has it. An empty port means none.
    pub fn parse(text: &'a [u8]) -> Result<Authority<'a>, BadAuthority> {
        if text.first() == Some(&b'[') {
            return Authority::parse_ipv6(text);
        }
        let end = memchr::memchr(b':', text).unwrap_or(text.len());
        let (host, port) = text.split_at(end);
        let upper = check_name(host)?;
        let host = host.strip_suffix(b".").unwrap_or(host);
        if host.is_empty() {
            return Err(BadAuthority::Empty);
        }
        Ok(Authority {
            host: lower_case(host, upper)?,
            port: parse_port(port)?,
        })
    }

    fn parse_ipv6(text: &'a [u8]) -> Result<Authority<'a>, BadAuthority> {
        let end = memchr::memchr(b']', text).ok_or(BadAuthority::Ipv6)? + 1;
        let (host, port) = text.split_at(end);
        let address = std::str::from_utf8(&host[1..end - 1]).map_err(|_| BadAuthority::Ipv6)?;
        address
            .parse::<Ipv6Addr>()
            .map_err(|_| BadAuthority::Ipv6)?;
        let upper = address.bytes().any(|byte| byte.is_ascii_uppercase());
        Ok(Authority {
            host: lower_case(host, upper)?,
            port: parse_port(port)?,
        })
    }
}

/// Checks a name; true if it has upper case letters.
fn check_name(host: &[u8]) -> Result<bool, BadAuthority> {
    let mut upper = false;
    let mut last = 0;
    for (at, byte) in host.iter().copied().enumerate() {
        let allowed = HOST[usize::from(byte)] || byte == b'%' && is_escape(&host[at..]);
        if !allowed {
            return Err(BadAuthority::Byte(byte));
        }
        if byte == b'.' && last == b'.' {
            return Err(BadAuthority::EmptyLabel);
        }
        upper |= byte.is_ascii_uppercase();
        last = byte;
    }
    Ok(upper)
}

fn is_escape(text: &[u8]) -> bool {
    matches!(text, [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

fn lower_case(host: &[u8], upper: bool) -> Result<Cow<'_, str>, BadAuthority> {
    let host = std::str::from_utf8(host).map_err(|_| BadAuthority::Byte(0x80))?;
    Ok(if upper {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    })
}

/// What follows the host: nothing, `:` or `:port`.
fn parse_port(text: &[u8]) -> Result<Option<u16>, BadAuthority> {
    let digits = match text {
        [] | [b':'] => return Ok(None),
        [b':', digits @ ..] => digits,
        [byte, ..] => return Err(BadAuthority::Byte(*byte)),
    };
    let mut port: u16 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(BadAuthority::Port);
        }
        port = port
            .checked_mul(10)
            .and_then(|port| port.checked_add(u16::from(digit)))
            .ok_or(BadAuthority::Port)?;
    }
    Ok(Some(port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, host: &str, port: Option<u16>) {
        let authority = Authority::parse(text.as_bytes()).unwrap();
        assert_eq!((&*authority.host, authority.port), (host, port), "{text}");
    }

    #[test]
    fn hosts_come_out_in_lower_case_without_port_and_final_dot() {
        check("Ex.COM", "ex.com", None);
        check("ex.com.", "ex.com", None);
        check("ex.com:80", "ex.com", Some(80));
        check("ex.com:", "ex.com", None);
        check("ex.com.:8080", "ex.com", Some(8080));
        check("a_b", "a_b", None);
        check("127.0.0.1:65535", "127.0.0.1", Some(65535));
        check("a%C3%A9", "a%c3%a9", None);
    }

    #[test]
    fn an_ipv6_address_keeps_its_brackets() {
        check("[::1]", "[::1]", None);
        check("[2001:DB8::A]:8080", "[2001:db8::a]", Some(8080));
        for text in [
            "[::1",
            "[]",
            "[::1].",
            "[::1]x",
            "[::g]",
            "[v1.a]",
            "[::1%25eth0]",
            "::1",
        ] {
            assert!(Authority::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_received_in_lower_case_is_not_copied() {
        let authority = Authority::parse(b"www.example.com:80").unwrap();
        assert!(matches!(authority.host, Cow::Borrowed(_)));
    }

    #[test]
    fn what_no_host_can_be_is_refused() {
        use BadAuthority::*;
        let cases: [(&[u8], BadAuthority); 17] = [
            (b"", Empty),
            (b".", Empty),
            (b":80", Empty),
            (b"a..b", EmptyLabel),
            (b"ex.com..", EmptyLabel),
            (b"a b", Byte(b' ')),
            (b"a\tb", Byte(b'\t')),
            (b"a/b", Byte(b'/')),
            (b"a\\b", Byte(b'\\')),
            (b"u@h", Byte(b'@')),
            (b"a\x80", Byte(0x80)),
            (b"a%b", Byte(b'%')),
            (b"a[b", Byte(b'[')),
            (b"a:b", Port),
            (b"a:65536", Port),
            (b"a:80:80", Port),
            (b"a:+1", Port),
        ];
        for (text, problem) in cases {
            assert_eq!(
                Authority::parse(text),
                Err(problem),
                "{}",
                text.escape_ascii()
            );
        }
    }

    proptest! {
        #[test]
        fn a_host_that_was_accepted_is_accepted_unchanged_again(text in "[ -~]{0,24}|[a-zA-Z0-9.:\\[\\]]{0,12}") {
            if let Ok(authority) = Authority::parse(text.as_bytes()) {
                let again = Authority::parse(authority.host.as_bytes()).unwrap();
                prop_assert_eq!(&again.host, &authority.host);
            }
        }
    }
}
