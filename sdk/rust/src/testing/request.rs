//! Requests and responses for tests.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::host::Host;

/// A request. Of nginx's variables it knows those of the target, the headers, the cookies and the
/// client; others can be given by [`Request::variable`].
#[derive(Debug, Clone)]
pub struct Request {
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    cookies: BTreeMap<String, String>,
    client: Option<IpAddr>,
    variables: BTreeMap<String, String>,
}

impl Request {
    /// `GET target` from 127.0.0.1.
    pub fn get(target: &str) -> Self {
        Request {
            target: target.to_owned(),
            headers: Vec::new(),
            cookies: BTreeMap::new(),
            client: Some(IpAddr::from([127, 0, 0, 1])),
            variables: BTreeMap::new(),
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    /// Sets a cookie.
    pub fn cookie(mut self, name: &str, value: &str) -> Self {
        self.cookies.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets the client's address; `None` for a unix socket.
    pub fn client(mut self, address: impl Into<Option<IpAddr>>) -> Self {
        self.client = address.into();
        self
    }

    /// Sets a variable, named without its `$`.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The request as a policy sees it.
    pub fn at_hand(&self) -> crate::Request<'_> {
        crate::Request(self)
    }

    fn split(&self) -> (&str, &str) {
        self.target.split_once('?').unwrap_or((&self.target, ""))
    }
}

/// The figures and the exchange are not a request's own: see [`super::Upstream`] and
/// [`super::Exchange`].
impl Host for Request {
    fn method(&self) -> String {
        "GET".to_owned()
    }

    fn path(&self) -> String {
        self.split().0.to_owned()
    }

    fn query(&self) -> String {
        self.split().1.to_owned()
    }

    fn header(&self, name: &str) -> Vec<Vec<u8>> {
        values(&self.headers, name)
    }

    fn cookie(&self, name: &str) -> Option<Vec<u8>> {
        self.cookies
            .get(name)
            .map(|value| value.clone().into_bytes())
    }

    fn client_address(&self) -> Vec<u8> {
        match self.client {
            Some(IpAddr::V4(address)) => address.octets().to_vec(),
            Some(IpAddr::V6(address)) => address.octets().to_vec(),
            None => Vec::new(),
        }
    }

    fn variable(&self, name: &str) -> Option<Vec<u8>> {
        if let Some(value) = self.variables.get(name) {
            return Some(value.clone().into_bytes());
        }
        if let Some(cookie) = name.strip_prefix("cookie_") {
            return self.cookie(cookie);
        }
        if let Some(argument) = name.strip_prefix("arg_") {
            let pairs = self
                .split()
                .1
                .split('&')
                .filter_map(|pair| pair.split_once('='));
            return pairs
                .filter(|(key, _)| *key == argument)
                .map(|(_, value)| value.as_bytes().to_vec())
                .next();
        }
        if let Some(header) = name.strip_prefix("http_") {
            return self.header(&header.replace('_', "-")).into_iter().next();
        }
        match name {
            "request_uri" => Some(self.target.clone().into_bytes()),
            "uri" => Some(self.path().into_bytes()),
            "args" => Some(self.query().into_bytes()),
            "host" => self.header("host").into_iter().next(),
            "remote_addr" => self.client.map(|address| address.to_string().into_bytes()),
            _ => None,
        }
    }

    fn candidates(&self, _word: u32) -> u64 {
        0
    }
    fn in_flight(&self, _index: u32) -> u32 {
        0
    }
    fn in_flight_all(&self) -> Vec<u32> {
        Vec::new()
    }
    fn latency_us(&self, _index: u32) -> u32 {
        0
    }
    fn fail_timeout(&self, _index: u32) -> u64 {
        0
    }
    fn memo(&self) -> u64 {
        0
    }
    fn set_memo(&self, _value: u64) {}
    fn add_response_header(&self, _name: &str, _value: &[u8]) {}
    fn response_status(&self) -> u16 {
        0
    }
    fn response_header(&self, _name: &str) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

/// A response's header.
#[derive(Debug, Clone, Default)]
pub struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

impl Response {
    /// A response with this status.
    pub fn status(status: u16) -> Self {
        Response {
            status,
            headers: Vec::new(),
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }
}

/// All values of a header, the name in any case.
pub(super) fn values(headers: &[(String, Vec<u8>)], name: &str) -> Vec<Vec<u8>> {
    headers
        .iter()
        .filter(|(each, _)| each.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.clone())
        .collect()
}
