//! The two texts that scrapers read: Prometheus' own (version 0.0.4) and OpenMetrics 1.0.
//!
//! Written by hand: the crate `prometheus-client` has the latter alone, and wants the numbers in
//! cells of its own, which all threads write.

use std::fmt::Write;

use super::family::{Family, Kind};
use super::histogram::HistogramSum;

/// Which of the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// What a scraper takes that says so in `Accept`: OpenMetrics where it is named, in a version
    /// that is ours.
    pub(crate) fn accepted(accept: &[u8]) -> Format {
        let accept = String::from_utf8_lossy(accept);
        let takes = accept.split(',').any(|offer| {
            let mut parts = offer.split(';').map(str::trim);
            let is_it = parts
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case("application/openmetrics-text"));
            let mut version = true;
            let mut refused = false;
            for parameter in parts {
                match parameter.split_once('=') {
                    Some(("version", named)) => version = named.trim_matches('"') == "1.0.0",
                    Some(("q", weight)) => refused = weight.parse() == Ok(0.0),
                    _ => {}
                }
            }
            is_it && version && !refused
        });
        match takes {
            true => Format::OpenMetrics,
            false => Format::Prometheus,
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A text under construction. Samples of one family come one after the other.
#[derive(Debug)]
pub(crate) struct MetricsText {
    out: String,
    format: Format,
    /// The family whose samples come now.
    current: Option<&'static str>,
}

impl MetricsText {
    pub(crate) fn new(format: Format) -> MetricsText {
        MetricsText {
            out: String::with_capacity(64 << 10),
            format,
            current: None,
        }
    }

    /// One number of a family, by its labels.
    pub(crate) fn sample(&mut self, family: &'static Family, labels: &[&str], value: f64) {
        self.begin(family);
        self.out.push_str(family.name);
        self.out.push_str(family.kind.suffix());
        self.labels(family, labels, None);
        self.value(value);
    }

    pub(crate) fn count(&mut self, family: &'static Family, labels: &[&str], count: u64) {
        // Exact up to 2^53.
        self.sample(family, labels, count as f64);
    }

    /// What an info says.
    pub(crate) fn info(&mut self, family: &'static Family, labels: &[&str]) {
        self.sample(family, labels, 1.0);
    }

    pub(crate) fn histogram(
        &mut self,
        family: &'static Family,
        labels: &[&str],
        sum: &HistogramSum,
    ) {
        self.begin(family);
        let count = sum.count();
        let mut bucket = |bound: &str, count: u64| {
            self.out.push_str(family.name);
            self.out.push_str("_bucket");
            self.labels(family, labels, Some(bound));
            self.value(count as f64);
        };
        for (bound, count) in sum.cumulative() {
            // `1.0`, not `1`: OpenMetrics has one spelling of a number.
            bucket(&format!("{bound:?}"), count);
        }
        bucket("+Inf", count);
        for (suffix, value) in [("_sum", sum.sum()), ("_count", count as f64)] {
            self.out.push_str(family.name);
            self.out.push_str(suffix);
            self.labels(family, labels, None);
            self.value(value);
        }
    }

    pub(crate) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    /// Says what a family is, before its first sample.
    fn begin(&mut self, family: &'static Family) {
        if self.current.replace(family.name) == Some(family.name) {
            return;
        }
        let (kind, suffix) = match (self.format, family.kind) {
            // OpenMetrics names the family, the older text its samples, and knows no info.
            (Format::OpenMetrics, kind) => (kind, ""),
            (Format::Prometheus, Kind::Info) => (Kind::Gauge, Kind::Info.suffix()),
            (Format::Prometheus, kind) => (kind, kind.suffix()),
        };
        let (name, help, kind) = (family.name, family.help, kind.name());
        // Writing to a string cannot fail. Helps are ours, and need no escape: a test looks.
        let _ = write!(
            self.out,
            "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"
        );
    }

    fn labels(&mut self, family: &Family, values: &[&str], bound: Option<&str>) {
        debug_assert_eq!(family.labels.len(), values.len(), "{}", family.name);
        let own = family.labels.iter().copied().zip(values.iter().copied());
        let mut open = '{';
        for (name, value) in own.chain(bound.map(|bound| ("le", bound))) {
            self.out.push(open);
            open = ',';
            self.out.push_str(name);
            self.out.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    character => self.out.push(character),
                }
            }
            self.out.push('"');
        }
        if open == ',' {
            self.out.push('}');
        }
    }

    fn value(&mut self, value: f64) {
        let _ = writeln!(self.out, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static REQUESTS: Family = Family::counter("a_requests", &["route"], "Requests.");
    static BUILD: Family = Family::info("a_build", &["version"], "What it is.");

    fn text(format: Format) -> String {
        let mut text = MetricsText::new(format);
        text.count(&REQUESTS, &["a \"b\" \\ \n"], 7);
        text.count(&REQUESTS, &["c"], 8);
        text.info(&BUILD, &["1"]);
        text.finish()
    }

    #[test]
    fn each_text_names_families_in_its_way_and_both_escape_labels() {
        assert_eq!(
            text(Format::Prometheus),
            "# HELP a_requests_total Requests.\n# TYPE a_requests_total counter\n\
             a_requests_total{route=\"a \\\"b\\\" \\\\ \\n\"} 7\na_requests_total{route=\"c\"} 8\n\
             # HELP a_build_info What it is.\n# TYPE a_build_info gauge\na_build_info{version=\"1\"} 1\n"
        );
        assert_eq!(
            text(Format::OpenMetrics),
            "# HELP a_requests Requests.\n# TYPE a_requests counter\n\
             a_requests_total{route=\"a \\\"b\\\" \\\\ \\n\"} 7\na_requests_total{route=\"c\"} 8\n\
             # HELP a_build What it is.\n# TYPE a_build info\na_build_info{version=\"1\"} 1\n# EOF\n"
        );
    }

    #[test]
    fn a_scraper_gets_openmetrics_where_it_takes_our_version_of_it() {
        for (accept, format) in [
            ("", Format::Prometheus),
            ("*/*", Format::Prometheus),
            ("text/plain;version=0.0.4", Format::Prometheus),
            ("application/openmetrics-text", Format::OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5",
                Format::OpenMetrics,
            ),
            (
                "application/openmetrics-text; version=\"1.0.0\"; charset=utf-8",
                Format::OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=2.0.0",
                Format::Prometheus,
            ),
            (
                "application/openmetrics-text;version=1.0.0;q=0",
                Format::Prometheus,
            ),
        ] {
            assert_eq!(Format::accepted(accept.as_bytes()), format, "{accept}");
        }
    }
}
