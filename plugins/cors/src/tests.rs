//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use waypost_sdk::Verdict;
use waypost_sdk::testing::{HookExchange, Hooked, Request, Services};

use super::Cors;

const APP: &str = "https://app.example.com";

fn ask(settings: &str, request: Request) -> (Verdict, HookExchange) {
    let mut hooked = Hooked::<Cors>::of(settings);
    let mut exchange = hooked.exchange(request);
    (hooked.on_request(&mut exchange), exchange)
}

fn get(origin: &str) -> Request {
    Request::get("/").header("Origin", origin)
}

fn preflight(origin: &str, method: &str) -> Request {
    Request::new("OPTIONS", "/")
        .header("Origin", origin)
        .header("Access-Control-Request-Method", method)
}

fn only(name: &str) -> String {
    format!(r#"{{"origins": "{name}"}}"#)
}

/// The values of a header of the answer, its name without `Access-Control-`.
fn told(exchange: &HookExchange, name: &str) -> Vec<String> {
    exchange.response_header(&format!("Access-Control-{name}"))
}

fn is_allowed(pattern: &str, origin: &str) -> bool {
    let (_, exchange) = ask(&only(pattern), get(origin));
    let allowed = told(&exchange, "Allow-Origin");
    assert!(allowed.is_empty() || allowed == [origin]);
    !allowed.is_empty()
}

fn refused(settings: &str) -> (String, String) {
    let refused = Hooked::<Cors>::new(settings, &["{}"]).err().unwrap();
    (refused.key, refused.message)
}

#[test]
fn an_allowed_origin_may_read_the_answer() {
    let (verdict, exchange) = ask(&only(APP), get(APP));
    assert_eq!(verdict, Verdict::Proceed);
    assert_eq!(told(&exchange, "Allow-Origin"), [APP]);
    assert!(told(&exchange, "Allow-Credentials").is_empty());
    assert!(told(&exchange, "Expose-Headers").is_empty());
    assert_eq!(exchange.response_header("Vary"), ["Origin"]);
}

#[test]
fn credentials_and_exposed_headers_are_told_where_they_are_set() {
    let settings =
        format!(r#"{{"origins": "{APP}", "credentials": true, "expose": ["X-A", "X-B"]}}"#);
    let (_, exchange) = ask(&settings, get(APP));
    assert_eq!(told(&exchange, "Allow-Credentials"), ["true"]);
    assert_eq!(told(&exchange, "Expose-Headers"), ["X-A, X-B"]);
}

#[test]
fn another_origin_passes_without_the_headers() {
    let (verdict, exchange) = ask(&only(APP), get("https://evil.example"));
    assert_eq!(verdict, Verdict::Proceed);
    assert!(told(&exchange, "Allow-Origin").is_empty());
    assert_eq!(exchange.response_header("Vary"), ["Origin"]);
}

#[test]
fn what_a_server_says_itself_is_replaced() {
    use waypost_sdk::testing::Response;
    use waypost_sdk::{Call, Hook, OnRequest, OnResponse, Settings, SettingsError, Sharing};

    /// The headers are set for the answer that comes later.
    struct Later(Cors);
    impl Hook for Later {
        fn configure(settings: Settings) -> Result<Self, SettingsError> {
            Cors::configure(settings).map(Later)
        }
        fn sharing(&self) -> Sharing {
            self.0.sharing()
        }
    }
    impl OnRequest for Later {
        fn on_request(&mut self, call: &Call) -> Verdict {
            self.0.on_request(call)
        }
    }
    impl OnResponse for Later {
        fn on_response(&mut self, _: &Call) {}
    }

    let own = Response::status(200)
        .header("access-control-allow-origin", "*")
        .header("Access-Control-Allow-Credentials", "true")
        .header("Access-Control-Expose-Headers", "X-Secret")
        .header("Vary", "Accept");
    for (origin, allowed) in [(APP, vec![APP]), ("https://evil.example", vec![])] {
        let mut hooked = Hooked::<Later>::of(&only(APP));
        let mut exchange = hooked.exchange(get(origin));
        hooked.on_request(&mut exchange);
        hooked.on_response(&mut exchange, own.clone());
        assert_eq!(told(&exchange, "Allow-Origin"), allowed);
        assert!(told(&exchange, "Allow-Credentials").is_empty());
        assert!(told(&exchange, "Expose-Headers").is_empty());
        assert_eq!(exchange.response_header("Vary"), ["Accept", "Origin"]);
    }
}

#[test]
fn a_request_without_an_origin_is_told_that_the_answer_depends_on_it() {
    let (verdict, exchange) = ask(&only(APP), Request::get("/"));
    assert_eq!(verdict, Verdict::Proceed);
    assert_eq!(exchange.response_header("Vary"), ["Origin"]);
    assert!(told(&exchange, "Allow-Origin").is_empty());
    let (_, exchange) = ask(&only("*"), Request::get("/"));
    assert!(exchange.response_header("Vary").is_empty());
}

#[test]
fn any_origin_is_told_by_a_star_that_caches_may_share() {
    let settings = r#"{"origins": "*", "expose": "X-A"}"#;
    let asked = [APP, "null", "moz-extension://x"].map(get);
    for request in asked.into_iter().chain([Request::get("/")]) {
        let (verdict, exchange) = ask(settings, request);
        assert_eq!(verdict, Verdict::Proceed);
        assert_eq!(told(&exchange, "Allow-Origin"), ["*"]);
        assert_eq!(told(&exchange, "Expose-Headers"), ["X-A"]);
        assert!(exchange.response_header("Vary").is_empty());
    }
}

#[test]
fn origins_are_matched_exactly() {
    assert!(is_allowed(APP, APP));
    for other in [
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
        "https://app.example.co",
        "https://APP.example.com",
        "https://app.example.com/",
        "null",
        "",
    ] {
        assert!(!is_allowed(APP, other), "{other}");
    }
    assert!(is_allowed("null", "null") && !is_allowed("null", APP));
    assert!(is_allowed("http://[::1]:3000", "http://[::1]:3000"));
}

#[test]
fn a_pattern_matches_hosts_below_and_nothing_else() {
    let below = "https://*.example.com";
    assert!(is_allowed(below, APP) && is_allowed(below, "https://a.b-c.example.com"));
    for other in [
        "https://example.com",
        "https://.example.com",
        "https://a..example.com",
        "https://evilexample.com",
        "https://a.example.com.evil.example",
        "https://evil.example/.example.com",
        "https://evil.example#.example.com",
        "https://evil.example:80@a.example.com",
        "https://user@a.example.com",
        "https://evil.example\\.example.com",
        "https://evil.example%2e.example.com",
        "https://a.example.com:8443",
        "http://a.example.com",
        "https://A.example.com",
    ] {
        assert!(!is_allowed(below, other), "{other}");
    }
    assert!(is_allowed(
        "https://*.example.com:8443",
        "https://a.example.com:8443"
    ));
    assert!(!is_allowed("https://*.example.com:8443", APP));
}

#[test]
fn a_pattern_may_leave_the_port_open() {
    let ports = "http://localhost:*";
    assert!(is_allowed(ports, "http://localhost") && is_allowed(ports, "http://localhost:3000"));
    for other in [
        "http://localhost:",
        "http://localhost:x",
        "http://localhost:80:80",
        "http://localhost.evil.example",
        "http://localhost:3000@evil.example",
        "http://a.localhost:3000",
    ] {
        assert!(!is_allowed(ports, other), "{other}");
    }
    assert!(is_allowed(
        "https://*.example.com:*",
        "https://a.example.com:1"
    ));
}

#[test]
fn a_preflight_request_is_answered() {
    let settings = format!(
        r#"{{"origins": "{APP}", "methods": ["GET", "PUT"], "headers": ["X-Token", "Content-Type"],
            "max_age": "1h", "credentials": true, "expose": "X-A"}}"#
    );
    let (verdict, exchange) = ask(&settings, preflight(APP, "PUT"));
    assert_eq!(verdict, Verdict::Answer);
    assert_eq!(exchange.answer(), Some((204, "")));
    assert_eq!(told(&exchange, "Allow-Origin"), [APP]);
    assert_eq!(told(&exchange, "Allow-Credentials"), ["true"]);
    assert_eq!(told(&exchange, "Allow-Methods"), ["GET, PUT"]);
    assert_eq!(told(&exchange, "Allow-Headers"), ["X-Token, Content-Type"]);
    assert_eq!(told(&exchange, "Max-Age"), ["3600"]);
    assert!(told(&exchange, "Expose-Headers").is_empty());
    assert_eq!(
        exchange.response_header("Vary"),
        ["Origin, Access-Control-Request-Method, Access-Control-Request-Headers"]
    );
}

#[test]
fn without_further_settings_the_simple_methods_are_allowed_and_no_headers() {
    let (_, exchange) = ask(&only(APP), preflight(APP, "GET"));
    assert_eq!(told(&exchange, "Allow-Methods"), ["GET, HEAD, POST"]);
    assert!(told(&exchange, "Allow-Headers").is_empty());
    assert!(told(&exchange, "Max-Age").is_empty());
}

#[test]
fn a_preflight_request_of_another_origin_is_answered_without_the_headers() {
    let (verdict, exchange) = ask(&only(APP), preflight("https://evil.example", "GET"));
    assert_eq!(verdict, Verdict::Answer);
    assert_eq!(exchange.answer(), Some((204, "")));
    for name in [
        "Allow-Origin",
        "Allow-Methods",
        "Allow-Headers",
        "Allow-Credentials",
    ] {
        assert!(told(&exchange, name).is_empty(), "{name}");
    }
    assert!(
        exchange
            .response_header("Vary")
            .concat()
            .starts_with("Origin, ")
    );
}

#[test]
fn only_options_with_a_method_that_is_asked_about_is_a_preflight_request() {
    let plain = Request::new("OPTIONS", "/").header("Origin", APP);
    assert_eq!(ask(&only(APP), plain).0, Verdict::Proceed);
    let get = get(APP).header("Access-Control-Request-Method", "PUT");
    assert_eq!(ask(&only(APP), get).0, Verdict::Proceed);
    let own = Request::new("OPTIONS", "/").header("Access-Control-Request-Method", "PUT");
    assert_eq!(ask(&only(APP), own).0, Verdict::Proceed);
}

#[test]
fn a_star_allows_what_is_asked_for_if_it_is_well_formed() {
    let settings = format!(r#"{{"origins": "{APP}", "methods": "*", "headers": ["*"]}}"#);
    let asked =
        preflight(APP, "DELETE").header("Access-Control-Request-Headers", "authorization, x-b");
    let (_, exchange) = ask(&settings, asked);
    assert_eq!(told(&exchange, "Allow-Methods"), ["DELETE"]);
    assert_eq!(told(&exchange, "Allow-Headers"), ["authorization, x-b"]);
    let long = "x".repeat(5000);
    for wrong in ["a b", "a;b", "", "a,,b", "x\u{e9}", &long] {
        let asked = preflight(APP, wrong).header("Access-Control-Request-Headers", wrong);
        let (verdict, exchange) = ask(&settings, asked);
        assert_eq!(verdict, Verdict::Answer);
        assert!(told(&exchange, "Allow-Methods").is_empty(), "{wrong}");
        assert!(told(&exchange, "Allow-Headers").is_empty(), "{wrong}");
    }
}

#[test]
fn a_private_network_is_opened_only_where_it_is_set_and_asked_for() {
    let request =
        |asks: &str| preflight(APP, "GET").header("Access-Control-Request-Private-Network", asks);
    let settings = format!(r#"{{"origins": "{APP}", "private_network": true}}"#);
    let (_, exchange) = ask(&settings, request("true"));
    assert_eq!(told(&exchange, "Allow-Private-Network"), ["true"]);
    assert!(
        exchange
            .response_header("Vary")
            .concat()
            .ends_with("Request-Private-Network")
    );
    assert!(told(&ask(&settings, request("1")).1, "Allow-Private-Network").is_empty());
    assert!(
        told(
            &ask(&settings, preflight(APP, "GET")).1,
            "Allow-Private-Network"
        )
        .is_empty()
    );
    assert!(told(&ask(&only(APP), request("true")).1, "Allow-Private-Network").is_empty());
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let (_, message) = refused(&only("https://app.example.com/"));
    assert_eq!(
        message,
        "an origin has no path: write `https://app.example.com` without `/`"
    );
    let (_, message) = refused(&only("https://app.example.com:443"));
    assert_eq!(
        message,
        "browsers leave a default port out: `https://app.example.com`"
    );
    for (settings, key) in [
        ("{}", "origins"),
        (r#"{"origins": []}"#, "origins"),
        (r#"{"origins": "*", "credentials": true}"#, "origins"),
        (r#"{"origins": "null", "credentials": true}"#, "origins"),
        (r#"{"origins": ["*", "https://a.example"]}"#, "origins"),
        (r#"{"origins": "app.example.com"}"#, "origins"),
        (r#"{"origins": "https://"}"#, "origins"),
        (r#"{"origins": "https://*"}"#, "origins"),
        (r#"{"origins": "https://*."}"#, "origins"),
        (r#"{"origins": "https://*example.com"}"#, "origins"),
        (r#"{"origins": "https://a.*.example.com"}"#, "origins"),
        (r#"{"origins": "*://a.example.com"}"#, "origins"),
        (r#"{"origins": "https://a.example:x"}"#, "origins"),
        (r#"{"origins": "https://a.example:99999"}"#, "origins"),
        (r#"{"origins": "https://a.example:"}"#, "origins"),
        (r#"{"origins": "https://A.example"}"#, "origins"),
        (r#"{"origins": "https://u@a.example"}"#, "origins"),
        (
            r#"{"origins": "https://a.example", "methods": ["GET POST"]}"#,
            "methods",
        ),
        (
            r#"{"origins": "https://a.example", "methods": ["*", "GET"]}"#,
            "methods",
        ),
        (
            r#"{"origins": "https://a.example", "headers": [""]}"#,
            "headers",
        ),
        (
            r#"{"origins": "https://a.example", "expose": "*", "credentials": true}"#,
            "expose",
        ),
        (
            r#"{"origins": "https://a.example", "max_age": "soon"}"#,
            "max_age",
        ),
        (r#"{"origin": "https://a.example"}"#, "origin"),
    ] {
        assert_eq!(refused(settings).0, key, "{settings}");
    }
}

#[test]
fn what_is_said_of_the_settings_is_so() {
    let good = [r#"{"origins": "https://a.example"}"#];
    Hooked::<Cors>::check_description(&Services::new(), &good, &["{}"]);
}
