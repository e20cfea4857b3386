//! The commands as a user meets them: what they print, where, and their exit codes.
#![allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]

use std::io::{Read, Write};
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
fn check_tells_programs_what_it_has_found_and_where() {
    let output = waypost(&["check", "-c", VALID, "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected =
        serde_json::json!({"file": VALID, "valid": true, "problems": [], "warnings": []});
    assert_eq!(told, expected);

    let output = waypost(&["check", "-c", INVALID, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = told["problems"].as_array().unwrap();
    assert_eq!((problems.len(), &told["valid"]), (9, &false.into()));
    let in_words = waypost(&["check", "-c", INVALID]);
    for problem in problems {
        let [file, message, key] =
            ["file", "message", "key"].map(|name| problem[name].as_str().unwrap());
        let hint = problem["hint"]
            .as_str()
            .map(|hint| format!("\nhint: {hint}"));
        let expected = format!(
            "error: {message}\n  --> {file}:{}:{}   ({key}){}\n",
            problem["line"],
            problem["column"],
            hint.unwrap_or_default()
        );
        let report = text(&in_words.stderr);
        assert!(report.contains(&expected), "no {expected} in {report}");
    }

    let output = waypost(&["check", "-c", "gone.toml", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = serde_json::json!([{
        "file": "gone.toml",
        "message": "cannot read `gone.toml`: no such file or directory",
        "hint": "name another file with `-c FILE`",
    }]);
    assert_eq!(told["problems"], expected, "what is not known is left out");
}

#[test]
fn check_and_import_tell_programs_which_directives_of_nginx_are_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nginx.conf");
    let directives = "server { listen 80;\nproxy_cache one;\nlocation / { return 204; } }\n";
    std::fs::write(&file, directives).unwrap();
    let file = file.to_str().unwrap();
    let told = |arguments: &[&str]| -> serde_json::Value {
        let output = waypost(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let checked = told(&["check", "-c", file, "--json"]);
    let problem = &checked["problems"][0];
    assert_eq!(
        (&problem["line"], &problem["message"]),
        (&2.into(), &"not supported".into())
    );
    assert_eq!(problem["key"], "proxy_cache one");
    let report = told(&["import", file, "--report", "--json"]);
    let directives = report["directives"].as_array().unwrap();
    let lost = directives
        .iter()
        .find(|of| of["outcome"] == "not supported");
    assert_eq!(lost.unwrap()["directive"], "proxy_cache one");
}

#[test]
fn help_is_no_wider_than_a_hundred_columns() {
    for arguments in [
        &["--help"][..],
        &["top", "--help"],
        &["plugin", "canary", "--help"],
    ] {
        let output = waypost(arguments);
        let wide = text(&output.stdout)
            .lines()
            .find(|line| line.chars().count() > 100);
        assert_eq!(wide, None, "{arguments:?}");
    }
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
fn version_tells_programs_everything() {
    let output = waypost(&["version", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    for name in ["rustc", "target", "wasmtime", "interface"] {
        assert!(told[name].is_string(), "{told}");
    }
    assert_eq!(told["plugins"], serde_json::json!(waypost::stock::NAMES));
}

#[test]
fn wrong_usage_is_told_from_a_problem() {
    for arguments in [&["serve"][..], &[], &["check", "--fast"], &["check", "-c"]] {
        assert_eq!(waypost(arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(waypost(&["--help"]).status.code(), Some(0));
}

/// What a command prints and the exit code it ends with, for a configuration of this text in a
/// folder of its own. `FOLDER` in the text is that folder.
fn with_config(text: &str, arguments: &[&str]) -> (i32, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("waypost.toml");
    let path = folder.path().to_str().unwrap();
    std::fs::write(&file, text.replace("FOLDER", path)).unwrap();
    let output = waypost(&[arguments, &["-c", file.to_str().unwrap()]].concat());
    let [out, err] =
        [&output.stdout, &output.stderr].map(|bytes| self::text(bytes).replace(path, "FOLDER"));
    (output.status.code().unwrap(), out, err)
}

#[test]
fn a_configuration_without_an_admin_address_is_told_the_lines_to_add() {
    let expected = "error: the configuration has no `[admin]`\n\
                    hint: add these lines to `FOLDER/waypost.toml`, or name an address with `--admin`\n\n\
                    [admin]\naddress = \"unix:/run/waypost/admin.sock\"\n";
    for arguments in [&["status"][..], &["plugin", "list"], &["upstream", "list"]] {
        let (code, out, err) = with_config("", arguments);
        assert_eq!((code, out.as_str(), err.as_str()), (1, "", expected));
    }
}

#[test]
fn a_process_that_is_not_there_is_told_by_the_address_of_the_configuration() {
    let expected = "error: nobody answers at `unix:FOLDER/a.sock`: is waypost running with this configuration?\n";
    // What else is wrong with the file is no reason not to ask a process that serves an older one.
    let text = "[admin]\naddress = \"unix:FOLDER/a.sock\"\n[upstream.a]\nservers = 1\n";
    let (code, _, err) = with_config(text, &["status"]);
    assert_eq!((code, err.as_str()), (1, expected));
}

#[test]
fn an_admin_address_that_cannot_be_told_is_a_problem_with_its_place() {
    let (code, _, err) = with_config("[admin]\naddress = \"0.0.0.0:9180\"\n", &["status"]);
    assert_eq!(code, 1);
    assert!(
        err.contains("FOLDER/waypost.toml:2:11   (admin.address)"),
        "{err}"
    );
    assert!(
        err.contains(
            "error: `FOLDER/waypost.toml` does not say where the process is asked\nhint: name an \
             address with `--admin`"
        ),
        "{err}"
    );
}

#[test]
fn a_named_admin_address_needs_no_configuration() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The request is one small segment, and does not matter here.
        assert_ne!(stream.read(&mut [0; 4096]).unwrap(), 0);
        stream
            .write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\n{}")
            .unwrap();
    });
    let output = waypost(&["stop", "-c", "gone.toml", "--admin", &address]);
    server.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(text(&output.stdout), "stopping\n");
}

#[test]
fn wrong_usage_of_the_commands_that_talk_to_a_process_is_told_before_any_is_asked() {
    for line in [
        "status --admin 0.0.0.0:9180",
        "status --admin 127.0.0.1",
        "reload --yaml",
        "plugin",
        "plugin load mine",
        "upstream add backend",
        "upstream add backend 127.0.0.1:1 --weight 0",
        "upstream weight backend 127.0.0.1:1",
        "upstream weight backend 127.0.0.1:1 65536",
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        assert_eq!(waypost(&arguments).status.code(), Some(2), "{line}");
    }
}
