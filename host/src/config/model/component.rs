//! Components that answer the requests of routes.

use crate::config::problem::Place;

/// One component, and what a route says to it.
#[derive(Debug, Clone)]
pub struct ComponentConfig {
    pub plugin: String,
    /// The upstreams that it may ask, by name.
    pub upstreams: Vec<String>,
    /// What it finds in its environment, by name.
    pub environment: Vec<(String, String)>,
    /// An instance answers one request after the other; else one, as such programs may count on.
    pub reuse: bool,
    pub place: Place,
}

impl ComponentConfig {
    /// Whether both say the same, though they may stand at other places of the file.
    pub fn means_the_same_as(&self, other: &ComponentConfig) -> bool {
        let ComponentConfig {
            plugin,
            upstreams,
            environment,
            reuse,
            place: _,
        } = self;
        (plugin, upstreams, environment, reuse)
            == (
                &other.plugin,
                &other.upstreams,
                &other.environment,
                &other.reuse,
            )
    }
}
