//! Where a client is sent: by redirects of our own, and by those of a server, whose names for
//! itself mean nothing to the client.

use super::replaced;
use super::state::Exchange;
use crate::config::model::RedirectRules;
use crate::http::authority::Authority;
use crate::http::head::{Field, FieldName};
use crate::http::{headers, path};

/// The same URL with `https`, on a port.
pub(super) fn to_https(exchange: &Exchange, port: u16) -> Vec<u8> {
    let mut location = format!("https://{}", exchange.host).into_bytes();
    if port != 443 {
        location.extend_from_slice(format!(":{port}").as_bytes());
    }
    // `OPTIONS *` is about the server as a whole.
    let uri = exchange.uri();
    location.extend_from_slice(if uri.starts_with(b"/") { uri } else { b"/" });
    location
}

/// The same URL with a slash at the end of its path (`ngx_http_core_find_config_phase`).
pub(super) fn with_slash(exchange: &Exchange) -> Vec<u8> {
    let mut location = Vec::new();
    append_origin(exchange, &mut location);
    path::escape(exchange.normalised(), &mut location);
    location.push(b'/');
    if let Some(query @ [_, ..]) = exchange.query() {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    location
}

/// A server's `Location` or `Refresh` as the client is to have it; none where it stays as it is
/// (`ngx_http_proxy_rewrite_redirect`).
pub(super) fn rewritten(
    exchange: &Exchange,
    rules: &RedirectRules,
    field: &Field<'_>,
) -> Option<Vec<u8>> {
    let is_location = field.name.eq_ignore_ascii_case(b"location");
    let start = if is_location {
        0
    } else if field.name.eq_ignore_ascii_case(b"refresh") {
        let url = |part: &[u8]| part.eq_ignore_ascii_case(b"url=");
        field.value.windows(4).position(url)? + 4
    } else {
        return None;
    };
    let (before, url) = field.value.split_at(start);
    let mut to = Vec::new();
    let rest = match rules {
        RedirectRules::Default { from, to: path } => {
            let rest = url.strip_prefix(from.as_bytes())?;
            path::escape(path.as_bytes(), &mut to);
            rest
        }
        RedirectRules::Given(rules) => {
            let (replaced, rest) = replaced::beginning(exchange, rules, url)?;
            to = replaced;
            rest
        }
    };
    let mut value = before.to_vec();
    // As our own redirects, which are absolute; nginx leaves a `Refresh` as it is.
    if is_location && to.starts_with(b"/") {
        append_origin(exchange, &mut value);
    }
    value.extend_from_slice(&to);
    value.extend_from_slice(rest);
    // Only a variable can bring in what HTTP does not allow.
    headers::is_value(&value).then_some(value)
}

/// Appends scheme and authority as the client has them, which is what servers are told in
/// `X-Forwarded-Proto` and `X-Forwarded-Host`. Nothing where the client named no host: what follows
/// is a relative reference (RFC 9110 section 10.2.2).
fn append_origin(exchange: &Exchange, out: &mut Vec<u8>) {
    let fields = exchange.request.fields();
    let reported = |name| fields.believed(name, exchange.peer_trusted).next();
    let scheme = exchange.client_scheme().as_bytes();
    let authority = reported(FieldName::XForwardedHost)
        .filter(|host| !host.is_empty() && Authority::parse(host).is_ok())
        .unwrap_or_else(|| exchange.received_authority());
    if !authority.is_empty() {
        for part in [scheme, b"://", authority] {
            out.extend_from_slice(part);
        }
    }
}
