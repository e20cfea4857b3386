//! Conditional requests: what a client says of the representation that it has (RFC 9110 section
//! 13), against what there is.

use std::time::UNIX_EPOCH;

use super::head::Fields;

/// What tells one state of a resource from another. The entity tag is a strong one.
#[derive(Debug, Clone, Copy)]
pub struct Validators<'a> {
    /// With its quotes.
    pub etag: &'a [u8],
    /// Seconds since 1970.
    pub modified: i64,
}

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// The request is carried out.
    Holds,
    /// The client has it already: 304.
    NotModified,
    /// It has another state in mind: 412.
    Failed,
}

impl Validators<'_> {
    /// What the conditions of a GET or a HEAD come to, in the order of RFC 9110 section 13.2.2. A
    /// date that cannot be read is none.
    pub fn judge(&self, fields: &Fields) -> Precondition {
        let given = |name: &[u8]| fields.named(name).next().is_some();
        let holds = if given(b"if-match") {
            let mut tags = fields.named(b"if-match").flat_map(entity_tags);
            tags.any(|tag| self.is_strongly(tag))
        } else {
            let since = date(fields, b"if-unmodified-since");
            since.is_none_or(|since| self.modified <= since)
        };
        if !holds {
            return Precondition::Failed;
        }
        let has_it = if given(b"if-none-match") {
            let mut tags = fields.named(b"if-none-match").flat_map(entity_tags);
            tags.any(|tag| self.is_weakly(tag))
        } else {
            let since = date(fields, b"if-modified-since");
            since.is_some_and(|since| self.modified <= since)
        };
        match has_it {
            true => Precondition::NotModified,
            false => Precondition::Holds,
        }
    }

    /// Whether a range may be sent: the client has a part of this very state, or does not say what
    /// it has (`If-Range`, RFC 9110 section 13.1.5).
    pub fn may_continue(&self, fields: &Fields) -> bool {
        let Some(value) = fields.named(b"if-range").next() else {
            return true;
        };
        match value.ends_with(b"\"") {
            true => value == self.etag,
            false => seconds(value) == Some(self.modified),
        }
    }

    fn is_strongly(&self, tag: &[u8]) -> bool {
        tag == b"*" || tag == self.etag
    }

    fn is_weakly(&self, tag: &[u8]) -> bool {
        self.is_strongly(tag.strip_prefix(b"W/").unwrap_or(tag))
    }
}

/// The members of a list of entity tags, which may have commas within. What is no tag ends it.
fn entity_tags(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        while let Some(behind) = rest.strip_prefix(b",") {
            rest = behind.trim_ascii_start();
        }
        let opening = if rest.starts_with(b"W/\"") { 2 } else { 0 };
        let length = match rest.get(opening) {
            Some(b'*') => 1,
            Some(b'"') => {
                let closing = memchr::memchr(b'"', &rest[opening + 1..])?;
                opening + 1 + closing + 1
            }
            _ => return None,
        };
        let (tag, behind) = rest.split_at(length);
        rest = behind;
        Some(tag)
    })
}

fn date(fields: &Fields, name: &[u8]) -> Option<i64> {
    fields.named(name).next().and_then(seconds)
}

/// Seconds since 1970.
fn seconds(date: &[u8]) -> Option<i64> {
    let date = std::str::from_utf8(date).ok()?;
    let date = httpdate::parse_http_date(date).ok()?;
    let since = date.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_are_taken_apart_whatever_is_in_them() {
        let tags = |text: &'static str| -> Vec<String> {
            let tags = entity_tags(text.as_bytes());
            tags.map(|tag| String::from_utf8_lossy(tag).into_owned())
                .collect()
        };
        assert_eq!(tags("*"), ["*"]);
        assert_eq!(
            tags(", \"a,b\" ,W/\"c\",, \"\""),
            ["\"a,b\"", "W/\"c\"", "\"\""]
        );
        assert_eq!(tags("\"a\", b, \"c\""), ["\"a\""]);
        assert!(tags("\"a").is_empty());
        assert!(tags("W/a").is_empty());
        assert!(tags("").is_empty());
    }
}
