//! Which requests are let in. A page in a browser on this machine can send requests to a loopback
//! address, and DNS can give any name to one: so without tokens a request over TCP must name us as a
//! local user would, and none may come from a page of somebody else.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Admin;
use super::access::{self, Peer, Refusals, Refused};
use super::audit::{Action, Loaded};
use super::routes::{ApiError, only_looks};
use crate::config::model::Address;

/// What is asked of each request.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) admin: Admin,
    pub(super) address: Address,
    pub(super) refusals: Arc<Refusals>,
}

/// Refuses requests that nobody who may would send, and has the others carried out. Both are in the
/// audit, but for what only looks.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let published = guard.admin.published.load_full();
    let config = published.snapshot.config.admin.as_ref();
    let tokens = config.map_or(&[][..], |config| &config.tokens);
    let (method, uri) = (request.method(), request.uri());
    let only_looks = only_looks(method, uri.path());
    let headers = request.headers();
    // Each connection has said whose it is.
    let peer = request.extensions().get::<Peer>().copied();
    let peer = peer.unwrap_or(Peer::Unix {
        uid: u32::MAX,
        pid: None,
    });
    let (token, may) = access::check(peer, tokens, only_looks, headers, &guard.refusals);
    let asks_for_tokens = matches!(peer, Peer::Tcp(_)) && !tokens.is_empty();
    let action = Action::new(peer.asker(token), method, uri);
    let refused = match reason_to_refuse(&guard.address, asks_for_tokens, uri, headers) {
        Some(_) if is_too_often(peer, &guard.refusals) => Some((refusal(&Refused::TooMany), false)),
        Some(reason) => {
            let response = ApiError::new(StatusCode::FORBIDDEN, reason).into_response();
            Some((response, true))
        }
        // What is refused for its number would fill the audit.
        None => may
            .err()
            .map(|refused| (refusal(&refused), refused != Refused::TooMany)),
    };
    let (response, is_told) = match refused {
        Some(refused) => refused,
        None => (next.run(request).await, !only_looks),
    };
    if is_told {
        let audit = config.and_then(|config| config.audit.as_deref());
        let loaded = response.extensions().get::<Loaded>();
        action.ended(response.status(), loaded, audit).await;
    }
    response
}

/// Counts a refusal of a client: whether it has had too many.
fn is_too_often(peer: Peer, refusals: &Refusals) -> bool {
    match peer {
        Peer::Tcp(address) => refusals.are_too_many(address.ip(), Instant::now()),
        Peer::Unix { .. } => false,
    }
}

fn refusal(refused: &Refused) -> Response {
    let (status, message) = match refused {
        Refused::Nobody => (
            StatusCode::UNAUTHORIZED,
            "show a token: `Authorization: Bearer TOKEN` (commands: `WAYPOST_TOKEN`)",
        ),
        Refused::Unknown => (
            StatusCode::UNAUTHORIZED,
            "no such token in `[admin] tokens`",
        ),
        Refused::TooMany => (
            StatusCode::TOO_MANY_REQUESTS,
            "refused too often: wait a minute, or show a token that is known",
        ),
        Refused::ReadsOnly => (
            StatusCode::FORBIDDEN,
            "this token has the role `read`: changes take one with `operate`",
        ),
    };
    let mut response = ApiError::new(status, message).into_response();
    let (name, value) = match status {
        StatusCode::UNAUTHORIZED => (header::WWW_AUTHENTICATE, "Bearer realm=\"waypost\""),
        StatusCode::TOO_MANY_REQUESTS => (header::RETRY_AFTER, "60"),
        _ => return response,
    };
    let value = header::HeaderValue::from_static(value);
    response.headers_mut().insert(name, value);
    response
}

fn reason_to_refuse(
    address: &Address,
    asks_for_tokens: bool,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<&'static str> {
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default(),
    };
    if let Some(origin) = headers.get(header::ORIGIN)
        && !is_own_page(address, host, origin.as_bytes())
    {
        return Some("requests of web pages are refused: this one has an `Origin`");
    }
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site != "none" && site != "same-origin") {
        return Some("requests of web pages are refused: see `Sec-Fetch-Site`");
    }
    let Address::Tcp(socket) = address else {
        return None; // the mode of the socket's file says which users may
    };
    if asks_for_tokens {
        return None; // a page that has had a name lead here knows none
    }
    let name = host
        .strip_suffix(&format!(":{}", socket.port()))
        .unwrap_or(host);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let ours = name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback());
    (!ours).then_some("the `Host` of a request must be `localhost` or a loopback address")
}

/// Whether a page is from here: only what listens at our port can have sent it. Over a unix socket
/// there are none.
fn is_own_page(address: &Address, host: &str, origin: &[u8]) -> bool {
    let Address::Tcp(socket) = address else {
        return false;
    };
    let own = origin
        .strip_prefix(b"https://")
        .or_else(|| origin.strip_prefix(b"http://"));
    own == Some(host.as_bytes()) && host.ends_with(&format!(":{}", socket.port()))
}
