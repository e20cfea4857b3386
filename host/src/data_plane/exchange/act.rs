//! Does what a route says: asks a server, has a component answer, sends a file, answers from the
//! configuration.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::admit::Admitted;
use super::fault::Fault;
use super::files::{self, Served};
use super::forward::Forwarded;
use super::local::{self, LocalAnswer};
use super::rest::Delivered;
use super::state::Exchange;
use super::{component, metrics, probe, proxy, redirect, stub_status};
use crate::config::model::{Action, CLOSE, Return};
use crate::data_plane::body::BodyPipe;
use crate::data_plane::downstream::Session;
use crate::data_plane::stream::Alarm;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::{grpc, headers};

/// What a route's action has come to.
pub(super) enum Acted {
    Delivered(Delivered),
    /// Nothing was sent: the route of this index has the answer.
    Reroute(usize),
    /// Nor here: that route has it which a server has named so.
    HandedOn(Box<[u8]>),
}

/// Does what the route says. `limit`: of the body that a server gets.
///
/// # Errors
/// A [`Fault`] where nothing was sent to the client yet.
pub(super) async fn act(
    session: &mut Session<'_>,
    worker_config: &WorkerConfig,
    exchange: &Rc<Exchange>,
    admitted: &Admitted,
    limit: Option<u64>,
    body: &mut BodyPipe,
) -> Result<Acted, Fault> {
    let route = &worker_config.snapshot.config.routes[admitted.route];
    if let Some(timeout) = route.limits.client_send_timeout {
        session.outgoing.wait_for_writes(timeout);
    }
    let proxy = match &route.action {
        Action::Proxy(proxy) => proxy,
        Action::Return(answer) => {
            let answered = respond(session, exchange, answer, body).await;
            return answered.map(Acted::Delivered);
        }
        Action::StubStatus => {
            let answered = stub_status::serve(session, exchange, body).await;
            return answered.map(Acted::Delivered);
        }
        Action::Probe(probe) => {
            let answered = probe::serve(session, exchange, *probe, body).await;
            return answered.map(Acted::Delivered);
        }
        Action::Metrics => {
            // Its room is not needed by others.
            let answered = Box::pin(metrics::serve(session, exchange, body)).await;
            return answered.map(Acted::Delivered);
        }
        Action::Component(index) => {
            body.set_limit(limit);
            let component = &worker_config.components[*index];
            let served = component::serve(session, exchange, route, component, admitted, body);
            // Its room is not needed by others.
            return Box::pin(served).await.map(Acted::Delivered);
        }
        Action::Files(site) => {
            let of_route = (route, site);
            let served = files::serve(session, worker_config, exchange, of_route, admitted, body);
            return Ok(match served.await? {
                Served::Delivered(delivered) => Acted::Delivered(delivered),
                Served::Route(route) => Acted::Reroute(route),
                Served::LacksSlash => {
                    let location = redirect::with_slash(exchange);
                    let sent = local::redirect(session, exchange, &location, Some(body));
                    Acted::Delivered(sent.await)
                }
            });
        }
    };
    body.set_limit(limit);
    let due = deadline(exchange);
    let mut alarm = Alarm::default();
    let mut proxied = pin!(proxy::proxy(
        session,
        worker_config,
        exchange,
        route,
        proxy,
        admitted,
        body
    ));
    #[allow(clippy::disallowed_methods, reason = "by each wait within")]
    poll_fn(|cx| match (proxied.as_mut().poll(cx), due) {
        (Poll::Pending, Some(due)) => {
            let passed = alarm.poll_due(cx, due);
            passed.map(|_| Err(Fault::DeadlineExceeded))
        }
        (proxied, _) => proxied,
    })
    .await
    .map(|forwarded| match forwarded {
        Forwarded::Delivered(delivered) => Acted::Delivered(delivered),
        Forwarded::HandedOn(target) => Acted::HandedOn(target),
    })
}

/// When a call of gRPC is of no use to its caller any more.
fn deadline(exchange: &Exchange) -> Option<tokio::time::Instant> {
    if !exchange.is_grpc() {
        return None;
    }
    let timeout = exchange.request.fields().named(b"grpc-timeout").next();
    let began = tokio::time::Instant::from_std(exchange.began);
    began.checked_add(timeout.and_then(grpc::timeout)?)
}

/// Answers from the configuration (`return`).
///
/// # Errors
/// [`Fault::BadLocation`], and [`Fault::Said`] for a status from 300 on and nothing else.
async fn respond(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    answer: &Return,
    request_body: &mut BodyPipe,
) -> Result<Delivered, Fault> {
    // What is rendered may tell of it.
    exchange.stats.status.set(answer.status);
    if answer.status == CLOSE {
        return Ok(Delivered::Cut);
    }
    // As in nginx, one with a text of its own needs no page.
    if answer.body.is_none() && answer.location.is_none() && answer.status >= 300 {
        return Err(Fault::Said(answer.status));
    }
    let (mut body, mut location) = (Vec::new(), Vec::new());
    if let Some(template) = &answer.body {
        template.render(&**exchange, &mut body);
    }
    if let Some(template) = &answer.location {
        template.render(&**exchange, &mut location);
        if location.is_empty() {
            return Err(Fault::BadLocation("it is empty"));
        }
        if !headers::is_value(&location) {
            return Err(Fault::BadLocation("it has a control character"));
        }
    }
    let answer = LocalAnswer {
        status: answer.status,
        content_type: &answer.content_type,
        body: &body,
        location: &location,
        keep: true,
    };
    Ok(local::send_local(session, exchange, Some(request_body), &answer).await)
}
