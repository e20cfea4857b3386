//! What a request becomes on its way to an upstream: as much of its body as is kept, its head, its
//! framing. What is sent is the same in every attempt.

use std::rc::Rc;

use super::admit::Admitted;
use super::ahead::{drop_body, frame_as_chunked, read_ahead};
use super::body_hooks::BodyHooks;
use super::error_page;
use super::fault::Fault;
use super::forward::{Forwarded, Forwarding};
use super::message::UpstreamMessage;
use super::named::{self, Named};
use super::request::{
    BodyPlan, ConfiguredChanges, Listed, RequestPlan, asks_to_switch, passes_as_trailer,
    write_request,
};
use super::rest::invite;
use super::state::Exchange;
use crate::config::model::{Proxy, ProxyLimits, ProxyUpstream, ProxyUri, RequestBody, Route};
use crate::data_plane::body::{BodyError, BodyPipe, Coding, Encoder, PIECE, Stage, Stopped};
use crate::data_plane::downstream::Session;
use crate::data_plane::upstream::Retry;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::framing::Framing;
use crate::http::head::{FieldName, Version};
use crate::http::headers::is_token;
use crate::http::path::{self, Prefixes, Rewrite};
use crate::http::websocket;
use crate::plugin::BodySide;

/// Bytes that a request's head most often grows by at the most, on its way: what is forwarded of the
/// client. Where it grows by more, its buffer does.
const ADDED: usize = 256;

/// Carries an exchange to `proxy`'s upstream and its answer back.
///
/// # Errors
/// A [`Fault`] where nothing was sent to the client yet.
pub(super) async fn proxy(
    session: &mut Session<'_>,
    worker_config: &WorkerConfig,
    exchange: &Rc<Exchange>,
    route: &Route,
    proxy: &Proxy,
    admitted: &Admitted,
    progress: &mut BodyPipe,
) -> Result<Forwarded, Fault> {
    let named;
    let upstream = match (exchange.hooked.upstream(), &proxy.upstream) {
        (Some(index), _) => &worker_config.upstreams[index],
        (None, ProxyUpstream::Fixed(index)) => &worker_config.upstreams[*index],
        (None, ProxyUpstream::Dynamic(dynamic)) => {
            named = match named::find(session, worker_config, exchange, dynamic)? {
                Named::Known(upstream) => upstream,
                Named::Missing(missing) => {
                    let awaited = missing.awaited(session, worker_config, exchange, &route.limits);
                    // Few exchanges wait for one: the others need not carry the room for it.
                    Box::pin(awaited).await?
                }
            };
            &named
        }
    };
    let config = &upstream.shared.config;
    let limits = ProxyLimits::of(config, &route.limits);
    let of_listener = session.limits().client_body_timeout;
    let body_timeout = route.limits.client_body_timeout.unwrap_or(of_listener);
    *exchange.proxy_host.borrow_mut() = Some(upstream.name().clone());
    exchange.to_tls.set(upstream.shared.tls.is_some());

    let buffers = session.worker.buffers.clone();
    let method = outgoing_method(exchange, proxy);
    // Another server had it, which has handed the request on.
    let is_gone = exchange.handed_on.borrow().is_some();
    let is_clients = matches!(proxy.body, RequestBody::Client) && !is_gone;
    // Nothing is held that is not needed: thousands of requests may wait for their servers.
    let mut body = exchange.body_ahead.take();
    match progress.is_done() || !is_clients {
        true if is_clients => {}
        true => body = Vec::new(),
        false if body.is_empty() => body = buffers.take_head(),
        false => {}
    }
    if !progress.is_done() {
        invite(session, exchange)
            .await
            .map_err(|error| Fault::Body(BodyError::Io(error)))?;
        let read = if is_clients {
            // A request without a byte of a body is whole only once its stream has ended: frames
            // that contradict the length are to be seen before a server has all of it.
            let bound = match admitted.framing {
                Framing::Stream(Some(0)) => limits.body_buffer_size.max(1),
                _ => limits.body_buffer_size,
            };
            // A stream of messages may wait for an answer before it goes on.
            let wait = !exchange.is_grpc();
            read_ahead(session, progress, bound, (wait, body_timeout), &mut body).await
        } else {
            drop_body(session, progress, body_timeout).await
        };
        read.map_err(Fault::Body)?;
    }
    let fields = exchange.request.fields();
    let listed = Listed::of(fields);
    let changes = ConfiguredChanges::of(exchange, route);
    let passes_trailer = |name: &[u8]| passes_as_trailer(name, fields, changes, &listed);
    progress.retain_trailers(passes_trailer);
    session.incoming.release(&buffers);
    exchange.stats.body_received.set(progress.length);
    let mut hooks = match is_clients {
        true => BodyHooks::of(exchange, BodySide::Request),
        false => None,
    };
    if let Some(hooks) = &mut hooks {
        exchange
            .body_replaced
            .set(exchange.body_replaced.get() || hooks.changes());
        let end = progress.is_done().then(|| progress.trailers());
        body = pass_ahead(hooks, &body, end).map_err(|stopped| Fault::Body(stopped.into()))?;
    }
    let replaced = is_clients && exchange.body_replaced.get();
    let streamed = !progress.is_done() && is_clients;
    let http2 = config.http2.is_some();
    if let RequestBody::Text(text) = &proxy.body {
        text.render(&**exchange, &mut body);
    }
    let plan = match admitted.framing {
        _ if !is_clients && body.is_empty() => body_plan_for_empty(method),
        _ if !is_clients => BodyPlan::Length(body.len() as u64),
        // What there was said nothing of what there is.
        _ if replaced && !streamed && progress.trailers().is_empty() => match body.len() {
            0 => body_plan_for_empty(method),
            length => BodyPlan::Length(length as u64),
        },
        _ if replaced && http2 => BodyPlan::Stream,
        _ if replaced => BodyPlan::Chunked,
        Framing::Length(0) | Framing::UntilClose => body_plan_for_empty(method),
        Framing::Length(length) | Framing::Stream(Some(length)) => BodyPlan::Length(length),
        Framing::Chunked | Framing::Stream(None) if http2 => BodyPlan::Stream,
        // Small and complete: its length is known now. Trailers need the chunked coding.
        Framing::Chunked | Framing::Stream(None) if !streamed && progress.trailers().is_empty() => {
            BodyPlan::Length(body.len() as u64)
        }
        Framing::Chunked | Framing::Stream(None) => BodyPlan::Chunked,
    };
    if plan == BodyPlan::Chunked {
        frame_as_chunked(&mut body, progress.is_done().then(|| progress.trailers()));
    }
    // The protocol may change once the whole request was sent, and no sooner: `Upgrade` may be
    // ignored (RFC 9110 section 7.8).
    let upgrade = (asks_to_switch(&exchange.request) && progress.is_done())
        .then(|| exchange.request.fields().known(FieldName::Upgrade).next())
        .flatten()
        // HTTP/2 cannot express a list of protocols.
        .filter(|protocol| !http2 || is_token(protocol))
        .and_then(|protocol| std::str::from_utf8(protocol).ok());

    let foreign = upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"))
        && !http2
        && exchange.request.version() == Version::Http2;
    let websocket_key = foreign.then(websocket::key);

    let mut target = Vec::new();
    let outgoing = RequestPlan {
        method,
        target: outgoing_target(exchange, proxy, admitted, &mut target)?,
        body: plan,
        upgrade: upgrade.is_some(),
        http2,
        websocket_key: websocket_key.as_deref(),
        keep_alive: upstream.keeps_connections(),
        trusted: exchange.peer_trusted,
        changes,
    };
    let mut head = buffers.take_request(exchange.request.len() + ADDED);
    let traceparent = write_request(exchange, &outgoing, &mut head);
    exchange.uri.sent.replace(target);
    let rest = streamed.then_some(Encoder {
        coding: match plan {
            BodyPlan::Chunked => Coding::Chunked,
            BodyPlan::None | BodyPlan::Length(_) | BodyPlan::Stream => Coding::Plain,
        },
        passes_trailer: &passes_trailer,
    });
    let trailers = match is_clients {
        true => progress.trailers().to_vec(),
        false => Vec::new(),
    };
    let mut message = UpstreamMessage {
        head: &mut head,
        traceparent,
        body: &body,
        rest,
        trailers: &trailers,
        upgrade,
        websocket_key: websocket_key.as_deref(),
        http2,
    };
    let retry = Retry::new(
        &limits.next_upstream,
        upstream.shared.tries(limits.next_upstream.tries),
        method,
        message.rest.is_some(),
        exchange.began,
        upstream.spending(&session.worker.clock),
    );
    let intercepts = |status| error_page::intercepts(exchange, route, status);
    let mut forwarding = Forwarding {
        session,
        exchange,
        upstream: upstream.clone(),
        route,
        limits: &limits,
        body_timeout,
        message: &mut message,
        body: progress,
        hooks: hooks.as_deref_mut().map(|hooks| hooks as &mut dyn Stage),
        retry,
        intercepts: &intercepts,
    };
    let carried = forwarding.run().await;
    exchange.stats.body_received.set(progress.length);
    buffers.give(head);
    buffers.give(body);
    carried
}

/// Has hooks see what was read of a body before a server is asked: what goes on of it.
pub(super) fn pass_ahead(
    hooks: &mut BodyHooks,
    body: &[u8],
    end: Option<&[u8]>,
) -> Result<Vec<u8>, Stopped> {
    let mut passed = Vec::new();
    let mut pieces = body.chunks(PIECE).peekable();
    if pieces.peek().is_none() && end.is_some() {
        hooks.pass(&[], end, &mut passed)?;
    }
    while let Some(piece) = pieces.next() {
        let end = end.filter(|_| pieces.peek().is_none());
        hooks.pass(piece, end, &mut passed)?;
    }
    Ok(passed)
}

/// The method that the server is asked with. A `HEAD` stays one: its answer has no body, and the
/// client waits for none.
pub(super) fn outgoing_method<'a>(exchange: &'a Exchange, proxy: &'a Proxy) -> &'a [u8] {
    match (&proxy.method, exchange.request.method()) {
        (Some(method), received) if received != b"HEAD" => method.as_bytes(),
        (_, received) => received,
    }
}

/// A method that gives a body meaning says that there is none (RFC 9110 section 8.6); others say
/// nothing.
pub(super) fn body_plan_for_empty(method: &[u8]) -> BodyPlan {
    if matches!(method, b"POST" | b"PUT" | b"PATCH") {
        BodyPlan::Length(0)
    } else {
        BodyPlan::None
    }
}

/// The target as it was received or changed, or with the route's URI part in place of what the
/// route matched. A path that was changed behind the choice of the route goes on as it is, whatever
/// the route says (nginx: `rewrite ... break`, see `valid_location` in
/// `ngx_http_proxy_create_request`).
///
/// # Errors
/// [`Fault::BadTarget`]: only variables can bring it about.
pub(super) fn outgoing_target<'a>(
    exchange: &'a Exchange,
    proxy: &Proxy,
    admitted: &Admitted,
    rewritten: &'a mut Vec<u8>,
) -> Result<&'a [u8], Fault> {
    if let Some(ProxyUri::Whole(template)) = &proxy.uri {
        template.render(exchange, rewritten);
        escape_target(rewritten);
        return match rewritten.starts_with(b"/") {
            true => Ok(rewritten),
            false => Err(Fault::BadTarget),
        };
    }
    if let Some(ProxyUri::Prefix { strip, add }) = &proxy.uri {
        // What has no path, as in `OPTIONS *`, has no prefix.
        if exchange.uri.left_route.get() || !exchange.normalised().starts_with(b"/") {
            return Ok(exchange.uri());
        }
        let prefixes = Prefixes {
            received: exchange.path(),
            path: exchange.normalised(),
            strip,
            add,
            query: exchange.query().unwrap_or_default(),
        };
        prefixes.append_to(rewritten);
        return Ok(rewritten);
    }
    let matched = admitted.matched.filter(|_| !exchange.uri.left_route.get());
    let (Some(ProxyUri::Part(uri)), Some(prefix_len)) = (&proxy.uri, matched) else {
        return Ok(exchange.uri());
    };
    let rewrite = Rewrite {
        received: exchange.path(),
        path: exchange.normalised(),
        prefix_len,
        replacement: uri,
        query: exchange.query().unwrap_or_default(),
    };
    rewrite.append_to(rewritten);
    Ok(rewritten)
}

/// Escapes what no target may have, as `$uri`, which is decoded, brings it in: blanks, control
/// characters, `#`, and bytes beyond ASCII (RFC 3986 section 2.1).
fn escape_target(target: &mut Vec<u8>) {
    let is_possible = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if !target.iter().copied().all(is_possible) {
        let rendered = std::mem::take(target);
        path::escape_all_but(is_possible, &rendered, target);
    }
}
