//! `waypost plugin simulate`: policies under the same load, side by side.

use std::process::{Command, Output};

use tempfile::TempDir;
use waypost_tests::waypost;

use super::misbehaving::in_mode;

fn simulate(folder: &TempDir, arguments: &[&str]) -> Output {
    let mut command = Command::new(waypost());
    command
        .args(["plugin", "simulate"])
        .args(arguments)
        .current_dir(folder.path())
        .env("XDG_CACHE_HOME", waypost().with_file_name("specs-cache"));
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The rows of the table, by their columns: more than one space apart.
fn rows(output: &Output) -> Vec<Vec<String>> {
    assert!(output.status.success(), "{output:?}");
    let printed = text(&output.stdout);
    let rows = printed.lines().skip(3);
    rows.map(|row| {
        let cells = row.split("  ").map(str::trim);
        cells
            .filter(|cell| !cell.is_empty())
            .map(str::to_owned)
            .collect()
    })
    .collect()
}

#[test]
fn policies_are_compared_under_the_same_load_whenever_it_is_run() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine.wasm"), in_mode("behaves")).unwrap();
    let arguments = [
        "round_robin",
        "hash={ key = \"$arg_user\", consistent = true }",
        "./mine.wasm",
        "--requests",
        "3000",
        "--kill",
        "s2@1s",
    ];
    let once = simulate(&folder, &arguments);
    let rows = rows(&once);
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert_eq!(
        rows[1][3], "0.0 %",
        "a consistent hash moves nobody: {rows:?}"
    );
    assert_ne!(rows[0][3], "0.0 %", "{rows:?}");
    // Of four servers this one takes the last.
    assert_eq!(rows[2][1], "0.0 0.0 0.0 100.0", "{rows:?}");
    assert!(rows.iter().all(|row| row[9] == "0"), "none fails: {rows:?}");
    assert_eq!(once.stdout, simulate(&folder, &arguments).stdout);
    let other = simulate(&folder, &[&arguments[..], &["--seed", "2"]].concat());
    assert_ne!(once.stdout, other.stdout);
}

#[test]
fn the_requests_of_a_log_are_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let line = |number: u32| {
        format!(
            "192.0.2.{} - - [29/Nov/2026:16:10:{:02} +0000] \"GET /{number} HTTP/1.1\" 200 5\n",
            number % 7,
            number / 20
        )
    };
    let log: String = (0..200).map(line).collect();
    std::fs::write(folder.path().join("access.log"), log + "and a line more\n").unwrap();
    let output = simulate(&folder, &["round_robin", "--trace", "access.log"]);
    let printed = text(&output.stdout);
    assert!(printed.starts_with("200 requests in 9.9 s"), "{printed}");
    let warned = text(&output.stderr);
    assert!(warned.contains("1 lines of `access.log`"), "{warned}");
    assert_eq!(rows(&output)[0][1], "25.0 25.0 25.0 25.0");
}

#[test]
fn programs_get_all_results_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let output = simulate(&folder, &["random", "--requests", "1000", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = &told["policies"][0];
    assert_eq!(
        (&of["policy"], &of["result"]["requests"]),
        (&"random".into(), &1000.into())
    );
    assert_eq!(of["result"]["servers"].as_array().unwrap().len(), 4);
}

#[test]
fn a_page_stands_alone() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["random", "--requests", "1000", "--html", "page.html"];
    assert!(simulate(&folder, &arguments).status.success());
    let page = std::fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("<h2>random</h2>"));
    for elsewhere in ["http:", "https:", "<script", "<link", "src="] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
}

#[test]
fn what_cannot_be_simulated_is_told_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("other.log"), "{}\n").unwrap();
    for (code, arguments, message) in [
        (1, &["jwt"][..], "`jwt` is a hook, and chooses no server"),
        (1, &["hash"], "`key` is missing"),
        (
            1,
            &["random", "--kill", "s9@1s"],
            "names `s9`, and the servers are `s1`",
        ),
        (
            1,
            &["random", "--trace", "other.log"],
            "no line of it has a client",
        ),
        (
            1,
            &["random", "--slow", "s1@1s"],
            "`--slow` has to be like `s1=3x@60s`",
        ),
        (
            2,
            &["random", "--kill", "s1"],
            "write a server and a time, like `s2@30s`",
        ),
        (2, &["random", "--service", "20"], "`20` is no time"),
        (2, &["random", "--servers", "a*0"], "`a*0` is no server"),
        (2, &[], "required"),
    ] {
        let output = simulate(&folder, arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(message), "{arguments:?}: {said}");
    }
}
