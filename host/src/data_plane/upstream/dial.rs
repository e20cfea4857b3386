//! A new connection to an endpoint, in two steps that take their time from the same bound: the
//! connection, and the handshake.

use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::{TlsConnector, TlsStream};

use super::balance::Lease;
use super::balanceable::Balanceable;
use super::descriptor::Descriptor;
use super::failure::Failure;
use crate::config::model::Address;
use crate::data_plane::proxy_protocol;
use crate::data_plane::stream::{Alarm, Reader, Stream, Transport};
use crate::tls::ClientTls;

/// How long a request waits for a descriptor, and how often it looks for one.
const DESCRIPTOR_WAIT: Duration = Duration::from_secs(1);
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(5);

/// A new connection.
pub(crate) struct Dialed {
    pub(crate) stream: Stream,
    /// To be kept for as long as the stream.
    pub(crate) descriptor: Descriptor,
}

/// Opens a connection to a lease's endpoint until `due`, says whom it is for if the upstream wants
/// that, and shakes hands if it speaks TLS. A `client` that leaves meanwhile ends the attempt.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn open(
    lease: &Lease,
    alarm: &mut Alarm,
    due: Instant,
    client: Option<&Reader>,
) -> Result<Dialed, Failure> {
    let late = Failure::ConnectTimeout;
    let (transport, descriptor) = while_wanted(connect(lease), alarm, due, client, late).await??;
    let Some(tls) = &lease.upstream().tls else {
        let stream = Stream::Plain(transport);
        return Ok(Dialed { stream, descriptor });
    };
    // Its state is large, and gone once the connection is open.
    let shaken = Box::pin(shake_hands(tls, lease, transport));
    let shaken = while_wanted(shaken, alarm, due, client, Failure::HandshakeTimeout).await?;
    let stream = shaken.map_err(Failure::Handshake)?;
    Ok(Dialed { stream, descriptor })
}

/// Works until `due`, which is `late`, and as long as the client is there; one that has sent
/// something is taken to be.
pub(super) async fn while_wanted<T>(
    work: impl Future<Output = T>,
    alarm: &mut Alarm,
    due: Instant,
    client: Option<&Reader>,
    late: Failure,
) -> Result<T, Failure> {
    let mut work = std::pin::pin!(work);
    let wanted = alarm.poll_until(due, |cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        match client {
            Some(client) => client.poll_closed(cx).map(|()| None),
            None => Poll::Pending,
        }
    });
    match wanted.await {
        Ok(Some(done)) => Ok(done),
        Ok(None) => Err(Failure::ClientGone),
        Err(_) => Err(late),
    }
}

async fn connect(lease: &Lease) -> Result<(Transport, Descriptor), Failure> {
    let descriptor = descriptor(lease.exchange()).await?;
    let mut transport = transport(&lease.endpoint().address)
        .await
        .map_err(Failure::of_connect)?;
    if let Some(version) = lease.upstream().config.proxy_protocol {
        let mut header = Vec::with_capacity(128);
        proxy_protocol::append(version, lease.exchange().ends(), &mut header);
        let written = transport.write_all(&header).await;
        written.map_err(Failure::of_connect)?;
    }
    Ok((transport, descriptor))
}

/// Takes a descriptor. Where none is left, idle clients are asked to make room, and others may be
/// done within a moment.
async fn descriptor(exchange: &dyn Balanceable) -> Result<Descriptor, Failure> {
    let mut due = None;
    loop {
        let make_room = || exchange.close_idle_upstream_connection();
        let open = match Descriptor::take(exchange.process(), make_room) {
            Ok(descriptor) => return Ok(descriptor),
            Err(open) => open,
        };
        let now = Instant::now();
        if now >= *due.get_or_insert(now + DESCRIPTOR_WAIT) {
            return Err(Failure::TooManyConnections(open));
        }
        exchange.evict_idle_client();
        tokio::time::sleep(DESCRIPTOR_PAUSE).await;
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
    lease: &Lease,
    transport: Transport,
) -> io::Result<Stream> {
    let name = tls.server_name(&lease.endpoint().server)?;
    let connector = TlsConnector::from(tls.config.clone());
    let connecting = match lease.exchange().speaks_http() {
        true => connector.connect(name, transport),
        // What a session speaks is not for us to say (RFC 7301).
        false => connector.with_alpn(Vec::new()).connect(name, transport),
    };
    let stream = connecting.await?;
    Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
}
