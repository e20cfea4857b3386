//! Probes over TLS, HTTP/2 and gRPC, and connections alone.

use waypost_tests::http2;
use waypost_tests::peers::{Server, python};
use waypost_tests::tls::Authority;
use waypost_tests::{grpc, origin, proxy};

use super::*;

/// A proxy before servers that speak TLS; `ca.pem` is the authority's.
async fn secure(authority: &Authority, servers: &[&Origin], check: &str) -> Proxy {
    let lines = servers
        .iter()
        .map(|server| format!("\"https://{}\"", server.address()));
    let setup = proxy::to(lines);
    std::fs::write(setup.directory().join("ca.pem"), authority.pem()).unwrap();
    let upstream = format!("tls = {{ ca = \"ca.pem\" }}\nhealth_check = {{ {QUICK}, {check} }}");
    setup.upstream(&upstream).more(ADMIN).start().await
}

#[tokio::test]
async fn over_tls_a_server_with_another_certificate_is_not_well() {
    let authority = Authority::new("Specs");
    let good = authority.certificate(&["127.0.0.1"]);
    let of_another_name = authority.certificate(&["other.example"]);
    let stranger = Authority::new("Stranger").certificate(&["127.0.0.1"]);
    let serves = |own: waypost_tests::tls::Certificate| async move {
        origin::answers_with(own.server(), |_| Answer::ok("hello")).await
    };
    let (good, bad, strange) = (
        serves(good).await,
        serves(of_another_name).await,
        serves(stranger).await,
    );
    let plain = origin::says("plain").await;
    for check in ["path = \"/health\"", "protocol = \"tcp\""] {
        let proxy = secure(&authority, &[&good, &bad, &strange, &plain], check).await;
        for (server, outcome) in [
            (
                &bad,
                "upstream SSL certificate does not match \"127.0.0.1\"",
            ),
            (&strange, "upstream SSL certificate verify error"),
            (&plain, "while SSL handshaking to upstream"),
        ] {
            comes_to(&proxy, server.address(), outcome).await;
            is_in_rotation(&proxy, server, false).await;
        }
        is_in_rotation(&proxy, &good, true).await;
        assert_eq!(proxy.server(good.address()).await["check"]["passed"], true);
        assert_eq!(answers(&proxy, 4).await, ["hello"]);
    }
}

#[tokio::test]
async fn over_tls_a_connection_is_kept_for_the_next_probe() {
    let authority = Authority::new("Specs");
    let own = authority.certificate(&["127.0.0.1"]);
    let origin = origin::answers_with(own.server(), |_| Answer::ok("hello")).await;
    let _proxy = secure(&authority, &[&origin], "path = \"/health\"").await;
    is_probed(&origin, 4).await;
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn over_http2_probes_share_a_connection_and_its_loss_costs_none() {
    let ill = Arc::new(AtomicU16::new(200));
    let status = ill.clone();
    let answer = move |_: &Request| Answer::status(status.load(Relaxed), "body");
    let origin = http2::answers(answer).await;
    let proxy = before(&[&origin], &format!("http2 = true\n{}", checked(""))).await;
    is_probed(&origin, 4).await;
    let requests = probes(&origin);
    assert_eq!(requests[0].version, "HTTP/2.0");
    assert_eq!(requests[0].header(":authority"), origin.address());
    assert_eq!(origin.connections(), 1);
    comes_to(&proxy, origin.address(), "status 200").await;
    ill.store(503, Relaxed);
    comes_to(&proxy, origin.address(), "unexpected status 503").await;
    is_in_rotation(&proxy, &origin, false).await;
    // What speaks HTTP/1 alone is not well.
    let old = origin::says("old").await;
    let proxy = before(&[&old], &format!("http2 = true\n{}", checked(""))).await;
    is_in_rotation(&proxy, &old, false).await;
}

/// The outcome of a call about a service.
async fn asked(address: &str, service: &str, outcome: &str) -> Value {
    let lines = format!(
        "http2 = true\nhealth_check = {{ protocol = \"grpc\", service = \"{service}\", {QUICK} }}"
    );
    let server = format!("{{ address = \"{address}\" }}");
    let proxy = proxy::to([server])
        .upstream(&lines)
        .more(ADMIN)
        .start()
        .await;
    comes_to(&proxy, address, outcome).await
}

#[tokio::test]
async fn grpcs_own_health_service_says_whether_a_service_is_well() {
    let Some(python) = python(&["grpc", "grpc_health.v1"]) else {
        return;
    };
    let server = Server::start(&python, "health_server.py").await;
    let address = server.address();
    for (service, outcome, is_well) in [
        ("", "SERVING", true),
        ("well", "SERVING", true),
        ("ill", "NOT_SERVING", false),
        (
            "nobody",
            "grpc-status 5 (NOT_FOUND: it does not know the service)",
            false,
        ),
    ] {
        let shown = asked(address, service, outcome).await;
        assert_eq!(shown["check"]["passed"], is_well, "{shown}");
        assert_eq!(shown["check"]["outcome"], outcome);
    }
}

#[tokio::test]
async fn a_server_of_grpc_without_a_health_service_is_not_well() {
    let server = grpc::Server::start().await;
    let outcome = "grpc-status 12 (UNIMPLEMENTED: it has no health service)";
    asked(server.address(), "", outcome).await;
    let page = http2::says("<html>").await;
    asked(page.address(), "", "no grpc-status").await;
    let error = http2::answers(|_| Answer::status(503, "")).await;
    asked(error.address(), "", "unexpected status 503").await;
}

#[tokio::test]
async fn a_call_has_the_head_that_grpc_wants() {
    let origin = http2::answers(|_| Answer::ok("").header("grpc-status", "0")).await;
    asked(origin.address(), "s", "invalid message of gRPC").await;
    let request = origin.requests().remove(0);
    assert_eq!(
        (&*request.method, &*request.target),
        ("POST", "/grpc.health.v1.Health/Check")
    );
    assert_eq!(request.header("content-type"), "application/grpc");
    assert_eq!(request.header("te"), "trailers");
    assert_eq!(request.body, [0, 0, 0, 0, 3, 0x0a, 1, b's']);
}

#[tokio::test]
async fn a_stream_goes_to_servers_that_take_connections() {
    let alive = origin::speaks(async |mut wire, _| {
        drop(wire.try_send("alive\n").await);
        drop(wire.rest().await);
    })
    .await;
    let address = origin::reserved();
    let file = format!(
        "[server]\nworkers = 2\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
         access_log = false\n[upstream.backend]\nservers = [\"{}\", \"{address}\"]\n\
         health_check = {{ protocol = \"tcp\", {QUICK} }}\n{ADMIN}",
        alive.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    comes_to(
        &proxy,
        &address,
        "connect() failed (111: Connection refused)",
    )
    .await;
    eventually("it to be out", async || {
        proxy.server(&address).await["in_rotation"] == false
    })
    .await;
    for _ in 0..4 {
        let mut client = waypost_tests::Wire::connect(proxy.address()).await.unwrap();
        assert_eq!(client.until(b"\n").await.unwrap(), b"alive\n");
    }
    assert_eq!(
        proxy
            .log()
            .matches("while connecting to upstream, client")
            .count(),
        0
    );
    let back = origin::speaks_at(&address, async |mut wire, _| drop(wire.rest().await)).await;
    is_in_rotation(&proxy, &back, true).await;
    assert_eq!(
        proxy.server(&address).await["check"]["outcome"],
        "connected"
    );
}
