//! An authority that does not issue: what is served goes on, it is left alone for a while, and the
//! log says why, once each time.

use serde_json::json;

use super::*;

const NOT_ORDERED: &str = "certificate for `a.test` not ordered";

#[tokio::test]
async fn before_there_is_a_certificate_the_handshake_is_refused_and_the_rest_is_served() {
    let (directory, store, gate) = (Directory::start().await, store(), Gate::closed());
    directory.does(Mode::Waits(gate));
    let proxy = proxy::run(&file(&directory.settings(), &store), &[]).await;
    let plain = proxy.get_with("/", "").await;
    assert_eq!(plain.status, 404, "no route for this host");
    let trusting = directory.authority.trusting();
    let refused = tls::connect(proxy.listener(1), trusting, "a.test").await;
    let refused = refused.err().unwrap().to_string();
    assert!(refused.contains("UnrecognisedName"), "{refused}");
    proxy
        .log_contains("the certificate for a.test is not there yet")
        .await;
    let of = shown(&proxy, "a.test", "an order", |of| of["state"] == "ordering").await;
    assert_eq!(of["not_after"], Value::Null);
    // Nothing waits for it.
    proxy.reload().await;
}

#[tokio::test]
async fn a_refusal_is_told_once_with_its_parts_and_the_certificate_before_goes_on() {
    let (directory, store) = (Directory::start().await, store());
    seed(&directory, store.path(), "a.test", (-80, 10));
    let problem = json!({"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "not you",
        "subproblems": [{"type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids it",
            "identifier": {"type": "dns", "value": "a.test"}}]});
    directory.does(Mode::Refuses(403, &[("Retry-After", "7200")], problem));
    let proxy = proxy::run(&file(&directory.settings(), &store), &[]).await;
    let of = shown(&proxy, "a.test", "a failure", |of| of["state"] == "failing").await;
    let error = of["ordered"]["last_error"].as_str().unwrap();
    assert!(error.contains("take it out of `domains`"), "{error}");
    assert!(
        error.ends_with("not you (rejectedIdentifier); `a.test`: CAA forbids it"),
        "{error}"
    );
    // As long as the authority wants.
    assert!(
        (7000..7300).contains(&seconds_until(&of["ordered"]["next"])),
        "{of}"
    );
    let trusting = directory.authority.trusting();
    let response = tls::get(proxy.listener(1), trusting, "a.test", "/").await;
    assert_eq!(response.text(), "hello");
    proxy.reload().await;
    assert!(
        (9..=10).contains(&of["days_left"].as_i64().unwrap()),
        "{of}"
    );
    proxy
        .log_contains("the one before is served, and ends")
        .await;
    assert_eq!(lines(&proxy, NOT_ORDERED), 1);
    let metrics = proxy.metrics().await;
    assert_eq!(
        metrics.value("waypost_certificate_orders_total{outcome=\"failed\"}"),
        1.0
    );
}

#[tokio::test]
async fn what_is_wrong_with_the_authority_is_tried_by_one_domain_for_all() {
    let (directory, store) = (Directory::start().await, store());
    directory.does(Mode::Babbles);
    let domains = "domains = [\"a.test\", \"b.test\", \"c.test\"]";
    let acme = format!("{}, {domains}", directory.settings());
    let proxy = proxy::run(&file(&acme, &store), &[]).await;
    proxy
        .log_contains("is `directory` the URL of its directory?")
        .await;
    let c = shown(&proxy, "c.test", "a pause", |of| {
        of["state"] == "waiting" && seconds_until(&of["ordered"]["next"]) > 30
    });
    assert!(seconds_until(&c.await["ordered"]["next"]) <= 70);
    assert_eq!(lines(&proxy, "not ordered"), 1);
    assert_eq!(directory.questions(), 1);
    // Somebody who asks for it is not kept waiting.
    directory.does(Mode::Issues);
    let renewed = proxy.admin("POST", "/certificates/c.test/renew", "").await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    // And then it is tried for the others as well.
    for name in ["a.test", "b.test"] {
        is_valid(&proxy, name).await;
    }
}

#[tokio::test]
async fn an_authority_that_is_not_there_is_told_by_its_address() {
    let store = store();
    let directory = waypost_tests::origin::reserved();
    let acme = format!("directory = \"https://{directory}/directory\"");
    let proxy = proxy::run(&file(&acme, &store), &[]).await;
    let of = shown(&proxy, "a.test", "a failure", |of| of["state"] == "failing").await;
    let error = of["ordered"]["last_error"].as_str().unwrap();
    assert!(
        error.contains(&format!("cannot connect to {directory}")),
        "{error}"
    );
}

#[tokio::test]
async fn a_broken_file_of_the_store_is_ordered_anew() {
    let (directory, store) = (Directory::start().await, store());
    let folder = store.path().join(directory.folder());
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("a.test.pem"), "half a certif").unwrap();
    let proxy = proxy::run(&file(&directory.settings(), &store), &[]).await;
    is_valid(&proxy, "a.test").await;
    let trusting = directory.authority.trusting();
    let response = tls::get(proxy.listener(1), trusting, "a.test", "/").await;
    assert_eq!(response.text(), "hello");
}

#[test]
fn a_check_asks_nobody_and_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("waypost.toml");
    let text = "[[listen]]\naddress = \"127.0.0.1:0\"\n\
                tls = { acme = { directory = \"https://127.0.0.1:1/\", domains = [\"a.test\"] } }\n\
                [[route]]\nreturn = { status = 200 }\n";
    std::fs::write(&path, text).unwrap();
    let mut command = std::process::Command::new(waypost_tests::waypost());
    command.args(["check", "-c"]).arg(&path);
    let (code, _, error) = waypost_tests::child::run(command);
    assert_eq!(code, 0, "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_check_warns_of_a_store_that_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("taken"), "a file").unwrap();
    let path = directory.path().join("waypost.toml");
    let text = "[[listen]]\naddress = \"127.0.0.1:0\"\n\
                tls = { acme = { domains = [\"a.test\"], store = \"taken/acme\" } }\n\
                [[route]]\nreturn = { status = 200 }\n";
    std::fs::write(&path, text).unwrap();
    let mut command = std::process::Command::new(waypost_tests::waypost());
    command.args(["check", "-c"]).arg(&path);
    let (code, _, error) = waypost_tests::child::run(command);
    assert_eq!(code, 0, "{error}");
    assert!(error.contains("cannot be written"), "{error}");
    assert!(error.contains("listen[0].tls.acme.domains[0]"), "{error}");
}
