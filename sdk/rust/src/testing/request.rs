//! Requests and responses for tests.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::changed::Edit;

/// A request. Of nginx's variables it knows those of the target, the headers, the cookies and the
/// client; others can be given by [`Request::variable`].
#[derive(Debug, Clone)]
pub struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) scheme: String,
    headers: Vec<(String, Vec<u8>)>,
    cookies: BTreeMap<String, String>,
    pub(super) client: Option<IpAddr>,
    pub(super) peer: Option<IpAddr>,
    pub(super) local_port: u16,
    pub(super) server_name: Option<String>,
    pub(super) certificate_subject: Option<String>,
    variables: BTreeMap<String, String>,
}

impl Request {
    /// `GET target` from 127.0.0.1.
    pub fn get(target: &str) -> Self {
        Request::new("GET", target)
    }

    /// `METHOD target` from 127.0.0.1, in the clear to port 80.
    pub fn new(method: &str, target: &str) -> Self {
        Request {
            method: method.to_owned(),
            target: target.to_owned(),
            scheme: "http".to_owned(),
            headers: Vec::new(),
            cookies: BTreeMap::new(),
            client: Some(IpAddr::from([127, 0, 0, 1])),
            peer: None,
            local_port: 80,
            server_name: None,
            certificate_subject: None,
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

    /// The connection's peer, where a trusted proxy reports another client.
    pub fn peer(mut self, address: IpAddr) -> Self {
        self.peer = Some(address);
        self
    }

    /// Over TLS, to port 443, for this server name.
    pub fn tls(mut self, server_name: &str) -> Self {
        "https".clone_into(&mut self.scheme);
        self.local_port = 443;
        self.server_name = Some(server_name.to_owned());
        self
    }

    /// The client has a valid certificate with this subject.
    pub fn certificate(mut self, subject: &str) -> Self {
        self.certificate_subject = Some(subject.to_owned());
        self
    }

    /// Sets a variable, named without its `$`.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn path(&self) -> &str {
        self.split().0
    }

    pub(super) fn query(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        self.target.split_once('?').unwrap_or((&self.target, ""))
    }

    pub(super) fn authority(&self) -> String {
        let host = self.values("host").into_iter().next();
        String::from_utf8_lossy(&host.unwrap_or_default()).into_owned()
    }

    /// Percent-decoded, without dot segments and repeated slashes.
    pub(super) fn decoded_path(&self) -> String {
        let mut decoded = Vec::new();
        let mut bytes = self.path().bytes();
        while let Some(byte) = bytes.next() {
            let mut escaped = bytes.clone();
            let digits = [escaped.next(), escaped.next()].map(|digit| {
                let digit = char::from(digit.unwrap_or_default()).to_digit(16);
                digit.and_then(|digit| u8::try_from(digit).ok())
            });
            decoded.push(match (byte, digits) {
                (b'%', [Some(high), Some(low)]) => {
                    bytes = escaped;
                    high << 4 | low
                }
                _ => byte,
            });
        }
        let decoded = String::from_utf8_lossy(&decoded).into_owned();
        let mut segments = Vec::new();
        let mut parts = decoded.split('/').peekable();
        while let Some(part) = parts.next() {
            let is_last = parts.peek().is_none();
            match part {
                ".." => drop(segments.pop()),
                "." | "" => {}
                part => {
                    segments.push(part);
                    continue;
                }
            }
            if is_last {
                segments.push("");
            }
        }
        format!("/{}", segments.join("/"))
    }

    /// The headers with that of the cookies.
    pub(super) fn all_headers(&self) -> Vec<(String, Vec<u8>)> {
        let mut headers = self.headers.clone();
        let cookies = self.cookies.iter();
        let cookies: Vec<String> = cookies
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if !cookies.is_empty() {
            headers.push(("Cookie".to_owned(), cookies.join("; ").into_bytes()));
        }
        headers
    }

    /// All values of a header.
    pub(super) fn values(&self, name: &str) -> Vec<Vec<u8>> {
        values(&self.all_headers(), name)
    }

    pub(super) fn edit(&mut self, edit: &Edit) {
        self.headers = self.all_headers();
        self.cookies.clear();
        edit.apply(&mut self.headers);
    }

    pub(super) fn cookie_value(&self, name: &str) -> Option<Vec<u8>> {
        let headers = self.values("cookie");
        let mut pairs = headers
            .iter()
            .flat_map(|header| header.split(|&byte| byte == b';'));
        pairs.find_map(|pair| {
            let (key, value) = pair.trim_ascii().split_at_checked(name.len())?;
            let value = value.strip_prefix(b"=")?;
            (key == name.as_bytes()).then(|| value.to_vec())
        })
    }

    /// The bytes of the client's address.
    pub(super) fn binary_client(&self) -> Vec<u8> {
        match self.client {
            Some(IpAddr::V4(address)) => address.octets().to_vec(),
            Some(IpAddr::V6(address)) => address.octets().to_vec(),
            None => Vec::new(),
        }
    }

    pub(super) fn variable_value(&self, name: &str) -> Option<Vec<u8>> {
        if let Some(value) = self.variables.get(name) {
            return Some(value.clone().into_bytes());
        }
        if let Some(cookie) = name.strip_prefix("cookie_") {
            return self.cookie_value(cookie);
        }
        if let Some(argument) = name.strip_prefix("arg_") {
            let pairs = self
                .query()
                .split('&')
                .filter_map(|pair| pair.split_once('='));
            return pairs
                .filter(|(key, _)| *key == argument)
                .map(|(_, value)| value.as_bytes().to_vec())
                .next();
        }
        if let Some(header) = name.strip_prefix("http_") {
            return self.values(&header.replace('_', "-")).into_iter().next();
        }
        match name {
            "request_method" => Some(self.method.clone().into_bytes()),
            "request_uri" => Some(self.target.clone().into_bytes()),
            "uri" => Some(self.decoded_path().into_bytes()),
            "args" => Some(self.query().to_owned().into_bytes()),
            "is_args" => Some(if self.query().is_empty() { "" } else { "?" }.into()),
            "scheme" => Some(self.scheme.clone().into_bytes()),
            "host" => self.values("host").into_iter().next(),
            "remote_addr" => self.client.map(|address| address.to_string().into_bytes()),
            "binary_remote_addr" => Some(self.binary_client()),
            _ => None,
        }
    }
}

/// A response's head.
#[derive(Debug, Clone, Default)]
pub struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) local: bool,
}

impl Response {
    /// A server's response with this status.
    pub fn status(status: u16) -> Self {
        Response {
            status,
            ..Response::default()
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    /// It is an answer of the host's or of a hook's.
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }

    pub(super) fn values(&self, name: &str) -> Vec<Vec<u8>> {
        values(&self.headers, name)
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
