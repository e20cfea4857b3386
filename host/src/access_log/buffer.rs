//! A worker's lines on their way to the writer: kept until they are many or old.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::format::write_line;
use super::writer::{LineBatch, Log, ToWriter};
use crate::config::model::LogFormat;
use crate::http::variable::VariableSource;

/// Bytes at which lines are handed over. A buffer may be longer by one line.
const FULL: usize = 32 << 10;
/// Room for the line that makes a buffer full.
const LAST_LINE: usize = 4 << 10;
/// Age at which lines are handed over however few they are.
const MAX_AGE: Duration = Duration::from_secs(1);

/// One worker's unwritten lines, by log. What is left is handed over when it is dropped.
#[derive(Debug)]
pub struct LogBuffers {
    writer: ToWriter,
    /// Few: one for each log that had a line lately.
    buffers: Vec<Buffer>,
}

#[derive(Debug)]
struct Buffer {
    log: Arc<Log>,
    bytes: Vec<u8>,
    lines: u64,
    /// When it was last empty.
    since: Instant,
}

impl LogBuffers {
    pub(super) fn new(writer: ToWriter) -> LogBuffers {
        LogBuffers {
            writer,
            buffers: Vec::new(),
        }
    }

    /// Adds the line of an exchange.
    pub fn write(
        &mut self,
        log: &Arc<Log>,
        format: &LogFormat,
        source: &dyn VariableSource,
        now: Instant,
    ) {
        let buffer = match self
            .buffers
            .iter()
            .position(|buffer| Arc::ptr_eq(&buffer.log, log))
        {
            Some(at) => &mut self.buffers[at],
            None => self.buffers.push_mut(Buffer::new(Arc::clone(log), now)),
        };
        let mut line = LineGuard::new(&mut buffer.bytes);
        write_line(format, source, line.bytes);
        line.is_whole = true;
        drop(line);
        buffer.lines += 1;
        if buffer.bytes.len() >= FULL {
            let full = std::mem::replace(buffer, Buffer::new(Arc::clone(log), now));
            full.hand_over(&self.writer);
        }
    }

    /// Hands over lines older than one second. To be called at least that often; costs nothing when
    /// nothing is due.
    pub fn flush_if_due(&mut self, now: Instant) {
        // A quiet log's buffer goes altogether, and with it the hold on a log that a reload has
        // left behind.
        let due = |buffer: &mut Buffer| now.saturating_duration_since(buffer.since) >= MAX_AGE;
        for buffer in self.buffers.extract_if(.., due) {
            buffer.hand_over(&self.writer);
        }
    }

    /// Hands over everything.
    pub fn flush(&mut self) {
        for buffer in self.buffers.drain(..) {
            buffer.hand_over(&self.writer);
        }
    }
}

/// A line that is being written: one that a panic cuts short is taken back, so that the next one
/// does not stand behind half of it.
struct LineGuard<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
    is_whole: bool,
}

impl LineGuard<'_> {
    fn new(bytes: &mut Vec<u8>) -> LineGuard<'_> {
        LineGuard {
            start: bytes.len(),
            bytes,
            is_whole: false,
        }
    }
}

impl Drop for LineGuard<'_> {
    fn drop(&mut self) {
        if !self.is_whole {
            self.bytes.truncate(self.start);
        }
    }
}

impl Drop for LogBuffers {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Buffer {
    fn new(log: Arc<Log>, now: Instant) -> Buffer {
        Buffer {
            log,
            bytes: Vec::with_capacity(FULL + LAST_LINE),
            lines: 0,
            since: now,
        }
    }

    fn hand_over(self, writer: &ToWriter) {
        if self.lines > 0 {
            writer.send(LineBatch {
                log: self.log,
                bytes: self.bytes,
                count: self.lines,
            });
        }
    }
}
