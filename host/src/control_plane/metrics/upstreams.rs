//! What upstreams and their endpoints are asked, and how they are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::Told;
use crate::control_plane::admin::standing;
use crate::metrics::{
    EndpointMetrics, EndpointSums, MetricsText, UpstreamMetrics, UpstreamSums, families,
};

/// An endpoint by upstream and name, as both are told.
type Key<'a> = (&'a str, &'a str);

pub(super) fn tell(told: &Told<'_>, text: &mut MetricsText) {
    attempts(told, text);
    let (upstreams, endpoints) = present(told);
    in_flight(&endpoints, text);
    let counted = told.all.upstreams.iter();
    let counted: Vec<(&str, &UpstreamMetrics, UpstreamSums)> = counted
        .map(|(name, upstream)| (&**name, &**upstream, upstream.sums()))
        .collect();
    for (name, _, sums) in &counted {
        text.histogram(&families::UPSTREAM_HEADER, &[name], &sums.header);
    }
    for (name, _, sums) in &counted {
        text.count(&families::UPSTREAM_SENT, &[name], sums.sent);
    }
    for (name, _, sums) in &counted {
        text.count(&families::UPSTREAM_RECEIVED, &[name], sums.received);
    }
    for (name, _, sums) in &counted {
        for (reason, count) in sums.retries() {
            text.count(&families::UPSTREAM_RETRIES, &[name, reason], count);
        }
    }
    for (name, _, sums) in &counted {
        for (kind, count) in [("new", sums.opened), ("reused", sums.reused)] {
            text.count(&families::UPSTREAM_CONNECTS, &[name, kind], count);
        }
    }
    for (name, upstream, _) in &counted {
        for (limit, count) in upstream.refusals() {
            if count > 0 {
                text.count(&families::UPSTREAM_REJECTED, &[name, limit], count);
            }
        }
    }
    for (name, now) in &upstreams {
        text.count(&families::UPSTREAM_CONNECTIONS, &[name], now.connections);
    }
    for (name, _, sums) in &counted {
        text.count(&families::UPSTREAM_IDLE, &[name], sums.idle);
    }
    for (name, now) in &upstreams {
        text.count(&families::UPSTREAM_QUEUE, &[name], now.waiting);
    }
    for (name, now) in &upstreams {
        for (state, count) in [("in_rotation", now.in_rotation), ("out", now.out)] {
            text.count(&families::UPSTREAM_ENDPOINTS, &[name, state], count);
        }
    }
    health(&endpoints, text);
    for (upstream, endpoint, metrics) in &told.all.endpoints {
        for (outcome, count) in metrics.probes() {
            if count > 0 {
                let labels = [upstream, endpoint, outcome];
                text.count(&families::HEALTH_CHECKS, &labels, count);
            }
        }
    }
}

fn attempts(told: &Told<'_>, text: &mut MetricsText) {
    let endpoints = told.all.endpoints.iter();
    let endpoints: Vec<(&str, &str, EndpointSums)> = endpoints
        .map(|(upstream, name, endpoint)| (&**upstream, &**name, endpoint.sums()))
        .collect();
    for (upstream, endpoint, sums) in &endpoints {
        for (code, count) in sums.attempts() {
            let labels = [upstream, endpoint, code];
            text.count(&families::UPSTREAM_REQUESTS, &labels, count);
        }
    }
    for (upstream, endpoint, sums) in &endpoints {
        for (reason, count) in sums.failures() {
            let labels = [upstream, endpoint, reason];
            text.count(&families::UPSTREAM_FAILURES, &labels, count);
        }
    }
    for (upstream, endpoint, sums) in &endpoints {
        for (reason, count) in sums.retries() {
            let labels = [upstream, endpoint, reason];
            text.count(&families::ENDPOINT_RETRIES, &labels, count);
        }
    }
}

/// What upstreams of one name are doing at this moment.
#[derive(Debug, Default)]
struct PresentUpstream {
    connections: u64,
    waiting: u64,
    in_rotation: u64,
    out: u64,
}

/// What endpoints of one name are doing at this moment. Those that are counted together are told of
/// as one: it is out if one of them is.
#[derive(Debug, Default)]
struct PresentEndpoint {
    in_flight: u64,
    is_out: bool,
    reasons: BTreeSet<String>,
    /// Percent.
    health: Option<u32>,
}

type Present<'a> = (
    BTreeMap<&'a str, PresentUpstream>,
    BTreeMap<Key<'a>, PresentEndpoint>,
);

/// All that is served.
fn present<'a>(told: &'a Told<'_>) -> Present<'a> {
    let names = told.all.upstreams.iter();
    let names = names.map(|(name, metrics)| (Arc::as_ptr(metrics), &**name));
    let names: HashMap<*const UpstreamMetrics, &str> = names.collect();
    let keys = told.all.endpoints.iter();
    let keys = keys.map(|(upstream, name, metrics)| (Arc::as_ptr(metrics), (&**upstream, &**name)));
    let keys: HashMap<*const EndpointMetrics, Key<'a>> = keys.collect();
    let clock = told.process.clock;
    let (mut upstreams, mut endpoints) = Present::default();
    for upstream in &told.published.snapshot.upstreams {
        let Some(name) = names.get(&Arc::as_ptr(upstream.metrics())) else {
            continue;
        };
        let of_upstream = upstreams.entry(*name).or_default();
        of_upstream.connections += upstream.load.connections() as u64;
        of_upstream.waiting += upstream.load.waiting() as u64;
        for (set, is_backup) in upstream.sets().zip([false, true]) {
            for endpoint in set.in_order() {
                let status = standing::server(set, endpoint, is_backup, clock);
                match status.in_rotation {
                    true => of_upstream.in_rotation += 1,
                    false => of_upstream.out += 1,
                }
                let Some(key) = keys.get(&Arc::as_ptr(endpoint.metrics())) else {
                    continue;
                };
                let now = endpoints.entry(*key).or_default();
                now.in_flight += u64::from(status.in_flight);
                now.is_out |= !status.in_rotation;
                let reasons = status.why.into_iter().filter(|reason| !reason.ignored);
                now.reasons.extend(reasons.map(|reason| reason.reason));
                let healths = now.health.into_iter().chain(status.health);
                now.health = healths.min();
            }
        }
    }
    (upstreams, endpoints)
}

fn in_flight(endpoints: &BTreeMap<Key<'_>, PresentEndpoint>, text: &mut MetricsText) {
    for ((upstream, endpoint), now) in endpoints {
        let labels = [*upstream, *endpoint];
        text.count(&families::UPSTREAM_IN_FLIGHT, &labels, now.in_flight);
    }
}

fn health(endpoints: &BTreeMap<Key<'_>, PresentEndpoint>, text: &mut MetricsText) {
    for ((upstream, endpoint), now) in endpoints {
        let labels = [*upstream, *endpoint];
        let is_in = u64::from(!now.is_out);
        text.count(&families::ENDPOINT_IN_ROTATION, &labels, is_in);
    }
    for ((upstream, endpoint), now) in endpoints {
        for reason in &now.reasons {
            let labels = [*upstream, *endpoint, reason];
            text.count(&families::ENDPOINT_OUT, &labels, 1);
        }
    }
    for ((upstream, endpoint), now) in endpoints {
        if let Some(percent) = now.health {
            let labels = [*upstream, *endpoint];
            let ratio = f64::from(percent) / 100.0;
            text.sample(&families::ENDPOINT_HEALTH, &labels, ratio);
        }
    }
}
