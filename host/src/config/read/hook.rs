//! `[hook.NAME]`, and `hooks` where they are used.

use serde_json::Value as Json;

use super::plugin_names::PluginNames;
use super::settings::{no_settings, settings};
use super::{Complaint, ConfigReader, check_name};
use crate::config::declared::{HOOK, HOOK_USE};
use crate::config::model::{HookConfig, HookUse, OnError, SettingsPlace};
use crate::config::problem::{Problem, did_you_mean, suggestion};
use crate::config::section::Section;
use crate::config::tree::{Entry, Node, Value};
use crate::stock::Kind;

/// The hooks met so far.
pub(super) struct Hooks<'a> {
    list: Vec<HookConfig>,
    /// How many places use each.
    uses: Vec<u32>,
    /// How many of the list are those of `[hook.NAME]`.
    named: usize,
    names: &'a PluginNames<'a>,
    reader: ConfigReader<'a>,
}

impl<'a> Hooks<'a> {
    /// Those of `[hook.NAME]`, in file order, whatever problems they have: places may name them.
    pub(super) fn named(
        root: &Section<'a>,
        names: &'a PluginNames<'a>,
        reader: ConfigReader<'a>,
    ) -> Self {
        let entries = root.named("hook").iter();
        let list: Vec<_> = entries.map(|entry| named(entry, names, reader)).collect();
        Hooks {
            uses: vec![0; list.len()],
            named: list.len(),
            list,
            names,
            reader,
        }
    }

    pub(super) fn into_list(self) -> Vec<HookConfig> {
        self.list
    }

    /// What `hooks` of a section itself says, without what it inherits.
    pub(super) fn of(&mut self, section: &Section<'a>) -> Vec<HookUse> {
        let items = section.list("hooks").iter();
        items
            .filter_map(|node| match &node.value {
                Value::Text(name) | Value::Environment(name) => self.by_name(name, node),
                Value::Table(_) => {
                    let table = Section::open(node, &HOOK_USE, self.reader.problems)?;
                    self.by_table(&table)
                }
                _ => {
                    section.wrong_item(node, "hooks");
                    None
                }
            })
            .collect()
    }

    fn by_name(&mut self, name: &str, node: &Node) -> Option<HookUse> {
        let hook = match self.index(name) {
            Some(hook) => hook,
            None if self.names.has(name) => {
                self.names.check(Kind::Hook, name, node, self.reader);
                let (settings, place) = no_settings(&node.place);
                self.declared_here(name, settings, place)
            }
            None => {
                let complaint = Complaint::new(format!("unknown hook `{name}`"));
                let known = self.named_names().chain(self.names.of(Kind::Hook));
                let hint = suggestion(name, known, "hooks");
                self.reader.missing(complaint.hint(hint).at(&node.place));
                return None;
            }
        };
        let (settings, place) = no_settings(&node.place);
        Some(self.used(hook, settings, place, OnError::Fail))
    }

    fn by_table(&mut self, table: &Section<'_>) -> Option<HookUse> {
        let (settings, place) = settings(table);
        let on_error = match table.word("on_error") {
            "skip" => OnError::Skip,
            _ => OnError::Fail,
        };
        match (table.text_given("use"), table.text_given("plugin")) {
            (Some(_), Some((_, node))) => {
                let complaint = Complaint::new("a hook has `use` or `plugin`, not both");
                let hint = "`use` names a `[hook.NAME]`, `plugin` declares a hook right here";
                self.reader
                    .problems
                    .add(complaint.hint(hint).at(&node.place));
                None
            }
            (Some((name, node)), None) => {
                let Some(hook) = self.index(name) else {
                    self.reader.missing(self.not_declared(name).at(&node.place));
                    return None;
                };
                Some(self.used(hook, settings, place, on_error))
            }
            (None, Some((plugin, node))) => {
                if self.index(plugin).is_some() && !self.names.has(plugin) {
                    let complaint = Complaint::new(format!("`{plugin}` is a hook, not a plugin"))
                        .hint(format!("write `use = \"{plugin}\"`"));
                    self.reader.problems.add(complaint.at(&node.place));
                    return None;
                }
                self.names.check(Kind::Hook, plugin, node, self.reader);
                let hook = self.declared_here(plugin, settings, place.clone());
                let (nothing, _) = no_settings(&place.table);
                let place = SettingsPlace {
                    keys: Vec::new(),
                    ..place
                };
                Some(self.used(hook, nothing, place, on_error))
            }
            (None, None) => {
                self.note_neither(table);
                None
            }
        }
    }

    /// A hook of a plugin that has no `[hook.NAME]`. Without settings it is the one that says the
    /// same elsewhere.
    fn declared_here(&mut self, plugin: &str, settings: Json, place: SettingsPlace) -> usize {
        let is_bare = |settings: &Json| settings.as_object().is_none_or(|all| all.is_empty());
        let same = |hook: &HookConfig| hook.plugin == plugin && is_bare(&hook.settings);
        let here = self.list.get(self.named..).unwrap_or_default();
        if is_bare(&settings)
            && let Some(at) = here.iter().position(same)
        {
            return self.named + at;
        }
        self.list.push(HookConfig {
            name: plugin.to_owned(),
            plugin: plugin.to_owned(),
            settings,
            place,
        });
        self.uses.push(0);
        self.list.len() - 1
    }

    fn used(
        &mut self,
        hook: usize,
        settings: Json,
        place: SettingsPlace,
        on_error: OnError,
    ) -> HookUse {
        let place_number = self.uses[hook];
        self.uses[hook] += 1;
        HookUse {
            hook,
            place_number,
            settings,
            place,
            on_error,
        }
    }

    /// The `[hook.NAME]` of a name.
    fn index(&self, name: &str) -> Option<usize> {
        self.named_names().position(|known| known == name)
    }

    fn named_names(&self) -> impl Iterator<Item = &str> {
        self.list
            .iter()
            .take(self.named)
            .map(|hook| hook.name.as_str())
    }

    /// The complaint about a `use` that no `[hook.NAME]` declares.
    fn not_declared(&self, name: &str) -> Complaint {
        let complaint = Complaint::new(format!("no `[hook.{name}]` is declared"));
        complaint.hint(match self.names.has(name) {
            true => format!("`{name}` is a plugin: write `plugin = \"{name}\"`"),
            false => suggestion(name, self.named_names(), "declared are"),
        })
    }

    /// Notes that a table does not say which hook it is about.
    fn note_neither(&self, table: &Section<'_>) {
        let is_given = |key: &str| table.entries().iter().any(|entry| entry.key == key);
        // What is wrong with the value is noted.
        if is_given("use") || is_given("plugin") {
            return;
        }
        let misspelt = table
            .own_entries()
            .find(|entry| did_you_mean(&entry.key, ["use", "plugin"]).is_some());
        let hint = match misspelt {
            Some(entry) => format!("is `{}` meant for it?", entry.key),
            None => "`use` names a `[hook.NAME]`, `plugin` declares a hook right here".to_owned(),
        };
        let problem = Problem::new(table.place, "`use` or `plugin` is missing");
        self.reader.problems.add(problem.hint(hint));
    }
}

/// What a `[hook.NAME]` declares.
fn named(entry: &Entry, names: &PluginNames<'_>, reader: ConfigReader<'_>) -> HookConfig {
    let Entry {
        key: name,
        key_place,
        node,
    } = entry;
    if let Err(complaint) = check_name(name, "a hook's name") {
        reader.problems.add(complaint.at(key_place));
    }
    if names.has(name) {
        let problem = Problem::new(key_place, format!("`{name}` is the name of a plugin"));
        let hint = "give the hook a name of its own: in `hooks` it could be either";
        reader.problems.add(problem.hint(hint));
    }
    let (mut plugin, mut own) = (String::new(), no_settings(&node.place));
    if let Some(table) = Section::open(node, &HOOK, reader.problems) {
        own = settings(&table);
        table.required("plugin");
        if let Some((text, node)) = table.text_given("plugin") {
            names.check(Kind::Hook, text, node, reader);
            plugin = text.to_owned();
        }
    }
    let (settings, place) = own;
    HookConfig {
        name: name.clone(),
        plugin,
        settings,
        place,
    }
}
