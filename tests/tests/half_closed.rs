//! One side has ended its direction (a FIN, `close_notify`, END_STREAM) and the other has not: one
//! rule for sessions of a `[[stream]]` and for tunnels, with a bound of its own.

use std::time::Duration;

use rustix::process::Signal;
use waypost_tests::admin::ADMIN;
use waypost_tests::{Client, Origin, Proxy, Wire, eventually, in_time, origin, proxy};

/// What opens a tunnel to the origins of this file.
const UPGRADE: &str =
    "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n";
const SWITCHING: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n";

/// What carries bytes both ways.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Stream,
    Tunnel,
}

const KINDS: [Kind; 2] = [Kind::Stream, Kind::Tunnel];

/// A server that says a line and then does as the function says, behind a proxy. Silence alone ends
/// a connection only after an hour.
async fn carried<F: Future<Output = ()> + Send + 'static>(
    kind: Kind,
    upstream: &str,
    then: impl Fn(Wire, usize) -> F + Clone + Send + Sync + 'static,
) -> (Origin, Proxy) {
    let origin = origin::speaks(move |mut wire, number| {
        let then = then.clone();
        async move {
            if kind == Kind::Tunnel {
                let Ok(_) = wire.head().await else { return };
                wire.send(SWITCHING).await;
            }
            wire.send("welcome\n").await;
            then(wire, number).await;
        }
    })
    .await;
    let proxy = before(kind, &origin, upstream).await;
    (origin, proxy)
}

async fn before(kind: Kind, origin: &Origin, upstream: &str) -> Proxy {
    match kind {
        Kind::Stream => {
            let file = format!(
                "[server]\nworkers = 1\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
                 idle_timeout = \"1h\"\naccess_log = {{ path = \"stream.log\", format = \"$status $bytes_sent\" }}\n\
                 [upstream.backend]\nservers = [\"{}\"]\n{upstream}\n{ADMIN}",
                origin.address()
            );
            proxy::run(&file, &[]).await
        }
        Kind::Tunnel => {
            let setup = proxy::to([origin]).upstream(upstream);
            let setup = setup.upstream("read_timeout = \"1h\"").more(ADMIN);
            setup.start().await
        }
    }
}

/// A client whose server has said its line.
async fn welcomed(kind: Kind, proxy: &Proxy) -> Wire {
    let mut client = Client::connect(proxy.address()).await;
    if kind == Kind::Tunnel {
        client.send(UPGRADE).await;
        assert_eq!(client.response_head().await.status, 101);
    }
    assert_eq!(client.wire.until(b"\n").await.unwrap(), b"welcome\n");
    client.wire
}

async fn in_flight(proxy: &Proxy, server: &Origin, number: u32) {
    eventually(&format!("{number} in flight"), async || {
        proxy.server(server.address()).await["in_flight"] == number
    })
    .await;
}

/// Waits until the process no longer counts the connection.
async fn has_connections(proxy: &Proxy, number: u32) {
    eventually(&format!("{number} connections"), async || {
        proxy.shows("/status").await["connections"] == number
    })
    .await;
}

const SOON: &str = "half_close_timeout = \"300ms\"";
const NEVER: &str = "half_close_timeout = \"1h\"";

#[tokio::test]
async fn a_server_that_keeps_its_half_open_is_left_after_half_close_timeout() {
    for kind in KINDS {
        // It reads to the end, and neither answers nor closes.
        let (server, proxy) = carried(kind, SOON, |mut wire, _| async move {
            wire.rest().await;
            std::future::pending::<()>().await;
        })
        .await;
        let mut client = welcomed(kind, &proxy).await;
        client.finish_sending().await;
        let told = client.rest().await;
        assert_eq!(told.got, b"", "{kind:?}");
        in_flight(&proxy, &server, 0).await;
        has_connections(&proxy, 0).await;
        proxy.log_contains("half_close_timeout").await;
        assert_eq!(proxy.server(server.address()).await["fails"], 0, "{kind:?}");
    }
}

#[tokio::test]
async fn a_client_that_keeps_its_half_open_is_left_after_half_close_timeout() {
    for kind in KINDS {
        let (_server, mut proxy) = carried(kind, SOON, |wire, _| async move { drop(wire) }).await;
        let mut client = welcomed(kind, &proxy).await;
        assert_eq!(client.rest().await.got, b"");
        // Its socket stays open; a graceful stop does not wait for it.
        proxy.signal(Signal::QUIT);
        in_time("the end", proxy.process().ended()).await;
        drop(client);
    }
}

#[tokio::test]
async fn a_lease_ends_when_its_server_has_ended() {
    for kind in KINDS {
        let (server, proxy) = carried(kind, NEVER, |wire, _| async move { drop(wire) }).await;
        let mut client = welcomed(kind, &proxy).await;
        assert_eq!(client.rest().await.got, b"");
        in_flight(&proxy, &server, 0).await;
        has_connections(&proxy, 1).await;
        drop(client);
        has_connections(&proxy, 0).await;
    }
}

#[tokio::test]
async fn a_half_that_speaks_goes_on_past_half_close_timeout() {
    for kind in KINDS {
        let (_server, proxy) = carried(
            kind,
            "half_close_timeout = \"1s\"",
            |mut wire, _| async move {
                wire.rest().await;
                for _ in 0..15 {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    if wire.try_send("tick\n").await.is_err() {
                        return;
                    }
                }
            },
        )
        .await;
        let mut client = welcomed(kind, &proxy).await;
        client.finish_sending().await;
        let told = client.rest().await;
        assert_eq!(
            (told.got, told.reset),
            (b"tick\n".repeat(15), false),
            "{kind:?}"
        );
        assert!(
            !proxy.log().contains("half_close_timeout"),
            "{}",
            proxy.log()
        );
    }
}

#[tokio::test]
async fn with_0_the_end_of_one_side_is_the_end_of_both_as_in_nginx() {
    for kind in KINDS {
        let (server, proxy) = carried(kind, "half_close_timeout = 0", |mut wire, _| async move {
            let said = wire.rest().await;
            assert_eq!(said.got, b"last words\n");
            std::future::pending::<()>().await;
        })
        .await;
        let mut client = welcomed(kind, &proxy).await;
        client.send("last words\n").await;
        client.finish_sending().await;
        client.rest().await;
        in_flight(&proxy, &server, 0).await;
        has_connections(&proxy, 0).await;
    }
}

#[tokio::test]
async fn a_client_that_ends_its_side_at_once_hears_what_the_server_says() {
    // The first server never accepts, so that the client's end comes while we are connecting.
    let hangs = origin::hangs_at_connect();
    let server = origin::speaks(|mut wire, _| async move {
        wire.send("welcome\n").await;
        wire.rest().await;
    })
    .await;
    let file = format!(
        "[server]\nworkers = 1\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
         [upstream.backend]\nservers = [\"{}\", {{ address = \"{}\", backup = true }}]\nconnect_timeout = \"300ms\"\n",
        hangs.address(),
        server.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    let mut client = Wire::connect(proxy.address()).await.unwrap();
    client.finish_sending().await;
    let told = client.rest().await;
    assert_eq!((told.got, told.reset), (b"welcome\n".to_vec(), false));

    // And without the server that hangs: the FIN may come before or after the connection stands.
    let file = file.replace(&format!("\"{}\", ", hangs.address()), "");
    let file = file.replace("backup = true", "weight = 1");
    let proxy = proxy::run(&file, &[]).await;
    for round in 0..100 {
        let mut client = Wire::connect(proxy.address()).await.unwrap();
        client.finish_sending().await;
        assert_eq!(client.rest().await.got, b"welcome\n", "round {round}");
    }
}

#[tokio::test]
async fn a_client_that_says_all_and_ends_its_side_at_once_has_its_tunnel() {
    let server = origin::speaks(|mut wire, _| async move {
        let Ok(_) = wire.head().await else { return };
        wire.send(SWITCHING).await;
        let said = wire.rest().await.got;
        wire.send([b"said: ", &*said].concat()).await;
    })
    .await;
    let proxy = before(Kind::Tunnel, &server, "").await;
    for round in 0..100 {
        // Its end comes before, with or after the answer of the server.
        for pieces in [&[UPGRADE, "words"][..], &["words"]] {
            let mut client = Client::connect(proxy.address()).await;
            match pieces {
                [_, _] => client.send(pieces.concat()).await,
                _ => client.send(UPGRADE).await,
            }
            if let [piece] = pieces {
                client.send(piece).await;
            }
            client.wire.finish_sending().await;
            let told = client.wire.rest().await;
            let told = String::from_utf8_lossy(&told.got).into_owned();
            let words = pieces.last().unwrap_or(&"");
            let well =
                told.starts_with("HTTP/1.1 101") && told.ends_with(&format!("said: {words}"));
            assert!(well, "round {round}, {pieces:?}: {told:?}\n{}", proxy.log());
        }
    }
}

#[tokio::test]
async fn a_client_that_ends_its_side_while_we_are_connecting_is_waited_for_half_close_timeout() {
    let hangs = origin::hangs_at_connect();
    let proxy = before(Kind::Stream, &hangs, SOON).await;
    let mut client = Wire::connect(proxy.address()).await.unwrap();
    in_flight(&proxy, &hangs, 1).await;
    client.finish_sending().await;
    // Long before `connect_timeout`.
    assert_eq!(client.rest().await.got, b"");
    in_flight(&proxy, &hangs, 0).await;
    has_connections(&proxy, 0).await;
    let log = proxy.directory().join("stream.log");
    eventually("its line in the log", async || {
        std::fs::read_to_string(&log).is_ok_and(|lines| lines == "499 0\n")
    })
    .await;
    assert_eq!(proxy.server(hangs.address()).await["fails"], 0);
}

#[tokio::test]
async fn a_server_that_is_back_gets_others_as_soon_as_one_session_or_tunnel_stands() {
    for kind in KINDS {
        let speaks = move |name: &'static str| {
            move |mut wire: Wire, _| async move {
                if kind == Kind::Tunnel {
                    let Ok(_) = wire.head().await else { return };
                    wire.send(SWITCHING).await;
                }
                wire.send(name).await;
                wire.rest().await;
            }
        };
        // Nothing listens there yet.
        let address = origin::reserved();
        let other = origin::speaks(speaks("other\n")).await;
        let rules = format!(
            "servers = [{{ address = \"{address}\", fail_timeout = \"1s\" }}, \"{}\"]",
            other.address()
        );
        let proxy = match kind {
            Kind::Stream => {
                let file = format!(
                    "[server]\nworkers = 1\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
                     [upstream.backend]\n{rules}\n{ADMIN}"
                );
                proxy::run(&file, &[]).await
            }
            Kind::Tunnel => {
                let file = format!(
                    "[server]\nworkers = 1\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
                     [[route]]\nproxy = \"backend\"\n[upstream.backend]\n{rules}\n{ADMIN}"
                );
                proxy::run(&file, &[]).await
            }
        };
        let open = async || {
            let mut client = Client::connect(proxy.address()).await;
            if kind == Kind::Tunnel {
                client.send(UPGRADE).await;
                assert_eq!(client.response_head().await.status, 101);
            }
            let name = client.wire.until(b"\n").await.unwrap();
            (client, name)
        };
        // One of two turns is the failing server's.
        for _ in 0..2 {
            assert_eq!(open().await.1, b"other\n");
        }
        assert_eq!(proxy.server(&address).await["fails"], 1, "{kind:?}");
        let _back = origin::speaks_at(&address, speaks("back\n")).await;
        let mut held = None;
        eventually("a session with the server that is back", async || {
            let (client, name) = open().await;
            held = (name == b"back\n").then_some(client);
            held.is_some()
        })
        .await;
        // The first one is still open.
        eventually("its failures to be forgiven", async || {
            proxy.server(&address).await["fails"] == 0
        })
        .await;
        let (_first, one) = open().await;
        let (_second, two) = open().await;
        assert!([one, two].contains(&b"back\n".to_vec()), "{kind:?}");
    }
}
