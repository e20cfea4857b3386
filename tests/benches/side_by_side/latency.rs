//! Latency at rates that are fixed beforehand, each proxy alone on its core, one after the other.
//!
//! The rates are shares of what nginx can take with as many connections, which is measured first. A
//! latency counts from when a request was due: see [`crate::paced`].

use std::fmt::Write as _;

use crate::load::{Seen, Tail};
use crate::program::Program;
use crate::report::{Report, Round, median};
use crate::scenario::{Pace, Traffic, latency};
use crate::setup::Bench;

const CONNECTIONS: u32 = 64;
/// In percent of what nginx can take.
const SHARES: [u32; 2] = [50, 90];

pub(crate) fn measure(bench: &Bench, report: &mut Report, quick: bool) {
    let (rounds, seconds) = if quick { (3, 2) } else { (5, 5) };
    let full = latency(Traffic::Paced(CONNECTIONS, Pace::AtOnce(CONNECTIONS)));
    let Some(other) = bench.start_opponent(&full) else {
        report.say(&format!(
            "| latency | {} | not available |",
            full.opponent.name()
        ));
        return;
    };
    let waypost = bench.start_waypost(&full);
    let proxies = [&waypost, &other];

    let most = proxies.map(|proxy| {
        let run = |seconds| bench.measure([proxy], &full, seconds, false);
        run(1); // caches, pools and tables fill
        let rounds: Vec<[Round; 1]> = (0..3).map(|_| run(seconds)).collect();
        let of = |of: fn(&Round) -> f64| median(rounds.iter().map(|[round]| of(round)));
        [of(|round| round.seen.per_second), of(|round| round.busy)]
    });
    report.say("");
    for (proxy, [per_second, busy]) in proxies.iter().zip(most) {
        report.say(&format!(
            "{} alone, {CONNECTIONS} requests at a time: {per_second:.0} a second, core {:.0} %",
            proxy.name,
            100.0 * busy
        ));
    }
    report.say("");
    report.say(
        "| load | proxy | answers/s | p50 ms | p90 ms | p99 ms: median (min to max) | p99.9 ms \
         | longest ms | sent late, p99 ms | core |",
    );
    report.say("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for share in SHARES {
        let rate = (most[1][0] * f64::from(share) / 100.0) as u32;
        let scenario = latency(Traffic::Paced(CONNECTIONS, Pace::PerSecond(rate)));
        let mut seen = [const { Vec::new() }; 2];
        for round in 0..rounds {
            let sides = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for side in sides {
                let [round] = bench.measure([proxies[side]], &scenario, seconds, false);
                seen[side].push(round);
            }
        }
        for (proxy, rounds) in proxies.iter().zip(&seen) {
            add(report, share, rate, proxy, rounds);
        }
    }
}

/// A row, and its rounds.
fn add(report: &mut Report, share: u32, rate: u32, proxy: &Program, rounds: &[Round]) {
    let name = proxy.name;
    let load = format!("{share} %: {rate} a second");
    let mut times: [Vec<f64>; 6] = [const { Vec::new() }; 6];
    for (at, round) in rounds.iter().enumerate() {
        let Round {
            seen,
            user,
            system,
            busy,
            ..
        } = round;
        let Seen {
            requests, errors, ..
        } = seen;
        let (Some(p50), Some(p99), Some(tail)) = (seen.p50, seen.p99, &seen.tail) else {
            continue;
        };
        let Tail {
            p90,
            p999,
            longest,
            late,
        } = *tail;
        let all = [p50, p90, p99, p999, longest, late];
        times
            .iter_mut()
            .zip(all)
            .for_each(|(times, time)| times.push(time));
        let all = all.map(|time| format!("{time:.3}")).join(",");
        let _ = writeln!(
            report.latency,
            "{share},{rate},{at},{name},{requests},{errors},{all},{user:.2},{system:.2},{busy:.2}"
        );
        if *errors > 0 {
            report.say(&format!(
                "| {load} | {name} | {errors} errors in round {at} |"
            ));
        }
    }
    let [p50, p90, p99, p999, longest, late] = &times;
    let middle = |times: &[f64]| median(times.iter().copied());
    let most = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    let least = p99.iter().copied().fold(f64::INFINITY, f64::min);
    let rates = rounds.iter().map(|round| round.seen.per_second);
    report.say(&format!(
        "| {load} | {name} | {:.0} | {:.3} | {:.3} | {:.3} ({least:.3} to {:.3}) | {:.3} | {:.1} | {:.3} | {:.0} % |",
        median(rates),
        middle(p50),
        middle(p90),
        middle(p99),
        most(p99),
        middle(p999),
        most(longest),
        middle(late),
        100.0 * median(rounds.iter().map(|round| round.busy)),
    ));
}
