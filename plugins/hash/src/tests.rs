//! What a user may rely on, most of it recorded from a running nginx.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value;
use waypost_sdk::testing::{Request, Upstream, endpoint};

use super::Hash;

const SERVERS: [&str; 4] = [
    "127.0.0.1:39101",
    "127.0.0.1:39102",
    "127.0.0.1:39104",
    "127.0.0.1:39105",
];

fn upstream(settings: &str) -> Upstream<Hash> {
    let servers = SERVERS
        .into_iter()
        .zip([3, 1, 2, 1])
        .map(|(server, weight)| endpoint(server).weight(weight));
    Upstream::new(settings, servers).unwrap()
}

fn every_recorded_key_goes_where_nginx_sent_it(settings: &str, vectors_name: &str) {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../tests/nginx/vectors.json")).unwrap();
    let recorded = vectors[vectors_name].as_object().unwrap();
    assert!(!recorded.is_empty());
    let mut upstream = upstream(settings);
    for (key, server) in recorded {
        let choice = upstream
            .exchange(Request::get("/").variable("key", key))
            .pick();
        assert_eq!(SERVERS[choice.unwrap()], server.as_str().unwrap(), "{key}");
    }
}

#[test]
fn plain_keys_go_where_nginx_sends_them() {
    every_recorded_key_goes_where_nginx_sent_it(r#"{"key": "$key"}"#, "hash_w3_1_2_1");
}

#[test]
fn consistent_keys_go_where_nginx_sends_them() {
    every_recorded_key_goes_where_nginx_sent_it(
        r#"{"key": "$key", "consistent": true}"#,
        "chash_w3_1_2_1",
    );
}

/// By hand after `ngx_http_upstream_get_hash_peer`: crc32("a") is e8b7be43, of which 26807 counts;
/// 26807 % 7 = 4, the third. crc32("1a"): bd314483, 15665 more; 42472 % 7 = 3, the second.
/// crc32("2a"): 961c1740, 5660 more; 48132 % 7 = 0, the first.
#[test]
fn a_retry_goes_on_hashing_where_the_attempt_before_it_stopped() {
    let mut upstream = upstream(r#"{"key": "$key"}"#);
    let mut exchange = upstream.exchange(Request::get("/").variable("key", "a"));
    assert_eq!(
        [exchange.pick(), exchange.pick(), exchange.pick()],
        [2, 1, 0].map(Some)
    );
}

#[test]
fn every_server_is_reached_by_retries_and_none_twice() {
    for settings in [
        r#"{"key": "$uri"}"#,
        r#"{"key": "$uri", "consistent": true}"#,
    ] {
        let mut upstream = upstream(settings);
        let mut exchange = upstream.exchange(Request::get("/index.html"));
        let mut chosen: Vec<_> = std::iter::from_fn(|| exchange.pick()).collect();
        chosen.sort_unstable();
        assert_eq!(chosen, [0, 1, 2, 3], "{settings}");
    }
}

#[test]
fn only_the_keys_of_a_lost_server_move_on_the_ring() {
    let mut upstream = upstream(r#"{"key": "$uri", "consistent": true}"#);
    let choices = |upstream: &mut Upstream<Hash>| -> Vec<_> {
        (0..500)
            .map(|i| {
                upstream
                    .exchange(Request::get(&format!("/{i}")))
                    .pick()
                    .unwrap()
            })
            .collect()
    };
    let before = choices(&mut upstream);
    upstream.rotate_out(2);
    let after = choices(&mut upstream);
    assert!(before.contains(&2) && !after.contains(&2));
    assert!(
        before
            .iter()
            .zip(&after)
            .all(|(before, after)| *before == 2 || before == after)
    );
}

#[test]
fn the_addresses_of_one_name_take_turns_at_its_place_on_the_ring() {
    let servers = [
        endpoint("app:80").address("10.0.0.1:80"),
        endpoint("app:80").address("10.0.0.2:80"),
        endpoint("other:80").address("10.0.0.3:80"),
    ];
    let mut upstream =
        Upstream::<Hash>::new(r#"{"key": "$key", "consistent": true}"#, servers).unwrap();
    let mut pick = |key: &str| {
        upstream
            .exchange(Request::get("/").variable("key", key))
            .pick()
            .unwrap()
    };
    let key = (0..)
        .map(|i| i.to_string())
        .find(|key| pick(key) == 0)
        .unwrap();
    assert_eq!([pick(&key), pick(&key), pick(&key)], [1, 0, 1]);
}

#[test]
fn an_empty_key_falls_back_to_turns() {
    for settings in [
        r#"{"key": "$arg_user"}"#,
        r#"{"key": "$arg_user", "consistent": true}"#,
    ] {
        let mut upstream = Upstream::<Hash>::of(settings, 3);
        assert_eq!(upstream.picks(3), [0, 1, 2].map(Some), "{settings}");
    }
}

#[test]
fn a_key_whose_servers_are_all_out_of_rotation_falls_back_to_turns() {
    let mut upstream = Upstream::<Hash>::of(r#"{"key": "$uri"}"#, 300);
    (0..298).for_each(|index| upstream.rotate_out(index));
    let choices: Vec<_> = (0..4)
        .map(|_| upstream.exchange(Request::get("/b")).pick())
        .collect();
    assert_eq!(choices, [298, 299, 298, 299].map(Some));
}

#[test]
fn down_servers_keep_their_share_so_that_no_other_key_moves() {
    let keys: Vec<_> = (0..200).map(|i| format!("/{i}")).collect();
    let choices = |third_down: bool| -> Vec<_> {
        let third = if third_down {
            endpoint("c:1").down()
        } else {
            endpoint("c:1")
        };
        let servers = [endpoint("a:1"), endpoint("b:1"), third];
        let mut upstream = Upstream::<Hash>::new(r#"{"key": "$uri"}"#, servers).unwrap();
        keys.iter()
            .map(|key| upstream.exchange(Request::get(key)).pick().unwrap())
            .collect()
    };
    assert!(
        choices(false)
            .iter()
            .zip(&choices(true))
            .all(|(up, down)| *up == 2 || up == down)
    );
}

#[test]
fn the_key_is_required_and_checked() {
    let refused = |settings| {
        let error = Upstream::<Hash>::new(settings, []).err().unwrap();
        (error.key, error.message)
    };
    assert_eq!(refused("{}"), ("key".into(), "`key` is missing".into()));
    assert_eq!(
        refused(r#"{"key": "${uri"}"#),
        ("key".into(), "`${uri` has a `${uri` without its `}`".into())
    );
    assert_eq!(
        refused(r#"{"key": "$uri", "consistent": 1}"#).0,
        "consistent"
    );
    assert_eq!(
        refused(r#"{"key": "$uri", "kee": 1}"#).1,
        "unknown key `kee`; did you mean `key`?"
    );
}

#[test]
fn it_takes_the_settings_that_it_describes() {
    Upstream::<Hash>::check_description(&[r#"{"key": "$uri", "consistent": true}"#]);
}
