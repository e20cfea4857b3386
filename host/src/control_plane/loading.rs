//! Plugins are loaded beside the operator: a component may take minutes to compile, and addresses
//! change meanwhile.

use std::collections::HashMap;
use std::time::Duration;

use super::blocking::{FILES, TookTooLong};
use crate::config::model;
use crate::plugin::{Hash, Plugin, PluginError, PluginOptions};

/// What came of loading plugins that a configuration has, by their names.
#[derive(Default)]
pub(super) struct Loaded(HashMap<String, LoadedPlugin>);

struct LoadedPlugin {
    component: Hash,
    options: PluginOptions,
    plugin: Result<Plugin, PluginError>,
}

impl Loaded {
    pub(super) fn insert(
        &mut self,
        name: &str,
        component: Hash,
        options: PluginOptions,
        plugin: Result<Plugin, PluginError>,
    ) {
        let loaded = LoadedPlugin {
            component,
            options,
            plugin,
        };
        self.0.insert(name.to_owned(), loaded);
    }

    /// What came of loading this component with these options, if it was loaded.
    pub(super) fn take(
        &mut self,
        name: &str,
        component: Hash,
        options: &PluginOptions,
    ) -> Option<Result<Plugin, PluginError>> {
        let loaded = self.0.remove(name)?;
        let is_same = loaded.component == component && loaded.options == *options;
        is_same.then_some(loaded.plugin)
    }
}

/// Why a version cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("the configuration has no such plugin")]
    Unknown,
    #[error("it is a stock plugin, which is part of waypost: give yours another name")]
    Stock,
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error(transparent)]
    Late(#[from] TookTooLong),
}

/// For loading plugins one after the other: reading them, and compiling within their bounds.
pub(super) fn loading_limit<'a>(
    plugins: impl IntoIterator<Item = &'a model::PluginConfig>,
) -> Duration {
    // The bound on compiling is on processor time, and a busy machine takes ten times as long.
    let compiling = plugins.into_iter().map(|plugin| 11 * plugin.compile.time);
    FILES + compiling.sum::<Duration>()
}
