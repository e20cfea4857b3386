//! `set_real_ip_from` and its companions: whom a listener believes about its clients.

use std::collections::BTreeSet;

use super::report::Accounts;
use super::scope::Scope;
use super::tree::Directive;
use super::writer::{Table, list, text};

/// The keys of a listener, of what its servers say. nginx asks the server that a host has found, a
/// listener here says it for all of them.
pub(super) fn real_ip(servers: &[&Scope<'_>], keys: &mut Table, accounts: &Accounts) {
    let said: Vec<(Vec<String>, String, bool)> = servers
        .iter()
        .map(|server| {
            let networks = server.nearest("set_real_ip_from").iter();
            let networks = networks.map(|from| from.argument(0).to_owned()).collect();
            let header = server.value("real_ip_header").unwrap_or("X-Real-IP");
            (
                networks,
                header.to_owned(),
                server.is_on("real_ip_recursive"),
            )
        })
        .collect();
    let Some((networks, header, is_recursive)) = said.first() else {
        return;
    };
    if said.iter().any(|other| other != &said[0]) {
        let why = "`trusted_proxies` is for all hosts of a listener, and its servers differ";
        return of_all(servers, "set_real_ip_from", |directive| {
            accounts.lost(directive, why);
        });
    }
    if networks.is_empty() {
        return;
    }
    let is_known = |network: &str| {
        network == "unix:"
            || network.parse::<ipnet::IpNet>().is_ok()
            || network.parse::<std::net::IpAddr>().is_ok()
    };
    of_all(servers, "set_real_ip_from", |directive| {
        match is_known(directive.argument(0)) {
            true => accounts.translated(directive, "`trusted_proxies`"),
            false => accounts.lost(
                directive,
                "`trusted_proxies` has addresses and networks, no names",
            ),
        }
    });
    let mut known: Vec<&String> = Vec::new();
    for network in networks.iter().filter(|network| is_known(network)) {
        if !known.contains(&network) {
            known.push(network);
        }
    }
    let networks = known.into_iter().map(|network| text(network));
    keys.set("trusted_proxies", list(networks));
    let is_list = header.eq_ignore_ascii_case("x-forwarded-for");
    if !is_list {
        keys.set("real_ip_header", text(header));
    }
    if is_list && !is_recursive {
        keys.set("real_ip_recursive", "false");
    }
    of_all(servers, "real_ip_header", |directive| match is_list {
        true => accounts.built_in(
            directive,
            "`trusted_proxies` are believed in it, or else in `X-Real-IP`",
        ),
        false => accounts.translated(directive, "`real_ip_header`"),
    });
    of_all(servers, "real_ip_recursive", |directive| {
        match (is_recursive, is_list) {
            (true, _) => {
                accounts.built_in(directive, "trusted proxies of a list are passed over");
            }
            (false, true) => accounts.translated(directive, "`real_ip_recursive`"),
            (false, false) => accounts.harmless(directive, "the header has one address"),
        }
    });
}

/// What a location says of the same: as its server does, or in vain.
pub(super) fn of_location(location: &Scope<'_>, accounts: &Accounts) {
    for name in ["set_real_ip_from", "real_ip_header", "real_ip_recursive"] {
        let own = location.own(name);
        let around = location
            .outer()
            .map_or(&[][..], |outer| outer.nearest(name));
        let said = |directives: &[&Directive]| -> BTreeSet<String> {
            let values = directives.iter().map(|each| each.argument(0).to_owned());
            values.collect()
        };
        let is_same = said(own) == said(around);
        let trusts_nobody = location.nearest("set_real_ip_from").is_empty();
        for directive in own {
            match is_same {
                true => accounts.harmless(directive, "what is around it says the same"),
                false if trusts_nobody => {
                    accounts.harmless(directive, "without `set_real_ip_from` nobody is believed");
                }
                false => accounts.lost(
                    directive,
                    "whom a listener believes is the same for all of its paths: say it in the \
                     `server`, or give the location a listener of its own",
                ),
            }
        }
    }
}

fn of_all(servers: &[&Scope<'_>], name: &'static str, mut say: impl FnMut(&Directive)) {
    for server in servers {
        for directive in server.nearest(name) {
            say(directive);
        }
    }
}
