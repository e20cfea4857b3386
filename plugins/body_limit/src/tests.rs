//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use waypost_sdk::testing::{HookExchange, Hooked, Request, Services};
use waypost_sdk::{Manner, Verdict};

use super::BodyLimit;

const SETTINGS: &str =
    r#"{"limit": "10", "types": {"application/json": "4", "image/*": "1k", "image/gif": "2"}}"#;

fn post(media_type: &str) -> Request {
    Request::new("POST", "/").header("Content-Type", media_type)
}

fn asked(settings: &str, request: Request) -> (Hooked<BodyLimit>, HookExchange, Verdict) {
    let mut hooked = Hooked::<BodyLimit>::of(settings);
    let mut exchange = hooked.exchange(request);
    let verdict = hooked.on_request(&mut exchange);
    (hooked, exchange, verdict)
}

/// Whether a body of so many bytes, which it tells, may come.
fn may_have(media_type: &str, length: u64) -> bool {
    let request = post(media_type).header("Content-Length", &length.to_string());
    let (_, exchange, verdict) = asked(SETTINGS, request);
    // A length that is told needs no look at the body.
    assert_eq!(exchange.changed().request_body, None);
    if verdict == Verdict::Answer {
        assert_eq!(exchange.answer(), Some((413, "")));
    }
    verdict == Verdict::Proceed
}

#[test]
fn of_several_types_the_one_with_the_least_bound_counts() {
    for types in [
        ["text/plain", "application/json"],
        ["application/json", "text/plain"],
    ] {
        let request = post(types[0]).header("Content-Type", types[1]);
        let request = request.header("Content-Length", "5");
        let (_, _, verdict) = asked(SETTINGS, request);
        assert_eq!(verdict, Verdict::Answer, "{types:?}");
    }
}

#[test]
fn a_length_that_is_told_is_held_against_the_bound_of_its_type() {
    assert!(may_have("application/json", 4) && !may_have("application/json", 5));
    assert!(may_have("Application/JSON; charset=utf-8", 4));
    assert!(!may_have("Application/JSON ;x=y", 5));
    assert!(may_have("image/png", 1024) && !may_have("image/png", 1025));
    assert!(may_have("image/gif", 2) && !may_have("image/gif", 3));
    assert!(may_have("text/plain", 10) && !may_have("text/plain", 11));
    assert!(may_have("", 10) && !may_have("", 11));
}

#[test]
fn a_body_without_a_length_is_counted_on_its_way() {
    let (mut hooked, mut exchange, verdict) = asked(SETTINGS, post("application/json"));
    assert_eq!(verdict, Verdict::Proceed);
    assert_eq!(exchange.changed().request_body, Some(Manner::Watch));
    let (mut other, request) = (hooked.exchange(post("text/plain")), b"0123456789");
    hooked.on_request(&mut other);
    let passed = hooked.on_request_body(&mut exchange, "12", false);
    assert_eq!(passed, (Verdict::Proceed, b"12".to_vec()));
    assert_eq!(
        hooked.on_request_body(&mut other, request, true).0,
        Verdict::Proceed
    );
    assert_eq!(
        hooked.on_request_body(&mut exchange, "34", false).0,
        Verdict::Proceed
    );
    assert_eq!(
        hooked.on_request_body(&mut exchange, "5", true).0,
        Verdict::Answer
    );
    assert_eq!(exchange.answer(), Some((413, "")));
    assert_eq!(hooked.counter("refused"), 1);
    hooked.on_end(exchange, 413);
    hooked.on_end(other, 200);
    assert!(hooked.hook.left.is_empty());
}

#[test]
fn types_without_a_bound_are_not_looked_at() {
    let settings = r#"{"types": {"image/*": "1k"}}"#;
    let (_, exchange, verdict) = asked(settings, post("text/plain"));
    assert_eq!(
        (verdict, exchange.changed().request_body),
        (Verdict::Proceed, None)
    );
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for (settings, key) in [
        ("{}", "limit"),
        (r#"{"limit": "much"}"#, "limit"),
        (r#"{"types": {"json": "1k"}}"#, "types.json"),
        (r#"{"types": {"a/b/c": "1k"}}"#, "types.a/b/c"),
        (r#"{"types": {"*/*": "1k"}}"#, "types.*/*"),
        (r#"{"types": {"image/*": "much"}}"#, "types.image/*"),
        (r#"{"limit": "1k", "type": {}}"#, "type"),
    ] {
        let refused = Hooked::<BodyLimit>::new(settings, &["{}"]).err().unwrap();
        assert_eq!(refused.key, key, "{settings}");
    }
}

#[test]
fn what_is_said_of_the_settings_is_so() {
    let good = [r#"{"limit": "1m"}"#, SETTINGS];
    Hooked::<BodyLimit>::check_description(&Services::new(), &good, &["{}"]);
}
