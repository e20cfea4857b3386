//! Endpoints with the policy that balances them: an upstream's primaries, or its backups.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::endpoint_set::EndpointSet;
use super::load::Load;
use super::trial::WorkerTrial;
use crate::plugin::{Balancer, WorkerBalancer};

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
    /// Another version of the policy, if one is on trial.
    pub(super) trial: RefCell<Option<Rc<WorkerTrial>>>,
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
            trial: RefCell::default(),
            load: self.load.clone(),
        }
    }
}
