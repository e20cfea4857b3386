//! Access log lines: formatted by the worker into a reused buffer, written in batches by a thread
//! of their own.
//!
//! A worker never waits for a disk: what the thread cannot keep up with is dropped, counted and
//! reported.

mod format;
mod used; // which exchanges have a line
mod buffer;
mod writer;

pub use self::buffer::LogBuffers;
pub use self::format::write_line;
pub use self::used::UsedLog;
pub use self::writer::{AccessLogs, Log, OpenError};

#[cfg(test)]
mod tests;
