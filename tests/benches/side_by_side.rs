//! Waypost beside nginx, HAProxy and nginx with a Lua balancer: what a request costs, in processor time and memory.
//!
//! Two proxies with one worker each share core 0 and are loaded **at the same time**; `wrk` and the origins have core 1.
//! What counts is the ratio of processor time per request: whatever else the machine does meets both proxies, so the
//! ratio is steady where throughput is not. Throughput and latency of a pair tell only how the two shared one core.
//!
//! ```sh
//! apt-get install nginx haproxy wrk libnginx-mod-http-lua lua-resty-core
//! cargo build --release
//! cargo bench -p waypost-tests --bench side_by_side -- [--quick] [--only WORD] [--requests N] [--results DIR]
//! ```
//!
//! Linux with two cores; four minutes, with `--quick` one. `WAYPOST_BIN` names another binary than
//! `target/release/waypost`. `--only` takes the scenarios whose name contains the word; `memory` is one of them.
//! `--results` writes `raw.csv`, every single round, and `tables.md`. One file and only `std`, so that it is read in one go
//! and compiles in seconds. The other proxies are set up for speed: as few limits, files and copies as they allow.

#![allow(
    clippy::expect_used,
    reason = "a benchmark reports a broken setup by panicking"
)]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const PROXY_CORE: &str = "0";
const LOAD_CORE: &str = "1";
/// Connections of each `wrk`.
const CONNECTIONS: u32 = 32;
/// Idle connections that memory is divided by.
const IDLE_CONNECTIONS: usize = 2000;
/// Kernel clock ticks per second in `/proc/PID/stat`: 100 on every Linux (`USER_HZ`).
const TICKS: f64 = 100.0;
const PATIENCE: Duration = Duration::from_secs(10);

/// One comparison: what is asked for, how the servers are chosen, and beside whom.
struct Scenario {
    name: &'static str,
    opponent: Opponent,
    path: &'static str,
    access_log: bool,
    /// For Waypost: the value of `policy`.
    policy: &'static str,
    /// For nginx: the directive in `upstream`.
    directive: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Opponent {
    Nginx,
    Haproxy,
    NginxLua,
}

impl Opponent {
    fn name(self) -> &'static str {
        match self {
            Opponent::Nginx => "nginx",
            Opponent::Haproxy => "haproxy",
            Opponent::NginxLua => "nginx-lua",
        }
    }
}

const TURNS: &str = "\"round_robin\"";

const fn plain(name: &'static str, opponent: Opponent, path: &'static str) -> Scenario {
    Scenario {
        name,
        opponent,
        path,
        access_log: false,
        policy: TURNS,
        directive: "",
    }
}

const fn policy(name: &'static str, policy: &'static str, directive: &'static str) -> Scenario {
    Scenario {
        policy,
        directive,
        ..plain(name, Opponent::Nginx, "/small")
    }
}

const SCENARIOS: [Scenario; 11] = [
    plain("small", Opponent::Nginx, "/small"),
    Scenario {
        access_log: true,
        ..plain("small, access log", Opponent::Nginx, "/small")
    },
    plain("10 KB", Opponent::Nginx, "/10k"),
    plain("1 MB", Opponent::Nginx, "/1m"),
    plain("small", Opponent::Haproxy, "/small"),
    plain("1 MB", Opponent::Haproxy, "/1m"),
    plain("small", Opponent::NginxLua, "/small"),
    policy("least_conn", "\"least_conn\"", "least_conn;"),
    policy("ip_hash", "\"ip_hash\"", "ip_hash;"),
    Scenario {
        path: "/small?N",
        ..policy(
            "hash consistent",
            r#"{ plugin = "hash", key = "$request_uri", consistent = true }"#,
            "hash $request_uri consistent;",
        )
    },
    policy(
        "random two",
        r#"{ plugin = "random", two = "least_conn" }"#,
        "random two least_conn;",
    ),
];

struct Options {
    quick: bool,
    only: Option<String>,
    requests: Option<u64>,
    results: Option<PathBuf>,
}

impl Options {
    fn read() -> Options {
        let mut options = Options {
            quick: false,
            only: None,
            requests: None,
            results: None,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || words.next().expect("an option that takes a value has one");
            match word.as_str() {
                "--bench" => {} // said by cargo
                "--quick" => options.quick = true,
                "--only" => options.only = Some(value()),
                "--requests" => {
                    options.requests = Some(value().parse().expect("--requests takes a number"));
                }
                "--results" => options.results = Some(value().into()),
                other => panic!("unknown option {other}"),
            }
        }
        options
    }

    fn wants(&self, name: &str, opponent: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|word| name.contains(word) || opponent.contains(word))
    }
}

fn main() {
    if let Some(package) = std::env::var_os("CARGO_MANIFEST_DIR") {
        let root = Path::new(&package)
            .parent()
            .expect("the package is in a workspace");
        std::env::set_current_dir(root).expect("the workspace can be entered");
    }
    let options = Options::read();
    let (rounds, seconds) = if options.quick { (3, 1) } else { (5, 3) };
    let bench = Bench::new();
    let mut report = Report::default();

    report.say("| scenario | beside | Waypost µs (user + system) | other µs (user + system) | ratio: median (min to max) \
                | requests/s | p50 ms | p99 ms | RSS MiB |");
    report.say("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for scenario in SCENARIOS
        .iter()
        .filter(|s| options.wants(s.name, s.opponent.name()))
    {
        let Some(other) = bench.start_opponent(scenario) else {
            report.say(&format!(
                "| {} | {} | not available |",
                scenario.name,
                scenario.opponent.name()
            ));
            continue;
        };
        let waypost = bench.start_waypost(scenario);
        bench.measure(&waypost, &other, scenario.path, 1, false); // caches, pools and tables fill
        let pairs: Vec<[Round; 2]> = (0..rounds)
            .map(|round| bench.measure(&waypost, &other, scenario.path, seconds, round % 2 == 1))
            .collect();
        report.add(scenario, &pairs);
    }
    if options.wants("memory", "memory") {
        let requests = options
            .requests
            .unwrap_or(if options.quick { 50_000 } else { 500_000 });
        memory(&bench, &mut report, requests);
    }
    if let Some(folder) = &options.results {
        fs::create_dir_all(folder).expect("the folder of the results can be made");
        fs::write(folder.join("raw.csv"), &report.raw).expect("raw.csv can be written");
        fs::write(folder.join("tables.md"), &report.tables).expect("tables.md can be written");
    }
}

/// Resident memory per idle connection, and its growth over many requests.
fn memory(bench: &Bench, report: &mut Report, requests: u64) {
    let scenario = &SCENARIOS[0];
    report.say("");
    report.say(&format!(
        "| proxy | RSS MiB at start | KiB per idle connection | MiB after a tenth of the requests | after all {requests} |"
    ));
    report.say("| --- | --- | --- | --- | --- |");
    let proxies = [
        Some(bench.start_waypost(scenario)),
        bench.start_opponent(scenario),
    ];
    for proxy in proxies.iter().flatten() {
        drop(proxy.ask("/small"));
        let start = proxy.rss();
        let idle: Vec<TcpStream> = (0..IDLE_CONNECTIONS)
            .map_while(|_| proxy.ask("/small"))
            .collect();
        let each = proxy.rss().saturating_sub(start) as f64 / idle.len() as f64;
        let opened = idle.len();
        drop(idle);

        let (mut done, mut early) = (0, 0);
        let begun = Instant::now();
        while done < requests && begun.elapsed() < Duration::from_secs(60) {
            done += Load::start(&bench.folder.0, proxy.port, "/small", 1)
                .finish()
                .requests;
            if early == 0 && done >= requests / 10 {
                early = proxy.rss();
            }
        }
        let end = proxy.rss();
        report.say(&format!(
            "| {} | {:.1} | {each:.2} ({opened} connections) | {:.1} | {:.1} ({done} requests) |",
            proxy.name,
            mib(start),
            mib(early),
            mib(end),
        ));
        let name = proxy.name;
        let _ = writeln!(report.raw, "memory,,0,{name} start,0,0,0,0,0,0,0,0,{start}");
        let _ = writeln!(
            report.raw,
            "memory,,0,{name} per idle connection,{opened},0,0,0,0,0,0,0,{each:.2}"
        );
        let _ = writeln!(
            report.raw,
            "memory,,0,{name} tenth,{},0,0,0,0,0,0,0,{early}",
            requests / 10
        );
        let _ = writeln!(
            report.raw,
            "memory,,0,{name} end,{done},0,0,0,0,0,0,0,{end}"
        );
    }
}

/// A folder of our own, gone at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The origins, and where everything is kept. Fields drop in order: programs end before their folder goes.
struct Bench {
    _origin: Program,
    ports: [u16; 3],
    folder: Folder,
    waypost: PathBuf,
}

impl Bench {
    fn new() -> Bench {
        let path = std::env::temp_dir().join(format!("waypost-bench-{}", std::process::id()));
        fs::create_dir_all(path.join("www")).expect("a temporary folder can be made");
        let folder = Folder(path);
        let waypost = std::env::var_os("WAYPOST_BIN")
            .map_or_else(|| "target/release/waypost".into(), PathBuf::from);
        assert!(
            waypost.exists(),
            "{} is missing: cargo build --release",
            waypost.display()
        );
        for (name, size) in [("small", 100), ("10k", 10 * 1024), ("1m", 1024 * 1024)] {
            fs::write(folder.0.join("www").join(name), vec![b'x'; size])
                .expect("a file can be written");
        }
        let ports = [free_port(), free_port(), free_port()];
        let listen: String = ports
            .iter()
            .map(|port| format!("listen 127.0.0.1:{port}; "))
            .collect();
        let config = nginx_config(
            &folder.0,
            "origin",
            "",
            &format!(
                "access_log off; sendfile on; tcp_nopush on; open_file_cache max=16;
                server {{ {listen} root {}/www; }}",
                folder.0.display()
            ),
        );
        let origin = Program::start(
            "origin",
            LOAD_CORE,
            &["nginx", "-c", &config],
            ports[0],
            true,
        )
        .expect("nginx is installed: it is the origin");
        Bench {
            _origin: origin,
            ports,
            folder,
            waypost,
        }
    }

    fn start_waypost(&self, scenario: &Scenario) -> Program {
        let port = free_port();
        let servers: Vec<String> = self
            .ports
            .iter()
            .map(|port| format!("\"127.0.0.1:{port}\""))
            .collect();
        let folder = self.folder.0.display();
        let log = if scenario.access_log {
            format!("\"{folder}/waypost.log\"")
        } else {
            "false".into()
        };
        let config = format!(
            "[server]\nworkers = 1\naccess_log = {log}\nkeepalive_requests = 1000000000\n\
             error_log = \"{folder}/waypost-error.log\"\n\
             [[listen]]\naddress = \"127.0.0.1:{port}\"\n\
             [upstream.backend]\npolicy = {}\nkeepalive = 64\nkeepalive_requests = 1000000000\nservers = [{}]\n\
             [[route]]\nproxy = \"backend\"\n",
            scenario.policy,
            servers.join(", "),
        );
        let file = self.write("waypost.toml", &config);
        let binary = self.waypost.to_string_lossy();
        Program::start(
            "waypost",
            PROXY_CORE,
            &[&binary, "run", "-c", &file],
            port,
            false,
        )
        .expect("Waypost starts")
    }

    /// `None` where the program or its module is not installed.
    fn start_opponent(&self, scenario: &Scenario) -> Option<Program> {
        let port = free_port();
        let name = scenario.opponent.name();
        if scenario.opponent == Opponent::Haproxy {
            let servers: String = (self.ports.iter().enumerate())
                .map(|(i, port)| format!("  server s{i} 127.0.0.1:{port}\n"))
                .collect();
            let config = format!(
                "global\n  nbthread 1\n  maxconn 8000\n\
                 defaults\n  mode http\n  http-reuse always\n  timeout client 60s\n  timeout server 60s\n  timeout connect 60s\n\
                 frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\n\
                 backend b\n  balance roundrobin\n{servers}"
            );
            let file = self.write("haproxy.cfg", &config);
            return Program::start(
                name,
                PROXY_CORE,
                &["haproxy", "-db", "-f", &file],
                port,
                false,
            );
        }
        let folder = self.folder.0.display();
        let (modules, init, peers) = if scenario.opponent == Opponent::NginxLua {
            let ports = self.ports.map(|port| port.to_string()).join(", ");
            (
                "load_module /usr/lib/nginx/modules/ndk_http_module.so;
                load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;",
                format!(
                    "init_by_lua_block {{ package.loaded.turns = {{ at = 0, ports = {{ {ports} }} }} }}"
                ),
                "server 0.0.0.1;
                balancer_by_lua_block {
                    local balancer, turns = require 'ngx.balancer', require 'turns'
                    turns.at = turns.at % 3 + 1
                    balancer.set_current_peer('127.0.0.1', turns.ports[turns.at])
                }"
                .to_string(),
            )
        } else {
            let servers: String = self
                .ports
                .iter()
                .map(|port| format!("server 127.0.0.1:{port}; "))
                .collect();
            (
                "",
                String::new(),
                format!("{} {servers}", scenario.directive),
            )
        };
        let log = if scenario.access_log {
            format!("access_log {folder}/nginx.log combined buffer=32k flush=1s;")
        } else {
            "access_log off;".into()
        };
        let config = nginx_config(
            &self.folder.0,
            name,
            modules,
            &format!(
                "{init} {log}
                upstream backend {{ {peers} keepalive 64; keepalive_requests 1000000000; }}
                server {{
                    listen 127.0.0.1:{port};
                    location / {{
                        proxy_pass http://backend;
                        proxy_http_version 1.1;
                        proxy_set_header Connection \"\";
                        proxy_max_temp_file_size 0;
                    }}
                }}"
            ),
        );
        Program::start(name, PROXY_CORE, &["nginx", "-c", &config], port, true)
    }

    fn write(&self, name: &str, text: &str) -> String {
        write(&self.folder.0, name, text)
    }

    /// Loads both at the same time, the second one first where `swapped`.
    fn measure(
        &self,
        waypost: &Program,
        other: &Program,
        path: &str,
        seconds: u32,
        swapped: bool,
    ) -> [Round; 2] {
        let before = [waypost.ticks(), other.ticks()];
        let start = |proxy: &Program| Load::start(&self.folder.0, proxy.port, path, seconds);
        let loads = if swapped {
            let second = start(other);
            [start(waypost), second]
        } else {
            [start(waypost), start(other)]
        };
        let seen = loads.map(Load::finish);
        let after = [waypost.ticks(), other.ticks()];
        let rss = [waypost.rss(), other.rss()];
        let mut at = 0;
        seen.map(|seen| {
            let [user, system] =
                [0, 1].map(|kind| (after[at][kind] - before[at][kind]) as f64 / TICKS);
            let round = Round {
                seen,
                user,
                system,
                rss: rss[at],
                first: swapped == (at == 1),
            };
            at += 1;
            round
        })
    }
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    fs::write(&file, text).expect("a configuration can be written");
    file.to_string_lossy().into_owned()
}

/// What origin and opponent have in common, around `http`.
fn nginx_config(folder: &Path, name: &str, modules: &str, http: &str) -> String {
    let root = if fs::metadata("/proc/self")
        .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
    {
        "user root;" // the folder is readable for its owner alone
    } else {
        ""
    };
    let path = folder.display();
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {path}/{kind}; "))
        .collect();
    let text = format!(
        "{modules} {root} daemon off; worker_processes 1; pid {path}/{name}.pid; error_log {path}/{name}-error.log;
        events {{ worker_connections 8192; }}
        http {{ {temp} keepalive_requests 1000000000; {http} }}"
    );
    write(folder, &format!("{name}.conf"), &text)
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener
        .local_addr()
        .expect("a listener has an address")
        .port()
}

/// A running program on one core; ended by its process id.
struct Program {
    name: &'static str,
    child: Child,
    /// The process that serves: a worker of nginx, else the program itself.
    worker: u32,
    port: u16,
}

impl Program {
    /// Waits until it answers. `None` when it ends before that, as a program does that is not installed.
    fn start(
        name: &'static str,
        core: &str,
        command: &[&str],
        port: u16,
        has_worker: bool,
    ) -> Option<Program> {
        let child = Command::new("taskset") // becomes the program, which keeps the process id
            .args(["-c", core])
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("taskset is installed (util-linux)");
        let worker = child.id();
        let mut program = Program {
            name,
            child,
            worker,
            port,
        };
        let begun = Instant::now();
        while program.ask("/small").is_none() {
            if program.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return None;
            }
            assert!(begun.elapsed() < PATIENCE, "{name} does not answer");
            thread::sleep(Duration::from_millis(20));
        }
        if has_worker {
            let children = fs::read_to_string(format!("/proc/{worker}/task/{worker}/children"))
                .unwrap_or_default();
            program.worker = children.trim().parse().expect("nginx has one worker");
        }
        Some(program)
    }

    /// A connection on which one request was answered, kept open. `None` when it was not.
    fn ask(&self, path: &str) -> Option<TcpStream> {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?; // in one piece: Nagle would hold back a second
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        while !answer.ends_with(&[b'x'; 100]) {
            match stream.read(&mut part).ok()? {
                0 => return None,
                read => answer.extend_from_slice(&part[..read]),
            }
        }
        answer.starts_with(b"HTTP/1.1 200").then_some(stream)
    }

    /// Processor time of all its threads in user and kernel mode, in ticks (`proc_pid_stat(5)`, fields 14 and 15).
    fn ticks(&self) -> [u64; 2] {
        let stat =
            fs::read_to_string(format!("/proc/{}/stat", self.worker)).expect("the proxy runs");
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        [11, 12].map(|field: usize| fields[field].parse().expect("a number of ticks"))
    }

    /// Resident memory in KiB.
    fn rss(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.worker)).expect("the proxy runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line
            .and_then(|line| line.split_whitespace().next())
            .and_then(|kib| kib.parse().ok());
        kib.expect("a process has resident memory")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // TERM rather than KILL, so that a master takes its worker with it.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let begun = Instant::now();
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if begun.elapsed() > PATIENCE {
                let _ = self.child.kill();
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A `wrk` at work.
struct Load(Child);

/// What a `wrk` saw.
struct Seen {
    requests: u64,
    /// Answers other than 2xx and 3xx, and broken connections.
    errors: u64,
    per_second: f64,
    p50: f64,
    p99: f64,
}

impl Load {
    /// `?N` at the end of the path asks for a thousand different URIs, in turn.
    fn start(folder: &Path, port: u16, path: &str, seconds: u32) -> Load {
        let mut command = Command::new("taskset");
        command.args(["-c", LOAD_CORE, "wrk", "-t1", "--latency"]);
        command.args([format!("-c{CONNECTIONS}"), format!("-d{seconds}s")]);
        if let Some(path) = path.strip_suffix("?N") {
            let script = format!(
                "local n, requests = 0, {{}}
                init = function() for i = 1, 1000 do requests[i] = wrk.format('GET', '{path}?' .. i) end end
                request = function() n = n % 1000 + 1 return requests[n] end"
            );
            command.args(["-s", &write(folder, "uris.lua", &script)]);
        }
        let child = command
            .arg(format!(
                "http://127.0.0.1:{port}{}",
                path.trim_end_matches("?N")
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("taskset is installed (util-linux)");
        Load(child)
    }

    fn finish(self) -> Seen {
        let output = self.0.wait_with_output().expect("wrk ends by itself");
        let text = String::from_utf8_lossy(&output.stdout);
        let after = |label: &str| {
            let line = text
                .lines()
                .find_map(|line| line.trim_start().strip_prefix(label));
            line.map(str::trim)
        };
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok());
        let count = text
            .lines()
            .find_map(|line| line.split_once(" requests in "))
            .map(|(count, _)| count.trim());
        let broken = after("Socket errors:").map_or(0, |errors| {
            errors
                .split([' ', ','])
                .filter_map(|word| word.parse::<u64>().ok())
                .sum()
        });
        Seen {
            requests: number(count)
                .unwrap_or_else(|| panic!("wrk is installed and tells its requests: {text}"))
                as u64,
            errors: number(after("Non-2xx or 3xx responses:")).unwrap_or(0.0) as u64 + broken,
            per_second: number(after("Requests/sec:")).expect("wrk tells a rate"),
            p50: milliseconds(after("50%").expect("wrk tells the median")),
            p99: milliseconds(after("99%").expect("wrk tells the 99th percentile")),
        }
    }
}

/// `81.00us`, `1.20ms` or `1.01s`, as wrk writes them.
fn milliseconds(text: &str) -> f64 {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let value: f64 = digits.parse().expect("a latency is a number");
    match &text[digits.len()..] {
        "us" => value / 1000.0,
        "ms" => value,
        _ => value * 1000.0,
    }
}

/// One proxy in one round. Times in seconds, memory in KiB.
struct Round {
    seen: Seen,
    user: f64,
    system: f64,
    rss: u64,
    first: bool,
}

impl Round {
    /// Microseconds of processor time per request.
    fn cost(&self) -> f64 {
        (self.user + self.system) * 1e6 / self.seen.requests as f64
    }
}

/// The tables for people, and every round for machines.
struct Report {
    tables: String,
    raw: String,
}

impl Default for Report {
    fn default() -> Report {
        Report {
            tables: String::new(),
            raw: "scenario,opponent,round,proxy,requests,errors,started_first,user_s,system_s,requests_per_s,p50_ms,p99_ms,\
                  rss_kib\n"
                .into(),
        }
    }
}

impl Report {
    fn say(&mut self, line: &str) {
        println!("{line}");
        self.tables.push_str(line);
        self.tables.push('\n');
    }

    fn add(&mut self, scenario: &Scenario, pairs: &[[Round; 2]]) {
        let (name, opponent) = (scenario.name, scenario.opponent.name());
        for (at, pair) in pairs.iter().enumerate() {
            for (proxy, round) in ["waypost", opponent].iter().zip(pair) {
                let Round {
                    seen,
                    user,
                    system,
                    rss,
                    first,
                } = round;
                let Seen {
                    requests,
                    errors,
                    per_second,
                    p50,
                    p99,
                } = seen;
                let _ = writeln!(
                    self.raw,
                    "\"{name}\",{opponent},{at},{proxy},{requests},{errors},{first},{user:.2},{system:.2},{per_second:.1},\
                     {p50:.3},{p99:.3},{rss}"
                );
                if *errors > 0 {
                    self.say(&format!(
                        "| {name} | {opponent} | {proxy} had {errors} errors in round {at} |"
                    ));
                }
            }
        }
        let ratios = sorted(
            pairs
                .iter()
                .map(|[waypost, other]| waypost.cost() / other.cost()),
        );
        let both = |of: fn(&Round) -> f64, digits: usize| {
            let [a, b] = [0, 1].map(|side: usize| median(pairs.iter().map(|pair| of(&pair[side]))));
            format!("{a:.digits$} / {b:.digits$}")
        };
        let cost = |side: usize| {
            let [user, system, total] = [
                |round: &Round| round.user * 1e6 / round.seen.requests as f64,
                |round: &Round| round.system * 1e6 / round.seen.requests as f64,
                Round::cost,
            ]
            .map(|of: fn(&Round) -> f64| median(pairs.iter().map(|pair| of(&pair[side]))));
            format!("{total:.1} ({user:.1} + {system:.1})")
        };
        self.say(&format!(
            "| {name} | {opponent} | {} | {} | {:.2} ({:.2} to {:.2}) | {} | {} | {} | {} |",
            cost(0),
            cost(1),
            median(ratios.iter().copied()),
            ratios[0],
            ratios[ratios.len() - 1],
            both(|round| round.seen.per_second, 0),
            both(|round| round.seen.p50, 2),
            both(|round| round.seen.p99, 2),
            both(|round| mib(round.rss), 1),
        ));
    }
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The middle value; rounds are odd in number.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let values = sorted(values);
    values[values.len() / 2]
}
