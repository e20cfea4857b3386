//! A hook hears how each exchange ended that it was asked about: once, and in the instance that was
//! asked or the one that has taken over what that one knew.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::config::model::PluginLimits;
use crate::plugin::{
    Asked, ExchangeAtHand, ExchangeSummary, HookCall, Plugin, PluginOptions, Verdict, WorkerHook,
};

use super::guests::{Guest, Is, PER_USER, PROCESS, WORKER, options};
use super::peers::{ENDED, Gate, Request, about, exchange, hook, logged};

/// Counts what it was asked and what has ended, in its memory and as counters; its state is both.
/// An attribute of each request tells both. Traps for exchange 99, and in `on-end` if the summary
/// is another one than [`ENDED`].
const COUNTING: &str = r#"
    (import "waypost:plugin/changes@0.2.0" "set-attribute"
      (func $set (param i32 i32 i32 i32) (result i32)))
    (import "waypost:plugin/metrics@0.2.0" "counter" (func $counter (param i32 i32) (result i32)))
    (import "waypost:plugin/metrics@0.2.0" "add" (func $add (param i32 i64)))
    (data (i32.const 512) "askedended")
    (global $asked-counter (mut i32) (i32.const 0))
    (global $ended-counter (mut i32) (i32.const 0))
    (func $one-more (param $at i32)
      (i32.store8 (local.get $at) (i32.add (i32.load8_u (local.get $at)) (i32.const 1))))
    (func (export "waypost:plugin/on-end@0.2.0#on-end")
      (param $exchange i64) (param $place i32) (param $now i64)
      (param $status i32) (param $complete i32) (param $duration i64) (param $sent i64)
      (param $received i64)
      (if (i32.ne (local.get $status) (i32.const 200)) (then unreachable))
      (if (i32.ne (local.get $complete) (i32.const 1)) (then unreachable))
      (if (i64.ne (local.get $duration) (i64.const 30)) (then unreachable))
      (if (i64.ne (local.get $sent) (i64.const 20)) (then unreachable))
      (if (i64.ne (local.get $received) (i64.const 10)) (then unreachable))
      (call $one-more (i32.const 2049))
      (call $add (global.get $ended-counter) (i64.const 1)))
    ;; The state: its address and length, and the answer of `import-state`, an `ok`.
    (data (i32.const 1200) "\00\08\00\00\02\00\00\00")
    (data (i32.const 1216) "\00")
    (func (export "waypost:plugin/keeper@0.2.0#export-state") (result i32) (i32.const 1200))
    (func (export "waypost:plugin/keeper@0.2.0#import-state")
      (param $state i32) (param $length i32) (result i32)
      (i32.store16 (i32.const 2048) (i32.load16_u (local.get $state)))
      (i32.const 1216))"#;

fn counting(configured: &'static str) -> Guest {
    Guest {
        more: COUNTING,
        setup: "(global.set $asked-counter (call $counter (i32.const 512) (i32.const 5)))
                (global.set $ended-counter (call $counter (i32.const 517) (i32.const 5)))",
        configured,
        worlds: &["with-on-end", "with-keeper"],
        ..Guest::asked(
            "(if (i64.eq (local.get $exchange) (i64.const 99)) (then unreachable))
             (call $add (global.get $asked-counter) (i64.const 1))
             (call $one-more (i32.const 2048))
             (drop (call $set (i32.const 512) (i32.const 5) (i32.const 2048) (i32.const 2)))
             (i32.const 0)",
        )
    }
}

/// How many requests and ends the plugin has counted, all instances together.
fn counted(plugin: &Plugin) -> (u64, u64) {
    let counters = plugin.own_counters();
    assert_eq!((&*counters[0].0, &*counters[1].0), ("asked", "ended"));
    (counters[0].1, counters[1].1)
}

/// How many requests and ends the instance that was asked knows.
fn known(asked: &Asked) -> (u8, u8) {
    let changes = asked.changes.as_ref().unwrap();
    let attribute = changes.attributes.get(b"asked").unwrap();
    (attribute[0], attribute[1])
}

fn when_back(worker: &WorkerHook) -> Asked {
    loop {
        if let Some(asked) = worker.on_request(&exchange(0), &about(1)) {
            return asked;
        }
        // An instance is made on a thread of its own, which tells nobody.
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn each_request_that_a_hook_answered_has_one_end_and_one_that_it_failed_at_has_none() {
    let plugin = counting(WORKER).load();
    let worker = WorkerHook::attach(&hook(&plugin), None);
    for number in 1..4 {
        let asked = worker.on_request(&exchange(0), &about(number)).unwrap();
        worker.on_end(&exchange(0), &about(number), asked.ran, &ENDED);
        assert_eq!(counted(&plugin), (number, number));
    }
    assert!(worker.on_request(&exchange(0), &about(99)).is_none());
    let asked = when_back(&worker);
    assert_eq!(known(&asked), (1, 0), "another instance");
    worker.on_end(&exchange(0), &about(1), asked.ran, &ENDED);
    assert_eq!(counted(&plugin), (4, 4));
    assert_eq!(plugin.stats().traps, 1, "that of exchange 99");
}

#[test]
fn an_instance_is_not_told_of_the_exchanges_of_the_one_before_it() {
    for configured in [WORKER, PROCESS, PER_USER] {
        let plugin = counting(configured).load();
        let worker = WorkerHook::attach(&hook(&plugin), None);
        let first = worker.on_request(&exchange(0), &about(1)).unwrap();
        let second = worker.on_request(&exchange(0), &about(2)).unwrap();
        assert!(worker.on_request(&exchange(0), &about(99)).is_none());
        // Neither while there is none, nor when the next one is there.
        worker.on_end(&exchange(0), &about(1), first.ran, &ENDED);
        let asked = when_back(&worker);
        worker.on_end(&exchange(0), &about(2), second.ran, &ENDED);
        assert_eq!(counted(&plugin), (3, 0));
        worker.on_end(&exchange(0), &about(1), asked.ran, &ENDED);
        assert_eq!(counted(&plugin), (3, 1));
    }
}

#[test]
fn a_hook_without_on_request_hears_of_every_exchange() {
    let observer = Guest {
        is: Is::Observer,
        ..counting(WORKER)
    };
    let plugin = observer.load();
    let worker = WorkerHook::attach(&hook(&plugin), None);
    for number in 1..4 {
        let asked = worker.on_request(&exchange(0), &about(number)).unwrap();
        assert_eq!(asked.verdict, Verdict::Proceed);
        worker.on_end(&exchange(0), &about(number), asked.ran, &ENDED);
    }
    assert_eq!(counted(&plugin), (0, 3));
}

#[test]
fn a_hook_that_fails_at_an_end_costs_its_instance() {
    let plugin = counting(WORKER).load();
    let worker = WorkerHook::attach(&hook(&plugin), None);
    let asked = worker.on_request(&exchange(0), &about(1)).unwrap();
    let other = ExchangeSummary {
        status: 499,
        ..ENDED
    };
    let log = logged(|| worker.on_end(&exchange(0), &about(1), asked.ran, &other));
    assert!(log.contains("failed in `on-end`"), "{log}");
    assert_eq!((plugin.stats().traps, counted(&plugin)), (1, (1, 0)));
}

#[test]
fn the_number_of_the_exchange_its_place_and_the_time_are_those_of_the_call() {
    // Traps unless they are 7, 3 and at least 50, in each phase.
    const SAME: &str = "(if (i64.ne (local.get 0) (i64.const 7)) (then unreachable))
                        (if (i32.ne (local.get 1) (i32.const 3)) (then unreachable))
                        (if (i64.lt_u (local.get 2) (i64.const 50)) (then unreachable))";
    let more = format!(
        r#"(func (export "waypost:plugin/on-response@0.2.0#on-response") (param i64 i32 i64) {SAME})
           (func (export "waypost:plugin/on-end@0.2.0#on-end")
             (param i64 i32 i64 i32 i32 i64 i64 i64) {SAME})"#
    );
    let plugin = Guest {
        more: more.leak(),
        worlds: &["with-on-response", "with-on-end"],
        ..Guest::asked(format!("{SAME} (i32.const 0)").leak())
    }
    .load();
    let worker = WorkerHook::attach(&hook(&plugin), None);
    let call = |now_us| HookCall {
        exchange: 7,
        place: 3,
        now_us,
    };
    let asked = worker.on_request(&exchange(0), &call(50)).unwrap();
    assert!(
        worker
            .on_response(&exchange(0), &call(60), &asked.ran)
            .is_some()
    );
    // A worker that looked at its clock before another one was served: time does not go back.
    worker.on_end(&exchange(0), &call(40), asked.ran, &ENDED);
    let stats = plugin.stats();
    assert_eq!((stats.calls, stats.traps), (3, 0));
}

#[test]
fn what_a_hook_knows_and_the_ends_that_it_waits_for_go_to_its_successor() {
    for configured in [WORKER, PROCESS, PER_USER] {
        let plugin = counting(configured).load();
        let before = hook(&plugin);
        let worker = WorkerHook::attach(&before, None);
        let open: Vec<Asked> = (1..4)
            .map(|number| worker.on_request(&exchange(0), &about(number)).unwrap())
            .collect();
        assert_eq!(known(&open[2]), (3, 0));

        let now = hook(&plugin);
        now.inherit(&before).unwrap();
        let successor = WorkerHook::attach(&now, Some(&worker));
        let ask = || successor.on_request(&exchange(0), &about(5)).unwrap();
        assert_eq!(
            known(&ask()),
            (4, 0),
            "it goes on from what the one before knew"
        );
        for (number, asked) in (1..).zip(open) {
            worker.on_end(&exchange(0), &about(number), asked.ran, &ENDED);
        }
        assert_eq!(known(&ask()), (5, 3), "the ends are told to the successor");
        assert_eq!(counted(&plugin), (5, 3), "and to nothing else");
    }
}

#[test]
fn a_successor_that_could_not_take_over_is_not_told_of_ends() {
    let before = hook(&counting(WORKER).load());
    let worker = WorkerHook::attach(&before, None);
    let asked = worker.on_request(&exchange(0), &about(1)).unwrap();
    // The same plugin with as many instances as it has keys.
    let plugin = counting(PER_USER).load();
    let now = hook(&plugin);
    now.inherit(&before).unwrap();
    let successor = WorkerHook::attach(&now, Some(&worker));
    worker.on_end(&exchange(0), &about(1), asked.ran, &ENDED);
    assert_eq!(known(&when_back(&successor)), (1, 0));
    assert_eq!(counted(&plugin), (1, 0));
    assert_eq!(counted(before.plugin()), (1, 1));
}

/// An exchange that the gate holds up.
fn held(gate: &Arc<Gate>) -> ExchangeAtHand {
    Rc::new(Request {
        gate: Some(gate.clone()),
        ..Request::default()
    })
}

#[test]
fn ends_wait_for_a_shared_instance_that_is_busy_and_are_told_in_order() {
    // Hears of the end of exchange 1 for as long as the gate is closed, and of none twice or out of
    // order.
    let guest = Guest {
        more: r#"
            (import "waypost:plugin/exchange@0.2.0" "is-note-wanted" (func $is-open (result i32)))
            (import "waypost:plugin/metrics@0.2.0" "counter" (func $counter (param i32 i32) (result i32)))
            (import "waypost:plugin/metrics@0.2.0" "add" (func $add (param i32 i64)))
            (data (i32.const 512) "ended")
            (global $ended (mut i32) (i32.const 0))
            (global $last (mut i64) (i64.const 0))
            (func (export "waypost:plugin/on-end@0.2.0#on-end")
              (param $exchange i64) (param i32 i64 i32 i32 i64 i64 i64)
              (if (i64.ne (local.get $exchange) (i64.add (global.get $last) (i64.const 1)))
                (then unreachable))
              (global.set $last (local.get $exchange))
              (call $add (global.get $ended) (i64.const 1))
              (if (i64.ne (local.get $exchange) (i64.const 1)) (then return))
              (loop $again (br_if $again (i32.eqz (call $is-open)))))"#,
        setup: "(global.set $ended (call $counter (i32.const 512) (i32.const 5)))",
        configured: PROCESS,
        worlds: &["with-on-end"],
        ..Guest::asked("(i32.const 0)")
    };
    let plugin = guest.load_with(&PluginOptions {
        limits: PluginLimits {
            deadline: Some(Duration::from_secs(5)),
            ..options().limits
        },
        ..options()
    });
    let ended = || plugin.own_counters()[0].1;
    let (hook, gate) = (hook(&plugin), Arc::new(Gate::default()));
    let other = WorkerHook::attach(&hook, None);
    let ask = |number| other.on_request(&exchange(0), &about(number)).unwrap().ran;
    let open = [2, 3].map(ask);
    std::thread::scope(|scope| {
        let one = scope.spawn(|| {
            let one = WorkerHook::attach(&hook, None);
            let asked = one.on_request(&held(&gate), &about(1)).unwrap();
            one.on_end(&held(&gate), &about(1), asked.ran, &ENDED);
        });
        gate.wait();
        for (number, ran) in [2, 3].into_iter().zip(open) {
            other.on_end(&exchange(0), &about(number), ran, &ENDED);
        }
        assert_eq!(ended(), 1, "both are told later");
        gate.open();
        one.join().unwrap();
    });
    let asked = ask(4);
    assert_eq!((ended(), plugin.stats().traps), (3, 0));
    other.on_end(&exchange(0), &about(4), asked, &ENDED);
}

#[test]
fn ends_that_still_wait_are_told_before_a_worker_lets_its_hook_go() {
    let plugin = counting(PROCESS).load();
    let hook = hook(&plugin);
    let worker = WorkerHook::attach(&hook, None);
    let asked = worker.on_request(&exchange(0), &about(1)).unwrap();
    {
        let _busy = hook.role.shared()[0].slot.lock();
        worker.on_end(&exchange(0), &about(1), asked.ran, &ENDED);
    }
    assert_eq!(counted(&plugin), (1, 0));
    drop(worker);
    assert_eq!(counted(&plugin), (1, 1));
}
