//! Plugins and what uses them: policies, filters, scorers, hooks.

use serde_json::Value as Json;

use super::{TomlWriter, inline_table, text, texts};
use crate::config::model::{
    ComponentConfig, Config, HookConfig, HookUse, Manner, PluginConfig, PluginUse, PolicyUse,
    ScorerUse, TrialConfig, Trust,
};
use crate::config::tree::key_text;
use crate::config::units::{duration_text, size_text};

pub(super) fn plugin(out: &mut TomlWriter, plugin: &PluginConfig) {
    out.header(&format!("[plugin.{}]", key_text(&plugin.name)));
    out.key("file", text(&plugin.file.display().to_string()));
    trust(out, &plugin.trust);
    if let Some(trial) = &plugin.trial {
        out.key(trial.terms.manner.name(), inline_table(candidate(trial)));
    }
    out.key("watch", plugin.watch);
    out.key("fallback", text(plugin.fallback.spelling()));
    let start = match plugin.starts_with_fallback {
        true => "fallback",
        false => "wait",
    };
    out.key("start", text(start));
    out.key("grants", texts(plugin.grants.names()));
    if let Some(max_faults) = plugin.max_faults {
        out.key("max_faults", max_faults);
    }
    out.key("fault_window", text(&duration_text(plugin.fault_window)));
    if let Some(budget) = plugin.budget {
        out.key("budget", budget);
    }
    let (limits, compile) = (plugin.limits, plugin.compile);
    let memory = limits.memory.map(|memory| text(&size_text(memory)));
    let deadline = limits
        .deadline
        .map(|deadline| text(&duration_text(deadline)));
    let instances = limits.instances.map(|instances| instances.to_string());
    let by_file = [
        ("memory", memory),
        ("deadline", deadline),
        ("instances", instances),
    ];
    let by_file = by_file
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)));
    let others = [
        ("table_elements", limits.table_elements.to_string()),
        ("core_instances", limits.core_instances.to_string()),
        ("state", text(&size_text(limits.state))),
        ("wait", text(&duration_text(limits.wait))),
        ("file_size", text(&size_text(compile.file_size))),
        ("functions", compile.functions.to_string()),
        ("compile_time", text(&duration_text(compile.time))),
        ("compile_memory", text(&size_text(compile.memory))),
    ];
    let limits = by_file.chain(others);
    let limits = limits.map(|(key, value)| format!("{key} = {value}"));
    out.key("limits", inline_table(limits));
}

/// What is asked of its file, where something is.
fn trust(out: &mut TomlWriter, trust: &Trust) {
    for (key, asked) in [("sha256", &trust.sha256), ("signed_by", &trust.signed_by)] {
        if !asked.is_empty() {
            out.key(key, texts(asked.iter().map(String::as_str)));
        }
    }
    if let Some(signature) = &trust.signature {
        out.key("signature", text(&signature.display().to_string()));
    }
}

/// A `canary` or a `shadow`.
fn candidate(trial: &TrialConfig) -> Vec<String> {
    let mut keys = vec![("file", text(&trial.file.display().to_string()))];
    if !trial.sha256.is_empty() {
        keys.push(("sha256", texts(&trial.sha256)));
    }
    if let Some(signature) = &trial.signature {
        keys.push(("signature", text(&signature.display().to_string())));
    }
    if let Manner::Canary(share) = trial.terms.manner {
        let mut rails = trial.terms.rails;
        keys.push(("share", text(&share.to_string())));
        keys.push(("after", rails.after.to_string()));
        keys.extend(rails.named().map(|(name, limit)| {
            let limit = limit.map_or_else(|| "off".to_owned(), |limit| limit.to_string());
            (name, text(&limit))
        }));
    }
    let keys = keys.into_iter();
    keys.map(|(key, value)| format!("{key} = {value}"))
        .collect()
}

/// A `[hook.NAME]`.
pub(super) fn hook(out: &mut TomlWriter, hook: &HookConfig) {
    out.header(&format!("[hook.{}]", key_text(&hook.name)));
    out.key("plugin", text(&hook.plugin));
    for (key, value) in settings(&hook.settings) {
        out.key(&key, value);
    }
}

/// The `hooks` of a place; nothing where there are none.
pub(super) fn hooks(out: &mut TomlWriter, uses: &[HookUse], config: &Config) {
    if uses.is_empty() {
        return;
    }
    let uses = uses.iter().filter_map(|hook_use| {
        let hook = config.hooks.get(hook_use.hook)?;
        let (word, own) = match hook.is_named() {
            true => ("use", &hook_use.settings),
            false => ("plugin", &hook.settings),
        };
        let on_error = text(hook_use.on_error.spelling());
        let words = vec![("on_error", on_error)];
        Some(named((word, &hook.name), words, own))
    });
    let uses: Vec<String> = uses.collect();
    out.key("hooks", format_args!("[{}]", uses.join(", ")));
}

/// The `component` of a route.
pub(super) fn component(component: &ComponentConfig) -> String {
    let ComponentConfig {
        plugin,
        upstreams,
        environment,
        reuse,
        ..
    } = component;
    let mut more = vec![format!("reuse = {reuse}")];
    if !upstreams.is_empty() {
        more.push(format!("upstreams = {}", texts(upstreams)));
    }
    if !environment.is_empty() {
        let environment = environment.iter();
        let pairs =
            environment.map(|(name, value)| format!("{} = {}", key_text(name), text(value)));
        more.push(format!("environment = {}", inline_table(pairs)));
    }
    inline_table(std::iter::once(format!("plugin = {}", text(plugin))).chain(more))
}

pub(super) fn policy(policy: &PolicyUse) -> String {
    let mut words = Vec::new();
    if !policy.filters.is_empty() {
        let filters: Vec<String> = policy.filters.iter().map(filter).collect();
        words.push(("filters", format!("[{}]", filters.join(", "))));
    }
    if !policy.scorers.is_empty() {
        let scorers: Vec<String> = policy.scorers.iter().map(scorer).collect();
        words.push(("scorers", format!("[{}]", scorers.join(", "))));
    }
    if let Some(fallback) = &policy.fallback {
        words.push(("fallback", text(fallback.spelling())));
    }
    named(("plugin", &policy.plugin), words, &policy.settings)
}

fn filter(filter: &PluginUse) -> String {
    named(("plugin", &filter.plugin), Vec::new(), &filter.settings)
}

fn scorer(ScorerUse { scorer, weight }: &ScorerUse) -> String {
    let words = vec![("weight", weight.to_string())];
    named(("plugin", &scorer.plugin), words, &scorer.settings)
}

/// A plugin or a hook by its name, alone where there is nothing else to say. `words`: those of the
/// host, as TOML.
fn named((word, name): (&str, &str), words: Vec<(&str, String)>, own: &Json) -> String {
    let words = words
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    let more: Vec<(String, String)> = words.chain(settings(own)).collect();
    if more.is_empty() {
        return text(name);
    }
    let more = more
        .into_iter()
        .map(|(key, value)| format!("{key} = {value}"));
    inline_table(std::iter::once(format!("{word} = {}", text(name))).chain(more))
}

/// Settings as keys and values of TOML.
fn settings(settings: &Json) -> impl Iterator<Item = (String, String)> {
    let entries = settings.as_object().into_iter().flatten();
    entries.map(|(key, value)| (key_text(key), json(value)))
}

fn json(value: &Json) -> String {
    match value {
        // No setting is null: TOML has no such value.
        Json::Null => text(""),
        Json::Bool(boolean) => boolean.to_string(),
        Json::Number(number) => number.to_string(),
        Json::String(string) => text(string),
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(json).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(entries) => inline_table(
            entries
                .iter()
                .map(|(key, value)| format!("{} = {}", key_text(key), json(value))),
        ),
    }
}
