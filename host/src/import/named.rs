//! Routes that nothing but a name leads to: what files fall back to, and what answers in place of an
//! error.

use std::collections::{HashMap, HashSet};

use super::Translator;
use super::conditions::Condition;
use super::files::Uri;
use super::finding;
use super::guards::closed;
use super::matching::Location;
use super::report::Outcome;
use super::rewriting::{self, fixed_path};
use super::scope::Scope;
use super::tree::Directive;
use super::variables::names_in;
use super::writer::{Block, Table, text};

/// The longest name of a route.
const LONGEST: usize = 64;

/// The routes with names that have been needed so far.
#[derive(Default)]
pub(super) struct Named {
    /// Names, in all of the file.
    taken: HashSet<String>,
    /// Those that servers say, by the number of the location.
    kept: HashMap<usize, String>,
    /// Those of routes with a path.
    written: HashSet<String>,
    /// Of the server at hand: names by the location's number and the path that it is asked for.
    known: HashMap<(Option<usize>, String), String>,
    /// Locations of the server at hand that something leads to.
    reached: HashSet<usize>,
    /// Places of which it is looked what they tell: their own errors may lead back to them.
    pub(super) looked_at: HashSet<Option<usize>>,
    /// Of the server at hand: routes for what is tried behind other files, as they were asked for.
    stages: Vec<(String, Block)>,
    blocks: Vec<Block>,
}

impl Named {
    /// Notes that something leads to a location.
    pub(super) fn reach(&mut self, chain: &[&Directive]) {
        self.reached.extend(chain.last().map(|found| found.id));
    }

    /// Takes the pages of errors from a route that is such a page.
    pub(super) fn without_pages(&mut self, name: &str) {
        let name = text(name);
        let mut blocks = self.blocks.iter_mut();
        if let Some(block) = blocks.find(|block| block.keys.get("name") == Some(&name)) {
            block.tables.retain(|(key, _)| *key != "error_pages");
            block.keys.remove("intercept_errors");
        }
    }

    /// Whether a route leads on to another one where it has no file.
    pub(super) fn goes_on(&self, name: &str) -> bool {
        let name = text(name);
        let mut blocks = self.blocks.iter();
        let block = blocks.find(|block| block.keys.get("name") == Some(&name));
        let files = block.and_then(|block| block.get("files"));
        files.is_some_and(|files| files.contains("fallback = \"@"))
    }

    /// Whether a route redirects.
    pub(super) fn redirects(&self, name: &str) -> bool {
        let name = text(name);
        let mut blocks = self.blocks.iter();
        let block = blocks.find(|block| block.keys.get("name") == Some(&name));
        let answer = block.and_then(|block| block.keys.get("return"));
        answer.is_some_and(|answer| answer.contains("location = "))
    }

    /// The name of a route that says this, like the one wanted where there is none yet.
    pub(super) fn route(&mut self, wanted: &str, mut block: Block) -> String {
        let known = self
            .stages
            .iter()
            .find(|(_, known)| known.says_same(&block));
        if let Some((name, _)) = known {
            return name.clone();
        }
        let name = self.free_name(wanted);
        self.stages.push((name.clone(), block.clone()));
        block.keys = Table::new()
            .with("name", text(&name))
            .with("internal", "true")
            .followed_by(block.keys);
        self.blocks.push(block);
        name
    }

    /// Keeps the name of a location, as servers say it, where a route can have it.
    pub(super) fn keep(&mut self, location: &Directive) {
        let name = location.argument(0).trim_start_matches('@');
        let is_name = !name.is_empty() && name.len() <= LONGEST && name.chars().all(is_allowed);
        if is_name && self.taken.insert(name.to_owned()) {
            self.kept.insert(location.id, name.to_owned());
        }
    }

    /// Gives names of their own to routes that have been written before, for other hosts.
    pub(super) fn rename_repeated(&mut self, routes: &mut [Block]) {
        for route in routes {
            let Some(name) = route.keys.get("name").map(|name| name.trim_matches('"')) else {
                continue;
            };
            if !self.written.insert(name.to_owned()) {
                let free = self.free_name(name);
                self.written.insert(free.clone());
                route.keys.set("name", text(&free));
            }
        }
    }

    /// A name that is not taken, like the one wanted.
    pub(super) fn free_name(&mut self, wanted: &str) -> String {
        let wanted = wanted.trim_start_matches(['@', '/']).to_ascii_lowercase();
        let wanted = match wanted.rsplit_once('.') {
            Some((stem, _)) if !stem.is_empty() => stem,
            _ => &wanted,
        };
        let clean = wanted.chars();
        let clean = clean.map(|c| if is_allowed(c) { c } else { '_' });
        let mut clean: String = clean.take(LONGEST - 8).collect();
        if clean.is_empty() {
            clean.push_str("fallback");
        }
        let mut free = clean.clone();
        let mut number = 2;
        while !self.taken.insert(free.clone()) {
            free = format!("{clean}_{number}");
            number += 1;
        }
        free
    }
}

impl Translator<'_> {
    /// The name of the route for a path at a location, which becomes a route if it is not yet; `chain`
    /// as [`Translator::find`] has it. Without a path the request is asked for what it asks.
    pub(super) fn lead_to(
        &mut self,
        scope: &Scope<'_>,
        chain: &[&Directive],
        uri: Option<&Uri>,
    ) -> String {
        self.named.reach(chain);
        let innermost = chain.last().copied();
        let place = uri.map(Uri::whole).unwrap_or_default();
        let key = (innermost.map(|found| found.id), place);
        if let Some(name) = self.named.known.get(&key) {
            return name.clone();
        }
        let wanted = match (uri, innermost) {
            (Some(uri), _) => uri.path.clone(),
            (None, Some(found)) => found.argument(0).to_owned(),
            (None, None) => String::new(),
        };
        let kept = innermost.filter(|_| uri.is_none());
        let kept = kept.and_then(|found| self.named.kept.get(&found.id).cloned());
        let name = kept.unwrap_or_else(|| self.named.free_name(&wanted));
        // What it leads to may lead back to it.
        self.named.known.insert(key, name.clone());
        let server = finding::server_of(scope);
        // It has no host either, so no groups of one.
        let has_hosts = std::mem::replace(&mut self.words.around.has_hosts, false);
        let mut block = self.within(server, chain, |this, scope, location| {
            this.elsewhere(scope, location, uri)
        });
        self.words.around.has_hosts = has_hosts;
        block.keys = Table::new()
            .with("name", text(&name))
            .with("internal", "true")
            .followed_by(block.keys);
        if let Some(found) = innermost {
            // Where it has a path, these stand there.
            if uri.is_none() {
                block
                    .comments
                    .splice(0..0, super::comments::of_block(found));
            }
            block.range = Some((found.id, found.last));
            let led = format!("`[[route]]` with `name = \"{name}\"`");
            let is_said = uri.is_none() && found.argument(0).strip_prefix('@') != Some(&name);
            match is_said && self.follows(scope).is_some() {
                true => {
                    let said = found.argument(0);
                    let how = format!(
                        "{led}: a server whose `X-Accel-Redirect` is `{said}` has to say `@{name}`"
                    );
                    self.accounts.changed(found, how);
                }
                false => self.accounts.translated(found, led),
            }
            for internal in found.children().iter().filter(|c| c.name == "internal") {
                self.accounts.translated(internal, "`internal = true`");
            }
        }
        self.named.blocks.push(block);
        name
    }

    /// What a location answers that something leads to.
    pub(super) fn elsewhere(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
        uri: Option<&Uri>,
    ) -> Block {
        // nginx asks for a page without the query of the request.
        let has_query = uri.is_none_or(|uri| uri.is_above || !uri.query.is_empty());
        let never_holds = |block: &Directive| {
            let condition = Condition::parse(&block.arguments);
            !has_query
                && condition.is_ok_and(|condition| {
                    let of_query = condition.variable.starts_with("arg_")
                        || matches!(&*condition.variable, "args" | "query_string" | "is_args");
                    of_query && !condition.holds_for("")
                })
        };
        let fixed = uri.filter(|uri| !uri.is_above);
        let is_decided = |block: &Directive| fixed.is_some() && asks_for_path(block).is_some();
        let mut conditions = scope.own("if").iter().filter(|block| !is_decided(block));
        let none_holds = conditions.all(|block| never_holds(block));
        for name in ["if", "limit_except"] {
            let may_hold =
                |block: &&&Directive| name != "if" || !(never_holds(block) || is_decided(block));
            for condition in scope.own(name).iter().filter(may_hold) {
                let why = "a route that a name leads to has no conditions";
                self.accounts.lost(condition, why);
                self.accounts.with_children(condition);
            }
        }
        let at_server = scope.directive.is_none_or(|block| block.name == "server");
        // Those of a server have been run.
        let mut steps = match at_server {
            true => super::steps::Steps::default(),
            false => self.steps(scope, Some(location)),
        };
        let all_never_hold = scope.own("if").iter().all(|block| never_holds(block));
        if all_never_hold && !at_server {
            steps.rules.retain(|rule| !rule.is_of_condition());
        }
        // A condition that is lost may have kept requests out.
        let asks = !steps.gates.is_empty() || !steps.variants.is_empty();
        let has_conditions = asks && !none_holds;
        let is_limited = !at_server && !scope.own("limit_except").is_empty();
        if steps.is_closed || has_conditions || is_limited {
            return closed(scope);
        }
        if let Some(mut answer) = steps.answer {
            if let Some(uri) = uri.filter(|uri| !uri.is_above && self.depends_on_uri(&answer, "")) {
                answer.put_first("hooks", rewriting::hook(&[uri.rule()]));
            }
            return answer;
        }
        let Some(uri) = uri.filter(|uri| !uri.is_above) else {
            return self.action_for(scope, location, &steps.rules, uri);
        };
        if let Some(path) = fixed_path(&steps.rules) {
            let uri = Uri {
                path: path.to_owned(),
                ..uri.clone()
            };
            return self.asked_anew(scope, location, &uri);
        }
        // They are matched against the request's path here, and against this one in nginx.
        if steps.rules.iter().any(|rule| rule.may_fit(&uri.path)) {
            let within = scope.own("if").iter().flat_map(|block| block.children());
            let within = within.filter(|child| child.name == "rewrite");
            for rule in scope.own("rewrite").iter().copied().chain(within) {
                let why =
                    "a rule of a place that another path leads to: lead there by the rule's result";
                self.accounts.lost(rule, why);
            }
            return closed(scope);
        }
        // Of several `if`s that hold, the last one counts.
        let mut blocks = scope.own("if").iter().rev();
        let holds = |block: &&&Directive| {
            let condition = asks_for_path(block);
            condition.is_some_and(|condition| condition.holds_for(&uri.path))
        };
        match blocks.find(holds) {
            Some(block) => self.asked_anew(&scope.within(block), location, uri),
            None => self.asked_anew(scope, location, uri),
        }
    }

    /// What a location does that is asked for a path. The hook `rewrite` gives the request this path
    /// and its query where something depends on them, as nginx does (`ngx_http_internal_redirect`).
    fn asked_anew(&mut self, scope: &Scope<'_>, location: &Location, uri: &Uri) -> Block {
        let block = self.action_for(scope, location, &[], Some(uri));
        let has_own_query = !uri.query.contains('$') && block.get("proxy").is_some();
        if !has_own_query && !self.depends_on_uri(&block, &uri.query) {
            return block;
        }
        // The query is that of the request by then.
        let whole = Uri {
            query: String::new(),
            ..uri.clone()
        };
        let mut block = self.action_for(scope, location, &[], Some(&whole));
        block.put_first("hooks", rewriting::hook(&[uri.rule()]));
        block
    }

    /// Whether something of a route depends on the path or the query of the request. `query`: what the
    /// URI of its `proxy` has at its end, which is all of it.
    pub(super) fn depends_on_uri(&self, block: &Block, query: &str) -> bool {
        let query = match query.is_empty() {
            true => "$is_args$args",
            false => query,
        };
        let mut written = String::new();
        block.render(&[], &mut written);
        let is_passed_on = block.get("proxy").is_some();
        let written = written.replacen(query, "", usize::from(is_passed_on));
        names_in(&written).any(|name| self.words.is_of_path(name))
    }

    /// The routes with names that the server at hand has needed, and what is left of locations that
    /// nothing leads to.
    pub(super) fn named_routes(&mut self, server: &Scope<'_>) -> Vec<Block> {
        let waiting = server.own("location").iter();
        for location in waiting.filter(|location| location.argument(0).starts_with('@')) {
            if self.handed_on.waits(location) {
                self.lead_to(server, &[location], None);
            }
        }
        let asked = asked_for_leave(server.children);
        let mut locations: Vec<&Directive> = server.own("location").to_vec();
        while let Some(location) = locations.pop() {
            let children = location.children();
            locations.extend(children.iter().filter(|child| child.name == "location"));
            let is_named = matches!(
                Location::parse(&location.arguments),
                Some(Location::Named(_))
            );
            if self.named.reached.contains(&location.id) {
                continue;
            }
            if is_named {
                self.accounts.harmless(location, "nothing leads there");
                self.accounts.with_children(location);
            }
            let is_internal = |child: &&Directive| child.name == "internal";
            let waits = self.handed_on.waits(location);
            for internal in children.iter().filter(is_internal).filter(|_| !waits) {
                let (outcome, note) = match location {
                    _ if asked
                        .iter()
                        .any(|path| location.arguments.last() == Some(path)) =>
                    {
                        (
                            Outcome::Harmless,
                            "a 404: nothing leads there but `auth_request` or `mirror`, of which the report tells",
                        )
                    }
                    _ => (
                        Outcome::Changed,
                        "a 404: nothing that is said here leads there",
                    ),
                };
                self.accounts.note(internal, outcome, note);
            }
        }
        self.named.known.clear();
        self.named.stages.clear();
        self.named.reached.clear();
        std::mem::take(&mut self.named.blocks)
    }
}

fn is_allowed(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '_')
}

/// Those routes with names that others lead to: what is written in their place when they are closed
/// leads nowhere. `by_servers`: numbers of the locations that servers lead to by their names.
pub(super) fn led_to<'b>(
    named: Vec<Block>,
    by_servers: &HashSet<usize>,
    from: impl Iterator<Item = &'b Block>,
) -> Vec<Block> {
    let name_of = |block: &Block| block.keys.get("name").unwrap_or_default().to_owned();
    let by_name: HashMap<String, usize> = (named.iter().enumerate())
        .map(|(number, block)| (name_of(block).trim_matches('"').to_owned(), number))
        .collect();
    let is_of_servers = |block: &Block| {
        let location = block.range.map(|(location, _)| location);
        location.is_some_and(|location| by_servers.contains(&location))
    };
    let of_servers = named.iter().enumerate();
    let of_servers = of_servers.filter(|(_, block)| is_of_servers(block));
    let mut of_servers: Vec<usize> = of_servers.map(|(number, _)| number).collect();
    let mut are_found = vec![false; named.len()];
    let mut found = Vec::new();
    let mut look = |block: &Block, found: &mut Vec<usize>| {
        let hands_on = block.keys.get("accel_redirect").is_some();
        let of_servers = hands_on.then(|| std::mem::take(&mut of_servers));
        let names = block.names_of_routes();
        let by_name = names.filter_map(|name| by_name.get(&name).copied());
        for number in by_name.chain(of_servers.into_iter().flatten()) {
            let flag = are_found.get_mut(number);
            if let Some(flag) = flag
                && !std::mem::replace(flag, true)
            {
                found.push(number);
            }
        }
    };
    from.for_each(|block| look(block, &mut found));
    while let Some(block) = found.pop().and_then(|number| named.get(number)) {
        look(block, &mut found);
    }
    let are_found = are_found.into_iter();
    let all = named.into_iter().zip(are_found);
    all.filter_map(|(block, is_found)| is_found.then_some(block))
        .collect()
}

/// The condition of an `if` that asks for the path alone, and only changes what is said of the answer.
pub(super) fn asks_for_path(block: &Directive) -> Option<Condition> {
    let condition = Condition::parse(&block.arguments).ok()?;
    let is_of_path = matches!(&*condition.variable, "uri" | "document_uri");
    let mut children = block.children().iter();
    let decides = |child: &Directive| {
        matches!(&*child.name, "return" | "rewrite" | "set" | "break") || child.block.is_some()
    };
    (is_of_path && !children.any(decides)).then_some(condition)
}

/// The paths that an `auth_request` asks, or a `mirror`.
fn asked_for_leave(directives: &[Directive]) -> Vec<String> {
    let mut paths = Vec::new();
    for directive in directives {
        if matches!(&*directive.name, "auth_request" | "mirror") {
            let path = directive.argument(0).split('?').next();
            paths.extend(path.map(str::to_owned));
        }
        paths.extend(asked_for_leave(directive.children()));
    }
    paths
}
