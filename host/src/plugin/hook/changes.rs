//! What one call of a hook wants changed: collected while the call is under way, carried out when
//! it has returned.

use std::time::Duration;

/// Bytes that all changes of one call may have together.
const BYTES: usize = 64 << 10;
/// The longest delay that a hook may ask for.
pub(in crate::plugin) const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// The changes of one call: see `changes` in the WIT. Names and values are such as HTTP allows.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub method: Option<String>,
    /// From its slash on.
    pub path: Option<String>,
    /// Without the `?`.
    pub query: Option<String>,
    /// In their order.
    pub request_headers: Vec<HeaderEdit>,
    pub response_headers: Vec<HeaderEdit>,
    pub attributes: Vec<(String, Vec<u8>)>,
    pub answer: Option<HookAnswer>,
    pub delay: Duration,
    /// Index into the configuration's routes.
    pub route: Option<usize>,
    /// Index into the configuration's upstreams.
    pub upstream: Option<usize>,
    bytes: usize,
}

/// One change to a header.
#[derive(Debug, PartialEq, Eq)]
pub struct HeaderEdit {
    pub name: String,
    pub operation: HeaderEditOperation,
}

/// What becomes of a header.
#[derive(Debug, PartialEq, Eq)]
pub enum HeaderEditOperation {
    /// One value takes the place of all.
    Set(Vec<u8>),
    Add(Vec<u8>),
    Remove,
}

/// An answer that a hook gives.
#[derive(Debug, PartialEq, Eq)]
pub struct HookAnswer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Work that a hook waits for: see `checks` in the WIT.
#[derive(Debug)]
pub struct Check {
    pub hash: String,
    pub password: Vec<u8>,
}

impl Changes {
    /// Takes so many bytes of what the changes may have; false where there are not so many left.
    pub(in crate::plugin) fn take_room(&mut self, bytes: usize) -> bool {
        let bytes = self.bytes.saturating_add(bytes);
        let fits = bytes <= BYTES;
        if fits {
            self.bytes = bytes;
        }
        fits
    }

    /// Whether a call has changed nothing.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0 && self.delay.is_zero() && self.answer.is_none() && self.is_routed_nowhere()
    }

    fn is_routed_nowhere(&self) -> bool {
        self.route.is_none() && self.upstream.is_none()
    }
}
