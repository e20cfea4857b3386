//! What a server gets in place of what the client has sent: a path with another prefix, another
//! method, another body or none, none of its headers.

use waypost_tests::{Answer, Http2, Origin, Proxy, origin, proxy};

async fn ours(origin: &Origin, routes: &str) -> Proxy {
    let file = format!(
        "[server]\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         client_max_body_size = \"1m\"\n\
         [upstream.backend]\nservers = [\"{}\"]\nbody_buffer_size = \"1k\"\n{routes}",
        origin.address()
    );
    proxy::run(&file, &[]).await
}

/// Says what it was asked for, in a redirect to itself.
async fn tells() -> Origin {
    origin::answers(|request| {
        let url = format!("http://backend{}next", request.target);
        Answer::status(302, &request.target).header("Location", &url)
    })
    .await
}

#[tokio::test]
async fn a_prefix_is_taken_off_on_the_way_and_given_back_to_redirects() {
    let origin = tells().await;
    let routes = "[[route]]\npath = \"/api/\"\nproxy = \"backend\"\nstrip_prefix = true\n\
         [[route]]\npath = \"/app\"\nproxy = \"backend\"\nstrip_prefix = true\nadd_prefix = \"/v1/\"\n\
         [[route]]\npath = \"~ ^/(x|y)/\"\nproxy = \"backend\"\nstrip_prefix = \"/x\"\n\
         [[route]]\npath = \"= /one\"\nproxy = \"backend\"\nstrip_prefix = true\n\
         [[route]]\npath = \"/own/\"\nproxy = \"backend\"\nstrip_prefix = true\nproxy_redirect = false\n\
         [[route]]\nproxy = \"backend\"\nadd_prefix = \"/base\"\n\
         [[route]]\npath = '~ ^\\*'\nproxy = \"backend\"\nadd_prefix = \"/base\"\n";
    let proxy = ours(&origin, routes).await;
    let here = format!("http://{}", proxy.address());
    for (target, asked, location) in [
        ("/api/users/", "/users/", "/api/users/next"),
        ("/api/", "/", "/api/next"),
        (
            "/api/a%2Fb%20c?x=%2F",
            "/a/b%20c?x=%2F",
            "/api/a/b%20c?x=%2Fnext",
        ),
        ("/app/a/", "/v1/a/", "/app/a/next"),
        ("/app", "/v1", ""),
        ("/apple", "/v1/apple", "/app/applenext"),
        ("/x/z/", "/z/", "/x/z/next"),
        ("/y/z/", "/y/z/", "/x/y/z/next"),
        ("/one", "/", "/one/next"),
        ("/own/a/", "/a/", ""),
        ("/any/", "/base/any/", "/any/next"),
    ] {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            proxy.address()
        );
        let response = proxy.exchange(request).await;
        assert_eq!(response.text(), asked, "{target}");
        let expected = match location {
            "" => format!("http://backend{asked}next"),
            location => format!("{here}{location}"),
        };
        assert_eq!(response.header("Location"), expected, "{target}");
    }
    // What has no path has no prefix.
    let request = "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(proxy.exchange(request).await.text(), "*");
}

#[tokio::test]
async fn what_a_rewrite_leaves_behind_its_route_has_its_prefixes_already() {
    let origin = origin::answers(|request| Answer::ok(&request.target)).await;
    let routes = "[[route]]\npath = \"/api/\"\nproxy = \"backend\"\nstrip_prefix = true\n\
         hooks = [{ plugin = \"rewrite\", rules = [\"^/api/old/(.*) /api/new/$1 break\"] }]\n";
    let proxy = ours(&origin, routes).await;
    assert_eq!(proxy.get("/api/old/x").await.text(), "/api/new/x");
    assert_eq!(proxy.get("/api/x").await.text(), "/x");
}

#[tokio::test]
async fn a_server_is_asked_with_the_method_of_the_route_but_for_head() {
    let origin = origin::answers(|request| Answer::ok(&request.method)).await;
    let routes = "[[route]]\nproxy = \"backend\"\nrequest_method = \"GET\"\n\
                  [[route]]\npath = \"/put\"\nproxy = \"backend\"\nrequest_method = \"PUT\"\n";
    let proxy = ours(&origin, routes).await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        .await;
    assert_eq!(client.response().await.text(), "GET");
    let request = origin.request();
    assert_eq!(
        (request.header("Content-Length"), &*request.body),
        ("2", &b"hi"[..])
    );
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(
        client.response_to_head().await.header("Content-Length"),
        "4"
    );
    assert_eq!(client.get("/put").await.text(), "PUT");
    // A method that gives a body meaning says that there is none.
    let requests = origin.requests();
    assert_eq!(requests[2].header("Content-Length"), "0");
}

#[tokio::test]
async fn the_method_that_is_sent_decides_whether_it_may_be_sent_again() {
    let first = origin::answers(|_| Answer::raw("").then_close()).await;
    let second = origin::answers(|request| Answer::ok(&request.method)).await;
    let file = |method: &str| {
        format!(
            "[server]\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
             [upstream.backend]\nservers = [\"{}\", {{ address = \"{}\", backup = true }}]\n\
             [[route]]\nproxy = \"backend\"\n{method}",
            first.address(),
            second.address()
        )
    };
    let proxy = proxy::run(&file("request_method = \"GET\"\n"), &[]).await;
    let post = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(proxy.exchange(post).await.text(), "GET");
    let proxy = proxy::run(&file(""), &[]).await;
    assert_eq!(proxy.exchange(post).await.status, 502);
}

#[tokio::test]
async fn a_body_is_dropped_and_the_connection_serves_the_next_request() {
    let origin = origin::answers(|request| {
        let header = request.header("Content-Length");
        Answer::ok(format!("{} {header}", request.body.len()))
    })
    .await;
    let routes = "[[route]]\nproxy = \"backend\"\nrequest_body = false\n";
    let proxy = ours(&origin, routes).await;
    let mut client = proxy.client().await;
    for (method, head, body, expected) in [
        ("GET", "Content-Length: 2", "hi".to_owned(), "0 "),
        ("POST", "Content-Length: 200000", "x".repeat(200_000), "0 0"),
        (
            "PUT",
            "Transfer-Encoding: chunked",
            "2\r\nhi\r\n0\r\nX-Trailer: a\r\n\r\n".to_owned(),
            "0 0",
        ),
    ] {
        client
            .send(format!(
                "{method} / HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n{body}"
            ))
            .await;
        let response = client.response().await;
        assert_eq!(
            (response.status, &*response.text()),
            (200, expected),
            "{method}"
        );
    }
    // The bound is on what the client sends.
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n")
        .await;
    client.send("x".repeat(0x20_0000)).await;
    assert_eq!(client.response().await.status, 413);
    assert_eq!(origin.requests().len(), 3);
}

#[tokio::test]
async fn a_body_of_http2_is_declined_and_its_connection_serves_the_next_request() {
    let origin = origin::answers(|request| {
        let header = request.header("Content-Length");
        Answer::ok(format!("{} {header}", request.body.len()))
    })
    .await;
    let routes = "[[route]]\nproxy = \"backend\"\nrequest_body = false\n";
    let proxy = ours(&origin, routes).await;
    let mut client = Http2::connect(proxy.address()).await;
    for _ in 0..2 {
        let response = client.post("/", "x".repeat(20_000)).await;
        assert_eq!((response.status, &*response.text()), (200, "0 0"));
    }
    assert_eq!(client.get("/").await.text(), "0 ");
}

#[tokio::test]
async fn a_text_stands_in_place_of_the_body() {
    let origin = origin::answers(|request| Answer::ok(&request.body)).await;
    let routes = "[[route]]\nproxy = \"backend\"\nrequest_body = '{\"for\":\"$arg_who\"}'\n\
         request_headers = { set = { Content-Type = \"application/json\" } }\n\
         [[route]]\npath = \"/maybe\"\nproxy = \"backend\"\nrequest_body = \"$arg_who\"\n";
    let proxy = ours(&origin, routes).await;
    let mut client = proxy.client().await;
    client
        .send(
            "POST /?who=me HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\n\
               Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
        )
        .await;
    assert_eq!(client.response_head().await.status, 100);
    client.send("hello").await;
    assert_eq!(client.response().await.text(), "{\"for\":\"me\"}");
    let request = origin.request();
    assert_eq!(request.header("Content-Length"), "12");
    assert_eq!(request.header("Content-Type"), "application/json");
    assert_eq!(client.get("/?who=you").await.text(), "{\"for\":\"you\"}");
    assert_eq!(client.get("/maybe").await.text(), "");
    assert_eq!(origin.requests()[2].header("Content-Length"), "");
}

#[tokio::test]
async fn a_body_that_is_dropped_is_never_taken_for_a_tunnel() {
    let origin = origin::answers(|request| Answer::ok(request.header("Upgrade"))).await;
    let routes = "[[route]]\nproxy = \"backend\"\nrequest_body = false\n";
    let proxy = ours(&origin, routes).await;
    let mut client = proxy.client().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\n\
               Content-Length: 3\r\n\r\nabc",
        )
        .await;
    assert_eq!(client.response().await.text(), "echo");
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn none_of_the_client_s_headers_go_on_where_all_are_removed() {
    let origin = origin::says("hello").await;
    let routes = "[[route]]\nproxy = \"backend\"\n\
         request_headers = { remove = [\"*\"], set = { X-Ours = \"$http_x_theirs\" } }\n";
    let proxy = ours(&origin, routes).await;
    let lines = "Host: front.test\r\nCookie: a=1\r\nAuthorization: Basic YTph\r\nX-Theirs: 1\r\n\
                 Accept-Encoding: br\r\nX-Ours: 2\r\nUser-Agent: t\r\n";
    let response = proxy
        .exchange(format!(
            "GET / HTTP/1.1\r\n{lines}Connection: close\r\n\r\n"
        ))
        .await;
    assert_eq!(response.status, 200);
    let head = String::from_utf8(origin.request().raw_head).expect("it is text");
    let mut names: Vec<&str> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':').map(|(name, _)| name))
        .collect();
    names.sort_unstable();
    let ours = [
        "Host",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Ours",
        "X-Real-IP",
    ];
    assert_eq!(names, ours, "{head}");
    assert!(head.contains("X-Ours: 1\r\n"), "{head}");
}
