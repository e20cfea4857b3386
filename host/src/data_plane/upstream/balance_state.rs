//! Where an exchange stands in its upstream: what was tried, what its policy remembers. Lives
//! through the retries.

use std::cell::{Cell, Ref, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use super::endpoint::{EndpointId, Seconds};
use super::endpoint_set::IndexSet;
use super::group::WorkerGroup;
use crate::metrics::EndpointMetrics;
use crate::plugin::{AttemptFacts, FailureKind, lot};

/// Groups that were left, and which of their endpoints were tried.
type TriedGroups = SmallVec<[(Rc<WorkerGroup>, IndexSet); 1]>;

/// The balancing state of one exchange.
#[derive(Default)]
pub(crate) struct BalanceState {
    /// The endpoints among which it is balanced now; none before the first attempt.
    group: RefCell<Option<Rc<WorkerGroup>>>,
    tried: RefCell<IndexSet>,
    /// What was tried of the groups before.
    tried_before: RefCell<TriedGroups>,
    /// The only candidate, although it is out of rotation: none is left that is in it.
    last_resort: Cell<Option<u32>>,
    now: Cell<Seconds>,
    /// What filters and scorers have left of the candidates; empty where there are none.
    left: RefCell<SmallVec<[u64; 1]>>,
    is_narrowed: Cell<bool>,
    /// Why the attempt that ended last failed.
    failure: Cell<FailureKind>,
    /// Where the attempts of its endpoint are counted.
    left_behind: RefCell<Option<Arc<EndpointMetrics>>>,
    pub(crate) memo: Cell<u64>,
    /// What a shadow keeps with the exchange.
    pub(super) memo_beside: Cell<u64>,
    /// By which versions on trial are chosen for a client without an address; none before it is drawn.
    lot: Cell<Option<u32>>,
    /// Header lines, each with its CRLF, that the policy adds to the response of the current
    /// attempt.
    response_headers: RefCell<Vec<u8>>,
}

impl BalanceState {
    pub(super) fn group(&self) -> Option<Rc<WorkerGroup>> {
        self.group.borrow().clone()
    }

    pub(super) fn tried(&self) -> Ref<'_, IndexSet> {
        self.tried.borrow()
    }

    /// Goes on with another group; of one that it was in before, it knows what was tried.
    pub(super) fn begin(&self, group: Rc<WorkerGroup>) {
        let mut tried = self.tried.borrow_mut();
        let mut before = self.tried_before.borrow_mut();
        let known = before
            .iter()
            .position(|(known, _)| Rc::ptr_eq(known, &group));
        let next = known.map(|at| before.swap_remove(at).1).unwrap_or_default();
        let tried_here = std::mem::replace(&mut *tried, next);
        if let Some(left) = self.group.borrow_mut().replace(group) {
            before.push((left, tried_here));
        }
        self.memo.set(0);
        self.memo_beside.set(0);
    }

    /// Forgets where it stood: it goes to another upstream. No lease of it is open.
    pub(crate) fn begin_anew(&self) {
        self.group.replace(None);
        self.tried.take();
        self.tried_before.take();
        self.memo.set(0);
        self.memo_beside.set(0);
        self.forget_response_headers();
    }

    pub(super) fn mark_tried(&self, index: u32) {
        self.tried.borrow_mut().insert(index);
    }

    /// An endpoint of a group was not tried after all: another worker was first.
    pub(super) fn unmark_tried(&self, group: &Rc<WorkerGroup>, index: u32) {
        if self
            .group
            .borrow()
            .as_ref()
            .is_some_and(|at| Rc::ptr_eq(at, group))
        {
            return self.tried.borrow_mut().remove(index);
        }
        let mut before = self.tried_before.borrow_mut();
        let mut known = before.iter_mut();
        if let Some((_, tried)) = known.find(|(known, _)| Rc::ptr_eq(known, group)) {
            tried.remove(index);
        }
    }

    /// The endpoints that were tried, of all groups.
    pub(super) fn tried_ids(&self) -> SmallVec<[EndpointId; 4]> {
        let (group, before) = (self.group.borrow(), self.tried_before.borrow());
        let tried = self.tried.borrow();
        let of_groups = before.iter().map(|(group, tried)| (group, tried));
        let of_groups = of_groups.chain(group.iter().map(|group| (group, &*tried)));
        let ids = of_groups.flat_map(|(group, tried)| group.endpoints.ids_at(tried));
        ids.collect()
    }

    /// Begins anew with these groups, the first of them to be asked first, of which some endpoints
    /// were tried.
    pub(super) fn begin_again(
        &self,
        groups: impl Iterator<Item = Rc<WorkerGroup>>,
        tried: &[EndpointId],
    ) {
        let known = groups.map(|group| {
            let indexes = group.endpoints.indexes_of(tried);
            (group, indexes)
        });
        let known: TriedGroups = known.collect();
        let first = known.first().map(|(group, _)| group.clone());
        self.group.take();
        self.tried.take();
        self.tried_before.replace(known);
        if let Some(first) = first {
            self.begin(first);
        }
    }

    /// Makes an endpoint of the group the only candidate, whatever its failures; none ends that.
    pub(super) fn resort_to(&self, index: Option<u32>) {
        self.last_resort.set(index);
    }

    /// The second in which candidates are judged; the same during one pick.
    pub(super) fn at(&self, now: Seconds) {
        self.now.set(now);
    }

    /// From here on, of each word only these bits count as candidates; none: all do.
    pub(crate) fn narrow(&self, words: Option<&[u64]>) {
        self.is_narrowed.set(words.is_some());
        if let Some(words) = words {
            let mut left = self.left.borrow_mut();
            left.clear();
            left.extend_from_slice(words);
        }
    }

    /// Whether filters, scorers and growing shares have left an endpoint of the group among the
    /// candidates of the last choice.
    pub(super) fn has_left(&self, index: u32) -> bool {
        let left = self.left.borrow();
        let word = left.get(index as usize / 64).copied().unwrap_or(0);
        !self.is_narrowed.get() || word & 1 << (index % 64) != 0
    }

    /// Why the last attempt has failed.
    pub(super) fn failure(&self) -> FailureKind {
        self.failure.get()
    }

    /// Notes why an attempt failed, for what its policy asks when it hears of that.
    pub(crate) fn note_failure(&self, failure: FailureKind) {
        self.failure.set(failure);
    }

    /// An attempt has ended for which another endpoint may be asked.
    pub(super) fn note_left(&self, endpoint: Arc<EndpointMetrics>) {
        self.left_behind.replace(Some(endpoint));
    }

    /// The endpoint in whose place another one is asked; told once.
    pub(super) fn take_left(&self) -> Option<Arc<EndpointMetrics>> {
        self.left_behind.take()
    }

    /// Why the attempt that ended last failed, and the bytes that were sent and received in it.
    pub(crate) fn attempt_facts(&self, bytes: Option<(u64, u64)>) -> AttemptFacts {
        let (bytes_sent, bytes_received) = bytes.unwrap_or_default();
        AttemptFacts {
            failure: self.failure.get(),
            bytes_sent,
            bytes_received,
        }
    }

    /// See `fleet.candidates` in the WIT.
    pub(crate) fn candidates(&self, word: u32) -> u64 {
        let candidates = self.all_candidates(word);
        match self.is_narrowed.get() {
            true => candidates & self.left.borrow().get(word as usize).unwrap_or(&0),
            false => candidates,
        }
    }

    fn all_candidates(&self, word: u32) -> u64 {
        if let Some(index) = self.last_resort.get() {
            return u64::from(index / 64 == word) << (index % 64);
        }
        let group = self.group.borrow();
        group.as_ref().map_or(0, |group| {
            let tried = self.tried.borrow();
            group.endpoints.candidates(word, &tried, self.now.get())
        })
    }

    /// The lot of a client whose address is not known: another one for each exchange.
    pub(super) fn lot(&self) -> u32 {
        let drawn = self.lot.get().unwrap_or_else(|| lot(fastrand::u64(..)));
        self.lot.set(Some(drawn));
        drawn
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
