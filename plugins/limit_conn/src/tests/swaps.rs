//! What the next instance takes over.

use waypost_sdk::testing::{Hooked, damaged};
use waypost_sdk::{Draws, Keeper};

use super::{DECLARED, ask, hold, is_full, of};
use crate::LimitConn;

const PLACE: &str = r#"{"connections": 3}"#;

fn swap(hooked: Hooked<LimitConn>, declared: &str) -> Hooked<LimitConn> {
    let next = hooked.swap::<LimitConn>(declared, &[PLACE]);
    next.unwrap_or_else(|error| panic!("{}", error.message))
}

#[test]
fn requests_in_progress_stay_counted_and_their_ends_are_heard() {
    let mut hooked = of(DECLARED, &[PLACE]);
    let mut held = hold(&mut hooked, "a", 3);
    hooked = swap(hooked, DECLARED);
    assert!(is_full(&mut hooked, "a"));
    hooked.on_end(held.pop().unwrap(), 200);
    assert!(!is_full(&mut hooked, "a"));
    for exchange in held {
        hooked.on_end(exchange, 200);
    }
    assert_eq!(hooked.hook.counts.keys(), 0);
}

#[test]
fn the_end_of_a_request_that_an_instance_knows_nothing_of_changes_nothing() {
    let mut hooked = of(DECLARED, &[PLACE]);
    let unknown = hold(&mut hooked, "a", 3);
    // The instance failed: nothing is handed on.
    hooked.hook = of(DECLARED, &[PLACE]).hook;
    let _held: Vec<_> = (0..2).map(|_| ask(&mut hooked, "a").1).collect();
    for exchange in unknown {
        hooked.on_end(exchange, 200);
    }
    let _last = hold(&mut hooked, "a", 1);
    assert!(is_full(&mut hooked, "a"));
}

#[test]
fn another_key_counts_anew() {
    let mut hooked = of(DECLARED, &[PLACE]);
    let held = hold(&mut hooked, "a", 3);
    hooked = swap(hooked, r#"{"key": "$arg_user$arg_none"}"#);
    let _new = hold(&mut hooked, "a", 2);
    for exchange in held {
        hooked.on_end(exchange, 200);
    }
    assert_eq!(hooked.hook.counts.keys(), 1);
}

#[test]
fn a_state_is_bounded_and_what_it_leaves_out_ends_well() {
    let declared = r#"{"key": "$arg_user", "size": "256m"}"#;
    let mut hooked = Hooked::<LimitConn>::new(declared, &[r#"{"connections": 65535}"#])
        .unwrap_or_else(|_| panic!());
    let mut held = Vec::new();
    for number in 0..250_000 {
        held.push(ask(&mut hooked, &format!("user{}", number % 40_000)).1);
    }
    // There is more of it than that, and as much is kept as can be.
    let state = hooked.hook.export_state().len();
    assert!((800 << 10..=1 << 20).contains(&state), "{state}");
    hooked = swap(hooked, declared);
    for exchange in held {
        hooked.on_end(exchange, 200);
    }
    assert_eq!(hooked.hook.counts.keys(), 0);
}

#[test]
fn a_damaged_state_changes_nothing_or_is_a_state() {
    let mut hooked = of(DECLARED, &[PLACE]);
    let mut held = Vec::new();
    for user in 0..100 {
        held.extend(hold(&mut hooked, &user.to_string(), 1 + user % 3));
    }
    let state = hooked.hook.export_state();
    let mut draws = Draws::from_seed(1);
    for _ in 0..5000 {
        let mut next = of(DECLARED, &[PLACE]);
        let import = next.hook.import_state(&damaged(&state, &mut draws));
        if import.is_err() {
            assert_eq!(next.hook.counts.keys(), 0);
        }
        for user in 0..10 {
            is_full(&mut next, &user.to_string());
        }
        next.hook.export_state();
    }
}
