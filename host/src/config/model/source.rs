//! `servers_from`: where servers of an upstream are listed, other than in the configuration.

use std::time::Duration;

use super::NamedFile;
use crate::config::problem::Place;

/// Where an upstream's servers are listed, and how the list is read.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSource {
    pub kind: SourceKind,
    pub place: SourcePlace,
    /// The authorities that its certificate is verified by; `None`: those of the system.
    pub ca: Option<NamedFile>,
    /// Holds the token that it is asked with. Read again with each request.
    pub token_file: Option<NamedFile>,
    /// For a connection and an answer together, default 10 s.
    pub timeout: Duration,
    /// Whether a list without servers counts, default no.
    pub allow_empty: bool,
    /// Where the last good list is kept.
    pub keep: Option<NamedFile>,
}

/// Where a source is named. A source is the same one wherever that is.
#[derive(Clone)]
pub struct SourcePlace(pub Place);

impl std::fmt::Debug for SourcePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("_")
    }
}

impl PartialEq for SourcePlace {
    fn eq(&self, _: &SourcePlace) -> bool {
        true
    }
}

/// Who has the list.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceKind {
    /// Watched. TOML where its name ends in `.toml`, else JSON.
    File(NamedFile),
    /// Asked for every `interval`, default 10 s.
    Http { url: SourceUrl, interval: Duration },
    /// The values of all keys below a prefix.
    Etcd { url: SourceUrl, prefix: String },
    /// The instances of a service.
    Consul {
        url: SourceUrl,
        service: String,
        tag: Option<String>,
        /// Only those that pass all checks, default yes.
        passing: bool,
        /// `None`: that of the agent.
        datacenter: Option<String>,
    },
    /// The endpoints of a service.
    Kubernetes {
        service: String,
        /// `None`: that of the pod; `default` where there is none.
        namespace: Option<String>,
        /// By name or number. `None`: the only one.
        port: Option<String>,
        /// `None`: that of the pod's own cluster.
        api: Option<SourceUrl>,
    },
}

/// An address of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceUrl {
    pub tls: bool,
    /// A name or an address; one of IPv6 without brackets.
    pub host: String,
    pub port: u16,
    /// Path and query. Of an API: what stands before its own paths, without a slash at its end.
    pub path: String,
}

impl SourceUrl {
    /// Host and port, as in a `Host` field.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl std::fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

impl SourceKind {
    /// By the key that names it.
    pub fn name(&self) -> &'static str {
        match self {
            SourceKind::File(_) => "file",
            SourceKind::Http { .. } => "http",
            SourceKind::Etcd { .. } => "etcd",
            SourceKind::Consul { .. } => "consul",
            SourceKind::Kubernetes { .. } => "kubernetes",
        }
    }
}

/// As logs name it.
impl std::fmt::Display for ServerSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            SourceKind::File(file) => write!(f, "{}", file.path.display()),
            // Some queries have tokens.
            SourceKind::Http { url, .. } => match url.to_string().split_once('?') {
                Some((before, _)) => write!(f, "{before}?..."),
                None => write!(f, "{url}"),
            },
            SourceKind::Etcd { url, prefix } => write!(f, "`{prefix}` of etcd at {url}"),
            SourceKind::Consul { url, service, .. } => write!(f, "`{service}` of Consul at {url}"),
            SourceKind::Kubernetes { service, .. } => write!(f, "`{service}` of Kubernetes"),
        }
    }
}

/// What commands have said of a server that a source lists. Holds for as long as it is listed.
#[derive(Debug, Clone, PartialEq)]
pub struct Overlay {
    /// As the source spells it.
    pub server: String,
    pub weight: Option<u32>,
    pub down: Option<bool>,
}
