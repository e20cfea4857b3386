//! A connection that can be used: connected, secured, logged in, with the scripts in place.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, RedisError, cmd};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::commands::SCRIPTS;
use super::stream::{Allowance, Bounded, Bytes};
use crate::config::model::{RemoteStore, StoreLocation, UpstreamTls};
use crate::config::reason;
use crate::names::Names;
use crate::outgoing;
use crate::tls::ClientTls;

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

    async fn connect_to(&self, host: &str, port: u16, until: Instant) -> Result<TcpStream, String> {
        let (names, resolver) = (self.names.as_ref(), &self.settings.resolver);
        let addresses = outgoing::addresses(names, resolver, host, port).await?;
        let connected = outgoing::connect(host, &addresses, until, |_| {}).await;
        connected.map(|(stream, _)| stream)
    }

    /// Its files are read each time, as they may have changed: this is a thread that may wait.
    async fn secured(
        &self,
        host: &str,
        port: u16,
        stream: TcpStream,
    ) -> Result<Box<dyn Bytes>, String> {
        let settings = UpstreamTls::verified_by(self.settings.ca.clone());
        let tls = ClientTls::of_own(&settings, false)?;
        let authority = outgoing::authority(host, port);
        Ok(Box::new(outgoing::secured(&tls, &authority, stream).await?))
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
