//! `X-Accel-Redirect`: what servers leave to `internal` and named locations, which nothing else in
//! the file leads to (`ngx_http_upstream_process_headers`).

use std::collections::HashSet;

use super::Translator;
use super::finding;
use super::matching::Location;
use super::scope::Scope;
use super::steps::Gate;
use super::tree::Directive;
use super::writer::{Block, Table, text};

pub(super) const FIELD: &str = "X-Accel-Redirect";

/// Whom servers may lead where.
#[derive(Default)]
pub(super) struct HandedOn {
    /// Locations that wait for servers to lead requests there.
    waiting: HashSet<usize>,
    /// Servers that have such locations, by their number.
    leading: HashSet<Option<usize>>,
}

impl HandedOn {
    pub(super) fn waits(&self, location: &Directive) -> bool {
        self.waiting.contains(&location.id)
    }
}

impl Translator<'_> {
    /// Notes the locations of a server that wait for what its servers say, and keeps the names of
    /// those that have one.
    pub(super) fn hand_on(&mut self, server: &Scope<'_>) {
        let pages = server.nearest("error_page").iter();
        let mut told: HashSet<&str> = pages.flat_map(|page| paths_of(page)).collect();
        tell(server.children, &mut told);
        let ignores = server.nearest("proxy_ignore_headers").iter();
        if !may_hand_on(server.children, ignores.copied().any(names_field)) {
            return;
        }
        let mut locations = server.own("location").to_vec();
        let mut waiting = Vec::new();
        while let Some(location) = locations.pop() {
            let mut children = location.children().iter();
            let is_internal = children.any(|child| child.name == "internal");
            let path = location.arguments.last().map_or("", String::as_str);
            let is_named = is_named(location);
            if (is_internal || is_named) && !told.contains(path) {
                waiting.push(location.id);
            }
            let children = location.children().iter();
            locations.extend(children.filter(|child| child.name == "location"));
        }
        if waiting.is_empty() {
            return;
        }
        self.accounts.general(
            "`X-Accel-Redirect` of a server is followed where `accel_redirect` says so, which is \
             written beside locations that nothing else leads to: always by a GET or HEAD without a \
             body. docs/files.md has more.",
        );
        for location in server.own("location").iter().filter(|l| is_named(l)) {
            self.named.keep(location);
        }
        self.handed_on.waiting.extend(waiting);
        let number = server.directive.map(|directive| directive.id);
        self.handed_on.leading.insert(number);
    }

    /// Whether a location's servers may say where its requests go on: none where that is not told,
    /// and nothing waits for them.
    pub(super) fn follows(&self, scope: &Scope<'_>) -> Option<bool> {
        let server = finding::server_of(scope).directive;
        let number = server.map(|directive| directive.id);
        let all = scope.nearest("proxy_ignore_headers").iter();
        let mut ignoring = all.filter(|directive| names_field(directive)).peekable();
        let follows = ignoring.peek().is_none();
        for directive in ignoring {
            let note = "no `accel_redirect` in `[[route]]`, and `remove` in `response_headers`";
            self.accounts.translated(directive, note);
        }
        (self.handed_on.leading.contains(&number) || !follows).then_some(follows)
    }

    /// The numbers of a server's locations that servers may lead to by their names.
    pub(super) fn for_names(&self, server: &Scope<'_>) -> HashSet<usize> {
        let number = server.directive.map(|directive| directive.id);
        let leads = self.handed_on.leading.contains(&number);
        let all = server.own("location").iter().filter(|_| leads);
        let named = all.filter(|location| is_named(location));
        named.map(|location| location.id).collect()
    }

    /// The route that servers lead to by the path of an `internal` location, if that waits for them.
    pub(super) fn for_servers(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
        (path, conditions): (&str, &Table),
        gates: &[Gate],
    ) -> Option<Block> {
        let directive = scope.directive.filter(|own| self.handed_on.waits(own))?;
        let internal = scope.own("internal").first()?;
        let asks = |gate: &Gate| gate.condition.variable == "uri";
        let has_nested = !scope.own("location").is_empty();
        if path == "/" || path == "^~ /" {
            let why = "a server leads by its path to no route of `/`: give it a name";
            self.accounts.lost(internal, why);
            return None;
        }
        if !conditions.is_empty() || has_nested || gates.iter().any(asks) {
            let why = "what a server leads here by `X-Accel-Redirect` cannot be told apart by \
                       conditions: write the location without others around it and within it, and \
                       without an `if` of the server that asks for the path";
            self.accounts.lost(internal, why);
            return None;
        }
        let mut block = self.elsewhere(scope, location, None);
        // Clients get the same.
        if block.refuses() == Some(Some(404)) {
            return None;
        }
        let wanted = directive.arguments.last().map_or("", String::as_str);
        let words = wanted.split(|letter: char| !letter.is_ascii_alphanumeric());
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let name = self.named.free_name(&words.join("_"));
        block.keys = Table::new()
            .with("name", text(&name))
            .with("internal", "true")
            .with("path", text(path))
            .followed_by(block.keys);
        Some(block)
    }
}

fn is_named(location: &Directive) -> bool {
    let parsed = Location::parse(&location.arguments);
    matches!(parsed, Some(Location::Named(_)))
}

fn names_field(ignored: &Directive) -> bool {
    let mut names = ignored.arguments.iter();
    names.any(|name| name.eq_ignore_ascii_case(FIELD))
}

/// The words of a directive that may be paths, without their queries.
fn paths_of(directive: &Directive) -> impl Iterator<Item = &str> {
    let words = directive.arguments.iter();
    words.filter_map(|word| word.split('?').next())
}

/// Collects what directives tell of locations, by their path or name.
fn tell<'s>(directives: &'s [Directive], told: &mut HashSet<&'s str>) {
    for directive in directives {
        if directive.name != "location" {
            told.extend(paths_of(directive));
        }
        tell(directive.children(), told);
    }
}

/// Whether there is a server that is asked and whose word counts. `is_ignored`: that of those around.
fn may_hand_on(directives: &[Directive], is_ignored: bool) -> bool {
    let own = directives.iter();
    let mut own = own
        .filter(|child| child.name == "proxy_ignore_headers")
        .peekable();
    let is_ignored = match own.peek() {
        Some(_) => own.any(names_field),
        None => is_ignored,
    };
    let mut all = directives.iter();
    all.any(|child| {
        let counts = child.name == "proxy_pass" && !is_ignored;
        counts || may_hand_on(child.children(), is_ignored)
    })
}
