//! Several processes with one store: one orders, all serve, and any of them answers the authority.

use super::*;
use waypost_tests::not_yet;

#[tokio::test]
async fn what_one_process_orders_all_serve_and_any_answers_the_authority() {
    let (directory, store) = (Directory::start().await, store());
    // While nobody gets anything, both of them are there.
    let gate = Gate::closed();
    directory.does(Mode::Waits(gate.clone()));
    let acme = format!("{}, challenges = [\"http-01\"]", directory.settings());
    let one = proxy::run(&file(&acme, &store), &[]).await;
    shown(&one, "a.test", "an order", |of| of["state"] == "ordering").await;
    let other = proxy::run(&file(&acme, &store), &[]).await;
    let asked = eventually("two questions", async || directory.questions() > 1);
    not_yet("the other one asks as well", asked).await;
    // It is the other one that is asked for the token.
    directory.looks_at(other.address());
    directory.does(Mode::Issues);
    gate.open();
    // The first one has failed, and waits: what the other one orders ends that.
    for proxy in [&one, &other] {
        is_valid(proxy, "a.test").await;
        let trusting = directory.authority.trusting();
        let response = tls::get(proxy.listener(1), trusting, "a.test", "/").await;
        assert_eq!(response.text(), "hello");
    }
    assert_eq!(directory.orders().len(), 1);
    // A command to one of them: again the other one is asked, and again both serve it.
    let renewed = one.admin("POST", "/certificates/a.test/renew", "").await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    assert_eq!(directory.orders().len(), 2);
    let end = renewed.json()["not_after"].clone();
    shown(&other, "a.test", "the same one", |of| {
        of["not_after"] == end
    })
    .await;
    assert_eq!(directory.orders().len(), 2);
}

#[tokio::test]
async fn what_a_process_left_behind_that_died_is_gone_with_the_next_order() {
    let (directory, store) = (Directory::start().await, store());
    let tokens = store.path().join("http-01");
    std::fs::create_dir_all(&tokens).unwrap();
    let left = std::fs::File::create(tokens.join("left-behind")).unwrap();
    left.set_modified(SystemTime::now() - Duration::from_secs(7200))
        .unwrap();
    directory.does(Mode::Babbles);
    let proxy = proxy::run(&file(&directory.settings(), &store), &[]).await;
    proxy.log_contains("not ordered").await;
    let target = "/.well-known/acme-challenge/left-behind";
    let response = proxy.get_with(target, "").await;
    assert_eq!(response.status, 404);
}
