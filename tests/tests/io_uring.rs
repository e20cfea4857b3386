//! Small messages that leave by one system call, where the kernel allows it, and by one each.

use rustix::process::Signal;
use waypost_tests::{Answer, Origin, Proxy, eventually, origin, proxy};

const CLIENTS: usize = 16;
const ROUNDS: usize = 3;

/// It answers each with its own target.
async fn targets() -> Origin {
    origin::answers(|request| Answer::ok(&request.target)).await
}

/// Many ask at the same time: what the worker sends waits for each other.
async fn all_ask_at_once(proxy: &Proxy) {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(proxy.client().await);
    }
    for round in 0..ROUNDS {
        proxy.signal(Signal::STOP);
        for (number, client) in clients.iter_mut().enumerate() {
            let head = format!("GET /{round}/{number} HTTP/1.1\r\nHost: test\r\n\r\n");
            client.send(head).await;
        }
        proxy.signal(Signal::CONT);
        for (number, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.response().await.text(), format!("/{round}/{number}"));
        }
    }
}

/// A worker that has answered has its ring, where the kernel allows it.
async fn rings(proxy: &Proxy, number: usize) {
    assert_eq!(proxy.get("/").await.status, 200);
    eventually("as many rings", async || proxy.rings() == number).await;
}

#[tokio::test]
async fn messages_leave_together_until_a_reload_turns_it_off_and_again_when_one_turns_it_on() {
    if !waypost_tests::io_uring_is_allowed() {
        return;
    }
    let origin = targets().await;
    let proxy = proxy::to([&origin]).server("workers = 2\n").start().await;
    rings(&proxy, 2).await;
    all_ask_at_once(&proxy).await;
    let (on, off) = ("workers = 2\n", "workers = 2\nio_uring = false\n");
    for (from, to, number) in [(on, off, 0), (off, on, 2)] {
        proxy.edit(from, to);
        proxy.signal(Signal::HUP);
        rings(&proxy, number).await;
        all_ask_at_once(&proxy).await;
    }
}

/// Of the messages that a ring has sent when it fails, none is sent again.
#[tokio::test]
async fn each_message_leaves_by_itself_where_the_ring_fails_and_none_is_lost_or_sent_twice() {
    if !waypost_tests::io_uring_is_allowed() {
        return;
    }
    let origin = targets().await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .through_shell("export WAYPOST_FAULTS=io_uring; exec \"$@\"")
        .start()
        .await;
    rings(&proxy, 1).await;
    // On a slow machine, each message may have left before the next one.
    let mut rounds = 0;
    while !proxy.log().contains("io_uring: ") {
        all_ask_at_once(&proxy).await;
        rounds += 1;
        assert!(rounds < 1000, "no two messages have met");
    }
    assert_eq!(proxy.rings(), 0);
    all_ask_at_once(&proxy).await;
    assert_eq!(origin.requests().len(), 1 + (rounds + 1) * ROUNDS * CLIENTS);
}
