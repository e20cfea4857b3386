//! Requests by `upstream-requests` in the WIT.

use std::time::Duration;

use super::{Error, Request, Response};
use crate::bindings::imported::upstream_requests as host;

pub(super) fn send(request: Request) -> Result<Response, Error> {
    let answered = host::send(&outgoing(request)).map_err(|failure| error(failure))?;
    let headers = answered.headers.into_iter();
    Ok(Response {
        status: answered.status,
        headers: headers.map(|header| (header.name, header.value)).collect(),
        body: answered.body,
        is_whole: answered.is_whole,
    })
}

pub(super) fn send_and_leave(request: Request) -> Result<(), Error> {
    host::send_and_leave(&outgoing(request)).map_err(error)
}

fn outgoing(request: Request) -> host::Request {
    let headers = request.headers.into_iter();
    let millis = |timeout: Duration| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    host::Request {
        upstream: request.upstream,
        method: request.method,
        target: request.target,
        headers: headers
            .map(|(name, value)| host::Header { name, value })
            .collect(),
        body: request.body,
        timeout_ms: request.timeout.map(millis),
        wanted_headers: request.wanted_headers,
        wanted_body: request.wanted_body,
    }
}

fn error(failure: host::Failure) -> Error {
    let words = match failure {
        host::Failure::NotHere => "nothing may be asked here",
        host::Failure::Denied => "the settings do not name its upstream",
        host::Failure::NoSuchUpstream => "there is no such upstream",
        host::Failure::Unavailable => "no live upstreams",
        host::Failure::TooMany => "too many requests at once",
        host::Failure::InvalidRequest => "it cannot be expressed in HTTP",
        host::Failure::BodyTooLarge => "its body is too large",
        host::Failure::ConnectionRefused => "connection refused",
        host::Failure::ConnectionTimeout => "connecting timed out",
        host::Failure::ResponseTimeout => "the upstream timed out",
        host::Failure::Tls => "TLS failed",
        host::Failure::Broken => "the connection broke off",
        host::Failure::InvalidResponse => "the answer is no valid HTTP",
    };
    Error(words.to_owned())
}
