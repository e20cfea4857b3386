//! The keys that certificates are made out for: what another `key_type` orders, and what it does not.

use super::*;
use waypost_tests::not_yet;

/// What openssl says of the key that is kept of `a.test`.
fn key(directory: &Directory, store: &TempDir) -> String {
    let file = store.path().join(directory.folder()).join("a.test.pem");
    let file = file.display().to_string();
    let text = tls::openssl(&["x509", "-in", &file, "-noout", "-text"]);
    let line = text.lines().find(|line| line.contains("Public-Key: "));
    line.unwrap().trim().to_owned()
}

#[tokio::test]
async fn another_type_of_key_is_ordered_for_by_a_reload_and_served() {
    if !tls::installed("openssl") {
        return;
    }
    let (directory, store) = (Directory::start().await, store());
    let proxy = proxy::run(&file(&directory.settings(), &store), &[]).await;
    is_valid(&proxy, "a.test").await;
    assert_eq!(key(&directory, &store), "Public-Key: (256 bit)");
    let mut said = "store = ".to_owned();
    for (number, (key_type, bits)) in [("ecdsa-384", 384), ("rsa-2048", 2048)]
        .into_iter()
        .enumerate()
    {
        let new = format!("key_type = \"{key_type}\", store = ");
        proxy.edit(&said, &new);
        said = new;
        proxy.reload().await;
        directory.has_orders(number + 2).await;
        is_valid(&proxy, "a.test").await;
        assert_eq!(key(&directory, &store), format!("Public-Key: ({bits} bit)"));
        let shown = format!("Server public key is {bits} bit");
        let listener = proxy.listener(1);
        let asking = ["s_client", "-connect", listener, "-servername", "a.test"];
        eventually("another key", async || {
            tls::openssl(&asking).contains(&shown)
        })
        .await;
    }
    // What has it is not ordered again.
    proxy.reload().await;
    is_valid(&proxy, "a.test").await;
    assert_eq!(directory.orders().len(), 3);
}

#[tokio::test]
async fn the_certificate_of_the_type_before_is_served_until_there_is_another() {
    let (directory, store) = (Directory::start().await, store());
    seed(&directory, store.path(), "a.test", (-1, 89));
    directory.does(Mode::Waits(Gate::closed()));
    let acme = format!("{}, key_type = \"rsa-2048\"", directory.settings());
    let proxy = proxy::run(&file(&acme, &store), &[]).await;
    shown(&proxy, "a.test", "an order", |of| of["state"] == "ordering").await;
    let trusting = directory.authority.trusting();
    let response = tls::get(proxy.listener(1), trusting, "a.test", "/").await;
    assert_eq!(response.text(), "hello");
}

#[tokio::test]
async fn processes_that_share_a_store_and_differ_do_not_order_in_turn() {
    let (directory, store) = (Directory::start().await, store());
    let one = proxy::run(&file(&directory.settings(), &store), &[]).await;
    is_valid(&one, "a.test").await;
    let acme = format!("{}, key_type = \"ecdsa-384\"", directory.settings());
    let other = proxy::run(&file(&acme, &store), &[]).await;
    directory.has_orders(2).await;
    is_valid(&other, "a.test").await;
    // A reload has it look at the file, which is not what it has ordered.
    one.reload().await;
    let ordered = eventually("a third order", async || directory.orders().len() > 2);
    not_yet("the first one orders as well", ordered).await;
    is_valid(&one, "a.test").await;
}
