//! A new connection to an endpoint.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use super::attempt::Failure;
use super::balance::Lease;
use crate::config::model::Address;
use crate::data_plane::proxy_protocol;
use crate::data_plane::stream::{Alarm, Stream, Transport};

/// Connects to a lease's endpoint, and says whom it is for if the upstream wants that. The caller bounds the time.
///
/// # Errors
/// What the kernel says.
pub(super) async fn connect(lease: &Lease) -> io::Result<Stream> {
    let mut transport = match &lease.endpoint().address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            // Requests are written whole: nothing is gained by waiting for more.
            stream.set_nodelay(true)?;
            Transport::Tcp(stream)
        }
        Address::Unix(path) => Transport::Unix(UnixStream::connect(path).await?),
    };
    if let Some(version) = lease.upstream().config.proxy_protocol {
        let mut header = Vec::with_capacity(128);
        proxy_protocol::append(version, lease.exchange().ends(), &mut header);
        transport.write_all(&header).await?;
    }
    Ok(Stream::Plain(transport))
}

/// As [`connect`], within the upstream's `connect_timeout`: for the session of a stream, whose client is not watched
/// meanwhile, since it may well have said all that it will.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn open_for_session(lease: &Lease, alarm: &mut Alarm) -> Result<Stream, Failure> {
    let limit = lease.upstream().config.connect_timeout;
    match alarm.within(limit, connect(lease)).await {
        Ok(connected) => connected.map_err(Failure::of_connect),
        Err(_) => Err(Failure::ConnectTimeout),
    }
}
