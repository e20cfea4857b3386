//! The keys of `waypost-plugin.toml`, in the folder of a plugin.

use super::TEXTS;
use crate::config::key::{Default, Key, Table, ValueKind};

pub(in crate::config) static PLUGIN_PROJECT: Table = Table {
    title: "waypost-plugin.toml",
    doc: "How a plugin is made, for `waypost plugin build` and `waypost plugin dev`. Paths are relative to the file, and \
          commands are run in its folder, by `sh`.",
    groups: &[&[
        Key::new(
            "name",
            ValueKind::Text,
            "What the plugin is called where it is used.",
        )
        .required(),
        Key::new(
            "kind",
            ValueKind::Word(&["policy", "filter", "scorer", "hook"]),
            "As what it is tried, and what the component has to be.",
        )
        .or(Default::Text("policy")),
        Key::new(
            "component",
            ValueKind::Text,
            "The file that the commands make.",
        )
        .required(),
        Key::new(
            "sources",
            TEXTS,
            "Files and folders that the component is made of: `waypost plugin dev` watches them.",
        )
        .required(),
        Key::new(
            "prepare",
            ValueKind::Table(&PREPARE),
            "What the language needs first, such as its packages.",
        ),
        Key::new("build", TEXTS, "The commands, one after the other.").required(),
        Key::new(
            "settings",
            ValueKind::Text,
            "Its settings in `waypost plugin dev`, as within the braces of an inline table.",
        )
        .or(Default::Text("")),
        Key::new(
            "place",
            ValueKind::Text,
            "Of a hook: what the place says that uses it, written likewise.",
        )
        .or(Default::Text("")),
    ]],
    open: false,
};

pub(in crate::config) static PREPARE: Table = Table {
    title: "prepare",
    doc: "Commands that are run once.",
    groups: &[&[
        Key::new(
            "unless",
            ValueKind::Text,
            "A path: where something is there, they have been run.",
        )
        .required(),
        Key::new("run", TEXTS, "The commands, one after the other.").required(),
    ]],
    open: false,
};
