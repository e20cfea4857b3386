//! What hooks change of requests and responses, and who sees it.

use waypost_tests::{Answer, Http2, Origin, Proxy, eventually, http2, origin, proxy};

use super::{asked, at_listener, at_route, probe, told};

/// The lines of the access log, once there are as many.
async fn log_lines(proxy: &Proxy, number: usize) -> Vec<String> {
    let path = proxy.directory().join("access.log");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually("the access log", async || read().lines().count() >= number).await;
    read().lines().map(str::to_owned).collect()
}

fn logging(format: &str) -> String {
    format!("access_log = {{ path = \"access.log\", format = '{format}' }}")
}

#[tokio::test]
async fn header_changes_reach_the_server_and_every_variable() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin]))
        .server(&logging("$http_x_set"))
        .route("request_headers = { set = { X-Copy = \"$http_x_set\" } }")
        .start()
        .await;
    let lines = told("set X-Set new | add X-Add two | remove X-Gone")
        + "X-Set: old\r\nX-Set: older\r\nX-Add: one\r\nX-Gone: 1\r\n";
    assert_eq!(proxy.get_with("/", &lines).await.text(), "hello");
    let request = origin.request();
    assert_eq!(request.headers.all("X-Set"), ["new"]);
    assert_eq!(request.headers.all("X-Add"), ["one", "two"]);
    assert!(request.headers.all("X-Gone").is_empty());
    assert_eq!(request.headers.all("X-Copy"), ["new"]);
    assert_eq!(log_lines(&proxy, 1).await, ["new"]);
}

async fn five() -> Vec<Origin> {
    let mut origins = Vec::new();
    for _ in 0..5 {
        origins.push(origin::named().await);
    }
    origins
}

#[tokio::test]
async fn a_header_that_a_hook_sets_is_what_a_hash_is_of() {
    let origins = five().await;
    let proxy = at_route(proxy::to(&origins))
        .upstream("policy = { plugin = \"hash\", key = \"$http_x_user\" }")
        .start()
        .await;
    let mut servers = std::collections::BTreeSet::new();
    for user in 0..20 {
        let lines = told("set X-User same") + &format!("X-User: {user}\r\n");
        servers.insert(proxy.get_with("/", &lines).await.text());
    }
    assert_eq!(servers.len(), 1, "{servers:?}");
}

#[tokio::test]
async fn an_attribute_is_a_variable_of_logs_headers_and_policies() {
    let origins = five().await;
    let proxy = at_listener(proxy::to(&origins))
        .server(&logging("$hook_tenant"))
        .upstream("policy = { plugin = \"hash\", key = \"$hook_tenant\" }")
        .route("request_headers = { set = { X-Tenant = \"$hook_tenant\" } }\nresponse_headers = { set = { X-Tenant = \"$hook_tenant\" } }")
        .start()
        .await;
    let mut servers = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let response = asked(&proxy, "/", "attribute tenant acme").await;
        assert_eq!(response.header("X-Tenant"), "acme");
        servers.insert(response.text());
    }
    assert_eq!(servers.len(), 1, "{servers:?}");
    let asked_origin = origins.iter().find(|origin| !origin.requests().is_empty());
    let request = asked_origin.expect("one was asked").requests().remove(0);
    assert_eq!(request.header("X-Tenant"), "acme");
    assert_eq!(log_lines(&proxy, 5).await, ["acme"; 5]);
}

#[tokio::test]
async fn a_hook_reads_the_attributes_that_one_before_it_has_set() {
    let origin = origin::says("hello").await;
    let proxy = with_reader(
        &origin,
        r#"["attribute_seen tenant", "variable hook_tenant"]"#,
    )
    .await;
    let response = asked(&proxy, "/", "attribute tenant acme").await;
    assert_eq!(response.headers.all("X-Reader-Saw"), ["acme", "acme"]);
}

/// A route with the probe, and behind it `reader`, which does this with every request.
async fn with_reader(origin: &Origin, request: &str) -> Proxy {
    let reader =
        format!("[hook.reader]\nplugin = \"probe\"\nname = \"reader\"\nrequest = {request}\n");
    proxy::to([origin])
        .route("hooks = [\"probe\", \"reader\"]")
        .more(&probe())
        .more(&reader)
        .start()
        .await
}

/// A route with two hooks, of which the second one is passed over where it fails; its answers tell
/// of attributes.
async fn with_two(origin: &Origin) -> Proxy {
    let hooks = "hooks = [\"probe\", { use = \"again\", on_error = \"skip\" }]";
    let headers =
        "response_headers = { set = { X-Kept = \"$hook_kept\", X-Late = \"$hook_late\" } }";
    proxy::to([origin])
        .route(hooks)
        .route(headers)
        .more(&probe())
        .more("[hook.again]\nplugin = \"probe\"\nname = \"again\"\n")
        .start()
        .await
}

#[tokio::test]
async fn attributes_have_bounds_of_number_and_size() {
    let origin = origin::says("hello").await;
    let proxy = with_two(&origin).await;
    // Within one call.
    for (attributes, refused) in [
        ("32 1", ""),
        ("33 1", "1"),
        ("2 32000", ""),
        ("2 33000", "1"),
    ] {
        let response = asked(&proxy, "/", &format!("attributes {attributes}")).await;
        let said = (response.status, response.header("X-Probe-Refused"));
        assert_eq!(said, (200, refused), "{attributes}");
    }
    proxy
        .log_contains("`changes.set-attribute` refused: ")
        .await;
    // Of all calls together.
    let lines = told("attributes 32 1") + "X-Again: attribute late 1\r\n";
    let response = proxy.get_with("/", &lines).await;
    assert_eq!((response.status, response.header("X-Late")), (200, ""));
    proxy
        .log_contains("hook `again` of plugin `probe` failed: ")
        .await;
}

#[tokio::test]
async fn an_attribute_whose_new_value_has_no_room_keeps_the_one_before() {
    let origin = origin::says("hello").await;
    let proxy = with_two(&origin).await;
    let full = "attribute kept before | attributes 2 32000";
    let lines = told(full) + "X-Again: fat kept 2000\r\n";
    assert_eq!(proxy.get_with("/", &lines).await.header("X-Kept"), "before");
}

#[tokio::test]
async fn of_changes_for_which_there_is_not_room_enough_none_is_made() {
    let origin = origin::says("hello").await;
    let proxy = with_two(&origin).await;
    let lines = told("attributes 2 32000")
        + "X-Again: set X-Set 1 | answer_set X-Late-Too 1 | attribute late 1 | fat kept 2000\r\n";
    let response = proxy.get_with("/", &lines).await;
    assert_eq!(origin.request().header("X-Set"), "");
    assert_eq!(response.header("X-Late-Too"), "");
    assert_eq!(response.header("X-Late"), "");
}

#[tokio::test]
async fn method_path_and_query_are_changed_and_what_was_received_stays_in_the_log() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin]))
        .server(&logging("$request|$request_uri|$uri|$args"))
        .start()
        .await;
    let told = "method PUT | path /new%20path | query a=1";
    assert_eq!(asked(&proxy, "/old?b=2", told).await.status, 200);
    let request = origin.request();
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("PUT", "/new%20path?a=1")
    );
    let line = "GET /old?b=2 HTTP/1.1|/old?b=2|/new path|a=1";
    assert_eq!(log_lines(&proxy, 1).await, [line]);
    // A query alone, and none.
    assert_eq!(asked(&proxy, "/old?b=2", "query ").await.status, 200);
    assert_eq!(origin.requests()[1].target, "/old");
}

#[tokio::test]
async fn a_later_hook_sees_the_request_as_one_before_has_changed_it() {
    let origin = origin::says("hello").await;
    let proxy = with_reader(&origin, r#"["path_seen", "variable http_x_set"]"#).await;
    let response = asked(&proxy, "/", "path_seen | path /new | set X-Set new").await;
    assert_eq!(response.header("X-Probe-Path"), "/");
    assert_eq!(response.header("X-Reader-Path"), "/new");
    assert_eq!(response.header("X-Reader-Saw"), "new");
}

#[tokio::test]
async fn changes_that_http_does_not_allow_are_refused_and_the_request_goes_on() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin])).start().await;
    for (command, function) in [
        ("set Content-Length 5", "set-request-header"),
        ("add Transfer-Encoding chunked", "add-request-header"),
        ("remove Connection", "remove-request-header"),
        ("two_lines X-One", "set-request-header"),
        ("set X(Y) 1", "set-request-header"),
        ("method NO WAY", "set-method"),
        ("path relative", "set-path"),
        ("answer_set Content-Length 5", "set-response-header"),
        ("answer_remove Transfer-Encoding", "remove-response-header"),
        ("attribute Upper 1", "set-attribute"),
        ("delay 3600001", "delay"),
    ] {
        let response = asked(&proxy, "/", command).await;
        assert_eq!(
            (response.status, response.header("X-Probe-Refused")),
            (200, "1"),
            "{command}"
        );
        proxy
            .log_contains(&format!("`changes.{function}` refused: "))
            .await;
    }
    assert!(
        origin
            .requests()
            .iter()
            .all(|request| request.header("X-Two").is_empty())
    );
}

#[tokio::test]
async fn response_headers_are_added_to_every_kind_of_answer() {
    let (origin, dead) = (
        origin::answers(|request| match request.target.as_str() {
            "/missing" => Answer::status(404, "not here"),
            _ => Answer::ok("hello"),
        })
        .await,
        origin::refuses(),
    );
    let more = format!(
        "[upstream.dead]\nservers = [\"{}\"]\n[[route]]\npath = \"/dead\"\nproxy = \"dead\"\n\
         [[route]]\npath = \"/fixed\"\nreturn = {{ body = \"fixed\" }}\n\
         [[route]]\npath = \"/away\"\nreturn = {{ location = \"/\" }}\n\
         [[route]]\npath = \"/slash/\"\nproxy = \"backend\"\n",
        dead.address()
    );
    let proxy = at_listener(proxy::to([&origin])).more(&more).start().await;
    for (target, status) in [
        ("/", 200),
        ("/missing", 404),
        ("/dead", 502),
        ("/fixed", 200),
        ("/away", 302),
        ("/slash", 301),
    ] {
        let response = asked(&proxy, target, "answer_set X-Seen yes").await;
        assert_eq!(
            (response.status, response.header("X-Seen")),
            (status, "yes"),
            "{target}"
        );
        let mut http2 = Http2::connect(proxy.address()).await;
        let lines = [
            ("x-probe", "answer_set X-Seen yes"),
            ("x-probe-response", "status"),
        ];
        let response = http2.ask("GET", target, &lines).await;
        assert_eq!(
            (response.status, response.header("X-Seen")),
            (status, "yes"),
            "{target}"
        );
        let local = if matches!(target, "/" | "/missing") {
            ""
        } else {
            " local"
        };
        assert_eq!(
            response.header("X-Probe-Status"),
            format!("{status}{local}")
        );
    }
}

#[tokio::test]
async fn an_answer_to_a_request_without_a_route_has_a_listener_s_headers_too() {
    let origin = origin::says("hello").await;
    let proxy = at_listener(proxy::to([&origin]))
        .route("path = \"/only\"")
        .start()
        .await;
    let response = asked(&proxy, "/", "answer_set X-Seen yes").await;
    assert_eq!((response.status, response.header("X-Seen")), (404, "yes"));
}

#[tokio::test]
async fn a_switch_of_protocols_has_response_headers_too() {
    let origin = origin::answers(|_| {
        Answer::raw("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
    })
    .await;
    let proxy = at_route(proxy::to([&origin])).start().await;
    let mut client = proxy.client().await;
    let head = format!(
        "GET / HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: x\r\n{}\r\n",
        told("answer_set X-Seen yes")
    );
    client.send(head).await;
    let response = client.response_head().await;
    assert_eq!((response.status, response.header("X-Seen")), (101, "yes"));
}

#[tokio::test]
async fn a_fault_of_a_grpc_call_has_response_headers_too() {
    let dead = origin::refuses();
    let proxy = at_route(proxy::to([&dead]))
        .upstream("http2 = true")
        .start()
        .await;
    let mut http2 = Http2::connect(proxy.address()).await;
    let lines = [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("x-probe", "answer_set X-Seen yes"),
    ];
    let mut stream = http2.begin("POST", "/service/method", &lines).await;
    stream.send("", true);
    let response = stream.response().await;
    assert_eq!((response.status, response.header("X-Seen")), (200, "yes"));
    assert_eq!(response.header("grpc-status"), "14");
}

#[tokio::test]
async fn a_route_s_response_headers_have_the_last_word() {
    let origin = origin::answers(|_| Answer::ok("hello").header("X-Old", "1")).await;
    let proxy = at_route(proxy::to([&origin]))
        .route("response_headers = { set = { X-One = \"route\" } }")
        .start()
        .await;
    let told = "answer_set X-One hook | answer_set X-Two hook | answer_remove X-Old";
    let response = asked(&proxy, "/", told).await;
    assert_eq!(response.headers.all("X-One"), ["route"]);
    assert_eq!(response.headers.all("X-Two"), ["hook"]);
    assert!(response.headers.all("X-Old").is_empty());
}

#[tokio::test]
async fn a_hook_sees_the_answer_that_counts_and_no_interim_one_or_failed_try() {
    let hints = origin::answers(|_| {
        Answer::raw("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    })
    .await;
    let fails = origin::answers(|_| Answer::status(503, "not me")).await;
    let proxy = at_route(proxy::to([
        fails.with("max_fails = 0"),
        hints.with("max_fails = 0"),
    ]))
    .server("workers = 1")
    .upstream("next_upstream = [\"error\", \"http_503\"]")
    .start()
    .await;
    for _ in 0..2 {
        let mut http2 = Http2::connect(proxy.address()).await;
        let lines = [("x-probe", "count"), ("x-probe-response", "status")];
        let response = http2.ask("GET", "/", &lines).await;
        assert_eq!(response.text(), "ok");
        assert_eq!(response.headers.all("X-Probe-Status"), ["200"]);
    }
}

#[tokio::test]
async fn changes_are_the_same_on_http2_to_both_sides() {
    let origin = http2::says("hello").await;
    let proxy = at_listener(proxy::to([&origin]))
        .upstream("http2 = true")
        .start()
        .await;
    let mut http2 = Http2::connect(proxy.address()).await;
    let lines = [(
        "x-probe",
        "set Host other.example | path /new | query q=1 | method PUT | set X-Set new | answer_set X-Seen yes",
    )];
    let response = http2.ask("GET", "/old", &lines).await;
    assert_eq!(
        (response.text().as_str(), response.header("X-Seen")),
        ("hello", "yes")
    );
    let request = origin.request();
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("PUT", "/new?q=1")
    );
    assert_eq!(request.header("X-Set"), "new");
}

#[tokio::test]
async fn notes_are_in_the_log_and_have_a_bound() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin]))
        .server(&logging("$plugin_note"))
        .start()
        .await;
    asked(&proxy, "/", "note one | note two").await;
    assert_eq!(log_lines(&proxy, 1).await, ["one; two"]);
    asked(&proxy, "/", "notes 2000 more").await;
    let line = &log_lines(&proxy, 2).await[1];
    assert!((1000..=1024).contains(&line.len()), "{} bytes", line.len());
}

/// No log asks for them.
#[tokio::test]
async fn notes_are_in_what_clients_get_of_them() {
    let origin = origin::says("hello").await;
    let variable = "[variable.why]\nfrom = \"$plugin_note\"\nmap = { \"one; two\" = \"both\" }\n";
    for (value, expected) in [("$plugin_note", "one; two"), ("$why", "both")] {
        let headers = format!("response_headers = {{ set = {{ X-Why = \"{value}\" }} }}");
        let setup = at_route(proxy::to([&origin])).route(&headers);
        let proxy = setup.more(variable).start().await;
        let answer = asked(&proxy, "/", "note one | note two").await;
        assert_eq!(answer.header("X-Why"), expected);
    }
}
