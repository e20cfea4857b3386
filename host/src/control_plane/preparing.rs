//! What a change needs and may take long is had here, beside all other changes: name servers and
//! sources may be dead, a component may take minutes to compile. One reload is prepared after the
//! other, and served before the next one is; so is one load of a plugin after the other. Neither
//! waits for the other: who comes second looks again at what it has.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::blocking::{FILES, run_blocking};
use super::check;
use super::dynamic;
use super::lists;
use super::loading::{LoadError, Loaded, loading_limit};
use super::operator::{Change, ChangeRefused, ChangeRequest, ChangeResult, Changed, Published};
use super::panics::{Panicked, caught};
use super::reloads::NewConfig;
use super::resolve;
use super::state;
use super::workers::WorkerCounts;
use crate::config::model::{Config, TrialTerms};
use crate::config::problem::Problem;
use crate::discovery::Sources;
use crate::names::Names;
use crate::plugin::{Hash, Plugin, SignedIn};

/// Has changes prepared, and then made.
#[derive(Clone)]
pub(super) struct Preparations {
    reloads: mpsc::UnboundedSender<Option<Asker>>,
    loads: mpsc::UnboundedSender<Load>,
}

/// What is to be prepared.
pub(super) struct Requests {
    reloads: mpsc::UnboundedReceiver<Option<Asker>>,
    loads: mpsc::UnboundedReceiver<Load>,
}

/// Where the outcome of a change is awaited.
type Asker = oneshot::Sender<ChangeResult>;

/// A component that came with a command.
#[derive(Clone)]
pub(super) struct Uploaded {
    pub(super) bytes: Arc<[u8]>,
    /// In minisign's format.
    pub(super) signature: Option<Arc<str>>,
}

/// A version of a plugin that is to be loaded.
enum Load {
    Component {
        name: String,
        component: Uploaded,
        /// It is to be tried on these terms, or else to serve.
        tried: Option<TrialTerms>,
        asker: Asker,
        /// So that those which wait here are counted, whoever has asked and left.
        leave: OwnedSemaphorePermit,
    },
    /// What the plugin's file holds now, if that is something else. No caller waits for the outcome.
    File { name: String },
}

// The receivers are there as long as the process is; who asks later hears that it ends.
impl Preparations {
    pub(super) fn new() -> (Preparations, Requests) {
        let (reloads, of_reloads) = mpsc::unbounded_channel();
        let (loads, of_loads) = mpsc::unbounded_channel();
        let requests = Requests {
            reloads: of_reloads,
            loads: of_loads,
        };
        (Preparations { reloads, loads }, requests)
    }

    /// Has the configuration read anew. Its outcome is in the log as well.
    pub(super) fn reload(&self, asker: Option<Asker>) {
        let _ = self.reloads.send(asker);
    }

    /// Has a version of a plugin loaded, to serve or to be tried, unless its asker leaves before that
    /// begins.
    pub(super) fn load(
        &self,
        name: String,
        component: Uploaded,
        tried: Option<TrialTerms>,
        asker: Asker,
        leave: OwnedSemaphorePermit,
    ) {
        let _ = self.loads.send(Load::Component {
            name,
            component,
            tried,
            asker,
            leave,
        });
    }

    /// Has a version of a plugin loaded: what its file holds now, if that is something else.
    pub(super) fn load_file(&self, name: String) {
        let _ = self.loads.send(Load::File { name });
    }
}

/// How often a change is prepared, where versions of its plugins come into force meanwhile.
const ATTEMPTS: usize = 3;

/// Prepares changes, and has the operator make them.
pub(super) struct Preparing {
    pub(super) file: PathBuf,
    pub(super) published: Arc<ArcSwap<Published>>,
    pub(super) workers: WorkerCounts,
    pub(super) names: Names,
    pub(super) sources: Sources,
    pub(super) changes: mpsc::UnboundedSender<ChangeRequest>,
}

impl Preparing {
    pub(super) async fn run(self, requests: Requests) {
        tokio::join!(
            self.reload_all(requests.reloads),
            self.load_all(requests.loads)
        );
    }

    /// All reloads that have been asked for by then are one.
    async fn reload_all(&self, mut requests: mpsc::UnboundedReceiver<Option<Asker>>) {
        while let Some(first) = requests.recv().await {
            let mut askers = Vec::from_iter(first);
            while let Ok(behind) = requests.try_recv() {
                askers.extend(behind);
            }
            let outcome = self.reload().await;
            for asker in askers {
                // The caller may have gone meanwhile.
                let _ = asker.send(outcome.clone());
            }
        }
    }

    /// Reads the configuration and has it served. It is read again where another version of one of its
    /// plugins came into force meanwhile.
    async fn reload(&self) -> ChangeResult {
        let outcome = until_not_overtaken(async || {
            let read = self.prepared(true, self.read()).await;
            self.change(Change::Reload(read.map(Box::new))).await
        });
        let outcome = outcome.await;
        if let Err(refusal @ ChangeRefused::Overtaken) = &outcome {
            tracing::error!("reload refused, everything stays as it was: {refusal}");
        }
        outcome
    }

    async fn load_all(&self, mut requests: mpsc::UnboundedReceiver<Load>) {
        while let Some(load) = requests.recv().await {
            match load {
                Load::Component { asker, .. } if asker.is_closed() => {}
                Load::Component {
                    name,
                    component,
                    tried,
                    asker,
                    leave: _leave,
                } => {
                    let outcome = self.load(name, Some(component), tried).await;
                    let _ = asker.send(outcome);
                }
                // Its outcome is in the log.
                Load::File { name } => drop(self.load(name, None, None).await),
            }
        }
    }

    /// What a change needs, unless that is not wanted any more. `is_asked_for`: by somebody, who is told
    /// at once that another process starts; see [`Operator::run`](super::operator::Operator::run).
    async fn prepared<T>(
        &self,
        is_asked_for: bool,
        work: impl Future<Output = Result<T, ChangeRefused>>,
    ) -> Result<T, ChangeRefused> {
        if is_asked_for && self.workers.is_upgrading() {
            return Err(ChangeRefused::upgrading());
        }
        tokio::select! {
            done = caught(work) => done.unwrap_or_else(|Panicked| Err(ChangeRefused::given_up())),
            () = self.workers.ending() => Err(ChangeRefused::ending()),
        }
    }

    /// Has the operator make a change, and waits until it has.
    async fn change(&self, change: Change) -> ChangeResult {
        let (done, served) = oneshot::channel();
        if self.changes.send((change, Some(done))).is_err() {
            return Err(ChangeRefused::ending());
        }
        served
            .await
            .unwrap_or_else(|_| Err(ChangeRefused::ending()))
    }

    /// Loads a version of a plugin: this component, or what its file holds, unless that was tried. It
    /// is loaded again where another version or another configuration came into force meanwhile.
    async fn load(
        &self,
        name: String,
        component: Option<Uploaded>,
        tried: Option<TrialTerms>,
    ) -> ChangeResult {
        let began = Instant::now();
        let is_asked_for = component.is_some();
        let outcome = until_not_overtaken(async || {
            let version = self.version(&name, component.clone());
            let loaded = self.prepared(is_asked_for, version).await?;
            let Some((loaded, file)) = loaded else {
                return Ok(Changed::default());
            };
            let (name, loaded) = (name.clone(), loaded.map(Box::new));
            let change = match tried {
                Some(terms) => Change::Try {
                    name,
                    loaded,
                    terms,
                },
                None => Change::Load {
                    name,
                    loaded,
                    file,
                    began,
                },
            };
            self.change(change).await
        });
        let outcome = outcome.await;
        if let Err(refusal @ ChangeRefused::Overtaken) = &outcome {
            tracing::error!(plugin = name, "plugin `{name}` not loaded: {refusal}");
        }
        outcome
    }

    /// A version of a plugin, and the hash of its file if that has it. None if the file has nothing
    /// new.
    async fn version(
        &self,
        name: &str,
        component: Option<Uploaded>,
    ) -> Result<Option<(Result<Plugin, LoadError>, Option<Hash>)>, ChangeRefused> {
        let registry = self.published.load().registry.clone();
        let entry = registry.get(name).and_then(|entry| entry.config.as_ref());
        let limit = loading_limit(entry);
        let name = name.to_owned();
        let load = move || match component {
            Some(Uploaded { bytes, signature }) => {
                let signature = SignedIn::Text(signature.as_deref());
                Some((registry.next_version(&name, &bytes, signature), None))
            }
            None => {
                let (loaded, hash) = registry.version_of_file(&name)?;
                Some((loaded, Some(hash)))
            }
        };
        let loaded = run_blocking("loading the plugin", limit, load).await;
        Ok(loaded.unwrap_or_else(|late| Some((Err(LoadError::Late(late)), None))))
    }

    /// The configuration as its file is now, with all that has to be asked for and compiled.
    async fn read(&self) -> Result<NewConfig, ChangeRefused> {
        let asked = Instant::now();
        let file = self.file.clone();
        let load = move || {
            let config = check::load(&file)?;
            // Commands may change what is kept until the configuration is served: it is read again then.
            let mut with_state = config.clone();
            state::restore(&mut with_state)?;
            Ok::<_, Vec<Problem>>((config, with_state))
        };
        let (config, mut with_state) =
            run_blocking("reading the configuration", FILES, load).await??;
        let held = self.sources.learn(&with_state).await;
        let served = self.published.load().snapshot.clone();
        lists::fill(&mut with_state, &self.sources, Some(&served.config));
        dynamic::carry_over(&served.config, &mut with_state);
        let resolution = self.published.load().resolution.clone();
        let supposed = resolve::supposed(&served.config, &resolution, &with_state);
        drop(served); // or it would be kept for as long as name servers take
        let names = resolve::names_to_follow(&with_state);
        let learned = self.names.learn_supposing(names, supposed);
        let (learned, loaded) = tokio::join!(learned, self.plugins(with_state));
        Ok(NewConfig {
            config,
            asked,
            learned,
            sources: held,
            loaded: loaded?,
        })
    }

    /// The plugins that a configuration has, and that are not loaded.
    async fn plugins(&self, config: Config) -> Result<Loaded, ChangeRefused> {
        let registry = self.published.load().registry.clone();
        let limit = loading_limit(&config.plugins);
        let load = move || registry.load_ahead(&config);
        Ok(run_blocking("loading plugins", limit, load).await?)
    }
}

/// Prepares a change and makes it; again, where another one of its plugins came into force meanwhile.
async fn until_not_overtaken(mut change: impl AsyncFnMut() -> ChangeResult) -> ChangeResult {
    for _ in 0..ATTEMPTS {
        match change().await {
            Err(ChangeRefused::Overtaken) => {}
            outcome => return outcome,
        }
    }
    Err(ChangeRefused::Overtaken)
}
