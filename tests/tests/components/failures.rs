//! What components do instead of answering: clients are told, and never take a part for the whole.

use waypost_tests::{Http2, eventually, not_yet, proxy};

use super::{answered_by_probe, probe};

#[tokio::test]
async fn a_component_that_gives_no_answer_is_a_bad_gateway() {
    let proxy = answered_by_probe("", "", "").await;
    for (path, why) in [
        (
            "/return",
            "component `probe` gave no answer: it returned without an answer",
        ),
        (
            "/trap",
            "component `probe` gave no answer: it failed before it had answered",
        ),
        (
            "/error",
            "component `probe` gave no answer: it answered with an error",
        ),
        ("/status/101", "component `probe` answered with 101"),
    ] {
        let answer = proxy.get(path).await;
        assert_eq!(answer.status, 502, "{path}");
        proxy.log_contains(why).await;
        eventually("the next instance", async || {
            proxy.get("/status/200").await.status == 200
        })
        .await;
    }
    proxy
        .log_contains("plugin `probe` failed in `handle`")
        .await;
}

#[tokio::test]
async fn what_one_client_brings_to_fail_is_there_for_all_others() {
    for reuse in ["", "component = { plugin = \"probe\", reuse = true }"] {
        let proxy = answered_by_probe("limits = { instances = 2 }", reuse, "").await;
        for _ in 0..20 {
            assert_eq!(proxy.get("/trap").await.status, 502, "{reuse}");
            assert_eq!(proxy.get("/status/200").await.status, 200, "{reuse}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut() {
    let proxy = answered_by_probe("", "body_buffer_size = \"0\"", "").await;
    for (path, why) in [
        ("/trap_behind_head", "it failed before its answer was whole"),
        ("/drop_behind_head", "it gave its answer up"),
        (
            "/return_behind_head",
            "it returned before its answer was whole",
        ),
    ] {
        let mut client = proxy.client().await;
        client
            .send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .await;
        let answer = client.cut_response().await;
        assert_eq!((answer.status, answer.complete), (200, false), "{path}");
        proxy
            .log_contains(&format!("component `probe` broke its answer off: {why}"))
            .await;
        eventually("the next instance", async || {
            proxy.get("/status/200").await.status == 200
        })
        .await;

        let mut http2 = Http2::connect(proxy.address()).await;
        let mut stream = http2.begin("GET", path, &[]).await;
        let (_, reason) = stream.failure().await;
        assert!(reason.is_some(), "{path}: the stream is reset");
        eventually("the next instance", async || {
            proxy.get("/status/200").await.status == 200
        })
        .await;
    }
}

#[tokio::test]
async fn a_component_that_takes_too_long_is_given_up() {
    let proxy = answered_by_probe("limits = { wait = \"300ms\" }", "", "").await;
    let answer = proxy.get("/sleep/600000").await;
    assert_eq!(answer.status, 504);
    proxy
        .log_contains("component `probe` gave no answer within its `limits.wait` (300ms)")
        .await;
    let mut client = proxy.client().await;
    client
        .send("GET /stall_behind_head HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    assert!(!client.cut_response().await.complete);
    proxy
        .log_contains("sent nothing of its answer within its `limits.wait`")
        .await;
    // Each part has its time anew.
    let answer = proxy.get("/paced/5/100").await;
    assert_eq!(answer.text().matches("data").count(), 5);
}

#[tokio::test]
async fn a_component_that_computes_for_too_long_is_a_fault_and_holds_up_nobody() {
    let proxy = answered_by_probe("limits = { deadline = \"300ms\" }", "", "").await;
    let mut client = proxy.client().await;
    client
        .send("GET /spin/600000 HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/status/200").await.status, 200);
    }
    assert_eq!(client.response().await.status, 502);
    proxy.log_contains("ran past its deadline").await;
}

#[tokio::test]
async fn as_many_requests_are_answered_at_once_as_there_may_be_instances() {
    let proxy = answered_by_probe("limits = { instances = 1 }", "", "").await;
    let mut client = proxy.client().await;
    client
        .send("GET /paced/2/700 HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    client.response_head().await;
    let mut second = proxy.client().await;
    second
        .send("GET /count HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    not_yet("a second request has an instance", second.response_head()).await;
    assert_eq!(second.response().await.text(), "1");
}

#[tokio::test]
async fn a_component_that_fails_again_and_again_is_still_asked_unless_its_entry_says_otherwise() {
    for (entry, expected) in [("", 200), ("max_faults = 3", 503)] {
        let proxy = answered_by_probe(entry, "", "").await;
        for _ in 0..12 {
            eventually("a fault", async || {
                let status = proxy.get("/trap").await.status;
                status == 502 || status == expected
            })
            .await;
        }
        eventually("what follows", async || {
            proxy.get("/status/200").await.status == expected
        })
        .await;
    }
}

#[tokio::test]
async fn a_component_that_cannot_answer_is_refused_at_the_start() {
    let file = waypost_tests::plugin("asker", "wasm32-unknown-unknown");
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\ncomponent = \"asker\"\n[plugin.asker]\nfile = \"{}\"\n\
         grants = [\"request\", \"response\", \"exchange\", \"changes\", \"bodies\", \"http\"]\n",
        file.display()
    );
    std::fs::write(directory.path().join("waypost.toml"), text).expect("it is ours");
    let mut command = std::process::Command::new(waypost_tests::waypost());
    command
        .args(["check", "-c", "waypost.toml"])
        .current_dir(directory.path());
    let (code, _, said) = waypost_tests::child::run(command);
    assert_eq!(code, 1, "{said}");
    let message = "plugin `asker` is a hook, and no route's `component`: it does not export `wasi:http/incoming-handler`";
    assert!(said.contains(message), "{said}");
}

#[tokio::test]
async fn plugin_commands_tell_what_a_component_is_and_how_it_is_tried() {
    let file = waypost_tests::plugin("web_probe", "wasm32-unknown-unknown");
    let run = |command: &str| {
        let mut waypost = std::process::Command::new(waypost_tests::waypost());
        waypost.args(["plugin", command]).arg(&file);
        waypost.env(
            "XDG_CACHE_HOME",
            waypost_tests::waypost().with_file_name("specs-cache"),
        );
        waypost_tests::child::run(waypost)
    };
    let (code, said, _) = run("inspect");
    assert_eq!(code, 0, "{said}");
    for line in [
        "grants      none needed",
        "loads       yes: incoming-handler",
        "answers     requests, in a [[route]] with `component = ",
    ] {
        assert!(said.contains(line), "no {line} in\n{said}");
    }
    let (code, _, said) = run("test");
    assert_ne!(code, 0);
    assert!(
        said.contains("it answers requests itself (`wasi:http/proxy`)"),
        "{said}"
    );
}

#[tokio::test]
async fn a_file_alone_is_a_component() {
    let file = waypost_tests::plugin("web_probe", "wasm32-unknown-unknown");
    let text = format!(
        "{}[server]\nworkers = 1\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\ncomponent = \"{}\"\n",
        waypost_tests::admin::ADMIN,
        file.display()
    );
    let proxy = proxy::run(&text, &[]).await;
    assert_eq!(proxy.get("/status/200").await.text(), "a body");
    let shown = proxy.shows("/plugins/web_probe").await;
    assert_eq!(
        (&shown["state"], &shown["version"]),
        (&"live".into(), &1.into())
    );
    drop(probe(""));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_component_takes_its_body_frees_the_instance() {
    let limits = "limits = { instances = 1, wait = \"60s\" }";
    let proxy = answered_by_probe(limits, "", "").await;
    let mut client = proxy.client().await;
    client
        .send(format!(
            "POST /sleep/600000 HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n{}",
            "x".repeat(100_000)
        ))
        .await;
    let mut other = proxy.client().await;
    other
        .send("GET /status/200 HTTP/1.1\r\nHost: test\r\n\r\n".to_owned())
        .await;
    not_yet("an instance", other.response_head()).await;
    drop(client);
    assert_eq!(other.response().await.status, 200);
}
