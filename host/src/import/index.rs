//! The index of a directory, which nginx looks for as if it had been asked for
//! (`ngx_http_index_module.c`): the location of that name may say other things of it, or keep it from
//! who asks. Here an index is a file of the route of its directory, so that has to say the same, or
//! there is a route for directories that does.

use std::collections::HashMap;
use std::rc::Rc;

use regex::Regex;

use super::Translator;
use super::conditions::{Condition, Test};
use super::directory::Directory;
use super::files::is_here;
use super::finding;
use super::matching::Location;
use super::report::Outcome;
use super::scope::Scope;
use super::steps::Gate;
use super::tree::Directive;
use super::try_files::{Last, Stage, Tries};
use super::writer::{Block, Table, list, text};

/// The route for directories whose index is another location's.
pub(super) struct IndexRoute {
    block: Block,
    /// The one directory that it is for; all of its place where there is none.
    directory: Option<String>,
}

impl IndexRoute {
    /// As a route behind others of a place. `is_first`: there are none. `when`: what has to hold there;
    /// none where that asks for the path as well.
    pub(super) fn placed(self, place: &Location, is_first: bool, when: &Table) -> Option<Block> {
        let mut block = self.block;
        let is_own = |directory: &str| place.prefix() == Some(directory);
        let keys = match &self.directory {
            // Its only one.
            Some(_) if matches!(place, Location::Exact(_)) => match when.is_empty() {
                true => Table::new(),
                false => Table::new().with("when", when.inline()),
            },
            Some(directory) if is_first && when.is_empty() && is_own(directory) => {
                Table::new().with("path", text(&format!("= {directory}")))
            }
            directory => {
                // Directories are what is asked for with a slash at its end.
                let asked = directory.as_deref().unwrap_or("~/$");
                let uri = Table::new().with("uri", text(asked)).inline();
                if when.get("variable").is_some() {
                    return None;
                }
                let when = when.clone().with("variable", uri);
                Table::new().with("when", when.inline())
            }
        };
        block.keys = keys.followed_by(block.keys);
        Some(block)
    }
}

/// What a location says of a file.
struct Said {
    directory: Directory,
    around: Block,
    guards: Vec<String>,
}

/// An index that is another location's, which says something else of it.
struct Other {
    directory: String,
    /// The location, and whether that is of a fixed path.
    id: Option<usize>,
    is_fixed: bool,
    /// Which one of the names it is.
    number: usize,
    said: Option<Rc<Said>>,
    /// Whether only what is said `around` is another thing.
    is_harmless: bool,
}

impl Translator<'_> {
    /// Directories that a location answers, one of each kind; none where nobody knows. `led`: what is
    /// asked for there may also be any path that begins so, and not what the location was found for.
    fn directories_of(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
        led: Option<&str>,
    ) -> Option<Vec<String>> {
        let server = finding::server_of(scope);
        let id = server.directive.map(|directive| directive.id);
        let all = match self.directories.get(&id) {
            Some(known) => Rc::clone(known),
            None => {
                let all = Rc::new(super::places::directories(server.children));
                self.directories.insert(id, Rc::clone(&all));
                all
            }
        };
        let is_any = matches!(location, Location::Named(_));
        let is_led = |path: &str| led.is_some_and(|above| path.starts_with(above));
        let directories = all.as_ref().as_ref()?.iter();
        let own = directories.filter(|path| {
            is_any || is_led(path) || is_here(scope, &self.find(server.children, path))
        });
        Some(own.cloned().collect())
    }

    /// The names of a directory's index, each with a path at which another location answers by other
    /// means than with a file, if there is one.
    pub(super) fn index_names<'s>(
        &mut self,
        scope: &Scope<'s>,
        location: &Location,
        led: Option<&str>,
    ) -> Vec<(&'s str, Option<String>)> {
        let Some(index) = scope.one("index") else {
            return vec![("index.html", None)];
        };
        let directories = self.directories_of(scope, location, led);
        let directories = directories.unwrap_or_default();
        let mut names = Vec::new();
        for name in index.arguments.iter().map(String::as_str) {
            let mut paths = directories.iter().map(|path| format!("{path}{name}"));
            let other = paths.find(|path| !self.is_file(scope, path));
            names.push((name, other));
        }
        names
    }

    /// Whether a path is one of files: of this location, or of another one that answers with files.
    fn is_file(&mut self, scope: &Scope<'_>, path: &str) -> bool {
        let server = finding::server_of(scope);
        let chain = self.find(server.children, path);
        is_here(scope, &chain)
            || self.within(server, &chain, |this, scope, location| {
                this.static_directory(scope, location).is_some()
            })
    }

    /// The route for directories of a location whose index is another location's, where that says
    /// something else of it. Where that cannot be said, the location is closed, and told of.
    pub(super) fn of_index(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
        led: Option<&str>,
        block: &mut Block,
    ) -> Option<IndexRoute> {
        let directory = self
            .directory(scope, location)
            .filter(|found| !found.is_file())?;
        let names = self.index_names(scope, location, led);
        if falls_back_otherwise(scope, &names) {
            return Some(IndexRoute {
                block: super::guards::closed(scope),
                directory: None,
            });
        }
        let names = names.into_iter().take_while(|(_, other)| other.is_none());
        let names: Vec<&str> = names.map(|(name, _)| name).collect();
        let Some(directories) = self.directories_of(scope, location, led) else {
            let why = "which location answers an index cannot be told, of so many expressions: name \
                       its files by a `[[route]]`";
            self.lose_index(scope, why, block);
            return None;
        };
        self.note_rules_of_index(scope, &directories, &names);
        let own = Said {
            around: self.around_files(scope),
            guards: self.guards(scope),
            directory,
        };
        let others = self.other_indexes(scope, &own, &directories, &names);
        let first = others.first()?;
        let is_one = others
            .iter()
            .all(|other| other.id == first.id && other.number == 0);
        let is_single = first.is_fixed && others.len() == 1;
        if let (true, Some(said)) = (
            is_one && (is_single || others.len() == directories.len()),
            &first.said,
        ) {
            let asked = match own.guards == said.guards {
                true => Vec::new(),
                false => said.guards.clone(),
            };
            return Some(IndexRoute {
                block: index_route(block, said.around.clone(), asked),
                directory: is_single.then(|| first.directory.clone()),
            });
        }
        let path = |other: &Other| {
            let name = names.get(other.number).copied().unwrap_or_default();
            format!("{}{name}", other.directory)
        };
        match others.iter().find(|other| !other.is_harmless) {
            Some(other) => {
                let why = format!(
                    "the index `{}` is another location's, which keeps requests out or answers \
                     otherwise: make a route for the directory, with its `hooks`",
                    path(other)
                );
                self.lose_index(scope, &why, block);
            }
            None => {
                let what = format!(
                    "the index `{}` is sent with what is said here, not with what its location says",
                    path(first)
                );
                if let Some(directive) = scope.one("index").or(scope.directive) {
                    self.accounts.note(directive, Outcome::Changed, what);
                }
            }
        }
        None
    }

    /// Notes rules of the server that change an index and not its directory: nginx runs them for both.
    fn note_rules_of_index(&self, scope: &Scope<'_>, directories: &[String], names: &[&str]) {
        let server = finding::server_of(scope);
        let within = server.own("if").iter().flat_map(|block| block.children());
        let within = within.filter(|child| child.name == "rewrite");
        for rule in server.own("rewrite").iter().copied().chain(within) {
            let Ok(regex) = Regex::new(rule.argument(0)) else {
                continue;
            };
            let mut asked = directories.iter().filter(|path| !regex.is_match(path));
            let fits = asked.any(|path| {
                let mut names = names.iter();
                names.any(|name| regex.is_match(&format!("{path}{name}")))
            });
            if fits {
                self.accounts.changed(
                    rule,
                    "a rule of the hook `rewrite`: an index is sent as it is, where nginx runs the \
                     rules of the server for it once more",
                );
            }
        }
    }

    /// The indexes of these directories that are other locations' and not the same there.
    fn other_indexes(
        &mut self,
        scope: &Scope<'_>,
        own: &Said,
        directories: &[String],
        names: &[&str],
    ) -> Vec<Other> {
        let server = finding::server_of(scope);
        let mut known: HashMap<Option<usize>, Option<Rc<Said>>> = HashMap::new();
        let mut others = Vec::new();
        for directory in directories {
            for (number, name) in names.iter().enumerate() {
                let path = format!("{directory}{name}");
                let chain = self.find(server.children, &path);
                if is_here(scope, &chain) {
                    continue;
                }
                let last: Option<&Directive> = chain.last().copied();
                let id = last.map(|last| last.id);
                let said = match known.get(&id) {
                    Some(said) => said.clone(),
                    None => {
                        let said = self
                            .within(server, &chain, Self::said_of_files)
                            .map(Rc::new);
                        known.insert(id, said.clone());
                        said
                    }
                };
                let is_harmless = said.as_ref().is_some_and(|said| {
                    let are_asked = said.guards.is_empty() || said.guards == own.guards;
                    are_asked && said.directory.file_of(&path) == own.directory.file_of(&path)
                });
                let is_same = |said: &Rc<Said>| said.around.says_same(&own.around);
                if is_harmless && said.as_ref().is_some_and(is_same) {
                    continue;
                }
                let location = last.and_then(|last| Location::parse(&last.arguments));
                let is_fixed = !matches!(location, None | Some(Location::Regex(..)));
                // A route for directories has the files of these.
                let is_elsewhere = said.as_ref().is_some_and(|said| {
                    said.directory.file_of(&path) != own.directory.file_of(&path)
                });
                others.push(Other {
                    directory: directory.clone(),
                    id,
                    is_fixed,
                    number,
                    said: said.filter(|_| !is_elsewhere),
                    is_harmless,
                });
            }
        }
        others
    }

    /// What a location says of its files; none where it answers otherwise, or asks what cannot be
    /// asked elsewhere.
    fn said_of_files(&mut self, scope: &Scope<'_>, location: &Location) -> Option<Said> {
        let guards = self.guards_of_file(scope).ok()?;
        Some(Said {
            directory: self.static_directory(scope, location)?,
            around: self.around_files(scope),
            guards,
        })
    }

    /// Whether a condition that refuses asks for the path, and an index of the location has one for
    /// which it holds where it does not hold for the directory: nginx asks for both.
    pub(super) fn refuse_an_index(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
        gates: &[&Gate],
    ) -> bool {
        let refuses = |gate: &&&Gate| {
            let answer = gate.block.keys.get("return");
            let is_of_path = self.words.is_of_path_alone(&gate.condition.variable);
            is_of_path && !answer.is_some_and(|answer| answer.starts_with("{ status = 30"))
        };
        let asked: Vec<&&Gate> = gates.iter().filter(refuses).collect();
        if asked.is_empty() {
            return false;
        }
        if asked
            .iter()
            .any(|gate| !matches!(&*gate.condition.variable, "uri" | "document_uri"))
        {
            return true;
        }
        let Some(directories) = self.directories_of(scope, location, None) else {
            return true;
        };
        let names = self.index_names(scope, location, None);
        directories.iter().any(|directory| {
            let mut paths = names.iter().map(|(name, _)| format!("{directory}{name}"));
            paths.any(|path| {
                let mut asked = asked.iter();
                asked.any(|gate| {
                    gate.condition.holds_for(&path) && !gate.condition.holds_for(directory)
                })
            })
        })
    }

    /// What a condition that only changes what is said of the answer asks of requests, whose index is
    /// looked for as if it had been asked for; none where it cannot be said.
    pub(super) fn when_of_index(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
        condition: &Condition,
    ) -> Option<Table> {
        let is_of_path = matches!(&*condition.variable, "uri" | "document_uri");
        let serves_directories = scope.own("try_files").first().is_none_or(|directive| {
            Tries::parse(directive).is_ok_and(|tries| tries.serve_directories().0)
        });
        if !is_of_path || !serves_directories || self.static_directory(scope, location).is_none() {
            return Some(condition.when());
        }
        let server = finding::server_of(scope);
        let directories = self.directories_of(scope, location, None)?;
        let names = self.index_names(scope, location, None);
        let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        if let (Test::Equal(path), false, [first, ..]) =
            (&condition.test, condition.is_negated, names.as_slice())
            && let Some(directory) = path.strip_suffix(first).filter(|path| path.ends_with('/'))
            && is_here(scope, &self.find(server.children, path))
        {
            let uri = list([text(path), text(directory)]);
            let uri = Table::new().with("uri", uri);
            return Some(Table::new().with("variable", uri.inline()));
        }
        let is_same = directories.iter().all(|directory| {
            let holds = condition.holds_for(directory);
            let mut paths = names.iter().map(|name| format!("{directory}{name}"));
            paths.all(|path| {
                let is_asked = || is_here(scope, &self.find(server.children, &path));
                condition.holds_for(&path) == holds || !is_asked()
            })
        });
        is_same.then(|| condition.when())
    }

    /// Tells that the index of a location is lost, and closes it.
    pub(super) fn lose_index(&self, scope: &Scope<'_>, why: &str, block: &mut Block) {
        if let Some(directive) = scope.one("index").or(scope.directive) {
            self.accounts.lost(directive, why);
        }
        *block = super::guards::closed(scope);
    }
}

/// Whether a directory would get what a place falls back to, where an index is lost that is another
/// thing.
pub(super) fn falls_back_otherwise(scope: &Scope<'_>, names: &[(&str, Option<String>)]) -> bool {
    let tries = scope.own("try_files").first();
    let tries = tries.and_then(|directive| Tries::parse(directive).ok());
    let is_last = |stages: &[Stage]| stages.last().is_none_or(|stage| stage.directories);
    let goes_on = tries.as_ref().is_some_and(|tries| !is_last(&tries.stages));
    let last = tries.map(|tries| tries.last);
    let lost: Vec<&str> = names
        .iter()
        .filter(|(_, other)| other.is_some())
        .map(|(name, _)| *name)
        .collect();
    match last {
        _ if goes_on => !lost.is_empty(),
        Some(Last::Uri(path, _)) => {
            let is_it = |name: &&str| path.strip_prefix('/') == Some(*name);
            !lost.iter().all(is_it)
        }
        Some(Last::Named(_) | Last::Below(_)) => !lost.is_empty(),
        Some(Last::Status(_)) | None => false,
    }
}

/// The route of directories with another index: what is said `around` that, and what it asks besides.
fn index_route(block: &Block, mut around: Block, asked: Vec<String>) -> Block {
    let others = std::mem::take(&mut around.keys);
    around.take_from(block, "files");
    around.keys = around.keys.followed_by(others);
    let own = block.lists.iter().find(|(key, _)| *key == "hooks");
    let own = own.map(|(_, hooks)| hooks.clone()).unwrap_or_default();
    let hooks: Vec<String> = own.into_iter().chain(asked).collect();
    around.extend_list("hooks", hooks);
    around
}
