//! Why an attempt came to nothing, in nginx's words, which people alert on.

use std::io;

use super::overload::Overload;
use rustls::{CertificateError, InvalidMessage};

use crate::data_plane::body::{BodyError, Stopped};
use crate::data_plane::content_coding::BadContent;
use crate::data_plane::stream::StreamError;
use crate::http::framing::BadFraming;
use crate::http::head::BadHead;
use crate::metrics::Reason;
use crate::plugin::FailureKind;
use crate::tls::{is_self_signed, reason_with_number};

/// Interim responses that one response may have before it: nothing else bounds what they add up to.
pub(crate) const MAX_INTERIM: u32 = 64;

/// Connections to one endpoint that a request sees end before it is looked at: each was of use to
/// others meanwhile.
pub(crate) const MAX_CONNECTIONS: u32 = 16;

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("connect() failed ({}) while connecting to upstream", Errno(.0))]
    Connect(io::Error),
    #[error("{} while SSL handshaking to upstream", HandshakeError(.0))]
    Handshake(io::Error),
    #[error("upstream timed out (110: Connection timed out) while connecting to upstream")]
    ConnectTimeout,
    #[error("upstream timed out (110: Connection timed out) while SSL handshaking to upstream")]
    HandshakeTimeout,
    /// Our own failure: it does not count against the endpoint.
    #[error("socket() failed ({}) while connecting to upstream", Errno(.0))]
    NoDescriptor(io::Error),
    /// Our own as well.
    #[error(
        "too many connections to upstreams while connecting to upstream: {0} are in use, as many as the limit on open files leaves room for (`ulimit -n`)"
    )]
    TooManyConnections(usize),
    /// Our own as well.
    #[error(transparent)]
    Overload(#[from] Overload),
    #[error("send() failed ({}) while sending request to upstream", Errno(.0))]
    Send(io::Error),
    #[error("upstream timed out (110: Connection timed out) while sending request to upstream")]
    SendTimeout,
    #[error("upstream prematurely closed connection while reading response header from upstream")]
    Closed,
    #[error("recv() failed ({}) while reading response header from upstream", Errno(.0))]
    Read(io::Error),
    #[error(
        "upstream timed out (110: Connection timed out) while reading response header from upstream"
    )]
    ReadTimeout,
    #[error("upstream sent too big header while reading response header from upstream")]
    HeaderTooLarge,
    #[error("upstream sent invalid header ({0}) while reading response header from upstream")]
    InvalidHeader(BadHead),
    #[error("upstream sent {0} while reading response header from upstream")]
    InvalidFraming(BadFraming),
    #[error("upstream sent too many interim responses while reading response header from upstream")]
    TooManyInterim,
    #[error("upstream sent invalid chunked response while reading upstream")]
    InvalidBody,
    /// Found where the body is recoded.
    #[error("{0} while reading upstream")]
    InvalidContent(BadContent),
    #[error("upstream switched protocols without being asked to")]
    UnaskedUpgrade,
    #[error("upstream answered another WebSocket key than it was sent")]
    WrongWebSocketKey,
    #[error("upstream does not let WebSocket through HTTP/2 (RFC 8441)")]
    NoExtendedConnect,
    /// In HTTP/2, its status would tell the client that the tunnel is open (RFC 8441 section 5).
    #[error("upstream answered {0} instead of changing the protocol")]
    UpgradeIgnored(u16),
    /// The endpoint says that it has not processed the request.
    #[error("upstream refused the stream while sending request to upstream")]
    Refused,
    #[error("upstream sent invalid HTTP/2 ({0}) while reading response header from upstream")]
    Http2(StreamError),
    /// Caused by the client: it does not count against the endpoint.
    #[error("client sent a request that HTTP/2 has no words for ({0})")]
    Inexpressible(BadHead),
    /// A hook lets the answer not pass.
    #[error("{0} while reading upstream")]
    Stopped(Box<Stopped>),
    /// The request could not be read to its end.
    #[error(transparent)]
    Request(BodyError),
    #[error("client prematurely closed connection")]
    ClientGone,
}

impl Failure {
    /// Whether a dial has failed on account of whoever has the address now.
    pub(super) fn is_of_endpoint(&self) -> bool {
        matches!(
            self.kind(),
            FailureKind::Connect | FailureKind::ConnectTimeout | FailureKind::Tls
        )
    }

    /// In the words of figures.
    pub(crate) fn word(&self) -> &'static str {
        reason(self.kind()).word()
    }

    /// As policies are told: see `attempt.failure` in the WIT.
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Failure::Connect(_) => FailureKind::Connect,
            Failure::Handshake(_) => FailureKind::Tls,
            Failure::ConnectTimeout | Failure::HandshakeTimeout => FailureKind::ConnectTimeout,
            Failure::SendTimeout | Failure::ReadTimeout => FailureKind::Timeout,
            Failure::Send(_) | Failure::Closed | Failure::Read(_) | Failure::Refused => {
                FailureKind::Reset
            }
            Failure::HeaderTooLarge
            | Failure::InvalidHeader(_)
            | Failure::InvalidFraming(_)
            | Failure::TooManyInterim
            | Failure::InvalidBody
            | Failure::InvalidContent(_)
            | Failure::UnaskedUpgrade
            | Failure::WrongWebSocketKey
            | Failure::NoExtendedConnect
            | Failure::UpgradeIgnored(_)
            | Failure::Http2(_) => FailureKind::Protocol,
            Failure::NoDescriptor(_)
            | Failure::TooManyConnections(_)
            | Failure::Overload(_)
            | Failure::Inexpressible(_)
            | Failure::Stopped(_)
            | Failure::Request(_)
            | Failure::ClientGone => FailureKind::Other,
        }
    }
}

/// The endpoint has answered with a status for which another one is asked (`next_upstream`), which
/// nginx has no words for.
#[derive(Debug, thiserror::Error)]
#[error("upstream sent status {0}, for which the next server is asked")]
pub(crate) struct StatusFailed(pub(crate) u16);

/// Why an attempt has failed, as it is counted. What the rules pass over without a word of its own
/// is a status that another endpoint may not have.
pub(super) fn reason(kind: FailureKind) -> Reason {
    match kind {
        FailureKind::Connect => Reason::Connect,
        FailureKind::Tls => Reason::Tls,
        FailureKind::ConnectTimeout => Reason::ConnectTimeout,
        FailureKind::Timeout => Reason::Timeout,
        FailureKind::Reset => Reason::Reset,
        FailureKind::Protocol => Reason::Protocol,
        FailureKind::Status | FailureKind::None => Reason::Status,
        FailureKind::Other => Reason::Other,
    }
}

/// Why a response body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyFailure {
    #[error("recv() failed ({}) while reading upstream", Errno(.0))]
    Read(io::Error),
    #[error("upstream timed out (110: Connection timed out) while reading upstream")]
    TimedOut,
    #[error("upstream prematurely closed connection while reading upstream")]
    Closed,
    #[error("upstream sent invalid chunked response while reading upstream")]
    BadChunk,
    #[error("client prematurely closed connection while reading upstream")]
    ClientGone,
    /// The rest of the request, which the endpoint may wait for, will not come.
    #[error("{0} while reading client request body")]
    Request(BodyError),
}

/// An error of the kernel as nginx writes it: `111: Connection refused`.
pub(crate) struct Errno<'a>(pub(crate) &'a io::Error);

impl std::fmt::Display for Errno<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(number) = self.0.raw_os_error() else {
            return self.0.fmt(f);
        };
        let text = self.0.to_string();
        write!(
            f,
            "{number}: {}",
            text.split(" (os error").next().unwrap_or_default()
        )
    }
}

/// A handshake's failure in nginx's words (`ngx_http_upstream_ssl_handshake`).
struct HandshakeError<'a>(&'a io::Error);

impl std::fmt::Display for HandshakeError<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tls = self
            .0
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                expected,
                presented,
            })) => {
                let expected = expected.to_str();
                write!(f, "upstream SSL certificate does not match \"{expected}\"")?;
                match presented.as_slice() {
                    // nginx goes by its subject then, which RFC 9525 section 6.3 forbids.
                    [] => f.write_str(" (it has no subjectAltName)"),
                    _ => Ok(()),
                }
            }
            // OpenSSL's words for a first record that is none of TLS.
            Some(rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            )) => f.write_str(
                "SSL_do_handshake() failed (wrong version number: the server does not speak TLS)",
            ),
            Some(error) => match reason_with_number(error) {
                Some(reason) => {
                    write!(f, "upstream SSL certificate verify error: ({reason})")?;
                    match is_self_signed(error) {
                        true => f.write_str(
                            " (to trust it, put it into the file of `ca`, and set no `crl`)",
                        ),
                        false => Ok(()),
                    }
                }
                None => write!(f, "SSL_do_handshake() failed ({error})"),
            },
            None if self.0.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("peer closed connection in SSL handshake")
            }
            None => write!(f, "SSL_do_handshake() failed ({})", Errno(self.0)),
        }
    }
}

/// A failure, and what nginx's rules for the next attempt ask about it.
#[derive(Debug)]
pub(crate) struct AttemptError {
    pub(crate) failure: Failure,
    /// Something of the request may have reached the endpoint.
    pub(crate) request_sent: bool,
    /// It was sent on a connection that had been idle, which the endpoint may have closed
    /// meanwhile.
    pub(crate) cached: bool,
}

impl AttemptError {
    /// The endpoint ended a connection that other requests were on, and has not processed this one:
    /// another connection is enough, and the attempt does not count against the endpoint.
    pub(crate) fn needs_another_connection(&self) -> bool {
        matches!(self.failure, Failure::Refused) && self.cached && !self.request_sent
    }
}

impl Failure {
    /// Why there is no connection.
    pub(super) fn of_connect(error: io::Error) -> Failure {
        match error.raw_os_error() {
            // EMFILE, ENFILE
            Some(24 | 23) => Failure::NoDescriptor(error),
            _ => Failure::Connect(error),
        }
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Failure {
        match error {
            StreamError::Refused => Failure::Refused,
            StreamError::Http2(error) if error.is_io() => Failure::Closed,
            error => Failure::Http2(error),
        }
    }
}
