//! The commands: what they print, and their exit codes. 0 is success, 1 a problem that was
//! reported, 2 wrong usage.

use std::process::Command;

use tempfile::TempDir;
use waypost_tests::{Child, Client, child, origin, proxy, waypost};

fn waypost_says(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(waypost());
    command.args(arguments);
    child::run(command)
}

/// A command on a configuration file with this content.
fn on(command: &str, file: &str) -> (i32, String, String) {
    let directory = TempDir::new().expect("there is room for a directory");
    let path = directory.path().join("waypost.toml");
    std::fs::write(&path, file).expect("the directory is ours");
    waypost_says(&[command, "-c", &path.to_string_lossy()])
}

const GOOD: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\n[upstream.backend]\nservers = [\"127.0.0.1:9\"]\n\
                    [[route]]\nproxy = \"backend\"\n";
const BAD: &str = "[[listen]]\nadress = \"127.0.0.1:0\"\n[upstream.backend]\nservers = [\"127.0.0.1:9\"]\nkeepalive = -1\n\
                   [[route]]\nproxy = \"backedn\"\n";

#[test]
fn demo_sends_nine_requests_that_go_three_each() {
    let (code, out, err) = waypost_says(&["demo"]);
    assert_eq!(code, 0, "{out}{err}");
    for (number, server) in (1..=9).zip(["a", "b", "c"].into_iter().cycle()) {
        assert!(
            out.contains(&format!("{number}. hello from {server}\n")),
            "{out}"
        );
    }
    assert!(out.ends_with("a: 3, b: 3, c: 3\n"), "{out}");
}

#[test]
fn check_accepts_a_good_file() {
    let (code, out, err) = on("check", GOOD);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn check_reports_every_problem_with_place_and_hint() {
    let (code, out, err) = on("check", BAD);
    let said = out + &err;
    assert_eq!(code, 1, "{said}");
    for part in [
        "waypost.toml:2:",
        "adress",
        "address",
        "waypost.toml:5:",
        "keepalive",
        "waypost.toml:7:",
        "backend",
    ] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
}

#[test]
fn check_reports_what_a_policy_refuses_at_its_line() {
    let file = GOOD.replace(
        "servers",
        "policy = { plugin = \"hash\", key = \"$request_uri\", consistnt = true }\nservers",
    );
    let (code, out, err) = on("check", &file);
    let said = out + &err;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("waypost.toml:4:") && said.contains("consistnt"),
        "{said}"
    );
}

#[test]
fn run_refuses_what_check_refuses() {
    let (code, out, err) = on("run", BAD);
    assert_eq!(code, 1, "{out}{err}");
    assert!((out + &err).contains("adress"));
}

#[test]
fn an_address_in_use_is_a_problem_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    let address = taken
        .local_addr()
        .expect("a bound socket has an address")
        .to_string();
    let (code, out, err) = on("run", &GOOD.replace("127.0.0.1:0", &address));
    assert_eq!(code, 1, "{out}{err}");
    assert!((out + &err).contains(&address));
}

#[test]
fn a_file_that_is_not_there_is_a_problem() {
    let (code, out, err) = waypost_says(&["check", "-c", "/nonexistent/waypost.toml"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!((out + &err).contains("/nonexistent/waypost.toml"));
}

#[test]
fn wrong_usage_is_told_from_problems() {
    for arguments in [
        &["frobnicate"][..],
        &["run", "--frobnicate"],
        &["check", "-c"],
        &[],
    ] {
        let (code, out, err) = waypost_says(arguments);
        assert_eq!(code, 2, "{arguments:?}: {out}{err}");
        assert!(err.contains("Usage") || err.contains("--help"), "{err}");
    }
}

#[test]
fn version_names_itself() {
    let (code, out, _) = waypost_says(&["version"]);
    assert_eq!(
        (code, out.trim()),
        (0, concat!("waypost ", env!("CARGO_PKG_VERSION")))
    );
    let (code, verbose, _) = waypost_says(&["version", "-v"]);
    assert!(
        code == 0 && verbose.contains(out.trim()) && verbose.lines().count() > out.lines().count(),
        "{verbose}"
    );
}

#[test]
fn show_prints_a_configuration_that_means_the_same() {
    let (code, shown, err) = on("show", GOOD);
    assert_eq!(code, 0, "{err}");
    assert!(
        shown.contains("127.0.0.1:9") && shown.contains("keepalive"),
        "{shown}"
    );
    let (code, again, err) = on("show", &shown);
    assert_eq!((code, again), (0, shown), "{err}");
}

#[test]
fn schema_is_a_json_schema_that_knows_the_keys() {
    let (code, out, err) = waypost_says(&["schema"]);
    assert_eq!(code, 0, "{err}");
    let schema: serde_json::Value =
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}:\n{out}"));
    assert!(
        schema["$schema"].is_string() && schema["properties"]["upstream"].is_object(),
        "{out}"
    );
}

#[tokio::test]
async fn run_serves_what_the_file_says() {
    let origin = origin::says("hello").await;
    let proxy = proxy::run(&GOOD.replace("127.0.0.1:9", origin.address()), &[]).await;
    assert_eq!(proxy.get("/").await.text(), "hello");
}

#[tokio::test]
async fn proxy_serves_what_the_command_line_says() {
    let (one, two) = (origin::says("one").await, origin::says("two").await);
    let mut command = Command::new(waypost());
    command.args(["proxy", one.address(), two.address()]);
    command.args(["--listen", "127.0.0.1:0", "--hook", "request_id"]);
    let process = Child::start(command);
    let said = "listening on ";
    let ends_a_line = |log: &String| log.contains(said) && log.ends_with('\n');
    let log = process.stderr.wait_until(said, ends_a_line).await;
    let address = log.split(said).nth(1).and_then(|rest| rest.lines().next());
    let address = address.expect("it says where it listens");
    let mut client = Client::connect(address).await;
    let bodies = [client.get("/").await.text(), client.get("/").await.text()];
    assert_eq!(bodies, ["one", "two"]);
    assert!(!one.request().header("X-Request-ID").is_empty());
}

#[test]
fn proxy_shows_the_file_that_says_the_same() {
    let arguments = [
        "proxy",
        "127.0.0.1:9",
        "[::1]:9",
        "--listen",
        "127.0.0.1:0",
        "--policy",
        "hash={ key = \"$uri\", consistent = true }",
        "--hook",
        "request_id",
        "--hook",
        "limit_req= key = \"$binary_remote_addr\", rate = \"10r/s\"",
        "--show",
    ];
    let (code, out, err) = waypost_says(&arguments);
    assert_eq!(code, 0, "{err}");
    for line in [
        "address = \"127.0.0.1:0\"",
        "servers = [\"127.0.0.1:9\", \"[::1]:9\"]",
        "policy = { plugin = \"hash\", key = \"$uri\", consistent = true }",
        "hooks = [\"request_id\", { plugin = \"limit_req\", key = \"$binary_remote_addr\", rate = \"10r/s\" }]",
    ] {
        assert!(out.lines().any(|shown| shown == line), "{line}: {out}");
    }
    let (code, out, err) = on("check", &out);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn proxy_reports_what_is_wrong_with_the_command_line() {
    let (code, _, err) = waypost_says(&["proxy"]);
    assert_eq!(code, 2, "{err}");
    let (code, _, err) = waypost_says(&["proxy", "127.0.0.1:9", "--policy", "least_con"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("unknown policy `least_con`"), "{err}");
    assert!(err.contains("did you mean `least_conn`"), "{err}");
}

/// What comes from the environment is most often a secret, and what is shown is most often pasted
/// somewhere.
#[test]
fn show_names_variables_of_the_environment_and_tells_them_only_if_asked() {
    let directory = TempDir::new().unwrap();
    let text = "[server]\nworkers = \"${env:WORKERS}\"\nkeepalive_timeout = \"${env:IDLE}\"\n\
                [[listen]]\naddress = \"127.0.0.1:${env:PORT}\"\n[upstream.backend]\nservers = [\"127.0.0.1:9\"]\n\
                policy = { plugin = \"hash\", key = \"$uri ${env:SALT:-none}\" }\n\
                [[route]]\nproxy = \"backend\"\n\
                request_headers = { set = { A = \"Bearer ${env:TOKEN}\", B = \"${host}x${env:TOKEN}\" } }\n";
    let path = directory.path().join("waypost.toml");
    std::fs::write(&path, text).unwrap();
    let show = |more: &[&str]| {
        let mut command = Command::new(waypost());
        command.args(["show", "-c"]).arg(&path).args(more);
        command.env("PORT", "8080").env("TOKEN", "s3cret-s3cret");
        command.env("WORKERS", "3").env("IDLE", "120s");
        let (code, out, err) = child::run(command);
        assert_eq!(code, 0, "{err}");
        out
    };
    let shown = show(&[]);
    assert!(!shown.contains("s3cret"), "{shown}");
    for part in [
        "address = \"127.0.0.1:${env:PORT}\"",
        "A = \"Bearer ${env:TOKEN}\"",
        "${env:SALT:-none}",
        "workers = \"${env:WORKERS}\"",
        "keepalive_timeout = \"${env:IDLE}\"",
    ] {
        assert!(shown.contains(part), "no {part} in\n{shown}");
    }
    let told = show(&["--expand-env"]);
    assert!(told.contains("A = \"Bearer s3cret-s3cret\""), "{told}");
    assert!(!told.contains("${env:"), "{told}");
    // Read again, what is shown means the same.
    std::fs::write(&path, shown).unwrap();
    assert_eq!(show(&["--expand-env"]), told);
}

#[test]
fn check_resolves_names_and_knows_an_upstream_that_was_meant() {
    // Nobody answers at the discard port.
    let resolver = "resolver = { addresses = [\"127.0.0.1:9\"], timeout = \"1s\" }";
    for (resolve, code, hint) in [
        ("again", 0, "it gets requests once the name is known"),
        ("once", 1, "let its name servers know `gone.invalid`"),
    ] {
        let file = format!(
            "[server]\nresolve = \"{resolve}\"\n{resolver}\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
             [upstream.checkout]\nservers = [\"gone.invalid:80\"]\n\
             [[route]]\nproxy = \"http://chekout\"\n"
        );
        let (exit, out, err) = on("check", &file);
        let report = out + &err;
        assert_eq!(exit, code, "{report}");
        for part in [
            "host not found in upstream `gone.invalid:80`",
            "waypost.toml:7:12   (upstream.checkout.servers[0])",
            hint,
            "host not found in upstream `chekout`",
            "did you mean `checkout`?",
        ] {
            assert!(report.contains(part), "no {part} in\n{report}");
        }
    }
}

/// They are asked about as those of the configuration are.
#[test]
fn check_warns_of_names_that_a_file_lists() {
    let directory = TempDir::new().expect("there is room for a directory");
    let path = |name: &str| directory.path().join(name);
    let file = "[server]\nresolver = { addresses = [\"127.0.0.1:9\"], timeout = \"1s\" }\n\
                [[listen]]\naddress = \"127.0.0.1:0\"\n\
                [upstream.a]\nservers_from = { file = \"list.json\" }\n[[route]]\nproxy = \"a\"\n";
    std::fs::write(path("waypost.toml"), file).expect("the directory is ours");
    std::fs::write(path("list.json"), "[\"gone.invalid:80\"]").expect("the directory is ours");
    let (code, out, err) = waypost_says(&["check", "-c", &path("waypost.toml").to_string_lossy()]);
    let report = out + &err;
    assert_eq!(code, 0, "{report}");
    let part = "warning: host not found in upstream `gone.invalid:80`";
    assert!(report.contains(part), "{report}");
}

#[test]
fn check_warns_of_directories_that_are_not_there() {
    let file = "[[listen]]\naddress = \"127.0.0.1:0\"\n\
                [upstream.a]\nservers_from = { http = \"http://127.0.0.1:9/\", keep = \"gone/a.json\" }\n\
                [upstream.b]\nservers = [\"127.0.0.1:9\"]\nstate = \"gone/b.json\"\n\
                [[route]]\npath = \"/a/\"\nproxy = \"a\"\n\
                [[route]]\npath = \"/b/\"\nproxy = \"b\"\n\
                [[route]]\nhost = [\"a.example\", \"b.example\"]\npath = \"/files/\"\nfiles = \"gone\"\n\
                [[route]]\npath = \"/file/\"\nfiles = \"waypost.toml\"\n\
                [[route]]\nfiles = \".\"\n";
    let (code, out, err) = on("check", file);
    let report = out + &err;
    assert_eq!(code, 0, "{report}");
    assert_eq!(report.matches("warning: ").count(), 4, "{report}");
    for part in [
        "`keep` of upstream `a` cannot be written: no directory",
        "waypost.toml:4:",
        "`state` of upstream `b` cannot be written: no directory",
        "waypost.toml:7:",
        "hint: make it, `mkdir -p ",
        "waypost.toml:14:1",
        "waypost.toml:18:1",
        "/waypost.toml`: not a directory",
    ] {
        assert!(report.contains(part), "no {part} in\n{report}");
    }
}

/// What only name servers, other files and policies know is told beside what the file itself says.
#[test]
fn check_finds_all_problems_at_once() {
    let file = "[server]\naccess_log = { format = \"$remote_adr $stauts\" }\n\
                [[listen]]\naddress = \"127.0.0.1:0\"\nbaklog = 1\n\
                tls = { certificate = \"gone.pem\", key = \"gone.key\" }\n\
                [upstream.backend]\nresolve = \"once\"\nservers = [\"gone.invalid:80\"]\n\
                policy = { plugin = \"hash\", ky = \"$uri\" }\n\
                [[route]]\nproxy = \"backend\"\n";
    let (code, out, err) = on("check", file);
    let report = out + &err;
    assert_eq!(code, 1, "{report}");
    for part in [
        "unknown variable `$remote_adr`; unknown variable `$stauts`",
        "hint: did you mean `$remote_addr`?; did you mean `$status`?",
        "unknown key `baklog`",
        "gone.pem",
        "host not found in upstream `gone.invalid:80`",
        "`key` is missing; is `ky` meant?",
    ] {
        assert!(report.contains(part), "no {part} in\n{report}");
    }
    // A listener that has no certificate in the file is told so once.
    let file = "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = { key = \"a.key\" }\n\
                [[route]]\nreturn = { status = 204 }\n";
    let (_, out, err) = on("check", file);
    assert!(err.ends_with("has 1 problem\n"), "{out}{err}");
}

/// And creates none: that would be the checking user's.
#[test]
fn check_finds_logs_that_cannot_be_written() {
    let directory = TempDir::new().unwrap();
    let there = directory.path().display();
    let file = format!(
        "[server]\nerror_log = \"{there}/gone/error.log\"\naccess_log = \"{there}/access.log\"\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\naccess_log = \"{there}\"\n\
         [[route]]\nreturn = {{ status = 204 }}\naccess_log = {{ path = \"{there}/gone/a.log\" }}\n"
    );
    let (code, out, err) = on("check", &file);
    let report = out + &err;
    assert_eq!(code, 1, "{report}");
    for part in [
        "/gone/error.log`: no such file or directory",
        "waypost.toml:2:13   (server.error_log)",
        "mkdir -p ",
        "waypost.toml:6:14   (listen[0].access_log)",
        "waypost.toml:9:14   (route[0].access_log)",
    ] {
        assert!(report.contains(part), "no {part} in\n{report}");
    }
    assert!(!report.contains("access.log`"), "{report}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    // The process itself says the same place.
    let (code, _, err) = on("run", &file.replace("gone/error.log", "error.log"));
    assert_eq!(code, 1, "{err}");
    assert!(
        err.contains("waypost.toml:6:14   (listen[0].access_log)"),
        "{err}"
    );
}

/// What can be served, and is hardly meant.
#[test]
fn check_warns_of_what_is_hardly_meant() {
    let no_route = "[[listen]]\naddress = \"127.0.0.1:0\"\n";
    let down = "servers = [{ address = \"127.0.0.1:9\", down = true }]";
    let suspicious = GOOD.replace("servers = [\"127.0.0.1:9\"]", down);
    let anyone = format!("[server]\ntrusted_proxies = [\"0.0.0.0/0\"]\n{GOOD}");
    let nothing = format!("include = [\"conf.d/*.toml\"]\n{GOOD}");
    for (file, part) in [
        (
            no_route.to_owned(),
            "warning: no `[[route]]`: every request",
        ),
        (
            suspicious,
            "warning: all servers of upstream `backend` are `down`",
        ),
        (anyone, "warning: `trusted_proxies` has `0.0.0.0/0`"),
        (nothing, "warning: `conf.d/*.toml` matches no file"),
    ] {
        let (code, out, err) = on("check", &file);
        assert_eq!(code, 0, "{out}{err}");
        assert!(err.contains(part), "no {part} in\n{err}");
        assert!(err.contains("--> "), "{err}");
    }
    let (_, _, err) = on("check", GOOD);
    assert_eq!(err, "");
}

#[test]
fn an_address_that_cannot_be_bound_is_told_with_its_key_its_line_and_the_way_out() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let stream = "[[stream]]\naddress = \"ADDRESS\"\nproxy = \"127.0.0.1:9\"\n";
    for (file, address, parts) in [
        (
            GOOD.replace("127.0.0.1:0", "ADDRESS"),
            &taken[..],
            [
                "in use",
                "waypost.toml:2:11   (listen[0].address)",
                "`ss -ltnp`",
            ],
        ),
        (
            stream.to_owned(),
            &taken,
            [
                "in use",
                "waypost.toml:2:11   (stream[0].address)",
                "`ss -ltnp`",
            ],
        ),
        (
            // RFC 5737: an address for documentation, which no machine has.
            GOOD.replace("127.0.0.1:0", "ADDRESS"),
            "192.0.2.1:8080",
            ["cannot listen on", "(listen[0].address)", "`ip addr`"],
        ),
        (
            GOOD.replace("127.0.0.1:0", "ADDRESS"),
            "unix:/nowhere/front.sock",
            [
                "no such file or directory",
                "(listen[0].address)",
                "the folder",
            ],
        ),
    ] {
        let (code, out, err) = on("run", &file.replace("ADDRESS", address));
        assert_eq!(code, 1, "{out}{err}");
        for part in parts {
            assert!(err.contains(part), "no {part} in\n{err}");
        }
        assert!(!err.contains("os error"), "{err}");
    }
}

#[test]
fn a_plugin_without_a_file_or_with_an_empty_one_is_told_with_the_way_out() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("waypost.toml");
    let plugin = "[plugin.mine]\nfile = \"build/mine.wasm\"\n";
    let file = GOOD.replace("[[route]]", "policy = \"mine\"\n[[route]]");
    std::fs::write(&path, format!("{file}{plugin}")).unwrap();
    let check = || {
        let (code, out, err) = waypost_says(&["check", "-c", &path.to_string_lossy()]);
        assert_eq!(code, 1, "{out}{err}");
        err
    };
    let err = check();
    for part in [
        "mine.wasm: no such file or directory",
        "(plugin.mine",
        "hint: build it, or correct `file`, which is relative to the file that names it",
    ] {
        assert!(err.contains(part), "no {part} in\n{err}");
    }
    assert!(!err.contains("os error"), "{err}");
    std::fs::create_dir(directory.path().join("build")).unwrap();
    std::fs::write(directory.path().join("build/mine.wasm"), "").unwrap();
    let err = check();
    assert!(err.contains("the file is empty: build it again"), "{err}");
}
