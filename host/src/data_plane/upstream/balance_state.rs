//! Where an exchange stands in its upstream: what was tried, what its policy remembers. Lives
//! through the retries.

use std::cell::{Cell, Ref, RefCell};
use std::sync::Arc;

use super::endpoint::Seconds;
use super::endpoint_set::{EndpointSet, IndexSet};

/// The balancing state of one exchange.
#[derive(Default)]
pub(crate) struct BalanceState {
    fleet: RefCell<Option<Arc<EndpointSet>>>,
    in_backup: Cell<bool>,
    tried: RefCell<IndexSet>,
    now: Cell<Seconds>,
    pub(crate) memo: Cell<u64>,
    /// Header lines, each with its CRLF, that the policy adds to the response of the attempt at
    /// hand.
    response_headers: RefCell<Vec<u8>>,
}

impl BalanceState {
    pub(super) fn has_begun(&self) -> bool {
        self.fleet.borrow().is_some()
    }

    pub(super) fn in_backup(&self) -> bool {
        self.in_backup.get()
    }

    pub(super) fn tried(&self) -> Ref<'_, IndexSet> {
        self.tried.borrow()
    }

    /// Starts over with another fleet: its endpoints are all untried.
    pub(super) fn begin(&self, fleet: Arc<EndpointSet>, backup: bool) {
        *self.fleet.borrow_mut() = Some(fleet);
        self.in_backup.set(backup);
        self.tried.borrow_mut().clear();
        self.memo.set(0);
    }

    pub(super) fn mark_tried(&self, index: u32) {
        self.tried.borrow_mut().insert(index);
    }

    /// The second in which candidates are judged; the same during one pick.
    pub(super) fn at(&self, now: Seconds) {
        self.now.set(now);
    }

    /// See `fleet.candidates` in the WIT.
    pub(crate) fn candidates(&self, word: u32) -> u64 {
        let fleet = self.fleet.borrow();
        fleet.as_ref().map_or(0, |fleet| {
            fleet.candidates(word, &self.tried.borrow(), self.now.get())
        })
    }

    pub(crate) fn forget_response_headers(&self) {
        self.response_headers.borrow_mut().clear();
    }

    /// Adds a header line; the caller has checked that HTTP allows it.
    pub(crate) fn add_response_header(&self, name: &[u8], value: &[u8]) {
        let mut lines = self.response_headers.borrow_mut();
        for part in [name, b": ", value, b"\r\n"] {
            lines.extend_from_slice(part);
        }
    }

    pub(crate) fn response_headers(&self) -> Ref<'_, Vec<u8>> {
        self.response_headers.borrow()
    }
}
