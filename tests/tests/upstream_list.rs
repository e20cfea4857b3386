//! What `waypost upstream list` counts for each server, and what went wrong with it last.

use std::process::Command;

use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Proxy, child, eventually, origin, proxy, waypost};

/// What the command prints, with these variables in its environment.
fn listed(proxy: &Proxy, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(waypost());
    command.args(["upstream", "list", "--admin", &proxy.admin_address()]);
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command.envs(environment.iter().copied());
    let (code, out, err) = child::run(command);
    assert_eq!(code, 0, "{err}");
    out
}

/// The words of the line about a server.
fn line<'a>(list: &'a str, address: &str) -> Vec<&'a str> {
    let mut lines = list.lines().map(|line| line.split_whitespace().collect());
    let found = lines.find(|words: &Vec<&str>| words.first() == Some(&address));
    found.unwrap_or_else(|| panic!("no {address} in\n{list}"))
}

#[tokio::test]
async fn requests_failures_and_retries_are_counted_and_the_last_error_is_in_nginx_s_words() {
    let (dead, good) = (origin::refuses(), origin::says("hello").await);
    let ill = origin::answers(|_| Answer::status(503, "")).await;
    let addresses = [&dead, &ill, &good].map(|origin| origin.address().to_owned());
    let spelled = addresses
        .each_ref()
        .map(|address| format!("{{ address = \"{address}\", max_fails = 0 }}"));
    let proxy = proxy::to(spelled)
        .server("workers = 2")
        .upstream("next_upstream = [\"error\", \"http_503\"]")
        .more(ADMIN);
    let proxy = proxy.start().await;
    for _ in 0..6 {
        assert_eq!(proxy.get("/").await.text(), "hello");
    }
    let upstream = proxy.shows("/upstreams/backend").await;
    let [dead, ill, good] = [0, 1, 2].map(|index| upstream["servers"][index].clone());
    let counts = |server: &serde_json::Value| {
        let counts = &server["counts"];
        ["requests", "failed", "retried"].map(|what| counts[what].as_u64().expect("a count"))
    };
    assert_eq!(counts(&good), [6, 0, 0]);
    assert_eq!(good["last_error"], serde_json::Value::Null);
    let [asked, failed, retried] = counts(&dead);
    assert!(asked > 0 && (asked, asked) == (failed, retried), "{dead}");
    assert_eq!(
        dead["counts"]["failures"],
        serde_json::json!({ "connect": failed })
    );
    let refused = "connect() failed (111: Connection refused) while connecting to upstream";
    let error = &dead["last_error"];
    assert_eq!(error["message"], refused);
    assert!(proxy.log().contains(refused), "it is what the log says");
    assert!(
        error["at"].as_str().expect("a time").starts_with("20"),
        "{error}"
    );
    assert!(error["ago_ms"].is_u64(), "{error}");
    let [asked, failed, retried] = counts(&ill);
    assert!(asked > 0 && (asked, asked) == (failed, retried), "{ill}");
    assert_eq!(
        ill["counts"]["answers"],
        serde_json::json!({ "5xx": asked })
    );
    let status = "upstream sent status 503, for which the next server is asked";
    assert_eq!(ill["last_error"]["message"], status);

    // The figures are those of the metrics.
    let metrics = proxy.admin("GET", "/metrics", "").await.text();
    let [address, ..] = &addresses;
    let [asked, ..] = counts(&dead);
    let sample = format!(
        "waypost_upstream_failures_total{{upstream=\"backend\",endpoint=\"{address}\",reason=\"connect\"}} {asked}\n"
    );
    assert!(metrics.contains(&sample), "no {sample} in {metrics}");

    let list = listed(&proxy, &[]);
    let asked = asked.to_string();
    assert_eq!(
        line(&list, address)[1..6],
        ["up", &asked, &asked, &asked, "0"]
    );
    assert_eq!(line(&list, &addresses[2])[1..6], ["up", "6", "0", "0", "0"]);
    // Here is no terminal: `grep` finds all of it in one line.
    let (begins, says) = ("    last error ", format!(" ago: {refused}"));
    let is_told = |line: &str| line.starts_with(begins) && line.contains(&says);
    assert!(list.lines().any(is_told), "{list}");
    let of_figures = list.lines().filter(|line| !line.starts_with("    "));
    assert_eq!(of_figures.count(), 5, "{list}");
}

#[tokio::test]
async fn a_failure_that_nobody_made_up_for_is_counted_as_no_retry() {
    let dead = origin::refuses();
    let proxy = proxy::to([&dead]).more(ADMIN).start().await;
    assert_eq!(proxy.get("/").await.status, 502);
    let server = proxy.server(dead.address()).await;
    let counts = &server["counts"];
    assert_eq!(
        [&counts["requests"], &counts["failed"], &counts["retried"]],
        [1, 1, 0]
    );
    // It is of the server and not of a configuration.
    proxy.reload().await;
    assert_eq!(proxy.server(dead.address()).await["counts"], *counts);
    let error = &proxy.server(dead.address()).await["last_error"];
    assert_eq!(error["at"], server["last_error"]["at"]);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_the_server_s_last_error() {
    let origin = origin::answers(|_| {
        Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").then_close()
    })
    .await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    client.cut_response().await;
    let broken = "upstream prematurely closed connection while reading upstream";
    eventually("the error is told", async || {
        proxy.server(origin.address()).await["last_error"]["message"] == broken
    })
    .await;
}

#[tokio::test]
async fn a_session_that_finds_its_server_gone_is_told_of_as_well() {
    let dead = origin::refuses();
    let file = format!(
        "[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"db\"\n[upstream.db]\nservers = [\"{}\"]\n{ADMIN}",
        dead.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    let mut client = proxy.client().await;
    client.wire.rest().await;
    let shown = proxy.shows("/upstreams/db").await;
    let server = &shown["servers"][0];
    assert_eq!(
        server["counts"]["failures"],
        serde_json::json!({ "connect": 1 })
    );
    let message = server["last_error"]["message"].as_str().expect("an error");
    assert!(message.starts_with("connect() failed (111: "), "{message}");
}

#[tokio::test]
async fn colours_are_for_terminals_and_for_whoever_wants_them() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let plain = listed(&proxy, &[]);
    assert!(plain.contains("  up "), "{plain}");
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    let forced = listed(&proxy, &[("CLICOLOR_FORCE", "1")]);
    assert!(forced.contains("\u{1b}[32mup\u{1b}[0m"), "{forced:?}");
    let refused = listed(&proxy, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]);
    assert!(!refused.contains('\u{1b}'), "{refused:?}");
}
