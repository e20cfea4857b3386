//! `body_limit`: sizes of bodies by their media type.

use waypost_tests::{Answer, Http2, Origin, Proxy, origin, proxy};

use super::{chunking, posting};

async fn limited(origin: &Origin) -> Proxy {
    let hook = "[hook.limit]\nplugin = \"body_limit\"\nlimit = \"8\"\n\
                types = { \"application/json\" = \"4\", \"image/*\" = \"16\" }\n";
    proxy::to([origin])
        .route("hooks = [\"limit\"]")
        .more(hook)
        .start()
        .await
}

#[tokio::test]
async fn bodies_have_the_bound_of_their_type_whether_they_tell_their_length_or_not() {
    let origin = origin::answers(|request| Answer::ok(&request.body)).await;
    let proxy = limited(&origin).await;
    for (media_type, bound) in [
        ("application/json", 4),
        ("image/png", 16),
        ("text/plain", 8),
    ] {
        let lines = format!("Content-Type: {media_type}\r\n");
        for (length, status) in [(bound, 200), (bound + 1, 413)] {
            let body = "x".repeat(length);
            let by_length = proxy.exchange(posting("/", &lines, &body)).await;
            let halves = [&body[..length / 2], &body[length / 2..]];
            let by_chunks = proxy.exchange(chunking("/", &lines, &halves, "")).await;
            let mut http2 = Http2::connect(proxy.address()).await;
            let mut stream = http2
                .begin("POST", "/", &[("content-type", media_type)])
                .await;
            stream.send(&body, true);
            for response in [by_length, by_chunks, stream.response().await] {
                assert_eq!(response.status, status, "{media_type}, {length}");
                if status == 200 {
                    assert_eq!(response.text(), body);
                }
            }
        }
    }
    assert!(
        origin
            .requests()
            .iter()
            .all(|request| request.body.len() <= 16)
    );
}

#[tokio::test]
async fn a_server_sees_a_body_break_off_that_becomes_too_large_on_its_way() {
    let origin = origin::answers(|request| Answer::ok(request.body.len().to_string())).await;
    let hook = "[hook.limit]\nplugin = \"body_limit\"\nlimit = \"1m\"\n";
    let proxy = proxy::to([&origin])
        .route("hooks = [\"limit\"]\nclient_max_body_size = \"0\"")
        .more(hook)
        .start()
        .await;
    let part = "x".repeat(100_000);
    let part = part.as_str();
    let lines = "Content-Type: text/plain\r\n";
    let fits = proxy.exchange(chunking("/", lines, &[part; 10], "")).await;
    assert_eq!(fits.text(), "1000000");
    let mut client = proxy.client().await;
    // The answer may come while it is still sent.
    let _ = client
        .wire
        .try_send(chunking("/", lines, &[part; 11], ""))
        .await;
    assert_eq!(client.response().await.status, 413);
    assert_eq!(origin.requests().len(), 1);
}
