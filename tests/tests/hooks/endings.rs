//! Each `on-request` that returned is answered by exactly one `on-end` with the same number:
//! through answers, delays, reroutes, servers that fail, clients that leave, traps, swaps, reloads
//! and drains, in any order.

use std::collections::{BTreeMap, HashMap};

use rustix::process::Signal;
use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Client, Gate, Http2, Origin, Proxy, eventually, origin, proxy};

use super::{GRANTS, begun, begun_stream, in_mode, told};

/// What a hook that keeps a ledger has written down.
#[derive(Default)]
struct Books {
    /// Of each instance: a line of those that took over from each other, and its number in it.
    instances: HashMap<(String, u64), Instance>,
    asked: usize,
    ended: usize,
}

#[derive(Default)]
struct Instance {
    /// How often each exchange was asked about and has not ended.
    open: BTreeMap<u64, u32>,
    /// Those of them that its successor knows of.
    handed_over: BTreeMap<u64, u32>,
    has_successor: bool,
}

impl Instance {
    /// Whether it has heard of every end that is told to it and not to its successor.
    fn is_closed(&self) -> bool {
        let known_there = |exchange| match self.has_successor {
            true => self.handed_over.get(exchange).copied().unwrap_or(0),
            false => 0,
        };
        let mut open = self.open.iter();
        open.all(|(exchange, times)| *times <= known_there(exchange))
    }
}

impl Books {
    /// Reads the log; panics at the first entry that does not add up.
    fn of(log: &str) -> Books {
        assert!(
            !log.contains("lines of the plugin were dropped"),
            "too fast for the log, which is the books"
        );
        let mut books = Books::default();
        let entries = log.lines().filter_map(|line| line.split_once("ledger "));
        for (_, entry) in entries {
            let words: Vec<&str> = entry.split_whitespace().collect();
            let number = words[1].parse::<u64>().expect("instances are numbered");
            let exchange = || words[3].parse::<u64>().expect("an exchange is a number");
            let key = |number| (words[0].to_owned(), number);
            if words[2] == "takes" {
                let before = books.instances.entry(key(number - 1)).or_default();
                before.has_successor = true;
                let open = before.handed_over.clone();
                books.instances.entry(key(number)).or_default().open = open;
                continue;
            }
            let instance = books.instances.entry(key(number)).or_default();
            let open = &mut instance.open;
            match words[2] {
                "asked" => {
                    books.asked += 1;
                    *open.entry(exchange()).or_default() += 1;
                }
                "ended" => {
                    books.ended += 1;
                    let times = open.get_mut(&exchange());
                    let times = times.unwrap_or_else(|| panic!("never asked: {entry}\n{log}"));
                    *times = times
                        .checked_sub(1)
                        .unwrap_or_else(|| panic!("twice: {entry}"));
                }
                "hands" => instance.handed_over = open.clone(),
                // The instance knows nothing any more, and is told nothing.
                "traps" => open.clear(),
                other => panic!("what is {other}?"),
            }
        }
        books
    }

    fn are_closed(&self) -> bool {
        self.instances.values().all(Instance::is_closed)
    }
}

const EVENTS: [&str; 14] = [
    "served",
    "served",
    "answered",
    "refused",
    "rerouted",
    "delayed",
    "failing server",
    "waits",
    "waits",
    "stream waits",
    "leaves",
    "trap",
    "swap",
    "reload",
];

struct Scene {
    proxy: Proxy,
    good: Origin,
    slow: Vec<Client>,
    streams: Vec<(Http2, waypost_tests::http2::Stream)>,
    version: u8,
}

impl Scene {
    async fn event(&mut self, event: &str, random: &mut fastrand::Rng) {
        match event {
            "served" => self.gets("/", "", 200).await,
            "answered" => self.gets("/", "answer 200 here", 200).await,
            "refused" => self.gets("/", "answer 403", 403).await,
            "rerouted" => self.gets("/", "path /other | route other", 200).await,
            "delayed" => self.gets("/", "delay 20", 200).await,
            "failing server" => self.gets("/dead", "", 502).await,
            "waits" => {
                let arrived = self.good.requests().len();
                self.slow.push(begun(&self.proxy, "/slow", "").await);
                self.good.received(arrived + 1).await;
            }
            "stream waits" => {
                let arrived = self.good.requests().len();
                let mut http2 = Http2::connect(self.proxy.address()).await;
                let stream = begun_stream(&mut http2, "/slow", "").await;
                self.streams.push((http2, stream));
                self.good.received(arrived + 1).await;
            }
            "leaves" if !self.slow.is_empty() => {
                self.slow.swap_remove(random.usize(..self.slow.len()));
            }
            "leaves" => _ = self.streams.pop(),
            "trap" => {
                // Unless the instance of before is still missing.
                let status = self.proxy.get_with("/", &told("trap")).await.status;
                assert_eq!(status, 500);
                eventually("the next instance", async || {
                    self.proxy.get("/").await.status == 200
                })
                .await;
            }
            "swap" => {
                self.version += 1;
                let other = [&in_mode("plain")[..], &[0, 2, 1, b'a' + self.version % 26]].concat();
                let directory = self.proxy.directory();
                std::fs::write(directory.join("new.wasm"), other).unwrap();
                std::fs::rename(directory.join("new.wasm"), directory.join("mine.wasm")).unwrap();
                self.proxy.reload().await;
            }
            "reload" => {
                let (one, two) = ("request = [\"set X-Old 1\"]", "request = [\"set X-New 1\"]");
                let text = std::fs::read_to_string(self.proxy.file()).unwrap();
                match text.contains(one) {
                    true => self.proxy.edit(one, two),
                    false => self.proxy.edit(two, one),
                }
                self.proxy.reload().await;
            }
            other => panic!("what is {other}?"),
        }
    }

    async fn gets(&self, target: &str, commands: &str, status: u16) {
        let response = self.proxy.get_with(target, &told(commands)).await;
        assert_eq!(response.status, status, "{target} {commands}: {response:?}");
    }
}

async fn every_end_is_told(seed: u64, sharing: &str) {
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let gate = Gate::closed();
    let held = gate.clone();
    let good = origin::answers(move |request| match request.target.as_str() {
        "/slow" => Answer::ok("slow").when(&held),
        _ => Answer::ok("fine"),
    })
    .await;
    let mut scene = Scene {
        proxy: scene(&good, sharing).await,
        good,
        slow: Vec::new(),
        streams: Vec::new(),
        version: 0,
    };
    for _ in 0..40 {
        let event = random.choice(EVENTS).unwrap();
        scene.event(event, &mut random).await;
    }
    // Some are answered, some are still under way when the process drains.
    let Scene {
        mut proxy,
        mut slow,
        streams,
        ..
    } = scene;
    let rest = slow.split_off(slow.len() / 2);
    drop(rest);
    proxy.signal(Signal::QUIT);
    proxy.log_contains("draining").await;
    gate.open();
    for mut client in slow {
        assert_eq!(client.response().await.text(), "slow");
    }
    for (http2, mut stream) in streams {
        assert_eq!(stream.response().await.text(), "slow");
        drop(http2);
    }
    proxy.process().ended_and_heard().await;
    let books = Books::of(&proxy.log());
    assert!(books.are_closed(), "some never ended:\n{}", proxy.log());
    assert!(
        books.asked > 10 && books.ended > 5,
        "hardly anything happened"
    );
}

/// A proxy whose hook keeps a ledger, at the listener and at the route.
async fn scene(good: &Origin, sharing: &str) -> Proxy {
    let dead = origin::refuses();
    // A slow answer may be held for longer than the default on a busy machine.
    let setup = proxy::to([good]).upstream("read_timeout = \"1h\"");
    std::fs::write(setup.directory().join("mine.wasm"), in_mode("plain")).unwrap();
    let more = format!(
        "[plugin.mine]\nfile = \"mine.wasm\"\n{GRANTS}\nmax_faults = 0\nbudget = 100\nlimits = {{ deadline = \"1s\" }}\n\
         [hook.books]\nplugin = \"mine\"\nledger = true\n{sharing}\nrequest = [\"set X-Old 1\"]\n\
         [hook.other]\nplugin = \"mine\"\nname = \"silent\"\n\
         [upstream.dead]\nservers = [\"{}\"]\n\
         [[route]]\npath = \"/dead\"\nproxy = \"dead\"\nhooks = [\"books\"]\n\
         [[route]]\npath = \"/other\"\nname = \"other\"\nproxy = \"backend\"\nhooks = [\"other\"]\n",
        dead.address()
    );
    setup
        .route("hooks = [\"books\", \"other\"]")
        .more(&more)
        .more(ADMIN)
        .start()
        .await
}

#[tokio::test]
async fn each_request_that_was_asked_about_has_exactly_one_end() {
    every_end_is_told(fastrand::u64(..), "").await;
}

#[tokio::test]
async fn each_request_that_was_asked_about_has_exactly_one_end_in_an_order_that_stays() {
    every_end_is_told(7, "").await;
}

#[tokio::test]
async fn each_request_that_an_instance_by_key_was_asked_about_has_exactly_one_end() {
    every_end_is_told(fastrand::u64(..), "sharing = \"$request_uri\"").await;
}

/// Its hook is replaced twice while the exchange is under way, and the one in between is gone.
#[tokio::test]
async fn an_end_reaches_the_hook_that_serves_now_however_many_came_between() {
    for sharing in ["", "sharing = \"worker\"", "sharing = \"$host\""] {
        let gate = Gate::closed();
        let held = gate.clone();
        let origin = origin::answers(move |request| match request.target.as_str() {
            "/slow" => Answer::ok("slow").when(&held),
            _ => Answer::ok("fine"),
        })
        .await;
        let proxy = scene(&origin, sharing).await;
        let mut slow = begun(&proxy, "/slow", "").await;
        origin.received(1).await;
        for (old, new) in [
            ("X-Old", "X-New"),
            ("X-New", "X-Newest"),
            ("X-Newest", "X-Last"),
        ] {
            proxy.edit(&format!("set {old} 1"), &format!("set {new} 1"));
            proxy.reload().await;
            for _ in 0..4 {
                assert_eq!(proxy.get("/").await.text(), "fine");
            }
        }
        // The one that serves now writes down what it hears.
        proxy.edit("ledger = true", "ledger = true\nname = \"last\"");
        proxy.reload().await;
        gate.open();
        assert_eq!(slow.response().await.text(), "slow");
        eventually("all ends", async || Books::of(&proxy.log()).are_closed()).await;
        // It says so in a line of its own, behind that of the end.
        proxy.log_contains("last hears of").await;
    }
}
