//! Names that CGI, WSGI, Rack and PHP fold into another name: `X_Real-IP` is `HTTP_X_REAL_IP` to a
//! program that they run, as `X-Real-IP` is. What we set or remove cannot be had back that way.

use waypost_tests::http2::{Frame, Outcome, Raw, flag};
use waypost_tests::{Http2, Origin, Proxy, Request, origin, proxy};

/// A name as a CGI program sees it; PHP folds further characters than the dash.
fn folded(name: &str) -> String {
    let fold = |c: char| match c.is_ascii_alphanumeric() {
        true => c.to_ascii_uppercase(),
        false => '_',
    };
    name.chars().map(fold).collect()
}

/// All values that a CGI program would find under a name.
fn found<'a>(request: &'a Request, name: &str) -> Vec<&'a str> {
    let same = |(other, _): &&(String, String)| folded(other) == folded(name);
    let fields = request.headers.0.iter().filter(same);
    fields.map(|(_, value)| value.as_str()).collect()
}

/// Spellings of what the proxy sets, of what the route sets and removes, and of what frames.
const FORGED: [&str; 16] = [
    "X_Forwarded_For",
    "x_forwarded-for",
    "X-Forwarded_For",
    "X.Forwarded.For",
    "X-Real_IP",
    "X_Real_IP",
    "X_Forwarded_Proto",
    "X_Forwarded_Host",
    "X_Forwarded_Port",
    "X_Client",
    "x_client",
    "X.Client",
    "X~Client",
    "X_Secret",
    "Content_Length",
    "Transfer_Encoding",
];

const ROUTE: &str = "request_headers = { set = { X-Client = \"ours\" }, remove = [\"X-Secret\"] }";

async fn behind(listen: &str) -> (Origin, Proxy) {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).listen(listen).route(ROUTE).start();
    let proxy = proxy.await;
    (origin, proxy)
}

fn nothing_forged(request: &Request, sent: &str) {
    assert_eq!(found(request, "X-Forwarded-For"), ["127.0.0.1"], "{sent}");
    assert_eq!(found(request, "X-Real-IP"), ["127.0.0.1"], "{sent}");
    assert_eq!(found(request, "X-Forwarded-Proto"), ["http"], "{sent}");
    assert_eq!(found(request, "X-Forwarded-Host"), ["test"], "{sent}");
    assert_eq!(found(request, "X-Client"), ["ours"], "{sent}");
    for name in [
        "X-Secret",
        "X-Forwarded-Port",
        "Content-Length",
        "Transfer-Encoding",
    ] {
        assert!(found(request, name).is_empty(), "{sent}: {request:?}");
    }
}

#[tokio::test]
async fn what_we_set_or_remove_cannot_be_had_back_over_http_1() {
    for listen in ["", "underscores_in_headers = true"] {
        let (origin, proxy) = behind(listen).await;
        for (number, name) in FORGED.iter().enumerate() {
            let response = proxy.get_with("/", &format!("{name}: forged\r\n")).await;
            assert_eq!(response.status, 200, "{name}");
            nothing_forged(&origin.requests()[number], name);
        }
    }
}

#[tokio::test]
async fn what_we_set_or_remove_cannot_be_had_back_over_http_2() {
    for listen in ["", "underscores_in_headers = true"] {
        let (origin, proxy) = behind(listen).await;
        let mut client = Http2::connect(proxy.address()).await;
        for (number, name) in FORGED.iter().enumerate() {
            let name = name.to_ascii_lowercase();
            let response = client.ask("GET", "/", &[(&*name, "forged")]).await;
            assert_eq!(response.status, 200, "{name}");
            nothing_forged(&origin.requests()[number], &name);
        }
    }
}

#[tokio::test]
async fn what_we_set_or_remove_cannot_be_had_back_as_metadata_of_grpc() {
    let (origin, proxy) = behind("").await;
    let mut client = Http2::connect(proxy.address()).await;
    for (number, name) in FORGED.iter().enumerate() {
        let name = name.to_ascii_lowercase();
        let fields = [("content-type", "application/grpc"), (&*name, "forged")];
        client.ask("GET", "/", &fields).await;
        nothing_forged(&origin.requests()[number], &name);
    }
}

#[tokio::test]
async fn a_trusted_proxy_cannot_forge_what_it_may_say_openly() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin])
        .server("trusted_proxies = [\"127.0.0.0/8\"]\nunderscores_in_headers = true");
    let proxy = proxy.start().await;
    let lines = "X-Forwarded-For: 203.0.113.7\r\nX_Forwarded_For: 10.0.0.1\r\n\
                 X_Forwarded_Port: 1\r\n";
    assert_eq!(proxy.get_with("/", lines).await.status, 200);
    let request = origin.request();
    assert_eq!(
        found(&request, "X-Forwarded-For"),
        ["203.0.113.7, 127.0.0.1"]
    );
    assert!(found(&request, "X-Forwarded-Port").is_empty());
}

#[tokio::test]
async fn what_connection_names_does_not_go_on_under_another_spelling() {
    let (origin, proxy) = behind("underscores_in_headers = true").await;
    let lines = "X_Hop: 1\r\nX-Kept: 2\r\nX_Kept_Too: 3\r\n";
    let request =
        format!("GET / HTTP/1.1\r\nHost: test\r\nConnection: close, X-Hop\r\n{lines}\r\n");
    assert_eq!(proxy.exchange(request).await.status, 200);
    let request = origin.request();
    assert!(found(&request, "X-Hop").is_empty(), "{request:?}");
    assert_eq!(found(&request, "X-Kept"), ["2"]);
    assert_eq!(found(&request, "X-Kept-Too"), ["3"]);
}

#[tokio::test]
async fn fields_whose_names_have_underscores_are_dropped_unless_they_are_allowed() {
    let seen = "request_headers = { set = { X-Seen = \"$http_api_key\" } }";
    for (setting, kept) in [("false", false), ("true", true)] {
        for place in ["server", "listen"] {
            let origin = origin::says("served").await;
            let line = format!("underscores_in_headers = {setting}");
            let proxy = proxy::to([&origin]).route(seen);
            let proxy = match place {
                "server" => proxy.server(&line),
                _ => proxy.listen(&line),
            };
            let proxy = proxy.start().await;
            let lines = "api_key: 7\r\nX-Other: 8\r\n";
            assert_eq!(proxy.get_with("/", lines).await.status, 200);
            let mut client = Http2::connect(proxy.address()).await;
            let fields = [("api_key", "7"), ("x-other", "8")];
            assert_eq!(client.ask("GET", "/", &fields).await.status, 200);
            for request in origin.requests() {
                let expected = if kept { Some("7") } else { None };
                assert_eq!(request.headers.get("api_key"), expected, "{line}");
                // What is dropped is not there for variables either.
                assert_eq!(request.headers.get("X-Seen"), expected, "{line}");
                assert_eq!(request.headers.get("x-other"), Some("8"));
            }
            assert_eq!(origin.requests().len(), 2);
        }
    }
}

#[tokio::test]
async fn metadata_of_grpc_keeps_its_underscores() {
    let (origin, proxy) = behind("").await;
    let mut raw = Raw::connect(proxy.address()).await;
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", "/s/m"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user_id", "7"),
        ("user.name", "ada"),
    ];
    raw.send(Frame::headers(1, flag::WHOLE, &fields)).await;
    assert_eq!(raw.outcome(1).await, Outcome::Status(200));
    let request = origin.request();
    assert_eq!(request.header("user_id"), "7");
    assert_eq!(request.header("user.name"), "ada");
}
