//! Runs plugins. The only module that knows wasmtime.

use std::rc::Rc;

use crate::http::variable::Source;

/// What the host knows of the endpoints that one policy balances. Live figures, shared by all workers.
pub trait Fleet: Send + Sync {
    /// The endpoints as `update` passes them, in order.
    fn endpoints(&self) -> Vec<EndpointView>;
    /// Attempts in progress; 0 for an index that does not exist.
    fn in_flight(&self, index: u32) -> u32;
    /// Mean time to the response header in microseconds, 0 if unknown.
    fn latency_us(&self, index: u32) -> u32;
    /// How many endpoints there are.
    fn len(&self) -> u32;
}

/// One endpoint as a policy sees it: see `fleet.endpoint` in the WIT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointView {
    pub server: String,
    pub address: String,
    pub weight: u32,
    pub max_fails: u32,
    pub down: bool,
    pub route: String,
}

/// The exchange at hand, as policies see it. [`Source`] answers for `request.variable`.
pub trait Exchange: Source {
    /// See `fleet.candidates` in the WIT. Of the fleet being balanced at this moment.
    fn candidates(&self, word: u32) -> u64;
    fn method(&self) -> &str;
    fn path(&self) -> &str;
    fn query(&self) -> &str;
    /// Calls `each` with every value of a request header; the name in any case.
    fn request_header(&self, name: &str, each: &mut dyn FnMut(&[u8]));
    fn cookie(&self, name: &str) -> Option<&[u8]>;
    fn client_address(&self) -> Option<std::net::IpAddr>;
    fn memo(&self) -> u64;
    fn set_memo(&self, value: u64);
    /// False where HTTP does not allow the name or value.
    fn add_response_header(&self, name: &str, value: &[u8]) -> bool;
    /// 0 where no response header arrived.
    fn response_status(&self) -> u16;
    fn response_header(&self, name: &str, each: &mut dyn FnMut(&[u8]));
}

/// The exchange at hand is shared between its task and the plugin call.
pub type ExchangeAtHand = Rc<dyn Exchange>;
