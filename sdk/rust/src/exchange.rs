//! What can be asked during a call about the exchange at hand: its request, its response, the
//! client's connection, and what plugins have said of it.
//!
//! Each question is a call out of the component, some 30 to 100 ns: ask for what you need, and ask
//! once.

use std::marker::PhantomData;
use std::net::IpAddr;

use crate::bindings::imported::types::IpAddress;
use crate::host::{connection, exchange, request, response, variables};
use crate::{HttpVersion, Part};

/// Ties a question to the call that it belongs to.
pub(crate) type AtHand<'a> = PhantomData<&'a ()>;

/// The request at hand, as hooks before this call have changed it.
#[derive(Clone, Copy)]
pub struct Request<'a>(pub(crate) AtHand<'a>);

impl Request<'_> {
    /// `GET`, `POST`... as hooks before this call have changed it.
    pub fn method(&self) -> String {
        request::method()
    }

    /// `http` or `https`, as the client has it.
    pub fn scheme(&self) -> String {
        request::scheme()
    }

    /// Host and port as the request spells them; empty where it names none.
    pub fn authority(&self) -> String {
        request::authority()
    }

    /// The target up to the first `?`, not decoded, as hooks before this call have changed it.
    pub fn path(&self) -> String {
        request::path()
    }

    /// What follows the first `?`, without it; empty where there is none.
    pub fn query(&self) -> String {
        request::query()
    }

    /// The path, decoded, without dot segments and repeated slashes: what routes are found by.
    pub fn decoded_path(&self) -> String {
        request::decoded_path()
    }

    /// `Http11` where there is no request.
    pub fn version(&self) -> HttpVersion {
        request::version()
    }

    /// The first value of a header; the name in any case.
    pub fn header(&self, name: &str) -> Option<Vec<u8>> {
        request::header(name)
    }

    /// All values of a header, in order; the name in any case.
    pub fn header_all(&self, name: &str) -> Vec<Vec<u8>> {
        request::header_all(name)
    }

    /// All headers, in order. Names are as received.
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        request::headers()
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<Vec<u8>> {
        request::cookie(name)
    }

    /// The headers that go on to another server: all but `Connection` and those that it lists, which concern
    /// the client's connection alone (RFC 9110, section 7.6.1). What frames a message the host leaves
    /// out itself.
    pub fn headers_to_pass(&self) -> Vec<(String, Vec<u8>)> {
        let mut headers = self.headers();
        let is_connection =
            |(name, _): &&(String, Vec<u8>)| name.eq_ignore_ascii_case("connection");
        let listed: Vec<String> = (headers.iter().filter(is_connection))
            .flat_map(|(_, value)| {
                let value = String::from_utf8_lossy(value).to_ascii_lowercase();
                let names = value.split(',').map(|name| name.trim().to_owned());
                names.collect::<Vec<_>>()
            })
            .collect();
        if !listed.is_empty() {
            headers.retain(|(name, _)| {
                let is_this = |other: &str| name.eq_ignore_ascii_case(other);
                !is_this("connection") && !listed.iter().any(|listed| is_this(listed))
            });
        }
        headers
    }

    /// Whether a body may follow the head: one of HTTP/2 need not be announced.
    pub fn may_have_body(&self) -> bool {
        match self.header("content-length") {
            Some(length) => length.iter().any(|digit| *digit != b'0'),
            None => {
                self.header("transfer-encoding").is_some() || self.version() == HttpVersion::Http2
            }
        }
    }

    /// [`hash64`](crate::hash64) of a part, without copying it; that of no bytes where there is
    /// none.
    pub fn hash(&self, part: &Part, seed: u64) -> u64 {
        request::hash(part, seed)
    }

    /// Any of nginx's variables by name, without the `$`: `request_uri`, `arg_user`,
    /// `http_x_tenant`... `None` where the name is unknown or has no value for this exchange.
    pub fn variable(&self, name: &str) -> Option<Vec<u8>> {
        variables::variable(name)
    }
}

/// The response at hand.
#[derive(Clone, Copy)]
pub struct Response<'a>(pub(crate) AtHand<'a>);

impl Response<'_> {
    /// The status code; 0 where there is no response.
    pub fn status(&self) -> u16 {
        response::status()
    }

    /// The first value of a header, as the server sent it, or the host or a hook has it for an answer
    /// of their own; the name in any case.
    pub fn header(&self, name: &str) -> Option<Vec<u8>> {
        response::header(name)
    }

    /// All values of a header, in order; the name in any case.
    pub fn header_all(&self, name: &str) -> Vec<Vec<u8>> {
        response::header_all(name)
    }

    /// Whether it is an answer of the host's or of a hook's own, not a server's.
    pub fn is_local(&self) -> bool {
        response::is_local()
    }
}

/// The client's connection.
#[derive(Clone, Copy)]
pub struct Connection<'a>(pub(crate) AtHand<'a>);

impl Connection<'_> {
    /// The client: behind trusted proxies, the address that they report. `None` for a unix socket.
    pub fn client_address(&self) -> Option<IpAddr> {
        connection::client_address().map(address)
    }

    /// The connection's peer, whatever it reports. `None` for a unix socket.
    pub fn peer_address(&self) -> Option<IpAddr> {
        connection::peer_address().map(address)
    }

    /// The port of the peer; 0 for a unix socket.
    pub fn peer_port(&self) -> u16 {
        connection::peer_port()
    }

    /// The address that the client connected to. `None` for a unix socket.
    pub fn local_address(&self) -> Option<IpAddr> {
        connection::local_address().map(address)
    }

    /// The port that the client connected to; 0 for a unix socket.
    pub fn local_port(&self) -> u16 {
        connection::local_port()
    }

    /// The name that the client asked for in its TLS handshake (SNI), lower case.
    pub fn server_name(&self) -> Option<String> {
        connection::server_name()
    }

    /// What ALPN chose: `h2`, `http/1.1`.
    pub fn alpn(&self) -> Option<String> {
        connection::alpn()
    }

    /// `TLSv1.2`, `TLSv1.3`; `None` without TLS.
    pub fn tls_version(&self) -> Option<String> {
        connection::tls_version()
    }

    /// The subject of the client's certificate (RFC 2253), if it is valid.
    pub fn certificate_subject(&self) -> Option<String> {
        connection::certificate_subject()
    }

    /// The SHA-256 of the client's certificate (32 bytes), if it is valid.
    pub fn certificate_fingerprint(&self) -> Option<Vec<u8>> {
        connection::certificate_fingerprint()
    }
}

/// What belongs to the exchange at hand.
#[derive(Clone, Copy)]
pub struct Exchange<'a>(pub(crate) AtHand<'a>);

impl Exchange<'_> {
    /// A named value that a hook has set for this exchange, in a call before this one; `$hook_NAME`
    /// in the configuration.
    pub fn attribute(&self, name: &str) -> Option<Vec<u8>> {
        exchange::attribute(name)
    }

    /// In a hook: the value of the key that its [`Sharing::PerKey`](crate::Sharing) names; empty
    /// for any other.
    pub fn key(&self) -> Vec<u8> {
        exchange::key()
    }

    /// Why the decision at hand is what it is, in a few words, for logs. The text is made only if
    /// it will be read.
    pub fn note(&self, text: impl FnOnce() -> String) {
        if exchange::is_note_wanted() {
            exchange::note(&text());
        }
    }
}

/// In the words of the standard library.
fn address(address: IpAddress) -> IpAddr {
    match address {
        IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
    }
}
