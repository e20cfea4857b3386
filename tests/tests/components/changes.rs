//! Other versions of components, while requests come in.

use waypost_tests::Load;

use super::answered_by_probe;

/// The probe, as another version.
fn next_version() -> Vec<u8> {
    let file = waypost_tests::plugin("web_probe", "wasm32-unknown-unknown");
    let mut component = std::fs::read(file).expect("it is built");
    component.extend([0, 2, 1, b'2']); // a section that means nothing
    component
}

#[tokio::test]
async fn a_version_that_is_loaded_answers_from_then_on_and_no_request_fails() {
    let proxy = answered_by_probe("", "", "").await;
    let load = Load::start(proxy.address(), 2);
    let answer = proxy.load_plugin("probe", &next_version()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["version"], 2);
    proxy.reload().await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(proxy.shows("/plugins/probe").await["version"], 2);
}

#[tokio::test]
async fn another_version_is_loaded_and_not_tried() {
    let proxy = answered_by_probe("", "", "").await;
    let component = next_version();
    for way in ["shadow", "canary?share=5%25"] {
        let answer = proxy.send_version("probe", way, &component).await;
        assert_eq!(answer.status, 422, "{way}");
        let error = answer.text();
        assert!(
            error.contains("load the other version instead"),
            "{way}: {error}"
        );
    }
    assert_eq!(proxy.get("/status/200").await.status, 200);
}

#[tokio::test]
async fn an_answer_that_has_begun_is_finished_by_the_version_that_began_it() {
    let proxy = answered_by_probe("", "", "").await;
    let mut client = proxy.client().await;
    client
        .send("GET /paced/4/300 HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    client.response_head().await;
    let answer = proxy.load_plugin("probe", &next_version()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // By an instance of its own, which has had no other request.
    assert_eq!(proxy.get("/count").await.text(), "1");
    let mut body = Vec::new();
    client.wire.chunked(&mut body).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&body).matches("data").count(), 4);
}

#[tokio::test]
async fn instances_are_used_again_where_the_route_says_so_and_survive_a_reload() {
    let route = "component = { plugin = \"probe\", reuse = true }";
    let proxy = answered_by_probe("", route, "").await;
    for count in 1..=3 {
        assert_eq!(proxy.get("/count").await.text(), count.to_string());
    }
    proxy.append("[upstream.more]\nservers = [\"127.0.0.1:1\"]\n");
    proxy.reload().await;
    assert_eq!(proxy.get("/count").await.text(), "4");
}

#[tokio::test]
async fn each_request_has_an_instance_of_its_own_unless_the_route_says_otherwise() {
    let proxy = answered_by_probe("", "", "").await;
    let mut client = proxy.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/count").await.text(), "1");
    }
}

#[tokio::test]
async fn a_route_gets_another_environment_by_a_reload() {
    let route = "component = { plugin = \"probe\", environment = { GREETING = \"hello\" } }";
    let proxy = answered_by_probe("", route, "").await;
    assert!(proxy.get("/environment").await.text().contains("hello"));
    proxy.edit("hello", "good bye");
    proxy.reload().await;
    assert!(proxy.get("/environment").await.text().contains("good bye"));
}
