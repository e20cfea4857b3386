//! A generator of TLS handshakes: this program itself, as a process of its own on the generators'
//! core.
//!
//! It does as little as it can on its side (certificates are not looked at), so that the proxy has
//! most of the work.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, HandshakeKind, SignatureScheme,
};

use crate::PATIENCE;
use crate::load::quantile;
use crate::scenario::TINY;

const THREADS: usize = 8;

/// `PORT SECONDS full|resumed`: prints connections and errors, as [`crate::load`] reads them.
pub(crate) fn generate(arguments: &[String]) {
    let [port, seconds, kind] = arguments else {
        panic!("--handshakes PORT SECONDS full|resumed");
    };
    let port = port.parse().expect("a port");
    let until = Instant::now() + Duration::from_secs(seconds.parse().expect("seconds"));
    let resumed = kind == "resumed";
    let threads: Vec<_> = (0..THREADS)
        .map(|_| thread::spawn(move || connections(port, until, resumed)))
        .collect();
    let mut times = Vec::new();
    let mut errors = 0;
    for thread in threads {
        let (took, failed) = thread.join().expect("a thread ends in order");
        times.extend(took);
        errors += failed;
    }
    times.sort();
    let [p50, p99] = [0.5, 0.99].map(|share| quantile(&times, share));
    println!("{} {errors} {p50:.3} {p99:.3}", times.len());
}

/// Connects, one after the other; times of those that went well, and the number of the others.
fn connections(port: u16, until: Instant, resumed: bool) -> (Vec<Duration>, u64) {
    let config = Arc::new(config(resumed));
    let (mut times, mut errors) = (Vec::new(), 0);
    if resumed {
        // The first one brings the tickets.
        let _ = connect(port, &config);
    }
    while Instant::now() < until {
        let began = Instant::now();
        let wanted = if resumed {
            HandshakeKind::Resumed
        } else {
            HandshakeKind::Full
        };
        match connect(port, &config) {
            Some(kind) if kind == wanted => times.push(began.elapsed()),
            _ => errors += 1,
        }
    }
    (times, errors)
}

/// One connection, one answer; `None` where that failed.
fn connect(port: u16, config: &Arc<ClientConfig>) -> Option<HandshakeKind> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let name = ServerName::try_from("bench.example").ok()?;
    let mut connection = ClientConnection::new(config.clone(), name).ok()?;
    let mut tls = rustls::Stream::new(&mut connection, &mut stream);
    let request = format!("GET {TINY} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
    tls.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    // A proxy that closes without `close_notify` has sent all of its answer all the same.
    let _ = tls.read_to_end(&mut answer);
    answer.starts_with(b"HTTP/1.1 200").then_some(())?;
    connection.handshake_kind()
}

/// What a client says of TLS: `resumed` where it keeps its sessions.
pub(crate) fn config(resumed: bool) -> ClientConfig {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    if !resumed {
        config.resumption = Resumption::disabled();
    }
    config
}

/// Accepts any certificate.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
