//! Files that are no policies are refused: at the start, and while requests come in.

use super::in_mode;

/// Hands every file to a macro: what makes it, and what is said of it.
macro_rules! foreach_file {
    ($each:ident) => {
        $each! {
            a_text "plugin `mine`",
            noise "plugin `mine`",
            nothing "plugin `mine`",
            cut_short "plugin `mine`",
            of_fifty_megabytes "`limits.file_size`",
            of_a_hundred_thousand_functions "functions",
            machine_code "plugin `mine`",
            for_another_world "balancer",
            for_another_version "0.9.0",
            asking_for_a_store "wasi:keyvalue/store@0.2.0",
        }
    };
}

macro_rules! spec_for_each_file {
    ($($name:ident $reason:literal,)*) => {
        $(
            #[test]
            fn $name() {
                for command in ["run", "check"] {
                    let said = super::super::refused_by(command, &super::$name());
                    assert!(said.contains("plugin `mine`"), "no plugin named:\n{said}");
                    assert!(said.contains($reason), "{said}");
                }
            }
        )*
    };
}

mod a_file {
    foreach_file!(spec_for_each_file);
}

macro_rules! loading_spec_for_each_file {
    ($($name:ident $reason:literal,)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let file = super::$name();
                super::super::loaded::leaves_the_version_before(file, $reason).await;
            }
        )*
    };
}

mod a_file_loaded_meanwhile {
    foreach_file!(loading_spec_for_each_file);
}

fn a_text() -> Vec<u8> {
    b"#!/bin/sh\necho hello\n".to_vec()
}

fn noise() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..))
        .take(100_000)
        .collect()
}

fn nothing() -> Vec<u8> {
    Vec::new()
}

/// As a file is that is still being copied.
fn cut_short() -> Vec<u8> {
    let mut bytes = component();
    bytes.truncate(bytes.len() / 2);
    bytes
}

/// WebAssembly as far as the header goes, and a custom section up to the end.
fn of_fifty_megabytes() -> Vec<u8> {
    let mut bytes = b"\0asm\x0d\0\x01\0\0\xf3\xff\xff\x18\x01x".to_vec();
    bytes.resize(50 << 20, 0);
    bytes
}

/// A compile bomb: a small file, and much work for a compiler.
fn of_a_hundred_thousand_functions() -> Vec<u8> {
    let function = "(func (param i64) (result i64) (i64.mul (local.get 0) (i64.const 7)))";
    let functions = function.repeat(100_000);
    let text = format!("(component (core module {functions}))");
    wat::parse_str(text).expect("the text is valid")
}

/// What wasmtime compiles to: ELF of its own kind, holding a component. Run as it is, it could do
/// anything.
fn machine_code() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\xc8".to_vec();
    bytes.resize(16, 0);
    // Type, machine (x86-64), version, entry, program headers, section headers, flags (a
    // component), sizes and counts.
    bytes.extend(b"\x01\0\x3e\0\x01\0\0\0");
    bytes.resize(48, 0);
    bytes.extend(b"\x02\0\0\0\x40\0");
    bytes.resize(4096, 0);
    bytes
}

/// A component that is no policy.
fn for_another_world() -> Vec<u8> {
    wat::parse_str("(component)").expect("the text is valid")
}

/// A good policy, but of an interface that is not made yet.
fn for_another_version() -> Vec<u8> {
    let mut bytes = component();
    let (package, version) = (b"waypost:plugin/", b"@0.2.0");
    for at in 0..bytes.len() {
        if !bytes[at..].starts_with(package) {
            continue;
        }
        let name = bytes[at..].iter().take(40).position(|&byte| byte == b'@');
        if let Some(name) = name
            && bytes[at + name..].starts_with(version)
        {
            bytes[at + name + 3] = b'9';
        }
    }
    bytes
}

fn asking_for_a_store() -> Vec<u8> {
    let text = r#"(component (import "wasi:keyvalue/store@0.2.0" (instance)))"#;
    wat::parse_str(text).expect("the text is valid")
}

/// A component as `wasm32-wasip2` makes it.
fn component() -> Vec<u8> {
    in_mode("leaks_handles")
}
