//! The choice of an endpoint for a request that is only explained: by an upstream of its own, which
//! begins with what the one that serves knows, and which nobody else is served by.

use super::balance::WorkerUpstream;
use super::balance_state::BalanceState;
use super::endpoint::{Endpoint, Seconds};
use super::shared::Upstream;
use crate::plugin::{ConfigureError, FleetView};

/// What the instances of a worker know: of the policy of the primaries, and of that of the backups.
pub(crate) type PolicyStates = [Option<Vec<u8>>; 2];

impl Upstream {
    /// Whether each worker has an instance of the policy for itself.
    pub(crate) fn is_per_worker(&self) -> bool {
        self.balancers().any(|balancer| balancer.is_per_worker())
    }

    /// Takes the figures of the endpoints of the upstream that serves, and what all workers share of
    /// its policies, for its own. Both have the same endpoints.
    ///
    /// # Errors
    /// The policy failed at it; it begins without.
    pub(crate) fn begin_like(&self, serving: &Upstream) -> Result<(), ConfigureError> {
        let mut known: Vec<&Endpoint> = serving.endpoints().map(|(known, _)| known).collect();
        for (endpoint, _) in self.endpoints() {
            // An address may be listed several times: each of them counts for one.
            let alike = |known: &&Endpoint| known.address == endpoint.address;
            if let Some(at) = known.iter().position(alike) {
                endpoint.stats.begin_like(&known.remove(at).stats);
            }
        }
        self.load.begin_like(&serving.load);
        for set in self.sets() {
            set.look();
        }
        let mut pairs = self.balancers().zip(serving.balancers());
        pairs.try_for_each(|(now, serving)| now.copy(serving))
    }
}

impl WorkerUpstream {
    /// What the worker's own instances know, for instances elsewhere; those go on.
    pub(crate) fn copy_states(&self) -> PolicyStates {
        let mut groups = self.groups();
        // What was known under the configuration before is taken over first, as by a pick.
        self.take_over();
        [(); 2].map(|()| groups.next()?.balancer.borrow_mut().copy_state())
    }

    /// Begins with what the instances of another worker know.
    pub(crate) fn begin_with(&self, states: PolicyStates) {
        for (group, state) in self.groups().zip(states) {
            if let Some(state) = state {
                group.balancer.borrow_mut().begin_with(state);
            }
        }
    }
}

impl BalanceState {
    /// The endpoints that were candidates for the last choice by their standing, and that filters,
    /// scorers or growing shares have taken out of it, by name.
    pub(crate) fn left_out(&self, now: Seconds) -> Vec<Box<str>> {
        let Some(group) = self.group() else {
            return Vec::new();
        };
        let endpoints = &group.endpoints;
        let members = FleetView::members(&**endpoints);
        let members = members.into_iter().map(|(index, _)| index);
        let left_out = members.filter(|index| {
            let endpoint = endpoints.endpoint(*index);
            let stands = !endpoint.down && endpoints.is_in_rotation(endpoint, now);
            stands && !self.has_left(*index)
        });
        left_out
            .map(|index| endpoints.endpoint(index).name.clone())
            .collect()
    }
}
