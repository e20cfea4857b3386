//! Keys: empty ones, long ones, more than there is room for.

use waypost_sdk::testing::{Hooked, Request};
use waypost_sdk::{Sharing, Verdict};

use super::{DECLARED, ask, of, passed, request};
use crate::{Hook, LimitReq};

/// The smallest zone: an instance has room for 128 short keys.
const SMALL: &str = r#"{"key": "$arg_user", "rate": "1r/s", "size": "32k"}"#;

#[test]
fn the_host_spreads_the_keys_of_one_zone_and_several_zones_are_in_one_instance() {
    let sharing = of(DECLARED, "{}").hook.sharing();
    assert_eq!(sharing, Sharing::PerKey("$arg_user".to_owned()));
    let several = r#"{"zones": {"a": {"key": "$arg_user", "rate": "1r/s"}}}"#;
    let sharing = of(several, r#"{"zones": [{"zone": "a"}]}"#).hook.sharing();
    assert_eq!(sharing, Sharing::PerProcess);
}

#[test]
fn a_request_without_a_key_is_not_counted() {
    let mut hooked = of(DECLARED, "{}");
    for _ in 0..100 {
        let mut exchange = hooked.exchange(Request::get("/"));
        assert_eq!(hooked.on_request(&mut exchange), Verdict::Proceed);
        assert_eq!(exchange.attribute("limit_req_status"), None);
    }
}

#[test]
fn each_key_has_a_bucket_of_its_own() {
    let mut hooked = of(DECLARED, r#"{"burst": 1, "nodelay": true}"#);
    for user in ["a", "b", "c"] {
        assert_eq!(passed(&mut hooked, user, 5), 2);
    }
}

#[test]
fn a_key_of_more_than_65535_bytes_is_logged_and_not_limited() {
    let declared = r#"{"key": "$arg_user", "rate": "10r/s", "size": "32m"}"#;
    let mut hooked = of(declared, "{}");
    let (longest, longer) = ("x".repeat(65_535), "x".repeat(65_536));
    assert_eq!(passed(&mut hooked, &longer, 3), 3);
    let (_, line) = hooked.log_lines().pop().unwrap();
    assert!(line.starts_with("the value of the \"$arg_user\" key is more than 65535 bytes: \"xxx"));
    assert!(line.len() < 1000);
    assert_eq!(passed(&mut hooked, &longest, 3), 1);
}

#[test]
fn a_key_that_is_longer_than_its_zone_is_rejected_as_in_nginx() {
    let mut hooked = of(SMALL, "{}");
    let (verdict, exchange) = ask(&mut hooked, &"x".repeat(24 * 128 + 1));
    assert_eq!(verdict, Verdict::Answer);
    assert_eq!(exchange.answer(), Some((503, "")));
    let (_, line) = hooked.log_lines().pop().unwrap();
    assert!(line.starts_with("could not allocate node in limit_req zone \"limit_req\""));
}

#[test]
fn the_key_that_was_quiet_longest_makes_room() {
    let mut hooked = of(SMALL, "{}");
    for user in 0..128 {
        assert_eq!(passed(&mut hooked, &user.to_string(), 1), 1);
    }
    // A rejected request is a use as well.
    assert_eq!(passed(&mut hooked, "0", 1), 0);
    assert_eq!(passed(&mut hooked, "new", 1), 1);
    assert_eq!(passed(&mut hooked, "0", 1), 0);
    assert_eq!(hooked.counter("evicted"), 1);
    assert_eq!(passed(&mut hooked, "1", 1), 1);
}

#[test]
fn a_million_keys_stay_within_the_zone() {
    let mut hooked = of(SMALL, "{}");
    for user in 0..1_000_000 {
        let mut exchange = hooked.exchange(request(&user.to_string()));
        assert_eq!(hooked.on_request(&mut exchange), Verdict::Proceed);
    }
    assert_eq!(hooked.hook.zones[0].buckets.len(), 128);
    assert_eq!(hooked.counter("evicted"), 1_000_000 - 128);
}

#[test]
fn keys_that_are_quiet_for_a_minute_go_when_others_come() {
    let mut hooked = of(SMALL, "{}");
    for user in 0..100 {
        ask(&mut hooked, &user.to_string());
    }
    hooked.pass_us(60_000_000);
    for user in 0..60 {
        ask(&mut hooked, &format!("new{user}"));
    }
    assert_eq!(hooked.hook.zones[0].buckets.len(), 60);
    assert_eq!(hooked.counter("evicted"), 0);
}

#[test]
fn a_megabyte_holds_sixteen_thousand_keys() {
    let declared = r#"{"zones": {"a": {"key": "$arg_user", "rate": "1r/s"}}}"#;
    let mut hooked = of(declared, r#"{"zones": [{"zone": "a"}]}"#);
    for user in 0..20_000 {
        ask(&mut hooked, &user.to_string());
    }
    assert_eq!(hooked.hook.zones[0].buckets.len(), 16_384);
}

#[test]
fn keys_and_literal_text_are_one_template() {
    let declared = r#"{"key": "$request_method:$arg_user", "rate": "1r/s"}"#;
    let mut hooked = Hooked::<LimitReq>::new(declared, &["{}"]).unwrap_or_else(|_| panic!());
    assert_eq!(passed(&mut hooked, "a", 2), 1);
    let mut exchange = hooked.exchange(Request::new("POST", "/?user=a"));
    assert_eq!(hooked.on_request(&mut exchange), Verdict::Proceed);
}
