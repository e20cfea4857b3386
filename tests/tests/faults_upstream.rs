//! Servers that misbehave: each way ends in a defined status or a closed connection, with the
//! reason in the log, and nothing is left behind.
//!
//! The server in question has `max_conns = 1`: were an attempt's place not given back, the next
//! request would find no live upstream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use waypost_tests::proxy::Setup;
use waypost_tests::{Answer, Gate, Origin, Proxy, Request, eventually, origin, proxy};

/// A proxy to one server that has room for one request and is never disabled.
fn before(origin: &Origin) -> Setup {
    let timeouts = "connect_timeout = \"1s\"\nread_timeout = \"1s\"\nsend_timeout = \"1s\"";
    // One worker, which keeps one idle connection: any other that stays open has been forgotten.
    proxy::to([origin.with("max_conns = 1, max_fails = 0")])
        .upstream(timeouts)
        .server("workers = 1")
}

/// An origin that misbehaves at `/bad` only.
async fn bad(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Origin {
    origin::answers(move |request| {
        if request.target == "/bad" {
            answer(request)
        } else {
            Answer::ok("fine")
        }
    })
    .await
}

/// No connection and no place is left behind: the next request is served, and its connection is the
/// only one open.
async fn recovers(proxy: &Proxy, origin: &Origin) {
    eventually("the place of the attempt to be free", async || {
        proxy.get("/good").await.text() == "fine"
    })
    .await;
    eventually("only one connection to be left", async || {
        origin.open() <= 1
    })
    .await;
}

/// Five requests get this status, each for this reason.
async fn ends_in(status: u16, reason: &str, answer: Answer) {
    let origin = bad(move |_| answer.clone()).await;
    let proxy = before(&origin).start().await;
    for _ in 0..5 {
        let mut client = proxy.client().await;
        client.send("GET /bad HTTP/1.1\r\nHost: test\r\n\r\n").await;
        let response = client.response().await;
        assert_eq!(response.status, status, "{response:?}");
        // A fault of the server does not end the client's connection.
        assert_eq!(client.get("/good").await.text(), "fine");
    }
    proxy.log_contains(reason).await;
    recovers(&proxy, &origin).await;
}

/// The client gets as much as there was, and then the end of the connection: what it has is visibly
/// not all.
async fn is_cut(reason: &str, answer: Answer) {
    let origin = bad(move |_| answer.clone()).await;
    let proxy = before(&origin).start().await;
    for _ in 0..5 {
        let mut client = proxy.client().await;
        client.send("GET /bad HTTP/1.1\r\nHost: test\r\n\r\n").await;
        let response = client.cut_response().await;
        assert_eq!(
            (response.status, response.text().as_str(), response.complete),
            (200, "half", false)
        );
    }
    proxy.log_contains(reason).await;
    recovers(&proxy, &origin).await;
}

const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf";
const HALF_CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
const PREMATURE: &str = "upstream prematurely closed connection";
const TIMED_OUT: &str = "upstream timed out";

#[tokio::test]
async fn a_server_that_refuses_gives_502() {
    let origin = origin::refuses();
    let proxy = before(&origin).start().await;
    assert_eq!(proxy.get("/").await.status, 502);
    assert_eq!(proxy.get("/").await.status, 502);
    proxy
        .log_contains("connect() failed (111: Connection refused)")
        .await;
    assert!(
        !proxy.log().contains("no live upstreams"),
        "the place of the first attempt was not given back"
    );
}

/// As nginx tells it: what the server was asked for, and not what the client was.
#[tokio::test]
async fn the_log_has_the_target_that_was_sent() {
    let origin = origin::refuses();
    let routes = "[[route]]\npath = \"/api/\"\nproxy = \"http://backend/v1/\"\n\
                  [[route]]\npath = \"/as/\"\nproxy = \"backend\"\n";
    let proxy = before(&origin).more(routes).start().await;
    for (target, sent) in [("/api/x?y=1", "/v1/x?y=1"), ("/as/it?is", "/as/it?is")] {
        assert_eq!(proxy.get(target).await.status, 502);
        let upstream = format!("upstream: \"http://{}{sent}\"", origin.address());
        proxy.log_contains(&upstream).await;
    }
}

#[tokio::test]
async fn a_server_that_hangs_at_connect_gives_504_after_the_connect_timeout() {
    let origin = origin::hangs_at_connect();
    let proxy = before(&origin).start().await;
    let started = Instant::now();
    assert_eq!(proxy.get("/").await.status, 504);
    assert!(
        started.elapsed() >= Duration::from_millis(900),
        "{:?}",
        started.elapsed()
    );
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(proxy.get("/").await.status, 504);
    proxy.log_contains(TIMED_OUT).await;
    proxy.log_contains("while connecting to upstream").await;
}

#[tokio::test]
async fn a_server_that_hangs_after_the_request_gives_504() {
    ends_in(504, TIMED_OUT, Answer::raw("").then_hang()).await;
}

#[tokio::test]
async fn a_server_that_hangs_within_the_header_gives_504() {
    ends_in(
        504,
        TIMED_OUT,
        Answer::raw("HTTP/1.1 200 OK\r\nX-Half: ").then_hang(),
    )
    .await;
}

#[tokio::test]
async fn a_server_that_closes_without_an_answer_gives_502() {
    ends_in(502, PREMATURE, Answer::raw("").then_close()).await;
}

#[tokio::test]
async fn a_server_that_resets_gives_502() {
    ends_in(
        502,
        "Connection reset by peer",
        Answer::raw("").then_reset(),
    )
    .await;
}

#[tokio::test]
async fn a_server_that_closes_within_the_header_gives_502() {
    ends_in(
        502,
        PREMATURE,
        Answer::raw("HTTP/1.1 200 OK\r\nX-Half: a hea").then_close(),
    )
    .await;
}

#[tokio::test]
async fn a_server_that_answers_garbage_gives_502() {
    ends_in(
        502,
        "upstream sent",
        Answer::raw("SSH-2.0-OpenSSH_9.6\r\n\r\n").then_close(),
    )
    .await;
}

#[tokio::test]
async fn a_server_that_answers_binary_garbage_gives_502() {
    ends_in(
        502,
        "upstream sent",
        Answer::raw([0x16, 3, 1, 0, 0, 0xff, 0, 13, 10, 13, 10]).then_close(),
    )
    .await;
}

#[tokio::test]
async fn a_header_line_without_a_colon_gives_502() {
    ends_in(
        502,
        "upstream sent invalid header",
        Answer::raw("HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n"),
    )
    .await;
}

#[tokio::test]
async fn a_status_that_is_no_number_gives_502() {
    ends_in(
        502,
        "upstream sent",
        Answer::raw("HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n"),
    )
    .await;
}

#[tokio::test]
async fn a_header_that_is_too_large_gives_502() {
    let header = format!(
        "HTTP/1.1 200 OK\r\nX-Large: {}\r\nContent-Length: 0\r\n\r\n",
        "x".repeat(40_000)
    );
    ends_in(502, "upstream sent too big header", Answer::raw(header)).await;
}

#[tokio::test]
async fn a_header_without_end_gives_502_before_it_fills_the_memory() {
    let header = format!(
        "HTTP/1.1 200 OK\r\n{}",
        "X-More: and more\r\n".repeat(10_000)
    );
    ends_in(
        502,
        "upstream sent too big header",
        Answer::raw(header).then_hang(),
    )
    .await;
}

#[tokio::test]
async fn conflicting_lengths_in_an_answer_give_502() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nhalf";
    ends_in(502, "upstream sent", Answer::raw(answer).then_close()).await;
}

#[tokio::test]
async fn an_answer_with_length_and_chunks_gives_502() {
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    ends_in(502, "upstream sent", Answer::raw(answer).then_close()).await;
}

#[tokio::test]
async fn an_answer_in_an_unknown_transfer_coding_gives_502() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
    ends_in(502, "upstream sent", Answer::raw(answer).then_close()).await;
}

#[tokio::test]
async fn a_server_that_closes_within_the_body_cuts_the_answer() {
    is_cut(PREMATURE, Answer::raw(HALF).then_close()).await;
}

#[tokio::test]
async fn a_server_that_closes_within_the_chunks_cuts_the_answer() {
    is_cut(PREMATURE, Answer::raw(HALF_CHUNKED).then_close()).await;
}

#[tokio::test]
async fn a_server_that_resets_within_the_body_cuts_the_answer() {
    let origin = bad(|_| Answer::raw(HALF).then_reset()).await;
    let proxy = before(&origin).start().await;
    let mut client = proxy.client().await;
    client.send("GET /bad HTTP/1.1\r\nHost: test\r\n\r\n").await;
    // The reset may overtake the bytes before it, but never looks like the end of the answer.
    let response = client.response_or_end().await.unwrap_or_default();
    assert!(response.status == 502 || !response.complete, "{response:?}");
    recovers(&proxy, &origin).await;
}

#[tokio::test]
async fn a_server_that_hangs_within_the_body_cuts_the_answer() {
    is_cut(TIMED_OUT, Answer::raw(HALF).then_hang()).await;
}

#[tokio::test]
async fn bad_chunks_cut_the_answer() {
    let seen = Gate::closed();
    let gate = seen.clone();
    let origin = origin::speaks(move |mut wire, _| {
        let gate = gate.clone();
        async move {
            let Ok(head) = wire.head().await else { return };
            if head.start.starts_with("GET /bad ") {
                wire.send(HALF_CHUNKED).await;
                gate.opened().await;
                wire.send("zz\r\n").await;
            } else {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
                    .await;
            }
            wire.rest().await;
        }
    })
    .await;
    let proxy = before(&origin).start().await;
    let mut client = proxy.client().await;
    client.send("GET /bad HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(client.response_head().await.status, 200);
    seen.open();
    let rest = client.wire.rest().await.got;
    assert!(
        !String::from_utf8_lossy(&rest).contains("0\r\n\r\n"),
        "it looks complete"
    );
    proxy
        .log_contains("upstream sent invalid chunked response")
        .await;
    recovers(&proxy, &origin).await;
}

#[tokio::test]
async fn bad_chunks_right_behind_the_header_give_502_or_cut_the_answer() {
    // All in one piece: whether the header is on its way already when the chunk turns out bad is a
    // matter of luck.
    let answer = format!("{HALF_CHUNKED}zz\r\n");
    let origin = bad(move |_| Answer::raw(&answer).then_hang()).await;
    let proxy = before(&origin).start().await;
    let mut client = proxy.client().await;
    client.send("GET /bad HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let response = client.cut_response().await;
    assert!(
        response.status == 502 || response.status == 200 && !response.complete,
        "{response:?}"
    );
    proxy
        .log_contains("upstream sent invalid chunked response")
        .await;
    recovers(&proxy, &origin).await;
}

#[tokio::test]
async fn an_answer_before_the_body_was_sent_reaches_the_client() {
    let origin = origin::speaks(|mut wire, _| async move {
        if wire.head().await.is_err() {
            return;
        }
        wire.send("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
            .await;
        wire.finish_sending().await;
        wire.rest().await;
    })
    .await;
    let proxy = before(&origin)
        .listen("client_max_body_size = \"10m\"")
        .start()
        .await;
    for _ in 0..2 {
        let mut client = proxy.client().await;
        client
            .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n")
            .await;
        client.send(vec![b'x'; 100_000]).await;
        let response = client.response().await;
        assert_eq!((response.status, response.text().as_str()), (413, "no!"));
    }
}

#[tokio::test]
async fn bytes_after_an_answer_are_not_taken_for_the_next_one() {
    let spill = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal";
    let origin = origin::answers(move |_| {
        Answer::raw(format!(
            "{spill}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
        ))
    })
    .await;
    let proxy = before(&origin).start().await;
    for _ in 0..5 {
        assert_eq!(proxy.get("/").await.text(), "real");
    }
}

#[tokio::test]
async fn an_unasked_101_gives_502() {
    let origin = bad(|_| {
        Answer::raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    })
    .await;
    let proxy = before(&origin).start().await;
    assert_eq!(proxy.get("/bad").await.status, 502);
    recovers(&proxy, &origin).await;
}

#[tokio::test]
async fn informational_answers_without_end_are_given_up() {
    let origin = bad(|_| {
        Answer::raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(100_000)).then_hang()
    })
    .await;
    let proxy = before(&origin).start().await;
    let mut client = proxy.client().await;
    client
        .send("GET /bad HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        .await;
    let said = String::from_utf8_lossy(&client.wire.rest().await.got).into_owned();
    let last = said.rsplit("HTTP/1.1 ").next().unwrap_or_default();
    assert!(
        said.len() < 10_000_000 && !last.starts_with("200"),
        "{last}"
    );
    recovers(&proxy, &origin).await;
}

#[tokio::test]
async fn the_counts_stay_right_whatever_happens() {
    let trouble = ["reset", "close", "hang", "garbage", "half"];
    let answer = |request: &Request| match request.target.trim_start_matches('/') {
        "reset" => Answer::raw("").then_reset(),
        "close" => Answer::raw("").then_close(),
        "hang" => Answer::raw("").then_hang(),
        "garbage" => Answer::raw("garbage\r\n\r\n").then_close(),
        "half" => Answer::raw(HALF).then_close(),
        _ => Answer::ok("fine"),
    };
    let (a, b) = (origin::answers(answer).await, origin::answers(answer).await);
    let servers = [a.with("max_fails = 0"), b.with("max_fails = 0")];
    let lines = "policy = \"least_conn\"\nread_timeout = \"1s\"\nnext_upstream_tries = 1";
    let proxy = proxy::to(servers).upstream(lines).start().await;
    for kind in trouble {
        for _ in 0..3 {
            let mut client = proxy.client().await;
            client
                .send(format!(
                    "GET /{kind} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
                ))
                .await;
            client.wire.rest().await;
        }
    }
    // Were one attempt still counted at a server, least_conn would prefer the other one for ever.
    let before = (a.requests().len(), b.requests().len());
    for _ in 0..10 {
        assert_eq!(proxy.get("/good").await.text(), "fine");
    }
    assert_eq!(
        (a.requests().len() - before.0, b.requests().len() - before.1),
        (5, 5)
    );
}

/// The kernel tells of a reset once: to the upload, if that writes first.
#[tokio::test]
async fn an_answer_that_a_reset_cuts_while_the_request_goes_up_is_cut_for_the_client() {
    const LARGE: usize = 8 << 20;
    let is_reset = Arc::new(tokio::sync::Notify::new());
    let reset = is_reset.clone();
    let origin = origin::speaks(move |mut wire, _| {
        let reset = reset.clone();
        async move {
            if wire.head().await.is_err() {
                return;
            }
            wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                .await;
            wire.send(vec![b'a'; 160 << 10]).await;
            wire.reset();
            reset.notify_one();
        }
    })
    .await;
    let proxy = proxy::to([&origin])
        .server("client_max_body_size = 0")
        .upstream("body_buffer_size = 0")
        .start()
        .await;
    let mut client = proxy.client().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {LARGE}\r\n\r\n"
        ))
        .await;
    is_reset.notified().await;
    // The upload meets the reset.
    let _ = client.wire.try_send(vec![b'u'; 1 << 20]).await;
    let response = client.cut_response().await;
    assert!(!response.complete, "{} bytes", response.body.len());
}
