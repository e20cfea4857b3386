//! `verify_signature`: webhooks that their sender has signed.

use waypost_tests::{Http2, origin, proxy};

use super::{chunking, posting};

/// As GitHub's documentation shows it.
const SECRET: &str = "It's a Secret to Everybody";
const BODY: &str = "Hello, World!";
const CODE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

#[tokio::test]
async fn what_its_sender_has_signed_reaches_the_server_unchanged_and_nothing_else_does() {
    let origin = origin::says("done").await;
    let setup = proxy::to([&origin]).route("hooks = [\"github\"]");
    std::fs::write(setup.directory().join("secret"), format!("{SECRET}\n")).unwrap();
    let hook = "[hook.github]\nplugin = \"verify_signature\"\nform = \"github\"\nsecret_file = \"secret\"\nlimit = \"1k\"\n";
    let proxy = setup.more(hook).start().await;
    let signed = format!("X-Hub-Signature-256: {CODE}\r\n");
    let halves = [&BODY[..5], &BODY[5..]];
    assert_eq!(
        proxy.exchange(posting("/", &signed, BODY)).await.text(),
        "done"
    );
    assert_eq!(
        proxy
            .exchange(chunking("/", &signed, &halves, ""))
            .await
            .text(),
        "done"
    );
    let mut http2 = Http2::connect(proxy.address()).await;
    let mut stream = http2
        .begin("POST", "/", &[("x-hub-signature-256", CODE)])
        .await;
    stream.send(halves[0], false);
    stream.send(halves[1], true);
    assert_eq!(stream.response().await.text(), "done");
    for request in origin.requests() {
        assert_eq!(request.body, BODY.as_bytes());
    }
    for (lines, body, status) in [
        (signed.as_str(), "Hello, World?", 401),
        (signed.as_str(), "", 401),
        ("", BODY, 401),
        ("X-Hub-Signature-256: sha256=00\r\n", BODY, 401),
        (signed.as_str(), &"x".repeat(2000), 413),
    ] {
        assert_eq!(
            proxy.exchange(posting("/", lines, body)).await.status,
            status,
            "{body}"
        );
        let response = proxy.exchange(chunking("/", lines, &[body, "-"], "")).await;
        assert!(matches!(response.status, 401 | 413), "{body}");
    }
    assert_eq!(origin.requests().len(), 3);
    assert!(!proxy.log().contains(SECRET), "{}", proxy.log());
}
