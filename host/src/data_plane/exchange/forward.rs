//! A request on its way to an upstream: as many attempts as its rules allow, then the response to
//! the last.

use std::rc::Rc;
use std::time::Duration;

use super::fault::{Fault, failure_status};
use super::final_head::{HeadOutcome, read_final_head};
use super::handed_on;
use super::head::ClientHead;
use super::message::UpstreamMessage;
use super::request::wants_keep_alive;
use super::response::{self, Passed, ResponsePlan};
use super::rest::Delivered;
use super::source::UpstreamResponse;
use super::state::Exchange;
use super::tunnel::{self, TunnelPlan};
use super::wait::watched;
use crate::config::model::{ProxyLimits, Route};
use crate::data_plane::body::{BodyPipe, Stage};
use crate::data_plane::copy::CopyTimeouts;
use crate::data_plane::downstream::Session;
use crate::data_plane::turn;
use crate::data_plane::upstream::{
    Attempt, AttemptError, Failure, Lease, MAX_CONNECTIONS, NoEndpoint, ReadLimits, Retry,
    StatusFailed, Timings, Upload, UploadRest, WorkerUpstream, keeps_connection, wait_for_endpoint,
};
use crate::fault_injection;
use crate::http::head::ResponseHead;
use crate::plugin::{Ending, FailureKind};

/// An exchange on its way to an upstream: what all its attempts share.
pub(super) struct Forwarding<'a, 'c, 'm> {
    pub(super) session: &'a mut Session<'c>,
    pub(super) exchange: &'a Rc<Exchange>,
    /// That of the exchange's configuration, or of a newer one that it has waited for a server of.
    pub(super) upstream: Rc<WorkerUpstream>,
    pub(super) route: &'a Route,
    /// How each attempt is carried, and between two reads of the request's body.
    pub(super) limits: &'a ProxyLimits,
    pub(super) body_timeout: Duration,
    pub(super) message: &'a mut UpstreamMessage<'m>,
    /// How far the request's body was read.
    pub(super) body: &'a mut BodyPipe,
    /// What the rest of it goes through.
    pub(super) hooks: Option<&'a mut dyn Stage>,
    pub(super) retry: Retry<'a>,
    /// Whether an error that a server answers with gets a page instead.
    pub(super) intercepts: &'a dyn Fn(u16) -> bool,
}

/// What came of all attempts.
pub(super) enum Forwarded {
    /// The client has its answer, as much of it as there was.
    Delivered(Delivered),
    /// Nothing was sent: the server has named what has the answer.
    HandedOn(Box<[u8]>),
}

/// What came of an attempt, as far as the client is concerned.
enum Attempted {
    Answered(Forwarded),
    AskNext,
    Failed(Fault),
}

/// What an endpoint answered.
enum Answered {
    Passed {
        passed: Passed,
        ending: Ending,
    },
    /// An error for which there is a page.
    Intercepted {
        status: u16,
    },
    /// That another route has the answer.
    HandedOn {
        target: Box<[u8]>,
        status: u16,
    },
    /// An answer for which the rules want another endpoint to be asked.
    TryNext {
        ending: Ending,
        status: u16,
    },
}

impl Forwarding<'_, '_, '_> {
    /// Asks one endpoint after the other, until one has answered or the rules allow no more.
    ///
    /// # Errors
    /// A [`Fault`] where nothing was sent to the client yet.
    pub(super) async fn run(&mut self) -> Result<Forwarded, Fault> {
        for number in 0.. {
            let clock = self.session.worker.clock;
            let exchange = self.exchange.clone();
            let step = exchange.begin_step();
            let leased = match self.upstream.lease(exchange, &clock, number) {
                // Rare, and its state is large.
                Err(NoEndpoint::Full) => Box::pin(self.wait_for_endpoint(number)).await,
                leased => leased.map_err(fault_of),
            };
            let asked = leased.as_ref().map_err(Fault::status);
            (self.exchange).end_pick(step, (self.upstream.name(), number), asked);
            let lease = leased.inspect_err(|fault| {
                let (stats, upstream) = (&self.exchange.stats, self.upstream.name());
                stats.no_attempt(upstream, fault.status());
            })?;
            self.exchange.stats.begin_attempt(&lease);
            let http2 = self.message.http2;
            if let Some(span) = self.exchange.begin_attempt_span(&lease, number, http2) {
                self.message.set_span(span);
            }
            let attempted = self.attempt(lease).await;
            self.exchange.end_attempt_span(false);
            match attempted {
                Attempted::Answered(forwarded) => return Ok(forwarded),
                Attempted::AskNext => {}
                Attempted::Failed(fault) => return Err(fault),
            }
        }
        Err(Fault::NoLiveUpstreams)
    }

    /// Takes a lease once an endpoint has room. The client ends the wait if it leaves.
    async fn wait_for_endpoint(&mut self, attempt: u32) -> Result<Lease, Fault> {
        let clock = self.session.worker.clock;
        let exchange = self.exchange.clone();
        let within = (attempt > 0).then(|| self.retry.time_left()).flatten();
        let waiting = wait_for_endpoint(&self.upstream, exchange, &clock, attempt, within);
        let (lease, upstream) = watched(self.session, waiting).await?.map_err(fault_of)?;
        self.upstream = upstream;
        Ok(lease)
    }

    /// Asks an endpoint, and ends the lease on it.
    async fn attempt(&mut self, lease: Lease) -> Attempted {
        fault_injection::panics("exchange");
        fault_injection::hangs("hang");
        let clock = self.session.worker.clock;
        let mut timings = Timings::default();
        let mut connections = 0;
        let answered = loop {
            let answered = self.answered(&lease, &mut timings).await;
            connections += 1;
            match answered {
                Err(error) if error.needs_another_connection() && connections < MAX_CONNECTIONS => {
                }
                answered => break answered,
            }
        };
        let stats = &self.exchange.stats;
        match answered {
            Ok(Answered::Passed { passed, ending }) => {
                stats.attempt(|stats| {
                    stats.response = passed.ended - lease.picked_at;
                    stats.response_length = passed.length;
                    (stats.bytes_received, stats.bytes_sent) = (passed.received, passed.sent);
                });
                lease.carried(passed.sent, passed.received);
                let status = self.exchange.response().map_or(0, |head| head.status());
                lease.end(ending, status, timings, &clock);
                Attempted::Answered(Forwarded::Delivered(passed.delivered))
            }
            Ok(Answered::HandedOn { target, status }) => {
                stats.attempt(|stats| stats.response = lease.since_pick());
                lease.end(Ending::Completed, status, timings, &clock);
                Attempted::Answered(Forwarded::HandedOn(target))
            }
            Ok(Answered::Intercepted { status }) => {
                stats.attempt(|stats| stats.response = lease.since_pick());
                lease.end(Ending::Completed, status, timings, &clock);
                Attempted::Failed(Fault::Intercepted(status))
            }
            Ok(Answered::TryNext { ending, status }) => {
                stats.attempt(|stats| stats.response = lease.since_pick());
                self.exchange.balance.note_failure(FailureKind::Status);
                if ending == Ending::Failed {
                    lease.note_error(&StatusFailed(status), &clock);
                }
                lease.end(ending, status, timings, &clock);
                stats.answered.set(false);
                Attempted::AskNext
            }
            Err(error) => {
                let verdict = self.retry.after_error(&error);
                let status = failure_status(&error.failure);
                stats.attempt(|stats| {
                    (stats.response, stats.status) = (lease.since_pick(), status);
                });
                stats.answered.set(false);
                log_refusal(&mut self.retry, self.exchange, &lease);
                self.exchange.note_attempt_failure(&error.failure);
                if verdict.again {
                    let endpoint = &lease.endpoint().name;
                    self.exchange.error(&error.failure, Some(endpoint));
                }
                self.exchange.balance.note_failure(error.failure.kind());
                if verdict.ending == Ending::Failed {
                    lease.note_error(&error.failure, &clock);
                }
                lease.end(verdict.ending, 0, timings, &clock);
                match verdict.again {
                    true => Attempted::AskNext,
                    false => Attempted::Failed(Fault::Attempt(error.failure)),
                }
            }
        }
    }

    /// Sends the request on a connection to the endpoint, and passes its response on.
    async fn answered(
        &mut self,
        lease: &Lease,
        timings: &mut Timings,
    ) -> Result<Answered, AttemptError> {
        let (exchange, message) = (self.exchange, &*self.message);
        let (config, limits) = (&self.upstream.shared.config, self.limits);
        let buffers = self.session.worker.buffers.clone();
        let keep = wants_keep_alive(exchange) && self.session.may_keep_alive();
        let clock = self.session.worker.clock;
        let incoming = &self.session.incoming;
        // A client that has said more before it ended its direction waits for an answer.
        let watched = incoming.unread().is_empty().then_some(&incoming.reader);
        let mut attempt = Attempt::begin(
            lease,
            &self.upstream,
            self.session.alarm,
            watched,
            &message.start(),
            limits.connect_timeout,
        )
        .await?;
        if !attempt.is_cached() {
            timings.connect = lease.since_pick();
        }
        (exchange.stats).attempt(|stats| stats.connect = Some(timings.connect));

        let Session {
            incoming,
            outgoing,
            alarm,
            ..
        } = &mut *self.session;
        let mut upload = Upload::new(
            if message.http2 { &[] } else { message.head },
            message.body,
            Some(incoming),
            message.rest.map(|encoder| UploadRest {
                body: &mut *self.body,
                encoder,
                stage: match &mut self.hooks {
                    Some(hooks) => Some(&mut **hooks),
                    None => None,
                },
            }),
            message.upgrade.is_none().then_some(message.trailers),
            limits.send_timeout,
            self.body_timeout,
            alarm,
            &buffers,
        );
        let read_limits = ReadLimits {
            read_timeout: limits.read_timeout,
            header_size: config.response_header_size,
        };
        // Out of its cell while it is written: variables and policies see whole heads only.
        let mut head = exchange.response.take();
        let next = read_final_head(
            &mut attempt,
            &mut upload,
            &mut head,
            &read_limits,
            message,
            exchange,
            outgoing,
        )
        .await?;
        let received = turn::now();
        timings.header = lease.since_pick();
        let (status, ended_at) = (head.status(), *timings);
        note_head(exchange, head, ended_at);

        let framing = match next {
            HeadOutcome::Body(framing) => framing,
            HeadOutcome::Tunnel => {
                lease.established();
                let plan = TunnelPlan {
                    head: switching_head(exchange, self.route),
                    timeouts: CopyTimeouts {
                        idle: limits.read_timeout,
                        half_closed: limits.half_close_timeout,
                    },
                    buffers: &buffers,
                    endpoint_done: &|| lease.end(Ending::Completed, status, ended_at, &clock),
                };
                let sent = upload.bytes_sent;
                let Some(incoming) = upload.into_client() else {
                    return Err(attempt.error(Failure::UnaskedUpgrade)); // nobody has asked
                };
                // Few exchanges become tunnels: the others need not carry the room for one.
                let tunnel = tunnel::run((incoming, outgoing), exchange, attempt, sent, plan);
                return Ok(Answered::Passed {
                    passed: Box::pin(tunnel).await,
                    ending: Ending::Completed,
                });
            }
        };
        if let Some(ending) = self.retry.after_status(status) {
            attempt.finish(&buffers);
            return Ok(Answered::TryNext { ending, status });
        }
        log_refusal(&mut self.retry, exchange, lease);
        if (self.intercepts)(status) {
            attempt.finish(&buffers);
            return Ok(Answered::Intercepted { status });
        }
        if let Some(target) = handed_on::target(exchange, self.route) {
            let is_whole = handed_on::drop_body(&mut attempt, framing) && upload.is_sent();
            let keeps = is_whole && keeps_connection(&exchange.response.borrow(), framing);
            let endpoint = attempt.endpoint;
            let connection = attempt.finish(&buffers);
            if keeps {
                self.upstream.keep_idle(endpoint, connection, received);
            }
            return Ok(Answered::HandedOn { target, status });
        }
        let response = UpstreamResponse {
            attempt,
            upload: &mut upload,
            read_timeout: limits.read_timeout,
            endpoint_done: &|| lease.end(Ending::Completed, status, ended_at, &clock),
            note_error: &|error| lease.note_error(error, &clock),
        };
        let plan = ResponsePlan {
            framing,
            route: self.route,
            keep,
            buffers: &buffers,
            received,
        };
        let passed = response::pass_on(outgoing, exchange, response, &plan).await;
        let (passed, connection) = passed.map_err(|failure| AttemptError {
            failure,
            request_sent: true,
            cached: false,
        })?;
        if let Some((endpoint, connection)) = connection {
            self.upstream.keep_idle(endpoint, connection, passed.ended);
        }
        let ending = match passed.complete {
            true => Ending::Completed,
            false => Ending::Abandoned,
        };
        Ok(Answered::Passed { passed, ending })
    }
}

/// Notes that no other endpoint is asked, where that is for the budget of retries alone.
fn log_refusal(retry: &mut Retry<'_>, exchange: &Exchange, lease: &Lease) {
    if let Some(overload) = retry.take_refusal() {
        exchange.error(&overload, Some(&lease.endpoint().name));
    }
}

pub(super) fn fault_of(none: NoEndpoint) -> Fault {
    match none {
        NoEndpoint::None | NoEndpoint::Full => Fault::NoLiveUpstreams,
        NoEndpoint::Unresolved => Fault::Unresolved,
        NoEndpoint::Refused(status) => Fault::PolicyRefuses(status),
        NoEndpoint::Overload(overload) => Fault::Overload(overload),
    }
}

/// Notes what an endpoint has answered.
fn note_head(exchange: &Exchange, head: ResponseHead, timings: Timings) {
    let (status, stats) = (head.status(), &exchange.stats);
    exchange.response.replace(head);
    stats.answered.set(true);
    stats.attempt(|stats| (stats.header, stats.status) = (Some(timings.header), status));
    stats.status.set(status);
}

/// The head that tells the client of its tunnel.
fn switching_head(exchange: &Rc<Exchange>, route: &Route) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let head = exchange.response.borrow();
    let head = ClientHead::switching(exchange, &head, route);
    exchange.stats.status.set(head.status);
    head.write(exchange, &mut out);
    out
}
