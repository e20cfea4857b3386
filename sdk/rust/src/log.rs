//! Lines in the host's error log. In unit tests they go to stderr.

use crate::bindings::policy::waypost::plugin::log::Level;

/// Something the operator must look at.
pub fn error(message: &str) {
    write(Level::Error, message);
}

/// Something that works, but not as it should.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

/// Something worth knowing.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// For debugging.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

#[cfg(target_arch = "wasm32")]
fn write(level: Level, message: &str) {
    crate::bindings::policy::waypost::plugin::log::write(level, message);
}

#[cfg(not(target_arch = "wasm32"))]
fn write(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}
