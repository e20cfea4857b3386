//! A component that answers: it gets the request as a server would, its body while that comes in, and
//! its answer goes the way of a server's. It runs in a task of its own, which ends with the exchange,
//! unless the answer is whole: what it does behind that it may finish.

mod feed; // the request's body on its way to it
mod source; // its answer's body

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http::HeaderValue;
use http::header::HOST;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::admit::Admitted;
use super::ahead::{drop_body, read_ahead};
use super::body_hooks::BodyHooks;
use super::deliver::Delivery;
use super::error_page;
use super::fault::Fault;
use super::head::{ClientHead, HeadKind, HeadSource, passes_as_trailer};
use super::proxy::{body_plan_for_empty, pass_ahead};
use super::request::{self, BodyPlan, ConfiguredChanges, Listed, RequestPlan, write_request};
use super::response::{coding_for, note_error};
use super::rest::{Delivered, invite, may_keep};
use super::source::ResponseSource;
use super::state::Exchange;
use crate::config::model::Route;
use crate::data_plane::body::{BodyError, BodyPipe, Encoder, Stage as _};
use crate::data_plane::downstream::Session;
use crate::data_plane::hook_requests::{Origin, carry_until};
use crate::data_plane::stream::Alarm;
use crate::data_plane::upstream::Failure;
use crate::http::framing::{self, Framing};
use crate::http::head::http2_request;
use crate::plugin::{
    AnswerBody, Answered, ClientBody, Handling, NoAnswer, Untrusted, WorkerHandler, client_body,
    hook_requests,
};
use feed::Feed;

pub(super) use source::{Beside, BrokenAnswer, ComponentSource};

/// Bytes of a request's body that are read before the component is called, unless the route says
/// otherwise: as many as before a server is asked.
const BODY_BUFFER: usize = 16 << 10;
/// Fields of an answer.
const FIELDS: usize = 200;
/// Bytes of an answer that nobody wants which are read for the component's sake.
const DROPPED: usize = 1 << 20;

/// A component at work. It ends when this is dropped.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Has a component answer.
///
/// # Errors
/// A [`Fault`] where nothing was sent to the client yet.
pub(super) async fn serve(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    route: &Route,
    component: &Rc<WorkerHandler>,
    admitted: &Admitted,
    progress: &mut BodyPipe,
) -> Result<Delivered, Fault> {
    let of_listener = session.limits().client_body_timeout;
    let timeout = route.limits.client_body_timeout.unwrap_or(of_listener);
    let is_gone = exchange.handed_on.borrow().is_some();
    if is_gone {
        // A server had it: what is left of it is nobody's.
        let dropped = drop_body(session, progress, timeout).await;
        dropped.map_err(Fault::Body)?;
    } else if !progress.is_done() {
        let invited = invite(session, exchange).await;
        invited.map_err(|error| Fault::Body(BodyError::Io(error)))?;
        // No instance waits for a client that sends little, and slowly.
        let bound = route.limits.body_buffer_size.unwrap_or(BODY_BUFFER);
        let mut ahead = exchange.body_ahead.take();
        let within = (!exchange.is_grpc(), timeout);
        let read = read_ahead(session, progress, bound, within, &mut ahead).await;
        exchange.body_ahead.replace(ahead);
        read.map_err(Fault::Body)?;
    }
    let (ahead, hooks, plan) = prepared(exchange, admitted.framing, progress)?;
    let request = request(exchange, route, plan)?;
    let (to, body) = client_body(match plan {
        BodyPlan::None => Some(0),
        BodyPlan::Length(length) => Some(length),
        BodyPlan::Chunked | BodyPlan::Stream => None,
    });
    let (handling, running) = begin(exchange, component, request.map(|()| body));

    let fields = exchange.request.fields();
    let listed = Listed::of(fields);
    let changes = ConfiguredChanges::of(exchange, route);
    let passes_to_component =
        |name: &[u8]| request::passes_as_trailer(name, fields, changes, &listed);
    let buffers = session.worker.buffers.clone();
    let (keep, wait) = (may_keep_then(session, exchange), component.longest_wait());
    let Session {
        incoming,
        outgoing,
        worker,
        ..
    } = session;
    let mut feed = Feed {
        body: progress,
        incoming,
        buffers: &buffers,
        hooks,
        ahead,
        passes_trailer: &passes_to_component,
        // Of HTTP/2 the rest is left unread, and not to be handed over either.
        to: (!is_gone).then_some(to),
        timeout,
        due: None,
        has_moved: false,
        failed: None,
        look: None,
        is_gone: false,
    };
    let mut alarm = Alarm::default();
    let answered = answer(handling, &mut feed, &mut alarm, component).await;
    exchange.stats.body_received.set(feed.body.length);
    let Answered {
        status,
        headers,
        body,
    } = answered?;

    let faulty = |why: &dyn std::fmt::Display| {
        Fault::Component(Untrusted::message(format_args!("{component} {why}")))
    };
    let framing = {
        let mut head = exchange.response.borrow_mut();
        let taken = head.take_http2(status, &headers, FIELDS);
        taken.map_err(|bad| faulty(&format_args!("sent an invalid header ({bad})")))?;
        if status.is_informational() {
            return Err(faulty(&format_args!("answered with {}", status.as_u16())));
        }
        let framing = framing::of_response(&head, exchange.request.method());
        let framing = framing.map_err(|bad| faulty(&format_args!("sent {bad}")))?;
        // What is behind its length is not waited for.
        framing.length().map_or(framing, Framing::Length)
    };
    exchange.stats.answered.set(true);
    let status = status.as_u16();
    if error_page::intercepts(exchange, route, status) {
        exchange.stats.answered.set(false);
        return Err(Fault::Intercepted(status));
    }
    let keep = keep && (feed.body.is_done() || feed.body.may_be_dropped());
    let (keep, coding) = coding_for(exchange, framing, keep);
    let passes_trailer = |name: &[u8]| {
        let head = exchange.response.borrow();
        passes_as_trailer(name, exchange, route, &head)
    };
    let encoder = Encoder {
        coding,
        passes_trailer: &passes_trailer,
    };
    let mut answer_body = BodyPipe::of_response(framing);
    let mut out = match answer_body.goes_as_is(&encoder) {
        true => buffers.take_head(),
        false => buffers.take_body(),
    };
    {
        let head = exchange.response.borrow();
        let client_head = ClientHead {
            status,
            source: HeadSource::Upstream(&head),
            kind: HeadKind::Final {
                coding,
                keeps_length: framing.length().is_some() && status != 204,
                keep,
            },
            route: Some(route),
        };
        exchange.stats.status.set(status);
        client_head.write(exchange, &mut out);
    }
    let has_no_body = answer_body.is_done();
    let mut source = ResponseSource::Component(Box::new(ComponentSource {
        body,
        piece: Bytes::new(),
        trailers: Vec::new(),
        has_ended: has_no_body,
        feed,
        wait,
        alarm,
    }));
    let mut delivery = Delivery {
        outgoing,
        exchange,
        buffers: &worker.buffers,
        encoder,
        closes: false,
        held: None,
    };
    let passed = delivery.pass(&mut answer_body, &mut source, &mut out).await;
    let keep = keep && !delivery.closes;
    buffers.give(out);
    let complete = passed.is_ok();
    if let Err(error) = passed {
        note_error(exchange, error, &component.to_string()).map_err(Fault::Attempt)?;
    }
    exchange.stats.complete.set(complete);
    let ResponseSource::Component(source) = source else {
        return Ok(Delivered::Cut);
    };
    exchange.stats.body_received.set(source.feed.body.length);
    if !complete {
        return Ok(Delivered::Cut);
    }
    finish(running, source.body, has_no_body, wait);
    Ok(Delivered::Whole { keep })
}

/// Whether the client's connection may be kept, but for what is left of the request.
fn may_keep_then(session: &Session<'_>, exchange: &Exchange) -> bool {
    may_keep(
        session,
        exchange,
        Some(&BodyPipe::of_request(Framing::Length(0))),
    )
}

/// What there is of the body, as hooks have made it, and how the component is told of it.
fn prepared(
    exchange: &Rc<Exchange>,
    framing: Framing,
    progress: &mut BodyPipe,
) -> Result<(Bytes, Option<Box<BodyHooks>>, BodyPlan), Fault> {
    let method = exchange.request.method();
    let mut ahead = exchange.body_ahead.take();
    // A server had it, which has handed the request on.
    if exchange.handed_on.borrow().is_some() {
        return Ok((Bytes::new(), None, body_plan_for_empty(method)));
    }
    let mut hooks = BodyHooks::of(exchange, crate::plugin::BodySide::Request);
    if let Some(hooks) = &mut hooks {
        let replaced = exchange.body_replaced.get() || hooks.changes();
        exchange.body_replaced.set(replaced);
        let end = progress.is_done().then(|| progress.trailers());
        ahead = pass_ahead(hooks, &ahead, end).map_err(|stopped| Fault::Body(stopped.into()))?;
    }
    let whole = progress.is_done();
    let plan = match framing {
        _ if whole && ahead.is_empty() => body_plan_for_empty(method),
        _ if whole => BodyPlan::Length(ahead.len() as u64),
        _ if exchange.body_replaced.get() => BodyPlan::Stream,
        Framing::Length(length) | Framing::Stream(Some(length)) => BodyPlan::Length(length),
        Framing::Chunked | Framing::UntilClose | Framing::Stream(None) => BodyPlan::Stream,
    };
    Ok((ahead.into(), hooks, plan))
}

/// The request's head, as a server would get it.
fn request(exchange: &Exchange, route: &Route, body: BodyPlan) -> Result<http::Request<()>, Fault> {
    if exchange.authority().is_empty() {
        // Of a request in HTTP/1.0 that names none.
        *exchange.proxy_host.borrow_mut() = Some("localhost".into());
    }
    let plan = RequestPlan {
        method: exchange.request.method(),
        target: exchange.uri(),
        body,
        upgrade: false,
        http2: true,
        websocket_key: None,
        keep_alive: true,
        trusted: exchange.peer_trusted,
        changes: ConfiguredChanges::of(exchange, route),
    };
    let mut text = exchange.worker.buffers.take_head();
    write_request(exchange, &plan, &mut text);
    let request = http2_request(&text, exchange.client_scheme(), None);
    exchange.worker.buffers.give(text);
    let mut request = request.map_err(|bad| Fault::Attempt(Failure::Inexpressible(bad)))?;
    let host = request
        .uri()
        .authority()
        .map(|host| HeaderValue::from_str(host.as_str()));
    if let Some(Ok(host)) = host {
        request.headers_mut().insert(HOST, host);
    }
    Ok(request)
}

/// Begins a call.
fn begin(
    exchange: &Rc<Exchange>,
    component: &Rc<WorkerHandler>,
    request: http::Request<ClientBody>,
) -> (Handling, Running) {
    let (sender, requests) = hook_requests();
    let (handling, call) = component.handle(request, sender);
    let origin = Origin {
        worker: exchange.worker.clone(),
        worker_config: exchange.worker_config.clone(),
        client: exchange.client.clone(),
        address: exchange.remote_ip(),
        under_way: component.requests_under_way().clone(),
        longest: component.longest_wait(),
        trace: exchange.call_trace(),
    };
    let task = async move { carry_until(&origin, requests, call).await };
    (handling, Running(tokio::task::spawn_local(task)))
}

/// Waits for the answer to begin, while the request goes on.
async fn answer(
    mut handling: Handling,
    feed: &mut Feed<'_>,
    alarm: &mut Alarm,
    component: &WorkerHandler,
) -> Result<Answered, Fault> {
    let wait = component.longest_wait();
    let mut due = Instant::now() + wait;
    #[allow(clippy::disallowed_methods, reason = "an alarm bounds it within")]
    let answered = poll_fn(|cx| {
        if let Poll::Ready(answered) = handling.poll_answer(cx) {
            return Poll::Ready(answered.map_err(|why| fault_of(component, &why)));
        }
        let _ = feed.poll(cx);
        if let Some(error) = feed.failed.take() {
            return Poll::Ready(Err(Fault::Body(error)));
        }
        if feed.is_client_gone(cx) {
            return Poll::Ready(Err(Fault::ClientGone));
        }
        if std::mem::take(&mut feed.has_moved) {
            due = Instant::now() + wait;
        }
        feed.poll_due(alarm, cx, due).map(|()| {
            let why =
                format_args!("{component} gave no answer within its `limits.wait` ({wait:?})");
            Err(Fault::ComponentTimedOut(Untrusted::message(why)))
        })
    });
    answered.await
}

fn fault_of(component: &WorkerHandler, why: &NoAnswer) -> Fault {
    let message = Untrusted::message(format_args!("{component} gave no answer: {why}"));
    match why {
        NoAnswer::Unasked(_) => Fault::ComponentUnasked(message),
        NoAnswer::Failed | NoAnswer::Returned | NoAnswer::Error(_) => Fault::Component(message),
    }
}

/// The answer is whole: the component may finish what it does behind that, within the time that it has.
fn finish(running: Running, body: AnswerBody, is_unwanted: bool, wait: std::time::Duration) {
    if running.0.is_finished() {
        return;
    }
    tokio::task::spawn_local(async move {
        let mut running = running;
        let due = Instant::now() + wait;
        if is_unwanted {
            body.drop_rest(DROPPED, wait).await;
        }
        let _ = tokio::time::timeout_at(due, &mut running.0).await;
    });
}
