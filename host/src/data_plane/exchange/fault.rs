//! Why an exchange could not be carried through, and what the client is told: one place for status,
//! log level and wording.

use super::admit::BadRequest;
use crate::config::model::NotAllowed;
use crate::data_plane::body::{BadBody, BodyError, Stopped};
use crate::data_plane::upstream::{Failure, Overload};
use crate::http::framing::BadFraming;
use crate::http::head::BadHead;
use crate::plugin::{HookAnswer, Untrusted};

/// A fault. The display text is the error log's, in nginx's words where nginx has the same event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("client sent invalid request: {0}")]
    BadHead(BadHead),
    #[error("client sent invalid request: {0}")]
    BadFraming(#[from] BadFraming),
    #[error("client sent invalid request: {0}")]
    BadRequest(#[from] BadRequest),
    #[error("client sent too long URI")]
    TargetTooLong,
    #[error("client sent too large request header")]
    HeaderTooLarge,
    #[error("client timed out while reading client request headers")]
    HeaderTimeout,
    #[error("client prematurely closed connection while reading client request headers")]
    HeaderCutShort,
    /// nginx's 497.
    #[error("client sent plain HTTP request to HTTPS port")]
    PlainHttp,
    /// nginx's 496.
    #[error("client sent no required SSL certificate")]
    NoCertificate,
    /// nginx's 495.
    #[error("client SSL certificate verify error: ({0})")]
    BadCertificate(String),
    #[error(
        "client attempted to request the server name different from the one that was negotiated"
    )]
    Misdirected,
    #[error("client sent unsupported method")]
    MethodNotAllowed,
    #[error("client expects what is not offered")]
    ExpectationFailed,
    #[error("client intended to send too large body: {0} bytes")]
    BodyTooLarge(u64),
    #[error("{0} while reading client request body")]
    Body(BodyError),
    #[error("no route for this host and path")]
    NoRoute,
    /// What a hook, or its failure, has to say.
    #[error("{0}")]
    Hook(Untrusted),
    /// A hook waits for work that is not done now: there is too much of it.
    #[error("{0}")]
    HookOverloaded(Untrusted),
    /// A component gives no answer.
    #[error("{0}")]
    Component(Untrusted),
    /// ... in time.
    #[error("{0}")]
    ComponentTimedOut(Untrusted),
    /// ... as it cannot be asked now.
    #[error("{0}")]
    ComponentUnasked(Untrusted),
    /// In nginx's words (`ngx_http_core_post_rewrite_phase`).
    #[error("rewrite or internal redirection cycle")]
    TooManyRoutes,
    /// On the listener that the request came in on.
    #[error("a hook led to a route that is not there")]
    NoSuchRoute,
    /// While it was waited for something else than a server (nginx: `ngx_http_test_reading`).
    #[error("client prematurely closed connection")]
    ClientGone,
    /// Only variables can bring it about.
    #[error("invalid `location` of a `return`: {0}")]
    BadLocation(&'static str),
    /// Only variables can bring it about.
    #[error("invalid URI in `proxy`: variables leave it without a path")]
    BadTarget,
    /// What a request has named by variables in `proxy`.
    #[error("`{0}` {1}")]
    NotAllowed(Untrusted, NotAllowed),
    /// There is no upstream of that name, and none can be made: its name is not known.
    #[error("{0} could not be resolved ({1})")]
    NotResolved(Untrusted, Box<str>),
    #[error("{0} is {1}, which is no address that `proxy_allow` has")]
    AddressNotAllowed(Untrusted, Box<str>),
    #[error("no upstream for {0}: {1}")]
    NoUpstream(Untrusted, &'static str),
    #[error("{0} could not be resolved in time")]
    ResolvedLate(Untrusted),
    #[error("no live upstreams while connecting to upstream")]
    NoLiveUpstreams,
    /// The same, until a name is known.
    #[error("no live upstreams, as none of its servers is known, while connecting to upstream")]
    Unresolved,
    /// There are servers, and none of them may have the request.
    #[error("the policy refuses the request, or a filter does, while connecting to upstream")]
    PolicyRefuses(u16),
    /// The server's answer is an error, for which there is a page.
    #[error("upstream answered {0}, for which there is an error page")]
    Intercepted(u16),
    /// There is no answer where a server has handed the request on to.
    #[error("upstream sent \"X-Accel-Redirect: {shown}\", {why}")]
    HandedOn {
        status: u16,
        shown: Untrusted,
        why: &'static str,
    },
    /// A hook, or a route without a text for it, has said so.
    #[error("answered with {0}")]
    Said(u16),
    /// The route does not do what the request asks of it. `field`: what the head tells besides.
    #[error("answered with {status}")]
    Declined {
        status: u16,
        field: (&'static str, Box<str>),
    },
    /// There is no file to answer with.
    #[error("{why}")]
    File { status: u16, why: Box<str> },
    /// There is too much to do for its upstream.
    #[error(transparent)]
    Overload(#[from] Overload),
    #[error("{0}")]
    Attempt(Failure),
    /// A hook has, with a text of its own.
    #[error("a hook has answered")]
    Answered(Box<HookAnswer>),
    /// Of a call of gRPC.
    #[error("deadline exceeded while waiting for upstream")]
    DeadlineExceeded,
}

/// How loudly a fault is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Info,
    /// It is what the configuration wants: the access log has it.
    Silent,
}

impl Fault {
    /// What a hook has to say to the client instead.
    ///
    /// # Errors
    /// No hook has answered.
    pub(super) fn into_answer(mut self) -> Result<HookAnswer, Fault> {
        let answer = match &mut self {
            Fault::Answered(answer) => Some(&mut **answer),
            Fault::Body(BodyError::Stopped(stopped))
            | Fault::Attempt(
                Failure::Stopped(stopped) | Failure::Request(BodyError::Stopped(stopped)),
            ) => match &mut **stopped {
                Stopped::Answer(answer) => Some(answer),
                Stopped::Hook(_) | Stopped::TooLarge(_) => None,
            },
            _ => None,
        };
        let taken = answer.map(|answer| HookAnswer {
            status: answer.status,
            body: std::mem::take(&mut answer.body),
        });
        taken.ok_or(self)
    }

    /// Why there is no file to answer with.
    pub(super) fn of_file(status: u16, why: &dyn std::fmt::Display) -> Fault {
        Fault::File {
            status,
            why: why.to_string().into(),
        }
    }

    /// The status that the client is told; 499 (nginx's) is for the log alone: the client has left.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Fault::BadHead(BadHead::UnsupportedVersion) => 505,
            Fault::BadHead(BadHead::TooManyHeaders) | Fault::HeaderTooLarge => 431,
            Fault::BadHead(BadHead::Malformed(_)) | Fault::BadFraming(_) | Fault::BadRequest(_) => {
                400
            }
            Fault::PlainHttp | Fault::NoCertificate | Fault::BadCertificate(_) => 400,
            Fault::Misdirected => 421,
            Fault::TargetTooLong => 414,
            Fault::HeaderTimeout => 408,
            Fault::HeaderCutShort => 400,
            Fault::MethodNotAllowed => 405,
            Fault::ExpectationFailed => 417,
            Fault::BodyTooLarge(_) => 413,
            Fault::NoRoute => 404,
            Fault::BadLocation(_)
            | Fault::BadTarget
            | Fault::Hook(_)
            | Fault::TooManyRoutes
            | Fault::NoSuchRoute => 500,
            Fault::NotAllowed(..) => 403,
            Fault::NotResolved(..) | Fault::AddressNotAllowed(..) => 502,
            Fault::NoUpstream(..) => 503,
            Fault::ResolvedLate(_) => 504,
            Fault::ClientGone => 499,
            Fault::HookOverloaded(_) | Fault::ComponentUnasked(_) => 503,
            Fault::Component(_) => 502,
            Fault::ComponentTimedOut(_) => 504,
            Fault::NoLiveUpstreams | Fault::Unresolved => 502,
            Fault::PolicyRefuses(status)
            | Fault::Intercepted(status)
            | Fault::Said(status)
            | Fault::Declined { status, .. }
            | Fault::HandedOn { status, .. }
            | Fault::File { status, .. } => *status,
            Fault::Overload(overload) => overload.status(),
            Fault::DeadlineExceeded => 504,
            Fault::Body(error) | Fault::Attempt(Failure::Request(error)) => match error {
                BodyError::Closed | BodyError::Io(_) => 499,
                BodyError::TimedOut => 408,
                BodyError::Bad(BadBody::Chunk(_)) => 400,
                BodyError::Bad(BadBody::TooLarge(_)) => 413,
                BodyError::Stopped(stopped) => stopped_status(stopped, 413),
            },
            Fault::Answered(answer) => answer.status,
            Fault::Attempt(failure) => failure_status(failure),
        }
    }

    pub(crate) fn level(&self) -> Level {
        match self {
            Fault::NoLiveUpstreams
            | Fault::Unresolved
            | Fault::PolicyRefuses(_)
            | Fault::Overload(_)
            | Fault::BodyTooLarge(_)
            | Fault::BadLocation(_)
            | Fault::BadTarget
            | Fault::NotAllowed(..)
            | Fault::NotResolved(..)
            | Fault::AddressNotAllowed(..)
            | Fault::NoUpstream(..)
            | Fault::ResolvedLate(_)
            | Fault::Hook(_)
            | Fault::HookOverloaded(_)
            | Fault::Component(_)
            | Fault::ComponentTimedOut(_)
            | Fault::ComponentUnasked(_)
            | Fault::TooManyRoutes
            | Fault::HandedOn { .. }
            | Fault::NoSuchRoute => Level::Error,
            Fault::Body(error) | Fault::Attempt(Failure::Request(error)) => match error {
                BodyError::Bad(BadBody::TooLarge(_)) | BodyError::Stopped(_) => Level::Error,
                BodyError::Closed
                | BodyError::Io(_)
                | BodyError::TimedOut
                | BodyError::Bad(BadBody::Chunk(_)) => Level::Info,
            },
            // Clients ask for what is not there all the time.
            Fault::File {
                status: 404 | 410, ..
            } => Level::Info,
            Fault::File { .. } => Level::Error,
            Fault::Attempt(Failure::ClientGone | Failure::Inexpressible(_)) => Level::Info,
            Fault::Attempt(_) | Fault::DeadlineExceeded => Level::Error,
            Fault::BadHead(_)
            | Fault::BadFraming(_)
            | Fault::BadRequest(_)
            | Fault::PlainHttp
            | Fault::NoCertificate
            | Fault::BadCertificate(_)
            | Fault::Misdirected
            | Fault::TargetTooLong
            | Fault::HeaderTooLarge
            | Fault::HeaderTimeout
            | Fault::HeaderCutShort
            | Fault::MethodNotAllowed
            | Fault::ExpectationFailed
            | Fault::NoRoute
            | Fault::Intercepted(_)
            | Fault::ClientGone => Level::Info,
            Fault::Said(_) | Fault::Declined { .. } | Fault::Answered(_) => Level::Silent,
        }
    }
}

impl Fault {
    /// Whether the next request on the connection can be told from this one, if the end of its
    /// body can be found: the request was well-formed, and is refused for what it asks.
    pub(crate) fn leaves_connection_usable(&self) -> bool {
        match self {
            Fault::NoRoute
            | Fault::Misdirected
            | Fault::MethodNotAllowed
            | Fault::ExpectationFailed
            | Fault::BodyTooLarge(_)
            | Fault::Answered(_)
            | Fault::BadLocation(_)
            | Fault::BadTarget
            | Fault::NotAllowed(..)
            | Fault::NotResolved(..)
            | Fault::AddressNotAllowed(..)
            | Fault::NoUpstream(..)
            | Fault::ResolvedLate(_)
            | Fault::Hook(_)
            | Fault::HookOverloaded(_)
            | Fault::Component(_)
            | Fault::ComponentTimedOut(_)
            | Fault::ComponentUnasked(_)
            | Fault::TooManyRoutes
            | Fault::NoSuchRoute
            | Fault::NoLiveUpstreams
            | Fault::Unresolved
            | Fault::Intercepted(_)
            | Fault::Said(_)
            | Fault::Declined { .. }
            | Fault::HandedOn { .. }
            | Fault::File { .. }
            | Fault::PolicyRefuses(_)
            | Fault::Overload(_) => true,
            Fault::Attempt(failure) => {
                !matches!(failure, Failure::Request(_) | Failure::ClientGone)
            }
            Fault::BadHead(_)
            | Fault::BadFraming(_)
            | Fault::BadRequest(_)
            | Fault::PlainHttp
            | Fault::NoCertificate
            | Fault::BadCertificate(_)
            | Fault::TargetTooLong
            | Fault::HeaderTooLarge
            | Fault::HeaderTimeout
            | Fault::HeaderCutShort
            | Fault::Body(_)
            | Fault::ClientGone
            | Fault::DeadlineExceeded => false,
        }
    }
}

impl Fault {
    /// What the client is told beyond the status, in nginx's words, where the status alone would
    /// leave it at a loss.
    pub(crate) fn explanation(&self) -> Option<&'static str> {
        match self {
            Fault::PlainHttp => Some("The plain HTTP request was sent to HTTPS port"),
            Fault::NoCertificate => Some("No required SSL certificate was sent"),
            Fault::BadCertificate(_) => Some("The SSL certificate error"),
            _ => None,
        }
    }

    /// What the head of the answer tells besides the status; empty for nothing.
    pub(crate) fn field(&self) -> (&'static str, &[u8]) {
        match self {
            Fault::Declined { field, .. } => (field.0, field.1.as_bytes()),
            _ => ("", b""),
        }
    }
}

/// What a body that goes no further is told by. `too_large`: by which one that is too large.
fn stopped_status(stopped: &Stopped, too_large: u16) -> u16 {
    match stopped {
        Stopped::Hook(_) => 500,
        Stopped::Answer(answer) => answer.status,
        Stopped::TooLarge(_) => too_large,
    }
}

/// What an attempt's failure stands for, in the answer and in `$upstream_status`.
pub(crate) fn failure_status(failure: &Failure) -> u16 {
    match failure {
        Failure::ConnectTimeout
        | Failure::HandshakeTimeout
        | Failure::SendTimeout
        | Failure::ReadTimeout => 504,
        Failure::NoDescriptor(_) | Failure::TooManyConnections(_) => 503,
        Failure::Overload(overload) => overload.status(),
        Failure::Inexpressible(_) => 400,
        Failure::Stopped(stopped) => stopped_status(stopped, 500),
        Failure::ClientGone | Failure::Request(_) => 499,
        Failure::Connect(_)
        | Failure::Handshake(_)
        | Failure::Send(_)
        | Failure::Closed
        | Failure::Read(_)
        | Failure::HeaderTooLarge
        | Failure::InvalidHeader(_)
        | Failure::InvalidFraming(_)
        | Failure::TooManyInterim
        | Failure::InvalidBody
        | Failure::InvalidContent(_)
        | Failure::UnaskedUpgrade
        | Failure::NoExtendedConnect
        | Failure::UpgradeIgnored(_)
        | Failure::WrongWebSocketKey
        | Failure::Refused
        | Failure::Http2(_) => 502,
    }
}

/// The reason phrase of a status (RFC 9110 section 15 and the IANA registry); empty for one that
/// has none.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
