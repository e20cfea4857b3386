//! Answers, by name, at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::doubt::Doubt;
use crate::config::model::{Address, AddressRule, ServerLocation, ServerName, UpstreamServer};

/// What names stand for at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Resolution(pub(super) Arc<BTreeMap<ServerName, ServerAddresses>>);

/// Where one server is at this moment; nowhere, where its name is not known.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerAddresses {
    pub(crate) located: Arc<[Located]>,
    /// To be raised where one of them cannot be reached; none for what is not asked for again.
    pub(crate) doubt: Option<Arc<Doubt>>,
}

/// What names are taken to stand for until they have been asked about.
pub(crate) type Supposed = BTreeMap<ServerName, Arc<[Located]>>;

/// One of a server's addresses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Located {
    pub(crate) address: Address,
    /// What its service says of it, if it was found by one.
    pub(crate) service: Option<OfService>,
}

/// What an SRV record says (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OfService {
    /// The host that it names.
    pub(crate) target: Box<str>,
    pub(crate) weight: u16,
    /// Another one of the same service has a lower priority number.
    pub(crate) backup: bool,
}

impl Resolution {
    /// Of one server.
    pub(crate) fn addresses(&self, server: &UpstreamServer) -> ServerAddresses {
        match &server.location {
            ServerLocation::Address(address) => {
                ServerAddresses::fixed(vec![Located::at(address.clone())])
            }
            ServerLocation::Name(name) => match &server.rule {
                Some(rule) => self.of(name).permitted(rule),
                None => self.of(name),
            },
        }
    }

    /// Whether there was an answer about a name, be it that it stands for nothing.
    pub(crate) fn knows(&self, name: &ServerName) -> bool {
        self.0.contains_key(name)
    }

    /// Of a name.
    pub(crate) fn of(&self, name: &ServerName) -> ServerAddresses {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// With the answer about one more name.
    pub(crate) fn with(&self, name: ServerName, addresses: ServerAddresses) -> Resolution {
        let mut answers = BTreeMap::clone(&self.0);
        answers.insert(name, addresses);
        Resolution(Arc::new(answers))
    }

    /// With what these names are supposed to stand for.
    pub(crate) fn supposing(&self, supposed: &Supposed) -> Resolution {
        let mut answers = BTreeMap::clone(&self.0);
        for (name, located) in supposed {
            let addresses = ServerAddresses {
                located: located.clone(),
                doubt: None,
            };
            answers.entry(name.clone()).or_insert(addresses);
        }
        Resolution(Arc::new(answers))
    }

    /// Of these names alone.
    pub(crate) fn only(&self, names: &BTreeSet<ServerName>) -> Resolution {
        let answers = self.0.iter().filter(|(name, _)| names.contains(name));
        let answers = answers.map(|(name, addresses)| (name.clone(), addresses.clone()));
        Resolution(Arc::new(answers.collect()))
    }

    /// This one, with the answers of the other where both have one.
    pub(crate) fn updated(&self, newer: &Resolution) -> Resolution {
        let mut answers = BTreeMap::clone(&self.0);
        for (name, addresses) in &*newer.0 {
            answers.insert(name.clone(), addresses.clone());
        }
        Resolution(Arc::new(answers))
    }
}

/// The same addresses, however doubts about them are raised.
impl PartialEq for ServerAddresses {
    fn eq(&self, other: &ServerAddresses) -> bool {
        self.located == other.located
    }
}

impl ServerAddresses {
    /// Those that stay what they are.
    pub(super) fn fixed(located: Vec<Located>) -> ServerAddresses {
        ServerAddresses {
            located: located.into(),
            doubt: None,
        }
    }

    /// Those that may be dialed.
    pub(crate) fn permitted(&self, rule: &AddressRule) -> ServerAddresses {
        let may = |located: &&Located| match &located.address {
            Address::Tcp(address) => rule.permits(address.ip(), address.port()),
            Address::Unix(_) => false,
        };
        let permitted: Vec<Located> = self.located.iter().filter(may).cloned().collect();
        ServerAddresses {
            located: match permitted.len() == self.located.len() {
                true => self.located.clone(),
                false => permitted.into(),
            },
            doubt: self.doubt.clone(),
        }
    }

    /// As a list of addresses.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Address> {
        self.located.iter().map(|located| &located.address)
    }
}

impl Located {
    pub(crate) fn at(address: Address) -> Located {
        Located {
            address,
            service: None,
        }
    }

    pub(crate) fn is_backup(&self) -> bool {
        self.service.as_ref().is_some_and(|service| service.backup)
    }
}

/// Those of any name.
#[cfg(test)]
pub(crate) fn tests_addresses() -> ServerAddresses {
    ServerAddresses::fixed(vec![Located::at(Address::Tcp(([10, 0, 0, 9], 80).into()))])
}
