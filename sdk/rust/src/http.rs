//! Requests to upstreams, from hooks that wait: `wasi:http` for those who would rather not see it.
//!
//! The plugin needs `http` in its `grants`. An upstream is asked by its name, which has to be a text
//! of the hook's settings, in `on_request` and `on_check` only. The host waits meanwhile with this
//! request alone: other requests are served, by other instances of the hook.
//!
//! ```no_run
//! # fn main() -> Result<(), waypost_sdk::http::Error> {
//! use waypost_sdk::http::Request;
//!
//! let answer = Request::get("auth", "/verify").header("x-user", "jo").send()?;
//! if answer.status() == 200 {
//!     let body = answer.read(64 << 10)?;
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::time::Duration;

#[cfg(target_arch = "wasm32")]
use self::wasi as outgoing;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::outgoing;

#[cfg(target_arch = "wasm32")]
mod wasi;

/// A request to an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The upstream's name.
    pub upstream: String,
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    /// For the connection, and then for the header of the answer; none for what the upstream's
    /// configuration says.
    pub timeout: Option<Duration>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(pub String);

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl std::error::Error for Error {}

impl Request {
    /// A request with any method.
    pub fn new(method: &str, upstream: &str, target: &str) -> Request {
        Request {
            upstream: upstream.to_owned(),
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
        }
    }

    pub fn get(upstream: &str, target: &str) -> Request {
        Request::new("GET", upstream, target)
    }

    /// Adds a header. Those that frame a message or belong to its connection are left out. Without a
    /// `Host` it is the upstream's name.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Request {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// 1 MiB at most.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Request {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it, and waits for the header of the answer.
    ///
    /// # Errors
    /// The request makes no sense, or there is no answer: an answer of status 500 is none of them.
    pub fn send(self) -> Result<Response, Error> {
        outgoing::send(self)
    }

    /// Sends it and does not wait: whatever is answered is thrown away.
    ///
    /// # Errors
    /// The request makes no sense, or may not be made.
    pub fn send_and_leave(self) -> Result<(), Error> {
        outgoing::send_and_leave(self)
    }
}

/// An answer, whose body may still be on its way.
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: outgoing::Body,
}

impl Response {
    pub fn status(&self) -> u16 {
        self.status
    }

    /// All headers, in order; names in lower case.
    pub fn headers(&self) -> &[(String, Vec<u8>)] {
        &self.headers
    }

    /// All values of a header, in order; the name in any case.
    pub fn header_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let named = self.headers.iter();
        let named = named.filter(move |(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice())
    }

    /// The first value of a header; the name in any case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let mut named = self.headers.iter();
        let named = named.find(|(other, _)| other.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_slice())
    }

    /// The body.
    ///
    /// # Errors
    /// It breaks off, or has more than `most` bytes.
    pub fn read(self, most: usize) -> Result<Vec<u8>, Error> {
        outgoing::read(self.body, most)
    }
}
