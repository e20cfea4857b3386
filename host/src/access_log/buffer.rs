//! A worker's lines on their way to the writer: kept until they are many or old.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::format::write_line;
use super::used::{Asking, UsedLog};
use super::writer::{LineBatch, Log, ToWriter};
use crate::config::model::AccessLog;
use crate::http::variable::VariableSource;

/// What a buffer has room for to begin with, at most.
const ROOM: usize = 32 << 10;
/// Room for the line that makes a buffer full.
const LAST_LINE: usize = 4 << 10;

/// One worker's unwritten lines, by log. What is left is handed over when it is dropped.
#[derive(Debug)]
pub struct LogBuffers {
    writer: ToWriter,
    /// Few: one for each log that had a line lately.
    buffers: Vec<Buffer>,
    asking: Asking,
}

#[derive(Debug)]
struct Buffer {
    log: Arc<Log>,
    bytes: Vec<u8>,
    lines: u64,
    /// When it is handed over however few lines it has.
    due: Instant,
}

impl LogBuffers {
    /// Of what has no logs.
    pub fn of_none() -> LogBuffers {
        LogBuffers::new(ToWriter::nowhere())
    }

    pub(super) fn new(writer: ToWriter) -> LogBuffers {
        LogBuffers {
            writer,
            buffers: Vec::new(),
            asking: Asking::default(),
        }
    }

    /// Adds the lines of an exchange, or a session, to those of some logs that have one.
    pub fn write(&mut self, logs: &[UsedLog], source: &dyn VariableSource, now: Instant) {
        self.asking.start();
        for log in logs {
            if log.has_line(source, &mut self.asking) {
                self.write_to(log, source, now);
            }
        }
    }

    fn write_to(&mut self, used: &UsedLog, source: &dyn VariableSource, now: Instant) {
        let UsedLog { log, config } = used;
        let buffer = match self
            .buffers
            .iter()
            .position(|buffer| Arc::ptr_eq(&buffer.log, log))
        {
            Some(at) => &mut self.buffers[at],
            None => self
                .buffers
                .push_mut(Buffer::new(Arc::clone(log), config, now)),
        };
        let mut line = LineGuard::new(&mut buffer.bytes);
        write_line(&config.format, source, line.bytes);
        line.is_whole = true;
        drop(line);
        buffer.lines += 1;
        buffer.due = buffer.due.min(after(config.flush, now));
        if buffer.bytes.len() >= config.buffer {
            let full = std::mem::replace(buffer, Buffer::new(Arc::clone(log), config, now));
            full.hand_over(&self.writer);
        }
    }

    /// Hands over lines that are due. To be called once a second at least; costs nothing when nothing
    /// is due.
    pub fn flush_if_due(&mut self, now: Instant) {
        // A quiet log's buffer goes altogether, and with it the hold on a log that a reload has
        // left behind.
        let due = |buffer: &mut Buffer| now >= buffer.due;
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

/// No later than a clock can tell.
fn after(time: Duration, now: Instant) -> Instant {
    now.checked_add(time).unwrap_or(now)
}

impl Buffer {
    fn new(log: Arc<Log>, config: &AccessLog, now: Instant) -> Buffer {
        Buffer {
            log,
            bytes: Vec::with_capacity(config.buffer.min(ROOM) + LAST_LINE),
            lines: 0,
            due: after(config.flush, now),
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
