//! Commands to servers that a source lists: what they say holds for as long as the server is listed.

use waypost_tests::admin::ADMIN;
use waypost_tests::{Origin, origin, proxy};

use super::{list, replace, serves};

#[tokio::test]
async fn a_listed_server_is_drained_and_weighted_until_it_is_listed_no_more() {
    let (a, b) = (origin::named().await, origin::named().await);
    let setup = proxy::to([] as [&Origin; 0]).upstream("servers_from = { file = \"s.json\" }");
    std::fs::write(setup.directory().join("s.json"), list(&[&a, &b])).unwrap();
    let proxy = setup.more(ADMIN).start().await;
    let server = format!("/upstreams/backend/servers/{}", a.address());
    let body = "{\"weight\": 7, \"down\": true}";
    assert_eq!(proxy.admin("PATCH", &server, body).await.status, 200);
    // It is what the command said, whatever else the list says meanwhile.
    let text = format!(
        "[\"{}\", {{\"address\": \"{}\", \"weight\": 2}}]",
        a.address(),
        b.address()
    );
    replace(proxy.directory(), "s.json", &text);
    waypost_tests::eventually("the other weight", async || {
        proxy.server(b.address()).await["weight"] == 2
    })
    .await;
    let altered = proxy.server(a.address()).await;
    assert_eq!(
        (&altered["weight"], &altered["down"]),
        (&7.into(), &true.into())
    );
    for _ in 0..4 {
        assert_eq!(proxy.get("/").await.text(), b.address());
    }
    replace(proxy.directory(), "s.json", &list(&[&b]));
    serves(&proxy, &[&b]).await;
    replace(proxy.directory(), "s.json", &list(&[&a, &b]));
    serves(&proxy, &[&a, &b]).await;
    let again = proxy.server(a.address()).await;
    assert_eq!(
        (&again["weight"], &again["down"]),
        (&1.into(), &false.into())
    );
}

#[tokio::test]
async fn a_listed_server_is_not_removed_and_a_server_of_its_own_stays_beside_it() {
    let (a, b, c) = (
        origin::named().await,
        origin::named().await,
        origin::named().await,
    );
    let setup = proxy::to([] as [&Origin; 0]).upstream("servers_from = { file = \"s.json\" }");
    std::fs::write(setup.directory().join("s.json"), list(&[&a])).unwrap();
    let proxy = setup.more(ADMIN).start().await;
    let server = format!("/upstreams/backend/servers/{}", a.address());
    let refused = proxy.admin("DELETE", &server, "").await;
    assert_eq!(refused.status, 409);
    assert!(
        refused.text().contains("waypost upstream drain backend"),
        "{}",
        refused.text()
    );
    let body = format!("{{\"address\": \"{}\"}}", c.address());
    let added = proxy
        .admin("POST", "/upstreams/backend/servers", &body)
        .await;
    assert_eq!(added.status, 200, "{}", added.text());
    replace(proxy.directory(), "s.json", &list(&[&b]));
    serves(&proxy, &[&c, &b]).await;
}
