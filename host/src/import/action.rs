//! What a location does with a request that gets there, whoever is let in: it passes it on, answers
//! with files, or refuses it.

use super::Translator;
use super::files::Uri;
use super::finding;
use super::guards::closed;
use super::index::IndexRoute;
use super::matching::Location;
use super::report::Outcome;
use super::rewriting::{self, Rule};
use super::scope::Scope;
use super::stamps::with_when;
use super::tree::Directive;
use super::try_files::{Last, Tries};
use super::writer::{Block, Table};
use crate::http::variable::Phase;

/// The directives that answer a request in nginx and are no proxy.
const FOREIGN: &[&str] = &[
    "fastcgi_pass",
    "uwsgi_pass",
    "scgi_pass",
    "memcached_pass",
    "check_status",
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

/// The directives that pass requests on.
pub(super) const PASSES: [&str; 2] = ["proxy_pass", "grpc_pass"];

/// Whether a directive of this name answers requests.
pub(super) fn is_handler(name: &str) -> bool {
    PASSES.contains(&name) || FOREIGN.contains(&name) || name == "stub_status"
}

/// Why an index closes a place.
const NO_INDEX: &str = "an index is another location's, which says other things of it: make a \
                        `[[route]]` for the directory, with these conditions";

impl Translator<'_> {
    /// What a location does with requests that nothing in it has answered before, where `when` holds.
    /// `is_first`: no other route of the place asks for something.
    pub(super) fn whole(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
        rules: &[Rule],
        (is_first, when): (bool, &Table),
    ) -> Vec<Block> {
        let (of_index, mut block) = self.with_index(scope, location, rules, None);
        let mut routes = Vec::new();
        if let Some(of_index) = of_index {
            match of_index.placed(location, is_first, when) {
                Some(route) if matches!(location, Location::Exact(_)) => return vec![route],
                Some(route) => routes.push(route),
                None => self.lose_index(scope, NO_INDEX, &mut block),
            }
        }
        routes.push(with_when(block, when));
        routes
    }

    /// What a location does with a request that gets there.
    pub(super) fn action(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
        rules: &[Rule],
    ) -> Block {
        self.action_for(scope, location, rules, None)
    }

    /// What a location does with a request that was led there, to be asked for `uri` if that is given.
    pub(super) fn action_for(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
        rules: &[Rule],
        uri: Option<&Uri>,
    ) -> Block {
        let (of_index, mut block) = self.with_index(scope, location, rules, uri);
        if of_index.is_some() {
            self.lose_index(scope, NO_INDEX, &mut block);
        }
        block
    }

    /// What a location does, and the route for its directories where it has one of its own.
    fn with_index(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
        rules: &[Rule],
        uri: Option<&Uri>,
    ) -> (Option<IndexRoute>, Block) {
        let mut block = self.opened(scope, location, rules, uri);
        if self.is_guard_lost(scope) {
            return (None, closed(scope));
        }
        let tries = scope.own("try_files").first();
        let (serves_directories, are_first) = tries.map_or((true, true), |directive| {
            let tries = Tries::parse(directive);
            tries.map_or((false, false), |tries| tries.serve_directories())
        });
        let serves_directories = serves_directories && !rewriting::lead_away(rules, location);
        let is_fixed = uri.is_some() || rewriting::fixed_path(rules).is_some();
        if !serves_directories || is_fixed || block.get("files").is_none() {
            return (None, block);
        }
        let led = rewriting::led_below(rules);
        let of_index = self.of_index(scope, location, led, &mut block);
        // The route of directories has the files of what is tried first.
        match of_index {
            Some(_) if !are_first => {
                self.lose_index(scope, NO_INDEX, &mut block);
                (None, block)
            }
            of_index => (of_index, block),
        }
    }

    /// As [`Translator::action_for`], where nothing is lost that keeps requests out.
    fn opened(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
        rules: &[Rule],
        uri: Option<&Uri>,
    ) -> Block {
        let accounts = self.accounts;
        if self.denies_all(scope) {
            let only = super::hooks::denials(scope);
            only.iter()
                .for_each(|rule| accounts.translated(rule, "`return = { status = 403 }`"));
            self.moot(scope);
            return self.refusal(scope, 403);
        }
        if let Some(pass) = handler(scope, &PASSES) {
            let block = self.proxied_either_way(scope, pass, location, rules);
            if let Some(block) = block.filter(|_| uri.is_none()) {
                return block;
            }
            if let Some(tries) = scope.own("try_files").first() {
                accounts.lost(
                    tries,
                    "beside a `proxy_pass`, what is a file goes to the server, and all else to the last \
                     of these: leave it out, or the `proxy_pass`",
                );
                return closed(scope);
            }
            return self.proxied(scope, pass, location, rules, uri);
        }
        if let Some(counts) = handler(scope, &["stub_status"]) {
            accounts.translated(counts, "`stub_status = true`");
            let mut block = self.refusal(scope, 200);
            block.keys.remove("return");
            block.keys = Table::new()
                .with("stub_status", "true")
                .followed_by(block.keys);
            self.guard(scope, &mut block);
            return block;
        }
        if let Some(foreign) = handler(scope, FOREIGN) {
            let note = super::fallback::instead_of(&foreign.name)
                .unwrap_or("keep an nginx behind Waypost for it, as a server of an upstream");
            accounts.lost(foreign, note);
            return answer_of("501");
        }
        if let Some(block) = self.files(scope, location, rules, uri) {
            return block;
        }
        let lacks = ["root", "alias", "try_files"];
        let lost: Vec<&Directive> = lacks
            .iter()
            .flat_map(|name| scope.own(name))
            .copied()
            .collect();
        for directive in &lost {
            accounts.lost(directive, "there is no `root` that can be said");
        }
        let has_directory = ["root", "alias"]
            .iter()
            .any(|name| !scope.nearest(name).is_empty());
        if let (true, Some(directive)) = (lost.is_empty() && !has_directory, scope.directive) {
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
        let says_more = has_directory || !lost.is_empty();
        let mut block = self.refusal(scope, if says_more { 501 } else { 404 });
        // Whoever is kept out is not told that there is nothing.
        self.guard(scope, &mut block);
        block
    }

    /// Gives what answers by itself the guards of its place, and the pages of those errors.
    fn guard(&mut self, scope: &Scope<'_>, block: &mut Block) {
        let hooks = self.guards(scope);
        if !hooks.is_empty() {
            block.tables.retain(|(key, _)| *key != "error_pages");
            self.pages(scope, None, block);
        }
        block.extend_list("hooks", hooks);
    }

    /// What a location passes on whether there is a file or not: what its `try_files` ends with is
    /// passed on alike.
    fn proxied_either_way(
        &mut self,
        scope: &Scope<'_>,
        pass: &Directive,
        location: &Location,
        rules: &[Rule],
    ) -> Option<Block> {
        let directive = scope.own("try_files").first()?;
        let Last::Named(name) = Tries::parse(directive).ok()?.last else {
            return None;
        };
        let server = finding::server_of(scope);
        let named = finding::named(server.children, &name)?;
        let is_plain = |child: &Directive| {
            child.block.is_none()
                && !matches!(&*child.name, "rewrite" | "return" | "try_files" | "set")
        };
        let mut passes = named.children().iter();
        let passes_alike =
            passes.any(|child| child.name == pass.name && child.arguments == pass.arguments);
        if !rules.is_empty() || !passes_alike || !named.children().iter().all(is_plain) {
            return None;
        }
        let block = self.proxied(scope, pass, location, rules, None);
        let is_same = self.within(server, &[named], |this, inner, place| {
            let pass = handler(inner, &PASSES)?;
            Some(
                this.proxied(inner, pass, place, &[], None)
                    .says_same(&block),
            )
        });
        is_same.filter(|is_same| *is_same)?;
        self.named.reach(&[named]);
        self.accounts
            .changed(directive, "file or not, it goes to the same server");
        self.accounts
            .translated(named, "what leads there is passed on alike");
        Some(block)
    }

    /// A route that answers with a status, as nginx would by itself.
    pub(super) fn refusal(&mut self, scope: &Scope<'_>, status: u16) -> Block {
        let mut block = answer_of(&status.to_string());
        let (headers, _) = self.response_headers(scope, Phase::Return, Some(status));
        self.around_answer(scope, &mut block, headers, Some(status));
        block
    }

    /// Whether a location has nothing for anybody.
    pub(super) fn refuses(&self, scope: &Scope<'_>, answer: Option<&Block>) -> bool {
        match answer {
            Some(answer) => answer
                .refuses()
                .flatten()
                .is_some_and(|status| status >= 400),
            None => self.denies_all(scope) && scope.own("limit_except").is_empty(),
        }
    }

    /// What a location that only refuses says besides.
    fn moot(&self, scope: &Scope<'_>) {
        for directive in scope.children {
            let is_about_files = matches!(
                &*directive.name,
                "root" | "alias" | "try_files" | "index" | "autoindex"
            );
            if is_about_files || is_handler(&directive.name) {
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

/// The hook for rules, if there are some.
pub(super) fn rewrite_hook(rules: &[Rule]) -> Option<String> {
    (!rules.is_empty()).then(|| rewriting::hook(rules))
}
