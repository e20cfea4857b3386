//! What one call of a hook wants changed: collected while the call is under way, carried out when
//! it has returned.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::attributes::Attributes;
use super::body::BodyWish;
use crate::http::head::{FieldChanges, RequestChanges};

/// The longest delay that a hook may ask for.
pub(in crate::plugin) const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// The changes of one call: see `changes` in the WIT. Each was checked when it was asked for.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    pub request: RequestChanges,
    pub response: FieldChanges,
    pub attributes: Attributes,
    pub answer: Option<HookAnswer>,
    pub delay: Duration,
    /// Index into the configuration's routes.
    pub route: Option<usize>,
    /// Index into the configuration's upstreams.
    pub upstream: Option<usize>,
    /// The body that it wants to be asked about: of the request, or of the response.
    pub wish: Option<BodyWish>,
    /// What goes on in place of the body, or the piece of one, at hand.
    pub body: Option<Vec<u8>>,
}

/// Changes that are kept for the next call, of each thread.
const SPARE: usize = 16;

thread_local! {
    #[allow(clippy::vec_box, reason = "a box changes hands, and is not copied")]
    static SPARE_CHANGES: RefCell<Vec<Box<Changes>>> = const { RefCell::new(Vec::new()) };
}

/// [`Changes`] whose room is used again: a hook that changes every request costs no allocation.
#[derive(Debug)]
pub struct PooledChanges(Option<Box<Changes>>);

impl PooledChanges {
    pub(in crate::plugin) fn take() -> PooledChanges {
        let spare = SPARE_CHANGES.with_borrow_mut(Vec::pop);
        PooledChanges(Some(spare.unwrap_or_default()))
    }
}

impl Deref for PooledChanges {
    type Target = Changes;

    fn deref(&self) -> &Changes {
        static NONE: std::sync::LazyLock<Changes> = std::sync::LazyLock::new(Changes::default);
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for PooledChanges {
    fn deref_mut(&mut self) -> &mut Changes {
        self.0.get_or_insert_default()
    }
}

impl Drop for PooledChanges {
    fn drop(&mut self) {
        if let Some(mut changes) = self.0.take() {
            changes.clear();
            // On a thread that ends there is no next one.
            let _ = SPARE_CHANGES.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < SPARE {
                    spare.push(changes);
                }
            });
        }
    }
}

/// An answer that a hook gives.
#[derive(Debug, PartialEq, Eq)]
pub struct HookAnswer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Work that a hook waits for: see `checks` in the WIT.
#[derive(Debug)]
pub struct Check {
    pub hash: String,
    pub password: Vec<u8>,
}

impl Changes {
    /// Whether there are none, whatever it wants of bodies.
    pub fn are_none(&self) -> bool {
        self.request.is_empty()
            && self.response.is_empty()
            && self.attributes.is_empty()
            && self.answer.is_none()
            && self.delay.is_zero()
            && (self.route, self.upstream) == (None, None)
            && self.body.is_none()
    }

    /// Forgets all of them, and keeps the room.
    fn clear(&mut self) {
        self.request.clear();
        self.response.clear();
        self.attributes.clear();
        (self.answer, self.delay) = (None, Duration::ZERO);
        (self.route, self.upstream) = (None, None);
        (self.wish, self.body) = (None, None);
    }
}
