//! Settings that make no sense are refused with their key and what would be right.

use waypost_sdk::Describe;
use waypost_sdk::testing::Hooked;

use super::{of, passed};
use crate::LimitReq;

fn refused(declared: &str, place: &str) -> (String, String) {
    match Hooked::<LimitReq>::new(declared, &[place]) {
        Ok(_) => panic!("{declared} {place} is taken"),
        Err(error) => (error.key, error.message),
    }
}

#[test]
fn a_zone_needs_a_key_and_a_rate() {
    assert_eq!(refused("{}", "{}").1, "`key` is missing");
    assert_eq!(refused(r#"{"key": "$arg_a"}"#, "{}").1, "`rate` is missing");
    let (key, message) = refused(r#"{"zones": {"a": {"key": "$arg_a"}}}"#, "{}");
    assert_eq!(
        (key.as_str(), message.as_str()),
        ("zones.a.rate", "`zones.a.rate` is missing")
    );
}

#[test]
fn a_rate_is_a_number_of_requests_per_second_or_minute() {
    for wrong in [
        "10",
        "10r",
        "0r/s",
        "-1r/s",
        "+1r/s",
        "1.5r/s",
        "10r/h",
        "r/s",
        "",
        "1000000001r/s",
        "é/s",
    ] {
        let declared = format!(r#"{{"key": "$arg_a", "rate": "{wrong}"}}"#);
        let (key, message) = refused(&declared, "{}");
        assert_eq!(key, "rate");
        assert!(
            message.contains("is not a rate such as \"10r/s\""),
            "{message}"
        );
    }
}

#[test]
fn unknown_keys_are_refused_in_declarations_places_and_zones() {
    let declared = r#"{"key": "$arg_a", "rate": "1r/s", "brust": 5}"#;
    assert_eq!(
        refused(declared, "{}").1,
        "unknown key `brust`; did you mean `burst`?"
    );
    let declared = r#"{"key": "$arg_a", "rate": "1r/s"}"#;
    assert_eq!(
        refused(declared, r#"{"nodlay": true}"#).1,
        "unknown key `nodlay`; did you mean `nodelay`?"
    );
    let several = r#"{"zones": {"a": {"key": "$arg_a", "rate": "1r/s"}}}"#;
    let (key, message) = refused(several, r#"{"zones": [{"zone": "a", "brust": 5}]}"#);
    assert_eq!(key, "zones[0].brust");
    assert!(message.ends_with("did you mean `burst`?"), "{message}");
    assert_eq!(refused(several, r#"{"burst": 5}"#).0, "zones");
}

#[test]
fn a_place_names_zones_that_are_declared_once_each() {
    let several = r#"{"zones": {"a": {"key": "$arg_a", "rate": "1r/s"},
                                "b": {"key": "$arg_b", "rate": "1r/s"}}}"#;
    assert_eq!(
        refused(several, r#"{"zones": [{"zone": "c"}]}"#),
        (
            "zones[0].zone".to_owned(),
            "no zone `c` is declared; there are `a`, `b`".to_owned()
        )
    );
    let (key, _) = refused(several, r#"{"zones": [{"zone": "a"}, {"zone": "a"}]}"#);
    assert_eq!(key, "zones[1].zone");
    let (key, message) = refused(several, "{}");
    assert_eq!(key, "zones");
    assert!(
        message.starts_with("say which zones count here"),
        "{message}"
    );
}

#[test]
fn sizes_have_bounds() {
    for (size, bounds) in [("31k", "\"256m\""), ("257m", "\"256m\"")] {
        let declared = format!(r#"{{"key": "$arg_a", "rate": "1r/s", "size": "{size}"}}"#);
        let (key, message) = refused(&declared, "{}");
        assert_eq!(key, "size");
        assert!(message.contains(bounds), "{message}");
    }
    let zone = r#"{"key": "$arg_a", "rate": "1r/s", "size": "6m"}"#;
    let declared = format!(r#"{{"zones": {{"a": {zone}, "b": {zone}}}}}"#);
    assert_eq!(
        refused(&declared, r#"{"zones": [{"zone": "a"}]}"#).0,
        "zones"
    );
}

#[test]
fn numbers_and_statuses_have_bounds() {
    let declared = r#"{"key": "$arg_a", "rate": "1r/s"}"#;
    for wrong in [
        r#"{"status": 399}"#,
        r#"{"status": 600}"#,
        r#"{"burst": -1}"#,
        r#"{"burst": 1000000001}"#,
        r#"{"log_level": "crit"}"#,
        r#"{"dry_run": "on"}"#,
        r#"{"nodelay": true, "delay": 3}"#,
    ] {
        refused(declared, wrong);
    }
}

#[test]
fn a_declaration_says_for_all_places_what_they_do_not_say() {
    let declared = r#"{"key": "$arg_user", "rate": "1r/s", "burst": 2, "nodelay": true,
                       "status": 429}"#;
    assert_eq!(passed(&mut of(declared, "{}"), "a", 9), 3);
    assert_eq!(passed(&mut of(declared, r#"{"burst": 4}"#), "a", 9), 5);
    let mut delayed = of(declared, r#"{"nodelay": false}"#);
    passed(&mut delayed, "a", 2);
    assert_eq!(delayed.counter("delayed"), 1);
}

#[test]
fn the_schemas_name_the_keys_that_are_read() {
    let about = LimitReq::describe();
    let keys = |schema: &str| {
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        let keys = schema["properties"].as_object().unwrap().keys().cloned();
        keys.collect::<Vec<String>>()
    };
    let known = |message: String| {
        let (_, list) = message.split_once("known keys: `").unwrap();
        let list = list.strip_suffix('`').unwrap().split("`, `");
        let mut known: Vec<String> = list.map(str::to_owned).collect();
        known.sort();
        known
    };
    let declared = r#"{"key": "$arg_a", "rate": "1r/s", "qqq": 1}"#;
    let mut all = keys(&about.settings);
    all.sort();
    assert_eq!(known(refused(declared, "{}").1), all);
    let several = r#"{"zones": {"a": {"key": "$arg_a", "rate": "1r/s"}}}"#;
    let mut of_zones = known(refused(several, r#"{"zones": [{"zone": "a"}], "qqq": 1}"#).1);
    let declared = r#"{"key": "$arg_a", "rate": "1r/s"}"#;
    of_zones.extend(known(refused(declared, r#"{"qqq": 1}"#).1));
    of_zones.sort();
    of_zones.dedup();
    let mut place = keys(&about.place_settings);
    place.sort();
    assert_eq!(of_zones, place);
}
