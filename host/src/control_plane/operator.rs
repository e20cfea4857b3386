//! Changes what is served while it is served: reloads, plugins, servers. One change after the
//! other, each whole or not at all.
//!
//! All ways to change something end in the same place, [`Operator::publish`], with a [`Plan`] of
//! what goes with the configuration. Nothing here blocks: see [`blocking`](super::blocking).

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use super::blocking::{FILES, run_blocking};
use super::compiling::Compiling;
use super::dynamic::{self, DynamicChange};
use super::error_log::ErrorLogs;
use super::lists::ChangedLists;
use super::loading::LoadError;
use super::panics::{Panicked, caught};
use super::plugins::PluginRegistry;
use super::preparing::Preparations;
use super::publish::Plan;
use super::reloads::NewConfig;
use super::resolve;
use super::servers::ServerChange;
use super::sockets::Sockets;
use super::state::Written;
use super::tls_files::{Secured, TlsFiles};
use super::watch::Watcher;
use super::workers::Workers;
use crate::access_log::AccessLogs;
use crate::acme::Acme;
use crate::admin_api::ReloadCounts;
use crate::config::model::TrialTerms;
use crate::config::problem::Problem;
use crate::data_plane::worker_config::Snapshot;
use crate::discovery::{HeldSources, Sources};
use crate::fault_injection;
use crate::health::HealthThread;
use crate::names::{Learned, Names, Resolution, Supposed};
use crate::plugin::{Hash, Plugin, PluginError};
use crate::traces::Exporters;

/// A change that is asked for. What has to be learned for it from others, who may be slow or dead,
/// comes with it.
pub(super) enum Change {
    /// Serve the configuration as it was read anew, or tell why it cannot be.
    Reload(Result<Box<NewConfig>, ChangeRefused>),
    /// Put a version of a plugin in force that was loaded, or tell why it cannot be.
    Load {
        name: String,
        loaded: Result<Box<Plugin>, LoadError>,
        /// The hash of the plugin's file, if that has it; then nobody asks for it.
        file: Option<Hash>,
        /// When loading it began.
        began: Instant,
    },
    /// The file of a plugin may have changed. No caller waits for the outcome.
    FileChanged { name: String },
    /// Certificates, keys or authorities have changed. No caller waits for the outcome.
    TlsFilesChanged,
    /// Files have changed that settings of plugins name, or that are error pages. No caller waits for
    /// the outcome.
    FilesChanged,
    /// Names stand for other addresses. No caller waits for the outcome.
    NamesChanged,
    /// Sources list other servers. No caller waits for the outcome.
    ListsChanged(ChangedLists),
    /// Files with lists of servers may have changed, and with them the links on the way to them. No
    /// caller waits for the outcome.
    ListFilesChanged,
    /// A plugin whose fallback serves has been compiled, or cannot be. No caller waits for it.
    Compiled {
        name: String,
        /// The hash of its file when that began.
        read: Hash,
        loaded: Result<Box<Plugin>, PluginError>,
    },
    /// Try a version of a plugin that was loaded, or tell why it cannot be.
    Try {
        name: String,
        loaded: Result<Box<Plugin>, LoadError>,
        terms: TrialTerms,
    },
    /// Put the version on trial in force.
    Promote { name: String },
    /// End a trial.
    Withdraw { name: String },
    /// Trials are over: end them. No caller waits for the outcome.
    TrialsOver,
    /// Return to the version before.
    RollBack { name: String },
    /// Plugins were put into quarantine: return to the versions before.
    Quarantine,
    /// Change an upstream's servers: until the next reload, or for good where it has a `state`.
    Servers {
        upstream: String,
        change: ServerChange,
    },
    /// Requests have named upstreams, or do so no longer.
    Dynamic(DynamicChange),
    /// Once it is made, so are all changes before it.
    Nothing,
}

/// What was learned for a change, and is looked after until that is served.
#[derive(Default)]
pub(super) struct Held {
    pub(super) _names: Option<Learned>,
    pub(super) _sources: Option<HeldSources>,
}

impl Change {
    fn held(&self) -> Held {
        let of_names = |names: Option<&Learned>| Held {
            _names: names.cloned(),
            ..Held::default()
        };
        match self {
            Change::Reload(Ok(new)) => new.held(),
            Change::ListsChanged(changed) => of_names(changed.learned.as_ref()),
            Change::Servers {
                change: ServerChange::Add { learned, .. },
                ..
            } => of_names(Some(learned)),
            _ => Held::default(),
        }
    }
}

/// What came of it.
pub(super) type ChangeResult = Result<Changed, ChangeRefused>;

/// It is served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) generation: u64,
    /// What the configuration says and this process cannot do, or what is hardly meant.
    pub(super) warnings: Vec<String>,
}

/// Nothing has changed.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum ChangeRefused {
    #[error("the configuration has no {0}")]
    Unknown(String),
    #[error("{0}")]
    Conflict(String),
    #[error("{summary}")]
    Problems {
        summary: String,
        problems: Vec<Problem>,
    },
    #[error("{0}")]
    Failed(String),
    /// Another change of a plugin came into force while this one was prepared.
    #[error(
        "other versions of its plugins, or another configuration, came into force meanwhile: ask again"
    )]
    Overtaken,
}

impl ChangeRefused {
    /// With the first of its problems, and where that is.
    pub(super) fn in_one_line(&self) -> String {
        match self {
            ChangeRefused::Problems { problems, .. } => match &problems[..] {
                [] => self.to_string(),
                [only] => format!("{self}: {}", only.in_one_line()),
                [first, ..] => format!("{self}, the first is: {}", first.in_one_line()),
            },
            other => other.to_string(),
        }
    }

    /// Nothing is changed any more.
    pub(super) fn ending() -> ChangeRefused {
        ChangeRefused::Conflict("the process is about to end".to_owned())
    }

    /// The process that starts would not have the change.
    pub(super) fn upgrading() -> ChangeRefused {
        let message = "an upgrade is under way, and the new process would not have the change: ask again \
                       once it is over";
        ChangeRefused::Conflict(message.to_owned())
    }

    /// It ended in a panic.
    pub(super) fn given_up() -> ChangeRefused {
        let message = "given up after an internal error, which the error log tells of";
        ChangeRefused::Failed(message.to_owned())
    }
}

impl From<Vec<Problem>> for ChangeRefused {
    fn from(problems: Vec<Problem>) -> ChangeRefused {
        let summary = problems.first().map(|first| first.message.clone());
        ChangeRefused::Problems {
            summary: summary.unwrap_or_default(),
            problems,
        }
    }
}

/// What is in force, readable from any thread.
pub(super) struct Published {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) registry: PluginRegistry,
    pub(super) addresses: Vec<String>,
    /// Where streams are accepted.
    pub(super) streams: Vec<String>,
    pub(super) reloads: ReloadCounts,
    /// What the names of its servers stand for.
    pub(super) resolution: Resolution,
}

/// Makes changes. Lives on the control plane's thread.
pub(super) struct Operator {
    pub(super) file: PathBuf,
    pub(super) workers: Rc<Workers>,
    pub(super) logs: Arc<AccessLogs>,
    pub(super) exporters: Arc<Exporters>,
    pub(super) error_log: Rc<ErrorLogs>,
    pub(super) sockets: Rc<std::cell::RefCell<Sockets>>,
    pub(super) published: Arc<ArcSwap<Published>>,
    pub(super) watcher: Watcher,
    pub(super) names: Names,
    pub(super) health: HealthThread,
    pub(super) sources: Sources,
    /// What the file said of servers when it was last read.
    pub(super) written: Written,
    pub(super) compiling: Compiling,
    pub(super) preparations: Preparations,
    pub(super) acme: Acme,
    /// What names are taken to stand for that the change under way brings with it.
    pub(super) supposed: Supposed,
}

/// A change, and where its outcome is awaited.
pub(super) type ChangeRequest = (Change, Option<oneshot::Sender<ChangeResult>>);

impl Operator {
    /// Makes changes, in the order in which they are asked for.
    pub(super) async fn run(mut self, mut requests: mpsc::UnboundedReceiver<ChangeRequest>) {
        self.compiling.begin(&self.published.load().registry);
        self.keep_names();
        self.health
            .follow(&self.published.load().snapshot.upstreams);
        self.keep_sources();
        while let Some((change, asker)) = requests.recv().await {
            let held = change.held();
            // Drains and stops are not the operator's; but nothing is changed any more once they
            // have begun.
            let allowed = self.not_ending().and_then(|()| self.not_lost(&change));
            let outcome = match allowed {
                Err(refusal) => {
                    tracing::warn!("nothing is changed: {refusal}");
                    Err(refusal)
                }
                // Each change builds what is new before it puts that in force, in one step: what a
                // panic leaves is the configuration before, or the new one.
                Ok(()) => caught(self.apply(change))
                    .await
                    .unwrap_or_else(|Panicked| Err(ChangeRefused::given_up())),
            };
            self.compiling.begin(&self.published.load().registry);
            // Those of a change that was refused are among them no longer.
            self.keep_names();
            self.keep_sources();
            drop(held);
            if let Some(asker) = asker {
                // The caller may have gone meanwhile.
                let _ = asker.send(outcome);
            }
        }
    }

    /// Refuses, once the process is about to end.
    pub(super) fn not_ending(&self) -> Result<(), ChangeRefused> {
        match self.workers.stats().is_ending() {
            true => Err(ChangeRefused::ending()),
            false => Ok(()),
        }
    }

    /// Refuses what somebody asks for while another process starts, which would not have it.
    fn not_lost(&self, change: &Change) -> Result<(), ChangeRefused> {
        let is_asked_for = matches!(
            change,
            Change::Reload(_)
                | Change::Load { file: None, .. }
                | Change::RollBack { .. }
                | Change::Try { .. }
                | Change::Promote { .. }
                | Change::Withdraw { .. }
                | Change::Servers { .. }
        );
        match is_asked_for && self.workers.stats().is_upgrading() {
            true => Err(ChangeRefused::upgrading()),
            false => Ok(()),
        }
    }

    async fn apply(&mut self, change: Change) -> ChangeResult {
        fault_injection::panics("change");
        match change {
            Change::Reload(read) => self.reload(read).await,
            Change::Load {
                name,
                loaded,
                file,
                began,
            } => self.load(&name, loaded, file, began).await,
            Change::FileChanged { name } => self.file_changed(name).await,
            Change::TlsFilesChanged => self.tls_files_changed().await,
            Change::FilesChanged => self.files_changed().await,
            Change::NamesChanged => self.names_changed().await,
            Change::ListsChanged(changed) => self.lists_changed(&changed).await,
            Change::ListFilesChanged => self.list_files_changed().await,
            Change::Compiled { name, read, loaded } => self.compiled(&name, read, loaded).await,
            Change::Try {
                name,
                loaded,
                terms,
            } => self.try_version(&name, loaded, terms).await,
            Change::Promote { name } => self.promote(&name).await,
            Change::Withdraw { name } => self.withdraw(&name).await,
            Change::TrialsOver => self.end_trials().await,
            Change::RollBack { name } => self.roll_back(&name).await,
            Change::Quarantine => {
                self.leave_quarantine().await;
                Ok(Changed::default())
            }
            Change::Servers { upstream, change } => self.change_servers(&upstream, change).await,
            Change::Dynamic(change) => self.change_dynamic(change).await,
            Change::Nothing => Ok(Changed::default()),
        }
    }

    /// Reads error pages again, and the files that settings of plugins name: their instances hear of
    /// what has changed before their next call.
    async fn files_changed(&mut self) -> ChangeResult {
        let snapshot = self.published.load_full().snapshot.clone();
        self.watcher
            .follow(&snapshot.config, snapshot.watched_files())
            .await;
        let read = run_blocking("reading files again", FILES, move || {
            snapshot.page_files.refresh();
            for (whose, files) in snapshot.plugin_files() {
                if files.refresh() {
                    tracing::info!("files of {whose} were read again");
                }
            }
        });
        read.await?;
        Ok(Changed::default())
    }

    /// Serves with what the files of certificates hold now, unless they cannot be used: then those
    /// before go on.
    async fn tls_files_changed(&mut self) -> ChangeResult {
        let present = self.published.load_full();
        let snapshot = present.snapshot.clone();
        self.watcher
            .follow(&snapshot.config, snapshot.watched_files())
            .await;
        let read = run_blocking("reading certificates", FILES, move || {
            let before = Some((&*snapshot, snapshot.listeners.as_slice()));
            let config = &snapshot.config;
            let read = Secured::read(config, before, TlsFiles::Read, &mut Vec::new())?;
            Ok::<_, Vec<Problem>>(read.is_served(&snapshot))
        });
        let outcome = match read.await? {
            Ok(true) => return Ok(Changed::default()),
            Ok(false) => {
                let plan = Plan {
                    files: TlsFiles::Read,
                    ..Plan::of(&present)
                };
                self.publish(present.snapshot.config.clone(), plan).await
            }
            Err(problems) => Err(problems.into()),
        };
        match outcome {
            Ok(generation) => {
                tracing::info!("certificates loaded again: generation {generation}");
                Ok(Changed {
                    generation,
                    ..Changed::default()
                })
            }
            Err(refusal) => {
                tracing::error!("certificates not loaded, those before go on: {refusal}");
                if let ChangeRefused::Problems { problems, .. } = &refusal {
                    problems
                        .iter()
                        .for_each(|problem| tracing::error!("{problem}"));
                }
                Err(refusal)
            }
        }
    }

    /// Serves the addresses that names stand for now.
    async fn names_changed(&mut self) -> ChangeResult {
        let present = self.published.load_full();
        let resolution = present.resolution.updated(&self.names.resolution());
        let config = &present.snapshot.config;
        let servers = config
            .upstreams
            .iter()
            .flat_map(|upstream| &upstream.servers);
        let mut addresses = servers.map(|server| {
            let before = present.resolution.addresses(server);
            before == resolution.addresses(server)
        });
        if addresses.all(|same| same) {
            return Ok(Changed::default());
        }
        let plan = Plan {
            resolution,
            ..Plan::of(&present)
        };
        let outcome = self.publish(config.clone(), plan).await;
        if let Err(refusal) = &outcome {
            tracing::error!("other addresses not served, those before go on: {refusal}");
        }
        Ok(Changed {
            generation: outcome?,
            ..Changed::default()
        })
    }

    /// Has those names looked after that are served, and no others.
    fn keep_names(&mut self) {
        let published = self.published.load();
        let supposed = std::mem::take(&mut self.supposed);
        let names = resolve::names_to_follow(&published.snapshot.config);
        self.names.keep(names, supposed);
    }
}

impl Operator {
    /// Serves upstreams that requests have named, and those no longer that none has named for long.
    async fn change_dynamic(&mut self, change: DynamicChange) -> ChangeResult {
        let present = self.published.load_full();
        let now = self.workers.stats().clock().seconds();
        let (config, resolution) = dynamic::changed(&present, change, now);
        let plan = Plan {
            resolution,
            ..Plan::of(&present)
        };
        let outcome = self.publish(config, plan).await;
        if let Err(refusal) = &outcome {
            tracing::error!("upstreams that requests have named are not served: {refusal}");
        }
        let published = self.published.load();
        for upstream in &published.snapshot.upstreams {
            // One that is new is not idle.
            if upstream.config.dynamic.is_some() && upstream.used() == (0, 0) {
                upstream.note_use(now);
            }
        }
        Ok(Changed {
            generation: outcome?,
            ..Changed::default()
        })
    }
}
