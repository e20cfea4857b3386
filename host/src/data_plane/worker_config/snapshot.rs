//! A configuration as the data path needs it: immutable, built by the control plane, shared by the
//! workers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::page_files::PageFiles;
use super::router::Router;
use super::snapshot_metrics::SnapshotMetrics;
use super::trials::Trials;
use crate::access_log::UsedLog;
use crate::config::model::{Config, HookConfig};
use crate::data_plane::upstream::Upstream;
use crate::plugin::{PluginFiles, SharedHandler, SharedHook};
use crate::tls::ServerTls;
use crate::traces::Exporter;

/// Names a listener or a stream through all configurations that have it. Its position in a
/// configuration may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ListenerId(pub(crate) u64);

/// All that the data path needs of one configuration.
pub(crate) struct Snapshot {
    /// Counts configurations, from 1.
    pub(crate) generation: u64,
    pub(crate) config: Config,
    /// Those of the configuration's listeners, then those of its streams.
    pub(crate) listeners: Vec<ListenerId>,
    /// In the order of `listeners`; none where clients speak without.
    pub(crate) tls: Vec<Option<Arc<ServerTls>>>,
    /// Of the admin API.
    pub(crate) admin_tls: Option<Arc<ServerTls>>,
    /// By listener, see [`Router::of_listeners`].
    pub(crate) routers: Arc<[Router]>,
    /// As in the configuration.
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    /// As in the configuration.
    pub(crate) hooks: Vec<Arc<SharedHook>>,
    /// As in the configuration.
    pub(crate) components: Vec<Arc<SharedHandler>>,
    /// Other versions of plugins that are tried.
    pub(crate) trials: Trials,
    pub(crate) page_files: Arc<PageFiles>,
    /// See [`index_by_name`].
    pub(crate) by_name: Arc<HashMap<Box<str>, usize>>,
    /// By listener; none where it is off.
    pub(crate) listener_logs: Vec<Vec<UsedLog>>,
    /// By route: an empty list is off, `None` leaves it to the listener.
    pub(crate) route_logs: Vec<Option<Vec<UsedLog>>>,
    /// By stream; none where it is off.
    pub(crate) stream_logs: Vec<Vec<UsedLog>>,
    /// Where it is counted what routes and streams do.
    pub(crate) metrics: SnapshotMetrics,
    /// Some log line has a variable `$sent_http_*`.
    pub(crate) logs_sent_header: bool,
    /// Some log line, or answer to a client, has `$plugin_note`.
    pub(crate) shows_notes: bool,
    /// Where spans go; none where nothing is traced.
    pub(crate) traces: Option<Arc<Exporter>>,
}

impl Snapshot {
    pub(crate) fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.get(self.upstream_index(name)?)
    }

    /// What this configuration has of an upstream that the next one has at `index`: most often at the
    /// same place.
    pub(crate) fn upstream_before(&self, index: usize, name: &str) -> Option<&Arc<Upstream>> {
        let there = self.upstreams.get(index);
        there
            .filter(|upstream| upstream.config.name == name)
            .or_else(|| self.upstream(name))
    }

    /// Where an upstream is in `upstreams`.
    pub(crate) fn upstream_index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// What this configuration has of a hook of the next: the one of the same name, or declared in
    /// place with the same settings.
    pub(crate) fn predecessor(&self, hook: &HookConfig) -> Option<&Arc<SharedHook>> {
        let known = self.config.hooks.iter().zip(&self.hooks);
        let mut alike = known.filter(|(before, _)| match hook.is_named() {
            true => before.is_named() && before.name == hook.name,
            false => before.means_the_same_as(hook),
        });
        alike.next().map(|(_, hook)| hook)
    }

    /// The files that settings of plugins name, each with what has the settings.
    pub(crate) fn plugin_files(&self) -> impl Iterator<Item = (String, &Arc<PluginFiles>)> {
        let of_hooks = self.hooks.iter();
        let of_hooks = of_hooks.map(|hook| (format!("hook `{}`", hook.name()), hook.files()));
        let of_upstreams = self.upstreams.iter().flat_map(|upstream| {
            let files = upstream.balancers().flat_map(|balancer| balancer.files());
            files.map(|files| (format!("upstream `{}`", upstream.config.name), files))
        });
        let on_trial = self.trials.files();
        let on_trial = on_trial.map(|files| ("a plugin on trial".to_owned(), files));
        of_hooks.chain(of_upstreams).chain(on_trial)
    }

    /// Those of them that were asked for, and those of error pages: all are to be watched.
    pub(crate) fn watched_files(&self) -> Vec<PathBuf> {
        let of_plugins = self.plugin_files().flat_map(|(_, files)| files.paths());
        of_plugins.chain(self.page_files.paths().cloned()).collect()
    }

    /// The position of a listener, or of a stream, in `listeners`.
    pub(crate) fn position(&self, listener: ListenerId) -> Option<usize> {
        let mut listeners = self.listeners.iter();
        listeners.position(|known| *known == listener)
    }
}

/// Where each upstream is, by name. Made once for all workers, which look up each of thousands when
/// a configuration takes effect.
pub(crate) fn index_by_name(upstreams: &[Arc<Upstream>]) -> HashMap<Box<str>, usize> {
    let names = upstreams.iter().map(|upstream| &*upstream.config.name);
    let indexed = names.enumerate().map(|(index, name)| (name.into(), index));
    indexed.collect()
}
