//! An upstream that a policy under test balances, and the exchanges through it.

use std::cell::{Cell, RefCell};

use super::request::{Request, Response, values};
use super::{EndpointBuilder, endpoint};
use crate::host::Host;
use crate::pick::{Pick, Words};
use crate::{
    Done, Draws, Ending, Endpoint, Failures, Observer, Outcome, Policy, Settings, SettingsError,
};

/// An upstream balanced by a policy. Nothing in it moves by itself: a test sets time, load and health.
pub struct Upstream<P> {
    /// The policy, for a look at its state.
    pub policy: P,
    /// The clock, in microseconds.
    pub now_us: u64,
    words: Words,
    figures: Vec<Figures>,
    random: Draws,
    leases: u64,
}

#[derive(Clone, Copy, Default)]
struct Figures {
    out: bool,
    in_flight: u32,
    latency_us: u32,
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
        let policy = P::configure(Settings::parse(settings)?)?;
        let mut upstream = Upstream {
            policy,
            now_us: 1_000_000,
            words: Words::default(),
            figures: Vec::new(),
            random: Draws::from_seed(1),
            leases: 0,
        };
        upstream.update(endpoints);
        Ok(upstream)
    }

    /// As [`new`](Upstream::new), with `count` equal servers, `10.0.0.0:80` onwards, and settings that are known to be good.
    ///
    /// # Panics
    /// If the policy refuses the settings.
    pub fn of(settings: &str, count: usize) -> Self {
        let servers = (0..count).map(|i| endpoint(&format!("10.0.{}.{}:80", i / 256, i % 256)));
        Self::new(settings, servers).unwrap_or_else(|error| panic!("{}", error.message))
    }

    /// Changes the endpoints, with all figures back at 0.
    pub fn update(&mut self, endpoints: impl IntoIterator<Item = EndpointBuilder>) {
        let endpoints: Vec<Endpoint> = endpoints.into_iter().map(EndpointBuilder::build).collect();
        self.words.resize(endpoints.len());
        self.figures = endpoints
            .iter()
            .map(|e| Figures {
                out: e.down,
                ..Figures::default()
            })
            .collect();
        self.policy.update(endpoints);
    }

    /// From now on this endpoint is no candidate.
    pub fn rotate_out(&mut self, index: usize) {
        self.figures[index].out = true;
    }

    /// From now on this endpoint is a candidate.
    pub fn rotate_in(&mut self, index: usize) {
        self.figures[index].out = false;
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

struct State {
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
    /// Asks the policy for the next attempt's endpoint. `None` where it has no opinion, or nothing is left to choose from.
    ///
    /// # Panics
    /// If it answers an endpoint that is no candidate: the host would end its instance.
    pub fn pick(&mut self) -> Option<usize> {
        let Upstream {
            policy,
            now_us,
            words,
            figures,
            random,
            leases,
        } = &mut *self.upstream;
        let free: Vec<bool> = figures
            .iter()
            .zip(&self.tried)
            .map(|(figures, tried)| !figures.out && !tried)
            .collect();
        if !free.contains(&true) {
            return None;
        }
        self.state.added.borrow_mut().clear();
        let host = AtHand {
            free: &free,
            figures,
            state: &self.state,
        };
        *leases += 1;
        let pick = Pick::new(
            (*leases, self.attempt, *now_us, random.draw()),
            host.candidates(0),
            words,
            &host,
        );
        let choice = policy.pick(&pick);
        self.attempt += 1;
        if let Some(index) = choice {
            assert!(
                free.get(index) == Some(&true),
                "endpoint {index} is no candidate"
            );
            self.tried[index] = true;
        }
        choice
    }

    /// The headers that the last pick added to the response, as `name: value`.
    pub fn added_headers(&self) -> Vec<String> {
        let added = self.state.added.borrow();
        added
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
            .collect()
    }

    /// Tells the policy how an attempt at an endpoint ended, `total_us` after its pick.
    pub fn done(&mut self, index: usize, ending: Ending, total_us: u32, response: Response)
    where
        P: Observer,
    {
        self.state.response = response;
        let status = self.state.response.status;
        let outcome = Outcome {
            ending,
            status,
            connect_us: 0,
            header_us: total_us,
            total_us,
        };
        let host = AtHand {
            free: &[],
            figures: &self.upstream.figures,
            state: &self.state,
        };
        self.upstream.policy.done(&Done {
            lease: self.upstream.leases,
            index,
            outcome,
            host: &host,
        });
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
