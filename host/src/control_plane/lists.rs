//! Servers that are listed elsewhere, as a change like any other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::operator::{ChangeRefused, ChangeResult, Changed, Operator};
use super::publish::Plan;
use super::resolve;
use super::servers;
use crate::config::model::{Config, ServerName, UpstreamConfig};
use crate::discovery::{Listed, Sources};
use crate::names::{Learned, Names};

/// How long lists wait for the names that they have brought: the servers that leave are served until
/// those that come are known, or this has passed. They get their servers when they are.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lists that differ from what is served.
pub(super) struct ChangedLists {
    /// By upstream.
    lists: Vec<(String, Listed)>,
    /// What the names stand for that they have brought; nothing where that is not known in time.
    learned: Option<Learned>,
}

impl ChangedLists {
    /// Those that there are, beside a configuration that is served.
    pub(super) async fn learn(config: &Config, sources: &Sources, names: &Names) -> ChangedLists {
        let mut next = config.clone();
        let mut lists = Vec::new();
        for upstream in &mut next.upstreams {
            let listed = upstream.source.as_ref().and(sources.listed(upstream));
            let Some(listed) = listed else { continue };
            if let Some(changed) = with_list(upstream, &listed) {
                *upstream = changed.into();
                lists.push((upstream.name.clone(), listed));
            }
        }
        let before = resolve::names(config);
        let new = resolve::names(&next);
        let new: BTreeSet<ServerName> = new.difference(&before).cloned().collect();
        let learned = match new.is_empty() {
            true => None,
            false => timeout(PATIENCE, names.learn(new)).await.ok(),
        };
        ChangedLists { lists, learned }
    }
}

/// An upstream with the servers that are listed for it; none where that changes nothing.
fn with_list(upstream: &UpstreamConfig, listed: &Listed) -> Option<UpstreamConfig> {
    let mut next = UpstreamConfig::clone(upstream);
    servers::list(&mut next, listed);
    (next != *upstream).then_some(next)
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

    /// Has those sources looked after that are served from, and no others.
    pub(super) fn keep_sources(&self) {
        self.sources.keep(&self.published.load().snapshot.config);
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
            plan.resolution = present.resolution.updated(&learned.resolution);
        }
        self.publish(config, plan).await
    }
}
