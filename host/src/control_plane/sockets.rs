//! Binds the listeners: a socket per worker for a TCP address, one shared by all for a unix socket.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use anyhow::Context;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use crate::config::model::{Address, Listener};
use crate::data_plane::accept::Socket;

/// The sockets of all workers, and what is to be removed in the end.
pub(super) struct Bound {
    /// By worker, then by listener.
    pub(super) sockets: Vec<Vec<Socket>>,
    pub(super) unix_paths: Vec<PathBuf>,
    /// The addresses in fact, in file order: port 0 asks for any.
    pub(super) addresses: Vec<String>,
}

/// Binds every listener for a number of workers.
///
/// # Errors
/// The first address that cannot be had.
pub(super) fn bind(listeners: &[Listener], workers: usize) -> anyhow::Result<Bound> {
    let mut bound = Bound {
        sockets: Vec::new(),
        unix_paths: Vec::new(),
        addresses: Vec::new(),
    };
    bound.sockets.resize_with(workers, Vec::new);
    for listener in listeners {
        match &listener.address {
            Address::Tcp(address) => {
                let address = free(*address).with_context(|| {
                    format!("cannot listen on {address}: is another program there? `ss -ltnp` shows which")
                })?;
                for sockets in &mut bound.sockets {
                    let socket = listen(address, listener.backlog, true);
                    sockets.push(Socket::Tcp(
                        socket.with_context(|| format!("cannot listen on {address}"))?,
                    ));
                }
                bound.addresses.push(address.to_string());
            }
            Address::Unix(path) => {
                let socket = listen_unix(path, listener.backlog);
                let socket =
                    socket.with_context(|| format!("cannot listen on unix:{}", path.display()))?;
                for sockets in &mut bound.sockets {
                    sockets.push(Socket::Unix(socket.try_clone()?));
                }
                bound.addresses.push(format!("unix:{}", path.display()));
                bound.unix_paths.push(path.clone());
            }
        }
    }
    Ok(bound)
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

/// Listens on a path, in place of a socket that a process left there when it died.
fn listen_unix(path: &Path, backlog: u32) -> io::Result<UnixListener> {
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
    socket.bind(&address)?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
