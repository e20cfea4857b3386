//! What a plugin counts itself is shown by name, summed over its instances.

use super::guests::{Guest, Is, WORKER};
use super::peers::{about, balancer, exchange, hook, pick};
use crate::plugin::WorkerHook;

const METRICS: &str = r#"
    (import "waypost:plugin/metrics@0.2.0" "counter" (func $counter (param i32 i32) (result i32)))
    (import "waypost:plugin/metrics@0.2.0" "add" (func $add (param i32 i64)))
    (data (i32.const 512) "picksBadbad-bad\ff")
    (global $picks (mut i32) (i32.const 0))"#;

/// Adds the number of the lease to `picks`.
fn counting() -> Guest {
    Guest {
        more: METRICS,
        setup: "(global.set $picks (call $counter (i32.const 512) (i32.const 5)))",
        configured: WORKER,
        ..Guest::picks("(call $add (global.get $picks) (local.get $lease)) (i32.const 2)")
    }
}

#[test]
fn a_counter_is_summed_over_all_instances_and_kept_when_one_goes() {
    let plugin = counting().load();
    let (one, other) = (balancer(&plugin), balancer(&plugin));
    let (mut first, mut second) = (one.attach(None), one.attach(None));
    let mut third = other.attach(None);
    for (worker, lease) in [(&mut first, 1), (&mut second, 20), (&mut third, 300)] {
        assert_eq!(pick(worker, lease), Some(2));
    }
    let picks = |sum| [("picks".to_owned(), sum)];
    assert_eq!(plugin.own_counters(), picks(321));
    drop(second);
    assert_eq!(plugin.own_counters(), picks(321));
    pick(&mut first, 4000);
    drop((first, third, one, other));
    assert_eq!(plugin.own_counters(), picks(4321));
    assert_eq!(plugin.cost().instances, 0);
}

#[test]
fn a_counter_does_not_go_past_its_end() {
    let plugin = counting().load();
    let mut worker = balancer(&plugin).attach(None);
    pick(&mut worker, u64::MAX);
    pick(&mut worker, 7);
    assert_eq!(plugin.own_counters(), [("picks".to_owned(), u64::MAX)]);
}

#[test]
fn counters_have_names_of_their_own_kind() {
    // `Bad`, `bad-bad`, nothing, and 65 letters are none; what is added to such a one is lost.
    let plugin = Guest {
        setup: "(memory.fill (i32.const 8192) (i32.const 97) (i32.const 65))
                (if (i32.ne (call $counter (i32.const 517) (i32.const 3)) (i32.const -1)) (then unreachable))
                (if (i32.ne (call $counter (i32.const 520) (i32.const 7)) (i32.const -1)) (then unreachable))
                (if (i32.ne (call $counter (i32.const 512) (i32.const 0)) (i32.const -1)) (then unreachable))
                (if (i32.ne (call $counter (i32.const 8192) (i32.const 65)) (i32.const -1)) (then unreachable))
                (call $add (i32.const -1) (i64.const 5))
                (if (call $counter (i32.const 8192) (i32.const 64)) (then unreachable))
                (if (call $counter (i32.const 8192) (i32.const 64)) (then unreachable))
                (if (i32.ne (call $counter (i32.const 512) (i32.const 5)) (i32.const 1)) (then unreachable))",
        ..counting()
    }
    .load();
    let _balancer = balancer(&plugin);
    assert_eq!(
        plugin.own_counters(),
        [("a".repeat(64), 0), ("picks".to_owned(), 0)]
    );
}

#[test]
fn a_plugin_has_64_counters() {
    // Names of two bytes, of which the second counts from `0` by way of letters: 64 are accepted,
    // in order, and no more.
    let plugin = Guest {
        setup: "(local $n i32)
                (i32.store8 (i32.const 8192) (i32.const 97))
                (loop $again
                  (i32.store8 (i32.const 8192) (i32.add (i32.const 97) (i32.div_u (local.get $n) (i32.const 26))))
                  (i32.store8 (i32.const 8193) (i32.add (i32.const 97) (i32.rem_u (local.get $n) (i32.const 26))))
                  (if (i32.ne (call $counter (i32.const 8192) (i32.const 2)) (local.get $n)) (then unreachable))
                  (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 64))))
                (if (i32.ne (call $counter (i32.const 512) (i32.const 5)) (i32.const -1)) (then unreachable))
                (call $add (i32.const 63) (i64.const 7))
                (call $add (i32.const 64) (i64.const 7))",
        is: Is::Hook("(i32.const 0)"),
        ..counting()
    }
    .load();
    let worker = WorkerHook::attach(&hook(&plugin), None);
    assert!(worker.on_request(&exchange(0), &about(1)).is_some());
    let counters = plugin.own_counters();
    assert_eq!((counters.len(), &counters[63]), (64, &("cl".to_owned(), 7)));
}
