//! `upstream`: groups of servers, and those that a `proxy_pass` names without one.
//!
//! One group of nginx may become several: what is said of TLS at each `proxy_pass` belongs to the
//! upstream here.

use std::collections::{HashMap, HashSet};

use super::policies::policy;
use super::report::Accounts;
use super::scope::Scope;
use super::tree::Directive;
use super::values;
use super::words::Words;
use super::writer::{Block, Table, list, text};
use crate::config::duration_text;
use crate::http::variable::Phase;

/// The port of a server that names none, whatever it speaks (`ngx_http_upstream_server`).
const DEFAULT_PORT: &str = "80";

pub(super) struct Upstreams<'a> {
    /// In the order of the file.
    declared: Vec<Declared<'a>>,
    by_name: HashMap<&'a str, usize>,
    /// Those made for a server that has no group.
    made: Vec<(String, Table, Block)>,
    taken: HashSet<String>,
}

struct Declared<'a> {
    directive: &'a Directive,
    /// For requests, or for connections.
    phase: Phase,
    /// What places that lead to it say besides, and under which name they find it.
    variants: Vec<(Table, String)>,
    /// How a place that leads to it has its servers checked.
    check: Option<Table>,
}

impl<'a> Upstreams<'a> {
    /// `http` and `stream` have names of their own.
    pub(super) fn new() -> Upstreams<'a> {
        Upstreams {
            declared: Vec::new(),
            by_name: HashMap::new(),
            made: Vec::new(),
            taken: HashSet::new(),
        }
    }

    /// Makes the groups of a context known.
    pub(super) fn declare(&mut self, scope: &Scope<'a>, phase: Phase) {
        self.by_name.clear();
        for directive in scope.own("upstream") {
            let name = directive.argument(0);
            self.by_name.insert(name, self.declared.len());
            self.declared.push(Declared {
                directive,
                phase,
                variants: Vec::new(),
                check: None,
            });
        }
    }

    /// Has the servers of a group checked; false where they are, in another way.
    pub(super) fn check(&mut self, name: &str, check: &Table) -> bool {
        let index = self.by_name.get(name).copied();
        match index.and_then(|index| self.declared.get_mut(index)) {
            Some(group) => group.check.get_or_insert_with(|| check.clone()) == check,
            None => false,
        }
    }

    pub(super) fn is_declared(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The name of the upstream for a group, or for the server at an address, of which a place says
    /// `extra`. None for an address of which nothing is said: it needs no upstream.
    pub(super) fn find(&mut self, name: &str, extra: &Table) -> Option<String> {
        if let Some(index) = self.by_name.get(name) {
            let declared = self.declared.get_mut(*index)?;
            let known = declared.variants.iter().find(|(table, _)| table == extra);
            if let Some((_, name)) = known {
                return Some(name.clone());
            }
            let free = free_name(&mut self.taken, name);
            declared.variants.push((extra.clone(), free.clone()));
            return Some(free);
        }
        (!extra.is_empty()).then(|| self.made_for(name, extra))
    }

    /// As [`find`](Upstreams::find), for what an upstream is named by, also where nothing is said of
    /// an address.
    pub(super) fn named(&mut self, name: &str, extra: &Table) -> String {
        let found = self.find(name, extra);
        found.unwrap_or_else(|| self.made_for(name, extra))
    }

    /// The name of the upstream for an address.
    fn made_for(&mut self, name: &str, extra: &Table) -> String {
        let known = self.made.iter();
        let mut known = known.filter(|(address, table, _)| address == name && table == extra);
        if let Some((_, _, block)) = known.next() {
            return name_of(block);
        }
        let host = name.split(':').next().unwrap_or(name);
        let host = match host {
            "unix" => name.rsplit('/').next().unwrap_or(name),
            host => host,
        };
        let free = free_name(&mut self.taken, host);
        let mut block = Block::new(format!("[upstream.{}]", super::writer::key(&free)));
        let scheme = match extra.get("tls") {
            Some(_) => "https://",
            None => "",
        };
        block
            .keys
            .set("servers", list([text(&format!("{scheme}{name}"))]));
        copy(extra, &mut block.keys);
        self.made.push((name.to_owned(), extra.clone(), block));
        free
    }

    /// The blocks of the file, in the order of nginx's.
    pub(super) fn into_blocks(mut self, words: &mut Words<'_>) -> Vec<Block> {
        let mut blocks = Vec::new();
        let declared = std::mem::take(&mut self.declared);
        for group in declared {
            let mut variants = group.variants;
            if variants.is_empty() {
                let name = free_name(&mut self.taken, group.directive.argument(0));
                variants.push((Table::new(), name));
            }
            words.go_to(group.phase);
            for (extra, name) in variants {
                let said = (group.phase, group.check.clone());
                blocks.push(block(group.directive, &name, &extra, said, words));
            }
        }
        blocks.extend(self.made.into_iter().map(|(_, _, block)| block));
        blocks
    }
}

fn name_of(block: &Block) -> String {
    let name = block.title.trim_start_matches("[upstream.");
    name.trim_end_matches(']').trim_matches('"').to_owned()
}

/// The name, or the name with a number behind it.
fn free_name(taken: &mut HashSet<String>, name: &str) -> String {
    let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '$' | '/' | '"' | '\'' | ']');
    let clean: String = name
        .chars()
        .map(|c| if allowed(c) { c } else { '_' })
        .collect();
    let mut free = clean.clone();
    let mut number = 2;
    while !taken.insert(free.clone()) {
        free = format!("{clean}-{number}");
        number += 1;
    }
    free
}

fn copy(extra: &Table, keys: &mut Table) {
    for name in [
        "tls",
        "http2",
        "proxy_protocol",
        "response_header_size",
        "connect_timeout",
    ] {
        if let Some(value) = extra.get(name) {
            keys.set(name, value);
        }
    }
    for name in [
        "next_upstream",
        "next_upstream_tries",
        "next_upstream_timeout",
    ] {
        if let Some(value) = extra.get(name) {
            keys.set(name, value);
        }
    }
}

fn block(
    directive: &Directive,
    name: &str,
    extra: &Table,
    (phase, check): (Phase, Option<Table>),
    words: &Words<'_>,
) -> Block {
    let accounts = words.accounts;
    let mut block = Block::new(format!("[upstream.{}]", super::writer::key(name)));
    block.range = Some((directive.id, directive.last));
    block.comments = super::comments::of_block(directive);
    accounts.translated(directive, format!("`[upstream.{name}]`"));
    let over_tls = extra.get("tls").is_some();
    let mut servers = Vec::new();
    for child in directive.children() {
        match &*child.name {
            "server" => servers.extend(server(child, over_tls, accounts)),
            // Only full servers are waited for.
            "queue" if !has_bounds(directive) => accounts.changed(
                child,
                "nothing would wait: requests wait for servers that are full, and none has \
                 `max_conns`; where all have failed, a request is a 502 at once",
            ),
            "zone" => accounts.built_in(child, "workers share what they know of a server"),
            _ => setting(child, &mut block.keys, phase, words),
        }
    }
    let policy = block.keys.remove("policy");
    let rest = std::mem::take(&mut block.keys);
    let servers = super::writer::long_list("servers", &servers);
    block.keys.set("servers", servers);
    if let Some(policy) = policy {
        block.keys.set("policy", policy);
    }
    if let Some(check) = super::checks::of_group(directive, accounts).or(check) {
        match check.is_empty() {
            true => block.keys.set("health_check", "true"),
            false => block.tables.push(("health_check", check)),
        }
    }
    for name in [
        "queue",
        "state",
        "keepalive",
        "keepalive_requests",
        "keepalive_time",
        "keepalive_timeout",
        "resolver",
    ] {
        if let Some(value) = rest.get(name) {
            block.keys.set(name, value);
        }
    }
    copy(extra, &mut block.keys);
    block
}

/// What a group says besides its servers.
fn setting(directive: &Directive, keys: &mut Table, phase: Phase, words: &Words<'_>) {
    let accounts = words.accounts;
    let to = |key: &str| format!("`{key}` in `[upstream]`");
    let named = |plugin: &str| text(plugin);
    let value = directive.argument(0);
    match &*directive.name {
        "least_conn" => keys.set("policy", named("least_conn")),
        "ip_hash" => keys.set("policy", named("ip_hash")),
        "random" | "least_time" | "hash" | "sticky" | "sticky_cookie_insert" => {
            match policy(directive, phase, words) {
                Ok(policy) => keys.set("policy", policy),
                Err(why) => return accounts.lost(directive, why),
            }
        }
        "keepalive" => match value.parse::<u32>() {
            Ok(32) => return accounts.built_in(directive, "32 is the default"),
            Ok(number) => keys.set("keepalive", number.to_string()),
            Err(_) => return accounts.lost(directive, "it is no number"),
        },
        "keepalive_requests" => match value {
            "1000" => return accounts.built_in(directive, "1000 is the default"),
            _ => keys.set("keepalive_requests", value),
        },
        "keepalive_time" | "keepalive_timeout" => match values::time(value) {
            Some(time) => keys.set(&directive.name, text(&duration_text(time))),
            None => return accounts.lost(directive, "it is no time"),
        },
        "resolver" | "resolver_timeout" => match super::process::resolver(&[directive]) {
            Some(table) => keys.set("resolver", table.inline()),
            None => {
                return accounts
                    .harmless(directive, "it is the time that an answer has by default");
            }
        },
        "queue" => match queue(directive) {
            Ok(queue) => keys.set("queue", queue.inline()),
            Err(why) => return accounts.lost(directive, why),
        },
        "state" => {
            // nginx's is of another form, and would be taken for a damaged one.
            keys.set("state", text(&format!("{value}.json")));
            return accounts.lost(
                directive,
                "`state` is written, for a file of its own: write the servers that nginx's has into \
                 `servers`, which it begins with",
            );
        }
        // What is not known here has its row in the table of directives.
        _ => return,
    }
    let key = match &*directive.name {
        "keepalive" | "keepalive_requests" | "keepalive_time" | "keepalive_timeout" => {
            directive.name.as_str()
        }
        "resolver" => "resolver",
        "queue" => "queue",
        _ => "policy",
    };
    accounts.translated(directive, to(key));
}

/// Whether a server of a group can be full.
fn has_bounds(group: &Directive) -> bool {
    let servers = group
        .children()
        .iter()
        .filter(|child| child.name == "server");
    let mut words = servers.flat_map(|server| &server.arguments);
    words.any(|word| word.starts_with("max_conns=") && word != "max_conns=0")
}

/// `queue` of nginx Plus.
fn queue(directive: &Directive) -> Result<Table, String> {
    let size: u32 = directive
        .argument(0)
        .parse()
        .map_err(|_| "it is no number".to_owned())?;
    let mut table = Table::new().with("size", size.to_string());
    if let Some(timeout) = directive.argument(1).strip_prefix("timeout=") {
        let timeout = values::time(timeout).ok_or("it is no time")?;
        if timeout.as_secs() != 60 {
            table.set("timeout", text(&duration_text(timeout)));
        }
    }
    Ok(table)
}

/// One server as an item of `servers`.
fn server(directive: &Directive, over_tls: bool, accounts: &Accounts) -> Option<String> {
    let mut address = directive.argument(0).to_owned();
    if over_tls && !has_port(&address) {
        address = format!("{address}:{DEFAULT_PORT}");
    }
    let mut table = Table::new().with("address", text(&address));
    let mut plain = true;
    for argument in directive.arguments.iter().skip(1) {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        let value = match (name, value) {
            ("weight" | "max_fails" | "max_conns", "1") if name != "max_conns" => continue,
            ("max_conns", "0") => continue,
            ("weight" | "max_fails" | "max_conns", number) if number.parse::<u32>().is_ok() => {
                number.to_owned()
            }
            ("fail_timeout" | "slow_start", time) => match values::time(time) {
                Some(time) if name == "fail_timeout" && time.as_secs() == 10 => continue,
                Some(time) => text(&duration_text(time)),
                None => {
                    accounts.lost(directive, format!("`{argument}` is no time"));
                    continue;
                }
            },
            ("backup" | "down", "") => "true".to_owned(),
            ("service" | "route", value) => text(value),
            ("resolve", "") => continue,
            _ => {
                accounts.lost(directive, format!("`{argument}` of a server is not there"));
                continue;
            }
        };
        plain = false;
        table.set(name, value);
    }
    accounts.translated(directive, "`servers`");
    match plain {
        true => Some(text(&address)),
        false => Some(table.inline()),
    }
}

/// Whether an address names its port, or is a socket's.
pub(super) fn has_port(address: &str) -> bool {
    if address.starts_with("unix:") {
        return true;
    }
    let behind = address.rsplit(']').next().unwrap_or(address);
    behind
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
}
