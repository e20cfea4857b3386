//! Snapshots that are no longer served: freed on a thread that may take its time, once no exchange
//! holds them.
//!
//! A snapshot of thousands of upstreams, each with instances of its policies, takes many
//! milliseconds to free, which no worker and no signal is to wait for. Workers only count their
//! references down: the last one is held here.

use std::sync::Arc;
use std::time::Duration;

use super::blocking::{SNAPSHOT, run_blocking};

/// Until it is first looked at whether something still holds one, and the longest pause between two
/// looks. Nothing tells of the end of an exchange: workers would have to write something shared.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Frees a snapshot once nothing else holds it. Called on the control plane's thread.
pub(super) fn free_when_unused<T: Send + Sync + 'static>(snapshot: Arc<T>) {
    tokio::task::spawn_local(async move {
        let mut pause = FIRST_LOOK;
        // A count of one cannot rise again: nothing else is left that could be cloned.
        while Arc::strong_count(&snapshot) > 1 {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        let free = move || drop(snapshot);
        if let Err(late) = run_blocking("freeing a configuration", SNAPSHOT, free).await {
            tracing::error!("{late}");
        }
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, TryRecvError, channel};
    use std::thread::ThreadId;

    /// Tells which thread has freed it.
    struct Snapshot(Sender<ThreadId>);

    impl Drop for Snapshot {
        fn drop(&mut self) {
            self.0.send(std::thread::current().id()).unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_no_longer_held_is_freed_by_neither_its_last_holder_nor_this_thread() {
        let (freed, freed_by) = channel();
        let snapshot = Arc::new(Snapshot(freed));
        let last_holder = snapshot.clone();
        let rest = async {
            free_when_unused(snapshot);
            tokio::time::sleep(3 * FIRST_LOOK).await;
            assert_eq!(freed_by.try_recv(), Err(TryRecvError::Empty));
            drop(last_holder);
            let by = loop {
                match freed_by.try_recv() {
                    Ok(thread) => break thread,
                    Err(TryRecvError::Empty) => tokio::time::sleep(FIRST_LOOK).await,
                    Err(TryRecvError::Disconnected) => panic!("freed without a word"),
                }
            };
            assert_ne!(by, std::thread::current().id());
        };
        tokio::task::LocalSet::new().run_until(rest).await;
    }
}
