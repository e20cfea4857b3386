//! The upstream that a request names by variables in `proxy`: the one that is there, or one that the
//! control plane makes of it.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use tokio::time::Instant;

use super::fault::Fault;
use super::state::Exchange;
use super::wait::{Waited, watched_until};
use crate::config::model::{DynamicName, DynamicProxy, Found, RouteLimits};
use crate::data_plane::downstream::Session;
use crate::data_plane::upstream::WorkerUpstream;
use crate::data_plane::wanted::NotMade;
use crate::data_plane::worker_config::WorkerConfig;
use crate::plugin::Untrusted;

/// How often it is asked for, should it be gone again before the request gets to it.
const ATTEMPTS: usize = 3;

/// What a request names.
pub(super) enum Named<'a> {
    /// It is there.
    Known(Rc<WorkerUpstream>),
    Missing(Missing<'a>),
}

/// An upstream that is not there yet.
pub(super) struct Missing<'a> {
    proxy: &'a Arc<DynamicProxy>,
    name: DynamicName,
    is_listed: bool,
    /// What it is called once it is there.
    upstream: String,
}

/// Finds the upstream that an exchange names.
///
/// # Errors
/// [`Fault::NotAllowed`]
pub(super) fn find<'a>(
    session: &Session<'_>,
    worker_config: &WorkerConfig,
    exchange: &Exchange,
    proxy: &'a Arc<DynamicProxy>,
) -> Result<Named<'a>, Fault> {
    let (name, is_listed) = match named(exchange, proxy)? {
        Found::Upstream(index) => {
            return Ok(Named::Known(worker_config.upstreams[index].clone()));
        }
        Found::Dynamic { name, is_listed } => (name, is_listed),
    };
    let missing = Missing {
        upstream: proxy.upstream_name(&name),
        proxy,
        name,
        is_listed,
    };
    Ok(match missing.known(session, worker_config, exchange) {
        Some(known) => Named::Known(known),
        None => Named::Missing(missing),
    })
}

/// What an exchange names.
///
/// # Errors
/// [`Fault::NotAllowed`]
pub(super) fn named(exchange: &Exchange, proxy: &DynamicProxy) -> Result<Found, Fault> {
    let mut authority = Vec::with_capacity(64);
    proxy.authority.render(exchange, &mut authority);
    proxy.find(&authority).map_err(|why| {
        let shown = Untrusted::name(String::from_utf8_lossy(&authority));
        Fault::NotAllowed(shown, why)
    })
}

impl Missing<'_> {
    /// One that has come meanwhile is in the newest configuration alone. What may be asked is decided
    /// by the exchange's own.
    fn known(
        &self,
        session: &Session<'_>,
        worker_config: &WorkerConfig,
        exchange: &Exchange,
    ) -> Option<Rc<WorkerUpstream>> {
        let known = worker_config.upstream(&self.upstream).cloned();
        let newest = || {
            let newest = session.worker.worker_config();
            newest.upstream(&self.upstream).cloned()
        };
        let known = known.or_else(newest)?;
        let now = session.worker.clock.seconds_at(exchange.began);
        known.shared.note_use(now);
        Some(known)
    }

    /// Asks for it, and waits as long as for a connection to a server.
    ///
    /// # Errors
    /// Its name is not known, or there is no upstream of it in time; or the client has left.
    pub(super) async fn awaited(
        self,
        session: &mut Session<'_>,
        worker_config: &WorkerConfig,
        exchange: &Exchange,
        limits: &RouteLimits,
    ) -> Result<Rc<WorkerUpstream>, Fault> {
        let timeout = limits.connect_timeout;
        let until = Instant::now() + timeout.unwrap_or(self.proxy.model.connect_timeout);
        for _ in 0..ATTEMPTS {
            let wanted = &session.worker.process.wanted;
            let asked = wanted.ask(self.proxy, &self.name, self.is_listed);
            let mut awaited = asked.map_err(|why| self.fault(why))?;
            let answer = watched_until(session, until, |cx| Pin::new(&mut awaited.answer).poll(cx));
            match answer.await {
                Waited::Done(Ok(Ok(()))) => {}
                Waited::Done(Ok(Err(why))) => return Err(self.fault(why)),
                Waited::Done(Err(_)) => {
                    return Err(self.fault(NotMade::Refused("it is not made any more")));
                }
                Waited::TimedOut => return Err(Fault::ResolvedLate(self.shown())),
                Waited::ClientGone => return Err(Fault::ClientGone),
            }
            if let Some(known) = self.known(session, worker_config, exchange) {
                return Ok(known);
            }
        }
        Err(self.fault(NotMade::Refused("others have taken its place")))
    }

    /// As logs have it.
    fn shown(&self) -> Untrusted {
        Untrusted::name(&self.name.host)
    }

    fn fault(&self, why: NotMade) -> Fault {
        match why {
            NotMade::NotResolved(why) => Fault::NotResolved(self.shown(), why),
            NotMade::AddressNotAllowed(address) => Fault::AddressNotAllowed(self.shown(), address),
            NotMade::Refused(why) => Fault::NoUpstream(self.shown(), why),
        }
    }
}
