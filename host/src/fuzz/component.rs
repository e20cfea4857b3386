//! Plugins before anything is compiled: what the inspection says of a file is what a full reading
//! of it says, and takes no more room than the file.

use arbitrary::Unstructured;
use wasm_smith::{Component, Config, Module};
use wasmparser::{Parser, Payload, Validator};

use crate::plugin::{Inspection, PluginKind, Untrusted, grants_needed};

/// A file, if it begins as WebAssembly; anything else is what one is made of.
pub(super) fn run(bytes: &[u8]) {
    if bytes.starts_with(b"\0asm") || bytes.len() < 2 {
        return file(bytes);
    }
    let _ = Inspection::of("fuzz", bytes);
    let config = Config {
        max_instructions: 20,
        gc_enabled: false,
        ..Config::default()
    };
    let mut choices = Unstructured::new(&bytes[1..]);
    let (made, kind) = match bytes[0] % 2 {
        0 => (
            Component::new(config, &mut choices).map(|component| component.to_bytes()),
            PluginKind::Component,
        ),
        _ => (
            Module::new(config, &mut choices).map(|module| module.to_bytes()),
            PluginKind::CoreModule,
        ),
    };
    if let Ok(made) = made {
        let inspection = Inspection::of("fuzz", &made).expect("what the generator made");
        assert_eq!(inspection.kind, kind);
        file(&made);
    }
}

fn file(bytes: &[u8]) {
    let inspected = Inspection::of("fuzz", bytes);
    let valid = Validator::new().validate_all(bytes).is_ok();
    let Ok(inspection) = inspected else {
        // The bounds on nesting are the inspection's own.
        assert!(!valid || parts(bytes) > 16, "a valid file is refused");
        return;
    };
    for names in [&inspection.imports, &inspection.exports] {
        assert!(names.iter().all(|name| name.as_str().len() <= 256));
    }
    let _ = grants_needed(inspection.imports.iter().map(Untrusted::as_str));
    if valid {
        let (bodies, others) = functions(bytes);
        assert_eq!(inspection.functions, bodies + others);
    }
}

/// Modules and components in a file.
fn parts(bytes: &[u8]) -> usize {
    let payloads = Parser::new(0).parse_all(bytes).map_while(Result::ok);
    payloads
        .filter(|payload| matches!(payload, Payload::Version { .. }))
        .count()
}

/// Function bodies, and functions that a component defines by the canonical ABI.
fn functions(bytes: &[u8]) -> (u32, u32) {
    let (mut bodies, mut canonical) = (0, 0);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.unwrap() {
            Payload::CodeSectionEntry(_) => bodies += 1,
            Payload::ComponentCanonicalSection(section) => {
                canonical += section.into_iter().count() as u32;
            }
            _ => {}
        }
    }
    (bodies, canonical)
}
