//! Connections that the process makes for itself: to a store, a collector, a source of servers, an
//! authority. Those of requests are the data plane's.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::model::{Address, Lookup, Resolve, Resolver, ServerName};
use crate::config::reason;
use crate::names::Names;
use crate::tls::ClientTls;

/// What a host stands for at present. `names` are none where the configuration has an address.
///
/// # Errors
/// Why that is not known, in one line.
pub(crate) async fn addresses(
    names: Option<&Names>,
    resolver: &Resolver,
    host: &str,
    port: u16,
) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let name = ServerName {
        host: host.to_owned(),
        lookup: Lookup::Addresses(port),
        // Nobody is to look after it meanwhile: it is asked for with the next connection again.
        resolver: Arc::new(Resolver {
            resolve: Resolve::Once,
            ..resolver.clone()
        }),
    };
    let Some(names) = names else {
        return Ok(Vec::new());
    };
    let learned = names.learn([name.clone()].into()).await;
    if let Some(why) = learned.unanswered.get(&name) {
        return Err(format!("`{host}` could not be resolved ({why})"));
    }
    let addresses = learned.resolution.of(&name);
    let of_tcp = addresses.iter().filter_map(|address| match address {
        Address::Tcp(address) => Some(*address),
        Address::Unix(_) => None,
    });
    Ok(of_tcp.collect())
}

/// A connection to the first of a host's addresses that takes one. Those behind it have their share of
/// the time, however long one of them says nothing. `failed` hears of each that did not.
///
/// # Errors
/// Why the last one did not, in one line.
pub(crate) async fn connect(
    host: &str,
    addresses: &[SocketAddr],
    until: Instant,
    mut failed: impl FnMut(SocketAddr),
) -> Result<(TcpStream, SocketAddr), String> {
    let mut failure = format!("`{host}` has no address");
    for (left, address) in (1..=addresses.len() as u32).rev().zip(addresses) {
        let share = until.saturating_duration_since(Instant::now()) / left;
        let why = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, *address)),
            Ok(Err(error)) => reason(&error),
            Err(_) => format!("no answer within {share:.0?}"),
        };
        failed(*address);
        failure = format!("cannot connect to {address}: {why}");
    }
    Err(failure)
}

/// TLS over a connection, with a server that the configuration spells `HOST:PORT`.
///
/// # Errors
/// Why there is none, in one line.
pub(crate) async fn secured(
    tls: &ClientTls,
    authority: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, String> {
    let name = tls.server_name(authority);
    let name = name.map_err(|error| error.to_string())?;
    let connecting = TlsConnector::from(tls.config.clone()).connect(name, stream);
    let failed = |error| format!("the TLS handshake has failed: {}", reason(&error));
    connecting.await.map_err(failed)
}

/// `HOST:PORT`, with the brackets that an address of IPv6 has there.
pub(crate) fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}
