//! The model is what it says: queues, weights, servers that go, and the same result for the same
//! scenario.

use serde_json::{Value, json};

use super::*;
use crate::plugin::{Compiler, Kind, Runtime};

const SECOND: u64 = 1_000_000;

fn subject(policy: &str, settings: Value) -> Subject {
    let runtime = Runtime::new(Compiler::Here).unwrap();
    let stock = |name| runtime.stock(name).unwrap().unwrap();
    Subject {
        plugin: stock(policy),
        picks: stock("round_robin"),
        kind: Kind::Policy,
        settings: settings.as_object().cloned().unwrap(),
        place: serde_json::Map::new(),
    }
}

fn servers(weights: &[u32]) -> Vec<SimulatedServer> {
    let server = |(number, weight): (usize, &u32)| SimulatedServer {
        name: format!("s{}", 1 + number),
        weight: *weight,
        labels: Vec::new(),
    };
    weights.iter().enumerate().map(server).collect()
}

/// 20,000 requests, 1,000 in a second, of 500 clients. What servers of these weights take is 10 ms,
/// and each works on 8 at a time.
fn scenario(weights: &[u32], happenings: Vec<Happens>) -> Scenario {
    Scenario {
        servers: servers(weights),
        slots: 8,
        service_us: 10_000.0,
        arrivals: Arrivals::made_up(20_000, 1000.0, 500, 3),
        happenings,
        seed: 3,
    }
}

fn at(second: u64, server: usize, what: Happening) -> Happens {
    Happens {
        at_us: second * SECOND,
        server,
        what,
    }
}

fn result(policy: &str, settings: Value, scenario: &Scenario) -> Simulated {
    simulate(&subject(policy, settings), scenario, |_| ()).unwrap()
}

fn shares(result: &Simulated) -> Vec<f64> {
    let all = result.servers.iter();
    all.map(|server| server.requests as f64 / result.requests as f64)
        .collect()
}

#[test]
fn the_same_scenario_has_the_same_result() {
    let events = || vec![at(5, 1, Happening::Killed), at(9, 1, Happening::Back)];
    let once = result("random", json!({}), &scenario(&[1, 1, 1], events()));
    let again = result("random", json!({}), &scenario(&[1, 1, 1], events()));
    assert_eq!(once, again);
    let other = Scenario {
        seed: 4,
        ..scenario(&[1, 1, 1], events())
    };
    assert_ne!(once, result("random", json!({}), &other));
}

#[test]
fn weights_are_the_shares_of_a_policy_that_heeds_them() {
    let result = result("round_robin", json!({}), &scenario(&[5, 2, 1], Vec::new()));
    let expected = [0.625, 0.25, 0.125];
    for (share, expected) in shares(&result).iter().zip(expected) {
        assert!((share - expected).abs() < 0.001, "{result:?}");
    }
    assert!(result.imbalance < 1.01, "{result:?}");
    assert_eq!((result.failed, result.moved), (0, None));
}

/// One server that works on one request at a time, at half of what it can do: the mean of such a
/// queue is twice what a request takes (M/M/1).
#[test]
fn a_queue_takes_the_time_that_theory_says() {
    let scenario = Scenario {
        slots: 1,
        arrivals: Arrivals::made_up(200_000, 50.0, 1, 7),
        ..scenario(&[1], Vec::new())
    };
    let result = result("round_robin", json!({}), &scenario);
    assert!(
        (result.mean_us - 20_000.0).abs() < 1000.0,
        "{}",
        result.mean_us
    );
    // Exponentially distributed: ln 2 and ln 100 of the mean.
    let median = f64::from(result.p50_us) / result.mean_us;
    let p99 = f64::from(result.p99_us) / result.mean_us;
    assert!((median - 2_f64.ln()).abs() < 0.05, "{median}");
    assert!((p99 - 100_f64.ln()).abs() < 0.3, "{p99}");
}

#[test]
fn a_server_that_goes_costs_no_request_and_moves_its_own_clients_alone_where_a_hash_is_consistent()
{
    let killed = || vec![at(10, 1, Happening::Killed)];
    let key = json!({ "key": "$arg_user", "consistent": true });
    let hashed = result("hash", key, &scenario(&[1, 1, 1, 1], killed()));
    assert_eq!(hashed.failed, 0, "{hashed:?}");
    assert!(hashed.retried > 0, "some were cut off");
    let (moved, of) = hashed.moved.unwrap();
    assert_eq!(moved, 0, "of {of}");
    assert!(of > 300, "{of}");
    let turns = result("round_robin", json!({}), &scenario(&[1, 1, 1, 1], killed()));
    let (moved, of) = turns.moved.unwrap();
    assert!(2 * moved > of, "{moved} of {of}");
    for window in &turns.windows[31..] {
        assert_eq!(window.requests[1], 0, "it is down: {window:?}");
        assert!(window.requests[0] > 0, "{window:?}");
    }
}

#[test]
fn a_server_that_is_back_serves_again() {
    let events = vec![at(5, 0, Happening::Killed), at(10, 0, Happening::Back)];
    let result = result("round_robin", json!({}), &scenario(&[1, 1], events));
    let of = |number: usize| result.windows[number].requests[0];
    assert!(of(10) > 0 && of(25) == 0 && of(40) > 0, "{result:?}");
}

#[test]
fn without_a_server_requests_fail() {
    let scenario = Scenario {
        slots: 16, // alone it has all of the load
        ..scenario(&[1], vec![at(10, 0, Happening::Killed)])
    };
    let result = result("round_robin", json!({}), &scenario);
    assert!(
        (9_000..11_000).contains(&result.failed),
        "{}",
        result.failed
    );
    assert_eq!(
        result.servers[0].requests + result.failed - result.retried,
        result.requests
    );
}

#[test]
fn a_policy_that_looks_at_load_spares_a_slow_server() {
    let slow = || vec![at(0, 0, Happening::Slow(20.0))];
    let turns = result("round_robin", json!({}), &scenario(&[1, 1, 1], slow()));
    let loads = result("least_conn", json!({}), &scenario(&[1, 1, 1], slow()));
    assert!(shares(&loads)[0] < 0.7 * shares(&turns)[0], "{loads:?}");
    assert!(
        loads.p99_us < turns.p99_us / 4,
        "{} {}",
        loads.p99_us,
        turns.p99_us
    );
}

#[test]
fn a_server_without_requests_is_told_of() {
    let key = json!({ "key": "$scheme" });
    let one = result("hash", key, &scenario(&[1, 1], Vec::new()));
    let quiet: Vec<u64> = one.servers.iter().map(|server| server.quiet_us).collect();
    let longest = quiet.iter().max().unwrap();
    assert!(*longest > 19 * SECOND, "{quiet:?}");
    assert!((one.imbalance - 2.0).abs() < 1e-9, "{}", one.imbalance);
}

#[test]
fn a_log_is_a_load_in_its_order_of_time() {
    let log = "\
192.0.2.1 - - [29/Nov/2026:16:10:47 +0000] \"GET /b?user=2 HTTP/1.1\" 200 5 \"-\" \"agent\"
192.0.2.1 - ann [29/Nov/2026:17:10:46 +0100] \"GET /a HTTP/1.1\" 200 5 \"-\" \"agent\"
not a line of it
2001:db8::1 - - [29/Nov/2026:16:10:47 +0000] \"POST /a HTTP/2.0\" 200 5
192.0.2.1 - - [29/Nov/2026:16:10:49 +0000] \"GET /a HTTP/1.1\" 404 5 \"-\" \"-\" rt=0.012 ua=\"10.0.0.1:80, 10.0.0.2:80\" us=\"502, 404\" ut=\"0.001, 0.011\"
";
    let (arrivals, left_out) = Arrivals::of_log(log).unwrap();
    assert_eq!(left_out, 1);
    let all: Vec<(u64, usize)> = arrivals.all().collect();
    // By client and target, in the order in which they were met.
    let expected = [(0, 1), (1_000_000, 0), (1_500_000, 2), (3_000_000, 1)];
    assert_eq!(all, expected);
    assert_eq!(arrivals.duration_us(), 3_000_000);
    assert!(matches!(Arrivals::of_log("{}\n"), Err(TraceError::Nothing)));
}
