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

/// How long a change waits for the names that a list has brought.
const PATIENCE: Duration = Duration::from_secs(1);

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
    pub(super) async fn lists_changed(&mut self) -> ChangeResult {
        let changed = self.changed_lists();
        let mut outcome = self.serve_lists(&changed).await;
        if outcome.is_err() && changed.len() > 1 {
            // One that cannot be served must not hold up the others.
            for list in changed.chunks(1) {
                outcome = self.serve_lists(list).await;
                self.note_refused(list, &outcome);
            }
        } else {
            self.note_refused(&changed, &outcome);
        }
        Ok(Changed {
            generation: outcome?,
            ..Changed::default()
        })
    }

    fn note_refused(&self, lists: &[(usize, Listed)], outcome: &Result<u64, ChangeRefused>) {
        let Err(refusal) = outcome else { return };
        let present = self.published.load();
        for (index, listed) in lists {
            let Some(upstream) = present.snapshot.config.upstreams.get(*index) else {
                continue;
            };
            let name = &upstream.name;
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

    /// Upstreams that would have other servers, by index, with what is listed for them.
    fn changed_lists(&self) -> Vec<(usize, Listed)> {
        let present = self.published.load();
        let upstreams = present.snapshot.config.upstreams.iter().enumerate();
        let changed = upstreams.filter_map(|(index, upstream)| {
            upstream.source.as_ref()?;
            let listed = self.sources.listed(upstream)?;
            let mut next = UpstreamConfig::clone(upstream);
            servers::list(&mut next, &listed);
            (next != **upstream).then_some((index, listed))
        });
        changed.collect()
    }

    async fn serve_lists(&mut self, lists: &[(usize, Listed)]) -> Result<u64, ChangeRefused> {
        let present = self.published.load_full();
        if lists.is_empty() {
            return Ok(present.snapshot.generation);
        }
        let mut config = present.snapshot.config.clone();
        let before = resolve::names(&config);
        for (index, listed) in lists {
            if let Some(upstream) = config.upstreams.get_mut(*index) {
                servers::list(Arc::make_mut(upstream), listed);
            }
        }
        let mut plan = Plan::of(&present);
        let names = resolve::names(&config);
        let new: BTreeSet<ServerName> = names.difference(&before).cloned().collect();
        if !new.is_empty() {
            // The servers that leave are served until those that come are known, but no other change
            // waits for a list of names that nobody knows: they get their servers when they are.
            let learned = timeout(PATIENCE, self.names.learn(new)).await;
            if let Ok(learned) = learned {
                plan.resolution = present.resolution.updated(&learned.resolution);
            }
        }
        self.publish(config, plan).await
    }
}
