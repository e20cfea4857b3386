//! Sources of servers: a real etcd, and a Consul agent and an API server of Kubernetes that behave as
//! the documentation of the real ones says, since neither can be had here.

mod consul;
mod etcd;
mod kubernetes;

pub use consul::Consul;
pub use etcd::{Etcd, installed};
pub use kubernetes::Kubernetes;

use crate::wire::{Cut, Wire};

/// A request for a list.
struct Asked {
    /// Its path, without the query.
    path: String,
    query: String,
    head: String,
}

impl Asked {
    /// The next request of a connection, which has no body.
    async fn read(wire: &mut Wire) -> Result<Asked, Cut> {
        let head = wire.head().await?;
        let target = head.start.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Ok(Asked {
            path: path.to_owned(),
            query: query.to_owned(),
            head: String::from_utf8_lossy(&head.raw).into_owned(),
        })
    }

    /// A parameter of its query, as it was sent.
    fn parameter(&self, name: &str) -> Option<&str> {
        let mut pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// A whole answer of JSON, with further header lines.
fn answer(status: u16, lines: &str, body: &serde_json::Value) -> String {
    let body = body.to_string();
    format!(
        "HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{lines}\r\n{body}",
        body.len()
    )
}
