//! The fields of a head: the bytes that were received, and a table of where each field stands in
//! them.

use super::field_name::{FieldName, SINGLETONS, is_plain};
use super::{BadHead, HeadPart};

/// A part of a head's bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) len: u32,
}

impl Span {
    pub(super) fn of(bytes: &[u8], part: &[u8]) -> Span {
        let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
        Span {
            start: start as u32,
            len: part.len() as u32,
        }
    }

    pub(super) fn in_bytes(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..(self.start + self.len) as usize]
    }
}

/// One header field, borrowed from its head.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    pub name: &'a [u8],
    /// Without the blanks around it.
    pub value: &'a [u8],
    pub known: FieldName,
    /// The name has letters, digits and dashes only: no reader takes it for another.
    pub plain: bool,
    /// It was not received but set here, by a change: it is believed, and no word of the peer's
    /// about its connection ends it.
    pub ours: bool,
    /// The head's bytes from the name on.
    from_name: &'a [u8],
}

impl Field<'_> {
    /// Appends it as a line of its own.
    pub fn append_line(&self, out: &mut Vec<u8>) {
        match self.line() {
            Some(line) => out.extend_from_slice(line),
            None => append_line(self.name, self.value, out),
        }
    }

    /// The line that it was received as, where that is one that would be written here: one blank in
    /// front of its value, and none behind.
    fn line(&self) -> Option<&[u8]> {
        let start = self.name.len() + 2;
        let end = start + self.value.len();
        let line = self.from_name.get(..end + 2)?;
        let is_it = std::ptr::eq(self.value.as_ptr(), &raw const line[start])
            && line[self.name.len()..].starts_with(b": ")
            && line.ends_with(b"\r\n");
        is_it.then_some(line)
    }
}

/// Appends a field as a line.
pub fn append_line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[derive(Debug, Clone, Copy)]
pub(super) struct FieldSpan {
    pub(super) name: Span,
    pub(super) value: Span,
    pub(super) known: FieldName,
    plain: bool,
    pub(super) ours: bool,
}

/// Header fields in the order received.
#[derive(Debug, Default)]
pub struct Fields {
    pub(super) bytes: Vec<u8>,
    pub(super) index: Index,
}

/// Where each field stands. Its spans are of bytes that are there: it is emptied with them.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) table: Vec<FieldSpan>,
    /// The known names in the table, by [`FieldName::bit`], and those that are there more than
    /// once.
    present: u32,
    repeated: u32,
    /// Some name is not plain.
    folding: bool,
    /// None where nothing was changed: most heads stay as they are, and each connection holds one.
    pub(super) changed: Option<Box<ChangedIndex>>,
}

/// What changes have done to a head.
#[derive(Debug, Default)]
pub(super) struct ChangedIndex {
    /// What they count, see [`RequestHead::room`](super::RequestHead::room).
    pub(super) grown: u32,
    /// Names that were set or removed.
    pub(super) decided: Vec<Span>,
    /// The value of `Host` before it was changed, empty where there was none.
    pub(super) received_host: Option<Span>,
}

impl Index {
    pub(super) fn clear(&mut self) {
        self.table.clear();
        (self.present, self.repeated, self.folding) = (0, 0, false);
        self.changed = None;
    }

    /// Finds out anew which names there are, once some have gone.
    pub(super) fn count_again(&mut self) {
        (self.present, self.repeated, self.folding) = (0, 0, false);
        for field in &self.table {
            self.repeated |= self.present & field.known.bit();
            self.present |= field.known.bit();
            self.folding |= !field.plain;
        }
    }

    /// Notes a field of `bytes`.
    fn push(&mut self, bytes: &[u8], name: Span, value: Span) {
        let text = name.in_bytes(bytes);
        let known = FieldName::of(text);
        let plain = known != FieldName::Other || is_plain(text);
        self.repeated |= self.present & known.bit();
        self.present |= known.bit();
        self.folding |= !plain;
        self.table.push(FieldSpan {
            name,
            value,
            known,
            plain,
            ours: false,
        });
    }

    /// Notes what httparse found in `bytes`, and nothing else.
    pub(super) fn note(
        &mut self,
        bytes: &[u8],
        headers: &[httparse::Header<'_>],
    ) -> Result<(), BadHead> {
        self.clear();
        for header in headers {
            let name = header.name.as_bytes();
            if name.is_empty() {
                return Err(BadHead::Malformed(HeadPart::FieldName));
            }
            // A value without bytes points nowhere in particular.
            let value = header.value.trim_ascii();
            let value = if value.is_empty() {
                Span::default()
            } else {
                Span::of(bytes, value)
            };
            self.push(bytes, Span::of(bytes, name), value);
        }
        Ok(())
    }
}

impl Fields {
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.index.table.iter().map(|field| Field {
            name: field.name.in_bytes(&self.bytes),
            value: field.value.in_bytes(&self.bytes),
            known: field.known,
            plain: field.plain,
            ours: field.ours,
            from_name: &self.bytes[field.name.start as usize..],
        })
    }

    /// All values of a known field.
    pub fn known(&self, known: FieldName) -> impl Iterator<Item = &[u8]> {
        let spans = self.spans(known);
        spans.map(|field| field.value.in_bytes(&self.bytes))
    }

    /// Those of them that are believed: ours, and all of them if the peer is trusted.
    pub fn believed(&self, known: FieldName, trusted: bool) -> impl Iterator<Item = &[u8]> {
        let spans = self.spans(known);
        spans
            .filter(move |field| trusted || field.ours)
            .map(|field| field.value.in_bytes(&self.bytes))
    }

    fn spans(&self, known: FieldName) -> impl Iterator<Item = &FieldSpan> {
        // Most of what is asked for is not there.
        let table = match self.index.present & known.bit() {
            0 => &[],
            _ => self.index.table.as_slice(),
        };
        table.iter().filter(move |field| field.known == known)
    }

    /// All values of a field by name, in any case.
    pub fn named(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        self.iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    /// As [`Fields::named`], for the name in a variable, in which `_` stands for `-` and for itself
    /// (`ngx_http_variable_unknown_header`): `$http_api_key` is `Api-Key` and `api_key`. A field
    /// that the proxy knows has one spelling.
    pub fn of_variable(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        let folds = FieldName::of(name) == FieldName::Other;
        let dash = |byte: &u8| if *byte == b'_' { b'-' } else { *byte };
        let alike = move |other: &[u8]| {
            let mut pairs = other.iter().zip(name);
            other.len() == name.len()
                && pairs.all(|(one, other)| dash(one).eq_ignore_ascii_case(&dash(other)))
        };
        self.iter()
            .filter(move |field| {
                field.name.eq_ignore_ascii_case(name) || folds && !field.plain && alike(field.name)
            })
            .map(|field| field.value)
    }

    /// Whether a comma-separated field lists a token, in any case (RFC 9110 section 5.6.1).
    pub fn lists(&self, known: FieldName, token: &[u8]) -> bool {
        self.known(known)
            .any(|value| list_members(value).any(|member| member.eq_ignore_ascii_case(token)))
    }

    /// A field that is there more than once though a request has one at most.
    pub fn repeated_singleton(&self) -> Option<FieldName> {
        match self.index.repeated {
            0 => None,
            repeated => SINGLETONS
                .into_iter()
                .find(|known| repeated & known.bit() != 0),
        }
    }

    /// Drops the fields whose names have an underscore; how many they were.
    pub(super) fn drop_underscored(&mut self) -> usize {
        let Fields { bytes, index } = self;
        if !index.folding {
            return 0;
        }
        let before = index.table.len();
        index
            .table
            .retain(|field| field.plain || !field.name.in_bytes(bytes).contains(&b'_'));
        before - index.table.len()
    }

    /// Makes a part of the bytes the one value of `Host`.
    pub(super) fn set_host(&mut self, value: Span) {
        let mut hosts = self.index.table.iter_mut();
        match hosts.find(|field| field.known == FieldName::Host) {
            Some(host) => host.value = value,
            None => {
                let name = append(&mut self.bytes, b"Host");
                self.index.push(&self.bytes, name, value);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.index.clear();
    }

    /// Appends a field, as a line of text. Its value is one: a
    /// [`HeaderValue`](http::HeaderValue)'s, or checked before.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        let name = append(&mut self.bytes, name);
        self.bytes.extend_from_slice(b": ");
        let value = append(&mut self.bytes, value.trim_ascii());
        self.bytes.extend_from_slice(b"\r\n");
        self.index.push(&self.bytes, name, value);
    }
}

pub(super) fn append(bytes: &mut Vec<u8>, part: &[u8]) -> Span {
    let start = bytes.len() as u32;
    bytes.extend_from_slice(part);
    Span {
        start,
        len: part.len() as u32,
    }
}

/// The members of a comma-separated field value, without blanks, empty ones left out.
pub fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}
