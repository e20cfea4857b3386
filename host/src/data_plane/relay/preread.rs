//! Which host a TLS client asks for, read from its ClientHello without taking part in the handshake
//! (nginx: `ngx_stream_ssl_preread_module`). What was read is passed on as it came.

use std::io;

use rustls::server::Acceptor;
use tokio::time::Instant;

use super::session::SessionStatus;
use crate::config::model::{self, HostPattern};
use crate::data_plane::stream::{Alarm, Reader};

/// Bytes in which the name must come (nginx: `preread_buffer_size`).
const BOUND: usize = 16 << 10;

/// Why a connection is not passed on.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrereadEnd {
    #[error("client closed connection while prereading client data")]
    Closed,
    #[error("recv() failed ({0}) while prereading client data")]
    Read(io::Error),
    #[error("client timed out (110: Connection timed out) while prereading client data")]
    TimedOut,
    #[error("connection closed to make room, or by a drain, while prereading client data")]
    Evicted,
    #[error("preread buffer full while prereading client data")]
    TooLong,
}

impl PrereadEnd {
    pub(super) fn status(&self) -> SessionStatus {
        match self {
            // As in nginx, a client that leaves or sends nothing is logged with 200.
            PrereadEnd::Closed
            | PrereadEnd::Read(_)
            | PrereadEnd::TimedOut
            | PrereadEnd::Evicted => SessionStatus::Carried,
            PrereadEnd::TooLong => SessionStatus::Refused,
        }
    }
}

/// Reads into `first` until it is known which host the client names; none for one that does not, or
/// does not speak TLS.
///
/// # Errors
/// [`PrereadEnd`].
pub(super) async fn server_name(
    reader: &mut Reader,
    first: &mut Vec<u8>,
    due: Instant,
) -> Result<Option<Box<str>>, PrereadEnd> {
    let mut hello = Hello::default();
    let mut alarm = Alarm::default();
    first.reserve_exact(BOUND);
    loop {
        let read_before = first.len();
        let read = alarm.poll_until(due, |cx| reader.poll_read(cx, first, BOUND - read_before));
        match read.await {
            Ok(Ok(0)) => return Err(PrereadEnd::Closed),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(PrereadEnd::Read(error)),
            Err(_) => return Err(PrereadEnd::TimedOut),
        }
        match hello.take(&first[read_before..]) {
            Some(name) => return Ok(name),
            None if first.len() >= BOUND => return Err(PrereadEnd::TooLong),
            None => {}
        }
    }
}

/// A ClientHello of which more is to come.
#[derive(Default)]
pub(crate) struct Hello(Acceptor);

impl Hello {
    /// Takes further bytes. Once it can be told: the name, or none where there is none.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Option<Option<Box<str>>> {
        while !bytes.is_empty() {
            // Zero and errors: it takes no more, for a handshake that long is none.
            if !matches!(self.0.read_tls(&mut bytes), Ok(1..)) {
                return Some(None);
            }
            match self.0.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    let name = hello.server_name().map(str::to_ascii_lowercase);
                    return Some(name.map(String::into_boxed_str));
                }
                Err(_) => return Some(None),
            }
        }
        None
    }
}

/// The upstream for connections to a host: an exact name comes first, then the longest suffix.
pub(super) fn upstream(config: &model::StreamConfig, name: Option<&str>) -> usize {
    let Some(name) = name else {
        return config.upstream;
    };
    let matching = config.sni.iter().filter_map(|route| {
        let rank = match &route.host {
            HostPattern::Exact(host) if host == name => usize::MAX,
            HostPattern::Suffix(suffix) if name.len() > suffix.len() && name.ends_with(suffix) => {
                suffix.len()
            }
            _ => return None,
        };
        Some((rank, route.upstream))
    });
    matching
        .max_by_key(|(rank, _)| *rank)
        .map_or(config.upstream, |(_, upstream)| upstream)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::config::model::{Address, SniRoute};

    fn stream(hosts: &[HostPattern]) -> model::StreamConfig {
        let routes = hosts.iter().enumerate();
        model::StreamConfig {
            address: Address::Unix("/x".into()),
            place: Default::default(),
            tls: None,
            upstream: 0,
            sni: routes
                .map(|(index, host)| SniRoute {
                    host: host.clone(),
                    upstream: index + 1,
                })
                .collect(),
            idle_timeout: Duration::from_secs(1),
            preread_timeout: Duration::from_secs(1),
            proxy_protocol: false,
            backlog: 1,
            access_logs: Vec::new(),
            hooks: Vec::new(),
            traces: None,
        }
    }

    #[test]
    fn an_exact_name_comes_first_then_the_longest_suffix_then_the_default() {
        let suffix = |text: &str| HostPattern::Suffix(text.to_owned());
        let config = stream(&[
            suffix(".example"),
            suffix(".a.example"),
            HostPattern::Exact("b.a.example".to_owned()),
        ]);
        for (name, expected) in [
            (Some("b.a.example"), 3),
            (Some("c.a.example"), 2),
            (Some("d.c.a.example"), 2),
            (Some("a.example"), 1),
            (Some("example"), 0),
            (Some(".example"), 0),
            (None, 0),
        ] {
            assert_eq!(upstream(&config, name), expected, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_bring_it_down(
            start in prop_oneof![Just(vec![]), Just(vec![22, 3, 1]), Just(vec![22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3])],
            chunks: Vec<Vec<u8>>,
        ) {
            let mut hello = Hello::default();
            let mut told = hello.take(&start).is_some();
            for chunk in chunks {
                if told {
                    break;
                }
                told = hello.take(&chunk).is_some();
            }
        }
    }
}
