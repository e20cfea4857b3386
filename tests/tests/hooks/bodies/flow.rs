//! Back-pressure and memory: what trickles stays live through hooks, and a large body takes no more
//! memory than a small one, however slowly it is taken.

use waypost_tests::{Gate, Http2, Proxy, Wire, origin, proxy};

use super::{hook, plugin_table, probed};

const MIB: usize = 1 << 20;
/// A body that no buffers on the way hold.
const LARGE: usize = 96 * MIB;
/// What buffers, pieces and the hook's own memory may take.
const BOUND: u64 = 40 << 10;

/// Answers one request with a body without a length that never waits for anything but its reader.
async fn pours(mut wire: Wire, _: usize) {
    let Ok(_) = wire.head().await else { return };
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("{MIB:x}\r\n{}\r\n", "x".repeat(MIB));
    let _ = wire.try_send(head).await;
    for _ in 0..LARGE / MIB {
        if wire.try_send(&chunk).await.is_err() {
            return;
        }
    }
    let _ = wire.try_send("0\r\n\r\n").await;
}

/// Reads a request of that length, piece by piece, and tells how long it was.
async fn drinks(mut wire: Wire, _: usize) {
    let Ok(_) = wire.head().await else { return };
    let mut body = Vec::new();
    let Ok(_) = wire.chunked(&mut body).await else {
        return;
    };
    let told = body.len().to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{told}",
        told.len()
    );
    let _ = wire.try_send(answer).await;
}

async fn used(proxy: &mut Proxy) -> u64 {
    proxy.process().memory()
}

#[tokio::test]
async fn a_large_answer_takes_no_more_memory_than_its_pieces_however_slowly_it_is_read() {
    let origin = origin::speaks(pours).await;
    let setup = proxy::to([&origin]).server("workers = 1");
    let mut proxy = probed(setup, "response = \"chunks | upper\"").start().await;
    let before = used(&mut proxy).await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(client.response_head().await.status, 200);
    let mut most = 0;
    let mut read = 0;
    // What chunks it comes in is the host's affair.
    while read < LARGE {
        read += client.wire.exactly(MIB).await.unwrap().len();
        most = most.max(used(&mut proxy).await);
    }
    assert!(most < before + BOUND, "{before} KiB, then {most} KiB");
}

#[tokio::test]
async fn a_large_request_takes_no_more_memory_than_its_pieces() {
    let origin = origin::speaks(drinks).await;
    let setup = proxy::to([&origin])
        .server("workers = 1")
        .route("client_max_body_size = \"0\"");
    let mut proxy = probed(setup, "request = \"chunks | upper\"").start().await;
    let before = used(&mut proxy).await;
    let mut client = proxy.client().await;
    let head = format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {LARGE}\r\n\r\n");
    client.send(head).await;
    let part = vec![b'x'; MIB];
    let mut most = 0;
    for _ in 0..LARGE / MIB {
        client.send(&part).await;
        most = most.max(used(&mut proxy).await);
    }
    assert_eq!(client.response().await.text(), LARGE.to_string());
    assert!(most < before + BOUND, "{before} KiB, then {most} KiB");
}

#[tokio::test]
async fn what_trickles_is_there_before_the_next_of_it_is_sent() {
    let gates: [Gate; 3] = std::array::from_fn(|_| Gate::closed());
    let steps = gates.clone();
    let origin = origin::speaks(move |mut wire, _| {
        let steps = steps.clone();
        async move {
            let Ok(_) = wire.head().await else { return };
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            wire.send(head).await;
            for (gate, chunk) in steps.iter().zip(["1\r\na\r\n", "1\r\nb\r\n", "0\r\n\r\n"]) {
                gate.opened().await;
                wire.send(chunk).await;
            }
            wire.rest().await;
        }
    })
    .await;
    let proxy = probed(proxy::to([&origin]), "response = \"chunks | upper\"")
        .start()
        .await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    // Its head is there before anything of the body is.
    assert_eq!(client.response_head().await.status, 200);
    gates[0].open();
    assert_eq!(client.wire.exactly(6).await.unwrap(), b"1\r\nA\r\n");
    gates[1].open();
    assert_eq!(client.wire.exactly(6).await.unwrap(), b"1\r\nB\r\n");
    gates[2].open();
    assert_eq!(client.wire.exactly(5).await.unwrap(), b"0\r\n\r\n");
}

#[tokio::test]
async fn pieces_of_a_request_reach_the_server_before_the_next_is_sent() {
    let origin = origin::speaks(|mut wire, _| async move {
        while wire.head().await.is_ok() {
            wire.until(b"A\r\n").await.unwrap();
            wire.send("HTTP/1.1 103 Early Hints\r\n\r\n").await;
            wire.until(b"B\r\n").await.unwrap();
            wire.until(b"0\r\n\r\n").await.unwrap();
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            wire.send(answer).await;
        }
    })
    .await;
    // Nothing is read ahead of the choice of a server.
    let setup = proxy::to([&origin]).upstream("body_buffer_size = \"0\"");
    let setup = setup.route("hooks = [\"probe\"]");
    let proxy = setup
        .more(&hook("request = \"chunks | upper\""))
        .more(&plugin_table())
        .start()
        .await;
    let mut client = proxy.client().await;
    let head = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
    client.send(head).await;
    assert_eq!(client.response_head().await.status, 103);
    client.send("1\r\nb\r\n0\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "ok");
    // Over HTTP/2 as well.
    let mut http2 = Http2::connect(proxy.address()).await;
    let mut stream = http2.begin("POST", "/", &[]).await;
    stream.send("a", false);
    assert_eq!(stream.interim().await.status, 103);
    stream.send("b", true);
    assert_eq!(stream.response().await.text(), "ok");
}
