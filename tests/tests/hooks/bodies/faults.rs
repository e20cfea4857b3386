//! Hooks that fail or misbehave in a body: before anything of the message has left it is an error, or
//! goes on without them; behind that it is cut, and never ends as if it were whole.

use waypost_tests::{Answer, Http2, Origin, Proxy, Response, eventually, origin, proxy};

use super::{chunking, get, hook, plugin_table, post, posting};

const LARGE: usize = 1 << 20;

/// `/` fails with the probe, `/skip` goes on without it.
async fn failing(origin: &Origin) -> Proxy {
    let skip = "[[route]]\npath = \"/skip\"\nproxy = \"backend\"\n\
                hooks = [{ use = \"probe\", on_error = \"skip\" }]\n";
    proxy::to([origin])
        .server("workers = 1")
        .route("hooks = [\"probe\"]")
        .more(skip)
        .more(&hook("says = true"))
        .more(&plugin_table())
        .start()
        .await
}

/// Waits until the hook is back after a fault.
async fn back(proxy: &Proxy) {
    eventually("the next instance", async || {
        proxy.get("/").await.status == 200
    })
    .await;
}

async fn told(proxy: &Proxy, target: &str, side: &str, told: &str, body: &str) -> Response {
    back(proxy).await;
    let lines = format!("X-Probe-{side}: {told}\r\n");
    let mut client = proxy.client().await;
    client.send(posting(target, &lines, body)).await;
    client.cut_response().await
}

async fn echo() -> Origin {
    origin::answers(|request| Answer::ok(&request.body)).await
}

/// Has the probe fail in all calls about bodies, once with each place.
async fn fails(fault: &str, reason: &str, cases: &[(&str, &str)]) {
    let origin = echo().await;
    // One for each fault: the pause behind a fault doubles with the next one.
    let proxy = failing(&origin).await;
    for (number, (side, manner)) in cases.iter().enumerate() {
        let call = format!("on-{}-body", side.to_lowercase());
        let (target, status) = [("/", 500), ("/skip", 200)][number % 2];
        let seen = proxy.log().len();
        let doing = format!("{manner} | {fault}");
        let response = told(&proxy, target, side, &doing, "abc").await;
        assert_eq!(response.status, status, "{side} {doing} at {target}");
        assert!(response.complete, "{side} {doing} at {target}");
        if status == 200 {
            assert_eq!(response.text(), "abc", "{side} {doing}");
        }
        let said = |log: &String| {
            let new = log.get(seen..).unwrap_or_default();
            let of_plugin = new
                .lines()
                .any(|line| line.contains(&format!("failed in `{call}`")) && line.contains(reason));
            let of_hook = new.lines().any(|line| {
                line.contains("hook `probe` of plugin `body_probe` failed")
                    && line.contains("client: 127.0.0.1")
            });
            of_plugin && of_hook
        };
        let what = format!("{side} {doing} at {target} in the log");
        proxy.stderr().wait_until(&what, said).await;
    }
}

const WHOLE: &str = "whole 100 refuse";
/// At `/`, at `/skip`, and so on in turn.
const CASES: [(&str, &str); 6] = [
    ("Request", WHOLE),
    ("Request", WHOLE),
    ("Response", "chunks"),
    ("Request", "chunks"),
    ("Request", "chunks"),
    ("Response", WHOLE),
];

#[tokio::test]
async fn a_hook_that_traps_before_anything_has_left_is_a_500_or_is_passed_over() {
    fails("trap", "unreachable", &CASES).await;
}

#[tokio::test]
async fn a_hook_that_takes_too_long_over_a_body_is_a_500_or_is_passed_over() {
    fails("loop", "deadline", &CASES[1..4]).await;
}

#[tokio::test]
async fn a_hook_that_makes_a_body_grow_without_end_is_a_500_or_is_passed_over() {
    fails("grow", "more of a body than", &CASES).await;
    fails("size 17000000", "at once at most", &CASES[1..4]).await;
}

#[tokio::test]
async fn a_hook_whose_verdict_makes_no_sense_is_a_500_or_is_passed_over() {
    fails("wait x y", "without a check", &CASES[2..4]).await;
    let reason = "neither `proceed` nor `answer`";
    fails("reroute", reason, &CASES[2..4]).await;
}

#[tokio::test]
async fn a_hook_that_traps_in_the_middle_of_an_answer_cuts_it() {
    let origin = origin::answers(|_| Answer::ok("x".repeat(LARGE))).await;
    let proxy = failing(&origin).await;
    for target in ["/", "/skip"] {
        for doing in ["chunks | upper | trap 3", "chunks | upper | trap_last"] {
            let response = told(&proxy, target, "Response", doing, "").await;
            assert_eq!(response.status, 200);
            assert!(!response.complete, "{doing} at {target}");
            assert!(response.body.len() < LARGE && response.body.iter().all(|byte| *byte == b'X'));
            back(&proxy).await;
            let mut http2 = Http2::connect(proxy.address()).await;
            let lines = [("x-probe-response", doing)];
            let request = http2.request("GET", target, &lines);
            let mut stream = http2.open(request, true).await;
            let (response, _) = stream.try_response().await.unwrap_err();
            assert!(response.body.len() < LARGE, "{doing} at {target}");
        }
    }
}

#[tokio::test]
async fn a_hook_that_has_only_watched_is_passed_over_in_the_middle_of_a_body() {
    let origin = origin::answers(|request| match request.method.as_str() {
        "GET" => Answer::ok("x".repeat(LARGE)),
        _ => Answer::ok(&request.body),
    })
    .await;
    let proxy = failing(&origin).await;
    for doing in ["watch | trap 3", "chunks | trap 3"] {
        back(&proxy).await;
        let response = get(&proxy, "/skip", doing).await;
        assert_eq!(response.body.len(), LARGE, "{doing}");
        let body = "y".repeat(LARGE);
        let response = told(&proxy, "/skip", "Request", doing, &body).await;
        assert_eq!(response.text(), body, "{doing}");
    }
}

#[tokio::test]
async fn a_request_whose_hook_traps_in_the_middle_is_not_whole_to_its_server() {
    let origin = echo().await;
    let proxy = failing(&origin).await;
    let body = "y".repeat(LARGE);
    for target in ["/", "/skip"] {
        for doing in ["chunks | upper | trap 4", "chunks | upper | trap_last"] {
            let before = origin.requests().len();
            let response = told(&proxy, target, "Request", doing, &body).await;
            assert_eq!(response.status, 500, "{doing} at {target}");
            // The ones that looked for the instance are whole.
            let whole = origin.requests()[before..]
                .iter()
                .any(|request| request.method == "POST");
            assert!(!whole, "{doing} at {target}");
        }
    }
}

#[tokio::test]
async fn a_hook_that_answers_twice_or_too_late_cuts_the_answer() {
    let origin = origin::answers(|_| Answer::ok("x".repeat(LARGE))).await;
    let proxy = failing(&origin).await;
    let response = told(&proxy, "/", "Response", "chunks | answer 1003 late", "").await;
    assert_eq!(response.status, 200);
    assert!(!response.complete && !response.text().contains("late"));
    proxy
        .log_contains("it answers, and the client has an answer already")
        .await;
    // Of a request, the first answer counts, and nothing is asked behind it.
    let doing = "chunks | answer 1003 first | answer 403 second";
    let response = told(&proxy, "/", "Request", doing, &"y".repeat(LARGE)).await;
    assert_eq!((response.status, response.text().as_str()), (403, "second"));
}

#[tokio::test]
async fn a_hook_cannot_forge_framing_by_what_it_gives() {
    let origin = origin::answers(|request| match request.body.is_empty() {
        true => Answer::ok("abc"),
        false => Answer::ok(format!("{} bytes", request.body.len())),
    })
    .await;
    let proxy = failing(&origin).await;
    let forged = "\r\n0\r\n\r\nGET /forged HTTP/1.1\r\nHost: x\r\n\r\n";
    // As header lines it cannot be told, so it comes as the body itself.
    for manner in ["whole 1000 refuse", "chunks"] {
        let doing = format!("{manner} | tag !");
        let response = post(&proxy, &doing, forged).await;
        assert_eq!(response.text(), format!("{} bytes", forged.len() + 1));
        let lines = format!("X-Probe-Request: {doing}\r\n");
        let mut client = proxy.client().await;
        client
            .send(chunking("/", &lines, &["abc", forged], ""))
            .await;
        let length = 3 + forged.len() + 1;
        assert_eq!(client.response().await.text(), format!("{length} bytes"));
        // Names that frame are refused in these calls as in others.
        let doing = format!(
            "{manner} | answer_set Content-Length 1 | answer_set Transfer-Encoding x | tag !"
        );
        let response = get(&proxy, "/", &doing).await;
        assert_eq!(response.text(), "abc!", "{manner}");
    }
    assert!(
        origin
            .requests()
            .iter()
            .all(|request| request.target != "/forged")
    );
}

#[tokio::test]
async fn a_body_that_is_held_back_for_ever_ends_empty_and_one_without_end_is_bounded_by_the_hook_s_memory()
 {
    let origin = origin::answers(|_| Answer::ok("x".repeat(LARGE))).await;
    let proxy = failing(&origin).await;
    let response = told(&proxy, "/", "Response", "chunks | drop", "").await;
    assert!(response.complete && response.text().is_empty());
    let response = told(&proxy, "/", "Request", "chunks | drop", &"y".repeat(LARGE)).await;
    assert_eq!((response.status, response.body.len()), (200, LARGE));
    // One that is held until its end is there then.
    let response = told(&proxy, "/", "Response", "chunks | hold", "").await;
    assert!(response.complete && response.body.len() == LARGE);
    // This server never ends.
    let endless = origin::speaks(|mut wire, _| async move {
        while wire.head().await.is_ok() {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            if wire.try_send(head).await.is_err() {
                return;
            }
            while wire.try_send(&chunk).await.is_ok() {}
        }
    })
    .await;
    let proxy = failing(&endless).await;
    let lines = "X-Probe-Response: chunks | hold\r\n";
    let mut client = proxy.client().await;
    client
        .send(format!("GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n"))
        .await;
    let response = client.cut_response().await;
    assert!(!response.complete || response.status == 500, "{response:?}");
    proxy.log_contains("failed in `on-response-body`").await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_costs_no_instance_and_has_its_end() {
    let origin = echo().await;
    let proxy = failing(&origin).await;
    for manner in ["whole 100000 refuse", "chunks | hold", "watch"] {
        let ends = proxy.log().matches("probe ends").count();
        let mut client = proxy.client().await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 90000\r\nX-Probe-Request: {manner}\r\n\r\nabc"
            ))
            .await;
        client.wire.was_read().await;
        drop(client);
        let said = move |log: &String| log.matches("probe ends").count() > ends;
        proxy.stderr().wait_until(manner, said).await;
    }
    // A server that breaks off in the middle of what is gathered: nothing has left yet.
    let breaks = origin::answers(|_| {
        Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc").then_close()
    })
    .await;
    let broken = failing(&breaks).await;
    let mut client = broken.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: test\r\nX-Probe-Response: whole 1000 refuse | upper\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status, 502);
    let mut client = broken.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: test\r\nX-Probe-Response: chunks | upper\r\n\r\n")
        .await;
    let response = client.cut_response().await;
    assert!(
        !response.complete && response.text() == "ABC",
        "{response:?}"
    );
    assert!(!proxy.log().contains("failed"), "{}", proxy.log());
}

#[tokio::test]
async fn an_answer_of_our_own_that_a_hook_does_not_let_pass_is_an_error_and_the_error_is_not_asked_about()
 {
    let origin = origin::says("hello").await;
    let more = "[[route]]\npath = \"/text\"\nreturn = { status = 200, body = \"text\" }\nhooks = [\"probe\"]\n";
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .more(more)
        .more(&hook(""))
        .more(&plugin_table())
        .start()
        .await;
    assert_eq!(get(&proxy, "/text", "chunks | trap").await.status, 500);
    eventually("the next instance", async || {
        get(&proxy, "/text", "none").await.status == 200
    })
    .await;
    let response = get(&proxy, "/text", "whole 10 refuse | answer 403 no").await;
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
    let response = get(&proxy, "/text", "whole 2 refuse").await;
    assert_eq!(response.status, 500);
}
