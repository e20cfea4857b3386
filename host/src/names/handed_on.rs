//! What is known of names, on its way to the process that takes over: it may find the name servers
//! dead, and must not know less than the one before it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::resolution::{Located, OfService, Resolution};
use crate::config::model::{Address, Lookup, ServerName};

/// Bytes in all: the kernel takes 128 KiB for a variable of the environment (execve(2)).
const MOST: usize = 96 << 10;

/// Addresses by what was asked about them.
pub(super) type Seeds = BTreeMap<Seed, Arc<[Located]>>;

/// A host, what is asked about it, and whom: others may call another one by its name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seed {
    host: String,
    lookup: Lookup,
    asked: Vec<SocketAddr>,
}

impl Seed {
    pub(super) fn of(name: &ServerName) -> Seed {
        Seed {
            host: name.host.clone(),
            lookup: name.lookup.clone(),
            asked: name.resolver.addresses.clone(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct KnownName {
    host: String,
    /// None for a service.
    port: Option<u16>,
    service: Option<String>,
    /// Name servers; none for those of the machine.
    #[serde(default)]
    asked: Vec<SocketAddr>,
    addresses: Vec<KnownAddress>,
}

#[derive(Serialize, Deserialize)]
struct KnownAddress {
    address: SocketAddr,
    service: Option<(String, u16, bool)>,
}

/// As one line of text, as far as there is room.
pub(super) fn written(resolution: &Resolution) -> String {
    let mut lines = String::new();
    for (name, addresses) in &*resolution.0 {
        let (port, service) = match &name.lookup {
            Lookup::Addresses(port) => (Some(*port), None),
            Lookup::Service(service) => (None, Some(service.clone())),
        };
        let of_tcp = addresses.located.iter().filter_map(|located| {
            let Address::Tcp(address) = located.address else {
                return None;
            };
            let service = located.service.as_ref();
            let service = service.map(|of| (String::from(of.target.clone()), of.weight, of.backup));
            Some(KnownAddress { address, service })
        });
        let known = KnownName {
            host: name.host.clone(),
            port,
            service,
            asked: name.resolver.addresses.clone(),
            addresses: of_tcp.collect(),
        };
        let Ok(line) = serde_json::to_string(&known) else {
            continue;
        };
        if lines.len() + line.len() >= MOST {
            break;
        }
        lines += &line;
        lines.push('\n');
    }
    lines
}

/// What a process before this one has [written]; what makes no sense is passed over.
pub(super) fn read(text: &str) -> Seeds {
    let names = text
        .lines()
        .filter_map(|line| serde_json::from_str::<KnownName>(line).ok());
    let seeds = names.filter_map(|name| {
        let lookup = match (name.port, name.service) {
            (Some(port), None) => Lookup::Addresses(port),
            (None, Some(service)) => Lookup::Service(service),
            _ => return None,
        };
        let located = name.addresses.into_iter().map(|known| Located {
            address: Address::Tcp(known.address),
            service: known.service.map(|(target, weight, backup)| OfService {
                target: target.into(),
                weight,
                backup,
            }),
        });
        let seed = Seed {
            host: name.host,
            lookup,
            asked: name.asked,
        };
        Some((seed, located.collect()))
    });
    seeds.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::super::resolution::ServerAddresses;
    use super::*;
    use crate::config::model::{Resolver, tests_resolver};

    #[test]
    fn what_is_written_is_read_again() {
        let resolver = Arc::new(tests_resolver());
        let name = |host: &str, lookup| ServerName {
            host: host.to_owned(),
            lookup,
            resolver: resolver.clone(),
        };
        let plain = Located::at(Address::Tcp(([10, 0, 0, 1], 80).into()));
        let of_service = Located {
            service: Some(OfService {
                target: "one.test".into(),
                weight: 7,
                backup: true,
            }),
            ..plain.clone()
        };
        let service = Lookup::Service("http".to_owned());
        let known = [
            (name("a\n.test", Lookup::Addresses(80)), vec![plain.clone()]),
            (name("b.test", service.clone()), vec![of_service.clone()]),
        ];
        let known = known.map(|(name, located)| (name, ServerAddresses::fixed(located)));
        let seeds = read(&written(&Resolution(Arc::new(known.into()))));
        let found = |host: &str, lookup| seeds.get(&Seed::of(&name(host, lookup))).cloned();
        assert_eq!(
            found("a\n.test", Lookup::Addresses(80)),
            Some([plain].into())
        );
        assert_eq!(found("b.test", service), Some([of_service].into()));
        assert!(read("nonsense\n{}\n{\"host\":\"x\",\"addresses\":[]}").is_empty());
    }

    /// Others may know another host by its name, and have more than one thing asked about it.
    #[test]
    fn what_was_asked_about_another_name_or_of_others_is_not_mistaken_for_it() {
        let asked = |address: &str| Resolver {
            addresses: vec![address.parse().unwrap()],
            ..tests_resolver()
        };
        let name = |host: &str, lookup, resolver: &Resolver| ServerName {
            host: host.to_owned(),
            lookup,
            resolver: Arc::new(resolver.clone()),
        };
        let (one, other) = (asked("10.0.0.53:53"), asked("10.0.1.53:53"));
        let service = |name: &str| Lookup::Service(name.to_owned());
        let names = [
            name("a.test", Lookup::Addresses(80), &one),
            name("b.test", Lookup::Addresses(80), &one),
            name("a.test", Lookup::Addresses(81), &one),
            name("a.test", service("http"), &one),
            name("a.test", service("grpc"), &one),
            name("a.test", Lookup::Addresses(80), &other),
        ];
        let at = |last: usize| {
            let last = u8::try_from(last).unwrap();
            vec![Located::at(Address::Tcp(([10, 0, 0, last], 80).into()))]
        };
        let known = names.iter().cloned().enumerate();
        let known = known.map(|(index, name)| (name, ServerAddresses::fixed(at(index))));
        let seeds = read(&written(&Resolution(Arc::new(known.collect()))));
        for (index, name) in names.iter().enumerate() {
            let found = seeds.get(&Seed::of(name)).cloned();
            assert_eq!(found, Some(at(index).into()), "{name:?}");
        }
    }
}
