//! `waypost-plugin.toml`: a document of its own.

use super::start;
use crate::config;
use crate::config::declared::{PLUGIN_PROJECT, PREPARE};
use crate::config::files::Document;
use crate::config::model::{PluginProject, Preparation};
use crate::config::problem::{Problem, Problems};
use crate::config::section::Section;
use crate::stock::{self, Kind};

/// Bytes of a name, which others are made of.
const LONGEST_NAME: usize = 40;

/// What comes back is only worth anything if no problem was noted.
pub(in crate::config) fn plugin_project(document: &Document, problems: &Problems) -> PluginProject {
    let start = start(document);
    let root = Section::of(&document.root, &start, &PLUGIN_PROJECT, problems);
    if document.complete {
        for key in ["name", "component", "sources", "build"] {
            root.required(key);
        }
    }
    let path = |(path, _): (&str, _)| start.beside(path);
    let texts = |section: &Section<'_>, key| -> Vec<String> {
        let texts = section.texts(key).into_iter();
        texts.map(|(text, _)| text.to_owned()).collect()
    };
    let prepare = root.table("prepare", &PREPARE).map(|section| {
        section.required("run");
        section.required("unless");
        Preparation {
            unless: section.text_given("unless").map(path).unwrap_or_default(),
            run: texts(&section, "run"),
        }
    });
    PluginProject {
        folder: start.beside("."),
        name: name(&root),
        kind: match root.word("kind") {
            "filter" => Kind::Filter,
            "scorer" => Kind::Scorer,
            "hook" => Kind::Hook,
            _ => Kind::Policy,
        },
        component: root.text_given("component").map(path).unwrap_or_default(),
        sources: root.texts("sources").into_iter().map(path).collect(),
        prepare,
        build: texts(&root, "build"),
        settings: inline(&root, "settings"),
        place: inline(&root, "place"),
    }
}

/// A name that a plugin of one's own may have, and that needs no quotes anywhere.
///
/// # Errors
/// Why it is none, and the way out.
pub fn plugin_name(name: &str) -> Result<(), (String, &'static str)> {
    let is_fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    let begins_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins_well || !name.chars().all(is_fit) || name.len() > LONGEST_NAME {
        let message = format!("`{name}` is no name for a plugin");
        let way_out = "use a-z, 0-9, `_` and `-`, a letter first, 40 of them at most";
        return Err((message, way_out));
    }
    match stock::kinds(name) {
        Some(_) => Err((
            format!("`{name}` is a plugin that comes with Waypost"),
            "give yours another name",
        )),
        None => Ok(()),
    }
}

fn name(root: &Section<'_>) -> String {
    let Some((name, node)) = root.text_given("name") else {
        return String::new();
    };
    if let Err((message, hint)) = plugin_name(name) {
        root.problems
            .add(Problem::new(&node.place, message).hint(hint));
    }
    name.to_owned()
}

/// A text that is the inside of an inline table.
fn inline(root: &Section<'_>, key: &str) -> String {
    let text = root.text(key);
    if let (Err(error), Some(node)) = (config::inline_table(text), root.get(key)) {
        let message = format!("`{key}` is not what an inline table has within its braces: {error}");
        let hint = format!("write it like `{key} = 'key = \"$host\", size = 3'`");
        root.problems
            .add(Problem::new(&node.place, message).hint(hint));
    }
    text.to_owned()
}
