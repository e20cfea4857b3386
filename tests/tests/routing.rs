//! Which route serves a request: hosts as nginx's `server_name`, paths as its `location`.

use waypost_tests::client::exchange;
use waypost_tests::{Origin, Proxy, origin, proxy};

/// A proxy whose routes answer with their names.
async fn routes(routes: &[(&str, &str)]) -> Proxy {
    let mut file =
        "[server]\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n".to_owned();
    for (name, pattern) in routes {
        file.push_str(&format!(
            "[[route]]\n{pattern}\nreturn = {{ status = 200, body = \"{name}\" }}\n"
        ));
    }
    proxy::run(&file, &[]).await
}

async fn asked(proxy: &Proxy, host: &str, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let response = exchange(proxy.address(), request).await;
    if response.status == 200 {
        response.text()
    } else {
        response.status.to_string()
    }
}

#[tokio::test]
async fn paths_match_in_nginx_s_order() {
    let proxy = routes(&[
        ("root", "path = \"/\""),
        ("regex", "path = '~ \\.php$'"),
        ("regex without case", "path = '~* \\.(gif|jpg)$'"),
        ("second regex", "path = '~ ^/api/.*\\.php$'"),
        ("api", "path = \"/api/\""),
        ("api v2", "path = \"/api/v2/\""),
        ("static", "path = \"^~ /static/\""),
        ("exact", "path = \"= /exact\""),
    ])
    .await;
    let cases = [
        ("/", "root"),
        ("/other", "root"),
        ("/exact", "exact"),
        ("/exact/", "root"),
        ("/exact?query", "exact"),
        ("/api/x", "api"),
        ("/api/v2/x", "api v2"),
        ("/api", "root"),
        ("/api/x.php", "regex"),     // the first regex, before any prefix
        ("/static/x.php", "static"), // the longest prefix, which asks no regex
        ("/a.JPG", "regex without case"),
        ("/a.PHP", "root"),
    ];
    for (target, expected) in cases {
        assert_eq!(asked(&proxy, "t", target).await, expected, "{target}");
    }
}

#[tokio::test]
async fn paths_are_decoded_and_normalised_before_they_are_matched() {
    let proxy = routes(&[
        ("root", "path = \"/\""),
        ("secret", "path = \"/secret/\""),
        ("space", "path = \"= /a b\""),
    ])
    .await;
    let same = [
        "/secret/",
        "/%73ecret/",
        "/x/../secret/y",
        "/./secret/",
        "//secret/",
        "/x//..///secret/",
        "/secret%2Fx",
    ];
    for target in same {
        assert_eq!(asked(&proxy, "t", target).await, "secret", "{target}");
    }
    assert_eq!(asked(&proxy, "t", "/a%20b").await, "space");
    assert_eq!(asked(&proxy, "t", "/x?/../secret/").await, "root");
}

#[tokio::test]
async fn hosts_match_in_nginx_s_order() {
    let proxy = routes(&[
        ("any", ""),
        ("regex", "host = '~^r\\d+\\.example\\.org$'"),
        ("prefix", "host = \"www.*\""),
        ("suffix", "host = \"*.example.org\""),
        ("longer suffix", "host = \"*.sub.example.org\""),
        ("exact", "host = \"www.example.org\""),
    ])
    .await;
    let cases = [
        ("www.example.org", "exact"),
        ("WWW.Example.ORG", "exact"),
        ("www.example.org:8080", "exact"),
        ("a.example.org", "suffix"),
        ("a.b.example.org", "suffix"),
        ("a.sub.example.org", "longer suffix"),
        ("www.example.net", "prefix"),
        ("r1.example.org", "suffix"), // before any regex
        ("example.org", "any"),
        ("10.0.0.1", "any"),
    ];
    for (host, expected) in cases {
        assert_eq!(asked(&proxy, host, "/").await, expected, "{host}");
    }
}

#[tokio::test]
async fn a_request_that_no_route_matches_gets_404() {
    let proxy = routes(&[("api", "host = \"a.example\"\npath = \"/api/\"")]).await;
    assert_eq!(asked(&proxy, "a.example", "/api/").await, "api");
    assert_eq!(asked(&proxy, "a.example", "/").await, "404");
    assert_eq!(asked(&proxy, "b.example", "/api/").await, "404");
}

#[tokio::test]
async fn a_redirect_names_host_and_target() {
    let route = "[server]\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\npath = \"/old/\"\n\
                 return = { status = 301, location = \"https://$host$request_uri\" }\n";
    let proxy = proxy::run(route, &[]).await;
    let response = exchange(
        proxy.address(),
        "GET /old/a%20b?c=d HTTP/1.1\r\nHost: Example.org:80\r\n\r\n",
    )
    .await;
    assert_eq!(
        (response.status, response.header("Location")),
        (301, "https://example.org/old/a%20b?c=d")
    );
}

/// A proxy of one route to the origin, at a path, with `proxy` as given.
async fn mapped(origin: &Origin, path: &str, proxy: &str) -> Proxy {
    let file = format!(
        "[server]\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n[upstream.backend]\n\
         servers = [{{ address = \"{}\" }}]\n[[route]]\npath = \"{path}\"\nproxy = \"{proxy}\"\n",
        origin.address()
    );
    waypost_tests::proxy::run(&file, &[]).await
}

async fn target_at(origin: &Origin, proxy: &Proxy, target: &str) -> String {
    assert_eq!(asked(proxy, "t", target).await, "served", "{target}");
    origin.requests().pop().unwrap_or_default().target
}

#[tokio::test]
async fn without_a_uri_part_the_target_is_sent_on_as_it_came() {
    let origin = origin::says("served").await;
    let proxy = mapped(&origin, "/app/", "http://backend").await;
    for target in [
        "/app/x?y=z",
        "/app/a%20b",
        "/app/x/../y",
        "/app//x?",
        "/app/%2e%2e/app/",
    ] {
        assert_eq!(target_at(&origin, &proxy, target).await, target);
    }
}

#[tokio::test]
async fn a_uri_part_replaces_what_the_path_matched() {
    let origin = origin::says("served").await;
    let proxy = mapped(&origin, "/app/", "http://backend/new/").await;
    for (target, expected) in [
        ("/app/x?y=z", "/new/x?y=z"),
        ("/app/", "/new/"),
        ("/app/a%20b", "/new/a%20b"),
    ] {
        assert_eq!(target_at(&origin, &proxy, target).await, expected);
    }
    let proxy = mapped(&origin, "/app", "http://backend/").await;
    assert_eq!(target_at(&origin, &proxy, "/app/x").await, "//x");
}

#[tokio::test]
async fn a_route_can_lead_to_one_address_without_an_upstream() {
    let origin = origin::says("served").await;
    let proxy = mapped(&origin, "/", &format!("http://{}", origin.address())).await;
    assert_eq!(target_at(&origin, &proxy, "/x").await, "/x");
}

#[tokio::test]
async fn a_route_can_belong_to_one_listener() {
    let directory = tempfile::TempDir::new().expect("there is room for a directory");
    let unix = format!("unix:{}", directory.path().join("front.sock").display());
    let file = format!(
        "[server]\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen]]\naddress = \"{unix}\"\n\
         [[route]]\nlisten = \"{unix}\"\nreturn = {{ status = 200, body = \"unix\" }}\n\
         [[route]]\npath = \"/tcp\"\nlisten = [\"127.0.0.1:0\"]\nreturn = {{ status = 200, body = \"tcp\" }}\n"
    );
    let proxy = proxy::run(&file, &[]).await;
    let request = "GET /tcp HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(proxy.listener(0), request).await.text(), "tcp");
    assert_eq!(exchange(proxy.listener(1), request).await.text(), "unix");
    assert_eq!(proxy.get("/").await.status, 404);
}
