//! The life of the process: starts everything, heeds signals, and ends when the last worker has.
//!
//! TERM and INT end it at once, QUIT once what is under way is done. HUP reloads, USR1 reopens the
//! logs, USR2 hands over to another binary (nginx: "Controlling nginx").

use std::cell::RefCell;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, JoinHandle};

use super::admin::{self, Admin, AdminServer, Demand};
use super::assemble::{Parts, assemble};
use super::blocking::{self, BRIEF, FILES, run_blocking};
use super::compiling::Compiling;
use super::connection_bounds;
use super::dynamic::DynamicUpstreams;
use super::error_log::ErrorLogs;
use super::inherited::Inherited;
use super::lists::{self, Listing};
use super::metrics;
use super::operator::{Change, ChangeRequest, Operator, Published};
use super::panics;
use super::plugins::{PluginRegistry, compiler};
use super::preparing::{Preparations, Preparing};
use super::refused_lists::leave_out;
use super::resolve::{self, Unknown};
use super::signals::{ChangeSignals, SignalEvent, Signals};
use super::sockets::{Sockets, remove_files};
use super::state::{self, Written};
use super::systemd;
use super::tls_files::TlsFiles;
use super::upgrade::{self, Knowledge, Program, Progress, Successor};
use super::watch::Watcher;
use super::workers::{WorkerEnd, Workers};
use crate::access_log::AccessLogs;
use crate::acme::Acme;
use crate::admin_api::ReloadCounts;
use crate::config;
use crate::config::model::{BindKind, Config};
use crate::config::problem::Problem;
use crate::data_plane::process::Process;
use crate::data_plane::scrapes::Scrapes;
use crate::data_plane::wanted::{Wanted, WantedUpstreams};
use crate::discovery::Sources;
use crate::fault_injection;
use crate::health::HealthThread;
use crate::names::{Names, Supposed};
use crate::plugin::Runtime;
use crate::store::Store;
use crate::traces::Exporters;

/// Before a worker that has died is replaced: one that dies at once must not keep the process busy.
const BREATH: Duration = Duration::from_millis(100);
/// How long workers have to end once they are told to close what is left. One that does not is in
/// something that never ends: the process does without it.
/// How often trials are looked at.
const TRIAL_LOOK: Duration = Duration::from_secs(1);

const STOPPED: Duration = Duration::from_secs(10);

/// Serves a configuration until a signal, or a command, ends it.
///
/// # Errors
/// Where it cannot begin to serve.
pub fn run(mut config: Config, file: &Path) -> anyhow::Result<ExitCode> {
    let mut inherited = Inherited::from_environment()?;
    let program = Program::this(file).context("cannot find out which program this is")?;
    let event_loop = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(blocking::THREADS)
        .build_local(Default::default())?;
    let early_signals = {
        let _within = event_loop.enter();
        ChangeSignals::new()?
    };
    let error_log = Rc::new(ErrorLogs::start(&config.server.error_log)?);
    panics::heed();
    for warning in config::warnings(&config, file) {
        tracing::warn!("{}", warning.as_warning());
    }
    let logs = Arc::new(AccessLogs::start().context("cannot start the access log's thread")?);
    let workers = config.server.workers;
    let bounds = connection_bounds(&config)?;
    let names =
        Names::start(inherited.names()).context("cannot start the thread that resolves names")?;
    let exporters = Arc::new(Exporters::new(Some(names.clone())));
    let store = Arc::new(Store::of(&config.store));
    (store.start(&names)).context("cannot start the thread that asks the store")?;
    let runtime = Runtime::with_store(compiler(&config)?, store)?;
    let sources = Sources::start(names.clone(), inherited.lists())
        .context("cannot start the thread that reads lists of servers")?;
    let written = match state::restore(&mut config) {
        Ok(written) => written,
        Err(problems) => return Ok(report(&problems)),
    };
    let listed = sources.learn_now(&config);
    let own = config.clone();
    lists::fill(&mut config, &sources, None);
    let mut learned = names.learn_now(resolve::names(&config));
    let Unknown {
        mut problems,
        warnings,
    } = Unknown::of(&config, &learned.unanswered);
    let registry = match PluginRegistry::new(runtime, &config) {
        Ok(registry) if problems.is_empty() => registry,
        plugins => {
            problems.extend(plugins.err().into_iter().flatten());
            return Ok(report(&problems));
        }
    };
    for warning in &warnings {
        tracing::warn!("{}", warning.as_warning());
    }
    let (binds, none) = (config.binds(), Sockets::default());
    let sockets = match Sockets::bind(&binds, workers, &none, &mut inherited, None) {
        Ok(sockets) => sockets,
        Err(problem) => return Ok(report(&[problem])),
    };
    let snapshot = loop {
        let plugins = registry.selection();
        let assembled = assemble(Parts {
            config: config.clone(),
            plugins: plugins.clone(),
            trials: registry.trials(),
            resolution: &learned.resolution,
            files: TlsFiles::Read,
            listeners: sockets.ids(),
            previous: None,
            logs: &logs,
            exporters: &exporters,
        });
        let resolution = &learned.resolution;
        match assembled {
            Ok(snapshot) => break Arc::new(snapshot),
            // Each time a list goes, so there is an end.
            Err(_) if leave_out(&mut config, &own, &sources, &plugins, resolution) => {
                learned = names.learn_now(resolve::names(&config));
            }
            Err(problems) => return Ok(report(&problems)),
        }
    };
    registry.note_serving(None);
    names.keep(resolve::names_to_follow(&snapshot.config), Supposed::new());
    sources.keep(&snapshot.config);
    // They are kept from here on, for as long as a configuration has them.
    let resolution = learned.resolution.clone();
    drop((listed, learned, own, config));
    let hostname = rustix::system::uname();
    let hostname = hostname.nodename().to_string_lossy().into_owned().into();
    let (wanted, heard) = WantedUpstreams::new();
    let (scrapes, asked) = Scrapes::new();
    let process = Arc::new(Process::new(bounds, workers, hostname, (wanted, scrapes)));
    let health = HealthThread::start(process.clone());
    let health = health.context("cannot start the thread that checks health")?;
    let (logs_to_close, exporters_to_close) = (logs.clone(), exporters.clone());
    let well: anyhow::Result<bool> = event_loop.block_on(async move {
        // Signals are handled, and commands answered, before any other process can know that we
        // serve.
        let signals = Signals::with(early_signals)?;
        let published = Arc::new(ArcSwap::from_pointee(Published {
            snapshot: snapshot.clone(),
            registry,
            addresses: sockets.addresses_of(BindKind::Listener),
            streams: sockets.addresses_of(BindKind::Stream),
            reloads: ReloadCounts::default(),
            resolution,
        }));
        let (changes, requested) = unbounded_channel();
        let (demands, demanded) = unbounded_channel();
        let (preparations, to_prepare) = Preparations::new();
        let (acme, certificates_written) = Acme::new();
        let (workers, ends) = Workers::start(&snapshot, &sockets, process, logs.clone())?;
        let mut control = Control {
            program,
            admin: None,
            watchdog: None,
            sockets: Rc::new(RefCell::new(sockets)),
            workers,
            published,
            changes,
            preparations,
            error_log,
            logs,
            exporters,
            file: file.to_owned(),
            cleaning_up: None,
            told_of_end: false,
            names,
            sources,
            acme,
        };
        let admin = Admin {
            published: control.published.clone(),
            workers: control.workers.stats().clone(),
            changes: control.changes.clone(),
            preparations: control.preparations.clone(),
            waits: Arc::new(Semaphore::new(admin::WAITS)),
            explains: Arc::new(Semaphore::new(admin::EXPLAINS)),
            demands,
            file: file.to_owned(),
            names: control.names.clone(),
            sources: control.sources.clone(),
            acme: control.acme.clone(),
            exporters: control.exporters.clone(),
            started: Instant::now(),
            events: control.error_log.events(),
        };
        tokio::task::spawn_local(metrics::heed(admin.clone(), asked));
        let listening = {
            let sockets = control.sockets.borrow(); // a clone would keep them open
            admin::listen(&snapshot.config, admin, &mut inherited, &sockets)
        };
        control.admin = match listening {
            Ok(admin) => admin,
            Err(problem) => {
                report(&[problem]);
                return Ok(false);
            }
        };
        let sources = control.sources.clone();
        let tell_of_lists = move || sources.files_changed();
        let watcher = Watcher::start(control.changes.clone(), tell_of_lists);
        watcher
            .follow(&snapshot.config, snapshot.watched_files())
            .await;
        tokio::task::spawn_local(control.operator(watcher, health, written).run(requested));
        tokio::task::spawn_local(control.preparing().run(to_prepare));
        control.heed_quarantines();
        control.heed_trials();
        control.heed_names();
        control.heed_sources();
        control.heed_requests(heard);
        control.heed_certificates(certificates_written);
        control.acme.follow(&snapshot.config);
        for address in control.sockets.borrow().addresses() {
            tracing::info!("listening on {address}");
        }
        let tell = move || {
            inherited.we_serve();
            systemd::ready();
        };
        if let Some(period) = systemd::watchdog() {
            let workers = control.workers.clone();
            let answering = tokio::task::spawn_local(systemd::answer_watchdog(period, workers));
            control.watchdog = Some(answering.abort_handle());
        }
        if let Err(late) = run_blocking("telling that this process serves", FILES, tell).await {
            tracing::error!("{late}");
        }
        drop(snapshot); // or it would be kept, with its plugin instances, whatever is served later
        control.serve(signals, demanded, ends).await
    });
    exporters_to_close.close();
    logs_to_close.close();
    tracing::info!("stopped");
    // Whatever still waits for a disk or a name server is not waited for.
    event_loop.shutdown_background();
    Ok(match well? {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// What the main loop uses.
struct Control {
    workers: Rc<Workers>,
    sockets: Rc<RefCell<Sockets>>,
    published: Arc<ArcSwap<Published>>,
    changes: UnboundedSender<ChangeRequest>,
    preparations: Preparations,
    program: Program,
    admin: Option<AdminServer>,
    /// What answers systemd's watchdog.
    watchdog: Option<AbortHandle>,
    error_log: Rc<ErrorLogs>,
    logs: Arc<AccessLogs>,
    exporters: Arc<Exporters>,
    file: std::path::PathBuf,
    names: Names,
    sources: Sources,
    acme: Acme,
    /// What is done before the process ends.
    cleaning_up: Option<JoinHandle<()>>,
    /// Systemd knows that the process is about to end.
    told_of_end: bool,
}

/// How far the end of the process has come.
enum Shutdown {
    NotYet,
    /// Everything goes on until then, for load balancers to see that it is about to end.
    Delayed(tokio::time::Instant),
    /// What is under way is finished, however long that takes.
    WhenDone,
    /// What is under way then is closed.
    By(tokio::time::Instant),
    /// All is being closed; who has not ended then is left behind.
    Now(tokio::time::Instant),
}

impl Control {
    fn operator(&self, watcher: Watcher, health: HealthThread, written: Written) -> Operator {
        Operator {
            file: self.file.clone(),
            workers: self.workers.clone(),
            logs: self.logs.clone(),
            exporters: self.exporters.clone(),
            error_log: self.error_log.clone(),
            sockets: self.sockets.clone(),
            published: self.published.clone(),
            watcher,
            names: self.names.clone(),
            health,
            sources: self.sources.clone(),
            written,
            compiling: Compiling::new(self.changes.clone()),
            preparations: self.preparations.clone(),
            acme: self.acme.clone(),
            supposed: Supposed::new(),
        }
    }

    fn preparing(&self) -> Preparing {
        Preparing {
            file: self.file.clone(),
            published: self.published.clone(),
            workers: self.workers.stats().clone(),
            names: self.names.clone(),
            sources: self.sources.clone(),
            changes: self.changes.clone(),
        }
    }

    /// Has the operator deal with plugins that are put into quarantine.
    fn heed_quarantines(&self) {
        let runtime = self.published.load().registry.runtime.clone();
        let changes = self.changes.clone();
        tokio::task::spawn_local(async move {
            loop {
                runtime.quarantine().await;
                if changes.send((Change::Quarantine, None)).is_err() {
                    return;
                }
            }
        });
    }

    /// Has the operator end trials that are over: looks at what came of them once a second.
    fn heed_trials(&self) {
        let (published, changes) = (self.published.clone(), self.changes.clone());
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(TRIAL_LOOK).await;
                let trials = published.load().registry.trials();
                if trials.iter().all(|trial| trial.why_over().is_none()) {
                    continue;
                }
                let (done, ended) = tokio::sync::oneshot::channel();
                if changes.send((Change::TrialsOver, Some(done))).is_err() {
                    return;
                }
                // Its outcome is in the log.
                let _ = ended.await;
            }
        });
    }

    /// Has the operator serve other addresses as soon as names stand for others: one change after
    /// the other, for as many names as have changed meanwhile.
    fn heed_names(&self) {
        let (names, changes) = (self.names.clone(), self.changes.clone());
        tokio::task::spawn_local(async move {
            loop {
                names.changed().await;
                let (done, served) = tokio::sync::oneshot::channel();
                if changes.send((Change::NamesChanged, Some(done))).is_err() {
                    return;
                }
                // Its outcome is in the log.
                let _ = served.await;
            }
        });
    }

    /// The same for lists of servers.
    fn heed_sources(&self) {
        let listing = Listing {
            published: self.published.clone(),
            names: self.names.clone(),
            sources: self.sources.clone(),
            changes: self.changes.clone(),
        };
        tokio::task::spawn_local(listing.heed());
    }

    /// Has the operator serve certificates that were ordered, whether or not their files are noticed:
    /// a directory that several machines share may tell of nothing.
    fn heed_certificates(&self, mut written: UnboundedReceiver<()>) {
        let changes = self.changes.clone();
        tokio::task::spawn_local(async move {
            while written.recv().await.is_some() {
                while written.try_recv().is_ok() {}
                let (done, served) = tokio::sync::oneshot::channel();
                if changes.send((Change::TlsFilesChanged, Some(done))).is_err() {
                    return;
                }
                // Its outcome is in the log.
                let _ = served.await;
            }
        });
    }

    /// Has the operator serve the upstreams that requests name.
    fn heed_requests(&self, wanted: UnboundedReceiver<Wanted>) {
        let making = DynamicUpstreams::new(
            self.published.clone(),
            self.workers.stats().clone(),
            self.names.clone(),
            self.changes.clone(),
        );
        tokio::task::spawn_local(making.heed(wanted));
    }

    /// Heeds signals and commands until the last worker has ended. True if all of them ended well.
    async fn serve(
        mut self,
        mut signals: Signals,
        mut demands: UnboundedReceiver<Demand>,
        mut ends: UnboundedReceiver<WorkerEnd>,
    ) -> anyhow::Result<bool> {
        let (mut ending, mut has_left_behind) = (Shutdown::NotYet, false);
        let mut successor = Successor::default();
        loop {
            fault_injection::panics("control");
            let deadline = async {
                match ending {
                    Shutdown::Delayed(moment) | Shutdown::By(moment) | Shutdown::Now(moment) => {
                        tokio::time::sleep_until(moment).await;
                    }
                    Shutdown::NotYet | Shutdown::WhenDone => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(end) = ends.recv() => {
                    if end.unasked {
                        tokio::time::sleep(BREATH).await;
                    }
                    let snapshot = self.published.load().snapshot.clone();
                    if self.workers.ended(&end, &snapshot, &self.sockets.borrow()) {
                        break;
                    }
                }
                () = deadline => match ending {
                    Shutdown::Now(_) => {
                        tracing::error!("a worker does not answer: the process ends without it");
                        has_left_behind = true;
                        break;
                    }
                    Shutdown::Delayed(_) => self.drain(&mut ending, false),
                    _ => {
                        tracing::warn!("shutdown_timeout has passed: closing what is left");
                        self.close(&mut ending);
                    }
                },
                progress = successor.progress() => match progress {
                    Progress::Due(asker) => self.start(&mut successor, asker),
                    Progress::Ended(outcome) => self.upgraded(outcome, &mut ending),
                },
                Some(demand) = demands.recv() => match demand {
                    Demand::Stop => self.stop(&mut ending, &mut successor),
                    Demand::Drain => self.drain_unless_upgrading(&mut ending, &successor),
                    Demand::Upgrade(asker) => self.upgrade(&mut successor, Some(asker)),
                    Demand::TellStates { upstream, answer } => {
                        self.workers.ask_states(upstream, answer);
                    }
                },
                event = signals.next() => match event {
                    SignalEvent::Terminate if self.delays(&ending) => {
                        self.drain_unless_upgrading(&mut ending, &successor);
                    }
                    SignalEvent::Stop | SignalEvent::Terminate => {
                        self.stop(&mut ending, &mut successor);
                    }
                    SignalEvent::Drain => self.drain_unless_upgrading(&mut ending, &successor),
                    // Their outcome is in the log.
                    SignalEvent::Reload => self.preparations.reload(None),
                    SignalEvent::Upgrade => self.upgrade(&mut successor, None),
                    SignalEvent::Reopen => self.reopen(),
                },
            }
        }
        if let Some(admin) = self.admin.take() {
            admin.end().await;
        }
        if let Some(cleaning_up) = self.cleaning_up.take() {
            // It has a limit of its own.
            let _ = cleaning_up.await;
        }
        Ok(!has_left_behind && self.workers.join())
    }

    fn stop(&mut self, ending: &mut Shutdown, successor: &mut Successor) {
        tracing::info!("stopping");
        successor.abandon();
        self.let_go_of_sockets(false);
        self.close(ending);
    }

    /// Has the workers close what is under way.
    fn close(&self, ending: &mut Shutdown) {
        self.workers.stop();
        // A second signal gives them no more time.
        if !matches!(ending, Shutdown::Now(_)) {
            *ending = Shutdown::Now(tokio::time::Instant::now() + STOPPED);
        }
    }

    /// While another process starts, a drain is part of the upgrade: without that process nobody would
    /// serve.
    fn drain_unless_upgrading(&mut self, ending: &mut Shutdown, successor: &Successor) {
        match successor.is_starting() {
            true => tracing::info!(
                "this process drains once the new one serves, and goes on if that fails"
            ),
            false => self.drain_in_a_while(ending),
        }
    }

    /// How long a drain goes on accepting.
    fn shutdown_delay(&self) -> Duration {
        self.published.load().snapshot.config.server.shutdown_delay
    }

    /// Whether a drain that was asked for now would wait for load balancers.
    fn delays(&self, ending: &Shutdown) -> bool {
        matches!(ending, Shutdown::NotYet) && !self.shutdown_delay().is_zero()
    }

    /// Has load balancers told, and drains once the `shutdown_delay` is over, or at once where this
    /// is asked for again.
    fn drain_in_a_while(&mut self, ending: &mut Shutdown) {
        if !self.delays(ending) {
            return self.drain(ending, false);
        }
        let delay = self.shutdown_delay();
        tracing::info!("no longer ready: draining in {delay:?}");
        self.workers.stats().process().leave();
        // Its `TimeoutStopSec` has begun, if it was its stop, and else begins with this.
        self.told_of_end = true;
        tokio::task::spawn_local(async {
            if let Err(late) = run_blocking("telling systemd", BRIEF, systemd::stopping).await {
                tracing::error!("{late}");
            }
        });
        *ending = Shutdown::Delayed(tokio::time::Instant::now() + delay);
    }

    /// `handed_over`: to another process, which serves or is about to; then clients that connect
    /// meanwhile wait for it.
    fn drain(&mut self, ending: &mut Shutdown, handed_over: bool) {
        if self.workers.stats().is_ending() {
            return;
        }
        tracing::info!("draining: finishing what is under way");
        self.acme.stop();
        if !handed_over {
            self.workers.stats().process().leave();
        }
        let limit = self
            .published
            .load()
            .snapshot
            .config
            .server
            .shutdown_timeout;
        *ending = limit.map_or(Shutdown::WhenDone, |limit| {
            Shutdown::By(tokio::time::Instant::now() + limit)
        });
        self.let_go_of_sockets(handed_over);
        self.workers.drain();
    }

    /// Nothing is accepted any more. Unix sockets leave no file behind, unless another process
    /// listens there now.
    fn let_go_of_sockets(&mut self, handed_over: bool) {
        let sockets = self.sockets.take();
        if handed_over {
            self.admin.iter_mut().for_each(AdminServer::hand_over);
            // From here on systemd is to hear of the other process alone.
            self.watchdog.iter().for_each(AbortHandle::abort);
            return;
        }
        let files = sockets.files();
        let told = std::mem::replace(&mut self.told_of_end, true);
        let clean_up = move || {
            if !told {
                systemd::stopping();
            }
            remove_files(&files);
        };
        self.cleaning_up = Some(tokio::task::spawn_local(async {
            if let Err(late) = run_blocking("removing files of sockets", BRIEF, clean_up).await {
                tracing::error!("{late}");
            }
        }));
    }

    /// From now on nothing is changed that the new process would not have, and what is being changed is
    /// waited for.
    fn upgrade(&self, successor: &mut Successor, asker: Option<upgrade::Asker>) {
        if self.workers.stats().is_draining() {
            return upgrade::refuse(asker, "the process is about to end");
        }
        if successor.is_starting() {
            return upgrade::refuse(asker, "an upgrade is under way");
        }
        self.workers.stats().note_upgrading(true);
        let (done, made) = tokio::sync::oneshot::channel();
        // Where there is no operator any more, nothing is under way.
        let _ = self.changes.send((Change::Nothing, Some(done)));
        successor.wait(made, asker);
    }

    fn start(&self, successor: &mut Successor, asker: Option<upgrade::Asker>) {
        let admin = self.admin.as_ref().and_then(AdminServer::socket);
        let own_names = resolve::names_of_its_own(&self.published.load().snapshot.config);
        let known = Knowledge {
            names: self.names.handed_on(&own_names),
            lists: self.sources.handed_on(),
        };
        successor.start(&self.program, &self.sockets.borrow(), admin, known, asker);
        let is_starting = successor.is_starting();
        self.workers.stats().note_upgrading(is_starting);
    }

    /// Changes are made again, if this process goes on.
    fn upgraded(&mut self, outcome: Result<u32, String>, ending: &mut Shutdown) {
        self.workers.stats().note_upgrading(false);
        match outcome {
            Ok(pid) => {
                tracing::info!("process {pid} has taken over the listeners");
                self.drain(ending, true);
            }
            Err(error) => {
                tracing::error!("the upgrade has failed, this process goes on: {error}");
            }
        }
    }

    fn reopen(&self) {
        let (error_log, logs) = (self.error_log.file(), self.logs.clone());
        let reopen = move || {
            if let Some(error_log) = error_log {
                error_log.reopen();
            }
            logs.reopen()
        };
        tokio::task::spawn_local(async {
            match run_blocking("reopening the logs", FILES, reopen).await {
                Ok(Ok(())) => {}
                Ok(Err(problems)) => problems
                    .iter()
                    .for_each(|problem| tracing::error!("{problem}")),
                Err(late) => return tracing::error!("{late}"),
            }
            tracing::info!("logs reopened");
        });
    }
}

fn report(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        eprintln!("{problem}\n");
    }
    ExitCode::FAILURE
}
