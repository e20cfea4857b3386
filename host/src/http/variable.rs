//! nginx's variables: their names, what they mean, and where each has a value.
//!
//! A name is parsed once, when the configuration is read; plugins also ask by name while a request
//! is under way, so parsing neither hashes nor, for names of usual length, allocates.

mod phase; // what is under way when one is asked for
mod defined; // those that the configuration declares
mod names; // names beside nginx's own

pub use defined::{Capture, Defined, Lasting};
pub use names::{CaptureNames, KnownNames, Names};
pub use phase::{Phase, Phases};

use smallvec::SmallVec;

/// Bytes of a name that are kept without an allocation; `x-forwarded-for` has 15.
const INLINE: usize = 24;

/// The part of a variable's name that the user chose, as `x-tenant` in `$http_x_tenant`. Lower
/// case.
///
/// Equality is exact: compare with a header's name by
/// [`eq_ignore_ascii_case`](slice::eq_ignore_ascii_case).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(SmallVec<[u8; INLINE]>);

impl Name {
    fn new(spelling: &[u8], translate: fn(u8) -> u8) -> Option<Name> {
        let letters = spelling
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        (letters && !spelling.is_empty()).then(|| {
            Name(
                spelling
                    .iter()
                    .map(|byte| translate(byte.to_ascii_lowercase()))
                    .collect(),
            )
        })
    }

    /// A header's name: nginx writes `_` where the header has `-`.
    fn header(spelling: &[u8]) -> Option<Name> {
        Name::new(spelling, |byte| if byte == b'_' { b'-' } else { byte })
    }

    /// Letters, digits and `_`, in lower case; none where `spelling` has anything else.
    pub fn plain(spelling: &[u8]) -> Option<Name> {
        Name::new(spelling, |byte| byte)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as text; a name is always ASCII.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The variables without a free part: each is a name in the configuration and a variant here, with
/// what it means and where it has a value.
macro_rules! variables {
    ($($(#[doc = $doc:literal])+ $variant:ident = $($name:literal)|+, $phases:ident;)*) => {
        /// A variable, parsed once; names and meanings are nginx's (`ngx_http_variables.c`,
        /// `ngx_http_upstream.c`).
        ///
        /// Times are seconds with three decimals. What an upstream was asked several times for
        /// (`upstream_*`, without headers and cookies) has one entry per attempt, joined with `, `,
        /// and `-` where an attempt has none.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum Variable {
            $($(#[doc = $doc])+ $variant,)*
            /// `http_NAME`: a header of the request.
            Header(Name),
            /// `arg_NAME`: an argument of the query.
            Argument(Name),
            /// `cookie_NAME`: see [`cookie`](super::headers::cookie).
            Cookie(Name),
            /// `sent_http_NAME`: a header of the response as it went to the client.
            SentHeader(Name),
            /// `upstream_http_NAME`: a header of the last attempt's response as it was received.
            UpstreamHeader(Name),
            /// `upstream_cookie_NAME`: a cookie that the last attempt's response set.
            UpstreamCookie(Name),
            /// `hook_NAME`: a named value that a hook has set for this exchange.
            HookAttribute(Name),
            /// One that the configuration declares.
            Defined(Defined),
            /// What a group of a regex has matched.
            Capture(Capture),
            /// Whatever the configuration of the exchange at hand knows by this name: plugins ask
            /// so, which outlive configurations.
            Named(Name),
        }

        /// Every name that stands for itself.
        const NAMED: &[Description] = &[$(Description {
            names: &[$($name),+],
            meaning: concat!($($doc),+),
            phases: Phases::$phases,
        },)*];

        fn by_name(name: &str) -> Option<Variable> {
            Some(match name {
                $($($name)|+ => Variable::$variant,)*
                _ => return None,
            })
        }

        impl Variable {
            /// Where it can have a value.
            pub fn phases(&self) -> Phases {
                match self {
                    $(Variable::$variant => Phases::$phases,)*
                    Variable::Header(_) | Variable::Argument(_) | Variable::Cookie(_) => {
                        Phases::REQUESTS
                    }
                    Variable::HookAttribute(_) | Variable::Named(_) => Phases::ALWAYS,
                    Variable::Defined(defined) => defined.phases,
                    Variable::Capture(_) => Phases::REQUESTS,
                    Variable::UpstreamHeader(_) | Variable::UpstreamCookie(_) => Phases::ANSWERED,
                    Variable::SentHeader(_) => Phases::LOGGED,
                }
            }
        }
    };
}

variables! {
    /// The client's address in text; behind trusted proxies, the one that they report. `unix:` for
    /// a unix socket.
    RemoteAddr = "remote_addr", ALWAYS;
    /// The client's port.
    RemotePort = "remote_port", ALWAYS;
    /// The client's address in 4 or 16 bytes.
    BinaryRemoteAddr = "binary_remote_addr", ALWAYS;
    /// The address of the connection's peer, whatever trusted proxies report.
    RealipRemoteAddr = "realip_remote_addr", ALWAYS;
    /// The port of the connection's peer.
    RealipRemotePort = "realip_remote_port", ALWAYS;
    /// The client's address as the PROXY header has it, whether it is believed or not.
    ProxyProtocolAddr = "proxy_protocol_addr", ALWAYS;
    /// The client's port as the PROXY header has it.
    ProxyProtocolPort = "proxy_protocol_port", ALWAYS;
    /// The address that the client connected to, as the PROXY header has it.
    ProxyProtocolServerAddr = "proxy_protocol_server_addr", ALWAYS;
    /// The port that the client connected to, as the PROXY header has it.
    ProxyProtocolServerPort = "proxy_protocol_server_port", ALWAYS;
    /// The user name of Basic authentication.
    RemoteUser = "remote_user", REQUESTS;

    /// The host of the request's target, else of `Host`, else the host of the route; lower case,
    /// without port.
    Host = "host", REQUESTS;
    /// The request line as received.
    Request = "request", REQUESTS;
    /// `GET`, `POST`, ...
    RequestMethod = "request_method", REQUESTS;
    /// Path and query as received.
    RequestUri = "request_uri", REQUESTS;
    /// The path, decoded and normalised.
    Uri = "uri" | "document_uri", REQUESTS;
    /// The query without its `?`.
    Args = "args" | "query_string", REQUESTS;
    /// `?` where there is a query, else empty.
    IsArgs = "is_args", REQUESTS;
    /// `http` or `https`.
    Scheme = "scheme", REQUESTS;
    /// `on` over TLS.
    Https = "https", REQUESTS;
    /// `TLSv1.3`; like all others whose name begins with `ssl_`, only over TLS.
    SslProtocol = "ssl_protocol", ALWAYS;
    /// The cipher suite, by OpenSSL's name.
    SslCipher = "ssl_cipher", ALWAYS;
    /// The name that the client asked for (SNI).
    SslServerName = "ssl_server_name", ALWAYS;
    /// What ALPN chose: `h2`, `http/1.1`.
    SslAlpnProtocol = "ssl_alpn_protocol", ALWAYS;
    /// `r` for a session that was resumed, else `.`.
    SslSessionReused = "ssl_session_reused", ALWAYS;
    /// Always empty: early data is not accepted.
    SslEarlyData = "ssl_early_data", ALWAYS;
    /// `SUCCESS`, `FAILED:reason`, or `NONE` where no certificate was sent.
    SslClientVerify = "ssl_client_verify", ALWAYS;
    /// The subject of the client's certificate (RFC 2253).
    SslClientSDn = "ssl_client_s_dn", ALWAYS;
    /// The issuer of the client's certificate (RFC 2253).
    SslClientIDn = "ssl_client_i_dn", ALWAYS;
    /// The serial number of the client's certificate.
    SslClientSerial = "ssl_client_serial", ALWAYS;
    /// The SHA-1 of the client's certificate.
    SslClientFingerprint = "ssl_client_fingerprint", ALWAYS;
    /// The client's certificate in PEM, percent-encoded.
    SslClientEscapedCert = "ssl_client_escaped_cert", ALWAYS;
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`.
    ServerProtocol = "server_protocol", REQUESTS;
    /// The request's `Content-Length`.
    ContentLength = "content_length", REQUESTS;
    /// The request's `Content-Type`.
    ContentType = "content_type", REQUESTS;
    /// Bytes received: request line, header and body.
    RequestLength = "request_length", REQUESTS;
    /// 32 hexadecimal digits, made for this request.
    RequestId = "request_id", REQUESTS;

    /// The id of the request's trace, 32 hexadecimal digits; like the three behind it, only where
    /// `[traces]` has the request traced.
    OtelTraceId = "otel_trace_id", REQUESTS;
    /// The id of the request's own span, 16 digits.
    OtelSpanId = "otel_span_id", REQUESTS;
    /// The id of the span that a heeded `traceparent` names.
    OtelParentId = "otel_parent_id", REQUESTS;
    /// `1` where that says that its trace is recorded, else `0`.
    OtelParentSampled = "otel_parent_sampled", REQUESTS;

    /// The host of the route that the request took, as the file has it.
    ServerName = "server_name", REQUESTS;
    /// The address that the client connected to.
    ServerAddr = "server_addr", ALWAYS;
    /// The port that the client connected to.
    ServerPort = "server_port", ALWAYS;
    /// The machine's name.
    Hostname = "hostname", ALWAYS;
    /// The process's id.
    Pid = "pid", ALWAYS;

    /// The serial number of the client's connection.
    Connection = "connection", ALWAYS;
    /// Requests on the client's connection so far, this one included.
    ConnectionRequests = "connection_requests", REQUESTS;
    /// Age of the client's connection.
    ConnectionTime = "connection_time", REQUESTS;

    /// Seconds since 1970 with milliseconds.
    Msec = "msec", ALWAYS;
    /// As `2026-09-01T12:00:00+02:00`.
    TimeIso8601 = "time_iso8601", ALWAYS;
    /// As `01/Sep/2026:12:00:00 +0200`.
    TimeLocal = "time_local", ALWAYS;
    /// Since the first byte of the request.
    RequestTime = "request_time", REQUESTS;

    /// The status of the response; of a stream's session, how it ended.
    Status = "status", STATUS;
    /// Bytes sent to the client, header included.
    BytesSent = "bytes_sent", ENDED;
    /// Bytes sent to the client without the header.
    BodyBytesSent = "body_bytes_sent", LOGGED;
    /// Why policies and hooks decided as they did, in their own words.
    PluginNote = "plugin_note", STATUS;
    /// How servers were chosen, of a request that `[traces]` samples: who chose, of how many, which one
    /// and why. At most 1024 bytes.
    UpstreamDecision = "upstream_decision", LOGGED;
    /// `OK` once the exchange is complete, else empty.
    RequestCompletion = "request_completion", LOGGED;

    /// The `host:port` of the route's `proxy`, the upstream's name where it is one.
    ProxyHost = "proxy_host", PROXIED;
    /// The port of the route's `proxy`, 80 or 443 where it names none.
    ProxyPort = "proxy_port", PROXIED;
    /// `X-Forwarded-For` as received, with `remote_addr` appended.
    ProxyAddXForwardedFor = "proxy_add_x_forwarded_for", REQUESTS;

    /// The server's address; the upstream's name where no server could be chosen.
    UpstreamAddr = "upstream_addr", CONNECTED;
    /// The status that the server answered.
    UpstreamStatus = "upstream_status", ANSWERED;
    /// Until there was a connection to the server, its TLS handshake included.
    UpstreamConnectTime = "upstream_connect_time", CONNECTED;
    /// Until the server's response header was read.
    UpstreamHeaderTime = "upstream_header_time", ANSWERED;
    /// Until the server's response was read to its end.
    UpstreamResponseTime = "upstream_response_time", LOGGED;
    /// Bytes of the server's response body.
    UpstreamResponseLength = "upstream_response_length", LOGGED;
    /// Bytes received from the server.
    UpstreamBytesReceived = "upstream_bytes_received", ENDED;
    /// Bytes sent to the server.
    UpstreamBytesSent = "upstream_bytes_sent", ENDED;

    /// `TCP`.
    Protocol = "protocol", SESSIONS;
    /// Bytes received from the client.
    BytesReceived = "bytes_received", ENDED_SESSIONS;
    /// Age of the session.
    SessionTime = "session_time", SESSIONS;
    /// The host that the ClientHello names, lower case.
    SslPrereadServerName = "ssl_preread_server_name", SESSIONS;
}

/// What a line of a log is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A request, of `[[listen]]`.
    Request,
    /// A session, of `[[stream]]`.
    Session,
}

impl Scope {
    /// When its server is chosen.
    pub fn choice(self) -> Phase {
        match self {
            Scope::Request => Phase::Request,
            Scope::Session => Phase::Choice,
        }
    }
}

/// What is known of a variable, or of a family of them.
pub struct Description {
    /// Without the `$`; several where they mean the same.
    pub names: &'static [&'static str],
    /// In Markdown, with blanks around it.
    pub meaning: &'static str,
    phases: Phases,
}

impl Description {
    /// Whether it has a value there.
    pub fn has_value_in(&self, phase: Phase) -> bool {
        self.phases.contains(phase)
    }
}

/// Those with a free part, which the user chooses.
const FAMILIES: &[Description] = &[
    Description {
        names: &["http_NAME"],
        meaning: "A header of the request, `_` standing for `-`; several values are joined with \
                  `, `, those of `Cookie` with `; `.",
        phases: Phases::REQUESTS,
    },
    Description {
        names: &["arg_NAME"],
        meaning: "The first argument of that name in the query, in any case, as received.",
        phases: Phases::REQUESTS,
    },
    Description {
        names: &["cookie_NAME"],
        meaning: "A cookie of the request.",
        phases: Phases::REQUESTS,
    },
    Description {
        names: &["sent_http_NAME"],
        meaning: "A header of the response as it went to the client, joined as `http_NAME`.",
        phases: Phases::LOGGED,
    },
    Description {
        names: &["upstream_http_NAME"],
        meaning: "A header of the server's response as it was received, joined as `http_NAME`.",
        phases: Phases::ANSWERED,
    },
    Description {
        names: &["upstream_cookie_NAME"],
        meaning: "A cookie that the server's response sets, without its attributes.",
        phases: Phases::ANSWERED,
    },
    Description {
        names: &["hook_NAME"],
        meaning: "A named value that a hook has set.",
        phases: Phases::ALWAYS,
    },
];

/// All variables, in the order of their documentation.
pub fn all() -> impl Iterator<Item = &'static Description> {
    NAMED.iter().chain(FAMILIES)
}

/// A name that no variable has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown variable `${name}`")]
pub struct UnknownVariable {
    name: String,
    /// The name that was probably meant, without its `$`.
    pub closest: Option<String>,
    /// Groups of the regexes that a text may take values from, where it is a number.
    groups: Option<usize>,
}

impl UnknownVariable {
    /// The way out, where there is one.
    pub fn hint(&self) -> Option<String> {
        let closest = self.closest.as_ref();
        match self.groups {
            None => closest.map(|closest| format!("did you mean `${closest}`?")),
            Some(0) => Some("no regex here has a group that it could stand for".to_owned()),
            Some(1) => Some("the regex here has one group, `$1`".to_owned()),
            Some(groups) => Some(format!("the regex here has {groups} groups")),
        }
    }
}

impl Variable {
    /// The variable of a name without its `$`; none where there is no such variable. Case does not
    /// matter, as in nginx.
    pub fn parse(name: &str) -> Option<Variable> {
        if let Some(variable) = by_name(name) {
            return Some(variable);
        }
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Variable::parse(&name.to_ascii_lowercase());
        }
        // `upstream_http_` and `sent_http_` do not begin with `http_`, so the order is free.
        let name = name.as_bytes();
        if let Some(rest) = name.strip_prefix(b"http_") {
            Name::header(rest).map(Variable::Header)
        } else if let Some(rest) = name.strip_prefix(b"arg_") {
            Name::plain(rest).map(Variable::Argument)
        } else if let Some(rest) = name.strip_prefix(b"cookie_") {
            Name::plain(rest).map(Variable::Cookie)
        } else if let Some(rest) = name.strip_prefix(b"sent_http_") {
            Name::header(rest).map(Variable::SentHeader)
        } else if let Some(rest) = name.strip_prefix(b"upstream_http_") {
            Name::header(rest).map(Variable::UpstreamHeader)
        } else if let Some(rest) = name.strip_prefix(b"upstream_cookie_") {
            Name::plain(rest).map(Variable::UpstreamCookie)
        } else if let Some(rest) = name.strip_prefix(b"hook_") {
            Name::plain(rest).map(Variable::HookAttribute)
        } else {
            None
        }
    }

    /// As [`Variable::parse`]; a name that is not nginx's own is looked for when a value is asked
    /// for, in the configuration of that exchange.
    pub fn parse_or_named(name: &str) -> Option<Variable> {
        Variable::parse(name).or_else(|| Name::plain(name.as_bytes()).map(Variable::Named))
    }

    /// As [`Variable::parse`], for a name that a user has written.
    ///
    /// # Errors
    /// [`UnknownVariable`], with the name that was probably meant.
    pub fn look_up(name: &str) -> Result<Variable, UnknownVariable> {
        Names::default().look_up(name)
    }

    /// Whether requests, or sessions, have it at all.
    pub fn is_known_to(&self, scope: Scope) -> bool {
        self.phases().are_of(scope)
    }

    /// Whether it can have a value there at all.
    pub fn has_value_in(&self, phase: Phase) -> bool {
        self.phases().contains(phase)
    }

    /// The name that is most like `name`, if any is near enough to be what was meant; of a family,
    /// with the free part of `name`. `own`: further names that there are.
    fn closest_name<'n>(name: &str, own: impl Iterator<Item = &'n str>) -> Option<String> {
        const NEAR: f64 = 0.8;
        let name = name.to_ascii_lowercase();
        let named = NAMED.iter().flat_map(|known| known.names);
        let named = named.map(|known| (strsim::jaro_winkler(&name, known), (*known).to_owned()));
        let of_families = FAMILIES.iter().filter_map(|family| {
            let prefix = family.names[0].strip_suffix("NAME")?;
            // The free part begins behind as many underscores as the prefix has.
            let underscores = prefix.matches('_').count();
            let (at, _) = name.match_indices('_').nth(underscores - 1)?;
            let (start, rest) = name.split_at(at + 1);
            let likeness = strsim::jaro_winkler(start, prefix);
            (!rest.is_empty()).then(|| (likeness, format!("{prefix}{rest}")))
        });
        let known = named
            .chain(of_families)
            .filter(|(_, known)| Variable::parse(known).is_some());
        let own = own.map(|known| (strsim::jaro_winkler(&name, known), known.to_owned()));
        own.chain(known)
            .filter(|(likeness, _)| *likeness >= NEAR)
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, known)| known)
    }
}

/// What knows the values of variables: an exchange, mostly.
pub trait VariableSource {
    /// Appends the variable's value to `out`; false, and nothing appended, where it has none.
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool;
}

#[cfg(test)]
mod tests;
