//! Why a request is not carried although there are servers for it: there is too much of it.

/// A bound that a request, or a session, has met. The display text is the error log's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Overload {
    #[error("upstream queue is full ({0} requests wait) while connecting to upstream")]
    QueueFull(u32),
    #[error("upstream timed out (110: Connection timed out) while waiting in upstream queue")]
    QueueTimeout,
    #[error("limit of {0} requests in progress is reached while connecting to upstream")]
    Requests(u32),
    #[error("limit of {0} open connections is reached while connecting to upstream")]
    Connections(u32),
    #[error("client has its share of {0} requests in progress while connecting to upstream")]
    ClientRequests(u32),
    #[error("client has its share of {0} places in upstream queue while connecting to upstream")]
    ClientPlaces(u32),
    #[error(
        "client has its share of connections to upstreams, {0} in this worker, while connecting to upstream: few are left (`ulimit -n`)"
    )]
    ClientConnections(u32),
    /// The request ends with the failure that it has.
    #[error("retry budget of {0} % of the requests is used up, no other server is asked")]
    RetryBudget(u32),
}

impl Overload {
    /// Its place among the names of all ([`UpstreamMetrics::refusals`]).
    ///
    /// [`UpstreamMetrics::refusals`]: crate::metrics::UpstreamMetrics::refusals
    pub(super) fn kind(self) -> usize {
        match self {
            Overload::QueueFull(_) => 0,
            Overload::QueueTimeout => 1,
            Overload::Requests(_) => 2,
            Overload::Connections(_) => 3,
            Overload::ClientRequests(_) => 4,
            Overload::ClientPlaces(_) => 5,
            Overload::ClientConnections(_) => 6,
            Overload::RetryBudget(_) => 7,
        }
    }

    /// What the client is told: nginx's 502 of a queue, and that it should come again later where
    /// one of our own bounds is met.
    pub(crate) fn status(self) -> u16 {
        match self {
            Overload::QueueFull(_) | Overload::QueueTimeout | Overload::RetryBudget(_) => 502,
            Overload::Requests(_)
            | Overload::Connections(_)
            | Overload::ClientRequests(_)
            | Overload::ClientPlaces(_)
            | Overload::ClientConnections(_) => 503,
        }
    }
}
