//! Redirects as nginx gives and rewrites them: to a path with its slash, and away from names that
//! only servers know.

use waypost_tests::client::exchange;
use waypost_tests::{Answer, Nginx, Origin, Proxy, nginx, origin, proxy};

/// Answers with the fields that the request's `X-Location` and `X-Refresh` say.
async fn sends_elsewhere() -> Origin {
    origin::answers(|request| {
        let mut answer = Answer::status(302, "moved");
        for (asked, field) in [("X-Location", "Location"), ("X-Refresh", "Refresh")] {
            if let Some(value) = request.headers.get(asked) {
                answer = answer.header(field, value);
            }
        }
        answer
    })
    .await
}

/// Paths, and what `proxy` says of each; a `-` answers by itself.
const ROUTES: [(&str, &str); 11] = [
    ("/", "http://backend"),
    ("/api/", "http://backend"),
    ("= /exact/", "http://backend"),
    ("^~ /plain/", "http://backend"),
    ("/own/", "-"),
    ("/both/", "http://backend"),
    ("/both", "http://backend"),
    ("= /page", "http://backend"),
    ("/page/", "http://backend"),
    ("~ ^/api", "http://backend"),
    ("/one/", "http://backend/two/"),
];

async fn ours(origin: &Origin, more: &str) -> Proxy {
    let mut file = format!(
        "[server]\naccess_log = false\ntrusted_proxies = [\"127.0.0.2\"]\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\nclient_max_body_size = \"1k\"\n\
         [upstream.backend]\nservers = [{{ address = \"{}\" }}]\n",
        origin.address()
    );
    for (path, proxy) in ROUTES {
        let action = match proxy {
            "-" => "return = { status = 204 }".to_owned(),
            proxy => format!("proxy = \"{proxy}\""),
        };
        file.push_str(&format!("[[route]]\npath = '{path}'\n{action}\n"));
    }
    proxy::run(&(file + more), &[]).await
}

async fn nginx_s(origin: &Origin) -> Nginx {
    let locations: String = ROUTES
        .map(|(path, proxy)| match proxy {
            "-" => format!("location {path} {{ return 204; }}\n"),
            proxy => {
                format!("location {path} {{ proxy_pass {proxy}; proxy_http_version 1.1; }}\n")
            }
        })
        .concat();
    let http = format!("upstream backend {{ server {}; }}", origin.address());
    let server = format!("client_max_body_size 1k;\n{locations}");
    Nginx::start(&http, &server).await
}

/// Status, `Location` and `Refresh` of an answer, with the address that was asked called `SELF`.
async fn told(address: &str, target: &str, lines: &str) -> (u16, Option<String>, Option<String>) {
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{lines}\r\n");
    let response = exchange(address, request).await;
    let field = |name| {
        let value = response.headers.get(name);
        value.map(|value: &str| value.replace(address, "SELF"))
    };
    (response.status, field("Location"), field("Refresh"))
}

#[tokio::test]
async fn a_path_without_its_slash_is_sent_where_nginx_sends_it() {
    if !nginx::installed() {
        return;
    }
    let origin = sends_elsewhere().await;
    let (nginx, proxy) = (nginx_s(&origin).await, ours(&origin, "").await);
    for target in [
        "/api",
        "/api/",
        "/api?a=b&c",
        "/api?",
        "/%61pi",
        "/x/../api",
        "/apis",
        "/exact",
        "/plain?q",
        "/own",
        "/both",
        "/page",
        "/one",
        "/",
        "/API",
        "/one?x",
    ] {
        let expected = told(nginx.address(), target, "").await;
        assert_eq!(
            told(proxy.address(), target, "").await,
            expected,
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_server_s_redirects_are_rewritten_as_nginx_does() {
    if !nginx::installed() {
        return;
    }
    let origin = sends_elsewhere().await;
    let (nginx, proxy) = (nginx_s(&origin).await, ours(&origin, "").await);
    for target in ["/one/x", "/other", "/plain/x"] {
        for url in [
            "http://backend/two/next?a=b",
            "http://backend/two/",
            "http://backend/two",
            "http://backend/three",
            "http://backend/",
            "http://backend",
            "http://backend.example/two/",
            "https://backend/two/x",
            "HTTP://backend/two/x",
            "http://other.example/two/",
            "/two/x",
            "x",
        ] {
            let lines = format!("X-Location: {url}\r\nX-Refresh: 5; url={url}\r\n");
            let expected = told(nginx.address(), target, &lines).await;
            let got = told(proxy.address(), target, &lines).await;
            assert_eq!(got, expected, "{url} at {target}");
        }
        for refresh in [
            "5",
            "0;URL=http://backend/two/x",
            "http://backend/two/",
            "5; url='http://backend/two/'",
        ] {
            let lines = format!("X-Refresh: {refresh}\r\n");
            let expected = told(nginx.address(), target, &lines).await;
            let got = told(proxy.address(), target, &lines).await;
            assert_eq!(got, expected, "{refresh} at {target}");
        }
    }
}

#[tokio::test]
async fn what_is_rewritten_can_be_told_or_nothing() {
    let origin = sends_elsewhere().await;
    let more = "[[route]]\npath = \"/off/\"\nproxy = \"http://backend/two/\"\n\
                proxy_redirect = false\n\
                [[route]]\npath = \"/given/\"\nproxy = \"http://backend/two/\"\n\
                [route.proxy_redirect]\n\"http://app.internal:3000/\" = \"https://$host/app/\"\n\
                \"/two/\" = \"/given/\"\n";
    let proxy = ours(&origin, more).await;
    let cases = [
        ("/off/", "http://backend/two/x", "http://backend/two/x"),
        (
            "/given/",
            "http://app.internal:3000/a?b",
            "https://127.0.0.1/app/a?b",
        ),
        ("/given/", "/two/x", "http://SELF/given/x"),
        ("/given/", "http://backend/two/x", "http://backend/two/x"),
    ];
    for (target, url, expected) in cases {
        let lines = format!("X-Location: {url}\r\n");
        let (_, location, _) = told(proxy.address(), target, &lines).await;
        assert_eq!(location.as_deref(), Some(expected), "{url} at {target}");
    }
}

#[tokio::test]
async fn a_regex_of_proxy_redirect_knows_the_names_of_the_route_s_groups_as_well() {
    let origin = sends_elsewhere().await;
    let more = "[[route]]\nhost = '~^(?<h>.+)\\.example$'\n\
                path = '~ ^/named/(?<section>[a-z]+)/(route)'\nproxy = \"http://backend\"\n\
                [route.proxy_redirect]\n\
                '~^http://(?<own>[a-z]+)/(.*)$' = \"/$h/$section/$own/$2\"\n";
    let proxy = ours(&origin, more).await;
    let request = "GET /named/of/route HTTP/1.1\r\nHost: shop.example\r\n\
                   X-Location: http://server/x\r\nConnection: close\r\n\r\n";
    let response = exchange(proxy.address(), request).await;
    let location = response.header("Location");
    assert!(location.ends_with("/shop/of/server/x"), "{location}");
}

/// Every place begins with nothing.
#[tokio::test]
async fn what_variables_leave_empty_is_replaced_nowhere() {
    let server = origin::answers(|_| Answer::status(302, "moved").header("Location", "/there"));
    let server = server.await;
    let proxy = proxy::to([&server])
        .more("[route.proxy_redirect]\n\"$arg_from\" = \"/replaced\"\n")
        .start()
        .await;
    for (target, expected) in [("/", "/there"), ("/?from=/th", "http://test/replacedere")] {
        let response = proxy.get(target).await;
        assert_eq!(response.header("location"), expected, "{target}");
    }
}

#[tokio::test]
async fn every_form_of_proxy_redirect_means_what_it_means_in_nginx() {
    if !nginx::installed() {
        return;
    }
    let origin = sends_elsewhere().await;
    let rules = "[route.proxy_redirect]\n\
         '~^http://([^.]+)\\.internal/old/(?<rest>.*)$' = \"https://$1.example/$rest?from=$arg_a\"\n\
         '~*^HTTPS://any' = \"/any/\"\n\
         'http://$proxy_host/two/' = \"/one/\"\n\
         'http://$arg_a/' = \"http://$host/a/\"\n\
         '/' = \"/all/\"\n";
    let more = format!("[[route]]\npath = \"/rules/\"\nproxy = \"http://backend/two/\"\n{rules}");
    let proxy = ours(&origin, &more).await;
    let http = format!("upstream backend {{ server {}; }}", origin.address());
    let server = "location /rules/ { proxy_pass http://backend/two/; proxy_http_version 1.1;\n\
         proxy_redirect ~^http://([^.]+)\\.internal/old/(?<rest>.*)$ https://$1.example/$rest?from=$arg_a;\n\
         proxy_redirect ~*^HTTPS://any /any/;\n\
         proxy_redirect http://$proxy_host/two/ /one/;\n\
         proxy_redirect http://$arg_a/ http://$host/a/;\n\
         proxy_redirect / /all/; }";
    let nginx = Nginx::start(&http, server).await;
    for target in ["/rules/?a=x.test", "/rules/"] {
        for url in [
            "http://app.internal/old/x/y?z",
            "http://app.internal/new/x",
            "https://ANY.example/x/y",
            "http://backend/two/x",
            "http://x.test/b",
            "/path",
            "path",
            "",
        ] {
            for lines in [
                format!("X-Location: {url}\r\n"),
                format!("X-Refresh: 1; url={url}\r\n"),
            ] {
                let expected = told(nginx.address(), target, &lines).await;
                let got = told(proxy.address(), target, &lines).await;
                assert_eq!(got, expected, "{lines} at {target}");
            }
        }
    }
}

#[tokio::test]
async fn behind_a_trusted_proxy_a_redirect_names_what_its_client_asked_for() {
    let origin = sends_elsewhere().await;
    let proxy = ours(&origin, "").await;
    let request = "GET /api HTTP/1.1\r\nHost: inner:8080\r\nX-Forwarded-Proto: https\r\n\
                   X-Forwarded-Host: shop.example\r\nConnection: close\r\n\r\n";
    // Not believed of everybody.
    let response = proxy.exchange(request).await;
    assert_eq!(response.header("Location"), "http://inner:8080/api/");
    let trusted = [127, 0, 0, 2].into();
    let wire = waypost_tests::Wire::connect_from(trusted, proxy.address()).await;
    let mut client = waypost_tests::Client {
        wire: wire.expect("a connection"),
    };
    client.send(request).await;
    let response = client.response().await;
    assert_eq!(response.header("Location"), "https://shop.example/api/");
}

#[tokio::test]
async fn a_path_without_its_slash_keeps_method_connection_and_limits() {
    let origin = sends_elsewhere().await;
    let proxy = ours(&origin, "").await;
    let mut client = proxy.client().await;
    client
        .send("POST /api HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nup")
        .await;
    let response = client.response().await;
    assert_eq!(
        (response.status, response.header("Location")),
        (308, "http://t/api/")
    );
    client
        .send("POST /api HTTP/1.1\r\nHost: t\r\nContent-Length: 2000\r\n\r\n")
        .await;
    client.send("x".repeat(2000)).await;
    assert_eq!(client.response().await.status, 413);
    // Without a host there is nothing but the path.
    client.send("GET /api HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.response().await.header("Location"), "/api/");
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_location_that_no_header_can_have_is_an_error_and_told() {
    let file = "[server]\naccess_log = { path = \"stdout\", format = \"logged $uri $status\" }\n\
        [[listen]]\naddress = \"127.0.0.1:0\"\n\
        [[route]]\npath = \"/to\"\nreturn = { status = 301, location = \"$arg_to\" }\n\
        [[route]]\npath = \"/uri\"\nreturn = { location = \"https://a.example$uri\" }\n";
    let proxy = proxy::run(file, &[]).await;
    let empty = "invalid `location` of a `return`: it is empty";
    let control = "invalid `location` of a `return`: it has a control character";
    for (target, expected) in [
        ("/to?to=/there", Ok("/there")),
        ("/to", Err(empty)),
        ("/to?to=", Err(empty)),
        ("/uri/a%20b", Ok("https://a.example/uri/a b")),
        ("/uri/%0d%0aSet-Cookie:%20a=b", Err(control)),
        ("/uri/%7f", Err(control)),
    ] {
        let mut client = proxy.client().await;
        let response = client.get(target).await;
        assert_eq!(response.headers.get("Location"), expected.ok(), "{target}");
        assert_eq!(response.headers.get("Set-Cookie"), None, "{target}");
        let Err(reason) = expected else { continue };
        assert_eq!(response.status, 500, "{target}");
        assert_eq!(response.text(), "500 Internal Server Error\n", "{target}");
        // The request was in order: its connection is kept.
        assert_eq!(client.get("/to?to=/there").await.status, 301, "{target}");
        let line = format!("ERROR {reason}, client: 127.0.0.1, server: , request: \"GET {target} ");
        proxy.log_contains(&line).await;
    }
    proxy.stdout().contains("logged /to 500\n").await;
}
