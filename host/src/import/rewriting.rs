//! `return` as a route, and `rewrite` as a rule of the hook `rewrite`
//! (`ngx_http_rewrite_module.c`).

use super::Translator;
use super::conditions::check_regex;
use super::matching::Location;
use super::scope::Scope;
use super::tree::Directive;
use super::variables::{Piece, joined_of, names_in, pieces_of};
use super::words::Here;
use super::writer::{Block, Table, list, text};
use crate::config::REDIRECTS;
use crate::http::variable::Phase;

/// Expressions that every path fits.
const ALL: [&str; 10] = [
    "^", "^/", "^(.*)", "^(.*)$", "^/(.*)", "^/(.*)$", "^.*$", ".*", "(.*)", "/",
];

/// A rule of the hook `rewrite`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) flag: String,
    pub(super) when: Option<String>,
}

impl Rule {
    fn item(&self) -> String {
        let plain = [&self.from, &self.to];
        let is_plain = plain
            .iter()
            .all(|word| !word.is_empty() && !word.contains([' ', '\'', '"']));
        if is_plain && self.when.is_none() {
            let line = format!("{} {} {}", self.from, self.to, self.flag);
            return text(line.trim_end());
        }
        let mut table = Table::new()
            .with("from", text(&self.from))
            .with("to", text(&self.to));
        if !self.flag.is_empty() {
            table.set("flag", text(&self.flag));
        }
        if let Some(when) = &self.when {
            table.set("when", text(when));
        }
        table.inline()
    }
}

/// Rules as an item of `hooks`.
pub(super) fn hook(rules: &[Rule]) -> String {
    Table::new()
        .with("plugin", text("rewrite"))
        .with("rules", list(rules.iter().map(Rule::item)))
        .inline()
}

impl Translator<'_> {
    /// `return` as a route.
    pub(super) fn answer(
        &mut self,
        scope: &Scope<'_>,
        directive: &Directive,
        location: Option<&Location>,
    ) -> Block {
        let accounts = self.accounts;
        let mut block = Block::new("[[route]]");
        block.range = Some((directive.id, directive.last));
        let (first, second) = (directive.argument(0), directive.arguments.get(1));
        let mut answer = Table::new();
        let words = |text: &str| self.words.text(text, &scope.constants, Phase::Return);
        let status: Option<u16> = first.parse().ok();
        let is_redirect = |status: u16| REDIRECTS.contains(&status);
        let mut danger = None;
        let mut led_to = |url: &str| {
            let (url, told) = self.led_to(scope, url, words(url)?);
            danger = told;
            Ok::<_, String>(url)
        };
        let result = match (status, second) {
            (None, None) => led_to(first).map(|location| answer.set("location", text(&location))),
            (None, Some(_)) => Err("the status is no number".to_owned()),
            (Some(444), _) => {
                answer.set("status", "444".to_owned());
                Ok(())
            }
            (Some(status), _) if !(200..=599).contains(&status) => {
                Err("a status is from 200 to 599".to_owned())
            }
            (Some(status), Some(url)) if is_redirect(status) => led_to(url).map(|url| {
                answer.set("status", status.to_string());
                answer.set("location", text(&url));
            }),
            (Some(status), None) if is_redirect(status) => {
                Err("a redirect says where to".to_owned())
            }
            (Some(status), body) => {
                answer.set("status", status.to_string());
                match body.filter(|body| !body.is_empty() && !matches!(status, 204 | 304)) {
                    Some(body) => words(body).map(|body| answer.set("body", text(&body))),
                    None => Ok(()),
                }
            }
        };
        let is_path = answer.get("location").is_some_and(|url| {
            url.starts_with(['/', '"']) && url.trim_matches('"').starts_with('/')
        });
        match result {
            Ok(()) if danger.is_some() => {
                let danger = danger.unwrap_or_default();
                accounts.changed(directive, format!("`return` in `[[route]]`: {danger}"));
            }
            Ok(()) if is_path => accounts.changed(
                directive,
                "`return` in `[[route]]`: the path is sent as it is, without scheme and host \
                 (RFC 9110 section 10.2.2)",
            ),
            Ok(()) => accounts.translated(directive, "`return` in `[[route]]`"),
            Err(why) => {
                accounts.lost(directive, why);
                answer = Table::new().with("status", "501");
            }
        }
        let sent = status.or(Some(302));
        let (headers, content_type) = self.response_headers(scope, Phase::Return, sent);
        if answer.get("body").is_some() {
            let by_default = self.type_of(scope, location);
            match content_type.unwrap_or(by_default).as_str() {
                "text/plain" => {}
                other => answer.set("content_type", text(other)),
            }
        }
        block.keys.set("return", answer.inline());
        self.around_answer(scope, &mut block, headers, sent);
        block
    }

    /// The type of a text that is answered at a location (`ngx_http_set_content_type`).
    fn type_of(&self, scope: &Scope<'_>, location: Option<&Location>) -> String {
        if let Some(directive) = scope.one("default_type") {
            self.accounts
                .translated(directive, "`content_type` in `return`");
        }
        let default = scope.value("default_type").unwrap_or("text/plain");
        let exact = match location {
            Some(Location::Exact(path)) => path.rsplit('/').next().unwrap_or_default(),
            _ => "",
        };
        let extension = exact
            .rsplit_once('.')
            .map(|(_, extension)| extension.to_ascii_lowercase());
        let Some(extension) = extension else {
            return default.to_owned();
        };
        for types in scope.nearest("types") {
            for entry in types.children() {
                if entry.arguments.contains(&extension) {
                    self.accounts
                        .translated(types, "`content_type` in `return`");
                    return entry.name.clone();
                }
            }
        }
        match (&*extension, scope.nearest("types").is_empty()) {
            ("html", true) => "text/html".to_owned(),
            ("gif", true) => "image/gif".to_owned(),
            ("jpg", true) => "image/jpeg".to_owned(),
            _ => default.to_owned(),
        }
    }

    /// A `rewrite` of every path to a URL without captures: an answer like any other.
    pub(super) fn fixed_redirect(
        &mut self,
        scope: &Scope<'_>,
        directive: &Directive,
    ) -> Option<Block> {
        let (from, to) = (directive.argument(0), directive.argument(1));
        let status = match directive.argument(2) {
            "permanent" => 301,
            "redirect" => 302,
            _ => return None,
        };
        let has_capture = names_in(to).any(|name| name.starts_with(|c: char| c.is_ascii_digit()));
        if !ALL.contains(&from) || has_capture {
            return None;
        }
        let location = match to.strip_suffix('?') {
            Some(to) => to.to_owned(),
            None => format!("{to}$is_args$args"),
        };
        let written = self
            .words
            .text(&location, &scope.constants, Phase::Return)
            .ok()?;
        let (location, danger) = self.led_to(scope, &location, written);
        let mut block = Block::new("[[route]]");
        let answer = Table::new()
            .with("status", status.to_string())
            .with("location", text(&location));
        block.keys.set("return", answer.inline());
        block.range = Some((directive.id, directive.last));
        match danger {
            Some(danger) => {
                let told = format!("`return` in `[[route]]`: {danger}");
                self.accounts.changed(directive, told);
            }
            None => self
                .accounts
                .translated(directive, "`return` in `[[route]]`"),
        }
        let (headers, _) = self.response_headers(scope, Phase::Return, Some(status));
        self.around_answer(scope, &mut block, headers, Some(status));
        Some(block)
    }

    /// A `rewrite` as a rule.
    pub(super) fn rule(
        &self,
        scope: &Scope<'_>,
        directive: &Directive,
        when: Option<String>,
    ) -> Option<Rule> {
        let from = directive.argument(0);
        let to =
            check_regex(from).and_then(|()| self.replacement(scope, from, directive.argument(1)));
        match to {
            Ok(to) => {
                self.accounts
                    .translated(directive, "a rule of the hook `rewrite`");
                Some(Rule {
                    from: from.to_owned(),
                    to,
                    flag: directive.argument(2).to_owned(),
                    when,
                })
            }
            Err(why) => {
                self.accounts.lost(directive, why);
                None
            }
        }
    }

    /// What takes the place of a path: captures stay, what is constant is inlined.
    pub(super) fn replacement(
        &self,
        scope: &Scope<'_>,
        from: &str,
        to: &str,
    ) -> Result<String, String> {
        let mut inlined: Vec<(bool, String)> = Vec::new();
        for piece in pieces_of(to) {
            match piece {
                Piece::Literal(literal) => inlined.push((false, literal.to_owned())),
                Piece::Variable(name) => {
                    let named = format!("<{name}>");
                    let is_capture = name.starts_with(|c: char| c.is_ascii_digit());
                    if is_capture || from.contains(&named) {
                        inlined.push((true, name.to_owned()));
                        continue;
                    }
                    let variable = format!("${{{name}}}");
                    let parts = scope.constants.resolve(&variable)?;
                    let here = Here::anywhere(&scope.constants);
                    let text = self.words.render(&parts, here)?;
                    inlined.extend(pieces_of(&text).into_iter().map(|piece| match piece {
                        Piece::Literal(literal) => (false, literal.to_owned()),
                        Piece::Variable(name) => (true, name.to_owned()),
                    }));
                }
            }
        }
        Ok(joined_of(&inlined))
    }
}

/// The one path that rules make of all others.
pub(super) fn fixed_path(rules: &[Rule]) -> Option<&str> {
    let [rule] = rules else { return None };
    let is_fixed = rule.to.starts_with('/') && !rule.to.contains(['$', '?']);
    let is_last = matches!(&*rule.flag, "break" | "last");
    let is_for_all = ALL.contains(&&*rule.from) && rule.when.is_none();
    (is_fixed && is_last && is_for_all).then_some(&rule.to)
}
