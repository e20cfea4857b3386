//! Clients that misbehave: each gets a defined status or a closed connection, the log has the
//! reason, and neither a server's connection nor its place stays taken.

use std::time::{Duration, Instant};

use waypost_tests::proxy::Setup;
use waypost_tests::{Answer, Client, Gate, Origin, Proxy, eventually, origin, pause, proxy};

/// Short bounds on the client; the server has room for one request, and one worker keeps one idle
/// connection to it.
fn strict(origin: &Origin) -> Setup {
    let limits = "client_header_timeout = \"1s\"\nclient_body_timeout = \"1s\"\nsend_timeout = \"1s\"\n\
                  client_max_body_size = \"1k\"";
    proxy::to([origin.with("max_conns = 1, max_fails = 0")])
        .server("workers = 1")
        .listen(limits)
}

/// The server's one place is free and its connections are idle ones.
async fn recovers(proxy: &Proxy, origin: &Origin) {
    eventually("the server's place to be free", async || {
        proxy.get("/good").await.status == 200
    })
    .await;
    eventually("the abandoned connection to be closed", async || {
        origin.open() <= 1
    })
    .await;
}

/// The connection ends soon after its bound of a second, with 408 or without a word.
async fn is_given_up(client: &mut Client) {
    let started = Instant::now();
    if let Some(response) = client.response_or_end().await {
        assert_eq!(response.status, 408, "{response:?}");
    }
    client.closed().await;
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn half_a_header_is_given_up_after_its_timeout() {
    let origin = origin::says("fine").await;
    let proxy = strict(&origin).start().await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: te").await;
    is_given_up(&mut client).await;
    proxy.log_contains("client timed out").await;
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let origin = origin::says("fine").await;
    let proxy = strict(&origin).start().await;
    is_given_up(&mut proxy.client().await).await;
}

#[tokio::test]
async fn a_header_that_trickles_is_given_up_all_the_same() {
    let origin = origin::says("fine").await;
    let proxy = strict(&origin).start().await;
    let mut client = proxy.client().await;
    let started = Instant::now();
    client.send("GET / HTTP/1.1\r\nX-Slow: ").await;
    // The timeout is for the whole header: a byte now and then does not extend it.
    while client.wire.try_send("x").await.is_ok() {
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "still there after {:?}",
            started.elapsed()
        );
        pause().await;
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn half_a_body_is_given_up_after_its_timeout() {
    let origin = origin::says("fine").await;
    let proxy = strict(&origin).start().await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nhalf")
        .await;
    is_given_up(&mut client).await;
    proxy.log_contains("client timed out").await;
    recovers(&proxy, &origin).await;
}

#[tokio::test]
async fn half_a_streamed_body_is_given_up_after_its_timeout() {
    let origin = origin::says("fine").await;
    let proxy = strict(&origin).upstream("body_buffer_size = \"1k\"");
    let proxy = proxy.route("client_max_body_size = \"10m\"").start().await;
    let mut client = proxy.client().await;
    // Larger than what is kept for a retry: it is at the server already when the client falls
    // silent.
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n")
        .await;
    client.send(vec![b'x'; 50_000]).await;
    is_given_up(&mut client).await;
    recovers(&proxy, &origin).await;
}

#[tokio::test]
async fn a_body_over_the_limit_gets_413_and_no_server_hears_of_it() {
    let origin = origin::says("fine").await;
    let proxy = strict(&origin).start().await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1025\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status, 413);
    proxy
        .log_contains("client intended to send too large body: 1025 bytes")
        .await;
    assert!(origin.requests().is_empty());
    recovers(&proxy, &origin).await;
}

#[tokio::test]
async fn a_body_at_the_limit_is_served() {
    let origin = origin::says("fine").await;
    let proxy = strict(&origin).start().await;
    let body = "x".repeat(1024);
    let response = proxy
        .exchange(format!(
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1024\r\n\r\n{body}"
        ))
        .await;
    assert_eq!(response.status, 200);
    assert_eq!(origin.request().body, body.as_bytes());
}

#[tokio::test]
async fn chunks_over_the_limit_get_413() {
    let origin = origin::says("fine").await;
    let proxy = strict(&origin).start().await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    for _ in 0..5 {
        // The answer may come, and the connection end, before the last chunk.
        let _ = client
            .wire
            .try_send(format!("100\r\n{}\r\n", "x".repeat(256)))
            .await;
    }
    assert_eq!(client.response().await.status, 413);
    proxy
        .log_contains("client intended to send too large")
        .await;
    recovers(&proxy, &origin).await;
}

#[tokio::test]
async fn bad_chunks_get_400() {
    let origin = origin::says("fine").await;
    let proxy = strict(&origin).start().await;
    let mut client = proxy.client().await;
    client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n").await;
    assert_eq!(client.response().await.status, 400);
    client.closed().await;
    proxy.log_contains("client sent invalid chunked body").await;
    recovers(&proxy, &origin).await;
}

#[tokio::test]
async fn bad_chunks_in_a_streamed_body_end_the_attempt_without_blame_for_the_server() {
    let origin = origin::says("fine").await;
    let server = origin.with("max_conns = 1, max_fails = 1");
    let proxy = proxy::to([server])
        .upstream("body_buffer_size = \"1k\"")
        .start()
        .await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    client
        .send(format!("8000\r\n{}\r\nzz\r\n", "x".repeat(0x8000)))
        .await;
    assert_eq!(
        client
            .response_or_end()
            .await
            .map_or(400, |response| response.status),
        400
    );
    client.closed().await;
    recovers(&proxy, &origin).await;
    assert!(
        !proxy.log().contains("temporarily disabled"),
        "{}",
        proxy.log()
    );
    assert!(
        origin
            .requests()
            .iter()
            .all(|request| request.target == "/good"),
        "a broken body looked complete"
    );
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_frees_the_server() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin::answers(move |request| match request.target.as_str() {
        "/good" => Answer::ok("fine"),
        _ => Answer::ok("late").when(&held),
    })
    .await;
    let proxy = strict(&origin)
        .server("access_log = { path = \"stdout\" }")
        .start()
        .await;
    let mut client = proxy.client().await;
    client
        .send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    origin.received(1).await;
    drop(client);
    // The gate stays closed: only the proxy's own closing ends this connection.
    origin.has_open(0).await;
    recovers(&proxy, &origin).await;
    proxy
        .log_contains("client prematurely closed connection")
        .await;
    proxy.stdout().contains("\"GET /wait HTTP/1.1\" 499 ").await;
}

#[tokio::test]
async fn a_client_that_resets_while_it_waits_frees_the_server() {
    let origin = origin::answers(|request| match request.target.as_str() {
        "/good" => Answer::ok("fine"),
        _ => Answer::raw("").then_hang(),
    })
    .await;
    let proxy = strict(&origin).start().await;
    let mut client = proxy.client().await;
    client
        .send("GET /wait HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    origin.received(1).await;
    client.wire.reset();
    origin.has_open(0).await;
    recovers(&proxy, &origin).await;
}

#[tokio::test]
async fn a_client_that_leaves_within_its_body_frees_the_server() {
    let origin = origin::says("fine").await;
    let proxy = strict(&origin)
        .upstream("body_buffer_size = \"1k\"")
        .route("client_max_body_size = \"10m\"");
    let proxy = proxy.start().await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n")
        .await;
    client.send(vec![b'x'; 50_000]).await;
    origin.has_open(1).await;
    drop(client);
    origin.has_open(0).await;
    recovers(&proxy, &origin).await;
    assert!(
        origin
            .requests()
            .iter()
            .all(|request| request.target == "/good"),
        "half a body looked complete"
    );
}

#[tokio::test]
async fn a_client_that_leaves_within_the_answer_frees_the_server() {
    let origin = origin::answers(|request| match request.target.as_str() {
        "/good" => Answer::ok("fine"),
        _ => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").then_hang(),
    })
    .await;
    let proxy = strict(&origin).start().await;
    let mut client = proxy.client().await;
    client
        .send("GET /half HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    client.response_head().await;
    drop(client);
    origin.has_open(0).await;
    recovers(&proxy, &origin).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up_and_frees_the_server() {
    let origin = origin::answers(|request| match request.target.as_str() {
        "/good" => Answer::ok("fine"),
        _ => Answer::ok(vec![b'x'; 30 << 20]),
    })
    .await;
    let proxy = strict(&origin).start().await;
    let mut client = proxy.client().await;
    client.wire.read_little();
    client
        .send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    origin.received(1).await;
    origin.has_open(0).await;
    proxy.log_contains("client timed out").await;
    recovers(&proxy, &origin).await;
}

/// Answers that are small, each, and together more than the kernel holds for a client that does not
/// read.
const UNREAD: usize = 1200;

/// The origin of those: each has its number all over.
async fn numbers() -> Origin {
    origin::answers(|request| match request.target.as_str() {
        "/good" => Answer::ok("fine"),
        target => Answer::ok(target.repeat(15_000 / target.len())),
    })
    .await
}

/// Asks for them, without reading.
async fn asks_without_reading(client: &mut Client) {
    let request = |number| format!("GET /{number:04} HTTP/1.1\r\nHost: test\r\n\r\n");
    let requests: String = (0..UNREAD).map(request).collect();
    client.send(requests).await;
}

#[tokio::test]
async fn answers_that_a_client_reads_late_come_whole_and_in_their_order() {
    let origin = numbers().await;
    let proxy = proxy::to([&origin])
        .listen("keepalive_requests = 10000")
        .start()
        .await;
    let mut client = proxy.client().await;
    asks_without_reading(&mut client).await;
    // Some have been answered, and the rest waits for the client to read.
    origin.received(2).await;
    for number in 0..UNREAD {
        let expected = format!("/{number:04}").repeat(3000);
        let response = client.response().await;
        assert!(response.text() == expected, "at {number}: {response:?}");
    }
    assert_eq!(client.get("/good").await.text(), "fine");
}

#[tokio::test]
async fn a_client_that_reads_none_of_many_small_answers_is_given_up() {
    let origin = numbers().await;
    let proxy = strict(&origin).start().await;
    let mut client = proxy.client().await;
    client.wire.read_little();
    asks_without_reading(&mut client).await;
    proxy.log_contains("while sending to client").await;
    recovers(&proxy, &origin).await;
    assert!(
        origin.requests().len() < UNREAD,
        "the kernel held all of them"
    );
}

#[tokio::test]
async fn a_body_for_a_server_that_does_not_read_is_bounded() {
    // The origin reads the head and nothing more; the proxy must neither read on for ever nor wait
    // for ever.
    let origin = origin::speaks(|mut wire, _| async move {
        let _ = wire.head().await;
        std::future::pending::<()>().await;
    })
    .await;
    let timeouts = "send_timeout = \"300ms\"\nread_timeout = \"300ms\"";
    let proxy = proxy::to([&origin])
        .upstream(timeouts)
        .route("client_max_body_size = \"100m\"")
        .start()
        .await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 60000000\r\n\r\n")
        .await;
    // What the server does not read, the client can soon not send: the proxy does not buffer it.
    let chunk = vec![b'x'; 100_000];
    let (mut sent, mut answer) = (0, None);
    while answer.is_none() {
        let sending = client.wire.try_send(&chunk);
        let moment = Duration::from_millis(50);
        if tokio::time::timeout(moment, sending).await.is_ok() {
            sent += chunk.len();
        }
        assert!(sent < 40_000_000, "the proxy takes all");
        let moment = Duration::from_millis(1);
        answer = tokio::time::timeout(moment, client.response_head())
            .await
            .ok();
    }
    assert_eq!(answer.map(|answer| answer.status), Some(504));
    proxy.log_contains("upstream timed out").await;
}

#[tokio::test]
async fn a_request_line_that_is_too_long_is_refused() {
    let origin = origin::says("fine").await;
    let proxy = strict(&origin).start().await;
    let mut client = proxy.client().await;
    client
        .send(format!(
            "GET /{} HTTP/1.1\r\nHost: test\r\n\r\n",
            "x".repeat(50_000)
        ))
        .await;
    let status = client.response().await.status;
    assert!(status == 414 || status == 400, "{status}");
    client.closed().await;
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_header_that_is_too_large_is_refused() {
    let origin = origin::says("fine").await;
    let proxy = strict(&origin).start().await;
    let mut client = proxy.client().await;
    client
        .send(format!(
            "GET / HTTP/1.1\r\nHost: test\r\nX-Large: {}\r\n\r\n",
            "x".repeat(50_000)
        ))
        .await;
    let status = client.response().await.status;
    assert!(status == 431 || status == 400, "{status}");
    client.closed().await;
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn too_many_header_fields_are_refused() {
    let origin = origin::says("fine").await;
    let proxy = strict(&origin).listen("max_headers = 10").start().await;
    let fields = "X: y\r\n".repeat(10);
    let mut client = proxy.client().await;
    client
        .send(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"))
        .await;
    let status = client.response().await.status;
    assert!(status == 431 || status == 400, "{status}");
    client.closed().await;
    let fields = "X: y\r\n".repeat(9);
    assert_eq!(
        proxy
            .exchange(format!("GET / HTTP/1.1\r\nHost: test\r\n{fields}\r\n"))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn tls_on_a_plain_port_is_refused() {
    let origin = origin::says("fine").await;
    let proxy = strict(&origin).start().await;
    let mut client = proxy.client().await;
    client.send([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).await;
    if let Some(response) = client.response_or_end().await {
        assert!(
            response.status == 400 || response.status == 408,
            "{response:?}"
        );
    }
    client.closed().await;
    recovers(&proxy, &origin).await;
}

#[tokio::test]
async fn a_client_that_only_closes_its_sending_side_still_gets_its_answer() {
    let origin = origin::answers(|_| Answer::ok("fine").after(Duration::from_millis(50))).await;
    let proxy = strict(&origin).start().await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    client.wire.finish_sending().await;
    // nginx takes this for a client that has left. An answer is right too, but the lease must end
    // either way.
    if let Some(response) = client.response_or_end().await {
        assert_eq!(response.text(), "fine");
    }
    recovers(&proxy, &origin).await;
}

#[tokio::test]
async fn many_bad_clients_at_once_leave_nothing_behind() {
    let origin = origin::says("fine").await;
    let proxy = strict(&origin).start().await;
    assert_eq!(proxy.get("/").await.status, 200);
    let before = proxy.descriptors();
    let mut clients = Vec::new();
    for number in 0..60 {
        let mut client = proxy.client().await;
        let bytes: &[u8] = match number % 4 {
            0 => b"GET / HTTP/1.1\r\nHo",
            1 => b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nhalf",
            2 => b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nff",
            _ => b"",
        };
        client.send(bytes).await;
        clients.push(client);
    }
    drop(clients);
    eventually("all descriptors to be given back", async || {
        proxy.descriptors() <= before + 1
    })
    .await;
    recovers(&proxy, &origin).await;
}
