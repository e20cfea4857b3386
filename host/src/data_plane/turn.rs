//! The time in one turn of a task: the clock is read once, however often the time is asked for.
//!
//! What a connection does in a turn takes microseconds. It asks for the time when a request begins,
//! when its server is chosen, when a wait is bounded, when an answer comes and when it is over; nginx
//! reads its clock once for each turn of the event loop as well. What may take longer within a turn
//! says so by [`passed`]. Outside of [`within`], each question reads the clock.

use std::cell::Cell;
use std::time::Instant;

thread_local! {
    static TURN: Cell<Turn> = const { Cell::new(Turn::None) };
}

#[derive(Clone, Copy)]
enum Turn {
    None,
    /// Nobody has asked for the time yet.
    Begun,
    At(Instant),
}

/// Runs a turn of a task: one poll.
pub(crate) fn within<T>(poll: impl FnOnce() -> T) -> T {
    struct Ends;
    impl Drop for Ends {
        fn drop(&mut self) {
            TURN.set(Turn::None);
        }
    }
    TURN.set(Turn::Begun);
    let _ends = Ends;
    poll()
}

/// The time; in a turn, when it was first asked for in it.
pub(crate) fn now() -> Instant {
    if let Turn::At(now) = TURN.get() {
        return now;
    }
    let now = Instant::now();
    if let Turn::Begun = TURN.get() {
        TURN.set(Turn::At(now));
    }
    now
}

/// What comes next in this turn, or has come, may take its time: the clock is read anew.
pub(crate) fn passed() {
    if let Turn::At(_) = TURN.get() {
        TURN.set(Turn::Begun);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    fn time_passes() {
        let before = Instant::now();
        while Instant::now() == before {}
    }

    fn has_moved() -> bool {
        let before = now();
        time_passes();
        now() > before
    }

    #[test]
    fn the_clock_is_read_once_a_turn_and_each_time_outside_of_one() {
        assert!(has_moved());
        assert!(!within(has_moved));
        assert!(has_moved());
        let turns = [within(now), within(|| (has_moved(), now()).1)];
        assert!(turns[0] < turns[1]);
    }

    #[test]
    fn the_clock_is_read_anew_behind_what_may_take_long_and_behind_a_panic() {
        let has_passed = || {
            let before = now();
            time_passes();
            passed();
            now() > before && !has_moved()
        };
        assert!(within(has_passed));
        passed();
        assert!(has_moved());
        assert!(catch_unwind(|| within(|| panic!("a connection"))).is_err());
        assert!(has_moved());
    }
}
