//! The peer's certificate: whether it is accepted, and if not, why, in OpenSSL's words.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why a certificate is not accepted: OpenSSL's number and text for it.
fn words(error: &CertificateError) -> (u32, String) {
    let (number, text) = match error {
        CertificateError::BadEncoding => (4, "unable to decrypt certificate's signature"),
        CertificateError::BadSignature => (7, "certificate signature failure"),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            (9, "certificate is not yet valid")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            (10, "certificate has expired")
        }
        CertificateError::UnknownIssuer => (20, "unable to get local issuer certificate"),
        CertificateError::UnknownRevocationStatus => (3, "unable to get certificate CRL"),
        CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => (12, "CRL has expired"),
        CertificateError::Revoked => (23, "certificate revoked"),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            (26, "unsuitable certificate purpose")
        }
        CertificateError::Other(OtherError(other)) => match other.downcast_ref::<SelfSigned>() {
            Some(SelfSigned::Alone) => (18, "self-signed certificate"),
            Some(SelfSigned::InChain) => (19, "self-signed certificate in certificate chain"),
            // An error of webpki, whose types are not ours to name.
            None if other.to_string() == "CaUsedAsEndEntity" => (
                1,
                "certificate of an authority, which is none for a server or client",
            ),
            None => return (1, other.to_string()),
        },
        other => return (1, other.to_string()),
    };
    (number, text.to_owned())
}

/// A certificate that names itself as its issuer, and that is not among the authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum SelfSigned {
    #[error("self-signed certificate")]
    Alone,
    #[error("self-signed certificate in certificate chain")]
    InChain,
}

/// The error of a chain that leads to no authority, as OpenSSL tells it (`X509_verify_cert`): that
/// it ends at a self-signed certificate goes before what else is wrong with the signatures. webpki
/// does not look for that.
pub(super) fn explained(
    error: Error,
    own: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
) -> Error {
    let Error::InvalidCertificate(why) = &error else {
        return error;
    };
    let found = match why {
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::Other(_)
            if is_issued_by(own, own) =>
        {
            SelfSigned::Alone
        }
        CertificateError::UnknownIssuer if ends_self_signed(own, others) => SelfSigned::InChain,
        _ => return error,
    };
    CertificateError::Other(OtherError(Arc::new(found))).into()
}

/// Whether the last of a chain issued the one before it, and itself.
fn ends_self_signed(own: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> bool {
    let Some((last, before)) = others.split_last() else {
        return false;
    };
    is_issued_by(last, last) && is_issued_by(before.last().unwrap_or(own), last)
}

/// Whether the one names the other as its issuer.
fn is_issued_by(certificate: &CertificateDer<'_>, issuer: &CertificateDer<'_>) -> bool {
    let parsed = |der| X509Certificate::from_der(der).map(|(_, parsed)| parsed);
    match (parsed(certificate), parsed(issuer)) {
        (Ok(certificate), Ok(issuer)) => certificate.issuer().as_raw() == issuer.subject().as_raw(),
        _ => false,
    }
}

/// Whether a certificate was refused because no authority stands behind it but itself.
pub(crate) fn is_self_signed(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(other))) => {
            other.is::<SelfSigned>()
        }
        _ => false,
    }
}

/// `certificate has expired`.
pub(crate) fn reason(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => words(error).1,
        other => other.to_string(),
    }
}

/// `10:certificate has expired`; none where it is not about a certificate.
pub(crate) fn reason_with_number(error: &Error) -> Option<String> {
    match error {
        Error::InvalidCertificate(error) => {
            let (number, text) = words(error);
            Some(format!("{number}:{text}"))
        }
        _ => None,
    }
}

/// Whether a certificate is good at a time: all that is left to ask of one that is itself among
/// those to be trusted.
///
/// # Errors
/// Where it is not, or cannot be read.
pub(super) fn in_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let malformed = |_| Error::from(CertificateError::BadEncoding);
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(malformed)?;
    let (validity, now) = (parsed.validity(), now.as_secs().cast_signed());
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired.into());
    }
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet.into());
    }
    Ok(())
}

/// Takes every client certificate whose key the client has, and leaves it to the exchange to answer
/// to a bad one: with a page, as nginx does, where a failed handshake would tell its user nothing.
#[derive(Debug)]
pub(super) struct JudgedLater(pub(super) Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for JudgedLater {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Accepts what `verifier` accepts, and the `authorities` themselves: a server's own certificate
/// may stand in the `ca` file, even one that calls itself an authority, as `openssl req -x509`
/// makes them.
#[derive(Debug)]
pub(super) struct OrTheAuthorities {
    pub(super) verifier: Arc<dyn ServerCertVerifier>,
    pub(super) authorities: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for OrTheAuthorities {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.authorities.contains(certificate) {
            let verifier = &self.verifier;
            return verifier
                .verify_server_cert(certificate, intermediates, name, ocsp, now)
                .map_err(|error| explained(error, certificate, intermediates));
        }
        verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
        in_time(certificate, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Accepts every certificate: `verify = false`.
#[derive(Debug)]
pub(super) struct Everybody(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for Everybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
