//! Bytes that come in pieces, taken out line by line. Each byte is looked at once, whatever the
//! pieces are.

/// What has come and was not taken yet.
#[derive(Debug, Default)]
pub(super) struct LineBuffer {
    bytes: Vec<u8>,
    /// Before it, all was taken.
    start: usize,
    /// Between `start` and it, no line ends.
    searched: usize,
}

impl LineBuffer {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        // What was taken leaves once it is the larger part, so that each byte is moved once at most.
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next line without its end, if there is all of one.
    pub(super) fn take(&mut self) -> Option<&[u8]> {
        let rest = self.bytes.get(self.searched..).unwrap_or_default();
        let Some(end) = memchr::memchr(b'\n', rest) else {
            self.searched = self.bytes.len();
            return None;
        };
        let line = self.start..self.searched + end;
        self.start = line.end + 1;
        self.searched = self.start;
        self.bytes.get(line)
    }

    /// Bytes of a line that has not come to its end, once [`take`](Self::take) has found no more.
    pub(super) fn unfinished(&self) -> usize {
        self.bytes.len() - self.start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_were_cut() {
        for size in [1, 2, 3, 100] {
            let mut buffer = LineBuffer::default();
            let mut lines = Vec::new();
            for piece in b"one\n\ntwo\r\nthree\nfo".chunks(size) {
                buffer.add(piece);
                while let Some(line) = buffer.take() {
                    lines.push(String::from_utf8_lossy(line).into_owned());
                }
            }
            assert_eq!(lines, ["one", "", "two\r", "three"], "pieces of {size}");
            assert_eq!(buffer.unfinished(), 2);
        }
    }

    #[test]
    fn what_has_no_line_end_is_looked_at_once() {
        let mut buffer = LineBuffer::default();
        for _ in 0..100 {
            let before = buffer.searched;
            buffer.add(&[b'x'; 1000]);
            assert_eq!(buffer.searched, before);
            assert_eq!(buffer.take(), None);
            assert_eq!(buffer.searched, buffer.bytes.len());
        }
        assert_eq!(buffer.unfinished(), 100_000);
        buffer.add(b"\n");
        assert_eq!(buffer.take().map(<[u8]>::len), Some(100_000));
    }

    #[test]
    fn what_was_taken_is_not_kept() {
        let mut buffer = LineBuffer::default();
        for _ in 0..1000 {
            buffer.add(&[b"x".repeat(99), b"\n".to_vec()].concat());
            assert_eq!(buffer.take().map(<[u8]>::len), Some(99));
            assert!(buffer.bytes.len() <= 200, "{}", buffer.bytes.len());
        }
    }
}
