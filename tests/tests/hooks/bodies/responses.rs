//! Bodies of answers: of servers, of files, of the host's own.

use waypost_tests::{Answer, Http2, Origin, Proxy, origin, proxy};

use super::{get, plugin_table, probed};

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";

async fn serving(
    answer: impl Fn() -> Answer + Send + Sync + 'static,
    lines: &str,
) -> (Origin, Proxy) {
    let origin = origin::answers(move |_| answer()).await;
    let proxy = probed(proxy::to([&origin]), lines).start().await;
    (origin, proxy)
}

fn tagged() -> Answer {
    Answer::ok("hello")
        .header("ETag", "\"1\"")
        .header("Accept-Ranges", "bytes")
        .header("Content-MD5", "x")
        .header("Digest", "x")
        .header("Content-Digest", "x")
        .header("Repr-Digest", "x")
}

/// What the head says of the body's bytes.
fn said(response: &waypost_tests::Response) -> Vec<String> {
    let names = [
        "Content-Length",
        "Transfer-Encoding",
        "ETag",
        "Accept-Ranges",
        "Content-MD5",
        "Digest",
        "Content-Digest",
        "Repr-Digest",
    ];
    let said = names.iter().filter_map(|name| {
        let value = response.headers.get(name)?;
        Some(format!("{name}: {value}"))
    });
    said.collect()
}

#[tokio::test]
async fn an_answer_that_nobody_asks_for_is_left_as_it_is() {
    let (_origin, proxy) = serving(tagged, "says = true").await;
    let response = get(&proxy, "/", "none").await;
    assert_eq!(response.text(), "hello");
    assert_eq!(said(&response).len(), 7, "{response:?}");
    proxy.log_contains("probe ends").await;
    assert!(!proxy.log().contains("probe sees"), "{}", proxy.log());
}

#[tokio::test]
async fn a_whole_answer_is_replaced_and_its_head_tells_of_what_is_sent() {
    let (_origin, proxy) = serving(tagged, "").await;
    let response = get(
        &proxy,
        "/",
        "whole 100 refuse | upper | tag  you | answer_set X-Seen 1",
    )
    .await;
    assert_eq!(response.text(), "HELLO you");
    assert_eq!(said(&response), ["Content-Length: 9", "ETag: W/\"1\""]);
    assert_eq!(response.header("X-Seen"), "1");
    // One that is left as it was is the same answer.
    let response = get(&proxy, "/", "whole 100 refuse | answer_set ETag \"2\"").await;
    assert_eq!(response.text(), "hello");
    assert_eq!(said(&response).len(), 7, "{response:?}");
    assert_eq!(response.header("ETag"), "\"2\"");
    let response = get(&proxy, "/", "whole 100 refuse | drop").await;
    assert_eq!((response.text().as_str(), response.status), ("", 200));
    assert_eq!(response.header("Content-Length"), "0");
}

#[tokio::test]
async fn an_answer_in_pieces_is_framed_anew() {
    let (_origin, proxy) = serving(tagged, "").await;
    // All of it is there at once.
    let response = get(&proxy, "/", "chunks | upper").await;
    assert_eq!(response.text(), "HELLO");
    assert_eq!(said(&response), ["Content-Length: 5", "ETag: W/\"1\""]);
    let mut http2 = Http2::connect(proxy.address()).await;
    let response = http2
        .ask("GET", "/", &[("x-probe-response", "chunks | upper")])
        .await;
    assert_eq!(response.text(), "HELLO");
    let large = "abcdefgh".repeat(64 << 10);
    let upper = large.to_uppercase();
    let body = large.clone();
    let (_origin, proxy) = serving(move || Answer::ok(&body).header("ETag", "\"1\""), "").await;
    let response = get(&proxy, "/", "chunks | upper | tag !").await;
    assert_eq!(response.text(), format!("{upper}!"));
    assert_eq!(
        said(&response),
        ["Transfer-Encoding: chunked", "ETag: W/\"1\""]
    );
    let mut http2 = Http2::connect(proxy.address()).await;
    let response = http2
        .ask(
            "GET",
            "/",
            &[("x-probe-response", "chunks | upper | tag !")],
        )
        .await;
    assert_eq!(response.text(), format!("{upper}!"));
    assert_eq!(response.header("content-length"), "");
    // HTTP/1.0 knows no chunks.
    let request = "GET / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\nX-Probe-Response: chunks | upper\r\n\r\n";
    let response = proxy.exchange(request).await;
    assert_eq!(response.text(), upper);
    assert_eq!(response.header("Connection"), "close");
    // What is watched is the same answer.
    let response = get(&proxy, "/", "watch").await;
    assert_eq!(response.text(), large);
    assert_eq!(
        said(&response),
        [
            format!("Content-Length: {}", large.len()),
            "ETag: \"1\"".to_owned()
        ]
    );
}

#[tokio::test]
async fn the_connection_is_kept_behind_an_answer_that_was_replaced() {
    let large = "abcdefgh".repeat(64 << 10);
    let upper = large.to_uppercase();
    let (origin, proxy) =
        serving(move || Answer::ok(&large), "response = \"chunks | upper\"").await;
    let mut client = proxy.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), upper);
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn trailers_of_a_server_go_on_behind_what_hooks_make_of_its_body() {
    let answer = || {
        Answer::raw(format!(
            "{CHUNKED}\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Last: 1\r\n\r\n"
        ))
    };
    let (_origin, proxy) = serving(answer, "").await;
    for told in ["chunks | upper", "whole 100 refuse | upper"] {
        let response = get(&proxy, "/", told).await;
        assert_eq!(response.text(), "ABCDE", "{told}");
        assert_eq!(response.trailers.get("X-Last"), Some("1"), "{told}");
        let mut http2 = Http2::connect(proxy.address()).await;
        let response = http2.ask("GET", "/", &[("x-probe-response", told)]).await;
        assert_eq!(response.text(), "ABCDE", "{told}");
        assert_eq!(response.trailers.get("x-last"), Some("1"), "{told}");
    }
}

#[tokio::test]
async fn an_answer_without_a_body_has_no_call() {
    let origin = origin::answers(|request| match request.target.as_str() {
        "/204" => Answer::raw("HTTP/1.1 204 No Content\r\n\r\n"),
        "/304" => Answer::raw("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n"),
        "/206" => Answer::raw(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/5\r\nContent-Length: 2\r\nETag: \"1\"\r\n\r\nhe",
        ),
        _ => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"1\"\r\n\r\n"),
    })
    .await;
    let lines = "says = true\nresponse = \"chunks | upper\"";
    let proxy = probed(proxy::to([&origin]), lines).start().await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/204").await.status, 204);
    let response = client.get("/304").await;
    // As the answer that it stands for.
    assert_eq!((response.status, response.header("ETag")), (304, "W/\"1\""));
    let response = client.get("/206").await;
    assert_eq!(
        (response.text().as_str(), response.header("ETag")),
        ("he", "\"1\"")
    );
    client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let response = client.response_to_head().await;
    assert_eq!(response.header("Content-Length"), "");
    assert_eq!(response.header("ETag"), "W/\"1\"");
    assert_eq!(client.get("/204").await.status, 204);
    assert!(!proxy.log().contains("probe sees"), "{}", proxy.log());
}

#[tokio::test]
async fn an_empty_answer_has_a_call() {
    let (_origin, proxy) = serving(|| Answer::ok(""), "").await;
    for told in ["chunks | tag more", "whole 10 refuse | tag more"] {
        let response = get(&proxy, "/", told).await;
        assert_eq!(response.text(), "more", "{told}");
    }
}

#[tokio::test]
async fn answers_of_our_own_are_seen_as_well() {
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin]);
    std::fs::write(setup.directory().join("page.txt"), "a page").unwrap();
    let more = format!(
        "[[route]]\npath = \"/text\"\nreturn = {{ status = 200, body = \"some text\" }}\nhooks = [\"probe\"]\n\
         [[route]]\npath = \"/files/\"\nfiles = {{ root = \"{}\", strip_prefix = true }}\nhooks = [\"probe\"]\n\
         [[route]]\npath = \"/teapot\"\nreturn = {{ status = 418 }}\nhooks = [\"probe\"]\n",
        setup.directory().display()
    );
    let proxy = setup
        .more(&more)
        .more(&super::hook("response = \"chunks | upper\""))
        .more(&plugin_table())
        .start()
        .await;
    assert_eq!(proxy.get("/text").await.text(), "SOME TEXT");
    let response = proxy.get("/files/page.txt").await;
    assert_eq!(response.text(), "A PAGE", "{response:?}");
    let response = proxy.get("/teapot").await;
    assert_eq!(response.status, 418);
    assert_eq!(response.text(), response.text().to_uppercase());
}

#[tokio::test]
async fn an_answer_is_replaced_by_one_of_the_hook_s_as_long_as_nothing_of_it_has_left() {
    let (_origin, proxy) = serving(|| Answer::ok("secret").header("X-Of-Server", "1"), "").await;
    for told in [
        "whole 100 refuse | answer 451 withheld",
        "chunks | answer 451 withheld",
    ] {
        let response = get(&proxy, "/", told).await;
        assert_eq!(
            (response.status, response.text().as_str()),
            (451, "withheld"),
            "{told}"
        );
        assert_eq!(response.header("X-Of-Server"), "", "{told}");
        let mut http2 = Http2::connect(proxy.address()).await;
        let response = http2.ask("GET", "/", &[("x-probe-response", told)]).await;
        assert_eq!(
            (response.status, response.text().as_str()),
            (451, "withheld"),
            "{told}"
        );
    }
    let response = get(&proxy, "/", "whole 100 refuse | answer 403").await;
    assert_eq!(response.status, 403);
    assert!(response.text().contains("403"));
}

#[tokio::test]
async fn an_answer_over_the_bound_is_refused_or_goes_on_as_it_is() {
    let large = "x".repeat(200_000);
    let body = large.clone();
    let (_origin, proxy) = serving(
        move || Answer::ok(&body).header("ETag", "\"1\""),
        "says = true",
    )
    .await;
    let response = get(&proxy, "/", "whole 100000 refuse | upper").await;
    assert_eq!(response.status, 500);
    proxy
        .log_contains("the body has more than 100000 bytes")
        .await;
    let response = get(&proxy, "/", "whole 100000 pass | upper").await;
    assert_eq!(response.text(), large);
    assert_eq!(said(&response), ["Content-Length: 200000", "ETag: \"1\""]);
    assert!(!proxy.log().contains("probe sees"), "{}", proxy.log());
}
