//! What keeps requests out, or holds them back: where it is lost, all of them stay out.

use regex::Regex;

use super::Translator;
use super::action::answer_of;
use super::conditions::Condition;
use super::fallback::is_known;
use super::finding;
use super::jumps::landing_of;
use super::matching::Location;
use super::report::Outcome;
use super::rewriting::Rule;
use super::scope::Scope;
use super::tree::Directive;
use super::writer::Block;

/// The directives that keep requests out, or hold them back.
const GUARDS: [&str; 6] = [
    "allow",
    "auth_basic",
    "auth_basic_user_file",
    "deny",
    "limit_conn",
    "limit_req",
];

/// How names of directives begin that do it in modules which nothing here stands for.
const GUARDS_OF_MODULES: [&str; 8] = [
    "access_by_",
    "auth_",
    "js_access",
    "modsecurity",
    "require",
    "rewrite_by_",
    "secure_link",
    "server_rewrite_by_",
];

/// What begins like them, and keeps nobody out.
const NO_GUARDS: [&str; 3] = ["auth_delay", "auth_http", "auth_request_set"];

/// How names of directives of well-known modules begin that keep nobody out: they change what is sent,
/// write, count or prepare. Any other that nobody knows may keep requests out.
const OF_MODULES_HARMLESS: [&str; 26] = [
    "body_filter_by_lua",
    "concat",
    "datadog_",
    "dyups_",
    "exit_worker_by_lua",
    "fancyindex",
    "footer",
    "graphite_",
    "header_filter_by_lua",
    "image_filter",
    "init_by_lua",
    "init_worker_by_lua",
    "jaeger_",
    "log_by_lua",
    "more_clear_",
    "more_set_",
    "newrelic",
    "pagespeed",
    "ssl_session_fetch_by_lua",
    "ssl_session_store_by_lua",
    "statsd_",
    "subs_filter",
    "trim",
    "upload_progress",
    "xslt_",
    "zipkin_",
];

/// Why a path that something leads to is lost where [`is_answered_anew`].
pub(super) const ANSWERED_ANEW: &str = "nginx has the conditions and rules of the server asked again for this path, and one of them may \
     answer it: make a route for the path, with that condition";

/// Whether conditions or rules of a server may answer a path that something of it leads to: nginx has
/// them asked again (`ngx_http_internal_redirect`), which no route does here.
pub(super) fn is_answered_anew(server: &Scope<'_>, path: &str) -> bool {
    let mut conditions = server.own("if").iter();
    let asks = conditions.any(|block| {
        let Ok(condition) = Condition::parse(&block.arguments) else {
            return true;
        };
        match &*condition.variable {
            "uri" | "document_uri" => condition.holds_for(path),
            name => is_of_path(server, name),
        }
    });
    let mut rules = server.own("rewrite").iter();
    asks || rules
        .any(|rule| Regex::new(rule.argument(0)).map_or(true, |regex| regex.is_match(path)))
}

/// Whether the value of a variable of one's own depends on the path.
fn is_of_path(server: &Scope<'_>, name: &str) -> bool {
    let tells_path = |text: &str| text.contains("$uri") || text.contains("$document_uri");
    let mut sets = server.own("set").iter();
    let is_meant = |word: &str| word.strip_prefix('$') == Some(name);
    if sets.any(|set| is_meant(set.argument(0)) && tells_path(set.argument(1))) {
        return true;
    }
    let mut scope = Some(server);
    while let Some(outer) = scope {
        let mut maps = outer.own("map").iter();
        if maps.any(|map| is_meant(map.argument(1)) && tells_path(map.argument(0))) {
            return true;
        }
        scope = outer.outer();
    }
    false
}

fn is_internal(location: &Directive) -> bool {
    let mut children = location.children().iter();
    children.any(|child| child.name == "internal")
}

impl Translator<'_> {
    /// Whether something that keeps requests out at a place is lost: then all have to stay out.
    pub(super) fn is_guard_lost(&self, scope: &Scope<'_>) -> bool {
        let is_lost = |guard: &&Directive| self.is_lost(guard);
        let mut known = GUARDS.iter().flat_map(|name| scope.nearest(name));
        let begins = |name: &str, with: &[&str]| with.iter().any(|each| name.starts_with(each));
        let is_of_module = |name: &str| {
            begins(name, &GUARDS_OF_MODULES) && !begins(name, &NO_GUARDS) && !GUARDS.contains(&name)
        };
        let is_unsaid = |guard: &Directive| {
            guard.argument(0) != "off"
                && (self.is_lost(guard) || self.accounts.of(guard.id).is_none())
        };
        known.any(is_lost)
            || scope.any_nearest(is_of_module, is_unsaid)
            || self.is_address_lost(scope)
            || self.is_unsure(scope)
    }

    /// Whether it may be lost who is let in at a place, whatever stands there: a file is missing,
    /// nobody knows a directive, a location within cannot be told from others, or clients show no
    /// certificates.
    pub(super) fn is_unsure(&self, scope: &Scope<'_>) -> bool {
        let is_unknown = |name: &str| {
            let mut harmless = OF_MODULES_HARMLESS.iter();
            !is_known(name, self.accounts) && !harmless.any(|each| name.starts_with(each))
        };
        let is_on = |directive: &Directive| directive.argument(0) != "off";
        let place = scope
            .directive
            .filter(|block| block.name == "location")
            .and_then(|block| Location::parse(&block.arguments));
        // One that no request gets to is told of as harmless by then.
        let is_reached = |inner: &Directive| {
            let verdict = self.accounts.of(inner.id);
            verdict.is_none_or(|(outcome, _)| outcome != Outcome::Harmless)
        };
        let is_blurred = |inner: &&Directive| {
            is_reached(inner) && !Location::is_sayable(&inner.arguments, place.as_ref())
        };
        let lets_any_in = |verify: &&Directive| verify.argument(0) != "off" && self.is_lost(verify);
        scope.own("location").iter().any(is_blurred)
            || scope.lacks_file()
            || scope.any_nearest(is_unknown, is_on)
            || scope.nearest("ssl_verify_client").iter().any(lets_any_in)
    }

    /// Whether something asks for the client's address, which is another one here.
    fn is_address_lost(&self, scope: &Scope<'_>) -> bool {
        let asks = ["allow", "deny", "if"];
        let is_lost = |said: &&Directive| self.is_lost(said);
        asks.iter().any(|name| !scope.nearest(name).is_empty())
            && ["set_real_ip_from", "real_ip_header", "real_ip_recursive"]
                .iter()
                .any(|name| scope.nearest(name).iter().any(is_lost))
    }

    /// Notes where a rule leads requests that nginx lets into an `internal` location: they are no
    /// longer those of a client (`ngx_http_script_regex_start_code`), and a 404 here.
    pub(super) fn note_internal(&self, scope: &Scope<'_>, directive: &Directive, rule: &Rule) {
        let server = finding::server_of(scope);
        let is_of_server = |scope: &Scope<'_>| std::ptr::eq(server, scope);
        let is_of_server = is_of_server(scope)
            || (scope.outer().is_some_and(is_of_server)
                && scope.directive.is_some_and(|own| own.name == "if"));
        let is_jump = scope
            .directive
            .is_some_and(|own| landing_of(server.children, own).is_some());
        let leads = match &*rule.flag {
            "" | "last" => !is_jump,
            "break" => is_of_server,
            _ => false,
        };
        let path = rule.to.split('?').next().unwrap_or_default();
        if !leads || !path.starts_with('/') {
            return;
        }
        let (begin, is_fixed) = match path.split_once('$') {
            Some((begin, _)) => (begin, false),
            None => (path, true),
        };
        if is_fixed {
            let chain = self.find(server.children, path);
            if chain.iter().any(|found| is_internal(found)) {
                self.accounts.lost(
                    directive,
                    "it leads to an `internal` location, which answers 404 to whatever a `rewrite` \
                     leads there: lead there by `try_files` or `error_page`, or take `internal` out",
                );
            }
            return;
        }
        let mut locations: Vec<&Directive> = server.children.iter().collect();
        while let Some(found) = locations.pop() {
            if found.name != "location" {
                continue;
            }
            locations.extend(found.children());
            let may_be_there = match Location::parse(&found.arguments) {
                Some(
                    Location::Exact(path) | Location::Prefix(path) | Location::PrefixNoRegex(path),
                ) => path.starts_with(begin) || begin.starts_with(&path),
                Some(Location::Regex(..)) => true,
                Some(Location::Named(_)) | None => false,
            };
            if may_be_there {
                for internal in found
                    .children()
                    .iter()
                    .filter(|child| child.name == "internal")
                {
                    self.accounts.changed(
                        internal,
                        "404 for clients that ask for it, and for those that a `rewrite` leads there",
                    );
                }
            }
        }
    }

    /// Whether it has been found that a directive cannot be said.
    pub(super) fn is_lost(&self, directive: &Directive) -> bool {
        let verdict = self.accounts.of(directive.id);
        verdict.is_some_and(|(outcome, _)| outcome == Outcome::Lost)
    }
}

/// A route that lets nothing in, where what would decide about it is lost.
pub(super) fn closed(scope: &Scope<'_>) -> Block {
    let mut block = answer_of("501");
    block.range = scope
        .directive
        .map(|directive| (directive.id, directive.last));
    block
}
