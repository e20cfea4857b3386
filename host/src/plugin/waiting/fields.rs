//! The fields of a request that a hook makes, as lines.

use super::requests::RefusedRequest;
use crate::http::headers;

/// Bytes of all fields of one message.
pub(super) const FIELDS: usize = 64 << 10;

/// Lines of a head, each checked: `name: value` and CRLF.
#[derive(Debug, Default)]
pub struct FieldLines {
    text: Vec<u8>,
    has_host: bool,
}

impl FieldLines {
    /// Adds a field; not one that frames the message or concerns its connection alone.
    ///
    /// # Errors
    /// Name or value are none (RFC 9110 section 5), or all fields together have too many bytes.
    pub(in crate::plugin) fn push(
        &mut self,
        name: &[u8],
        value: &[u8],
    ) -> Result<(), RefusedRequest> {
        let length = name.len() + value.len() + 4;
        if !headers::is_token(name)
            || !headers::is_value(value)
            || self.text.len() + length > FIELDS
        {
            return Err(RefusedRequest::Inexpressible);
        }
        if headers::is_framing(name) {
            return Ok(());
        }
        self.has_host |= name.eq_ignore_ascii_case(b"host");
        self.text.reserve(length);
        for part in [name, b": ", value, b"\r\n"] {
            self.text.extend_from_slice(part);
        }
        Ok(())
    }

    /// Adds a `Host`, where there is none.
    ///
    /// # Errors
    /// It cannot be one.
    pub(super) fn default_host(&mut self, host: &str) -> Result<(), RefusedRequest> {
        match self.has_host {
            true => Ok(()),
            false => self.push(b"Host", host.as_bytes()),
        }
    }

    /// Those that there are.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }
}
