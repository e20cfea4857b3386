//! TLS on either side, as the file writes it.

use super::{inline_table, text, texts};
use crate::config::model::{Acme, CertificateFiles, Eab, ListenerTls, NamedFile, UpstreamTls};
use crate::config::units::duration_text;

pub(super) fn listener(tls: &ListenerTls) -> String {
    let certificates: Vec<String> = tls
        .certificates
        .iter()
        .map(|files| inline_table(certificate(files)))
        .collect();
    let mut parts = Vec::new();
    if !certificates.is_empty() || tls.acme.is_none() {
        parts.push(format!("certificates = [{}]", certificates.join(", ")));
    }
    parts.extend([
        format!("unknown_names = {}", text(tls.unknown_names.spelling())),
        format!("min_version = {}", text(tls.min_version.spelling())),
        format!("max_version = {}", text(tls.max_version.spelling())),
        format!("session_tickets = {}", tls.session_tickets),
        format!(
            "session_timeout = {}",
            text(&duration_text(tls.session_timeout))
        ),
        format!("session_cache = {}", tls.session_cache),
        format!(
            "client_certificate = {}",
            text(tls.client_certificate.spelling())
        ),
        format!(
            "handshake_timeout = {}",
            text(&duration_text(tls.handshake_timeout))
        ),
        format!("max_handshakes = {}", tls.max_handshakes),
    ]);
    if !tls.ciphers.is_empty() {
        let names = tls.ciphers.iter().map(|cipher| cipher.openssl);
        parts.push(format!("ciphers = {}", texts(names)));
    }
    if let Some(ca) = &tls.client_ca {
        parts.push(format!("client_ca = {}", path(ca)));
    }
    if let Some(crl) = &tls.client_crl {
        parts.push(format!("client_crl = {}", path(crl)));
    }
    if let Some(acme) = &tls.acme {
        parts.push(format!("acme = {}", inline_table(self::acme(acme))));
    }
    inline_table(parts)
}

fn acme(acme: &Acme) -> Vec<String> {
    let authority = &acme.authority;
    let domains = acme.certificates.iter().map(|of| of.domain.as_str());
    let challenges = authority.challenges.iter().map(|kind| kind.spelling());
    let mut parts = vec![
        format!("domains = {}", texts(domains)),
        format!("directory = {}", text(&authority.directory)),
        format!(
            "store = {}",
            text(&authority.store.path.display().to_string())
        ),
        format!("challenges = {}", texts(challenges)),
        format!("key_type = {}", text(acme.key_type.spelling())),
    ];
    if let Some(email) = &authority.email {
        parts.push(format!("email = {}", text(email)));
    }
    if let Some(Eab { kid, key }) = &authority.eab {
        let eab = [
            format!("kid = {}", text(kid)),
            format!("key = {}", text(key)),
        ];
        parts.push(format!("eab = {}", inline_table(eab)));
    }
    if let Some(file) = &authority.trusted_certificate {
        parts.push(format!("trusted_certificate = {}", path(file)));
    }
    parts
}

fn certificate(files: &CertificateFiles) -> Vec<String> {
    let mut parts = vec![
        format!("certificate = {}", path(&files.certificate)),
        format!("key = {}", path(&files.key)),
    ];
    if let Some(ocsp) = &files.ocsp {
        parts.push(format!("ocsp = {}", path(ocsp)));
    }
    if !files.names.is_empty() {
        parts.push(format!("names = {}", texts(&files.names)));
    }
    parts
}

pub(super) fn upstream(tls: &UpstreamTls) -> String {
    let mut parts = vec![
        format!("verify = {}", tls.verify),
        format!("min_version = {}", text(tls.min_version.spelling())),
        format!("session_cache = {}", tls.session_cache),
    ];
    if let Some(ca) = &tls.ca {
        parts.push(format!("ca = {}", path(ca)));
    }
    if let Some(crl) = &tls.crl {
        parts.push(format!("crl = {}", path(crl)));
    }
    if let Some(name) = &tls.server_name {
        parts.push(format!("server_name = {}", text(name)));
    }
    if let Some((chain, key)) = &tls.certificate {
        parts.push(format!("certificate = {}", path(chain)));
        parts.push(format!("key = {}", path(key)));
    }
    inline_table(parts)
}

fn path(file: &NamedFile) -> String {
    text(&file.path.display().to_string())
}
