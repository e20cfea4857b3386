//! The names that plugins have: the stock ones, and those of `[plugin.NAME]`.

use super::{Complaint, ConfigReader};
use crate::config::problem::suggestion;
use crate::config::section::Section;
use crate::config::tree::{Entry, Node};
use crate::stock::{self, Kind};

/// What may be named as a plugin. What kinds a custom one has is found out when it is loaded.
pub(super) struct PluginNames<'a> {
    custom: &'a [Entry],
}

impl<'a> PluginNames<'a> {
    pub(super) fn new(root: &Section<'a>) -> PluginNames<'a> {
        PluginNames {
            custom: root.named("plugin"),
        }
    }

    /// Those that may be used as a kind.
    pub(super) fn of(&self, kind: Kind) -> Vec<&str> {
        let mut names: Vec<&str> = stock::names_of(kind).collect();
        names.extend(self.custom());
        names
    }

    /// Whether a plugin of any kind has this name.
    pub(super) fn has(&self, name: &str) -> bool {
        stock::kinds(name).is_some() || self.has_custom(name)
    }

    /// The names of those of `[plugin.NAME]`.
    pub(super) fn custom(&self) -> impl Iterator<Item = &str> {
        self.custom.iter().map(|entry| entry.key.as_str())
    }

    /// Whether one of them has this name.
    pub(super) fn has_custom(&self, name: &str) -> bool {
        self.custom().any(|known| known == name)
    }

    /// Notes a name that no plugin has, or only one of another kind.
    pub(super) fn check(&self, kind: Kind, name: &str, node: &Node, reader: ConfigReader<'_>) {
        if self.of(kind).contains(&name) {
            return;
        }
        match stock::kinds(name).and_then(|kinds| kinds.first()) {
            Some(other) => reader
                .problems
                .add(wrong_kind(name, *other, kind).at(&node.place)),
            None => {
                let complaint = Complaint::new(format!("unknown {} `{name}`", kind.word()));
                let hint = suggestion(name, self.of(kind), kind.plural());
                reader.missing(complaint.hint(hint).at(&node.place));
            }
        }
    }
}

/// The complaint about a stock plugin that is something else than what it is used as.
fn wrong_kind(name: &str, is: Kind, used_as: Kind) -> Complaint {
    let (is_word, wanted) = (is.word(), used_as.word());
    let complaint = Complaint::new(format!("`{name}` is a {is_word}, not a {wanted}"));
    complaint.hint(match is {
        Kind::Policy => "policies belong in `policy` of `[upstream.NAME]`",
        Kind::Filter => "filters belong in `filters` of a policy's table",
        Kind::Scorer => "scorers belong in `scorers` of a policy's table",
        Kind::Hook => {
            "hooks belong in `hooks` of `[server]`, `[[listen]]`, `[[route]]` or `[[stream]]`"
        }
    })
}

impl Kind {
    fn plural(self) -> &'static str {
        match self {
            Kind::Policy => "policies",
            Kind::Filter => "filters",
            Kind::Scorer => "scorers",
            Kind::Hook => "hooks",
        }
    }
}
