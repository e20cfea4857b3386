//! Which requests are let in. A page in a browser on this machine can send requests to a loopback
//! address, and DNS can give any name to one: so without tokens a request over TCP must name us as a
//! local user would, and none may come from a page but ours, the [dashboard](super::dashboard).

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::access::{self, Peer, Refusals, Refused};
use super::audit::{Action, Loaded};
use super::connections::Known;
use super::routes::ApiError;
use super::{Admin, dashboard};
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
    let tokens = config
        .filter(|config| config.asks_for_tokens)
        .map(|config| &*config.tokens);
    let (method, uri) = (request.method(), request.uri());
    let only_looks = matches!(*method, Method::GET | Method::HEAD);
    let headers = request.headers();
    // Each connection has said whose it is; one that had not would be anybody's.
    let peer = request.extensions().get::<Peer>().copied();
    let peer = peer.unwrap_or(Peer::Tcp(([0, 0, 0, 0], 0).into()));
    // A browser has none yet.
    let is_page = only_looks && dashboard::is_of_page(uri.path());
    let asked_for = tokens.filter(|_| !is_page);
    let (token, may) = access::check(peer, asked_for, only_looks, headers, &guard.refusals);
    if let Some(token) = token
        && let Some(known) = request.extensions().get::<Known>()
    {
        known.note(token.role);
    }
    let asks_for_tokens = matches!(peer, Peer::Tcp(_)) && tokens.is_some();
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
    let audit = config.and_then(|config| Some(config.audit.as_ref()?.path.clone()));
    match refused {
        Some((response, false)) => response,
        Some((response, true)) => {
            action
                .ended(response.status(), None, audit.as_deref())
                .await;
            response
        }
        None if only_looks => next.run(request).await,
        // A client that leaves does not undo what it has asked for: it is carried out, and told.
        None => {
            let carried_out = tokio::spawn(async move {
                let response = next.run(request).await;
                let loaded = response.extensions().get::<Loaded>();
                action
                    .ended(response.status(), loaded, audit.as_deref())
                    .await;
                response
            });
            carried_out.await.unwrap_or_else(|error| {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                ApiError::new(status, format!("it failed: {error}")).into_response()
            })
        }
    }
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

/// `asks_for_tokens`: a page that has had a name lead here knows none, so any name may.
fn reason_to_refuse(
    address: &Address,
    asks_for_tokens: bool,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<&'static str> {
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site != "none" && site != "same-origin") {
        return Some("requests of web pages are refused: see `Sec-Fetch-Site`");
    }
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default(),
    };
    let is_ours = asks_for_tokens || is_local(address, host);
    if let Some(origin) = headers.get(header::ORIGIN) {
        // Its browser says itself that the page is of this address; the name could be anybody's.
        let origin = origin.to_str().unwrap_or_default();
        let page = origin
            .strip_prefix("https://")
            .or_else(|| origin.strip_prefix("http://"));
        let of_ours =
            site.is_some_and(|site| site == "same-origin") && page == Some(host) && is_ours;
        if !of_ours {
            return Some("requests of other web pages are refused: see `Origin`");
        }
    }
    // On a unix socket, the mode of its file says which users may; but a tunnel to it is a port that
    // any name may lead a browser to.
    let may_be_any = matches!(address, Address::Unix(_)) && !host.contains(['.', ':']);
    (!may_be_any && !is_ours).then_some(
        "the `Host` of a request must be `localhost` or a loopback address, with the port of the admin address",
    )
}

/// Whether a name with a port is what a browser on this machine calls us: a unix socket is reached
/// through a tunnel, whose port is not ours.
fn is_local(address: &Address, host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let is_our_port = match (address, port) {
        (_, None) => true,
        (Address::Tcp(socket), Some(port)) => port == socket.port().to_string(),
        (Address::Unix(_), Some(port)) => port.parse::<u16>().is_ok(),
    };
    let ip = name.trim_start_matches('[').trim_end_matches(']');
    let ip = ip.parse::<std::net::IpAddr>();
    is_our_port && (name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    fn refused(address: &str, lines: &[(&'static str, &str)]) -> bool {
        let address = match address.strip_prefix("unix:") {
            Some(path) => Address::Unix(path.into()),
            None => Address::Tcp(address.parse().unwrap()),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(*name, value.parse().unwrap());
        }
        reason_to_refuse(&address, false, &Uri::from_static("/reload"), &headers).is_some()
    }

    #[test]
    fn a_page_is_let_in_where_its_browser_says_that_it_is_ours_and_its_name_is_local() {
        let (tcp, unix) = ("127.0.0.1:9180", "unix:/run/admin.sock");
        for (address, host, origin, site, is_refused) in [
            (
                tcp,
                "127.0.0.1:9180",
                "http://127.0.0.1:9180",
                "same-origin",
                false,
            ),
            (
                tcp,
                "localhost:9180",
                "http://localhost:9180",
                "same-origin",
                false,
            ),
            (tcp, "[::1]:9180", "http://[::1]:9180", "same-origin", false),
            (
                tcp,
                "localhost:9180",
                "http://127.0.0.1:9180",
                "same-origin",
                true,
            ),
            (
                tcp,
                "localhost:9180",
                "http://localhost:9181",
                "same-origin",
                true,
            ),
            (
                tcp,
                "localhost:9180",
                "http://localhost:9181",
                "same-site",
                true,
            ),
            (tcp, "localhost:9180", "http://localhost:9180", "none", true),
            (
                tcp,
                "localhost:9180",
                "https://localhost:9180",
                "same-origin",
                false,
            ),
            (tcp, "localhost:9180", "null", "same-origin", true),
            (
                tcp,
                "localhost:9181",
                "http://localhost:9181",
                "same-origin",
                true,
            ),
            (
                tcp,
                "evil.example:9180",
                "http://evil.example:9180",
                "same-origin",
                true,
            ),
            (
                unix,
                "localhost:8000",
                "http://localhost:8000",
                "same-origin",
                false,
            ),
            (
                unix,
                "evil.example:8000",
                "http://evil.example:8000",
                "same-origin",
                true,
            ),
            (
                unix,
                "localhost:8000",
                "http://localhost:8001",
                "same-site",
                true,
            ),
        ] {
            let lines = [("host", host), ("origin", origin), ("sec-fetch-site", site)];
            assert_eq!(refused(address, &lines), is_refused, "{address} {lines:?}");
        }
        let without_site = [
            ("host", "localhost:9180"),
            ("origin", "http://localhost:9180"),
        ];
        assert!(refused(tcp, &without_site));
    }
}
