//! `when`: routes of one host and path that differ in what the request has to be like.

use waypost_tests::{Proxy, origin, proxy};

/// A proxy with these routes, each of which answers with its number.
async fn routes(routes: &[(&str, &str)]) -> Proxy {
    let routes = routes.iter().enumerate().map(|(number, (path, when))| {
        let when = match when.is_empty() {
            true => String::new(),
            false => format!("when = {when}\n"),
        };
        format!("[[route]]\npath = \"{path}\"\n{when}return = {{ body = \"{number}\" }}\n")
    });
    let origin = origin::says("default").await;
    let more: String = routes.collect();
    proxy::to([&origin])
        .route("host = \"unused\"")
        .more(&more)
        .start()
        .await
}

/// What the route of a request says; `-` where it has none.
async fn taken(proxy: &Proxy, line: &str, fields: &str) -> String {
    let request = format!("{line} HTTP/1.1\r\nHost: t\r\n{fields}\r\n");
    let response = proxy.exchange(request).await;
    match response.status {
        404 => "-".to_owned(),
        _ => response.text(),
    }
}

#[tokio::test]
async fn the_first_route_whose_conditions_hold_takes_a_request() {
    let proxy = routes(&[
        (
            "/api/",
            "{ method = [\"POST\", \"PUT\"], query = { v = \"2\" } }",
        ),
        ("/api/", "{ method = \"POST\" }"),
        ("/api/", "{ header = { X-Beta = [\"1\", \"~*^y(es)?$\"] } }"),
        ("/api/", "{ cookie = { session = \"*\", banned = \"\" } }"),
        (
            "/api/",
            "{ variable = { args = \"!\" }, header = { X-No = \"!~bot\" } }",
        ),
        ("/api/", ""),
    ])
    .await;
    let cases = [
        ("POST /api/?v=2", "", "0"),
        ("PUT /api/?v=2", "", "0"),
        ("POST /api/?v=3", "", "1"),
        ("POST /api/", "X-Beta: 1\r\n", "1"),
        ("GET /api/", "X-Beta: 1\r\n", "2"),
        ("GET /api/", "x-beta: YES\r\n", "2"),
        ("GET /api/", "X-Beta: yess\r\n", "5"),
        ("GET /api/", "Cookie: session=1\r\n", "3"),
        ("GET /api/", "Cookie: session=1; banned=1\r\n", "5"),
        ("GET /api/?a=1", "", "4"),
        ("GET /api/?a=1", "X-No: robot\r\n", "5"),
        ("GET /api/", "", "5"),
    ];
    for (line, fields, expected) in cases {
        assert_eq!(
            taken(&proxy, line, fields).await,
            expected,
            "{line} {fields}"
        );
    }
}

#[tokio::test]
async fn where_no_conditions_hold_a_less_specific_path_takes_the_request() {
    let post = "{ method = \"POST\" }";
    let proxy = routes(&[
        ("= /a/b", post),
        ("~ ^/a/b$", post),
        ("^~ /a/", post),
        ("~ ^/a/", "{ method = \"PUT\" }"),
        ("/a", "{ method = [\"GET\", \"PUT\"] }"),
    ])
    .await;
    for (line, expected) in [
        ("POST /a/b", "0"),
        ("PUT /a/b", "3"),
        ("GET /a/b", "4"),
        ("POST /a/c", "2"),
        ("PUT /a/c", "3"),
        ("GET /a/c", "4"),
        ("POST /a", "-"),
        ("DELETE /a/b", "-"),
    ] {
        assert_eq!(taken(&proxy, line, "").await, expected, "{line}");
    }
}

/// nginx: `limit_except GET { deny all; }`.
#[tokio::test]
async fn methods_that_a_path_does_not_take_are_refused_by_a_route_behind() {
    let origin = origin::says("read").await;
    let proxy = proxy::to([&origin])
        .route("path = \"/\"\nwhen = { method = [\"GET\", \"HEAD\"] }")
        .more("[[route]]\npath = \"/\"\nreturn = { status = 403 }\n")
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "read");
    let refused = proxy.exchange("DELETE / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    assert_eq!(refused.status, 403);
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn a_client_is_looked_for_in_networks_by_the_address_that_a_trusted_proxy_reports() {
    let origin = origin::says("default").await;
    let proxy = proxy::to([&origin])
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .route("when = { client = [\"10.0.0.0/8\", \"!10.0.0.1\"] }")
        .more("[[route]]\npath = \"/\"\nreturn = { status = 403 }\n")
        .start()
        .await;
    for (client, status) in [("10.0.0.2", 200), ("10.0.0.1", 403), ("192.0.2.1", 403)] {
        let response = proxy
            .get_with("/", &format!("X-Forwarded-For: {client}\r\n"))
            .await;
        assert_eq!(response.status, status, "{client}");
    }
    assert_eq!(proxy.get("/").await.status, 403, "127.0.0.1");
}

/// The redirect belongs to the route that the path lacks a slash of.
#[tokio::test]
async fn a_path_without_its_slash_is_redirected_if_the_route_takes_the_request() {
    let origin = origin::says("slash").await;
    let proxy = proxy::to([&origin])
        .route("path = \"/x/\"\nwhen = { method = \"GET\" }")
        .more(
            "[[route]]\npath = \"/x\"\nwhen = { query = { raw = \"*\" } }\n\
             return = { body = \"raw\" }\n",
        )
        .start()
        .await;
    assert_eq!(proxy.get("/x").await.status, 301);
    assert_eq!(proxy.get("/x?raw=1").await.text(), "raw");
    assert_eq!(proxy.get("/x/").await.text(), "slash");
    let post = "POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(proxy.exchange(post).await.status, 404);
}

/// What a listener's hook changes is what conditions are asked of.
#[tokio::test]
async fn conditions_are_asked_of_the_request_as_hooks_have_left_it() {
    let origin = origin::says("default").await;
    let proxy = proxy::to([&origin])
        .listen(
            "hooks = [{ plugin = \"rewrite\", rules = [\"^/old/(.*)$ /new/$1?moved=1 last\"] }]",
        )
        .route("path = \"/new/\"\nwhen = { query = { moved = \"1\" } }")
        .start()
        .await;
    assert_eq!(proxy.get("/old/a").await.status, 200);
    assert_eq!(proxy.get("/new/a").await.status, 404);
}
