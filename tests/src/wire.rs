//! One connection, seen from either side: sends exactly the bytes it is given, and reads heads and
//! bodies.
//!
//! The reading side is strict: what it accepts as a head or as chunks is what a careful peer would.
//! A connection that ends early is not a panic but a [`Cut`], since many specs are about just that.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use crate::tls::Handshake;
use crate::{PATIENCE, in_time, origin};

/// A connection and the bytes that were read from it and not yet asked for.
pub struct Wire {
    socket: Socket,
    buffer: Vec<u8>,
    /// Keeps an origin's count of open connections right; `None` on the client's side.
    pub(crate) counted: Option<origin::Counted>,
}

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Both directions of any connection.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The connection ended before what was awaited was complete.
#[derive(Debug)]
pub struct Cut {
    /// What had come of it.
    pub got: Vec<u8>,
    /// Whether by a reset rather than in order.
    pub reset: bool,
}

/// A start line and header fields.
#[derive(Debug, Clone, Default)]
pub struct Head {
    pub start: String,
    pub fields: Fields,
    /// As it came, the empty line included.
    pub raw: Vec<u8>,
}

/// Header or trailer fields, in order, names as sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The value of a field, of which there is only one; the name in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "several {name}: {all:?}");
        all.first().copied()
    }

    /// All values of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub(crate) fn parse(lines: &str) -> Fields {
        let lines = lines.split("\r\n").filter(|line| !line.is_empty());
        Fields(
            lines
                .map(|line| {
                    let (name, value) = line
                        .split_once(':')
                        .unwrap_or_else(|| panic!("no colon in {line:?}"));
                    (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
                })
                .collect(),
        )
    }
}

/// An address as `/proc/net/tcp` writes it: proc_net_tcp, the bytes of IPv4 in the host's order.
fn in_proc(address: SocketAddr) -> String {
    let IpAddr::V4(ip) = address.ip() else {
        panic!("{address} is not in /proc/net/tcp");
    };
    let number = u32::from_ne_bytes(ip.octets());
    format!("{number:08X}:{:04X}", address.port())
}

/// Bytes as text, each byte one character: no byte is lost, valid UTF-8 or not.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

impl Wire {
    pub(crate) fn tcp(stream: TcpStream) -> Wire {
        stream
            .set_nodelay(true)
            .expect("a connected socket has options");
        Wire {
            socket: Socket::Tcp(stream),
            buffer: Vec::new(),
            counted: None,
        }
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>) -> Wire {
        Wire {
            socket: Socket::Tls(Box::new(stream)),
            buffer: Vec::new(),
            counted: None,
        }
    }

    /// What the handshake came to, if there was one.
    pub fn handshake(&self) -> Option<Handshake> {
        match &self.socket {
            Socket::Tls(stream) => Some(Handshake::of(stream)),
            Socket::Tcp(_) | Socket::Unix(_) => None,
        }
    }

    pub(crate) fn unix(stream: UnixStream) -> Wire {
        Wire {
            socket: Socket::Unix(stream),
            buffer: Vec::new(),
            counted: None,
        }
    }

    /// The socket, for a library to speak over, and what keeps an origin's count. Nothing may have
    /// been read in advance.
    pub(crate) fn into_stream(self) -> (Box<dyn Duplex>, Option<origin::Counted>) {
        assert!(self.buffer.is_empty(), "unread bytes would be lost");
        let stream: Box<dyn Duplex> = match self.socket {
            Socket::Tcp(stream) => Box::new(stream),
            Socket::Unix(stream) => Box::new(stream),
            Socket::Tls(stream) => stream,
        };
        (stream, self.counted)
    }

    /// Connects to an address as the configuration spells it: `127.0.0.1:80` or `unix:/path`.
    pub async fn connect(address: &str) -> io::Result<Wire> {
        match address.strip_prefix("unix:") {
            Some(path) => Ok(Wire::unix(UnixStream::connect(Path::new(path)).await?)),
            None => Ok(Wire::tcp(TcpStream::connect(address).await?)),
        }
    }

    /// As [`connect`](Wire::connect), from a loopback address of its own: another client, as far as
    /// addresses tell.
    pub async fn connect_from(source: Ipv4Addr, address: &str) -> io::Result<Wire> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        let address = address.parse().map_err(io::Error::other)?;
        Ok(Wire::tcp(socket.connect(address).await?))
    }

    /// The port on this side; 0 for what is not plain TCP.
    pub fn local_port(&self) -> u16 {
        match &self.socket {
            Socket::Tcp(stream) => stream
                .local_addr()
                .expect("a connected socket has an address")
                .port(),
            Socket::Unix(_) | Socket::Tls(_) => 0,
        }
    }

    /// Sends bytes; the peer must take them.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes)
            .await
            .expect("the peer takes what is sent");
    }

    /// Sends bytes, to a peer that may have left.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = bytes.as_ref();
        in_time("the peer to take what is sent", async {
            match &mut self.socket {
                Socket::Tcp(stream) => stream.write_all(bytes).await,
                Socket::Unix(stream) => stream.write_all(bytes).await,
                Socket::Tls(stream) => {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                }
            }
        })
        .await
    }

    /// Sends bytes one by one, to a peer that may have left. After each CR and each LF comes a
    /// moment in which it can be read by itself; nothing tells that it was, so a busy machine makes
    /// the pieces larger.
    pub async fn try_send_in_pieces(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        for byte in bytes.as_ref() {
            self.try_send([*byte]).await?;
            if matches!(byte, b'\r' | b'\n') {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Ok(())
    }

    /// Waits until the peer has read all that was sent to it: what is sent next is another read
    /// there. For TCP over IPv4 on loopback, whose queues are in `/proc/net/tcp`.
    pub async fn was_read(&self) {
        let Socket::Tcp(stream) = &self.socket else {
            panic!("only TCP has its queues in /proc/net/tcp");
        };
        let addresses = (stream.local_addr(), stream.peer_addr());
        let ours = in_proc(addresses.0.expect("a connected socket has an address"));
        let theirs = in_proc(addresses.1.expect("a connected socket has a peer"));
        let is_read = || {
            let sockets = std::fs::read_to_string("/proc/net/tcp").expect("Linux has it");
            // What has left us and waits there. What waits here, such as an answer, does not count.
            sockets.lines().all(|line| {
                let mut columns = line.split_ascii_whitespace().skip(1);
                let ends = (columns.next().unwrap_or(""), columns.next().unwrap_or(""));
                let (sent, received) = columns
                    .nth(1)
                    .and_then(|queues| queues.split_once(':'))
                    .unwrap_or_default();
                match ends {
                    _ if ends == (&*ours, &*theirs) => sent == "00000000",
                    _ if ends == (&*theirs, &*ours) => received == "00000000",
                    _ => true,
                }
            })
        };
        in_time("the peer to read", async {
            while !is_read() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    /// Says that nothing more will be sent, and goes on reading.
    pub async fn finish_sending(&mut self) {
        let done = match &mut self.socket {
            Socket::Tcp(stream) => stream.shutdown().await,
            Socket::Unix(stream) => stream.shutdown().await,
            Socket::Tls(stream) => stream.shutdown().await,
        };
        done.expect("the peer is still there");
    }

    /// Ends the connection with a reset instead of in order.
    pub fn reset(self) {
        if let Socket::Tcp(stream) = &self.socket {
            socket2::SockRef::from(stream)
                .set_linger(Some(Duration::ZERO))
                .expect("linger can be set");
        }
    }

    /// Makes the window small, so that few unread bytes suffice to stop the sender. Before anything
    /// is read.
    pub fn read_little(&self) {
        if let Socket::Tcp(stream) = &self.socket {
            socket2::SockRef::from(stream)
                .set_recv_buffer_size(4096)
                .expect("a socket has a buffer");
        }
    }

    /// Sends TCP's urgent byte (RFC 9293 section 3.8.5), behind all that was sent before.
    pub async fn send_urgent(&self) {
        let Socket::Tcp(stream) = &self.socket else {
            panic!("only TCP has urgent bytes");
        };
        let socket = socket2::SockRef::from(stream);
        in_time("room for a byte", async {
            while socket.send_out_of_band(b"!").is_err() {
                stream.writable().await.expect("the connection stands");
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Reads once.
    async fn fill(&mut self) -> Result<(), Cut> {
        let buffer = &mut self.buffer;
        // An origin may have to wait as long as its connection stays idle; a client always expects
        // something.
        let patience = if self.counted.is_some() {
            Duration::MAX
        } else {
            PATIENCE
        };
        let read = tokio::time::timeout(patience, async {
            match &mut self.socket {
                Socket::Tcp(stream) => stream.read_buf(buffer).await,
                Socket::Unix(stream) => stream.read_buf(buffer).await,
                Socket::Tls(stream) => stream.read_buf(buffer).await,
            }
        })
        .await;
        match read {
            Ok(Ok(1..)) => Ok(()),
            Ok(Ok(0)) => Err(Cut {
                got: std::mem::take(&mut self.buffer),
                reset: false,
            }),
            Ok(Err(_)) => Err(Cut {
                got: std::mem::take(&mut self.buffer),
                reset: true,
            }),
            Err(_) => panic!(
                "waited {PATIENCE:?} in vain for the peer; unread: {:?}",
                text(&self.buffer)
            ),
        }
    }

    /// Reads up to and with `end`.
    pub async fn until(&mut self, end: &[u8]) -> Result<Vec<u8>, Cut> {
        loop {
            if let Some(at) = self
                .buffer
                .windows(end.len())
                .position(|window| window == end)
            {
                return Ok(self.buffer.drain(..at + end.len()).collect());
            }
            self.fill().await?;
        }
    }

    /// Reads that many bytes.
    pub async fn exactly(&mut self, length: usize) -> Result<Vec<u8>, Cut> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// Reads to the end of the connection.
    pub async fn rest(&mut self) -> Cut {
        loop {
            if let Err(cut) = self.fill().await {
                return cut;
            }
        }
    }

    /// Reads a start line and header fields.
    pub async fn head(&mut self) -> Result<Head, Cut> {
        let raw = self.until(b"\r\n\r\n").await?;
        let all = text(&raw);
        let (start, fields) = all.split_once("\r\n").expect("a head has a line");
        Ok(Head {
            start: start.to_owned(),
            fields: Fields::parse(fields),
            raw,
        })
    }

    /// Reads a chunked body and its trailers. What had come before a cut is in the body, without
    /// chunk framing.
    pub async fn chunked(&mut self, body: &mut Vec<u8>) -> Result<Fields, Cut> {
        loop {
            let line = text(&self.until(b"\r\n").await?);
            let size = line
                .split(';')
                .next()
                .expect("a split has a first part")
                .trim();
            let size = usize::from_str_radix(size, 16)
                .unwrap_or_else(|_| panic!("no chunk size: {line:?}"));
            if size == 0 {
                return self.trailers().await;
            }
            match self.exactly(size).await {
                Ok(chunk) => body.extend(chunk),
                Err(cut) => {
                    body.extend(&cut.got);
                    return Err(cut);
                }
            }
            assert_eq!(self.exactly(2).await?, b"\r\n", "a chunk ends with CRLF");
        }
    }

    async fn trailers(&mut self) -> Result<Fields, Cut> {
        let mut lines = String::new();
        loop {
            let line = self.until(b"\r\n").await?;
            if line == b"\r\n" {
                return Ok(Fields::parse(&lines));
            }
            lines.push_str(&text(&line));
        }
    }
}
