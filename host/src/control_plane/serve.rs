//! Runs the workers until a signal ends them: TERM and INT at once, QUIT once what is under way is done, USR1 reopens the logs.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::assemble::assemble;
use super::error_log::ErrorLogs;
use super::sockets::{self, Bound};
use crate::access_log::AccessLogs;
use crate::config::model::Config;
use crate::config::problem::Problem;
use crate::data_plane::accept::Socket;
use crate::data_plane::worker::{self, Order, Process, Snapshot};

/// Descriptors for other things than connections: listeners, logs, event loops, the odd file.
const RESERVED_DESCRIPTORS: u64 = 32;
/// What one worker's event loop needs besides.
const WORKER_DESCRIPTORS: u64 = 6;

/// Serves a configuration until a signal ends it.
///
/// # Errors
/// Where it cannot begin to serve.
pub fn run(config: Config, _file: &Path) -> anyhow::Result<ExitCode> {
    let error_log = ErrorLogs::start(&config.server.error_log)?;
    let logs = AccessLogs::start().context("cannot start the access log's thread")?;
    let shutdown_timeout = config.server.shutdown_timeout;
    let workers = config.server.workers;
    let max_connections = connection_bound(&config)?;
    let snapshot = match assemble(config, &logs) {
        Ok(snapshot) => Arc::new(snapshot),
        Err(problems) => return Ok(report(&problems)),
    };
    let bound = sockets::bind(&snapshot.config.listeners, workers)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // The signals are heeded before anybody can know that we serve.
    let mut signals = runtime.block_on(async { Signals::new() })?;
    let hostname = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
        .into();
    let process = Arc::new(Process::new(max_connections, hostname));
    let Bound {
        sockets,
        unix_paths,
        addresses,
    } = bound;
    let (ended, mut ends) = unbounded_channel();
    let mut running = Vec::new();
    for (index, sockets) in sockets.into_iter().enumerate() {
        let (order, orders) = unbounded_channel();
        let worker = Worker {
            snapshot: snapshot.clone(),
            process: process.clone(),
            logs: logs.buffers(),
            sockets,
        };
        let ended = ended.clone();
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                worker.run(orders);
                // The receiver is there as long as the process is.
                let _ = ended.send(());
            })?;
        running.push((order, thread));
    }
    drop(ended);
    for address in &addresses {
        tracing::info!("listening on {address}");
    }

    runtime.block_on(async {
        let mut ending = Ending::NotYet;
        loop {
            let deadline = async {
                match ending {
                    Ending::By(moment) => tokio::time::sleep_until(moment).await,
                    Ending::NotYet | Ending::WhenDone => std::future::pending().await,
                }
            };
            tokio::select! {
                end = ends.recv() => if end.is_none() { break },
                () = deadline => {
                    tracing::warn!("shutdown_timeout has passed: closing what is left");
                    ending = Ending::WhenDone;
                    tell(&running, Order::Stop);
                }
                event = signals.next() => match event {
                    Event::Stop => {
                        tracing::info!("stopping");
                        tell(&running, Order::Stop);
                    }
                    Event::Drain if matches!(ending, Ending::NotYet) => {
                        tracing::info!("draining: finishing what is under way");
                        ending = shutdown_timeout.map_or(Ending::WhenDone, |limit| Ending::By(tokio::time::Instant::now() + limit));
                        tell(&running, Order::Drain);
                    }
                    Event::Drain => {}
                    Event::Reopen => {
                        error_log.reopen();
                        if let Err(problems) = logs.reopen() {
                            problems.iter().for_each(|problem| tracing::error!("{problem}"));
                        }
                        tracing::info!("logs reopened");
                    }
                },
            }
        }
    });
    let mut clean = true;
    for (_, thread) in running {
        clean &= thread.join().is_ok();
    }
    for path in unix_paths {
        // Someone may have removed it already, and nobody is left to tell.
        let _ = std::fs::remove_file(path);
    }
    logs.close();
    tracing::info!("stopped");
    Ok(if clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// When a graceful stop is over.
enum Ending {
    NotYet,
    WhenDone,
    By(tokio::time::Instant),
}

fn tell(running: &[(UnboundedSender<Order>, thread::JoinHandle<()>)], order: Order) {
    for (orders, _) in running {
        // A worker that has ended needs no order.
        let _ = orders.send(order);
    }
}

fn report(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        eprintln!("{problem}\n");
    }
    ExitCode::FAILURE
}

/// How many clients can be served at once: each may need a connection to an upstream besides its own.
fn connection_bound(config: &Config) -> anyhow::Result<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // The soft limit is for programs that use select(); where raising it is refused, it holds.
    let descriptors = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let descriptors = descriptors.unwrap_or(1 << 20);
    let workers = config.server.workers as u64;
    let needed =
        RESERVED_DESCRIPTORS + workers * (WORKER_DESCRIPTORS + config.listeners.len() as u64);
    anyhow::ensure!(
        descriptors >= needed + 2,
        "{descriptors} open files are too few for {workers} workers, which need {needed}: raise `ulimit -n` or lower `workers`",
    );
    let bound = usize::try_from((descriptors - needed) / 2).unwrap_or(usize::MAX);
    Ok(config
        .server
        .max_connections
        .map_or(bound, |wanted| wanted.min(bound)))
}

/// What one worker thread is made of; kept so that it can be made again.
struct Worker {
    snapshot: Arc<Snapshot>,
    process: Arc<Process>,
    logs: crate::access_log::LogBuffers,
    sockets: Vec<Socket>,
}

impl Worker {
    fn run(self, orders: tokio::sync::mpsc::UnboundedReceiver<Order>) {
        if let Err(error) =
            worker::run(self.snapshot, self.process, self.logs, self.sockets, orders)
        {
            tracing::error!("a worker cannot run: {error}");
        }
    }
}

/// What a signal asks for.
enum Event {
    Stop,
    Drain,
    Reopen,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    user1: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            user1: signal(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Stop,
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.quit.recv() => Event::Drain,
            _ = self.user1.recv() => Event::Reopen,
        }
    }
}
