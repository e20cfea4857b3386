//! The files of a new plugin: a project that builds, with the SDK and the contract in it, whatever
//! the language.

mod embedded; // what they are made of
mod texts; // those that are written for each project

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests;

use std::borrow::Cow;
use std::path::PathBuf;

use crate::stock::Kind;

/// What a plugin is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Rust,
    JavaScript,
    TypeScript,
    Python,
    C,
    Go,
}

/// A file of a project: where, and what is in it.
pub type ProjectFile = (PathBuf, Cow<'static, [u8]>);

/// A plugin that is to be.
#[derive(Debug, Clone, Copy)]
pub struct NewPlugin<'a> {
    pub name: &'a str,
    pub kind: Kind,
    pub language: Language,
}

impl NewPlugin<'_> {
    /// All files of its project.
    pub fn files(&self) -> Vec<ProjectFile> {
        let mut files = texts::of(self);
        files.extend(self.own());
        files.extend(self.sdk());
        files
    }

    /// The file that its author begins with.
    pub fn source(&self) -> &'static str {
        match self.language {
            Language::Rust => "src/lib.rs",
            Language::JavaScript => "plugin.js",
            Language::TypeScript => "plugin.ts",
            Language::Python => "plugin.py",
            Language::C => "plugin.c",
            Language::Go => "plugin.go",
        }
    }

    /// What the language wants, with this name in it.
    fn own(&self) -> Vec<ProjectFile> {
        let kind = self.kind.word();
        let mut files = vec![self.begun(kind, "", self.source())];
        match self.language {
            Language::Rust => files.push(self.begun("Cargo.toml", ".in", "Cargo.toml")),
            Language::JavaScript => files.extend([
                self.begun("package.json", ".in", "package.json"),
                self.begun(kind, ".test.js", "plugin.test.js"),
            ]),
            Language::TypeScript => files.extend([
                self.begun("package.json", ".in", "package.json"),
                self.begun("tsconfig.json", "", "tsconfig.json"),
                self.begun(kind, ".test.ts", "plugin.test.ts"),
            ]),
            Language::Python => files.extend([
                self.begun("test_", kind, "test_plugin.py"),
                text("requirements.txt", embedded::PYTHON_PACKAGES),
            ]),
            Language::C => files.extend([
                self.begun("Makefile", "", "Makefile"),
                self.begun("test_", kind, "test.c"),
                text("requirements.txt", embedded::C_PACKAGES),
            ]),
            Language::Go => files.extend([
                self.begun("go.mod", ".in", "go.mod"),
                self.begun(kind, "_test.go", "plugin_test.go"),
            ]),
        }
        files
    }

    /// One of the files that projects begin with: the one that is called so, or begins so and ends
    /// as the language's sources do.
    fn begun(&self, name: &str, rest: &str, file: &str) -> ProjectFile {
        let (folder, ending) = match self.language {
            Language::Rust => ("rust", ".rs"),
            Language::JavaScript => ("javascript", ".js"),
            Language::TypeScript => ("typescript", ".ts"),
            Language::Python => ("python", ".py"),
            Language::C => ("c", ".c"),
            Language::Go => ("go", ".go"),
        };
        let exact = format!("{folder}/{name}{rest}");
        let source = format!("{exact}{ending}");
        let mut all = embedded::NEW.iter();
        let found = all.find(|(path, _)| *path == exact || *path == source);
        let content = found.map_or(&[][..], |(_, content)| content);
        let text = String::from_utf8_lossy(content).replace("{{name}}", self.name);
        (file.into(), Cow::Owned(text.into_bytes()))
    }

    /// What the code is written with, in a folder of its own.
    fn sdk(&self) -> Vec<ProjectFile> {
        let (folder, files, wants_contract) = match self.language {
            Language::Rust => ("waypost-sdk", embedded::RUST, true),
            Language::JavaScript | Language::TypeScript => {
                ("waypost-sdk", embedded::JAVASCRIPT, true)
            }
            Language::Python => ("waypost", embedded::PYTHON, true),
            Language::C => ("waypost-sdk", embedded::C, false),
            Language::Go => ("waypost-sdk", embedded::GO, false),
        };
        let folder = PathBuf::from(folder);
        let file = |(path, content): &embedded::File| {
            let content = match (self.language, *path) {
                (Language::Rust, "Cargo.toml") => Cow::Owned(texts::manifest_alone(content)),
                _ => Cow::Borrowed(*content),
            };
            (folder.join(path), content)
        };
        let contract = embedded::WIT.iter().filter(|_| wants_contract);
        let contract = contract
            .map(|(path, content)| (folder.join("wit").join(path), Cow::Borrowed(*content)));
        files.iter().map(file).chain(contract).collect()
    }
}

fn text(path: &str, text: impl Into<Cow<'static, str>>) -> ProjectFile {
    let content = match text.into() {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    };
    (path.into(), content)
}

/// How a plugin is used in a configuration: what `policy` of an upstream is, and what stands in
/// `hooks` of a route. `settings` and `place` are the inside of an inline table each; those of a
/// place need a `hook.NAME`, a line that comes third and belongs at the top of the file.
pub fn used(kind: Kind, name: &str, settings: &str, place: &str) -> (String, String, String) {
    let with = |first: String, rest: &str| match rest.trim() {
        "" => format!("{{ {first} }}"),
        rest => format!("{{ {first}, {rest} }}"),
    };
    let plugin = with(format!("plugin = \"{name}\""), settings);
    let policy = match kind {
        Kind::Policy => plugin.clone(),
        Kind::Filter => format!("{{ plugin = \"round_robin\", filters = [{plugin}] }}"),
        Kind::Scorer => format!("{{ plugin = \"round_robin\", scorers = [{plugin}] }}"),
        Kind::Hook => "\"round_robin\"".to_owned(),
    };
    match kind {
        Kind::Hook if place.trim().is_empty() => (policy, format!("[{plugin}]"), String::new()),
        Kind::Hook => {
            // A hook and a plugin may not have the same name.
            let hook = format!("{name}_at_a_place");
            let hooks = format!("[{}]", with(format!("use = \"{hook}\""), place));
            (policy, hooks, format!("hook.{hook} = {plugin}\n"))
        }
        _ => (policy, "[]".to_owned(), String::new()),
    }
}
