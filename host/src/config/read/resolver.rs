//! `resolve` and `resolver`, of `[server]` and of an upstream, and what a server's name is asked for.

use std::sync::Arc;

use super::address::{self, Destination};
use super::{Complaint, noted};
use crate::config::declared::RESOLVER;
use crate::config::model::{Lookup, Resolve, Resolver, ServerLocation, ServerName};
use crate::config::problem::Problem;
use crate::config::section::Section;

/// What `[server]` says of names, for all upstreams.
pub(super) struct Resolvers<'a> {
    server: &'a Section<'a>,
    table: Section<'a>,
}

impl<'a> Resolvers<'a> {
    pub(super) fn of(server: &'a Section<'a>) -> Resolvers<'a> {
        let table = server.table("resolver", &RESOLVER);
        let none = || Section::of(&[], server.place, &RESOLVER, server.problems);
        let resolvers = Resolvers {
            server,
            table: table.unwrap_or_else(none),
        };
        // Read here too, so that what is wrong is noted even if no upstream has to do with it.
        resolvers.read(server, resolvers.table);
        resolvers
    }

    /// How the names of an upstream's servers are resolved.
    pub(super) fn of_upstream(&self, upstream: &Section<'_>) -> Arc<Resolver> {
        let own = upstream.table("resolver", &RESOLVER);
        let none = || Section::of(&[], upstream.place, &RESOLVER, upstream.problems);
        let table = own.unwrap_or_else(none);
        Arc::new(self.read(upstream, table.with_parent(&self.table)))
    }

    /// How names are resolved that belong to no upstream.
    pub(super) fn of_server(&self) -> Arc<Resolver> {
        Arc::new(self.read(self.server, self.table))
    }

    fn read(&self, section: &Section<'_>, table: Section<'_>) -> Resolver {
        let resolve = match section.get("resolve") {
            Some(_) => section.word("resolve"),
            None => self.server.word("resolve"),
        };
        let addresses = table.texts("addresses");
        let resolver = Resolver {
            resolve: match resolve {
                "once" => Resolve::Once,
                _ => Resolve::Again,
            },
            addresses: addresses
                .into_iter()
                .filter_map(|(text, node)| noted(address::to_ask(text), node, table.problems))
                .collect(),
            valid: table.get("valid").map(|_| table.duration("valid")),
            min_ttl: table.duration("min_ttl"),
            max_ttl: table.duration("max_ttl"),
            timeout: table.duration("timeout"),
            ipv6: table.boolean("ipv6"),
        };
        if resolver.min_ttl > resolver.max_ttl
            && let Some(node) = table.get("min_ttl").or_else(|| table.get("max_ttl"))
        {
            let message = "`min_ttl` is more than `max_ttl`";
            let hint = "an answer cannot hold for longer than it may hold at most";
            let problem = Problem::new(&node.place, message);
            table.problems.add(problem.hint(hint));
        }
        resolver
    }
}

/// Where a server is. `section`: its table, which may name a service.
///
/// # Errors
/// It has a service and is no name, or names a port as well.
pub(super) fn location(
    section: &Section<'_>,
    spelling: &str,
    destination: Destination,
    resolver: &Arc<Resolver>,
) -> Result<ServerLocation, Complaint> {
    let service = section.text_given("service");
    match (destination, service) {
        (Destination::Address(address), None) => Ok(ServerLocation::Address(address)),
        (Destination::Address(_), Some(_)) => Err(Complaint::new(format!(
            "`{spelling}` is an address, which has no `service`"
        ))
        .hint("a `service` is looked up beneath a name: leave it out, or write the name")),
        (Destination::Name { .. }, Some((service, _))) if !is_service(service) => {
            Err(Complaint::new(format!("`{service}` cannot be a `service`"))
                .hint("write it as `http`, or in full as `_http._tcp`"))
        }
        (Destination::Name { .. }, Some(_)) if address::has_port(spelling) => Err(Complaint::new(
            format!("`{spelling}` has a port beside its `service`"),
        )
        .hint("a service brings the ports of its servers: leave it out")),
        (Destination::Name { host, port }, service) => Ok(ServerLocation::Name(ServerName {
            host,
            lookup: match service {
                Some((service, _)) => Lookup::Service(service.to_owned()),
                None => Lookup::Addresses(port),
            },
            resolver: resolver.clone(),
        })),
    }
}

fn is_service(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let labels = |label: &str| !label.is_empty() && label.len() <= 62;
    text.bytes().all(allowed) && text.split('.').all(labels)
}
