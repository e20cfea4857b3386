//! The page for people, `docs/dashboard.md`: what the API says, to look at and to act on.
//!
//! It is in the binary as it was written by hand, without a build chain, and asks the API alone,
//! as any program could. Its policy has a browser refuse everything else, text that would become
//! markup included (`require-trusted-types-for`).

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::routes::{ApiError, Named};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

const PAGE: &str = include_str!("dashboard/index.html");
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! script {
    ($name:literal) => {
        ($name, SCRIPT, include_str!(concat!("dashboard/", $name)))
    };
}

/// What the page is made of: name, type and text.
const FILES: [(&str, &str, &str); 11] = [
    script!("main.js"),
    script!("api.js"),
    script!("dom.js"),
    script!("figures.js"),
    script!("charts.js"),
    script!("overview.js"),
    script!("upstreams.js"),
    script!("plugins.js"),
    script!("actions.js"),
    (
        "style.css",
        "text/css; charset=utf-8",
        include_str!("dashboard/style.css"),
    ),
    (
        "icon.svg",
        "image/svg+xml",
        include_str!("dashboard/icon.svg"),
    ),
];

/// Whether a path is of the page alone: what a browser asks for before it can show a token.
pub(super) fn is_of_page(path: &str) -> bool {
    path == "/" || path == "/dashboard" || path.starts_with("/dashboard/")
}

/// The root: the page for a browser, and nothing for programs, which look for nothing there.
pub(super) async fn home(headers: HeaderMap) -> Response {
    let accept = headers.get_all(header::ACCEPT).into_iter();
    let mut accept = accept.filter_map(|accept| accept.to_str().ok());
    match accept.any(|accept| accept.contains("text/html")) {
        true => page(),
        false => ApiError::no_such_path().into_response(),
    }
}

pub(super) fn page() -> Response {
    answer("text/html; charset=utf-8", PAGE)
}

/// A file that the page is made of.
pub(super) async fn file(Named(name): Named<String>) -> Response {
    match FILES.iter().find(|(file, ..)| *file == name) {
        Some((_, content_type, text)) => answer(content_type, text),
        None => ApiError::no_such_path().into_response(),
    }
}

fn answer(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // The next process at this address may be another version.
        (header::CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    (HeaderMap::from_iter(headers), text).into_response()
}
