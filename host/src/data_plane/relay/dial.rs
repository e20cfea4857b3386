//! Connects a session to an endpoint: one after the other, as the upstream's rules for the next one
//! have it (nginx: `ngx_stream_proxy_next_upstream`).

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::session::{SessionStatus, TcpSession};
use crate::data_plane::stream::{Alarm, Peeked, Reader};
use crate::data_plane::upstream::{
    AttemptError, Balanceable as _, Dialed, Failure, Lease, NoEndpoint, Retry, Timings,
    WorkerUpstream, dial, wait_for_endpoint,
};
use crate::plugin::Ending;

/// A connection to an endpoint, and the lease on it. A client that leaves meanwhile ends the
/// attempt.
///
/// # Errors
/// What the session ends with.
pub(super) async fn connect(
    session: &Rc<TcpSession>,
    upstream: &Rc<WorkerUpstream>,
    mut watch: ClientWatch<'_>,
) -> Result<(Lease, Dialed), SessionStatus> {
    let (config, clock) = (&upstream.shared.config, &session.worker.clock);
    let budget = upstream.spending(clock);
    let mut upstream = upstream.clone();
    let (rules, tries) = (
        &config.next_upstream,
        upstream.shared.tries(config.next_upstream.tries),
    );
    let mut retry = Retry::new(rules, tries, b"", false, std::time::Instant::now(), budget);
    for number in 0.. {
        let mut leased = upstream.lease(session.clone(), clock, number);
        if let Err(NoEndpoint::Full) = leased {
            let within = (number > 0).then(|| retry.time_left()).flatten();
            let waiting = wait_for_endpoint(&upstream, session.clone(), clock, number, within);
            let waited = watch.while_there(waiting).await;
            leased = match waited {
                Some(waited) => waited.map(|(lease, newest)| {
                    upstream = newest;
                    lease
                }),
                None => {
                    session.begin_attempt(upstream.name());
                    let left = Failure::ClientGone;
                    session.info(&format_args!("{left} while waiting in upstream queue"));
                    return Err(SessionStatus::Left);
                }
            };
        }
        let lease = match leased {
            Ok(lease) => lease,
            Err(none) => {
                session.begin_attempt(upstream.name());
                let why = match none {
                    NoEndpoint::None | NoEndpoint::Full => "no live upstreams",
                    NoEndpoint::Unresolved => "no live upstreams, as none of its servers is known,",
                    NoEndpoint::Refused(_) => "the policy refuses the session, or a filter does,",
                    NoEndpoint::Overload(overload) => {
                        session.error(&overload, upstream.name());
                        return Err(match overload.status() {
                            503 => SessionStatus::Overloaded,
                            _ => SessionStatus::NoEndpoint,
                        });
                    }
                };
                let message = format_args!("{why} while connecting to upstream");
                session.error(&message, upstream.name());
                return Err(SessionStatus::NoEndpoint);
            }
        };
        let name = lease.endpoint().name.clone();
        session.begin_attempt(&name);
        let dialing = async {
            let target = upstream.target(&lease)?;
            dial(&target, &*session.worker).await
        };
        let failure = match watch.while_there(dialing).await {
            Some(Ok(dialed)) => {
                lease.connected(false);
                return Ok((lease, dialed));
            }
            Some(Err(failure)) => failure,
            None => Failure::ClientGone,
        };
        let status = match &failure {
            Failure::ClientGone => SessionStatus::Left,
            Failure::NoDescriptor(_) | Failure::TooManyConnections(_) => SessionStatus::Ours,
            Failure::Overload(_) => SessionStatus::Overloaded,
            _ => SessionStatus::NoEndpoint,
        };
        match status {
            SessionStatus::Left => {
                session.info(&format_args!("{failure} while connecting to upstream"))
            }
            _ => session.error(&failure, &name),
        }
        session.balance().note_failure(failure.kind());
        let error = AttemptError {
            failure,
            request_sent: false,
            cached: false,
        };
        let verdict = retry.after_error(&error);
        if let Some(overload) = retry.take_refusal() {
            session.error(&overload, &name);
        }
        if verdict.ending == Ending::Failed {
            lease.note_error(&error.failure, clock);
        }
        lease.end(verdict.ending, 0, Timings::default(), clock);
        if !verdict.again {
            return Err(status);
        }
    }
    Err(SessionStatus::NoEndpoint)
}

/// Whether a client still waits. One that has ended its direction and said nothing may wait for a
/// server that speaks first, or be gone: a FIN does not tell. So it has some time left.
pub(super) struct ClientWatch<'a> {
    client: Option<&'a Reader>,
    half_close_timeout: Duration,
    alarm: Alarm,
    /// How long a client that has ended its direction is waited for.
    due: Option<Instant>,
}

impl ClientWatch<'_> {
    /// Without a `client`, it is taken to stay.
    pub(super) fn new(client: Option<&Reader>, half_close_timeout: Duration) -> ClientWatch<'_> {
        ClientWatch {
            client,
            half_close_timeout,
            alarm: Alarm::default(),
            due: None,
        }
    }

    /// Works for as long as the client is there; none where it has left.
    pub(super) async fn while_there<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        #[allow(
            clippy::disallowed_methods,
            reason = "the work bounds its waits, the alarm that of a client that has ended"
        )]
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            if let (Some(client), None) = (self.client, self.due) {
                match client.poll_peek(cx) {
                    Poll::Ready(Peeked::Broken) => return Poll::Ready(None),
                    Poll::Ready(Peeked::End) => {
                        self.due = Some(Instant::now() + self.half_close_timeout);
                    }
                    // What it has said hides what comes behind it.
                    Poll::Ready(Peeked::Bytes) => self.client = None,
                    Poll::Pending => {}
                }
            }
            match self.due {
                Some(due) => self.alarm.poll_due(cx, due).map(|_| None),
                None => Poll::Pending,
            }
        })
        .await
    }
}
