//! What plugins learn from the host.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::json;

use crate::plugin::{Balancer, ExchangeContext, PolicyContext};

use super::guests::{Guest, runtime};
use super::peers::{Endpoints, Request, balancer, logged, pick, pick_of};

/// Endpoint that a policy picks which imports `import` and computes `pick`, out of three.
fn picks(more: &'static str, body: &'static str) -> Option<u32> {
    let policy = Guest {
        more,
        pick: body,
        ..Guest::default()
    }
    .load();
    let picked = pick(&mut balancer(&policy).attach(None), 1);
    assert_eq!((policy.stats().traps, policy.stats().answers), (0, 0));
    picked
}

#[test]
fn live_figures_of_the_fleet() {
    let fleet = r#"
        (import "waypost:plugin/fleet@0.1.0" "in-flight" (func $in-flight (param i32) (result i32)))
        (import "waypost:plugin/fleet@0.1.0" "latency-us" (func $latency (param i32) (result i32)))
        (import "waypost:plugin/fleet@0.1.0" "fail-timeout" (func $timeout (param i32) (result i64)))
        (import "waypost:plugin/fleet@0.1.0" "in-flight-all" (func $all (param i32)))"#;
    assert_eq!(picks(fleet, "(call $in-flight (i32.const 2))"), Some(2));
    assert_eq!(
        picks(
            fleet,
            "(i32.div_u (call $latency (i32.const 2)) (i32.const 100))"
        ),
        Some(2)
    );
    let tens = "(i32.wrap_i64 (i64.div_u (call $timeout (i32.const 2)) (i64.const 10)))";
    assert_eq!(picks(fleet, tens), Some(2));
    // The list's pointer and length are written to 2048; its third number is that of endpoint 2.
    let all = "(call $all (i32.const 2048)) (if (i32.ne (i32.load (i32.const 2052)) (i32.const 3)) (then unreachable))
               (i32.load offset=8 (i32.load (i32.const 2048)))";
    assert_eq!(picks(fleet, all), Some(2));
}

#[test]
fn a_variable_of_the_request() {
    let request = r#"
        (import "waypost:plugin/request@0.1.0" "variable" (func $variable (param i32 i32 i32)))
        (data (i32.const 512) "arg_usernonsense")"#;
    // some(list) at 2048: tag, pointer, length. The value is the digit 2.
    let known = "(call $variable (i32.const 512) (i32.const 8) (i32.const 2048))
                 (i32.sub (i32.load8_u (i32.load (i32.const 2052))) (i32.const 48))";
    assert_eq!(picks(request, known), Some(2));
    let unknown = "(call $variable (i32.const 520) (i32.const 8) (i32.const 2048)) (i32.load8_u (i32.const 2048))";
    assert_eq!(picks(request, unknown), Some(0), "the tag of none");
}

#[test]
fn headers_and_cookies_of_the_request() {
    let request = r#"
        (import "waypost:plugin/request@0.1.0" "header" (func $header (param i32 i32 i32)))
        (import "waypost:plugin/request@0.1.0" "cookie" (func $cookie (param i32 i32 i32)))
        (data (i32.const 512) "X-Shardshard")"#;
    // A list of two lists at 2048; the first one's bytes are the digit 1.
    let header = "(call $header (i32.const 512) (i32.const 7) (i32.const 2048))
                  (if (i32.ne (i32.load (i32.const 2052)) (i32.const 2)) (then unreachable))
                  (i32.sub (i32.load8_u (i32.load (i32.load (i32.const 2048)))) (i32.const 48))";
    assert_eq!(picks(request, header), Some(1));
    let cookie = "(call $cookie (i32.const 519) (i32.const 5) (i32.const 2048))
                  (i32.sub (i32.load8_u (i32.load (i32.const 2052))) (i32.const 48))";
    assert_eq!(picks(request, cookie), Some(2));
}

#[test]
fn method_path_and_address_of_the_request() {
    let request = r#"
        (import "waypost:plugin/request@0.1.0" "method" (func $method (param i32)))
        (import "waypost:plugin/request@0.1.0" "path" (func $path (param i32)))
        (import "waypost:plugin/request@0.1.0" "query" (func $query (param i32)))
        (import "waypost:plugin/request@0.1.0" "client-address" (func $address (param i32)))"#;
    // Lengths of GET, /path, user=2 and an IPv4 address; the address ends in 7.
    let lengths = "(call $method (i32.const 2048)) (call $path (i32.const 2056)) (call $query (i32.const 2064))
                   (call $address (i32.const 2072))
                   (if (i32.ne (i32.load (i32.const 2052)) (i32.const 3)) (then unreachable))
                   (if (i32.ne (i32.load (i32.const 2060)) (i32.const 5)) (then unreachable))
                   (if (i32.ne (i32.load (i32.const 2068)) (i32.const 6)) (then unreachable))
                   (if (i32.ne (i32.load (i32.const 2076)) (i32.const 4)) (then unreachable))
                   (i32.sub (i32.load8_u offset=3 (i32.load (i32.const 2072))) (i32.const 6))";
    assert_eq!(picks(request, lengths), Some(1));
}

#[test]
fn the_exchange_keeps_a_memo_and_takes_headers_for_the_response() {
    let policy = Guest {
        more: r#"
            (import "waypost:plugin/exchange@0.1.0" "memo" (func $memo (result i64)))
            (import "waypost:plugin/exchange@0.1.0" "set-memo" (func $set-memo (param i64)))
            (import "waypost:plugin/exchange@0.1.0" "add-response-header" (func $add (param i32 i32 i32 i32)))
            (data (i32.const 512) "x-pickyesbad name")"#,
        pick: "(call $set-memo (i64.add (call $memo) (i64.const 1)))
               (call $add (i32.const 512) (i32.const 6) (i32.const 518) (i32.const 3))
               (call $add (i32.const 521) (i32.const 8) (i32.const 518) (i32.const 3))
               (i32.wrap_i64 (call $memo))",
        ..Guest::default()
    }
    .load();
    let request = Rc::new(Request {
        candidates: RefCell::new(vec![0b111]),
        ..Request::default()
    });
    let exchange: Rc<dyn ExchangeContext> = request.clone();
    let mut worker = balancer(&policy).attach(None);
    let mut picked = None;
    let log = logged(|| picked = pick_of(&mut worker, &exchange));
    assert_eq!((picked, request.memo.get()), (Some(1), 1));
    assert_eq!(
        request.added.borrow()[0],
        ("x-pick".to_owned(), b"yes".to_vec())
    );
    assert!(log.contains("response header `bad name` ignored"), "{log}");
}

#[test]
fn a_pick_adds_no_more_headers_than_its_bound() {
    let policy = Guest {
        more: r#"
            (import "waypost:plugin/exchange@0.1.0" "add-response-header" (func $add (param i32 i32 i32 i32)))
            (data (i32.const 512) "x")"#,
        // A name of 1 byte with a value of 1,000, as often as there are steps to `$attempt`.
        pick: "(loop $again
                 (call $add (i32.const 512) (i32.const 1) (i32.const 8192) (i32.const 1000))
                 (local.set $attempt (i32.add (local.get $attempt) (i32.const 1)))
                 (br_if $again (i32.lt_u (local.get $attempt) (i32.const 100))))
               (i32.const 0)",
        ..Guest::default()
    }
    .load();
    let request = Rc::new(Request {
        candidates: RefCell::new(vec![0b111]),
        ..Request::default()
    });
    let exchange: Rc<dyn ExchangeContext> = request.clone();
    let mut worker = balancer(&policy).attach(None);
    let mut added = Vec::new();
    let log = logged(|| {
        for _ in 0..2 {
            assert_eq!(pick_of(&mut worker, &exchange), Some(0));
            added.push(std::mem::take(&mut *request.added.borrow_mut()).len());
        }
    });
    assert_eq!(added, [16, 16], "each `pick` anew");
    let told = "response headers of more than 16384 bytes ignored";
    assert_eq!(log.matches(told).count(), 2, "{log}");
}

#[test]
fn a_variable_is_known_or_it_is_told_what_is_wrong_with_it() {
    let import = r#"
        (import "waypost:plugin/variables@0.1.0" "check" (func $check (param i32 i32 i32)))
        (data (i32.const 512) "hosthots")"#;
    // The tags of two options.
    let tags = "(call $check (i32.const 512) (i32.const 4) (i32.const 2048))
                (call $check (i32.const 516) (i32.const 4) (i32.const 2064))
                (i32.add (i32.load8_u (i32.const 2048))
                         (i32.mul (i32.const 2) (i32.load8_u (i32.const 2064))))";
    assert_eq!(picks(import, tags), Some(2));
}

#[test]
fn candidates_beyond_the_first_64() {
    let policy = Guest {
        more: r#"(import "waypost:plugin/fleet@0.1.0" "candidates" (func $candidates (param i32) (result i64)))"#,
        pick: "(i32.add (i32.const 64) (i32.wrap_i64 (i64.ctz (call $candidates (i32.const 1)))))",
        ..Guest::default()
    }
    .load();
    let fallback = runtime().stock("round_robin").unwrap().unwrap();
    let balancer = Balancer::new(
        policy.clone(),
        &json!({}),
        fallback,
        Arc::new(Endpoints(100)),
        PolicyContext::default(),
    )
    .unwrap();
    let exchange: Rc<dyn ExchangeContext> = Rc::new(Request {
        candidates: RefCell::new(vec![0, 1 << 35]),
        ..Request::default()
    });
    assert_eq!(
        pick_of(&mut Arc::new(balancer).attach(None), &exchange),
        Some(99)
    );
    assert_eq!(policy.stats().answers, 0);
}

#[test]
fn log_lines_carry_the_plugins_name_and_are_bounded() {
    let policy = Guest {
        more: r#"(import "waypost:plugin/log@0.1.0" "write" (func $write (param i32 i32 i32)))
                 (data (i32.const 512) "hello\nworld")"#,
        pick: "(local $n i32)
               (call $write (i32.const 1) (i32.const 512) (i32.const 11))
               (call $write (i32.const 2) (i32.const 8192) (i32.const 2000))
               (loop $again
                 (call $write (i32.const 2) (i32.const 512) (i32.const 5))
                 (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 500))))
               (i32.const 0)",
        ..Guest::default()
    }
    .load();
    let mut worker = balancer(&policy).attach(None);
    let log = logged(|| assert_eq!(pick(&mut worker, 1), Some(0)));
    assert!(log.lines().next().unwrap().contains("WARN"), "{log}");
    assert!(
        log.lines()
            .next()
            .unwrap()
            .contains(r#"hello\nworld plugin="guest""#),
        "{log}"
    );
    assert_eq!(log.lines().count(), 100);
    let zeroes = log.lines().find(|line| line.contains(r"\u{0}")).unwrap();
    assert!(zeroes.contains("...") && zeroes.len() < 1200, "{zeroes}");
}
