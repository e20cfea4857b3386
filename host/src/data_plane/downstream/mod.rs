//! The client's side: connections, what comes in on them, what goes out.

mod tls; // the handshake, and what came of it
mod http1; // requests one after the other
mod http2; // requests side by side
mod incoming; // request heads and bodies
mod outgoing; // responses
mod session; // a connection as an exchange sees it

use std::rc::Rc;
use std::sync::Arc;

use super::drain::ConnectionGuard;
use super::stream::Stream;
use super::worker::{ListenerId, Worker};
use crate::tls::ServerTls;
use http1::{Http1, Http2Preface};

pub(crate) use incoming::{
    BodyError, BodyProgress, CHUNK_FRAMING, Coding, Incoming, append, append_end,
};
pub(crate) use outgoing::Outgoing;
pub(crate) use session::{Client, Session};
pub(crate) use tls::TlsFacts;

/// What a listener has of TLS at this moment.
fn tls_of(guard: &ConnectionGuard, listener_id: ListenerId) -> Option<Arc<ServerTls>> {
    let site = guard.place().site();
    site.snapshot.tls[site.place_of(listener_id)?].clone()
}

/// Serves a connection to its end.
pub(crate) async fn run(
    worker: Rc<Worker>,
    listener_id: ListenerId,
    mut client: Client,
    mut stream: Stream,
    guard: ConnectionGuard,
) {
    if let Some(tls) = tls_of(&guard, listener_id) {
        // Its state is large, and gone once the connection is open.
        match Box::pin(tls::accept(&tls, &client, stream)).await {
            Some((opened, facts)) => (stream, client.tls) = (opened, facts),
            None => return,
        }
    }
    let client = Rc::new(client);
    let (reader, writer) = stream.split();
    let session = Session::new(
        guard.place(),
        worker.clone(),
        listener_id,
        client.clone(),
        reader,
        writer,
    );
    let Some(session) = session else {
        return;
    };
    let http1 = Http1::new(session, listener_id, guard);
    if let Some(Http2Preface {
        stream,
        first,
        guard,
    }) = http1.run().await
    {
        // Its state is large, and most connections have none.
        Box::pin(http2::run(
            worker,
            listener_id,
            client,
            stream,
            first,
            guard,
        ))
        .await;
    }
}
