//! What commands and the admin API show of hooks.

use std::process::Command;

use waypost_tests::admin::ADMIN;
use waypost_tests::{Proxy, child, origin, proxy, waypost};

use super::{at_route, probe};

fn command(proxy: &Proxy, arguments: &[&str]) -> String {
    let mut command = Command::new(waypost());
    let file = proxy.file();
    command
        .args(arguments)
        .arg("-c")
        .arg(&file)
        .current_dir(proxy.directory());
    let (code, out, err) = child::run(command);
    assert_eq!(code, 0, "{arguments:?} said:\n{out}{err}");
    out
}

#[tokio::test]
async fn a_hook_is_listed_with_its_kind_its_uses_and_the_counters_of_its_own() {
    let origin = origin::says("hello").await;
    let more = "[hook.limit]\nplugin = \"limit_req\"\nkey = \"$remote_addr\"\nrate = \"1r/s\"\nburst = 100\nnodelay = true\n\
                [hook.unused]\nplugin = \"limit_conn\"\nkey = \"$remote_addr\"\nconnections = 1\n";
    let proxy = proxy::to([&origin])
        .route("hooks = [\"probe\", \"limit\"]")
        .more(&probe())
        .more(more)
        .more(ADMIN)
        .start()
        .await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/").await.text(), "hello");
    }
    let shown = proxy.shows("/plugins/probe").await;
    assert_eq!(shown["kinds"], serde_json::json!(["hook"]));
    assert_eq!(shown["hooks"], serde_json::json!(["probe"]));
    assert_eq!(shown["counters"], serde_json::json!({ "asked": 3 }));
    let shown = proxy.shows("/plugins/limit_req").await;
    assert_eq!(
        (shown["stock"].as_bool(), &shown["hooks"]),
        (Some(true), &serde_json::json!(["limit"]))
    );

    let listed = command(&proxy, &["plugin", "list"]);
    let line = listed
        .lines()
        .find(|line| line.starts_with("probe "))
        .expect("it is listed");
    assert!(line.contains(" hook "), "{listed}");
    assert!(
        listed
            .lines()
            .any(|line| line.starts_with("limit_req ") && line.contains(" hook ")),
        "{listed}"
    );
    assert!(
        listed
            .lines()
            .any(|line| line.starts_with("round_robin ") && line.contains(" policy ")),
        "{listed}"
    );
    let inspected = command(&proxy, &["plugin", "inspect", "probe"]);
    assert!(
        inspected
            .lines()
            .any(|line| line.starts_with("kinds") && line.ends_with(" hook")),
        "{inspected}"
    );
    assert!(
        inspected
            .lines()
            .any(|line| line.starts_with("counters") && line.ends_with("asked 3")),
        "{inspected}"
    );
    command(&proxy, &["status"]);
    command(&proxy, &["check"]);
}

#[tokio::test]
async fn counters_of_a_plugin_go_on_when_its_hook_is_configured_anew() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin])).more(ADMIN).start().await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    proxy.edit(
        "hooks = [\"probe\"]",
        "hooks = [{ plugin = \"probe\", name = \"other\" }]",
    );
    proxy.reload().await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert_eq!(proxy.shows("/plugins/probe").await["counters"]["asked"], 2);
}
