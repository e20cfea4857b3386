//! Makes room for clients that wait while there are as many connections as there may be, as nginx
//! does (`ngx_drain_connections`): a client that is idle costs another one its turn.
//!
//! First go those that were answered and are idle, the longest idle first: each worker's own, else
//! those of the worker that has most. Then those that have not said a whole request for a while.
//! Workers ask each other; nothing that others read is written for a request.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::data_plane::process::WorkerShare;
use crate::data_plane::upstream::DescriptorSource;
use crate::data_plane::worker::Worker;

/// How long a client may take to say a whole request while others wait for its connection.
const WHILE: Duration = Duration::from_secs(1);
/// Between two looks for room: closing takes a turn of an event loop, or several where the client's
/// protocol has a word for it.
const PAUSES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(4),
];
/// How long accepting pauses when nothing can make room.
const REST: Duration = Duration::from_millis(50);

/// Has a connection make room for one that waits, and gives it the time to go. Returns after a
/// moment even where none did.
pub(super) async fn make(worker: &Worker) {
    let process = &worker.process;
    if process.is_short_of_descriptors() {
        worker.make_room();
    }
    loop {
        if !worker.evict_idle_client() {
            break;
        }
        if has_come(worker).await {
            return;
        }
    }
    // What others have said may be a second old.
    for other in others(worker) {
        other.asked.notify_one();
    }
    if has_come(worker).await || worker.evict_idle_client() && has_come(worker).await {
        return;
    }
    let before = Instant::now().checked_sub(WHILE);
    if before.is_some_and(|before| worker.drain.evict_opening(before)) && has_come(worker).await {
        return;
    }
    for other in others(worker) {
        other.asked_of_opening.fetch_add(1, Relaxed);
        other.asked.notify_one();
        if has_come(worker).await {
            return;
        }
    }
    tokio::time::sleep(REST).await;
}

fn others(worker: &Worker) -> impl Iterator<Item = &WorkerShare> {
    let workers = worker.process.workers.iter().enumerate();
    let others = workers.filter(|(index, _)| *index != worker.index);
    others.map(|(_, other)| other)
}

/// Waits a little for room; whether there is.
async fn has_come(worker: &Worker) -> bool {
    for pause in PAUSES {
        match pause {
            Duration::ZERO => tokio::task::yield_now().await,
            pause => tokio::time::sleep(pause).await,
        }
        if worker.process.has_room() {
            return true;
        }
    }
    false
}

/// Makes room where other workers ask for it.
pub(super) async fn for_others(worker: Rc<Worker>) {
    let share = &worker.process.workers[worker.index];
    loop {
        share.asked.notified().await;
        for _ in 0..share.asked_of_idle.swap(0, Relaxed) {
            if !worker.drain.evict_idle() {
                break;
            }
        }
        if share.asked_of_opening.swap(0, Relaxed) > 0
            && let Some(before) = Instant::now().checked_sub(WHILE)
        {
            worker.drain.evict_opening(before);
        }
        worker.drain.publish_idle();
    }
}
