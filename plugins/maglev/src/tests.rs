//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod simulation;

use waypost_sdk::testing::{Request, Upstream, endpoint};

use super::Maglev;

const SETTINGS: &str = r#"{"key": "$uri"}"#;

/// Where a thousand keys go.
fn choices(upstream: &mut Upstream<Maglev>) -> Vec<usize> {
    let pick = |i| upstream.exchange(Request::get(&format!("/{i}"))).pick();
    (0..1000).map(pick).map(Option::unwrap).collect()
}

#[test]
fn a_key_stays_at_its_server() {
    let mut upstream = Upstream::<Maglev>::of(SETTINGS, 5);
    let before = choices(&mut upstream);
    assert_eq!(before, choices(&mut upstream));
    assert!((0..5).all(|index| before.contains(&index)));
}

#[test]
fn only_the_keys_of_a_server_out_of_rotation_move_and_they_come_back() {
    let mut upstream = Upstream::<Maglev>::of(SETTINGS, 5);
    let before = choices(&mut upstream);
    upstream.rotate_out(2);
    let meanwhile = choices(&mut upstream);
    let moved = before.iter().zip(&meanwhile);
    assert!(moved.clone().all(|(old, new)| old == new || *old == 2));
    // They are spread over all others.
    for other in [0, 1, 3, 4] {
        assert!(moved.clone().any(|pair| pair == (&2, &other)), "{other}");
    }
    upstream.rotate_in(2);
    assert_eq!(before, choices(&mut upstream));
}

#[test]
fn down_servers_keep_their_slots_so_that_no_other_key_moves() {
    let servers = |down: bool| {
        let third = if down {
            endpoint("c:1").down()
        } else {
            endpoint("c:1")
        };
        Upstream::<Maglev>::new(SETTINGS, [endpoint("a:1"), endpoint("b:1"), third]).unwrap()
    };
    let (up, down) = (choices(&mut servers(false)), choices(&mut servers(true)));
    assert!(
        up.iter()
            .zip(&down)
            .all(|(up, down)| *up == 2 || up == down)
    );
}

#[test]
fn keys_follow_a_server_and_not_its_place_or_address() {
    let name = |i: usize| format!("app-{i}.example:80");
    let mut before = Upstream::<Maglev>::new(SETTINGS, (0..4).map(|i| endpoint(&name(i)))).unwrap();
    let moved = (0..4)
        .rev()
        .map(|i| endpoint(&name(i)).address(&format!("192.0.2.{i}:80")));
    let mut after = Upstream::<Maglev>::new(SETTINGS, moved).unwrap();
    let (before, after) = (choices(&mut before), choices(&mut after));
    assert!(before.iter().zip(&after).all(|(b, a)| *b == 3 - *a));
}

#[test]
fn every_server_is_reached_by_retries_and_none_twice() {
    // A table this small has no slots of most of these servers.
    for settings in [SETTINGS, r#"{"key": "$uri", "table_size": 3}"#] {
        let mut upstream = Upstream::<Maglev>::of(settings, 70);
        let mut exchange = upstream.exchange(Request::get("/index.html"));
        let mut chosen: Vec<_> = std::iter::from_fn(|| exchange.pick()).collect();
        chosen.sort_unstable();
        assert_eq!(chosen, (0..70).collect::<Vec<_>>(), "{settings}");
    }
}

#[test]
fn a_key_keeps_to_one_of_the_few_servers_that_are_left_of_many() {
    let mut upstream = Upstream::<Maglev>::of(SETTINGS, 1000);
    (3..1000).for_each(|index| upstream.rotate_out(index));
    let before = choices(&mut upstream);
    assert!((0..3).all(|index| before.contains(&index)));
    upstream.rotate_out(1);
    let after = choices(&mut upstream);
    let mut moved = before.iter().zip(&after);
    assert!(moved.all(|(old, new)| old == new || *old == 1));
}

#[test]
fn a_server_of_twice_the_weight_gets_twice_the_keys() {
    let servers = [endpoint("a:1").weight(2), endpoint("b:1")];
    let mut upstream = Upstream::<Maglev>::new(SETTINGS, servers).unwrap();
    let of_a = choices(&mut upstream)
        .iter()
        .filter(|&&index| index == 0)
        .count();
    assert!((620..713).contains(&of_a), "{of_a} of 1000");
}

#[test]
fn an_empty_key_falls_back_to_turns() {
    let mut upstream = Upstream::<Maglev>::of(r#"{"key": "$arg_user"}"#, 3);
    assert_eq!(upstream.picks(4), [0, 1, 2, 0].map(Some));
}

#[test]
fn settings_are_checked() {
    let refused = |settings: &str| {
        let error = Upstream::<Maglev>::new(settings, []).err().unwrap();
        (error.key, error.message)
    };
    assert_eq!(refused("{}"), ("key".into(), "`key` is missing".into()));
    let of_size = |size: &str| {
        let (key, message) = refused(&format!(r#"{{"key": "$uri", "table_size": {size}}}"#));
        assert_eq!(key, "table_size");
        message
    };
    let bounds = "`table_size` must be a prime number from 3 to 262139";
    for size in ["0", "2", "262140", "5000000000"] {
        assert_eq!(of_size(size), bounds);
    }
    assert_eq!(
        of_size("65536"),
        "`table_size` must be a prime number, such as 65537"
    );
    assert_eq!(
        of_size("-7"),
        "`table_size` must be a whole number, 0 or more"
    );
    assert_eq!(
        refused(r#"{"key": "$uri", "tablesize": 7}"#).1,
        "unknown key `tablesize`; did you mean `table_size`?"
    );
}

#[test]
fn it_takes_the_settings_that_it_describes() {
    Upstream::<Maglev>::check_description(&[r#"{"key": "$uri", "table_size": 251}"#]);
}
