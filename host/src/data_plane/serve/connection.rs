//! One connection from its first byte to its end: what comes before its requests, then the protocol
//! that it speaks.

use std::rc::Rc;

use tokio::time::Instant;

use super::http1::Http1;
use super::http2;
use crate::data_plane::downstream::{Client, ClientConnection, accept_tls, read_proxy_header};
use crate::data_plane::drain::{ConnectionGuard, ListenerState};
use crate::data_plane::stream::Stream;
use crate::data_plane::worker::Worker;
use crate::metrics::WorkerCells;

/// Serves a connection to its end.
pub(super) async fn run(
    worker: Rc<Worker>,
    mut client: Box<Client>,
    mut stream: Stream,
    guard: ConnectionGuard,
) {
    // The states of opening a connection and of HTTP/2 are large, and most connections need neither
    // while they last.
    if !begins_plain(guard.listener()) {
        let opened = Box::pin(opened(guard.listener(), client, stream, worker.counted()));
        match guard.unless_evicted(opened).await.flatten() {
            Some(opened) => (client, stream) = opened,
            None => return,
        }
    }
    let client: Rc<Client> = Rc::from(client);
    let (stream, first) = if client.speaks_http2() {
        (stream, Vec::new())
    } else {
        let listener = guard.listener().clone();
        let connection =
            ClientConnection::new(worker.clone(), listener, client.clone(), stream.split());
        let mut http1 = Http1::new(connection, &guard);
        if !http1.run().await {
            return;
        }
        match http1.into_http2() {
            Some(preface) => preface,
            None => return,
        }
    };
    Box::pin(http2::run(worker, client, stream, first, guard)).await;
}

/// Whether a connection's first bytes are a request's.
fn begins_plain(listener: &ListenerState) -> bool {
    let (worker_config, position) = (listener.worker_config(), listener.position());
    let expects_proxy_header = worker_config.snapshot.config.listeners[position].proxy_protocol;
    !expects_proxy_header && worker_config.snapshot.tls[position].is_none()
}

/// Reads what comes before a connection's requests: the PROXY header, and the handshake of TLS.
/// None where that failed.
async fn opened(
    listener: &ListenerState,
    mut client: Box<Client>,
    mut stream: Stream,
    counted: &WorkerCells,
) -> Option<(Box<Client>, Stream)> {
    let (worker_config, position) = (listener.worker_config(), listener.position());
    let config = &worker_config.snapshot.config.listeners[position];
    if config.proxy_protocol {
        let due = Instant::now() + config.client_header_timeout;
        let trusted = &config.real_ip.trusted;
        *client = read_proxy_header(*client, &mut stream, trusted, due).await?;
    }
    if let Some(tls) = &worker_config.snapshot.tls[position] {
        let (secured, facts) = accept_tls(tls, &client, stream, counted).await?;
        (stream, client.tls) = (secured, facts.map(Box::new));
    }
    Some((client, stream))
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    fn size_of_future<A, B, C, D, F: Future>(_: impl Fn(A, B, C, D) -> F) -> usize {
        size_of::<F>()
    }

    /// An idle connection costs little more than this.
    #[test]
    fn what_is_held_for_all_of_a_connection_fits_into_a_kibibyte() {
        let of_tokio = 128;
        let size = size_of_future(super::run) + of_tokio;
        assert!(size <= 1024, "{size} bytes");
    }
}
