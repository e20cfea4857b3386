//! What a user may rely on: shares, and which of two endpoints is picked.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use waypost_sdk::testing::{Request, Upstream, endpoint};

use super::{Random, bucket};

fn weighted<const N: usize>(settings: &str, weights: [u32; N]) -> Upstream<Random> {
    let servers = weights
        .into_iter()
        .enumerate()
        .map(|(i, weight)| endpoint(&format!("10.0.0.{i}:80")).weight(weight));
    Upstream::new(settings, servers).unwrap()
}

#[test]
fn chances_are_as_large_as_the_weights() {
    let [first, second, third] = weighted("{}", [3, 2, 1]).shares(6000);
    assert!((2850..3150).contains(&first), "{first}");
    assert!((1850..2150).contains(&second), "{second}");
    assert!((850..1150).contains(&third), "{third}");
}

#[test]
fn of_two_the_one_with_fewer_attempts_in_progress_wins() {
    for settings in [r#"{"two": true}"#, r#"{"two": "least_conn"}"#] {
        let mut upstream = weighted(settings, [1, 1]);
        upstream.in_flight(0, 3);
        upstream.in_flight(1, 2);
        assert_eq!(upstream.picks(20), [Some(1); 20], "{settings}");
    }
}

#[test]
fn load_counts_per_weight() {
    let mut upstream = weighted(r#"{"two": true}"#, [3, 1]);
    upstream.in_flight(0, 4);
    upstream.in_flight(1, 2);
    assert_eq!(upstream.picks(20), [Some(0); 20]); // 4/3 against 2/1
}

#[test]
fn the_most_loaded_of_many_is_never_chosen_of_two() {
    let mut upstream = weighted(r#"{"two": true}"#, [1; 5]);
    upstream.in_flight(3, 9);
    let shares: [usize; 5] = upstream.shares(1000);
    assert_eq!(shares[3], 0);
    assert!(
        shares.iter().all(|&share| share == 0 || share > 150),
        "{shares:?}"
    );
}

#[test]
fn least_time_prefers_the_quicker_unless_it_is_busier() {
    let mut upstream = weighted(r#"{"two": "least_time"}"#, [1, 1]);
    upstream.latency_us(0, 300_000);
    upstream.latency_us(1, 90_000);
    assert_eq!(upstream.picks(20), [Some(1); 20]);
    upstream.in_flight(1, 4); // 100 ms five deep against 320 ms
    assert_eq!(upstream.picks(20), [Some(0); 20]);
}

#[test]
fn least_time_gives_a_server_that_was_slow_another_chance() {
    let mut upstream = weighted(r#"{"two": "least_time"}"#, [1, 1]);
    upstream.latency_us(0, 300_000);
    upstream.latency_us(1, 90_000);
    let mut chances = Vec::new();
    for second in 0..60 {
        if upstream.picks(20).contains(&Some(0)) {
            chances.push(second);
        }
        upstream.now_us += 1_000_000;
    }
    // fail_timeout is 10 seconds: 300 ms have halved twice after 22.
    assert_eq!(chances, [22, 44]);
}

#[test]
fn latencies_within_20_ms_are_equal_and_none_is_above_5_s() {
    assert_eq!(
        [0, 19_999, 20_000, 4_999_000, 9_000_000].map(bucket),
        [20, 20, 40, 5000, 5000]
    );
}

#[test]
fn the_only_candidate_is_chosen_by_turns_if_chance_misses_it() {
    for settings in ["{}", r#"{"two": true}"#] {
        let mut upstream = Upstream::<Random>::of(settings, 200);
        (0..199).for_each(|index| upstream.rotate_out(index));
        assert_eq!(upstream.picks(5), [Some(199); 5], "{settings}");
    }
}

#[test]
fn retries_reach_every_server_and_none_twice() {
    for settings in ["{}", r#"{"two": true}"#] {
        let mut upstream = Upstream::<Random>::of(settings, 4);
        let mut exchange = upstream.exchange(Request::get("/"));
        let mut chosen: Vec<_> = std::iter::from_fn(|| exchange.pick()).collect();
        chosen.sort_unstable();
        assert_eq!(chosen, [0, 1, 2, 3], "{settings}");
    }
}

#[test]
fn an_unknown_contest_is_refused() {
    let error = Upstream::<Random>::new(r#"{"two": "least_bytes"}"#, [])
        .err()
        .unwrap();
    assert_eq!(
        (error.key.as_str(), error.message.as_str()),
        (
            "two",
            "`two` must be `true`, \"least_conn\" or \"least_time\""
        )
    );
}

#[test]
fn it_takes_the_settings_that_it_describes() {
    Upstream::<Random>::check_description(&[r#"{"two": true}"#, r#"{"two": "least_time"}"#]);
}
