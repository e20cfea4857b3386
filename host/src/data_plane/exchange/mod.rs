//! Carries one exchange: the whole way of a request, top to bottom.

mod captures; // what the regexes of its route have matched
mod state; // what is known of it
mod variables; // ... as templates, logs and plugins ask for it
mod fault; // why it could not be carried through
mod changes; // ... and is changed by hooks
mod conditions; // is it one of those that a route takes
mod admit; // is the request acceptable, and what does it ask for
mod hooks; // what plugins decide about it
mod proxy; // send it to an upstream, as often as it takes
mod named; // ... which the request itself may name
mod ahead; // what is read of its body before
mod request; // the header that the upstream gets
mod message; // ... what is sent
mod forward; // ... one attempt after the other
mod final_head; // what an endpoint answers with
mod handed_on; // ... which may leave it to another route
mod response; // its response
mod configured; // what the configuration changes of its head
mod head; // the head of any answer
mod replaced; // what takes the place of a server's words
mod redirect; // where it sends the client
mod cookies; // which it is to keep
mod local; // an answer of our own
mod files; // ... that is a file
mod stub_status; // ... that is what is counted
mod error_page; // ... in place of an error's status alone
mod wait; // for something else than a server
mod source; // where the body of either comes from
mod content; // whether it is compressed or decompressed
mod deliver; // and how it gets to the client
mod recoded; // ... piece by piece, in another coding
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

use crate::config::model::{Action, CLOSE, Return};
use crate::data_plane::body::BodyPipe;
use crate::data_plane::downstream::Session;
use crate::data_plane::stream::Alarm;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::framing::Framing;
use crate::http::head::RequestHead;
use crate::http::{grpc, headers};
use crate::plugin::HookAnswer;
use admit::{Admission, Admitted};
use fault::Level;
use files::Served;
use finish::Finish;
use forward::Forwarded;
use hooks::{Decided, OnReroute};
use local::{LocalAnswer, LocalFault};
use rest::Delivered;

/// Changes of route in one exchange (`NGX_HTTP_MAX_URI_CHANGES`).
const MAX_REROUTES: usize = 10;

/// Carries an exchange from its request head to its log line.
pub(crate) async fn serve(
    session: &mut Session<'_>,
    request: RequestHead,
    began: Instant,
) -> (ConnectionFate, RequestHead) {
    let worker_config = session.worker_config.clone();
    let mut exchange = Exchange::new(session, request, began);
    // It is there even where the request is refused: it is logged.
    let admission = admit::examine(&mut exchange, session);
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
    mut framing: Framing,
    body: &mut BodyPipe,
) -> Delivered {
    let mut way = Way::of(session, worker_config);
    loop {
        let settled = settle(session, worker_config, finish, framing, &mut way).await;
        let exchange = finish.exchange();
        let acted = match settled {
            Ok(Settled::Route(admitted)) if admitted.lacks_slash => {
                let location = redirect::with_slash(exchange);
                return redirect(session, exchange, &location, Some(body)).await;
            }
            Ok(Settled::Route(admitted)) => {
                let limit = body_limit(session, worker_config, &admitted);
                act(session, worker_config, exchange, &admitted, limit, body).await
            }
            Ok(Settled::Answer(HookAnswer { status, body: text })) => {
                let answered = local::answer(session, exchange, (status, &text), body).await;
                answered.map(Acted::Delivered)
            }
            Err(fault) => Err(fault),
        };
        let fault = match acted {
            Ok(Acted::Delivered(delivered)) => return delivered,
            Ok(Acted::Reroute(route)) => {
                way.led_to = Some(route);
                continue;
            }
            Ok(Acted::HandedOn(target)) => {
                match handed_on::follow(session, worker_config, finish, &target) {
                    Ok(route) => {
                        way.led_to = Some(route);
                        // The server has had it.
                        framing = Framing::Length(0);
                        continue;
                    }
                    Err(fault) => fault,
                }
            }
            Err(fault) => fault,
        };
        let exchange = finish.exchange();
        return match instead(session, worker_config, exchange, &fault, body) {
            None => refuse(session, exchange, &fault, Some(body)).await,
            Some(instead) => {
                tell(exchange, &fault);
                let elsewhere =
                    carry_elsewhere(session, worker_config, finish, instead, framing, body);
                // Few exchanges get here: the others need not carry the room for it.
                Box::pin(elsewhere).await
            }
        };
    }
}

/// The route that answers in place of an error, and with which status, if there is one. It can have
/// the request only as the client has sent it: of what was read of a body nothing is left, and
/// behind one that broke off nothing can be told.
fn instead(
    session: &Session<'_>,
    worker_config: &WorkerConfig,
    exchange: &Exchange,
    fault: &Fault,
    body: &BodyPipe,
) -> Option<(usize, Option<u16>)> {
    if body.length > 0 || !fault.leaves_connection_usable() || exchange.is_grpc() {
        return None;
    }
    error_page::route(exchange, session, worker_config, fault.status())
}

/// Has another route answer in place of an error, with another status if one is given.
async fn carry_elsewhere(
    session: &mut Session<'_>,
    worker_config: &WorkerConfig,
    finish: &mut Finish,
    (route, status): (usize, Option<u16>),
    framing: Framing,
    body: &mut BodyPipe,
) -> Delivered {
    finish.exchange().go_on_elsewhere(status);
    let fault = match act_elsewhere(session, worker_config, finish, route, framing, body).await {
        Ok(Acted::Delivered(delivered)) => return delivered,
        // Nobody would ask the hooks of a third route.
        Ok(Acted::Reroute(_) | Acted::HandedOn(_)) => Fault::NoRoute,
        Err(fault) => fault,
    };
    let exchange = finish.exchange();
    exchange.status_instead.set(None);
    refuse(session, exchange, &fault, Some(body)).await
}

/// Does what the route of this index says, if its hooks let the request pass (nginx: the access phase
/// of an internal redirect). What they answer is an error of that route.
async fn act_elsewhere(
    session: &mut Session<'_>,
    worker_config: &WorkerConfig,
    finish: &mut Finish,
    route: usize,
    framing: Framing,
    body: &mut BodyPipe,
) -> Result<Acted, Fault> {
    let admitted = admit::take_route(finish.exchange(), session, worker_config, framing, route)?;
    let limit = body_limit(session, worker_config, &admitted);
    let route = &worker_config.snapshot.config.routes[admitted.route];
    // The other actions drop it, which may be why they are asked.
    if let (Action::Proxy(_), Some(fault)) = (&route.action, too_large(framing, limit)) {
        return Err(fault);
    }
    if !route.hooks.is_empty() {
        let asked = hooks::ask(
            session,
            worker_config,
            finish,
            &route.hooks,
            OnReroute::Stay,
        );
        match asked.await? {
            Decided::Proceed => {}
            Decided::Answer(HookAnswer { status, body: text }) => {
                let exchange = finish.exchange();
                // Its own status, whatever the error that led here was to have.
                exchange.status_instead.set(None);
                let answered = local::answer(session, exchange, (status, &text), body).await;
                return answered.map(Acted::Delivered);
            }
            Decided::Reroute(_) => return Err(Fault::NoRoute),
        }
    }
    let exchange = finish.exchange();
    act(session, worker_config, exchange, &admitted, limit, body).await
}

/// The way of a request from route to route.
struct Way {
    /// The hooks of its listener are still to be asked.
    asks_listener: bool,
    /// Routes that it has taken.
    routes: usize,
    /// The one that a route's action has led to.
    led_to: Option<usize>,
}

impl Way {
    fn of(session: &Session<'_>, worker_config: &WorkerConfig) -> Way {
        let listener = &worker_config.snapshot.config.listeners[session.listener];
        Way {
            asks_listener: !listener.hooks.is_empty(),
            routes: 0,
            led_to: None,
        }
    }
}

/// What a route's action has come to.
enum Acted {
    Delivered(Delivered),
    /// Nothing was sent: the route of this index has the answer.
    Reroute(usize),
    /// Nor here: that route has it which a server has named so.
    HandedOn(Box<[u8]>),
}

/// Bytes of a body that a request may have on its route; none for no bound.
fn body_limit(
    session: &Session<'_>,
    worker_config: &WorkerConfig,
    admitted: &Admitted,
) -> Option<u64> {
    let route = &worker_config.snapshot.config.routes[admitted.route];
    route
        .client_max_body_size
        .unwrap_or(session.limits().client_max_body_size)
}

/// That a body is known to be larger than what is allowed.
fn too_large(framing: Framing, limit: Option<u64>) -> Option<Fault> {
    let length = framing.length()?;
    (length > limit?).then_some(Fault::BodyTooLarge(length))
}

/// Where a request goes.
enum Settled {
    Route(Admitted),
    /// To no server: a hook answers.
    Answer(HookAnswer),
}

/// Finds the route of a request, as the hooks of its listener and of the route itself have it.
///
/// Those of the listener are asked once, before the first route that inherits them: a route that
/// does not must not lead past them to one that does.
///
/// # Errors
/// A [`Fault`]: there is no route, or a hook failed.
async fn settle(
    session: &mut Session<'_>,
    worker_config: &WorkerConfig,
    finish: &mut Finish,
    framing: Framing,
    way: &mut Way,
) -> Result<Settled, Fault> {
    let routes = &worker_config.snapshot.config.routes;
    let of_listener = &worker_config.snapshot.config.listeners[session.listener].hooks;
    let inherits = |admitted: &Admitted| routes[admitted.route].inherits_hooks;
    let led_to = way.led_to.take();
    let mut found = admit::find_anew(finish.exchange(), session, worker_config, framing, led_to);
    while way.routes <= MAX_REROUTES {
        way.routes += 1;
        if way.asks_listener && found.as_ref().map_or(true, inherits) {
            way.asks_listener = false;
            let others = OnReroute::AskOthers;
            let asked = hooks::ask(session, worker_config, finish, of_listener, others);
            let decided = asked.await?;
            let exchange = finish.exchange();
            let led_to = match decided {
                Decided::Answer(answer) => return Ok(Settled::Answer(answer)),
                Decided::Proceed if !exchange.was_changed() => None,
                // Host and path may be others by now.
                Decided::Proceed => Some(None),
                Decided::Reroute(route) => Some(route),
            };
            if let Some(route) = led_to {
                found = admit::find_anew(exchange, session, worker_config, framing, route);
            }
        }
        let admitted = found?;
        // Before the route's hooks, which count nothing then (`ngx_http_core_find_config_phase`).
        let limit = body_limit(session, worker_config, &admitted);
        if let Some(fault) = too_large(framing, limit) {
            return Err(fault);
        }
        let of_route = &routes[admitted.route].hooks;
        if of_route.is_empty() || admitted.lacks_slash {
            return Ok(Settled::Route(admitted));
        }
        let asked = hooks::ask(session, worker_config, finish, of_route, OnReroute::Leave);
        let decided = asked.await?;
        let exchange = finish.exchange();
        found = match decided {
            Decided::Proceed => return Ok(Settled::Route(admitted)),
            Decided::Answer(answer) => return Ok(Settled::Answer(answer)),
            Decided::Reroute(route) => {
                admit::find_anew(exchange, session, worker_config, framing, route)
            }
        };
    }
    Err(Fault::TooManyRoutes)
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
        Action::Files(site) => {
            let of_route = (route, site);
            let served = files::serve(session, worker_config, exchange, of_route, admitted, body);
            return Ok(match served.await? {
                Served::Delivered(delivered) => Acted::Delivered(delivered),
                Served::Route(route) => Acted::Reroute(route),
                Served::LacksSlash => {
                    let location = redirect::with_slash(exchange);
                    let sent = redirect(session, exchange, &location, Some(body));
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

/// Writes to the error log why an exchange could not be carried through.
fn tell(exchange: &Exchange, fault: &Fault) {
    match fault.level() {
        Level::Error => exchange.error(fault, exchange.stats.last_address().as_deref()),
        Level::Info => exchange.info(fault),
        Level::Silent => {}
    }
}

/// Answers with a fault's status, or with nothing where the client has left. `request_body`: where
/// its end can be found.
async fn refuse(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    fault: &Fault,
    request_body: Option<&mut BodyPipe>,
) -> Delivered {
    tell(exchange, fault);
    let status = fault.status();
    exchange.stats.status.set(status);
    let usable = fault.leaves_connection_usable();
    // A status that was said may be any: it says nothing about this client.
    if status == 499 && !usable {
        return Delivered::Cut;
    }
    let answer = LocalFault {
        status,
        field: fault.field(),
        explanation: fault.explanation(),
        // What a client sends behind a CONNECT may be anything.
        keep: usable && exchange.request.method() != b"CONNECT",
    };
    match local::send_fault(session, exchange, request_body, &answer).await {
        // The client has used up its time: the connection does not linger as well.
        Delivered::Whole { .. } if status == 408 && !usable => Delivered::Cut,
        delivered => delivered,
    }
}

#[cfg(test)]
mod tests;
