//! A sign that an answer may be out of date, from whoever has met an address that does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::mpsc::UnboundedSender;

use crate::config::model::ServerName;

/// The doubts about one name. Raised by workers, on which no lock is taken for it.
pub(crate) struct Doubt {
    pub(super) name: ServerName,
    /// Raised, and not seen yet: so there is one message at most on its way for each name.
    raised: AtomicBool,
    raise: UnboundedSender<Arc<Doubt>>,
}

impl Doubt {
    pub(super) fn about(name: ServerName, raise: UnboundedSender<Arc<Doubt>>) -> Arc<Doubt> {
        Arc::new(Doubt {
            name,
            raised: AtomicBool::new(false),
            raise,
        })
    }

    /// Has the name asked for again, soon.
    pub(crate) fn raise(self: &Arc<Doubt>) {
        if !self.raised.swap(true, Relaxed) {
            // Nobody is there to hear it when the process ends.
            let _ = self.raise.send(self.clone());
        }
    }

    pub(super) fn seen(&self) {
        self.raised.store(false, Relaxed);
    }
}

impl std::fmt::Debug for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Doubt({})", self.name)
    }
}
