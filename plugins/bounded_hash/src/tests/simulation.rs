//! What the policy is good for: caches, of whose keys one is asked for by everyone.

use std::collections::{HashSet, VecDeque};

use hash::Hash;
use round_robin::RoundRobin;
use waypost_sdk::testing::{Request, Upstream};
use waypost_sdk::{Draws, Policy};

use super::{BoundedHash, SETTINGS, UNBOUNDED};

const SERVERS: usize = 10;
const KEYS: u64 = 2_000;
/// Requests that begin at a time, and how long each of them lasts: 200 are in flight.
const ARRIVALS: usize = 4;
const LASTING: usize = 50;
const TIMES: usize = 5_000;
/// Of ten requests, those for the one key.
const HOT: u64 = 4;

/// What came of a run.
#[derive(Debug)]
struct Outcome {
    /// The most that a server had in flight at any time, to the mean at that time.
    peak: f64,
    /// Servers that the hot key was sent to at some time.
    servers_of_hot_key: usize,
    /// Of the requests for other keys, those that found what an earlier one had left at the server.
    hits: f64,
}

fn simulate<P: Policy>(settings: &str) -> Outcome {
    let mut upstream = Upstream::<P>::of(settings, SERVERS);
    let mut draws = Draws::from_seed(42);
    let mut loads = [0_u32; SERVERS];
    let mut under_way: VecDeque<(usize, usize)> = VecDeque::new();
    let mut caches = vec![HashSet::new(); SERVERS];
    let (mut peak, mut hits, mut others) = (0.0_f64, 0, 0);
    for time in 0..TIMES {
        while let Some((_, server)) = under_way.pop_front_if(|(end, _)| *end <= time) {
            loads[server] -= 1;
            upstream.in_flight(server, loads[server]);
        }
        for _ in 0..ARRIVALS {
            let hot = draws.below(10) < HOT;
            let key = if hot { KEYS } else { draws.below(KEYS) };
            let request = Request::get(&format!("/{key}"));
            let server = upstream.exchange(request).pick().unwrap();
            loads[server] += 1;
            upstream.in_flight(server, loads[server]);
            under_way.push_back((time + LASTING, server));
            let hit = !caches[server].insert(key);
            if !hot {
                others += 1;
                hits += usize::from(hit);
            }
        }
        if time > LASTING {
            let mean = loads.iter().sum::<u32>() as f64 / SERVERS as f64;
            let most = loads.iter().copied().max().unwrap();
            peak = peak.max(f64::from(most) / mean);
        }
    }
    Outcome {
        peak,
        servers_of_hot_key: caches.iter().filter(|cache| cache.contains(&KEYS)).count(),
        hits: f64::from(hits as u32) / f64::from(others as u32),
    }
}

#[test]
fn a_hot_key_overloads_no_server_and_the_other_keys_stay_together() {
    let bounded = simulate::<BoundedHash>(SETTINGS);
    let unbounded = simulate::<Hash>(UNBOUNDED);
    let by_turns = simulate::<RoundRobin>("{}");

    // 20 are the mean: rounded up, the bound is at most a request above 1.25 times that.
    assert!(bounded.peak <= 1.25 + 1.0 / 20.0, "{bounded:?}");
    // The hot key alone makes four times the mean of its server.
    assert!(unbounded.peak > 4.0, "{unbounded:?}");
    assert_eq!(unbounded.servers_of_hot_key, 1);

    // By turns, each of the keys is missed at each of the servers.
    let misses = |outcome: &Outcome| 1.0 - outcome.hits;
    assert!(misses(&unbounded) < 0.2, "{unbounded:?}");
    assert!(
        misses(&bounded) < 0.5 * misses(&by_turns),
        "{bounded:?} against {by_turns:?}"
    );
}
