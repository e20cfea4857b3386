//! nginx's configuration as a tree of directives, with everything that `include` brings in.
//!
//! What a directive may have is not checked here: nginx has accepted the file, or whoever
//! translates a directive says that it makes no sense of it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lexer::{End, LexError, Lexer};
use super::report::is_table;
use super::well_known;
use crate::config::system::System;

/// Blocks in blocks, and files in files, at most. nginx's own contexts reach six.
const DEEPEST: usize = 32;
/// Files and bytes of one configuration at most.
const MOST_FILES: usize = 10_000;
const MOST_BYTES: usize = 64 << 20;

/// A file and a line of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Line {
    pub file: Arc<str>,
    /// Counts from 1.
    pub line: u32,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.escape_debug(), self.line)
    }
}

/// What keeps a file from being read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} in {line}")]
pub struct ReadError {
    pub line: Line,
    pub message: String,
}

/// A directive, and what is within it.
#[derive(Debug)]
pub(super) struct Directive {
    /// Its number among all, in the order in which they are read.
    pub(super) id: usize,
    /// The number of the last one within it, or its own.
    pub(super) last: usize,
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    pub(super) line: Line,
    /// What stands in its braces, if it has some.
    pub(super) block: Option<Vec<Directive>>,
    /// Comments before it.
    pub(super) comments: Vec<String>,
    /// Why what it names is not there: of an `include` alone.
    pub(super) missing: Option<String>,
}

impl Directive {
    /// An argument by its number, empty where there are not so many.
    pub(super) fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", String::as_str)
    }

    pub(super) fn children(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// A configuration that was read.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) directives: Vec<Directive>,
    /// How many directives there are at all depths, and have been left out.
    pub(super) count: usize,
    /// Those that have been taken out, in no order.
    pub(super) left_out: Vec<Directive>,
    /// Where the first file begins.
    start: Line,
}

/// Reads a file and what it includes.
pub(super) fn read(path: &Path, system: &dyn System) -> Result<Tree, ReadError> {
    let mut reader = Reader {
        system,
        prefix: path.parent().unwrap_or(Path::new("")).to_owned(),
        count: 0,
        files: 0,
        bytes: 0,
        seen: HashSet::new(),
    };
    let name: Arc<str> = path.display().to_string().into();
    let start = Line {
        file: Arc::clone(&name),
        line: 1,
    };
    let text = system.read(path).map_err(|error| ReadError {
        line: start.clone(),
        message: format!("cannot read the file: {error}"),
    })?;
    let directives = reader.file(&text, name, &start, 0)?;
    Ok(Tree {
        directives,
        count: reader.count,
        left_out: Vec::new(),
        start,
    })
}

impl Tree {
    /// Takes out all directives that have one of these names.
    pub(super) fn leave_out(&mut self, names: &[String]) -> Result<(), ReadError> {
        fn within(directives: &mut Vec<Directive>, names: &[String], out: &mut Vec<Directive>) {
            out.extend(directives.extract_if(.., |each| names.contains(&each.name)));
            for directive in directives {
                if let (Some(block), false) = (&mut directive.block, is_table(&directive.name)) {
                    within(block, names, out);
                }
            }
        }
        within(&mut self.directives, names, &mut self.left_out);
        if let Some(block) = self.left_out.iter().find(|each| each.block.is_some()) {
            return Err(ReadError {
                line: block.line.clone(),
                message: format!(
                    "`--without {}` is for directives that end with a `;`, and this one has a block",
                    block.name
                ),
            });
        }
        let is_there = |name: &&String| self.left_out.iter().all(|each| each.name != **name);
        match names.iter().find(is_there) {
            Some(name) => Err(ReadError {
                line: self.start.clone(),
                message: format!("`--without {name}`: there is no such directive"),
            }),
            None => Ok(()),
        }
    }

    /// The first `include` whose file is missing.
    pub(super) fn missing(&self) -> Option<&Directive> {
        fn within(directives: &[Directive]) -> Option<&Directive> {
            directives.iter().find_map(|each| match each.missing {
                Some(_) => Some(each),
                None => within(each.children()),
            })
        }
        within(&self.directives)
    }
}

struct Reader<'a> {
    system: &'a dyn System,
    /// What names in `include` are relative to.
    prefix: PathBuf,
    count: usize,
    files: usize,
    bytes: usize,
    /// Those that were included already.
    seen: HashSet<PathBuf>,
}

/// What stands in a file that is included again has been said where it was first.
fn forget_comments(directives: &mut [Directive]) {
    for directive in directives {
        directive.comments.clear();
        forget_comments(directive.block.as_deref_mut().unwrap_or_default());
    }
}

impl Reader<'_> {
    fn file(
        &mut self,
        text: &[u8],
        name: Arc<str>,
        from: &Line,
        depth: usize,
    ) -> Result<Vec<Directive>, ReadError> {
        self.files += 1;
        self.bytes += text.len();
        let complaint = if depth > DEEPEST {
            Some("files include each other without an end")
        } else if self.files > MOST_FILES || self.bytes > MOST_BYTES {
            Some("more is included than a configuration may have")
        } else {
            None
        };
        if let Some(message) = complaint {
            return Err(ReadError {
                line: from.clone(),
                message: message.to_owned(),
            });
        }
        let mut lexer = Lexer::new(text);
        self.block(&mut lexer, &name, depth, None)
    }

    /// The directives up to the end of the file, or of the block that began in line `begun`.
    fn block(
        &mut self,
        lexer: &mut Lexer<'_>,
        file: &Arc<str>,
        depth: usize,
        begun: Option<u32>,
    ) -> Result<Vec<Directive>, ReadError> {
        let at = |line| Line {
            file: Arc::clone(file),
            line,
        };
        let placed = |LexError { line, message }| ReadError {
            line: at(line),
            message,
        };
        let mut directives = Vec::new();
        loop {
            let statement = lexer.next().map_err(placed)?;
            if let Some(comment) = statement.behind_last
                && let Some(last) = directives.last_mut()
            {
                let last: &mut Directive = last;
                last.comments.push(comment);
            }
            let line = at(statement.line);
            let fail = |message: &str| {
                Err(ReadError {
                    line: line.clone(),
                    message: message.to_owned(),
                })
            };
            match (statement.end, begun) {
                (End::File, None) | (End::CloseBlock, Some(_)) => return Ok(directives),
                (End::CloseBlock, None) => return fail("unexpected \"}\""),
                (End::File, Some(begun)) => {
                    return fail(&format!(
                        "unexpected end of file, expecting \"}}\" for the block of line {begun}"
                    ));
                }
                _ => {}
            }
            let mut words = statement.words.into_iter();
            let name = words.next().unwrap_or_default();
            let arguments: Vec<String> = words.collect();
            let mut directive = Directive {
                id: self.count,
                last: self.count,
                name,
                arguments,
                line,
                block: None,
                comments: statement.comments,
                missing: None,
            };
            self.count += 1;
            if statement.end == End::OpenBlock {
                if depth >= DEEPEST {
                    return Err(ReadError {
                        line: directive.line,
                        message: "blocks are nested too deep".to_owned(),
                    });
                }
                // What stands there is a program, which has rules of its own.
                directive.block = Some(if directive.name.ends_with("_by_lua_block") {
                    lexer.skip_lua().map_err(placed)?;
                    Vec::new()
                } else {
                    self.block(lexer, file, depth + 1, Some(directive.line.line))?
                });
                directive.last = self.count - 1;
            }
            if directive.name == "include" && directive.block.is_none() {
                let included = self.include(&mut directive, depth)?;
                directives.push(directive);
                directives.extend(included);
            } else {
                directives.push(directive);
            }
        }
    }

    /// What an `include` brings in.
    fn include(
        &mut self,
        directive: &mut Directive,
        depth: usize,
    ) -> Result<Vec<Directive>, ReadError> {
        let pattern = directive.argument(0).to_owned();
        let mut all = Vec::new();
        for path in self.matching(&pattern) {
            let name: Arc<str> = path.display().to_string().into();
            match self.read(&path) {
                Ok(text) => {
                    let is_known = !self.seen.insert(path);
                    let mut within = self.file(&text, name, &directive.line, depth + 1)?;
                    if is_known {
                        forget_comments(&mut within);
                    }
                    all.extend(within);
                }
                Err(error) => match well_known::file(&pattern) {
                    Some(text) => {
                        let name: Arc<str> = format!("{pattern} as packaged").into();
                        all.extend(self.file(text.as_bytes(), name, &directive.line, depth + 1)?);
                    }
                    None => directive.missing = Some(error.to_string()),
                },
            }
        }
        Ok(all)
    }

    /// Reads a file that is included: a pipe may have nobody who writes to it.
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        match self.system.is_pipe(path) {
            true => Err(std::io::Error::other("it is a pipe")),
            false => self.system.read(path),
        }
    }

    /// The files that a pattern names (glob(7)), in alphabetical order; one without `*`, `?` and
    /// `[` names itself.
    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        let path = self.prefix.join(pattern);
        let has_wildcard = |part: &str| part.contains(['*', '?', '[']);
        if !has_wildcard(pattern) {
            let above = self.prefix.parent().map(|above| above.join(pattern));
            // A file of `sites-available` says `snippets/ssl.conf`, which is beside its folder.
            return match above.filter(|_| self.read(&path).is_err()) {
                Some(above) if self.read(&above).is_ok() => vec![above],
                _ => vec![path],
            };
        }
        let mut found = vec![PathBuf::new()];
        for part in path.components() {
            let part = part.as_os_str().to_string_lossy();
            if !has_wildcard(&part) {
                found.iter_mut().for_each(|path| path.push(&*part));
                continue;
            }
            let mut next = Vec::new();
            for folder in &found {
                let mut names = self.system.list(folder).unwrap_or_default();
                names.retain(|name| matches(part.as_bytes(), name.as_bytes()));
                // A leading dot has to be named.
                names.retain(|name| !name.starts_with('.') || part.starts_with('.'));
                names.sort();
                next.extend(names.iter().map(|name| folder.join(name)));
                next.truncate(MOST_FILES + 1);
            }
            found = next;
        }
        found
    }
}

/// Whether a name fits a pattern of `*`, `?`, `[...]` and other characters. Takes time linear in
/// the product of both.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where the last `*` stands, and how far it reached.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(_) if let Some(length) = one(pattern.get(p..).unwrap_or_default(), name[n]) => {
                p += length;
                n += 1;
                continue;
            }
            _ => {}
        }
        let Some((at, reached)) = star else {
            return false;
        };
        star = Some((at, reached + 1));
        (p, n) = (at + 1, reached + 1);
    }
    pattern
        .get(p..)
        .unwrap_or_default()
        .iter()
        .all(|byte| *byte == b'*')
}

/// How much of a pattern one character takes, if it fits.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => {
            let end = rest.iter().skip(1).position(|c| *c == b']')? + 1;
            let set = rest.get(..end)?;
            let (set, is_negated) = match set {
                [b'!' | b'^', set @ ..] => (set, true),
                set => (set, false),
            };
            let mut within = set.contains(&byte);
            for range in set.windows(3) {
                within |= range[1] == b'-' && (range[0]..=range[2]).contains(&byte);
            }
            (within != is_negated).then_some(end + 2)
        }
        [first, ..] => (*first == byte).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn names_fit_patterns_as_glob_has_it() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf.bak", false),
            ("a?c", "abc", true),
            ("[a-c]*", "bx", true),
            ("[!a]*", "ax", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxa", false),
            ("", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }
}
