//! Hooks are swapped, configured anew and removed while requests run, and none of these fails.

use waypost_tests::admin::ADMIN;
use waypost_tests::proxy::Setup;
use waypost_tests::{Answer, Gate, Load, Origin, Proxy, eventually, origin, proxy};

use super::{GRANTS, asked, begun, in_mode};

/// A proxy whose hook `mine` is read from `mine.wasm`.
async fn with(origin: &Origin, hook: &str) -> Proxy {
    let setup = proxy::to([origin]);
    write(&setup, &in_mode("plain"));
    let more = format!(
        "[plugin.mine]\nfile = \"mine.wasm\"\n{GRANTS}\nmax_faults = 0\nbudget = 100\nlimits = {{ deadline = \"1s\" }}\n\
         [hook.own]\nplugin = \"mine\"\n{hook}\n"
    );
    setup
        .listen("keepalive_requests = 1000000")
        .route("hooks = [\"own\"]")
        .more(&more)
        .more(ADMIN)
        .start()
        .await
}

fn write(setup: &Setup, content: &[u8]) {
    std::fs::write(setup.directory().join("mine.wasm"), content).unwrap();
}

/// The probe, as another version.
fn version(number: u8) -> Vec<u8> {
    [&in_mode("plain")[..], &[0, 2, 1, number]].concat()
}

async fn load(proxy: &Proxy, component: &[u8]) -> waypost_tests::Response {
    proxy.load_plugin("mine", component).await
}

/// How many requests the hook says that it was asked about.
async fn count(proxy: &Proxy) -> u64 {
    asked(proxy, "/", "count")
        .await
        .header("X-Probe-Count")
        .parse()
        .expect("it counts")
}

#[tokio::test]
async fn no_request_fails_while_hooks_are_swapped_and_the_count_goes_on() {
    let origin = origin::says("hello").await;
    let proxy = with(&origin, "").await;
    let load_of_requests = Load::start(proxy.address(), 8);
    for number in 1..=5 {
        let answer = load(&proxy, &version(number)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        proxy.edit(
            "[hook.own]",
            &format!("# {number}\n[hook.own]\nrequest = [\"set X-Number {number}\"]"),
        );
        proxy.reload().await;
        proxy.edit(&format!("request = [\"set X-Number {number}\"]\n"), "");
        proxy.reload().await;
    }
    let report = load_of_requests.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let (counted, asked) = (count(&proxy).await, report.answered.len() as u64 + 1);
    // What is asked between the export of a state and its import counts for the one before.
    assert!(
        counted <= asked && counted > asked / 2,
        "{counted} of {asked}"
    );
}

#[tokio::test]
async fn a_count_is_exact_through_changes_without_requests_between() {
    let origin = origin::says("hello").await;
    for sharing in ["", "sharing = \"$host\""] {
        let proxy = with(&origin, sharing).await;
        for number in 1..=3 {
            assert_eq!(count(&proxy).await, u64::from(number) * 2 - 1);
            assert_eq!(load(&proxy, &version(number)).await.status, 200);
            assert_eq!(count(&proxy).await, u64::from(number) * 2);
        }
    }
}

#[tokio::test]
async fn a_reload_gives_a_hook_other_settings() {
    let origin = origin::says("hello").await;
    let proxy = with(&origin, "request = [\"answer_set X-Seen one\"]").await;
    assert_eq!(proxy.get("/").await.header("X-Seen"), "one");
    proxy.edit("X-Seen one", "X-Seen two");
    proxy.reload().await;
    assert_eq!(proxy.get("/").await.header("X-Seen"), "two");
    // Of a place as well.
    proxy.edit(
        "hooks = [\"own\"]",
        "hooks = [{ use = \"own\", request = [\"answer_set X-Place 1\"] }]",
    );
    proxy.reload().await;
    assert_eq!(proxy.get("/").await.header("X-Place"), "1");
}

#[tokio::test]
async fn settings_that_a_hook_refuses_do_not_come_into_force() {
    let origin = origin::says("hello").await;
    let proxy = with(&origin, "request = [\"answer_set X-Seen one\"]").await;
    proxy.edit("request =", "requests =");
    let answer = proxy.admin("POST", "/reload", "").await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let problem = answer.json()["problems"][0].as_str().unwrap().to_owned();
    assert!(
        problem.contains("waypost.toml:") && problem.contains("requests"),
        "{problem}"
    );
    assert_eq!(proxy.get("/").await.header("X-Seen"), "one");
}

#[tokio::test]
async fn a_version_that_refuses_the_present_settings_does_not_take_over() {
    let origin = origin::says("hello").await;
    let proxy = with(&origin, "request = [\"answer_set X-Seen one\"]").await;
    let answer = load(&proxy, &in_mode("refuses")).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert!(
        answer.text().contains("no settings would please me"),
        "{}",
        answer.text()
    );
    assert_eq!(proxy.get("/").await.header("X-Seen"), "one");
    assert_eq!(count(&proxy).await, 2);
}

#[tokio::test]
async fn a_hook_that_is_removed_sees_the_requests_under_way_to_their_ends() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin::answers(move |request| match request.target.as_str() {
        "/slow" => Answer::ok("slow").when(&held),
        _ => Answer::ok("fine"),
    })
    .await;
    let proxy = with(
        &origin,
        "ledger = true\nresponse = [\"answer_set X-Seen yes\"]",
    )
    .await;
    let mut slow = begun(&proxy, "/slow", "").await;
    origin.received(1).await;
    proxy.edit("hooks = [\"own\"]", "hooks = []");
    proxy.reload().await;
    assert_eq!(proxy.get("/").await.header("X-Seen"), "");
    gate.open();
    let response = slow.response().await;
    assert_eq!(
        (response.text().as_str(), response.header("X-Seen")),
        ("slow", "yes")
    );
    proxy.log_contains(" 200 whole 4 0").await;
    assert_eq!(proxy.log().matches("ended").count(), 1, "{}", proxy.log());
    // What is left is the hook that the file still declares, and no place uses.
    eventually("its instance to go", async || {
        proxy.shows("/plugins/mine").await["instances"] == 1
    })
    .await;
}

#[tokio::test]
async fn a_file_that_changes_reaches_its_hook_without_a_reload() {
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin]);
    std::fs::write(setup.directory().join("words"), "one").unwrap();
    write(&setup, &in_mode("plain"));
    let more = format!(
        "[plugin.mine]\nfile = \"mine.wasm\"\n{GRANTS}\n[hook.own]\nplugin = \"mine\"\nfile = \"words\"\n"
    );
    let proxy = setup.route("hooks = [\"own\"]").more(&more).start().await;
    assert_eq!(
        asked(&proxy, "/", "file").await.header("X-Probe-File"),
        "one"
    );
    let words = proxy.directory().join("words");
    std::fs::write(proxy.directory().join("new"), "two").unwrap();
    std::fs::rename(proxy.directory().join("new"), &words).unwrap();
    eventually("the new words", async || {
        asked(&proxy, "/", "file").await.header("X-Probe-File") == "two"
    })
    .await;
    std::fs::remove_file(&words).unwrap();
    eventually("no words", async || {
        asked(&proxy, "/", "file")
            .await
            .header("X-Probe-File")
            .is_empty()
    })
    .await;
    std::fs::write(&words, "three").unwrap();
    eventually("words again", async || {
        asked(&proxy, "/", "file").await.header("X-Probe-File") == "three"
    })
    .await;
}
