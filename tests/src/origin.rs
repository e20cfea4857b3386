//! The servers behind the proxy: well-behaved ones, ones that misbehave on cue, and addresses
//! without a server.
//!
//! An origin records every request that reached it and counts its connections, so that a spec can
//! tell what the proxy did from the side that it did it to. It lives in the spec's own runtime and
//! ends with it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::{TlsAcceptor, TlsStream};

use crate::answer::{After, Answer, Gate};
use crate::in_time;
use crate::tls::Handshake;
use crate::wire::{Cut, Fields, Wire};

/// A server for the proxy to send requests to.
pub struct Origin {
    address: String,
    record: Arc<Record>,
    accepting: Option<AbortHandle>,
    /// A socket that only has to exist: it is bound but refuses, or listens but never accepts.
    _held: Vec<Socket>,
}

pub(crate) struct Record {
    requests: watch::Sender<Vec<Request>>,
    open: watch::Sender<usize>,
    opened: AtomicUsize,
}

/// A request as it reached an origin.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Counts the origin's requests from 0.
    pub number: usize,
    /// Counts the origin's connections from 0.
    pub connection: usize,
    pub method: String,
    pub target: String,
    pub version: String,
    pub headers: Fields,
    pub body: Vec<u8>,
    pub trailers: Fields,
    /// The head as it came.
    pub raw_head: Vec<u8>,
    /// What its connection's handshake came to, if there was one.
    pub tls: Option<Handshake>,
}

impl Request {
    /// The value of a header, empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_default()
    }
}

/// An origin that answers every request with this body.
pub async fn says(body: &str) -> Origin {
    let body = body.to_owned();
    answers(move |_| Answer::ok(&body)).await
}

/// An origin that answers every request with its own address, which is also in `X-Origin`.
pub async fn named() -> Origin {
    let (listener, name) = listening().await;
    answer_on(Listener::Tcp(listener), name.clone(), move |_| {
        Answer::ok(&name).header("X-Origin", &name)
    })
}

/// An origin that reads each request whole and then does what `answer` says.
pub async fn answers(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Origin {
    let (listener, address) = listening().await;
    answer_on(Listener::Tcp(listener), address, answer)
}

/// An address at which nothing listens, and which stays free until its owner listens there: the
/// host is one of the loopback's that no other spec uses, so that no port of theirs can be this
/// one.
pub fn reserved() -> String {
    static RESERVED: AtomicU8 = AtomicU8::new(1);
    let number = RESERVED.fetch_add(1, Ordering::Relaxed);
    let [.., high, low] = std::process::id().to_be_bytes();
    let host = Ipv4Addr::new(127, 128 | high, low, number);
    let listener = std::net::TcpListener::bind((host, 0)).expect("a loopback port is free");
    let address = listener.local_addr();
    address.expect("a bound socket has an address").to_string()
}

/// An origin that answers `/held` once the gate is open, and everything else with `hello` at once.
pub async fn holds(gate: &Gate) -> Origin {
    let held = gate.clone();
    answers(move |request| match request.target.as_str() {
        "/held" => Answer::ok("held").when(&held),
        _ => Answer::ok("hello"),
    })
    .await
}

/// As [`answers`], at an address that is [`reserved`], or where another origin was.
pub async fn answers_at(
    address: &str,
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> Origin {
    // A child process that another spec starts at this moment has the socket that was there before
    // until it runs its program.
    let bind = async {
        loop {
            match TcpListener::bind(address).await {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                bound => return bound,
            }
        }
    };
    let listener = in_time("the address to be free again", bind).await;
    let listener = listener.expect("it is a loopback address");
    answer_on(Listener::Tcp(listener), address.to_owned(), answer)
}

/// A free loopback port, and its address.
async fn listening() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a loopback port is free");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    (listener, address.to_string())
}

/// As [`answers`], with TLS.
pub async fn answers_with(
    tls: ServerConfig,
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> Origin {
    let (listener, address) = listening().await;
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    answer_on(Listener::Tls(listener, acceptor, None), address, answer)
}

/// As [`answers_with`], but no handshake goes on before the gate is open.
pub async fn answers_with_once(
    gate: &Gate,
    tls: ServerConfig,
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> Origin {
    let (listener, address) = listening().await;
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = Listener::Tls(listener, acceptor, Some(gate.clone()));
    answer_on(listener, address, answer)
}

/// As [`says`], on a unix socket.
pub fn says_on(path: &Path, body: &str) -> Origin {
    let listener = UnixListener::bind(path).expect("the path is free");
    let body = body.to_owned();
    answer_on(
        Listener::Unix(listener),
        format!("unix:{}", path.display()),
        move |_| Answer::ok(&body),
    )
}

fn answer_on(
    listener: Listener,
    address: String,
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> Origin {
    let record = Record::new();
    let answer = Arc::new(answer);
    let recorded = record.clone();
    Origin::start(listener, address, record, move |wire, number| {
        converse(wire, number, recorded.clone(), answer.clone())
    })
}

/// An origin that does as the function says with each connection: the wire, and the connection's
/// number from 0. It records no requests.
pub async fn speaks<F: Future<Output = ()> + Send + 'static>(
    converse: impl Fn(Wire, usize) -> F + Send + Sync + 'static,
) -> Origin {
    let (listener, address) = listening().await;
    Origin::start(Listener::Tcp(listener), address, Record::new(), converse)
}

/// As [`speaks`], at a loopback address of its own choice, where nothing listens yet.
pub async fn speaks_at<F: Future<Output = ()> + Send + 'static>(
    address: &str,
    converse: impl Fn(Wire, usize) -> F + Send + Sync + 'static,
) -> Origin {
    let listener = TcpListener::bind(address).await;
    let listener = Listener::Tcp(listener.expect("the address is free again"));
    Origin::start(listener, address.to_owned(), Record::new(), converse)
}

/// As [`speaks`], with TLS.
pub async fn speaks_with<F: Future<Output = ()> + Send + 'static>(
    tls: ServerConfig,
    converse: impl Fn(Wire, usize) -> F + Send + Sync + 'static,
) -> Origin {
    let (listener, address) = listening().await;
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = Listener::Tls(listener, acceptor, None);
    Origin::start(listener, address, Record::new(), converse)
}

/// An address that refuses every connection. The port stays reserved, so that no other program can
/// listen there.
pub fn refuses() -> Origin {
    let socket = bound();
    Origin::held(
        &socket
            .local_addr()
            .expect("bound")
            .as_socket()
            .expect("an IP address"),
        vec![socket],
    )
}

/// An address where connections neither succeed nor fail: the backlog is full, and no program
/// accepts.
pub fn hangs_at_connect() -> Origin {
    hangs_at_connect_to((Ipv4Addr::LOCALHOST, 0).into())
}

/// As [`hangs_at_connect`], at this address.
pub fn hangs_at_connect_to(address: SocketAddr) -> Origin {
    let socket = bound_to(address);
    socket.listen(0).expect("a bound socket listens");
    let address = socket.local_addr().expect("a bound socket has an address");
    let mut held = vec![socket];
    // Linux queues one more than it was asked to, and drops the SYNs of all others.
    for _ in 0..2 {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        filler
            .set_nonblocking(true)
            .expect("a socket can be non-blocking");
        // Under way is all that it needs to be.
        let _ = filler.connect(&address);
        held.push(filler);
    }
    Origin::held(&address.as_socket().expect("an IP address"), held)
}

fn bound() -> Socket {
    bound_to((Ipv4Addr::LOCALHOST, 0).into())
}

fn bound_to(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&address.into())
        .expect("a loopback port is free");
    socket
}

impl Origin {
    /// `127.0.0.1:1234` or `unix:/path`, as the configuration wants it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A line of `servers` with parameters: `origin.with("weight = 5")`.
    pub fn with(&self, parameters: &str) -> String {
        let comma = if parameters.is_empty() { "" } else { ", " };
        format!("{{ address = \"{}\"{comma}{parameters} }}", self.address)
    }

    /// The requests that reached it, in order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.record.requests.borrow().clone()
    }

    /// The only request that reached it.
    pub fn request(&self) -> Request {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "requests: {requests:?}");
        requests.remove(0)
    }

    /// Waits until that many requests reached it in all.
    pub async fn received(&self, number: usize) {
        let mut requests = self.record.requests.subscribe();
        let arrived = requests.wait_for(|requests| requests.len() >= number);
        in_time(&format!("request {number} at {}", self.address), arrived)
            .await
            .expect("the record lives");
    }

    /// How many connections were opened to it in all.
    pub fn connections(&self) -> usize {
        self.record.opened.load(Ordering::SeqCst)
    }

    /// How many connections to it are open, as far as it has noticed: one that waits without
    /// reading notices nothing.
    pub fn open(&self) -> usize {
        *self.record.open.borrow()
    }

    /// Waits until that many connections to it are open.
    pub async fn has_open(&self, number: usize) {
        let mut open = self.record.open.subscribe();
        let what = format!(
            "{number} open connections at {}, there are {}",
            self.address,
            self.open()
        );
        in_time(&what, open.wait_for(|open| *open == number))
            .await
            .expect("the record lives");
    }

    /// Goes away as a killed process does: the port refuses, connections under way are gone.
    pub async fn dies(&mut self) {
        self.accepting.take().expect("it lives").abort();
        self.has_open(0).await;
    }

    fn held(address: &SocketAddr, held: Vec<Socket>) -> Origin {
        Origin {
            address: address.to_string(),
            record: Record::new(),
            accepting: None,
            _held: held,
        }
    }

    pub(crate) fn start<F: Future<Output = ()> + Send + 'static>(
        listener: Listener,
        address: String,
        record: Arc<Record>,
        converse: impl Fn(Wire, usize) -> F + Send + Sync + 'static,
    ) -> Origin {
        let counts = record.clone();
        let accepting = tokio::spawn(async move {
            // Dropping the set ends all conversations: that is how an origin dies.
            let mut conversations = JoinSet::new();
            loop {
                let mut wire = listener.accept().await;
                let number = counts.opened.fetch_add(1, Ordering::SeqCst);
                counts.open.send_modify(|open| *open += 1);
                wire.counted = Some(Counted(counts.clone()));
                conversations.spawn(converse(wire, number));
            }
        });
        Origin {
            address,
            record,
            accepting: Some(accepting.abort_handle()),
            _held: Vec::new(),
        }
    }
}

pub(crate) enum Listener {
    Tcp(TcpListener),
    /// The handshakes wait for the gate.
    Tls(TcpListener, TlsAcceptor, Option<Gate>),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> Wire {
        match self {
            Listener::Tcp(listener) => {
                Wire::tcp(listener.accept().await.expect("a listener accepts").0)
            }
            Listener::Tls(listener, acceptor, gate) => loop {
                let (stream, _) = listener.accept().await.expect("a listener accepts");
                if let Some(gate) = gate {
                    gate.opened().await;
                }
                // A client that breaks the handshake off is no connection.
                if let Ok(stream) = acceptor.accept(stream).await {
                    return Wire::tls(TlsStream::Server(stream));
                }
            },
            Listener::Unix(listener) => {
                Wire::unix(listener.accept().await.expect("a listener accepts").0)
            }
        }
    }
}

impl Record {
    /// Counts a request, and keeps it.
    pub(crate) fn add(&self, request: &mut Request) {
        self.requests.send_modify(|requests| {
            request.number = requests.len();
            requests.push(request.clone());
        });
    }

    pub(crate) fn new() -> Arc<Record> {
        Arc::new(Record {
            requests: watch::Sender::default(),
            open: watch::Sender::default(),
            opened: AtomicUsize::new(0),
        })
    }
}

/// One open connection in an origin's count.
pub(crate) struct Counted(Arc<Record>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// The conversation of a well-behaved server, but for what the answers say.
async fn converse(
    mut wire: Wire,
    connection: usize,
    record: Arc<Record>,
    answer: Arc<impl Fn(&Request) -> Answer>,
) {
    // A connection that ends before a request is complete is no request.
    while let Ok(request) = read(&mut wire, connection, &record).await {
        let answer = answer(&request);
        tokio::time::sleep(answer.delay).await;
        if let Some(gate) = &answer.gate {
            tokio::select! {
                () = gate.opened() => {}
                _ = wire.rest() => return, // the proxy left
            }
        }
        let mut bytes = answer.head;
        if request.method != "HEAD" {
            bytes.extend(answer.body);
        }
        if wire.try_send(bytes).await.is_err() {
            return;
        }
        match answer.after {
            After::Keep => {}
            After::Close => return,
            After::Reset => return wire.reset(),
            After::Hang => {
                wire.rest().await;
                return;
            }
        }
    }
}

async fn read(wire: &mut Wire, connection: usize, record: &Record) -> Result<Request, Cut> {
    let head = wire.head().await?;
    let mut parts = head.start.split(' ').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    let mut request = Request {
        method: part(),
        target: part(),
        version: part(),
        connection,
        tls: wire.handshake(),
        ..Request::default()
    };
    if head
        .fields
        .get("Transfer-Encoding")
        .is_some_and(|coding| coding == "chunked")
    {
        request.trailers = wire.chunked(&mut request.body).await?;
    } else if let Some(length) = head.fields.get("Content-Length") {
        request.body = wire
            .exactly(length.parse().expect("a length is a number"))
            .await?;
    }
    (request.headers, request.raw_head) = (head.fields, head.raw);
    record.add(&mut request);
    Ok(request)
}
