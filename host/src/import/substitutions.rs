//! `sub_filter`: the hook `substitute`.

use super::Translator;
use super::scope::Scope;
use super::writer::{Table, list, text, texts};
use crate::http::variable::Phase;

/// Bytes that a text may have there.
const LONGEST: usize = 4096;

impl Translator<'_> {
    /// The hook of a route that answers a text of this type, if it is one that is looked at.
    pub(super) fn substitutions_in(&self, scope: &Scope<'_>, media_type: &str) -> Option<String> {
        let types = scope.one("sub_filter_types");
        let mut types = types.iter().flat_map(|types| types.arguments.iter());
        let is_looked_at =
            media_type == "text/html" || types.any(|one| **one == *"*" || **one == *media_type);
        is_looked_at.then(|| self.substitutions(scope)).flatten()
    }

    /// The hook of a route whose answers have text replaced, if there is one.
    pub(super) fn substitutions(&self, scope: &Scope<'_>) -> Option<String> {
        let accounts = self.accounts;
        let mut pairs = Vec::new();
        for directive in scope.nearest("sub_filter") {
            let said = |number: usize| {
                let argument = directive.argument(number);
                (self.words).setting(argument, &scope.constants, Phase::Response)
            };
            match (said(0), said(1)) {
                (Ok(search), Ok(_)) if search.is_empty() || search.len() > LONGEST => {
                    let why = format!("a text has 1 to {LONGEST} bytes");
                    accounts.lost(directive, why);
                }
                (Ok(search), Ok(by)) => {
                    accounts.translated(directive, "the hook `substitute` in `hooks`");
                    let pair = Table::new().with("text", text(&search));
                    pairs.push(pair.with("by", text(&by)).inline());
                }
                (Err(why), _) | (_, Err(why)) => accounts.lost(directive, why),
            }
        }
        if pairs.is_empty() {
            return None;
        }
        let mut table = Table::new().with("plugin", text("substitute"));
        if let Some(once) = scope.one("sub_filter_once") {
            match once.argument(0) {
                "off" => {
                    table.set("once", "false");
                    accounts.translated(once, "`once = false` of the hook `substitute`");
                }
                _ => accounts.harmless(once, "each text is replaced once by default"),
            }
        }
        if let Some(types) = scope.one("sub_filter_types") {
            let names = types.arguments.iter().map(ToString::to_string);
            let names: Vec<String> = names.filter(|name| name != "text/html").collect();
            match names.is_empty() {
                true => accounts.harmless(types, "`text/html` is looked at by default"),
                false => {
                    table.set("types", texts(&names));
                    accounts.translated(types, "`types` of the hook `substitute`");
                }
            }
        }
        if let Some(modified) = scope.one("sub_filter_last_modified") {
            match modified.argument(0) {
                "on" => {
                    table.set("last_modified", "true");
                    accounts.translated(modified, "`last_modified` of the hook `substitute`");
                }
                _ => accounts.harmless(modified, "`Last-Modified` goes by default"),
            }
        }
        table.set("replace", list(pairs));
        Some(table.inline())
    }
}
