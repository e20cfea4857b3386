//! What a hook decides is what the data plane is told, and a hook that fails costs its instance.

use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use crate::plugin::{
    Asked, Checked, ConfigureError, HookAnswer, HookCall, Plugin, PluginCounters, Verdict,
    WorkerHook,
};

use super::guests::{Guest, Is, load};
use super::peers::{about, attached, exchange, hook, logged};

/// What a hook decides with, and texts.
const CHANGES: &str = r#"
    (import "waypost:plugin/changes@0.2.0" "answer" (func $answer (param i32 i32 i32) (result i32)))
    (import "waypost:plugin/changes@0.2.0" "take-route" (func $take-route (param i32 i32) (result i32)))
    (import "waypost:plugin/changes@0.2.0" "take-upstream" (func $take-upstream (param i32 i32) (result i32)))
    (import "waypost:plugin/changes@0.2.0" "delay" (func $delay (param i64) (result i32)))
    (import "waypost:plugin/checks@0.2.0" "verify-password" (func $verify (param i32 i32 i32 i32)))
    (data (i32.const 512) "shopblueno entry")"#;

/// A hook that decides so.
fn deciding(on_request: &'static str) -> Guest {
    Guest {
        more: CHANGES,
        ..Guest::asked(on_request)
    }
}

fn worker(plugin: &Plugin) -> Rc<WorkerHook> {
    WorkerHook::attach(&hook(plugin), None)
}

/// What a hook answers about the exchange 1.
fn asked(plugin: &Plugin) -> Option<Asked> {
    worker(plugin).on_request(&exchange(0), &about(1))
}

/// Asks about exchange 1 until there is an instance again.
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
fn a_hook_that_proceeds_changes_nothing() {
    let plugin = deciding("(i32.const 0)").load();
    let asked = asked(&plugin).unwrap();
    assert_eq!(asked.verdict, Verdict::Proceed);
    assert!(asked.changes.is_none());
    assert_eq!(plugin.stats().calls, 1);
}

#[test]
fn an_answer_comes_with_its_status_and_body() {
    let answer = "(drop (call $answer (i32.const 403) (i32.const 520) (i32.const 8)))
                  (i32.const 1)";
    let asked = asked(&deciding(answer).load()).unwrap();
    let expected = HookAnswer {
        status: 403,
        body: b"no entry".to_vec(),
    };
    assert_eq!(asked.verdict, Verdict::Answer);
    assert_eq!(asked.changes.unwrap().answer, Some(expected));
}

#[test]
fn a_delay_counts_from_the_time_that_the_hook_was_told_which_never_goes_back() {
    let delaying = "(drop (call $delay (i64.const 1500))) (i32.const 0)";
    let worker = worker(&deciding(delaying).load());
    let mut delays = Vec::new();
    // That of another worker, which had its turn first, and that of one which waited for it.
    for now_us in [5000, 4200, 5000, 6000] {
        let call = HookCall { now_us, ..about(1) };
        let asked = worker.on_request(&exchange(0), &call).unwrap();
        delays.push(asked.changes.unwrap().delay.as_micros());
    }
    assert_eq!(delays, [1500, 2300, 1500, 1500]);
    let proceeding = deciding("(i32.const 0)").load();
    assert!(asked(&proceeding).unwrap().changes.is_none());
}

#[test]
fn routes_and_upstreams_are_taken_by_name() {
    let reroute = "(drop (call $take-route (i32.const 512) (i32.const 4)))
                   (drop (call $take-upstream (i32.const 516) (i32.const 4)))
                   (drop (call $delay (i64.const 1500)))
                   (i32.const 2)";
    let asked = asked(&deciding(reroute).load()).unwrap();
    let changes = asked.changes.unwrap();
    assert_eq!(asked.verdict, Verdict::Reroute);
    assert_eq!((changes.route, changes.upstream), (Some(4), Some(5)));
    assert_eq!(changes.delay, Duration::from_micros(1500));
}

/// Waits for a check, and lets in those who pass it.
fn checking() -> Guest {
    Guest {
        more: r#"
            (import "waypost:plugin/changes@0.2.0" "answer" (func $answer (param i32 i32 i32) (result i32)))
            (import "waypost:plugin/checks@0.2.0" "verify-password" (func $verify (param i32 i32 i32 i32)))
            (import "waypost:plugin/metrics@0.2.0" "counter" (func $counter (param i32 i32) (result i32)))
            (import "waypost:plugin/metrics@0.2.0" "add" (func $add (param i32 i64)))
            (data (i32.const 512) "$2y$hashsecretchecked")
            (global $checked (mut i32) (i32.const 0))
            (func (export "waypost:plugin/on-check@0.2.0#on-check")
              (param $exchange i64) (param $place i32) (param $now i64) (param $passed i32)
              (result i32)
              (call $add (global.get $checked) (i64.const 1))
              (if (local.get $passed) (then (return (i32.const 0))))
              (drop (call $answer (i32.const 401) (i32.const 0) (i32.const 0)))
              (i32.const 1))"#,
        setup: "(global.set $checked (call $counter (i32.const 526) (i32.const 7)))",
        worlds: &["with-on-check"],
        ..Guest::asked(
            "(if (i64.eq (local.get $exchange) (i64.const 99)) (then unreachable))
             (call $verify (i32.const 512) (i32.const 8) (i32.const 520) (i32.const 6))
             (i32.const 3)",
        )
    }
}

#[test]
fn a_hook_that_waits_is_told_what_its_check_came_to() {
    for (passed, verdict) in [(true, Verdict::Proceed), (false, Verdict::Answer)] {
        let worker = worker(&checking().load());
        let asked = worker.on_request(&exchange(0), &about(1)).unwrap();
        assert_eq!(asked.verdict, Verdict::Wait);
        let check = asked.check.unwrap();
        assert_eq!(
            (&*check.hash, &*check.password),
            ("$2y$hash", &b"secret"[..])
        );
        let then = worker.on_check(
            &exchange(0),
            &about(1),
            &asked.ran,
            Checked {
                passed,
                behind_body: false,
            },
        );
        let then = then.unwrap();
        assert_eq!(then.verdict, verdict);
        let answer = then
            .changes
            .as_ref()
            .and_then(|changes| changes.answer.as_ref());
        assert_eq!(answer.map(|answer| answer.status), (!passed).then_some(401));
    }
}

#[test]
fn an_instance_that_did_not_wait_is_not_told_of_the_check() {
    let plugin = checking().load();
    let worker = worker(&plugin);
    let asked = worker.on_request(&exchange(0), &about(1)).unwrap();
    assert!(worker.on_request(&exchange(0), &about(99)).is_none());
    when_back(&worker);
    let told = worker.on_check(
        &exchange(0),
        &about(1),
        &asked.ran,
        Checked {
            passed: true,
            behind_body: false,
        },
    );
    assert!(told.is_none());
    assert_eq!(plugin.own_counters(), [("checked".to_owned(), 0)]);
}

/// The fault of a hook that was asked once, in words of the log; it answered nothing, and the
/// next instance is asked again.
#[track_caller]
fn fault(plugin: &Plugin) -> (PluginCounters, String) {
    let worker = worker(plugin);
    let log = logged(|| {
        assert!(worker.on_request(&exchange(0), &about(1)).is_none());
    });
    let stats = plugin.stats();
    assert!(worker.on_request(&exchange(0), &about(1)).is_none());
    assert_eq!(
        plugin.stats(),
        stats,
        "without an instance nothing is asked"
    );
    (stats, log)
}

const ONE_CALL: PluginCounters = PluginCounters {
    calls: 1,
    traps: 0,
    deadlines: 0,
    memory: 0,
    answers: 0,
    over_budget: 0,
};

#[test]
fn a_verdict_without_what_it_takes_is_a_fault() {
    for (body, told) in [
        (
            "(i32.const 1)",
            "answered `answer` without `changes.answer`",
        ),
        // One that was refused is none.
        (
            "(drop (call $answer (i32.const 100) (i32.const 0) (i32.const 0))) (i32.const 1)",
            "answered `answer` without `changes.answer`",
        ),
        (
            "(call $verify (i32.const 512) (i32.const 4) (i32.const 512) (i32.const 4))
             (i32.const 3)",
            "answered `wait` without an `on-check`",
        ),
    ] {
        let (stats, log) = fault(&deciding(body).load());
        let answers = PluginCounters {
            answers: 1,
            ..ONE_CALL
        };
        assert_eq!(stats, answers, "{body}");
        assert!(log.contains(told), "{log}");
        assert!(log.contains("failed in `on-request`"), "{log}");
    }
    let waits = Guest {
        is: Is::Hook("(i32.const 3)"),
        ..checking()
    };
    let (stats, log) = fault(&waits.load());
    assert_eq!(stats.answers, 1);
    assert!(log.contains("answered `wait` without a check"), "{log}");
}

#[test]
fn a_hook_that_traps_loops_or_eats_memory_costs_its_instance() {
    let trap = PluginCounters {
        traps: 1,
        ..ONE_CALL
    };
    let (stats, log) = fault(&deciding("unreachable").load());
    assert_eq!(stats, trap);
    let meanwhile = "its requests fail or pass without it, as `on_error` says";
    assert!(log.contains(meanwhile), "{log}");
    let no_verdict = fault(&deciding("(i32.const 4)").load());
    assert_eq!(no_verdict.0, trap);
    let (stats, log) = fault(&deciding("(loop $again (br $again)) unreachable").load());
    let deadline = PluginCounters {
        deadlines: 1,
        ..ONE_CALL
    };
    assert_eq!(stats, deadline);
    assert!(log.contains("ran past its deadline"), "{log}");
    let bomb = "(loop $again (drop (memory.grow (i32.const 1))) (br $again)) unreachable";
    let memory = PluginCounters {
        memory: 1,
        ..ONE_CALL
    };
    assert_eq!(fault(&deciding(bomb).load()).0, memory);
}

#[test]
fn what_a_call_that_failed_wanted_changed_is_dropped() {
    let plugin = deciding(
        "(if (i64.eq (local.get $exchange) (i64.const 99))
           (then (drop (call $take-route (i32.const 512) (i32.const 4))) unreachable))
         (i32.const 0)",
    )
    .load();
    let worker = worker(&plugin);
    assert!(worker.on_request(&exchange(0), &about(99)).is_none());
    assert!(when_back(&worker).changes.is_none());
    assert_eq!(plugin.stats().traps, 1);
}

#[test]
fn what_one_call_wanted_changed_is_not_the_next_ones() {
    let plugin = deciding(
        "(if (i64.eq (local.get $exchange) (i64.const 1))
           (then (drop (call $take-route (i32.const 512) (i32.const 4)))))
         (i32.const 0)",
    )
    .load();
    let worker = worker(&plugin);
    let route = |exchange_id| {
        let asked = worker.on_request(&exchange(0), &about(exchange_id));
        asked.unwrap().changes.and_then(|changes| changes.route)
    };
    assert_eq!([route(1), route(2), route(1)], [Some(4), None, Some(4)]);
}

/// Counts its calls of `on-response`, and sets a header in each.
fn responding() -> Guest {
    Guest {
        more: r#"
            (import "waypost:plugin/changes@0.2.0" "set-response-header"
              (func $set (param i32 i32 i32 i32) (result i32)))
            (import "waypost:plugin/response@0.2.0" "status" (func $status (result i32)))
            (import "waypost:plugin/metrics@0.2.0" "counter" (func $counter (param i32 i32) (result i32)))
            (import "waypost:plugin/metrics@0.2.0" "add" (func $add (param i32 i64)))
            (data (i32.const 512) "respondedx-seen")
            (global $responded (mut i32) (i32.const 0))
            (func (export "waypost:plugin/on-response@0.2.0#on-response")
              (param $exchange i64) (param $place i32) (param $now i64)
              (if (i32.ne (call $status) (i32.const 204)) (then unreachable))
              (call $add (global.get $responded) (i64.const 1))
              (drop (call $set (i32.const 521) (i32.const 6) (i32.const 512) (i32.const 3))))"#,
        setup: "(global.set $responded (call $counter (i32.const 512) (i32.const 9)))",
        worlds: &["with-on-response"],
        ..Guest::asked(
            "(if (i64.eq (local.get $exchange) (i64.const 99)) (then unreachable))
             (call $status)",
        )
    }
}

#[test]
fn a_hook_changes_the_headers_of_a_response_when_its_head_is_there() {
    let plugin = responding().load();
    let worker = worker(&plugin);
    assert!(worker.sees_responses());
    let asked = worker.on_request(&exchange(0), &about(1)).unwrap();
    assert_eq!(asked.verdict, Verdict::Proceed, "there is no response yet");
    let changes = worker.on_response(&exchange(0), &about(1), &asked.ran);
    let changes = changes.unwrap().0.unwrap();
    let names: Vec<&[u8]> = changes.response.iter().map(|change| change.name).collect();
    assert_eq!(names, [b"x-seen"]);
    assert_eq!(plugin.own_counters(), [("responded".to_owned(), 1)]);
}

#[test]
fn an_instance_that_was_not_asked_about_a_request_is_not_asked_about_its_response() {
    let plugin = responding().load();
    let worker = worker(&plugin);
    let asked = worker.on_request(&exchange(0), &about(1)).unwrap();
    assert!(worker.on_request(&exchange(0), &about(99)).is_none());
    // While there is no instance, and when the next one is there. It would come after 10 ms.
    for _ in 0..100 {
        let changes = worker.on_response(&exchange(0), &about(1), &asked.ran);
        assert!(changes.and_then(|(changes, _)| changes).is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    when_back(&worker);
    let changes = worker.on_response(&exchange(0), &about(1), &asked.ran);
    assert!(matches!(changes, Some((None, _))), "it has nothing to say");
    assert_eq!(plugin.own_counters(), [("responded".to_owned(), 0)]);
}

#[test]
fn a_hook_without_on_request_is_asked_about_every_response() {
    let plugin = Guest {
        is: Is::Observer,
        ..responding()
    }
    .load();
    let worker = worker(&plugin);
    let asked = worker.on_request(&exchange(0), &about(1)).unwrap();
    assert_eq!((asked.verdict, plugin.stats().calls), (Verdict::Proceed, 0));
    assert!(
        worker
            .on_response(&exchange(0), &about(1), &asked.ran)
            .unwrap()
            .0
            .is_some()
    );
}

/// Refuses the second of its places, for its `user`.
fn choosy() -> Guest {
    Guest {
        more: r#"(data (i32.const 1200) "\01\00\00\00\00\05\00\00\04\00\00\00\04\05\00\00\0c\00\00\00")
                 (data (i32.const 1280) "usermust be text")"#,
        attach: "(if (i32.eq (local.get $place) (i32.const 1)) (then (return (i32.const 1200))))",
        ..Guest::asked("(i32.const 0)")
    }
}

#[test]
fn a_place_that_a_hook_refuses_is_told_with_its_number_and_key() {
    let places = [&json!({}), &json!({ "user": 7 })];
    let plugin = choosy().load();
    assert!(attached(&plugin, &json!({}), &places[..1]).is_ok());
    let error = attached(&plugin, &json!({}), &places)
        .map(|_| ())
        .unwrap_err();
    let told = "plugin `guest` refuses its setting `user`: must be text";
    assert_eq!(error.to_string(), told);
    assert!(
        matches!(error, ConfigureError::RefusedPlace { place: 1, .. }),
        "{error:?}"
    );
}

#[test]
fn a_hook_is_shown_the_settings_of_each_place_in_order() {
    // `{"place":N}` in each, whose digit is the place.
    let plugin = Guest {
        attach: "(if (i32.ne (local.get $place)
                             (i32.sub (i32.load8_u offset=9 (local.get $settings)) (i32.const 48)))
                   (then unreachable))",
        ..Guest::asked("(i32.const 0)")
    }
    .load();
    let places = [&json!({ "place": 0 }), &json!({ "place": 1 })];
    assert!(attached(&plugin, &json!({}), &places).is_ok());
    let swapped = [places[1], places[0]];
    let error = attached(&plugin, &json!({}), &swapped)
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, ConfigureError::Faulted { .. }), "{error}");
}

#[test]
fn a_policy_is_no_hook() {
    let policy = load("mine", &Guest::default().module()).unwrap();
    let error = attached(&policy, &json!({}), &[]).map(|_| ()).unwrap_err();
    let expected =
        "plugin `mine` is a policy, and no hook: it does not export `waypost:plugin/hook`";
    assert_eq!(error.to_string(), expected);
}
