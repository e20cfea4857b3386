//! Signals, as nginx takes them.

use std::time::Duration;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rustix::process::Signal;
use waypost_tests::names::{A, Record, Scripted};
use waypost_tests::{Answer, Child, Gate, Origin, Wire, eventually, origin, proxy, waypost};

/// An origin that holds its answers.
async fn held() -> (Origin, Gate) {
    let gate = Gate::closed();
    let held = gate.clone();
    (
        origin::answers(move |_| Answer::ok("done").when(&held)).await,
        gate,
    )
}

/// Waits until no process listens at the address any more.
async fn refuses(address: &str) {
    eventually("the listener to close", async || {
        Wire::connect(address).await.is_err()
    })
    .await;
}

#[tokio::test]
async fn quit_lets_an_exchange_under_way_finish() {
    let (origin, gate) = held().await;
    let mut proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    origin.received(1).await;

    proxy.signal(Signal::QUIT);
    refuses(proxy.address()).await;
    assert!(proxy.process().runs(), "it waits for the exchange");
    gate.open();
    let response = client.response().await;
    assert_eq!(
        (response.text().as_str(), response.header("Connection")),
        ("done", "close")
    );
    client.closed().await;
    assert_eq!(proxy.process().ended().await.code(), Some(0));
}

#[tokio::test]
async fn quit_closes_idle_connections() {
    let origin = origin::says("hello").await;
    let mut proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    client.get("/").await;
    proxy.signal(Signal::QUIT);
    client.closed().await;
    assert_eq!(proxy.process().ended().await.code(), Some(0));
}

#[tokio::test]
async fn quit_waits_no_longer_than_shutdown_timeout() {
    let (origin, _gate) = held().await;
    let mut proxy = proxy::to([&origin])
        .server("shutdown_timeout = \"300ms\"")
        .start()
        .await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    origin.received(1).await;
    proxy.signal(Signal::QUIT);
    proxy.process().ended().await;
    client.wire.rest().await;
}

#[tokio::test]
async fn term_and_int_stop_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let (origin, _gate) = held().await;
        let mut proxy = proxy::to([&origin]).start().await;
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        origin.received(1).await;
        let started = std::time::Instant::now();
        proxy.signal(signal);
        assert_eq!(proxy.process().ended().await.code(), Some(0), "{signal:?}");
        assert!(
            started.elapsed() < Duration::from_secs(3),
            "{:?}",
            started.elapsed()
        );
        client.wire.rest().await;
    }
}

/// Whatever it is in: an endless loop, or a call of the kernel that never returns.
#[tokio::test]
async fn a_worker_that_does_not_answer_keeps_no_process_from_ending() {
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin]).through_shell("export WAYPOST_FAULTS=hang; exec \"$@\"");
    let mut proxy = setup.start().await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    proxy.log_contains("a fault was asked for at `hang`").await;
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.process().ended().await.code(), Some(1));
    proxy
        .log_contains("a worker does not answer: the process ends without it")
        .await;
}

#[tokio::test]
async fn term_during_a_graceful_stop_stops_at_once() {
    let (origin, _gate) = held().await;
    let mut proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    origin.received(1).await;
    proxy.signal(Signal::QUIT);
    refuses(proxy.address()).await;
    proxy.signal(Signal::TERM);
    proxy.process().ended().await;
}

#[tokio::test]
async fn usr1_reopens_the_logs() {
    let origin = origin::says("hello").await;
    let logs = "access_log = { path = \"access.log\" }";
    let proxy = proxy::to([&origin]).server(logs).start().await;
    let (current, old) = (
        proxy.directory().join("access.log"),
        proxy.directory().join("old.log"),
    );
    let has = |path: &std::path::Path, part: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .contains(part)
    };

    proxy.get("/first").await;
    eventually("the first line", async || has(&current, "/first")).await;
    std::fs::rename(&current, &old).expect("the log can be moved");
    proxy.get("/second").await;
    eventually("the second line", async || has(&old, "/second")).await;
    proxy.signal(Signal::USR1);
    eventually("the new file", async || current.exists()).await;
    proxy.get("/third").await;
    eventually("the third line", async || has(&current, "/third")).await;
    assert!(!has(&old, "/third"));
}

#[tokio::test]
async fn signals_that_mean_nothing_do_not_end_it() {
    let origin = origin::says("hello").await;
    let mut proxy = proxy::to([&origin]).start().await;
    for signal in [Signal::USR1, Signal::PIPE] {
        proxy.signal(signal);
    }
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert!(proxy.process().runs());
}

/// A start waits for names; what is asked of it meanwhile is done once it serves.
#[tokio::test]
async fn a_process_that_is_about_to_serve_reloads_once_it_does() {
    let answers = Arc::new(AtomicBool::new(false));
    let may_answer = answers.clone();
    let dns = Scripted::start(move |question| match may_answer.load(SeqCst) {
        true if question.kind == A => {
            let record = Record::address(&question.name, [127, 0, 0, 1].into(), 60);
            vec![question.answer(0, &[record])]
        }
        true => vec![question.answer(0, &[])],
        false => Vec::new(),
    })
    .await;
    let directory = tempfile::tempdir().expect("there is room for a directory");
    let file = directory.path().join("waypost.toml");
    let text = format!(
        "[server]\nworkers = 1\naccess_log = false\n\
         resolver = {{ addresses = [\"{}\"], timeout = \"20s\" }}\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\nproxy = \"http://slow.test:1\"\n",
        dns.address()
    );
    std::fs::write(&file, text).expect("the directory is ours");
    let mut command = Command::new(waypost());
    command.arg("run").arg("-c").arg(&file);
    let mut process = Child::start(command);
    dns.is_asked(1).await;
    process.signal(Signal::HUP);
    process.signal(Signal::USR1);
    answers.store(true, SeqCst);
    for part in ["listening on", "logs reopened", "reloaded: generation 2"] {
        process.stderr.contains(part).await;
    }
    process.signal(Signal::TERM);
    assert_eq!(process.ended().await.code(), Some(0));
}
