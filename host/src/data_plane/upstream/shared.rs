//! An upstream as all workers share it: its endpoints, and the policies that balance them.
//!
//! Backups are endpoints of their own with a policy instance of their own, balanced once no primary
//! can be had (nginx: `ngx_http_upstream_get_round_robin_peer` on `peers->next`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::endpoint::{Endpoint, EndpointStats};
use super::endpoint_set::{DisabledEpoch, EndpointSet};
use super::group::Group;
use crate::config::model::{self, Address};
use crate::plugin::{Balancer, ConfigureError, Plugin};
use crate::tls::ClientTls;

/// An upstream as all workers share it.
pub(crate) struct Upstream {
    pub(crate) config: model::UpstreamConfig,
    /// Those of each of its servers, in the order of the configuration.
    pub(crate) addresses: Vec<Vec<Address>>,
    /// None where its endpoints speak without.
    pub(crate) tls: Option<Arc<ClientTls>>,
    pub(super) primary: Group,
    pub(super) backup: Option<Group>,
    /// Workers that have attached so far: see [`Upstream::lease_numbers`].
    attached: AtomicU64,
    disabled_epoch: DisabledEpoch,
}

impl Upstream {
    /// Lays out the groups; `balance` configures the policy for each. Endpoints whose address
    /// `previous` has too, the same upstream under the configuration before, keep their stats; with
    /// another `tls` they are other endpoints, to which no connection from before may lead.
    ///
    /// # Errors
    /// Whatever `balance` answers.
    pub(crate) fn new<E>(
        config: model::UpstreamConfig,
        addresses: Vec<Vec<Address>>,
        tls: Option<Arc<ClientTls>>,
        previous: Option<&Upstream>,
        mut balance: impl FnMut(Arc<EndpointSet>) -> Result<Balancer, E>,
    ) -> Result<Upstream, E> {
        let alike = previous.filter(|previous| previous.speaks(tls.as_ref()));
        let mut known = alike.map(Upstream::stats).unwrap_or_default();
        let mut of_kind = |backup: bool| -> Vec<Endpoint> {
            let servers = config.servers.iter().zip(&addresses);
            let servers = servers.filter(|(server, _)| server.backup == backup);
            let of_servers = servers.flat_map(|(server, addresses)| {
                addresses.iter().map(move |address| (server, address))
            });
            of_servers
                .map(|(server, address)| {
                    let stats = known.get_mut(address).and_then(Vec::pop);
                    let stats = stats.unwrap_or_else(EndpointStats::new);
                    Endpoint::new(server, address.clone(), stats)
                })
                .collect()
        };
        let (primary, backup) = (of_kind(false), of_kind(true));
        let alone = primary.len() == 1 && backup.is_empty();
        let disabled_epoch = previous.map_or_else(DisabledEpoch::default, |previous| {
            previous.disabled_epoch.clone()
        });
        let mut group = |endpoints, alone| {
            let endpoints = Arc::new(EndpointSet::new(endpoints, alone, disabled_epoch.clone()));
            let balancer = Arc::new(balance(endpoints.clone())?);
            Ok(Group {
                endpoints,
                balancer,
            })
        };
        let primary = group(primary, alone)?;
        let backup = if backup.is_empty() {
            None
        } else {
            Some(group(backup, false)?)
        };
        Ok(Upstream {
            config,
            addresses,
            tls,
            primary,
            backup,
            attached: AtomicU64::new(0),
            disabled_epoch,
        })
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
    fn stats(&self) -> HashMap<Address, Vec<Arc<EndpointStats>>> {
        let mut stats = HashMap::<_, Vec<_>>::new();
        for (endpoint, _) in self.endpoints() {
            let of_address = stats.entry(endpoint.address.clone()).or_default();
            of_address.insert(0, endpoint.stats.clone());
        }
        stats
    }

    /// All endpoints, and whether each is a backup.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (&Endpoint, bool)> {
        let primary = self.primary.endpoints.all().iter();
        let backup = self.backup.iter().flat_map(|group| group.endpoints.all());
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

    /// How many attempts an exchange has: one for each endpoint that is not `down`, unless there is
    /// but one endpoint, or the configuration says less.
    pub(crate) fn tries(&self) -> u32 {
        let members = self.primary.endpoints.members()
            + self
                .backup
                .as_ref()
                .map_or(0, |backup| backup.endpoints.members());
        match self.config.next_upstream.tries {
            0 => members,
            tries => members.min(tries),
        }
    }

    /// Where a worker's count of leases begins: numbers that no other worker uses, for a policy's
    /// instance may be asked by several. Counting is then each worker's own, and nothing shared is
    /// written per request.
    pub(super) fn lease_numbers(&self) -> u64 {
        self.attached.fetch_add(1, Relaxed) << 48
    }
}
