//! An upstream that a policy under test balances, and the exchanges through it.

use std::cell::{Cell, RefCell};

use super::request::{Request, Response, values};
use super::{EndpointBuilder, endpoint};
use crate::host::Host;
use crate::pick::{Pick, REFUSED, Words};
use crate::{
    Done, Draws, Ending, Endpoint, Failures, Keeper, Observer, Outcome, Policy, Settings,
    SettingsError,
};

/// `fail_timeout` of every endpoint, in seconds: nginx's default.
const FAIL_TIMEOUT: u64 = 10;

/// An upstream balanced by a policy. Nothing in it moves by itself: a test sets time, load and
/// health.
pub struct Upstream<P> {
    /// The policy, for a look at its state.
    pub policy: P,
    /// The clock, in microseconds.
    pub now_us: u64,
    words: Words,
    endpoints: Vec<Endpoint>,
    figures: Vec<Figures>,
    random: Draws,
    leases: u64,
    /// Whether the last pick was refused.
    refused: bool,
}

#[derive(Clone, Copy, Default)]
struct Figures {
    out: bool,
    in_flight: u32,
    latency_us: u32,
}

impl Figures {
    fn of(endpoint: &Endpoint) -> Figures {
        Figures {
            out: endpoint.down,
            ..Figures::default()
        }
    }
}

/// A policy that could serve.
fn configured<P: Policy>(settings: &str, endpoints: &[Endpoint]) -> Result<P, SettingsError> {
    let mut policy = P::configure(Settings::parse(settings)?)?;
    policy.update(endpoints.to_vec());
    Ok(policy)
}

impl<P: Policy> Upstream<P> {
    /// Configures a policy and gives it these endpoints.
    ///
    /// # Errors
    /// What the policy has against the settings.
    pub fn new(
        settings: &str,
        endpoints: impl IntoIterator<Item = EndpointBuilder>,
    ) -> Result<Self, SettingsError> {
        let endpoints: Vec<Endpoint> = endpoints.into_iter().map(EndpointBuilder::build).collect();
        let mut words = Words::default();
        words.resize(endpoints.len());
        Ok(Upstream {
            policy: configured(settings, &endpoints)?,
            now_us: 1_000_000,
            words,
            figures: endpoints.iter().map(Figures::of).collect(),
            endpoints,
            random: Draws::from_seed(1),
            leases: 0,
            refused: false,
        })
    }

    /// As [`new`](Upstream::new), with `count` equal servers, `10.0.0.0:80` onwards, and settings
    /// that are known to be good.
    ///
    /// # Panics
    /// If the policy refuses the settings.
    pub fn of(settings: &str, count: usize) -> Self {
        let servers = (0..count).map(|i| endpoint(&format!("10.0.{}.{}:80", i / 256, i % 256)));
        Self::new(settings, servers).unwrap_or_else(|error| panic!("{}", error.message))
    }

    /// How many of so many picks each of the first `N` endpoints gets.
    ///
    /// # Panics
    /// If there is a pick without an answer, or of another endpoint.
    pub fn shares<const N: usize>(&mut self, picks: usize) -> [usize; N] {
        let mut shares = [0; N];
        for choice in self.picks(picks) {
            shares[choice.unwrap_or(N)] += 1;
        }
        shares
    }

    /// Another version of the policy, or the same one, takes over, as when a plugin is loaded into
    /// a running proxy. It is configured, gets the endpoints, and then the state of this one. Time,
    /// load and health stay.
    ///
    /// # Panics
    /// If it refuses the settings or the state.
    pub fn swap<Next: Keeper>(self, settings: &str) -> Upstream<Next>
    where
        P: Keeper,
    {
        let mut policy: Next = configured(settings, &self.endpoints)
            .unwrap_or_else(|error| panic!("{}", error.message));
        policy
            .import_state(&self.policy.export_state())
            .unwrap_or_else(|error| panic!("{error}"));
        Upstream {
            policy,
            now_us: self.now_us,
            words: self.words,
            endpoints: self.endpoints,
            figures: self.figures,
            random: self.random,
            leases: self.leases,
            refused: self.refused,
        }
    }

    /// The configuration is loaded again, with these endpoints: as [`swap`](Upstream::swap), but
    /// load and health begin anew.
    ///
    /// # Panics
    /// As [`swap`](Upstream::swap).
    pub fn reload(
        mut self,
        settings: &str,
        endpoints: impl IntoIterator<Item = EndpointBuilder>,
    ) -> Upstream<P>
    where
        P: Keeper,
    {
        self.endpoints = endpoints.into_iter().map(EndpointBuilder::build).collect();
        self.words.resize(self.endpoints.len());
        self.figures = self.endpoints.iter().map(Figures::of).collect();
        self.swap(settings)
    }

    /// From now on this endpoint is no candidate.
    pub fn rotate_out(&mut self, index: usize) {
        self.figures[index].out = true;
    }

    /// From now on this endpoint is a candidate.
    pub fn rotate_in(&mut self, index: usize) {
        self.figures[index].out = false;
    }

    /// How many endpoints there are.
    pub(super) fn count(&self) -> usize {
        self.endpoints.len()
    }

    /// Sets the attempts in progress at an endpoint.
    pub fn in_flight(&mut self, index: usize, attempts: u32) {
        self.figures[index].in_flight = attempts;
    }

    /// Sets the average time to the response header of an endpoint.
    pub fn latency_us(&mut self, index: usize, latency_us: u32) {
        self.figures[index].latency_us = latency_us;
    }

    /// Begins an exchange.
    pub fn exchange(&mut self, request: Request) -> Exchange<'_, P> {
        let tried = vec![false; self.figures.len()];
        Exchange {
            upstream: self,
            state: State {
                request,
                ..State::default()
            },
            tried,
            attempt: 0,
        }
    }

    /// The choice for the first attempt of a new exchange, `GET /`.
    pub fn pick(&mut self) -> Option<usize> {
        self.exchange(Request::get("/")).pick()
    }

    /// The choices for so many exchanges, one after the other.
    pub fn picks(&mut self, count: usize) -> Vec<Option<usize>> {
        (0..count).map(|_| self.pick()).collect()
    }

    /// Asks the policy for an attempt's endpoint, of those that are in rotation and not `tried`.
    /// `None` where it has no opinion or refuses, or nothing is left to choose from.
    ///
    /// # Panics
    /// If it answers an endpoint that is no candidate: the host would end its instance.
    pub(super) fn ask(&mut self, state: &State, tried: &[bool], attempt: u32) -> Option<usize> {
        let free: Vec<bool> = self
            .figures
            .iter()
            .zip(tried)
            .map(|(figures, tried)| !figures.out && !tried)
            .collect();
        self.refused = false;
        if !free.contains(&true) {
            return None;
        }
        state.added.borrow_mut().clear();
        let host = AtHand {
            free: &free,
            figures: &self.figures,
            state,
        };
        self.leases += 1;
        let pick = Pick::new(
            (self.leases, attempt, self.now_us, self.random.draw()),
            host.candidates(0),
            &mut self.words,
            &host,
        );
        let answer = self.policy.pick(&pick);
        self.refused = answer == Some(REFUSED);
        let choice = answer.filter(|_| !self.refused);
        if let Some(index) = choice {
            assert!(
                free.get(index) == Some(&true),
                "endpoint {index} is no candidate"
            );
        }
        choice
    }

    /// The lease of the last pick.
    pub(super) fn last_lease(&self) -> u64 {
        self.leases
    }

    /// Has the policy hear how an attempt ended.
    pub(super) fn tell(
        &mut self,
        state: &State,
        (lease, index, outcome): (u64, usize, Outcome),
        hear: impl FnOnce(&mut P, &Done),
    ) {
        let host = AtHand {
            free: &[],
            figures: &self.figures,
            state,
        };
        let done = Done {
            lease,
            index,
            outcome,
            host: &host,
        };
        hear(&mut self.policy, &done);
    }

    /// Tells the policy of a failed attempt.
    pub fn failed(&mut self, index: usize)
    where
        P: Failures,
    {
        self.policy.failed(index);
    }
}

/// One request on its way, with its retries.
pub struct Exchange<'a, P> {
    upstream: &'a mut Upstream<P>,
    state: State,
    tried: Vec<bool>,
    attempt: u32,
}

/// What belongs to one exchange.
pub(super) struct State {
    request: Request,
    memo: Cell<u64>,
    added: RefCell<Vec<(String, Vec<u8>)>>,
    response: Response,
}

impl Default for State {
    fn default() -> Self {
        State {
            request: Request::get("/"),
            memo: Cell::default(),
            added: RefCell::default(),
            response: Response::default(),
        }
    }
}

impl<P: Policy> Exchange<'_, P> {
    /// Asks the policy for the next attempt's endpoint. `None` where it has no opinion, or nothing
    /// is left to choose from.
    ///
    /// # Panics
    /// If it answers an endpoint that is no candidate: the host would end its instance.
    pub fn pick(&mut self) -> Option<usize> {
        let choice = self.upstream.ask(&self.state, &self.tried, self.attempt);
        self.attempt += 1;
        if let Some(index) = choice {
            self.tried[index] = true;
        }
        choice
    }

    /// Whether the policy refused the last attempt that it was asked for, by
    /// [`Pick::refuse`](crate::Pick::refuse).
    pub fn is_refused(&self) -> bool {
        self.upstream.refused
    }

    /// The headers that the last pick added to the response, as `name: value`.
    pub fn added_headers(&self) -> Vec<String> {
        let added = self.state.added.borrow();
        added
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
            .collect()
    }

    /// Tells the policy how an attempt at an endpoint ended, `total_us` after its pick. The header
    /// of the response came at the same moment, unless the attempt failed.
    pub fn done(&mut self, index: usize, ending: Ending, total_us: u32, response: Response)
    where
        P: Observer,
    {
        let header_us = if ending == Ending::Failed {
            0
        } else {
            total_us
        };
        let outcome = Outcome {
            ending,
            status: response.status,
            connect_us: 0,
            header_us,
            total_us,
        };
        self.ended(index, outcome, response);
    }

    /// As [`done`](Exchange::done), with every time of the attempt.
    pub fn ended(&mut self, index: usize, outcome: Outcome, response: Response)
    where
        P: Observer,
    {
        self.state.response = response;
        let ended = (self.upstream.last_lease(), index, outcome);
        self.upstream.tell(&self.state, ended, P::done);
    }
}

struct AtHand<'a> {
    free: &'a [bool],
    figures: &'a [Figures],
    state: &'a State,
}

impl Host for AtHand<'_> {
    fn candidates(&self, word: u32) -> u64 {
        let free = self
            .free
            .iter()
            .skip(64 * word as usize)
            .take(64)
            .enumerate();
        free.map(|(bit, &free)| u64::from(free) << bit).sum()
    }
    fn in_flight(&self, index: u32) -> u32 {
        self.figures
            .get(index as usize)
            .map_or(0, |figures| figures.in_flight)
    }
    fn in_flight_all(&self) -> Vec<u32> {
        self.figures
            .iter()
            .map(|figures| figures.in_flight)
            .collect()
    }
    fn latency_us(&self, index: u32) -> u32 {
        self.figures
            .get(index as usize)
            .map_or(0, |figures| figures.latency_us)
    }
    fn fail_timeout(&self, index: u32) -> u64 {
        match (index as usize) < self.figures.len() {
            true => FAIL_TIMEOUT,
            false => 0,
        }
    }
    fn method(&self) -> String {
        self.state.request.method()
    }
    fn path(&self) -> String {
        self.state.request.path()
    }
    fn query(&self) -> String {
        self.state.request.query()
    }
    fn header(&self, name: &str) -> Vec<Vec<u8>> {
        Host::header(&self.state.request, name)
    }
    fn cookie(&self, name: &str) -> Option<Vec<u8>> {
        Host::cookie(&self.state.request, name)
    }
    fn client_address(&self) -> Vec<u8> {
        self.state.request.client_address()
    }
    fn variable(&self, name: &str) -> Option<Vec<u8>> {
        Host::variable(&self.state.request, name)
    }
    fn memo(&self) -> u64 {
        self.state.memo.get()
    }
    fn set_memo(&self, value: u64) {
        self.state.memo.set(value);
    }
    fn add_response_header(&self, name: &str, value: &[u8]) {
        self.state
            .added
            .borrow_mut()
            .push((name.to_owned(), value.to_vec()));
    }
    fn response_status(&self) -> u16 {
        self.state.response.status
    }
    fn response_header(&self, name: &str) -> Vec<Vec<u8>> {
        values(&self.state.response.headers, name)
    }
}
