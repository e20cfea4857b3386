//! Known answers of nginx 1.22.1, and a comparison with the rules written down plainly.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;
use crate::config::model::{
    Action, Conditions, Proxy, ProxyUpstream, RedirectRules, RequestBody, Return, RouteLimits,
};
use crate::config::problem::Place;
use crate::fuzz::route::plain;

/// A route's host and path as written.
type Spelling<'a> = (&'a str, &'a str);

fn host_pattern(spelling: &str) -> HostPattern {
    if spelling.is_empty() {
        HostPattern::Any
    } else if let Some(regex) = spelling.strip_prefix('~') {
        HostPattern::Regex(Regex::new(&format!("(?i){regex}")).unwrap())
    } else if let Some(suffix) = spelling.strip_prefix('*') {
        HostPattern::Suffix(suffix.to_owned())
    } else if let Some(prefix) = spelling.strip_suffix('*') {
        HostPattern::Prefix(prefix.to_owned())
    } else {
        HostPattern::Exact(spelling.to_owned())
    }
}

fn path_pattern(spelling: &str) -> PathPattern {
    if let Some(path) = spelling.strip_prefix("= ") {
        PathPattern::Exact(path.to_owned())
    } else if let Some(path) = spelling.strip_prefix("^~ ") {
        PathPattern::PrefixNoRegex(path.to_owned())
    } else if let Some(regex) = spelling.strip_prefix("~* ") {
        PathPattern::Regex(Regex::new(&format!("(?i){regex}")).unwrap())
    } else if let Some(regex) = spelling.strip_prefix("~ ") {
        PathPattern::Regex(Regex::new(regex).unwrap())
    } else {
        PathPattern::Prefix(spelling.to_owned())
    }
}

fn route(host: &str, path: &str) -> Route {
    Route {
        name: None,
        internal: false,
        hooks: Vec::new(),
        inherits_hooks: true,
        listeners: vec![0],
        host: host_pattern(host),
        path: path_pattern(path),
        when: Default::default(),
        error_pages: Vec::new(),
        intercept_errors: None,
        accel_redirect: false,
        action: Action::Return(Return {
            status: 204,
            body: None,
            content_type: "text/plain".to_owned(),
            location: None,
        }),
        request_headers: Vec::new(),
        response_headers: Vec::new(),
        access_logs: None,
        traces: None,
        client_max_body_size: None,
        compression: None,
        gunzip: None,
        expires: None,
        limits: RouteLimits::default().shared(),
        place: Place::default(),
    }
}

fn routes(spellings: &[Spelling]) -> Vec<Route> {
    spellings
        .iter()
        .map(|(host, path)| route(host, path))
        .collect()
}

/// Checks which route is found for a host and path.
#[track_caller]
fn check(spellings: &[Spelling], cases: &[(&str, &str, Option<Spelling>)]) {
    let router = Router::new(&routes(spellings), 0);
    for (host, path, expected) in cases {
        let found = router
            .find(host, path.as_bytes(), |_| true)
            .map(|found| spellings[found.route]);
        assert_eq!(found, *expected, "host `{host}`, path `{path}`");
    }
}

#[test]
fn internal_routes_are_not_found() {
    let mut all = routes(&[("a.example", "/"), ("a.example", "/b/"), ("", "/")]);
    for hidden in &mut all[..2] {
        hidden.internal = true;
    }
    let router = Router::new(&all, 0);
    for path in [b"/".as_slice(), b"/b/c"] {
        let found = router
            .find("a.example", path, |_| true)
            .map(|found| found.route);
        assert_eq!(found, Some(2));
    }
    all[1].name = Some("canary".to_owned());
    assert_eq!(Router::new(&all, 0).named("canary"), Some(1), "but by name");
    assert_eq!(
        Router::new(&all, 1).named("canary"),
        None,
        "on its listeners"
    );
}

#[test]
fn hosts_are_chosen_as_nginx_chooses_servers() {
    let spellings = [
        ("", "/"),
        ("*.example.com", "/"),
        ("*.a.example.com", "/"),
        ("www.example.*", "/"),
        ("www.*", "/"),
        (r"~^r\d+\.", "/"),
        ("b.example.com", "/"),
    ];
    let cases = [
        ("x.example.com", "*.example.com"),
        ("x.y.example.com", "*.example.com"),
        ("a.example.com", "*.example.com"),
        ("x.a.example.com", "*.a.example.com"),
        ("b.example.com", "b.example.com"),
        ("example.com", ""),
        (".example.com", "*.example.com"),
        ("www.example.org", "www.example.*"),
        ("www.example.co.uk", "www.example.*"),
        ("www.example", "www.*"),
        ("www.x.y", "www.*"),
        ("www", ""),
        ("www.example.com", "*.example.com"),
        ("r1.z", r"~^r\d+\."),
        ("r1.example.com", "*.example.com"),
        ("[::1]", ""),
        ("", ""),
    ];
    check(
        &spellings,
        &cases.map(|(host, chosen)| (host, "/", Some((chosen, "/")))),
    );
}

#[test]
fn paths_are_chosen_as_nginx_chooses_locations() {
    let spellings = [
        ("", "= /"),
        ("", "/"),
        ("", "/documents/"),
        ("", "^~ /images/"),
        ("", r"~* \.(gif|jpg)$"),
        ("", r"~ \.gif$"),
        ("", "= /documents/exact.gif"),
        ("", "/images/raw/"),
    ];
    let cases = [
        ("/", "= /"),
        ("/index.html", "/"),
        ("/documents/document.html", "/documents/"),
        ("/documents", "/"),
        ("/images/1.gif", "^~ /images/"),
        ("/images/raw/1.gif", r"~* \.(gif|jpg)$"),
        ("/images/raw/1.png", "/images/raw/"),
        ("/documents/1.JPG", r"~* \.(gif|jpg)$"),
        ("/documents/exact.gif", "= /documents/exact.gif"),
        ("/Documents/x", "/"),
    ];
    check(
        &spellings,
        &cases.map(|(path, chosen)| ("h", path, Some(("", chosen)))),
    );
}

#[test]
fn a_chosen_host_is_not_helped_out_by_others() {
    let spellings = [("", "/"), ("*.x", "/"), ("a.x", "/only/")];
    check(
        &spellings,
        &[
            ("a.x", "/only/1", Some(("a.x", "/only/"))),
            ("a.x", "/other", None),
            ("b.x", "/other", Some(("*.x", "/"))),
        ],
    );
}

#[test]
fn without_routes_for_any_host_an_unknown_host_finds_none() {
    check(&[("a.x", "/")], &[("b.x", "/", None), ("", "/", None)]);
    check(&[], &[("a", "/", None)]);
}

#[test]
fn routes_of_one_host_regex_are_asked_together() {
    let spellings = [("~^a", "/1/"), ("~^ab", "/2/"), ("~^a", "/2/")];
    check(
        &spellings,
        &[("ab", "/2/x", Some(("~^a", "/2/"))), ("ab", "/3", None)],
    );
}

#[test]
fn the_first_of_equal_routes_counts() {
    let router = Router::new(
        &routes(&[("a", "/x"), ("a", "^~ /x"), ("a", "= /y"), ("a", "= /y")]),
        0,
    );
    assert_eq!(router.find("a", b"/x", |_| true).unwrap().route, 0);
    assert_eq!(router.find("a", b"/y", |_| true).unwrap().route, 2);
}

#[test]
fn a_listener_has_only_its_own_routes() {
    let mut routes = routes(&[("", "/a"), ("", "/a")]);
    routes[0].listeners = vec![1, 2];
    assert_eq!(
        Router::new(&routes, 0)
            .find("", b"/a", |_| true)
            .unwrap()
            .route,
        1
    );
    assert_eq!(
        Router::new(&routes, 2)
            .find("", b"/a", |_| true)
            .unwrap()
            .route,
        0
    );
    assert_eq!(Router::new(&routes, 3).find("", b"/a", |_| true), None);
}

#[test]
fn the_matched_part_is_told_for_the_uri_part_of_proxy() {
    let router = Router::new(&routes(&[("", "/a/"), ("", "= /ex"), ("", r"~ \.php$")]), 0);
    let prefix_len = |path: &str| {
        router
            .find("", path.as_bytes(), |_| true)
            .unwrap()
            .prefix_len
    };
    assert_eq!(prefix_len("/a/b"), 3);
    assert_eq!(prefix_len("/ex"), 3);
    assert_eq!(prefix_len("/a/b.php"), 0);
}

#[test]
fn a_path_that_is_no_utf8_still_meets_regexes_and_prefixes() {
    let router = Router::new(
        &routes(&[("", "/\u{e9}"), ("", "/a/"), ("", r"~ \.php$")]),
        0,
    );
    assert_eq!(router.find("", b"/a/\xff.php", |_| true).unwrap().route, 2);
    assert_eq!(router.find("", b"/a/\xff", |_| true).unwrap().route, 1);
    assert_eq!(router.find("", b"/\xc3\xa9x", |_| true).unwrap().route, 0);
    assert_eq!(router.find("", b"/\xc3", |_| true), None);
}

fn proxy() -> Action {
    Action::Proxy(Proxy {
        upstream: ProxyUpstream::Fixed(0),
        uri: None,
        redirects: RedirectRules::Given(Vec::new()),
        cookies: None,
        method: None,
        body: RequestBody::Client,
    })
}

#[test]
fn a_path_that_lacks_a_proxied_route_s_slash_is_told_as_nginx_does() {
    let patterns = [
        ("/a/", true),
        ("= /b/", true),
        ("^~ /c/", true),
        ("/d/", false), // answers by itself
        ("/e/", true),
        ("= /e", false),
        ("/f/", true),
        ("/f", true),
        ("~ ^/a", true),
        ("/", true),
    ];
    let mut routes: Vec<Route> = patterns.map(|(path, _)| route("", path)).into();
    for (route, (_, proxies)) in routes.iter_mut().zip(patterns) {
        if proxies {
            route.action = proxy();
        }
    }
    let router = Router::new(&routes, 0);
    // Answers of nginx 1.22.1.
    let cases = [
        ("/a", "/a/", true), // before the regex that fits
        ("/b", "= /b/", true),
        ("/c", "^~ /c/", true),
        ("/d", "/", false),
        ("/e", "= /e", false),
        ("/f", "/f", false),
        ("/a/", "~ ^/a", false),
        ("/ab", "~ ^/a", false),
        ("/", "/", false),
    ];
    for (path, chosen, lacks_slash) in cases {
        let found = router.find("", path.as_bytes(), |_| true).unwrap();
        let found = (patterns[found.route].0, found.lacks_slash);
        assert_eq!(found, (chosen, lacks_slash), "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_router_agrees_with_the_rules_written_down_plainly(
        spellings in proptest::collection::vec(
            (
                prop_oneof![
                    Just(String::new()),
                    "[ab](\\.[ab]){0,2}",
                    "\\*\\.[ab](\\.[ab])?",
                    "[ab]\\.([ab]\\.)?\\*",
                    "~\\^?[ab]",
                ],
                prop_oneof!["/[ab/]{0,4}", "= /[ab/]{0,3}", "\\^~ /[ab/]{0,3}", "~ [ab/]{1,2}\\$?", "~\\* [AB]b"],
            ),
            0..12,
        ),
        requests in proptest::collection::vec(("([ab](\\.[ab]){0,3})?", "/[ab/]{0,5}"), 1..12),
    ) {
        let routes: Vec<Route> = spellings.iter().map(|(host, path)| route(host, path)).collect();
        let router = Router::new(&routes, 0);
        for (host, path) in &requests {
            let found = router.find(host, path.as_bytes(), |_| true).map(|found| found.route);
            prop_assert_eq!(found, plain(&routes, host, path.as_bytes()), "host `{}`, path `{}`", host, path);
        }
    }

    #[test]
    fn routes_whose_conditions_do_not_hold_are_as_good_as_not_there(
        described in proptest::collection::vec(
            (
                prop_oneof!["/[ab/]{0,3}", "= /[ab/]{0,2}", "\\^~ /[ab/]{0,2}", "~ [ab/]\\$?"],
                any::<bool>(),
                any::<bool>(),
                any::<bool>(),
            ),
            0..10,
        ),
        paths in proptest::collection::vec("/[ab/]{0,4}", 1..12),
    ) {
        let when = Conditions {
            methods: vec!["GET".to_owned()],
            ..Conditions::default()
        };
        let routes: Vec<Route> = described.iter().map(|(path, proxies, conditional, _)| Route {
            action: match proxies {
                true => proxy(),
                false => route("", path).action,
            },
            when: match conditional {
                true => when.clone(),
                false => Conditions::default(),
            },
            ..route("", path)
        }).collect();
        let holds = |index: usize| !described[index].2 || described[index].3;
        let there: Vec<usize> = (0..routes.len()).filter(|index| holds(*index)).collect();
        let only_those: Vec<Route> = there.iter().map(|index| Route {
            when: Conditions::default(),
            ..routes[*index].clone()
        }).collect();
        let (all, only_those) = (Router::new(&routes, 0), Router::new(&only_those, 0));
        for path in &paths {
            let expected = only_those.find("", path.as_bytes(), |_| unreachable!());
            let expected = expected.map(|found| Match { route: there[found.route], ..found });
            prop_assert_eq!(all.find("", path.as_bytes(), holds), expected, "path `{}`", path);
        }
    }
}
