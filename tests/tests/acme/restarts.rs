//! What a process leaves behind for the next one: what has failed, and an order under way.

use serde_json::json;
use waypost_tests::{Answer, not_yet, origin};

use super::*;

/// Whether a process has this file open.
fn has_open(process: u32, path: &Path) -> bool {
    let Ok(open) = std::fs::read_dir(format!("/proc/{process}/fd")) else {
        return false;
    };
    let mut open = open.flatten();
    open.any(|entry| std::fs::read_link(entry.path()).is_ok_and(|of| of == path))
}

fn refusal() -> Mode {
    let problem =
        json!({"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "not you"});
    Mode::Refuses(403, &[("Retry-After", "7200")], problem)
}

#[tokio::test]
async fn a_process_that_is_started_again_and_again_orders_no_more_often() {
    let (directory, store) = (Directory::start().await, store());
    directory.does(refusal());
    let file = file(&directory.settings(), &store);
    let proxy = proxy::run(&file, &[]).await;
    shown(&proxy, "a.test", "a failure", |of| of["state"] == "failing").await;
    drop(proxy);
    let asked = directory.questions();
    for _ in 0..2 {
        let proxy = proxy::run(&file, &[]).await;
        // It says why, as the one before did.
        let of = shown(&proxy, "a.test", "a failure", |of| of["state"] == "failing").await;
        let error = of["ordered"]["last_error"].as_str().unwrap();
        assert!(error.ends_with("not you (rejectedIdentifier)"), "{error}");
        let next = seconds_until(&of["ordered"]["next"]);
        assert!((6900..7300).contains(&next), "{of}");
        proxy
            .log_contains("certificates that are held back by earlier failures: 1")
            .await;
        assert_eq!(directory.questions(), asked);
    }
    // Whoever asks for it is not kept waiting, and then nothing is remembered.
    directory.does(Mode::Issues);
    let proxy = proxy::run(&file, &[]).await;
    let renewed = proxy.admin("POST", "/certificates/a.test/renew", "").await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    drop(proxy);
    std::fs::remove_file(store.path().join(directory.folder()).join("a.test.pem")).unwrap();
    let proxy = proxy::run(&file, &[]).await;
    is_valid(&proxy, "a.test").await;
}

#[tokio::test]
async fn an_order_that_was_under_way_when_its_process_was_killed_counts_as_a_failure() {
    let (directory, store, gate) = (Directory::start().await, store(), Gate::closed());
    directory.does(Mode::Holds(gate));
    let file = file(&directory.settings(), &store);
    let proxy = proxy::run(&file, &[]).await;
    directory.has_orders(1).await;
    drop(proxy);
    directory.does(Mode::Issues);
    let asked = directory.questions();
    for _ in 0..2 {
        let proxy = proxy::run(&file, &[]).await;
        let of = shown(&proxy, "a.test", "a failure", |of| of["state"] == "failing").await;
        let error = of["ordered"]["last_error"].as_str().unwrap();
        assert!(error.contains("ended while the order was"), "{error}");
        proxy.log_contains("next attempt in").await;
    }
    assert_eq!(directory.questions(), asked);
    let proxy = proxy::run(&file, &[]).await;
    let renewed = proxy.admin("POST", "/certificates/a.test/renew", "").await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
}

/// The window is asked for once more at each start, and had it ordered at once.
#[tokio::test]
async fn a_renewal_that_only_the_authority_wants_is_left_alone_as_long_after_a_failure() {
    let (directory, store) = (Directory::start().await, store());
    let file = file(&directory.settings(), &store);
    let proxy = proxy::run(&file, &[]).await;
    is_valid(&proxy, "a.test").await;
    drop(proxy);
    directory.suggests("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z");
    seed(&directory, store.path(), "a.test", (-1, 89));
    directory.does(refusal());
    let proxy = proxy::run(&file, &[]).await;
    shown(&proxy, "a.test", "a failure", |of| of["state"] == "failing").await;
    drop(proxy);
    let asked = directory.questions();
    let proxy = proxy::run(&file, &[]).await;
    let of = shown(&proxy, "a.test", "a failure", |of| of["state"] == "failing").await;
    let next = seconds_until(&of["ordered"]["next"]);
    assert!((6900..7300).contains(&next), "{of}");
    let window = async || directory.questions() >= asked + 2;
    eventually("the directory and the window are asked for", window).await;
    let ordered = eventually("an order", async || lines(&proxy, "not ordered") > 0);
    not_yet("it is ordered", ordered).await;
}

#[tokio::test]
async fn what_is_wrong_with_the_authority_is_remembered_for_all_domains() {
    let (directory, store) = (Directory::start().await, store());
    let problem = json!({"type": "urn:ietf:params:acme:error:serverInternal", "detail": "later"});
    directory.does(Mode::Refuses(503, &[("Retry-After", "7200")], problem));
    let acme = format!(
        "{}, domains = [\"a.test\", \"b.test\"]",
        directory.settings()
    );
    let proxy = proxy::run(&file(&acme, &store), &[]).await;
    proxy.log_contains("not ordered").await;
    let held = |of: &Value| seconds_until(&of["ordered"]["next"]) > 3600;
    shown(&proxy, "b.test", "a pause", held).await;
    drop(proxy);
    let asked = directory.questions();
    let proxy = proxy::run(&file(&acme, &store), &[]).await;
    proxy
        .log_contains("certificates that are held back by earlier failures: 2")
        .await;
    shown(&proxy, "b.test", "a pause", held).await;
    assert_eq!(directory.questions(), asked);
    // With other settings it may go better.
    drop(proxy);
    directory.does(Mode::Issues);
    let acme = format!("{acme}, email = \"ops@example.com\"");
    let proxy = proxy::run(&file(&acme, &store), &[]).await;
    for name in ["a.test", "b.test"] {
        is_valid(&proxy, name).await;
    }
}

#[tokio::test]
async fn a_successor_begins_an_order_anew_that_was_under_way_and_never_beside_it() {
    let (directory, store, gate) = (Directory::start().await, store(), Gate::closed());
    seed(&directory, store.path(), "a.test", (-80, 10));
    directory.does(Mode::Holds(gate.clone()));
    let done = Gate::closed();
    let origin = {
        let done = done.clone();
        origin::answers(move |_| Answer::ok("done").when(&done)).await
    };
    let led = format!(
        "[[route]]\nhost = \"a.test\"\npath = \"/held\"\nproxy = \"http://{}\"\n",
        origin.address()
    );
    let file = file(&directory.settings(), &store) + &led;
    let mut proxy = proxy::run(&file, &[]).await;
    directory.has_orders(1).await;
    // A request that is not done keeps the old process.
    let tls = proxy.listener(1).to_owned();
    let mut held = proxy.client().await;
    held.send("GET /held HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .await;
    origin.received(1).await;
    let lock = store.path().join(directory.folder()).join("lock");
    assert!(has_open(proxy.process().id(), &lock));
    let successor = proxy.upgrade().await;
    directory.has_orders(2).await;
    assert!(!has_open(proxy.process().id(), &lock));
    assert!(has_open(successor.pid, &lock));
    let trusting = std::sync::Arc::new(directory.authority.trusting());
    let response = tls::get(&tls, trusting.clone(), "a.test", "/").await;
    assert_eq!(response.text(), "hello");
    gate.open();
    shown(&proxy, "a.test", "another one", |of| {
        of["days_left"].as_i64() >= Some(89)
    })
    .await;
    let ordered = eventually("a third order", async || directory.orders().len() > 2);
    not_yet("anybody orders again", ordered).await;
    done.open();
    assert_eq!(held.response().await.text(), "done");
    proxy.process().ended().await;
    let response = tls::get(&tls, trusting, "a.test", "/").await;
    assert_eq!(response.text(), "hello");
}

#[tokio::test]
async fn a_reload_leaves_an_order_under_way_alone() {
    let (directory, store, gate) = (Directory::start().await, store(), Gate::closed());
    directory.does(Mode::Holds(gate.clone()));
    let proxy = proxy::run(&file(&directory.settings(), &store), &[]).await;
    directory.has_orders(1).await;
    proxy.edit("host = [\"a.test\"]", "host = [\"a.test\", \"b.test\"]");
    proxy.reload().await;
    gate.open();
    for name in ["a.test", "b.test"] {
        is_valid(&proxy, name).await;
    }
    let ordered: Vec<String> = directory.orders().into_iter().map(|of| of.domain).collect();
    assert_eq!(ordered, ["a.test", "b.test"]);
}

#[tokio::test]
async fn a_reload_that_takes_the_domain_of_an_order_out_ends_well() {
    let (directory, store, gate) = (Directory::start().await, store(), Gate::closed());
    directory.does(Mode::Holds(gate.clone()));
    let proxy = proxy::run(&file(&directory.settings(), &store), &[]).await;
    directory.has_orders(1).await;
    proxy.edit("host = [\"a.test\"]", "host = [\"b.test\"]");
    proxy.reload().await;
    gate.open();
    is_valid(&proxy, "b.test").await;
    shown(&proxy, "a.test", "no such certificate", Value::is_null).await;
}

#[tokio::test]
async fn a_broken_account_is_told_with_what_to_do_and_made_anew_once_it_is_gone() {
    let (directory, store) = (Directory::start().await, store());
    let folder = store.path().join(directory.folder());
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["account.json", "attempts.json"] {
        std::fs::write(folder.join(name), "{\"half\": ").unwrap();
    }
    let proxy = proxy::run(&file(&directory.settings(), &store), &[]).await;
    let of = shown(&proxy, "a.test", "a failure", |of| of["state"] == "failing").await;
    let error = of["ordered"]["last_error"].as_str().unwrap();
    assert!(error.contains("account.json`: it is no account"), "{error}");
    assert!(
        error.contains("without the file, one is made anew"),
        "{error}"
    );
    std::fs::remove_file(folder.join("account.json")).unwrap();
    let renewed = proxy.admin("POST", "/certificates/a.test/renew", "").await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_told_once_and_orders_nothing() {
    let (directory, store) = (Directory::start().await, store());
    std::fs::write(store.path().join(directory.folder()), "no directory").unwrap();
    let proxy = proxy::run(&file(&directory.settings(), &store), &[]).await;
    let of = shown(&proxy, "a.test", "a failure", |of| of["state"] == "failing").await;
    let error = of["ordered"]["last_error"].as_str().unwrap();
    assert!(error.contains("has to own the store"), "{error}");
    proxy.reload().await;
    assert_eq!(lines(&proxy, "not ordered"), 1);
    assert_eq!(directory.questions(), 0);
    let served = proxy
        .exchange("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .await;
    assert_eq!(served.status, 200);
}
