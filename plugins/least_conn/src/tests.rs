//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use waypost_sdk::testing::{Request, Upstream, endpoint};

use super::LeastConn;

fn weighted<const N: usize>(weights: [u32; N]) -> Upstream<LeastConn> {
    let servers = weights
        .into_iter()
        .enumerate()
        .map(|(i, weight)| endpoint(&format!("10.0.0.{i}:80")).weight(weight));
    Upstream::new("{}", servers).unwrap()
}

#[test]
fn idle_servers_take_turns_by_weight_as_in_nginx() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../tests/nginx/vectors.json")).unwrap();
    let recorded = vectors["least_conn_idle_3_2_1"].as_str().unwrap();
    let chosen: String = weighted([3, 2, 1])
        .picks(recorded.len())
        .into_iter()
        .map(|index| (index.unwrap() + 1).to_string())
        .collect();
    assert_eq!(chosen, recorded);
}

#[test]
fn the_least_loaded_is_chosen_however_the_turns_stand() {
    for count in [3, 6, 200] {
        let mut upstream = Upstream::<LeastConn>::of("{}", count);
        for index in 0..count {
            upstream.in_flight(index, 2);
        }
        upstream.in_flight(count - 2, 1);
        assert_eq!(upstream.picks(3), [Some(count - 2); 3], "{count} servers");
    }
}

#[test]
fn load_counts_per_weight() {
    let mut upstream = weighted([1, 3]);
    upstream.in_flight(0, 1);
    upstream.in_flight(1, 2);
    assert_eq!(upstream.pick(), Some(1)); // 2/3 against 1/1
    upstream.in_flight(1, 4);
    assert_eq!(upstream.pick(), Some(0)); // 4/3 against 1/1
}

#[test]
fn only_those_equally_loaded_take_turns() {
    let mut upstream = weighted([1, 1, 1, 1, 1, 1]);
    for (index, load) in [5, 1, 3, 1, 1, 9].into_iter().enumerate() {
        upstream.in_flight(index, load);
    }
    assert_eq!(upstream.picks(6), [1, 3, 4, 1, 3, 4].map(Some));
}

#[test]
fn equal_load_per_weight_is_a_tie_between_different_weights() {
    let mut upstream = weighted([2, 1]);
    upstream.in_flight(0, 2);
    upstream.in_flight(1, 1);
    assert_eq!(upstream.picks(3), [0, 1, 0].map(Some));
}

#[test]
fn a_retry_goes_to_the_next_best() {
    let mut upstream = weighted([1, 1, 1]);
    upstream.in_flight(0, 1);
    upstream.in_flight(2, 2);
    let mut exchange = upstream.exchange(Request::get("/"));
    assert_eq!(
        [
            exchange.pick(),
            exchange.pick(),
            exchange.pick(),
            exchange.pick()
        ],
        [Some(1), Some(0), Some(2), None]
    );
}

/// By hand after `ngx_http_upstream_get_least_conn_peer`: effective weights 0, 1, 2, 3 against 3 each time; current weights after
/// each turn 0 and 0; 1 and -1; -2 and 2; 1 and -1.
#[test]
fn a_server_whose_attempts_fail_gets_fewer_turns_for_a_while() {
    let mut upstream = weighted([3, 3]);
    upstream.failed(0);
    assert_eq!(upstream.picks(4), [1, 1, 0, 1].map(Some));
}
