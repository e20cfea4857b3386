//! What a user may rely on, most of it recorded from a running nginx.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;

use serde_json::Value;
use waypost_sdk::testing::{Request, Upstream, endpoint};

use super::IpHash;

fn from(address: &str) -> Request {
    Request::get("/").client(address.parse::<IpAddr>().unwrap())
}

#[test]
fn every_client_goes_where_nginx_sends_it() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../tests/nginx/vectors.json")).unwrap();
    let recorded = vectors["ip_hash_4_equal"].as_object().unwrap();
    assert!(!recorded.is_empty());
    let servers = [
        "127.0.0.1:39101",
        "127.0.0.1:39102",
        "127.0.0.1:39103",
        "127.0.0.1:39104",
    ];
    let mut upstream = Upstream::<IpHash>::new("{}", servers.map(endpoint)).unwrap();
    for (client, server) in recorded {
        let choice = upstream.exchange(from(client)).pick();
        assert_eq!(
            servers[choice.unwrap()],
            server.as_str().unwrap(),
            "{client}"
        );
    }
}

#[test]
fn clients_of_one_ipv4_network_stay_together() {
    let mut upstream = Upstream::<IpHash>::of("{}", 7);
    let chosen: Vec<_> = (0..=255)
        .map(|last| upstream.exchange(from(&format!("203.0.113.{last}"))).pick())
        .collect();
    assert!(chosen.iter().all(|choice| *choice == chosen[0]));
}

/// By hand after `ngx_http_upstream_get_ip_hash_peer`: three zeros take 89 to 3786, 1390 and 295;
/// 295 % 3 = 1.
#[test]
fn clients_on_a_unix_socket_all_hash_as_zeros() {
    let mut upstream = Upstream::<IpHash>::of("{}", 3);
    assert_eq!(
        upstream.exchange(Request::get("/").client(None)).pick(),
        Some(1)
    );
}

#[test]
fn every_server_is_reached_by_retries_and_none_twice() {
    let mut upstream = Upstream::<IpHash>::of("{}", 4);
    let mut exchange = upstream.exchange(from("10.0.0.1"));
    let chosen: Vec<_> = std::iter::from_fn(|| exchange.pick()).collect();
    assert_eq!(chosen[0], 1);
    let mut sorted = chosen.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [0, 1, 2, 3]);
}

/// The first hash is what a fresh exchange yields, and the retry's what the loop yields when that
/// server is out from the start.
#[test]
fn a_retry_goes_on_hashing_where_the_attempt_before_it_stopped() {
    let mut upstream = Upstream::<IpHash>::of("{}", 16);
    for client in ["10.0.0.1", "192.0.2.9", "198.51.100.7", "2001:db8::7"] {
        let mut exchange = upstream.exchange(from(client));
        let (first, second) = (exchange.pick().unwrap(), exchange.pick());
        upstream.rotate_out(first);
        assert_eq!(upstream.exchange(from(client)).pick(), second, "{client}");
        upstream.rotate_in(first);
    }
}

#[test]
fn the_other_clients_stay_when_a_server_goes_out_of_rotation() {
    let mut upstream = Upstream::<IpHash>::of("{}", 4);
    let clients: Vec<_> = (0..100).map(|i| format!("10.{i}.7.1")).collect();
    let choices = |upstream: &mut Upstream<IpHash>| {
        clients
            .iter()
            .map(|c| upstream.exchange(from(c)).pick())
            .collect::<Vec<_>>()
    };
    let before = choices(&mut upstream);
    upstream.rotate_out(2);
    let after = choices(&mut upstream);
    assert!(
        before
            .iter()
            .zip(&after)
            .all(|(before, after)| *before == Some(2) || before == after)
    );
    assert!(!after.contains(&Some(2)));
}

#[test]
fn after_20_misses_turns_take_over() {
    let mut upstream = Upstream::<IpHash>::of("{}", 300);
    (0..298).for_each(|index| upstream.rotate_out(index));
    let choices: Vec<_> = (0..4)
        .map(|_| upstream.exchange(from("10.0.0.1")).pick())
        .collect();
    assert_eq!(choices, [298, 299, 298, 299].map(Some));
}

#[test]
fn a_share_is_as_large_as_the_weight() {
    let mut upstream =
        Upstream::<IpHash>::new("{}", [endpoint("a:1").weight(3), endpoint("b:1")]).unwrap();
    let clients = (0..=255).flat_map(|i| (0..=15).map(move |j| format!("10.{i}.{j}.1")));
    let to_first = clients
        .filter(|client| upstream.exchange(from(client)).pick() == Some(0))
        .count();
    assert!((2900..3250).contains(&to_first), "{to_first} of 4096");
}

#[test]
fn it_takes_the_settings_that_it_describes() {
    Upstream::<IpHash>::check_description(&["{}"]);
}
