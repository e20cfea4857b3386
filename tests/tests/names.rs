//! Names of servers are resolved again: when their answers expire, and when a connection fails.
//! What name servers do meanwhile, vanish, hang or lie, costs no request.

mod learned; // for a change, and what becomes of it
mod shown; // of servers without an address

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustix::process::Signal;
use waypost_tests::admin::{ADMIN, Successor, request};
use waypost_tests::names::{
    A, AAAA, Dnsmasq, Record, SRV, Scripted, host, installed, loopback, origins,
};
use waypost_tests::{Client, Load, Origin, Proxy, eventually, origin, outlast, proxy};

/// A proxy that balances one name, asked of this server; `more` are keys of its `resolver`.
async fn resolving(server: &str, addresses: &str, more: &str) -> Proxy {
    let resolver = format!("resolver = {{ addresses = [\"{addresses}\"]{more} }}");
    let setup = proxy::to([server.to_owned()]).upstream(&resolver);
    setup.server("workers = 2").more(ADMIN).start().await
}

fn name(name: &str, port: u16) -> String {
    format!("{{ address = \"{name}:{port}\", max_fails = 0 }}")
}

/// Lines of a hosts file that give these origins one name.
fn hosts(name: &str, origins: &[&Origin]) -> String {
    let lines = origins
        .iter()
        .map(|origin| format!("{} {name}\n", host(origin)));
    lines.collect()
}

/// The names that `waypost upstream list` has.
async fn listed(proxy: &Proxy) -> serde_json::Value {
    let shown = proxy.shows("/upstreams").await;
    shown["upstreams"][0].clone()
}

/// The addresses that its servers have, without ports, in alphabetical order.
async fn served(proxy: &Proxy) -> Vec<String> {
    let upstream = listed(proxy).await;
    let servers = upstream["servers"].as_array().expect("a list");
    let address = |server: &serde_json::Value| {
        let address = server["address"].as_str()?; // a name may have none
        Some(address.rsplit_once(':').expect("a port").0.to_owned())
    };
    let mut addresses: Vec<String> = servers.iter().filter_map(address).collect();
    addresses.sort();
    addresses
}

async fn serves(proxy: &Proxy, origins: &[&Origin]) {
    let mut expected: Vec<String> = origins.iter().map(|origin| host(origin)).collect();
    expected.sort();
    eventually("the addresses to be served", async || {
        served(proxy).await == expected
    })
    .await;
}

#[tokio::test]
async fn a_name_that_is_not_known_at_the_start_gets_its_servers_when_it_is() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(1).await;
    let mut dns = Dnsmasq::start("", 0, &[]).await;
    let proxy = resolving(&name("late.test", port), &dns.address(), "").await;
    let response = proxy.get("/").await;
    assert_eq!(response.status, 502);
    for part in [
        "host not found in upstream `late.test",
        "late.test could not be resolved (3: Host not found); it has no servers until it can be",
        "no live upstreams, as none of its servers is known, while connecting to upstream",
    ] {
        proxy.log_contains(part).await;
    }
    let shown = listed(&proxy).await;
    assert_eq!(shown["names"][0]["name"], "late.test");
    assert_eq!(shown["names"][0]["addresses"], 0);
    assert_eq!(shown["names"][0]["error"], "3: Host not found");
    let server = &shown["servers"][0];
    assert_eq!(server["server"], format!("late.test:{port}"));
    assert!(server["address"].is_null() && server["in_rotation"] == false);
    let why = &server["why"][0];
    assert_eq!(why["reason"], "unresolved");
    assert_eq!(why["detail"], "3: Host not found");
    assert!(why["since_ms"].is_u64() && why["next_ms"].is_u64(), "{why}");
    dns.knows(&hosts("late.test", &[&origins[0]])).await;
    eventually("the name to be known", async || {
        proxy.get("/").await.status == 200
    })
    .await;
    assert_eq!(proxy.get("/").await.text(), host(&origins[0]));
    assert!(listed(&proxy).await["names"][0]["error"].is_null());
}

/// The thread that asks panics with the first command, and then what follows this name.
#[tokio::test]
async fn after_an_internal_error_names_are_asked_about_anew() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(2).await;
    let [a, b] = &origins[..] else { panic!() };
    let mut dns = Dnsmasq::start(&hosts("api.test", &[a]), 0, &[]).await;
    let resolver = format!("resolver = {{ addresses = [\"{}\"] }}", dns.address());
    let setup = proxy::to([name("api.test", port)]).upstream(&resolver);
    let setup = setup.through_shell("export WAYPOST_FAULTS=resolver,name; exec \"$@\"");
    let proxy = setup.more(ADMIN).start().await.panicking(2);
    for line in [
        "resolving names begins anew after an internal error",
        "api.test is asked for anew after an internal error",
    ] {
        proxy.log_contains(line).await;
    }
    serves(&proxy, &[a]).await;
    dns.knows(&hosts("api.test", &[b])).await;
    serves(&proxy, &[b]).await;
}

#[tokio::test]
async fn addresses_that_come_and_go_under_load_cost_no_request() {
    if !installed() {
        return;
    }
    for policy in ["round_robin", "least_conn", "ewma", "ip_hash"] {
        let (origins, port) = origins(3).await;
        let [a, b, c] = &origins[..] else { panic!() };
        let mut dns = Dnsmasq::start(&hosts("api.test", &[a, b]), 0, &[]).await;
        let resolver = format!(
            "policy = \"{policy}\"\nresolver = {{ addresses = [\"{}\"], valid = \"100ms\" }}",
            dns.address()
        );
        let setup = proxy::to([name("api.test", port)]).upstream(&resolver);
        let proxy = setup.server("workers = 2").more(ADMIN).start().await;
        let load = Load::start(proxy.address(), 8);
        for now in [&[b, c][..], &[c], &[a, b, c], &[a]] {
            dns.knows(&hosts("api.test", now)).await;
            serves(&proxy, now).await;
        }
        // What was kept open to the others is closed.
        b.has_open(0).await;
        c.has_open(0).await;
        let report = load.stop().await;
        assert!(report.errors.is_empty(), "{policy}: {:?}", report.errors);
        assert!(report.bodies.contains(&host(c)) || policy == "ip_hash");
        proxy
            .log_contains(&format!("api.test is {}", a.address()))
            .await;
    }
}

/// The dead one is asked for again at once, not after the hour that the answer holds.
#[tokio::test]
async fn a_connection_that_fails_has_the_name_asked_for_at_once() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(3).await;
    let mut dns = Dnsmasq::start(&hosts("moved.test", &[&origins[0]]), 3600, &[]).await;
    let (server, valid) = (name("moved.test", port), ", valid = \"1h\"");
    let proxy = resolving(&server, &dns.address(), valid).await;
    assert_eq!(proxy.get("/").await.text(), host(&origins[0]));
    let mut origins = origins.into_iter();
    let mut gone = origins.next().expect("there are three");
    // Each time.
    for next in origins {
        dns.knows(&hosts("moved.test", &[&next])).await;
        // What is kept open goes on; a new connection fails.
        gone.dies().await;
        eventually("the other address", async || {
            proxy.get("/").await.status == 200
        })
        .await;
        assert_eq!(proxy.get("/").await.text(), host(&next));
        gone = next;
    }
}

#[tokio::test]
async fn connections_that_fail_have_the_name_asked_for_once_a_second_at_most() {
    // Nobody listens there.
    let nobody = loopback();
    let dns = Scripted::start(move |question| match question.kind {
        A => vec![question.answer(0, &[Record::address(&question.name, nobody, 3600)])],
        _ => vec![question.answer(0, &[])],
    })
    .await;
    let valid = ", valid = \"1h\"";
    let proxy = resolving(&name("dead.test", 1), &dns.address(), valid).await;
    let (since, asked) = (std::time::Instant::now(), dns.questions());
    while since.elapsed() < Duration::from_secs(2) {
        assert_eq!(proxy.get("/").await.status, 502);
    }
    let seconds = since.elapsed().as_secs() as usize;
    let asked = dns.questions() - asked;
    // About addresses of IPv4 and of IPv6.
    assert!(asked <= 2 * (seconds + 2), "{asked} in {seconds} s");
}

#[tokio::test]
async fn a_reload_has_names_asked_about_again_however_long_their_answers_hold() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(2).await;
    let [a, b] = &origins[..] else { panic!() };
    let mut dns = Dnsmasq::start(&hosts("moved.test", &[a]), 3600, &[]).await;
    let (server, valid) = (name("moved.test", port), ", valid = \"1h\"");
    let proxy = resolving(&server, &dns.address(), valid).await;
    serves(&proxy, &[a]).await;
    dns.knows(&hosts("moved.test", &[b])).await;
    proxy.reload().await;
    serves(&proxy, &[b]).await;
}

#[tokio::test]
async fn a_name_server_that_dies_hangs_or_forgets_the_name_changes_nothing() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(2).await;
    let [a, b] = &origins[..] else { panic!() };
    let mut dns = Dnsmasq::start(&hosts("kept.test", &[a, b]), 0, &[]).await;
    let more = ", valid = \"100ms\", timeout = \"300ms\"";
    let proxy = resolving(&name("kept.test", port), &dns.address(), more).await;
    let load = Load::start(proxy.address(), 4);
    let fails = async |part: &str| {
        eventually("the question to fail", async || {
            let error = listed(&proxy).await["names"][0]["error"].clone();
            error.as_str().is_some_and(|error| error.contains(part))
        })
        .await;
    };
    dns.knows("").await;
    fails("3: Host not found").await;
    serves(&proxy, &[a, b]).await;
    dns.hangs();
    fails("110: Operation timed out").await;
    serves(&proxy, &[a, b]).await;
    dns.goes_on();
    dns.dies().await;
    dns.comes_back().await;
    dns.knows(&hosts("kept.test", &[a])).await;
    serves(&proxy, &[a]).await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    proxy
        .log_contains(
            "kept.test could not be resolved (3: Host not found); the addresses known before stay",
        )
        .await;
}

#[tokio::test]
async fn a_service_brings_ports_weights_and_backups_of_its_servers() {
    if !installed() {
        return;
    }
    let (a, b, c) = (
        origin::named().await,
        origin::named().await,
        origin::named().await,
    );
    let port = |origin: &Origin| origin.address().rsplit_once(':').unwrap().1.to_owned();
    let records = [
        format!("--srv-host=_http._tcp.shop.test,one.test,{},1,3", port(&a)),
        format!("--srv-host=_http._tcp.shop.test,one.test,{},1,1", port(&b)),
        format!("--srv-host=_http._tcp.shop.test,two.test,{},2,9", port(&c)),
    ];
    let options: Vec<&str> = records.iter().map(String::as_str).collect();
    let known = "127.0.0.1 one.test\n127.0.0.1 two.test\n";
    let dns = Dnsmasq::start(known, 0, &options).await;
    for service in ["http", "_http._tcp"] {
        let server = format!("{{ address = \"shop.test\", service = \"{service}\" }}");
        let proxy = resolving(&server, &dns.address(), "").await;
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..8 {
            *counts.entry(proxy.get("/").await.text()).or_insert(0) += 1;
        }
        let expected = [(a.address().to_owned(), 6), (b.address().to_owned(), 2)];
        assert_eq!(counts, expected.into());
        let shown = listed(&proxy).await;
        let backups: Vec<_> = shown["servers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|server| server["backup"] == true)
            .map(|server| server["address"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(backups, [c.address()]);
        assert_eq!(shown["names"][0]["name"], "_http._tcp.shop.test");
    }
    // The operator's weight counts before that of DNS, as in nginx.
    let server = "{ address = \"shop.test\", service = \"http\", weight = 7 }";
    let proxy = resolving(server, &dns.address(), "").await;
    let shown = listed(&proxy).await;
    assert_eq!(shown["servers"][1]["weight"], 7);
}

#[tokio::test]
async fn names_are_looked_for_below_the_search_domains_of_the_machine() {
    let (origins, port) = origins(1).await;
    let at = host(&origins[0]).parse().unwrap();
    let dns = Scripted::start(move |question| {
        let records = match (question.name.as_str(), question.kind) {
            ("api.two.test", A) => vec![Record::address("api.two.test", at, 60)],
            ("api.two.test", _) => Vec::new(),
            _ => return vec![question.answer(3, &[])],
        };
        vec![question.answer(0, &records)]
    })
    .await;
    let resolver = format!("resolver = {{ addresses = [\"{}\"] }}", dns.address());
    let setup = proxy::to([name("api", port)]).upstream(&resolver);
    let setup = setup.through_shell("export LOCALDOMAIN='one.test two.test'; exec \"$@\"");
    let proxy = setup.start().await;
    assert_eq!(proxy.get("/").await.text(), host(&origins[0]));
}

/// A name server that answers first with the number of another question, and then truly.
#[tokio::test]
async fn answers_to_another_question_are_not_believed() {
    let (origins, port) = origins(1).await;
    let (at, wrong) = (host(&origins[0]).parse().unwrap(), loopback());
    let dns = Scripted::start(move |question| {
        if question.kind != A {
            return vec![question.answer(0, &[])];
        }
        let mut lie = question.answer(0, &[Record::address(&question.name, wrong, 60)]);
        lie[0] ^= 0xff;
        let truth = question.answer(0, &[Record::address(&question.name, at, 60)]);
        vec![lie, truth]
    })
    .await;
    let proxy = resolving(&name("lied.test", port), &dns.address(), "").await;
    assert_eq!(proxy.get("/").await.text(), host(&origins[0]));
}

#[tokio::test]
async fn aliases_in_a_circle_and_answers_without_sense_end_a_question() {
    for (lie, why) in [
        ("circle", "b.test. is an alias of itself"),
        ("garbage", ""),
        ("refuses", "5: Operation refused"),
    ] {
        let dns = Scripted::start(move |question| match lie {
            "circle" => {
                let other = match question.name.as_str() {
                    "a.test" => "b.test",
                    _ => "a.test",
                };
                vec![question.answer(0, &[Record::alias(&question.name, other)])]
            }
            "garbage" => {
                let mut answer = question.answer(0, &[]);
                answer[7] = 9; // nine records that are not there
                vec![answer, vec![0; 3], b"nonsense".to_vec()]
            }
            _ => vec![question.answer(5, &[])],
        })
        .await;
        let more = ", timeout = \"500ms\"";
        let proxy = resolving(&name("a.test", 80), &dns.address(), more).await;
        assert_eq!(proxy.get("/").await.status, 502, "{lie}");
        let shown = listed(&proxy).await;
        let error = shown["names"][0]["error"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(!error.is_empty() && error.contains(why), "{lie}: {error}");
    }
}

#[tokio::test]
async fn an_answer_too_large_for_a_datagram_is_asked_for_over_tcp() {
    let (origins, port) = origins(1).await;
    let at = host(&origins[0]).parse().unwrap();
    let dns = Scripted::start(move |question| {
        let of_kind = |records: Vec<Record>| match question.kind {
            A => records,
            _ => Vec::new(),
        };
        let others = (0..199).map(|last| std::net::Ipv4Addr::new(127, 1, 1, last));
        let all = std::iter::once(at).chain(others);
        let records = all.map(|at| Record::address(&question.name, at, 60));
        vec![question.answer_as_it_fits(&of_kind(records.collect()))]
    })
    .await;
    let proxy = resolving(&name("many.test", port), &dns.address(), "").await;
    let shown = listed(&proxy).await;
    assert_eq!(shown["names"][0]["addresses"], 200);
    assert_eq!(shown["servers"].as_array().unwrap().len(), 200);
}

#[tokio::test]
async fn an_answer_that_never_holds_is_asked_for_once_a_second_at_most() {
    let (origins, port) = origins(1).await;
    let at = host(&origins[0]).parse().unwrap();
    let dns = Scripted::start(move |question| {
        let records = match question.kind {
            A => vec![Record::address(&question.name, at, 0)],
            _ => Vec::new(),
        };
        vec![question.answer(0, &records)]
    })
    .await;
    let proxy = resolving(&name("zero.test", port), &dns.address(), "").await;
    let (since, before) = (std::time::Instant::now(), dns.questions());
    outlast(Duration::from_secs(2)).await;
    // Two for each time: of IPv4 and of IPv6.
    let most = 2 * (since.elapsed().as_secs() as usize + 1);
    let asked = dns.questions() - before;
    assert!(
        (2..=most).contains(&asked),
        "{asked} questions, {most} at most"
    );
    assert_eq!(proxy.get("/").await.text(), host(&origins[0]));
}

#[tokio::test]
async fn ipv6_is_asked_for_unless_it_is_off() {
    for (more, kinds) in [("", 2), (", ipv6 = false", 1)] {
        let dns = Scripted::start(|question| vec![question.answer(3, &[])]).await;
        let proxy = resolving(&name("six.test", 80), &dns.address(), more).await;
        assert_eq!(proxy.get("/").await.status, 502);
        assert_eq!(dns.questions() % kinds, 0);
        let log = proxy.log();
        assert!(log.contains("six.test could not be resolved"), "{log}");
    }
}

/// It is down for as long as its name was told to be, wherever that leads meanwhile.
#[tokio::test]
async fn a_name_that_is_drained_is_down_since_then_at_another_address_too() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(2).await;
    let [a, b] = &origins[..] else { panic!() };
    let mut dns = Dnsmasq::start(&hosts("api.test", &[a]), 0, &[]).await;
    let server = name("api.test", port);
    let proxy = resolving(&server, &dns.address(), ", valid = \"100ms\"").await;
    let down = format!("/upstreams/backend/servers/api.test:{port}");
    let drained = proxy.admin("PATCH", &down, "{\"down\": true}").await;
    assert_eq!(drained.status, 200, "{}", drained.text());
    let since = std::time::Instant::now();
    outlast(Duration::from_secs(1)).await;
    dns.knows(&hosts("api.test", &[b])).await;
    serves(&proxy, &[b]).await;
    let passed = since.elapsed().as_millis() as u64;
    let why = listed(&proxy).await["servers"][0]["why"][0].clone();
    assert_eq!(why["reason"], "down");
    assert!(
        why["since_ms"].as_u64().expect("a number") >= passed,
        "{why}"
    );
}

/// nginx's way, for those who want it.
#[tokio::test]
async fn a_name_that_is_resolved_once_has_to_be_known_and_stays_what_it_was() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(2).await;
    let [a, b] = &origins[..] else { panic!() };
    let mut dns = Dnsmasq::start(&hosts("once.test", &[a]), 0, &[]).await;
    let resolver = format!(
        "resolve = \"once\"\nresolver = {{ addresses = [\"{}\"], valid = \"100ms\" }}",
        dns.address()
    );
    let setup = proxy::to([name("once.test", port)]).upstream(&resolver);
    let proxy = setup.more(ADMIN).start().await;
    dns.knows(&hosts("once.test", &[b])).await;
    // Those that are resolved again have been asked about several times by now.
    outlast(Duration::from_secs(1)).await;
    assert_eq!(proxy.get("/").await.text(), host(a));
    assert!(listed(&proxy).await["names"].is_null());
    let reload = proxy.admin("POST", "/reload", "").await;
    assert_eq!(reload.status, 200, "{}", reload.text());
    assert_eq!(proxy.get("/").await.text(), host(b));
    dns.knows("").await;
    let refused = proxy.admin("POST", "/reload", "").await;
    let text = refused.text();
    let part = "host not found in upstream `once.test";
    assert!(refused.status >= 400 && text.contains(part), "{text}");
    assert_eq!(proxy.get("/").await.text(), host(b));
}

/// The thread that asks panics with each of the commands that the start has for it, the question that
/// is asked three times and what is kept, and then with the reload's question, twice.
#[tokio::test]
async fn a_reload_learns_names_that_are_resolved_once_although_the_thread_that_asks_fails() {
    let (origins, port) = origins(1).await;
    let (dns, _) = zones(&origins).await;
    let setup = proxy::to([&origins[0]]).more(ADMIN);
    let setup = setup.through_shell("export WAYPOST_FAULTS=resolver:7; exec \"$@\"");
    let proxy = setup.start().await.panicking(7);
    let begun_anew = |log: &str| log.matches("resolving names begins anew").count();
    let stderr = proxy.stderr();
    stderr
        .wait_until("the start's failures", |log| begun_anew(log) >= 5)
        .await;
    assert_eq!(begun_anew(&proxy.log()), 5);
    proxy.append(&format!(
        "[upstream.once]\nservers = [\"once.known.test:{port}\"]\nresolve = \"once\"\n\
         resolver = {{ addresses = [\"{}\"] }}\n\
         [[route]]\npath = \"/once\"\nproxy = \"once\"",
        dns.address()
    ));
    assert!(proxy.reload().await.is_empty());
    assert_eq!(proxy.get("/once").await.text(), host(&origins[0]));
    proxy.log_contains("reloaded: generation 2").await;
    assert_eq!(begun_anew(&proxy.log()), 7, "by the reload's question");
}

#[tokio::test]
async fn an_address_may_move_from_one_upstream_to_another() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(2).await;
    let [a, b] = &origins[..] else { panic!() };
    let both = |one, other| hosts("one.test", &[one]) + &hosts("other.test", &[other]);
    let mut dns = Dnsmasq::start(&both(a, b), 0, &[]).await;
    let resolver = format!(
        "resolver = {{ addresses = [\"{}\"], valid = \"100ms\" }}",
        dns.address()
    );
    let other = name("other.test", port);
    let more = format!(
        "[upstream.other]\nservers = [{other}]\n[[route]]\npath = \"/other\"\nproxy = \"other\"\n{ADMIN}"
    );
    let setup = proxy::to([name("one.test", port)]).server(&resolver);
    let proxy = setup.more(&more).start().await;
    assert_eq!(proxy.get("/").await.text(), host(a));
    assert_eq!(proxy.get("/other").await.text(), host(b));
    dns.knows(&both(b, a)).await;
    eventually("both to have moved", async || {
        proxy.get("/").await.text() == host(b) && proxy.get("/other").await.text() == host(a)
    })
    .await;
}

#[tokio::test]
async fn sessions_of_streams_follow_names_too() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(1).await;
    let mut dns = Dnsmasq::start("", 0, &[]).await;
    let file = format!(
        "[server]\nresolver = {{ addresses = [\"{}\"] }}\n\
         [[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"tcp\"\n\
         [upstream.tcp]\nservers = [\"tcp.test:{port}\"]\n",
        dns.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    let mut client = Client::connect(proxy.listener(0)).await;
    client.closed().await;
    proxy
        .log_contains("no live upstreams, as none of its servers is known, while connecting")
        .await;
    dns.knows(&hosts("tcp.test", &[&origins[0]])).await;
    proxy.log_contains("tcp.test is 127").await;
    eventually("a session to be carried", async || {
        let mut client = Client::connect(proxy.listener(0)).await;
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        client
            .response_or_end()
            .await
            .is_some_and(|response| response.status == 200)
    })
    .await;
}

/// What is known of a name is not lost because it is asked of others from now on, who do not answer.
#[tokio::test]
async fn a_reload_that_changes_the_resolver_keeps_what_is_known() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(1).await;
    let mut dns = Dnsmasq::start(&hosts("kept.test", &[&origins[0]]), 0, &[]).await;
    let more = ", timeout = \"300ms\"";
    let proxy = resolving(&name("kept.test", port), &dns.address(), more).await;
    assert_eq!(proxy.get("/").await.status, 200);
    dns.dies().await;
    proxy.edit("timeout = \"300ms\"", "timeout = \"400ms\"");
    let reload = proxy.admin("POST", "/reload", "").await;
    assert_eq!(reload.status, 200, "{}", reload.text());
    assert_eq!(proxy.get("/").await.text(), host(&origins[0]));
}

#[tokio::test]
async fn a_reload_tells_of_names_that_are_not_known() {
    let dns = Scripted::start(|question| vec![question.answer(3, &[])]).await;
    let proxy = resolving(&name("gone.test", 80), &dns.address(), "").await;
    let reload = proxy.admin("POST", "/reload", "").await;
    let text = reload.text();
    assert_eq!(reload.status, 200, "{text}");
    assert!(
        text.contains("host not found in upstream `gone.test:80`"),
        "{text}"
    );
    let added = proxy
        .admin(
            "POST",
            "/upstreams/backend/servers",
            "{\"address\": \"gone.test:81\"}",
        )
        .await;
    assert!(
        added.status >= 400 && added.text().contains("add it once"),
        "{}",
        added.text()
    );
}

/// Reloads that cannot be served at once, for as long as a name server keeps them waiting.
#[tokio::test]
async fn a_reload_that_waits_for_a_name_server_holds_up_no_other_change() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(2).await;
    let [a, b] = &origins[..] else { panic!() };
    let mut dns = Dnsmasq::start(&hosts("api.test", &[a]), 0, &[]).await;
    let silent = Scripted::silent().await;
    let keys = format!(
        "resolver = {{ addresses = [\"{}\"], valid = \"100ms\" }}",
        dns.address()
    );
    let fixed = format!(
        "[upstream.fixed]\nservers = [\"{}\", \"127.0.0.1:1\"]\n",
        a.address()
    );
    let setup = proxy::to([name("api.test", port)]).upstream(&keys);
    let proxy = setup.more(&format!("{fixed}{ADMIN}")).start().await;
    proxy.append(&format!(
        "[upstream.slow]\nservers = [\"slow.test:80\", \"fast.test:80\"]\n\
         resolver = {{ addresses = [\"{}\"], timeout = \"30s\" }}",
        silent.address()
    ));
    let mut waits = Client::connect(&proxy.admin_address()).await;
    waits.send(request("POST", "/reload", "")).await;
    silent.is_asked(1).await;
    // Addresses are followed.
    dns.knows(&hosts("api.test", &[b])).await;
    serves(&proxy, &[b]).await;
    // Commands are done: one that needs no name, and one whose name is known.
    let server = "/upstreams/fixed/servers/127.0.0.1:1";
    let drained = proxy.admin("PATCH", server, "{\"down\": true}").await;
    assert_eq!(drained.status, 200, "{}", drained.text());
    let added = proxy.admin(
        "POST",
        "/upstreams/backend/servers",
        "{\"address\": \"api.test:1\"}",
    );
    let added = added.await;
    assert_eq!(added.status, 200, "{}", added.text());
    // It waits still, is given up where the process ends, and says so.
    assert_eq!(proxy.admin("POST", "/stop", "").await.status, 202);
    let refused = waits.response().await;
    assert_eq!(refused.status, 409, "{}", refused.text());
}

/// What is learned for a reload is not forgotten by a change that comes before it is served.
#[tokio::test]
async fn a_change_while_a_reload_waits_takes_no_name_away_from_it() {
    let (origins, port) = origins(1).await;
    let address: std::net::Ipv4Addr = host(&origins[0]).parse().expect("an address");
    let known = Arc::new(AtomicU8::new(0));
    let is_known = known.clone();
    let dns = Scripted::start(move |question| match (&*question.name, question.kind) {
        ("slow.test", _) if is_known.load(Relaxed) == 0 => Vec::new(),
        (name, A) => vec![question.answer(0, &[Record::address(name, address, 1)])],
        _ => vec![question.answer(0, &[])],
    })
    .await;
    let keys = format!(
        "resolver = {{ addresses = [\"{}\"], valid = \"100ms\", timeout = \"30s\" }}",
        dns.address()
    );
    let setup = proxy::to([name("api.test", port)]).server(&keys);
    let proxy = setup.more(ADMIN).start().await;
    proxy.append(&format!(
        "[upstream.new]\nservers = [\"slow.test:{port}\", \"fast.test:{port}\"]\n\
         [[route]]\npath = \"/new\"\nproxy = \"new\""
    ));
    let asked = dns.questions();
    let mut waits = Client::connect(&proxy.admin_address()).await;
    waits.send(request("POST", "/reload", "")).await;
    dns.is_asked(asked + 4).await;
    let change = "{\"weight\": 2}";
    let server = format!("/upstreams/backend/servers/api.test:{port}");
    let changed = proxy.admin("PATCH", &server, change).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    known.store(1, Relaxed);
    let reloaded = waits.response().await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert!(
        !reloaded.text().contains("host not found"),
        "{}",
        reloaded.text()
    );
    assert_eq!(proxy.get("/new").await.text(), host(&origins[0]));
}

/// Names of one zone are known, those of another are until this says so, and others never are. They
/// stand for the first origin, those that begin with `b` for the last one.
async fn zones(origins: &[Origin]) -> (Scripted, Arc<AtomicU8>) {
    let address = |index: usize| host(&origins[index]).parse::<std::net::Ipv4Addr>();
    let first = address(0).expect("an address");
    let last = address(origins.len() - 1).expect("an address");
    let gone = Arc::new(AtomicU8::new(0));
    let is_gone = gone.clone();
    let dns = Scripted::start(move |question| {
        let is_gone = is_gone.load(Relaxed) == 1;
        match question.name.rsplit('.').nth(1) {
            Some("known") => {}
            Some("leaves") if !is_gone => {}
            _ => return Vec::new(),
        }
        let address = if question.name.starts_with('b') {
            last
        } else {
            first
        };
        let records = [Record::address(&question.name, address, 1)];
        match question.kind {
            A => vec![question.answer(0, &records)],
            _ => vec![question.answer(0, &[])],
        }
    })
    .await;
    (dns, gone)
}

/// A proxy of `api.known.test` before such a name server, which waits two seconds for an answer.
async fn before_zones(dns: &Scripted, port: u16, more: &str) -> Proxy {
    let keys = format!(
        "resolver = {{ addresses = [\"{}\"], valid = \"100ms\", timeout = \"2s\" }}",
        dns.address()
    );
    let setup = proxy::to([name("api.known.test", port)]).server(&keys);
    setup.more(&format!("{more}{ADMIN}")).start().await
}

/// It is looked after until the reload is served, and from then on.
#[tokio::test]
async fn a_name_that_a_reload_has_learned_keeps_its_answer() {
    let (origins, port) = origins(1).await;
    let (dns, gone) = zones(&origins).await;
    let proxy = before_zones(&dns, port, "").await;
    proxy.append(&format!(
        "[upstream.new]\nservers = [\"n.leaves.test:{port}\"]\n\
         [upstream.dead]\nservers = [\"dead.test:{port}\"]\n\
         [[route]]\npath = \"/new\"\nproxy = \"new\""
    ));
    let asked = dns.questions();
    let mut waits = Client::connect(&proxy.admin_address()).await;
    waits.send(request("POST", "/reload", "")).await;
    dns.is_asked(asked + 6).await;
    let server = format!("/upstreams/backend/servers/api.known.test:{port}");
    let change = async |weight: u32| {
        let changed = proxy
            .admin("PATCH", &server, &format!("{{\"weight\": {weight}}}"))
            .await;
        assert_eq!(changed.status, 200, "{}", changed.text());
    };
    change(2).await;
    gone.store(1, Relaxed);
    assert_eq!(waits.response().await.status, 200);
    for weight in 3..6 {
        change(weight).await;
        assert_eq!(proxy.get("/new").await.text(), host(&origins[0]));
    }
    proxy.reload().await;
    assert_eq!(proxy.get("/new").await.text(), host(&origins[0]));
}

/// All that wait for one that waits itself are one: the file is the same for them.
#[tokio::test]
async fn reloads_that_wait_are_one_and_leave_room_for_other_commands() {
    let (origins, port) = origins(1).await;
    let (dns, _) = zones(&origins).await;
    let proxy = before_zones(&dns, port, "").await;
    proxy.append(&format!(
        "[upstream.dead]\nservers = [\"dead.test:{port}\"]"
    ));
    let mut waiting = Vec::new();
    let asked = dns.questions();
    for number in 0..20 {
        let mut client = Client::connect(&proxy.admin_address()).await;
        client.send(request("POST", "/reload", "")).await;
        waiting.push(client);
        if number == 0 {
            dns.is_asked(asked + 4).await;
        }
    }
    let server = format!("/upstreams/backend/servers/api.known.test:{port}");
    let changed = proxy.admin("PATCH", &server, "{\"weight\": 2}").await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let mut answers = std::collections::BTreeMap::<u16, usize>::new();
    for client in &mut waiting {
        *answers.entry(client.response().await.status).or_default() += 1;
    }
    assert_eq!(answers, [(200, 8), (503, 12)].into());
    // The first of all, the command, two reloads.
    assert_eq!(proxy.shows("/status").await["generation"], 4);
}

/// Also one that the process has begun with.
#[tokio::test]
async fn a_name_that_a_reload_removes_is_not_asked_about_any_more() {
    let (origins, port) = origins(1).await;
    let (dns, _) = zones(&origins).await;
    let gone = format!("[upstream.gone]\nservers = [\"gone.known.test:{port}\"]\n");
    let proxy = before_zones(&dns, port, &gone).await;
    proxy.edit(&format!("api.known.test:{port}"), origins[0].address());
    proxy.edit(&gone, "");
    proxy.reload().await;
    let asked = dns.questions();
    outlast(Duration::from_secs(3)).await;
    // One that was under way may have come behind it.
    assert!(dns.questions() <= asked + 4, "{}", dns.questions() - asked);
}

/// Nobody looks after it: it is in no configuration.
#[tokio::test]
async fn a_name_whose_addition_is_given_up_is_not_asked_about_again() {
    let (origins, port) = origins(1).await;
    let (dns, _) = zones(&origins).await;
    let proxy = before_zones(&dns, port, "").await;
    let mut leaves = Client::connect(&proxy.admin_address()).await;
    let add = "{\"address\": \"dead.test:80\"}";
    leaves
        .send(request("POST", "/upstreams/backend/servers", add))
        .await;
    proxy.log_contains("dead.test could not be resolved").await;
    assert!(leaves.response().await.status >= 400);
    outlast(Duration::from_secs(3)).await;
    let failed = proxy
        .log()
        .matches("dead.test could not be resolved")
        .count();
    assert_eq!(failed, 1);
    assert!(
        listed(&proxy).await["names"]
            .as_array()
            .expect("a list")
            .len()
            == 1
    );
}

/// Those that come by a command while a reload waits are asked about once, and not by the reload.
#[tokio::test]
async fn a_reload_keeps_what_names_stand_for_that_are_resolved_once_and_came_meanwhile() {
    let (origins, port) = origins(2).await;
    let (dns, _) = zones(&origins).await;
    let state = tempfile::tempdir().expect("there is room for a directory");
    let once = format!(
        "[upstream.once]\nservers = [\"one.known.test:{port}\"]\nresolve = \"once\"\n\
         state = \"{}/once.json\"\n[[route]]\npath = \"/once\"\nproxy = \"once\"\n",
        state.path().display()
    );
    let proxy = before_zones(&dns, port, &once).await;
    proxy.append(&format!(
        "[upstream.dead]\nservers = [\"dead.test:{port}\"]"
    ));
    let asked = dns.questions();
    let mut waits = Client::connect(&proxy.admin_address()).await;
    waits.send(request("POST", "/reload", "")).await;
    dns.is_asked(asked + 6).await;
    let added = format!("{{\"address\": \"b.known.test:{port}\"}}");
    let added = proxy.admin("POST", "/upstreams/once/servers", &added).await;
    assert_eq!(added.status, 200, "{}", added.text());
    let one = format!("/upstreams/once/servers/one.known.test:{port}");
    let removed = proxy.admin("DELETE", &one, "").await;
    assert_eq!(removed.status, 200, "{}", removed.text());
    assert_eq!(waits.response().await.status, 200);
    assert_eq!(proxy.get("/once").await.text(), host(&origins[1]));
}

/// Each of them knows another host by the name.
#[tokio::test]
async fn an_upgrade_hands_on_what_each_name_server_has_said() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(2).await;
    let [a, b] = &origins[..] else { panic!() };
    let mut inside = Dnsmasq::start(&hosts("app.test", &[a]), 0, &[]).await;
    let mut outside = Dnsmasq::start(&hosts("app.test", &[b]), 0, &[]).await;
    let resolver = |dns: &Dnsmasq| {
        let address = dns.address();
        format!("resolver = {{ addresses = [\"{address}\"], timeout = \"300ms\" }}")
    };
    let more = format!(
        "[upstream.outside]\nservers = [\"app.test:{port}\"]\n{}\n\
         [[route]]\npath = \"/outside\"\nproxy = \"outside\"\n{ADMIN}",
        resolver(&outside)
    );
    let setup = proxy::to([name("app.test", port)]).upstream(&resolver(&inside));
    let mut proxy = setup.more(&more).start().await;
    let expect = async |proxy: &Proxy| {
        assert_eq!(proxy.get("/").await.text(), host(a));
        assert_eq!(proxy.get("/outside").await.text(), host(b));
    };
    expect(&proxy).await;
    inside.dies().await;
    outside.dies().await;
    let upgraded = proxy.admin("POST", "/upgrade", "").await;
    assert_eq!(upgraded.status, 200, "{}", upgraded.text());
    let pid = upgraded.json()["pid"].as_u64().expect("a process id");
    let _successor = Successor::of(u32::try_from(pid).expect("a process id"));
    proxy.process().ended().await;
    expect(&proxy).await;
}

/// The first answer is an error, and the other name server takes a moment longer.
#[tokio::test]
async fn a_name_server_that_cannot_tell_does_not_silence_the_others() {
    let (origins, port) = origins(1).await;
    let address: std::net::Ipv4Addr = host(&origins[0]).parse().expect("an address");
    let good = Scripted::late(Duration::from_millis(200), move |question| {
        match question.kind {
            A => vec![question.answer(0, &[Record::address(&question.name, address, 60)])],
            _ => vec![question.answer(0, &[])],
        }
    })
    .await;
    for code in [2, 4, 5] {
        let bad = Scripted::start(move |question| vec![question.answer(code, &[])]).await;
        for addresses in [[&bad, &good], [&good, &bad]] {
            let addresses = addresses.map(Scripted::address).join("\", \"");
            let proxy = resolving(&name("api.test", port), &addresses, "").await;
            assert_eq!(proxy.get("/").await.text(), host(&origins[0]), "{code}");
        }
    }
}

/// What the others have said holds for as long as `valid` says, not for its hour.
#[tokio::test]
async fn a_name_that_one_of_several_name_servers_cannot_tell_is_followed() {
    let (origins, port) = origins(2).await;
    let addresses = [0, 1].map(|index| host(&origins[index]).parse().unwrap());
    let moved = Arc::new(AtomicU8::new(0));
    let has_moved = moved.clone();
    let good = Scripted::late(Duration::from_millis(100), move |question| {
        let at = addresses[usize::from(has_moved.load(Relaxed))];
        match question.kind {
            A => vec![question.answer(0, &[Record::address(&question.name, at, 3600)])],
            _ => vec![question.answer(0, &[])],
        }
    })
    .await;
    let bad = Scripted::start(|question| vec![question.answer(2, &[])]).await;
    let addresses = [&bad, &good].map(Scripted::address).join("\", \"");
    let valid = ", valid = \"100ms\"";
    let proxy = resolving(&name("api.test", port), &addresses, valid).await;
    assert_eq!(proxy.get("/").await.text(), host(&origins[0]));
    moved.store(1, Relaxed);
    serves(&proxy, &[&origins[1]]).await;
}

#[tokio::test]
async fn streams_go_to_the_ports_that_a_service_has() {
    if !installed() {
        return;
    }
    let origin = origin::named().await;
    let port = origin.address().rsplit_once(':').unwrap().1;
    let record = format!("--srv-host=_db._tcp.data.test,one.test,{port},1,3");
    let dns = Dnsmasq::start("127.0.0.1 one.test\n", 0, &[&record]).await;
    let file = format!(
        "[server]\nresolver = {{ addresses = [\"{}\"] }}\n\
         [[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"db\"\n\
         [upstream.db]\nservers = [{{ address = \"data.test\", service = \"db\" }}]\n",
        dns.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    let mut client = Client::connect(proxy.listener(0)).await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    assert_eq!(client.response().await.text(), origin.address());
}

#[tokio::test]
async fn a_kind_of_address_that_is_not_answered_for_costs_the_other_nothing() {
    for silent in [A, AAAA] {
        let (origins, port) = origins(1).await;
        let at: std::net::Ipv4Addr = host(&origins[0]).parse().unwrap();
        let dns = Scripted::start(move |question| match question.kind {
            kind if kind == silent => Vec::new(),
            A => vec![question.answer(0, &[Record::address(&question.name, at, 60)])],
            _ => vec![question.answer(0, &[Record::mapped(&question.name, at, 60)])],
        })
        .await;
        let more = ", timeout = \"500ms\"";
        let proxy = resolving(&name("half.test", port), &dns.address(), more).await;
        let shown = listed(&proxy).await;
        assert_eq!(shown["names"][0]["addresses"], 1, "{silent}: {shown}");
        assert_eq!(shown["names"][0]["error"], "110: Operation timed out");
        assert_eq!(proxy.get("/").await.text(), host(&origins[0]), "{silent}");
    }
}

/// `api` is `api.one.test` while that is known, whatever its name server says for a moment.
#[tokio::test]
async fn a_search_domain_that_fails_for_a_moment_leads_to_no_other_host() {
    let (origins, port) = origins(2).await;
    let [one, two] = [0, 1].map(|index| host(&origins[index]).parse().unwrap());
    let code = Arc::new(AtomicU8::new(0));
    let said = code.clone();
    let dns = Scripted::start(move |question| {
        let at = match question.name.as_str() {
            "api.one.test" => match said.load(Relaxed) {
                0 => one,
                code => return vec![question.answer(code, &[])],
            },
            "api.two.test" => two,
            _ => return vec![question.answer(3, &[])],
        };
        let records = match question.kind {
            A => vec![Record::address(&question.name, at, 0)],
            _ => Vec::new(),
        };
        vec![question.answer(0, &records)]
    })
    .await;
    let resolver = format!(
        "resolver = {{ addresses = [\"{}\"], valid = \"100ms\" }}",
        dns.address()
    );
    let setup = proxy::to([name("api", port)])
        .upstream(&resolver)
        .more(ADMIN);
    let setup = setup.through_shell("export LOCALDOMAIN='one.test two.test'; exec \"$@\"");
    let proxy = setup.start().await;
    for failing in [2, 3] {
        code.store(failing, Relaxed);
        let before = dns.questions();
        dns.is_asked(before + 4).await;
        assert_eq!(proxy.get("/").await.text(), host(&origins[0]), "{failing}");
        code.store(0, Relaxed);
        eventually("the answer to be good again", async || {
            listed(&proxy).await["names"][0]["error"].is_null()
        })
        .await;
    }
}

#[tokio::test]
async fn names_of_a_dead_name_server_hold_up_no_others() {
    let (origins, port) = origins(2).await;
    let [one, two] = [0, 1].map(|index| host(&origins[index]).parse().unwrap());
    let dead = Scripted::silent().await;
    let moved = Arc::new(AtomicU8::new(0));
    let seen = moved.clone();
    let good = Scripted::start(move |question| {
        let at = [one, two][usize::from(seen.load(Relaxed))];
        let records = match question.kind {
            A => vec![Record::address(&question.name, at, 1)],
            _ => Vec::new(),
        };
        vec![question.answer(0, &records)]
    })
    .await;
    let servers: Vec<String> = (0..300)
        .map(|number| format!("\"dead{number}.test\""))
        .collect();
    let more = format!(
        "[upstream.dead]\nservers = [{}]\nresolver = {{ addresses = [\"{}\"], timeout = \"2s\" }}\n\
         [[route]]\npath = \"/dead\"\nproxy = \"dead\"\n",
        servers.join(", "),
        dead.address()
    );
    let resolver = format!(
        "resolver = {{ addresses = [\"{}\"], valid = \"100ms\" }}",
        good.address()
    );
    let setup = proxy::to([name("good.test", port)]).upstream(&resolver);
    let proxy = setup.more(&more).start().await;
    assert_eq!(proxy.get("/").await.text(), host(&origins[0]));
    moved.store(1, Relaxed);
    let since = std::time::Instant::now();
    eventually("the other address", async || {
        proxy.get("/").await.text() == host(&origins[1])
    })
    .await;
    // All dead ones together take ten seconds and more.
    assert!(
        since.elapsed() < Duration::from_secs(6),
        "{:?}",
        since.elapsed()
    );
}

/// They have a share of its questions, each of which takes a minute.
#[tokio::test]
async fn names_that_nobody_answers_for_hold_up_no_others_of_their_name_server() {
    let (origins, port) = origins(2).await;
    let [one, two] = [0, 1].map(|index| host(&origins[index]).parse().unwrap());
    let moved = Arc::new(AtomicU8::new(0));
    let unanswered = Arc::new(AtomicUsize::new(0));
    let (seen, count) = (moved.clone(), unanswered.clone());
    let dns = Scripted::start(move |question| {
        if question.name.starts_with("dead") {
            count.fetch_add(1, Relaxed);
            return Vec::new();
        }
        let at = [one, two][usize::from(seen.load(Relaxed))];
        let records = match question.kind {
            A => vec![Record::address(&question.name, at, 1)],
            _ => Vec::new(),
        };
        vec![question.answer(0, &records)]
    })
    .await;
    let keys = ", valid = \"100ms\", timeout = \"60s\"";
    let proxy = resolving(&name("good.test", port), &dns.address(), keys).await;
    assert_eq!(proxy.get("/").await.text(), host(&origins[0]));
    let servers: Vec<String> = (0..100)
        .map(|number| format!("\"dead{number}.test\", "))
        .collect();
    proxy.edit("servers = [", &format!("servers = [{}", servers.concat()));
    proxy.signal(Signal::HUP);
    // For addresses of IPv4 and IPv6 of all that may be asked about at a time.
    eventually("their share of questions to be under way", async || {
        unanswered.load(Relaxed) >= 48
    })
    .await;
    moved.store(1, Relaxed);
    // Within their minute.
    let since = std::time::Instant::now();
    eventually("the other address", async || {
        proxy.get("/").await.text() == host(&origins[1])
    })
    .await;
    assert!(
        since.elapsed() < Duration::from_secs(30),
        "{:?}",
        since.elapsed()
    );
}

/// The process that takes over finds the name server dead.
#[tokio::test]
async fn an_upgrade_hands_on_what_is_known() {
    if !installed() {
        return;
    }
    let (origins, port) = origins(1).await;
    let mut dns = Dnsmasq::start(&hosts("kept.test", &[&origins[0]]), 0, &[]).await;
    let more = ", timeout = \"300ms\"";
    let mut proxy = resolving(&name("kept.test", port), &dns.address(), more).await;
    assert_eq!(proxy.get("/").await.status, 200);
    dns.dies().await;
    let upgraded = proxy.admin("POST", "/upgrade", "").await;
    assert_eq!(upgraded.status, 200, "{}", upgraded.text());
    let pid = upgraded.json()["pid"].as_u64().expect("a process id");
    let _successor = Successor::of(u32::try_from(pid).expect("a process id"));
    proxy.process().ended().await;
    assert_eq!(proxy.get("/").await.text(), host(&origins[0]));
}

/// There is room for a bounded number of names: those that the configuration has come first.
#[tokio::test]
async fn an_upgrade_hands_on_no_names_that_requests_have_made() {
    let (origins, port) = origins(1).await;
    let address: std::net::Ipv4Addr = host(&origins[0]).parse().expect("an address");
    let dies = Arc::new(AtomicU8::new(0));
    let is_dead = dies.clone();
    let dns = Scripted::start(move |question| match question.kind {
        _ if is_dead.load(Relaxed) == 1 => Vec::new(),
        A => vec![question.answer(0, &[Record::address(&question.name, address, 600)])],
        _ => vec![question.answer(0, &[])],
    })
    .await;
    let keys = format!(
        "resolver = {{ addresses = [\"{}\"], timeout = \"10s\" }}",
        dns.address()
    );
    let route = format!(
        "[[route]]\npath = \"/dynamic\"\nproxy = \"http://$arg_to:{port}\"\n\
         proxy_allow = [\"*.test\", \"127.0.0.0/8\"]\n{ADMIN}"
    );
    let keys = format!("{keys}\nmax_dynamic_upstreams = 1000");
    let setup = proxy::to([name("zz.kept.test", port)]).server(&keys);
    let mut proxy = setup.more(&route).start().await;
    // There is room for some 320 of them.
    let long = [
        "x".repeat(60),
        "x".repeat(60),
        "x".repeat(60),
        "x".repeat(52),
    ]
    .join(".");
    let mut clients = tokio::task::JoinSet::new();
    for part in 0..50 {
        let mut client = proxy.client().await;
        let long = long.clone();
        clients.spawn(async move {
            for number in 0..7 {
                let target = format!("/dynamic?to=a{part}-{number}.{long}.test");
                assert_eq!(client.get(&target).await.status, 200);
            }
        });
    }
    clients.join_all().await;
    dies.store(1, Relaxed);
    let upgraded = proxy.admin("POST", "/upgrade", "").await;
    assert_eq!(upgraded.status, 200, "{}", upgraded.text());
    let pid = upgraded.json()["pid"].as_u64().expect("a process id");
    let _successor = Successor::of(u32::try_from(pid).expect("a process id"));
    proxy.process().ended().await;
    assert_eq!(proxy.get("/").await.text(), host(&origins[0]));
}

/// It takes longer than one of the attempts that the time for an answer has room for.
#[tokio::test]
async fn a_name_server_that_is_slow_is_heard() {
    let (origins, port) = origins(1).await;
    let address: std::net::Ipv4Addr = host(&origins[0]).parse().expect("an address");
    let dns = Scripted::late(Duration::from_secs(4), move |question| {
        match question.kind {
            A => vec![question.answer(0, &[Record::address(&question.name, address, 60)])],
            _ => vec![question.answer(3, &[])],
        }
    })
    .await;
    let proxy = resolving(
        &name("slow.test", port),
        &dns.address(),
        ", timeout = \"9s\"",
    )
    .await;
    assert_eq!(proxy.get("/").await.text(), host(&origins[0]));
}

/// A service of 140 servers behind one that goes before them, in an order that turns.
#[tokio::test]
async fn of_too_many_servers_of_a_service_the_last_ones_are_left_out() {
    let (origins, port) = origins(1).await;
    let first: std::net::Ipv4Addr = host(&origins[0]).parse().unwrap();
    let turn = AtomicU8::new(0);
    let dns = Scripted::start(move |question| match question.kind {
        SRV => {
            let service = &question.name;
            let mut servers: Vec<Record> = (0..140)
                .map(|number| Record::server(service, 9, port, &format!("s{number}.test")))
                .collect();
            servers.push(Record::server(service, 1, port, "first.test"));
            servers.rotate_left(usize::from(turn.fetch_add(37, Relaxed)) % 141);
            vec![question.answer_as_it_fits(&servers)]
        }
        A => {
            let at = match question.name.as_str() {
                "first.test" => first,
                other => {
                    let number: u8 = other[1..].trim_end_matches(".test").parse().unwrap();
                    std::net::Ipv4Addr::new(127, 1, 1, number)
                }
            };
            vec![question.answer(0, &[Record::address(&question.name, at, 1)])]
        }
        _ => vec![question.answer(0, &[])],
    })
    .await;
    let server = "{ address = \"many.test\", service = \"http\" }";
    let proxy = resolving(server, &dns.address(), ", valid = \"200ms\"").await;
    let seen = served(&proxy).await;
    assert_eq!(seen.len(), 128);
    assert_eq!(
        proxy.get("/").await.text(),
        host(&origins[0]),
        "it goes before the others"
    );
    let shown = listed(&proxy).await;
    assert_eq!(
        shown["names"][0]["error"],
        "only 128 servers of it are used"
    );
    // They are the same ones whatever the order is.
    let before = dns.questions();
    dns.is_asked(before + 600).await;
    assert_eq!(served(&proxy).await, seen);
    assert!(!proxy.log().contains(" now"), "nothing has changed");
}

#[tokio::test]
async fn a_server_of_a_service_is_not_gone_because_its_host_is_not_found() {
    let (origins, port) = origins(2).await;
    let [one, two] = [0, 1].map(|index| host(&origins[index]).parse().unwrap());
    let lost = Arc::new(AtomicU8::new(0));
    let said = lost.clone();
    let dns = Scripted::start(move |question| {
        let at = match (question.kind, question.name.as_str()) {
            (SRV, service) => {
                let servers =
                    ["one.test", "two.test"].map(|target| Record::server(service, 1, port, target));
                return vec![question.answer(0, &servers)];
            }
            (A, "one.test") => one,
            (A, _) if said.load(Relaxed) == 0 => two,
            (A, _) => return vec![question.answer(3, &[])],
            _ => return vec![question.answer(0, &[])],
        };
        vec![question.answer(0, &[Record::address(&question.name, at, 1)])]
    })
    .await;
    let server = "{ address = \"pair.test\", service = \"http\" }";
    let proxy = resolving(server, &dns.address(), ", valid = \"100ms\"").await;
    serves(&proxy, &[&origins[0], &origins[1]]).await;
    lost.store(1, Relaxed);
    eventually("the host not to be found", async || {
        listed(&proxy).await["names"][0]["error"] == "two.test: 3: Host not found"
    })
    .await;
    serves(&proxy, &[&origins[0], &origins[1]]).await;
    proxy
        .log_contains("was resolved in part (two.test: 3: Host not found)")
        .await;
}
