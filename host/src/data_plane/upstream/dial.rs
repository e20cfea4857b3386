//! A new connection to an endpoint, in two steps that take their time from the same bound: the
//! connection, and the handshake.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::{TlsConnector, TlsStream};

use super::client_connections::HeldByClient;
use super::descriptor::{Descriptor, DescriptorSource};
use super::failure::Failure;
use super::load::OpenConnection;
use super::target::{Target, TlsTarget};
use crate::config::model::Address;
use crate::data_plane::stream::{Alarm, Reader, Stream, Transport};

/// A new connection.
pub(crate) struct Dialed {
    pub(crate) stream: Stream,
    /// To be kept for as long as the stream.
    pub(crate) descriptor: Descriptor,
}

/// Opens a connection to an endpoint within the target's `connect_timeout`: sends the PROXY header
/// if the upstream wants one, and shakes hands if it speaks TLS. Where the endpoint does not take it,
/// its name is resolved again, as it may be elsewhere by now. No client is needed for it: one
/// that leaves ends the wait, see [`while_client_stays`], and the connection only where the caller
/// has no other use for it. Where the upstream has as many
/// connections as it may have, one of them is waited for beforehand, for a moment.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn dial(
    target: &Target,
    descriptors: &dyn DescriptorSource,
) -> Result<Dialed, Failure> {
    dial_for(None, target, descriptors).await
}

/// As [`dial`], for a client that has its share of such connections where they are few.
///
/// # Errors
/// [`Failure`].
pub(super) async fn dial_for(
    client: Option<&HeldByClient>,
    target: &Target,
    descriptors: &dyn DescriptorSource,
) -> Result<Dialed, Failure> {
    let open = target.limit.open(target.connect_timeout).await?;
    let due = Instant::now() + target.connect_timeout;
    connected(target, descriptors, due, open, client).await
}

/// As [`dial`], until a moment, whatever limits the connections of the upstream.
///
/// # Errors
/// [`Failure`].
pub(super) async fn dial_until(
    target: &Target,
    descriptors: &dyn DescriptorSource,
    due: Instant,
) -> Result<Dialed, Failure> {
    let open = target.limit.count();
    connected(target, descriptors, due, open, None).await
}

async fn connected(
    target: &Target,
    descriptors: &dyn DescriptorSource,
    due: Instant,
    open: OpenConnection,
    client: Option<&HeldByClient>,
) -> Result<Dialed, Failure> {
    let mut alarm = Alarm::default();
    let mut connecting = pin!(connect(target, descriptors, open, client));
    let connected = alarm
        .poll_until(due, |cx| connecting.as_mut().poll(cx))
        .await;
    let connected = connected.unwrap_or(Err(Failure::ConnectTimeout));
    let (transport, descriptor) = connected.inspect_err(|failure| target.failed(failure))?;
    let Some(tls) = &target.tls else {
        let stream = Stream::Plain(transport);
        return Ok(Dialed { stream, descriptor });
    };
    let mut shaking = pin!(shake_hands(tls, transport));
    let shaken = alarm.poll_until(due, |cx| shaking.as_mut().poll(cx)).await;
    let shaken = shaken.map_or(Err(Failure::HandshakeTimeout), |shaken| {
        shaken.map_err(Failure::Handshake)
    });
    let stream = shaken.inspect_err(|failure| target.failed(failure))?;
    Ok(Dialed { stream, descriptor })
}

/// Waits for `work` as long as the client is there; one that has sent something is taken to be.
///
/// # Errors
/// Those of the work, and [`Failure::ClientGone`].
pub(crate) async fn while_client_stays<T>(
    work: impl Future<Output = Result<T, Failure>>,
    client: Option<&Reader>,
) -> Result<T, Failure> {
    let mut work = pin!(work);
    #[allow(clippy::disallowed_methods, reason = "a dial bounds itself")]
    let waited = poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        match client {
            Some(client) => client.poll_closed(cx).map(|()| Err(Failure::ClientGone)),
            None => Poll::Pending,
        }
    });
    waited.await
}

async fn connect(
    target: &Target,
    descriptors: &dyn DescriptorSource,
    open: OpenConnection,
    client: Option<&HeldByClient>,
) -> Result<(Transport, Descriptor), Failure> {
    let descriptor = Descriptor::take(descriptors, open, client).await?;
    let mut transport = transport(&target.address)
        .await
        .map_err(Failure::of_connect)?;
    if !target.proxy_header.is_empty() {
        let written = transport.write_all(&target.proxy_header).await;
        written.map_err(Failure::of_connect)?;
    }
    Ok((transport, descriptor))
}

async fn transport(address: &Address) -> io::Result<Transport> {
    Ok(match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            // Requests are written whole: nothing is gained by waiting for more.
            stream.set_nodelay(true)?;
            Transport::tcp(stream)
        }
        Address::Unix(path) => Transport::unix(UnixStream::connect(path).await?),
    })
}

async fn shake_hands(target: &TlsTarget, transport: Transport) -> io::Result<Stream> {
    let connector = TlsConnector::from(target.tls.config.clone());
    let name = target.name.clone();
    let connecting = match target.alpn {
        true => connector.connect(name, transport),
        false => connector.with_alpn(Vec::new()).connect(name, transport),
    };
    let stream = connecting.await?;
    Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
}
