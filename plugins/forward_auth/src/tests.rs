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
        .header("x-real-ip", "10.0.0.1")
        .header("Forwarded", "for=10.0.0.1")
        .header("X-Forwarded-Uri", "/forged")
        .header("Connection", "close, x-tenant")
        .header("X-Tenant", "of the connection");
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
    for name in [
        "host",
        "content-length",
        "x-user",
        "x-real-ip",
        "forwarded",
        "x-tenant",
    ] {
        assert!(value(&asked, name).is_empty(), "{name}");
    }
}

#[test]
fn the_server_gets_the_body_where_that_is_wanted() {
    let asked = Rc::new(RefCell::new(None));
    let seen = asked.clone();
    answer_with(move |request| {
        seen.replace(Some(request.clone()));
        Ok(Answer::new(200).header("X-User", "jo"))
    });
    let settings = r#"{"upstream": "auth", "method": "POST", "body_limit": "1k",
        "copy_to_request": ["X-User"]}"#;
    let mut hooked = Hooked::<ForwardAuth>::of(settings);
    let request = Request::new("PUT", "/a")
        .header("Content-Length", "4")
        .header("Content-Type", "text/plain")
        .header("X-User", "forged");
    let mut exchange = hooked.exchange(request);
    assert_eq!(hooked.on_request(&mut exchange), Verdict::Proceed);
    // Hooks that are asked before the verdict is there see nothing forged.
    assert_eq!(exchange.request_header("X-User"), [""; 0]);
    assert!(asked.borrow().is_none());
    let (verdict, _) = hooked.on_request_body(&mut exchange, "body", true);
    assert_eq!(verdict, Verdict::Proceed);
    assert_eq!(exchange.request_header("X-User"), ["jo"]);
    let asked = asked.take().expect("it is asked");
    assert_eq!((&*asked.method, &*asked.body), ("POST", &b"body"[..]));
    assert_eq!(value(&asked, "Content-Type"), ["text/plain"]);
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
fn headers_that_are_set_take_the_place_of_others_and_are_not_sent_without_a_value() {
    let settings = r#"{"upstream": "auth",
        "set_headers": {"X-Forwarded-For": "$host", "X-Mine": "", "Accept": ""}}"#;
    let request = Request::get("/")
        .header("Host", "site")
        .header("Accept", "*/*");
    let (_, _, asked) = ask(settings, request, Ok(Answer::new(200)));
    assert_eq!(value(&asked, "x-forwarded-for"), ["site"]);
    assert!(value(&asked, "x-mine").is_empty() && value(&asked, "accept").is_empty());
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

const CACHED: &str = r#"{"upstream": "auth", "copy_to_request": ["X-User"],
    "attributes": {"user": "X-User"},
    "cache": {"key": ["$http_authorization", "$cookie_session"], "time": "10s"}}"#;

/// Asks about requests one after the other: how often the server is asked, and what each has come to.
fn ask_all(
    settings: &str,
    requests: Vec<Request>,
    answer: impl Fn(&Asked) -> Answer + 'static,
) -> (usize, Vec<(Verdict, Vec<String>)>) {
    let count = Rc::new(std::cell::Cell::new(0));
    let counted = count.clone();
    answer_with(move |request| {
        counted.set(counted.get() + 1);
        Ok(answer(request))
    });
    let mut hooked = Hooked::<ForwardAuth>::of(settings);
    let decided = requests.into_iter().map(|request| {
        let mut exchange = hooked.exchange(request);
        let verdict = hooked.on_request(&mut exchange);
        let users = exchange.request_header("X-User");
        (
            verdict,
            users.into_iter().map(|user| user.to_string()).collect(),
        )
    });
    let decided = decided.collect();
    (count.get(), decided)
}

fn with_session(session: &str) -> Request {
    Request::get("/").header("Cookie", &format!("session={session}"))
}

#[test]
fn a_verdict_holds_for_requests_that_show_the_same_and_for_no_others() {
    let requests = ["jo", "jo", "al", "jo"].map(with_session).to_vec();
    let (asked, decided) = ask_all(CACHED, requests, |asked| {
        let cookie = value(asked, "cookie").concat();
        Answer::new(200).header("X-User", cookie.trim_start_matches("session="))
    });
    assert_eq!(asked, 2);
    let users: Vec<String> = decided.into_iter().flat_map(|(_, users)| users).collect();
    assert_eq!(users, ["jo", "jo", "al", "jo"]);
}

#[test]
fn requests_that_show_nothing_of_what_a_verdict_depends_on_are_asked_about_each_time() {
    let (asked, _) = ask_all(CACHED, vec![Request::get("/"); 3], |_| Answer::new(200));
    assert_eq!(asked, 3);
}

#[test]
fn what_may_not_be_kept_is_asked_about_each_time() {
    let with_cookies = CACHED.replace(
        "\"copy_to_request\"",
        "\"copy_to_response\": [\"Set-Cookie\"], \"copy_to_request\"",
    );
    let kept_refusals = CACHED.replace("\"10s\"", "\"10s\", \"statuses\": [\"401\"]");
    let answer = |status: u16, name: &'static str, value: &'static str| {
        move |_: &Asked| Answer::new(status).header(name, value)
    };
    for (settings, answer, expected) in [
        (CACHED, answer(200, "Cache-Control", "no-store"), 3),
        (
            CACHED,
            answer(200, "Cache-Control", "private, max-age=0"),
            3,
        ),
        (CACHED, answer(200, "Cache-Control", "max-age=60"), 1),
        (CACHED, answer(401, "X", "y"), 3),
        (&kept_refusals, answer(401, "X", "y"), 1),
        (&kept_refusals, answer(200, "X", "y"), 3),
        (&with_cookies, answer(200, "Set-Cookie", "a=b"), 3),
        (&with_cookies, answer(200, "X", "y"), 1),
    ] {
        let (asked, _) = ask_all(settings, vec![with_session("jo"); 3], answer);
        assert_eq!(asked, expected, "{settings}");
    }
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
        (r#"{"upstream": "auth", "method": "get"}"#, "method"),
        (
            r#"{"upstream": "auth", "cache": {"key": ["http_authorization"]}}"#,
            "cache.key",
        ),
        (r#"{"upstream": "auth", "body_limit": "1k"}"#, "body_limit"),
        (
            r#"{"upstream": "auth", "method": "POST", "body_limit": "9m"}"#,
            "body_limit",
        ),
        (
            r#"{"upstream": "auth", "method": "POST", "body_limit": "1k",
                "cache": {"key": ["$host"]}}"#,
            "cache",
        ),
        (r#"{"upstream": "auth", "cache": {}}"#, "cache.key"),
        (
            r#"{"upstream": "auth", "cache": {"key": ["$host"], "time": "0s"}}"#,
            "cache.time",
        ),
        (
            r#"{"upstream": "auth", "cache": {"key": ["$host"], "statuses": ["302"]}}"#,
            "cache.statuses",
        ),
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
        r#"{"upstream": "auth", "method": "POST", "body_limit": "8m"}"#,
        CACHED,
    ];
    Hooked::<ForwardAuth>::check_description(&Services::new(), &good, &["{}"]);
}
