//! One plugin of the configuration: the version in force and the one before it, or that it is not
//! compiled yet.

use crate::config::model;
use crate::plugin::{Hash, Plugin, PluginEventKind, PluginOptions, Untrusted};

/// Whether a version was loaded with the options of an entry, and is what that trusts.
pub(super) fn is_allowed(plugin: &Plugin, config: &model::PluginConfig) -> bool {
    *plugin.options() == PluginOptions::from(config) && config.trust.covers(plugin)
}

/// One plugin.
#[derive(Clone)]
pub(super) struct RegisteredPlugin {
    /// `None` for a stock plugin.
    pub(super) config: Option<model::PluginConfig>,
    pub(super) current: Plugin,
    /// The version that was in force before, for a rollback.
    pub(super) previous: Option<Plugin>,
    pub(super) rolled_back: bool,
    /// What the file of the configuration held when it was last loaded: a version that was loaded
    /// by hand stays in force until the file itself changes.
    pub(super) file: Option<Hash>,
    /// The number of the last load, whether it went well or not.
    pub(super) last_version: u64,
}

impl RegisteredPlugin {
    pub(super) fn new(config: Option<model::PluginConfig>, current: Plugin) -> RegisteredPlugin {
        RegisteredPlugin {
            file: config.as_ref().map(|_| current.hash()),
            last_version: current.version(),
            config,
            current,
            previous: None,
            rolled_back: false,
        }
    }

    /// `live`, `quarantined`, `over budget` or `rolled back`.
    pub(super) fn state(&self) -> &'static str {
        match self.rolled_back {
            _ if self.current.is_quarantined() => "quarantined",
            _ if self.current.is_over_budget() => "over budget",
            true => "rolled back",
            false => "live",
        }
    }

    /// Notes in its history that the present version serves.
    pub(super) fn note_serving(&self) {
        let kind = match self.rolled_back {
            true => PluginEventKind::RolledBack,
            false => PluginEventKind::Serves,
        };
        let hash = Untrusted::name(self.current.hash());
        self.current
            .history()
            .note(self.current.version(), kind, hash);
    }

    /// Whether it is allowed what this entry allows.
    pub(super) fn is_allowed(&self, config: &model::PluginConfig) -> bool {
        is_allowed(&self.current, config)
    }

    /// The version that a rollback would return to.
    pub(super) fn version_before(&self) -> Option<&Plugin> {
        let before = self.previous.as_ref()?;
        let config = self.config.as_ref();
        // What the configuration has taken away since does not come back with it.
        let is_allowed = config.is_none_or(|config| is_allowed(before, config));
        (is_allowed && !before.is_quarantined()).then_some(before)
    }

    /// Puts a further version in force.
    pub(super) fn put(&mut self, plugin: Plugin) {
        self.last_version = plugin.version();
        self.previous = Some(std::mem::replace(&mut self.current, plugin));
        self.rolled_back = false;
    }
}

/// A plugin that is not compiled yet.
#[derive(Clone)]
pub(super) struct WaitingPlugin {
    pub(super) config: model::PluginConfig,
    /// What its file held when the configuration was read.
    pub(super) file: Hash,
    /// It cannot be used: it waits for a reload, or for another version.
    pub(super) is_refused: bool,
}

impl WaitingPlugin {
    /// `compiling` or `refused`.
    pub(super) fn state(&self) -> &'static str {
        match self.is_refused {
            true => "refused",
            false => "compiling",
        }
    }
}
