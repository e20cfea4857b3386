//! A new connection to an endpoint.

use std::io;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsConnector, TlsStream};

use super::attempt::Failure;
use super::balance::Lease;
use super::descriptor::Descriptor;
use super::endpoint::Endpoint;
use crate::config::model::Address;
use crate::data_plane::proxy_protocol;
use crate::data_plane::stream::{Alarm, Stream, Transport};
use crate::tls::ClientTls;

/// A new connection.
pub(crate) struct Opened {
    pub(crate) stream: Stream,
    /// To be kept for as long as the stream.
    pub(crate) descriptor: Descriptor,
}

/// Why there is no connection.
pub(super) enum ConnectError {
    /// There are as many as there may be.
    TooMany(usize),
    /// What the kernel says.
    Connect(io::Error),
    /// What came of the handshake, where the endpoint speaks TLS.
    Handshake(io::Error),
}

/// Connects to a lease's endpoint, says whom it is for if the upstream wants that, and shakes hands if it speaks TLS. The
/// caller bounds the time.
///
/// # Errors
/// [`ConnectError`].
pub(super) async fn connect(lease: &Lease) -> Result<Opened, ConnectError> {
    let upstream = lease.upstream();
    let descriptor = Descriptor::take(lease.exchange().worker()).map_err(ConnectError::TooMany)?;
    let mut transport = transport(&lease.endpoint().address)
        .await
        .map_err(ConnectError::Connect)?;
    if let Some(version) = upstream.config.proxy_protocol {
        let mut header = Vec::with_capacity(128);
        proxy_protocol::append(version, lease.exchange().ends(), &mut header);
        let written = transport.write_all(&header).await;
        written.map_err(ConnectError::Connect)?;
    }
    let stream = match &upstream.tls {
        None => Stream::Plain(transport),
        // Its state is large, and gone once the connection is open.
        Some(tls) => Box::pin(shake_hands(tls, lease.endpoint(), transport))
            .await
            .map_err(ConnectError::Handshake)?,
    };
    Ok(Opened { stream, descriptor })
}

/// As [`connect`], within the upstream's `connect_timeout`: for the session of a stream, whose client is not watched
/// meanwhile, since it may well have said all that it will.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn open_for_session(lease: &Lease, alarm: &mut Alarm) -> Result<Opened, Failure> {
    let limit = lease.upstream().config.connect_timeout;
    match alarm.within(limit, connect(lease)).await {
        Ok(connected) => connected.map_err(Failure::of_connect),
        Err(_) => Err(Failure::ConnectTimeout),
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
