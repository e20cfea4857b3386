//! What the commands of a trial do, and what they and the list say of it.

use waypost_tests::Proxy;

use super::{balanced, first, last, mine, origins, trial};

/// What a command prints, which must go well.
fn command(proxy: &Proxy, arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(waypost_tests::waypost());
    command.arg("plugin").args(arguments);
    command.args(["--admin", &proxy.admin_address()]);
    command.current_dir(proxy.directory());
    let (code, out, err) = waypost_tests::child::run(command);
    assert_eq!(code, 0, "{arguments:?}: {out}{err}");
    out
}

#[tokio::test]
async fn commands_try_promote_and_withdraw_and_the_list_shows_both_versions() {
    let origins = origins(2).await;
    let proxy = balanced(&last(), "", &origins).await;
    std::fs::write(proxy.directory().join("v2.wasm"), first()).unwrap();
    let terms = [
        "--share",
        "100%",
        "--imbalance",
        "off",
        "--after",
        "7",
        "--errors",
        "2.5%",
    ];
    let said = command(
        &proxy,
        &[&["canary", "mine", "v2.wasm"][..], &terms].concat(),
    );
    assert!(
        said.contains("`mine` has a canary of 100%: version 2 ("),
        "{said}"
    );
    let alone = "nothing to compare with: of its rails, `faults` alone can end it";
    proxy.log_contains(alone).await;
    assert!(said.contains("nothing to compare with"), "{said}");
    let rails = trial(&proxy).await["rails"].take();
    assert_eq!(
        (&rails["after"], &rails["errors"]),
        (&"7".into(), &"2.5%".into())
    );
    assert_eq!(
        (&rails["imbalance"], &rails["latency"]),
        (&"off".into(), &"150%".into())
    );
    assert_eq!(proxy.get("/").await.text(), origins[0].address());
    let listed = command(&proxy, &["list", "mine"]);
    assert!(listed.contains("  serving  0 exchanges"), "{listed}");
    assert!(
        listed.contains("  canary   1 exchanges, 0 errors, "),
        "{listed}"
    );
    command(&proxy, &["withdraw", "mine"]);
    let said = command(&proxy, &["shadow", "mine", "v2.wasm"]);
    assert!(said.contains("`mine` has a shadow: version 3 ("), "{said}");
    assert_eq!(proxy.get("/").await.text(), origins[1].address());
    let listed = command(&proxy, &["list", "mine"]);
    assert!(
        listed.contains("0 decisions agreed, 1 differed"),
        "{listed}"
    );
    assert!(
        listed.contains("version 2 withdrawn: by command"),
        "{listed}"
    );
    let said = command(&proxy, &["promote", "mine"]);
    let (present, before) = said.split_once(" serves since ").unwrap();
    assert!(present.starts_with("plugin `mine`: version 3 ("), "{said}");
    let before = before.split_once(", ").unwrap().1;
    let came = "promoted from a shadow, in place of version 1 (";
    assert!(before.starts_with(came), "{said}");
    assert_eq!(proxy.get("/").await.text(), origins[0].address());
    let listed = command(&proxy, &["list", "mine"]);
    assert!(listed.contains(&said), "{listed}");
    let shown = mine(&proxy).await;
    assert_eq!(shown["promoted_from"], "shadow");
    let last = shown["history"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["version"], &last["event"]),
        (&3.into(), &"promoted".into())
    );
    assert_eq!(last["last"], shown["since"]);

    let said = command(&proxy, &["rollback", "mine"]);
    assert!(said.starts_with("plugin `mine`: version 1 ("), "{said}");
    assert!(said.contains(") serves again since "), "{said}");
    assert!(said.contains(", rolled back from version 3 ("), "{said}");
    assert_eq!(proxy.get("/").await.text(), origins[1].address());
    assert_eq!(mine(&proxy).await["promoted_from"], serde_json::Value::Null);
}
