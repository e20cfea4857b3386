//! What is wrong with a configuration: a message, the place, and the way out.

use std::cell::RefCell;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A place in a configuration file. Lines and columns count from 1; 0 where the place is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<str>,
    pub line: u32,
    /// In characters.
    pub column: u32,
    /// The key's path in the file: `route[2].proxy`. Lists count from 0.
    pub key: String,
}

impl Place {
    /// A path relative to the file that names it, made absolute: it stays the same wherever the
    /// process goes.
    pub fn beside(&self, path: &str) -> PathBuf {
        let directory = Path::new(&*self.file).parent().unwrap_or(Path::new(""));
        let path = directory.join(path);
        std::path::absolute(&path).unwrap_or(path)
    }
}

/// One problem, as `waypost check` reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    /// Lower case, no full stop, values in backticks.
    pub message: String,
    pub hint: Option<String>,
}

impl Problem {
    pub fn new(place: &Place, message: impl Into<String>) -> Problem {
        Problem {
            place: place.clone(),
            message: message.into(),
            hint: None,
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }
}

/// A problem with which the configuration can be served.
pub struct AsWarning<'a>(&'a Problem);

impl Problem {
    pub fn as_warning(&self) -> AsWarning<'_> {
        AsWarning(self)
    }

    /// The message, for where there is room for one line.
    pub(crate) fn message_in_one_line(&self) -> String {
        OneLine(&self.message).to_string()
    }

    /// The message and where it belongs, for where there is room for one line.
    pub(crate) fn in_one_line(&self) -> String {
        let (message, place) = (OneLine(&self.message), &self.place);
        match place.line {
            0 => format!("{message} ({})", place.file),
            line => format!("{message} ({}:{line}:{})", place.file, place.column),
        }
    }

    fn write(&self, f: &mut std::fmt::Formatter<'_>, kind: &str) -> std::fmt::Result {
        write!(f, "{kind}: {}", OneLine(&self.message))?;
        let Place {
            file,
            line,
            column,
            key,
        } = &self.place;
        if *line > 0 {
            write!(f, "\n  --> {file}:{line}:{column}")?;
        } else {
            write!(f, "\n  --> {file}")?;
        }
        if !key.is_empty() {
            write!(f, "   ({})", OneLine(key))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {}", OneLine(hint))?;
        }
        Ok(())
    }
}

/// Text that may quote a file: control characters are written as escapes, so that they reach no
/// terminal and end no line.
struct OneLine<'a>(&'a str);

impl std::fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(char::is_control) {
            let (plain, after) = rest.split_at(at);
            f.write_str(plain)?;
            let mut letters = after.chars();
            letters
                .next()
                .into_iter()
                .flat_map(char::escape_default)
                .try_for_each(|letter| f.write_char(letter))?;
            rest = letters.as_str();
        }
        f.write_str(rest)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.write(f, "error")
    }
}

impl std::fmt::Display for AsWarning<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.write(f, "warning")
    }
}

/// The problems found so far: readers note one and go on, so that a user meets all of them at once.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl Problems {
    /// A problem noted twice counts once: what `[server]` says is read again for every listener.
    pub(super) fn add(&self, problem: Problem) {
        add_once(&self.found, problem);
    }

    /// Notes one with which the configuration can be served.
    pub(super) fn warn(&self, problem: Problem) {
        add_once(&self.warnings, problem);
    }

    /// In the order of the files, from top to bottom.
    pub(super) fn take_warnings(&self, files: &[Arc<str>]) -> Vec<Problem> {
        sorted(self.warnings.take(), files)
    }

    /// In the order of the files, from top to bottom.
    pub(super) fn into_sorted(self, files: &[Arc<str>]) -> Vec<Problem> {
        sorted(self.found.into_inner(), files)
    }
}

fn sorted(mut list: Vec<Problem>, files: &[Arc<str>]) -> Vec<Problem> {
    let file = |problem: &Problem| files.iter().position(|name| *name == problem.place.file);
    list.sort_by_key(|problem| (file(problem), problem.place.line, problem.place.column));
    list
}

fn add_once(list: &RefCell<Vec<Problem>>, problem: Problem) {
    let mut list = list.borrow_mut();
    if !list.contains(&problem) {
        list.push(problem);
    }
}

/// `did you mean` for a misspelt word.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    Some(suggestion(word, known, "")).filter(|near| near.starts_with("did you mean"))
}

/// `did you mean` for a misspelt word, or else what there is to choose from.
pub(crate) fn suggestion<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
    known_are: &str,
) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let near = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            let longer_or_shorter = word.starts_with(**candidate) || candidate.starts_with(word);
            *distance <= candidate.chars().count().max(3) / 3 || longer_or_shorter && word.len() > 2
        })
        .min_by_key(|(distance, _)| *distance);
    match near {
        Some((_, candidate)) => format!("did you mean `{candidate}`?"),
        None if known.is_empty() => format!("{known_are}: none"),
        None => format!("{known_are}: {}", listing(&known)),
    }
}

/// `` `a`, `b`, `c` ``
pub(super) fn listing<'a>(words: impl IntoIterator<Item = &'a &'a str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_suggested_and_anything_else_lists_what_is_known() {
        let known = ["keepalive", "policy", "servers"];
        assert_eq!(
            suggestion("keepalve", known, "known keys"),
            "did you mean `keepalive`?"
        );
        assert_eq!(
            suggestion("zone", known, "known keys"),
            "known keys: `keepalive`, `policy`, `servers`"
        );
        assert_eq!(suggestion("zone", [], "upstreams"), "upstreams: none");
        assert_eq!(
            suggestion("warning", ["error", "warn"], "levels"),
            "did you mean `warn`?"
        );
    }

    #[test]
    fn what_a_file_says_is_quoted_without_its_control_characters() {
        let place = Place {
            file: "a.toml".into(),
            line: 1,
            column: 2,
            key: "upstream.\"\n\"".to_owned(),
        };
        let problem = Problem::new(&place, "`a\tb\u{1b}[2J` is no ä").hint("not\r\n`c`");
        assert_eq!(
            problem.to_string(),
            "error: `a\\tb\\u{1b}[2J` is no ä\n  --> a.toml:1:2   (upstream.\"\\n\")\nhint: not\\r\\n`c`"
        );
    }

    #[test]
    fn problems_come_in_the_order_of_files_then_lines() {
        let files: Vec<Arc<str>> = vec!["z.toml".into(), "a.toml".into()];
        let at = |file: usize, line| Place {
            file: files[file].clone(),
            line,
            ..Place::default()
        };
        let problems = Problems::default();
        problems.add(Problem::new(&at(1, 1), "third"));
        problems.add(Problem::new(&at(0, 9), "second"));
        problems.add(Problem::new(&at(0, 2), "first"));
        problems.add(Problem::new(&at(0, 2), "first"));
        let messages: Vec<String> = problems
            .into_sorted(&files)
            .into_iter()
            .map(|problem| problem.message)
            .collect();
        assert_eq!(messages, ["first", "second", "third"]);
    }
}
