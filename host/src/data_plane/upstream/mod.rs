//! Chooses an endpoint, reaches it, and asks another one where that is allowed. In the order of an
//! attempt:

mod balance_state; // where an exchange stands in its upstream
mod balanceable; // what else there is to know of it
mod balance; // which endpoint: ask the policy, take a lease
mod explained; // the same for a request that is only explained
mod waiting; // the same, once there is room
mod lease; // the choice, held for one attempt
mod shared; // an upstream as all workers share it
mod load; // how much it has to do, and what bounds that
mod overload; // why something is too much
mod queue; // who waits for an endpoint
mod client_counts; // how much of it is one client's
mod group; // endpoints with their policy
mod trial; // ... and another version of that
mod on_trial; // ... chosen by, and told of what follows
mod endpoint_set; // the endpoints of one policy instance
mod layout; // which index each of them has
mod endpoint; // one address and its accounting
mod health; // how well it is
mod last_error; // what went wrong with it last
mod pool; // idle connections kept per endpoint
mod http2; // connections of HTTP/2, shared by exchanges
mod descriptor; // how many connections there may be
mod connection_limit; // how many of one upstream
mod client_connections; // how many of one client
mod target; // what it takes to open one
mod dial; // a new connection
mod attempt; // one request to one endpoint, as far as its response header
mod upload; // what of it is still being sent
mod failure; // why it came to nothing
mod retry; // when the next endpoint is asked
mod probe; // asks an endpoint whether it is well
mod retry_budget; // how often that may be

pub(crate) use attempt::{Attempt, ReadLimits, RequestStart, keeps_connection};
pub(crate) use balance::{NoEndpoint, WorkerUpstream};
pub(crate) use balance_state::BalanceState;
pub(crate) use balanceable::Balanceable;
pub(crate) use client_connections::{ClientConnections, HeldByClient};
pub(crate) use descriptor::{DescriptorSource, Room};
pub(crate) use dial::{Dialed, dial};
pub(crate) use endpoint::{Endpoint, EndpointId, EndpointStats};
pub(crate) use endpoint_set::EndpointSet;
pub(crate) use explained::PolicyStates;
pub(crate) use failure::{
    AttemptError, BodyFailure, Errno, Failure, MAX_CONNECTIONS, MAX_INTERIM, StatusFailed,
};
pub(crate) use health::{ProbeReport, Unfit};
pub(crate) use lease::{Lease, Timings};
pub(crate) use on_trial::UpstreamTrial;
pub(crate) use overload::Overload;
pub(crate) use pool::Connection;
pub(crate) use probe::{KeptConnection, Probe, ProbeFailure, ProbeTools};
pub(crate) use retry::Retry;
pub(crate) use shared::{Previous, Upstream};
pub(crate) use upload::{Upload, UploadRest};
pub(crate) use waiting::wait_for_endpoint;
