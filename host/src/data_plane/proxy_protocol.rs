//! The PROXY protocol, versions 1 and 2: the header in which a proxy before us names its client,
//! and the one in which we name ours to an endpoint
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! Bytes only. Code that reads them off a socket asks [`header_length`] for that of the header, so
//! that not one byte more is taken.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::model::ProxyVersion;

/// The longest header of version 1, its line end included (section 2.1).
const V1_MAX: usize = 107;
/// The longest header of version 2 that is taken, all its TLVs included (nginx:
/// `NGX_PROXY_PROTOCOL_MAX_HEADER`).
pub(crate) const V2_MAX: usize = 4096;
/// What tells the length of a header of version 2.
const V2_FIXED: usize = 16;
const V1_PREFIX: &[u8] = b"PROXY ";
/// What a header of version 2 begins with (section 2.2).
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2 and its command, in one byte: a connection of the sender's own, or one that it passes
/// on.
const VERSION_LOCAL: u8 = 0x20;
const VERSION_PROXY: u8 = 0x21;
/// Transports, the lower half of the byte behind it; the upper one is the family of addresses.
const STREAM: u8 = 1;
const DATAGRAM: u8 = 2;

/// A connection as the proxy that took it saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AddressPair {
    /// The client.
    pub(crate) source: SocketAddr,
    /// Where the client connected to.
    pub(crate) destination: SocketAddr,
}

/// The bytes are not a header, or too long for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadProxyHeader;

/// How many of these bytes, a connection's first, are the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderLength {
    /// All of them, and more is to come.
    Partial,
    /// The header is this long.
    Whole(usize),
}

/// How far the header goes that begins with these bytes.
///
/// # Errors
/// [`BadProxyHeader`], at the first byte that tells.
pub(crate) fn header_length(bytes: &[u8]) -> Result<HeaderLength, BadProxyHeader> {
    if is_begun(bytes, V2_SIGNATURE) {
        let Some([high, low]) = bytes.get(V2_FIXED - 2..V2_FIXED) else {
            return Ok(HeaderLength::Partial);
        };
        let length = V2_FIXED + usize::from(u16::from_be_bytes([*high, *low]));
        return match length {
            _ if length > V2_MAX => Err(BadProxyHeader),
            _ if length <= bytes.len() => Ok(HeaderLength::Whole(length)),
            _ => Ok(HeaderLength::Partial),
        };
    }
    if !is_begun(bytes, V1_PREFIX) {
        return Err(BadProxyHeader);
    }
    let line = &bytes[..bytes.len().min(V1_MAX)];
    match memchr::memchr(b'\n', line) {
        Some(end) => Ok(HeaderLength::Whole(end + 1)),
        None if line.len() == V1_MAX => Err(BadProxyHeader),
        None => Ok(HeaderLength::Partial),
    }
}

fn is_begun(bytes: &[u8], prefix: &[u8]) -> bool {
    let length = bytes.len().min(prefix.len());
    bytes[..length] == prefix[..length]
}

/// The addresses in a whole header; none where it leaves that to the connection (`UNKNOWN`,
/// `LOCAL`) or names no TCP connection.
///
/// # Errors
/// [`BadProxyHeader`].
pub(crate) fn parse(header: &[u8]) -> Result<Option<AddressPair>, BadProxyHeader> {
    if header.starts_with(V2_SIGNATURE) {
        return parse_v2(header).ok_or(BadProxyHeader);
    }
    let line = header.strip_suffix(b"\r\n");
    let line = line.and_then(|line| line.strip_prefix(V1_PREFIX));
    let line = line.ok_or(BadProxyHeader)?;
    // What follows the word is to be ignored (section 2.1).
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(None);
    }
    parse_v1(line).map(Some).ok_or(BadProxyHeader)
}

/// `TCP4 192.0.2.1 198.51.100.9 56324 443`, one space between two words.
fn parse_v1(line: &[u8]) -> Option<AddressPair> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let address: fn(&str) -> Option<IpAddr> = match words.next()? {
        "TCP4" => |word| word.parse().ok().map(IpAddr::V4),
        "TCP6" => |word| word.parse().ok().map(IpAddr::V6),
        _ => return None,
    };
    let (source, destination) = (address(words.next()?)?, address(words.next()?)?);
    let (source_port, destination_port) = (port(words.next()?)?, port(words.next()?)?);
    let pair = AddressPair {
        source: canonical((source, source_port).into()),
        destination: canonical((destination, destination_port).into()),
    };
    words.next().is_none().then_some(pair)
}

/// A port, without the sign and the leading zeros that `u16::from_str` takes.
fn port(word: &str) -> Option<u16> {
    match word.as_bytes() {
        b"0" | [b'1'..=b'9', ..] => word.parse().ok(),
        _ => None,
    }
}

/// None for what is no header.
fn parse_v2(header: &[u8]) -> Option<Option<AddressPair>> {
    let (fixed, rest) = header.split_at_checked(V2_FIXED)?;
    let (command, kind) = (fixed[V2_SIGNATURE.len()], fixed[V2_SIGNATURE.len() + 1]);
    match command {
        // Whatever else it says is to be ignored, the family included (section 2.2).
        VERSION_LOCAL => return Some(None),
        VERSION_PROXY => {}
        _ => return None,
    }
    let (family, transport) = (kind >> 4, kind & 0xf);
    if transport > DATAGRAM {
        return None;
    }
    // TLVs follow the addresses.
    let named = match family {
        0 => None,
        1 => Some(v4_pair(rest.first_chunk()?)),
        2 => Some(v6_pair(rest.first_chunk()?)),
        // Two unix sockets, each with a path of 108 bytes.
        3 => rest.get(..216).map(|_| None)?,
        _ => return None,
    };
    Some(named.filter(|_| transport == STREAM))
}

fn v4_pair(bytes: &[u8; 12]) -> AddressPair {
    let [a, b, c, d, e, f, g, h, ports @ ..] = *bytes;
    pair(Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h), ports)
}

fn v6_pair(bytes: &[u8; 36]) -> AddressPair {
    let (mut source, mut destination, mut ports) = ([0; 16], [0; 16], [0; 4]);
    source.copy_from_slice(&bytes[..16]);
    destination.copy_from_slice(&bytes[16..32]);
    ports.copy_from_slice(&bytes[32..]);
    pair(Ipv6Addr::from(source), Ipv6Addr::from(destination), ports)
}

fn pair(source: impl Into<IpAddr>, destination: impl Into<IpAddr>, ports: [u8; 4]) -> AddressPair {
    let [a, b, c, d] = ports;
    let source = SocketAddr::new(source.into(), u16::from_be_bytes([a, b]));
    let destination = SocketAddr::new(destination.into(), u16::from_be_bytes([c, d]));
    AddressPair {
        source: canonical(source),
        destination: canonical(destination),
    }
}

/// An IPv4 address that is written as an IPv6 one is an IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Appends a header. Without `ends` the addresses are unknown (`UNKNOWN` in version 1, `LOCAL` in
/// version 2).
pub(crate) fn append(version: ProxyVersion, ends: Option<AddressPair>, out: &mut Vec<u8>) {
    let ends = ends.map(of_one_family);
    match version {
        ProxyVersion::V1 => append_v1(ends, out),
        ProxyVersion::V2 => append_v2(ends, out),
    }
}

/// Both in the same family, as either version wants it: IPv6 where they are not.
fn of_one_family(ends: AddressPair) -> AddressPair {
    let AddressPair {
        source,
        destination,
    } = ends;
    if source.is_ipv4() == destination.is_ipv4() {
        return ends;
    }
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => (ip.to_ipv6_mapped(), address.port()).into(),
        IpAddr::V6(_) => address,
    };
    AddressPair {
        source: mapped(source),
        destination: mapped(destination),
    }
}

fn append_v1(ends: Option<AddressPair>, out: &mut Vec<u8>) {
    let Some(AddressPair {
        source,
        destination,
    }) = ends
    else {
        return out.extend_from_slice(b"PROXY UNKNOWN\r\n");
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    );
}

fn append_v2(ends: Option<AddressPair>, out: &mut Vec<u8>) {
    const TCP_OVER_IPV4: u8 = 0x11;
    const TCP_OVER_IPV6: u8 = 0x21;
    out.extend_from_slice(V2_SIGNATURE);
    let Some(AddressPair {
        source,
        destination,
    }) = ends
    else {
        return out.extend_from_slice(&[VERSION_LOCAL, 0, 0, 0]);
    };
    let (family, length) = match source {
        SocketAddr::V4(_) => (TCP_OVER_IPV4, 12),
        SocketAddr::V6(_) => (TCP_OVER_IPV6, 36),
    };
    out.extend_from_slice(&[VERSION_PROXY, family, 0, length]);
    for address in [source, destination] {
        match address.ip() {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
    }
    for address in [source, destination] {
        out.extend_from_slice(&address.port().to_be_bytes());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(source: &str, destination: &str) -> AddressPair {
        AddressPair {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    fn header(version: ProxyVersion, ends: Option<AddressPair>) -> Vec<u8> {
        let mut out = Vec::new();
        append(version, ends, &mut out);
        out
    }

    #[test]
    fn version_1_is_read() {
        let header = b"PROXY TCP4 192.0.2.1 198.51.100.9 56324 443\r\n";
        let named = ends("192.0.2.1:56324", "198.51.100.9:443");
        assert_eq!(header_length(header), Ok(HeaderLength::Whole(header.len())));
        assert_eq!(parse(header), Ok(Some(named)));
        let header = b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.9 0 65535\r\n";
        assert_eq!(
            parse(header),
            Ok(Some(ends("[2001:db8::1]:0", "192.0.2.9:65535")))
        );
    }

    #[test]
    fn a_header_that_names_nobody_leaves_the_connection_its_address() {
        for header in [
            &b"PROXY UNKNOWN\r\n"[..],
            b"PROXY UNKNOWN ffff::1 what ever 1 2 3 4 5 6\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
            // LOCAL, whatever it names.
            b"\r\n\r\n\0\r\nQUIT\n\x20\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x50\x01\xbb",
            // LOCAL, with an unknown family and no addresses.
            b"\r\n\r\n\0\r\nQUIT\n\x20\x51\0\0",
            // Unix sockets
            &[&b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8"[..], &[b'/'; 216]].concat(),
            // UDP
            b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x50\x01\xbb",
        ] {
            assert_eq!(header_length(header), Ok(HeaderLength::Whole(header.len())));
            assert_eq!(parse(header), Ok(None), "{}", header.escape_ascii());
        }
    }

    #[test]
    fn version_2_is_read_with_whatever_it_says_besides() {
        let header =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\x02\x01\xc6\x33\x64\x09\xdc\x04\x01\xbb\x04\0\x01\0GET";
        assert_eq!(
            header_length(header),
            Ok(HeaderLength::Whole(header.len() - 3))
        );
        let named = ends("192.0.2.1:56324", "198.51.100.9:443");
        assert_eq!(parse(&header[..header.len() - 3]), Ok(Some(named)));
    }

    #[test]
    fn what_is_no_header_is_refused_at_the_first_byte_that_tells() {
        for bytes in [&b"G"[..], b"PROX ", b"\x16", b"\r\n\r\n\0\r\nQUIX"] {
            assert_eq!(
                header_length(bytes),
                Err(BadProxyHeader),
                "{}",
                bytes.escape_ascii()
            );
        }
        for header in [
            &b"PROXY TCP4 192.0.2.1 198.51.100.9 56324\r\n"[..],
            b"PROXY TCP4 192.0.2.1 198.51.100.9 56324 443\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.9 56324 443 \r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.9 +1 443\r\n",
            b"PROXY TCP4 192.0.2.1 198.51.100.9 65536 443\r\n",
            b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            b"PROXY UNKNOWNX\r\n",
            b"PROXY UNKNOWN\n",
            b"PROXY UNKNOWN \n",
            b"PROXY UNKNOWN\r \r\n",
            b"PROXY \n",
            // version 3, command 2, family 4, addresses cut short
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x41\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04\x01\x02\x03\x04",
        ] {
            assert_eq!(
                parse(header),
                Err(BadProxyHeader),
                "{}",
                header.escape_ascii()
            );
        }
    }

    #[test]
    fn a_header_has_an_end() {
        let mut line = b"PROXY UNKNOWN ".to_vec();
        line.resize(V1_MAX - 1, b'x');
        assert_eq!(header_length(&line), Ok(HeaderLength::Partial));
        line.push(b'x');
        assert_eq!(header_length(&line), Err(BadProxyHeader));
        let with_tlvs = |length: u16| {
            let mut header = V2_SIGNATURE.to_vec();
            header.extend_from_slice(&[0x21, 0x11]);
            header.extend_from_slice(&length.to_be_bytes());
            header
        };
        let longest = u16::try_from(V2_MAX - V2_FIXED).unwrap();
        assert_eq!(
            header_length(&with_tlvs(longest)),
            Ok(HeaderLength::Partial)
        );
        assert_eq!(header_length(&with_tlvs(longest + 1)), Err(BadProxyHeader));
    }

    #[test]
    fn ends_of_two_families_are_written_in_the_larger_one() {
        let mixed = ends("192.0.2.1:1", "[2001:db8::1]:2");
        assert_eq!(
            header(ProxyVersion::V1, Some(mixed)),
            b"PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n"
        );
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            assert_eq!(parse(&header(version, Some(mixed))), Ok(Some(mixed)));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            source: (IpAddr, u16),
            destination: (IpAddr, u16),
            behind: Vec<u8>,
        ) {
            let ends = AddressPair {
                source: canonical(source.into()),
                destination: canonical(destination.into()),
            };
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                for named in [Some(ends), None] {
                    let mut bytes = header(version, named);
                    let length = bytes.len();
                    prop_assert_eq!(parse(&bytes), Ok(named));
                    for cut in 0..length {
                        prop_assert_eq!(header_length(&bytes[..cut]), Ok(HeaderLength::Partial));
                    }
                    bytes.extend_from_slice(&behind);
                    prop_assert_eq!(header_length(&bytes), Ok(HeaderLength::Whole(length)));
                }
            }
        }

        #[test]
        fn no_bytes_bring_it_down(
            start in prop_oneof![
                Just(Vec::new()),
                Just(b"PROXY ".to_vec()),
                Just(b"PROXY TCP4 ".to_vec()),
                Just(b"PROXY TCP6 1::1 ".to_vec()),
                Just(V2_SIGNATURE.to_vec()),
                any::<[u8; 3]>().prop_map(|rest| [V2_SIGNATURE, &rest].concat()),
            ],
            rest in prop_oneof![any::<Vec<u8>>(), "[0-9a-f:. \r\n]{0,120}".prop_map(String::into_bytes)],
        ) {
            let bytes = [start, rest].concat();
            if let Ok(HeaderLength::Whole(length)) = header_length(&bytes) {
                prop_assert!(length <= bytes.len() && length <= V2_MAX);
                // The end is the same however little of it has arrived.
                for cut in 0..length {
                    prop_assert_eq!(header_length(&bytes[..cut]), Ok(HeaderLength::Partial));
                }
                let _ = parse(&bytes[..length]);
            }
            let _ = parse(&bytes);
        }
    }
}
