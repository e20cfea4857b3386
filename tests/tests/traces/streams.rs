//! Sessions of streams: one span each.

use waypost_tests::tls::{self, Authority};
use waypost_tests::{Origin, Wire, not_yet};

use super::*;

/// A server that says a word to whoever connects.
async fn greets() -> Origin {
    origin::speaks(|mut wire, _| async move {
        wire.send("hello\n").await;
        wire.rest().await;
    })
    .await
}

/// A stream to a server, and what is traced.
async fn stream(server: &Origin, stream: &str, traces: &str) -> Proxy {
    let file = format!(
        "[server]\nworkers = 1\naccess_log = false\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
         {stream}\n[upstream.backend]\nservers = [\"{}\"]\n{traces}",
        server.address()
    );
    proxy::run(&file, &[]).await
}

async fn say(address: &str) {
    let mut wire = Wire::connect(address).await.unwrap();
    wire.until(b"\n").await.unwrap();
    wire.send("bye").await;
    wire.finish_sending().await;
    wire.rest().await;
}

#[tokio::test]
async fn a_session_is_one_span() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let server = greets().await;
    let proxy = stream(&server, "", &collector.over_http("")).await;
    say(proxy.address()).await;
    let spans = collector.spans(1).await;
    let span = only(&spans, "kind", "SERVER");
    assert_eq!(span["name"].as_str().unwrap()[..4], *"TCP ");
    assert_eq!(
        (&span["parent"], &span["error"]),
        (&"".into(), &false.into())
    );
    for (name, value) in [
        ("network.transport", "tcp"),
        ("client.address", "127.0.0.1"),
        ("server.address", "127.0.0.1"),
        ("waypost.upstream", "backend"),
        ("waypost.endpoint", server.address()),
    ] {
        assert_eq!(attribute(span, name), value, "{name}");
    }
    for (name, value) in [
        ("waypost.status", 200),
        ("waypost.attempts", 1),
        ("waypost.bytes_received", 3),
        ("waypost.bytes_sent", 6),
    ] {
        assert_eq!(attribute(span, name), value, "{name}");
    }
    assert!(span["took"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn a_session_that_reaches_no_server_is_an_error_and_one_over_tls_says_its_name() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let authority = Authority::new("Specs");
    let own = tempfile::TempDir::new().unwrap();
    authority.certificate(&["db.test"]).write(own.path(), "own");
    let tls = format!(
        "tls = {{ certificate = \"{0}/own.pem\", key = \"{0}/own.key\" }}",
        own.path().display()
    );
    let proxy = stream(&origin::refuses(), &tls, &collector.over_grpc("")).await;
    let connected = tls::connect(proxy.address(), authority.trusting(), "db.test").await;
    drop(connected);
    let spans = collector.spans(1).await;
    let span = only(&spans, "kind", "SERVER");
    assert_eq!(attribute(span, "tls.client.server_name"), "db.test");
    // Unless the client was gone before that was known.
    let status = attribute(span, "waypost.status").as_u64().unwrap();
    assert!(status == 502 || status == 499, "{span}");
    assert_eq!(span["error"], status == 502, "{span}");
}

#[tokio::test]
async fn the_endpoint_of_a_session_is_the_last_that_was_tried() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let (refuses, server) = (origin::refuses(), greets().await);
    let file = format!(
        "[server]\nworkers = 1\naccess_log = false\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
         [upstream.backend]\nservers = [\"{}\", {{ address = \"{}\", backup = true }}]\n{}",
        refuses.address(),
        server.address(),
        collector.over_http("")
    );
    let proxy = proxy::run(&file, &[]).await;
    say(proxy.address()).await;
    let spans = collector.spans(1).await;
    let span = only(&spans, "kind", "SERVER");
    assert_eq!(attribute(span, "waypost.endpoint"), server.address());
    assert_eq!(attribute(span, "waypost.attempts"), 2);
}

#[tokio::test]
async fn a_stream_may_be_left_out() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let server = greets().await;
    for (lines, traces) in [("traces = false", ""), ("", "sample = \"0%\"")] {
        let proxy = stream(&server, lines, &collector.over_http(traces)).await;
        say(proxy.address()).await;
    }
    not_yet("there is a span", collector.spans(1)).await;
}
