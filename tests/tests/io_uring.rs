//! Small messages that leave by one system call, where the kernel allows it, and by one each.

use rustix::process::Signal;
use waypost_tests::{Answer, Origin, Proxy, eventually, origin, proxy};

const CLIENTS: usize = 16;

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
    for round in 0..3 {
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
async fn uses_io_uring(proxy: &Proxy) -> bool {
    assert_eq!(proxy.get("/").await.status, 200);
    proxy.uses_io_uring()
}

async fn rings(proxy: &Proxy, number: usize) {
    eventually("as many rings", async || proxy.rings() == number).await;
}

#[tokio::test]
async fn messages_leave_together_until_a_reload_turns_it_off_and_again_when_one_turns_it_on() {
    let origin = targets().await;
    let proxy = proxy::to([&origin]).server("workers = 2\n").start().await;
    if !uses_io_uring(&proxy).await {
        return;
    }
    rings(&proxy, 2).await;
    all_ask_at_once(&proxy).await;
    let file = proxy.directory().join("waypost.toml");
    let on = std::fs::read_to_string(&file).unwrap();
    let off = on.replace("workers = 2\n", "workers = 2\nio_uring = false\n");
    assert_ne!(on, off);
    for (text, number) in [(&off, 0), (&on, 2)] {
        std::fs::write(&file, text).unwrap();
        proxy.signal(Signal::HUP);
        rings(&proxy, number).await;
        all_ask_at_once(&proxy).await;
    }
}

#[tokio::test]
async fn each_message_leaves_by_itself_where_the_ring_fails_and_none_is_lost_or_sent_twice() {
    let origin = targets().await;
    let proxy = proxy::to([&origin])
        .server("workers = 1\n")
        .through_shell("export WAYPOST_FAULTS=io_uring; exec \"$@\"")
        .start()
        .await;
    if !uses_io_uring(&proxy).await {
        return;
    }
    all_ask_at_once(&proxy).await;
    proxy.log_contains("io_uring: ").await;
    assert_eq!(proxy.rings(), 0);
    all_ask_at_once(&proxy).await;
    assert_eq!(origin.requests().len(), 1 + 2 * 3 * CLIENTS);
}
