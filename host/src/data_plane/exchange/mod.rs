//! Carries one exchange: the whole way of a request, top to bottom.

mod captures; // what the regexes of its route have matched
mod kept; // what stays of an answer that another one takes the place of
mod state; // what is known of it
mod variables; // ... as templates, logs and plugins ask for it
mod fault; // why it could not be carried through
mod fault_class; // ... as it is counted
mod changes; // ... and is changed by hooks
mod conditions; // is it one of those that a route takes
mod admit; // is the request acceptable, and what does it ask for
mod challenge; // of an authority that issues certificates
mod watch; // who looks on where it is only explained
mod hooks; // what plugins decide about it
mod body_hooks; // ... and make of a body on its way
mod settle; // which route it takes
mod act; // what the route does with it
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
mod component; // ... that a component has
mod stub_status; // ... that is what is counted, in nginx's text
mod metrics; // ... in that of Prometheus
mod probe; // ... that says whether requests are wanted
mod error_page; // ... in place of an error's status alone
mod elsewhere; // ... which another route has
mod wait; // for something else than a server
mod source; // where the body of either comes from
mod content; // whether it is compressed or decompressed
mod hooked_body; // what hooks make of it
mod deliver; // and how it gets to the client
mod deliver_spliced; // ... within the kernel
mod deliver_hooked; // ... through hooks
mod recoded; // ... piece by piece, in another coding
mod tunnel; // after a 101, bytes in both directions
mod rest; // what becomes of the connection then
mod finish; // its log line
mod traced; // its trace
mod trace; // ... and what is told of it
pub(crate) mod explained; // what would become of it

pub(crate) use fault::Fault;
pub(crate) use fault_class::FAULT_CLASSES;
pub(crate) use rest::ConnectionFate;
pub(crate) use state::Exchange;

use std::mem;
use std::rc::Rc;
use std::time::Instant;

use crate::data_plane::body::BodyPipe;
use crate::data_plane::downstream::Session;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::framing::Framing;
use crate::http::head::RequestHead;
use crate::plugin::HookAnswer;
use act::{Acted, act};
use admit::Admission;
use fault::Level;
use fault_class::FaultClass;
use finish::Finish;
use local::{LocalAnswer, LocalFault};
use rest::Delivered;
use settle::{Settled, Way, body_limit, settle};
use watch::Nobody;

/// Carries an exchange from its request head to its log line.
pub(crate) async fn serve(
    session: &mut Session<'_>,
    request: RequestHead,
    began: Instant,
) -> ConnectionFate {
    let worker_config = session.worker_config.clone();
    let (mut finish, admission) = begin(session, request, began);
    let mut body = finish.exchange().framing.map(BodyPipe::of_request);
    let token = challenge::token(session, &worker_config, finish.exchange());
    let admission = match (admission, token) {
        // Few exchanges get here: the others need not carry the room for it.
        (Ok(admission), Some(token)) => {
            let answer = Box::pin(challenge::answer(session, &worker_config, token)).await;
            answer.map(|answer| answer.map_or(admission, Admission::Challenge))
        }
        (admission, _) => admission,
    };
    let delivered = match (admission, &mut body) {
        (Ok(Admission::Challenge(answer)), body) => {
            let answer = LocalAnswer {
                content_type: "application/octet-stream",
                ..LocalAnswer::text(200, &answer)
            };
            local::send_local(session, finish.exchange(), body.as_mut(), &answer).await
        }
        (Ok(Admission::Route(framing)), Some(body)) => {
            carry(session, &worker_config, &mut finish, framing, body).await
        }
        (Ok(Admission::Redirect { port }), body) => {
            let exchange = finish.exchange();
            let location = redirect::to_https(exchange, port);
            local::redirect(session, exchange, &location, body.as_mut()).await
        }
        (Ok(Admission::Route(_)), None) => Delivered::Cut,
        (Err(fault), body) => refuse(session, finish.exchange(), &fault, body.as_mut()).await,
    };
    end(session, finish, body, delivered)
}

/// Ends an exchange: what becomes of its connection.
fn end(
    session: &mut Session<'_>,
    finish: Finish,
    body: Option<BodyPipe>,
    delivered: Delivered,
) -> ConnectionFate {
    let mut exchange = finish.exchange().clone();
    drop(finish);
    let fate = rest::fate(session, &exchange, body, delivered);
    // Normally nothing else holds the exchange any more. Its heads are given back as an
    // optimisation: if something does, fresh ones take their place.
    if let Some(exchange) = Rc::get_mut(&mut exchange) {
        (session.worker).give_request_head(mem::take(&mut exchange.request));
        (session.worker).give_response_head(exchange.response.take());
    }
    fate
}

/// Begins an exchange; it is there even where its request is refused: it is logged. It has its place
/// before it is looked at: it is large, and would be copied. Apart from [`serve`], which would hold
/// room for it.
fn begin(
    session: &Session<'_>,
    request: RequestHead,
    began: Instant,
) -> (Finish, Result<Admission, Fault>) {
    let mut finish = Finish::new(session, Exchange::begin(session, request, began));
    // Nothing else holds it yet.
    let examined = (finish.exchange_mut()).map(|exchange| admit::examine(exchange, session));
    (finish, examined.unwrap_or(Err(Fault::Said(500))))
}

/// Answers a request whose head could not be parsed.
pub(crate) async fn reject(
    session: &mut Session<'_>,
    request: RequestHead,
    began: Instant,
    fault: Fault,
) -> ConnectionFate {
    let finish = Finish::new(session, Exchange::begin(session, request, began));
    let delivered = refuse(session, finish.exchange(), &fault, None).await;
    end(session, finish, None, delivered)
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
        let settled = settle(
            session,
            worker_config,
            finish,
            (framing, body),
            &mut way,
            &Nobody,
        );
        let settled = settled.await;
        let exchange = finish.exchange();
        let acted = match settled {
            Ok(Settled::Route(admitted)) if admitted.lacks_slash => {
                let location = redirect::with_slash(exchange);
                return local::redirect(session, exchange, &location, Some(body)).await;
            }
            Ok(Settled::Route(admitted)) => {
                let limit = body_limit(session, worker_config, &admitted);
                act(session, worker_config, exchange, &admitted, limit, body).await
            }
            Ok(Settled::Answer(answer)) => Err(Fault::Answered(Box::new(answer))),
            Err(fault) => Err(fault),
        };
        let acted = match acted.map_err(Fault::into_answer) {
            Ok(acted) => Ok(acted),
            Err(Ok(HookAnswer { status, body: text })) => {
                let exchange = finish.exchange();
                let answered = local::answer(session, exchange, (status, &text), body).await;
                answered.map(Acted::Delivered)
            }
            Err(Err(fault)) => Err(fault),
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
        return match elsewhere::instead(session, worker_config, exchange, &fault, body) {
            None => refuse(session, exchange, &fault, Some(body)).await,
            Some(instead) => {
                tell(exchange, &fault);
                let carried = elsewhere::carry_elsewhere(
                    session,
                    worker_config,
                    finish,
                    instead,
                    framing,
                    body,
                );
                // Few exchanges get here: the others need not carry the room for it.
                Box::pin(carried).await
            }
        };
    }
}

/// Counts that an exchange could not be carried through, and writes to the error log why.
fn tell(exchange: &Exchange, fault: &Fault) {
    if let Some(class) = FaultClass::of(fault) {
        exchange.worker.counted().fault(class as usize);
        exchange.note_fault(class);
    }
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
    exchange.begin_trace();
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
