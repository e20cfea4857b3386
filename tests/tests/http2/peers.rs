//! Programs of others, as clients and as servers.

use std::process::Command;

use waypost_tests::{Nginx, nginx, peers};

use super::*;

#[tokio::test]
async fn curl_asks_in_http_2() {
    if !peers::installed("curl", "curl") {
        return;
    }
    let origin =
        origin::answers(|request| Answer::ok(&request.body).header("X-Method", &request.method))
            .await;
    let proxy = proxy::to([&origin]).start().await;
    for (arguments, version) in [
        (vec!["--http2-prior-knowledge"], "2"),
        (vec!["--http1.1"], "1.1"),
        // An upgrade is not taken, as RFC 9113 wants it; the request is answered all the same.
        (vec!["--http2"], "1.1"),
    ] {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--max-time", "8"])
            .args(&arguments)
            .args([
                "--data",
                "x=y",
                "--write-out",
                "|%{http_version}|%header{x-method}",
            ])
            .arg(format!("http://{}/form", proxy.address()));
        let said = peers::run_program(command).await;
        assert_eq!(said, format!("x=y|{version}|POST"), "{arguments:?}");
    }
}

#[tokio::test]
async fn h2load_finds_every_request_answered() {
    if !peers::installed("h2load", "nghttp2-client") {
        return;
    }
    let origins = [origin::says("hello").await, origin::says("hello").await];
    let proxy = proxy::to(&origins).start().await;
    for arguments in [["-n3000", "-c8", "-m50"], ["-n600", "-c4", "-m1"]] {
        let mut command = Command::new("h2load");
        command
            .args(arguments)
            .arg(format!("http://{}/", proxy.address()));
        let said = peers::run_program(command).await;
        let requests = &arguments[0][2..];
        let all = format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout");
        assert!(said.contains(&all), "{said}");
        assert!(
            said.contains(&format!("status codes: {requests} 2xx")),
            "{said}"
        );
    }
}

#[tokio::test]
async fn nginx_serves_in_http_2() {
    if !nginx::installed() {
        return;
    }
    let server =
        "location / { return 200 \"$server_protocol $request_method $request_uri $http_x_a\"; }
                  location /gone { return 204; }";
    let nginx = Nginx::start_http2("", server).await;
    let proxy = proxy::to([format!("{{ address = \"{}\" }}", nginx.address())])
        .server("workers = 1")
        .upstream("http2 = true")
        .start()
        .await;
    let response = proxy.get_with("/a?b", "X-A: c\r\n").await;
    assert_eq!(response.text(), "HTTP/2.0 GET /a?b c");
    let mut client = Http2::connect(proxy.address()).await;
    for _ in 0..30 {
        assert_eq!(client.get("/gone").await.status, 204);
        assert_eq!(client.ask("HEAD", "/", &[]).await.text(), "");
        assert_eq!(
            client.post("/p", "ignored").await.text(),
            "HTTP/2.0 POST /p "
        );
    }
}

#[tokio::test]
async fn nginx_that_ends_connections_now_and_then_loses_no_request() {
    if !nginx::installed() {
        return;
    }
    // Each says GOAWAY after every fifty requests, in the middle of those that are under way.
    let ends = "keepalive_requests 50;";
    let server = "location / { return 200 ok; }";
    let servers = [
        Nginx::start_http2(ends, server).await,
        Nginx::start_http2(ends, server).await,
    ];
    let lines = servers
        .each_ref()
        .map(|nginx| format!("{{ address = \"{}\" }}", nginx.address()));
    let proxy = proxy::to(lines).upstream("http2 = true").start().await;
    let mut client = Http2::connect(proxy.address()).await;
    for _ in 0..20 {
        let mut streams = Vec::new();
        for _ in 0..30 {
            let mut stream = client.begin("POST", "/", &[]).await;
            stream.send("body", true);
            streams.push(stream);
        }
        for stream in &mut streams {
            assert_eq!(stream.response().await.text(), "ok");
        }
    }
    // A connection that ends in good order is nothing against its server.
    let log = proxy.log();
    assert!(!log.contains("temporarily disabled"), "{log}");
}
