//! What is served is what is kept, handed on and asked for: not what a reload has learned that was
//! refused, nor a list that the policy does not take.

use rustix::process::Signal;
use waypost_tests::admin::{ADMIN, request};
use waypost_tests::{Answer, Client, Gate, Origin, Proxy, eventually, origin, proxy};

use super::{is_refused, list, replace, served, serves, with_backup};

/// A registry that lists these.
async fn registry(origins: &[&Origin]) -> Origin {
    let text = list(origins);
    origin::answers(move |_| Answer::ok(text.clone())).await
}

fn asked_at(registry: &Origin, more: &str) -> String {
    let address = registry.address();
    format!("http = \"http://{address}/\", interval = \"100ms\"{more}")
}

/// A proxy whose servers come from there, and with a file beside it that is no plugin.
async fn listing(source: &str) -> Proxy {
    let setup = proxy::to([] as [&Origin; 0]).upstream(&format!("servers_from = {{ {source} }}"));
    std::fs::write(setup.directory().join("broken.wasm"), "none").unwrap();
    setup.more(ADMIN).start().await
}

/// Reloads a configuration with another source that is refused for another reason, long after the
/// source has answered; then the file is as it was.
async fn refuse_reload(proxy: &Proxy, one: &Origin, other: &Origin) {
    let gate = Gate::closed();
    let opened = gate.clone();
    let late = origin::answers(move |_| Answer::ok("[]").when(&opened)).await;
    let good = std::fs::read_to_string(proxy.file()).unwrap();
    proxy.edit(one.address(), other.address());
    proxy.append(&format!(
        "[plugin.broken]\nfile = \"broken.wasm\"\n\
         [upstream.late]\nservers_from = {{ http = \"http://{}/\", timeout = \"30s\" }}",
        late.address()
    ));
    let mut reload = Client::connect(&proxy.admin_address()).await;
    reload.send(request("POST", "/reload", "")).await;
    other.received(2).await;
    gate.open();
    let refused = reload.response().await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    proxy.write(&good);
}

#[tokio::test]
async fn a_reload_that_is_refused_leaves_the_kept_list_as_it_was() {
    let (a, b) = (origin::named().await, origin::named().await);
    let (one, other) = (registry(&[&a]).await, registry(&[&b]).await);
    let proxy = listing(&asked_at(&one, ", keep = \"kept.json\"")).await;
    let kept = || std::fs::read_to_string(proxy.directory().join("kept.json")).unwrap_or_default();
    eventually("the list to be kept", async || kept().contains(a.address())).await;
    refuse_reload(&proxy, &one, &other).await;
    assert!(!kept().contains(b.address()), "{}", kept());
    // Once it is served, it is kept as well.
    proxy.edit(one.address(), other.address());
    proxy.reload().await;
    eventually("the other list to be kept", async || {
        kept().contains(b.address())
    })
    .await;
}

#[tokio::test]
async fn an_upgrade_hands_on_nothing_that_a_refused_reload_has_learned() {
    let b = origin::named().await;
    let (gone, other) = (origin::refuses(), registry(&[&b]).await);
    let mut proxy = listing(&asked_at(&gone, "")).await;
    refuse_reload(&proxy, &gone, &other).await;
    assert_eq!(proxy.get("/").await.status, 502);
    let successor = proxy.upgrade().await;
    proxy.process().ended().await;
    assert_eq!(proxy.get("/").await.status, 502);
    assert_eq!(served(&proxy).await, [] as [&str; 0]);
    successor.signal(Signal::TERM);
    successor.ended().await;
}

#[tokio::test]
async fn the_source_of_a_refused_reload_is_asked_no_more() {
    let (a, b) = (origin::named().await, origin::named().await);
    let (one, other) = (registry(&[&a]).await, registry(&[&b]).await);
    let proxy = listing(&asked_at(&one, "")).await;
    refuse_reload(&proxy, &one, &other).await;
    let (of_one, of_other) = (one.requests().len(), other.requests().len());
    // Asked as often as the other one would be.
    one.received(of_one + 10).await;
    let asked = other.requests().len();
    assert!(asked <= of_other + 1, "{asked} times, after {of_other}");
    assert_eq!(served(&proxy).await, [a.address()]);
}

#[tokio::test]
async fn a_list_that_the_policy_refuses_is_neither_kept_nor_handed_on() {
    let (a, b) = (origin::named().await, origin::named().await);
    let upstream = "policy = { plugin = \"hash\", key = \"$uri\" }\n\
                    servers_from = { file = \"s.json\", keep = \"kept.json\" }";
    let setup = proxy::to([] as [&Origin; 0]).upstream(upstream);
    let directory = setup.directory().to_owned();
    std::fs::write(directory.join("s.json"), list(&[&a])).unwrap();
    let mut proxy = setup.more(ADMIN).start().await;
    serves(&proxy, &[&a]).await;
    let kept = || std::fs::read_to_string(directory.join("kept.json")).unwrap_or_default();
    eventually("the list to be kept", async || kept().contains(a.address())).await;
    replace(&directory, "s.json", &with_backup(&a, &b));
    is_refused(&proxy, "does not support `backup` servers").await;
    let log = proxy.log();
    assert!(!log.contains(&format!("{} now", b.address())), "{log}");
    std::fs::remove_file(directory.join("s.json")).unwrap();
    is_refused(&proxy, "no such file or directory").await;
    assert!(!kept().contains(b.address()), "{}", kept());
    let successor = proxy.upgrade().await;
    proxy.process().ended().await;
    assert_eq!(proxy.get("/").await.text(), a.address());
    successor.signal(Signal::TERM);
    successor.ended().await;
}
