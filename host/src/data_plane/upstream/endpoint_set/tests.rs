//! Interleavings of two workers, found by trying: each round begins at the same moment in both. And
//! what the health of endpoints changes.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Barrier;
use std::sync::atomic::AtomicU32;

use super::super::endpoint::tests_endpoint as endpoint;
use super::super::health::Unfit;
use super::*;

const ROUNDS: usize = 2000;

fn serve(set: &EndpointSet, index: u32) {
    set.released(index);
    set.forgive(index);
}

fn set(endpoints: Vec<Endpoint>) -> EndpointSet {
    EndpointSet::new(endpoints, false, DisabledEpoch::default())
}

/// Does both at once, on two threads, and answers with what they did.
fn at_once<A: Send, B: Send>(
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        let one = scope.spawn(|| {
            barrier.wait();
            one()
        });
        barrier.wait();
        let other = other();
        (one.join().unwrap(), other)
    })
}

/// How many of so many choices an endpoint takes part in.
fn share(set: &EndpointSet, index: u32, now: Seconds) -> usize {
    let none = IndexSet::default();
    let mut random = fastrand::Rng::with_seed(7);
    let choices = (0..1000).filter(|_| {
        let words = set.without_starting(&none, now, || random.u64(..));
        let candidates = words.map_or_else(|| set.candidates(0, &none, now), |words| words[0]);
        candidates & 1 << index != 0
    });
    choices.count()
}

#[test]
fn a_share_grows_from_nothing_once_an_endpoint_is_back() {
    let slow = || Endpoint {
        slow_start: 10,
        ..endpoint(1, 10, 0)
    };
    let set = set(vec![slow(), slow(), slow()]);
    let none = IndexSet::default();
    assert_eq!(share(&set, 1, 99), 1000, "nothing has begun");
    assert_eq!(set.without_starting(&none, 99, || 0), None);
    set.endpoint(1).acquire(100).unwrap();
    set.failed(1, 100);
    set.endpoint(1).acquire(111).unwrap();
    serve(&set, 1);
    assert_eq!(share(&set, 1, 111), 0);
    for (now, about) in [(113, 200), (116, 500), (119, 800)] {
        let share = share(&set, 1, now);
        assert!(share.abs_diff(about) < 60, "{share} at {now}");
        assert_eq!(super::tests::share(&set, 0, now), 1000);
    }
    assert_eq!(share(&set, 1, 121), 1000);
    assert_eq!(set.starting[0].load(Relaxed), 0, "nothing is looked at");
}

#[test]
fn where_all_are_starting_all_take_part() {
    let slow = Endpoint {
        slow_start: 10,
        ..endpoint(1, 10, 0)
    };
    slow.start_slowly();
    let set = set(vec![slow, endpoint(1, 10, 0)]);
    let mut tried = IndexSet::default();
    tried.insert(1);
    assert_eq!(set.without_starting(&tried, 100, || 7), None);
    assert_eq!(set.candidates(0, &tried, 100), 0b01);
}

#[test]
fn a_last_resort_is_the_member_that_failed_least_recently() {
    let mut down = endpoint(1, 10, 0);
    down.down = true;
    let full = endpoint(1, 10, 1);
    full.acquire(0).unwrap();
    let set = set(vec![
        endpoint(1, 10, 0),
        endpoint(1, 10, 0),
        endpoint(1, 10, 0),
        down,
        full,
    ]);
    for (index, second) in [(0, 103), (1, 101), (2, 102)] {
        set.endpoint(index).acquire(100).unwrap();
        assert_eq!(set.failed(index, second), AfterFailure::Disabled);
    }
    let mut tried = IndexSet::default();
    assert!(!set.has_candidate(&tried, 104));
    for expected in [1, 2, 0] {
        assert_eq!(set.last_resort(&tried), Some(expected));
        tried.insert(expected);
    }
    assert_eq!(set.last_resort(&tried), None);
}

#[test]
fn one_that_answered_as_a_last_resort_is_a_candidate_again() {
    let set = set(vec![endpoint(1, 10, 0), endpoint(1, 10, 0)]);
    for index in [0, 1] {
        set.endpoint(index).acquire(100).unwrap();
        set.failed(index, 100);
    }
    assert!(set.endpoint(1).acquire(101).is_err());
    set.endpoint(1).acquire_as_last_resort().unwrap();
    serve(&set, 1);
    let none = IndexSet::default();
    assert_eq!(set.candidates(0, &none, 101), 0, "a success alone does not");
    set.recovered(1);
    assert_eq!(set.candidates(0, &none, 101), 0b10);
}

#[test]
fn two_workers_have_no_more_than_max_conns_between_them() {
    let set = set(vec![endpoint(1, 10, 1)]);
    let held = AtomicU32::new(0);
    let work = || {
        for _ in 0..ROUNDS * 10 {
            if set.endpoint(0).acquire(1).is_ok() {
                assert_eq!(held.fetch_add(1, Relaxed), 0, "two at once");
                held.fetch_sub(1, Relaxed);
                serve(&set, 0);
            }
        }
    };
    at_once(work, work);
    assert_eq!(set.endpoint(0).in_flight(), 0);
    assert_eq!(set.candidates(0, &IndexSet::default(), 1), 1);
}

#[test]
fn one_of_two_workers_has_the_probe() {
    for _ in 0..ROUNDS {
        let set = set(vec![endpoint(1, 10, 0)]);
        set.endpoint(0).acquire(100).unwrap();
        set.failed(0, 100);
        let probe = || set.endpoint(0).acquire(111).is_ok();
        let (one, other) = at_once(probe, probe);
        assert!(one != other, "exactly one");
        assert_eq!(set.endpoint(0).in_flight(), 1);
        assert_eq!(set.candidates(0, &IndexSet::default(), 111), 0);
    }
}

/// A success that forgives and a failure that disables may meet; whichever comes last, the set
/// must not offer an endpoint that has failed out.
#[test]
fn an_endpoint_that_fails_out_while_it_is_forgiven_is_looked_at() {
    let none = IndexSet::default();
    for _ in 0..ROUNDS {
        let set = set(vec![endpoint(1, 10, 0), endpoint(1, 10, 0)]);
        // An attempt from before the failure, and the probe.
        set.endpoint(0).acquire(100).unwrap();
        set.endpoint(0).acquire(100).unwrap();
        set.failed(0, 100);
        assert_eq!(set.candidates(0, &none, 100), 0b10);
        set.endpoint(0).acquire(111).unwrap();
        let ((), _) = at_once(|| serve(&set, 0), || set.failed(0, 112));
        let out = set.endpoint(0).has_failed_out();
        let expected = if out { 0b10 } else { 0b11 };
        assert_eq!(set.candidates(0, &none, 112), expected, "failed out: {out}");
        assert_eq!(set.endpoint(0).in_flight(), 0);
    }
}

/// As [`Upstream::health_changed`](super::super::Upstream::health_changed) does.
fn health_changed(set: &EndpointSet) {
    set.disabled_epoch.fetch_add(1, Release);
}

fn is_out(set: &EndpointSet, index: u32) {
    let health = &set.endpoint(index).stats.health;
    health.is_out(Unfit::Check, 1, "ill".to_owned());
    health_changed(set);
}

fn is_back(set: &EndpointSet, index: u32) {
    set.endpoint(index).stats.health.is_back(Unfit::Check, 1);
    health_changed(set);
}

#[test]
fn one_that_is_unfit_is_no_candidate_and_one_that_is_back_needs_no_look() {
    let none = IndexSet::default();
    let set = set(vec![endpoint(1, 10, 0), endpoint(1, 10, 0)]);
    assert_eq!(set.candidates(0, &none, 100), 0b11);
    is_out(&set, 0);
    assert_eq!(set.candidates(0, &none, 100), 0b10);
    // What a request does changes nothing about it.
    set.endpoint(0).acquire(100).unwrap();
    serve(&set, 0);
    set.recovered(0);
    assert_eq!(set.candidates(0, &none, 100), 0b10);
    is_back(&set, 0);
    assert_eq!(set.candidates(0, &none, 100), 0b11);
    assert_eq!(set.suspects[0].load(Relaxed), 0);
}

/// Two workers look at the same time, one of which has seen less.
#[test]
fn those_that_fall_ill_at_once_are_both_seen() {
    let none = IndexSet::default();
    for _ in 0..10_000 {
        let set = set((0..100).map(|_| endpoint(1, 10, 0)).collect());
        let set = set.with_panic(Panic {
            threshold: 99,
            ..Panic::default()
        });
        let falls_ill = |index| {
            is_out(&set, index);
            set.candidates(0, &none, 100)
        };
        at_once(|| falls_ill(0), || falls_ill(1));
        assert!(set.has_candidate(&none, 100));
        assert!(set.panics(), "98 of 100 are well");
    }
}

#[test]
fn health_is_ignored_while_fewer_are_well_than_the_threshold() {
    let none = IndexSet::default();
    let mut down = endpoint(1, 10, 0);
    down.down = true;
    let set = set(vec![
        endpoint(1, 10, 0),
        endpoint(1, 10, 0),
        endpoint(1, 10, 0),
        down,
    ]);
    let set = set.with_panic(Panic {
        threshold: 50,
        ..Panic::default()
    });
    is_out(&set, 0);
    assert_eq!(
        set.candidates(0, &none, 100),
        0b110,
        "two of three are well"
    );
    set.endpoint(1).acquire(100).unwrap();
    set.failed(1, 100);
    assert_eq!(
        set.candidates(0, &none, 100),
        0b100,
        "failures of requests do not count"
    );
    is_out(&set, 2);
    assert_eq!(
        set.candidates(0, &none, 100),
        0b101,
        "but for what has failed out"
    );
    assert!(set.health_of(set.endpoint(0)) > 0);
    is_back(&set, 2);
    assert_eq!(set.candidates(0, &none, 100), 0b100);
}

/// Between what changes its health and what tells of it, a request finds no candidate.
#[test]
fn the_last_well_one_that_is_full_and_falls_ill_is_waited_for() {
    let none = IndexSet::default();
    let set = set(vec![endpoint(1, 10, 1), endpoint(1, 10, 1)]);
    let set = set.with_panic(Panic {
        threshold: 50,
        ..Panic::default()
    });
    for index in [0, 1] {
        set.endpoint(index).acquire(100).unwrap();
    }
    is_out(&set, 0);
    assert!(!set.has_candidate(&none, 100));
    let health = &set.endpoint(1).stats.health;
    health.is_out(Unfit::Check, 1, "ill".to_owned());
    assert!(set.is_merely_full(&none, 100, false));
    assert!(set.is_worth_waiting_for(&none, 100, false));
    set.released(0);
    assert!(set.has_candidate(&none, 100), "as health is ignored");
}

#[test]
fn one_that_has_room_since_a_moment_ago_is_waited_for_and_one_that_is_out_is_not() {
    let none = IndexSet::default();
    let set = set(vec![endpoint(1, 10, 1), endpoint(1, 10, 1)]);
    is_out(&set, 0);
    set.endpoint(1).acquire(100).unwrap();
    assert!(!set.has_candidate(&none, 100));
    set.released(1);
    assert!(!set.is_merely_full(&none, 100, false));
    assert!(set.is_worth_waiting_for(&none, 100, false));
    is_out(&set, 1);
    assert!(!set.is_worth_waiting_for(&none, 100, false));
    assert!(
        set.is_worth_waiting_for(&none, 100, true),
        "as a last resort"
    );
}

#[test]
fn health_is_0_out_of_rotation_and_else_what_went_well() {
    let mut down = endpoint(1, 10, 0);
    down.down = true;
    let full = endpoint(1, 10, 1);
    let set = set(vec![endpoint(1, 10, 0), endpoint(1, 10, 0), down, full]);
    let health = |index| set.health_of(set.endpoint(index));
    assert_eq!([0, 1, 2, 3].map(health), [100, 100, 0, 100]);
    set.endpoint(3).acquire(100).unwrap();
    assert_eq!(health(3), 100, "one that is full is well");
    set.endpoint(0).note_end(true);
    assert_eq!(health(0), 95);
    for _ in 0..1000 {
        set.endpoint(0).note_end(true);
    }
    assert_eq!(health(0), 1, "it is in rotation");
    is_out(&set, 0);
    assert_eq!(health(0), 0);
    set.endpoint(1).acquire(100).unwrap();
    set.failed(1, 100);
    assert_eq!(health(1), 0);
}

#[test]
fn a_last_resort_is_fit_if_there_is_one() {
    let set = set(vec![endpoint(1, 10, 0), endpoint(1, 10, 0)]);
    is_out(&set, 0);
    set.endpoint(1).acquire(100).unwrap();
    set.failed(1, 100);
    let mut tried = IndexSet::default();
    assert_eq!(set.last_resort(&tried), Some(1), "although it has failed");
    tried.insert(1);
    assert_eq!(set.last_resort(&tried), Some(0));
}

/// Failures are learnt of through the epoch that the sets of all configurations share.
#[test]
fn a_set_learns_of_failures_under_another_configuration() {
    let none = IndexSet::default();
    for _ in 0..ROUNDS {
        let epoch = DisabledEpoch::default();
        let (old, new) = (endpoint(1, 10, 0), endpoint(1, 10, 0));
        let new = Endpoint {
            stats: old.stats.clone(),
            ..new
        };
        let old = EndpointSet::new(vec![old, endpoint(1, 10, 0)], false, epoch.clone());
        let new = EndpointSet::new(vec![new, endpoint(1, 10, 0)], false, epoch);
        old.endpoint(0).acquire(100).unwrap();
        let (seen, _) = at_once(|| new.candidates(0, &none, 100), || old.failed(0, 100));
        assert!([0b11, 0b10].contains(&seen));
        assert_eq!(new.candidates(0, &none, 100), 0b10);
    }
}
