//! `acme` of a listener's `tls`. Domains that are left out are those of its routes, which are only
//! known at the end.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::{Complaint, noted, tls};
use crate::config::declared::{ACME, EAB};
use crate::config::model::{
    Acme, AcmeAuthority, AcmeCertificate, AcmeStore, Address, ChallengeKind, Config, Eab,
    HostPattern, KeyType, LETS_ENCRYPT, LETS_ENCRYPT_STAGING, ListenerConfig, ListenerTls,
    NamedFile, Route, is_server_name,
};
use crate::config::problem::{Place, Problem, Problems};
use crate::config::section::Section;
use crate::config::tree::Node;

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;
const SAY_DOMAINS: &str = "say which: `domains = [\"example.com\"]`";

/// What `tls` says of it. The domains, where they are left out, and the challenges come later.
pub(super) fn acme(tls: &Section<'_>) -> Option<Acme> {
    let section = tls.table("acme", &ACME)?;
    let store = match section.text_given("store") {
        Some((text, node)) => {
            if text.is_empty() {
                let problem = Problem::new(&node.place, "the path of `store` is empty");
                section.problems.add(problem);
            }
            node.place.beside(text)
        }
        None => default_store(section.place),
    };
    let authority = AcmeAuthority {
        directory: directory(&section),
        email: email(&section),
        eab: section.table("eab", &EAB).and_then(|section| eab(&section)),
        trusted_certificate: tls::file(&section, "trusted_certificate"),
        challenges: challenges(&section),
        store: AcmeStore::new(store),
    };
    let mut acme = Acme {
        certificates: Vec::new(),
        of_routes: section.get("domains").is_none(),
        key_type: KeyType::spelled(section.word("key_type")).unwrap_or_default(),
        authority: Arc::new(authority),
    };
    for (text, node) in section.texts("domains") {
        if let Some(domain) = noted(domain(text), node, section.problems) {
            add(&mut acme, domain, &node.place);
        }
    }
    if let Some(node) = section.get("domains")
        && section.texts("domains").is_empty()
    {
        let problem = Problem::new(&node.place, "`domains` is empty: nothing would be ordered");
        let hint = "leave it out, and the hosts of the listener's routes are meant";
        section.problems.add(problem.hint(hint));
    }
    Some(acme)
}

/// Where state goes if nobody says where.
fn default_store(place: &Place) -> PathBuf {
    let state = std::env::var("STATE_DIRECTORY").unwrap_or_default();
    match state.split(':').next() {
        Some(first) if !first.is_empty() => Path::new(first).join("acme"),
        _ => place.beside("acme"),
    }
}

fn add(acme: &mut Acme, domain: String, place: &Place) {
    if acme.certificates.iter().any(|known| known.domain == domain) {
        return;
    }
    let file = NamedFile {
        path: acme.authority.file(&domain),
        place: place.clone(),
    };
    acme.certificates.push(AcmeCertificate {
        domain,
        file,
        key_type: acme.key_type,
    });
}

fn domain(text: &str) -> Result<String, Complaint> {
    let lower = text.trim_end_matches('.').to_ascii_lowercase();
    if lower.contains('*') {
        let complaint = Complaint::new(format!("`{text}`: no wildcard can be ordered"));
        return Err(complaint.hint(
            "it would take DNS-01, which is not spoken: name each domain, or have another program order it and name \
             its files as `certificate` and `key`",
        ));
    }
    if lower.parse::<IpAddr>().is_ok() {
        let complaint = Complaint::new(format!("`{text}` is an address, not a domain"));
        return Err(complaint.hint("certificates are ordered for names such as `example.com`"));
    }
    match is_server_name(&lower) && !lower.contains('/') {
        true => Ok(lower),
        false => Err(Complaint::new(format!("`{text}` is not a domain"))
            .hint("write it as `example.com`; names with other letters in their `xn--` form")),
    }
}

fn directory(section: &Section<'_>) -> String {
    let known = |text: &str| match text {
        "letsencrypt" => Some(LETS_ENCRYPT.to_owned()),
        "letsencrypt-staging" => Some(LETS_ENCRYPT_STAGING.to_owned()),
        _ => None,
    };
    let Some((text, node)) = section.text_given("directory") else {
        return LETS_ENCRYPT.to_owned();
    };
    let url = known(text).or_else(|| {
        let uri: http::Uri = text.parse().ok()?;
        let is_https = uri.scheme_str() == Some("https") && uri.host().is_some();
        is_https.then(|| text.to_owned())
    });
    let complaint = || {
        Complaint::new(format!("`{text}` is not the URL of a directory")).hint(
            "write it as `https://acme.example/directory`, or as `letsencrypt` or `letsencrypt-staging`",
        )
    };
    noted(url.ok_or_else(complaint), node, section.problems).unwrap_or_default()
}

fn email(section: &Section<'_>) -> Option<String> {
    let (text, node) = section.text_given("email")?;
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let is_address = address
        .split_once('@')
        .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
        && !address.contains(|c: char| c.is_whitespace() || c.is_control() || ",?<>".contains(c));
    let complaint = || {
        Complaint::new(format!("`{text}` is not an address of e-mail"))
            .hint("write it as `ops@example.com`")
    };
    let address = is_address.then(|| address.to_owned());
    noted(address.ok_or_else(complaint), node, section.problems)
}

fn eab(section: &Section<'_>) -> Option<Eab> {
    let kid = section.text_given("kid").map(|(text, _)| text.to_owned());
    let (key, node) = section.text_given("key")?;
    let trimmed = key.trim_end_matches('=');
    let is_key = BASE64_URL_SAFE_NO_PAD
        .decode(trimmed)
        .is_ok_and(|bytes| !bytes.is_empty());
    if !is_key {
        // The key itself is not repeated.
        let problem = Problem::new(&node.place, "`key` is not in base64url");
        let hint =
            "it is the HMAC key as the authority gave it to you: of letters, digits, `-` and `_`";
        section.problems.add(problem.hint(hint));
        return None;
    }
    Some(Eab {
        kid: kid?,
        key: trimmed.to_owned(),
    })
}

/// Those that are given; what is left out is chosen in [`complete`].
fn challenges(section: &Section<'_>) -> Vec<ChallengeKind> {
    let given = section.texts("challenges");
    let kind = |(text, node): (&str, &Node)| {
        let kinds = [ChallengeKind::Http01, ChallengeKind::TlsAlpn01];
        let known = kinds.into_iter().find(|kind| kind.spelling() == text);
        let complaint = || {
            let of = match text {
                "dns-01" => "`dns-01` is not spoken".to_owned(),
                _ => format!("unknown challenge `{text}`"),
            };
            Complaint::new(of).hint("there are `http-01` and `tls-alpn-01`")
        };
        noted(known.ok_or_else(complaint), node, section.problems)
    };
    let none = given.is_empty();
    let mut kinds: Vec<ChallengeKind> = given.into_iter().filter_map(kind).collect();
    kinds.dedup();
    if let Some(node) = section.get("challenges")
        && none
    {
        let problem = Problem::new(
            &node.place,
            "`challenges` is empty: no domain could be shown",
        );
        section.problems.add(problem.hint("leave it out"));
    }
    kinds
}

/// Fills in what depends on all of the file: domains that are those of routes, and challenges that
/// are answered.
pub(super) fn complete(listeners: &mut [ListenerConfig], routes: &[Route], problems: &Problems) {
    let port = |listener: &ListenerConfig| match &listener.address {
        Address::Tcp(address) => Some(address.port()),
        Address::Unix(_) => None,
    };
    let plain = || listeners_without_tls(listeners);
    let has_plain = plain().next().is_some();
    let has_plain_port = plain().any(|listener| port(listener) == Some(HTTP_PORT));
    for (index, listener) in listeners.iter_mut().enumerate() {
        let tls_port = port(listener) == Some(HTTPS_PORT);
        let place = listener.place.clone();
        let of_files = |tls: &ListenerTls| !tls.certificates.is_empty();
        let has_files = listener.tls.as_ref().is_some_and(of_files);
        let Some(acme) = listener.tls.as_mut().and_then(|tls| tls.acme.as_mut()) else {
            continue;
        };
        if std::mem::take(&mut acme.of_routes) {
            of_routes(acme, (index, has_files), routes, &place, problems);
        }
        settle_challenges(
            acme,
            has_plain,
            tls_port && !has_plain_port,
            &place,
            problems,
        );
    }
}

/// The same for a stream, whose domains must be said.
pub(super) fn complete_stream(
    acme: &mut Acme,
    has_plain: bool,
    place: &Place,
    problems: &Problems,
) {
    if std::mem::take(&mut acme.of_routes) {
        let problem = Problem::new(place, "`acme` of a stream without `domains`");
        problems.add(problem.hint(SAY_DOMAINS));
    }
    settle_challenges(acme, has_plain, true, place, problems);
}

pub(super) fn listeners_without_tls(
    listeners: &[ListenerConfig],
) -> impl Iterator<Item = &ListenerConfig> {
    let plain = |listener: &&ListenerConfig| listener.tls.is_none();
    listeners.iter().filter(plain)
}

fn of_routes(
    acme: &mut Acme,
    (listener, has_files): (usize, bool),
    routes: &[Route],
    place: &Place,
    problems: &Problems,
) {
    for route in routes {
        if !route.listeners.contains(&listener) {
            continue;
        }
        match &route.host {
            HostPattern::Exact(host) => {
                if let Ok(domain) = domain(host) {
                    add(acme, domain, &route.place);
                }
            }
            // The file of a certificate may be for it.
            HostPattern::Suffix(_) | HostPattern::Prefix(_) | HostPattern::Regex(_)
                if !has_files =>
            {
                let message =
                    "no certificate is ordered for this route's `host`: it is no plain name";
                let hint = "a wildcard would take DNS-01, which is not spoken: name the domains in `acme`, \
                            or a `certificate` for it";
                problems.warn(Problem::new(&route.place, message).hint(hint));
            }
            _ => {}
        }
    }
    if acme.certificates.is_empty() {
        let message =
            "`acme` has no domain: no route of this listener has a `host` that is a plain name";
        problems.add(Problem::new(place, message).hint(SAY_DOMAINS));
    }
}

fn settle_challenges(
    acme: &mut Acme,
    has_plain: bool,
    tls_first: bool,
    place: &Place,
    problems: &Problems,
) {
    let authority = Arc::make_mut(&mut acme.authority);
    if authority.challenges == [ChallengeKind::Http01] && !has_plain {
        let message =
            "`challenges` has only `http-01`, and no listener is without TLS to answer it";
        let hint = "add a `[[listen]]` at port 80, or `\"tls-alpn-01\"`";
        problems.add(Problem::new(place, message).hint(hint));
    }
    if authority.challenges.is_empty() {
        authority.challenges = match (has_plain, tls_first) {
            (false, _) => vec![ChallengeKind::TlsAlpn01],
            (true, true) => vec![ChallengeKind::TlsAlpn01, ChallengeKind::Http01],
            (true, false) => vec![ChallengeKind::Http01, ChallengeKind::TlsAlpn01],
        };
    }
}

/// One file has one key: whoever is named for two would be ordered for at each reload.
pub(super) fn refuse_two_keys(config: &Config, problems: &Problems) {
    let mut known: HashMap<&Path, KeyType> = HashMap::new();
    for of in config.acme().flat_map(|acme| &acme.certificates) {
        let first = *known.entry(&of.file.path).or_insert(of.key_type);
        if first != of.key_type {
            let (domain, first, other) = (&of.domain, first.spelling(), of.key_type.spelling());
            let message =
                format!("the certificate of `{domain}` has `key_type` {first} and {other}");
            let hint = "listeners that share a certificate say the same, or have a `store` each";
            problems.add(Problem::new(&of.file.place, message).hint(hint));
        }
    }
}

/// Where tokens of HTTP-01 may be under way: each directory once.
pub(super) fn http_challenges(config: &Config) -> Vec<Arc<Path>> {
    let mut found: Vec<Arc<Path>> = Vec::new();
    for Acme { authority, .. } in config.acme() {
        let directory = authority.store.http_challenges();
        if authority.challenges.contains(&ChallengeKind::Http01) && !found.contains(directory) {
            found.push(directory.clone());
        }
    }
    found
}
