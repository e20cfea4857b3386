//! Traces: which requests have one, what is told of it, and to whom. A collector of OpenTelemetry's
//! own making decodes what is sent.

mod collectors; // that are down, slow or mad
mod export; // over either protocol, through reloads
mod context; // `traceparent` and `tracestate`
mod hooks; // what they ask, and what they are asked about answers
mod streams; // sessions
mod decisions; // in the access log
mod another; // collector

use serde_json::Value;
use waypost_tests::{Answer, Http2, Proxy, grpc, origin, peers, plugin, proxy};

/// A collector, if there is a Python for it.
struct Collector(peers::Server);

impl Collector {
    async fn start() -> Option<Collector> {
        let modules = [
            "opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc",
            "grpc",
        ];
        let python = peers::python(&modules)?;
        Some(Collector(
            peers::Server::start(&python, "otlp_collector.py").await,
        ))
    }

    /// `[traces]` that leads to it.
    fn over_http(&self, lines: &str) -> String {
        let address = self.0.address().split(' ').next().unwrap();
        format!("[traces]\nendpoint = \"http://{address}\"\n{lines}\n")
    }

    fn over_grpc(&self, lines: &str) -> String {
        let address = self.0.address().split(' ').nth(1).unwrap();
        format!("[traces]\nendpoint = \"http://{address}\"\nprotocol = \"grpc\"\n{lines}\n")
    }

    /// All spans that it has got, once there are as many.
    async fn spans(&self, number: usize) -> Vec<Value> {
        let lines = |text: &str| -> Vec<Value> {
            let lines = text.lines().filter(|line| line.starts_with('{'));
            lines
                .map(|line| serde_json::from_str(line).unwrap())
                .collect()
        };
        let is_there = |text: &String| lines(text).len() >= number && text.ends_with('\n');
        let what = format!("{number} spans");
        lines(&self.0.said().wait_until(&what, is_there).await)
    }
}

/// The only span of this kind, or name.
#[track_caller]
fn only<'a>(spans: &'a [Value], key: &str, value: &str) -> &'a Value {
    let found: Vec<_> = spans.iter().filter(|span| span[key] == value).collect();
    assert_eq!(found.len(), 1, "{key} {value}: {spans:#?}");
    found[0]
}

fn attribute<'a>(span: &'a Value, name: &str) -> &'a Value {
    &span["attributes"][name]
}

#[tokio::test]
async fn a_request_has_a_span_for_itself_its_pick_and_its_attempt() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let origin = origin::says("hello").await;
    let traces = collector.over_http(
        "service_name = \"edge\"\nresource = { \"deployment.environment.name\" = \"test\" }\n\
         headers = { authorization = \"Bearer s3cret\" }\nattributes = { \"app.tenant\" = \"$http_x_tenant\" }",
    );
    let proxy = proxy::to([&origin])
        .upstream("policy = \"round_robin\"")
        .route("path = \"/api/\"")
        .more(&traces)
        .start()
        .await;
    let lines = "User-Agent: spec\r\nX-Tenant: acme\r\n";
    let response = proxy.get_with("/api/x?secret=1", lines).await;
    assert_eq!(response.text(), "hello");

    let spans = collector.spans(3).await;
    let (own, pick, attempt) = (
        only(&spans, "kind", "SERVER"),
        only(&spans, "kind", "INTERNAL"),
        only(&spans, "kind", "CLIENT"),
    );
    for span in &spans {
        assert_eq!(span["via"], "http");
        assert_eq!(span["authorization"], "Bearer s3cret");
        assert_eq!(span["resource"]["service.name"], "edge");
        assert_eq!(span["resource"]["deployment.environment.name"], "test");
        assert_eq!(span["trace"], own["trace"]);
        assert_eq!(span["error"], false, "{span}");
        assert!(!span.to_string().contains("secret=1"), "{span}");
    }
    assert_eq!(own["parent"], "");
    assert_eq!(own["name"], "GET /api/");
    for (name, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/api/x"),
        ("url.scheme", "http"),
        ("server.address", "test"),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.1"),
        ("user_agent.original", "spec"),
        ("http.route", "/api/"),
        ("app.tenant", "acme"),
    ] {
        assert_eq!(attribute(own, name), value, "{name}");
    }
    assert_eq!(attribute(own, "http.response.status_code"), 200);
    let port: u16 = proxy.address().rsplit(':').next().unwrap().parse().unwrap();
    assert_eq!(attribute(own, "server.port"), port);

    assert_eq!(pick["parent"], own["span"]);
    assert_eq!(pick["name"], "pick backend");
    assert_eq!(attribute(pick, "waypost.policy"), "round_robin");
    assert_eq!(attribute(pick, "waypost.decision"), "policy");
    assert_eq!(attribute(pick, "waypost.endpoint"), origin.address());

    assert_eq!(attempt["parent"], own["span"]);
    assert_eq!(attempt["name"], "GET");
    assert_eq!(attribute(attempt, "server.address"), "127.0.0.1");
    assert_eq!(attribute(attempt, "http.response.status_code"), 200);
    let traceparent = format!(
        "00-{}-{}-01",
        own["trace"].as_str().unwrap(),
        attempt["span"].as_str().unwrap()
    );
    assert_eq!(origin.request().header("traceparent"), traceparent);
    assert!(own["took"].as_u64().unwrap() >= attempt["took"].as_u64().unwrap());
}

#[tokio::test]
async fn each_attempt_has_a_span_of_its_own_which_its_server_is_told() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let closes = origin::answers(|_| Answer::raw("").then_close()).await;
    let (refuses, good) = (origin::refuses(), origin::says("good").await);
    let proxy = proxy::to([&refuses, &closes, &good])
        .upstream("policy = \"round_robin\"")
        .more(&collector.over_http(""))
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "good");

    let spans = collector.spans(7).await;
    let own = only(&spans, "kind", "SERVER");
    let attempts: Vec<_> = spans
        .iter()
        .filter(|span| span["kind"] == "CLIENT")
        .collect();
    let kinds: Vec<_> = attempts
        .iter()
        .map(|attempt| attribute(attempt, "error.type").as_str().unwrap_or("none"))
        .collect();
    assert_eq!(kinds, ["connect", "reset", "none"]);
    assert_eq!(attempts[0]["error"], true);
    assert!(
        attempts[0]["message"]
            .as_str()
            .unwrap()
            .contains("connect() failed")
    );
    for (number, attempt) in attempts.iter().enumerate() {
        assert_eq!(attempt["parent"], own["span"]);
        let resent = attribute(attempt, "http.request.resend_count");
        assert_eq!(resent.as_u64().unwrap_or(0), number as u64);
    }
    for (server, attempt) in [(&closes, attempts[1]), (&good, attempts[2])] {
        let told = server.request();
        let told = told.header("traceparent").to_owned();
        assert!(
            told.contains(attempt["span"].as_str().unwrap()),
            "{told} {attempt}"
        );
        assert!(told.contains(own["trace"].as_str().unwrap()), "{told}");
    }
}

#[tokio::test]
async fn a_hook_has_a_span_and_one_that_fails_says_why() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let origin = origin::says("hello").await;
    let file = plugin("hook_probe", "wasm32-unknown-unknown");
    let more = format!(
        "[plugin.probe]\nfile = \"{}\"\ngrants = [\"request\", \"response\", \"exchange\", \"changes\", \"bodies\", \"checks\", \"files\", \"store\"]\n\
         max_faults = 0\nbudget = 100\nlimits = {{ deadline = \"1s\" }}\n{}",
        file.display(),
        collector.over_http("")
    );
    let proxy = proxy::to([&origin])
        .route("hooks = [\"probe\"]")
        .more(&more)
        .start()
        .await;
    assert_eq!(proxy.get("/").await.status, 200);
    let spans = collector.spans(5).await;
    let mut hooks = spans.iter().filter(|span| span["name"] == "hook probe");
    let hook = hooks.next().unwrap();
    assert_eq!(attribute(hook, "waypost.phase"), "request");
    assert_eq!(hook["kind"], "INTERNAL");
    assert_eq!(hook["parent"], only(&spans, "kind", "SERVER")["span"]);
    assert_eq!(attribute(hook, "waypost.plugin"), "probe");
    assert_eq!(attribute(hook, "waypost.plugin.version"), 1);
    assert_eq!(attribute(hook, "waypost.verdict"), "proceed");
    assert!(hook["took"].as_u64().unwrap() > 0);

    assert_eq!(proxy.get_with("/", "X-Probe: trap\r\n").await.status, 500);
    let spans = collector.spans(7).await;
    let mut hooks = spans.iter().filter(|span| span["name"] == "hook probe");
    let failed = hooks.next_back().unwrap();
    assert_eq!(attribute(failed, "waypost.verdict"), "failed");
    assert_eq!(attribute(failed, "error.type"), "hook");
    assert_eq!(failed["error"], true);
    let own = spans.iter().rfind(|span| span["kind"] == "SERVER").unwrap();
    assert_eq!(attribute(own, "error.type"), "hook");
    assert_eq!(own["error"], true);
}

#[tokio::test]
async fn a_route_and_a_listener_may_be_left_out_and_an_id_is_in_the_log() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let routes = "[[route]]\npath = \"/off\"\ntraces = false\nproxy = \"backend\"\n\
                  [[listen]]\naddress = \"127.0.0.1:0\"\ntraces = false\n\
                  [[route]]\npath = \"/on\"\ntraces = { context = \"ignore\" }\nproxy = \"backend\"\n";
    let origin = origin::says("hello").await;
    let log = "access_log = { path = \"{dir}/access.log\", flush = \"1s\", \
               format = \"$uri $otel_trace_id $otel_span_id $otel_parent_id\" }";
    let proxy = proxy::to([&origin])
        .server(log)
        .more(&format!("{routes}{}", collector.over_http("")))
        .start()
        .await;
    let untouched = "Traceparent: as it came\r\n";
    proxy.get_with("/off", untouched).await;
    waypost_tests::client::get_with(proxy.listener(1), "/", untouched).await;
    waypost_tests::client::get_with(proxy.listener(1), "/on", untouched).await;
    proxy.get("/").await;
    let spans = collector.spans(6).await;
    let paths: Vec<_> = spans
        .iter()
        .filter_map(|span| span["attributes"]["url.path"].as_str())
        .collect();
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert!(paths.contains(&"/on") && paths.contains(&"/"), "{paths:?}");
    for request in &origin.requests()[..3] {
        assert_eq!(request.header("traceparent"), "as it came");
    }
    let file = proxy.directory().join("access.log");
    let mut text = String::new();
    waypost_tests::eventually("four lines", async || {
        text = std::fs::read_to_string(&file).unwrap_or_default();
        text.lines().count() == 4
    })
    .await;
    assert!(text.contains("/off - - -\n"), "{text}");
    let own = spans
        .iter()
        .find(|span| span["attributes"]["url.path"] == "/")
        .unwrap();
    let ids = [
        own["trace"].as_str().unwrap(),
        own["span"].as_str().unwrap(),
    ];
    assert!(
        text.contains(&format!("/ {} {} -\n", ids[0], ids[1])),
        "{text}"
    );
}

#[tokio::test]
async fn clients_of_http_2_and_tunnels_have_traces_as_all_others() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let origin = origin::answers(|request| match request.header("upgrade") {
        "" => Answer::ok("hello"),
        _ => Answer::raw(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
        )
        .then_close(),
    })
    .await;
    let proxy = proxy::to([&origin])
        .more(&collector.over_http(""))
        .start()
        .await;
    let mut http2 = Http2::connect(proxy.address()).await;
    let response = http2.ask("PURGE", "/", &[]).await;
    assert_eq!(response.status, 200);
    let spans = collector.spans(3).await;
    let own = only(&spans, "kind", "SERVER");
    assert_eq!(own["name"], "HTTP /");
    assert_eq!(attribute(own, "http.request.method"), "_OTHER");
    assert_eq!(attribute(own, "http.request.method_original"), "PURGE");
    assert_eq!(attribute(own, "network.protocol.version"), "2");

    let mut client = proxy.client().await;
    client
        .send("GET /tunnel HTTP/1.1\r\nHost: test\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .await;
    assert_eq!(client.response_head().await.status, 101);
    client.closed().await;
    let spans = collector.spans(6).await;
    let own = spans.iter().rfind(|span| span["kind"] == "SERVER").unwrap();
    assert_eq!(attribute(own, "http.response.status_code"), 101);
    let attempt = spans.iter().rfind(|span| span["kind"] == "CLIENT").unwrap();
    assert_eq!(attempt["parent"], own["span"]);
    assert_eq!(attempt["error"], false, "{attempt}");
}

#[tokio::test]
async fn a_server_of_http_2_is_told_the_span_of_its_attempt() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let origin = waypost_tests::http2::says("hello").await;
    let refuses = origin::refuses();
    let proxy = proxy::to([&refuses, &origin])
        .upstream("http2 = true")
        .upstream("policy = \"round_robin\"")
        .more(&collector.over_grpc(""))
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    let spans = collector.spans(5).await;
    let is_good = |span: &&Value| span["kind"] == "CLIENT" && span["error"] == false;
    let good = spans.iter().find(is_good).unwrap();
    assert_eq!(attribute(good, "network.protocol.version"), "2");
    let told = origin.request();
    let told = told.header("traceparent");
    assert!(
        told.contains(good["span"].as_str().unwrap()),
        "{told} {good}"
    );
}

#[tokio::test]
async fn two_proxies_make_one_trace() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let origin = origin::says("hello").await;
    let inner = proxy::to([&origin])
        .more(&collector.over_http("service_name = \"inner\"\ncontext = \"propagate\""))
        .start()
        .await;
    let outer: Proxy = proxy::to([format!("{{ address = \"{}\" }}", inner.address())])
        .more(&collector.over_grpc("service_name = \"outer\""))
        .start()
        .await;
    assert_eq!(outer.get("/").await.text(), "hello");
    let spans = collector.spans(6).await;
    let of = |service: &str, kind: &str| {
        let mut found = spans
            .iter()
            .filter(|span| span["resource"]["service.name"] == service && span["kind"] == kind);
        found.next().unwrap()
    };
    let chain = [
        of("outer", "SERVER"),
        of("outer", "CLIENT"),
        of("inner", "SERVER"),
        of("inner", "CLIENT"),
    ];
    for pair in chain.windows(2) {
        assert_eq!(pair[0]["trace"], pair[1]["trace"]);
        assert_eq!(pair[0]["span"], pair[1]["parent"], "{pair:#?}");
    }
}

#[tokio::test]
async fn a_call_of_grpc_is_one_trace_from_its_client_to_its_server() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let server = grpc::Server::start().await;
    let proxy = proxy::to([format!("{{ address = \"{}\" }}", server.address())])
        .upstream("http2 = true")
        .more(&collector.over_grpc("context = \"propagate\""))
        .start()
        .await;
    let mut client = grpc::Client::connect(proxy.address()).await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = client
        .unary("Unary", "hello", &[("traceparent", traceparent)])
        .await;
    assert!(answer.is_ok(), "{answer:?}");
    let spans = collector.spans(3).await;
    let own = only(&spans, "kind", "SERVER");
    assert_eq!(own["trace"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(own["parent"], "b7ad6b7169203331");
    assert_eq!(attribute(own, "http.request.method"), "POST");
    assert_eq!(attribute(own, "http.response.status_code"), 200);
    let path = attribute(own, "url.path").as_str().unwrap();
    assert!(path.ends_with("/Unary"), "{path}");
    assert_eq!(only(&spans, "kind", "CLIENT")["parent"], own["span"]);
}
