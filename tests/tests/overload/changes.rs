//! Servers, configurations and plugins that change while requests wait: nobody is lost, nobody
//! changes places.

use waypost_tests::plugin;

use super::*;

async fn admin(proxy: &Proxy, method: &str, path: &str, body: &str) {
    let answer = proxy.admin(method, path, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// One request at the only server, so many behind it.
async fn behind_one(proxy: &Proxy, origin: &Origin, number: usize) -> (Client, Vec<Client>) {
    let first = begin(proxy, 0).await;
    origin.received(1).await;
    let mut clients = Vec::new();
    for waits in 1..=number {
        clients.push(begin(proxy, format!("waits{waits}")).await);
        waiting(proxy, waits).await;
    }
    (first, clients)
}

#[tokio::test]
async fn a_server_that_is_added_serves_those_who_wait() {
    let (full, _gates) = gated(1).await;
    let new = origin::says("new").await;
    let proxy = one_at_a_time(&full, "{ size = 9, timeout = \"1h\" }")
        .start()
        .await;
    let (_first, mut clients) = behind_one(&proxy, &full, 4).await;
    let server = format!("{{\"address\": \"{}\", \"max_conns\": 1}}", new.address());
    admin(&proxy, "POST", SERVERS, &server).await;
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "new");
    }
    let expected = ["/waits1", "/waits2", "/waits3", "/waits4"];
    assert_eq!(targets(&new), expected);
}

#[tokio::test]
async fn a_server_that_is_resumed_serves_those_who_wait() {
    let (full, _gates) = gated(1).await;
    let other = origin::says("other").await;
    let servers = [
        full.with("max_conns = 1"),
        other.with("max_conns = 1, down = true"),
    ];
    let setup = to(servers).upstream("queue = { size = 9, timeout = \"1h\" }");
    let proxy = setup.more(ADMIN).start().await;
    let (_first, mut clients) = behind_one(&proxy, &full, 3).await;
    let path = format!("{SERVERS}/{}", other.address());
    admin(&proxy, "PATCH", &path, "{\"down\": false}").await;
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "other");
    }
}

#[tokio::test]
async fn more_room_at_a_server_serves_those_who_wait() {
    let (full, _gates) = gated(1).await;
    let proxy = one_at_a_time(&full, "{ size = 9, timeout = \"1h\" }")
        .start()
        .await;
    let (_first, mut clients) = behind_one(&proxy, &full, 3).await;
    proxy.edit("max_conns = 1", "max_conns = 2");
    proxy.reload().await;
    for client in &mut clients {
        assert!(client.response().await.text().starts_with("waits"));
    }
}

#[tokio::test]
async fn servers_that_are_taken_away_keep_nobody_waiting() {
    let (full, gates) = gated(1).await;
    let other = origin::says("other").await;
    let servers = [
        full.with("max_conns = 1"),
        other.with("max_conns = 1, down = true"),
    ];
    let setup = to(servers).upstream("queue = { size = 9, timeout = \"1h\" }");
    let proxy = setup.more(ADMIN).start().await;
    let (mut first, mut clients) = behind_one(&proxy, &full, 3).await;
    let path = format!("{SERVERS}/{}", full.address());
    admin(&proxy, "PATCH", &path, "{\"down\": true}").await;
    for client in &mut clients {
        assert_eq!(client.response().await.status, 502);
    }
    gates[0].open();
    assert_eq!(first.response().await.text(), "0");
}

#[tokio::test]
async fn reloads_lose_nobody_and_those_who_come_later_are_served_later() {
    let (full, gates) = gated(1).await;
    let proxy = one_at_a_time(&full, "{ size = 99, timeout = \"1h\" }")
        .start()
        .await;
    let (mut first, mut clients) = behind_one(&proxy, &full, 3).await;
    for (reload, seconds) in (1..=3).zip([61, 62, 63]) {
        // Of a request that is on its way, nothing changes.
        let before = proxy.file();
        let text = std::fs::read_to_string(&before).unwrap();
        let line = format!("queue = {{ size = {}, timeout = \"1h\" }}", 99 + reload);
        let lines = text
            .lines()
            .filter(|line| !line.starts_with("read_timeout"));
        let lines = lines.map(|other| match other.starts_with("queue") {
            true => format!("{line}\nread_timeout = \"{seconds}s\""),
            false => other.to_owned(),
        });
        proxy.write(&lines.collect::<Vec<_>>().join("\n"));
        proxy.reload().await;
        clients.push(begin(&proxy, format!("waits{}", 3 + reload)).await);
        waiting(&proxy, 3 + reload).await;
    }
    gates[0].open();
    assert_eq!(first.response().await.text(), "0");
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(
            client.response().await.text(),
            format!("waits{}", number + 1)
        );
    }
    let expected: Vec<String> = (1..=6).map(|number| format!("/waits{number}")).collect();
    assert_eq!(targets(&full)[1..], expected);
    is_at_rest(&proxy).await;
}

/// A queue that comes with a reload waits for requests from before it; one that goes serves those
/// that wait in it.
#[tokio::test]
async fn a_queue_comes_and_goes_with_the_configuration() {
    let (full, gates) = gated(2).await;
    let setup = to([full.with("max_conns = 1")]).more(ADMIN);
    let proxy = setup.start().await;
    let mut first = begin(&proxy, 0).await;
    full.received(1).await;
    assert_eq!(proxy.get("/refused").await.status, 502);
    let queue = "queue = { size = 9, timeout = \"1h\" }\n[[route]]";
    proxy.edit("[[route]]", queue);
    proxy.reload().await;
    let mut waits = begin(&proxy, 1).await;
    waiting(&proxy, 1).await;
    gates[0].open();
    assert_eq!(first.response().await.text(), "0");
    full.received(2).await;
    let mut last = begin(&proxy, "last").await;
    waiting(&proxy, 1).await;
    proxy.edit(queue, "[[route]]");
    proxy.reload().await;
    assert_eq!(proxy.get("/refused").await.status, 502);
    gates[1].open();
    assert_eq!(waits.response().await.text(), "1");
    assert_eq!(last.response().await.text(), "last");
}

/// Their requests are written for the protocol that the upstream had.
#[tokio::test]
async fn those_who_wait_stay_with_what_they_are_written_for() {
    let (full, gates) = gated(1).await;
    let proxy = one_at_a_time(&full, "{ size = 9, timeout = \"1h\" }")
        .start()
        .await;
    let (mut first, mut clients) = behind_one(&proxy, &full, 2).await;
    proxy.edit("queue =", "http2 = true\nqueue =");
    proxy.reload().await;
    gates[0].open();
    assert_eq!(first.response().await.text(), "0");
    for client in &mut clients {
        assert!(client.response().await.text().starts_with("waits"));
    }
}

#[tokio::test]
async fn a_policy_that_is_swapped_chooses_for_those_who_wait() {
    for guest in ["ledger", "roster"] {
        let (full, gates) = gated(1).await;
        let setup = one_at_a_time(&full, "{ size = 9, timeout = \"1h\" }");
        let file = plugin(guest, "wasm32-unknown-unknown");
        std::fs::copy(&file, setup.directory().join("guest.wasm")).unwrap();
        let proxy = setup
            .upstream("policy = \"guest\"")
            .more("[plugin.guest]\nfile = \"guest.wasm\"\ngrants = [\"request\", \"exchange\"]")
            .start()
            .await;
        let (mut first, mut clients) = behind_one(&proxy, &full, 3).await;
        // Another custom section, another version.
        let other = [&std::fs::read(&file).unwrap()[..], &[0, 2, 1, b'a']].concat();
        let loaded = proxy.load_plugin("guest", &other).await;
        assert_eq!(loaded.status, 200, "{}", loaded.text());
        gates[0].open();
        assert_eq!(first.response().await.text(), "0");
        for client in &mut clients {
            assert!(client.response().await.text().starts_with("waits"));
        }
        is_at_rest(&proxy).await;
    }
}
