//! How an upstream's servers are chosen: a policy, what narrows and ranks its candidates, and what
//! answers when it fails.

use serde_json::Value as Json;

use super::SettingsPlace;

/// A policy by its plugin's name, with its own settings.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyUse {
    pub plugin: String,
    /// The policy's table without the words that are the host's, as JSON; `{}` where there is none.
    pub settings: Json,
    pub place: SettingsPlace,
    /// Asked in this order, before the scorers.
    pub filters: Vec<PluginUse>,
    pub scorers: Vec<ScorerUse>,
    /// `None`: the one that `[plugin.NAME]` says, `round_robin` for a stock policy.
    pub fallback: Option<Fallback>,
}

impl PolicyUse {
    /// Whether both say the same, though they may stand at other places of the file.
    pub fn means_the_same_as(&self, other: &PolicyUse) -> bool {
        std::ptr::eq(self, other) || self.without_places() == other.without_places()
    }

    /// The same without places, for comparisons of what is meant.
    pub(super) fn without_places(&self) -> PolicyUse {
        let mut policy = self.clone();
        policy.place = SettingsPlace::default();
        let scorers = policy.scorers.iter_mut().map(|scorer| &mut scorer.scorer);
        for plugin in policy.filters.iter_mut().chain(scorers) {
            plugin.place = SettingsPlace::default();
        }
        policy
    }
}

/// A plugin by its name, with its own settings: a filter or a scorer.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginUse {
    pub plugin: String,
    /// As those of [`PolicyUse`].
    pub settings: Json,
    pub place: SettingsPlace,
}

/// A scorer, and what its scores count beside those of others.
#[derive(Debug, Clone, PartialEq)]
pub struct ScorerUse {
    pub scorer: PluginUse,
    /// 1 to 100, default 1.
    pub weight: u32,
}

/// What answers when a policy fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fallback {
    /// `refuse`: nothing. The exchange ends as if no server were left.
    Refuse,
    /// The policy of this name, without settings.
    Policy(String),
}

impl Fallback {
    /// The word that stands for [`Fallback::Refuse`].
    pub const REFUSE: &str = "refuse";

    /// As the file has it.
    pub fn spelling(&self) -> &str {
        match self {
            Fallback::Refuse => Fallback::REFUSE,
            Fallback::Policy(name) => name,
        }
    }

    /// The policy that answers, if one does.
    pub fn policy(&self) -> Option<&str> {
        match self {
            Fallback::Refuse => None,
            Fallback::Policy(name) => Some(name),
        }
    }
}
