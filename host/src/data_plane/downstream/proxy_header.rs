//! Reads the PROXY header that a connection begins with, and not one byte more: what follows may be
//! TLS or HTTP.
//!
//! Where it names a client, a peer of `trusted_proxies` is believed; of any other, the connection
//! keeps its own address, as with nginx's `set_real_ip_from`, and only `$proxy_protocol_addr` and
//! its like tell what was said.

use std::io;

use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use super::session::Client;
use crate::config::model::TrustedProxies;
use crate::data_plane::proxy_protocol::{self, HeaderLength};
use crate::data_plane::stream::{Alarm, Stream, Transport};

/// Bytes that are looked at in one step; most headers come in one.
const STEP: usize = 256;
/// Bytes of an invalid header that the error log shows: a peer must not be able to fill the log.
const SHOWN: usize = 107;

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
enum NoHeader {
    #[error("broken header: \"{}\"", .0[..SHOWN.min(.0.len())].escape_ascii())]
    BadProxyHeader(Vec<u8>),
    #[error("client closed connection")]
    Closed,
    #[error("recv() failed ({0})")]
    Read(#[from] io::Error),
    #[error("client timed out (110: Connection timed out)")]
    TimedOut,
}

/// The client as its PROXY header has it, which must be there by `due`; none where the connection
/// is to be closed, which the error log tells. `trusted`: whose headers are believed.
pub(crate) async fn read_proxy_header(
    client: Client,
    stream: &mut Stream,
    trusted: &TrustedProxies,
    due: Instant,
) -> Option<Client> {
    // The header comes before everything else, TLS included.
    let Stream::Plain(transport) = stream else {
        return None;
    };
    let read = async {
        let header = read_header(transport, due).await?;
        proxy_protocol::parse(&header).map_err(|_| NoHeader::BadProxyHeader(header))
    };
    match read.await {
        Ok(Some(addresses)) => {
            let believed = trusted.trust(client.ip);
            Some(client.with_proxy_header(addresses, believed))
        }
        Ok(None) => Some(client),
        Err(error) => {
            let context = client.context();
            match error {
                NoHeader::BadProxyHeader(_) => {
                    tracing::error!("{error} while reading PROXY protocol{context}");
                }
                _ => tracing::info!("{error} while reading PROXY protocol{context}"),
            }
            None
        }
    }
}

async fn read_header(transport: &mut Transport, due: Instant) -> Result<Vec<u8>, NoHeader> {
    let mut alarm = Alarm::default();
    let mut header = Vec::with_capacity(STEP);
    let mut ahead = [0; STEP];
    loop {
        let seen = alarm.poll_until(due, |cx| transport.poll_peek(cx, &mut ahead));
        let seen = match seen.await {
            Ok(Ok(0)) if header.is_empty() => return Err(NoHeader::Closed),
            Ok(Ok(0)) => return Err(NoHeader::BadProxyHeader(header)),
            Ok(seen) => seen?,
            Err(_) => return Err(NoHeader::TimedOut),
        };
        let taken = header.len();
        header.extend_from_slice(&ahead[..seen]);
        match proxy_protocol::header_length(&header) {
            Ok(HeaderLength::Partial) => {
                // They are there, so that this does not wait.
                transport.read_exact(&mut ahead[..seen]).await?;
            }
            Ok(HeaderLength::Whole(length)) => {
                transport.read_exact(&mut ahead[..length - taken]).await?;
                header.truncate(length);
                return Ok(header);
            }
            Err(_) => return Err(NoHeader::BadProxyHeader(header)),
        }
    }
}
