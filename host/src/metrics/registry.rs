//! What there are figures of, by name. A name that is there once keeps its figures for as long as a
//! configuration has it, through every reload; what is gone stays for a while, in case it comes
//! back, and goes when its room is needed.
//!
//! Locked while a configuration is built, and for a moment while the figures are read; never by a
//! worker.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::histogram::Buckets;
use super::hooks::HookMetrics;
use super::requests::RouteMetrics;
use super::sessions::StreamMetrics;
use super::upstreams::{EndpointMetrics, UpstreamMetrics};
use crate::config::model::MetricsConfig;

/// How many names that are gone are kept in any case, beside as many as there are.
const GONE_KEPT: usize = 1000;
/// What is counted together for want of room has this name.
pub(crate) const OTHER: &str = "other";
/// Requests that were refused before a route was found for them have this one.
pub(crate) const NO_ROUTE: &str = "none";

/// All that there are figures of.
#[derive(Debug)]
pub(crate) struct Registry {
    workers: usize,
    buckets: Buckets,
    /// Endpoints, and upstreams that requests name, with figures of their own.
    max_endpoints: usize,
    max_named: usize,
    known: Mutex<Known>,
    unrouted: Arc<RouteMetrics>,
    /// Upstreams that requests have named beyond the bound.
    other: Arc<UpstreamMetrics>,
}

#[derive(Debug, Default)]
struct Known {
    routes: Named<RouteMetrics>,
    streams: Named<StreamMetrics>,
    hooks: Named<HookMetrics>,
    upstreams: Named<UpstreamMetrics>,
    /// Upstreams that requests have named.
    named: Named<UpstreamMetrics>,
    /// By upstream and address.
    endpoints: BTreeMap<(Box<str>, Box<str>), Arc<EndpointMetrics>>,
}

/// Figures by name. There are as many as configurations have, and some that are gone.
#[derive(Debug)]
struct Named<T> {
    entries: BTreeMap<Box<str>, Arc<T>>,
    /// With so many, those that are gone go.
    sweep_at: usize,
}

impl<T> Default for Named<T> {
    fn default() -> Named<T> {
        Named {
            entries: BTreeMap::new(),
            sweep_at: GONE_KEPT,
        }
    }
}

impl<T> Named<T> {
    fn get(&mut self, name: &str, make: impl FnOnce() -> T) -> Arc<T> {
        if let Some(known) = self.entries.get(name) {
            return known.clone();
        }
        if self.entries.len() >= self.sweep_at {
            self.sweep();
            self.sweep_at = 2 * self.entries.len() + GONE_KEPT;
        }
        let made = Arc::new(make());
        self.entries.insert(name.into(), made.clone());
        made
    }

    /// Forgets what nothing counts in any more.
    fn sweep(&mut self) {
        self.entries.retain(|_, entry| Arc::strong_count(entry) > 1);
    }

    fn all(&self) -> Vec<(Box<str>, Arc<T>)> {
        let entries = self.entries.iter();
        entries
            .map(|(name, entry)| (name.clone(), entry.clone()))
            .collect()
    }
}

/// Everything that there are figures of at one moment.
pub(crate) struct AllMetrics {
    pub(crate) routes: Vec<(Box<str>, Arc<RouteMetrics>)>,
    pub(crate) streams: Vec<(Box<str>, Arc<StreamMetrics>)>,
    pub(crate) hooks: Vec<(Box<str>, Arc<HookMetrics>)>,
    pub(crate) upstreams: Vec<(Box<str>, Arc<UpstreamMetrics>)>,
    pub(crate) endpoints: Vec<EndpointEntry>,
}

/// An endpoint's upstream, its address, its figures.
pub(crate) type EndpointEntry = (Box<str>, Box<str>, Arc<EndpointMetrics>);

impl Registry {
    pub(crate) fn new(config: &MetricsConfig, workers: usize) -> Registry {
        let buckets = Buckets::new(&config.buckets);
        Registry {
            workers,
            max_endpoints: config.endpoints,
            max_named: config.named_upstreams,
            known: Mutex::default(),
            unrouted: Arc::new(RouteMetrics::new(workers, &buckets)),
            other: Arc::new(UpstreamMetrics::new(workers, &buckets)),
            buckets,
        }
    }

    /// For what is built to be looked at, and never serves: nothing is counted.
    pub(crate) fn uncounted() -> Registry {
        let config = MetricsConfig {
            buckets: Vec::new(),
            endpoints: 0,
            named_upstreams: 0,
        };
        Registry::new(&config, 0)
    }

    /// A panic under the lock has left nothing half done.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn route(&self, name: &str) -> Arc<RouteMetrics> {
        if name == NO_ROUTE {
            return self.unrouted.clone();
        }
        let make = || RouteMetrics::new(self.workers, &self.buckets);
        self.known().routes.get(name, make)
    }

    /// Of requests without a route.
    pub(crate) fn unrouted(&self) -> &Arc<RouteMetrics> {
        &self.unrouted
    }

    pub(crate) fn stream(&self, name: &str) -> Arc<StreamMetrics> {
        let make = || StreamMetrics::new(self.workers, &self.buckets);
        self.known().streams.get(name, make)
    }

    pub(crate) fn hook(&self, name: &str) -> Arc<HookMetrics> {
        let make = || HookMetrics::new(self.workers);
        self.known().hooks.get(name, make)
    }

    /// An upstream; `is_named`: by requests, and not by the configuration.
    pub(crate) fn upstream<'a>(&'a self, name: &'a str, is_named: bool) -> UpstreamHandle<'a> {
        let make = || UpstreamMetrics::new(self.workers, &self.buckets);
        let mut known = self.known();
        let (name, metrics) = match is_named {
            _ if name == OTHER => (name, self.other.clone()),
            false => (name, known.upstreams.get(name, make)),
            true => {
                let named = &mut known.named;
                if !named.entries.contains_key(name) && named.entries.len() >= self.max_named {
                    named.sweep();
                }
                let has_room = named.entries.len() < self.max_named;
                match has_room || named.entries.contains_key(name) {
                    true => (name, named.get(name, make)),
                    false => (OTHER, self.other.clone()),
                }
            }
        };
        UpstreamHandle {
            registry: self,
            name,
            metrics,
            is_swept: Cell::new(false),
        }
    }

    /// All that there is, in a fixed order.
    pub(crate) fn all(&self) -> AllMetrics {
        let known = self.known();
        let mut upstreams = known.upstreams.all();
        upstreams.extend(known.named.all());
        let endpoints = known.endpoints.iter();
        let mut endpoints: Vec<EndpointEntry> = endpoints
            .map(|((upstream, name), entry)| (upstream.clone(), name.clone(), entry.clone()))
            .collect();
        let mut routes = known.routes.all();
        let streams = known.streams.all();
        let hooks = known.hooks.all();
        drop(known);
        routes.push((NO_ROUTE.into(), self.unrouted.clone()));
        upstreams.push((OTHER.into(), self.other.clone()));
        let others = upstreams.iter();
        endpoints.extend(
            others.map(|(name, upstream)| (name.clone(), OTHER.into(), upstream.other.clone())),
        );
        AllMetrics {
            routes,
            streams,
            hooks,
            upstreams,
            endpoints,
        }
    }
}

/// An upstream whose endpoints are being told apart.
pub(crate) struct UpstreamHandle<'a> {
    registry: &'a Registry,
    name: &'a str,
    pub(crate) metrics: Arc<UpstreamMetrics>,
    /// What is gone was looked for: once is enough, with thousands of endpoints.
    is_swept: Cell<bool>,
}

impl UpstreamHandle<'_> {
    /// An endpoint of it: with figures of its own as long as there is room.
    pub(crate) fn endpoint(&self, address: &str) -> Arc<EndpointMetrics> {
        let mut known = self.registry.known();
        let endpoints = &mut known.endpoints;
        let key = (Box::from(self.name), Box::from(address));
        if let Some(endpoint) = endpoints.get(&key) {
            return endpoint.clone();
        }
        let most = self.registry.max_endpoints;
        if endpoints.len() >= most && !self.is_swept.replace(true) {
            endpoints.retain(|_, entry| Arc::strong_count(entry) > 1);
        }
        // Those of upstreams that are counted together are, too.
        if endpoints.len() >= most || self.name == OTHER {
            return self.metrics.other.clone();
        }
        let made = Arc::new(EndpointMetrics::new(self.registry.workers));
        endpoints.insert(key, made.clone());
        made
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::EndedRequest;
    use super::*;

    fn registry(endpoints: usize, named_upstreams: usize) -> Registry {
        let config = MetricsConfig {
            endpoints,
            named_upstreams,
            ..MetricsConfig::default()
        };
        Registry::new(&config, 2)
    }

    const REQUEST: EndedRequest<'_> = EndedRequest {
        method: b"GET",
        status: 200,
        took: Duration::from_millis(1),
        received: 3,
        sent: 5,
    };

    #[test]
    fn the_sums_are_those_of_all_workers_and_go_on_under_the_same_name() {
        let registry = registry(10, 10);
        registry.route("/").ended(0, &REQUEST);
        registry.route("/").ended(1, &REQUEST);
        registry.route("/").ended(2, &REQUEST); // there is no such worker
        let sums = registry.route("/").sums();
        let requests: Vec<_> = sums.requests().collect();
        assert_eq!(requests, [("GET", "2xx", 2)]);
        assert_eq!((sums.received, sums.sent), (6, 10));
        assert_eq!(sums.duration.count(), 2);
    }

    #[test]
    fn endpoints_beyond_the_bound_are_counted_together_and_one_that_is_gone_makes_room() {
        let registry = registry(2, 10);
        let upstream = registry.upstream("u", false);
        let first = upstream.endpoint("a");
        let second = upstream.endpoint("b");
        let third = upstream.endpoint("c");
        assert!(Arc::ptr_eq(&third, &upstream.metrics.other));
        assert!(Arc::ptr_eq(&first, &upstream.endpoint("a")));
        drop(first);
        // As a configuration is built the next time.
        let upstream = registry.upstream("u", false);
        let third = upstream.endpoint("c");
        assert!(!Arc::ptr_eq(&third, &upstream.metrics.other));
        assert!(Arc::ptr_eq(&second, &upstream.endpoint("b")));
        let names: Vec<_> = registry.all().endpoints.into_iter().collect();
        let names: Vec<_> = names.iter().map(|(_, name, _)| &**name).collect();
        assert_eq!(names, ["b", "c", OTHER, OTHER]);
    }

    #[test]
    fn upstreams_that_requests_name_have_a_bound_and_those_of_the_configuration_none() {
        let registry = registry(10, 1);
        let configured: Vec<_> = (0..5)
            .map(|number| registry.upstream(&number.to_string(), false).metrics)
            .collect();
        let named = registry.upstream("named", true);
        let other = registry.upstream("another", true);
        assert!(!Arc::ptr_eq(&named.metrics, &other.metrics));
        assert!(Arc::ptr_eq(&other.metrics, &registry.other));
        assert!(Arc::ptr_eq(&other.endpoint("a"), &registry.other.other));
        drop(named);
        let again = registry.upstream("another", true);
        assert!(!Arc::ptr_eq(&again.metrics, &registry.other));
        assert_eq!(registry.all().upstreams.len(), configured.len() + 2);
    }

    #[test]
    fn names_that_come_and_go_do_not_add_up() {
        let registry = registry(10, 10);
        let stays = registry.route("stays");
        stays.ended(0, &REQUEST);
        for number in 0..5 * GONE_KEPT {
            registry.route(&number.to_string());
        }
        assert!(registry.all().routes.len() <= 2 * GONE_KEPT);
        assert!(Arc::ptr_eq(&stays, &registry.route("stays")));
    }
}
