//! TLS for the specs: an authority, certificates of every kind, a client whose every choice is
//! ours.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, RevokedCertParams,
    SanType, SignatureAlgorithm,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, CommonState, DigitallySignedStruct, HandshakeKind, ProtocolVersion,
    RootCertStore, ServerConfig, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::client::{Client, Response};
use crate::wire::Wire;
use crate::{in_time, installed};

/// An authority of one spec.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, both in PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    pub chain: String,
    pub key: String,
}

/// The key of a request: of RSA, or of ECDSA on P-256 or P-384.
struct RequestedKey(Vec<u8>, &'static SignatureAlgorithm);

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.1
    }
}

/// What a handshake came to, as one side sees it.
#[derive(Debug, Clone, Default)]
pub struct Handshake {
    /// The name that the client asked for, as a server sees it.
    pub server_name: Option<String>,
    /// `TLSv1_3`
    pub version: String,
    pub alpn: Option<String>,
    pub resumed: bool,
    /// The names that the peer's certificate is made out for.
    pub peer_names: Vec<String>,
    /// How many certificates the peer showed.
    pub peer_certificates: usize,
}

/// Kinds of keys.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Ecdsa,
    Ed25519,
    Rsa,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("there is randomness");
        Authority(CertifiedIssuer::self_signed(params, key).expect("an authority signs itself"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    pub fn key_pem(&self) -> String {
        self.0.key().serialize_pem()
    }

    /// A list of the certificates that it has revoked, which is good until then.
    pub fn crl(&self, serials: &[u64], until: (i32, u8, u8)) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: rcgen::date_time_ymd(2001, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2001, 1, 1),
            next_update: rcgen::date_time_ymd(until.0, until.1, until.2),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.0).expect("an authority signs");
        list.pem().expect("it can be written")
    }

    /// The certificate that a request (RFC 2986, in DER) is for, if it is for this domain; good from
    /// and until then.
    pub fn issue(&self, request: &[u8], domain: &str, good: (SystemTime, SystemTime)) -> String {
        use x509_parser::prelude::{FromDer, X509CertificationRequest};
        let (_, request) = X509CertificationRequest::from_der(request).expect("a request");
        let key = &request.certification_request_info.subject_pki;
        let point = key.subject_public_key.data.to_vec();
        let algorithm = match (key.algorithm.algorithm.to_id_string().as_str(), point.len()) {
            ("1.2.840.113549.1.1.1", _) => &PKCS_RSA_SHA256,
            (_, 97) => &PKCS_ECDSA_P384_SHA384,
            _ => &PKCS_ECDSA_P256_SHA256,
        };
        let key = RequestedKey(point, algorithm);
        let mut params = made_out_for(&[domain]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (good.0.into(), good.1.into());
        let issued = params.signed_by(&key, &self.0);
        issued.expect("an authority signs").pem()
    }

    /// A server's certificate, made out for these names or addresses.
    pub fn certificate(&self, names: &[&str]) -> Certificate {
        self.certificate_with(Kind::Ecdsa, names, |_| {})
    }

    /// A client's certificate.
    pub fn client_certificate(&self, name: &str) -> Certificate {
        self.certificate_with(Kind::Ecdsa, &[], |params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params
                .distinguished_name
                .push(DnType::OrganizationName, "Specs, Ltd.");
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    /// A certificate with a say in what is in it.
    pub fn certificate_with(
        &self,
        kind: Kind,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let mut params = made_out_for(names);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        change(&mut params);
        let key = match kind {
            Kind::Ecdsa => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Kind::Ed25519 => KeyPair::generate_for(&PKCS_ED25519),
            Kind::Rsa => KeyPair::generate_for(&PKCS_RSA_SHA256),
        }
        .expect("there is randomness");
        let certificate = params.signed_by(&key, &self.0).expect("an authority signs");
        Certificate {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// A client that accepts every certificate of this authority, without a check of its names.
    pub fn trusting_anyone(&self) -> ClientConfig {
        let verifier = WebPkiServerVerifier::builder_with_provider(
            self.roots().into(),
            aws_lc_rs::default_provider().into(),
        );
        let mut config = self.trusting();
        config
            .dangerous()
            .set_certificate_verifier(Arc::new(WhateverTheName(
                verifier.build().expect("there is an authority"),
            )));
        config
    }

    /// A client that trusts the first certificate of a PEM text.
    pub fn trusting_pem(pem: &str) -> ClientConfig {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("it is PEM");
        let mut roots = RootCertStore::empty();
        roots.add(der).expect("an authority can be trusted");
        ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("the provider speaks them")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.0.der().clone())
            .expect("an authority can be trusted");
        roots
    }

    /// A client that trusts this authority.
    pub fn trusting(&self) -> ClientConfig {
        self.trusting_at(rustls::DEFAULT_VERSIONS)
    }

    /// As [`trusting`](Self::trusting), in these versions.
    pub fn trusting_at(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> ClientConfig {
        ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(versions)
            .expect("the provider speaks them")
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    /// As [`trusting`](Self::trusting), by TLS 1.2 and the suites that have this in their names.
    pub fn trusting_by(&self, suites: &str) -> ClientConfig {
        let mut provider = aws_lc_rs::default_provider();
        provider
            .cipher_suites
            .retain(|suite| format!("{:?}", suite.suite()).contains(suites));
        ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[&rustls::version::TLS12])
            .expect("there is a suite of it")
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    /// As [`trusting`](Self::trusting), with a certificate of its own.
    pub fn trusting_as(&self, own: &Certificate) -> ClientConfig {
        ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("the provider speaks them")
            .with_root_certificates(self.roots())
            .with_client_auth_cert(own.certificates(), own.private_key())
            .expect("they go together")
    }

    /// As [`trusting_as`](Self::trusting_as), with the certificate `theirs`, and the key of `own`.
    pub fn trusting_as_if(&self, theirs: &Certificate, own: &Certificate) -> ClientConfig {
        let mut config = self.trusting();
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(theirs.with_key(own)));
        config
    }

    /// A server that asks for certificates of this authority.
    pub fn demanding(&self, own: &Certificate) -> ServerConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(self.roots().into(), provider.clone())
                .build()
                .expect("there is an authority");
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider speaks them")
            .with_client_cert_verifier(verifier)
            .with_single_cert(own.certificates(), own.private_key())
            .expect("they go together")
    }
}

fn made_out_for(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names
        .iter()
        .map(|name| match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into().expect("a name is ASCII")),
        })
        .collect();
    params
}

/// Verifies all but the name.
#[derive(Debug)]
struct WhateverTheName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for WhateverTheName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        match self
            .0
            .verify_server_cert(certificate, intermediates, name, ocsp, now)
        {
            Err(rustls::Error::InvalidCertificate(
                NotValidForName | NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl Certificate {
    /// A self-signed one.
    pub fn self_signed(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let mut params = made_out_for(names);
        change(&mut params);
        let key = KeyPair::generate().expect("there is randomness");
        let certificate = params.self_signed(&key).expect("it signs itself");
        Certificate {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Writes `NAME.pem` and `NAME.key`; the path without its ending.
    pub fn write(&self, directory: &Path, name: &str) -> PathBuf {
        let path = directory.join(name);
        std::fs::write(path.with_extension("pem"), &self.chain).expect("the directory is ours");
        std::fs::write(path.with_extension("key"), &self.key).expect("the directory is ours");
        path
    }

    /// A server with this certificate.
    pub fn server(&self) -> ServerConfig {
        ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("the provider speaks them")
            .with_no_client_auth()
            .with_single_cert(self.certificates(), self.private_key())
            .expect("they go together")
    }

    /// A server with this certificate, and a key that is not its.
    pub fn server_with_key_of(&self, other: &Certificate) -> ServerConfig {
        let mut config = self.server();
        config.cert_resolver = Arc::new(SingleCertAndKey::from(self.with_key(other)));
        config
    }

    fn with_key(&self, other: &Certificate) -> CertifiedKey {
        let key = aws_lc_rs::sign::any_supported_type(&other.private_key());
        CertifiedKey::new(self.certificates(), key.expect("a key of a usual kind"))
    }

    fn certificates(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.chain.as_bytes())
            .map(|der| der.expect("it is PEM"))
            .collect()
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("it is PEM")
    }
}

impl Handshake {
    pub(crate) fn of(stream: &TlsStream<TcpStream>) -> Handshake {
        let (state, server_name): (&CommonState, _) = match stream {
            TlsStream::Client(stream) => (stream.get_ref().1, None),
            TlsStream::Server(stream) => (stream.get_ref().1, stream.get_ref().1.server_name()),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let certificates = state.peer_certificates().unwrap_or_default();
        Handshake {
            server_name: server_name.map(str::to_owned),
            version: format!(
                "{:?}",
                state.protocol_version().unwrap_or(ProtocolVersion::SSLv2)
            ),
            alpn: state.alpn_protocol().map(text),
            resumed: state.handshake_kind() == Some(HandshakeKind::Resumed),
            peer_names: certificates.first().map_or(Vec::new(), |der| names(der)),
            peer_certificates: certificates.len(),
        }
    }
}

fn names(der: &[u8]) -> Vec<String> {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
    let (_, certificate) = X509Certificate::from_der(der).expect("a certificate");
    let names = certificate
        .subject_alternative_name()
        .expect("it is well-formed");
    let names = names.map_or(Vec::new(), |names| names.value.general_names.clone());
    names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect()
}

/// Connects with TLS, and asks for a name.
pub async fn connect(
    address: &str,
    config: impl Into<Arc<ClientConfig>>,
    name: &str,
) -> io::Result<Client> {
    let stream = in_time("a connection", TcpStream::connect(address)).await?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connector = TlsConnector::from(config.into());
    let stream = in_time("a handshake", connector.connect(name, stream)).await?;
    Ok(Client {
        wire: Wire::tls(TlsStream::Client(stream)),
    })
}

/// A GET on a connection of its own.
pub async fn get(
    address: &str,
    config: impl Into<Arc<ClientConfig>>,
    name: &str,
    target: &str,
) -> Response {
    let mut client = connect(address, config, name).await.expect("a handshake");
    client
        .send(format!(
            "GET {target} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
        ))
        .await;
    client.response().await
}

/// Whether a program is installed.
pub fn installed(program: &str) -> bool {
    let version = match program {
        "openssl" => "version",
        _ => "--version",
    };
    installed::program(program, version, program)
}

/// Runs `openssl` to its end; what it writes to its standard output.
pub fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("openssl runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
