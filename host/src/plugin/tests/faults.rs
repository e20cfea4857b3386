//! A plugin that fails costs a request its own choice, and nothing else.

use std::time::{Duration, Instant};

use crate::plugin::{Plugin, PluginCounters, PluginFault};

use super::guests::{DEADLINE, Guest, Is, runtime};
use super::peers::{balancer, exchange, logged, pick, pick_of, with_fallback};

/// Traps in `pick`.
fn trapping() -> Guest {
    Guest {
        is: Is::Policy("(call $helper) (i32.const 0)"),
        more: "(func $helper unreachable)",
        ..Guest::default()
    }
}

/// The fallback, which takes turns, serves three requests in place of `policy`; returns the log.
fn fallback_serves(policy: &Plugin) -> String {
    let mut worker = balancer(policy).attach(None);
    let mut picks = Vec::new();
    let log = logged(|| {
        picks = (0..3)
            .map(|lease| pick(&mut worker, lease).unwrap())
            .collect()
    });
    picks.sort_unstable();
    assert_eq!(picks, [0, 1, 2]);
    log
}

#[test]
fn an_endless_loop_is_stopped_at_its_deadline_and_the_fallback_serves() {
    let policy = Guest::picks("(loop $again (br $again)) unreachable").load();
    let begun = Instant::now();
    let log = fallback_serves(&policy);
    assert!(begun.elapsed() >= DEADLINE, "stopped before its deadline");
    // On a busy machine the next instance is there in time for a further pick, and loops as well.
    let stats = policy.stats();
    assert!(stats.deadlines >= 1, "{stats:?}");
    assert_eq!(
        stats,
        PluginCounters {
            calls: stats.deadlines,
            deadlines: stats.deadlines,
            ..PluginCounters::default()
        }
    );
    assert!(
        log.contains("plugin `guest` failed in `pick`: ran past its deadline (in pick)"),
        "{log}"
    );
}

#[test]
fn a_trap_is_logged_with_the_functions_it_happened_in_and_the_fallback_serves() {
    let policy = trapping().load();
    let log = fallback_serves(&policy);
    assert_eq!(
        policy.stats(),
        PluginCounters {
            calls: 1,
            traps: 1,
            ..PluginCounters::default()
        }
    );
    assert!(
        log.contains("`unreachable` instruction executed (in helper < pick); the fallback serves"),
        "{log}"
    );
    assert!(log.contains("kind=\"trap\""), "{log}");
}

#[test]
fn a_memory_bomb_stops_at_its_limit() {
    let bomb = "(loop $again (drop (memory.grow (i32.const 1))) (br $again)) unreachable";
    let policy = Guest::picks(bomb).load();
    let log = fallback_serves(&policy);
    assert_eq!(
        policy.stats(),
        PluginCounters {
            calls: 1,
            memory: 1,
            ..PluginCounters::default()
        }
    );
    assert!(
        log.contains("asked for 2162688 bytes of memory, its limit is 2097152"),
        "{log}"
    );
}

#[test]
fn an_index_that_is_no_candidate_is_a_fault() {
    let policy = Guest::picks("(i32.const 3)").load();
    let log = fallback_serves(&policy);
    assert_eq!(
        policy.stats(),
        PluginCounters {
            calls: 1,
            answers: 1,
            ..PluginCounters::default()
        }
    );
    assert!(log.contains("picked 3, which is no candidate"), "{log}");
}

#[test]
fn an_endpoint_that_exists_but_was_tried_is_no_candidate() {
    let policy = Guest::picks("(i32.const 1)").load();
    let mut worker = balancer(&policy).attach(None);
    assert_eq!(pick_of(&mut worker, &exchange(0b010)), Some(1));
    assert_eq!(pick_of(&mut worker, &exchange(0b100)), Some(2));
    assert_eq!(policy.stats().answers, 1);
}

#[test]
fn no_opinion_leaves_the_choice_to_the_fallback_and_is_no_fault() {
    let policy = Guest::picks("(i32.const -1)").load();
    assert_eq!(fallback_serves(&policy), "");
    assert_eq!(
        policy.stats(),
        PluginCounters {
            calls: 3,
            ..PluginCounters::default()
        }
    );
}

#[test]
fn a_fallback_that_fails_as_well_leaves_the_first_candidate() {
    let (policy, fallback) = (trapping().load(), trapping().load());
    let mut worker = with_fallback(&policy, fallback.clone()).attach(None);
    assert_eq!(pick_of(&mut worker, &exchange(0b110)), Some(1));
    assert_eq!((policy.stats().traps, fallback.stats().traps), (1, 1));
}

#[test]
fn a_plugin_that_faulted_comes_back_after_a_pause_that_grows() {
    // Traps at its first call only: the attempt's lease.
    let once = "(if (i64.eqz (local.get $lease)) (then unreachable)) (i32.const 2)";
    let policy = Guest::picks(once).load();
    let mut worker = balancer(&policy).attach(None);
    let mut pauses = Vec::new();
    for _ in 0..4 {
        let faulting = Instant::now();
        pick(&mut worker, 0);
        let calls = policy.stats().calls;
        while policy.stats().calls == calls {
            std::thread::sleep(Duration::from_millis(1));
            pick(&mut worker, 1);
        }
        pauses.push(faulting.elapsed());
    }
    for (pause, at_least) in pauses.iter().zip([10, 20, 40, 80]) {
        assert!(*pause >= Duration::from_millis(at_least), "{pauses:?}");
    }
    assert_eq!(pick(&mut worker, 1), Some(2));
    assert_eq!(policy.stats().traps, 4);
}

#[test]
fn without_a_candidate_nobody_is_asked() {
    let policy = trapping().load();
    let mut worker = balancer(&policy).attach(None);
    assert_eq!(pick_of(&mut worker, &exchange(0)), None);
    assert_eq!(policy.stats().calls, 0);
}

/// What clients send may cost an instance of a stock hook, and must not turn it off for others: no
/// other version could come in its place.
#[test]
fn a_stock_plugin_is_never_put_into_quarantine() {
    let plugin = runtime().stock("jwt").unwrap().unwrap();
    for _ in 0..100 {
        plugin.note_fault("in `on-request`", &PluginFault::untold());
    }
    assert_eq!(plugin.stats().deadlines, 100);
    assert!(!plugin.is_quarantined());
}
