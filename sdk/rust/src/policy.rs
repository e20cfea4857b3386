//! What a policy implements: [`Policy`] always, [`Failures`], [`Observer`] and [`Keeper`] if it has
//! a use for them.

use crate::host::{AtHand, Exchange, Request, Response};
use crate::{Endpoint, Outcome, Pick, Scope, Settings, SettingsError};

/// Chooses the endpoint for each attempt of an exchange.
///
/// The host calls [`configure`](Policy::configure) once, [`update`](Policy::update) once before the
/// first pick, and [`pick`](Policy::pick) for every attempt. Calls never overlap. When the
/// endpoints change, or another version of the plugin is loaded, a fresh instance takes over; a
/// [`Keeper`] tells it what it knows. A call that panics or overruns its deadline costs the
/// instance, not the request: the fallback policy answers, and a fresh instance is configured.
pub trait Policy: Sized {
    /// Makes the policy from its table in the TOML.
    ///
    /// # Errors
    /// Settings that make no sense. The host reports the message at the line of the key. End with
    /// [`Settings::finish`], which refuses keys that no getter asked for.
    fn configure(settings: Settings) -> Result<Self, SettingsError>;

    /// How many instances there are: [`Scope::Worker`], one per worker, for choices that need no
    /// memory of earlier ones; [`Scope::Process`], one in all, for choices that depend on each
    /// other.
    fn scope(&self) -> Scope;

    /// Takes the endpoints, in configuration order. Their places in this list are the indexes of
    /// all other calls.
    fn update(&mut self, endpoints: Vec<Endpoint>);

    /// Chooses one of [`Pick::candidates`], of which there is at least one. `None` leaves the
    /// choice to the fallback policy, [`Pick::refuse`] has no endpoint asked.
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
    /// Called exactly once for each pick that answered a candidate, whether the answer was used or
    /// not.
    fn done(&mut self, done: &Done);
}

/// Keeps what a policy knows when another instance takes its place: a new version of the plugin, or
/// the same one with other settings or endpoints. Exported by `export!(Mine, keeper)`. Nothing is
/// kept from an instance that failed.
///
/// ```
/// # use std::collections::BTreeMap;
/// # use waypost_sdk::{Endpoint, Pick, Policy, Scope, Settings, SettingsError};
/// use waypost_sdk::{Keeper, StateReader, StateWriter};
///
/// /// Knows how often each server was chosen.
/// pub struct Census {
///     choices: BTreeMap<String, u64>,
/// }
/// # impl Policy for Census {
/// #     fn configure(_: Settings) -> Result<Self, SettingsError> {
/// #         Ok(Census { choices: BTreeMap::new() })
/// #     }
/// #     fn scope(&self) -> Scope { Scope::Process }
/// #     fn update(&mut self, _: Vec<Endpoint>) {}
/// #     fn pick(&mut self, _: &Pick) -> Option<usize> { None }
/// # }
///
/// impl Keeper for Census {
///     fn export_state(&self) -> Vec<u8> {
///         let mut state = StateWriter::new(1); // the format number
///         for (server, count) in &self.choices {
///             state.text(server);
///             state.number(*count);
///         }
///         state.finish()
///     }
///
///     fn import_state(&mut self, state: &[u8]) -> Result<(), String> {
///         let mut read = StateReader::new(state);
///         read.format(&[1])?; // an error if another version wrote it
///         let mut choices = BTreeMap::new();
///         while !read.is_empty() {
///             choices.insert(read.text()?.to_owned(), read.number()?);
///         }
///         self.choices = choices; // only now: a state that is cut off changes nothing
///         Ok(())
///     }
/// }
///
/// waypost_sdk::export!(Census, keeper);
/// # fn main() {
/// # let mut census = Census { choices: BTreeMap::from([("a:80".to_owned(), 300)]) };
/// # let state = census.export_state();
/// # census.choices.clear();
/// # assert!(census.import_state(&state).is_ok() && census.choices["a:80"] == 300);
/// # }
/// ```
pub trait Keeper: Policy {
    /// What this instance knows, for an instance of this version or a later one: begin with a
    /// format number, as [`StateWriter`](crate::StateWriter) does. At most 1 MiB, unless the
    /// plugin's `limits.state` says otherwise. Called between two picks; the instance may well go
    /// on serving after it.
    fn export_state(&self) -> Vec<u8>;

    /// Takes over what another instance knew. Called once, after [`update`](Policy::update) and
    /// before the first pick. Endpoints may have come, gone and changed places: know them by server
    /// or address, not by index.
    ///
    /// # Errors
    /// Why the state is of no use, in one line of lower case. The host logs it, and the policy
    /// serves with what it has: change nothing before all of the state was read.
    fn import_state(&mut self, state: &[u8]) -> Result<(), String>;
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
