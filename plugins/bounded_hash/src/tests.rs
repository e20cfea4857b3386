//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod simulation;

use hash::Hash;
use waypost_sdk::Policy;
use waypost_sdk::testing::{Request, Upstream, endpoint};

use super::BoundedHash;

const SETTINGS: &str = r#"{"key": "$uri"}"#;
const UNBOUNDED: &str = r#"{"key": "$uri", "consistent": true}"#;

fn pick<P: Policy>(upstream: &mut Upstream<P>, key: usize) -> usize {
    let request = Request::get(&format!("/{key}"));
    upstream.exchange(request).pick().unwrap()
}

/// Where some hundred keys go.
fn choices<P: Policy>(upstream: &mut Upstream<P>) -> Vec<usize> {
    (0..400).map(|key| pick(upstream, key)).collect()
}

fn load<P: Policy>(upstream: &mut Upstream<P>, loads: &[u32]) {
    for (index, &load) in loads.iter().enumerate() {
        upstream.in_flight(index, load);
    }
}

#[test]
fn keys_go_where_consistent_hashing_sends_them_while_loads_are_even() {
    for count in [3, 8, 100] {
        let mut bounded = Upstream::<BoundedHash>::of(SETTINGS, count);
        let mut unbounded = Upstream::<Hash>::of(UNBOUNDED, count);
        let expected = choices(&mut unbounded);
        for even in [0, 1, 10] {
            load(&mut bounded, &vec![even; count]);
            assert_eq!(choices(&mut bounded), expected, "{count} servers, {even}");
        }
    }
}

#[test]
fn keys_of_a_server_at_its_bound_go_on_as_if_it_were_out_and_no_other_key_moves() {
    for count in [3, 8] {
        let mut bounded = Upstream::<BoundedHash>::of(SETTINGS, count);
        let mut unbounded = Upstream::<Hash>::of(UNBOUNDED, count);
        load(&mut bounded, &vec![4; count]);
        bounded.in_flight(1, 8);
        unbounded.rotate_out(1);
        assert_eq!(choices(&mut bounded), choices(&mut unbounded));
    }
}

/// Of 4 servers with 15 requests in all, this one being the 16th: 1.25 * 16 / 4 = 5 each.
#[test]
fn the_bound_is_factor_times_the_mean_with_the_request_itself() {
    let mut upstream = Upstream::<BoundedHash>::of(SETTINGS, 4);
    load(&mut upstream, &[0; 4]);
    let home = pick(&mut upstream, 7);
    let spread = |at_home: u32| -> Vec<u32> {
        let others = [15 - at_home, 0, 0];
        let mut others = others.into_iter();
        (0..4)
            .map(|index| {
                if index == home {
                    at_home
                } else {
                    others.next().unwrap()
                }
            })
            .collect()
    };
    load(&mut upstream, &spread(4));
    assert_eq!(pick(&mut upstream, 7), home);
    load(&mut upstream, &spread(5));
    assert_ne!(pick(&mut upstream, 7), home);
    // A greater factor: 2 * 16 / 4 = 8.
    let settings = r#"{"key": "$uri", "factor": 2}"#;
    let mut upstream = Upstream::<BoundedHash>::of(settings, 4);
    load(&mut upstream, &spread(7));
    assert_eq!(pick(&mut upstream, 7), home);
    load(&mut upstream, &spread(8));
    assert_ne!(pick(&mut upstream, 7), home);
}

/// 1.25 * 16 / 4 = 5 for each unit of weight.
#[test]
fn a_server_of_three_times_the_weight_takes_three_times_as_much() {
    let servers = [endpoint("a:1").weight(3), endpoint("b:1")];
    let mut upstream = Upstream::<BoundedHash>::new(SETTINGS, servers).unwrap();
    let key = (0..).find(|&key| pick(&mut upstream, key) == 0).unwrap();
    load(&mut upstream, &[14, 1]);
    assert_eq!(pick(&mut upstream, key), 0);
    load(&mut upstream, &[15, 0]);
    assert_eq!(pick(&mut upstream, key), 1);
}

#[test]
fn what_servers_out_of_rotation_have_to_do_raises_no_bound() {
    let mut upstream = Upstream::<BoundedHash>::of(SETTINGS, 3);
    upstream.rotate_out(2);
    let key = (0..).find(|&key| pick(&mut upstream, key) == 0).unwrap();
    load(&mut upstream, &[3, 1, 1000]); // 1.25 * 5 / 2 = 3.125, so four in whole requests
    assert_eq!(pick(&mut upstream, key), 0);
    load(&mut upstream, &[4, 1, 1000]); // 1.25 * 6 / 2 = 3.75
    assert_eq!(pick(&mut upstream, key), 1);
}

#[test]
fn the_one_server_below_its_bound_is_found_among_many_that_are_out() {
    let mut upstream = Upstream::<BoundedHash>::of(SETTINGS, 1000);
    (3..1000).for_each(|index| upstream.rotate_out(index));
    load(&mut upstream, &[100, 1, 100]); // 1.25 * 202 / 3 = 84
    assert!(choices(&mut upstream).iter().all(|&index| index == 1));
}

#[test]
fn every_server_is_reached_by_retries_and_none_twice() {
    for in_flight in [0, 9] {
        let mut upstream = Upstream::<BoundedHash>::of(SETTINGS, 9);
        upstream.in_flight(3, in_flight);
        let mut exchange = upstream.exchange(Request::get("/index.html"));
        let mut chosen: Vec<_> = std::iter::from_fn(|| exchange.pick()).collect();
        chosen.sort_unstable();
        assert_eq!(chosen, (0..9).collect::<Vec<_>>());
    }
}

#[test]
fn the_addresses_of_one_name_take_turns() {
    let servers = [
        endpoint("app:80").address("10.0.0.1:80"),
        endpoint("app:80").address("10.0.0.2:80"),
        endpoint("other:80").address("10.0.0.3:80"),
    ];
    let mut upstream = Upstream::<BoundedHash>::new(SETTINGS, servers).unwrap();
    let key = (0..).find(|&key| pick(&mut upstream, key) == 0).unwrap();
    for even in [0, 4] {
        load(&mut upstream, &[even; 3]);
        let turns = [(); 4].map(|()| pick(&mut upstream, key));
        assert_eq!(turns, [1, 0, 1, 0]);
    }
    // 1.25 * 10 / 3 = 4.2: one of them is at its bound.
    load(&mut upstream, &[5, 3, 1]);
    assert_eq!([pick(&mut upstream, key), pick(&mut upstream, key)], [1, 1]);
}

#[test]
fn an_empty_key_falls_back_to_turns() {
    let mut upstream = Upstream::<BoundedHash>::of(r#"{"key": "$arg_user"}"#, 3);
    assert_eq!(upstream.picks(4), [0, 1, 2, 0].map(Some));
}

#[test]
fn settings_are_checked() {
    let refused = |settings: &str| {
        let error = Upstream::<BoundedHash>::new(settings, []).err().unwrap();
        (error.key, error.message)
    };
    assert_eq!(refused("{}"), ("key".into(), "`key` is missing".into()));
    for factor in ["1", "0.9", "-2", "100.5"] {
        let (key, message) = refused(&format!(r#"{{"key": "$uri", "factor": {factor}}}"#));
        assert_eq!(key, "factor");
        assert_eq!(message, "`factor` must be more than 1, and 100 at most");
    }
    assert_eq!(
        refused(r#"{"key": "$uri", "factor": "125%"}"#).1,
        "`factor` must be a number such as 1.25"
    );
    assert_eq!(
        refused(r#"{"key": "$uri", "faktor": 2}"#).1,
        "unknown key `faktor`; did you mean `factor`?"
    );
}

#[test]
fn it_takes_the_settings_that_it_describes() {
    Upstream::<BoundedHash>::check_description(&[r#"{"key": "$uri", "factor": 2}"#]);
}
