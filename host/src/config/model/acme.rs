//! `acme`: which certificates are ordered, from whom, and where they are kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::NamedFile;

/// Let's Encrypt's directory, the default.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// The one to try with.
pub const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// The certificates of a listener that are ordered and renewed by themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct Acme {
    pub authority: Arc<AcmeAuthority>,
    /// While it is read: the domains are those of routes.
    pub(in crate::config) of_routes: bool,
    pub(in crate::config) key_type: KeyType,
    /// One for each domain.
    pub certificates: Vec<AcmeCertificate>,
}

/// Who is asked, as whom.
#[derive(Debug, Clone, PartialEq)]
pub struct AcmeAuthority {
    /// The URL of the directory.
    pub directory: String,
    pub email: Option<String>,
    pub eab: Option<Eab>,
    /// The authorities that the directory's own certificate is verified by; `None`: those of the
    /// system.
    pub trusted_certificate: Option<NamedFile>,
    /// Best first, at least one.
    pub challenges: Vec<ChallengeKind>,
    pub store: AcmeStore,
}

/// The directory that keys and certificates are kept in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeStore {
    /// Absolute.
    pub path: PathBuf,
    http: Arc<Path>,
    tls: Arc<Path>,
}

impl AcmeStore {
    pub fn new(path: PathBuf) -> AcmeStore {
        AcmeStore {
            http: path.join("http-01").into(),
            tls: path.join("tls-alpn-01").into(),
            path,
        }
    }

    /// Where there is a file for each token of HTTP-01 that is under way.
    pub fn http_challenges(&self) -> &Arc<Path> {
        &self.http
    }

    /// Where there is a file for each domain that TLS-ALPN-01 is under way for.
    pub fn tls_challenges(&self) -> &Arc<Path> {
        &self.tls
    }
}

/// A domain and the file with its key and its chain, which may not be there yet. The place is that
/// of the domain.
#[derive(Debug, Clone, PartialEq)]
pub struct AcmeCertificate {
    /// In lower case.
    pub domain: String,
    pub file: NamedFile,
    pub key_type: KeyType,
}

/// The key that a certificate is made out for. P-521 is left out: Let's Encrypt takes none, and
/// browsers have no signatures of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyType {
    /// On P-256.
    #[default]
    Ecdsa,
    Ecdsa384,
    Rsa2048,
    Rsa3072,
    Rsa4096,
}

impl KeyType {
    const ALL: [KeyType; 5] = [
        KeyType::Ecdsa,
        KeyType::Ecdsa384,
        KeyType::Rsa2048,
        KeyType::Rsa3072,
        KeyType::Rsa4096,
    ];
    pub const SPELLINGS: [&str; 5] = ["ecdsa", "ecdsa-384", "rsa-2048", "rsa-3072", "rsa-4096"];

    pub fn spelled(text: &str) -> Option<KeyType> {
        KeyType::ALL.into_iter().find(|of| of.spelling() == text)
    }

    /// As the file writes it.
    pub fn spelling(self) -> &'static str {
        KeyType::SPELLINGS[self as usize]
    }
}

/// External account binding (RFC 8555 section 7.3.4).
#[derive(Clone, PartialEq, Eq)]
pub struct Eab {
    pub kid: String,
    /// As the file has it, in base64url.
    pub key: String,
}

impl std::fmt::Debug for Eab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Eab({})", self.kid)
    }
}

/// How a domain is shown to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChallengeKind {
    /// RFC 8555 section 8.3.
    Http01,
    /// RFC 8737.
    TlsAlpn01,
}

impl ChallengeKind {
    /// As the file writes it.
    pub fn spelling(self) -> &'static str {
        match self {
            ChallengeKind::Http01 => "http-01",
            ChallengeKind::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

/// One whose store is this folder.
#[cfg(test)]
pub(crate) fn tests_authority(store: &std::path::Path) -> AcmeAuthority {
    AcmeAuthority {
        directory: "https://acme.example/directory".to_owned(),
        email: None,
        eab: None,
        trusted_certificate: None,
        challenges: vec![ChallengeKind::Http01],
        store: AcmeStore::new(store.to_owned()),
    }
}

impl AcmeAuthority {
    /// What is kept of this authority: accounts and certificates of two are never mixed up.
    pub fn folder(&self) -> PathBuf {
        let name = self.directory.trim_start_matches("https://");
        let harmless = |c: char| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => c,
            _ => '-',
        };
        let name: String = name.trim_end_matches('/').chars().map(harmless).collect();
        self.store.path.join(name.trim_start_matches('.'))
    }

    /// The file of a domain's certificate.
    pub fn file(&self, domain: &str) -> PathBuf {
        self.folder().join(format!("{domain}.pem"))
    }
}
