//! Takes connections from the listeners, as many as can be served.
//!
//! Each worker has a socket of its own for an address (SO_REUSEPORT), so that the kernel deals
//! connections out without a lock; a unix socket has one queue, which all workers take from. Where
//! there are as many connections as there may be, room is made for the next one; those behind it
//! wait in the backlog, instead of being taken and dropped, as all do while descriptors have run
//! out.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;

use super::connection::Connection;
use super::room;
use crate::data_plane::downstream::{Client, LocalEnd};
use crate::data_plane::drain::{ConnectionGuard, ShutdownSlot};
use crate::data_plane::relay;
use crate::data_plane::stream::{Acceptor, Stream, in_turns, sends_at_once};
use crate::data_plane::worker::Worker;
use crate::fault_injection;

/// How long accepting pauses when it cannot go on.
const REST: Duration = Duration::from_millis(50);

/// What comes next at a listener.
enum Next {
    Accepted(io::Result<(Client, Stream)>),
    /// The backlog is empty, and no further clients are accepted.
    Closing,
}

/// Accepts until the configuration drops its listener, or the worker drains. Clients that wait in
/// the backlog by then are still served.
pub(super) async fn run(worker: Rc<Worker>, acceptor: Acceptor, slot: ShutdownSlot) {
    let listener = slot.listener().clone();
    let mut short_of_descriptors = false;
    let mut common = Common::of(&acceptor);
    loop {
        let next = {
            let mut accepting = pin!(accept(&worker, &acceptor, &mut common));
            #[allow(
                clippy::disallowed_methods,
                reason = "a listener waits for as long as it takes"
            )]
            poll_fn(|cx| match accepting.as_mut().poll(cx) {
                Poll::Ready(accepted) => Poll::Ready(Next::Accepted(accepted)),
                Poll::Pending => slot.poll_closing(cx).map(|()| Next::Closing),
            })
            .await
        };
        match next {
            Next::Closing => return,
            Next::Accepted(Ok((client, stream))) => {
                if std::mem::take(&mut short_of_descriptors) {
                    tracing::info!("accepting connections again");
                }
                // That someone waits is only known by taking them; the others stay in the backlog.
                if !worker.process.has_room() {
                    worker.counted().crowded();
                }
                while !worker.process.has_room() && !listener.is_closing() {
                    room::make(&worker).await;
                }
                fault_injection::panics("accept");
                let guard = ConnectionGuard::new(&slot);
                let worker = worker.clone();
                let worker_config = listener.worker_config();
                if worker_config.stream_at(listener.position()).is_some() {
                    let session = relay::run(worker, client, stream, guard);
                    tokio::task::spawn_local(in_turns(session));
                } else {
                    tokio::task::spawn_local(Connection::new(worker, client, stream, guard));
                }
            }
            Next::Accepted(Err(error)) if is_about_the_connection(&error) => {}
            Next::Accepted(Err(error)) => {
                // EMFILE, ENFILE, ENOBUFS, ENOMEM: nothing but time helps, or one connection less.
                if !std::mem::replace(&mut short_of_descriptors, true) {
                    tracing::error!(
                        "accept() failed ({error}): connections wait until there are resources again"
                    );
                }
                worker.evict_idle_client();
                tokio::time::sleep(REST).await;
                if listener.is_closing() {
                    return;
                }
            }
        }
    }
}

/// What is known of a listener's next connection without asking the kernel.
struct Common {
    /// Its options are its listener's, which sends at once.
    sends_at_once: bool,
    local: KnownEnd,
}

/// What is known of our end of it.
enum KnownEnd {
    /// The listener's own address.
    All(Rc<LocalEnd>),
    /// The listener has any address. That of the connection before is most often the same.
    Last(Option<Rc<LocalEnd>>),
}

impl Common {
    fn of(acceptor: &Acceptor) -> Common {
        let Acceptor::Tcp(socket) = acceptor else {
            return Common {
                sends_at_once: true,
                local: KnownEnd::Last(None),
            };
        };
        let address = socket.local_addr().ok();
        let own = address.filter(|address| !address.ip().is_unspecified());
        Common {
            sends_at_once: sends_at_once(socket),
            local: own.map_or(KnownEnd::Last(None), |own| {
                KnownEnd::All(LocalEnd::new(own))
            }),
        }
    }

    fn local(&mut self, stream: &TcpStream) -> io::Result<Rc<LocalEnd>> {
        let last = match &mut self.local {
            KnownEnd::All(local) => return Ok(local.clone()),
            KnownEnd::Last(last) => last,
        };
        let address = stream.local_addr()?;
        Ok(match last {
            Some(local) if local.is_at(address) => local.clone(),
            _ => last.insert(LocalEnd::new(address)).clone(),
        })
    }
}

/// Takes the next connection.
async fn accept(
    worker: &Worker,
    acceptor: &Acceptor,
    common: &mut Common,
) -> io::Result<(Client, Stream)> {
    match acceptor {
        Acceptor::Tcp(socket) => {
            let (stream, peer) = socket.accept().await?;
            if !common.sends_at_once {
                // Responses are written whole: nothing is gained by waiting for more.
                stream.set_nodelay(true)?;
            }
            let local = common.local(&stream)?;
            let number = worker.process.accept();
            Ok((Client::tcp(peer, local, number), Stream::tcp(stream)))
        }
        Acceptor::Unix(socket) => {
            let (stream, _) = socket.accept().await?;
            Ok((Client::unix(worker.process.accept()), Stream::unix(stream)))
        }
    }
}

/// The client was gone before it was accepted.
fn is_about_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | NotConnected | InvalidInput
    )
}
