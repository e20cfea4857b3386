//! A file with a list is watched: what it says counts a moment later, and nothing else of it does.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use waypost_tests::admin::ADMIN;
use waypost_tests::names::{A, Record, Scripted, host, origins};
use waypost_tests::{Gate, Load, Origin, Proxy, eventually, origin, proxy};

use super::{is_refused, list, replace, served, serves, source};

/// A proxy whose servers are in this file, and what is said besides of it.
async fn listing(file: &str, text: &str, more: &str) -> Proxy {
    let source = format!("servers_from = {{ file = \"{file}\"{more} }}");
    let setup = proxy::to([] as [&Origin; 0]).upstream(&source).more(ADMIN);
    std::fs::write(setup.directory().join(file), text).unwrap();
    setup.start().await
}

#[tokio::test]
async fn servers_that_come_and_go_under_load_cost_no_request() {
    for policy in ["round_robin", "least_conn", "ewma"] {
        let (a, b, c) = (
            origin::named().await,
            origin::named().await,
            origin::named().await,
        );
        let source = format!("policy = \"{policy}\"\nservers_from = {{ file = \"s.json\" }}");
        let setup = proxy::to([] as [&Origin; 0]).upstream(&source).more(ADMIN);
        std::fs::write(setup.directory().join("s.json"), list(&[&a, &b])).unwrap();
        let proxy = setup.start().await;
        let load = Load::start(proxy.address(), 8);
        for now in [&[&b, &c][..], &[&c], &[&a, &b, &c], &[&a]] {
            replace(proxy.directory(), "s.json", &list(now));
            serves(&proxy, now).await;
        }
        // What was kept open to the others is closed.
        b.has_open(0).await;
        c.has_open(0).await;
        let report = load.stop().await;
        assert!(report.errors.is_empty(), "{policy}: {:?}", report.errors);
        assert!(report.bodies.iter().any(|body| body == c.address()));
    }
}

#[tokio::test]
async fn a_file_is_toml_by_its_ending_and_its_servers_have_all_keys() {
    let (a, b) = (origin::named().await, origin::named().await);
    let text = format!(
        "servers = [\n  {},\n  \"{}\",\n]\n",
        a.with("weight = 3, labels = { zone = \"a\" }"),
        b.address()
    );
    let proxy = listing("s.toml", &text, "").await;
    serves(&proxy, &[&a, &b]).await;
    assert_eq!(proxy.server(a.address()).await["weight"], 3);
    let shown = source(&proxy).await;
    assert_eq!(shown["kind"], "file");
    assert_eq!(shown["servers"], 2);
    assert!(
        shown["answered_ms"].is_u64() && shown["error"].is_null(),
        "{shown}"
    );
}

/// As a volume of Kubernetes has it (a ConfigMap): the file is a link into a directory that is a
/// link itself, and that one is replaced.
#[tokio::test]
async fn a_file_behind_links_is_watched_at_each_of_them() {
    let (a, b) = (origin::named().await, origin::named().await);
    let setup = proxy::to([] as [&Origin; 0]).upstream("servers_from = { file = \"s.json\" }");
    let setup = setup.more(ADMIN);
    let directory = setup.directory().to_owned();
    for (version, origin) in [("1", &a), ("2", &b)] {
        std::fs::create_dir(directory.join(version)).unwrap();
        std::fs::write(directory.join(version).join("s.json"), list(&[origin])).unwrap();
    }
    symlink("1", directory.join("data")).unwrap();
    symlink("data/s.json", directory.join("s.json")).unwrap();
    let proxy = setup.start().await;
    serves(&proxy, &[&a]).await;
    symlink("2", directory.join("data.next")).unwrap();
    std::fs::rename(directory.join("data.next"), directory.join("data")).unwrap();
    serves(&proxy, &[&b]).await;
    assert_eq!(proxy.get("/").await.text(), b.address());
}

#[tokio::test]
async fn a_list_that_cannot_be_used_changes_nothing_and_is_told_of() {
    let (a, b) = (origin::named().await, origin::named().await);
    let proxy = listing("s.json", &list(&[&a]), "").await;
    let load = Load::start(proxy.address(), 2);
    let second = b.address();
    let long = "x".repeat(100_000);
    for (text, why) in [
        ("<html>".to_owned(), "it is no JSON"),
        (format!("{{\"servers\": [\"{second}\""), "it is no JSON"),
        ("{}".to_owned(), "it has no `servers`"),
        ("[]".to_owned(), "allow_empty"),
        (format!("[\"{second}\", 7]"), "servers[1]"),
        (format!("[\"{second}\", \"{long}\"]"), "servers[1]"),
        (
            format!("[{{\"address\": \"{second}\", \"wieght\": 2}}]"),
            "wieght",
        ),
        (
            format!("[{}\"{second}\"]", format!("\"{second}\",").repeat(4096)),
            "more than 4096",
        ),
        (" ".repeat(9 << 20), "larger than 8 MiB"),
    ] {
        replace(proxy.directory(), "s.json", &text);
        is_refused(&proxy, why).await;
        assert_eq!(served(&proxy).await, [a.address()], "{why}");
        assert_eq!(source(&proxy).await["servers"], 1);
    }
    std::fs::remove_file(proxy.directory().join("s.json")).unwrap();
    is_refused(&proxy, "no such file or directory").await;
    let log = proxy.log();
    let told = log
        .lines()
        .filter(|line| line.contains("no list of servers from"));
    assert_eq!(told.count(), 1, "once, however the reason changes:\n{log}");
    assert!(
        log.lines().all(|line| line.len() < 1000),
        "lines are bounded"
    );
    replace(proxy.directory(), "s.json", &list(&[&a, &b]));
    serves(&proxy, &[&a, &b]).await;
    proxy.log_contains("there is a list of servers from").await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
}

#[tokio::test]
async fn a_list_without_servers_counts_where_that_is_allowed() {
    let a = origin::named().await;
    let proxy = listing("s.json", &list(&[&a]), ", allow_empty = true").await;
    serves(&proxy, &[&a]).await;
    replace(proxy.directory(), "s.json", "{\"servers\": []}");
    serves(&proxy, &[]).await;
    let response = proxy.get("/").await;
    assert_eq!(response.status, 502);
    proxy
        .log_contains("no live upstreams, as none of its servers is known, while connecting")
        .await;
    replace(proxy.directory(), "s.json", &list(&[&a]));
    serves(&proxy, &[&a]).await;
    assert_eq!(proxy.get("/").await.status, 200);
}

#[tokio::test]
async fn a_server_that_is_listed_twice_or_is_the_upstreams_own_counts_once() {
    let (a, b) = (origin::named().await, origin::named().await);
    let setup = proxy::to([&a]).upstream("servers_from = { file = \"s.json\" }");
    let text = list(&[&b, &a, &b]);
    std::fs::write(setup.directory().join("s.json"), text).unwrap();
    let proxy = setup.more(ADMIN).start().await;
    serves(&proxy, &[&a, &b]).await;
    let said = format!("lists `{}` more than once, which counts once", b.address());
    proxy.log_contains(&said).await;
}

#[tokio::test]
async fn a_file_that_is_not_there_yet_does_not_keep_the_process_from_starting() {
    let a = origin::named().await;
    let setup = proxy::to([] as [&Origin; 0]).upstream("servers_from = { file = \"s.json\" }");
    let proxy = setup.more(ADMIN).start().await;
    assert_eq!(proxy.get("/").await.status, 502);
    assert!(source(&proxy).await["answered_ms"].is_null());
    replace(proxy.directory(), "s.json", &list(&[&a]));
    serves(&proxy, &[&a]).await;
    assert_eq!(proxy.get("/").await.text(), a.address());
}

#[tokio::test]
async fn a_server_that_vanishes_finishes_its_requests_and_its_sticky_clients_are_moved() {
    let gate = Gate::closed();
    let (a, b) = (origin::holds(&gate).await, origin::named().await);
    let setup = proxy::to([] as [&Origin; 0]).upstream(
        "policy = { plugin = \"sticky\", cookie = { name = \"s\" } }\nservers_from = { file = \"s.json\" }",
    );
    std::fs::write(setup.directory().join("s.json"), list(&[&a])).unwrap();
    let proxy = setup.more(ADMIN).start().await;
    let response = proxy.get("/").await;
    let cookie = response.header("Set-Cookie").to_owned();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("s="), "{cookie}");
    let mut client = proxy.client().await;
    client
        .send("GET /held HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    a.received(2).await;
    replace(proxy.directory(), "s.json", &list(&[&b]));
    serves(&proxy, &[&b]).await;
    // The other one serves its client meanwhile.
    let lines = format!("Cookie: {cookie}\r\n");
    assert_eq!(proxy.get_with("/", &lines).await.text(), b.address());
    gate.open();
    let held = client.response().await;
    assert_eq!((held.status, held.text()), (200, "held".to_owned()));
    a.has_open(0).await;
    assert_eq!(a.requests().len(), 2);
}

/// A policy that knows no backups is given one: the others' lists go on.
#[tokio::test]
async fn a_list_that_the_policy_refuses_holds_up_no_other_one() {
    let (a, b) = (origin::named().await, origin::named().await);
    let other = "[upstream.other]\nservers_from = { file = \"o.json\" }";
    let source_of =
        "policy = { plugin = \"hash\", key = \"$uri\" }\nservers_from = { file = \"s.json\" }";
    let setup = proxy::to([] as [&Origin; 0]).upstream(source_of);
    let setup = setup.more(other).more(ADMIN);
    let directory = setup.directory().to_owned();
    std::fs::write(directory.join("s.json"), list(&[&a])).unwrap();
    std::fs::write(directory.join("o.json"), list(&[&a])).unwrap();
    let proxy = setup.start().await;
    let backup = format!(
        "[\"{}\", {{\"address\": \"{}\", \"backup\": true}}]",
        a.address(),
        b.address()
    );
    replace(&directory, "s.json", &backup);
    is_refused(&proxy, "does not support `backup` servers").await;
    replace(&directory, "o.json", &list(&[&b]));
    eventually("the other upstream", async || {
        let shown = proxy.shows("/upstreams/other").await;
        shown["servers"][0]["address"] == b.address()
    })
    .await;
    assert_eq!(served(&proxy).await, [a.address()]);
    assert!(proxy.reload().await.is_empty());
    assert_eq!(served(&proxy).await, [a.address()]);
}

#[tokio::test]
async fn a_list_that_was_refused_is_served_once_the_policy_takes_it() {
    let (a, b) = (origin::named().await, origin::named().await);
    let with_backup = format!(
        "[\"{}\", {{\"address\": \"{}\", \"backup\": true}}]",
        a.address(),
        b.address()
    );
    let policy = "policy = { plugin = \"hash\", key = \"$uri\" }";
    let source = "\nservers_from = { file = \"s.json\" }";
    let setup = proxy::to([] as [&Origin; 0]).upstream(&(policy.to_owned() + source));
    std::fs::write(setup.directory().join("s.json"), list(&[&b])).unwrap();
    let proxy = setup.more(ADMIN).start().await;
    serves(&proxy, &[&b]).await;
    replace(proxy.directory(), "s.json", &with_backup);
    is_refused(&proxy, "does not support `backup` servers").await;
    proxy.edit(policy, "");
    proxy.reload().await;
    serves(&proxy, &[&a, &b]).await;
}

#[tokio::test]
async fn names_in_a_list_are_resolved_as_any() {
    let a = origin::named().await;
    let port = a.address().rsplit_once(':').unwrap().1;
    let text = format!("[\"localhost:{port}\"]");
    let resolver = "resolver = { ipv6 = false }\nservers_from = { file = \"s.json\" }";
    let setup = proxy::to([] as [&Origin; 0]).upstream(resolver).more(ADMIN);
    std::fs::write(setup.directory().join("s.json"), "[\"127.0.0.1:9\"]").unwrap();
    let proxy = setup.start().await;
    replace(proxy.directory(), "s.json", &text);
    serves(&proxy, &[&a]).await;
    let shown = proxy.shows("/upstreams/backend").await;
    assert_eq!(shown["names"][0]["name"], "localhost");
    assert_eq!(proxy.get("/").await.text(), a.address());
}

/// The servers that leave serve until one that comes is known.
#[tokio::test]
async fn a_list_of_names_that_are_answered_late_costs_no_request() {
    let (origins, port) = origins(2).await;
    let address: std::net::Ipv4Addr = host(&origins[1]).parse().unwrap();
    let dns = Scripted::late(
        Duration::from_millis(1500),
        move |question| match question.kind {
            A => vec![question.answer(0, &[Record::address(&question.name, address, 60)])],
            _ => vec![question.answer(0, &[])],
        },
    )
    .await;
    let upstream = format!(
        "resolver = {{ addresses = [\"{}\"], timeout = \"30s\" }}\n\
         servers_from = {{ file = \"s.json\" }}",
        dns.address()
    );
    let setup = proxy::to([] as [&Origin; 0]).upstream(&upstream);
    std::fs::write(setup.directory().join("s.json"), list(&[&origins[0]])).unwrap();
    let proxy = setup.more(ADMIN).start().await;
    let load = Load::start(proxy.address(), 2);
    let named = format!("[\"app.test:{port}\"]");
    replace(proxy.directory(), "s.json", &named);
    origins[1].received(1).await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
}

#[tokio::test]
async fn a_list_with_a_name_that_nobody_answers_for_holds_up_no_other_change() {
    let (a, b, c) = (
        origin::named().await,
        origin::named().await,
        origin::named().await,
    );
    let dns = Scripted::silent().await;
    let upstream = format!(
        "resolver = {{ addresses = [\"{}\"], timeout = \"30s\" }}\n\
         servers_from = {{ file = \"s.json\" }}",
        dns.address()
    );
    let setup = proxy::to([] as [&Origin; 0])
        .upstream(&upstream)
        .more(ADMIN);
    std::fs::write(setup.directory().join("s.json"), list(&[&a])).unwrap();
    let proxy = setup.start().await;
    let began = Instant::now();
    let with_name = format!("[\"{}\", \"app.test:80\"]", b.address());
    replace(proxy.directory(), "s.json", &with_name);
    dns.is_asked(1).await;
    serves(&proxy, &[&b]).await;
    replace(proxy.directory(), "s.json", &list(&[&c]));
    serves(&proxy, &[&c]).await;
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "it has waited for the name"
    );
}

/// Each brings another name that nobody answers for.
#[tokio::test]
async fn lists_that_follow_each_other_are_served_while_they_do() {
    let (a, b) = (origin::named().await, origin::named().await);
    let dns = Scripted::silent().await;
    let upstream = format!(
        "resolver = {{ addresses = [\"{}\"], timeout = \"30s\", ipv6 = false }}\n\
         servers_from = {{ file = \"s.json\" }}",
        dns.address()
    );
    let setup = proxy::to([] as [&Origin; 0])
        .upstream(&upstream)
        .more(ADMIN);
    std::fs::write(setup.directory().join("s.json"), list(&[&a])).unwrap();
    let proxy = setup.start().await;
    let mut number = 0;
    while !served(&proxy).await.contains(&b.address().to_owned()) {
        number += 1;
        assert!(number < 200, "none of them is served");
        let next = format!("[\"{}\", \"new{number}.test:80\"]", b.address());
        replace(proxy.directory(), "s.json", &next);
        dns.is_asked(number).await;
    }
}

/// One name is answered for, each time as late as a slow name server does; each list brings another one
/// that nobody answers for.
#[tokio::test]
async fn lists_of_nothing_but_names_are_served_once_one_of_them_is_known() {
    let (origins, port) = origins(2).await;
    let address: std::net::Ipv4Addr = host(&origins[1]).parse().unwrap();
    let dns = Scripted::late(Duration::from_millis(1500), move |question| {
        match (question.name.as_str(), question.kind) {
            ("app.test", A) => {
                vec![question.answer(0, &[Record::address("app.test", address, 60)])]
            }
            ("app.test", _) => vec![question.answer(0, &[])],
            _ => Vec::new(),
        }
    })
    .await;
    let upstream = format!(
        "resolver = {{ addresses = [\"{}\"], timeout = \"30s\" }}\n\
         servers_from = {{ file = \"s.json\" }}",
        dns.address()
    );
    let setup = proxy::to([] as [&Origin; 0])
        .upstream(&upstream)
        .more(ADMIN);
    std::fs::write(setup.directory().join("s.json"), list(&[&origins[0]])).unwrap();
    let proxy = setup.start().await;
    let began = Instant::now();
    let (mut number, mut asked) = (0, 2);
    while !served(&proxy)
        .await
        .contains(&origins[1].address().to_owned())
    {
        number += 1;
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "none of them is served"
        );
        let next = format!("[\"app.test:{port}\", \"new{number}.test:80\"]");
        replace(proxy.directory(), "s.json", &next);
        asked += 2;
        dns.is_asked(asked).await;
    }
}
