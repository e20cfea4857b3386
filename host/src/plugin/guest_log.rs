//! What plugins have to say: lines for the error log, bounded in length and number.

use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Level;
use tracing::level_filters::LevelFilter;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, WasmStr};
use wasmtime::{Result, StoreContextMut};

use super::host_state::HostState;
use super::imports::at_hand;
use super::untrusted::{MESSAGE, Untrusted};

/// Bytes of an unfinished line that are kept: more than is logged, so that the log tells that a
/// line was cut.
const LINE: usize = MESSAGE + 4;
/// Lines of one instance in one second; the rest is counted and dropped.
const LINES_PER_SECOND: u32 = 100;

/// One instance's way to the log.
pub(super) struct GuestLog {
    plugin: Arc<str>,
    since: Instant,
    lines: u32,
    /// Another instance has the same to say, and says it.
    pub(super) is_quiet: bool,
}

impl GuestLog {
    pub(super) fn new(plugin: Arc<str>) -> GuestLog {
        GuestLog {
            plugin,
            since: Instant::now(),
            lines: 0,
            is_quiet: false,
        }
    }

    /// Writes what the plugin says, as one line, with what the host says of the exchange behind it.
    pub(super) fn write(&mut self, level: Level, message: impl Display, context: &str) {
        if self.is_quiet {
            return;
        }
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
        let message = Untrusted::message(message);
        let plugin = &*self.plugin;
        match level {
            Level::ERROR => tracing::error!(plugin, "{message}{context}"),
            Level::WARN => tracing::warn!(plugin, "{message}{context}"),
            Level::INFO => tracing::info!(plugin, "{message}{context}"),
            _ => tracing::debug!(plugin, "{message}{context}"),
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
            log.write(level, String::from_utf8_lossy(&self.line), "");
            self.line.clear();
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// `log.level` in the WIT.
#[derive(Clone, Copy, ComponentType, Lift)]
#[allow(
    dead_code,
    reason = "the engine makes these, from what the plugin passes"
)]
#[component(enum)]
#[repr(u8)]
enum LogLevel {
    #[component(name = "error")]
    Error,
    #[component(name = "warn")]
    Warn,
    #[component(name = "info")]
    Info,
    #[component(name = "debug")]
    Debug,
}

/// Adds the functions of the interface `log`.
pub(super) fn add_to(log: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    log.func_wrap(
        "write",
        |mut host: StoreContextMut<'_, HostState>, (level, message): (LogLevel, WasmStr)| {
            // The message lies in the plugin's memory, which is borrowed with the state: what is
            // shown of it is copied first.
            let message = Untrusted::message(message.to_str(&host)?);
            host.data_mut().log.write(level.into(), message, "");
            Ok(())
        },
    )?;
    log.func_wrap(
        "write-exchange",
        |mut host: StoreContextMut<'_, HostState>, (level, message): (LogLevel, WasmStr)| {
            let level = Level::from(level);
            // Most often nothing is shown of what is said at lower levels.
            if level > LevelFilter::current() {
                return Ok(());
            }
            let message = Untrusted::message(message.to_str(&host)?);
            let context = at_hand(|exchange| exchange.log_context());
            host.data_mut().log.write(level, message, &context);
            Ok(())
        },
    )
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Level {
        match level {
            LogLevel::Error => Level::ERROR,
            LogLevel::Warn => Level::WARN,
            LogLevel::Info => Level::INFO,
            LogLevel::Debug => Level::DEBUG,
        }
    }
}
