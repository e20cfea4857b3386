//! A new connection to an endpoint.

use std::io;
use std::sync::Arc;

use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsConnector, TlsStream};

use super::balance::Upstream;
use super::endpoint::Endpoint;
use crate::config::model::Address;
use crate::data_plane::stream::{Stream, Transport};
use crate::tls::ClientTls;

/// Why there is no connection.
pub(super) enum ConnectError {
    /// What the kernel says.
    Connect(io::Error),
    /// What came of the handshake, where the endpoint speaks TLS.
    Handshake(io::Error),
}

/// Connects, and shakes hands where the upstream speaks TLS. The caller bounds the time.
///
/// # Errors
/// [`ConnectError`].
pub(super) async fn connect(
    endpoint: &Endpoint,
    upstream: &Upstream,
) -> Result<Stream, ConnectError> {
    let transport = transport(&endpoint.address)
        .await
        .map_err(ConnectError::Connect)?;
    match &upstream.tls {
        None => Ok(Stream::Plain(transport)),
        // Its state is large, and gone once the connection is open.
        Some(tls) => Box::pin(shake_hands(tls, endpoint, transport))
            .await
            .map_err(ConnectError::Handshake),
    }
}

async fn transport(address: &Address) -> io::Result<Transport> {
    Ok(match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            // Requests are written whole: nothing is gained by waiting for more.
            stream.set_nodelay(true)?;
            Transport::Tcp(stream)
        }
        Address::Unix(path) => Transport::Unix(UnixStream::connect(path).await?),
    })
}

async fn shake_hands(
    tls: &Arc<ClientTls>,
    endpoint: &Endpoint,
    transport: Transport,
) -> io::Result<Stream> {
    let name = tls.server_name(&endpoint.server)?;
    let connector = TlsConnector::from(tls.config.clone());
    let stream = connector.connect(name, transport).await?;
    Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
}
