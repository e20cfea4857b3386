//! TLS towards endpoints: what one upstream needs.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, VerifierBuilderError, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};

use super::file::{Digest, FileReader};
use super::verify::{Everybody, OrTheAuthorities};
use super::{Warnings, certificate, provider, versions};
use crate::config::model::{NamedFile, TlsVersion, UpstreamTls, server_host};
use crate::config::problem::{Place, Problem};

/// An upstream's TLS. Its sessions are shared by all workers.
#[derive(Debug)]
pub(crate) struct ClientTls {
    pub(crate) config: Arc<ClientConfig>,
    settings: UpstreamTls,
    http2: bool,
    contents: Digest,
}

impl ClientTls {
    /// Reads the files that `settings` name. `previous`, of the same upstream, is answered as it is
    /// where nothing has changed.
    ///
    /// # Errors
    /// All problems, each at the place where its file is named.
    pub(crate) fn build(
        settings: &UpstreamTls,
        http2: bool,
        place: &Place,
        previous: Option<&Arc<ClientTls>>,
        system: &mut SystemRoots,
        warnings: &mut Warnings,
    ) -> Result<Arc<ClientTls>, Vec<Problem>> {
        let provider = provider(&[]);
        let (mut files, mut problems) = (FileReader::new(), Vec::new());
        let own = match &settings.certificate {
            Some((chain, key)) => {
                certificate::certified(chain, key, &provider, &mut files, warnings)
                    .map(Some)
                    .unwrap_or_else(|found| {
                        problems.extend(found);
                        None
                    })
            }
            None => None,
        };
        let verifier = verifier(settings, place, &provider, system, &mut files, warnings);
        let verifier = match verifier {
            Ok(verifier) if problems.is_empty() => verifier,
            Ok(_) => return Err(problems),
            Err(problem) => {
                problems.push(problem);
                return Err(problems);
            }
        };
        if !settings.verify {
            let message = "`verify = false`: servers are not verified, anyone on the way to them can read and change everything";
            warnings.push(Problem::new(place, message));
        }
        let contents = files.digest();
        if let Some(previous) = previous
            && previous.means(settings, http2)
            && previous.contents == contents
        {
            return Ok(previous.clone());
        }
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(settings.min_version, TlsVersion::Tls13))
            .map_err(|error| {
                vec![Problem::new(
                    place,
                    format!("TLS cannot be set up: {error}"),
                )]
            })?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match own {
            Some(key) => builder
                .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key))),
            None => builder.with_no_client_auth(),
        };
        config.resumption = match settings.session_cache {
            0 => Resumption::disabled(),
            size => Resumption::in_memory_sessions(size),
        };
        config.alpn_protocols = match http2 {
            true => vec![b"h2".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        Ok(Arc::new(ClientTls {
            config: Arc::new(config),
            settings: settings.clone(),
            http2,
            contents,
        }))
    }

    /// For connections of the process itself: reads the files of the settings, and says what is wrong in
    /// one line. Waits for the disk.
    ///
    /// # Errors
    /// The first problem.
    pub(crate) fn of_own(settings: &UpstreamTls, http2: bool) -> Result<Arc<ClientTls>, String> {
        let (mut roots, mut warnings) = (SystemRoots::default(), Warnings::new());
        let place = Place::default();
        let built = ClientTls::build(settings, http2, &place, None, &mut roots, &mut warnings);
        built.map_err(|problems| match problems.first() {
            Some(problem) => problem.message_in_one_line(),
            None => "TLS cannot be set up".to_owned(),
        })
    }

    /// For commands: what a server shows that has the certificate of this file, or that stands behind
    /// an authority of it; those of the system without one. With the name that it is asked for: that of
    /// its first certificate, or else the `address`, where `host` is not known.
    ///
    /// # Errors
    /// The file cannot be used, or nothing says what the server is called.
    pub(crate) fn of_command(
        ca: Option<&NamedFile>,
        host: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), Vec<Problem>> {
        let settings = UpstreamTls::verified_by(ca.cloned());
        let place = ca.map(|ca| ca.place.clone()).unwrap_or_default();
        let (system, warnings) = (&mut SystemRoots::default(), &mut Vec::new());
        let tls = ClientTls::build(&settings, false, &place, None, system, warnings)?;
        let name = match (host, ca) {
            (Some(host), _) => Some(host.to_owned()),
            (None, Some(ca)) => {
                let (_, shown) = certificate::authorities(ca, &mut FileReader::new())
                    .map_err(|problem| vec![problem])?;
                let names = shown.first().map(certificate::names).unwrap_or_default();
                // `*.example.com` is the certificate of any of them.
                let name = names.first().map(|name| name.replacen('*', "admin", 1));
                name.or_else(|| address.map(|address| address.to_string()))
            }
            (None, None) => None,
        };
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let name = name.ok_or_else(|| {
            let message = "the certificate is made out for no name to ask for";
            let hint =
                "make it for one: `openssl req -addext subjectAltName=DNS:proxy1.internal ...`";
            vec![Problem::new(&place, message).hint(hint)]
        })?;
        Ok((tls.config.clone(), name))
    }

    /// Whether it was made of these settings, whatever the files hold by now.
    pub(crate) fn means(&self, settings: &UpstreamTls, http2: bool) -> bool {
        self.settings == *settings && self.http2 == http2
    }

    /// The name that a server is asked for, and verified by. `server` is its address as the
    /// configuration spells it.
    ///
    /// # Errors
    /// Where it has none, which the configuration allows only with `verify = false`.
    pub(crate) fn server_name(&self, server: &str) -> io::Result<ServerName<'static>> {
        let name = self
            .settings
            .server_name
            .as_deref()
            .or_else(|| server_host(server));
        let parsed = name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
        match parsed {
            Some(name) => Ok(name),
            // With an address, no server name (SNI) is sent (RFC 6066 section 3); without
            // verification, it is not compared with anything.
            None if !self.settings.verify => Ok(ServerName::IpAddress(
                std::net::IpAddr::from([0, 0, 0, 0]).into(),
            )),
            None => Err(io::Error::other(format!(
                "`{server}` has no name to verify it by"
            ))),
        }
    }
}

fn verifier(
    settings: &UpstreamTls,
    place: &Place,
    provider: &Arc<rustls::crypto::CryptoProvider>,
    system: &mut SystemRoots,
    files: &mut FileReader,
    warnings: &mut Warnings,
) -> Result<Arc<dyn ServerCertVerifier>, Problem> {
    if !settings.verify {
        return Ok(Arc::new(Everybody(provider.clone())));
    }
    let (roots, mut authorities) = match &settings.ca {
        Some(ca) => certificate::authorities(ca, files)?,
        None => {
            let (roots, digest) = system.get().map_err(|error| no_roots(place, &error))?;
            files.note(&digest);
            (roots, Vec::new())
        }
    };
    let crl = settings.crl.as_ref();
    let revoked = certificate::revoked(crl, &mut authorities, files, warnings)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
        .with_crls(revoked)
        .enforce_revocation_expiration()
        .build()
        .map_err(|error| match (&error, crl) {
            (VerifierBuilderError::InvalidCrl(why), Some(crl)) => certificate::bad_crl(crl, why),
            _ => no_roots(place, &error.to_string()),
        })?;
    Ok(Arc::new(OrTheAuthorities {
        verifier,
        authorities,
    }))
}

fn no_roots(place: &Place, error: &str) -> Problem {
    let message = format!("the authorities that this system trusts cannot be read: {error}");
    Problem::new(place, message).hint(
        "install the package `ca-certificates`, or name a file with `tls = { ca = \"ca.pem\" }`",
    )
}

/// Whom the system trusts: read when it is first needed, and once for all upstreams of a
/// configuration.
#[derive(Default)]
pub(crate) struct SystemRoots(Option<Result<(Arc<RootCertStore>, Digest), String>>);

impl SystemRoots {
    fn get(&mut self) -> Result<(Arc<RootCertStore>, Digest), String> {
        self.0.get_or_insert_with(system_roots).clone()
    }
}

fn system_roots() -> Result<(Arc<RootCertStore>, Digest), String> {
    let found = rustls_native_certs::load_native_certs();
    let (mut roots, mut read) = (RootCertStore::empty(), FileReader::new());
    found.certs.iter().for_each(|der| read.note(der));
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let first = found.errors.first().map(ToString::to_string);
        return Err(first.unwrap_or_else(|| "there are none".to_owned()));
    }
    Ok((Arc::new(roots), read.digest()))
}
