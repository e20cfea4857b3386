//! The thread: a task for each upstream whose servers are listed elsewhere.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet, spawn_local};
use tokio::time::timeout_at;

use super::handed_on;
use super::known::{self, SourceState};
use super::shared::{Listed, Seen, Shared, Wanted};
use super::source::{Told, follow};
use crate::config::model::{Config, UpstreamConfig};
use crate::event_loop;
use crate::fault_injection;
use crate::names::Names;

/// How long all sources together are waited for before something is done without them.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before the thread begins anew.
const BREATH: Duration = Duration::from_secs(1);

/// Looks after sources. Its thread ends when it is dropped.
#[derive(Clone)]
pub(crate) struct Sources {
    commands: UnboundedSender<Command>,
    shared: Arc<Shared>,
}

enum Command {
    Learn(Arc<[Wanted]>, oneshot::Sender<()>),
    Release(Arc<[Wanted]>),
    Keep(Vec<Wanted>),
    Served,
    FilesChanged,
}

/// Sources that are looked after until this and its clones are dropped, whatever is
/// [kept](Sources::keep) meanwhile.
#[derive(Clone)]
#[must_use]
pub(crate) struct HeldSources {
    _hold: Arc<Hold>,
}

struct Hold {
    sources: Arc<[Wanted]>,
    commands: UnboundedSender<Command>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Release(self.sources.clone()));
    }
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
    pub(crate) async fn learn(&self, config: &Config) -> HeldSources {
        let (held, answer) = self.ask(config);
        // Without its thread, which only ends with the process, nothing is learned.
        let _ = answer.await;
        held
    }

    /// As [`learn`](Sources::learn), where nothing else is to be done meanwhile.
    pub(crate) fn learn_now(&self, config: &Config) -> HeldSources {
        let (held, answer) = self.ask(config);
        let _ = answer.blocking_recv();
        held
    }

    fn ask(&self, config: &Config) -> (HeldSources, oneshot::Receiver<()>) {
        let sources: Arc<[Wanted]> = Wanted::of(config).into();
        let (answer, awaited) = oneshot::channel();
        let _ = self.commands.send(Command::Learn(sources.clone(), answer));
        let hold = Hold {
            sources,
            commands: self.commands.clone(),
        };
        let held = HeldSources {
            _hold: Arc::new(hold),
        };
        (held, awaited)
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
        self.shared
            .with(upstream, |seen| Some(seen.servable()?.servers.clone()))?
    }

    /// What was known of an upstream's list before its source answered, if anything.
    pub(crate) fn listed_before(&self, upstream: &UpstreamConfig) -> Option<Listed> {
        self.shared
            .with(upstream, |seen| Some(seen.before.as_ref()?.servers.clone()))?
    }

    /// Whether the process before serves a list of this upstream; known until one is
    /// [kept](Sources::keep).
    pub(crate) fn is_handed_on(&self, upstream: &UpstreamConfig) -> bool {
        self.shared.seeds.lock().contains_key(&upstream.name)
    }

    /// Notes which lists this configuration is served with. `has`: whether an upstream has the
    /// servers of a list.
    pub(crate) fn note_served(
        &self,
        config: &Config,
        has: impl Fn(&UpstreamConfig, &Listed) -> bool,
    ) {
        let mut is_other = false;
        let of_sources = config.upstreams.iter();
        for upstream in of_sources.filter(|upstream| upstream.source.is_some()) {
            let unserved = self.shared.with(upstream, |seen| seen.unserved());
            let mut unserved = unserved.into_iter().flatten();
            if let Some(list) = unserved.find(|list| has(upstream, &list.servers)) {
                let is_news = self.shared.with(upstream, |seen| seen.note_served(&list));
                if is_news == Some(true) {
                    known::tell_served(&list, upstream);
                }
                is_other = true;
            }
        }
        if is_other {
            let _ = self.commands.send(Command::Served);
        }
    }

    /// Has lists looked at again that were refused, or came while a configuration was read that they
    /// are for.
    pub(crate) fn look_again(&self) {
        for seen in self.shared.seen.lock().values_mut().flatten() {
            seen.refused = None;
        }
        self.shared.changed.notify_one();
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

    /// The lists that are served, for another process to [start](Sources::start) with.
    pub(crate) fn handed_on(&self) -> String {
        let seen = self.shared.seen.lock();
        let lists = seen.iter().filter_map(|(name, seen)| {
            let list = seen.iter().find_map(|seen| seen.served.as_ref())?;
            Some((name, &*list.items))
        });
        handed_on::written(lists)
    }

    /// Waits until [`Sources::listed`] is another one for any upstream.
    pub(crate) async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}

const LOGGED: event_loop::Names = event_loop::Names {
    cannot: "lists of servers cannot be read",
    doing: "reading lists of servers",
};

/// The thread. A panic of ours, or of a library, costs what was under way.
fn run(shared: &Arc<Shared>, names: &Names, mut commands: UnboundedReceiver<Command>) {
    let mut last = Vec::new();
    event_loop::run(&LOGGED, BREATH, async || {
        let tasks = Tasks {
            following: Rc::new(Following {
                shared: shared.clone(),
                names: names.clone(),
            }),
            running: JoinSet::new(),
            list: Vec::new(),
            by_id: HashMap::new(),
        };
        tasks.heed(&mut last, &mut commands).await;
    });
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
    told: Rc<Told>,
    /// There was an answer, or none could be had.
    answered: watch::Receiver<bool>,
    /// How many want it to be looked after at present, whether or not it is kept.
    holders: usize,
}

impl Tasks {
    /// Until nobody is left who could command anything. Begins with the sources that were looked
    /// after last.
    async fn heed(mut self, last: &mut Vec<Wanted>, commands: &mut UnboundedReceiver<Command>) {
        for wanted in &*last {
            self.look_after(wanted.clone());
        }
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Learn(wanted, answer)) => self.learn(&wanted, answer),
                    Some(Command::Release(held)) => self.release(&held, last),
                    Some(Command::Keep(wanted)) => {
                        self.keep(&wanted);
                        *last = wanted;
                    }
                    Some(Command::FilesChanged) => {
                        self.list.iter().for_each(|task| task.told.changed.notify_one());
                    }
                    Some(Command::Served) => {
                        self.list.iter().for_each(|task| task.told.served.notify_one());
                    }
                    None => return,
                },
                Some(Err(ended)) = self.running.join_next_with_id() => self.ended(&ended),
            }
            fault_injection::panics("discovery");
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
        let told = Rc::new(Told::default());
        let (following, followed, of_task) = (self.following.clone(), wanted.clone(), told.clone());
        let work = async move {
            fault_injection::panics("list");
            let Following { shared, names } = &*following;
            follow(shared, names, &followed, &of_task, &answered).await;
        };
        let running = self.running.spawn_local(work);
        self.by_id.insert(running.id(), wanted.clone());
        self.list.push(Task {
            wanted,
            running,
            told,
            answered: awaited.clone(),
            holders: 0,
        });
        awaited
    }

    /// Looks after these, and those that somebody holds.
    fn keep(&mut self, wanted: &[Wanted]) {
        self.let_go_of_all_but(wanted);
        self.following.shared.seeds.lock().clear();
        // What is served may have been learned before the thread began anew.
        let mut there: HashMap<&str, Vec<&Wanted>> = HashMap::new();
        for Task { wanted, .. } in &self.list {
            there.entry(&wanted.0.name).or_default().push(wanted);
        }
        let is_there = |wanted: &Wanted| {
            let of_name = there.get(&*wanted.0.name);
            of_name.is_some_and(|of_name| of_name.iter().any(|there| there.is(&wanted.0)))
        };
        let missing = wanted.iter().filter(|wanted| !is_there(wanted));
        for missing in Vec::from_iter(missing.cloned()) {
            self.look_after(missing);
        }
    }

    /// Forgets what is neither one of these nor held by anybody: nobody asks for it any more.
    fn let_go_of_all_but(&mut self, kept: &[Wanted]) {
        // By name first: there may be a thousand of them.
        let by_name: HashMap<&str, &Wanted> =
            kept.iter().map(|kept| (&*kept.0.name, kept)).collect();
        let is_kept = |wanted: &Wanted| {
            let of_name = by_name.get(&*wanted.0.name);
            of_name.is_some_and(|of_name| of_name.is(&wanted.0))
        };
        let mut held = Vec::new();
        self.list.retain(|task| {
            let is_held = task.holders > 0;
            if is_held {
                held.push(task.wanted.clone());
            }
            let stays = is_held || is_kept(&task.wanted);
            if !stays {
                task.running.abort();
            }
            stays
        });
        let shared = &self.following.shared;
        shared.seen.lock().retain(|_, seen| {
            seen.retain(|Seen { wanted, .. }| {
                is_kept(wanted) || held.iter().any(|held| held.is(&wanted.0))
            });
            !seen.is_empty()
        });
    }

    /// What nobody holds any more is let go at once, unless it is kept.
    fn release(&mut self, held: &[Wanted], kept: &[Wanted]) {
        for task in &mut self.list {
            if held.iter().any(|held| held.is(&task.wanted.0)) {
                task.holders = task.holders.saturating_sub(1);
            }
        }
        self.let_go_of_all_but(kept);
    }

    fn learn(&mut self, wanted: &[Wanted], answer: oneshot::Sender<()>) {
        let answers = wanted.iter().map(|wanted| self.look_after(wanted.clone()));
        let mut answers: Vec<_> = answers.collect();
        for task in &mut self.list {
            if wanted.iter().any(|wanted| wanted.is(&task.wanted.0)) {
                task.holders += 1;
            }
        }
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
