//! A server that has requests wait: it answers none but for `/small`, and those that ask for another
//! protocol. A thread of this program.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Condvar, Mutex};
use std::thread;

use crate::PATIENCE;

/// What is never answered.
pub(crate) const WAITS: &str = "/waits";
/// What is answered with another protocol, of which nothing is ever said.
pub(crate) const TUNNEL: &str = "/tunnel";

/// Requests that wait, and tunnels, since the program began.
pub(crate) static ARRIVED: Arrived = Arrived {
    count: Mutex::new(0),
    changed: Condvar::new(),
};

pub(crate) struct Arrived {
    count: Mutex<usize>,
    changed: Condvar,
}

impl Arrived {
    pub(crate) fn count(&self) -> usize {
        *self.count.lock().expect("no holder panics")
    }

    /// Returns once so many have come.
    pub(crate) fn wait_for(&self, wanted: usize) {
        let count = self.count.lock().expect("no holder panics");
        let waited = self
            .changed
            .wait_timeout_while(count, PATIENCE, |count| *count < wanted);
        let (count, _) = waited.expect("no holder panics");
        assert!(*count >= wanted, "{count} of {wanted} requests came");
    }

    fn note(&self) {
        *self.count.lock().expect("no holder panics") += 1;
        self.changed.notify_all();
    }
}

/// Listens at a port of its own until the program ends.
pub(crate) fn start() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            // Ends with the connection: some thousand threads at most, which wait.
            let serving = thread::Builder::new().stack_size(64 << 10);
            serving
                .spawn(|| serve(stream))
                .expect("a thread can be started");
        }
    });
    port
}

/// Serves a connection until the other side closes it.
fn serve(mut stream: TcpStream) {
    // Without it, answers wait for the peer's acknowledgements.
    let _ = stream.set_nodelay(true);
    let (mut head, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut part) {
        head.extend_from_slice(&part[..read]);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let target = head.split(|byte| *byte == b' ').nth(1);
        let answered = match target.and_then(|target| std::str::from_utf8(target).ok()) {
            Some(WAITS) => {
                ARRIVED.note();
                Ok(())
            }
            Some(TUNNEL) => {
                let answered = stream.write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
                );
                ARRIVED.note();
                answered
            }
            _ => {
                let head =
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\n";
                stream.write_all(&[&head[..], &[b'x'; 100]].concat())
            }
        };
        if answered.is_err() {
            return;
        }
        head.clear();
    }
}
