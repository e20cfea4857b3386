//! What a certificate says that an operator wants to know, and that its renewal goes by.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{certificate, peer};

/// A certificate, as it is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateFacts {
    /// For whom it is made out, in lower case.
    pub(crate) names: Vec<String>,
    /// `CN=R11,O=Let's Encrypt,C=US`
    pub(crate) issuer: String,
    /// In seconds since 1970.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    /// In DER, without tag and length.
    pub(crate) serial: Vec<u8>,
    /// That of its issuer, if it says so.
    pub(crate) authority_key: Option<Vec<u8>>,
}

impl CertificateFacts {
    /// None for what is no certificate.
    pub(crate) fn of(der: &CertificateDer<'_>) -> Option<CertificateFacts> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let mut extensions = parsed.iter_extensions();
        let authority_key = extensions.find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(found) => {
                found.key_identifier.as_ref().map(|key| key.0.to_vec())
            }
            _ => None,
        });
        Some(CertificateFacts {
            names: certificate::names(der),
            issuer: peer::issuer(der),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            serial: parsed.raw_serial().to_vec(),
            authority_key,
        })
    }
}
