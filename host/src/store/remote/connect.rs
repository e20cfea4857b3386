//! A connection that can be used: connected, secured, logged in, with the scripts in place.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, RedisError, cmd};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::commands::SCRIPTS;
use super::stream::{Allowance, Bounded, Bytes};
use crate::config::model::{
    Address, Lookup, RemoteStore, Resolve, Resolver, ServerName, StoreLocation, TlsVersion,
    UpstreamTls,
};
use crate::config::problem::{Place, Problem};
use crate::config::reason;
use crate::names::Names;
use crate::tls::{ClientTls, SystemRoots, Warnings};

/// Makes connections.
pub(super) struct Connector {
    pub(super) settings: RemoteStore,
    /// None where nothing is to be resolved.
    names: Option<Names>,
}

/// A connection, and what has to run for it.
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    pub(super) driver: Pin<Box<dyn Future<Output = ()>>>,
    pub(super) allowance: Allowance,
    /// Of the scripts, by which the server knows them.
    pub(super) hashes: [String; 3],
}

impl Connector {
    pub(super) fn new(settings: RemoteStore, names: Option<Names>) -> Connector {
        Connector { settings, names }
    }

    /// # Errors
    /// Why there is none, in one line.
    pub(super) async fn connect(&self) -> Result<Connected, String> {
        let limit = self.settings.connect_timeout;
        let connecting = timeout(limit, self.connected(Instant::now() + limit));
        let connected = connecting.await;
        connected.unwrap_or_else(|_| Err(format!("no connection within {limit:?}")))
    }

    async fn connected(&self, until: Instant) -> Result<Connected, String> {
        let stream: Box<dyn Bytes> = match &self.settings.location {
            StoreLocation::Unix(path) => {
                let connecting = UnixStream::connect(path).await;
                Box::new(connecting.map_err(|error| reason(&error))?)
            }
            StoreLocation::Tcp { host, port } => {
                let stream = self.connect_to(host, *port, until).await?;
                // Commands are small, and each is waited for.
                stream.set_nodelay(true).map_err(|error| reason(&error))?;
                match self.settings.tls {
                    true => self.secured(host, *port, stream).await?,
                    false => Box::new(stream),
                }
            }
        };
        let allowance = Allowance::new();
        let stream = Bounded {
            stream,
            allowance: allowance.clone(),
        };
        let mut info = RedisConnectionInfo::default()
            .set_db(self.settings.database.into())
            .set_protocol(ProtocolVersion::RESP2)
            .set_skip_set_lib_name();
        if let Some(user) = &self.settings.user {
            info = info.set_username(user);
        }
        if let Some(password) = &self.settings.password {
            info = info.set_password(password);
        }
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let made = MultiplexedConnection::new_with_config(&info, stream, config).await;
        let (mut connection, driver) = made.map_err(|error| in_one_line(&error))?;
        let mut driver: Pin<Box<dyn Future<Output = ()>>> = Box::pin(driver);
        let hashes = tokio::select! {
            hashes = load_scripts(&mut connection) => hashes.map_err(|error| in_one_line(&error))?,
            () = &mut driver => return Err("the connection broke".to_owned()),
        };
        Ok(Connected {
            connection,
            driver,
            allowance,
            hashes,
        })
    }

    /// To the first address that takes one; each has its share of the time.
    async fn connect_to(&self, host: &str, port: u16, until: Instant) -> Result<TcpStream, String> {
        let addresses = match host.parse::<IpAddr>() {
            Ok(ip) => vec![SocketAddr::new(ip, port)],
            Err(_) => self.resolved(host, port).await?,
        };
        let mut failure = format!("`{host}` has no address");
        for (left, address) in (1..=addresses.len() as u32).rev().zip(&addresses) {
            let share = until.saturating_duration_since(Instant::now()) / left;
            let why = match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => reason(&error),
                Err(_) => format!("no answer within {share:.0?}"),
            };
            failure = format!("cannot connect to {address}: {why}");
        }
        Err(failure)
    }

    async fn resolved(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let name = ServerName {
            host: host.to_owned(),
            lookup: Lookup::Addresses(port),
            // Nobody is to look after it meanwhile: it is asked for with the next connection again.
            resolver: Arc::new(Resolver {
                resolve: Resolve::Once,
                ..Resolver::clone(&self.settings.resolver)
            }),
        };
        let Some(names) = &self.names else {
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

    /// Its files are read each time, as they may have changed: this is a thread that may wait.
    async fn secured(
        &self,
        host: &str,
        port: u16,
        stream: TcpStream,
    ) -> Result<Box<dyn Bytes>, String> {
        let settings = UpstreamTls {
            verify: true,
            ca: self.settings.ca.clone(),
            crl: None,
            server_name: None,
            certificate: None,
            min_version: TlsVersion::Tls12,
            session_cache: 0,
        };
        let (mut roots, mut warnings) = (SystemRoots::default(), Warnings::new());
        let place = Place::default();
        let built = ClientTls::build(&settings, false, &place, None, &mut roots, &mut warnings);
        let first = |problems: Vec<Problem>| match problems.first() {
            Some(problem) => problem.message_in_one_line(),
            None => "TLS cannot be set up".to_owned(),
        };
        let tls = built.map_err(first)?;
        let authority = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        let name = tls.server_name(&authority);
        let name = name.map_err(|error| error.to_string())?;
        let connecting = TlsConnector::from(tls.config.clone()).connect(name, stream);
        let stream = connecting
            .await
            .map_err(|error| format!("the TLS handshake has failed: {}", reason(&error)))?;
        Ok(Box::new(stream))
    }
}

async fn load_scripts(connection: &mut MultiplexedConnection) -> Result<[String; 3], RedisError> {
    let mut hashes = [const { String::new() }; 3];
    for (script, hash) in SCRIPTS.iter().zip(&mut hashes) {
        let load = cmd("SCRIPT").arg("LOAD").arg(script).clone();
        *hash = load.query_async(connection).await?;
    }
    Ok(hashes)
}

/// What Redis says of a failure, which may be anything.
pub(super) fn in_one_line(error: &RedisError) -> String {
    const LONGEST: usize = 200;
    let text = error.to_string();
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(LONGEST).collect()
}

/// Before it is tried again, for the first time and at most.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
