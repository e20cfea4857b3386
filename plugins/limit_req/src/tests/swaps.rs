//! What the next instance takes over.

use waypost_sdk::testing::{Hooked, damaged};
use waypost_sdk::{Draws, Keeper, StateWriter};

use super::{DECLARED, ask, of, passed};
use crate::LimitReq;

const PLACE: &str = r#"{"burst": 5, "nodelay": true}"#;

fn swap(hooked: Hooked<LimitReq>, declared: &str, place: &str) -> Hooked<LimitReq> {
    let next = hooked.swap::<LimitReq>(declared, &[place]);
    next.unwrap_or_else(|error| panic!("{}", error.message))
}

#[test]
fn a_client_over_its_limit_stays_over_it() {
    let mut hooked = of(DECLARED, PLACE);
    for _ in 0..10 {
        assert!(passed(&mut hooked, "a", 6) <= 6);
        assert_eq!(passed(&mut hooked, "a", 10), 0);
        hooked = swap(hooked, DECLARED, PLACE);
        assert_eq!(passed(&mut hooked, "a", 10), 0);
        hooked.pass_us(100_000);
        assert_eq!(passed(&mut hooked, "a", 10), 1);
    }
}

#[test]
fn what_is_handed_on_counts_for_a_client_that_was_quicker() {
    let mut hooked = of(DECLARED, PLACE);
    assert_eq!(passed(&mut hooked, "a", 10), 6);
    let state = hooked.hook.export_state();
    let mut next = of(DECLARED, PLACE);
    next.now_us = hooked.now_us;
    assert_eq!(passed(&mut next, "a", 1), 1);
    assert!(next.hook.import_state(&state).is_ok());
    assert_eq!(passed(&mut next, "a", 10), 0);
}

#[test]
fn the_rate_and_the_burst_may_change_under_a_client() {
    let mut hooked = of(DECLARED, PLACE);
    passed(&mut hooked, "a", 10);
    let quicker = DECLARED.replace("10r/s", "100r/s");
    hooked = swap(hooked, &quicker, r#"{"burst": 7, "nodelay": true}"#);
    assert_eq!(passed(&mut hooked, "a", 10), 2);
    hooked.pass_us(10_000);
    assert_eq!(passed(&mut hooked, "a", 10), 1);
}

#[test]
fn another_key_begins_anew() {
    let mut hooked = of(DECLARED, PLACE);
    passed(&mut hooked, "a", 10);
    let other = DECLARED.replace("$arg_user", "$arg_user$arg_none");
    hooked = swap(hooked, &other, PLACE);
    assert_eq!(passed(&mut hooked, "a", 10), 6);
}

#[test]
fn zones_are_known_by_their_names() {
    let declared = r#"{"zones": {"x": {"key": "$arg_user", "rate": "1r/s"},
                                 "y": {"key": "$arg_user", "rate": "1r/s"}}}"#;
    let both = r#"{"zones": [{"zone": "y", "burst": 3, "nodelay": true},
                             {"zone": "x", "burst": 1, "nodelay": true}]}"#;
    let mut hooked = of(declared, both);
    assert_eq!(passed(&mut hooked, "a", 5), 2);
    let grown = r#"{"zones": {"w": {"key": "$arg_user", "rate": "1r/s"},
                              "x": {"key": "$arg_user", "rate": "1r/s"},
                              "y": {"key": "$arg_user", "rate": "1r/s"}}}"#;
    let of_y = r#"{"zones": [{"zone": "y", "burst": 3, "nodelay": true}]}"#;
    hooked = swap(hooked, grown, of_y);
    assert_eq!(passed(&mut hooked, "a", 5), 2);
}

#[test]
fn empty_buckets_are_left_out_and_make_no_difference() {
    let mut hooked = of(DECLARED, PLACE);
    for user in 0..1000 {
        ask(&mut hooked, &user.to_string());
    }
    let full = hooked.hook.export_state().len();
    assert!((5_000..15_000).contains(&full), "{full}");
    // A request takes a tenth of a second to flow out.
    hooked.pass_us(99_000);
    ask(&mut hooked, "0");
    assert!(hooked.hook.export_state().len() > full / 2);
    hooked.pass_us(1_000);
    ask(&mut hooked, "0");
    assert!(hooked.hook.export_state().len() < 100);
    hooked = swap(hooked, DECLARED, "{}");
    assert_eq!(passed(&mut hooked, "1", 3), 1);
    assert_eq!(passed(&mut hooked, "0", 3), 0);
}

#[test]
fn of_more_buckets_than_a_state_holds_those_in_use_last_are_kept() {
    let declared = r#"{"zones": {"a": {"key": "$arg_user", "rate": "1r/s", "size": "10m"}}}"#;
    let place = r#"{"zones": [{"zone": "a"}]}"#;
    let mut hooked = of(declared, place);
    for user in 0..150_000 {
        assert_eq!(passed(&mut hooked, &format!("user-{user}"), 1), 1);
    }
    assert!(hooked.hook.export_state().len() <= 1 << 20);
    hooked = swap(hooked, declared, place);
    assert_eq!(hooked.hook.zones[0].buckets.len(), 20_000);
    for user in 130_000..150_000 {
        assert_eq!(passed(&mut hooked, &format!("user-{user}"), 1), 0);
    }
    assert_eq!(passed(&mut hooked, "user-129999", 1), 1);
    assert_eq!(passed(&mut hooked, "user-0", 1), 1);
}

#[test]
fn of_long_keys_the_state_holds_as_many_as_have_room() {
    let declared = r#"{"zones": {"a": {"key": "$arg_user", "rate": "1r/s", "size": "10m"}}}"#;
    let place = r#"{"zones": [{"zone": "a"}]}"#;
    let mut hooked = of(declared, place);
    let name = |user: usize| format!("{user:0>200}");
    for user in 0..10_000 {
        assert_eq!(passed(&mut hooked, &name(user), 1), 1);
    }
    let bytes = hooked.hook.export_state().len();
    assert!((890 << 10..=1 << 20).contains(&bytes), "{bytes}");
    hooked = swap(hooked, declared, place);
    let kept = hooked.hook.zones[0].buckets.len();
    assert!((4_000..5_000).contains(&kept), "{kept}");
    assert_eq!(passed(&mut hooked, &name(9_999), 1), 0);
    assert_eq!(passed(&mut hooked, &name(0), 1), 1);
}

#[test]
fn the_order_of_use_is_kept() {
    let small = r#"{"key": "$arg_user", "rate": "1r/s", "size": "32k"}"#;
    let mut hooked = of(small, "{}");
    for user in 0..128 {
        ask(&mut hooked, &user.to_string());
    }
    hooked = swap(hooked, small, "{}");
    assert_eq!(passed(&mut hooked, "new", 1), 1);
    assert_eq!(passed(&mut hooked, "127", 1), 0);
    assert_eq!(passed(&mut hooked, "1", 1), 0);
    assert_eq!(passed(&mut hooked, "0", 1), 1);
}

#[test]
fn an_excess_that_no_version_can_have_written_is_refused() {
    let most = 1_000_000_001_000; // a burst of as much as can be set, and one more
    for (excess, is_good) in [(most, true), (most + 1, false), (u64::MAX, false)] {
        let mut state = StateWriter::new(1);
        state.number(0);
        state.signed(1000);
        state.text("api");
        state.text("$arg_user");
        state.bytes(b"a");
        state.number(excess);
        state.signed(0);
        state.bytes(b"");
        let mut hooked = of(DECLARED, PLACE);
        let imported = hooked.hook.import_state(&state.finish());
        assert_eq!(imported.is_ok(), is_good, "{excess}");
    }
}

#[test]
fn a_damaged_state_changes_nothing_or_is_a_state() {
    let mut hooked = of(DECLARED, PLACE);
    for user in 0..200 {
        passed(&mut hooked, &user.to_string(), 1 + user % 7);
    }
    let state = hooked.hook.export_state();
    let mut draws = Draws::from_seed(1);
    for _ in 0..5000 {
        let mut next = of(DECLARED, PLACE);
        let import = next.hook.import_state(&damaged(&state, &mut draws));
        if import.is_err() {
            assert!(next.hook.zones[0].buckets.is_empty());
        }
        assert!(next.hook.zones[0].buckets.len() <= 200);
        // Whatever it took, it goes on.
        next.now_us = hooked.now_us + draws.below(1_000_000);
        for user in 0..20 {
            passed(&mut next, &user.to_string(), 2);
        }
        next.hook.export_state();
    }
}
