//! The client's side of a connection to a proxy.

use std::io;
use std::time::Duration;

use crate::in_time;
use crate::wire::{Cut, Fields, Head, Wire};

/// A connection to a proxy.
pub struct Client {
    pub wire: Wire,
}

/// A response, complete or cut.
#[derive(Debug, Clone, Default)]
pub struct Response {
    pub status: u16,
    /// `HTTP/1.1`.
    pub version: String,
    pub reason: String,
    pub headers: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// The head as it came.
    pub raw_head: Vec<u8>,
    /// Whether the body came to its announced end; a body without one ends with the connection.
    pub complete: bool,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {:?}", self.text()))
    }

    /// The value of a header, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_default()
    }

    fn of(head: Head) -> Response {
        let mut parts = head.start.splitn(3, ' ').map(str::to_owned);
        let version = parts.next().unwrap_or_default();
        let status = parts.next().unwrap_or_default();
        let status = status
            .parse()
            .unwrap_or_else(|_| panic!("no status line: {:?}", head.start));
        let reason = parts.next().unwrap_or_default();
        Response {
            status,
            version,
            reason,
            headers: head.fields,
            raw_head: head.raw,
            ..Response::default()
        }
    }
}

impl Client {
    /// Connects to `127.0.0.1:80` or `unix:/path`.
    pub async fn connect(address: &str) -> Client {
        // Where the backlog of a unix socket is full, nobody waits for room but we.
        let connects = async {
            loop {
                match Wire::connect(address).await {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    wire => return wire,
                }
            }
        };
        let wire = in_time("a connection", connects).await;
        Client {
            wire: wire.unwrap_or_else(|error| panic!("no connection to {address}: {error}")),
        }
    }

    /// Sends exactly these bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.send(bytes).await;
    }

    /// Sends a GET that leaves the connection open, and reads its response.
    pub async fn get(&mut self, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .await;
        self.response().await
    }

    /// Reads a response, which must be complete.
    pub async fn response(&mut self) -> Response {
        let response = self.cut_response().await;
        assert!(response.complete, "the response was cut: {response:?}");
        response
    }

    /// Reads the response to a HEAD request: as any other, but without its body.
    pub async fn response_to_head(&mut self) -> Response {
        let mut response = self.response_head().await;
        response.complete = true;
        response
    }

    /// Reads a response of which the head must be complete.
    pub async fn cut_response(&mut self) -> Response {
        let mut response = self.response_head().await;
        self.body_of(&mut response).await;
        response
    }

    /// Reads a response from a peer that may leave: an error if it does before the head is there, a
    /// response that is not complete if it does later.
    ///
    /// # Errors
    /// The connection ended before the head did.
    pub async fn try_response(&mut self) -> Result<Response, Cut> {
        let mut response = Response::of(self.wire.head().await?);
        self.body_of(&mut response).await;
        Ok(response)
    }

    /// Reads the body that follows a head.
    async fn body_of(&mut self, response: &mut Response) {
        let chunked = response
            .headers
            .get("Transfer-Encoding")
            .is_some_and(|coding| coding == "chunked");
        let length = response
            .headers
            .get("Content-Length")
            .map(|length| length.parse().expect("a length is a number"));
        assert!(
            !chunked || length.is_none(),
            "both framings at once: {response:?}"
        );
        if chunked {
            if let Ok(trailers) = self.wire.chunked(&mut response.body).await {
                (response.trailers, response.complete) = (trailers, true);
            }
        } else if response.status < 200 || response.status == 204 || response.status == 304 {
            response.complete = true;
        } else if let Some(length) = length {
            match self.wire.exactly(length).await {
                Ok(body) => (response.body, response.complete) = (body, true),
                Err(cut) => response.body = cut.got,
            }
        } else {
            let end = self.wire.rest().await;
            (response.body, response.complete) = (end.got, !end.reset);
        }
    }

    /// Reads a response's head only; its body is still to come.
    pub async fn response_head(&mut self) -> Response {
        match self.wire.head().await {
            Ok(head) => Response::of(head),
            Err(cut) => panic!(
                "no response, but the end of the connection after {:?}",
                String::from_utf8_lossy(&cut.got)
            ),
        }
    }

    /// Reads a response, or `None` if the connection ends without a byte of one.
    pub async fn response_or_end(&mut self) -> Option<Response> {
        match self.wire.head().await {
            Ok(head) => {
                let mut response = Response::of(head);
                let length = response
                    .headers
                    .get("Content-Length")
                    .and_then(|length| length.parse().ok());
                match self.wire.exactly(length.unwrap_or(0)).await {
                    Ok(body) => (response.body, response.complete) = (body, true),
                    Err(cut) => response.body = cut.got,
                }
                Some(response)
            }
            Err(cut) => {
                assert!(
                    cut.got.is_empty(),
                    "half a response: {:?}",
                    String::from_utf8_lossy(&cut.got)
                );
                None
            }
        }
    }

    /// Reads a response, which must be complete where it is one to another method than HEAD, or
    /// `None` if the connection ends without a byte of one.
    pub async fn answer_or_end(&mut self, is_to_head: bool) -> Option<Response> {
        let head = match self.wire.head().await {
            Ok(head) => head,
            Err(cut) if cut.got.is_empty() => return None,
            Err(cut) => panic!("half a response: {:?}", String::from_utf8_lossy(&cut.got)),
        };
        let mut response = Response::of(head);
        match is_to_head {
            true => response.complete = true,
            false => self.body_of(&mut response).await,
        }
        assert!(response.complete, "the response was cut: {response:?}");
        Some(response)
    }

    /// Waits for the proxy to close the connection, with nothing more said on it.
    pub async fn closed(&mut self) {
        let cut = self.wire.rest().await;
        assert!(
            cut.got.is_empty(),
            "bytes before the end: {:?}",
            String::from_utf8_lossy(&cut.got)
        );
    }
}

/// Sends exactly these bytes on a connection of their own, and reads the response, however the
/// connection goes on.
pub async fn exchange(address: &str, bytes: impl AsRef<[u8]>) -> Response {
    let mut client = Client::connect(address).await;
    client.send(bytes).await;
    client.response().await
}

/// A GET on a connection of its own, with more header lines (each ended by CRLF), which asks for
/// the connection to be closed after.
pub async fn get_with(address: &str, target: &str, lines: &str) -> Response {
    exchange(
        address,
        format!("GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{lines}\r\n"),
    )
    .await
}
