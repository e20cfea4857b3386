//! gRPC: calls pass as they come, and a fault is told in its own words.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::SendStream;
use tonic::Code;
use waypost_tests::grpc::{Client, Server, every_kind_of_call};
use waypost_tests::http2::{self, Exchange, Frame, Raw, Reason, flag, kind};
use waypost_tests::{
    Answer, Fields, Http2, Origin, Proxy, Response, in_time, origin, pause, peers, proxy,
};

/// A proxy to servers of gRPC.
async fn to<S: proxy::Server>(servers: impl IntoIterator<Item = S>, upstream: &str) -> Proxy {
    proxy::to(servers)
        .listen("client_max_body_size = \"8m\"")
        .upstream("http2 = true")
        .upstream(upstream)
        .start()
        .await
}

fn at(address: &str) -> [String; 1] {
    [format!("{{ address = \"{address}\" }}")]
}

/// A message with its five bytes of framing.
fn message(content: &str) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), content.as_bytes()].concat()
}

/// An origin that does as the function says with each call.
async fn calls<F: Future<Output = ()> + Send + 'static>(
    call: impl Fn(Exchange) -> F + Send + Sync + 'static,
) -> Origin {
    http2::serves(h2::server::Builder::new(), call).await
}

/// Begins to answer a call.
fn begun(exchange: &mut Exchange) -> SendStream<Bytes> {
    exchange
        .begin(200, &[("content-type", "application/grpc")])
        .expect("the caller waits")
}

/// Answers a call with one message and `OK`.
async fn answer(mut exchange: Exchange, content: &str) {
    if !exchange.read().await {
        return;
    }
    let Some(mut body) = exchange.begin(200, &[("content-type", "application/grpc")]) else {
        return;
    };
    let trailers = Fields(vec![("grpc-status".into(), "0".into())]);
    drop(body.send_data(message(content).into(), false));
    drop(body.send_trailers(trailers.to_map()));
}

/// A call without a library, to see how its answer is told on the wire.
async fn called(proxy: &Proxy, path: &str, lines: &[(&str, &str)]) -> Response {
    let mut client = Http2::connect(proxy.address()).await;
    let fields = [
        &[("content-type", "application/grpc"), ("te", "trailers")][..],
        lines,
    ]
    .concat();
    let mut stream = client.begin("POST", path, &fields).await;
    stream.send(message("hello"), true);
    stream.response().await
}

/// A call's fault: what it was told, in a header block that is its trailers at the same time.
fn told(response: &Response) -> Option<&str> {
    assert_eq!(response.status, 200, "{response:?}");
    assert!(response.body.is_empty(), "{response:?}");
    assert!(
        response
            .header("content-type")
            .starts_with("application/grpc")
    );
    response.headers.get("grpc-status")
}

#[tokio::test]
async fn tonic_calls_tonic() {
    let server = Server::start().await;
    let proxy = to(at(server.address()), "").await;
    every_kind_of_call(proxy.address()).await;
}

async fn calls_of_grpcio_are_well(python: &Path, arguments: &[&str]) {
    let said = peers::run(python, "grpc_client.py", arguments).await;
    assert!(said.contains("all calls are well"), "{said}");
}

#[tokio::test]
async fn grpcio_calls_tonic() {
    let Some(python) = peers::python(&["grpc"]) else {
        return;
    };
    let server = Server::start().await;
    let proxy = to(at(server.address()), "").await;
    calls_of_grpcio_are_well(&python, &[proxy.address(), "tonic"]).await;
}

#[tokio::test]
async fn tonic_calls_grpcio() {
    let Some(python) = peers::python(&["grpc"]) else {
        return;
    };
    let server = peers::Server::start(&python, "grpc_server.py").await;
    let proxy = to(at(server.address()), "").await;
    every_kind_of_call(proxy.address()).await;
}

#[tokio::test]
async fn grpcio_calls_grpcio_and_what_it_gives_up_ends_at_the_server() {
    let Some(python) = peers::python(&["grpc"]) else {
        return;
    };
    let server = peers::Server::start(&python, "grpc_server.py").await;
    let proxy = to(at(server.address()), "").await;
    calls_of_grpcio_are_well(&python, &[proxy.address()]).await;
    // The call with a deadline; the other one may have been given up before it was sent.
    server.said().contains("cancelled").await;
    server.said().contains("time remaining 4").await;
}

#[tokio::test]
async fn calls_are_balanced_one_by_one() {
    let servers = [
        calls(|exchange| answer(exchange, "a")).await,
        calls(|exchange| answer(exchange, "b")).await,
    ];
    let proxy = to(&servers, "").await;
    let mut client = Client::connect(proxy.address()).await;
    for _ in 0..10 {
        client.unary("Unary", "", &[]).await.unwrap();
    }
    assert_eq!(
        servers.each_ref().map(|server| server.requests().len()),
        [5, 5]
    );
}

#[tokio::test]
async fn messages_pass_one_by_one_in_both_directions() {
    let server = Server::start().await;
    // Calls are not read ahead, so `body_buffer_size` must not matter.
    let proxy = to(at(server.address()), "body_buffer_size = \"64k\"").await;
    let mut client = Client::connect(proxy.address()).await;
    let mut talk = client.talk("hello").await.unwrap();
    for _ in 0..100 {
        assert_eq!(talk.say("ping").await.unwrap(), "PING");
    }
    assert!(talk.finish().await.unwrap().is_empty());
}

#[tokio::test]
async fn trailers_say_how_a_call_ended() {
    let server = calls(|mut exchange| async move {
        exchange.read().await;
        let mut body = exchange
            .begin(200, &[("content-type", "application/grpc+proto")])
            .unwrap();
        body.send_data(message("half").into(), false).unwrap();
        let trailers = Fields(vec![
            ("grpc-status".into(), "10".into()),
            ("grpc-message".into(), "half%20way".into()),
            ("x-detail-bin".into(), "AP8".into()),
        ]);
        body.send_trailers(trailers.to_map()).unwrap();
    })
    .await;
    let proxy = to([&server], "").await;
    let response = called(&proxy, "/s/m", &[]).await;
    assert_eq!(response.header("content-type"), "application/grpc+proto");
    assert_eq!(response.body, message("half"));
    assert_eq!(response.trailers.get("grpc-status"), Some("10"));
    assert_eq!(response.trailers.get("grpc-message"), Some("half%20way"));
    assert_eq!(response.trailers.get("x-detail-bin"), Some("AP8"));
    assert_eq!(server.request().header("te"), "trailers");
    assert_eq!(server.request().header("content-type"), "application/grpc");
}

#[tokio::test]
async fn a_deadline_that_passes_is_told_and_ends_the_call_at_the_server() {
    let (sender, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let server = calls(move |mut exchange| {
        let sender = sender.clone();
        async move {
            exchange.record();
            sender.send(exchange.given_up().await).unwrap();
        }
    })
    .await;
    let proxy = to([&server], "").await;
    let began = Instant::now();
    let response = called(&proxy, "/s/m", &[("grpc-timeout", "1000m")]).await;
    assert_eq!(told(&response), Some("4"));
    assert!(began.elapsed() >= Duration::from_millis(900));
    assert_eq!(server.request().header("grpc-timeout"), "1000m");
    let reason = in_time("the end at the server", ended.recv())
        .await
        .unwrap();
    assert_eq!(reason, Some(Reason::CANCEL));
}

#[tokio::test]
async fn a_deadline_that_passes_in_the_middle_of_answers_is_told_in_trailers() {
    let server = calls(|mut exchange| async move {
        exchange.read().await;
        let mut body = begun(&mut exchange);
        body.send_data(message("one").into(), false).unwrap();
        // Held open for as long as the proxy waits.
        let _ = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
    })
    .await;
    let proxy = to([&server], "").await;
    let response = called(&proxy, "/s/m", &[("grpc-timeout", "400m")]).await;
    assert_eq!(response.body, message("one"));
    assert_eq!(response.trailers.get("grpc-status"), Some("4"));
}

#[tokio::test]
async fn a_deadline_that_has_passed_already_is_told_at_once() {
    let server = calls(|mut exchange| async move {
        exchange.given_up().await;
    })
    .await;
    let proxy = to([&server], "").await;
    for timeout in ["0S", "1n", "00000000u"] {
        let response = called(&proxy, "/s/m", &[("grpc-timeout", timeout)]).await;
        assert_eq!(told(&response), Some("4"), "{timeout}");
    }
}

#[tokio::test]
async fn silence_between_messages_is_bounded_and_begins_anew_with_each() {
    let server = calls(|mut exchange| async move {
        exchange.read().await;
        let mut body = begun(&mut exchange);
        // Longer than the timeout in all, and never silent for that long.
        for _ in 0..12 {
            body.send_data(message("tick").into(), false).unwrap();
            pause().await;
        }
        // Nothing more is said.
        let _ = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
    })
    .await;
    let proxy = to([&server], "read_timeout = \"1s\"").await;
    let mut client = Http2::connect(proxy.address()).await;
    let fields = [("content-type", "application/grpc")];
    let mut stream = client.begin("POST", "/s/m", &fields).await;
    stream.send(message("go"), true);
    let (response, _) = stream.failure().await;
    assert_eq!(response.body, message("tick").repeat(12));
    assert!(client.is_open());
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_of_its_messages_ends_the_call() {
    let (sender, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let server = calls(move |mut exchange| {
        let sender = sender.clone();
        async move {
            let mut body = begun(&mut exchange);
            body.send_data(message("go on").into(), false).unwrap();
            let reset = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
            sender.send(reset.ok()).unwrap();
        }
    })
    .await;
    let proxy = proxy::to([&server])
        .listen("client_body_timeout = \"1s\"")
        .upstream("http2 = true")
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    let fields = [("content-type", "application/grpc")];
    let mut stream = client.begin("POST", "/s/m", &fields).await;
    stream.send(message("one"), false);
    let (response, _) = stream.failure().await;
    assert_eq!(response.body, message("go on"));
    let reason = in_time("the end at the server", ended.recv()).await;
    assert_eq!(reason.unwrap(), Some(Reason::CANCEL));
    proxy
        .log_contains("client timed out while reading client request body")
        .await;
}

#[tokio::test]
async fn a_deadline_that_is_none_is_the_servers_business() {
    let server = calls(|exchange| answer(exchange, "fine")).await;
    let proxy = to([&server], "").await;
    for timeout in [
        "",
        "5",
        "x",
        "123456789S",
        "-1S",
        "1 S",
        "5s",
        "S",
        "99999999H",
    ] {
        let response = called(&proxy, "/s/m", &[("grpc-timeout", timeout)]).await;
        assert_eq!(response.body, message("fine"), "{timeout:?}");
    }
}

#[tokio::test]
async fn a_fault_of_a_server_is_told_as_the_status_that_it_has_in_grpc() {
    let refuses = origin::refuses();
    let silent = calls(|mut exchange| async move {
        exchange.record();
        exchange.given_up().await;
    })
    .await;
    let breaks_off = origin::speaks(|wire, _| async move {
        let mut raw = Raw::accept(wire, &[]).await;
        raw.until_kind(kind::HEADERS).await;
    })
    .await;
    for (what, server, status, code) in [
        ("refuses", refuses.with(""), "14", Code::Unavailable),
        (
            "is down",
            refuses.with("down = true"),
            "14",
            Code::Unavailable,
        ),
        ("is silent", silent.with(""), "4", Code::DeadlineExceeded),
        ("breaks off", breaks_off.with(""), "14", Code::Unavailable),
    ] {
        let proxy = to([server], "read_timeout = \"1s\"").await;
        assert_eq!(
            told(&called(&proxy, "/s/m", &[]).await),
            Some(status),
            "{what}"
        );
        let mut client = Client::connect(proxy.address()).await;
        let told = client.unary("Unary", "", &[]).await.unwrap_err();
        assert_eq!(told.code(), code, "{what}");
    }
}

#[tokio::test]
async fn a_route_that_does_not_exist_is_unimplemented() {
    let server = calls(|exchange| answer(exchange, "fine")).await;
    let proxy = proxy::to([&server])
        .upstream("http2 = true")
        .route("path = \"/s/\"")
        .start()
        .await;
    assert_eq!(told(&called(&proxy, "/other/m", &[]).await), Some("12"));
    assert_eq!(called(&proxy, "/s/m", &[]).await.body, message("fine"));
    // The same request without gRPC's content type is answered as any other.
    let mut client = Http2::connect(proxy.address()).await;
    assert_eq!(client.post("/other/m", "body").await.status, 404);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_resource_exhausted() {
    let server = calls(|exchange| answer(exchange, "fine")).await;
    let proxy = proxy::to([&server])
        .upstream("http2 = true")
        .listen("client_max_body_size = 1000")
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    let fields = [
        ("content-type", "application/grpc"),
        ("content-length", "2000"),
    ];
    let response = client.begin("POST", "/s/m", &fields).await.response().await;
    assert_eq!(told(&response), Some("8"));
    let mut client = Client::connect(proxy.address()).await;
    let status = client.unary("Unary", vec![0; 5000], &[]).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_refused_stream_is_tried_at_another_server() {
    let refusing = origin::speaks(|wire, _| async move {
        let mut raw = Raw::accept(wire, &[]).await;
        while let Some(frame) = raw.next().await {
            if frame.kind == kind::HEADERS {
                raw.try_send(Frame::reset(frame.stream, Reason::REFUSED_STREAM))
                    .await;
            }
        }
    })
    .await;
    let willing = calls(|exchange| answer(exchange, "willing")).await;
    let proxy = to([&refusing, &willing], "").await;
    for _ in 0..4 {
        assert_eq!(called(&proxy, "/s/m", &[]).await.body, message("willing"));
    }
}

#[tokio::test]
async fn a_call_that_a_server_may_have_worked_on_is_not_made_twice() {
    let broken = origin::speaks(|wire, _| async move {
        let mut raw = Raw::accept(wire, &[]).await;
        raw.until("the end of a request", |frame| {
            [kind::HEADERS, kind::DATA].contains(&frame.kind) && frame.has(flag::END_STREAM)
        })
        .await;
    })
    .await;
    let other = calls(|exchange| answer(exchange, "other")).await;
    let proxy = proxy::to([broken.with(""), other.with("backup = true")])
        .upstream("http2 = true")
        .start()
        .await;
    assert_eq!(told(&called(&proxy, "/s/m", &[]).await), Some("14"));
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn an_answer_that_is_cut_is_not_taken_for_a_whole_one() {
    let server = calls(|mut exchange| async move {
        exchange.read().await;
        let mut body = begun(&mut exchange);
        body.send_data(message("one").into(), false).unwrap();
        // A frame that is still to be sent would fall victim to the reset.
        pause().await;
        body.send_reset(Reason::INTERNAL_ERROR);
    })
    .await;
    let proxy = to([&server], "").await;
    let mut client = Client::connect(proxy.address()).await;
    let mut answers = client.repeat(1).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap(), "one");
    assert!(answers.message().await.is_err());
}

#[tokio::test]
async fn an_http_error_of_a_server_passes_as_it_is() {
    let server = http2::answers(|_| Answer::status(503, "busy")).await;
    let proxy = to([&server], "").await;
    let response = called(&proxy, "/s/m", &[]).await;
    assert_eq!((response.status, &*response.text()), (503, "busy"));
}

#[tokio::test]
async fn grpc_web_and_http_1_are_not_grpc() {
    let dead = origin::refuses();
    let proxy = to([&dead], "").await;
    let mut client = Http2::connect(proxy.address()).await;
    let fields = [("content-type", "application/grpc-web+proto")];
    assert_eq!(client.ask("POST", "/s/m", &fields).await.status, 502);
    let response = proxy
        .get_with("/s/m", "Content-Type: application/grpc\r\n")
        .await;
    assert_eq!(response.status, 502);
}

#[tokio::test]
async fn the_log_keeps_the_status_that_http_has_for_a_fault() {
    let dead = origin::refuses();
    let proxy = proxy::to([&dead])
        .upstream("http2 = true")
        .server("access_log = { path = \"stdout\", format = \"$request_method $uri $status\" }")
        .start()
        .await;
    called(&proxy, "/s/m", &[]).await;
    proxy.stdout().contains("POST /s/m 502\n").await;
}
