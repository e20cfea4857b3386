//! An endpoint for a request that found all of them full: once it is its turn, and one has room.
//!
//! A request that waits takes part in changes of its upstream: it is balanced among the servers of
//! the newest configuration, with everything else as it was when the request began. So a server that
//! is added, resumed or given more room serves those that wait, and one that is removed does not keep
//! them.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::balance::{NoEndpoint, WorkerUpstream};
use super::balanceable::Balanceable;
use super::lease::Lease;
use super::overload::Overload;
use super::queue::Line;
use crate::config::model::QueueConfig;
use crate::data_plane::process::Clock;
use crate::fault_injection;

/// Takes a lease once there is room, within the queue's `timeout`, and `within` if that is shorter;
/// answers with the upstream that it is of as well. A request that has tried endpoints before waits
/// for the others, or for its only one. Dropped, it leaves the queue.
///
/// # Errors
/// [`NoEndpoint`], but for [`NoEndpoint::Full`]. All endpoints that could be asked may have gone
/// meanwhile.
pub(crate) async fn wait_for_endpoint(
    upstream: &Rc<WorkerUpstream>,
    exchange: Rc<dyn Balanceable>,
    clock: &Clock,
    attempt: u32,
    within: Option<Duration>,
) -> Result<(Lease, Rc<WorkerUpstream>), NoEndpoint> {
    let load = &upstream.shared.load;
    let overload = |why| Err(NoEndpoint::Overload(load.refused(why)));
    let config = &upstream.shared.config.overload;
    let (Some(queue), Some(QueueConfig { size, timeout })) = (&upstream.queue, config.queue) else {
        return Err(NoEndpoint::None);
    };
    let share = config.limits.share_of(size);
    let _client = match config.limits.client_share < 100 {
        true => Some(
            load.queue_client(exchange.client_address(), share)
                .map_err(NoEndpoint::Overload)?,
        ),
        false => None,
    };
    let line = match attempt {
        0 => Line::First,
        _ => Line::Again,
    };
    let Some(place) = queue.join(size, line) else {
        return overload(Overload::QueueFull(size));
    };
    let due = Instant::now() + within.map_or(timeout, |within| within.min(timeout));
    let tried = exchange.balance().tried_ids();
    loop {
        let look = || upstream.newest().is_worth_a_try(&tried, clock.seconds());
        if place.turn(due, look).await.is_err() {
            return overload(Overload::QueueTimeout);
        }
        fault_injection::panics("queue");
        let newest = upstream.newest();
        let groups = newest.groups().cloned();
        exchange.balance().begin_again(groups, &tried);
        match newest.lease_in_turn(exchange.clone(), clock, attempt) {
            Err(NoEndpoint::Full) => {}
            leased => return leased.map(|lease| (lease, newest)),
        }
    }
}
