//! Endpoints for tests, with nginx's defaults.

use crate::Endpoint;

/// An endpoint whose address is its server's spelling, with nginx's defaults: weight 1, `max_fails`
/// 1, in rotation, no route.
pub fn endpoint(server: &str) -> EndpointBuilder {
    EndpointBuilder(Endpoint {
        server: server.to_owned(),
        address: server.to_owned(),
        weight: 1,
        max_fails: 1,
        down: false,
        route: String::new(),
    })
}

/// See [`endpoint`].
pub struct EndpointBuilder(Endpoint);

impl EndpointBuilder {
    /// The socket address, where it is not the server's spelling.
    pub fn address(mut self, address: &str) -> Self {
        address.clone_into(&mut self.0.address);
        self
    }

    /// Its share of the traffic.
    pub fn weight(mut self, weight: u32) -> Self {
        self.0.weight = weight;
        self
    }

    /// Failures that put it out of rotation.
    pub fn max_fails(mut self, max_fails: u32) -> Self {
        self.0.max_fails = max_fails;
        self
    }

    /// Taken out by the configuration.
    pub fn down(mut self) -> Self {
        self.0.down = true;
        self
    }

    /// Its name for sticky sessions.
    pub fn route(mut self, route: &str) -> Self {
        route.clone_into(&mut self.0.route);
        self
    }

    /// The endpoint.
    pub fn build(self) -> Endpoint {
        self.0
    }
}
