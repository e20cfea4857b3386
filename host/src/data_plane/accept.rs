//! Takes connections from the listeners, as many as can be served.
//!
//! Each worker has a socket of its own for an address (SO_REUSEPORT), so that the kernel deals connections out without a
//! lock; a unix socket has one queue, which all workers take from. A connection past the bound waits in the backlog instead
//! of being taken and dropped, and so do all while descriptors have run out: those already accepted are served meanwhile.

use std::io;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};

use super::downstream::{self, Client};
use super::stream::{Reader, Writer, split_tcp, split_unix};
use super::worker::Worker;

/// A bound and listening socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Socket {
    /// Hands it to the event loop of the calling thread.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn into_tokio(self) -> io::Result<Listener> {
        match self {
            Socket::Tcp(socket) => TcpListener::from_std(socket).map(Listener::Tcp),
            Socket::Unix(socket) => UnixListener::from_std(socket).map(Listener::Unix),
        }
    }
}

pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// How long accepting rests when it cannot go on.
const REST: Duration = Duration::from_millis(50);

/// Accepts until it is aborted.
pub(crate) async fn run(worker: Rc<Worker>, listener: usize, socket: Listener) {
    let mut short_of_descriptors = false;
    loop {
        while worker.process.connections.load(Relaxed) >= worker.process.max_connections {
            tokio::time::sleep(REST).await;
        }
        match accept(&worker, &socket).await {
            Ok((client, reader, writer)) => {
                if std::mem::take(&mut short_of_descriptors) {
                    tracing::info!("accepting connections again");
                }
                let guard = worker.connection();
                tokio::task::spawn_local(downstream::run(
                    worker.clone(),
                    listener,
                    client,
                    reader,
                    writer,
                    guard,
                ));
            }
            Err(error) if is_about_the_connection(&error) => {}
            Err(error) => {
                // EMFILE, ENFILE, ENOBUFS, ENOMEM: nothing but time helps.
                if !std::mem::replace(&mut short_of_descriptors, true) {
                    tracing::error!(
                        "accept() failed ({error}): connections wait until there are resources again"
                    );
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
}

async fn accept(worker: &Worker, socket: &Listener) -> io::Result<(Client, Reader, Writer)> {
    match socket {
        Listener::Tcp(socket) => {
            let (stream, peer) = socket.accept().await?;
            // Responses are written whole: nothing is gained by waiting for more.
            stream.set_nodelay(true)?;
            let local = stream.local_addr()?;
            let (reader, writer) = split_tcp(stream);
            Ok((Client::tcp(peer, local, number(worker)), reader, writer))
        }
        Listener::Unix(socket) => {
            let (stream, _) = socket.accept().await?;
            let (reader, writer) = split_unix(stream);
            Ok((Client::unix(number(worker)), reader, writer))
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
