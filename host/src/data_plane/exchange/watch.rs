//! Who looks on while a route is found and hooks are asked: nobody, but where a request is only
//! explained. What looks on may leave out a hook that must not be asked then.

use std::rc::Rc;
use std::time::Duration;

use super::admit::Admitted;
use super::fault::Fault;
use super::hooks::Decided;
use super::state::Exchange;
use crate::config::model::HookUse;
use crate::data_plane::upstream::Balanceable as _;
use crate::data_plane::worker_config::{RunInTrial, WorkerConfig};
use crate::plugin::{Asked, ExchangeAtHand, WorkerHook};

/// A hook to be asked, and the trial that it takes part in.
pub(super) type ToAsk<'a> = (&'a Rc<WorkerHook>, Option<Rc<RunInTrial>>);

/// What looks on.
pub(super) trait Watch {
    /// The hook of a place; none where it is not to be asked.
    #[inline]
    fn hook<'a>(
        &'a self,
        worker_config: &'a WorkerConfig,
        place: &HookUse,
        exchange: &Exchange,
    ) -> Option<ToAsk<'a>> {
        Some(worker_config.hook(place.hook, || exchange.lot()))
    }

    /// The exchange as a hook sees it.
    #[inline]
    fn at_hand(&self, exchange: &Rc<Exchange>) -> ExchangeAtHand {
        exchange.clone()
    }

    /// A hook has said this, and what it wants changed is about to be. `hook`: who was asked.
    #[inline]
    fn answered(&self, _hook: &WorkerHook, _asked: &mut Asked) {}

    /// That was made of it; or why there is no answer.
    #[inline]
    fn decided(&self, _decided: Result<&Decided, &str>) {}

    /// Whether the body of the request is there for hooks that want it.
    #[inline]
    fn has_body(&self) -> bool {
        true
    }

    /// Whether the request is held back for as long as hooks want.
    #[inline]
    fn holds_back(&self, _delay: Duration) -> bool {
        true
    }

    /// A route was looked for, or named.
    #[inline]
    fn found(&self, _exchange: &Exchange, _found: &Result<Admitted, Fault>) {}
}

/// Of requests that are carried.
pub(super) struct Nobody;

impl Watch for Nobody {}
