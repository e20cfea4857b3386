//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use waypost_sdk::testing::{HookExchange, Hooked, Request, Services};
use waypost_sdk::{Beyond, Bound, Manner, Verdict};

use super::VerifySignature;

fn hex(secret: &str, text: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    let code = mac.chain_update(text).finalize().into_bytes();
    code.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn services() -> Services {
    Services::new().wall_ms(1_700_000_000_000)
}

fn hooked(settings: &str) -> Hooked<VerifySignature> {
    let hooked = Hooked::with(services().file("s", "one\n\n two \n"), settings, &["{}"]);
    hooked.unwrap_or_else(|error| panic!("{}: {}", error.key, error.message))
}

fn post(headers: &[(&str, &str)]) -> Request {
    let headers = headers.iter();
    headers.fold(Request::new("POST", "/"), |request, (name, value)| {
        request.header(name, value)
    })
}

/// Whether a request with these headers and this body is let in; none where the body is not asked for.
fn is_let_in(settings: &str, headers: &[(&str, &str)], body: &str) -> Option<bool> {
    let mut hooked = hooked(settings);
    let mut exchange = hooked.exchange(post(headers));
    let refused = |exchange: &HookExchange| assert_eq!(exchange.answer(), Some((401, "")));
    if hooked.on_request(&mut exchange) == Verdict::Answer {
        refused(&exchange);
        assert_eq!(exchange.changed().request_body, None);
        return None;
    }
    let (verdict, passed) = hooked.on_request_body(&mut exchange, body, true);
    assert_eq!(passed, body.as_bytes());
    if verdict == Verdict::Answer {
        refused(&exchange);
        assert_eq!(hooked.counter("refused"), 1);
    }
    Some(verdict == Verdict::Proceed)
}

const GITHUB: &str = r#"{"form": "github", "secret": "It's a Secret to Everybody"}"#;

#[test]
fn github_is_verified_as_its_documentation_shows() {
    // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    let code = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let header = [("X-Hub-Signature-256", code)];
    assert_eq!(is_let_in(GITHUB, &header, "Hello, World!"), Some(true));
    assert_eq!(is_let_in(GITHUB, &header, "Hello, World?"), Some(false));
    assert_eq!(is_let_in(GITHUB, &header, ""), Some(false));
    let upper = code.to_uppercase().replace("SHA", "sha");
    let header = [("X-Hub-Signature-256", upper.as_str())];
    assert_eq!(is_let_in(GITHUB, &header, "Hello, World!"), Some(true));
}

#[test]
fn without_a_signature_the_body_is_not_even_asked_for() {
    let good = hex("It's a Secret to Everybody", "x");
    let short = format!("sha256={}", &good[2..]);
    let other = format!("sha1={good}");
    let wrong = format!("sha256={}g", &good[1..]);
    for headers in [
        vec![],
        vec![("X-Hub-Signature", "sha1=00")],
        vec![("X-Hub-Signature-256", good.as_str())],
        vec![("X-Hub-Signature-256", "")],
        vec![("X-Hub-Signature-256", short.as_str())],
        vec![("X-Hub-Signature-256", other.as_str())],
        vec![("X-Hub-Signature-256", wrong.as_str())],
        vec![
            ("X-Hub-Signature-256", "sha256=00"),
            ("X-Hub-Signature-256", "sha256=00"),
        ],
    ] {
        assert_eq!(is_let_in(GITHUB, &headers, "x"), None, "{headers:?}");
    }
}

const STRIPE: &str = r#"{"form": "stripe", "secret": ["old", "whsec_new"]}"#;

#[test]
fn stripe_is_verified_with_its_time_by_any_secret_and_any_code() {
    let sign = |secret: &str, time: u64| hex(secret, &format!("{time}.{{}}"));
    let let_in = |header: String| is_let_in(STRIPE, &[("Stripe-Signature", header.as_str())], "{}");
    let now = 1_700_000_000;
    let good = sign("whsec_new", now);
    let zeros = "0".repeat(64);
    assert_eq!(let_in(format!("t={now},v1={good},v0={zeros}")), Some(true));
    assert_eq!(
        let_in(format!("t={now}, v1={zeros}, v1={good}")),
        Some(true)
    );
    assert_eq!(
        let_in(format!("t={now},v1={}", sign("old", now))),
        Some(true)
    );
    assert_eq!(
        let_in(format!("t={now},v1={}", sign("other", now))),
        Some(false)
    );
    // The time is signed as well.
    assert_eq!(let_in(format!("t={},v1={good}", now + 1)), Some(false));
    assert_eq!(let_in(format!("t={now},v0={good}")), None);
    assert_eq!(let_in(format!("v1={good}")), None);
    assert_eq!(let_in(format!("t={now},t={now},v1={good}")), None);
    for (time, is_near) in [
        (now - 300, true),
        (now + 300, true),
        (now - 301, false),
        (now + 301, false),
    ] {
        let near = let_in(format!("t={time},v1={}", sign("old", time)));
        assert_eq!(near.is_some(), is_near, "{time}");
    }
    for time in ["", "x", "-1", "+1700000000", "1e9", "99999999999999999999"] {
        assert_eq!(let_in(format!("t={time},v1={good}")), None, "{time}");
    }
}

#[test]
fn slack_is_verified_as_its_documentation_shows() {
    // https://api.slack.com/authentication/verifying-requests-from-slack
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let settings = r#"{"form": "slack", "secret": "8f742231b10e8888abcd99yyyzzz85a5", "tolerance": "100000h"}"#;
    let code = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    let headers = [
        ("X-Slack-Request-Timestamp", "1531420618"),
        ("X-Slack-Signature", code),
    ];
    assert_eq!(is_let_in(settings, &headers, body), Some(true));
    assert_eq!(is_let_in(settings, &headers, "token"), Some(false));
    let soon = settings.replace("100000h", "5m");
    assert_eq!(is_let_in(&soon, &headers, body), None);
    assert_eq!(is_let_in(settings, &headers[..1], body), None);
    assert_eq!(is_let_in(settings, &headers[1..], body), None);
}

#[test]
fn secrets_are_read_from_a_file_and_again_when_it_changes() {
    let mut hooked = hooked(r#"{"form": "github", "secret_file": "s"}"#);
    let let_in = |hooked: &mut Hooked<VerifySignature>, secret: &str| {
        let code = format!("sha256={}", hex(secret, "x"));
        let mut exchange = hooked.exchange(post(&[("X-Hub-Signature-256", &code)]));
        hooked.on_request(&mut exchange);
        hooked.on_request_body(&mut exchange, "x", true).0 == Verdict::Proceed
    };
    assert!(let_in(&mut hooked, "one") && let_in(&mut hooked, "two"));
    assert!(!let_in(&mut hooked, "three") && !let_in(&mut hooked, ""));
    hooked.change_file("s", Some("three"));
    assert!(let_in(&mut hooked, "three") && !let_in(&mut hooked, "one"));
    hooked.change_file("s", None);
    assert!(!let_in(&mut hooked, "three") && !let_in(&mut hooked, ""));
}

#[test]
fn a_body_is_wanted_as_a_whole_up_to_a_bound() {
    for (limit, at_most) in [("", 1 << 20), (r#", "limit": "8k""#, 8192)] {
        let mut hooked = hooked(&format!(r#"{{"form": "github", "secret": "a"{limit}}}"#));
        let code = format!("sha256={}", hex("a", ""));
        let mut exchange = hooked.exchange(post(&[("X-Hub-Signature-256", &code)]));
        hooked.on_request(&mut exchange);
        let beyond = Beyond::Refuse;
        let wanted = Manner::Whole(Bound { at_most, beyond });
        assert_eq!(exchange.changed().request_body, Some(wanted));
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for (settings, key) in [
        ("{}", "form"),
        (r#"{"form": "gitlab"}"#, "form"),
        (r#"{"form": "github"}"#, "secret_file"),
        (r#"{"form": "github", "secret": ""}"#, "secret"),
        (
            r#"{"form": "github", "secret": "a", "secret_file": "s"}"#,
            "secret_file",
        ),
        (
            r#"{"form": "github", "secret_file": "none"}"#,
            "secret_file",
        ),
        (
            r#"{"form": "github", "secret": "a", "tolerance": "1m"}"#,
            "tolerance",
        ),
        (
            r#"{"form": "slack", "secret": "a", "limit": "17m"}"#,
            "limit",
        ),
        (
            r#"{"form": "slack", "secret": "a", "secrets": "b"}"#,
            "secrets",
        ),
    ] {
        let services = services().file("s", "one");
        let refused = Hooked::<VerifySignature>::with(services, settings, &["{}"]);
        assert_eq!(refused.err().unwrap().key, key, "{settings}");
    }
}

#[test]
fn what_is_said_of_the_settings_is_so() {
    let good = [
        r#"{"form": "github", "secret": "a"}"#,
        r#"{"form": "stripe", "secret": ["a", "b"], "tolerance": "1m", "limit": "64k"}"#,
        r#"{"form": "slack", "secret_file": "s"}"#,
    ];
    let services = services().file("s", "one");
    Hooked::<VerifySignature>::check_description(&services, &good, &["{}"]);
}
