//! Which key a token is verified with.

use base64::Engine;
use waypost_sdk::log::Level;

use super::{SECRET, good, is_taken, signed, vectors, with_file, with_secret};
use crate::token::BASE64URL;

#[test]
fn only_the_algorithms_that_are_allowed_are_taken() {
    let mut hooked = with_file(vectors::RSA, r#", "algorithms": ["RS256", "PS384"]"#).unwrap();
    for (algorithm, key, token) in vectors::TOKENS {
        let expected = key == vectors::RSA && ["RS256", "PS384"].contains(&algorithm);
        assert_eq!(is_taken(&mut hooked, token), expected, "{algorithm}");
    }
}

#[test]
fn the_text_of_a_public_key_is_no_secret() {
    let mut hooked = with_file(vectors::RSA, "").unwrap();
    assert!(!is_taken(&mut hooked, vectors::CONFUSED));
    let refused = with_file(vectors::RSA, r#", "algorithms": ["HS256"]"#)
        .err()
        .unwrap();
    assert_eq!(
        refused,
        "key_file: no key is for these algorithms: see `algorithms`"
    );
}

#[test]
fn keys_and_extensions_that_a_token_brings_along_are_not_believed() {
    let mut hooked = with_secret("");
    let claims = r#"{"exp":1800000100}"#;
    // The first is as good as without: what it says of keys is not looked at.
    assert!(is_taken(
        &mut hooked,
        &signed(
            r#"{"alg":"HS256","jku":"https://evil.example","typ":"JWT"}"#,
            claims
        )
    ));
    for header in [
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":7}"#,
        r#"["HS256"]"#,
        r#""HS256""#,
        r#"{"alg":"HS256"} x"#,
    ] {
        assert!(!is_taken(&mut hooked, &signed(header, claims)), "{header}");
    }
}

#[test]
fn a_set_of_keys_finds_the_one_that_a_token_names() {
    let key = |id: &str, secret: &str| {
        format!(
            r#"{{"kty":"oct","kid":"{id}","k":"{}"}}"#,
            BASE64URL.encode(secret)
        )
    };
    let other = "another secret of thirty-two by.";
    let set = format!(
        r#"{{"keys":[{},{}]}}"#,
        key("one", other),
        key("two", SECRET)
    );
    let mut hooked = with_file(&set, "").unwrap();
    let named = |id: &str| {
        signed(
            &format!(r#"{{"alg":"HS256","kid":"{id}"}}"#),
            r#"{"exp":1900000000}"#,
        )
    };
    assert!(is_taken(&mut hooked, &named("two")));
    assert!(!is_taken(&mut hooked, &named("one")));
    assert!(!is_taken(&mut hooked, &named("three")));
    assert!(!is_taken(&mut hooked, &named("../two")));
    // Without a name, any of them may be it.
    assert!(is_taken(&mut hooked, &good()));
    // Keys are rotated: what was remembered goes with them.
    hooked.change_file(
        "keys",
        Some(&format!(r#"{{"keys":[{}]}}"#, key("two", other))),
    );
    assert!(!is_taken(&mut hooked, &named("two")));
    for gone in [None, Some("{}")] {
        hooked.log_lines();
        hooked.change_file("keys", gone);
        assert_eq!(hooked.log_lines()[0].0, Level::Error);
        assert!(!is_taken(&mut hooked, &named("two")));
    }
    hooked.change_file("keys", Some(&set));
    assert!(is_taken(&mut hooked, &named("two")));
}

#[test]
fn keys_of_a_set_that_are_for_something_else_are_skipped() {
    let secret = BASE64URL.encode(SECRET);
    for members in [
        r#""use":"enc""#,
        r#""key_ops":["sign"]"#,
        r#""alg":"HS512""#,
        r#""alg":"RS256""#,
        r#""alg":"none""#,
    ] {
        let key = format!(r#"{{"kty":"oct","k":"{secret}",{members}}}"#);
        assert!(
            with_file(&format!(r#"{{"keys":[{key}]}}"#), "").is_err(),
            "{members}"
        );
        let other = format!(r#"{{"kty":"oct","k":"{secret}","use":"sig","key_ops":["verify"]}}"#);
        let mut hooked = with_file(&format!(r#"{{"keys":[{key},{other}]}}"#), "").unwrap();
        assert_eq!(hooked.log_lines()[0].0, Level::Warn);
        assert!(is_taken(&mut hooked, &good()));
    }
    let other_alg = format!(
        r#"{{"kty":"oct","k":"{}","alg":"HS512"}}"#,
        BASE64URL.encode([b'x'; 64])
    );
    assert!(with_file(&other_alg, r#", "algorithms": "HS256""#).is_err());
}
