//! What the policy is good for: servers that each keep what they were asked for before, such as
//! caches. A request for what its server has not seen yet is a miss.

use std::collections::HashSet;

use round_robin::RoundRobin;
use waypost_sdk::Policy;
use waypost_sdk::testing::{Request, Upstream, endpoint};

use super::{Maglev, SETTINGS};

const SERVERS: usize = 20;
const KEYS: usize = 40_000;

/// What came of a run.
#[derive(Debug)]
struct Outcome {
    /// Misses when all keys are asked for the second time.
    misses_warm: f64,
    /// Misses in the round after a server has left for good.
    misses_after_leaving: f64,
    /// The keys that the servers keep at most, for each that there is.
    kept: f64,
    /// The requests of the server with the most, and with the least, to the mean, once warm.
    busiest: f64,
    idlest: f64,
}

fn servers(without: Option<usize>) -> Vec<usize> {
    (0..SERVERS)
        .filter(|server| Some(*server) != without)
        .collect()
}

fn upstream<P: Policy>(settings: &str, servers: &[usize]) -> Upstream<P> {
    let endpoints = servers
        .iter()
        .map(|i| endpoint(&format!("cache-{i}.example:80")));
    Upstream::new(settings, endpoints).unwrap()
}

/// Asks for each key once; returns the share of misses, and the requests to each server.
fn round<P: Policy>(
    upstream: &mut Upstream<P>,
    servers: &[usize],
    caches: &mut [HashSet<usize>],
) -> (f64, Vec<usize>) {
    let (mut misses, mut requests) = (0, vec![0; SERVERS]);
    for key in 0..KEYS {
        let request = Request::get(&format!("/image/{key}.png"));
        let server = servers[upstream.exchange(request).pick().unwrap()];
        requests[server] += 1;
        misses += usize::from(caches[server].insert(key));
    }
    (misses as f64 / KEYS as f64, requests)
}

fn simulate<P: Policy>(settings: &str) -> Outcome {
    let mut caches = vec![HashSet::new(); SERVERS];
    let all = servers(None);
    let mut upstream = self::upstream::<P>(settings, &all);
    // 40,000 is a multiple of 20, and round robin would come round to the same servers.
    upstream.pick();
    round(&mut upstream, &all, &mut caches);
    upstream.pick();
    let (misses_warm, requests) = round(&mut upstream, &all, &mut caches);
    let kept = caches.iter().map(HashSet::len).sum::<usize>() as f64 / KEYS as f64;
    let rest = servers(Some(7));
    let mut upstream = self::upstream::<P>(settings, &rest);
    let (misses_after_leaving, _) = round(&mut upstream, &rest, &mut caches);
    let mean = KEYS as f64 / SERVERS as f64;
    Outcome {
        misses_warm,
        misses_after_leaving,
        kept,
        busiest: requests.iter().copied().max().unwrap() as f64 / mean,
        idlest: requests.iter().copied().min().unwrap() as f64 / mean,
    }
}

#[test]
fn caches_are_hit_and_evenly_filled_and_hardly_disturbed_when_a_server_leaves() {
    let maglev = simulate::<Maglev>(SETTINGS);
    let by_turns = simulate::<RoundRobin>("{}");

    assert_eq!((maglev.misses_warm, maglev.kept), (0.0, 1.0), "{maglev:?}");
    assert!(
        by_turns.misses_warm > 0.9 && by_turns.kept > 1.9,
        "{by_turns:?}"
    );

    // A twentieth of the keys has lost its server; hardly any other one moves.
    let inevitable = 1.0 / SERVERS as f64;
    assert!(maglev.misses_after_leaving > 0.9 * inevitable, "{maglev:?}");
    assert!(maglev.misses_after_leaving < 1.6 * inevitable, "{maglev:?}");
    let ratio = by_turns.misses_after_leaving / maglev.misses_after_leaving;
    assert!(ratio > 10.0, "{by_turns:?} against {maglev:?}");

    // The keys are 2,000 for each server, which by chance alone differ by some five percent.
    assert!(maglev.busiest < 1.07 && maglev.idlest > 0.93, "{maglev:?}");
}

#[test]
fn servers_have_more_equal_shares_of_the_keys_than_on_a_ring() {
    let maglev = simulate::<Maglev>(SETTINGS);
    let ring = simulate::<hash::Hash>(r#"{"key": "$uri", "consistent": true}"#);
    let spread = |outcome: &Outcome| outcome.busiest - outcome.idlest;
    assert!(
        spread(&ring) > 2.0 * spread(&maglev),
        "{ring:?} against {maglev:?}"
    );
}
