//! What is a plugin and what is not, and how we say so.

use std::time::Duration;

use serde_json::json;

use crate::plugin::{
    Compiler, ConfigureError, InstanceScope, PluginCounters, Runtime, UpstreamTraits,
};

use super::guests::{Guest, component, load, options, refusal};
use super::peers::{balancer, configured, pick};

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
fn an_import_that_policies_are_not_given_is_named() {
    let component = component(
        r#"(import "waypost:plugin/fleet@0.1.0" (instance))
             (import "wasi:sockets/tcp@0.2.6" (instance))"#,
    );
    let error = refusal(&component, &options());
    assert!(
        error.starts_with(
            "plugin `mine` imports `wasi:sockets/tcp@0.2.6`, which policies are not given"
        ),
        "{error}"
    );
}

#[test]
fn a_function_that_the_host_does_not_have_is_named() {
    let component = component(
        r#"(import "waypost:plugin/fleet@0.1.0" (instance (export "weather" (func (result u32)))))"#,
    );
    let error = refusal(&component, &options());
    assert!(error.contains("weather"), "{error}");
}

#[test]
fn a_component_that_is_no_policy_is_told_what_it_lacks() {
    let error = refusal(&wat::parse_str("(component)").unwrap(), &options());
    assert!(
        error.contains("does not export `waypost:plugin/balancer.configure`"),
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
             (instance $balancer (export "configure" (func $f)) (export "update" (func $f)) (export "pick" (func $f)))
             (export "waypost:plugin/balancer@0.1.0" (instance $balancer))"#,
    );
    let error = refusal(&component, &options());
    assert!(
        error.contains("does not export `waypost:plugin/balancer.configure` as a policy must"),
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
        error.ends_with("give it the world `policy` with `wasm-tools component embed`"),
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
    match policy
        .configure(&settings, UpstreamTraits::default())
        .unwrap_err()
    {
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
        .configure(&json!({}), UpstreamTraits::default())
        .unwrap_err();
    assert!(matches!(error, ConfigureError::Faulted { .. }), "{error}");
}

#[test]
fn accepted_settings_tell_the_scope() {
    assert_eq!(
        Guest::default()
            .load()
            .configure(&json!({}), UpstreamTraits::default())
            .unwrap(),
        InstanceScope::Worker
    );
}
