//! What is made of a key and a chain in one PEM text: a certificate that was ordered, or one that
//! answers TLS-ALPN-01.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ResolvesServerCert;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::facts::CertificateFacts;
use super::{provider, versions};
use crate::config::model::TlsVersion;

/// The protocol that TLS-ALPN-01 is spoken by (RFC 8737 section 6.2).
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";

/// What a text with a key and a chain says, if the two can be shown to clients.
///
/// # Errors
/// Why they cannot, in one line.
pub(crate) fn usable(pem: &[u8]) -> Result<CertificateFacts, String> {
    let (chain, key) = parts(pem)?;
    let key = CertifiedKey::from_der(chain, key, &provider(&[]));
    let key = key.map_err(|error| error.to_string())?;
    let facts = key.cert.first().and_then(CertificateFacts::of);
    facts.ok_or_else(|| "the certificate is malformed".to_owned())
}

/// How a client is answered that validates a domain by TLS-ALPN-01. None for what is no key with a
/// certificate.
pub(crate) fn challenge(pem: &[u8]) -> Option<Arc<ServerConfig>> {
    let (chain, key) = parts(pem).ok()?;
    let provider = provider(&[]);
    // Not `from_der`: it refuses an extension that it does not know and that has to be known, which is
    // what this certificate is about.
    let key = CertifiedKey::new(chain, provider.key_provider.load_private_key(key).ok()?);
    let shown: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(key));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(TlsVersion::Tls12, TlsVersion::Tls13))
        .ok()?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    Some(Arc::new(config))
}

/// A chain of at least one certificate, and a key.
fn parts(pem: &[u8]) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| format!("the chain is not PEM: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(pem);
    let key = key.map_err(|error| format!("the key is not PEM: {error}"))?;
    match chain.is_empty() {
        true => Err("there is no certificate".to_owned()),
        false => Ok((chain, key)),
    }
}
