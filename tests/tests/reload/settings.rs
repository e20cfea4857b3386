//! What holds for the process as a whole: what can change, and what is warned about.

use super::*;

#[tokio::test]
async fn the_access_log_of_the_next_request_is_the_new_one() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut client = proxy.client().await;
    kept(&mut client, "/before").await;
    proxy.edit(
        "access_log = false",
        "access_log = { path = \"access.log\", format = \"first $request_uri\" }",
    );
    proxy.reload().await;
    kept(&mut client, "/one").await;
    proxy.edit("first $request_uri", "second $request_uri");
    proxy.reload().await;
    kept(&mut client, "/two").await;
    let log = proxy.directory().join("access.log");
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("both lines", async || lines().lines().count() == 2).await;
    assert_eq!(lines(), "first /one\nsecond /two\n");
}

#[tokio::test]
async fn an_exchange_under_way_is_logged_as_it_was_to_be() {
    let gate = Gate::closed();
    let origin = holding(Answer::ok("done").header("X-Says", "hello"), &gate).await;
    let log = "access_log = { path = \"access.log\", format = \"$request_uri $sent_http_x_says\" }";
    let proxy = proxy::to([&origin]).server(log).more(ADMIN).start().await;
    let mut client = waiting(proxy.address(), &origin).await;
    proxy.edit(log, "access_log = false");
    proxy.reload().await;
    gate.open();
    client.response().await;
    kept(&mut client, "/after").await;
    let lines = || std::fs::read_to_string(proxy.directory().join("access.log"));
    eventually("the line", async || {
        lines().is_ok_and(|lines| !lines.is_empty())
    })
    .await;
    assert_eq!(lines().unwrap(), "/held hello\n");
}

#[tokio::test]
async fn what_needs_a_new_process_is_warned_about_as_often_as_it_is_read_and_the_rest_applies() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    proxy.edit(
        "workers = 2",
        "workers = 3\nerror_log = \"error.log\"\nplugin_cache = false",
    );
    proxy.edit("admin.sock", "other.sock");
    proxy.append(NEW);
    for _ in 0..2 {
        let warnings = proxy.reload().await;
        let about = |key: &str| {
            let key = format!("`{key}`");
            warnings.iter().filter(|line| line.contains(&key)).count()
        };
        for key in ["workers", "error_log", "plugin_cache", "[admin]"] {
            assert_eq!(about(key), 1, "{key}: {warnings:?}");
        }
        assert_eq!(warnings.len(), 4, "{warnings:?}");
    }
    proxy.log_contains("`workers` has changed").await;
    assert_eq!(proxy.get("/new").await.text(), "new");
    assert_eq!(proxy.shows("/status").await["workers"], 2);
}

#[tokio::test]
async fn max_connections_holds_at_once() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin::answers(move |request| match request.number {
        0 => Answer::ok("held").when(&held),
        _ => Answer::ok("hello"),
    });
    let origin = origin.await;
    let proxy = proxy::to([&origin])
        .server("workers = 1\nmax_connections = 1")
        .more(ADMIN)
        .start()
        .await;
    let mut first = proxy.client().await;
    first.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    origin.received(1).await;
    let mut second = proxy.client().await;
    second.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    not_yet("a second connection", second.response()).await;
    proxy.edit("max_connections = 1", "max_connections = 2");
    proxy.reload().await;
    assert_eq!(second.response().await.text(), "hello");
    gate.open();
    assert_eq!(first.response().await.text(), "held");
}

#[tokio::test]
async fn the_error_log_s_level_holds_at_once() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server("error_log = { path = \"stderr\", level = \"info\" }")
        .more(ADMIN)
        .start()
        .await;
    let reopened = || proxy.log().matches("logs reopened").count();
    proxy.signal(Signal::USR1);
    eventually("the first line", async || reopened() == 1).await;
    proxy.edit("level = \"info\"", "level = \"error\"");
    proxy.reload().await;
    proxy.signal(Signal::USR1);
    // Signals come before what is asked after them.
    proxy.shows("/status").await;
    proxy.edit("level = \"error\"", "level = \"info\"");
    proxy.reload().await;
    proxy.signal(Signal::USR1);
    eventually("the last line", async || {
        let log = proxy.log();
        let again = log
            .split_once("reloaded: ")
            .map_or("", |(_, behind)| behind);
        again.contains("logs reopened")
    })
    .await;
    assert_eq!(reopened(), 2);
}

/// As often as the file is read: once.
#[tokio::test]
async fn a_pattern_of_include_that_matches_nothing_is_warned_about() {
    let file = format!(
        "include = [\"conf.d/*.toml\"]\n[[listen]]\naddress = \"127.0.0.1:0\"\n{NEW}{ADMIN}"
    );
    let proxy = proxy::run(&file, &[]).await;
    let warned = || {
        proxy
            .log()
            .matches("warning: `conf.d/*.toml` matches no file")
            .count()
    };
    assert_eq!(warned(), 1, "{}", proxy.log());
    proxy.reload().await;
    proxy.log_contains("reloaded: generation 2").await;
    assert_eq!(warned(), 2, "{}", proxy.log());
    let directory = proxy.directory().join("conf.d");
    std::fs::create_dir(&directory).unwrap();
    let included = NEW.replace("/new", "/included");
    std::fs::write(directory.join("a.toml"), included).unwrap();
    proxy.reload().await;
    proxy.log_contains("reloaded: generation 3").await;
    assert_eq!(warned(), 2, "{}", proxy.log());
    assert_eq!(proxy.get("/included").await.text(), "new");
}
