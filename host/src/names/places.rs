//! Places for the questions that are asked of the name servers of one `resolver`: each has sockets.
//!
//! A question that nobody answers keeps its place until its time is over, so it must not keep others
//! from theirs. Which question that will be is only known from the last time, and a thousand that were
//! answered may be so no longer. So each has a quick place for a moment, whatever there is to wait
//! for; after that it needs one of another kind. What took longer the last time begins there.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit, oneshot};

/// Questions that are asked for a moment.
const QUICK: usize = 64;

/// Those of them that are asked for the first time: lists bring thousands.
const FRESH: usize = QUICK / 2;

/// Questions that take longer, and may be answered.
const SLOW: usize = 64;

/// Questions that were not answered the last time.
const UNANSWERED: usize = 32;

/// The places of some of the names.
pub(super) struct Places {
    fresh: Semaphore,
    quick: Semaphore,
    slow: Semaphore,
    unanswered: Rc<Lots>,
}

/// What a question has while it is asked.
pub(super) enum Place<'p> {
    InTurn { _permit: SemaphorePermit<'p> },
    Drawn { _permit: Drawn },
}

impl Places {
    /// A part of them all.
    pub(super) fn one_of(parts: usize) -> Places {
        Places {
            fresh: Semaphore::new(FRESH / parts),
            quick: Semaphore::new(QUICK / parts),
            slow: Semaphore::new(SLOW / parts),
            unanswered: Rc::new(Lots::new(UNANSWERED / parts)),
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
        let permit = self.slow.try_acquire().ok()?;
        Some(Place::InTurn { _permit: permit })
    }

    pub(super) async fn unanswered(&self) -> Option<Place<'_>> {
        let permit = self.unanswered.draw().await?;
        Some(Place::Drawn { _permit: permit })
    }
}

/// None of them is ever closed.
fn in_turn(permit: Result<SemaphorePermit<'_>, AcquireError>) -> Option<Place<'_>> {
    let permit = permit.ok()?;
    Some(Place::InTurn { _permit: permit })
}

/// Places for which lots are drawn among those that wait. Those give up now and then, and come again:
/// with turns it could be the same ones every time that have theirs.
struct Lots {
    free: Cell<usize>,
    waiting: RefCell<Vec<oneshot::Sender<Drawn>>>,
}

/// A place that is passed on when this is dropped, be it on its way to somebody who has left.
pub(super) struct Drawn(Rc<Lots>);

impl Drop for Drawn {
    fn drop(&mut self) {
        while let Some(drawn) = self.0.drawn() {
            // What is sent to one who has left comes back here, one call deeper.
            if !drawn.is_closed() {
                let _ = drawn.send(Drawn(self.0.clone()));
                return;
            }
        }
        self.0.free.set(self.0.free.get() + 1);
    }
}

impl Lots {
    fn new(free: usize) -> Lots {
        Lots {
            free: Cell::new(free),
            waiting: RefCell::default(),
        }
    }

    async fn draw(self: &Rc<Lots>) -> Option<Drawn> {
        if let Some(left) = self.free.get().checked_sub(1) {
            self.free.set(left);
            return Some(Drawn(self.clone()));
        }
        let (place, awaited) = oneshot::channel();
        {
            let mut waiting = self.waiting.borrow_mut();
            // Now and then those that have left make room.
            if waiting.len().is_power_of_two() {
                waiting.retain(|place| !place.is_closed());
            }
            waiting.push(place);
        }
        awaited.await.ok()
    }

    /// One of those that wait, or have left meanwhile.
    fn drawn(&self) -> Option<oneshot::Sender<Drawn>> {
        let mut waiting = self.waiting.borrow_mut();
        let number = waiting.len();
        (number > 0).then(|| waiting.swap_remove(fastrand::usize(..number)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::collections::HashSet;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn is_ready<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_place_that_comes_to_one_who_has_left_is_not_lost() {
        let lots = Rc::new(Lots::new(1));
        let first = is_ready(pin!(lots.draw())).unwrap().unwrap();
        {
            let mut leaves = Box::pin(lots.draw());
            assert!(is_ready(leaves.as_mut()).is_none());
            drop(first); // it is on its way
            assert_eq!(lots.free.get(), 0);
        }
        assert_eq!(lots.free.get(), 1);
        let held = is_ready(pin!(lots.draw())).unwrap().unwrap();
        {
            let mut leaves = Box::pin(lots.draw());
            assert!(is_ready(leaves.as_mut()).is_none());
        }
        let mut stays = Box::pin(lots.draw());
        assert!(is_ready(stays.as_mut()).is_none());
        drop(held);
        assert!(is_ready(stays.as_mut()).is_some());
    }

    /// Each time, all that wait give up, and come again in the same order.
    #[test]
    fn whoever_waits_has_a_place_some_time() {
        let lots = Rc::new(Lots::new(1));
        let mut served = HashSet::new();
        // By chance, one of eight is left out with a probability below 10^-10.
        for _ in 0..200 {
            let held = is_ready(pin!(lots.draw())).unwrap().unwrap();
            let mut waiting: Vec<_> = (0..8).map(|_| Box::pin(lots.draw())).collect();
            for waits in &mut waiting {
                assert!(is_ready(waits.as_mut()).is_none());
            }
            drop(held);
            let mut waiting = waiting.iter_mut();
            served.extend(waiting.position(|waits| is_ready(waits.as_mut()).is_some()));
        }
        assert_eq!(served.len(), 8);
    }
}
