//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use waypost_sdk::Draws;
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

/// By hand after `ngx_http_upstream_get_least_conn_peer`: effective weights 0, 1, 2, 3 against 3
/// each time; current weights after each turn 0 and 0; 1 and -1; -2 and 2; 1 and -1.
#[test]
fn a_server_whose_attempts_fail_gets_fewer_turns_for_a_while() {
    let mut upstream = weighted([3, 3]);
    upstream.failed(0);
    assert_eq!(upstream.picks(4), [1, 1, 0, 1].map(Some));
}

#[test]
fn turns_among_equals_stay_exact_however_often_the_plugin_is_swapped() {
    let mut upstream = weighted([1, 1, 1]);
    for request in 0..90 {
        assert_eq!(upstream.pick(), Some(request % 3));
        for _ in 0..request % 4 {
            upstream = upstream.swap("{}");
        }
    }
}

#[test]
fn servers_that_stay_keep_their_turn_when_others_come_and_go() {
    let mut upstream = weighted([1, 1, 1]);
    assert_eq!(upstream.pick(), Some(0));
    let mut upstream =
        upstream.reload("{}", ["10.0.0.0:80", "10.0.0.2:80", "new:80"].map(endpoint));
    assert_eq!(upstream.picks(3), [1, 2, 0].map(Some));
}

/// A peer as nginx keeps it.
#[derive(Clone, Copy)]
struct Peer {
    weight: u64,
    effective: i64,
    current: i64,
    conns: u64,
    out: bool,
}

/// `ngx_http_upstream_get_least_conn_peer` peer by peer, in the two passes in which it is written.
fn as_nginx_would(peers: &mut [Peer]) -> usize {
    let (mut best, mut many) = (None, false);
    for (index, peer) in peers.iter().enumerate().filter(|(_, peer)| !peer.out) {
        let Some(leader) = best.map(|best: usize| peers[best]) else {
            best = Some(index);
            continue;
        };
        if peer.conns * leader.weight < leader.conns * peer.weight {
            (best, many) = (Some(index), false);
        } else if peer.conns * leader.weight == leader.conns * peer.weight {
            many = true;
        }
    }
    let first = best.unwrap();
    let (mut best, mut total) = (first, 0);
    if many {
        for index in first..peers.len() {
            let (leader, peer) = (peers[best], &mut peers[index]);
            if peer.out || peer.conns * leader.weight != leader.conns * peer.weight {
                continue;
            }
            peer.current += peer.effective;
            total += peer.effective;
            peer.effective += i64::from(peer.effective < peer.weight as i64);
            if peers[index].current > peers[best].current {
                best = index;
            }
        }
    }
    peers[best].current -= total;
    best
}

#[test]
fn every_choice_is_the_one_of_nginxs_two_passes() {
    let mut draws = Draws::from_seed(4);
    // Weights with a common multiple and without, loads that can be multiplied by it and that cannot.
    let loads = [(1, 1), (5, 1), (5, 1 << 25), (70_000, 1)];
    for count in [2, 4, 5, 64, 65, 150] {
        for (heaviest, load) in loads {
            let mut fresh = |_| {
                let weight = 1 + draws.below(heaviest);
                Peer {
                    weight,
                    effective: weight as i64,
                    current: 0,
                    conns: 0,
                    out: false,
                }
            };
            let mut peers: Vec<_> = (0..count).map(&mut fresh).collect();
            let servers = peers
                .iter()
                .enumerate()
                .map(|(i, p)| endpoint(&format!("a{i}:1")).weight(p.weight as u32));
            let mut upstream =
                Upstream::<LeastConn>::new("{}", servers.collect::<Vec<_>>()).unwrap();
            for _ in 0..300 {
                let changed = draws.below(count) as usize;
                peers[changed].conns = load * draws.below(4);
                upstream.in_flight(changed, peers[changed].conns as u32);
                let turned = draws.below(count) as usize;
                peers[turned].out = draws.below(3) == 0;
                if peers[turned].out {
                    upstream.rotate_out(turned)
                } else {
                    upstream.rotate_in(turned)
                }
                if peers.iter().all(|peer| peer.out) {
                    continue;
                }
                if draws.below(5) == 0 {
                    upstream.failed(changed);
                    // max_fails is 1: a failure takes all of the weight.
                    peers[changed].effective = 0;
                }
                assert_eq!(
                    upstream.pick(),
                    Some(as_nginx_would(&mut peers)),
                    "{count} servers"
                );
            }
        }
    }
}

#[test]
fn it_takes_the_settings_that_it_describes() {
    Upstream::<LeastConn>::check_description(&["{}"]);
}
