//! Which hosts and listeners a `server` has: names that count, and who is an address's first.

use std::collections::{HashMap, HashSet};

use regex::RegexBuilder;

use super::Translator;
use super::conditions::check_regex;
use super::expressions::of_ascii;
use super::listen::{self, Listen};
use super::scope::Scope;

/// A `server` of `http`.
pub(super) struct Server<'s> {
    pub(super) scope: Scope<'s>,
    pub(super) listens: Vec<Listen>,
    /// Names that count, in order.
    pub(super) names: Vec<String>,
    /// Whether it has names besides that cannot be said.
    pub(super) has_lost_names: bool,
    /// Addresses and names that an earlier server of the address has.
    taken: HashSet<(String, String)>,
}

impl Server<'_> {
    /// Its names at an address.
    pub(super) fn names_at(&self, address: &str) -> Vec<String> {
        let is_own = |name: &&String| {
            let at = (address.to_owned(), (*name).clone());
            !self.taken.contains(&at)
        };
        self.names.iter().filter(is_own).cloned().collect()
    }
}

/// An address and its servers, the first of which takes hosts that no other has.
pub(super) struct Address {
    pub(super) name: String,
    pub(super) servers: Vec<usize>,
    /// Those of which names are lost, in the same order.
    lost: Vec<usize>,
}

/// Listeners and hosts that routes are for.
pub(super) struct Target {
    pub(super) listen: Vec<String>,
    /// None for all hosts that no other route names.
    pub(super) hosts: Option<Vec<String>>,
    /// Whether requests that get there may be those of a server whose names are lost.
    pub(super) is_closed: bool,
}

impl Translator<'_> {
    /// A `server`, and the names of it that a request can have.
    pub(super) fn named_server<'s>(&self, scope: Scope<'s>) -> Server<'s> {
        let listens = listen::listens(&scope, "[[listen]]", self.accounts);
        let names = self.names(&scope);
        let mut said = scope.own("server_name").iter();
        let has_lost_names = said.any(|names| self.is_lost(names));
        Server {
            scope,
            listens,
            names,
            has_lost_names,
            taken: HashSet::new(),
        }
    }

    fn names(&self, scope: &Scope<'_>) -> Vec<String> {
        let accounts = self.accounts;
        let mut names: Vec<String> = Vec::new();
        for directive in scope.own("server_name") {
            let mut is_said = false;
            for name in &directive.arguments {
                if let Some(regex) = name.strip_prefix('~') {
                    match check_regex(regex) {
                        Ok(()) => names.push(of_ascii(name)),
                        Err(why) => accounts.lost(directive, why),
                    }
                    is_said = true;
                    continue;
                }
                let plain = name.trim_start_matches("*.").trim_start_matches('.');
                let plain = plain.strip_suffix(".*").unwrap_or(plain);
                let letters = |c: char| {
                    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '[' | ']' | ':')
                };
                let label = |label: &str| !label.is_empty();
                let is_host = plain.chars().all(letters) && plain.split('.').all(label);
                if name == "$hostname" {
                    accounts.lost(directive, "write the machine's name");
                } else if is_host && plain.chars().any(char::is_alphanumeric) {
                    names.push(name.to_ascii_lowercase());
                    is_said = true;
                } else if !plain.is_ascii() {
                    accounts.lost(
                        directive,
                        "write international names in their ASCII form, `xn--...`",
                    );
                }
            }
            match is_said {
                true => accounts.translated(directive, "`host` in `[[route]]`"),
                false => accounts.harmless(directive, "no request has this host"),
            }
        }
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }

    /// Of several servers of an address with one name, nginx takes the first
    /// (`ngx_http_server_names`).
    pub(super) fn drop_repeated_names(&self, servers: &mut [Server<'_>]) {
        let mut taken: HashMap<(String, String), usize> = HashMap::new();
        for (index, server) in servers.iter_mut().enumerate() {
            let Server {
                scope,
                listens,
                names,
                taken: of_others,
                ..
            } = server;
            names.retain(|name| {
                // A name with a dot in front is two, itself and all below, of which each may be taken.
                let both = name
                    .strip_prefix('.')
                    .map(|bare| [bare.to_owned(), format!("*.{bare}")]);
                let keys = both.map_or_else(|| vec![name.clone()], Vec::from);
                let mut free = 0;
                for listen in listens.iter() {
                    let is_free = keys.iter().all(|key| {
                        let key = (listen.address.clone(), key.clone());
                        *taken.entry(key).or_insert(index) == index
                    });
                    free += usize::from(is_free);
                    if !is_free {
                        of_others.insert((listen.address.clone(), name.clone()));
                    }
                }
                if free == 0 {
                    for directive in scope.own("server_name") {
                        self.accounts.changed(
                            directive,
                            format!(
                                "`{name}` is another server's of this address, which comes first"
                            ),
                        );
                    }
                }
                free > 0
            });
        }
    }

    /// The listeners and hosts of a server.
    pub(super) fn targets(
        &self,
        index: usize,
        servers: &[Server<'_>],
        addresses: &[Address],
    ) -> Vec<Target> {
        let Some(server) = servers.get(index) else {
            return Vec::new();
        };
        let mut first = Vec::new();
        let (mut other, mut contested) = (Vec::new(), Vec::new());
        // Where the names of another server are lost, its requests come to the first of the address,
        // or to a later one whose names are expressions.
        let (mut closed_first, mut closed_other) = (Vec::new(), Vec::new());
        let own: Vec<&str> = server
            .listens
            .iter()
            .map(|listen| &*listen.address)
            .collect();
        for address in addresses
            .iter()
            .filter(|address| own.contains(&&*address.name))
        {
            let is_first = address.servers.first() == Some(&index);
            let first_lost = address.lost.iter().find(|other| **other != index);
            if first_lost.is_some_and(|lost| is_first || *lost < index) {
                note(&mut closed_other, server.names_at(&address.name), address);
                if is_first {
                    closed_first.push(address.name.clone());
                }
                continue;
            }
            let names = server.names_at(&address.name);
            if !is_first {
                note(&mut other, names, address);
                continue;
            }
            first.push(address.name.clone());
            let others = address.servers.iter().filter(|other| **other != index);
            let mut others = others.filter_map(|other| servers.get(*other));
            let takes = |other: &Server<'_>| {
                let others = other.names_at(&address.name);
                let overlap = |pattern: &String| names.iter().any(|name| overlaps(pattern, name));
                others.iter().any(overlap)
            };
            if others.any(takes) {
                contested.push((names, address));
            }
        }
        let mut targets = Vec::new();
        for (names, address) in contested {
            note(&mut other, names, address);
        }
        let mut target = |listen: &[String], hosts: Option<&[String]>, is_closed| {
            if !listen.is_empty() && hosts.is_none_or(|hosts| !hosts.is_empty()) {
                targets.push(Target {
                    listen: listen.to_vec(),
                    hosts: hosts.map(<[String]>::to_vec),
                    is_closed,
                });
            }
        };
        for (names, listen) in &other {
            target(listen, Some(names), false);
        }
        for (names, listen) in closed_other {
            let is_regex = |name: &String| name.starts_with('~');
            let (regexes, plain): (Vec<String>, Vec<String>) =
                names.into_iter().partition(is_regex);
            target(&listen, Some(&plain), false);
            target(&listen, Some(&regexes), true);
        }
        target(&first, None, false);
        target(&closed_first, None, true);
        if targets.is_empty()
            && let Some(directive) = server.scope.directive
            && !server.listens.is_empty()
        {
            self.accounts
                .harmless(directive, "no request leads there: it has no name");
        }
        targets
    }
}

/// Names, and the addresses at which a server has these.
type NamesAt = (Vec<String>, Vec<String>);

/// Adds an address to those with the same names.
fn note(all: &mut Vec<NamesAt>, names: Vec<String>, address: &Address) {
    match all.iter_mut().find(|(known, _)| *known == names) {
        Some((_, listen)) => listen.push(address.name.clone()),
        None => all.push((names, vec![address.name.clone()])),
    }
}

/// The server that a host comes to at an address (`ngx_http_find_virtual_server`).
pub(super) fn server_of(host: &str, address: &Address, servers: &[Server<'_>]) -> Option<usize> {
    let mut indexes = address.servers.clone();
    indexes.sort_unstable();
    // What is compared first counts most, then how much of the host a name has.
    let rank = |name: &String| {
        if name.strip_prefix('.').unwrap_or(name) == host {
            return Some((3, host.len()));
        }
        if let Some(regex) = name.strip_prefix('~') {
            let regex = RegexBuilder::new(regex).case_insensitive(true).build();
            return regex
                .is_ok_and(|regex| regex.is_match(host))
                .then_some((0, 0));
        }
        let is_below = name.starts_with(['.', '*']) && host.ends_with(name.trim_start_matches('*'));
        let is_above = || {
            name.strip_suffix('*')
                .is_some_and(|front| host.starts_with(front))
        };
        match is_below {
            true => Some((2, name.trim_start_matches('*').len())),
            false => is_above().then_some((1, name.len())),
        }
    };
    let mut best: Option<((u8, usize), usize)> = None;
    for index in indexes {
        let Some(server) = servers.get(index) else {
            continue;
        };
        let names = server.names_at(&address.name);
        let highest = names.iter().filter_map(rank).max();
        if let Some(highest) = highest
            && best.is_none_or(|(known, _)| known < highest)
        {
            best = Some((highest, index));
        }
    }
    best.map(|(_, index)| index)
        .or(address.servers.first().copied())
}

/// The addresses of all servers, in the order of the file.
pub(super) fn addresses(servers: &[Server<'_>]) -> Vec<Address> {
    let mut addresses: Vec<Address> = Vec::new();
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    for (index, server) in servers.iter().enumerate() {
        for listen in &server.listens {
            let at = *by_name.entry(&listen.address).or_insert_with(|| {
                addresses.push(Address {
                    name: listen.address.clone(),
                    servers: Vec::new(),
                    lost: Vec::new(),
                });
                addresses.len() - 1
            });
            let Some(Address { servers, .. }) = addresses.get_mut(at) else {
                continue;
            };
            // It can only be the one that was added last.
            if servers.first() == Some(&index) || servers.last() == Some(&index) {
                continue;
            }
            match listen.default_server {
                true => servers.insert(0, index),
                false => servers.push(index),
            }
        }
    }
    for address in &mut addresses {
        let is_lost = |index: &&usize| {
            let server = servers.get(**index);
            server.is_some_and(|server| server.has_lost_names)
        };
        address.lost = address.servers.iter().filter(is_lost).copied().collect();
    }
    addresses
}

/// Whether a pattern of another server could take a host of this name.
pub(super) fn overlaps(pattern: &str, name: &str) -> bool {
    if pattern.starts_with('~') {
        return true;
    }
    let suffix = pattern
        .strip_prefix('*')
        .or_else(|| pattern.starts_with('.').then_some(pattern));
    if let Some(suffix) = suffix {
        return name.ends_with(suffix) || name.starts_with('~') || name.ends_with('*');
    }
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix) || name.starts_with(['~', '*', '.']),
        None => false,
    }
}

/// A host pattern as a regular expression.
pub(super) fn host_regex(name: &str) -> String {
    if let Some(regex) = name.strip_prefix('~') {
        return format!(".*(?:{regex}).*");
    }
    let (front, rest) = match name.strip_prefix("*.") {
        Some(rest) => (".+\\.", rest),
        None => match name.strip_prefix('.') {
            Some(rest) => ("(?:.+\\.)?", rest),
            None => ("", name),
        },
    };
    let (rest, back) = match rest.strip_suffix(".*") {
        Some(rest) => (rest, "\\..+"),
        None => (rest, ""),
    };
    format!("{front}{}{back}", regex::escape(rest))
}
