//! Headers of answers that `[server]`, listeners and routes say.

use waypost_tests::client::get_with;
use waypost_tests::{Answer, Http2, origin, proxy};

const SAID: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: origin\r\nX-B: origin\r\n\
                    X-C: origin\r\nX-D: origin\r\n\r\n";

#[tokio::test]
async fn of_each_header_the_nearest_place_that_names_it_counts() {
    let origin = origin::answers(|_| Answer::raw(SAID)).await;
    let proxy = proxy::to([&origin])
        .server(
            "response_headers = { set = { X-A = \"server\", X-B = \"server\" }, \
             add = { X-D = [\"server\", \"again\"] }, remove = [\"X-C\"] }",
        )
        .listen("response_headers = { set = { X-B = \"listener\" } }")
        .route("response_headers = { add = { X-A = \"route\" } }")
        .more(
            "[[route]]\npath = \"/plain\"\nproxy = \"backend\"\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\nresponse_headers = { set = { x-b = \"\" } }\n",
        )
        .start()
        .await;
    let response = proxy.get("/").await;
    assert_eq!(response.headers.all("X-A"), ["origin", "route"]);
    assert_eq!(response.headers.all("X-B"), ["listener"]);
    assert_eq!(response.headers.all("X-C"), [""; 0]);
    assert_eq!(response.headers.all("X-D"), ["origin", "server", "again"]);
    let plain = proxy.get("/plain").await;
    assert_eq!(plain.headers.all("X-A"), ["server"]);
    let other = get_with(proxy.listener(1), "/plain", "").await;
    assert_eq!(other.headers.all("X-B"), [""; 0]);
}

#[tokio::test]
async fn errors_of_our_own_have_the_headers_of_their_listener_too() {
    let origin = origin::refuses();
    let proxy = proxy::to([&origin])
        .listen("response_headers = { set = { X-Frame-Options = \"DENY\", Server = \"\" } }")
        .route("path = \"/proxied\"")
        .start()
        .await;
    let refused = proxy.get("/proxied").await;
    let unknown = proxy.get("/unknown").await;
    let malformed = proxy.exchange("GET / HTTP/1.1\r\n\r\n").await;
    let mut client = Http2::connect(proxy.address()).await;
    let of_http2 = client.get("/unknown").await;
    for (response, status) in [
        (refused, 502),
        (unknown, 404),
        (malformed, 400),
        (of_http2, 404),
    ] {
        assert_eq!(response.status, status);
        assert_eq!(response.header("X-Frame-Options"), "DENY", "{status}");
        assert_eq!(response.header("Server"), "", "{status}");
    }
}

/// nginx: `add_header` without `always`.
#[tokio::test]
async fn changes_may_be_for_some_statuses_only() {
    let origin = origin::answers(|request| {
        let status = request.target[1..].parse().expect("a status");
        Answer::status(status, "")
    })
    .await;
    let proxy = proxy::to([&origin])
        .route(
            "response_headers = [{ set = { X-All = \"1\" } }, \
             { set = { X-Some = \"1\" }, statuses = [200, \"3xx\"] }, \
             { set = { X-Some = \"2\" }, statuses = [500] }]",
        )
        .start()
        .await;
    for (status, some) in [(200, "1"), (201, ""), (302, "1"), (404, ""), (500, "2")] {
        let response = proxy.get(&format!("/{status}")).await;
        assert_eq!(response.status, status);
        assert_eq!(response.header("X-Some"), some, "{status}");
        assert_eq!(response.header("X-All"), "1", "{status}");
    }
}

#[tokio::test]
async fn expires_says_how_long_an_answer_holds_but_not_of_errors() {
    let origin = origin::answers(|request| {
        let status = request.target[1..4].parse().expect("a status");
        let answer = Answer::status(status, "").header("Expires", "0");
        answer.header("Cache-Control", "private")
    })
    .await;
    let route = |path: &str, lines: &str| {
        format!("[[route]]\npath = \"{path}\"\nproxy = \"backend\"\n{lines}\n")
    };
    let more = [
        route("/200/off", "expires = false"),
        route("/200/epoch", "expires = \"epoch\""),
        route("/200/max", "expires = \"max\""),
        route(
            "/200/own",
            "response_headers = { set = { Cache-Control = \"no-store\" } }",
        ),
    ];
    let proxy = proxy::to([&origin])
        .listen("expires = \"30d\"")
        .more(&more.concat())
        .start()
        .await;
    for (target, cache_control, expires) in [
        ("/200", "max-age=2592000", ""),
        ("/304", "max-age=2592000", ""),
        ("/404", "private", "0"),
        ("/200/off", "private", "0"),
        ("/200/epoch", "no-cache", ""),
        ("/200/max", "max-age=315360000", ""),
        ("/200/own", "no-store", "0"),
    ] {
        let response = proxy.get(target).await;
        let said = response.headers.all("Cache-Control");
        assert_eq!(said, [cache_control], "{target}");
        assert_eq!(response.header("Expires"), expires, "{target}");
    }
}

/// nginx: `return 444`.
#[tokio::test]
async fn a_route_may_close_without_an_answer() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .more("[[route]]\npath = \"/closed\"\nreturn = { status = 444 }\n")
        .start()
        .await;
    let mut client = waypost_tests::Client::connect(proxy.address()).await;
    client.send("GET /closed HTTP/1.1\r\nHost: t\r\n\r\n").await;
    assert!(client.response_or_end().await.is_none());
    let mut client = Http2::connect(proxy.address()).await;
    let request = client.request("GET", "/closed", &[]);
    let mut stream = client.open(request, true).await;
    assert!(stream.try_head().await.is_err());
    assert_eq!(client.get("/").await.text(), "hello");
}
