//! Between the component's exports and a [`Policy`]: the instance's state, and the host behind the
//! imports.
//!
//! Public only for [`export!`](crate::export), whose expansion lives in the plugin's crate.

use std::cell::RefCell;
use std::thread::LocalKey;

use crate::bindings::failures::exports::waypost::plugin::failures;
use crate::bindings::keeper::exports::waypost::plugin::keeper;
use crate::bindings::observer::exports::waypost::plugin::observer;
use crate::bindings::policy::exports::waypost::plugin::balancer;
use crate::bindings::policy::waypost::plugin::{exchange, fleet, request, response};
use crate::host::Host;
use crate::pick::Words;
use crate::{
    Done, Endpoint, Failures, Keeper, Observer, Outcome, Pick, Policy, Scope, Settings,
    SettingsError, log,
};

/// `pick`'s answer for "no opinion".
const NO_OPINION: u32 = u32::MAX;

/// Where the policy of an instance lives. The guest has one thread, and the host never calls into a
/// call.
pub type Slot<P> = RefCell<Option<Instance<P>>>;

/// A configured policy.
pub struct Instance<P> {
    policy: P,
    words: Words,
}

/// The component that [`export!`](crate::export) makes of a policy.
pub trait Component {
    /// The policy it runs.
    type Policy: Policy + 'static;
    /// Where that is kept.
    fn slot() -> &'static LocalKey<Slot<Self::Policy>>;
}

impl<C: Component> balancer::Guest for C {
    fn configure(settings: String) -> Result<Scope, SettingsError> {
        // Otherwise the reason of a panic is lost: without WASI there is no stderr.
        std::panic::set_hook(Box::new(|panic| log::error(&panic.to_string())));
        let policy = C::Policy::configure(Settings::parse(&settings)?)?;
        let scope = policy.scope();
        C::slot().set(Some(Instance {
            policy,
            words: Words::default(),
        }));
        Ok(scope)
    }

    fn update(_generation: u64, endpoints: Vec<Endpoint>) {
        C::slot().with_borrow_mut(|slot| {
            if let Some(instance) = slot {
                instance.words.resize(endpoints.len());
                instance.policy.update(endpoints);
            }
        });
    }

    fn pick(lease: u64, attempt: u32, now_us: u64, random: u64, candidates: u64) -> u32 {
        C::slot().with_borrow_mut(|slot| {
            let Some(Instance { policy, words }) = slot else {
                return NO_OPINION;
            };
            let pick = Pick::new(
                (lease, attempt, now_us, random),
                candidates,
                words,
                &Imports,
            );
            policy.pick(&pick).map_or(NO_OPINION, |index| index as u32)
        })
    }
}

impl<C: Component<Policy: Failures>> failures::Guest for C {
    fn failed(index: u32) {
        C::slot().with_borrow_mut(|slot| {
            if let Some(instance) = slot {
                instance.policy.failed(index as usize);
            }
        });
    }
}

impl<C: Component<Policy: Observer>> observer::Guest for C {
    fn done(lease: u64, index: u32, outcome: Outcome) {
        C::slot().with_borrow_mut(|slot| {
            if let Some(instance) = slot {
                instance.policy.done(&Done {
                    lease,
                    index: index as usize,
                    outcome,
                    host: &Imports,
                });
            }
        });
    }
}

impl<C: Component<Policy: Keeper>> keeper::Guest for C {
    fn export_state() -> Vec<u8> {
        C::slot().with_borrow(|slot| match slot {
            Some(instance) => instance.policy.export_state(),
            None => Vec::new(),
        })
    }

    fn import_state(state: Vec<u8>) -> Result<(), String> {
        C::slot().with_borrow_mut(|slot| match slot {
            Some(instance) => instance.policy.import_state(&state),
            None => Err("the policy is not configured".to_owned()),
        })
    }
}

/// The host behind the component's imports.
pub(crate) struct Imports;

impl Host for Imports {
    fn candidates(&self, word: u32) -> u64 {
        fleet::candidates(word)
    }
    fn in_flight(&self, index: u32) -> u32 {
        fleet::in_flight(index)
    }
    fn in_flight_all(&self) -> Vec<u32> {
        fleet::in_flight_all()
    }
    fn latency_us(&self, index: u32) -> u32 {
        fleet::latency_us(index)
    }
    fn fail_timeout(&self, index: u32) -> u64 {
        fleet::fail_timeout(index)
    }
    fn method(&self) -> String {
        request::method()
    }
    fn path(&self) -> String {
        request::path()
    }
    fn query(&self) -> String {
        request::query()
    }
    fn header(&self, name: &str) -> Vec<Vec<u8>> {
        request::header(name)
    }
    fn cookie(&self, name: &str) -> Option<Vec<u8>> {
        request::cookie(name)
    }
    fn client_address(&self) -> Vec<u8> {
        request::client_address()
    }
    fn variable(&self, name: &str) -> Option<Vec<u8>> {
        request::variable(name)
    }
    fn memo(&self) -> u64 {
        exchange::memo()
    }
    fn set_memo(&self, value: u64) {
        exchange::set_memo(value);
    }
    fn add_response_header(&self, name: &str, value: &[u8]) {
        exchange::add_response_header(name, value);
    }
    fn response_status(&self) -> u16 {
        response::status()
    }
    fn response_header(&self, name: &str) -> Vec<Vec<u8>> {
        response::header(name)
    }
}
