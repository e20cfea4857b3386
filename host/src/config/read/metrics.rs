//! `[metrics]`: what is counted for those who watch.

use std::time::Duration;

use super::{Complaint, noted};
use crate::config::declared::METRICS;
use crate::config::key::Default;
use crate::config::model::{MAX_BUCKETS, MetricsConfig};
use crate::config::section::Section;
use crate::config::units;

pub(super) fn metrics(root: &Section<'_>) -> MetricsConfig {
    let section = root.table("metrics", &METRICS);
    let none = || Section::of(&[], root.place, &METRICS, root.problems);
    let section = section.unwrap_or_else(none);
    MetricsConfig {
        buckets: buckets(&section),
        endpoints: section.integer("endpoints"),
        named_upstreams: section.integer("named_upstreams"),
    }
}

fn buckets(section: &Section<'_>) -> Vec<Duration> {
    let Some(node) = section.get("buckets") else {
        let Default::Words(words) = section.default("buckets") else {
            return Vec::new();
        };
        let bounds = words.iter().map(|word| units::duration(word));
        return bounds.filter_map(Result::ok).collect();
    };
    let texts = section.texts("buckets").into_iter();
    let bounds = texts.filter_map(|(text, node)| {
        let bound = units::duration(text)
            .map_err(|message| Complaint::new(message).hint("write bounds as `[\"5ms\", \"1s\"]`"));
        noted(bound, node, section.problems)
    });
    let bounds: Vec<Duration> = bounds.collect();
    let complaint = if bounds.len() > MAX_BUCKETS {
        Some(format!("`buckets` has more than {MAX_BUCKETS} bounds"))
    } else if !bounds.is_sorted_by(|one, next| one < next) {
        Some("`buckets` must be ascending".to_owned())
    } else {
        None
    };
    if let Some(complaint) = complaint {
        section
            .problems
            .add(Complaint::new(complaint).at(&node.place));
    }
    bounds
}
