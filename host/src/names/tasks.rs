//! The thread: a task for each name that is looked after.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet, spawn_local};
use tokio::time::{Instant, timeout_at};

use super::asking::{Asking, Followed};
use super::doubt::Doubt;
use super::known::{BREATH, Outcome, in_order};
use super::name_servers::TIMED_OUT;
use super::resolution::{Located, Resolution, ServerAddresses, Supposed};
use super::shared::Shared;
use crate::config::model::{Resolver, ServerName};
use crate::event_loop;
use crate::fault_injection;

/// How long all names together are waited for before something is done without them.
const PATIENCE: Duration = Duration::from_secs(30);

/// Names without addresses, and why.
pub(crate) type Unanswered = BTreeMap<ServerName, String>;

/// Names that are to be looked after, and whether nothing but a pattern allows each of them: see
/// [`Names::try_out`](super::Names::try_out).
pub(crate) type NamesToFollow = BTreeMap<ServerName, bool>;

pub(super) enum Command {
    Learn(NamesToFollow, Supposed, Until, oneshot::Sender<Answers>),
    Keep(NamesToFollow, Supposed),
    Try(ServerName, bool, oneshot::Sender<Tried>),
    Hurry(ServerName),
    Release(ServerName),
}

/// How long names are waited for that are learned together. Those that are not asked about again are
/// waited for until they are over, or stay without addresses.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// There is an answer for each.
    All,
    /// Until then; and after that until one of them has addresses.
    Some(Instant),
    /// Until then, whatever is known.
    Then(Instant),
}

/// What names stand for, and those that stand for nothing, and why.
pub(super) type Answers = (Resolution, Unanswered);

/// What a name stands for that was tried; else why it stands for nothing.
pub(crate) type Tried = Result<ServerAddresses, String>;

const LOGGED: event_loop::Names = event_loop::Names {
    cannot: "names cannot be resolved",
    doing: "resolving names",
};

/// The thread. A panic of ours, or of the library, costs what was under way.
pub(super) fn run(shared: &Arc<Shared>, mut commands: UnboundedReceiver<Command>) {
    let mut last = NamesToFollow::new();
    event_loop::run(&LOGGED, BREATH, async || {
        let (doubts, doubted) = unbounded_channel();
        let tasks = Tasks {
            asking: Rc::new(Asking::new(shared.clone(), doubts)),
            running: JoinSet::new(),
            by_name: BTreeMap::new(),
            names: HashMap::new(),
        };
        tasks.heed(&mut last, &mut commands, doubted).await;
    });
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
    followed: Rc<Followed>,
    /// How many want it to be looked after at present, whether or not it is kept.
    holders: usize,
}

impl Tasks {
    /// Until nobody is left who could command anything. Begins with the names that were looked after
    /// last.
    async fn heed(
        mut self,
        last: &mut NamesToFollow,
        commands: &mut UnboundedReceiver<Command>,
        mut doubted: UnboundedReceiver<Arc<Doubt>>,
    ) {
        for (name, by_pattern) in &*last {
            self.look_after(name.clone(), *by_pattern, &Supposed::new());
        }
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Learn(names, supposed, until, answer)) => {
                        self.learn(names, &supposed, until, answer);
                    }
                    Some(Command::Keep(names, supposed)) => {
                        self.keep(&names, &supposed);
                        *last = names;
                        last.retain(|name, _| !name.is_once());
                    }
                    Some(Command::Try(name, by_pattern, answer)) => {
                        self.try_out(name, by_pattern, answer);
                    }
                    Some(Command::Hurry(name)) => {
                        if let Some(task) = self.by_name.get(&name) {
                            task.followed.by_pattern.send_replace(false);
                        }
                    }
                    Some(Command::Release(name)) => {
                        let is_kept = last.contains_key(&name);
                        self.release(&name, is_kept);
                    }
                    None => return,
                },
                Some(doubt) = doubted.recv() => {
                    doubt.seen();
                    if let Some(task) = self.by_name.get(&doubt.name) {
                        task.followed.doubted.notify_one();
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
        if let Some(task) = self.by_name.remove(&name).filter(|_| ended.is_panic()) {
            tracing::error!("{name} is asked for anew after an internal error");
            let running = self.run(&name, &task.followed, self.asking.shared.located(&name));
            self.by_name.insert(name, Task { running, ..task });
        }
    }

    fn try_out(&mut self, name: ServerName, by_pattern: bool, answer: oneshot::Sender<Tried>) {
        let task = self.task(&name, false, by_pattern, &Supposed::new());
        task.holders += 1;
        if !by_pattern {
            task.followed.by_pattern.send_replace(false);
        }
        let mut answered = task.followed.answered.subscribe();
        let asking = self.asking.clone();
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

    /// Nobody looks after a name any more that none holds, and that is not kept.
    fn release(&mut self, name: &ServerName, is_kept: bool) {
        let Some(task) = self.by_name.get_mut(name) else {
            return;
        };
        task.holders = task.holders.saturating_sub(1);
        if task.holders == 0 && !is_kept {
            task.running.abort();
            self.by_name.remove(name);
            self.asking.shared.names.lock().remove(name);
        }
    }

    /// Begins to look after a name, unless it does already: then it is asked for anew. One that only a
    /// pattern allows is what it is: for the others that would be as many questions as strangers like.
    fn look_after(&mut self, name: ServerName, by_pattern: bool, supposed: &Supposed) -> &mut Task {
        let is_there = self.by_name.contains_key(&name);
        let task = self.task(&name, true, by_pattern, supposed);
        if is_there {
            task.followed.wanted.set(true);
        }
        if is_there && !by_pattern {
            task.followed.by_pattern.send_replace(false);
            task.followed.doubted.notify_one();
        }
        task
    }

    /// The task of a name, which begins unless it is there. `wanted`: not only to try it out.
    fn task(
        &mut self,
        name: &ServerName,
        wanted: bool,
        by_pattern: bool,
        supposed: &Supposed,
    ) -> &mut Task {
        if !self.by_name.contains_key(name) {
            let followed = Rc::new(Followed::new(wanted, by_pattern));
            let known = self.asking.shared.located(name);
            let known = known.or_else(|| supposed.get(name).cloned());
            let running = self.run(name, &followed, known);
            let task = Task {
                running,
                followed,
                holders: 0,
            };
            self.by_name.insert(name.clone(), task);
        }
        #[allow(clippy::expect_used, reason = "it was put there if it was not")]
        self.by_name.get_mut(name).expect("it is there")
    }

    /// Asks about a name from now on. `known`: what it stood for before.
    fn run(
        &mut self,
        name: &ServerName,
        followed: &Rc<Followed>,
        known: Option<Arc<[Located]>>,
    ) -> AbortHandle {
        let (asking, followed, asked) = (self.asking.clone(), followed.clone(), name.clone());
        let running = self.running.spawn_local(async move {
            fault_injection::panics("name");
            asking.follow(&asked, &followed, known).await;
        });
        self.names.insert(running.id(), name.clone());
        running
    }

    /// Looks after these, and those that somebody holds.
    fn keep(&mut self, names: &NamesToFollow, supposed: &Supposed) {
        for (name, by_pattern) in names.iter().filter(|(name, _)| !name.is_once()) {
            // What is served may have been learned before the thread began anew.
            let task = self.task(name, true, *by_pattern, supposed);
            task.followed.wanted.set(true);
        }
        self.by_name.retain(|name, task| {
            let stays = names.contains_key(name) || task.holders > 0;
            if !stays {
                task.running.abort();
            }
            stays
        });
        let (asking, followed) = (&self.asking, &self.by_name);
        let resolvers: BTreeSet<&Arc<Resolver>> =
            followed.keys().map(|name| &name.resolver).collect();
        let used = |resolver: &Arc<Resolver>| resolvers.contains(resolver);
        asking.retain(used);
        asking.shared.seeds.lock().clear();
        let mut seen = asking.shared.names.lock();
        seen.retain(|name, _| followed.contains_key(name));
    }

    fn learn(
        &mut self,
        names: NamesToFollow,
        supposed: &Supposed,
        until: Until,
        mut answer: oneshot::Sender<Answers>,
    ) {
        // Those that are not over in time, or that nobody waits for any more, end with the wait.
        let mut asked = JoinSet::new();
        let mut waiting = BTreeSet::new();
        let mut asked_once = 0;
        for (name, by_pattern) in names {
            let asking = self.asking.clone();
            if name.is_once() {
                asked_once += 1;
                waiting.insert(name.clone());
                asked.spawn_local(async move {
                    let outcome = asking.ask_once(&name).await;
                    (name, Some(outcome))
                });
                continue;
            }
            let task = self.look_after(name.clone(), by_pattern, supposed);
            task.holders += 1;
            // Nothing waits for what requests have made by a pattern.
            if !by_pattern {
                let mut answered = task.followed.answered.subscribe();
                waiting.insert(name.clone());
                asked.spawn_local(async move {
                    // Without its task there is no answer.
                    let _ = answered.wait_for(|is| *is).await;
                    (name, None)
                });
            }
        }
        let asking = self.asking.clone();
        spawn_local(async move {
            let all = Instant::now() + PATIENCE;
            let (mut answers, mut unanswered) = (BTreeMap::new(), Unanswered::new());
            let mut followed = Vec::new();
            let mut found = false;
            loop {
                let until = match until {
                    Until::Some(then) | Until::Then(then) if asked_once > 0 => then + PATIENCE,
                    Until::Some(then) if found => then,
                    Until::Then(then) => then,
                    _ => all,
                };
                let answered = tokio::select! {
                    answered = timeout_at(until.min(all), asked.join_next()) => answered,
                    // Whoever asked has given up.
                    () = answer.closed() => return,
                };
                let answered = match answered {
                    Ok(Some(answered)) => answered,
                    Ok(None) | Err(_) => break,
                };
                let Ok((name, outcome)) = answered else {
                    continue;
                };
                waiting.remove(&name);
                asked_once -= usize::from(outcome.is_some());
                match outcome {
                    Some(Outcome::Found { located, .. }) => {
                        found = true;
                        answers.insert(name, ServerAddresses::fixed(in_order(located)));
                    }
                    Some(Outcome::Absent(why) | Outcome::Failed(why)) => {
                        unanswered.insert(name, why);
                    }
                    None => {
                        found |= asking.shared.has_addresses(&name);
                        followed.push(name);
                    }
                }
            }
            drop(asked);
            for name in waiting {
                unanswered.insert(name, TIMED_OUT.to_owned());
            }
            // What they stand for may have changed while others were waited for.
            let seen = asking.shared.names.lock();
            for name in followed {
                let Some(seen) = seen.get(&name) else {
                    unanswered.insert(name, TIMED_OUT.to_owned());
                    continue;
                };
                if seen.addresses.located.is_empty() {
                    let why = seen.state.why.clone().unwrap_or_default();
                    unanswered.insert(name.clone(), why);
                }
                answers.insert(name, seen.addresses.clone());
            }
            drop(seen);
            // Whoever asked may have given up meanwhile.
            let _ = answer.send((Resolution(Arc::new(answers)), unanswered));
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::UdpSocket;
    use tokio::task::{LocalSet, yield_now};
    use tokio::time::sleep_until;

    use super::*;
    use crate::config::model::{Lookup, Resolve, tests_resolver};

    fn tasks() -> Tasks {
        let (doubts, _) = unbounded_channel();
        Tasks {
            asking: Rc::new(Asking::new(Arc::default(), doubts)),
            running: JoinSet::new(),
            by_name: BTreeMap::new(),
            names: HashMap::new(),
        }
    }

    /// A name server that a test answers for, and a name that is asked of it once.
    async fn asked_once() -> (UdpSocket, ServerName) {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let resolver = Resolver {
            resolve: Resolve::Once,
            addresses: vec![server.local_addr().unwrap()],
            timeout: Duration::from_secs(25),
            ipv6: false,
            ..tests_resolver()
        };
        let name = ServerName {
            host: "once.test.".to_owned(),
            lookup: Lookup::Addresses(8000),
            resolver: Arc::new(resolver),
        };
        (server, name)
    }

    #[tokio::test]
    async fn a_name_that_is_not_asked_about_again_is_waited_for_until_it_is_answered() {
        let (server, name) = asked_once().await;
        let test = async {
            let (answer, mut answered) = oneshot::channel();
            let names = NamesToFollow::from([(name.clone(), false)]);
            let then = Instant::now();
            tasks().learn(names, &Supposed::new(), Until::Then(then), answer);
            let mut message = [0; 512];
            let (length, from) = tokio::select! {
                asked = server.recv_from(&mut message) => asked.unwrap(),
                _ = &mut answered => panic!("it is given up"),
            };
            // The runtime's next turn of its clock, behind the one that ends the wait.
            sleep_until(then + Duration::from_millis(10)).await;
            yield_now().await;
            assert!(answered.try_recv().is_err(), "it is given up");
            // Its header, and the question without what follows it (RFC 1035, 4.1.1).
            let end = 12
                + message[12..length]
                    .iter()
                    .position(|byte| *byte == 0)
                    .unwrap()
                + 5;
            let mut reply = message[..end].to_vec();
            reply[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 7]);
            server.send_to(&reply, from).await.unwrap();
            answered.await.unwrap()
        };
        let (resolution, unanswered) = LocalSet::new().run_until(test).await;
        let located = resolution.of(&name).located;
        assert_eq!(located[0].address.to_string(), "10.0.0.7:8000");
        assert!(unanswered.is_empty());
    }

    #[tokio::test]
    async fn nobody_waits_for_names_whose_asker_has_gone() {
        let (server, name) = asked_once().await;
        let test = async {
            let mut tasks = tasks();
            let (answer, answered) = oneshot::channel();
            let names = NamesToFollow::from([(name, false)]);
            tasks.learn(names, &Supposed::new(), Until::All, answer);
            server.recv(&mut [0; 512]).await.unwrap();
            assert!(Rc::strong_count(&tasks.asking) > 1);
            drop(answered);
            for _ in 0..100 {
                yield_now().await;
            }
            assert_eq!(
                Rc::strong_count(&tasks.asking),
                1,
                "it is asked about still"
            );
        };
        LocalSet::new().run_until(test).await;
    }
}
