//! Bodies of requests: as a whole before a server is chosen, and piece by piece on their way.

use waypost_tests::proxy::Setup;
use waypost_tests::{Answer, Http2, Origin, http2, origin, proxy};

use super::{chunking, plugin_table, post, posting, probed};

/// A server that tells how a request reached it: its framing, what became of headers, its body.
async fn echo() -> Origin {
    origin::answers(|request| {
        let length = request.headers.get("Content-Length").unwrap_or("-");
        let coding = request.headers.get("Transfer-Encoding").unwrap_or("-");
        let body = String::from_utf8_lossy(&request.body);
        Answer::ok(format!("{length} {coding} {} {body}", request.target))
            .header("X-Digest", request.header("Digest"))
            .header("X-Set", request.header("X-Set"))
    })
    .await
}

async fn probing(origin: &Origin, lines: &str) -> waypost_tests::Proxy {
    probed(proxy::to([origin]), lines).start().await
}

#[tokio::test]
async fn a_body_that_is_not_asked_for_goes_on_without_a_call() {
    let origin = echo().await;
    let proxy = probing(&origin, "says = true").await;
    let response = proxy.exchange(posting("/", "Digest: x\r\n", "abc")).await;
    assert_eq!(response.text(), "3 - / abc");
    assert_eq!(response.header("X-Digest"), "x");
    proxy.log_contains("probe ends").await;
    assert!(!proxy.log().contains("probe sees"), "{}", proxy.log());
}

#[tokio::test]
async fn a_whole_body_is_seen_in_one_call_however_it_is_framed() {
    let origin = echo().await;
    let proxy = probing(&origin, "").await;
    let told = "X-Probe-Request: whole 100 refuse | tell\r\n";
    let response = proxy.exchange(posting("/", told, "abc")).await;
    assert_eq!(response.text(), "3 - / abc");
    assert_eq!(response.header("X-Probe-Request"), "3 true");
    let request = chunking("/", told, &["ab", "c"], "X-Last: 1\r\n");
    let response = proxy.exchange(request).await;
    assert_eq!(response.header("X-Probe-Request"), "3 true X-Last=1");
    assert_eq!(response.text(), "- chunked / abc");
    let reached = origin.requests().pop().unwrap();
    assert_eq!(reached.trailers.get("X-Last"), Some("1"));
    // Without a body as well.
    let response = proxy.get_with("/", told).await;
    assert_eq!(response.header("X-Probe-Request"), "0 true");
    let mut http2 = Http2::connect(proxy.address()).await;
    let lines = [("x-probe-request", "whole 100 refuse | tell")];
    let mut stream = http2.begin("POST", "/", &lines).await;
    stream.send("ab", false);
    stream.send("c", true);
    let response = stream.response().await;
    assert_eq!(response.header("x-probe-request"), "3 true");
    assert_eq!(response.text(), "3 - / abc");
}

#[tokio::test]
async fn a_whole_body_can_be_replaced_and_the_request_changed_with_it() {
    let origin = echo().await;
    let proxy = probing(&origin, "").await;
    let told = "whole 100 refuse | upper | tag  and more | set X-Set yes | path /other";
    let lines = format!("X-Probe-Request: {told}\r\nDigest: x\r\nContent-MD5: y\r\n");
    let response = proxy.exchange(posting("/", &lines, "abc")).await;
    assert_eq!(response.text(), "12 - /other ABC and more");
    assert_eq!(response.header("X-Set"), "yes");
    assert_eq!(response.header("X-Digest"), "", "it is of other bytes");
    let response = proxy
        .exchange(chunking("/", &lines, &["a", "bc"], ""))
        .await;
    assert_eq!(response.text(), "12 - /other ABC and more");
    // One that had none gets one, and one that had some loses it.
    let lines = "X-Probe-Request: whole 100 refuse | size 5\r\n";
    assert_eq!(proxy.get_with("/", lines).await.text(), "5 - / xxxxx");
    let response = post(&proxy, "whole 100 refuse | drop", "abc").await;
    assert_eq!(response.text(), "0 - / ");
}

#[tokio::test]
async fn a_whole_body_of_a_request_goes_on_over_http2_as_well() {
    let origin = http2::answers(|request| Answer::ok(&request.body)).await;
    let setup = proxy::to([&origin]).upstream("http2 = true");
    let proxy = probed(setup, "").start().await;
    let response = post(&proxy, "whole 100 refuse | upper", "abc").await;
    assert_eq!(response.text(), "ABC");
    let response = post(&proxy, "chunks | upper", "abc").await;
    assert_eq!(response.text(), "ABC");
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_or_goes_on_without_a_call() {
    let origin = echo().await;
    let proxy = probing(&origin, "says = true").await;
    let refuse = "X-Probe-Request: whole 4 refuse | upper\r\n";
    let pass = "X-Probe-Request: whole 4 pass | upper\r\n";
    for (lines, status, text) in [(refuse, 413, ""), (pass, 200, "abcde")] {
        let by_length = proxy.exchange(posting("/", lines, "abcde")).await;
        let by_chunks = proxy
            .exchange(chunking("/", lines, &["abcd", "e"], ""))
            .await;
        for response in [by_length, by_chunks] {
            assert_eq!(response.status, status);
            if status == 200 {
                assert!(response.text().ends_with(text), "{}", response.text());
            }
        }
        assert!(!proxy.log().contains("sees"), "{}", proxy.log());
    }
    for lines in [refuse, pass] {
        let fits = proxy
            .exchange(chunking("/", lines, &["ab", "cd"], ""))
            .await;
        assert_eq!(fits.text(), "4 - / ABCD");
    }
}

#[tokio::test]
async fn a_body_over_the_route_s_own_bound_is_refused_before_the_hook_has_it() {
    let origin = echo().await;
    let setup = proxy::to([&origin]).route("client_max_body_size = \"4\"");
    let proxy = probed(setup, "says = true").start().await;
    let lines = "X-Probe-Request: whole 100 refuse\r\n";
    let by_length = proxy.exchange(posting("/", lines, "abcde")).await;
    let by_chunks = proxy
        .exchange(chunking("/", lines, &["abcd", "e"], ""))
        .await;
    assert_eq!((by_length.status, by_chunks.status), (413, 413));
    assert!(!proxy.log().contains("sees"), "{}", proxy.log());
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_hook_answers_in_place_of_a_server_once_it_has_seen_the_body() {
    let origin = echo().await;
    let proxy = probing(&origin, "").await;
    for manner in ["whole 100 refuse", "chunks", "watch"] {
        let response = post(&proxy, &format!("{manner} | answer 403 not this"), "abc").await;
        assert_eq!(
            (response.status, response.text().as_str()),
            (403, "not this"),
            "{manner}"
        );
        // Without a text, the page of the status.
        let response = post(&proxy, &format!("{manner} | answer 409"), "abc").await;
        assert_eq!(response.status, 409, "{manner}");
        assert!(response.text().contains("409"), "{manner}");
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn the_connection_is_kept_behind_an_answer_to_a_body() {
    let origin = echo().await;
    let proxy = probing(&origin, "").await;
    let mut client = proxy.client().await;
    let lines = "X-Probe-Request: whole 100 refuse | answer 403 no\r\n";
    client.send(posting("/", lines, "abc")).await;
    assert_eq!(client.response().await.text(), "no");
    assert!(client.get("/again").await.text().contains("/again"));
}

/// Routes that a hook of the listener chooses between by the body.
fn by_body(setup: Setup, told: &str) -> Setup {
    setup
        .listen("hooks = [\"probe\"]")
        .more(
            "[[route]]\nname = \"other\"\npath = \"/other\"\nreturn = { status = 200, body = \"other\" }\n",
        )
        .more(&super::hook(&format!("request = \"{told}\"")))
        .more(&plugin_table())
}

#[tokio::test]
async fn a_hook_finds_route_and_upstream_by_the_body() {
    let origin = echo().await;
    let proxy = by_body(proxy::to([&origin]), "whole 100 refuse | route other");
    let proxy = proxy.start().await;
    assert_eq!(
        proxy.exchange(posting("/", "", "abc")).await.text(),
        "other"
    );
    let proxy = by_body(
        proxy::to([&origin]),
        "whole 100 refuse | path /other | reroute",
    );
    let proxy = proxy.start().await;
    assert_eq!(
        proxy.exchange(posting("/", "", "abc")).await.text(),
        "other"
    );
    let servers = [
        origin::says("server a").await,
        origin::says("server b").await,
    ];
    let [a, b] = servers.each_ref().map(Origin::address);
    let upstreams =
        format!("[upstream.a]\nservers = [\"{a}\"]\n[upstream.b]\nservers = [\"{b}\"]\n");
    let setup = proxy::to([&origin]).more(&upstreams);
    let proxy = probed(setup, "request = \"whole 100 refuse | by_letter\"")
        .start()
        .await;
    assert_eq!(
        proxy.exchange(posting("/", "", "a..")).await.text(),
        "server a"
    );
    assert_eq!(
        proxy.exchange(posting("/", "", "b..")).await.text(),
        "server b"
    );
    assert_eq!(servers[0].request().body, b"a..");
}

#[tokio::test]
async fn a_hook_that_let_a_request_pass_for_its_body_sees_that_wherever_another_one_leads_it() {
    let origin = echo().await;
    let led = "[[route]]\nname = \"other\"\npath = \"/other\"\nproxy = \"backend\"\n\
               [hook.leads]\nplugin = \"rewrite\"\nrules = [\"^/$ /other last\"]\n";
    let setup = proxy::to([&origin]).more(led).more(&plugin_table());
    let setup = setup.route("hooks = [\"probe\", \"leads\"]");
    let told = "request = \"whole 100 refuse | answer 403 seen\"";
    let proxy = setup.more(&super::hook(told)).start().await;
    let response = proxy.exchange(posting("/", "", "abc")).await;
    assert_eq!((response.status, response.text().as_str()), (403, "seen"));
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_hook_waits_for_a_check_behind_a_body() {
    let origin = echo().await;
    let proxy = probing(&origin, "").await;
    let hash = "$apr1$ZjTqBB3f$IF9gdYAGlMrs2fuINjHsz.";
    let told = format!("whole 100 refuse | wait {hash} wrong");
    let response = post(&proxy, &told, "abc").await;
    assert_eq!(response.text(), "14 - / checked: false");
}

#[tokio::test]
async fn pieces_go_on_as_a_hook_makes_them() {
    let origin = echo().await;
    let proxy = probing(&origin, "says = true").await;
    let response = post(&proxy, "chunks | upper | tag !", "abc").await;
    // All of it was there before the server was chosen.
    assert_eq!(response.text(), "4 - / ABC!");
    let large = "abcdefgh".repeat(64 << 10);
    let lines = "X-Probe-Request: chunks | upper | tag !\r\nDigest: x\r\n";
    for request in [
        posting("/", lines, &large),
        chunking("/", lines, &[&large[..100_000], &large[100_000..]], ""),
    ] {
        let response = proxy.exchange(request).await;
        let expected = format!("- chunked / {}!", large.to_uppercase());
        assert_eq!(response.text(), expected);
        assert_eq!(response.header("X-Digest"), "");
    }
    let mut http2 = Http2::connect(proxy.address()).await;
    let mut stream = http2
        .begin("POST", "/", &[("x-probe-request", "chunks | hold")])
        .await;
    let part = "x".repeat(10_000);
    for number in 0..4 {
        stream.send(&part, number == 3);
    }
    let response = stream.response().await;
    assert!(response.text().ends_with(&part.repeat(4)));
}

#[tokio::test]
async fn a_body_that_is_watched_keeps_its_framing() {
    let origin = echo().await;
    let proxy = probing(&origin, "says = true").await;
    let large = "abcdefgh".repeat(64 << 10);
    let lines = "X-Probe-Request: watch\r\nDigest: x\r\n";
    let response = proxy.exchange(posting("/", lines, &large)).await;
    assert_eq!(response.text(), format!("{} - / {large}", large.len()));
    assert_eq!(response.header("X-Digest"), "x");
    proxy.log_contains("last true").await;
    // What it wants in its place is refused.
    let response = post(&proxy, "watch | upper", "abc").await;
    assert_eq!(response.text(), "3 - / abc");
    proxy
        .log_contains("`bodies.set-body` refused: the body is only watched")
        .await;
}

#[tokio::test]
async fn trailers_go_on_behind_pieces_and_are_told_with_the_last() {
    let origin = echo().await;
    let proxy = probing(&origin, "").await;
    let lines = "X-Probe-Request: chunks | upper | tell\r\n";
    let response = proxy
        .exchange(chunking("/", lines, &["ab", "c"], "X-Last: 1\r\n"))
        .await;
    assert_eq!(response.text(), "- chunked / ABC");
    assert_eq!(response.header("X-Probe-Request"), "3 true X-Last=1");
    assert_eq!(origin.request().trailers.get("X-Last"), Some("1"));
}

#[tokio::test]
async fn a_body_that_was_asked_for_is_invited() {
    let origin = echo().await;
    let proxy = probing(&origin, "").await;
    let mut client = proxy.client().await;
    let head = "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\
                X-Probe-Request: whole 100 refuse | upper\r\n\r\n";
    client.send(head).await;
    assert_eq!(client.response_head().await.status, 100);
    client.send("abc").await;
    assert_eq!(client.response().await.text(), "3 - / ABC");
}

#[tokio::test]
async fn a_whole_body_is_sent_again_to_the_next_server() {
    let dead = origin::refuses();
    let origin = echo().await;
    let setup = proxy::to([&dead, &origin]).upstream("policy = \"round_robin\"");
    let proxy = probed(setup, "").start().await;
    for _ in 0..4 {
        let response = post(&proxy, "whole 100000 refuse | upper", &"abc".repeat(20_000)).await;
        assert!(
            response.text().ends_with(&"ABC".repeat(20_000)),
            "{}",
            response.status
        );
    }
}
