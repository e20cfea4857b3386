//! `failed` and `done` reach the instances that they concern.

use std::rc::Rc;

use crate::plugin::{
    AttemptFacts, Ending, ExchangeAtHand, FailureKind, Outcome, Picked, Plugin, WorkerBalancer,
};

use super::guests::{Guest, Is};
use super::peers::{Request, attempt, balancer, exchange, pick, picked, with_fallback};

const OUTCOME: Outcome = Outcome {
    ending: Ending::PassedOver,
    status: 404,
    connect_us: 10,
    header_us: 20,
    total_us: 30,
};

/// Remembers the lease that it picked last (no opinion on lease 0, a trap on 99), and traps if
/// `done` names another one or anything but [`OUTCOME`] at endpoint 2, or if the response at hand
/// is not there.
fn observer() -> Plugin {
    Guest {
        more: r#"
            (import "waypost:plugin/response@0.2.0" "status" (func $status (result i32)))
            (global $last (mut i64) (i64.const 0))
            (func (export "waypost:plugin/observer@0.2.0#done")
                (param $lease i64) (param $index i32)
                (param $ending i32) (param $status i32) (param $connect i32) (param $header i32) (param $total i32)
              (if (i64.ne (local.get $lease) (global.get $last)) (then unreachable))
              (if (i32.ne (local.get $index) (i32.const 2)) (then unreachable))
              (if (i32.ne (local.get $ending) (i32.const 2)) (then unreachable))
              (if (i32.ne (local.get $status) (i32.const 404)) (then unreachable))
              (if (i32.ne (local.get $connect) (i32.const 10)) (then unreachable))
              (if (i32.ne (local.get $header) (i32.const 20)) (then unreachable))
              (if (i32.ne (local.get $total) (i32.const 30)) (then unreachable))
              (if (i32.ne (call $status) (i32.const 204)) (then unreachable)))"#,
        is: Is::Policy("(if (i64.eqz (local.get $lease)) (then (return (i32.const -1))))
               (if (i64.eq (local.get $lease) (i64.const 99)) (then unreachable))
               (global.set $last (local.get $lease))
               (if (call $status) (then unreachable))
               (i32.const 2)"),
        worlds: &["with-observer"],
        ..Guest::default()
    }
    .load()
}

fn done(worker: &mut WorkerBalancer, picked: Option<Picked>) {
    let picked = picked.expect("there was a candidate");
    worker.done(&exchange(0b111), picked, &OUTCOME);
}

#[test]
fn a_policy_hears_how_its_own_pick_ended() {
    let policy = observer();
    let mut worker = balancer(&policy).attach(None);
    let answer = picked(&mut worker, 7);
    assert!(
        answer
            .as_ref()
            .is_some_and(|picked| picked.index == 2 && picked.is_observed())
    );
    done(&mut worker, answer);
    let stats = policy.stats();
    assert_eq!((stats.calls, stats.traps), (2, 0), "one pick and one done");
}

#[test]
fn a_policy_does_not_hear_of_what_the_fallback_picked() {
    let policy = observer();
    let mut worker = balancer(&policy).attach(None);
    let answer = picked(&mut worker, 0);
    done(&mut worker, answer);
    assert_eq!(policy.stats().calls, 1, "the pick without an opinion");
}

#[test]
fn a_fallback_hears_of_what_it_picked() {
    let policy = Guest::picks("(i32.const -1)").load();
    let fallback = observer();
    let mut worker = with_fallback(&policy, fallback.clone()).attach(None);
    let answer = picked(&mut worker, 7);
    done(&mut worker, answer);
    let stats = fallback.stats();
    assert_eq!((stats.calls, stats.traps), (2, 0));
}

#[test]
fn an_instance_does_not_hear_of_the_leases_of_the_one_before_it() {
    let policy = observer();
    let mut worker = balancer(&policy).attach(None);
    let answer = picked(&mut worker, 7);
    pick(&mut worker, 99);
    // Until the next instance serves.
    while pick(&mut worker, 8) != Some(2) || policy.stats().calls < 3 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let before = policy.stats();
    done(&mut worker, answer);
    assert_eq!(policy.stats(), before);
}

#[test]
fn endings_are_not_kept_for_policies_that_do_not_observe() {
    let mut worker = balancer(&Guest::default().load()).attach(None);
    assert!(picked(&mut worker, 1).is_some_and(|picked| !picked.is_observed()));
}

#[test]
fn failures_reach_a_policy_whichever_policy_picked() {
    let policy = Guest {
        more: r#"(global $failed (mut i32) (i32.const -1))
                 (func (export "waypost:plugin/failures@0.2.0#failed") (param i32) (global.set $failed (local.get 0)))"#,
        is: Is::Policy("(global.get $failed)"),
        worlds: &["with-failures"],
        ..Guest::default()
    }
    .load();
    let mut worker = balancer(&policy).attach(None);
    let _fallback_picked = pick(&mut worker, 1);
    worker.failed(2);
    assert_eq!(pick(&mut worker, 2), Some(2));
}

/// A policy that traps unless `done` is told of a reset after 7 and 300 bytes, and `pick` of
/// nothing.
fn reader_of_facts() -> Guest {
    Guest {
        more: r#"
            (import "waypost:plugin/attempt@0.2.0" "failure" (func $failure (result i32)))
            (import "waypost:plugin/attempt@0.2.0" "bytes-sent" (func $sent (result i64)))
            (import "waypost:plugin/attempt@0.2.0" "bytes-received" (func $received (result i64)))
            (func (export "waypost:plugin/observer@0.2.0#done")
                (param i64 i32 i32 i32 i32 i32 i32)
              (if (i32.ne (call $failure) (i32.const 5)) (then unreachable))
              (if (i64.ne (call $sent) (i64.const 7)) (then unreachable))
              (if (i64.ne (call $received) (i64.const 300)) (then unreachable)))"#,
        is: Is::Policy(
            "(if (call $failure) (then unreachable))
             (if (i64.ne (i64.or (call $sent) (call $received)) (i64.const 0)) (then unreachable))
             (i32.const 2)",
        ),
        worlds: &["with-observer"],
        ..Guest::default()
    }
}

#[test]
fn what_an_attempt_came_to_is_told_in_done_and_nowhere_else() {
    let policy = reader_of_facts().load();
    let exchange: ExchangeAtHand = Rc::new(Request {
        candidates: vec![0b111].into(),
        facts: AttemptFacts {
            failure: FailureKind::Reset,
            bytes_sent: 7,
            bytes_received: 300,
        },
        ..Request::default()
    });
    let mut worker = balancer(&policy).attach(None);
    for lease in 1..3 {
        let picked = worker.pick(&exchange, &attempt(lease)).unwrap();
        assert_eq!(picked.index, 2);
        worker.done(&exchange, picked, &OUTCOME);
    }
    let stats = policy.stats();
    assert_eq!((stats.calls, stats.traps), (4, 0));
}

#[test]
fn outside_of_done_there_is_no_response() {
    let policy = Guest {
        more: r#"(import "waypost:plugin/response@0.2.0" "status" (func $status (result i32)))
                 (import "waypost:plugin/response@0.2.0" "is-local" (func $local (result i32)))
                 (import "waypost:plugin/response@0.2.0" "header" (func $header (param i32 i32 i32)))"#,
        is: Is::Policy(
            "(call $header (i32.const 0) (i32.const 0) (i32.const 2048))
             (i32.add (i32.load8_u (i32.const 2048)) (i32.add (call $status) (call $local)))",
        ),
        ..Guest::default()
    }
    .load();
    let picked = pick(&mut balancer(&policy).attach(None), 1);
    assert_eq!((picked, policy.stats().answers), (Some(0), 0));
}
