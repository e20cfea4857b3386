//! What clients get of what components answer.

use waypost_tests::{Http2, eventually, not_yet, origin};

use super::{answered_by_probe, logged};

#[tokio::test]
async fn an_answer_is_framed_by_the_host() {
    let proxy = answered_by_probe("", "", "").await;
    let mut client = proxy.client().await;
    let answer = client.get("/status/201").await;
    assert_eq!((answer.status, answer.text()), (201, "a body".to_owned()));
    assert_eq!(answer.header("transfer-encoding"), "chunked");
    assert!(!answer.header("date").is_empty());

    let answer = client.get("/length/5/hello").await;
    assert_eq!(
        (answer.header("content-length"), answer.text()),
        ("5", "hello".to_owned())
    );

    // On a connection of HTTP/1.0 its end is the end of the body.
    let answer = proxy
        .exchange("GET /status/200 HTTP/1.0\r\nHost: test\r\n\r\n")
        .await;
    assert_eq!(answer.header("connection"), "close");
    assert_eq!(
        (answer.header("transfer-encoding"), answer.text()),
        ("", "a body".to_owned())
    );
}

#[tokio::test]
async fn answers_that_have_no_body_get_none_and_the_component_is_none_the_worse() {
    let route = "component = { plugin = \"probe\", reuse = true }";
    let proxy = answered_by_probe("", route, "").await;
    let mut client = proxy.client().await;
    for status in [204, 304] {
        let answer = client.get(&format!("/status/{status}")).await;
        assert_eq!((answer.status, answer.body.len()), (status, 0));
    }
    client
        .send("HEAD /length/5/hello HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    let answer = client.response_to_head().await;
    assert_eq!(answer.header("content-length"), "5");
    client
        .send("HEAD /status/200 HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    client.response_to_head().await;
    // By the same instance, which has not failed.
    eventually("the same instance", async || {
        client
            .get("/count")
            .await
            .text()
            .parse::<u32>()
            .unwrap_or(0)
            >= 5
    })
    .await;
    assert!(!proxy.log().contains("failed in"), "{}", proxy.log());
}

#[tokio::test]
async fn a_component_cannot_say_how_its_answer_is_framed() {
    let proxy = answered_by_probe("", "", "").await;
    for (name, value) in [
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("keep-alive", "1"),
        ("upgrade", "h2c"),
    ] {
        let mut client = proxy.client().await;
        let answer = client.get(&format!("/header/{name}/{value}")).await;
        assert_eq!(
            (answer.status, answer.text()),
            (200, "a body".to_owned()),
            "{name}"
        );
        proxy.log_contains(&format!("header {name} refused")).await;
        assert_eq!(client.get("/status/200").await.status, 200, "{name}");
    }
    let answer = proxy.get("/header/x-mine/yes").await;
    assert_eq!(answer.header("x-mine"), "yes");
}

#[tokio::test]
async fn an_answer_with_another_length_than_it_says_is_never_taken_for_whole() {
    let proxy = answered_by_probe("", "", "").await;
    let mut client = proxy.client().await;
    client
        .send("GET /length/9/hello HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    assert!(!client.cut_response().await.complete);
    proxy
        .log_contains("component `probe` broke its answer off")
        .await;
    // What is behind the length goes nowhere.
    let mut client = proxy.client().await;
    let answer = client.get("/length/2/hello").await;
    assert_eq!(answer.text(), "he");
    assert_eq!(client.get("/status/200").await.status, 200);
}

#[tokio::test]
async fn an_answer_leaves_while_the_component_writes_it() {
    let proxy = answered_by_probe("", "", "").await;
    let mut client = proxy.client().await;
    client
        .send("GET /paced/1000/20000 HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    assert_eq!(
        client.response_head().await.header("content-type"),
        "text/event-stream"
    );
    let mut body = Vec::new();
    not_yet("the end of the stream", client.wire.chunked(&mut body)).await;
    assert_eq!(body, b"data: 0\n\n");
}

#[tokio::test]
async fn a_component_writes_no_faster_than_its_client_reads() {
    let proxy = answered_by_probe("", "", "").await;
    let mut client = proxy.client().await;
    client
        .send("GET /endless HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    client.response_head().await;
    not_yet(
        "64 MiB for a client that reads none",
        proxy.log_contains("wrote 64 MiB"),
    )
    .await;
    drop(client);
    // It hears of that, or is ended: either way another client is served by the one worker.
    assert_eq!(proxy.get("/status/200").await.status, 200);
}

#[tokio::test]
async fn a_large_answer_is_whole() {
    let proxy = answered_by_probe("", "", "").await;
    let answer = proxy.get("/bytes/5000000").await;
    assert_eq!(answer.body.len(), 5_000_000);
    let mut http2 = Http2::connect(proxy.address()).await;
    assert_eq!(http2.get("/bytes/5000000").await.body.len(), 5_000_000);
    eventually("two lines", async || logged(&proxy).lines().count() == 2).await;
    assert!(
        logged(&proxy).ends_with("200 5000000\n"),
        "{}",
        logged(&proxy)
    );
}

#[tokio::test]
async fn an_answer_is_compressed_and_changed_as_a_servers_is() {
    let route = "compression = { types = [\"*\"], min_length = \"1\" }\n\
                 response_headers = { set = { \"X-Set\" = \"$status\" } }";
    let proxy = answered_by_probe("", route, "").await;
    let answer = proxy
        .get_with("/bytes/100000", "Accept-Encoding: gzip\r\n")
        .await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert_eq!(answer.header("x-set"), "200");
    assert!(answer.body.len() < 10_000);
}

#[tokio::test]
async fn error_pages_take_the_place_of_its_errors_where_the_route_wants_that() {
    let app = origin::says("a page").await;
    let route = "intercept_errors = true\nerror_pages = { 404 = { route = \"page\" } }";
    let more = format!(
        "[[route]]\nname = \"page\"\ninternal = true\nproxy = \"app\"\n[upstream.app]\nservers = [{}]\n",
        app.with("")
    );
    let proxy = answered_by_probe("", route, &more).await;
    let answer = proxy.get("/status/404").await;
    assert_eq!((answer.status, answer.text()), (200, "a page".to_owned()));
    assert_eq!(proxy.get("/status/403").await.text(), "a body");
}

#[tokio::test]
async fn what_a_component_does_behind_its_answer_is_finished_without_its_client() {
    let proxy = answered_by_probe("", "", "").await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/work_behind_answer/300").await.text(), "done");
    drop(client);
    proxy.log_contains("worked behind its answer").await;
}

#[tokio::test]
async fn plugin_commands_tell_which_routes_a_component_answers_how_often_and_how_long() {
    let named = "[[route]]\npath = \"/shop/\"\nname = \"shop\"\n\
                 component = { plugin = \"probe\", upstreams = [\"users\"] }\n\
                 [upstream.users]\nservers = [\"127.0.0.1:1\"]\n";
    let route = "host = \"a.test\"\npath = \"/app/\"";
    let proxy = answered_by_probe("", route, named).await;
    for _ in 0..3 {
        proxy.get("/shop/").await;
    }
    eventually("its calls are over", async || {
        proxy.shows("/plugins/probe").await["mean_ns"] != 0
    })
    .await;
    let plugin = proxy.shows("/plugins/probe").await;
    assert_eq!(plugin["kinds"], serde_json::json!(["component"]));
    assert_eq!(plugin["routes"], serde_json::json!(["a.test/app/", "shop"]));
    assert_eq!(plugin["may_ask"], serde_json::json!(["users"]));
    assert_eq!(plugin["calls"], 3);
    for command in ["list", "inspect"] {
        let mut waypost = std::process::Command::new(waypost_tests::waypost());
        waypost.args([
            "plugin",
            command,
            "probe",
            "--admin",
            &proxy.admin_address(),
        ]);
        let (code, said, error) = waypost_tests::child::run(waypost);
        assert_eq!(code, 0, "{error}");
        for part in ["component", "a.test/app/", "shop"] {
            assert!(said.contains(part), "{command} has no {part}: {said}");
        }
        let asks = said
            .lines()
            .any(|line| line.starts_with("may ask") && line.ends_with("users"));
        assert_eq!(asks, command == "inspect", "{said}");
    }
}

#[tokio::test]
async fn a_path_that_lacks_its_slash_leads_to_the_component_with_it() {
    let proxy = answered_by_probe("", "path = \"/app/\"", "").await;
    let answer = proxy.get("/app").await;
    assert_eq!(
        (answer.status, answer.header("location").ends_with("/app/")),
        (301, true)
    );
}
