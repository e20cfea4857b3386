//! What is balanced: an exchange, or the session of a stream. All that an attempt needs to know of
//! it.

use std::sync::Arc;

use super::balance_state::BalanceState;
use crate::data_plane::process::Process;
use crate::data_plane::proxy_protocol::AddressPair;
use crate::plugin;

/// Whatever endpoints are chosen for; plugins are asked about it as the exchange at hand.
pub(crate) trait Balanceable: plugin::ExchangeContext {
    /// Where it stands in its upstream.
    fn balance(&self) -> &BalanceState;

    /// Bounds on connections.
    fn process(&self) -> &Arc<Process>;

    /// Closes an idle connection of its worker to any upstream, which makes room for another one;
    /// false where there is none.
    fn close_idle_upstream_connection(&self) -> bool;

    /// Has a client that is idle close its connection, so that its descriptor can be used.
    fn evict_idle_client(&self);

    /// The client's end of its connection and ours, for endpoints that want to know; none where the
    /// client has no address.
    fn ends(&self) -> Option<AddressPair>;

    /// Whether it speaks HTTP to endpoints, which a handshake of TLS then says by ALPN.
    fn speaks_http(&self) -> bool;

    /// Writes a line to the error log, with what is known of it and of the endpoint.
    fn warn(&self, message: &str, upstream: &str);
}
