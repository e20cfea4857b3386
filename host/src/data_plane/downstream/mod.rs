//! The client's side: connections, what comes in on them, what goes out.

mod proxy_header; // whom a connection's first bytes say that it speaks for
mod tls; // the handshake, and what came of it
mod http1; // requests one after the other
mod http2; // requests side by side
mod incoming; // request heads and bodies
mod outgoing; // responses
mod session; // a connection as an exchange sees it

use std::rc::Rc;

use tokio::time::Instant;

use super::drain::ConnectionGuard;
use super::stream::Stream;
use super::worker::{ListenerId, Worker};
use http1::Http1;

pub(crate) use incoming::{
    BodyError, BodyProgress, CHUNK_FRAMING, Coding, Incoming, append, append_end,
};
pub(crate) use outgoing::Outgoing;
pub(crate) use proxy_header::read_proxy_header;
pub(crate) use session::{Client, Session, append_binary};
pub(crate) use tls::accept as accept_tls;

/// Serves a connection to its end.
pub(crate) async fn run(
    worker: Rc<Worker>,
    listener_id: ListenerId,
    client: Client,
    stream: Stream,
    guard: ConnectionGuard,
) {
    // The states of opening a connection and of HTTP/2 are large, and most connections need neither
    // while they last.
    let Some((client, stream)) = (match begins_plain(&guard, listener_id) {
        true => Some((client, stream)),
        false => Box::pin(opened(&guard, listener_id, client, stream)).await,
    }) else {
        return;
    };
    let client = Rc::new(client);
    let (stream, first, guard) = if client.speaks_http2() {
        (stream, Vec::new(), guard)
    } else {
        let (reader, writer) = stream.split();
        let place = guard.place();
        let (worker, client) = (worker.clone(), client.clone());
        let session = Session::new(place, worker, listener_id, client, reader, writer);
        let Some(session) = session else {
            return;
        };
        let mut http1 = Http1::new(session, listener_id, guard);
        if !http1.run().await {
            return;
        }
        match http1.into_http2() {
            Some(preface) => preface,
            None => return,
        }
    };
    let http2 = http2::run(worker, listener_id, client, stream, first, guard);
    Box::pin(http2).await;
}

/// Whether a connection's first bytes are a request's.
fn begins_plain(guard: &ConnectionGuard, listener_id: ListenerId) -> bool {
    let worker_config = guard.place().worker_config();
    worker_config.place_of(listener_id).is_some_and(|listener| {
        let expects_proxy_header = worker_config.snapshot.config.listeners[listener].proxy_protocol;
        !expects_proxy_header && worker_config.snapshot.tls[listener].is_none()
    })
}

/// Reads what comes before a connection's requests: whom it speaks for, and the handshake of TLS.
/// None where that failed.
async fn opened(
    guard: &ConnectionGuard,
    listener_id: ListenerId,
    mut client: Client,
    mut stream: Stream,
) -> Option<(Client, Stream)> {
    let worker_config = guard.place().worker_config();
    let listener = worker_config.place_of(listener_id)?;
    let config = &worker_config.snapshot.config.listeners[listener];
    if config.proxy_protocol {
        let due = Instant::now() + config.client_header_timeout;
        client = read_proxy_header(client, &mut stream, &worker_config, due).await?;
    }
    if let Some(tls) = &worker_config.snapshot.tls[listener] {
        let (secured, facts) = tls::accept(tls, &client, stream).await?;
        (stream, client.tls) = (secured, facts.map(Box::new));
    }
    Some((client, stream))
}
