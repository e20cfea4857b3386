//! Clients that behave, of every protocol. Each sends one request after the other, and knows what the
//! answer has to be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch::Receiver;
use tokio::task::JoinSet;
use waypost_tests::{Client, Http2, Response, Wire, grpc, tls};

use super::servers::{answer_to, large};
use super::site::Site;
use super::tally::Tally;

/// Between an answer and the next request of a client: so that the machine has time for the rest.
const PAUSE: Duration = Duration::from_millis(4);

/// One of them.
#[derive(Clone)]
struct Behaving {
    kind: &'static str,
    address: String,
    tally: Arc<Tally>,
    stopped: Receiver<bool>,
}

/// An operation that went wrong, in words.
type Wrong = String;

impl Behaving {
    fn goes_on(&self) -> bool {
        !*self.stopped.borrow()
    }

    /// Counts, and waits a little.
    async fn count(&self, began: Instant, met: Result<(), Wrong>) {
        match met {
            Ok(()) => self.tally.answered(self.kind, began.elapsed()),
            Err(wrong) => self.tally.failed(self.kind, &wrong),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

pub(crate) fn start(
    loads: &mut JoinSet<()>,
    site: &Site,
    tally: &Arc<Tally>,
    stopped: &Receiver<bool>,
) {
    let of = |kind, address: &str| Behaving {
        kind,
        address: address.to_owned(),
        tally: tally.clone(),
        stopped: stopped.clone(),
    };
    let plain = site.proxy.listener(0);
    let secure = site.proxy.listener(1);
    for _ in 0..4 {
        loads.spawn(asks(of("HTTP/1.1, servers that die", plain), "/a/"));
        loads.spawn(asks(of("HTTP/1.1, a name", plain), "/named/"));
        loads.spawn(asks(of("HTTP/1.1, hooks", plain), "/hooked/"));
        loads.spawn(streams(of("HTTP/2", plain)));
    }
    for _ in 0..2 {
        loads.spawn(asks_anew(of("connections without keepalive", plain)));
        loads.spawn(posts(of("bodies of requests", plain)));
        loads.spawn(handshakes(of("TLS", secure), site.trust.clone()));
        loads.spawn(calls(of("gRPC", plain)));
        loads.spawn(tunnels(of("WebSocket", plain)));
        loads.spawn(sessions(of("TCP", site.proxy.listener(2))));
    }
    loads.spawn(reads_much(of("1 MiB", plain)));
}

/// The number of a request, spelt so that each has an answer of its own; every third comes in chunks.
fn target(path: &str, number: u64) -> String {
    match number % 3 {
        0 => format!("{path}{number}/chunked"),
        _ => format!("{path}{number}"),
    }
}

/// Whether it is the answer to this target.
fn is_answer(response: &Response, target: &str, hooked: bool) -> Result<(), Wrong> {
    let expected = match hooked {
        true => answer_to(target).replacen("this", "that", 1),
        false => answer_to(target),
    };
    match (response.status, response.complete) {
        (200, true) if response.text() == expected => Ok(()),
        (200, true) => Err(format!("another answer: {:?}", response.text())),
        (200, false) => Err("a part of an answer".to_owned()),
        (status, _) => Err(format!("status {status}")),
    }
}

/// A request over HTTP/1.1, and its answer.
async fn ask(client: &mut Client, target: &str) -> Result<Response, Wrong> {
    let request = format!("GET {target} HTTP/1.1\r\nHost: soak.test\r\n\r\n");
    let sent = client.wire.try_send(request).await;
    sent.map_err(|error| format!("cannot send: {:?}", error.kind()))?;
    let response = client.try_response().await;
    response.map_err(|cut| match cut.got.is_empty() {
        true => "closed without an answer".to_owned(),
        false => "closed within a head".to_owned(),
    })
}

async fn connect(address: &str) -> Result<Client, Wrong> {
    match Wire::connect(address).await {
        Ok(wire) => Ok(Client { wire }),
        Err(error) => Err(format!("cannot connect: {:?}", error.kind())),
    }
}

/// On a connection that is kept for as long as the proxy keeps it.
async fn asks(client: Behaving, path: &str) {
    let (mut kept, mut number) = (None, 0);
    while client.goes_on() {
        number += 1;
        let (began, target) = (Instant::now(), target(path, number));
        let met = async {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => connect(&client.address).await?,
            };
            let response = ask(&mut connection, &target).await?;
            let closes = response.header("Connection").eq_ignore_ascii_case("close");
            if response.complete && !closes {
                kept = Some(connection);
            }
            is_answer(&response, &target, path == "/hooked/")
        };
        let met = met.await;
        client.count(began, met).await;
    }
}

async fn asks_anew(client: Behaving) {
    let mut number = 0;
    while client.goes_on() {
        number += 1;
        let (began, target) = (Instant::now(), target("/steady/", number));
        let met = async {
            let mut connection = connect(&client.address).await?;
            is_answer(&ask(&mut connection, &target).await?, &target, false)
        };
        let met = met.await;
        client.count(began, met).await;
    }
}

/// Bodies of some sizes, some of them beyond what is read ahead; every other in chunks.
async fn posts(client: Behaving) {
    let mut number: usize = 0;
    while client.goes_on() {
        number += 1;
        let began = Instant::now();
        let body: Vec<u8> = (0..number * 997 % 200_000)
            .map(|at| (at % 199) as u8)
            .collect();
        let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
        let framing = match number % 2 {
            0 => format!("Content-Length: {}", body.len()),
            _ => "Transfer-Encoding: chunked".to_owned(),
        };
        let mut bytes = format!(
            "POST /steady/sum HTTP/1.1\r\nHost: soak.test\r\nConnection: close\r\n{framing}\r\n\r\n"
        )
        .into_bytes();
        match number % 2 {
            0 => bytes.extend(&body),
            _ => {
                for piece in body.chunks(10_000) {
                    bytes.extend(format!("{:x}\r\n", piece.len()).as_bytes());
                    bytes.extend(piece);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
            }
        }
        let met = async {
            let mut connection = connect(&client.address).await?;
            let sent = connection.wire.try_send(bytes).await;
            sent.map_err(|error| format!("cannot send: {:?}", error.kind()))?;
            let response = connection.try_response().await;
            let response = response.map_err(|_| "closed without an answer")?;
            match response.text() == format!("{} {sum}", body.len()) {
                true => Ok(()),
                false => Err(format!("status {}: another sum", response.status)),
            }
        };
        let met = met.await;
        client.count(began, met).await;
    }
}

/// A handshake for every ten requests.
async fn handshakes(client: Behaving, trust: Arc<rustls::ClientConfig>) {
    let mut number = 0;
    while client.goes_on() {
        let connected = tls::connect(&client.address, trust.clone(), "soak.test").await;
        let mut connection = match connected {
            Ok(connection) => connection,
            Err(error) => {
                let wrong = Err(format!("no handshake: {:?}", error.kind()));
                client.count(Instant::now(), wrong).await;
                continue;
            }
        };
        for _ in 0..10 {
            number += 1;
            let (began, target) = (Instant::now(), target("/steady/", number));
            let response = ask(&mut connection, &target).await;
            let (closes, met) = match response {
                Ok(response) => (
                    response.header("Connection").eq_ignore_ascii_case("close"),
                    is_answer(&response, &target, false),
                ),
                Err(wrong) => (true, Err(wrong)),
            };
            client.count(began, met).await;
            if closes || !client.goes_on() {
                break;
            }
        }
    }
}

/// Ten streams at a time on a connection, of which one in ten is given up.
async fn streams(client: Behaving) {
    let (mut kept, mut number) = (None, 0);
    while client.goes_on() {
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => Http2::connect(&client.address).await,
        };
        let mut under_way = Vec::new();
        for place in 0..10 {
            number += 1;
            let target = target("/steady/", number);
            let request = connection.request("GET", &target, &[]);
            // A connection that is going away takes none: the next one does.
            match connection.try_open(request, true).await {
                Ok(mut stream) if place == 9 => stream.reset(h2::Reason::CANCEL),
                Ok(stream) => under_way.push((Instant::now(), target, stream)),
                Err(_) => break,
            }
        }
        let all_were_taken = under_way.len() == 9;
        for (began, target, mut stream) in under_way {
            let met = match stream.try_response().await {
                Ok(response) => is_answer(&response, &target, false),
                Err((_, error)) => Err(format!("the stream ended: {error}")),
            };
            client.count(began, met).await;
        }
        kept = (all_were_taken && connection.is_open()).then_some(connection);
    }
}

async fn calls(client: Behaving) {
    while client.goes_on() {
        let mut connection = grpc::Client::connect(&client.address).await;
        for _ in 0..20 {
            let began = Instant::now();
            let met = match connection.unary("Unary", "word", &[]).await {
                Ok(answer) if answer.get_ref() == "drow" => Ok(()),
                Ok(answer) => Err(format!("another answer: {:?}", answer.get_ref())),
                Err(status) => Err(format!("{:?}: {}", status.code(), status.message())),
            };
            client.count(began, met).await;
            if !client.goes_on() {
                break;
            }
        }
    }
}

/// A hundred lines through each tunnel.
async fn tunnels(client: Behaving) {
    while client.goes_on() {
        let began = Instant::now();
        let opened = async {
            let mut connection = connect(&client.address).await?;
            let request = "GET /steady/tunnel HTTP/1.1\r\nHost: soak.test\r\nUpgrade: websocket\r\n\
                           Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
            let sent = connection.wire.try_send(request).await;
            sent.map_err(|error| format!("cannot send: {:?}", error.kind()))?;
            match connection.wire.head().await {
                Ok(head) if head.start.contains(" 101 ") => Ok(connection.wire),
                Ok(head) => Err(head.start),
                Err(_) => Err("closed without an answer".to_owned()),
            }
        };
        match opened.await {
            Ok(mut wire) => lines(&client, &mut wire).await,
            Err(wrong) => client.count(began, Err(wrong)).await,
        }
    }
}

async fn sessions(client: Behaving) {
    while client.goes_on() {
        match connect(&client.address).await {
            Ok(mut connection) => lines(&client, &mut connection.wire).await,
            Err(wrong) => client.count(Instant::now(), Err(wrong)).await,
        }
    }
}

/// Lines that come back.
async fn lines(client: &Behaving, wire: &mut Wire) {
    for number in 0..100 {
        let (began, line) = (Instant::now(), format!("line {number}\n"));
        let met = match wire.try_send(&line).await {
            Ok(()) => match wire.until(b"\n").await {
                Ok(back) if back == line.as_bytes() => Ok(()),
                Ok(_) => Err("another line".to_owned()),
                Err(_) => Err("closed".to_owned()),
            },
            Err(error) => Err(format!("cannot send: {:?}", error.kind())),
        };
        let is_over = met.is_err();
        client.count(began, met).await;
        if is_over || !client.goes_on() {
            return;
        }
    }
}

/// A large body, read to its end.
async fn reads_much(client: Behaving) {
    let expected = large();
    while client.goes_on() {
        let began = Instant::now();
        let met = async {
            let mut connection = connect(&client.address).await?;
            let response = ask(&mut connection, "/steady/large").await?;
            match response.body == expected {
                true => Ok(()),
                false => Err(format!("{} bytes, or others", response.body.len())),
            }
        };
        let met = met.await;
        client.count(began, met).await;
        tokio::time::sleep(PAUSE * 20).await;
    }
}
