//! The directory of a location, `root` or `alias`, and what is said of each file in it.

use super::Translator;
use super::matching::Location;
use super::scope::Scope;
use super::tree::Directive;
use super::writer::{Table, list, text};

/// Where files lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directory {
    /// Without a slash at its end.
    root: String,
    below: Below,
}

/// What is looked for below it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Below {
    /// The whole path (`root`).
    Path,
    /// What is behind this beginning of the path (`alias`).
    Rest(String),
    /// This name (`alias` in an exact location).
    Name(String),
}

impl Directory {
    /// Whether it is one file, whatever the path is.
    pub(super) fn is_file(&self) -> bool {
        matches!(self.below, Below::Name(_))
    }

    /// Whether the whole path is looked for below it.
    pub(super) fn has_whole_path(&self) -> bool {
        self.below == Below::Path
    }

    /// The file of a path.
    pub(super) fn file_of(&self, path: &str) -> String {
        let rest = match &self.below {
            Below::Path => path,
            Below::Rest(prefix) => path.strip_prefix(prefix.as_str()).unwrap_or(path),
            Below::Name(name) => name,
        };
        format!("{}/{}", self.root, rest.trim_start_matches('/'))
    }

    /// A file as `fallback` has it, if it lies below the directory.
    pub(super) fn below(&self, file: &str) -> Option<String> {
        let rest = file.strip_prefix(&self.root)?;
        rest.starts_with('/').then(|| rest.to_owned())
    }

    /// A file's directory and its name below that.
    pub(super) fn split<'f>(&self, file: &'f str) -> (&'f str, &'f str) {
        let at = match file.strip_prefix(&self.root) {
            Some(rest) if rest.starts_with('/') => self.root.len(),
            _ => file.rfind('/').unwrap_or(0),
        };
        let (root, name) = file.split_at(at);
        match root {
            "" => ("/", name),
            root => (root, name),
        }
    }

    /// Writes the keys of `files` that say where they lie, for a route of a location; one that only a
    /// name leads to has no path. Returns whether that is one file.
    pub(super) fn write(&self, location: &Location, is_named: bool, table: &mut Table) -> bool {
        let root = match &*self.root {
            "" => "/",
            root => root,
        };
        table.set("root", text(root));
        let exact_name = match location {
            Location::Exact(path) => path.rsplit('/').next(),
            _ => None,
        };
        match &self.below {
            Below::Path => {
                let is_whole_anyway = match location {
                    _ if is_named => true,
                    Location::Prefix(path) | Location::PrefixNoRegex(path) => path == "/",
                    Location::Exact(path) => path.rfind('/') == Some(0),
                    Location::Regex(..) | Location::Named(_) => true,
                };
                if !is_whole_anyway {
                    table.set("strip_prefix", "false");
                }
            }
            Below::Rest(_) => {}
            Below::Name(name) if exact_name == Some(name) => {}
            Below::Name(name) => table.set("file", text(name)),
        }
        self.is_file()
    }
}

impl Translator<'_> {
    /// The directory of a location; none where it has none, or one that cannot be said.
    pub(super) fn directory(&self, scope: &Scope<'_>, location: &Location) -> Option<Directory> {
        let accounts = self.accounts;
        let (directive, holder) = holder(scope)?;
        if let Some(Location::Regex(is_exact, regex)) = &holder
            && directive.name == "alias"
            && let Some(root) = root_of_alias(*is_exact, regex, directive.argument(0))
        {
            accounts.translated(
                directive,
                "`files` in `[[route]]`: what is captured is the path",
            );
            return Some(Directory {
                root,
                below: Below::Path,
            });
        }
        let written = self.words.inline(directive.argument(0), &scope.constants);
        let path = match written {
            Ok(path) if !path.contains('$') => path,
            Ok(_) => {
                let why = "a directory has a fixed name here: make a `[[route]]` for each";
                accounts.lost(directive, why);
                return None;
            }
            Err(why) => {
                accounts.lost(directive, why);
                return None;
            }
        };
        let is_file = match &holder {
            _ if directive.name == "root" => false,
            Some(Location::Exact(_) | Location::Regex(..)) => !path.ends_with('/'),
            // A prefix that is a file's name, and a file.
            Some(Location::Prefix(prefix) | Location::PrefixNoRegex(prefix)) => {
                are_files(prefix, &path)
            }
            _ => false,
        };
        if is_file {
            let (root, name) = path.rsplit_once('/').unwrap_or((".", &path));
            accounts.translated(directive, "`files` in `[[route]]`");
            return Some(Directory {
                root: root.to_owned(),
                below: Below::Name(name.to_owned()),
            });
        }
        let root = path.trim_end_matches('/').to_owned();
        let below = match (&*directive.name, holder) {
            ("root", _) => Below::Path,
            (
                _,
                Some(
                    Location::Exact(prefix)
                    | Location::Prefix(prefix)
                    | Location::PrefixNoRegex(prefix),
                ),
            ) => Below::Rest(prefix),
            _ => {
                let why = "an `alias` replaces the beginning of a path, or one path: a location with \
                           an expression has none";
                accounts.lost(directive, why);
                return None;
            }
        };
        match (&below, location) {
            (Below::Rest(prefix), Location::Prefix(_) | Location::PrefixNoRegex(_))
                if prefix.ends_with('/') != path.ends_with('/') =>
            {
                accounts.changed(
                    directive,
                    "`files` in `[[route]]`: what is behind the location is a name in this directory, \
                     where nginx joins both as they are",
                );
            }
            (Below::Rest(prefix), Location::Prefix(_) | Location::PrefixNoRegex(_))
                if !prefix.ends_with('/') =>
            {
                accounts.changed(
                    directive,
                    "`files` in `[[route]]`: what only begins with the location's name is a 404, where \
                     nginx joins both as they are",
                );
            }
            _ => accounts.translated(directive, "`files` in `[[route]]`"),
        }
        Some(Directory { root, below })
    }

    /// Codings, types, links: what is said of each file.
    pub(super) fn of_each_file(&self, scope: &Scope<'_>, location: &Location, table: &mut Table) {
        let accounts = self.accounts;
        let mut codings = Vec::new();
        for (name, coding) in [("brotli_static", "br"), ("gzip_static", "gzip")] {
            let Some(directive) = scope.one(name) else {
                continue;
            };
            match directive.argument(0) {
                "off" => accounts.harmless(directive, "off, as without it"),
                "on" => accounts.translated(directive, "`precompressed` in `files`"),
                _ => accounts.changed(
                    directive,
                    "`precompressed` in `files`: the other file has to be there, for clients that \
                     take no compressed one",
                ),
            }
            if directive.argument(0) != "off" {
                codings.push(text(coding));
            }
        }
        if !codings.is_empty() {
            table.set("precompressed", list(codings));
        }
        if let Some(directive) = scope.one("disable_symlinks") {
            match directive.argument(0) {
                "off" => {
                    table.set("follow_links", "true");
                    accounts.translated(directive, "`follow_links` in `files`");
                }
                _ => accounts.changed(directive, "links that lead out of the root are refused"),
            }
        }
        self.types(scope, location, table);
        for (name, how) in [
            ("etag", "every file has an `ETag`"),
            (
                "if_modified_since",
                "a file that is older than asked for is a 304",
            ),
            (
                "max_ranges",
                "who asks for more than 64 ranges gets the whole file",
            ),
        ] {
            for directive in scope.nearest(name) {
                match (name, directive.argument(0)) {
                    ("etag", "on") => accounts.built_in(directive, how),
                    _ => accounts.changed(directive, how),
                }
            }
        }
    }

    /// `types`, `default_type` and `charset`.
    fn types(&self, scope: &Scope<'_>, location: &Location, table: &mut Table) {
        let accounts = self.accounts;
        let default = scope.one("default_type");
        let written = scope.nearest("types");
        let is_usual = |types: &&&Directive| types.line.file.ends_with("mime.types");
        let mut types = Table::new();
        for directive in written.iter().filter(|types| !is_usual(types)) {
            accounts.translated(
                directive,
                "`types` in `files`, where Waypost knows another one",
            );
            for entry in directive.children() {
                for ending in &entry.arguments {
                    let ending = ending.to_ascii_lowercase();
                    let known = mime_guess::from_ext(&ending).first_raw();
                    let is_script =
                        |name| matches!(name, "text/javascript" | "application/javascript");
                    let is_same = known == Some(&*entry.name)
                        || known.is_some_and(|known| is_script(known) && is_script(&entry.name));
                    let is_plain = !ending.contains('.') && entry.name.contains('/');
                    if !is_same && is_plain {
                        types.set(&ending, text(&entry.name));
                    }
                }
            }
        }
        for directive in written.iter().filter(is_usual) {
            accounts.built_in(directive, "Waypost knows these types, and more");
        }
        // `types { }` gives all files the default.
        let is_emptied = !written.is_empty() && written.iter().all(|of| of.children().is_empty());
        let ending = match location {
            Location::Exact(path) => path
                .rsplit('/')
                .next()
                .and_then(|name| name.rsplit_once('.')),
            _ => None,
        };
        if let (true, Some((_, ending)), Some(default)) = (is_emptied, ending, default) {
            types.set(&ending.to_ascii_lowercase(), text(default.argument(0)));
        } else if let (true, Some(directive)) = (is_emptied, written.first()) {
            accounts.changed(
                directive,
                "a file has the type of its ending, if that is known",
            );
        }
        if !types.is_empty() {
            table.set("types", types.inline());
        }
        if let Some(directive) = default {
            match directive.argument(0) {
                "application/octet-stream" => accounts.built_in(directive, "it is the default"),
                other if other.contains('/') => {
                    table.set("default_type", text(other));
                    accounts.translated(directive, "`default_type` in `files`");
                }
                _ => accounts.harmless(directive, "it is no media type"),
            }
        }
        if let Some(directive) = scope.one("charset") {
            match directive.argument(0) {
                charset if charset.eq_ignore_ascii_case("utf-8") => {
                    accounts.built_in(directive, "`utf-8` is named by default");
                }
                "off" => accounts.changed(directive, "`utf-8` is named by default"),
                charset => {
                    table.set("charset", text(charset));
                    accounts.translated(directive, "`charset` in `files`");
                }
            }
        }
    }
}

/// Whether the last names of a location's prefix and of its `alias` have endings, as files have.
pub(super) fn are_files(prefix: &str, alias: &str) -> bool {
    let has_ending = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        !ending.is_empty() && ending.len() <= 5 && !name.starts_with('.')
    };
    has_ending(prefix) && has_ending(alias)
}

/// The `root` or `alias` that holds in a context, and the location that it stands in.
fn holder<'s>(scope: &Scope<'s>) -> Option<(&'s Directive, Option<Location>)> {
    let mut here = scope;
    loop {
        let alias = here.own("alias").first();
        if let Some(directive) = alias.or(here.own("root").first()) {
            return Some((directive, location_of(here)));
        }
        here = here.outer()?;
    }
}

fn location_of(scope: &Scope<'_>) -> Option<Location> {
    let block = scope.directive?;
    match &*block.name {
        "location" => Location::parse(&block.arguments),
        "if" | "limit_except" => location_of(scope.outer()?),
        _ => None,
    }
}
/// The `root` that an `alias` stands for, where its captures put together the path that the
/// expression has matched: `^/(css|js)/(.*)$` and `/srv/$1/$2` are `/srv`.
fn root_of_alias(is_exact: bool, regex: &str, alias: &str) -> Option<String> {
    let mut rest = regex.strip_prefix('^')?;
    let (mut path, mut groups) = (String::new(), 0);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' => {
                let end = end_of_group(rest)?;
                let group = rest.get(1..end)?;
                if group.starts_with('?') {
                    return None;
                }
                groups += 1;
                path.push_str(&format!("${groups}"));
                groups += group.matches('(').count() - group.matches("(?").count();
                end + 1
            }
            '\\' => {
                let escaped = rest.chars().nth(1).filter(|next| !next.is_alphanumeric())?;
                path.push(escaped);
                2
            }
            '$' if rest.len() == 1 => 1,
            letter if letter == '/' || letter == '-' || letter == '_' => {
                path.push(letter);
                1
            }
            letter if is_exact && letter.is_ascii_alphanumeric() => {
                path.push(letter);
                1
            }
            _ => return None,
        };
        rest = rest.get(length..)?;
        if rest.starts_with(['*', '+', '?', '{', '|']) {
            return None;
        }
    }
    let ends = regex.ends_with('$') || regex.ends_with("(.*)") || regex.ends_with("(.+)");
    let root = alias.strip_suffix(&path).filter(|_| ends)?;
    (!root.is_empty() && !root.contains('$')).then(|| root.to_owned())
}

/// Where the group ends that a text begins with.
fn end_of_group(text: &str) -> Option<usize> {
    let (mut depth, mut is_escaped, mut in_class) = (0, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '[' if !in_class => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => depth += 1,
            ')' if !in_class => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}
