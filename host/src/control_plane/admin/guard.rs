//! Which requests are let in. A page in a browser on this machine can send requests to a loopback
//! address, and DNS can give any name to one: so over TCP a request must name us as a local user
//! would, and must not come from a page but ours, the [dashboard](super::dashboard).

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
    let is_local = is_local(address, host);
    if let Some(origin) = headers.get(header::ORIGIN) {
        // Its browser says itself that the page is of this address; the name could be anybody's.
        let of_ours = site.is_some_and(|site| site == "same-origin")
            && origin.to_str().ok().and_then(|o| o.strip_prefix("http://")) == Some(host)
            && is_local;
        if !of_ours {
            return Some("requests of other web pages are refused: see `Origin`");
        }
    }
    // On a unix socket, the mode of its file says which users may.
    let must_be_local = matches!(address, Address::Tcp(_));
    (must_be_local && !is_local)
        .then_some("the `Host` of a request must be `localhost` or a loopback address")
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
        reason_to_refuse(&address, &Uri::from_static("/reload"), &headers).is_some()
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
                true,
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
