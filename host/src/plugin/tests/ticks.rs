//! Plugins that want to be called from time to time are, and no more often than that.

use crate::plugin::{Plugin, PluginCounters, WorkerBalancer, WorkerHook};

use super::guests::{Guest, Is, PROCESS, WORKER};
use super::peers::{about, balancer, exchange, hook, logged, pick, with_fallback};

/// Counts its ticks, and answers this many milliseconds; `$now` is the time.
macro_rules! ticking {
    ($answer:literal) => {
        concat!(
            r#"(import "waypost:plugin/metrics@0.2.0" "counter" (func $counter (param i32 i32) (result i32)))
               (import "waypost:plugin/metrics@0.2.0" "add" (func $add (param i32 i64)))
               (import "waypost:plugin/request@0.2.0" "path" (func $path (param i32)))
               (data (i32.const 512) "ticks")
               (global $ticks (mut i32) (i32.const 0))
               (func (export "waypost:plugin/ticker@0.2.0#tick") (param $now i64) (result i32)
                 (call $add (global.get $ticks) (i64.const 1))
                 ;; There is no exchange at hand.
                 (call $path (i32.const 2048))
                 (if (i32.load (i32.const 2052)) (then unreachable))"#,
            $answer,
            ")"
        )
    };
}

fn ticking(more: &'static str, configured: &'static str) -> Guest {
    Guest {
        more,
        setup: "(global.set $ticks (call $counter (i32.const 512) (i32.const 5)))",
        configured,
        worlds: &["with-ticker"],
        ..Guest::default()
    }
}

fn ticks(plugin: &Plugin) -> u64 {
    plugin.own_counters()[0].1
}

/// How often a plugin was called when a worker looks after so many microseconds each.
fn after(plugin: &Plugin, micros: &[u64]) -> Vec<u64> {
    let mut worker = balancer(plugin).attach(None);
    let tick = |now: &u64| {
        worker.tick(*now);
        ticks(plugin)
    };
    micros.iter().map(tick).collect()
}

#[test]
fn a_tick_comes_when_the_time_has_passed_that_the_last_one_answered() {
    let plugin = ticking(ticking!("(i32.const 250)"), WORKER).load();
    let seen = after(
        &plugin,
        &[7, 250_006, 250_007, 500_006, 800_000, 1_049_999, 1_050_000],
    );
    assert_eq!(seen, [1, 1, 2, 2, 3, 3, 4]);
    assert_eq!(
        plugin.stats(),
        PluginCounters::default(),
        "it is no call of traffic"
    );
}

#[test]
fn ticks_are_100_ms_apart_at_the_least() {
    let plugin = ticking(ticking!("(i32.const 1)"), WORKER).load();
    assert_eq!(
        after(&plugin, &[0, 1_000, 99_999, 100_000, 199_999, 200_000]),
        [1, 1, 1, 2, 2, 3]
    );
}

#[test]
fn a_tick_that_answers_0_was_the_last_one() {
    let plugin = ticking(ticking!("(i32.const 0)"), WORKER).load();
    assert_eq!(after(&plugin, &[0, 100_000, u64::MAX]), [1, 1, 1]);
}

#[test]
fn a_tick_may_be_wanted_at_the_end_of_time() {
    let plugin = ticking(ticking!("(i32.const -1)"), WORKER).load();
    assert_eq!(after(&plugin, &[1, 100_000, u64::MAX]), [1, 1, 2]);
}

#[test]
fn a_shared_instance_is_called_once_and_each_workers_own_by_its_worker() {
    for (configured, expected) in [(PROCESS, [1, 1, 2, 2]), (WORKER, [1, 2, 3, 4])] {
        let plugin = ticking(ticking!("(i32.const 100)"), configured).load();
        let balancer = balancer(&plugin);
        let mut workers = [balancer.attach(None), balancer.attach(None)];
        let mut tick = |worker: usize, now| {
            WorkerBalancer::tick(&mut workers[worker], now);
            ticks(&plugin)
        };
        let seen = [tick(0, 1), tick(1, 2), tick(1, 100_002), tick(0, 100_003)];
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_shared_instance_that_is_busy_is_left_to_the_next_worker_that_looks() {
    let plugin = ticking(ticking!("(i32.const 100)"), PROCESS);
    let plugin = Guest {
        is: Is::Hook("(i32.const 0)"),
        ..plugin
    }
    .load();
    let hook = hook(&plugin);
    let worker = WorkerHook::attach(&hook, None);
    {
        let _busy = hook.role.shared()[0].slot.lock();
        worker.tick(1);
        assert_eq!(ticks(&plugin), 0);
    }
    worker.tick(1);
    assert_eq!(ticks(&plugin), 1);
}

#[test]
fn fallbacks_filters_and_hooks_tick_as_well() {
    let fallback = ticking(ticking!("(i32.const 100)"), PROCESS).load();
    let mut worker = with_fallback(&Guest::default().load(), fallback.clone()).attach(None);
    worker.tick(1);
    assert_eq!(ticks(&fallback), 1);
    let hooks = Guest {
        is: Is::Observer,
        ..ticking(ticking!("(i32.const 100)"), WORKER)
    }
    .load();
    WorkerHook::attach(&hook(&hooks), None).tick(1);
    assert_eq!(ticks(&hooks), 1);
}

#[test]
fn a_plugin_that_fails_in_a_tick_comes_back_without_traffic() {
    // In the first tick of the first instance.
    let plugin = ticking(
        ticking!("(if (i64.eq (local.get $now) (i64.const 1)) (then unreachable)) (i32.const 100)"),
        WORKER,
    )
    .load();
    let mut worker = balancer(&plugin).attach(None);
    let log = logged(|| worker.tick(1));
    assert!(log.contains("failed in `tick`"), "{log}");
    assert_eq!((ticks(&plugin), plugin.stats().traps), (1, 1));
    while ticks(&plugin) == 1 {
        // An instance is made on a thread of its own, which tells nobody.
        std::thread::sleep(std::time::Duration::from_millis(1));
        worker.tick(2);
    }
    assert_eq!(pick(&mut worker, 1), Some(2));
}

#[test]
fn a_tick_changes_nothing_about_the_next_request() {
    let plugin = Guest {
        is: Is::Hook("(call $path (i32.const 2048)) (i32.const 0)"),
        ..ticking(ticking!("(i32.const 100)"), WORKER)
    }
    .load();
    let worker = WorkerHook::attach(&hook(&plugin), None);
    for now in [1, 1_000_000] {
        worker.tick(now);
        let asked = worker.on_request(&exchange(0), &about(1)).unwrap();
        assert!(asked.changes.is_none());
    }
    assert_eq!((ticks(&plugin), plugin.stats().traps), (2, 0));
}
