//! `ssl_*` of a listener: certificates of all its servers, and how TLS is spoken there.

use std::collections::{BTreeSet, HashMap};

use super::acme::{self, is_ordered};
use super::report::Accounts;
use super::scope::Scope;
use super::tree::Directive;
use super::values;
use super::writer::{Table, list, text};
use crate::config::duration_text;
use crate::config::model::Cipher;

/// Sessions that nginx keeps in a megabyte (`ngx_http_ssl_module`: "about 4000").
const SESSIONS_OF_MEGABYTE: u64 = 4000;
/// The most that `session_cache` may be.
const MOST_SESSIONS: u64 = 10_000_000;

/// `tls` of an address whose servers these are, the default one first, each with its names. None,
/// and the reason in the report, where there is no certificate.
pub(super) fn tls(servers: &[(&Scope<'_>, Vec<String>)], accounts: &Accounts) -> Option<Table> {
    let mut table = Table::new();
    let mut further: Vec<((String, String), Vec<String>)> = Vec::new();
    let mut known: HashMap<(String, String), usize> = HashMap::new();
    let mut first: Option<(String, String)> = None;
    for (scope, names) in servers {
        let certificates = scope.nearest("ssl_certificate");
        let keys = scope.nearest("ssl_certificate_key");
        for (certificate, key) in certificates.iter().zip(keys) {
            if is_ordered(certificate) && is_ordered(key) {
                continue; // what was ordered stands beside files
            }
            if certificate.argument(0).contains('$') || certificate.argument(0).starts_with("data:")
            {
                accounts.lost(certificate, "a certificate is a file with a fixed name");
                continue;
            }
            if key.argument(0).contains(['$', ':']) {
                accounts.lost(key, "a key is a file with a fixed name");
                continue;
            }
            accounts.translated(certificate, "`certificate` in `tls` of `[[listen]]`");
            accounts.translated(key, "`key` in `tls` of `[[listen]]`");
            let pair = (
                certificate.argument(0).to_owned(),
                key.argument(0).to_owned(),
            );
            if first.as_ref().is_none_or(|first| *first == pair) {
                first = Some(pair);
                continue;
            }
            let shown = names.iter().flat_map(|name| shown_for(name));
            let at = known.get(&pair).and_then(|at| further.get_mut(*at));
            match at {
                Some((_, names)) => names.extend(shown),
                None => {
                    known.insert(pair.clone(), further.len());
                    further.push((pair, shown.collect()));
                }
            }
        }
    }
    let acme = acme::acme(servers, accounts);
    if first.is_none() && acme.is_none() {
        // Where TLS is not spoken, nobody is asked for a certificate.
        let verifies = servers
            .iter()
            .flat_map(|(scope, _)| scope.nearest("ssl_verify_client"));
        for verify in verifies.filter(|verify| verify.argument(0) != "off") {
            accounts.lost(
                verify,
                "without a certificate of its own, a listener asks for none",
            );
        }
        return None;
    }
    if let Some((certificate, key)) = &first {
        table.set("certificate", text(certificate));
        table.set("key", text(key));
    }
    if let Some(acme) = acme {
        table.set("acme", acme.inline());
    }
    let (default, _) = servers.first()?;
    let refuses = default.is_on("ssl_reject_handshake");
    if !further.is_empty() {
        let items = further.into_iter().map(|((certificate, key), names)| {
            let mut item = Table::new()
                .with("certificate", text(&certificate))
                .with("key", text(&key));
            if !names.is_empty() {
                item.set("names", list(names.iter().map(|name| text(name))));
            }
            item.inline()
        });
        let items: Vec<String> = items.collect();
        table.set(
            "certificates",
            super::writer::long_list("certificates", &items),
        );
    }
    if refuses {
        table.set("unknown_names", text("refuse"));
        for directive in default.nearest("ssl_reject_handshake") {
            accounts.translated(directive, "`unknown_names = \"refuse\"` in `tls`");
        }
        // The certificate that comes first here is that of other servers, for their names alone. What
        // an expression is shown for is not known: then the certificate's own names count.
        let owners = servers.iter().filter(|(scope, _)| {
            let mut all = scope.nearest("ssl_certificate").iter();
            let first = first.as_ref().map(|(certificate, _)| certificate.as_str());
            all.any(|each| Some(each.argument(0)) == first)
        });
        let owned: Vec<&String> = owners.flat_map(|(_, names)| names.iter()).collect();
        let names: BTreeSet<String> = owned.iter().flat_map(|name| shown_for(name)).collect();
        let are_known = owned.iter().all(|name| !shown_for(name).is_empty());
        if !names.is_empty() && are_known {
            table.set("names", list(names.iter().map(|name| text(name))));
        }
    }
    protocols(default, &mut table, accounts);
    sessions(default, &mut table, accounts);
    clients(servers, &mut table, accounts);
    companions(servers, accounts);
    Some(table)
}

/// The names of a certificate for a `server_name`. A regular expression has none: its clients get
/// the first certificate.
fn shown_for(name: &str) -> Vec<String> {
    if let Some(domain) = name.strip_prefix('.') {
        return vec![domain.to_owned(), format!("*.{domain}")];
    }
    match name.starts_with('~') || name.ends_with('*') {
        true => Vec::new(),
        false => vec![name.to_owned()],
    }
}

fn protocols(scope: &Scope<'_>, table: &mut Table, accounts: &Accounts) {
    for directive in scope.nearest("ssl_protocols") {
        let has = |version: &str| directive.arguments.iter().any(|each| each == version);
        let is_old = |version: &String| !matches!(&**version, "TLSv1.2" | "TLSv1.3");
        match (has("TLSv1.2"), has("TLSv1.3")) {
            (false, false) => {
                accounts.lost(directive, "TLS 1.2 and 1.3 are spoken (RFC 8996)");
                continue;
            }
            (false, true) => table.set("min_version", text("1.3")),
            (true, false) => table.set("max_version", text("1.2")),
            (true, true) => {}
        }
        match (
            directive.arguments.iter().any(is_old),
            has("TLSv1.2") && has("TLSv1.3"),
        ) {
            (true, _) => accounts.changed(
                directive,
                "TLS 1.2 and 1.3 are spoken, none before (RFC 8996)",
            ),
            (false, true) => accounts.built_in(directive, "TLS 1.2 and 1.3 are the default"),
            _ => accounts.translated(directive, "`min_version` and `max_version` in `tls`"),
        }
    }
    for directive in scope.nearest("ssl_ciphers") {
        let words: Vec<&str> = directive
            .argument(0)
            .split([':', ' ', ','])
            .filter(|word| !word.is_empty())
            .collect();
        let known: Vec<&str> = words
            .iter()
            .copied()
            .filter(|word| Cipher::by_name(word).is_some())
            .collect();
        // Families such as `HIGH` leave the choice to the library, as no word at all does here.
        let leaves_choice = words.iter().any(|word| {
            matches!(
                *word,
                "HIGH" | "DEFAULT" | "ALL" | "EECDH" | "ECDHE" | "kEECDH" | "SECURE"
            ) || word.contains('+')
                || word.starts_with("PROFILE=")
        });
        let of_1_2 = |word: &&&str| !word.starts_with("TLS_AES") && !word.starts_with("TLS_CHACHA");
        if leaves_choice || known.iter().filter(of_1_2).count() == 6 || known.is_empty() {
            accounts.built_in(
                directive,
                "the suites are rustls's, all with forward secrecy",
            );
            continue;
        }
        table.set("ciphers", list(known.iter().map(|name| text(name))));
        let all = known.len()
            == words
                .iter()
                .filter(|word| !word.starts_with(['!', '-', '@']))
                .count();
        match all {
            true => accounts.translated(directive, "`ciphers` in `tls`"),
            false => accounts.changed(
                directive,
                "`ciphers` in `tls`, without suites that have no forward secrecy or no \
                 authenticated encryption (RFC 9325)",
            ),
        }
    }
}

fn sessions(scope: &Scope<'_>, table: &mut Table, accounts: &Accounts) {
    for directive in scope.nearest("ssl_session_cache") {
        let shared = directive
            .arguments
            .iter()
            .find_map(|each| each.strip_prefix("shared:"));
        let size = shared.and_then(|shared| values::size(shared.split(':').nth(1)?));
        match (directive.argument(0), size) {
            ("off" | "none", _) => {
                table.set("session_cache", "0");
                accounts.translated(directive, "`session_cache = 0` in `tls`");
            }
            (_, Some(size)) => {
                let sessions = (size.saturating_mul(SESSIONS_OF_MEGABYTE) >> 20).min(MOST_SESSIONS);
                if sessions != 10_000 {
                    table.set("session_cache", sessions.to_string());
                }
                accounts.translated(directive, "`session_cache` in `tls`, in sessions");
            }
            _ => accounts.built_in(directive, "sessions are kept for all workers"),
        }
    }
    for directive in scope.nearest("ssl_session_timeout") {
        match values::time(directive.argument(0)) {
            Some(time) if time.as_secs() == 300 => {
                accounts.built_in(directive, "it is the default")
            }
            Some(time) if time.as_secs() > 0 => {
                table.set("session_timeout", text(&duration_text(time)));
                accounts.translated(directive, "`session_timeout` in `tls`");
            }
            _ => accounts.lost(directive, "it is no time"),
        }
    }
    for directive in scope.nearest("ssl_session_tickets") {
        match directive.argument(0) {
            "off" => {
                table.set("session_tickets", "false");
                accounts.translated(directive, "`session_tickets` in `tls`");
            }
            _ => accounts.built_in(directive, "tickets are on by default"),
        }
    }
}

/// Certificates of clients: of the listener here, of each server in nginx.
fn clients(all: &[(&Scope<'_>, Vec<String>)], table: &mut Table, accounts: &Accounts) {
    let servers: Vec<&(&Scope<'_>, Vec<String>)> =
        all.iter().filter(|(scope, _)| !rejects(scope)).collect();
    let wanted = |scope: &Scope<'_>| scope.value("ssl_verify_client").unwrap_or("off").to_owned();
    let Some((default, _)) = servers.first() else {
        return;
    };
    let verify = wanted(default);
    // Whose certificates are good counts as well, where they are asked for.
    let asked = |scope: &Scope<'_>| {
        let named = |name| scope.value(name).map(str::to_owned);
        let ca = named("ssl_client_certificate").or_else(|| named("ssl_trusted_certificate"));
        let wanted = wanted(scope);
        (wanted != "off").then(|| (wanted, ca, named("ssl_crl")))
    };
    let differ = servers
        .iter()
        .any(|(scope, _)| asked(scope) != asked(default));
    for (scope, _) in &servers {
        for directive in scope.nearest("ssl_verify_client") {
            match (directive.argument(0), differ) {
                ("off", false) => accounts.harmless(directive, "off, as without it"),
                (_, true) => accounts.lost(
                    directive,
                    "`client_certificate` is for a whole listener, and servers of this address \
                     differ: give them addresses of their own",
                ),
                ("on", _) => {
                    accounts.translated(directive, "`client_certificate = \"require\"` in `tls`")
                }
                ("optional", _) => {
                    accounts.translated(directive, "`client_certificate = \"optional\"` in `tls`");
                }
                _ => accounts.lost(
                    directive,
                    "certificates of clients are verified, or not asked for",
                ),
            }
        }
        let ca = scope.nearest("ssl_client_certificate");
        for directive in ca {
            match wanted(scope).as_str() {
                "off" => accounts.harmless(directive, "no client is asked for a certificate"),
                _ => accounts.translated(directive, "`client_ca` in `tls`"),
            }
        }
        for directive in scope.nearest("ssl_crl") {
            match wanted(scope).as_str() {
                "off" => accounts.harmless(directive, "no client is asked for a certificate"),
                _ => accounts.translated(directive, "`client_crl` in `tls`"),
            }
        }
        for directive in scope.nearest("ssl_verify_depth") {
            match wanted(scope).as_str() {
                "off" => accounts.harmless(directive, "no client is asked for a certificate"),
                _ => accounts.changed(directive, "chains are verified whole"),
            }
        }
        for directive in scope.nearest("ssl_trusted_certificate") {
            let trusts = wanted(scope) != "off" && ca.is_empty();
            match trusts {
                true => accounts.translated(directive, "`client_ca` in `tls`"),
                false => accounts.harmless(directive, "no client's certificate is verified by it"),
            }
        }
    }
    let mode = match verify.as_str() {
        "on" => "require",
        "optional" => "optional",
        _ => return,
    };
    if differ {
        return;
    }
    table.set("client_certificate", text(mode));
    let ca = default
        .value("ssl_client_certificate")
        .or_else(|| default.value("ssl_trusted_certificate"));
    if let Some(ca) = ca {
        table.set("client_ca", text(ca));
    }
    if let Some(crl) = default.value("ssl_crl") {
        table.set("client_crl", text(crl));
    }
}

/// Whether a server gets no request: it refuses all handshakes.
pub(super) fn rejects(server: &Scope<'_>) -> bool {
    server.is_on("ssl_reject_handshake") && server.own("ssl_certificate").is_empty()
}

/// What goes with TLS and needs no key, or has none.
fn companions(servers: &[(&Scope<'_>, Vec<String>)], accounts: &Accounts) {
    for (scope, _) in servers {
        let stapling = scope.nearest("ssl_stapling").iter();
        for directive in stapling.chain(scope.nearest("ssl_stapling_verify")) {
            match directive.argument(0) {
                "on" => accounts.changed(
                    directive,
                    "an OCSP answer is stapled from a file, `ocsp` beside `certificate`, and not \
                     fetched: only certificates that insist on one need that",
                ),
                _ => accounts.harmless(directive, "off, as without it"),
            }
        }
        let file = |directive: &&&Directive| {
            directive.argument(0).starts_with('$') && !is_ordered(directive)
        };
        for directive in scope.nearest("ssl_certificate").iter().filter(file) {
            accounts.lost(directive, "a certificate is a file with a fixed name");
        }
    }
}
