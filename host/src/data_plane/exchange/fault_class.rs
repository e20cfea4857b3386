//! Classes of faults, as they are counted: few enough to be looked through, and told apart by who
//! has to do something about them.

use super::fault::Fault;
use crate::data_plane::body::{BadBody, BodyError, Stopped};
use crate::data_plane::upstream::{Failure, Overload};
use crate::http::head::BadHead;
use crate::metrics::MAX_FAULTS;
use crate::plugin::FailureKind;

/// All classes, by the names that are told.
pub(crate) const FAULT_CLASSES: [&str; FaultClass::Overload as usize + 1] = [
    "bad_request",
    "header_too_large",
    "body_too_large",
    "client_timeout",
    "client_gone",
    "client_tls",
    "misdirected",
    "not_offered",
    "no_route",
    "configuration",
    "hook",
    "hook_overloaded",
    "component",
    "component_timeout",
    "component_overloaded",
    "not_allowed",
    "unresolved",
    "no_live_upstreams",
    "policy_refuses",
    "handed_on",
    "file",
    "deadline",
    "upstream_connect",
    "upstream_connect_timeout",
    "upstream_tls",
    "upstream_timeout",
    "upstream_reset",
    "upstream_protocol",
    "resources",
    "overload",
];

const _: () = assert!(FAULT_CLASSES.len() <= MAX_FAULTS, "each has a cell");

/// A class, as a place among [`FAULT_CLASSES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum FaultClass {
    BadRequest,
    HeaderTooLarge,
    BodyTooLarge,
    ClientTimeout,
    ClientGone,
    ClientTls,
    Misdirected,
    NotOffered,
    NoRoute,
    Configuration,
    Hook,
    HookOverloaded,
    Component,
    ComponentTimeout,
    ComponentOverloaded,
    NotAllowed,
    Unresolved,
    NoLiveUpstreams,
    PolicyRefuses,
    HandedOn,
    File,
    Deadline,
    Connect,
    ConnectTimeout,
    Tls,
    Timeout,
    Reset,
    Protocol,
    /// Descriptors, or connections that may be open, have run out on our side.
    Resources,
    Overload,
}

impl FaultClass {
    /// None where the configuration wants the answer, and nothing has gone wrong.
    pub(super) fn of(fault: &Fault) -> Option<FaultClass> {
        Some(match fault {
            Fault::Said(_)
            | Fault::Declined { .. }
            | Fault::Answered(_)
            | Fault::Intercepted(_) => {
                return None;
            }
            Fault::BadHead(BadHead::TooManyHeaders)
            | Fault::HeaderTooLarge
            | Fault::TargetTooLong => FaultClass::HeaderTooLarge,
            Fault::BadHead(_) | Fault::BadFraming(_) | Fault::BadRequest(_) => {
                FaultClass::BadRequest
            }
            Fault::HeaderTimeout => FaultClass::ClientTimeout,
            Fault::HeaderCutShort | Fault::ClientGone => FaultClass::ClientGone,
            Fault::PlainHttp | Fault::NoCertificate | Fault::BadCertificate(_) => {
                FaultClass::ClientTls
            }
            Fault::Misdirected => FaultClass::Misdirected,
            Fault::MethodNotAllowed | Fault::ExpectationFailed => FaultClass::NotOffered,
            Fault::BodyTooLarge(_) => FaultClass::BodyTooLarge,
            Fault::NoRoute => FaultClass::NoRoute,
            Fault::Hook(_) | Fault::TooManyRoutes | Fault::NoSuchRoute => FaultClass::Hook,
            Fault::HookOverloaded(_) => FaultClass::HookOverloaded,
            Fault::Component(_) => FaultClass::Component,
            Fault::ComponentTimedOut(_) => FaultClass::ComponentTimeout,
            Fault::ComponentUnasked(_) => FaultClass::ComponentOverloaded,
            Fault::BadLocation(_) | Fault::BadTarget => FaultClass::Configuration,
            Fault::NotAllowed(..) | Fault::AddressNotAllowed(..) => FaultClass::NotAllowed,
            Fault::NotResolved(..) | Fault::ResolvedLate(_) | Fault::Unresolved => {
                FaultClass::Unresolved
            }
            Fault::NoLiveUpstreams | Fault::NoUpstream(..) => FaultClass::NoLiveUpstreams,
            Fault::PolicyRefuses(_) => FaultClass::PolicyRefuses,
            Fault::HandedOn { .. } => FaultClass::HandedOn,
            Fault::File { .. } => FaultClass::File,
            Fault::DeadlineExceeded => FaultClass::Deadline,
            Fault::Overload(overload) => of_overload(*overload),
            Fault::Body(error) | Fault::Attempt(Failure::Request(error)) => of_body(error)?,
            Fault::Attempt(failure) => of_attempt(failure)?,
        })
    }
}

fn of_overload(overload: Overload) -> FaultClass {
    match overload {
        Overload::ClientConnections(_) => FaultClass::Resources,
        _ => FaultClass::Overload,
    }
}

fn of_body(error: &BodyError) -> Option<FaultClass> {
    Some(match error {
        BodyError::Closed | BodyError::Io(_) => FaultClass::ClientGone,
        BodyError::TimedOut => FaultClass::ClientTimeout,
        BodyError::Bad(BadBody::Chunk(_)) => FaultClass::BadRequest,
        BodyError::Bad(BadBody::TooLarge(_)) => FaultClass::BodyTooLarge,
        BodyError::Stopped(stopped) => return of_stopped(stopped),
    })
}

fn of_attempt(failure: &Failure) -> Option<FaultClass> {
    Some(match failure.kind() {
        FailureKind::Connect => FaultClass::Connect,
        FailureKind::Tls => FaultClass::Tls,
        FailureKind::ConnectTimeout => FaultClass::ConnectTimeout,
        FailureKind::Timeout => FaultClass::Timeout,
        FailureKind::Reset => FaultClass::Reset,
        FailureKind::Protocol => FaultClass::Protocol,
        FailureKind::None | FailureKind::Status | FailureKind::Other => match failure {
            Failure::ClientGone => FaultClass::ClientGone,
            Failure::Inexpressible(_) => FaultClass::BadRequest,
            Failure::Overload(overload) => of_overload(*overload),
            Failure::Stopped(stopped) => return of_stopped(stopped),
            _ => FaultClass::Resources,
        },
    })
}

/// A hook lets a body not pass, or has failed at it.
fn of_stopped(stopped: &Stopped) -> Option<FaultClass> {
    match stopped {
        Stopped::Answer(_) => None,
        Stopped::Hook(_) => Some(FaultClass::Hook),
        Stopped::TooLarge(_) => Some(FaultClass::BodyTooLarge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_the_name_that_is_told_of_it() {
        let named = |class: FaultClass| FAULT_CLASSES[class as usize];
        assert_eq!(named(FaultClass::BadRequest), "bad_request");
        assert_eq!(named(FaultClass::NoRoute), "no_route");
        assert_eq!(named(FaultClass::Unresolved), "unresolved");
        assert_eq!(named(FaultClass::Protocol), "upstream_protocol");
        assert_eq!(named(FaultClass::Overload), "overload");
    }

    #[test]
    fn what_the_configuration_wants_is_no_fault() {
        assert_eq!(FaultClass::of(&Fault::Said(404)), None);
        assert_eq!(FaultClass::of(&Fault::Intercepted(502)), None);
        let closed = Fault::Attempt(Failure::Closed);
        assert_eq!(FaultClass::of(&closed), Some(FaultClass::Reset));
    }
}
