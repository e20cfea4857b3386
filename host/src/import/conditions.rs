//! `if` and its condition: `when` of a route, or of a rule that rewrites.

use regex::Regex;

use super::Translator;
use super::expressions::{of_ascii, with_line_ends};
use super::tree::Directive;
use super::variables::{Constants, Piece, literal, pieces_of};
use super::words::Here;
use super::writer::{Table, list, text};
use crate::http::variable::Phase;

/// What an `if` asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    /// The variable's name.
    pub(super) variable: String,
    pub(super) test: Test,
    pub(super) is_negated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    /// Neither empty nor `0`.
    True,
    Equal(String),
    /// Whether case counts, and the expression.
    Regex(bool, String),
}

impl Condition {
    /// Reads `($variable = value)` (`ngx_http_rewrite_if_condition`).
    ///
    /// # Errors
    /// Why it cannot be said.
    pub(super) fn parse(arguments: &[String]) -> Result<Condition, String> {
        let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let first = words.first_mut().and_then(|first| first.strip_prefix('('));
        let first = first.ok_or("a condition begins with `(`")?;
        match first {
            "" => {
                words.remove(0);
            }
            first => {
                if let Some(word) = words.first_mut() {
                    *word = first;
                }
            }
        }
        let last = words.last().and_then(|last| last.strip_suffix(')'));
        match last.ok_or("a condition ends with `)`")? {
            "" => {
                words.pop();
            }
            last => {
                if let Some(word) = words.last_mut() {
                    *word = last;
                }
            }
        }
        let (name, rest) = words
            .split_first()
            .ok_or("a condition asks for something")?;
        let Some(variable) = name.strip_prefix('$') else {
            return Err(match *name {
                "-f" | "!-f" | "-e" | "!-e" | "-d" | "!-d" => {
                    "whether a file is there is asked by `files` with a `fallback`; where one \
                     closes the site, by the hook `maintenance` with its `flag_file`"
                }
                _ => "a condition begins with a variable",
            }
            .to_owned());
        };
        let variable = variable.trim_matches(['{', '}']).to_owned();
        let (is_negated, test) = match rest {
            [] => (false, Test::True),
            ["=", value] => (false, Test::Equal((*value).to_owned())),
            ["!=", value] => (true, Test::Equal((*value).to_owned())),
            ["~", regex] => (false, Test::Regex(true, of_ascii(regex))),
            ["~*", regex] => (false, Test::Regex(false, of_ascii(regex))),
            ["!~", regex] => (true, Test::Regex(true, of_ascii(regex))),
            ["!~*", regex] => (true, Test::Regex(false, of_ascii(regex))),
            _ => return Err("the condition is not one of nginx's".to_owned()),
        };
        match &test {
            Test::Regex(_, regex) => check_regex(regex)?,
            Test::True | Test::Equal(_) => {}
        }
        Ok(Condition {
            variable,
            test,
            is_negated,
        })
    }

    /// What holds where this does not.
    pub(super) fn negated(&self) -> Condition {
        let (test, is_negated) = match &self.test {
            // A rule asks for it in this form alone.
            Test::True => (Test::Regex(true, "^0?$".to_owned()), false),
            test => (test.clone(), !self.is_negated),
        };
        Condition {
            variable: self.variable.clone(),
            test,
            is_negated,
        }
    }

    /// Whether it holds where the variable is this text.
    pub(super) fn holds_for(&self, text: &str) -> bool {
        let holds = match &self.test {
            Test::True => !matches!(text, "" | "0"),
            Test::Equal(value) => text == value,
            Test::Regex(is_exact, regex) => {
                let any_case = if *is_exact { "" } else { "(?i)" };
                Regex::new(&format!("{any_case}{regex}")).is_ok_and(|regex| regex.is_match(text))
            }
        };
        holds != self.is_negated
    }

    /// As `when` of a route.
    pub(super) fn when(&self) -> Table {
        let not = if self.is_negated { "!" } else { "" };
        let name = &*self.variable;
        let value = match &self.test {
            Test::True => list([text("!"), text("!0")]),
            Test::Equal(value) => text(&format!("{not}{}", escaped(value))),
            Test::Regex(true, regex) => text(&format!("{not}~{}", at_line_ends(name, regex))),
            Test::Regex(false, regex) => text(&format!("{not}~*{}", at_line_ends(name, regex))),
        };
        if name == "request_method" && !self.is_negated {
            let methods = match &self.test {
                Test::Equal(method) => vec![method.clone()],
                Test::Regex(true, regex) => alternatives(regex),
                _ => Vec::new(),
            };
            let are_methods =
                |method: &String| method.bytes().all(|byte| byte.is_ascii_uppercase());
            if !methods.is_empty() && methods.iter().all(are_methods) {
                return Table::new().with("method", super::writer::texts(&methods));
            }
        }
        let (key, name) = asked_of(name);
        Table::new().with(key, Table::new().with(&name, value).inline())
    }

    /// As `when` of a rule of the hook `rewrite`.
    pub(super) fn of_rule(&self) -> String {
        let not = if self.is_negated { "!" } else { "" };
        let name = &self.variable;
        match &self.test {
            Test::True => format!("${name}"),
            Test::Equal(value) => format!("${name} {not}= {value}"),
            Test::Regex(true, regex) => format!("${name} {not}~ {regex}"),
            Test::Regex(false, regex) => format!("${name} {not}~* {regex}"),
        }
    }
}

/// An expression for a variable: only a path has lines.
pub(super) fn at_line_ends(variable: &str, regex: &str) -> String {
    match variable.trim_start_matches('$') {
        "uri" | "document_uri" => with_line_ends(regex),
        _ => regex.to_owned(),
    }
}

/// The key of `when` that asks for a variable, and the name below it.
pub(super) fn asked_of(name: &str) -> (&'static str, String) {
    if let Some(header) = name.strip_prefix("http_") {
        let words = header.split('_').map(|word| {
            let (first, rest) = word.split_at_checked(1).unwrap_or((word, ""));
            first.to_ascii_uppercase() + rest
        });
        ("header", words.collect::<Vec<_>>().join("-"))
    } else if let Some(argument) = name.strip_prefix("arg_") {
        ("query", argument.to_owned())
    } else if let Some(cookie) = name.strip_prefix("cookie_") {
        ("cookie", cookie.to_owned())
    } else {
        ("variable", name.to_owned())
    }
}

/// A text that `when` compares with as it is.
pub(super) fn escaped(value: &str) -> String {
    match value.starts_with(['~', '!', '=', '*']) {
        true => format!("={value}"),
        false => value.to_owned(),
    }
}

/// The words of `^(GET|HEAD)$`.
fn alternatives(regex: &str) -> Vec<String> {
    let inside = regex
        .strip_prefix('^')
        .and_then(|regex| regex.strip_suffix('$'));
    let inside = inside.map(|inside| {
        let in_brackets = inside
            .strip_prefix('(')
            .and_then(|inside| inside.strip_suffix(')'));
        in_brackets.unwrap_or(inside)
    });
    let words = inside.unwrap_or_default().split('|').map(str::to_owned);
    words.filter(|word| !word.is_empty()).collect()
}

/// Whether an expression is one that takes linear time.
///
/// # Errors
/// Why not.
pub(super) fn check_regex(regex: &str) -> Result<(), String> {
    Regex::new(regex).map(|_| ()).map_err(|error| {
        let error = error.to_string();
        let why = error.lines().last().unwrap_or_default().trim();
        let why = why.strip_prefix("error: ").unwrap_or(why).trim_end_matches('.');
        format!("bad regex: {why}; matching takes linear time here, without look-around and backreferences")
    })
}

/// What an `if` comes to at its place.
pub(super) enum Deciding {
    /// It asks for what is constant.
    Always,
    Never,
    When(Condition),
}

impl Translator<'_> {
    /// What an `if` asks, or why it cannot be said. `constants`: what is known before it.
    pub(super) fn condition(
        &self,
        constants: &Constants,
        block: &Directive,
    ) -> Result<Deciding, String> {
        let (mut condition, from) = constants.condition(block)?;
        if let Some(text) = literal(&from) {
            return Ok(match condition.holds_for(&text) {
                true => Deciding::Always,
                false => Deciding::Never,
            });
        }
        let here = Here::anywhere(constants);
        let written = self.words.render(&from, here)?;
        condition.variable = match *pieces_of(&written) {
            [Piece::Variable(name)] => name.to_owned(),
            [Piece::Literal(text)] => {
                return Ok(match condition.holds_for(text) {
                    true => Deciding::Always,
                    false => Deciding::Never,
                });
            }
            _ => {
                let name = &condition.variable;
                self.words.template(name, block.id, &from, constants)?
            }
        };
        // Before a route is chosen, only the request is known.
        for phase in [Phase::Request, Phase::Return] {
            self.words
                .checked(format!("${}", condition.variable), phase)?;
        }
        Ok(Deciding::When(condition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(words: &[&str]) -> Result<Condition, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Condition::parse(&words)
    }

    #[test]
    fn conditions_are_told_as_routes_have_them() {
        for (words, when) in [
            (
                vec!["($request_method", "=", "OPTIONS)"],
                "{ method = \"OPTIONS\" }",
            ),
            (
                vec!["($request_method", "~", "^(GET|HEAD)$", ")"],
                "{ method = [\"GET\", \"HEAD\"] }",
            ),
            (
                vec!["($http_x_beta)"],
                "{ header = { X-Beta = [\"!\", \"!0\"] } }",
            ),
            (
                vec!["(", "$arg_a", "!=", "b", ")"],
                "{ query = { a = \"!b\" } }",
            ),
            (
                vec!["($cookie_c", "~*", "x.y)"],
                "{ cookie = { c = \"~*x.y\" } }",
            ),
            (
                vec!["($scheme", "=", "http)"],
                "{ variable = { scheme = \"http\" } }",
            ),
        ] {
            let condition = condition(&words).map(|condition| condition.when().inline());
            assert_eq!(condition.as_deref(), Ok(when), "{words:?}");
        }
        for words in [
            vec!["(-f", "$request_filename)"],
            vec!["$a"],
            vec!["($a", "<", "b)"],
            vec!["()"],
        ] {
            assert!(condition(&words).is_err(), "{words:?}");
        }
    }
}
