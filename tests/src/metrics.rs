//! What a proxy has counted, as its text for Prometheus tells it.

use std::collections::BTreeMap;

use crate::client::{self, Response};
use crate::eventually;
use crate::proxy::Proxy;

/// Samples by name and labels, as they stand in the text.
#[derive(Debug, Clone)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Takes a text apart, in which no sample may be twice.
    pub fn of(text: &str) -> Metrics {
        let mut samples = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (sample, value) = line.rsplit_once(' ').expect("a sample and its value");
            let value = value.parse().expect("a number");
            let before = samples.insert(sample.to_owned(), value);
            assert!(before.is_none(), "{sample} is there twice");
        }
        Metrics(samples)
    }

    /// A sample, such as `a_total{route="/"}`; 0 where it is not there.
    pub fn value(&self, sample: &str) -> f64 {
        self.0.get(sample).copied().unwrap_or_default()
    }

    pub fn has(&self, sample: &str) -> bool {
        self.0.contains_key(sample)
    }

    /// The sum of all samples that begin so.
    pub fn sum(&self, beginning: &str) -> f64 {
        let samples = self.0.iter();
        let begin = samples.filter(|(sample, _)| sample.starts_with(beginning));
        begin.map(|(_, value)| value).sum()
    }

    /// All samples that begin so, with their values.
    pub fn all(&self, beginning: &str) -> Vec<(&str, f64)> {
        let samples = self.0.iter();
        let begin = samples.filter(|(sample, _)| sample.starts_with(beginning));
        begin.map(|(sample, value)| (&**sample, *value)).collect()
    }

    /// Samples of counters and histograms that are less than they were, or gone.
    pub fn fallen_since(&self, before: &Metrics) -> Vec<String> {
        let counts = ["_total", "_bucket", "_count", "_sum"];
        let names = before.0.iter().filter(|(sample, _)| {
            let name = sample.split('{').next().unwrap_or_default();
            counts.iter().any(|ending| name.ends_with(ending))
        });
        let fallen = names.filter(|(sample, value)| self.value(sample) < **value);
        fallen.map(|(sample, _)| sample.clone()).collect()
    }
}

impl Proxy {
    /// What it has counted, told by the admin API ([`ADMIN`](crate::admin::ADMIN)).
    pub async fn metrics(&self) -> Metrics {
        Metrics::of(&self.metrics_as("").await.text())
    }

    /// The same as it is sent to a scraper that accepts this.
    pub async fn metrics_as(&self, accept: &str) -> Response {
        let line = match accept {
            "" => String::new(),
            accept => format!("Accept: {accept}\r\n"),
        };
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{line}\r\n");
        let response = client::exchange(&self.admin_address(), request).await;
        assert_eq!(response.status, 200, "{}", response.text());
        response
    }

    /// Waits until it tells what is asked for: what a client sees comes before what is counted.
    pub async fn counts(&self, what: &str, holds: impl Fn(&Metrics) -> bool) -> Metrics {
        let mut metrics = self.metrics().await;
        eventually(what, async || {
            metrics = self.metrics().await;
            holds(&metrics)
        })
        .await;
        metrics
    }
}
