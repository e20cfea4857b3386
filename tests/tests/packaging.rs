//! What distributions install beside the binary: `host/packaging`.

use std::path::{Path, PathBuf};
use std::process::Command;

use waypost_tests::child::run;
use waypost_tests::{peers, tls, waypost};

fn packaging(name: &str) -> PathBuf {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let host = host.expect("the tests are in the repository");
    host.join("host/packaging").join(name)
}

/// The unit, with this binary where the package has its own.
fn unit(folder: &Path) -> PathBuf {
    let text = std::fs::read_to_string(packaging("waypost.service")).expect("it is there");
    let text = text.replace("/usr/bin/waypost", &waypost().display().to_string());
    // Its page of the manual is not installed here.
    let text = text.replace("Documentation=man:waypost(1)\n", "");
    let path = folder.join("waypost.service");
    std::fs::write(&path, text).expect("it is ours");
    path
}

#[test]
fn systemd_takes_the_unit_and_finds_it_confined() {
    if !peers::installed("systemd-analyze", "systemd") {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room for a directory");
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").arg(unit(folder.path()));
    let (code, _, said) = run(verify);
    assert_eq!((code, &*said), (0, ""));
    let mut security = Command::new("systemd-analyze");
    security
        .args(["security", "--offline=true", "--threshold=25", "--no-pager"])
        .arg(unit(folder.path()));
    let (code, out, said) = run(security);
    assert_eq!(code, 0, "{out}{said}");
}

#[test]
fn the_load_that_a_profile_is_made_under_is_answered() {
    let Some(python) = peers::python(&["ssl"]) else {
        return;
    };
    if !tls::installed("openssl") {
        return;
    }
    let mut train = Command::new(python);
    train.arg(packaging("dist/train.py")).arg(waypost());
    train.args(["--rounds", "2"]);
    let (code, out, said) = run(train);
    assert_eq!(code, 0, "{out}{said}");
}

#[test]
fn the_configurations_that_are_installed_are_valid_where_they_are_installed() {
    for name in ["waypost.toml", "container.toml"] {
        let folder = tempfile::tempdir().expect("there is room for a directory");
        let text = std::fs::read_to_string(packaging(name)).expect("it is there");
        let places = match name {
            "waypost.toml" => &["/var/log/waypost/", "/run/waypost/"][..],
            _ => &["/tmp/"],
        };
        let here = format!("{}/", folder.path().display());
        let replace = |text: String, there: &&str| text.replace(there, &here);
        let text = places.iter().fold(text, replace);
        let text = text.replace("0.0.0.0:80\"", "127.0.0.1:0\"");
        std::fs::write(folder.path().join("waypost.toml"), text).expect("it is ours");
        let mut check = Command::new(waypost());
        check.arg("check").current_dir(folder.path());
        let (code, _, said) = run(check);
        assert_eq!((code, &*said), (0, ""), "{name}");
    }
}

#[test]
fn each_command_has_a_page_of_the_manual_and_is_completed_by_shells() {
    let folder = tempfile::tempdir().expect("there is room for a directory");
    let mut man = Command::new(waypost());
    man.arg("man").arg(folder.path());
    assert_eq!(run(man).0, 0);
    for page in [
        "waypost",
        "waypost-run",
        "waypost-plugin-canary",
        "waypost-upstream-list",
    ] {
        let text = std::fs::read_to_string(folder.path().join(format!("{page}.1")));
        let text = text.unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".SH SYNOPSIS"), "{page}: {text}");
    }
    let hidden = folder.path().join("waypost-compile-plugin.1");
    assert!(!hidden.exists(), "what it runs itself is nobody's to know");
    for shell in ["bash", "zsh", "fish"] {
        let mut completions = Command::new(waypost());
        completions.args(["completions", shell]);
        let (code, script, _) = run(completions);
        assert_eq!(code, 0);
        assert!(script.contains("doctor"), "{shell}: {script}");
    }
    let mut nowhere = Command::new(waypost());
    nowhere.args(["man", "/nowhere"]);
    let (code, _, said) = run(nowhere);
    assert_eq!(code, 1);
    assert!(said.contains("cannot write pages into /nowhere"), "{said}");
}

#[test]
fn the_doctor_says_what_a_machine_is_too_small_for() {
    let folder = tempfile::tempdir().expect("there is room for a directory");
    let text = "[server]\nworkers = 1\nmax_connections = 100\n[admin]\naddress = \"127.0.0.1:0\"\n\
                [[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nproxy = \"http://127.0.0.1:1\"\n";
    let file = folder.path().join("waypost.toml");
    std::fs::write(&file, text).expect("it is ours");
    let doctor = |limit: &str, arguments: &str| {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!(
            "ulimit -n {limit} && exec {} doctor -c {} {arguments}",
            waypost().display(),
            file.display()
        ));
        run(shell)
    };
    let (code, out, said) = doctor("1024", "");
    assert_eq!((code, &*said), (0, ""), "{out}");
    assert!(
        out.contains("ok       open files: 1024: enough for 100 clients"),
        "{out}"
    );
    let (code, out, _) = doctor("300", "");
    assert_eq!(code, 1, "{out}");
    let expected = "problem  open files: 300 are too few for `max_connections = 100`, which may need 456\n\
                    \x20        `LimitNOFILE=456` in the unit of systemd, or `ulimit -Hn 456`\n";
    assert!(out.contains(expected), "{out}");
    let (_, out, _) = doctor("300", "--json");
    let found: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!(found[0]["level"], "problem");
}
