//! `proxy_pass` and what goes with it.

use super::Translator;
use super::location::{Location, answer_of, rewrite_hook};
use super::rewriting::Rule;
use super::scope::Scope;
use super::tree::Directive;
use super::values;
use super::variables::{Piece, names_in, pieces_of};
use super::writer::{Block, Table, list, text};
use crate::config::{duration_text, size_text};
use crate::http::variable::Phase;

/// Header bytes that an upstream's answer may have by default.
const RESPONSE_HEADER: u64 = 32 << 10;
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

/// Where requests go.
struct Target {
    /// `https` or `grpcs`.
    is_tls: bool,
    is_grpc: bool,
    /// A group's name, or an address.
    server: String,
    /// What takes the place of the matched part of the path.
    uri: Option<String>,
    /// A rule that makes the path, where it is made of captures.
    rule: Option<Rule>,
    has_variables: bool,
}

impl Translator<'_> {
    /// The route of a location that passes requests on.
    pub(super) fn proxied(
        &mut self,
        scope: &Scope<'_>,
        pass: &Directive,
        location: &Location,
        rules: &[Rule],
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
        if let Some(uri) = stripped(&rules, location).filter(|_| target.uri.is_none()) {
            target.uri = Some(uri);
            rules.clear();
            self.note_stripped(scope);
        }
        rules.extend(target.rule.take());
        let extra = self.of_upstream(scope, &target);
        let is_declared = self.upstreams.is_declared(&target.server);
        let named = self.upstreams.find(&target.server, &extra);
        let scheme = match extra.get("tls") {
            Some(_) => "https",
            None => "http",
        };
        let proxy = match (&named, &target.uri) {
            (Some(name), None) => name.clone(),
            (Some(name), Some(uri)) => format!("{scheme}://{name}{uri}"),
            (None, None) => format!("http://{}", target.server),
            (None, Some(uri)) if target.server.starts_with("unix:") => {
                format!("http://{}:{uri}", target.server)
            }
            (None, Some(uri)) => format!("http://{}{uri}", target.server),
        };
        let mut block = Block::new("[[route]]");
        block.keys.set("proxy", text(&proxy));
        match target.has_variables {
            true => {
                self.uses_resolver = true;
                accounts.changed(
                    pass,
                    format!(
                        "`proxy = \"{proxy}\"`: the name is resolved again without a variable, and \
                         redirects of the server to itself are rewritten"
                    ),
                );
            }
            false => accounts.translated(pass, format!("`proxy = \"{proxy}\"`")),
        }
        self.redirects(scope, &mut block.keys);
        self.times(scope, &mut block.keys);
        self.next_upstream(scope, &mut block.keys);
        self.bodies(scope, &mut block.keys);
        let guards = self.guards(scope);
        let hooks: Vec<String> = rewrite_hook(&rules).into_iter().chain(guards).collect();
        if !hooks.is_empty() {
            block.lists.push(("hooks", hooks));
        }
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
        if !request.is_empty() {
            block.headers.push(("request_headers", request));
        }
        let (response, _) = self.response_headers(scope, Phase::Response);
        if !response.is_empty() {
            block.headers.push(("response_headers", response));
        }
        if let Some(log) = self.access_log(scope, Phase::Log) {
            block.keys.set("access_log", log);
        }
        self.error_pages(scope, None);
        for name in ["proxy_pass_request_headers", "proxy_pass_request_body"] {
            for directive in scope.nearest(name) {
                match directive.argument(0) {
                    "on" => accounts.built_in(directive, "requests are passed on whole"),
                    _ => accounts.lost(directive, "requests are passed on whole"),
                }
            }
        }
        block
    }

    fn note_stripped(&self, scope: &Scope<'_>) {
        let mut scope = Some(scope);
        while let Some(here) = scope {
            if let Some(rule) = here.own("rewrite").first() {
                self.accounts.changed(
                    rule,
                    "the URI part of `proxy`; a redirect of the server to itself gets the prefix \
                     back, which nginx leaves out",
                );
                return;
            }
            scope = here.outer();
        }
    }

    /// Where a `proxy_pass` leads.
    fn target(
        &self,
        scope: &Scope<'_>,
        pass: &Directive,
        location: &Location,
    ) -> Result<Target, String> {
        let written = pass.argument(0);
        let has_variables = written.contains('$');
        let captures = names_in(written).any(|name| {
            let is_number = name.starts_with(|c: char| c.is_ascii_digit());
            is_number || matches!(location, Location::Regex(_, regex) if regex.contains(&format!("<{name}>")))
        });
        let mut rule = None;
        let mut inlined = match (captures, location) {
            (true, Location::Regex(is_exact, regex)) => {
                let whole = self.replacement(scope, regex, written)?;
                let (front, uri) = split(&whole);
                let uri = uri.ok_or("a server's name cannot be made of the path")?;
                let to = uri
                    .strip_suffix("$is_args$args")
                    .map_or_else(|| format!("{uri}?"), str::to_owned);
                rule = Some(Rule {
                    from: if *is_exact {
                        regex.clone()
                    } else {
                        format!("(?i){regex}")
                    },
                    to,
                    flag: "break".to_owned(),
                    when: None,
                });
                front
            }
            _ => self.words.inline(written, &scope.constants)?,
        };
        // The request's own path and query, which go on in any case.
        for whole in [
            "$request_uri",
            "$uri$is_args$args",
            "$document_uri$is_args$args",
        ] {
            if let Some(front) = inlined.strip_suffix(whole) {
                inlined = front.to_owned();
            }
        }
        if let Some(Piece::Variable(name)) = pieces_of(&inlined)
            .iter()
            .find(|piece| matches!(piece, Piece::Variable(_)))
        {
            return Err(format!(
                "the server depends on the request, by `${name}`: name upstreams, and lead to them by \
                 `when` in routes or the hook `split`"
            ));
        }
        let (front, uri) = split(&inlined);
        let (scheme, server) = match front.split_once("://") {
            Some((scheme, server)) => (scheme, server),
            None if pass.name == "grpc_pass" => ("grpc", &*front),
            None => return Err("it has no scheme".to_owned()),
        };
        let (is_tls, is_grpc) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (false, false),
            "https" => (true, false),
            "grpc" => (false, true),
            "grpcs" => (true, true),
            _ => return Err(format!("`{scheme}` is no scheme of a server")),
        };
        if server.is_empty() {
            return Err("it names no server".to_owned());
        }
        if has_variables
            && rule.is_none()
            && uri.is_some()
            && !matches!(location, Location::Exact(_))
        {
            return Err(
                "with variables, the URI of `proxy_pass` takes the place of every path: name the \
                 server without them"
                    .to_owned(),
            );
        }
        Ok(Target {
            is_tls,
            is_grpc,
            server: server.to_owned(),
            uri: uri.filter(|_| rule.is_none()),
            rule,
            has_variables: has_variables && !captures,
        })
    }

    /// What belongs to the upstream here, and is said where requests are passed on in nginx.
    fn of_upstream(&self, scope: &Scope<'_>, target: &Target) -> Table {
        let accounts = self.accounts;
        let mut extra = Table::new();
        if target.is_tls {
            let prefix = if target.is_grpc { "grpc" } else { "proxy" };
            extra.set("tls", self.tls_to_server(scope, target, prefix).inline());
        }
        if target.is_grpc {
            extra.set("http2", "true");
        }
        for version in scope.nearest("proxy_http_version") {
            match version.argument(0) {
                "2" | "2.0" => {
                    extra.set("http2", "true");
                    accounts.translated(version, "`http2 = true` in the upstream");
                }
                _ => accounts.built_in(version, "servers are spoken to in HTTP/1.1"),
            }
        }
        for name in ["proxy_buffer_size", "grpc_buffer_size"] {
            for size in scope.nearest(name) {
                match values::size(size.argument(0)) {
                    Some(bytes) if bytes > RESPONSE_HEADER => {
                        extra.set("response_header_size", text(&size_text(bytes)));
                        accounts.translated(size, "`response_header_size` in the upstream");
                    }
                    Some(_) => accounts.built_in(size, "a server's header may have 32 KiB"),
                    None => accounts.lost(size, "it is no size"),
                }
            }
        }
        extra
    }

    fn tls_to_server(&self, scope: &Scope<'_>, target: &Target, prefix: &str) -> Table {
        let accounts = self.accounts;
        let names: [&'static str; 8] = match prefix {
            "grpc" => [
                "grpc_ssl_verify",
                "grpc_ssl_trusted_certificate",
                "grpc_ssl_crl",
                "grpc_ssl_name",
                "grpc_ssl_certificate",
                "grpc_ssl_certificate_key",
                "grpc_ssl_protocols",
                "grpc_ssl_server_name",
            ],
            _ => [
                "proxy_ssl_verify",
                "proxy_ssl_trusted_certificate",
                "proxy_ssl_crl",
                "proxy_ssl_name",
                "proxy_ssl_certificate",
                "proxy_ssl_certificate_key",
                "proxy_ssl_protocols",
                "proxy_ssl_server_name",
            ],
        };
        let [
            verify,
            ca,
            crl,
            name,
            certificate,
            key,
            protocols,
            sends_name,
        ] = names;
        let mut table = Table::new();
        let verifies = scope.is_on(verify);
        if !verifies {
            table.set("verify", "false");
        }
        if let Some(directive) = scope.one(verify) {
            accounts.translated(directive, "`verify` in `tls` of the upstream");
        }
        for (directive, key) in [
            (ca, "ca"),
            (crl, "crl"),
            (certificate, "certificate"),
            (key, "key"),
        ] {
            let Some(directive) = scope.one(directive) else {
                continue;
            };
            match matches!(key, "ca" | "crl") && !verifies {
                true => accounts.harmless(directive, "the server is not verified"),
                false => {
                    table.set(key, text(directive.argument(0)));
                    accounts.translated(directive, format!("`{key}` in `tls` of the upstream"));
                }
            }
        }
        let sends = scope.is_on(sends_name);
        if let Some(directive) = scope.one(sends_name) {
            match sends {
                true => accounts.built_in(directive, "a server's name is sent wherever it has one"),
                false => accounts.changed(directive, "a server's name is sent wherever it has one"),
            }
        }
        match scope.one(name) {
            Some(directive) => match self.words.inline(directive.argument(0), &scope.constants) {
                Ok(host) if host == "$proxy_host" => {
                    accounts.built_in(directive, "it is the default");
                }
                Ok(host) if !host.contains('$') => {
                    table.set("server_name", text(&host));
                    accounts.translated(directive, "`server_name` in `tls` of the upstream");
                }
                Ok(_) => accounts.lost(
                    directive,
                    "the name of a server is fixed: `server_name` in `tls`",
                ),
                Err(why) => accounts.lost(directive, why),
            },
            None if (sends || verifies) && self.upstreams.is_declared(&target.server) => {
                table.set("server_name", text(&target.server));
            }
            None => {}
        }
        for directive in scope.nearest(protocols) {
            let has = |version: &str| directive.arguments.iter().any(|each| each == version);
            match has("TLSv1.2") {
                true => accounts.built_in(directive, "TLS 1.2 and 1.3 are spoken"),
                false if has("TLSv1.3") => {
                    table.set("min_version", text("1.3"));
                    accounts.translated(directive, "`min_version` in `tls` of the upstream");
                }
                false => accounts.lost(directive, "TLS 1.2 and 1.3 are spoken (RFC 8996)"),
            }
        }
        table
    }

    /// `proxy_redirect`.
    fn redirects(&self, scope: &Scope<'_>, keys: &mut Table) {
        let accounts = self.accounts;
        let mut table = Table::new();
        let directives = scope.nearest("proxy_redirect");
        for directive in directives {
            match (directive.argument(0), directive.arguments.get(1)) {
                ("off", None) => {
                    keys.set("proxy_redirect", "false");
                    accounts.translated(directive, "`proxy_redirect = false`");
                    return;
                }
                ("default", None) if directives.len() == 1 => {
                    accounts.built_in(directive, "it is the default");
                }
                ("default", None) => accounts.lost(directive, "say it as what is replaced by what"),
                (from, _) if from.starts_with('~') => accounts.lost(
                    directive,
                    "`proxy_redirect` has beginnings, no regular expressions",
                ),
                (from, Some(to)) => {
                    let from = self.words.inline(from, &scope.constants);
                    let to = self.words.text(to, &scope.constants, Phase::Response);
                    match (from, to) {
                        (Ok(from), Ok(to)) if !from.contains('$') => {
                            table.set(&from, text(&to));
                            accounts.translated(directive, "`proxy_redirect` in `[[route]]`");
                        }
                        (Err(why), _) | (_, Err(why)) => accounts.lost(directive, why),
                        _ => accounts.lost(directive, "what is replaced is a fixed text"),
                    }
                }
                _ => accounts.lost(directive, "it says nothing"),
            }
        }
        if !table.is_empty() {
            keys.set("proxy_redirect", table.inline());
        }
    }

    fn times(&self, scope: &Scope<'_>, keys: &mut Table) {
        for (proxy, grpc, key) in TIMES {
            let directive = scope.one(proxy).or_else(|| scope.one(grpc));
            if let Some(directive) = directive {
                self.time(directive, key, 60, keys);
            }
        }
        for (name, key) in [("send_timeout", "client_send_timeout")] {
            if let Some(directive) = scope.own(name).first() {
                self.time(directive, key, 60, keys);
            }
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

/// The part before the URI, and the URI if there is one.
fn split(url: &str) -> (String, Option<String>) {
    let start = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(start..).unwrap_or_default();
    if rest.starts_with("unix:") {
        let colon = rest.match_indices(':').nth(1).map(|(at, _)| at + start);
        return match colon {
            Some(at) => {
                let uri = url.get(at + 1..).unwrap_or_default();
                let uri = (!uri.is_empty()).then(|| uri.to_owned());
                (url.get(..at).unwrap_or_default().to_owned(), uri)
            }
            None => (url.to_owned(), None),
        };
    }
    match rest.find(['/', '?']) {
        Some(at) => {
            let (front, uri) = url.split_at(start + at);
            (front.to_owned(), Some(uri.to_owned()))
        }
        None => (url.to_owned(), None),
    }
}

/// What a lone rule that takes away the location's prefix puts in its place.
fn stripped(rules: &[Rule], location: &Location) -> Option<String> {
    let [rule] = rules else { return None };
    let (Location::Prefix(prefix) | Location::PrefixNoRegex(prefix)) = location else {
        return None;
    };
    if rule.flag != "break" || rule.when.is_some() || !prefix.ends_with('/') {
        return None;
    }
    let rest = rule.from.strip_prefix('^')?.strip_prefix(prefix.as_str())?;
    let to = rule.to.strip_suffix("$1")?;
    let is_plain = to.starts_with('/') && !to.contains(['$', '?']);
    (matches!(rest, "(.*)" | "(.*)$") && is_plain).then(|| to.to_owned())
}
