//! What `GET /metrics` tells, as rates and percentiles between two looks. The dashboard reckons them
//! from the same series (`dashboard/figures.js`); there too, what has gone back counts as nothing.

use std::collections::{BTreeMap, HashMap};

/// One line of the text of Prometheus.
struct Series<'t> {
    name: &'t str,
    labels: Vec<(&'t str, String)>,
    value: f64,
}

impl Series<'_> {
    fn label(&self, name: &str) -> &str {
        let found = self.labels.iter().find(|(label, _)| *label == name);
        found.map_or("", |(_, value)| value)
    }
}

/// A line; none for comments, and for what has another form.
fn series(line: &str) -> Option<Series<'_>> {
    if line.starts_with('#') {
        return None;
    }
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((label, value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Series {
        name,
        labels,
        value,
    })
}

/// A label's value up to its quotation mark, and what is behind that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

/// A histogram: bounds in seconds, each with all that was counted below it.
#[derive(Debug, Default, Clone)]
pub(super) struct Buckets(Vec<(f64, f64)>);

impl Buckets {
    fn add(&mut self, bound: f64, count: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == bound) {
            Some((_, sum)) => *sum += count,
            None => self.0.push((bound, count)),
        }
    }

    /// What was counted since.
    pub(super) fn since(&self, earlier: Option<&Buckets>) -> Buckets {
        let before = |bound: f64| {
            let known = earlier.and_then(|of| of.0.iter().find(|(known, _)| *known == bound));
            known.map_or(0.0, |(_, count)| *count)
        };
        let mut more = self.0.clone();
        for (bound, count) in &mut more {
            *count = (*count - before(*bound)).max(0.0);
        }
        more.sort_by(|one, other| one.0.total_cmp(&other.0));
        Buckets(more)
    }

    /// What a share of what was counted stays below, in seconds, as Prometheus reckons it: within
    /// a bucket evenly, and beyond the last bound no more than that. None where nothing was
    /// counted. The buckets are in order, as [`Buckets::since`] has them.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let total = self.0.last().map(|(_, count)| *count)?;
        if total <= 0.0 {
            return None;
        }
        let rank = share * total;
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &self.0 {
            if *count >= rank && *count > below {
                if bound.is_infinite() {
                    return Some(lower);
                }
                return Some(lower + (bound - lower) * ((rank - below) / (count - below)));
            }
            (lower, below) = (*bound, *count);
        }
        Some(lower)
    }
}

/// What is counted of an upstream.
#[derive(Debug, Default, Clone)]
pub(super) struct OfUpstream {
    pub(super) requests: f64,
    /// Attempts that ended with a 5xx or without an answer.
    pub(super) errors: f64,
    pub(super) retries: f64,
    pub(super) times: Buckets,
}

/// The counters of one look.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) requests: f64,
    /// Answers to clients with a status of 5xx.
    pub(super) errors: f64,
    pub(super) in_flight: f64,
    pub(super) times: Buckets,
    pub(super) upstreams: HashMap<String, OfUpstream>,
    /// By hook and verdict.
    pub(super) verdicts: BTreeMap<String, BTreeMap<String, f64>>,
}

impl Counters {
    pub(super) fn read(text: &str) -> Counters {
        let mut counters = Counters::default();
        for series in text.lines().filter_map(series) {
            counters.count(&series);
        }
        counters
    }

    fn count(&mut self, series: &Series<'_>) {
        let value = series.value;
        let Some(name) = series.name.strip_prefix("waypost_") else {
            return;
        };
        let bound = || series.label("le").parse().unwrap_or(f64::INFINITY);
        match name {
            "requests_total" => {
                self.requests += value;
                if series.label("code") == "5xx" {
                    self.errors += value;
                }
            }
            "requests_in_flight" => self.in_flight += value,
            "request_duration_seconds_bucket" => self.times.add(bound(), value),
            "upstream_requests_total" => {
                let of = self.upstream(series);
                of.requests += value;
                if series.label("code") == "5xx" {
                    of.errors += value;
                }
            }
            // Those of a status are among the answers.
            "upstream_failures_total" if series.label("reason") != "status" => {
                self.upstream(series).errors += value;
            }
            "upstream_retries_total" => self.upstream(series).retries += value,
            "upstream_header_duration_seconds_bucket" => {
                self.upstream(series).times.add(bound(), value);
            }
            "hook_verdicts_total" => {
                let hook = series.label("hook").to_owned();
                let verdict = series.label("verdict").to_owned();
                let verdicts = self.verdicts.entry(hook).or_default();
                *verdicts.entry(verdict).or_default() += value;
            }
            _ => {}
        }
    }

    fn upstream(&mut self, series: &Series<'_>) -> &mut OfUpstream {
        let name = series.label("upstream").to_owned();
        self.upstreams.entry(name).or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    const TEXT: &str = r#"# TYPE waypost_requests counter
waypost_requests_total{route="a",method="GET",code="2xx"} 10
waypost_requests_total{route="b",method="GET",code="5xx"} 2
waypost_requests_in_flight 3
waypost_upstream_requests_total{upstream="a\"}\\\n,b",endpoint="x",code="5xx"} 4
waypost_upstream_failures_total{upstream="a\"}\\\n,b",endpoint="x",reason="status"} 4
waypost_upstream_failures_total{upstream="a\"}\\\n,b",endpoint="x",reason="connect"} 1
waypost_request_duration_seconds_bucket{route="a",le="0.001"} 5
waypost_request_duration_seconds_bucket{route="b",le="0.001"} 5
waypost_request_duration_seconds_bucket{route="a",le="+Inf"} 10
waypost_request_duration_seconds_bucket{route="b",le="+Inf"} 10
waypost_hook_verdicts_total{hook="h",verdict="answer"} 7
waypost_broken{a="b
waypost_broken
another_requests_total 100
"#;

    #[test]
    fn series_are_added_up_by_what_is_shown_and_unknown_lines_are_left_out() {
        let counters = Counters::read(TEXT);
        let told = (counters.requests, counters.errors, counters.in_flight);
        assert_eq!(told, (12.0, 2.0, 3.0));
        let upstream = &counters.upstreams["a\"}\\\n,b"];
        assert_eq!((upstream.requests, upstream.errors), (4.0, 5.0));
        assert_eq!(counters.verdicts["h"]["answer"], 7.0);
        assert_eq!(counters.times.since(None).quantile(0.25), Some(0.0005));
    }

    #[test]
    fn percentiles_are_of_what_was_counted_between_two_looks() {
        let buckets = |counts: [f64; 3]| {
            let bounds = [0.1, 1.0, f64::INFINITY];
            Buckets(bounds.into_iter().zip(counts).collect())
        };
        let (earlier, now) = (
            buckets([1000.0, 1000.0, 1000.0]),
            buckets([1000.0, 1010.0, 1020.0]),
        );
        let more = now.since(Some(&earlier));
        assert_eq!(more.quantile(0.25), Some(0.55));
        assert_eq!(more.quantile(0.99), Some(1.0), "beyond the last bound");
        assert_eq!(now.since(Some(&now)).quantile(0.5), None, "nothing between");
        assert_eq!(Buckets::default().quantile(0.5), None);
    }
}
