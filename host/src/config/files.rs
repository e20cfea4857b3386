//! Reads a file and all that it includes into one tree.
//!
//! Files come in the order of `include`, each after the file that names it. Merging follows one
//! rule: lists are appended, tables united, anything else may be given once.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::problem::{Place, Problem, Problems};
use super::system::System;
use super::tree::{Entry, Node, TextSource, Value};

/// The tree of a configuration and the files it came from.
pub(super) struct Document {
    pub(super) root: Vec<Entry>,
    /// In the order they were read, as the user names them.
    pub(super) files: Vec<Arc<str>>,
    /// False where a file could not be read or parsed: what seems to be missing may be in there.
    pub(super) complete: bool,
    /// What can be served all the same.
    pub(super) warnings: Vec<Problem>,
    /// Variables of the environment that it has, with their values.
    pub(super) environment: Vec<(String, String)>,
}

pub(super) fn read(path: &Path, system: &dyn System, problems: &Problems) -> Document {
    let mut reading = ValueReading::new(system, problems);
    reading.file(path, None);
    reading.document
}

/// As [`read`], for a text that stands for the file of this name.
pub(super) fn parse(text: &str, path: &Path, system: &dyn System, problems: &Problems) -> Document {
    let mut reading = ValueReading::new(system, problems);
    reading.text(text.as_bytes(), path);
    reading.document
}

struct ValueReading<'a> {
    system: &'a dyn System,
    problems: &'a Problems,
    document: Document,
    /// Absolute and without `..`, to know a file again; files being read are in `open` too.
    seen: Vec<PathBuf>,
    open: Vec<PathBuf>,
}

impl<'a> ValueReading<'a> {
    fn new(system: &'a dyn System, problems: &'a Problems) -> ValueReading<'a> {
        let document = Document {
            root: Vec::new(),
            files: Vec::new(),
            complete: true,
            warnings: Vec::new(),
            environment: Vec::new(),
        };
        ValueReading {
            system,
            problems,
            document,
            seen: Vec::new(),
            open: Vec::new(),
        }
    }

    /// Reads a file and what it includes. `included_at` is where another file names it.
    fn file(&mut self, path: &Path, included_at: Option<&Place>) {
        match self.system.read(path) {
            Ok(bytes) => self.text(&bytes, path),
            Err(error) => {
                self.document.complete = false;
                let message = format!("cannot read `{}`: {}", path.display(), reason(&error));
                let problem = match included_at {
                    Some(place) => Problem::new(place, message),
                    None => {
                        let file = path.display().to_string().into();
                        let place = Place {
                            file,
                            ..Place::default()
                        };
                        Problem::new(&place, message).hint("name another file with `-c FILE`")
                    }
                };
                self.problems.add(problem);
            }
        }
    }

    fn text(&mut self, bytes: &[u8], path: &Path) {
        let name: Arc<str> = path.display().to_string().into();
        self.document.files.push(name.clone());
        let text = match str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let (valid, _) = bytes.split_at(error.valid_up_to());
                let source_text = String::from_utf8_lossy(valid);
                let place = TextSource::new(name, &source_text).place(valid.len(), String::new());
                self.problems.add(Problem::new(
                    &place,
                    "not valid TOML: the file is not UTF-8",
                ));
                self.document.complete = false;
                return;
            }
        };
        let system = self.system;
        let used = RefCell::new(Vec::new());
        let variable = |name: &str| {
            let value = system.variable(name)?;
            used.borrow_mut().push((name.to_owned(), value.clone()));
            Some(value)
        };
        let source = TextSource::new(name, text);
        let parsed = source.parse(&variable, self.problems);
        self.document.environment.extend(used.into_inner());
        let Some(mut entries) = parsed else {
            self.document.complete = false;
            return;
        };
        let include = entries.iter().position(|entry| entry.key == "include");
        let include = include.map(|at| entries.remove(at).node);
        merge(&mut self.document.root, entries, self.problems);

        let identity = identity(path);
        self.seen.push(identity.clone());
        self.open.push(identity);
        if let Some(include) = include {
            self.include(&include, path);
        }
        self.open.pop();
    }

    fn include(&mut self, include: &Node, from: &Path) {
        let patterns = match &include.value {
            Value::Array(items) => items.as_slice(),
            _ => std::slice::from_ref(include),
        };
        let directory = from.parent().unwrap_or(Path::new(""));
        for node in patterns {
            if matches!(node.value, Value::Unusable) {
                continue;
            }
            let Some(pattern) = node.as_text() else {
                let message = format!(
                    "`include` must be a list of file names, not {}",
                    node.type_name()
                );
                self.problems.add(Problem::new(&node.place, message));
                continue;
            };
            match self.matches(&directory.join(pattern)) {
                Ok(paths) => {
                    // Only a pattern can: a name stands for itself.
                    if paths.is_empty() {
                        let message = format!("`{pattern}` matches no file");
                        let warning = Problem::new(&node.place, message);
                        self.document.warnings.push(warning);
                    }
                    for path in paths {
                        self.included(&path, &node.place);
                    }
                }
                Err(message) => self.problems.add(Problem::new(&node.place, message)),
            }
        }
    }

    fn included(&mut self, path: &Path, place: &Place) {
        let identity = identity(path);
        if self.open.contains(&identity) {
            let message = format!("`{}` includes itself", path.display());
            self.problems.add(Problem::new(place, message));
        } else if self.seen.contains(&identity) {
            let message = format!("`{}` is included twice", path.display());
            self.problems.add(Problem::new(place, message));
        } else {
            self.file(path, Some(place));
        }
    }

    /// The files that a pattern stands for; a name without wildcards stands for itself, whether it
    /// exists or not.
    fn matches(&self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let directory = pattern.parent().unwrap_or(Path::new(""));
        let wild = |path: &Path| path.to_string_lossy().contains(['*', '?']);
        if wild(directory) {
            return Err("`*` and `?` may stand in the file's name only".to_owned());
        }
        let Some(name) = pattern.file_name().filter(|name| wild(Path::new(name))) else {
            return Ok(vec![pattern.to_owned()]);
        };
        let listed = if directory == Path::new("") {
            Path::new(".")
        } else {
            directory
        };
        let mut names = match self.system.list(listed) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                return Err(format!(
                    "cannot list `{}`: {}",
                    listed.display(),
                    reason(&error)
                ));
            }
        };
        names.retain(|candidate| matches(&name.to_string_lossy(), candidate));
        names.sort();
        Ok(names.into_iter().map(|name| directory.join(name)).collect())
    }
}

/// Whether a file name matches a pattern of `*` and `?`. As in a shell, a leading dot must be
/// written.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    // Row by row: `row[n]` says whether the pattern so far matches the first `n` characters.
    let mut row = vec![false; name.len() + 1];
    row[0] = true;
    for letter in pattern {
        let mut next = vec![false; name.len() + 1];
        next[0] = letter == '*' && row[0];
        for (n, character) in name.iter().enumerate() {
            next[n + 1] = match letter {
                '*' => row[n + 1] || next[n],
                '?' => row[n],
                _ => row[n] && letter == *character,
            };
        }
        row = next;
    }
    row[name.len()]
}

/// Adds entries to a table that may have them already.
fn merge(into: &mut Vec<Entry>, entries: Vec<Entry>, problems: &Problems) {
    // A list of networks may have a hundred thousand.
    let keys = into.iter().enumerate();
    let mut indexes: HashMap<String, usize> = keys
        .map(|(index, entry)| (entry.key.clone(), index))
        .collect();
    for entry in entries {
        let known = indexes.get(&entry.key);
        let Some(present) = known.and_then(|index| into.get_mut(*index)) else {
            indexes.insert(entry.key.clone(), into.len());
            into.push(entry);
            continue;
        };
        match (&mut present.node.value, entry.node.value) {
            (Value::Array(items), Value::Array(more)) => items.extend(more),
            (Value::Table(table), Value::Table(more)) => merge(table, more, problems),
            _ => {
                let Place { file, line, .. } = &present.key_place;
                let problem =
                    Problem::new(&entry.key_place, format!("`{}` is given twice", entry.key));
                problems.add(problem.hint(format!("it is given first at {file}:{line}")));
            }
        }
    }
}

/// A path by which a file is known again: absolute, `.` and `..` resolved without asking the disk.
/// Two links to one file count as two files.
fn identity(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut resolved = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                resolved.pop();
            }
            component => resolved.push(component),
        }
    }
    resolved
}

/// An I/O error without the `(os error 2)` that std appends.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        let cases = [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", false),
            (".*", ".toml", true),
            ("*.toml", "a.toml~", false),
            ("?.toml", "ä.toml", true),
            ("?.toml", "ab.toml", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*", "anything", true),
            ("**", "x", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
