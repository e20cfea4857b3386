//! What one call of a hook wants changed: collected while the call is under way, carried out when
//! it has returned.

use std::time::Duration;

use crate::http::head::{FieldChanges, RequestChanges};

/// The longest delay that a hook may ask for.
pub(in crate::plugin) const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// The changes of one call: see `changes` in the WIT. Each was checked when it was asked for.
#[derive(Debug, Default)]
pub struct Changes {
    pub request: RequestChanges,
    pub response: FieldChanges,
    pub attributes: Vec<(String, Vec<u8>)>,
    pub answer: Option<HookAnswer>,
    pub delay: Duration,
    /// Index into the configuration's routes.
    pub route: Option<usize>,
    /// Index into the configuration's upstreams.
    pub upstream: Option<usize>,
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
    /// Whether a call has changed nothing.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.request.is_empty()
            && self.response.is_empty()
            && self.attributes.is_empty()
            && self.answer.is_none()
            && self.delay.is_zero()
            && self.route.is_none()
            && self.upstream.is_none()
    }
}
