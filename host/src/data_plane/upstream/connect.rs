//! A new connection to an endpoint.

use std::io;

use tokio::net::{TcpStream, UnixStream};

use super::pool::Connection;
use crate::config::model::Address;
use crate::data_plane::stream::{split_tcp, split_unix};

/// Connects. The caller bounds the time.
///
/// # Errors
/// What the kernel says.
pub(super) async fn connect(address: &Address) -> io::Result<Connection> {
    let (reader, writer) = match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            // Requests are written whole: nothing is gained by waiting for more.
            stream.set_nodelay(true)?;
            split_tcp(stream)
        }
        Address::Unix(path) => split_unix(UnixStream::connect(path).await?),
    };
    Ok(Connection::new(reader, writer))
}
