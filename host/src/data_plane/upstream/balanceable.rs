//! What is balanced: an exchange, or the session of a stream. All that an attempt needs to know of
//! it.

use std::rc::Rc;

use super::balance_state::BalanceState;
use super::client_connections::HeldByClient;
use super::descriptor::DescriptorSource;
use crate::data_plane::proxy_protocol::AddressPair;
use crate::plugin;

/// Whatever endpoints are chosen for; plugins are asked about it as the exchange at hand.
pub(crate) trait Balanceable: plugin::ExchangeContext {
    /// Where it stands in its upstream.
    fn balance(&self) -> &BalanceState;

    /// Where connections that are opened for it take their descriptors.
    fn descriptors(&self) -> Rc<dyn DescriptorSource>;

    /// The client's end of its connection and ours, for endpoints that want to know; none where the
    /// client has no address.
    fn ends(&self) -> Option<AddressPair>;

    /// A connection that it is to keep busy, if its client may bring many of its kind at once.
    fn hold(&self) -> Option<HeldByClient>;

    /// The index of the worker that carries it.
    fn worker(&self) -> usize;

    /// Whether it speaks HTTP to endpoints, which a handshake of TLS then says by ALPN.
    fn speaks_http(&self) -> bool;

    /// By which versions of plugins on trial are chosen for it.
    fn lot(&self) -> u32 {
        let address = self.client_address();
        address.map_or_else(|| self.balance().lot(), plugin::lot_of_client)
    }

    /// Writes a line to the error log, with what is known of it and of the endpoint.
    fn warn(&self, message: &str, upstream: &str);
}
