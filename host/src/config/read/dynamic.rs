//! `proxy` with variables in place of a name, and `proxy_allow`: what they may name.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::upstream::Upstreams;
use super::{Complaint, ConfigReader, address, condition, noted, template};
use crate::config::model::{AddressRule, AllowEntry, Allowed, AllowedPort, DynamicProxy};
use crate::config::problem::Problem;
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::http::variable::{Names, Phase};

const KEY: &str = "proxy_allow";

const FORMS: &str = "write a name, `app.example`, `*.internal` for all below one, or a network, \
                     `10.0.0.0/8`; each may have a port, `app.example:8080`";

/// What is said of a `proxy` whose variables would have to bring the scheme along.
pub(super) fn no_scheme(text: &str) -> Complaint {
    let complaint = Complaint::new(format!("`{text}` has variables, and no scheme"));
    complaint.hint(format!(
        "write `http://{text}`, and in `{KEY}` what it may name"
    ))
}

/// The `proxy` of a route that has variables in its authority.
pub(super) fn proxy(
    route: &Section<'_>,
    authority: &str,
    https: bool,
    node: &Node,
    upstreams: &Upstreams<'_>,
    names: Names<'_>,
    reader: ConfigReader<'_>,
) -> Option<DynamicProxy> {
    let port = match noted(literal_port(authority), node, reader.problems)? {
        Some(port) => port,
        None if https => address::DEFAULT_TLS_PORT,
        None => address::DEFAULT_PORT,
    };
    let authority = noted(
        template(authority, Phase::Request, names),
        node,
        reader.problems,
    );
    let given = route.texts(KEY);
    if given.is_empty() {
        let said = route.get(KEY);
        let place = said.map_or(&node.place, |node| &node.place);
        // What is no list has its own problem.
        if said.is_some_and(|node| !matches!(node.value, Value::Array(_))) {
            return None;
        }
        let message = format!("`proxy` has variables, and `{KEY}` does not say what they may name");
        let hint = format!(
            "whoever sends a request could have anything asked: add `{KEY} = [\"*.internal\"]`, with \
             the names or networks that are meant"
        );
        reader.problems.add(Problem::new(place, message).hint(hint));
        return None;
    }
    let entries = given.into_iter().filter_map(|(text, node)| {
        let entries = entries(text, port, https, upstreams);
        if let Ok((target, _)) = split_port(text)
            && let Ok(written) = target.parse()
        {
            condition::without_low_bits(written, &node.place, reader.problems);
        }
        noted(entries, node, reader.problems)
    });
    let allow: Vec<AllowEntry> = entries.flatten().collect();
    Some(DynamicProxy {
        https,
        authority: authority?,
        rule: Arc::new(AddressRule::new(&allow)),
        allow,
        model: upstreams.model(https, node),
    })
}

/// The port behind the last variable, if there is one.
fn literal_port(authority: &str) -> Result<Option<u16>, Complaint> {
    let port = match authority.rsplit_once(':') {
        Some((_, port)) if !port.contains(['$', '}', ']']) => port,
        _ => return Ok(None),
    };
    match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(Some(number))
        }
        _ => Err(Complaint::new(format!("`{port}` is not a port"))
            .hint("a port is a number from 1 to 65535, and stands behind a `:`")),
    }
}

/// What one text of the list allows; two entries for `.internal`. `port`: of `proxy`.
fn entries(
    text: &str,
    port: u16,
    https: bool,
    upstreams: &Upstreams<'_>,
) -> Result<Vec<AllowEntry>, Complaint> {
    if let Some((index, speaks_tls)) = upstreams.declared(text) {
        if speaks_tls != https {
            let (scheme, other) = match https {
                true => ("https", "http"),
                false => ("http", "https"),
            };
            let complaint = Complaint::new(format!(
                "upstream `{text}` cannot be asked by `{scheme}://`"
            ));
            return Err(complaint.hint(format!(
                "write `{other}://` in `proxy`, or leave it out of `{KEY}`: its `tls` says how it is \
                 spoken to"
            )));
        }
        return Ok(vec![AllowEntry {
            spelling: text.to_owned(),
            allowed: Allowed::Upstream(index),
        }]);
    }
    let (target, ports) = split_port(text)?;
    let ports = ports.unwrap_or(AllowedPort::Only(port));
    let entry = |allowed| AllowEntry {
        spelling: text.to_owned(),
        allowed,
    };
    if let Some(network) = network(target) {
        return Ok(vec![entry(Allowed::Network(network, ports))]);
    }
    let name = target.strip_suffix('.').unwrap_or(target);
    let (below, name) = match name.strip_prefix("*.").or_else(|| name.strip_prefix('.')) {
        Some(name) => (true, name),
        None => (false, name),
    };
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if name.is_empty() || !name.bytes().all(letters) {
        let complaint = Complaint::new(format!("`{text}` is neither a name nor a network"));
        return Err(complaint.hint(FORMS));
    }
    if let Some(why) = address::no_name(name) {
        let complaint = Complaint::new(format!("`{text}` cannot be a name: {why}"));
        return Err(complaint.hint(FORMS));
    }
    let name = name.to_ascii_lowercase();
    let all_below = || entry(Allowed::Below(format!(".{name}"), ports));
    Ok(match (below, target.starts_with('.')) {
        (true, true) => vec![all_below(), entry(Allowed::Name(name.clone(), ports))],
        (true, false) => vec![all_below()],
        (false, _) => vec![entry(Allowed::Name(name, ports))],
    })
}

/// Splits `app:8080`, `10.0.0.0/8:*` and `[fd00::/8]:8080`.
fn split_port(text: &str) -> Result<(&str, Option<AllowedPort>), Complaint> {
    let (target, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((target, "")) => (target, None),
        Some((target, port)) => (target, Some(port.strip_prefix(':').unwrap_or(port))),
        None if network(text).is_some() => (text, None),
        None => match text.rsplit_once(':') {
            Some((target, port)) => (target, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        None => None,
        Some("*") => Some(AllowedPort::Any),
        Some(port) => match port.parse::<u16>() {
            Ok(number) if number > 0 => Some(AllowedPort::Only(number)),
            _ => {
                let complaint = Complaint::new(format!("`{text}` has no port that there is"));
                return Err(complaint.hint(FORMS));
            }
        },
    };
    Ok((target, port))
}

/// An address is the network of it alone.
fn network(text: &str) -> Option<IpNet> {
    let ip = text.parse::<IpAddr>().map(IpNet::from);
    ip.or_else(|_| text.parse::<IpNet>().map(|network| network.trunc()))
        .ok()
}
