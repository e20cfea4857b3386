//! When probes in a row take an endpoint out of rotation, or bring it back (nginx Plus: `fails` and
//! `passes`; HAProxy: `fall` and `rise`).

/// Where an endpoint is, and the probes that speak against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Streak {
    is_up: bool,
    /// Probes in a row that went the other way.
    against: u32,
}

/// What a probe has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Up,
    Down,
}

impl Streak {
    pub(super) fn beginning(is_up: bool) -> Streak {
        Streak { is_up, against: 0 }
    }

    /// Takes the outcome of a probe in.
    pub(super) fn note(&mut self, passed: bool, rise: u32, fall: u32) -> Option<Turn> {
        if passed == self.is_up {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        let (needed, turn) = match passed {
            true => (rise, Turn::Up),
            false => (fall, Turn::Down),
        };
        if self.against < needed {
            return None;
        }
        *self = Streak::beginning(passed);
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sequence of 12 probes, with every `rise` and `fall` up to 4, against a definition that
    /// remembers everything.
    #[test]
    fn an_endpoint_turns_exactly_when_so_many_probes_in_a_row_say_so() {
        for (rise, fall) in (1..=4).flat_map(|rise| (1..=4).map(move |fall| (rise, fall))) {
            for begins in [true, false] {
                for sequence in 0..1_u32 << 12 {
                    let mut streak = Streak::beginning(begins);
                    let (mut is_up, mut row) = (begins, Vec::new());
                    for number in 0..12 {
                        let passed = sequence >> number & 1 == 1;
                        row.push(passed);
                        let needed = if is_up { fall } else { rise };
                        let turns = row.len() >= needed
                            && row.iter().rev().take(needed).all(|passed| *passed != is_up);
                        if turns {
                            is_up = !is_up;
                            row.clear();
                        }
                        let turned = streak.note(passed, rise as u32, fall as u32);
                        let expected = turns.then_some(if is_up { Turn::Up } else { Turn::Down });
                        assert_eq!(turned, expected, "{rise} {fall} {sequence:b} {number}");
                    }
                }
            }
        }
    }

    #[test]
    fn flapping_changes_nothing() {
        let mut streak = Streak::beginning(true);
        for number in 0..100 {
            assert_eq!(
                streak.note(number % 3 == 0, 2, 3),
                None,
                "two of three fail"
            );
        }
        let mut streak = Streak::beginning(false);
        for number in 0..100 {
            assert_eq!(
                streak.note(number % 2 == 0, 2, 3),
                None,
                "every other passes"
            );
        }
    }

    /// A reload may ask for fewer probes than went against it already.
    #[test]
    fn fewer_probes_may_be_asked_for_meanwhile() {
        let mut streak = Streak::beginning(true);
        assert_eq!(streak.note(false, 2, 5), None);
        assert_eq!(streak.note(false, 2, 5), None);
        assert_eq!(streak.note(false, 2, 1), Some(Turn::Down));
    }
}
