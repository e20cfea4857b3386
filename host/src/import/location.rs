//! `location`: one or more routes of a path.

use super::Translator;
use super::conditions::check_regex;
use super::report::Outcome;
use super::rewriting::{self, Gate, Rule};
use super::scope::Scope;
use super::tree::Directive;
use super::writer::{Block, Table, list, text};
use crate::http::variable::Phase;

/// What a location matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    Exact(String),
    Prefix(String),
    /// Before any regular expression.
    PrefixNoRegex(String),
    /// Whether case counts, and the expression.
    Regex(bool, String),
    Named(String),
}

impl Location {
    /// Reads the words behind `location` (`ngx_http_core_location`).
    fn parse(arguments: &[String]) -> Option<Location> {
        let (modifier, path) = match arguments {
            [modifier, path] => (modifier.as_str(), path.as_str()),
            [path] => {
                let modifiers = ["=", "^~", "~*", "~"];
                let found = modifiers
                    .iter()
                    .find(|modifier| path.starts_with(**modifier));
                let modifier = found.copied().unwrap_or("");
                (modifier, path.get(modifier.len()..).unwrap_or_default())
            }
            _ => return None,
        };
        let path = path.to_owned();
        Some(match modifier {
            "=" => Location::Exact(path),
            "^~" => Location::PrefixNoRegex(path),
            "~" => Location::Regex(true, path),
            "~*" => Location::Regex(false, path),
            "" if path.starts_with('@') => Location::Named(path),
            "" => Location::Prefix(path),
            _ => return None,
        })
    }

    /// As `path` has it.
    fn path(&self) -> String {
        match self {
            Location::Exact(path) => format!("= {path}"),
            Location::Prefix(path) | Location::Named(path) => path.clone(),
            Location::PrefixNoRegex(path) => format!("^~ {path}"),
            Location::Regex(true, regex) => format!("~ {regex}"),
            Location::Regex(false, regex) => format!("~* {regex}"),
        }
    }
}

/// The directives that answer a request in nginx and are no proxy.
const FOREIGN: &[&str] = &[
    "fastcgi_pass",
    "uwsgi_pass",
    "scgi_pass",
    "memcached_pass",
    "empty_gif",
    "content_by_lua_block",
    "content_by_lua_file",
    "js_content",
    "perl",
    "passenger_enabled",
    "redis_pass",
    "rtmp_stat",
    "vhost_traffic_status_display",
    "dav_methods",
    "mp4",
    "flv",
];

/// The directives that are about files.
const FILES: &[&str] = &["alias", "root", "try_files", "index", "autoindex"];

impl Translator<'_> {
    /// The routes of a location and of those within. `gates`: what its server answers before.
    pub(super) fn location(
        &mut self,
        scope: &Scope<'_>,
        within: Option<&Location>,
        gates: &[Gate],
        routes: &mut Vec<Block>,
    ) {
        let Some(directive) = scope.directive else {
            return;
        };
        let accounts = self.accounts;
        let Some(location) = Location::parse(&directive.arguments) else {
            return accounts.lost(directive, "it is no location");
        };
        let mut conditions = Table::new();
        let mut path = location.path();
        match &location {
            Location::Named(_) => {
                return accounts.lost(
                    directive,
                    "nothing leads there: the import writes neither `error_pages` nor `try_files` yet",
                );
            }
            Location::Regex(is_exact, regex) => {
                if let Err(why) = check_regex(regex) {
                    return accounts.lost(directive, why);
                }
                if let Some(outer) = within {
                    // Found within the outer one, before any other expression.
                    let Some(Location::Prefix(_) | Location::PrefixNoRegex(_)) = within else {
                        return accounts.lost(directive, "an expression within an expression");
                    };
                    let sign = if *is_exact { "~" } else { "~*" };
                    let uri = Table::new().with("uri", text(&format!("{sign}{regex}")));
                    conditions.set("variable", uri.inline());
                    path = outer.path();
                }
            }
            _ if !path
                .trim_start_matches(['=', '^', '~', ' '])
                .starts_with('/') =>
            {
                accounts.harmless(directive, "no path begins so");
                return accounts.with_children(directive);
            }
            _ if path.contains(['?', '#']) => {
                accounts.harmless(directive, "no path has a query");
                return accounts.with_children(directive);
            }
            _ => {}
        }
        accounts.translated(directive, "`[[route]]`");
        let steps = self.steps(scope, Some(&location));
        let mut blocks: Vec<Block> = Vec::new();
        for gate in gates.iter().chain(&steps.gates) {
            let mut block = gate.block.clone();
            block.keys = Table::new()
                .with("when", merged(&conditions, &gate.condition.when()).inline())
                .followed_by(block.keys);
            blocks.push(block);
        }
        // Nested expressions come before what is around them.
        let mut own = Vec::new();
        for nested in scope.own("location") {
            let inner = scope.within(nested);
            self.location(&inner, Some(&location), gates, &mut own);
        }
        let (nested_here, nested): (Vec<Block>, Vec<Block>) = own
            .into_iter()
            .partition(|block| block.keys.get("path") == Some(&*text(&path)));
        routes.extend(nested);
        routes.extend(nested_here);
        if let Some(answer) = steps.answer.clone() {
            blocks.push(with_when(answer, &conditions));
        } else {
            for (condition, block) in steps.variants.iter().rev() {
                let inner = scope.within(block);
                let when = merged(&conditions, &condition.when());
                blocks.push(with_when(
                    self.action(&inner, &location, &steps.rules),
                    &when,
                ));
            }
            blocks.extend(self.by_method(scope, &location, &steps.rules, &conditions));
        }
        let first = gates.len() + steps.gates.len();
        let rewrites = rewrite_hook(&steps.rules);
        for block in blocks.iter_mut().skip(first) {
            // Those of a `proxy` are there.
            if let (Some(hook), Some(_)) = (&rewrites, block.keys.get("return")) {
                block.lists.push(("hooks", vec![hook.clone()]));
            }
        }
        let count = blocks.len();
        for (index, mut block) in blocks.into_iter().enumerate() {
            block.keys = Table::new()
                .with("path", text(&path))
                .followed_by(block.keys);
            if index == 0 {
                block
                    .comments
                    .splice(0..0, super::comments::of_block(directive));
            }
            if index + 1 == count {
                block.range = Some((directive.id, directive.last));
            }
            routes.push(block);
        }
    }

    /// What a location does, and what it does with methods that `limit_except` names.
    fn by_method(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
        rules: &[Rule],
        conditions: &Table,
    ) -> Vec<Block> {
        let Some(limit) = scope.own("limit_except").first().copied() else {
            return vec![with_when(self.action(scope, location, rules), conditions)];
        };
        let mut methods = limit.arguments.clone();
        if methods.iter().any(|method| method == "GET") {
            // As nginx has it.
            methods.push("HEAD".to_owned());
        }
        methods.dedup();
        let method = Table::new().with("method", list(methods.iter().map(|each| text(each))));
        let allowed = with_when(
            self.action(scope, location, rules),
            &merged(conditions, &method),
        );
        let inner = scope.within(limit);
        self.accounts.translated(
            limit,
            "`when` in `[[route]]`, and a route for all other methods",
        );
        let others = with_when(self.action(&inner, location, rules), conditions);
        vec![allowed, others]
    }

    /// What a location does with a request that gets there.
    pub(super) fn action(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
        rules: &[Rule],
    ) -> Block {
        let accounts = self.accounts;
        let directive = scope.directive;
        if let Some(internal) = scope.own("internal").first() {
            accounts.lost(
                internal,
                "nothing leads there yet: `error_page` and `X-Accel-Redirect` are not there",
            );
            return answer_of("404");
        }
        if self.denies_all(scope) {
            let only = super::hooks::denials(scope);
            only.iter()
                .for_each(|rule| accounts.translated(rule, "`return = { status = 403 }`"));
            self.error_pages(scope, Some(403));
            self.moot(scope);
            return self.refusal(scope, 403);
        }
        if let Some(pass) = handler(scope, &["proxy_pass", "grpc_pass"]) {
            return self.proxied(scope, pass, location, rules);
        }
        if let Some(counts) = handler(scope, &["stub_status"]) {
            accounts.translated(counts, "`stub_status = true`");
            let mut block = self.refusal(scope, 200);
            block.keys.remove("return");
            block.keys = Table::new()
                .with("stub_status", "true")
                .followed_by(block.keys);
            let hooks = self.guards(scope);
            if !hooks.is_empty() {
                block.lists.push(("hooks", hooks));
            }
            return block;
        }
        if let Some(foreign) = handler(scope, FOREIGN) {
            let note = super::fallback::instead_of(&foreign.name)
                .unwrap_or("keep an nginx behind Waypost for it, as a server of an upstream");
            accounts.lost(foreign, note);
            return answer_of("501");
        }
        let mut serves = false;
        for name in FILES {
            for about in scope.nearest(name) {
                let is_answer = matches!(*name, "alias" | "root" | "try_files");
                serves |= is_answer;
                if is_answer || serves {
                    accounts.lost(
                        about,
                        "the import writes no `files` yet: docs/configuration.md has them",
                    );
                }
            }
        }
        if !serves && let Some(directive) = directive {
            let has_nested = directive
                .children()
                .iter()
                .any(|child| child.name == "location");
            if !has_nested {
                accounts.note(
                    directive,
                    Outcome::Changed,
                    "`return = { status = 404 }`: nginx looks into its own folder `html`",
                );
            }
        }
        self.refusal(scope, if serves { 501 } else { 404 })
    }

    /// A route that answers with a status, as nginx would by itself.
    pub(super) fn refusal(&self, scope: &Scope<'_>, status: u16) -> Block {
        let mut block = answer_of(&status.to_string());
        let (headers, _) = self.response_headers(scope, Phase::Return, Some(status));
        if !headers.is_empty() {
            block.headers.push(("response_headers", headers));
        }
        if let Some(log) = self.access_log(scope, Phase::Log) {
            block.keys.set("access_log", log);
        }
        block
    }

    /// What a location that only refuses says besides.
    fn moot(&self, scope: &Scope<'_>) {
        for directive in scope.children {
            if FILES.contains(&&*directive.name)
                || matches!(&*directive.name, "proxy_pass" | "fastcgi_pass")
            {
                self.accounts
                    .harmless(directive, "all requests are refused before");
            }
        }
    }
}

/// What answers in a context: said there, or around an `if` or `limit_except`.
fn handler<'s>(scope: &Scope<'s>, names: &[&'static str]) -> Option<&'s Directive> {
    let own = names
        .iter()
        .find_map(|name| scope.own(name).first().copied());
    let is_part = scope
        .directive
        .is_some_and(|block| matches!(&*block.name, "if" | "limit_except"));
    match (own, is_part, scope.outer()) {
        (None, true, Some(outer)) => handler(outer, names),
        (own, ..) => own,
    }
}

/// A route that answers a status.
pub(super) fn answer_of(status: &str) -> Block {
    let mut block = Block::new("[[route]]");
    let answer = Table::new().with("status", status);
    block.keys.set("return", answer.inline());
    block
}

fn with_when(mut block: Block, when: &Table) -> Block {
    if !when.is_empty() {
        block.keys = Table::new()
            .with("when", when.inline())
            .followed_by(block.keys);
    }
    block
}

/// Two conditions that both have to hold.
fn merged(first: &Table, second: &Table) -> Table {
    let mut both = first.clone();
    for (name, value) in second.pairs() {
        let value = match both.get(name) {
            // Tables of names: both of their keys.
            Some(known) if known.starts_with('{') && value.starts_with('{') => {
                let (known, more) = (
                    known.trim_end_matches([' ', '}']),
                    value.trim_start_matches(['{', ' ']),
                );
                format!("{known}, {more}")
            }
            _ => value.to_owned(),
        };
        both.set(name, value);
    }
    both
}

/// The hook for rules, if there are some.
pub(super) fn rewrite_hook(rules: &[Rule]) -> Option<String> {
    (!rules.is_empty()).then(|| rewriting::hook(rules))
}
