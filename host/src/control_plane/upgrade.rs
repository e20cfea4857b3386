//! Another process takes over the listeners, most often that of a newer binary: none of them is
//! closed in between.
//!
//! The successor runs the program at our path with our arguments and gets duplicates of all
//! listening sockets: a client that waits in one of them is accepted by whichever process comes
//! first. It starts once the changes under way are made, since it reads what they leave behind. It
//! writes to a pipe once it serves, and only then do we drain. If it ends before, nothing has changed.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::blocking::begin;
use super::inherited::{FIRST, LISTENERS, LISTS, NAMES, OF_SYSTEMD, READY};
use super::operator::ChangeResult;

use super::sockets::Sockets;
use super::systemd;
use crate::config::model::Address;
use crate::data_plane::stream::Socket;

/// How long the changes under way may take, and then how long a successor may take to serve: both may
/// have plugins to compile.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the outcome is awaited: the successor's process id, or why there is none.
pub(super) type Asker = oneshot::Sender<Result<u32, String>>;

/// How this process was started.
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    /// The configuration.
    file: PathBuf,
}

impl Program {
    /// Settled at the start: once the program is replaced, the kernel calls its old path deleted.
    /// `file` is its configuration.
    ///
    /// # Errors
    /// Where `/proc` is not mounted.
    pub(super) fn this(file: &Path) -> io::Result<Program> {
        Ok(Program {
            path: std::env::current_exe()?,
            arguments: std::env::args_os().skip(1).collect(),
            file: file.to_owned(),
        })
    }
}

/// What a successor is told of what others have said: it may find them dead.
pub(super) struct Knowledge {
    /// What is known of names.
    pub(super) names: String,
    /// Lists of servers.
    pub(super) lists: String,
}

/// The process that is to take over, if there is one.
#[derive(Default)]
pub(super) struct Successor(State);

#[derive(Default)]
enum State {
    #[default]
    None,
    Waiting(Waiting),
    Starting(Starting),
}

/// Changes are under way, and it is not started before they are made.
struct Waiting {
    made: oneshot::Receiver<ChangeResult>,
    until: tokio::time::Instant,
    asker: Option<Asker>,
}

/// What comes of an upgrade.
pub(super) enum Progress {
    /// The changes under way are made: [`Successor::start`] is next.
    Due(Option<Asker>),
    /// The successor serves, with this process id; or it will not, and why.
    Ended(Result<u32, String>),
}

struct Starting {
    stage: Stage,
    /// Its configuration.
    file: PathBuf,
    child: Arc<Mutex<ChildState>>,
    until: tokio::time::Instant,
    asker: Option<Asker>,
}

enum Stage {
    /// The kernel reads the program from its disk.
    Spawning(JoinHandle<io::Result<(u32, OwnedFd)>>),
    /// The program starts to serve, and has written this much of its word that it does.
    Spawned {
        pid: u32,
        ready: Receiver,
        written: Vec<u8>,
    },
}

/// The process itself, between the thread that starts it and the one that may end it meanwhile.
enum ChildState {
    Expected,
    Here(Child),
    /// It is not to serve any more.
    Abandoned,
}

impl Successor {
    /// Has it started once the changes under way are `made`, whatever came of them.
    pub(super) fn wait(&mut self, made: oneshot::Receiver<ChangeResult>, asker: Option<Asker>) {
        tracing::info!("upgrading: another process starts once the changes under way are made");
        self.0 = State::Waiting(Waiting {
            made,
            until: tokio::time::Instant::now() + PATIENCE,
            asker,
        });
    }

    /// Starts the successor on these sockets.
    pub(super) fn start(
        &mut self,
        program: &Program,
        sockets: &Sockets,
        admin: Option<(&Address, &Socket, bool)>,
        known: Knowledge,
        asker: Option<Asker>,
    ) {
        tracing::info!("upgrading: starting another process on the same listeners");
        let child = Arc::new(Mutex::new(ChildState::Expected));
        let stage = match Spawn::new(program, sockets, admin, known) {
            Ok(spawn) => Stage::Spawning(spawn.on_a_thread(child.clone())),
            Err(error) => return refuse(asker, &format!("cannot hand over sockets: {error}")),
        };
        self.0 = State::Starting(Starting {
            stage,
            file: program.file.clone(),
            child,
            until: tokio::time::Instant::now() + PATIENCE,
            asker,
        });
    }

    /// Returns once there is something to do, or the upgrade is over. Never where there is none. May be
    /// dropped and begun again at any time.
    pub(super) async fn progress(&mut self) -> Progress {
        let outcome = match &mut self.0 {
            State::None => std::future::pending().await,
            State::Waiting(waiting) => {
                let made = tokio::time::timeout_at(waiting.until, &mut waiting.made).await;
                if made.is_ok() {
                    return Progress::Due(self.end());
                }
                Err(format!(
                    "the changes under way were not made within {PATIENCE:?}"
                ))
            }
            State::Starting(starting) => {
                let serves = starting.stage.serves(&starting.file);
                let late = || Err(format!("the new process did not serve within {PATIENCE:?}"));
                let serves = tokio::time::timeout_at(starting.until, serves).await;
                serves.unwrap_or_else(|_| late())
            }
        };
        let asker = match (&outcome, std::mem::take(&mut self.0)) {
            (Ok(_), State::Starting(starting)) => starting.asker,
            (_, state) => state.end(),
        };
        if let Some(asker) = asker {
            // The caller may have gone meanwhile.
            let _ = asker.send(outcome.clone());
        }
        Progress::Ended(outcome)
    }

    /// Whether there is one that does not serve yet.
    pub(super) fn is_starting(&self) -> bool {
        !matches!(self.0, State::None)
    }

    /// Ends the successor, if it does not serve yet.
    pub(super) fn abandon(&mut self) {
        if self.is_starting() {
            refuse(self.end(), "the process is about to end");
        }
    }

    fn end(&mut self) -> Option<Asker> {
        std::mem::take(&mut self.0).end()
    }
}

impl State {
    /// It is not to serve, or not any more.
    fn end(self) -> Option<Asker> {
        match self {
            State::None => None,
            State::Waiting(waiting) => waiting.asker,
            State::Starting(starting) => starting.end(),
        }
    }
}

impl Stage {
    /// Keeps what it has come to where it is dropped before its end.
    async fn serves(&mut self, file: &Path) -> Result<u32, String> {
        if let Stage::Spawning(spawning) = self {
            let spawned = spawning.await.map_err(io::Error::from);
            let spawned = spawned.flatten().and_then(|(pid, ready)| {
                let ready = Receiver::from_owned_fd(ready)?;
                Ok(Stage::Spawned {
                    pid,
                    ready,
                    written: Vec::new(),
                })
            });
            *self = spawned.map_err(|error| format!("it cannot be started: {error}"))?;
        }
        let Stage::Spawned {
            pid,
            ready,
            written,
        } = self
        else {
            return std::future::pending().await;
        };
        while ready.read_buf(written).await.is_ok_and(|length| length > 0) {}
        match &written[..] {
            b"serving\n" => Ok(*pid),
            _ => Err(format!(
                "the new process ended before it served: `waypost check -c {}` tells what is wrong \
                 with the configuration; anything else is in the error log, or on the standard \
                 error of this process",
                file.display()
            )),
        }
    }
}

impl Starting {
    /// Whatever it waits for: it is not to serve any more.
    fn end(self) -> Option<Asker> {
        let state = std::mem::replace(&mut *self.child.lock(), ChildState::Abandoned);
        if let ChildState::Here(child) = state {
            end(child);
        }
        self.asker
    }
}

/// Ends a process, and waits for it where that holds up nothing.
fn end(mut child: Child) {
    // Fails only if it has ended already.
    let _ = child.kill();
    // A process that waits for a disk ends later; nothing here has to wait for that.
    drop(begin(move || child.wait()));
}

/// Says no to an upgrade.
pub(super) fn refuse(asker: Option<Asker>, reason: &str) {
    tracing::error!("no upgrade: {reason}");
    if let Some(asker) = asker {
        // The caller may have gone meanwhile.
        let _ = asker.send(Err(reason.to_owned()));
    }
}

/// A successor that is about to be started.
struct Spawn {
    command: Command,
    ready: OwnedFd,
}

impl Spawn {
    fn new(
        program: &Program,
        sockets: &Sockets,
        admin: Option<(&Address, &Socket, bool)>,
        known: Knowledge,
    ) -> io::Result<Spawn> {
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
            // What systemd wants to hear of this process, it wants to hear of the next one.
            .env_remove(systemd::WATCHDOG_PID)
            .env(LISTENERS, addresses)
            .env(READY, written.to_string())
            .env(NAMES, known.names)
            .env(LISTS, known.lists)
            .fd_mappings(mappings)
            .map_err(io::Error::other)?;
        rustix::io::ioctl_fionbio(&ready, true)?;
        let ready = ready.into();
        Ok(Spawn { command, ready })
    }

    /// Starts it where waiting for the program's disk holds up nothing; its process id.
    fn on_a_thread(
        mut self,
        child: Arc<Mutex<ChildState>>,
    ) -> JoinHandle<io::Result<(u32, OwnedFd)>> {
        begin(move || {
            let mut started = self.command.spawn()?;
            let pid = started.id();
            let mut state = child.lock();
            if matches!(*state, ChildState::Abandoned) {
                started.kill()?;
            } else {
                *state = ChildState::Here(started);
            }
            Ok((pid, self.ready))
        })
    }
}
