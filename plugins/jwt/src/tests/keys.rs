//! Which key a token is verified with.

use base64::Engine;
use p384::ecdsa::signature::Signer;
use rsa::pkcs8::DecodePublicKey;
use rsa::traits::PublicKeyParts;
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

#[test]
fn a_key_is_not_tried_for_an_algorithm_that_it_does_not_serve() {
    for (algorithm, key, token) in vectors::TOKENS {
        let other = match key == vectors::RSA {
            true => vectors::P256,
            false => vectors::RSA,
        };
        let mut hooked = with_file(other, "").unwrap();
        assert!(!is_taken(&mut hooked, token));
        assert_eq!(hooked.counter("signatures"), 0, "{algorithm}");
        let why = "the token was refused: no key is for its `alg` and `kid`";
        assert_eq!(hooked.log_lines()[0].1, why);
    }
}

/// A set of keys, each with a name.
fn set(keys: &[String]) -> String {
    let named = |(number, key): (usize, &String)| format!(r#"{{"kid":"{number}",{key}}}"#);
    let keys: Vec<_> = keys.iter().enumerate().map(named).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

fn rsa(modulus: &[u8]) -> String {
    let modulus = BASE64URL.encode(modulus);
    format!(r#""kty":"RSA","e":"AQAB","n":"{modulus}""#)
}

/// The members of a key of P-384.
fn p384(point: &[u8]) -> String {
    let (x, y) = point[1..].split_at(48);
    let (x, y) = (BASE64URL.encode(x), BASE64URL.encode(y));
    format!(r#""kty":"EC","crv":"P-384","x":"{x}","y":"{y}""#)
}

#[test]
fn a_token_that_names_no_key_has_those_tried_that_a_call_has_time_for() {
    let good_rsa = rsa::PublicKey::from_public_key_pem(vectors::RSA).unwrap();
    let good_p384 = p384::ecdsa::VerifyingKey::from_public_key_pem(vectors::P384).unwrap();
    let bad_p384 = p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap();
    let bad_p384 = bad_p384.verifying_key().to_sec1_point(false);
    let [rs256, es384] = ["RS256", "ES384"].map(|wanted| {
        let mut tokens = vectors::TOKENS.iter();
        tokens.find(|(name, ..)| *name == wanted).unwrap().2
    });
    let good_rsa = rsa(&good_rsa.n_bytes());
    let good_p384 = p384(good_p384.to_sec1_point(false).as_bytes());
    for (good, bad, token, place) in [
        (&good_rsa, rsa(&[0xff; 256]), rs256, 4),
        (&good_rsa, rsa(&[0xff; 384]), rs256, 4),
        (&good_rsa, rsa(&[0xff; 512]), rs256, 2),
        (&good_p384, p384(bad_p384.as_bytes()), es384, 3),
    ] {
        for before in 0..5 {
            let mut keys = vec![bad.clone(); before];
            keys.push(good.clone());
            let mut hooked = with_file(&set(&keys), "").unwrap();
            let expected = before < place;
            assert_eq!(is_taken(&mut hooked, token), expected, "{before} {bad}");
        }
    }
}

#[test]
fn a_key_that_a_token_names_is_found_wherever_it_stands() {
    let key = |number: u8| p384::ecdsa::SigningKey::from_slice(&[number; 48]).unwrap();
    let keys: Vec<_> = (1..=64)
        .map(|number| p384(key(number).verifying_key().to_sec1_point(false).as_bytes()))
        .collect();
    let mut hooked = with_file(&set(&keys), "").unwrap();
    for number in [1, 2, 5, 64] {
        let header = BASE64URL.encode(format!(r#"{{"alg":"ES384","kid":"{}"}}"#, number - 1));
        let message = format!("{header}.{}", BASE64URL.encode(r#"{"exp":1900000000}"#));
        let signature: p384::ecdsa::Signature = key(number).sign(message.as_bytes());
        let signature = BASE64URL.encode(signature.to_bytes());
        assert!(is_taken(&mut hooked, &format!("{message}.{signature}")));
    }
}
