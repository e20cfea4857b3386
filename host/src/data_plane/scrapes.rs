//! Routes that tell what is counted: asked of the control plane, since the text may be long.

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use crate::metrics::Format;

/// Requests for the text that may wait: it is made for one after the other.
const WAITING: usize = 16;

/// Where workers ask for the text.
#[derive(Debug)]
pub(crate) struct Scrapes(Sender<Scrape>);

/// A request for the text.
#[derive(Debug)]
pub(crate) struct Scrape {
    pub(crate) format: Format,
    pub(crate) answer: oneshot::Sender<String>,
}

impl Scrapes {
    /// And where the control plane hears of them.
    pub(crate) fn new() -> (Scrapes, Receiver<Scrape>) {
        let (asked, heard) = channel(WAITING);
        (Scrapes(asked), heard)
    }

    /// Asks for the text; none where too many wait for it already.
    pub(crate) fn ask(&self, format: Format) -> Option<oneshot::Receiver<String>> {
        let (answer, awaited) = oneshot::channel();
        match self.0.try_send(Scrape { format, answer }) {
            // Without a receiver the answer never comes, and the request says so.
            Ok(()) | Err(TrySendError::Closed(_)) => Some(awaited),
            Err(TrySendError::Full(_)) => None,
        }
    }
}
