//! The handshake with a client, and its outcome: the client's certificate, the name and the
//! protocol that it asked for.
//!
//! A client that speaks plain HTTP is let through, to be told so in words it understands
//! (`exchange::admit` does). So is one without the certificate that it needs: a handshake that
//! fails tells its user nothing.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use rustls::pki_types::CertificateDer;
use rustls::server::{Acceptor, ClientHello};
use rustls::{HandshakeKind, InvalidMessage, ProtocolVersion, ServerConnection};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, TlsStream};

use super::Client;
use crate::acme::challenge_for;
use crate::data_plane::stream::{Alarm, Stream, Transport};
use crate::files;
use crate::http::variable::Variable;
use crate::metrics::WorkerCells;
use crate::tls::ciphers::openssl_name;
use crate::tls::server::ClientVerdict;
use crate::tls::{ACME_TLS, ServerTls, may_be_tls, peer};

const TLS_1_3: &str = "TLSv1.3";
/// Alerts that rustls has no way to send, or sends no alert for (RFC 8446 section 6.2).
const UNEXPECTED_MESSAGE: u8 = 10;
const DECODE_ERROR: u8 = 50;
const UNRECOGNIZED_NAME: u8 = 112;

/// Shakes hands. None where that failed, which is the log's business; no facts where the client
/// speaks plain HTTP.
pub(crate) async fn accept(
    tls: &Arc<ServerTls>,
    client: &Client,
    stream: Stream,
    counted: &WorkerCells,
) -> Option<(Stream, Option<TlsFacts>)> {
    let Stream::Plain(transport) = stream else {
        // No TLS comes before ours.
        return None;
    };
    let limit = tls.settings().handshake_timeout;
    let mut alarm = Alarm::default();
    let failure = match alarm.within(limit, handshake(tls, transport)).await {
        Ok(Ok(opened)) => {
            if let Some((_, Some(facts))) = &opened {
                counted.handshake(facts.protocol == TLS_1_3, facts.reused);
            }
            return opened;
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Cow::Borrowed("peer closed connection in SSL handshake")
        }
        Ok(Err(error)) => Cow::Owned(format!("SSL_do_handshake() failed ({error})")),
        Err(_) => Cow::Borrowed("client timed out (110: Connection timed out)"),
    };
    counted.handshake_failed();
    tracing::info!("{failure} while SSL handshaking{}", client.context());
    None
}

/// `Ok(None)` where the client left before it said anything.
async fn handshake(
    tls: &Arc<ServerTls>,
    transport: Transport,
) -> io::Result<Option<(Stream, Option<TlsFacts>)>> {
    let mut first = [0];
    #[allow(
        clippy::disallowed_methods,
        reason = "by `handshake_timeout`, within which all of this is"
    )]
    let first = match poll_fn(|cx| transport.poll_peek(cx, &mut first)).await? {
        0 => None,
        _ => Some(first[0]),
    };
    match first {
        None => return Ok(None),
        Some(first) if may_be_tls(first) => {}
        Some(_) => return Ok(Some((Stream::Plain(transport), None))),
    }
    let mut start = client_hello(transport).await?;
    let name = start
        .client_hello()
        .server_name()
        .map(str::to_ascii_lowercase);
    let offers = |hello: ClientHello<'_>| {
        let mut offered = hello.alpn().into_iter().flatten();
        offered.any(|protocol| protocol == ACME_TLS)
    };
    if tls.settings().acme.is_some() && offers(start.client_hello()) {
        // Few connections get here: the others need not carry the room for it.
        let validated = Box::pin(validated(tls, name, start)).await;
        return validated.map(|()| None);
    }
    if tls.awaits(name.as_deref()) {
        start.io.write_all(&fatal(UNRECOGNIZED_NAME)).await?;
        let name = name.as_deref().unwrap_or("no name");
        return Err(io::Error::other(format!(
            "the certificate for {name} is not there yet: `waypost certificate list` tells why"
        )));
    }
    if !tls.serves(name.as_deref()) {
        start.io.write_all(&fatal(UNRECOGNIZED_NAME)).await?;
        let name = name.as_deref().unwrap_or("none");
        return Err(io::Error::other(format!(
            "no certificate for the name {name}"
        )));
    }
    // The first step is computed by the call already, not by its future.
    let rest = async { start.into_stream(tls.config.clone()).await };
    let stream = in_turns(&tls.handshakes, rest).await?;
    let facts = TlsFacts::of(tls.clone(), stream.get_ref().1);
    Ok(Some((
        Stream::Tls(Box::new(TlsStream::Server(stream))),
        Some(facts),
    )))
}

/// Answers an authority that validates a domain by TLS-ALPN-01 (RFC 8737): the handshake is the
/// answer, and nothing follows.
async fn validated(
    tls: &Arc<ServerTls>,
    name: Option<String>,
    mut start: StartHandshake<Transport>,
) -> io::Result<()> {
    let under_way = match (&tls.settings().acme, name.clone()) {
        (Some(acme), Some(name)) => {
            let directory = acme.authority.store.tls_challenges().clone();
            let of = directory.clone();
            let found = files::run(&directory, move || challenge_for(&of, &name));
            // By `handshake_timeout`, within which all of this is.
            found.map_err(io::Error::other)?.await.ok().flatten()
        }
        _ => None,
    };
    let Some(config) = under_way else {
        start.io.write_all(&fatal(UNRECOGNIZED_NAME)).await?;
        let name = name.as_deref().unwrap_or("no name");
        let why = format!("no validation of {name} by acme-tls/1 is under way");
        return Err(io::Error::other(why));
    };
    let shaken = async { start.into_stream(config).await };
    let mut stream = in_turns(&tls.handshakes, shaken).await?;
    // That the authority has left is no news.
    let _ = stream.shutdown().await;
    Ok(())
}

/// Reads a ClientHello. A client that sends anything else is told so by an alert.
async fn client_hello(transport: Transport) -> io::Result<StartHandshake<Transport>> {
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), transport);
    let error = match (&mut acceptor).await {
        Ok(start) => return Ok(start),
        Err(error) => error,
    };
    let reason = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(alert) = reason.and_then(unsent_alert)
        && let Some(mut transport) = acceptor.take_io()
    {
        // That the client has left is no news.
        let _ = transport.write_all(&fatal(alert)).await;
    }
    Err(error)
}

/// The alert for an error that rustls's `Acceptor` answers by none.
fn unsent_alert(error: &rustls::Error) -> Option<u8> {
    match error {
        rustls::Error::InappropriateMessage { .. }
        | rustls::Error::InappropriateHandshakeMessage { .. } => Some(UNEXPECTED_MESSAGE),
        rustls::Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge) => {
            Some(DECODE_ERROR)
        }
        _ => None,
    }
}

/// A record with a fatal alert.
fn fatal(alert: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, alert]
}

/// Does the work of a handshake in turns, of which `turns` has as many as may be computed side by
/// side. A turn is for what can be computed from what has come, and then for one round of the event
/// loop, in which the worker's other connections are served. No turn is held while the client is
/// waited for: clients that are slow, or never finish, would keep all others out.
#[allow(
    clippy::disallowed_methods,
    reason = "by `handshake_timeout`, within which all of this is"
)]
async fn in_turns<T>(turns: &Semaphore, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        // The semaphore is never closed. Waiting is bounded by `handshake_timeout`.
        let turn = turns.acquire().await;
        for last in [false, true] {
            let step = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx)));
            if let Poll::Ready(done) = step.await {
                return done;
            }
            if !last {
                tokio::task::yield_now().await;
            }
        }
        drop(turn);
        // The step before has registered this task's waker: the next poll of this task means that
        // more has come, or that nothing is lost by another step.
        let mut woken = false;
        poll_fn(|_| match std::mem::replace(&mut woken, true) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
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
    /// The verdict on the certificates, and the settings that it was reached with: those of another
    /// configuration may lead to another one.
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
    /// Of a client that is made up: it asks for this name, and shows no certificate.
    pub(super) fn made_up(tls: &Arc<ServerTls>, server_name: Option<&str>) -> TlsFacts {
        TlsFacts {
            protocol: TLS_1_3,
            cipher: "TLS_AES_128_GCM_SHA256",
            server_name: server_name.map(|name| name.to_ascii_lowercase().into()),
            alpn: None,
            reused: false,
            certificates: Box::default(),
            judged: RefCell::new((tls.clone(), tls.judge(&[]))),
            names: OnceCell::new(),
            escaped: OnceCell::new(),
        }
    }

    fn of(tls: Arc<ServerTls>, connection: &ServerConnection) -> TlsFacts {
        let certificates = connection.peer_certificates().unwrap_or_default();
        let verdict = tls.judge(certificates);
        let alpn = connection
            .alpn_protocol()
            .and_then(|name| std::str::from_utf8(name).ok());
        TlsFacts {
            protocol: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => TLS_1_3,
            },
            cipher: connection
                .negotiated_cipher_suite()
                .and_then(openssl_name)
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

    /// The SHA-256 of the client's certificate, if it is valid.
    pub(crate) fn valid_certificate_fingerprint(&self) -> Option<[u8; 32]> {
        let certificate = self.certificates.first()?;
        let is_valid = matches!(self.judged.borrow().1, ClientVerdict::Valid);
        is_valid.then(|| peer::sha256(certificate))
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_turn_lasts_for_a_round_of_the_event_loop_and_not_for_the_client() {
        let (turns, log) = (Semaphore::new(1), RefCell::new(Vec::new()));
        // Computes once, and then waits for a client that never comes.
        let shakes = |name: &'static str| {
            let log = &log;
            in_turns(&turns, async move {
                log.borrow_mut().push(name);
                std::future::pending::<()>().await;
            })
        };
        let (mut first, mut second) = (pin!(shakes("first")), pin!(shakes("second")));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(&mut cx).is_pending());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert_eq!(*log.borrow(), ["first"]);
        // The next round of the event loop.
        assert!(first.as_mut().poll(&mut cx).is_pending());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert_eq!(*log.borrow(), ["first", "second"]);
        assert!(second.as_mut().poll(&mut cx).is_pending());
        // Both wait for their clients.
        assert_eq!(turns.available_permits(), 1);
    }
}
