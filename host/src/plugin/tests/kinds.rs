//! One component may be of several kinds, and each is found by its exports in the right version.

use crate::plugin::{Kind, Verdict};

use super::guests::{Guest, component, load, options, refusal, typed};
use super::peers::{about, balancer, exchange, hook, of_user, pick};

/// A policy that takes the last candidate and a hook that passes requests on; in one memory.
const BOTH: &str = r#"
    (func (export "waypost:plugin/hook@0.2.0#attach") (param i32 i32 i32) (result i32)
      (i32.const 1024))
    (func (export "waypost:plugin/on-request@0.2.0#on-request")
      (param $exchange i64) (param $place i32) (param $now i64) (param $random i64) (result i32)
      (i64.ne (local.get $exchange) (i64.const 7)))"#;

#[test]
fn a_component_that_is_a_policy_and_a_hook_is_called_as_both() {
    let both = Guest {
        more: BOTH,
        worlds: &["request-hook", "with-on-request"],
        ..Guest::default()
    }
    .load();
    assert_eq!(both.kinds().collect::<Vec<_>>(), [Kind::Policy, Kind::Hook]);
    assert_eq!(both.interfaces(), ["policy", "hook", "on-request"]);
    assert_eq!(pick(&mut balancer(&both).attach(None), 1), Some(2));
    let worker = crate::plugin::WorkerHook::attach(&hook(&both), None);
    let asked = worker.on_request(&of_user("ada"), &about(7)).unwrap();
    assert_eq!(asked.verdict, Verdict::Proceed);
    worker.on_end(&exchange(0), &about(7), asked.ran, &super::peers::ENDED);
    let stats = both.stats();
    assert_eq!((stats.calls, stats.traps), (2, 0));
}

/// A component that exports these interfaces, each with one function that takes and answers
/// nothing.
fn exporting(interfaces: &[(&str, &str)]) -> Vec<u8> {
    let mut text = String::from(
        r#"(core module $m (func (export "f")))
           (core instance $i (instantiate $m))
           (func $f (canon lift (core func $i "f")))"#,
    );
    for (place, (interface, function)) in interfaces.iter().enumerate() {
        text += &format!(
            r#"(instance $e{place} (export "{function}" (func $f)))
               (export "waypost:plugin/{interface}" (instance $e{place}))"#
        );
    }
    component(&text)
}

#[test]
fn every_interface_of_another_version_is_refused_with_both_versions() {
    // A policy and a hook, whatever else there is.
    let kinds = [
        ("plugin@0.2.0", "configure"),
        ("members@0.2.0", "update"),
        ("balancer@0.2.0", "pick"),
        ("hook@0.2.0", "attach"),
    ];
    for interface in [
        "plugin",
        "members",
        "balancer",
        "hook",
        "filter",
        "scorer",
        "on-request",
        "on-check",
        "on-response",
        "on-end",
        "description",
        "member-changes",
        "failures",
        "observer",
        "keeper",
        "ticker",
        "file-changes",
    ] {
        let other = format!("{interface}@0.3.0");
        let right = |(name, _): &(&str, &str)| !name.starts_with(&format!("{interface}@"));
        let mut exports: Vec<_> = kinds.into_iter().filter(right).collect();
        exports.push((&other, "anything"));
        let expected = format!(
            "plugin `mine` exports `waypost:plugin/{interface}@0.3.0`, and this waypost has \
             `waypost:plugin/{interface}@0.2`: build the plugin against that version"
        );
        assert_eq!(refusal(&exporting(&exports), &options()), expected);
    }
}

#[test]
fn a_kind_whose_other_exports_are_missing_is_refused_with_the_first_one_that_is() {
    let configure = ("plugin@0.2.0", "configure");
    let update = ("members@0.2.0", "update");
    for (exports, missing) in [
        (&[("hook@0.2.0", "attach")][..], "plugin.configure"),
        (&[configure, ("balancer@0.2.0", "pick")], "members.update"),
        (&[configure, ("scorer@0.2.0", "score")], "members.update"),
        (
            &[configure, update, ("filter@0.2.0", "narrow")],
            "filter.may-be-ignored",
        ),
        (&[configure, ("hook@0.2.0", "detach")], "hook.attach"),
    ] {
        let error = refusal(&exporting(exports), &options());
        let expected = format!("does not export `waypost:plugin/{missing}` as the contract has it");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn an_optional_export_of_the_wrong_type_is_named() {
    // `on-end` without its summary, as a module says it that brings a type of its own.
    let hook = Guest::asked("(i32.const 0)").module();
    assert!(load("mine", &hook).is_ok());
    let text = r#"
        (core module $m (memory (export "memory") 1)
          (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
          (func (export "text") (param i32 i32 i32) (result i32) (i32.const 0))
          (func (export "end") (param i64)))
        (core instance $i (instantiate $m))
        (type $error' (record (field "key" string) (field "message" string)))
        (type $sharing' (variant (case "per-worker") (case "per-process") (case "per-key" string)))
        (type $kind' (enum "policy" "filter" "scorer" "hook"))
        (export $error "settings-error" (type $error'))
        (export $sharing "sharing" (type $sharing'))
        (export $kind "kind" (type $kind'))
        (func $configure (param "kind" $kind) (param "settings" string)
            (result (result $sharing (error $error)))
          (canon lift (core func $i "text") (memory $i "memory") (realloc (func $i "realloc"))))
        (func $attach (param "place" u32) (param "settings" string)
            (result (result (error $error)))
          (canon lift (core func $i "text") (memory $i "memory") (realloc (func $i "realloc"))))
        (func $end (param "exchange" u64) (canon lift (core func $i "end")))
        (instance $plugin (export "configure" (func $configure)))
        (instance $hook (export "attach" (func $attach)))
        (instance $on-end (export "on-end" (func $end)))
        (export "waypost:plugin/plugin@0.2.0" (instance $plugin))
        (export "waypost:plugin/hook@0.2.0" (instance $hook))
        (export "waypost:plugin/on-end@0.2.0" (instance $on-end))"#;
    let error = refusal(&component(text), &options());
    let expected = "does not export `waypost:plugin/on-end.on-end` as the contract has it";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_module_that_carries_no_kind_is_no_plugin() {
    let module = wat::parse_str(
        r#"(module (memory (export "memory") 1)
             (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
             (func (export "waypost:plugin/ticker@0.2.0#tick") (param i64) (result i32)
               (i32.const 0)))"#,
    );
    let error = refusal(
        &typed(module.unwrap(), ["with-ticker"].into_iter()),
        &options(),
    );
    assert!(error.contains("exports none of"), "{error}");
}
