//! `error_pages`: what clients get in place of an error's status alone, of our own errors and, with
//! `intercept_errors`, of those that a server answers with.

mod routes; // that answer instead

use rustix::process::Signal;
use waypost_tests::proxy::Setup;
use waypost_tests::{Answer, Http2, eventually, origin, proxy};

/// A proxy whose upstream has no server that lives.
fn dead() -> Setup {
    proxy::to([format!("\"{}\"", origin::reserved())])
}

/// An origin that answers each path with the status that it names.
async fn statuses() -> waypost_tests::Origin {
    origin::answers(|request| {
        let status = request.target.trim_start_matches('/').parse();
        Answer::status(status.unwrap_or(200), "of the server")
    })
    .await
}

#[tokio::test]
async fn an_error_of_our_own_gets_the_page_of_the_route_then_of_the_listener_then_of_the_server() {
    let proxy = dead()
        .server("error_pages = { 404 = { body = \"server\" }, 5xx = { body = \"server\" } }")
        .listen("error_pages = { 502 = { body = \"listener\" }, 403 = { body = \"listener $status\" } }")
        .route("path = \"/own\"\nerror_pages = { \"502 504\" = { body = \"route $uri\" } }")
        .more(
            "[[route]]\npath = \"/other\"\nproxy = \"backend\"\n\
             [[route]]\npath = \"/forbidden\"\nreturn = { status = 403 }\n\
             [[route]]\npath = \"/said\"\nreturn = { status = 403, body = \"said\" }\n",
        )
        .start()
        .await;
    for (path, status, body) in [
        ("/own", 502, "route /own"),
        ("/other", 502, "listener"),
        ("/nowhere", 404, "server"),
        ("/forbidden", 403, "listener 403"),
        ("/said", 403, "said"),
    ] {
        let response = proxy.get(path).await;
        assert_eq!(
            (response.status, response.text().as_str()),
            (status, body),
            "{path}"
        );
        assert_eq!(response.header("Content-Type"), "text/plain");
    }
    let mut client = proxy.client().await;
    client.send("HEAD /own HTTP/1.1\r\nHost: t\r\n\r\n").await;
    let head = client.wire.until(b"\r\n\r\n").await.expect("a head");
    assert!(String::from_utf8_lossy(&head).contains("\r\nContent-Length: 10\r\n"));
}

#[tokio::test]
async fn a_status_that_is_named_counts_before_its_class_wherever_it_stands() {
    let pages = [
        ("4xx", "class"),
        ("404", "named"),
        ("5xx 410 416", "mixed"),
        ("502", "later"),
    ];
    let pages = pages.map(|(statuses, body)| format!("\"{statuses}\" = {{ body = \"{body}\" }}"));
    let returns = [404, 403, 405, 400, 499, 410, 416, 502, 500, 599].map(|status| {
        format!("[[route]]\npath = \"/{status}\"\nreturn = {{ status = {status} }}\n")
    });
    let proxy = dead()
        .server("error_pages = { 403 = { body = \"server\" } }")
        .listen(&format!("error_pages = {{ {} }}", pages.join(", ")))
        .more(&returns.concat())
        .start()
        .await;
    for (status, page) in [
        (404, "named"),
        // A listener's class is nearer than what the server names.
        (403, "class"),
        (405, "class"),
        (400, "class"),
        (499, "class"),
        (410, "mixed"),
        (416, "mixed"),
        (502, "later"),
        (500, "mixed"),
        (599, "mixed"),
    ] {
        let response = proxy.get(&format!("/{status}")).await;
        assert_eq!((response.status, response.text().as_str()), (status, page));
    }
}

/// While an upstream has no server: a maintenance page.
#[tokio::test]
async fn a_file_is_kept_in_memory_and_read_again_when_it_changes() {
    let setup = dead().route(
        "error_pages = { \"502 503\" = { file = \"maintenance.html\", status = 503 } }\n\
         response_headers = { set = { Retry-After = \"60\" } }",
    );
    let file = setup.directory().join("maintenance.html");
    std::fs::write(&file, "<p>back soon</p>").unwrap();
    let proxy = setup.start().await;
    let response = proxy.get("/").await;
    assert_eq!(
        (response.status, response.text().as_str()),
        (503, "<p>back soon</p>")
    );
    assert_eq!(response.header("Content-Type"), "text/html");
    assert_eq!(response.header("Retry-After"), "60");
    std::fs::write(&file, "<p>tomorrow</p>").unwrap();
    eventually("the other page", async || {
        proxy.get("/").await.text() == "<p>tomorrow</p>"
    })
    .await;
    std::fs::remove_file(&file).unwrap();
    proxy.log_contains("it stays as it was").await;
    assert_eq!(proxy.get("/").await.text(), "<p>tomorrow</p>");
    proxy.signal(Signal::HUP);
    proxy.log_contains("cannot read error page `").await;
    proxy.log_contains("reload refused").await;
    assert_eq!(proxy.get("/").await.text(), "<p>tomorrow</p>");
}

#[tokio::test]
async fn an_error_may_send_the_client_elsewhere() {
    let proxy = dead()
        .listen("error_pages = { 404 = { location = \"https://example.com/lost?from=$uri\" }, 502 = { location = \"/later\", status = 307 } }")
        .route("path = \"/app\"")
        .start()
        .await;
    let lost = proxy.get("/x").await;
    assert_eq!(lost.status, 302);
    assert_eq!(lost.header("Location"), "https://example.com/lost?from=/x");
    let later = proxy.get("/app").await;
    assert_eq!((later.status, later.header("Location")), (307, "/later"));
    // What a variable brings in must not become a line of the header.
    let split = proxy.get("/x%0d%0aSet-Cookie:%20a=b").await;
    assert_eq!(
        (split.status, split.text().as_str()),
        (404, "404 Not Found\n")
    );
}

#[tokio::test]
async fn errors_of_a_server_are_passed_on_unless_they_are_intercepted() {
    let server = statuses().await;
    let pages =
        "error_pages = { 404 = { body = \"of us\" }, 500 = { body = \"of us\", status = 200 } }";
    let proxy = proxy::to([&server])
        .listen(pages)
        .route("intercept_errors = true")
        .more("[[route]]\nhost = \"as-it-is\"\nproxy = \"backend\"\n")
        .start()
        .await;
    for (path, status, body) in [
        ("/200", 200, "of the server"),
        ("/404", 404, "of us"),
        ("/403", 403, "of the server"),
        ("/500", 200, "of us"),
    ] {
        let response = proxy.get(path).await;
        assert_eq!(
            (response.status, response.text().as_str()),
            (status, body),
            "{path}"
        );
    }
    let passed = proxy
        .exchange("GET /404 HTTP/1.1\r\nHost: as-it-is\r\n\r\n")
        .await;
    assert_eq!(
        (passed.status, passed.text().as_str()),
        (404, "of the server")
    );
}

/// An endpoint that answers with an error has done its work: leases end, and it stays in rotation.
#[tokio::test]
async fn an_intercepted_error_is_a_whole_answer_of_its_server() {
    let server = origin::answers(|_| {
        Answer::status(401, "denied").header("WWW-Authenticate", "Basic realm=\"x\"")
    })
    .await;
    let proxy = proxy::to([server.with("max_conns = 1, max_fails = 1")])
        .route("intercept_errors = true\nerror_pages = { 401 = { body = \"who are you?\" } }")
        .more(waypost_tests::admin::ADMIN)
        .start()
        .await;
    for _ in 0..3 {
        let response = proxy.get("/").await;
        assert_eq!(
            (response.status, response.text().as_str()),
            (401, "who are you?")
        );
        assert_eq!(response.header("WWW-Authenticate"), "Basic realm=\"x\"");
    }
    let server = &proxy.shows("/upstreams").await["upstreams"][0]["servers"][0];
    assert_eq!(
        (&server["in_flight"], &server["fails"]),
        (&0.into(), &0.into())
    );
}

#[tokio::test]
async fn another_route_answers_in_place_of_an_error() {
    let spare = origin::answers(|request| Answer::ok(format!("spare {}", request.target))).await;
    let more = format!(
        "[upstream.spare]\nservers = [\"{}\"]\n\
         [[route]]\nname = \"spare\"\ninternal = true\npath = \"/\"\nproxy = \"spare\"\n\
         response_headers = {{ set = {{ X-From = \"spare\" }} }}\n\
         [[route]]\npath = \"/kept\"\nproxy = \"backend\"\nerror_pages = {{ 502 = {{ route = \"spare\", status = 503 }} }}\n",
        spare.address()
    );
    let proxy = dead()
        .route("path = \"/\"\nerror_pages = { 502 = { route = \"spare\" } }")
        .more(&more)
        .start()
        .await;
    let response = proxy.get("/a?b").await;
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, "spare /a?b")
    );
    assert_eq!(response.header("X-From"), "spare");
    let response = proxy.get("/kept").await;
    assert_eq!(
        (response.status, response.text().as_str()),
        (503, "spare /kept")
    );
    // What was read of a body is gone.
    let post = "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(proxy.exchange(post).await.status, 502);
    proxy.log_contains("while connecting to upstream").await;
}

#[tokio::test]
async fn a_route_that_fails_in_place_of_an_error_is_asked_once() {
    let proxy = dead()
        .route("path = \"/\"\nname = \"again\"\nerror_pages = { 502 = { route = \"again\", status = 200 } }")
        .start()
        .await;
    let response = proxy.get("/").await;
    assert_eq!(
        (response.status, response.text().as_str()),
        (502, "502 Bad Gateway\n")
    );
}

#[tokio::test]
async fn a_client_of_http_2_gets_pages_and_a_call_of_grpc_its_servers_answer() {
    let server = statuses().await;
    let proxy = proxy::to([&server])
        .route("intercept_errors = true\nerror_pages = { 404 = { body = \"of us\" } }")
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    let response = client.get("/404").await;
    assert_eq!((response.status, response.text().as_str()), (404, "of us"));
    let grpc = [("content-type", "application/grpc")];
    let called = client.ask("POST", "/404", &grpc).await;
    assert_eq!(
        (called.status, called.text().as_str()),
        (404, "of the server")
    );
}

/// The page goes out while the request is still coming in, and the connection serves on.
#[tokio::test]
async fn a_request_that_is_still_coming_in_is_answered_with_the_page() {
    let server = origin::speaks(async |mut wire, _| {
        while wire.head().await.is_ok() {
            wire.send("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno")
                .await;
        }
    })
    .await;
    let proxy = proxy::to([&server])
        .route("intercept_errors = true\nerror_pages = { 404 = { body = \"of us\" } }")
        .upstream("body_buffer_size = 0")
        .start()
        .await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nab")
        .await;
    let response = client.response().await;
    assert_eq!((response.status, response.text().as_str()), (404, "of us"));
    client.send("cd").await;
    assert_eq!(client.get("/").await.text(), "of us");
}

/// A client that goes on with a download must not get a part of the page in its place.
#[tokio::test]
async fn a_file_in_place_of_an_error_is_sent_whole_whatever_the_request_wants_of_it() {
    let setup = dead()
        .route("error_pages = { 502 = { route = \"page\" } }")
        .more(
            "[[route]]\nname = \"page\"\ninternal = true\n\
             files = { root = \"{dir}\", fallback = \"/page.html\" }\n",
        );
    std::fs::write(setup.directory().join("page.html"), "back soon").unwrap();
    let proxy = setup.start().await;
    for field in [
        "Range: bytes=0-3\r\n",
        "If-None-Match: *\r\n",
        "If-Match: \"x\"\r\n",
    ] {
        let response = proxy.get_with("/download", field).await;
        let told = (response.status, response.text());
        assert_eq!(told, (200, "back soon".to_owned()), "{field}");
    }
}
