//! What a policy implements: [`Policy`] always, [`Failures`], [`Observer`] and [`MemberChanges`] if
//! it has a use for them. [`Filter`] and [`Scorer`] prepare a policy's choice.

use crate::exchange::AtHand;
use crate::host::attempt;
use crate::{
    Choice, Connection, Endpoint, Exchange, FailureKind, Outcome, Pick, Request, Response,
    Settings, SettingsError, Sharing,
};

/// Chooses the endpoint for each attempt of an exchange.
///
/// The host calls [`configure`](Policy::configure) once, [`update`](Policy::update) once before the
/// first pick, and [`pick`](Policy::pick) for every attempt. Calls never overlap. When the
/// endpoints change, or another version of the plugin is loaded, a fresh instance takes over; a
/// [`Keeper`](crate::Keeper) tells it what it knows. A call that panics or overruns its deadline costs the
/// instance, not the request: the fallback policy answers, and a fresh instance is configured.
pub trait Policy: Sized {
    /// Makes the policy from its table in the TOML.
    ///
    /// # Errors
    /// Settings that make no sense. The host reports the message at the line of the key. End with
    /// [`Settings::finish`], which refuses keys that no getter asked for.
    fn configure(settings: Settings) -> Result<Self, SettingsError>;

    /// How many instances there are: [`Sharing::PerWorker`] for choices that need no memory of
    /// earlier ones, [`Sharing::PerProcess`] for choices that depend on each other.
    fn sharing(&self) -> Sharing;

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

/// Takes other endpoints in place, without a fresh instance. Exported by
/// `export!(Mine, member_changes)`.
pub trait MemberChanges {
    /// The endpoints from now on, in configuration order, each with its index. One that stays keeps
    /// its index, a new one has an index that had no meaning before, and the index of one that is
    /// gone is no candidate any more, except for requests that began before, whose ends are still
    /// told. An instance that is made meanwhile, as after a trap, gets the indexes as they are, in
    /// `update`: an endpoint that is gone has an empty address there, and is down.
    fn change(&mut self, endpoints: Vec<(usize, Endpoint)>);
}

/// Narrows the candidates before a policy picks. Exported by `export_filter!(Mine)`.
///
/// ```
/// use waypost_sdk::{Choice, Endpoint, Filter, Settings, SettingsError, Sharing};
///
/// #[derive(Default)]
/// struct Writable {
///     primaries: Vec<u64>, // 64 servers in a word
/// }
///
/// impl Filter for Writable {
///     fn configure(settings: Settings) -> Result<Self, SettingsError> {
///         settings.finish()?;
///         Ok(Writable::default())
///     }
///
///     fn sharing(&self) -> Sharing {
///         Sharing::PerWorker
///     }
///
///     fn update(&mut self, endpoints: Vec<Endpoint>) {
///         self.primaries = vec![0; endpoints.len().div_ceil(64)];
///         for (index, endpoint) in endpoints.iter().enumerate() {
///             let is_primary = endpoint.label("role").as_deref() != Some("replica");
///             self.primaries[index / 64] |= u64::from(is_primary) << (index % 64);
///         }
///     }
///
///     fn narrow(&mut self, word: usize, candidates: u64, choice: &Choice) -> u64 {
///         match choice.request().method().as_str() {
///             "GET" | "HEAD" => candidates,
///             _ => candidates & self.primaries[word],
///         }
///     }
///
///     fn may_be_ignored(&self) -> bool {
///         false // no primary is left: the request is refused, and no replica asked
///     }
/// }
///
/// waypost_sdk::export_filter!(Writable);
/// # fn main() {}
/// ```
pub trait Filter: Sized {
    /// As [`Policy::configure`].
    ///
    /// # Errors
    /// Settings that make no sense.
    fn configure(settings: Settings) -> Result<Self, SettingsError>;

    /// As [`Policy::sharing`].
    fn sharing(&self) -> Sharing;

    /// As [`Policy::update`].
    fn update(&mut self, endpoints: Vec<Endpoint>);

    /// Those of the candidates `64 * word..` that stay, as bits; others than those of `candidates`
    /// do not count. Called for each attempt, for every word that has candidates, in order.
    fn narrow(&mut self, word: usize, candidates: u64, choice: &Choice) -> u64;

    /// Asked when none of the candidates was left: whether the policy may choose from all of them
    /// after all. Else the exchange ends as if no endpoint were left.
    fn may_be_ignored(&self) -> bool;
}

/// Ranks the candidates before a policy picks. Exported by `export_scorer!(Mine)`.
pub trait Scorer: Sized {
    /// As [`Policy::configure`].
    ///
    /// # Errors
    /// Settings that make no sense.
    fn configure(settings: Settings) -> Result<Self, SettingsError>;

    /// As [`Policy::sharing`].
    fn sharing(&self) -> Sharing;

    /// As [`Policy::update`].
    fn update(&mut self, endpoints: Vec<Endpoint>);

    /// How good each endpoint is for the attempt at hand, in order: 0 for the worst, 65,535 for the
    /// best there can be. Endpoints past the end of the list have 0. The policy chooses from those
    /// whose weighted sum over all scorers is highest.
    fn score(&mut self, choice: &Choice) -> Vec<u16>;
}

/// How an attempt ended, with the request and the response at hand.
pub struct Done<'a> {
    /// As in the [`Pick`] that chose the endpoint.
    pub lease: u64,
    /// The endpoint of the attempt.
    pub index: usize,
    /// How it ended, and how long it took.
    pub outcome: Outcome,
    pub(crate) at_hand: AtHand<'a>,
}

impl<'a> Done<'a> {
    /// The request whose attempt ended.
    pub fn request(&self) -> Request<'a> {
        Request(self.at_hand)
    }

    /// The client's connection.
    pub fn connection(&self) -> Connection<'a> {
        Connection(self.at_hand)
    }

    /// What belongs to the exchange.
    pub fn exchange(&self) -> Exchange<'a> {
        Exchange(self.at_hand)
    }

    /// The response's header; empty where none arrived.
    pub fn response(&self) -> Response<'a> {
        Response(self.at_hand)
    }

    /// The value last kept by [`Pick::set_memo`] during this exchange.
    pub fn memo(&self) -> u64 {
        attempt::memo()
    }

    /// Keeps a value for the further attempts of this exchange.
    pub fn set_memo(&self, value: u64) {
        attempt::set_memo(value);
    }

    /// Why the attempt failed.
    pub fn failure(&self) -> FailureKind {
        attempt::failure()
    }

    /// Bytes of the request that went to the server.
    pub fn bytes_sent(&self) -> u64 {
        attempt::bytes_sent()
    }

    /// Bytes of the response that came from the server.
    pub fn bytes_received(&self) -> u64 {
        attempt::bytes_received()
    }
}
