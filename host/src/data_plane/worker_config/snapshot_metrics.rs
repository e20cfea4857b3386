//! Where the requests of each route of a configuration are counted, the sessions of each stream and
//! the verdicts of each hook.

use std::sync::Arc;

use crate::config::model::{Address, Config, Route};
use crate::metrics::{HookMetrics, Registry, RouteMetrics, StreamMetrics};

/// The cells of a configuration's routes, streams and hooks. Upstreams have theirs with them.
pub(crate) struct SnapshotMetrics {
    /// The same for all configurations of the process.
    pub(crate) registry: Arc<Registry>,
    /// As in the configuration. Routes of the same name are counted together.
    routes: Arc<[Arc<RouteMetrics>]>,
    /// Likewise.
    pub(crate) streams: Vec<Arc<StreamMetrics>>,
    /// Likewise.
    pub(crate) hooks: Vec<Arc<HookMetrics>>,
}

impl SnapshotMetrics {
    /// Goes on where `previous` is, the configuration before with what it counts in.
    pub(crate) fn new(
        config: &Config,
        registry: &Arc<Registry>,
        previous: Option<(&Config, &SnapshotMetrics)>,
    ) -> SnapshotMetrics {
        // Named again where routes have changed alone: there may be thousands.
        let alike = previous.filter(|(before, _)| Arc::ptr_eq(&before.routes, &config.routes));
        let routes = match alike {
            Some((_, before)) => before.routes.clone(),
            None => {
                let routes = config.routes.iter();
                routes
                    .map(|route| registry.route(&route_name(route)))
                    .collect()
            }
        };
        let streams = config.streams.iter();
        let hooks = config.hooks.iter();
        SnapshotMetrics {
            registry: registry.clone(),
            routes,
            streams: streams
                .map(|stream| registry.stream(&address(&stream.address)))
                .collect(),
            hooks: hooks.map(|hook| registry.hook(&hook.name)).collect(),
        }
    }

    /// Where a request counts that took a route, if it got that far.
    #[inline]
    pub(crate) fn route(&self, route: Option<usize>) -> &RouteMetrics {
        let taken = route.and_then(|route| self.routes.get(route));
        taken.unwrap_or(self.registry.unrouted())
    }
}

/// Its `name`, else its host and its path, as the file has them: `a.example/api/`.
fn route_name(route: &Route) -> String {
    match &route.name {
        Some(name) => name.clone(),
        None => {
            let (host, path) = (route.host.spelling(), route.path.spelling());
            // `a.example = /status`
            let gap = if path.starts_with('/') || host.is_empty() {
                ""
            } else {
                " "
            };
            format!("{host}{gap}{path}")
        }
    }
}

fn address(address: &Address) -> String {
    match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => format!("unix:{}", path.display()),
    }
}
