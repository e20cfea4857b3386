//! Several hooks, exchanges and codings at a time.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use waypost_tests::{Answer, Http2, origin, proxy};

use super::{get, hook, plugin_table, posting, probed};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Hooks of listener and route that each leave a mark.
fn marking(manner: &str) -> String {
    let hooks = ["a", "b", "c"].map(|name| {
        format!(
            "[hook.{name}]\nplugin = \"body_probe\"\nname = \"{name}\"\n\
             request = \"{manner} | tag {name}\"\nresponse = \"{manner} | tag {name}\"\n"
        )
    });
    format!("{}{}", hooks.concat(), plugin_table())
}

#[tokio::test]
async fn each_hook_sees_what_the_one_before_made_and_for_answers_in_reverse() {
    let origin = origin::answers(|request| Answer::ok(&request.body)).await;
    for manner in ["chunks", "whole 1000 refuse"] {
        let proxy = proxy::to([&origin])
            .listen("hooks = [\"a\"]")
            .route("hooks = [\"b\", \"c\"]")
            .more(&marking(manner))
            .start()
            .await;
        let response = proxy.exchange(posting("/", "", "-")).await;
        assert_eq!(response.text(), "-abccba", "{manner}");
    }
}

#[tokio::test]
async fn a_whole_and_a_piecemeal_hook_share_a_body() {
    let origin = origin::answers(|request| Answer::ok(&request.body)).await;
    let hooks = format!(
        "[hook.a]\nplugin = \"body_probe\"\nname = \"a\"\nrequest = \"chunks | tag a\"\nresponse = \"whole 1000000 refuse | tag a\"\n\
         [hook.b]\nplugin = \"body_probe\"\nname = \"b\"\nrequest = \"whole 1000000 refuse | tag b\"\nresponse = \"chunks | tag b\"\n{}",
        plugin_table()
    );
    let setup = proxy::to([&origin]).route("hooks = [\"a\", \"b\"]");
    let proxy = setup.more(&hooks).start().await;
    for body in ["-".to_owned(), "-".repeat(300_000)] {
        let response = proxy.exchange(posting("/", "", &body)).await;
        // Whole bodies of requests come first: no server has been chosen.
        assert_eq!(response.text(), format!("{body}baba"));
    }
}

#[tokio::test]
async fn bodies_of_many_exchanges_interleave_in_one_instance() {
    let origin = origin::answers(|request| Answer::ok(&request.body)).await;
    let setup = proxy::to([&origin]).server("workers = 1");
    let lines = "sharing = \"process\"\nrequest = \"chunks | hold\"\nresponse = \"chunks | hold\"";
    let proxy = probed(setup, lines).start().await;
    let mut http2 = Http2::connect(proxy.address()).await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(http2.begin("POST", "/", &[]).await);
    }
    let part = |stream: usize, part: usize| format!("{stream}.{part};").repeat(3000);
    for number in 0..4 {
        for (stream, each) in streams.iter_mut().enumerate() {
            each.send(part(stream, number), number == 3);
        }
    }
    for (stream, each) in streams.iter_mut().enumerate() {
        let whole: String = (0..4).map(|number| part(stream, number)).collect();
        assert!(each.response().await.text() == whole, "{stream}");
    }
}

#[tokio::test]
async fn a_body_in_gzip_is_text_to_a_hook_that_wants_it_so_and_gzip_to_others() {
    let text = "hello, hello, hello. ".repeat(20_000);
    let coded = gzip(text.as_bytes());
    let body = coded.clone();
    let origin = origin::answers(move |_| {
        Answer::ok(&body)
            .header("Content-Encoding", "gzip")
            .header("Content-Type", "text/html")
    })
    .await;
    let setup = proxy::to([&origin]).listen("compression = true");
    let proxy = probed(setup, "").start().await;
    for manner in ["chunks", "whole 1000000 refuse"] {
        let told = format!("{manner} decoded | upper");
        let response = get(&proxy, "/", &told).await;
        assert_eq!(response.text(), text.to_uppercase(), "{manner}");
        assert_eq!(response.header("Content-Encoding"), "", "{manner}");
        assert_eq!(response.header("Vary"), "Accept-Encoding", "{manner}");
        // It is compressed again for those that take it, by the rules of the route.
        let lines = format!("X-Probe-Response: {told}\r\nAccept-Encoding: gzip\r\n");
        let response = proxy.get_with("/", &lines).await;
        assert_eq!(response.header("Content-Encoding"), "gzip", "{manner}");
        assert_eq!(
            response.headers.all("Vary"),
            ["Accept-Encoding"],
            "{manner}"
        );
        let mut plain = Vec::new();
        let mut decoder = flate2::read::GzDecoder::new(response.body.as_slice());
        std::io::Read::read_to_end(&mut decoder, &mut plain).unwrap();
        assert_eq!(
            String::from_utf8(plain).unwrap(),
            text.to_uppercase(),
            "{manner}"
        );
        let response = get(&proxy, "/", &format!("{manner} | tag !")).await;
        assert_eq!(response.header("Content-Encoding"), "gzip", "{manner}");
        assert_eq!(response.body, [coded.as_slice(), b"!"].concat(), "{manner}");
    }
}

#[tokio::test]
async fn what_is_no_gzip_is_an_error_and_another_coding_is_left_alone() {
    let origin = origin::answers(|request| {
        Answer::ok("no gzip").header("Content-Encoding", &request.target[1..])
    })
    .await;
    let proxy = probed(proxy::to([&origin]), "says = true").start().await;
    let response = get(&proxy, "/gzip", "chunks decoded | upper").await;
    assert_eq!(response.status, 502);
    for coding in ["br", "zstd"] {
        let response = get(&proxy, &format!("/{coding}"), "chunks decoded | upper").await;
        assert_eq!(response.text(), "no gzip");
        assert_eq!(response.header("Content-Encoding"), coding);
    }
    // The page of the error alone.
    proxy.log_contains("probe sees").await;
    assert_eq!(
        proxy.log().matches("probe sees").count(),
        1,
        "{}",
        proxy.log()
    );
}

#[tokio::test]
async fn what_hooks_make_is_compressed_as_the_route_has_it() {
    let text = "hello, hello, hello. ".repeat(5_000);
    let upper = text.to_uppercase();
    let origin =
        origin::answers(move |_| Answer::ok(&text).header("Content-Type", "text/html")).await;
    let setup = proxy::to([&origin]).listen("compression = true");
    let proxy = probed(setup, "response = \"chunks | upper\"").start().await;
    let response = proxy.get_with("/", "Accept-Encoding: gzip\r\n").await;
    assert_eq!(response.header("Content-Encoding"), "gzip");
    let mut plain = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(response.body.as_slice());
    std::io::Read::read_to_end(&mut decoder, &mut plain).unwrap();
    assert!(plain == upper.as_bytes());
}

#[tokio::test]
async fn an_error_page_is_not_asked_about_twice() {
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin]).route("hooks = [\"probe\"]");
    let page = "error_pages = { 403 = { body = \"page\" } }";
    let proxy = setup
        .route(page)
        .more(&hook("response = \"whole 100 refuse | answer 403\""))
        .more(&plugin_table())
        .start()
        .await;
    let response = proxy.get("/").await;
    assert_eq!((response.status, response.text().as_str()), (403, "page"));
}

#[tokio::test]
async fn what_becomes_large_when_it_is_decompressed_holds_up_nobody() {
    let coded = gzip(&vec![b'x'; 48 << 20]);
    let origin = origin::answers(move |request| match &*request.target {
        "/large" => Answer::ok(coded.clone()).header("Content-Encoding", "gzip"),
        _ => Answer::ok("small"),
    })
    .await;
    let setup = proxy::to([&origin]).server("workers = 1");
    let proxy = probed(setup, "").start().await;
    let mut large = proxy.client().await;
    large
        .send(
            "GET /large HTTP/1.1\r\nHost: test\r\nX-Probe-Response: chunks decoded | upper\r\n\r\n",
        )
        .await;
    let (ended, mut end) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let length = large.response().await.body.len();
        let _ = ended.send(length);
    });
    let mut answered = 0;
    let length = loop {
        match end.try_recv() {
            Ok(length) => break length,
            Err(_) => {
                assert_eq!(proxy.get("/").await.text(), "small");
                answered += 1;
            }
        }
    };
    assert_eq!(length, 48 << 20);
    // Of a worker that is held up, one waits for its turn, and the next may come before the end.
    assert!(answered >= 3, "{answered} others were answered meanwhile");
}
