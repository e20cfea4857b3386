//! Reaches an endpoint for a session: one after the other, as the upstream's rules for the next one
//! have it (nginx: `ngx_stream_proxy_next_upstream`).

use std::rc::Rc;
use std::time::Instant;

use super::session::{SessionStatus, TcpSession};
use crate::data_plane::stream::{Alarm, Reader};
use crate::data_plane::upstream::{
    AttemptError, Dialed, Failure, Lease, Retry, Timings, WorkerUpstream, open,
};

/// A connection to an endpoint, and the lease on it. `spoken`: something was read of the client.
///
/// # Errors
/// What the session ends with.
pub(super) async fn connect(
    session: &Rc<TcpSession>,
    upstream: &Rc<WorkerUpstream>,
    client: &Reader,
    spoken: bool,
) -> Result<(Lease, Dialed), SessionStatus> {
    let (rules, clock) = (&upstream.shared.config.next_upstream, &session.worker.clock);
    let mut retry = Retry::new(rules, upstream.shared.tries(), b"", false, Instant::now());
    let mut alarm = Alarm::default();
    // One that has spoken before it closed its side may still wait for an answer.
    let watched = (!spoken).then_some(client);
    for number in 0.. {
        let Ok(lease) = upstream.lease(session.clone(), clock, number) else {
            session.begin_attempt(upstream.name());
            session.error(
                &"no live upstreams while connecting to upstream",
                upstream.name(),
            );
            return Err(SessionStatus::NoEndpoint);
        };
        let name = lease.endpoint().name.clone();
        session.begin_attempt(&name);
        let due = tokio::time::Instant::now() + upstream.shared.config.connect_timeout;
        let failure = match open(&lease, &mut alarm, due, watched).await {
            Ok(opened) => return Ok((lease, opened)),
            Err(failure) => failure,
        };
        let status = match &failure {
            Failure::ClientGone => SessionStatus::Left,
            Failure::NoDescriptor(_) | Failure::TooManyConnections(_) => SessionStatus::Ours,
            _ => SessionStatus::NoEndpoint,
        };
        match status {
            SessionStatus::Left => {
                session.info(&format_args!("{failure} while connecting to upstream"))
            }
            _ => session.error(&failure, &name),
        }
        let verdict = retry.after_error(&AttemptError {
            failure,
            request_sent: false,
            cached: false,
        });
        lease.end(verdict.ending, 0, Timings::default(), clock);
        if !verdict.again {
            return Err(status);
        }
    }
    Err(SessionStatus::NoEndpoint)
}
