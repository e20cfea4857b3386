//! Servers that answer with their name.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::Context;

/// What the first server takes for an answer; each further one takes so much more.
const STEP: Duration = Duration::from_millis(15);
/// A request comes at once, or not at all.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections of one server at a time: others are closed.
const CONNECTIONS: usize = 64;
/// Bytes of a request's head.
const HEAD: usize = 64 << 10;

/// By their addresses: `s1`, `s2` and so on, in two zones by turns.
pub(super) struct Servers(Vec<SocketAddr>);

impl Servers {
    pub(super) fn start(number: usize) -> anyhow::Result<Servers> {
        let mut addresses = Vec::new();
        for index in 0..number {
            let listener =
                TcpListener::bind("127.0.0.1:0").context("cannot listen on a port of 127.0.0.1")?;
            addresses.push(listener.local_addr()?);
            let takes = STEP * u32::try_from(index + 1)?;
            thread::spawn(move || serve(&listener, &name(index), takes));
        }
        Ok(Servers(addresses))
    }

    /// Addresses with names and zones.
    pub(super) fn all(&self) -> impl Iterator<Item = (SocketAddr, String, &'static str)> {
        let with_name =
            |(index, address): (usize, &SocketAddr)| (*address, name(index), ["a", "b"][index % 2]);
        self.0.iter().enumerate().map(with_name)
    }
}

fn name(index: usize) -> String {
    format!("s{}", index + 1)
}

/// Until the process ends.
fn serve(listener: &TcpListener, name: &str, takes: Duration) {
    let answer: Arc<[u8]> = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{name}\n",
        name.len() + 1
    )
    .into_bytes()
    .into();
    let open = Arc::new(AtomicUsize::new(0));
    for connection in listener.incoming().flatten() {
        if open.fetch_add(1, Relaxed) >= CONNECTIONS {
            open.fetch_sub(1, Relaxed);
            continue;
        }
        let (answer, open) = (answer.clone(), open.clone());
        thread::spawn(move || {
            // A proxy that has gone away ends no server.
            let _ = exchange(&connection, &answer, takes);
            open.fetch_sub(1, Relaxed);
        });
    }
}

fn exchange(mut connection: &TcpStream, answer: &[u8], takes: Duration) -> std::io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let (mut head, mut part) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD {
        match connection.read(&mut part)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            length => head.extend_from_slice(&part[..length]),
        }
    }
    thread::sleep(takes);
    connection.write_all(answer)
}
