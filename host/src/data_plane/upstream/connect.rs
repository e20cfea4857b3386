//! A new connection to an endpoint.

use std::io;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::{TlsConnector, TlsStream};

use super::attempt::{Failure, while_wanted};
use super::balance::Lease;
use crate::config::model::Address;
use crate::data_plane::proxy_protocol;
use crate::data_plane::stream::{Alarm, Reader, Stream, Transport};
use crate::tls::ClientTls;

/// Why there is no connection.
pub(super) enum ConnectError {
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
pub(super) async fn connect(lease: &Lease) -> Result<Stream, ConnectError> {
    let upstream = lease.upstream();
    let mut transport = transport(&lease.endpoint().address)
        .await
        .map_err(ConnectError::Connect)?;
    if let Some(version) = upstream.config.proxy_protocol {
        let mut header = Vec::with_capacity(128);
        proxy_protocol::append(version, lease.exchange().ends(), &mut header);
        let written = transport.write_all(&header).await;
        written.map_err(ConnectError::Connect)?;
    }
    match &upstream.tls {
        None => Ok(Stream::Plain(transport)),
        // Its state is large, and gone once the connection is open.
        Some(tls) => Box::pin(shake_hands(tls, lease, transport))
            .await
            .map_err(ConnectError::Handshake),
    }
}

/// As [`connect`], within the upstream's `connect_timeout`: for the session of a stream. A client that leaves meanwhile ends
/// the attempt, but one that has spoken before it closed its side may still wait for an answer. `spoken`: something was read
/// of it; what was not read is seen here.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn open_for_session(
    lease: &Lease,
    alarm: &mut Alarm,
    client: &Reader,
    spoken: bool,
) -> Result<Stream, Failure> {
    let due = Instant::now() + lease.upstream().config.connect_timeout;
    let connecting = connect(lease);
    let connected = match spoken {
        true => {
            let connected = alarm.until(due, connecting).await;
            connected.map_err(|_| Failure::ConnectTimeout)?
        }
        false => while_wanted(connecting, alarm, due, client).await?,
    };
    connected.map_err(Failure::of_connect)
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
    lease: &Lease,
    transport: Transport,
) -> io::Result<Stream> {
    let name = tls.server_name(&lease.endpoint().server)?;
    let connector = TlsConnector::from(tls.config.clone());
    let connecting = match lease.exchange().speaks_http() {
        true => connector.connect(name, transport),
        // What a session speaks is not for us to say.
        false => connector.with_alpn(Vec::new()).connect(name, transport),
    };
    let stream = connecting.await?;
    Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
}
