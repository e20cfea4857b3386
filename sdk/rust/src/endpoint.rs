//! The endpoints that policies, filters and scorers choose from, and their live figures.

use crate::exchange::AtHand;
use crate::host::fleet;

/// One address that requests may be sent to.
///
/// What is not a field is asked of the host: ask when you get the endpoint, and keep what you need.
/// The answers do not change until the instance gets other endpoints, if it takes them.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Names the endpoint through reloads and restarts, whatever its place in the list.
    pub id: u64,
    /// The socket address: `192.0.2.1:8080`, `[2001:db8::1]:80` or `unix:/run/app.sock`. Empty in a
    /// place whose endpoint is gone, which is down: see [`MemberChanges`](crate::MemberChanges).
    pub address: String,
    /// The share of traffic, 1 or more.
    pub weight: u32,
    pub(crate) facts: Facts,
}

impl Endpoint {
    /// The server as the configuration spells it, port included only if it was written:
    /// `app.example:8080`.
    pub fn name(&self) -> String {
        self.facts.name()
    }

    /// Taken out by the configuration, or gone. It still occupies its place (and its share of a
    /// hash), but is never a candidate.
    pub fn is_down(&self) -> bool {
        self.facts.is_down()
    }

    /// A label that the operator has given the server: `zone`, `version`...
    pub fn label(&self, name: &str) -> Option<String> {
        self.facts.label(name)
    }

    /// Failures that put the endpoint out of rotation (`max_fails`); 0 for never.
    pub fn max_fails(&self) -> u32 {
        self.facts.max_fails()
    }

    /// How long an endpoint that failed so often stays out of rotation, in whole seconds
    /// (`fail_timeout`).
    pub fn fail_timeout(&self) -> u64 {
        self.facts.fail_timeout()
    }

    /// The server's `route`, empty where it has none: for sticky sessions.
    pub fn route(&self) -> String {
        self.facts.route()
    }
}

/// Answers questions about an endpoint: outside of a component, for unit tests, from what the test
/// has said of it.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) type Facts = std::rc::Rc<crate::testing::Facts>;

/// Answers questions about an endpoint, by its index.
#[cfg(target_arch = "wasm32")]
#[derive(Debug, Clone)]
pub(crate) struct Facts(pub(crate) u32);

#[cfg(target_arch = "wasm32")]
impl Facts {
    fn name(&self) -> String {
        fleet::name(self.0)
    }
    fn is_down(&self) -> bool {
        fleet::is_down(self.0)
    }
    fn label(&self, name: &str) -> Option<String> {
        fleet::label(self.0, name)
    }
    fn max_fails(&self) -> u32 {
        crate::host::nginx::max_fails(self.0)
    }
    fn fail_timeout(&self) -> u64 {
        crate::host::nginx::fail_timeout(self.0)
    }
    fn route(&self) -> String {
        crate::host::nginx::route(self.0)
    }
}

/// Live figures of the endpoints.
#[derive(Clone, Copy)]
pub struct Fleet<'a>(pub(crate) AtHand<'a>);

impl Fleet<'_> {
    /// Which endpoints may be picked, 64 at once: bit `i` stands for endpoint `64 * word + i`. For
    /// filters and scorers; `pick` has [`Pick::candidates`](crate::Pick::candidates), which asks
    /// once.
    pub fn candidates(&self, word: usize) -> u64 {
        fleet::candidates(word as u32)
    }

    /// Attempts in progress at an endpoint, in all workers. 0 for an index that does not exist.
    pub fn in_flight(&self, index: usize) -> u32 {
        fleet::in_flight(index as u32)
    }

    /// [`in_flight`](Fleet::in_flight) of every endpoint, in order: cheaper than single calls from
    /// about five endpoints on.
    pub fn all_in_flight(&self) -> Vec<u32> {
        fleet::all_in_flight()
    }

    /// Average time to the response header of an endpoint's successful attempts, in microseconds;
    /// 0 until there was one.
    pub fn latency_us(&self, index: usize) -> u32 {
        fleet::latency_us(index as u32)
    }

    /// [`latency_us`](Fleet::latency_us) of every endpoint, in order.
    pub fn all_latency_us(&self) -> Vec<u32> {
        fleet::all_latency_us()
    }

    /// How well an endpoint is, from 0, out of rotation, to 100: the share of its attempts and health
    /// checks of late that went well, in percent, 1 at least.
    pub fn health(&self, index: usize) -> u32 {
        fleet::health(index as u32)
    }

    /// [`health`](Fleet::health) of every endpoint, in order.
    pub fn all_health(&self) -> Vec<u32> {
        fleet::all_health()
    }
}
