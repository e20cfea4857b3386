//! What hooks do beside letting a request pass: they ask upstreams, and are asked about answers.

use waypost_tests::{Client, Origin, not_yet};

use super::*;
use crate::hooks::GRANTS;
use crate::hooks::waiting::{WAYS, at_route};

/// The requests that a hook has made, in the order that they came to an end.
fn made(spans: &[Value]) -> Vec<&Value> {
    let of = |span: &&Value| attribute(span, "waypost.upstream") == "other";
    let all = spans.iter().filter(|span| span["kind"] == "CLIENT");
    all.filter(of).collect()
}

#[track_caller]
fn is_told(request: &waypost_tests::Request, span: &Value) {
    let [trace, id] = ["trace", "span"].map(|key| span[key].as_str().unwrap());
    assert_eq!(request.header("traceparent"), format!("00-{trace}-{id}-01"));
}

#[tokio::test]
async fn a_request_of_a_hook_is_a_child_of_the_hook_s_span_and_tells_its_server_so() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let (app, other) = (origin::says("app").await, origin::says("other").await);
    let proxy = at_route(proxy::to([&app]), &other.with(""), "")
        .more(&collector.over_http(""))
        .start()
        .await;
    for (number, way) in WAYS.into_iter().enumerate() {
        let headers = format!("{way}X-Ask: get other /a?token=1\r\n");
        assert_eq!(proxy.get_with("/", &headers).await.status, 200);
        let spans = collector.spans(6 * (number + 1)).await;
        let spans = &spans[6 * number..];
        let own = only(spans, "kind", "SERVER");
        let mut hooks = spans.iter().filter(|span| span["name"] == "hook asker");
        let hook = hooks.find(|hook| attribute(hook, "waypost.phase") == "request");
        let hook = hook.unwrap();
        assert_eq!(hook["parent"], own["span"]);
        let made = made(spans);
        assert_eq!(made.len(), 1, "{spans:#?}");
        assert_eq!(made[0]["trace"], own["trace"]);
        assert_eq!(made[0]["parent"], hook["span"]);
        assert_eq!(made[0]["name"], "GET");
        assert_eq!(attribute(made[0], "http.response.status_code"), 200);
        assert_eq!(attribute(made[0], "server.address"), "127.0.0.1");
        assert_eq!(made[0]["error"], false);
        assert!(!made[0].to_string().contains("token"), "{}", made[0]);
        is_told(&other.requests()[number], made[0]);
    }
}

#[tokio::test]
async fn a_request_of_a_hook_that_comes_to_nothing_says_why() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let (app, other) = (origin::says("app").await, origin::refuses());
    let proxy = at_route(proxy::to([&app]), &other.with(""), "")
        .more(&collector.over_http(""))
        .start()
        .await;
    proxy.get_with("/", "X-Ask: get other /\r\n").await;
    let spans = collector.spans(6).await;
    let made = made(&spans);
    assert_eq!(attribute(made[0], "error.type"), "connect");
    assert_eq!(made[0]["error"], true);
    assert!(
        made[0]["message"].as_str().unwrap().contains("connect()"),
        "{}",
        made[0]
    );
}

#[tokio::test]
async fn a_request_that_its_hook_has_left_is_told_of_after_its_exchange() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let gate = waypost_tests::Gate::closed();
    let (app, held) = (origin::says("app").await, gate.clone());
    let other: Origin = origin::answers(move |_| Answer::status(503, "busy").when(&held)).await;
    let proxy = proxy::to([&app])
        .route("hooks = [{ plugin = \"mirror\", upstream = \"other\" }]")
        .more(&format!(
            "[upstream.other]\nservers = [{}]\n",
            other.with("")
        ))
        .more(&collector.over_http(""))
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "app");
    let spans = collector.spans(4).await;
    assert!(made(&spans).is_empty(), "{spans:#?}");
    other.received(1).await;
    gate.open();
    let spans = collector.spans(5).await;
    let made = made(&spans);
    assert_eq!(
        made[0]["parent"],
        only(&spans, "name", "hook mirror")["span"]
    );
    assert_eq!(attribute(made[0], "error.type"), "503");
    is_told(&other.requests()[0], made[0]);
}

#[tokio::test]
async fn requests_of_hooks_are_told_what_is_not_sampled_and_nothing_where_nothing_is_traced() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let (app, other) = (origin::says("app").await, origin::says("other").await);
    let proxy = at_route(proxy::to([&app]), &other.with(""), "")
        .more(&collector.over_http("sample = \"0%\""))
        .more(
            "[[route]]\npath = \"/off\"\ntraces = false\nproxy = \"backend\"\n\
             hooks = [{ plugin = \"asker\", upstreams = [\"other\"] }]\n",
        )
        .start()
        .await;
    let ask = "X-Ask: get other /\r\n";
    proxy.get_with("/", ask).await;
    let told = other.requests()[0].header("traceparent").to_owned();
    assert!(told.ends_with("-00"), "{told}");
    // Of the same trace as the request itself, whose server is told as well.
    let of_request = app.requests()[0].header("traceparent").to_owned();
    assert_eq!(told[..35], of_request[..35]);
    proxy.get_with("/off", ask).await;
    assert_eq!(other.requests()[1].header("traceparent"), "");
    not_yet("there is a span", collector.spans(1)).await;
}

#[tokio::test]
async fn hooks_that_are_asked_about_the_answer_have_spans_for_it() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let origin = origin::answers(|_| Answer::ok("some words").header("Content-Type", "text/html"));
    let origin = origin.await;
    let hooks =
        "hooks = [{ plugin = \"substitute\", replace = [{ text = \"words\", by = \"letters\" }] }]";
    let proxy = proxy::to([&origin])
        .route(hooks)
        .more(&collector.over_http(""))
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "some letters");
    let spans = collector.spans(6).await;
    let own = only(&spans, "kind", "SERVER");
    let of_hook: Vec<&Value> = (spans.iter())
        .filter(|span| span["name"] == "hook substitute")
        .collect();
    let phases: Vec<&str> = (of_hook.iter())
        .map(|span| attribute(span, "waypost.phase").as_str().unwrap())
        .collect();
    assert_eq!(phases, ["request", "response", "response_body"]);
    for span in &of_hook {
        assert_eq!(span["parent"], own["span"]);
        assert_eq!(attribute(span, "waypost.plugin"), "substitute");
        assert_eq!(attribute(span, "waypost.verdict"), "proceed");
    }
    assert!(attribute(of_hook[2], "waypost.calls").as_u64() >= Some(1));
    assert!(attribute(of_hook[2], "waypost.busy_ns").as_u64() >= Some(1));
}

/// A probe that does as it is told, and what is traced of a request to this server.
async fn probed(collector: &Collector, server: &Origin, guest: &str, hook: &str) -> Proxy {
    let file = plugin(guest, "wasm32-unknown-unknown");
    let table = format!(
        "[hook.probe]\nplugin = \"{guest}\"\n{hook}\n[plugin.{guest}]\nfile = \"{}\"\n{GRANTS}\n\
         max_faults = 0\nlimits = {{ deadline = \"1s\" }}\n{}",
        file.display(),
        collector.over_http("")
    );
    let setup = proxy::to([server]).route("hooks = [\"probe\"]");
    setup.more(&table).start().await
}

fn of_phase<'a>(spans: &'a [Value], phase: &str) -> &'a Value {
    let mut found = spans.iter();
    let found = found.find(|span| attribute(span, "waypost.phase") == phase);
    found.unwrap_or_else(|| panic!("no {phase} in {spans:#?}"))
}

#[tokio::test]
async fn a_hook_that_fails_at_an_answer_is_told_to_have_failed() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let server = origin::says("app").await;
    let proxy = probed(&collector, &server, "hook_probe", "response = [\"trap\"]").await;
    assert_eq!(proxy.get("/").await.text(), "app");
    let spans = collector.spans(5).await;
    let verdict = |phase| attribute(of_phase(&spans, phase), "waypost.verdict");
    assert_eq!(verdict("request"), "proceed");
    assert_eq!(verdict("response"), "failed");
    assert_eq!(of_phase(&spans, "response")["error"], true);
}

#[tokio::test]
async fn a_hook_of_a_body_that_breaks_off_has_a_span_all_the_same() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let server = origin::speaks(|mut wire, _| async move {
        wire.until(b"\r\n\r\n").await.unwrap();
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome words")
            .await;
        wire.finish_sending().await;
        wire.rest().await;
    })
    .await;
    let hook = "response = \"chunks | upper\"";
    let proxy = probed(&collector, &server, "body_probe", hook).await;
    let mut client = Client::connect(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert!(!client.cut_response().await.complete);
    let spans = collector.spans(6).await;
    let body = of_phase(&spans, "response_body");
    assert_eq!(attribute(body, "waypost.verdict"), "cut");
    assert_eq!(attribute(body, "waypost.calls"), 1);
}
