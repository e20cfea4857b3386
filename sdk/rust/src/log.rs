//! Lines in the host's error log, cut at 1,024 bytes. Each instance writes 100 of them a second at
//! most; further ones are dropped, and the log tells how many.

use crate::host::log;

pub use crate::bindings::imported::log::Level;

/// Something the operator must look at.
pub fn error(message: &str) {
    log::write(Level::Error, message);
}

/// Something that works, but not as it should.
pub fn warn(message: &str) {
    log::write(Level::Warn, message);
}

/// Something worth knowing.
pub fn info(message: &str) {
    log::write(Level::Info, message);
}

/// For debugging.
pub fn debug(message: &str) {
    log::write(Level::Debug, message);
}

/// A line about the exchange at hand: what the host tells of it (its client, its request) is added.
pub fn exchange(level: Level, message: &str) {
    log::write_exchange(level, message);
}
