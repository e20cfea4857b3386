//! Routes beside those of what a location says: for methods that its `limit_except` is for, and for
//! its path without the slash at its end.

use super::Translator;
use super::matching::Location;
use super::scope::Scope;
use super::writer::{Block, Table, text};
use crate::http::variable::Phase;

impl Translator<'_> {
    /// The methods that a `limit_except` of a location names, and what it does with all others: nothing
    /// of what the location would run before, not even a `set`.
    pub(super) fn of_other_methods(
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

    /// The route of a location's path without the slash at its end, as nginx has it where a server
    /// answers the location (`auto_redirect` of `ngx_http_core_find_static_location`).
    pub(super) fn with_slash(&mut self, scope: &Scope<'_>, bare: &str) -> Block {
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
}

/// The path of a location without the slash at its end, where nginx sends clients from there to the
/// location: a server answers it, and no other location has that path.
pub(super) fn without_slash<'l>(scope: &Scope<'_>, location: &'l Location) -> Option<&'l str> {
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
    let is_taken = super::nesting::is_beside(scope, bare);
    let is_passed = passes.iter().any(|name| !scope.own(name).is_empty());
    (is_passed && !is_taken).then_some(bare)
}
