//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod simulation;

use round_robin::RoundRobin;
use waypost_sdk::testing::{
    EndpointBuilder, Request, Upstream, check_filter_description, endpoint,
};
use waypost_sdk::{Filter, Settings};

use super::Zone;

const IN_A: &str = r#"{"zone": "a"}"#;

/// So many servers in each of the zones `a`, `b`, `c`: 0, 3, 6... are in `a`.
fn zones(each: usize) -> Vec<EndpointBuilder> {
    let server = |number: usize| {
        let zone = ["a", "b", "c"][number % 3];
        endpoint(&format!("10.0.{}.{}:80", number / 256, number % 256)).label("zone", zone)
    };
    (0..3 * each).map(server).collect()
}

fn upstream(settings: &str, each: usize) -> Upstream<RoundRobin> {
    let upstream = Upstream::<RoundRobin>::new("{}", zones(each)).unwrap();
    upstream.filter::<Zone>(settings)
}

#[test]
fn requests_stay_in_the_own_zone() {
    let mut upstream = upstream(IN_A, 2);
    assert_eq!(upstream.shares::<6>(100), [50, 0, 0, 50, 0, 0]);
}

#[test]
fn below_the_threshold_all_zones_are_used() {
    let mut upstream = upstream(r#"{"zone": "a", "threshold": 50}"#, 4);
    upstream.rotate_out(0);
    upstream.rotate_out(3);
    assert_eq!(
        upstream.picks(2),
        [Some(6), Some(9)],
        "half of them is enough"
    );
    upstream.rotate_out(6);
    let shares = upstream.shares::<12>(900);
    assert_eq!(
        shares,
        [0, 100, 100, 0, 100, 100, 0, 100, 100, 100, 100, 100]
    );
    upstream.rotate_in(0);
    let picks = upstream.picks(50);
    assert!(picks.iter().all(|pick| [Some(0), Some(9)].contains(pick)));
}

#[test]
fn the_last_of_a_zone_is_enough_where_the_threshold_says_so() {
    let mut upstream = upstream(r#"{"zone": "a", "threshold": 1}"#, 3);
    upstream.rotate_out(0);
    upstream.rotate_out(3);
    assert_eq!(upstream.picks(3), [Some(6); 3]);
    upstream.rotate_out(6);
    assert_eq!(
        upstream.shares::<9>(600),
        [0, 100, 100, 0, 100, 100, 0, 100, 100]
    );
}

#[test]
fn a_retry_leaves_the_zone_when_too_few_were_not_tried() {
    let mut upstream = upstream(r#"{"zone": "a", "threshold": 100}"#, 2);
    let mut left = 0;
    for _ in 0..50 {
        let mut exchange = upstream.exchange(Request::get("/"));
        let (first, second) = (exchange.pick().unwrap(), exchange.pick().unwrap());
        assert_eq!(first % 3, 0, "{first} is in zone a");
        left += u32::from(second % 3 != 0);
    }
    assert!(left >= 25, "all zones take turns: {left} of 50 retries");
}

#[test]
fn more_than_64_servers_are_counted_together() {
    let mut upstream = upstream(IN_A, 50);
    for picked in upstream.picks(200) {
        assert_eq!(picked.unwrap() % 3, 0);
    }
    // 24 of 50 are left, most of them in the words behind the first.
    (0..26).for_each(|server| upstream.rotate_out(3 * server));
    let picks = upstream.picks(200);
    assert!(picks.iter().any(|picked| picked.unwrap() % 3 != 0));
}

#[test]
fn another_label_may_name_the_zone() {
    let servers = ["x", "y"].map(|rack| endpoint(rack).label("rack", rack));
    let upstream = Upstream::<RoundRobin>::new("{}", servers).unwrap();
    let mut upstream = upstream.filter::<Zone>(r#"{"zone": "y", "label": "rack"}"#);
    assert_eq!(upstream.picks(3), [Some(1); 3]);
}

#[test]
fn a_zone_without_servers_leaves_all() {
    let mut upstream = upstream(r#"{"zone": "d"}"#, 1);
    assert_eq!(upstream.shares::<3>(300), [100; 3]);
}

#[test]
fn a_threshold_is_from_1_to_100_and_the_zone_is_required() {
    for (settings, message) in [
        ("{}", "`zone` is missing"),
        (
            r#"{"zone": "a", "threshold": 0}"#,
            "`threshold` must be a whole number from 1 to 100",
        ),
    ] {
        let error = Zone::configure(Settings::parse(settings).unwrap()).err();
        assert_eq!(error.unwrap().message, message);
    }
}

#[test]
fn it_takes_the_settings_that_it_describes() {
    check_filter_description::<Zone>(&[r#"{"zone": "a", "label": "rack", "threshold": 70}"#]);
}
