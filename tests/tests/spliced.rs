//! Large bodies between two plain sockets, which the kernel moves without our seeing them (splice),
//! come out as those that are read and written do: whole, cut where their source was cut, counted,
//! within the same bounds, and no more pipes are open than there may be.

use std::time::Duration;

use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Client, Origin, Proxy, Wire, eventually, origin, outlast, proxy};

/// More than the buffers of all sockets on the way hold.
const LARGE: usize = 16 << 20;
/// Pipes that a worker has at most.
const PIPES: usize = 64;

/// Bytes of which none is where another could be.
fn patterned(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// How many pipes a process holds, by both their ends.
fn ends_of_pipes(proxy: &mut Proxy) -> usize {
    let folder = format!("/proc/{}/fd", proxy.process().id());
    let descriptors = std::fs::read_dir(folder).expect("it runs");
    let links = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links
        .filter(|link| link.to_string_lossy().starts_with("pipe:"))
        .count()
}

async fn log_line(proxy: &Proxy) -> String {
    let path = proxy.directory().join("access.log");
    let mut line = String::new();
    eventually("a line in the log", async || {
        line = std::fs::read_to_string(&path).unwrap_or_default();
        line.ends_with('\n')
    })
    .await;
    line
}

#[tokio::test]
async fn a_large_answer_arrives_as_it_is_and_its_bytes_are_counted() {
    let body = patterned(LARGE);
    let sent = body.clone();
    let origin = origin::answers(move |_| Answer::ok(&sent)).await;
    let format = "workers = 1\naccess_log = { path = \"access.log\", format = '$body_bytes_sent $upstream_response_length $status' }";
    let proxy = proxy::to([&origin]).server(format).start().await;
    let mut client = proxy.client().await;
    let response = client.get("/").await;
    assert!(response.body == body, "other bytes");
    assert_eq!(log_line(&proxy).await, format!("{LARGE} {LARGE} 200\n"));
    // The connection goes on, on both sides.
    assert!(client.get("/").await.body == body, "other bytes");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn an_answer_that_comes_piece_by_piece_to_a_client_that_takes_it_so_arrives_as_it_is() {
    let body = patterned(LARGE);
    let sent = body.clone();
    let origin = origin::speaks(move |mut wire, _| {
        let sent = sent.clone();
        async move {
            if wire.head().await.is_err() {
                return;
            }
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"
            ))
            .await;
            // Some pieces are small, some are more than a pipe holds, and each has been read
            // before the next one comes, in turns.
            let (mut at, mut size) = (0, 1);
            while at < sent.len() {
                let end = sent.len().min(at + size);
                wire.send(&sent[at..end]).await;
                if size % 2 == 1 {
                    wire.was_read().await;
                }
                at = end;
                size = size * 5 % 1_300_021;
            }
            wire.rest().await;
        }
    })
    .await;
    let proxy = proxy::to([&origin]).server("workers = 1").start().await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    let head = client.response_head().await;
    assert_eq!(head.header("Content-Length"), LARGE.to_string());
    let (mut received, mut size) = (Vec::new(), 3);
    while received.len() < LARGE {
        let piece = client.wire.exactly(size.min(LARGE - received.len())).await;
        received.extend(piece.expect("all of it comes"));
        size = size * 7 % 900_001;
    }
    assert!(received == body, "other bytes");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_and_not_ended() {
    for resets in [false, true] {
        let origin = origin::speaks(move |mut wire, _| async move {
            if wire.head().await.is_ok() {
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n")
                    .await;
                wire.send(vec![b'x'; 1 << 20]).await;
                wire.was_read().await;
                if resets {
                    wire.reset();
                }
            }
        })
        .await;
        let proxy = proxy::to([&origin]).start().await;
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        let response = client.cut_response().await;
        assert_eq!(response.body.len(), 1 << 20, "resets: {resets}");
        proxy.log_contains("while reading upstream").await;
    }
}

#[tokio::test]
async fn a_server_that_stops_half_way_has_read_timeout() {
    let origin = origin::speaks(move |mut wire, _| async move {
        if wire.head().await.is_ok() {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n")
                .await;
            wire.send(vec![b'x'; 1 << 20]).await;
            wire.rest().await;
        }
    })
    .await;
    let proxy = proxy::to([&origin])
        .upstream("read_timeout = \"300ms\"")
        .start()
        .await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    assert_eq!(client.cut_response().await.body.len(), 1 << 20);
    proxy.log_contains("timed out").await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_has_send_timeout_and_its_pipe_is_closed() {
    let body = patterned(LARGE);
    let origin = origin::answers(move |_| Answer::ok(&body)).await;
    let mut proxy = proxy::to([&origin])
        .server("workers = 1")
        .listen("send_timeout = \"300ms\"")
        .start()
        .await;
    let before = ends_of_pipes(&mut proxy);
    let mut client = proxy.client().await;
    client.wire.read_little();
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    eventually("a pipe that is full", async || {
        ends_of_pipes(&mut proxy) == before + 2
    })
    .await;
    outlast(Duration::from_millis(300)).await;
    eventually("the pipe is closed", async || {
        ends_of_pipes(&mut proxy) == before
    })
    .await;
    proxy.log_contains("timed out").await;
}

#[tokio::test]
async fn what_comes_behind_a_body_is_not_taken_for_a_part_of_it() {
    let length = 1 << 20;
    let body = patterned(length);
    let sent = body.clone();
    let origin = origin::speaks(move |mut wire, _| {
        let sent = sent.clone();
        async move {
            while wire.head().await.is_ok() {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                let behind = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
                wire.send([head.as_bytes(), &sent, behind].concat()).await;
            }
        }
    })
    .await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    assert!(client.get("/").await.body == body, "other bytes");
    assert!(client.get("/").await.body == body, "other bytes");
    assert_eq!(
        origin.connections(),
        2,
        "one that had said too much was kept"
    );
}

#[tokio::test]
async fn a_large_upload_arrives_as_it_is_and_the_next_request_behind_it_is_one() {
    let body = patterned(LARGE);
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .listen("client_max_body_size = \"100m\"")
        .start()
        .await;
    let mut client = proxy.client().await;
    let head = format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {LARGE}\r\n\r\n");
    let behind = b"GET /next HTTP/1.1\r\nHost: t\r\n\r\n";
    let all = [head.as_bytes(), &body, behind].concat();
    client.send(&all).await;
    assert_eq!(client.response().await.text(), "served");
    assert_eq!(client.response().await.text(), "served");
    let requests = origin.requests();
    assert!(requests[0].body == body, "other bytes");
    assert_eq!(requests[1].target, "/next");
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_no_request_and_one_that_stops_has_client_body_timeout() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin])
        .listen("client_max_body_size = \"100m\"\nclient_body_timeout = \"300ms\"")
        .start()
        .await;
    let head = "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9000000\r\n\r\n";
    for leaves in [true, false] {
        let mut client = proxy.client().await;
        client.send(head).await;
        client.send(patterned(3 << 20)).await;
        if leaves {
            drop(client);
        } else {
            assert_eq!(client.response().await.status, 408);
        }
    }
    proxy
        .log_contains("client prematurely closed connection")
        .await;
    assert_eq!(origin.requests().len(), 0, "half a request was answered");
}

#[tokio::test]
async fn a_server_that_answers_half_way_through_an_upload_is_heard() {
    let origin = origin::speaks(|mut wire, _| async move {
        if wire.head().await.is_ok() && wire.exactly(1 << 20).await.is_ok() {
            wire.send("HTTP/1.1 413 Enough\r\nContent-Length: 6\r\n\r\nenough")
                .await;
            std::future::pending::<()>().await;
        }
    })
    .await;
    let proxy = proxy::to([&origin])
        .listen("client_max_body_size = \"100m\"")
        .start()
        .await;
    let mut client = proxy.client().await;
    let head = format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {LARGE}\r\n\r\n");
    client.send(head).await;
    // All of it before the answer is read, as many clients do.
    client.send(patterned(LARGE)).await;
    let response = client.response().await;
    assert_eq!((response.status, response.text().as_str()), (413, "enough"));
}

/// splice(2) stops at it for good, as if there were nothing, or an end.
#[tokio::test]
async fn an_urgent_byte_among_those_of_an_answer_or_of_a_session_holds_nothing_up() {
    let half = patterned(4 << 20);
    let whole = [half.clone(), half.clone()].concat();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", whole.len());
    let origin = origin::speaks(move |mut wire, _| {
        let (head, half) = (head.clone(), half.clone());
        async move {
            if wire.head().await.is_ok() {
                wire.send([head.as_bytes(), &half].concat()).await;
                wire.send_urgent().await;
                wire.send(&half).await;
                wire.finish_sending().await;
                wire.rest().await;
            }
        }
    })
    .await;
    let proxy = proxy::to([&origin]).server("workers = 1").start().await;
    let mut client = proxy.client().await;
    assert!(client.get("/").await.body == whole, "other bytes");
    let file = format!(
        "[server]\nworkers = 1\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"{}\"\n{ADMIN}",
        origin.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    let mut client = Client::connect(proxy.address()).await;
    assert!(client.get("/").await.body == whole, "other bytes");
}

#[tokio::test]
async fn clients_for_whom_no_pipe_is_left_are_served_by_copies() {
    let body = patterned(LARGE);
    let sent = body.clone();
    let origin = origin::answers(move |_| Answer::ok(&sent)).await;
    let mut proxy = proxy::to([&origin]).server("workers = 1").start().await;
    let before = ends_of_pipes(&mut proxy);
    let mut holding = Vec::new();
    for _ in 0..PIPES + 6 {
        let mut client = proxy.client().await;
        client.wire.read_little();
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        holding.push(client);
    }
    eventually("all pipes are full", async || {
        ends_of_pipes(&mut proxy) == before + 2 * PIPES
    })
    .await;
    assert!(proxy.get("/").await.body == body, "other bytes");
    assert_eq!(ends_of_pipes(&mut proxy), before + 2 * PIPES);
    // Pipes that something is left in are nobody else's.
    drop(holding);
    eventually("they are closed", async || {
        ends_of_pipes(&mut proxy) <= before + 2
    })
    .await;
    assert!(proxy.get("/").await.body == body, "other bytes");
}

/// Gets a line and so many bytes, and sends other ones and the line back.
async fn speaks_much(upgrades: bool) -> Origin {
    origin::speaks(move |mut wire, _| async move {
        if upgrades {
            let Ok(_) = wire.head().await else { return };
            wire.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: much\r\n\r\n",
            )
            .await;
        }
        for round in 0.. {
            let Ok(line) = wire.until(b"\n").await else {
                return;
            };
            let received = wire.exactly(LARGE).await.expect("all of it comes");
            assert!(received == patterned(LARGE + round)[round..], "other bytes");
            wire.send(patterned(LARGE + 9)).await;
            wire.send(line).await;
        }
    })
    .await
}

async fn hears_much(wire: &mut Wire) {
    for round in 0..3 {
        wire.send("a line\n").await;
        wire.send(&patterned(LARGE + round)[round..]).await;
        let received = wire.exactly(LARGE + 9).await.expect("all of it comes");
        assert!(received == patterned(LARGE + 9), "other bytes");
        assert_eq!(wire.until(b"\n").await.expect("it goes on"), b"a line\n");
    }
}

#[tokio::test]
async fn a_tunnel_carries_much_both_ways_and_single_lines_in_between() {
    let origin = speaks_much(true).await;
    let mut proxy = proxy::to([&origin]).server("workers = 1").start().await;
    let before = ends_of_pipes(&mut proxy);
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: much\r\n\r\n")
        .await;
    assert_eq!(client.response_head().await.status, 101);
    hears_much(&mut client.wire).await;
    assert!(ends_of_pipes(&mut proxy) > before, "nothing was spliced");
}

#[tokio::test]
async fn a_session_of_a_stream_carries_much_both_ways_and_single_lines_in_between() {
    let origin = speaks_much(false).await;
    let file = format!(
        "[server]\nworkers = 1\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"{}\"\n{ADMIN}",
        origin.address()
    );
    let mut proxy = proxy::run(&file, &[]).await;
    let before = ends_of_pipes(&mut proxy);
    let mut wire = Wire::connect(proxy.address()).await.expect("it listens");
    hears_much(&mut wire).await;
    assert!(ends_of_pipes(&mut proxy) > before, "nothing was spliced");
}
