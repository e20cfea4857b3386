//! Who asks, and what they may do: by a token over TCP, by the mode of the socket's file otherwise.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, Method, header};
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::config::model::{AdminToken, Role};

/// Guesses that one client may make in each [`WINDOW`]. Tokens have 256 bits: what this bounds is what
/// guessing costs us.
const GUESSES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Clients whose guesses are counted. Further ones are refused as if they had made too many.
const GUESSERS: usize = 1024;

/// The other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Peer {
    Tcp(SocketAddr),
    /// By the kernel's word (`SO_PEERCRED`).
    Unix {
        uid: u32,
        pid: Option<i32>,
    },
}

/// Whoever asks, as the audit names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asker {
    /// `token ops`, `uid 1000`, `nobody`.
    pub(super) who: String,
    pub(super) from: String,
}

/// Why a client may not.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It shows no token.
    Nobody,
    /// None that there is.
    Unknown,
    /// It has shown too many of those.
    TooMany,
    /// One that may only read.
    ReadsOnly,
}

/// Guesses by client, from the first one on for as long as a [`WINDOW`].
#[derive(Debug, Default)]
pub(super) struct Guesses(Mutex<HashMap<IpAddr, (Instant, u32)>>);

impl Peer {
    pub(super) fn asker(&self, token: Option<&AdminToken>) -> Asker {
        let (who, from) = match self {
            Peer::Tcp(address) => ("nobody".to_owned(), address.ip().to_string()),
            Peer::Unix { uid, pid: None } => (format!("uid {uid}"), "unix".to_owned()),
            Peer::Unix {
                uid,
                pid: Some(pid),
            } => (format!("uid {uid}"), format!("unix, process {pid}")),
        };
        let who = token.map_or(who, |token| format!("token {}", token.name));
        Asker { who, from }
    }
}

/// Whom a request is from, if that one may make it; and the token that it shows.
pub(super) fn check<'t>(
    peer: Peer,
    tokens: &'t [AdminToken],
    method: &Method,
    headers: &HeaderMap,
    guesses: &Guesses,
) -> (Option<&'t AdminToken>, Result<(), Refused>) {
    let address = match peer {
        Peer::Tcp(address) if !tokens.is_empty() => address.ip(),
        _ => return (None, Ok(())),
    };
    let Some(shown) = shown(headers) else {
        return (None, Err(Refused::Nobody));
    };
    // Whatever the time of a comparison tells, it tells of a hash.
    let hash: [u8; 32] = Sha256::digest(shown).into();
    let Some(token) = tokens.iter().find(|token| token.sha256 == hash) else {
        let refused = match guesses.are_too_many(address, Instant::now()) {
            true => Refused::TooMany,
            false => Refused::Unknown,
        };
        return (None, Err(refused));
    };
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let may = match reads || token.role == Role::Operate {
        true => Ok(()),
        false => Err(Refused::ReadsOnly),
    };
    (Some(token), may)
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750, section 2.1).
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

impl Guesses {
    /// Counts one more of a client.
    fn are_too_many(&self, address: IpAddr, now: Instant) -> bool {
        let mut clients = self.0.lock();
        let client = network(address);
        if clients.len() >= GUESSERS && !clients.contains_key(&client) {
            clients.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
            if clients.len() >= GUESSERS {
                return true;
            }
        }
        let (since, guesses) = clients.entry(client).or_insert((now, 0));
        if now.duration_since(*since) >= WINDOW {
            (*since, *guesses) = (now, 0);
        }
        *guesses = guesses.saturating_add(1);
        *guesses > GUESSES
    }
}

/// Whom an address is taken for: of IPv6 the /64 that one client has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & (u128::MAX << 64);
            Ipv6Addr::from(network).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    const PEER: Peer = Peer::Tcp(SocketAddr::new(
        IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        9,
    ));

    fn token(name: &str, role: Role) -> AdminToken {
        AdminToken {
            name: name.to_owned(),
            role,
            sha256: Sha256::digest(format!("secret of {name}")).into(),
        }
    }

    fn asks(method: &Method, authorization: Option<&str>) -> Result<(), Refused> {
        let tokens = [token("grafana", Role::Read), token("ops", Role::Operate)];
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        check(PEER, &tokens, method, &headers, &Guesses::default()).1
    }

    #[test]
    fn a_token_that_reads_changes_nothing() {
        for (method, name, may) in [
            (Method::GET, "grafana", Ok(())),
            (Method::POST, "grafana", Err(Refused::ReadsOnly)),
            (Method::DELETE, "grafana", Err(Refused::ReadsOnly)),
            (Method::GET, "ops", Ok(())),
            (Method::POST, "ops", Ok(())),
        ] {
            let header = format!("Bearer secret of {name}");
            assert_eq!(asks(&method, Some(&header)), may, "{method} {name}");
        }
    }

    #[test]
    fn only_a_token_that_is_known_lets_in() {
        assert_eq!(asks(&Method::GET, None), Err(Refused::Nobody));
        for (header, refused) in [
            ("Basic b3BzOnNlY3JldA==", Refused::Nobody),
            ("Bearer", Refused::Nobody),
            ("Bearer ", Refused::Unknown),
            ("Bearer secret of op", Refused::Unknown),
            ("Bearer secret of opss", Refused::Unknown),
        ] {
            assert_eq!(asks(&Method::GET, Some(header)), Err(refused), "{header}");
        }
        assert_eq!(asks(&Method::GET, Some("bearer  secret of ops ")), Ok(()));
    }

    #[test]
    fn whoever_reaches_a_unix_socket_needs_none() {
        let tokens = [token("ops", Role::Operate)];
        let peer = Peer::Unix { uid: 0, pid: None };
        let (none, may) = check(
            peer,
            &tokens,
            &Method::POST,
            &HeaderMap::new(),
            &Guesses::default(),
        );
        assert_eq!((none, may), (None, Ok(())));
    }

    #[test]
    fn guesses_of_one_client_are_bounded_and_forgotten() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        for guess in 0..GUESSES {
            assert!(!guesses.are_too_many(one, now), "{guess}");
        }
        assert!(guesses.are_too_many(one, now));
        assert!(!guesses.are_too_many("192.0.2.2".parse().unwrap(), now));
        assert!(!guesses.are_too_many(one, now + WINDOW));
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one_client() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for guess in 0..GUESSES {
            let address: IpAddr = format!("2001:db8::{guess:x}").parse().unwrap();
            assert!(!guesses.are_too_many(address, now));
        }
        assert!(guesses.are_too_many("2001:db8::ffff".parse().unwrap(), now));
        assert!(!guesses.are_too_many("2001:db8:0:1::1".parse().unwrap(), now));
    }

    #[test]
    fn the_table_of_those_who_guess_has_a_bound() {
        let (guesses, now) = (Guesses::default(), Instant::now());
        for client in 0..GUESSERS as u32 {
            assert!(!guesses.are_too_many(IpAddr::V4(client.into()), now));
        }
        let another = IpAddr::V4(u32::MAX.into());
        assert!(guesses.are_too_many(another, now));
        assert_eq!(guesses.0.lock().len(), GUESSERS);
        assert!(!guesses.are_too_many(another, now + WINDOW));
    }
}
