//! What the configuration changes of an answer's head: its route, and its listener where the route
//! says nothing of a field.

use super::state::Exchange;
use crate::config::model::{Action, CacheTime, HeaderChange, HeaderOperation, Route};

/// The changes to the head of one answer.
pub(super) struct Configured<'a> {
    listener: &'a [HeaderChange],
    route: &'a [HeaderChange],
    expires: CacheTime,
    status: u16,
}

const CACHE_CONTROL: &[u8] = b"Cache-Control";

impl<'a> Configured<'a> {
    /// Of an answer with that status. `route`: the one that the exchange took, if it got that far.
    pub(super) fn of(exchange: &'a Exchange, route: Option<&'a Route>, status: u16) -> Self {
        let listener = &exchange.worker_config.snapshot.config.listeners[exchange.listener];
        Configured {
            listener: &listener.response_headers,
            route: route.map_or(&[], |route| &route.response_headers),
            expires: match route {
                Some(Route {
                    expires: Some(expires),
                    ..
                }) => *expires,
                // What is said of files is nearer than what is said of a listener.
                Some(Route {
                    action: Action::Files(files),
                    ..
                }) if files.expires.is_some() => CacheTime::Unchanged,
                _ => listener.expires,
            },
            status,
        }
    }

    /// Whether there is nothing that it could change.
    pub(super) fn is_empty(&self) -> bool {
        let changes = self.listener.len() + self.route.len();
        changes == 0 && self.expires == CacheTime::Unchanged
    }

    /// The changes, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a HeaderChange> {
        let (route, status) = (self.route, self.status);
        let left = self.listener.iter().filter(move |change| {
            let same = |other: &HeaderChange| other.name.eq_ignore_ascii_case(&change.name);
            !route.iter().any(same)
        });
        left.chain(route)
            .filter(move |change| change.statuses.contain(status))
    }

    /// Whether there is a change of a name.
    pub(super) fn concern(&self, name: &[u8]) -> bool {
        self.iter().any(|change| is_of(change, name))
    }

    /// Whether nothing stays of what stood under a name before. What `Expires` says is said by
    /// `Cache-Control` then, which counts where both are there (RFC 9111 section 5.3).
    pub(super) fn replace(&self, name: &[u8]) -> bool {
        let of_caching =
            || name.eq_ignore_ascii_case(CACHE_CONTROL) || name.eq_ignore_ascii_case(b"Expires");
        let set = |change: &HeaderChange| !matches!(change.operation, HeaderOperation::Add(_));
        (self.iter()).any(|change| set(change) && is_of(change, name))
            || (self.expires != CacheTime::Unchanged
                && of_caching()
                && self.cache_control().is_some())
    }

    /// What `expires` makes of `Cache-Control`, unless a change of that name says otherwise.
    pub(super) fn cache_control(&self) -> Option<String> {
        let value = self.expires.cache_control(self.status)?;
        (!self.concern(CACHE_CONTROL)).then_some(value)
    }
}

fn is_of(change: &HeaderChange, name: &[u8]) -> bool {
    change.name.as_bytes().eq_ignore_ascii_case(name)
}
