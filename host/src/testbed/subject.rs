//! The plugin that is tried, what it is used as, and its settings.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::servers::Servers;
use crate::plugin::{
    Balancer, BalancerParts, ConfigureError, DestinationNames, FleetView, HookContext, Kind,
    Plugin, PolicyContext, ScorerPart, SharedHook, UpstreamTraits, each_text,
};

/// A plugin, one of its kinds, and the settings that it is tried with.
pub struct Subject {
    pub plugin: Plugin,
    pub kind: Kind,
    pub settings: Map<String, Value>,
    /// What the place says that uses it, if it is a hook.
    pub place: Map<String, Value>,
    /// What picks behind a filter or a scorer: `round_robin`.
    pub picks: Plugin,
}

impl Subject {
    /// Tries settings: as a hook in one place, or over three servers.
    ///
    /// # Errors
    /// It refuses them, or fails.
    pub fn configure(&self, settings: &Map<String, Value>) -> Result<(), ConfigureError> {
        match self.kind {
            Kind::Hook => self.as_hook(settings).map(drop),
            _ => {
                let servers = Arc::new(Servers::alike(3));
                self.over(&servers, settings).map(drop)
            }
        }
    }

    /// It as a policy, filter or scorer over these servers.
    ///
    /// # Errors
    /// It refuses the settings, or fails.
    pub(super) fn over(
        &self,
        servers: &Arc<Servers>,
        settings: &Map<String, Value>,
    ) -> Result<Arc<Balancer>, ConfigureError> {
        self.over_fleet(servers.clone(), settings)
    }

    /// As [`over`](Subject::over), with a fleet of any kind.
    ///
    /// # Errors
    /// It refuses the settings, or fails.
    pub(super) fn over_fleet(
        &self,
        fleet: Arc<dyn FleetView>,
        settings: &Map<String, Value>,
    ) -> Result<Arc<Balancer>, ConfigureError> {
        let (settings, none) = (Value::Object(settings.clone()), Value::Object(Map::new()));
        let (mut filters, mut scorers) = (Vec::new(), Vec::new());
        let (policy, of_policy) = match self.kind {
            Kind::Policy | Kind::Hook => (&self.plugin, settings),
            Kind::Filter => {
                filters.push((self.plugin.clone(), settings));
                (&self.picks, none)
            }
            Kind::Scorer => {
                scorers.push(ScorerPart {
                    plugin: self.plugin.clone(),
                    settings,
                    weight: 1,
                });
                (&self.picks, none)
            }
        };
        let parts = BalancerParts {
            policy: policy.clone(),
            settings: &of_policy,
            filters: &filters,
            scorers: &scorers,
            // What it cannot answer is to be seen.
            fallback: None,
        };
        let context = PolicyContext {
            upstream: "trial".to_owned(),
            ..PolicyContext::default()
        };
        Balancer::new(parts, fleet, &context).map(Arc::new)
    }

    /// It as a hook that is used in one place.
    ///
    /// # Errors
    /// It refuses the settings, or fails.
    pub(super) fn as_hook(
        &self,
        settings: &Map<String, Value>,
    ) -> Result<Arc<SharedHook>, ConfigureError> {
        let settings = Value::Object(settings.clone());
        let place = Value::Object(self.place.clone());
        let context = HookContext {
            places: &[&place],
            traits: UpstreamTraits::default(),
            variables: &Arc::default(),
            directory: Path::new("."),
            destinations: &Arc::new(self.destinations()),
            workers: 1,
        };
        SharedHook::new("trial", self.plugin.clone(), &settings, &context).map(Arc::new)
    }

    /// Routes and upstreams: whatever the settings of the trial name is there.
    fn destinations(&self) -> DestinationNames {
        let mut names = DestinationNames::default();
        let settings = self.settings.values().chain(self.place.values());
        let mut name = |text: &str| {
            names.routes.insert(text.to_owned());
            names.upstreams.insert(text.to_owned());
        };
        settings.for_each(|value| each_text(value, &mut name));
        names
    }
}
