//! Rules in the order of the configuration, and the same as a table that is searched.
//!
//! Each family of addresses is cut where rules begin and end; between two cuts the first rule that
//! covers them decides. A search takes as many steps as the number of cuts has bits, however many
//! rules there are.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use waypost_sdk::{Settings, SettingsError, log};

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
    clients: Clients,
}

/// Whom a rule is about. Blocks are from their first to their last address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clients {
    All,
    Unix,
    Ipv4(u32, u32),
    Ipv6(u128, u128),
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
        let ipv4 = rules.iter().map(|rule| match rule.clients {
            Clients::All => Some((0, u32::MAX.into())),
            Clients::Ipv4(first, last) => Some((first.into(), last.into())),
            Clients::Ipv6(..) | Clients::Unix => None,
        });
        let ipv6 = rules.iter().map(|rule| match rule.clients {
            Clients::All => Some((0, u128::MAX)),
            Clients::Ipv6(first, last) => Some((first, last)),
            Clients::Ipv4(..) | Clients::Unix => None,
        });
        let of_unix = |rule: &&Rule| matches!(rule.clients, Clients::All | Clients::Unix);
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
        Ok(Rule {
            decision,
            clients: Clients::parse(clients)?,
        })
    }
}

impl Clients {
    fn parse(text: &str) -> Result<Clients, String> {
        match text {
            "all" => return Ok(Clients::All),
            "unix:" => return Ok(Clients::Unix),
            _ => {}
        }
        let wrong = || {
            format!("`{text}` must be an address, a block such as `10.0.0.0/8`, `unix:` or `all`")
        };
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => {
                let digits = length.bytes().all(|digit| digit.is_ascii_digit());
                let length = length.parse::<u8>().ok().filter(|_| digits);
                (address, Some(length.ok_or_else(wrong)?))
            }
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(bits);
        if length > bits {
            return Err(wrong());
        }
        let (clients, begins) = Clients::block(address, length);
        if !begins {
            // nginx: ngx_ptocidr, NGX_DONE.
            log::warn(&format!(
                "access: low address bits of {text} are meaningless"
            ));
        }
        Ok(clients)
    }

    /// The block of this length that an address is in, and whether it begins there.
    fn block(address: IpAddr, length: u8) -> (Clients, bool) {
        match address {
            IpAddr::V4(address) => {
                let rest = u32::MAX.checked_shr(length.into()).unwrap_or(0);
                let first = address.to_bits() & !rest;
                (
                    Clients::Ipv4(first, first | rest),
                    first == address.to_bits(),
                )
            }
            IpAddr::V6(address) => Clients::ipv6_block(address, length),
        }
    }

    fn ipv6_block(address: Ipv6Addr, length: u8) -> (Clients, bool) {
        // A client's mapped address arrives as the IPv4 address that it is.
        if let (Some(address), 96..) = (address.to_ipv4_mapped(), length) {
            return Clients::block(IpAddr::V4(address), length - 96);
        }
        let rest = u128::MAX.checked_shr(length.into()).unwrap_or(0);
        let first = address.to_bits() & !rest;
        (
            Clients::Ipv6(first, first | rest),
            first == address.to_bits(),
        )
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
