//! The admin API: HTTP and JSON on a unix socket, a loopback address, or one that asks for TLS and
//! tokens, documented in `docs/admin.md`.
//!
//! It runs on the control plane's thread, apart from all traffic. Questions are answered from what
//! is published; changes go to the [operator](super::operator), which makes one after the other.

mod connections; // how many, and for how long
mod access; // who asks, and what they may do
mod audit; // what they did
mod guard; // which requests are let in
mod dashboard; // the page for people
pub(super) mod standing; // why a server is in rotation or not
mod view; // what is shown
mod certificates; // which there are, and ordered anew
mod routes; // which path does what

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustix::fs::Mode;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

use self::connections::Listening;
use super::bind_problem::{ADMIN, Ours, bind_problem};
use super::blocking::{BRIEF, run_blocking};
use super::events::Events;
use super::inherited::Inherited;
use super::operator::{ChangeRequest, Published};
use super::preparing::Preparations;
use super::sockets::{Sockets, listen_unix, remove_files, socket_file};
use super::upgrade::Asker;
use super::workers::WorkerCounts;
use crate::acme::Acme;
use crate::config::model::{Address, AdminConfig, Config};
use crate::config::problem::Problem;
use crate::data_plane::stream::Socket;
use crate::data_plane::upstream::PolicyStates;
use crate::discovery::Sources;
use crate::names::Names;
use crate::traces::Exporters;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;
/// How long the end of the process waits for answers that are under way.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Requests that wait for name servers, sources and compilers: fewer than there may be connections.
pub(super) const WAITS: usize = 8;
/// Requests that are explained at a time, or traffic that is counted for a while.
pub(super) const EXPLAINS: usize = 2;

/// What the handlers of the API use.
#[derive(Clone)]
pub(super) struct Admin {
    pub(super) published: Arc<ArcSwap<Published>>,
    pub(super) workers: WorkerCounts,
    pub(super) changes: UnboundedSender<ChangeRequest>,
    pub(super) preparations: Preparations,
    /// For requests that wait for name servers, sources and compilers: they leave connections to others.
    pub(super) waits: Arc<Semaphore>,
    /// For requests that are explained: they leave the others to those that change something.
    pub(super) explains: Arc<Semaphore>,
    pub(super) demands: UnboundedSender<Demand>,
    pub(super) file: PathBuf,
    pub(super) names: Names,
    pub(super) sources: Sources,
    pub(super) acme: Acme,
    pub(super) exporters: Arc<Exporters>,
    pub(super) started: Instant,
    pub(super) events: Arc<Events>,
}

/// What concerns the process as a whole.
pub(super) enum Demand {
    Drain,
    Stop,
    Upgrade(Asker),
    /// What the policies of an upstream know, of one worker.
    TellStates {
        upstream: String,
        answer: oneshot::Sender<PolicyStates>,
    },
}

/// The API while it is served.
pub(super) struct AdminServer {
    address: Address,
    /// None once it was handed over.
    socket: Option<Socket>,
    /// systemd made it: its file is not ours to remove.
    of_systemd: bool,
    /// Connections are accepted as long as this is there.
    open: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl AdminServer {
    /// Where it listens, until that was handed over, and whether systemd made it.
    pub(super) fn socket(&self) -> Option<(&Address, &Socket, bool)> {
        Some((&self.address, self.socket.as_ref()?, self.of_systemd))
    }

    /// Leaves the address to another process; what is under way is still answered.
    pub(super) fn hand_over(&mut self) {
        self.socket = None;
        self.open = None;
    }

    /// Accepts no more, and returns once what is under way has been answered, or took too long.
    pub(super) async fn end(mut self) {
        self.open = None;
        if self.socket.take().is_some() && !self.of_systemd {
            let file = socket_file(&self.address);
            let remove = move || remove_files(file.as_slice());
            // A file that is left behind does no harm: the next process replaces it.
            let _ = run_blocking("removing the admin socket", BRIEF, remove).await;
        }
        // Whether it ended well is of no interest any more.
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.serving).await;
    }
}

/// Serves the API, if the configuration wants one.
///
/// # Errors
/// Where its address cannot be bound, at its key.
pub(super) fn listen(
    config: &Config,
    admin: Admin,
    inherited: &mut Inherited,
    sockets: &Sockets,
) -> Result<Option<AdminServer>, Problem> {
    let Some(AdminConfig { address, place, .. }) = &config.admin else {
        return Ok(None);
    };
    let server = listen_at(address.clone(), admin, inherited);
    let ours = Ours::of(sockets, None);
    let server = server.map_err(|error| bind_problem(place, ADMIN, address, &error, &ours));
    server.map(Some)
}

fn listen_at(address: Address, admin: Admin, inherited: &mut Inherited) -> io::Result<AdminServer> {
    let mut handed = inherited.take(&address);
    let socket = match handed.sockets.pop() {
        Some(socket) => socket,
        None => bind(&address)?,
    };
    let kept = socket.try_clone()?;
    let published = admin.published.clone();
    let tls = move || published.load().snapshot.admin_tls.clone();
    let router = routes::router(admin, socket.local_address()?);
    tracing::info!("admin api on {}", socket.local_address()?);
    let (open, closed) = oneshot::channel();
    // Nothing is ever sent: it ends when the other end is dropped.
    let closed = async { drop(closed.await) };
    let listening = match socket {
        Socket::Tcp(socket) => Listening::Tcp(TcpListener::from_std(socket)?),
        Socket::Unix(socket) => Listening::Unix(UnixListener::from_std(socket)?),
    };
    let serving = tokio::task::spawn_local(connections::serve(listening, tls, router, closed));
    Ok(AdminServer {
        address,
        socket: Some(kept),
        of_systemd: handed.of_systemd,
        open: Some(open),
        serving,
    })
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
