//! What is larger than a hook takes it never passes it by, whatever others read or make of it.

use waypost_tests::{Origin, origin, proxy};

use super::{chunking, hook, plugin_table, posting};

/// A hook that lets nothing pass here: no request is signed.
const SIGNED: &str = "[hook.signed]\nplugin = \"verify_signature\"\nform = \"github\"\n\
                      secret = \"s3cret\"\nlimit = \"1000\"\n";
const FORGED: &str = "X-Hub-Signature-256: sha256=\
                      00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\r\n";

fn untouched(app: &Origin) {
    assert!(app.requests().is_empty(), "nothing is passed on");
}

#[tokio::test]
async fn a_body_of_which_another_hook_has_had_more_read_is_still_too_large() {
    let app = origin::says("app").await;
    let gathers = hook("request = \"whole 5000 pass\"");
    let proxy = proxy::to([&app])
        .listen("hooks = [\"probe\"]")
        .route("hooks = [\"signed\"]")
        .more(&format!("{SIGNED}{gathers}{}", plugin_table()))
        .start()
        .await;
    for (length, status) in [(900, 401), (1001, 413), (6000, 413)] {
        let body = "x".repeat(length);
        for request in [
            posting("/", FORGED, &body),
            chunking("/", FORGED, &[&body], ""),
        ] {
            let response = proxy.exchange(request).await;
            assert_eq!(response.status, status, "{length}");
        }
    }
    untouched(&app);
}

#[tokio::test]
async fn nor_does_one_pass_that_a_hook_before_has_made_larger() {
    let app = origin::says("app").await;
    let grows = hook("request = \"whole 5000 refuse | size 2000\"");
    let proxy = proxy::to([&app])
        .route("hooks = [\"probe\", \"signed\"]")
        .more(&format!("{SIGNED}{grows}{}", plugin_table()))
        .start()
        .await;
    let response = proxy.exchange(posting("/", FORGED, "abc")).await;
    assert_eq!(response.status, 413);
    untouched(&app);
}

#[tokio::test]
async fn a_hook_that_has_not_seen_the_body_has_let_nothing_pass() {
    let (app, other) = (origin::says("app").await, origin::says("other").await);
    let proxy = proxy::to([&app])
        .route("hooks = [\"signed\"]\nerror_pages = { 413 = { route = \"large\" } }")
        .more(&format!(
            "[[route]]\nname = \"large\"\ninternal = true\nhooks = [\"signed\"]\n\
             proxy = \"http://other\"\n[upstream.other]\nservers = [{}]\n{SIGNED}",
            other.with("")
        ))
        .start()
        .await;
    let response = proxy
        .exchange(posting("/", FORGED, &"x".repeat(4000)))
        .await;
    assert_eq!(response.status, 413);
    untouched(&app);
    untouched(&other);
}
