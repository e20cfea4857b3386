//! The thread, and what it looks after: a task for each authority. Nothing waits for it: whatever an
//! authority or a disk does, what is served goes on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::authority::{Asker, Authority, Followed, Told};
use super::renewal;
use crate::config::model::{AcmeAuthority, Config};
use crate::event_loop;

/// After a panic, or where there is no event loop to be had.
const BREATH: Duration = Duration::from_secs(60);

/// Orders certificates. Clones are the same; the thread ends with the last of them.
#[derive(Clone)]
pub(crate) struct Acme {
    commands: UnboundedSender<Command>,
    /// What the thread is to have, until it is started.
    followed: Arc<Mutex<Option<UnboundedReceiver<Command>>>>,
    shared: Arc<Shared>,
}

enum Command {
    /// What is to be had, by the folders of authorities.
    Follow(BTreeMap<PathBuf, OfAuthority>),
    Renew(String, Asker),
}

/// The domains of an authority, and their files.
type OfAuthority = (Arc<AcmeAuthority>, BTreeMap<String, Followed>);

/// How a certificate does that is ordered here.
#[derive(Debug, Clone)]
pub(crate) struct OrderStatus {
    pub(crate) domain: String,
    /// The URL of the authority's directory.
    pub(crate) directory: String,
    /// `valid`, `waiting` for the first one, `ordering`, `failing`.
    pub(crate) state: &'static str,
    /// When it is ordered next, in seconds since 1970.
    pub(crate) next: i64,
    pub(crate) last_error: Option<String>,
}

/// Orders so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrderCounts {
    pub(crate) issued: u64,
    pub(crate) failed: u64,
}

/// What tasks tell others.
pub(super) struct Shared {
    /// By file.
    statuses: Mutex<BTreeMap<PathBuf, OrderStatus>>,
    issued: AtomicU64,
    failed: AtomicU64,
    written: UnboundedSender<()>,
}

impl Shared {
    pub(super) fn new(written: UnboundedSender<()>) -> Arc<Shared> {
        Arc::new(Shared {
            statuses: Mutex::default(),
            issued: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            written,
        })
    }

    pub(super) fn note(&self, file: PathBuf, status: OrderStatus) {
        self.statuses.lock().insert(file, status);
    }

    pub(super) fn count(&self, issued: bool) {
        let counter = if issued { &self.issued } else { &self.failed };
        counter.fetch_add(1, Relaxed);
    }

    /// There is a certificate that was not there before.
    pub(super) fn tell(&self) {
        // Where nobody serves it any more, the process ends.
        let _ = self.written.send(());
    }
}

impl Acme {
    /// What has nothing to do yet; its thread starts with the first certificate. The receiver hears
    /// that certificates were written.
    pub(crate) fn new() -> (Acme, UnboundedReceiver<()>) {
        let (written, heard) = unbounded_channel();
        let (commands, followed) = unbounded_channel();
        let acme = Acme {
            commands,
            followed: Arc::new(Mutex::new(Some(followed))),
            shared: Shared::new(written),
        };
        (acme, heard)
    }

    /// Looks after the certificates of this configuration, and no others.
    pub(crate) fn follow(&self, config: &Config) {
        let mut wanted = BTreeMap::<PathBuf, OfAuthority>::new();
        for acme in config.acme() {
            let authority = acme.authority.clone();
            let files = acme.certificates.iter();
            let files = files.map(|of| {
                let (file, key_type) = (of.file.path.clone(), of.key_type);
                (of.domain.clone(), Followed { file, key_type })
            });
            // The account is that of the first listener that names the authority.
            let entry = wanted.entry(authority.folder());
            let (_, known) = entry.or_insert_with(|| (authority, BTreeMap::new()));
            known.extend(files);
        }
        self.send(wanted);
    }

    /// Orders nothing any more: the process ends, and another one may do it.
    pub(crate) fn stop(&self) {
        self.send(BTreeMap::new());
    }

    fn send(&self, wanted: BTreeMap<PathBuf, OfAuthority>) {
        let of_wanted = |file: &PathBuf, _: &mut OrderStatus| {
            let mut files = wanted.values().flat_map(|(_, files)| files.values());
            files.any(|known| known.file == *file)
        };
        let mut statuses = self.shared.statuses.lock();
        statuses.retain(of_wanted);
        for (authority, files) in wanted.values() {
            for (domain, file) in files {
                // Until its task has had a look at it.
                let new = || OrderStatus {
                    domain: domain.clone(),
                    directory: authority.directory.clone(),
                    state: "waiting",
                    next: renewal::now(),
                    last_error: None,
                };
                statuses.entry(file.file.clone()).or_insert_with(new);
            }
        }
        drop(statuses);
        let mut followed = self.followed.lock();
        if wanted.is_empty() && followed.is_some() {
            return; // nobody would ever hear it
        }
        if let Some(followed) = followed.take() {
            let shared = self.shared.clone();
            let thread = std::thread::Builder::new().name("acme".to_owned());
            if let Err(error) = thread.spawn(move || run(&shared, followed)) {
                tracing::error!("no certificate can be ordered without a thread: {error}");
            }
        }
        // Without its thread there is nothing to be done.
        let _ = self.commands.send(Command::Follow(wanted));
    }

    /// Has a certificate ordered at once, and hears what came of it.
    pub(crate) fn renew(&self, domain: String) -> oneshot::Receiver<Result<(), String>> {
        let (asker, outcome) = oneshot::channel();
        let _ = self.commands.send(Command::Renew(domain, asker));
        outcome
    }

    /// How those do that are ordered, by file.
    pub(crate) fn statuses(&self) -> BTreeMap<PathBuf, OrderStatus> {
        self.shared.statuses.lock().clone()
    }

    pub(crate) fn counts(&self) -> OrderCounts {
        OrderCounts {
            issued: self.shared.issued.load(Relaxed),
            failed: self.shared.failed.load(Relaxed),
        }
    }
}

const LOGGED: event_loop::Names = event_loop::Names {
    cannot: "no certificate can be ordered",
    doing: "ordering certificates",
};

/// The thread. A panic of ours costs the orders that were under way.
fn run(shared: &Arc<Shared>, mut commands: UnboundedReceiver<Command>) {
    let (mut last, mut has_begun) = (BTreeMap::new(), false);
    event_loop::run(&LOGGED, BREATH, async || {
        // An authority is not to be asked again and again by what fails each time.
        if std::mem::replace(&mut has_begun, true) {
            tokio::time::sleep(BREATH).await;
        }
        let mut authorities = Authorities {
            shared: shared.clone(),
            running: BTreeMap::new(),
        };
        authorities.heed(&mut last, &mut commands).await;
    });
}

/// The tasks.
struct Authorities {
    shared: Arc<Shared>,
    /// By folder.
    running: BTreeMap<PathBuf, Running>,
}

struct Running {
    told: UnboundedSender<Told>,
    task: AbortHandle,
    domains: Vec<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Authorities {
    async fn heed(
        &mut self,
        last: &mut BTreeMap<PathBuf, OfAuthority>,
        commands: &mut UnboundedReceiver<Command>,
    ) {
        self.follow(last);
        loop {
            match timeout(BREATH, commands.recv()).await {
                Ok(Some(Command::Follow(wanted))) => {
                    self.follow(&wanted);
                    *last = wanted;
                }
                Ok(Some(Command::Renew(domain, asker))) => self.renew(domain, asker, last),
                Ok(None) => return,
                // A task that has ended in a panic is begun anew.
                Err(_) => self.follow(last),
            }
        }
    }

    fn follow(&mut self, wanted: &BTreeMap<PathBuf, OfAuthority>) {
        self.running.retain(|folder, _| wanted.contains_key(folder));
        for (folder, (settings, files)) in wanted {
            let domains: Vec<String> = files.keys().cloned().collect();
            let is_new = match self.running.get(folder) {
                Some(running) => running.task.is_finished(),
                None => true,
            };
            if is_new {
                let (told, hears) = unbounded_channel();
                let authority = Authority::new(settings.clone(), self.shared.clone());
                let task = tokio::task::spawn_local(authority.run(hears));
                let running = Running {
                    told,
                    task: task.abort_handle(),
                    domains: Vec::new(),
                };
                self.running.insert(folder.clone(), running);
            }
            if let Some(running) = self.running.get_mut(folder) {
                running.domains = domains;
                let told = Told::Follow(settings.clone(), files.clone());
                // One that has panicked meanwhile is begun anew.
                let _ = running.told.send(told);
            }
        }
    }

    fn renew(&mut self, domain: String, asker: Asker, last: &BTreeMap<PathBuf, OfAuthority>) {
        self.follow(last);
        let mut running = self.running.values();
        let of_domain = running.find(|running| running.domains.contains(&domain));
        if let Some(running) = of_domain {
            let _ = running.told.send(Told::Renew(domain, asker));
        }
    }
}
