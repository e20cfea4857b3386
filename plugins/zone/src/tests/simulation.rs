//! What the filter is good for: requests that need not go to another zone and back, until too few
//! servers are left at home.

use round_robin::RoundRobin;
use waypost_sdk::testing::{Service, Simulated, Traffic, Upstream};

use super::{IN_A, upstream, zones};

/// A server's work, and the way to another zone and back.
const WORK_US: u64 = 2_000;
const TO_ANOTHER_ZONE_US: u64 = 2_000;

/// A server of four can do 500 requests in a second; the own zone alone carries this.
const TRAFFIC: Traffic = Traffic {
    requests: 20_000,
    per_second: 1_000,
    parallel: 1,
    seed: 7,
};

fn simulate(mut upstream: Upstream<RoundRobin>, out: usize) -> Simulated {
    (0..out).for_each(|server| upstream.rotate_out(3 * server));
    let serve = |index: usize, _, draws: &mut waypost_sdk::Draws| Service {
        takes_us: WORK_US / 2
            + draws.below(WORK_US)
            + if index.is_multiple_of(3) {
                0
            } else {
                TO_ANOTHER_ZONE_US
            },
        fails: false,
    };
    upstream.simulate(&TRAFFIC, serve, |_, _| {})
}

/// The part of the requests that stayed in zone `a`.
fn at_home(simulated: &Simulated) -> f64 {
    (0..4).map(|server| simulated.share(3 * server)).sum()
}

#[test]
fn requests_are_quicker_in_their_zone_and_spill_over_before_it_is_overrun() {
    let by_turns = || Upstream::<RoundRobin>::new("{}", zones(4)).unwrap();
    let (zoned, turns) = (simulate(upstream(IN_A, 4), 0), simulate(by_turns(), 0));
    assert!(at_home(&zoned) > 0.999, "{}", at_home(&zoned));
    assert!((0.3..0.4).contains(&at_home(&turns)), "{}", at_home(&turns));
    let (mean, mean_by_turns) = (zoned.mean_us(), turns.mean_us());
    assert!(mean * 1.2 < mean_by_turns, "{mean} against {mean_by_turns}");

    // One server of the zone is left: it can do half of what comes.
    let (spills, turns) = (simulate(upstream(IN_A, 4), 3), simulate(by_turns(), 3));
    assert!(spills.mean_us() < turns.mean_us() * 1.1);
    let stays = simulate(upstream(r#"{"zone": "a", "threshold": 1}"#, 4), 3);
    assert!(
        stays.mean_us() > 100.0 * spills.mean_us(),
        "{}",
        stays.mean_us()
    );
}
