//! The thread that asks: a task for each name, which asks again when the answer has expired, and
//! sooner when somebody doubts it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet, LocalSet, spawn_local};
use tokio::time::{sleep_until, timeout_at};

use super::doubt::Doubt;
use super::handed_on::{self, Seeds};
use super::known::{BREATH, Change, Known, NameState, Outcome, in_order, listed};
use super::question::{NameServers, TIMED_OUT};
use super::resolution::{Located, Resolution, ServerAddresses};
use super::system::System;
use crate::config::model::{Resolver, ServerName};
use crate::fault_injection;

/// How long all names together are waited for before something is done without them.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks after names. Its thread ends when it is dropped.
#[derive(Clone)]
pub(crate) struct Names {
    commands: UnboundedSender<Command>,
    shared: Arc<Shared>,
}

/// What names stand for, as far as there was an answer. They are looked after for as long as it is
/// there, whatever is [kept](Names::keep) meanwhile.
pub(crate) struct Learned {
    pub(crate) resolution: Resolution,
    pub(crate) unanswered: Unanswered,
    _held: HeldNames,
}

/// Names that are looked after until this is dropped.
struct HeldNames {
    names: Vec<ServerName>,
    commands: UnboundedSender<Command>,
}

impl Drop for HeldNames {
    fn drop(&mut self) {
        for name in self.names.drain(..) {
            let _ = self.commands.send(Command::Release(name));
        }
    }
}

/// Names without addresses, and why.
pub(crate) type Unanswered = BTreeMap<ServerName, String>;

enum Command {
    Learn(BTreeSet<ServerName>, oneshot::Sender<Answers>),
    Keep(BTreeSet<ServerName>),
    Try(ServerName, bool, oneshot::Sender<Tried>),
    Release(ServerName),
}

/// What names stand for, and those that stand for nothing, and why.
type Answers = (Resolution, Unanswered);

/// What a name stands for that was tried; else why it stands for nothing.
pub(crate) type Tried = Result<ServerAddresses, String>;

/// What the thread knows, for all others to see.
#[derive(Default)]
struct Shared {
    names: Mutex<BTreeMap<ServerName, Seen>>,
    /// What the process before knew. Until the first configuration is served.
    seeds: Mutex<Seeds>,
    changed: Notify,
}

struct Seen {
    addresses: ServerAddresses,
    state: NameState,
}

impl Names {
    /// Starts the thread. `known`: what [`handed_on`](Names::handed_on) was before, if anything.
    ///
    /// # Errors
    /// The kernel has none.
    pub(crate) fn start(known: &str) -> std::io::Result<Names> {
        let (commands, received) = unbounded_channel();
        let shared = Arc::new(Shared {
            seeds: Mutex::new(handed_on::read(known)),
            ..Shared::default()
        });
        let names = Names {
            commands,
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new().name("resolver".to_owned());
        thread.spawn(move || run(&shared, received))?;
        Ok(names)
    }

    /// Asks about names, and looks after those from now on that may change. Waits for those that
    /// are not known yet, each as long as its `timeout` says, and all of them for half a minute.
    pub(crate) async fn learn(&self, names: BTreeSet<ServerName>) -> Learned {
        let (held, answer) = self.ask(names);
        Learned::of(answer.await.ok(), held)
    }

    /// As [`learn`](Names::learn), where nothing else is to be done meanwhile.
    pub(crate) fn learn_now(&self, names: BTreeSet<ServerName>) -> Learned {
        let (held, answer) = self.ask(names);
        Learned::of(answer.blocking_recv().ok(), held)
    }

    fn ask(&self, names: BTreeSet<ServerName>) -> (HeldNames, oneshot::Receiver<Answers>) {
        let held = HeldNames {
            names: names
                .iter()
                .filter(|name| !name.is_once())
                .cloned()
                .collect(),
            commands: self.commands.clone(),
        };
        let (answer, awaited) = oneshot::channel();
        // Without its thread, which only ends with the process, nothing is learned.
        let _ = self.commands.send(Command::Learn(names, answer));
        (held, awaited)
    }

    /// Looks after these names from now on, and no others.
    pub(crate) fn keep(&self, names: BTreeSet<ServerName>) {
        let _ = self.commands.send(Command::Keep(names));
    }

    /// Asks about a name, and looks after it until it is [released](Names::release); beyond that only
    /// if it is [kept](Names::keep) meanwhile. `by_pattern`: whoever sends a request has made it, so
    /// it has a share only of the questions that may be under way.
    ///
    /// # Errors
    /// Why it has no addresses.
    pub(crate) async fn try_out(&self, name: ServerName, by_pattern: bool) -> Tried {
        let (answer, awaited) = oneshot::channel();
        let command = Command::Try(name, by_pattern, answer);
        let _ = self.commands.send(command);
        let given_up = || Err("given up after an internal error".to_owned());
        awaited.await.unwrap_or_else(|_| given_up())
    }

    /// A name that was [tried](Names::try_out) is looked after no longer unless it is kept. Once for
    /// each time that it was tried.
    pub(crate) fn release(&self, name: ServerName) {
        let _ = self.commands.send(Command::Release(name));
    }

    /// What the names that it looks after stand for now.
    pub(crate) fn resolution(&self) -> Resolution {
        self.shared.resolution()
    }

    /// What it knows, for another process to [start](Names::start) with.
    pub(crate) fn handed_on(&self, wanted: &BTreeSet<ServerName>) -> String {
        handed_on::written(&self.shared.resolution().only(wanted))
    }

    /// When a name was asked about, and why there was no answer, if there was none; nothing for one
    /// that it does not look after.
    pub(crate) fn state(&self, name: &ServerName) -> Option<NameState> {
        let names = self.shared.names.lock();
        names.get(name).map(|seen| seen.state.clone())
    }

    /// Waits until [`Names::resolution`] is another one.
    pub(crate) async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}

impl Learned {
    /// Nothing, where the thread has no answer after an internal error.
    fn of(answers: Option<Answers>, held: HeldNames) -> Learned {
        let (resolution, unanswered) = answers.unwrap_or_default();
        Learned {
            resolution,
            unanswered,
            _held: held,
        }
    }
}

impl Shared {
    /// What a name was known to stand for before its task began anew, or before it was to be asked
    /// of others: none if it is new.
    fn located(&self, name: &ServerName) -> Option<Arc<[Located]>> {
        let names = self.names.lock();
        let same = names.get(name).or_else(|| {
            let mut others = names.iter();
            let same = others
                .find(|(other, _)| (&other.host, &other.lookup) == (&name.host, &name.lookup));
            same.map(|(_, seen)| seen)
        });
        if let Some(seen) = same {
            return Some(seen.addresses.located.clone());
        }
        let seeds = self.seeds.lock();
        seeds
            .get(&(name.host.clone(), name.lookup.clone()))
            .cloned()
    }

    fn resolution(&self) -> Resolution {
        let names = self.names.lock();
        let answered = names
            .iter()
            .map(|(name, seen)| (name.clone(), seen.addresses.clone()));
        Resolution(Arc::new(answered.collect()))
    }
}

/// The thread. A panic of ours, or of the library, costs what was under way.
fn run(shared: &Arc<Shared>, mut commands: UnboundedReceiver<Command>) {
    let mut last = BTreeSet::new();
    loop {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!("names cannot be resolved: {error}");
                std::thread::sleep(BREATH);
                continue;
            }
        };
        let (doubts, doubted) = unbounded_channel();
        let tasks = Tasks {
            asking: Rc::new(Asking {
                shared: shared.clone(),
                doubts,
                system: RefCell::new(Rc::new(System::read())),
                looked: Cell::new(Instant::now()),
                servers: RefCell::default(),
            }),
            running: JoinSet::new(),
            by_name: BTreeMap::new(),
            names: HashMap::new(),
        };
        let work = AssertUnwindSafe(|| {
            LocalSet::new().block_on(&runtime, tasks.heed(&mut last, &mut commands, doubted));
        });
        if catch_unwind(work).is_ok() {
            return;
        }
        tracing::error!("resolving names begins anew after an internal error");
    }
}

/// What all tasks use.
struct Asking {
    shared: Arc<Shared>,
    doubts: UnboundedSender<Arc<Doubt>>,
    system: RefCell<Rc<System>>,
    looked: Cell<Instant>,
    servers: RefCell<HashMap<Arc<Resolver>, Rc<NameServers>>>,
}

/// The names that are looked after.
struct Tasks {
    asking: Rc<Asking>,
    running: JoinSet<()>,
    by_name: BTreeMap<ServerName, Task>,
    names: HashMap<Id, ServerName>,
}

struct Task {
    running: AbortHandle,
    doubted: Rc<Notify>,
    /// There was an answer, or none could be had.
    answered: watch::Receiver<bool>,
    /// It is looked after whether or not it is tried out.
    wanted: Rc<Cell<bool>>,
    /// See [`Names::try_out`].
    by_pattern: Rc<Cell<bool>>,
    /// How many want it to be looked after beside that at present.
    holders: usize,
}

impl Tasks {
    /// Until nobody is left who could command anything. Begins with the names that were looked after
    /// last.
    async fn heed(
        mut self,
        last: &mut BTreeSet<ServerName>,
        commands: &mut UnboundedReceiver<Command>,
        mut doubted: UnboundedReceiver<Arc<Doubt>>,
    ) {
        for name in &*last {
            self.look_after(name.clone());
        }
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Learn(names, answer)) => self.learn(names, answer),
                    Some(Command::Keep(names)) => {
                        self.keep(&names);
                        *last = names;
                        last.retain(|name| !name.is_once());
                    }
                    Some(Command::Try(name, by_pattern, answer)) => {
                        self.try_out(name, by_pattern, answer);
                    }
                    Some(Command::Release(name)) => self.release(&name),
                    None => return,
                },
                Some(doubt) = doubted.recv() => {
                    doubt.seen();
                    if let Some(task) = self.by_name.get(&doubt.name) {
                        task.doubted.notify_one();
                    }
                }
                Some(Err(ended)) = self.running.join_next_with_id() => self.ended(&ended),
            }
            fault_injection::panics("resolver");
        }
    }

    /// A task has ended: it was not wanted any more, or has panicked.
    fn ended(&mut self, ended: &JoinError) {
        let Some(name) = self.names.remove(&ended.id()) else {
            return;
        };
        if ended.is_panic() {
            tracing::error!("{name} is asked for anew after an internal error");
            self.by_name.remove(&name);
            self.look_after(name);
        }
    }

    fn try_out(&mut self, name: ServerName, by_pattern: bool, answer: oneshot::Sender<Tried>) {
        if !self.by_name.contains_key(&name) {
            self.begin(name.clone(), false, by_pattern);
        }
        let Some(task) = self.by_name.get_mut(&name) else {
            return;
        };
        task.holders += 1;
        let (mut answered, asking) = (task.answered.clone(), self.asking.clone());
        spawn_local(async move {
            // A question has its own time. Without its task there is no answer.
            let _ = answered.wait_for(|is| *is).await;
            let seen = asking.shared.names.lock();
            let tried = match seen.get(&name) {
                Some(seen) if !seen.addresses.located.is_empty() => Ok(seen.addresses.clone()),
                Some(seen) => Err(seen.state.why.clone().unwrap_or_default()),
                None => Err(TIMED_OUT.to_owned()),
            };
            drop(seen);
            // Whoever asked may have given up meanwhile.
            let _ = answer.send(tried);
        });
    }

    fn release(&mut self, name: &ServerName) {
        let Some(task) = self.by_name.get_mut(name) else {
            return;
        };
        task.holders = task.holders.saturating_sub(1);
        if task.holders == 0 && !task.wanted.get() {
            task.running.abort();
            self.by_name.remove(name);
            self.asking.shared.names.lock().remove(name);
        }
    }

    /// Begins to look after a name, unless it does already: then it is asked for anew.
    fn look_after(&mut self, name: ServerName) -> watch::Receiver<bool> {
        if let Some(task) = self.by_name.get(&name) {
            task.wanted.set(true);
            task.by_pattern.set(false);
            task.doubted.notify_one();
            return task.answered.clone();
        }
        self.begin(name, true, false)
    }

    /// Asks about a name from now on. `wanted`: not only to try it out.
    fn begin(&mut self, name: ServerName, wanted: bool, by_pattern: bool) -> watch::Receiver<bool> {
        let (answered, awaited) = watch::channel(false);
        let (doubted, wanted) = (Rc::new(Notify::new()), Rc::new(Cell::new(wanted)));
        let by_pattern = Rc::new(Cell::new(by_pattern));
        let has_share = by_pattern.clone();
        let (asking, followed) = (self.asking.clone(), name.clone());
        let (of_task, is_wanted) = (doubted.clone(), wanted.clone());
        let following = async move {
            fault_injection::panics("name");
            let follow = asking.follow(&followed, &of_task, &answered, (&is_wanted, &has_share));
            follow.await;
        };
        let running = self.running.spawn_local(following);
        self.names.insert(running.id(), name.clone());
        let task = Task {
            running,
            doubted,
            answered: awaited.clone(),
            wanted,
            by_pattern,
            holders: 0,
        };
        self.by_name.insert(name, task);
        awaited
    }

    /// Looks after these, and those that somebody holds.
    fn keep(&mut self, names: &BTreeSet<ServerName>) {
        for name in names {
            // What is served may have been learned before the thread began anew.
            if !name.is_once() && !self.by_name.contains_key(name) {
                self.begin(name.clone(), true, false);
            }
        }
        self.by_name.retain(|name, task| {
            task.wanted.set(names.contains(name));
            let stays = task.wanted.get() || task.holders > 0;
            if !stays {
                task.running.abort();
            }
            stays
        });
        let (asking, followed) = (&self.asking, &self.by_name);
        let resolvers: BTreeSet<&Arc<Resolver>> =
            followed.keys().map(|name| &name.resolver).collect();
        let used = |resolver: &Arc<Resolver>| resolvers.contains(resolver);
        asking
            .servers
            .borrow_mut()
            .retain(|resolver, _| used(resolver));
        asking.shared.seeds.lock().clear();
        let mut seen = asking.shared.names.lock();
        seen.retain(|name, _| followed.contains_key(name));
    }

    fn learn(&mut self, names: BTreeSet<ServerName>, answer: oneshot::Sender<Answers>) {
        let (once, again): (Vec<_>, Vec<_>) = names.into_iter().partition(ServerName::is_once);
        // Those that are not over in time end with the wait for them.
        let mut asked = JoinSet::new();
        let mut waiting: BTreeSet<ServerName> = once.iter().cloned().collect();
        for name in once {
            let asking = self.asking.clone();
            asked.spawn_local(async move {
                let outcome = asking.ask(&name, None, false).await;
                (name, outcome)
            });
        }
        let followed = again.into_iter().map(|name| {
            let answered = self.look_after(name.clone());
            if let Some(task) = self.by_name.get_mut(&name) {
                task.holders += 1;
            }
            (answered, name)
        });
        let followed: Vec<_> = followed.collect();
        let asking = self.asking.clone();
        spawn_local(async move {
            let until = tokio::time::Instant::now() + PATIENCE;
            let (mut answers, mut unanswered) = (BTreeMap::new(), Unanswered::new());
            while let Ok(Some(answer)) = timeout_at(until, asked.join_next()).await {
                let Ok((name, outcome)) = answer else {
                    continue;
                };
                waiting.remove(&name);
                match outcome {
                    Outcome::Found { located, .. } => {
                        answers.insert(name, ServerAddresses::fixed(in_order(located)));
                    }
                    Outcome::Absent(why) | Outcome::Failed(why) => {
                        unanswered.insert(name, why);
                    }
                }
            }
            drop(asked);
            for name in waiting {
                unanswered.insert(name, TIMED_OUT.to_owned());
            }
            for (mut answered, name) in followed {
                let in_time = timeout_at(until, answered.wait_for(|is| *is)).await.is_ok();
                let seen = asking.shared.names.lock();
                let Some(seen) = seen.get(&name).filter(|_| in_time) else {
                    unanswered.insert(name, TIMED_OUT.to_owned());
                    continue;
                };
                if seen.addresses.located.is_empty() {
                    let why = seen.state.why.clone().unwrap_or_default();
                    unanswered.insert(name.clone(), why);
                }
                answers.insert(name, seen.addresses.clone());
            }
            // Whoever asked may have given up meanwhile.
            let _ = answer.send((Resolution(Arc::new(answers)), unanswered));
        });
    }
}

impl Asking {
    /// Asks about a name again and again.
    async fn follow(
        &self,
        name: &ServerName,
        doubted: &Notify,
        answered: &watch::Sender<bool>,
        (wanted, by_pattern): (&Cell<bool>, &Cell<bool>),
    ) {
        let doubt = Doubt::about(name.clone(), self.doubts.clone());
        let before = self.shared.located(name);
        let mut is_first = before.is_none();
        let mut known = Known::before(before.unwrap_or_default(), Instant::now());
        loop {
            let asked = Instant::now();
            let outcome = self.ask(name, known.meant(), by_pattern.get()).await;
            let is_answer = matches!(outcome, Outcome::Found { .. });
            let change = known.note(outcome, &name.resolver, asked, Instant::now());
            let addresses = ServerAddresses {
                located: known.located().clone(),
                doubt: Some(doubt.clone()),
            };
            let seen = Seen {
                addresses,
                state: known.state(),
            };
            self.shared.names.lock().insert(name.clone(), seen);
            if change.addresses {
                self.shared.changed.notify_one();
            }
            // Whoever tries a name out says what came of it.
            if wanted.get() {
                say(name, &change, known.located(), is_first, is_answer);
            }
            is_first = false;
            answered.send_replace(true);
            tokio::select! {
                () = sleep_until(known.next().into()) => {}
                () = doubted.notified() => sleep_until(known.earliest().into()).await,
            }
        }
    }

    /// Asks about a name once.
    async fn ask(&self, name: &ServerName, meant: Option<&str>, by_pattern: bool) -> Outcome {
        let servers = match self.servers_of(&name.resolver) {
            Ok(servers) => servers,
            Err(why) => return Outcome::Failed(why),
        };
        let _share = match by_pattern {
            true => Some(servers.share_of_patterns().await),
            false => None,
        };
        servers.ask(name, meant).await
    }

    /// The name servers of a `resolver`, as this machine has them now.
    fn servers_of(&self, resolver: &Arc<Resolver>) -> Result<Rc<NameServers>, String> {
        let now = Instant::now();
        if now.saturating_duration_since(self.looked.get()) >= BREATH {
            self.looked.set(now);
            let has_changed = self.system.borrow().has_changed();
            if has_changed {
                self.system.replace(Rc::new(System::read()));
                self.servers.borrow_mut().clear();
            }
        }
        if let Some(servers) = self.servers.borrow().get(resolver) {
            return Ok(servers.clone());
        }
        let servers = Rc::new(NameServers::new(resolver, &self.system.borrow())?);
        let mut known = self.servers.borrow_mut();
        known.insert(resolver.clone(), servers.clone());
        Ok(servers)
    }
}

/// Tells the log of a change.
fn say(name: &ServerName, change: &Change, located: &[Located], is_first: bool, is_answer: bool) {
    match &change.trouble {
        Some(why) if is_answer => tracing::warn!("{name} was resolved in part ({why})"),
        Some(why) => {
            let meanwhile = match located.is_empty() {
                true => "it has no servers until it can be",
                false => "the addresses known before stay",
            };
            tracing::error!("{name} could not be resolved ({why}); {meanwhile}");
        }
        None => {}
    }
    match change.addresses {
        true if located.is_empty() => tracing::error!("{name} has no address any more"),
        true if is_first => tracing::debug!("{name} is {}", listed(located)),
        true => tracing::info!("{name} is {} now", listed(located)),
        false if change.recovered => tracing::info!("{name} is {} still", listed(located)),
        false => {}
    }
}
