//! `cookies`: what becomes of those that a server sets.

use std::sync::Arc;

use super::replacements::{TextKind, replacements};
use super::{Complaint, ConfigReader, noted, pattern};
use crate::config::declared::{COOKIE_FLAGS, COOKIES};
use crate::config::model::{CookieFlags, CookieNames, CookieRules, SameSite};
use crate::config::problem::Problem;
use crate::config::scalar::unknown_word;
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::http::headers::is_token;
use crate::http::variable::Names;

/// The rules of a route; none where it has none.
pub(super) fn cookies(
    route: &Section<'_>,
    names: Names<'_>,
    reader: ConfigReader<'_>,
) -> Option<Arc<CookieRules>> {
    let section = route.table("cookies", &COOKIES)?;
    let table = |key, kind| replacements(&section, key, kind, names, reader);
    Some(Arc::new(CookieRules {
        domains: table("domain", TextKind::CookieDomain),
        paths: table("path", TextKind::CookiePath),
        flags: flags(&section),
    }))
}

/// A list for all cookies, or a table of them by name; `*` comes last, wherever it stands.
fn flags(section: &Section<'_>) -> Vec<(CookieNames, CookieFlags)> {
    let Some(node) = section.get("flags") else {
        return Vec::new();
    };
    let Value::Table(entries) = &node.value else {
        let words = section.texts("flags");
        return vec![(CookieNames::All, words_of(&words, node, section))];
    };
    let mut rules = Vec::new();
    for entry in entries {
        let names = cookie_names(&entry.key);
        let names = names.map_err(|complaint| {
            section.problems.add(complaint.at(&entry.key_place));
        });
        let words = section.texts_of(&entry.node, "flags");
        let flags = words_of(&words, &entry.node, section);
        if let Ok(names) = names {
            rules.push((names, flags));
        }
    }
    rules.sort_by_key(|(names, _)| matches!(names, CookieNames::All));
    rules
}

fn cookie_names(text: &str) -> Result<CookieNames, Complaint> {
    if text == "*" {
        return Ok(CookieNames::All);
    }
    if let Some(pattern) = text.strip_prefix('~') {
        // As in nginx, the case of names never counts.
        let pattern = pattern.strip_prefix('*').unwrap_or(pattern);
        let regex = pattern::bytes_regex(&format!("~*{pattern}"))?;
        return Ok(CookieNames::Regex(text.into(), regex));
    }
    match is_token(text.as_bytes()) {
        true => Ok(CookieNames::Name(text.into())),
        false => {
            let complaint = Complaint::new(format!("`{text}` cannot be the name of a cookie"));
            Err(complaint.hint("write a name, `~regex`, or `*` for all others"))
        }
    }
}

/// What words such as `httponly` say together.
fn words_of(words: &[(&str, &Node)], list: &Node, section: &Section<'_>) -> CookieFlags {
    let mut flags = CookieFlags::default();
    for (word, node) in words {
        let said = match word.to_ascii_lowercase().as_str() {
            "secure" => set(&mut flags.secure, true),
            "nosecure" => set(&mut flags.secure, false),
            "httponly" => set(&mut flags.http_only, true),
            "nohttponly" => set(&mut flags.http_only, false),
            "samesite=strict" => set(&mut flags.same_site, Some(SameSite::Strict)),
            "samesite=lax" => set(&mut flags.same_site, Some(SameSite::Lax)),
            "samesite=none" => set(&mut flags.same_site, Some(SameSite::None)),
            "nosamesite" => set(&mut flags.same_site, None),
            other => {
                section.problems.add(unknown_flag(node, word, other));
                continue;
            }
        };
        let said = said.map_err(|()| {
            let complaint = Complaint::new(format!("`{word}` beside another word for the same"));
            complaint.hint("leave one of both out")
        });
        noted(said, node, section.problems);
    }
    if matches!(&list.value, Value::Array(items) if items.is_empty()) {
        let problem = Problem::new(&list.place, "`flags` is an empty list");
        section.problems.add(problem.hint(
            "leave it out to pass cookies on as the server sets them, or say what they get: \
             `[\"secure\"]`",
        ));
    }
    flags
}

/// `lower`: the word in lower case.
fn unknown_flag(node: &Node, word: &str, lower: &str) -> Problem {
    let problem = unknown_word(node, "flags", word, COOKIE_FLAGS);
    let letters: String = lower.chars().filter(char::is_ascii_alphabetic).collect();
    match letters.starts_with("samesite") {
        // `nosamesite` is near, and takes away what is asked for here.
        true => problem.hint("say which: `samesite=strict`, `samesite=lax` or `samesite=none`"),
        false => problem,
    }
}

/// Says something that was not said before.
fn set<T>(place: &mut Option<T>, value: T) -> Result<(), ()> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(()),
    }
}
