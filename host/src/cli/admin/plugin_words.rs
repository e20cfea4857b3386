//! Plugins in words, as `waypost plugin list`, `inspect` and the commands that change them have it.

use std::time::Duration;

use super::candidate::trial_in_words;
use super::table::{aligned, brief, size};
use crate::admin_api::{PluginIncident, PluginList, PluginStatus};

/// The first digits of a hash: enough to tell versions apart.
pub(super) fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// What a command has done to one plugin.
pub(super) fn one_in_words(plugin: PluginStatus) -> String {
    let text = in_force_in_words(&plugin).unwrap_or_else(|| {
        let PluginStatus {
            name,
            version,
            state,
            ..
        } = &plugin;
        let hash = short(&plugin.hash);
        format!("plugin `{name}`: version {version} ({hash}) is {state}\n")
    });
    match plugin.trial {
        Some(trial) => text + &trial_in_words(&plugin.name, &trial),
        None => text,
    }
}

/// Which version serves, since when and in place of which one, where there was another.
fn in_force_in_words(plugin: &PluginStatus) -> Option<String> {
    let (previous, since) = (plugin.previous.as_ref()?, plugin.since.as_ref()?);
    let version = |number, hash| format!("version {number} ({})", short(hash));
    let before = version(previous.version, &previous.hash);
    let (is, came) = match (&*plugin.state, &plugin.promoted_from) {
        ("rolled back", _) => ("serves again", format!("rolled back from {before}")),
        (state, trial) => {
            let is = match state {
                "live" => "serves",
                "quarantined" => "is quarantined, and in force",
                _ => "is over budget, and in force",
            };
            let came = match trial {
                Some(trial) => format!("promoted from a {trial}, in place of {before}"),
                None => format!("in place of {before}"),
            };
            (is, came)
        }
    };
    let present = version(plugin.version, &plugin.hash);
    let name = &plugin.name;
    Some(format!(
        "plugin `{name}`: {present} {is} since {since}, {came}\n"
    ))
}

/// A table, and below it what happened to each.
pub(super) fn list_in_words(PluginList { plugins }: PluginList) -> String {
    let header = [
        "NAME",
        "KIND",
        "VERSION",
        "STATE",
        "HASH",
        "CALLS",
        "MEAN",
        "P99",
        "TIME",
        "TRAPS",
        "DEADLINES",
        "MEMORY FAULTS",
        "BAD ANSWERS",
        "MEMORY",
        "UPSTREAMS",
        "HOOKS",
        "ROUTES",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    rows.extend(plugins.iter().map(|plugin| {
        [
            plugin.name.clone(),
            plugin.kinds.join(","),
            plugin.version.to_string(),
            plugin.state.clone(),
            short(&plugin.hash).to_owned(),
            plugin.calls.to_string(),
            brief(Duration::from_nanos(plugin.mean_ns)),
            brief(Duration::from_nanos(plugin.p99_ns)),
            format!("{}%", plugin.worker_percent),
            plugin.traps.to_string(),
            plugin.deadlines.to_string(),
            plugin.memory_faults.to_string(),
            plugin.answers.to_string(),
            size(plugin.memory_bytes),
            plugin.upstreams.join(","),
            plugin.hooks.join(","),
            plugin.routes.join(","),
        ]
    }));
    let mut text = aligned(&rows);
    for plugin in plugins {
        if let Some(in_force) = in_force_in_words(&plugin) {
            text += &format!("\n{in_force}");
        }
        if let Some(trial) = &plugin.trial {
            text += &format!("\n{}", trial_in_words(&plugin.name, trial));
        }
        if let Some(error) = plugin.last_error {
            text += &format!("\nlast error of `{}`: {error}\n", plugin.name);
        }
        // That a version serves is told above; the other events are listed here.
        let others = plugin.history.iter().rev();
        for incident in others.filter(|each| !matches!(&*each.event, "serves" | "promoted")) {
            text += &format!("{}\n", incident_in_words(incident));
        }
    }
    text
}

/// One line of a history.
fn incident_in_words(incident: &PluginIncident) -> String {
    let PluginIncident {
        version,
        event,
        detail,
        count,
        first,
        last,
    } = incident;
    let times = match count {
        1 => String::new(),
        count => format!(", {count} times since {first}"),
    };
    format!("  {last}  version {version} {event}: {detail}{times}")
}

/// All that is known of one plugin.
pub(super) fn details_in_words(plugin: PluginStatus) -> String {
    let list = |names: &[String]| match names {
        [] => "none".to_owned(),
        names => names.join("\n                "),
    };
    let nanos = |nanos| brief(Duration::from_nanos(nanos));
    let previous = plugin
        .previous
        .as_ref()
        .map(|previous| format!("version {} ({})", previous.version, short(&previous.hash)));
    let name = plugin.name.clone();
    let rows = [
        ("name", plugin.name),
        ("version", format!("{} ({})", plugin.version, plugin.hash)),
        (
            "signed by",
            plugin.signed_by.unwrap_or_else(|| "not asked".to_owned()),
        ),
        ("state", plugin.state),
        (
            "since",
            plugin.since.unwrap_or_else(|| "unknown".to_owned()),
        ),
        (
            "promoted from",
            plugin.promoted_from.unwrap_or_else(|| "none".to_owned()),
        ),
        ("previous", previous.unwrap_or_else(|| "none".to_owned())),
        ("exports", plugin.world),
        ("imports", list(&plugin.imports)),
        ("kinds", plugin.kinds.join(", ")),
        ("upstreams", list(&plugin.upstreams)),
        ("hooks", list(&plugin.hooks)),
        ("routes", list(&plugin.routes)),
        ("calls", plugin.calls.to_string()),
        (
            "time",
            format!(
                "{} a call, {} at most for 99 of 100",
                nanos(plugin.mean_ns),
                nanos(plugin.p99_ns)
            ),
        ),
        (
            "budget",
            format!(
                "{}% of a worker's time, {}% used of late; {} picks left to the fallback",
                plugin.budget, plugin.worker_percent, plugin.over_budget
            ),
        ),
        (
            "faults",
            format!(
                "{} traps, {} deadlines, {} of memory, {} bad answers",
                plugin.traps, plugin.deadlines, plugin.memory_faults, plugin.answers
            ),
        ),
        (
            "memory",
            format!(
                "{} in {} instances",
                size(plugin.memory_bytes),
                plugin.instances
            ),
        ),
    ];
    let counters = plugin.counters.iter();
    let counters: Vec<String> = counters
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    let stored = plugin.store.as_ref().map(|store| {
        format!(
            "{} entries, {}; {} refused",
            store.entries,
            size(store.bytes),
            store.refused
        )
    });
    let mut text: String = rows
        .iter()
        .chain(&[("counters", list(&counters))])
        .chain(&stored.map(|stored| ("store", stored)))
        .map(|(name, value)| format!("{name:<15} {value}\n"))
        .collect();
    if let Some(trial) = &plugin.trial {
        text += &trial_in_words(&name, trial);
    }
    text += "history\n";
    for incident in plugin.history.iter().rev() {
        text += &format!("{}\n", incident_in_words(incident));
    }
    text
}
