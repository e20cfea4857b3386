//! Has another route answer in place of an error.

use super::act::{Acted, act};
use super::fault::Fault;
use super::finish::Finish;
use super::hooks::{self, Decided, OnReroute};
use super::rest::Delivered;
use super::settle::{body_limit, too_large};
use super::state::Exchange;
use super::watch::Nobody;
use super::{admit, error_page, local, refuse};
use crate::config::model::{Action, HookUse};
use crate::data_plane::body::BodyPipe;
use crate::data_plane::downstream::Session;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::framing::Framing;
use crate::plugin::HookAnswer;

/// The route that answers in place of an error, and with which status, if there is one. It can have
/// the request only as the client has sent it: of what was read of a body nothing is left, and
/// behind one that broke off nothing can be told.
pub(super) fn instead(
    session: &Session<'_>,
    worker_config: &WorkerConfig,
    exchange: &Exchange,
    fault: &Fault,
    body: &BodyPipe,
) -> Option<(usize, Option<u16>)> {
    if body.length > 0 || !fault.leaves_connection_usable() || exchange.is_grpc() {
        return None;
    }
    error_page::route(exchange, session, worker_config, fault.status())
}

/// Has another route answer in place of an error, with another status if one is given.
pub(super) async fn carry_elsewhere(
    session: &mut Session<'_>,
    worker_config: &WorkerConfig,
    finish: &mut Finish,
    (route, status): (usize, Option<u16>),
    framing: Framing,
    body: &mut BodyPipe,
) -> Delivered {
    finish.exchange().go_on_elsewhere(status);
    let fault = match act_elsewhere(session, worker_config, finish, route, framing, body).await {
        Ok(Acted::Delivered(delivered)) => return delivered,
        // Nobody would ask the hooks of a third route.
        Ok(Acted::Reroute(_) | Acted::HandedOn(_)) => Fault::NoRoute,
        Err(fault) => fault,
    };
    let exchange = finish.exchange();
    exchange.status_instead.set(None);
    let fault = match fault.into_answer() {
        Ok(HookAnswer { status, body: text }) => {
            match local::answer(session, exchange, (status, &text), body).await {
                Ok(delivered) => return delivered,
                Err(fault) => fault,
            }
        }
        Err(fault) => fault,
    };
    refuse(session, exchange, &fault, Some(body)).await
}

/// Does what the route of this index says, if its hooks let the request pass (nginx: the access phase
/// of an internal redirect). What they answer is an error of that route.
async fn act_elsewhere(
    session: &mut Session<'_>,
    worker_config: &WorkerConfig,
    finish: &mut Finish,
    route: usize,
    framing: Framing,
    body: &mut BodyPipe,
) -> Result<Acted, Fault> {
    let admitted = admit::take_route(finish.exchange(), session, worker_config, framing, route)?;
    let limit = body_limit(session, worker_config, &admitted);
    let route = &worker_config.snapshot.config.routes[admitted.route];
    // The other actions drop it, which may be why they are asked.
    if let (Action::Proxy(_), Some(fault)) = (&route.action, too_large(framing, limit)) {
        return Err(fault);
    }
    let listener = &worker_config.snapshot.config.listeners[session.listener];
    // A route that inherits none must not lead past them to one that does.
    let is_past = route.inherits_hooks && finish.exchange().is_past_listener.take();
    let of_listener: &[HookUse] = if is_past { &listener.hooks } else { &[] };
    for uses in [of_listener, &route.hooks] {
        if uses.is_empty() {
            continue;
        }
        let stay = OnReroute::Stay;
        let asked = hooks::ask(session, worker_config, finish, uses, stay, body, &Nobody);
        match asked.await? {
            Decided::Proceed => {}
            Decided::Answer(HookAnswer { status, body: text }) => {
                let exchange = finish.exchange();
                // Its own status, whatever the error that led here was to have.
                exchange.status_instead.set(None);
                let answered = local::answer(session, exchange, (status, &text), body).await;
                return answered.map(Acted::Delivered);
            }
            Decided::Reroute(_) => return Err(Fault::NoRoute),
        }
    }
    let exchange = finish.exchange();
    act(session, worker_config, exchange, &admitted, limit, body).await
}
