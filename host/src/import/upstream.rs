//! `upstream`: groups of servers, and those that a `proxy_pass` names without one.
//!
//! One group of nginx may become several: what is said of TLS at each `proxy_pass` belongs to the
//! upstream here.

use std::collections::{HashMap, HashSet};

use super::report::Accounts;
use super::scope::Scope;
use super::tree::Directive;
use super::values;
use super::variables::Words;
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
            });
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
        if extra.is_empty() {
            return None;
        }
        let known = self.made.iter();
        let mut known = known.filter(|(address, table, _)| address == name && table == extra);
        if let Some((_, _, block)) = known.next() {
            return Some(name_of(block));
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
        Some(free)
    }

    /// The blocks of the file, in the order of nginx's.
    pub(super) fn into_blocks(mut self, words: &Words<'_>) -> Vec<Block> {
        let mut blocks = Vec::new();
        let declared = std::mem::take(&mut self.declared);
        for group in declared {
            let mut variants = group.variants;
            if variants.is_empty() {
                let name = free_name(&mut self.taken, group.directive.argument(0));
                variants.push((Table::new(), name));
            }
            for (extra, name) in variants {
                blocks.push(block(group.directive, &name, &extra, group.phase, words));
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
    phase: Phase,
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
            "zone" | "ntlm" => {
                accounts.built_in(child, "workers share what they know of a server");
            }
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
    for name in [
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
        "random" | "least_time" | "hash" | "sticky" => match policy(directive, phase, words) {
            Ok(policy) => keys.set("policy", policy),
            Err(why) => return accounts.lost(directive, why),
        },
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
        // What is not known here has its row in the table of directives.
        _ => return,
    }
    let key = match &*directive.name {
        "keepalive" | "keepalive_requests" | "keepalive_time" | "keepalive_timeout" => {
            directive.name.as_str()
        }
        "resolver" => "resolver",
        _ => "policy",
    };
    accounts.translated(directive, to(key));
}

/// `hash`, `random`, `least_time` and `sticky` with their parameters.
fn policy(directive: &Directive, phase: Phase, words: &Words<'_>) -> Result<String, String> {
    let mut table = Table::new().with("plugin", text(&directive.name));
    let arguments = &directive.arguments;
    let first = directive.argument(0);
    match &*directive.name {
        "hash" => {
            let phase = match phase {
                Phase::Choice => Phase::Choice,
                _ => Phase::Request,
            };
            let key = words.text(first, &super::variables::Constants::default(), phase)?;
            table.set("key", text(&key));
            if directive.argument(1) == "consistent" {
                table.set("consistent", "true");
            }
        }
        "random" => match (first, directive.argument(1)) {
            ("", _) => return Ok(text("random")),
            ("two", "" | "least_conn") => table.set("two", text("least_conn")),
            _ => return Err("of two servers, `least_conn` chooses here".to_owned()),
        },
        "least_time" => {
            table.set("by", text(first));
            if arguments.iter().any(|argument| argument == "inflight") {
                table.set("inflight", "true");
            }
        }
        _ => {
            if first != "cookie" {
                return Err(format!("`sticky {first}` is not there: `cookie` is"));
            }
            let mut cookie = Table::new().with("name", text(directive.argument(1)));
            for argument in arguments.iter().skip(2) {
                match argument.split_once('=') {
                    Some((name @ ("expires" | "domain" | "path" | "samesite"), value)) => {
                        cookie.set(name, text(value));
                    }
                    None if matches!(&**argument, "httponly" | "secure") => {
                        cookie.set(argument, "true");
                    }
                    _ => return Err(format!("`{argument}` is not known here")),
                }
            }
            table.set("cookie", cookie.inline());
        }
    }
    Ok(table.inline())
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
