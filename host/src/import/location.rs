//! `location`: one or more routes of a path.

use super::Translator;
use super::conditions::check_regex;
use super::expressions::with_line_ends;
use super::files::Uri;
use super::guards::closed;
use super::index::IndexRoute;
use super::matching::{Location, LookAhead, UNSAYABLE};
use super::report::Outcome;
use super::rewriting::{self, Rule};
use super::scope::Scope;
use super::steps::Gate;
use super::tree::Directive;
use super::try_files::Tries;
use super::writer::{Block, Table, list, text};
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
const PASSES: [&str; 2] = ["proxy_pass", "grpc_pass"];

/// Whether a directive of this name answers requests.
pub(super) fn is_handler(name: &str) -> bool {
    PASSES.contains(&name) || FOREIGN.contains(&name) || name == "stub_status"
}

/// Why an index closes a place.
const NO_INDEX: &str = "an index is another location's, which says other things of it: make a \
                        `[[route]]` for the directory, with these conditions";

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
        let Some(mut location) = Location::parse(&directive.arguments) else {
            return accounts.lost(directive, "it is no location");
        };
        if let (Some(path), Some(alias)) = (location.prefix(), scope.own("alias").first())
            && super::directory::are_files(path, alias.argument(0))
        {
            accounts.changed(
                directive,
                "`path` with `=`: what only begins with the name of the file is another route's",
            );
            location = Location::Exact(path.to_owned());
        }
        match super::nesting::flattened(location, scope) {
            Ok(flattened) => location = flattened,
            Err(why) => {
                accounts.harmless(directive, why);
                return accounts.with_children(directive);
            }
        }
        let mut conditions = Table::new();
        let mut path = location.path();
        let mut written = String::new();
        if let Location::Regex(_, regex) = &location {
            written = match keeps_out(scope) {
                true => with_line_ends(regex),
                false => regex.clone(),
            };
            super::matching::departures(&written, accounts);
            path = path.replace(regex.as_str(), &written);
        }
        let mut depth = 0;
        match &location {
            // Where something leads there, it becomes a route.
            Location::Named(_) => return,
            Location::Regex(is_exact, regex) => {
                if let Err(why) = check_regex(regex) {
                    accounts.lost(directive, why);
                    return accounts.with_children(directive);
                }
                if within.is_some() {
                    match super::nesting::within(scope, (*is_exact, regex), &written) {
                        Ok(found) => (path, conditions) = found,
                        Err(why) => {
                            accounts.lost(directive, why);
                            return accounts.with_children(directive);
                        }
                    }
                    depth = super::nesting::depth(scope);
                }
            }
            _ if matches!(within, Some(Location::Regex(..))) => {
                accounts.lost(
                    directive,
                    "it is within an expression: write an expression for its paths, in front of that",
                );
                return accounts.with_children(directive);
            }
            _ if !path
                .trim_start_matches(['=', '^', '~', ' '])
                .starts_with('/') =>
            {
                accounts.harmless(directive, "no path begins so");
                return accounts.with_children(directive);
            }
            _ if path.contains(UNSAYABLE) => {
                accounts.lost(
                    directive,
                    "a path has no `?` or `#` here: write an expression, such as `~ ^/a\\x3fb`",
                );
                return accounts.with_children(directive);
            }
            _ => {}
        }
        match conditions.is_empty() {
            true => accounts.translated(directive, "`[[route]]`"),
            false => accounts.translated(directive, "`[[route]]` with `when`"),
        }
        if let Some(internal) = scope.own("internal").first() {
            accounts.translated(
                internal,
                "`return = { status = 404 }` for clients that ask for it",
            );
            let mut block = with_when(self.refusal(scope, 404), &conditions);
            let keys = Table::new().with("path", text(&path));
            block.keys = keys.followed_by(block.keys);
            block.comments = super::comments::of_block(directive);
            block.range = Some((directive.id, directive.last));
            block.depth = depth;
            if let Some(bare) = without_slash(scope, &location) {
                let mut refusal = self.refusal(scope, 404);
                let keys = Table::new().with("path", text(&format!("= {bare}")));
                refusal.keys = keys.followed_by(refusal.keys);
                routes.push(refusal);
            }
            return routes.push(block);
        }
        super::real_ip::of_location(scope, accounts);
        let steps = self.steps(scope, Some(&location));
        let look_ahead = LookAhead::parse(&directive.arguments);
        let asks = |gate: &Gate| gate.condition.variable == "uri";
        let is_simple = within.is_none()
            && !gates.iter().chain(&steps.gates).any(asks)
            && steps.variants.is_empty();
        // Of both kinds of paths, one route would say all that the other says.
        let refuses = || steps.gates.is_empty() && self.refuses(scope, steps.answer.as_ref());
        let look_ahead =
            look_ahead.filter(|found| is_simple && (found.both.is_none() || refuses()));
        if let Some(LookAhead { front, not, .. }) = &look_ahead {
            path = front.path();
            let uri = Table::new().with("uri", text(not));
            conditions.set("variable", uri.inline());
        }
        let mut blocks: Vec<Block> = Vec::new();
        // One `when` asks for the path once.
        let is_asked = |gate: &Gate| !conditions.is_empty() && gate.condition.variable == "uri";
        let mut variants = steps.variants.iter();
        let of_variants = variants.any(|(condition, _)| condition.variable == "uri");
        let asks_twice = gates.iter().chain(&steps.gates).any(is_asked)
            || (!conditions.is_empty() && of_variants);
        if asks_twice {
            accounts.lost(
                directive,
                "it is found by an expression within another location, and a condition asks for the \
                 path as well",
            );
        }
        let gated = |gate: &Gate| {
            let when = merged(&conditions, &gate.condition.when());
            with_when(gate.block.clone(), &when)
        };
        blocks.extend(gates.iter().take_while(|gate| !is_asked(gate)).map(gated));
        // What a server asks comes first; of a location, nginx asks nothing for methods that a
        // `limit_except` in it is for (`ngx_http_update_location_config`).
        let others = self.of_other_methods(scope, &location);
        let has_steps = !steps.gates.is_empty() || !steps.variants.is_empty();
        let has_steps = has_steps || steps.answer.is_some();
        // A route that proxies whatever the method is has those for its path without its slash.
        let bare = without_slash(scope, &location);
        let has_steps = has_steps || bare.is_some();
        if let (Some((methods, others)), true) = (&others, has_steps) {
            let not = methods.iter().map(|method| text(&format!("!{method}")));
            let method = Table::new().with("request_method", list(not));
            let method = Table::new().with("variable", method.inline());
            blocks.push(with_when(others.clone(), &merged(&conditions, &method)));
        }
        if !gates.iter().any(is_asked) {
            let own = steps.gates.iter().take_while(|gate| !is_asked(gate));
            blocks.extend(own.map(gated));
        }
        // Nested expressions come before what is around them.
        let (mut own, mut expressions) = (Vec::new(), Vec::new());
        let mut closes = false;
        for nested in scope.own("location") {
            let inner = scope.within(nested);
            let mut of_nested = Vec::new();
            self.location(&inner, Some(&location), gates, &mut of_nested);
            let parsed = Location::parse(&nested.arguments);
            let is_lost = accounts
                .of(nested.id)
                .is_some_and(|(o, _)| o == Outcome::Lost);
            closes |= is_lost;
            match parsed {
                Some(Location::Regex(..)) => expressions.extend(of_nested),
                Some(Location::PrefixNoRegex(_) | Location::Exact(_)) => routes.extend(of_nested),
                _ => own.extend(of_nested),
            }
        }
        if matches!(location, Location::PrefixNoRegex(_)) {
            super::nesting::handed_down(&mut own, &expressions);
        }
        // One that cannot be told from the others may be any of them.
        if !self.is_unsure(scope) {
            routes.extend(own);
            routes.extend(expressions);
        }
        let first = blocks.len();
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
            let when = match &others {
                Some((methods, _)) if !has_steps => {
                    let method = list(methods.iter().map(|each| text(each)));
                    merged(&conditions, &Table::new().with("method", method))
                }
                _ => conditions.clone(),
            };
            let is_first = blocks.is_empty();
            blocks.extend(self.whole(scope, &location, &steps.rules, (is_first, &when)));
        }
        let asked: Vec<&Gate> = gates.iter().chain(&steps.gates).collect();
        let serves = blocks.iter().any(|block| block.get("files").is_some());
        let asks_for_index = serves && self.refuse_an_index(scope, &location, &asked);
        if asks_for_index {
            accounts.lost(
                directive,
                "a condition asks for the path, which is another one where an index is looked for: \
                 write a `[[route]]` for the directory",
            );
        }
        // A location within that is lost may have kept requests out.
        let is_unsure = self.is_unsure(scope);
        let is_closed = steps.is_closed || asks_twice || asks_for_index || closes || is_unsure;
        if is_closed {
            blocks.truncate(if is_unsure || closes { 0 } else { first });
            blocks.push(with_when(closed(scope), &conditions));
        }
        let rewrites = rewrite_hook(&steps.rules);
        for block in blocks.iter_mut().skip(first) {
            // Those of a `proxy` are there.
            if let (Some(hook), Some(_)) = (&rewrites, block.keys.get("return")) {
                block.lists.push(("hooks", vec![hook.clone()]));
            }
        }
        if let (Some((_, others)), false) = (others, has_steps || is_closed) {
            blocks.push(with_when(others, &conditions));
        }
        if let Some(bare) = bare {
            let proxies =
                |block: &Block| block.get("proxy").is_some() && block.keys.get("when").is_none();
            if !blocks.iter().any(proxies) {
                routes.push(self.with_slash(scope, bare));
            }
        }
        let both = look_ahead
            .and_then(|found| found.both)
            .filter(|_| !is_closed);
        if let (Some(both), Some(refusal)) = (both, blocks.last()) {
            let mut refusal = refusal.clone();
            refusal.keys.remove("when");
            for block in super::stamps::of_gates(gates).into_iter().chain([refusal]) {
                let path = Table::new().with("path", text(&both.path()));
                routes.push(Block {
                    keys: path.followed_by(block.keys),
                    ..block
                });
            }
        }
        let count = blocks.len();
        for (index, mut block) in blocks.into_iter().enumerate() {
            if block.keys.get("path").is_none() {
                let keys = Table::new().with("path", text(&path));
                block.keys = keys.followed_by(block.keys);
            }
            if index == 0 {
                block
                    .comments
                    .splice(0..0, super::comments::of_block(directive));
            }
            if index + 1 == count {
                block.range = Some((directive.id, directive.last));
            }
            block.depth = depth;
            routes.push(block);
        }
    }

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

    /// The methods that a `limit_except` of a location names, and what it does with all others: nothing
    /// of what the location would run before, not even a `set`.
    fn of_other_methods(
        &mut self,
        scope: &Scope<'_>,
        location: &Location,
    ) -> Option<(Vec<String>, Block)> {
        let limit = *scope.own("limit_except").first()?;
        let mut methods: Vec<String> = Vec::new();
        // `GET` stands for both.
        let named = limit.arguments.iter().map(String::as_str);
        let mut all = limit.arguments.iter();
        let head = all.any(|method| method.eq_ignore_ascii_case("GET"));
        for method in named.chain(head.then_some("HEAD")) {
            if !methods
                .iter()
                .any(|known| known.eq_ignore_ascii_case(method))
            {
                methods.push(method.to_ascii_uppercase());
            }
        }
        self.accounts.translated(
            limit,
            "`when` in `[[route]]`, and a route for all other methods",
        );
        let before = scope.at(&scope.entering);
        Some((methods, self.action(&before.within(limit), location, &[])))
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
        let serves_directories = tries.is_none_or(|directive| {
            Tries::parse(directive).is_ok_and(|tries| tries.directories && tries.fixed.is_none())
        });
        let is_fixed = uri.is_some() || rewriting::fixed_path(rules).is_some();
        if !serves_directories || is_fixed || block.get("files").is_none() {
            return (None, block);
        }
        let of_index = self.of_index(scope, location, !rules.is_empty(), &mut block);
        (of_index, block)
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
        self.refusal(scope, if says_more { 501 } else { 404 })
    }

    /// The route of a location's path without the slash at its end, as nginx has it where a server
    /// answers the location (`auto_redirect` of `ngx_http_core_find_static_location`).
    fn with_slash(&mut self, scope: &Scope<'_>, bare: &str) -> Block {
        let mut block = Block::new("[[route]]");
        let answer = Table::new()
            .with("status", "301")
            .with("location", text(&format!("{bare}/$is_args$args")));
        block.keys.set("path", text(&format!("= {bare}")));
        block.keys.set("return", answer.inline());
        let (headers, _) = self.response_headers(scope, Phase::Return, Some(301));
        self.around_answer(scope, &mut block, headers, Some(301));
        block
    }

    /// A route that answers with a status, as nginx would by itself.
    pub(super) fn refusal(&mut self, scope: &Scope<'_>, status: u16) -> Block {
        let mut block = answer_of(&status.to_string());
        let (headers, _) = self.response_headers(scope, Phase::Return, Some(status));
        self.around_answer(scope, &mut block, headers, Some(status));
        block
    }

    /// Whether a location has nothing for anybody.
    fn refuses(&self, scope: &Scope<'_>, answer: Option<&Block>) -> bool {
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

/// The path of a location without the slash at its end, where nginx sends clients from there to the
/// location: a server answers it, and no other location has that path.
fn without_slash<'l>(scope: &Scope<'_>, location: &'l Location) -> Option<&'l str> {
    let passes = [
        "proxy_pass",
        "grpc_pass",
        "fastcgi_pass",
        "uwsgi_pass",
        "scgi_pass",
        "memcached_pass",
    ];
    let bare = location
        .prefix()?
        .strip_suffix('/')
        .filter(|bare| !bare.is_empty())?;
    let beside = scope.outer().map_or(&[][..], |outer| outer.own("location"));
    let is_taken = beside.iter().any(|other| {
        let other = Location::parse(&other.arguments);
        matches!(other, Some(Location::Exact(path) | Location::Prefix(path) | Location::PrefixNoRegex(path)) if path == bare)
    });
    let is_passed = passes.iter().any(|name| !scope.own(name).is_empty());
    (is_passed && !is_taken).then_some(bare)
}

/// A route that answers a status.
pub(super) fn answer_of(status: &str) -> Block {
    let mut block = Block::new("[[route]]");
    let answer = Table::new().with("status", status);
    block.keys.set("return", answer.inline());
    block
}

/// Whether a location keeps requests out that another one might let in: by what it says, or by what
/// holds around it and not everywhere.
fn keeps_out(scope: &Scope<'_>) -> bool {
    let own = ["internal", "limit_except", "if"];
    let inherited = ["allow", "deny", "auth_basic"];
    let refuses = |answer: &&Directive| answer.argument(0).starts_with('4');
    own.iter().any(|name| !scope.own(name).is_empty())
        || inherited.iter().any(|name| !scope.nearest(name).is_empty())
        || scope.own("return").iter().any(refuses)
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
