//! `policy`: which plugins choose, and what answers when they fail.

use super::ConfigReader;
use super::plugin_names::PluginNames;
use super::settings::{no_settings, settings};
use crate::config::declared::{FILTER, POLICY, SCORER};
use crate::config::key::Table;
use crate::config::model::{Fallback, PluginUse, PolicyUse, ScorerUse};
use crate::config::problem::{Place, Problem};
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::stock::Kind;

/// The policy of an upstream.
pub(super) fn policy(
    section: &Section<'_>,
    names: &PluginNames<'_>,
    reader: ConfigReader<'_>,
) -> PolicyUse {
    let reading = PluginReading { names, reader };
    let by_default = || alone(section.text_by_default("policy"), section.place);
    let Some(node) = section.get("policy") else {
        return without_more(by_default());
    };
    let Some((policy, table)) = reading.plugin(node, &POLICY, Kind::Policy) else {
        if node.as_text().is_none() && !matches!(node.value, Value::Table(_)) {
            section.wrong_type(node, "policy");
        }
        return without_more(by_default());
    };
    let Some(table) = table else {
        return without_more(policy);
    };
    let filters = reading.items(&table, "filters", &FILTER, Kind::Filter);
    let scorers = reading.items(&table, "scorers", &SCORER, Kind::Scorer);
    let weighted = |(scorer, table): (PluginUse, Option<Section<'_>>)| ScorerUse {
        scorer,
        weight: table.map_or(1, |table| table.integer("weight")),
    };
    let fallback = table.text_given("fallback").map(|(text, node)| {
        if text == policy.plugin {
            let problem = Problem::new(&node.place, format!("`{text}` is its own fallback"));
            let hint = format!("name another policy, or `{}`", Fallback::REFUSE);
            reader.problems.add(problem.hint(hint));
        }
        fallback(text, node, names, reader)
    });
    PolicyUse {
        filters: filters.into_iter().map(|(filter, _)| filter).collect(),
        scorers: scorers.into_iter().map(weighted).collect(),
        fallback,
        ..without_more(policy)
    }
}

/// What answers when a policy fails: a policy that there is, or `refuse`.
pub(super) fn fallback(
    text: &str,
    node: &Node,
    names: &PluginNames<'_>,
    reader: ConfigReader<'_>,
) -> Fallback {
    if text == Fallback::REFUSE {
        return Fallback::Refuse;
    }
    names.check(Kind::Policy, text, node, reader);
    Fallback::Policy(text.to_owned())
}

/// A plugin without settings.
fn alone(plugin: &str, place: &Place) -> PluginUse {
    let (settings, place) = no_settings(place);
    PluginUse {
        plugin: plugin.to_owned(),
        settings,
        place,
    }
}

/// A policy that no other plugin takes part in.
fn without_more(policy: PluginUse) -> PolicyUse {
    PolicyUse {
        plugin: policy.plugin,
        settings: policy.settings,
        place: policy.place,
        filters: Vec::new(),
        scorers: Vec::new(),
        fallback: None,
    }
}

/// Reads plugins as they are named for an upstream.
struct PluginReading<'a> {
    names: &'a PluginNames<'a>,
    reader: ConfigReader<'a>,
}

impl<'a> PluginReading<'a> {
    /// A name, or a table with `plugin`, which is handed on for the host's other words. None where
    /// it is neither, which is for the caller to say, or where its problem is noted.
    fn plugin(
        &self,
        node: &'a Node,
        declared: &'static Table,
        kind: Kind,
    ) -> Option<(PluginUse, Option<Section<'a>>)> {
        match &node.value {
            Value::Text(name) | Value::Environment(name) => {
                self.names.check(kind, name, node, self.reader);
                Some((alone(name, &node.place), None))
            }
            Value::Table(_) => {
                let table = Section::open(node, declared, self.reader.problems)?;
                let (settings, place) = settings(&table);
                table.required("plugin");
                let (plugin, node) = table.text_given("plugin")?;
                self.names.check(kind, plugin, node, self.reader);
                let plugin = PluginUse {
                    plugin: plugin.to_owned(),
                    settings,
                    place,
                };
                Some((plugin, Some(table)))
            }
            _ => None,
        }
    }

    /// The items of a list of plugins.
    fn items(
        &self,
        policy: &Section<'a>,
        name: &str,
        declared: &'static Table,
        kind: Kind,
    ) -> Vec<(PluginUse, Option<Section<'a>>)> {
        let items = policy.list(name).iter();
        items
            .filter_map(|node| {
                let item = self.plugin(node, declared, kind);
                if node.as_text().is_none() && !matches!(node.value, Value::Table(_)) {
                    policy.wrong_item(node, name);
                }
                item
            })
            .collect()
    }
}
