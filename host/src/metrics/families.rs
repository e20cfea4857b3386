//! Every family that is told, in the order of the text. `docs/metrics.md` has them all: a test
//! holds it against this list.

use super::family::Family;

pub(crate) static BUILD: Family =
    Family::info("waypost_build", &["version"], "The version that runs.");
pub(crate) static REQUESTS: Family = Family::counter(
    "waypost_requests",
    &["route", "method", "code"],
    "Requests that have ended, refused ones included.",
);
pub(crate) static REQUEST_DURATION: Family = Family::histogram(
    "waypost_request_duration_seconds",
    &["route"],
    "From the first byte of a request to the last of its response.",
);
pub(crate) static REQUEST_BYTES: Family = Family::counter(
    "waypost_request_body_bytes",
    &["route"],
    "Bytes of the bodies of requests.",
);
pub(crate) static RESPONSE_BYTES: Family = Family::counter(
    "waypost_response_bytes",
    &["route"],
    "Bytes of responses, headers included.",
);
pub(crate) static REQUESTS_IN_FLIGHT: Family = Family::gauge(
    "waypost_requests_in_flight",
    &[],
    "Requests that are being answered.",
);
pub(crate) static CONNECTIONS: Family = Family::gauge(
    "waypost_connections",
    &["state"],
    "Connections of clients: `reading` a request's header, `waiting` for a request, or at work.",
);
pub(crate) static CONNECTIONS_ACCEPTED: Family = Family::counter(
    "waypost_connections_accepted",
    &[],
    "Connections that clients have made.",
);
pub(crate) static UPSTREAM_REQUESTS: Family = Family::counter(
    "waypost_upstream_requests",
    &["upstream", "endpoint", "code"],
    "Attempts at endpoints that have ended, by the answer's status; `none` without an answer.",
);
pub(crate) static UPSTREAM_IN_FLIGHT: Family = Family::gauge(
    "waypost_upstream_requests_in_flight",
    &["upstream", "endpoint"],
    "Attempts at endpoints that are under way.",
);
pub(crate) static UPSTREAM_HEADER: Family = Family::histogram(
    "waypost_upstream_header_duration_seconds",
    &["upstream"],
    "From the choice of an endpoint to the header of its response.",
);
pub(crate) static UPSTREAM_SENT: Family = Family::counter(
    "waypost_upstream_sent_bytes",
    &["upstream"],
    "Bytes that endpoints were sent for answers that were passed on.",
);
pub(crate) static UPSTREAM_RECEIVED: Family = Family::counter(
    "waypost_upstream_received_bytes",
    &["upstream"],
    "Bytes of answers that were passed on.",
);

/// All of them.
pub(crate) static ALL: &[&Family] = &[
    &BUILD,
    &REQUESTS,
    &REQUEST_DURATION,
    &REQUEST_BYTES,
    &RESPONSE_BYTES,
    &REQUESTS_IN_FLIGHT,
    &CONNECTIONS,
    &CONNECTIONS_ACCEPTED,
    &UPSTREAM_REQUESTS,
    &UPSTREAM_IN_FLIGHT,
    &UPSTREAM_HEADER,
    &UPSTREAM_SENT,
    &UPSTREAM_RECEIVED,
];
