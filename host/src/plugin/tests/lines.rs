//! Files and lines survive the way from the compiler to the backtrace, and hostile ones do no harm.

use std::path::Path;

use crate::plugin::component::encode;
use crate::plugin::debug_lines::DebugLines;
use crate::plugin::imports::Surroundings;
use crate::plugin::instance::Instance;
use crate::plugin::policy::Policy;

use super::guests::{Guest, Is, load};
use super::peers::{attempt, exchange};

/// A policy that traps, written in `/home/author/policy/src/lib.wat`, and the line of its trap.
fn trapping() -> (Vec<u8>, usize) {
    let guest = Guest {
        more: "(func $idle)\n(func $helper\nunreachable)",
        is: Is::Policy("(call $idle) (call $helper)\n(i32.const 0)"),
        ..Guest::default()
    };
    let text = guest.text();
    let line = text
        .lines()
        .position(|line| line.starts_with("unreachable"));
    let mut parser = wat::Parser::new();
    parser.generate_dwarf(wat::GenerateDwarf::Lines);
    let path = Path::new("/home/author/policy/src/lib.wat");
    let module = parser.parse_str(Some(path), &text).unwrap();
    (guest.typed(module), 1 + line.unwrap())
}

#[test]
fn a_fault_is_told_with_file_and_line() {
    let (module, line) = trapping();
    let policy = load("guest", &module).unwrap();
    let mut instance = Instance::<Policy>::new(&policy, Surroundings::default()).unwrap();
    let fault = instance.pick(&exchange(1), &attempt(1), 1).unwrap_err();
    let innermost = fault.backtrace[0].as_str();
    assert_eq!(innermost, format!("helper (src/lib.wat:{line})"));
    assert!(
        fault.backtrace[1]
            .as_str()
            .starts_with("pick (src/lib.wat:"),
        "{fault}"
    );
}

#[test]
fn what_was_written_is_read() {
    let (module, _) = trapping();
    let lines = DebugLines::of(&encode(&module).unwrap());
    let mut bytes = Vec::new();
    lines.write(&mut bytes);
    bytes.extend(b"code");
    let mut rest = &bytes[..];
    assert_eq!(DebugLines::read(&mut rest), Some(lines));
    assert_eq!(rest, b"code");
    for length in 0..bytes.len() - 4 {
        assert_eq!(DebugLines::read(&mut &bytes[..length]), None);
    }
}

#[test]
fn a_plugin_without_debug_information_has_none() {
    assert_eq!(
        DebugLines::of(&encode(&Guest::default().module()).unwrap()),
        DebugLines::default()
    );
}

#[test]
fn damaged_line_tables_are_read_as_far_as_they_make_sense() {
    let (module, _) = trapping();
    let component = encode(&module).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..2000 {
        let mut damaged = component.to_vec();
        for _ in 0..3 {
            let place = random.usize(..damaged.len());
            damaged[place] = random.u8(..);
        }
        let lines = DebugLines::of(&damaged);
        for offset in 0..damaged.len() {
            lines.at(offset);
        }
    }
}
