//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::IpAddr;

use waypost_sdk::Verdict;
use waypost_sdk::testing::{HookExchange, Hooked, Request, Services};

use super::Maintenance;

const FROM: u64 = 1_798_149_600_000; // 2026-12-24T22:00:00Z
const SCHEDULE: &str = r#"{"from": "2026-12-24T22:00:00Z", "until": "2026-12-25T00:00:00+01:00"}"#;

fn with(services: Services, settings: &str) -> Hooked<Maintenance> {
    let hooked = Hooked::with(services, settings, &["{}"]);
    hooked.unwrap_or_else(|error| panic!("{}", error.message))
}

fn ask(hooked: &mut Hooked<Maintenance>, request: Request) -> (Verdict, HookExchange) {
    let mut exchange = hooked.exchange(request);
    (hooked.on_request(&mut exchange), exchange)
}

fn is_closed(hooked: &mut Hooked<Maintenance>) -> bool {
    ask(hooked, Request::get("/")).0 == Verdict::Answer
}

fn refused(services: Services, settings: &str) -> (String, String) {
    let refused = Hooked::<Maintenance>::with(services, settings, &["{}"])
        .err()
        .unwrap();
    (refused.key, refused.message)
}

#[test]
fn a_request_gets_503_without_a_page_of_its_own_and_is_not_cached() {
    let (verdict, exchange) = ask(&mut Hooked::of(r#"{"on": true}"#), Request::get("/"));
    assert_eq!(verdict, Verdict::Answer);
    assert_eq!(exchange.answer(), Some((503, "")));
    assert_eq!(exchange.response_header("Cache-Control"), ["no-store"]);
    assert!(exchange.response_header("Retry-After").is_empty());
    assert!(exchange.response_header("Content-Type").is_empty());
}

#[test]
fn the_page_its_status_and_retry_after_are_as_set() {
    let settings = r#"{"on": true, "page": "<h1>soon</h1>", "status": 502, "retry_after": "10m"}"#;
    let (_, exchange) = ask(&mut Hooked::of(settings), Request::get("/"));
    assert_eq!(exchange.answer(), Some((502, "<h1>soon</h1>")));
    assert_eq!(exchange.response_header("Retry-After"), ["600"]);
    assert_eq!(
        exchange.response_header("Content-Type"),
        ["text/html; charset=utf-8"]
    );
}

#[test]
fn a_page_is_text_unless_it_is_markup_or_said_otherwise() {
    let content_type = |settings: &str| {
        let (_, exchange) = ask(&mut Hooked::of(settings), Request::get("/"));
        exchange.response_header("Content-Type").concat()
    };
    assert_eq!(
        content_type(r#"{"on": true, "page": "soon"}"#),
        "text/plain; charset=utf-8"
    );
    assert_eq!(
        content_type(r#"{"on": true, "page": "\n <p>"}"#),
        "text/html; charset=utf-8"
    );
    let json = r#"{"on": true, "page": "{}", "content_type": "application/json"}"#;
    assert_eq!(content_type(json), "application/json");
}

#[test]
fn a_file_closes_while_it_exists() {
    let mut hooked = with(Services::new(), r#"{"flag_file": "closed"}"#);
    assert!(!is_closed(&mut hooked));
    hooked.change_file("closed", Some(""));
    assert!(is_closed(&mut hooked));
    hooked.change_file("other", None);
    assert!(is_closed(&mut hooked));
    hooked.change_file("closed", None);
    assert!(!is_closed(&mut hooked));
    let mut hooked = with(
        Services::new().file("closed", ""),
        r#"{"flag_file": "closed"}"#,
    );
    assert!(is_closed(&mut hooked));
}

#[test]
fn a_schedule_closes_from_its_beginning_until_before_its_end() {
    let mut hooked = with(Services::new().wall_ms(FROM - 1), SCHEDULE);
    assert!(!is_closed(&mut hooked));
    for (wall_ms, left) in [(FROM, "3600"), (FROM + 1, "3600"), (FROM + 3_599_999, "1")] {
        hooked.set_wall_ms(wall_ms);
        let (verdict, exchange) = ask(&mut hooked, Request::get("/"));
        assert_eq!(verdict, Verdict::Answer);
        assert_eq!(exchange.response_header("Retry-After"), [left]);
    }
    hooked.set_wall_ms(FROM + 3_600_000);
    assert!(!is_closed(&mut hooked));
}

#[test]
fn half_a_schedule_has_no_beginning_or_no_end() {
    let mut hooked = with(Services::new(), r#"{"until": "2026-12-24T22:00:00Z"}"#);
    assert!(is_closed(&mut hooked));
    hooked.set_wall_ms(FROM);
    assert!(!is_closed(&mut hooked));
    let mut hooked = with(Services::new(), r#"{"from": "2026-12-24T22:00:00Z"}"#);
    assert!(!is_closed(&mut hooked));
    hooked.set_wall_ms(FROM);
    let (verdict, exchange) = ask(&mut hooked, Request::get("/"));
    assert_eq!(verdict, Verdict::Answer);
    assert!(exchange.response_header("Retry-After").is_empty());
}

#[test]
fn a_file_closes_outside_of_the_schedule_too() {
    let settings = SCHEDULE.replace('}', r#", "flag_file": "closed"}"#);
    let mut hooked = with(Services::new().file("closed", ""), &settings);
    let (verdict, exchange) = ask(&mut hooked, Request::get("/"));
    assert_eq!(verdict, Verdict::Answer);
    assert!(exchange.response_header("Retry-After").is_empty());
    hooked.change_file("closed", None);
    assert!(!is_closed(&mut hooked));
    hooked.set_wall_ms(FROM);
    assert!(is_closed(&mut hooked));
}

#[test]
fn allowed_clients_pass() {
    let settings = r#"{"on": true, "allow": ["10.0.0.0/8", "unix:"]}"#;
    let mut hooked = Hooked::of(settings);
    let mut verdict = |request: Request| ask(&mut hooked, request).0;
    let client = |address: [u8; 4]| Request::get("/").client(IpAddr::from(address));
    assert_eq!(verdict(client([10, 1, 2, 3])), Verdict::Proceed);
    assert_eq!(verdict(client([11, 1, 2, 3])), Verdict::Answer);
    assert_eq!(verdict(Request::get("/").client(None)), Verdict::Proceed);
}

#[test]
fn allowed_paths_pass_and_those_that_only_begin_alike_do_not() {
    let mut hooked = Hooked::of(r#"{"on": true, "allow_paths": ["/health", "/static/"]}"#);
    for (path, verdict) in [
        ("/health", Verdict::Proceed),
        ("/health?x", Verdict::Proceed),
        ("/health/live", Verdict::Proceed),
        ("/h%65alth", Verdict::Proceed),
        ("/static/a.css", Verdict::Proceed),
        ("/static/", Verdict::Proceed),
        ("/static", Verdict::Answer),
        ("/healthy", Verdict::Answer),
        ("/static/../", Verdict::Answer),
        ("/static%2f..%2fadmin", Verdict::Answer),
        ("/", Verdict::Answer),
    ] {
        assert_eq!(ask(&mut hooked, Request::get(path)).0, verdict, "{path}");
    }
}

#[test]
fn a_page_from_a_file_follows_it_and_outlives_it() {
    let services = Services::new().file("page.html", "<p>1");
    let mut hooked = with(services, r#"{"on": true, "page_file": "page.html"}"#);
    let mut page = |change: Option<Option<&str>>| {
        if let Some(content) = change {
            hooked.change_file("page.html", content);
        }
        let (_, exchange) = ask(&mut hooked, Request::get("/"));
        exchange.answer().unwrap().1.to_owned()
    };
    assert_eq!(page(None), "<p>1");
    assert_eq!(page(Some(Some("<p>2"))), "<p>2");
    assert_eq!(page(Some(Some(&"x".repeat(100_000)))), "<p>2");
    assert_eq!(page(Some(None)), "<p>2");
    assert_eq!(hooked.log_lines().len(), 2);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let large = format!(r#"{{"on": true, "page": "{}"}}"#, "x".repeat(61_441));
    for (settings, key) in [
        ("{}", ""),
        (r#"{"on": "yes"}"#, "on"),
        (r#"{"from": "tomorrow"}"#, "from"),
        (
            r#"{"from": "2026-12-24T22:00:00Z", "until": "2026-12-24T22:00:00Z"}"#,
            "until",
        ),
        (r#"{"on": true, "status": 200}"#, "status"),
        (r#"{"on": true, "status": 444, "page": "x"}"#, "status"),
        (
            r#"{"on": true, "page": "x", "page_file": "y"}"#,
            "page_file",
        ),
        (r#"{"on": true, "page_file": "missing"}"#, "page_file"),
        (r#"{"flag_file": ""}"#, "flag_file"),
        (r#"{"on": true, "page_file": "secret"}"#, "page_file"),
        (
            r#"{"on": true, "content_type": "text/plain"}"#,
            "content_type",
        ),
        (
            r#"{"on": true, "page": "x", "content_type": "a\nb"}"#,
            "content_type",
        ),
        (r#"{"on": true, "allow": ["10.0.0.0/33"]}"#, "allow"),
        (r#"{"on": true, "allow_paths": ["health"]}"#, "allow_paths"),
        (large.as_str(), "page"),
    ] {
        let services = Services::new().unreadable("secret", "permission denied");
        let services = services.file("y", "y");
        assert_eq!(refused(services, settings).0, key, "{settings}");
    }
    let (_, message) = refused(Services::new(), r#"{"onn": true}"#);
    assert_eq!(message, "unknown key `onn`; did you mean `on`?");
}

#[test]
fn a_flag_counts_although_it_cannot_be_read() {
    let services = Services::new().unreadable("closed", "it is a directory");
    let mut hooked = with(services, r#"{"flag_file": "closed"}"#);
    assert!(is_closed(&mut hooked));
    hooked.change_file("closed", None);
    assert!(!is_closed(&mut hooked));
}

#[test]
fn what_is_said_of_the_settings_is_so() {
    let good = [r#"{"on": true}"#];
    Hooked::<Maintenance>::check_description(&Services::new(), &good, &["{}"]);
}
