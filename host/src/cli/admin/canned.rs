//! For tests: a process that gives one answer and remembers what it was asked.

#![allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]

use std::path::Path;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

use super::client::AdminClient;
use crate::config::model::Address;

pub(super) struct Canned {
    pub(super) client: AdminClient,
    request: JoinHandle<String>,
}

impl Canned {
    pub(super) async fn on_tcp(status: u16, body: &str) -> Canned {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = AdminClient::new(Address::Tcp(listener.local_addr().unwrap()));
        let response = response(status, body);
        let request = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            exchange(stream, &response).await
        });
        Canned { client, request }
    }

    pub(super) fn on_unix(path: &Path, status: u16, body: &str) -> Canned {
        let listener = UnixListener::bind(path).unwrap();
        let response = response(status, body);
        let request = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            exchange(stream, &response).await
        });
        let client = AdminClient::new(Address::Unix(path.to_owned()));
        Canned { client, request }
    }

    /// Listens, and never answers.
    pub(super) async fn silent() -> Canned {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = AdminClient::new(Address::Tcp(listener.local_addr().unwrap()));
        let request = tokio::spawn(async move {
            let _open = listener.accept().await.unwrap();
            std::future::pending().await
        });
        Canned { client, request }
    }

    /// The request, once it was answered.
    pub(super) async fn received(self) -> String {
        self.request.await.unwrap()
    }
}

/// A port of loopback that is closed.
pub(super) fn closed_port() -> Address {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    Address::Tcp(listener.local_addr().unwrap())
}

fn response(status: u16, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} \r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, response: &str) -> String {
    let mut request = Vec::new();
    while !complete(&request) {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "cut short");
    }
    // A client that has seen enough may have gone.
    let _ = stream.write_all(response.as_bytes()).await;
    String::from_utf8_lossy(&request).into_owned()
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}
