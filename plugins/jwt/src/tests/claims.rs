//! What claims have to be, and what is told of them.

use waypost_sdk::Verdict;
use waypost_sdk::testing::Request;

use super::{NOW, ask_with, bearer, claiming, is_taken, with_secret};

#[test]
fn claims_are_an_object_that_has_each_of_them_once() {
    let mut hooked = with_secret("");
    for claims in [
        "[]",
        "7",
        "",
        "null",
        r#"{"exp":1800000100,"exp":1800000100}"#,
        r#"{"exp":1800000100,"sub":"ann","sub":"bob"}"#,
        r#"{"exp":1800000100,"s\u0075b":"ann","sub":"bob"}"#,
        r#"{"exp":1800000100}{}"#,
    ] {
        assert!(!is_taken(&mut hooked, &claiming(claims)), "{claims}");
    }
    let deep = format!(
        r#"{{"exp":1800000100,"x":{}{}}}"#,
        "[".repeat(2000),
        "]".repeat(2000)
    );
    assert!(!is_taken(&mut hooked, &claiming(&deep)));
}

#[test]
fn times_are_held_to_the_second_with_leeway() {
    let exp = |seconds: i64| format!(r#"{{"exp":{}}}"#, NOW as i64 + seconds);
    let not_before =
        |seconds: i64| format!(r#"{{"exp":1900000000,"nbf":{}}}"#, NOW as i64 + seconds);
    let issued = |seconds: i64| format!(r#"{{"exp":1900000000,"iat":{}}}"#, NOW as i64 + seconds);
    for (settings, claims, expected) in [
        ("", exp(1), true),
        ("", exp(0), false),
        ("", exp(-1), false),
        (r#""leeway": "10s""#, exp(-9), true),
        (r#""leeway": "10s""#, exp(-10), false),
        ("", not_before(0), true),
        ("", not_before(1), false),
        (r#""leeway": 10"#, not_before(10), true),
        (r#""leeway": 10"#, not_before(11), false),
        ("", issued(60), true),
        ("", issued(61), false),
        (r#""leeway": 100"#, issued(100), true),
        ("", r#"{"sub":"ann"}"#.to_owned(), false),
        (
            r#""require_exp": false"#,
            r#"{"sub":"ann"}"#.to_owned(),
            true,
        ),
        (r#""require_exp": false"#, exp(-1), false),
        ("", r#"{"exp":"1900000000"}"#.to_owned(), false),
        ("", r#"{"exp":null}"#.to_owned(), false),
        ("", r#"{"exp":1900000000.5}"#.to_owned(), true),
        ("", r#"{"exp":1900000000,"nbf":"0"}"#.to_owned(), false),
        ("", r#"{"exp":1900000000,"iat":[]}"#.to_owned(), false),
    ] {
        let mut hooked = with_secret(settings);
        assert_eq!(
            is_taken(&mut hooked, &claiming(&claims)),
            expected,
            "{settings} {claims}"
        );
    }
}

#[test]
fn issuers_and_audiences_are_held_to_those_that_are_named() {
    let both = r#""issuer": ["https://a.example", "https://b.example"], "audience": "api""#;
    let mut hooked = with_secret(both);
    let mut taken = |issuer: &str, audience: &str| {
        let claims = format!(r#"{{"exp":1900000000,"iss":{issuer},"aud":{audience}}}"#);
        is_taken(&mut hooked, &claiming(&claims))
    };
    assert!(taken(r#""https://a.example""#, r#""api""#));
    assert!(taken(r#""https://b.example""#, r#"["web","api"]"#));
    for (issuer, audience) in [
        (r#""https://a.example/""#, r#""api""#),
        (r#""https://c.example""#, r#""api""#),
        (r#"["https://a.example"]"#, r#""api""#),
        ("null", r#""api""#),
        (r#""https://a.example""#, r#""API""#),
        (r#""https://a.example""#, "[]"),
        (r#""https://a.example""#, r#"["web"]"#),
        (r#""https://a.example""#, r#"["api", 7]"#),
        (r#""https://a.example""#, r#"{"api":1}"#),
        (r#""https://a.example""#, "null"),
    ] {
        assert!(!taken(issuer, audience), "{issuer} {audience}");
    }
    assert!(!is_taken(&mut hooked, &claiming(r#"{"exp":1900000000}"#)));
}

#[test]
fn claims_are_told_to_servers_and_other_hooks_and_headers_of_the_client_never_are() {
    let settings = r#""claims_to_headers": {"sub": "X-User", "admin": "X-Admin",
        "roles": "X-Roles"},
        "claims": ["tenant", "sub", "none"], "optional": true"#;
    let mut hooked = with_secret(settings);
    let forged = |request: Request| {
        let forged = request.header("X-User", "root").header("x-admin", "true");
        forged.header("X-User", "admin").header("X-Roles", "all")
    };
    let claims = r#"{"exp":1900000000,"sub":"ann","admin":true,"roles":["a",7],"tenant":"acme"}"#;
    // The second time it is remembered.
    for _ in 0..2 {
        let (verdict, exchange) = ask_with(&mut hooked, forged(bearer(&claiming(claims))));
        assert_eq!(verdict, Verdict::Proceed);
        assert_eq!(exchange.request_header("X-User"), ["ann"]);
        assert_eq!(exchange.request_header("X-Admin"), ["true"]);
        assert_eq!(exchange.request_header("X-Roles"), ["a,7"]);
        assert_eq!(exchange.attribute("jwt_tenant").as_deref(), Some("acme"));
        assert_eq!(exchange.attribute("jwt_sub").as_deref(), Some("ann"));
        assert_eq!(exchange.attribute("jwt_none"), None);
    }
    // Claims that are not there, or cannot be in a header, and no token at all.
    for request in [
        bearer(&claiming(
            r#"{"exp":1900000000,"sub":{"x":1},"roles":[[]],"admin":null}"#,
        )),
        bearer(&claiming(
            "{\"exp\":1900000000,\"sub\":\"a\\r\\nX-Admin: true\"}",
        )),
        Request::get("/"),
        Request::get("/").header("Authorization", "Basic YTpi"),
    ] {
        let (verdict, exchange) = ask_with(&mut hooked, forged(request));
        assert_eq!(verdict, Verdict::Proceed);
        for header in ["X-User", "X-Admin", "X-Roles"] {
            assert!(exchange.request_header(header).is_empty(), "{header}");
        }
    }
}
