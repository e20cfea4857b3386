//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use waypost_sdk::Verdict;
use waypost_sdk::testing::{HookExchange, Hooked, Request, Services};

use super::Redirect;

fn ask(settings: &str, request: Request) -> (Verdict, HookExchange) {
    let mut hooked = Hooked::<Redirect>::of(settings);
    let mut exchange = hooked.exchange(request);
    (hooked.on_request(&mut exchange), exchange)
}

/// A request for a URL.
fn get(url: &str) -> Request {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (host, target) = rest.split_at(rest.find('/').unwrap());
    let request = Request::get(target).header("Host", host);
    match scheme {
        "https" => request.tls(host),
        _ => request,
    }
}

/// Where a request for this URL is sent; `None` where it goes on. Where it is sent, it goes on.
fn location(settings: &str, url: &str) -> Option<String> {
    let (verdict, exchange) = ask(settings, get(url));
    if verdict == Verdict::Proceed {
        return None;
    }
    let location = exchange.response_header("Location").concat();
    assert_eq!(
        ask(settings, get(&location)).0,
        Verdict::Proceed,
        "{url} to {location} and on"
    );
    Some(location)
}

fn check(settings: &str, cases: &[(&str, Option<&str>)]) {
    for (url, expected) in cases {
        assert_eq!(location(settings, url).as_deref(), *expected, "{url}");
    }
}

fn refused(settings: &str) -> (String, String) {
    let refused = Hooked::<Redirect>::new(settings, &["{}"]).err().unwrap();
    (refused.key, refused.message)
}

#[test]
fn another_scheme_keeps_host_path_and_query_and_drops_the_port() {
    check(
        r#"{"scheme": "https"}"#,
        &[
            ("http://a.example/", Some("https://a.example/")),
            (
                "http://a.example:8080/x%20y?q=1&r",
                Some("https://a.example/x%20y?q=1&r"),
            ),
            ("http://[::1]:8080/", Some("https://[::1]/")),
            ("https://a.example/", None),
            ("https://a.example:8443/", None),
        ],
    );
    let with_port = r#"{"scheme": "https", "port": 8443}"#;
    check(
        with_port,
        &[
            ("http://a.example:8080/", Some("https://a.example:8443/")),
            ("https://a.example:8443/", None),
            ("https://a.example/", Some("https://a.example:8443/")),
        ],
    );
    check(
        r#"{"scheme": "http"}"#,
        &[("https://a.example/x", Some("http://a.example/x"))],
    );
}

#[test]
fn the_ports_of_the_schemes_are_left_out() {
    check(
        r#"{"scheme": "https", "port": 443}"#,
        &[
            ("http://a.example/", Some("https://a.example/")),
            ("https://a.example:443/", None),
            ("https://a.example:8443/", Some("https://a.example/")),
        ],
    );
}

#[test]
fn another_host_is_redirected_to_in_any_case() {
    check(
        r#"{"host": "www.example.com"}"#,
        &[
            ("http://example.com/x?y", Some("http://www.example.com/x?y")),
            ("http://example.com:8080/", Some("http://www.example.com/")),
            ("https://other.example/", Some("https://www.example.com/")),
            ("http://www.example.com/", None),
            ("http://WWW.Example.com/", None),
            ("http://www.example.com:80/", None),
            ("https://www.example.com:443/", None),
            (
                "http://www.example.com:8080/",
                Some("http://www.example.com/"),
            ),
        ],
    );
    check(
        r#"{"host": "example.com:8443", "scheme": "https"}"#,
        &[
            ("http://example.com/", Some("https://example.com:8443/")),
            ("https://example.com:8443/", None),
        ],
    );
    // A client leaves the port of the scheme out, and is not sent there again.
    check(
        r#"{"host": "example.com:443"}"#,
        &[
            ("https://example.com/", None),
            ("https://a.example/", Some("https://example.com:443/")),
        ],
    );
}

#[test]
fn www_is_added_to_domains() {
    check(
        r#"{"www": "add"}"#,
        &[
            ("http://example.com/x", Some("http://www.example.com/x")),
            (
                "https://example.com:8443/",
                Some("https://www.example.com:8443/"),
            ),
            ("http://www.example.com/", None),
            ("http://WWW.example.com/", None),
            ("http://localhost/", None),
            ("http://192.0.2.1/", None),
            ("http://192.0.2.1:8080/", None),
            ("http://[2001:db8::1]/", None),
        ],
    );
}

#[test]
fn www_is_removed_from_domains() {
    check(
        r#"{"www": "remove"}"#,
        &[
            ("http://www.example.com/x?y", Some("http://example.com/x?y")),
            (
                "http://Www.example.com:8080/",
                Some("http://example.com:8080/"),
            ),
            ("http://example.com/", None),
            ("http://www.com/", None),
            ("http://wwww.example.com/", None),
        ],
    );
}

#[test]
fn a_slash_is_added_to_paths_that_name_no_file() {
    check(
        r#"{"trailing_slash": "add"}"#,
        &[
            ("http://a.example/docs", Some("http://a.example/docs/")),
            (
                "http://a.example/a.b/docs?x=/",
                Some("http://a.example/a.b/docs/?x=/"),
            ),
            (
                "http://a.example:8080/docs",
                Some("http://a.example:8080/docs/"),
            ),
            ("http://a.example/docs/", None),
            ("http://a.example/", None),
            ("http://a.example/app.css", None),
        ],
    );
}

#[test]
fn slashes_at_the_end_are_removed() {
    check(
        r#"{"trailing_slash": "remove"}"#,
        &[
            ("http://a.example/docs/", Some("http://a.example/docs")),
            ("http://a.example/docs//?x", Some("http://a.example/docs?x")),
            ("http://a.example//", Some("http://a.example/")),
            (
                "http://a.example//evil.example/",
                Some("http://a.example//evil.example"),
            ),
            ("http://a.example/docs", None),
            ("http://a.example/", None),
        ],
    );
}

#[test]
fn what_is_asked_of_the_server_as_a_whole_is_sent_to_its_root() {
    for (settings, expected) in [
        (r#"{"scheme": "https"}"#, "https://a.example/"),
        (r#"{"host": "b.example"}"#, "http://b.example/"),
        (
            r#"{"www": "add", "trailing_slash": "add"}"#,
            "http://www.a.example/",
        ),
        (
            r#"{"scheme": "https", "path": "/x"}"#,
            "https://a.example/x",
        ),
    ] {
        let request = Request::new("OPTIONS", "*").header("Host", "a.example");
        let (verdict, exchange) = ask(settings, request);
        assert_eq!(verdict, Verdict::Answer, "{settings}");
        assert_eq!(exchange.response_header("Location"), [expected]);
    }
}

#[test]
fn a_path_is_replaced_and_the_query_stays() {
    check(
        r#"{"path": "/new%20page"}"#,
        &[
            (
                "http://a.example/old?x",
                Some("http://a.example/new%20page?x"),
            ),
            ("http://a.example/new%20page?x", None),
        ],
    );
}

#[test]
fn all_changes_are_made_at_once() {
    check(
        r#"{"scheme": "https", "www": "remove", "trailing_slash": "add"}"#,
        &[
            (
                "http://www.example.com:8080/docs?x",
                Some("https://example.com/docs/?x"),
            ),
            (
                "https://www.example.com/docs/",
                Some("https://example.com/docs/"),
            ),
            ("https://example.com/docs/", None),
        ],
    );
}

#[test]
fn the_status_keeps_the_method_unless_it_is_set() {
    let status = |settings: &str, method: &str| {
        let request = Request::new(method, "/").header("Host", "a.example");
        ask(settings, request).1.answer().unwrap().0
    };
    let https = r#"{"scheme": "https"}"#;
    assert_eq!(
        ["GET", "HEAD"].map(|method| status(https, method)),
        [301, 301]
    );
    assert_eq!(
        ["POST", "PUT", "OPTIONS"].map(|method| status(https, method)),
        [308; 3]
    );
    let found = r#"{"scheme": "https", "status": 302}"#;
    assert_eq!(
        ["GET", "POST"].map(|method| status(found, method)),
        [302, 302]
    );
}

#[test]
fn without_a_host_there_is_no_url_unless_the_settings_name_one() {
    let (_, exchange) = ask(r#"{"scheme": "https"}"#, Request::get("/"));
    assert_eq!(exchange.answer(), Some((400, "")));
    assert!(exchange.response_header("Location").is_empty());
    for settings in [r#"{"port": 8443}"#, r#"{"www": "add"}"#, r#"{"path": "/"}"#] {
        let (_, exchange) = ask(settings, Request::get("/x"));
        assert_eq!(exchange.answer(), Some((400, "")), "{settings}");
    }
    let (_, exchange) = ask(r#"{"host": "a.example"}"#, Request::get("/x"));
    assert_eq!(exchange.response_header("Location"), ["http://a.example/x"]);
}

#[test]
fn variables_in_what_is_sent_as_it_stands_are_refused() {
    for (key, value) in [("host", "$host"), ("path", "/x/$uri")] {
        let (at, message) = refused(&format!(r#"{{"{key}": "{value}"}}"#));
        assert_eq!(at, key);
        assert!(message.contains("without variables"), "{message}");
    }
}

#[test]
fn what_a_url_cannot_have_is_escaped() {
    let (_, exchange) = ask(
        r#"{"scheme": "https"}"#,
        Request::get("/a<b>\u{e9}?\"x\"").header("Host", "a.example"),
    );
    let expected = "https://a.example/a%3Cb%3E%C3%A9?%22x%22";
    assert_eq!(exchange.response_header("Location"), [expected]);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let (_, message) = refused(r#"{"sheme": "https"}"#);
    assert_eq!(message, "unknown key `sheme`; did you mean `scheme`?");
    for (settings, key) in [
        ("{}", ""),
        (r#"{"status": 301}"#, ""),
        (r#"{"scheme": "ftp"}"#, "scheme"),
        (r#"{"host": "https://a.example"}"#, "host"),
        (r#"{"host": "a.example/"}"#, "host"),
        (r#"{"host": "a.example:0"}"#, "host"),
        (r#"{"host": "a b"}"#, "host"),
        (r#"{"host": ""}"#, "host"),
        (r#"{"host": "[::1"}"#, "host"),
        (r#"{"host": "a.example:80", "port": 80}"#, "port"),
        (r#"{"port": 65536}"#, "port"),
        (r#"{"www": true}"#, "www"),
        (r#"{"www": "add", "host": "a.example"}"#, "www"),
        (r#"{"path": "new"}"#, "path"),
        (r#"{"path": "/a b"}"#, "path"),
        (r#"{"path": "/a?b"}"#, "path"),
        (r#"{"path": "/a%2"}"#, "path"),
        (r#"{"trailing_slash": "yes"}"#, "trailing_slash"),
        (
            r#"{"trailing_slash": "add", "path": "/"}"#,
            "trailing_slash",
        ),
        (r#"{"scheme": "https", "status": 300}"#, "status"),
        (r#"{"scheme": "https", "query": "x"}"#, "query"),
    ] {
        assert_eq!(refused(settings).0, key, "{settings}");
    }
}

#[test]
fn what_is_said_of_the_settings_is_so() {
    let good = [r#"{"scheme": "https"}"#];
    Hooked::<Redirect>::check_description(&Services::new(), &good, &["{}"]);
}
