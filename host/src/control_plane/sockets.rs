//! The listening sockets: one per worker for a TCP address, one shared by all for a unix socket.
//!
//! The process owns the sockets; workers get duplicates. So a crashed worker, a reload and an
//! upgrade all keep the accept queue, with the clients in it. A socket that is no longer wanted is
//! dropped here, or the kernel would go on filling its queue.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::Context;
use rustix::fs::Mode;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use super::bind_problem::{Ours, bind_problem, no_socket};
use super::inherited::{HandedOver, Inherited};
use crate::config::model::{Address, Bind, BindKind};
use crate::config::problem::Problem;
use crate::data_plane::stream::Socket;
use crate::data_plane::worker_config::ListenerId;

/// The sockets of one listener or stream.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) id: ListenerId,
    pub(super) kind: BindKind,
    /// As the configuration has it: port 0 asks for any.
    pub(super) wanted: Address,
    /// In fact.
    pub(super) address: Address,
    /// By worker; a single one is shared by all.
    pub(super) sockets: Vec<Socket>,
    /// systemd made them, and has them still: the file of a unix socket is not ours to remove.
    pub(super) of_systemd: bool,
}

/// The listeners and streams of a configuration, in the order of
/// [`Config::binds`](crate::config::model::Config::binds).
#[derive(Debug, Default, Clone)]
pub(super) struct Sockets(pub(super) Vec<Arc<Bound>>);

impl Sockets {
    /// The sockets for a number of workers: those that there are already, those that were handed to
    /// this process, and for the rest new ones. `admin`: what this process has its admin API at.
    ///
    /// # Errors
    /// The first address that cannot be bound, at its key; what was opened for others is closed
    /// again.
    pub(super) fn bind(
        binds: &[Bind],
        workers: usize,
        present: &Sockets,
        inherited: &mut Inherited,
        admin: Option<&Address>,
    ) -> Result<Sockets, Problem> {
        let ours = Ours::of(present, admin);
        let mut present = present.0.clone();
        let (mut sockets, mut opened) = (Vec::new(), Sockets::default());
        for bind in binds {
            let refused =
                |error: io::Error| bind_problem(&bind.place, "", &bind.address, &error, &ours);
            let at = |kind: Option<BindKind>| {
                let mut present = present.iter();
                present.position(|bound| {
                    bound.wanted == bind.address && kind.is_none_or(|kind| bound.kind == kind)
                })
            };
            // For port 0, a new socket from the kernel is as good as one of another kind.
            let any_port = matches!(&bind.address, Address::Tcp(address) if address.port() == 0);
            let known = at(Some(bind.kind)).or_else(|| at(None).filter(|_| !any_port));
            sockets.push(match known.map(|index| present.remove(index)) {
                Some(bound) if bound.kind == bind.kind => bound,
                Some(bound) => Arc::new(bound.turned_into(bind.kind).map_err(refused)?),
                None => {
                    let handed = inherited.take(&bind.address);
                    let is_new = handed.sockets.is_empty();
                    let bound = Bound::new(bind, workers, handed);
                    let bound = bound.inspect_err(|_| remove_files(&opened.files()));
                    let bound = Arc::new(bound.map_err(refused)?);
                    if is_new {
                        opened.0.push(bound.clone());
                    }
                    bound
                }
            });
        }
        Ok(Sockets(sockets))
    }

    /// Gives each its backlog; they are in the same order.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn set_backlogs(&self, binds: &[Bind]) -> anyhow::Result<()> {
        for (bound, bind) in self.0.iter().zip(binds) {
            let here = || format!("cannot listen on {}", bound.address);
            bound.set_backlog(bind.backlog).with_context(here)?;
        }
        Ok(())
    }

    pub(super) fn ids(&self) -> Vec<ListenerId> {
        self.0.iter().map(|bound| bound.id).collect()
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|bound| bound.address.to_string())
    }

    /// The addresses of listeners, or of streams.
    pub(super) fn addresses_of(&self, kind: BindKind) -> Vec<String> {
        let of_kind = self.0.iter().filter(|bound| bound.kind == kind);
        of_kind.map(|bound| bound.address.to_string()).collect()
    }

    /// Those that `others` does not have.
    pub(super) fn without(&self, others: &Sockets) -> Sockets {
        let is_new = |bound: &&Arc<Bound>| !others.ids().contains(&bound.id);
        Sockets(self.0.iter().filter(is_new).cloned().collect())
    }

    /// Those at whose address `others` has none, of either kind.
    pub(super) fn elsewhere_than(&self, others: &Sockets) -> Sockets {
        let is_elsewhere = |bound: &&Arc<Bound>| {
            let mut others = others.0.iter();
            others.all(|other| other.address != bound.address)
        };
        Sockets(self.0.iter().filter(is_elsewhere).cloned().collect())
    }

    /// A worker's duplicates. Every socket goes to some worker, even if there are more sockets than
    /// workers.
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

    /// The files of unix sockets, less those that systemd made, and has still.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let ours = self.0.iter().filter(|bound| !bound.of_systemd);
        ours.filter_map(|bound| socket_file(&bound.address))
            .collect()
    }
}

impl Bound {
    /// Completes the sockets that were handed over, if any.
    fn new(bind: &Bind, workers: usize, handed: HandedOver) -> io::Result<Bound> {
        let HandedOver {
            mut sockets,
            of_systemd,
        } = handed;
        let (wanted, backlog) = (bind.address.clone(), bind.backlog);
        let address = match (&wanted, sockets.first()) {
            (_, Some(socket)) => socket.local_address()?,
            (Address::Tcp(address), None) => Address::Tcp(free(*address)?),
            (Address::Unix(_), None) => wanted.clone(),
        };
        match &address {
            // A socket that was made without SO_REUSEPORT tolerates no others: its workers share
            // it.
            Address::Tcp(tcp) if sockets.iter().all(Socket::has_reuse_port) => {
                while sockets.len() < workers {
                    sockets.push(Socket::Tcp(listen(*tcp, backlog, true)?));
                }
            }
            Address::Unix(path) if sockets.is_empty() => {
                sockets.push(Socket::Unix(listen_unix(path, backlog, None)?));
            }
            Address::Tcp(_) | Address::Unix(_) => {}
        }
        let bound = Bound {
            id: Bound::next_id(),
            kind: bind.kind,
            wanted,
            address,
            sockets,
            of_systemd,
        };
        bound.set_backlog(backlog)?;
        Ok(bound)
    }

    fn next_id() -> ListenerId {
        static LAST: AtomicU64 = AtomicU64::new(0);
        ListenerId(LAST.fetch_add(1, Relaxed))
    }

    /// The same sockets for another kind of connections, under another name: those that it has now
    /// are to end.
    fn turned_into(&self, kind: BindKind) -> io::Result<Bound> {
        let sockets = self.sockets.iter().map(Socket::try_clone);
        Ok(Bound {
            id: Bound::next_id(),
            kind,
            wanted: self.wanted.clone(),
            address: self.address.clone(),
            sockets: sockets.collect::<io::Result<_>>()?,
            of_systemd: self.of_systemd,
        })
    }

    /// Listening again is how a socket that listens gets another backlog.
    fn set_backlog(&self, backlog: u32) -> io::Result<()> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        for socket in &self.sockets {
            rustix::net::listen(socket.as_fd(), backlog)?;
        }
        Ok(())
    }
}

/// Makes sure that no other process listens on an address, which SO_REUSEPORT would allow, and
/// settles its port.
fn free(address: SocketAddr) -> io::Result<SocketAddr> {
    listen(address, 1, false)?.local_addr()
}

fn listen(address: SocketAddr, backlog: u32, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = RawSocket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // As nginx's `ipv6only=on`, its default: `[::]:80` stands beside `0.0.0.0:80`.
        socket.set_only_v6(true)?;
    }
    // A restart need not wait for connections of the process before it to time out.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    // What is sent is written whole: nothing is gained by waiting for more. Connections have it from
    // their listener.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Listens on a path, in place of a socket that a process left there when it died. `mode`:
/// permissions of the socket file; without it, the umask decides.
pub(super) fn listen_unix(
    path: &Path,
    backlog: u32,
    mode: Option<Mode>,
) -> io::Result<UnixListener> {
    let socket = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = socket2::SockAddr::unix(path)?;
    // Where it cannot be told what is there, `bind` will say why.
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(no_socket());
        }
        nobody_listens(&address)?;
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

pub(super) fn socket_file(address: &Address) -> Option<PathBuf> {
    match address {
        Address::Unix(path) => Some(path.clone()),
        Address::Tcp(_) => None,
    }
}

/// Removes the files of unix sockets that have been closed. Blocks.
pub(super) fn remove_files(files: &[PathBuf]) {
    for file in files {
        // It may have been removed already.
        let _ = std::fs::remove_file(file);
    }
}

/// Makes sure that a socket's file is all that is left of it.
fn nobody_listens(address: &socket2::SockAddr) -> io::Result<()> {
    let probe = RawSocket::new(Domain::UNIX, Type::STREAM, None)?;
    // Or a queue that is full would keep us waiting.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        Ok(()) | Err(_) => Err(io::Error::other("another process listens there")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    #[test]
    fn what_a_listener_accepts_sends_at_once() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), 1, true).unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
    }
}
