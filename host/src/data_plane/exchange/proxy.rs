//! Sends an exchange to an upstream: as many attempts as its rules allow, then the answer of the
//! last.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::fault::failure_status;
use super::head::ClientHead;
use super::request::{BodyPlan, RequestPlan, asks_to_switch, wants_keep_alive, write_request};
use super::response::{self, Passed};
use super::rest::{Delivered, invite};
use super::state::Exchange;
use super::tunnel::{self, TunnelPlan};
use super::{Admitted, Fault};
use crate::config::model::{Proxy, Route};
use crate::data_plane::body::{BodyError, BodyProgress, CHUNK_FRAMING, Coding, append, append_end};
use crate::data_plane::copy::CopyTimeouts;
use crate::data_plane::downstream::Session;
use crate::data_plane::upstream::{
    Attempt, AttemptError, Failure, Lease, ReadLimits, RequestStart, Retry, Timings, Upload,
    WorkerUpstream,
};
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::framing::{self, Framing};
use crate::http::head::{FieldName, Version};
use crate::http::headers::is_token;
use crate::http::path::Rewrite;
use crate::http::websocket;
use crate::plugin::Ending;

/// What is sent, the same in every attempt.
struct UpstreamMessage<'a> {
    head: &'a [u8],
    /// The body, or as much of it as is kept for another attempt.
    body: &'a [u8],
    /// How the rest of the body is passed on as it arrives; none where `body` is all of it.
    rest: Option<Coding>,
    /// Over HTTP/2: the trailer lines behind a body that is there as a whole.
    trailers: &'a [u8],
    /// The protocol that the client would rather speak.
    upgrade: Option<&'a str>,
    /// The key that the endpoint has to answer, if it is not the client's.
    websocket_key: Option<&'a str>,
    http2: bool,
}

/// Interim responses that one response may have before it: nothing else bounds what they add up to.
const MAX_INTERIM: u32 = 64;
/// Connections to one endpoint that an exchange sees end before it is looked at: each was of use to
/// others meanwhile.
const MAX_CONNECTIONS: u32 = 16;

impl UpstreamMessage<'_> {
    fn opening(&self) -> RequestStart<'_> {
        let whole = self.body.is_empty() && self.rest.is_none() && self.trailers.is_empty();
        RequestStart {
            head: self.head,
            ends: whole && self.upgrade.is_none(),
            protocol: self.upgrade,
        }
    }
}

/// Carries an exchange to `proxy`'s upstream and its answer back.
///
/// # Errors
/// A [`Fault`] where nothing was sent to the client yet.
pub(super) async fn proxy(
    session: &mut Session<'_>,
    worker_config: &WorkerConfig,
    exchange: &Rc<Exchange>,
    route: &Route,
    proxy: &Proxy,
    opened: &Admitted,
    progress: &mut BodyProgress,
) -> Result<Delivered, Fault> {
    let upstream = &worker_config.upstreams[proxy.upstream];
    let config = &upstream.shared.config;
    *exchange.proxy_host.borrow_mut() = Some(worker_config.upstream_names[proxy.upstream].clone());
    exchange
        .to_tls
        .set(worker_config.upstreams[proxy.upstream].shared.tls.is_some());

    let buffers = session.worker.buffers.clone();
    let mut body = buffers.take_head();
    if !progress.is_done() {
        invite(session, exchange)
            .await
            .map_err(|error| Fault::Body(BodyError::Io(error)))?;
        let bound = config.body_buffer_size;
        // A stream of messages may wait for an answer before it goes on.
        let wait = !exchange.is_grpc();
        read_ahead(session, progress, bound, wait, &mut body)
            .await
            .map_err(Fault::Body)?;
    }
    exchange.stats.body_received.set(progress.received);
    let streamed = !progress.is_done();
    let http2 = config.http2.is_some();
    let plan = match opened.framing {
        Framing::Length(0) | Framing::UntilClose => body_plan_for_empty(exchange.request.method()),
        Framing::Length(length) | Framing::Stream(Some(length)) => BodyPlan::Length(length),
        Framing::Chunked | Framing::Stream(None) if http2 => BodyPlan::Stream,
        // Small and complete: its length is known now. Trailers need the chunked coding.
        Framing::Chunked | Framing::Stream(None) if !streamed && progress.trailers().is_empty() => {
            BodyPlan::Length(progress.received)
        }
        Framing::Chunked | Framing::Stream(None) => BodyPlan::Chunked,
    };
    if plan == BodyPlan::Chunked {
        frame_as_chunked(&mut body, progress.is_done().then(|| progress.trailers()));
    }
    let upgrade = asks_to_switch(&exchange.request)
        .then(|| exchange.request.fields().known(FieldName::Upgrade).next())
        .flatten()
        // A list of them has no words in HTTP/2, and need not be heeded (RFC 9110 section 7.8).
        .filter(|protocol| !http2 || is_token(protocol))
        .and_then(|protocol| std::str::from_utf8(protocol).ok());

    let foreign = upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"))
        && !http2
        && exchange.request.version() == Version::Http2;
    let websocket_key = foreign.then(websocket::key);

    let mut target = Vec::new();
    let outgoing = RequestPlan {
        target: outgoing_target(exchange, proxy, opened, &mut target),
        body: plan,
        upgrade: upgrade.is_some(),
        http2,
        websocket_key: websocket_key.as_deref(),
        keep_alive: upstream.keeps_connections(),
        trusted: worker_config.trusts(exchange.client.ip),
        changes: &route.request_headers,
    };
    let mut head = buffers.take_head();
    write_request(exchange, &outgoing, &mut head);
    let rest = streamed.then_some(if plan == BodyPlan::Chunked {
        Coding::Chunked
    } else {
        Coding::Plain
    });
    let trailers = progress.trailers().to_vec();
    let sending = UpstreamMessage {
        head: &head,
        body: &body,
        rest,
        trailers: &trailers,
        upgrade,
        websocket_key: websocket_key.as_deref(),
        http2,
    };
    let carried = attempts(session, exchange, upstream, &sending, progress, route).await;
    exchange.stats.body_received.set(progress.received);
    buffers.give(head);
    buffers.give(body);
    carried
}

/// A method that gives a body meaning says that there is none (RFC 9110 section 8.6); others say
/// nothing.
fn body_plan_for_empty(method: &[u8]) -> BodyPlan {
    if matches!(method, b"POST" | b"PUT" | b"PATCH") {
        BodyPlan::Length(0)
    } else {
        BodyPlan::None
    }
}

/// Reads a body that fits into `bound` bytes to its end, a longer one as far as that: what fits can
/// be sent again. Without `wait`, it reads no more than has come.
async fn read_ahead(
    session: &mut Session<'_>,
    progress: &mut BodyProgress,
    bound: usize,
    wait: bool,
    body: &mut Vec<u8>,
) -> Result<(), BodyError> {
    if let Some(left) = progress.length_left() {
        body.reserve(usize::try_from(left).unwrap_or(bound).min(bound));
        if left > bound as u64 {
            // It will be passed on as it arrives; what came with the head goes first.
            return Ok(());
        }
    }
    let timeout = session.limits().client_body_timeout;
    let Session {
        incoming,
        alarm,
        worker,
        ..
    } = session;
    while !progress.is_done() && body.len() < bound {
        if body.capacity() - body.len() <= CHUNK_FRAMING {
            body.reserve((body.capacity() * 2).min(bound) + CHUNK_FRAMING);
        }
        let moved = poll_fn(|cx| {
            match progress.poll_move(cx, incoming, body, Coding::Plain, &worker.buffers) {
                Poll::Ready(moved) => Poll::Ready(Some(moved)),
                Poll::Pending if wait => Poll::Pending,
                Poll::Pending => Poll::Ready(None),
            }
        });
        match alarm.within(timeout, moved).await {
            Ok(Some(moved)) => moved?,
            Ok(None) => return Ok(()),
            Err(_) => return Err(BodyError::TimedOut),
        }
    }
    Ok(())
}

/// Puts the chunked coding around what was read ahead; `end` has the trailers where that was all.
fn frame_as_chunked(body: &mut Vec<u8>, end: Option<&[u8]>) {
    let plain = std::mem::take(body);
    append(&plain, Coding::Chunked, body);
    if let Some(trailers) = end {
        append_end(trailers, Coding::Chunked, body);
    }
}

/// The target as it was received, or with the route's URI part in place of what the route matched.
fn outgoing_target<'a>(
    exchange: &'a Exchange,
    proxy: &Proxy,
    opened: &Admitted,
    rewritten: &'a mut Vec<u8>,
) -> &'a [u8] {
    let Some(uri) = &proxy.uri else {
        return exchange.uri();
    };
    let rewrite = Rewrite {
        received: exchange.path(),
        path: exchange.normalised(),
        prefix_len: opened.matched,
        replacement: uri,
        query: exchange.query().unwrap_or_default(),
    };
    rewrite.append_to(rewritten);
    rewritten
}

async fn attempts(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    upstream: &Rc<WorkerUpstream>,
    sending: &UpstreamMessage<'_>,
    progress: &mut BodyProgress,
    route: &Route,
) -> Result<Delivered, Fault> {
    let rules = &upstream.shared.config.next_upstream;
    let method = exchange.request.method();
    let mut retry = Retry::new(
        rules,
        upstream.shared.tries(),
        method,
        sending.rest.is_some(),
        exchange.began,
    );
    for number in 0.. {
        let clock = session.worker.clock;
        let Ok(lease) = upstream.lease(exchange.clone(), &clock, number) else {
            exchange.stats.no_attempt(upstream.name());
            return Err(Fault::NoLiveUpstreams);
        };
        exchange.stats.begin_attempt(&lease);
        match attempt(
            session, exchange, upstream, lease, sending, progress, &mut retry, route,
        )
        .await
        {
            Attempted::Answered(delivered) => return Ok(delivered),
            Attempted::AskNext => {}
            Attempted::Failed(fault) => return Err(fault),
        }
    }
    Err(Fault::NoLiveUpstreams)
}

enum Attempted {
    /// The client has its answer, as much of it as there was.
    Answered(Delivered),
    AskNext,
    Failed(Fault),
}

#[allow(
    clippy::too_many_arguments,
    reason = "the parts of an exchange, each borrowed for its own time"
)]
async fn attempt(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    upstream: &Rc<WorkerUpstream>,
    lease: Lease,
    sending: &UpstreamMessage<'_>,
    progress: &mut BodyProgress,
    retry: &mut Retry<'_>,
    route: &Route,
) -> Attempted {
    let clock = session.worker.clock;
    let mut timings = Timings::default();
    let mut connections = 0;
    let answered = loop {
        let answered = answered(
            session,
            exchange,
            upstream,
            &lease,
            sending,
            progress,
            retry,
            route,
            &mut timings,
        )
        .await;
        connections += 1;
        match answered {
            Err(error) if error.needs_another_connection() && connections < MAX_CONNECTIONS => {}
            answered => break answered,
        }
    };
    match answered {
        Ok(Answered::Passed { passed, ending }) => {
            exchange.stats.attempt(|stats| {
                stats.response = passed.ended - lease.picked_at;
                stats.response_length = passed.length;
                (stats.bytes_received, stats.bytes_sent) = (passed.received, passed.sent);
            });
            let status = exchange.response().map_or(0, |head| head.status());
            lease.end(ending, status, timings, &clock);
            Attempted::Answered(passed.delivered)
        }
        Ok(Answered::TryNext { ending, status }) => {
            exchange
                .stats
                .attempt(|stats| stats.response = lease.picked_at.elapsed());
            lease.end(ending, status, timings, &clock);
            exchange.stats.answered.set(false);
            Attempted::AskNext
        }
        Err(error) => {
            let verdict = retry.after_error(&error);
            let status = failure_status(&error.failure);
            exchange.stats.attempt(|stats| {
                (stats.response, stats.status) = (lease.picked_at.elapsed(), status);
            });
            exchange.stats.answered.set(false);
            if verdict.again {
                exchange.error(&error.failure, Some(&lease.endpoint().name));
            }
            lease.end(verdict.ending, 0, timings, &clock);
            if verdict.again {
                Attempted::AskNext
            } else {
                Attempted::Failed(Fault::Attempt(error.failure))
            }
        }
    }
}

enum Answered {
    Passed {
        passed: Passed,
        ending: Ending,
    },
    /// An answer that the rules would rather have from another endpoint.
    TryNext {
        ending: Ending,
        status: u16,
    },
}

#[allow(
    clippy::too_many_arguments,
    reason = "the parts of an exchange, each borrowed for its own time"
)]
async fn answered(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    upstream: &Rc<WorkerUpstream>,
    lease: &Lease,
    sending: &UpstreamMessage<'_>,
    progress: &mut BodyProgress,
    retry: &mut Retry<'_>,
    route: &Route,
    timings: &mut Timings,
) -> Result<Answered, AttemptError> {
    let config = &upstream.shared.config;
    let buffers = session.worker.buffers.clone();
    let body_timeout = session.limits().client_body_timeout;
    let keep_client = wants_keep_alive(exchange) && session.may_keep_alive();
    let mut attempt = Attempt::begin(
        lease,
        upstream,
        session.alarm,
        &session.incoming.reader,
        &buffers,
        &sending.opening(),
    )
    .await?;
    if !attempt.is_cached() {
        timings.connect = lease.picked_at.elapsed();
    }
    exchange
        .stats
        .attempt(|stats| stats.connect = Some(timings.connect));

    let Session {
        incoming, outgoing, ..
    } = session;
    let rest = sending.rest.map(|coding| (progress, coding));
    let mut upload = Upload::new(
        if sending.http2 { &[] } else { sending.head },
        sending.body,
        incoming,
        rest,
        sending.upgrade.is_none().then_some(sending.trailers),
        config.send_timeout,
        body_timeout,
        &buffers,
    );
    let limits = ReadLimits {
        read_timeout: config.read_timeout,
        header_size: config.response_header_size,
    };
    // Out of its cell while it is written: nobody can ask for it before it is whole.
    let mut head = exchange.response.take();
    let mut interim = 0;
    let framing = loop {
        attempt.read_head(&mut upload, &mut head, &limits).await?;
        interim += 1;
        if interim > MAX_INTERIM {
            return Err(attempt.error(Failure::TooManyInterim));
        }
        match head.status() {
            101 if sending.upgrade.is_some() && !sending.http2 => {
                let answer = head.fields().known(FieldName::SecWebSocketAccept).next();
                let right =
                    |key: &str| answer == Some(websocket::accept(key.as_bytes()).as_bytes());
                if !sending.websocket_key.is_none_or(right) {
                    return Err(attempt.error(Failure::WrongWebSocketKey));
                }
                break None;
            }
            200..=299 if sending.upgrade.is_some() && sending.http2 => break None,
            status @ 200..=299
                if sending.upgrade.is_some() && exchange.request.version() == Version::Http2 =>
            {
                return Err(attempt.error(Failure::UpgradeIgnored(status)));
            }
            101 => return Err(attempt.error(Failure::UnaskedUpgrade)),
            // The client's expectation was answered here (RFC 9110 section 10.1.1).
            100 => {}
            102..=199 if exchange.request.version() != Version::Http10 => {
                // A client that is gone will be noticed soon enough.
                let _ = response::send_interim(outgoing, exchange, &head).await;
            }
            102..=199 => {}
            _ => {
                let framing = framing::of_response(&head, exchange.request.method())
                    .map_err(|error| attempt.error(Failure::InvalidFraming(error)))?;
                break Some(match framing {
                    Framing::Stream(_) if attempt.has_ended() => Framing::Length(0),
                    framing => framing,
                });
            }
        }
    };
    timings.header = lease.picked_at.elapsed();
    exchange.stats.answered.set(true);
    let status = head.status();
    exchange.response.replace(head);
    exchange
        .stats
        .attempt(|stats| (stats.header, stats.status) = (Some(timings.header), status));
    exchange.stats.status.set(status);

    let Some(framing) = framing else {
        let mut out = Vec::with_capacity(512);
        {
            let head = exchange.response.borrow();
            let head = ClientHead::switching(exchange, &head, route);
            exchange.stats.status.set(head.status);
            head.write(exchange, &mut out);
        }
        lease.stands();
        let (clock, ended_at) = (session.worker.clock, *timings);
        let plan = TunnelPlan {
            head: out,
            timeouts: CopyTimeouts {
                idle: config.read_timeout,
                half_closed: config.half_close_timeout,
            },
            buffers: &buffers,
            endpoint_done: &|| lease.end(Ending::Completed, status, ended_at, &clock),
        };
        // Few exchanges become tunnels: the others need not carry the room for one.
        let tunnel = tunnel::run(outgoing, exchange, attempt, upload, plan);
        let passed = Box::pin(tunnel).await;
        return Ok(Answered::Passed {
            passed,
            ending: Ending::Completed,
        });
    };
    if let Some(ending) = retry.after_status(status) {
        attempt.finish(&buffers);
        return Ok(Answered::TryNext { ending, status });
    }
    let clock = session.worker.clock;
    let ended_at = *timings;
    let answer = response::ResponsePlan {
        endpoint_done: &|| lease.end(Ending::Completed, status, ended_at, &clock),
        framing,
        route,
        keep: keep_client,
        read_timeout: config.read_timeout,
        buffers: &buffers,
    };
    let (mut passed, connection) =
        match response::pass_on(outgoing, exchange, attempt, &mut upload, &answer).await {
            Ok(passed) => passed,
            Err(failure) => {
                return Err(AttemptError {
                    failure,
                    request_sent: true,
                    cached: false,
                });
            }
        };
    let sent = upload.is_sent();
    passed.sent = upload.bytes_sent;
    if let Some((endpoint, connection)) = connection
        && sent
    {
        upstream.keep_idle(endpoint, connection, passed.ended);
    }
    let ending = if passed.complete {
        Ending::Completed
    } else {
        Ending::Abandoned
    };
    Ok(Answered::Passed { passed, ending })
}
