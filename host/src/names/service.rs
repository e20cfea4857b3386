//! What the rest of the process asks of the thread, and what it sees of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::handed_on;
use super::known::NameState;
use super::resolution::{Resolution, Supposed};
use super::shared::{Lookups, Shared};
use super::tasks::{Answers, Command, NamesToFollow, Tried, Unanswered, Until, run};
use crate::config::model::ServerName;

/// How often the thread is asked that has failed, and begins anew.
const ATTEMPTS: usize = 3;

/// Looks after names. Its thread ends when it is dropped.
#[derive(Clone)]
pub(crate) struct Names {
    commands: UnboundedSender<Command>,
    shared: Arc<Shared>,
}

/// What names stand for, as far as there was an answer. They are looked after for as long as one of
/// its clones is there, whatever is [kept](Names::keep) meanwhile.
#[derive(Clone)]
pub(crate) struct Learned {
    pub(crate) resolution: Resolution,
    pub(crate) unanswered: Unanswered,
    _held: Arc<HeldNames>,
}

/// Names that are looked after until this is dropped.
struct HeldNames {
    names: Vec<ServerName>,
    commands: UnboundedSender<Command>,
}

/// Names that were asked about, and where the answers come.
type Asked = (HeldNames, oneshot::Receiver<Answers>);

impl Drop for HeldNames {
    fn drop(&mut self) {
        for name in self.names.drain(..) {
            let _ = self.commands.send(Command::Release(name));
        }
    }
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
        self.learn_supposing(all_wanted(names), Supposed::new())
            .await
    }

    /// As [`learn`](Names::learn), for who can do with less than an answer for each. They are looked
    /// after from this call on, whether or not what it returns is awaited.
    pub(crate) fn learn_until(
        &self,
        names: BTreeSet<ServerName>,
        until: Until,
    ) -> impl Future<Output = Learned> + use<> {
        let names = all_wanted(names);
        let asked = self.ask(names.clone(), Supposed::new(), until);
        let this = self.clone();
        async move { this.answers(names, Supposed::new(), until, asked).await }
    }

    /// As [`learn`](Names::learn). Those of `supposed` that are new stand for that until there is
    /// an answer.
    pub(crate) async fn learn_supposing(
        &self,
        names: NamesToFollow,
        supposed: Supposed,
    ) -> Learned {
        let asked = self.ask(names.clone(), supposed.clone(), Until::All);
        self.answers(names, supposed, Until::All, asked).await
    }

    async fn answers(
        &self,
        names: NamesToFollow,
        supposed: Supposed,
        until: Until,
        mut asked: Asked,
    ) -> Learned {
        for _ in 0..ATTEMPTS {
            let (held, answer) = asked;
            if let Ok(answers) = answer.await {
                return Learned::of(answers, held);
            }
            asked = self.ask(names.clone(), supposed.clone(), until);
        }
        self.unknown(names)
    }

    /// As [`learn`](Names::learn), where nothing else is to be done meanwhile.
    pub(crate) fn learn_now(&self, names: BTreeSet<ServerName>) -> Learned {
        let names = all_wanted(names);
        for _ in 0..ATTEMPTS {
            let (held, answer) = self.ask(names.clone(), Supposed::new(), Until::All);
            if let Ok(answers) = answer.blocking_recv() {
                return Learned::of(answers, held);
            }
        }
        self.unknown(names)
    }

    fn ask(&self, names: NamesToFollow, supposed: Supposed, until: Until) -> Asked {
        let held = self.held(names.keys());
        let (answer, awaited) = oneshot::channel();
        let command = Command::Learn(names, supposed, until, answer);
        // Without its thread, which only ends with the process, nothing is learned.
        let _ = self.commands.send(command);
        (held, awaited)
    }

    fn held<'n>(&self, names: impl Iterator<Item = &'n ServerName>) -> HeldNames {
        HeldNames {
            names: names.filter(|name| !name.is_once()).cloned().collect(),
            commands: self.commands.clone(),
        }
    }

    /// The thread has failed each time that it was asked.
    fn unknown(&self, names: NamesToFollow) -> Learned {
        let why = |name| (name, "given up after an internal error".to_owned());
        let unanswered = names.into_keys().map(why).collect();
        let nobody = self.held(std::iter::empty());
        Learned::of((Resolution::default(), unanswered), nobody)
    }

    /// Looks after these names from now on, and no others. `supposed`: of those that are new.
    pub(crate) fn keep(&self, names: NamesToFollow, supposed: Supposed) {
        let _ = self.commands.send(Command::Keep(names, supposed));
    }

    /// Asks about a name, and looks after it until it is [released](Names::release); beyond that only
    /// if it is [kept](Names::keep) meanwhile. `by_pattern`: whoever sends a request has made it, so
    /// it has a share only of the questions that may be under way.
    ///
    /// # Errors
    /// Why it has no addresses.
    pub(crate) fn try_out(
        &self,
        name: ServerName,
        by_pattern: bool,
    ) -> impl Future<Output = Tried> + use<> {
        let (answer, awaited) = oneshot::channel();
        let command = Command::Try(name, by_pattern, answer);
        let _ = self.commands.send(command);
        let given_up = |_| Err("given up after an internal error".to_owned());
        async move { awaited.await.unwrap_or_else(given_up) }
    }

    /// A name that is tried by a pattern waits no longer for others that are.
    pub(crate) fn hurry(&self, name: ServerName) {
        let _ = self.commands.send(Command::Hurry(name));
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

    /// Questions so far by their outcome: `found`, `absent` or `failed`.
    pub(crate) fn lookups(&self) -> [(&'static str, u64); 3] {
        let Lookups {
            found,
            absent,
            failed,
        } = &self.shared.lookups;
        [("found", found), ("absent", absent), ("failed", failed)]
            .map(|(outcome, counter)| (outcome, counter.get()))
    }

    /// Names that it looks after: those whose last question had an answer, and those where it had
    /// none; among both, those without an address.
    pub(crate) fn counts(&self) -> NameCounts {
        let mut counts = NameCounts::default();
        for seen in self.shared.names.lock().values() {
            match &seen.state.why {
                None => counts.answered += 1,
                Some(_) => counts.failing += 1,
            }
            counts.without_address += u64::from(seen.state.without_address.is_some());
        }
        counts
    }

    /// Waits until [`Names::resolution`] is another one.
    pub(crate) async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}

/// How many names are how, see [`Names::counts`].
#[derive(Debug, Default)]
pub(crate) struct NameCounts {
    pub(crate) answered: u64,
    pub(crate) failing: u64,
    pub(crate) without_address: u64,
}

/// Those that no request has made by a pattern.
fn all_wanted(names: BTreeSet<ServerName>) -> NamesToFollow {
    names.into_iter().map(|name| (name, false)).collect()
}

impl Learned {
    fn of((resolution, unanswered): Answers, held: HeldNames) -> Learned {
        Learned {
            resolution,
            unanswered,
            _held: Arc::new(held),
        }
    }
}
