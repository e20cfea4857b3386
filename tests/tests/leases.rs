//! Each pick that was answered gets exactly one `done`: through successes, retries, clients that
//! leave, traps, swaps, reloads, races between workers and the end of the process, in any order.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rustix::process::Signal;
use waypost_tests::{Answer, Client, Gate, Origin, Proxy, eventually, origin, plugin, proxy};

/// The leases that a policy has written down.
#[derive(Default)]
pub(super) struct Books {
    /// Given out and not yet back, by instance.
    pub(super) open: HashMap<String, HashSet<u64>>,
    pub(super) given: usize,
    pub(super) returned: usize,
    /// Those of them that were not used.
    pub(super) unused: usize,
    traps: usize,
}

impl Books {
    /// Reads the log; panics at the first entry that does not add up.
    pub(super) fn of(log: &str) -> Books {
        assert!(
            !log.contains("lines of the plugin were dropped"),
            "too fast for the log, which is the books"
        );
        let mut books = Books::default();
        let mut trapped = HashSet::new();
        let entries = log
            .lines()
            .filter_map(|line| line.split_once("ledger ")?.1.into());
        for entry in entries {
            let words: Vec<&str> = entry.split_whitespace().collect();
            let instance = words[0].to_owned();
            let lease = || words[2].parse::<u64>().expect("a lease is a number");
            match words[1] {
                "gives" => {
                    books.given += 1;
                    let fresh = books.open.entry(instance).or_default().insert(lease());
                    assert!(fresh, "given out twice: {entry}");
                }
                "gets" => {
                    books.returned += 1;
                    books.unused += usize::from(words[3].ends_with("Unused"));
                    assert!(
                        !trapped.contains(&instance),
                        "told an instance that is no more: {entry}"
                    );
                    let open = books
                        .open
                        .get_mut(&instance)
                        .is_some_and(|open| open.remove(&lease()));
                    assert!(open, "returned twice, or never given out: {entry}");
                }
                "traps" => {
                    books.traps += 1;
                    // Its leases go with it: the host ends them without it.
                    books.open.remove(&instance);
                    trapped.insert(instance);
                }
                other => panic!("what is {other}?"),
            }
        }
        books
    }

    pub(super) fn are_closed(&self) -> bool {
        self.open.values().all(HashSet::is_empty)
    }
}

/// What may happen next.
const EVENTS: [&str; 9] = [
    "answered",
    "answered",
    "answered",
    "retried",
    "slow",
    "abandoned",
    "trap",
    "swap",
    "reload",
];

struct Scene {
    proxy: Proxy,
    file: std::path::PathBuf,
    gate: Gate,
    slow: Vec<Client>,
    dead: Origin,
    guest: &'static str,
    /// Of each server.
    parameters: &'static str,
}

impl Scene {
    async fn event(&mut self, event: &str, random: &mut fastrand::Rng) {
        match event {
            "answered" => assert_eq!(self.proxy.get("/").await.status, 200),
            // One of the servers answers 503 to these, which is another one's business.
            "retried" => assert_eq!(self.proxy.get("/fails").await.status, 200),
            "slow" => self.begin("/slow").await,
            "waits" => self.begin("/").await,
            "waits to fail" => self.begin("/fails").await,
            "abandoned" => {
                self.begin("/slow").await;
                self.slow.swap_remove(random.usize(..self.slow.len()));
            }
            "trap" => {
                let response = self.proxy.get_with("/", "X-Trap: now\r\n").await;
                assert_eq!(response.status, 200, "the fallback's choice");
            }
            "swap" => {
                let bytes = std::fs::read(&self.file).expect("the guest is there");
                // Another custom section, another version.
                let number = random.u8(..26);
                let other = [&bytes[..], &[0, 2, 1, b'a' + number]].concat();
                std::fs::write(self.proxy.directory().join("new.wasm"), other).unwrap();
                std::fs::rename(
                    self.proxy.directory().join("new.wasm"),
                    self.proxy.directory().join(format!("{}.wasm", self.guest)),
                )
                .unwrap();
                self.reload().await;
            }
            "reload" => {
                let file = self.proxy.directory().join("waypost.toml");
                let text = std::fs::read_to_string(&file).unwrap();
                let weight = 1 + random.u32(..5);
                let lines = text
                    .lines()
                    .map(|line| match line.contains(self.dead.address()) {
                        true => format!(
                            "  {{ address = \"{}\", {}, weight = {weight} }},",
                            self.dead.address(),
                            self.parameters
                        ),
                        false => line.to_owned(),
                    });
                std::fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
                self.reload().await;
            }
            other => panic!("what is {other}?"),
        }
    }

    /// Begins an exchange that does not end before the gate opens.
    async fn begin(&mut self, target: &str) {
        let mut client = self.proxy.client().await;
        client
            .send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .await;
        self.slow.push(client);
    }

    async fn reload(&self) {
        let reloads = || self.proxy.log().matches("reloaded: generation").count();
        let before = reloads();
        self.proxy.signal(Signal::HUP);
        eventually("the reload", async || reloads() > before).await;
    }
}

/// What may happen where each server takes one request at a time, and all others wait.
const EVENTS_IN_A_QUEUE: [&str; 9] = [
    "waits",
    "waits",
    "waits",
    "waits to fail",
    "slow",
    "abandoned",
    "abandoned",
    "swap",
    "reload",
];

async fn every_lease_comes_back(guest: &'static str, policy: &str, seed: u64) {
    let parameters = "max_fails = 0";
    let upstream = format!("policy = {policy}");
    play(guest, &upstream, parameters, &EVENTS, seed).await;
}

/// Carries out forty of the events, in an order that the seed says, and ends the process.
async fn play(
    guest: &'static str,
    upstream: &str,
    parameters: &'static str,
    events: &[&str],
    seed: u64,
) {
    println!("{guest}, seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let gate = Gate::closed();
    let held = gate.clone();
    let serves = move |request: &waypost_tests::Request| match request.target.as_str() {
        "/slow" => Answer::ok("slow").when(&held),
        _ => Answer::ok("fine"),
    };
    let good = origin::answers(serves.clone()).await;
    let dead = origin::answers(move |request| match request.target.as_str() {
        "/fails" => Answer::status(503, "not me"),
        _ => serves(request),
    })
    .await;
    let setup = proxy::to([good.with(parameters), dead.with(parameters)]);
    let file = plugin(guest, "wasm32-unknown-unknown");
    std::fs::copy(&file, setup.directory().join(format!("{guest}.wasm"))).unwrap();
    let proxy = setup
        .upstream(&format!(
            "{upstream}\nread_timeout = \"1h\"\nnext_upstream = [\"error\", \"http_503\"]"
        ))
        .more(&format!(
            "[plugin.{guest}]\nfile = \"{guest}.wasm\"\ngrants = [\"request\", \"exchange\"]\nmax_faults = 0"
        ))
        .start()
        .await;
    let mut scene = Scene {
        proxy,
        file,
        gate,
        slow: Vec::new(),
        dead,
        guest,
        parameters,
    };
    for _ in 0..40 {
        let event = random.choice(events).unwrap();
        scene.event(event, &mut random).await;
    }
    // Some are answered, some are still under way when the process drains.
    let Scene {
        mut proxy,
        gate,
        mut slow,
        ..
    } = scene;
    let rest = slow.split_off(slow.len() / 2);
    drop(rest);
    proxy.signal(Signal::QUIT);
    proxy.log_contains("draining").await;
    gate.open();
    for mut client in slow {
        assert_eq!(client.response().await.status, 200);
    }
    proxy.process().ended_and_heard().await;
    let books = Books::of(&proxy.log());
    assert!(
        books.are_closed(),
        "never returned: {:?}\n{}",
        books.open,
        proxy.log()
    );
    assert!(
        books.given > 10 && books.returned > 5,
        "hardly anything happened"
    );
    drop(good);
}

/// Two workers are told of the same free place, and the second one comes too late.
#[tokio::test]
async fn a_pick_that_loses_the_race_for_its_server_gets_its_done_too() {
    // In use for longer than a pick takes.
    let busy = |_: &waypost_tests::Request| Answer::ok("fine").after(Duration::from_millis(200));
    let good = origin::answers(busy).await;
    let dead = origin::answers(|_| Answer::status(503, "not me")).await;
    let setup = proxy::to([
        good.with("max_conns = 1"),
        dead.with("max_fails = 1, fail_timeout = \"1s\""),
    ]);
    let file = plugin("ledger", "wasm32-unknown-unknown");
    std::fs::copy(&file, setup.directory().join("ledger.wasm")).unwrap();
    let mut proxy = setup
        .server("workers = 2")
        .upstream("policy = \"ledger\"\nnext_upstream = [\"error\", \"http_503\"]")
        .more(
            "[plugin.ledger]\nfile = \"ledger.wasm\"\ngrants = [\"request\"]\n\
             limits = { deadline = \"5s\" }",
        )
        .start()
        .await;
    let mut unused = 0;
    for _ in 0..50 {
        // Each pick takes a while, in which the other worker learns which servers are candidates
        // and waits for its turn.
        let ask = || proxy.get_with("/", "X-Dawdle: 30\r\n");
        let responses = tokio::join!(ask(), ask(), ask(), ask());
        assert!([200, 502, 503].contains(&responses.0.status));
        eventually("every lease to come back", async || {
            Books::of(&proxy.log()).are_closed()
        })
        .await;
        unused = Books::of(&proxy.log()).unused;
        if unused >= 3 {
            break;
        }
    }
    assert!(unused > 0, "no worker came too late");
    proxy.signal(Signal::QUIT);
    proxy.process().ended_and_heard().await;
    assert!(Books::of(&proxy.log()).are_closed(), "{}", proxy.log());
}

#[tokio::test]
async fn each_answered_pick_gets_exactly_one_done() {
    let seed = fastrand::u64(..);
    every_lease_comes_back("ledger", "\"ledger\"", seed).await;
}

#[tokio::test]
async fn each_answered_pick_gets_exactly_one_done_in_an_order_that_stays() {
    every_lease_comes_back("ledger", "\"ledger\"", 7).await;
}

#[tokio::test]
async fn each_answered_pick_gets_exactly_one_done_where_members_change_in_place() {
    for per_worker in [false, true] {
        let policy = format!("{{ plugin = \"roster\", per_worker = {per_worker} }}");
        every_lease_comes_back("roster", &policy, fastrand::u64(..)).await;
    }
}

/// Of a request that waits, no lease is open.
#[tokio::test]
async fn each_answered_pick_gets_exactly_one_done_where_requests_wait() {
    for guest in ["ledger", "roster"] {
        let upstream = format!("policy = \"{guest}\"\nqueue = {{ size = 99, timeout = \"1h\" }}");
        let parameters = "max_fails = 0, max_conns = 1";
        let seed = fastrand::u64(..);
        play(guest, &upstream, parameters, &EVENTS_IN_A_QUEUE, seed).await;
    }
}
