//! nginx's variables by name, and who can answer for them.
//!
//! A name is parsed once, when the configuration is read; plugins also ask by name while a request
//! is under way, so parsing neither hashes nor, for names of usual length, allocates.

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

    fn plain(spelling: &[u8]) -> Option<Name> {
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

/// The variables without a free part: each is a name in the configuration and a variant here.
macro_rules! variables {
    ($($(#[$doc:meta])* $variant:ident = $($name:literal)|+;)*) => {
        /// A variable, parsed once; names and meanings are nginx's (`ngx_http_variables.c`,
        /// `ngx_http_upstream.c`).
        ///
        /// Times are seconds with three decimals. What an upstream was asked several times for
        /// (`upstream_*`, without headers and cookies) has one entry per attempt, joined with `, `,
        /// and `-` where an attempt has none.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum Variable {
            $($(#[$doc])* $variant,)*
            /// `http_NAME`: a request header; several values are joined with `, `, those of
            /// `Cookie` with `; `.
            Header(Name),
            /// `arg_NAME`: the first argument of that name in the query, any case, as received.
            Argument(Name),
            /// `cookie_NAME`: see [`cookie`](super::headers::cookie).
            Cookie(Name),
            /// `sent_http_NAME`: a header of the response as it went to the client, joined as
            /// `http_NAME`.
            SentHeader(Name),
            /// `upstream_http_NAME`: a header of the last attempt's response as it was received,
            /// joined as `http_NAME`.
            UpstreamHeader(Name),
            /// `upstream_cookie_NAME`: a cookie that the last attempt's response set, without its
            /// attributes.
            UpstreamCookie(Name),
        }

        /// Every name that stands for itself.
        const NAMES: &[&[u8]] = &[$($($name,)+)*];

        fn by_name(name: &[u8]) -> Option<Variable> {
            Some(match name {
                $($($name)|+ => Variable::$variant,)*
                _ => return None,
            })
        }
    };
}

variables! {
    /// The client's address in text; behind trusted proxies, the one that they report. `unix:` for
    /// a unix socket.
    RemoteAddr = b"remote_addr";
    RemotePort = b"remote_port";
    /// The client's address in 4 or 16 bytes.
    BinaryRemoteAddr = b"binary_remote_addr";
    /// The address of the connection's peer, whatever trusted proxies report.
    RealipRemoteAddr = b"realip_remote_addr";
    RealipRemotePort = b"realip_remote_port";
    /// The client's address as the PROXY header has it, whether it is believed or not.
    ProxyProtocolAddr = b"proxy_protocol_addr";
    ProxyProtocolPort = b"proxy_protocol_port";
    /// The address that the client connected to, as the PROXY header has it.
    ProxyProtocolServerAddr = b"proxy_protocol_server_addr";
    ProxyProtocolServerPort = b"proxy_protocol_server_port";
    /// The user name of Basic authentication.
    RemoteUser = b"remote_user";

    /// The request target's host, else the `Host` header's, else the server's name; lower case,
    /// without port.
    Host = b"host";
    /// The request line as received.
    Request = b"request";
    RequestMethod = b"request_method";
    /// Path and query as received.
    RequestUri = b"request_uri";
    /// The path, decoded and normalised.
    Uri = b"uri" | b"document_uri";
    /// The query without its `?`.
    Args = b"args" | b"query_string";
    /// `?` where there is a query, else empty.
    IsArgs = b"is_args";
    /// `http` or `https`.
    Scheme = b"scheme";
    /// `on` over TLS.
    Https = b"https";
    /// `TLSv1.3`; this and all others of its kind only over TLS.
    SslProtocol = b"ssl_protocol";
    /// By OpenSSL's name.
    SslCipher = b"ssl_cipher";
    /// The name that the client asked for.
    SslServerName = b"ssl_server_name";
    /// What both agreed to speak: `h2`, `http/1.1`.
    SslAlpnProtocol = b"ssl_alpn_protocol";
    /// `r` for a session that was resumed, else `.`.
    SslSessionReused = b"ssl_session_reused";
    /// `SUCCESS`, `FAILED:reason`, or `NONE` where no certificate was sent.
    SslClientVerify = b"ssl_client_verify";
    /// Whose the client's certificate is (RFC 2253).
    SslClientSDn = b"ssl_client_s_dn";
    /// Who issued it.
    SslClientIDn = b"ssl_client_i_dn";
    SslClientSerial = b"ssl_client_serial";
    /// Its SHA-1.
    SslClientFingerprint = b"ssl_client_fingerprint";
    /// The certificate in PEM, percent-encoded.
    SslClientEscapedCert = b"ssl_client_escaped_cert";
    ServerProtocol = b"server_protocol";
    ContentLength = b"content_length";
    ContentType = b"content_type";
    /// Bytes received: request line, header and body.
    RequestLength = b"request_length";
    /// 32 hexadecimal digits, made for this request.
    RequestId = b"request_id";

    /// The host of the route that the request matched, as the file has it.
    ServerName = b"server_name";
    ServerAddr = b"server_addr";
    ServerPort = b"server_port";
    /// The machine's name.
    Hostname = b"hostname";
    Pid = b"pid";

    /// The connection's serial number.
    Connection = b"connection";
    /// Requests on this connection so far, this one included.
    ConnectionRequests = b"connection_requests";
    /// Age of the connection.
    ConnectionTime = b"connection_time";

    /// Seconds since 1970 with milliseconds.
    Msec = b"msec";
    /// As `2026-09-01T12:00:00+02:00`.
    TimeIso8601 = b"time_iso8601";
    /// As `01/Sep/2026:12:00:00 +0200`.
    TimeLocal = b"time_local";
    /// Since the first byte of the request.
    RequestTime = b"request_time";

    Status = b"status";
    /// Bytes sent to the client, header included.
    BytesSent = b"bytes_sent";
    /// Bytes sent to the client without the header.
    BodyBytesSent = b"body_bytes_sent";
    /// `OK` once the exchange is complete, else empty.
    RequestCompletion = b"request_completion";

    /// The `host:port` of the route's `proxy`, the upstream's name where it is one.
    ProxyHost = b"proxy_host";
    ProxyPort = b"proxy_port";
    /// `X-Forwarded-For` as received, with `remote_addr` appended.
    ProxyAddXForwardedFor = b"proxy_add_x_forwarded_for";

    /// The upstream's name where no endpoint could be chosen.
    UpstreamAddr = b"upstream_addr";
    UpstreamStatus = b"upstream_status";
    UpstreamConnectTime = b"upstream_connect_time";
    UpstreamHeaderTime = b"upstream_header_time";
    UpstreamResponseTime = b"upstream_response_time";
    UpstreamResponseLength = b"upstream_response_length";
    UpstreamBytesReceived = b"upstream_bytes_received";
    UpstreamBytesSent = b"upstream_bytes_sent";

    /// `TCP`.
    Protocol = b"protocol";
    /// Bytes received from the client.
    BytesReceived = b"bytes_received";
    /// Age of the session.
    SessionTime = b"session_time";
    /// The host that the ClientHello names, lower case.
    SslPrereadServerName = b"ssl_preread_server_name";
}

/// Who is asked for a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A request, of `[[listen]]`.
    Request,
    /// A session, of `[[stream]]`.
    Session,
}

impl Variable {
    /// The variable of a name without its `$`; none where there is no such variable. Case does not
    /// matter, as in nginx.
    pub fn parse(name: &str) -> Option<Variable> {
        let name = name.as_bytes();
        if let Some(variable) = by_name(name) {
            return Some(variable);
        }
        if name.iter().any(u8::is_ascii_uppercase) {
            return Variable::parse(&String::from_utf8(name.to_ascii_lowercase()).ok()?);
        }
        // `upstream_http_` and `sent_http_` do not begin with `http_`, so the order is free.
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
        } else {
            None
        }
    }

    /// Whether it can have a value there at all.
    pub fn is_known_to(&self, scope: Scope) -> bool {
        use Variable::*;
        match self {
            Protocol | BytesReceived | SessionTime | SslPrereadServerName => {
                scope == Scope::Session
            }
            RemoteAddr
            | RemotePort
            | BinaryRemoteAddr
            | RealipRemoteAddr
            | RealipRemotePort
            | ProxyProtocolAddr
            | ProxyProtocolPort
            | ProxyProtocolServerAddr
            | ProxyProtocolServerPort
            | SslProtocol
            | SslCipher
            | SslServerName
            | SslAlpnProtocol
            | SslSessionReused
            | SslClientVerify
            | SslClientSDn
            | SslClientIDn
            | SslClientSerial
            | SslClientFingerprint
            | SslClientEscapedCert
            | ServerAddr
            | ServerPort
            | Hostname
            | Pid
            | Connection
            | Msec
            | TimeIso8601
            | TimeLocal
            | Status
            | BytesSent
            | UpstreamAddr
            | UpstreamConnectTime
            | UpstreamBytesReceived
            | UpstreamBytesSent => true,
            _ => scope == Scope::Request,
        }
    }

    /// The known name that is most like `name`, if any is near enough to be what was meant.
    pub fn closest_name(name: &str) -> Option<&'static str> {
        const NEAR: f64 = 0.8;
        NAMES
            .iter()
            .filter_map(|known| std::str::from_utf8(known).ok())
            .map(|known| (strsim::jaro_winkler(name, known), known))
            .filter(|(likeness, _)| *likeness >= NEAR)
            .max_by(|(one, _), (other, _)| one.total_cmp(other))
            .map(|(_, known)| known)
    }
}

/// Whoever knows the values of variables: an exchange, mostly.
pub trait VariableSource {
    /// Appends the variable's value to `out`; false, and nothing appended, where it has none.
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool;
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn every_listed_name_is_a_variable() {
        for name in NAMES {
            let name = std::str::from_utf8(name).unwrap();
            assert!(Variable::parse(name).is_some(), "{name}");
        }
    }

    #[test]
    fn two_names_of_one_value_are_one_variable() {
        assert_eq!(Variable::parse("args"), Variable::parse("query_string"));
        assert_eq!(Variable::parse("uri"), Variable::parse("document_uri"));
        assert_ne!(Variable::parse("uri"), Variable::parse("request_uri"));
    }

    #[test]
    fn a_header_variable_names_the_header_with_dashes_in_lower_case() {
        let Some(Variable::Header(name)) = Variable::parse("http_X_Forwarded_For") else {
            panic!("no header")
        };
        assert_eq!(name.as_str(), "x-forwarded-for");
        let Some(Variable::SentHeader(name)) = Variable::parse("sent_http_content_type") else {
            panic!("no header")
        };
        assert_eq!(name.as_bytes(), b"content-type");
        let Some(Variable::UpstreamHeader(name)) = Variable::parse("upstream_http_x_a") else {
            panic!("no header")
        };
        assert_eq!(name.as_str(), "x-a");
    }

    #[test]
    fn arguments_and_cookies_keep_their_underscores() {
        let Some(Variable::Argument(name)) = Variable::parse("arg_user_id") else {
            panic!("no argument")
        };
        assert_eq!(name.as_str(), "user_id");
        let Some(Variable::Cookie(name)) = Variable::parse("cookie_PHP_session") else {
            panic!("no cookie")
        };
        assert_eq!(name.as_str(), "php_session");
        let Some(Variable::UpstreamCookie(name)) = Variable::parse("upstream_cookie_a_b") else {
            panic!("no cookie")
        };
        assert_eq!(name.as_str(), "a_b");
    }

    #[test]
    fn case_does_not_matter() {
        assert_eq!(Variable::parse("Request_URI"), Some(Variable::RequestUri));
    }

    #[test]
    fn unknown_names_and_empty_free_parts_are_no_variables() {
        for name in [
            "",
            "hots",
            "http_",
            "arg_",
            "cookie_",
            "1",
            "http_x-y",
            "sent_http_",
            "upstream_http_",
            "http_é",
        ] {
            assert_eq!(Variable::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_misspelling_finds_the_name_that_was_meant() {
        assert_eq!(Variable::closest_name("remote_adr"), Some("remote_addr"));
        assert_eq!(Variable::closest_name("requst_uri"), Some("request_uri"));
        assert_eq!(Variable::closest_name("zzz"), None);
    }
}
