//! A generator of HTTP/1.1 for what `wrk` cannot do: this program itself, as a process of its own on
//! the generators' core. It sends at times that are fixed beforehand, and may have many more
//! connections than wait for an answer.
//!
//! **A latency counts from when its request was due**, however late that was sent. While a proxy
//! stalls, requests that have become due wait for a connection, and this is part of what their
//! clients would have seen. A generator that waits for an answer before it sends again leaves that
//! out: the longer a stall, the fewer of its requests meet it (Gil Tene: "coordinated omission";
//! `wrk2` counts as is done here).
//!
//! One thread and `epoll`; a request goes to the connection that has been idle for longest. Times are
//! kept one by one and sorted at the end: those of five seconds take a few megabytes, and a
//! histogram would round them.

use std::collections::VecDeque;
use std::fs;
use std::io::{ErrorKind, Read, Write, stdin};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use crate::PATIENCE;
use crate::load::{READY, quantile};
use crate::scenario::Pace;

/// `PORT PATH CONNECTIONS SECONDS at-once|per-second NUMBER`: connects, says that it is ready, begins
/// when it gets a line, and prints answers, errors and times as [`crate::load`] reads them. Its
/// connections are open until its input ends.
pub(crate) fn generate(arguments: &[String]) {
    let [port, path, connections, seconds, pace, number] = arguments else {
        panic!("--paced PORT PATH CONNECTIONS SECONDS at-once|per-second NUMBER");
    };
    let number = number.parse().expect("a number");
    let pace = match pace.as_str() {
        "at-once" => Pace::AtOnce(number),
        _ => Pace::PerSecond(number),
    };
    // The kernel lets a timer be late by 50 µs, to save wakeups, unless told. Where this cannot be
    // written, requests are late, and the result says by how much.
    let _ = fs::write("/proc/self/timerslack_ns", "1");
    let port = port.parse().expect("a port");
    let connections = connections.parse().expect("a number of connections");
    let mut generator = Generator::connect(port, path, connections);
    println!("{READY}");
    let mut line = String::new();
    if stdin().read_line(&mut line).is_ok_and(|read| read > 0) {
        let seconds = seconds.parse().expect("seconds");
        generator.run(pace, Duration::from_secs(seconds));
        println!("{}", generator.told());
        let _ = stdin().read_line(&mut line);
    }
}

struct Generator {
    port: u16,
    request: String,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Connections without a request, the one that has been so for longest first.
    idle: VecDeque<usize>,
    /// Requests that wait for an answer.
    waiting: u32,
    /// From when a request was due until its answer was there.
    latencies: Vec<Duration>,
    /// From when a request was due until it was sent.
    late: Vec<Duration>,
    errors: u64,
}

struct Connection {
    stream: TcpStream,
    /// When the request was due that waits for an answer; none where none does.
    due: Option<Instant>,
    /// What has come of that answer.
    answer: Vec<u8>,
}

impl Generator {
    fn connect(port: u16, path: &str, connections: usize) -> Generator {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll");
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
        let connection = |index: usize| Connection {
            stream: open(&epoll, port, &request, index),
            due: None,
            answer: Vec::new(),
        };
        Generator {
            port,
            connections: (0..connections).map(connection).collect(),
            epoll,
            request,
            idle: (0..connections).collect(),
            waiting: 0,
            latencies: Vec::new(),
            late: Vec::new(),
            errors: 0,
        }
    }

    /// Sends for so long, and waits for what is left of the answers until it loses patience. What
    /// has no answer by then counts as an error, and so does what could not be sent.
    fn run(&mut self, pace: Pace, length: Duration) {
        let begun = Instant::now();
        let end = begun + length;
        let total = match pace {
            Pace::AtOnce(_) => u64::MAX,
            Pace::PerSecond(rate) => u64::from(rate) * length.as_secs(),
        };
        let mut sent = 0;
        // When the next one is due, which may be later; none where an answer has to come first, or
        // nothing is left to send.
        let due = |sent: u64, waiting: u32, now: Instant| match pace {
            Pace::AtOnce(most) => (waiting < most && now < end).then_some(now),
            Pace::PerSecond(rate) => {
                let after = Duration::from_secs_f64(sent as f64 / f64::from(rate));
                (sent < total).then_some(begun + after)
            }
        };
        loop {
            let mut now = Instant::now();
            let mut next = due(sent, self.waiting, now);
            while let Some(due_at) = next.filter(|due_at| *due_at <= now) {
                let Some(index) = self.idle.pop_front() else {
                    break;
                };
                self.send(index, due_at, now);
                sent += 1;
                now = Instant::now();
                next = due(sent, self.waiting, now);
            }
            if (next.is_none() && self.waiting == 0 && now >= end) || now > end + PATIENCE {
                break;
            }
            let until = next.filter(|_| !self.idle.is_empty());
            self.receive(until.unwrap_or(end + PATIENCE));
        }
        let unsent = if total == u64::MAX { 0 } else { total - sent };
        self.errors += u64::from(self.waiting) + unsent;
    }

    fn send(&mut self, index: usize, due: Instant, now: Instant) {
        let connection = &mut self.connections[index];
        connection.due = Some(due);
        self.waiting += 1;
        self.late.push(now - due);
        // A request is far smaller than what the kernel takes at once.
        let request = self.request.as_bytes();
        if !matches!(connection.stream.write(request), Ok(written) if written == request.len()) {
            self.fail(index);
        }
    }

    /// Takes what answers there are, or waits for one until then.
    fn receive(&mut self, until: Instant) {
        let mut events = Vec::with_capacity(512);
        let at_once = Timespec::default();
        epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&at_once)).expect("events");
        if events.is_empty() {
            // `epoll_wait` counts in milliseconds, `ppoll` in nanoseconds.
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).expect("less than a lifetime");
            let mut ready = [PollFd::new(&self.epoll, PollFlags::IN)];
            poll(&mut ready, Some(&left)).expect("nothing interrupts it");
            return;
        }
        for event in events {
            self.read(event.data.u64() as usize);
        }
    }

    fn read(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        let mut part = [0; 4096];
        match connection.stream.read(&mut part) {
            Ok(read @ 1..) if connection.due.is_some() => {
                connection.answer.extend_from_slice(&part[..read]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            // The end, a failure, or something that nobody has asked for.
            _ => return self.fail(index),
        }
        match is_good(&connection.answer) {
            None => {}
            Some(false) => self.fail(index),
            Some(true) => {
                connection.answer.clear();
                if let Some(due) = connection.due.take() {
                    self.latencies.push(due.elapsed());
                    self.waiting -= 1;
                    self.idle.push_back(index);
                }
            }
        }
    }

    /// An error; its connection is replaced.
    fn fail(&mut self, index: usize) {
        self.errors += 1;
        let connection = &mut self.connections[index];
        connection.stream = open(&self.epoll, self.port, &self.request, index);
        connection.answer.clear();
        if connection.due.take().is_some() {
            self.waiting -= 1;
            self.idle.push_back(index);
        }
    }

    fn told(&mut self) -> String {
        self.latencies.sort();
        self.late.sort();
        let at = |share: f64| quantile(&self.latencies, share);
        format!(
            "{} {} {:.3} {:.3} {:.3} {:.3} {:.3} {:.3}",
            self.latencies.len(),
            self.errors,
            at(0.5),
            at(0.99),
            at(0.9),
            at(0.999),
            at(1.0),
            quantile(&self.late, 0.99),
        )
    }
}

/// A connection whose events have this number. One request has been answered on it: a proxy may tell
/// an idle client, which it can do without, from one that is about to ask for the first time.
fn open(epoll: &OwnedFd, port: u16, request: &str, index: usize) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the proxy takes connections");
    stream.set_nodelay(true).expect("an option of TCP");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("an option of sockets");
    stream
        .write_all(request.as_bytes())
        .expect("the proxy takes requests");
    let (mut answer, mut part) = (Vec::new(), [0; 4096]);
    while is_good(&answer) != Some(true) {
        let read = stream.read(&mut part).expect("the proxy answers");
        assert!(read > 0, "the proxy ends within an answer");
        answer.extend_from_slice(&part[..read]);
    }
    stream.set_nonblocking(true).expect("an option of sockets");
    let data = epoll::EventData::new_u64(index as u64);
    epoll::add(epoll, &stream, data, epoll::EventFlags::IN).expect("a connection can be watched");
    stream
}

/// Whether an answer is a 200 of the length that it tells; none while it is not complete.
fn is_good(answer: &[u8]) -> Option<bool> {
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok();
    let length = head.and_then(|head| {
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        let (_, length) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
        length.trim().parse::<usize>().ok()
    });
    let Some(length) = length else {
        return Some(false);
    };
    match answer.len().cmp(&(end + 4 + length)) {
        std::cmp::Ordering::Less => None,
        std::cmp::Ordering::Equal => Some(answer.starts_with(b"HTTP/1.1 200")),
        std::cmp::Ordering::Greater => Some(false),
    }
}
