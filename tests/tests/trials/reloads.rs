//! Trials that the configuration begins, and what becomes of trials when it changes.

use std::process::Command;

use waypost_tests::{Proxy, eventually, waypost};

use super::{asks, balanced, first, hooked, last, mine, origins, served_by, trial, tried, turns};

const CANARY: &str = "canary = { file = \"v2.wasm\", share = \"100%\", imbalance = \"off\" }";

fn write(proxy: &Proxy, name: &str, component: &[u8]) {
    std::fs::write(proxy.directory().join(name), component).unwrap();
}

async fn reload(proxy: &Proxy) -> (u16, String) {
    let answer = proxy.admin("POST", "/reload", "").await;
    (answer.status, answer.text())
}

#[tokio::test]
async fn a_reload_begins_a_trial_of_the_file_keeps_it_and_ends_it() {
    let origins = origins(2).await;
    let proxy = balanced(&last(), "watch = false", &origins).await;
    proxy.edit("watch = false", CANARY);
    let (status, said) = reload(&proxy).await;
    assert_eq!(status, 422, "there is no such file");
    assert!(said.contains("v2.wasm"), "{said}");
    write(&proxy, "v2.wasm", b"nothing");
    assert_eq!(reload(&proxy).await.0, 422);
    assert!(trial(&proxy).await.is_null());
    assert_eq!(
        served_by(&proxy, origins[0].address(), 3).await,
        [] as [usize; 0]
    );
    write(&proxy, "v2.wasm", &first());
    proxy.reload().await;
    assert_eq!(served_by(&proxy, origins[0].address(), 3).await, [0, 1, 2]);
    let begun = trial(&proxy).await;
    proxy.reload().await;
    assert_eq!(
        trial(&proxy).await["since"],
        begun["since"],
        "the same trial"
    );
    proxy.edit("canary = ", "shadow = ");
    proxy.edit(", share = \"100%\", imbalance = \"off\"", "");
    proxy.reload().await;
    assert_eq!(trial(&proxy).await["manner"], "shadow");
    assert_eq!(
        served_by(&proxy, origins[0].address(), 3).await,
        [] as [usize; 0]
    );
    proxy.edit("shadow = { file = \"v2.wasm\" }", "");
    proxy.reload().await;
    assert!(trial(&proxy).await.is_null());
}

#[tokio::test]
async fn a_start_begins_a_trial_of_the_file_and_a_promotion_outlives_reloads() {
    let origins = origins(2).await;
    let setup = waypost_tests::proxy::to(&origins).upstream("policy = \"mine\"");
    std::fs::write(setup.directory().join("mine.wasm"), last()).unwrap();
    std::fs::write(setup.directory().join("v2.wasm"), first()).unwrap();
    let entry = format!(
        "[plugin.mine]\nfile = \"mine.wasm\"\ngrants = [\"request\", \"exchange\"]\n{CANARY}"
    );
    let proxy = setup
        .more(&entry)
        .more(waypost_tests::admin::ADMIN)
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), origins[0].address());
    assert_eq!(trial(&proxy).await["version"], 2);
    assert_eq!(asks(&proxy, "promote").await.json()["version"], 2);
    proxy.reload().await;
    let shown = mine(&proxy).await;
    assert_eq!(shown["version"], 2);
    assert!(shown["trial"].is_null(), "it serves already: {shown}");
    assert_eq!(proxy.get("/").await.text(), origins[0].address());
}

/// The rails of a canary would be of no use if any reload brought it back.
#[tokio::test]
async fn what_was_withdrawn_is_not_tried_again_until_it_is_something_else() {
    let origins = origins(2).await;
    let proxy = balanced(&last(), "watch = false", &origins).await;
    write(&proxy, "v2.wasm", &first());
    proxy.edit("watch = false", CANARY);
    proxy.reload().await;
    assert_eq!(asks(&proxy, "withdraw").await.status, 200);
    proxy.reload().await;
    assert!(trial(&proxy).await.is_null());
    write(&proxy, "v2.wasm", &turns(2));
    proxy.reload().await;
    assert_eq!(trial(&proxy).await["manner"], "canary");
}

#[tokio::test]
async fn a_trial_by_command_goes_on_through_reloads_unless_the_plugin_changes() {
    let origins = origins(2).await;
    let proxy = balanced(&last(), "", &origins).await;
    tried(&proxy, "canary?share=100%25&imbalance=off", &first()).await;
    let begun = trial(&proxy).await;
    proxy.append("[upstream.other]\nservers = [\"127.0.0.1:1\"]\npolicy = \"mine\"\n");
    proxy.reload().await;
    assert_eq!(trial(&proxy).await["since"], begun["since"]);
    assert_eq!(proxy.get("/").await.text(), origins[0].address());
    write(&proxy, "mine.wasm", &turns(3));
    proxy.reload().await;
    assert!(trial(&proxy).await.is_null());
    proxy.log_contains("withdrawn (canary of 100%)").await;
    tried(&proxy, "canary?share=100%25", &first()).await;
    assert_eq!(proxy.load_plugin("mine", &last()).await.status, 200);
    assert!(trial(&proxy).await.is_null(), "another version serves");
}

#[tokio::test]
async fn a_trial_of_a_hook_goes_on_through_other_settings_of_its_hook() {
    let origin = waypost_tests::origin::says("hello").await;
    let proxy = hooked(&crate::hooks::in_mode("plain"), &origin).await;
    tried(
        &proxy,
        "canary?share=100%25",
        &crate::hooks::in_mode("marks"),
    )
    .await;
    let begun = trial(&proxy).await;
    let is_marked = async || proxy.get("/").await.headers.all("X-Mode") == ["marks"];
    assert!(is_marked().await);
    proxy.edit(
        "hooks = [\"mine\"]",
        "hooks = [{ plugin = \"mine\", name = \"other\" }]",
    );
    proxy.reload().await;
    assert!(is_marked().await);
    // The settings that the reload has brought are those of the candidate as well.
    let told = proxy.get_with("/", "X-Other: count\r\n").await;
    assert_eq!(told.headers.all("X-Other-Count").len(), 1, "{told:?}");
    assert_eq!(trial(&proxy).await["since"], begun["since"]);
    assert_eq!(asks(&proxy, "withdraw").await.status, 200);
    assert!(!is_marked().await);
}

/// What goes on may refuse what comes: the reload counts, and not the trial.
#[tokio::test]
async fn a_trial_that_a_reload_leaves_nothing_to_do_ends() {
    let origins = origins(2).await;
    let proxy = balanced(&last(), "", &origins).await;
    tried(&proxy, "shadow", &first()).await;
    proxy.edit("policy = \"mine\"", "policy = \"round_robin\"");
    proxy.reload().await;
    eventually("the end of the trial", async || {
        trial(&proxy).await.is_null()
    })
    .await;
    assert_eq!(proxy.get("/").await.status, 200);
}

#[test]
fn a_check_asks_a_candidate_as_a_start_does() {
    let refuses = crate::misbehaving::in_mode("refuses_its_settings");
    let (policy, hook) = (last(), crate::hooks::in_mode("plain"));
    // It is granted less than it asks for as well, which would be no help.
    let is_hook = "error: plugin `mine` is a hook, and no policy: it does not export";
    let files = [
        (&policy, &b"nothing"[..], "no webassembly that can be read"),
        (
            &policy,
            &refuses,
            "the version of `mine` on trial: no settings would please me",
        ),
        (&policy, &hook, is_hook),
        (&hook, &policy, is_hook),
    ];
    for (plugin, candidate, reason) in files {
        let directory = tempfile::tempdir().unwrap();
        let file = format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nproxy = \"a\"\n[upstream.a]\n\
             servers = [\"127.0.0.1:1\"]\npolicy = \"mine\"\n[plugin.mine]\nfile = \"mine.wasm\"\n\
             grants = [\"request\", \"exchange\"]\n{CANARY}\n"
        );
        std::fs::write(directory.path().join("waypost.toml"), file).unwrap();
        std::fs::write(directory.path().join("mine.wasm"), plugin).unwrap();
        std::fs::write(directory.path().join("v2.wasm"), candidate).unwrap();
        for word in ["check", "run"] {
            let mut process = Command::new(waypost());
            process
                .args([word, "-c", "waypost.toml"])
                .current_dir(directory.path());
            let (code, out, err) = waypost_tests::child::run(process);
            let said = out + &err;
            assert_eq!(code, 1, "{word}: {said}");
            assert!(said.contains(reason), "{word}: {said}");
        }
    }
}

#[test]
fn what_a_file_says_wrongly_of_trials_is_found_by_a_check() {
    let pin = format!("sha256 = \"{}\"\n", "0".repeat(64));
    for (entry, reason) in [
        (
            "canary = { file = \"a\", share = \"5\" }".to_owned(),
            "`5` is no share",
        ),
        (
            "canary = { file = \"a\", share = 20 }".to_owned(),
            "must be a string, not an integer",
        ),
        (
            "canary = { file = \"a\", share = 20 }".to_owned(),
            "hint: write `share = \"20%\"`",
        ),
        (
            "canary = { file = \"a\", share = 0.2 }".to_owned(),
            "hint: write `share = \"0.2%\"`",
        ),
        (
            "canary = { file = \"a\", share = 0 }".to_owned(),
            "hint: write `share = \"5%\"`",
        ),
        (
            "canary = { file = \"a\", latency = 150 }".to_owned(),
            "hint: write `latency = \"150%\"`",
        ),
        (
            "[plugin.mine.shadow]\nfile = \"a\"\nsha265 = \"b\"".to_owned(),
            "hint: did you mean `sha256`?",
        ),
        (
            "canary = { file = \"a\", errors = \"x\" }".to_owned(),
            "`x` is no share",
        ),
        (
            "canary = { file = \"a\", after = 0 }".to_owned(),
            "`after` must be",
        ),
        (
            "canary = { share = \"5%\" }".to_owned(),
            "`file` is missing",
        ),
        (
            "shadow = { file = \"a\", share = \"5%\" }".to_owned(),
            "unknown key `share`",
        ),
        (
            "canary = { file = \"a\" }\nshadow = { file = \"b\" }".to_owned(),
            "at the same time",
        ),
        (
            "start = \"fallback\"\nshadow = { file = \"b\" }".to_owned(),
            "beside `start",
        ),
        (
            format!("{pin}shadow = {{ file = \"b\" }}"),
            "`shadow` without a `sha256`",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let file = format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nreturn = {{ status = 200 }}\n\
             [plugin.mine]\nfile = \"mine.wasm\"\n{entry}\n"
        );
        std::fs::write(directory.path().join("waypost.toml"), file).unwrap();
        let mut check = Command::new(waypost());
        check
            .args(["check", "-c", "waypost.toml"])
            .current_dir(directory.path());
        let (code, out, err) = waypost_tests::child::run(check);
        let said = out + &err;
        assert_eq!(code, 1, "{entry}: {said}");
        assert!(said.contains(reason), "{entry}: {said}");
    }
}
