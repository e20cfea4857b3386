//! Is the request acceptable, and what does it ask for? Everything that is decided before anything
//! is done.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use super::conditions;
use super::fault::Fault;
use super::request::asks_to_switch;
use super::state::{Exchange, Uri};
use crate::config::model::{PathPattern, RealIp, RealIpHeader};
use crate::data_plane::downstream::Session;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::authority::BadAuthority;
use crate::http::framing::{self, Framing};
use crate::http::head::{FieldName, Version};
use crate::http::headers::is_method;
use crate::http::path;
use crate::http::target::{BadTarget, RequestTarget, TargetForm};
use crate::http::variable::Lasting;
use crate::tls::server::ClientVerdict;

/// Why a request whose head is well-formed is answered with 400. The display text is the error
/// log's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error("{0}")]
    Target(#[from] BadTarget),
    #[error("invalid method")]
    Method,
    #[error("no \"Host\" header")]
    NoHost,
    #[error("several \"Host\" headers")]
    SeveralHosts,
    #[error("invalid \"Host\" header: {0}")]
    Host(BadAuthority),
    #[error("several \"{0}\" headers")]
    Repeated(FieldName),
    #[error("no host to redirect to")]
    NoHostToRedirect,
}

/// What a request gets that is acceptable.
pub(super) enum Admission {
    /// A route, which is to be found.
    Route(Framing),
    /// The same on a listener with TLS.
    Redirect { port: u16 },
    /// This, which an authority asks for that validates a domain.
    Challenge(Vec<u8>),
}

/// A request that has a route.
pub(super) struct Admitted {
    /// Index into the configuration's routes.
    pub(super) route: usize,
    /// How much of the normalised path the route matched; none where it did not have to.
    pub(super) matched: Option<usize>,
    /// The client is to be sent to the same path with a slash at its end.
    pub(super) lacks_slash: bool,
    pub(super) framing: Framing,
}

/// Takes a request apart: all that is decided before a route is chosen. A request that is refused
/// is logged with as much as is known of it.
pub(super) fn examine(exchange: &mut Exchange, session: &Session<'_>) -> Result<Admission, Fault> {
    drop_underscored(exchange, session);
    check_client_certificate(exchange, session)?;
    let framing = match framing::of_request(&exchange.request)? {
        // A stream that has ended has no body; what follows a change of protocol is none.
        Framing::Stream(_)
            if session.incoming.reader.is_at_end() || asks_to_switch(&exchange.request) =>
        {
            Framing::Length(0)
        }
        framing => framing,
    };
    exchange.framing = Some(framing);
    if let Some(field) = exchange.request.fields().repeated_singleton() {
        return Err(BadRequest::Repeated(field).into());
    }
    name_target(exchange)?;
    check_host_of_connection(exchange, session)?;
    let real_ip = &session.limits().real_ip;
    exchange.peer_trusted = real_ip.trusted.trust(exchange.client.ip);
    if exchange.peer_trusted {
        exchange.real_client = reported_client(exchange, real_ip);
    }
    expectation(exchange)?;
    match session.limits().redirect_to_https {
        Some(_) if exchange.host.is_empty() => Err(BadRequest::NoHostToRedirect.into()),
        Some(port) => Ok(Admission::Redirect { port }),
        None => Ok(Admission::Route(framing)),
    }
}

/// Finds the route that host and path lead to, as they are by now, and takes it.
pub(super) fn find_route(
    exchange: &Exchange,
    session: &Session<'_>,
    worker_config: &WorkerConfig,
    framing: Framing,
) -> Result<Admitted, Fault> {
    exchange.stats.route.set(None);
    let snapshot = &worker_config.snapshot;
    let holds = |route: usize| conditions::hold(&snapshot.config.routes[route].when, exchange);
    let found = snapshot.routers[session.listener]
        .find(&exchange.host, exchange.normalised(), holds)
        .ok_or(Fault::NoRoute)?;
    note_route(exchange, worker_config, found.route);
    Ok(Admitted {
        route: found.route,
        matched: Some(found.prefix_len),
        lacks_slash: found.lacks_slash,
        framing,
    })
}

/// Finds the route anew: the one of this index, or the one that host and path lead to.
pub(super) fn find_anew(
    exchange: &Exchange,
    session: &Session<'_>,
    worker_config: &WorkerConfig,
    framing: Framing,
    route: Option<usize>,
) -> Result<Admitted, Fault> {
    match route {
        Some(route) => take_route(exchange, session, worker_config, framing, route),
        None => find_route(exchange, session, worker_config, framing),
    }
}

/// Takes a route of the listener by its index, whatever host and path are.
pub(super) fn take_route(
    exchange: &Exchange,
    session: &Session<'_>,
    worker_config: &WorkerConfig,
    framing: Framing,
    index: usize,
) -> Result<Admitted, Fault> {
    exchange.stats.route.set(None);
    let routes = &worker_config.snapshot.config.routes;
    let route = routes
        .get(index)
        .filter(|route| route.listeners.contains(&session.listener))
        .ok_or(Fault::NoSuchRoute)?;
    note_route(exchange, worker_config, index);
    let path = exchange.normalised();
    let matches = match &route.path {
        PathPattern::Exact(pattern) => (path == pattern.as_bytes()).then_some(pattern),
        PathPattern::Prefix(pattern) | PathPattern::PrefixNoRegex(pattern) => {
            path.starts_with(pattern.as_bytes()).then_some(pattern)
        }
        PathPattern::Regex(_) => None,
    };
    Ok(Admitted {
        route: index,
        matched: matches.map(|pattern| pattern.len()),
        lacks_slash: false,
        framing,
    })
}

fn note_route(exchange: &Exchange, worker_config: &WorkerConfig, route: usize) {
    exchange.stats.route.set(Some(route));
    exchange.uri.left_route.set(false);
    exchange.captures.forget();
    exchange.kept.forget(Lasting::Route);
    *exchange.server_name.borrow_mut() = Some(worker_config.route_name(route));
}

/// Drops fields whose names have an underscore, unless the listener allows them (nginx:
/// `underscores_in_headers`): before any other code looks at them. Metadata of gRPC has such names.
fn drop_underscored(exchange: &mut Exchange, session: &Session<'_>) {
    if session.limits().underscores_in_headers || exchange.is_grpc() {
        return;
    }
    let dropped = exchange.request.drop_underscored();
    if dropped > 0 {
        exchange.debug(&format_args!(
            "client sent {dropped} headers with underscores in their names, which were dropped"
        ));
    }
}

/// On a listener with TLS: whether the client speaks it, and has shown what it must. Looked at with
/// each request: a connection may be older than the demand.
fn check_client_certificate(exchange: &Exchange, session: &Session<'_>) -> Result<(), Fault> {
    let Some(tls) = session.tls() else {
        return Ok(());
    };
    let Some(facts) = &exchange.client.tls else {
        return Err(Fault::PlainHttp);
    };
    match facts.verdict(tls) {
        ClientVerdict::NoneNeeded | ClientVerdict::Valid => Ok(()),
        ClientVerdict::Missing => Err(Fault::NoCertificate),
        ClientVerdict::Invalid(reason) => Err(Fault::BadCertificate(reason)),
    }
}

/// Whether the host is one that the connection was opened for, where that matters.
fn check_host_of_connection(exchange: &Exchange, session: &Session<'_>) -> Result<(), Fault> {
    match (session.tls(), &exchange.client.tls) {
        (Some(tls), Some(facts))
            if !tls.may_ask_for(&exchange.host, facts.server_name.as_deref()) =>
        {
            Err(Fault::Misdirected)
        }
        _ => Ok(()),
    }
}

/// Fills in host, path and query (RFC 9112 section 3.2).
fn name_target(exchange: &mut Exchange) -> Result<(), Fault> {
    let (request, host_names) = (&exchange.request, &exchange.worker.host_names);
    if !is_method(request.method()) {
        return Err(BadRequest::Method.into());
    }
    let target =
        RequestTarget::parse(request.method(), request.target()).map_err(BadRequest::Target)?;
    if matches!(target.form, TargetForm::Authority(_)) || request.method() == b"TRACE" {
        return Err(Fault::MethodNotAllowed);
    }
    let hosts = {
        let mut hosts = request.fields().known(FieldName::Host);
        (hosts.next(), hosts.next())
    };
    let host = match hosts {
        (Some(_), Some(_)) => return Err(BadRequest::SeveralHosts.into()),
        (None, _) if request.version() != Version::Http10 => {
            return Err(BadRequest::NoHost.into());
        }
        (None, _) => None,
        // An empty one is for targets without an authority, which HTTP's are not (RFC 9110 section
        // 7.2).
        (Some(host), None) => Some(host_names.host_of(host).map_err(BadRequest::Host)?),
    };
    // Whatever `Host` says, an absolute target says it better (RFC 9112 section 3.2.2).
    let (host, place) = match (&target.form, host) {
        (TargetForm::Absolute(asked, place), _) => (Rc::from(&*asked.host), Some(place.clone())),
        (_, Some(host)) => (host, None),
        (_, None) => (host_names.none(), None),
    };
    let path = target.path();
    let normalised = match path::normalise(path.as_bytes()).map_err(BadRequest::Target)? {
        Cow::Borrowed(_) => None,
        Cow::Owned(normalised) => Some(normalised.into_boxed_slice()),
    };
    let uri = Uri {
        path: path.len(),
        start: request.target().len().saturating_sub(target.uri.len()),
        changed: None,
        left_route: Cell::default(),
        sent: RefCell::default(),
        owned: match &target.uri {
            Cow::Borrowed("/") if !request.target().ends_with(b"/") => Some(Box::from("/")),
            Cow::Borrowed(_) => None,
            Cow::Owned(uri) => Some(Box::from(&**uri)),
        },
    };
    (exchange.host, exchange.normalised, exchange.uri) = (host, normalised, uri);
    if let Some(place) = place {
        exchange.request.set_host(place);
    }
    Ok(())
}

/// `Expect` may say `100-continue`, and HTTP/1.0 may not say anything by it (RFC 9110 section
/// 10.1.1).
fn expectation(exchange: &Exchange) -> Result<(), Fault> {
    let mut expectations = exchange.request.fields().known(FieldName::Expect);
    let met = exchange.request.version() == Version::Http10
        || expectations.all(|value| value.eq_ignore_ascii_case(b"100-continue"));
    if met {
        Ok(())
    } else {
        Err(Fault::ExpectationFailed)
    }
}

/// The client that a chain of trusted proxies reports, in the header that the listener has for it;
/// without one, in `X-Forwarded-For`, else `X-Real-IP`.
fn reported_client(exchange: &Exchange, real_ip: &RealIp) -> Option<(IpAddr, Box<str>)> {
    let fields = exchange.request.fields();
    let ip = match &real_ip.header {
        RealIpHeader::ProxyProtocol => None,
        RealIpHeader::Named(name) => last_of(fields.named(name.as_bytes()), real_ip),
        RealIpHeader::Usual => {
            let reported = last_of(fields.known(FieldName::XForwardedFor), real_ip);
            reported.or_else(|| fields.known(FieldName::XRealIp).next().and_then(address))
        }
    }?;
    Some((ip, ip.to_string().into()))
}

/// The last address of a list that is not itself one of a trusted proxy; the first where all are.
fn last_of<'a>(values: impl Iterator<Item = &'a [u8]>, real_ip: &RealIp) -> Option<IpAddr> {
    let mut reported = None;
    // Last field first, last member first; a member that is no address ends the chain: no trusted
    // proxy vouches for what stands before it.
    let values: smallvec::SmallVec<[&[u8]; 2]> = values.collect();
    for member in values
        .iter()
        .rev()
        .flat_map(|value| value.rsplit(|byte| *byte == b','))
    {
        let Some(ip) = address(member) else { break };
        reported = Some(ip);
        if !real_ip.recursive || !real_ip.trusted.trust(Some(ip)) {
            break;
        }
    }
    reported
}

/// An address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`,
/// `[2001:db8::1]:80`. One of IPv4 in the form of IPv6 (`::ffff:192.0.2.1`) is one of IPv4, as a
/// peer's is.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let ip: Option<IpAddr> = text.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    ip.or_else(with_port).map(|ip| ip.to_canonical())
}
