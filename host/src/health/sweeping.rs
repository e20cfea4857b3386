//! Has outliers ejected: judges each interval of an upstream, and ends ejections.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::outliers::{Detector, Ejection, Sample};
use super::thread::Tools;
use crate::data_plane::upstream::{Endpoint, EndpointSet, Unfit, Upstream};

/// Longer than any interval, for an upstream that has none at the moment.
const NEVER: Duration = Duration::from_secs(86_400);

/// Looks for outliers of an upstream, as it is configured at each moment.
pub(super) async fn sweep(tools: Rc<Tools>, current: Rc<RefCell<Arc<Upstream>>>) {
    // Primaries and backups are not each other's peers.
    let mut detectors = [Detector::default(), Detector::default()];
    let interval = |upstream: &Upstream| {
        let rules = upstream.config.outliers.as_ref();
        rules.map_or(NEVER, |rules| rules.interval)
    };
    // Whoever looked before, and ended by an error of ours, has left nobody who ends these.
    current.borrow().end_ejections(tools.micros(Instant::now()));
    let mut began = Instant::now();
    loop {
        let due = began + interval(&current.borrow());
        let ends = detectors.iter().filter_map(Detector::next_end);
        sleep_until(ends.fold(due, Instant::min)).await;
        let (now, upstream) = (Instant::now(), current.borrow().clone());
        let Some(rules) = &upstream.config.outliers else {
            began = now;
            continue;
        };
        let mut has_changed = false;
        // An endpoint may have changed its group meanwhile, and a group be gone: what has begun is
        // ended whatever there is now.
        for detector in &mut detectors {
            has_changed |= bring_back(&tools, &upstream, detector, now);
        }
        for (detector, set) in detectors.iter_mut().zip(upstream.sets()) {
            if now >= due {
                let ejections = detector.sweep(&samples(set), rules, now);
                has_changed |= !ejections.is_empty();
                for ejection in ejections {
                    eject(&tools, &upstream, set, ejection);
                }
            }
        }
        if now >= due {
            began = now;
        }
        if has_changed {
            upstream.health_changed();
        }
    }
}

fn samples(set: &EndpointSet) -> Vec<Sample> {
    let members = set.in_order().filter(|endpoint| !endpoint.down);
    let samples = members.map(|endpoint| {
        let (attempts, failures) = endpoint.stats.health.take_attempts();
        Sample {
            id: endpoint.stats.id,
            attempts,
            failures,
            latency_us: endpoint.latency_us(),
        }
    });
    samples.collect()
}

fn bring_back(tools: &Tools, upstream: &Upstream, detector: &mut Detector, now: Instant) -> bool {
    let ended = detector.ended(now);
    for id in &ended {
        let mut endpoints = upstream.endpoints();
        let back = endpoints.find(|(endpoint, _)| endpoint.stats.id == *id);
        let Some((
            Endpoint {
                stats,
                name,
                slow_start,
                ..
            },
            _,
        )) = back
        else {
            continue;
        };
        stats.forget_latency();
        stats.start_slowly(*slow_start);
        stats.health.take_attempts();
        stats.health.set_next(Unfit::Outlier, 0);
        stats.health.is_back(Unfit::Outlier, tools.micros(now));
        let of = &upstream.config.name;
        tracing::info!(
            "upstream server is back from its ejection, upstream: \"{of}\", server: \"{name}\""
        );
    }
    !ended.is_empty()
}

fn eject(tools: &Tools, upstream: &Upstream, set: &EndpointSet, ejection: Ejection) {
    let Ejection {
        id,
        until,
        time,
        why,
    } = ejection;
    let Some(endpoint) = set.in_order().find(|endpoint| endpoint.stats.id == id) else {
        return;
    };
    let (of, name) = (&upstream.config.name, &endpoint.name);
    let health = &endpoint.stats.health;
    health.set_next(Unfit::Outlier, tools.micros(until));
    health.is_out(Unfit::Outlier, tools.micros(Instant::now()), why.clone());
    // Told once it is so.
    tracing::warn!(
        "upstream server ejected for {time:?}: {why}, upstream: \"{of}\", server: \"{name}\""
    );
}
