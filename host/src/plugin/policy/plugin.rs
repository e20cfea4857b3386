//! What is asked of a plugin that chooses endpoints as a whole.

use serde_json::Value;

use super::super::component::Plugin;
use super::super::error::ConfigureError;
use super::super::files::PluginFiles;
use super::super::imports::Surroundings;
use super::super::instance::Instance;
use super::super::world::Kind;
use super::PolicyContext;
use super::instance::OfEndpoints;
use super::slot::configured;
use super::world::{Filter, Policy, Scorer};

impl Plugin {
    /// Whether it wants to hear of failed attempts (`failures` in the WIT).
    pub fn hears_failures(&self) -> bool {
        let policy = self.inner().kinds.policy.as_ref();
        policy.is_some_and(|policy| policy.failed.is_some())
    }

    /// Whether its instances take other endpoints in place (`member-changes` in the WIT).
    pub fn takes_changes(&self) -> bool {
        let policy = self.inner().kinds.policy.as_ref();
        policy.is_some_and(|policy| policy.change.is_some())
    }

    /// Whether it wants to hear how every attempt ended (`observer` in the WIT).
    pub fn hears_endings(&self) -> bool {
        let policy = self.inner().kinds.policy.as_ref();
        policy.is_some_and(|policy| policy.done.is_some())
    }

    /// Tries settings for an upstream on an instance of their own, as the plugin's use of this
    /// kind.
    ///
    /// # Errors
    /// [`ConfigureError`]: what is wrong with them, or that the plugin failed.
    pub fn configure(
        &self,
        kind: Kind,
        settings: &Value,
        context: &PolicyContext,
    ) -> Result<(), ConfigureError> {
        match kind {
            Kind::Policy => self.try_settings::<Policy>(settings, context),
            Kind::Filter => self.try_settings::<Filter>(settings, context),
            Kind::Scorer => self.try_settings::<Scorer>(settings, context),
            Kind::Hook => Ok(()), // they are tried with their places: see `Hooks::new`
        }
    }

    fn try_settings<W: OfEndpoints>(
        &self,
        settings: &Value,
        context: &PolicyContext,
    ) -> Result<(), ConfigureError> {
        let files = PluginFiles::named_in(std::iter::once(settings), &context.directory);
        let surroundings = Surroundings {
            traits: context.traits,
            variables: context.variables.clone(),
            files: Some(files),
            ..Surroundings::default()
        };
        let mut instance = Instance::<W>::new(self, surroundings)?;
        configured(&mut instance, &settings.to_string()).map(drop)
    }
}
