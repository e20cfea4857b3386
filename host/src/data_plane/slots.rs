//! The connections of one worker, by what they are doing: the one that has been idle for longest is
//! found at once, and a connection changes from one state to the next in a few steps.
//!
//! Those that are idle, and those that have not said a whole request, each stand in a queue in the
//! order in which they came to do so. Each request takes its connection out of one and puts it back at
//! the end: what is left behind in the queue is not looked for, but passed over once it is met. So a
//! request touches nothing of other connections.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Instant;

/// What the task of a slot is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// It serves a request, carries a session, or accepts connections.
    Busy,
    /// It waits for a client to say a whole request; since then.
    Opening(Instant),
    /// Its last request was answered, and no other has begun.
    Idle,
    /// It was told to make room, and has not gone yet.
    Leaving,
}

/// The slots of one worker.
#[derive(Default)]
pub(super) struct Slots {
    slots: slab::Slab<Slot>,
    queues: Queues,
    /// How many times a slot has changed what it does.
    changes: u64,
}

struct Slot {
    waker: Option<Waker>,
    activity: Activity,
    /// Which of the changes of all slots its last one was.
    change: u64,
}

#[derive(Default)]
struct Queues {
    idle: Queue,
    opening: Queue,
}

impl Queues {
    fn of(&mut self, activity: Activity) -> Option<&mut Queue> {
        match activity {
            Activity::Idle => Some(&mut self.idle),
            Activity::Opening(_) => Some(&mut self.opening),
            Activity::Busy | Activity::Leaving => None,
        }
    }
}

/// Slots, the longest there first.
#[derive(Default)]
struct Queue {
    /// With those that have left meanwhile: by the time another one enters, as many again at most, and
    /// [`LEFT`].
    entered: VecDeque<Entry>,
    /// Of those that have not left.
    length: usize,
}

/// A slot that has entered a queue, by which change; there until it changes once more.
#[derive(Clone, Copy)]
struct Entry {
    change: u64,
    slot: usize,
}

/// Entries of slots that have left a queue and are kept, however short it is.
const LEFT: usize = 64;

impl Entry {
    fn is_there(&self, slots: &slab::Slab<Slot>) -> bool {
        let slot = slots.get(self.slot);
        slot.is_some_and(|slot| slot.change == self.change)
    }
}

impl Queue {
    fn enter(&mut self, entry: Entry, slots: &slab::Slab<Slot>) {
        self.length += 1;
        self.entered.push_back(entry);
        if self.entered.len() > 2 * self.length + LEFT {
            self.entered.retain(|entry| entry.is_there(slots));
        }
    }

    /// The longest there.
    fn first(&mut self, slots: &slab::Slab<Slot>) -> Option<usize> {
        while let Some(first) = self.entered.front() {
            if first.is_there(slots) {
                return Some(first.slot);
            }
            self.entered.pop_front();
        }
        None
    }
}

impl Slots {
    pub(super) fn insert(&mut self, activity: Activity) -> usize {
        let slot = self.slots.insert(Slot {
            waker: None,
            activity: Activity::Busy,
            change: 0,
        });
        self.set(slot, activity);
        slot
    }

    pub(super) fn remove(&mut self, slot: usize) {
        self.set(slot, Activity::Busy);
        self.slots.remove(slot);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// How many are idle.
    pub(super) fn idle(&self) -> usize {
        self.queues.idle.length
    }

    pub(super) fn activity(&self, slot: usize) -> Activity {
        self.slots[slot].activity
    }

    /// Notes what a slot does from now on. It goes to the end of that queue, unless it is in it.
    pub(super) fn set(&mut self, slot: usize, activity: Activity) {
        let before = self.slots[slot].activity;
        if std::mem::discriminant(&before) == std::mem::discriminant(&activity) {
            return;
        }
        if let Some(left) = self.queues.of(before) {
            left.length -= 1;
        }
        self.changes += 1;
        let entry = Entry {
            change: self.changes,
            slot,
        };
        let noted = &mut self.slots[slot];
        (noted.activity, noted.change) = (activity, entry.change);
        if let Some(queue) = self.queues.of(activity) {
            queue.enter(entry, &self.slots);
        }
    }

    /// Has the slot's task woken when there is news for it.
    pub(super) fn watch(&mut self, slot: usize, waker: &Waker) {
        match &mut self.slots[slot].waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// Tells the connection that has been idle for longest to leave; false where none is idle.
    pub(super) fn evict_idle(&mut self) -> bool {
        let longest = self.queues.idle.first(&self.slots);
        longest.is_some_and(|slot| {
            self.evict(slot);
            true
        })
    }

    /// The present moment, for [`evict_idle_since`](Self::evict_idle_since).
    pub(super) fn mark(&self) -> u64 {
        self.changes
    }

    /// Tells every connection to leave that has been idle since a [`mark`](Self::mark).
    pub(super) fn evict_idle_since(&mut self, mark: u64) {
        while let Some(slot) = self.queues.idle.first(&self.slots)
            && self.slots[slot].change <= mark
        {
            self.evict(slot);
        }
    }

    /// Tells the connection that has been opening for longest to leave, if it has since `before`.
    pub(super) fn evict_opening(&mut self, before: Instant) -> bool {
        let slot = self.queues.opening.first(&self.slots).filter(|slot| {
            matches!(self.slots[*slot].activity, Activity::Opening(since) if since <= before)
        });
        slot.is_some_and(|slot| {
            self.evict(slot);
            true
        })
    }

    fn evict(&mut self, slot: usize) {
        self.set(slot, Activity::Leaving);
        if let Some(waker) = self.slots[slot].waker.take() {
            waker.wake();
        }
    }

    pub(super) fn wake_all(&mut self) {
        for (_, slot) in &mut self.slots {
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// What leaves, from the slot that is told first to the one that is told last.
    fn leave(slots: &mut Slots, mut evict: impl FnMut(&mut Slots) -> bool) -> Vec<usize> {
        let mut order = Vec::new();
        while evict(slots) {
            let all = slots.slots.iter().map(|(slot, _)| slot);
            let left: Vec<usize> = all
                .filter(|slot| slots.activity(*slot) == Activity::Leaving)
                .collect();
            for slot in left {
                slots.remove(slot);
                order.push(slot);
            }
        }
        order
    }

    /// Each connection has one, and what it costs an idle one counts.
    #[test]
    fn a_slot_fits_into_40_bytes_and_its_place_in_a_queue_into_16() {
        let sizes = (size_of::<Slot>(), size_of::<Entry>());
        assert!(sizes.0 <= 40 && sizes.1 <= 16, "{sizes:?}");
    }

    #[test]
    fn a_queue_does_not_grow_with_the_number_of_requests() {
        let mut slots = Slots::default();
        let all: Vec<usize> = (0..100).map(|_| slots.insert(Activity::Idle)).collect();
        for slot in all.iter().cycle().take(10_000) {
            slots.set(*slot, Activity::Busy);
            slots.set(*slot, Activity::Idle);
            assert!(slots.queues.idle.entered.len() <= 2 * all.len() + LEFT);
        }
        for slot in &all[1..] {
            slots.set(*slot, Activity::Busy);
        }
        slots.set(all[1], Activity::Idle);
        assert_eq!(slots.queues.idle.entered.len(), 2);
    }

    #[test]
    fn the_longest_idle_leaves_first_and_a_busy_one_never() {
        let mut slots = Slots::default();
        let [a, b, c, d] = [(); 4].map(|()| slots.insert(Activity::Idle));
        slots.set(c, Activity::Busy);
        slots.set(a, Activity::Busy);
        slots.set(a, Activity::Idle);
        assert_eq!(slots.idle(), 3);
        assert_eq!(leave(&mut slots, Slots::evict_idle), [b, d, a]);
        assert_eq!(slots.activity(c), Activity::Busy);
    }

    #[test]
    fn one_that_is_opening_leaves_once_it_has_had_its_time() {
        let (mut slots, now) = (Slots::default(), Instant::now());
        let later = now + Duration::from_secs(1);
        let first = slots.insert(Activity::Opening(now));
        let second = slots.insert(Activity::Opening(later));
        let idle = slots.insert(Activity::Idle);
        let told = leave(&mut slots, |slots| slots.evict_opening(now));
        assert_eq!(told, [first]);
        assert_eq!(slots.activity(second), Activity::Opening(later));
        assert_eq!(slots.activity(idle), Activity::Idle);
    }

    #[test]
    fn one_that_has_been_idle_since_a_mark_leaves_and_a_later_one_does_not() {
        let mut slots = Slots::default();
        let [a, b, c] = [(); 3].map(|()| slots.insert(Activity::Idle));
        let mark = slots.mark();
        slots.set(b, Activity::Busy);
        slots.set(b, Activity::Idle);
        slots.evict_idle_since(mark);
        let activities = [a, b, c].map(|slot| slots.activity(slot));
        assert_eq!(
            activities,
            [Activity::Leaving, Activity::Idle, Activity::Leaving]
        );
    }

    #[test]
    fn one_that_was_told_to_leave_and_has_a_request_stays() {
        let mut slots = Slots::default();
        let slot = slots.insert(Activity::Idle);
        assert!(slots.evict_idle());
        assert_eq!(slots.activity(slot), Activity::Leaving);
        slots.set(slot, Activity::Busy);
        slots.set(slot, Activity::Idle);
        assert_eq!((slots.activity(slot), slots.idle()), (Activity::Idle, 1));
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_a_plain_list(steps: Vec<(u8, u8)>) {
            let mut slots = Slots::default();
            let (mut all, mut idle) = (Vec::new(), Vec::new());
            for (what, which) in steps {
                let chosen = all.get(usize::from(which) % all.len().max(1)).copied();
                match (what % 4, chosen) {
                    (0, _) | (_, None) => all.push(slots.insert(Activity::Busy)),
                    (1, Some(slot)) => {
                        slots.set(slot, Activity::Idle);
                        if !idle.contains(&slot) {
                            idle.push(slot);
                        }
                    }
                    (2, Some(slot)) => {
                        slots.set(slot, Activity::Busy);
                        idle.retain(|other| *other != slot);
                    }
                    (_, Some(slot)) => {
                        slots.remove(slot);
                        all.retain(|other| *other != slot);
                        idle.retain(|other| *other != slot);
                    }
                }
                prop_assert_eq!(slots.idle(), idle.len());
            }
            prop_assert_eq!(leave(&mut slots, Slots::evict_idle), idle);
        }
    }
}
