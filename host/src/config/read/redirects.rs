//! `proxy_redirect`: what becomes of a server's redirects.

use super::ConfigReader;
use super::replacements::{TextKind, replacements};
use crate::config::model::{PathPattern, ProxyUri, RedirectRules};
use crate::config::section::Section;
use crate::config::tree::Value;
use crate::http::variable::Names;

const KEY: &str = "proxy_redirect";

/// The rules of a route whose requests go to `url`, which has no path of its own, with what `uri`
/// makes of their paths.
pub(super) fn rules(
    route: &Section<'_>,
    url: String,
    uri: &Option<ProxyUri>,
    path: Option<&PathPattern>,
    names: Names<'_>,
    reader: ConfigReader<'_>,
) -> RedirectRules {
    match route.get(KEY).map(|node| &node.value) {
        None => by_default(url, uri, path),
        Some(Value::Table(_)) => {
            let rules = replacements(route, KEY, TextKind::Url, names, reader);
            RedirectRules::Given(rules)
        }
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
pub(super) fn given_alone(
    route: &Section<'_>,
    names: Names<'_>,
    reader: ConfigReader<'_>,
) -> RedirectRules {
    match route.get(KEY).map(|node| &node.value) {
        None => RedirectRules::Given(Vec::new()),
        Some(_) => rules(route, String::new(), &None, None, names, reader),
    }
}

/// `proxy_redirect default` (`ngx_http_proxy_merge_loc_conf`); likewise for prefixes, which redirects
/// of the server get back.
fn by_default(url: String, uri: &Option<ProxyUri>, path: Option<&PathPattern>) -> RedirectRules {
    let joined = |uri: &str| match url.contains("://unix:") {
        true => format!("{url}:{uri}"),
        false => format!("{url}{uri}"),
    };
    match (uri, path) {
        (
            Some(ProxyUri::Part(uri)),
            Some(
                PathPattern::Prefix(path)
                | PathPattern::PrefixNoRegex(path)
                | PathPattern::Exact(path),
            ),
        ) => RedirectRules::Default {
            from: joined(uri),
            to: path.clone(),
        },
        (Some(ProxyUri::Prefix { strip, add }), _) => RedirectRules::Default {
            from: joined(&format!("{add}/")),
            to: format!("{strip}/"),
        },
        _ => RedirectRules::Default {
            from: format!("{url}/"),
            to: "/".to_owned(),
        },
    }
}
