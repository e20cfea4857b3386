//! What `waypost check` finds beyond the file: what would keep a source from being asked, or the
//! admin API from starting.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use waypost_tests::{child, waypost};

/// A command on the configuration of a directory.
fn on(command: &str, directory: &Path) -> (i32, String) {
    let mut run = Command::new(waypost());
    run.env_remove("KUBERNETES_SERVICE_HOST");
    run.args([command, "-c"])
        .arg(directory.join("waypost.toml"));
    let (code, out, err) = child::run(run);
    (code, out + &err)
}

/// A configuration in a directory of its own.
fn written(text: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    let text = text.replace("{dir}", &directory.path().display().to_string());
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n{text}[[route]]\nreturn = {{ status = 204 }}\n"
    );
    std::fs::write(directory.path().join("waypost.toml"), text).unwrap();
    directory
}

#[test]
fn check_finds_files_of_sources_that_cannot_be_read() {
    let directory = written(
        "[upstream.a]\n\
         servers_from = { http = \"https://127.0.0.1:9\", ca = \"gone.pem\", token_file = \"gone\" }\n\
         [upstream.b]\nservers_from = { consul = \"https://127.0.0.1:9\", service = \"b\", ca = \"empty.pem\" }\n",
    );
    std::fs::write(directory.path().join("empty.pem"), "").unwrap();
    let (code, said) = on("check", directory.path());
    assert_eq!(code, 1, "{said}");
    for part in [
        "cannot read the certificate `",
        "/gone.pem`",
        "(upstream.a.servers_from.ca)",
        "the token cannot be read from `",
        "/gone`: no such file or directory",
        "(upstream.a.servers_from.token_file)",
        "(upstream.b.servers_from.ca)",
    ] {
        assert!(said.contains(part), "no {part} in\n{said}");
    }
    assert!(said.contains("3 problems"), "{said}");
}

#[test]
fn check_warns_of_a_list_that_cannot_be_kept_where_it_is_to_be() {
    let source = |keep: &str| {
        let list = "[upstream.a]\nservers_from = { http = \"http://127.0.0.1:9\", keep = ";
        written(&format!("{list}\"{keep}\" }}\n"))
    };
    let directory = source("a.json");
    let (code, said) = on("check", directory.path());
    assert!(code == 0 && !said.contains("`keep`"), "{said}");
    std::fs::create_dir(directory.path().join("a.json")).unwrap();
    let (code, said) = on("check", directory.path());
    assert_eq!(code, 0, "{said}");
    for part in [
        "warning: `keep` of upstream `a` cannot be written: `/",
        "/a.json`: it is not a regular file",
        "(upstream.a.servers_from.keep)",
        "hint: the user that runs waypost has to be allowed to read the file",
    ] {
        assert!(said.contains(part), "no {part} in\n{said}");
    }
}

#[test]
fn check_finds_kubernetes_without_an_api_outside_of_a_pod() {
    let directory = written("[upstream.a]\nservers_from = { kubernetes = \"a\" }\n");
    let (code, said) = on("check", directory.path());
    assert_eq!(code, 1, "{said}");
    for part in [
        "there is no `KUBERNETES_SERVICE_HOST`: outside of a pod, say `api`",
        "waypost.toml:4:31   (upstream.a.servers_from.kubernetes)",
        "hint: `api = ",
    ] {
        assert!(said.contains(part), "no {part} in\n{said}");
    }
}

/// As the start says it.
#[test]
fn check_finds_what_keeps_the_admin_socket_from_being_made() {
    for (path, why, hint) in [
        (
            "{dir}/gone/w.sock",
            "no such file or directory",
            "the folder of a socket has to be there",
        ),
        (
            "{dir}/waypost.toml",
            "there is a file that is no socket",
            "where a file is in the way, name another path",
        ),
        (
            "{dir}/waypost.toml/w.sock",
            "not a directory",
            "name another path",
        ),
    ] {
        let directory = written(&format!("[admin]\naddress = \"unix:{path}\"\n"));
        for command in ["check", "run"] {
            let (code, said) = on(command, directory.path());
            assert_eq!(code, 1, "{command}: {said}");
            for part in [
                "cannot listen on the admin address unix:/",
                why,
                hint,
                "(admin.address)",
            ] {
                assert!(said.contains(part), "{command}: no {part} in\n{said}");
            }
        }
    }
    let directory = written("[admin]\naddress = \"unix:{dir}/w.sock\"\n");
    let (code, said) = on("check", directory.path());
    assert_eq!(code, 0, "{said}");
    // Of the process that serves, or of one that has died.
    drop(std::os::unix::net::UnixListener::bind(directory.path().join("w.sock")).unwrap());
    let (code, said) = on("check", directory.path());
    assert_eq!(code, 0, "{said}");
}

/// One that listens at all addresses has this one as well.
#[test]
fn an_admin_address_that_a_listener_has_is_none() {
    for (listener, admin, code) in [
        (":8090", "127.0.0.1:8090", 1),
        ("[::]:8090", "[::1]:8090", 1),
        ("[::]:8090", "127.0.0.1:8090", 0),
        (":8091", "127.0.0.1:8090", 0),
        (":0", "127.0.0.1:0", 0),
    ] {
        let text =
            format!("[[listen]]\naddress = \"{listener}\"\n[admin]\naddress = \"{admin}\"\n");
        let directory = written(&text);
        let (exit, said) = on("check", directory.path());
        assert_eq!(exit, code, "{listener}: {said}");
        if code == 1 {
            let part = format!("the admin address `{admin}` is that of a listener, `");
            assert!(said.contains(&part), "{said}");
            assert!(said.contains("(admin.address)"), "{said}");
        }
    }
}
