//! A zone in the store: who shares it, and what becomes of requests while it fails.

use waypost_sdk::Verdict;
use waypost_sdk::log::Level;
use waypost_sdk::store::StoreError;
use waypost_sdk::testing::{Hooked, Services, Store};

use super::{ask, of, passed};
use crate::LimitReq;

const SHARED: &str = r#"{"key": "$arg_user", "rate": "10r/s", "zone": "api", "store": true}"#;
const BURST: &str = r#"{"burst": 5, "nodelay": true}"#;

fn with(store: &Store, declared: &str, place: &str) -> Hooked<LimitReq> {
    let services = Services::new().store(store);
    Hooked::with(services, declared, &[place]).unwrap_or_else(|error| panic!("{}", error.message))
}

#[test]
fn what_uses_one_store_shares_a_limit_by_the_name_of_its_zone() {
    let store = Store::new();
    let mut one = with(&store, SHARED, BURST);
    let mut other = with(&store, SHARED, BURST);
    assert_eq!(passed(&mut one, "a", 4) + passed(&mut other, "a", 10), 6);
    assert_eq!(passed(&mut other, "b", 10), 6);
    let elsewhere = SHARED.replace("\"api\"", "\"web\"");
    assert_eq!(passed(&mut with(&store, &elsewhere, BURST), "a", 10), 6);
    // A tenth of a second is one more, for both together.
    (one.now_us, other.now_us) = (1_100_000, 1_100_000);
    assert_eq!(passed(&mut one, "a", 5) + passed(&mut other, "a", 5), 1);
    // Buckets that are empty are none.
    one.pass_us(1_000_000_000);
    assert_eq!(passed(&mut one, "c", 1), 1);
    assert_eq!(store.len(), 1);
}

/// The same requests at the same times, in a store and in a table.
#[test]
fn a_zone_in_the_store_decides_as_one_in_an_instance() {
    let place = r#"{"burst": 4, "delay": 2}"#;
    let mut shared = with(&Store::new(), SHARED, place);
    let mut own = of(&SHARED.replace(r#", "store": true"#, ""), place);
    let mut seed = 1_u64;
    for _ in 0..2000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let pause = (seed >> 33) % 150_000;
        let user = ["a", "b"][(seed >> 60) as usize % 2];
        shared.pass_us(pause);
        own.pass_us(pause);
        let ((verdict, exchange), (expected, alike)) =
            (ask(&mut shared, user), ask(&mut own, user));
        assert_eq!(verdict, expected);
        assert_eq!(exchange.changed().delay_us, alike.changed().delay_us);
        let status = "limit_req_status";
        assert_eq!(exchange.attribute(status), alike.attribute(status));
    }
    assert_eq!(shared.log_lines(), own.log_lines());
}

#[test]
fn requests_pass_while_the_store_fails_and_the_log_tells_once_in_a_second() {
    let store = Store::new();
    let mut hooked = with(&store, SHARED, "{}");
    store.fail(StoreError::Unavailable);
    assert_eq!(passed(&mut hooked, "a", 20), 20);
    let told = "the store of zone \"api\" does not answer: requests are let pass uncounted";
    assert_eq!(hooked.log_lines(), [(Level::Error, told.to_owned())]);
    hooked.pass_us(999_999);
    assert_eq!(passed(&mut hooked, "a", 20), 20);
    assert_eq!(hooked.log_lines(), []);
    hooked.pass_us(1);
    store.fail(StoreError::Full);
    assert_eq!(passed(&mut hooked, "a", 20), 20);
    assert_eq!(hooked.log_lines().len(), 1);
    assert_eq!(hooked.counter("store_errors"), 60);
    store.fail(None);
    assert_eq!(passed(&mut hooked, "a", 20), 1);
}

#[test]
fn requests_are_rejected_while_the_store_fails_where_that_is_wanted() {
    let declared = SHARED.replace("true", r#"true, "store_error": "reject""#);
    let store = Store::new();
    let mut hooked = with(&store, &declared, r#"{"status": 429}"#);
    store.fail(StoreError::Unavailable);
    let (verdict, exchange) = ask(&mut hooked, "a");
    assert_eq!(verdict, Verdict::Answer);
    assert_eq!(exchange.answer(), Some((429, "")));
    let (_, line) = hooked.log_lines().pop().unwrap();
    assert!(line.ends_with("requests are rejected"), "{line}");
    let mut dry = with(&store, &declared, r#"{"dry_run": true}"#);
    assert_eq!(passed(&mut dry, "a", 3), 3);
}

#[test]
fn requests_without_a_key_are_not_counted() {
    let store = Store::new();
    let mut hooked = with(&store, SHARED, "{}");
    assert_eq!(passed(&mut hooked, "", 3), 3);
    assert!(store.is_empty());
}

#[test]
fn a_zone_in_the_store_is_one_has_a_name_and_no_size() {
    let refused = |declared: &str| match Hooked::<LimitReq>::new(declared, &["{}"]) {
        Ok(_) => panic!("{declared} is taken"),
        Err(error) => error.key,
    };
    assert_eq!(refused(&SHARED.replace(r#""zone": "api", "#, "")), "zone");
    assert_eq!(refused(&SHARED.replace("api", "a:b")), "zone");
    assert_eq!(
        refused(&SHARED.replace("true", r#"true, "size": "1m""#)),
        "size"
    );
    assert_eq!(
        refused(&SHARED.replace("true", r#"true, "store_error": "drop""#)),
        "store_error"
    );
    let unshared = SHARED.replace("true", r#"false, "store_error": "pass""#);
    assert_eq!(refused(&unshared), "store_error");
    let several = r#"{"zones": {"a": {"key": "$arg_a", "rate": "1r/s"}}, "store": true}"#;
    assert_eq!(refused(several), "zones");
}
