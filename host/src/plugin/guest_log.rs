//! What plugins have to say: lines for the error log, bounded in length and number.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Level;

/// Bytes of a line; the rest is cut off.
const LINE: usize = 1024;
/// Lines of one instance in one second; the rest is counted and dropped.
const LINES_PER_SECOND: u32 = 100;

/// One instance's way to the log.
pub(super) struct GuestLog {
    plugin: Arc<str>,
    since: Instant,
    lines: u32,
}

impl GuestLog {
    pub(super) fn new(plugin: Arc<str>) -> GuestLog {
        GuestLog {
            plugin,
            since: Instant::now(),
            lines: 0,
        }
    }

    /// Writes one line. Control characters are replaced: a plugin must not forge lines of the host.
    pub(super) fn write(&mut self, level: Level, message: &str) {
        if self.since.elapsed() >= Duration::from_secs(1) {
            let dropped = self.lines.saturating_sub(LINES_PER_SECOND);
            (self.since, self.lines) = (Instant::now(), 0);
            if dropped > 0 {
                tracing::warn!(
                    plugin = &*self.plugin,
                    "{dropped} lines of the plugin were dropped"
                );
            }
        }
        self.lines = self.lines.saturating_add(1);
        if self.lines > LINES_PER_SECOND {
            return;
        }
        let message = &message[..message.floor_char_boundary(LINE)];
        let message = message.replace(|c: char| c.is_control(), " ");
        let plugin = &*self.plugin;
        match level {
            Level::ERROR => tracing::error!(plugin, "{message}"),
            Level::WARN => tracing::warn!(plugin, "{message}"),
            Level::INFO => tracing::info!(plugin, "{message}"),
            _ => tracing::debug!(plugin, "{message}"),
        }
    }
}

/// Puts a plugin's standard output together to lines.
#[derive(Default)]
pub(super) struct LineBuffer {
    line: Vec<u8>,
}

impl LineBuffer {
    /// Takes bytes as they come, and logs every line that they complete.
    pub(super) fn write(&mut self, log: &mut GuestLog, level: Level, mut bytes: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.keep(&bytes[..end]);
            self.flush(log, level);
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    /// Logs what there is of an unfinished line: the last words of a plugin that trapped.
    pub(super) fn flush(&mut self, log: &mut GuestLog, level: Level) {
        if !self.line.is_empty() {
            log.write(level, &String::from_utf8_lossy(&self.line));
            self.line.clear();
        }
    }

    /// One byte more than is logged, so that the end of a character that was cut is cut again, not
    /// replaced.
    fn keep(&mut self, bytes: &[u8]) {
        let room = (LINE + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}
