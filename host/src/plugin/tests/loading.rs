//! What is a plugin and what is not, and how we say so.

use std::time::Duration;

use serde_json::json;

use crate::config::model::PluginLimits;
use crate::plugin::{
    Compiler, ConfigureError, Kind, PluginCounters, PluginOptions, PolicyContext, Runtime,
};

use super::guests::{Guest, PER_USER, component, load, options, refusal, runtime};
use super::peers::{balancer, configured, logged, over, parts, pick};

#[test]
fn the_stock_plugins_are_in_the_binary_and_ready_within_100_ms_of_processor_time() {
    let begun = processor_time();
    let runtime = Runtime::new(Compiler::Here).unwrap();
    for name in crate::stock::NAMES {
        let settings = match *name {
            "bounded_hash" | "hash" | "maglev" => json!({ "key": "$arg_user" }),
            "least_time" => json!({ "by": "header" }),
            "subset" => json!({ "key": "$arg_user", "size": 2 }),
            "sticky" => json!({ "cookie": { "name": "shard" } }),
            _ => json!({}),
        };
        let policy = runtime.stock(name).unwrap().unwrap();
        if policy.kinds().all(|kind| kind != Kind::Policy) {
            continue; // what others do is shown where they are used
        }
        let balancer = configured(
            &policy,
            &settings,
            runtime.stock("round_robin").unwrap().unwrap(),
        );
        assert!(pick(&mut balancer.attach(None), 1).is_some());
        assert_eq!(
            policy.stats(),
            PluginCounters {
                calls: policy.stats().calls,
                ..PluginCounters::default()
            }
        );
        assert!(policy.stats().calls > 0, "{name}");
    }
    // Not by the clock on the wall: other tests run at the same time.
    let used = processor_time() - begun;
    assert!(used < Duration::from_millis(100), "{used:?}");
    assert!(runtime.stock("round-robin").unwrap().is_none());
}

fn processor_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

#[test]
fn a_core_module_with_its_component_type_becomes_a_component() {
    let policy = Guest::default().load();
    assert_eq!(pick(&mut balancer(&policy).attach(None), 1), Some(2));
}

#[test]
fn a_component_is_taken_as_it_is() {
    let component = wit_component::ComponentEncoder::default()
        .module(&Guest::default().module())
        .unwrap()
        .encode();
    let policy = load("mine", &component.unwrap()).unwrap();
    assert_eq!(pick(&mut balancer(&policy).attach(None), 1), Some(2));
}

#[test]
fn an_import_that_plugins_are_not_given_is_named() {
    let component = component(
        r#"(import "waypost:plugin/fleet@0.2.0" (instance))
             (import "wasi:keyvalue/store@0.2.0" (instance))"#,
    );
    let error = refusal(&component, &options());
    assert!(
        error.starts_with(
            "plugin `mine` imports `wasi:keyvalue/store@0.2.0`, which plugins are not given"
        ),
        "{error}"
    );
}

#[test]
fn a_function_that_the_host_does_not_have_is_named() {
    let component = component(
        r#"(import "waypost:plugin/fleet@0.2.0" (instance (export "weather" (func (result u32)))))"#,
    );
    let error = refusal(&component, &options());
    assert!(error.contains("weather"), "{error}");
}

#[test]
fn a_component_that_is_no_plugin_is_told_what_it_lacks() {
    let error = refusal(&wat::parse_str("(component)").unwrap(), &options());
    assert!(
        error.starts_with(
            "plugin `mine` exports none of `waypost:plugin/balancer`, `filter`, `scorer` and `hook`"
        ),
        "{error}"
    );
}

#[test]
fn an_export_of_another_type_is_named() {
    let component = component(
        r#"(core module $m
               (func (export "f")))
             (core instance $i (instantiate $m))
             (func $f (canon lift (core func $i "f")))
             (instance $plugin (export "configure" (func $f)))
             (instance $members (export "update" (func $f)))
             (instance $balancer (export "pick" (func $f)))
             (export "waypost:plugin/plugin@0.2.0" (instance $plugin))
             (export "waypost:plugin/members@0.2.0" (instance $members))
             (export "waypost:plugin/balancer@0.2.0" (instance $balancer))"#,
    );
    let error = refusal(&component, &options());
    assert!(
        error.contains("does not export `waypost:plugin/plugin.configure` as the contract has it"),
        "{error}"
    );
}

#[test]
fn a_file_that_is_no_webassembly_is_refused() {
    let error = refusal(b"#!/bin/sh", &options());
    assert!(
        error.starts_with("plugin `mine` is no webassembly that can be read: "),
        "{error}"
    );
}

#[test]
fn a_module_without_a_component_type_is_told_how_to_get_one() {
    let error = refusal(&wat::parse_str("(module)").unwrap(), &options());
    assert!(
        error.ends_with("or give it a world of `wit/` with `wasm-tools component embed`"),
        "{error}"
    );
}

#[test]
fn refused_settings_come_with_their_key() {
    // err({ key: "cookie.path", message: "must begin with `/`" }): two strings after the tag, at
    // 1100 and 1111.
    let policy = Guest {
        configured: r"\01\00\00\00\4c\04\00\00\0b\00\00\00\57\04\00\00\13\00\00\00",
        more: r#"(data (i32.const 1100) "cookie.pathmust begin with `/`")"#,
        ..Guest::default()
    }
    .load();
    let settings = json!({ "cookie": { "path": "x" } });
    let tried = policy.configure(Kind::Policy, &settings, &PolicyContext::default());
    match tried.unwrap_err() {
        ConfigureError::Refused {
            plugin,
            key,
            message,
        } => {
            assert_eq!(
                (&*plugin, key.as_str(), message.as_str()),
                ("guest", "cookie.path", "must begin with `/`")
            );
        }
        other => panic!("{other}"),
    }
}

#[test]
fn settings_that_crash_a_plugin_are_its_fault_not_theirs() {
    // A tag that no `result` has.
    let policy = Guest {
        configured: r"\07",
        ..Guest::default()
    }
    .load();
    let error = policy
        .configure(Kind::Policy, &json!({}), &PolicyContext::default())
        .unwrap_err();
    assert!(matches!(error, ConfigureError::Faulted { .. }), "{error}");
}

#[test]
fn a_plugin_is_configured_as_what_it_is_used_as_and_as_nothing_else() {
    // Refuses what is not for a policy.
    let policy = Guest {
        setup: "(if (local.get $kind) (then unreachable))",
        ..Guest::default()
    }
    .load();
    let configure = |kind| policy.configure(kind, &json!({}), &PolicyContext::default());
    assert!(configure(Kind::Policy).is_ok());
    let error = configure(Kind::Scorer).unwrap_err().to_string();
    let expected =
        "plugin `guest` is a policy, and no scorer: it does not export `waypost:plugin/scorer`";
    assert_eq!(error, expected);
}

#[test]
fn an_instance_per_key_is_for_hooks_alone() {
    let policy = Guest {
        configured: PER_USER,
        ..Guest::default()
    }
    .load();
    let error = policy
        .configure(Kind::Policy, &json!({}), &PolicyContext::default())
        .unwrap_err();
    assert!(
        error.to_string().contains("which hooks alone can have"),
        "{error}"
    );
}

#[test]
fn what_a_plugin_says_of_itself_is_asked_once() {
    // The summary is at 512; settings and place-settings are empty; of the flags, `streams` is set.
    let policy = Guest {
        more: concat!(
            r#"(import "waypost:plugin/log@0.2.0" "write" (func $write (param i32 i32 i32)))
               (data (i32.const 512) "takes the last")
               (data (i32.const 1200) "\00\02\00\00\0e\00\00\00"#,
            r"\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00\01",
            r#"")
               (func (export "waypost:plugin/description@0.2.0#describe") (param i32) (result i32)
                 (call $write (i32.const 1) (i32.const 512) (i32.const 5))
                 (i32.const 1200))"#
        ),
        worlds: &["with-description"],
        ..Guest::default()
    }
    .load();
    let log = logged(|| {
        for _ in 0..2 {
            let about = policy.about();
            let told = (&*about.summary, about.backups, about.streams);
            assert_eq!(told, ("takes the last", false, true));
        }
    });
    assert_eq!(log.lines().count(), 1, "{log}");
    assert_eq!(policy.stats(), PluginCounters::default());
    assert_eq!(Guest::default().load().about().summary, "");
}

#[test]
fn a_plugin_that_fails_to_say_what_it_is_serves_all_the_same() {
    let policy = Guest {
        more: r#"(func (export "waypost:plugin/description@0.2.0#describe") (param i32) (result i32)
                   unreachable)"#,
        worlds: &["with-description"],
        ..Guest::default()
    }
    .load();
    let log = logged(|| assert_eq!(policy.about().summary, ""));
    assert!(log.contains("plugin `guest` failed"), "{log}");
    assert_eq!(pick(&mut balancer(&policy).attach(None), 1), Some(2));
}

/// Interpreters and garbage collectors need it.
#[test]
fn a_large_file_may_use_more_memory_unless_its_entry_says_how_much() {
    let guest = Guest {
        setup: "(drop (memory.grow (i32.const 300)))", // pages of 64 KiB
        ..Guest::default()
    };
    let small = guest.module();
    let mut large = small.clone();
    large.extend([0, 0x81, 0x80, 0x40, 0]); // a section of 1 MiB without a name
    large.resize(large.len() + (1 << 20), 0);
    let starts = |bytes: &[u8], memory| {
        let limits = PluginLimits {
            memory,
            ..PluginLimits::default()
        };
        let options = PluginOptions {
            limits,
            ..options()
        };
        let policy = runtime().load("mine", 1, bytes, &options).unwrap();
        over(3, parts(&policy)).is_ok()
    };
    assert!(starts(&large, None));
    assert!(!starts(&small, None));
    assert!(!starts(&large, Some(16 << 20)));
    assert!(starts(&small, Some(32 << 20)));
}
