//! Which requests are let in. A page in a browser on this machine can send requests to a loopback
//! address, and DNS can give any name to one: so over TCP a request must name us as a local user
//! would, and must not come from a page.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::routes::ApiError;
use crate::config::model::Address;

/// Refuses requests that no local program would send.
pub(super) async fn guard(
    State(address): State<Address>,
    request: Request,
    next: Next,
) -> Response {
    match reason_to_refuse(&address, request.uri(), request.headers()) {
        None => next.run(request).await,
        Some(reason) => ApiError::new(StatusCode::FORBIDDEN, reason).into_response(),
    }
}

fn reason_to_refuse(address: &Address, uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    if headers.contains_key(header::ORIGIN) {
        return Some("requests of web pages are refused: this one has an `Origin`");
    }
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site != "none" && site != "same-origin") {
        return Some("requests of web pages are refused: see `Sec-Fetch-Site`");
    }
    let Address::Tcp(socket) = address else {
        return None; // the mode of the socket's file says which users may
    };
    let host = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default(),
    };
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
