//! The answer to an authority that validates a domain by HTTP-01 (RFC 8555 section 8.3): before
//! hooks, routes and redirects, and only while that token is under way. What is no such token is a
//! request as any other.

use std::sync::Arc;
use std::time::Duration;

use super::fault::Fault;
use super::state::Exchange;
use super::wait;
use crate::acme::key_authorization;
use crate::data_plane::downstream::Session;
use crate::data_plane::stream::Alarm;
use crate::data_plane::worker_config::WorkerConfig;
use crate::files;

const BELOW: &[u8] = b"/.well-known/acme-challenge/";
/// For the disk.
const LIMIT: Duration = Duration::from_secs(5);

/// The token that a request asks for; none of one that asks for something else, or comes by TLS.
pub(super) fn token(
    session: &Session<'_>,
    worker_config: &WorkerConfig,
    exchange: &Exchange,
) -> Option<String> {
    if worker_config.snapshot.config.http_challenges.is_empty() || session.tls().is_some() {
        return None;
    }
    let token = exchange.normalised().strip_prefix(BELOW)?;
    let is_read = matches!(exchange.request.method(), b"GET" | b"HEAD");
    let token = std::str::from_utf8(token).ok()?;
    (is_read && !token.is_empty()).then(|| token.to_owned())
}

/// What it is answered with; none where it is not under way.
///
/// # Errors
/// [`Fault::ClientGone`]
pub(super) async fn answer(
    session: &mut Session<'_>,
    worker_config: &WorkerConfig,
    token: String,
) -> Result<Option<Vec<u8>>, Fault> {
    let token: Arc<str> = token.into();
    for directory in &worker_config.snapshot.config.http_challenges {
        let (of, token) = (directory.clone(), token.clone());
        // Where a thread is not to be had, the routes have an answer.
        let Ok(found) = files::run(directory, move || key_authorization(&of, &token)) else {
            continue;
        };
        let mut alarm = Alarm::default();
        let found = wait::watched(session, alarm.within(LIMIT, found)).await?;
        if let Ok(Ok(Some(answer))) = found {
            return Ok(Some(answer));
        }
    }
    Ok(None)
}
