//! `map`, `geo` and `split_clients`: what `[variable.NAME]` says of them.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::rc::Rc;

use ipnet::{IpNet, Ipv4Subnets};

use super::choices::without;
use super::conditions::{at_line_ends, check_regex};
use super::expressions::of_ascii;
use super::tree::Directive;
use super::variables::{Constants, Match, MatchPlace, variable_name};
use super::words::{Here, Words};
use super::writer::{Table, key, text};

/// The variables of one's own that a context declares.
#[derive(Clone, Default)]
pub(super) struct Tables<'a>(HashMap<String, &'a Directive>);

impl<'a> Tables<'a> {
    pub(super) fn of(children: &'a [Directive]) -> Tables<'a> {
        let mut tables = HashMap::new();
        for child in children {
            if matches!(&*child.name, "map" | "split_clients" | "geo") {
                tables.insert(variable_name(&name(child)), child);
            }
        }
        Tables(tables)
    }

    /// In any case, with or without `$`.
    pub(super) fn get(&self, name: &str) -> Option<&'a Directive> {
        self.0.get(&variable_name(name)).copied()
    }
}

/// The name of the variable that it declares.
pub(super) fn name(table: &Directive) -> String {
    let variable = match (&*table.name, table.arguments.len()) {
        ("geo", 1) => table.argument(0),
        _ => table.argument(1),
    };
    variable.trim_start_matches('$').to_owned()
}

/// Keys of a variable, and the key of the table of its values with that.
type Definition = (Table, &'static str, Table);

/// What a variable says. `scheme`: what its values are without.
pub(super) fn definition(
    words: &Words<'_>,
    table: &Directive,
    constants: &Constants,
    scheme: Option<&str>,
) -> Result<Definition, String> {
    match &*table.name {
        "map" => map(words, table, constants, scheme),
        "geo" => networks(words, table, constants, scheme),
        _ => split(words, table, constants, scheme),
    }
}

/// A text as a key of `map` that stands for that text alone.
pub(super) fn text_key(text: &str) -> String {
    let looks_like_more = text.starts_with(['~', '=', '.'])
        || text.starts_with("*.")
        || text.ends_with(".*")
        || text == "default";
    match looks_like_more {
        true => format!("={text}"),
        false => text.to_owned(),
    }
}

/// `map` (`ngx_http_map_module.c`).
fn map(
    words: &Words<'_>,
    table: &Directive,
    constants: &Constants,
    scheme: Option<&str>,
) -> Result<Definition, String> {
    let here = Here::anywhere(constants);
    let from = words.resolve(constants, table.argument(0))?;
    let from = words.render(&from, here)?;
    let has_names = table
        .children()
        .iter()
        .any(|entry| entry.name == "hostnames");
    let mut keys = Table::new().with("from", text(&from));
    let (mut values, mut known) = (Table::new(), HashSet::new());
    for entry in table.children() {
        let (written, value) = (entry.name.as_str(), entry.argument(0));
        match (written, entry.arguments.len()) {
            ("hostnames" | "volatile", 0) => continue,
            ("include", _) => match &entry.missing {
                Some(why) => return Err(format!("a file of it cannot be read: {why}")),
                None => continue,
            },
            (_, 1) => {}
            _ => return Err(format!("`{written}` has one value")),
        }
        if written == "default" {
            let value = words.render(&without(&words.resolve(constants, value)?, scheme)?, here)?;
            if !value.is_empty() {
                keys.set("default", text(&value));
            }
            continue;
        }
        let (name, value) = if written.starts_with('~') {
            check_regex(written.trim_start_matches('~').trim_start_matches('*'))?;
            let written = &*of_ascii(&at_line_ends(&from, written));
            let matched = Match::new(MatchPlace::Key, Vec::new(), written).map(Rc::new);
            let parts = words.resolve_behind(constants, value, matched.as_ref())?;
            let here = match &matched {
                Some(matched) => here.behind(matched),
                None => here,
            };
            (
                written.to_owned(),
                words.render(&without(&parts, scheme)?, here)?,
            )
        } else {
            let parts = without(&words.resolve(constants, value)?, scheme)?;
            let plain = written.strip_prefix('\\').unwrap_or(written);
            let is_name = has_names && plain == written && plain != "default";
            let name = match is_name && plain.contains(['*', '.']) && !plain.starts_with('=') {
                true => plain.to_owned(),
                false => text_key(plain),
            };
            (name, words.render(&parts, here)?)
        };
        if known.insert(name.clone()) {
            values.append(&name, text(&value));
        }
    }
    Ok((keys, "map", values))
}

/// `geo` (`ngx_http_geo_module.c`), whose values are texts without variables.
fn networks(
    words: &Words<'_>,
    table: &Directive,
    constants: &Constants,
    scheme: Option<&str>,
) -> Result<Definition, String> {
    let mut keys = Table::new();
    if table.arguments.len() == 2 && variable_name(table.argument(0)) != "remote_addr" {
        let from = words.resolve(constants, table.argument(0))?;
        let from = words.render(&from, Here::anywhere(constants))?;
        keys.set("from", text(&from));
    }
    let mut values: Vec<(IpNet, Option<&str>)> = Vec::new();
    let mut places: HashMap<IpNet, usize> = HashMap::new();
    let mut has_ranges = false;
    for entry in table.children() {
        let (written, value) = (entry.name.as_str(), entry.argument(0));
        match (written, entry.arguments.len()) {
            ("ranges", 0) => {
                has_ranges = true;
                continue;
            }
            ("include", _) => match &entry.missing {
                Some(why) => return Err(format!("a file of it cannot be read: {why}")),
                None => continue,
            },
            ("proxy" | "proxy_recursive", _) => {
                return Err(
                    "a proxy of `geo` alone is not there: name it in `set_real_ip_from`, here \
                     `trusted_proxies`, for all that asks for the client"
                        .to_owned(),
                );
            }
            ("delete", 1) => {
                let gone = network(value).ok_or_else(|| format!("`{value}` is no network"))?;
                if let Some((_, value)) = places.get(&gone).and_then(|at| values.get_mut(*at)) {
                    *value = None;
                }
                continue;
            }
            (_, 1) => {}
            _ => return Err(format!("`{written}` has one value")),
        }
        if value.contains('$') {
            return Err("a value of `geo` is a text without variables".to_owned());
        }
        if written == "default" {
            keys.set("default", text(&server(value, scheme)?));
            continue;
        }
        let found: Vec<IpNet> = match written.split_once('-').filter(|_| has_ranges) {
            Some((first, last)) => match (first.parse(), last.parse()) {
                (Ok(IpAddr::V4(first)), Ok(IpAddr::V4(last))) if first <= last => {
                    Ipv4Subnets::new(first, last, 0).map(IpNet::from).collect()
                }
                _ => return Err(format!("`{written}` is no range of addresses")),
            },
            None => {
                let network = network(written);
                vec![network.ok_or_else(|| format!("`{written}` is no network"))?]
            }
        };
        for network in found {
            let at = *places.entry(network).or_insert(values.len());
            match values.get_mut(at) {
                Some((_, known)) => *known = Some(value),
                None => values.push((network, Some(value))),
            }
        }
    }
    if has_ranges {
        check_ranges(&values)?;
    }
    let mut written = Table::new();
    for (network, value) in values {
        let Some(value) = value else { continue };
        let name = match network.prefix_len() == network.max_prefix_len() {
            true => network.addr().to_string(),
            false => network.to_string(),
        };
        written.append(&name, text(&server(value, scheme)?));
    }
    if keys.get("default") == Some("\"\"") {
        keys.remove("default");
    }
    Ok((keys, "networks", written))
}

/// Of ranges that share addresses, nginx takes the last for those, and here the smallest counts.
fn check_ranges(values: &[(IpNet, Option<&str>)]) -> Result<(), String> {
    let mut sorted = values.to_vec();
    sorted.sort_by_key(|(network, _)| (network.network(), network.prefix_len()));
    let mut around: Vec<(IpNet, Option<&str>)> = Vec::new();
    for (network, value) in sorted {
        while around
            .pop_if(|(outer, _)| !outer.contains(&network))
            .is_some()
        {}
        if around.last().is_some_and(|(_, outer)| *outer != value) {
            return Err(format!(
                "`{network}` is in two ranges with different values: write ranges that share no address"
            ));
        }
        around.push((network, value));
    }
    Ok(())
}

fn server(value: &str, scheme: Option<&str>) -> Result<String, String> {
    match scheme {
        None => Ok(value.to_owned()),
        Some(_) if value.is_empty() => Ok(String::new()),
        Some(scheme) => {
            let server = value.strip_prefix(scheme).map(str::to_owned);
            server.ok_or_else(|| "servers have different schemes".to_owned())
        }
    }
}

fn network(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let network = address.or_else(|_| text.parse::<IpNet>()).ok()?;
    Some(network.trunc())
}

/// `split_clients` (`ngx_http_split_clients_module.c`).
fn split(
    words: &Words<'_>,
    table: &Directive,
    constants: &Constants,
    scheme: Option<&str>,
) -> Result<Definition, String> {
    let from = words.resolve(constants, table.argument(0))?;
    let from = words.render(&from, Here::anywhere(constants))?;
    let mut keys = Table::new().with("from", text(&from));
    let mut shares = Table::new();
    for entry in table.children() {
        let (share, value) = (entry.name.as_str(), server(entry.argument(0), scheme)?);
        if value.contains('$') {
            return Err("a value of `split_clients` is a text without variables".to_owned());
        }
        match share {
            "*" if value.is_empty() => {}
            "*" => keys.set("default", text(&value)),
            _ if shares.get(&key(&value)).is_some() => {
                return Err(format!("two shares have the value `{value}`: add them up"));
            }
            _ => shares.set(&value, text(share)),
        }
    }
    Ok((keys, "split", shares))
}
