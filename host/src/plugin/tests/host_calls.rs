//! What plugins learn from the host.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::plugin::{
    Balancer, BalancerParts, ExchangeAtHand, PolicyContext, UpstreamTraits, Verdict, WorkerHook,
};

use super::guests::{Guest, Is, round_robin};
use super::peers::{
    Endpoints, Request, about, attempt, balancer, exchange, exchange_of, hook, logged, over, parts,
    pick, pick_of,
};

/// Endpoint that a policy picks which imports `import` and computes `pick`, out of three.
fn picks(more: &'static str, body: &'static str) -> Option<u32> {
    let policy = Guest {
        more,
        is: Is::Policy(body),
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
        (import "waypost:plugin/fleet@0.2.0" "in-flight" (func $in-flight (param i32) (result i32)))
        (import "waypost:plugin/fleet@0.2.0" "latency-us" (func $latency (param i32) (result i32)))
        (import "waypost:plugin/fleet@0.2.0" "all-in-flight" (func $all (param i32)))
        (import "waypost:plugin/fleet@0.2.0" "all-latency-us" (func $latencies (param i32)))
        (import "waypost:plugin/fleet@0.2.0" "health" (func $health (param i32) (result i32)))
        (import "waypost:plugin/fleet@0.2.0" "all-health" (func $healths (param i32)))"#;
    assert_eq!(picks(fleet, "(call $in-flight (i32.const 2))"), Some(2));
    assert_eq!(
        picks(
            fleet,
            "(i32.div_u (call $latency (i32.const 2)) (i32.const 100))"
        ),
        Some(2)
    );
    // The list's pointer and length are written to 2048; its third number is that of endpoint 2.
    let all = "(call $all (i32.const 2048)) (if (i32.ne (i32.load (i32.const 2052)) (i32.const 3)) (then unreachable))
               (i32.load offset=8 (i32.load (i32.const 2048)))";
    assert_eq!(picks(fleet, all), Some(2));
    let latencies = "(call $latencies (i32.const 2048))
                     (i32.div_u (i32.load offset=8 (i32.load (i32.const 2048))) (i32.const 100))";
    assert_eq!(picks(fleet, latencies), Some(2));
    let health = "(i32.sub (i32.const 100) (call $health (i32.const 2)))";
    assert_eq!(picks(fleet, health), Some(2));
    let healths = "(call $healths (i32.const 2048))
                   (i32.sub (i32.const 100) (i32.load offset=8 (i32.load (i32.const 2048))))";
    assert_eq!(picks(fleet, healths), Some(2));
}

#[test]
fn what_the_configuration_says_of_an_endpoint() {
    let servers = r#"
        (import "waypost:plugin/fleet@0.2.0" "name" (func $name (param i32 i32)))
        (import "waypost:plugin/fleet@0.2.0" "is-down" (func $down (param i32) (result i32)))
        (import "waypost:plugin/fleet@0.2.0" "label" (func $label (param i32 i32 i32 i32)))
        (import "waypost:plugin/nginx@0.2.0" "max-fails" (func $fails (param i32) (result i32)))
        (import "waypost:plugin/nginx@0.2.0" "fail-timeout" (func $timeout (param i32) (result i64)))
        (import "waypost:plugin/nginx@0.2.0" "route" (func $route (param i32 i32)))
        (data (i32.const 512) "zone")"#;
    // The length of `app-1:80`, less six.
    let name = "(call $name (i32.const 1) (i32.const 2048))
                (i32.sub (i32.load (i32.const 2052)) (i32.const 6))";
    assert_eq!(picks(servers, name), Some(2));
    let down = "(i32.add (call $down (i32.const 2)) (call $down (i32.const 1)))";
    assert_eq!(picks(servers, down), Some(1));
    // The value is `a`, and the first endpoint has none.
    let label = "(call $label (i32.const 1) (i32.const 512) (i32.const 4) (i32.const 2048))
                 (call $label (i32.const 0) (i32.const 512) (i32.const 4) (i32.const 2064))
                 (if (i32.ne (i32.load8_u (i32.load (i32.const 2052))) (i32.const 97)) (then unreachable))
                 (i32.sub (i32.load8_u (i32.const 2048)) (i32.load8_u (i32.const 2064)))";
    assert_eq!(picks(servers, label), Some(1));
    assert_eq!(picks(servers, "(call $fails (i32.const 2))"), Some(2));
    let tens = "(i32.wrap_i64 (i64.div_u (call $timeout (i32.const 2)) (i64.const 10)))";
    assert_eq!(picks(servers, tens), Some(2));
    // The length of `one`, less two.
    let route = "(call $route (i32.const 1) (i32.const 2048))
                 (i32.sub (i32.load (i32.const 2052)) (i32.const 2))";
    assert_eq!(picks(servers, route), Some(1));
    // Nothing is known of an endpoint that does not exist.
    let nothing = "(call $name (i32.const 3) (i32.const 2048))
                   (call $label (i32.const 3) (i32.const 512) (i32.const 4) (i32.const 2064))
                   (i32.add (i32.add (call $fails (i32.const 3)) (call $down (i32.const -1)))
                            (i32.add (i32.load (i32.const 2052)) (i32.load8_u (i32.const 2064))))";
    assert_eq!(picks(servers, nothing), Some(0));
}

#[test]
fn a_variable_of_the_request() {
    let request = r#"
        (import "waypost:plugin/variables@0.2.0" "variable" (func $variable (param i32 i32 i32)))
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
        (import "waypost:plugin/request@0.2.0" "header" (func $header (param i32 i32 i32)))
        (import "waypost:plugin/request@0.2.0" "header-all" (func $all (param i32 i32 i32)))
        (import "waypost:plugin/request@0.2.0" "headers" (func $headers (param i32)))
        (import "waypost:plugin/request@0.2.0" "cookie" (func $cookie (param i32 i32 i32)))
        (data (i32.const 512) "X-Shardshard")"#;
    // some(list) at 2048, whose bytes are the digit 1.
    let header = "(call $header (i32.const 512) (i32.const 7) (i32.const 2048))
                  (if (i32.ne (i32.load8_u (i32.const 2048)) (i32.const 1)) (then unreachable))
                  (i32.sub (i32.load8_u (i32.load (i32.const 2052))) (i32.const 48))";
    assert_eq!(picks(request, header), Some(1));
    let none = "(call $header (i32.const 512) (i32.const 6) (i32.const 2048))
                (i32.load8_u (i32.const 2048))";
    assert_eq!(picks(request, none), Some(0), "the tag of none");
    // A list of two lists at 2048; the first one's bytes are the digit 1.
    let all = "(call $all (i32.const 512) (i32.const 7) (i32.const 2048))
                  (if (i32.ne (i32.load (i32.const 2052)) (i32.const 2)) (then unreachable))
                  (i32.sub (i32.load8_u (i32.load (i32.load (i32.const 2048)))) (i32.const 48))";
    assert_eq!(picks(request, all), Some(1));
    // Two pairs; the length of the second one's value is that of `ignored`.
    let headers = "(call $headers (i32.const 2048))
                   (i32.sub (i32.add (i32.load (i32.const 2052))
                                     (i32.load offset=28 (i32.load (i32.const 2048))))
                            (i32.const 7))";
    assert_eq!(picks(request, headers), Some(2));
    let cookie = "(call $cookie (i32.const 519) (i32.const 5) (i32.const 2048))
                  (i32.sub (i32.load8_u (i32.load (i32.const 2052))) (i32.const 48))";
    assert_eq!(picks(request, cookie), Some(2));
}

#[test]
fn method_path_query_and_address_of_the_request() {
    let request = r#"
        (import "waypost:plugin/request@0.2.0" "method" (func $method (param i32)))
        (import "waypost:plugin/request@0.2.0" "path" (func $path (param i32)))
        (import "waypost:plugin/request@0.2.0" "query" (func $query (param i32)))
        (import "waypost:plugin/connection@0.2.0" "client-address" (func $address (param i32)))"#;
    // Lengths of GET, /path and user=2; some(ipv4), which ends in 7.
    let lengths = "(call $method (i32.const 2048)) (call $path (i32.const 2056)) (call $query (i32.const 2064))
                   (call $address (i32.const 2072))
                   (if (i32.ne (i32.load (i32.const 2052)) (i32.const 3)) (then unreachable))
                   (if (i32.ne (i32.load (i32.const 2060)) (i32.const 5)) (then unreachable))
                   (if (i32.ne (i32.load (i32.const 2068)) (i32.const 6)) (then unreachable))
                   (if (i32.ne (i32.load8_u (i32.const 2072)) (i32.const 1)) (then unreachable))
                   (if (i32.ne (i32.load8_u (i32.const 2074)) (i32.const 0)) (then unreachable))
                   (i32.sub (i32.load8_u (i32.const 2079)) (i32.const 6))";
    assert_eq!(picks(request, lengths), Some(1));
}

#[test]
fn the_exchange_keeps_a_memo_and_takes_headers_for_the_response() {
    let policy = Guest {
        more: r#"
            (import "waypost:plugin/attempt@0.2.0" "memo" (func $memo (result i64)))
            (import "waypost:plugin/attempt@0.2.0" "set-memo" (func $set-memo (param i64)))
            (import "waypost:plugin/attempt@0.2.0" "add-response-header" (func $add (param i32 i32 i32 i32)))
            (data (i32.const 512) "x-pickyesbad name")"#,
        is: Is::Policy("(call $set-memo (i64.add (call $memo) (i64.const 1)))
               (call $add (i32.const 512) (i32.const 6) (i32.const 518) (i32.const 3))
               (call $add (i32.const 521) (i32.const 8) (i32.const 518) (i32.const 3))
               (i32.wrap_i64 (call $memo))"),
        ..Guest::default()
    }
    .load();
    let request = Rc::new(Request {
        candidates: RefCell::new(vec![0b111]),
        ..Request::default()
    });
    let exchange: ExchangeAtHand = request.clone();
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
fn a_hook_neither_adds_headers_as_a_policy_does_nor_leaves_it_a_memo() {
    let plugin = Guest {
        more: r#"
            (import "waypost:plugin/attempt@0.2.0" "set-memo" (func $set-memo (param i64)))
            (import "waypost:plugin/attempt@0.2.0" "add-response-header" (func $add (param i32 i32 i32 i32)))
            (import "waypost:plugin/fleet@0.2.0" "candidates" (func $candidates (param i32) (result i64)))
            (data (i32.const 512) "x-pick")"#,
        ..Guest::asked(
            "(call $set-memo (i64.const 7))
             (call $add (i32.const 512) (i32.const 6) (i32.const 512) (i32.const 6))
             (i32.wrap_i64 (call $candidates (i32.const 0)))",
        )
    }
    .load();
    let request = Rc::new(Request {
        candidates: RefCell::new(vec![0b10]),
        ..Request::default()
    });
    let exchange: ExchangeAtHand = request.clone();
    let worker = WorkerHook::attach(&hook(&plugin), None);
    let log = logged(|| {
        let asked = worker.on_request(&exchange, &about(1)).unwrap();
        assert_eq!(asked.verdict, Verdict::Proceed, "there are no candidates");
    });
    assert_eq!((request.memo.get(), request.added.borrow().len()), (0, 0));
    assert!(
        log.contains("response headers are added in `pick`"),
        "{log}"
    );
}

#[test]
fn a_policy_that_refuses_an_attempt_says_with_which_status() {
    let policy = Guest {
        more: r#"(import "waypost:plugin/attempt@0.2.0" "set-refusal-status" (func $status (param i32)))"#,
        // The first attempt says which, the second one nothing, and the third what is none.
        ..Guest::picks(
            "(if (i32.eqz (local.get $attempt)) (then (call $status (i32.const 429))))
             (if (i32.eq (local.get $attempt) (i32.const 2)) (then (call $status (i32.const 200))))
             (i32.const -2)",
        )
    }
    .load();
    let mut worker = balancer(&policy).attach(None);
    let statuses = [0, 1, 2].map(|number| {
        let mut attempt = attempt(1);
        attempt.attempt = number;
        assert!(worker.pick(&exchange(0b111), &attempt).is_none());
        worker.refusal()
    });
    assert_eq!(statuses, [Some(429), Some(503), Some(503)]);
    assert_eq!(policy.stats().answers, 0, "it is an answer, and no fault");
}

#[test]
fn a_pick_adds_no_more_headers_than_its_bound() {
    let policy = Guest {
        more: r#"
            (import "waypost:plugin/attempt@0.2.0" "add-response-header" (func $add (param i32 i32 i32 i32)))
            (data (i32.const 512) "x")"#,
        // A name of 1 byte with a value of 1,000, as often as there are steps to `$attempt`.
        is: Is::Policy("(loop $again
                 (call $add (i32.const 512) (i32.const 1) (i32.const 8192) (i32.const 1000))
                 (local.set $attempt (i32.add (local.get $attempt) (i32.const 1)))
                 (br_if $again (i32.lt_u (local.get $attempt) (i32.const 100))))
               (i32.const 0)"),
        ..Guest::default()
    }
    .load();
    let request = Rc::new(Request {
        candidates: RefCell::new(vec![0b111]),
        ..Request::default()
    });
    let exchange: ExchangeAtHand = request.clone();
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
        (import "waypost:plugin/nginx@0.2.0" "check-variable" (func $check (param i32 i32 i32)))
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
        more: r#"(import "waypost:plugin/fleet@0.2.0" "candidates" (func $candidates (param i32) (result i64)))"#,
        is: Is::Policy("(i32.add (i32.const 64) (i32.wrap_i64 (i64.ctz (call $candidates (i32.const 1)))))"),
        ..Guest::default()
    }
    .load();
    let parts = BalancerParts {
        fallback: Some(round_robin()),
        ..parts(&policy)
    };
    let mut worker = over(100, parts).unwrap().attach(None);
    let exchange = exchange_of(vec![0, 1 << 35]);
    assert_eq!(pick_of(&mut worker, &exchange), Some(99));
    assert_eq!(policy.stats().answers, 0);
}

#[test]
fn all_words_of_candidates_in_one_crossing() {
    let policy = Guest {
        more: r#"(import "waypost:plugin/fleet@0.2.0" "all-candidates" (func $all (param i32)))"#,
        // Two words for 100 endpoints.
        is: Is::Policy(
            "(call $all (i32.const 2048))
             (if (i32.ne (i32.load (i32.const 2052)) (i32.const 2)) (then unreachable))
             (i32.add (i32.const 64)
                      (i32.wrap_i64 (i64.ctz (i64.load offset=8 (i32.load (i32.const 2048))))))",
        ),
        ..Guest::default()
    }
    .load();
    let mut worker = over(100, parts(&policy)).unwrap().attach(None);
    let exchange = exchange_of(vec![1, 1 << 35]);
    assert_eq!(pick_of(&mut worker, &exchange), Some(99));
}

#[test]
fn authority_scheme_and_version_of_the_request() {
    let request = r#"
        (import "waypost:plugin/request@0.2.0" "authority" (func $authority (param i32)))
        (import "waypost:plugin/request@0.2.0" "version" (func $version (result i32)))"#;
    let length = "(call $authority (i32.const 2048))
                  (i32.sub (i32.load (i32.const 2052)) (i32.const 15))";
    assert_eq!(picks(request, length), Some(2), "of `shop.example:8080`");
    assert_eq!(picks(request, "(call $version)"), Some(2), "`http2`");
}

#[test]
fn attributes_of_the_exchange_and_notes_on_it() {
    let policy = Guest {
        more: r#"
            (import "waypost:plugin/exchange@0.2.0" "attribute" (func $attribute (param i32 i32 i32)))
            (import "waypost:plugin/exchange@0.2.0" "note" (func $note (param i32 i32)))
            (import "waypost:plugin/exchange@0.2.0" "is-note-wanted" (func $wanted (result i32)))
            (data (i32.const 512) "tenant")"#,
        is: Is::Policy(
            "(call $attribute (i32.const 512) (i32.const 6) (i32.const 2048))
             (call $note (i32.load (i32.const 2052)) (i32.load (i32.const 2056)))
             (call $note (i32.const 8192) (i32.const 2000))
             (i32.add (call $wanted) (i32.load8_u (i32.const 2048)))",
        ),
        ..Guest::default()
    }
    .load();
    let ask = |ignores_notes| {
        let request = Rc::new(Request {
            candidates: RefCell::new(vec![0b111]),
            ignores_notes,
            ..Request::default()
        });
        let exchange: ExchangeAtHand = request.clone();
        let picked = pick_of(&mut balancer(&policy).attach(None), &exchange);
        (picked, request.notes.take())
    };
    let (picked, notes) = ask(false);
    assert_eq!(
        (picked, &*notes[0], notes[1].len()),
        (Some(2), "acme", 1024)
    );
    assert_eq!(ask(true), (Some(1), Vec::new()));
}

#[test]
fn log_lines_carry_the_plugins_name_and_are_bounded() {
    let policy = Guest {
        more: r#"(import "waypost:plugin/log@0.2.0" "write" (func $write (param i32 i32 i32)))
                 (data (i32.const 512) "hello\nworld")"#,
        is: Is::Policy("(local $n i32)
               (call $write (i32.const 1) (i32.const 512) (i32.const 11))
               (call $write (i32.const 2) (i32.const 8192) (i32.const 2000))
               (loop $again
                 (call $write (i32.const 2) (i32.const 512) (i32.const 5))
                 (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 500))))
               (i32.const 0)"),
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

#[test]
fn a_line_about_an_exchange_tells_which() {
    let policy = Guest {
        more: r#"(import "waypost:plugin/log@0.2.0" "write-exchange" (func $write (param i32 i32 i32)))
                 (data (i32.const 512) "no tenant")"#,
        is: Is::Policy("(call $write (i32.const 1) (i32.const 512) (i32.const 9)) (i32.const 0)"),
        ..Guest::default()
    }
    .load();
    let mut worker = balancer(&policy).attach(None);
    let log = logged(|| assert_eq!(pick(&mut worker, 1), Some(0)));
    assert!(log.contains("no tenant, client: 192.0.2.7"), "{log}");
}

#[test]
fn what_a_policy_is_configured_for() {
    let upstream = r#"
        (import "waypost:plugin/upstream@0.2.0" "name" (func $name (param i32)))
        (import "waypost:plugin/upstream@0.2.0" "has-backups" (func $backups (result i32)))
        (import "waypost:plugin/upstream@0.2.0" "carries-streams" (func $streams (result i32)))
        (import "waypost:plugin/clock@0.2.0" "wall-ms" (func $wall (result i64)))"#;
    let policy = Guest {
        more: upstream,
        is: Is::Policy(
            "(if (i64.lt_u (call $wall) (i64.const 1700000000000)) (then unreachable))
             (call $name (i32.const 2048))
             (i32.sub (i32.add (i32.load (i32.const 2052))
                               (i32.mul (i32.const 10) (i32.add (call $backups) (call $streams))))
                      (i32.const 22))",
        ),
        ..Guest::default()
    }
    .load();
    let context = PolicyContext {
        upstream: "shop".to_owned(),
        traits: UpstreamTraits {
            has_backups: true,
            carries_requests: false,
            carries_streams: true,
        },
        ..PolicyContext::default()
    };
    let fleet = Arc::new(Endpoints(3));
    let balancer = Balancer::new(parts(&policy), fleet, &context).unwrap();
    // The length of `shop`, and ten for each of both.
    assert_eq!(pick(&mut Arc::new(balancer).attach(None), 1), Some(2));
}
