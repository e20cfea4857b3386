//! Where requests wait for an endpoint that has room, first come first served across all workers.
//!
//! Each worker keeps its own waiting requests, by ticket, in a lane, and shows the others the first
//! ticket of it. The lowest of these has its turn: whoever ends an attempt wakes that one, it tries
//! to take a lease, and wakes the next one as it leaves. So order needs no lock and no list that
//! workers share, and a request that leaves, whyever, is gone from the queue at once.
//!
//! Nothing is lost between a look and a sleep: a request registers its waker before it looks, and
//! room is made before it is told of, with a fence on either side.
//!
//! A request that has tried an endpoint, and waits for one of the others, may be unable to use what
//! has become free. Such requests have a line of their own, which is asked first: none of the other
//! line waits for what only it could not use.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, fence};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use tokio::time::Instant;

use crate::data_plane::stream::{Alarm, TimedOut};
use crate::fault_injection;

/// How often the first request of a worker looks without being woken: time itself brings some
/// endpoints back, by the second, and tells nobody.
const LOOK: Duration = Duration::from_secs(match cfg!(test) {
    false => 1,
    // So that a unit test in which nobody is woken fails.
    true => 3600,
});

/// Lanes are made so many at a time, as workers need them.
const LANES: usize = 16;
/// At most: as many as there can be workers, and once more for those that are being replaced.
const BLOCKS: usize = 2 * 1024 / LANES;

/// No ticket.
const NONE: u64 = u64::MAX;

/// The requests that wait for one upstream, as all workers share them. Lives through changes of the
/// configuration.
#[derive(Default)]
pub(super) struct Queue {
    /// Empty until a configuration wants a queue.
    lanes: OnceLock<Box<[Block]>>,
    waiting: AtomicUsize,
    tickets: AtomicU64,
}

/// Some lanes, once they are needed.
type Block = OnceLock<Box<[Lane]>>;

/// What one worker shows the others.
#[derive(Default)]
#[repr(align(128))] // a cache line of its own, and the one that is fetched along with it
struct Lane {
    taken: AtomicBool,
    lines: [Front; 2],
}

/// The first request of a line in a worker.
struct Front {
    ticket: AtomicU64,
    waker: AtomicWaker,
}

impl Default for Front {
    fn default() -> Front {
        Front {
            ticket: AtomicU64::new(NONE),
            waker: AtomicWaker::new(),
        }
    }
}

/// Which requests wait together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// They have tried an endpoint.
    Again,
    /// They have not.
    First,
}

impl Queue {
    /// Requests that wait, in all workers.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// An endpoint has, or may have, room: wakes the request whose turn it is. Costs a look at one
    /// pointer where no configuration wanted a queue.
    pub(super) fn room(&self) {
        if self.lanes.get().is_some() {
            // Goes with the one in `Place::poll_turn`: either this sees the request that waits, or
            // that request sees the room.
            fence(SeqCst);
            if self.waiting.load(Relaxed) > 0 {
                self.call();
            }
        }
    }

    fn call(&self) {
        if !self.call_line(Line::Again) {
            self.call_line(Line::First);
        }
    }

    /// Wakes the first request of a line; false where there is none.
    fn call_line(&self, line: Line) -> bool {
        let Some((_, lane)) = self.front(line) else {
            return false;
        };
        lane.line(line).waker.wake();
        true
    }

    /// The lowest ticket of a line, and whose it is.
    fn front(&self, line: Line) -> Option<(u64, &Lane)> {
        let tickets = self
            .lanes()
            .map(|lane| (lane.line(line).ticket.load(SeqCst), lane));
        let waiting = tickets.filter(|(ticket, _)| *ticket != NONE);
        waiting.min_by_key(|(ticket, _)| *ticket)
    }

    /// Those that were made so far.
    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        let blocks = self
            .lanes
            .get()
            .into_iter()
            .flat_map(|blocks| blocks.iter());
        blocks
            .map_while(OnceLock::get)
            .flat_map(|block| block.iter())
    }

    /// A lane that no worker has, by its number.
    fn take_lane(&self) -> Option<usize> {
        let blocks = self
            .lanes
            .get_or_init(|| (0..BLOCKS).map(|_| OnceLock::new()).collect());
        for (index, block) in blocks.iter().enumerate() {
            let block = block.get_or_init(|| (0..LANES).map(|_| Lane::default()).collect());
            let free = block
                .iter()
                .position(|lane| !lane.taken.swap(true, Relaxed));
            if let Some(at) = free {
                return Some(index * LANES + at);
            }
        }
        None
    }
}

impl Lane {
    fn line(&self, line: Line) -> &Front {
        &self.lines[line as usize]
    }
}

/// A worker's part of a queue.
pub(super) struct WorkerQueue {
    queue: Arc<Queue>,
    lane: usize,
    waiting: RefCell<[BTreeMap<u64, Option<Waker>>; 2]>,
}

impl WorkerQueue {
    /// None where there are more workers than there can be.
    pub(super) fn of(queue: Arc<Queue>) -> Option<Rc<WorkerQueue>> {
        let lane = queue.take_lane()?;
        Some(Rc::new(WorkerQueue {
            queue,
            lane,
            waiting: RefCell::default(),
        }))
    }

    fn queue(&self) -> &Queue {
        &self.queue
    }

    /// What it shows of a line; it is there from its beginning to its end.
    fn shown(&self, line: Line) -> Option<&Front> {
        let blocks = self.queue().lanes.get()?;
        let block = blocks.get(self.lane / LANES)?.get()?;
        Some(block.get(self.lane % LANES)?.line(line))
    }

    /// Takes the last place of a line; none where `size` requests wait.
    pub(super) fn join(self: &Rc<Self>, size: u32, line: Line) -> Option<Place> {
        let queue = self.queue();
        let room = |waiting: usize| (waiting < size as usize).then_some(waiting + 1);
        queue.waiting.fetch_update(SeqCst, Relaxed, room).ok()?;
        let ticket = queue.tickets.fetch_add(1, Relaxed);
        self.waiting.borrow_mut()[line as usize].insert(ticket, None);
        self.show(line);
        Some(Place {
            of: self.clone(),
            line,
            ticket,
        })
    }

    /// Shows the first request of a line, and how it is woken.
    fn show(&self, line: Line) {
        let waiting = self.waiting.borrow();
        let first = waiting[line as usize].first_key_value();
        if let Some(shown) = self.shown(line) {
            // Before its ticket: whoever sees that can wake it.
            if let Some((_, Some(waker))) = first {
                shown.waker.register(waker);
            }
            let ticket = first.map_or(NONE, |(ticket, _)| *ticket);
            shown.ticket.store(ticket, SeqCst);
        }
    }
}

impl Drop for WorkerQueue {
    fn drop(&mut self) {
        let blocks = self.queue().lanes.get();
        let block = blocks.and_then(|blocks| blocks.get(self.lane / LANES)?.get());
        if let Some(lane) = block.and_then(|block| block.get(self.lane % LANES)) {
            lane.taken.store(false, Relaxed);
        }
    }
}

/// A request's place in a queue; left when dropped, whoever is behind it moves up.
pub(super) struct Place {
    of: Rc<WorkerQueue>,
    line: Line,
    ticket: u64,
}

impl Place {
    /// Waits until it is this request's turn, and `look` says that trying has a point. A request
    /// that has tried in vain keeps its place, and may wait again.
    ///
    /// # Errors
    /// [`TimedOut`], at `due`.
    pub(super) async fn turn(
        &self,
        due: Instant,
        mut look: impl FnMut() -> bool,
    ) -> Result<(), TimedOut> {
        let mut alarm = Alarm::default();
        #[allow(clippy::disallowed_methods, reason = "the alarm bounds it")]
        let waited = poll_fn(|cx| {
            let turn = self.poll_turn(cx, &mut look);
            if turn.is_ready() {
                return turn.map(Ok);
            }
            let looks = self.is_first_of_worker() && !fault_injection::fails("look");
            let next = match looks {
                true => due.min(Instant::now() + LOOK),
                false => due,
            };
            match alarm.poll_due(cx, next) {
                Poll::Ready(timed_out) if next == due => Poll::Ready(Err(timed_out)),
                Poll::Ready(_) => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Poll::Pending => Poll::Pending,
            }
        });
        waited.await
    }

    fn poll_turn(&self, cx: &Context<'_>, look: &mut dyn FnMut() -> bool) -> Poll<()> {
        self.remember(cx.waker());
        if !self.is_first_of_worker() {
            return Poll::Pending;
        }
        if let Some(shown) = self.of.shown(self.line) {
            shown.waker.register(cx.waker());
        }
        // Goes with the one in `Queue::room`.
        fence(SeqCst);
        let queue = self.of.queue();
        let front = queue.front(self.line).map(|(ticket, _)| ticket);
        if front != Some(self.ticket) {
            // It may have been woken in the place of the one whose turn it is.
            queue.call_line(self.line);
            return Poll::Pending;
        }
        if look() {
            return Poll::Ready(());
        }
        if self.line == Line::Again {
            queue.call_line(Line::First);
        }
        Poll::Pending
    }

    fn is_first_of_worker(&self) -> bool {
        let waiting = self.of.waiting.borrow();
        let first = waiting[self.line as usize].first_key_value();
        first.is_some_and(|(ticket, _)| *ticket == self.ticket)
    }

    fn remember(&self, waker: &Waker) {
        let mut waiting = self.of.waiting.borrow_mut();
        if let Some(known) = waiting[self.line as usize].get_mut(&self.ticket)
            && !known.as_ref().is_some_and(|known| known.will_wake(waker))
        {
            *known = Some(waker.clone());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.waiting.borrow_mut()[self.line as usize].remove(&self.ticket);
        self.of.show(self.line);
        let queue = self.of.queue();
        queue.waiting.fetch_sub(1, SeqCst);
        // It may have been woken for room that it leaves to others, or has not used up.
        queue.room();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::AtomicU32;

    use super::*;

    /// What is waited for: so many at a time, as `max_conns` has it.
    struct Scarce {
        queue: Arc<Queue>,
        most: u32,
        taken: AtomicU32,
    }

    impl Scarce {
        fn new(most: u32) -> Arc<Scarce> {
            Arc::new(Scarce {
                queue: Arc::default(),
                most,
                taken: AtomicU32::new(0),
            })
        }

        fn worker(&self) -> Rc<WorkerQueue> {
            WorkerQueue::of(self.queue.clone()).unwrap()
        }

        fn has_room(&self) -> bool {
            self.taken.load(Relaxed) < self.most
        }

        fn take(&self) -> bool {
            let taken = self.taken.fetch_add(1, Relaxed) < self.most;
            if !taken {
                self.give();
            }
            taken
        }

        fn give(&self) {
            self.taken.fetch_sub(1, Relaxed);
            self.queue.room();
        }

        async fn wait(&self, place: &Place) {
            let due = Instant::now() + Duration::from_secs(60);
            loop {
                place.turn(due, || self.has_room()).await.unwrap();
                if self.take() {
                    return;
                }
            }
        }
    }

    /// Runs all of it on this thread, as one worker or several of them.
    fn run(work: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().build().unwrap();
        runtime.block_on(tokio::task::LocalSet::new().run_until(work));
    }

    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits in a task of its own, and notes its number once it has been served.
    fn waits(
        (number, line): (u32, Line),
        worker: &Rc<WorkerQueue>,
        scarce: &Arc<Scarce>,
        served: &Rc<RefCell<Vec<u32>>>,
    ) -> tokio::task::JoinHandle<()> {
        let place = worker.join(100, line).unwrap();
        let (scarce, served) = (scarce.clone(), served.clone());
        tokio::task::spawn_local(async move {
            scarce.wait(&place).await;
            served.borrow_mut().push(number);
        })
    }

    #[test]
    fn the_first_of_all_workers_is_served_first_and_those_who_have_left_are_skipped() {
        run(async {
            let scarce = Scarce::new(1);
            let (one, other) = (scarce.worker(), scarce.worker());
            assert!(scarce.take());
            let served = Rc::default();
            let workers = [&one, &other, &other, &one, &other, &one];
            let mut tasks = Vec::new();
            for (number, worker) in workers.into_iter().enumerate() {
                let who = (number as u32, Line::First);
                tasks.push(waits(who, worker, &scarce, &served));
            }
            settle().await;
            assert!(served.borrow().is_empty());
            // The first one, and one in the middle.
            for left in [0, 3] {
                tasks[left].abort();
            }
            settle().await;
            assert_eq!(scarce.queue.waiting(), 4);
            for number in [1, 2, 4, 5] {
                scarce.give();
                settle().await;
                assert_eq!(served.borrow().last(), Some(&number));
            }
            assert_eq!(scarce.queue.waiting(), 0);
        });
    }

    #[test]
    fn places_are_counted_in_all_workers_and_free_again_at_once() {
        run(async {
            let scarce = Scarce::new(1);
            let (one, other) = (scarce.worker(), scarce.worker());
            let first = one.join(2, Line::First).unwrap();
            let _second = other.join(2, Line::Again).unwrap();
            assert!(one.join(2, Line::First).is_none());
            drop(first);
            assert!(other.join(2, Line::First).is_some());
        });
    }

    #[test]
    fn room_for_several_serves_several() {
        run(async {
            let scarce = Scarce::new(3);
            let (one, other) = (scarce.worker(), scarce.worker());
            (0..3).for_each(|_| assert!(scarce.take()));
            let served = Rc::default();
            for (number, worker) in [&one, &other, &one].into_iter().enumerate() {
                waits((number as u32, Line::First), worker, &scarce, &served);
            }
            settle().await;
            scarce.taken.store(0, Relaxed);
            scarce.queue.room();
            settle().await;
            assert_eq!(*served.borrow(), [0, 1, 2]);
        });
    }

    /// One that has tried an endpoint cannot use that one's room, whoever else can.
    #[test]
    fn those_that_tried_before_are_asked_first_and_keep_nobody_from_what_they_cannot_use() {
        run(async {
            let scarce = Scarce::new(1);
            let (one, other) = (scarce.worker(), scarce.worker());
            assert!(scarce.take());
            let served: Rc<RefCell<Vec<u32>>> = Rc::default();
            waits((0, Line::First), &one, &scarce, &served);
            let usable = Rc::new(Cell::new(false));
            let place = other.join(100, Line::Again).unwrap();
            let (again, looks) = (served.clone(), usable.clone());
            tokio::task::spawn_local(async move {
                let due = Instant::now() + Duration::from_secs(60);
                place.turn(due, || looks.get()).await.unwrap();
                again.borrow_mut().push(1);
            });
            settle().await;
            scarce.give();
            settle().await;
            assert_eq!(*served.borrow(), [0]);
            waits((2, Line::First), &one, &scarce, &served);
            settle().await;
            usable.set(true);
            scarce.give();
            settle().await;
            assert_eq!(*served.borrow(), [0, 1, 2]);
        });
    }

    /// Whatever else it is woken for.
    #[test]
    fn one_that_looks_by_chance_does_not_overtake_another_worker_s() {
        run(async {
            let scarce = Scarce::new(1);
            let (one, other) = (scarce.worker(), scarce.worker());
            let before = one.join(9, Line::First).unwrap();
            let place = other.join(9, Line::First).unwrap();
            let due = Instant::now() + Duration::from_secs(60);
            let mut turn = std::pin::pin!(place.turn(due, || true));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(turn.as_mut().poll(&mut cx).is_pending());
            drop(before);
            assert!(turn.as_mut().poll(&mut cx).is_ready());
        });
    }

    #[test]
    fn waiting_ends_in_time_and_the_place_is_left() {
        run(async {
            let scarce = Scarce::new(0);
            let place = scarce.worker().join(1, Line::First).unwrap();
            let due = Instant::now() + Duration::from_millis(5);
            assert_eq!(place.turn(due, || false).await, Err(TimedOut));
            drop(place);
            assert_eq!(scarce.queue.waiting(), 0);
        });
    }

    #[test]
    fn lanes_are_used_again_and_more_are_made_as_they_are_needed() {
        let scarce = Scarce::new(1);
        let workers: Vec<_> = (0..3 * LANES).map(|_| scarce.worker()).collect();
        assert_eq!(scarce.queue.lanes().count(), 3 * LANES);
        drop(workers);
        let again: Vec<_> = (0..3 * LANES).map(|_| scarce.worker()).collect();
        assert_eq!(scarce.queue.lanes().count(), 3 * LANES);
        drop(again);
    }

    /// Three workers take, give back, wait and leave at the same time. One that is not woken where
    /// there is room would wait for an hour.
    #[test]
    fn nobody_sleeps_while_there_is_room() {
        for most in [1, 2] {
            let scarce = Scarce::new(most);
            let held = AtomicU32::new(0);
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| run(crowd(&scarce, &held)));
                }
            });
            assert_eq!(scarce.taken.load(Relaxed), 0);
            assert_eq!(scarce.queue.waiting(), 0);
        }
    }

    async fn crowd(scarce: &Arc<Scarce>, held: &AtomicU32) {
        let worker = scarce.worker();
        let clients = (0..12).map(|_| async {
            for _ in 0..300 {
                if scarce.queue.waiting() > 0 || !scarce.take() {
                    let place = worker.join(1000, Line::First).unwrap();
                    let mut waiting = std::pin::pin!(scarce.wait(&place));
                    let patience = fastrand::u32(..8);
                    let mut polls = 0;
                    #[allow(clippy::disallowed_methods, reason = "a test")]
                    let served = poll_fn(|cx| {
                        polls += 1;
                        match waiting.as_mut().poll(cx) {
                            Poll::Ready(()) => Poll::Ready(true),
                            // Leaves, perhaps in the very moment in which it is called.
                            Poll::Pending if patience == 0 && polls > 1 => Poll::Ready(false),
                            Poll::Pending => {
                                if patience == 0 {
                                    cx.waker().wake_by_ref();
                                }
                                Poll::Pending
                            }
                        }
                    })
                    .await;
                    if !served {
                        continue;
                    }
                }
                assert!(held.fetch_add(1, Relaxed) < scarce.most, "more than may be");
                if fastrand::bool() {
                    tokio::task::yield_now().await;
                }
                held.fetch_sub(1, Relaxed);
                scarce.give();
            }
        });
        let mut clients: Vec<_> = clients.map(Box::pin).collect();
        #[allow(clippy::disallowed_methods, reason = "a test")]
        poll_fn(|cx| {
            clients.retain_mut(|client| client.as_mut().poll(cx).is_pending());
            match clients.is_empty() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}
