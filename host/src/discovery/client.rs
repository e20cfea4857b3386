//! Requests to a source: HTTP/1.1 by hyper, a connection for each. Redirects are not followed.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::disk::on_a_thread;
use super::line_buffer::LineBuffer;
use super::reader::MOST;
use crate::config::model::{NamedFile, Resolver, ServerSource, SourceUrl, UpstreamTls};
use crate::config::reason;
use crate::file;
use crate::names::Names;
use crate::outgoing;
use crate::tls::ClientTls;

/// Bytes of a token, and of the other small files of a service account.
pub(super) const TOKEN_SIZE: u64 = 64 << 10;

/// How requests to one source are made.
pub(super) struct Client {
    names: Names,
    resolver: Arc<Resolver>,
    ca: Option<NamedFile>,
    token_file: Option<NamedFile>,
    timeout: Duration,
    /// The address that has failed last, which comes last of those of a host.
    failed: Option<SocketAddr>,
    /// Made when it is needed, and anew after a failure: its files may have changed.
    tls: Option<Arc<ClientTls>>,
}

/// A request in the making.
pub(super) struct Asked<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Vec<u8>,
    /// The field that a token goes into.
    pub(super) token: Token,
    /// Further time for the head of the answer, which is held back until there is news.
    pub(super) held_back: Duration,
}

/// How a token is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// `Authorization: Bearer` (RFC 6750).
    Bearer,
    /// Consul's own field.
    Consul,
}

impl<'a> Asked<'a> {
    pub(super) fn get(path: &'a str) -> Asked<'a> {
        Asked {
            method: Method::GET,
            path,
            headers: Vec::new(),
            body: Vec::new(),
            token: Token::Bearer,
            held_back: Duration::ZERO,
        }
    }

    pub(super) fn post(path: &'a str, json: &Json) -> Asked<'a> {
        let content = (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        Asked {
            method: Method::POST,
            headers: vec![content],
            body: json.to_string().into_bytes(),
            ..Asked::get(path)
        }
    }
}

/// The head of an answer, and its body as it comes.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Incoming,
    timeout: Duration,
    _connection: Connection,
}

/// Ends a connection with whom it is for.
struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    /// `resolver`: that of the upstream, which names of sources are resolved by as well.
    pub(super) fn new(source: &ServerSource, resolver: Arc<Resolver>, names: Names) -> Client {
        Client {
            names,
            resolver,
            ca: source.ca.clone(),
            token_file: source.token_file.clone(),
            timeout: source.timeout,
            failed: None,
            tls: None,
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// With the files of a pod's service account, where no others are named.
    pub(super) fn in_pod(&mut self, token: NamedFile, ca: NamedFile) {
        self.token_file.get_or_insert(token);
        self.ca.get_or_insert(ca);
    }

    /// Asks, and waits for the head of an answer.
    ///
    /// # Errors
    /// Why there is none, in one line; a status that is neither of success nor 304 nor 410.
    pub(super) async fn ask(
        &mut self,
        url: &SourceUrl,
        asked: Asked<'_>,
    ) -> Result<Response, String> {
        let limit = self.timeout + asked.held_back;
        let mut peer = None;
        let answered = timeout(limit, self.exchange(url, asked, &mut peer)).await;
        let answered = answered.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")));
        let answered = answered.inspect_err(|_| self.tls = None).and_then(accepted);
        if answered.is_err() {
            self.failed = peer;
        }
        answered
    }

    /// `peer`: gets the address that is asked.
    async fn exchange(
        &mut self,
        url: &SourceUrl,
        asked: Asked<'_>,
        peer: &mut Option<SocketAddr>,
    ) -> Result<Response, String> {
        let until = Instant::now() + self.timeout;
        let mut request = Request::builder()
            .method(asked.method)
            .uri(asked.path)
            .header(header::HOST, url.authority())
            .header(header::ACCEPT, "application/json")
            .header(
                header::USER_AGENT,
                concat!("waypost/", env!("CARGO_PKG_VERSION")),
            );
        for (name, value) in asked.headers {
            request = request.header(name, value);
        }
        if let Some(token) = self.token().await? {
            request = match asked.token {
                Token::Bearer => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
                Token::Consul => request.header("X-Consul-Token", token),
            };
        }
        let request = request
            .body(Full::new(Bytes::from(asked.body)))
            .map_err(|error| format!("it cannot be asked: {error}"))?;
        let (stream, address) = self.connected(url, until).await?;
        *peer = Some(address);
        if !url.tls {
            return self.send(stream, request).await;
        }
        let tls = self.tls().await?;
        let stream = outgoing::secured(&tls, &url.authority(), stream).await?;
        self.send(stream, request).await
    }

    async fn send<S>(&self, stream: S, request: Request<Full<Bytes>>) -> Result<Response, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let broken = |error: hyper::Error| format!("the connection broke: {error}");
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(broken)?;
        // What goes wrong with it is told by the request.
        let running = tokio::task::spawn_local(async move { drop(connection.await) });
        let connection = Connection(running.abort_handle());
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        Ok(Response {
            status: head.status,
            headers: head.headers,
            body,
            timeout: self.timeout,
            _connection: connection,
        })
    }

    /// A connection to the host. The address that has failed last comes last.
    async fn connected(
        &mut self,
        url: &SourceUrl,
        until: Instant,
    ) -> Result<(TcpStream, SocketAddr), String> {
        let (names, resolver) = (Some(&self.names), &self.resolver);
        let mut addresses = outgoing::addresses(names, resolver, &url.host, url.port).await?;
        let failed = |address: &SocketAddr| Some(*address) == self.failed;
        if let Some(index) = addresses.iter().position(failed) {
            addresses.rotate_left(index + 1);
        }
        let failed = |address| self.failed = Some(address);
        outgoing::connect(&url.host, &addresses, until, failed).await
    }

    async fn tls(&mut self) -> Result<Arc<ClientTls>, String> {
        if let Some(tls) = &self.tls {
            return Ok(tls.clone());
        }
        let settings = UpstreamTls::verified_by(self.ca.clone());
        let build = move || ClientTls::of_own(&settings, false);
        let built = on_a_thread(build).await.map_err(|error| reason(&error))??;
        self.tls = Some(built.clone());
        Ok(built)
    }

    /// What the token's file holds now: tokens of service accounts are replaced every hour.
    async fn token(&self) -> Result<Option<String>, String> {
        let Some(file) = &self.token_file else {
            return Ok(None);
        };
        let token = small_file(&file.path).await.map_err(|error| {
            let path = file.path.display();
            format!("the token cannot be read from `{path}`: {}", reason(&error))
        })?;
        Ok(Some(token))
    }
}

/// The text of a small file, without white space around it.
pub(super) async fn small_file(path: &std::path::Path) -> io::Result<String> {
    let path = path.to_owned();
    let bytes = on_a_thread(move || file::read_regular(&path, TOKEN_SIZE)).await??;
    let text = String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))?;
    Ok(text.trim().to_owned())
}

fn accepted(response: Response) -> Result<Response, String> {
    match response.status {
        StatusCode::PARTIAL_CONTENT => {
            Err("it answers 206, a part of what was asked for".to_owned())
        }
        status if status.is_success() => Ok(response),
        StatusCode::NOT_MODIFIED | StatusCode::GONE => Ok(response),
        status if status.is_redirection() => {
            let to = response.headers.get(header::LOCATION);
            let to = to.and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
            let status = status.as_u16();
            Err(format!(
                "it answers {status} to `{to}`: redirects are not followed"
            ))
        }
        status => Err(format!("it answers {}", status.as_u16())),
    }
}

impl Response {
    /// The body to its end.
    ///
    /// # Errors
    /// It breaks off, is longer than 8 MiB, or has not come to its end within the source's
    /// `timeout`.
    pub(super) async fn whole(self) -> Result<Bytes, String> {
        let limit = self.timeout;
        let reading = Limited::new(self.body, MOST).collect();
        match timeout(limit, reading).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                Err(format!("its answer is longer than {} MiB", MOST >> 20))
            }
            Ok(Err(error)) => Err(format!("its answer broke off: {error}")),
            Err(_) => Err(format!("its answer had no end within {limit:?}")),
        }
    }

    /// The body to its end, which is JSON.
    ///
    /// # Errors
    /// As [`whole`](Response::whole), and where it is not.
    pub(super) async fn json(self) -> Result<Json, String> {
        let body = self.whole().await?;
        serde_json::from_slice(&body).map_err(|error| format!("its answer is no JSON: {error}"))
    }

    /// The body line by line, as it comes.
    pub(super) fn lines(self) -> Lines {
        Lines {
            response: self,
            text: LineBuffer::default(),
        }
    }
}

/// A body that is read line by line.
pub(super) struct Lines {
    response: Response,
    text: LineBuffer,
}

impl Lines {
    /// The next line as JSON; none at the end of the body, or if none comes within `patience`.
    /// Dropped before it is done, it loses nothing.
    ///
    /// # Errors
    /// The body breaks off, a line is longer than 8 MiB, or is no JSON.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<Option<Json>, String> {
        within(patience, self.line()).await.unwrap_or(Ok(None))
    }

    async fn line(&mut self) -> Result<Option<Json>, String> {
        loop {
            while let Some(line) = self.text.take() {
                let line = line.trim_ascii();
                if line.is_empty() {
                    continue;
                }
                let read = serde_json::from_slice(line);
                return read
                    .map(Some)
                    .map_err(|error| format!("its answer is no JSON: {error}"));
            }
            if self.text.unfinished() > MOST {
                return Err(format!(
                    "a line of its answer is longer than {} MiB",
                    MOST >> 20
                ));
            }
            match self.response.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(format!("its answer broke off: {error}")),
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.text.add(bytes);
                    }
                }
            }
        }
    }
}

async fn within<T>(limit: Duration, waiting: impl Future<Output = T>) -> Option<T> {
    timeout(limit, waiting).await.ok()
}
