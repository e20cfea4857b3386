//! `return` as a route, and `rewrite` as a rule of the hook `rewrite`
//! (`ngx_http_rewrite_module.c`).

use regex::Regex;
use regex_syntax::hir::{Capture, Class, Hir, HirKind, Repetition};

use super::Translator;
use super::conditions::check_regex;
use super::expressions::{of_ascii, with_line_ends};
use super::finding::fits_all_below;
use super::matching::Location;
use super::scope::Scope;
use super::tree::Directive;
use super::variables::{Piece, joined_of, names_in, pieces_of};
use super::words::Here;
use super::writer::{Block, Table, list, text};
use crate::config::REDIRECTS;
use crate::http::variable::Phase;

/// Expressions that every path fits.
pub(super) const ALL: [&str; 10] = [
    "^", "^/", "^(.*)", "^(.*)$", "^/(.*)", "^/(.*)$", "^.*$", ".*", "(.*)", "/",
];

/// A rule of the hook `rewrite`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) flag: String,
    pub(super) when: Option<String>,
    /// Of a server: hosts that are answered before it.
    pub(super) not_hosts: Vec<String>,
    /// Of a server: what has to hold, as a condition before it answers otherwise.
    pub(super) behind: Option<String>,
}

impl Rule {
    /// Whether it may change this path.
    pub(super) fn may_fit(&self, path: &str) -> bool {
        self.when.is_some() || Regex::new(&self.from).map_or(true, |regex| regex.is_match(path))
    }

    /// The request's path goes below another one.
    pub(super) fn below(above: &str) -> Rule {
        Rule {
            from: "^(.*)$".to_owned(),
            to: format!("{above}$1"),
            flag: "break".to_owned(),
            when: None,
            not_hosts: Vec::new(),
            behind: None,
        }
    }

    /// Whether it is of an `if`.
    pub(super) fn is_of_condition(&self) -> bool {
        let when = self.when.as_deref();
        when.is_some_and(|when| !when.starts_with(OTHER_THAN))
    }

    /// Whether it answers by itself.
    pub(super) fn redirects(&self) -> bool {
        matches!(&*self.flag, "permanent" | "redirect")
    }

    /// Whether it is for paths that do not begin as all do that are below this one.
    pub(super) fn never_fits_below(&self, above: &str) -> bool {
        let asked = self
            .when
            .as_deref()
            .and_then(|when| when.strip_prefix(OTHER_THAN));
        asked.is_some_and(|regex| fits_all_below(true, regex, &format!("{above}/")))
    }

    /// Whether it may lead to a path with a slash at its end, whose index is looked for at the same
    /// place: with any other flag the place is looked for anew.
    fn may_lead_to_directory(&self) -> bool {
        if self.flag != "break" {
            return false;
        }
        let path = self.to.split('?').next().unwrap_or_default();
        let is_open = |text: &str| text.is_empty() || text.ends_with('/');
        match *pieces_of(path).as_slice() {
            [.., Piece::Literal(end)] => is_open(end),
            [.., Piece::Literal(before), Piece::Variable(group)] => {
                let group = group.parse().ok();
                is_open(before) || group.is_none_or(|group| may_end_a_path(&self.from, group))
            }
            _ => true,
        }
    }

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
        let types = scope.nearest("types");
        let are_none = !types.is_empty() && types.iter().all(|of| of.children().is_empty());
        let has_one_type = are_none || location.is_some_and(Location::has_one_ending);
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
            Ok(()) if answer.get("body").is_some() && !has_one_type => {
                accounts.changed(
                    directive,
                    "`return` in `[[route]]`: the text has one `content_type`, where nginx has that of \
                     the ending of each path",
                );
            }
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
            let content_type = content_type.unwrap_or(by_default);
            let substitutions = self.substitutions_in(scope, &content_type);
            block.extend_list("hooks", substitutions.into_iter().collect());
            match content_type.as_str() {
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
        let Some(extension) = location.and_then(Location::ending) else {
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
        // Behind a query of its own, that of the request follows with `&`, if there is one: a rule does
        // that.
        let has_query = to.trim_end_matches('?').contains('?');
        if !ALL.contains(&from) || has_capture || (has_query && !to.ends_with('?')) {
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
        let (from, when) = match (without_negative_look_ahead(from), when) {
            (Some((begin, other)), None) => (begin, Some(format!("{OTHER_THAN}{other}"))),
            (_, when) => (from, when),
        };
        let to =
            check_regex(from).and_then(|()| self.replacement(scope, from, directive.argument(1)));
        match to {
            Ok(to) => {
                self.accounts
                    .translated(directive, "a rule of the hook `rewrite`");
                let rule = Rule {
                    from: from.to_owned(),
                    to,
                    flag: directive.argument(2).to_owned(),
                    when,
                    not_hosts: Vec::new(),
                    behind: None,
                };
                self.note_internal(scope, directive, &rule);
                Some(rule)
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
        let groups = Regex::new(from).map_or(usize::MAX, |regex| regex.captures_len());
        let mut inlined: Vec<(bool, String)> = Vec::new();
        for piece in pieces_of(to) {
            match piece {
                Piece::Literal(literal) => inlined.push((false, literal.to_owned())),
                Piece::Variable(name) => {
                    let named = format!("<{name}>");
                    let is_capture = name.starts_with(|c: char| c.is_ascii_digit());
                    // nginx takes one that is not there for empty, whatever an `if` has captured.
                    if is_capture && name.parse().is_ok_and(|number: usize| number >= groups) {
                        continue;
                    }
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

/// Whether a `rewrite` leads every path to another one, which is fixed.
pub(super) fn leads_all(rewrite: &Directive) -> bool {
    let to = rewrite.argument(1);
    let is_fixed = to.starts_with('/') && !to.contains(['$', '?']);
    ALL.contains(&rewrite.argument(0)) && is_fixed && matches!(rewrite.argument(2), "" | "last")
}

/// What a condition begins with that paths must not fit.
const OTHER_THAN: &str = "$uri !~ ";

/// An expression such as `^/(?!in|remote)` as what paths begin with, and what they must not fit
/// besides: here look-ahead is not there.
fn without_negative_look_ahead(regex: &str) -> Option<(&str, String)> {
    let (begin, ahead) = regex.split_once("(?!")?;
    let ahead = ahead.strip_suffix(')')?;
    let mut depth = 0_i32;
    let is_one_group = ahead
        .replace("\\(", "")
        .replace("\\)", "")
        .chars()
        .all(|letter| {
            depth += i32::from(letter == '(') - i32::from(letter == ')');
            depth >= 0
        });
    // Where it begins is one place, whatever the path is.
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/-_".contains(letter);
    let is_fixed = begin.strip_prefix('^')?.chars().all(is_plain);
    let other = with_line_ends(&of_ascii(&format!("{begin}(?:{ahead})")));
    (is_one_group && depth == 0 && is_fixed && check_regex(&other).is_ok())
        .then_some((begin, other))
}

/// Whether what a group matches may have a slash at its end.
fn may_end_a_path(regex: &str, group: u32) -> bool {
    fn group_of(hir: &Hir, group: u32) -> Option<&Hir> {
        match hir.kind() {
            HirKind::Capture(capture) if capture.index == group => Some(&capture.sub),
            HirKind::Capture(Capture { sub, .. }) | HirKind::Repetition(Repetition { sub, .. }) => {
                group_of(sub, group)
            }
            HirKind::Concat(all) | HirKind::Alternation(all) => {
                all.iter().find_map(|each| group_of(each, group))
            }
            _ => None,
        }
    }
    fn ends_so(hir: &Hir) -> bool {
        match hir.kind() {
            HirKind::Literal(literal) => literal.0.ends_with(b"/"),
            HirKind::Class(Class::Unicode(class)) => class
                .iter()
                .any(|range| range.start() <= '/' && '/' <= range.end()),
            HirKind::Capture(Capture { sub, .. }) | HirKind::Repetition(Repetition { sub, .. }) => {
                ends_so(sub)
            }
            // What may be left out leaves the end to what stands before it.
            HirKind::Concat(all) | HirKind::Alternation(all) => all.iter().any(ends_so),
            HirKind::Empty | HirKind::Look(_) => false,
            HirKind::Class(_) => true,
        }
    }
    let parsed = regex_syntax::parse(regex).ok();
    let found = parsed.as_ref().and_then(|hir| group_of(hir, group));
    found.is_none_or(ends_so)
}

/// Whether rules lead all requests of a location to another one: the first of them asks for nothing,
/// or for what the location asks for.
pub(super) fn lead_away(rules: &[Rule], location: &Location) -> bool {
    let stays = rules.iter().any(|rule| rule.flag == "break");
    let asks_the_same = |rule: &Rule| match location {
        _ if ALL.contains(&&*rule.from) => true,
        Location::Regex(true, regex) => of_ascii(&rule.from) == *regex,
        _ => false,
    };
    let first = rules.first().filter(|rule| rule.when.is_none());
    !stays && first.is_some_and(asks_the_same)
}

/// What paths begin with that rules may lead to and whose index is looked for at the same place.
pub(super) fn led_below(rules: &[Rule]) -> Option<&str> {
    let mut leading = rules.iter().filter(|rule| rule.may_lead_to_directory());
    let first = leading.next()?;
    let path = first.to.split('?').next().unwrap_or_default();
    let fixed = match *pieces_of(path).as_slice() {
        [Piece::Literal(begin), ..] if leading.next().is_none() => begin,
        _ => "/",
    };
    let end = fixed.rfind('/').map_or(0, |end| end + 1);
    fixed.get(..end).or(Some("/"))
}

/// Ends rules by a `break` behind them: the place of the path that they have made is not looked for.
/// Returns whether that can be said.
pub(super) fn end(rules: &mut [Rule]) -> bool {
    let Some((last, before)) = rules.split_last_mut() else {
        return true;
    };
    if last.flag.is_empty() {
        last.flag.push_str("break");
    }
    before.iter().all(|rule| !rule.flag.is_empty())
}

/// The one path that rules make of all others, where it is no other location's (`last` looks for one).
pub(super) fn fixed_path(rules: &[Rule]) -> Option<&str> {
    let [rule] = rules else { return None };
    let is_fixed = rule.to.starts_with('/') && !rule.to.contains(['$', '?']);
    let is_for_all = ALL.contains(&&*rule.from) && rule.when.is_none();
    (is_fixed && rule.flag == "break" && is_for_all).then_some(&rule.to)
}
