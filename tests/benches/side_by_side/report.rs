//! The rounds as tables for people, and each of them for machines.

use std::fmt::Write as _;

use crate::load::Seen;
use crate::scenario::Scenario;

/// One proxy in one round. Times in seconds, memory in KiB.
pub(crate) struct Round {
    pub(crate) seen: Seen,
    pub(crate) user: f64,
    pub(crate) system: f64,
    pub(crate) rss: u64,
    pub(crate) first: bool,
    /// How much of the proxies' core the two used, of 1.
    pub(crate) busy: f64,
}

impl Round {
    /// Microseconds of processor time per request.
    fn cost(&self) -> f64 {
        (self.user + self.system) * 1e6 / self.seen.requests as f64
    }
}

/// The tables for people, and every round for machines.
pub(crate) struct Report {
    pub(crate) tables: String,
    pub(crate) raw: String,
    /// The rounds of [`crate::latency`], which have other columns.
    pub(crate) latency: String,
}

impl Default for Report {
    fn default() -> Report {
        Report {
            tables: String::new(),
            raw: "scenario,opponent,round,proxy,requests,errors,started_first,user_s,system_s,requests_per_s,p50_ms,p99_ms,\
                  rss_kib,core_busy\n"
                .into(),
            latency: "share,rate,round,proxy,answers,errors,p50_ms,p90_ms,p99_ms,p999_ms,longest_ms,late_p99_ms,user_s,system_s,\
                      core_busy\n"
                .into(),
        }
    }
}

impl Report {
    /// The head of the first table.
    pub(crate) fn begin(&mut self) {
        self.say(
            "| scenario | beside | Waypost µs (user + system) | other µs (user + system) \
             | ratio: median (min to max) | requests/s | p50 ms | p99 ms | RSS MiB | core |",
        );
        self.say("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    }

    pub(crate) fn say(&mut self, line: &str) {
        println!("{line}");
        self.tables.push_str(line);
        self.tables.push('\n');
    }

    pub(crate) fn add(&mut self, scenario: &Scenario, opponent: &str, pairs: &[[Round; 2]]) {
        let name = scenario.name;
        for (at, pair) in pairs.iter().enumerate() {
            for (proxy, round) in ["waypost", opponent].iter().zip(pair) {
                let Round {
                    seen,
                    user,
                    system,
                    rss,
                    first,
                    busy,
                } = round;
                let Seen {
                    requests,
                    errors,
                    per_second,
                    p50,
                    p99,
                    ..
                } = seen;
                let _ = writeln!(
                    self.raw,
                    "\"{name}\",{opponent},{at},{proxy},{requests},{errors},{first},{user:.2},{system:.2},{per_second:.1},\
                     {},{},{rss},{busy:.2}",
                    written(*p50),
                    written(*p99)
                );
                if *errors > 0 {
                    self.say(&format!(
                        "| {name} | {opponent} | {proxy} had {errors} errors in round {at} |"
                    ));
                }
            }
        }
        let ratios = sorted(
            pairs
                .iter()
                .map(|[waypost, other]| waypost.cost() / other.cost()),
        );
        let both = |of: fn(&Round) -> f64, digits: usize| {
            let [a, b] = [0, 1].map(|side: usize| median(pairs.iter().map(|pair| of(&pair[side]))));
            format!("{a:.digits$} / {b:.digits$}")
        };
        let latency = |of: fn(&Seen) -> Option<f64>| {
            let all = [0, 1].map(|side: usize| {
                let told = pairs.iter().filter_map(|pair| of(&pair[side].seen));
                let told: Vec<f64> = told.collect();
                (!told.is_empty()).then(|| median(told.into_iter()))
            });
            match all {
                [Some(a), Some(b)] => format!("{a:.2} / {b:.2}"),
                _ => "–".to_owned(),
            }
        };
        let cost = |side: usize| {
            let [user, system, total] = [
                |round: &Round| round.user * 1e6 / round.seen.requests as f64,
                |round: &Round| round.system * 1e6 / round.seen.requests as f64,
                Round::cost,
            ]
            .map(|of: fn(&Round) -> f64| median(pairs.iter().map(|pair| of(&pair[side]))));
            format!("{total:.1} ({user:.1} + {system:.1})")
        };
        self.say(&format!(
            "| {name} | {opponent} | {} | {} | {:.2} ({:.2} to {:.2}) | {} | {} | {} | {} | {:.0} % |",
            cost(0),
            cost(1),
            median(ratios.iter().copied()),
            ratios[0],
            ratios[ratios.len() - 1],
            both(|round| round.seen.per_second, 0),
            latency(|seen| seen.p50),
            latency(|seen| seen.p99),
            both(|round| mib(round.rss), 1),
            100.0 * median(pairs.iter().map(|pair| pair[0].busy)),
        ));
    }
}

/// A figure that a generator may not have told.
fn written(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| format!("{value:.3}"))
}

pub(crate) fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle value; rounds are odd in number.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let values = sorted(values);
    values[values.len() / 2]
}
