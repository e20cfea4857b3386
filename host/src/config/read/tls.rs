//! TLS on either side, and what goes with it on a listener. What is in the files is not looked at
//! here.

use std::sync::Arc;

use super::{Complaint, ConfigReader, acme, noted};
use crate::config::declared::{CERTIFICATE, TLS, UPSTREAM_TLS};
use crate::config::model::{
    CIPHERS, CertificateFiles, Cipher, ClientCertificate, ListenerTls, NamedFile, TlsVersion,
    UnknownNames, UpstreamTls, is_server_name, server_host,
};
use crate::config::problem::{Problem, suggestion};
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::config::units;

const HTTPS_PORT: u16 = 443;
const ASK_FOR_CERTIFICATES: &str = "say `client_certificate = \"require\"` or `\"optional\"`";

/// `[[listen]] tls`.
pub(super) fn listener(section: &Section<'_>) -> Option<ListenerTls> {
    let tls = section.table("tls", &TLS)?;
    let mut certificates = Vec::new();
    let given = |name| tls.entries().iter().any(|entry| entry.key == name);
    if given("certificate")
        || given("key")
        || (tls.list("certificates").is_empty() && !given("acme"))
    {
        certificates.extend(certificate(&tls));
    } else if let Some(name) = ["ocsp", "names"].into_iter().find(|name| given(name)) {
        let message = format!("`{name}` without a `certificate` beside it");
        let hint = "move it to the one of `certificates` that it is about";
        tls.problems
            .add(Problem::new(tls.place, message).hint(hint));
    }
    for node in tls.list("certificates") {
        let own = Section::open(node, &CERTIFICATE, tls.problems);
        certificates.extend(own.and_then(|section| certificate(&section)));
    }
    let (min_version, max_version) = (version(&tls, "min_version"), version(&tls, "max_version"));
    if min_version > max_version {
        let message = "`min_version` is newer than `max_version`: no client could connect";
        tls.problems.add(Problem::new(tls.place, message));
    }
    let session_timeout = tls.duration("session_timeout");
    if session_timeout.subsec_nanos() > 0 {
        let message = "`session_timeout` must be whole seconds";
        tls.problems.add(Problem::new(tls.place, message));
    }
    let (client_certificate, client_ca) = client_certificate(&tls);
    if client_certificate == ClientCertificate::Off
        && let Some(node) = tls.get("client_crl")
    {
        let problem = Problem::new(&node.place, "`client_crl` without `client_certificate`");
        tls.problems.add(problem.hint(ASK_FOR_CERTIFICATES));
    }
    Some(ListenerTls {
        certificates,
        acme: acme::acme(&tls),
        unknown_names: match tls.word("unknown_names") {
            "refuse" => UnknownNames::Refuse,
            _ => UnknownNames::Default,
        },
        min_version,
        max_version,
        ciphers: ciphers(&tls),
        session_tickets: tls.boolean("session_tickets"),
        session_timeout,
        session_cache: tls.integer("session_cache"),
        client_certificate,
        client_ca,
        client_crl: file(&tls, "client_crl"),
        handshake_timeout: tls.duration("handshake_timeout"),
        max_handshakes: tls.integer("max_handshakes"),
    })
}

fn certificate(section: &Section<'_>) -> Option<CertificateFiles> {
    let [chain, key] = ["certificate", "key"].map(|name| {
        section.required(name);
        file(section, name)
    });
    let (ocsp, names) = (file(section, "ocsp"), names(section));
    Some(CertificateFiles {
        certificate: chain?,
        key: key?,
        ocsp,
        names,
    })
}

fn names(section: &Section<'_>) -> Vec<String> {
    let name = |(text, node): (&str, &Node)| {
        let lower = text.to_ascii_lowercase();
        let host = lower.strip_prefix("*.").unwrap_or(&lower);
        // An address is never asked for by name (RFC 6066 section 3).
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        if is_server_name(host) && !is_address {
            return Some(lower);
        }
        let complaint = Complaint::new(format!(
            "`{text}` is not a name that a client could ask for"
        ));
        let hint = "write it as `example.com` or `*.example.com`";
        section.problems.add(complaint.hint(hint).at(&node.place));
        None
    };
    section
        .texts("names")
        .into_iter()
        .filter_map(name)
        .collect()
}

fn version(section: &Section<'_>, name: &str) -> TlsVersion {
    match section.word(name) {
        "1.3" => TlsVersion::Tls13,
        _ => TlsVersion::Tls12,
    }
}

fn ciphers(section: &Section<'_>) -> Vec<&'static Cipher> {
    let cipher = |(text, node): (&str, &Node)| {
        let found = Cipher::by_name(text).ok_or_else(|| {
            let known = CIPHERS.iter().map(|cipher| cipher.openssl);
            Complaint::new(format!("unknown cipher `{text}`")).hint(suggestion(
                text,
                known,
                "suites with forward secrecy and authentication",
            ))
        });
        noted(found, node, section.problems)
    };
    section
        .texts("ciphers")
        .into_iter()
        .filter_map(cipher)
        .collect()
}

/// Whether clients are asked for certificates, and the authorities that may have issued them:
/// neither makes sense without the other.
fn client_certificate(section: &Section<'_>) -> (ClientCertificate, Option<NamedFile>) {
    let wanted = match section.word("client_certificate") {
        "optional" => ClientCertificate::Optional,
        "require" => ClientCertificate::Require,
        _ => ClientCertificate::Off,
    };
    let ca = file(section, "client_ca");
    let given = section.get("client_ca");
    match (wanted, given) {
        (ClientCertificate::Off, Some(node)) => {
            let problem = Problem::new(&node.place, "`client_ca` without `client_certificate`");
            section.problems.add(problem.hint(ASK_FOR_CERTIFICATES));
        }
        (ClientCertificate::Optional | ClientCertificate::Require, None) => {
            let problem = Problem::new(section.place, "`client_ca` is missing");
            let hint = "name the PEM file of the authorities that issue client certificates";
            section.problems.add(problem.hint(hint));
        }
        _ => {}
    }
    (wanted, ca)
}

/// A file beside the configuration.
pub(super) fn file(section: &Section<'_>, name: &str) -> Option<NamedFile> {
    let (text, node) = section.text_given(name)?;
    if text.is_empty() {
        section.problems.add(Problem::new(
            &node.place,
            format!("the path of `{name}` is empty"),
        ));
        return None;
    }
    Some(NamedFile {
        path: node.place.beside(text),
        place: node.place.clone(),
    })
}

/// The value of `Strict-Transport-Security` (RFC 6797 section 6.1).
pub(super) fn hsts(section: &Section<'_>) -> Option<Arc<str>> {
    let (text, node) = section.text_given("hsts")?;
    if section.get("tls").is_none() {
        let problem = Problem::new(&node.place, "`hsts` without `tls`");
        let hint = "clients heed it only over TLS (RFC 6797 section 7.2): say it on the listener with `tls`";
        section.problems.add(problem.hint(hint));
    }
    if let Ok(duration) = units::duration(text)
        && duration.subsec_nanos() == 0
    {
        return Some(format!("max-age={}", duration.as_secs()).into());
    }
    let directives: Vec<&str> = text.split(';').map(str::trim).collect();
    let is_number = |age: &str| !age.is_empty() && age.bytes().all(|byte| byte.is_ascii_digit());
    let known = |directive: &&str| {
        ["includesubdomains", "preload"].contains(&&*directive.to_ascii_lowercase())
    };
    if let Some((first, others)) = directives.split_first()
        && first.strip_prefix("max-age=").is_some_and(is_number)
        && others.iter().all(known)
    {
        return Some(directives.join("; ").into());
    }
    let complaint = Complaint::new(format!(
        "`{text}` is not a value of `Strict-Transport-Security`"
    ));
    let hint = "write it as `365d`, or as `max-age=31536000; includeSubDomains`";
    section.problems.add(complaint.hint(hint).at(&node.place));
    None
}

/// The port of `https` that requests are sent to.
pub(super) fn redirect_to_https(section: &Section<'_>) -> Option<u16> {
    let node = section.get("redirect_to_https")?;
    let port = match &node.value {
        Value::Boolean(true) => Some(HTTPS_PORT),
        Value::Boolean(false) => None,
        Value::Environment(text) if text == "true" => Some(HTTPS_PORT),
        Value::Environment(text) if text == "false" => None,
        _ => section
            .integer_of(node, "redirect_to_https")
            .and_then(|port| u16::try_from(port).ok()),
    };
    if port.is_some() && section.get("tls").is_some() {
        let problem = Problem::new(&node.place, "`redirect_to_https` with `tls`");
        let hint = "say it on the listener without `tls`: this one has `https` already";
        section.problems.add(problem.hint(hint));
    }
    port
}

/// `[upstream.NAME] tls`, where the servers speak it.
pub(super) fn upstream(section: &Section<'_>) -> UpstreamTls {
    let reader = section.problems;
    let empty = || Section::of(&[], section.place, &UPSTREAM_TLS, reader);
    let tls = match section.get("tls") {
        Some(node) if matches!(node.value, Value::Table(_)) => {
            Section::open(node, &UPSTREAM_TLS, reader).unwrap_or_else(empty)
        }
        _ => empty(),
    };
    let server_name = tls.text_given("server_name").and_then(|(text, node)| {
        let known = is_server_name(text).then(|| text.to_ascii_lowercase());
        noted(
            known.ok_or_else(|| Complaint::new(format!("`{text}` is not a server's name"))),
            node,
            reader,
        )
    });
    let certificate = match (file(&tls, "certificate"), file(&tls, "key")) {
        (Some(chain), Some(key)) => Some((chain, key)),
        (None, None) => None,
        (chain, _) => {
            let (missing, given) = match chain {
                Some(_) => ("key", "certificate"),
                None => ("certificate", "key"),
            };
            let message = format!("`{missing}` is missing: there is a `{given}`");
            reader.add(Problem::new(tls.place, message));
            None
        }
    };
    let (ca, crl) = (file(&tls, "ca"), file(&tls, "crl"));
    let verify = tls.boolean("verify");
    for (name, given) in [("ca", &ca), ("crl", &crl)] {
        if !verify && let Some(file) = given {
            let problem = Problem::new(&file.place, format!("`{name}` with `verify = false`"));
            reader.add(problem.hint("leave one of them out: nothing is verified"));
        }
    }
    UpstreamTls {
        verify,
        ca,
        crl,
        server_name,
        certificate,
        min_version: version(&tls, "min_version"),
        session_cache: tls.integer("session_cache"),
    }
}

/// Notes a server whose certificate could not be verified, because it has no name.
pub(super) fn check_name(tls: &UpstreamTls, server: &str, node: &Node, reader: ConfigReader<'_>) {
    if !tls.verify || tls.server_name.is_some() || server_host(server).is_some_and(is_server_name) {
        return;
    }
    let message = format!("`{server}` has no name that its certificate could be verified by");
    let hint = "say which it is made out for: `tls = { server_name = \"app.example\" }`";
    reader
        .problems
        .add(Problem::new(&node.place, message).hint(hint));
}

/// Whether an address leaves its port to be supplied.
pub(super) fn has_no_port(address: &str) -> bool {
    let port = address.rsplit_once(':').map(|(_, port)| port);
    !address.starts_with("unix:") && port.is_none_or(|port| port.ends_with(']'))
}
