//! What is not loaded, and the words that tell its author why.

use crate::config::model::{CompileLimits, Grants, PluginLimits};
use crate::plugin::{Hash, Inspection, PluginKind, PluginOptions};

use super::guests::{Guest, component, load, options, refusal, runtime};

/// A policy with a `balancer` of this version, whose `keeper` has these exports; none of it has the
/// right type.
fn policy_text(version: &str, keeper: &str) -> String {
    format!(
        r#"(core module $m (func (export "f")))
           (core instance $i (instantiate $m))
           (func $f (canon lift (core func $i "f")))
           (instance $plugin (export "configure" (func $f)))
           (instance $members (export "update" (func $f)))
           (instance $balancer (export "pick" (func $f)))
           (instance $keeper {keeper})
           (export "waypost:plugin/plugin@0.2.0" (instance $plugin))
           (export "waypost:plugin/members@0.2.0" (instance $members))
           (export "waypost:plugin/balancer@{version}" (instance $balancer))
           (export "waypost:plugin/keeper@0.2.0" (instance $keeper))"#
    )
}

/// A core module of so many functions, empty all of them.
fn functions(number: u32) -> Vec<u8> {
    // With one type, of no parameters and no results.
    let mut module = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0".to_vec();
    let mut section = |id: u8, element: &[u8]| {
        let mut content = leb(number);
        content.extend(element.repeat(number as usize));
        module.push(id);
        module.extend(leb(u32::try_from(content.len()).unwrap()));
        module.extend(content);
    };
    section(3, b"\0"); // functions: the type of each
    section(10, b"\x02\0\x0b"); // code: two bytes, no locals, `end`
    module
}

fn leb(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn functions_up_to(functions: u32) -> PluginOptions {
    PluginOptions {
        compile: CompileLimits {
            functions,
            ..CompileLimits::default()
        },
        ..PluginOptions::stock()
    }
}

fn granted(grants: Grants) -> PluginOptions {
    PluginOptions {
        grants,
        ..PluginOptions::stock()
    }
}

#[test]
fn a_policy_of_another_version_of_the_contract_is_told_both_versions() {
    let error = refusal(&component(&policy_text("0.1.0", "")), &options());
    let expected = "plugin `mine` exports `waypost:plugin/balancer@0.1.0`, and this waypost has \
                    `waypost:plugin/balancer@0.2`: build the plugin against that version";
    assert_eq!(error, expected);
}

#[test]
fn an_import_of_another_version_is_told_both_versions() {
    for (found, wanted) in [
        ("waypost:plugin/request@9.0.0", "waypost:plugin/request@0.2"),
        ("waypost:plugin/fleet@0.20.0", "waypost:plugin/fleet@0.2"),
        ("wasi:io/poll@0.3.0", "wasi:io/poll@0.2"),
    ] {
        let error = refusal(
            &component(&format!(r#"(import "{found}" (instance))"#)),
            &options(),
        );
        let expected = format!(
            "plugin `mine` imports `{found}`, and this waypost has `{wanted}`: build the plugin against that version"
        );
        assert_eq!(error, expected);
    }
}

#[test]
fn imports_that_are_not_granted_are_named_with_the_line_that_grants_them() {
    let imports = component(
        r#"(import "waypost:plugin/fleet@0.2.0" (instance))
           (import "waypost:plugin/request@0.2.0" (instance))
           (import "waypost:plugin/exchange@0.2.0" (instance))"#,
    );
    let only_response = Grants {
        response: true,
        ..Grants::default()
    };
    assert_eq!(
        refusal(&imports, &granted(only_response)),
        "plugin `mine` imports `waypost:plugin/request@0.2.0` and `waypost:plugin/exchange@0.2.0`, which its entry does \
         not grant: add `grants = [\"request\", \"response\", \"exchange\"]` to `[plugin.mine]`"
    );
    let both = Grants {
        request: true,
        exchange: true,
        ..Grants::default()
    };
    let error = refusal(&imports, &granted(both));
    // It is no plugin, which is found out next.
    assert!(error.contains("exports none of"), "{error}");
}

#[test]
fn what_is_imported_for_its_types_alone_or_not_at_all_needs_no_grant() {
    // Its world has `request`, `exchange` and `response`; the encoder leaves out what the module
    // does not import.
    let plugin = runtime().load(
        "mine",
        1,
        &Guest::default().module(),
        &granted(Grants::default()),
    );
    let types = ["waypost:plugin/types@0.2.0", "waypost:plugin/fleet@0.2.0"];
    assert_eq!(plugin.unwrap().imports(), types);
}

#[test]
fn a_keeper_that_only_gives_state_is_refused() {
    let half = policy_text("0.2.0", r#"(export "export-state" (func $f))"#);
    let error = refusal(&component(&half), &options());
    let expected = "plugin `mine` does not export `waypost:plugin/keeper.import-state` as the contract has it: it is missing";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_keeper_is_found_and_its_types_are_checked() {
    let keeper = |import: &'static str| Guest {
        more: import,
        worlds: &["with-keeper"],
        ..Guest::default()
    };
    let right = r#"(func (export "waypost:plugin/keeper@0.2.0#export-state") (result i32) (i32.const 0))
                   (func (export "waypost:plugin/keeper@0.2.0#import-state") (param i32 i32) (result i32) (i32.const 0))"#;
    let plugin = keeper(right).load();
    assert_eq!(plugin.interfaces(), ["policy", "keeper"]);
    assert_eq!(Guest::default().load().interfaces(), ["policy"]);
}

#[test]
fn machine_code_is_never_loaded() {
    let engine = wasmtime::Engine::new(&crate::plugin::engine_config::engine_config()).unwrap();
    let code = engine.precompile_component(&component("")).unwrap();
    let kept = [crate::plugin::cache::MAGIC, &code].concat();
    for code in [code, kept] {
        assert_eq!(
            refusal(&code, &options()),
            "plugin `mine` is precompiled machine code, which is never loaded: give the .wasm it was made of"
        );
    }
}

#[test]
fn a_file_that_was_cut_is_refused() {
    let whole = Guest::default().module();
    for length in [0, 4, 9, whole.len() / 2, whole.len() - 1] {
        let error = refusal(&whole[..length], &options());
        let expected = "plugin `mine` is no webassembly that can be read: ";
        assert!(error.starts_with(expected), "{length}: {error}");
    }
}

#[test]
fn a_hundred_thousand_functions_are_counted_and_not_compiled() {
    let error = refusal(&functions(100_000), &PluginOptions::stock());
    assert_eq!(
        error,
        "plugin `mine` has 100000 functions, more than 50000: raise its `limits.functions` if you trust it with more"
    );
}

#[test]
fn functions_count_wherever_they_are() {
    let nested = component(
        r#"(core module (func) (func))
           (component (core module (func) (func) (func)) (core module $m (func (export "f")))
             (core instance $i (instantiate $m)) (func (canon lift (core func $i "f"))))"#,
    );
    let inspection = Inspection::of("mine", &nested).unwrap();
    assert_eq!(
        (inspection.kind, inspection.functions),
        (PluginKind::Component, 7)
    );
    let error = refusal(&nested, &functions_up_to(6));
    assert!(error.contains("has 7 functions, more than 6"), "{error}");
    let error = refusal(&nested, &functions_up_to(7));
    assert!(error.contains("exports none of"), "{error}");
}

#[test]
fn a_doll_of_dolls_is_refused() {
    let mut doll = component("");
    for _ in 0..20 {
        // A component with one section: a component.
        let mut around = b"\0asm\x0d\0\x01\0\x04".to_vec();
        around.extend(leb(u32::try_from(doll.len()).unwrap()));
        around.extend(doll);
        doll = around;
    }
    let error = refusal(&doll, &options());
    assert!(
        error.contains("it nests modules more than 16 deep"),
        "{error}"
    );
}

#[test]
fn a_core_module_and_the_component_made_of_it_tell_the_same() {
    let module = Guest {
        more: r#"(import "waypost:plugin/request@0.2.0" "path" (func (param i32)))
                 (import "waypost:plugin/fleet@0.2.0" "in-flight" (func (param i32) (result i32)))"#,
        ..Guest::default()
    }
    .module();
    let encoded = crate::plugin::component::encode(&module).unwrap();
    let (of_module, of_component) = (
        Inspection::of("m", &module).unwrap(),
        Inspection::of("c", &encoded).unwrap(),
    );
    assert_eq!(
        (of_module.kind, of_component.kind),
        (PluginKind::CoreModule, PluginKind::Component)
    );
    let imports = ["waypost:plugin/fleet@0.2.0", "waypost:plugin/request@0.2.0"];
    assert_eq!(of_module.imports, imports);
    // A component imports what it has only types of, too.
    let mut of_component = of_component.imports;
    of_component.retain(|import| import.as_str() != "waypost:plugin/types@0.2.0");
    assert_eq!(of_component, imports);
    let exports = [
        "waypost:plugin/balancer@0.2.0",
        "waypost:plugin/members@0.2.0",
        "waypost:plugin/plugin@0.2.0",
    ];
    assert_eq!(of_module.exports, exports);
}

#[test]
fn a_table_beyond_its_limit_names_the_key() {
    let guest = Guest {
        more: "(table 10001 funcref)",
        ..Guest::default()
    };
    let error = refusal(&guest.module(), &options());
    assert!(
        error.contains("asked for 10001 elements of tables, its `limits.table_elements` is 10000"),
        "{error}"
    );
    let limits = PluginLimits {
        table_elements: 10_001,
        ..options().limits
    };
    let more = PluginOptions {
        limits,
        ..options()
    };
    assert!(runtime().load("mine", 1, &guest.module(), &more).is_ok());
}

#[test]
fn core_instances_beyond_their_limit_name_the_key() {
    let limits = PluginLimits {
        core_instances: 1,
        ..options().limits
    };
    let text =
        r#"(core module $n) (core instance (instantiate $n)) (core instance (instantiate $n))"#;
    let keeper = r#"(export "export-state" (func $f)) (export "import-state" (func $f))"#;
    let exported = format!("{text} {}", policy_text("0.2.0", keeper));
    let error = refusal(
        &component(&exported),
        &PluginOptions {
            limits,
            ..options()
        },
    );
    assert!(
        error.contains("its `limits.core_instances` would raise it"),
        "{error}"
    );
}

#[test]
fn a_plugin_knows_its_version_its_hash_and_its_terms() {
    let bytes = Guest::default().module();
    let plugin = runtime().load("mine", 7, &bytes, &options()).unwrap();
    assert_eq!(
        (plugin.version(), plugin.hash(), *plugin.options()),
        (7, Hash::of(&bytes), options())
    );
    // `printf '' | sha256sum`
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(Hash::of(b"").to_string(), empty);
    let stock = runtime().stock("hash").unwrap().unwrap();
    assert_eq!(
        (stock.version(), *stock.options()),
        (1, PluginOptions::stock())
    );
    assert_ne!(
        stock.hash(),
        runtime().stock("random").unwrap().unwrap().hash()
    );
    assert_ne!(
        plugin.hash(),
        load("other", &Guest::picks("(i32.const 0)").module())
            .unwrap()
            .hash()
    );
}
