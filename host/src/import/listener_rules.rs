//! `rewrite` of a `server`: hooks of its listeners, for its hosts alone.

use regex::RegexBuilder;

use super::Translator;
use super::hosts::{Address, Server, host_regex};
use super::rewriting::{self, Rule};
use super::steps::BEFORE_CONDITIONS;
use super::writer::text;

impl Translator<'_> {
    /// Rules of a server: hooks of its listeners. Returns whether they can be said.
    pub(super) fn rules_of_server(
        &mut self,
        server: &Server<'_>,
        rules: &[Rule],
        others: &dyn Fn() -> Vec<Others>,
    ) -> bool {
        if rules.is_empty() {
            return true;
        }
        let others = &*others();
        let is_alone = others.iter().all(|others| others.are_none);
        let is_plain = rules.iter().all(|rule| rule.when.is_none());
        let own: Vec<String> = server.names.iter().map(|name| host_regex(name)).collect();
        let overlap = others.iter().any(|others| {
            let all: Vec<String> = others.names.iter().map(|name| host_regex(name)).collect();
            let (own, all) = (hosts_regex(&own), hosts_regex(&all));
            others.names.iter().any(|name| fits(&own, name))
                || (others.are_told_apart && server.names.iter().any(|name| fits(&all, name)))
        });
        let needs_names = others.iter().any(|others| !others.are_told_apart);
        let answered = || rules.iter().flat_map(|rule| &rule.not_hosts);
        // Of a pattern, one host cannot be left out.
        let is_within = |host: &String| {
            let mut names = server.names.iter().zip(&own);
            names.any(|(name, regex)| {
                name != host && fits(&hosts_regex(std::slice::from_ref(regex)), host)
            })
        };
        let is_lost = !is_alone
            && (!is_plain
                || overlap
                || (needs_names && (own.is_empty() || answered().any(is_within))));
        for directive in server.scope.own("rewrite") {
            match is_lost {
                false if is_alone => {}
                false => self.accounts.translated(
                    directive,
                    "a rule of the hook `rewrite` of the listener, for the server's hosts",
                ),
                true => self.accounts.lost(
                    directive,
                    "rules of one of several servers of an address need names that no other one has, \
                     and no other condition",
                ),
            }
        }
        if is_lost {
            return false;
        }
        let are_first = !is_alone && rules.iter().any(|rule| rule.behind.is_some());
        for directive in server.scope.own("rewrite").iter().filter(|_| are_first) {
            self.accounts.changed(directive, BEFORE_CONDITIONS);
        }
        for others in others {
            let names: Vec<String> = others.names.iter().map(|name| host_regex(name)).collect();
            let mut rules = rules.to_vec();
            for rule in &mut rules {
                let not: Vec<String> = rule.not_hosts.iter().map(|host| host_regex(host)).collect();
                let is_left = |regex: &&String| !not.contains(regex);
                let when = match (others.are_none, others.are_told_apart) {
                    (true, _) if not.is_empty() => {
                        rule.when = rule.when.take().or(rule.behind.take());
                        continue;
                    }
                    (true, _) => format!("$host !~* {}", hosts_regex(&not)),
                    (false, true) => {
                        let all: Vec<String> = names.iter().chain(&not).cloned().collect();
                        format!("$host !~* {}", hosts_regex(&all))
                    }
                    (false, false) => {
                        let left: Vec<String> = own.iter().filter(is_left).cloned().collect();
                        format!("$host ~* {}", hosts_regex(&left))
                    }
                };
                rule.when = Some(when);
            }
            let hook = rewriting::hook(&rules);
            let address = text(&others.listen);
            let mut listens = self.out.listens.iter_mut();
            let Some(block) = listens.find(|block| block.keys.get("address") == Some(&address))
            else {
                continue;
            };
            block.extend_list("hooks", vec![hook]);
        }
        true
    }
}

/// The other servers of an address.
pub(super) struct Others {
    listen: String,
    are_none: bool,
    /// Where they matter: names that are written out belong to one server each.
    names: Vec<String>,
    /// Whether it is by those names that requests are told apart: this server is the first one, which
    /// answers all other hosts.
    are_told_apart: bool,
}

/// For each address of a server, the others there.
pub(super) fn others_of(
    index: usize,
    servers: &[Server<'_>],
    addresses: &[Address],
) -> Vec<Others> {
    let is_pattern = |name: &String| name.starts_with(['~', '.']) || name.contains('*');
    let has_patterns = |names: &[String]| names.iter().any(is_pattern);
    let own = addresses
        .iter()
        .filter(|address| address.servers.contains(&index));
    let others = own.map(|address| {
        let names = |index: usize| {
            let server = servers.get(index);
            server.map_or_else(Vec::new, |server| server.names_at(&address.name))
        };
        let are_told_apart = address.servers.first() == Some(&index);
        let mut others = address
            .servers
            .iter()
            .filter(|other| **other != index)
            .flat_map(|other| names(*other))
            .peekable();
        let are_none = others.peek().is_none();
        Others {
            listen: address.name.clone(),
            are_none,
            names: match has_patterns(&names(index)) || are_told_apart {
                true => others.collect(),
                false => Vec::new(),
            },
            are_told_apart,
        }
    });
    others.collect()
}

/// An expression for hosts that one of these fits.
fn hosts_regex(hosts: &[String]) -> String {
    format!("^({})$", hosts.join("|"))
}

/// Whether an expression for hosts fits a name, or one of those that a wildcard stands for.
fn fits(hosts: &str, name: &str) -> bool {
    let regex = RegexBuilder::new(hosts).case_insensitive(true).build();
    let name = name.trim_start_matches('.').replace('*', "x");
    regex.is_ok_and(|regex| regex.is_match(&name))
}
