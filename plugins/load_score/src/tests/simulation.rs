//! What the scorer is good for: servers that differ, and one that turns slow, before a policy that
//! looks at neither.

use round_robin::RoundRobin;
use waypost_sdk::Draws;
use waypost_sdk::testing::{Service, Simulated, Traffic, Upstream};

use super::LoadScore;

const SERVERS: usize = 5;
const TRAFFIC: Traffic = Traffic {
    requests: 60_000,
    per_second: 500,
    parallel: 4,
    seed: 11,
};

/// The last server takes three times as long as others, and the first one ten times as long for the
/// second quarter of the run.
fn serve(index: usize, now_us: u64, draws: &mut Draws) -> Service {
    let factor = match index {
        0 if (30_000_000..60_000_000).contains(&now_us) => 10,
        4 => 3,
        _ => 1,
    };
    Service {
        takes_us: factor * (5_000 + draws.below(10_000)),
        fails: false,
    }
}

fn simulate(mut upstream: Upstream<RoundRobin>) -> Simulated {
    upstream.simulate(&TRAFFIC, serve, |_, _| {})
}

#[test]
fn slow_and_busy_servers_get_less_and_come_back() {
    let by_turns = || Upstream::<RoundRobin>::of("{}", SERVERS);
    let (scored, turns) = (
        simulate(by_turns().scorer::<LoadScore>("{}", 1)),
        simulate(by_turns()),
    );

    let (p99, p99_by_turns) = (scored.percentile_us(99), turns.percentile_us(99));
    assert!(p99 * 3 < p99_by_turns, "{p99} against {p99_by_turns}");
    let (mean, mean_by_turns) = (scored.mean_us(), turns.mean_us());
    assert!(mean * 1.5 < mean_by_turns, "{mean} against {mean_by_turns}");

    let share = |from_s: u64, until_s: u64, index| {
        scored
            .between(from_s * 1_000_000, until_s * 1_000_000)
            .share(index)
    };
    let while_slow = share(35, 60, 0);
    assert!(while_slow < 0.05, "{while_slow}");
    let afterwards = share(90, 120, 0);
    assert!(afterwards > 0.15, "{afterwards}");
    for index in 1..4 {
        assert!((0.15..0.35).contains(&share(90, 120, index)), "{index}");
    }
}
