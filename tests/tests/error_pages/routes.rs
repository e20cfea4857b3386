//! Routes that answer in place of errors: for which errors, and with what of the request.

use waypost_tests::nginx::{self, Nginx};
use waypost_tests::{Answer, Client, Http2, Proxy, client, origin, proxy};

use super::dead;

/// A route that answers in place of others.
const SPARE: &str = "[[route]]\nname = \"spare\"\ninternal = true\nreturn = { body = \"spare\" }\n";

/// Requests that come to nothing, each in another way, and the status that they get then.
const IN_VAIN: [(&str, u16); 9] = [
    ("GET /said HTTP/1.1\r\nHost: t\r\n\r\n", 404),
    ("GET /refused HTTP/1.1\r\nHost: t\r\n\r\n", 403),
    (
        "POST /refused HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi",
        403,
    ),
    (
        "POST /files/a HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nhi",
        405,
    ),
    (
        "GET /files/a HTTP/1.1\r\nHost: t\r\nIf-Match: \"x\"\r\n\r\n",
        412,
    ),
    (
        "GET /files/a HTTP/1.1\r\nHost: t\r\nRange: bytes=9-\r\n\r\n",
        416,
    ),
    (
        "POST /files/a HTTP/1.1\r\nHost: t\r\nContent-Length: 11\r\n\r\nhello world",
        413,
    ),
    ("POST /status HTTP/1.1\r\nHost: t\r\n\r\n", 405),
    ("GET /files/none HTTP/1.1\r\nHost: t\r\n\r\n", 404),
];

/// Statuses and texts that a client gets for [`IN_VAIN`] on one connection.
async fn in_vain(address: &str) -> Vec<(u16, String)> {
    let mut client = Client::connect(address).await;
    let mut answers = Vec::new();
    for (request, _) in IN_VAIN {
        client.send(request).await;
        let response = client.response().await;
        answers.push((response.status, response.text()));
    }
    answers
}

/// A proxy for [`IN_VAIN`], with these lines in its listener.
async fn in_vain_at(listen: &str) -> Proxy {
    let setup = dead()
        .listen(listen)
        .route("path = \"= /dead\"")
        .more(SPARE)
        .more(
            "[[route]]\npath = \"/said\"\nreturn = { status = 404 }\n\
             [[route]]\npath = \"/refused\"\nreturn = { body = \"no\" }\n\
             hooks = [{ plugin = \"access\", rules = [\"deny all\"] }]\n\
             [[route]]\npath = \"/status\"\nstub_status = true\n\
             [[route]]\npath = \"/files/\"\nfiles = \"site\"\nclient_max_body_size = 10\n",
        );
    let site = setup.directory().join("site");
    std::fs::create_dir(&site).unwrap();
    std::fs::write(site.join("a"), "a").unwrap();
    setup.start().await
}

#[tokio::test]
async fn a_route_answers_in_place_of_every_error_of_a_request_that_has_a_path() {
    let proxy = in_vain_at("error_pages = { 4xx = { route = \"spare\" } }").await;
    for ((request, _), answer) in IN_VAIN.iter().zip(in_vain(proxy.address()).await) {
        assert_eq!(answer, (200, "spare".to_owned()), "{request}");
    }
    assert_eq!(proxy.get("/nowhere").await.text(), "spare");
    // Each keeps the status that it is given.
    let proxy = in_vain_at("error_pages = { 4xx = { route = \"spare\", status = 410 } }").await;
    for ((request, _), answer) in IN_VAIN.iter().zip(in_vain(proxy.address()).await) {
        assert_eq!(answer, (410, "spare".to_owned()), "{request}");
    }
}

#[tokio::test]
async fn errors_without_a_page_are_told_in_a_few_words() {
    let proxy = in_vain_at("").await;
    for ((request, expected), (status, text)) in IN_VAIN.iter().zip(in_vain(proxy.address()).await)
    {
        assert_eq!(status, *expected, "{request}");
        assert!(text.starts_with(&format!("{status} ")), "{request}: {text}");
    }
    let log = proxy.log();
    assert!(!log.contains("answered with"), "{log}");
}

#[tokio::test]
async fn a_named_location_of_nginx_answers_in_place_of_the_same_errors() {
    if !nginx::installed() {
        return;
    }
    let site = tempfile::TempDir::new().unwrap();
    std::fs::write(site.path().join("a"), "a").unwrap();
    open_to_all(site.path());
    let server = format!(
        "error_page 403 404 405 412 413 416 = @spare;\n\
         location @spare {{ return 200 spare; }}\n\
         location /said {{ return 404; }}\n\
         location /refused {{ deny all; }}\n\
         location /status {{ stub_status; }}\n\
         location /files/ {{ alias {}/; client_max_body_size 10; }}\n",
        site.path().display()
    );
    let nginx = Nginx::start("", &server).await;
    let proxy = in_vain_at("error_pages = { 4xx = { route = \"spare\" } }").await;
    // What comes of conditions and ranges nginx answers with 412 and 416 here all the same.
    let compared = |status: &u16| !matches!(status, 412 | 416);
    for (request, _) in IN_VAIN.iter().filter(|(_, status)| compared(status)) {
        // It closes the connection behind a body that is too large.
        let expected = client::exchange(nginx.address(), request).await;
        let got = proxy.exchange(request).await;
        assert_eq!(got.status, expected.status, "{request}");
        assert_eq!(got.text(), expected.text(), "{request}");
    }
}

/// nginx's workers may be another user's.
fn open_to_all(directory: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_status_that_a_return_says_has_words_of_ours_or_the_text_that_it_is_given() {
    let proxy = dead()
        .route("path = \"= /dead\"")
        .more(
            "[[route]]\npath = \"/missing\"\nreturn = { status = 404 }\n\
             [[route]]\npath = \"/broken\"\nreturn = { status = 500 }\n\
             [[route]]\npath = \"/late\"\nreturn = { status = 408 }\n\
             [[route]]\npath = \"/left\"\nreturn = { status = 499 }\n\
             [[route]]\npath = \"/empty\"\nreturn = { status = 404, body = \"\" }\n\
             [[route]]\npath = \"/fine\"\nreturn = { status = 200 }\n",
        )
        .start()
        .await;
    let mut client = proxy.client().await;
    for (path, status, text) in [
        ("/missing", 404, "404 Not Found\n"),
        ("/nowhere", 404, "404 Not Found\n"),
        ("/broken", 500, "500 Internal Server Error\n"),
        ("/late", 408, "408 Request Timeout\n"),
        ("/left", 499, "499 \n"),
        ("/empty", 404, ""),
        ("/fine", 200, ""),
    ] {
        let response = client.get(path).await;
        let answer = (response.status, response.text());
        assert_eq!(answer, (status, text.to_owned()), "{path}");
    }
}

/// As in nginx, where each location keeps out whom it keeps out, wherever a request comes from.
#[tokio::test]
async fn a_route_in_place_of_an_error_has_its_own_hooks_asked() {
    if !nginx::installed() {
        return;
    }
    let ours = dead()
        .route("path = \"= /dead\"")
        .more(
            "[[route]]\npath = \"/closed\"\nreturn = { status = 418 }\n\
             error_pages.418 = { route = \"closed\", status = 200 }\n\
             [[route]]\npath = \"/open\"\nreturn = { status = 418 }\n\
             error_pages.418 = { route = \"open\", status = 200 }\n\
             [[route]]\npath = \"/refused\"\nreturn = { body = \"no\" }\n\
             hooks = [\"nobody\"]\nerror_pages.403 = { route = \"closed\", status = 200 }\n\
             [[route]]\nname = \"closed\"\ninternal = true\nreturn = { body = \"secret\" }\n\
             hooks = [\"nobody\"]\n\
             [[route]]\nname = \"open\"\ninternal = true\nreturn = { body = \"open\" }\n\
             hooks = [\"all\"]\n\
             [hook.nobody]\nplugin = \"access\"\nrules = [\"deny all\"]\n\
             [hook.all]\nplugin = \"access\"\nrules = [\"allow all\"]\n",
        )
        .start()
        .await;
    let nginx = Nginx::start(
        "",
        "recursive_error_pages on;\n\
         location /closed { error_page 418 =200 @closed; return 418; }\n\
         location /open { error_page 418 =200 @open; return 418; }\n\
         location /refused { error_page 403 =200 @closed; deny all; try_files /none =404; }\n\
         location @closed { deny all; try_files /none =404; }\n\
         location @open { allow all; try_files /none =404; }",
    )
    .await;
    for (path, status, expected) in [
        ("/closed", 403, 403),
        ("/refused", 403, 403),
        // The directory of the comparison has no file: it was let in.
        ("/open", 200, 404),
    ] {
        let answer = ours.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        let nginx_s = client::get_with(nginx.address(), path, "").await;
        assert_eq!(nginx_s.status, expected, "{path}");
    }
}

/// A hook that both routes have counts a request once.
#[tokio::test]
async fn a_hook_that_has_let_a_request_pass_is_not_asked_again_in_place_of_an_error() {
    let ours = dead()
        .route("path = \"= /dead\"")
        .more(
            "[[route]]\npath = \"/\"\nreturn = { status = 418 }\nhooks = [\"twice\"]\n\
             error_pages.418 = { route = \"counted\", status = 200 }\n\
             [[route]]\nname = \"counted\"\ninternal = true\nreturn = { body = \"counted\" }\n\
             hooks = [\"twice\"]\n\
             [hook.twice]\nplugin = \"limit_req\"\nkey = \"$host\"\nrate = \"1r/m\"\nburst = 1\nnodelay = true\n",
        )
        .start()
        .await;
    for (number, status) in [200, 200, 503].into_iter().enumerate() {
        assert_eq!(ours.get("/").await.status, status, "request {number}");
    }
}

/// nginx takes pages from 300 on.
#[tokio::test]
async fn a_redirection_that_a_return_says_without_a_place_has_a_page() {
    let proxy = dead()
        .route("path = \"= /dead\"")
        .more(
            "[[route]]\npath = \"/choose\"\nreturn = { status = 300 }\nerror_pages.300 = { body = \"page\" }\n\
             [[route]]\npath = \"/text\"\nreturn = { status = 300, body = \"own\" }\n\
             error_pages.300 = { body = \"page\" }\n",
        )
        .start()
        .await;
    assert_eq!(proxy.get("/choose").await.text(), "page");
    assert_eq!(proxy.get("/text").await.text(), "own");
}

/// One that must not be larger on the other route either, and one that may.
#[tokio::test]
async fn a_body_that_is_too_large_goes_to_a_server_only_where_that_route_allows_it() {
    let server = origin::answers(|request| Answer::ok(request.body.clone())).await;
    let proxy = proxy::to([&server])
        .listen("client_max_body_size = 4")
        .route("path = \"/strict\"\nname = \"strict\"\nerror_pages = { 413 = { route = \"strict\", status = 200 } }")
        .more(
            "[[route]]\npath = \"/lenient\"\nproxy = \"backend\"\n\
             error_pages = { 413 = { route = \"larger\" } }\n\
             [[route]]\nname = \"larger\"\ninternal = true\nproxy = \"backend\"\nclient_max_body_size = 10\n",
        )
        .start()
        .await;
    let mut client = proxy.client().await;
    for (path, status, text) in [
        ("/lenient", 200, "hello"),
        ("/strict", 413, "413 Content Too Large\n"),
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello");
        client.send(head).await;
        let response = client.response().await;
        let answer = (response.status, response.text());
        assert_eq!(answer, (status, text.to_owned()), "{path}");
    }
    // How large this one is turns out while it is read.
    let chunked = "POST /lenient HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    assert_eq!(proxy.exchange(chunked).await.status, 413);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_error_of_a_route_in_place_of_an_error_gets_pages_and_no_third_route() {
    let proxy = dead()
        .listen("error_pages = { 404 = { route = \"second\", status = 200 }, 403 = { route = \"third\" } }")
        .route("path = \"= /dead\"")
        .more(
            "[[route]]\nname = \"second\"\ninternal = true\nreturn = { status = 403 }\n\
             [[route]]\nname = \"third\"\ninternal = true\nreturn = { body = \"third\" }\n\
             [[route]]\npath = \"/own\"\nreturn = { status = 404 }\nerror_pages = { 404 = { route = \"paged\" } }\n\
             [[route]]\nname = \"paged\"\ninternal = true\nreturn = { status = 403 }\n\
             error_pages = { 403 = { body = \"page\" } }\n",
        )
        .start()
        .await;
    for (path, text) in [("/nowhere", "403 Forbidden\n"), ("/own", "page")] {
        let response = proxy.get(path).await;
        let answer = (response.status, response.text());
        assert_eq!(answer, (403, text.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn no_route_gets_a_malformed_request_or_a_call_of_grpc() {
    let proxy = dead()
        .listen("error_pages = { 4xx = { route = \"spare\" } }")
        .route("path = \"= /dead\"")
        .more(SPARE)
        .start()
        .await;
    for malformed in ["GET / HTTP/1.1\r\n\r\n", "GET nothing\r\n\r\n"] {
        let response = proxy.exchange(malformed).await;
        let answer = (response.status, response.text());
        assert_eq!(answer, (400, "400 Bad Request\n".to_owned()), "{malformed}");
    }
    let mut client = Http2::connect(proxy.address()).await;
    let grpc = [("content-type", "application/grpc")];
    let called = client.ask("POST", "/nowhere", &grpc).await;
    // UNIMPLEMENTED, as gRPC has it for a 404.
    assert_eq!((called.status, called.header("grpc-status")), (200, "12"));
    assert_eq!(client.get("/nowhere").await.text(), "spare");
}
