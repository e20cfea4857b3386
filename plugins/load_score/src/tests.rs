//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod simulation;

use round_robin::RoundRobin;
use waypost_sdk::testing::{Upstream, check_scorer_description, endpoint};
use waypost_sdk::{Scorer, Settings};

use super::LoadScore;

const BY_BOTH: &str = "{}";
const BY_LATENCY: &str = r#"{"in_flight": 0}"#;
const BY_LOAD: &str = r#"{"latency": 0}"#;

/// Servers with these mean latencies, in milliseconds.
fn upstream<const N: usize>(settings: &str, latencies_ms: [u32; N]) -> Upstream<RoundRobin> {
    let upstream = Upstream::<RoundRobin>::of("{}", N);
    let mut upstream = upstream.scorer::<LoadScore>(settings, 1);
    for (index, latency_ms) in latencies_ms.into_iter().enumerate() {
        upstream.latency_us(index, 1000 * latency_ms);
    }
    upstream
}

#[test]
fn the_quickest_are_left_and_the_policy_chooses_among_them() {
    let mut upstream = upstream(BY_LATENCY, [100, 101, 150, 100]);
    assert_eq!(upstream.shares(300), [100, 100, 0, 100]);
}

#[test]
fn the_least_busy_are_left_for_their_weight() {
    let servers = [1, 1, 4].map(|weight| endpoint(&format!("w{weight}:80")).weight(weight));
    let upstream = Upstream::<RoundRobin>::new("{}", servers).unwrap();
    let mut upstream = upstream.scorer::<LoadScore>(BY_LOAD, 1);
    for (index, load) in [(0, 3), (1, 1), (2, 6)] {
        upstream.in_flight(index, load);
    }
    assert_eq!(upstream.picks(3), [Some(2); 3], "7 / 4 is less than 2");
    upstream.in_flight(2, 7);
    assert_eq!(
        upstream.shares(50),
        [0, 10, 40],
        "as busy as the second, at four times the turns"
    );
}

#[test]
fn latency_and_load_are_weighed_against_each_other() {
    let busy_and_quick = |settings: &str| {
        let mut upstream = upstream(settings, [100, 50]);
        upstream.in_flight(1, 2);
        upstream.pick()
    };
    assert_eq!(busy_and_quick(BY_LATENCY), Some(1));
    assert_eq!(busy_and_quick(BY_LOAD), Some(0));
    assert_eq!(busy_and_quick(r#"{"latency": 3, "in_flight": 1}"#), Some(1));
    assert_eq!(busy_and_quick(r#"{"latency": 1, "in_flight": 1}"#), Some(0));
}

#[test]
fn only_candidates_are_compared() {
    let mut upstream = upstream(BY_LATENCY, [1, 100, 110]);
    upstream.rotate_out(0);
    assert_eq!(upstream.picks(3), [Some(1); 3]);
}

#[test]
fn a_server_that_has_never_answered_is_tried_by_one_request() {
    let mut upstream = upstream(BY_LATENCY, [100, 0, 200]);
    assert_eq!(upstream.picks(2), [Some(0), Some(1)], "as good as the best");
    upstream.in_flight(1, 1);
    assert_eq!(upstream.picks(2), [Some(0); 2]);
}

#[test]
fn a_server_that_was_slow_is_tried_again_by_one_request() {
    let mut upstream = upstream(BY_LATENCY, [100, 380]);
    assert_eq!(upstream.pick(), Some(0));
    let answers = |upstream: &mut Upstream<RoundRobin>, us| upstream.latency_us(0, us);
    // `fail_timeout` is 10 seconds: 380 ms have halved twice after 22.
    upstream.now_us += 21_000_000;
    answers(&mut upstream, 100_001);
    assert_eq!(upstream.pick(), Some(0));
    upstream.now_us += 1_000_000;
    answers(&mut upstream, 100_000);
    assert_eq!(upstream.pick(), Some(1));
    upstream.in_flight(1, 1);
    assert_eq!(upstream.pick(), Some(0));
    upstream.in_flight(1, 0);
    upstream.latency_us(1, 390_000);
    assert_eq!(upstream.pick(), Some(0));
}

#[test]
fn more_than_64_servers_are_compared() {
    let mut latencies_ms = [100; 130];
    latencies_ms[129] = 50;
    let mut upstream = upstream(BY_BOTH, latencies_ms);
    assert_eq!(upstream.pick(), Some(129));
}

#[test]
fn settings_are_checked() {
    for (settings, message) in [
        (r#"{"latency": -1}"#, "`latency` must be from 0 to 1000"),
        (
            r#"{"in_flight": 2e3}"#,
            "`in_flight` must be from 0 to 1000",
        ),
        (
            r#"{"latency": 0, "in_flight": 0}"#,
            "`latency` and `in_flight` must not both be 0",
        ),
    ] {
        let error = LoadScore::configure(Settings::parse(settings).unwrap()).err();
        assert_eq!(error.unwrap().message, message);
    }
}

#[test]
fn it_takes_the_settings_that_it_describes() {
    check_scorer_description::<LoadScore>(&[r#"{"latency": 2, "in_flight": 0.5}"#]);
}
