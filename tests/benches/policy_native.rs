//! What a stock policy's algorithm costs when it is compiled natively: the other half of
//! `host/benches/policy_call.rs`.
//!
//! `cargo bench -p waypost-tests --bench policy_native` prints nanoseconds per pick over 3, 32 and
//! 1,000 endpoints. The policies run in the SDK's test host, whose own share is measured by a
//! policy that always answers 0, and taken off.

use std::hint::black_box;
use std::time::Instant;

use waypost_sdk::testing::{Upstream, endpoint};
use waypost_sdk::{Endpoint, Pick, Policy, Settings, SettingsError, Sharing};

const ROUNDS: usize = 15;
const PICKS: u32 = 20_000;
const SIZES: [u32; 3] = [3, 32, 1000];

/// Answers 0: all that it costs is the test host.
struct First;

impl Policy for First {
    fn configure(_: Settings) -> Result<Self, SettingsError> {
        Ok(First)
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, _: Vec<Endpoint>) {}

    fn pick(&mut self, _: &Pick) -> Option<usize> {
        Some(0)
    }
}

fn main() {
    println!("{:<14} {:>10} {:>10}", "policy", "endpoints", "ns/pick");
    for size in SIZES {
        let host = measure::<First>("{}", size);
        let report = |name: &str, nanoseconds: f64| {
            println!(
                "{name:<14} {size:>10} {:>10.0}",
                (nanoseconds - host).max(0.0)
            );
        };
        report(
            "round_robin",
            measure::<round_robin::RoundRobin>("{}", size),
        );
        report("least_conn", measure::<least_conn::LeastConn>("{}", size));
        report("ip_hash", measure::<ip_hash::IpHash>("{}", size));
        report(
            "hash",
            measure::<hash::Hash>(r#"{"key":"$request_uri"}"#, size),
        );
        report(
            "maglev",
            measure::<maglev::Maglev>(r#"{"key":"$request_uri"}"#, size),
        );
        report(
            "bounded_hash",
            measure::<bounded_hash::BoundedHash>(r#"{"key":"$request_uri"}"#, size),
        );
        report(
            "subset",
            measure::<subset::Subset>(r#"{"key":"$request_uri","size":4}"#, size),
        );
        report("random", measure::<random::Random>("{}", size));
    }
}

/// The best of several rounds: what disturbs a round only adds to it.
fn measure<P: Policy>(settings: &str, size: u32) -> f64 {
    let servers = (0..size).map(|index| {
        endpoint(&format!("10.0.{}.{}:80", index / 256, index % 256)).weight(1 + index % 3)
    });
    let Ok(mut upstream) = Upstream::<P>::new(settings, servers) else {
        return f64::NAN;
    };
    for index in 0..size as usize {
        upstream.in_flight(index, index as u32 % 7);
    }
    let round = || {
        let begun = Instant::now();
        for _ in 0..PICKS {
            black_box(upstream.pick());
        }
        begun.elapsed().as_nanos() as f64 / f64::from(PICKS)
    };
    std::iter::repeat_with(round)
        .take(ROUNDS)
        .fold(f64::INFINITY, f64::min)
}
