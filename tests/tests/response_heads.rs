//! What a client's response header has besides the server's own fields, and what it has not, for
//! every kind of answer: a server's, one of our own, a change of protocols, an interim one.

use waypost_tests::tls::{self, Authority};
use waypost_tests::{Answer, Client, Fields, Http2, Origin, Proxy, origin, proxy};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                      Sec-WebSocket-Accept: y\r\nConnection: upgrade, X-Hop\r\nX-Hop: 1\r\n\
                      X-End: 2\r\nContent-Length: 7\r\n\r\n";
const ASK: &str = "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";

/// Switches protocols, hints before it answers, or answers, as the target says.
async fn versatile() -> Origin {
    origin::speaks(|mut wire, _| async move {
        while let Ok(head) = wire.head().await {
            match head.start.split(' ').nth(1) {
                Some("/chat") => {
                    wire.send(SWITCH).await;
                    wire.rest().await;
                    return;
                }
                Some("/hints") => {
                    wire.send(
                        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Hop\r\n\
                         X-Hop: 1\r\n\r\n",
                    )
                    .await;
                }
                _ => {}
            }
            wire.send(
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\
                 X-End: 2\r\n\r\nhello",
            )
            .await;
        }
    })
    .await
}

/// Before it: a policy and a route that add to each response, over TLS with HSTS.
async fn adorned(origin: &Origin) -> (Authority, Proxy) {
    let authority = Authority::new("Specs");
    let setup = proxy::to([origin]);
    authority
        .certificate(&["test"])
        .write(setup.directory(), "own");
    let proxy = setup
        .server("workers = 1")
        .listen("hsts = \"365d\"\ntls = { certificate = \"own.pem\", key = \"own.key\" }")
        .upstream("policy = { plugin = \"sticky\", cookie = { name = \"srv\" } }")
        .route("response_headers = { add = { X-Served = \"waypost\" }, remove = [\"X-End\"] }")
        .more(
            "[[route]]\npath = \"/ours\"\nreturn = { status = 403, body = \"no\" }\n\
             response_headers = { add = { X-Served = \"waypost\" }, \
             set = { Server = \"mine\", Date = \"\" } }",
        )
        .start()
        .await;
    (authority, proxy)
}

async fn secure(authority: &Authority, proxy: &Proxy) -> Client {
    let connected = tls::connect(proxy.address(), authority.trusting(), "test").await;
    connected.expect("a handshake")
}

fn adorns(fields: &Fields, what: &str) {
    assert!(
        fields
            .get("Set-Cookie")
            .is_some_and(|cookie| cookie.starts_with("srv=")),
        "{what}: {fields:?}"
    );
    assert_eq!(fields.all("X-Served"), ["waypost"], "{what}");
    let hsts = fields.all("Strict-Transport-Security");
    assert_eq!(hsts.len(), 1, "{what}: {hsts:?}");
    for gone in ["X-Hop", "X-End"] {
        assert_eq!(fields.get(gone), None, "{what}");
    }
    assert_eq!(fields.all("Date").len(), 1, "{what}");
}

#[tokio::test]
async fn a_change_of_protocols_has_what_every_answer_has() {
    let origin = versatile().await;
    let (authority, proxy) = adorned(&origin).await;
    let mut client = secure(&authority, &proxy).await;
    adorns(&client.get("/").await.headers, "200");
    client.send(ASK).await;
    let switching = client.response_head().await;
    assert_eq!(switching.status, 101);
    adorns(&switching.headers, "101");
    assert_eq!(switching.header("Upgrade"), "websocket");
    assert_eq!(switching.header("Sec-WebSocket-Accept"), "y");
    assert_eq!(switching.headers.all("Connection"), ["upgrade"]);
    assert_eq!(switching.headers.get("Content-Length"), None);
}

#[tokio::test]
async fn in_http2_too() {
    let origin = versatile().await;
    let (authority, proxy) = adorned(&origin).await;
    let mut config = authority.trusting();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connected = tls::connect(proxy.address(), config, "test").await;
    let mut client = Http2::on(connected.expect("a handshake").wire).await;
    adorns(&client.get("/").await.headers, "200");
}

#[tokio::test]
async fn an_answer_of_ours_is_changed_as_any_other() {
    let origin = versatile().await;
    let (authority, proxy) = adorned(&origin).await;
    let mut client = secure(&authority, &proxy).await;
    let ours = client.get("/ours").await;
    assert_eq!(ours.headers.all("X-Served"), ["waypost"]);
    assert_eq!(ours.headers.all("Strict-Transport-Security").len(), 1);
    // What a route sets takes the place of what we would say, and removes it where it is empty.
    assert_eq!(ours.headers.all("Server"), ["mine"]);
    assert_eq!(ours.headers.get("Date"), None);
}

#[tokio::test]
async fn a_failed_call_is_told_with_the_fields_of_its_route() {
    let dead = origin::refuses();
    let proxy = proxy::to([&dead])
        .route("response_headers = { add = { X-Served = \"waypost\" } }")
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    let lines = [("content-type", "application/grpc"), ("te", "trailers")];
    let response = client.ask("POST", "/a.B/C", &lines).await;
    assert_eq!(
        (response.status, response.header("grpc-status")),
        (200, "14")
    );
    assert_eq!(response.header("x-served"), "waypost");
}

#[tokio::test]
async fn a_server_s_date_can_be_replaced() {
    let origin = origin::answers(|_| Answer::ok("hello").header("Date", "yesterday")).await;
    let proxy = proxy::to([&origin])
        .route("response_headers = { set = { Date = \"today\" } }")
        .start()
        .await;
    assert_eq!(proxy.get("/").await.headers.all("Date"), ["today"]);
}

#[tokio::test]
async fn an_interim_answer_keeps_what_its_connection_names_to_itself() {
    let origin = versatile().await;
    let log = "workers = 1\n\
               access_log = { path = \"stdout\", format = 'sent $bytes_sent $body_bytes_sent.' }";
    let proxy = proxy::to([&origin]).server(log).start().await;
    let mut client = proxy.client().await;
    client
        .send("GET /hints HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    let hints = client.response_head().await;
    assert_eq!((hints.status, hints.header("Link")), (103, "</a>"));
    assert_eq!(hints.headers.get("X-Hop"), None);
    assert_eq!(hints.headers.get("Connection"), None);
    let answer = client.response().await;
    assert_eq!(answer.headers.get("X-Hop"), None);
    // Both heads count.
    let sent = hints.raw_head.len() + answer.raw_head.len() + 5;
    proxy.stdout().contains(&format!("sent {sent} 5.")).await;
}

#[tokio::test]
async fn a_server_may_say_what_it_could_be_upgraded_to() {
    let origin = origin::answers(|request| match &*request.target {
        "/needs" => Answer::status(426, "")
            .header("Upgrade", "websocket")
            .header("Connection", "upgrade"),
        "/offers" => Answer::ok("hello")
            .header("Upgrade", "foo/2")
            .header("Connection", "upgrade"),
        // HTTP/2 is ours to offer, and is not offered so.
        _ => Answer::ok("hello")
            .header("Upgrade", "h2,h2c")
            .header("Connection", "upgrade, Keep-Alive"),
    })
    .await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    for (target, upgrade, connection) in [
        ("/needs", Some("websocket"), Some("upgrade")),
        ("/offers", Some("foo/2"), Some("upgrade")),
        ("/apache", None, None),
    ] {
        let response = client.get(target).await;
        assert_eq!(response.headers.get("Upgrade"), upgrade, "{target}");
        assert_eq!(response.headers.get("Connection"), connection, "{target}");
    }
    let last = proxy.get("/needs").await;
    assert_eq!(last.headers.all("Connection"), ["close, upgrade"]);
    // HTTP/2 has no such field (RFC 9113 section 8.2.2).
    let mut client = Http2::connect(proxy.address()).await;
    assert_eq!(client.get("/needs").await.headers.get("upgrade"), None);
}

#[tokio::test]
async fn bytes_that_did_not_leave_are_not_counted() {
    let origin = origin::answers(|_| Answer::ok(vec![b'x'; 30 << 20])).await;
    let log = "workers = 1\naccess_log = { path = \"stdout\", format = 'sent $body_bytes_sent.' }";
    let proxy = proxy::to([&origin])
        .server(log)
        .listen("send_timeout = \"300ms\"")
        .start()
        .await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    proxy.log_contains("client timed out").await;
    let log = proxy
        .stdout()
        .wait_until("the line", |log| log.ends_with(".\n"))
        .await;
    let sent = log
        .trim()
        .strip_prefix("sent ")
        .and_then(|sent| sent.strip_suffix('.'));
    let sent: usize = sent.expect("a number").parse().expect("a number");
    // All that the proxy counts is on its way, and nothing else.
    let response = client.cut_response().await;
    assert_eq!(response.body.len(), sent);
}
