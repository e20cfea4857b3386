//! How a session ends: a side that has said all, breaks off, leaves, or falls silent.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use waypost_tests::in_time;

use super::*;

#[tokio::test]
async fn a_client_that_says_no_more_still_hears_the_answer() {
    let server = origin::speaks(|mut wire, _| async move {
        let said = wire.rest().await;
        assert!(!said.reset);
        let _ = wire.try_send([b"heard: ", &said.got[..]].concat()).await;
    })
    .await;
    let proxy = stream_to(&[&server], "", "").await;
    let mut wire = Wire::connect(proxy.address()).await.unwrap();
    wire.send("question").await;
    wire.finish_sending().await;
    let answer = wire.rest().await;
    assert_eq!(
        (answer.got, answer.reset),
        (b"heard: question".to_vec(), false)
    );
}

#[tokio::test]
async fn a_server_that_says_no_more_still_hears_the_client() {
    let (heard, hears) = tokio::sync::oneshot::channel();
    let heard = std::sync::Mutex::new(Some(heard));
    let heard = std::sync::Arc::new(heard);
    let server = origin::speaks(move |mut wire, _| {
        let heard = heard.lock().unwrap().take();
        async move {
            wire.send("that is all").await;
            wire.finish_sending().await;
            let said = wire.rest().await;
            if let Some(heard) = heard {
                let _ = heard.send(said.got);
            }
        }
    })
    .await;
    let proxy = stream_to(&[&server], "", "").await;
    let mut wire = Wire::connect(proxy.address()).await.unwrap();
    assert_eq!(wire.rest().await.got, b"that is all");
    wire.send("not for me").await;
    wire.finish_sending().await;
    assert_eq!(hears.await.unwrap(), b"not for me");
}

#[tokio::test]
async fn a_reset_reaches_the_other_side_as_an_end_and_is_held_against_nobody() {
    let client_resets = echo("a").await;
    let server_resets = origin::speaks(|mut wire, _| async move {
        wire.send("b\n").await;
        let _ = wire.until(b"\n").await;
        wire.reset();
    })
    .await;
    let proxy = stream_to(&[&client_resets, &server_resets], "", "").await;
    let (wire, name) = session(&proxy).await;
    assert_eq!(name, "a");
    wire.reset();
    client_resets.has_open(0).await;
    let (mut wire, name) = session(&proxy).await;
    assert_eq!(name, "b");
    wire.send("now\n").await;
    assert_eq!(wire.rest().await.got, b"");
    for server in [&client_resets, &server_resets] {
        in_flight(&proxy, server, 0).await;
        assert_eq!(proxy.server(server.address()).await["fails"], 0);
    }
}

#[tokio::test]
async fn a_silent_session_is_closed_and_one_in_which_a_side_speaks_is_not() {
    let talker = origin::speaks(|mut wire, _| async move {
        for _ in 0..12 {
            pause().await;
            if wire.try_send("tick\n").await.is_err() {
                return;
            }
        }
        wire.rest().await;
    })
    .await;
    let another = echo("never asked").await;
    let proxy = stream_to(&[&talker, &another], "idle_timeout = \"1s\"", "").await;
    let mut wire = Wire::connect(proxy.address()).await.unwrap();
    let heard = wire.rest().await;
    assert_eq!(heard.got, b"tick\n".repeat(12));
    proxy.log_contains("session closed: timed out").await;
    talker.has_open(0).await;
    in_flight(&proxy, &talker, 0).await;
    assert_eq!(proxy.server(talker.address()).await["fails"], 0);
}

#[tokio::test]
async fn silence_is_counted_from_the_last_byte_in_the_half_that_is_open() {
    // Longer than the timeout in all, and never silent for that long.
    async fn talk(wire: &mut Wire) {
        for _ in 0..12 {
            pause().await;
            if wire.try_send("tick\n").await.is_err() {
                return;
            }
        }
    }
    for server_talks in [true, false] {
        let (heard, hears) = tokio::sync::mpsc::unbounded_channel();
        let server = origin::speaks(move |mut wire, _| {
            let heard = heard.clone();
            async move {
                match server_talks {
                    true => talk(&mut wire).await,
                    false => {
                        wire.finish_sending().await;
                        let _ = heard.send(wire.rest().await.got);
                    }
                }
            }
        })
        .await;
        let proxy = stream_to(&[&server], "idle_timeout = \"1s\"", "").await;
        let mut wire = Wire::connect(proxy.address()).await.unwrap();
        let mut hears = hears;
        let got = match server_talks {
            true => {
                // It has spoken, so that it is not taken to have left.
                wire.send("go on\n").await;
                wire.finish_sending().await;
                wire.rest().await.got
            }
            false => {
                assert_eq!(wire.rest().await.got, b"");
                talk(&mut wire).await;
                drop(wire);
                hears.recv().await.unwrap()
            }
        };
        assert_eq!(got, b"tick\n".repeat(12), "server talks: {server_talks}");
        assert!(!proxy.log().contains("timed out"), "{}", proxy.log());
    }
}

#[tokio::test]
async fn bytes_that_wait_to_be_taken_are_silence() {
    let server = origin::speaks(|wire, _| async move {
        std::future::pending::<()>().await;
        drop(wire);
    })
    .await;
    let proxy = stream_to(&[&server], "idle_timeout = \"300ms\"", "").await;
    let mut wire = Wire::connect(proxy.address()).await.unwrap();
    while wire.try_send([b'x'; 64 << 10]).await.is_ok() {}
    proxy.log_contains("session closed: timed out").await;
}

#[tokio::test]
async fn what_a_server_says_before_it_breaks_off_is_passed_on() {
    // As servers do that refuse: they say why, and do not wait for what is under way.
    let reason = "x".repeat(32 << 10);
    let said = reason.clone();
    let server = origin::speaks(move |mut wire, _| {
        let said = said.clone();
        async move {
            // By now more is under way than the server will read.
            wire.exactly(1 << 20).await.unwrap();
            wire.send(said).await;
            wire.reset();
        }
    })
    .await;
    let proxy = stream_to(&[&server], "", "").await;
    for round in 0..30 {
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let sending = tokio::spawn(async move {
            let piece = [b'y'; 64 << 10];
            while writer.write_all(&piece).await.is_ok() {}
            writer
        });
        let mut heard = Vec::new();
        // Its end may be a reset: bytes to it are under way that it will not read.
        let _ = in_time("the end", reader.read_to_end(&mut heard)).await;
        assert_eq!(heard.len(), reason.len(), "round {round}");
        sending.await.unwrap();
    }
}

/// A proxy whose server neither accepts nor refuses, and its log of sessions.
async fn connecting(stream: &str) -> (Origin, Proxy) {
    let hangs = origin::hangs_at_connect();
    let log = "access_log = { path = \"stream.log\", format = \"$status $upstream_addr\" }";
    let proxy = stream_to(&[&hangs], &format!("{log}\n{stream}"), "").await;
    (hangs, proxy)
}

#[tokio::test]
async fn a_client_whose_connection_breaks_while_we_are_connecting_ends_the_attempt() {
    let (hangs, proxy) = connecting("").await;
    let wire = Wire::connect(proxy.address()).await.unwrap();
    in_flight(&proxy, &hangs, 1).await;
    wire.reset();
    in_flight(&proxy, &hangs, 0).await;
    let lines = log_lines(&proxy, "stream.log", 1).await;
    assert_eq!(lines, [format!("499 {}", hangs.address())]);
    proxy
        .log_contains(
            "client prematurely closed connection while connecting to upstream, client: 127.0.0.1",
        )
        .await;
    // Nothing is held against the server.
    assert_eq!(proxy.server(hangs.address()).await["fails"], 0);
}

#[tokio::test]
async fn a_client_that_has_asked_may_close_its_side_while_we_are_connecting() {
    let server = origin::speaks(|mut wire, _| async move {
        let said = wire.rest().await.got;
        let _ = wire.try_send([b"heard: ", &said[..]].concat()).await;
    })
    .await;
    for sni in [
        "",
        "sni = [{ host = \"a.example\", proxy = \"127.0.0.1:1\" }]",
    ] {
        let hangs = origin::hangs_at_connect();
        let proxy = stream_to(&[&hangs, &server], sni, "connect_timeout = \"1s\"").await;
        let mut wire = Wire::connect(proxy.address()).await.unwrap();
        wire.send("question").await;
        wire.finish_sending().await;
        assert_eq!(wire.rest().await.got, b"heard: question", "{sni}");
        proxy.log_contains("upstream timed out").await;
    }
}
