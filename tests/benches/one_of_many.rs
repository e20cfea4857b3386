//! What a change of one server costs among many upstreams, thread by thread, in processor time: so
//! that other load on the machine hardly matters.
//!
//! ```sh
//! cargo build --release
//! cargo bench -p waypost-tests --bench one_of_many -- [--results DIR]
//! ```
//!
//! 1,000 upstreams of 10 servers, each with a route, two workers, no load: the weight of one server is
//! changed 200 times. The same is done with 10 upstreams, for what a change costs by itself. Half a
//! minute. `WAYPOST_BIN` names another binary than `target/release/waypost`.

#![allow(
    clippy::expect_used,
    reason = "a benchmark reports a broken setup by panicking"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const CHANGES: u32 = 200;
/// For the start of the process.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let words: Vec<String> = std::env::args().skip(1).collect();
    let results = words.iter().position(|word| word == "--results");
    let results = results.and_then(|at| words.get(at + 1));
    let binary = std::env::var_os("WAYPOST_BIN").map(PathBuf::from);
    let binary = binary.unwrap_or_else(|| root.join("target/release/waypost"));
    let mut report = String::from("upstreams,thread,microseconds\n");
    for upstreams in [10, 1000] {
        for (thread, microseconds) in measured(&binary, upstreams) {
            println!("{upstreams:>5} upstreams, {thread}: {microseconds:.0} us");
            let _ = writeln!(report, "{upstreams},{thread},{microseconds:.1}");
        }
    }
    if let Some(folder) = results {
        let folder = root.join(folder);
        std::fs::create_dir_all(&folder).expect("the folder of the results can be made");
        std::fs::write(folder.join("one_of_many.csv"), report).expect("it can be written");
    }
}

/// Ends the process when it is dropped.
struct Proxy {
    process: Child,
    socket: PathBuf,
    _directory: TempDir,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Microseconds of processor time for one change, by thread, and the median of what a command waits.
fn measured(binary: &Path, upstreams: u32) -> BTreeMap<String, f64> {
    let proxy = start(binary, upstreams);
    change(&proxy.socket, upstreams, 2);
    let before = processor_time(proxy.process.id());
    let mut waits = Vec::new();
    for number in 0..CHANGES {
        let began = Instant::now();
        change(&proxy.socket, upstreams, 3 + number % 2);
        waits.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let after = processor_time(proxy.process.id());
    let spent = after.into_iter().map(|(thread, nanoseconds)| {
        let before = before.get(&thread).copied().unwrap_or_default();
        let microseconds = nanoseconds.saturating_sub(before) as f64 / 1e3;
        (thread, microseconds / f64::from(CHANGES))
    });
    let mut spent: BTreeMap<String, f64> = spent.filter(|(_, spent)| *spent >= 0.5).collect();
    waits.sort_by(f64::total_cmp);
    spent.insert("a command waits".to_owned(), waits[waits.len() / 2]);
    spent
}

fn start(binary: &Path, upstreams: u32) -> Proxy {
    let directory = TempDir::new().expect("there is room for a directory");
    let mut text = "[server]\nworkers = 2\naccess_log = false\n\
                    [[listen]]\naddress = \"127.0.0.1:0\"\n\
                    [admin]\naddress = \"unix:admin.sock\"\n"
        .replace(
            "admin.sock",
            &directory.path().join("admin.sock").display().to_string(),
        );
    for upstream in 0..upstreams {
        let servers = (1..=10)
            .map(|server| format!("\"10.{}.{}.{server}:80\"", upstream / 250, upstream % 250));
        let servers = servers.collect::<Vec<_>>().join(", ");
        let _ = write!(
            text,
            "[upstream.u{upstream}]\nservers = [{servers}]\n\
             [[route]]\npath = \"/{upstream}/\"\nproxy = \"u{upstream}\"\n"
        );
    }
    let file = directory.path().join("waypost.toml");
    std::fs::write(&file, text).expect("the directory is ours");
    let mut command = Command::new(binary);
    command.arg("run").arg("-c").arg(&file);
    command.stderr(Stdio::null()).stdout(Stdio::null());
    let proxy = Proxy {
        process: command.spawn().expect("the proxy can be started"),
        socket: directory.path().join("admin.sock"),
        _directory: directory,
    };
    let began = Instant::now();
    while UnixStream::connect(&proxy.socket).is_err() {
        assert!(began.elapsed() < PATIENCE, "the proxy does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    proxy
}

/// Gives one server of an upstream in the middle another weight.
fn change(socket: &Path, upstreams: u32, weight: u32) {
    let middle = upstreams / 2;
    let (name, server) = (
        format!("u{middle}"),
        format!("10.{}.{}.5:80", middle / 250, middle % 250),
    );
    let body = format!("{{\"weight\": {weight}}}");
    let request = format!(
        "PATCH /upstreams/{name}/servers/{server} HTTP/1.1\r\nHost: localhost\r\n\
         Connection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = UnixStream::connect(socket).expect("the proxy listens");
    stream
        .write_all(request.as_bytes())
        .expect("the proxy reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("the proxy answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Nanoseconds on a processor so far, by kind of thread; those of workers, which all do the same, of
/// the first of them (`/proc/PID/task/TID/schedstat`, proc(5)).
fn processor_time(process: u32) -> BTreeMap<String, u64> {
    let mut times = BTreeMap::new();
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("the process runs");
    for task in tasks.flatten() {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name));
        let (Ok(name), Ok(schedule)) = (read("comm"), read("schedstat")) else {
            continue; // it has ended
        };
        let kind = match name.trim() {
            "waypost" => "the control plane",
            "worker-0" => "a worker",
            name if name.starts_with("worker-") => continue,
            name if name.starts_with("tokio") => "threads that may block",
            name => name,
        };
        let first = schedule.split(' ').next().unwrap_or_default();
        let time = first.parse::<u64>().unwrap_or_default();
        *times.entry(kind.to_owned()).or_default() += time;
    }
    times
}
