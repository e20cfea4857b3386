//! nginx's own choices: a real nginx and Waypost, side by side before the same servers, never
//! differ.
//!
//! Both get the same randomised upstreams and then request after request; the servers tried, their
//! statuses and the final answer must be the same each time. What a server does with a request is
//! written in the request itself (`X-Script`), so that one set of servers serves both proxies
//! without state. All randomness comes from a seed, which a failure prints; `WAYPOST_PARITY_SEED`
//! repeats it.

mod auth;
mod files;
mod group;
mod least_time;
mod limit_conn;
mod limit_req;
mod sticky;
mod variables;

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use tokio::sync::mpsc;
use waypost_tests::nginx::{self, seed};
use waypost_tests::{
    Answer, Client, Gate, Nginx, Origin, Proxy, Request, in_time, origin, outlast, proxy,
};

use group::{Group, HEALTHY, Policy, Variety};

const ORIGINS: usize = 12;
/// Seconds that a server rests in the spec that waits for its return.
const FAIL_TIMEOUT: u32 = 10;

/// Both proxies before the same groups.
struct Pair {
    _nginx: Nginx,
    _proxy: Proxy,
    sides: [Side; 2],
}

impl Pair {
    async fn start(groups: &[Group]) -> Pair {
        Pair::start_with(None, groups).await
    }

    /// With this nginx instead of the system's own.
    async fn start_with(program: Option<&Path>, groups: &[Group]) -> Pair {
        let (mut upstreams, mut locations) = (String::new(), String::new());
        // Turns are taken in common by all workers. A hash keeps its accounts per worker, and needs
        // them once it has missed 20 times: there nginx's one process compares with one worker.
        let shared = groups.iter().all(|group| group.policy.takes_turns());
        let mut file = format!(
            "[server]\nworkers = {}\naccess_log = false\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\n",
            if shared { 2 } else { 1 }
        );
        for (index, group) in groups.iter().enumerate() {
            let name = format!("u{index}");
            let (upstream, location) = group.nginx(&name);
            upstreams.push_str(&upstream);
            locations.push_str(&location);
            file.push_str(&group.waypost(&name));
        }
        locations.push_str("set_real_ip_from 127.0.0.0/8; real_ip_header X-Real-IP;\n");
        let nginx = match program {
            None => Nginx::start(&upstreams, &locations).await,
            Some(program) => Nginx::start_program(program, &upstreams, &locations).await,
        };
        let proxy = proxy::run(&file, &[]).await;
        let sides = [
            Side::new("nginx", nginx.address()),
            Side::new("waypost", proxy.address()),
        ];
        Pair {
            _nginx: nginx,
            _proxy: proxy,
            sides,
        }
    }

    /// Asks both, and compares.
    async fn ask(&mut self, request: &str, context: impl FnOnce() -> String) {
        let [nginx, waypost] = &mut self.sides;
        let (expected, got) = tokio::join!(nginx.ask(request), waypost.ask(request));
        assert_eq!(
            got,
            expected,
            "waypost (left) differs from nginx (right)\n{request}\n{}",
            context()
        );
    }
}

/// What a proxy made of a request.
#[derive(Debug, PartialEq)]
struct Outcome {
    status: u16,
    tried: String,
    statuses: String,
    body: String,
}

/// One of the two proxies, with a connection that is renewed now and then.
struct Side {
    name: &'static str,
    address: String,
    client: Option<Client>,
    asked: usize,
}

impl Side {
    fn new(name: &'static str, address: &str) -> Side {
        Side {
            name,
            address: address.to_owned(),
            client: None,
            asked: 0,
        }
    }

    async fn ask(&mut self, request: &str) -> Outcome {
        self.asked += 1;
        let mut client = match self.client.take() {
            Some(client) if !self.asked.is_multiple_of(7) => client,
            _ => Client::connect(&self.address).await,
        };
        client.send(request).await;
        let response = client.response().await;
        let outcome = Outcome {
            status: response.status,
            tried: response.header("X-Upstream").to_owned(),
            statuses: response.header("X-Upstream-Status").to_owned(),
            // The text of an error page is each proxy's own.
            body: if response.status < 300 {
                response.text()
            } else {
                String::new()
            },
        };
        if response.header("Connection") != "close" {
            self.client = Some(client);
        }
        outcome
    }
}

/// Origins that do with each request what its `X-Script` says of them: `2:503 5:reset`.
async fn origins() -> Vec<Origin> {
    let mut origins = Vec::new();
    for index in 0..ORIGINS {
        origins.push(origin::answers(move |request| scripted(index, request)).await);
    }
    origins
}

fn scripted(index: usize, request: &Request) -> Answer {
    let me = index.to_string();
    let lines = request
        .header("X-Script")
        .split(' ')
        .filter_map(|entry| entry.split_once(':'));
    match lines
        .filter(|(who, _)| *who == me)
        .map(|(_, what)| what)
        .next()
    {
        None => Answer::ok(&me),
        Some("reset") => Answer::raw("").then_reset(),
        Some("close") => Answer::raw("HTTP/1.1 200 OK\r\nX-Half: a hea").then_close(),
        Some("invalid") => {
            Answer::raw("HTTP/1.1 200 OK\r\nbad header\r\nContent-Length: 0\r\n\r\n")
        }
        Some(status) => match status.parse() {
            Ok(status) => Answer::status(status, &me),
            Err(_) => panic!("no such script: {status}"),
        },
    }
}

fn addresses(origins: &[Origin]) -> Vec<String> {
    origins
        .iter()
        .map(|origin| origin.address().to_owned())
        .collect()
}

/// The next request to a group.
fn request(group: usize, failures: bool, rng: &mut Rng) -> String {
    let (method, body) = if failures && rng.u8(0..5) == 0 {
        ("POST", "body")
    } else {
        ("GET", "")
    };
    // Never empty: nginx 1.22 hashes an empty key like any other, later ones take turns, as Waypost
    // does.
    let key = rng.u32(0..40);
    let address = match rng.u8(0..5) {
        0 => format!("2001:db8::{:x}:{:x}", rng.u16(..), rng.u16(..)),
        _ => format!(
            "{}.{}.{}.{}",
            rng.u8(1..224),
            rng.u8(..),
            rng.u8(..),
            rng.u8(..)
        ),
    };
    let mut script = String::new();
    if failures {
        // Mostly one kind of trouble at some servers, now and then at all of them.
        let kinds = ["503", "500", "404", "429", "reset", "close", "invalid"];
        let share = [0.0, 0.1, 0.3, 1.0][rng.usize(0..4)];
        for index in 0..ORIGINS {
            if rng.f64() < share {
                let _ = write!(script, "{index}:{} ", kinds[rng.usize(0..kinds.len())]);
            }
        }
    }
    format!(
        "{method} /u{group}/p{}?k=key{key} HTTP/1.1\r\nHost: parity\r\nX-Real-IP: {address}\r\nX-Script: {}\r\nContent-Length: {}\r\n\r\n{body}",
        rng.u8(0..20),
        script.trim_end(),
        body.len()
    )
}

fn groups(
    policy: Policy,
    number: usize,
    addresses: &[String],
    variety: Variety,
    rng: &mut Rng,
) -> Vec<Group> {
    (0..number)
        .map(|_| Group::random(policy, addresses, variety, rng))
        .collect()
}

/// Requests in a random order of the groups, one after another.
async fn compare(policy: Policy, variety: Variety) {
    if !nginx::installed() {
        return;
    }
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let origins = origins().await;
    let mut addresses = addresses(&origins);
    let refusing = origin::refuses();
    if variety.failures {
        addresses.push(refusing.address().to_owned());
    }
    let groups = groups(policy, 10, &addresses, variety, &mut rng);
    let mut pair = Pair::start(&groups).await;
    for number in 0..600 {
        let group = rng.usize(0..groups.len());
        let request = request(group, variety.failures, &mut rng);
        let context = || {
            format!(
                "request {number} to {:#?}\nWAYPOST_PARITY_SEED={seed}",
                groups[group]
            )
        };
        pair.ask(&request, context).await;
    }
}

#[tokio::test]
async fn round_robin_chooses_as_nginx_does() {
    compare(Policy::RoundRobin, HEALTHY).await;
}

#[tokio::test]
async fn least_conn_chooses_as_nginx_does_when_idle() {
    compare(Policy::LeastConn, HEALTHY).await;
}

#[tokio::test]
async fn ip_hash_keeps_every_client_on_the_server_that_nginx_gave_it() {
    compare(Policy::IpHash, HEALTHY).await;
}

#[tokio::test]
async fn hash_of_an_argument_chooses_as_nginx_does() {
    compare(Policy::HashArgument, HEALTHY).await;
}

#[tokio::test]
async fn hash_of_the_uri_chooses_as_nginx_does() {
    compare(Policy::HashUri, HEALTHY).await;
}

#[tokio::test]
async fn consistent_hash_chooses_as_nginx_does() {
    compare(Policy::HashConsistent, HEALTHY).await;
}

const FAILING: Variety = Variety {
    failures: true,
    ..HEALTHY
};

#[tokio::test]
async fn round_robin_retries_as_nginx_does_when_servers_fail() {
    compare(Policy::RoundRobin, FAILING).await;
}

#[tokio::test]
async fn least_conn_retries_as_nginx_does_when_servers_fail() {
    compare(Policy::LeastConn, FAILING).await;
}

#[tokio::test]
async fn ip_hash_retries_as_nginx_does_when_servers_fail() {
    compare(Policy::IpHash, FAILING).await;
}

#[tokio::test]
async fn hash_retries_as_nginx_does_when_servers_fail() {
    compare(Policy::HashArgument, FAILING).await;
}

#[tokio::test]
async fn consistent_hash_retries_as_nginx_does_when_servers_fail() {
    compare(Policy::HashConsistent, FAILING).await;
}

/// Both clocks count whole seconds but not from the same instant: a server disabled with
/// `fail_timeout` of n seconds comes back between n and n + 1 seconds later. So requests come in
/// bursts of a tenth of n, more than n + 1 seconds apart.
#[tokio::test]
async fn servers_that_failed_come_back_when_nginx_brings_them_back() {
    if !nginx::installed() {
        return;
    }
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let origins = origins().await;
    let variety = Variety {
        fail_timeout: FAIL_TIMEOUT,
        ..FAILING
    };
    let groups: Vec<Group> = Policy::ALL
        .iter()
        .flat_map(|policy| groups(*policy, 3, &addresses(&origins), variety, &mut rng))
        .collect();
    let mut pair = Pair::start(&groups).await;
    for burst in 0..3 {
        if burst > 0 {
            outlast(Duration::from_secs(u64::from(FAIL_TIMEOUT) + 1)).await;
        }
        let started = Instant::now();
        for number in 0..20 * groups.len() {
            if started.elapsed() > Duration::from_secs(1) {
                break; // a slow machine asks less
            }
            let group = number % groups.len();
            let request = request(group, rng.bool(), &mut rng);
            let context = || {
                format!(
                    "burst {burst}, request {number} to {:#?}\nWAYPOST_PARITY_SEED={seed}",
                    groups[group]
                )
            };
            pair.ask(&request, context).await;
        }
    }
}

/// A request that its origin holds, at both sides.
struct Held {
    gate: Gate,
    group: usize,
    answers: [tokio::task::JoinHandle<Outcome>; 2],
}

#[tokio::test]
async fn least_conn_chooses_as_nginx_does_under_load() {
    compare_held(Policy::LeastConn).await;
}

#[tokio::test]
async fn round_robin_heeds_max_conns_as_nginx_does() {
    compare_held(Policy::RoundRobin).await;
}

/// Requests that stay open at their origins and end in random order.
async fn compare_held(policy: Policy) {
    if !nginx::installed() {
        return;
    }
    let seed = seed();
    let mut rng = Rng::with_seed(seed);
    let gates: Arc<std::sync::Mutex<Vec<Gate>>> = Arc::default();
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    let mut origins = Vec::new();
    for index in 0..ORIGINS {
        let (gates, arrived) = (gates.clone(), arrived.clone());
        let held = origin::answers(move |request| {
            let gate = match (request.header("X-Held").parse::<usize>(), gates.lock()) {
                (Ok(number), Ok(gates)) => gates[number].clone(),
                _ => panic!("not held: {request:?}"),
            };
            assert!(
                arrived.send(request.header("X-Side").to_owned()).is_ok(),
                "the spec listens"
            );
            Answer::ok(index.to_string()).when(&gate)
        });
        origins.push(held.await);
    }
    let variety = Variety {
        max_conns: true,
        ..HEALTHY
    };
    let groups = groups(policy, 6, &addresses(&origins), variety, &mut rng);
    let pair = Pair::start(&groups).await;

    let mut held: Vec<Held> = Vec::new();
    for number in 0..400 {
        let full = held.len() >= 40;
        if full || !held.is_empty() && rng.u8(0..5) < 2 {
            let done = held.swap_remove(rng.usize(0..held.len()));
            done.gate.open();
            same(done, &groups, seed).await;
            continue;
        }
        let (gate, group) = (Gate::closed(), rng.usize(0..groups.len()));
        let index = {
            let mut gates = gates
                .lock()
                .unwrap_or_else(|_| panic!("an origin panicked"));
            gates.push(gate.clone());
            gates.len() - 1
        };
        let mut answers = Vec::new();
        for side in &pair.sides {
            let request = format!(
                "GET /u{group}/ HTTP/1.1\r\nHost: parity\r\nX-Held: {index}\r\nX-Side: {}\r\nX-Number: {number}\r\n\r\n",
                side.name
            );
            let mut side = Side::new(side.name, &side.address);
            let mut answer = tokio::spawn(async move { side.ask(&request).await });
            // Until it is at its origin, or answered because no server may take it.
            tokio::select! {
                side_arrived = in_time("an arrival", arrivals.recv()) => assert!(side_arrived.is_some()),
                outcome = &mut answer => {
                    let outcome = outcome.unwrap_or_else(|error| panic!("{error}"));
                    answer = tokio::spawn(async move { outcome });
                }
            }
            answers.push(answer);
        }
        if let Ok(answers) = <[_; 2]>::try_from(answers) {
            held.push(Held {
                gate,
                group,
                answers,
            });
        }
    }
    for done in held {
        done.gate.open();
        same(done, &groups, seed).await;
    }
}

async fn same(done: Held, groups: &[Group], seed: u64) {
    let [nginx, waypost] = done.answers;
    let (expected, got) = tokio::join!(nginx, waypost);
    let (expected, got) = match (expected, got) {
        (Ok(expected), Ok(got)) => (expected, got),
        (expected, got) => panic!("{expected:?} {got:?}"),
    };
    assert_eq!(
        got, expected,
        "waypost (left) differs from nginx (right) in {:#?}\nWAYPOST_PARITY_SEED={seed}",
        groups[done.group]
    );
}
