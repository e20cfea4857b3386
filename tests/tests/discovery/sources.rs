//! What holds for all sources: what is kept on the disk, and what becomes of a list in a reload, an
//! upgrade and a drain.

use rustix::process::Signal;
use waypost_tests::admin::{ADMIN, request};
use waypost_tests::{Answer, Client, Load, Origin, eventually, origin, proxy};

use super::{is_refused, list, replace, serves, source};

/// The thread that reads lists panics with the first command, and then what follows this one.
#[tokio::test]
async fn a_thread_that_has_failed_begins_anew() {
    let (a, b) = (origin::named().await, origin::named().await);
    let setup = proxy::to([] as [&Origin; 0]).upstream("servers_from = { file = \"s.json\" }");
    let setup = setup.through_shell("export WAYPOST_FAULTS=discovery,list; exec \"$@\"");
    std::fs::write(setup.directory().join("s.json"), list(&[&a])).unwrap();
    let proxy = setup.more(ADMIN).start().await.panicking(2);
    for line in [
        "reading lists of servers begins anew",
        "its list is read anew after an internal error",
    ] {
        proxy.log_contains(line).await;
    }
    serves(&proxy, &[&a]).await;
    replace(proxy.directory(), "s.json", &list(&[&b]));
    serves(&proxy, &[&b]).await;
}

const KEPT: &str = "servers_from = { file = \"s.json\", keep = \"{dir}/kept.json\" }";

#[tokio::test]
async fn the_last_good_list_is_kept_for_a_start_without_the_source() {
    let a = origin::named().await;
    let setup = proxy::to([] as [&Origin; 0]).upstream(KEPT).more(ADMIN);
    let directory = setup.directory().to_owned();
    let text = format!("[{{\"address\": \"{}\", \"weight\": 3}}]", a.address());
    std::fs::write(directory.join("s.json"), text).unwrap();
    let proxy = setup.start().await;
    serves(&proxy, &[&a]).await;
    eventually("the list to be kept", async || {
        std::fs::read_to_string(directory.join("kept.json"))
            .is_ok_and(|kept| kept.contains(a.address()))
    })
    .await;
    replace(&directory, "s.json", "garbage");
    is_refused(&proxy, "no JSON").await;
    let kept = std::fs::read(directory.join("kept.json")).unwrap();
    drop(proxy);

    let setup = proxy::to([] as [&Origin; 0]).upstream(KEPT).more(ADMIN);
    std::fs::write(setup.directory().join("kept.json"), kept).unwrap();
    let proxy = setup.start().await;
    assert_eq!(proxy.get("/").await.text(), a.address());
    assert_eq!(proxy.server(a.address()).await["weight"], 3);
    let shown = source(&proxy).await;
    assert_eq!(
        (&shown["kept"], &shown["servers"]),
        (&true.into(), &1.into())
    );
}

#[tokio::test]
async fn a_kept_list_that_is_damaged_is_told_of_and_counts_for_nothing() {
    let a = origin::named().await;
    let setup = proxy::to([] as [&Origin; 0]).upstream(KEPT).more(ADMIN);
    std::fs::write(setup.directory().join("kept.json"), "{\"servers\": [").unwrap();
    let proxy = setup.start().await;
    proxy
        .log_contains("kept.json` cannot be used: it is no JSON")
        .await;
    assert_eq!(proxy.get("/").await.status, 502);
    replace(proxy.directory(), "s.json", &list(&[&a]));
    serves(&proxy, &[&a]).await;
}

#[tokio::test]
async fn a_reload_keeps_the_list_of_a_source_that_is_gone_and_takes_another_source() {
    let (a, b) = (origin::named().await, origin::named().await);
    let setup = proxy::to([] as [&Origin; 0]).upstream("servers_from = { file = \"s.json\" }");
    let directory = setup.directory().to_owned();
    std::fs::write(directory.join("s.json"), list(&[&a])).unwrap();
    std::fs::write(directory.join("other.json"), list(&[&b])).unwrap();
    let proxy = setup.more(ADMIN).start().await;
    let load = Load::start(proxy.address(), 4);
    std::fs::remove_file(directory.join("s.json")).unwrap();
    is_refused(&proxy, "no such file or directory").await;
    assert!(proxy.reload().await.is_empty());
    serves(&proxy, &[&a]).await;
    proxy.edit("s.json", "other.json");
    proxy.reload().await;
    serves(&proxy, &[&b]).await;
    proxy.edit("servers_from", "keepalive = 1 #");
    let refused = proxy.admin("POST", "/reload", "").await;
    assert_eq!(
        refused.status,
        422,
        "an upstream without any: {}",
        refused.text()
    );
    serves(&proxy, &[&b]).await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
}

/// The list changes while a reload waits for its file, and counts behind it.
#[tokio::test]
async fn a_list_that_changes_during_a_reload_counts() {
    let (a, b) = (origin::named().await, origin::named().await);
    let setup = proxy::to([] as [&Origin; 0]).upstream("servers_from = { file = \"s.json\" }");
    std::fs::write(setup.directory().join("s.json"), list(&[&a])).unwrap();
    let proxy = setup.more(ADMIN).start().await;
    let load = Load::start(proxy.address(), 2);
    let mut held = proxy.hold_file();
    proxy.signal(Signal::HUP);
    held.is_read().await;
    replace(proxy.directory(), "s.json", &list(&[&b]));
    proxy
        .log_contains(&format!("lists {} now", b.address()))
        .await;
    held.release();
    serves(&proxy, &[&b]).await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
}

/// Other changes are made meanwhile, and take nothing away from it.
#[tokio::test]
async fn a_reload_that_waits_for_a_source_holds_up_no_other_change() {
    let (a, b) = (origin::named().await, origin::named().await);
    let gate = waypost_tests::Gate::closed();
    let (opened, listed) = (gate.clone(), list(&[&b]));
    let registry = origin::answers(move |_| Answer::ok(listed.clone()).when(&opened)).await;
    let proxy = proxy::to([&a]).more(ADMIN).start().await;
    proxy.append(&format!(
        "[upstream.new]\nservers_from = {{ http = \"http://{}/\", timeout = \"30s\" }}\n\
         [[route]]\npath = \"/new\"\nproxy = \"new\"",
        registry.address()
    ));
    let mut waits = Client::connect(&proxy.admin_address()).await;
    waits.send(request("POST", "/reload", "")).await;
    registry.received(1).await;
    let server = format!("/upstreams/backend/servers/{}", a.address());
    let changed = proxy.admin("PATCH", &server, "{\"weight\": 2}").await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    gate.open();
    let reloaded = waits.response().await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert_eq!(proxy.get("/new").await.text(), b.address());
}

#[tokio::test]
async fn an_upgrade_hands_on_the_list_of_a_source_that_is_gone() {
    let a = origin::named().await;
    let setup = proxy::to([] as [&Origin; 0]).upstream("servers_from = { file = \"s.json\" }");
    std::fs::write(setup.directory().join("s.json"), list(&[&a])).unwrap();
    let mut proxy = setup.more(ADMIN).start().await;
    let load = Load::start(proxy.address(), 4);
    std::fs::remove_file(proxy.directory().join("s.json")).unwrap();
    is_refused(&proxy, "no such file or directory").await;
    let successor = proxy.upgrade().await;
    proxy.process().ended().await;
    assert_eq!(proxy.get("/").await.text(), a.address());
    is_refused(&proxy, "no such file or directory").await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    successor.signal(Signal::TERM);
    successor.ended().await;
}

#[tokio::test]
async fn a_list_that_changes_during_a_drain_changes_nothing_any_more() {
    let gate = waypost_tests::Gate::closed();
    let (a, b) = (origin::holds(&gate).await, origin::named().await);
    let setup = proxy::to([] as [&Origin; 0]).upstream("servers_from = { file = \"s.json\" }");
    std::fs::write(setup.directory().join("s.json"), list(&[&a])).unwrap();
    let mut proxy = setup.more(ADMIN).start().await;
    let mut client = proxy.client().await;
    client
        .send("GET /held HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    a.received(1).await;
    proxy.signal(Signal::QUIT);
    proxy.log_contains("draining").await;
    replace(proxy.directory(), "s.json", &list(&[&b]));
    proxy
        .log_contains("nothing is changed: the process is about to end")
        .await;
    assert!(!proxy.log().contains(&format!("lists {} now", b.address())));
    gate.open();
    assert_eq!(client.response().await.text(), "held");
    assert!(proxy.process().ended().await.success());
}
