//! `location`: one or more routes of a path.

use super::Translator;
use super::action::rewrite_hook;
use super::beside::without_slash;
use super::conditions::check_regex;
use super::expressions::with_line_ends;
use super::guards::closed;
use super::matching::{Location, LookAhead, UNSAYABLE};
use super::nesting;
use super::report::Outcome;
use super::scope::Scope;
use super::stamps::{merged, of_gates, with_when};
use super::steps::{Gate, may_keep_out};
use super::tree::Directive;
use super::writer::{Block, Table, list, text};

/// Why a condition of a place with files may not be said.
const ASKS_FOR_INDEX: &str = "a condition asks for the path, which is another one where an index is \
                              looked for: write a `[[route]]` for the directory";

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
        match nesting::flattened(location, scope) {
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
                if nesting::is_repeated(scope, &location) {
                    accounts.harmless(directive, "never found: the one before it takes its paths");
                    return accounts.with_children(directive);
                }
                if let Err(why) = check_regex(regex) {
                    accounts.lost(directive, why);
                    return accounts.with_children(directive);
                }
                if within.is_some() {
                    match nesting::within(scope, (*is_exact, regex), &written) {
                        Ok(found) => (path, conditions) = found,
                        Err(why) => {
                            accounts.lost(directive, why);
                            return accounts.with_children(directive);
                        }
                    }
                    depth = nesting::depth(scope);
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
            let of_servers = self.for_servers(scope, &location, (&path, &conditions), gates);
            let note = match of_servers {
                Some(_) => {
                    "`return = { status = 404 }` for clients that ask for it, and `internal = true` \
                     with its `path` for servers of a route with `accel_redirect = true`"
                }
                None => "`return = { status = 404 }` for clients that ask for it",
            };
            accounts.translated(internal, note);
            // It comes first among those that servers lead to.
            routes.extend(of_servers.map(|block| Block { depth, ..block }));
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
        let before = routes.len();
        let (mut own, mut expressions) = (Vec::new(), Vec::new());
        let (mut closes, mut is_blurred) = (false, self.is_unsure(scope));
        for nested in scope.own("location") {
            let inner = scope.within(nested);
            let mut of_nested = Vec::new();
            self.location(&inner, Some(&location), gates, &mut of_nested);
            let parsed = Location::parse(&nested.arguments);
            let is_lost = accounts
                .of(nested.id)
                .is_some_and(|(o, _)| o == Outcome::Lost);
            closes |= is_lost;
            // One that has no route may be any of those that it would come before.
            let is_regex = matches!(parsed, Some(Location::Regex(..)));
            is_blurred |= is_lost && is_regex && of_nested.is_empty();
            match parsed {
                Some(Location::Regex(..)) => expressions.extend(of_nested),
                Some(Location::PrefixNoRegex(_) | Location::Exact(_)) => routes.extend(of_nested),
                _ => own.extend(of_nested),
            }
        }
        if matches!(location, Location::PrefixNoRegex(_)) {
            nesting::handed_down(&mut own, &expressions);
        }
        // nginx looks there for all of its paths.
        let prefix = location.prefix();
        let has_twin = |route: &Block| prefix.is_some_and(|it| nesting::takes_all(route, it));
        let has_twin = own.iter().chain(routes.iter().skip(before)).any(has_twin);
        match is_blurred {
            true => routes.extend(nesting::shut(&own)),
            false => routes.extend(own.into_iter().chain(expressions)),
        }
        let first = blocks.len();
        let mut is_index_lost = false;
        if let Some(answer) = steps.answer.clone() {
            blocks.push(with_when(answer, &conditions));
        } else if let Some(block) = self.jump(scope).filter(|_| within.is_none()) {
            blocks.push(with_when(block, &conditions));
        } else {
            for (condition, block) in steps.variants.iter().rev() {
                let inner = scope.within(block);
                let when = match self.when_of_index(scope, &location, condition) {
                    Some(when) => merged(&conditions, &when),
                    None => {
                        accounts.lost(block, ASKS_FOR_INDEX);
                        is_index_lost |= may_keep_out(block);
                        merged(&conditions, &condition.when())
                    }
                };
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
            accounts.lost(directive, ASKS_FOR_INDEX);
        }
        // A location within that is lost may have kept requests out.
        let is_unsure = self.is_unsure(scope);
        let loses_index = asks_for_index || is_index_lost;
        let is_closed = steps.is_closed || asks_twice || loses_index || closes || is_unsure;
        if is_closed {
            blocks.truncate(if is_unsure || closes { 0 } else { first });
            blocks.push(with_when(closed(scope), &conditions));
        }
        if has_twin {
            blocks.clear();
        }
        let rewrites = rewrite_hook(&steps.rules);
        for block in blocks.iter_mut().skip(first) {
            // Those of a `proxy` are there.
            if let (Some(hook), Some(_)) = (&rewrites, block.keys.get("return")) {
                block.put_first("hooks", hook.clone());
            }
        }
        if let (Some((_, others)), false) = (others, has_steps || is_closed || has_twin) {
            blocks.push(with_when(others, &conditions));
        }
        if let Some(bare) = bare {
            let proxies =
                |block: &Block| block.get("proxy").is_some() && block.keys.get("when").is_none();
            // One of the same path within has it already.
            let own = text(&format!("= {bare}"));
            let mut nested = routes.iter().skip(before);
            let is_there = nested.any(|route| route.keys.get("path") == Some(&*own));
            if !blocks.iter().any(proxies) && !is_there {
                routes.push(self.with_slash(scope, bare));
            }
        }
        let both = look_ahead.and_then(|found| found.both);
        if let (Some(both), Some(refusal)) = (both, blocks.last()) {
            let mut refusal = refusal.clone();
            refusal.keys.remove("when");
            for block in of_gates(gates).into_iter().chain([refusal]) {
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
