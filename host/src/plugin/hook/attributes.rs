//! Named values that hooks set for an exchange.
//!
//! One buffer and a table: what has been allocated once serves the next exchange.

use std::ops::Range;

/// Bounds on what is set for one exchange: how many, and the bytes of all names and values.
const MOST: usize = 32;
const BYTES: usize = 64 << 10;
/// Bytes of a name.
const NAME: usize = 64;

/// Named values: see `changes.set-attribute` in the WIT.
#[derive(Debug, Default, PartialEq)]
pub struct Attributes {
    bytes: Vec<u8>,
    table: Vec<Attribute>,
}

#[derive(Debug, PartialEq)]
struct Attribute {
    name: Range<usize>,
    value: Range<usize>,
}

/// Why a value is not taken: in one line of lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAttribute {
    #[error("an attribute's name is of `a-z`, `0-9` and `_`, 64 bytes at most")]
    Name,
    #[error("32 attributes of 65536 bytes are the most")]
    TooMany,
}

impl Attributes {
    /// Sets a value, in place of the one before.
    ///
    /// # Errors
    /// [`BadAttribute`]; the value before stays.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadAttribute> {
        let allowed = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        if name.is_empty() || name.len() > NAME || !name.iter().all(allowed) {
            return Err(BadAttribute::Name);
        }
        let known = self.position(name);
        let count = self.table.len() + usize::from(known.is_none());
        // What is replaced stays in the buffer until the exchange ends, and counts.
        if count > MOST || self.bytes.len() + name.len() + value.len() > BYTES {
            return Err(BadAttribute::TooMany);
        }
        self.put(known, name, value);
        Ok(())
    }

    /// Sets all of these values, in place of those before.
    ///
    /// # Errors
    /// [`BadAttribute::TooMany`]; none is set then.
    pub fn append(&mut self, others: &Attributes) -> Result<(), BadAttribute> {
        self.have_room_for(others)?;
        for (name, value) in others.iter() {
            self.put(self.position(name), name, value);
        }
        Ok(())
    }

    /// Whether there is room for all of these beside those here.
    ///
    /// # Errors
    /// [`BadAttribute::TooMany`]
    pub fn have_room_for(&self, others: &Attributes) -> Result<(), BadAttribute> {
        let is_new = |name: &[u8]| self.position(name).is_none();
        let new = others.iter().filter(|(name, _)| is_new(name)).count();
        let fits = self.table.len() + new <= MOST && self.bytes.len() + others.bytes.len() <= BYTES;
        fits.then_some(()).ok_or(BadAttribute::TooMany)
    }

    /// The value of that name.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let attribute = &self.table[self.position(name)?];
        self.bytes.get(attribute.value.clone())
    }

    /// Names and values, in the order in which the names were first set.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let part = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        self.table
            .iter()
            .map(move |attribute| (part(&attribute.name), part(&attribute.value)))
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Forgets all of them, and keeps the room.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.table.clear();
    }

    /// `known`: where the name is in the table, if it is.
    fn put(&mut self, known: Option<usize>, name: &[u8], value: &[u8]) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        let attribute = Attribute {
            name: at..at + name.len(),
            value: at + name.len()..self.bytes.len(),
        };
        match known {
            Some(known) => self.table[known] = attribute,
            None => self.table.push(attribute),
        }
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        self.table
            .iter()
            .position(|attribute| self.bytes.get(attribute.name.clone()) == Some(name))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    #[test]
    fn a_value_takes_the_place_of_the_one_before() {
        let mut attributes = Attributes::default();
        attributes.set(b"a", b"1").unwrap();
        attributes.set(b"b", b"2").unwrap();
        attributes.set(b"a", b"").unwrap();
        let all: Vec<_> = attributes.iter().collect();
        assert_eq!(all, [(&b"a"[..], &b""[..]), (b"b", b"2")]);
        assert_eq!(attributes.get(b"b"), Some(&b"2"[..]));
        assert_eq!(attributes.get(b"c"), None);
    }

    #[test]
    fn names_and_room_have_bounds() {
        let mut attributes = Attributes::default();
        for name in [&b""[..], b"A", b"a-b", &[b'a'; 65]] {
            assert_eq!(attributes.set(name, b""), Err(BadAttribute::Name));
        }
        for number in 0..32 {
            attributes
                .set(format!("n{number}").as_bytes(), b"x")
                .unwrap();
        }
        assert_eq!(attributes.set(b"more", b"x"), Err(BadAttribute::TooMany));
        let large = vec![b'x'; 65 << 10];
        assert_eq!(attributes.set(b"n0", &large), Err(BadAttribute::TooMany));
        assert_eq!(attributes.get(b"n0"), Some(&b"x"[..]));
    }
}
