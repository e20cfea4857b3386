//! Another process takes over the listeners, most often that of a newer binary: none of them is
//! closed in between.
//!
//! The successor runs the program at our path with our arguments and gets duplicates of all
//! listening sockets: a client that waits in one of them is accepted by whichever process comes
//! first. It writes to a pipe once it serves, and only then do we drain. If it ends before, nothing
//! has changed.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;

use super::inherited::{FIRST, LISTENERS, OF_SYSTEMD, READY};
use super::sockets::Sockets;
use crate::config::model::Address;
use crate::data_plane::stream::Socket;

/// How long a successor may take to serve: it may have plugins to compile.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whoever waits for the outcome: the successor's process id, or why there is none.
pub(super) type Asker = oneshot::Sender<Result<u32, String>>;

/// How this process was started.
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// Settled at the start: once the file is replaced, the kernel calls its old path deleted.
    ///
    /// # Errors
    /// Where `/proc` is not mounted.
    pub(super) fn this() -> io::Result<Program> {
        Ok(Program {
            path: std::env::current_exe()?,
            arguments: std::env::args_os().skip(1).collect(),
        })
    }
}

/// The process that is to take over, if there is one.
#[derive(Default)]
pub(super) struct Successor(Option<Starting>);

struct Starting {
    child: Child,
    ready: Receiver,
    /// What it said so far.
    said: Vec<u8>,
    since: tokio::time::Instant,
    asker: Option<Asker>,
}

impl Successor {
    /// Starts the successor on these sockets.
    pub(super) fn start(
        &mut self,
        program: &Program,
        sockets: &Sockets,
        admin: Option<(&Address, &Socket, bool)>,
        asker: Option<Asker>,
    ) {
        if self.0.is_some() {
            return refuse(asker, "an upgrade is under way");
        }
        tracing::info!("upgrading: starting another process on the same listeners");
        match spawn(program, sockets, admin) {
            Ok((child, ready)) => {
                let since = tokio::time::Instant::now();
                self.0 = Some(Starting {
                    child,
                    ready,
                    said: Vec::new(),
                    since,
                    asker,
                });
            }
            Err(error) => {
                let path = program.path.display();
                refuse(asker, &format!("cannot start `{path}`: {error}"));
            }
        }
    }

    /// Returns once the successor serves, with its process id, or will not. Never where there is
    /// none.
    pub(super) async fn serves(&mut self) -> Result<u32, String> {
        let Some(starting) = &mut self.0 else {
            return std::future::pending().await;
        };
        let until = starting.since + PATIENCE;
        let Starting { ready, said, .. } = starting;
        // May be dropped and begun again at any time: what was read is kept.
        let read = async { while ready.read_buf(said).await.is_ok_and(|length| length > 0) {} };
        let in_time = tokio::time::timeout_at(until, read).await;
        let Some(mut starting) = self.0.take() else {
            return std::future::pending().await;
        };
        let outcome = match in_time {
            Ok(()) if starting.said == b"serving\n" => Ok(starting.child.id()),
            Ok(()) => Err("the new process ended before it served: its log tells why".to_owned()),
            Err(_) => Err(format!("the new process did not serve within {PATIENCE:?}")),
        };
        if outcome.is_err() {
            starting.end();
        }
        if let Some(asker) = starting.asker.take() {
            // Whoever asked may have gone meanwhile.
            let _ = asker.send(outcome.clone());
        }
        outcome
    }

    /// Whether there is one that does not serve yet.
    pub(super) fn is_starting(&self) -> bool {
        self.0.is_some()
    }

    /// Ends the successor, if it does not serve yet.
    pub(super) fn abandon(&mut self) {
        if let Some(mut starting) = self.0.take() {
            starting.end();
            refuse(starting.asker, "the process is about to end");
        }
    }
}

impl Starting {
    /// Whatever it waits for: it is not to serve any more.
    fn end(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says no to an upgrade.
pub(super) fn refuse(asker: Option<Asker>, reason: &str) {
    tracing::error!("no upgrade: {reason}");
    if let Some(asker) = asker {
        // Whoever asked may have gone meanwhile.
        let _ = asker.send(Err(reason.to_owned()));
    }
}

fn spawn(
    program: &Program,
    sockets: &Sockets,
    admin: Option<(&Address, &Socket, bool)>,
) -> io::Result<(Child, Receiver)> {
    let bound = sockets.0.iter().flat_map(|bound| {
        let sockets = bound.sockets.iter();
        sockets.map(|socket| (&bound.wanted, socket, bound.of_systemd))
    });
    let (mut mappings, mut addresses) = (Vec::new(), String::new());
    let mut next: RawFd = FIRST;
    let mut hand_over = |descriptor: OwnedFd| {
        mappings.push(FdMapping {
            parent_fd: descriptor,
            child_fd: next,
        });
        next += 1;
        next - 1
    };
    for (address, socket, of_systemd) in bound.chain(admin) {
        hand_over(socket.as_fd().try_clone_to_owned()?);
        let mark = if of_systemd { OF_SYSTEMD } else { "" };
        addresses += &format!("{mark}{address}\n");
    }
    let (ready, written) = io::pipe()?;
    let written = hand_over(written.into());
    let mut command = Command::new(&program.path);
    command
        .args(&program.arguments)
        .env(LISTENERS, addresses)
        .env(READY, written.to_string())
        .fd_mappings(mappings)
        .map_err(io::Error::other)?;
    rustix::io::ioctl_fionbio(&ready, true)?;
    let child = command.spawn()?;
    Ok((child, Receiver::from_owned_fd(ready.into())?))
}
