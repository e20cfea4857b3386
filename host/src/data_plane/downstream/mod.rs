//! The client's side: connections, what comes in on them, what goes out.

mod introduced; // whom a connection's first bytes say that it speaks for
mod tls; // the handshake, and what came of it
mod http1; // requests one after the other
mod http2; // requests side by side
mod incoming; // request heads and bodies
mod outgoing; // responses
mod session; // a connection as an exchange sees it

use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use super::drain::ConnectionGuard;
use super::stream::Stream;
use super::worker::{ListenerId, Worker};
use crate::tls::ServerTls;
use http1::{Http1, Http2Preface};

pub(crate) use incoming::{
    BodyError, BodyProgress, CHUNK_FRAMING, Coding, Incoming, append, append_end,
};
pub(crate) use introduced::introduced;
pub(crate) use outgoing::Outgoing;
pub(crate) use session::{Client, Session, append_binary};
pub(crate) use tls::accept as accept_tls;

/// What a listener has of TLS at this moment.
fn tls_of(guard: &ConnectionGuard, listener_id: ListenerId) -> Option<Arc<ServerTls>> {
    guard.place().site().tls_of(listener_id).cloned()
}

/// Serves a connection to its end.
pub(crate) async fn run(
    worker: Rc<Worker>,
    listener_id: ListenerId,
    client: Client,
    mut stream: Stream,
    guard: ConnectionGuard,
) {
    let site = guard.place().site();
    let Some(listener) = site.place_of(listener_id) else {
        return;
    };
    let config = &site.snapshot.config.listeners[listener];
    let mut client = if config.proxy_protocol {
        let due = Instant::now() + config.client_header_timeout;
        match introduced(client, &mut stream, &site, due).await {
            Some(client) => client,
            None => return,
        }
    } else {
        client
    };
    drop(site);
    if let Some(tls) = tls_of(&guard, listener_id) {
        // Its state is large, and gone once the connection is open.
        match Box::pin(tls::accept(&tls, &client, stream)).await {
            Some((opened, facts)) => (stream, client.tls) = (opened, facts),
            None => return,
        }
    }
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
        match Http1::new(session, listener_id, guard).run().await {
            Some(Http2Preface {
                stream,
                first,
                guard,
            }) => (stream, first, guard),
            None => return,
        }
    };
    // Its state is large, and most connections have none.
    let http2 = http2::run(worker, listener_id, client, stream, first, guard);
    Box::pin(http2).await;
}
