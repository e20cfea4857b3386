//! Resident memory: at the start, of a connection in each state that it may be in for long, and
//! after many requests.
//!
//! What is anonymous is told apart from pages of files: those of the binary are shared with other
//! processes that run it, and the kernel can drop them when memory is short.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use crate::PATIENCE;
use crate::handshakes;
use crate::load::Load;
use crate::program::{Memory, Program};
use crate::report::{Report, mib};
use crate::scenario::{Back, Front, SCENARIOS, Scenario};
use crate::setup::Bench;
use crate::silent::{ARRIVED, TUNNEL, WAITS};

/// Connections that memory is divided by.
const CONNECTIONS: usize = 2000;
/// Connections before that, for what is made once, such as tables that grow.
const FIRST: usize = 100;
/// For what a proxy gives back some time after a request, and its allocator after that.
const SETTLING: Duration = Duration::from_secs(4);

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Its request was answered.
    Idle,
    /// The same, over TLS.
    IdleTls,
    /// Its request is with a server that has not answered.
    Waiting,
    /// The protocol was changed.
    Tunnel,
}

const STATES: [State; 4] = [State::Idle, State::IdleTls, State::Waiting, State::Tunnel];

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::IdleTls => "idle, TLS",
            State::Waiting => "waiting request",
            State::Tunnel => "tunnel",
        }
    }

    fn scenario(self) -> Scenario {
        Scenario {
            back: Back::Silent,
            front: match self {
                State::IdleTls => Front::Tls,
                _ => Front::Http1,
            },
            ..SCENARIOS[0]
        }
    }

    /// A connection in this state, with what its client has to keep of TLS.
    fn enter(self, proxy: &Program, tls: &Arc<rustls::ClientConfig>) -> Option<Held> {
        match self {
            State::Idle => proxy.ask("/small").map(Held::of),
            State::IdleTls => over_tls(proxy.port, tls),
            State::Waiting => begin(proxy.port, WAITS, "").map(Held::of),
            State::Tunnel => {
                let mut stream = begin(
                    proxy.port,
                    TUNNEL,
                    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
                )?;
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).ok()?;
                    head.extend(byte);
                }
                head.starts_with(b"HTTP/1.1 101").then(|| Held::of(stream))
            }
        }
    }
}

/// Keeps a connection open.
struct Held {
    _stream: TcpStream,
    _tls: Option<ClientConnection>,
}

impl Held {
    fn of(stream: TcpStream) -> Held {
        Held {
            _stream: stream,
            _tls: None,
        }
    }
}

/// A connection on which a request has been sent.
fn begin(port: u16, path: &str, fields: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream
        .write_all(request(path, fields).as_bytes())
        .ok()
        .map(|()| stream)
}

/// As browsers say it, in length.
fn request(path: &str, fields: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: bench.example\r\n{fields}\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
         Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\n\
         Cookie: session=0123456789abcdef0123456789abcdef\r\n\r\n"
    )
}

/// A connection over TLS on which one request was answered.
fn over_tls(port: u16, config: &Arc<rustls::ClientConfig>) -> Option<Held> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let name = ServerName::try_from("bench.example").ok()?;
    let mut connection = ClientConnection::new(config.clone(), name).ok()?;
    let mut tls = rustls::Stream::new(&mut connection, &mut stream);
    tls.write_all(request("/small", "").as_bytes()).ok()?;
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while !answer.windows(100).any(|part| part == [b'x'; 100]) {
        match tls.read(&mut part).ok()? {
            0 => return None,
            read => answer.extend_from_slice(&part[..read]),
        }
    }
    Some(Held {
        _stream: stream,
        _tls: Some(connection),
    })
}

/// The proxies, each started anew.
fn start(bench: &Bench, scenario: &Scenario) -> impl Iterator<Item = Program> {
    [
        Some(bench.start_waypost(scenario)),
        bench.start_opponent(scenario),
    ]
    .into_iter()
    .flatten()
}

/// Resident memory at the start, per connection, and its growth over many requests.
pub(crate) fn measure(bench: &Bench, report: &mut Report, requests: u64) {
    at_start(bench, report);
    each(bench, report);
    over_many(bench, report, requests);
}

fn at_start(bench: &Bench, report: &mut Report) {
    report.say("");
    report.say("| proxy, after one request | RSS MiB | anonymous | of files |");
    report.say("| --- | --- | --- | --- |");
    for proxy in start(bench, &SCENARIOS[0]) {
        drop(proxy.ask("/small"));
        thread::sleep(SETTLING);
        let Memory {
            resident,
            anonymous,
            of_files,
        } = proxy.memory();
        report.say(&format!(
            "| {} | {:.1} | {:.1} | {:.1} |",
            proxy.name,
            mib(resident),
            mib(anonymous),
            mib(of_files)
        ));
        note(report, proxy.name, "start", 1, resident as f64);
        note(report, proxy.name, "start, anonymous", 1, anonymous as f64);
    }
}

fn each(bench: &Bench, report: &mut Report) {
    let tls = Arc::new(handshakes::config(false));
    report.say("");
    report.say("| proxy | connections | KiB for each, at once | after four seconds | left behind when they are closed |");
    report.say("| --- | --- | --- | --- | --- |");
    for state in STATES {
        let scenario = state.scenario();
        for proxy in start(bench, &scenario) {
            let arrived = ARRIVED.count();
            let enter = |connections: usize| -> Vec<Held> {
                let entered = (0..connections).map_while(|_| state.enter(&proxy, &tls));
                entered.collect()
            };
            // A client that leaves too early is one whose request no server sees.
            let wait_for = |connections: usize| {
                if matches!(state, State::Waiting | State::Tunnel) {
                    ARRIVED.wait_for(arrived + connections);
                }
            };
            let first = enter(FIRST);
            wait_for(first.len());
            drop(first);
            thread::sleep(SETTLING);
            let before = proxy.memory();
            let held = enter(CONNECTIONS);
            let opened = held.len();
            wait_for(FIRST + opened);
            let growth = || {
                let now = proxy.memory().resident;
                (now as f64 - before.resident as f64) / opened as f64
            };
            let at_once = growth();
            thread::sleep(SETTLING);
            let settled = growth();
            drop(held);
            thread::sleep(SETTLING);
            let left = growth();
            let (name, what) = (proxy.name, state.name());
            report.say(&format!(
                "| {name} | {opened} {what} | {at_once:.2} | {settled:.2} | {left:.2} |"
            ));
            note(report, name, &format!("{what}, at once"), opened, at_once);
            note(report, name, &format!("{what}, settled"), opened, settled);
            note(report, name, &format!("{what}, left behind"), opened, left);
        }
    }
}

fn over_many(bench: &Bench, report: &mut Report, requests: u64) {
    let scenario = &SCENARIOS[0];
    report.say("");
    report.say(&format!(
        "| proxy | RSS MiB after a tenth of the requests | after all {requests} |"
    ));
    report.say("| --- | --- | --- |");
    for proxy in start(bench, scenario) {
        let (mut done, mut early) = (0, 0);
        let begun = Instant::now();
        while done < requests && begun.elapsed() < Duration::from_secs(60) {
            let mut load = Load::prepare(bench.folder(), proxy.port, scenario, 1);
            load.begin();
            done += load.finish(1).requests;
            if early == 0 && done >= requests / 10 {
                early = proxy.rss();
            }
        }
        let end = proxy.rss();
        let name = proxy.name;
        report.say(&format!(
            "| {name} | {:.1} | {:.1} ({done} requests) |",
            mib(early),
            mib(end),
        ));
        note(
            report,
            name,
            "tenth",
            (requests / 10) as usize,
            early as f64,
        );
        note(report, name, "end", done as usize, end as f64);
    }
}

/// A line of `raw.csv`: a figure in KiB.
fn note(report: &mut Report, proxy: &str, what: &str, of: usize, kib: f64) {
    let _ = writeln!(
        report.raw,
        "memory,,0,\"{proxy} {what}\",{of},0,0,0,0,0,0,0,{kib:.2},"
    );
}
