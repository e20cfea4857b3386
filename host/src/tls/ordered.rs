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
    let key = certified(pem)?;
    let facts = key.cert.first().and_then(CertificateFacts::of);
    facts.ok_or_else(|| "the certificate is malformed".to_owned())
}

/// How a client is answered that validates a domain by TLS-ALPN-01. None for what is no key with a
/// certificate.
pub(crate) fn challenge(pem: &[u8]) -> Option<Arc<ServerConfig>> {
    let shown: Arc<dyn ResolvesServerCert> = Arc::new(SingleCertAndKey::from(certified(pem).ok()?));
    let mut config = ServerConfig::builder_with_provider(provider(&[]))
        .with_protocol_versions(&versions(TlsVersion::Tls12, TlsVersion::Tls13))
        .ok()?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    Some(Arc::new(config))
}

fn certified(pem: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| format!("the chain is not PEM: {error}"))?;
    let key = PrivateKeyDer::from_pem_slice(pem);
    let key = key.map_err(|error| format!("the key is not PEM: {error}"))?;
    if chain.is_empty() {
        return Err("there is no certificate".to_owned());
    }
    CertifiedKey::from_der(chain, key, &provider(&[])).map_err(|error| error.to_string())
}
