//! What cannot be tried is refused, and what serves and what is tried go on.

use super::{asks, balanced, first, hooked, last, origins, tried, tries, turns};
use crate::hooks;

#[tokio::test]
async fn wrong_terms_a_wrong_file_and_an_unknown_plugin() {
    let origins = origins(2).await;
    let proxy = balanced(&last(), "", &origins).await;
    tried(&proxy, "canary?share=100%25&imbalance=off", &first()).await;
    for (query, reason) in [
        ("", "`share` is missing"),
        ("?share=5", "`5` is no share"),
        ("?share=0%25", "more than `0%`"),
        ("?share=101%25", "`100%` at most"),
        ("?share=5%25&after=x", "`after` is a number"),
        ("?share=5%25&latency=fast", "`fast` is no share"),
        ("?share=5%25&colour=5%25", "there is no rail `colour`"),
    ] {
        let answer = tries(&proxy, &format!("canary{query}"), &turns(1)).await;
        assert_eq!(answer.status, 422, "{query}");
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(reason), "{query}: {error}");
    }
    for (component, reason) in [
        (b"nothing".to_vec(), "no webassembly"),
        (hooks::in_mode("plain"), "does not grant"),
        (
            crate::misbehaving::in_mode("refuses_its_settings"),
            "on trial: no settings would please me",
        ),
        (
            crate::misbehaving::in_mode("traps_in_configure"),
            "on trial: plugin `mine` failed",
        ),
    ] {
        for way in ["shadow", "canary?share=5%25"] {
            let answer = tries(&proxy, way, &component).await;
            assert_eq!(answer.status, 422, "{}", answer.text());
            let error = answer.json()["error"].as_str().unwrap().to_owned();
            assert!(error.contains(reason), "{error}");
        }
    }
    let same = tries(&proxy, "shadow", &last()).await;
    assert_eq!(same.status, 409);
    assert!(
        same.text().contains("has this very content already"),
        "{}",
        same.text()
    );
    assert_eq!(
        proxy.get("/").await.text(),
        origins[0].address(),
        "the canary goes on"
    );
    for (name, status) in [("nobody", 404), ("round_robin", 409)] {
        let answer = proxy
            .admin("POST", &format!("/plugins/{name}/shadow"), "")
            .await;
        assert_eq!(answer.status, status, "{}", answer.text());
        let answer = proxy
            .admin("POST", &format!("/plugins/{name}/promote"), "")
            .await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_file_of_another_kind() {
    let origin = waypost_tests::origin::says("hello").await;
    let proxy = hooked(&hooks::in_mode("plain"), &origin).await;
    let answer = tries(&proxy, "shadow", &turns(1)).await;
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("is no hook"), "{}", answer.text());
    assert_eq!(proxy.get("/").await.text(), "hello");
}

#[tokio::test]
async fn nothing_is_promoted_or_withdrawn_where_nothing_is_tried() {
    let origins = origins(1).await;
    let proxy = balanced(&turns(1), "", &origins).await;
    for what in ["promote", "withdraw"] {
        let answer = asks(&proxy, what).await;
        assert_eq!(answer.status, 409);
        assert!(
            answer.text().contains("nothing is on trial"),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_plugin_that_nothing_uses() {
    let origins = origins(1).await;
    let proxy = balanced(&turns(1), "[plugin.idle]\nfile = \"mine.wasm\"", &origins).await;
    let answer = proxy.send_version("idle", "shadow", &turns(2)).await;
    assert_eq!(answer.status, 422);
    assert!(
        answer.text().contains("nothing uses `idle`"),
        "{}",
        answer.text()
    );
}

/// What it does while it waits cannot be taken back.
#[tokio::test]
async fn a_hook_that_waits_is_no_shadow() {
    let origin = waypost_tests::origin::says("hello").await;
    let asker = |number| {
        let file = waypost_tests::plugin("asker", "wasm32-wasip2");
        let mut bytes = std::fs::read(file).expect("cargo has built it");
        bytes.extend([0, 2, 1, number]);
        bytes
    };
    let setup = waypost_tests::proxy::to([&origin]).route("hooks = [\"mine\"]");
    std::fs::write(setup.directory().join("mine.wasm"), asker(1)).unwrap();
    let grants =
        "grants = [\"request\", \"response\", \"exchange\", \"changes\", \"bodies\", \"http\"]";
    let entry = format!("[plugin.mine]\nfile = \"mine.wasm\"\n{grants}");
    let setup = setup.more(&entry).more(waypost_tests::admin::ADMIN);
    let proxy = setup.start().await;
    let answer = tries(&proxy, "shadow", &asker(2)).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(
        answer.text().contains("it cannot be a shadow: it waits"),
        "{}",
        answer.text()
    );
    tried(&proxy, "canary?share=50%25", &asker(2)).await;
}
