//! Results as a table: a policy in a row.

use crate::testbed::Simulated;

const HEADER: [&str; 10] = [
    "POLICY",
    "SHARES %",
    "IMBALANCE",
    "MOVED",
    "QUIET",
    "MEAN",
    "P50",
    "P99",
    "MAX",
    "FAILED",
];
/// Servers whose shares are all shown.
const FEW: usize = 6;

pub(super) fn of(results: &[(String, Simulated)]) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(results.iter().map(|(policy, result)| row(policy, result)));
    let widths: Vec<usize> = (0..HEADER.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| match column {
                0 | 1 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        out += cells.join("  ").trim_end();
        out.push('\n');
    }
    out
}

fn row(policy: &str, result: &Simulated) -> [String; 10] {
    let ms = |us: f64| format!("{:.1} ms", us / 1000.0);
    let quiet = result.servers.iter().map(|server| server.quiet_us).max();
    [
        policy.to_owned(),
        shares(result),
        format!("{:.2}", result.imbalance),
        match result.moved {
            Some((moved, of)) if of > 0 => {
                format!("{:.1} %", 100.0 * moved as f64 / of as f64)
            }
            _ => "-".to_owned(),
        },
        ms(quiet.unwrap_or(0) as f64),
        ms(result.mean_us),
        ms(result.p50_us.into()),
        ms(result.p99_us.into()),
        ms(result.max_us.into()),
        result.failed.to_string(),
    ]
}

/// Of each server, or the least and the most of them.
fn shares(result: &Simulated) -> String {
    let all = result.servers.iter().map(|server| server.requests);
    let sum = all.clone().sum::<u64>().max(1) as f64;
    let shares: Vec<f64> = all.map(|requests| 100.0 * requests as f64 / sum).collect();
    if shares.len() <= FEW {
        let shares: Vec<String> = shares.iter().map(|share| format!("{share:.1}")).collect();
        return shares.join(" ");
    }
    let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
    let most = shares.iter().copied().fold(0.0, f64::max);
    format!("{least:.2} to {most:.2}")
}
