//! How a list is read, and when again: what is common to all kinds of sources.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde_json::Value as Json;

use super::client::Client;
use super::consul::Consul;
use super::etcd::Etcd;
use super::file::ListFile;
use super::http::Polled;
use super::kubernetes::Kubernetes;
use crate::config::model::{ServerSource, SourceKind};

/// Bytes of one answer: 4,096 endpoints of Kubernetes, with all that goes with them, fit.
pub(super) const MOST: usize = 8 << 20;

/// The least time between two questions: a source that answers at once, whatever is asked, must
/// not keep the thread busy.
pub(super) const BREATH: Duration = Duration::from_millis(100);

/// What was read.
#[derive(Debug)]
pub(super) struct Answer {
    /// None where the list is the one before.
    pub(super) items: Option<Vec<Json>>,
    pub(super) again: Again,
}

/// When the list is to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// At once: reading waits for a change itself.
    Now,
    After(Duration),
    /// When somebody says that it has changed.
    WhenTold,
}

/// Reads the list of one source, again and again.
pub(super) trait Reader {
    /// The next answer. After an error all that was known of the source is forgotten.
    ///
    /// # Errors
    /// Why there is none, in one line.
    fn next(&mut self) -> Reading<'_>;

    /// What was read last cannot be used: it is no answer to go on from.
    fn refuse(&mut self) {}
}

pub(super) type Reading<'a> = Pin<Box<dyn Future<Output = Result<Answer, String>> + 'a>>;

/// The reader of a source. `client`: makes its requests, unless it is a file.
pub(super) fn reader(source: &ServerSource, client: Client) -> Box<dyn Reader> {
    match &source.kind {
        SourceKind::File(file) => Box::new(ListFile::new(file.path.clone())),
        SourceKind::Http { url, interval } => Box::new(Polled::new(client, url.clone(), *interval)),
        SourceKind::Etcd { url, prefix } => Box::new(Etcd::new(client, url.clone(), prefix)),
        SourceKind::Consul {
            url,
            service,
            tag,
            passing,
            datacenter,
        } => {
            let (tag, datacenter) = (tag.as_deref(), datacenter.as_deref());
            Box::new(Consul::new(
                client,
                url.clone(),
                service,
                tag,
                *passing,
                datacenter,
            ))
        }
        SourceKind::Kubernetes {
            service,
            namespace,
            port,
            api,
        } => Box::new(Kubernetes::new(
            client,
            api.clone(),
            namespace.clone(),
            service,
            port.clone(),
        )),
    }
}

/// A text as a part of a path or a query: all but RFC 3986's unreserved characters (section 2.3)
/// are percent-encoded.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            _ => encoded += &format!("%{byte:02X}"),
        }
    }
    encoded
}

/// An address with its port, as a configuration spells it.
pub(super) fn with_port(host: &str, port: u64) -> String {
    match host.parse::<std::net::Ipv6Addr>() {
        Ok(_) => format!("[{host}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}
