//! `component`: what answers a route's requests.

use std::path::Path;

use super::plugin;
use super::plugin_names::PluginNames;
use super::upstream::Upstreams;
use super::{Complaint, ConfigReader, check_name};
use crate::config::declared::COMPONENT_TABLE;
use crate::config::key::ValueKind;
use crate::config::model::{ComponentConfig, PluginConfig};
use crate::config::problem::{Problem, suggestion};
use crate::config::scalar::wrong_type;
use crate::config::section::Section;
use crate::config::tree::{Entry, Node, Value};
use crate::stock;

/// The components met so far.
pub(super) struct Components<'a> {
    list: Vec<ComponentConfig>,
    /// Plugins of files that routes name themselves.
    files: Vec<PluginConfig>,
    names: &'a PluginNames<'a>,
    reader: ConfigReader<'a>,
}

impl<'a> Components<'a> {
    pub(super) fn new(names: &'a PluginNames<'a>, reader: ConfigReader<'a>) -> Components<'a> {
        Components {
            list: Vec::new(),
            files: Vec::new(),
            names,
            reader,
        }
    }

    /// The components, and the plugins that they add to those of the configuration.
    pub(super) fn into_lists(self) -> (Vec<ComponentConfig>, Vec<PluginConfig>) {
        (self.list, self.files)
    }

    /// The index of a route's component; none where it has none, or a problem was noted.
    pub(super) fn of(&mut self, route: &Section<'_>, upstreams: &Upstreams<'_>) -> Option<usize> {
        let node = route.get("component")?;
        let (plugin, table) = match &node.value {
            Value::Table(_) => {
                let table = route.table("component", &COMPONENT_TABLE)?;
                (self.by_table(&table)?, Some(table))
            }
            _ => {
                let (text, node) = route.text_given("component")?;
                let plugin = match self.names.has_custom(text) {
                    true => text.to_owned(),
                    false => self.by_file(text, node)?,
                };
                (plugin, None)
            }
        };
        let component = ComponentConfig {
            plugin,
            upstreams: table
                .as_ref()
                .map(|table| self.upstreams(table, upstreams))
                .unwrap_or_default(),
            environment: table.as_ref().map(environment).unwrap_or_default(),
            reuse: table.as_ref().is_some_and(|table| table.boolean("reuse")),
            place: node.place.clone(),
        };
        let same = |known: &ComponentConfig| known.means_the_same_as(&component);
        let known = self.list.iter().position(same);
        Some(known.unwrap_or_else(|| {
            self.list.push(component);
            self.list.len() - 1
        }))
    }

    fn by_table(&mut self, table: &Section<'_>) -> Option<String> {
        match (table.text_given("plugin"), table.text_given("file")) {
            (Some(_), Some((_, node))) => {
                let complaint = Complaint::new("a component has `plugin` or `file`, not both");
                let hint = "the file of a plugin is said in `[plugin.NAME]`";
                self.reader
                    .problems
                    .add(complaint.hint(hint).at(&node.place));
                None
            }
            (Some((name, node)), None) if !self.names.has_custom(name) => {
                let complaint = Complaint::new(format!("unknown plugin `{name}`"));
                let hint = suggestion(name, self.names.custom(), "plugins");
                self.reader.missing(complaint.hint(hint).at(&node.place));
                None
            }
            (Some((name, _)), None) => Some(name.to_owned()),
            (None, Some((file, node))) => self.by_file(file, node),
            (None, None) => {
                let is_given = |key: &str| table.entries().iter().any(|entry| entry.key == key);
                if !is_given("plugin") && !is_given("file") {
                    let problem = Problem::new(table.place, "`plugin` or `file` is missing");
                    let hint = "`plugin` names a `[plugin.NAME]`, `file` is a component's file";
                    self.reader.problems.add(problem.hint(hint));
                }
                None
            }
        }
    }

    /// The plugin that a file is: one for all routes that name the file.
    fn by_file(&mut self, text: &str, node: &Node) -> Option<String> {
        let is_file = text.contains('/') || text.ends_with(".wasm");
        let name = Path::new(text).file_stem().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        if !is_file {
            let complaint = Complaint::new(format!("unknown plugin `{text}`"));
            let near = suggestion(text, self.names.custom(), "plugins");
            let hint = format!("{near}; a file is written `{text}.wasm` or `./{text}`");
            self.reader.missing(complaint.hint(hint).at(&node.place));
            return None;
        }
        let file = node.place.beside(text);
        if self.files.iter().any(|known| known.file == file) {
            return Some(name);
        }
        let is_taken = stock::NAMES.contains(&&*name)
            || self.names.has_custom(&name)
            || self.files.iter().any(|known| known.name == name);
        let complaint = match check_name(&name, "a plugin's name") {
            Err(complaint) => Some(complaint),
            Ok(()) if is_taken => Some(Complaint::new(format!(
                "the plugin of `{text}` would be `{name}`, which another one is"
            ))),
            Ok(()) => None,
        };
        if let Some(complaint) = complaint {
            let hint = format!(
                "give it a name of its own: `[plugin.NAME]` with `file = {text:?}`, and `component = \
                 \"NAME\"` here"
            );
            self.reader
                .problems
                .add(complaint.hint(hint).at(&node.place));
            return None;
        }
        let plugin = plugin::of_file(&name, file, &node.place, self.names, self.reader);
        self.files.push(plugin);
        Some(name)
    }

    fn upstreams(&self, table: &Section<'_>, upstreams: &Upstreams<'_>) -> Vec<String> {
        let mut named = Vec::new();
        for (text, node) in table.texts("upstreams") {
            if upstreams.index(text).is_none() {
                let complaint = Complaint::new(format!("unknown upstream `{text}`"));
                let hint = suggestion(text, upstreams.names(), "upstreams");
                self.reader.missing(complaint.hint(hint).at(&node.place));
            }
            named.push(text.to_owned());
        }
        named.sort();
        named.dedup();
        named
    }
}

/// Names and values, in the order of the names.
fn environment(table: &Section<'_>) -> Vec<(String, String)> {
    let problems = table.problems;
    let mut all = Vec::new();
    for Entry {
        key,
        key_place,
        node,
    } in table.named("environment")
    {
        if key.is_empty() || key.contains(['=', '\0']) {
            let message = format!(
                "`{}` cannot be a name in an environment",
                key.escape_default()
            );
            problems.add(Problem::new(key_place, message));
        }
        match node.as_text() {
            Some(text) => all.push((key.clone(), text.to_owned())),
            None => wrong_type(node, key, &ValueKind::Text, problems),
        }
    }
    all.sort();
    all
}
