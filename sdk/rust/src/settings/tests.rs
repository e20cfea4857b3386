//! What a plugin may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{Item, Settings};
use std::time::Duration;

fn settings(json: &str) -> Settings {
    Settings::parse(json).unwrap()
}

#[test]
fn values_are_read_by_type() {
    let mut read = settings(
        r#"{"a": "x", "b": true, "c": 3, "d": "1m", "e": "8k", "f": ["y", "z"], "g": {"h": 1}, "i": 1.5}"#,
    );
    assert_eq!(read.text("a").unwrap().as_deref(), Some("x"));
    assert!(read.flag("b").unwrap());
    assert_eq!(read.number("c").unwrap(), Some(3));
    assert_eq!(read.duration("d").unwrap(), Some(Duration::from_secs(60)));
    assert_eq!(read.size("e").unwrap(), Some(8192));
    assert_eq!(read.texts("f").unwrap(), ["y", "z"]);
    let mut table = read.table("g").unwrap().unwrap();
    assert_eq!(table.number("h").unwrap(), Some(1));
    assert_eq!(read.decimal("i").unwrap(), Some(1.5));
    assert!(table.finish().is_ok() && read.finish().is_ok());
}

#[test]
fn lists_of_tables_and_texts_know_their_places() {
    let mut read = settings(
        r#"{"zones": ["a", {"use": "b", "burst": -1}], "one": {"x": 1}, "wrong": [{}, 7]}"#,
    );
    let mut zones = read.items("zones").unwrap();
    let Some(Item::Table(mut second)) = zones.pop() else {
        panic!("a table");
    };
    assert!(matches!(zones.pop(), Some(Item::Text(text)) if text == "a"));
    assert_eq!(second.number("burst").unwrap_err().key, "zones[1].burst");
    assert_eq!(second.text("use").unwrap().as_deref(), Some("b"));
    let one = read.tables("one").unwrap().pop().unwrap();
    assert_eq!(one.finish().unwrap_err().key, "one.x");
    let error = read.tables("wrong").unwrap_err();
    assert_eq!(error.message, "`wrong` must be a table or a list of tables");
}

#[test]
fn words_names_and_bounds_are_checked() {
    let json = r#"{"by": "size", "match": {"b": "$uri", "a": "x"}, "status": 42}"#;
    let mut read = settings(json);
    let error = read
        .choice("by", &[("header", 1), ("body", 2)])
        .unwrap_err();
    assert_eq!(error.message, "`by` must be \"header\" or \"body\"");
    let names = read.templates_by_name("match").unwrap();
    assert_eq!(names[0].0, "a");
    assert_eq!(names[1].1.variables().collect::<Vec<_>>(), ["uri"]);
    let error = read.number_within("status", 400..=599).unwrap_err();
    assert_eq!(
        error.message,
        "`status` must be a whole number from 400 to 599"
    );
    assert_eq!(read.optional_flag("flag").unwrap(), None);
}

#[test]
fn tables_by_name_know_their_places() {
    let mut read = settings(r#"{"zones": {"b": {"x": 1}, "a": {"y": 2}}, "wrong": {"a": 1}}"#);
    let mut zones = read.tables_by_name("zones").unwrap();
    let names: Vec<&str> = zones.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(zones[1].1.number("x").unwrap(), Some(1));
    let (_, first) = zones.swap_remove(0);
    assert_eq!(first.finish().unwrap_err().key, "zones.a.y");
    assert_eq!(read.tables_by_name("none").unwrap().len(), 0);
    let error = read.tables_by_name("wrong").unwrap_err();
    assert_eq!(error.message, "`wrong` must be a table of tables");
}

#[test]
fn a_key_that_is_missing_may_be_there_misspelt() {
    let mut read = settings(r#"{"ky": "$uri", "consistent": "yes"}"#);
    assert_eq!(read.text("key").unwrap(), None);
    let error = read.missing("key");
    assert_eq!(error.key, "ky");
    assert_eq!(error.message, "`key` is missing; is `ky` meant?");
    assert_eq!(settings("{}").missing("key").message, "`key` is missing");
}

#[test]
fn a_wrong_type_is_reported_with_the_path_of_its_key() {
    let mut read = settings(r#"{"cookie": {"path": 7}}"#);
    let error = read
        .table("cookie")
        .unwrap()
        .unwrap()
        .text("path")
        .unwrap_err();
    assert_eq!(
        (error.key.as_str(), error.message.as_str()),
        ("cookie.path", "`cookie.path` must be a text")
    );
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
    let mut read = settings(r#"{"consistant": true}"#);
    read.text("key").unwrap();
    read.flag("consistent").unwrap();
    let error = read.finish().unwrap_err();
    assert_eq!(error.key, "consistant");
    assert_eq!(
        error.message,
        "unknown key `consistant`; did you mean `consistent`?"
    );
}

#[test]
fn an_unknown_key_like_no_other_is_refused_with_all_known_ones() {
    let mut read = settings(r#"{"zzz": true}"#);
    read.text("key").unwrap();
    read.flag("consistent").unwrap();
    assert_eq!(
        read.finish().unwrap_err().message,
        "unknown key `zzz`; known keys: `key`, `consistent`"
    );
    assert_eq!(
        settings(r#"{"zzz": 1}"#).finish().unwrap_err().message,
        "unknown key `zzz`; it takes none"
    );
}
