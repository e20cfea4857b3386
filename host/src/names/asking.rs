//! The question about one name, again when the answer has expired, and sooner when somebody doubts
//! it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, watch};
use tokio::time::sleep_until;

use super::doubt::Doubt;
use super::known::{BREATH, Change, Known, Outcome, listed};
use super::name_servers::{Asker, NameServers};
use super::paces::Paces;
use super::question::Question;
use super::resolution::{Located, ServerAddresses};
use super::shared::{Seen, Shared};
use super::system::System;
use crate::config::model::{Resolver, ServerName};

/// What all tasks use.
pub(super) struct Asking {
    pub(super) shared: Arc<Shared>,
    doubts: UnboundedSender<Arc<Doubt>>,
    system: RefCell<Rc<System>>,
    looked: Cell<Instant>,
    servers: RefCell<HashMap<Arc<Resolver>, Rc<NameServers>>>,
}

/// What the task of a name is told, and tells, while it runs.
pub(super) struct Followed {
    /// Somebody doubts the last answer.
    pub(super) doubted: Notify,
    /// There was an answer, or none could be had.
    pub(super) answered: watch::Sender<bool>,
    /// It is looked after whether or not it is tried out.
    pub(super) wanted: Cell<bool>,
    /// See [`Names::try_out`](super::Names::try_out).
    pub(super) by_pattern: watch::Sender<bool>,
    /// How the questions about it went.
    paces: Rc<Paces>,
}

impl Followed {
    pub(super) fn new(wanted: bool, by_pattern: bool) -> Followed {
        Followed {
            doubted: Notify::new(),
            answered: watch::Sender::new(false),
            wanted: Cell::new(wanted),
            by_pattern: watch::Sender::new(by_pattern),
            paces: Rc::new(Paces::of_a_name()),
        }
    }
}

impl Asking {
    pub(super) fn new(shared: Arc<Shared>, doubts: UnboundedSender<Arc<Doubt>>) -> Asking {
        Asking {
            shared,
            doubts,
            system: RefCell::new(Rc::new(System::read())),
            looked: Cell::new(Instant::now()),
            servers: RefCell::default(),
        }
    }

    /// Forgets the name servers of all other resolvers.
    pub(super) fn retain(&self, used: impl Fn(&Arc<Resolver>) -> bool) {
        let mut servers = self.servers.borrow_mut();
        servers.retain(|resolver, _| used(resolver));
    }

    /// Asks about a name again and again. `before`: what it stood for until now, if that is known.
    pub(super) async fn follow(
        &self,
        name: &ServerName,
        followed: &Followed,
        before: Option<Arc<[Located]>>,
    ) {
        let doubt = Doubt::about(name.clone(), self.doubts.clone());
        let mut is_first = before.is_none();
        let mut known = Known::before(before.unwrap_or_default(), Instant::now());
        loop {
            let asked = Instant::now();
            let outcome = self.ask(name, known.meant(), followed).await;
            let lookups = &self.shared.lookups;
            match &outcome {
                Outcome::Found { .. } => lookups.found.increment(),
                Outcome::Absent(_) => lookups.absent.increment(),
                Outcome::Failed(_) => lookups.failed.increment(),
            }
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
            if followed.wanted.get() {
                say(name, &change, known.located(), is_first, is_answer);
            }
            is_first = false;
            followed.answered.send_replace(true);
            tokio::select! {
                () = sleep_until(known.next().into()) => {}
                () = followed.doubted.notified() => sleep_until(known.earliest().into()).await,
            }
        }
    }

    /// Asks about a name that is not asked about again.
    pub(super) async fn ask_once(&self, name: &ServerName) -> Outcome {
        self.ask(name, None, &Followed::new(true, false)).await
    }

    /// Asks about a name once.
    async fn ask(&self, name: &ServerName, meant: Option<&str>, followed: &Followed) -> Outcome {
        let question = match self.servers_of(&name.resolver) {
            Ok(servers) => Question {
                servers,
                asker: Asker {
                    by_pattern: followed.by_pattern.subscribe(),
                    paces: followed.paces.clone(),
                },
            },
            Err(why) => return Outcome::Failed(why),
        };
        question.ask(name, meant).await
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
