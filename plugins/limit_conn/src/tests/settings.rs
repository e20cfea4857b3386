//! Settings that make no sense are refused with their key and what would be right.

use waypost_sdk::Describe;
use waypost_sdk::testing::Hooked;

use super::{hold, is_full, of};
use crate::LimitConn;

fn refused(declared: &str, place: &str) -> (String, String) {
    match Hooked::<LimitConn>::new(declared, &[place]) {
        Ok(_) => panic!("{declared} {place} is taken"),
        Err(error) => (error.key, error.message),
    }
}

#[test]
fn a_key_and_a_number_of_connections_are_needed() {
    assert_eq!(refused("{}", "{}").1, "`key` is missing");
    let declared = r#"{"key": "$arg_a"}"#;
    assert_eq!(refused(declared, "{}").1, "`connections` is missing");
    assert_eq!(
        refused(declared, r#"{"conections": 3}"#).1,
        "`connections` is missing; is `conections` meant?"
    );
}

#[test]
fn numbers_have_bounds_and_unknown_keys_are_refused() {
    let declared = r#"{"key": "$arg_a", "connections": 1}"#;
    for (place, key) in [
        (r#"{"connections": 0}"#, "connections"),
        (r#"{"connections": 65536}"#, "connections"),
        (r#"{"status": 200}"#, "status"),
        (r#"{"log_level": "debug"}"#, "log_level"),
        (r#"{"burst": 3}"#, "burst"),
        (r#"{"key": "$arg_b"}"#, "key"),
    ] {
        assert_eq!(refused(declared, place).0, key);
    }
    for size in ["1k", "257m"] {
        let declared = format!(r#"{{"key": "$arg_a", "size": "{size}"}}"#);
        assert_eq!(refused(&declared, r#"{"connections": 1}"#).0, "size");
    }
}

#[test]
fn a_declaration_says_for_all_places_what_they_do_not_say() {
    let declared = r#"{"key": "$arg_user", "connections": 2}"#;
    let mut hooked = of(declared, &["{}"]);
    let _held = hold(&mut hooked, "a", 2);
    assert!(is_full(&mut hooked, "a"));
    let mut hooked = of(declared, &[r#"{"connections": 3}"#]);
    let _held = hold(&mut hooked, "a", 3);
}

#[test]
fn the_schemas_name_the_keys_that_are_read() {
    let about = LimitConn::describe();
    assert!(about.streams);
    for (schema, message) in [
        (
            about.settings,
            refused(r#"{"key": "$arg_a", "qqq": 1}"#, "{}").1,
        ),
        (
            about.place_settings,
            refused(r#"{"key": "$arg_a", "connections": 1}"#, r#"{"qqq": 1}"#).1,
        ),
    ] {
        let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
        let keys = schema["properties"].as_object().unwrap().keys();
        let mut keys: Vec<&str> = keys.map(String::as_str).collect();
        keys.sort_unstable();
        let (_, known) = message.split_once("known keys: `").unwrap();
        let known = known.strip_suffix('`').unwrap().split("`, `");
        let mut known: Vec<&str> = known.collect();
        known.sort_unstable();
        assert_eq!(known, keys);
    }
}
