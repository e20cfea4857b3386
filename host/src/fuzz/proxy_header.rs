//! The PROXY protocol: its end is the same however little has arrived, and what is believed is what
//! a second reading of the specification believes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::model::ProxyVersion;
use crate::data_plane::proxy_protocol::{
    AddressPair, BadProxyHeader, HeaderLength, V2_MAX, append, header_length, parse,
};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A connection's first bytes.
pub(super) fn run(bytes: &[u8]) {
    let whole = header_length(bytes);
    if let Some([_, _, high, low, ..]) = bytes.strip_prefix(SIGNATURE) {
        let length = 16 + usize::from(u16::from_be_bytes([*high, *low]));
        let expected = match length {
            _ if length > V2_MAX => Err(BadProxyHeader),
            _ if length > bytes.len() => Ok(HeaderLength::Partial),
            _ => Ok(HeaderLength::Whole(length)),
        };
        assert_eq!(whole, expected);
    }
    for cut in 0..bytes.len().min(V2_MAX + 1) {
        let before = header_length(&bytes[..cut]);
        match whole {
            Ok(HeaderLength::Whole(length)) if cut >= length => assert_eq!(before, whole),
            Ok(_) => assert_eq!(before, Ok(HeaderLength::Partial)),
            Err(BadProxyHeader) => assert!(matches!(
                before,
                Err(BadProxyHeader) | Ok(HeaderLength::Partial)
            )),
        }
    }
    let Ok(HeaderLength::Whole(length)) = whole else {
        return;
    };
    assert!(length <= bytes.len() && length <= V2_MAX);
    let header = &bytes[..length];
    let told = parse(header);
    let plainly = match header.strip_prefix(SIGNATURE) {
        Some(rest) => plain_v2(rest),
        None => plain_v1(header),
    };
    assert_eq!(told.ok(), plainly, "{}", header.escape_ascii());

    if let Ok(ends) = told {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let mut out = Vec::new();
            append(version, ends, &mut out);
            assert_eq!(header_length(&out), Ok(HeaderLength::Whole(out.len())));
            assert_eq!(parse(&out), Ok(ends));
        }
    }
}

/// Section 2.1 of the specification.
fn plain_v1(header: &[u8]) -> Option<Option<AddressPair>> {
    let text = std::str::from_utf8(header).ok();
    let line = header.strip_suffix(b"\r\n")?.strip_prefix(b"PROXY ")?;
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Some(None);
    }
    let line = text?.strip_suffix("\r\n")?.strip_prefix("PROXY ")?;
    let words: Vec<&str> = line.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = words[..] else {
        return None;
    };
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    let port = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let shortest = text == "0" || !text.starts_with('0');
        (digits && shortest).then(|| text.parse::<u16>().ok())?
    };
    Some(Some(AddressPair {
        source: canonical(address(source)?, port(source_port)?),
        destination: canonical(address(destination)?, port(destination_port)?),
    }))
}

/// Section 2.2, behind the signature.
fn plain_v2(rest: &[u8]) -> Option<Option<AddressPair>> {
    let [command, family, _, _, addresses @ ..] = rest else {
        return None;
    };
    let length = match family {
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        // A family without addresses may come with either transport, and the other way round.
        0x00..=0x02 | 0x10 | 0x20 | 0x30 => match family >> 4 {
            0 => 0,
            1 => 12,
            2 => 36,
            _ => 216,
        },
        _ => return None,
    };
    if !matches!(command, 0x20 | 0x21) || addresses.len() < length {
        return None;
    }
    if *command == 0x20 || family & 15 != 1 {
        return Some(None);
    }
    let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
    let v4 = |at: usize| <[u8; 4]>::try_from(&addresses[at..at + 4]).unwrap().into();
    let v6 = |at: usize| {
        <[u8; 16]>::try_from(&addresses[at..at + 16])
            .unwrap()
            .into()
    };
    Some(match family >> 4 {
        1 => Some(AddressPair {
            source: canonical(IpAddr::V4(v4(0)), port(8)),
            destination: canonical(IpAddr::V4(v4(4)), port(10)),
        }),
        2 => Some(AddressPair {
            source: canonical(IpAddr::V6(v6(0)), port(32)),
            destination: canonical(IpAddr::V6(v6(16)), port(34)),
        }),
        _ => None,
    })
}

fn canonical(ip: IpAddr, port: u16) -> SocketAddr {
    (ip.to_canonical(), port).into()
}
