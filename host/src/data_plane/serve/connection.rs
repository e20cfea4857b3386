//! One connection from its first byte to its end: what comes before its requests, then the protocol
//! that it speaks.
//!
//! A future made by hand: thousands of connections are idle at once, and each holds this much all
//! the time. An `async` function keeps room for all that it calls, and for its arguments twice.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use super::http1::Http1;
use super::http2;
use crate::data_plane::downstream::{Client, ClientConnection, accept_tls, read_proxy_header};
use crate::data_plane::drain::{ConnectionGuard, ListenerState};
use crate::data_plane::stream::{Stream, in_turn};
use crate::data_plane::worker::Worker;
use crate::metrics::WorkerCells;

/// A connection; ready once it has ended.
pub(super) enum Connection {
    /// It speaks HTTP/1, and waits for a request.
    Waits(Box<Http1>),
    /// Whatever else it does. The states of opening a connection, of serving requests and of HTTP/2
    /// are large, and there while they last. None once it has ended.
    Works(Work),
    Ended,
}

type Work = Pin<Box<dyn Future<Output = Option<Box<Http1>>>>>;

impl Connection {
    pub(super) fn new(
        worker: Rc<Worker>,
        client: Client,
        stream: Stream,
        guard: ConnectionGuard,
    ) -> Connection {
        match begins_plain(guard.listener()) {
            true => Connection::Waits(http1(worker, Rc::new(client), stream, guard)),
            false => Connection::Works(Box::pin(open(worker, client, stream, guard))),
        }
    }

    fn poll_on(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self {
                Connection::Waits(http1) => {
                    let comes = ready!(http1.poll_next(cx));
                    let waited = std::mem::replace(self, Connection::Ended);
                    if let (true, Connection::Waits(http1)) = (comes, waited) {
                        *self = Connection::Works(Box::pin(http1.serve()));
                    }
                }
                Connection::Works(work) => {
                    *self = match ready!(work.as_mut().poll(cx)) {
                        Some(http1) => Connection::Waits(http1),
                        None => Connection::Ended,
                    };
                }
                Connection::Ended => return Poll::Ready(()),
            }
        }
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        in_turn(|| self.poll_on(cx))
    }
}

fn http1(
    worker: Rc<Worker>,
    client: Rc<Client>,
    stream: Stream,
    guard: ConnectionGuard,
) -> Box<Http1> {
    let listener = guard.listener().clone();
    let connection = ClientConnection::new(worker, listener, client, stream.split());
    Box::new(Http1::new(connection, guard))
}

/// Whether a connection's first bytes are a request's.
fn begins_plain(listener: &ListenerState) -> bool {
    let (worker_config, position) = (listener.worker_config(), listener.position());
    let expects_proxy_header = worker_config.snapshot.config.listeners[position].proxy_protocol;
    !expects_proxy_header && worker_config.snapshot.tls[position].is_none()
}

/// Opens a connection, and serves it where it speaks HTTP/2; else it is to be served. None once it has
/// ended.
async fn open(
    worker: Rc<Worker>,
    client: Client,
    stream: Stream,
    guard: ConnectionGuard,
) -> Option<Box<Http1>> {
    // Its state is needed no longer where HTTP/2 begins.
    let opened = Box::pin(opened(guard.listener(), client, stream, worker.counted()));
    let (client, stream) = guard.unless_evicted(opened).await.flatten()?;
    let client = Rc::new(client);
    if !client.speaks_http2() {
        return Some(http1(worker, client, stream, guard));
    }
    Box::pin(http2::run(worker, client, stream, Vec::new(), guard)).await;
    None
}

/// Reads what comes before a connection's requests: the PROXY header, and the handshake of TLS.
/// None where that failed.
async fn opened(
    listener: &ListenerState,
    mut client: Client,
    mut stream: Stream,
    counted: &WorkerCells,
) -> Option<(Client, Stream)> {
    let (worker_config, position) = (listener.worker_config(), listener.position());
    let config = &worker_config.snapshot.config.listeners[position];
    if config.proxy_protocol {
        let due = Instant::now() + config.client_header_timeout;
        let trusted = &config.real_ip.trusted;
        client = read_proxy_header(client, &mut stream, trusted, due).await?;
    }
    if let Some(tls) = &worker_config.snapshot.tls[position] {
        let (secured, facts) = accept_tls(tls, &client, stream, counted).await?;
        (stream, client.tls) = (secured, facts.map(Box::new));
    }
    Some((client, stream))
}
