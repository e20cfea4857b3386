//! Places for the questions that are asked of the name servers of one `resolver`: each has sockets.
//!
//! A question that nobody answers keeps its place until its time is over, so it must not keep others
//! from theirs. Which question that will be is only known from the last time, and a thousand that were
//! answered may be so no longer. So each has a quick place for a moment, whatever there is to wait
//! for; after that it needs one of another kind. What took longer the last time begins there.
//!
//! What was not answered the last time has a place for a moment too, in turn: hundreds of names may be
//! so for days, and one of them is to serve as soon as it is answered for. Its answer is listened for
//! longer only as far as there is room.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit, oneshot};

/// Questions that are asked for a moment.
const QUICK: usize = 64;

/// Those of them that are asked for the first time: lists bring thousands.
const FRESH: usize = QUICK / 2;

/// Questions that take longer, and may be answered.
const SLOW: usize = 64;

/// Questions that were not answered the last time, and are asked for a moment.
const UNANSWERED: usize = 192;

/// Those of them whose answers are listened for behind it.
const LISTENED: usize = 96;

/// The places of some of the names.
pub(super) struct Places {
    fresh: Semaphore,
    quick: Semaphore,
    slow: Semaphore,
    unanswered: Rc<Turns>,
    listened: Semaphore,
}

/// What a question has while it is asked.
pub(super) enum Place<'p> {
    Permit { _permit: SemaphorePermit<'p> },
    Turn { _turn: Turn },
}

impl Places {
    /// A part of them all.
    pub(super) fn one_of(parts: usize) -> Places {
        Places {
            fresh: Semaphore::new(FRESH / parts),
            quick: Semaphore::new(QUICK / parts),
            slow: Semaphore::new(SLOW / parts),
            unanswered: Rc::new(Turns::new(UNANSWERED / parts)),
            listened: Semaphore::new(LISTENED / parts),
        }
    }

    /// Leave to wait for a quick one, for a question that was not asked yet.
    pub(super) async fn fresh(&self) -> Option<Place<'_>> {
        in_turn(self.fresh.acquire().await)
    }

    pub(super) async fn quick(&self) -> Option<Place<'_>> {
        in_turn(self.quick.acquire().await)
    }

    pub(super) async fn slow(&self) -> Option<Place<'_>> {
        in_turn(self.slow.acquire().await)
    }

    /// For a question that has begun in a quick one.
    pub(super) fn slow_at_once(&self) -> Option<Place<'_>> {
        at_once(&self.slow)
    }

    /// For a question that was not answered, and was asked at `last`: the one that was asked least
    /// recently has the next place. Questions give up their wait now and then, and come again: what
    /// they have waited by then is not lost.
    pub(super) async fn unanswered(&self, last: Instant) -> Option<Place<'_>> {
        let turn = self.unanswered.turn(last).await?;
        Some(Place::Turn { _turn: turn })
    }

    /// For a question that has had such a place.
    pub(super) fn listened_at_once(&self) -> Option<Place<'_>> {
        at_once(&self.listened)
    }
}

/// None of them is ever closed.
fn in_turn(permit: Result<SemaphorePermit<'_>, AcquireError>) -> Option<Place<'_>> {
    let permit = permit.ok()?;
    Some(Place::Permit { _permit: permit })
}

fn at_once(places: &Semaphore) -> Option<Place<'_>> {
    let permit = places.try_acquire().ok()?;
    Some(Place::Permit { _permit: permit })
}

/// Places for questions by when each was asked last, and a number where that is the same.
struct Turns {
    free: Cell<usize>,
    waiting: RefCell<BTreeMap<(Instant, u64), oneshot::Sender<Turn>>>,
    number: Cell<u64>,
}

/// A place that is passed on when this is dropped, be it on its way to somebody who has left.
pub(super) struct Turn(Rc<Turns>);

impl Drop for Turn {
    fn drop(&mut self) {
        let next = self.0.waiting.borrow_mut().pop_first();
        match next {
            // What is sent to one who has left comes back here, one call deeper.
            Some((_, waits)) => drop(waits.send(Turn(self.0.clone()))),
            None => self.0.free.set(self.0.free.get() + 1),
        }
    }
}

/// Somebody who waits for a place, and leaves when this is dropped.
struct Waits<'t> {
    turns: &'t Turns,
    key: (Instant, u64),
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.turns.waiting.borrow_mut().remove(&self.key);
    }
}

impl Turns {
    fn new(free: usize) -> Turns {
        Turns {
            free: Cell::new(free),
            waiting: RefCell::default(),
            number: Cell::new(0),
        }
    }

    async fn turn(self: &Rc<Turns>, last: Instant) -> Option<Turn> {
        if let Some(left) = self.free.get().checked_sub(1) {
            self.free.set(left);
            return Some(Turn(self.clone()));
        }
        let (place, awaited) = oneshot::channel();
        let key = (last, self.number.get());
        self.number.set(key.1.wrapping_add(1));
        self.waiting.borrow_mut().insert(key, place);
        let _waits = Waits { turns: self, key };
        awaited.await.ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::*;

    fn is_ready<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_place_that_comes_to_one_who_has_left_is_not_lost() {
        let turns = Rc::new(Turns::new(1));
        let at = Instant::now();
        let first = is_ready(pin!(turns.turn(at))).unwrap().unwrap();
        {
            let mut leaves = Box::pin(turns.turn(at));
            assert!(is_ready(leaves.as_mut()).is_none());
            drop(first); // it is on its way
            assert_eq!(turns.free.get(), 0);
        }
        assert_eq!(turns.free.get(), 1);
        let held = is_ready(pin!(turns.turn(at))).unwrap().unwrap();
        {
            let mut leaves = Box::pin(turns.turn(at));
            assert!(is_ready(leaves.as_mut()).is_none());
        }
        let mut stays = Box::pin(turns.turn(at));
        assert!(is_ready(stays.as_mut()).is_none());
        drop(held);
        assert!(is_ready(stays.as_mut()).is_some());
    }

    /// Whenever they came, and though they may have left in between.
    #[test]
    fn the_one_that_was_asked_least_recently_is_next() {
        let (turns, began) = (Rc::new(Turns::new(1)), Instant::now());
        let asked = |seconds| began + Duration::from_secs(seconds);
        let mut held = is_ready(pin!(turns.turn(asked(9)))).unwrap().unwrap();
        {
            let mut leaves = Box::pin(turns.turn(asked(0)));
            assert!(is_ready(leaves.as_mut()).is_none());
        }
        assert!(turns.waiting.borrow().is_empty());
        let waiting = [3, 1, 2, 1].map(|last| (last, Box::pin(turns.turn(asked(last)))));
        let mut waiting = Vec::from(waiting);
        for (_, waits) in &mut waiting {
            assert!(is_ready(waits.as_mut()).is_none());
        }
        let mut order = Vec::new();
        while !waiting.is_empty() {
            drop(held);
            let served = waiting.iter_mut().enumerate();
            let mut served = served
                .filter_map(|(at, (last, waits))| Some((at, *last, is_ready(waits.as_mut())??)));
            let (at, last, turn) = served.next().unwrap();
            assert!(served.next().is_none(), "there is one place");
            drop(served);
            held = turn;
            order.push(last);
            drop(waiting.remove(at));
        }
        assert_eq!(order, [1, 1, 2, 3]);
    }
}
