//! Files: the route of a location that answers with what is in a directory
//! (`ngx_http_static_module.c`, `ngx_http_index_module.c`).
//!
//! nginx looks for what `try_files` ends with as if it had been asked for: the location of that name
//! may say other things of it. Then it gets a route of its own.

use super::Translator;
use super::action::rewrite_hook;
use super::directory::Directory;
use super::finding;
use super::guards::{self, closed};
use super::headers::CONTENT_TYPE;
use super::index::falls_back_otherwise;
use super::matching::Location;
use super::named::asks_for_path;
use super::rewriting::{self, Rule};
use super::scope::Scope;
use super::tree::Directive;
use super::try_files::{Last, Tries};
use super::writer::{Block, Table, text, texts};
use crate::http::variable::Phase;

/// Why a fixed path that ends in a slash is lost.
const ASKS_FOR_DIRECTORY: &str =
    "it asks for a directory, whose index is looked for once more: name the file";

/// A place with files.
struct Site<'s, 't> {
    scope: &'s Scope<'t>,
    location: &'s Location,
    rules: &'s [Rule],
    directory: &'s Directory,
    tries: &'s Tries,
}

/// What is asked for in place of what the client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Uri {
    pub(super) path: String,
    /// With its `?`, or with variables that bring one; may be empty.
    pub(super) query: String,
    /// Whether the request's own path and query follow the path.
    pub(super) is_above: bool,
}

impl Uri {
    /// The rule that makes it of any other one.
    pub(super) fn rule(&self) -> Rule {
        let query = match &*self.query {
            // What a request has stays behind a path.
            "$is_args$args" => "",
            "" => "?",
            query => &format!("{query}?"),
        };
        Rule {
            from: "^".to_owned(),
            to: format!("{}{query}", self.path),
            flag: "break".to_owned(),
            when: None,
            not_hosts: Vec::new(),
            behind: None,
        }
    }

    pub(super) fn whole(&self) -> String {
        let rest = if self.is_above { "$request_uri" } else { "" };
        format!("{}{}{rest}", self.path, self.query)
    }
}

impl Translator<'_> {
    /// The route of a location that answers with files; none where it has no directory. `uri`: what
    /// is asked for in place of the request's path.
    pub(super) fn files(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
        rules: &[Rule],
        uri: Option<&Uri>,
    ) -> Option<Block> {
        let directory = self.directory(scope, location)?;
        let accounts = self.accounts;
        let mut tries = Tries::by_default();
        if let Some(directive) = scope.own("try_files").first() {
            match Tries::parse(directive) {
                Ok(parsed) => {
                    tries = parsed;
                    accounts.translated(directive, "`files` in `[[route]]`");
                }
                // What it would have kept from being sent as a file is not known.
                Err(why) => {
                    accounts.lost(directive, why);
                    return Some(closed(scope));
                }
            }
        }
        if let Last::Uri(path, _) = &tries.last
            && guards::is_answered_anew(finding::server_of(scope), path)
        {
            for directive in scope.own("try_files") {
                accounts.lost(directive, guards::ANSWERED_ANEW);
            }
            return Some(closed(scope));
        }
        if let Last::Below(above) = &tries.last
            && let Err(why) = self.lead_below(scope, above)
        {
            for directive in scope.own("try_files") {
                accounts.lost(directive, why);
            }
            return Some(closed(scope));
        }
        let mut block = self.around_files(scope);
        let says_path = |header: &&&Directive| {
            let value = header.argument(1);
            value.contains("$uri") || value.contains("$document_uri")
        };
        for header in scope.nearest("add_header").iter().filter(says_path) {
            accounts.changed(
                header,
                "`$uri` is the path that was asked for, where nginx has that of the file that it found: \
                 an index, or one of `try_files`",
            );
        }
        let fixed_by_rule = rewriting::fixed_path(rules);
        if let Some(directive) = directory_asked(scope, fixed_by_rule, &tries, uri) {
            accounts.lost(directive, ASKS_FOR_DIRECTORY);
            return Some(closed(scope));
        }
        if let Some(path) = fixed_by_rule.or(uri.map(|uri| uri.path.as_str())) {
            tries = tries.asked_for(path);
        }
        if let Some(directive) = nameless(scope, &directory, &tries) {
            accounts.lost(directive, ASKS_FOR_DIRECTORY);
            return Some(closed(scope));
        }
        let mut behind = tries.stages.iter().skip(1);
        if behind.any(|stage| stage.fixed.is_none()) && !directory.has_whole_path() {
            for directive in scope.own("try_files") {
                accounts.lost(
                    directive,
                    "behind other files, those of an `alias` are not tried: make it a `root`",
                );
            }
            return Some(closed(scope));
        }
        if tries.is_reordered {
            for directive in scope.own("try_files") {
                accounts.changed(
                    directive,
                    "`files` in `[[route]]`: a file whose name is the path comes before those with \
                     suffixes",
                );
            }
        }
        let site = Site {
            scope,
            location,
            rules,
            directory: &directory,
            tries: &tries,
        };
        let (table, has_page) = self.stage(&site, 0, &block);
        if has_page {
            block.drop_page(404);
        }
        let hooks = match fixed_by_rule {
            Some(_) => None,
            None => rewrite_hook(rules),
        };
        let hooks: Vec<String> = hooks.into_iter().chain(self.guards(scope)).collect();
        block.extend_list("hooks", hooks);
        let around = std::mem::take(&mut block.keys);
        block.set_table("files", "root", table);
        block.keys = block.keys.followed_by(around);
        Some(block)
    }

    /// `files` of one stage of what is tried, which falls back to the next one. Returns whether it
    /// falls back to what an `error_page` says.
    fn stage(&mut self, site: &Site<'_, '_>, number: usize, settings: &Block) -> (Table, bool) {
        let (scope, location) = (site.scope, site.location);
        let mut table = Table::new();
        let mut last = site.tries.last.clone();
        let Some(stage) = site.tries.stages.get(number) else {
            return (table, false);
        };
        match &stage.fixed {
            Some(path) => {
                let file = site.directory.file_of(path);
                let (root, name) = site.directory.split(&file);
                table.set("root", text(root));
                table.set("file", text(name));
            }
            None if site.directory.write(location, number > 0, &mut table) => {}
            None => {
                // What rules make of an exact path has more than a name.
                let is_rewritten = matches!(location, Location::Exact(_)) && !site.rules.is_empty();
                if number == 0
                    && site.directory.has_whole_path()
                    && (is_rewritten || super::nesting::is_written_as_prefix(scope, location))
                {
                    table.set("strip_prefix", "false");
                }
                let led = rewriting::led_below(site.rules);
                // Those that are led away look for no index here.
                let directories = stage.directories && !rewriting::lead_away(site.rules, location);
                let suffixes = (directories, stage.suffixes.as_slice());
                self.by_path(scope, location, (suffixes, led), &mut table);
                let names = self.index_names(scope, location, led);
                if directories && falls_back_otherwise(scope, &names) {
                    let why = "directories would get its last path, as their index is lost";
                    for directive in scope.own("try_files") {
                        self.accounts.lost(directive, why);
                    }
                    last = Last::Status(404);
                }
            }
        }
        let has_page = match number + 1 < site.tries.stages.len() {
            true => {
                let name = self.next_stage(site, number + 1, settings);
                table.set("fallback", text(&format!("@{name}")));
                false
            }
            false => self.fallback(scope, site.directory, &last, (settings, &mut table)),
        };
        self.of_each_file(scope, location, &mut table);
        (table, has_page)
    }

    /// The name of the route for a stage behind the first. Who gets there has passed the guards of the
    /// place, and has the path that its rules have made.
    fn next_stage(&mut self, site: &Site<'_, '_>, number: usize, settings: &Block) -> String {
        let (table, has_page) = self.stage(site, number, settings);
        let mut block = settings.clone();
        if has_page {
            block.drop_page(404);
        }
        let around = std::mem::take(&mut block.keys);
        block.set_table("files", "root", table);
        block.keys = block.keys.followed_by(around);
        let stage = site.tries.stages.get(number);
        let fixed = stage.and_then(|stage| stage.fixed.as_deref());
        self.named.route(fixed.unwrap_or("others"), block)
    }

    /// What a location says of the answers that are files, without the files.
    pub(super) fn around_files(&mut self, scope: &Scope<'_>) -> Block {
        let mut block = Block::new("[[route]]");
        let (mut headers, content_type) = self.response_headers(scope, Phase::Return, None);
        if let Some(content_type) = content_type {
            headers.set.set(CONTENT_TYPE, text(&content_type));
        }
        self.around_answer(scope, &mut block, headers, None);
        block
    }

    /// Which files a path stands for.
    fn by_path(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
        ((directories, suffixes), led): ((bool, &[String]), Option<&str>),
        table: &mut Table,
    ) {
        let accounts = self.accounts;
        let index = match directories {
            true => self.index(scope, location, led),
            false => Vec::new(),
        };
        let is_listed = directories && scope.is_on("autoindex");
        if index != ["index.html"] {
            let value = match index.is_empty() {
                true => "[]".to_owned(),
                false => texts(&index),
            };
            table.set("index", value);
        }
        if !suffixes.is_empty() {
            let suffixes = suffixes.iter().map(|suffix| text(suffix));
            table.set("suffixes", super::writer::list(suffixes));
        }
        if !is_listed {
            return;
        }
        let directives = scope.nearest("autoindex");
        let format = scope.one("autoindex_format");
        let value = match format.map_or("html", |format| format.argument(0)) {
            "html" => "true",
            "json" => "\"json\"",
            _ => {
                if let Some(format) = format {
                    accounts.lost(format, "a listing is HTML or JSON");
                }
                "true"
            }
        };
        // An index that is lost would have been sent instead.
        let is_lost = |index: &Directive| self.is_lost(index);
        if !scope.one("index").is_some_and(is_lost) {
            table.set("autoindex", value);
        }
        for directive in directives {
            accounts.changed(
                directive,
                "`autoindex` in `files`: the listing has Waypost's own looks",
            );
        }
        if let Some(format) = format {
            accounts.translated(format, "`autoindex` in `files`");
        }
        for name in ["autoindex_exact_size", "autoindex_localtime"] {
            for directive in scope.nearest(name) {
                accounts.changed(directive, "the listing has Waypost's own looks");
            }
        }
    }

    /// The names of a directory's index, without those that another location answers by other means.
    fn index(&mut self, scope: &Scope<'_>, location: &Location, led: Option<&str>) -> Vec<String> {
        let accounts = self.accounts;
        let Some(directive) = scope.one("index") else {
            return vec!["index.html".to_owned()];
        };
        let mut names = Vec::new();
        accounts.translated(directive, "`index` in `files`");
        let mut is_any_lost = false;
        for (name, other) in self.index_names(scope, location, led) {
            let why = match other {
                _ if name.contains('$') || name.starts_with('/') => {
                    format!("`{name}`: an index is a name in the directory that was asked for")
                }
                // What comes behind one that is lost is sent where that is not there alone.
                None if is_any_lost => continue,
                None => {
                    names.push(name.to_owned());
                    continue;
                }
                Some(other) => format!(
                    "`{name}` is answered by another location: make a route for the directory, \
                     `path = \"= {}\"`",
                    other.strip_suffix(name).unwrap_or(&other)
                ),
            };
            accounts.lost(directive, why);
            is_any_lost = true;
        }
        names
    }

    /// What is served where there is no file. Returns whether it is what an `error_page` says.
    fn fallback(
        &mut self,
        scope: &Scope<'_>,
        directory: &Directory,
        last: &Last,
        (settings, table): (&Block, &mut Table),
    ) -> bool {
        let server = finding::server_of(scope);
        match last {
            Last::Status(404) => {
                if let Some(file) = self.page_as_fallback(scope, directory, settings) {
                    table.set("fallback", text(&file));
                    return true;
                }
            }
            Last::Status(status) => table.set("fallback", status.to_string()),
            Last::Named(name) => match finding::named(server.children, name) {
                Some(named) => {
                    let name = self.lead_to(scope, &[named], None);
                    table.set("fallback", text(&format!("@{name}")));
                }
                None => {
                    for directive in scope.own("try_files") {
                        let why = format!("there is no `location {name}`");
                        self.accounts.lost(directive, why);
                    }
                }
            },
            Last::Uri(path, query) => {
                let chain = self.find(server.children, path);
                // The query is another one there.
                let is_of_query = self.depends_on_uri(settings, "");
                let here = match is_of_query {
                    true => None,
                    false => self.file_here(scope, directory, settings, path),
                };
                if let Some(file) = here {
                    self.named.reach(&chain);
                    table.set("fallback", text(&file));
                    return false;
                }
                let query = self.words.inline(query, &scope.constants);
                let query = query.unwrap_or_else(|why| {
                    for directive in scope.own("try_files") {
                        self.accounts.lost(directive, why.clone());
                    }
                    String::new()
                });
                let uri = Uri {
                    path: path.clone(),
                    query,
                    is_above: false,
                };
                let name = self.lead_to(scope, &chain, Some(&uri));
                table.set("fallback", text(&format!("@{name}")));
            }
            Last::Below(above) => {
                // Without one, the place is closed before.
                if let Ok(name) = self.lead_below(scope, above) {
                    for directive in scope.own("try_files") {
                        self.accounts.changed(
                            directive,
                            "`fallback` in `files`: what is escaped in the path stays so, where nginx \
                             escapes it once more",
                        );
                    }
                    table.set("fallback", text(&format!("@{name}")));
                }
            }
        }
        false
    }

    /// The name of the route for the request's path below another one, where one location answers
    /// all of those paths, by a server.
    fn lead_below(&mut self, scope: &Scope<'_>, above: &str) -> Result<String, &'static str> {
        const UNCLEAR: &str = "which location answers depends on the request's path: make a `location \
                               @NAME` of what it leads to";
        let server = finding::server_of(scope);
        let chain = finding::find_below(server.children, above).ok_or(UNCLEAR)?;
        let passes = |found: &Directive| {
            let mut children = found.children().iter();
            children.any(|child| child.name == "proxy_pass")
        };
        if !chain.last().is_some_and(|found| passes(found)) {
            return Err(UNCLEAR);
        }
        let uri = Uri {
            path: above.to_owned(),
            query: String::new(),
            is_above: true,
        };
        Ok(self.lead_to(scope, &chain, Some(&uri)))
    }

    /// The file of a path as a `fallback` of this place, where the location of that path says the same
    /// of files.
    pub(super) fn file_here(
        &mut self,
        scope: &Scope<'_>,
        directory: &Directory,
        settings: &Block,
        path: &str,
    ) -> Option<String> {
        if path.ends_with('/') {
            return None;
        }
        let server = finding::server_of(scope);
        let chain = self.find(server.children, path);
        let children = chain
            .last()
            .map_or(server.children, |found| found.children());
        let mut tries = children.iter().filter(|child| child.name == "try_files");
        if !tries.all(|directive| Tries::parse(directive).is_ok_and(|tries| tries.are_only(path))) {
            return None;
        }
        if is_here(scope, &chain) {
            // Its conditions are asked again for that path.
            let mut blocks = scope.own("if").iter();
            let is_another = blocks.any(|block| {
                let condition = asks_for_path(block);
                condition.is_some_and(|condition| condition.holds_for(path))
            });
            return match is_another {
                true => None,
                false => directory.below(&directory.file_of(path)),
            };
        }
        let there = self.within(server, &chain, |this, scope, location| {
            let directory = this.static_directory(scope, location)?;
            let around = this.around_files(scope);
            Some((directory, around, this.guards_of_file(scope)))
        });
        let (other, around, Ok(guards)) = there? else {
            return None;
        };
        let are_asked = guards.is_empty() || self.guards_of_file(scope) == Ok(guards);
        (are_asked && around.says_same(settings)).then(|| directory.below(&other.file_of(path)))?
    }

    /// What a location asks of requests for its files; an error where that cannot be said of a request
    /// that something else leads there.
    pub(super) fn guards_of_file(&mut self, scope: &Scope<'_>) -> Result<Vec<String>, ()> {
        let decides = |child: &Directive| matches!(&*child.name, "if" | "limit_except");
        let has_rules = |child: &Directive| child.name == "rewrite";
        let mut children = scope.children.iter();
        let is_location = scope
            .directive
            .is_some_and(|directive| directive.name == "location");
        let is_unclear = is_location && children.any(|child| decides(child) || has_rules(child));
        let guards = self.guards(scope);
        match is_unclear || self.denies_all(scope) || self.is_guard_lost(scope) {
            true => Err(()),
            false => Ok(guards),
        }
    }

    /// The directory of a location that answers with files.
    pub(super) fn static_directory(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
    ) -> Option<Directory> {
        let answers = |child: &Directive| {
            super::action::is_handler(&child.name)
                || child.name == "return"
                || (child.name == "rewrite"
                    && matches!(child.argument(2), "redirect" | "permanent"))
        };
        match scope.children.iter().any(answers) || self.denies_all(scope) {
            true => None,
            false => self.directory(scope, location),
        }
    }
}

/// What a place is where all of a fixed path is taken away by an `alias`.
fn nameless<'s>(scope: &Scope<'s>, directory: &Directory, tries: &Tries) -> Option<&'s Directive> {
    let mut fixed = tries
        .stages
        .iter()
        .filter_map(|stage| stage.fixed.as_deref());
    let is_nameless = fixed.any(|path| directory.file_of(path).ends_with('/'));
    is_nameless.then_some(scope.directive).flatten()
}

/// What asks for a directory in place of the path, where something does.
fn directory_asked<'s>(
    scope: &Scope<'s>,
    by_rule: Option<&str>,
    tries: &Tries,
    uri: Option<&Uri>,
) -> Option<&'s Directive> {
    let is_directory = |path: Option<&str>| path.is_some_and(|path| path.ends_with('/'));
    let asks = |name| scope.own(name).first().copied().or(scope.directive);
    if is_directory(by_rule) {
        return asks("rewrite");
    }
    let is_asked = by_rule.is_none()
        && tries.stages.iter().any(|stage| stage.fixed.is_none())
        && is_directory(uri.map(|uri| uri.path.as_str()));
    is_asked.then(|| asks("try_files")).flatten()
}

/// Whether a context is that of the innermost of these locations.
pub(super) fn is_here(scope: &Scope<'_>, chain: &[&Directive]) -> bool {
    let mut here = Some(scope);
    while let Some(scope) = here {
        match scope.directive {
            Some(block) if matches!(&*block.name, "if" | "limit_except") => here = scope.outer(),
            Some(block) if block.name == "location" => {
                return chain.last().is_some_and(|found| found.id == block.id);
            }
            _ => return chain.is_empty(),
        }
    }
    chain.is_empty()
}
