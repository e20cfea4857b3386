//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use waypost_sdk::Verdict;
use waypost_sdk::testing::{HookExchange, Hooked, Request, Services};

use super::{Split, murmur};

const PARTS: &str = r#""parts": [
    {"share": "10%", "route": "canary"},
    {"share": "20.5%", "upstream": "green"},
    {"share": "*", "value": "rest"}]"#;

fn settings(more: &str) -> String {
    format!(r#"{{"key": "$arg_id", {more} {PARTS}}}"#)
}

fn ask(hooked: &mut Hooked<Split>, request: Request) -> (Verdict, HookExchange) {
    let mut exchange = hooked.exchange(request);
    (hooked.on_request(&mut exchange), exchange)
}

/// The part of a request.
fn part(hooked: &mut Hooked<Split>, request: Request) -> Option<String> {
    ask(hooked, request).1.attribute("split")
}

/// A request whose key is in this part.
fn request_of(hooked: &mut Hooked<Split>, wanted: &str) -> Request {
    let mut requests = (0..10_000).map(|id| Request::get(&format!("/?id={id}")));
    let found = requests.find(|request| part(hooked, request.clone()).as_deref() == Some(wanted));
    found.unwrap()
}

fn refused(settings: &str) -> (String, String) {
    let refused = Hooked::<Split>::new(settings, &["{}"]).err().unwrap();
    (refused.key, refused.message)
}

#[test]
fn the_hash_is_nginx_s() {
    for (key, hash) in [
        ("", 0),
        ("a", 0x9268_5f5e),
        ("ab", 0x1aa1_4063),
        ("abc", 0x1357_7c9b),
        ("abcd", 0x2687_3021),
        ("127.0.0.1AAA", 0xb5fc_5e4b),
        ("2001:db8::1AAA", 0x1b1c_3032),
        ("The quick brown fox jumps over the lazy dog", 0x2127_29d0),
    ] {
        assert_eq!(murmur::hash(key.as_bytes()), hash, "{key}");
    }
}

#[test]
fn a_part_that_leads_nowhere_is_refused_at_its_line() {
    for (services, key, message) in [
        (
            Services::new().routes(&["other"]),
            "parts[0].route",
            "there is no route with the `name` `canary`",
        ),
        (
            Services::new().upstreams(&["blue"]),
            "parts[1].upstream",
            "unknown upstream `green`",
        ),
    ] {
        let refused = Hooked::<Split>::with(services, &settings(""), &["{}"]);
        let refused = refused.err().unwrap();
        assert_eq!((&*refused.key, &*refused.message), (key, message));
    }
}

#[test]
fn a_request_whose_part_leads_nowhere_here_goes_nowhere_else() {
    let mut hooked = Hooked::of(&settings(""));
    let canary = request_of(&mut hooked, "canary");
    // The names are checked when the hook is configured; a listener may lack the route.
    hooked.lose_routes();
    let (verdict, exchange) = ask(&mut hooked, canary);
    assert_eq!(verdict, Verdict::Answer);
    assert_eq!(exchange.answer(), Some((500, "")));
    assert_eq!(exchange.attribute("split"), None);
}

#[test]
fn each_part_gets_its_share_of_keys() {
    let mut hooked = Hooked::of(&settings(""));
    let mut counts = [0; 3];
    for id in 0..100_000 {
        let part = part(&mut hooked, Request::get(&format!("/?id={id}"))).unwrap();
        counts[["canary", "green", "rest"]
            .iter()
            .position(|name| *name == part)
            .unwrap()] += 1;
    }
    for (count, share) in counts.iter().zip([10_000, 20_500, 69_500]) {
        assert!((share - 600..share + 600).contains(count), "{counts:?}");
    }
}

#[test]
fn a_part_leads_to_its_route_its_upstream_or_on() {
    let mut hooked = Hooked::of(&settings(""));
    let request = request_of(&mut hooked, "canary");
    let (verdict, exchange) = ask(&mut hooked, request);
    assert_eq!(verdict, Verdict::Reroute);
    assert_eq!(exchange.changed().route.as_deref(), Some("canary"));

    let request = request_of(&mut hooked, "green");
    let (verdict, exchange) = ask(&mut hooked, request);
    assert_eq!(verdict, Verdict::Proceed);
    assert_eq!(exchange.changed().upstream.as_deref(), Some("green"));

    let request = request_of(&mut hooked, "rest");
    let (verdict, exchange) = ask(&mut hooked, request);
    assert_eq!(verdict, Verdict::Proceed);
    assert!(exchange.changed().route.is_none() && exchange.changed().upstream.is_none());
}

#[test]
fn the_route_that_a_part_leads_to_may_have_the_same_hook() {
    let mut hooked = Hooked::of(&settings(r#""sticky": {},"#));
    let request = request_of(&mut hooked, "canary");
    let mut exchange = hooked.exchange(request);
    assert_eq!(hooked.on_request(&mut exchange), Verdict::Reroute);
    assert_eq!(hooked.on_request(&mut exchange), Verdict::Proceed);
    assert_eq!(exchange.response_header("Set-Cookie").len(), 1);
}

#[test]
fn without_a_rest_other_keys_have_no_part() {
    let mut hooked = Hooked::of(r#"{"key": "$arg_id", "parts": [{"share": "1%", "value": "a"}]}"#);
    let parts: Vec<_> = (0..1000)
        .map(|id| part(&mut hooked, Request::get(&format!("/?id={id}"))))
        .collect();
    let chosen = parts.iter().flatten().count();
    assert!((1..50).contains(&chosen), "{chosen}");
}

#[test]
fn a_share_of_nothing_gets_no_key_and_takes_none_from_others() {
    let with = r#"{"key": "$arg_id", "parts":
        [{"share": "0%", "value": "a"}, {"share": "50%", "value": "b"}, {"share": "*", "value": "c"}]}"#;
    let without = r#"{"key": "$arg_id", "parts":
        [{"share": "50%", "value": "b"}, {"share": "*", "value": "c"}]}"#;
    let (mut with, mut without) = (Hooked::of(with), Hooked::of(without));
    for id in 0..1000 {
        let request = Request::get(&format!("/?id={id}"));
        let part_with = part(&mut with, request.clone());
        assert_eq!(part_with, part(&mut without, request));
        assert_ne!(part_with.as_deref(), Some("a"));
    }
}

#[test]
fn a_header_or_a_cookie_names_the_part_whatever_the_key() {
    let mut hooked = Hooked::of(&settings(r#""header": "X-Canary", "cookie": "canary","#));
    let rest = request_of(&mut hooked, "rest");
    let mut named = |request: Request| part(&mut hooked, request).unwrap();
    assert_eq!(named(rest.clone().header("x-canary", "green")), "green");
    assert_eq!(named(rest.clone().cookie("canary", "canary")), "canary");
    let both = rest
        .clone()
        .header("X-Canary", "green")
        .cookie("canary", "canary");
    assert_eq!(named(both), "green");
    // What names no part decides nothing.
    assert_eq!(
        named(rest.header("X-Canary", "blue").cookie("canary", "")),
        "rest"
    );
}

#[test]
fn the_values_that_name_a_part_can_be_set_and_then_need_no_share() {
    let settings = r#"{"header": "X-Canary", "parts":
        [{"when": ["always", "1"], "upstream": "canary"}, {"when": "never", "value": "no"}]}"#;
    let mut hooked = Hooked::of(settings);
    let mut named = |value: &str| part(&mut hooked, Request::get("/").header("X-Canary", value));
    assert_eq!(named("always").as_deref(), Some("canary"));
    assert_eq!(named("1").as_deref(), Some("canary"));
    assert_eq!(named("never").as_deref(), Some("no"));
    assert_eq!(named("canary"), None);
    assert_eq!(part(&mut hooked, Request::get("/")), None);
}

#[test]
fn a_client_stays_on_its_side_when_shares_change() {
    let sticky = r#"{"key": "$arg_id", "sticky": {}, "parts":
        [{"share": "SHARE", "value": "new"}, {"share": "*", "value": "old"}]}"#;
    let mut before = Hooked::<Split>::of(&sticky.replace("SHARE", "20%"));
    let mut after = Hooked::<Split>::of(&sticky.replace("SHARE", "0%"));
    let mut moved = 0;
    for id in 0..1000 {
        let request = Request::get(&format!("/?id={id}"));
        let (_, exchange) = ask(&mut before, request.clone());
        let chosen = exchange.attribute("split").unwrap();
        let cookie = exchange.response_header("Set-Cookie").concat();
        assert_eq!(
            cookie,
            format!("split={chosen}; Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax")
        );
        let kept = request.clone().cookie("split", &chosen);
        let (_, exchange) = ask(&mut after, kept);
        assert_eq!(exchange.attribute("split"), Some(chosen.clone()));
        assert!(exchange.response_header("Set-Cookie").is_empty());
        moved += usize::from(part(&mut after, request).unwrap() != chosen);
    }
    assert!(moved > 100, "{moved}");
}

#[test]
fn a_cookie_of_a_part_that_is_gone_or_has_no_share_is_not_kept() {
    let settings = r#"{"key": "$arg_id", "sticky": {"name": "side"}, "header": "X-Side", "parts":
        [{"value": "tests"}, {"share": "*", "value": "all"}]}"#;
    let mut hooked = Hooked::of(settings);
    for cookie in ["gone", "tests", ""] {
        let (_, exchange) = ask(&mut hooked, Request::get("/").cookie("side", cookie));
        assert_eq!(exchange.attribute("split").as_deref(), Some("all"));
        assert!(
            exchange
                .response_header("Set-Cookie")
                .concat()
                .starts_with("side=all; ")
        );
    }
    // What a header asks for is not kept.
    let (_, exchange) = ask(&mut hooked, Request::get("/").header("X-Side", "tests"));
    assert_eq!(exchange.attribute("split").as_deref(), Some("tests"));
    assert!(exchange.response_header("Set-Cookie").is_empty());
}

#[test]
fn the_cookie_is_secure_over_tls_and_as_set() {
    let cookie = |more: &str, request: Request| {
        let settings = settings(&format!(r#""sticky": {{{more}}},"#));
        let (_, exchange) = ask(&mut Hooked::of(&settings), request.variable("arg_id", "x"));
        let cookie = exchange.response_header("Set-Cookie").concat();
        cookie.split_once("; ").unwrap().1.to_owned()
    };
    let plain = Request::get("/");
    let tls = plain.clone().tls("a.example");
    assert_eq!(
        cookie("", tls.clone()),
        "Max-Age=2592000; Path=/; HttpOnly; SameSite=Lax; Secure"
    );
    let all = r#""expires": "1h", "path": "/app", "domain": "example.com", "secure": true,
        "httponly": false, "samesite": "none""#;
    let expected = "Max-Age=3600; Path=/app; Domain=example.com; SameSite=None; Secure";
    assert_eq!(cookie(all, plain), expected);
    let never = r#""secure": false, "samesite": "strict""#;
    assert_eq!(
        cookie(never, tls),
        "Max-Age=2592000; Path=/; HttpOnly; SameSite=Strict"
    );
}

#[test]
fn the_attribute_can_have_another_name() {
    let mut hooked = Hooked::<Split>::of(&settings(r#""attribute": "experiment","#));
    let (_, exchange) = ask(&mut hooked, Request::get("/?id=1"));
    assert!(exchange.attribute("experiment").is_some() && exchange.attribute("split").is_none());
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let parts = |parts: &str| format!(r#"{{"key": "$arg_id", "parts": [{parts}]}}"#);
    for (settings, key) in [
        (r#"{"key": "$arg_id"}"#.to_owned(), "parts"),
        (parts(""), "parts"),
        (parts(r#"{"value": "a"}"#), "key"),
        (
            r#"{"parts": [{"share": "*", "value": "a"}]}"#.to_owned(),
            "key",
        ),
        (r#"{"parts": [{"value": "a"}]}"#.to_owned(), ""),
        (
            r#"{"header": "X", "sticky": {}, "parts": [{"value": "a"}]}"#.to_owned(),
            "sticky",
        ),
        (
            parts(r#"{"share": "60%", "value": "a"}, {"share": "41%", "value": "b"}"#),
            "parts[1].share",
        ),
        (
            parts(r#"{"share": "*", "value": "a"}, {"share": "1%", "value": "b"}"#),
            "parts[1].share",
        ),
        (
            parts(r#"{"share": "0.125%", "value": "a"}"#),
            "parts[0].share",
        ),
        (parts(r#"{"share": "10", "value": "a"}"#), "parts[0].share"),
        (
            parts(r#"{"share": "*", "route": "a", "upstream": "b"}"#),
            "parts[0].upstream",
        ),
        (parts(r#"{"share": "*"}"#), "parts[0]."),
        (parts(r#"{"share": "*", "value": "a b"}"#), "parts[0].value"),
        (parts(r#"{"share": "*", "value": "a;b"}"#), "parts[0].value"),
        (parts(r#"{"share": "*", "value": ""}"#), "parts[0].value"),
        (
            parts(r#"{"share": "1%", "value": "a"}, {"share": "1%", "route": "a"}"#),
            "parts",
        ),
        (
            parts(r#"{"share": "*", "value": "a", "vale": "b"}"#),
            "parts[0].vale",
        ),
        (settings(r#""header": "a b","#), "header"),
        (settings(r#""cookie": "a=b","#), "cookie"),
        (settings(r#""attribute": "A","#), "attribute"),
        (settings(r#""sticky": {"name": "a b"},"#), "sticky.name"),
        (settings(r#""sticky": {"path": "/a;b"},"#), "sticky.path"),
        (
            settings(r#""sticky": {"samesite": "none"},"#),
            "sticky.samesite",
        ),
        (
            settings(r#""sticky": {"expires": "soon"},"#),
            "sticky.expires",
        ),
        (settings(r#""shared": true,"#), "shared"),
    ] {
        assert_eq!(refused(&settings).0, key, "{settings}");
    }
}

#[test]
fn what_is_said_of_the_settings_is_so() {
    let good = [r#"{"key": "$arg_id", "sticky": {}, "parts": [{"share": "*", "value": "a"}]}"#];
    Hooked::<Split>::check_description(&Services::new(), &good, &["{}"]);
}
