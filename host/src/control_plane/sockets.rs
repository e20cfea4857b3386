//! The listening sockets: one per worker for a TCP address, one shared by all for a unix socket.
//!
//! They belong to the process, not to its workers, who get duplicates: a worker that has died leaves none behind, a listener
//! that a new configuration still has keeps its sockets with all who wait in them, and so does one that the next binary
//! takes over. What is no longer wanted is dropped here, or the kernel would go on filling its queue.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::Context;
use rustix::fs::Mode;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use super::inherited::Inherited;
use crate::config::model::{Address, Listener};
use crate::data_plane::accept::Socket;
use crate::data_plane::worker::ListenerId;

/// The sockets of one listener.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) id: ListenerId,
    /// As the configuration has it: port 0 asks for any.
    pub(super) wanted: Address,
    /// In fact.
    pub(super) address: Address,
    /// By worker; a single one is shared by all.
    pub(super) sockets: Vec<Socket>,
}

/// The listeners of a configuration, in its order.
#[derive(Debug, Default, Clone)]
pub(super) struct Sockets(pub(super) Vec<Arc<Bound>>);

impl Sockets {
    /// The sockets for a number of workers: those that there are already, those that were handed to this process, and for
    /// the rest new ones.
    ///
    /// # Errors
    /// The first address that cannot be had; what was opened for others is closed again.
    pub(super) fn bind(
        listeners: &[Listener],
        workers: usize,
        present: &Sockets,
        inherited: &mut Inherited,
    ) -> anyhow::Result<Sockets> {
        let mut present = present.0.clone();
        let (mut sockets, mut opened) = (Vec::new(), Sockets::default());
        for listener in listeners {
            let known = present
                .iter()
                .position(|bound| bound.wanted == listener.address);
            sockets.push(match known {
                Some(index) => present.remove(index),
                None => {
                    let handed = inherited.take(&listener.address);
                    let is_new = handed.is_empty();
                    let bound = Bound::new(listener, workers, handed);
                    let bound = Arc::new(bound.inspect_err(|_| opened.remove_files())?);
                    if is_new {
                        opened.0.push(bound.clone());
                    }
                    bound
                }
            });
        }
        Ok(Sockets(sockets))
    }

    /// Gives each the backlog of its listener; they are in the same order.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn set_backlogs(&self, listeners: &[Listener]) -> anyhow::Result<()> {
        let mut pairs = self.0.iter().zip(listeners);
        pairs.try_for_each(|(bound, listener)| bound.set_backlog(listener.backlog))
    }

    pub(super) fn ids(&self) -> Vec<ListenerId> {
        self.0.iter().map(|bound| bound.id).collect()
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|bound| bound.address.to_string())
    }

    /// Those that `others` does not have.
    pub(super) fn without(&self, others: &Sockets) -> Sockets {
        let is_new = |bound: &&Arc<Bound>| !others.ids().contains(&bound.id);
        Sockets(self.0.iter().filter(is_new).cloned().collect())
    }

    /// A worker's duplicates. Every socket goes to somebody, even if there are more than workers.
    ///
    /// # Errors
    /// Where descriptors have run out.
    pub(super) fn of_worker(
        &self,
        worker: usize,
        workers: usize,
    ) -> io::Result<Vec<(ListenerId, Socket)>> {
        let mut duplicates = Vec::new();
        for bound in &self.0 {
            let count = bound.sockets.len();
            // Fewer than workers: some share. More: some have several.
            for index in (worker % count..count).step_by(workers.max(1)) {
                duplicates.push((bound.id, bound.sockets[index].try_clone()?));
            }
        }
        Ok(duplicates)
    }

    /// Removes the files of unix sockets that nobody listens on any more.
    pub(super) fn remove_files(&self) {
        for bound in &self.0 {
            if let Address::Unix(path) = &bound.address {
                // Someone may have removed it already, and nobody is left to tell.
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

impl Bound {
    /// Completes the sockets that were handed over, if any.
    fn new(listener: &Listener, workers: usize, mut sockets: Vec<Socket>) -> anyhow::Result<Bound> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let (wanted, backlog) = (listener.address.clone(), listener.backlog);
        let address = match (&wanted, sockets.first()) {
            (_, Some(socket)) => socket.local_address()?,
            (Address::Tcp(address), None) => Address::Tcp(free(*address).with_context(|| {
                format!(
                    "cannot listen on {address}: is another program there? `ss -ltnp` shows which"
                )
            })?),
            (Address::Unix(_), None) => wanted.clone(),
        };
        let here = || format!("cannot listen on {address}");
        match &address {
            // A socket that was made without SO_REUSEPORT tolerates no others: its workers share it.
            Address::Tcp(tcp) if sockets.iter().all(Socket::has_reuse_port) => {
                while sockets.len() < workers {
                    let socket = listen(*tcp, backlog, true).with_context(here)?;
                    sockets.push(Socket::Tcp(socket));
                }
            }
            Address::Unix(path) if sockets.is_empty() => {
                sockets.push(Socket::Unix(
                    listen_unix(path, backlog, None).with_context(here)?,
                ));
            }
            Address::Tcp(_) | Address::Unix(_) => {}
        }
        let bound = Bound {
            id: ListenerId(LAST.fetch_add(1, Relaxed)),
            wanted,
            address,
            sockets,
        };
        bound.set_backlog(backlog)?;
        Ok(bound)
    }

    /// Listening again is how a socket that listens gets another backlog.
    fn set_backlog(&self, backlog: u32) -> anyhow::Result<()> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        for socket in &self.sockets {
            rustix::net::listen(socket.as_fd(), backlog)
                .with_context(|| format!("cannot listen on {}", self.address))?;
        }
        Ok(())
    }
}

/// Makes sure that nobody else listens on an address, which SO_REUSEPORT would let pass, and settles its port.
fn free(address: SocketAddr) -> io::Result<SocketAddr> {
    listen(address, 1, false)?.local_addr()
}

fn listen(address: SocketAddr, backlog: u32, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = RawSocket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restart need not wait for connections of the process before it to time out.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Listens on a path, in place of a socket that a process left there when it died. `mode`: who may connect, where that is
/// not for the umask to say.
pub(super) fn listen_unix(
    path: &Path,
    backlog: u32,
    mode: Option<Mode>,
) -> io::Result<UnixListener> {
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = socket2::SockAddr::unix(path)?;
    let taken = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if taken {
        if RawSocket::new(Domain::UNIX, Type::STREAM, None)?
            .connect(&address)
            .is_ok()
        {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    if let Some(mode) = mode {
        // Before there is a file, so that it never had another mode.
        rustix::fs::fchmod(&socket, mode)?;
    }
    socket.bind(&address)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
