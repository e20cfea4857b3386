//! What WebSocket's opening handshake over HTTP/1.1 asks for and HTTP/2's does not (RFC 6455
//! section 4; RFC 8441 section 5).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What the answer to a key is made of (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A fresh `Sec-WebSocket-Key`. It keeps nothing secret, and only has to differ.
pub fn key() -> String {
    STANDARD.encode(fastrand::u128(..).to_ne_bytes())
}

/// The `Sec-WebSocket-Accept` that a client expects for its key.
pub fn accept(key: &[u8]) -> String {
    let answer = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    STANDARD.encode(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_accepted_as_in_the_example_of_the_standard() {
        assert_eq!(
            accept(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn each_key_is_another_one_of_16_bytes() {
        assert_ne!(key(), key());
        assert_eq!(STANDARD.decode(key()).map(|key| key.len()), Ok(16));
    }
}
