//! Is the request acceptable, and what does it ask for? Everything that is decided before anything is done.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Instant;

use super::request::asks_to_switch;
use super::state::{Exchange, Uri};
use super::{Fault, Opened};
use crate::data_plane::downstream::Session;
use crate::data_plane::worker::Site;
use crate::http::authority::Authority;
use crate::http::framing::{self, Framing};
use crate::http::head::{Known, RequestHead, Version};
use crate::http::path;
use crate::http::target::{Form, Target};

/// Takes a request apart and finds its route. The exchange is there even where the request is refused: it is logged.
pub(super) fn open(
    session: &Session,
    site: &Site,
    request: RequestHead,
    began: Instant,
) -> (Exchange, Result<Opened, Fault>) {
    let mut exchange = Exchange::new(session, request, began);
    let opened = examine(&mut exchange, session, site);
    (exchange, opened)
}

fn examine(exchange: &mut Exchange, session: &Session, site: &Site) -> Result<Opened, Fault> {
    let framing = match framing::of_request(&exchange.request)? {
        // A stream that has ended has no body; what follows a change of protocol is none.
        Framing::Stream(_) if session.incoming.is_at_end() || asks_to_switch(&exchange.request) => {
            Framing::Length(0)
        }
        framing => framing,
    };
    name_target(exchange)?;
    if site.trusts(exchange.client.ip) {
        exchange.real_client = reported_client(exchange, site);
    }
    expectation(exchange)?;
    let found = site.routers[session.listener]
        .find(&exchange.host, exchange.normalised())
        .ok_or(Fault::NoRoute)?;
    Ok(Opened {
        route: found.route,
        matched: found.prefix_len,
        framing,
    })
}

/// Fills in host, path and query (RFC 9112 section 3.2).
fn name_target(exchange: &mut Exchange) -> Result<(), Fault> {
    let request = &exchange.request;
    let target = Target::parse(request.method(), request.target())
        .map_err(|_| Fault::BadRequest("invalid target"))?;
    if matches!(target.form, Form::Authority(_)) || request.method() == b"TRACE" {
        return Err(Fault::MethodNotAllowed);
    }
    let mut hosts = request.fields().known(Known::Host);
    let host = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => return Err(Fault::BadRequest("several \"Host\" headers")),
        (None, _) if request.version() != Version::Http10 => {
            return Err(Fault::BadRequest("no \"Host\" header"));
        }
        // An empty one is valid where the target has no authority either (RFC 9112 section 3.2).
        (Some(b"") | None, _) => None,
        (Some(host), None) => {
            Some(Authority::parse(host).map_err(|_| Fault::BadRequest("invalid \"Host\" header"))?)
        }
    };
    let host = match (target.authority(), host) {
        (Some(asked), Some(host)) if *asked != host => {
            return Err(Fault::BadRequest("target and \"Host\" header in conflict"));
        }
        (Some(asked), _) => Box::from(&*asked.host),
        (None, Some(host)) => Box::from(&*host.host),
        (None, None) => Box::default(),
    };
    let path = target.path();
    let normalised =
        match path::normalise(path.as_bytes()).map_err(|_| Fault::BadRequest("invalid path"))? {
            Cow::Borrowed(_) => None,
            Cow::Owned(normalised) => Some(normalised.into_boxed_slice()),
        };
    let uri = Uri {
        path: path.len(),
        start: request.target().len().saturating_sub(target.uri.len()),
        owned: match &target.uri {
            Cow::Borrowed("/") if !request.target().ends_with(b"/") => Some(Box::from("/")),
            Cow::Borrowed(_) => None,
            Cow::Owned(uri) => Some(Box::from(&**uri)),
        },
    };
    (exchange.host, exchange.normalised, exchange.uri) = (host, normalised, uri);
    Ok(())
}

/// `Expect` may say `100-continue`, and HTTP/1.0 may not say anything by it (RFC 9110 section 10.1.1).
fn expectation(exchange: &Exchange) -> Result<(), Fault> {
    let mut expectations = exchange.request.fields().known(Known::Expect);
    let met = exchange.request.version() == Version::Http10
        || expectations.all(|value| value.eq_ignore_ascii_case(b"100-continue"));
    if met {
        Ok(())
    } else {
        Err(Fault::ExpectationFailed)
    }
}

/// The client that a chain of trusted proxies reports: the last address of `X-Forwarded-For` that is not itself trusted, else
/// `X-Real-IP`.
fn reported_client(exchange: &Exchange, site: &Site) -> Option<(IpAddr, Box<str>)> {
    let fields = exchange.request.fields();
    let mut reported = None;
    // Last field first, last member first; a member that is no address ends the chain: nobody vouches for what is left of it.
    let values: smallvec::SmallVec<[&[u8]; 2]> = fields.known(Known::XForwardedFor).collect();
    for member in values
        .iter()
        .rev()
        .flat_map(|value| value.rsplit(|byte| *byte == b','))
    {
        let Some(ip) = address(member) else { break };
        reported = Some(ip);
        if !site.trusts(Some(ip)) {
            break;
        }
    }
    let ip = reported.or_else(|| fields.known(Known::XRealIp).next().and_then(address))?;
    Some((ip, ip.to_string().into()))
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    text.parse().ok().or_else(|| {
        text.parse::<std::net::SocketAddr>()
            .ok()
            .map(|address| address.ip())
    })
}
