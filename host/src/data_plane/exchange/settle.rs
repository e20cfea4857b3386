//! Which route a request takes: found by host and path, and as the hooks of its listener and of the
//! routes on its way have it, whether they change the request or lead it elsewhere.

use super::admit::{self, Admitted};
use super::fault::Fault;
use super::finish::Finish;
use super::hooks::{self, Decided, OnReroute};
use super::watch::Watch;
use crate::data_plane::body::BodyPipe;
use crate::data_plane::downstream::Session;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::framing::Framing;
use crate::plugin::HookAnswer;

/// Changes of route in one exchange (`NGX_HTTP_MAX_URI_CHANGES`).
const MAX_REROUTES: usize = 10;

/// The way of a request from route to route.
pub(super) struct Way {
    /// The hooks of its listener are still to be asked.
    asks_listener: bool,
    /// Routes that it has taken.
    routes: usize,
    /// The one that a route's action has led to.
    pub(super) led_to: Option<usize>,
}

impl Way {
    pub(super) fn of(session: &Session<'_>, worker_config: &WorkerConfig) -> Way {
        let listener = &worker_config.snapshot.config.listeners[session.listener];
        Way {
            asks_listener: !listener.hooks.is_empty(),
            routes: 0,
            led_to: None,
        }
    }
}

/// Where a request goes.
pub(super) enum Settled {
    Route(Admitted),
    /// To no server: a hook answers.
    Answer(HookAnswer),
}

/// Finds the route of a request, as the hooks of its listener and of the route itself have it.
///
/// Those of the listener are asked once, before the first route that inherits them: a route that
/// does not must not lead past them to one that does.
///
/// # Errors
/// A [`Fault`]: there is no route, or a hook failed.
pub(super) async fn settle(
    session: &mut Session<'_>,
    worker_config: &WorkerConfig,
    finish: &mut Finish,
    (framing, body): (Framing, &mut BodyPipe),
    way: &mut Way,
    watch: &impl Watch,
) -> Result<Settled, Fault> {
    let routes = &worker_config.snapshot.config.routes;
    let of_listener = &worker_config.snapshot.config.listeners[session.listener].hooks;
    let inherits = |admitted: &Admitted| routes[admitted.route].inherits_hooks;
    let led_to = way.led_to.take();
    let mut found = admit::find_anew(finish.exchange(), session, worker_config, framing, led_to);
    watch.found(finish.exchange(), &found);
    finish.exchange().begin_trace();
    while way.routes <= MAX_REROUTES {
        way.routes += 1;
        if way.asks_listener && found.as_ref().map_or(true, inherits) {
            way.asks_listener = false;
            let others = OnReroute::AskOthers;
            let limit = found.as_ref().ok();
            let limit = limit.map(|found| body_limit(session, worker_config, found));
            body.set_limit(limit.unwrap_or(session.limits().client_max_body_size));
            let asked = hooks::ask(
                session,
                worker_config,
                finish,
                of_listener,
                others,
                body,
                watch,
            );
            let decided = asked.await?;
            let exchange = finish.exchange();
            let led_to = match decided {
                Decided::Answer(answer) => return Ok(Settled::Answer(answer)),
                Decided::Proceed if !exchange.was_changed() => None,
                // Host and path may be others by now.
                Decided::Proceed => Some(None),
                Decided::Reroute(route) => Some(route),
            };
            if let Some(route) = led_to {
                found = admit::find_anew(exchange, session, worker_config, framing, route);
                watch.found(exchange, &found);
            }
        }
        let admitted = found?;
        finish.exchange().is_past_listener.set(way.asks_listener);
        // Before the route's hooks, which count nothing then (`ngx_http_core_find_config_phase`).
        let limit = body_limit(session, worker_config, &admitted);
        let fault =
            too_large(framing, limit).or_else(|| too_large(Framing::Length(body.length), limit));
        if let Some(fault) = fault {
            return Err(fault);
        }
        let of_route = &routes[admitted.route].hooks;
        if of_route.is_empty() || admitted.lacks_slash {
            return Ok(Settled::Route(admitted));
        }
        body.set_limit(limit);
        let leave = OnReroute::Leave;
        let asked = hooks::ask(session, worker_config, finish, of_route, leave, body, watch);
        let decided = asked.await?;
        let exchange = finish.exchange();
        found = match decided {
            Decided::Proceed => return Ok(Settled::Route(admitted)),
            Decided::Answer(answer) => return Ok(Settled::Answer(answer)),
            Decided::Reroute(route) => {
                admit::find_anew(exchange, session, worker_config, framing, route)
            }
        };
        watch.found(finish.exchange(), &found);
    }
    Err(Fault::TooManyRoutes)
}

/// Bytes of a body that a request may have on its route; none for no bound.
pub(super) fn body_limit(
    session: &Session<'_>,
    worker_config: &WorkerConfig,
    admitted: &Admitted,
) -> Option<u64> {
    let route = &worker_config.snapshot.config.routes[admitted.route];
    route
        .client_max_body_size
        .unwrap_or(session.limits().client_max_body_size)
}

/// That a body is known to be larger than what is allowed.
pub(super) fn too_large(framing: Framing, limit: Option<u64>) -> Option<Fault> {
    let length = framing.length()?;
    (length > limit?).then_some(Fault::BodyTooLarge(length))
}
