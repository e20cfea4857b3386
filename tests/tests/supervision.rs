//! A part that dies is told of, counted and started again: nothing stays deaf.
//!
//! The faults are asked for by the environment, which only debug builds read.

use waypost_tests::admin::ADMIN;
use waypost_tests::{Client, Http2, Origin, Proxy, eventually, origin, proxy};

/// A proxy with workers and faults.
async fn with(origin: &Origin, workers: usize, faults: &str, panics: usize) -> Proxy {
    let file = format!(
        "[server]\nworkers = {workers}\n\
         access_log = {{ path = \"stdout\", format = \"line $request_uri $status.\" }}\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [upstream.backend]\nservers = [\"{}\"]\n[[route]]\nproxy = \"backend\"\n{ADMIN}",
        origin.address()
    );
    let proxy = proxy::run(&file, &[("WAYPOST_FAULTS", faults)]).await;
    proxy.panicking(panics)
}

async fn restarted(proxy: &Proxy, times: u64) {
    eventually("a worker to be replaced", async || {
        proxy.shows("/status").await["worker_restarts"] == times
    })
    .await;
}

/// Serves on all its workers' sockets: so many connections leave none out.
async fn serves(proxy: &Proxy) {
    let mut clients = Vec::new();
    for _ in 0..32 {
        let mut client = proxy.client().await;
        assert_eq!(client.get("/").await.text(), "hello");
        clients.push(client);
    }
}

#[tokio::test]
async fn an_exchange_that_panics_costs_its_connection_alone() {
    let origin = origin::says("hello").await;
    let proxy = with(&origin, 1, "exchange", 1).await;
    let mut other = proxy.client().await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    client.closed().await;
    proxy
        .log_contains("internal error: thread worker-0 panicked at ")
        .await;
    assert_eq!(other.get("/").await.text(), "hello");
    let status = proxy.shows("/status").await;
    assert_eq!(
        (&status["panics"], &status["worker_restarts"]),
        (&1.into(), &0.into())
    );
    assert_eq!(status["connections"], 1);
}

#[tokio::test]
async fn an_exchange_that_panics_has_its_line_and_ends_its_lease() {
    let origin = origin::says("hello").await;
    let proxy = with(&origin, 1, "exchange:2", 2).await;
    let mut client = proxy.client().await;
    client.send("GET /one HTTP/1.1\r\nHost: t\r\n\r\n").await;
    client.closed().await;
    let mut client = Http2::connect(proxy.address()).await;
    let request = client.request("GET", "/two", &[]);
    let mut stream = client.open(request, true).await;
    assert!(stream.try_response().await.is_err());
    // Other streams of its connection go on.
    assert_eq!(client.get("/three").await.text(), "hello");
    for line in ["line /one 500.\n", "line /two 500.\n", "line /three 200.\n"] {
        proxy.stdout().contains(line).await;
    }
    assert_eq!(proxy.server(origin.address()).await["in_flight"], 0);
}

#[tokio::test]
async fn a_panic_while_an_exchange_that_panicked_is_ended_ends_nothing_else() {
    let origin = origin::says("hello").await;
    // A second panic that leaves a destructor would abort the process.
    for (faults, panics) in [("exchange,line", 2), ("exchange,lease,line", 3)] {
        let proxy = with(&origin, 1, faults, panics).await;
        let (mut other, mut client) = (proxy.client().await, proxy.client().await);
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        client.closed().await;
        assert_eq!(other.get("/other").await.text(), "hello");
        let status = proxy.shows("/status").await;
        let counts = (&status["panics"], &status["worker_restarts"]);
        assert_eq!(counts, (&panics.into(), &0.into()));
        assert_eq!(proxy.server(origin.address()).await["in_flight"], 0);
    }
}

#[tokio::test]
async fn a_listener_whose_task_dies_is_accepted_on_again() {
    let origin = origin::says("hello").await;
    let proxy = with(&origin, 2, "accept", 1).await;
    drop(Client::connect(proxy.address()).await);
    restarted(&proxy, 1).await;
    serves(&proxy).await;
    assert_eq!(proxy.shows("/status").await["panics"], 1);
}

#[tokio::test]
async fn a_worker_without_housekeeping_is_replaced() {
    let origin = origin::says("hello").await;
    let proxy = with(&origin, 2, "housekeeping", 1).await;
    restarted(&proxy, 1).await;
    serves(&proxy).await;
}

#[tokio::test]
async fn a_worker_that_cannot_be_replaced_at_first_is_later() {
    let origin = origin::says("hello").await;
    let proxy = with(&origin, 1, "accept,respawn:2", 1).await;
    drop(Client::connect(proxy.address()).await);
    proxy
        .log_contains("worker 0 has died and cannot be replaced, which is tried again")
        .await;
    // A client that connects meanwhile waits, and is served.
    serves(&proxy).await;
    restarted(&proxy, 1).await;
}

#[tokio::test]
async fn a_listener_that_cannot_be_accepted_on_at_first_is_later() {
    let origin = origin::says("hello").await;
    let proxy = with(&origin, 1, "open:2", 0).await;
    proxy
        .log_contains("a worker cannot accept on a listener, which is tried again")
        .await;
    serves(&proxy).await;
    assert_eq!(proxy.shows("/status").await["worker_restarts"], 0);
}

/// A proxy of one listener that answers by itself, and what else the file is to say.
async fn answering(more: &str, faults: &str, panics: usize) -> Proxy {
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\nreturn = {{ status = 200, body = \"hello\" }}\n{ADMIN}{more}"
    );
    let proxy = proxy::run(&file, &[("WAYPOST_FAULTS", faults)]).await;
    proxy.panicking(panics)
}

#[tokio::test]
async fn a_change_that_panics_is_refused_and_the_next_one_is_made() {
    let proxy = answering("", "change", 1).await;
    let refused = proxy.admin("POST", "/reload", "").await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    let reason = "given up after an internal error, which the error log tells of";
    assert!(refused.text().contains(reason), "{}", refused.text());
    proxy.append("[[route]]\npath = \"/new\"\nreturn = { status = 200, body = \"new\" }\n");
    proxy.reload().await;
    assert_eq!(proxy.get("/new").await.text(), "new");
    let status = proxy.shows("/status").await;
    assert_eq!(
        (&status["panics"], &status["generation"]),
        (&1.into(), &2.into())
    );
}

#[tokio::test]
async fn an_event_at_which_the_watching_thread_panics_is_heeded_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mine.wasm");
    let built = waypost_tests::plugin("round_robin", "wasm32-unknown-unknown");
    let component = std::fs::read(built).unwrap();
    std::fs::write(&file, &component).unwrap();
    let plugin = format!(
        "[plugin.mine]\nfile = {file:?}\nwatch = true\n\
         [upstream.backend]\npolicy = \"mine\"\nservers = [\"127.0.0.1:1\"]\n"
    );
    let proxy = answering(&plugin, "watch", 1).await;
    for version in [2, 3] {
        // A section more that means nothing, in one event.
        let new = file.with_extension("new");
        std::fs::write(&new, [&component[..], &[0, 2, 1, version]].concat()).unwrap();
        std::fs::rename(&new, &file).unwrap();
        proxy
            .log_contains(&format!("plugin `mine` version {version} serves"))
            .await;
    }
    assert_eq!(proxy.shows("/status").await["panics"], 1);
}

#[tokio::test]
async fn access_logs_are_written_after_the_thread_that_writes_them_has_panicked() {
    let origin = origin::says("hello").await;
    let proxy = with_log(&origin, "access-log").await;
    proxy.get("/lost").await;
    proxy
        .log_contains("internal error: thread access-log panicked")
        .await;
    let path = proxy.directory().join("access.log");
    proxy.get("/written").await;
    eventually("a line to be written", async || {
        std::fs::read_to_string(&path).is_ok_and(|log| log.ends_with("/written\n"))
    })
    .await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "/written\n");
    proxy.log_contains("1 lines lost").await;
}

/// A proxy of one worker that logs targets.
async fn with_log(origin: &Origin, faults: &str) -> Proxy {
    let file = format!(
        "[server]\nworkers = 1\naccess_log = {{ path = \"access.log\", format = \"$request_uri\" }}\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n[upstream.backend]\nservers = [\"{}\"]\n\
         [[route]]\nproxy = \"backend\"\n",
        origin.address()
    );
    let proxy = proxy::run(&file, &[("WAYPOST_FAULTS", faults)]).await;
    proxy.panicking(1)
}

#[tokio::test]
async fn the_admin_api_is_accepted_on_again() {
    let proxy = answering("", "admin", 1).await;
    assert_eq!(proxy.shows("/status").await["panics"], 1);
}

#[tokio::test]
async fn a_plugin_whose_compiling_panics_leaves_its_fallback_in_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mine.wasm");
    let built = waypost_tests::plugin("round_robin", "wasm32-unknown-unknown");
    std::fs::copy(built, &file).unwrap();
    // It has to be compiled.
    let plugin = format!(
        "[server]\nplugin_cache = false\n[plugin.mine]\nfile = {file:?}\nstart = \"fallback\"\n\
         [upstream.backend]\npolicy = \"mine\"\nservers = [\"127.0.0.1:1\"]\n"
    );
    let proxy = answering(&plugin, "compile", 1).await;
    proxy
        .log_contains("plugin `mine` cannot be used, its fallback serves")
        .await;
    assert_eq!(proxy.shows("/plugins/mine").await["state"], "refused");
}

/// The clock of the plugins panics at its first tick; a call that runs on ends nevertheless.
#[tokio::test]
async fn calls_are_stopped_by_a_clock_that_has_panicked() {
    let origin = origin::says("hello").await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mine.wasm");
    std::fs::write(&file, super::misbehaving::in_mode("loops_forever")).unwrap();
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[plugin.mine]\nfile = {file:?}\n\
         grants = [\"request\", \"exchange\"]\n[upstream.backend]\npolicy = \"mine\"\n\
         servers = [\"{}\"]\n[[route]]\nproxy = \"backend\"\n",
        origin.address()
    );
    let proxy = proxy::run(&file, &[("WAYPOST_FAULTS", "clock")]).await;
    let proxy = proxy.panicking(1);
    proxy
        .log_contains("internal error: thread plugin-clock panicked")
        .await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    proxy.log_contains("deadline").await;
}

/// The main loop of the control plane has a service manager to start it again: without it, no signal
/// would be heeded.
#[tokio::test]
async fn the_process_ends_with_a_failure_where_its_main_loop_panics() {
    let mut proxy = answering("", "control", 1).await;
    assert_eq!(proxy.process().ended_and_heard().await.code(), Some(101));
    assert!(
        proxy.log().contains("internal error: thread main panicked"),
        "{}",
        proxy.log()
    );
}
