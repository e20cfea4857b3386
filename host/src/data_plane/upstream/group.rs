//! Endpoints with the policy that balances them: an upstream's primaries, or its backups.

use std::cell::RefCell;
use std::sync::Arc;

use super::endpoint_set::EndpointSet;
use super::load::Load;
use crate::plugin::{Balancer, Ending, ExchangeAtHand, Outcome, Picked, WorkerBalancer};

/// A group as all workers share it.
pub(super) struct Group {
    pub(super) endpoints: Arc<EndpointSet>,
    pub(super) balancer: Arc<Balancer>,
    /// Of its upstream.
    pub(super) load: Arc<Load>,
}

/// A group as one worker uses it. Exchanges and leases count references to it, not to what all
/// workers share: a count that all of them write would cost each of them the cache line.
pub(super) struct WorkerGroup {
    pub(super) endpoints: Arc<EndpointSet>,
    pub(super) balancer: RefCell<WorkerBalancer>,
    pub(super) load: Arc<Load>,
}

impl Group {
    /// One worker's use of it, where `previous` was the use of the group before.
    pub(super) fn attach(&self, previous: Option<&WorkerGroup>) -> WorkerGroup {
        let previous = previous.map(|previous| previous.balancer.borrow());
        let balancer = self.balancer.attach(previous.as_deref());
        WorkerGroup {
            endpoints: self.endpoints.clone(),
            balancer: RefCell::new(balancer),
            load: self.load.clone(),
        }
    }
}

impl WorkerGroup {
    /// Tells the policy that its pick was not used: another worker took the endpoint's last free
    /// connection, or its one probe, in the meantime.
    pub(super) fn unused(&self, exchange: &ExchangeAtHand, picked: Picked) {
        let outcome = Outcome {
            ending: Ending::Unused,
            status: 0,
            connect_us: 0,
            header_us: 0,
            total_us: 0,
        };
        self.balancer.borrow_mut().done(exchange, picked, &outcome);
    }
}
