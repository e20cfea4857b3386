//! What a user may rely on, most of it recorded from a running nginx.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use waypost_sdk::testing::{Request, Upstream, endpoint};
use waypost_sdk::{Draws, Keeper};

use super::RoundRobin;

fn weighted<const N: usize>(weights: [u32; N]) -> Upstream<RoundRobin> {
    let servers = weights
        .into_iter()
        .enumerate()
        .map(|(i, weight)| endpoint(&format!("10.0.0.{i}:80")).weight(weight));
    Upstream::new("{}", servers).unwrap()
}

#[test]
fn weights_5_1_1_take_turns_as_in_nginx() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../tests/nginx/vectors.json")).unwrap();
    let recorded = vectors["wrr_5_1_1"].as_str().unwrap();
    let chosen: String = weighted([5, 1, 1])
        .picks(recorded.len())
        .into_iter()
        .map(|index| (index.unwrap() + 1).to_string())
        .collect();
    assert_eq!(chosen, recorded);
}

#[test]
fn equal_servers_get_equal_shares() {
    let chosen = weighted([1, 1, 1]).picks(9);
    assert_eq!(chosen, [0, 1, 2, 0, 1, 2, 0, 1, 2].map(Some));
}

#[test]
fn a_server_out_of_rotation_is_passed_over_and_the_others_keep_their_shares() {
    let mut upstream = weighted([5, 1, 1]);
    upstream.rotate_out(0);
    assert_eq!(upstream.picks(4), [1, 2, 1, 2].map(Some));
}

#[test]
fn a_retry_goes_elsewhere() {
    let mut upstream = weighted([5, 1]);
    let mut exchange = upstream.exchange(Request::get("/"));
    assert_eq!(
        [exchange.pick(), exchange.pick(), exchange.pick()],
        [Some(0), Some(1), None]
    );
}

#[test]
fn a_failing_server_loses_weight_over_max_fails_and_wins_it_back_turn_by_turn() {
    let servers = [
        endpoint("a:80").weight(6).max_fails(3),
        endpoint("b:80").weight(1),
    ];
    let mut upstream = Upstream::<RoundRobin>::new("{}", servers).unwrap();
    for _ in 0..3 {
        upstream.failed(0);
    }
    // By hand after ngx_http_upstream_get_peer: effective weights 0 to 6, then 6, against 1 each
    // time; current weights after each turn 0 and 0; -1 and 1; 1 and -1; 0 and 0; -1 and 1; -2 and
    // 2; -3 and 3; 3 and -3.
    assert_eq!(upstream.picks(8), [1, 0, 1, 0, 0, 0, 0, 1].map(Some));
}

#[test]
fn max_fails_0_costs_no_weight() {
    let servers = [endpoint("a:80").weight(3).max_fails(0), endpoint("b:80")];
    let mut upstream = Upstream::<RoundRobin>::new("{}", servers).unwrap();
    upstream.failed(0);
    assert_eq!(upstream.picks(4), [0, 0, 1, 0].map(Some));
}

#[test]
fn a_fleet_of_many_words_takes_turns_too() {
    let mut upstream = Upstream::<RoundRobin>::of("{}", 200);
    upstream.rotate_out(130);
    let expected: Vec<_> = (0..200).filter(|&index| index != 130).map(Some).collect();
    assert_eq!(upstream.picks(199), expected);
}

#[test]
fn a_server_added_meanwhile_does_not_disturb_the_turns_of_the_others() {
    let mut upstream = Upstream::<RoundRobin>::of("{}", 3);
    assert_eq!(upstream.pick(), Some(0));
    let grown = (0..4).map(|i| endpoint(&format!("10.0.0.{i}:80")));
    let mut upstream = upstream.reload("{}", grown);
    assert_eq!(upstream.picks(3), [1, 2, 3].map(Some));
}

#[test]
fn three_equal_servers_get_equal_shares_however_often_the_plugin_is_swapped() {
    let mut draws = Draws::from_seed(2);
    let mut upstream = weighted([1, 1, 1]);
    let mut counts = [0; 3];
    for request in 0..300 {
        for _ in 0..draws.below(3) {
            upstream = upstream.swap("{}");
        }
        assert_eq!(upstream.pick(), Some(request % 3));
        counts[request % 3] += 1;
    }
    assert_eq!(counts, [100; 3]);
}

#[test]
fn a_swap_changes_no_choice_whatever_weights_failures_and_health() {
    let mut draws = Draws::from_seed(3);
    let (mut swapped, mut kept) = (weighted([5, 1, 3, 3]), weighted([5, 1, 3, 3]));
    for _ in 0..500 {
        let (index, what) = (draws.below(4) as usize, draws.below(5));
        for upstream in [&mut swapped, &mut kept] {
            match what {
                0 => upstream.failed(index),
                1 => upstream.rotate_out(index),
                _ => upstream.rotate_in(index),
            }
        }
        swapped = swapped.swap("{}");
        assert_eq!(swapped.pick(), kept.pick());
    }
}

#[test]
fn state_of_another_format_is_refused_and_the_turns_go_on() {
    let mut upstream = weighted([1, 1, 1]);
    assert_eq!(upstream.pick(), Some(0));
    let refused = upstream.policy.import_state(&[2, 0, 0]).unwrap_err();
    assert_eq!(refused, "the state has format `2`, this version reads `1`");
    assert_eq!(upstream.pick(), Some(1));
}

#[test]
fn settings_are_refused_because_there_are_none() {
    let error = Upstream::<RoundRobin>::new(r#"{"weight": 3}"#, [])
        .err()
        .unwrap();
    assert_eq!(
        (error.key.as_str(), error.message.as_str()),
        ("weight", "unknown key `weight`; it takes none")
    );
}

#[test]
fn it_takes_the_settings_that_it_describes() {
    Upstream::<RoundRobin>::check_description(&["{}"]);
}
