//! A list that the policy does not take is, at a start, as one that cannot be had: whoever writes a
//! list must not keep the process from serving.

use rustix::process::Signal;
use waypost_tests::admin::{ADMIN, Successor};
use waypost_tests::proxy::Setup;
use waypost_tests::{Origin, child, origin, proxy, waypost};

use super::{is_refused, list, replace, served, serves, with_backup};

const HASH: &str = "policy = { plugin = \"hash\", key = \"$uri\" }\n";
const REFUSED: &str = "`hash` does not support `backup` servers";

fn hashed(source: &str) -> Setup {
    let upstream = format!("{HASH}servers_from = {{ {source} }}");
    let setup = proxy::to([] as [&Origin; 0]).upstream(&upstream);
    setup.more(ADMIN)
}

#[tokio::test]
async fn a_start_goes_on_without_it_and_serves_the_next_one() {
    let (a, b) = (origin::named().await, origin::named().await);
    let setup = hashed("file = \"s.json\"");
    std::fs::write(setup.directory().join("s.json"), with_backup(&a, &b)).unwrap();
    let proxy = setup.start().await;
    assert_eq!(proxy.get("/").await.status, 502);
    is_refused(&proxy, REFUSED).await;
    let log = proxy.log();
    let line = log.lines().find(|line| line.contains("is not served"));
    let line = line.expect("the log tells of it");
    for part in [
        "upstream `backend`: its list from ",
        "s.json",
        "without",
        REFUSED,
        "waypost.toml:",
    ] {
        assert!(line.contains(part), "no {part} in {line}");
    }
    assert!(!log.contains(" now\n"), "{log}");
    replace(proxy.directory(), "s.json", &list(&[&b]));
    serves(&proxy, &[&b]).await;
    assert_eq!(proxy.get("/").await.text(), b.address());
    proxy
        .log_contains(&format!("lists {} now", b.address()))
        .await;
}

#[tokio::test]
async fn a_start_has_the_upstreams_own_servers_without_it() {
    let (a, b) = (origin::named().await, origin::named().await);
    let upstream = format!("{HASH}servers_from = {{ file = \"s.json\" }}");
    let setup = proxy::to([&a]).upstream(&upstream).more(ADMIN);
    std::fs::write(setup.directory().join("s.json"), with_backup(&b, &a)).unwrap();
    let backup = serde_json::json!([{ "address": b.address(), "backup": true }]).to_string();
    std::fs::write(setup.directory().join("s.json"), backup).unwrap();
    let proxy = setup.start().await;
    assert_eq!(served(&proxy).await, [a.address()]);
    assert_eq!(proxy.get("/").await.text(), a.address());
}

#[tokio::test]
async fn a_start_has_what_was_kept_in_its_place_if_that_can_be_used() {
    let (a, b) = (origin::named().await, origin::named().await);
    for (kept, status) in [(list(&[&a]), 200), (with_backup(&a, &b), 502)] {
        let setup = hashed("file = \"s.json\", keep = \"kept.json\"");
        let directory = setup.directory().to_owned();
        std::fs::write(directory.join("s.json"), with_backup(&b, &a)).unwrap();
        std::fs::write(directory.join("kept.json"), &kept).unwrap();
        let proxy = setup.start().await;
        assert_eq!(proxy.get("/").await.status, status, "{kept}");
        is_refused(&proxy, REFUSED).await;
        assert_eq!(proxy.get("/").await.status, status, "{kept}");
    }
}

#[tokio::test]
async fn an_upgrade_goes_on_with_the_servers_before() {
    let (a, b) = (origin::named().await, origin::named().await);
    let setup = hashed("file = \"s.json\"");
    std::fs::write(setup.directory().join("s.json"), list(&[&a])).unwrap();
    let mut proxy = setup.start().await;
    replace(proxy.directory(), "s.json", &with_backup(&a, &b));
    is_refused(&proxy, REFUSED).await;
    let successor = proxy.upgrade().await;
    proxy.process().ended().await;
    is_refused(&proxy, REFUSED).await;
    assert_eq!(served(&proxy).await, [a.address()]);
    assert_eq!(proxy.get("/").await.text(), a.address());
    successor.signal(Signal::TERM);
    successor.ended().await;
}

/// The list was good before the file was edited: the process that serves it goes on.
#[tokio::test]
async fn an_upgrade_to_a_policy_that_does_not_take_the_servers_that_serve_is_refused() {
    let (a, b) = (origin::named().await, origin::named().await);
    let setup = proxy::to([] as [&Origin; 0]).upstream("servers_from = { file = \"s.json\" }");
    std::fs::write(setup.directory().join("s.json"), with_backup(&a, &b)).unwrap();
    let proxy = setup.more(ADMIN).start().await;
    serves(&proxy, &[&a, &b]).await;
    proxy.edit("servers_from", &format!("{HASH}servers_from"));
    proxy.signal(Signal::USR2);
    proxy
        .log_contains("the upgrade has failed, this process goes on")
        .await;
    assert!(proxy.log().contains(REFUSED), "{}", proxy.log());
    assert_eq!(proxy.get("/").await.text(), a.address());
}

/// What is wrong with the configuration itself is none of the list's.
#[tokio::test]
async fn a_policy_that_takes_no_list_at_all_keeps_the_process_from_starting() {
    let (a, b) = (origin::named().await, origin::named().await);
    let directory = tempfile::TempDir::new().unwrap();
    let file = |key: &str| {
        format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[upstream.backend]\n\
             policy = {{ plugin = \"hash\", key = \"{key}\" }}\n\
             servers_from = {{ file = \"s.json\" }}\n[[route]]\nproxy = \"backend\"\n"
        )
    };
    let path = directory.path().join("waypost.toml");
    let says = |command: &str| {
        let mut run = std::process::Command::new(waypost());
        run.args([command, "-c"]).arg(&path);
        let (code, out, err) = child::run(run);
        (code, out + &err)
    };
    std::fs::write(directory.path().join("s.json"), with_backup(&a, &b)).unwrap();
    std::fs::write(&path, file("$nothing")).unwrap();
    let (code, said) = says("run");
    assert_eq!(code, 1, "{said}");
    assert!(!said.contains("is not served"), "{said}");
    // The list alone is a warning.
    std::fs::write(&path, file("$uri")).unwrap();
    let (code, said) = says("check");
    assert_eq!(code, 0, "{said}");
    for part in [
        "warning: the list of servers for upstream `backend` from ",
        "s.json cannot be served: `hash` does not support `backup` servers",
        "waypost.toml:5:25   (upstream.backend.servers_from.file)",
    ] {
        assert!(said.contains(part), "no {part} in\n{said}");
    }
}

/// Each process has what the one before it serves, and its source lists what nobody can serve.
#[tokio::test]
async fn an_upgrade_after_the_other_goes_on_with_what_is_served() {
    let (a, b) = (origin::named().await, origin::named().await);
    let setup = hashed("file = \"s.json\"");
    std::fs::write(setup.directory().join("s.json"), list(&[&a])).unwrap();
    let proxy = setup.start().await;
    replace(proxy.directory(), "s.json", &with_backup(&b, &a));
    is_refused(&proxy, REFUSED).await;
    let mut last = proxy.upgrade().await;
    for _ in 0..2 {
        assert_eq!(served(&proxy).await, [a.address()]);
        let upgraded = proxy.admin("POST", "/upgrade", "").await;
        assert_eq!(upgraded.status, 200, "{}", upgraded.text());
        last.ended().await;
        last = Successor::of(upgraded.json()["pid"].as_u64().unwrap() as u32);
    }
    assert_eq!(served(&proxy).await, [a.address()]);
    assert_eq!(proxy.get("/").await.text(), a.address());
}
