//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod vectors;
mod rfc;
mod keys;
mod claims;

use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use sha2::Sha256;
use waypost_sdk::testing::{HookExchange, Hooked, Request, Services};
use waypost_sdk::{Hook, Sharing, Verdict};

use super::Jwt;
use super::token::BASE64URL;

const SECRET: &str = "a secret of thirty-two bytes....";
/// The time of day, in seconds.
const NOW: u64 = 1_800_000_000;

fn services() -> Services {
    Services::new().wall_ms(NOW * 1000)
}

/// A hook with these settings besides the secret.
fn with_secret(settings: &str) -> Hooked<Jwt> {
    let comma = if settings.is_empty() { "" } else { "," };
    let settings = format!(r#"{{"secret": "{SECRET}"{comma}{settings}}}"#);
    Hooked::with(services(), &settings, &["{}"]).unwrap_or_else(|error| panic!("{}", error.message))
}

fn with_file(content: &str, settings: &str) -> Result<Hooked<Jwt>, String> {
    let services = services().file("keys", content);
    let settings = format!(r#"{{"key_file": "keys"{settings}}}"#);
    Hooked::with(services, &settings, &["{}"])
        .map_err(|error| format!("{}: {}", error.key, error.message))
}

fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims));
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(SECRET.as_bytes()).unwrap();
    let code = mac.chain_update(&message).finalize().into_bytes();
    format!("{message}.{}", BASE64URL.encode(code))
}

fn claiming(claims: &str) -> String {
    signed(r#"{"alg":"HS256"}"#, claims)
}

fn good() -> String {
    claiming(r#"{"exp": 1800000100, "sub": "ann"}"#)
}

fn ask_with(hooked: &mut Hooked<Jwt>, request: Request) -> (Verdict, HookExchange) {
    let mut exchange = hooked.exchange(request);
    (hooked.on_request(&mut exchange), exchange)
}

fn bearer(token: &str) -> Request {
    Request::get("/").header("Authorization", &format!("Bearer {token}"))
}

fn is_taken(hooked: &mut Hooked<Jwt>, token: &str) -> bool {
    let (verdict, exchange) = ask_with(hooked, bearer(token));
    if verdict == Verdict::Answer {
        assert_eq!(exchange.answer(), Some((401, "")));
        let challenge = exchange.response_header("WWW-Authenticate");
        assert_eq!(challenge, ["Bearer error=\"invalid_token\""]);
    }
    verdict == Verdict::Proceed
}

#[test]
fn tokens_of_every_algorithm_are_taken_with_their_keys_and_with_no_others() {
    for (algorithm, key, token) in vectors::TOKENS {
        let mut hooked = with_file(key, "").unwrap();
        assert!(is_taken(&mut hooked, token), "{algorithm}");
        for (other, other_key, other_token) in vectors::TOKENS {
            if other_key != key {
                assert!(
                    !is_taken(&mut hooked, other_token),
                    "{other} with {algorithm}'s key"
                );
            }
        }
    }
    let mut hooked = with_file(vectors::RSA_PKCS1, "").unwrap();
    assert!(is_taken(&mut hooked, vectors::TOKENS[0].2));
}

#[test]
fn no_spelling_of_none_is_an_algorithm() {
    let mut hooked = with_secret("");
    for none in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        "HS256 ",
        "hs256",
        "none\\u0000",
    ] {
        let header = format!(r#"{{"alg":"{none}"}}"#);
        assert!(
            !is_taken(&mut hooked, &signed(&header, r#"{"exp":1800000100}"#)),
            "{none}"
        );
        let parts = [header.as_str(), r#"{"exp":1800000100}"#].map(|part| BASE64URL.encode(part));
        assert!(
            !is_taken(&mut hooked, &format!("{}.{}.", parts[0], parts[1])),
            "{none}"
        );
    }
    for header in [
        r#"{}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":256}"#,
    ] {
        assert!(
            !is_taken(&mut hooked, &signed(header, r#"{"exp":1800000100}"#)),
            "{header}"
        );
    }
}

#[test]
fn what_is_no_whole_canonical_token_is_refused() {
    let mut hooked = with_secret("");
    let token = good();
    assert!(is_taken(&mut hooked, &token));
    let (message, code) = token.rsplit_once('.').unwrap();
    // 32 bytes leave two bits over, which must be 0.
    let last = code.chars().last().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.find(last).unwrap();
    let other = alphabet.as_bytes()[at ^ 1] as char;
    for wrong in [
        format!("{token}="),
        format!("{message}.{}{other}", &code[..code.len() - 1]),
        format!("{token}."),
        format!("{token}.{code}"),
        format!(".{token}"),
        format!("{message}."),
        message.to_owned(),
        format!("{message}.{}", &code[..code.len() - 2]),
        format!("{token} x"),
        token.replace('-', "+").replace('_', "/") + "+",
        "..".to_owned(),
        "x".to_owned(),
    ] {
        assert!(!is_taken(&mut hooked, &wrong), "{wrong}");
    }
    let long = claiming(&format!(
        r#"{{"exp":1800000100,"x":"{}"}}"#,
        "x".repeat(8 << 10)
    ));
    assert!(!is_taken(&mut hooked, &long));
}

#[test]
fn without_a_token_one_is_asked_for_unless_it_is_optional_or_the_address_is_enough() {
    let settings = format!(r#"{{"secret": "{SECRET}", "realm": "the \"api\""}}"#);
    let places = ["{}", r#"{"optional": true}"#, r#"{"satisfy": "any"}"#];
    let mut hooked = Hooked::<Jwt>::with(services(), &settings, &places).unwrap();
    let mut ask = |place, access: &str, request: Request| {
        let mut exchange = hooked.exchange_at(place, request);
        exchange.set_attribute("access", access);
        let verdict = hooked.on_request(&mut exchange);
        (verdict, exchange.response_header("WWW-Authenticate"))
    };
    let (verdict, challenge) = ask(0, "allowed", Request::get("/"));
    assert_eq!(
        (verdict, challenge),
        (
            Verdict::Answer,
            vec![r#"Bearer realm="the \"api\"""#.to_owned()]
        )
    );
    assert_eq!(ask(1, "denied", Request::get("/")).0, Verdict::Proceed);
    let (verdict, challenge) = ask(1, "allowed", bearer("x"));
    let expected = r#"Bearer realm="the \"api\"", error="invalid_token""#.to_owned();
    assert_eq!((verdict, challenge), (Verdict::Answer, vec![expected]));
    assert_eq!(ask(2, "allowed", bearer("x")).0, Verdict::Proceed);
    assert_eq!(ask(2, "denied", Request::get("/")).0, Verdict::Answer);
    assert_eq!(ask(2, "none", bearer(&good())).0, Verdict::Proceed);
}

#[test]
fn a_token_may_come_in_a_cookie_or_an_argument() {
    let mut hooked = with_secret(r#""token": "$cookie_token""#);
    let cookie = Request::get("/").cookie("token", &good());
    assert_eq!(ask_with(&mut hooked, cookie).0, Verdict::Proceed);
    assert_eq!(ask_with(&mut hooked, bearer(&good())).0, Verdict::Answer);
    let mut hooked = with_secret(r#""token": "$arg_token""#);
    let argument = Request::get(&format!("/?token={}", good()));
    assert_eq!(ask_with(&mut hooked, argument).0, Verdict::Proceed);
    // The scheme in any case, and spaces behind it.
    let mut hooked = with_secret("");
    let header = format!("bEARER   {}", good());
    let request = Request::get("/").header("Authorization", &header);
    assert_eq!(ask_with(&mut hooked, request).0, Verdict::Proceed);
}

#[test]
fn a_signature_is_verified_once_and_the_token_still_expires() {
    let mut hooked = with_secret("");
    for _ in 0..3 {
        assert!(is_taken(&mut hooked, &good()));
    }
    assert_eq!(hooked.counter("signatures"), 1);
    hooked.set_wall_ms((NOW + 100) * 1000 - 1);
    assert!(is_taken(&mut hooked, &good()));
    hooked.set_wall_ms((NOW + 100) * 1000);
    assert!(!is_taken(&mut hooked, &good()));
    assert_eq!(hooked.counter("refused"), 1);
}

#[test]
fn tokens_that_are_remembered_are_bounded_in_number_and_in_bytes() {
    let mut hooked = with_secret(r#""claims": ["x"]"#);
    for number in 0..5000 {
        assert!(is_taken(
            &mut hooked,
            &claiming(&format!(r#"{{"exp":1900000000,"n":{number}}}"#))
        ));
    }
    assert_eq!(hooked.hook.verified.len(), 4096);
    for number in 0..500 {
        let filler = "x".repeat(4000);
        let claims = format!(r#"{{"exp":1900000000,"n":{number},"x":"{filler}"}}"#);
        assert!(is_taken(&mut hooked, &claiming(&claims)));
    }
    assert!(
        hooked.hook.verified.len() < 300,
        "{}",
        hooked.hook.verified.len()
    );
}

#[test]
fn nothing_is_shared_between_workers() {
    assert_eq!(with_secret("").hook.sharing(), Sharing::PerWorker);
}

#[test]
fn settings_are_checked() {
    for (content, message) in [
        (
            vectors::PRIVATE,
            "key_file: `keys`: it is a private key, which has no place here: \
             take the public one by `openssl pkey -pubout`",
        ),
        (
            "secret",
            "key_file: `keys`: it is neither PEM nor a JSON object: ",
        ),
        (vectors::RSA_1024, "key_file: `keys`: "),
        ("{", "key_file: `keys`: it is no JSON: "),
        (
            r#"{"keys":[]}"#,
            "key_file: `keys`: it has no key that can be used: `keys` is empty",
        ),
        (
            r#"{"keys":[{"kty":"EC","crv":"secp256k1"}]}"#,
            "key_file: `keys`: it has no key that can be used: keys[0]: \
             keys of `EC` `secp256k1` are not known here",
        ),
        (
            r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#,
            "key_file: `keys`: it has no key that can be used: keys[0]: the point is not on P-256",
        ),
        (
            r#"{"kty":"oct","k":"AAAA"}"#,
            "key_file: `keys`: it has no key that can be used: keys[0]: \
             a secret of 3 bytes is too short",
        ),
    ] {
        let refused = with_file(content, "").err().unwrap();
        assert!(refused.starts_with(message), "{refused}");
    }
    let refused = |settings: &str| {
        let services = services().file("keys", vectors::RSA);
        let error = Hooked::<Jwt>::with(services, settings, &["{}"])
            .err()
            .unwrap();
        (error.key, error.message)
    };
    let with = |settings: &str| format!(r#"{{"secret": "{SECRET}", {settings}}}"#);
    for (settings, key) in [
        ("{}".to_owned(), "key_file"),
        (r#"{"key_file": "none"}"#.to_owned(), "key_file"),
        (r#"{"secret": "short"}"#.to_owned(), "secret"),
        (with(r#""key_file": "keys""#), "key_file"),
        (with(r#""algorithms": ["HS256", "none"]"#), "algorithms[1]"),
        (with(r#""algorithms": "RS256""#), "secret"),
        (with(r#""algorithms": "HS512""#), "secret"),
        (with(r#""leeway": "2h""#), "leeway"),
        (with(r#""token": "cookie""#), "token"),
        (with(r#""token": ["$cookie_a", "$cookie_b"]"#), "token"),
        (
            with(r#""claims_to_headers": {"sub": "X User"}"#),
            "claims_to_headers.sub",
        ),
        (
            with(r#""claims_to_headers": {"sub": "content-LENGTH"}"#),
            "claims_to_headers.sub",
        ),
        (
            with(r#""claims": ["sub", "https://x.example"]"#),
            "claims[1]",
        ),
        (with(r#""audiences": "x""#), "audiences"),
    ] {
        assert_eq!(refused(&settings).0, key, "{settings}");
    }
}

#[test]
fn a_claim_goes_into_no_header_that_frames_a_message_or_names_its_server() {
    for header in ["Host", "Expect", "HTTP2-Settings", "Content_Length", "te"] {
        let settings =
            format!(r#"{{"secret": "{SECRET}", "claims_to_headers": {{"sub": "{header}"}}}}"#);
        let error = Hooked::<Jwt>::with(services(), &settings, &["{}"]);
        let error = error.err().unwrap();
        let expected = format!("`{header}` is no header that a claim can be written to");
        assert_eq!(
            (&*error.key, &*error.message),
            ("claims_to_headers.sub", &*expected)
        );
    }
}

#[test]
fn a_list_with_a_comma_in_a_member_is_not_told() {
    for (roles, told) in [
        (r#"["a", "b", 1, true]"#, Some("a,b,1,true")),
        (r#"["a", "b,admin"]"#, None),
        (r#"[","]"#, None),
        (r#""a,b""#, Some("a,b")),
        (r#"["a", null]"#, None),
    ] {
        let settings = r#""claims_to_headers": {"roles": "X-Roles"}, "claims": ["roles"]"#;
        let mut hooked = with_secret(settings);
        let token = claiming(&format!(r#"{{"exp": 1800000100, "roles": {roles}}}"#));
        let request = Request::get("/")
            .header("Authorization", &format!("Bearer {token}"))
            .header("X-Roles", "admin");
        let (verdict, exchange) = ask_with(&mut hooked, request);
        assert_eq!(verdict, Verdict::Proceed, "{roles}");
        let headers: Vec<&str> = told.into_iter().collect();
        assert_eq!(exchange.request_header("X-Roles"), headers, "{roles}");
        assert_eq!(exchange.attribute("jwt_roles").as_deref(), told, "{roles}");
    }
}

#[test]
fn what_is_described_is_what_is_taken() {
    let good = [
        format!(
            r#"{{"secret": "{SECRET}", "algorithms": "HS256", "issuer": "a", "audience": "b",
            "leeway": 1,
            "require_exp": true, "token": "$arg_t", "claims_to_headers": {{"a": "B"}},
            "claims": "a"}}"#
        ),
        r#"{"key_file": "keys"}"#.to_owned(),
    ];
    let good = good.each_ref().map(String::as_str);
    let places = [r#"{"realm": "x", "optional": true, "satisfy": "any"}"#];
    Hooked::<Jwt>::check_description(&services().file("keys", vectors::RSA), &good, &places);
}

/// Texts of these characters, `most` at most.
fn texts(of: &str, most: usize) -> impl Strategy<Value = String> {
    let of: Vec<char> = of.chars().collect();
    prop::collection::vec(prop::sample::select(of), 0..=most).prop_map(String::from_iter)
}

/// Texts of any characters.
fn any_texts(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), 0..=most).prop_map(String::from_iter)
}

proptest! {
    #[test]
    fn a_token_with_another_byte_is_refused(
        which in 0..10usize, at: prop::sample::Index, byte: u8,
    ) {
        let (mut hooked, token) = match vectors::TOKENS.get(which) {
            Some((_, key, token)) => (with_file(key, "").unwrap(), (*token).to_owned()),
            None => (with_secret(""), good()),
        };
        let mut changed = token.clone().into_bytes();
        let at = at.index(changed.len());
        prop_assume!(changed[at] != byte && byte.is_ascii_graphic());
        changed[at] = byte;
        let changed = String::from_utf8(changed).unwrap();
        // The good one is remembered, which must not help the other.
        prop_assert!(is_taken(&mut hooked, &token));
        prop_assert!(!is_taken(&mut hooked, &changed), "{}", changed);
    }

    #[test]
    fn no_bytes_panic(
        token in any_texts(60),
        parts in prop::collection::vec(texts("ABCXYZabcxyz0123456789_=-", 30), 3),
        file in any_texts(60),
    ) {
        let parts = parts.join(".");
        let mut hooked = with_secret("");
        prop_assert!(!is_taken(&mut hooked, &parts));
        let (verdict, _) = ask_with(&mut hooked, bearer(&token));
        prop_assert_eq!(verdict, Verdict::Answer);
        prop_assert!(with_file(&file, "").is_err());
    }
}
