//! Hooks that ask upstreams and wait for them, by `tests/guests/asker`, which does as it is told.

use waypost_tests::admin::ADMIN;
use waypost_tests::proxy::Setup;
use waypost_tests::{
    Answer, Client, Gate, Http2, Origin, Proxy, eventually, not_yet, origin, plugin, proxy,
};

use super::operator::problems_of;

/// The asker, as `[plugin.asker]`.
pub(super) fn asker(limits: &str) -> String {
    let file = plugin("asker", "wasm32-unknown-unknown");
    format!(
        "[plugin.asker]\nfile = \"{}\"\n\
         grants = [\"request\", \"response\", \"exchange\", \"changes\", \"bodies\", \"http\"]\n\
         max_faults = 0\nbudget = 100\nlimits = {{ deadline = \"60s\"{limits} }}\n",
        file.display()
    )
}

/// Has the route's requests ask the asker, which may ask `other` and an upstream that is not there.
pub(crate) fn at_route(setup: Setup, other: &str, limits: &str) -> Setup {
    setup
        .route("hooks = [{ plugin = \"asker\", upstreams = [\"other\", \"missing\"] }]")
        .more(&asker(limits))
        .more(&format!("[upstream.other]\nservers = [{other}]\n"))
}

/// An origin whose answers wait for the gate.
async fn held(gate: &Gate) -> Origin {
    let gate = gate.clone();
    origin::answers(move |_| Answer::ok("held").when(&gate)).await
}

/// Begins a request whose hook is told to do this.
async fn begun(proxy: &Proxy, commands: &str) -> Client {
    let mut client = proxy.client().await;
    client
        .send(format!(
            "GET / HTTP/1.1\r\nHost: test\r\nX-Ask: {commands}\r\n\r\n"
        ))
        .await;
    client
}

/// The ways to ask: by `upstream-requests`, and by `wasi:http`. What there is to see of them is the
/// same.
pub(crate) const WAYS: [&str; 2] = ["", "X-By: wasi\r\n"];

/// What the asker was told, command by command.
async fn asked(proxy: &Proxy, commands: &str) -> Vec<String> {
    asked_by(WAYS[0], proxy, commands).await
}

/// Likewise, where it asks in a certain way.
async fn asked_by(way: &str, proxy: &Proxy, commands: &str) -> Vec<String> {
    let headers = format!("{way}X-Ask: {commands}\r\n");
    let answer = proxy.get_with("/", &headers).await;
    assert_eq!(answer.status, 200, "{commands}: {}", answer.text());
    let headers = answer.headers.all("x-asked");
    headers.into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_hook_asks_an_upstream_that_its_settings_name_and_no_other() {
    let (app, other) = (origin::says("app").await, origin::says("other").await);
    let proxy = at_route(proxy::to([&app]), &other.with(""), "")
        .start()
        .await;
    let commands = "get other /a?b=c | get missing / | get app / | get 127.0.0.1 /";
    let denied = "error: the settings do not name its upstream";
    let missing = "error: there is no such upstream";
    for way in WAYS {
        let told = asked_by(way, &proxy, commands).await;
        assert_eq!(told, ["200 other", missing, denied, denied], "{way}");
    }
    for request in other.requests() {
        assert_eq!((&*request.method, &*request.target), ("GET", "/a?b=c"));
        assert_eq!(request.header("host"), "other");
    }
    proxy
        .log_contains("asked upstream `127.0.0.1`, which its settings do not name")
        .await;
}

#[tokio::test]
async fn one_that_waits_holds_up_nobody() {
    let gate = Gate::closed();
    let (app, other) = (origin::says("app").await, held(&gate).await);
    let setup = proxy::to([&app]).server("workers = 1");
    let proxy = at_route(setup, &other.with(""), "").start().await;
    let mut waiting = begun(&proxy, "get other /").await;
    other.received(1).await;
    // By other instances of the same hook, in the same worker.
    for _ in 0..20 {
        assert_eq!(asked(&proxy, "sleep 1").await, ["slept"]);
    }
    gate.open();
    assert_eq!(waiting.response().await.status, 200);
}

#[tokio::test]
async fn one_that_computes_for_long_lets_others_have_their_turn() {
    let app = origin::says("app").await;
    let setup = proxy::to([&app]).server("workers = 1");
    let limits = ", wait = \"60s\"";
    let proxy = at_route(setup, &app.with(""), limits).start().await;
    let mut spinning = begun(&proxy, "say begun | spin 30000").await;
    proxy.log_contains("asker says begun").await;
    // It has not ended by the time that others are answered, one after the other.
    for _ in 0..3 {
        assert_eq!(asked(&proxy, "").await, Vec::<String>::new());
    }
    not_yet("the one that computes", spinning.response_head()).await;
}

#[tokio::test]
async fn a_call_that_computes_for_too_long_is_a_fault_and_one_that_waits_is_none() {
    let app = origin::says("app").await;
    let setup = proxy::to([&app]).server("workers = 1");
    let file = asker("").replace("deadline = \"60s\"", "deadline = \"20ms\"");
    let proxy = setup.route("hooks = [\"asker\"]").more(&file).start().await;
    assert_eq!(asked(&proxy, "sleep 200").await, ["slept"]);
    let answer = proxy.get_with("/", "X-Ask: spin 60000\r\n").await;
    assert_eq!(answer.status, 500);
    proxy.log_contains("ran past its deadline").await;
    eventually("the next instance", async || {
        proxy.get_with("/", "X-Ask: sleep 1\r\n").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_call_that_waits_for_too_long_is_given_up_and_costs_the_plugin_nothing() {
    let gate = Gate::closed();
    let (app, other) = (origin::says("app").await, held(&gate).await);
    let limits = ", wait = \"300ms\"";
    let setup = proxy::to([&app]).server("workers = 1");
    let file = asker(limits).replace("max_faults = 0", "max_faults = 1");
    let proxy = setup
        .route("hooks = [{ plugin = \"asker\", upstreams = [\"other\"] }]")
        .more(&file)
        .more(&format!(
            "[upstream.other]\nservers = [{}]\n",
            other.with("")
        ))
        .start()
        .await;
    for command in ["get other /", "sleep 60000", "get other /"] {
        let answer = proxy.get_with("/", &format!("X-Ask: {command}\r\n")).await;
        assert_eq!(answer.status, 500, "{command}");
    }
    proxy
        .log_contains("it waited for longer than its `limits.wait` (300ms)")
        .await;
    assert_eq!(asked(&proxy, "sleep 1").await, ["slept"]);
    // What was asked is given up with the call.
    other.has_open(0).await;
    gate.open();
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_wait_and_what_is_asked() {
    let gate = Gate::closed();
    let (app, other) = (origin::says("app").await, held(&gate).await);
    let setup = proxy::to([&app])
        .server("workers = 1\naccess_log = { path = \"access.log\", format = \"$status\" }");
    let proxy = at_route(setup, &other.with(""), "").start().await;
    let path = proxy.directory().join("access.log");
    let client = begun(&proxy, "get other /").await;
    other.received(1).await;
    drop(client);
    other.has_open(0).await;
    let logged = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually("499", async || logged() == "499\n").await;

    let mut http2 = Http2::connect(proxy.address()).await;
    let request = http2.request("GET", "/", &[("x-ask", "get other /")]);
    let stream = http2.open(request, true).await;
    other.received(2).await;
    drop(stream);
    other.has_open(0).await;
    eventually("499 again", async || logged() == "499\n499\n").await;
    gate.open();
}

#[tokio::test]
async fn a_client_that_leaves_behind_a_body_that_nobody_has_read_is_noticed() {
    let gate = Gate::closed();
    let (app, other) = (origin::says("app").await, held(&gate).await);
    let proxy = at_route(proxy::to([&app]), &other.with(""), "")
        .start()
        .await;
    let mut client = proxy.client().await;
    let head = "POST / HTTP/1.1\r\nHost: test\r\nX-Ask: get other /\r\n";
    client
        .send(format!("{head}Content-Length: 4\r\n\r\nbody"))
        .await;
    other.received(1).await;
    drop(client);
    other.has_open(0).await;
    gate.open();
}

#[tokio::test]
async fn as_many_calls_wait_at_once_as_there_may_be_instances_and_others_in_their_order() {
    let gate = Gate::closed();
    let (app, other) = (origin::says("app").await, held(&gate).await);
    let setup = proxy::to([&app]).server("workers = 1");
    let proxy = at_route(setup, &other.with(""), ", instances = 2")
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let client = begun(&proxy, "get other / | calls").await;
        clients.push(client);
    }
    other.received(2).await;
    not_yet("a third one has an instance", other.received(3)).await;
    gate.open();
    let mut calls = 0;
    for client in &mut clients {
        let answer = client.response().await;
        assert_eq!(answer.status, 200);
        calls += answer.headers.all("x-asked")[1].parse::<u32>().unwrap_or(0);
    }
    // 1 + 2 + 3 and 1 + 2, or so: two instances had all of them.
    assert!(calls >= 1 + 2 + 1 + 2 + 3, "{calls}");
}

#[tokio::test]
async fn what_an_upstream_does_wrong_is_an_error_for_the_hook_and_nothing_else() {
    let app = origin::says("app").await;
    let refuses = origin::refuses();
    let garbage = origin::speaks(|mut wire, _| async move {
        if wire.head().await.is_err() {
            return;
        }
        wire.send("HTTP/9 garbage\r\n\r\n").await;
    })
    .await;
    let cut = origin::speaks(|mut wire, _| async move {
        if wire.head().await.is_err() {
            return;
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234")
            .await;
    })
    .await;
    let gate = Gate::closed();
    let hangs = held(&gate).await;
    let mut setup = proxy::to([&app])
        .route("hooks = [{ plugin = \"asker\", upstreams = [\"a\", \"b\", \"c\", \"d\"] }]")
        .more(&asker(""));
    for (name, server) in [
        ("a", refuses.with("")),
        ("b", garbage.with("")),
        ("c", cut.with("")),
        ("d", hangs.with("")),
    ] {
        setup = setup.more(&format!("[upstream.{name}]\nservers = [{server}]\n"));
    }
    let proxy = setup.start().await;
    let commands = "get a / | get b / | get c / | within 200 d / | sleep 1";
    let expected = [
        "error: connection refused",
        "error: the answer is no valid HTTP",
        "error: the connection broke off",
        "error: the upstream timed out",
        "slept",
    ];
    for way in WAYS {
        assert_eq!(asked_by(way, &proxy, commands).await, expected, "{way}");
    }
    gate.open();
}

#[tokio::test]
async fn an_answer_without_an_end_is_read_as_far_as_the_hook_wants() {
    let app = origin::says("app").await;
    let endless = origin::speaks(|mut wire, _| async move {
        if wire.head().await.is_err() {
            return;
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
            .await;
        let piece = "x".repeat(64 << 10);
        while wire.try_send(&piece).await.is_ok() {}
    })
    .await;
    let proxy = at_route(proxy::to([&app]), &endless.with(""), "")
        .start()
        .await;
    for way in WAYS {
        let told = asked_by(way, &proxy, "read other / 1000000").await;
        assert_eq!(told, ["error: its body is too large"], "{way}");
    }
    endless.has_open(0).await;
}

#[tokio::test]
async fn a_request_with_a_body_reaches_another_server_where_one_is_gone() {
    let app = origin::says("app").await;
    let (gone, other) = (
        origin::refuses(),
        origin::answers(|request| Answer::status(201, format!("{} bytes", request.body.len())))
            .await,
    );
    let servers = format!("{}, {}", gone.with(""), other.with(""));
    let limits = ", memory = \"256m\"";
    let proxy = at_route(proxy::to([&app]), &servers, limits).start().await;
    for way in WAYS {
        for _ in 0..4 {
            let told = asked_by(way, &proxy, "post other / 100000").await;
            assert_eq!(told, ["201 100000 bytes"], "{way}");
        }
        let told = asked_by(way, &proxy, "post other / 16777217").await;
        assert_eq!(told, ["error: its body is too large"], "{way}");
    }
}

#[tokio::test]
async fn what_frames_a_message_cannot_be_set() {
    let (app, other) = (origin::says("app").await, origin::says("other").await);
    let proxy = at_route(proxy::to([&app]), &other.with(""), "")
        .start()
        .await;
    for way in WAYS {
        for name in ["Transfer-Encoding", "Connection", "Upgrade"] {
            let told = asked_by(way, &proxy, &format!("header other {name} chunked")).await;
            assert_eq!(told, ["200 other"], "{name}");
        }
    }
    let told = asked_by(WAYS[1], &proxy, "header other Content-Length 5").await;
    assert!(told[0].starts_with("error: "), "{told:?}");
    let told = asked(&proxy, "header other Content-Length 5").await;
    assert_eq!(told, ["200 other"], "it is left out, as the others are");
    let told = asked(&proxy, "header other Host another.example").await;
    assert_eq!(told, ["200 other"]);
    let requests = other.requests();
    assert_eq!(requests.len(), 8);
    for request in &requests {
        for name in [
            "transfer-encoding",
            "connection",
            "upgrade",
            "content-length",
        ] {
            assert_eq!(request.header(name), "", "{name}");
        }
    }
    assert_eq!(requests[7].header("host"), "another.example");
}

#[tokio::test]
async fn a_request_line_says_what_it_was_given_or_nothing_is_sent() {
    let (app, other) = (origin::says("app").await, origin::says("other").await);
    let proxy = at_route(proxy::to([&app]), &other.with(""), "")
        .start()
        .await;
    let bad = "error: it cannot be expressed in HTTP";
    // `~` stands for a space, `^` for the end of a line.
    for target in [
        "/~HTTP/1.1^X-Forged:~1^X:",
        "/~HTTP/1.1^Content-Length:~40^X:",
        "/a~b",
        "a",
        "http://another.example/",
    ] {
        let told = asked(&proxy, &format!("line other GET {target}")).await;
        assert_eq!(told, [bad], "{target}");
    }
    for method in ["get", "CONNECT", "GET~/~HTTP/1.1^X:", "^"] {
        let told = asked(&proxy, &format!("line other {method} /")).await;
        assert_eq!(told, [bad], "{method}");
    }
    for (name, value) in [("X", "a^Y:~b"), ("X^Y", "b"), ("", "b"), ("X:", "b")] {
        let told = asked(&proxy, &format!("field other {name} {value}")).await;
        assert_eq!(told, [bad], "{name}: {value}");
    }
    assert_eq!(other.requests().len(), 0);
    assert_eq!(asked(&proxy, "line other OPTIONS *").await, ["200 other"]);
}

#[tokio::test]
async fn requests_that_are_left_are_sent_and_bounded() {
    let gate = Gate::closed();
    let (app, other) = (origin::says("app").await, held(&gate).await);
    let proxy = at_route(proxy::to([&app]), &other.with(""), "")
        .start()
        .await;
    let told = asked(&proxy, "leave other /left").await;
    assert_eq!(told, ["left"], "it does not wait");
    other.received(1).await;
    assert_eq!(other.request().target, "/left");
    gate.open();
    asked(&proxy, "many other 1000").await;
    other.received(65).await;
    not_yet("one more than a call may send", other.received(66)).await;
}

#[tokio::test]
async fn outside_of_a_request_nothing_is_asked_and_nothing_is_waited_for() {
    let (app, other) = (origin::says("app").await, origin::says("other").await);
    let setup = proxy::to([&app])
        .route(
            "hooks = [{ plugin = \"asker\", upstreams = [\"other\"], \
             asks_while_it_is_configured = \"other\" }]",
        )
        .more(&asker(""))
        .more(&format!(
            "[upstream.other]\nservers = [{}]\n",
            other.with("")
        ));
    let proxy = setup.start().await;
    let nothing = "nothing may be asked here";
    proxy
        .log_contains(&format!("configure: error: {nothing}"))
        .await;
    for way in WAYS {
        let headers =
            format!("{way}X-Ask-Response: get other / | calls\r\nX-Ask-End: get other /\r\n");
        let answer = proxy.get_with("/", &headers).await;
        let told = answer.headers.all("x-asked");
        assert!(told[0].starts_with("error: "), "{told:?}");
        assert_eq!(told[0].ends_with(nothing), way.is_empty(), "{told:?}");
    }
    proxy.log_contains("asker hears of the end: 200").await;
    assert!(other.requests().is_empty());
    // It may not wait for time to pass either.
    let answer = proxy.get_with("/", "X-Ask-Response: sleep 60000\r\n").await;
    assert_eq!(answer.status, 200);
    proxy
        .log_contains("waited, which a hook may do in `on-request`, `on-check` and calls about the whole body")
        .await;
    assert_eq!(asked(&proxy, "get other /").await, ["200 other"]);
}

#[test]
fn a_hook_that_waits_has_no_instance_in_common() {
    let problems = problems_of(
        "hooks = [{ plugin = \"asker\", sharing = \"process\" }]",
        &asker(""),
    );
    assert!(
        problems.contains("its `sharing` has to be `per-worker`"),
        "{problems}"
    );
}

#[test]
fn without_the_grant_it_is_not_taken() {
    let problems = problems_of(
        "hooks = [{ plugin = \"asker\", upstreams = \"backend\" }]",
        &asker("").replace(", \"http\"", ""),
    );
    let needed = "waypost:plugin/upstream-requests";
    assert!(problems.contains(needed), "{problems}");
}

#[tokio::test]
async fn a_trap_costs_one_instance_and_one_request() {
    let gate = Gate::closed();
    let (app, other) = (origin::says("app").await, held(&gate).await);
    let setup = proxy::to([&app]).server("workers = 1");
    let proxy = at_route(setup, &other.with(""), "").start().await;
    let mut waiting = begun(&proxy, "get other /").await;
    other.received(1).await;
    let answer = proxy.get_with("/", "X-Ask: sleep 1 | trap\r\n").await;
    assert_eq!(answer.status, 500);
    proxy
        .log_contains("plugin `asker` failed in `on-request`")
        .await;
    gate.open();
    assert_eq!(waiting.response().await.status, 200);
}

#[tokio::test]
async fn others_are_asked_by_other_instances_while_the_one_that_failed_pauses() {
    let app = origin::says("app").await;
    let setup = proxy::to([&app]).server("workers = 1");
    let proxy = at_route(setup, &app.with(""), "").start().await;
    for _ in 0..20 {
        assert_eq!(proxy.get_with("/", "X-Ask: trap\r\n").await.status, 500);
        assert_eq!(asked(&proxy, "sleep 1").await, ["slept"]);
    }
}

#[tokio::test]
async fn changes_and_what_is_left_go_together() {
    let (app, other) = (origin::named().await, origin::says("other").await);
    let proxy = at_route(proxy::to([&app]), &other.with(""), "")
        .start()
        .await;
    let told = asked(&proxy, "leave other /x | path /changed").await;
    assert_eq!(told, ["left"]);
    other.received(1).await;
    assert_eq!(app.request().target, "/changed");
}

#[tokio::test]
async fn a_reload_and_another_version_lose_nothing_that_waits() {
    let gate = Gate::closed();
    let (app, other) = (origin::says("app").await, held(&gate).await);
    let setup = proxy::to([&app]).server("workers = 1");
    let setup = at_route(setup, &other.with(""), "").more(ADMIN);
    let proxy = setup.start().await;
    let mut waiting = begun(&proxy, "get other /").await;
    other.received(1).await;
    proxy.reload().await;
    let file = plugin("asker", "wasm32-unknown-unknown");
    let version = std::fs::read(file).expect("cargo has just built it");
    assert_eq!(proxy.load_plugin("asker", &version).await.status, 200);
    assert_eq!(asked(&proxy, "sleep 1").await, ["slept"]);
    gate.open();
    let answer = waiting.response().await;
    assert_eq!((answer.status, &*answer.text()), (200, "app"));
}

#[tokio::test]
async fn servers_are_balanced_and_kept_connections_used() {
    let app = origin::says("app").await;
    let (one, two) = (origin::says("one").await, origin::says("two").await);
    let servers = format!("{}, {}", one.with(""), two.with(""));
    let setup = proxy::to([&app]).server("workers = 1");
    let proxy = at_route(setup, &servers, "").start().await;
    let mut bodies = Vec::new();
    for _ in 0..6 {
        bodies.extend(asked(&proxy, "get other /").await);
    }
    bodies.sort_unstable();
    let expected = [
        "200 one", "200 one", "200 one", "200 two", "200 two", "200 two",
    ];
    assert_eq!(bodies, expected);
    assert_eq!((one.connections(), two.connections()), (1, 1));
}
