//! What a certificate says that an operator wants to know, and that its renewal goes by.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::{certificate, peer};
use crate::config::model::KeyType;

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
    /// None for one that is not ordered for.
    pub(crate) key_type: Option<KeyType>,
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
            key_type: key_type(&parsed),
        })
    }
}

fn key_type(parsed: &X509Certificate<'_>) -> Option<KeyType> {
    match parsed.public_key().parsed().ok()? {
        PublicKey::RSA(key) => match key.key_size() {
            2048 => Some(KeyType::Rsa2048),
            3072 => Some(KeyType::Rsa3072),
            4096 => Some(KeyType::Rsa4096),
            _ => None,
        },
        // Points tell P-256 and P-384 apart by their size; no authority issues for other curves.
        PublicKey::EC(point) => match point.key_size() {
            256 => Some(KeyType::Ecdsa),
            384 => Some(KeyType::Ecdsa384),
            _ => None,
        },
        _ => None,
    }
}
