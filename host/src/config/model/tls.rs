//! TLS as the configuration means it: which files and bounds. What is in the files is for
//! [`crate::tls`] to say.

use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::{Acme, Cipher};
use crate::config::problem::Place;

/// A file that the configuration names. Equal to another one of the same path, wherever that is
/// named.
#[derive(Clone)]
pub struct NamedFile {
    /// Absolute.
    pub path: PathBuf,
    pub place: Place,
}

impl std::fmt::Debug for NamedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.fmt(f)
    }
}

impl PartialEq for NamedFile {
    fn eq(&self, other: &NamedFile) -> bool {
        self.path == other.path
    }
}

/// `[[listen]] tls`: how clients are spoken to.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerTls {
    /// In the order of the file; the first one is shown to clients that send no server name (SNI),
    /// or an unknown one.
    pub certificates: Vec<CertificateFiles>,
    /// Further ones, that are ordered; some may not be there yet.
    pub acme: Option<Acme>,
    pub unknown_names: UnknownNames,
    /// Default TLS 1.2.
    pub min_version: TlsVersion,
    /// Default TLS 1.3.
    pub max_version: TlsVersion,
    /// Of a version of which none is named, all that there are.
    pub ciphers: Vec<&'static Cipher>,
    /// Default on, as nginx.
    pub session_tickets: bool,
    /// How long a session can be resumed, default 5 minutes (`ssl_session_timeout`).
    pub session_timeout: Duration,
    /// Sessions kept for clients without tickets, in all workers; default 10,000, 0 none.
    pub session_cache: usize,
    pub client_certificate: ClientCertificate,
    /// There where client certificates are asked for.
    pub client_ca: Option<NamedFile>,
    /// Whom their authorities have revoked (`ssl_crl`).
    pub client_crl: Option<NamedFile>,
    /// From the connection to the end of the handshake, default 60 s (nginx:
    /// `client_header_timeout`).
    pub handshake_timeout: Duration,
    /// Handshakes computed side by side, in all workers; more wait. Default 10,000.
    pub max_handshakes: usize,
}

/// A certificate chain with its key.
#[derive(Debug, Clone, PartialEq)]
pub struct CertificateFiles {
    pub certificate: NamedFile,
    pub key: NamedFile,
    /// An OCSP response in DER, stapled to the handshake.
    pub ocsp: Option<NamedFile>,
    /// The server names (SNI) that it is shown for, in lower case; if empty, the names in the
    /// certificate.
    pub names: Vec<String>,
}

/// What a client gets that asks for a name of which there is no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownNames {
    /// The first certificate.
    Default,
    /// The alert `unrecognized_name` (`ssl_reject_handshake`).
    Refuse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls12,
    Tls13,
}

/// `ssl_verify_client`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificate {
    Off,
    /// One that is sent must be valid.
    Optional,
    Require,
}

/// `[upstream.NAME] tls`: how endpoints are spoken to.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamTls {
    /// Default on, unlike nginx (`proxy_ssl_verify`).
    pub verify: bool,
    /// The authorities that endpoints' certificates are verified by; `None`: those of the system.
    pub ca: Option<NamedFile>,
    /// Certificates that these authorities have revoked (`proxy_ssl_crl`).
    pub crl: Option<NamedFile>,
    /// Asked for, and verified, in place of each server's own host (`proxy_ssl_name`).
    pub server_name: Option<String>,
    /// Our certificate and its key.
    pub certificate: Option<(NamedFile, NamedFile)>,
    /// Default TLS 1.2.
    pub min_version: TlsVersion,
    /// Sessions kept to be resumed, in all workers; default 1000, 0 none.
    pub session_cache: usize,
}

impl ListenerTls {
    /// Every file that it is made of.
    pub fn files(&self) -> impl Iterator<Item = &NamedFile> {
        let of_certificates = self.certificates.iter().flat_map(|files| {
            [
                Some(&files.certificate),
                Some(&files.key),
                files.ocsp.as_ref(),
            ]
        });
        let of_acme = self.acme.iter().flat_map(|acme| &acme.certificates);
        let of_acme = of_acme.map(|certificate| Some(&certificate.file));
        let of_clients = [self.client_ca.as_ref(), self.client_crl.as_ref()];
        of_certificates.chain(of_acme).chain(of_clients).flatten()
    }
}

impl UpstreamTls {
    /// Verified by the authorities of a file, or by those of the system; all else as it is by default,
    /// but that no session is kept.
    pub fn verified_by(ca: Option<NamedFile>) -> UpstreamTls {
        UpstreamTls {
            verify: true,
            ca,
            crl: None,
            server_name: None,
            certificate: None,
            min_version: TlsVersion::Tls12,
            session_cache: 0,
        }
    }

    /// Every file that it is made of.
    pub fn files(&self) -> impl Iterator<Item = &NamedFile> {
        let own = self
            .certificate
            .iter()
            .flat_map(|(chain, key)| [chain, key]);
        self.ca.iter().chain(&self.crl).chain(own)
    }
}

impl TlsVersion {
    /// As the file writes it.
    pub fn spelling(self) -> &'static str {
        match self {
            TlsVersion::Tls12 => "1.2",
            TlsVersion::Tls13 => "1.3",
        }
    }
}

impl ClientCertificate {
    /// As the file writes it.
    pub fn spelling(self) -> &'static str {
        match self {
            ClientCertificate::Off => "off",
            ClientCertificate::Optional => "optional",
            ClientCertificate::Require => "require",
        }
    }
}

impl UnknownNames {
    /// As the file writes it.
    pub fn spelling(self) -> &'static str {
        match self {
            UnknownNames::Default => "default",
            UnknownNames::Refuse => "refuse",
        }
    }
}

/// Whether a server could be asked for, and verified, by this name or address.
pub(crate) fn is_server_name(text: &str) -> bool {
    ServerName::try_from(text).is_ok()
}

/// The host of a server's address: `app.example` of `app.example:443`, `::1` of `[::1]:443`; none
/// of a unix socket.
pub(crate) fn server_host(server: &str) -> Option<&str> {
    if server.starts_with("unix:") {
        return None;
    }
    if let Some(rest) = server.strip_prefix('[') {
        return rest.split_once(']').map(|(host, _)| host);
    }
    Some(server.rsplit_once(':').map_or(server, |(host, _)| host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_is_what_a_certificate_is_made_out_for() {
        for (address, expected) in [
            ("app.example", Some("app.example")),
            ("app.example:8443", Some("app.example")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("192.0.2.1:443", Some("192.0.2.1")),
            ("unix:/run/app.sock", None),
        ] {
            assert_eq!(server_host(address), expected, "{address}");
        }
    }
}
