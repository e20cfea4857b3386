//! What a user may rely on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod settings;
mod swaps;

use std::collections::BTreeMap;

use waypost_sdk::log::Level;
use waypost_sdk::testing::{HookExchange, Hooked, Request};
use waypost_sdk::{Draws, Hook, Sharing, Verdict};

use super::LimitConn;

const DECLARED: &str = r#"{"key": "$arg_user", "zone": "users"}"#;

fn of(declared: &str, places: &[&str]) -> Hooked<LimitConn> {
    Hooked::new(declared, places).unwrap_or_else(|error| panic!("{}", error.message))
}

fn ask(hooked: &mut Hooked<LimitConn>, user: &str) -> (Verdict, HookExchange) {
    ask_at(hooked, 0, user)
}

fn ask_at(hooked: &mut Hooked<LimitConn>, place: usize, user: &str) -> (Verdict, HookExchange) {
    let mut exchange = hooked.exchange_at(place, Request::get(&format!("/?user={user}")));
    let verdict = hooked.on_request(&mut exchange);
    (verdict, exchange)
}

/// So many requests that pass and stay.
fn hold(hooked: &mut Hooked<LimitConn>, user: &str, requests: usize) -> Vec<HookExchange> {
    let held = (0..requests).map(|_| {
        let (verdict, exchange) = ask(hooked, user);
        assert_eq!(verdict, Verdict::Proceed);
        exchange
    });
    held.collect()
}

fn is_full(hooked: &mut Hooked<LimitConn>, user: &str) -> bool {
    let (verdict, exchange) = ask(hooked, user);
    hooked.on_end(exchange, 200);
    verdict == Verdict::Answer
}

#[test]
fn a_key_has_so_many_requests_in_progress_and_no_more() {
    let mut hooked = of(DECLARED, &[r#"{"connections": 3}"#]);
    assert_eq!(
        hooked.hook.sharing(),
        Sharing::PerKey("$arg_user".to_owned())
    );
    let mut held = hold(&mut hooked, "a", 3);
    assert!(is_full(&mut hooked, "a"));
    assert!(!is_full(&mut hooked, "b"));
    hooked.on_end(held.pop().unwrap(), 200);
    assert!(!is_full(&mut hooked, "a"));
    held.extend(hold(&mut hooked, "a", 1));
    assert!(is_full(&mut hooked, "a"));
    for exchange in held {
        hooked.on_end(exchange, 499);
    }
    assert_eq!(hooked.hook.counts.keys(), 0);
}

#[test]
fn a_rejected_request_is_not_counted_and_its_end_gives_nothing_back() {
    let mut hooked = of(DECLARED, &[r#"{"connections": 1, "status": 429}"#]);
    let _held = hold(&mut hooked, "a", 1);
    for _ in 0..5 {
        let (verdict, exchange) = ask(&mut hooked, "a");
        assert_eq!(verdict, Verdict::Answer);
        assert_eq!(exchange.answer(), Some((429, "")));
        assert_eq!(
            exchange.attribute("limit_conn_status").as_deref(),
            Some("REJECTED")
        );
        hooked.on_end(exchange, 429);
    }
    let line = "limiting connections by zone \"users\"".to_owned();
    assert_eq!(hooked.log_lines()[0], (Level::Error, line));
    assert_eq!(hooked.counter("rejected"), 5);
}

#[test]
fn a_dry_run_logs_and_lets_pass_without_counting() {
    let place = r#"{"connections": 1, "dry_run": true, "log_level": "warn"}"#;
    let mut hooked = of(DECLARED, &[place]);
    let (_, first) = ask(&mut hooked, "a");
    assert_eq!(
        first.attribute("limit_conn_status").as_deref(),
        Some("PASSED")
    );
    let (verdict, second) = ask(&mut hooked, "a");
    assert_eq!(verdict, Verdict::Proceed);
    assert_eq!(
        second.attribute("limit_conn_status").as_deref(),
        Some("REJECTED_DRY_RUN")
    );
    let line = "limiting connections, dry run, by zone \"users\"".to_owned();
    assert_eq!(hooked.log_lines(), [(Level::Warn, line)]);
    hooked.on_end(first, 200);
    hooked.on_end(second, 200);
    assert_eq!(hooked.hook.counts.keys(), 0);
    assert_eq!(hooked.counter("rejected_dry_run"), 1);
}

#[test]
fn empty_and_long_keys_are_not_counted() {
    let mut hooked = of(DECLARED, &[r#"{"connections": 1}"#]);
    let _held = hold(&mut hooked, "", 5);
    let _more = hold(&mut hooked, &"x".repeat(256), 5);
    let (_, line) = hooked.log_lines().pop().unwrap();
    assert!(line.starts_with("the value of the \"$arg_user\" key is more than 255 bytes: \"xxx"));
    let _last = hold(&mut hooked, &"x".repeat(255), 1);
    assert!(is_full(&mut hooked, &"x".repeat(255)));
}

#[test]
fn a_request_that_passes_two_places_counts_once() {
    let places = [r#"{"connections": 3}"#, r#"{"connections": 2}"#];
    let mut hooked = of(DECLARED, &places);
    let twice = |hooked: &mut Hooked<LimitConn>| {
        let (verdict, exchange) = ask(hooked, "a");
        assert_eq!(verdict, Verdict::Proceed);
        let mut again = exchange.at_place(1);
        let verdict = hooked.on_request(&mut again);
        (verdict, again)
    };
    let (verdict, first) = twice(&mut hooked);
    assert_eq!(verdict, Verdict::Proceed);
    let (verdict, second) = twice(&mut hooked);
    assert_eq!(verdict, Verdict::Proceed);
    let (verdict, third) = twice(&mut hooked);
    assert_eq!(verdict, Verdict::Answer);
    for exchange in [first, second, third] {
        hooked.on_end(exchange, 200);
    }
    assert_eq!(hooked.hook.counts.keys(), 0);
}

#[test]
fn keys_without_room_are_rejected_and_logged() {
    let declared = r#"{"key": "$arg_user", "size": "32k"}"#;
    let mut hooked = of(declared, &[r#"{"connections": 5}"#]);
    let mut held = Vec::new();
    let rejected = loop {
        let (verdict, exchange) = ask(&mut hooked, &format!("user{}", held.len()));
        if verdict == Verdict::Answer {
            break exchange;
        }
        held.push(exchange);
    };
    assert!((140..200).contains(&held.len()), "{}", held.len());
    assert_eq!(rejected.answer(), Some((503, "")));
    let (_, line) = hooked.log_lines().pop().unwrap();
    assert!(line.starts_with("could not allocate node in limit_conn_zone \"limit_conn\""));
    hooked.on_end(held.pop().unwrap(), 200);
    assert!(!is_full(&mut hooked, "other"));
}

#[test]
fn counts_are_right_whatever_comes_and_ends_in_which_order() {
    let mut draws = Draws::from_seed(3);
    let mut hooked = of(DECLARED, &[r#"{"connections": 4}"#]);
    let mut held: Vec<(String, HookExchange)> = Vec::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..20_000 {
        if held.is_empty() || draws.below(5) < 3 {
            let user = format!("u{}", draws.below(8));
            let (verdict, exchange) = ask(&mut hooked, &user);
            let count = counts.entry(user.clone()).or_default();
            assert_eq!(verdict == Verdict::Answer, *count == 4, "{user}: {count}");
            if verdict == Verdict::Proceed {
                *count += 1;
                held.push((user, exchange));
            } else {
                hooked.on_end(exchange, 503);
            }
        } else {
            let at = draws.below(held.len() as u64) as usize;
            let (user, exchange) = held.swap_remove(at);
            *counts.get_mut(&user).unwrap() -= 1;
            hooked.on_end(exchange, 200);
        }
    }
}
