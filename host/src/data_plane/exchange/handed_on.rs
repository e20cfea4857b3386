//! `X-Accel-Redirect`: a server has another route answer in its place, most often with a file that
//! nobody is to get without having asked the server (`ngx_http_upstream_process_headers`).
//!
//! Its answer is dropped, but for the fields that are about what the client gets. The request goes
//! on to that route as a GET or HEAD of the path that the server names, without its body, and
//! from there as any other one: the route's hooks are asked, conditions and ranges count.

use super::conditions;
use super::cookies;
use super::fault::Fault;
use super::finish::Finish;
use super::state::Exchange;
use crate::config::model::{Action, Route};
use crate::data_plane::body::BodyPipe;
use crate::data_plane::downstream::Session;
use crate::data_plane::upstream::Attempt;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::framing::Framing;
use crate::http::head::RequestChanges;
use crate::http::path;
use crate::plugin::Untrusted;

const REDIRECT: &[u8] = b"x-accel-redirect";

/// What a server says to the proxy before it alone.
const FOR_PROXIES: [&[u8]; 5] = [
    REDIRECT,
    b"x-accel-expires",
    b"x-accel-limit-rate",
    b"x-accel-buffering",
    b"x-accel-charset",
];

/// What stays of a server's answer (`redirect` in `ngx_http_upstream_headers_in`), but for
/// `Accept-Ranges`, of which the other route knows.
const KEPT: [&[u8]; 5] = [
    b"content-type",
    b"content-disposition",
    SET_COOKIE,
    b"cache-control",
    b"expires",
];
const SET_COOKIE: &[u8] = b"set-cookie";

fn is_one_of(names: &[&[u8]], name: &[u8]) -> bool {
    names.iter().any(|one| name.eq_ignore_ascii_case(one))
}

/// Whether a field of a server's answer is for the proxy alone.
pub(super) fn is_for_proxies(name: &[u8]) -> bool {
    is_one_of(&FOR_PROXIES, name)
}

/// What a server's answer says of where the request is to go on, if its route follows that. In place
/// of an error there is no third route.
pub(super) fn target(exchange: &Exchange, route: &Route) -> Option<Box<[u8]>> {
    if !route.accel_redirect || exchange.in_place_of_error.get() || exchange.is_grpc() {
        return None;
    }
    let head = exchange.response.borrow();
    let target = head.fields().named(REDIRECT).next()?.into();
    drop(head);
    keep(exchange, route);
    Some(target)
}

/// Keeps what stays of the answer that an exchange has, and what its policy adds to it.
fn keep(exchange: &Exchange, route: &Route) {
    let rules = match &route.action {
        Action::Proxy(proxy) => proxy.cookies.as_ref(),
        Action::Return(_)
        | Action::StubStatus
        | Action::Metrics
        | Action::Probe(_)
        | Action::Files(_)
        | Action::Component(_) => None,
    };
    let mut kept = exchange.handed_on.borrow_mut();
    let kept = kept.get_or_insert_default();
    let head = exchange.response.borrow();
    for field in head.fields().iter() {
        if !is_one_of(&KEPT, field.name) {
            continue;
        }
        let is_cookie = field.name.eq_ignore_ascii_case(SET_COOKIE);
        let rules = rules.filter(|_| is_cookie);
        let rewritten = rules.and_then(|rules| cookies::rewritten(exchange, rules, field.value));
        kept.push(field.name, rewritten.as_deref().unwrap_or(field.value));
    }
    kept.push_lines(&exchange.balance.response_headers());
}

/// Drops the body of an answer, as far as it is there. Whether that is all of it, so that its
/// connection can be kept; a body that is still to come is not waited for.
pub(super) fn drop_body(attempt: &mut Attempt, framing: Framing) -> bool {
    let mut body = BodyPipe::of_response(framing);
    while !body.is_done() {
        match body.take_piece(attempt.unread()) {
            Ok((_, taken)) if taken > 0 => attempt.consume(taken),
            _ => break,
        }
    }
    body.is_done() && attempt.unread().is_empty()
}

/// Makes a request what its server wants it to be; the index of the route that has the answer.
///
/// # Errors
/// [`Fault::HandedOn`]: there is none, or no request can be that.
pub(super) fn follow(
    session: &Session<'_>,
    worker_config: &WorkerConfig,
    finish: &mut Finish,
    target: &[u8],
) -> Result<usize, Fault> {
    let fault = |status, why: &'static str| {
        let shown = Untrusted::name(target.escape_ascii());
        Fault::HandedOn { status, shown, why }
    };
    let router = &worker_config.snapshot.routers[session.listener];
    let query = memchr::memchr(b'?', target);
    let (path, query) = match query {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, &b""[..]),
    };
    let mut changes = RequestChanges::default();
    if finish.exchange().request.method() != b"HEAD" {
        changes.method = Some(Box::from(&b"GET"[..]));
    }
    if !path.starts_with(b"@") {
        if !path.starts_with(b"/") || path::climbs(path) {
            return Err(fault(404, "which is no path that may be asked for"));
        }
        changes.path = Some(escaped(path));
        changes.query = Some(escaped(query));
    }
    let exchange = finish.exchange_mut();
    let exchange = exchange.ok_or_else(|| fault(500, "while the request is in use"))?;
    let changed = exchange.apply(&changes);
    changed.map_err(|_| fault(404, "which is no path that may be asked for"))?;
    exchange.balance.begin_anew();
    if let Some(name) = path.strip_prefix(b"@") {
        let name = std::str::from_utf8(name).unwrap_or_default();
        let named = router.named(name);
        return named.ok_or_else(|| fault(500, "and no route has that name"));
    }
    let holds = |route: usize| {
        let routes = &worker_config.snapshot.config.routes;
        conditions::hold(&routes[route].when, exchange)
    };
    let found = router.find_handed_on(&exchange.host, exchange.normalised(), holds);
    let found = found.filter(|found| !found.lacks_slash);
    let found = found.ok_or_else(|| fault(404, "for which there is no route"))?;
    Ok(found.route)
}

/// As a request has it: servers escape what they name, or leave it.
fn escaped(text: &[u8]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(text.len());
    path::escape_all_but(
        |byte| byte.is_ascii_graphic() && byte != b'#',
        text,
        &mut out,
    );
    out.into()
}
