//! The commands' side of the admin interface: one request over HTTP/1.1, its answer as JSON.
//!
//! A connection of its own for each request: a command makes one or two.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::CommandFailed;
use crate::admin_api::{RequestRefused, SIGNATURE};
use crate::config::model::Address;
use crate::config::reason;
use crate::tls::reason_with_number;

/// For a connection on this machine.
const CONNECT: Duration = Duration::from_secs(5);
/// For an answer that needs no work.
pub(super) const SOON: Duration = Duration::from_secs(10);
/// For an answer that a name has to be resolved for.
pub(super) const RESOLVED: Duration = Duration::from_secs(60);
/// For an answer that plugins may have to be compiled for.
pub(super) const PATIENT: Duration = Duration::from_secs(300);
/// Bytes of an answer.
const ANSWER_SIZE: usize = 16 << 20;

pub(super) struct AdminClient {
    at: AskedAt,
    /// What `Authorization` says.
    token: Option<HeaderValue>,
}

/// Where a process is asked.
enum AskedAt {
    Address(Address),
    /// Over TLS: at `HOST:PORT`, by this name.
    Secured {
        at: String,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    },
}

impl fmt::Display for AskedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskedAt::Address(address) => address.fmt(f),
            AskedAt::Secured { at, .. } => write!(f, "https://{at}"),
        }
    }
}

/// What goes with a request.
pub(super) enum Content {
    Nothing,
    Json(Value),
    Component {
        bytes: Bytes,
        /// In minisign's format.
        signature: Option<Vec<u8>>,
    },
}

impl AdminClient {
    pub(super) fn new(address: Address) -> AdminClient {
        AdminClient {
            at: AskedAt::Address(address),
            token: None,
        }
    }

    /// Over TLS, at `HOST:PORT`, of a server of this name.
    pub(super) fn secured(
        at: String,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> AdminClient {
        AdminClient {
            at: AskedAt::Secured { at, config, name },
            token: None,
        }
    }

    /// Shows a token with each request.
    ///
    /// # Errors
    /// It has bytes that no header can have.
    pub(super) fn with_token(self, token: &str) -> Result<AdminClient, CommandFailed> {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let mut value = value
            .map_err(|_| CommandFailed::new("the token is none: it is of one line".to_owned()))?;
        value.set_sensitive(true);
        Ok(AdminClient {
            token: Some(value),
            ..self
        })
    }

    /// Whether somebody answers there.
    pub(super) async fn is_there(&self) -> bool {
        let connected = async {
            match &self.at {
                AskedAt::Address(Address::Tcp(address)) => {
                    TcpStream::connect(address).await.is_ok()
                }
                AskedAt::Address(Address::Unix(path)) => UnixStream::connect(path).await.is_ok(),
                AskedAt::Secured { at, .. } => TcpStream::connect(at).await.is_ok(),
            }
        };
        timeout(CONNECT, connected).await.unwrap_or(false)
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, CommandFailed> {
        self.ask(Method::GET, path, Content::Nothing, SOON).await
    }

    /// The same of what is no JSON.
    pub(super) async fn text(&self, path: &str) -> Result<String, CommandFailed> {
        let (status, body) = self.send(Method::GET, path, Content::Nothing, SOON).await?;
        String::from_utf8(body.into()).map_err(|_| self.foreign(status))
    }

    /// Sends a request and waits for its answer, no longer than given. `path` is encoded already:
    /// see [`segment`].
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        content: Content,
        within: Duration,
    ) -> Result<Value, CommandFailed> {
        let (status, body) = self.send(method, path, content, within).await?;
        serde_json::from_slice(&body).map_err(|_| self.foreign(status))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content: Content,
        within: Duration,
    ) -> Result<(StatusCode, Bytes), CommandFailed> {
        let host = match &self.at {
            AskedAt::Address(Address::Tcp(address)) => address.to_string(),
            AskedAt::Address(Address::Unix(_)) => "localhost".to_owned(),
            AskedAt::Secured { at, .. } => at.clone(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let (request, body) = match content {
            Content::Nothing => (request, Bytes::new()),
            Content::Json(json) => (
                request.header(CONTENT_TYPE, "application/json"),
                json.to_string().into(),
            ),
            Content::Component { bytes, signature } => {
                let request = request.header(CONTENT_TYPE, "application/wasm");
                let request = match signature {
                    Some(text) => request.header(SIGNATURE, BASE64_STANDARD.encode(text)),
                    None => request,
                };
                (request, bytes)
            }
        };
        let request = request
            .body(Full::new(body))
            .map_err(|error| CommandFailed::new(format!("cannot ask for `{path}`: {error}")))?;
        match &self.at {
            AskedAt::Address(Address::Tcp(address)) => {
                let stream = self.connected(TcpStream::connect(address)).await?;
                self.exchange(stream, request, within).await
            }
            AskedAt::Address(Address::Unix(path)) => {
                let stream = self.connected(UnixStream::connect(path)).await?;
                self.exchange(stream, request, within).await
            }
            AskedAt::Secured { at, config, name } => {
                let connecting = async {
                    let stream = TcpStream::connect(at).await?;
                    let connector = TlsConnector::from(config.clone());
                    connector.connect(name.clone(), stream).await
                };
                let stream = self.connected(connecting).await?;
                self.exchange(stream, request, within).await
            }
        }
    }

    async fn connected<S>(
        &self,
        connecting: impl Future<Output = io::Result<S>>,
    ) -> Result<S, CommandFailed> {
        let address = &self.at;
        let error = match timeout(CONNECT, connecting).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(why) = inner.and_then(reason_with_number) {
            let why = why.split_once(':').map_or(&*why, |(_, why)| why);
            return Err(CommandFailed::new(format!(
                "the certificate of `{address}` is not believed: {why}\nhint: `--ca FILE` names it, or \
                 the authority that stands behind it"
            )));
        }
        Err(CommandFailed::new(match error.kind() {
            // A closed unix socket refuses; one that was never made is not found.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => format!(
                "nobody answers at `{address}`: is waypost running with this configuration?"
            ),
            _ => format!("cannot connect to `{address}`: {}", reason(&error)),
        }))
    }

    async fn exchange<S>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
        within: Duration,
    ) -> Result<(StatusCode, Bytes), CommandFailed>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let address = &self.at;
        let exchange = async {
            let broken = |error: hyper::Error| {
                let hint = match error.is_parse() {
                    true => self.hint_of_tls(),
                    false => "",
                };
                CommandFailed::new(format!(
                    "the connection to `{address}` broke: {error}{hint}"
                ))
            };
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
                .await
                .map_err(broken)?;
            // Ends with `sender`; what goes wrong with the connection is told there too.
            tokio::spawn(connection);
            self.answer(sender.send_request(request).await.map_err(broken)?)
                .await
        };
        timeout(within, exchange).await.unwrap_or_else(|_| {
            Err(CommandFailed::new(format!(
                "no answer from `{address}` within {within:?}; the request may still be carried out"
            )))
        })
    }

    /// For what one that speaks TLS may have to say.
    fn hint_of_tls(&self) -> &'static str {
        match self.at {
            AskedAt::Address(Address::Tcp(_)) => {
                "\nhint: where it speaks TLS, ask it by `--admin https://NAME:PORT`"
            }
            _ => "",
        }
    }

    async fn answer(
        &self,
        response: Response<Incoming>,
    ) -> Result<(StatusCode, Bytes), CommandFailed> {
        let address = &self.at;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_SIZE)
            .collect()
            .await;
        let body = body
            .map_err(|error| {
                CommandFailed::new(format!("the answer of `{address}` broke off: {error}"))
            })?
            .to_bytes();
        if status.is_success() {
            return Ok((status, body));
        }
        let refused: RequestRefused =
            serde_json::from_slice(&body).map_err(|_| self.foreign(status))?;
        Err(CommandFailed {
            message: refused.error,
            problems: refused.problems,
            is_refusal: true,
        })
    }

    fn foreign(&self, status: StatusCode) -> CommandFailed {
        let hint = match status.as_u16() {
            400 => self.hint_of_tls(),
            _ => "",
        };
        CommandFailed::new(format!(
            "`{}` answered with status {} but not as waypost does: is it another program's address?{hint}",
            self.at,
            status.as_u16()
        ))
    }
}

/// A name as one segment of a path: all but RFC 3986's unreserved characters (section 2.3) are
/// percent-encoded.
pub(super) fn segment(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                segment.push(byte.into());
            }
            _ => segment += &format!("%{byte:02X}"),
        }
    }
    segment
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::super::canned::{Canned, closed_port};
    use super::*;

    #[tokio::test]
    async fn a_request_names_its_host_and_what_it_carries() {
        let canned = Canned::on_tcp(200, r#"{"a": 1}"#).await;
        let content = Content::Json(serde_json::json!({ "weight": 2 }));
        let answer = canned.client.ask(Method::PATCH, "/x", content, SOON).await;
        assert_eq!(answer.unwrap(), serde_json::json!({ "a": 1 }));
        let host = canned.client.at.to_string();
        let request = canned.received().await;
        assert!(request.starts_with("PATCH /x HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("host: {host}\r\n")), "{request}");
        assert!(request.contains("content-type: application/json\r\n"));
        assert!(request.ends_with("\r\n\r\n{\"weight\":2}"), "{request}");
    }

    #[tokio::test]
    async fn a_unix_socket_is_asked_as_localhost() {
        let folder = tempfile::tempdir().unwrap();
        let canned = Canned::on_unix(&folder.path().join("admin.sock"), 200, "{}");
        canned.client.get("/status").await.unwrap();
        assert!(canned.received().await.contains("host: localhost\r\n"));
    }

    #[tokio::test]
    async fn a_refusal_is_told_with_its_problems_in_the_servers_words() {
        let body = r#"{"error": "the old configuration goes on serving", "problems": ["error: one\n  --> a:1:1", "error: two"]}"#;
        let canned = Canned::on_tcp(422, body).await;
        let failure = canned.client.get("/").await.unwrap_err();
        let expected =
            "error: one\n  --> a:1:1\n\nerror: two\n\nerror: the old configuration goes on serving";
        assert_eq!(failure.to_string(), expected);
    }

    #[tokio::test]
    async fn a_refusal_with_one_problem_and_its_words_is_told_once() {
        let body = r#"{"error": "one", "problems": ["error: one\n  --> a:1:1"]}"#;
        let canned = Canned::on_tcp(422, body).await;
        let failure = canned.client.get("/").await.unwrap_err();
        assert_eq!(failure.to_string(), "error: one\n  --> a:1:1");
    }

    #[tokio::test]
    async fn another_programs_answer_is_told_from_waypost_s() {
        for status in [200, 404] {
            let canned = Canned::on_tcp(status, "<html>").await;
            let failure = canned.client.get("/").await.unwrap_err().to_string();
            assert!(failure.contains("another program"), "{failure}");
            assert!(failure.contains(&status.to_string()), "{failure}");
        }
    }

    #[tokio::test]
    async fn nobody_at_the_address_is_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let address = Address::Unix(folder.path().join("gone.sock"));
        for address in [address, closed_port()] {
            let expected = format!(
                "error: nobody answers at `{address}`: is waypost running with this configuration?"
            );
            let failure = AdminClient::new(address).get("/status").await.unwrap_err();
            assert_eq!(failure.to_string(), expected);
        }
    }

    #[tokio::test]
    async fn silence_is_not_waited_for_without_end() {
        let canned = Canned::silent().await;
        let wait = Duration::from_millis(20);
        let answer = canned.client.ask(Method::GET, "/", Content::Nothing, wait);
        let failure = answer.await.unwrap_err().to_string();
        assert!(failure.contains("within 20ms"), "{failure}");
    }

    #[tokio::test]
    async fn an_answer_that_does_not_end_is_cut_off() {
        let canned = Canned::on_tcp(200, &" ".repeat(ANSWER_SIZE + 1)).await;
        let failure = canned.client.get("/").await.unwrap_err().to_string();
        assert!(failure.contains("length limit exceeded"), "{failure}");
    }

    #[test]
    fn a_name_stays_one_segment_of_a_path() {
        assert_eq!(segment("unix:/a b"), "unix%3A%2Fa%20b");
        assert_eq!(segment("10.0.0.1:80"), "10.0.0.1%3A80");
        assert_eq!(segment("é?#%"), "%C3%A9%3F%23%25");
    }
}
