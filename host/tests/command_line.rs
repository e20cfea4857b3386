//! The commands as a user meets them: what they print, where, and their exit codes.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]

use std::process::{Command, Output};

const VALID: &str = "../tests/config/valid/minimal.toml";
const INVALID: &str = "../tests/config/invalid/returns.toml";

fn waypost(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_waypost"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn check_says_that_a_configuration_is_valid() {
    let output = waypost(&["check", "-c", VALID]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        text(&output.stdout),
        format!("configuration {VALID} is valid\n")
    );
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn check_show_and_run_report_every_problem_to_the_standard_error() {
    for command in ["check", "show", "run"] {
        let output = waypost(&[command, "-c", INVALID]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert_eq!(text(&output.stdout), "", "{command}");
        let report = text(&output.stderr);
        assert_eq!(report.matches("error: ").count(), 9, "{report}");
        assert!(
            report.ends_with(&format!("configuration {INVALID} has 9 problems\n")),
            "{report}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_named_with_the_way_to_name_another() {
    let output = waypost(&["check", "-c", "gone.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let expected = "error: cannot read `gone.toml`: no such file or directory\n  --> gone.toml\n\
                    hint: name another file with `-c FILE`\n\nconfiguration gone.toml has 1 problem\n";
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn show_prints_the_configuration_with_its_defaults() {
    let output = waypost(&["show", "-c", VALID]);
    assert_eq!(output.status.code(), Some(0));
    let expected = std::fs::read_to_string("../tests/config/shown/minimal.toml").unwrap();
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn schema_prints_json() {
    let output = waypost(&["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
}

#[test]
fn version_names_what_was_built_in_when_asked_for_more() {
    let version = format!("waypost {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&waypost(&["version"]).stdout), version);
    let output = waypost(&["version", "-v"]);
    let rest = text(&output.stdout).strip_prefix(&version).unwrap();
    let names: Vec<&str> = rest
        .lines()
        .map(|line| line.split_once(' ').unwrap().0)
        .collect();
    assert_eq!(
        names,
        ["rustc", "target", "wasmtime", "interface", "plugins"]
    );
    for expected in ["waypost:plugin@", "48.", "round_robin"] {
        assert!(rest.contains(expected), "{rest}");
    }
    assert!(!rest.contains(" unknown\n"), "{rest}");
}

#[test]
fn wrong_usage_is_told_from_a_problem() {
    for arguments in [&["serve"][..], &[], &["check", "--fast"], &["check", "-c"]] {
        assert_eq!(waypost(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(waypost(&["--help"]).status.code(), Some(0));
}
