//! What it costs to ask ten thousand endpoints whether they are well, over kept connections.
//!
//! ```sh
//! cargo build --release
//! ulimit -n 20000
//! cargo bench -p waypost-tests --bench health_checks -- [--quick] [--results DIR]
//! ```
//!
//! The endpoints are addresses of 127.0.0.0/8, all of one listener in this process, which answers
//! `200` to everything. Counted is the processor time of the proxy alone, all its threads, by
//! `/proc`; no request is sent to it. Two minutes, with `--quick` half of one. `WAYPOST_BIN` names
//! another binary than `target/release/waypost`.

#![allow(
    clippy::expect_used,
    reason = "a benchmark reports a broken setup by panicking"
)]

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use waypost_tests::Child;

const ENDPOINTS: u32 = 10_000;
const INTERVAL: Duration = Duration::from_secs(5);
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok";

fn main() {
    if let Some(package) = std::env::var_os("CARGO_MANIFEST_DIR") {
        std::env::set_current_dir(Path::new(&package).join("..")).expect("the workspace is there");
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let quick = words.iter().any(|word| word == "--quick");
    let results = words.iter().position(|word| word == "--results");
    let span = Duration::from_secs(if quick { 20 } else { 60 });
    raise_descriptors();
    let (answered, port) = listen();
    let mut raw = String::from("what,seconds,probes,processor_seconds\n");
    let mut table = String::from("| | probes/s | of a core | per probe |\n|---|---|---|---|\n");
    for (what, check) in [("without checks", ""), ("over kept connections", CHECK)] {
        let proxy = Proxy::start(port, check);
        // Every endpoint has been asked twice, and has its connection.
        let warm = match check.is_empty() {
            true => INTERVAL / 5,
            false => INTERVAL * 3,
        };
        std::thread::sleep(warm);
        let (began, used, before) = (
            Instant::now(),
            proxy.process.cpu_time(),
            answered.load(Relaxed),
        );
        std::thread::sleep(span);
        let probes = answered.load(Relaxed) - before;
        let (took, used) = (began.elapsed(), proxy.process.cpu_time() - used);
        #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
        let count = probes as f64;
        let share = used.as_secs_f64() / took.as_secs_f64() * 100.0;
        let each = match probes {
            0 => "-".to_owned(),
            _ => format!("{:.1} µs", used.as_secs_f64() / count * 1e6),
        };
        let rate = count / took.as_secs_f64();
        let _ = writeln!(table, "| {what} | {rate:.0} | {share:.2} % | {each} |");
        let _ = writeln!(
            raw,
            "{what},{:.3},{probes},{:.3}",
            took.as_secs_f64(),
            used.as_secs_f64()
        );
    }
    println!("{table}");
    if let Some(folder) = results.and_then(|at| words.get(at + 1)) {
        fs::create_dir_all(folder).expect("the folder of the results can be made");
        let folder = Path::new(folder);
        fs::write(folder.join("health_checks.csv"), &raw).expect("it can be written");
        fs::write(folder.join("health_checks.md"), &table).expect("it can be written");
    }
}

const CHECK: &str = "health_check = { path = \"/health\", interval = \"5s\" }";

/// Each endpoint has a connection here and one in the proxy, which inherits the limit and keeps
/// connections only while they are half of what it may have open.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("a process may raise its limit");
    let needed = u64::from(ENDPOINTS) * 19 / 10;
    assert!(
        limit.maximum.is_none_or(|most| most > needed),
        "ulimit -n {needed}"
    );
}

/// A listener that answers everything on a thread of its own: what it has answered, and its port.
fn listen() -> (Arc<AtomicU64>, u16) {
    let answered = Arc::new(AtomicU64::new(0));
    let counter = answered.clone();
    let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    listener.set_nonblocking(true).expect("a socket can be");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("an event loop").block_on(async {
            let listener = TcpListener::from_std(listener).expect("it is not blocking");
            loop {
                let (mut stream, _) = listener.accept().await.expect("a descriptor");
                let counter = counter.clone();
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    // A probe comes whole.
                    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                        counter.fetch_add(1, Relaxed);
                        if stream.write_all(ANSWER).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
    });
    (answered, port)
}

/// The proxy; ends when dropped.
struct Proxy {
    process: Child,
    _folder: TempDir,
}

impl Proxy {
    fn start(port: u16, check: &str) -> Proxy {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let mut servers = String::new();
        for number in 0..ENDPOINTS {
            let [_, _, high, low] = number.to_be_bytes();
            let address = SocketAddr::from(([127, 1, high, low], port));
            let _ = writeln!(servers, "  \"{address}\",");
        }
        let config = format!(
            "[server]\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
             [upstream.many]\nservers = [\n{servers}]\n{check}\n[[route]]\nproxy = \"many\"\n"
        );
        let file = folder.path().join("waypost.toml");
        fs::write(&file, config).expect("the folder is ours");
        let binary = std::env::var_os("WAYPOST_BIN");
        let binary = binary.map_or_else(|| "target/release/waypost".into(), PathBuf::from);
        let mut command = Command::new(fs::canonicalize(binary).expect("cargo build --release"));
        command.arg("run").arg("-c").arg(&file);
        Proxy {
            process: Child::start(command),
            _folder: folder,
        }
    }
}
