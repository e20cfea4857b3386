//! Hooks that want an instance per key: all calls about one key go to the same instance, and tell
//! the key of the exchange that they are about.

use std::rc::Rc;

use serde_json::json;

use crate::plugin::{Checked, ConfigureError, SharedHook, WorkerHook};

use super::guests::{Guest, PER_USER};
use super::peers::{ENDED, about, attached, exchange, hook, of_user};

/// Counts what its instance was asked, and tells so in an attribute.
fn counting() -> Guest {
    Guest {
        more: r#"
            (import "waypost:plugin/changes@0.2.0" "set-attribute"
              (func $set (param i32 i32 i32 i32) (result i32)))
            (data (i32.const 512) "count")"#,
        configured: PER_USER,
        ..Guest::asked(
            "(i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 1)))
             (drop (call $set (i32.const 512) (i32.const 5) (i32.const 2048) (i32.const 4)))
             (i32.const 0)",
        )
    }
}

fn count(worker: &WorkerHook, user: &str) -> u32 {
    let asked = worker.on_request(&of_user(user), &about(1)).unwrap();
    let changes = asked.changes.unwrap();
    u32::from_le_bytes(
        changes
            .attributes
            .get(b"count")
            .unwrap()
            .try_into()
            .unwrap(),
    )
}

fn workers(hook: &std::sync::Arc<SharedHook>, number: usize) -> Vec<Rc<WorkerHook>> {
    (0..number)
        .map(|_| WorkerHook::attach(hook, None))
        .collect()
}

#[test]
fn a_key_meets_the_same_instance_whichever_worker_asks() {
    let hook = hook(&counting().load());
    let workers = workers(&hook, 2);
    for user in 0..200 {
        let user = format!("user {user}");
        let counts = [0, 1, 0].map(|worker| count(&workers[worker], &user));
        // With no other call in between, each count follows the one before it.
        assert_eq!(counts, [0, 1, 2].map(|more| counts[0] + more), "{user}");
    }
}

#[test]
fn keys_are_spread_over_all_of_64_instances() {
    let plugin = counting().load();
    let hook = hook(&plugin);
    assert_eq!(plugin.cost().instances, 64);
    let worker = &workers(&hook, 1)[0];
    // The first call of an instance is the one that counts 1. Of 2,000 keys it is one in 10^12
    // tables that leaves an instance without any.
    let first = (0..2000).filter(|user| count(worker, &format!("user {user}")) == 1);
    assert_eq!(first.count(), 64);
}

/// Traps unless the key is one letter, that of the exchange's number, in each phase.
fn exact() -> Guest {
    const SAME: &str = "(call $key (i32.const 2048))
        (if (i32.ne (i32.load (i32.const 2052)) (i32.const 1)) (then unreachable))
        (if (i64.ne (i64.load8_u (i32.load (i32.const 2048))) (local.get 0)) (then unreachable))";
    let more = format!(
        r#"(import "waypost:plugin/exchange@0.2.0" "key" (func $key (param i32)))
           (import "waypost:plugin/checks@0.2.0" "verify-password" (func $verify (param i32 i32 i32 i32)))
           (func (export "waypost:plugin/on-check@0.2.0#on-check")
             (param i64 i32 i64 i32) (result i32) {SAME} (i32.const 0))
           (func (export "waypost:plugin/on-response@0.2.0#on-response") (param i64 i32 i64) {SAME})
           (func (export "waypost:plugin/on-end@0.2.0#on-end")
             (param i64 i32 i64 i32 i32 i64 i64 i64) {SAME})"#
    );
    let asked = format!(
        "{SAME}
         (call $verify (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
         (i32.const 3)"
    );
    Guest {
        more: more.leak(),
        configured: PER_USER,
        worlds: &["with-on-check", "with-on-response", "with-on-end"],
        ..Guest::asked(asked.leak())
    }
}

#[test]
fn the_key_is_that_of_the_exchange_in_every_phase_while_workers_race() {
    const WORKERS: usize = 4;
    const ROUNDS: usize = 20;
    let plugin = exact().load();
    let hook = hook(&plugin);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let worker = WorkerHook::attach(&hook, None);
                for _ in 0..ROUNDS {
                    // All of them are under way at the same time.
                    let letters = b'a'..=b'z';
                    let open: Vec<_> = letters
                        .map(|letter| {
                            let exchange = of_user(&char::from(letter).to_string());
                            let call = about(letter.into());
                            let asked = worker.on_request(&exchange, &call);
                            (exchange, call, asked.unwrap().ran)
                        })
                        .collect();
                    for (exchange, call, ran) in &open {
                        assert!(
                            worker
                                .on_check(
                                    exchange,
                                    call,
                                    ran,
                                    Checked {
                                        passed: true,
                                        behind_body: false
                                    }
                                )
                                .is_some()
                        );
                        assert!(worker.on_response(exchange, call, ran).is_some());
                    }
                    for (exchange, call, ran) in open {
                        worker.on_end(&exchange, &call, ran, &ENDED);
                    }
                }
            });
        }
    });
    let stats = plugin.stats();
    let calls = (WORKERS * ROUNDS * 26 * 4) as u64;
    assert_eq!((stats.calls, stats.traps), (calls, 0));
}

#[test]
fn without_a_key_it_is_empty() {
    let plugin = Guest {
        more: r#"(import "waypost:plugin/exchange@0.2.0" "key" (func $key (param i32)))"#,
        ..Guest::asked(
            "(call $key (i32.const 2048)) (i32.mul (i32.const 2) (i32.load (i32.const 2052)))",
        )
    }
    .load();
    let worker = WorkerHook::attach(&hook(&plugin), None);
    assert!(worker.on_request(&exchange(0), &about(1)).is_some());
}

#[test]
fn a_key_that_cannot_be_read_is_refused() {
    let plugin = Guest {
        // The text is at 1,056, 5 bytes.
        configured: concat!(
            r"\00\00\00\00\02\00\00\00\20\04\00\00\05\00\00\00",
            r"\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00$what"
        ),
        ..Guest::asked("(i32.const 0)")
    }
    .load();
    let error = attached(&plugin, &json!({}), &[]).map(|_| ()).unwrap_err();
    assert!(matches!(error, ConfigureError::Refused { .. }), "{error:?}");
    assert!(
        error.to_string().contains("`key`: ") && error.to_string().contains("what"),
        "{error}"
    );
}
