//! Work on files, each on a thread of its own: a disk that hangs holds up the source that needs it,
//! and no other.

use std::io;

use tokio::sync::oneshot;

/// Does `work` on a thread. Bounded by the kernel alone: nothing else of a source could go on
/// without it.
///
/// # Errors
/// There is no thread to be had.
pub(super) async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, outcome) = oneshot::channel();
    let thread = std::thread::Builder::new().name("source-file".to_owned());
    thread.spawn(move || {
        // Nobody waits for it any more where the source is gone.
        let _ = done.send(work());
    })?;
    let given_up = |_| io::Error::other("given up after an internal error");
    outcome.await.map_err(given_up)
}
