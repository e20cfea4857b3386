//! The task of one source: reads its list, tells of it, waits until it is to be read again. Beside
//! that, it keeps what is served on the disk.

use std::time::Instant;

use tokio::sync::{Notify, watch};
use tokio::time::sleep_until;

use super::client::Client;
use super::kept::Kept;
use super::known::{Change, Known};
use super::reader::{Again, reader};
use super::shared::{Shared, Wanted};
use crate::names::Names;

/// What the task of a source is told.
#[derive(Default)]
pub(super) struct Told {
    /// Its list may be another one.
    pub(super) changed: Notify,
    /// Another list of it may be served.
    pub(super) served: Notify,
}

/// Reads a list again and again, and keeps it once it is served. `answered`: set once there was an
/// answer, or none could be had.
pub(super) async fn follow(
    shared: &Shared,
    names: &Names,
    wanted: &Wanted,
    told: &Told,
    answered: &watch::Sender<bool>,
) {
    let upstream = &*wanted.0;
    let Some(source) = &upstream.source else {
        return;
    };
    let mut kept = Kept::of(source.keep.as_ref());
    let before = shared.before(wanted);
    let (before, was_kept) = match before {
        Some(list) => (Some(list), false),
        None => (kept.read(upstream).await, true),
    };
    let mut known = Known::before(before, was_kept);
    let client = Client::new(source, upstream.resolver.clone(), names.clone());
    let mut reader = reader(source, client);
    shared.note(wanted, &known);
    if known.list.is_some() {
        shared.changed.notify_one();
        answered.send_replace(true);
    }
    let reading = async {
        loop {
            let again = match reader.next().await {
                Ok(answer) => {
                    let change = known.answered(answer.items, upstream, Instant::now());
                    match change {
                        Change::Refused => reader.refuse(),
                        Change::List | Change::None => {}
                    }
                    shared.note(wanted, &known);
                    if change == Change::List {
                        shared.changed.notify_one();
                    }
                    if change != Change::Refused {
                        told.served.notify_one();
                    }
                    answer.again
                }
                Err(why) => {
                    known.failed(why, upstream);
                    Again::After(known.wait(fastrand::f64()))
                }
            };
            known.state.next = match again {
                Again::After(wait) => Some(Instant::now() + wait),
                Again::Now | Again::WhenTold => None,
            };
            shared.note(wanted, &known);
            answered.send_replace(true);
            match (again, known.state.next) {
                (Again::WhenTold, _) => told.changed.notified().await,
                (_, Some(next)) => tokio::select! {
                    () = sleep_until(next.into()) => {}
                    () = told.changed.notified() => {}
                },
                _ => {}
            }
            known.state.next = None;
            shared.note(wanted, &known);
        }
    };
    let keeping = async {
        loop {
            told.served.notified().await;
            if let Some(list) = shared.to_keep(wanted) {
                kept.write(&list, upstream).await;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = keeping => {}
    }
}
