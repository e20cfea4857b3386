#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's unwrap is its failure"
)]

use std::cell::RefCell;
use std::rc::Rc;

use waypost_sdk::Verdict;
use waypost_sdk::http::{Error, Request as Asked};
use waypost_sdk::testing::outgoing::{Answer, answer_with};
use waypost_sdk::testing::{HookExchange, Hooked, Request, Services};

use super::ForwardAuth;

/// Asks about a request, with a server that answers so: what it was asked, and the exchange.
fn ask(
    settings: &str,
    request: Request,
    answer: Result<Answer, Error>,
) -> (Verdict, HookExchange, Asked) {
    let asked = Rc::new(RefCell::new(None));
    let seen = asked.clone();
    answer_with(move |request| {
        seen.replace(Some(request.clone()));
        answer.clone()
    });
    let mut hooked = Hooked::<ForwardAuth>::of(settings);
    let mut exchange = hooked.exchange(request);
    let verdict = hooked.on_request(&mut exchange);
    let asked = asked.take().expect("it is asked");
    (verdict, exchange, asked)
}

const SETTINGS: &str = r#"{"upstream": "auth", "path": "/verify?of=$uri",
    "copy_to_request": ["X-User"], "copy_to_response": ["Set-Cookie"],
    "attributes": {"user": "X-User"}}"#;

fn value<'a>(asked: &'a Asked, name: &str) -> Vec<&'a str> {
    let named = asked.headers.iter();
    let named = named.filter(|(other, _)| other.eq_ignore_ascii_case(name));
    named
        .map(|(_, value)| std::str::from_utf8(value).unwrap())
        .collect()
}

#[test]
fn the_server_is_told_what_is_asked_for_and_who_asks_but_not_the_body() {
    let request = Request::new("POST", "/a/b?c=d")
        .header("Host", "site.example")
        .header("Cookie", "session=1")
        .header("Content-Length", "5")
        .header("X-User", "forged")
        .header("X-Forwarded-Uri", "/forged");
    let (verdict, _, asked) = ask(SETTINGS, request, Ok(Answer::new(204)));
    assert_eq!(verdict, Verdict::Proceed);
    let what = (&*asked.method, &*asked.upstream, &*asked.target);
    assert_eq!(what, ("GET", "auth", "/verify?of=/a/b"));
    for (name, expected) in [
        ("cookie", "session=1"),
        ("x-forwarded-method", "POST"),
        ("x-forwarded-host", "site.example"),
        ("x-forwarded-uri", "/a/b?c=d"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
    ] {
        assert_eq!(value(&asked, name), [expected], "{name}");
    }
    for name in ["host", "content-length", "x-user"] {
        assert!(value(&asked, name).is_empty(), "{name}");
    }
}

#[test]
fn what_the_server_says_of_the_user_takes_the_place_of_what_the_client_says() {
    let request = Request::get("/").header("X-User", "forged");
    let answer = Answer::new(200)
        .header("X-User", "jo")
        .header("Set-Cookie", "a=1")
        .header("Set-Cookie", "b=2");
    let (_, exchange, _) = ask(SETTINGS, request, Ok(answer));
    assert_eq!(exchange.request_header("X-User"), ["jo"]);
    assert_eq!(exchange.response_header("Set-Cookie"), ["a=1", "b=2"]);
    assert_eq!(exchange.attribute("user").as_deref(), Some("jo"));
}

#[test]
fn where_the_server_says_nothing_of_the_user_neither_does_the_client() {
    let request = Request::get("/").header("X-User", "forged");
    let (_, exchange, _) = ask(SETTINGS, request, Ok(Answer::new(200)));
    assert!(exchange.request_header("X-User").is_empty());
}

#[test]
fn a_client_is_turned_away_as_nginx_does_it() {
    let challenge = Answer::new(401).header("WWW-Authenticate", "Bearer");
    let (verdict, exchange, _) = ask(SETTINGS, Request::get("/"), Ok(challenge));
    assert_eq!(
        (verdict, exchange.answer()),
        (Verdict::Answer, Some((401, "")))
    );
    assert_eq!(exchange.response_header("WWW-Authenticate"), ["Bearer"]);
    for (answer, status) in [
        (Ok(Answer::new(403)), 403),
        (Ok(Answer::new(302)), 500),
        (Ok(Answer::new(404)), 500),
        (Err(Error("it is gone".to_owned())), 500),
    ] {
        let (verdict, exchange, _) = ask(SETTINGS, Request::get("/"), answer);
        assert_eq!(
            (verdict, exchange.answer()),
            (Verdict::Answer, Some((status, "")))
        );
    }
}

#[test]
fn a_client_may_get_the_servers_answer() {
    let settings = r#"{"upstream": "auth", "refusal": "answer"}"#;
    let answer = Answer::new(302)
        .header("Location", "/login")
        .header("Connection", "close")
        .body("log in");
    let (_, exchange, asked) = ask(settings, Request::get("/"), Ok(answer));
    assert_eq!(exchange.answer(), Some((302, "log in")));
    assert_eq!(exchange.response_header("Location"), ["/login"]);
    assert!(exchange.response_header("Connection").is_empty());
    assert_eq!(asked.target, "/");
}

#[test]
fn settings_that_make_no_sense_are_refused_at_their_key() {
    for (settings, key) in [
        (r#"{}"#, "upstream"),
        (r#"{"upstream": "auth", "path": "verify"}"#, "path"),
        (r#"{"upstream": "auth", "method": "TRACE"}"#, "method"),
        (
            r#"{"upstream": "auth", "copy_to_request": ["Host"]}"#,
            "copy_to_request[0]",
        ),
        (
            r#"{"upstream": "auth", "attributes": {"A": "x"}}"#,
            "attributes.A",
        ),
        (r#"{"upstream": "auth", "refusal": "x"}"#, "refusal"),
    ] {
        let refused = Hooked::<ForwardAuth>::new(settings, &[]).err();
        assert_eq!(
            refused.map(|error| error.key),
            Some(key.to_owned()),
            "{settings}"
        );
    }
    let services = Services::new().upstreams(&["auth"]);
    let other = Hooked::<ForwardAuth>::with(services, r#"{"upstream": "x"}"#, &[]).err();
    assert_eq!(other.map(|error| error.key), Some("upstream".to_owned()));
}

#[test]
fn it_says_what_settings_it_takes() {
    let good = [
        SETTINGS,
        r#"{"upstream": "auth", "method": "HEAD", "request_headers": ["Cookie"],
            "set_headers": {"Host": "$host"}, "refusal": "answer", "error_status": 503,
            "timeout": "5s"}"#,
    ];
    Hooked::<ForwardAuth>::check_description(&Services::new(), &good, &["{}"]);
}
