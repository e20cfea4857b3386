//! Chooses an endpoint, reaches it, and asks another one where that is allowed. In the order of an attempt:

mod balance; // which endpoint: ask the policy, take a lease
mod endpoint; // one address and its accounting
mod fleet; // the endpoints of one policy instance
mod pool; // idle connections kept per endpoint
mod connect; // a new connection
mod attempt; // one request to one endpoint, as far as its response header
mod retry; // when the next endpoint is asked

pub(crate) use attempt::{Answer, AttemptError, Failure, Sending};
pub(crate) use balance::{Ending, Lease, NoEndpoint, Timings, Turn, Upstream, WorkerUpstream};
pub(crate) use fleet::{Fleet, IndexSet};
pub(crate) use pool::Connection;
pub(crate) use retry::{Progress, Retry};
