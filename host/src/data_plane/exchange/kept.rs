//! What stays of an answer that was dropped: that of a server which has handed its request on.

const CONTENT_TYPE: &[u8] = b"content-type";
const SET_COOKIE: &[u8] = b"set-cookie";

/// What stays as lines of a head.
#[derive(Debug, Default)]
pub(super) struct Kept(Vec<u8>);

impl Kept {
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        let Kept(lines) = self;
        lines.extend_from_slice(name);
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value);
        lines.extend_from_slice(b"\r\n");
    }

    pub(super) fn push_lines(&mut self, lines: &[u8]) {
        self.0.extend_from_slice(lines);
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = self.0.split_inclusive(|byte| *byte == b'\n');
        lines.filter_map(|line| {
            let (name, value) = line.split_at(memchr::memchr(b':', line)?);
            Some((name, value[1..].trim_ascii()))
        })
    }

    /// The type of a file, which its name does not tell better.
    pub(super) fn content_type(&self) -> Option<&str> {
        let of_types = |(name, _): &(&[u8], &[u8])| name.eq_ignore_ascii_case(CONTENT_TYPE);
        let last = self.fields().filter(of_types).last();
        std::str::from_utf8(last?.1).ok()
    }

    /// The fields that the head of an answer gets: those that it has itself say it better, and an
    /// answer without a content of its own gets cookies alone.
    pub(super) fn fields_for(
        &self,
        status: u16,
        has: impl Fn(&[u8]) -> bool,
    ) -> impl Iterator<Item = (&[u8], &[u8])> {
        let is_meant = status < 300 || status == 304;
        self.fields().filter(move |(name, _)| {
            let is_content = !name.eq_ignore_ascii_case(CONTENT_TYPE) && is_meant && !has(name);
            name.eq_ignore_ascii_case(SET_COOKIE) || is_content
        })
    }
}
