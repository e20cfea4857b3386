//! What upstreams and their endpoints are asked, and how they are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Told;
use crate::metrics::{EndpointMetrics, EndpointSums, MetricsText, UpstreamSums, families};

/// An endpoint by upstream and name, as both are told.
type Key<'a> = (&'a str, &'a str);

pub(super) fn tell(told: &Told<'_>, text: &mut MetricsText) {
    let endpoints = told.all.endpoints.iter();
    let endpoints: Vec<(Key<'_>, EndpointSums)> = endpoints
        .map(|(upstream, name, endpoint)| ((&**upstream, &**name), endpoint.sums()))
        .collect();
    for ((upstream, endpoint), sums) in &endpoints {
        for (code, count) in sums.attempts() {
            let labels = [upstream, endpoint, code];
            text.count(&families::UPSTREAM_REQUESTS, &labels, count);
        }
    }
    let present = present(told);
    for ((upstream, endpoint), now) in &present {
        let labels = [*upstream, *endpoint];
        text.count(&families::UPSTREAM_IN_FLIGHT, &labels, now.in_flight);
    }
    let upstreams = told.all.upstreams.iter();
    let upstreams: Vec<(&str, UpstreamSums)> = upstreams
        .map(|(name, upstream)| (&**name, upstream.sums()))
        .collect();
    for (name, sums) in &upstreams {
        text.histogram(&families::UPSTREAM_HEADER, &[name], &sums.header);
    }
    for (name, sums) in &upstreams {
        text.count(&families::UPSTREAM_SENT, &[name], sums.sent);
    }
    for (name, sums) in &upstreams {
        text.count(&families::UPSTREAM_RECEIVED, &[name], sums.received);
    }
}

/// What endpoints of one name are doing at this moment.
#[derive(Debug, Default)]
struct Present {
    in_flight: u64,
}

/// All endpoints that are served, those that are counted together as one.
fn present<'a>(told: &'a Told<'_>) -> BTreeMap<Key<'a>, Present> {
    let keys = told.all.endpoints.iter();
    let keys = keys.map(|(upstream, name, metrics)| (Arc::as_ptr(metrics), (&**upstream, &**name)));
    let keys: HashMap<*const EndpointMetrics, Key<'a>> = keys.collect();
    let mut present = BTreeMap::<Key<'a>, Present>::new();
    for upstream in &told.published.snapshot.upstreams {
        for (endpoint, _) in upstream.endpoints() {
            let Some(key) = keys.get(&Arc::as_ptr(endpoint.metrics())) else {
                continue;
            };
            let now = present.entry(*key).or_default();
            now.in_flight += u64::from(endpoint.in_flight());
        }
    }
    present
}
