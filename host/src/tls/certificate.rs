//! Certificate chains and private keys: read, and found to go together.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{CertRevocationListError, Error, InconsistentKeys, RootCertStore};
use x509_parser::prelude::{
    ASN1Time, CertificateRevocationList, FromDer, GeneralName, X509Certificate, X509Version,
};

use super::Warnings;
use super::file::{FileReader, MAX_CRL_SIZE, MAX_SIZE, problem};
use crate::config::model::NamedFile;
use crate::config::problem::Problem;

/// The certificates of a PEM file, in its order.
///
/// # Errors
/// Where there is none, or one is malformed.
pub(super) fn chain(
    file: &NamedFile,
    files: &mut FileReader,
) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let bytes = files.read(file, "certificate", MAX_SIZE)?;
    let path = file.path.display();
    let chain: Vec<CertificateDer<'static>> =
        items(file, &bytes, "certificate", "CERTIFICATE", "x509")?;
    for der in &chain {
        if let Err(error) = X509Certificate::from_der(der) {
            let message = format!("a certificate in `{path}` is malformed");
            return Err(problem(file, message).hint(error.to_string()));
        }
    }
    Ok(chain)
}

/// The lists of revoked certificates of a PEM file, if one is given. One that has expired is a
/// warning: no certificate of its issuer is accepted then. Where a list is given, `authorities` is
/// emptied: a certificate that may be revoked must not be accepted just because it is one of them.
///
/// # Errors
/// Where there is none, or one is malformed.
pub(super) fn revoked(
    file: Option<&NamedFile>,
    authorities: &mut Vec<CertificateDer<'static>>,
    files: &mut FileReader,
    warnings: &mut Warnings,
) -> Result<Vec<CertificateRevocationListDer<'static>>, Problem> {
    let Some(file) = file else {
        return Ok(Vec::new());
    };
    authorities.clear();
    let bytes = files.read(file, "CRL", MAX_CRL_SIZE)?;
    let path = file.path.display();
    let lists: Vec<CertificateRevocationListDer<'static>> =
        items(file, &bytes, "CRL", "X509 CRL", "crl")?;
    for der in &lists {
        let (_, list) = CertificateRevocationList::from_der(der).map_err(|error| {
            problem(file, format!("a CRL in `{path}` is malformed")).hint(error.to_string())
        })?;
        if let Some(next) = list.next_update()
            && ASN1Time::now() > next
        {
            let message = format!("a CRL in `{path}` has expired on {next}");
            let hint = "no certificate of its issuer is believed until there is a newer one";
            warnings.push(problem(file, message).hint(hint));
        }
    }
    Ok(lists)
}

/// A list that cannot be gone by: rustls knows neither indirect nor partial ones.
pub(super) fn bad_crl(file: &NamedFile, why: &CertRevocationListError) -> Problem {
    let message = format!("a CRL in `{}` cannot be used", file.path.display());
    problem(file, message).hint(format!("{why:?}"))
}

/// What a PEM file has of a kind, at least one: `what` it is called, its label there, and the
/// command of `openssl` for it.
fn items<T: PemObject>(
    file: &NamedFile,
    bytes: &[u8],
    what: &str,
    label: &str,
    command: &str,
) -> Result<Vec<T>, Problem> {
    let path = file.path.display();
    let items: Result<Vec<T>, _> = T::pem_slice_iter(bytes).collect();
    let items = items.map_err(|error| malformed(file, what, &error))?;
    if items.is_empty() {
        let none = problem(file, format!("there is no {what} in `{path}`"));
        return Err(none.hint(if bytes.first() == Some(&0x30) {
            format!("it looks like DER: `openssl {command} -inform der -in {path}` makes PEM of it")
        } else {
            format!("PEM begins with `-----BEGIN {label}-----`")
        }));
    }
    Ok(items)
}

/// The chain and the key of one of ours.
///
/// # Errors
/// Where the files cannot be used, or do not go together.
pub(super) fn certified(
    certificate: &NamedFile,
    key: &NamedFile,
    provider: &CryptoProvider,
    files: &mut FileReader,
    warnings: &mut Warnings,
) -> Result<CertifiedKey, Vec<Problem>> {
    let (chain, der) = match (chain(certificate, files), private_key(key, files)) {
        (Ok(chain), Ok(der)) => (chain, der),
        (chain, der) => return Err(chain.err().into_iter().chain(der.err()).collect()),
    };
    if let Some(first) = chain.first() {
        if let Some(problem) = outdated(certificate, first) {
            return Err(vec![problem]);
        }
        warnings.extend(validity(certificate, first));
    }
    let path = key.path.display();
    CertifiedKey::from_der(chain, der, provider).map_err(|error| {
        vec![match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let certificate = certificate.path.display();
                let message =
                    format!("the key `{path}` does not belong to the certificate `{certificate}`");
                problem(key, message)
                    .hint("the chain's first certificate must be the one of the key")
            }
            // rustls reads the certificate before it compares the two.
            Error::InvalidCertificate(why) => {
                let certificate_path = certificate.path.display();
                let message = format!("the certificate `{certificate_path}` cannot be used");
                problem(certificate, message).hint(format!("{why:?}"))
            }
            error => problem(key, format!("the key `{path}` cannot be used")).hint(format!(
                "RSA from 2048 bits, ECDSA on P-256, P-384 or P-521, and Ed25519 can ({error})"
            )),
        }]
    })
}

fn private_key(key: &NamedFile, files: &mut FileReader) -> Result<PrivateKeyDer<'static>, Problem> {
    let bytes = files.read(key, "key", MAX_SIZE)?;
    let path = key.path.display();
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        // In the label, or in the header that OpenSSL used to write (RFC 1421 section 4.6.1.1).
        if bytes.windows(9).any(|part| part == b"ENCRYPTED") {
            let hint = format!(
                "nobody is there to ask for its password: `openssl pkey -in {path}` decrypts it"
            );
            return problem(key, format!("the key `{path}` is encrypted")).hint(hint);
        }
        match error {
            pem::Error::NoItemsFound => {
                problem(key, format!("there is no private key in `{path}`"))
                    .hint("PEM begins with `-----BEGIN PRIVATE KEY-----`")
            }
            error => malformed(key, "key", &error),
        }
    })
}

/// Authorities to trust.
///
/// # Errors
/// Where the file cannot be used.
pub(super) fn authorities(
    file: &NamedFile,
    files: &mut FileReader,
) -> Result<(Arc<RootCertStore>, Vec<CertificateDer<'static>>), Problem> {
    let chain = chain(file, files)?;
    let mut roots = RootCertStore::empty();
    for der in &chain {
        roots.add(der.clone()).map_err(|error| {
            let message = format!(
                "a certificate in `{}` cannot be trusted",
                file.path.display()
            );
            problem(file, message).hint(error.to_string())
        })?;
    }
    Ok((Arc::new(roots), chain))
}

/// The names that a certificate is valid for, in lower case (RFC 6125 section 6.4.4: its subject's
/// name does not count).
pub(super) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let dns = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
    dns.collect()
}

/// A certificate of X.509 version 1 or 2, which has no extensions and so no names (RFC 5280 section
/// 4.1.2.1): clients take none of those from a server.
fn outdated(file: &NamedFile, certificate: &CertificateDer<'_>) -> Option<Problem> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let version = parsed.version();
    if version == X509Version::V3 {
        return None;
    }
    let message = format!(
        "the certificate `{}` is of X.509 version {}",
        file.path.display(),
        version.0 + 1
    );
    let hint = "have it issued as version 3, with a subjectAltName: `openssl x509 -req` takes the \
                extensions from a file, `-extfile`";
    Some(problem(file, message).hint(hint))
}

/// What is odd about the dates of a certificate.
fn validity(file: &NamedFile, certificate: &CertificateDer<'_>) -> Option<Problem> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let (validity, path) = (certificate.validity(), file.path.display());
    let now = ASN1Time::now();
    if now > validity.not_after {
        let message = format!(
            "the certificate `{path}` has expired on {}",
            validity.not_after
        );
        Some(problem(file, message).hint("clients will refuse it: renew it"))
    } else if now < validity.not_before {
        let message = format!(
            "the certificate `{path}` is not valid before {}",
            validity.not_before
        );
        Some(problem(file, message).hint("clients will refuse it: is the clock right?"))
    } else {
        None
    }
}

/// When a certificate ends, in seconds since 1970.
pub(super) fn end(certificate: &CertificateDer<'_>) -> i64 {
    let parsed = X509Certificate::from_der(certificate);
    parsed.map_or(0, |(_, parsed)| parsed.validity().not_after.timestamp())
}

fn malformed(file: &NamedFile, what: &str, error: &pem::Error) -> Problem {
    let message = format!("the {what} `{}` is not PEM", file.path.display());
    problem(file, message).hint(error.to_string())
}
