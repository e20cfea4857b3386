//! Every file in `examples/` is run as it stands, and does what its first lines say.
//!
//! Addresses in them come from the environment, with defaults for people:
//! `${env:APP_1:-127.0.0.1:8081}`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use waypost_tests::acme::Directory;
use waypost_tests::redis::{self, Redis};
use waypost_tests::tls::{self, Authority, Certificate};
use waypost_tests::{
    Answer, Fields, Gate, Http2, Origin, Proxy, eventually, http2, origin, plugin, proxy, websocket,
};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples"))
}

/// Runs an example with a free port to listen on and these servers as `APP_1`, `APP_2`...
async fn example(name: &str, servers: &[&str]) -> Proxy {
    example_at(name, "127.0.0.1:0", servers).await
}

async fn example_at(name: &str, listen: &str, servers: &[&str]) -> Proxy {
    let path = folder().join(format!("{name}.toml"));
    let file = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let names: Vec<String> = (1..=servers.len())
        .map(|number| format!("APP_{number}"))
        .collect();
    for name in &names {
        assert!(
            file.contains(&format!("${{env:{name}:-")),
            "{name} is not asked for"
        );
    }
    let mut environment: Vec<(&str, &str)> = names
        .iter()
        .map(String::as_str)
        .zip(servers.iter().copied())
        .collect();
    environment.push(("LISTEN", listen));
    proxy::run(&file, &environment).await
}

/// As [`example`], with further variables, each of which the example asks for.
async fn example_with(name: &str, variables: &[(&str, &str)]) -> Proxy {
    let path = folder().join(format!("{name}.toml"));
    let file = std::fs::read_to_string(&path).expect("the example is there");
    for (name, _) in variables {
        assert!(
            file.contains(&format!("${{env:{name}:-")),
            "{name} is not asked for"
        );
    }
    let listen = [("LISTEN", "127.0.0.1:0")];
    proxy::run(&file, &[&listen, variables].concat()).await
}

#[test]
fn every_example_is_run() {
    let this = include_str!("examples.rs");
    let files = std::fs::read_dir(folder()).expect("there are examples");
    let names: Vec<String> = files
        .map(|file| {
            file.expect("it can be listed")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
        .collect();
    assert!(names.len() > 10, "{names:?}");
    let run = |name: &String| {
        this.contains(&format!("example(\"{name}\""))
            || this.contains(&format!("example_at(\"{name}\""))
            || this.contains(&format!("example_with(\"{name}\""))
    };
    let missing: Vec<&String> = names.iter().filter(|name| !run(name)).collect();
    assert!(missing.is_empty(), "no test runs {missing:?}");
}

/// Three origins that answer with their names.
struct Three {
    origins: [Origin; 3],
    addresses: [String; 3],
}

impl Three {
    async fn start() -> Three {
        let origins = [
            origin::says("a").await,
            origin::says("b").await,
            origin::says("c").await,
        ];
        let addresses = [0, 1, 2].map(|index: usize| origins[index].address().to_owned());
        Three { origins, addresses }
    }

    fn first(&self, number: usize) -> Vec<&str> {
        self.addresses
            .iter()
            .take(number)
            .map(String::as_str)
            .collect()
    }
}

/// The answers to that many requests, in one string.
async fn answers(proxy: &Proxy, number: usize) -> String {
    let mut answers = String::new();
    for _ in 0..number {
        answers.push_str(&proxy.get("/").await.text());
    }
    answers
}

#[tokio::test]
async fn weights() {
    let three = Three::start().await;
    let proxy = example("weights", &three.first(3)).await;
    assert_eq!(answers(&proxy, 14).await, "aabacaaaabacaa");
}

#[tokio::test]
async fn least_conn() {
    let three = Three::start().await;
    let proxy = example("least_conn", &three.first(2)).await;
    assert_eq!(answers(&proxy, 6).await, "abaaba");
}

#[tokio::test]
async fn least_time() {
    let slow = origin::answers(|_| Answer::ok("slow").after(Duration::from_secs(1))).await;
    let quick = origin::says("quick").await;
    let proxy = example("least_time", &[slow.address(), quick.address()]).await;
    // Each is tried once.
    let all = answers(&proxy, 6).await;
    assert_eq!(all, format!("slow{}", "quick".repeat(5)));
}

#[tokio::test]
async fn ewma() {
    let slow = origin::answers(|_| Answer::ok("slow").after(Duration::from_secs(1))).await;
    let quick = origin::says("quick").await;
    let proxy = example("ewma", &[slow.address(), quick.address()]).await;
    // Each worker measures for itself: one connection is one worker's.
    let mut client = proxy.client().await;
    let mut slow = 0;
    for _ in 0..10 {
        slow += usize::from(client.get("/").await.text() == "slow");
    }
    assert_eq!(slow, 1, "each is tried once");
}

#[tokio::test]
async fn ip_hash() {
    let origins = [
        origin::says("1").await,
        origin::says("2").await,
        origin::says("3").await,
        origin::says("4").await,
    ];
    let addresses: Vec<&str> = origins.iter().map(Origin::address).collect();
    let proxy = example("ip_hash", &addresses).await;
    // As nginx answers, but for clients of the third server, which is down.
    for (client, server) in [
        ("10.0.0.1", "2"),
        ("10.0.0.77", "2"),
        ("8.8.8.8", "4"),
        ("203.0.113.1", "1"),
    ] {
        let response = proxy
            .get_with("/", &format!("X-Forwarded-For: {client}\r\n"))
            .await;
        assert_eq!(response.text(), server, "{client}");
    }
    let displaced = proxy
        .get_with("/", "X-Forwarded-For: 10.0.1.1\r\n")
        .await
        .text();
    assert!(["1", "2", "4"].contains(&displaced.as_str()), "{displaced}");
}

#[tokio::test]
async fn hash() {
    let three = Three::start().await;
    let proxy = example("hash", &three.first(2)).await;
    let mut seen = BTreeSet::new();
    for number in 0..20 {
        let target = format!("/page/{number}");
        let server = proxy.get(&target).await.text();
        assert_eq!(proxy.get(&target).await.text(), server);
        seen.insert(server);
    }
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn hash_consistent() {
    let three = Three::start().await;
    let (before, after) = (
        example("hash_consistent", &three.first(3)).await,
        Three::start().await,
    );
    // The last server is replaced by another one: the users of the other servers stay where they
    // are.
    let servers = [
        &*three.addresses[0],
        &*three.addresses[1],
        &*after.addresses[2],
    ];
    let after = example("hash_consistent", &servers).await;
    let mut seen = BTreeSet::new();
    for user in 0..30 {
        let target = format!("/?user={user}");
        let (old, new) = (
            before.get(&target).await.text(),
            after.get(&target).await.text(),
        );
        assert!(
            old == "c" || new == "c" || old == new,
            "user {user} moved from {old} to {new}"
        );
        seen.insert(old);
    }
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn maglev() {
    let mut three = Three::start().await;
    let proxy = example("maglev", &three.first(3)).await;
    let pages = async || {
        let mut servers = Vec::new();
        for page in 0..40 {
            servers.push(proxy.get(&format!("/page/{page}")).await.text());
        }
        servers
    };
    let before = pages().await;
    assert_eq!(before, pages().await);
    assert_eq!(
        BTreeSet::from_iter(before.iter().map(String::as_str)).len(),
        3
    );
    // Only the pages of a server that is not there any more go elsewhere.
    three.origins[2].dies().await;
    for (old, new) in before.iter().zip(pages().await) {
        assert!(
            old == &new || old == "c" && new != "c",
            "from {old} to {new}"
        );
    }
}

#[tokio::test]
async fn bounded_hash() {
    let gate = waypost_tests::Gate::closed();
    let holds = |name: &'static str| {
        let held = gate.clone();
        origin::answers(move |request| {
            let answer = Answer::ok(name);
            if request.target == "/hot" {
                answer.when(&held)
            } else {
                answer
            }
        })
    };
    let origins = [holds("a").await, holds("b").await, holds("c").await];
    let addresses = origins.each_ref().map(Origin::address);
    let proxy = example("bounded_hash", &addresses).await;
    // One at a time, a key stays at its server.
    let first = proxy.get("/page").await.text();
    for _ in 0..3 {
        assert_eq!(proxy.get("/page").await.text(), first);
    }
    // Twelve at once: the bounds grow with them, to five each.
    let mut clients = Vec::new();
    let in_flight = || origins.each_ref().map(hot);
    for number in 1..=12 {
        let mut client = proxy.client().await;
        client.send("GET /hot HTTP/1.1\r\nHost: t\r\n\r\n").await;
        clients.push(client);
        waypost_tests::eventually("a request arrives", async || {
            in_flight().iter().sum::<usize>() == number
        })
        .await;
    }
    let in_flight = in_flight();
    assert!(in_flight.iter().all(|&number| number <= 5), "{in_flight:?}");
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
}

/// The requests for `/hot` that an origin has received.
fn hot(origin: &Origin) -> usize {
    let requests = origin.requests();
    requests
        .iter()
        .filter(|request| request.target == "/hot")
        .count()
}

#[tokio::test]
async fn subset() {
    // The server that gets a request of this tenant dies of it.
    let dies_of_poison = |name: &'static str| {
        origin::answers(move |request| match request.header("X-Tenant") {
            "poison" => Answer::raw("").then_close(),
            _ => Answer::ok(name),
        })
    };
    let mut origins = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        origins.push(dies_of_poison(name).await);
    }
    let addresses: Vec<&str> = origins.iter().map(Origin::address).collect();
    let proxy = example("subset", &addresses).await;
    let servers_of = async |tenant: &str| {
        let mut servers = BTreeSet::new();
        for _ in 0..40 {
            let field = format!("X-Tenant: {tenant}\r\n");
            servers.insert(proxy.get_with("/", &field).await.text());
        }
        servers
    };
    let mut subsets = BTreeSet::new();
    for tenant in 0..12 {
        let servers = servers_of(&tenant.to_string()).await;
        assert_eq!(servers.len(), 2, "{servers:?}");
        subsets.insert(servers);
    }
    assert!(subsets.len() > 2, "{subsets:?}");
    for _ in 0..6 {
        let answer = proxy.get_with("/", "X-Tenant: poison\r\n").await;
        // The answer of the last server that was tried, or a refusal while both are out.
        assert!([502, 503].contains(&answer.status), "{}", answer.status);
    }
    let reached = |origin: &&Origin| {
        let requests = origin.requests();
        let mut poisoned = requests.iter().map(|request| request.header("X-Tenant"));
        poisoned.any(|tenant| tenant == "poison")
    };
    assert_eq!(origins.iter().filter(reached).count(), 2);
}

#[tokio::test]
async fn zone() {
    let mut three = Three::start().await;
    let proxy = example("zone", &three.first(3)).await;
    assert_eq!(servers_of(&proxy, "", 12).await, ["a", "b"]);
    // Half of the zone is enough.
    three.origins[1].dies().await;
    assert_eq!(servers_of(&proxy, "", 12).await, ["a"]);
    // All zones are asked: there is no other server left in this one.
    three.origins[0].dies().await;
    assert_eq!(servers_of(&proxy, "", 12).await, ["c"]);
}

#[tokio::test]
async fn labels() {
    let mut three = Three::start().await;
    let proxy = example("labels", &three.first(3)).await;
    let v2 = "Cookie: version=v2\r\n";
    assert_eq!(servers_of(&proxy, "", 12).await, ["a", "b"]);
    assert_eq!(
        servers_of(&proxy, "Cookie: version=v7\r\n", 12).await,
        ["a", "b"]
    );
    assert_eq!(servers_of(&proxy, v2, 6).await, ["c"]);
    three.origins[2].dies().await;
    assert_eq!(servers_of(&proxy, v2, 12).await, ["a", "b"]);
}

#[tokio::test]
async fn load_score() {
    let slow = origin::answers(|_| Answer::ok("slow").after(Duration::from_secs(1))).await;
    let quick = origin::says("quick").await;
    let proxy = example("load_score", &[slow.address(), quick.address()]).await;
    let mut slow = 0;
    for _ in 0..10 {
        slow += usize::from(proxy.get("/").await.text() == "slow");
    }
    assert_eq!(slow, 1, "it is tried once");
}

/// Which servers answer so many requests with these fields.
async fn servers_of(proxy: &Proxy, fields: &str, requests: usize) -> Vec<String> {
    let mut servers = BTreeSet::new();
    for _ in 0..requests {
        servers.insert(proxy.get_with("/", fields).await.text());
    }
    servers.into_iter().collect()
}

#[tokio::test]
async fn random_two() {
    let three = Three::start().await;
    let proxy = example("random_two", &three.first(3)).await;
    let all = answers(&proxy, 60).await;
    for server in ["a", "b", "c"] {
        let share = all.matches(server).count();
        assert!((5..40).contains(&share), "{server} has {share} of 60");
    }
}

#[tokio::test]
async fn backup() {
    let mut three = Three::start().await;
    let proxy = example("backup", &three.first(2)).await;
    assert_eq!(answers(&proxy, 4).await, "aaaa");
    three.origins[0].dies().await;
    assert_eq!(answers(&proxy, 4).await, "bbbb");
}

#[tokio::test]
async fn max_fails() {
    let (refuses, good) = (origin::refuses(), origin::says("b").await);
    let proxy = example("max_fails", &[refuses.address(), good.address()]).await;
    assert_eq!(answers(&proxy, 12).await, "b".repeat(12));
    // Three failures, and then it is left alone.
    proxy
        .log_contains("upstream server temporarily disabled")
        .await;
    assert_eq!(proxy.log().matches("connect() failed").count(), 3);
}

#[tokio::test]
async fn max_conns() {
    let gate = waypost_tests::Gate::closed();
    let held = gate.clone();
    let small = origin::answers(move |_| Answer::ok("small").when(&held)).await;
    let large = origin::says("large").await;
    let proxy = example("max_conns", &[small.address(), large.address()]).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        clients.push(client);
    }
    large.received(6).await;
    small.received(2).await;
    assert_eq!(small.requests().len(), 2);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
}

#[tokio::test]
async fn keepalive() {
    let origin = origin::says("a").await;
    let proxy = example("keepalive", &[origin.address()]).await;
    let mut client = proxy.client().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "a");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn next_upstream() {
    let busy = || origin::answers(|_| Answer::status(503, "busy"));
    let (a, b, c) = (busy().await, busy().await, origin::says("c").await);
    let proxy = example("next_upstream", &[a.address(), b.address(), c.address()]).await;
    // Two tries are all, and the second one's answer stands.
    assert_eq!(answers(&proxy, 1).await, "busy");
    assert_eq!(
        (a.requests().len(), b.requests().len(), c.requests().len()),
        (1, 1, 0)
    );
    assert_eq!(answers(&proxy, 2).await, "cc");
}

#[tokio::test]
async fn timeouts() {
    let origin = origin::answers(|request| match request.target.as_str() {
        "/slow" => Answer::raw("").then_hang(),
        _ => Answer::ok("a"),
    })
    .await;
    let proxy = example("timeouts", &[origin.address()]).await;
    let started = std::time::Instant::now();
    assert_eq!(proxy.get("/slow").await.status, 504);
    assert!(
        (1_900..20_000).contains(&started.elapsed().as_millis()),
        "{:?}",
        started.elapsed()
    );
    let large = "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 8193\r\n\r\n";
    assert_eq!(proxy.exchange(large).await.status, 413);
}

#[tokio::test]
async fn sticky_cookie() {
    let three = Three::start().await;
    let proxy = example("sticky_cookie", &three.first(2)).await;
    for first in ["a", "b"] {
        let response = proxy.get("/").await;
        assert_eq!(response.text(), first);
        let cookie = response.header("Set-Cookie").to_owned();
        assert!(
            cookie.starts_with("srv_id=")
                && cookie.contains("path=/")
                && cookie.contains("expires="),
            "{cookie}"
        );
        let cookie = cookie.split(';').next().unwrap_or_default();
        for _ in 0..3 {
            assert_eq!(
                proxy
                    .get_with("/", &format!("Cookie: {cookie}\r\n"))
                    .await
                    .text(),
                first
            );
        }
    }
}

#[tokio::test]
async fn sticky_route() {
    let three = Three::start().await;
    let proxy = example("sticky_route", &three.first(2)).await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/?route=b").await.text(), "b");
        assert_eq!(
            proxy
                .get_with("/?route=b", "Cookie: route=a\r\n")
                .await
                .text(),
            "a"
        );
    }
}

#[tokio::test]
async fn sticky_learn() {
    let session = |name: &'static str| {
        origin::answers(move |request| match request.header("Cookie") {
            "" => Answer::ok(name).header("Set-Cookie", &format!("session=of-{name}")),
            _ => Answer::ok(name),
        })
    };
    let (a, b) = (session("a").await, session("b").await);
    let proxy = example("sticky_learn", &[a.address(), b.address()]).await;
    assert_eq!(answers(&proxy, 2).await, "ab");
    for _ in 0..3 {
        assert_eq!(
            proxy.get_with("/", "Cookie: session=of-b\r\n").await.text(),
            "b"
        );
        assert_eq!(
            proxy.get_with("/", "Cookie: session=of-a\r\n").await.text(),
            "a"
        );
    }
}

#[tokio::test]
async fn cors() {
    let api = origin::says("api").await;
    let proxy = example("cors", &[api.address()]).await;
    let from = async |method: &str, origin: &str| {
        let request = format!(
            "{method} /api/x HTTP/1.1\r\nHost: t\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: DELETE\r\nConnection: close\r\n\r\n"
        );
        let answer = proxy.exchange(request).await;
        let allowed = answer.header("Access-Control-Allow-Origin").to_owned();
        (answer.status, allowed)
    };
    for allowed in [
        "https://app.example.com",
        "https://pr-7.preview.example.com",
    ] {
        assert_eq!(from("OPTIONS", allowed).await, (204, allowed.to_owned()));
        assert_eq!(from("DELETE", allowed).await, (200, allowed.to_owned()));
    }
    let other = "https://evil.example";
    assert_eq!(from("OPTIONS", other).await, (204, String::new()));
    assert_eq!(from("GET", other).await, (200, String::new()));
    assert_eq!(api.requests().len(), 3);
}

#[tokio::test]
async fn rewrite() {
    let target = |name: &'static str| {
        origin::answers(move |request| Answer::ok(format!("{name} {}", request.target)))
    };
    let (items, api) = (target("items").await, target("api").await);
    let proxy = example("rewrite", &[items.address(), api.address()]).await;
    assert_eq!(proxy.get("/shop/12?x").await.text(), "items /item?id=12&x");
    assert_eq!(proxy.get("/api/v1/users").await.text(), "api /users");
    let answer = proxy.get("/blog/a%20b?c").await;
    assert_eq!(
        (answer.status, answer.header("Location")),
        (301, "https://blog.example.com/a%20b?c")
    );
    assert_eq!(proxy.get("/other").await.status, 404);
}

#[tokio::test]
async fn redirect() {
    let site = origin::says("site").await;
    let proxy = example("redirect", &[site.address()]).await;
    let ask = async |host: &str, target: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = proxy.exchange(request).await;
        (answer.status, answer.header("Location").to_owned())
    };
    let to = |url: &str| (301, url.to_owned());
    assert_eq!(
        ask("www.a.example", "/docs?x").await,
        to("http://a.example/docs/?x")
    );
    assert_eq!(
        ask("a.example", "/docs").await,
        to("http://a.example/docs/")
    );
    assert_eq!(ask("a.example", "/docs/").await, (200, String::new()));
    assert_eq!(ask("a.example", "/app.css").await, (200, String::new()));
}

#[tokio::test]
async fn split() {
    let (old, new) = (origin::says("old").await, origin::says("new").await);
    let proxy = example("split", &[old.address(), new.address()]).await;
    let first = proxy.get("/").await;
    let side = first.text();
    assert_eq!(first.header("X-Version"), side);
    assert!(
        first
            .header("Set-Cookie")
            .starts_with(&format!("version={side}; Max-Age=604800;"))
    );
    for version in ["new", "old"] {
        let kept = proxy
            .get_with("/", &format!("Cookie: version={version}\r\n"))
            .await;
        assert_eq!(
            (kept.text().as_str(), kept.header("Set-Cookie")),
            (version, "")
        );
        let asked = proxy
            .get_with("/", &format!("X-Canary: {version}\r\n"))
            .await;
        assert_eq!(asked.text(), version);
    }
}

#[tokio::test]
async fn request_id() {
    let app = origin::says("app").await;
    let proxy = example("request_id", &[app.address()]).await;
    let made = proxy.get("/").await.header("X-Request-ID").to_owned();
    assert_eq!(made.len(), 36);
    let kept = proxy.get_with("/", "X-Request-ID: edge-7\r\n").await;
    assert_eq!(kept.header("X-Request-ID"), "edge-7");
    assert_eq!(app.requests()[1].header("X-Request-ID"), "edge-7");
    for id in [&made, "edge-7"] {
        let line = format!("127.0.0.1 \"GET / HTTP/1.1\" 200 {id}\n");
        proxy.stdout().contains(&line).await;
    }
}

#[tokio::test]
async fn maintenance() {
    let app = origin::says("app").await;
    let proxy = example("maintenance", &[app.address()]).await;
    assert_eq!(proxy.get("/").await.text(), "app");
    let flag = proxy.directory().join("maintenance.flag");
    std::fs::write(flag, "").expect("the directory is ours");
    eventually("the page to be answered", async || {
        proxy.get("/").await.status == 503
    })
    .await;
    assert_eq!(proxy.get("/health").await.text(), "app");
}

#[tokio::test]
async fn body_limit() {
    let app = origin::answers(|request| Answer::ok(request.body.len().to_string())).await;
    let proxy = example("body_limit", &[app.address()]).await;
    for (media_type, bound) in [
        ("application/json", 64 << 10),
        ("image/png", 8 << 20),
        ("text/plain", 1 << 20),
    ] {
        for (length, status) in [(bound, 200), (bound + 1, 413)] {
            let body = "x".repeat(length);
            let mut client = proxy.client().await;
            let request = format!(
                "POST / HTTP/1.1\r\nHost: test\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            // One that is too large is answered before it was sent.
            let _ = client.wire.try_send(request).await;
            let response = client.response().await;
            assert_eq!(response.status, status, "{media_type}, {length}");
        }
    }
}

#[tokio::test]
async fn substitute() {
    let page = "see http://app.internal/a and http://app.internal/b";
    let app = origin::answers(move |request| {
        Answer::ok(page).header("Content-Type", &request.target[1..])
    })
    .await;
    let proxy = example("substitute", &[app.address()]).await;
    let expected = "see https://test/a and https://test/b";
    assert_eq!(proxy.get("/text/html").await.text(), expected);
    assert_eq!(proxy.get("/text/css").await.text(), expected);
    assert_eq!(proxy.get("/text/plain").await.text(), page);
}

#[tokio::test]
async fn verify_signature() {
    let app = origin::says("app").await;
    let secrets = tempfile::NamedTempFile::new().expect("there is room for a file");
    std::fs::write(secrets.path(), "It's a Secret to Everybody\n").expect("the file is ours");
    let path = secrets.path().to_str().expect("its path is text");
    let variables = [("SECRETS", path), ("APP_1", app.address())];
    let proxy = example_with("verify_signature", &variables).await;
    let post = |code: &str| {
        let code = format!("X-Hub-Signature-256: sha256={code}\r\n");
        format!(
            "POST /webhooks/github HTTP/1.1\r\nHost: test\r\nContent-Length: 13\r\n{code}\r\nHello, World!"
        )
    };
    let code = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(proxy.exchange(post(code)).await.text(), "app");
    assert_eq!(
        proxy.exchange(post(&code.replace('7', "8"))).await.status,
        401
    );
    assert_eq!(proxy.get("/").await.text(), "app");
}

#[tokio::test]
async fn access_log() {
    let (a, b) = (
        origin::answers(|_| Answer::status(503, "")).await,
        origin::says("b").await,
    );
    let proxy = example("access_log", &[a.address(), b.address()]).await;
    proxy.get("/x").await;
    let line = format!(
        "ua=\"{}, {}\" us=\"503, 200\" ut=\"0.0",
        a.address(),
        b.address()
    );
    proxy.stdout().contains(&line).await;
}

#[tokio::test]
async fn access_log_json() {
    let origin = origin::says("a").await;
    let proxy = example("access_log_json", &[origin.address()]).await;
    proxy.get("/x").await;
    let lines = proxy
        .stdout()
        .wait_until("a line", |text| text.ends_with('\n'))
        .await;
    let line: serde_json::Value =
        serde_json::from_str(&lines).unwrap_or_else(|error| panic!("{error}: {lines}"));
    assert_eq!(line["status"], 200);
}

#[tokio::test]
async fn headers() {
    let origin = origin::answers(|_| Answer::ok("a").header("X-Powered-By", "steam")).await;
    let proxy = example("headers", &[origin.address()]).await;
    let response = proxy.get_with("/x?y", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(response.header("X-Served-By"), origin.address());
    assert_eq!(response.headers.get("X-Powered-By"), None);
    let request = origin.request();
    assert_eq!(
        (request.header("Host"), request.header("X-Request-Path")),
        ("app.internal", "/x")
    );
    assert_eq!(request.headers.get("Accept-Encoding"), None);
}

#[tokio::test]
async fn routes() {
    let target = |name: &'static str| {
        origin::answers(move |request| Answer::ok(format!("{name} {}", request.target)))
    };
    let (site, api) = (target("site").await, target("api").await);
    let proxy = example("routes", &[site.address(), api.address()]).await;
    let ask = async |host: &str, target: &str| {
        proxy
            .exchange(format!(
                "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            ))
            .await
    };
    assert_eq!(ask("example.com", "/page").await.text(), "site /page");
    assert_eq!(
        ask("www.example.com", "/api/users").await.text(),
        "api /users"
    );
    assert_eq!(ask("example.com", "/health").await.text(), "well");
    assert_eq!(ask("example.com", "/api/x.php").await.status, 404);
    let redirect = ask("old.example", "/page?x").await;
    assert_eq!(
        (redirect.status, redirect.header("Location")),
        (301, "https://example.com/page?x")
    );
    assert_eq!(ask("other.example", "/").await.status, 404);
}

#[tokio::test]
async fn websocket() {
    let origin = origin::speaks(|mut wire, _| async move {
        let Ok(head) = wire.head().await else { return };
        let key = head.fields.get("Sec-WebSocket-Key").unwrap_or_default();
        let accept = websocket::accept(key);
        wire.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        ))
        .await;
        while let Ok(line) = wire.until(b"\n").await {
            wire.send(line).await;
        }
    })
    .await;
    let proxy = example("websocket", &[origin.address()]).await;
    let mut client = proxy.client().await;
    client
        .send("GET /chat HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n")
        .await;
    assert_eq!(client.response_head().await.status, 101);
    client.send("hello\n").await;
    assert_eq!(client.wire.until(b"\n").await.expect("an echo"), b"hello\n");

    let mut client = Http2::connect(proxy.address()).await;
    client.offers_extended_connect().await;
    let mut request = client.request("CONNECT", "/chat", &[("sec-websocket-version", "13")]);
    request
        .extensions_mut()
        .insert(h2::ext::Protocol::from("websocket"));
    let mut stream = client.open(request, false).await;
    assert_eq!(stream.head().await.status, 200);
    stream.send("hello\n", false);
    assert_eq!(stream.part().await, "hello\n");
}

#[tokio::test]
async fn http2() {
    let origin = origin::says("a").await;
    let proxy = example("http2", &[origin.address()]).await;
    assert_eq!(answers(&proxy, 1).await, "a");
    let mut client = Http2::connect(proxy.address()).await;
    assert_eq!(client.get("/").await.version, "HTTP/2.0");
    assert_eq!(client.allowed_streams(), 64);
}

#[tokio::test]
async fn http2_upstream() {
    let origins = [http2::says("a").await, http2::says("b").await];
    let addresses = origins.each_ref().map(Origin::address);
    let proxy = example("http2_upstream", &addresses).await;
    assert_eq!(answers(&proxy, 4).await, "abab");
    let versions: Vec<String> = origins[0]
        .requests()
        .into_iter()
        .map(|request| request.version)
        .collect();
    assert_eq!(versions, ["HTTP/2.0", "HTTP/2.0"]);
}

#[tokio::test]
async fn grpc() {
    let serve = |mut exchange: http2::Exchange| async move {
        exchange.read().await;
        let fields = [("content-type", "application/grpc")];
        let mut body = exchange.begin(200, &fields).expect("a caller");
        let ok = Fields(vec![("grpc-status".to_owned(), "0".to_owned())]);
        body.send_trailers(ok.to_map()).expect("a caller");
    };
    let origin = http2::serves(h2::server::Builder::new(), serve).await;
    // One of the two is not there, and no call notices.
    let dead = origin::refuses();
    let proxy = example("grpc", &[origin.address(), dead.address()]).await;
    let mut client = Http2::connect(proxy.address()).await;
    let fields = [("content-type", "application/grpc"), ("te", "trailers")];
    for _ in 0..4 {
        let response = client.ask("POST", "/shop.Orders/List", &fields).await;
        assert_eq!(response.trailers.get("grpc-status"), Some("0"));
    }
    let elsewhere = client.ask("POST", "/other.Service/Call", &fields).await;
    assert_eq!(elsewhere.header("grpc-status"), "12");
}

#[tokio::test]
async fn unix_sockets() {
    let directory = tempfile::TempDir::new().expect("there is room for a directory");
    let origin = origin::says_on(&directory.path().join("app.sock"), "a");
    let listen = format!("unix:{}", directory.path().join("front.sock").display());
    let proxy = example_at("unix_sockets", &listen, &[origin.address()]).await;
    assert_eq!(proxy.get("/").await.text(), "a");
}

#[tokio::test]
async fn one_server() {
    let origin = origin::says("a").await;
    let proxy = example("one_server", &[origin.address()]).await;
    assert_eq!(answers(&proxy, 2).await, "aa");
}

/// A certificate's files, for the environment.
fn written(certificate: &Certificate, directory: &Path, name: &str) -> (String, String) {
    let path = certificate.write(directory, name);
    let file = |ending| path.with_extension(ending).display().to_string();
    (file("pem"), file("key"))
}

#[tokio::test]
async fn tls() {
    let (authority, directory) = (Authority::new("Specs"), tempfile::tempdir().unwrap());
    let origin = origin::says("hello").await;
    let com = authority.certificate(&["example.com"]);
    let org = authority.certificate(&["*.example.org"]);
    let (com, org) = (
        written(&com, directory.path(), "com"),
        written(&org, directory.path(), "org"),
    );
    let variables = [
        ("CERTIFICATE_1", com.0.as_str()),
        ("KEY_1", &com.1),
        ("CERTIFICATE_2", &org.0),
        ("KEY_2", &org.1),
        ("APP_1", origin.address()),
    ];
    let proxy = example_with("tls", &variables).await;
    for name in ["example.com", "www.example.org"] {
        let response = tls::get(proxy.address(), authority.trusting(), name, "/").await;
        assert_eq!(response.text(), "hello");
        assert_eq!(
            response.header("Strict-Transport-Security"),
            "max-age=31536000"
        );
    }
    let other = tls::connect(proxy.address(), authority.trusting_anyone(), "example.net").await;
    assert!(other.is_err());
}

#[tokio::test]
async fn tls_client_certificate() {
    let (authority, directory) = (Authority::new("Specs"), tempfile::tempdir().unwrap());
    let origin = origin::says("hello").await;
    let own = written(
        &authority.certificate(&["example.com"]),
        directory.path(),
        "own",
    );
    let clients = directory.path().join("clients.pem");
    std::fs::write(&clients, authority.pem()).unwrap();
    let clients = clients.display().to_string();
    let variables = [
        ("CERTIFICATE", own.0.as_str()),
        ("KEY", &own.1),
        ("CLIENT_CA", &clients),
        ("APP_1", origin.address()),
    ];
    let proxy = example_with("tls_client_certificate", &variables).await;
    let nobody = tls::get(proxy.address(), authority.trusting(), "example.com", "/").await;
    assert_eq!(nobody.status, 400);
    let alice = authority.trusting_as(&authority.client_certificate("alice"));
    let alice = tls::get(proxy.address(), alice, "example.com", "/").await;
    assert_eq!(alice.text(), "hello");
    assert!(origin.request().header("X-Client").ends_with("CN=alice"));
}

#[tokio::test]
async fn tls_upstream() {
    let (authority, directory) = (Authority::new("Specs"), tempfile::tempdir().unwrap());
    let own = authority.certificate(&["app.example"]);
    let origin = origin::answers_with(own.server(), |_| Answer::ok("hello")).await;
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let ca = ca.display().to_string();
    let variables = [("CA", ca.as_str()), ("APP_1", origin.address())];
    let proxy = example_with("tls_upstream", &variables).await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    let seen = origin.request().tls.expect("it came with TLS");
    assert_eq!(seen.server_name.as_deref(), Some("app.example"));
}

#[tokio::test]
async fn https_redirect() {
    let (authority, directory) = (Authority::new("Specs"), tempfile::tempdir().unwrap());
    let origin = origin::says("hello").await;
    let own = written(
        &authority.certificate(&["example.com"]),
        directory.path(),
        "own",
    );
    let variables = [
        ("LISTEN_TLS", "127.0.0.1:0"),
        ("CERTIFICATE", own.0.as_str()),
        ("KEY", &own.1),
        ("APP_1", origin.address()),
    ];
    let proxy = example_with("https_redirect", &variables).await;
    let plain = proxy
        .exchange("GET /x?y HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(
        (plain.status, plain.header("Location")),
        (301, "https://example.com:8443/x?y")
    );
    let secure = tls::get(
        proxy.listener(1),
        authority.trusting(),
        "example.com",
        "/x?y",
    )
    .await;
    assert_eq!(secure.text(), "hello");
}

#[tokio::test]
async fn tcp_stream() {
    let three = Three::start().await;
    let proxy = example("tcp_stream", &three.first(2)).await;
    let mut held = proxy.client().await;
    // HTTP is as good a protocol as any.
    let first = held.get("/").await.text();
    let other = proxy.get("/").await.text();
    assert_eq!(
        BTreeSet::from([first.as_str(), other.as_str()]),
        BTreeSet::from(["a", "b"])
    );
}

#[tokio::test]
async fn tcp_sni() {
    let three = Three::start().await;
    let proxy = example("tcp_sni", &three.first(3)).await;
    assert_eq!(proxy.get("/").await.text(), "c", "no TLS");
    let hello = |host: &str| {
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from(host.to_owned()).unwrap();
        let mut client = rustls::ClientConnection::new(config.into(), name).unwrap();
        let mut hello = Vec::new();
        client.write_tls(&mut hello).unwrap();
        hello
    };
    for (host, server) in [("a.example", 0), ("x.b.example", 1), ("b.example", 2)] {
        let before = three.origins[server].connections();
        let mut wire = waypost_tests::Wire::connect(proxy.address()).await.unwrap();
        wire.send(hello(host)).await;
        waypost_tests::eventually(host, async || three.origins[server].connections() > before)
            .await;
    }
}

#[tokio::test]
async fn proxy_protocol() {
    const V2_OF_IPV4: usize = 28;
    let origin = origin::speaks(|mut wire, _| async move {
        let Ok(header) = wire.exactly(V2_OF_IPV4).await else {
            return;
        };
        if wire.head().await.is_ok() {
            let client = header[16..20].iter().map(u8::to_string);
            let client = client.collect::<Vec<_>>().join(".");
            let answer = format!("HTTP/1.0 200 OK\r\n\r\n{client}");
            let _ = wire.try_send(answer).await;
        }
    })
    .await;
    let proxy = example("proxy_protocol", &[origin.address()]).await;
    let request = "PROXY TCP4 192.0.2.7 198.51.100.9 4000 443\r\nGET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    assert_eq!(proxy.exchange(request).await.text(), "192.0.2.7");
}

#[tokio::test]
async fn access() {
    let app = origin::says("app").await;
    let inside = example("access", &[app.address()]).await;
    let outside = [("APP_1", app.address()), ("OFFICE", "192.0.2.7")];
    let outside = example_with("access", &outside).await;
    for (target, at_the_office, elsewhere) in [("/statistics/", 200, 403), ("/wiki/", 200, 401)] {
        assert_eq!(inside.get(target).await.status, at_the_office);
        assert_eq!(outside.get(target).await.status, elsewhere);
    }
    let ann = "Authorization: Basic YW5uOnNlY3JldA==\r\n";
    assert_eq!(outside.get_with("/wiki/", ann).await.text(), "app");
    assert_eq!(outside.get_with("/statistics/", ann).await.status, 403);
}

#[tokio::test]
async fn basic_auth() {
    let app = origin::says("app").await;
    let proxy = example("basic_auth", &[app.address()]).await;
    assert_eq!(proxy.get("/public/").await.text(), "app");
    let asked = proxy.get("/").await;
    assert_eq!(asked.header("WWW-Authenticate"), "Basic realm=\"staff\"");
    let ann = "Authorization: Basic YW5uOnNlY3JldA==\r\n";
    assert_eq!(proxy.get_with("/", ann).await.text(), "app");
    assert_eq!(app.requests()[1].header("X-User"), "ann");
}

#[tokio::test]
async fn forward_auth() {
    let app = origin::says("app").await;
    let auth = origin::answers(|request| match request.header("Cookie") {
        "session=1" => Answer::ok("").header("X-User", "jo"),
        _ => Answer::status(302, "log in").header("Location", "/login"),
    })
    .await;
    let proxy = example("forward_auth", &[app.address(), auth.address()]).await;
    assert_eq!(proxy.get("/public/").await.text(), "app");
    let asked = proxy.get_with("/", "X-User: root\r\n").await;
    assert_eq!((asked.status, asked.header("Location")), (302, "/login"));
    let session = "Cookie: session=1\r\nX-User: root\r\n";
    assert_eq!(proxy.get_with("/", session).await.text(), "app");
    assert_eq!(app.requests()[1].header("X-User"), "jo");
    assert_eq!(auth.requests()[1].target, "/verify");
}

#[tokio::test]
async fn component() {
    let app = origin::says("app").await;
    let file = plugin("web_probe", "wasm32-unknown-unknown");
    let file = file.display().to_string();
    let variables = [("APP_1", app.address()), ("COMPONENT", &*file)];
    let proxy = example_with("component", &variables).await;
    assert_eq!(proxy.get("/").await.text(), "app");
    assert_eq!(proxy.get("/hello").await.status, 301);
    let answer = proxy.get("/hello/you").await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (404, "the probe knows no such word")
    );
}

#[tokio::test]
async fn mirror() {
    let (app, next) = (origin::says("app").await, origin::says("next").await);
    let proxy = example("mirror", &[app.address(), next.address()]).await;
    assert_eq!(proxy.get("/a").await.text(), "app");
    next.received(1).await;
    assert_eq!(next.request().target, "/a");
}

#[tokio::test]
async fn jwt() {
    let app = origin::says("app").await;
    let proxy = example("jwt", &[app.address()]).await;
    // Of `ann` of `acme`, until 2100.
    let token = "eyJhbGciOiAiSFMyNTYifQ.eyJzdWIiOiAiYW5uIiwgInRlbmFudCI6ICJhY21lIiwgImV4cCI6IDQxMDI0NDQ4M\
                 DB9.WHVxQtqnxHVNKB-9bmtDPIl3LUPZ6-RsmiNtRev-YqE";
    let line = format!("Authorization: Bearer {token}\r\nX-User: root\r\n");
    assert_eq!(proxy.get_with("/api/", &line).await.text(), "app");
    assert_eq!(app.request().header("X-User"), "ann");
    assert_eq!(app.request().header("X-Tenant"), "acme");
    assert_eq!(proxy.get("/api/").await.status, 401);
    assert_eq!(proxy.get_with("/", "X-User: root\r\n").await.text(), "app");
    assert_eq!(app.requests()[1].header("X-User"), "");
}

#[tokio::test]
async fn limit_req() {
    let app = origin::says("app").await;
    let proxy = example("limit_req", &[app.address()]).await;
    for (target, most) in [("/api/auth/", 6), ("/api/", 15), ("/", 30)] {
        let began = Instant::now();
        let mut passed = 0;
        for _ in 0..30 {
            let status = proxy.get(target).await.status;
            assert!(matches!(status, 200 | 429), "{status}");
            passed += usize::from(status == 200);
        }
        // One more each 600 ms.
        let later = began.elapsed().as_millis() as usize / 600 + 1;
        assert!(
            (most..=most + later).contains(&passed),
            "{target}: {passed}"
        );
    }
}

#[tokio::test]
async fn limit_req_shared() {
    if !redis::installed() {
        return;
    }
    let (redis, app) = (Redis::start().await, origin::says("app").await);
    let began = Instant::now();
    let url = redis.url();
    let machine = async || {
        let variables = [("APP_1", app.address()), ("REDIS", url.as_str())];
        let proxy = example_with("limit_req_shared", &variables).await;
        proxy.log_contains("listening on").await;
        proxy
    };
    let machines = [machine().await, machine().await];
    let mut passed = 0;
    for turn in 0..60 {
        let status = machines[turn % 2].get("/").await.status;
        assert!(matches!(status, 200 | 429), "{status}");
        passed += usize::from(status == 200);
    }
    // One more each 600 ms; one that the store was asked about too late has passed uncounted.
    let later = began.elapsed().as_millis() as usize / 600 + 1;
    let failed: u64 = {
        let mut failed = 0;
        for machine in &machines {
            failed += u64::from(machine.log().contains("does not answer"));
        }
        failed
    };
    assert!(
        failed > 0 || (21..=21 + later).contains(&passed),
        "{passed}"
    );
}

#[tokio::test]
async fn limit_conn() {
    let gate = Gate::closed();
    let held = gate.clone();
    let app = origin::answers(move |request| match request.target.as_str() {
        "/downloads/large" => Answer::ok("large").when(&held),
        _ => Answer::ok("app"),
    });
    let app = app.await;
    let proxy = example("limit_conn", &[app.address()]).await;
    let mut clients = [proxy.client().await, proxy.client().await];
    for client in &mut clients {
        client
            .send("GET /downloads/large HTTP/1.1\r\nHost: test\r\n\r\n")
            .await;
    }
    app.received(2).await;
    assert_eq!(proxy.get("/downloads/small").await.status, 429);
    assert_eq!(proxy.get("/").await.text(), "app");
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "large");
    }
}

/// Three servers, each of which is replaced by another one at another address, one after the other:
/// the way of containers.
#[tokio::test]
async fn names() {
    if !waypost_tests::names::installed() {
        return;
    }
    let (origins, port) = waypost_tests::names::origins(6).await;
    let hosts = |range: std::ops::Range<usize>| {
        let hosts = origins[range].iter().map(waypost_tests::names::host);
        hosts
            .map(|host| format!("{host} api.test\n"))
            .collect::<String>()
    };
    let mut dns = waypost_tests::names::Dnsmasq::start(&hosts(0..3), 0, &[]).await;
    let server = format!("api.test:{port}");
    let proxy = example_with("names", &[("DNS", &dns.address()), ("APP_1", &server)]).await;
    let load = waypost_tests::Load::start(proxy.address(), 4);
    for gone in 1..=3 {
        dns.knows(&hosts(gone..gone + 3)).await;
        let new = &origins[gone + 2];
        new.received(1).await;
        origins[gone - 1].has_open(0).await;
    }
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
}

#[tokio::test]
async fn servers_that_a_file_lists_come_and_go_without_a_failed_request() {
    let (a, b) = (origin::says("a").await, origin::says("b").await);
    let directory = tempfile::TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let list = |origin: &Origin| {
        std::fs::write(path("next"), format!("[\"{}\"]", origin.address())).unwrap();
        std::fs::rename(path("next"), path("servers.json")).unwrap();
    };
    list(&a);
    let admin = format!("unix:{}", path("admin.sock"));
    let files = [path("servers.json"), path("state.json")];
    let variables = [
        ("SERVERS", &*files[0]),
        ("STATE", &*files[1]),
        ("ADMIN", &*admin),
    ];
    let proxy = example_with("servers_from", &variables).await;
    let load = waypost_tests::Load::start(proxy.address(), 4);
    a.received(1).await;
    list(&b);
    b.received(1).await;
    a.has_open(0).await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
}

/// A directory of files: names and contents.
fn site(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("there is room for a directory");
    for (name, text) in files {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("it is below")).expect("it is ours");
        std::fs::write(path, text).expect("it is ours");
    }
    directory
}

#[tokio::test]
async fn spa() {
    let api = origin::says("api").await;
    let files = [
        ("index.html", "page"),
        ("robots.txt", "robots"),
        ("assets/app.1a2b.js", "script"),
        ("assets/app.1a2b.js.br", "compressed"),
    ];
    let site = site(&files);
    let root = site.path().display().to_string();
    let proxy = example_with("spa", &[("SITE", &root), ("APP_1", api.address())]).await;
    for (target, text, cache_control) in [
        ("/", "page", "no-cache"),
        ("/users/7", "page", "no-cache"),
        ("/robots.txt", "robots", "no-cache"),
        ("/assets/app.1a2b.js", "script", "max-age=31536000"),
    ] {
        let response = proxy.get(target).await;
        assert_eq!(response.text(), text, "{target}");
        assert_eq!(response.header("Cache-Control"), cache_control, "{target}");
    }
    assert_eq!(proxy.get("/assets/gone.js").await.status, 404);
    assert_eq!(proxy.get("/api/users").await.text(), "api");
    let brotli = proxy.get_with("/assets/app.1a2b.js", "Accept-Encoding: br\r\n");
    assert_eq!(brotli.await.text(), "compressed");
}

#[tokio::test]
async fn static_and_media() {
    let app = origin::says("app").await;
    let site = site(&[("s/admin/base.css", "p {}"), ("m/photo.jpg", "photo")]);
    let folder = ["s", "m"].map(|name| site.path().join(name).display().to_string());
    let variables = [
        ("STATIC", &*folder[0]),
        ("MEDIA", &*folder[1]),
        ("APP_1", app.address()),
    ];
    let proxy = example_with("static_and_media", &variables).await;
    let style = proxy.get("/static/admin/base.css").await;
    assert_eq!(style.text(), "p {}");
    assert_eq!(style.header("Cache-Control"), "max-age=2592000");
    let photo = proxy.get("/media/photo.jpg").await;
    assert_eq!(photo.header("Content-Type"), "image/jpeg");
    assert_eq!(proxy.get("/media/none.jpg").await.status, 404);
    assert_eq!(proxy.get("/anything").await.text(), "app");
}

#[tokio::test]
async fn acme() {
    let app = origin::says("app").await;
    let directory = Directory::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("ca.pem"), directory.authority.pem()).unwrap();
    let (url, store, ca) = (directory.url(), path("store"), path("ca.pem"));
    let admin = path("admin.sock");
    let variables = [
        ("LISTEN_TLS", "127.0.0.1:0"),
        ("EMAIL", "ops@example.com"),
        ("DIRECTORY", &*url),
        ("STORE", &*store),
        ("CA", &*ca),
        ("ADMIN", &*admin),
        ("APP_1", app.address()),
    ];
    let proxy = example_with("acme", &variables).await;
    for name in ["example.com", "www.example.com"] {
        let ordered = format!("certificate for `{name}` ordered");
        proxy.log_contains(&ordered).await;
    }
    proxy.log_contains("generation 3").await;
    for name in ["example.com", "www.example.com"] {
        let trusting = directory.authority.trusting();
        let response = tls::get(proxy.listener(1), trusting, name, "/").await;
        assert_eq!(response.text(), "app");
    }
    let redirected = proxy.get("/.well-known/acme-challenge/none").await;
    assert_eq!(redirected.status, 301);
}

#[tokio::test]
async fn acme_webroot() {
    let app = origin::says("app").await;
    let site = site(&[(".well-known/acme-challenge/token", "token.key")]);
    let root = site.path().display().to_string();
    let variables = [("WEBROOT", &*root), ("APP_1", app.address())];
    let proxy = example_with("acme_webroot", &variables).await;
    let token = proxy.get("/.well-known/acme-challenge/token").await;
    assert_eq!(token.text(), "token.key");
    assert_eq!(token.header("Content-Type"), "text/plain; charset=utf-8");
    let other = proxy.get("/.well-known/acme-challenge/none").await;
    assert_eq!(other.status, 404);
    assert_eq!(proxy.get("/").await.text(), "app");
}
