//! `proxy_pass` and what goes with it.

use super::Translator;
use super::action::{answer_of, rewrite_hook};
use super::breaking::Breaks;
use super::chosen::Chosen;
use super::files::Uri;
use super::handed_on;
use super::matching::Location;
use super::rewriting::Rule;
use super::scope::Scope;
use super::target::{Target, stripped};
use super::tree::Directive;
use super::values;
use super::variables::names_in;
use super::writer::{Block, Table, list, text};
use crate::config::{duration_text, size_text};
use crate::http::variable::Phase;

/// Bytes of a body that are kept by default.
const BODY_BUFFER: u64 = 16 << 10;

/// Times of a route: of nginx for HTTP and for gRPC, and of Waypost. All are 60 seconds by default.
const TIMES: [(&str, &str, &str); 3] = [
    (
        "proxy_connect_timeout",
        "grpc_connect_timeout",
        "connect_timeout",
    ),
    ("proxy_send_timeout", "grpc_send_timeout", "send_timeout"),
    ("proxy_read_timeout", "grpc_read_timeout", "read_timeout"),
];

impl Translator<'_> {
    /// The route of a location that passes requests on.
    pub(super) fn proxied(
        &mut self,
        scope: &Scope<'_>,
        pass: &Directive,
        location: &Location,
        rules: &[Rule],
        uri: Option<&Uri>,
    ) -> Block {
        let accounts = self.accounts;
        let mut target = match self.target(scope, pass, location) {
            Ok(target) => target,
            Err(why) => {
                accounts.lost(pass, why);
                return answer_of("501");
            }
        };
        let mut rules = rules.to_vec();
        if let Some(uri) = uri.filter(|uri| uri.is_above) {
            // Those that ask for what such a path is not do nothing.
            rules.retain(|rule| !rule.never_fits_below(&uri.path));
            if !rules.is_empty() || target.uri.is_some() || target.rule.is_some() {
                accounts.lost(
                    pass,
                    "what a `try_files` leads here has another path, which this place changes once more",
                );
                return answer_of("501");
            }
            rules.push(Rule::below(&uri.path));
        }
        let uri = uri.filter(|uri| !uri.is_above);
        if let Some(uri) = stripped(&rules, location).filter(|_| target.uri.is_none()) {
            target.uri = Some(uri);
            rules.clear();
            self.note_stripped(scope);
        }
        rules.extend(target.rule.take());
        // Where something leads a request here, nginx looks for the place anew.
        let is_asked = uri.is_none();
        if let Some(uri) = uri {
            target.uri = Some(asked_for(uri, target.uri.as_deref(), location));
        }
        if pass.argument(0).contains('$') {
            accounts.general(
                "What `proxy_pass` says by variables such as `$uri` and `$1` is escaped on its way to a \
                 server: nginx sends a space, or a `?`, of a path as it is.",
            );
        }
        let extra = self.of_upstream(scope, &target);
        let is_declared = self.upstreams.is_declared(&target.server);
        let chosen = match target.chosen.take() {
            Some(parts) => match self.chosen(&target, &parts, &scope.constants, &extra) {
                Ok(chosen) => Some(chosen),
                Err(why) => {
                    accounts.lost(pass, why);
                    return answer_of("501");
                }
            },
            None => None,
        };
        let named = match &chosen {
            Some(_) => None,
            None => self.upstreams.find(&target.server, &extra),
        };
        let scheme = match extra.get("tls") {
            Some(_) => "https",
            None => "http",
        };
        let redirected = target.uri.clone();
        let is_fixed = is_asked && !pass.argument(0).contains('$');
        if let Some(uri) = target.uri.as_deref().filter(|_| is_fixed) {
            match self.breaks(scope, location, uri) {
                Breaks::Never => {}
                Breaks::Always => target.uri = None,
                Breaks::Sometimes => {
                    accounts.lost(
                        pass,
                        "nginx leaves out its URI part for what a `rewrite ... break` of the server \
                         has led here, and for nothing else: write the rule into a location",
                    );
                    return answer_of("501");
                }
            }
        }
        // A prefix that is taken away is said by a key of its own.
        let is_stripped = target.uri.as_deref() == Some("/") && has_prefix(location);
        if is_stripped {
            target.uri = None;
        }
        let proxy = match (&named, &target.uri) {
            (Some(name), None) => name.clone(),
            (Some(name), Some(uri)) => format!("{scheme}://{name}{uri}"),
            (None, Some(uri)) if target.server.starts_with("unix:") => {
                format!("http://{}:{uri}", target.server)
            }
            (None, uri) => {
                let uri = uri.as_deref().unwrap_or_default();
                format!("{scheme}://{}{uri}", target.server)
            }
        };
        let mut block = Block::new("[[route]]");
        block.keys.set("proxy", text(&proxy));
        let chosen_by_request = chosen.is_some();
        if let Some(chosen) = chosen {
            self.uses_resolver |= chosen.has_names;
            self.note_chosen(pass, &target, &chosen);
            let allow: Vec<String> = chosen.allow.iter().map(|item| text(item)).collect();
            let allow = super::writer::long_list("proxy_allow", &allow);
            block.keys.set("proxy_allow", allow);
        } else if target.has_variables {
            self.uses_resolver = true;
            accounts.changed(
                pass,
                format!(
                    "`proxy = \"{proxy}\"`: the name is resolved again without a variable, and \
                     redirects of the server to itself are rewritten"
                ),
            );
        } else if is_stripped {
            accounts.translated(
                pass,
                format!("`proxy = \"{proxy}\"` and `strip_prefix = true`"),
            );
        } else {
            accounts.translated(pass, format!("`proxy = \"{proxy}\"`"));
        }
        match chosen_by_request {
            true => self.health_check(scope, "", "http"),
            false => self.health_check(scope, &target.server, "http"),
        }
        if is_stripped {
            block.keys.set("strip_prefix", "true");
        }
        self.redirects(
            scope,
            (&target, redirected.as_deref()),
            location,
            &mut block.keys,
        );
        let cookies = self.cookies(scope);
        if !cookies.is_empty() {
            block.keys.set("cookies", cookies.inline());
        }
        self.replaced(scope, &mut block.keys);
        let follows = self.follows(scope).filter(|_| !target.is_grpc);
        if follows == Some(true) {
            block.keys.set("accel_redirect", "true");
        }
        self.times(scope, &mut block.keys);
        self.next_upstream(scope, &mut block.keys);
        self.bodies(scope, &mut block.keys);
        let guards = self.guards(scope);
        let hooks: Vec<String> = rewrite_hook(&rules).into_iter().chain(guards).collect();
        block.extend_list("hooks", hooks);
        let set_header = if target.is_grpc {
            "grpc_set_header"
        } else {
            "proxy_set_header"
        };
        let mut request = self.request_headers(scope, set_header);
        // A group that has another name here is known to its servers by nginx's.
        let is_renamed = named.as_ref().is_some_and(|name| *name != target.server);
        if is_renamed && request.set.get("Host") == Some(&*text("$proxy_host")) {
            request.set.set("Host", text(&target.server));
        }
        if !is_declared
            && target.server.starts_with("unix:")
            && request.set.get("Host") == Some(&*text("$proxy_host"))
        {
            request.set.set("Host", text("localhost"));
        }
        if let Some(directive) = scope.one("proxy_pass_request_headers") {
            match directive.argument(0) {
                "on" => accounts.built_in(directive, "requests are passed on whole"),
                _ => {
                    request.remove.insert(0, "*".to_owned());
                    let note = "`remove = [\"*\"]` in `request_headers`";
                    accounts.translated(directive, note);
                }
            }
        }
        block.set_headers("request_headers", request);
        let (mut response, _) = self.response_headers(scope, Phase::Response, None);
        if follows == Some(false) {
            response.remove.push(handed_on::FIELD.to_owned());
        }
        block.set_headers("response_headers", response);
        if let Some(log) = self.access_log(scope, Phase::Log) {
            block.keys.set("access_log", log);
        }
        if let Some(traces) = self.traces_of(scope) {
            block.keys.set("traces", traces);
        }
        if !rules.iter().all(Rule::redirects) {
            self.note_rewritten(pass, &block);
        }
        // Behind the headers, which it may change.
        self.of_answers(scope, &mut block, None);
        block
    }

    fn note_chosen(&self, pass: &Directive, target: &Target, chosen: &Chosen) {
        let said = format!("`proxy` to `{}`, with `proxy_allow`", target.server);
        let is_verified = target.is_tls && chosen.has_names;
        match (chosen.is_narrower, is_verified) {
            (true, _) => self.accounts.changed(
                pass,
                format!("{said}: names that `proxy_allow` does not have are a 403"),
            ),
            (false, true) => self.accounts.changed(
                pass,
                format!("{said}: the certificates of servers are verified"),
            ),
            (false, false) => self.accounts.translated(pass, said),
        }
    }

    /// Notes what is made of the path, where a hook changes that before it is asked for.
    fn note_rewritten(&self, pass: &Directive, block: &Block) {
        let tables = block
            .headers
            .iter()
            .flat_map(|(_, headers)| [&headers.set, &headers.add]);
        let mut names = tables
            .flat_map(Table::pairs)
            .flat_map(|(_, value)| names_in(value));
        if let Some(name) = names.find(|name| self.words.is_of_path(name)) {
            self.accounts.changed(
                pass,
                format!("the hook `rewrite` comes first: `${name}` is of the path that it makes"),
            );
        }
    }

    fn note_stripped(&self, scope: &Scope<'_>) {
        let mut scope = Some(scope);
        while let Some(here) = scope {
            if let Some(rule) = here.own("rewrite").first() {
                self.accounts.changed(
                    rule,
                    "what `strip_prefix` or the URI part of `proxy` says; a redirect of the server to \
                     itself gets the prefix back, which nginx leaves out",
                );
                return;
            }
            scope = here.outer();
        }
    }

    /// A method and a body in place of the client's.
    fn replaced(&self, scope: &Scope<'_>, keys: &mut Table) {
        let accounts = self.accounts;
        if let Some(directive) = scope.one("proxy_method") {
            match directive.argument(0) {
                "HEAD" => accounts.lost(directive, "an answer to `HEAD` has no body"),
                method if !method.is_empty() && method.bytes().all(|c| c.is_ascii_uppercase()) => {
                    keys.set("request_method", text(method));
                    accounts.changed(
                        directive,
                        "`request_method`: a `HEAD` stays one, and what may be sent again is for the \
                         method that is sent to say",
                    );
                }
                _ => accounts.lost(directive, "a method is a fixed word in upper case"),
            }
        }
        let body = scope.one("proxy_set_body");
        if let Some(directive) = body {
            match self
                .words
                .text(directive.argument(0), &scope.constants, Phase::Request)
            {
                Ok(body) => {
                    keys.set("request_body", text(&body));
                    accounts.translated(directive, "`request_body`");
                }
                Err(why) => accounts.lost(directive, why),
            }
        }
        if let Some(directive) = scope.one("proxy_pass_request_body") {
            match (directive.argument(0), body) {
                ("on", _) => accounts.built_in(directive, "requests are passed on whole"),
                (_, Some(_)) => accounts.harmless(directive, "`proxy_set_body` has another one"),
                (_, None) => {
                    keys.set("request_body", "false");
                    accounts.translated(directive, "`request_body = false`");
                }
            }
        }
    }

    fn times(&self, scope: &Scope<'_>, keys: &mut Table) {
        for (proxy, grpc, key) in TIMES {
            let directive = scope.one(proxy).or_else(|| scope.one(grpc));
            if let Some(directive) = directive {
                self.time(directive, key, 60, keys);
            }
        }
        if let Some(directive) = scope.own("send_timeout").first() {
            self.time(directive, "client_send_timeout", 60, keys);
        }
    }

    /// A time as the value of a key, unless it is the default, in seconds.
    pub(super) fn time(&self, directive: &Directive, key: &str, default: u64, keys: &mut Table) {
        match values::time(directive.argument(0)) {
            Some(time) if time.as_millis() == u128::from(default) * 1000 => {
                self.accounts.built_in(directive, "it is the default");
            }
            Some(time) => {
                keys.set(key, text(&duration_text(time)));
                self.accounts.translated(directive, format!("`{key}`"));
            }
            None => self.accounts.lost(directive, "it is no time"),
        }
    }

    fn next_upstream(&self, scope: &Scope<'_>, keys: &mut Table) {
        const KNOWN: [&str; 12] = [
            "error",
            "timeout",
            "invalid_header",
            "http_500",
            "http_502",
            "http_503",
            "http_504",
            "http_403",
            "http_404",
            "http_429",
            "non_idempotent",
            "off",
        ];
        let accounts = self.accounts;
        let either = |proxy, grpc| scope.one(proxy).or_else(|| scope.one(grpc));
        if let Some(directive) = either("proxy_next_upstream", "grpc_next_upstream") {
            let words = &directive.arguments;
            if let Some(unknown) = words.iter().find(|word| !KNOWN.contains(&word.as_str())) {
                accounts.lost(directive, format!("`{unknown}` is not there"));
            } else if words.iter().any(|word| word == "off") {
                keys.set("next_upstream", text("off"));
                accounts.translated(directive, "`next_upstream`");
            } else if words.len() == 2 && words.iter().all(|w| matches!(&**w, "error" | "timeout"))
            {
                accounts.built_in(directive, "it is the default");
            } else {
                keys.set("next_upstream", list(words.iter().map(|word| text(word))));
                accounts.translated(directive, "`next_upstream`");
            }
        }
        if let Some(directive) = either("proxy_next_upstream_tries", "grpc_next_upstream_tries") {
            match directive.argument(0) {
                "0" => accounts.built_in(directive, "it is the default"),
                number => {
                    keys.set("next_upstream_tries", number);
                    accounts.translated(directive, "`next_upstream_tries`");
                }
            }
        }
        if let Some(directive) = either("proxy_next_upstream_timeout", "grpc_next_upstream_timeout")
        {
            self.time(directive, "next_upstream_timeout", 0, keys);
        }
    }

    /// Bodies: what of them is kept, how large they may be, how long they may take.
    fn bodies(&self, scope: &Scope<'_>, keys: &mut Table) {
        let accounts = self.accounts;
        if let Some(directive) = scope.one("client_body_buffer_size") {
            match values::size(directive.argument(0)) {
                Some(BODY_BUFFER) => accounts.built_in(directive, "it is the default"),
                Some(bytes) => {
                    keys.set("body_buffer_size", text(&size_text(bytes)));
                    accounts.translated(directive, "`body_buffer_size`");
                }
                None => accounts.lost(directive, "it is no size"),
            }
        }
        if let Some(directive) = scope.one("client_max_body_size") {
            match values::size(directive.argument(0)) {
                Some(bytes) => {
                    let value = match bytes {
                        0 => "0".to_owned(),
                        bytes => text(&size_text(bytes)),
                    };
                    keys.set("client_max_body_size", value);
                    accounts.translated(directive, "`client_max_body_size`");
                }
                None => accounts.lost(directive, "it is no size"),
            }
        }
        if let Some(directive) = scope.one("client_body_timeout") {
            self.time(directive, "client_body_timeout", 60, keys);
        }
    }
}

/// Whether there is a beginning of paths that could be taken off.
fn has_prefix(location: &Location) -> bool {
    let (Location::Prefix(path) | Location::PrefixNoRegex(path)) = location else {
        return false;
    };
    path.len() > 1 && path.ends_with('/')
}

/// What a server is asked for where a request was led to a location: a URI with variables is all of
/// it, so the query of the request goes along.
fn asked_for(uri: &Uri, part: Option<&str>, location: &Location) -> String {
    let path = match (part, location.prefix()) {
        (Some(part), _) if part.contains('$') => return part.to_owned(),
        (Some(part), Some(prefix)) => {
            let rest = uri.path.strip_prefix(prefix).unwrap_or_default();
            format!("{part}{rest}")
        }
        (Some(part), None) => part.to_owned(),
        (None, _) => uri.path.clone(),
    };
    match uri.query.contains('$') {
        true => format!("{path}{}", uri.query),
        false => format!("{path}$is_args$args"),
    }
}
