//! Challenges under way: files of the store, written before the authority is told that it may ask,
//! and removed once it has. Workers look for them on threads that may wait.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;

use super::store;
use crate::config::model::{AcmeStore, ChallengeKind};
use crate::file::read_regular;
use crate::tls;

/// Bytes of a file.
const MOST: u64 = 16 << 10;
/// No order takes that long.
const OLD: Duration = Duration::from_secs(3600);
/// Of a token, which has at least 22 (RFC 8555 section 8.3).
const LONGEST_TOKEN: usize = 256;

/// What a token of HTTP-01 is answered with, if it is under way. Waits for the disk.
pub(crate) fn key_authorization(directory: &Path, token: &str) -> Option<Vec<u8>> {
    let path = is_token(token).then(|| directory.join(token))?;
    read_regular(&path, MOST).ok()
}

/// Whether a text can be a token: in base64url, and so the name of no other file.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=LONGEST_TOKEN).contains(&text.len()) && text.bytes().all(allowed)
}

/// How a client is answered that validates a domain, in lower case, by TLS-ALPN-01, if that is under
/// way. Waits for the disk.
pub(crate) fn challenge_for(directory: &Path, domain: &str) -> Option<Arc<ServerConfig>> {
    let pem = read_regular(&file_of(directory, domain)?, MOST).ok()?;
    tls::challenge(&pem)
}

fn file_of(directory: &Path, domain: &str) -> Option<PathBuf> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = !domain.starts_with('.') && domain.bytes().all(allowed);
    is_name.then(|| directory.join(format!("{domain}.pem")))
}

/// A challenge under way, until it is dropped.
pub(super) struct Answered(PathBuf);

impl Drop for Answered {
    fn drop(&mut self) {
        // One that is left behind goes before a later order.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Answers a challenge from now on. `authorization`: that of the key for the token; `digest`: of it.
///
/// # Errors
/// The store cannot be written to, or the token is none.
pub(super) fn answer(
    kind: ChallengeKind,
    store: &AcmeStore,
    domain: &str,
    (token, authorization, digest): (&str, &str, &[u8]),
) -> io::Result<Answered> {
    let (path, bytes) = match kind {
        ChallengeKind::Http01 if is_token(token) => {
            let path = store.http_challenges().join(token);
            (Some(path), authorization.as_bytes().to_vec())
        }
        ChallengeKind::Http01 => (None, Vec::new()),
        ChallengeKind::TlsAlpn01 => {
            let pem = certificate(domain, digest).map_err(io::Error::other)?;
            (file_of(store.tls_challenges(), domain), pem.into_bytes())
        }
    };
    let path = path.ok_or_else(|| io::Error::other("the authority's token is none"))?;
    store::write(&path, &bytes)?;
    Ok(Answered(path))
}

/// The certificate that shows a domain to be ours (RFC 8737 section 3), and its key.
fn certificate(domain: &str, digest: &[u8]) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::new([domain.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(key.serialize_pem() + &certificate.pem())
}

/// Removes what a process has left behind that died while it ordered.
pub(super) fn forget_old(store: &AcmeStore) {
    for directory in [store.http_challenges(), store.tls_challenges()] {
        let Ok(entries) = std::fs::read_dir(directory) else {
            continue;
        };
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|known| known.modified());
            let age = modified.ok().and_then(|modified| modified.elapsed().ok());
            if age.is_some_and(|age| age > OLD) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_another_file() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("key.pem"), "secret").unwrap();
        let below = directory.path().join("http-01");
        std::fs::create_dir(&below).unwrap();
        std::fs::write(below.join("abc-_9"), "answer").unwrap();
        assert_eq!(key_authorization(&below, "abc-_9").unwrap(), b"answer");
        let long = "a".repeat(1000);
        for token in ["../key.pem", "", ".", "..", "a/b", "other", &long] {
            assert_eq!(key_authorization(&below, token), None, "{token}");
        }
    }

    #[test]
    fn a_challenge_is_answered_until_it_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let store = AcmeStore::new(directory.path().to_owned());
        let given = ("token", "token.thumb", &[7; 32][..]);
        for kind in [ChallengeKind::Http01, ChallengeKind::TlsAlpn01] {
            let answered = answer(kind, &store, "a.example", given).unwrap();
            let token = || key_authorization(store.http_challenges(), "token");
            let shown = || challenge_for(store.tls_challenges(), "a.example");
            match kind {
                ChallengeKind::Http01 => assert_eq!(token().unwrap(), b"token.thumb"),
                ChallengeKind::TlsAlpn01 => assert!(shown().is_some()),
            }
            drop(answered);
            assert!(token().is_none() && shown().is_none());
        }
    }
}
