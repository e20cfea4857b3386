//! Requests in, responses out: what a client that behaves can rely on.

use super::*;

#[tokio::test]
async fn a_client_that_knows_of_it_is_answered_in_http_2() {
    let (origin, proxy) = hello().await;
    let mut client = Http2::connect(proxy.address()).await;
    let response = client.get("/a?b=c").await;
    assert_eq!((response.status, &*response.text()), (200, "hello"));
    assert_eq!(response.version, "HTTP/2.0");
    let request = origin.request();
    assert_eq!((&*request.method, &*request.target), ("GET", "/a?b=c"));
    // The upstream's protocol is not the client's business, nor the other way round.
    assert_eq!(request.version, "HTTP/1.1");
}

#[tokio::test]
async fn http_1_is_still_spoken_on_the_same_port() {
    let (_origin, proxy) = hello().await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert_eq!(
        Http2::connect(proxy.address()).await.get("/").await.text(),
        "hello"
    );
    // Methods that begin as the preface does.
    for method in ["P", "PR", "PRI", "PROPFIND", "PRINT"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        assert_eq!(proxy.exchange(request).await.status, 200, "{method}");
    }
}

#[tokio::test]
async fn a_preface_may_come_in_pieces() {
    let (_origin, proxy) = hello().await;
    let mut client = proxy.client().await;
    for byte in http2::PREFACE {
        client.send([*byte]).await;
        // So that most are read one by one, which nothing tells.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut raw = Raw::over(client.wire);
    raw.send(Frame::settings(&[])).await;
    raw.still_works(1).await;
}

#[tokio::test]
async fn where_it_is_off_a_preface_is_a_bad_request() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).listen("http2 = false").start().await;
    let mut client = proxy.client().await;
    client.send(http2::PREFACE).await;
    // In HTTP/1.1, as to every client whose version is not spoken.
    assert!([400, 505].contains(&client.response().await.status));
    assert!(origin.requests().is_empty());
    assert_eq!(proxy.get("/").await.text(), "hello");
}

#[tokio::test]
async fn streams_do_not_wait_for_each_other() {
    let gate = Gate::closed();
    let slow = gate.clone();
    let origin = origin::answers(move |request| match &*request.target {
        "/slow" => Answer::ok("slow").when(&slow),
        other => Answer::ok(other),
    })
    .await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    let request = client.request("GET", "/slow", &[]);
    let mut waiting = client.open(request, true).await;
    origin.received(1).await;
    for number in 0..50 {
        let target = format!("/{number}");
        assert_eq!(client.get(&target).await.text(), target);
    }
    gate.open();
    assert_eq!(waiting.response().await.text(), "slow");
}

#[tokio::test]
async fn many_streams_at_once_each_get_their_own_answer() {
    let origin = origin::answers(|request| Answer::ok(request.target.repeat(1000))).await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut streams = Vec::new();
    for number in 0..100 {
        let request = client.request("GET", &format!("/{number}"), &[]);
        streams.push(client.open(request, true).await);
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        let response = stream.response().await;
        assert_eq!(response.text(), format!("/{number}").repeat(1000));
    }
}

#[tokio::test]
async fn large_bodies_pass_both_ways() {
    let origin = origin::answers(|request| Answer::ok(&request.body)).await;
    let proxy = proxy::to([&origin])
        .listen("client_max_body_size = \"8m\"")
        .start()
        .await;
    let body: Vec<u8> = (0..5_000_000u32).map(|at| (at % 251) as u8).collect();
    let mut client = Http2::connect(proxy.address()).await;
    let response = client.post("/", &body).await;
    assert!(response.body == body, "{} bytes", response.body.len());
}

#[tokio::test]
async fn a_body_passes_while_it_is_sent() {
    // Says `go`, then echoes what it receives until the request ends.
    let origin = origin::speaks(|mut wire, _| async move {
        let Ok(_) = wire.head().await else { return };
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ngo\r\n")
            .await;
        for _ in 0..3 {
            let size = wire.until(b"\r\n").await.unwrap();
            let chunk = wire.until(b"\r\n").await.unwrap();
            wire.send([size, chunk].concat()).await;
        }
        wire.until(b"0\r\n\r\n").await.unwrap();
        wire.send("0\r\n\r\n").await;
    })
    .await;
    let proxy = proxy::to([&origin])
        .upstream("body_buffer_size = 0")
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut stream = client.begin("POST", "/", &[]).await;
    assert_eq!(stream.head().await.status, 200);
    assert_eq!(stream.part().await, "go");
    for word in ["one", "two", "three"] {
        stream.send(word, false);
        assert_eq!(stream.part().await, word);
    }
    stream.send("", true);
    assert!(stream.try_part().await.is_none());
}

#[tokio::test]
async fn a_response_before_the_end_of_the_request_is_delivered() {
    let origin = origin::speaks(|mut wire, _| async move {
        let Ok(_) = wire.head().await else { return };
        wire.send("HTTP/1.1 413 Enough\r\nContent-Length: 6\r\nConnection: close\r\n\r\nenough")
            .await;
        wire.rest().await;
    })
    .await;
    let proxy = proxy::to([&origin])
        .upstream("body_buffer_size = 0")
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut stream = client.begin("POST", "/", &[]).await;
    stream.send("some", false);
    let response = stream.response().await;
    assert_eq!((response.status, &*response.text()), (413, "enough"));
    // The connection goes on.
    assert_eq!(client.ask("GET", "/", &[]).await.status, 413);
}

#[tokio::test]
async fn a_client_that_reads_nothing_of_one_stream_gets_the_others() {
    let origin = origin::answers(|request| match &*request.target {
        "/large" => Answer::ok("x".repeat(3_000_000)),
        _ => Answer::ok("small"),
    })
    .await;
    let proxy = proxy::to([&origin]).start().await;
    let mut settings = h2::client::Builder::new();
    settings.initial_connection_window_size(1 << 20);
    let mut client = Http2::connect_with(proxy.address(), &settings).await;
    let request = client.request("GET", "/large", &[]);
    let mut large = client.open(request, true).await;
    large.head().await;
    assert_eq!(client.get("/").await.text(), "small");
    let mut length = 0;
    while let Some(part) = large.try_part().await {
        length += part.unwrap().len();
    }
    assert_eq!(length, 3_000_000);
}

#[tokio::test]
async fn a_client_that_gives_a_stream_up_ends_its_exchange() {
    let (origin, _gate) = held().await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    let request = client.request("GET", "/", &[]);
    let mut stream = client.open(request, true).await;
    origin.received(1).await;
    stream.reset(Reason::CANCEL);
    origin.has_open(0).await;
    assert!(client.is_open());
}

#[tokio::test]
async fn a_client_that_leaves_ends_all_its_exchanges() {
    let (origin, _gate) = held().await;
    let proxy = proxy::to([&origin]).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    for stream in [1, 3, 5] {
        raw.get(stream, "/").await;
    }
    origin.received(3).await;
    drop(raw);
    origin.has_open(0).await;
}

#[tokio::test]
async fn each_stream_is_balanced_by_itself() {
    let origins = [origin::named().await, origin::named().await];
    let proxy = proxy::to(&origins).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    for _ in 0..10 {
        client.get("/").await;
    }
    let counts = origins.each_ref().map(|origin| origin.requests().len());
    assert_eq!(counts, [5, 5]);
}

#[tokio::test]
async fn a_failed_server_is_another_servers_business() {
    let (dead, alive) = (origin::refuses(), origin::says("alive").await);
    let proxy = proxy::to([&dead, &alive]).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    for _ in 0..4 {
        assert_eq!(client.post("/", "body").await.text(), "alive");
    }
    assert_eq!(alive.requests()[3].body, b"body");
}

#[tokio::test]
async fn a_fault_is_answered_on_its_stream() {
    let dead = origin::refuses();
    let proxy = proxy::to([&dead])
        .route("path = \"/dead\"")
        .more(FIXED)
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    assert_eq!(client.get("/dead").await.status, 502);
    assert_eq!(client.get("/nowhere").await.status, 404);
    let fixed = client.get("/fixed").await;
    assert_eq!((fixed.status, &*fixed.text()), (200, "fixed"));
    assert_eq!(client.ask("HEAD", "/fixed", &[]).await.text(), "");
}

#[tokio::test]
async fn the_log_names_the_version_and_the_bytes() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server(
            "access_log = { path = \"stdout\", format = \"$request|$server_protocol|$status|$body_bytes_sent|$host|$connection_requests\" }",
        )
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    client.get("/x?y").await;
    client.post("/z", "body").await;
    let log = proxy.stdout();
    log.contains("GET /x?y HTTP/2.0|HTTP/2.0|200|5|test|1\n")
        .await;
    log.contains("POST /z HTTP/2.0|HTTP/2.0|200|5|test|2\n")
        .await;
}
