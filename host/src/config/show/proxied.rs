//! What a server gets and says, as the file writes it.

use super::{TomlWriter, inline_table, key_text, text, texts};
use crate::config::model::{
    CookieNames, CookieRules, Proxy, ProxyUri, RedirectRules, Replacement, RequestBody,
};

/// The keys beside `proxy`.
pub(super) fn proxied(out: &mut TomlWriter, proxy: &Proxy) {
    if let Some(ProxyUri::Prefix { strip, add }) = &proxy.uri {
        for (key, prefix) in [("strip_prefix", strip), ("add_prefix", add)] {
            if !prefix.is_empty() {
                out.key(key, text(prefix));
            }
        }
    }
    match &proxy.redirects {
        RedirectRules::Default { .. } => {}
        RedirectRules::Given(rules) if rules.is_empty() => out.key("proxy_redirect", false),
        RedirectRules::Given(rules) => out.key("proxy_redirect", replacements(rules)),
    }
    if let Some(rules) = &proxy.cookies {
        out.key("cookies", cookies(rules));
    }
    if let Some(method) = &proxy.method {
        out.key("request_method", text(method));
    }
    match &proxy.body {
        RequestBody::Client => {}
        RequestBody::Nothing => out.key("request_body", false),
        RequestBody::Text(body) => out.key("request_body", text(&body.to_string())),
    }
}

fn replacements(rules: &[Replacement]) -> String {
    let rules = rules.iter().map(|Replacement { from, to }| {
        format!("{} = {}", text(&from.to_string()), text(&to.to_string()))
    });
    inline_table(rules)
}

fn cookies(rules: &CookieRules) -> String {
    let mut parts = Vec::new();
    for (key, rules) in [("domain", &rules.domains), ("path", &rules.paths)] {
        if !rules.is_empty() {
            parts.push(format!("{key} = {}", replacements(rules)));
        }
    }
    match rules.flags.as_slice() {
        [] => {}
        [(CookieNames::All, flags)] => parts.push(format!("flags = {}", texts(flags.words()))),
        rules => {
            let rules = rules.iter().map(|(names, flags)| {
                format!(
                    "{} = {}",
                    key_text(&names.to_string()),
                    texts(flags.words())
                )
            });
            parts.push(format!("flags = {}", inline_table(rules)));
        }
    }
    inline_table(parts)
}
