//! The thread: a task for each upstream whose servers are listed elsewhere.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet, LocalSet, spawn_local};
use tokio::time::{sleep_until, timeout_at};

use super::client::Client;
use super::disk::on_a_thread;
use super::handed_on::{self, Seeds};
use super::known::{self, Change, Known, List, SourceState};
use super::reader::{Again, MOST, reader};
use crate::config::model::{Config, NamedFile, UpstreamConfig, UpstreamServer};
use crate::config::{ListFormat, list_items};
use crate::fault_injection;
use crate::file::{self, Replacement};
use crate::names::Names;

/// How long all sources together are waited for before something is done without them.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before the thread begins anew.
const BREATH: Duration = Duration::from_secs(1);

/// The servers that a source lists.
pub(crate) type Listed = Arc<[UpstreamServer]>;

/// Looks after sources. Its thread ends when it is dropped.
#[derive(Clone)]
pub(crate) struct Sources {
    commands: UnboundedSender<Command>,
    shared: Arc<Shared>,
}

enum Command {
    Learn(Vec<Wanted>, oneshot::Sender<()>),
    Keep(Vec<Wanted>),
    FilesChanged,
}

/// An upstream whose servers are listed elsewhere, as far as the list's meaning depends on it.
#[derive(Clone)]
struct Wanted(Arc<UpstreamConfig>);

impl Wanted {
    fn of(config: &Config) -> Vec<Wanted> {
        let listed = config.upstreams.iter();
        let listed = listed.filter(|upstream| upstream.source.is_some());
        let wanted = listed.map(|upstream| {
            Wanted(Arc::new(UpstreamConfig {
                servers: Vec::new(),
                overlays: Vec::new(),
                ..upstream.clone()
            }))
        });
        wanted.collect()
    }

    /// Whether a list of this one is a list of the other.
    fn is(&self, other: &UpstreamConfig) -> bool {
        let own = &*self.0;
        (&own.name, &own.source, &own.tls, &own.resolver)
            == (&other.name, &other.source, &other.tls, &other.resolver)
    }
}

/// What the thread knows, for all others to see.
#[derive(Default)]
struct Shared {
    /// By upstream. Two of one name: a configuration is read that has another source for it.
    seen: Mutex<BTreeMap<String, Vec<Seen>>>,
    /// What the process before knew. Until the first configuration is served.
    seeds: Mutex<Seeds>,
    changed: Notify,
}

struct Seen {
    wanted: Wanted,
    list: Option<List>,
    state: SourceState,
    /// A list that cannot be served, for reasons that the list does not tell, and why.
    refused: Option<(Listed, String)>,
}

impl Sources {
    /// Starts the thread. `known`: what [`handed_on`](Sources::handed_on) was before, if anything.
    ///
    /// # Errors
    /// The kernel has none.
    pub(crate) fn start(names: Names, known: &str) -> std::io::Result<Sources> {
        let (commands, received) = unbounded_channel();
        let shared = Arc::new(Shared {
            seeds: Mutex::new(handed_on::read(known)),
            ..Shared::default()
        });
        let sources = Sources {
            commands,
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new().name("discovery".to_owned());
        thread.spawn(move || run(&shared, &names, received))?;
        Ok(sources)
    }

    /// Looks after the sources of a configuration from now on, and waits for the lists that are not
    /// known yet: each as long as its `timeout` says, and all of them for half a minute.
    pub(crate) async fn learn(&self, config: &Config) {
        // Without its thread, which only ends with the process, nothing is learned.
        let _ = self.ask(config).await;
    }

    /// As [`learn`](Sources::learn), where nothing else is to be done meanwhile.
    pub(crate) fn learn_now(&self, config: &Config) {
        let _ = self.ask(config).blocking_recv();
    }

    fn ask(&self, config: &Config) -> oneshot::Receiver<()> {
        let (answer, awaited) = oneshot::channel();
        let _ = self
            .commands
            .send(Command::Learn(Wanted::of(config), answer));
        awaited
    }

    /// Looks after the sources of this configuration from now on, and no others.
    pub(crate) fn keep(&self, config: &Config) {
        let _ = self.commands.send(Command::Keep(Wanted::of(config)));
    }

    /// Files with lists may have changed.
    pub(crate) fn files_changed(&self) {
        let _ = self.commands.send(Command::FilesChanged);
    }

    /// The servers that an upstream's source lists; none where that is not known, or cannot be
    /// served.
    pub(crate) fn listed(&self, upstream: &UpstreamConfig) -> Option<Listed> {
        self.shared.with(upstream, |seen| {
            let listed = &seen.list.as_ref()?.servers;
            let refused = seen.refused.as_ref();
            let is_refused = refused.is_some_and(|(refused, _)| Arc::ptr_eq(refused, listed));
            (!is_refused).then(|| listed.clone())
        })?
    }

    /// Notes that a list cannot be served: it is not tried again.
    pub(crate) fn refuse(&self, upstream: &UpstreamConfig, listed: Listed, why: String) {
        self.shared
            .with(upstream, |seen| seen.refused = Some((listed, why)));
    }

    /// What came of reading an upstream's list; nothing for one that is not looked after.
    pub(crate) fn state(&self, upstream: &UpstreamConfig) -> Option<SourceState> {
        self.shared.with(upstream, |seen| {
            let mut state = seen.state.clone();
            if let Some((_, why)) = &seen.refused {
                state.why.get_or_insert_with(|| why.clone());
            }
            state
        })
    }

    /// What it knows, for another process to [start](Sources::start) with.
    pub(crate) fn handed_on(&self) -> String {
        let seen = self.shared.seen.lock();
        let lists = seen.iter().filter_map(|(name, seen)| {
            let list = seen.iter().find_map(|seen| seen.list.as_ref())?;
            Some((name, &*list.items))
        });
        handed_on::written(lists)
    }

    /// Waits until [`Sources::listed`] is another one for any upstream.
    pub(crate) async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}

impl Shared {
    fn with<T>(&self, upstream: &UpstreamConfig, use_it: impl FnOnce(&mut Seen) -> T) -> Option<T> {
        let mut seen = self.seen.lock();
        let mut of_name = seen.get_mut(&upstream.name)?.iter_mut();
        of_name.find(|seen| seen.wanted.is(upstream)).map(use_it)
    }

    /// What is known before the first answer: of its own task before it began anew, of another
    /// source of the same upstream, or of the process before.
    fn before(&self, wanted: &Wanted) -> Option<List> {
        let name = &wanted.0.name;
        let items = {
            let seen = self.seen.lock();
            let mut of_name = seen.get(name).into_iter().flatten();
            of_name.find_map(|seen| Some(seen.list.as_ref()?.items.to_vec()))
        };
        let items = items.or_else(|| self.seeds.lock().get(name).cloned())?;
        Some(known::read(items, &wanted.0).ok()?.0)
    }

    /// All that is looked after.
    fn wanted(&self) -> Vec<Wanted> {
        let seen = self.seen.lock();
        let wanted = seen.values().flatten().map(|seen| seen.wanted.clone());
        wanted.collect()
    }

    fn note(&self, wanted: &Wanted, known: &Known) {
        let (list, state) = (known.list.clone(), known.state.clone());
        let mut seen = self.seen.lock();
        let of_name = seen.entry(wanted.0.name.clone()).or_default();
        match of_name.iter_mut().find(|seen| seen.wanted.is(&wanted.0)) {
            Some(seen) => {
                let is_other = |(refused, _): &mut (Listed, String)| {
                    let now = list.as_ref().map(|list| &list.servers);
                    now.is_none_or(|now| !Arc::ptr_eq(now, refused))
                };
                seen.refused.take_if(is_other);
                seen.list = list;
                seen.state = state;
            }
            None => of_name.push(Seen {
                wanted: wanted.clone(),
                list,
                state,
                refused: None,
            }),
        }
    }
}

/// The thread. A panic of ours, or of a library, costs what was under way.
fn run(shared: &Arc<Shared>, names: &Names, mut commands: UnboundedReceiver<Command>) {
    loop {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!("lists of servers cannot be read: {error}");
                std::thread::sleep(BREATH);
                continue;
            }
        };
        let tasks = Tasks {
            following: Rc::new(Following {
                shared: shared.clone(),
                names: names.clone(),
            }),
            running: JoinSet::new(),
            list: Vec::new(),
            by_id: HashMap::new(),
        };
        let work = AssertUnwindSafe(|| {
            LocalSet::new().block_on(&runtime, tasks.heed(&mut commands));
        });
        if catch_unwind(work).is_ok() {
            return;
        }
        tracing::error!("reading lists of servers begins anew after an internal error");
    }
}

/// What all tasks use.
struct Following {
    shared: Arc<Shared>,
    names: Names,
}

/// The sources that are looked after.
struct Tasks {
    following: Rc<Following>,
    running: JoinSet<()>,
    list: Vec<Task>,
    by_id: HashMap<Id, Wanted>,
}

struct Task {
    wanted: Wanted,
    running: AbortHandle,
    told: Rc<Notify>,
    /// There was an answer, or none could be had.
    answered: watch::Receiver<bool>,
}

impl Tasks {
    /// Until nobody is left who could command anything.
    async fn heed(mut self, commands: &mut UnboundedReceiver<Command>) {
        let before = self.following.shared.wanted();
        for wanted in before {
            self.look_after(wanted);
        }
        loop {
            fault_injection::panics("discovery");
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Learn(wanted, answer)) => self.learn(wanted, answer),
                    Some(Command::Keep(wanted)) => self.keep(&wanted),
                    Some(Command::FilesChanged) => {
                        self.list.iter().for_each(|task| task.told.notify_one());
                    }
                    None => return,
                },
                Some(Err(ended)) = self.running.join_next_with_id() => self.ended(&ended),
            }
        }
    }

    /// A task has ended: it was not wanted any more, or has panicked.
    fn ended(&mut self, ended: &JoinError) {
        let Some(wanted) = self.by_id.remove(&ended.id()) else {
            return;
        };
        if ended.is_panic() {
            let name = &wanted.0.name;
            tracing::error!("upstream `{name}`: its list is read anew after an internal error");
            self.list.retain(|task| !task.wanted.is(&wanted.0));
            self.look_after(wanted);
        }
    }

    /// Begins to look after a source, unless it does already.
    fn look_after(&mut self, wanted: Wanted) -> watch::Receiver<bool> {
        let mut list = self.list.iter();
        if let Some(task) = list.find(|task| task.wanted.is(&wanted.0)) {
            return task.answered.clone();
        }
        let (answered, awaited) = watch::channel(false);
        let told = Rc::new(Notify::new());
        let (following, followed, of_task) = (self.following.clone(), wanted.clone(), told.clone());
        let work = async move { following.follow(&followed, &of_task, &answered).await };
        let running = self.running.spawn_local(work);
        self.by_id.insert(running.id(), wanted.clone());
        self.list.push(Task {
            wanted,
            running,
            told,
            answered: awaited.clone(),
        });
        awaited
    }

    fn keep(&mut self, wanted: &[Wanted]) {
        // By name first: there may be a thousand of them.
        let by_name: HashMap<&str, &Wanted> = wanted
            .iter()
            .map(|wanted| (&*wanted.0.name, wanted))
            .collect();
        let stays = |wanted: &Wanted| {
            let of_name = by_name.get(&*wanted.0.name);
            of_name.is_some_and(|of_name| of_name.is(&wanted.0))
        };
        self.list.retain(|task| {
            let stays = stays(&task.wanted);
            if !stays {
                task.running.abort();
            }
            stays
        });
        let shared = &self.following.shared;
        shared.seeds.lock().clear();
        shared.seen.lock().retain(|_, seen| {
            seen.retain(|seen| stays(&seen.wanted));
            !seen.is_empty()
        });
    }

    fn learn(&mut self, wanted: Vec<Wanted>, answer: oneshot::Sender<()>) {
        let answers = wanted.into_iter().map(|wanted| self.look_after(wanted));
        let mut answers: Vec<_> = answers.collect();
        spawn_local(async move {
            let until = tokio::time::Instant::now() + PATIENCE;
            for answered in &mut answers {
                // One that is late, or gone, is done without.
                let _ = timeout_at(until, answered.wait_for(|is| *is)).await;
            }
            // Whoever asked may have given up meanwhile.
            let _ = answer.send(());
        });
    }
}

impl Following {
    /// Reads a list again and again.
    async fn follow(&self, wanted: &Wanted, told: &Notify, answered: &watch::Sender<bool>) {
        let upstream = &*wanted.0;
        let Some(source) = &upstream.source else {
            return;
        };
        let mut kept = Kept::of(source.keep.as_ref());
        let before = self.shared.before(wanted);
        let (before, was_kept) = match before {
            Some(list) => (Some(list), false),
            None => (kept.read(upstream).await, true),
        };
        let mut known = Known::before(before, was_kept);
        let client = Client::new(source, upstream.resolver.clone(), self.names.clone());
        let mut reader = reader(source, client);
        self.shared.note(wanted, &known);
        if known.list.is_some() {
            self.shared.changed.notify_one();
            answered.send_replace(true);
        }
        // What is in the file before it is watched is read at the start.
        let random = RefCell::new(fastrand::Rng::new());
        loop {
            let again = match reader.next().await {
                Ok(answer) => {
                    let change = known.answered(answer.items, upstream, Instant::now());
                    match change {
                        Change::Refused => reader.refuse(),
                        Change::List | Change::None => {}
                    }
                    self.shared.note(wanted, &known);
                    if change == Change::List {
                        self.shared.changed.notify_one();
                    }
                    if change != Change::Refused {
                        kept.write(known.list.as_ref(), upstream).await;
                    }
                    answer.again
                }
                Err(why) => {
                    known.failed(why, upstream);
                    Again::After(known.wait(random.borrow_mut().f64()))
                }
            };
            known.state.next = match again {
                Again::After(wait) => Some(Instant::now() + wait),
                Again::Now | Again::WhenTold => None,
            };
            self.shared.note(wanted, &known);
            answered.send_replace(true);
            match (again, known.state.next) {
                (Again::WhenTold, _) => told.notified().await,
                (_, Some(next)) => tokio::select! {
                    () = sleep_until(next.into()) => {}
                    () = told.notified() => {}
                },
                _ => {}
            }
            known.state.next = None;
            self.shared.note(wanted, &known);
        }
    }
}

/// The last good list on a disk.
struct Kept<'a> {
    file: Option<&'a NamedFile>,
    written: Option<Arc<[Json]>>,
    /// That it cannot be written was said.
    is_told: bool,
}

impl<'a> Kept<'a> {
    fn of(file: Option<&'a NamedFile>) -> Kept<'a> {
        Kept {
            file,
            written: None,
            is_told: false,
        }
    }

    async fn read(&self, upstream: &UpstreamConfig) -> Option<List> {
        let path = &self.file?.path;
        let owned = path.clone();
        let read = on_a_thread(move || file::read_regular(&owned, MOST as u64)).await;
        let bytes = match read.flatten() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tell_unread(path, upstream, &error.to_string());
                return None;
            }
        };
        let items = list_items(&bytes, ListFormat::Json);
        match items.and_then(|items| known::read(items, upstream)) {
            Ok((list, _)) => Some(list),
            Err(why) => {
                tell_unread(path, upstream, &why);
                None
            }
        }
    }

    /// Writes a list, unless that is what the file has.
    async fn write(&mut self, list: Option<&List>, upstream: &UpstreamConfig) {
        let Some((file, list)) = self.file.zip(list) else {
            return;
        };
        if self
            .written
            .as_ref()
            .is_some_and(|written| *written == list.items)
        {
            return;
        }
        let (path, text) = (file.path.clone(), as_text(&list.items));
        let write = move || Replacement::prepare(&path, text.as_bytes())?.put_in_place();
        match on_a_thread(write).await.flatten() {
            Ok(()) => {
                self.written = Some(list.items.clone());
                self.is_told = false;
            }
            Err(error) if !self.is_told => {
                self.is_told = true;
                let (name, path) = (&upstream.name, file.path.display());
                tracing::error!("upstream `{name}`: its list cannot be kept in `{path}`: {error}");
            }
            Err(_) => {}
        }
    }
}

fn tell_unread(path: &Path, upstream: &UpstreamConfig, why: &str) {
    let (name, path) = (&upstream.name, path.display());
    tracing::error!("upstream `{name}`: the list kept in `{path}` cannot be used: {why}");
}

/// A list as the text of a file, a line for each server.
fn as_text(items: &[Json]) -> String {
    let lines: Vec<String> = items.iter().map(|item| format!("  {item}")).collect();
    match lines.is_empty() {
        true => json!({ "servers": [] }).to_string() + "\n",
        false => format!("{{\"servers\": [\n{}\n]}}\n", lines.join(",\n")),
    }
}
