//! Requests to upstreams, from hooks that wait.
//!
//! The plugin needs `http` in its `grants`. An upstream is asked by its name, which has to be a text
//! of the hook's settings, in `on_request` and `on_check` and in calls about the whole body of a
//! request. The host waits meanwhile with this
//! request alone: other requests are served, by other instances of the hook.
//!
//! ```no_run
//! # fn main() -> Result<(), waypost_sdk::http::Error> {
//! use waypost_sdk::http::Request;
//!
//! let question = Request::get("auth", "/verify").header("x-user", "jo");
//! let answer = question.wanting_body(64 << 10).send()?;
//! if answer.status() == 200 {
//!     let body = answer.body()?;
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::time::Duration;

#[cfg(target_arch = "wasm32")]
use self::imported as outgoing;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::outgoing;

#[cfg(target_arch = "wasm32")]
mod imported;

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
    /// For all of it, up to the last byte that is wanted; none for what the upstream's configuration
    /// says of the connection and of each read.
    pub timeout: Option<Duration>,
    /// Headers of the answer that are wanted; none for all of them.
    pub wanted_headers: Option<Vec<String>>,
    /// Bytes of the answer's body that are wanted.
    pub wanted_body: u32,
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
            wanted_headers: None,
            wanted_body: 0,
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

    /// 16 MiB at most.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Request {
        self.timeout = Some(timeout);
        self
    }

    /// Of the answer's headers, these alone: what is not asked for costs nothing.
    pub fn wanting_headers<N: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Request {
        self.wanted_headers = Some(names.into_iter().map(N::into).collect());
        self
    }

    /// Of the answer's body, so many bytes at the most, up to 16 MiB; none of it without this.
    pub fn wanting_body(mut self, most: u32) -> Request {
        self.wanted_body = most;
        self
    }

    /// Sends it, and waits for what is wanted of the answer.
    ///
    /// # Errors
    /// The request makes no sense, or there is no answer, or its body broke off: an answer of status
    /// 500 is none of them.
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

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) is_whole: bool,
}

impl Response {
    pub fn status(&self) -> u16 {
        self.status
    }

    /// All headers that are wanted, in order; names in lower case.
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
    /// It has more bytes than were wanted.
    pub fn body(&self) -> Result<&[u8], Error> {
        match self.is_whole {
            true => Ok(&self.body),
            false => Err(Error("its body is too large".to_owned())),
        }
    }
}
