//! An upstream as all workers share it: its endpoints, and the policies that balance them.
//!
//! Backups are endpoints of their own with a policy instance of their own, balanced once no primary
//! can be had (nginx: `ngx_http_upstream_get_round_robin_peer` on `peers->next`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, Release},
};
use std::time::Instant;

use super::endpoint::{Endpoint, EndpointStats, Seconds};
use super::endpoint_set::{DisabledEpoch, EndpointSet, Panic};
use super::group::Group;
use super::health::Unfit;
use super::load::{Bounds, Load};
use crate::config::model::{self, Address};
use crate::metrics::{UpstreamHandle, UpstreamMetrics};
use crate::names::ServerAddresses;
use crate::plugin::{Balancer, ConfigureError, Plugin};
use crate::tls::ClientTls;

/// An upstream as all workers share it.
pub(crate) struct Upstream {
    pub(crate) config: Arc<model::UpstreamConfig>,
    /// Those of each of its servers, in the order of the configuration.
    pub(crate) addresses: Vec<ServerAddresses>,
    /// None where its endpoints speak without.
    pub(crate) tls: Option<Arc<ClientTls>>,
    pub(super) primary: Group,
    pub(super) backup: Option<Group>,
    /// See [`Upstream::lease_numbers`]. Shared with the upstreams before and behind, since an
    /// instance of a policy may serve all of them.
    attached: Arc<AtomicU64>,
    disabled_epoch: DisabledEpoch,
    /// Goes on through configurations, as long as requests are sent in the same way.
    pub(crate) load: Arc<Load>,
    pub(super) bounds: Bounds,
    /// When it was used; goes on through changes.
    usage: Arc<Usage>,
}

/// In seconds of the process's clock; zero before the first use.
#[derive(Default)]
struct Usage {
    first: AtomicU64,
    last: AtomicU64,
}

/// An upstream under the configuration before.
#[derive(Clone, Copy)]
pub(crate) struct Previous<'a> {
    pub(crate) upstream: &'a Upstream,
    /// The instances of its policy live on, with the endpoints of the upstream behind: those keep
    /// their indexes.
    pub(crate) continues: bool,
}

/// Of an endpoint as it was served before: its stats, and since when it is `down`.
type Before = (Arc<EndpointStats>, Option<Instant>);

impl Upstream {
    /// Lays out the groups; `balance` configures the policy for each, given what balanced the group
    /// before if the instances of that are to live on. Endpoints whose address `previous` has too
    /// keep their stats; with another `tls` they are other endpoints, to which no connection from
    /// before may lead.
    ///
    /// # Errors
    /// Whatever `balance` answers.
    pub(crate) fn new<E>(
        config: Arc<model::UpstreamConfig>,
        addresses: Vec<ServerAddresses>,
        tls: Option<Arc<ClientTls>>,
        previous: Option<Previous<'_>>,
        metrics: &UpstreamHandle<'_>,
        mut balance: impl FnMut(Arc<EndpointSet>, Option<&Balancer>) -> Result<Balancer, E>,
    ) -> Result<Upstream, E> {
        let alike = previous.filter(|previous| previous.upstream.speaks(tls.as_ref()));
        let stats = alike.map(|previous| previous.upstream.stats());
        let mut known = stats.unwrap_or_default();
        // With other certificates they are other endpoints; but they need not pass their check
        // first, or all of them would be out at once.
        let check = config.health_check.as_ref();
        let waits = check.is_some_and(|check| !check.begins_up);
        let served = previous.iter().filter(|_| waits);
        let served = served.flat_map(|previous| previous.upstream.endpoints());
        let served = served.filter(|(endpoint, _)| !endpoint.down);
        let served: HashSet<&Address> = served.map(|(endpoint, _)| &endpoint.address).collect();
        // Where the name of one that is `down` stands for another address, it is down as long.
        let down = previous
            .iter()
            .flat_map(|previous| previous.upstream.endpoints());
        let down = down.filter_map(|(endpoint, _)| Some((&*endpoint.server, endpoint.down_since?)));
        let down: HashMap<&str, Instant> = down.collect();
        let mut of_kind = |backup: bool| -> Vec<Endpoint> {
            let servers = config.servers.iter().zip(&addresses);
            let of_servers = servers.flat_map(|(server, addresses)| {
                let located = addresses.located.iter();
                located.map(move |located| (server, located, addresses.doubt.clone()))
            });
            of_servers
                .filter(|(server, located, _)| (server.backup || located.is_backup()) == backup)
                .map(|(server, located, doubt)| {
                    let before = known.get_mut(&located.address).and_then(Vec::pop);
                    let was_down = before.as_ref().and_then(|(_, down_since)| *down_since);
                    let is_back = before.is_none() || was_down.is_some();
                    let stats = before.map_or_else(EndpointStats::new, |(stats, _)| stats);
                    let mut endpoint = Endpoint::new(server, located, doubt, stats);
                    if endpoint.down {
                        let since = was_down.or_else(|| down.get(&*endpoint.server).copied());
                        endpoint.down_since = since.or_else(|| Some(Instant::now()));
                    }
                    endpoint.metrics = metrics.endpoint(&endpoint.name);
                    endpoint.counted = config.outliers.is_some();
                    if waits && is_back && !served.contains(&endpoint.address) {
                        let why = "it has not passed its health check yet".to_owned();
                        endpoint.stats.health.is_out(Unfit::Check, 0, why);
                    }
                    // At the start of the process there is nobody to take its share meanwhile.
                    if is_back && !endpoint.down && previous.is_some() {
                        endpoint.start_slowly();
                    }
                    endpoint
                })
                .collect()
        };
        let (primary, backup) = (of_kind(false), of_kind(true));
        let alone = primary.len() == 1 && backup.is_empty();
        let disabled_epoch = previous.map_or_else(DisabledEpoch::default, |previous| {
            previous.upstream.disabled_epoch.clone()
        });
        let panicked = |is_backup| {
            let before = previous.and_then(|previous| match is_backup {
                true => previous.upstream.backup.as_ref(),
                false => Some(&previous.upstream.primary),
            });
            before.is_some_and(|before| before.endpoints.panics())
        };
        let continued = alike.filter(|previous| previous.continues);
        let continued = continued.map(|previous| previous.upstream);
        let bounds = bounds(&config, primary.iter().chain(&backup));
        let of_previous = alike.map(|previous| previous.upstream);
        let same = of_previous.filter(|upstream| upstream.has_requests_like(&config));
        let load = same.map(|upstream| upstream.load.clone());
        let load = load.unwrap_or_else(|| Load::counted_in(metrics.metrics.clone()));
        let mut group = |endpoints, is_backup: bool, before: Option<&Group>| {
            let alone = alone && !is_backup;
            let epoch = || disabled_epoch.clone();
            let changed = match before {
                Some(before) => before.endpoints.changed(endpoints, alone, epoch()),
                None => Err(endpoints),
            };
            let (endpoints, before) = match changed {
                Ok(changed) => (changed, before.map(|before| &*before.balancer)),
                Err(endpoints) => (EndpointSet::new(endpoints, alone, epoch()), None),
            };
            let panic = Panic {
                threshold: config.panic_threshold,
                is_on: panicked(is_backup).into(),
                upstream: config.name.as_str().into(),
            };
            let endpoints = Arc::new(endpoints.with_panic(panic));
            let balancer = Arc::new(balance(endpoints.clone(), before)?);
            Ok(Group {
                endpoints,
                balancer,
                load: load.clone(),
            })
        };
        let primary = group(primary, false, continued.map(|before| &before.primary))?;
        let backup = if backup.is_empty() {
            None
        } else {
            let before = continued.and_then(|before| before.backup.as_ref());
            Some(group(backup, true, before)?)
        };
        Ok(Upstream {
            config,
            addresses,
            tls,
            primary,
            backup,
            attached: previous
                .map_or_else(Arc::default, |previous| previous.upstream.attached.clone()),
            disabled_epoch,
            usage: previous.map_or_else(Arc::default, |previous| previous.upstream.usage.clone()),
            load,
            bounds,
        })
    }

    /// The [`Health`](super::health::Health) of one of its endpoints has changed: all workers learn
    /// of it.
    pub(crate) fn health_changed(&self) {
        // Behind the change, with `Release`: a set that reads the new epoch reads the change too.
        self.disabled_epoch.fetch_add(1, Release);
        // Those that wait may have a server again, or none to wait for.
        self.load.room();
        if self.config.panic_threshold > 0 {
            // Also where no request comes, so that the log tells when it was.
            self.sets().for_each(|set| set.look());
        }
    }

    /// Brings all endpoints back that are ejected. `now`: see [`Health`](super::health::Health).
    pub(crate) fn end_ejections(&self, now: u64) {
        let mut has_changed = false;
        for (endpoint, _) in self.endpoints() {
            let health = &endpoint.stats.health;
            has_changed |= health.is_back(Unfit::Outlier, now);
            health.set_next(Unfit::Outlier, 0);
        }
        if has_changed {
            self.health_changed();
        }
    }

    /// What is counted of it.
    pub(crate) fn metrics(&self) -> &Arc<UpstreamMetrics> {
        &self.load.metrics
    }

    /// The endpoints of each of its groups.
    pub(crate) fn sets(&self) -> impl Iterator<Item = &EndpointSet> {
        let backup = self.backup.iter().map(|group| &*group.endpoints);
        std::iter::once(&*self.primary.endpoints).chain(backup)
    }

    /// Notes that it is used: of an upstream that a request has named, which goes when it is not. Written
    /// once a second at most, whatever the number of requests.
    pub(crate) fn note_use(&self, now: Seconds) {
        if self.usage.last.load(Relaxed) != now {
            self.usage.last.store(now, Relaxed);
            let _ = self.usage.first.compare_exchange(0, now, Relaxed, Relaxed);
        }
    }

    /// When it was used for the first time and the last.
    pub(crate) fn used(&self) -> (Seconds, Seconds) {
        let Usage { first, last } = &*self.usage;
        (first.load(Relaxed), last.load(Relaxed))
    }

    /// Whether a request for it could be sent under another configuration just as it is.
    fn has_requests_like(&self, config: &model::UpstreamConfig) -> bool {
        self.config.http2.is_some() == config.http2.is_some()
    }

    /// Whether its endpoints are spoken to by this very TLS.
    pub(crate) fn speaks(&self, tls: Option<&Arc<ClientTls>>) -> bool {
        match (&self.tls, tls) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            _ => false,
        }
    }

    /// By address; several where an address is listed several times, the last one first.
    fn stats(&self) -> HashMap<Address, Vec<Before>> {
        let mut stats = HashMap::<_, Vec<_>>::new();
        for (endpoint, _) in self.endpoints() {
            let of_address = stats.entry(endpoint.address.clone()).or_default();
            of_address.insert(0, (endpoint.stats.clone(), endpoint.down_since));
        }
        stats
    }

    /// All endpoints in configuration order, primaries first, and whether each is a backup.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (&Endpoint, bool)> {
        let primary = self.primary.endpoints.in_order();
        let backup = self.backup.iter();
        let backup = backup.flat_map(|group| group.endpoints.in_order());
        primary
            .map(|endpoint| (endpoint, false))
            .chain(backup.map(|endpoint| (endpoint, true)))
    }

    /// The policy of the primaries, and that of the backups if there are any.
    pub(crate) fn balancers(&self) -> impl Iterator<Item = &Arc<Balancer>> {
        let backup = self.backup.iter().map(|group| &group.balancer);
        std::iter::once(&self.primary.balancer).chain(backup)
    }

    /// Whether one of its plugins wants to be called from time to time.
    pub(crate) fn ticks(&self) -> bool {
        self.primary.balancer.plugins().any(Plugin::ticks)
    }

    pub(crate) fn policy(&self) -> &Plugin {
        self.primary.balancer.policy()
    }

    /// Has the policies take over what those of the upstream before know, where all workers share
    /// them.
    ///
    /// # Errors
    /// See [`Balancer::inherit`].
    pub(crate) fn inherit(&self, previous: &Upstream) -> Result<(), ConfigureError> {
        let mut pairs = self.balancers().zip(previous.balancers());
        pairs.try_for_each(|(now, before)| now.inherit(before))
    }

    /// Whether the instances of its policies are those of `previous`.
    pub(crate) fn continues(&self, previous: &Upstream) -> bool {
        let mut pairs = self.balancers().zip(previous.balancers());
        pairs.all(|(now, before)| now.continues(before))
    }

    /// Tells instances of the policies that live on, and that all workers share, of the endpoints.
    pub(crate) fn tell_of_endpoints(&self) {
        self.balancers()
            .for_each(|balancer| balancer.tell_of_endpoints());
    }

    /// How many attempts an exchange has: one for each endpoint that is not `down`, unless there is
    /// but one endpoint, or the configuration says less (`limit`, 0 for no word of it).
    pub(crate) fn tries(&self, limit: u32) -> u32 {
        let members = self.primary.endpoints.members()
            + self
                .backup
                .as_ref()
                .map_or(0, |backup| backup.endpoints.members());
        match limit {
            0 => members,
            limit => members.min(limit),
        }
    }

    /// Where the count of leases begins of a worker that has none from before: numbers that no
    /// other worker uses, for a policy's instance may be asked by several. Counting is then each
    /// worker's own, and nothing shared is written per request.
    pub(super) fn lease_numbers(&self) -> u64 {
        self.attached.fetch_add(1, Relaxed) << 48
    }
}

/// What a configuration, with the endpoints that it has by now, bounds.
fn bounds<'a>(
    config: &model::UpstreamConfig,
    endpoints: impl Iterator<Item = &'a Endpoint>,
) -> Bounds {
    let limits = &config.overload.limits;
    let requests = Some(limits.requests).filter(|most| *most > 0);
    let mut room = Some(0u32);
    for endpoint in endpoints.filter(|endpoint| !endpoint.down) {
        let bounded = endpoint.max_conns > 0;
        room = room.filter(|_| bounded);
        room = room.map(|room| room.saturating_add(endpoint.max_conns));
    }
    let room = room.filter(|room| *room > 0);
    let whole = room.into_iter().chain(requests).min();
    let has_share = limits.client_share < 100;
    Bounds {
        requests,
        client: whole
            .filter(|_| has_share)
            .map(|whole| limits.share_of(whole)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use std::path::Path;

    use super::super::endpoint_set::IndexSet;
    use super::*;
    use crate::metrics::Registry;
    use crate::names::Resolution;
    use crate::plugin::{BalancerParts, Compiler, PolicyContext, Runtime};

    /// An upstream of servers of these weights, half of which are to be well.
    fn upstream(runtime: &Arc<Runtime>, weights: &[u32], before: Option<&Upstream>) -> Upstream {
        let servers = weights.iter().enumerate().map(|(port, weight)| {
            format!(
                "{{ address = \"127.0.0.1:{}\", weight = {weight} }}",
                port + 1
            )
        });
        let text = format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[upstream.u]\nservers = [{}]\n\
             health_check = true\npanic_threshold = 50\n[[route]]\nproxy = \"u\"\n",
            Vec::from_iter(servers).join(", ")
        );
        let config = crate::config::parse(&text, Path::new("test.toml")).unwrap();
        let addresses = config.upstreams[0].servers.iter();
        let addresses = addresses.map(|server| Resolution::default().addresses(server));
        let previous = before.map(|upstream| Previous {
            upstream,
            continues: false,
        });
        let own = config.upstreams[0].clone();
        let (registry, addresses) = (Registry::uncounted(), addresses.collect());
        let metrics = registry.upstream("u", false);
        Upstream::new(own, addresses, None, previous, &metrics, |fleet, _| {
            let parts = BalancerParts {
                policy: runtime.stock("round_robin").unwrap().unwrap(),
                settings: &serde_json::json!({}),
                filters: &[],
                scorers: &[],
                fallback: None,
            };
            Balancer::new(parts, fleet, &PolicyContext::default())
        })
        .unwrap()
    }

    /// Those that were there go on with their counts.
    #[test]
    fn a_worker_that_comes_after_a_change_counts_leases_where_none_before_it_does() {
        let runtime = Runtime::new(Compiler::Here).unwrap();
        let first = upstream(&runtime, &[1], None);
        let mut beginnings = vec![first.lease_numbers(), first.lease_numbers()];
        let second = upstream(&runtime, &[2], Some(&first));
        beginnings.extend([second.lease_numbers(), first.lease_numbers()]);
        assert_eq!(beginnings, [0, 1 << 48, 2 << 48, 3 << 48]);
    }

    /// Requests that began before a change are at those of before.
    #[test]
    fn too_few_are_well_among_those_that_are_served_whatever_was_served_before() {
        let runtime = Runtime::new(Compiler::Here).unwrap();
        let before = upstream(&runtime, &[1, 1, 1], None);
        let (ill, _) = before.endpoints().next().unwrap();
        ill.stats.health.is_out(Unfit::Check, 1, "ill".to_owned());
        before.health_changed();
        let now = upstream(&runtime, &[1], Some(&before));
        let none = IndexSet::default();
        for _ in 0..2 {
            assert!(now.primary.endpoints.has_candidate(&none, 100));
            assert!(now.primary.endpoints.panics());
            assert!(before.primary.endpoints.has_candidate(&none, 100));
            assert!(!before.primary.endpoints.panics());
        }
    }
}
