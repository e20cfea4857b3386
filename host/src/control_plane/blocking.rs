//! What can block: files, name servers, compilers, other processes. It runs here, on threads of its
//! own, so that the control plane's thread only ever waits for events.
//!
//! Each piece of work has a limit. A call to the kernel cannot be taken back: past the limit the
//! caller goes on, and the thread ends whenever it does; what it brings is dropped.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::operator::ChangeRefused;

/// Threads at once. More work waits, and is given up at its limit as any other.
pub(super) const THREADS: usize = 64;
/// For work on files of this machine: reading a configuration, certificates, opening logs.
pub(super) const FILES: Duration = Duration::from_secs(60);
/// For a snapshot: the policies of thousands of upstreams are configured, and tried.
pub(super) const SNAPSHOT: Duration = Duration::from_secs(300);
/// For what takes microseconds unless a disk is about to fail, and does not decide about anything.
pub(super) const BRIEF: Duration = Duration::from_secs(1);

/// Work that was not done in time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{what} took longer than {limit:?}, and was given up")]
pub(super) struct TookTooLong {
    what: &'static str,
    limit: Duration,
}

impl From<TookTooLong> for ChangeRefused {
    fn from(error: TookTooLong) -> ChangeRefused {
        ChangeRefused::Failed(error.to_string())
    }
}

/// Begins `work` on a thread of its own. The only way to one in the control plane.
pub(super) fn begin<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

/// Does `work` on a thread of its own.
///
/// # Errors
/// Where it is not done within `limit`.
pub(super) async fn run_blocking<T: Send + 'static>(
    what: &'static str,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, TookTooLong> {
    match tokio::time::timeout(limit, begin(work)).await {
        Ok(Ok(value)) => Ok(value),
        // The runtime that would cancel it is the one that we run on.
        Ok(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(TookTooLong { what, limit }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    #[test]
    fn work_that_never_ends_is_given_up_and_the_process_can_end() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let outcome = runtime.block_on(async {
            let limit = Duration::from_millis(20);
            run_blocking("waiting", limit, move || held.recv()).await
        });
        let error = outcome.unwrap_err().to_string();
        assert_eq!(error, "waiting took longer than 20ms, and was given up");
        runtime.shutdown_background();
        drop(release);
    }

    #[tokio::test]
    async fn what_is_done_in_time_comes_back() {
        let value = run_blocking("adding", BRIEF * 20, || 1 + 1).await;
        assert_eq!(value, Ok(2));
    }
}
