//! `cors`: what browsers are told, whichever answer comes.

use waypost_tests::{Answer, Proxy, origin, proxy};

const APP: &str = "https://app.example.com";

async fn with_cors<S: proxy::Server>(server: S) -> Proxy {
    proxy::to([server])
        .route("hooks = [\"apps\"]")
        .more(&format!(
            "[hook.apps]\nplugin = \"cors\"\norigins = [\"{APP}\"]\nmethods = [\"PUT\"]\n\
             credentials = true\nexpose = \"X-Count\"\n"
        ))
        .start()
        .await
}

#[tokio::test]
async fn a_preflight_request_is_answered_and_reaches_no_server() {
    let origin = origin::says("hello").await;
    let proxy = with_cors(&origin).await;
    let preflight = |from: &str| {
        format!(
            "OPTIONS /x HTTP/1.1\r\nHost: t\r\nOrigin: {from}\r\n\
             Access-Control-Request-Method: PUT\r\nConnection: close\r\n\r\n"
        )
    };
    let answer = proxy.exchange(preflight(APP)).await;
    assert_eq!((answer.status, answer.text().as_str()), (204, ""));
    assert_eq!(answer.header("Access-Control-Allow-Origin"), APP);
    assert_eq!(answer.header("Access-Control-Allow-Credentials"), "true");
    assert_eq!(answer.header("Access-Control-Allow-Methods"), "PUT");
    let answer = proxy.exchange(preflight("https://evil.example")).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("Access-Control-Allow-Origin"), "");
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_server_s_own_headers_are_replaced_and_not_doubled() {
    let origin = origin::answers(|_| {
        Answer::ok("hello")
            .header("Access-Control-Allow-Origin", "*")
            .header("access-control-allow-credentials", "false")
            .header("Access-Control-Expose-Headers", "X-Secret")
            .header("Vary", "Accept")
    })
    .await;
    let proxy = with_cors(&origin).await;
    let answer = proxy.get_with("/", &format!("Origin: {APP}\r\n")).await;
    let all = |name: &str| answer.headers.all(name).join("|");
    assert_eq!(all("Access-Control-Allow-Origin"), APP);
    assert_eq!(all("Access-Control-Allow-Credentials"), "true");
    assert_eq!(all("Access-Control-Expose-Headers"), "X-Count");
    assert_eq!(all("Vary"), "Accept|Origin");
    let answer = proxy
        .get_with("/", "Origin: https://evil.example\r\n")
        .await;
    assert_eq!(answer.text(), "hello");
    assert_eq!(answer.header("Access-Control-Allow-Origin"), "");
    assert_eq!(answer.header("Access-Control-Expose-Headers"), "");
}

#[tokio::test]
async fn an_error_can_be_read_by_the_page_as_well() {
    let proxy = with_cors(&origin::refuses()).await;
    let answer = proxy.get_with("/", &format!("Origin: {APP}\r\n")).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.header("Access-Control-Allow-Origin"), APP);
}

#[tokio::test]
async fn with_any_origin_every_answer_says_so() {
    let origin = origin::answers(|request| {
        let own = Answer::ok("hello").header("Access-Control-Allow-Credentials", "true");
        match request.target.as_str() {
            "/own" => own.header("Access-Control-Allow-Origin", "https://other.example"),
            _ => own,
        }
    })
    .await;
    let proxy = proxy::to([&origin])
        .route("hooks = [{ plugin = \"cors\", origins = \"*\", expose = \"X-Count\" }]")
        .start()
        .await;
    // A cache may give the answer of one request to a page that sends another.
    for lines in ["", "Origin: https://app.example.com\r\n"] {
        for target in ["/", "/own"] {
            let answer = proxy.get_with(target, lines).await;
            let all = |name: &str| answer.headers.all(name).join("|");
            assert_eq!(answer.text(), "hello");
            assert_eq!(all("Access-Control-Allow-Origin"), "*", "{target} {lines}");
            assert_eq!(all("Access-Control-Expose-Headers"), "X-Count");
            assert_eq!(all("Access-Control-Allow-Credentials"), "");
            assert_eq!(all("Vary"), "");
        }
    }
}
