//! What hooks change of a request, made all together while nothing else holds the exchange. What
//! they change of the response is kept until its head is written.
//!
//! As in nginx, `$request` and `$request_uri` tell what was received, and all else what became of
//! it.

use std::rc::Rc;

use super::state::Exchange;
use crate::http::authority::Authority;
use crate::http::head::{BadChange, FieldChanges, FieldName, FieldOperation, RequestChanges};
use crate::http::path;
use crate::http::target::BadTarget;
use crate::http::variable::Lasting;

/// Path and query as changes make them.
struct ChangedUri {
    text: Box<[u8]>,
    path: usize,
    normalised: Option<Box<[u8]>>,
}

impl Exchange {
    /// Whether hooks have changed the request.
    pub(super) fn was_changed(&self) -> bool {
        self.request.is_changed() || self.uri.changed.is_some()
    }

    /// Makes all changes, or none.
    ///
    /// # Errors
    /// [`BadChange`]
    pub(crate) fn apply(&mut self, changes: &RequestChanges) -> Result<(), BadChange> {
        let uri = self.changed_uri(changes)?;
        let host = changed_host(&changes.fields)?;
        if (changes.path.is_some() || host.is_some())
            && let Some(route) = self.taken_route()
        {
            self.captures.keep(route, &self.host, self.normalised());
        }
        self.kept.forget(Lasting::Request);
        if let Some(uri) = uri {
            self.uri.changed = Some(uri.text);
            self.uri.path = uri.path;
            if changes.path.is_some() {
                self.normalised = uri.normalised;
                self.uri.left_route.set(true);
            }
        }
        if let Some(host) = host {
            self.host = host;
        }
        if let Some(method) = &changes.method {
            self.request.set_method(method);
        }
        self.request.change_fields(&changes.fields);
        Ok(())
    }

    /// Has changes made to the response, whichever it will be, behind those that hooks have asked
    /// for before; all of them, or none.
    ///
    /// # Errors
    /// [`BadChange::TooLarge`]
    pub(crate) fn change_response(&self, changes: &FieldChanges) -> Result<(), BadChange> {
        self.response_changes.borrow_mut().append(changes)
    }

    /// Whether changes to the response can be made.
    ///
    /// # Errors
    /// [`BadChange::TooLarge`]
    pub(crate) fn have_room_for(&self, changes: &FieldChanges) -> Result<(), BadChange> {
        self.response_changes.borrow().have_room_for(changes)
    }

    /// To be called before hooks are asked about the head that is to be written. What they changed
    /// for another one, which never left because its body was broken from the start, is undone: they
    /// are asked again.
    pub(super) fn begin_head(&self) {
        let mut changes = self.response_changes.borrow_mut();
        match self.changed_before_head.get() {
            Some(before) => changes.truncate(before),
            None => self.changed_before_head.set(Some(changes.len())),
        }
    }

    /// What path and query become, if all changes can be made; none where they stay.
    fn changed_uri(&self, changes: &RequestChanges) -> Result<Option<ChangedUri>, BadChange> {
        let RequestChanges {
            method,
            path,
            query,
            fields,
        } = changes;
        if fields.size() + method.as_ref().map_or(0, |method| method.len()) > self.request.room() {
            return Err(BadChange::TooLarge);
        }
        // `*` is a target of OPTIONS only, and has no query (RFC 9112 section 3.2.4).
        let stays_options = method.as_ref().is_none_or(|method| **method == *b"OPTIONS");
        if self.path() == b"*" && path.is_none() && !(stays_options && query.is_none()) {
            return Err(BadTarget::TargetForm.into());
        }
        if path.is_none() && query.is_none() {
            return Ok(None);
        }
        let mut text = path.as_deref().unwrap_or(self.path()).to_vec();
        let path_length = text.len();
        if let Some(query) = query.as_deref().or(self.query())
            && !(query.is_empty() && changes.query.is_some())
        {
            text.push(b'?');
            text.extend_from_slice(query);
        }
        let normalised = match path.as_deref().map(path::normalise).transpose()? {
            Some(std::borrow::Cow::Owned(normalised)) => Some(normalised.into_boxed_slice()),
            _ => None,
        };
        Ok(Some(ChangedUri {
            text: text.into_boxed_slice(),
            path: path_length,
            normalised,
        }))
    }
}

/// The host that a route is found by from now on; none where that stays.
fn changed_host(changes: &FieldChanges) -> Result<Option<Rc<str>>, BadChange> {
    let last = changes.iter().rev().find(|change| {
        change.operation == FieldOperation::Set && FieldName::of(change.name) == FieldName::Host
    });
    match last {
        Some(change) => Ok(Some(Authority::parse(change.value)?.host.into())),
        None => Ok(None),
    }
}
