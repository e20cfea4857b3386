//! Why there is no certificate, in words for whoever runs the proxy: what the authority said, and
//! what to do about it.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use instant_acme::{Error, Identifier, Problem};

use crate::config::model::ChallengeKind;
use crate::config::reason;

/// Characters of each thing that an authority says.
const MOST: usize = 500;

/// Why an order came to nothing.
#[derive(Debug)]
pub(super) struct Failure {
    /// In one line.
    pub(super) message: String,
    /// It concerns all that the authority is asked for, not one domain.
    pub(super) of_authority: bool,
    /// How long the authority wants not to be asked.
    pub(super) retry_after: Option<Duration>,
    /// The account is not known there (any more).
    pub(super) account_unknown: bool,
    /// What the order was said to replace is replaced already, or unknown.
    pub(super) not_replaced: bool,
}

impl Failure {
    pub(super) fn of_domain(message: impl Into<String>) -> Failure {
        Failure {
            message: message.into(),
            of_authority: false,
            retry_after: None,
            account_unknown: false,
            not_replaced: false,
        }
    }

    pub(super) fn of_authority(message: impl Into<String>) -> Failure {
        Failure {
            of_authority: true,
            ..Failure::of_domain(message)
        }
    }

    /// The store cannot be written to.
    pub(super) fn of_store(path: &std::path::Path, error: &io::Error) -> Failure {
        let (path, why) = (path.display(), reason(error));
        Failure::of_authority(format!(
            "`{path}` cannot be written ({why}): the user that runs waypost has to own the store"
        ))
    }

    /// What the protocol came to. `domain` and the challenge that was tried, where one was.
    pub(super) fn of(error: Error, domain: &str, tried: Option<ChallengeKind>) -> Failure {
        match error {
            Error::Api(problem) => of_problem(&problem, domain, tried),
            Error::Timeout(_) => Failure::of_domain(
                "the authority did not come to an end with the order in time".to_owned(),
            ),
            Error::Json(error) => Failure::of_authority(format!(
                "the authority's answer is not understood: {error}: is `directory` the URL of its directory?"
            )),
            Error::Str(what) => {
                Failure::of_authority(format!("the authority's answer is not understood: {what}"))
            }
            other => Failure::of_authority(one_line(&other.to_string(), MOST)),
        }
    }
}

/// Types of problems (RFC 8555 section 6.7) without what they all begin with.
fn kind(problem: &Problem) -> &str {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    kind.strip_prefix("urn:ietf:params:acme:error:")
        .unwrap_or(kind)
}

fn of_problem(problem: &Problem, domain: &str, tried: Option<ChallengeKind>) -> Failure {
    let kind = kind(problem);
    let port = match tried {
        Some(ChallengeKind::TlsAlpn01) => 443,
        _ => 80,
    };
    let advice = match kind {
        "dns" => format!("the name servers of `{domain}` gave the authority no address: are its A and AAAA records right?"),
        "connection" => format!(
            "the authority could not connect to `{domain}` at port {port}: does its address lead here, through every firewall?"
        ),
        "unauthorized" | "incorrectResponse" if tried.is_some() => format!(
            "the authority did not find our answer at port {port} of `{domain}`: do all its A and AAAA records lead here, and to nothing else?"
        ),
        "tls" => format!("no handshake came about at port {port} of `{domain}`: does something else speak TLS there?"),
        "caa" => format!("the CAA records of `{domain}` do not let this authority issue for it: add it there"),
        "rejectedIdentifier" => format!("the authority does not issue for `{domain}`: take it out of `domains`"),
        "rateLimited" => "too much was ordered: wait, and try with `directory = \"letsencrypt-staging\"`".to_owned(),
        "externalAccountRequired" => {
            "the authority wants an account of its own named: say `eab = { kid = \"...\", key = \"...\" }`".to_owned()
        }
        "userActionRequired" => "the authority wants its terms agreed to anew: see the address it names".to_owned(),
        "invalidContact" | "unsupportedContact" => "the authority does not take this `email`".to_owned(),
        "accountDoesNotExist" => "the account is made anew with the next order".to_owned(),
        _ => String::new(),
    };
    let mut message = one_line(
        problem.detail.as_deref().unwrap_or("no reason is given"),
        MOST,
    );
    if !kind.is_empty() {
        let _ = write!(message, " ({})", one_line(kind, MOST));
    }
    for sub in &problem.subproblems {
        let detail = one_line(sub.detail.as_deref().unwrap_or_default(), MOST);
        let of = match &sub.identifier {
            Some(Identifier::Dns(name)) => format!("`{}`: ", one_line(name, MOST)),
            _ => String::new(),
        };
        let _ = write!(message, "; {of}{detail}");
    }
    if !advice.is_empty() {
        message = format!("{advice} The authority says: {message}");
    }
    let is_of_authority = problem.status.is_some_and(|status| status >= 500)
        || matches!(
            kind,
            "serverInternal"
                | "accountDoesNotExist"
                | "externalAccountRequired"
                | "userActionRequired"
                | "invalidContact"
                | "unsupportedContact"
                | "badNonce"
        )
        // Let's Encrypt's words for what an account may order, whatever the domain.
        || (kind == "rateLimited" && message.contains("new orders"));
    Failure {
        message,
        of_authority: is_of_authority,
        retry_after: None,
        account_unknown: kind == "accountDoesNotExist",
        not_replaced: matches!(kind, "alreadyReplaced") || problem_names_replaces(problem),
    }
}

fn problem_names_replaces(problem: &Problem) -> bool {
    let detail = problem.detail.as_deref().unwrap_or_default();
    detail.contains("replaces") || detail.contains("replaced")
}

/// What comes from elsewhere goes into the log as one line of bounded length.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let harmless = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.chars().take(most).map(harmless).collect();
    if text.chars().nth(most).is_some() {
        line.push_str("...");
    }
    line
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    fn failure(json: &str, tried: Option<ChallengeKind>) -> Failure {
        let problem: Problem = serde_json::from_str(json).unwrap();
        Failure::of(Error::Api(problem), "a.example", tried)
    }

    #[test]
    fn a_problem_is_told_with_what_to_do() {
        let json = r#"{"type": "urn:ietf:params:acme:error:connection",
            "detail": "192.0.2.1: Fetching\nhttp://a.example/: Timeout", "status": 400}"#;
        let told = failure(json, Some(ChallengeKind::Http01));
        assert_eq!(
            told.message,
            "the authority could not connect to `a.example` at port 80: does its address lead here, through every \
             firewall? The authority says: 192.0.2.1: Fetching http://a.example/: Timeout (connection)"
        );
        assert!(!told.of_authority);
    }

    #[test]
    fn problems_within_one_are_told_with_their_domains() {
        let json = r#"{"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "no",
            "subproblems": [{"detail": "never", "identifier": {"type": "dns", "value": "a.example"}}]}"#;
        let told = failure(json, None).message;
        assert!(
            told.ends_with("no (rejectedIdentifier); `a.example`: never"),
            "{told}"
        );
    }

    #[test]
    fn what_concerns_all_domains_is_told_apart() {
        assert!(failure(r#"{"status": 503, "detail": "maintenance"}"#, None).of_authority);
        let account =
            r#"{"type": "urn:ietf:params:acme:error:accountDoesNotExist", "status": 400}"#;
        let account = failure(account, None);
        assert!(account.of_authority && account.account_unknown);
        let limited = |detail: &str| {
            let kind = "urn:ietf:params:acme:error:rateLimited";
            failure(
                &format!(r#"{{"type": "{kind}", "detail": "{detail}", "status": 429}}"#),
                None,
            )
        };
        assert!(limited("too many new orders (300) from this account").of_authority);
        assert!(!limited("too many certificates (5) already issued").of_authority);
        let long = failure(&format!(r#"{{"detail": "{}"}}"#, "x".repeat(9000)), None);
        assert!(long.message.len() < 600);
    }
}
