//! How questions went the last time: by that each is asked in its place.
//!
//! What follows a name knows it of that name's questions, whatever others are asked. A name that
//! a request has made by a pattern is gone soon, and may be made again: of those it is known together,
//! as far as there is room.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Instant;

use hickory_resolver::proto::rr::{Name, RecordType};

/// Of one name: a service asks about its hosts, below several domains.
const OF_A_NAME: usize = 1024;

/// Of all names by pattern of a `resolver`. Without it a question is as a new one.
const OF_PATTERNS: usize = 16_384;

/// A name in full, and a kind of records.
pub(super) type Asked = (Name, RecordType);

/// How a question went the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// It was over in a moment, whatever the answer was.
    Quick,
    /// It was answered, but took its time.
    Slow,
    /// It was not answered, and took its time. It was asked at this moment.
    Unanswered(Instant),
}

/// Of the questions that were asked before.
pub(super) struct Paces {
    known: RefCell<HashMap<Asked, (Pace, Instant)>>,
    most: usize,
}

impl Paces {
    pub(super) fn of_a_name() -> Paces {
        Paces::at_most(OF_A_NAME)
    }

    pub(super) fn of_patterns() -> Paces {
        Paces::at_most(OF_PATTERNS)
    }

    fn at_most(most: usize) -> Paces {
        Paces {
            known: RefCell::default(),
            most,
        }
    }

    pub(super) fn of(&self, question: &Asked) -> Option<Pace> {
        let known = self.known.borrow();
        known.get(question).map(|(pace, _)| *pace)
    }

    pub(super) fn note(&self, question: &Asked, pace: Pace) {
        let now = Instant::now();
        let mut known = self.known.borrow_mut();
        if let Some(known) = known.get_mut(question) {
            *known = (pace, now);
            return;
        }
        if known.len() >= self.most {
            make_room(&mut known, self.most);
        }
        known.insert(question.clone(), (pace, now));
    }
}

/// Forgets what is quick, as a new one is asked as quickly; and the oldest, if that is not enough.
fn make_room(known: &mut HashMap<Asked, (Pace, Instant)>, most: usize) {
    known.retain(|_, (pace, _)| *pace != Pace::Quick);
    // One pass makes room for many.
    let left = most - most / 4;
    if known.len() <= left {
        return;
    }
    let mut noted: Vec<Instant> = known.values().map(|(_, noted)| *noted).collect();
    let surplus = noted.len() - left;
    let (_, newest_to_go, _) = noted.select_nth_unstable(surplus - 1);
    let newest_to_go = *newest_to_go;
    known.retain(|_, (_, noted)| *noted > newest_to_go);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    fn question(number: usize) -> Asked {
        let name = Name::from_ascii(format!("n{number}.test.")).unwrap();
        (name, RecordType::A)
    }

    #[test]
    fn what_is_quick_makes_room_for_others_and_costs_none_that_is_not() {
        let paces = Paces::at_most(16);
        let since = Instant::now();
        for number in 0..8 {
            paces.note(&question(number), Pace::Unanswered(since));
        }
        for number in 8..100 {
            paces.note(&question(number), Pace::Quick);
        }
        for number in 0..8 {
            let pace = paces.of(&question(number));
            assert_eq!(pace, Some(Pace::Unanswered(since)), "{number}");
        }
        assert!(paces.known.borrow().len() <= 16);
    }

    #[test]
    fn where_all_are_slow_the_oldest_make_room() {
        let paces = Paces::at_most(16);
        for number in 0..16 {
            paces.note(&question(number), Pace::Slow);
            let before = Instant::now();
            while Instant::now() == before {}
        }
        paces.note(&question(16), Pace::Slow);
        let is_known = |number: &usize| paces.of(&question(*number)).is_some();
        let known: Vec<usize> = (0..17).filter(is_known).collect();
        assert_eq!(known, (4..17).collect::<Vec<_>>());
    }
}
