//! Servers that are listed elsewhere, as a change like any other.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::operator::{
    Change, ChangeRefused, ChangeRequest, ChangeResult, Changed, Operator, Published,
};
use super::publish::Plan;
use super::resolve;
use super::servers;
use crate::config::model::{Config, ServerName, UpstreamConfig};
use crate::discovery::{Listed, Sources};
use crate::names::{Learned, Names, Until};

/// Lists that differ from what is served, by upstream.
pub(super) struct ChangedLists {
    pub(super) lists: Vec<(String, Listed)>,
    /// What the names stand for that they have brought; none where they have brought none.
    pub(super) learned: Option<Learned>,
}

/// How long a list, or the first of several that follow each other, waits for all names that it has
/// brought. Beyond that it waits until it has a server: one of the names is known, or there are others.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a list has brought.
struct New {
    /// Names that are not asked about yet.
    names: BTreeSet<ServerName>,
    /// There are other servers.
    others: bool,
}

/// A list whose names are asked about.
struct UnderWay {
    listed: Listed,
    /// When it was first seen that the upstream's list is another one.
    since: Instant,
    learning: AbortHandle,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.learning.abort();
    }
}

/// Has lists served as they change. The servers that leave are served until those are known that
/// come, or cannot be known: meanwhile other lists go on.
pub(super) struct Listing {
    pub(super) published: Arc<ArcSwap<Published>>,
    pub(super) names: Names,
    pub(super) sources: Sources,
    pub(super) changes: UnboundedSender<ChangeRequest>,
}

impl Listing {
    pub(super) async fn heed(self) {
        let mut learning: JoinSet<ChangedLists> = JoinSet::new();
        let mut under_way: HashMap<String, UnderWay> = HashMap::new();
        loop {
            // One that cannot be served is not tried again before something changes.
            let mut tried = None;
            tokio::select! {
                () = self.sources.changed() => {}
                Some(learned) = learning.join_next() => match learned {
                    Ok(changed) => {
                        tried = changed.lists.first().cloned();
                        if let Some((upstream, learned)) = &tried {
                            under_way.retain(|name, list| {
                                name != upstream || !Arc::ptr_eq(&list.listed, learned)
                            });
                        }
                        self.serve(changed).await;
                    }
                    // Another list has come meanwhile.
                    Err(error) if error.is_cancelled() => {}
                    // A panic, of which the log tells.
                    Err(_) => under_way.clear(),
                }
            }
            let mut known = Vec::new();
            let changed = self.changed();
            let differs = |upstream: &String| changed.iter().any(|(name, ..)| name == upstream);
            under_way.retain(|upstream, _| differs(upstream));
            for (upstream, listed, New { names: new, others }) in changed {
                let is_same = |other: &Listed| Arc::ptr_eq(other, &listed);
                let was_tried = tried.as_ref().is_some_and(|(_, tried)| is_same(tried));
                let before = under_way.get(&upstream);
                if was_tried || before.is_some_and(|before| is_same(&before.listed)) {
                    continue;
                }
                let since = before.map_or_else(Instant::now, |before| before.since);
                if new.is_empty() {
                    under_way.remove(&upstream);
                    known.push((upstream, listed));
                    continue;
                }
                let then = since + PATIENCE;
                let until = match others {
                    true => Until::Then(then),
                    false => Until::Some(then),
                };
                let learn = self.names.learn_until(new, until);
                let lists = vec![(upstream.clone(), listed.clone())];
                let learning = learning.spawn_local(async move {
                    let learned = Some(learn.await);
                    ChangedLists { lists, learned }
                });
                let list = UnderWay {
                    listed,
                    since,
                    learning,
                };
                // The one before ends behind this: names of both are looked after all the time.
                under_way.insert(upstream, list);
            }
            if !known.is_empty() {
                let (lists, learned) = (known, None);
                self.serve(ChangedLists { lists, learned }).await;
            }
        }
    }

    /// Its outcome is in the log.
    async fn serve(&self, changed: ChangedLists) {
        let (done, served) = oneshot::channel();
        let change = Change::ListsChanged(changed);
        if self.changes.send((change, Some(done))).is_ok() {
            let _ = served.await;
        }
    }

    /// Each list that differs from what is served, and what it has brought.
    fn changed(&self) -> Vec<(String, Listed, New)> {
        let config = self.published.load().snapshot.config.clone();
        // One that changes nothing is served already.
        note_served(&self.sources, &config);
        let mut changed = Vec::new();
        let mut served = None;
        for upstream in &config.upstreams {
            let listed = upstream.source.as_ref().and(self.sources.listed(upstream));
            let Some(listed) = listed else { continue };
            let Some(next) = with_list(upstream, &listed) else {
                continue;
            };
            let served = served.get_or_insert_with(|| resolve::names(&config));
            let is_new = |name: &&ServerName| !served.contains(*name);
            let names = next.servers.iter().map(resolve::name);
            let new = New {
                others: names.clone().any(|name| name.filter(is_new).is_none()),
                names: names.flatten().filter(is_new).cloned().collect(),
            };
            changed.push((upstream.name.clone(), listed, new));
        }
        changed
    }
}

/// An upstream with the servers that are listed for it; none where that changes nothing.
fn with_list(upstream: &UpstreamConfig, listed: &Listed) -> Option<UpstreamConfig> {
    let mut next = UpstreamConfig::clone(upstream);
    servers::list(&mut next, listed);
    (next != *upstream).then_some(next)
}

/// Notes which lists this configuration is served with.
fn note_served(sources: &Sources, config: &Config) {
    sources.note_served(config, |upstream, listed| {
        with_list(upstream, listed).is_none()
    });
}

/// Gives each upstream of a configuration what its source lists. Where that is not known, what is
/// served of the same source stays.
pub(super) fn fill(config: &mut Config, sources: &Sources, served: Option<&Config>) {
    let of_sources = config.upstreams.iter_mut();
    let of_sources = of_sources.filter(|upstream| upstream.source.is_some());
    for upstream in of_sources.map(Arc::make_mut) {
        if let Some(listed) = sources.listed(upstream) {
            servers::list(upstream, &listed);
            continue;
        }
        let mut before = served.iter().flat_map(|served| &served.upstreams);
        let before = before
            .find(|before| (&before.name, &before.source) == (&upstream.name, &upstream.source));
        let listed = before.into_iter().flat_map(|before| &before.servers);
        let listed: Vec<_> = listed.filter(|server| server.listed).cloned().collect();
        if !listed.is_empty() {
            servers::list(upstream, &listed);
        }
    }
}

impl Operator {
    /// As [`fill`], beside what is served now.
    pub(super) fn list_servers(&self, config: &mut Config) {
        let present = self.published.load();
        fill(config, &self.sources, Some(&present.snapshot.config));
    }

    /// Has those sources looked after that are served from, and no others, and notes which of their
    /// lists are served.
    pub(super) fn keep_sources(&self) {
        let published = self.published.load();
        self.sources.keep(&published.snapshot.config);
        note_served(&self.sources, &published.snapshot.config);
    }

    /// Watches files with lists where they are now. They are being read already.
    pub(super) async fn list_files_changed(&mut self) -> ChangeResult {
        let snapshot = self.published.load_full().snapshot.clone();
        self.watcher
            .follow(&snapshot.config, snapshot.watched_files())
            .await;
        Ok(Changed::default())
    }

    /// Serves the servers that are listed now.
    pub(super) async fn lists_changed(&mut self, changed: &ChangedLists) -> ChangeResult {
        let learned = changed.learned.as_ref();
        let mut outcome = self.serve_lists(&changed.lists, learned).await;
        if outcome.is_err() && changed.lists.len() > 1 {
            // One that cannot be served must not hold up the others.
            for list in changed.lists.chunks(1) {
                outcome = self.serve_lists(list, learned).await;
                self.note_refused(list, &outcome);
            }
        } else {
            self.note_refused(&changed.lists, &outcome);
        }
        Ok(Changed {
            generation: outcome?,
            ..Changed::default()
        })
    }

    fn note_refused(&self, lists: &[(String, Listed)], outcome: &Result<u64, ChangeRefused>) {
        let Err(refusal) = outcome else { return };
        let present = self.published.load();
        for (name, listed) in lists {
            let mut upstreams = present.snapshot.config.upstreams.iter();
            let Some(upstream) = upstreams.find(|upstream| upstream.name == *name) else {
                continue;
            };
            tracing::error!(
                "upstream `{name}`: its list is not served, those before stay: {refusal}"
            );
            // What lies with the machine may be another time.
            if let ChangeRefused::Problems { .. } = refusal {
                self.sources
                    .refuse(upstream, listed.clone(), refusal.to_string());
            }
        }
    }

    async fn serve_lists(
        &mut self,
        lists: &[(String, Listed)],
        learned: Option<&Learned>,
    ) -> Result<u64, ChangeRefused> {
        let present = self.published.load_full();
        let mut config = present.snapshot.config.clone();
        let mut is_other = false;
        for (name, listed) in lists {
            let mut upstreams = config.upstreams.iter_mut();
            let upstream = upstreams.find(|upstream| upstream.name == *name);
            // Another list that has come meanwhile is a change of its own.
            let is_listed = |upstream: &&mut Arc<UpstreamConfig>| {
                let now = self.sources.listed(upstream);
                now.is_some_and(|now| Arc::ptr_eq(&now, listed))
            };
            let Some(upstream) = upstream.filter(is_listed) else {
                continue;
            };
            if let Some(changed) = with_list(upstream, listed) {
                *upstream = changed.into();
                is_other = true;
            }
        }
        if !is_other {
            return Ok(present.snapshot.generation);
        }
        let mut plan = Plan::of(&present);
        if let Some(learned) = learned {
            let resolution = present.resolution.updated(&learned.resolution);
            // What has come meanwhile was not learned with it.
            let names = resolve::names(&config);
            plan.resolution = resolution.updated(&self.names.resolution().only(&names));
        }
        self.publish(config, plan).await
    }
}
