//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod hostile;

use waypost_sdk::Verdict;
use waypost_sdk::testing::{HookExchange, Hooked, Request, Services};

use super::Rewrite;

/// What becomes of a request.
#[derive(Debug, PartialEq)]
enum End {
    /// It goes on where it is.
    Proceed(String),
    /// Its route is found anew.
    Reroute(String),
    /// A redirect, or an error.
    Answer(u16, String),
}

fn proceed(target: &str) -> End {
    End::Proceed(target.to_owned())
}

fn reroute(target: &str) -> End {
    End::Reroute(target.to_owned())
}

fn answer(status: u16, location: &str) -> End {
    End::Answer(status, location.to_owned())
}

fn end(hooked: &mut Hooked<Rewrite>, request: Request) -> End {
    let mut exchange: HookExchange = hooked.exchange(request.header("Host", "a.example:8080"));
    match hooked.on_request(&mut exchange) {
        Verdict::Proceed => proceed(exchange.target()),
        Verdict::Reroute => reroute(exchange.target()),
        Verdict::Answer => {
            let location = exchange.response_header("Location").concat();
            answer(exchange.answer().unwrap().0, &location)
        }
        verdict => panic!("{verdict:?}"),
    }
}

/// Rules as lines of nginx's.
fn with(rules: &[&str]) -> Hooked<Rewrite> {
    let rules: Vec<waypost_sdk::Value> = rules.iter().map(|&rule| rule.into()).collect();
    let rules = waypost_sdk::Value::from(rules);
    Hooked::of(&format!(r#"{{"rules": {rules}}}"#))
}

fn get(rules: &[&str], target: &str) -> End {
    end(&mut with(rules), Request::get(target))
}

fn refused(settings: &str) -> (String, String) {
    let refused = Hooked::<Rewrite>::new(settings, &["{}"]).err().unwrap();
    (refused.key, refused.message)
}

#[test]
fn a_line_that_is_copied_from_nginx_as_a_whole_is_told_what_to_leave_out() {
    for line in ["rewrite ^/a /b last;", "rewrite ^/a /b", "^/a /b last;"] {
        let (key, message) = refused(&format!(r#"{{"rules": ["{line}"]}}"#));
        assert_eq!(key, "rules[0]");
        assert!(message.starts_with("leave out the word"), "{message}");
    }
}

#[test]
fn a_path_is_replaced_with_its_captures_and_the_query_stays() {
    let rule = ["^/old/(.*)/(.*)$ /new/$2/${1}x last"];
    assert_eq!(get(&rule, "/old/a/b?q=1"), reroute("/new/b/ax?q=1"));
    assert_eq!(get(&rule, "/older/a/b?q=1"), proceed("/older/a/b?q=1"));
    assert_eq!(get(&rule, "/x/old/a/b"), proceed("/x/old/a/b"));
}

#[test]
fn groups_have_names() {
    assert_eq!(
        get(&["^/(?<user>[a-z]+)/$ /u?name=$user last"], "/joe/"),
        reroute("/u?name=joe")
    );
}

#[test]
fn a_group_that_took_no_part_is_empty() {
    assert_eq!(get(&["^/(a)?(b)?$ /x/$1-$2 last"], "/b"), reroute("/x/-b"));
}

#[test]
fn break_keeps_the_route_and_last_finds_it_anew_and_neither_goes_on() {
    let further = "^ /further last";
    assert_eq!(get(&["^/a$ /b break", further], "/a"), proceed("/b"));
    assert_eq!(get(&["^/a$ /b last", further], "/a"), reroute("/b"));
}

#[test]
fn without_a_flag_the_next_rules_see_the_new_path() {
    let rules = [
        "^/a(.*)$ /b$1",
        "^/b(.*)$ /c$1?x=$1",
        "^/b /no last",
        "^/c(.*)$ /d$1",
    ];
    assert_eq!(get(&rules, "/a/1?q"), reroute("/d/1?x=/1&q"));
    // As in nginx, a `break` takes back that the route is found anew.
    assert_eq!(get(&["^/a$ /b", "^/b$ /c break"], "/a"), proceed("/c"));
}

#[test]
fn the_query_is_added_to_or_dropped() {
    assert_eq!(get(&["^/a$ /b?x=1 last"], "/a?q=2"), reroute("/b?x=1&q=2"));
    assert_eq!(get(&["^/a$ /b?x=1 last"], "/a"), reroute("/b?x=1"));
    assert_eq!(get(&["^/a$ /b?x=1? last"], "/a?q=2"), reroute("/b?x=1"));
    assert_eq!(get(&["^/a$ /b? last"], "/a?q=2"), reroute("/b"));
    assert_eq!(get(&["^/a$ /b last"], "/a?"), reroute("/b"));
    assert_eq!(get(&["^/a$ /b last"], "/c?"), proceed("/c?"));
    assert_eq!(get(&["^/a$ /b?x=1?y last"], "/a"), reroute("/b?x=1?y"));
}

#[test]
fn a_redirect_has_its_status_and_the_client_s_scheme_and_host() {
    let to = |flag: &str| get(&[&format!("^/a(.*)$ /b$1 {flag}")], "/a/c?q=1");
    assert_eq!(to("redirect"), answer(302, "http://a.example:8080/b/c?q=1"));
    assert_eq!(
        to("permanent"),
        answer(301, "http://a.example:8080/b/c?q=1")
    );
    let mut hooked = with(&["^/a$ /b permanent"]);
    let tls = end(&mut hooked, Request::get("/a").tls("a.example"));
    assert_eq!(tls, answer(301, "https://a.example:8080/b"));
}

#[test]
fn a_url_is_redirected_to_whatever_the_flag() {
    let to = |rest: &str| get(&[&format!("^/a$ {rest}")], "/a?q");
    assert_eq!(
        to("http://b.example/c"),
        answer(302, "http://b.example/c?q")
    );
    assert_eq!(
        to("https://b.example/c last"),
        answer(302, "https://b.example/c?q")
    );
    assert_eq!(
        to("https://b.example/c? permanent"),
        answer(301, "https://b.example/c")
    );
    assert_eq!(
        to("https://b.example/c?d break"),
        answer(302, "https://b.example/c?d&q")
    );
    assert_eq!(
        to("$scheme://b.example/"),
        answer(302, "http://b.example/?q")
    );
}

#[test]
fn the_first_redirect_ends_the_rules() {
    let rules = ["^/a$ /b", "^/b$ /c redirect", "^ /d last"];
    assert_eq!(get(&rules, "/a"), answer(302, "http://a.example:8080/c"));
}

#[test]
fn patterns_match_the_decoded_path_and_the_new_one_is_encoded() {
    let rule = [r#""^/a b/(.*)$" /c/$1 last"#];
    assert_eq!(
        get(&rule, "/a%20b/x%3Fy%25z?q=%20"),
        reroute("/c/x%3Fy%25z?q=%20")
    );
    assert_eq!(get(&rule, "/./a%20b//%C3%A9"), reroute("/c/%C3%A9"));
    assert_eq!(get(&["^ '/a b%' last"], "/"), reroute("/a%20b%25"));
}

#[test]
fn captures_in_a_query_are_escaped_if_the_client_has_escaped() {
    let rule = ["^/(.*)$ /s?x=$1 last"];
    assert_eq!(
        get(&rule, "/a%26b%2Bc%3Fd%20e"),
        reroute("/s?x=a%26b%2Bc%3Fd%20e")
    );
    assert_eq!(get(&rule, "/a&b"), reroute("/s?x=a&b"));
    assert_eq!(get(&rule, "/a+b"), reroute("/s?x=a%2Bb"));
}

#[test]
fn a_line_break_gets_into_no_header_and_no_request() {
    let attack = "/a%0d%0aSet-Cookie:%20x=1";
    for rule in [
        "^/(.*)$ /b/$1 permanent",
        "^/(?<rest>.*)$ /b/$rest permanent",
        "(?s)^/(.*)$ /b/$1 permanent",
        "(?s)^/(?<rest>.*)$ http://b.example/$rest",
        "(?s)^ http://b.example$uri",
        "(?s)^/(?<rest>.*)$ /b?x=$rest last",
        "(?s)^ /b?x=$uri last",
        "(?s)^/(.*)$ /b/$1 last",
    ] {
        let end = get(&[rule], attack);
        let (End::Proceed(text) | End::Reroute(text) | End::Answer(_, text)) = end;
        assert!(
            text.bytes().all(|byte| byte.is_ascii_graphic()),
            "{rule}: {text}"
        );
    }
}

#[test]
fn variables_are_those_of_the_request_as_it_is_by_now() {
    let request = Request::get("/a?id=7").header("X-Tenant", "acme");
    let rules = [
        "^/a$ /b/$http_x_tenant?new=$arg_id",
        "^/b/ /c$uri?all=$args&id=$arg_id&new=$arg_new? last",
    ];
    let expected = reroute("/c/b/acme?all=new=7&id=7&id=7&new=7");
    assert_eq!(end(&mut with(&rules), request), expected);
    assert_eq!(
        get(&["^/a$ /b?", "^ /c$is_args$args last"], "/a?x"),
        reroute("/c")
    );
}

#[test]
fn a_condition_has_to_hold() {
    for (condition, agent, holds) in [
        ("$http_user_agent", "curl", true),
        ("$http_user_agent", "0", false),
        ("$http_user_agent", "", false),
        ("${http_user_agent}", "curl", true),
        ("$http_user_agent = curl", "curl", true),
        ("$http_user_agent = 'a b'", "a b", true),
        ("$http_user_agent = curl", "curl/8", false),
        ("$http_user_agent != curl", "curl/8", true),
        ("$http_user_agent ~ ^curl", "curl/8", true),
        ("$http_user_agent ~ ^curl", "Curl/8", false),
        ("$http_user_agent ~* (bot|spider)", "GoogleBot", true),
        ("$http_user_agent !~ ^curl", "Curl/8", true),
        ("$http_user_agent !~* ^curl", "Curl/8", false),
    ] {
        let rule = format!(
            r#"{{"rules": {{"from": "^/a$", "to": "/b", "flag": "break", "when": "{condition}"}}}}"#
        );
        let request = Request::get("/a").header("User-Agent", agent);
        let expected = if holds { "/b" } else { "/a" };
        assert_eq!(
            end(&mut Hooked::of(&rule), request),
            proceed(expected),
            "{condition} {agent}"
        );
    }
}

#[test]
fn a_path_that_is_none_is_an_error_of_ours() {
    for (rule, line) in [
        (
            "^/(.*)$ $1 last",
            "rewrite: the rewritten path `x` does not begin with `/`",
        ),
        (
            "^/x()$ $1 last",
            "rewrite: the rewritten path has a zero length",
        ),
    ] {
        let mut hooked = with(&[rule]);
        assert_eq!(end(&mut hooked, Request::get("/x")), answer(500, ""));
        assert_eq!(hooked.log_lines().pop().unwrap().1, line);
    }
}

#[test]
fn paths_that_grow_without_end_are_an_error_of_ours() {
    let rules = vec!["^(.*)$ $1$1"; 64];
    assert_eq!(get(&rules, "/x"), answer(500, ""));
    let rules = vec!["^ /?$args$args"; 64];
    assert_eq!(get(&rules, "/x?yy"), answer(500, ""));
}

#[test]
fn letters_of_both_cases_are_told_apart_unless_the_pattern_says_otherwise() {
    assert_eq!(get(&["^/A$ /b last"], "/a"), proceed("/a"));
    assert_eq!(get(&["(?i)^/A$ /b last"], "/a"), reroute("/b"));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let line = |rule: &str| {
        let rule = waypost_sdk::Value::from(rule);
        format!(r#"{{"rules": ["^ /ok last", {rule}]}}"#)
    };
    for rule in [
        "",
        "^/a$",
        "^/a$ /b now",
        "^/a$ /b last now",
        "^/(a /b last",
        "^/a(?=b) /b last",
        "^/a$ b last",
        "^/a$ ? last",
        "^/a$ /$ last",
        "^/a$ /$1 last",
        "^/(a)$ /$2 last",
        "^/(a)$ /$0 last",
        "^/(a)$ /${10} last",
        "^/(a)$ /${1 last",
        "\"^/a /b last",
    ] {
        assert_eq!(refused(&line(rule)).0, "rules[1]", "{rule}");
    }
    for (settings, key) in [
        ("{}", "rules"),
        (r#"{"rules": []}"#, "rules"),
        (r#"{"rules": [1]}"#, "rules"),
        (r#"{"rules": [{"to": "/b"}]}"#, "rules[0].from"),
        (r#"{"rules": [{"from": "^"}]}"#, "rules[0].to"),
        (r#"{"rules": [{"from": "(", "to": "/"}]}"#, "rules[0].from"),
        (r#"{"rules": [{"from": "^", "to": "/$1"}]}"#, "rules[0].to"),
        (
            r#"{"rules": [{"from": "^", "to": "/", "flag": "end"}]}"#,
            "rules[0].flag",
        ),
        (
            r#"{"rules": [{"from": "^", "to": "/", "when": "x"}]}"#,
            "rules[0].when",
        ),
        (
            r#"{"rules": [{"from": "^", "to": "/", "when": "$x == y"}]}"#,
            "rules[0].when",
        ),
        (
            r#"{"rules": [{"from": "^", "to": "/", "when": "$x !"}]}"#,
            "rules[0].when",
        ),
        (
            r#"{"rules": [{"from": "^", "to": "/", "when": "$x ~ ("}]}"#,
            "rules[0].when",
        ),
        (
            r#"{"rules": [{"from": "^", "to": "/", "if": "$x"}]}"#,
            "rules[0].if",
        ),
        (r#"{"rules": "^ /", "rule": 1}"#, "rule"),
    ] {
        assert_eq!(refused(settings).0, key, "{settings}");
    }
}

#[test]
fn what_is_said_of_the_settings_is_so() {
    let good = [r#"{"rules": {"from": "^", "to": "/"}}"#];
    Hooked::<Rewrite>::check_description(&Services::new(), &good, &["{}"]);
}
