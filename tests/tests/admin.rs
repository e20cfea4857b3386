//! The admin API refuses requests that it must not carry out, says what is wrong with a request,
//! and does not disturb the traffic.

mod tokens; // who may give commands, and what is told of that

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use rustix::process::Signal;
use waypost_tests::admin::{ADMIN, request};
use waypost_tests::client::exchange;
use waypost_tests::{Client, Proxy, Response, Wire, eventually, origin, proxy};

/// A proxy whose admin API is at a port, and the address of that.
async fn over_tcp() -> (Proxy, String) {
    let file = "[server]\nworkers = 2\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
                [[route]]\nreturn = { status = 200, body = \"hello\" }\n[admin]\naddress = \"127.0.0.1:0\"\n";
    let proxy = proxy::run(file, &[]).await;
    let log = proxy.log();
    let address = log.split_once("admin api on ").expect("it is logged").1;
    let address = address.lines().next().unwrap().to_owned();
    (proxy, address)
}

/// A refusal of that status, which says why.
fn refused(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{}", response.text());
    let json = response.json();
    let error = json["error"].as_str().unwrap_or_default();
    assert!(!error.is_empty(), "{json}");
}

#[tokio::test]
async fn without_its_table_there_is_none() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).start().await;
    assert_eq!(proxy.get("/status").await.text(), "hello");
    assert!(!proxy.log().contains("admin api"), "{}", proxy.log());
    let files: Vec<_> = std::fs::read_dir(proxy.directory())
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert_eq!(files, ["waypost.toml"]);
}

#[tokio::test]
async fn its_unix_socket_is_for_its_owner_alone() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .more(ADMIN)
        .through_shell("umask 0; exec \"$@\"")
        .start()
        .await;
    let socket = proxy.directory().join("admin.sock");
    let mode = std::fs::symlink_metadata(&socket)
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600, "{mode:o}");
}

#[tokio::test]
async fn over_tcp_a_request_must_name_it_as_a_local_program_would() {
    let (_proxy, address) = over_tcp().await;
    let port = address.rsplit(':').next().unwrap();
    let get = async |target: &str, lines: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
        exchange(&address, request).await
    };
    for host in [
        "localhost",
        "LOCALHOST",
        "127.0.0.1",
        "127.0.0.1:{}",
        "localhost:{}",
        "[::1]:{}",
        "[::1]",
    ] {
        let host = host.replace("{}", port);
        let response = get("/status", &format!("Host: {host}\r\n")).await;
        assert_eq!(response.status, 200, "{host}: {}", response.text());
    }
    for host in [
        "evil.example",
        "evil.example:{}",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost:1",
        "192.0.2.1",
        "0.0.0.0",
        "",
    ] {
        let host = host.replace("{}", port);
        refused(&get("/status", &format!("Host: {host}\r\n")).await, 403);
    }
    refused(
        &get("http://evil.example/status", "Host: localhost\r\n").await,
        403,
    );
    refused(
        &exchange(&address, "GET /status HTTP/1.0\r\n\r\n").await,
        403,
    );
}

#[tokio::test]
async fn what_a_page_in_a_browser_sends_is_refused() {
    let (proxy, address) = over_tcp().await;
    let post = async |lines: &str| {
        let request =
            format!("POST /reload HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n");
        exchange(&address, request).await
    };
    for lines in [
        "Origin: http://evil.example\r\n",
        "Origin: http://localhost\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
    ] {
        refused(&post(lines).await, 403);
    }
    assert!(!proxy.log().contains("reloaded"), "{}", proxy.log());
    assert_eq!(post("Sec-Fetch-Site: none\r\n").await.status, 200);
    assert_eq!(post("").await.status, 200);
}

#[tokio::test]
async fn on_a_unix_socket_any_host_is_ours_and_a_page_is_still_refused() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let get = async |lines: &str| {
        let request = format!("GET /status HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
        exchange(&proxy.admin_address(), request).await
    };
    assert_eq!(get("Host: waypost\r\n").await.status, 200);
    refused(
        &get("Host: waypost\r\nOrigin: http://evil.example\r\n").await,
        403,
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_as_json() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let servers = "/upstreams/backend/servers";
    for (method, path, body, status) in [
        ("GET", "/", "", 404),
        ("GET", "/nothing", "", 404),
        ("GET", "/status/", "", 404),
        ("GET", "/plugins/nothing", "", 404),
        ("POST", "/plugins/nothing/load", "{}", 404),
        ("POST", "/plugins/nothing/rollback", "", 404),
        ("POST", "/plugins/round_robin/load", "{}", 409),
        ("GET", "/upstreams/nothing", "", 404),
        ("POST", "/status", "", 405),
        ("GET", "/reload", "", 405),
        ("DELETE", "/upstreams/backend", "", 405),
        ("POST", servers, "{", 400),
        ("POST", servers, "[]", 422),
        ("POST", servers, "\"\\ud800\"", 400),
        (
            "PATCH",
            "/upstreams/backend/servers/x",
            "{\"weight\": \"many\"}",
            422,
        ),
        (
            "PATCH",
            "/upstreams/backend/servers/x",
            "{\"weight\": -1}",
            422,
        ),
        (
            "PATCH",
            "/upstreams/backend/servers/x",
            "{\"wieght\": 1}",
            422,
        ),
        ("PATCH", "/upstreams/backend/servers/x", "{}", 422),
        // Names that are not UTF-8.
        ("GET", "/plugins/%ff", "", 400),
        ("GET", "/upstreams/%ff", "", 400),
        ("DELETE", "/upstreams/backend/servers/%c3%28", "", 400),
        ("GET", "/upstreams/%c3%a4", "", 404),
    ] {
        let response = proxy.admin(method, path, body).await;
        assert_eq!(
            response.status,
            status,
            "{method} {path} {body}: {}",
            response.text()
        );
        refused(&response, status);
    }
    let patch = "/upstreams/backend/servers/x";
    let response = proxy.admin("PATCH", patch, "{\"wieght\": 1}").await;
    let error = serde_json::from_str::<serde_json::Value>(&response.text()).unwrap();
    let error = error["error"].as_str().unwrap_or_default();
    let expected = "unknown field `wieght`, expected `weight` or `down`";
    assert!(error.contains(expected), "{error}");
    assert!(!error.contains("deserialize"), "{error}");
    // A body of another kind, which a page could send without asking.
    let post = format!(
        "POST {servers} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    refused(&exchange(&proxy.admin_address(), post).await, 415);
    assert_eq!(proxy.shows("/status").await["generation"], 1);
}

#[tokio::test]
async fn a_server_on_a_unix_socket_can_be_named() {
    let directory = tempfile::TempDir::new().unwrap();
    let (unix, tcp) = (
        origin::says_on(&directory.path().join("app.sock"), "unix"),
        origin::says("tcp").await,
    );
    let proxy = proxy::to([&unix, &tcp]).more(ADMIN).start().await;
    let name = unix.address().replace('/', "%2F");
    let path = format!("/upstreams/backend/servers/{name}");
    let response = proxy.admin("PATCH", &path, "{\"down\": true}").await;
    assert_eq!(response.status, 200, "{}", response.text());
    for _ in 0..4 {
        assert_eq!(proxy.get("/").await.text(), "tcp");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let body = format!("{{\"address\": \"{}\"}}", "x".repeat(3 << 20));
    let mut client = Client::connect(&proxy.admin_address()).await;
    // It may answer, and close, before all is sent.
    let sent = request("POST", "/upstreams/backend/servers", &body);
    let _ = client.wire.try_send(sent).await;
    let response = client.response_or_end().await.expect("an answer");
    refused(&response, 413);
    assert_eq!(proxy.shows("/status").await["generation"], 1);
}

#[tokio::test]
async fn slow_clients_of_it_disturb_nobody_and_do_not_hold_up_the_end() {
    let origin = origin::says("hello").await;
    let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut slow = Vec::new();
    for part in [
        "",
        "GET /sta",
        "POST /reload HTTP/1.1\r\nHost: t\r\nX-Half: ",
        "POST /upstreams/backend/servers HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    ] {
        for _ in 0..10 {
            let mut client = Client::connect(&proxy.admin_address()).await;
            client.send(part).await;
            slow.push(client);
        }
    }
    for _ in 0..20 {
        assert_eq!(proxy.get("/").await.text(), "hello");
        assert_eq!(proxy.shows("/status").await["state"], "serving");
    }
    proxy.reload().await;
    let since = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.process().ended().await.code(), Some(0));
    assert!(since.elapsed().as_secs() < 3, "{:?}", since.elapsed());
}

#[tokio::test]
async fn it_shows_the_process_and_its_traffic() {
    let origin = origin::says("hello").await;
    let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut client = proxy.client().await;
    client.get("/").await;
    proxy.get("/").await;
    let status = proxy.shows("/status").await;
    assert_eq!(status["pid"], proxy.process().id());
    assert_eq!(status["workers"], 2);
    assert_eq!(status["worker_restarts"], 0);
    assert_eq!(status["accepted"], 2);
    assert_eq!(status["listeners"][0], proxy.address());
    assert_eq!(status["config"], proxy.file().display().to_string());
    eventually("the second connection to be gone", async || {
        proxy.shows("/status").await["connections"] == 1
    })
    .await;
    let plugins = proxy.shows("/plugins").await;
    let plugins = plugins["plugins"].as_array().unwrap();
    let used = plugins
        .iter()
        .find(|plugin| plugin["name"] == "round_robin");
    let used = used.expect("the default policy");
    assert_eq!(
        (&used["state"], &used["upstreams"][0]),
        (&"live".into(), &"backend".into())
    );
    assert!(used["calls"].as_u64() >= Some(2), "{used}");
}

#[tokio::test]
async fn an_address_that_somebody_else_has_is_not_taken_from_them() {
    let origin = origin::says("hello").await;
    let first = proxy::to([&origin]).more(ADMIN).start().await;
    let mut command = std::process::Command::new(waypost_tests::waypost());
    command.arg("run").arg("-c").arg(first.file());
    let (code, _, said) = waypost_tests::child::run(command);
    assert_eq!(code, 1, "{said}");
    for part in [
        "admin address",
        "waypost.toml:",
        "(admin.address)",
        "hint: ",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    assert_eq!(first.shows("/status").await["state"], "serving");
}

/// `${env:NAME}` in a request would disclose the environment of the process.
#[tokio::test]
async fn what_a_request_says_is_not_looked_up_in_the_environment() {
    let file = format!(
        "[server]\nworkers = 1\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [upstream.backend]\nservers = [\"127.0.0.1:9\"]\n[[route]]\nproxy = \"backend\"\n{ADMIN}"
    );
    let proxy = proxy::run(&file, &[("PASSWORD", "s3cret"), ("PORT", "4321")]).await;
    for (key, value) in [
        ("address", "${env:PASSWORD}"),
        ("address", "127.0.0.1:${env:PORT}"),
        ("fail_timeout", "${env:PASSWORD}"),
        ("weight", "${env:PORT}"),
        ("no_such_key", "${env:PASSWORD}"),
    ] {
        let address = match key {
            "address" => String::new(),
            _ => "\"address\": \"127.0.0.1:80\", ".to_owned(),
        };
        let body = format!("{{{address}\"{key}\": \"{value}\"}}");
        let response = proxy
            .admin("POST", "/upstreams/backend/servers", &body)
            .await;
        refused(&response, 422);
        let text = response.text();
        assert!(!text.contains("s3cret") && !text.contains("4321"), "{text}");
    }
    let route = "{\"address\": \"127.0.0.1:80\", \"route\": \"${env:PASSWORD}\"}";
    let response = proxy
        .admin("POST", "/upstreams/backend/servers", route)
        .await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(!proxy.log().contains("s3cret"), "{}", proxy.log());
}

#[tokio::test]
async fn a_server_is_checked_as_if_it_stood_in_the_configuration() {
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin]).upstream("policy = { plugin = \"hash\", key = \"$uri\" }");
    let proxy = setup.more(ADMIN).start().await;
    for (body, part) in [
        ("{}", "`address` is missing"),
        (
            "{\"address\": 80}",
            "`address` must be a string, not an integer",
        ),
        (
            "{\"address\": \"127.0.0.1:80\", \"wieght\": 1}",
            "did you mean `weight`?",
        ),
        (
            "{\"address\": \"127.0.0.1:80\", \"weight\": 0}",
            "`weight` must be from 1",
        ),
        (
            "{\"address\": \"127.0.0.1:80\", \"weight\": 1.5}",
            "not a float",
        ),
        ("{\"address\": \"https://127.0.0.1\"}", "https://127.0.0.1"),
        (
            "{\"address\": \"127.0.0.1:80\", \"down\": null}",
            "`null` is no value",
        ),
        ("{\"address\": \"a\\u0007b\\\"c\"}", "is not an address"),
    ] {
        let response = proxy
            .admin("POST", "/upstreams/backend/servers", body)
            .await;
        refused(&response, 422);
        let json = response.json();
        let problems = json["problems"].as_array().expect("problems");
        let said: Vec<&str> = problems.iter().filter_map(|one| one.as_str()).collect();
        let said = said.join("\n");
        assert!(said.contains(part), "{body}: {said}");
        assert!(said.contains("--> request"), "{body}: {said}");
    }
}

/// A connection, as soon as the backlog has room for one.
async fn connected(address: &str) -> Wire {
    let mut wire = None;
    eventually("room in the backlog", async || {
        wire = Wire::connect(address).await.ok();
        wire.is_some()
    })
    .await;
    wire.expect("it is connected")
}

/// 355 of them took every descriptor that the traffic needed.
#[tokio::test]
async fn requests_that_never_end_take_no_descriptor_from_the_traffic_and_make_room_for_others() {
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin]).server("workers = 1").more(ADMIN);
    let proxy = setup
        .through_shell("ulimit -n 128; exec \"$@\"")
        .start()
        .await;
    let head =
        "POST /upstreams/backend/servers HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n";
    let mut slow = Vec::new();
    for part in [
        "",
        "GET /sta",
        head,
        &format!("{head}Content-Length: 100\r\n\r\n{{"),
    ] {
        for _ in 0..100 {
            let mut wire = connected(&proxy.admin_address()).await;
            // It may be closed already, to make room.
            let _ = wire.try_send(part).await;
            slow.push(wire);
        }
    }
    assert!(proxy.descriptors() < 80, "{}", proxy.descriptors());
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = proxy.client().await;
        assert_eq!(client.get("/").await.text(), "hello");
        clients.push(client);
        assert_eq!(proxy.shows("/status").await["state"], "serving");
    }
}

/// A connection whose request is being carried out is not closed to make room.
#[tokio::test]
async fn a_reload_under_way_is_answered_however_many_others_come() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut held = proxy.hold_file();
    let mut asker = Client::connect(&proxy.admin_address()).await;
    asker.send(request("POST", "/reload", "")).await;
    held.is_read().await;
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut wire = connected(&proxy.admin_address()).await;
        let _ = wire.try_send("GET /sta").await;
        slow.push(wire);
    }
    held.release();
    let response = asker.response().await;
    assert_eq!(response.status, 200, "{}", response.text());
}

/// A client that sends all of an upload before it reads has its answer, too.
#[tokio::test]
async fn an_upload_that_is_refused_has_its_answer_although_it_is_not_read() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let body = "x".repeat(2_000_000);
    for _ in 0..20 {
        let mut client = Client::connect(&proxy.admin_address()).await;
        let head = "POST /plugins/nothing/load HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n";
        client.wire.try_send(format!("{head}{body}")).await.unwrap();
        assert_eq!(client.response().await.status, 404);
    }
}

/// The answer comes although no byte of the body is sent.
#[tokio::test]
async fn a_plugin_is_refused_by_name_and_size_before_it_is_read() {
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin]);
    std::fs::copy(
        waypost_tests::plugin("round_robin", "wasm32-unknown-unknown"),
        setup.directory().join("mine.wasm"),
    )
    .unwrap();
    let entry = "[plugin.mine]\nfile = \"mine.wasm\"\ngrants = [\"request\", \"exchange\"]\n\
                 limits = { file_size = \"1m\" }";
    let proxy = setup.more(entry).more(ADMIN).start().await;
    for (name, length, status) in [
        ("nothing", 600 << 20, 404),
        ("round_robin", 600 << 20, 409),
        ("mine", 600 << 20, 413),
        ("mine", (1 << 20) + 1, 413),
    ] {
        let head = format!(
            "POST /plugins/{name}/load HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        let mut client = Client::connect(&proxy.admin_address()).await;
        client.send(head).await;
        let response = client.response().await;
        refused(&response, status);
        if status == 413 {
            let text = response.text();
            assert!(text.contains("limits.file_size"), "{text}");
        }
    }
    // Without a length it is read as far as it may be.
    let mut client = Client::connect(&proxy.admin_address()).await;
    let head = "POST /plugins/mine/load HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n";
    let _ = client.wire.try_send(head).await;
    let _ = client.wire.try_send(vec![0; 2 << 20]).await;
    let response = client.response_or_end().await.expect("an answer");
    refused(&response, 413);
}
