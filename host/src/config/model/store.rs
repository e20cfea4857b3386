//! `[store]`: where what plugins share is kept.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{NamedFile, Resolver};

/// What plugins share.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreConfig {
    /// Bytes that the entries of each plugin may take.
    pub size: u64,
    /// Where it is, if not in the process.
    pub remote: Option<RemoteStore>,
}

/// A server that speaks the protocol of Redis.
#[derive(Clone, PartialEq)]
pub struct RemoteStore {
    /// As it is written.
    pub url: String,
    pub location: StoreLocation,
    pub tls: bool,
    /// The authorities that its certificate is verified by; `None`: those of the system.
    pub ca: Option<NamedFile>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub database: u32,
    /// What all keys begin with, default `waypost`.
    pub prefix: String,
    /// For an answer, default 100 ms.
    pub timeout: Duration,
    /// For a connection that can be used, default 1 s.
    pub connect_timeout: Duration,
    /// How its name is resolved.
    pub resolver: Arc<Resolver>,
}

/// Where such a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    Tcp {
        /// A name or an address; one of IPv6 without brackets.
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

/// As logs name it: without its password.
impl fmt::Display for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "rediss" } else { "redis" };
        match &self.location {
            StoreLocation::Tcp { host, port } if host.contains(':') => {
                write!(f, "{scheme}://[{host}]:{port}/{}", self.database)
            }
            StoreLocation::Tcp { host, port } => {
                write!(f, "{scheme}://{host}:{port}/{}", self.database)
            }
            StoreLocation::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Debug for RemoteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
