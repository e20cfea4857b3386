//! `hash`, `random`, `least_time` and `sticky`: the `policy` of an upstream.

use super::tree::Directive;
use super::variables::Constants;
use super::words::Words;
use super::writer::{Table, list, text};
use crate::http::variable::Phase;

/// A policy with its parameters.
///
/// # Errors
/// What cannot be said.
pub(super) fn policy(
    directive: &Directive,
    phase: Phase,
    words: &Words<'_>,
) -> Result<String, String> {
    let first = directive.argument(0);
    let mut table = Table::new().with("plugin", text(&directive.name));
    match &*directive.name {
        "hash" => {
            let phase = match phase {
                Phase::Choice => Phase::Choice,
                _ => Phase::Request,
            };
            let key = words.setting(first, &Constants::default(), phase)?;
            table.set("key", text(&key));
            if directive.argument(1) == "consistent" {
                table.set("consistent", "true");
            }
        }
        "random" => match (first, directive.argument(1)) {
            ("", _) => return Ok(text("random")),
            ("two", "" | "least_conn") => table.set("two", text("least_conn")),
            ("two", time) if time.starts_with("least_time") => {
                table.set("two", text("least_time"));
            }
            _ => return Err(format!("`random {first}` is not there: `random two` is")),
        },
        "least_time" if phase == Phase::Choice => {
            return Err(
                "`least_time` is for requests: `least_conn` is for streams, too".to_owned(),
            );
        }
        "least_time" => {
            table.set("by", text(first));
            if directive.arguments.iter().any(|word| word == "inflight") {
                table.set("inflight", "true");
            }
        }
        _ => return sticky(directive, words).map(|table| table.inline()),
    }
    Ok(table.inline())
}

/// `sticky` of nginx, the one of the module `sticky`, and `sticky_cookie_insert`.
fn sticky(directive: &Directive, words: &Words<'_>) -> Result<Table, String> {
    let table = Table::new().with("plugin", text("sticky"));
    let arguments: Vec<&str> = directive.arguments.iter().map(String::as_str).collect();
    let is_insert = directive.name == "sticky_cookie_insert";
    match arguments.as_slice() {
        [name, rest @ ..] if is_insert => Ok(table.with("cookie", cookie(name, rest)?.inline())),
        ["cookie", name, rest @ ..] => Ok(table.with("cookie", cookie(name, rest)?.inline())),
        ["route", variables @ ..] => Ok(table.with("route", names(variables, words)?)),
        ["learn", rest @ ..] => Ok(table.with("learn", learn(rest, words)?.inline())),
        rest if rest.iter().all(|word| is_of_module(word)) => {
            let name = rest.iter().find_map(|word| word.strip_prefix("name="));
            let of_cookie = |word: &&str| !word.starts_with("name=") && !is_about_server(word);
            let rest: Vec<&str> = rest.iter().copied().filter(of_cookie).collect();
            words.accounts.changed(
                directive,
                "the policy `sticky`: its cookie names servers in another way, so clients that have \
                 one are given a server anew",
            );
            Ok(table.with("cookie", cookie(name.unwrap_or("route"), &rest)?.inline()))
        }
        [other, ..] => Err(format!(
            "`sticky {other}` is not there: `cookie`, `route` and `learn` are"
        )),
        [] => Err("it says nothing".to_owned()),
    }
}

/// Whether it is a word of the module `sticky`.
fn is_of_module(word: &str) -> bool {
    let words = [
        "name=",
        "domain=",
        "path=",
        "expires=",
        "hash=",
        "hmac=",
        "hmac_key=",
        "text=",
    ];
    words.iter().any(|known| word.starts_with(known))
        || matches!(word, "no_fallback" | "secure" | "httponly")
}

/// Whether it says how the cookie names a server, or what is done without one.
fn is_about_server(word: &str) -> bool {
    let words = ["hash=", "hmac=", "hmac_key=", "text="];
    words.iter().any(|known| word.starts_with(known)) || word == "no_fallback"
}

fn cookie(name: &str, arguments: &[&str]) -> Result<Table, String> {
    let mut cookie = Table::new().with("name", text(name));
    for argument in arguments {
        match argument.split_once('=') {
            Some((name @ ("expires" | "domain" | "path" | "samesite"), value)) => {
                cookie.set(name, text(value));
            }
            None if matches!(*argument, "httponly" | "secure") => cookie.set(argument, "true"),
            _ => return Err(format!("`{argument}` is not known here")),
        }
    }
    Ok(cookie)
}

fn names(variables: &[&str], words: &Words<'_>) -> Result<String, String> {
    let constants = Constants::default();
    let names: Result<Vec<String>, String> = variables
        .iter()
        .map(|variable| words.setting(variable, &constants, Phase::Response))
        .collect();
    let names = names?;
    match names.as_slice() {
        [] => Err("it names no variable".to_owned()),
        [name] => Ok(text(name)),
        names => Ok(list(names.iter().map(|name| text(name)))),
    }
}

fn learn(arguments: &[&str], words: &Words<'_>) -> Result<Table, String> {
    let mut learn = Table::new();
    for key in ["create", "lookup"] {
        let start = format!("{key}=");
        let values = arguments
            .iter()
            .filter_map(|word| word.strip_prefix(&start));
        learn.set(key, names(&values.collect::<Vec<_>>(), words)?);
    }
    for argument in arguments {
        match argument.split_once('=') {
            Some(("create" | "lookup", _)) => {}
            Some(("timeout", time)) => learn.set("timeout", text(time)),
            Some(("zone", zone)) => {
                let size = zone.split_once(':').map_or("1m", |(_, size)| size);
                learn.set("zone", text(size));
            }
            None if *argument == "header" => {}
            _ => return Err(format!("`{argument}` is not known here")),
        }
    }
    Ok(learn)
}
