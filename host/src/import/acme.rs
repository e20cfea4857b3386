//! `acme_issuer` and `acme_certificate` (`ngx_http_acme_module`): `acme` of a listener's `tls`.
//!
//! nginx has a certificate for all names of a `server`, here each name has its own; a listener has
//! one authority.

use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::report::Accounts;
use super::scope::Scope;
use super::tree::Directive;
use super::writer::{Table, list, text};
use crate::config::model::{KeyType, is_server_name};

/// Whether a file is what was ordered.
pub(super) fn is_ordered(directive: &Directive) -> bool {
    matches!(
        directive.argument(0),
        "$acme_certificate" | "$acme_certificate_key"
    )
}

/// `acme` of an address whose servers these are, each with its names. None where none of them shows
/// what was ordered.
pub(super) fn acme(servers: &[(&Scope<'_>, Vec<String>)], accounts: &Accounts) -> Option<Table> {
    let mut found: Option<(usize, Table)> = None;
    let mut domains: Vec<String> = Vec::new();
    for (scope, names) in servers {
        let of_keys = scope.nearest("ssl_certificate_key").iter();
        let shown: Vec<&&Directive> = scope
            .nearest("ssl_certificate")
            .iter()
            .chain(of_keys)
            .filter(|directive| is_ordered(directive))
            .collect();
        let tell = |outcome: &dyn Fn(&Directive)| shown.iter().for_each(|each| outcome(each));
        let Some((certificate, more)) = scope.own("acme_certificate").split_first() else {
            tell(&|each| accounts.lost(each, "nothing is ordered without an `acme_certificate`"));
            continue;
        };
        for each in more {
            accounts.lost(each, "a server has one `acme_certificate`");
        }
        if shown.is_empty() {
            accounts.harmless(certificate, "no `ssl_certificate` shows it");
            continue;
        }
        let lose = |why: &str| {
            accounts.lost(certificate, why);
            tell(&|each| accounts.lost(each, why));
        };
        let name = certificate.argument(0);
        let mut issuers = scope.nearest("acme_issuer").iter();
        let Some(issuer) = issuers.find(|issuer| issuer.argument(0) == name) else {
            lose("there is no such `acme_issuer`");
            continue;
        };
        if found.as_ref().is_some_and(|(known, _)| *known != issuer.id) {
            lose("a listener has one authority: give this server an address of its own");
            continue;
        }
        let wanted = wanted(certificate, names);
        if wanted.is_empty() {
            // Another server may name one: until then, nothing is said of the authority.
            lose("it names no domain: neither wildcards nor expressions can be ordered");
            continue;
        }
        let authority = match found.take() {
            Some((_, authority)) => Some(authority),
            None => self::authority(scope, issuer, accounts),
        };
        let Some(mut authority) = authority else {
            lose("its authority cannot be asked");
            continue;
        };
        note(certificate, names, &wanted, accounts);
        if let Some(key_type) = key_type(scope, certificate, accounts) {
            authority.set("key_type", text(key_type.spelling()));
        }
        tell(&|each| accounts.translated(each, "`acme` in `tls` of `[[listen]]`"));
        for domain in wanted {
            if !domains.contains(&domain) {
                domains.push(domain);
            }
        }
        found = Some((issuer.id, authority));
    }
    let (_, authority) = found?;
    let names = list(domains.iter().map(|domain| text(domain)));
    Some(Table::new().with("domains", names).followed_by(authority))
}

fn identifiers(certificate: &Directive) -> impl Iterator<Item = &String> {
    let all = certificate.arguments.iter().skip(1);
    all.filter(|argument| !argument.starts_with("key="))
}

/// The domains that are ordered: those that are said, or else the server's names.
fn wanted(certificate: &Directive, names: &[String]) -> Vec<String> {
    let said: Vec<&String> = identifiers(certificate).collect();
    let all: Vec<&String> = match said.is_empty() {
        true => names.iter().collect(),
        false => said,
    };
    all.into_iter().filter_map(|name| domain(name)).collect()
}

/// A name as it can be ordered; that of `.example.com` without what is below it.
fn domain(name: &str) -> Option<String> {
    let name = name.trim_start_matches('.').trim_end_matches('.');
    let lower = name.to_ascii_lowercase();
    let is_domain = is_server_name(&lower)
        && !lower.contains(['*', '/', '~'])
        && lower.contains('.')
        && lower.parse::<IpAddr>().is_err();
    is_domain.then_some(lower)
}

fn note(certificate: &Directive, names: &[String], wanted: &[String], accounts: &Accounts) {
    let said = identifiers(certificate).count();
    let all = if said == 0 { names.len() } else { said };
    let is_whole = |name: &String| !name.starts_with('.');
    let are_whole =
        identifiers(certificate).all(is_whole) && (said > 0 || names.iter().all(is_whole));
    if said > wanted.len() {
        let why = "`domains` in `acme`, without wildcards and addresses: have another program order those, and name its \
                   files as `certificate` and `key`";
        accounts.lost(certificate, why);
    } else if all > wanted.len() || !are_whole {
        let why =
            "`domains` in `acme`, without wildcards and expressions, for which nothing is ordered";
        accounts.changed(certificate, why);
    } else if all > 1 {
        let why = "`domains` in `acme`: each of them has a certificate of its own";
        accounts.changed(certificate, why);
    } else {
        accounts.translated(certificate, "`domains` in `acme`");
    }
}

/// The keys of an issuer's certificates, where they are not the usual ones: those of the first server
/// that orders from it, as one domain may be that of several listeners.
fn key_type(scope: &Scope<'_>, certificate: &Directive, accounts: &Accounts) -> Option<KeyType> {
    let said = |directive: &Directive| {
        let mut arguments = directive.arguments.iter();
        let key = arguments.find_map(|argument| argument.strip_prefix("key="));
        key.map(str::to_owned)
    };
    let servers = scope.outer().into_iter().flat_map(|http| http.children);
    let mut all = servers
        .filter(|server| server.name == "server")
        .flat_map(|server| server.children())
        .filter(|directive| directive.name == "acme_certificate");
    let first = all.find(|other| other.argument(0) == certificate.argument(0));
    let first = first.map_or_else(|| said(certificate), said);
    let (own, usual) = (said(certificate), KeyType::default());
    let first = known_key(first.as_deref()).unwrap_or(usual);
    match (known_key(own.as_deref()), own.as_deref()) {
        (None, _) => {
            let why = "there are keys on P-256 and P-384, and RSA of 2048, 3072 and 4096 bits: `key_type` in `acme`";
            accounts.lost(certificate, why);
        }
        (Some(own), _) if own != first => {
            let why =
                "certificates of one authority have one `key_type`: that of the first of them";
            accounts.changed(certificate, why);
        }
        (_, Some("ecdsa:521")) => {
            accounts.changed(certificate, "no key on P-521 is made: P-384 is used");
        }
        _ => {}
    }
    (first != usual).then_some(first)
}

/// A key as nginx has it, or the nearest one; none for what nginx does not know either.
fn known_key(said: Option<&str>) -> Option<KeyType> {
    match said {
        None | Some("ecdsa" | "ecdsa:256") => Some(KeyType::Ecdsa),
        Some("ecdsa:384" | "ecdsa:521") => Some(KeyType::Ecdsa384),
        Some("rsa" | "rsa:2048") => Some(KeyType::Rsa2048),
        Some("rsa:3072") => Some(KeyType::Rsa3072),
        Some("rsa:4096") => Some(KeyType::Rsa4096),
        Some(_) => None,
    }
}

/// What `acme` says of an issuer. None where it cannot be asked.
fn authority(scope: &Scope<'_>, issuer: &Directive, accounts: &Accounts) -> Option<Table> {
    let within = scope.within(issuer);
    let mut table = Table::new();
    for each in within.own("uri") {
        match each.argument(0).starts_with("https://") {
            true => {
                table.set("directory", text(each.argument(0)));
                accounts.translated(each, "`directory` in `acme`");
            }
            false => accounts.lost(each, "an authority is asked by https"),
        }
    }
    if table.is_empty() {
        accounts.lost(issuer, "it names no `uri` that can be asked");
        accounts.with_children(issuer);
        return None;
    }
    accounts.translated(issuer, "`acme` in `tls` of `[[listen]]`");
    for each in within.own("contact") {
        let address = each.argument(0);
        let address = address.strip_prefix("mailto:").unwrap_or(address);
        match is_email(address) && table.get("email").is_none() {
            true => {
                table.set("email", text(address));
                accounts.translated(each, "`email` in `acme`");
            }
            false => accounts.lost(each, "an account has one address of e-mail"),
        }
    }
    for each in within.own("challenge") {
        match each.argument(0) {
            "tls-alpn-01" | "tls-alpn" => {
                table.set("challenges", list([text("tls-alpn-01")]));
                accounts.translated(each, "`challenges` in `acme`");
            }
            "http-01" | "http" => {
                let why = "HTTP-01 goes first where a listener is without TLS";
                accounts.built_in(each, why);
            }
            _ => accounts.lost(each, "there are `http-01` and `tls-alpn-01`"),
        }
    }
    for each in within.own("external_account_key") {
        let key = each.argument(1).strip_prefix("data:");
        let key = key.map(|key| key.trim_end_matches('='));
        let decoded = key.map(|key| BASE64_URL_SAFE_NO_PAD.decode(key));
        match (key, decoded) {
            (Some(key), Some(Ok(bytes))) if !bytes.is_empty() => {
                let eab = Table::new().with("kid", text(each.argument(0)));
                table.set("eab", eab.with("key", text(key)).inline());
                accounts.translated(each, "`eab` in `acme`");
            }
            (Some(_), _) => accounts.lost(each, "the key is not in base64url"),
            (None, _) => {
                let why = "write what is in its file: `eab = { kid = \"...\", key = \"${env:EAB_KEY}\" }`";
                accounts.lost(each, why);
            }
        }
    }
    for each in within.own("ssl_trusted_certificate") {
        table.set("trusted_certificate", text(each.argument(0)));
        accounts.translated(each, "`trusted_certificate` in `acme`");
    }
    for each in within.own("state_path") {
        match each.argument(0) {
            "off" => accounts.changed(each, "keys and certificates are kept: `store` says where"),
            path => {
                table.set("store", text(path));
                let why = "`store` in `acme`; nginx's files are not read: an account is made, and each certificate \
                           ordered, anew";
                accounts.changed(each, why);
            }
        }
    }
    rest(&within, accounts);
    if within.own("accept_terms_of_service").is_empty() {
        let why = "`acme` in `tls` of `[[listen]]`, which agrees to the authority's terms";
        accounts.changed(issuer, why);
    }
    Some(table)
}

/// What needs no key, or has none.
fn rest(within: &Scope<'_>, accounts: &Accounts) {
    for each in within.own("accept_terms_of_service") {
        accounts.built_in(each, "whoever has `acme` agrees");
    }
    for each in within.own("ssl_verify") {
        match each.argument(0) {
            "off" => accounts.lost(
                each,
                "an authority is always verified: name its own one as `trusted_certificate`",
            ),
            _ => accounts.built_in(each, "an authority is always verified"),
        }
    }
    for each in within.own("account_key") {
        match each.argument(0) {
            "ecdsa" | "ecdsa:256" => accounts.built_in(each, "the account's key is on P-256"),
            of if of.starts_with("ecdsa:") || of == "rsa" || of.starts_with("rsa:") => {
                accounts.changed(each, "the account's key is on P-256");
            }
            _ => accounts.lost(each, "an account is made anew, with a key of its own"),
        }
    }
    for each in within.own("preferred_chain") {
        accounts.lost(each, "the chain is the one that the authority sends first");
    }
    for each in within.own("profile") {
        accounts.lost(each, "certificates are of the authority's default profile");
    }
    for name in ["resolver", "resolver_timeout"] {
        for each in within.own(name) {
            accounts.changed(each, "the authority's name is resolved by the system");
        }
    }
}

fn is_email(address: &str) -> bool {
    let parts = address.split_once('@');
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || ",?<>:$".contains(c);
    parts.is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
        && !address.contains(is_odd)
}

/// What is for no listener: issuers that nobody orders from, and the memory that they have.
pub(super) fn unused(http: &Scope<'_>, accounts: &Accounts) {
    for each in http.own("acme_shared_zone") {
        accounts.built_in(each, "keys and certificates are files of `store`");
    }
    for issuer in http.own("acme_issuer") {
        if accounts.of(issuer.id).is_none() {
            accounts.harmless(issuer, "no server orders from it");
            accounts.with_children(issuer);
        }
    }
}
