//! Which answers a change of headers is for, and how long clients may keep them.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Statuses of answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Statuses {
    #[default]
    All,
    Among(Vec<RangeInclusive<u16>>),
}

impl Statuses {
    pub fn contain(&self, status: u16) -> bool {
        match self {
            Statuses::All => true,
            Statuses::Among(ranges) => ranges.iter().any(|range| range.contains(&status)),
        }
    }
}

/// Statuses of answers that `expires` is for, and nginx's `add_header` without `always`
/// (`ngx_http_headers_filter`).
pub(crate) const WITH_HEADERS: [u16; 10] = [200, 201, 204, 206, 301, 302, 303, 304, 307, 308];

/// How long clients and caches may keep an answer (`expires`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheTime {
    /// As the server says.
    Unchanged,
    /// They ask again each time (`epoch`).
    AtOnce,
    After(Duration),
}

impl CacheTime {
    /// `Cache-Control` of an answer of that status, where it is ours to say: not of errors.
    pub fn cache_control(self, status: u16) -> Option<String> {
        let is_meant = WITH_HEADERS.contains(&status);
        match self {
            CacheTime::AtOnce if is_meant => Some("no-cache".to_owned()),
            CacheTime::After(time) if is_meant => Some(format!("max-age={}", time.as_secs())),
            _ => None,
        }
    }
}
