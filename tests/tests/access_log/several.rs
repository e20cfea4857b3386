//! Several logs of one place: what their lines are, and which requests have one.

use rustix::process::Signal;
use waypost_tests::client::exchange;
use waypost_tests::{Answer, eventually, origin, proxy};

use super::lines_in;

#[tokio::test]
async fn fields_of_ones_own_are_members_in_their_order() {
    let origin = origin::says("hello").await;
    let log = "access_log = { path = \"access.log\", fields = { verb = \"$request_method\", \
               status = \"$status\", upstream = \"$upstream_addr\", tenant = \"$http_x_tenant\", \
               way = \"$uri on $server_port\" } }";
    let proxy = proxy::to([&origin]).server(log).start().await;
    proxy
        .exchange("GET /%22q HTTP/1.1\r\nHost: t\r\n\r\n")
        .await;
    let expected = format!(
        "{{\"verb\":\"GET\",\"status\":200,\"upstream\":\"{}\",\"tenant\":\"\",\"way\":\"/\\\"q on {}\"}}",
        origin.address(),
        proxy.address().rsplit(':').next().unwrap()
    );
    assert_eq!(lines_in(&proxy, "access.log", 1).await, [expected]);
}

#[tokio::test]
async fn each_of_several_logs_has_the_requests_that_it_asks_for() {
    let origin = origin::answers(|request| match request.target.as_str() {
        "/broken" => Answer::status(500, "no"),
        "/missing" => Answer::status(404, "no"),
        _ => Answer::ok("hello"),
    })
    .await;
    let log = "workers = 1\naccess_log = [\n\
               { path = \"all.log\", format = '$request_uri' },\n\
               { path = \"errors.log\", format = '$request_uri $kind', when = { status = \"5xx\" } },\n\
               { path = \"mapped.log\", format = '$request_uri', when = { variable = { kind = \"bad\" } } },\n\
               { path = \"quiet.log\", format = '$request_uri', when = { path = \"!/health\" } },\n\
               { path = \"none.log\", format = '$request_uri', sample = \"0.01%\", when = { method = \"PUT\" } },\n]";
    let proxy = proxy::to([&origin]).server(log).more(
        "[variable.kind]\nfrom = \"$status\"\nmap = { '~^[45]' = \"bad\" }\ndefault = \"good\"\n\
         [[route]]\npath = \"/own/\"\nproxy = \"backend\"\n\
         access_log = { path = \"own.log\", format = '$request_uri' }",
    );
    let proxy = proxy.start().await;
    for path in ["/", "/broken", "/missing", "/health", "/own/a", "/last"] {
        proxy.get(path).await;
    }
    assert_eq!(lines_in(&proxy, "own.log", 1).await, ["/own/a"]);
    let all = ["/", "/broken", "/missing", "/health", "/last"];
    assert_eq!(lines_in(&proxy, "all.log", 5).await, all);
    assert_eq!(lines_in(&proxy, "errors.log", 1).await, ["/broken bad"]);
    assert_eq!(
        lines_in(&proxy, "mapped.log", 2).await,
        ["/broken", "/missing"]
    );
    assert_eq!(
        lines_in(&proxy, "quiet.log", 4).await,
        ["/", "/broken", "/missing", "/last"]
    );
    assert!(lines_in(&proxy, "none.log", 0).await.is_empty());
}

#[tokio::test]
async fn a_log_that_asks_for_a_header_of_the_answer_is_told_of_it() {
    let origin = origin::answers(|_| Answer::ok("hello").header("X-Kind", "rare")).await;
    let log = "access_log = { path = \"access.log\", format = '$request_uri', \
               when = { variable = { sent_http_x_kind = \"rare\" } } }";
    let proxy = proxy::to([&origin]).server(log).start().await;
    proxy.get("/a").await;
    assert_eq!(lines_in(&proxy, "access.log", 1).await, ["/a"]);
}

#[tokio::test]
async fn usr1_opens_all_logs_of_a_place_anew() {
    let origin = origin::says("hello").await;
    let log = "access_log = [{ path = \"a.log\", buffer = 0 }, { path = \"b.log\", fields = { uri = \"$uri\" }, buffer = 0 }]";
    let proxy = proxy::to([&origin]).server(log).start().await;
    proxy.get("/before").await;
    for log in ["a.log", "b.log"] {
        lines_in(&proxy, log, 1).await;
        let path = proxy.directory().join(log);
        std::fs::rename(&path, path.with_extension("old")).unwrap();
    }
    proxy.signal(Signal::USR1);
    for log in ["a.log", "b.log"] {
        let path = proxy.directory().join(log);
        eventually("a new file", async || path.exists()).await;
    }
    proxy.get("/after").await;
    for log in ["a.log", "b.log"] {
        let lines = lines_in(&proxy, log, 1).await;
        assert!(lines.len() == 1 && lines[0].contains("/after"), "{lines:?}");
    }
}

#[tokio::test]
async fn sessions_have_lines_where_their_log_asks_for_them() {
    let (good, bad) = (origin::says("hello").await, origin::refuses());
    let config = format!(
        "[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"{}\"\n\
         access_log = [{{ path = \"failed.log\", format = '$status $upstream_addr', when = {{ status = \"!200\" }}, buffer = 0 }}, \
         {{ path = \"all.log\", fields = {{ status = \"$status\", protocol = \"$protocol\" }}, buffer = 0 }}]\n\
         [[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"{}\"\n\
         access_log = {{ path = \"failed.log\", format = '$status $upstream_addr', when = {{ status = \"!200\" }}, buffer = 0 }}\n",
        good.address(),
        bad.address()
    );
    let proxy = proxy::run(&config, &[]).await;
    let request = b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(proxy.listener(0), request).await.status, 200);
    let all = lines_in(&proxy, "all.log", 1).await;
    assert_eq!(all, ["{\"status\":200,\"protocol\":\"TCP\"}"]);
    let mut refused = waypost_tests::Client::connect(proxy.listener(1)).await;
    refused.wire.try_send(request).await.ok();
    let failed = lines_in(&proxy, "failed.log", 1).await;
    assert_eq!(failed, [format!("502 {}", bad.address())]);
}
