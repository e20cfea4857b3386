//! Changes to a request as a whole: asked for one by one, and checked at once, so that whatever is
//! collected can be made.

use super::changes::{BadChange, FieldChange, FieldChanges, HeadSide, MAX_CHANGES, check_method};
use crate::http::path;
use crate::http::target::{check_path, check_query};

/// Changes to a request, each of them checked by itself.
#[derive(Debug, Default, PartialEq)]
pub struct RequestChanges {
    pub(crate) method: Option<Box<[u8]>>,
    /// Percent-encoded.
    pub(crate) path: Option<Box<[u8]>>,
    /// Without the `?`; empty for none.
    pub(crate) query: Option<Box<[u8]>>,
    pub(crate) fields: FieldChanges,
}

impl RequestChanges {
    /// Another method than `before`.
    ///
    /// # Errors
    /// [`BadChange`]
    pub fn set_method(&mut self, method: &[u8], before: &[u8]) -> Result<(), BadChange> {
        check_method(method)?;
        // Whether the client expects a body depends on its own method.
        let is_head = |method: &[u8]| method == b"HEAD";
        if is_head(method) != is_head(before) {
            return Err(BadChange::HeadMethod);
        }
        self.check_room(method.len())?;
        self.method = Some(method.into());
        Ok(())
    }

    /// Another path, from its slash on, percent-encoded as in a request.
    ///
    /// # Errors
    /// [`BadChange`]
    pub fn set_path(&mut self, path: &[u8]) -> Result<(), BadChange> {
        check_path(path)?;
        path::normalise(path)?;
        self.check_room(path.len())?;
        self.path = Some(path.into());
        Ok(())
    }

    /// Another query, without the `?`; an empty one removes it.
    ///
    /// # Errors
    /// [`BadChange`]
    pub fn set_query(&mut self, query: &[u8]) -> Result<(), BadChange> {
        check_query(query)?;
        self.check_room(query.len())?;
        self.query = Some(query.into());
        Ok(())
    }

    /// A change of a header field. `Host` is also the host that a route is found by.
    ///
    /// # Errors
    /// [`BadChange`]
    pub fn change_field(&mut self, change: FieldChange<'_>) -> Result<(), BadChange> {
        self.check_room(FieldChanges::size_of(&change))?;
        self.fields.push(HeadSide::Request, change)
    }

    /// Forgets all of them, and keeps the room.
    pub fn clear(&mut self) {
        (self.method, self.path, self.query) = (None, None, None);
        self.fields.clear();
    }

    pub fn is_empty(&self) -> bool {
        let RequestChanges {
            method,
            path,
            query,
            fields,
        } = self;
        // An empty query is a change.
        method.is_none() && path.is_none() && query.is_none() && fields.is_empty()
    }

    /// Bytes of all changes, as they count against [`MAX_CHANGES`].
    pub fn size(&self) -> usize {
        let parts = [&self.method, &self.path, &self.query];
        let parts = parts.into_iter().flatten();
        parts.map(|part| part.len()).sum::<usize>() + self.fields.size()
    }

    fn check_room(&self, length: usize) -> Result<(), BadChange> {
        match self.size() + length > MAX_CHANGES {
            true => Err(BadChange::TooLarge),
            false => Ok(()),
        }
    }
}
