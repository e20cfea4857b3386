//! Changes to the fields of a head, and to a request's method: collected and checked one by one,
//! made all at once.
//!
//! A change appends to the head's one buffer and to its table, so that all that reads the head sees
//! it and nothing has to be looked up twice. What was received stays in the buffer: the request
//! line, the method and the host can still be told.

use super::fields::{ChangedIndex, Fields, Span, append};
use super::{FieldName, RequestHead};
use crate::http::authority::{Authority, BadAuthority};
use crate::http::headers::{is_framing, is_token, is_value};
use crate::http::target::BadTarget;

/// Bytes that all changes of one call, and all that are made to one head, may have. Each field
/// counts [`FIELD_OVERHEAD`] bytes besides. It does not depend on what a client may send: one that
/// sends as much as it is allowed must not make changes fail.
pub(crate) const MAX_CHANGES: usize = 64 << 10;
/// What a field counts beyond its name and its value (RFC 9113 section 6.5.2).
pub(super) const FIELD_OVERHEAD: usize = 32;

/// Whose head is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadSide {
    Request,
    Response,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldOperation {
    /// Replaces all values by one.
    Set,
    /// Adds a value beside those there.
    Add,
    Remove,
}

/// Changes to fields, in their order, each of them checked.
#[derive(Debug, Default, PartialEq)]
pub struct FieldChanges {
    bytes: Vec<u8>,
    table: Vec<ChangeSpan>,
    size: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct ChangeSpan {
    operation: FieldOperation,
    name: Span,
    value: Span,
}

/// One change, borrowed from its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldChange<'a> {
    pub operation: FieldOperation,
    /// In any case.
    pub name: &'a [u8],
    /// Without blanks around it; empty where a field is removed.
    pub value: &'a [u8],
}

impl FieldChange<'_> {
    fn replaces(&self, name: &[u8]) -> bool {
        self.operation != FieldOperation::Add && self.name.eq_ignore_ascii_case(name)
    }
}

/// Why a change is not accepted: in one line of lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadChange {
    #[error("a header's name has letters, digits and dashes")]
    Name,
    #[error("a header's value has no control characters")]
    Value,
    #[error("the header frames the message or belongs to one connection: it cannot be changed")]
    Framing,
    #[error("a request has one such header: it can only be set")]
    OnlySet,
    #[error("a request has a `Host`: it can only be set")]
    HostOnlySet,
    #[error("invalid `Host`: {0}")]
    Host(#[from] BadAuthority),
    #[error("a method is a word, and not `CONNECT` or `TRACE`")]
    Method,
    #[error(
        "the response to a `HEAD` request has no body: others cannot become one, nor it others"
    )]
    HeadMethod,
    #[error("invalid path or query: {0}")]
    Target(#[from] BadTarget),
    #[error("the changes have more than 65536 bytes, with 32 more for each header")]
    TooLarge,
}

impl FieldChanges {
    /// Adds a change.
    ///
    /// # Errors
    /// [`BadChange`]; nothing is added then.
    pub fn push(&mut self, side: HeadSide, change: FieldChange<'_>) -> Result<(), BadChange> {
        let value = blanks_off(change.value);
        check(side, change.operation, change.name, value)?;
        let change = FieldChange { value, ..change };
        let size = self.size + FieldChanges::size_of(&change);
        if size > MAX_CHANGES {
            return Err(BadChange::TooLarge);
        }
        self.size = size;
        let name = append(&mut self.bytes, change.name);
        let value = append(&mut self.bytes, value);
        self.table.push(ChangeSpan {
            operation: change.operation,
            name,
            value,
        });
        Ok(())
    }

    /// Adds the changes of another list behind those here.
    ///
    /// # Errors
    /// [`BadChange::TooLarge`]; nothing is added then.
    pub fn append(&mut self, other: &FieldChanges) -> Result<(), BadChange> {
        self.have_room_for(other)?;
        self.size += other.size;
        let start = self.bytes.len() as u32;
        let behind = |span: Span| Span {
            start: span.start + start,
            ..span
        };
        self.bytes.extend_from_slice(&other.bytes);
        self.table
            .extend(other.table.iter().map(|change| ChangeSpan {
                operation: change.operation,
                name: behind(change.name),
                value: behind(change.value),
            }));
        Ok(())
    }

    /// Whether there is room for the changes of another list.
    ///
    /// # Errors
    /// [`BadChange::TooLarge`]
    pub fn have_room_for(&self, other: &FieldChanges) -> Result<(), BadChange> {
        match self.size + other.size > MAX_CHANGES {
            true => Err(BadChange::TooLarge),
            false => Ok(()),
        }
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Drops all changes but the first `length`.
    pub fn truncate(&mut self, length: usize) {
        let Some(first) = self.table.get(length).map(|change| change.name.start) else {
            return;
        };
        let dropped = self.iter().skip(length);
        let size: usize = dropped.map(|change| FieldChanges::size_of(&change)).sum();
        self.size -= size;
        self.bytes.truncate(first as usize);
        self.table.truncate(length);
    }

    /// Whether nothing stays of what stood under a name, in any case.
    pub fn replaces(&self, name: &[u8]) -> bool {
        let mut changes = self.iter();
        changes.any(|change| change.replaces(name))
    }

    /// Whether there is a change of a name, in any case.
    pub fn concern(&self, name: &[u8]) -> bool {
        let mut changes = self.iter();
        changes.any(|change| change.name.eq_ignore_ascii_case(name))
    }

    /// What is there in the end, of what is set and added: a later change has the last word on its
    /// name.
    pub fn remaining(&self) -> impl Iterator<Item = FieldChange<'_>> {
        let written = self.iter().enumerate();
        let written = written.filter(|(_, change)| change.operation != FieldOperation::Remove);
        written
            .filter(|(at, change)| {
                let mut later = self.iter().skip(at + 1);
                !later.any(|later| later.replaces(change.name))
            })
            .map(|(_, change)| change)
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = FieldChange<'_>> {
        self.table.iter().map(|change| FieldChange {
            operation: change.operation,
            name: change.name.in_bytes(&self.bytes),
            value: change.value.in_bytes(&self.bytes),
        })
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// What a change counts against [`MAX_CHANGES`].
    pub fn size_of(change: &FieldChange<'_>) -> usize {
        change.name.len() + change.value.len() + FIELD_OVERHEAD
    }

    /// What the changes count against [`MAX_CHANGES`].
    pub fn size(&self) -> usize {
        self.size
    }

    /// Forgets the changes, and keeps the buffers for others.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.table.clear();
        self.size = 0;
    }
}

/// A value without the blanks around it (RFC 9110 section 5.5): a line end there is none of them.
fn blanks_off(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// What a client may send, and the configuration may set (`request_headers`).
fn check(
    side: HeadSide,
    operation: FieldOperation,
    name: &[u8],
    value: &[u8],
) -> Result<(), BadChange> {
    if !is_token(name) {
        return Err(BadChange::Name);
    }
    if is_framing(name) {
        return Err(BadChange::Framing);
    }
    if operation != FieldOperation::Remove && !is_value(value) {
        return Err(BadChange::Value);
    }
    if side == HeadSide::Response {
        return Ok(());
    }
    match (FieldName::of(name), operation) {
        (FieldName::Host, FieldOperation::Set) => {
            Authority::parse(value)?;
            Ok(())
        }
        (FieldName::Host, _) => Err(BadChange::HostOnlySet),
        (known, FieldOperation::Add) if known.is_singleton() => Err(BadChange::OnlySet),
        _ => Ok(()),
    }
}

impl RequestHead {
    fn changed(&mut self) -> &mut ChangedIndex {
        self.fields.index.changed.get_or_insert_default()
    }

    /// Whether changes were made.
    pub fn is_changed(&self) -> bool {
        self.fields.index.changed.is_some()
    }

    /// Bytes that further changes may have.
    pub fn room(&self) -> usize {
        let changed = self.fields.index.changed.as_deref();
        MAX_CHANGES.saturating_sub(changed.map_or(0, |changed| changed.grown as usize))
    }

    /// Makes changes, which the caller has found to be no larger than [`RequestHead::room`].
    pub fn change_fields(&mut self, changes: &FieldChanges) {
        self.changed().grown += changes.size() as u32;
        for change in changes.iter() {
            self.fields.change(change);
        }
    }

    /// Makes it a request by another method, of which the caller has found that it is one (see
    /// [`check_method`]) and that there is [`RequestHead::room`] for it.
    pub fn set_method(&mut self, method: &[u8]) {
        self.changed().grown += method.len() as u32;
        self.method = append(&mut self.fields.bytes, method);
    }

    /// The method as received, whatever it was changed to.
    pub fn received_method(&self) -> &[u8] {
        let line = self.line();
        &line[..memchr::memchr(b' ', line).unwrap_or(line.len())]
    }

    /// What `Host` said before it was changed; none where there was none.
    pub fn received_host(&self) -> Option<&[u8]> {
        let changed = self.fields.index.changed.as_deref();
        match changed.and_then(|changed| changed.received_host) {
            Some(host) => Some(host.in_bytes(&self.fields.bytes)).filter(|host| !host.is_empty()),
            None => self.fields.known(FieldName::Host).next(),
        }
    }
}

/// Whether a request may be given this method (RFC 9110 section 9): those that are refused of a
/// client are not among them.
///
/// # Errors
/// [`BadChange::Method`]
pub(crate) fn check_method(method: &[u8]) -> Result<(), BadChange> {
    if is_token(method) && !matches!(method, b"CONNECT" | b"TRACE") {
        Ok(())
    } else {
        Err(BadChange::Method)
    }
}

impl Fields {
    fn change(&mut self, change: FieldChange<'_>) {
        if change.operation != FieldOperation::Add {
            self.remove(change.name);
        }
        if change.operation != FieldOperation::Remove {
            self.push(change.name, change.value);
            if let Some(field) = self.index.table.last_mut() {
                field.ours = true;
            }
        }
        if change.operation != FieldOperation::Add && !self.decides(change.name) {
            let name = append(&mut self.bytes, change.name);
            self.index
                .changed
                .get_or_insert_default()
                .decided
                .push(name);
        }
    }

    /// Removes the fields of a name, and those that a reader which folds names takes for it: they
    /// would pass for what is set in their place.
    fn remove(&mut self, name: &[u8]) {
        let Fields { bytes, index } = self;
        let changed = index.changed.get_or_insert_default();
        if FieldName::of(name) == FieldName::Host && changed.received_host.is_none() {
            let mut hosts = index.table.iter();
            let host = hosts.find(|field| field.known == FieldName::Host);
            changed.received_host = Some(host.map(|host| host.value).unwrap_or_default());
        }
        let before = index.table.len();
        index
            .table
            .retain(|field| !super::fold_alike(field.name.in_bytes(bytes), name));
        if index.table.len() < before {
            index.count_again();
        }
    }

    /// Whether changes have set or removed a field of this name, or one that passes for it: nothing
    /// that was received under the name, or comes behind the body, goes on.
    pub fn decides(&self, name: &[u8]) -> bool {
        let changed = self.index.changed.as_deref();
        let mut decided = changed.iter().flat_map(|changed| &changed.decided);
        decided.any(|known| super::fold_alike(known.in_bytes(&self.bytes), name))
    }
}

#[cfg(test)]
mod tests;
