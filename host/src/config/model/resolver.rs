//! How the names of servers are resolved.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A name to be resolved, and how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName {
    pub host: String,
    pub lookup: Lookup,
    pub resolver: Arc<Resolver>,
}

impl ServerName {
    /// It is asked about when a configuration is read, and then never again.
    pub fn is_once(&self) -> bool {
        self.resolver.resolve == Resolve::Once
    }
}

/// What is asked about a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lookup {
    /// Its addresses, all with this port.
    Addresses(u16),
    /// The servers of this service, each with a port of its own (SRV, RFC 2782): `http`, or
    /// `_http._tcp` in full.
    Service(String),
}

/// `resolver`: whom names are asked of, and how often.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resolver {
    pub resolve: Resolve,
    /// Name servers. Empty: those of this machine, whose hosts file counts then.
    pub addresses: Vec<SocketAddr>,
    /// How long an answer holds, whatever it says of that itself.
    pub valid: Option<Duration>,
    /// Bounds on what an answer says of how long it holds, default 1 s and 10 s.
    pub min_ttl: Duration,
    pub max_ttl: Duration,
    /// For an answer, all attempts included; default 5 s (`resolver_timeout`, 30 s).
    pub timeout: Duration,
    /// Whether addresses of IPv6 are asked for, default yes.
    pub ipv6: bool,
}

/// When names are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolve {
    /// Whenever the answer has expired, and when a connection fails.
    Again,
    /// When the configuration is read. A name without addresses is a problem then, as in nginx.
    Once,
}

impl ServerName {
    /// What name servers are asked about: the host, or the service of it in full
    /// (`ngx_resolve_name` in `ngx_resolver.c`: a service without a dot is one of TCP).
    pub fn question(&self) -> String {
        match &self.lookup {
            Lookup::Addresses(_) => self.host.clone(),
            Lookup::Service(service) if service.contains('.') => {
                format!("{service}.{}", self.host)
            }
            Lookup::Service(service) => format!("_{service}._tcp.{}", self.host),
        }
    }
}

/// As logs name it.
impl std::fmt::Display for ServerName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.question())
    }
}

/// With the defaults, for tests.
#[cfg(test)]
pub(crate) fn tests_resolver() -> Resolver {
    Resolver {
        resolve: Resolve::Again,
        addresses: Vec::new(),
        valid: None,
        min_ttl: Duration::from_secs(1),
        max_ttl: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        ipv6: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_asked_for_as_nginx_does() {
        let resolver = tests_resolver();
        let name = |lookup| ServerName {
            host: "app.example".to_owned(),
            lookup,
            resolver: Arc::new(resolver.clone()),
        };
        let question = |service: &str| name(Lookup::Service(service.to_owned())).question();
        assert_eq!(name(Lookup::Addresses(80)).question(), "app.example");
        assert_eq!(question("http"), "_http._tcp.app.example");
        assert_eq!(question("_http._tcp"), "_http._tcp.app.example");
        assert_eq!(question("blue._http._tcp"), "blue._http._tcp.app.example");
    }
}
