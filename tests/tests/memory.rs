//! What the process keeps for each exchange that waits: bytes resident, as the kernel counts them.
//! The bounds are about twice what is measured, so that they catch a buffer too many, and allow for
//! noise.

use waypost_tests::{Answer, Client, Gate, Origin, Proxy, eventually, origin, proxy};

/// As many of each, so that one page more or less does not matter.
const MANY: usize = 300;
const KIB: usize = 1024;

/// Bytes of the process that are in memory.
fn resident(proxy: &mut Proxy) -> usize {
    let status = format!("/proc/{}/status", proxy.process().id());
    let status = std::fs::read_to_string(status).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|text| text.parse::<usize>().ok())
        .expect("a number of KiB")
        * KIB
}

/// Connections that have had one answer each.
async fn idle(proxy: &Proxy) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..MANY {
        let mut client = proxy.client().await;
        assert_eq!(client.get("/fixed").await.text(), "fixed");
        clients.push(client);
    }
    clients
}

async fn before(origin: &Origin, upstream: &str) -> Proxy {
    proxy::to([origin])
        .server("workers = 1")
        .upstream(upstream)
        .more("[[route]]\npath = \"/fixed\"\nreturn = { status = 200, body = \"fixed\" }")
        .start()
        .await
}

/// Bytes for each of [`MANY`].
fn each(before: usize, after: usize) -> usize {
    after.saturating_sub(before) / MANY
}

async fn while_waiting(upstream: &str, origin: &Origin) -> usize {
    let mut proxy = before(origin, upstream).await;
    let mut clients = idle(&proxy).await;
    let at_rest = resident(&mut proxy);
    for client in &mut clients {
        client.send("GET /held HTTP/1.1\r\nHost: t\r\n\r\n").await;
    }
    origin.received(MANY).await;
    each(at_rest, resident(&mut proxy))
}

#[tokio::test]
async fn a_request_that_waits_for_its_server_holds_no_buffer_for_the_answer() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin::answers(move |_| Answer::ok("done").when(&held)).await;
    let bytes = while_waiting("", &origin).await;
    println!("{bytes} bytes for each request that waits");
    assert!(bytes < 40 * KIB, "{bytes} bytes for each");
}

#[tokio::test]
async fn neither_does_one_that_waits_for_a_server_of_http_2() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = waypost_tests::http2::answers(move |_| Answer::ok("done").when(&held)).await;
    let bytes = while_waiting("http2 = true", &origin).await;
    println!("{bytes} bytes for each request that waits");
    assert!(bytes < 40 * KIB, "{bytes} bytes for each");
}

/// As an upload whose client rests, or a stream of messages that may go on.
#[tokio::test]
async fn a_body_that_is_passed_on_holds_no_buffer_while_its_client_rests() {
    let origin = origin::speaks(|mut wire, _| async move {
        let Ok(_) = wire.head().await else { return };
        let _ = wire.exactly(5).await;
        wire.rest().await;
    })
    .await;
    let mut proxy = before(&origin, "body_buffer_size = 0").await;
    let mut clients = idle(&proxy).await;
    let at_rest = resident(&mut proxy);
    for client in &mut clients {
        client
            .send("POST /held HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\nfirst")
            .await;
    }
    origin.has_open(MANY).await;
    eventually("what there is of the bodies to be passed on", async || {
        resident(&mut proxy) > at_rest
    })
    .await;
    let bytes = each(at_rest, resident(&mut proxy));
    println!("{bytes} bytes for each body under way");
    assert!(bytes < 40 * KIB, "{bytes} bytes for each");
}

/// As events that a browser waits for.
#[tokio::test]
async fn a_response_that_pauses_holds_no_buffer() {
    let origin = origin::answers(|_| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        Answer::raw(head).then_hang()
    })
    .await;
    let mut proxy = before(&origin, "").await;
    let mut clients = idle(&proxy).await;
    let at_rest = resident(&mut proxy);
    for client in &mut clients {
        client.send("GET /events HTTP/1.1\r\nHost: t\r\n\r\n").await;
    }
    for client in &mut clients {
        assert_eq!(client.response_head().await.status, 200);
        let first = client.wire.until(b"first\r\n").await;
        assert!(first.is_ok());
    }
    let bytes = each(at_rest, resident(&mut proxy));
    println!("{bytes} bytes for each response that pauses");
    assert!(bytes < 40 * KIB, "{bytes} bytes for each");
}
