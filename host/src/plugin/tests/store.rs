//! What a plugin keeps in the store is there for all of its instances, and for no other plugin.

use std::sync::Arc;

use crate::config;
use crate::config::model::Grants;
use crate::plugin::{
    Compiler, Plugin, PluginOptions, Question, Runtime, WorkerHook, hook_requests,
};
use crate::store::Store;

use super::guests::{Guest, Is, PROCESS, load, options};
use super::peers::{about, balancer, exchange, hook, pick};

/// All of `store`. The key is `key`, values are `1` and `22`; answers are at 2,048, where a number or
/// the tag of an option begins 8 bytes or 4 behind that of the result.
const STORE: &str = r#"
    (import "waypost:plugin/store@0.2.0" "get" (func $get (param i32 i32 i32)))
    (import "waypost:plugin/store@0.2.0" "set" (func $set (param i32 i32 i32 i32 i64 i32)))
    (import "waypost:plugin/store@0.2.0" "add" (func $add (param i32 i32 i64 i64 i32)))
    (import "waypost:plugin/store@0.2.0" "compare-and-swap"
      (func $swap (param i32 i32 i32 i32 i32 i32 i32 i64 i32)))
    (import "waypost:plugin/store@0.2.0" "delete" (func $delete (param i32 i32 i32)))
    (import "waypost:plugin/store@0.2.0" "fill" (func $fill (param i32 i32 i64 i64 i64 i32)))
    (import "waypost:plugin/changes@0.2.0" "delay" (func $delay (param i64) (result i32)))
    (data (i32.const 512) "key122")
    (func $add-one (call $add (i32.const 512) (i32.const 3) (i64.const 1) (i64.const 0) (i32.const 2048)))
    (func $failed (result i32) (i32.load8_u (i32.const 2048)))
    (func $number (result i64)
      (if (result i64) (call $failed)
        (then (i64.add (i64.const 1000) (i64.extend_i32_u (i32.load8_u (i32.const 2056)))))
        (else (i64.load (i32.const 2056)))))
    (func $tell (param i64) (drop (call $delay (local.get 0))))"#;

/// What `$number` is where a call failed: the word's place among those of `store.error`.
const FULL: u128 = 1000;
const UNAVAILABLE: u128 = 1001;
const WRONG_KIND: u128 = 1003;

/// Adds one with each request, and tells the sum.
const COUNTING: &str = "(call $add-one) (call $tell (call $number)) (i32.const 0)";

fn counting() -> Guest {
    Guest {
        more: STORE,
        ..Guest::asked(COUNTING)
    }
}

fn loaded(name: &str, guest: &Guest) -> Plugin {
    load(name, &guest.module()).unwrap()
}

/// What the plugin tells of the next request: a number, as its delay.
fn told(plugin: &Plugin) -> u128 {
    let worker = WorkerHook::attach(&hook(plugin), None);
    let asked = worker.on_request(&exchange(0), &about(1)).unwrap();
    asked.changes.map_or(0, |changes| changes.delay.as_micros())
}

#[test]
fn a_counter_is_shared_by_all_uses_and_versions_of_a_plugin_and_by_no_other() {
    let plugin = loaded("counts", &counting());
    assert_eq!((told(&plugin), told(&plugin)), (1, 2));
    drop(plugin);
    let next = loaded("counts", &counting());
    assert_eq!(told(&next), 3);
    assert_eq!(told(&loaded("counts-too", &counting())), 1);
    let stored = next.stored().unwrap();
    assert_eq!((stored.entries, stored.refused), (1, 0));
    assert!(stored.bytes > 3);
    let without = Guest::asked("(i32.const 0)").load();
    assert_eq!(without.stored(), None);
}

#[test]
fn threads_share_it_too() {
    let plugin = loaded("counts-on-threads", &counting());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..50 {
                    told(&plugin);
                }
            });
        }
    });
    assert_eq!(told(&plugin), 101);
}

#[test]
fn nothing_is_there_while_a_plugin_is_configured() {
    let guest = Guest {
        setup: "(call $add-one) (i64.store (i32.const 600) (call $number))",
        attach: "(call $add-one) (i64.store (i32.const 608) (call $number))",
        ..Guest {
            more: STORE,
            ..Guest::asked(
                "(call $tell (i64.add (i64.load (i32.const 600)) (i64.load (i32.const 608))))
                 (i32.const 0)",
            )
        }
    };
    let plugin = loaded("counts-too-early", &guest);
    assert_eq!(told(&plugin), 2 * UNAVAILABLE);
    assert_eq!(plugin.stored().unwrap().entries, 0);
}

#[test]
fn a_rehearsal_has_a_store_of_its_own() {
    let guest = Guest {
        more: STORE,
        is: Is::Policy("(call $add-one) (i32.sub (i32.wrap_i64 (call $number)) (i32.const 1))"),
        ..Guest::default()
    };
    let plugin = loaded("rehearsed", &guest);
    let balancer = balancer(&plugin);
    balancer.rehearse().unwrap();
    balancer.rehearse().unwrap();
    assert_eq!(plugin.stored().unwrap().entries, 0);
    let mut worker = balancer.attach(None);
    assert_eq!(
        (pick(&mut worker, 1), pick(&mut worker, 2)),
        (Some(0), Some(1))
    );
}

#[test]
fn a_value_is_kept_read_swapped_and_deleted() {
    // Each step adds a digit to what is told: 1 where it is as it should be.
    let steps = r"
        (local $sum i64)
        (call $swap (i32.const 512) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0)
                    (i32.const 515) (i32.const 1) (i64.const 60000) (i32.const 2048))
        (local.set $sum (i64.extend_i32_u (i32.load8_u (i32.const 2049))))
        (call $swap (i32.const 512) (i32.const 3) (i32.const 1) (i32.const 515) (i32.const 1)
                    (i32.const 516) (i32.const 2) (i64.const 60000) (i32.const 2048))
        (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 10))
                                 (i64.extend_i32_u (i32.load8_u (i32.const 2049)))))
        (call $get (i32.const 512) (i32.const 3) (i32.const 2048))
        (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 10))
                                 (i64.extend_i32_u (i32.and
                                   (i32.load8_u (i32.const 2052))
                                   (i32.eq (i32.load16_u (i32.load (i32.const 2056)))
                                           (i32.const 0x3232))))))
        (call $delete (i32.const 512) (i32.const 3) (i32.const 2048))
        (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 10))
                                 (i64.extend_i32_u (i32.load8_u (i32.const 2049)))))
        (call $get (i32.const 512) (i32.const 3) (i32.const 2048))
        (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 10))
                                 (i64.extend_i32_u (i32.eqz (i32.load8_u (i32.const 2052))))))
        (call $tell (local.get $sum))
        (i32.const 0)";
    let guest = Guest {
        more: STORE,
        ..Guest::asked(steps)
    };
    assert_eq!(told(&loaded("keeps", &guest)), 11_111);
}

#[test]
fn a_bucket_answers_its_level_and_is_no_counter() {
    let guest = Guest {
        more: STORE,
        ..Guest::asked(
            "(call $fill (i32.const 512) (i32.const 3) (i64.const 7) (i64.const 0) (i64.const 100)
                         (i32.const 2048))
             (call $tell (call $number)) (i32.const 0)",
        )
    };
    let plugin = loaded("pours", &guest);
    assert_eq!([told(&plugin), told(&plugin), told(&plugin)], [0, 7, 14]);
    assert_eq!(told(&loaded("pours", &counting())), WRONG_KIND);
}

#[test]
fn a_plugin_that_fills_its_store_is_told_so_and_leaves_room_to_others() {
    let guest = Guest {
        more: STORE,
        ..Guest::asked(
            "(loop $more
               (i64.store (i32.const 600) (i64.add (i64.load (i32.const 600)) (i64.const 1)))
               (call $set (i32.const 600) (i32.const 8) (i32.const 8192) (i32.const 49152)
                          (i64.const 0) (i32.const 2048))
               (br_if $more (i32.eqz (call $failed))))
             (call $tell (i64.add (i64.const 1000) (i64.extend_i32_u (i32.load8_u (i32.const 2049)))))
             (i32.const 0)",
        )
    };
    let plugin = loaded("fills", &guest);
    assert_eq!(told(&plugin), FULL);
    let stored = plugin.stored().unwrap();
    assert!(stored.bytes <= 32 << 20 && stored.bytes > 31 << 20);
    assert!(stored.refused > 0);
    assert_eq!(told(&loaded("has-room", &counting())), 1);
}

#[test]
fn only_plugins_that_are_granted_it_have_a_store() {
    let without = PluginOptions {
        grants: Grants {
            store: false,
            ..Grants::ALL
        },
        ..options()
    };
    let error = super::guests::refusal(&counting().module(), &without);
    assert!(error.contains("waypost:plugin/store"), "{error}");
    assert!(error.contains("\"store\""), "{error}");
}

/// A runtime whose store is in another process, where nobody listens.
fn elsewhere() -> Arc<Runtime> {
    let text = "[[listen]]\naddress = \"127.0.0.1:8080\"\n[store]\nurl = \"redis://127.0.0.1:1\"";
    let config = config::parse(text, "waypost.toml".as_ref()).unwrap();
    let store = Arc::new(Store::of(&config.store));
    Runtime::with_store(Compiler::Here, store).unwrap()
}

#[test]
fn a_store_elsewhere_is_unavailable_to_calls_that_cannot_wait_and_to_nobodys_harm() {
    let runtime = elsewhere();
    let load = |guest: &Guest| {
        runtime
            .load("guest", 1, &guest.module(), &options())
            .unwrap()
    };
    // An instance that all workers share is in one call at a time: it does not wait in it.
    let shared = Guest {
        configured: PROCESS,
        ..counting()
    };
    let plugin = load(&shared);
    assert!(!hook(&plugin).waits());
    assert_eq!(told(&plugin), UNAVAILABLE);
    assert_eq!(plugin.stats().traps, 0);
    // A policy likewise; it is asked without a stack of its own.
    let policy = Guest {
        more: STORE,
        is: Is::Policy("(call $add-one) (i32.sub (i32.wrap_i64 (call $number)) (i32.const 1000))"),
        ..Guest::default()
    };
    let plugin = load(&policy);
    assert!(!plugin.waits());
    let mut worker = balancer(&plugin).attach(None);
    assert_eq!(pick(&mut worker, 1), Some(1));
    assert_eq!(plugin.stored(), None);
}

#[test]
fn a_hook_with_an_instance_of_its_own_waits_for_a_store_elsewhere() {
    let runtime = elsewhere();
    let plugin = runtime
        .load("guest", 1, &counting().module(), &options())
        .unwrap();
    let worker = WorkerHook::attach(&hook(&plugin), None);
    assert!(worker.waits());
    let event_loop = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (sender, _requests) = hook_requests();
    let exchange = exchange(0);
    let call = about(1);
    let asking = worker.ask_waiting(&exchange, &call, Question::Request, sender);
    let asked = event_loop.block_on(asking).unwrap();
    assert_eq!(asked.changes.unwrap().delay.as_micros(), UNAVAILABLE);
    // Plugins that do not ask for it are asked as ever.
    let plugin = Guest::asked("(i32.const 0)").module();
    let plugin = runtime.load("plain", 1, &plugin, &options()).unwrap();
    assert!(!plugin.waits());
}

#[test]
fn a_plugin_is_told_where_its_store_is() {
    let guest = Guest {
        more: r#"(import "waypost:plugin/store@0.2.0" "is-elsewhere" (func $elsewhere (result i32)))
                 (import "waypost:plugin/changes@0.2.0" "delay" (func $delay (param i64) (result i32)))"#,
        setup: "(i32.store (i32.const 600) (call $elsewhere))",
        configured: PROCESS,
        ..Guest::asked(
            "(drop (call $delay (i64.add (i64.const 5) (i64.load32_u (i32.const 600)))))
             (i32.const 0)",
        )
    };
    assert_eq!(told(&loaded("here", &guest)), 5);
    let there = elsewhere().load("there", 1, &guest.module(), &options());
    assert_eq!(told(&there.unwrap()), 6);
}
