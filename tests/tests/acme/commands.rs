//! Certificates as their operator sees them, and orders by command.

use super::*;
use waypost_tests::{child, waypost};

fn command(proxy: &Proxy, arguments: &[&str]) -> (i32, String, String) {
    let mut command = std::process::Command::new(waypost());
    command.args(arguments).arg("-c").arg(proxy.file());
    child::run(command)
}

async fn told(proxy: &Proxy, arguments: &'static [&'static str]) -> (i32, String, String) {
    let file = proxy.file();
    let run = move || {
        let mut command = std::process::Command::new(waypost());
        command.args(arguments).arg("-c").arg(file);
        child::run(command)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test]
async fn certificates_of_files_and_ordered_ones_are_listed_and_ordered_ones_renewed() {
    let (directory, store) = (Directory::start().await, store());
    let own = Authority::new("Specs").certificate(&["c.test", "d.test"]);
    own.write(store.path(), "own");
    let acme = format!("{}, domains = [\"a.test\"]", directory.settings());
    let with = format!(
        "tls = {{ certificate = \"{0}/own.pem\", key = \"{0}/own.key\", acme",
        store.path().display()
    );
    let file = file(&acme, &store).replace("tls = { acme", &with);
    let proxy = proxy::run(&file, &[]).await;
    is_valid(&proxy, "a.test").await;
    let (code, listed, error) = command(&proxy, &["certificate", "list"]);
    assert_eq!(code, 0, "{error}");
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].starts_with("NAME    STATE  ENDS"), "{listed}");
    assert!(
        lines[1].starts_with("c.test  valid") && lines[1].contains("by file"),
        "{listed}"
    );
    assert!(
        lines[2].starts_with("a.test  valid") && lines[2].contains("CN=Directory"),
        "{listed}"
    );
    let (code, json, _) = command(&proxy, &["certificate", "list", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(code, 0);
    assert_eq!(
        json["certificates"][0]["names"],
        serde_json::json!(["c.test", "d.test"])
    );
    assert_eq!(json["certificates"][0]["ordered"], Value::Null);
    assert_eq!(
        json["certificates"][0]["listeners"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let (code, renewed, error) = told(&proxy, &["certificate", "renew", "a.test"]).await;
    assert_eq!(code, 0, "{error}");
    assert!(renewed.contains("a.test  valid"), "{renewed}");
    assert_eq!(directory.orders().len(), 2);
    let (code, _, error) = told(&proxy, &["certificate", "renew", "c.test"]).await;
    assert_eq!(code, 1);
    assert!(
        error.contains("whoever wrote the file renews it"),
        "{error}"
    );
    let (code, _, error) = told(&proxy, &["certificate", "renew", "a.tset"]).await;
    assert_eq!(code, 1);
    assert!(error.contains("did you mean `a.test`?"), "{error}");
    directory.does(Mode::Babbles);
    let (code, _, error) = told(&proxy, &["certificate", "renew", "a.test"]).await;
    assert_eq!(code, 1);
    assert!(
        error.starts_with("error: no certificate for `a.test`: "),
        "{error}"
    );
    let of = shown(&proxy, "a.test", "a failure", |of| of["state"] == "failing").await;
    // What it is not due for is tried again when it is.
    assert!(seconds_until(&of["ordered"]["next"]) > 50 * 86_400, "{of}");
    let metrics = proxy.metrics().await;
    let end = "waypost_tls_certificate_not_after_timestamp_seconds{listener=";
    assert_eq!(metrics.all(end).len(), 2);
    assert_eq!(
        metrics
            .all("waypost_certificate_renewal_timestamp_seconds{")
            .len(),
        1
    );
}
