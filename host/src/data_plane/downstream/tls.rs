//! The handshake with a client, and what came of it: who it is, what it asked for.
//!
//! A client that speaks plain HTTP is let through, to be told so in words it understands
//! (`exchange::admit` does). So is one without the certificate that it needs: a handshake that
//! fails tells its user nothing.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::Acceptor;
use rustls::{HandshakeKind, ProtocolVersion, ServerConnection};
use tokio::io::AsyncWriteExt;
use tokio_rustls::{LazyConfigAcceptor, TlsStream};

use super::Client;
use crate::data_plane::stream::{Alarm, Stream, Transport};
use crate::http::variable::Variable;
use crate::tls::ciphers::Cipher;
use crate::tls::server::ClientVerdict;
use crate::tls::{ServerTls, peer};

/// The first byte of a TLS record with a handshake (RFC 8446 section 5.1).
const HANDSHAKE: u8 = 22;
/// `unrecognized_name`, fatal, in a record of its own (RFC 6066 section 3): rustls has no way to
/// say it.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Shakes hands. None where that failed, which is the log's business; no facts where the client
/// speaks plain HTTP.
pub(crate) async fn accept(
    tls: &Arc<ServerTls>,
    client: &Client,
    stream: Stream,
) -> Option<(Stream, Option<TlsFacts>)> {
    let Stream::Plain(transport) = stream else {
        // Nobody speaks TLS before us.
        return None;
    };
    let limit = tls.settings().handshake_timeout;
    let mut alarm = Alarm::default();
    let failure = match alarm.within(limit, handshake(tls, transport)).await {
        Ok(Ok(opened)) => return opened,
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Cow::Borrowed("peer closed connection in SSL handshake")
        }
        Ok(Err(error)) => Cow::Owned(format!("SSL_do_handshake() failed ({error})")),
        Err(_) => Cow::Borrowed("client timed out (110: Connection timed out)"),
    };
    tracing::info!("{failure} while SSL handshaking{}", client.context());
    None
}

/// `Ok(None)` where the client left before it said anything.
async fn handshake(
    tls: &Arc<ServerTls>,
    transport: Transport,
) -> io::Result<Option<(Stream, Option<TlsFacts>)>> {
    let mut first = [0];
    let first = match poll_fn(|cx| transport.poll_peek(cx, &mut first)).await? {
        0 => None,
        _ => Some(first[0]),
    };
    match first {
        None => return Ok(None),
        // nginx takes what begins so for TLS, or for SSL 2, which is refused there.
        Some(HANDSHAKE | 0x80..) => {}
        Some(_) => return Ok(Some((Stream::Plain(transport), None))),
    }
    // It is never closed; who waits is cut by the timeout.
    let _turn = tls.handshakes.acquire().await;
    let mut start = LazyConfigAcceptor::new(Acceptor::default(), transport).await?;
    let name = start
        .client_hello()
        .server_name()
        .map(str::to_ascii_lowercase);
    if !tls.serves(name.as_deref()) {
        start.io.write_all(&UNRECOGNIZED_NAME).await?;
        let name = name.as_deref().unwrap_or("none");
        return Err(io::Error::other(format!(
            "no certificate for the name {name}"
        )));
    }
    let stream = start.into_stream(tls.config.clone()).await?;
    let facts = TlsFacts::of(tls.clone(), stream.get_ref().1);
    Ok(Some((
        Stream::Tls(Box::new(TlsStream::Server(stream))),
        Some(facts),
    )))
}

/// What a connection's handshake tells of it.
pub(crate) struct TlsFacts {
    /// `TLSv1.3`
    pub(crate) protocol: &'static str,
    /// By OpenSSL's name.
    pub(crate) cipher: &'static str,
    /// The name that the client asked for, lower case.
    pub(crate) server_name: Option<Box<str>>,
    pub(crate) alpn: Option<Box<str>>,
    pub(crate) reused: bool,
    /// The client's own, then those of its issuers.
    certificates: Box<[CertificateDer<'static>]>,
    /// What the certificates are worth, and who judged them: another configuration may think
    /// otherwise.
    judged: RefCell<(Arc<ServerTls>, ClientVerdict)>,
    /// Made when they are first asked for.
    names: OnceCell<PeerNames>,
    escaped: OnceCell<String>,
}

/// What a client's certificate says.
pub(crate) struct PeerNames {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) serial: String,
    pub(crate) fingerprint: String,
}

impl TlsFacts {
    fn of(tls: Arc<ServerTls>, connection: &ServerConnection) -> TlsFacts {
        let certificates = connection.peer_certificates().unwrap_or_default();
        let verdict = tls.judge(certificates);
        let alpn = connection
            .alpn_protocol()
            .and_then(|name| std::str::from_utf8(name).ok());
        TlsFacts {
            protocol: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            cipher: connection
                .negotiated_cipher_suite()
                .and_then(Cipher::openssl_name)
                .unwrap_or_default(),
            server_name: connection
                .server_name()
                .map(|name| name.to_ascii_lowercase().into()),
            alpn: alpn.map(Box::from),
            reused: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            certificates: certificates.into(),
            judged: RefCell::new((tls, verdict)),
            names: OnceCell::new(),
            escaped: OnceCell::new(),
        }
    }

    /// What the client's certificate is worth to a listener's TLS as it is now.
    pub(crate) fn verdict(&self, tls: &Arc<ServerTls>) -> ClientVerdict {
        let mut judged = self.judged.borrow_mut();
        if !Arc::ptr_eq(&judged.0, tls) {
            *judged = (tls.clone(), tls.judge(&self.certificates));
        }
        judged.1.clone()
    }

    /// As `$ssl_client_verify` has it.
    pub(crate) fn client_verify(&self) -> Cow<'static, str> {
        match &self.judged.borrow().1 {
            ClientVerdict::NoneNeeded | ClientVerdict::Missing => Cow::Borrowed("NONE"),
            ClientVerdict::Valid => Cow::Borrowed("SUCCESS"),
            ClientVerdict::Invalid(reason) => Cow::Owned(format!("FAILED:{reason}")),
        }
    }

    /// None where the client has no certificate.
    pub(crate) fn names(&self) -> Option<&PeerNames> {
        let certificate = self.certificates.first()?;
        Some(self.names.get_or_init(|| PeerNames {
            subject: peer::subject(certificate),
            issuer: peer::issuer(certificate),
            serial: peer::serial(certificate),
            fingerprint: peer::fingerprint(certificate),
        }))
    }

    /// What it has to say as a variable, if it has.
    pub(crate) fn value(&self, variable: &Variable) -> Option<Cow<'_, str>> {
        let value = match variable {
            Variable::Https => "on",
            Variable::SslProtocol => self.protocol,
            Variable::SslCipher => self.cipher,
            Variable::SslServerName => self.server_name.as_deref()?,
            Variable::SslAlpnProtocol => self.alpn.as_deref()?,
            Variable::SslSessionReused if self.reused => "r",
            Variable::SslSessionReused => ".",
            Variable::SslClientVerify => return Some(self.client_verify()),
            Variable::SslClientSDn => &self.names()?.subject,
            Variable::SslClientIDn => &self.names()?.issuer,
            Variable::SslClientSerial => &self.names()?.serial,
            Variable::SslClientFingerprint => &self.names()?.fingerprint,
            Variable::SslClientEscapedCert => self.escaped_certificate()?,
            _ => return None,
        };
        Some(Cow::Borrowed(value))
    }

    /// The client's certificate in PEM, percent-encoded.
    pub(crate) fn escaped_certificate(&self) -> Option<&str> {
        let certificate = self.certificates.first()?;
        Some(self.escaped.get_or_init(|| peer::escaped_pem(certificate)))
    }
}
