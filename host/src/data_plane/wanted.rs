//! Upstreams that requests have named and that are not there yet: asked of the control plane, which
//! makes them for all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::config::model::{DynamicName, DynamicProxy};

/// Requests of the process that may wait for an upstream. Those for names that patterns allow leave
/// half of it to names that are listed by themselves.
const WAITING: usize = 4096;

/// Where workers ask for upstreams.
#[derive(Debug)]
pub(crate) struct WantedUpstreams {
    asked: UnboundedSender<Wanted>,
    waiting: Arc<AtomicUsize>,
}

/// A request for an upstream.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) proxy: Arc<DynamicProxy>,
    pub(crate) name: DynamicName,
    /// Its name is the only one that its entry in `proxy_allow` allows.
    pub(crate) is_listed: bool,
    /// `Ok` once every worker has it.
    pub(crate) answer: oneshot::Sender<Result<(), NotMade>>,
}

/// Why there is no upstream of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotMade {
    /// There is no address of it.
    NotResolved(Box<str>),
    /// It stands for this address, and for no other one that may be dialed.
    AddressNotAllowed(Box<str>),
    /// It is not made now.
    Refused(&'static str),
}

/// An answer that is waited for. Counts as waiting until it is dropped.
pub(crate) struct Awaited {
    pub(crate) answer: oneshot::Receiver<Result<(), NotMade>>,
    waiting: Arc<AtomicUsize>,
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Relaxed);
    }
}

impl WantedUpstreams {
    /// And where the control plane hears of them.
    pub(crate) fn new() -> (WantedUpstreams, UnboundedReceiver<Wanted>) {
        let (asked, heard) = unbounded_channel();
        let wanted = WantedUpstreams {
            asked,
            waiting: Arc::default(),
        };
        (wanted, heard)
    }

    /// Asks for an upstream. The channel is bounded by the number of those that wait.
    ///
    /// # Errors
    /// Too many requests wait already.
    pub(crate) fn ask(
        &self,
        proxy: &Arc<DynamicProxy>,
        name: &DynamicName,
        is_listed: bool,
    ) -> Result<Awaited, NotMade> {
        let waiting = self.waiting.clone();
        let (answer, awaited) = oneshot::channel();
        let one_more = waiting.fetch_add(1, Relaxed);
        let awaited = Awaited {
            answer: awaited,
            waiting,
        };
        let most = if is_listed { WAITING } else { WAITING / 2 };
        if one_more >= most {
            return Err(NotMade::Refused("too many requests wait for one"));
        }
        // Without a receiver the answer never comes, and the request says so.
        let _ = self.asked.send(Wanted {
            proxy: proxy.clone(),
            name: name.clone(),
            is_listed,
            answer,
        });
        Ok(awaited)
    }
}

/// Of which nobody hears, for tests.
#[cfg(test)]
pub(crate) fn tests_wanted() -> WantedUpstreams {
    WantedUpstreams::new().0
}
