//! Who may give commands, and what is told of that: tokens and their roles, TLS, guesses, the audit.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use waypost_tests::admin::load_request;
use waypost_tests::client::exchange;
use waypost_tests::tls::{self, Authority};
use waypost_tests::{Client, Proxy, Wire, child, eventually, plugin, proxy, waypost};

/// The tokens of the specs, and what `waypost token` says of such ones.
const READS: &str = "a token that reads";
const OPERATES: &str = "a token that operates";

fn tables() -> String {
    let hash = |token: &str| {
        let mut command = Command::new("sha256sum");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), token).unwrap();
        command.arg(file.path());
        let (code, out, error) = child::run(command);
        assert_eq!(code, 0, "{error}");
        out.split(' ').next().unwrap().to_owned()
    };
    format!(
        "[[admin.tokens]]\nname = \"grafana\"\nrole = \"read\"\nsha256 = \"{}\"\n\
         [[admin.tokens]]\nname = \"ops\"\nrole = \"operate\"\nsha256 = \"{}\"\n",
        hash(READS),
        hash(OPERATES)
    )
}

/// A proxy whose admin API is at a port of loopback and asks for tokens, and the address of that.
async fn guarded(admin: &str, more: &str) -> (Proxy, String) {
    let file = format!(
        "[server]\nworkers = 2\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\nreturn = {{ body = \"hello\" }}\n{more}\n\
         [admin]\naddress = \"127.0.0.1:0\"\n{admin}\n{}",
        tables()
    );
    let proxy = proxy::run(&file, &[]).await;
    let log = proxy.log();
    let address = log.split_once("admin api on ").expect("it is logged").1;
    let address = address.lines().next().unwrap().to_owned();
    (proxy, address)
}

fn request(method: &str, path: &str, lines: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n")
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

async fn status(address: &str, method: &str, path: &str, lines: &str) -> u16 {
    exchange(address, request(method, path, lines)).await.status
}

#[tokio::test]
async fn over_tcp_a_token_lets_in_and_its_role_says_how_far() {
    let (_proxy, address) = guarded("", "").await;
    let explain = "Content-Type: application/json\r\nContent-Length: 2\r\n";
    for path in ["/explain", "/upstreams/a/explain", "/dashboard", "/"] {
        let lines = format!("{explain}{}", bearer(READS));
        let asked = exchange(&address, format!("{}{{}}", request("POST", path, &lines))).await;
        assert_eq!(asked.status, 403, "{path}");
    }
    // A browser has none to show before it has the page.
    for path in ["/dashboard", "/dashboard/main.js"] {
        assert_eq!(status(&address, "GET", path, "").await, 200, "{path}");
    }
    let nobody = exchange(&address, request("GET", "/status", "")).await;
    assert_eq!(nobody.status, 401);
    assert_eq!(
        nobody.header("WWW-Authenticate"),
        "Bearer realm=\"waypost\""
    );
    let unknown = exchange(&address, request("GET", "/status", &bearer("mine"))).await;
    assert_eq!(unknown.status, 401, "{}", unknown.text());
    assert_eq!(
        status(&address, "GET", "/status", &bearer(READS)).await,
        200
    );
    assert_eq!(
        status(&address, "GET", "/metrics", &bearer(READS)).await,
        200
    );
    let refused = exchange(&address, request("POST", "/reload", &bearer(READS))).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("`operate`"), "{}", refused.text());
    assert_eq!(
        status(&address, "POST", "/reload", &bearer(OPERATES)).await,
        200
    );
}

#[tokio::test]
async fn pages_of_others_are_refused_whatever_they_show() {
    let (_proxy, address) = guarded("", "").await;
    for (lines, expected) in [
        ("Origin: http://evil.example\r\n", 403),
        ("Origin: http://127.0.0.1\r\n", 403),
        ("Origin: http://127.0.0.1:3000\r\n", 403),
        ("Sec-Fetch-Site: cross-site\r\n", 403),
        ("Sec-Fetch-Site: same-site\r\n", 403),
        (
            "Origin: http://{address}\r\nSec-Fetch-Site: same-origin\r\n",
            200,
        ),
    ] {
        let lines = lines.replace("{address}", &address);
        let request = format!(
            "GET /status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{lines}{}\r\n",
            bearer(OPERATES)
        );
        assert_eq!(
            exchange(&address, request).await.status,
            expected,
            "{lines}"
        );
    }
    // Any name may lead here: who knows the token has it from us.
    let named = format!(
        "GET /status HTTP/1.1\r\nHost: proxy.internal\r\nConnection: close\r\n{}\r\n",
        bearer(READS)
    );
    assert_eq!(exchange(&address, named).await.status, 200);
}

#[tokio::test]
async fn guesses_are_bounded_and_keep_nobody_out_who_has_a_token() {
    let (proxy, address) = guarded("audit = \"audit.log\"", "").await;
    let mut met = Vec::new();
    for guess in 0..30 {
        let lines = match guess % 2 {
            0 => bearer(&format!("guess {guess}")),
            _ => String::new(),
        };
        met.push(status(&address, "POST", "/stop", &lines).await);
    }
    assert_eq!(met[..10], [401; 10]);
    assert_eq!(met[10..], [429; 20]);
    assert_eq!(
        status(&address, "GET", "/status", &bearer(READS)).await,
        200
    );
    assert_eq!(
        audit(&proxy).len(),
        10,
        "what is refused for its number has no line"
    );
}

/// The lines of the audit.
fn audit(proxy: &Proxy) -> Vec<Value> {
    let text = std::fs::read_to_string(proxy.directory().join("audit.log")).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn each_action_has_a_line_of_who_did_what() {
    let component = plugin("label_filter", "wasm32-unknown-unknown");
    let more = format!(
        "[plugin.mine]\nfile = \"{}\"\ngrants = [\"request\"]\n",
        component.display()
    );
    let (proxy, address) = guarded("audit = \"audit.log\"", &more).await;
    assert_eq!(
        status(&address, "GET", "/status", &bearer(OPERATES)).await,
        200
    );
    assert_eq!(
        status(&address, "POST", "/reload", &bearer(READS)).await,
        403
    );
    assert_eq!(
        status(&address, "POST", "/reload", &bearer(OPERATES)).await,
        200
    );
    let mut version = std::fs::read(component).unwrap();
    version.extend([0, 2, 1, b'n']); // a section that means nothing
    let load = String::from_utf8_lossy(&load_request("mine", &[])).into_owned();
    let head = load.replace(
        "Content-Length: 0\r\n",
        &format!("Content-Length: {}\r\n{}", version.len(), bearer(OPERATES)),
    );
    let loaded = exchange(&address, [head.as_bytes(), &version].concat()).await;
    assert_eq!(loaded.status, 200, "{}", loaded.text());
    let lines = audit(&proxy);
    // Lines sort by their times, which are all of one length.
    for line in &lines {
        assert_eq!(
            line["time"].as_str().unwrap().len(),
            "2026-01-01T00:00:00.000Z".len()
        );
    }
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            (
                text("who"),
                text("from"),
                text("target"),
                line["status"].clone(),
            )
        })
        .collect();
    let line = |who: &str, target: &str, status: u16| {
        let status = Value::from(status);
        (
            format!("token {who}"),
            "127.0.0.1".to_owned(),
            target.to_owned(),
            status,
        )
    };
    let expected = [
        line("grafana", "/reload", 403),
        line("ops", "/reload", 200),
        line("ops", "/plugins/mine/load", 200),
    ];
    assert_eq!(told, expected);
    assert_eq!(lines[2]["sha256"], loaded.json()["hash"]);

    // A rotation needs no word, and what cannot be written is told all the same.
    let file = proxy.directory().join("audit.log");
    std::fs::rename(&file, proxy.directory().join("audit.log.1")).unwrap();
    assert_eq!(
        status(&address, "POST", "/reload", &bearer(OPERATES)).await,
        200
    );
    assert_eq!(audit(&proxy).len(), 1);
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert_eq!(
        status(&address, "POST", "/reload", &bearer(OPERATES)).await,
        200
    );
    proxy.log_contains("audit.log`: ").await;
    proxy
        .log_contains("admin api: token ops from 127.0.0.1: POST /reload: 200")
        .await;
}

/// Each connection is always at work on the next of its requests, so none ever waits for its client.
/// The operator sends from a thread of its own: it has a moment to do so.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_ask_on_and_on_keep_no_operator_out() {
    let (_proxy, address) = guarded("", "").await;
    let asks = format!(
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        bearer(READS)
    );
    let asks = asks.repeat(64);
    let mut asking = tokio::task::JoinSet::new();
    let (answered, mut each_answered) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..16 {
        let (address, asks, answered) = (address.clone(), asks.clone(), answered.clone());
        asking.spawn(async move {
            loop {
                let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
                let (mut reader, mut writer) = stream.into_split();
                let sends = async { while writer.write_all(asks.as_bytes()).await.is_ok() {} };
                let reads = async {
                    let mut answers = vec![0; 16 << 10];
                    while reader.read(&mut answers).await.is_ok_and(|read| read > 0) {
                        let _ = answered.send(());
                    }
                };
                tokio::select! {
                    () = sends => {}
                    () = reads => {}
                }
            }
        });
    }
    for _ in 0..64 {
        each_answered.recv().await.unwrap();
    }
    for _ in 0..8 {
        let lines = bearer(OPERATES);
        assert_eq!(status(&address, "POST", "/reload", &lines).await, 200);
    }
    asking.abort_all();
}

/// What it asked for is carried out all the same.
#[tokio::test]
async fn a_client_that_leaves_has_its_line() {
    let (proxy, address) = guarded("audit = \"audit.log\"", "").await;
    let mut wire = Wire::connect(&address).await.unwrap();
    wire.send(request("POST", "/reload", &bearer(OPERATES)))
        .await;
    wire.was_read().await;
    wire.reset();
    eventually("the line of it", async || {
        let file = proxy.directory().join("audit.log");
        file.exists() && audit(&proxy).len() == 1
    })
    .await;
    assert_eq!(audit(&proxy)[0]["who"], "token ops");
}

/// What a reload says of another address is for there: here nobody gets in without a token.
#[tokio::test]
async fn a_reload_that_moves_it_leaves_no_door_open_behind_it() {
    let (proxy, address) = guarded("", "").await;
    let text = std::fs::read_to_string(proxy.file()).unwrap();
    let before = text.split("[admin]").next().unwrap();
    proxy.write(&format!(
        "{before}[admin]\naddress = \"unix:/tmp/no-such.sock\"\n"
    ));
    assert_eq!(
        status(&address, "POST", "/reload", &bearer(OPERATES)).await,
        200
    );
    for lines in ["", &bearer(OPERATES)] {
        assert_eq!(
            status(&address, "POST", "/stop", lines).await,
            401,
            "{lines}"
        );
    }
}

#[tokio::test]
async fn over_a_unix_socket_the_audit_names_the_user() {
    let file = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nreturn = { body = \"hello\" }\n\
                [server]\nworkers = 1\naccess_log = false\n\
                [admin]\naddress = \"unix:{dir}/admin.sock\"\naudit = \"audit.log\"\n";
    let proxy = proxy::run(&format!("{file}{}", tables()), &[]).await;
    proxy.reload().await;
    let lines = audit(&proxy);
    assert_eq!(lines.len(), 1);
    let uid = rustix::process::getuid().as_raw();
    assert_eq!(lines[0]["who"], format!("uid {uid}"));
    let from = format!("unix, process {}", std::process::id());
    assert_eq!(lines[0]["from"], from);
}

#[tokio::test]
async fn a_token_that_a_reload_takes_away_lets_nobody_in_any_more() {
    let (proxy, address) = guarded("", "").await;
    let mut kept = Client::connect(&address).await;
    let ask = format!(
        "GET /status HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        bearer(READS)
    );
    kept.send(&ask).await;
    assert_eq!(kept.response().await.status, 200);
    proxy.edit(
        "name = \"grafana\"\nrole = \"read\"\nsha256 = \"",
        "name = \"grafana\"\nrole = \"read\"\nsha256 = \"00",
    );
    let text = std::fs::read_to_string(proxy.file()).unwrap();
    let (before, rest) = text.split_once("sha256 = \"00").unwrap();
    let (hash, rest) = rest.split_at(64);
    proxy.write(&format!("{before}sha256 = \"00{}{rest}", &hash[..62]));
    assert_eq!(
        status(&address, "POST", "/reload", &bearer(OPERATES)).await,
        200
    );
    kept.send(&ask).await;
    assert_eq!(kept.response().await.status, 401);
}

/// The certificate, and the key with it, in the directory of the configuration.
async fn over_tls() -> (Proxy, String, Authority, tempfile::TempDir) {
    let authority = Authority::new("admin");
    let folder = tempfile::tempdir().unwrap();
    let written = authority
        .certificate(&["proxy.internal"])
        .write(folder.path(), "admin");
    let written = written.display();
    let admin = format!("tls = {{ certificate = \"{written}.pem\", key = \"{written}.key\" }}");
    let (proxy, address) = guarded(&admin, "").await;
    (proxy, address, authority, folder)
}

#[tokio::test]
async fn over_tls_a_token_is_read_by_nobody_between() {
    let (proxy, address, authority, folder) = over_tls().await;
    let client = authority.trusting();
    let mut connected = tls::connect(&address, client, "proxy.internal")
        .await
        .unwrap();
    connected
        .send(request("GET", "/status", &bearer(READS)))
        .await;
    assert_eq!(connected.response().await.status, 200);
    // Who speaks no TLS is told how to, as a browser shows it, and nothing else.
    let plain = exchange(&address, request("GET", "/status", &bearer(READS))).await;
    assert_eq!(
        (plain.status, plain.header("Content-Type")),
        (400, "text/plain")
    );
    assert!(plain.text().contains("https://"), "{}", plain.text());

    let run = |arguments: &[&str], token: &str| {
        let mut command = Command::new(waypost());
        command.args(arguments).env("WAYPOST_TOKEN", token);
        child::run(command)
    };
    // By the file that the process has, with what the kernel has chosen for a port.
    let port = address.rsplit_once(':').unwrap().1;
    let file = proxy.directory().join("commands.toml");
    let text = std::fs::read_to_string(proxy.file()).unwrap();
    let admin = format!("[admin]\naddress = \"127.0.0.1:{port}\"");
    let text = text.replace("[admin]\naddress = \"127.0.0.1:0\"", &admin);
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let (code, said, error) = run(&["status", "-c", &file], READS);
    assert_eq!(code, 0, "{error}");
    assert!(said.contains("serving"), "{said}");
    let (code, _, error) = run(&["reload", "-c", &file], READS);
    assert_eq!(code, 1);
    assert!(error.contains("this token has the role `read`"), "{error}");
    let (code, _, error) = run(&["status", "-c", &file], "");
    assert_eq!(code, 1);
    assert!(error.contains("WAYPOST_TOKEN"), "{error}");

    let plain = format!("127.0.0.1:{port}");
    let (code, _, error) = run(&["status", "--admin", &plain], READS);
    assert_eq!(code, 1);
    assert!(error.contains("`--admin https://NAME:PORT`"), "{error}");

    let no_file = [
        "status",
        "--admin",
        "https://localhost:1",
        "--ca",
        "no/such.pem",
    ];
    let (code, _, error) = run(&no_file, READS);
    assert_eq!(code, 1);
    assert!(error.contains("`--ca no/such.pem`: "), "{error}");

    // From elsewhere, by a name.
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let at = format!("https://localhost:{port}");
    let by_ca = ["status", "--admin", &at, "--ca", ca.to_str().unwrap()];
    let (code, _, error) = run(&by_ca, READS);
    assert_eq!(code, 1, "the certificate has another name");
    assert!(error.contains("is not believed: "), "{error}");
    named_localhost(&authority, folder.path());
    proxy.log_contains("certificates loaded again").await;
    let (code, said, error) = run(&by_ca, READS);
    assert_eq!((code, said.contains("serving")), (0, true), "{error}");
    let token = folder.path().join("token");
    std::fs::write(&token, format!("{READS}\n")).unwrap();
    let by_file = [&by_ca[..], &["--token-file", token.to_str().unwrap()]].concat();
    let (code, _, error) = run(&by_file, "");
    assert_eq!(code, 0, "{error}");
}

/// Another certificate in place of that.
fn named_localhost(authority: &Authority, folder: &Path) {
    authority.certificate(&["localhost"]).write(folder, "admin");
}

#[tokio::test]
async fn handshakes_that_stop_keep_nobody_out() {
    let (_proxy, address, authority, _folder) = over_tls().await;
    let mut silent = Vec::new();
    for _ in 0..40 {
        let mut wire = Wire::connect(&address).await.unwrap();
        // The beginning of a ClientHello.
        if wire.try_send([22, 3, 1, 2, 0, 1, 0]).await.is_ok() {
            silent.push(wire);
        }
    }
    let config = std::sync::Arc::new(authority.trusting());
    eventually("a command to come through", async || {
        let connected = tls::connect(&address, config.clone(), "proxy.internal").await;
        let Ok(mut client) = connected else {
            return false;
        };
        client.send(request("GET", "/status", &bearer(READS))).await;
        client.response().await.status == 200
    })
    .await;
}

#[test]
fn a_token_is_made_with_what_the_configuration_says_of_it() {
    let make = || {
        let mut command = Command::new(waypost());
        command.args(["token", "ops", "--role", "operate"]);
        let (code, token, said) = child::run(command);
        assert_eq!(code, 0, "{said}");
        (token, said)
    };
    let (token, said) = make();
    assert!(
        token.starts_with("waypost_") && token.len() == 52,
        "{token}"
    );
    assert_ne!(make().0, token);
    let table = said.split_once("[[admin.tokens]]").unwrap().1;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("waypost.toml");
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:8080\"\n[[route]]\nreturn = {{ body = \"a\" }}\n\
         [admin]\naddress = \"127.0.0.1:9180\"\n[[admin.tokens]]{table}"
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(waypost());
    command.arg("check").arg("-c").arg(&file);
    let (code, said, error) = child::run(command);
    assert_eq!(code, 0, "{said}{error}");
}
