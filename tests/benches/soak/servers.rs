//! Servers that answer everything the clients ask, and what befalls them: they die, they hang, they
//! come back.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use waypost_tests::names::{Record, Scripted};
use waypost_tests::wire::Head;
use waypost_tests::{Origin, Wire, grpc, origin, websocket};

/// Bytes of the large body.
pub(crate) const LARGE: usize = 1 << 20;
/// How long a server is away.
const AWAY: std::ops::Range<u64> = 2000..6000;

/// How a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Serves,
    /// Takes requests and says nothing.
    Hangs,
    Dead,
}

/// A server whose troubles are ours to choose.
struct Frail {
    address: String,
    origin: Option<Origin>,
    state: watch::Sender<State>,
}

/// All of them.
pub(crate) struct Servers {
    /// Four, of which one at a time may be away.
    frail: Vec<Frail>,
    /// That one, and until when.
    away: Option<(usize, Instant)>,
    /// Two that always serve.
    pub(crate) steady: Vec<Origin>,
    pub(crate) lines: Origin,
    pub(crate) calls: grpc::Server,
    pub(crate) names: Scripted,
    /// Which of the addresses the name has at present, as bits.
    present: Arc<Mutex<u8>>,
}

impl Servers {
    pub(crate) async fn start() -> Servers {
        let mut frail = Vec::new();
        // Addresses that nobody else connects from, so that their ports stay free.
        for last in 1..=4 {
            let address = format!("127.77.7.{last}:7070");
            let (state, seen) = watch::channel(State::Serves);
            let origin = Some(serving(&address, seen).await);
            frail.push(Frail {
                address,
                origin,
                state,
            });
        }
        let mut steady = Vec::new();
        for last in 5..=6 {
            // Nobody changes it.
            let (_, seen) = watch::channel(State::Serves);
            steady.push(serving(&format!("127.77.7.{last}:7070"), seen).await);
        }
        let present = Arc::new(Mutex::new(0b11));
        let of_name = present.clone();
        let names = Scripted::start(move |question| {
            let present = *of_name.lock().expect("nobody panics with it");
            let addresses: Vec<Record> = [5, 6]
                .into_iter()
                .enumerate()
                .filter(|(place, _)| question.kind == 1 && present & (1 << place) != 0)
                .map(|(_, last)| Record::address(&question.name, [127, 77, 7, last].into(), 1))
                .collect();
            vec![question.answer(0, &addresses)]
        });
        Servers {
            frail,
            away: None,
            steady,
            lines: origin::speaks(|wire, _| echoes_lines(wire)).await,
            calls: grpc::Server::start().await,
            names: names.await,
            present,
        }
    }

    pub(crate) fn frail(&self) -> impl Iterator<Item = &str> {
        self.frail.iter().map(|frail| &*frail.address)
    }

    /// Has the one that was away for long enough come back. Whether all are there.
    pub(crate) async fn return_in_time(&mut self) -> bool {
        if let Some((place, until)) = self.away
            && Instant::now() >= until
        {
            self.comes_back(place).await;
        }
        self.away.is_none()
    }

    /// Has one of them die or hang for a while.
    pub(crate) async fn lose_one(&mut self, random: &mut fastrand::Rng) -> &'static str {
        let place = random.usize(..self.frail.len());
        self.away = Some((
            place,
            Instant::now() + Duration::from_millis(random.u64(AWAY)),
        ));
        let frail = &mut self.frail[place];
        if random.bool() {
            frail.state.send_replace(State::Hangs);
            return "a server hung";
        }
        frail.state.send_replace(State::Dead);
        if let Some(mut origin) = frail.origin.take() {
            origin.dies().await;
        }
        "a server died"
    }

    async fn comes_back(&mut self, place: usize) {
        let frail = &mut self.frail[place];
        if frail.origin.is_none() {
            let (state, seen) = watch::channel(State::Serves);
            frail.origin = Some(serving(&frail.address, seen).await);
            frail.state = state;
        }
        frail.state.send_replace(State::Serves);
        self.away = None;
    }

    /// Everything serves again.
    pub(crate) async fn all_serve(&mut self) {
        if let Some((place, _)) = self.away {
            self.comes_back(place).await;
        }
    }

    /// The name has other addresses: one of two, or both.
    pub(crate) fn rename(&self, random: &mut fastrand::Rng) {
        *self.present.lock().expect("nobody panics with it") = random.u8(1..=3);
    }
}

async fn serving(address: &str, state: watch::Receiver<State>) -> Origin {
    origin::speaks_at(address, move |wire, _| converse(wire, state.clone())).await
}

/// What an answer to a target says, so that a client can tell it from any other.
pub(crate) fn answer_to(target: &str) -> String {
    format!("this is {target}\n")
}

/// A piece of the large body.
pub(crate) fn large() -> Vec<u8> {
    (0..LARGE).map(|at| (at % 251) as u8).collect()
}

async fn converse(mut wire: Wire, mut state: watch::Receiver<State>) {
    while let Ok(head) = wire.head().await {
        let Some(body) = body(&mut wire, &head).await else {
            return;
        };
        if *state.borrow() == State::Hangs {
            // Until it serves again, or dies: what was asked of it is lost.
            let _ = state.wait_for(|state| *state != State::Hangs).await;
            return;
        }
        let target = head.start.split(' ').nth(1).unwrap_or_default();
        if let Some(key) = head.fields.get("Sec-WebSocket-Key") {
            let accept = websocket::accept(key);
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            if wire.try_send(answer).await.is_ok() {
                echoes_lines(wire).await;
            }
            return;
        }
        let sent = match target.split('/').next_back() {
            Some("large") => wire.try_send(with_length(&large())).await,
            Some("chunked") => {
                let text = answer_to(target);
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{text}\r\n0\r\n\r\n",
                    text.len()
                );
                wire.try_send(answer).await
            }
            Some("sum") => {
                let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
                let text = format!("{} {sum}", body.len());
                wire.try_send(with_length(text.as_bytes())).await
            }
            _ => {
                wire.try_send(with_length(answer_to(target).as_bytes()))
                    .await
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn with_length(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The body of a request; none where it was cut.
async fn body(wire: &mut Wire, head: &Head) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    if head.fields.get("Transfer-Encoding").is_some() {
        wire.chunked(&mut body).await.ok()?;
    } else if let Some(length) = head.fields.get("Content-Length") {
        body = wire.exactly(length.parse().ok()?).await.ok()?;
    }
    Some(body)
}

async fn echoes_lines(mut wire: Wire) {
    while let Ok(line) = wire.until(b"\n").await {
        if wire.try_send(line).await.is_err() {
            return;
        }
    }
}
