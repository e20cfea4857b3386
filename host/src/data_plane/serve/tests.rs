//! What an exchange costs, as far as it can be counted: neither the machine nor its load changes
//! these numbers. Whoever makes one of them larger says here why it is worth it. And what shows only
//! on a socket that takes few bytes at a time.

#![allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]

use std::cell::Cell;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_send_buffer_size;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::connection::Connection;
use super::http1::Http1;
use crate::access_log::AccessLogs;
use crate::data_plane::downstream::Client;
use crate::data_plane::drain::{ConnectionGuard, ShutdownSlot};
use crate::data_plane::process::Process;
use crate::data_plane::stream::{Deferring, Stream};
use crate::data_plane::worker::Worker;
use crate::data_plane::worker::tests::{Builder, allocated_bytes, allocator_calls, process};
use crate::data_plane::worker_config::{ListenerId, Snapshot};

/// Longer than any test needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A future whose polls are counted by what they allocate and free.
struct Counted<'a> {
    future: Pin<Box<dyn Future<Output = ()>>>,
    calls: &'a Cell<u64>,
}

impl Future for Counted<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let before = allocator_calls();
        let polled = self.future.as_mut().poll(cx);
        self.calls
            .set(self.calls.get() + allocator_calls() - before);
        polled
    }
}

/// A server that answers so many requests on one connection.
fn serve_requests(server: &TcpListener, requests: usize) {
    let (mut stream, _) = server.accept().unwrap();
    for _ in 0..requests {
        read_head(&mut stream);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok";
        stream.write_all(answer).unwrap();
    }
    // The connection is kept until the proxy closes it.
    let _ = stream.read(&mut [0]);
}

/// A client that asks so often, one request after the other.
fn ask(mut stream: UnixStream, requests: usize) {
    for _ in 0..requests {
        let request = b"GET /a HTTP/1.1\r\nHost: a.test\r\nUser-Agent: t\r\nAccept: */*\r\n\r\n";
        stream.write_all(request).unwrap();
        let head = read_head(&mut stream);
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        stream.read_exact(&mut [0; 2]).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

fn read_head(stream: &mut impl Read) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A worker's event loop.
fn event_loop() -> tokio::runtime::LocalRuntime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let built = builder.enable_all().build_local(Default::default());
    built.unwrap()
}

/// A worker, and what accepts connections for it.
struct Accepting {
    worker: Rc<Worker>,
    slot: ShutdownSlot,
    _logs: AccessLogs,
}

impl Accepting {
    async fn of(snapshot: Arc<Snapshot>, process: Arc<Process>) -> Accepting {
        let logs = AccessLogs::start().unwrap();
        let worker = Rc::new(Worker::new(0, snapshot, process, logs.buffers()).await);
        let slot = worker.drain.open(ListenerId(1), &worker.worker_config());
        Accepting {
            worker,
            slot: slot.unwrap(),
            _logs: logs,
        }
    }

    /// A connection that it has accepted.
    fn accepted(&self, stream: UnixStream) -> Connection {
        stream.set_nonblocking(true).unwrap();
        let stream = Stream::unix(tokio::net::UnixStream::from_std(stream).unwrap());
        let guard = ConnectionGuard::new(&self.slot);
        Connection::new(self.worker.clone(), Client::unix(1), stream, guard)
    }
}

/// How often a connection that carries so many requests to a server allocates and frees.
fn calls_for(requests: usize) -> u64 {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let server = thread::spawn(move || serve_requests(&server, requests));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let client = thread::spawn(move || ask(theirs, requests));
    let mut builder = Builder::new();
    let snapshot = builder.snapshot(&format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\nkeepalive_requests = 1000000\n\
         [upstream.u]\nservers = [\"{address}\"]\nkeepalive = 4\n\
         [[route]]\npath = \"/\"\nproxy = \"http://u\"\n"
    ));
    let calls = Cell::new(0);
    let runtime = event_loop();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        let deferring = Deferring::begin(&mut tasks);
        deferring.use_io_uring(true);
        let accepting = Accepting::of(snapshot, process()).await;
        let connection = Counted {
            future: Box::pin(accepting.accepted(ours)),
            calls: &calls,
        };
        connection.await;
    });
    drop(runtime);
    client.join().unwrap();
    server.join().unwrap();
    calls.get()
}

#[test]
fn a_request_to_a_server_allocates_and_frees_no_more_than_twice() {
    let (few, many) = (100, 600);
    // What is made once is there for both.
    let of_few = calls_for(few).min(calls_for(few));
    let each = (calls_for(many) - of_few) / (many - few) as u64;
    assert!(each <= 4, "{each} calls of the allocator for each request");
}

/// A connection holds this while requests come one after the other, and a request touches most of it,
/// which is what it costs in the processor's caches.
#[test]
fn the_state_of_a_connection_at_work_fits_into_five_and_a_half_kilobytes() {
    fn size_of_future<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }
    let size = size_of_future(Http1::serve_requests);
    assert!(size <= 5_500, "{size} bytes");
}

/// A client of HTTP/2 that sends so many requests at once, so often.
fn ask_at_once(stream: UnixStream, requests: usize, times: usize) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let ask = async {
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::UnixStream::from_std(stream).unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        for _ in 0..times {
            let mut answers = Vec::new();
            for _ in 0..requests {
                let mut sender = sender.clone().ready().await.unwrap();
                let request = http::Request::get("http://a.test/").body(()).unwrap();
                answers.push(sender.send_request(request, true).unwrap().0);
            }
            for answer in answers {
                let mut body = answer.await.unwrap().into_body();
                while let Some(data) = body.data().await {
                    assert_eq!(data.unwrap(), "ok");
                }
            }
        }
        drop(sender);
        connection.await.unwrap().unwrap();
    };
    runtime.enable_all().build().unwrap().block_on(ask);
}

/// A server that answers so many connections once all of them are there, so often.
fn answer_at_once(server: &TcpListener, connections: usize, times: usize) {
    for _ in 0..times {
        let accepted = (0..connections).map(|_| server.accept().unwrap().0);
        for mut stream in accepted.collect::<Vec<_>>() {
            read_head(&mut stream);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
            stream.write_all(answer).unwrap();
        }
    }
}

/// Tasks that are there once so many requests have been served at once, so often.
fn tasks_kept(requests: usize, times: usize) -> usize {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let server = thread::spawn(move || answer_at_once(&server, requests, times));
    let (ours, theirs) = UnixStream::pair().unwrap();
    let client = thread::spawn(move || ask_at_once(theirs, requests, times));
    let snapshot = Builder::new().snapshot(&format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/\"\nproxy = \"http://{address}\"\n"
    ));
    let runtime = event_loop();
    let kept = runtime.block_on(async {
        let accepting = Accepting::of(snapshot, process()).await;
        let metrics = tokio::runtime::Handle::current().metrics();
        let before = metrics.num_alive_tasks();
        accepting.accepted(ours).await;
        metrics.num_alive_tasks() - before
    });
    client.join().unwrap();
    server.join().unwrap();
    kept
}

#[test]
fn a_task_that_has_served_a_stream_serves_the_next_one() {
    assert_eq!(tasks_kept(1, 20), 1);
    // Those of an event loop that has ended are not asked.
    assert_eq!(tasks_kept(3, 20), 3);
}

#[test]
fn tasks_of_streams_are_kept_up_to_a_bound() {
    assert_eq!(tasks_kept(100, 2), 64);
}

/// What a connection is doing, for as long as it likes.
#[derive(Clone, Copy)]
enum State {
    /// Its request was answered.
    Idle,
    /// Its request is with a server that does not answer.
    Waiting,
    /// It is one with a server's, behind a 101.
    Tunnel,
}

impl State {
    /// What its client sends.
    fn request(self) -> &'static [u8] {
        match self {
            State::Idle => b"GET /own HTTP/1.1\r\nHost: a.test\r\nUser-Agent: t\r\n\r\n",
            State::Waiting => b"GET /a HTTP/1.1\r\nHost: a.test\r\nUser-Agent: t\r\n\r\n",
            State::Tunnel => {
                b"GET /a HTTP/1.1\r\nHost: a.test\r\nUser-Agent: t\r\nConnection: Upgrade\r\n\
                  Upgrade: websocket\r\n\r\n"
            }
        }
    }

    /// The server's part, on one connection after the other.
    fn serve(self, server: &TcpListener, connections: usize, arrived: &mpsc::Sender<()>) {
        let mut open = Vec::new();
        for _ in 0..connections {
            let (mut stream, _) = server.accept().unwrap();
            read_head(&mut stream);
            if let State::Tunnel = self {
                let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                               Upgrade: websocket\r\n\r\n";
                stream.write_all(answer).unwrap();
            }
            open.push(stream);
            arrived.send(()).unwrap();
        }
        // They are kept until the proxy closes them.
        for mut stream in open {
            let _ = stream.read(&mut [0]);
        }
    }

    /// The client's part; one after the other, so that they lend buffers from each other.
    fn enter(self, mut stream: &UnixStream, arrived: &mpsc::Receiver<()>) {
        stream.write_all(self.request()).unwrap();
        if !matches!(self, State::Idle) {
            arrived.recv().unwrap();
        }
        if !matches!(self, State::Waiting) {
            read_head(&mut stream);
        }
        if let State::Idle = self {
            stream.read_exact(&mut [0; 2]).unwrap();
        }
    }
}

/// Does on a thread of its own what waits without the event loop.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = oneshot::channel();
    thread::spawn(move || tell.send(work()).ok());
    told.await.unwrap()
}

/// Bytes that the allocator has given for each of many connections in this state; waits for what is
/// given back, until it is no more than `most`.
fn bytes_held_in(state: State, most: i64) -> i64 {
    const MANY: usize = 64;
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let (arrives, arrived) = mpsc::channel();
    let server = thread::spawn(move || {
        if !matches!(state, State::Idle) {
            state.serve(&server, MANY + 1, &arrives);
        }
    });
    let mut builder = Builder::new();
    let snapshot = builder.snapshot(&format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [upstream.u]\nservers = [\"{address}\"]\nhalf_close_timeout = \"0s\"\n\
         [[route]]\npath = \"/\"\nproxy = \"http://u\"\n\
         [[route]]\npath = \"/own\"\nreturn = {{ status = 200, body = \"ok\" }}\n"
    ));
    let runtime = event_loop();
    let each = runtime.block_on(async {
        let accepting = Accepting::of(snapshot, process()).await;
        let open = || {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let connection = accepting.accepted(ours);
            (tokio::task::spawn_local(connection), theirs)
        };
        // What is made once is there behind the first.
        let (first, theirs) = open();
        let entered = aside(move || {
            state.enter(&theirs, &arrived);
            arrived
        });
        let arrived = entered.await;
        first.await.unwrap();
        let before = allocated_bytes();
        let (_tasks, clients): (Vec<_>, Vec<_>) = (0..MANY).map(|_| open()).unzip();
        let entered = aside(move || {
            for client in &clients {
                state.enter(client, &arrived);
            }
            clients
        });
        let _clients = entered.await;
        let (began, each) = (Instant::now(), Cell::new(0));
        while {
            each.set((allocated_bytes() - before) / MANY as i64);
            each.get() > most && began.elapsed() < Duration::from_secs(60)
        } {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        each.get()
    });
    drop(runtime);
    server.join().unwrap();
    each
}

/// With its place in tables, which double when they grow: half of them may be empty. One of those is the
/// queue of idle connections, which is not linked through them so that none touches another one. Sixteen
/// bytes tell what of its last answer was deferred.
#[test]
fn an_idle_connection_holds_little_more_than_a_kibibyte() {
    let most = 1150;
    let each = bytes_held_in(State::Idle, most);
    assert!(each <= most, "{each} bytes");
}

#[test]
fn a_request_that_waits_for_its_server_holds_no_more_than_ten_kibibytes() {
    let most = 10 << 10;
    let each = bytes_held_in(State::Waiting, most);
    assert!(each <= most, "{each} bytes");
}

#[test]
fn a_tunnel_at_rest_holds_no_more_than_twelve_kibibytes() {
    let most = 12 << 10;
    let each = bytes_held_in(State::Tunnel, most);
    assert!(each <= most, "{each} bytes");
}

/// What several workers share is written by none of them for each request: not even how many hold it,
/// which each would fetch from the others' caches.
#[test]
fn a_request_to_a_server_counts_nothing_as_held_that_other_workers_hold() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let (arrives, arrived) = mpsc::channel();
    let server = thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        read_head(&mut stream);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .unwrap();
        read_head(&mut stream);
        arrives.send(()).unwrap();
        let _ = stream.read(&mut [0]);
    });
    let mut builder = Builder::new();
    let snapshot = builder.snapshot(&format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [upstream.u]\nservers = [\"{address}\"]\nretry_budget = {{ ratio = \"20%\" }}\n\
         [[route]]\npath = \"/\"\nproxy = \"http://u\"\n"
    ));
    let runtime = event_loop();
    runtime.block_on(async {
        let process = process();
        let accepting = Accepting::of(snapshot.clone(), process.clone()).await;
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let _task = tokio::task::spawn_local(accepting.accepted(ours));
        let held = || {
            let upstream = &snapshot.upstreams[0];
            let (endpoint, _) = upstream.endpoints().next().unwrap();
            [
                ("process", Arc::strong_count(&process)),
                ("snapshot", Arc::strong_count(&snapshot)),
                ("upstream", Arc::strong_count(upstream)),
                ("its load", Arc::strong_count(&upstream.load)),
                ("its configuration", Arc::strong_count(&upstream.config)),
                ("its endpoint", Arc::strong_count(&endpoint.stats)),
            ]
        };
        let request = b"GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n";
        let answered = aside(move || {
            theirs.write_all(request).unwrap();
            read_head(&mut theirs);
            theirs.read_exact(&mut [0; 2]).unwrap();
            theirs
        });
        let mut theirs = answered.await;
        let before = held();
        let waits = aside(move || {
            theirs.write_all(request).unwrap();
            arrived.recv().unwrap();
            theirs
        });
        let _theirs = waits.await;
        assert_eq!(held(), before);
    });
    drop(runtime);
    server.join().unwrap();
}

/// It is deferred, and stuck when the connection already waits for a request.
#[test]
fn a_client_that_asks_no_more_gets_the_rest_of_an_answer_as_it_reads() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    set_socket_send_buffer_size(&ours, 1).unwrap();
    let body = "b".repeat(12_000);
    let mut builder = Builder::new();
    let snapshot = builder.snapshot(&format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\nkeepalive_timeout = \"1h\"\n\
         client_header_timeout = \"1h\"\n[[route]]\nreturn = {{ status = 200, body = \"{body}\" }}\n"
    ));
    let client = thread::spawn(move || {
        // Nothing else but the client's reading brings the rest.
        theirs.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
        theirs.write_all(request).unwrap();
        read_head(&mut theirs);
        let mut received = vec![0; body.len()];
        theirs.read_exact(&mut received).unwrap();
        assert_eq!(received, body.as_bytes());
        theirs.shutdown(Shutdown::Write).unwrap();
    });
    event_loop().block_on(async {
        let mut tasks = JoinSet::new();
        let deferring = Deferring::begin(&mut tasks);
        deferring.use_io_uring(true);
        let accepting = Accepting::of(snapshot, process()).await;
        accepting.accepted(ours).await;
    });
    client.join().unwrap();
}
