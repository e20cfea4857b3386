//! Rules in the order of the configuration, and the same as a table that is searched.
//!
//! Each family of addresses is cut where rules begin and end; between two cuts the first rule that
//! covers them decides. A search takes as many steps as the number of cuts has bits, however many
//! rules there are.

use std::collections::BTreeSet;
use std::net::IpAddr;

use waypost_sdk::{Network, Settings, SettingsError, log};

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Allow,
    Deny,
}

/// All rules of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    ipv4: Table<u32>,
    ipv6: Table<u128>,
    unix: Option<Decision>,
}

/// One rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    decision: Decision,
    clients: Network,
}

impl Rules {
    /// Reads `rules`. None if they are not there.
    pub(crate) fn read(settings: &mut Settings) -> Result<Option<Rules>, SettingsError> {
        let texts = settings.texts("rules")?;
        let rules = texts.iter().enumerate().map(|(n, text)| {
            Rule::parse(text).map_err(|message| settings.error(&format!("rules[{n}]"), &message))
        });
        let rules = rules.collect::<Result<Vec<_>, _>>()?;
        Ok((!rules.is_empty()).then(|| Rules::new(&rules)))
    }

    pub(crate) fn new(rules: &[Rule]) -> Rules {
        let decisions: Vec<_> = rules.iter().map(|rule| rule.decision).collect();
        let ipv4 = rules.iter().map(|rule| {
            let range = rule.clients.ipv4()?;
            Some((u128::from(*range.start()), u128::from(*range.end())))
        });
        let ipv6 = rules.iter().map(|rule| {
            let range = rule.clients.ipv6()?;
            Some((*range.start(), *range.end()))
        });
        let of_unix = |rule: &&Rule| rule.clients.contains(None);
        Rules {
            ipv4: Table::new(&decisions, ipv4),
            ipv6: Table::new(&decisions, ipv6),
            unix: rules.iter().find(of_unix).map(|rule| rule.decision),
        }
    }

    /// What the first rule for this client says; the client of a unix socket has no address.
    pub(crate) fn decide(&self, client: Option<IpAddr>) -> Option<Decision> {
        match client {
            Some(IpAddr::V4(address)) => self.ipv4.find(address.to_bits()),
            Some(IpAddr::V6(address)) => self.ipv6.find(address.to_bits()),
            None => self.unix,
        }
    }
}

impl Rule {
    /// Reads `allow 10.0.0.0/8`, `deny all`, `deny unix:`.
    pub(crate) fn parse(text: &str) -> Result<Rule, String> {
        if text.ends_with(';') {
            return Err(format!("leave out the `;` of `{text}`"));
        }
        let mut words = text.split_ascii_whitespace();
        let decision = match words.next() {
            Some("allow") => Decision::Allow,
            Some("deny") => Decision::Deny,
            _ => {
                return Err(format!(
                    "a rule begins with `allow` or `deny`, as \"deny 10.0.0.1\"; this is `{text}`"
                ));
            }
        };
        let (Some(clients), None) = (words.next(), words.next()) else {
            return Err(format!(
                "`{text}` must name one address or block: write a rule for each"
            ));
        };
        let network = Network::parse(clients)?;
        warn_of_low_bits(clients, network);
        Ok(Rule {
            decision,
            clients: network,
        })
    }
}

/// Says that a block does not begin where it seems to, in the words of nginx's `ngx_ptocidr`.
fn warn_of_low_bits(text: &str, network: Network) {
    let address = text.split('/').next().and_then(|text| text.parse().ok());
    let begins = match address.map(|address: IpAddr| address.to_canonical()) {
        Some(IpAddr::V4(address)) => network
            .ipv4()
            .map(|range| *range.start() == address.to_bits()),
        Some(IpAddr::V6(address)) => network
            .ipv6()
            .map(|range| *range.start() == address.to_bits()),
        None => None,
    };
    if begins == Some(false) {
        log::warn(&format!(
            "access: low address bits of {text} are meaningless"
        ));
    }
}

/// The addresses of a family, cut where decisions change: from each cut on, up to the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Table<A> {
    cuts: Vec<(A, Option<Decision>)>,
}

impl<A: Copy + Ord + TryFrom<u128>> Table<A> {
    /// Of the blocks of rules, none where a rule is about others.
    fn new(decisions: &[Decision], blocks: impl Iterator<Item = Option<(u128, u128)>>) -> Table<A> {
        let mut ends = Vec::new();
        for (rule, block) in blocks.enumerate() {
            let Some((first, last)) = block else { continue };
            ends.push((first, rule, true));
            if let Some(after) = last.checked_add(1) {
                ends.push((after, rule, false));
            }
        }
        ends.sort_unstable();
        let mut cuts: Vec<(A, Option<Decision>)> = Vec::new();
        let mut open = BTreeSet::new();
        for here in ends.chunk_by(|one, other| one.0 == other.0) {
            for &(_, rule, begins) in here {
                match begins {
                    true => open.insert(rule),
                    false => open.remove(&rule),
                };
            }
            // What is behind the last address of the family belongs to nothing.
            let Ok(address) = A::try_from(here[0].0) else {
                continue;
            };
            let decision = open.first().map(|&rule| decisions[rule]);
            if cuts.last().is_none_or(|&(_, before)| before != decision) {
                cuts.push((address, decision));
            }
        }
        Table { cuts }
    }

    fn find(&self, address: A) -> Option<Decision> {
        let after = self.cuts.partition_point(|&(cut, _)| cut <= address);
        self.cuts[..after]
            .last()
            .and_then(|&(_, decision)| decision)
    }
}
