//! Probes go on while the configuration, the process or the servers change.

use rustix::process::Signal;
use waypost_tests::{Gate, Wire, origin, proxy};

use super::*;

const SERVERS: &str = "/upstreams/backend/servers";

/// A server that never answers a probe.
async fn hangs() -> Origin {
    origin::speaks(async |mut wire: Wire, _| drop(wire.rest().await)).await
}

#[tokio::test]
async fn a_reload_leaves_probes_of_servers_that_stay_as_they_are() {
    let ((a, _), (b, status)) = (ward("a").await, ward("b").await);
    let proxy = before(&[&a, &b], &checked("")).await;
    status.store(500, Relaxed);
    is_in_rotation(&proxy, &b, false).await;
    let since = proxy.server(b.address()).await["why"][0]["since_ms"].as_u64();
    // With another key of the upstream, it is built anew.
    proxy.edit("health_check", "keepalive = 7\nhealth_check");
    proxy.reload().await;
    let why = proxy.server(b.address()).await["why"][0].clone();
    assert_eq!(why["reason"], "unhealthy");
    assert!(why["since_ms"].as_u64() >= since, "{why}");
    assert_eq!(answers(&proxy, 4).await, ["a"]);
    is_probed(&a, 2).await;
    is_probed(&b, 2).await;
    // One for probes, and those for requests.
    let of_probes = |origin: &Origin| {
        let mut connections: Vec<usize> = probes(origin)
            .iter()
            .map(|probe| probe.connection)
            .collect();
        connections.dedup();
        connections.len()
    };
    assert_eq!((of_probes(&a), of_probes(&b)), (1, 1));
    status.store(200, Relaxed);
    is_in_rotation(&proxy, &b, true).await;
}

#[tokio::test]
async fn a_reload_changes_what_is_asked_and_how_often_at_once() {
    let (a, status) = ward("a").await;
    let slow = "health_check = { path = \"/health\", interval = \"1h\", fall = 1 }";
    let proxy = before(&[&a], slow).await;
    a.received(1).await;
    status.store(500, Relaxed);
    proxy.edit(
        "interval = \"1h\"",
        "interval = \"100ms\", headers = { X-New = \"1\" }",
    );
    proxy.reload().await;
    is_in_rotation(&proxy, &a, false).await;
    assert_eq!(probes(&a)[1].header("X-New"), "1");
    // Without a check, nothing keeps it out, and nobody asks.
    proxy.edit("health_check", "# health_check");
    proxy.reload().await;
    is_in_rotation(&proxy, &a, true).await;
    assert_eq!(proxy.get("/").await.text(), "a");
    eventually("the probes to be forgotten", async || {
        proxy.server(a.address()).await["check"] == Value::Null
    })
    .await;
    let asked = probes(&a).len();
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(probes(&a).len() <= asked + 1, "one may have been under way");
    // And with one again, it is asked again.
    proxy.edit("# health_check", "health_check");
    proxy.reload().await;
    is_in_rotation(&proxy, &a, false).await;
}

#[tokio::test]
async fn a_reload_that_moves_the_check_to_another_port_leaves_the_connection_to_this_one() {
    let ((a, _), (b, _)) = (ward("a").await, ward("b").await);
    let proxy = before(&[&a], &checked("")).await;
    is_probed(&a, 1).await;
    let port = b.address().rsplit(':').next().unwrap();
    proxy.edit("interval", &format!("port = {port}, interval"));
    proxy.reload().await;
    is_probed(&b, 2).await;
    a.has_open(0).await;
}

#[tokio::test]
async fn servers_that_come_are_probed_and_those_that_are_down_are_not() {
    let ((a, _), (b, status)) = (ward("a").await, ward("b").await);
    let proxy = before(&[&a], &checked("")).await;
    is_probed(&a, 1).await;
    status.store(500, Relaxed);
    let body = format!("{{\"address\": \"{}\"}}", b.address());
    assert_eq!(proxy.admin("POST", SERVERS, &body).await.status, 200);
    is_in_rotation(&proxy, &b, false).await;
    proxy.log_contains("is unhealthy").await;
    let server = format!("{SERVERS}/{}", b.address());
    let set = async |down: bool| {
        let body = format!("{{\"down\": {down}}}");
        assert_eq!(proxy.admin("PATCH", &server, &body).await.status, 200);
    };
    set(true).await;
    let shown = async || proxy.server(b.address()).await;
    eventually("it not to be asked", async || {
        shown().await["check"] == Value::Null
    })
    .await;
    assert_eq!(shown().await["why"][0]["reason"], "down");
    is_probed(&a, 3).await;
    assert_eq!(shown().await["check"], Value::Null);
    set(false).await;
    is_in_rotation(&proxy, &b, false).await;
}

#[tokio::test]
async fn a_server_that_is_removed_while_its_probe_hangs_leaves_no_connection() {
    let (a, _) = ward("a").await;
    let hangs = hangs().await;
    let check = checked(", timeout = \"1h\"");
    let proxy = before(&[&a, &hangs], &check).await;
    hangs.has_open(1).await;
    is_probed(&a, 1).await;
    let descriptors = proxy.descriptors();
    let server = format!("{SERVERS}/{}", hangs.address());
    assert_eq!(proxy.admin("DELETE", &server, "").await.status, 200);
    hangs.has_open(0).await;
    eventually("the descriptor to be given back", async || {
        proxy.descriptors() < descriptors
    })
    .await;
    is_probed(&a, 2).await;
}

#[tokio::test]
async fn a_server_that_moves_to_another_upstream_is_judged_there_anew() {
    let ((a, _), (b, status)) = (ward("a").await, ward("b").await);
    let other = format!(
        "[upstream.other]\nservers = [\"127.0.0.1:1\"]\n{}\n[[route]]\npath = \"/other\"\nproxy = \"other\"\n",
        checked(", initial = \"down\"")
    );
    let setup = proxy::to([&a, &b]).upstream(&checked("")).more(&other);
    let proxy = setup.more(ADMIN).start().await;
    status.store(500, Relaxed);
    is_in_rotation(&proxy, &b, false).await;
    status.store(200, Relaxed);
    let line = format!("  {{ address = \"{}\" }},\n", b.address());
    proxy.edit(&line, "");
    proxy.edit("\"127.0.0.1:1\"", &format!("\"{}\"", b.address()));
    proxy.reload().await;
    eventually("it to serve there", async || {
        proxy.get("/other").await.status == 200
    })
    .await;
    assert_eq!(answers(&proxy, 4).await, ["a"]);
    let of = |number: usize| {
        let mut connections: Vec<usize> = probes(&b).iter().map(|probe| probe.connection).collect();
        connections.dedup();
        connections.len() == number
    };
    is_probed(&b, 2).await;
    assert!(of(2), "one from each upstream: {:?}", probes(&b));
}

#[tokio::test]
async fn a_process_that_takes_over_begins_anew() {
    let ((a, status), (b, _)) = (ward("a").await, ward("b").await);
    let mut proxy = before(&[&a, &b], &checked(", initial = \"down\"")).await;
    is_in_rotation(&proxy, &a, true).await;
    is_in_rotation(&proxy, &b, true).await;
    status.store(500, Relaxed);
    is_in_rotation(&proxy, &a, false).await;
    proxy.upgrade().await;
    assert_eq!(proxy.process().ended().await.code(), Some(0));
    is_in_rotation(&proxy, &b, true).await;
    assert_eq!(answers(&proxy, 4).await, ["b"]);
    assert_eq!(proxy.server(a.address()).await["in_rotation"], false);
}

#[tokio::test]
async fn a_process_that_drains_waits_for_no_probe() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin::answers(move |request| match request.target.as_str() {
        "/health" => Answer::ok("").when(&Gate::closed()),
        _ => Answer::ok("done").when(&held),
    })
    .await;
    let mut proxy = before(&[&origin], &checked(", timeout = \"1h\"")).await;
    origin.received(1).await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    origin.received(2).await;
    proxy.signal(Signal::QUIT);
    proxy.log_contains("draining").await;
    gate.open();
    assert_eq!(client.response().await.text(), "done");
    assert_eq!(proxy.process().ended().await.code(), Some(0));
}

#[tokio::test]
async fn after_an_internal_error_probes_begin_anew() {
    let (a, status) = ward("a").await;
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\naccess_log = false\n[upstream.backend]\nservers = [\"{}\"]\n{}\n\
         [[route]]\nproxy = \"backend\"\n{ADMIN}",
        a.address(),
        checked("")
    );
    // Once all of it has, and then the probes of this server once more. No reload helps either.
    let proxy = proxy::run(&file, &[("WAYPOST_FAULTS", "health,probe")])
        .await
        .panicking(2);
    for line in [
        "checking health begins anew after an internal error",
        "checking health of upstream `backend` begins anew after an internal error",
    ] {
        proxy.log_contains(line).await;
    }
    is_probed(&a, 2).await;
    status.store(500, Relaxed);
    is_in_rotation(&proxy, &a, false).await;
    assert_eq!(proxy.shows("/status").await["panics"], 2);
}

#[tokio::test]
async fn too_few_descriptors_cost_probes_and_no_server() {
    let origins = [ward("a").await.0, ward("b").await.0, ward("c").await.0];
    let servers: Vec<&Origin> = origins.iter().collect();
    let holds = hangs().await;
    let many: Vec<String> = (0..40).map(|_| holds.with("max_fails = 0")).collect();
    let lines = servers.iter().map(|server| server.with("")).chain(many);
    let setup = proxy::to(lines).upstream(&checked(", timeout = \"1h\""));
    let proxy = setup
        .more(ADMIN)
        .through_shell("ulimit -n 64; exec \"$@\"")
        .start()
        .await;
    proxy
        .log_contains("health checks are left out: no connection to spare")
        .await;
    assert!(!proxy.log().contains("unhealthy"), "{}", proxy.log());
    assert_eq!(proxy.shows("/status").await["state"], "serving");
}

/// All endpoints are other ones then: no connection from before may lead to them.
#[tokio::test]
async fn servers_that_get_other_certificates_to_verify_need_not_pass_first() {
    let authority = waypost_tests::tls::Authority::new("Specs");
    let own = authority.certificate(&["127.0.0.1", "other.example"]);
    let gate = Gate::closed();
    gate.open();
    let held = std::sync::Arc::new(std::sync::Mutex::new(gate));
    let now = held.clone();
    let origin = origin::answers_with(own.server(), move |request| match request.target.as_str() {
        "/health" => Answer::ok("").when(&now.lock().unwrap()),
        _ => Answer::ok("a"),
    })
    .await;
    let setup = proxy::to([format!("\"https://{}\"", origin.address())]);
    std::fs::write(setup.directory().join("ca.pem"), authority.pem()).unwrap();
    let upstream = format!(
        "tls = {{ ca = \"ca.pem\" }}\n{}",
        checked(", initial = \"down\"")
    );
    let proxy = setup.upstream(&upstream).more(ADMIN).start().await;
    is_in_rotation(&proxy, &origin, true).await;
    // No probe is answered from now on.
    *held.lock().unwrap() = Gate::closed();
    proxy.edit("\"ca.pem\"", "\"ca.pem\", server_name = \"other.example\"");
    proxy.reload().await;
    assert_eq!(proxy.get("/").await.text(), "a");
}
