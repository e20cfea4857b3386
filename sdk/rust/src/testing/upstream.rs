//! An upstream that a policy under test balances, and the exchanges through it.

use std::mem;
use std::rc::Rc;

use super::host::{ExchangeState, Figures, Host, enter};
use super::preparation::Preparation;
use super::request::{Request, Response};
use super::{EndpointBuilder, Services, description, endpoint};
use crate::log::Level;
use crate::pick::{Pick, REFUSED, Words};
use crate::{
    Choice, Describe, Done, Draws, Ending, Endpoint, FailureKind, Failures, Keeper, Observer,
    Outcome, Policy, Settings, SettingsError,
};

/// An upstream balanced by a policy. Nothing in it moves by itself: a test sets time, load and
/// health.
pub struct Upstream<P> {
    /// The policy, for a look at its state.
    pub policy: P,
    /// The clock, in microseconds.
    pub now_us: u64,
    words: Words,
    pub(super) endpoints: Vec<Endpoint>,
    /// Which endpoints are in rotation.
    up: Vec<bool>,
    pub(super) host: Rc<Host>,
    random: Draws,
    leases: u64,
    /// Whether the last pick was refused.
    refused: bool,
    pub(super) preparation: Preparation,
}

/// A host in which no endpoint has anything to do.
fn idle_host(services: Services, endpoints: &[Endpoint]) -> Rc<Host> {
    let host = Host::default();
    *host.services.borrow_mut() = services;
    *host.fleet.borrow_mut() = Figures {
        free: Vec::new(),
        in_flight: vec![0; endpoints.len()],
        latency_us: vec![0; endpoints.len()],
        health: in_rotation(endpoints)
            .into_iter()
            .map(|is_up| if is_up { 100 } else { 0 })
            .collect(),
    };
    Rc::new(host)
}

fn in_rotation(endpoints: &[Endpoint]) -> Vec<bool> {
    endpoints
        .iter()
        .map(|endpoint| !endpoint.is_down())
        .collect()
}

/// A policy that could serve.
fn configured<P: Policy>(
    host: &Rc<Host>,
    settings: &str,
    endpoints: &[Endpoint],
) -> Result<P, SettingsError> {
    let _entered = enter(host);
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
        Self::with(Services::new(), settings, endpoints)
    }

    /// As [`new`](Upstream::new), with files, a time of day and so on.
    ///
    /// # Errors
    /// What the policy has against the settings.
    pub fn with(
        services: Services,
        settings: &str,
        endpoints: impl IntoIterator<Item = EndpointBuilder>,
    ) -> Result<Self, SettingsError> {
        let endpoints: Vec<Endpoint> = endpoints.into_iter().map(EndpointBuilder::build).collect();
        let mut words = Words::default();
        words.resize(endpoints.len());
        let host = idle_host(services, &endpoints);
        Ok(Upstream {
            policy: configured(&host, settings, &endpoints)?,
            now_us: 1_000_000,
            words,
            up: in_rotation(&endpoints),
            host,
            endpoints,
            random: Draws::from_seed(1),
            leases: 0,
            refused: false,
            preparation: Preparation::default(),
        })
    }

    /// Holds what the policy says of itself against what it does, by settings that are good.
    ///
    /// # Panics
    /// If both do not fit together.
    pub fn check_description(good: &[&str])
    where
        P: Describe,
    {
        let about = P::describe();
        let configure = |services, settings: &str| {
            let servers = ["10.0.0.1:80", "10.0.0.2:80"].map(endpoint);
            Self::with(services, settings, servers).map(|_| ())
        };
        let plain = |settings: &str| configure(Services::new(), settings);
        description::check_schema(&about.settings, good, plain);
        description::check_services((about.backups, about.streams), good, configure);
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
    pub fn swap<Next: Policy + Keeper>(self, settings: &str) -> Upstream<Next>
    where
        P: Keeper,
    {
        let mut policy: Next = configured(&self.host, settings, &self.endpoints)
            .unwrap_or_else(|error| panic!("{}", error.message));
        policy
            .import_state(&self.policy.export_state())
            .unwrap_or_else(|error| panic!("{error}"));
        Upstream {
            policy,
            now_us: self.now_us,
            words: self.words,
            endpoints: self.endpoints,
            up: self.up,
            host: self.host,
            random: self.random,
            leases: self.leases,
            refused: self.refused,
            preparation: self.preparation,
        }
    }

    /// The lines that were logged since the last call of this function.
    pub fn log_lines(&mut self) -> Vec<(Level, String)> {
        std::mem::take(&mut self.host.services.borrow_mut().lines)
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
        self.up = in_rotation(&self.endpoints);
        let services = self.host.services.borrow().clone();
        self.host = idle_host(services, &self.endpoints);
        self.preparation.update(&self.endpoints);
        self.swap(settings)
    }

    /// From now on this endpoint is no candidate.
    pub fn rotate_out(&mut self, index: usize) {
        self.up[index] = false;
    }

    /// From now on this endpoint is a candidate.
    pub fn rotate_in(&mut self, index: usize) {
        self.up[index] = true;
    }

    /// How many endpoints there are.
    pub(super) fn count(&self) -> usize {
        self.endpoints.len()
    }

    /// Sets the attempts in progress at an endpoint.
    pub fn in_flight(&mut self, index: usize, attempts: u32) {
        self.host.fleet.borrow_mut().in_flight[index] = attempts;
    }

    /// Sets the average time to the response header of an endpoint.
    pub fn latency_us(&mut self, index: usize, latency_us: u32) {
        self.host.fleet.borrow_mut().latency_us[index] = latency_us;
    }

    /// Sets how well an endpoint is, from 0 to 100.
    pub fn health(&mut self, index: usize, health: u32) {
        self.host.fleet.borrow_mut().health[index] = health;
    }

    /// An endpoint has answered: 5 % of its average time are the newest, as the host has it.
    pub(super) fn answered(&mut self, index: usize, latency_us: u32) {
        let mean = &mut self.host.fleet.borrow_mut().latency_us[index];
        *mean = match *mean {
            0 => latency_us,
            mean => ((u64::from(mean) * 19 + u64::from(latency_us)) / 20) as u32,
        };
    }

    /// Begins an exchange.
    pub fn exchange(&mut self, request: Request) -> Exchange<'_, P> {
        let tried = vec![false; self.up.len()];
        Exchange {
            upstream: self,
            state: ExchangeState::of(request),
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
    pub(super) fn ask(
        &mut self,
        state: &mut ExchangeState,
        tried: &[bool],
        attempt: u32,
    ) -> Option<usize> {
        let free = self.up.iter().zip(tried).map(|(&up, tried)| up && !tried);
        let free: Vec<bool> = free.collect();
        self.refused = false;
        if !free.contains(&true) {
            return None;
        }
        state.added.clear();
        state.refusal_status = 503;
        self.host.fleet.borrow_mut().free = free;
        self.host.services.borrow().store.pass_until(self.now_us);
        self.leases += 1;
        let numbers = (self.leases, attempt, self.now_us, self.random.draw());
        let host = &self.host;
        let answer = at_hand(host, state, || {
            let (_, attempt, now_us, random) = numbers;
            let choice = Choice::new(attempt, now_us, random);
            if !self.preparation.prepare(host, &choice) {
                return Some(REFUSED);
            }
            let first_word = super::host::fleet::candidates(0);
            let pick = Pick::new(numbers, first_word, &mut self.words);
            self.policy.pick(&pick)
        });
        self.refused = answer == Some(REFUSED);
        let choice = answer.filter(|_| !self.refused);
        if let Some(index) = choice {
            assert!(
                host.fleet.borrow().free.get(index) == Some(&true),
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
        state: &mut ExchangeState,
        (lease, index, outcome): (u64, usize, Outcome),
        hear: impl FnOnce(&mut P, &Done),
    ) {
        state.failure = match outcome.ending {
            Ending::Failed => FailureKind::Connect,
            _ => FailureKind::None,
        };
        at_hand(&self.host, state, || {
            let done = Done {
                lease,
                index,
                outcome,
                at_hand: std::marker::PhantomData,
            };
            hear(&mut self.policy, &done);
        });
    }

    /// Tells the policy of a failed attempt.
    pub fn failed(&mut self, index: usize)
    where
        P: Failures,
    {
        let _entered = enter(&self.host);
        self.policy.failed(index);
    }
}

/// A call about an exchange.
fn at_hand<T>(host: &Rc<Host>, state: &mut ExchangeState, call: impl FnOnce() -> T) -> T {
    let _entered = enter(host);
    mem::swap(&mut *host.exchange.borrow_mut(), state);
    let answer = call();
    mem::swap(&mut *host.exchange.borrow_mut(), state);
    answer
}

/// One request on its way, with its retries.
pub struct Exchange<'a, P> {
    upstream: &'a mut Upstream<P>,
    state: ExchangeState,
    tried: Vec<bool>,
    attempt: u32,
}

impl<P: Policy> Exchange<'_, P> {
    /// Asks the policy for the next attempt's endpoint. `None` where it has no opinion, or nothing
    /// is left to choose from.
    ///
    /// # Panics
    /// If it answers an endpoint that is no candidate: the host would end its instance.
    pub fn pick(&mut self) -> Option<usize> {
        let choice = self
            .upstream
            .ask(&mut self.state, &self.tried, self.attempt);
        self.attempt += 1;
        if let Some(index) = choice {
            self.tried[index] = true;
        }
        choice
    }

    /// Whether the last attempt was refused: by the policy, see
    /// [`Pick::refuse`](crate::Pick::refuse), or by a filter that left no candidate.
    pub fn is_refused(&self) -> bool {
        self.upstream.refused
    }

    /// The status that a refused attempt ends the exchange with.
    pub fn refusal_status(&self) -> u16 {
        self.state.refusal_status
    }

    /// The headers that the last pick added to the response, as `name: value`.
    pub fn added_headers(&self) -> Vec<String> {
        let added = self.state.added.iter();
        added
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
        self.upstream.tell(&mut self.state, ended, P::done);
    }
}
