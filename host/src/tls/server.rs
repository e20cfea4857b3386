//! TLS towards clients: what one listener needs, made anew whenever its files change.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio::sync::Semaphore;

use super::choose::{Certificates, Shown};
use super::facts::CertificateFacts;
use super::file::{Digest, FileReader, problem};
use super::resumption::{Resumption, ResumptionSettings};
use super::verify::{JudgedLater, explained, in_time, reason};
use super::{Warnings, certificate, ocsp, provider, versions};
use crate::config::model::{
    AcmeCertificate, CertificateFiles, ClientCertificate, ListenerTls, UnknownNames,
};
use crate::config::problem::Problem;

/// The protocols that a client may choose from by ALPN (RFC 7301), best first; with none, the
/// choice is not offered.
pub(crate) type Protocols = &'static [&'static str];

/// A listener's or a stream's TLS.
#[derive(Debug)]
pub(crate) struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    refuses_unknown_names: bool,
    clients: Option<Clients>,
    /// A turn for each handshake that may be computed side by side, in all workers.
    pub(crate) handshakes: Arc<Semaphore>,
    resumption: Resumption,
    settings: ListenerTls,
    protocols: Protocols,
    contents: Digest,
    /// The file of each of its certificates, and when it ends, in seconds since 1970.
    ends: Vec<(PathBuf, i64)>,
    /// Domains whose certificates are ordered and not there yet, in lower case.
    awaited: BTreeSet<String>,
}

/// What is asked of clients.
#[derive(Debug)]
struct Clients {
    required: bool,
    verifier: Arc<dyn ClientCertVerifier>,
    /// Believed themselves: a client's own certificate may stand in the file of `client_ca`, as a
    /// server's in `ca`.
    authorities: Vec<CertificateDer<'static>>,
}

/// The verdict on a client's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClientVerdict {
    /// None was asked for, or none was sent where that is allowed.
    NoneNeeded,
    /// None was sent, and one is required.
    Missing,
    Valid,
    /// In OpenSSL's words.
    Invalid(String),
}

impl ServerTls {
    /// Reads the files that `settings` name. `previous`, of the same listener, is where sessions
    /// come from; it is answered as it is where nothing has changed.
    ///
    /// # Errors
    /// All problems, each at the place where its file is named.
    pub(crate) fn build(
        settings: &ListenerTls,
        protocols: Protocols,
        previous: Option<&Arc<ServerTls>>,
        warnings: &mut Warnings,
    ) -> Result<Arc<ServerTls>, Vec<Problem>> {
        let provider = provider(&settings.ciphers);
        let (mut files, mut problems) = (FileReader::new(), Vec::new());
        let mut certificates = Vec::new();
        for (index, of) in settings.certificates.iter().enumerate() {
            match certified(of, index, &provider, &mut files, warnings) {
                Ok(certificate) => certificates.push((&of.certificate, certificate)),
                Err(found) => problems.extend(found),
            }
        }
        let mut awaited = BTreeSet::new();
        for of in settings.acme.iter().flat_map(|acme| &acme.certificates) {
            match ordered(of, &provider, &mut files, warnings) {
                Some(certificate) => certificates.push((&of.file, certificate)),
                None => drop(awaited.insert(of.domain.clone())),
            }
        }
        let trusted = settings.acme.as_ref();
        if let Some(file) = trusted.and_then(|acme| acme.authority.trusted_certificate.as_ref()) {
            // Read again when it is needed; told of now, if it cannot be.
            let read = certificate::authorities(file, &mut FileReader::new());
            problems.extend(read.err());
        }
        let (clients, proven) = match clients(settings, &provider, warnings) {
            Ok(clients) => clients,
            Err(problem) => {
                problems.push(problem);
                (None, Digest::default())
            }
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let contents = files.digest();
        if let Some(previous) = previous
            && previous.means(settings, protocols)
            && (previous.contents, &previous.resumption.settings.proven) == (contents, &proven)
        {
            return Ok(previous.clone());
        }
        let resumption_settings = ResumptionSettings {
            tickets: settings.session_tickets,
            timeout: settings.session_timeout,
            cache: settings.session_cache,
            proven,
        };
        let failed = |error: rustls::Error| {
            let place = settings
                .certificates
                .first()
                .map(|first| first.certificate.place.clone());
            let message = format!("TLS cannot be set up: {error}");
            vec![Problem::new(&place.unwrap_or_default(), message)]
        };
        let before = previous.map(|previous| &previous.resumption);
        let resumption = Resumption::new(resumption_settings, before).map_err(failed)?;
        let most = settings.max_handshakes;
        let handshakes = match previous {
            Some(previous) if previous.settings.max_handshakes == most => {
                previous.handshakes.clone()
            }
            _ => Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
        };
        let ends = certificates.iter();
        let ends = ends.map(|(file, (shown, _))| (file.path.clone(), shown.end()));
        let ends = ends.collect();
        let certificates = certificates.into_iter().map(|(_, shown)| shown);
        let certificates = Arc::new(Certificates::new(certificates.collect()));
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(settings.min_version, settings.max_version))
            .map_err(failed)?;
        let builder = match &clients {
            Some(clients) => {
                builder.with_client_cert_verifier(Arc::new(JudgedLater(clients.verifier.clone())))
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(certificates.clone());
        config.session_storage = resumption.sessions.clone();
        if let Some(tickets) = &resumption.tickets {
            config.ticketer = tickets.clone();
        }
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().into())
            .collect();
        Ok(Arc::new(ServerTls {
            config: Arc::new(config),
            certificates,
            refuses_unknown_names: settings.unknown_names == UnknownNames::Refuse,
            clients,
            handshakes,
            resumption,
            settings: settings.clone(),
            protocols,
            contents,
            ends,
            awaited,
        }))
    }

    /// Whether it was made of these settings, whatever the files hold by now.
    pub(crate) fn means(&self, settings: &ListenerTls, protocols: Protocols) -> bool {
        self.settings == *settings && self.protocols == protocols
    }

    pub(crate) fn settings(&self) -> &ListenerTls {
        &self.settings
    }

    /// Its certificates by their files, and when each ends, in seconds since 1970.
    pub(crate) fn certificate_ends(&self) -> impl Iterator<Item = (&Path, i64)> {
        let ends = self.ends.iter();
        ends.map(|(file, end)| (file.as_path(), *end))
    }

    /// Its certificates by their files, and what they say.
    pub(crate) fn certificate_facts(&self) -> impl Iterator<Item = (&Path, CertificateFacts)> {
        let files = self.ends.iter().map(|(file, _)| file.as_path());
        let facts = self.certificates.shown().iter().map(Shown::facts);
        files
            .zip(facts)
            .filter_map(|(file, facts)| Some((file, facts?)))
    }

    /// Whether the certificate for a name, in lower case, is ordered and not there yet: another one
    /// would be refused for its name. Where there is none at all, that holds for any name.
    pub(crate) fn awaits(&self, name: Option<&str>) -> bool {
        let is_awaited =
            |name: &str| self.awaited.contains(name) && self.certificates.of(name).is_none();
        self.ends.is_empty() || name.is_some_and(is_awaited)
    }

    /// The files of the certificates that may be shown to a client that asks for this name, in lower
    /// case: which of them is a matter of its signatures.
    pub(crate) fn shown_for(&self, name: Option<&str>) -> impl Iterator<Item = &Path> {
        let shown = self.certificates.of_any(name).iter();
        let files = shown.filter_map(|index| self.settings.certificates.get(*index));
        files.map(|files| files.certificate.path.as_path())
    }

    /// Whether a client that asks for this name, in lower case, gets an answer at all.
    pub(crate) fn serves(&self, name: Option<&str>) -> bool {
        !self.refuses_unknown_names || name.is_some_and(|name| self.certificates.of(name).is_some())
    }

    /// Whether a request for `host` may come over a connection that was opened for `name`, both in
    /// lower case. Where clients have to show certificates it must be one that the same certificate
    /// is shown for (nginx: 421 where another server verifies clients).
    pub(crate) fn may_ask_for(&self, host: &str, name: Option<&str>) -> bool {
        self.clients.is_none()
            || name.is_none()
            || self.certificates.of_any(Some(host)) == self.certificates.of_any(name)
    }

    /// The verdict on a client's certificates now: also on those of a resumed session, which may
    /// have expired meanwhile.
    pub(crate) fn judge(&self, chain: &[CertificateDer<'_>]) -> ClientVerdict {
        let Some(clients) = &self.clients else {
            return ClientVerdict::NoneNeeded;
        };
        match chain.split_first() {
            None if clients.required => ClientVerdict::Missing,
            None => ClientVerdict::NoneNeeded,
            Some((own, others)) => {
                let now = UnixTime::now();
                let judged = match clients.authorities.contains(own) {
                    true => in_time(own, now),
                    false => {
                        let verified = clients.verifier.verify_client_cert(own, others, now);
                        verified
                            .map(|_| ())
                            .map_err(|error| explained(error, own, others))
                    }
                };
                match judged {
                    Ok(()) => ClientVerdict::Valid,
                    Err(error) => ClientVerdict::Invalid(reason(&error)),
                }
            }
        }
    }
}

/// A certificate that was ordered; none where it is not there yet. One that cannot be used is
/// ordered anew: it is no reason to serve nothing.
fn ordered(
    of: &AcmeCertificate,
    provider: &rustls::crypto::CryptoProvider,
    files: &mut FileReader,
    warnings: &mut Warnings,
) -> Option<(Shown, Vec<String>)> {
    let known = std::fs::metadata(&of.file.path);
    if known.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return None;
    }
    let read = certificate::certified(&of.file, &of.file, provider, files, warnings);
    match read {
        Ok(key) => Some((Shown::new(key, None), vec![of.domain.clone()])),
        Err(problems) => {
            warnings.extend(problems);
            None
        }
    }
}

fn certified(
    of: &CertificateFiles,
    index: usize,
    provider: &rustls::crypto::CryptoProvider,
    files: &mut FileReader,
    warnings: &mut Warnings,
) -> Result<(Shown, Vec<String>), Vec<Problem>> {
    let key = certificate::certified(&of.certificate, &of.key, provider, files, warnings)?;
    let staple = match (&of.ocsp, key.cert.first()) {
        (Some(file), Some(own)) => {
            ocsp::staple(file, own, files, warnings).map_err(|problem| vec![problem])?
        }
        _ => None,
    };
    let names = match of.names.as_slice() {
        [] => key.cert.first().map_or(Vec::new(), certificate::names),
        given => given.to_vec(),
    };
    if names.is_empty() && index > 0 {
        let path = of.certificate.path.display();
        let message =
            format!("the certificate `{path}` is made out for no name: it would never be shown");
        let hint = "say for whom it is: `names = [\"example.com\"]`";
        return Err(vec![problem(&of.certificate, message).hint(hint)]);
    }
    Ok((Shown::new(key, staple), names))
}

/// How clients are verified, and a digest of that: a session is resumed only under the same
/// demands.
fn clients(
    settings: &ListenerTls,
    provider: &Arc<rustls::crypto::CryptoProvider>,
    warnings: &mut Warnings,
) -> Result<(Option<Clients>, Digest), Problem> {
    let Some(ca) = &settings.client_ca else {
        return Ok((None, Digest::default()));
    };
    let mut files = FileReader::new();
    let (roots, mut authorities) = certificate::authorities(ca, &mut files)?;
    let crl = settings.client_crl.as_ref();
    let revoked = certificate::revoked(crl, &mut authorities, &mut files, warnings)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .with_crls(revoked)
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| match (&error, crl) {
            (VerifierBuilderError::InvalidCrl(why), Some(crl)) => certificate::bad_crl(crl, why),
            _ => problem(ca, format!("clients cannot be verified: {error}")),
        })?;
    let required = settings.client_certificate == ClientCertificate::Require;
    let mut proven = files.digest();
    proven[0] ^= u8::from(required);
    let clients = Clients {
        required,
        verifier,
        authorities,
    };
    Ok((Some(clients), proven))
}
