//! What the names of servers stand for, as the name servers said last.
//!
//! A configuration says what is written, a resolution what is true at this moment; a snapshot is
//! built of both. All names are asked for at the same time, and none for longer than a bound: a
//! resolver that is not answered keeps its thread (getaddrinfo(3) has no deadline), and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::model::{Address, Config, HostPort, ServerLocation, UpstreamServer};
use crate::config::problem::{Problem, did_you_mean};
use crate::config::reason;

/// For all names together. glibc asks each of three name servers twice, for 5 seconds each.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// Names that are asked for at the same time.
const AT_ONCE: usize = 16;

/// Addresses by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Resolution(Arc<BTreeMap<HostPort, Vec<Address>>>);

impl Resolution {
    /// Asks for all names of a configuration. Blocks, for [`LIMIT`] at most.
    ///
    /// # Errors
    /// A problem at each server whose name has no address.
    pub(super) fn of(config: &Config) -> Result<Resolution, Vec<Problem>> {
        let upstreams = config.upstreams.iter();
        let servers = upstreams.flat_map(|upstream| &upstream.servers);
        let mut failed = match Resolution::default().with(servers, LIMIT, ask_system) {
            Ok(resolution) => return Ok(resolution),
            Err(failed) => failed,
        };
        for (server, problem) in &mut failed {
            // What a route names is an upstream's name, or else an address.
            let names = config.upstreams.iter().map(|upstream| &*upstream.name);
            let (same, others): (Vec<_>, Vec<_>) =
                names.partition(|name| **name == server.spelling);
            if !same.is_empty()
                && let Some(near) = did_you_mean(&server.spelling, others)
            {
                problem.hint = Some(near);
            }
        }
        Err(failed.into_iter().map(|(_, problem)| problem).collect())
    }

    /// This one, and the name of one more server. Blocks, for [`LIMIT`] at most.
    ///
    /// # Errors
    /// Where the name has no address.
    pub(super) fn and(&self, server: &UpstreamServer) -> Result<Resolution, Vec<Problem>> {
        let resolved = self.with([server], LIMIT, ask_system);
        resolved.map_err(|failed| failed.into_iter().map(|(_, problem)| problem).collect())
    }

    /// All addresses of a server, in the order of the name servers.
    pub(super) fn addresses(&self, server: &UpstreamServer) -> Vec<Address> {
        match &server.location {
            ServerLocation::Address(address) => vec![address.clone()],
            ServerLocation::Name(name) => self.0.get(name).cloned().unwrap_or_default(),
        }
    }

    fn with<'a>(
        &self,
        servers: impl IntoIterator<Item = &'a UpstreamServer>,
        limit: Duration,
        ask: impl Fn(&HostPort) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Result<Resolution, Vec<(&'a UpstreamServer, Problem)>> {
        let servers: Vec<_> = servers
            .into_iter()
            .filter_map(|server| match &server.location {
                ServerLocation::Name(name) => Some((name, server)),
                ServerLocation::Address(_) => None,
            })
            .collect();
        let names = servers.iter().map(|(name, _)| (*name).clone()).collect();
        let answers = ask_for_all(names, limit, ask);
        let (mut known, mut failed) = (BTreeMap::clone(&self.0), Vec::new());
        for (name, server) in servers {
            let spelling = &server.spelling;
            let why = match answers.get(name) {
                Some(Ok(found)) if found.is_empty() => String::new(),
                Some(Ok(found)) => {
                    known.insert(name.clone(), found.clone());
                    continue;
                }
                Some(Err(error)) => format!(": {}", resolver_says(error)),
                None => format!(": no name server has answered within {limit:?}"),
            };
            let message = format!("host not found in upstream `{spelling}`{why}");
            let hint = format!(
                "correct the name, or let this machine resolve it: `getent hosts {}`",
                name.host
            );
            failed.push((server, Problem::new(&server.place, message).hint(hint)));
        }
        match failed.is_empty() {
            true => Ok(Resolution(Arc::new(known))),
            false => Err(failed),
        }
    }
}

/// A resolver's error without what std puts before it.
fn resolver_says(error: &io::Error) -> String {
    let text = reason(error);
    match text.strip_prefix("failed to lookup address information: ") {
        Some(text) => text.to_lowercase(),
        None => text,
    }
}

/// All addresses of a name, in the resolver's order. Blocks, for as long as the resolver likes.
fn ask_system(HostPort { host, port }: &HostPort) -> io::Result<Vec<SocketAddr>> {
    Ok((host.as_str(), *port).to_socket_addrs()?.collect())
}

/// The answers that came within `limit`, each address once.
fn ask_for_all(
    names: BTreeSet<HostPort>,
    limit: Duration,
    ask: impl Fn(&HostPort) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
) -> BTreeMap<HostPort, io::Result<Vec<Address>>> {
    let until = Instant::now() + limit;
    let threads = names.len().min(AT_ONCE);
    let (ask, left) = (Arc::new(ask), Arc::new(Mutex::new(names)));
    let (sender, receiver) = mpsc::channel();
    for _ in 0..threads {
        let (ask, left, sender) = (ask.clone(), left.clone(), sender.clone());
        let asking = move || {
            loop {
                // Its own statement: the lock is not held while it asks.
                let next = left.lock().pop_first();
                let Some(name) = next else { return };
                let answer = ask(&name);
                // The receiver is gone once the limit has passed.
                let _ = sender.send((name, answer));
            }
        };
        let thread = thread::Builder::new().name("resolver".to_owned());
        if let Err(error) = thread.spawn(asking) {
            tracing::error!("cannot start a thread to resolve names: {error}");
        }
    }
    drop(sender);
    let mut answers = BTreeMap::new();
    while let Ok((name, answer)) =
        receiver.recv_timeout(until.saturating_duration_since(Instant::now()))
    {
        answers.insert(name, answer.map(each_once));
    }
    left.lock().clear();
    answers
}

fn each_once(found: Vec<SocketAddr>) -> Vec<Address> {
    let mut addresses = Vec::with_capacity(found.len());
    for address in found.into_iter().map(Address::Tcp) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    fn servers(list: &str) -> Vec<UpstreamServer> {
        let text =
            format!("listen = [{{ address = \"127.0.0.1:0\" }}]\n[upstream.a]\nservers = [{list}]");
        let mut config = crate::config::parse(&text, Path::new("a.toml")).unwrap();
        config.upstreams.remove(0).servers
    }

    fn fake(HostPort { host, port }: &HostPort) -> io::Result<Vec<SocketAddr>> {
        match host.as_str() {
            "two.example" => {
                let last = [9, 1, 9].map(|last| SocketAddr::from(([10, 0, 0, last], *port)));
                Ok(last.to_vec())
            }
            "none.example" => Ok(Vec::new()),
            "silent.example" => loop {
                thread::park();
            },
            _ => Err(io::Error::other("name or service not known")),
        }
    }

    fn resolve(list: &str, limit: Duration) -> Result<Vec<Vec<String>>, Vec<String>> {
        let servers = servers(list);
        let resolution = Resolution::default().with(&servers, limit, fake);
        let resolution = resolution.map_err(|failed| {
            let reports = failed
                .into_iter()
                .map(|(_, problem)| format!("{} ({:?})", problem.message, problem.hint.as_deref()));
            reports.collect::<Vec<_>>()
        })?;
        let addresses = servers.iter().map(|server| {
            let addresses = resolution.addresses(server);
            addresses.iter().map(Address::to_string).collect()
        });
        Ok(addresses.collect())
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_name_gives_all_its_addresses_once_in_the_resolvers_order() {
        let resolved = resolve("\"two.example:81\", \"127.0.0.1\", \"two.example\"", LONG);
        let expected = [
            vec!["10.0.0.9:81", "10.0.0.1:81"],
            vec!["127.0.0.1:80"],
            vec!["10.0.0.9:80", "10.0.0.1:80"],
        ];
        assert_eq!(resolved.unwrap(), expected);
    }

    #[test]
    fn all_unknown_names_are_reported_with_nginxs_words() {
        let resolved = resolve("\"gone.example:3000\", \"none.example\"", LONG);
        let expected = [
            "host not found in upstream `gone.example:3000`: name or service not known \
             (Some(\"correct the name, or let this machine resolve it: \
             `getent hosts gone.example`\"))",
            "host not found in upstream `none.example` \
             (Some(\"correct the name, or let this machine resolve it: \
             `getent hosts none.example`\"))",
        ];
        assert_eq!(resolved.unwrap_err(), expected);
    }

    #[test]
    fn a_name_that_is_not_answered_for_is_given_up_and_the_others_are_not() {
        let short = Duration::from_millis(100);
        let resolved = resolve("\"two.example\", \"silent.example\"", short);
        let expected = [
            "host not found in upstream `silent.example`: no name server has answered within 100ms \
             (Some(\"correct the name, or let this machine resolve it: \
             `getent hosts silent.example`\"))",
        ];
        assert_eq!(resolved.unwrap_err(), expected);
    }

    #[test]
    fn names_are_asked_for_at_the_same_time_and_each_once() {
        let list: Vec<String> = (0..8).map(|n| format!("\"h{n}.example\"")).collect();
        let list = [&list[..], &list[..]].concat().join(",");
        let asked = Arc::new(AtomicUsize::new(0));
        let barrier = std::sync::Barrier::new(8);
        let counted = asked.clone();
        let ask = move |_: &HostPort| {
            counted.fetch_add(1, SeqCst);
            barrier.wait();
            Ok(vec![SocketAddr::from(([10, 0, 0, 1], 80))])
        };
        let servers = servers(&list);
        let resolution = Resolution::default().with(&servers, LONG, ask);
        assert!(resolution.is_ok());
        assert_eq!(asked.load(SeqCst), 8);
    }
}
