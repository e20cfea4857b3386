//! What a server gets in place of what the client has sent: `strip_prefix`, `add_prefix`,
//! `request_method` and `request_body`.

use super::log::is_off;
use super::{Complaint, noted, template};
use crate::config::model::{PathPattern, ProxyUri, RequestBody};
use crate::config::problem::Problem;
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::http::headers::is_token;
use crate::http::variable::{Names, Phase};

/// What becomes of the path, where `uri` is what `proxy` says of it.
pub(super) fn prefix(
    route: &Section<'_>,
    uri: Option<ProxyUri>,
    path: Option<&PathPattern>,
) -> Option<ProxyUri> {
    if uri.is_some() {
        for key in ["strip_prefix", "add_prefix"] {
            if let Some(node) = route.get(key) {
                let message = format!("`{key}` beside a URI part in `proxy`");
                let hint = "both say what becomes of the path: leave one of them out";
                route
                    .problems
                    .add(Problem::new(&node.place, message).hint(hint));
            }
        }
        return uri;
    }
    let strip = route
        .get("strip_prefix")
        .and_then(|node| stripped(route, node, path));
    let add = route
        .text_given("add_prefix")
        .and_then(|(text, node)| noted(checked_prefix("add_prefix", text), node, route.problems));
    match (strip, add) {
        (None, None) => None,
        (strip, add) => Some(ProxyUri::Prefix {
            strip: strip.unwrap_or_default(),
            add: add.unwrap_or_default(),
        }),
    }
}

/// What is taken off; none where that is nothing.
fn stripped(route: &Section<'_>, node: &Node, path: Option<&PathPattern>) -> Option<String> {
    const KEY: &str = "strip_prefix";
    let matched = match &node.value {
        Value::Boolean(matched) => *matched,
        Value::Environment(text) if text == "true" || text == "false" => text == "true",
        _ => {
            let Some(text) = node.as_text() else {
                route.wrong_type(node, KEY);
                return None;
            };
            return noted(checked_prefix(KEY, text), node, route.problems);
        }
    };
    if !matched {
        return None;
    }
    let prefix = match path? {
        PathPattern::Regex(_) => {
            let complaint = Complaint::new(format!("`{KEY} = true` where `path` is a regex"));
            let hint = "there is no fixed part of the path to take off: say which, \
                        `strip_prefix = \"/api\"`, or use the hook `rewrite`";
            route.problems.add(complaint.hint(hint).at(&node.place));
            return None;
        }
        PathPattern::Exact(path) | PathPattern::Prefix(path) | PathPattern::PrefixNoRegex(path) => {
            path.strip_suffix('/').unwrap_or(path)
        }
    };
    if prefix.is_empty() {
        let complaint = Complaint::new(format!("`{KEY} = true` where `path` is `/`"));
        let hint = "that takes nothing off: leave it out, or say what, `strip_prefix = \"/api\"`";
        route.problems.add(complaint.hint(hint).at(&node.place));
        return None;
    }
    Some(prefix.to_owned())
}

/// A prefix without the slash that it may end with: what follows begins with one.
fn checked_prefix(key: &str, text: &str) -> Result<String, Complaint> {
    let prefix = text.strip_suffix('/').unwrap_or(text);
    if !text.starts_with('/') || prefix.is_empty() {
        let complaint = Complaint::new(format!("`{text}` cannot be a prefix of a path"));
        return Err(complaint.hint(format!(
            "it begins with `/`, and something follows: `{key} = \"/api\"`"
        )));
    }
    if key == "strip_prefix" {
        // It is held against paths that are decoded.
        return Ok(prefix.to_owned());
    }
    if !prefix
        .chars()
        .all(|c| c.is_ascii_graphic() && !matches!(c, '#' | '?'))
    {
        let complaint = Complaint::new(format!("`{text}` is not the path of a URI"));
        return Err(complaint.hint("encode what is not allowed in a path as `%20`"));
    }
    Ok(prefix.to_owned())
}

/// The method that a server is asked with; none for the client's own.
pub(super) fn method(route: &Section<'_>) -> Option<Box<str>> {
    let (text, node) = route.text_given("request_method")?;
    let complaint = match text {
        "HEAD" => Some(
            Complaint::new("`HEAD` cannot take the place of another method")
                .hint("its answers have no body, and the client waits for one: say `GET`"),
        ),
        "CONNECT" | "TRACE" => Some(Complaint::new(format!(
            "`{text}` is a method that servers are never asked with"
        ))),
        // A token may have a `$` (RFC 9110 section 5.6.2); who writes one means a variable.
        _ if text.contains('$') => Some(
            Complaint::new(format!("`{text}`: `request_method` has no variables")).hint(
                "name one method, such as `GET`; without `request_method` it is the client's own",
            ),
        ),
        _ if !is_token(text.as_bytes()) => Some(
            Complaint::new(format!("`{text}` cannot be a method"))
                .hint("methods are words such as `GET`, `POST` or `PROPFIND`"),
        ),
        _ if text.bytes().any(|byte| byte.is_ascii_lowercase()) => Some(
            // RFC 9110 section 9.1: case counts, and all known methods are in upper case.
            Complaint::new(format!("`{text}` is no method that servers know")).hint(format!(
                "write it in upper case: `{}`",
                text.to_ascii_uppercase()
            )),
        ),
        _ => None,
    };
    let method = match complaint {
        Some(complaint) => Err(complaint),
        None => Ok(text.into()),
    };
    noted(method, node, route.problems)
}

/// What a server gets as the body.
pub(super) fn body(route: &Section<'_>, names: Names<'_>) -> RequestBody {
    let Some(node) = route.get("request_body") else {
        return RequestBody::Client;
    };
    if is_off(node) {
        return RequestBody::Nothing;
    }
    let Some(text) = node.as_text() else {
        route.wrong_type(node, "request_body");
        return RequestBody::Nothing;
    };
    let body = noted(template(text, Phase::Request, names), node, route.problems);
    body.map_or(RequestBody::Nothing, RequestBody::Text)
}
