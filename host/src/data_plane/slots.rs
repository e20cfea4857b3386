//! The connections of one worker, by what they are doing: the one that has been idle for longest is
//! found at once, and a connection changes from one state to the next in a few steps.
//!
//! Those that are idle, and those that have not said a whole request, each stand in a queue in the
//! order in which they came to do so. The queues are linked through the slots themselves.

use std::num::NonZeroU32;
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
    idle: Queue,
    opening: Queue,
    /// How many times a slot has entered a queue.
    entries: u64,
}

struct Slot {
    waker: Option<Waker>,
    activity: Activity,
    /// Which entry into a queue its last one was.
    entry: u64,
    /// Neighbours in the queue of its activity.
    previous: Neighbour,
    next: Neighbour,
}

/// Another slot, if there is one, in four bytes: each connection has two, idle or not.
#[derive(Default, Clone, Copy)]
struct Neighbour(Option<NonZeroU32>);

impl From<Option<usize>> for Neighbour {
    /// There are no more slots than descriptors, which the kernel counts in 32 bits.
    fn from(slot: Option<usize>) -> Neighbour {
        let number = slot.and_then(|slot| u32::try_from(slot + 1).ok());
        Neighbour(number.and_then(NonZeroU32::new))
    }
}

impl Neighbour {
    fn slot(self) -> Option<usize> {
        self.0.map(|number| number.get() as usize - 1)
    }
}

/// The ends of a queue: the longest there first.
#[derive(Default, Clone, Copy)]
struct Queue {
    first: Option<usize>,
    last: Option<usize>,
    length: usize,
}

impl Slots {
    pub(super) fn insert(&mut self, activity: Activity) -> usize {
        let slot = self.slots.insert(Slot {
            waker: None,
            activity: Activity::Busy,
            entry: 0,
            previous: Neighbour::default(),
            next: Neighbour::default(),
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
        self.idle.length
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
        self.unlink(slot);
        self.slots[slot].activity = activity;
        match activity {
            Activity::Leaving | Activity::Busy => {}
            Activity::Idle | Activity::Opening(_) => self.link(slot),
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
        self.idle.first.is_some_and(|slot| {
            self.evict(slot);
            true
        })
    }

    /// The present moment, for [`evict_idle_since`](Self::evict_idle_since).
    pub(super) fn mark(&self) -> u64 {
        self.entries
    }

    /// Tells every connection to leave that has been idle since a [`mark`](Self::mark).
    pub(super) fn evict_idle_since(&mut self, mark: u64) {
        while let Some(slot) = self.idle.first
            && self.slots[slot].entry <= mark
        {
            self.evict(slot);
        }
    }

    /// Tells the connection that has been opening for longest to leave, if it has since `before`.
    pub(super) fn evict_opening(&mut self, before: Instant) -> bool {
        let slot = self.opening.first.filter(|slot| {
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

    fn queue(&mut self, activity: Activity) -> Option<&mut Queue> {
        match activity {
            Activity::Idle => Some(&mut self.idle),
            Activity::Opening(_) => Some(&mut self.opening),
            Activity::Busy | Activity::Leaving => None,
        }
    }

    fn link(&mut self, slot: usize) {
        let Some(queue) = self.queue(self.slots[slot].activity) else {
            return;
        };
        let last = queue.last.replace(slot);
        queue.first.get_or_insert(slot);
        queue.length += 1;
        self.entries += 1;
        let entry = self.entries;
        self.slots[slot].entry = entry;
        self.slots[slot].previous = last.into();
        if let Some(last) = last {
            self.slots[last].next = Some(slot).into();
        }
    }

    fn unlink(&mut self, slot: usize) {
        let activity = self.slots[slot].activity;
        let (previous, next) = {
            let slot = &mut self.slots[slot];
            let previous = std::mem::take(&mut slot.previous);
            (previous.slot(), std::mem::take(&mut slot.next).slot())
        };
        if let Some(queue) = self.queue(activity) {
            queue.length -= 1;
            if previous.is_none() {
                queue.first = next;
            }
            if next.is_none() {
                queue.last = previous;
            }
        }
        if let Some(previous) = previous {
            self.slots[previous].next = next.into();
        }
        if let Some(next) = next {
            self.slots[next].previous = previous.into();
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
    fn a_slot_fits_into_48_bytes() {
        assert!(size_of::<Slot>() <= 48, "{}", size_of::<Slot>());
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
