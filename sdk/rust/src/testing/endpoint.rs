//! Endpoints for tests, with nginx's defaults.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::{Endpoint, hash64};

/// An endpoint whose address is its server's spelling, with nginx's defaults: weight 1, `max_fails`
/// 1, `fail_timeout` 10 seconds, in rotation, no route, no labels.
pub fn endpoint(server: &str) -> EndpointBuilder {
    EndpointBuilder {
        address: server.to_owned(),
        weight: 1,
        facts: Facts {
            name: server.to_owned(),
            is_down: false,
            labels: BTreeMap::new(),
            max_fails: 1,
            fail_timeout: 10,
            route: String::new(),
        },
    }
}

/// See [`endpoint`].
#[derive(Debug, Clone)]
pub struct EndpointBuilder {
    address: String,
    weight: u32,
    facts: Facts,
}

/// What an endpoint is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    name: String,
    is_down: bool,
    labels: BTreeMap<String, String>,
    max_fails: u32,
    fail_timeout: u64,
    route: String,
}

impl Facts {
    pub(crate) fn name(&self) -> String {
        self.name.clone()
    }
    pub(crate) fn is_down(&self) -> bool {
        self.is_down
    }
    pub(crate) fn label(&self, name: &str) -> Option<String> {
        self.labels.get(name).cloned()
    }
    pub(crate) fn max_fails(&self) -> u32 {
        self.max_fails
    }
    pub(crate) fn fail_timeout(&self) -> u64 {
        self.fail_timeout
    }
    pub(crate) fn route(&self) -> String {
        self.route.clone()
    }
}

impl EndpointBuilder {
    /// The socket address, where it is not the server's spelling.
    pub fn address(mut self, address: &str) -> Self {
        address.clone_into(&mut self.address);
        self
    }

    /// Its share of the traffic.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Failures that put it out of rotation.
    pub fn max_fails(mut self, max_fails: u32) -> Self {
        self.facts.max_fails = max_fails;
        self
    }

    /// Taken out by the configuration.
    pub fn down(mut self) -> Self {
        self.facts.is_down = true;
        self
    }

    /// Its name for sticky sessions.
    pub fn route(mut self, route: &str) -> Self {
        route.clone_into(&mut self.facts.route);
        self
    }

    /// A label of the operator's.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.facts.labels.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The endpoint.
    pub fn build(self) -> Endpoint {
        let EndpointBuilder {
            address,
            weight,
            facts,
        } = self;
        Endpoint {
            id: hash64(format!("{}\0{address}", facts.name).as_bytes(), 0),
            address,
            weight,
            facts: Rc::new(facts),
        }
    }
}
