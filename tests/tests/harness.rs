//! What the specs stand on: the peers do on the wire what their names say.
//!
//! Client and origin talk to each other directly here, and through a real nginx, whose behaviour is
//! known.

use waypost_tests::client::{exchange, get_with};
use waypost_tests::http2::{self, Frame, Outcome, Raw, Reason, kind};
use waypost_tests::{
    Answer, Client, Gate, Http2, Nginx, Wire, grpc, nginx, not_yet, origin, peers, websocket,
};

/// `tests/under_load` with this argument, where compiling would only leave a file behind: its code,
/// what it says, and whether it compiled.
fn under_load(argument: &str) -> (i32, String, bool) {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::TempDir::new().expect("there is room for a directory");
    let (cargo, mark) = (directory.path().join("cargo"), directory.path().join("ran"));
    let script = format!("#!/bin/sh\n: > {}\nexit 1\n", mark.display());
    std::fs::write(&cargo, script).expect("the directory is ours");
    std::fs::set_permissions(&cargo, PermissionsExt::from_mode(0o755)).expect("the file is ours");
    let path = std::env::var("PATH").unwrap_or_default();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/under_load");
    let mut command = std::process::Command::new(script);
    command.arg(argument);
    command.env("PATH", format!("{}:{path}", directory.path().display()));
    let (code, out, err) = waypost_tests::child::run(command);
    (code, out + &err, mark.exists())
}

#[test]
fn the_run_under_load_begins_for_a_number_and_says_how_it_is_used_for_anything_else() {
    for (argument, expected) in [("--help", 0), ("-h", 0), ("x", 2), ("0", 2), ("-1", 2)] {
        let (code, said, compiled) = under_load(argument);
        assert!(
            said.contains("usage: tests/under_load [TIMES]"),
            "{argument}: {said}"
        );
        assert_eq!((code, compiled), (expected, false), "{argument}");
    }
    assert!(under_load("12").2);
}

#[tokio::test]
async fn an_origin_answers_counts_and_records() {
    let origin = origin::says("hello").await;
    let mut client = Client::connect(origin.address()).await;
    assert_eq!(client.get("/a").await.text(), "hello");
    assert_eq!(client.get("/b").await.text(), "hello");
    let targets: Vec<String> = origin
        .requests()
        .into_iter()
        .map(|request| request.target)
        .collect();
    assert_eq!(targets, ["/a", "/b"]);
    assert_eq!((origin.connections(), origin.open()), (1, 1));
    drop(client);
    origin.has_open(0).await;
}

#[tokio::test]
async fn a_gate_holds_an_answer_back_until_it_opens() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin::answers(move |_| Answer::ok("late").when(&held)).await;
    let asked = exchange(origin.address(), "GET / HTTP/1.1\r\n\r\n");
    let opened = async {
        origin.received(1).await;
        gate.open();
    };
    let (response, ()) = tokio::join!(asked, opened);
    assert_eq!(response.text(), "late");
}

#[tokio::test]
async fn chunks_and_trailers_are_read() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Sum: 9\r\n\r\n";
    let origin = origin::answers(move |_| Answer::raw(chunked)).await;
    let response = exchange(origin.address(), "GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(
        (response.text().as_str(), response.trailers.get("x-sum")),
        ("abc0123456789", Some("9"))
    );
}

#[tokio::test]
async fn a_cut_body_is_told_from_a_complete_one() {
    let origin = origin::answers(|_| {
        Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").then_close()
    })
    .await;
    let mut client = Client::connect(origin.address()).await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    let response = client.cut_response().await;
    assert_eq!(
        (response.text().as_str(), response.complete),
        ("half", false)
    );
}

#[tokio::test]
async fn a_refusing_address_refuses_and_a_full_queue_leaves_connections_waiting() {
    let refuses = origin::refuses();
    let refused = Wire::connect(refuses.address())
        .await
        .err()
        .map(|error| error.kind());
    assert_eq!(refused, Some(std::io::ErrorKind::ConnectionRefused));

    let hangs = origin::hangs_at_connect();
    not_yet("a connection", Wire::connect(hangs.address())).await;
}

#[tokio::test]
async fn an_origin_that_dies_cuts_its_connections_and_refuses_new_ones() {
    let mut origin = origin::answers_at(&origin::reserved(), |_| Answer::ok("alive")).await;
    let mut client = Client::connect(origin.address()).await;
    assert_eq!(client.get("/").await.text(), "alive");
    origin.dies().await;
    client.closed().await;
    assert!(Wire::connect(origin.address()).await.is_err());
}

#[tokio::test]
async fn nginx_serves_from_the_harness() {
    if !nginx::installed() {
        return;
    }
    let origin = origin::named().await;
    let http = format!("upstream backend {{ server {}; }}", origin.address());
    let nginx = Nginx::start(&http, "location / { proxy_pass http://backend; }").await;
    let response = get_with(nginx.address(), "/x", "X-Test: 1\r\n").await;
    assert_eq!(response.text(), origin.address());
    assert_eq!(
        (
            origin.request().target.as_str(),
            origin.request().header("X-Test")
        ),
        ("/x", "1")
    );
}

#[tokio::test]
async fn an_http_2_origin_answers_counts_and_records() {
    let origin =
        http2::answers(|request| Answer::ok(&request.body).header("X-Method", &request.method))
            .await;
    let mut client = Http2::connect(origin.address()).await;
    let response = client.post("/a", "body").await;
    assert_eq!(
        (
            response.status,
            &*response.text(),
            response.header("x-method")
        ),
        (200, "body", "POST")
    );
    client.get("/b").await;
    let targets: Vec<String> = origin
        .requests()
        .into_iter()
        .map(|request| request.target)
        .collect();
    assert_eq!(targets, ["/a", "/b"]);
    assert_eq!((origin.connections(), origin.open()), (1, 1));
    drop(client);
    origin.has_open(0).await;
}

#[tokio::test]
async fn frames_by_hand_are_understood() {
    let origin = http2::answers(|request| match &*request.target {
        "/413" => Answer::status(413, ""),
        "/reset" => Answer::ok("half").then_reset(),
        _ => Answer::ok("hello"),
    })
    .await;
    let mut raw = Raw::connect(origin.address()).await;
    raw.get(1, "/").await;
    assert_eq!(raw.outcome(1).await, Outcome::Status(200));
    assert_eq!(raw.until_kind(kind::DATA).await.payload, b"hello");
    raw.get(3, "/413").await;
    assert_eq!(raw.outcome(3).await, Outcome::Status(413));
    raw.get(5, "/reset").await;
    assert_eq!(raw.outcome(5).await, Outcome::Status(200));
    assert_eq!(raw.outcome(5).await, Outcome::Reset(Reason::INTERNAL_ERROR));
    raw.send(Frame::data(0, 0, "nonsense")).await;
    assert_eq!(raw.given_up().await, Reason::PROTOCOL_ERROR);
}

#[tokio::test]
async fn an_nginx_understands_our_http_2() {
    if !nginx::installed() {
        return;
    }
    let server = "location / { return 200 \"$server_protocol $request_uri\"; }";
    let nginx = Nginx::start_http2("", server).await;
    let mut client = Http2::connect(nginx.address()).await;
    assert_eq!(client.get("/a?b").await.text(), "HTTP/2.0 /a?b");
    let mut raw = Raw::connect(nginx.address()).await;
    raw.still_works(1).await;
}

#[tokio::test]
async fn tonic_and_grpcio_understand_each_other() {
    let server = grpc::Server::start().await;
    grpc::every_kind_of_call(server.address()).await;
    if let Some(python) = peers::python(&["grpc"]) {
        let said = peers::run(&python, "grpc_client.py", &[server.address(), "tonic"]).await;
        assert!(said.contains("all calls are well"), "{said}");
        let server = peers::Server::start(&python, "grpc_server.py").await;
        grpc::every_kind_of_call(server.address()).await;
    }
}

#[test]
fn a_websocket_key_is_answered_as_in_the_standard() {
    assert_eq!(
        websocket::accept("dGhlIHNhbXBsZSBub25jZQ=="),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
}
