//! The admin API: HTTP and JSON on a unix socket or a loopback address, documented in `docs/admin.md`.
//!
//! It runs on the control plane's thread, apart from all traffic. Questions are answered from what is published; changes are
//! wishes to the [operator](super::operator), which fulfils one after the other.

mod guard; // who is let in
mod view; // what is shown
mod routes; // which path does what

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use arc_swap::ArcSwap;
use rustix::fs::Mode;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use super::crew::CrewFigures;
use super::inherited::Inherited;
use super::operator::{Asked, Published};
use super::sockets::listen_unix;
use super::upgrade::Asker;
use crate::config::model::{Address, Config};
use crate::data_plane::accept::Socket;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;

/// What the API has at hand.
#[derive(Clone)]
pub(super) struct Admin {
    pub(super) published: Arc<ArcSwap<Published>>,
    pub(super) crew: CrewFigures,
    pub(super) wishes: UnboundedSender<Asked>,
    pub(super) demands: UnboundedSender<Demand>,
    pub(super) file: PathBuf,
    pub(super) started: Instant,
}

/// What concerns the process as a whole.
pub(super) enum Demand {
    Drain,
    Stop,
    Upgrade(Asker),
}

/// The API while it is served.
pub(super) struct Server {
    pub(super) socket: (Address, Socket),
    accepting: AbortHandle,
    handed_over: bool,
}

impl Server {
    /// Leaves the address to another process.
    pub(super) fn hand_over(mut self) {
        self.handed_over = true;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        if let Address::Unix(path) = &self.socket.0
            && !self.handed_over
        {
            // Someone may have removed it already, and nobody is left to tell.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Serves the API, if the configuration wants one.
///
/// # Errors
/// Where its address cannot be had.
pub(super) fn listen(
    config: &Config,
    admin: Admin,
    inherited: &mut Inherited,
) -> anyhow::Result<Option<Server>> {
    let Some(wanted) = &config.admin else {
        return Ok(None);
    };
    let address = wanted.address.clone();
    let socket = match inherited.take(&address).pop() {
        Some(socket) => socket,
        None => bind(&address)
            .with_context(|| format!("cannot listen on the admin address {address}"))?,
    };
    let kept = socket.try_clone()?;
    let router = routes::router(admin, socket.local_address()?);
    tracing::info!("admin api on {}", socket.local_address()?);
    let serving = match socket {
        Socket::Tcp(socket) => {
            let listener = TcpListener::from_std(socket)?;
            tokio::spawn(async move { axum::serve(listener, router).await })
        }
        Socket::Unix(socket) => {
            let listener = UnixListener::from_std(socket)?;
            tokio::spawn(async move { axum::serve(listener, router).await })
        }
    };
    Ok(Some(Server {
        socket: (address, kept),
        accepting: serving.abort_handle(),
        handed_over: false,
    }))
}

fn bind(address: &Address) -> io::Result<Socket> {
    match address {
        Address::Tcp(address) => {
            let socket = std::net::TcpListener::bind(address)?;
            socket.set_nonblocking(true)?;
            Ok(Socket::Tcp(socket))
        }
        Address::Unix(path) => {
            let ours_alone = Mode::RUSR | Mode::WUSR;
            listen_unix(path, BACKLOG, Some(ours_alone)).map(Socket::Unix)
        }
    }
}
