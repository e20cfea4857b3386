//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use waypost_sdk::testing::{HookExchange, Hooked, Request, Response, Services};
use waypost_sdk::{Form, Manner, Verdict};

use super::Substitute;
use super::searches::{Search, Searches};

fn hooked(more: &str, pairs: &[(&str, &str)]) -> Hooked<Substitute> {
    let pairs = pairs.iter();
    let pairs = pairs.map(|(text, by)| format!(r#"{{"text": "{text}", "by": "{by}"}}"#));
    let pairs: Vec<String> = pairs.collect();
    let settings = format!(r#"{{"replace": [{}]{more}}}"#, pairs.join(", "));
    Hooked::<Substitute>::of(&settings)
}

fn answered(hooked: &mut Hooked<Substitute>, media_type: &str) -> HookExchange {
    let mut exchange = hooked.exchange(Request::get("/x").header("Host", "a.example"));
    let response = Response::status(200)
        .header("Content-Type", media_type)
        .header("ETag", "\"1\"")
        .header("Last-Modified", "yesterday");
    hooked.on_response(&mut exchange, response);
    exchange
}

/// The text that comes out of these pieces.
fn passed(more: &str, pairs: &[(&str, &str)], pieces: &[&str]) -> String {
    let mut hooked = hooked(more, pairs);
    let mut exchange = answered(&mut hooked, "text/html; charset=utf-8");
    assert_eq!(
        exchange.changed().response_body,
        Some((Manner::Chunks, Form::Decoded))
    );
    let mut out = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        let last = number + 1 == pieces.len();
        let (verdict, text) = hooked.on_response_body(&mut exchange, piece, last);
        assert_eq!(verdict, Verdict::Proceed);
        out.extend(text);
    }
    hooked.on_end(exchange, 200);
    assert!(hooked.hook.under_way.is_empty());
    String::from_utf8(out).unwrap()
}

const ALL: &str = r#", "once": false"#;

#[test]
fn each_text_is_replaced_the_first_time_and_every_time_where_that_is_said() {
    let pairs = [("one", "1"), ("two", "2")];
    let text = ["one two ONE Two"];
    assert_eq!(passed("", &pairs, &text), "1 2 ONE Two");
    assert_eq!(passed(ALL, &pairs, &text), "1 2 1 2");
}

#[test]
fn the_text_that_begins_first_counts_and_then_the_one_that_is_written_first() {
    assert_eq!(passed(ALL, &[("bcd", "1"), ("abc", "2")], &["abcd"]), "2d");
    assert_eq!(passed(ALL, &[("ab", "1"), ("abc", "2")], &["abc"]), "1c");
    assert_eq!(passed(ALL, &[("abc", "2"), ("ab", "1")], &["abcab"]), "21");
    assert_eq!(passed(ALL, &[("aa", "b")], &["aaaaa"]), "bba");
}

#[test]
fn a_text_is_found_wherever_a_body_is_cut() {
    let text = "xxaabaabab-aabab";
    let expected = "xxaab[]-[]";
    for at in 0..text.len() {
        for then in at..text.len() {
            let pieces = [&text[..at], &text[at..then], &text[then..]];
            assert_eq!(
                passed(ALL, &[("aabab", "[]")], &pieces),
                expected,
                "{at} {then}"
            );
        }
    }
    let pieces: Vec<String> = text.chars().map(String::from).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    assert_eq!(passed(ALL, &[("aabab", "[]")], &pieces), expected);
}

#[test]
fn what_only_began_like_a_text_goes_on_at_the_end() {
    assert_eq!(passed(ALL, &[("abc", "1")], &["xab", ""]), "xab");
    assert_eq!(
        passed(ALL, &[("abc", "1"), ("b", "2")], &["xab", ""]),
        "xa2"
    );
    assert_eq!(passed(ALL, &[("abc", "1")], &[""]), "");
}

#[test]
fn nothing_is_held_back_that_cannot_be_a_text() {
    let mut searches = Searches::new(vec![Search::new(b"abc".to_vec(), b"1".to_vec())], true);
    assert_eq!(searches.pass(b"no such thing", false), None);
    assert_eq!(searches.pass(b"...AB", false), Some(b"...".to_vec()));
    assert_eq!(searches.pass(b"C.a", false), Some(b"1.a".to_vec()));
    assert_eq!(searches.pass(b"abc", true), None);
}

#[test]
fn variables_are_those_of_the_exchange() {
    let pairs = [("$host", "${request_uri}!"), ("$arg_none", "never")];
    assert_eq!(passed("", &pairs, &["on a.example"]), "on /x!");
}

#[test]
fn html_is_looked_at_and_other_types_where_they_are_listed() {
    let types = r#", "types": ["text/CSS"]"#;
    for (more, media_type, is_wanted) in [
        ("", "text/html", true),
        ("", "TEXT/HTML;x=y", true),
        ("", "text/css", false),
        ("", "", false),
        (types, "text/css", true),
        (types, "text/html", true),
        (types, "text/plain", false),
        (r#", "types": "*""#, "image/png", true),
    ] {
        let mut hooked = hooked(more, &[("a", "b")]);
        let exchange = answered(&mut hooked, media_type);
        let wanted = exchange.changed().response_body.is_some();
        assert_eq!(wanted, is_wanted, "{more} {media_type}");
        let tagged = !exchange.response_header("ETag").is_empty();
        assert_eq!(tagged, !is_wanted, "{media_type}");
    }
}

#[test]
fn times_and_tags_go_unless_they_are_to_stay() {
    let mut gone = hooked("", &[("a", "b")]);
    let exchange = answered(&mut gone, "text/html");
    assert!(exchange.response_header("Last-Modified").is_empty());
    let mut kept = hooked(r#", "last_modified": true"#, &[("a", "b")]);
    let exchange = answered(&mut kept, "text/html");
    assert_eq!(exchange.response_header("Last-Modified"), ["yesterday"]);
    assert_eq!(exchange.response_header("ETag"), ["\"1\""]);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let long = format!(
        r#"{{"replace": {{"text": "{}", "by": ""}}}}"#,
        "x".repeat(5000)
    );
    for (settings, key) in [
        ("{}", "replace"),
        (r#"{"replace": []}"#, "replace"),
        (r#"{"replace": {"text": "a"}}"#, "replace.by"),
        (r#"{"replace": {"by": "a"}}"#, "replace.text"),
        (r#"{"replace": {"text": "", "by": "a"}}"#, "replace.text"),
        (r#"{"replace": {"text": "$", "by": "a"}}"#, "replace.text"),
        (long.as_str(), "replace.text"),
        (
            r#"{"replace": {"text": "a", "by": "b"}, "types": "html"}"#,
            "types",
        ),
        (
            r#"{"replace": {"text": "a", "by": "b"}, "onse": true}"#,
            "onse",
        ),
    ] {
        let refused = Hooked::<Substitute>::new(settings, &["{}"]).err().unwrap();
        assert!(
            refused.key == key || refused.key.replace("[0]", "") == key,
            "{}: {}",
            refused.key,
            &settings[..settings.len().min(60)]
        );
    }
}

#[test]
fn what_is_said_of_the_settings_is_so() {
    let good = [r#"{"replace": [{"text": "a", "by": "$host"}], "once": false}"#];
    Hooked::<Substitute>::check_description(&Services::new(), &good, &["{}"]);
}
