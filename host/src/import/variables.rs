//! Variables in nginx's texts: those that `set` makes are inlined where they are used, the others
//! are Waypost's own or cannot be said.

use std::collections::HashMap;

use super::report::Accounts;
use super::tree::Directive;
use crate::http::template::Template;
use crate::http::variable::{Names, Phase, Variable};

/// What `set` has given variables in a context and those around it. One that an `if` sets as well
/// has no text: its value depends on the request.
#[derive(Debug, Clone, Default)]
pub(super) struct Constants(HashMap<String, Option<String>>);

impl Constants {
    pub(super) fn of(outer: Option<&Constants>, children: &[Directive]) -> Constants {
        let mut constants = outer.cloned().unwrap_or_default();
        for child in children {
            match &*child.name {
                "set" => {
                    let name = child.argument(0).trim_start_matches('$').to_owned();
                    let value = constants.inline(child.argument(1)).ok();
                    // What had another value before, further out, has this one from here on.
                    constants.0.insert(name, value);
                }
                "if" => {
                    for inner in child.children().iter().filter(|inner| inner.name == "set") {
                        let name = inner.argument(0).trim_start_matches('$').to_owned();
                        constants.0.insert(name, None);
                    }
                }
                _ => {}
            }
        }
        constants
    }

    /// The text with what is constant in place of variables.
    ///
    /// # Errors
    /// The name of a variable whose value depends on the request and that is not built in.
    fn inline(&self, text: &str) -> Result<String, String> {
        let mut pieces = Vec::new();
        for piece in pieces_of(text) {
            match piece {
                Piece::Literal(literal) => pieces.push(Piece::Literal(literal)),
                Piece::Variable(name) => match self.0.get(name) {
                    Some(Some(value)) => pieces.extend(pieces_of(value)),
                    Some(None) => return Err(name.to_owned()),
                    None => pieces.push(Piece::Variable(name)),
                },
            }
        }
        Ok(joined(&pieces))
    }
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Literal(&'a str),
    /// A variable's name, or the digit of a capture.
    Variable(&'a str),
}

/// The parts of a text (`ngx_http_script_compile`). A `$` before nothing that could be a name is a
/// text, which nginx refuses.
pub(super) fn pieces_of(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (literal, from) = rest.split_at(at);
        let after = from.get(1..).unwrap_or_default();
        let in_braces = after
            .strip_prefix('{')
            .and_then(|after| after.split_once('}'));
        let (name, behind) = match in_braces {
            Some((name, behind)) => (name, behind),
            None => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
                // A capture is one digit.
                let end = match after.starts_with(|c: char| c.is_ascii_digit()) {
                    true => 1,
                    false => end,
                };
                after.split_at(end)
            }
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        match name.is_empty() {
            true => pieces.push(Piece::Literal("$")),
            false => pieces.push(Piece::Variable(name)),
        }
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(rest));
    }
    pieces
}

/// The text of parts, with braces where a name would not end otherwise.
pub(super) fn joined(pieces: &[Piece<'_>]) -> String {
    let mut text = String::new();
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Literal(literal) => text.push_str(literal),
            Piece::Variable(name) => {
                let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let next = pieces.get(index + 1);
                let needs_braces =
                    matches!(next, Some(Piece::Literal(literal)) if literal.starts_with(goes_on));
                match needs_braces {
                    true => text.push_str(&format!("${{{name}}}")),
                    false => text.push_str(&format!("${name}")),
                }
            }
        }
    }
    text
}

/// The names of a text's variables.
pub(super) fn names_in(text: &str) -> impl Iterator<Item = &str> {
    pieces_of(text).into_iter().filter_map(|piece| match piece {
        Piece::Variable(name) => Some(name),
        Piece::Literal(_) => None,
    })
}

/// The variables of one's own that are no constants: of `map` and its like.
#[derive(Default)]
pub(super) struct Tables<'a>(HashMap<&'a str, &'a Directive>);

impl<'a> Tables<'a> {
    pub(super) fn of(children: &'a [Directive]) -> Tables<'a> {
        let mut tables = HashMap::new();
        for child in children {
            let variable = match (&*child.name, child.arguments.len()) {
                ("map" | "split_clients", _) | ("geo", 2) => child.argument(1),
                ("geo", 1) => child.argument(0),
                _ => continue,
            };
            tables.insert(variable.trim_start_matches('$'), child);
        }
        Tables(tables)
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Directive> {
        self.0.get(name.trim_start_matches('$')).copied()
    }
}

/// What texts are translated with.
pub(super) struct Words<'a> {
    pub(super) tables: Tables<'a>,
    pub(super) accounts: &'a Accounts,
    /// The `server_name` that `$server_name` stands for.
    pub(super) server_name: Option<String>,
}

impl Words<'_> {
    /// A text as Waypost reads it at a place of the file, with what is constant inlined.
    ///
    /// # Errors
    /// What cannot be said.
    pub(super) fn text(
        &self,
        text: &str,
        constants: &Constants,
        phase: Phase,
    ) -> Result<String, String> {
        let inlined = self.inline(text, constants)?;
        match Template::parse_for(&inlined, phase, Names::default()) {
            Ok(_) => Ok(inlined),
            Err(errors) => {
                let messages: Vec<String> = errors
                    .iter()
                    .map(|error| match error.hint.as_deref() {
                        Some(hint) if !hint.contains("did you mean") => {
                            format!("{}: {hint}", error.message)
                        }
                        _ => error.message.clone(),
                    })
                    .collect();
                Err(messages.join("; "))
            }
        }
    }

    /// A text with what is constant inlined.
    ///
    /// # Errors
    /// A variable that is neither constant nor Waypost's.
    pub(super) fn inline(&self, text: &str, constants: &Constants) -> Result<String, String> {
        let by_request = |name: String| {
            format!("the value of `${name}` depends on the request: see docs/import.md")
        };
        let inlined = constants.inline(text).map_err(by_request)?;
        let mut pieces = Vec::new();
        for piece in pieces_of(&inlined) {
            let Piece::Variable(name) = piece else {
                pieces.push(piece);
                continue;
            };
            if let Some(table) = self.tables.get(name) {
                let message = format!(
                    "the import writes no `[variable]` yet, as `${name}` would be: docs/configuration.md \
                     has them"
                );
                self.accounts.lost(table, message.clone());
                return Err(message);
            }
            if name.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(format!(
                    "the capture `${name}` is known in the rules of the hook `rewrite` alone"
                ));
            }
            match (name, &self.server_name) {
                ("server_name", Some(server)) => pieces.push(Piece::Literal(server)),
                _ if Variable::parse(name).is_some() => pieces.push(piece),
                _ => return Err(format!("there is no variable `${name}`")),
            }
        }
        Ok(joined(&pieces))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_their_variables() {
        use Piece::{Literal, Variable};
        assert_eq!(
            pieces_of("a$b-${c}d$1x$"),
            [
                Literal("a"),
                Variable("b"),
                Literal("-"),
                Variable("c"),
                Literal("d"),
                Variable("1"),
                Literal("x"),
                Literal("$")
            ]
        );
        assert_eq!(joined(&pieces_of("${c}d$b-")), "${c}d$b-");
    }

    #[test]
    fn a_constant_takes_the_place_of_its_variable() {
        let constants = Constants(
            [
                ("app".to_owned(), Some("web".to_owned())),
                ("either".to_owned(), None),
            ]
            .into(),
        );
        let inlined = constants.inline("http://$app:3000$request_uri");
        assert_eq!(inlined.as_deref(), Ok("http://web:3000$request_uri"));
        assert_eq!(constants.inline("$either"), Err("either".to_owned()));
    }
}
