//! `proxy_redirect`: what becomes of a server's redirects.

use super::headers::header_value;
use super::{Complaint, noted};
use crate::config::model::{PathPattern, RedirectRule, RedirectRules};
use crate::config::problem::Problem;
use crate::config::section::Section;
use crate::config::tree::Value;
use crate::http::variable::{Names, Phase};

const KEY: &str = "proxy_redirect";

/// The rules of a route whose requests go to `url`, which has no path of its own, or to `uri`
/// there.
pub(super) fn rules(
    route: &Section<'_>,
    url: String,
    uri: Option<&str>,
    path: Option<&PathPattern>,
    names: Names<'_>,
) -> RedirectRules {
    match route.get(KEY).map(|node| &node.value) {
        None => by_default(url, uri, path),
        Some(Value::Table(_)) => RedirectRules::Given(given(route, names)),
        Some(Value::Boolean(false)) => RedirectRules::Given(Vec::new()),
        Some(_) => {
            if let Some(node) = route.get(KEY) {
                route.wrong_type(node, KEY);
            }
            RedirectRules::Given(Vec::new())
        }
    }
}

/// The rules of a route that says no more of where its requests go than what they name.
pub(super) fn given_alone(route: &Section<'_>, names: Names<'_>) -> RedirectRules {
    match route.get(KEY).map(|node| &node.value) {
        None => RedirectRules::Given(Vec::new()),
        Some(_) => rules(route, String::new(), None, None, names),
    }
}

/// `proxy_redirect default` (`ngx_http_proxy_merge_loc_conf`).
fn by_default(url: String, uri: Option<&str>, path: Option<&PathPattern>) -> RedirectRules {
    match (uri, path) {
        (
            Some(uri),
            Some(
                PathPattern::Prefix(path)
                | PathPattern::PrefixNoRegex(path)
                | PathPattern::Exact(path),
            ),
        ) => RedirectRules::Default {
            from: match url.contains("://unix:") {
                true => format!("{url}:{uri}"),
                false => format!("{url}{uri}"),
            },
            to: path.clone(),
        },
        _ => RedirectRules::Default {
            from: format!("{url}/"),
            to: "/".to_owned(),
        },
    }
}

fn given(route: &Section<'_>, names: Names<'_>) -> Vec<RedirectRule> {
    let mut rules = Vec::new();
    for entry in route.named(KEY) {
        let complaint = match &*entry.key {
            "" => Some(Complaint::new(format!("an empty beginning in `{KEY}`"))),
            key if key.starts_with('~') => Some(
                Complaint::new(format!(
                    "regular expressions in `{KEY}` are not available in this version"
                ))
                .hint("write what the value begins with"),
            ),
            key if key.contains('$') => Some(Complaint::new(format!(
                "`{key}` has a variable, which only what takes its place may have"
            ))),
            _ => None,
        };
        if let Some(complaint) = complaint {
            route.problems.add(complaint.at(&entry.key_place));
            continue;
        }
        let Some(text) = entry.node.as_text() else {
            let message = format!("`{}` in `{KEY}` must be a string", entry.key);
            route.problems.add(Problem::new(&entry.node.place, message));
            continue;
        };
        if let Some(to) = noted(
            header_value(text, Phase::Response, names),
            &entry.node,
            route.problems,
        ) {
            rules.push(RedirectRule {
                from: entry.key.clone(),
                to,
            });
        }
    }
    rules
}

/// What answers by itself has no server whose redirects it could rewrite.
pub(super) fn refuse_without_server(route: &Section<'_>, action: &str) {
    if let Some(entry) = route.entries().iter().find(|entry| entry.key == KEY) {
        let message = format!("`{KEY}` goes with `proxy`, and this route has `{action}`");
        route.problems.add(Problem::new(&entry.key_place, message));
    }
}
