//! However a stream to a server ends, its lease does so once: an endpoint of one request at a time
//! takes the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::upstream_faults::{answer_all, by_hand, request};
use super::*;

/// What a server does with its first request.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Refuses,
    Resets,
    Leaves,
    SaysGoodbye,
    GivesUp,
    Breaks,
    CutsItsAnswer,
    Floods,
    Forges,
    Sleeps,
}

const DEEDS: [Deed; 10] = [
    Deed::Refuses,
    Deed::Resets,
    Deed::Leaves,
    Deed::SaysGoodbye,
    Deed::GivesUp,
    Deed::Breaks,
    Deed::CutsItsAnswer,
    Deed::Floods,
    Deed::Forges,
    Deed::Sleeps,
];

async fn act(raw: &mut Raw, stream: u32, deed: Deed) {
    let head = Frame::headers(stream, flag::END_HEADERS, &[(":status", "200")]);
    match deed {
        Deed::Refuses => raw.send(Frame::reset(stream, Reason::REFUSED_STREAM)).await,
        Deed::Resets => raw.send(Frame::reset(stream, Reason::INTERNAL_ERROR)).await,
        Deed::SaysGoodbye => raw.send(Frame::goaway(0, Reason::NO_ERROR)).await,
        Deed::GivesUp => {
            raw.send(Frame::goaway(stream, Reason::ENHANCE_YOUR_CALM))
                .await
        }
        Deed::Breaks => raw.send(Frame::window_update(0, 0)).await,
        Deed::CutsItsAnswer => {
            raw.send(head).await;
            raw.send(Frame::data(stream, flag::NONE, "half")).await;
            raw.send(Frame::reset(stream, Reason::CANCEL)).await;
        }
        Deed::Floods => {
            for _ in 0..20 {
                raw.flood((0..1000).map(|_| Frame::ping())).await;
            }
        }
        Deed::Forges => {
            let fields = [(":status", "200"), ("connection", "close")];
            raw.send(Frame::headers(stream, flag::WHOLE, &fields)).await;
        }
        Deed::Leaves | Deed::Sleeps => {}
    }
}

#[tokio::test]
async fn leases_end_once_whatever_a_server_does() {
    for deed in DEEDS {
        let done = Arc::new(AtomicBool::new(false));
        let origin = by_hand(move |mut raw, _| {
            let done = done.clone();
            async move {
                if done.swap(true, Ordering::SeqCst) {
                    return answer_all(raw, "next").await;
                }
                let Some(stream) = request(&mut raw).await else {
                    return;
                };
                act(&mut raw, stream, deed).await;
                match deed {
                    Deed::Leaves | Deed::GivesUp => {}
                    _ => answer_all(raw, "next").await,
                }
            }
        })
        .await;
        let proxy = before([origin.with("max_conns = 1")], "read_timeout = \"1s\"")
            .start()
            .await;
        let mut client = Http2::connect(proxy.address()).await;
        let asked = client.request("GET", "/", &[]);
        // It may be answered after all, on another connection.
        let first = client.open(asked, true).await.try_response().await;
        for _ in 0..3 {
            let next = client.get("/").await;
            assert_eq!(
                next.text(),
                "next",
                "{deed:?}, after {first:?}: {}",
                proxy.log()
            );
        }
    }
}

#[tokio::test]
async fn leases_end_with_whoever_waits_no_longer() {
    let origin = http2::answers(|request| match &*request.target {
        "/held" => Answer::ok("never").when(&Gate::closed()),
        _ => Answer::ok("next"),
    })
    .await;
    let proxy = before([origin.with("max_conns = 1")], "").start().await;
    let mut client = Http2::connect(proxy.address()).await;
    let call = [("content-type", "application/grpc"), ("grpc-timeout", "1S")];
    assert_eq!(client.ask("POST", "/held", &call).await.status, 200);
    assert_eq!(client.get("/").await.text(), "next");

    let given_up = client.request("GET", "/held", &[]);
    let mut given_up = client.open(given_up, true).await;
    origin.received(3).await;
    given_up.reset(Reason::CANCEL);
    eventually("the place to be free", async || {
        client.get("/").await.status == 200
    })
    .await;
}
