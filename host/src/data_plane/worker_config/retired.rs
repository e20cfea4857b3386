//! Upstreams of configurations that have ended, on their way out: freed one by one.
//!
//! The last exchange of a configuration ends it, and with it thousands of upstreams, each with
//! connections and an instance of its policy. Freeing them all takes longer than other requests may
//! wait.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::Notify;

use super::pace::Pace;
use crate::data_plane::upstream::WorkerUpstream;

/// What is to be freed, of one worker.
#[derive(Default)]
pub(crate) struct RetiredUpstreams {
    upstreams: RefCell<Vec<Rc<WorkerUpstream>>>,
    more: Notify,
}

impl RetiredUpstreams {
    /// Takes what a configuration held. Frees nothing yet.
    pub(super) fn add(&self, mut upstreams: Vec<Rc<WorkerUpstream>>) {
        self.upstreams.borrow_mut().append(&mut upstreams);
        self.more.notify_one();
    }

    /// Frees what was added and what will be, for as long as the worker lives.
    pub(crate) async fn free(&self) {
        let mut pace = Pace::default();
        loop {
            self.more.notified().await;
            while let Some(upstream) = self.next() {
                match Rc::into_inner(upstream) {
                    Some(last) => {
                        drop(last);
                        pace.large_step().await;
                    }
                    None => pace.small_step().await,
                }
            }
        }
    }

    fn next(&self) -> Option<Rc<WorkerUpstream>> {
        self.upstreams.borrow_mut().pop()
    }
}
