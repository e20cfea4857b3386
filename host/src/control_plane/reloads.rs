//! Reloads, one after the other. What the names of a new configuration stand for and what its
//! sources list is learned here, beside all other changes: name servers and sources may be dead.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use super::blocking::{FILES, run_blocking};
use super::check;
use super::lists;
use super::operator::{Change, ChangeRefused, ChangeRequest, ChangeResult, Published};
use super::panics::{Panicked, caught};
use super::resolve;
use super::state;
use super::workers::WorkerCounts;
use crate::config::model::Config;
use crate::config::problem::Problem;
use crate::discovery::{HeldSources, Sources};
use crate::names::{Learned, Names};

/// A configuration that was read.
pub(super) struct NewConfig {
    /// As the file has it.
    pub(super) config: Config,
    /// What its names stand for.
    pub(super) learned: Learned,
    pub(super) asked: Instant,
    _held: HeldSources,
}

/// Where the outcome of a reload is awaited, if anywhere.
pub(super) type ReloadRequest = Option<oneshot::Sender<ChangeResult>>;

/// Reads the configuration for each reload, and has the operator serve it.
pub(super) struct Reloads {
    pub(super) file: PathBuf,
    pub(super) published: Arc<ArcSwap<Published>>,
    pub(super) workers: WorkerCounts,
    pub(super) names: Names,
    pub(super) sources: Sources,
    pub(super) changes: mpsc::UnboundedSender<ChangeRequest>,
}

impl Reloads {
    /// One after the other, since a file that was read before another one must not be served after it.
    /// One that nobody waits for is left to another one behind it.
    pub(super) async fn run(self, mut requests: mpsc::UnboundedReceiver<ReloadRequest>) {
        let mut waiting = VecDeque::new();
        loop {
            while let Ok(request) = requests.try_recv() {
                waiting.push_back(request);
            }
            let next = match waiting.pop_front() {
                None => requests.recv().await,
                next => next,
            };
            let Some(asker) = next else { return };
            if asker.is_none() && waiting.iter().any(Option::is_none) {
                continue;
            }
            let outcome = self.reload().await;
            if let Some(asker) = asker {
                // The caller may have gone meanwhile.
                let _ = asker.send(outcome);
            }
        }
    }

    async fn reload(&self) -> ChangeResult {
        let read = tokio::select! {
            read = caught(self.read()) => read.unwrap_or_else(|Panicked| Err(ChangeRefused::given_up())),
            () = self.workers.ending() => Err(ChangeRefused::ending()),
        };
        let (done, served) = oneshot::channel();
        let change = Change::Reload(read.map(Box::new));
        if self.changes.send((change, Some(done))).is_err() {
            return Err(ChangeRefused::ending());
        }
        served
            .await
            .unwrap_or_else(|_| Err(ChangeRefused::ending()))
    }

    /// The file as it is now, with all that has to be asked for.
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
        drop(served); // or it would be kept for as long as name servers take
        let learned = self.names.learn(resolve::names(&with_state)).await;
        Ok(NewConfig {
            config,
            learned,
            asked,
            _held: held,
        })
    }
}
