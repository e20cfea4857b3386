//! Which file takes names from which other one, read from the paths in the code: enough of Rust's
//! rules for a crate that names what it uses by `crate::` and `super::`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The imports of a crate.
pub(crate) struct Imports {
    /// By file: those that it takes names from, without itself.
    pub(crate) by_file: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
}

/// A module, by the names on the way to it from the root.
type Module = Vec<String>;

struct File {
    path: PathBuf,
    /// Without tests.
    code: String,
}

impl Imports {
    /// Reads the imports of these files, given with their code without comments.
    pub(crate) fn of(sources: Vec<(PathBuf, String)>) -> Imports {
        let mut modules = BTreeMap::new();
        for (path, code) in sources {
            let is_test = path
                .iter()
                .any(|part| part == "tests" || part == "tests.rs");
            if is_test {
                continue;
            }
            // By convention, unit tests stand at the end of a file.
            let code = code.split("#[cfg(test)]").next().unwrap_or_default();
            let code = code.to_owned();
            modules.insert(module_of(&path), File { path, code });
        }
        let by_file = modules.iter().map(|(module, file)| {
            let named = paths(&file.code).filter_map(|named| absolute(module, &named));
            let files = named.filter_map(|named| defined_in(&modules, named));
            let others = files.filter(|other| **other != file.path).cloned();
            (file.path.clone(), others.collect())
        });
        Imports {
            by_file: by_file.collect(),
        }
    }

    /// The largest set of files that all reach each other, of those below a folder.
    pub(crate) fn largest_circle(&self, folder: &str) -> Vec<&Path> {
        let files = self.by_file.keys().filter(|file| file.starts_with(folder));
        let reached: BTreeMap<_, _> = files.map(|file| (file, self.reached_from(file))).collect();
        let circles = reached.iter().map(|(file, reaches)| {
            let others = reached
                .iter()
                .filter(|(other, back)| reaches.contains(*other) && back.contains(*file));
            others.map(|(other, _)| other.as_path()).collect::<Vec<_>>()
        });
        circles.max_by_key(Vec::len).unwrap_or_default()
    }

    fn reached_from(&self, file: &PathBuf) -> BTreeSet<&PathBuf> {
        let (mut reached, mut left) = (BTreeSet::new(), vec![file]);
        while let Some(next) = left.pop() {
            for other in self.by_file.get(next).into_iter().flatten() {
                if reached.insert(other) {
                    left.push(other);
                }
            }
        }
        reached
    }
}

/// `a/b.rs` and `a/b/mod.rs` are the module `a::b`.
fn module_of(path: &Path) -> Module {
    let parts = path.with_extension("");
    let mut module: Module = parts
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if matches!(
        module.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        module.pop();
    }
    module
}

/// All paths in the code that begin with `crate` or `super`, a group of names as one path for each.
fn paths(code: &str) -> impl Iterator<Item = Vec<String>> + '_ {
    let starts = ["crate::", "super::"].into_iter();
    starts.flat_map(move |start| {
        let found = code.match_indices(start).filter(|(at, _)| {
            // Neither `pub(crate)` nor the second half of `super::super::`.
            !code[..*at].ends_with(|before: char| before == ':' || is_name(before))
        });
        found.flat_map(|(at, _)| expanded(&code[at..]))
    })
}

fn is_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The path that a text begins with; several where it ends in a group.
fn expanded(text: &str) -> Vec<Vec<String>> {
    let end = text
        .find(|character: char| !is_name(character) && character != ':')
        .unwrap_or(text.len());
    let stem: Vec<String> = names(&text[..end]);
    let Some(group) = text[end..].strip_prefix('{') else {
        return vec![stem];
    };
    let members = group.split('}').next().unwrap_or_default().split(',');
    let first_names = members.filter_map(|member| {
        let member = member.rsplit('{').next().unwrap_or_default();
        names(member.trim()).first().cloned()
    });
    first_names
        .map(|name| stem.iter().cloned().chain([name]).collect())
        .collect()
}

fn names(path: &str) -> Vec<String> {
    let parts = path.split("::").map(|part| part.trim());
    parts
        .map(|part| part.split(' ').next().unwrap_or_default().to_owned())
        .filter(|part| !part.is_empty())
        .collect()
}

/// A path from the root, for one that stands in a module.
fn absolute(module: &[String], named: &[String]) -> Option<Module> {
    let ups = named.iter().take_while(|part| *part == "super").count();
    let (base, rest) = match named.first()?.as_str() {
        "crate" => (&module[..0], &named[1..]),
        _ => (&module[..module.len().checked_sub(ups)?], &named[ups..]),
    };
    Some([base, rest].concat())
}

/// The file in which the longest part of a path that is a module is, or where that only hands a name
/// on, the one that it has it from.
fn defined_in(modules: &BTreeMap<Module, File>, mut named: Module) -> Option<&PathBuf> {
    let mut name = None;
    loop {
        if let Some(file) = modules.get(&named) {
            let child = name.and_then(|name: String| handed_on_by(file, &name));
            let child = child.and_then(|child| {
                let child = named.iter().cloned().chain(child).collect::<Module>();
                defined_in(modules, child)
            });
            return Some(child.unwrap_or(&file.path));
        }
        name = Some(named.pop()?);
    }
}

/// The path below a module, name included, from which it takes a name that it hands on.
fn handed_on_by(file: &File, name: &str) -> Option<Module> {
    let uses = file.code.split("pub(crate) use ").skip(1);
    let uses = uses.chain(file.code.split("pub use ").skip(1));
    let uses = uses.chain(file.code.split("pub(super) use ").skip(1));
    let handed_on = uses.filter(|text| !text.starts_with("crate") && !text.starts_with("super"));
    let mut handed_on = handed_on.flat_map(|text| {
        let end = text.find(';').unwrap_or(text.len());
        expanded(text[..end].trim_start_matches("self::"))
    });
    handed_on.find(|path| path.last().is_some_and(|last| last == name))
}
