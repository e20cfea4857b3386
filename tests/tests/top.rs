//! `waypost top` in a real terminal: what it shows is what the process has counted, keys do what they say,
//! a process that goes and comes back is told, and the terminal is left as it was. Where there is no
//! terminal, it prints once.

use std::io::Write as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};
use waypost_tests::admin::ADMIN;
use waypost_tests::{Child, Gate, Origin, Proxy, child, origin, peers, proxy, waypost};

/// `waypost top` at work.
struct Top {
    terminal: Child,
    orders: std::io::PipeWriter,
    given: usize,
}

impl Top {
    /// None where there is no Python for the terminal.
    fn of(proxy: &Proxy, size: [u16; 2], environment: &[(&str, &str)]) -> Option<Top> {
        let python = peers::python(&["pty", "termios"])?;
        let (reads, orders) = std::io::pipe().unwrap();
        let mut command = Command::new(python);
        command.arg("-uB").arg(peers::script("terminal.py"));
        command.args(size.map(|number| number.to_string()));
        command.arg(waypost()).args(["top", "--interval", "0.5"]);
        command.args(["--admin", &proxy.admin_address()]);
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        command.envs(environment.iter().copied());
        Some(Top {
            terminal: Child::start_with(command, Stdio::from(reads)),
            orders,
            given: 0,
        })
    }

    /// Has the terminal do something, and waits until it is done.
    async fn has(&mut self, order: Value) {
        self.given += 1;
        // Where it has gone, its last words are told below.
        let _ = writeln!(self.orders, "{order}");
        let done = format!("done {}\n", self.given);
        tokio::select! {
            _ = self.terminal.stdout.wait_until(&done, |text| text.contains(&done)) => {}
            said = self.terminal.stderr.wait_until("why", |text| !text.is_empty()) => panic!("{said}"),
        }
    }

    async fn sees(&mut self, texts: &[&str]) {
        self.has(json!({ "see": texts })).await;
    }

    async fn types(&mut self, keys: &str) {
        self.has(json!({ "keys": keys })).await;
    }

    async fn ends(&mut self, code: i32) {
        self.has(json!({ "ends": code })).await;
    }
}

/// Two upstreams: `backend` with a server that holds requests to `/held` and one that refuses, and
/// `other` with one of its own.
struct Proxied {
    proxy: Proxy,
    good: Origin,
    dead: Origin,
    other: Origin,
}

async fn proxied(gate: &Gate) -> Proxied {
    let (good, dead) = (origin::holds(gate).await, origin::refuses());
    let other = origin::says("other").await;
    let servers = [&good, &dead].map(|origin| {
        let address = origin.address();
        format!("{{ address = \"{address}\", max_fails = 0 }}")
    });
    let more = format!(
        "[upstream.other]\nservers = [\"{}\"]\n[[route]]\npath = \"/other/\"\nproxy = \"other\"\n{ADMIN}",
        other.address()
    );
    let proxy = proxy::to(servers).more(&more).start().await;
    Proxied {
        proxy,
        good,
        dead,
        other,
    }
}

#[tokio::test]
async fn a_terminal_shows_what_the_process_counts_and_keys_do_what_they_say() {
    let gate = Gate::closed();
    let Proxied {
        proxy,
        good,
        dead,
        other,
    } = proxied(&gate).await;
    for _ in 0..4 {
        assert_eq!(proxy.get("/").await.text(), "hello");
    }
    let mut held = proxy.client().await;
    held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let Some(mut top) = Top::of(&proxy, [80, 24], &[]) else {
        return;
    };
    let version = format!("version {},", env!("CARGO_PKG_VERSION"));
    let (good, dead, other) = (good.address(), dead.address(), other.address());
    top.sees(&[&version, "3/3 servers up", "nothing is wrong", "2 workers"])
        .await;
    top.sees(&["[1 upstreams]", "backend", good, dead, other])
        .await;
    top.has(json!({ "match": "1 in flight" })).await;
    // In columns: requests, failures and retries per second, in flight.
    let row = format!(r"  {good} +up( +\S+){{3}} +1 ");
    top.has(json!({ "match": row })).await;
    top.sees(&["last error", "connect() failed (111: Connection refused)"])
        .await;

    // While there is traffic, there are rates, and times of what was answered.
    let mut loading = proxy.client().await;
    let load = tokio::spawn(async move {
        loop {
            loading.get("/").await;
        }
    });
    let row = format!(r"  {good} +up +[0-9]*[1-9][0-9.k]* ");
    top.has(json!({ "match": row })).await;
    top.has(json!({ "match": r"[0-9.]+ req/s .* p50 [0-9.]+[mu]s " }))
        .await;
    load.abort();
    gate.open();

    top.types(&format!("/{other}\r")).await;
    top.has(json!({ "gone": [good, dead] })).await;
    top.sees(&["filter:", "other", other]).await;
    top.types("/\u{15}\r").await;
    top.sees(&[good, dead, other]).await;
    top.types("2").await;
    top.sees(&[
        "[2 plugins]",
        "CALLS/S",
        "round_robin",
        "live",
        "upstream backend",
    ])
    .await;
    top.types("\t").await;
    top.sees(&["the configuration has no hooks"]).await;
    top.types("4").await;
    top.sees(&["[4 events]", "LEVEL", "error", "connect() failed"])
        .await;
    top.types("?").await;
    top.sees(&["filter by name"]).await;
    top.types("1s").await;
    top.sees(&["sort: server"]).await;
    top.types("p").await;
    top.sees(&["PAUSED"]).await;
    top.types("p").await;
    top.has(json!({ "gone": ["PAUSED"] })).await;
    top.has(json!({ "size": [40, 12] })).await;
    top.sees(&["[1 upstreams]", "REQ/S", good]).await;
    top.types("q").await;
    top.ends(0).await;
}

#[tokio::test]
async fn a_process_that_goes_is_told_with_since_when_and_shown_again_when_it_is_back() {
    let Proxied {
        mut proxy,
        good: _good,
        dead: _dead,
        other: _other,
    } = proxied(&Gate::closed()).await;
    let Some(mut top) = Top::of(&proxy, [100, 24], &[("NO_COLOR", "1")]) else {
        return;
    };
    top.sees(&["nothing is wrong"]).await;
    proxy.signal(Signal::KILL);
    proxy.process().ended().await;
    top.sees(&[
        "no answer since ",
        "nobody answers at",
        "asking again",
        "backend",
    ])
    .await;
    let mut command = Command::new(waypost());
    command.arg("run").arg("-c").arg(proxy.file());
    let _again = Child::start(command);
    top.sees(&["nothing is wrong"]).await;
    top.has(json!({ "gone": ["no answer since", "asking again"] }))
        .await;
    top.types("\u{3}").await;
    top.ends(0).await;
}

#[tokio::test]
async fn a_signal_and_a_panic_leave_the_terminal_as_it_was() {
    let Proxied { proxy, .. } = proxied(&Gate::closed()).await;
    let Some(mut top) = Top::of(&proxy, [80, 24], &[]) else {
        return;
    };
    top.sees(&["[1 upstreams]"]).await;
    top.has(json!({ "signal": Signal::TERM.as_raw() })).await;
    top.ends(0).await;
    let faulty = [("WAYPOST_FAULTS", "top")];
    let mut top = Top::of(&proxy, [80, 24], &faulty).expect("there was one");
    top.ends(101).await;
}

/// What `waypost top` prints where its output is no terminal.
fn printed(proxy: &Proxy, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(waypost());
    command.args([
        "top",
        "--interval",
        "0.5",
        "--admin",
        &proxy.admin_address(),
    ]);
    command.args(arguments);
    child::run(command)
}

#[tokio::test]
async fn without_a_terminal_it_prints_one_look_as_text_or_json_and_ends() {
    let Proxied {
        mut proxy,
        good,
        dead,
        other: _other,
    } = proxied(&Gate::closed()).await;
    for _ in 0..4 {
        assert_eq!(proxy.get("/").await.text(), "hello");
    }
    let (code, text, err) = printed(&proxy, &[]);
    assert_eq!((code, &*err), (0, ""), "{text}");
    for part in ["servers up", "SERVER ", good.address(), "PLUGIN ", "LEVEL "] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    let refused = "connect() failed (111: Connection refused) while connecting to upstream";
    assert!(text.contains(&format!("ago: {refused}\n")), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");

    let (code, text, err) = printed(&proxy, &["--json"]);
    assert_eq!((code, &*err), (0, ""), "{text}");
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["process"]["servers"], 3);
    assert!(told["process"]["seconds"].as_f64().unwrap() >= 0.5);
    assert_eq!(told["process"]["requests_per_s"], 0.0);
    let backend = &told["upstreams"][0];
    assert_eq!(backend["name"], "backend");
    assert_eq!(backend["servers"][1]["address"], dead.address());
    assert_eq!(backend["servers"][1]["failures_per_s"], 0.0);
    assert_eq!(told["plugins"][0]["name"], "round_robin");

    proxy.signal(Signal::KILL);
    proxy.process().ended().await;
    let (code, text, err) = printed(&proxy, &["--json"]);
    assert_eq!((code, &*text), (1, ""));
    assert!(err.starts_with("error: nobody answers at"), "{err}");
}
