//! A new connection to an endpoint, in two steps that take their time from the same bound: the connection, and the handshake.

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

/// Connects to a lease's endpoint, and says whom it is for if the upstream wants that. The caller bounds the time.
///
/// # Errors
/// [`Failure`].
pub(super) async fn connect(lease: &Lease) -> Result<Transport, Failure> {
    let mut transport = transport(&lease.endpoint().address)
        .await
        .map_err(Failure::of_connect)?;
    if let Some(version) = lease.upstream().config.proxy_protocol {
        let mut header = Vec::with_capacity(128);
        proxy_protocol::append(version, lease.exchange().ends(), &mut header);
        let written = transport.write_all(&header).await;
        written.map_err(Failure::of_connect)?;
    }
    Ok(transport)
}

/// Shakes hands, where the endpoint speaks TLS. The caller bounds the time.
///
/// # Errors
/// [`Failure::Handshake`].
pub(super) async fn secure(lease: &Lease, transport: Transport) -> Result<Stream, Failure> {
    match &lease.upstream().tls {
        None => Ok(Stream::Plain(transport)),
        Some(tls) => {
            let protocols = tls.config.alpn_protocols.clone();
            shake_hands(tls, lease, transport, protocols).await
        }
    }
}

/// Both, within the upstream's `connect_timeout`: for the session of a stream. A client that leaves meanwhile ends the attempt,
/// but one that has spoken before it closed its side may still wait for an answer. `spoken`: something was read of it; what was
/// not read is seen here. What it speaks is its own business, so no protocol is asked for (RFC 7301).
///
/// # Errors
/// [`Failure`].
pub(crate) async fn open_for_session(
    lease: &Lease,
    alarm: &mut Alarm,
    client: &Reader,
    spoken: bool,
) -> Result<Stream, Failure> {
    let upstream = lease.upstream();
    let due = Instant::now() + upstream.config.connect_timeout;
    let client = (!spoken).then_some(client);
    let late = Failure::ConnectTimeout;
    let transport = while_wanted(connect(lease), alarm, due, client, late).await??;
    let Some(tls) = &upstream.tls else {
        return Ok(Stream::Plain(transport));
    };
    // Its state is large, and gone once the connection is open.
    let secured = Box::pin(shake_hands(tls, lease, transport, Vec::new()));
    while_wanted(secured, alarm, due, client, Failure::HandshakeTimeout).await?
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
    protocols: Vec<Vec<u8>>,
) -> Result<Stream, Failure> {
    let shaken = async {
        let name = tls.server_name(&lease.endpoint().server)?;
        let connector = TlsConnector::from(tls.config.clone());
        connector
            .with_alpn(protocols)
            .connect(name, transport)
            .await
    };
    let stream = shaken.await.map_err(Failure::Handshake)?;
    Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
}
