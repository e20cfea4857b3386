//! What a policy implements: [`Policy`] always, [`Failures`] and [`Observer`] if it has a use for them.

use crate::host::{AtHand, Exchange, Request, Response};
use crate::{Endpoint, Outcome, Pick, Scope, Settings, SettingsError};

/// Chooses the endpoint for each attempt of an exchange.
///
/// The host calls [`configure`](Policy::configure) once, [`update`](Policy::update) before the first pick and on every
/// change of the endpoints, and [`pick`](Policy::pick) for every attempt. Calls never overlap. A call that panics or
/// overruns its deadline costs the instance, not the request: the fallback policy answers, and a fresh instance is configured.
pub trait Policy: Sized {
    /// Makes the policy from its table in the TOML.
    ///
    /// # Errors
    /// Settings that make no sense. The host reports the message at the line of the key. End with
    /// [`Settings::finish`], which refuses keys that nobody asked for.
    fn configure(settings: Settings) -> Result<Self, SettingsError>;

    /// How many instances there are: [`Scope::Worker`], one per worker, for choices that need no memory of earlier ones;
    /// [`Scope::Process`], one in all, for choices that depend on each other.
    fn scope(&self) -> Scope;

    /// Takes the endpoints, in configuration order. Their places in this list are the indexes of all other calls.
    fn update(&mut self, endpoints: Vec<Endpoint>);

    /// Chooses one of [`Pick::candidates`], of which there is at least one. `None` leaves the choice to the fallback policy.
    ///
    /// This is the hot call: it runs for every request.
    fn pick(&mut self, pick: &Pick) -> Option<usize>;
}

/// Hears of failed attempts, and only of those. Exported by `export!(Mine, failures)`.
pub trait Failures: Policy {
    /// An attempt at this endpoint failed, in the sense of `max_fails`.
    fn failed(&mut self, index: usize);
}

/// Hears how every attempt ended. Exported by `export!(Mine, observer)`.
pub trait Observer: Policy {
    /// Called exactly once for each pick whose answer was used.
    fn done(&mut self, done: &Done);
}

/// How an attempt ended, with the request and the response at hand.
pub struct Done<'a> {
    /// As in the [`Pick`] that chose the endpoint.
    pub lease: u64,
    /// The endpoint of the attempt.
    pub index: usize,
    /// How it ended, and how long it took.
    pub outcome: Outcome,
    pub(crate) host: AtHand<'a>,
}

impl<'a> Done<'a> {
    /// The request whose attempt ended.
    pub fn request(&self) -> Request<'a> {
        Request(self.host)
    }

    /// What the exchange keeps between its attempts.
    pub fn exchange(&self) -> Exchange<'a> {
        Exchange(self.host)
    }

    /// The response's header; empty where none arrived.
    pub fn response(&self) -> Response<'a> {
        Response(self.host)
    }
}
