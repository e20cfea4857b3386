//! `access`: clients by address. Which rule decides is in the plugin's own tests and in `parity`.

use waypost_tests::{Proxy, client, origin, proxy};

/// Clients say who they are.
const TRUST: &str = "trusted_proxies = [\"127.0.0.0/8\"]";
const OFFICE: &str = "rules = [\"deny 10.0.0.1\", \"allow 10.0.0.0/8\", \"deny all\"]";

async fn status_for(proxy: &Proxy, client: &str) -> u16 {
    let line = format!("X-Forwarded-For: {client}\r\n");
    proxy.get_with("/", &line).await.status
}

#[tokio::test]
async fn clients_are_let_in_by_their_address_and_the_log_says_who_was_not() {
    let app = origin::says("app").await;
    let hooks = format!("hooks = [{{ plugin = \"access\", {OFFICE} }}]");
    let proxy = proxy::to([&app]).server(TRUST).route(&hooks).start().await;
    for (client, status) in [
        ("10.0.0.2", 200),
        ("10.0.0.1", 403),
        ("192.0.2.7", 403),
        ("::ffff:10.0.0.3", 200),
        ("2001:db8::1", 403),
    ] {
        assert_eq!(status_for(&proxy, client).await, status, "{client}");
    }
    assert_eq!(app.requests().len(), 2);
    proxy.log_contains("access forbidden by rule").await;
    let log = proxy.log();
    let line = log
        .lines()
        .find(|line| line.contains("forbidden"))
        .expect("it is there");
    assert!(line.contains("10.0.0.1"), "{line}");
}

#[tokio::test]
async fn rules_that_are_declared_once_stand_at_several_places_which_may_have_their_own() {
    let place = |path: &str, hook: &str| {
        format!("[[route]]\npath = \"{path}\"\nhooks = [{hook}]\nreturn = {{ status = 204 }}\n")
    };
    let file = format!(
        "[server]\naccess_log = false\n{TRUST}\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [hook.office]\nplugin = \"access\"\n{OFFICE}\n{}{}",
        place("/office/", "\"office\""),
        place(
            "/one/",
            "{ use = \"office\", rules = [\"allow 192.0.2.7\", \"deny all\"] }"
        )
    );
    let proxy = proxy::run(&file, &[]).await;
    for (client, office, one) in [("10.0.0.2", 204, 403), ("192.0.2.7", 403, 204)] {
        let line = format!("X-Forwarded-For: {client}\r\n");
        assert_eq!(proxy.get_with("/office/", &line).await.status, office);
        assert_eq!(proxy.get_with("/one/", &line).await.status, one);
    }
}

#[tokio::test]
async fn a_stream_is_closed_for_clients_that_are_turned_away() {
    let app = origin::says("app").await;
    let file = |rule: &str| {
        format!(
            "[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"app\"\n\
             hooks = [{{ plugin = \"access\", rules = [\"{rule}\"] }}]\n\
             [upstream.app]\nservers = [\"{}\"]\n",
            app.address()
        )
    };
    let open = proxy::run(&file("deny 10.0.0.0/8"), &[]).await;
    assert_eq!(
        client::get_with(open.address(), "/", "").await.text(),
        "app"
    );
    let closed = proxy::run(&file("deny all"), &[]).await;
    closed.client().await.closed().await;
    closed.log_contains("access forbidden by rule").await;
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn an_address_or_a_password_is_enough_where_any_of_them_satisfies() {
    let app = origin::says("app").await;
    let hooks = format!(
        "hooks = [{{ plugin = \"access\", {OFFICE}, satisfy = \"any\" }}, \
         {{ plugin = \"basic_auth\", realm = \"staff\", satisfy = \"any\", \
         users = {{ ann = \"{{PLAIN}}secret\" }} }}]"
    );
    let proxy = proxy::to([&app]).server(TRUST).route(&hooks).start().await;
    assert_eq!(status_for(&proxy, "10.0.0.2").await, 200);
    for (client, status) in [("10.0.0.1", 401), ("192.0.2.7", 401)] {
        assert_eq!(status_for(&proxy, client).await, status);
        let lines =
            format!("X-Forwarded-For: {client}\r\nAuthorization: Basic YW5uOnNlY3JldA==\r\n");
        assert_eq!(proxy.get_with("/", &lines).await.status, 200);
    }
}
