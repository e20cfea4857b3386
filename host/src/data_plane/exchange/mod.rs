//! Carries one exchange: the whole way of a request, top to bottom.

mod state; // what is known of it
mod variables; // ... as templates, logs and plugins ask for it
mod fault; // why it could not be carried through
mod changes; // ... and is changed by hooks
mod admit; // is the request acceptable, and what does it ask for
mod proxy; // send it to an upstream, as often as it takes
mod request; // the header that the upstream gets
mod message; // ... what is sent
mod forward; // ... one attempt after the other
mod final_head; // what an endpoint answers with
mod response; // its response
mod head; // the head of any answer
mod redirect; // where it sends the client
mod local; // an answer of our own
mod wait; // for something else than a server
mod source; // where the body of either comes from
mod deliver; // and how it gets to the client
mod tunnel; // after a 101, bytes in both directions
mod rest; // what becomes of the connection then
mod finish; // its log line

pub(crate) use fault::Fault;
pub(crate) use rest::ConnectionFate;
pub(crate) use state::Exchange;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use crate::config::model::{Action, Return};
use crate::data_plane::body::BodyPipe;
use crate::data_plane::downstream::Session;
use crate::data_plane::stream::Alarm;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::framing::Framing;
use crate::http::head::RequestHead;
use crate::http::{grpc, headers};
use admit::{Admission, Admitted};
use fault::Level;
use finish::Finish;
use local::{LocalAnswer, LocalFault};
use rest::Delivered;

/// Carries an exchange from its request head to its log line.
pub(crate) async fn serve(
    session: &mut Session<'_>,
    request: RequestHead,
    began: Instant,
) -> (ConnectionFate, RequestHead) {
    let worker_config = session.worker_config.clone();
    let mut exchange = Exchange::new(session, request, began);
    // It is there even where the request is refused: it is logged.
    let admission = admit::examine(&mut exchange, session, &worker_config);
    let mut body = exchange.framing.map(BodyPipe::of_request);
    let mut finish = Finish::new(session, exchange);
    let delivered = match (admission, &mut body) {
        (Ok(Admission::Route(framing)), Some(body)) => {
            carry(session, &worker_config, &mut finish, framing, body).await
        }
        (Ok(Admission::Redirect { port }), body) => {
            let exchange = finish.exchange();
            let location = redirect::to_https(exchange, port);
            redirect(session, exchange, &location, body.as_mut()).await
        }
        (Ok(Admission::Route(_)), None) => Delivered::Cut,
        (Err(fault), body) => refuse(session, finish.exchange(), &fault, body.as_mut()).await,
    };
    let exchange = finish.exchange().clone();
    drop(finish);
    let fate = rest::fate(session, &exchange, body, delivered);
    // Normally nothing else holds the exchange any more. The head is an optimisation: if something
    // does, a fresh one takes its place.
    (
        fate,
        Rc::try_unwrap(exchange)
            .map(|exchange| exchange.request)
            .unwrap_or_default(),
    )
}

/// Answers a request whose head could not be parsed.
pub(crate) async fn reject(
    session: &mut Session<'_>,
    request: RequestHead,
    began: Instant,
    fault: Fault,
) -> ConnectionFate {
    let finish = Finish::new(session, Exchange::new(session, request, began));
    let delivered = refuse(session, finish.exchange(), &fault, None).await;
    let exchange = finish.exchange().clone();
    drop(finish);
    rest::fate(session, &exchange, None, delivered)
}

/// Carries an acceptable request to its route, and on from there. Until its action begins, nothing
/// but `finish` holds the exchange: it can be changed, and its route be found again.
async fn carry(
    session: &mut Session<'_>,
    worker_config: &WorkerConfig,
    finish: &mut Finish,
    framing: Framing,
    body: &mut BodyPipe,
) -> Delivered {
    let exchange = finish.exchange();
    let admitted = match admit::find_route(exchange, session, worker_config, framing) {
        Ok(admitted) => admitted,
        Err(fault) => return refuse(session, exchange, &fault, Some(body)).await,
    };
    let route = &worker_config.snapshot.config.routes[admitted.route];
    let limit = route
        .client_max_body_size
        .unwrap_or(session.limits().client_max_body_size);
    if let (Some(length), Some(limit)) = (framing.length(), limit)
        && length > limit
    {
        let fault = Fault::BodyTooLarge(length);
        return refuse(session, exchange, &fault, Some(body)).await;
    }
    if admitted.lacks_slash {
        let location = redirect::with_slash(exchange);
        return redirect(session, exchange, &location, Some(body)).await;
    }
    let carried = act(session, worker_config, exchange, &admitted, limit, body).await;
    match carried {
        Ok(delivered) => delivered,
        Err(fault) => refuse(session, exchange, &fault, Some(body)).await,
    }
}

/// Does what the route says. `limit`: of the body that a server gets.
///
/// # Errors
/// A [`Fault`] where nothing was sent to the client yet.
async fn act(
    session: &mut Session<'_>,
    worker_config: &WorkerConfig,
    exchange: &Rc<Exchange>,
    admitted: &Admitted,
    limit: Option<u64>,
    body: &mut BodyPipe,
) -> Result<Delivered, Fault> {
    let route = &worker_config.snapshot.config.routes[admitted.route];
    let proxy = match &route.action {
        Action::Proxy(proxy) => proxy,
        Action::Return(answer) => return respond(session, exchange, answer, body).await,
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
/// [`Fault::BadLocation`].
async fn respond(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    answer: &Return,
    request_body: &mut BodyPipe,
) -> Result<Delivered, Fault> {
    // What is rendered may tell of it.
    exchange.stats.status.set(answer.status);
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

/// Sends the client elsewhere for good. A method that changes something must stay what it is (RFC
/// 9110 section 15.4.9); GET and HEAD get the status that every client knows.
async fn redirect(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    location: &[u8],
    request_body: Option<&mut BodyPipe>,
) -> Delivered {
    let status = match exchange.request.received_method() {
        b"GET" | b"HEAD" => 301,
        _ => 308,
    };
    let answer = LocalAnswer {
        status,
        content_type: "text/plain",
        body: b"",
        location,
        keep: true,
    };
    local::send_local(session, exchange, request_body, &answer).await
}

/// Answers with a fault's status, or with nothing where the client has left. `request_body`: where
/// its end can be found.
async fn refuse(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    fault: &Fault,
    request_body: Option<&mut BodyPipe>,
) -> Delivered {
    match fault.level() {
        Level::Error => exchange.error(fault, exchange.stats.last_address().as_deref()),
        Level::Info => exchange.info(fault),
    }
    let status = fault.status();
    exchange.stats.status.set(status);
    if status == 499 {
        return Delivered::Cut;
    }
    let answer = LocalFault {
        status,
        explanation: fault.explanation(),
        // What a client sends behind a CONNECT may be anything.
        keep: fault.leaves_connection_usable() && exchange.request.method() != b"CONNECT",
    };
    match local::send_fault(session, exchange, request_body, &answer).await {
        // The client has used up its time: the connection does not linger as well.
        Delivered::Whole { .. } if status == 408 => Delivered::Cut,
        delivered => delivered,
    }
}

#[cfg(test)]
mod tests;
