//! The client's side: connections, what comes in on them, what goes out.

mod introduced; // whom a connection's first bytes say that it speaks for
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
use http1::{Http1, Http2Preface};

pub(crate) use incoming::{
    BodyError, BodyProgress, CHUNK_FRAMING, Coding, Incoming, append, append_end,
};
pub(crate) use introduced::introduced;
pub(crate) use outgoing::Outgoing;
pub(crate) use session::{Client, Session, append_binary};

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
    let client = if config.proxy_protocol {
        let due = Instant::now() + config.client_header_timeout;
        match introduced(client, &mut stream, &site, due).await {
            Some(client) => client,
            None => return,
        }
    } else {
        client
    };
    drop(site);
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
