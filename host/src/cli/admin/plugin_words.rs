//! Plugins in words, as `waypost plugin list`, `inspect` and the commands that change them have it.

use std::time::Duration;

use anstyle::Style;

use super::candidate::trial_in_words;
use super::table::{BAD, DOUBTFUL, GOOD, aligned, brief, count, header, painted, size};
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

/// A table that fits 80 columns, with what each is used for below it, and what happened to it.
pub(super) fn list_in_words(PluginList { plugins }: PluginList) -> String {
    let names = [
        "NAME", "KIND", "VERSION", "STATE", "CALLS", "MEAN", "TIME", "FAULTS", "MEMORY",
    ];
    let mut rows = vec![header(names)];
    rows.extend(plugins.iter().map(|plugin| {
        let faults = plugin.traps + plugin.deadlines + plugin.memory_faults + plugin.answers;
        let faults = match faults {
            0 => "0".to_owned(),
            faults => painted(BAD, count(faults)),
        };
        [
            plugin.name.clone(),
            plugin.kinds.join(","),
            plugin.version.to_string(),
            painted(shade(&plugin.state), &plugin.state),
            count(plugin.calls),
            brief(Duration::from_nanos(plugin.mean_ns)),
            format!("{}%", plugin.worker_percent),
            faults,
            size(plugin.memory_bytes),
        ]
    }));
    let table = aligned(&rows);
    let mut lines = table.lines();
    let mut text = lines.next().unwrap_or_default().to_owned() + "\n";
    for (line, plugin) in lines.zip(&plugins) {
        text += &format!("{line}\n  {}\n", in_use(plugin));
    }
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

/// The colour of a state: one that does not decide by itself, or not as it was meant to, is bad.
fn shade(state: &str) -> Style {
    match state {
        "live" => GOOD,
        "compiling" | "over budget" => DOUBTFUL,
        _ => BAD,
    }
}

/// Which file it is, where it is used, and what its faults were.
fn in_use(plugin: &PluginStatus) -> String {
    let mut parts = vec![short(&plugin.hash).to_owned()];
    let uses = [
        ("upstreams", &plugin.upstreams),
        ("hooks", &plugin.hooks),
        ("routes", &plugin.routes),
    ];
    let uses = uses.into_iter().filter(|(_, names)| !names.is_empty());
    parts.extend(uses.map(|(what, names)| format!("{what} {}", names.join(","))));
    let faults = [
        ("traps", plugin.traps),
        ("deadlines", plugin.deadlines),
        ("faults of memory", plugin.memory_faults),
        ("bad answers", plugin.answers),
    ];
    let faults = faults.into_iter().filter(|(_, count)| *count > 0);
    parts.extend(faults.map(|(what, count)| format!("{count} {what}")));
    parts.retain(|part| !part.is_empty());
    match parts.is_empty() {
        true => "not loaded".to_owned(),
        false => parts.join("; "),
    }
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
        ("balances", list(&plugin.upstreams)),
        ("may ask", list(&plugin.may_ask)),
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
