//! `waypost plugin test` finds out what a plugin must not do, and `plugin bench` measures it.

use std::process::{Command, Output};

use tempfile::TempDir;
use waypost_tests::waypost;

use super::misbehaving::in_mode;

/// A directory with `mine.wasm`: the policy that misbehaves like this.
fn directory(mode: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("mine.wasm"), in_mode(mode)).unwrap();
    directory
}

fn plugin(directory: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(waypost());
    command.arg("plugin").args(arguments);
    command.current_dir(directory.path()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a trial of it finds, and the lines that begin with this word.
fn tested(mode: &str, word: &str) -> (Output, Vec<String>) {
    let output = plugin(&directory(mode), &["test", "mine.wasm"]);
    let printed = text(&output.stdout);
    let lines = printed.lines().filter(|line| line.starts_with(word));
    let lines = lines.map(str::to_owned).collect();
    (output, lines)
}

#[test]
fn a_policy_that_behaves_passes() {
    let (output, fail) = tested("behaves", "FAILS");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fail, [] as [&str; 0]);
    let summary = text(&output.stdout);
    assert!(summary.ends_with(" 0 fail\n"), "{summary}");
}

#[test]
fn what_a_policy_must_not_do_is_found_out() {
    let seen = [
        ("traps_in_pick", "traps"),
        ("traps_in_done", "traps"),
        ("traps_in_failed", "traps"),
        ("hoards_memory", "too much memory"),
        ("picks_what_does_not_exist", "answers that are not allowed"),
        ("picks_what_is_down", "answers that are not allowed"),
        ("picks_what_was_tried", "answers that are not allowed"),
        ("traps_in_update", "mine"),
    ];
    for (mode, kind) in seen {
        let (output, fail) = tested(mode, "FAILS");
        assert_eq!(output.status.code(), Some(1), "{mode}: {output:?}");
        assert!(
            fail.iter().any(|line| line.contains(kind)),
            "{mode}: {fail:?}"
        );
    }
}

#[test]
fn programs_are_told_what_was_found_and_measured() {
    let output = plugin(
        &directory("traps_in_pick"),
        &["test", "mine.wasm", "--json"],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["name"], &told["seed"]), (&"mine".into(), &1.into()));
    let findings = told["findings"].as_array().unwrap();
    let of = |verdict: &str| {
        findings
            .iter()
            .filter(|of| of["verdict"] == verdict)
            .count()
    };
    assert!(of("fails") > 0 && of("holds") > 0, "{told}");
    assert_eq!(of("fails") + of("note") + of("holds"), findings.len());

    let output = plugin(&directory("behaves"), &["bench", "mine.wasm", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let measured = told["measured"].as_array().unwrap();
    let over = |plugin: &str| -> Vec<u64> {
        let of = measured.iter().filter(|of| of["plugin"] == plugin);
        of.map(|of| of["servers"].as_u64().unwrap()).collect()
    };
    assert_eq!(
        (over("mine"), over("round_robin")),
        (vec![3, 32, 1000], vec![3, 32, 1000])
    );
}

/// The log has the plugin's own words.
#[test]
fn what_a_plugin_says_as_it_fails_is_printed() {
    let (output, _) = tested("traps_in_pick", "FAILS");
    let log = text(&output.stderr);
    assert!(log.contains("failed in `pick`"), "{log}");
}

#[test]
fn a_plugin_without_the_settings_that_it_needs_is_told_which() {
    let directory = tempfile::tempdir().unwrap();
    let output = plugin(&directory, &["test", "maglev"]);
    assert_eq!(output.status.code(), Some(1));
    let printed = text(&output.stdout);
    assert!(printed.contains("`key` is missing"), "{printed}");
    let with_key = ["test", "maglev", "--settings", "key = \"$request_uri\""];
    let output = plugin(&directory, &with_key);
    assert!(output.status.success(), "{output:?}");
    let bad = plugin(&directory, &["test", "maglev", "--settings", "key"]);
    let error = text(&bad.stderr);
    assert!(error.contains("`--settings` has to be like"), "{error}");
}

#[test]
fn the_same_seed_makes_the_same_trial() {
    let directory = tempfile::tempdir().unwrap();
    let trial = |seed| plugin(&directory, &["test", "random", "--seed", seed]).stdout;
    assert_eq!(text(&trial("7")), text(&trial("7")));
    assert_ne!(text(&trial("7")), text(&trial("8")));
}

#[test]
fn calls_that_fail_are_no_figures() {
    let output = plugin(&directory("traps_in_pick"), &["bench", "mine.wasm"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = text(&output.stderr);
    assert!(error.contains("failed while it was measured ("), "{error}");
    assert!(error.contains(" traps)"), "{error}");
}

#[test]
fn calls_are_measured_beside_those_of_round_robin() {
    let output = plugin(&directory("behaves"), &["bench", "mine.wasm"]);
    let printed = text(&output.stdout);
    let rows: Vec<Vec<&str>> = printed
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect())
        .collect();
    let names: Vec<(&str, &str)> = rows.iter().map(|row| (row[0], row[1])).collect();
    let expected = ["3", "32", "1000"].map(|over| [("mine", over), ("round_robin", over)]);
    assert_eq!(names, expected.concat());
    assert!(
        rows.iter()
            .all(|row| row[2].parse::<f64>().unwrap() > 0.0 && row[5] != "0"),
        "{printed}"
    );
}
