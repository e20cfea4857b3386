//! Access log lines: formatted by the worker into a reused buffer, written in batches by a thread
//! of their own.
//!
//! A worker never waits for a disk: what the thread cannot keep up with is dropped, counted and
//! reported.

mod format;
mod used; // which exchanges have a line
mod buffer;
mod log_file; // where they are written to
mod writer;

pub use self::buffer::LogBuffers;
pub use self::format::write_line;
pub use self::log_file::OpenError;
pub use self::used::UsedLog;
pub use self::writer::{AccessLogs, Log};

#[cfg(test)]
mod tests;
