//! Takes connections from the listeners, as many as can be served.
//!
//! Each worker has a socket of its own for an address (SO_REUSEPORT), so that the kernel deals
//! connections out without a lock; a unix socket has one queue, which all workers take from. A
//! connection past the bound waits in the backlog instead of being taken and dropped, and so do all
//! while descriptors have run out: those already accepted are served meanwhile.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use super::connection;
use crate::data_plane::downstream::Client;
use crate::data_plane::drain::{ConnectionGuard, ShutdownSlot};
use crate::data_plane::relay;
use crate::data_plane::stream::{Acceptor, Stream};
use crate::data_plane::worker::Worker;

/// How long accepting rests when it cannot go on.
const REST: Duration = Duration::from_millis(50);

/// What comes next at a listener.
enum Next {
    Accepted(io::Result<(Client, Stream)>),
    /// There are as many connections as there may be.
    Full,
    /// Nobody waits any more, and nobody is wanted.
    Closing,
}

/// Accepts until its listener is no more, or the worker drains. Who waits in the backlog by then is
/// still served.
pub(super) async fn run(worker: Rc<Worker>, socket: Acceptor, slot: ShutdownSlot) {
    let listener = slot.listener().clone();
    let mut short_of_descriptors = false;
    loop {
        let next = {
            let mut accepting = pin!(accept(&worker, &socket));
            poll_fn(|cx| {
                // Asked each time: other listeners may have taken the last place while this one
                // waited.
                if is_full(&worker) && !listener.is_closing() {
                    return Poll::Ready(Next::Full);
                }
                match accepting.as_mut().poll(cx) {
                    Poll::Ready(accepted) => Poll::Ready(Next::Accepted(accepted)),
                    Poll::Pending => slot.poll_closing(cx).map(|()| Next::Closing),
                }
            })
            .await
        };
        match next {
            Next::Closing => return,
            Next::Full => tokio::time::sleep(REST).await,
            Next::Accepted(Ok((client, stream))) => {
                if std::mem::take(&mut short_of_descriptors) {
                    tracing::info!("accepting connections again");
                }
                let guard = ConnectionGuard::new(&slot, worker.process.clone());
                let worker = worker.clone();
                let worker_config = listener.worker_config();
                if worker_config.stream_at(listener.position()).is_some() {
                    tokio::task::spawn_local(relay::run(worker, client, stream, guard));
                } else {
                    tokio::task::spawn_local(connection::run(worker, client, stream, guard));
                }
            }
            Next::Accepted(Err(error)) if is_about_the_connection(&error) => {}
            Next::Accepted(Err(error)) => {
                // EMFILE, ENFILE, ENOBUFS, ENOMEM: nothing but time helps.
                if !std::mem::replace(&mut short_of_descriptors, true) {
                    tracing::error!(
                        "accept() failed ({error}): connections wait until there are resources again"
                    );
                }
                tokio::time::sleep(REST).await;
                if listener.is_closing() {
                    return;
                }
            }
        }
    }
}

fn is_full(worker: &Worker) -> bool {
    let process = &worker.process;
    process.connections.load(Relaxed) >= process.max_connections.load(Relaxed)
}

async fn accept(worker: &Worker, socket: &Acceptor) -> io::Result<(Client, Stream)> {
    match socket {
        Acceptor::Tcp(socket) => {
            let (stream, peer) = socket.accept().await?;
            // Responses are written whole: nothing is gained by waiting for more.
            stream.set_nodelay(true)?;
            let local = stream.local_addr()?;
            Ok((
                Client::tcp(peer, local, number(worker)),
                Stream::tcp(stream),
            ))
        }
        Acceptor::Unix(socket) => {
            let (stream, _) = socket.accept().await?;
            Ok((Client::unix(number(worker)), Stream::unix(stream)))
        }
    }
}

fn number(worker: &Worker) -> u64 {
    worker.process.accepted.fetch_add(1, Relaxed) + 1
}

/// The client was gone before it was accepted.
fn is_about_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | NotConnected | InvalidInput
    )
}
