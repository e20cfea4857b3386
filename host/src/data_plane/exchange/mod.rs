//! Carries one exchange: the whole way of a request, top to bottom.

mod state; // what is known of it
mod variables; // ... as templates, logs and plugins ask for it
mod fault; // why it could not be carried through
mod admit; // is the request acceptable, and what does it ask for
mod proxy; // send it to an upstream, as often as it takes
mod request; // the header that the upstream gets
mod response; // the response on its way to the client
mod response_head; // ... its header
mod local; // an answer of our own
mod tunnel; // after a 101, bytes in both directions

pub(crate) use fault::Fault;
pub(crate) use state::Exchange;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use crate::config::model::{Action, Return};
use crate::data_plane::downstream::Session;
use crate::data_plane::stream::Alarm;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::framing::Framing;
use crate::http::grpc;
use crate::http::head::RequestHead;
use fault::Level;
use local::LocalAnswer;

/// What becomes of the client's connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionFate {
    KeepAlive,
    Close,
    /// Close, but read on for a while: the client is still sending, and a reset would take the
    /// answer from it.
    Linger,
}

/// What a request asks for.
enum Admission {
    Route(Admitted),
    /// The same on a listener with TLS.
    Redirect {
        port: u16,
        framing: Framing,
    },
}

/// A request that has a route.
struct Admitted {
    /// Index into the configuration's routes.
    route: usize,
    /// How much of the normalised path the route matched.
    matched: usize,
    framing: Framing,
}

/// Carries an exchange from its request head to its log line.
pub(crate) async fn serve(
    session: &mut Session<'_>,
    request: RequestHead,
    began: Instant,
) -> (ConnectionFate, RequestHead) {
    let worker_config = session.worker_config.clone();
    let (mut exchange, opened) = admit::open(session, &worker_config, request, began);
    if let Ok(Admission::Route(opened)) = &opened {
        exchange.server_name = Some(worker_config.route_names[opened.route].clone());
    }
    let exchange = Rc::new(exchange);
    let after = match opened {
        Ok(Admission::Route(opened)) => carry(session, &worker_config, &exchange, opened).await,
        Ok(Admission::Redirect { port, framing }) => {
            redirect(session, &exchange, port, framing).await
        }
        Err(fault) => refuse(session, &exchange, &fault).await,
    };
    log(session, &worker_config, &exchange);
    // Nobody else holds it now; if a lease still did, a fresh head would do as well.
    (
        after,
        Rc::try_unwrap(exchange)
            .map(|exchange| exchange.request)
            .unwrap_or_default(),
    )
}

/// Answers what never became a request.
pub(crate) async fn reject(
    session: &mut Session<'_>,
    request: RequestHead,
    began: Instant,
    fault: Fault,
) -> ConnectionFate {
    let worker_config = session.worker_config.clone();
    let exchange = Exchange::new(session, request, began);
    let after = refuse(session, &exchange, &fault).await;
    log(session, &worker_config, &exchange);
    after
}

async fn carry(
    session: &mut Session<'_>,
    worker_config: &WorkerConfig,
    exchange: &Rc<Exchange>,
    opened: Admitted,
) -> ConnectionFate {
    let route = &worker_config.snapshot.config.routes[opened.route];
    exchange.stats.route.set(Some(opened.route));
    exchange
        .stats
        .request_read
        .set(opened.framing == Framing::Length(0));
    let limit = route
        .client_max_body_size
        .unwrap_or(session.limits().client_max_body_size);
    if let (Some(length), Some(limit)) = (opened.framing.length(), limit)
        && length > limit
    {
        return refuse(session, exchange, &Fault::BodyTooLarge(length)).await;
    }
    let carried = match &route.action {
        Action::Proxy(proxy) => {
            let due = deadline(exchange);
            let mut alarm = Alarm::default();
            let mut proxied = pin!(proxy::proxy(
                session,
                worker_config,
                exchange,
                route,
                proxy,
                &opened,
                limit
            ));
            poll_fn(|cx| match (proxied.as_mut().poll(cx), due) {
                (Poll::Pending, Some(due)) => {
                    let passed = alarm.poll_due(cx, due);
                    passed.map(|_| Err(Fault::DeadlineExceeded))
                }
                (proxied, _) => proxied,
            })
            .await
        }
        Action::Return(answer) => Ok(respond(session, exchange, answer, &opened).await),
    };
    match carried {
        Ok(after) => after,
        Err(fault) => refuse(session, exchange, &fault).await,
    }
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
async fn respond(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    answer: &Return,
    opened: &Admitted,
) -> ConnectionFate {
    let (mut body, mut location) = (Vec::new(), Vec::new());
    if let Some(template) = &answer.body {
        template.render(&**exchange, &mut body);
    }
    if let Some(template) = &answer.location {
        template.render(&**exchange, &mut location);
    }
    let answer = LocalAnswer {
        status: answer.status,
        content_type: &answer.content_type,
        body: &body,
        location: &location,
        // A body that nobody reads would be taken for the next request.
        keep: opened.framing == Framing::Length(0) && request::wants_keep_alive(exchange),
    };
    local::send_local(session, exchange, &answer).await
}

/// Sends the client to the same URL with `https`. A method that changes something must stay what it
/// is (RFC 9110 section 15.4.9); GET and HEAD get the status that every client knows.
async fn redirect(
    session: &mut Session<'_>,
    exchange: &Exchange,
    port: u16,
    framing: Framing,
) -> ConnectionFate {
    let nothing_more = framing == Framing::Length(0);
    exchange.stats.request_read.set(nothing_more);
    let mut location = format!("https://{}", exchange.host).into_bytes();
    if port != 443 {
        location.extend_from_slice(format!(":{port}").as_bytes());
    }
    // `OPTIONS *` is about the server as a whole.
    let uri = exchange.uri();
    location.extend_from_slice(if uri.starts_with(b"/") { uri } else { b"/" });
    let status = match exchange.request.method() {
        b"GET" | b"HEAD" => 301,
        _ => 308,
    };
    let answer = LocalAnswer {
        status,
        content_type: "text/plain",
        body: b"",
        location: &location,
        keep: nothing_more && request::wants_keep_alive(exchange),
    };
    match local::send_local(session, exchange, &answer).await {
        ConnectionFate::Close if !nothing_more => ConnectionFate::Linger,
        after => after,
    }
}

/// Answers with a fault's status, or with nothing where the client has left, and closes the
/// connection.
async fn refuse(session: &mut Session<'_>, exchange: &Exchange, fault: &Fault) -> ConnectionFate {
    match fault.level() {
        Level::Error => exchange.error(fault, exchange.stats.last_address().as_deref()),
        Level::Info => exchange.info(fault),
    }
    let status = fault.status();
    exchange.stats.status.set(status);
    if status == 499 {
        return ConnectionFate::Close;
    }
    if exchange.is_grpc() {
        return local::send_grpc_fault(session, exchange, status);
    }
    let reason = fault::reason(status);
    let body = match fault.explanation() {
        Some(explanation) => format!("{status} {reason}\n{explanation}\n"),
        None => format!("{status} {reason}\n"),
    };
    let keep = exchange.stats.request_read.get()
        && fault.leaves_connection_usable()
        && request::wants_keep_alive(exchange);
    let answer = LocalAnswer {
        status,
        content_type: "text/plain",
        body: body.as_bytes(),
        location: b"",
        keep,
    };
    match local::send_local(session, exchange, &answer).await {
        // A client that ran out of time gets no more of it.
        ConnectionFate::Close if status != 408 && !exchange.stats.request_read.get() => {
            ConnectionFate::Linger
        }
        after => after,
    }
}

fn log(session: &Session<'_>, worker_config: &WorkerConfig, exchange: &Exchange) {
    if let Some(log) = worker_config.log(session.listener, exchange.stats.route.get()) {
        session
            .worker
            .logs
            .borrow_mut()
            .write(&log.log, &log.format, exchange, Instant::now());
    }
}
