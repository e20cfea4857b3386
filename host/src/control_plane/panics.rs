//! Panics, told as everything else is: in the error log, and by a counter in `/status`.
//!
//! A panic of one exchange ends that exchange, and one of a worker's own tasks ends the worker,
//! which is replaced; neither may pass unnoticed. Of the control plane's parts, each goes on
//! without what it was doing ([`caught`]); its main loop alone ends the process, with a failure.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Has panics of all threads counted and written to the error log, in place of Rust's own words on
/// the standard error, which may be nowhere.
pub(super) fn heed() {
    std::panic::set_hook(Box::new(|panic| {
        PANICS.fetch_add(1, Relaxed);
        tracing::error!("{}", described(panic));
    }));
}

/// How many there were.
pub(super) fn count() -> u64 {
    PANICS.load(Relaxed)
}

/// Work that ended in a panic, which the log has told of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Panicked;

/// Waits for work that may panic. Who calls it answers for what the work leaves half done.
///
/// # Errors
/// Where it has panicked.
pub(super) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = pin!(work);
    #[allow(clippy::disallowed_methods, reason = "the work bounds its waits")]
    poll_fn(
        |cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        },
    )
    .await
}

fn described(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let payload = panic.payload_as_str().unwrap_or("no reason was given");
    let place = panic.location().map_or_else(
        || "an unknown place".to_owned(),
        |location| format!("{}:{}", location.file(), location.line()),
    );
    let mut line = format!(
        "internal error: thread {thread} panicked at {place}: {}",
        payload.escape_debug(),
    );
    // With `RUST_BACKTRACE=1`.
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        line.push_str(&format!("\n{backtrace}"));
    }
    line
}
