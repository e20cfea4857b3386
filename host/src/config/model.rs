//! The configuration as it is meant: every default filled in, nothing left to check.
//!
//! The rest of the proxy sees only these types. What the file says, and where, lives in the modules
//! beside this one. Defaults are nginx 1.29.7's, cited by directive; departures say so.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::problem::{Place, Problem};
use crate::http::definition::Definitions;
use crate::http::template::Template;

mod acme;
mod admin;
mod answer_templates;
mod answers;
mod cipher;
mod component;
mod compression;
mod condition;
mod environment;
mod error_page;
mod files;
mod health;
mod dynamic;
mod hook;
mod limits;
mod log;
mod metrics;
mod overload;
mod plugin;
mod trial;
mod policy;
mod project;
mod proxy;
mod real_ip;
mod resolver;
mod settings;
mod source;
mod store;
mod tls;
mod traces;

#[cfg(test)]
pub(crate) use self::acme::tests_authority;
pub use self::acme::{
    Acme, AcmeAuthority, AcmeCertificate, AcmeStore, ChallengeKind, Eab, KeyType, LETS_ENCRYPT,
    LETS_ENCRYPT_STAGING,
};
pub use self::admin::{AdminConfig, AdminToken, Role};
pub(crate) use self::answers::WITH_HEADERS;
pub use self::answers::{CacheTime, Statuses};
pub use self::cipher::{CIPHERS, Cipher};
pub use self::component::ComponentConfig;
pub use self::compression::Compression;
pub use self::condition::{Conditions, Networks, ValueCondition, ValuePattern};
pub use self::dynamic::{
    AddressRule, AllowEntry, Allowed, AllowedPort, DynamicHost, DynamicName, DynamicProxy, Found,
    NotAllowed,
};
pub use self::environment::FromEnvironment;
pub use self::error_page::{ErrorPage, ErrorPages, PageContent};
pub use self::files::{Autoindex, Expires, FileCoding, FileFallback, Files};
pub use self::health::{BodyPattern, CheckMethod, CheckQuestion, HealthCheck, HttpCheck, Outliers};
pub use self::hook::{HookConfig, HookUse, OnError};
pub use self::limits::{ProxyLimits, RouteLimits};
pub use self::log::{AccessLog, ErrorLog, Escape, LogConditions, LogField, LogFormat, LogPath};
pub use self::metrics::{MAX_BUCKETS, MetricsConfig};
pub use self::overload::{Overload, QueueConfig, RetryBudgetConfig, UpstreamLimits};
pub use self::plugin::{CompileLimits, Grants, PluginConfig, PluginLimits, Trust};
pub use self::policy::{Fallback, PluginUse, PolicyUse, ScorerUse};
pub use self::project::{PluginProject, Preparation};
pub use self::proxy::{
    CookieFlags, CookieNames, CookieRules, Proxy, ProxyUpstream, ProxyUri, RedirectRules, Replaced,
    Replacement, RequestBody, SameSite,
};
pub use self::real_ip::{RealIp, RealIpHeader, TrustedProxies};
#[cfg(test)]
pub(crate) use self::resolver::tests_resolver;
pub use self::resolver::{Lookup, Resolve, Resolver, ServerName};
pub use self::settings::SettingsPlace;
pub use self::source::{Overlay, ServerSource, SourceKind, SourcePlace, SourceUrl};
pub use self::store::{RemoteStore, StoreConfig, StoreLocation};
pub use self::tls::{
    CertificateFiles, ClientCertificate, ListenerTls, NamedFile, TlsVersion, UnknownNames,
    UpstreamTls,
};
pub(crate) use self::tls::{is_server_name, server_host};
pub use self::traces::{
    TraceContext, TraceExport, TraceProtocol, TraceRule, TraceSample, TracesConfig,
};
pub use self::trial::{Manner, Percent, Rails, TrialConfig, TrialTerms};

/// Everything that one configuration file (and its includes) says.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: ServerConfig,
    pub listeners: Vec<ListenerConfig>,
    /// Named groups first, in file order, then one group for each address that a route proxies to
    /// directly, then those that requests have named.
    ///
    /// Shared by all configurations that have them as they are: a change of one among thousands is
    /// then no copy of the others.
    pub upstreams: Vec<Arc<UpstreamConfig>>,
    /// `[variable.NAME]`, in file order.
    pub variables: Arc<Definitions>,
    /// Shared likewise, as a whole.
    pub routes: Arc<Vec<Route>>,
    pub streams: Vec<StreamConfig>,
    /// Those of `[hook.NAME]` first, in file order, then those that are declared where they are
    /// used.
    pub hooks: Vec<HookConfig>,
    /// What routes answer by.
    pub components: Vec<ComponentConfig>,
    /// Custom plugins; the stock ones need no entry.
    pub plugins: Vec<PluginConfig>,
    pub store: StoreConfig,
    pub metrics: MetricsConfig,
    /// `None`: nothing is traced.
    pub traces: Option<TracesConfig>,
    pub admin: Option<AdminConfig>,
    /// Where listeners without TLS look for tokens of HTTP-01.
    pub http_challenges: Vec<Arc<Path>>,
    /// What was met when it was read, and can be served all the same.
    pub warnings: Vec<Problem>,
    /// What it has by `${env:NAME}`.
    pub environment: FromEnvironment,
}

impl Config {
    /// Every `proxy` by which requests name upstreams.
    pub fn dynamic_proxies(&self) -> impl Iterator<Item = &Arc<DynamicProxy>> {
        self.routes.iter().filter_map(|route| match &route.action {
            Action::Proxy(Proxy {
                upstream: ProxyUpstream::Dynamic(proxy),
                ..
            }) => Some(proxy),
            _ => None,
        })
    }

    /// The upstream that some route makes for a name under that name of an upstream; none where none
    /// does, or may.
    pub fn dynamic_upstream(&self, upstream: &str, name: &DynamicName) -> Option<UpstreamConfig> {
        let mut proxies = self.dynamic_proxies();
        let proxy = proxies
            .find(|proxy| proxy.allows(name).is_some() && proxy.upstream_name(name) == upstream)?;
        Some(proxy.upstream(name))
    }

    /// Every use of a hook. One of `[server]` comes again with each listener, and one of a
    /// `[[route]]` with each of its hosts.
    pub fn hook_uses(&self) -> impl Iterator<Item = &HookUse> {
        let of_listeners = self.listeners.iter().map(|listener| &listener.hooks);
        let of_routes = self.routes.iter().map(|route| &route.hooks);
        let of_streams = self.streams.iter().map(|stream| &stream.hooks);
        let all = std::iter::once(&self.server.hooks).chain(of_listeners);
        all.chain(of_routes).chain(of_streams).flatten()
    }

    /// The access logs that exchanges may be written to.
    pub fn access_logs(&self) -> impl Iterator<Item = &AccessLog> {
        let of_listeners = self.listeners.iter();
        let of_listeners = of_listeners.map(|listener| &listener.access_logs);
        let of_routes = self.routes.iter();
        let of_routes = of_routes.filter_map(|route| route.access_logs.as_ref());
        let of_streams = self.streams.iter().map(|stream| &stream.access_logs);
        of_listeners.chain(of_routes).chain(of_streams).flatten()
    }

    /// Those of all routes and listeners.
    pub fn error_pages(&self) -> impl Iterator<Item = &ErrorPage> {
        let of_listeners = self.listeners.iter();
        let of_listeners = of_listeners.flat_map(|listener| &listener.error_pages);
        let of_routes = self.routes.iter().flat_map(|route| &route.error_pages);
        of_listeners.chain(of_routes)
    }

    /// The files of all certificates, keys and authorities.
    pub fn tls_files(&self) -> impl Iterator<Item = &NamedFile> {
        let of_listeners = self
            .listeners
            .iter()
            .filter_map(|listener| listener.tls.as_ref());
        let of_streams = self.streams.iter().filter_map(|stream| stream.tls.as_ref());
        let of_admin = self.admin.iter().filter_map(|admin| admin.tls.as_ref());
        let of_upstreams = self
            .upstreams
            .iter()
            .filter_map(|upstream| upstream.tls.as_ref());
        of_listeners
            .chain(of_streams)
            .chain(of_admin)
            .flat_map(ListenerTls::files)
            .chain(of_upstreams.flat_map(UpstreamTls::files))
    }

    /// The `acme` of each listener and stream that has one.
    pub fn acme(&self) -> impl Iterator<Item = &Acme> {
        let of_listeners = self.listeners.iter().map(|listener| &listener.tls);
        let of_streams = self.streams.iter().map(|stream| &stream.tls);
        let all = of_listeners.chain(of_streams);
        all.filter_map(|tls| tls.as_ref()?.acme.as_ref())
    }

    /// The files with lists of servers.
    pub fn list_files(&self) -> impl Iterator<Item = &NamedFile> {
        let sources = self.upstreams.iter();
        let sources = sources.filter_map(|upstream| upstream.source.as_ref());
        sources.filter_map(|source| match &source.kind {
            SourceKind::File(file) => Some(file),
            _ => None,
        })
    }

    /// Every address to accept on: those of listeners, then those of streams, in file order.
    pub fn binds(&self) -> Vec<Bind> {
        let of_listeners = self.listeners.iter().map(|listener| Bind {
            address: listener.address.clone(),
            place: listener.place.clone(),
            backlog: listener.backlog,
            kind: BindKind::Listener,
        });
        let of_streams = self.streams.iter().map(|stream| Bind {
            address: stream.address.clone(),
            place: stream.place.clone(),
            backlog: stream.backlog,
            kind: BindKind::Stream,
        });
        of_listeners.chain(of_streams).collect()
    }
}

/// An address to accept on, for either kind of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    pub address: Address,
    /// Where the address stands.
    pub place: super::problem::Place,
    pub backlog: u32,
    pub kind: BindKind,
}

/// What is done with the connections to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindKind {
    /// `[[listen]]`: their requests are carried.
    Listener,
    /// `[[stream]]`: they are carried as they are.
    Stream,
}

/// `[server]`: what holds for the whole process.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Worker threads, each with its own event loop. `"auto"`: one per core.
    pub workers: usize,
    /// Those of streams, and of listeners that name none of their own.
    pub trusted_proxies: TrustedProxies,
    /// None: access logging is off.
    pub access_logs: Vec<AccessLog>,
    pub error_log: ErrorLog,
    /// Downstream connections in all; more wait in the listener's backlog. `None`: as many as the
    /// limit on open files leaves room for, one upstream connection each included.
    pub max_connections: Option<usize>,
    /// How long a graceful stop waits for exchanges under way (`worker_shutdown_timeout`). `None`:
    /// without end, as nginx.
    pub shutdown_timeout: Option<Duration>,
    /// How long a graceful stop goes on accepting before it begins, while routes with
    /// `probe = "ready"` say 503. Default zero.
    pub shutdown_delay: Duration,
    pub plugin_cache: PluginCache,
    /// Whether small messages leave by io_uring where the kernel allows it, default yes.
    pub io_uring: bool,
    /// Upstreams at most that there are because requests have named them, default 256.
    pub max_dynamic_upstreams: usize,
    /// How long one of them stays that no request names, default 5 min.
    pub dynamic_idle_timeout: Duration,
    /// What every listener's hooks begin with.
    pub hooks: Vec<HookUse>,
}

/// Where compiled plugins are kept, so that the next start need not compile them again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginCache {
    /// `$CACHE_DIRECTORY` (systemd's), else `$XDG_CACHE_HOME/waypost`, else `$HOME/.cache/waypost`.
    Default,
    Directory(PathBuf),
    Off,
}

/// `[[listen]]`: an address that clients connect to, and the bounds on them.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    pub address: Address,
    /// Where the address stands.
    pub place: super::problem::Place,
    /// Its own, then those of `[server]`.
    pub error_pages: ErrorPages,
    /// Whether a server's errors get a page, default no (`proxy_intercept_errors`).
    pub intercept_errors: bool,
    /// None: clients speak plain HTTP.
    pub tls: Option<ListenerTls>,
    /// The value of `Strict-Transport-Security`, which every answer over TLS has.
    pub hsts: Option<Arc<str>>,
    /// The port of `https` that every request is sent to.
    pub redirect_to_https: Option<u16>,
    /// Connections begin with a PROXY header, default no (`listen ... proxy_protocol`).
    pub proxy_protocol: bool,
    /// Whom it believes about its clients.
    pub real_ip: RealIp,
    /// Overrides those of `[server]`, already resolved: none is off.
    pub access_logs: Vec<AccessLog>,
    /// Overrides that of the file, already resolved: `None` is off.
    pub traces: Option<Arc<TraceRule>>,
    /// Pending connections that the kernel keeps (`listen ... backlog`), default 511.
    pub backlog: u32,
    /// Idle time until a kept-alive connection is closed, default 75 s; zero turns keepalive off.
    pub keepalive_timeout: Duration,
    /// Requests on one connection, default 1000.
    pub keepalive_requests: u64,
    /// Age at which a connection is closed after its current request, default 1 h.
    pub keepalive_time: Duration,
    /// For the whole request header, default 60 s.
    pub client_header_timeout: Duration,
    /// Between two reads of a request body, default 60 s.
    pub client_body_timeout: Duration,
    /// Between two writes to the client, default 60 s.
    pub send_timeout: Duration,
    /// Default 1 MiB; `None` (written 0) is unlimited. A route may override it.
    pub client_max_body_size: Option<u64>,
    /// Bytes of a request's line and header fields together, default 32 KiB
    /// (`large_client_header_buffers 4 8k`).
    pub client_header_size: usize,
    /// Header fields in one request, default 1000 (`max_headers`).
    pub max_headers: usize,
    /// Fields with underscores in their names are kept, default no (`underscores_in_headers`).
    pub underscores_in_headers: bool,
    /// None: answers are passed on as they are. Default off.
    pub compression: Option<Compression>,
    /// Answers in gzip are decompressed for clients that do not take it, default no.
    pub gunzip: bool,
    /// Changes to the header of requests that are passed on, those of `[server]` among them, but for
    /// the names that a route has changes of.
    pub request_headers: Vec<HeaderChange>,
    /// Changes to the header of every answer, those of `[server]` among them, but for the names
    /// that a route has changes of.
    pub response_headers: Vec<HeaderChange>,
    /// What a route does not say. Default: as the server says.
    pub expires: CacheTime,
    /// None: clients speak HTTP/1 only. Default on.
    pub http2: Option<Http2Config>,
    /// Those of `[server]`, then its own. A use of `[server]` is the same one, of the same place
    /// number, for all listeners.
    pub hooks: Vec<HookUse>,
}

/// What one HTTP/2 connection of a client may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2Config {
    /// Requests at once, default 128 (`http2_max_concurrent_streams`).
    pub max_concurrent_streams: u32,
    /// Requests that may be reset at once, default 200; a tenth of it comes back each second.
    pub max_resets: u32,
    /// Frames without content that may come at once, default 1000; a tenth of it comes back each
    /// second.
    pub max_control_frames: u32,
}

/// An address to listen on or to connect to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// As the file and the logs write it: `127.0.0.1:8080`, `unix:/run/x.sock`.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `[upstream.NAME]`: a group of endpoints and how to use them.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamConfig {
    pub name: String,
    pub policy: PolicyUse,
    /// In file order, primaries and backups mixed; then those that its source lists.
    pub servers: Vec<UpstreamServer>,
    /// Who else lists servers for it.
    pub source: Option<ServerSource>,
    /// Where the changes of commands are kept.
    pub state: Option<NamedFile>,
    /// The changes of commands to servers that the source lists. Never in a file.
    pub overlays: Vec<Overlay>,
    /// How names among them are resolved.
    pub resolver: Arc<Resolver>,
    /// None: they are spoken to without TLS.
    pub tls: Option<UpstreamTls>,
    /// Idle connections kept per worker, default 32; 0 turns keepalive off.
    pub keepalive: usize,
    /// Requests on one upstream connection, default 1000.
    pub keepalive_requests: u64,
    /// Age at which a connection is no longer reused, default 1 h.
    pub keepalive_time: Duration,
    /// Idle time until a kept connection is closed, default 60 s.
    pub keepalive_timeout: Duration,
    /// `proxy_connect_timeout`, default 60 s.
    pub connect_timeout: Duration,
    /// Between two writes (`proxy_send_timeout`), default 60 s.
    pub send_timeout: Duration,
    /// Between two reads (`proxy_read_timeout`), default 60 s. Also the idle timeout of a tunnel.
    pub read_timeout: Duration,
    /// Silence of a session or a tunnel in which one side has ended its direction, default 10 s.
    /// Zero ends it at once.
    pub half_close_timeout: Duration,
    pub next_upstream: NextUpstream,
    /// Where no endpoint is in rotation, the one that failed least recently is asked. Default off.
    pub last_resort: bool,
    /// None: endpoints are judged by their answers to requests alone. Default none.
    pub health_check: Option<HealthCheck>,
    /// None: no endpoint is ejected. Default none.
    pub outliers: Option<Outliers>,
    /// Percent of the endpoints that are healthy, below which health checks and ejections are
    /// ignored; 0 (default): never.
    pub panic_threshold: u32,
    /// What bounds its load as a whole. Default: nothing.
    pub overload: Overload,
    /// Bytes of a request body kept for a retry, default 16 KiB (`client_body_buffer_size`). A body
    /// that fits is read whole before an endpoint is asked; a larger one is streamed.
    pub body_buffer_size: usize,
    /// Bytes of a response's status line and header fields together, default 32 KiB (nginx:
    /// `proxy_buffer_size`, 4 KiB).
    pub response_header_size: usize,
    /// Connections to its endpoints begin with a PROXY header of this version. Default: none.
    pub proxy_protocol: Option<ProxyVersion>,
    /// None: its endpoints are spoken to in HTTP/1.1. Default off.
    pub http2: Option<UpstreamHttp2>,
    /// What a request has named, if that is why there is this upstream.
    pub dynamic: Option<DynamicName>,
    /// And its name is the only one that its item of `proxy_allow` allows.
    pub is_listed: bool,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// How connections to endpoints that speak HTTP/2 are shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamHttp2 {
    /// Exchanges at once on one connection, default 100; fewer where the endpoint says so.
    pub max_concurrent_streams: usize,
}

impl UpstreamConfig {
    /// Whether both say the same, though they may stand at other places of the file. A reload keeps
    /// what did not change.
    pub fn means_the_same_as(&self, other: &UpstreamConfig) -> bool {
        std::ptr::eq(self, other) || self.without_places() == other.without_places()
    }

    fn without_places(&self) -> UpstreamConfig {
        let mut upstream = self.clone();
        upstream.policy = upstream.policy.without_places();
        for server in &mut upstream.servers {
            server.place = Place::default();
        }
        upstream
    }
}

/// One of `servers`: a name or address, perhaps of several endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamServer {
    /// As written: `10.0.0.1:3000`, `app.example`, `unix:/run/app.sock`; without `https://`.
    pub spelling: String,
    pub location: ServerLocation,
    /// Default 1.
    pub weight: u32,
    /// Failures that disable it, default 1; 0 never.
    pub max_fails: u32,
    /// In which failures add up and for which it stays disabled, default 10 s; whole seconds, as
    /// nginx counts.
    pub fail_timeout: Duration,
    /// In which its share grows from nothing to its weight when it comes into rotation; zero
    /// (default): at once. Whole seconds.
    pub slow_start: Duration,
    /// Attempts in progress at most, in all workers; 0 (default) is unlimited.
    pub max_conns: u32,
    pub backup: bool,
    pub down: bool,
    /// `down` is what a command has said, and not what the configuration or a list does.
    pub down_by_command: bool,
    /// For `sticky`: the value that names this server.
    pub route: String,
    /// Names and values of the operator's choice, for plugins; by name, in alphabetical order.
    pub labels: Vec<(String, String)>,
    /// The upstream's source lists it, and not the configuration.
    pub listed: bool,
    /// Which of its addresses may be dialed; none: all.
    pub rule: Option<Arc<AddressRule>>,
    pub place: Place,
}

/// Where a server is, as far as the configuration tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerLocation {
    Address(Address),
    /// What addresses it has is for the name servers to say, and may change.
    Name(ServerName),
}

/// `proxy_next_upstream` and its companions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextUpstream {
    pub conditions: NextConditions,
    /// Attempts in all, the first included; 0 (default): as many as there are endpoints not `down`.
    pub tries: u32,
    /// No new attempt starts later than this after the first; zero (default): no such bound.
    pub timeout: Duration,
}

/// When another endpoint is asked. Default: `error` and `timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NextConditions {
    pub error: bool,
    pub timeout: bool,
    pub invalid_header: bool,
    pub http_500: bool,
    pub http_502: bool,
    pub http_503: bool,
    pub http_504: bool,
    pub http_403: bool,
    pub http_404: bool,
    pub http_429: bool,
    /// Also retry POST, LOCK and PATCH once they were sent.
    pub non_idempotent: bool,
}

/// `[[route]]`: what is done with requests of a host and path.
///
/// What each request needs stands first and together (`repr(C)`): of thousands of routes, each part
/// of memory that has to be fetched counts. What only finds or names a route comes behind it.
#[derive(Debug, Clone)]
#[repr(C)]
pub struct Route {
    pub action: Action,
    /// Its own. They come after the listener's.
    pub hooks: Vec<HookUse>,
    /// Changes to the request header on its way to the upstream, in order, after the defaults.
    pub request_headers: Vec<HeaderChange>,
    /// Changes to the response header on its way to the client, in order. For the names in them,
    /// those of the listener do not count.
    pub response_headers: Vec<HeaderChange>,
    pub limits: Arc<RouteLimits>,
    /// Whether the listener's hooks are asked for its requests, default yes.
    pub inherits_hooks: bool,
    /// `None` inherits the listener's.
    pub gunzip: Option<bool>,
    /// `None` inherits the listener's.
    pub intercept_errors: Option<bool>,
    /// Whether a server may have another route answer (`X-Accel-Redirect`), default no.
    pub accel_redirect: bool,
    /// Not found by host and path: only hooks lead to it.
    pub internal: bool,
    /// `None` inherits the listener's.
    pub expires: Option<CacheTime>,
    /// An empty list turns it off for this route; `None` inherits the listener's.
    pub access_logs: Option<Vec<AccessLog>>,
    /// `Some(None)` turns it off for this route; `None` inherits the listener's.
    pub traces: Option<Option<Arc<TraceRule>>>,
    /// `None` inherits the listener's.
    pub client_max_body_size: Option<Option<u64>>,
    /// Its own. Those of the listener come after them.
    pub error_pages: ErrorPages,
    /// `Some(None)` turns it off for this route; `None` inherits the listener's.
    pub compression: Option<Option<Compression>>,
    /// What has to hold beside host and path.
    pub when: Conditions,
    pub host: HostPattern,
    pub path: PathPattern,
    /// By which hooks lead to it: the same for all hosts of one `[[route]]`, and no other's.
    pub name: Option<String>,
    /// Listeners that this route serves, as indexes into [`Config::listeners`]; all where the file
    /// names none.
    pub listeners: Vec<usize>,
    /// Of the `[[route]]`, which may have several hosts and is a route for each.
    pub place: Place,
}

/// `[[stream]]`: an address whose connections are carried on as they are.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    pub address: Address,
    /// Where the address stands.
    pub place: super::problem::Place,
    /// None: what clients speak is passed on as it is, TLS included.
    pub tls: Option<ListenerTls>,
    /// Index into [`Config::upstreams`].
    pub upstream: usize,
    /// Where TLS connections to some hosts go instead.
    pub sni: Vec<SniRoute>,
    /// Without a byte either way, default 10 min (`proxy_timeout`).
    pub idle_timeout: Duration,
    /// For a PROXY header and a ClientHello together, default 30 s (`preread_timeout`).
    pub preread_timeout: Duration,
    /// Connections begin with a PROXY header, default no.
    pub proxy_protocol: bool,
    /// Default 511.
    pub backlog: u32,
    /// None (default): off, as in nginx.
    pub access_logs: Vec<AccessLog>,
    /// They inherit none.
    pub hooks: Vec<HookUse>,
    /// Whether sessions are traced; attributes of the rule are those of requests.
    pub traces: Option<Arc<TraceRule>>,
}

/// Where TLS connections to a host go.
#[derive(Debug, Clone)]
pub struct SniRoute {
    /// [`Exact`](HostPattern::Exact) or [`Suffix`](HostPattern::Suffix).
    pub host: HostPattern,
    /// Index into [`Config::upstreams`].
    pub upstream: usize,
}

/// As `server_name`: an exact name wins over the longest `*.suffix`, that over the longest
/// `prefix.*`, that over a regex.
#[derive(Debug, Clone)]
pub enum HostPattern {
    /// No `host` given: the default for whatever no other host matches.
    Any,
    /// Lower case, no port.
    Exact(String),
    /// `*.example.com`: the part from the dot on (`.example.com`). Matches any depth, not
    /// `example.com` itself.
    Suffix(String),
    /// `www.example.*`: the part up to the dot (`www.example.`).
    Prefix(String),
    /// `~^(?<sub>.+)\.example\.com$`, case-insensitive.
    Regex(regex::Regex),
}

/// As `location`, matched against the decoded and normalised path.
#[derive(Debug, Clone)]
pub enum PathPattern {
    /// `= /exact`: wins at once.
    Exact(String),
    /// `/prefix`: the longest is remembered, regexes are asked before it.
    Prefix(String),
    /// `^~ /prefix`: as a prefix, but when it is the longest no regex is asked.
    PrefixNoRegex(String),
    /// `~ regex` or `~* regex` (case-insensitive): first in file order.
    Regex(regex::Regex),
}

impl PathPattern {
    /// Whether it fits a path, whatever others do.
    pub fn fits(&self, path: &str) -> bool {
        match self {
            PathPattern::Exact(exact) => path == exact,
            PathPattern::Prefix(prefix) | PathPattern::PrefixNoRegex(prefix) => {
                path.starts_with(&**prefix)
            }
            PathPattern::Regex(regex) => regex.is_match(path),
        }
    }
}

impl HostPattern {
    /// As written in the file.
    pub fn spelling(&self) -> String {
        match self {
            HostPattern::Any => String::new(),
            HostPattern::Exact(name) => name.clone(),
            HostPattern::Suffix(suffix) => format!("*{suffix}"),
            HostPattern::Prefix(prefix) => format!("{prefix}*"),
            HostPattern::Regex(regex) => format!("~{}", regex.as_str()),
        }
    }
}

#[derive(Debug, Clone)]
pub enum Action {
    Proxy(Proxy),
    Return(Return),
    /// Tell the counts of connections and requests.
    StubStatus,
    /// Tell all that is counted, to Prometheus.
    Metrics,
    /// Tell whether requests are wanted, to a load balancer.
    Probe(Probe),
    Files(Arc<Files>),
    /// Index into [`Config::components`].
    Component(usize),
}

/// What a load balancer asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Whether the process serves.
    Live,
    /// Whether it is to get new requests: not once it is about to end.
    Ready,
}

impl Probe {
    /// As the file writes it.
    pub fn name(self) -> &'static str {
        match self {
            Probe::Live => "live",
            Probe::Ready => "ready",
        }
    }
}

/// The status of a [`Return`] that closes the connection without an answer (`NGX_HTTP_CLOSE`).
pub const CLOSE: u16 = 444;

/// Answer here.
#[derive(Debug, Clone)]
pub struct Return {
    pub status: u16,
    pub body: Option<Template>,
    /// `Content-Type` of the body, default `text/plain`.
    pub content_type: String,
    pub location: Option<Template>,
}

#[derive(Debug, Clone)]
pub struct HeaderChange {
    /// As written.
    pub name: String,
    pub operation: HeaderOperation,
    /// Of a response: those that it is made to.
    pub statuses: Statuses,
}

#[derive(Debug, Clone)]
pub enum HeaderOperation {
    /// Replaces all values by one; an empty value removes the header, as nginx's `proxy_set_header`
    /// does.
    Set(Template),
    /// Adds a value beside those there; an empty one adds nothing.
    Add(Template),
    Remove,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::path::Path;

    use super::UpstreamConfig;

    fn upstream(text: &str) -> UpstreamConfig {
        let rest = "[[listen]]\naddress = \"127.0.0.1:8080\"";
        let config = crate::config::parse(&format!("{text}\n{rest}"), Path::new("test.toml"));
        UpstreamConfig::clone(&config.unwrap().upstreams[0])
    }

    #[test]
    fn an_upstream_that_moved_in_the_file_means_the_same_until_anything_else_changes() {
        let lines = "[upstream.a]\n\
                     servers = [{ address = \"127.0.0.1:1\", labels = { a = \"1\" } }]\n\
                     policy.plugin = \"hash\"\n\
                     policy.key = \"$host\"\n\
                     policy.filters = [\"f\"]\n\
                     policy.scorers = [\"s\"]\n\
                     [plugin.f]\nfile = \"f.wasm\"\n[plugin.s]\nfile = \"s.wasm\"";
        let here = upstream(lines);
        let moved = upstream(&format!("\n# Moved.\n{}", lines.replace("= [", "=  [")));
        assert_ne!(here, moved, "places are part of it");
        assert!(here.means_the_same_as(&moved));
        for (from, to) in [
            ("upstream.a", "upstream.b"),
            ("$host", "$uri"),
            ("127.0.0.1:1", "127.0.0.1:2"),
            ("a = \"1\"", "a = \"2\""),
            ("[\"f\"]", "[\"s\"]"),
            ("[\"f\"]", "[{ plugin = \"f\", a = 1 }]"),
            ("[\"s\"]", "[{ plugin = \"s\", weight = 2 }]"),
            (
                "policy.plugin",
                "policy.fallback = \"refuse\"\npolicy.plugin",
            ),
            ("\n", "\nkeepalive = 1\n"),
        ] {
            let changed = upstream(&lines.replacen(from, to, 1));
            assert!(!here.means_the_same_as(&changed), "{from} -> {to}");
        }
    }
}
