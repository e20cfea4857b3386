//! Servers change through the admin API, until the next reload makes the file true again.

use super::*;

const SERVERS: &str = "/upstreams/backend/servers";

/// A change that must be made.
async fn change(proxy: &Proxy, method: &str, path: &str, body: &str) {
    let response = proxy.admin(method, path, body).await;
    assert_eq!(response.status, 200, "{method} {path}: {}", response.text());
}

/// The names of the servers that answer so many requests.
async fn answers(proxy: &Proxy, number: usize) -> Vec<String> {
    let mut answers = Vec::new();
    for _ in 0..number {
        answers.push(proxy.get("/").await.text());
    }
    answers
}

fn of(answers: &[String], origin: &Origin) -> usize {
    answers
        .iter()
        .filter(|name| *name == origin.address())
        .count()
}

#[tokio::test]
async fn servers_are_added_weighed_drained_and_removed_until_the_next_reload() {
    let (a, b) = (origin::named().await, origin::named().await);
    let proxy = proxy::to([&a]).more(ADMIN).start().await;
    let of_b = format!("{SERVERS}/{}", b.address());
    let mut kept_open = proxy.client().await;
    assert_eq!(kept(&mut kept_open, "/").await, a.address());

    let body = format!("{{\"address\": \"{}\"}}", b.address());
    change(&proxy, "POST", SERVERS, &body).await;
    assert_eq!(of(&answers(&proxy, 10).await, &b), 5);
    change(&proxy, "PATCH", &of_b, "{\"weight\": 4}").await;
    assert_eq!(of(&answers(&proxy, 10).await, &b), 8);
    change(&proxy, "PATCH", &of_b, "{\"down\": true}").await;
    assert_eq!(of(&answers(&proxy, 10).await, &b), 0);
    let server = proxy.server(b.address()).await;
    assert_eq!(
        (&server["down"], &server["weight"]),
        (&true.into(), &4.into())
    );
    change(&proxy, "PATCH", &of_b, "{\"down\": false}").await;
    assert_eq!(of(&answers(&proxy, 10).await, &b), 8);
    let of_a = format!("{SERVERS}/{}", a.address());
    change(&proxy, "DELETE", &of_a, "").await;
    assert_eq!(of(&answers(&proxy, 10).await, &b), 10);
    assert_eq!(kept(&mut kept_open, "/").await, b.address());

    proxy.reload().await;
    assert_eq!(of(&answers(&proxy, 10).await, &a), 10);
    assert_eq!(kept(&mut kept_open, "/").await, a.address());
}

#[tokio::test]
async fn a_change_leaves_the_other_servers_as_they_were() {
    let gate = Gate::closed();
    let busy = holding(Answer::ok("done"), &gate).await;
    let bad = origin::answers(|_| Answer::raw("").then_close()).await;
    let third = origin::says("third").await;
    let proxy = proxy::to([&busy, &bad]).more(ADMIN).start().await;
    let mut client = waiting(proxy.address(), &busy).await;
    assert_eq!(proxy.get("/").await.text(), "at once");
    let body = format!("{{\"address\": \"{}\"}}", third.address());
    change(&proxy, "POST", SERVERS, &body).await;
    assert_eq!(proxy.server(busy.address()).await["in_flight"], 1);
    assert_eq!(proxy.server(bad.address()).await["in_rotation"], false);
    // A draining server finishes what it has.
    let of_busy = format!("{SERVERS}/{}", busy.address());
    change(&proxy, "PATCH", &of_busy, "{\"down\": true}").await;
    assert_eq!(proxy.get("/").await.text(), "third");
    gate.open();
    assert_eq!(client.response().await.text(), "done");
}

#[tokio::test]
async fn what_cannot_be_changed_is_told_and_nothing_has_changed() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let known = format!("{SERVERS}/{}", origin.address());
    let itself = format!("{{\"address\": \"{}\"}}", origin.address());
    let unknown = format!("{SERVERS}/127.0.0.1:1");
    let cases = [
        (
            "POST",
            "/upstreams/nobody/servers",
            "{\"address\": \"127.0.0.1:1\"}",
            404,
        ),
        ("PATCH", &*unknown, "{\"weight\": 2}", 404),
        ("DELETE", &*unknown, "", 404),
        ("GET", "/upstreams/nobody", "", 404),
        ("POST", SERVERS, &*itself, 409),
        ("DELETE", &*known, "", 409),
        ("PATCH", &*known, "{\"weight\": 0}", 422),
        ("PATCH", &*known, "{\"weight\": 65536}", 422),
        ("PATCH", &*known, "{\"wieght\": 2}", 422),
        ("POST", SERVERS, "{}", 422),
        ("POST", SERVERS, "{\"address\": \"127.0.0.1:99999\"}", 422),
        (
            "POST",
            SERVERS,
            "{\"address\": \"127.0.0.1:1\", \"wieght\": 2}",
            422,
        ),
    ];
    let before = proxy.shows("/upstreams").await;
    for (method, path, body, status) in cases {
        let response = proxy.admin(method, path, body).await;
        let what = format!("{method} {path} {body}: {}", response.text());
        assert_eq!(response.status, status, "{what}");
        assert!(
            response.json()["error"]
                .as_str()
                .is_some_and(|error| !error.is_empty()),
            "{what}"
        );
    }
    assert_eq!(proxy.shows("/upstreams").await, before);
    assert_eq!(proxy.shows("/status").await["generation"], 1);
}

#[tokio::test]
async fn that_no_server_is_left_to_take_requests_is_warned_of_and_done() {
    let (a, b) = (origin::named().await, origin::named().await);
    let proxy = proxy::to([&a, &b]).more(ADMIN).start().await;
    let (of_a, of_b) = (
        format!("{SERVERS}/{}", a.address()),
        format!("{SERVERS}/{}", b.address()),
    );
    let warning = "no server of upstream `backend` is left to take requests";
    for (method, path, body, warned) in [
        ("PATCH", &of_a, "{\"down\": true}", false),
        ("PATCH", &of_b, "{\"down\": true}", true),
        // Whatever leaves it so.
        ("PATCH", &of_b, "{\"down\": false}", false),
        ("DELETE", &of_b, "", true),
    ] {
        let response = proxy.admin(method, path, body).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let warnings = response.json()["warnings"].to_string();
        assert_eq!(
            warnings.contains(warning),
            warned,
            "{method} {path}: {warnings}"
        );
    }
    proxy.log_contains(warning).await;
    assert_eq!(proxy.get("/").await.status, 502);
    let response = proxy.admin("PATCH", &of_a, "{\"down\": false}").await;
    assert!(response.json().get("warnings").is_none());
    assert_eq!(proxy.get("/").await.status, 200);
}
