//! The way of one request: to an endpoint, to the next one where the upstream's rules want that, and
//! its answer back to the hook, piece by piece as the hook takes it.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::Origin;
use super::asked::AskedRequest;
use super::traced::RequestSpan;
use crate::config::model::{ProxyLimits, RouteLimits};
use crate::data_plane::body::BodyPipe;
use crate::data_plane::stream::Alarm;
use crate::data_plane::upstream::{
    Attempt, AttemptError, BalanceState, BodyFailure, Failure, Lease, MAX_CONNECTIONS, MAX_INTERIM,
    NoEndpoint, ReadLimits, RequestStart, Retry, StatusFailed, Timings, Upload, WorkerUpstream,
    keeps_connection, wait_for_endpoint,
};
use crate::http::framing::{self, Framing};
use crate::http::head::{RequestHead, ResponseHead};
use crate::http::headers;
use crate::http::trace_context::Parent;
use crate::plugin::{
    BodyBroken, CountedRequest, Ending, FailureKind, HookRequest, HookResponse, RefusedRequest,
    RequestAnswer,
};

/// Bytes of a request's body: it is sent as a whole, and again where another endpoint is asked. As
/// many as a hook gets of the body that it is asked about.
const BODY: usize = 16 << 20;
/// Fields of a request.
const FIELDS: usize = 200;
/// Bytes of an answer that nobody wants which are read for the sake of the connection.
const DROPPED: u64 = 64 << 10;

type Pieces = mpsc::Sender<Result<Bytes, BodyBroken>>;

/// A request, ready to be sent.
pub(super) struct Carrying {
    asked: Rc<AskedRequest>,
    upstream: Rc<WorkerUpstream>,
    limits: ProxyLimits,
    connect_timeout: Duration,
    /// Until the header of the answer is there, and between two reads of its body.
    first_timeout: Duration,
    between_timeout: Duration,
    head: Vec<u8>,
    body: Bytes,
    began: Instant,
    span: Option<RequestSpan>,
    /// Until it ends.
    _counted: CountedRequest,
}

/// What came of one attempt.
enum Attempted {
    /// The hook has its answer, or no longer wants one.
    Answered,
    AskNext(RequestAnswer),
    Failed(RequestAnswer, RefusedRequest),
}

impl Carrying {
    /// Carries a request to its end. `is_left`: its hook does not wait for what becomes of it.
    pub(super) async fn run(
        origin: Origin,
        request: HookRequest,
        counted: CountedRequest,
        is_left: bool,
    ) {
        let left = is_left.then(|| (origin.clone(), request.upstream.clone()));
        let (carrying, answer) = match Carrying::new(origin, request, counted, is_left).await {
            Ok(ready) => ready,
            Err((refused, answer)) => {
                if let Some((origin, upstream)) = left {
                    origin.note_unsent(&upstream, &refused);
                }
                return answer.give(Err(refused));
            }
        };
        carrying.ask(answer).await;
    }

    async fn new(
        origin: Origin,
        request: HookRequest,
        mut counted: CountedRequest,
        is_left: bool,
    ) -> Result<(Carrying, RequestAnswer), (RefusedRequest, RequestAnswer)> {
        let HookRequest {
            upstream: name,
            method,
            target,
            fields,
            body,
            timeouts,
            answer,
            patience: _,
        } = request;
        let config = &origin.worker_config;
        let Some(index) = config.snapshot.upstream_index(&name) else {
            return Err((RefusedRequest::NoUpstream(name), answer));
        };
        let upstream = config.upstreams[index].clone();
        // Those that are waited for are as few as there are instances.
        let hold = |bytes| match is_left {
            true => counted.hold(bytes),
            false => Ok(()),
        };
        let body = match body.read(BODY, hold).await {
            Ok(body) => body,
            Err(refused) => return Err((refused, answer)),
        };
        let keeps = upstream.keeps_connections() || upstream.shared.config.http2.is_some();
        let trace = origin.trace;
        let span = trace.and_then(|trace| trace.begin(&origin.worker_config, &method, &name));
        let told = trace.and_then(|trace| trace.told(span.as_ref()));
        let lines = (method.as_str(), target.as_str(), fields.as_bytes());
        let text = head_text(lines, told, body.len(), keeps);
        let mut head = RequestHead::default();
        if !is_expressible(&method, &target) || head.parse(&text, FIELDS).is_err() {
            return Err((RefusedRequest::Inexpressible, answer));
        }
        let limits = ProxyLimits::of(&upstream.shared.config, &RouteLimits::default());
        let no_longer =
            |than: Duration, said: Option<Duration>| said.map_or(than, |timeout| timeout.min(than));
        let carrying = Carrying {
            asked: Rc::new(AskedRequest {
                origin,
                head,
                balance: BalanceState::default(),
            }),
            connect_timeout: no_longer(limits.connect_timeout, timeouts.connect),
            first_timeout: no_longer(limits.read_timeout, timeouts.first_byte),
            between_timeout: no_longer(limits.read_timeout, timeouts.between_bytes),
            upstream,
            limits,
            head: text,
            body,
            began: Instant::now(),
            span,
            _counted: counted,
        };
        Ok((carrying, answer))
    }

    /// Asks one endpoint after the other.
    async fn ask(mut self, mut answer: RequestAnswer) {
        let limits = self.limits;
        let method = self.asked.head.method().to_vec();
        let clock = self.asked.origin.worker.clock;
        // Another one may take its place, which has been waited for.
        let first = self.upstream.clone();
        let mut retry = Retry::new(
            &limits.next_upstream,
            self.upstream.shared.tries(limits.next_upstream.tries),
            &method,
            false,
            self.began,
            first.spending(&clock),
        );
        for number in 0.. {
            let lease = match self.lease(number, &retry).await {
                Ok(lease) => lease,
                Err(refused) => {
                    self.asked.error(&refused, self.upstream.name());
                    self.trace(|span| span.failed("none", &refused));
                    return answer.give(Err(refused));
                }
            };
            match self.attempt(&lease, &mut retry, answer).await {
                Attempted::Answered => return,
                Attempted::AskNext(unanswered) => answer = unanswered,
                Attempted::Failed(answer, refused) => return answer.give(Err(refused)),
            }
        }
    }

    fn trace(&self, note: impl FnOnce(&RequestSpan)) {
        if let Some(span) = &self.span {
            note(span);
        }
    }

    async fn lease(&mut self, number: u32, retry: &Retry<'_>) -> Result<Lease, RefusedRequest> {
        let clock = self.asked.origin.worker.clock;
        let leased = match self.upstream.lease(self.asked.clone(), &clock, number) {
            Err(NoEndpoint::Full) => {
                let within = (number > 0).then(|| retry.time_left()).flatten();
                let (upstream, asked) = (&self.upstream, self.asked.clone());
                let waiting = wait_for_endpoint(upstream, asked, &clock, number, within);
                Box::pin(waiting).await.map(|(lease, upstream)| {
                    self.upstream = upstream;
                    lease
                })
            }
            leased => leased,
        };
        leased.map_err(|none| match none {
            NoEndpoint::Overload(_) => RefusedRequest::TooMany,
            NoEndpoint::None
            | NoEndpoint::Full
            | NoEndpoint::Unresolved
            | NoEndpoint::Refused(_) => RefusedRequest::NoEndpoint,
        })
    }

    /// Asks an endpoint, and ends the lease on it.
    async fn attempt(
        &self,
        lease: &Lease,
        retry: &mut Retry<'_>,
        answer: RequestAnswer,
    ) -> Attempted {
        let clock = self.asked.origin.worker.clock;
        self.trace(|span| span.asks(&lease.endpoint().name));
        let mut answer = Some(answer);
        let mut timings = Timings::default();
        let mut connections = 0;
        let answered = loop {
            let answered = self.answered(lease, retry, &mut timings, &mut answer).await;
            connections += 1;
            match answered {
                Err(error) if error.needs_another_connection() && connections < MAX_CONNECTIONS => {
                }
                answered => break answered,
            }
        };
        match (answered, answer) {
            (Ok((ending, status)), answer) => {
                if ending != Ending::Completed && answer.is_some() {
                    self.asked.balance.note_failure(FailureKind::Status);
                    if ending == Ending::Failed {
                        lease.note_error(&StatusFailed(status), &clock);
                    }
                }
                lease.end(ending, status, timings, &clock);
                answer.map_or(Attempted::Answered, Attempted::AskNext)
            }
            (Err(error), answer) => {
                let verdict = retry.after_error(&error);
                self.asked.error(&error.failure, &lease.endpoint().name);
                self.asked.balance.note_failure(error.failure.kind());
                self.trace(|span| span.failed(error.failure.word(), &error.failure));
                if verdict.ending == Ending::Failed {
                    lease.note_error(&error.failure, &clock);
                }
                lease.end(verdict.ending, 0, timings, &clock);
                match answer {
                    Some(answer) if verdict.again => Attempted::AskNext(answer),
                    Some(answer) => Attempted::Failed(answer, refused_by(&error.failure)),
                    None => Attempted::Answered,
                }
            }
        }
    }

    /// Sends the request on a connection to the endpoint, and hands its answer over. `answer` stays
    /// where another endpoint is to be asked.
    ///
    /// # Errors
    /// [`AttemptError`] before the header of the answer was there.
    async fn answered(
        &self,
        lease: &Lease,
        retry: &mut Retry<'_>,
        timings: &mut Timings,
        answer: &mut Option<RequestAnswer>,
    ) -> Result<(Ending, u16), AttemptError> {
        let buffers = self.asked.origin.worker.buffers.clone();
        let http2 = self.upstream.shared.config.http2.is_some();
        let start = RequestStart {
            head: &self.head,
            ends: self.body.is_empty(),
            protocol: None,
        };
        let mut alarm = Alarm::default();
        let (upstream, connect_timeout) = (&self.upstream, self.connect_timeout);
        let begin = Attempt::begin(lease, upstream, &mut alarm, None, &start, connect_timeout);
        let mut attempt = begin.await?;
        if !attempt.is_cached() {
            timings.connect = lease.picked_at.elapsed();
        }
        let mut upload = Upload::new(
            if http2 { &[] } else { &self.head },
            &self.body,
            None,
            None,
            Some(&[]),
            self.limits.send_timeout,
            self.limits.send_timeout,
            &mut alarm,
            &buffers,
        );
        let mut head = ResponseHead::default();
        let framing = self
            .final_head(&mut attempt, &mut upload, &mut head)
            .await?;
        timings.header = lease.picked_at.elapsed();
        let status = head.status();
        self.trace(|span| span.answered(status));
        if let Some(ending) = retry.after_status(status) {
            attempt.finish(&buffers);
            return Ok((ending, status));
        }
        let Some(answer) = answer.take() else {
            return Ok((Ending::Abandoned, status));
        };
        let keeps_connection = keeps_connection(&head, framing);
        let (response, pieces) = HookResponse::new(head);
        answer.give(Ok(response));
        let read = self.hand_over(&mut attempt, &mut upload, framing, &pieces);
        let is_whole = read.await;
        let is_reusable =
            is_whole && upload.is_sent() && attempt.unread().is_empty() && keeps_connection;
        let endpoint = attempt.endpoint;
        let connection = attempt.finish(&buffers);
        if is_reusable {
            self.upstream
                .keep_idle(endpoint, connection, Instant::now());
        }
        // A hook that wants no more of an answer is no fault of the endpoint's.
        Ok((Ending::Completed, status))
    }

    /// Reads up to the final header.
    async fn final_head(
        &self,
        attempt: &mut Attempt,
        upload: &mut Upload<'_>,
        head: &mut ResponseHead,
    ) -> Result<Framing, AttemptError> {
        let limits = ReadLimits {
            read_timeout: self.first_timeout,
            header_size: self.upstream.shared.config.response_header_size,
        };
        for _ in 0..MAX_INTERIM {
            attempt.read_head(upload, head, &limits).await?;
            match head.status() {
                101 => return Err(attempt.error(Failure::UnaskedUpgrade)),
                100..=199 => {}
                _ => {
                    let framing = framing::of_response(head, self.asked.head.method());
                    return framing.map_err(|bad| attempt.error(Failure::InvalidFraming(bad)));
                }
            }
        }
        Err(attempt.error(Failure::TooManyInterim))
    }

    /// Hands the body over, as the hook takes it; of one that it does not want, a little is read and
    /// dropped. Whether all of it was read.
    async fn hand_over(
        &self,
        attempt: &mut Attempt,
        upload: &mut Upload<'_>,
        framing: Framing,
        pieces: &Pieces,
    ) -> bool {
        let buffers = self.asked.origin.worker.buffers.clone();
        let mut body = BodyPipe::of_response(framing);
        let broken = |failure: &dyn std::fmt::Display| {
            self.asked.error(failure, self.upstream.name());
        };
        loop {
            let is_wanted = !pieces.is_closed();
            let mut piece = Vec::new();
            let taken = body.each_piece(attempt.unread(), |part| {
                if is_wanted {
                    piece.extend_from_slice(part);
                }
            });
            let Ok(taken) = taken else {
                broken(&Failure::InvalidBody);
                let _ = pieces.send(Err(BodyBroken)).await;
                return false;
            };
            attempt.consume(taken);
            if !piece.is_empty() && pieces.send(Ok(piece.into())).await.is_err() {
                continue;
            }
            if body.is_done() {
                return true;
            }
            if !is_wanted && body.length > DROPPED {
                return false;
            }
            let read = attempt.read_body(upload, self.between_timeout, &buffers);
            let failure = match read.await {
                Ok(0) if body.ends_with_its_stream() => return true,
                Ok(0) => BodyFailure::Closed,
                Ok(_) => continue,
                Err(failure) => failure,
            };
            broken(&failure);
            let _ = pieces.send(Err(BodyBroken)).await;
            return false;
        }
    }
}

/// Whether a request line says this and no more: what a hook gives as a target must not end the line.
fn is_expressible(method: &str, target: &str) -> bool {
    let is_plain = target.bytes().all(|byte| byte > b' ' && byte != 0x7f);
    headers::is_method(method.as_bytes())
        && method != "CONNECT"
        && is_plain
        && (target.starts_with('/') || target == "*")
}

/// The head of a request, as HTTP/1.1 has it. It is parsed again before anybody gets it.
fn head_text(
    (method, target, fields): (&str, &str, &[u8]),
    told: Option<Parent>,
    length: usize,
    keeps_connection: bool,
) -> Vec<u8> {
    const NAME: &[u8] = b"traceparent:";
    let mut out = Vec::with_capacity(method.len() + target.len() + fields.len() + 64);
    let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
    put(&[
        method.as_bytes(),
        b" ",
        target.as_bytes(),
        b" HTTP/1.1\r\n",
        fields,
    ]);
    // What the hook says of it itself has the last word.
    let says = |line: &[u8]| {
        line.get(..NAME.len())
            .is_some_and(|name| name.eq_ignore_ascii_case(NAME))
    };
    if let Some(told) = told.filter(|_| !fields.split(|byte| *byte == b'\n').any(says)) {
        let mut value = Vec::new();
        told.append(&mut value);
        put(&[NAME, &value, b"\r\n"]);
    }
    if length > 0 || matches!(method, "POST" | "PUT" | "PATCH") {
        let length = itoa::Buffer::new().format(length).to_owned();
        put(&[b"Content-Length: ", length.as_bytes(), b"\r\n"]);
    }
    if !keeps_connection {
        put(&[b"Connection: close\r\n"]);
    }
    put(&[b"\r\n"]);
    out
}

fn refused_by(failure: &Failure) -> RefusedRequest {
    match failure.kind() {
        FailureKind::Connect => RefusedRequest::Connect,
        FailureKind::ConnectTimeout => RefusedRequest::ConnectTimeout,
        FailureKind::Tls => RefusedRequest::Tls,
        FailureKind::Timeout => RefusedRequest::Timeout,
        FailureKind::Reset => RefusedRequest::Broken,
        FailureKind::Protocol => RefusedRequest::Invalid,
        FailureKind::None | FailureKind::Status | FailureKind::Other => RefusedRequest::TooMany,
    }
}
