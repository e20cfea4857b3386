//! What keeps requests out, or holds them back: where it is lost, all of them stay out.

use super::Translator;
use super::location::answer_of;
use super::report::Outcome;
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

/// Likewise, of modules that nothing here stands for.
const GUARDS_UNKNOWN: [&str; 19] = [
    "access_by_lua",
    "access_by_lua_block",
    "access_by_lua_file",
    "auth_digest",
    "auth_gss",
    "auth_jwt",
    "auth_jwt_require",
    "auth_ldap",
    "auth_oidc",
    "auth_pam",
    "auth_request",
    "js_access",
    "modsecurity",
    "require",
    "rewrite_by_lua",
    "rewrite_by_lua_block",
    "rewrite_by_lua_file",
    "secure_link",
    "secure_link_secret",
];

impl Translator<'_> {
    /// Whether something that keeps requests out at a place is lost: then all have to stay out.
    pub(super) fn is_guard_lost(&self, scope: &Scope<'_>) -> bool {
        let outcome = |guard: &Directive| self.accounts.of(guard.id).map(|(outcome, _)| outcome);
        let is_lost = |guard: &&Directive| outcome(guard) == Some(Outcome::Lost);
        let is_unknown = |guard: &&Directive| {
            guard.argument(0) != "off" && matches!(outcome(guard), None | Some(Outcome::Lost))
        };
        let mut known = GUARDS.iter().flat_map(|name| scope.nearest(name));
        let unknown = GUARDS_UNKNOWN.iter();
        let mut unknown = unknown.flat_map(|name| scope.nearest_unknown(name));
        known.any(is_lost) || unknown.any(is_unknown)
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
