//! Who asks, and what they may do: by a token over TCP, by the mode of the socket's file otherwise.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, header};
use parking_lot::Mutex;

use crate::config::model::{AdminToken, Role};
use crate::plugin::Hash;

/// Requests of one client that are refused with a reason, and told in the audit, in each [`WINDOW`].
/// Tokens have 256 bits: what this bounds is what guessing costs us.
const REFUSALS: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Clients that are counted each for itself. All further ones are counted as one.
const CLIENTS: usize = 1024;

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
    /// It was refused too often.
    TooMany,
    /// One that may only read.
    ReadsOnly,
}

/// How often clients were refused, from the first time on for as long as a [`WINDOW`].
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    clients: HashMap<IpAddr, Times>,
    /// All that there was no room for: whoever has a thousand networks gets no more out of it than
    /// one client more would.
    others: Option<Times>,
}

/// How often since when.
#[derive(Debug, Clone, Copy)]
struct Times {
    since: Instant,
    times: u32,
}

impl Peer {
    /// Whom its connections are counted for.
    pub(super) fn client(&self) -> Option<IpAddr> {
        match self {
            Peer::Tcp(address) => Some(network(address.ip())),
            Peer::Unix { .. } => None,
        }
    }

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

/// The token that a request shows, and whether it may be made. `tokens`: none where none is asked for.
pub(super) fn check<'t>(
    peer: Peer,
    tokens: Option<&'t [AdminToken]>,
    only_looks: bool,
    headers: &HeaderMap,
    refusals: &Refusals,
) -> (Option<&'t AdminToken>, Result<(), Refused>) {
    let (Peer::Tcp(address), Some(tokens)) = (peer, tokens) else {
        return (None, Ok(()));
    };
    let address = address.ip();
    let refused = |why| match refusals.are_too_many(address, Instant::now()) {
        true => Refused::TooMany,
        false => why,
    };
    let Some(shown) = shown(headers) else {
        return (None, Err(refused(Refused::Nobody)));
    };
    // Whatever the time of a comparison tells, it tells of a hash.
    let hash = Hash::of(shown).to_string();
    let Some(token) = tokens.iter().find(|token| token.sha256 == hash) else {
        return (None, Err(refused(Refused::Unknown)));
    };
    let may = match only_looks || token.role == Role::Operate {
        true => Ok(()),
        false => Err(refused(Refused::ReadsOnly)),
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

impl Refusals {
    /// Counts one more of a client.
    pub(super) fn are_too_many(&self, address: IpAddr, now: Instant) -> bool {
        let mut counted = self.0.lock();
        let Counted { clients, others } = &mut *counted;
        let (client, none) = (
            network(address),
            Times {
                since: now,
                times: 0,
            },
        );
        let is_recent = |times: &Times| now.duration_since(times.since) < WINDOW;
        if clients.len() >= CLIENTS && !clients.contains_key(&client) {
            clients.retain(|_, times| is_recent(times));
        }
        let counts = match clients.len() < CLIENTS || clients.contains_key(&client) {
            true => clients.entry(client).or_insert(none),
            false => others.get_or_insert(none),
        };
        if !is_recent(counts) {
            *counts = none;
        }
        counts.times = counts.times.saturating_add(1);
        counts.times > REFUSALS
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
            sha256: Hash::of(format!("secret of {name}").as_bytes()).to_string(),
        }
    }

    fn asks(only_looks: bool, authorization: Option<&str>) -> Result<(), Refused> {
        let tokens = [token("grafana", Role::Read), token("ops", Role::Operate)];
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        check(
            PEER,
            Some(&tokens),
            only_looks,
            &headers,
            &Refusals::default(),
        )
        .1
    }

    #[test]
    fn a_token_that_reads_changes_nothing() {
        for (only_looks, name, may) in [
            (true, "grafana", Ok(())),
            (false, "grafana", Err(Refused::ReadsOnly)),
            (true, "ops", Ok(())),
            (false, "ops", Ok(())),
        ] {
            let header = format!("Bearer secret of {name}");
            assert_eq!(asks(only_looks, Some(&header)), may, "{only_looks} {name}");
        }
    }

    #[test]
    fn only_a_token_that_is_known_lets_in() {
        assert_eq!(asks(true, None), Err(Refused::Nobody));
        for (header, refused) in [
            ("Basic b3BzOnNlY3JldA==", Refused::Nobody),
            ("Bearer", Refused::Nobody),
            ("Bearer ", Refused::Unknown),
            ("Bearer secret of op", Refused::Unknown),
            ("Bearer secret of opss", Refused::Unknown),
        ] {
            assert_eq!(asks(true, Some(header)), Err(refused), "{header}");
        }
        assert_eq!(asks(true, Some("bearer  secret of ops ")), Ok(()));
    }

    #[test]
    fn whoever_reaches_a_unix_socket_needs_none() {
        let tokens = [token("ops", Role::Operate)];
        let peer = Peer::Unix { uid: 0, pid: None };
        let (none, may) = check(
            peer,
            Some(&tokens),
            false,
            &HeaderMap::new(),
            &Refusals::default(),
        );
        assert_eq!((none, may), (None, Ok(())));
    }

    #[test]
    fn refusals_of_one_client_are_counted_and_forgotten() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        let one: IpAddr = "192.0.2.1".parse().unwrap();
        for time in 0..REFUSALS {
            assert!(!refusals.are_too_many(one, now), "{time}");
        }
        assert!(refusals.are_too_many(one, now));
        assert!(!refusals.are_too_many("192.0.2.2".parse().unwrap(), now));
        assert!(!refusals.are_too_many(one, now + WINDOW));
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one_client() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        for time in 0..REFUSALS {
            let address: IpAddr = format!("2001:db8::{time:x}").parse().unwrap();
            assert!(!refusals.are_too_many(address, now));
        }
        assert!(refusals.are_too_many("2001:db8::ffff".parse().unwrap(), now));
        assert!(!refusals.are_too_many("2001:db8:0:1::1".parse().unwrap(), now));
    }

    #[test]
    fn clients_that_the_table_has_no_room_for_are_counted_as_one() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        for client in 0..CLIENTS as u32 {
            assert!(!refusals.are_too_many(IpAddr::V4(client.into()), now));
        }
        assert_eq!(refusals.0.lock().clients.len(), CLIENTS);
        // Whoever comes on top has the bound of one client, in common with all that do.
        let others = (0..).map(|other| IpAddr::V4((u32::MAX - other).into()));
        for (time, other) in (0..2 * REFUSALS).zip(others) {
            let is_too_many = refusals.are_too_many(other, now);
            assert_eq!(is_too_many, time >= REFUSALS, "{time}");
        }
        assert_eq!(refusals.0.lock().clients.len(), CLIENTS);
        assert!(!refusals.are_too_many(IpAddr::V4(0.into()), now));
        assert!(!refusals.are_too_many(IpAddr::V4(u32::MAX.into()), now + WINDOW));
    }
}
