//! A new connection to an endpoint.

use std::io;

use tokio::net::{TcpStream, UnixStream};

use crate::config::model::Address;
use crate::data_plane::stream::Stream;

/// Connects. The caller bounds the time.
///
/// # Errors
/// What the kernel says.
pub(super) async fn connect(address: &Address) -> io::Result<Stream> {
    Ok(match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            // Requests are written whole: nothing is gained by waiting for more.
            stream.set_nodelay(true)?;
            Stream::tcp(stream)
        }
        Address::Unix(path) => Stream::unix(UnixStream::connect(path).await?),
    })
}
