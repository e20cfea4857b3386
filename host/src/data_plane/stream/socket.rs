//! Listening sockets, of TCP or of a path.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tokio::net::{TcpListener, UnixListener};

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
    /// A listening socket that another process has made.
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

/// Whether connections that it accepts send at once (`TCP_NODELAY`) because it does: on Linux, they
/// have the options that their listener had when they came. One that was handed over may not have
/// it.
pub(crate) fn sends_at_once(listener: &TcpListener) -> bool {
    socket2::SockRef::from(listener)
        .tcp_nodelay()
        .unwrap_or(false)
}
