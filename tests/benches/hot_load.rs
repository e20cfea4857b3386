//! What it costs to change a policy, or the configuration, while requests come in: swaps, storms of
//! them, memory, start-up.
//!
//! ```sh
//! apt-get install nginx wrk
//! cargo build --release
//! cargo bench -p waypost-tests --bench hot_load -- [--quick] [--results DIR]
//! ```
//!
//! Calm and storm alternate, and the result is their ratio: other load on the machine affects both.
//! nginx is the origin, and in the storm of reloads also the proxy beside us. The load is wrk's, 32
//! connections that are kept. Two minutes, with `--quick` half of one. `WAYPOST_BIN` names another
//! binary than `target/release/waypost`.

#![allow(
    clippy::expect_used,
    reason = "a benchmark reports a broken setup by panicking"
)]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
/// Reloads or swaps of a paced storm in a second: what is seen where endpoints come and go all the
/// time.
const PACE: u32 = 10;

fn main() {
    if let Some(package) = std::env::var_os("CARGO_MANIFEST_DIR") {
        std::env::set_current_dir(Path::new(&package).join("..")).expect("the workspace is there");
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let quick = words.iter().any(|word| word == "--quick");
    let results = words.iter().position(|word| word == "--results");
    let bench = Bench::new();
    let mut report = Report::default();
    bench.swaps(&mut report, if quick { 100 } else { 1000 });
    bench.storms(
        &mut report,
        if quick { 3 } else { 5 },
        if quick { 1 } else { 3 },
    );
    bench.memory(&mut report);
    bench.starts(&mut report);
    if let Some(folder) = results.and_then(|at| words.get(at + 1)) {
        fs::create_dir_all(folder).expect("the folder of the results can be made");
        fs::write(Path::new(folder).join("hot_load.csv"), &report.raw).expect("it can be written");
        fs::write(Path::new(folder).join("hot_load.md"), &report.tables)
            .expect("it can be written");
    }
}

/// Tables for people, and every single value for others.
#[derive(Default)]
struct Report {
    tables: String,
    raw: String,
}

impl Report {
    fn say(&mut self, line: &str) {
        println!("{line}");
        self.tables += line;
        self.tables.push('\n');
    }

    fn keep(&mut self, what: &str, value: f64) {
        let _ = writeln!(self.raw, "{what},{value}");
    }
}

struct Bench {
    _origin: Program,
    origin: u16,
    folder: TempDir,
    waypost: PathBuf,
    /// Stock policies as core modules.
    turns: Vec<u8>,
    hash: Vec<u8>,
}

impl Bench {
    fn new() -> Bench {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let waypost = std::env::var_os("WAYPOST_BIN");
        let waypost = waypost.map_or_else(|| "target/release/waypost".into(), PathBuf::from);
        let waypost = fs::canonicalize(waypost).expect("cargo build --release");
        let origin = free_port();
        let config = nginx(
            folder.path(),
            "origin",
            &format!("server {{ listen 127.0.0.1:{origin}; return 200 x; }}"),
        );
        let read = |name| {
            let file = waypost_tests::plugin(name, "wasm32-unknown-unknown");
            fs::read(file).expect("cargo has built it")
        };
        Bench {
            _origin: Program::start(Command::new("nginx").arg("-c").arg(config), || {
                listens(origin)
            }),
            origin,
            turns: read("round_robin"),
            hash: read("ip_hash"),
            folder,
            waypost,
        }
    }

    /// A proxy with so many plugins, each with an upstream of its own; the first upstream gets all
    /// requests.
    fn proxy(&self, plugins: &[Vec<u8>], workers: usize, cache: &str) -> Proxy {
        let port = free_port();
        let folder = TempDir::new_in(self.folder.path()).expect("a folder can be made");
        let here = folder.path().display();
        let cache = self.folder.path().join(cache);
        let mut file = format!(
            "[server]\nworkers = {workers}\naccess_log = false\nerror_log = \"{here}/error.log\"\nplugin_cache = \"{}\"\n\
             [admin]\naddress = \"unix:{here}/admin\"\n[[listen]]\naddress = \"127.0.0.1:{port}\"\nkeepalive_requests = 100000000\n\
             [[route]]\nproxy = \"u0\"\n",
            cache.display(),
        );
        for (number, plugin) in plugins.iter().enumerate() {
            let path = folder.path().join(format!("{number}.wasm"));
            fs::write(&path, plugin).expect("a file can be written");
            let _ = writeln!(
                file,
                "[plugin.p{number}]\nfile = \"{}\"\ngrants = [\"request\", \"response\", \"exchange\"]\n\
                 [upstream.u{number}]\npolicy = \"p{number}\"\nservers = [\"127.0.0.1:{origin}\", \"localhost:{origin}\"]",
                path.display(),
                origin = self.origin,
            );
        }
        if plugins.is_empty() {
            let _ = writeln!(
                file,
                "[upstream.u0]\nservers = [\"127.0.0.1:{}\"]",
                self.origin
            );
        }
        let config = folder.path().join("waypost.toml");
        fs::write(&config, file).expect("a file can be written");
        let log = folder.path().join("error.log");
        let began = Instant::now();
        let program = Program::start(
            Command::new(&self.waypost).args(["run", "-c"]).arg(config),
            || serves(&log),
        );
        Proxy {
            started_in: began.elapsed(),
            program,
            port,
            folder,
        }
    }

    fn swaps(&self, report: &mut Report, swaps: usize) {
        report.say(
            "| swaps | first, compiled | p50 | p99 | longest | RSS MiB after a tenth | after all |",
        );
        report.say("| --- | --- | --- | --- | --- | --- | --- |");
        for (name, loaded) in [("idle", false), ("under full load", true)] {
            let proxy = self.proxy(&[variant(&self.turns, 0)], 1, "cache-swaps");
            let seed = if loaded { 10 } else { 1 }; // not yet in the cache
            let load = loaded.then(|| wrk(proxy.port, 600));
            let mut times = Vec::new();
            let mut early = 0.0;
            for swap in 0..swaps {
                let began = Instant::now();
                proxy.load(0, &variant(&self.turns, seed + (swap % 2) as u32));
                times.push(began.elapsed());
                report.keep(&format!("swap {name} us"), times[swap].as_secs_f64() * 1e6);
                if swap == swaps / 10 {
                    early = proxy.program.resident();
                }
            }
            drop(load);
            let first = times[0];
            let mut rest = times.split_off(2);
            rest.sort();
            let at = |percent: usize| rest[(rest.len() - 1) * percent / 100];
            report.say(&format!(
                "| {swaps} {name} | {first:.1?} | {:.1?} | {:.1?} | {:.1?} | {early:.1} | {:.1} |",
                at(50),
                at(99),
                at(100),
                proxy.program.resident(),
            ));
        }
    }

    /// Alternates calm and storm, for several kinds of storm.
    fn storms(&self, report: &mut Report, rounds: usize, seconds: u32) {
        report.say("");
        report.say("| storm | requests/s, calm | ratio: median (min to max) | p50, calm / storm | p99, calm / storm | failed requests | changes/s |");
        report.say("| --- | --- | --- | --- | --- | --- | --- |");
        let pace = Duration::from_secs(1) / PACE;
        let storms = [
            ("swaps", pace),
            ("swaps, back to back", Duration::ZERO),
            ("reloads", pace),
            ("reloads, back to back", Duration::ZERO),
        ];
        for (name, pause) in storms {
            let proxy = self.proxy(&[variant(&self.turns, 20)], 1, "cache-storms");
            for number in [20, 21] {
                proxy.load(0, &variant(&self.turns, number));
            }
            let change = |number: u32| match name.starts_with("swaps") {
                true => proxy.load(0, &variant(&self.turns, 20 + number % 2)),
                false => proxy.reload(number),
            };
            storm(
                report,
                &format!("Waypost: {name}"),
                proxy.port,
                rounds,
                seconds,
                pause,
                change,
            );
        }
        let port = free_port();
        let proxy = format!(
            "upstream u {{ server 127.0.0.1:{origin}; server localhost:{origin}; keepalive 32; }}
             server {{ listen 127.0.0.1:{port} reuseport; keepalive_requests 100000000;
                location / {{ proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ''; }} }}",
            origin = self.origin,
        );
        let config = nginx(self.folder.path(), "proxy", &proxy);
        let nginx = Program::start(Command::new("nginx").arg("-c").arg(config), || {
            listens(port)
        });
        let reload = |_| {
            let kill = Command::new("kill")
                .args(["-HUP", &nginx.child.id().to_string()])
                .status();
            assert!(kill.expect("kill runs").success());
        };
        storm(
            report,
            "nginx: reloads",
            port,
            rounds,
            seconds,
            pace,
            reload,
        );
    }

    fn memory(&self, report: &mut Report) {
        report.say("");
        report.say("| workers | scope of the policy | RSS MiB without plugins | with 10 | with 50 | KiB per instance |");
        report.say("| --- | --- | --- | --- | --- | --- |");
        for (module, scope) in [(&self.turns, "process"), (&self.hash, "worker")] {
            for workers in [1, 2] {
                let resident = [0, 10, 50].map(|count| {
                    let plugins: Vec<_> = (0..count)
                        .map(|number| variant(module, 100 + number))
                        .collect();
                    let proxy = self.proxy(&plugins, workers, "cache-memory");
                    let resident = proxy.program.resident();
                    report.keep(
                        &format!("rss {scope} {workers} workers {count} plugins MiB"),
                        resident,
                    );
                    resident
                });
                let [none, ten, fifty] = resident;
                // A fallback each, and the policy: once, or for each worker. Between 10 and 50, so
                // that what only the first plugin costs is left out.
                let own = if scope == "process" { 1 } else { workers };
                let each = (fifty - ten) * 1024.0 / (40 * (1 + own)) as f64;
                report.say(&format!(
                    "| {workers} | {scope} | {none:.1} | {ten:.1} | {fifty:.1} | {each:.0} |"
                ));
            }
        }
    }

    fn starts(&self, report: &mut Report) {
        report.say("");
        report.say("| start with plugins | nothing compiled | compiled before |");
        report.say("| --- | --- | --- |");
        for count in [1, 10, 50] {
            let plugins: Vec<_> = (0..count)
                .map(|number| variant(&self.turns, 1000 * count + number))
                .collect();
            let cold = self.proxy(&plugins, 1, "cache-starts").started_in;
            let warm = (0..5).map(|_| self.proxy(&plugins, 1, "cache-starts").started_in);
            let warm = warm.min().unwrap_or_default();
            report.keep(&format!("start {count} cold ms"), cold.as_secs_f64() * 1e3);
            report.keep(&format!("start {count} warm ms"), warm.as_secs_f64() * 1e3);
            report.say(&format!("| {count} | {cold:.0?} | {warm:.0?} |"));
        }
    }
}

/// Loads a proxy in calm and in storm, in turns, and reports the ratio of each pair.
fn storm(
    report: &mut Report,
    name: &str,
    port: u16,
    rounds: usize,
    seconds: u32,
    pause: Duration,
    mut change: impl FnMut(u32),
) {
    wrk(port, 1).finish(); // connections and caches fill
    let (mut calm, mut stormy, mut changes, mut took) = (Vec::new(), Vec::new(), 0, Duration::ZERO);
    for _ in 0..rounds {
        calm.push(wrk(port, seconds).finish());
        let load = wrk(port, seconds);
        let began = Instant::now();
        let mut next = began;
        while began.elapsed() < Duration::from_secs(u64::from(seconds)) {
            change(changes);
            changes += 1;
            next += pause;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        took += began.elapsed();
        stormy.push(load.finish());
    }
    let mut ratios: Vec<f64> = calm
        .iter()
        .zip(&stormy)
        .map(|(calm, storm)| storm.rate / calm.rate)
        .collect();
    for (calm, storm) in calm.iter().zip(&stormy) {
        for (kind, load) in [("calm", calm), ("storm", storm)] {
            report.keep(&format!("{name} {kind} requests/s"), load.rate);
            report.keep(&format!("{name} {kind} p99 ms"), load.p99);
            report.keep(&format!("{name} {kind} failed"), load.failed as f64);
        }
    }
    ratios.sort_by(f64::total_cmp);
    let middle = |of: fn(&Answer) -> f64, loads: &[Answer]| {
        let mut values: Vec<f64> = loads.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    report.say(&format!(
        "| {name} | {:.0} | {:.2} ({:.2} to {:.2}) | {:.2} / {:.2} ms | {:.2} / {:.2} ms | {} of {} | {:.0} |",
        middle(|load| load.rate, &calm),
        ratios[ratios.len() / 2],
        ratios[0],
        ratios[ratios.len() - 1],
        middle(|load| load.p50, &calm),
        middle(|load| load.p50, &stormy),
        middle(|load| load.p99, &calm),
        middle(|load| load.p99, &stormy),
        stormy.iter().map(|load| load.failed).sum::<u64>(),
        stormy.iter().map(|load| load.requests).sum::<u64>(),
        f64::from(changes) / took.as_secs_f64(),
    ));
}

/// The same module as another content: with a section more that means nothing.
fn variant(module: &[u8], number: u32) -> Vec<u8> {
    let name = format!("{number:08}");
    let mut section = vec![0, 9, 8];
    section.extend(name.as_bytes());
    [module, &section].concat()
}

/// A running Waypost.
struct Proxy {
    program: Program,
    port: u16,
    folder: TempDir,
    started_in: Duration,
}

impl Proxy {
    fn load(&self, plugin: usize, component: &[u8]) {
        self.ask(&format!("/plugins/p{plugin}/load"), component);
    }

    /// Reloads a configuration that is not the same as before.
    fn reload(&self, number: u32) {
        let file = self.folder.path().join("waypost.toml");
        let text = fs::read_to_string(&file).expect("the configuration is there");
        let (head, _) = text.split_once("# reload").unwrap_or((&text, ""));
        let text = format!(
            "{head}# reload\n[[route]]\npath = \"/{number}\"\nproxy = \"u0\"\n[upstream.extra]\nservers = [\"127.0.0.1:{}\"]\n",
            1 + number % 60_000
        );
        fs::write(file, text).expect("it can be written");
        self.ask("/reload", b"");
    }

    fn ask(&self, path: &str, body: &[u8]) {
        let mut socket =
            UnixStream::connect(self.folder.path().join("admin")).expect("the admin api is there");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        socket
            .write_all(&[head.as_bytes(), body].concat())
            .expect("it listens");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it answers");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

/// A program of ours, ended with its value.
struct Program {
    child: Child,
}

impl Program {
    /// Starts it, and waits until it is ready.
    fn start(command: &mut Command, ready: impl Fn() -> bool) -> Program {
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn();
        let program = Program {
            child: child.expect("nginx, wrk and waypost are installed"),
        };
        let began = Instant::now();
        while !ready() {
            assert!(began.elapsed() < PATIENCE, "it does not become ready");
            std::thread::sleep(Duration::from_micros(200));
        }
        program
    }

    /// Resident memory in MiB.
    fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        kib.and_then(|kib| kib.parse::<f64>().ok())
            .expect("the kernel tells")
            / 1024.0
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // TERM, so that nginx ends its workers too.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

/// A load under way.
struct Load(Program);

/// What wrk has to say.
struct Answer {
    rate: f64,
    /// Milliseconds.
    p50: f64,
    p99: f64,
    requests: u64,
    /// Cut or refused connections, timeouts, and answers that are no 2xx.
    failed: u64,
}

fn wrk(port: u16, seconds: u32) -> Load {
    let mut command = Command::new("wrk");
    command.args([
        "-t1",
        "-c32",
        "--latency",
        &format!("-d{seconds}s"),
        &format!("http://127.0.0.1:{port}/"),
    ]);
    Load(Program::start(command.stdout(Stdio::piped()), || true))
}

impl Load {
    fn finish(mut self) -> Answer {
        let mut said = String::new();
        let out = self.0.child.stdout.as_mut().expect("it is piped");
        out.read_to_string(&mut said).expect("wrk speaks");
        let after = |label: &str| {
            let rest = said.split_once(label)?.1.trim_start();
            rest.split_whitespace().next().map(str::to_owned)
        };
        let number = |label: &str| {
            after(label).and_then(|word| word.trim_end_matches(',').parse::<u64>().ok())
        };
        let errors = [
            "connect ",
            "read ",
            "write ",
            "timeout ",
            "Non-2xx or 3xx responses: ",
        ];
        let sockets = said
            .split_once("Socket errors: ")
            .map_or("", |(_, rest)| rest);
        let of_sockets = |label: &str| {
            let rest = sockets.split_once(label).map_or("", |(_, rest)| rest);
            rest.split([',', '\n'])
                .next()
                .and_then(|word| word.trim().parse::<u64>().ok())
        };
        let requests = said
            .lines()
            .find_map(|line| line.trim().split_once(" requests in "))
            .and_then(|(count, _)| count.parse().ok());
        Answer {
            rate: after("Requests/sec:")
                .and_then(|word| word.parse().ok())
                .unwrap_or_else(|| panic!("wrk said {said}")),
            p50: after("50%").map_or(0.0, |word| milliseconds(&word)),
            p99: after("99%").map_or(0.0, |word| milliseconds(&word)),
            requests: requests.unwrap_or(0),
            failed: errors[..4]
                .iter()
                .filter_map(|label| of_sockets(label))
                .sum::<u64>()
                + number(errors[4]).unwrap_or(0),
        }
    }
}

fn milliseconds(word: &str) -> f64 {
    let digits = word.trim_end_matches(char::is_alphabetic);
    let value: f64 = digits.parse().expect("wrk writes a time");
    match &word[digits.len()..] {
        "us" => value / 1e3,
        "s" => value * 1e3,
        _ => value,
    }
}

/// Writes a configuration of nginx, in the foreground with one worker.
fn nginx(folder: &Path, name: &str, http: &str) -> PathBuf {
    let here = folder.display();
    let text = format!(
        "daemon off; worker_processes 1; pid {here}/{name}.pid; error_log /dev/null;
         events {{ worker_connections 4096; }}
         http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {here}/{name}-1; proxy_temp_path {here}/{name}-2;
            fastcgi_temp_path {here}/{name}-3; uwsgi_temp_path {here}/{name}-4; scgi_temp_path {here}/{name}-5; {http} }}"
    );
    let file = folder.join(format!("{name}.conf"));
    fs::write(&file, text).expect("a file can be written");
    file
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Whether Waypost has said so.
fn serves(log: &Path) -> bool {
    fs::read_to_string(log).is_ok_and(|said| said.contains("listening on"))
}

fn free_port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    socket.local_addr().expect("it is bound").port()
}
