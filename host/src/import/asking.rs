//! What asks another server about a request, or shows it one: `auth_request` and `mirror`, hooks that
//! ask the server of the location that nginx sends a subrequest to.

use std::collections::HashMap;

use super::Translator;
use super::finding::find_once;
use super::guards::is_answered_anew;
use super::matching::Location;
use super::scope::Scope;
use super::tree::Directive;
use super::values::{self, size};
use super::variables::{names_in, variable_name};
use super::writer::{Table, text};
use crate::config::{duration_text, size_text};
use crate::http::headers::is_framing;
use crate::http::variable::Phase;

/// What may stand in a location that a subrequest goes to: all else would have to be said of it.
const OF_ASKED: [&str; 14] = [
    "access_log",
    "internal",
    "log_not_found",
    "log_subrequest",
    "proxy_buffer_size",
    "proxy_buffering",
    "proxy_buffers",
    "proxy_connect_timeout",
    "proxy_http_version",
    "proxy_pass",
    "proxy_pass_request_body",
    "proxy_read_timeout",
    "proxy_send_timeout",
    "proxy_set_header",
];

/// Variables that are those of the subrequest there, and of the request in the settings of a hook.
const OF_SUBREQUEST: [&str; 9] = [
    "args",
    "document_uri",
    "is_args",
    "query_string",
    "request",
    "request_body",
    "request_filename",
    "request_length",
    "uri",
];

/// Where a subrequest goes.
struct Asked {
    upstream: String,
    path: String,
    /// What it says of headers.
    headers: Table,
    timeout: Option<String>,
    /// Bodies go there.
    with_body: bool,
}

/// The largest body that a copy has, and what a request has unless it is said.
const MIRRORED: u64 = 8 << 20;
const CLIENT_MAX_BODY_SIZE: u64 = 1 << 20;

/// Attributes that `auth_request_set` makes of headers, by the names of nginx's variables; each with
/// the header.
pub(super) fn attributes(directives: &[Directive]) -> HashMap<String, String> {
    let mut found = HashMap::new();
    for directive in directives {
        if let Some((name, header)) = attribute(directive) {
            found.insert(name, header);
        }
        found.extend(attributes(directive.children()));
    }
    found
}

/// What an `auth_request_set` makes of a header of the answer.
fn attribute(directive: &Directive) -> Option<(String, String)> {
    if directive.name != "auth_request_set" {
        return None;
    }
    let name = variable_name(directive.argument(0));
    let value = directive.argument(1).strip_prefix('$')?;
    let value = value.trim_start_matches('{').trim_end_matches('}');
    let header = value.strip_prefix("upstream_http_")?;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_name = |text: &str| !text.is_empty() && text.len() <= 64 && text.chars().all(allowed);
    (is_name(&name) && is_name(header)).then(|| (name, header.replace('_', "-")))
}

impl Translator<'_> {
    /// The hook of a route whose requests another server has to let in, if there is one.
    pub(super) fn auth_request(&mut self, scope: &Scope<'_>) -> Option<String> {
        let accounts = self.accounts;
        let directive = scope.one("auth_request")?;
        if directive.argument(0) == "off" {
            accounts.harmless(directive, "no hook `forward_auth` there");
            return None;
        }
        let others = ["allow", "deny", "auth_basic"];
        let has_others = others.iter().any(|name| scope.one(name).is_some());
        if has_others && scope.value("satisfy") == Some("any") {
            let why = "with `satisfy any`, each of several may let a request in: the hook \
                       `forward_auth` knows nothing of the others";
            accounts.lost(directive, why);
            return None;
        }
        let asked = match self.asked(scope, directive, "forward_auth") {
            Ok(asked) => asked,
            Err(why) => {
                accounts.lost(directive, why);
                return None;
            }
        };
        accounts.changed(
            directive,
            "the hook `forward_auth` in `hooks`: its server is told of the request in \
             `X-Forwarded-Method`, `-Proto`, `-Host`, `-Uri` and `-For` besides, and gets none of its \
             `Content-Type`, `Range` and conditions",
        );
        let mut table = asked.table("forward_auth");
        let mut attributes = Table::new();
        for set in scope.nearest("auth_request_set") {
            match attribute(set) {
                Some((name, header)) => {
                    attributes.set(&name, text(&header));
                    let to = format!("`$hook_{name}`, of `attributes` of the hook `forward_auth`");
                    accounts.translated(set, to);
                }
                None => accounts.lost(
                    set,
                    "the hook `forward_auth` tells of headers: `$upstream_http_NAME` in a variable of \
                     small letters",
                ),
            }
        }
        if !attributes.is_empty() {
            table.set("attributes", attributes.inline());
        }
        Some(table.inline())
    }

    /// The hooks of a route whose requests are shown to other servers.
    pub(super) fn mirrors(&mut self, scope: &Scope<'_>) -> Vec<String> {
        let accounts = self.accounts;
        let mut hooks = Vec::new();
        for directive in scope.nearest("mirror") {
            if directive.argument(0) == "off" {
                accounts.harmless(directive, "no hook `mirror` there");
                continue;
            }
            match self.asked(scope, directive, "mirror") {
                Ok(asked) => {
                    let mut table = asked.table("mirror");
                    let limit = body_limit(scope).filter(|_| asked.with_body);
                    if let Some(bytes) = limit {
                        table.set("body_limit", text(&size_text(bytes.min(MIRRORED))));
                    }
                    match limit {
                        Some(bytes) if bytes > MIRRORED => accounts.changed(
                            directive,
                            "the hook `mirror` in `hooks`: requests with a body of more than 8m are not \
                             copied",
                        ),
                        _ => accounts.translated(directive, "the hook `mirror` in `hooks`"),
                    }
                    hooks.push(table.inline());
                }
                Err(why) => accounts.lost(directive, why),
            }
        }
        if let Some(directive) = scope.one("mirror_request_body") {
            accounts.translated(directive, of_body(directive));
        }
        hooks
    }

    /// Where the subrequest of a directive goes.
    ///
    /// # Errors
    /// Why that cannot be said.
    fn asked(
        &mut self,
        scope: &Scope<'_>,
        directive: &Directive,
        hook: &'static str,
    ) -> Result<Asked, String> {
        let path = directive.argument(0);
        if !path.starts_with('/') || path.contains(['$', '?']) {
            return Err(format!("`{path}` is no path of a location"));
        }
        let server = server_of(scope).ok_or("it is in no `server`")?;
        if is_answered_anew(server, path) {
            return Err("a condition or rule of the server may answer it".to_owned());
        }
        let found = find_once(server.children, path);
        let [location] = *found.as_slice() else {
            return Err(format!("no location of its own has `{path}`"));
        };
        let inner = server.within(location);
        let mut children = location.children().iter();
        if let Some(other) = children.find(|child| !OF_ASKED.contains(&&*child.name)) {
            let name = &other.name;
            return Err(format!(
                "`{name}` of the location `{path}` is not said for what a hook asks"
            ));
        }
        let parsed = Location::parse(&location.arguments).ok_or("it is no location")?;
        let matched = match &parsed {
            Location::Exact(prefix)
            | Location::Prefix(prefix)
            | Location::PrefixNoRegex(prefix) => prefix.len(),
            _ => return Err("its location is an expression".to_owned()),
        };
        let pass = inner.own("proxy_pass").first().copied();
        let pass = pass.ok_or_else(|| format!("the location `{path}` asks no server"))?;
        let target = self.target(&inner, pass, &parsed)?;
        if target.is_grpc || target.chosen.is_some() || target.rule.is_some() {
            return Err("a hook asks a fixed server in HTTP, for what its `path` says".to_owned());
        }
        let headers = self.headers_of_asked(&inner, &target.server, hook)?;
        let extra = self.of_upstream(&inner, &target);
        let upstream = self.upstreams.named(&target.server, &extra);
        let query = match hook {
            "mirror" => "$is_args$args",
            _ => "",
        };
        let is_whole = pass.argument(0).ends_with("$request_uri");
        let path = match &target.uri {
            _ if is_whole => "$request_uri".to_owned(),
            Some(uri) if uri.contains('$') => self.words.checked(uri.clone(), Phase::Request)?,
            Some(uri) => format!("{uri}{}{query}", path.get(matched..).unwrap_or_default()),
            None => format!("{path}{query}"),
        };
        let passed = inner.one("proxy_pass_request_body");
        let with_body = hook == "mirror" && passed.is_none_or(|passed| passed.argument(0) != "off");
        self.account_asked(&inner, pass, hook);
        let timeout = inner.own("proxy_read_timeout").first();
        Ok(Asked {
            upstream,
            path,
            headers,
            timeout: timeout
                .and_then(|time| values::time(time.argument(0)))
                .map(duration_text),
            with_body,
        })
    }

    /// What a location says of the headers of a subrequest.
    fn headers_of_asked(
        &self,
        inner: &Scope<'_>,
        server: &str,
        hook: &'static str,
    ) -> Result<Table, String> {
        let mut table = Table::new();
        let mut names_host = false;
        for header in inner.nearest("proxy_set_header") {
            let (name, value) = (header.argument(0), header.argument(1));
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            if is_framing(name.as_bytes()) || is("content-length") {
                match value {
                    "" => self.accounts.built_in(header, "it goes with a body alone"),
                    _ => {
                        self.accounts
                            .built_in(header, "what frames a message is written by the proxy");
                    }
                }
                continue;
            }
            names_host |= is("host");
            let named = names_in(value).map(str::to_ascii_lowercase);
            for name in named {
                if OF_SUBREQUEST.contains(&&*name) || name.starts_with("arg_") {
                    return Err(format!(
                        "`${name}` is that of the subrequest there: a hook knows the request alone"
                    ));
                }
            }
            let value = self
                .words
                .setting(value, &inner.constants, Phase::Request)?;
            table.set(name, text(&value));
            self.accounts
                .translated(header, format!("`set_headers` of the hook `{hook}`"));
        }
        if !names_host {
            table.set("Host", text(server));
        }
        Ok(table)
    }

    /// Says what became of a location that a subrequest goes to.
    fn account_asked(&self, inner: &Scope<'_>, pass: &Directive, hook: &'static str) {
        let accounts = self.accounts;
        let to = format!("`upstream` and `path` of the hook `{hook}`");
        accounts.translated(pass, to);
        for directive in inner.own("proxy_pass_request_body") {
            match hook {
                "mirror" => accounts.translated(directive, of_body(directive)),
                _ => accounts.built_in(directive, "no body is sent"),
            }
        }
        for (name, note) in [
            ("log_subrequest", "it is no request of a client's"),
            ("proxy_buffering", "answers are read as they come"),
            ("proxy_buffers", "answers are read as they come"),
        ] {
            for directive in inner.own(name) {
                accounts.built_in(directive, note);
            }
        }
        for directive in inner.own("proxy_read_timeout") {
            accounts.translated(directive, format!("`timeout` of the hook `{hook}`"));
        }
        for name in ["proxy_connect_timeout", "proxy_send_timeout"] {
            for directive in inner.own(name) {
                accounts.changed(directive, "those of the upstream hold");
            }
        }
    }
}

impl Asked {
    fn table(&self, hook: &str) -> Table {
        let mut table = Table::new().with("plugin", text(hook));
        table.set("upstream", text(&self.upstream));
        table.set("path", text(&self.path));
        if let Some(timeout) = &self.timeout {
            table.set("timeout", text(timeout));
        }
        if !self.headers.is_empty() {
            table.set("set_headers", self.headers.inline());
        }
        table
    }
}

/// What a directive that switches bodies on and off is translated to.
fn of_body(directive: &Directive) -> &'static str {
    match directive.argument(0) {
        "off" => "copies have no body: there is no `body_limit`",
        _ => "`body_limit` of the hook `mirror`",
    }
}

/// Bytes that the body of a request has at most where it is shown to another server; none where it is
/// not.
fn body_limit(scope: &Scope<'_>) -> Option<u64> {
    if (scope.one("mirror_request_body")).is_some_and(|shown| shown.argument(0) == "off") {
        return None;
    }
    let most = scope.one("client_max_body_size");
    let most = most.and_then(|most| size(most.argument(0)));
    Some(match most.unwrap_or(CLIENT_MAX_BODY_SIZE) {
        0 => u64::MAX,
        bytes => bytes,
    })
}

/// The `server` that a place is in.
fn server_of<'s>(scope: &'s Scope<'s>) -> Option<&'s Scope<'s>> {
    let around = std::iter::successors(Some(scope), |scope| scope.outer());
    let mut servers = around.filter(|scope| {
        let block = scope.directive;
        block.is_some_and(|block| block.name == "server")
    });
    servers.next()
}
