//! Takes connections from the listeners, as many as can be served.
//!
//! Each worker has a socket of its own for an address (SO_REUSEPORT), so that the kernel deals
//! connections out without a lock; a unix socket has one queue, which all workers take from. A
//! connection past the bound waits in the backlog instead of being taken and dropped, and so do all
//! while descriptors have run out: those already accepted are served meanwhile.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};

use super::downstream::{self, Client};
use super::drain::{ConnectionGuard, ShutdownSlot};
use super::relay;
use super::stream::Stream;
use super::worker::{ListenerId, Worker};
use crate::config::model::Address;

/// A bound and listening socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Socket::Tcp(socket) => socket.as_fd(),
            Socket::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Socket {
    /// A listening socket that somebody else has made.
    ///
    /// # Errors
    /// Where it is none, or not for streams over IP or a unix socket.
    pub(crate) fn from_descriptor(descriptor: OwnedFd) -> io::Result<Socket> {
        let socket = socket2::Socket::from(descriptor);
        let no_listener = || io::Error::other("a descriptor that was handed over is no listener");
        if !socket.is_listener()? || socket.r#type()? != socket2::Type::STREAM {
            return Err(no_listener());
        }
        socket.set_nonblocking(true)?;
        socket.set_cloexec(true)?;
        match socket.domain()? {
            socket2::Domain::UNIX => Ok(Socket::Unix(socket.into())),
            socket2::Domain::IPV4 | socket2::Domain::IPV6 => Ok(Socket::Tcp(socket.into())),
            _ => Err(no_listener()),
        }
    }

    /// Another descriptor of the same socket.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn try_clone(&self) -> io::Result<Socket> {
        match self {
            Socket::Tcp(socket) => socket.try_clone().map(Socket::Tcp),
            Socket::Unix(socket) => socket.try_clone().map(Socket::Unix),
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Where that is nowhere: a unix socket without a path.
    pub(crate) fn local_address(&self) -> io::Result<Address> {
        match self {
            Socket::Tcp(socket) => socket.local_addr().map(Address::Tcp),
            Socket::Unix(socket) => match socket.local_addr()?.as_pathname() {
                Some(path) => Ok(Address::Unix(path.to_owned())),
                None => Err(io::Error::other("a unix socket without a path")),
            },
        }
    }

    /// Whether others may listen on the same address beside it.
    pub(crate) fn has_reuse_port(&self) -> bool {
        socket2::SockRef::from(self).reuse_port().unwrap_or(false)
    }

    /// Hands it to the event loop of the calling thread.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn into_tokio(self) -> io::Result<Acceptor> {
        match self {
            Socket::Tcp(socket) => TcpListener::from_std(socket).map(Acceptor::Tcp),
            Socket::Unix(socket) => UnixListener::from_std(socket).map(Acceptor::Unix),
        }
    }
}

pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

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
pub(crate) async fn run(worker: Rc<Worker>, id: ListenerId, socket: Acceptor, place: ShutdownSlot) {
    let mut short_of_descriptors = false;
    loop {
        let next = {
            let mut accepting = pin!(accept(&worker, &socket));
            poll_fn(|cx| {
                // Asked each time: other listeners may have taken the last place while this one
                // waited.
                if is_full(&worker) && !place.is_closing() {
                    return Poll::Ready(Next::Full);
                }
                match accepting.as_mut().poll(cx) {
                    Poll::Ready(accepted) => Poll::Ready(Next::Accepted(accepted)),
                    Poll::Pending => place.poll_closing(cx).map(|()| Next::Closing),
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
                let guard = ConnectionGuard::new(&place);
                let worker = worker.clone();
                if place.worker_config().stream_of(id).is_some() {
                    tokio::task::spawn_local(relay::run(worker, id, client, stream, guard));
                } else {
                    tokio::task::spawn_local(downstream::run(worker, id, client, stream, guard));
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
                if place.is_closing() {
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
