//! What the configuration has for a client in place of an error's status alone (nginx:
//! `ngx_http_send_error_page`).

use std::borrow::Cow;
use std::rc::Rc;

use super::local::{LocalAnswer, send_local};
use super::rest::Delivered;
use super::state::Exchange;
use crate::config::model::{ErrorPage, PageContent, Route};
use crate::data_plane::body::BodyPipe;
use crate::data_plane::downstream::Session;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::headers;

/// What a redirect says that has no status of its own.
const FOUND: u16 = 302;

/// The page that an exchange has for a status: its route's, or its listener's.
pub(super) fn of<'a>(
    exchange: &Exchange,
    session: &Session<'_>,
    worker_config: &'a WorkerConfig,
    status: u16,
) -> Option<&'a ErrorPage> {
    let config = &worker_config.snapshot.config;
    let route = exchange
        .stats
        .route
        .get()
        .map(|route| &config.routes[route]);
    let of_route = route.and_then(|route| ErrorPage::of(&route.error_pages, status));
    let of_listener = || ErrorPage::of(&config.listeners[session.listener].error_pages, status);
    of_route.or_else(of_listener)
}

/// Whether a server's answer with this status is an error that a page takes the place of.
pub(super) fn intercepts(exchange: &Exchange, route: &Route, status: u16) -> bool {
    let of_listener = &exchange.worker_config.snapshot.config.listeners[exchange.listener];
    let may = route.intercept_errors;
    may.unwrap_or(of_listener.intercept_errors)
        && !exchange.is_grpc()
        && [&route.error_pages, &of_listener.error_pages]
            .iter()
            .any(|pages| ErrorPage::of(pages, status).is_some())
}

/// The route that answers in place of an error, if that is what there is for it on this listener.
pub(super) fn route(
    exchange: &Exchange,
    session: &Session<'_>,
    worker_config: &WorkerConfig,
    status: u16,
) -> Option<(usize, Option<u16>)> {
    let page = of(exchange, session, worker_config, status)?;
    let PageContent::Route(name) = &page.content else {
        return None;
    };
    let route = worker_config.snapshot.routers[session.listener].named(name)?;
    Some((route, page.status))
}

/// Sends the page of an error; nothing is sent where there is none that can be.
pub(super) async fn send(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    request_body: &mut Option<&mut BodyPipe>,
    status: u16,
    keep: bool,
) -> Option<Delivered> {
    let worker_config = session.worker_config.clone();
    let page = of(exchange, session, &worker_config, status)?;
    // Few exchanges get here: the others need not carry the room for it.
    Box::pin(send_page(
        session,
        exchange,
        request_body,
        (page, status),
        keep,
    ))
    .await
}

async fn send_page(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    request_body: &mut Option<&mut BodyPipe>,
    (page, status): (&ErrorPage, u16),
    keep: bool,
) -> Option<Delivered> {
    let worker_config = session.worker_config.clone();
    // What is rendered may tell of it.
    exchange.stats.status.set(status);
    let (mut location, mut content) = (Vec::new(), None);
    let (content_type, default_status) = match &page.content {
        PageContent::File { path, content_type } => {
            content = worker_config.snapshot.page_files.content(path);
            content.as_ref()?;
            (content_type.as_str(), status)
        }
        PageContent::Text { content_type, .. } => (content_type.as_str(), status),
        PageContent::Location(template) => {
            location = template.rendered(&**exchange);
            if location.is_empty() || !headers::is_value(&location) {
                let message =
                    "invalid `location` of an error page: it is empty, or has a control character";
                exchange.error(&message, None);
                return None;
            }
            ("", FOUND)
        }
        PageContent::Route(_) => return None,
    };
    let body = match (&content, &page.content) {
        (Some(content), _) => Cow::Borrowed(content.as_slice()),
        (None, PageContent::Text { body, .. }) => Cow::Owned(body.rendered(&**exchange)),
        _ => Cow::Borrowed(&[][..]),
    };
    pass_challenges(exchange, status);
    let answer = LocalAnswer {
        status: page.status.unwrap_or(default_status),
        content_type,
        body: &body,
        location: &location,
        keep,
    };
    Some(send_local(session, exchange, request_body.take(), &answer).await)
}

/// What a server asks of its client goes on to it, or it could not answer
/// (`ngx_http_upstream_intercept_errors`).
fn pass_challenges(exchange: &Exchange, status: u16) {
    const CHALLENGE: &[u8] = b"WWW-Authenticate";
    let Some(head) = exchange.response() else {
        return;
    };
    if status == 401 && head.status() == status {
        for value in head.fields().named(b"www-authenticate") {
            exchange.balance.add_response_header(CHALLENGE, value);
        }
    }
}
