//! The name in a ClientHello: the same however the bytes come, and the one that RFC 6066 section 3
//! has there.

use crate::data_plane::relay::preread::Hello;

use super::{pieces, single_bytes};

/// What a TLS client sends first.
pub(super) fn run(bytes: &[u8]) {
    let whole = told(std::iter::once(bytes));
    assert_eq!(told(single_bytes(bytes)), whole);
    assert_eq!(told(pieces(bytes)), whole);
    if let Some(Some(name)) = whole {
        assert!(!name.is_empty() && name.len() <= 255);
        let plain = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
        assert!(name.bytes().all(plain), "{name:?}");
        let message = handshake(bytes);
        let named = server_name(&message).expect("a hello that was read");
        assert_eq!(named.to_ascii_lowercase(), name.as_bytes());
    }
}

/// None where more has to come.
fn told<'a>(mut pieces: impl Iterator<Item = &'a [u8]>) -> Option<Option<Box<str>>> {
    let mut hello = Hello::default();
    pieces.find_map(|piece| hello.take(piece))
}

/// What is in the handshake records, one after the other (RFC 8446 section 5.1).
fn handshake(mut bytes: &[u8]) -> Vec<u8> {
    let mut joined = Vec::new();
    while let [22, _, _, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        joined.extend_from_slice(&rest[..length]);
        bytes = &rest[length..];
    }
    joined
}

/// The host name in a ClientHello's message.
fn server_name(message: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields(message);
    fields.skip(1 + 3 + 2 + 32)?; // type, length, version, random
    fields.vector(1)?; // session
    fields.vector(2)?; // ciphers
    fields.vector(1)?; // compression
    let mut extensions = Fields(fields.vector(2)?);
    loop {
        let kind = extensions.take(2)?;
        let body = extensions.vector(2)?;
        if kind == [0, 0] {
            let mut names = Fields(Fields(body).vector(2)?);
            names.skip(1)?; // host_name
            return names.vector(2);
        }
    }
}

/// Fields of a message, from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(|_| ())
    }

    /// Bytes behind their number, which has `width` bytes.
    fn vector(&mut self, width: usize) -> Option<&'a [u8]> {
        let length = self.take(width)?;
        let length = length
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        self.take(length)
    }
}
