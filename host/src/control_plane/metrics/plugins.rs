//! Hooks by what they decide. Plugins: what they are called for, what that takes, how they fail.

use super::Told;
use crate::metrics::{Family, MetricsText, families};
use crate::plugin::{Cost, Plugin, PluginCounters};

pub(super) fn tell(told: &Told<'_>, text: &mut MetricsText) {
    for (hook, metrics) in &told.all.hooks {
        for (verdict, count) in metrics.sums() {
            text.count(&families::HOOKS, &[hook, verdict], count);
        }
    }
    let registry = &told.published.registry;
    // A version that was replaced may still be at work, and what it counted stays told.
    let versions = registry.entries().flat_map(|(name, entry)| {
        let previous = entry.previous.iter();
        let previous = previous.filter(|previous| !previous.is(&entry.current));
        let previous = previous.chain([&entry.current]);
        let current = &entry.current;
        previous.map(move |plugin| OneVersion::of(name, plugin, plugin.is(current)))
    });
    let versions: Vec<OneVersion<'_>> = versions.collect();
    for version in versions.iter().filter(|version| version.is_in_force) {
        let hash = version.plugin.hash().to_string();
        let labels = [version.name, &version.number, &hash];
        text.info(&families::PLUGIN, &labels);
    }
    type Figure = fn(&OneVersion<'_>) -> f64;
    let figures: [(&'static Family, Figure); 8] = [
        (&families::PLUGIN_CALLS, |of| of.stats.calls as f64),
        (&families::PLUGIN_TIMED_CALLS, |of| {
            of.cost.timed_calls as f64
        }),
        (&families::PLUGIN_TIMED_SECONDS, |of| {
            of.cost.timed_ns as f64 / 1e9
        }),
        (&families::PLUGIN_INSTANCES, |of| of.cost.instances as f64),
        (&families::PLUGIN_MEMORY, |of| of.cost.memory_bytes as f64),
        (&families::PLUGIN_QUARANTINED, |of| {
            f64::from(u8::from(of.plugin.is_quarantined()))
        }),
        (&families::PLUGIN_BUDGET, |of| {
            f64::from(of.plugin.budget()) / 100.0
        }),
        (&families::PLUGIN_BUSY, |of| {
            of.cost.worker_percent as f64 / 100.0
        }),
    ];
    for (family, figure) in figures {
        for version in &versions {
            text.sample(family, &[version.name, &version.number], figure(version));
        }
    }
    for version in &versions {
        let stats = version.stats;
        for (kind, count) in [
            ("trap", stats.traps),
            ("deadline", stats.deadlines),
            ("memory", stats.memory),
            ("answer", stats.answers),
            ("over_budget", stats.over_budget),
        ] {
            let labels = [version.name, &version.number, kind];
            text.count(&families::PLUGIN_FAULTS, &labels, count);
        }
    }
    for version in &versions {
        for (counter, count) in version.plugin.own_counters() {
            let labels = [version.name, &version.number, &counter];
            text.count(&families::PLUGIN_COUNTER, &labels, count);
        }
    }
}

/// A version of a plugin.
struct OneVersion<'a> {
    name: &'a str,
    number: String,
    plugin: &'a Plugin,
    is_in_force: bool,
    stats: PluginCounters,
    cost: Cost,
}

impl<'a> OneVersion<'a> {
    fn of(name: &'a str, plugin: &'a Plugin, is_in_force: bool) -> OneVersion<'a> {
        OneVersion {
            name,
            number: plugin.version().to_string(),
            stats: plugin.stats(),
            cost: plugin.cost(),
            plugin,
            is_in_force,
        }
    }
}
