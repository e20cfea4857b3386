//! A `proxy_pass` whose server the request chooses: what it may come to, for `proxy_allow`.

use super::Translator;
use super::target::Target;
use super::tree::Directive;
use super::variables::{Constants, Part};
use super::writer::Table;

/// Values of a text that are looked at, at most.
const MOST_VALUES: usize = 256;
/// What stands for what is not known, which no value has.
const UNKNOWN: char = '\0';
/// Variables that are made of each other, at most.
const DEEPEST: usize = 16;

/// What requests may choose.
pub(super) struct Chosen {
    /// The items of `proxy_allow`.
    pub(super) allow: Vec<String>,
    /// Whether nginx would have asked for other names as well.
    pub(super) is_narrower: bool,
    /// Whether names are resolved.
    pub(super) has_names: bool,
}

impl Translator<'_> {
    /// What a server may come to. `extra`: what is said of it where it is named.
    ///
    /// # Errors
    /// Why it cannot be said.
    pub(super) fn chosen(
        &mut self,
        target: &Target,
        parts: &[Part],
        constants: &Constants,
        extra: &Table,
    ) -> Result<Chosen, String> {
        let port = match parts.last() {
            Some(Part::Literal(text)) => text
                .rsplit_once(':')
                .map(|(_, port)| port)
                .filter(|port| port.parse::<u16>().is_ok()),
            _ => None,
        };
        let mut chosen = Chosen {
            allow: Vec::new(),
            is_narrower: !self.words.around.has_hosts
                && parts
                    .iter()
                    .any(|part| matches!(part, Part::Variable(name) if name == "host")),
            has_names: false,
        };
        for value in self.values(parts, constants)? {
            let value = match port {
                Some(port) => value.strip_suffix(&format!(":{port}")).unwrap_or(&value),
                None => &value,
            };
            if value.is_empty() {
                continue;
            }
            if port.is_none() && self.upstreams.is_declared(value) {
                if self.upstreams.find(value, extra).as_deref() != Some(value) {
                    return Err(format!(
                        "the upstream `{value}` is spoken to in two ways: write it twice, with two names"
                    ));
                }
                push(&mut chosen.allow, value);
                continue;
            }
            if extra
                .pairs()
                .any(|(name, said)| name != "tls" || said != "{ verify = false }")
            {
                return Err(format!(
                    "`{value}` has no upstream that could say how it is spoken to: declare one"
                ));
            }
            let pattern = match value.rsplit_once(UNKNOWN) {
                None => value.to_owned(),
                Some((_, end)) if end.len() > 1 && end.starts_with('.') => format!("*{end}"),
                Some(_) => {
                    let scheme = if target.is_tls { "https" } else { "http" };
                    return Err(format!(
                        "the server depends on the request alone: write `proxy = \"{scheme}://{}\"`, and in \
                         `proxy_allow` the names or networks that it may come to, such as `[\"*.internal\"]`",
                        target.server
                    ));
                }
            };
            let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.:[]*".contains(c);
            if !pattern.chars().all(is_name) {
                return Err(format!("`{pattern}` is neither a name nor an address"));
            }
            let host = pattern.rsplit_once(':').map_or(&*pattern, |(host, _)| host);
            chosen.has_names |= host.parse::<std::net::IpAddr>().is_err();
            push(&mut chosen.allow, &pattern);
            // A name may lead to this machine where the list has its address.
            if host == "localhost" {
                push(
                    &mut chosen.allow,
                    &pattern.replace("localhost", "127.0.0.1"),
                );
            }
        }
        match chosen.allow.is_empty() {
            true => Err("it names no server".to_owned()),
            false => Ok(chosen),
        }
    }

    /// All that a text can be, with [`UNKNOWN`] for what is not known.
    ///
    /// # Errors
    /// Where it is too much.
    pub(super) fn values(
        &self,
        parts: &[Part],
        constants: &Constants,
    ) -> Result<Vec<String>, String> {
        self.values_within(parts, constants, DEEPEST)
    }

    fn values_within(
        &self,
        parts: &[Part],
        constants: &Constants,
        depth: usize,
    ) -> Result<Vec<String>, String> {
        let mut values = vec![String::new()];
        for part in parts {
            let next = self.values_of(part, constants, depth)?;
            if values.len() * next.len() > MOST_VALUES {
                return Err(format!(
                    "the server may be one of more than {MOST_VALUES}: write `proxy_allow` with what \
                     they have in common, such as `[\"*.internal\"]`"
                ));
            }
            let pairs = values
                .iter()
                .flat_map(|value| next.iter().map(move |more| format!("{value}{more}")));
            let mut all: Vec<String> = Vec::new();
            for value in pairs {
                push(&mut all, &value);
            }
            values = all;
        }
        Ok(values)
    }

    fn values_of(
        &self,
        part: &Part,
        constants: &Constants,
        depth: usize,
    ) -> Result<Vec<String>, String> {
        let unknown = || Ok(vec![UNKNOWN.to_string()]);
        let Some(depth) = depth.checked_sub(1) else {
            return unknown();
        };
        match part {
            Part::Literal(text) => Ok(vec![text.clone()]),
            Part::Group(matched, name) => Ok(matched
                .alternatives(name)
                .unwrap_or_else(|| vec![UNKNOWN.to_string()])),
            Part::Choice(choice) => {
                let mut values = self.values_within(&choice.then, constants, depth)?;
                for value in self.values_within(&choice.otherwise, constants, depth)? {
                    push(&mut values, &value);
                }
                Ok(values)
            }
            Part::Behind(scheme, part) => {
                let values = self.values_of(part, constants, depth)?;
                let behind = values.iter();
                Ok(behind
                    .map(|value| value.strip_prefix(&**scheme).unwrap_or(value).to_owned())
                    .collect())
            }
            Part::Variable(name) => match (self.words.tables.get(name), &**name) {
                (Some(table), _) => self.values_of_table(table, constants, depth),
                (None, "host") => Ok(self.hosts_here()),
                (None, _) => unknown(),
            },
        }
    }

    fn values_of_table(
        &self,
        table: &Directive,
        constants: &Constants,
        depth: usize,
    ) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        for entry in table.children() {
            if entry.arguments.len() != 1 || entry.name == "include" {
                continue;
            }
            // Of a regex, only what it captures is not known.
            let value = entry.argument(0);
            let found = match constants.resolve(value) {
                Ok(parts) if !entry.name.starts_with('~') || !value.contains('$') => {
                    self.values_within(&parts, constants, depth)?
                }
                _ => self.values_within(&captured(value), constants, depth)?,
            };
            for value in found {
                push(&mut values, &value);
            }
            if values.len() > MOST_VALUES {
                break;
            }
        }
        Ok(values)
    }

    /// What `$host` can be where routes have their hosts, and should be elsewhere.
    fn hosts_here(&self) -> Vec<String> {
        let mut hosts = Vec::new();
        for name in &self.words.around.names {
            match name.strip_prefix('*') {
                Some(below) => hosts.push(format!("{UNKNOWN}{below}")),
                None if name.starts_with('.') => {
                    hosts.push(name.trim_start_matches('.').to_owned());
                    hosts.push(format!("{UNKNOWN}{name}"));
                }
                None if name.starts_with('~') || name.ends_with('*') => {
                    hosts.push(UNKNOWN.to_string());
                }
                None => hosts.push(name.clone()),
            }
        }
        match hosts.is_empty() {
            true => vec![UNKNOWN.to_string()],
            false => hosts,
        }
    }
}

/// A value behind a regex, of whose variables nothing is known.
fn captured(value: &str) -> Vec<Part> {
    use super::variables::{Piece, pieces_of};
    let pieces = pieces_of(value).into_iter();
    let parts = pieces.map(|piece| match piece {
        Piece::Literal(text) => Part::Literal(text.to_owned()),
        Piece::Variable(_) => Part::Literal(UNKNOWN.to_string()),
    });
    parts.collect()
}

fn push(all: &mut Vec<String>, value: &str) {
    if !all.iter().any(|known| known == value) {
        all.push(value.to_owned());
    }
}
