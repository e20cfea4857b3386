//! The process itself: its workers, its configuration, what it takes of the machine.

use std::time::SystemTime;

use rustix::process::Resource;
use rustix::time::ClockId;

use super::Told;
use crate::control_plane::panics;
use crate::metrics::{MetricsText, families};

pub(super) fn tell(told: &Told<'_>, text: &mut MetricsText) {
    let workers = &told.admin.workers;
    text.count(&families::WORKERS, &[], workers.workers as u64);
    for (worker, standing) in told.process.standing.iter().enumerate() {
        let labels = [&*worker.to_string()];
        text.count(&families::WORKER_REQUESTS, &labels, standing.requests());
    }
    text.count(&families::WORKER_RESTARTS, &[], workers.restarts());
    text.count(&families::PANICS, &[], panics::count());
    let generation = told.published.snapshot.generation;
    text.count(&families::GENERATION, &[], generation);
    let reloads = &told.published.reloads;
    for (outcome, count) in [("succeeded", reloads.succeeded), ("failed", reloads.failed)] {
        text.count(&families::RELOADS, &[outcome], count);
    }
    let succeeded = u64::from(!reloads.last_failed);
    text.count(&families::RELOAD_SUCCEEDED, &[], succeeded);
    dns(told, text);
    traces(told, text);
    machine(told, text);
}

fn dns(told: &Told<'_>, text: &mut MetricsText) {
    let names = &told.admin.names;
    for (outcome, count) in names.lookups() {
        text.count(&families::DNS_LOOKUPS, &[outcome], count);
    }
    let counts = names.counts();
    for (state, count) in [("answered", counts.answered), ("failing", counts.failing)] {
        text.count(&families::DNS_NAMES, &[state], count);
    }
    let without = counts.without_address;
    text.count(&families::DNS_WITHOUT_ADDRESS, &[], without);
}

fn traces(told: &Told<'_>, text: &mut MetricsText) {
    let figures = told.admin.exporters.figures();
    for (outcome, count) in figures.spans {
        text.count(&families::TRACE_SPANS, &[outcome], count);
    }
    text.count(&families::TRACE_FAILURES, &[], figures.failures);
    text.count(&families::TRACE_QUEUE, &[], figures.queued);
}

/// What Prometheus' own libraries tell of a process, by the same names.
fn machine(told: &Told<'_>, text: &mut MetricsText) {
    let age = told.admin.started.elapsed();
    let started = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let started = started.saturating_sub(age).as_secs_f64();
    text.sample(&families::START_TIME, &[], started);
    let used = rustix::time::clock_gettime(ClockId::ProcessCPUTime);
    let used = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
    text.sample(&families::CPU, &[], used);
    // Where `/proc` is not mounted, these are left out.
    if let Some(resident) = resident_memory() {
        text.count(&families::RESIDENT_MEMORY, &[], resident);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // The one that counts them is among them.
        let open = (open.count() as u64).saturating_sub(1);
        text.count(&families::OPEN_FDS, &[], open);
    }
    if let Some(most) = rustix::process::getrlimit(Resource::Nofile).current {
        text.count(&families::MAX_FDS, &[], most);
    }
}

/// In bytes.
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
