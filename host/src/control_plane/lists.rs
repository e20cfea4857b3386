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
use crate::config::model::{Config, ServerName, UpstreamConfig, UpstreamServer};
use crate::discovery::{Listed, Sources};
use crate::names::{Learned, Names, Resolution, Until};

/// Lists that differ from what is served, by upstream.
pub(super) struct ChangedLists {
    pub(super) lists: Vec<(String, Listed)>,
    /// What the names stand for that they have brought; none where they have brought none.
    pub(super) learned: Option<Learned>,
}

/// How long a list, or the first of several that follow each other, waits for all names that it has
/// brought. Beyond that it waits until it has a server: one of the names is known, or there are others;
/// and for those names that are not asked about again.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a list has brought.
struct New {
    /// Names that are not asked about yet, or have no address yet where they serve already.
    names: BTreeSet<ServerName>,
    /// There are other servers that can serve.
    others: bool,
}

impl New {
    /// `served`: the names that are served, as they are known by `resolution`.
    fn of(next: &UpstreamConfig, served: &BTreeSet<ServerName>, resolution: &Resolution) -> New {
        let is_located = |server: &UpstreamServer| !resolution.addresses(server).located.is_empty();
        // What is asked about once has had its answer when it is served.
        let is_new = |name: &ServerName| {
            let is_known = name.is_once() || !resolution.of(name).located.is_empty();
            !(served.contains(name) && is_known)
        };
        let can_serve = |server: &&UpstreamServer| {
            let is_known = resolve::name(server).is_none_or(|name| !is_new(name));
            !server.down && is_known && is_located(server)
        };
        let names = next.servers.iter().filter_map(resolve::name);
        New {
            others: next.servers.iter().any(|server| can_serve(&server)),
            names: names.filter(|name| is_new(name)).cloned().collect(),
        }
    }
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
        let published = self.published.load_full();
        let config = &published.snapshot.config;
        // One that changes nothing is served already.
        note_served(&self.sources, config);
        let mut changed = Vec::new();
        let mut served = None;
        for upstream in &config.upstreams {
            let listed = upstream.source.as_ref().and(self.sources.listed(upstream));
            let Some(listed) = listed else { continue };
            let Some(next) = with_list(upstream, &listed) else {
                continue;
            };
            let served = served.get_or_insert_with(|| resolve::names(config));
            let new = New::of(&next, served, &published.resolution);
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
        let (mut plan, names) = (Plan::of(&present), resolve::names(&config));
        if let Some(learned) = learned {
            let resolution = present.resolution.updated(&learned.resolution);
            // What has come meanwhile was not learned with it.
            plan.resolution = resolution.updated(&self.names.resolution().only(&names));
        }
        let generation = self.publish(config, plan).await?;
        let unanswered = learned.iter().flat_map(|learned| &learned.unanswered);
        for (name, why) in unanswered.filter(|(name, _)| name.is_once() && names.contains(*name)) {
            // What is asked about again says so itself.
            tracing::error!("{name} could not be resolved ({why}); it is not asked about again");
        }
        Ok(generation)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::names::tests_addresses;

    /// What a list has brought, beside two names that serve: one has an address, the other none.
    fn new(resolve: &str, servers: &str) -> (usize, bool) {
        let text = format!(
            "[server]\nresolve = \"{resolve}\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
             [upstream.serves]\nservers = [\"known.test\", \"unknown.test\"]\n\
             [upstream.next]\nservers = [{servers}]\n"
        );
        let config = crate::config::parse(&text, Path::new("test.toml")).unwrap();
        let served = config.upstreams[0].servers.iter();
        let served: Vec<ServerName> = served.filter_map(resolve::name).cloned().collect();
        let resolution = Resolution::default().with(served[0].clone(), tests_addresses());
        let served = served.into_iter().collect();
        let New { names, others } = New::of(&config.upstreams[1], &served, &resolution);
        (names.len(), others)
    }

    #[test]
    fn only_a_server_that_can_serve_lets_a_list_go_on_without_its_names() {
        let slow = "\"slow.test\"";
        for (other, names, others) in [
            ("\"10.0.0.1\"", 1, true),
            ("{ address = \"10.0.0.1\", down = true }", 1, false),
            ("\"known.test\"", 1, true),
            ("{ address = \"known.test\", down = true }", 1, false),
            ("\"unknown.test\"", 2, false),
        ] {
            let new = new("again", &format!("{other}, {slow}"));
            assert_eq!(new, (names, others), "{other}");
        }
        assert_eq!(new("again", "\"unknown.test\""), (1, false));
        assert_eq!(new("once", "\"unknown.test\""), (0, false));
    }
}
