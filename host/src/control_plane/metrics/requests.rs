//! Requests by route, and the connections that they come on.

use super::Told;
use crate::data_plane::exchange::FAULT_CLASSES;
use crate::data_plane::standing::Standings;
use crate::metrics::{MetricsText, RouteSums, WorkerSums, families};

pub(super) fn tell(told: &Told<'_>, workers: &WorkerSums, text: &mut MetricsText) {
    let routes = told.all.routes.iter();
    let routes: Vec<(&str, RouteSums)> = routes
        .map(|(name, route)| (&**name, route.sums()))
        .collect();
    for (name, sums) in &routes {
        for (method, code, count) in sums.requests() {
            text.count(&families::REQUESTS, &[name, method, code], count);
        }
    }
    for (name, sums) in &routes {
        text.histogram(&families::REQUEST_DURATION, &[name], &sums.duration);
    }
    for (name, sums) in &routes {
        text.count(&families::REQUEST_BYTES, &[name], sums.received);
    }
    for (name, sums) in &routes {
        text.count(&families::RESPONSE_BYTES, &[name], sums.sent);
    }
    for (kind, count) in FAULT_CLASSES.into_iter().zip(workers.faults) {
        if count > 0 {
            text.count(&families::FAULTS, &[kind], count);
        }
    }
    connections(told, text);
    text.count(&families::CROWDED, &[], workers.crowded);
}

fn connections(told: &Told<'_>, text: &mut MetricsText) {
    let process = told.process;
    let Standings {
        reading,
        writing,
        waiting,
        ..
    } = process.standings();
    text.count(&families::REQUESTS_IN_FLIGHT, &[], writing as u64);
    // Read one after the other, while they change.
    let busy = process.connections().saturating_sub(reading + waiting);
    for (state, count) in [("reading", reading), ("busy", busy), ("waiting", waiting)] {
        text.count(&families::CONNECTIONS, &[state], count as u64);
    }
    text.count(&families::CONNECTIONS_ACCEPTED, &[], process.accepted());
}
