//! A handler as all workers share it: a plugin, and what a route says to it.

use std::sync::Arc;

use super::super::component::Plugin;
use super::super::error::ConfigureError;
use super::super::slot::InstanceSpec as _;
use super::super::waiting::Reachable;
use super::slot::HandlerSpec;

/// A handler. Shared by all workers.
pub struct SharedHandler {
    pub(super) spec: Arc<HandlerSpec>,
}

impl SharedHandler {
    /// Makes an instance to see that it can be made. `upstreams`: those that it may ask; `reuse`: an
    /// instance may answer more than one request.
    ///
    /// # Errors
    /// [`ConfigureError`]: the plugin answers no requests, or failed.
    pub fn new(
        plugin: Plugin,
        environment: &[(String, String)],
        upstreams: &[String],
        reuse: bool,
    ) -> Result<SharedHandler, ConfigureError> {
        let spec = HandlerSpec {
            plugin,
            environment: environment.into(),
            reachable: Reachable::of(upstreams),
            reuse,
        };
        spec.make()?;
        Ok(SharedHandler {
            spec: Arc::new(spec),
        })
    }

    pub fn plugin(&self) -> &Plugin {
        &self.spec.plugin
    }
}
