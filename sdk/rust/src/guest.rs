//! Between the component's exports and a plugin's type: the state of the instance.
//!
//! Public only for [`export!`](crate::export) and its like, whose expansion lives in the plugin's
//! crate.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::thread::LocalKey;

use crate::bindings::imported::types::Kind;
use crate::bindings::{self, imported};
use crate::pick::Words;
use crate::{
    About, Body, Call, Choice, Describe, Done, Endpoint, Failures, FileChanges, Filter, Hook,
    Keeper, MemberChanges, Observer, OnCheck, OnEnd, OnRequest, OnRequestBody, OnResponse,
    OnResponseBody, Outcome, Pick, Policy, Scorer, Settings, SettingsError, Sharing, Summary,
    Ticker, Verdict, log,
};
use bindings::balancer::exports::waypost::plugin::balancer;
use bindings::description::exports::waypost::plugin::description;
use bindings::failures::exports::waypost::plugin::failures;
use bindings::file_changes::exports::waypost::plugin::file_changes;
use bindings::filter::exports::waypost::plugin::filter;
use bindings::hook::exports::waypost::plugin::hook;
use bindings::keeper::exports::waypost::plugin::keeper;
use bindings::member_changes::exports::waypost::plugin::member_changes;
use bindings::members::exports::waypost::plugin::members;
use bindings::observer::exports::waypost::plugin::observer;
use bindings::on_check::exports::waypost::plugin::on_check;
use bindings::on_end::exports::waypost::plugin::on_end;
use bindings::on_request::exports::waypost::plugin::on_request;
use bindings::on_request_body::exports::waypost::plugin::on_request_body;
use bindings::on_response::exports::waypost::plugin::on_response;
use bindings::on_response_body::exports::waypost::plugin::on_response_body;
use bindings::plugin::exports::waypost::plugin::plugin;
use bindings::scorer::exports::waypost::plugin::scorer;
use bindings::ticker::exports::waypost::plugin::ticker;

/// `pick`'s answer for "no opinion".
const NO_OPINION: u32 = u32::MAX;

/// Where the plugin of an instance lives. The guest has one thread, and the host never calls into a
/// call.
pub type Slot<P> = RefCell<Option<Instance<P>>>;

/// A configured plugin.
pub struct Instance<P> {
    plugin: P,
    /// Of a policy's candidates.
    words: Words,
}

/// The component that the export macros make of a plugin.
pub trait Component {
    /// The plugin it runs.
    type Plugin: 'static;
    /// Where that is kept.
    fn slot() -> &'static LocalKey<Slot<Self::Plugin>>;
    /// Makes it.
    ///
    /// # Errors
    /// What it has against the settings.
    fn configure(settings: Settings) -> Result<(Self::Plugin, Sharing), SettingsError>;
}

/// A component that gets endpoints: a policy, a filter, a scorer.
pub trait TakesEndpoints: Component {
    /// Hands them to the plugin.
    fn update(plugin: &mut Self::Plugin, endpoints: Vec<Endpoint>);
}

/// Runs a call of the plugin. Before `configure` there is none, which the host takes care of.
fn with<C: Component, T>(call: impl FnOnce(&mut Instance<C::Plugin>) -> T) -> T {
    C::slot().with_borrow_mut(|slot| match slot {
        Some(instance) => call(instance),
        None => panic!("the plugin is not configured"),
    })
}

/// An endpoint as plugins see it.
#[cfg(target_arch = "wasm32")]
fn endpoint(index: u32, endpoint: imported::fleet::Endpoint) -> Endpoint {
    let imported::fleet::Endpoint {
        id,
        address,
        weight,
    } = endpoint;
    Endpoint {
        id,
        address,
        weight,
        facts: crate::endpoint::Facts(index),
    }
}

/// Exports are not called outside of a component.
#[cfg(not(target_arch = "wasm32"))]
fn endpoint(_: u32, _: imported::fleet::Endpoint) -> Endpoint {
    unreachable!("a component's export, called outside of a component")
}

impl<C: Component> plugin::Guest for C {
    fn configure(_: Kind, settings: String) -> Result<Sharing, SettingsError> {
        // Otherwise the reason of a panic is lost: without WASI there is no stderr.
        std::panic::set_hook(Box::new(|panic| log::error(&panic.to_string())));
        let (plugin, sharing) = C::configure(Settings::parse(&settings)?)?;
        C::slot().set(Some(Instance {
            plugin,
            words: Words::default(),
        }));
        Ok(sharing)
    }
}

impl<C: TakesEndpoints> members::Guest for C {
    fn update(_generation: u64, endpoints: Vec<imported::fleet::Endpoint>) {
        let endpoints = (0..).zip(endpoints);
        let endpoints: Vec<_> = endpoints
            .map(|(index, each)| endpoint(index, each))
            .collect();
        with::<C, _>(|instance| {
            instance.words.resize(endpoints.len());
            C::update(&mut instance.plugin, endpoints);
        });
    }
}

impl<C: Component<Plugin: MemberChanges>> member_changes::Guest for C {
    fn change(_generation: u64, endpoints: Vec<(u32, imported::fleet::Endpoint)>) {
        let endpoints = endpoints.into_iter();
        let endpoints: Vec<_> = endpoints
            .map(|(index, each)| (index as usize, endpoint(index, each)))
            .collect();
        let indexes = endpoints.iter().map(|(index, _)| index + 1);
        let count = indexes.max().unwrap_or(0);
        with::<C, _>(|instance| {
            instance.words.grow(count);
            instance.plugin.change(endpoints);
        });
    }
}

impl<C: Component<Plugin: Policy>> balancer::Guest for C {
    fn pick(lease: u64, attempt: u32, now_us: u64, random: u64, candidates: u64) -> u32 {
        with::<C, _>(|Instance { plugin, words }| {
            let pick = Pick::new((lease, attempt, now_us, random), candidates, words);
            plugin.pick(&pick).map_or(NO_OPINION, |index| index as u32)
        })
    }
}

impl<C: Component<Plugin: Filter>> filter::Guest for C {
    fn narrow(word: u32, candidates: u64, attempt: u32, now_us: u64, random: u64) -> u64 {
        let choice = Choice::new(attempt, now_us, random);
        with::<C, _>(|instance| instance.plugin.narrow(word as usize, candidates, &choice))
    }

    fn may_be_ignored() -> bool {
        with::<C, _>(|instance| instance.plugin.may_be_ignored())
    }
}

impl<C: Component<Plugin: Scorer>> scorer::Guest for C {
    fn score(attempt: u32, now_us: u64, random: u64) -> Vec<u16> {
        let choice = Choice::new(attempt, now_us, random);
        with::<C, _>(|instance| instance.plugin.score(&choice))
    }
}

impl<C: Component<Plugin: Failures>> failures::Guest for C {
    fn failed(index: u32) {
        with::<C, _>(|instance| instance.plugin.failed(index as usize));
    }
}

impl<C: Component<Plugin: Observer>> observer::Guest for C {
    fn done(lease: u64, index: u32, outcome: Outcome) {
        with::<C, _>(|instance| {
            instance.plugin.done(&Done {
                lease,
                index: index as usize,
                outcome,
                at_hand: PhantomData,
            });
        });
    }
}

impl<C: Component<Plugin: Hook>> hook::Guest for C {
    fn attach(place: u32, settings: String) -> Result<(), SettingsError> {
        let settings = Settings::parse(&settings)?;
        with::<C, _>(|instance| instance.plugin.attach(place as usize, settings))
    }
}

impl<C: Component<Plugin: OnRequest>> on_request::Guest for C {
    fn on_request(exchange: u64, place: u32, now_us: u64, random: u64) -> Verdict {
        let call = Call::new(exchange, place, now_us, random);
        with::<C, _>(|instance| instance.plugin.on_request(&call))
    }
}

impl<C: Component<Plugin: OnCheck>> on_check::Guest for C {
    fn on_check(exchange: u64, place: u32, now_us: u64, passed: bool) -> Verdict {
        let call = Call::new(exchange, place, now_us, 0);
        with::<C, _>(|instance| instance.plugin.on_check(&call, passed))
    }
}

impl<C: Component<Plugin: OnResponse>> on_response::Guest for C {
    fn on_response(exchange: u64, place: u32, now_us: u64) {
        let call = Call::new(exchange, place, now_us, 0);
        with::<C, _>(|instance| instance.plugin.on_response(&call));
    }
}

impl<C: Component<Plugin: OnRequestBody>> on_request_body::Guest for C {
    fn on_request_body(
        exchange: u64,
        place: u32,
        now_us: u64,
        bytes: Vec<u8>,
        last: bool,
    ) -> Verdict {
        let call = Call::new(exchange, place, now_us, 0);
        with::<C, _>(|instance| instance.plugin.on_request_body(&call, Body { bytes, last }))
    }
}

impl<C: Component<Plugin: OnResponseBody>> on_response_body::Guest for C {
    fn on_response_body(
        exchange: u64,
        place: u32,
        now_us: u64,
        bytes: Vec<u8>,
        last: bool,
    ) -> Verdict {
        let call = Call::new(exchange, place, now_us, 0);
        with::<C, _>(|instance| {
            instance
                .plugin
                .on_response_body(&call, Body { bytes, last })
        })
    }
}

impl<C: Component<Plugin: OnEnd>> on_end::Guest for C {
    fn on_end(exchange: u64, place: u32, now_us: u64, summary: Summary) {
        let call = Call::new(exchange, place, now_us, 0);
        with::<C, _>(|instance| instance.plugin.on_end(&call, &summary));
    }
}

impl<C: Component<Plugin: Keeper>> keeper::Guest for C {
    fn export_state() -> Vec<u8> {
        with::<C, _>(|instance| instance.plugin.export_state())
    }

    fn import_state(state: Vec<u8>) -> Result<(), String> {
        with::<C, _>(|instance| instance.plugin.import_state(&state))
    }
}

impl<C: Component<Plugin: Ticker>> ticker::Guest for C {
    fn tick(now_us: u64) -> u32 {
        with::<C, _>(|instance| instance.plugin.tick(now_us))
    }
}

impl<C: Component<Plugin: FileChanges>> file_changes::Guest for C {
    fn changed(path: String, content: Option<Vec<u8>>) {
        with::<C, _>(|instance| instance.plugin.changed(&path, content.as_deref()));
    }
}

impl<C: Component<Plugin: Describe>> description::Guest for C {
    fn describe(_: Kind) -> About {
        C::Plugin::describe()
    }
}
