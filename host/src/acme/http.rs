//! How an authority is asked: HTTP/1.1 by hyper over TLS of ours, a connection for each request, each
//! of which has an end. Redirects are not followed.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use httpdate::HttpDate;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::model::{NamedFile, UpstreamTls};
use crate::config::reason;
use crate::outgoing;
use crate::tls::ClientTls;

/// For one request, from the name server to the last byte.
const LIMIT: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const MOST: usize = 1 << 20;
const AGENT: &str = concat!("waypost/", env!("CARGO_PKG_VERSION"), " instant-acme");

/// A client of one authority. Clones are the same one.
#[derive(Clone)]
pub(super) struct AuthorityClient {
    tls: Arc<ClientTls>,
    /// When the last answer that was no success wants to be asked again.
    asked: Arc<Mutex<Option<SystemTime>>>,
}

impl AuthorityClient {
    /// Reads whom it trusts. Waits for the disk.
    ///
    /// # Errors
    /// Why that cannot be, in one line.
    pub(super) fn new(ca: Option<NamedFile>) -> Result<AuthorityClient, String> {
        let settings = UpstreamTls {
            session_cache: 16,
            ..UpstreamTls::verified_by(ca)
        };
        Ok(AuthorityClient {
            tls: ClientTls::of_own(&settings, false)?,
            asked: Arc::default(),
        })
    }

    /// How long the last answer that was no success wants it not to be asked; told once.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let until = self.asked.lock().take()?;
        until.duration_since(SystemTime::now()).ok()
    }

    async fn ask(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, String> {
        let (mut head, body) = request.into_parts();
        let body = body.collect().await.map(|body| body.to_bytes());
        let body = body.unwrap_or_default();
        let (host, port) = destination(&head.uri)?;
        let stream = connect(&host, port).await?;
        let spelled = outgoing::authority(&host, port);
        let name = self.tls.server_name(&spelled);
        let name = name.map_err(|error| error.to_string())?;
        let connecting = TlsConnector::from(self.tls.config.clone()).connect(name, stream);
        let stream = connecting.await.map_err(|error| {
            format!(
                "the TLS handshake with `{host}` has failed: {}",
                reason(&error)
            )
        })?;
        let authority = head
            .uri
            .authority()
            .map_or("", |authority| authority.as_str());
        let authority = HeaderValue::from_str(authority).map_err(|error| error.to_string())?;
        head.headers.insert(HOST, authority);
        head.headers
            .insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let path = head.uri.path_and_query().cloned();
        head.uri = Uri::from(path.unwrap_or(PathAndQuery::from_static("/")));
        let broken = |error: hyper::Error| format!("the connection to `{host}` broke: {error}");
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(broken)?;
        let request = Request::from_parts(head, Full::new(body));
        let exchange = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MOST).collect().await;
            let body =
                body.map_err(|error| format!("the answer of `{host}` broke off: {error}"))?;
            Ok::<_, String>((parts, body.to_bytes()))
        };
        // Polled beside it, and dropped with it: what goes wrong with the connection is told by the
        // exchange, which ends then.
        let beside = async {
            let _ = connection.await;
            std::future::pending().await
        };
        let (parts, body) = tokio::select! {
            biased;
            answered = exchange => answered?,
            never = beside => never,
        };
        if !parts.status.is_success() {
            *self.asked.lock() = retry_after(&parts.headers);
            understood(parts.status, &parts.headers)?;
        }
        Ok(BytesResponse {
            parts,
            body: Box::new(body),
        })
    }
}

impl HttpClient for AuthorityClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (client, uri) = (self.clone(), request.uri().clone());
        Box::pin(async move {
            let answered = timeout(LIMIT, client.ask(request)).await;
            let answered = answered.unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")));
            answered.map_err(|why| {
                let why = format!("the authority cannot be asked at `{uri}`: {why}");
                Error::Other(Box::new(io::Error::other(why)))
            })
        })
    }
}

/// An answer that is no success says why in JSON (RFC 7807), or is not the authority's.
fn understood(status: StatusCode, headers: &HeaderMap) -> Result<(), String> {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    if kind.is_some_and(|kind| kind.contains("json")) {
        return Ok(());
    }
    Err(format!("it answers {}", status.as_u16()))
}

fn retry_after(headers: &HeaderMap) -> Option<SystemTime> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => SystemTime::now().checked_add(Duration::from_secs(seconds)),
        Err(_) => HttpDate::from_str(value).ok().map(SystemTime::from),
    }
}

fn destination(uri: &Uri) -> Result<(String, u16), String> {
    if uri.scheme_str() != Some("https") {
        return Err("it is not a URL of https".to_owned());
    }
    let host = uri.host().ok_or("it names no host")?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), uri.port_u16().unwrap_or(443)))
}

/// To the first address that takes a connection.
async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let found = tokio::net::lookup_host((host, port)).await;
    let found =
        found.map_err(|error| format!("`{host}` cannot be resolved: {}", reason(&error)))?;
    let mut failure = format!("`{host}` has no address");
    for address in found {
        // Those behind one that says nothing have their share of the time.
        match timeout(LIMIT / 4, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = format!("cannot connect to {address}: {}", reason(&error)),
            Err(_) => failure = format!("no answer from {address}"),
        }
    }
    Err(failure)
}
