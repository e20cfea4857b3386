//! The access log: nginx's `combined` line for line, formats of one's own, and JSON.

mod several;

use rustix::process::Signal;
use waypost_tests::client::exchange;
use waypost_tests::{Answer, Http2, Nginx, Origin, Proxy, eventually, nginx, origin, proxy};

async fn logging(origin: &Origin, format: &str) -> Proxy {
    // One worker, so that lines stand in the order of the requests.
    let log = format!("workers = 1\naccess_log = {{ path = \"access.log\", format = '{format}' }}");
    proxy::to([origin]).server(&log).start().await
}

/// The log's lines, once there are as many.
async fn lines(proxy: &Proxy, number: usize) -> Vec<String> {
    lines_in(proxy, "access.log", number).await
}

/// The lines of a log beside a proxy, once there are as many.
async fn lines_in(proxy: &Proxy, log: &str, number: usize) -> Vec<String> {
    let path = proxy.directory().join(log);
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually(&format!("{number} lines in {log}"), async || {
        read().lines().count() >= number
    })
    .await;
    read().lines().map(str::to_owned).collect()
}

/// A combined line without its time, which two proxies cannot agree on.
fn without_time(line: &str) -> String {
    let (before, rest) = line
        .split_once('[')
        .unwrap_or_else(|| panic!("no time: {line}"));
    let (time, after) = rest
        .split_once(']')
        .unwrap_or_else(|| panic!("no time: {line}"));
    // 21/Nov/2026:03:14:15 +0000
    let shape: String = time
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    let shape = shape
        .replace(|c: char| c.is_ascii_alphabetic(), "a")
        .replace('-', "+");
    assert_eq!(shape, "00/aaa/0000:00:00:00 +0000", "{line}");
    format!("{before}[]{after}")
}

#[tokio::test]
async fn combined_lines_are_nginx_s() {
    if !nginx::installed() {
        return;
    }
    let origin = origin::answers(|request| match request.target.as_str() {
        "/missing" => Answer::status(404, "not here"),
        "/empty" => Answer::raw("HTTP/1.1 204 No Content\r\n\r\n"),
        _ => Answer::ok("hello"),
    })
    .await;
    let requests: [&[u8]; 9] = [
        b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
        b"GET /a%20b?c=d&e HTTP/1.1\r\nHost: t\r\nReferer: http://r.example/\r\nUser-Agent: curl/8\r\nConnection: close\r\n\r\n",
        b"POST /form HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nConnection: close\r\n\r\nup",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET /missing HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
        b"GET /empty HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
        b"GET /\"q\"\\ HTTP/1.1\r\nHost: t\r\nUser-Agent: a \"quoted\" \\ \xc3\xa4\tagent\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nAuthorization: Basic dXNlcjpwYXNz\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: t\r\nAuthorization: Basic ???\r\nUser-Agent:\r\nConnection: close\r\n\r\n",
    ];
    let http = format!("upstream backend {{ server {}; }}", origin.address());
    let server = "access_log access.log combined; location / { proxy_pass http://backend; proxy_http_version 1.1; }";
    let nginx = Nginx::start(&http, server).await;
    let proxy = logging(&origin, "combined").await;
    for request in requests {
        let expected = exchange(nginx.address(), request).await;
        assert_eq!(
            exchange(proxy.address(), request).await.status,
            expected.status
        );
    }
    let number = requests.len();
    eventually("nginx's log", async || {
        nginx.file("access.log").lines().count() >= number
    })
    .await;
    let expected: Vec<String> = nginx.file("access.log").lines().map(without_time).collect();
    let got: Vec<String> = lines(&proxy, number)
        .await
        .iter()
        .map(|line| without_time(line))
        .collect();
    assert_eq!(got, expected);
}

#[tokio::test]
async fn a_request_that_was_refused_is_logged() {
    let origin = origin::says("hello").await;
    let proxy = logging(&origin, "combined").await;
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status, 400);
    let lines = lines(&proxy, 1).await;
    assert!(
        without_time(&lines[0]).starts_with("127.0.0.1 - - [] \"GET / HTTP/1.1\" 400 "),
        "{lines:?}"
    );
}

#[tokio::test]
async fn upstream_lines_are_combined_and_say_what_each_server_has_made_of_the_request() {
    let ill = origin::answers(|_| Answer::status(503, "")).await;
    let (dead, good) = (origin::refuses(), origin::says("hello").await);
    let log = "workers = 1\naccess_log = { path = \"access.log\", format = \"upstream\" }";
    let proxy = proxy::to([&dead, &ill, &good])
        .server(log)
        .upstream("next_upstream = [\"error\", \"http_503\"]")
        .start()
        .await;
    assert_eq!(proxy.get("/a").await.text(), "hello");
    let lines = lines(&proxy, 1).await;
    let line = without_time(&lines[0]);
    let (combined, rest) = line.split_once(" rt=").expect("how long it took");
    let expected = "127.0.0.1 - - [] \"GET /a HTTP/1.1\" 200 5 \"-\" \"-\"";
    assert_eq!(combined, expected);
    let (took, rest) = rest.split_once(' ').expect("more");
    assert!(took.parse::<f64>().is_ok(), "{line}");
    let [dead, ill, good] = [&dead, &ill, &good].map(|origin| origin.address());
    let servers = format!("ua=\"{dead}, {ill}, {good}\" us=\"502, 503, 200\" ut=\"0.");
    assert!(rest.starts_with(&servers), "{line}");
}

#[tokio::test]
async fn several_tries_are_joined_by_commas() {
    let (a, b) = (
        origin::refuses(),
        origin::answers(|_| Answer::status(503, "")).await,
    );
    let c = origin::says("hello").await;
    let format = "$upstream_addr|$upstream_status|$status";
    let log = format!("access_log = {{ path = \"access.log\", format = '{format}' }}");
    let next = "next_upstream = [\"error\", \"http_503\"]";
    let proxy = proxy::to([&a, &b, &c])
        .server(&log)
        .upstream(next)
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    let expected = format!(
        "{}, {}, {}|502, 503, 200|200",
        a.address(),
        b.address(),
        c.address()
    );
    assert_eq!(lines(&proxy, 1).await, [expected]);
}

#[tokio::test]
async fn a_group_without_a_live_server_is_logged_by_its_name() {
    let (a, b) = (origin::refuses(), origin::refuses());
    let log = "workers = 1\naccess_log = { path = \"access.log\", format = '$upstream_addr|$upstream_status|$status' }";
    let proxy = proxy::to([&a, &b]).server(log).start().await;
    assert_eq!(proxy.get("/").await.status, 502);
    assert_eq!(proxy.get("/").await.status, 502);
    let first = format!("{}, {}|502, 502|502", a.address(), b.address());
    assert_eq!(
        lines(&proxy, 2).await,
        [first, "backend|502|502".to_owned()]
    );
}

#[tokio::test]
async fn a_request_that_met_no_upstream_has_a_dash() {
    let log = "[server]\naccess_log = { path = \"stdout\", format = 'tried $upstream_addr $status' }\n\
               [[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nreturn = { status = 204 }\n";
    let proxy = proxy::run(log, &[]).await;
    assert_eq!(proxy.get("/").await.status, 204);
    proxy.stdout().contains("tried - 204\n").await;
}

#[tokio::test]
async fn variables_tell_about_request_and_response() {
    let origin = origin::says("hello").await;
    let format = "$request_method $uri $args $arg_a $http_x_tenant $cookie_id $host $server_protocol $scheme \
                  $body_bytes_sent $sent_http_content_length $upstream_response_length $request_uri $remote_addr $connection_requests";
    let proxy = logging(&origin, format).await;
    let request = "GET /p%20q?a=1&b=2 HTTP/1.1\r\nHost: Example.org:81\r\nX-Tenant: t\r\nCookie: x=y; id=7\r\n\r\n";
    proxy.exchange(request).await;
    let expected =
        "GET /p q a=1&b=2 1 t 7 example.org HTTP/1.1 http 5 5 5 /p%20q?a=1&b=2 127.0.0.1 1"
            .to_owned();
    assert_eq!(lines(&proxy, 1).await, [expected]);
}

#[tokio::test]
async fn json_lines_are_json() {
    let origin = origin::says("hello").await;
    let proxy = logging(&origin, "json").await;
    proxy
        .exchange(b"GET /\"q\"\\ HTTP/1.1\r\nHost: t\r\nUser-Agent: \xff\"\\\t\r\n\r\n")
        .await;
    let lines = lines(&proxy, 1).await;
    let line: serde_json::Value =
        serde_json::from_str(&lines[0]).unwrap_or_else(|error| panic!("{error}: {}", lines[0]));
    assert!(line.is_object(), "{line}");
    let all = line.to_string();
    assert!(all.contains("200") && all.contains("127.0.0.1"), "{line}");
}

#[tokio::test]
async fn false_turns_the_log_off() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server("access_log = { path = \"access.log\" }")
        .route("access_log = false");
    let proxy = proxy
        .more("[[route]]\npath = \"/logged/\"\nproxy = \"backend\"")
        .start()
        .await;
    proxy.get("/unlogged").await;
    proxy.get("/logged/").await;
    let lines = lines(&proxy, 1).await;
    assert!(
        lines.len() == 1 && lines[0].contains("GET /logged/ HTTP/1.1"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_line_is_written_once_the_client_has_its_answer() {
    let gate = waypost_tests::Gate::closed();
    let held = gate.clone();
    let origin = origin::answers(move |_| Answer::ok("hello").when(&held)).await;
    let proxy = logging(&origin, "combined").await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    origin.received(1).await;
    assert_eq!(
        std::fs::read_to_string(proxy.directory().join("access.log")).unwrap_or_default(),
        ""
    );
    gate.open();
    client.response().await;
    assert_eq!(lines(&proxy, 1).await.len(), 1);
}

/// A proxy before an origin that never answers `/held`, which writes a line for each request at its
/// end.
async fn with_a_line_for_each(server: &str) -> (Origin, Proxy) {
    let origin = origin::answers(|request| match &*request.target {
        "/held" => Answer::ok("never").when(&waypost_tests::Gate::closed()),
        "/cut" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").then_hang(),
        _ => Answer::ok("hello"),
    })
    .await;
    let log = "access_log = { path = \"stdout\", \
               format = 'line $request_uri $status $request_completion.' }";
    let proxy = proxy::to([&origin])
        .server(&format!("{log}\n{server}"))
        .start()
        .await;
    (origin, proxy)
}

#[tokio::test]
async fn an_exchange_that_a_stop_cuts_has_its_line() {
    for (signal, server) in [
        (Signal::TERM, ""),
        (Signal::QUIT, "shutdown_timeout = \"100ms\""),
    ] {
        let (origin, mut proxy) = with_a_line_for_each(server).await;
        let mut held = proxy.client().await;
        held.send("GET /held HTTP/1.1\r\nHost: t\r\n\r\n").await;
        let mut cut = proxy.client().await;
        cut.send("GET /cut HTTP/1.1\r\nHost: t\r\n\r\n").await;
        assert_eq!(cut.response_head().await.status, 200);
        let mut http2 = Http2::connect(proxy.address()).await;
        let request = http2.request("GET", "/held", &[]);
        let _stream = http2.open(request, true).await;
        origin.received(3).await;
        proxy.signal(signal);
        proxy.process().ended_and_heard().await;
        let log = proxy.stdout().text();
        // As for a client that left before it had its answer.
        assert_eq!(
            log.matches("line /held 499 .").count(),
            2,
            "{signal:?}: {log}"
        );
        assert_eq!(
            log.matches("line /cut 200 .").count(),
            1,
            "{signal:?}: {log}"
        );
        assert_eq!(log.lines().count(), 3, "{signal:?}: {log}");
    }
}

#[tokio::test]
async fn a_request_that_a_client_gives_up_has_its_line_in_either_version() {
    let (origin, proxy) = with_a_line_for_each("").await;
    let mut http2 = Http2::connect(proxy.address()).await;
    let request = http2.request("GET", "/held", &[]);
    let stream = http2.open(request, true).await;
    origin.received(1).await;
    // The connection goes, and its streams with it.
    drop(stream);
    drop(http2);
    proxy.stdout().contains("line /held 499 .\n").await;
    let mut http1 = proxy.client().await;
    http1.send("GET /cut HTTP/1.1\r\nHost: t\r\n\r\n").await;
    http1.response_head().await;
    drop(http1);
    proxy.stdout().contains("line /cut 200 .\n").await;
}

/// A request whose head is kept, to be overwritten by that of the next.
const BEFORE: &str = "GET /one HTTP/1.1\r\nHost: t\r\nX-Secret: of-another-client-aaaaaaaaaaaaaaaaaaaaaaa\r\n\
                      User-Agent: of another client\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn a_request_that_cannot_be_read_has_a_line_of_its_own() {
    let origin = origin::says("hello").await;
    let format = "$status [$request] $http_x_secret $http_user_agent $uri $host";
    let proxy = logging(&origin, format).await;
    let long = "LONGERTHANANYTHINGTHATFOLLOWS".repeat(3);
    let before = BEFORE.replace("GET", &long);
    let cases: [(&[u8], &str); 11] = [
        (b"BAD\x01\r\n\r\n", "400 [BAD\\x01]"),
        (b"B\r\n\r\n", "400 [B]"),
        (
            b"GET /a HTTP/1.1\r\nna me: x\r\n\r\n",
            "400 [GET /a HTTP/1.1]",
        ),
        (
            b"GET  /b HTTP/1.1\r\nHost: t\r\n\r\n",
            "400 [GET  /b HTTP/1.1]",
        ),
        (
            b"GET /c HTTP/9.9\r\nHost: t\r\n\r\n",
            "505 [GET /c HTTP/9.9]",
        ),
        (b"GET /d\nHost: t\r\n\r\n", "400 [GET /d]"),
        (
            b"GET /e HTTP/1.1\r\nHost: t\r\n: x\r\n\r\n",
            "400 [GET /e HTTP/1.1]",
        ),
        (
            b"GET /f HTTP/1.1\r\nHost: t\r\nX-Secret: its own\r\nY\r\n\r\n",
            "400 [GET /f HTTP/1.1]",
        ),
        (
            b"GET /g HTTP/1.1\r\nTransfer-Encoding\r\n\r\n",
            "400 [GET /g HTTP/1.1]",
        ),
        (b"\x16\x03\x01\x00\xa5", "400 [\\x16\\x03\\x01\\x00\\xA5]"),
        (b"GET /h HTTP/1.1\r\nHost: t", "400 [GET /h HTTP/1.1]"),
    ];
    let mut expected = Vec::new();
    for (bad, line) in cases {
        for whole in [BEFORE, &before] {
            assert_eq!(proxy.exchange(whole).await.status, 200);
            let start = whole.split("\r\n").next().unwrap();
            let secret = "of-another-client-aaaaaaaaaaaaaaaaaaaaaaa of another client";
            expected.push(format!("200 [{start}] {secret} /one t"));

            let mut client = proxy.client().await;
            client.send(bad).await;
            client.wire.finish_sending().await;
            let status = client.response().await.status.to_string();
            assert_eq!(status, line[..3], "{line}");
            expected.push(format!("{line} - -  "));
        }
    }
    assert_eq!(lines(&proxy, expected.len()).await, expected);
}

#[tokio::test]
async fn a_request_that_is_too_large_has_a_line_of_its_own() {
    let origin = origin::says("hello").await;
    let proxy = logging(&origin, "$status [$request_method] $http_x_secret").await;
    let long = "a".repeat(40_000);
    for (bad, status) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: t\r\n\r\n"), 414),
        (
            format!("GET / HTTP/1.1\r\nHost: t\r\nX-Secret: {long}\r\n\r\n"),
            431,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: t\r\n{}\r\n",
                "a: b\r\n".repeat(1001)
            ),
            431,
        ),
    ] {
        assert_eq!(proxy.exchange(BEFORE).await.status, 200);
        let mut client = proxy.client().await;
        client.wire.try_send(&bad).await.ok();
        assert_eq!(client.response().await.status, status);
    }
    let secret = "of-another-client-aaaaaaaaaaaaaaaaaaaaaaa";
    let served = format!("200 [GET] {secret}");
    let refused = |status| format!("{status} [] -");
    let expected = [
        served.clone(),
        refused(414),
        served.clone(),
        refused(431),
        served,
        refused(431),
    ];
    assert_eq!(lines(&proxy, 6).await, expected);
}
