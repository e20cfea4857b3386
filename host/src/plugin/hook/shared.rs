//! A hook as all workers share it: a plugin, its settings, and all places that use it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::Value;

use super::super::component::Plugin;
use super::super::context::UpstreamTraits;
use super::super::destinations::{DestinationNames, Destinations};
use super::super::error::ConfigureError;
use super::super::files::PluginFiles;
use super::super::role::Role;
use super::super::untrusted::Untrusted;
use super::super::waiting::Reachable;
use super::slot::HookSpec;
use crate::http::template::Template;
use crate::http::variable::KnownNames;

/// What a hook is configured for.
pub struct HookContext<'a> {
    /// Settings of the places that use it, in their order.
    pub places: &'a [&'a Value],
    /// What carries the exchanges of these places.
    pub traits: UpstreamTraits,
    /// Those that the settings may name, beside nginx's own.
    pub variables: &'a Arc<KnownNames>,
    /// What paths in the settings are relative to.
    pub directory: &'a Path,
    /// Where it may lead requests.
    pub destinations: &'a Arc<DestinationNames>,
    /// How many workers there are.
    pub workers: usize,
}

/// A hook with its settings. Shared by all workers.
pub struct SharedHook {
    /// As the configuration names it.
    name: String,
    pub(in crate::plugin) role: Role<HookSpec>,
    /// What the key is made of by which its instances are told apart.
    pub(super) key: Option<Template>,
    pub(super) phases: HookPhases,
}

/// The phases that a hook exports.
#[derive(Debug, Clone, Copy)]
pub(super) struct HookPhases {
    pub(super) request: bool,
    pub(super) response: bool,
    pub(super) end: bool,
    /// The body of a request, or of an answer.
    pub(super) bodies: bool,
}

impl SharedHook {
    /// Configures a hook and shows it its places. Makes instances ahead for the workers.
    ///
    /// # Errors
    /// [`ConfigureError`]: what is wrong with its settings or those of a place, or that it failed.
    pub fn new(
        name: &str,
        plugin: Plugin,
        settings: &Value,
        context: &HookContext<'_>,
    ) -> Result<SharedHook, ConfigureError> {
        let texts = std::iter::once(settings).chain(context.places.iter().copied());
        let exports = plugin.inner().kinds.hook.as_ref();
        let phases = HookPhases {
            request: exports.is_some_and(|exports| exports.on_request.is_some()),
            response: exports.is_some_and(|exports| exports.on_response.is_some()),
            end: exports.is_some_and(|exports| exports.on_end.is_some()),
            bodies: exports.is_some_and(|exports| exports.bodies() != [false; 2]),
        };
        let spec = HookSpec {
            plugin: plugin.clone(),
            settings: settings.to_string(),
            places: context
                .places
                .iter()
                .map(|place| place.to_string())
                .collect(),
            traits: context.traits,
            variables: context.variables.clone(),
            reachable: Reachable::named_in(texts.clone()),
            files: PluginFiles::named_in(texts, context.directory),
            destinations: Destinations::new(context.destinations.clone()),
            was_made: AtomicBool::new(false),
        };
        let role = Role::new(spec, context.workers)?;
        let refused = |message: &dyn std::fmt::Display| ConfigureError::Refused {
            plugin: plugin.name().to_owned(),
            key: Untrusted::name("key"),
            message: Untrusted::message(message),
        };
        if plugin.inner().asks_upstreams && !role.shared().is_empty() {
            return Err(ConfigureError::Refused {
                plugin: plugin.name().to_owned(),
                key: Untrusted::name(""),
                message: Untrusted::message(
                    "a hook that waits (`grants` has `http`) has an instance for each call under way: \
                     its `sharing` has to be `per-worker`",
                ),
            });
        }
        let key = role.key.as_deref().map(|key| {
            let template = Template::parse_named(key).map_err(|error| refused(&error))?;
            // By name, as the instance may outlive the configuration; but there has to be one.
            for name in Template::names_in(key) {
                let known = context.variables.look_up(name);
                known.map_err(|unknown| refused(&unknown))?;
            }
            Ok(template)
        });
        Ok(SharedHook {
            name: name.to_owned(),
            key: key.transpose()?,
            role,
            phases,
        })
    }

    /// As the configuration names it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its calls about requests may wait: each has an instance of its own meanwhile, so no
    /// instance can be shared.
    pub fn waits(&self) -> bool {
        self.plugin().waits() && self.role.shared().is_empty()
    }

    pub fn plugin(&self) -> &Plugin {
        self.role.plugin()
    }

    /// The variables that its settings could name, beside nginx's own.
    pub fn variables(&self) -> &KnownNames {
        &self.role.spec.variables
    }

    /// The files that its settings name.
    pub fn files(&self) -> &Arc<PluginFiles> {
        &self.role.spec.files
    }

    /// The routes and upstreams that its settings name.
    pub fn destinations(&self) -> &Destinations {
        &self.role.spec.destinations
    }

    /// Begins with a copy of what the shared instances of another version know, which go on.
    ///
    /// # Errors
    /// The plugin failed at it; it begins without.
    pub fn copy(&self, serving: &SharedHook) -> Result<(), ConfigureError> {
        self.role.copy(&serving.role)
    }

    /// Takes over what the shared instances of an earlier one know.
    ///
    /// # Errors
    /// The plugin failed at it; it begins without.
    pub fn inherit(&self, previous: &SharedHook) -> Result<(), ConfigureError> {
        self.role.inherit(&previous.role)
    }
}
