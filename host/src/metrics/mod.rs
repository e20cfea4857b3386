//! What is counted for those who watch: every family that `GET /metrics` tells, and the cells that
//! workers count in. `docs/metrics.md` is the reference.
//!
//! A worker counts in cells of its own, which nobody else writes: a load and a store, with no lock
//! and no atomic addition. They are summed when somebody asks, by a thread that may take its time.
//! What is counted is known by its name (a route's, an upstream's, an endpoint's address), so that
//! counts go on through reloads.

mod cell; // one number of one worker
mod histogram; // how long things took
mod method; // classes of methods and of statuses
mod requests; // what is counted of a route's requests
mod sessions; // ... of the sessions of a stream
mod hooks; // ... of what hooks decide
mod upstreams; // ... of what upstreams are asked
mod worker; // ... of none of them in particular
mod registry; // which of them there are, by name
mod family; // what a family is
pub(crate) mod families; // all of them
mod text; // as scrapers read it

pub(crate) use cell::Counter;
pub(crate) use family::Family;
pub(crate) use hooks::{HookMetrics, HookVerdict};
pub(crate) use registry::{AllMetrics, Registry, UpstreamHandle};
pub(crate) use requests::{EndedRequest, RouteMetrics, RouteSums};
pub(crate) use sessions::{StreamMetrics, StreamSums};
pub(crate) use text::{Format, MetricsText};
pub(crate) use upstreams::{
    EndpointMetrics, EndpointSums, PoolMetrics, Reason, UpstreamMetrics, UpstreamSums,
};
pub(crate) use worker::{MAX_FAULTS, WorkerCells, WorkerSums};
