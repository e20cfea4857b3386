//! What a client sends in `Authorization`: RFC 7617, as `ngx_http_auth_basic_user` reads it.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// As `ngx_decode_base64`: padding may be missing, and bits that are left over do not count.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A user and a password, of any bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: Vec<u8>,
    pub(crate) password: Vec<u8>,
}

impl Credentials {
    /// Reads the header's value. None for another scheme, what is no Base64, or no user.
    pub(crate) fn parse(header: &[u8]) -> Option<Credentials> {
        let (scheme, encoded) = header.split_at_checked("Basic ".len())?;
        if !scheme.eq_ignore_ascii_case(b"Basic ") {
            return None;
        }
        let mut user = BASE64.decode(encoded.trim_ascii_start()).ok()?;
        let colon = user.iter().position(|&byte| byte == b':')?;
        let password = user.split_off(colon + 1);
        user.pop();
        (!user.is_empty()).then_some(Credentials { user, password })
    }
}
