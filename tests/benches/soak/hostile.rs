//! Clients that do not behave. Nothing that they meet counts: what counts is that nobody else notices.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;
use waypost_tests::Wire;
use waypost_tests::http2::{Frame, PREFACE, Reason, flag};

use super::site::Site;
use super::tally::Tally;

/// So many at a time.
const CLIENTS: u64 = 12;
/// How long one of them holds a connection at the most.
const HOLD: Duration = Duration::from_secs(8);

pub(crate) fn start(
    loads: &mut JoinSet<()>,
    site: &Site,
    tally: &Arc<Tally>,
    stopped: &Receiver<bool>,
    seed: u64,
) {
    for number in 0..CLIENTS {
        let addresses = [0, 1, 2].map(|listener| site.proxy.listener(listener).to_owned());
        let (tally, mut stopped) = (tally.clone(), stopped.clone());
        let mut random = fastrand::Rng::with_seed(seed ^ number << 32);
        loads.spawn(async move {
            while !*stopped.borrow() {
                let began = Instant::now();
                let attack = attack(&addresses, &mut random);
                tokio::select! {
                    _ = tokio::time::timeout(HOLD, attack) => {}
                    _ = stopped.wait_for(|stopped| *stopped) => {}
                }
                tally.answered("hostile clients", began.elapsed());
                tokio::time::sleep(Duration::from_millis(random.u64(5..50))).await;
            }
        });
    }
}

/// One attack; it ends early where the proxy does not have it.
async fn attack(addresses: &[String; 3], random: &mut fastrand::Rng) -> Option<()> {
    let [plain, secure, _] = addresses;
    match random.u32(..10) {
        // A head that comes byte by byte.
        0 => {
            let mut wire = Wire::connect(plain).await.ok()?;
            for byte in b"GET / HTTP/1.1\r\nHost: soak.test\r\nX-Slow: "
                .iter()
                .cycle()
            {
                wire.try_send([*byte]).await.ok()?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        // A body that never comes.
        1 => {
            let mut wire = Wire::connect(plain).await.ok()?;
            let head =
                "POST /steady/sum HTTP/1.1\r\nHost: soak.test\r\nContent-Length: 100000\r\n\r\nA";
            wire.try_send(head).await.ok()?;
            wire.rest().await;
        }
        // A head beyond all bounds.
        2 => {
            let mut wire = Wire::connect(plain).await.ok()?;
            let head = format!(
                "GET / HTTP/1.1\r\nHost: soak.test\r\nX: {}\r\n\r\n",
                "a".repeat(100_000)
            );
            wire.try_send(head).await.ok()?;
            wire.rest().await;
        }
        // Bytes of chance.
        3 => {
            let mut wire = Wire::connect(&addresses[random.usize(..3)]).await.ok()?;
            let bytes: Vec<u8> = (0..random.usize(1..5000)).map(|_| random.u8(..)).collect();
            wire.try_send(bytes).await.ok()?;
            wire.rest().await;
        }
        // Two framings.
        4 => {
            let mut wire = Wire::connect(plain).await.ok()?;
            let request = "POST /steady/sum HTTP/1.1\r\nHost: soak.test\r\nContent-Length: 5\r\n\
                           Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /a/smuggled HTTP/1.1\r\n\
                           Host: soak.test\r\n\r\n";
            wire.try_send(request).await.ok()?;
            wire.rest().await;
        }
        // A large answer that nobody reads.
        5 => {
            let mut wire = Wire::connect(plain).await.ok()?;
            wire.read_little();
            let request = "GET /steady/large HTTP/1.1\r\nHost: soak.test\r\n\r\n";
            wire.try_send(request.repeat(4)).await.ok()?;
            tokio::time::sleep(HOLD).await;
        }
        // A reset in the middle.
        6 => {
            let mut wire = Wire::connect(plain).await.ok()?;
            let request = "GET /steady/large HTTP/1.1\r\nHost: soak.test\r\n\r\n";
            wire.try_send(request).await.ok()?;
            wire.until(b"\r\n\r\n").await.ok()?;
            wire.reset();
        }
        // Streams that are opened and reset (CVE-2023-44487).
        7 => {
            let mut wire = Wire::connect(plain).await.ok()?;
            wire.try_send(PREFACE).await.ok()?;
            wire.try_send(Frame::settings(&[]).bytes()).await.ok()?;
            let fields = [
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "soak.test"),
                (":path", "/steady/reset"),
            ];
            for stream in (1..4000).step_by(2) {
                let opened = Frame::headers(stream, flag::WHOLE, &fields);
                let reset = Frame::reset(stream, Reason::CANCEL);
                let both = [opened.bytes(), reset.bytes()].concat();
                wire.try_send(both).await.ok()?;
            }
            wire.rest().await;
        }
        // Settings and pings without end.
        8 => {
            let mut wire = Wire::connect(plain).await.ok()?;
            wire.try_send(PREFACE).await.ok()?;
            let frames = [Frame::settings(&[]).bytes(), Frame::ping().bytes()].concat();
            loop {
                wire.try_send(frames.repeat(50)).await.ok()?;
            }
        }
        // A handshake that stops.
        _ => {
            let mut wire = Wire::connect(secure).await.ok()?;
            wire.try_send([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3])
                .await
                .ok()?;
            wire.rest().await;
        }
    }
    Some(())
}
