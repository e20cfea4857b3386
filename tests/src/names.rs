//! Name servers: a real one, dnsmasq, whose answers a spec changes while it serves, and one that
//! says what a spec wants it to say, or nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::child::Child;
use crate::{Answer, Origin, eventually, in_time, installed, origin};

/// Types of records (RFC 1035, 3.2.2; RFC 2782; RFC 3596).
pub const A: u16 = 1;
pub const AAAA: u16 = 28;
pub const SRV: u16 = 33;
const CNAME: u16 = 5;

/// Whether dnsmasq is installed.
pub fn installed() -> bool {
    installed::program("dnsmasq", "--version", "dnsmasq-base")
}

/// Of each dnsmasq, at an address of its own: below the ports that the kernel gives to sockets which
/// ask for any.
const PORT: u16 = 1053;

/// A running dnsmasq. Dropping it ends it.
pub struct Dnsmasq {
    process: Child,
    address: Ipv4Addr,
    hosts: PathBuf,
    directory: TempDir,
    options: Vec<String>,
}

impl Dnsmasq {
    /// Starts one that knows these names: lines of a hosts file, `127.0.0.1 a.test`. Answers hold
    /// for `ttl` seconds. `options`: further ones of its command line.
    pub async fn start(hosts: &str, ttl: u32, options: &[&str]) -> Dnsmasq {
        let directory = TempDir::new().expect("there is room for a directory");
        let file = directory.path().join("hosts");
        std::fs::write(&file, hosts).expect("the file is ours");
        let address = loopback();
        let ttl = format!("--local-ttl={ttl}");
        let mut all: Vec<String> = vec![ttl];
        all.extend(options.iter().map(|option| (*option).to_owned()));
        let process = run(address, &file, &directory, &all);
        let mut server = Dnsmasq {
            process,
            address,
            hosts: file,
            directory,
            options: all,
        };
        server.answers().await;
        server
    }

    /// What `addresses` of a `resolver` has it by.
    pub fn address(&self) -> String {
        format!("{}:{PORT}", self.address)
    }

    /// Knows these names from now on. Back once it does.
    pub async fn knows(&mut self, hosts: &str) {
        // One more name tells when it has read them.
        let mark = format!("mark{}.test", fastrand::u64(..));
        let text = format!("{hosts}\n127.0.0.1 {mark}\n");
        std::fs::write(&self.hosts, text).expect("the file is ours");
        self.process.signal(Signal::HUP);
        let address = self.address();
        eventually("dnsmasq to read its hosts", async || {
            has_answer(&address, &mark).await
        })
        .await;
    }

    /// Ends it.
    pub async fn dies(&mut self) {
        self.process.signal(Signal::KILL);
        self.process.ended().await;
    }

    /// Starts it again at the same port.
    pub async fn comes_back(&mut self) {
        self.process = run(self.address, &self.hosts, &self.directory, &self.options);
        self.answers().await;
    }

    /// Answers nothing, and does not refuse either, until [`Dnsmasq::goes_on`].
    pub fn hangs(&self) {
        self.process.signal(Signal::STOP);
    }

    pub fn goes_on(&self) {
        self.process.signal(Signal::CONT);
    }

    async fn answers(&mut self) {
        let address = self.address();
        let process = &mut self.process;
        eventually("dnsmasq to answer", async || {
            assert!(process.runs(), "dnsmasq has ended");
            has_answer(&address, "localhost.mark.test").await
        })
        .await;
    }
}

fn run(address: Ipv4Addr, hosts: &Path, directory: &TempDir, options: &[String]) -> Child {
    let mut command = Command::new("dnsmasq");
    command
        .args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--bind-interfaces",
            "--log-facility=-",
            // What it does not know does not exist: nobody else is asked.
            "--local=/test/",
            "--host-record=localhost.mark.test,127.0.0.1",
            "--pid-file=",
        ])
        .arg(format!("--listen-address={address}"))
        .arg(format!("--port={PORT}"))
        .arg(format!("--addn-hosts={}", hosts.display()))
        .args(options)
        .current_dir(directory.path());
    if rustix::process::getuid().is_root() {
        command.args(["--user=root", "--group=root"]);
    }
    Child::start(command)
}

/// Whether a name server knows an address of a name at this moment.
async fn has_answer(server: &str, name: &str) -> bool {
    let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await else {
        return false;
    };
    if socket.send_to(&question(name, A), server).await.is_err() {
        return false;
    }
    let mut answer = [0; 512];
    // One that has not bound its port yet says nothing.
    let wait = std::time::Duration::from_millis(500);
    match tokio::time::timeout(wait, socket.recv(&mut answer)).await {
        Ok(Ok(length)) => length > 8 && answer[6..8] != [0, 0],
        _ => false,
    }
}

fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(encoded(name));
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    message
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}

/// A question as it came to a [`Scripted`] server.
#[derive(Debug, Clone)]
pub struct Question {
    pub id: u16,
    /// In lower case, without a dot at its end.
    pub name: String,
    pub kind: u16,
    pub over_tcp: bool,
    /// As it stands in the message.
    section: Vec<u8>,
}

/// One record of an answer.
#[derive(Debug, Clone)]
pub struct Record {
    pub name: String,
    pub kind: u16,
    pub ttl: u32,
    pub data: Vec<u8>,
}

impl Record {
    pub fn address(name: &str, address: Ipv4Addr, ttl: u32) -> Record {
        Record {
            name: name.to_owned(),
            kind: A,
            ttl,
            data: address.octets().to_vec(),
        }
    }

    /// An address of IPv4 as one of IPv6 (RFC 4291, 2.5.5.2).
    pub fn mapped(name: &str, address: Ipv4Addr, ttl: u32) -> Record {
        Record {
            name: name.to_owned(),
            kind: AAAA,
            ttl,
            data: address.to_ipv6_mapped().octets().to_vec(),
        }
    }

    /// A server of a service, of weight 1.
    pub fn server(service: &str, priority: u16, port: u16, target: &str) -> Record {
        let numbers = [priority, 1, port].map(u16::to_be_bytes);
        Record {
            name: service.to_owned(),
            kind: SRV,
            ttl: 1,
            data: [numbers.concat(), encoded(target)].concat(),
        }
    }

    pub fn alias(name: &str, of: &str) -> Record {
        Record {
            name: name.to_owned(),
            kind: CNAME,
            ttl: 1,
            data: encoded(of),
        }
    }
}

impl Question {
    fn read(message: &[u8], over_tcp: bool) -> Option<Question> {
        let (mut name, mut at) = (Vec::new(), 12);
        loop {
            let length = usize::from(*message.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            let label = message.get(at..at + length)?;
            name.push(String::from_utf8_lossy(label).to_lowercase());
            at += length;
        }
        let kind = message.get(at..at + 2)?;
        Some(Question {
            id: u16::from_be_bytes([message[0], message[1]]),
            name: name.join("."),
            kind: u16::from_be_bytes([kind[0], kind[1]]),
            over_tcp,
            section: message.get(12..at + 4)?.to_vec(),
        })
    }

    /// An answer with this code and these records; 0 is "no error", 2 "server failure", 3 "no such
    /// name".
    pub fn answer(&self, code: u8, records: &[Record]) -> Vec<u8> {
        let mut message = self.id.to_be_bytes().to_vec();
        message.extend([0x81, 0x80 | code, 0, 1]);
        message.extend((records.len() as u16).to_be_bytes());
        message.extend([0, 0, 0, 0]);
        message.extend(&self.section);
        for record in records {
            message.extend(encoded(&record.name));
            message.extend(record.kind.to_be_bytes());
            message.extend([0, 1]);
            message.extend(record.ttl.to_be_bytes());
            message.extend((record.data.len() as u16).to_be_bytes());
            message.extend(&record.data);
        }
        message
    }

    /// As [`answer`](Question::answer), cut to what a datagram holds where it came as one.
    pub fn answer_as_it_fits(&self, records: &[Record]) -> Vec<u8> {
        let whole = self.answer(0, records);
        if self.over_tcp || whole.len() <= 512 {
            return whole;
        }
        let mut cut = self.answer(0, &[]);
        cut[2] |= 2; // TC: RFC 1035, 4.1.1
        cut
    }
}

/// A name server that answers what a spec says, over UDP and TCP. It ends with the spec.
pub struct Scripted {
    address: SocketAddr,
    asked: watch::Receiver<usize>,
    _serving: JoinSet<()>,
}

impl Scripted {
    /// Answers each question with these messages, in this order; with none it says nothing.
    pub async fn start(
        answer: impl Fn(&Question) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Scripted {
        Scripted::late(Duration::ZERO, answer).await
    }

    /// The same, so much later where it is asked over UDP.
    pub async fn late(
        late: Duration,
        answer: impl Fn(&Question) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Scripted {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await;
            let udp = udp.expect("a loopback port is free");
            let address = udp.local_addr().expect("it is bound");
            if let Ok(tcp) = TcpListener::bind(address).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().expect("it is bound");
        let udp = Arc::new(udp);
        let (counted, asked) = watch::channel(0);
        let (counted, answer) = (Arc::new(counted), Arc::new(answer));
        let mut serving = JoinSet::new();
        let (of_udp, count) = (answer.clone(), counted.clone());
        serving.spawn(async move {
            let mut message = vec![0; 65_536];
            while let Ok((length, peer)) = udp.recv_from(&mut message).await {
                if let Some(question) = Question::read(&message[..length], false) {
                    count.send_modify(|count| *count += 1);
                    let (answers, udp) = (of_udp(&question), udp.clone());
                    let answering = async move {
                        tokio::time::sleep(late).await;
                        for answer in answers {
                            let _ = udp.send_to(&answer, peer).await;
                        }
                    };
                    match late.is_zero() {
                        true => answering.await,
                        false => drop(tokio::spawn(answering)),
                    }
                }
            }
        });
        serving.spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            while let Ok((mut stream, _)) = tcp.accept().await {
                let (answer, count) = (answer.clone(), counted.clone());
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut message = vec![0; length.into()];
                        if stream.read_exact(&mut message).await.is_err() {
                            return;
                        }
                        let Some(question) = Question::read(&message, true) else {
                            return;
                        };
                        count.send_modify(|count| *count += 1);
                        for answer in answer(&question) {
                            let _ = stream.write_u16(answer.len() as u16).await;
                            let _ = stream.write_all(&answer).await;
                        }
                    }
                });
            }
        });
        Scripted {
            address,
            asked,
            _serving: serving,
        }
    }

    /// One that receives questions and never answers.
    pub async fn silent() -> Scripted {
        Scripted::start(|_| Vec::new()).await
    }

    /// What `addresses` of a `resolver` has it by.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Questions so far.
    pub fn questions(&self) -> usize {
        *self.asked.borrow()
    }

    /// Waits until so many questions have come.
    pub async fn is_asked(&self, times: usize) {
        let mut asked = self.asked.clone();
        let wait = asked.wait_for(|asked| *asked >= times);
        let _ = in_time("a question to the name server", wait).await;
    }
}

/// A loopback address that no other spec has: servers of one port are at several addresses.
pub fn loopback() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let number = NEXT.fetch_add(1, SeqCst);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 | (high & 63), low, number)
}

/// Origins at different addresses and the same port, each of which answers with its address alone.
pub async fn origins(number: usize) -> (Vec<Origin>, u16) {
    let mut origins: Vec<Origin> = Vec::new();
    let mut port = 0;
    for _ in 0..number {
        let host = loopback();
        let listener = TcpListener::bind((host, port)).await;
        let listener = listener.expect("nobody else has the address");
        port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        origins.push(origin_at(host, port).await);
    }
    (origins, port)
}

/// An origin at this address, which answers with its host.
async fn origin_at(host: Ipv4Addr, port: u16) -> Origin {
    let name = host.to_string();
    origin::answers_at(&format!("{host}:{port}"), move |_| Answer::ok(&name)).await
}

/// The host of an origin.
pub fn host(origin: &Origin) -> String {
    let (host, _) = origin.address().rsplit_once(':').expect("an address");
    host.to_owned()
}
